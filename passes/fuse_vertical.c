/* Vertical fusion: an anchor with the pointwise nodes that follow it, and chains of pointwise nodes, become
 * regions.
 *
 * A region grows from its first node: any pointwise node that reads a result of the region, has the region's
 * shape, and whose other inputs are known before the region begins, may join. The group is committed each
 * time a single result leaves it, so that what is fused never needs a second buffer: x * sigmoid(x) joins as
 * a whole or not at all. */
#include <string.h>

#include "passes/pass.h"

enum { REGION_NODES = 16, NAME_PARTS = 6 };

typedef struct Fusion {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
    int32_t *order; /* per node: position of its region's first node; ties stand next to one another */
    int32_t count, committed;
    NodeId nodes[REGION_NODES]; /* the group that grows; the first `committed` ones stay */
} Fusion;

static bool is_member(const Fusion *f, NodeId node) {
    for (int32_t i = 0; i < f->count; ++i)
        if (f->nodes[i] == node) return true;
    return false;
}

/* A use outside the group. */
static bool value_escapes(const Fusion *f, ValueId value) {
    for (int32_t i = f->uses.first[value]; i < f->uses.first[value + 1]; ++i)
        if (f->uses.uses[i].node == NONE || !is_member(f, f->uses.uses[i].node)) return true;
    return false;
}

static int32_t escaping_count(const Fusion *f) {
    int32_t escaping = 0;
    for (int32_t i = 0; i < f->count; ++i) {
        const Node *node = &f->graph->nodes[f->nodes[i]];
        for (int32_t o = 0; o < node->output_count; ++o)
            if (node->outputs[o] != NONE && value_escapes(f, node->outputs[o])) escaping++;
    }
    return escaping;
}

/* Known when the region begins, or made inside it. */
static bool input_is_ready(const Fusion *f, ValueId value) {
    if (value == NONE) return true;
    NodeId producer = f->graph->values[value].producer;
    if (producer == NONE || is_member(f, producer)) return true;
    const Node *first = &f->graph->nodes[f->nodes[0]];
    return f->graph->nodes[producer].block != first->block || f->order[producer] < f->order[f->nodes[0]];
}

/* Why a user of the group's results cannot join; NULL when it can. */
static const char *refusal(const Fusion *f, NodeId user) {
    const Node *node = &f->graph->nodes[user], *first = &f->graph->nodes[f->nodes[0]];
    if (op_def(node->op)->op_class != OPCLASS_POINTWISE) return "it is not pointwise";
    if (node->block != first->block) return "it stands in another block";
    if (node->region != NONE) return "it belongs to another region";
    const Value *result = &f->graph->values[node->outputs[0]], *shape = &f->graph->values[first->outputs[0]];
    if (!result->has_shape || !shape->has_shape || !shape_equal(&result->shape, &shape->shape))
        return "its result has another shape";
    for (int32_t i = 0; i < node->input_count; ++i)
        if (!input_is_ready(f, node->inputs[i])) return "another input is computed later";
    return NULL;
}

/* The earliest user of an escaping result that can join, or NONE. */
static NodeId next_member(const Fusion *f) {
    NodeId best = NONE;
    for (int32_t i = 0; i < f->count; ++i) {
        const Node *node = &f->graph->nodes[f->nodes[i]];
        ValueId value = node->outputs[0];
        for (int32_t u = f->uses.first[value]; u < f->uses.first[value + 1]; ++u) {
            NodeId user = f->uses.uses[u].node;
            if (user == NONE || is_member(f, user) || refusal(f, user) != NULL) continue;
            if (best == NONE || f->order[user] < f->order[best]) best = user;
        }
    }
    return best;
}

/* Says why the group ends where it does. */
static void explain_end(Fusion *f) {
    f->count = f->committed;
    NodeId last = f->nodes[f->committed - 1];
    ValueId value = f->graph->nodes[last].outputs[0];
    int32_t users = use_count(&f->uses, value);
    if (users == 0) return;
    NodeId user = f->uses.uses[f->uses.first[value]].node;
    if (user == NONE)
        pass_reject(f->ctx, last, "its result is an output of the graph");
    else if (users > 1)
        pass_reject(f->ctx, last, "its result has %d users", users);
    else {
        const char *reason = refusal(f, user);
        if (reason != NULL)
            pass_reject(f->ctx, user, "cannot join %s: %s", op_def(f->graph->nodes[last].op)->name, reason);
    }
}

static void grow(Fusion *f, NodeId first) {
    f->nodes[0] = first;
    f->count = f->committed = 1;
    while (f->count < REGION_NODES) {
        NodeId next = next_member(f);
        if (next == NONE) break;
        f->nodes[f->count++] = next;
        if (escaping_count(f) <= 1) f->committed = f->count;
    }
    explain_end(f);
}

/* "conv+bias+relu" */
static const char *region_name(const Fusion *f, bool has_anchor) {
    ByteWriter name = byte_writer(f->graph->arena);
    for (int32_t i = 0; i < f->count && i < NAME_PARTS; ++i) {
        const Node *node = &f->graph->nodes[f->nodes[i]];
        if (i > 0) write_u8(&name, '+');
        for (const char *c = op_def(node->op)->name; *c != '\0'; ++c)
            write_u8(&name, (uint8_t)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c));
        bool biased = i == 0 && has_anchor && node->input_count > 2 &&
                      (node->op == OP_Conv || node->op == OP_ConvTranspose || node->op == OP_Gemm);
        if (biased) write_format(&name, "+bias");
    }
    if (f->count > NAME_PARTS) write_format(&name, "+%d more", f->count - NAME_PARTS);
    write_u8(&name, 0);
    return name.failed ? NULL : (const char *)name.data;
}

/* Puts the members next to one another, behind the first. */
static void gather_members(Fusion *f) {
    const Block *block = &f->graph->blocks[f->graph->nodes[f->nodes[0]].block];
    int32_t at = node_position(f->graph, f->nodes[0]);
    for (int32_t i = 1; i < f->count; ++i) {
        NodeId behind = block->nodes[at + i];
        if (behind != f->nodes[i]) node_move_before(f->graph, f->nodes[i], behind);
        f->order[f->nodes[i]] = f->order[f->nodes[0]];
    }
}

static Status make_region(Fusion *f, bool has_anchor) {
    const char *name = region_name(f, has_anchor);
    TRY_ALLOC(f->ctx->diag, name);
    RegionId region = graph_add_region(f->graph, has_anchor ? f->nodes[0] : NONE, name);
    if (region == NONE) return FAIL(f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    gather_members(f);
    for (int32_t i = 0; i < f->count; ++i) f->graph->nodes[f->nodes[i]].region = region;
    pass_count_add(f->ctx, "regions", 1);
    pass_count_add(f->ctx, "fused_nodes", f->count - 1);
    return STATUS_OK;
}

/* Anchors first, so that a pointwise node goes to the contraction before it rather than to a chain behind it.
 */
static Status fuse_block(Fusion *f, BlockId id, bool anchors) {
    const Block *block = &f->graph->blocks[id];
    for (int32_t i = 0; i < block->node_count; ++i) {
        NodeId node = block->nodes[i];
        OpClass op_class = op_def(f->graph->nodes[node].op)->op_class;
        bool wanted = anchors ? op_class == OPCLASS_CONTRACTION : op_class == OPCLASS_POINTWISE;
        if (!wanted || f->graph->nodes[node].region != NONE || f->graph->nodes[node].outputs[0] == NONE)
            continue;
        grow(f, node);
        if (f->count > 1) TRY(make_region(f, anchors));
    }
    return STATUS_OK;
}

Status pass_fuse_vertical(PassCtx *ctx) {
    Fusion fusion = {.ctx = ctx, .graph = ctx->graph};
    Graph *graph = ctx->graph;
    if (!use_table_build(graph, ctx->scratch, &fusion.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    fusion.order = ARENA_ARRAY(ctx->scratch, int32_t, graph->node_count);
    TRY_ALLOC(ctx->diag, fusion.order);
    for (BlockId b = 0; b < graph->block_count; ++b)
        for (int32_t i = 0; i < graph->blocks[b].node_count; ++i) fusion.order[graph->blocks[b].nodes[i]] = i;
    for (BlockId b = 0; b < graph->block_count; ++b) {
        TRY(fuse_block(&fusion, b, true));
        TRY(fuse_block(&fusion, b, false));
    }
    return STATUS_OK;
}
