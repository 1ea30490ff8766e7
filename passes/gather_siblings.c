/* gather_siblings: the shortcut of a residual block is computed right behind the contraction that it can be
 * merged with.
 *
 * Exporters write the shortcut's convolution last, just before the addition, which vertical fusion would then
 * put behind it. Where an earlier contraction reads the same value in the same way, the shortcut goes there:
 * the addition joins the end of the branch instead, and the two become one wider step (fuse_horizontal). */
#include "passes/contraction.h"
#include "passes/pressure.h"
#include "passes/siblings.h"

enum {
    MOST_COMPARED = 16,
    MOST_DISTANCE = 64, /* steps that a shortcut skips at most */
    PEAK_SHARE = 16     /* the peak of memory may grow by one part in so many */
};

typedef struct Gatherer {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
    Pressure pressure;
    int64_t peak_limit;
} Gatherer;

/* The Add that is the only user of the contraction's result, with an operand that the block computes. */
static NodeId residual_add(const Gatherer *g, const Node *node) {
    NodeId add = only_user(g->graph, &g->uses, node->block, node->outputs[0]);
    const Node *row = add == NONE ? NULL : &g->graph->nodes[add];
    if (row == NULL || (row->op != OP_Add && row->op != OP_Sum) || row->input_count != 2) return NONE;
    ValueId other = row->inputs[row->inputs[0] == node->outputs[0] ? 1 : 0];
    NodeId producer = g->graph->values[other].producer;
    return producer != NONE && g->graph->nodes[producer].block == node->block ? add : NONE;
}

/* Alone as nodes; what follows them has not been fused yet. */
static bool agree(const Gatherer *g, const NodeId *first, const NodeId *second) {
    Unit a, b;
    if (unit_read(g->graph, &g->uses, first, 1, &a) != NULL ||
        unit_read(g->graph, &g->uses, second, 1, &b) != NULL)
        return false;
    return a.groups == 1 && b.groups == 1 && units_differ(g->graph, &a, &b) == NULL;
}

/* The first node before `id` that reads its input and agrees with it, or NONE. */
static NodeId find_sibling(const Gatherer *g, NodeId id) {
    const Node *node = &g->graph->nodes[id];
    ValueId input = node->inputs[0];
    int32_t count = use_count(&g->uses, input);
    for (int32_t i = 0; i < count && i < MOST_COMPARED; ++i) {
        const struct Use *use = &g->uses.uses[g->uses.first[input] + i];
        if (use->node == id) return NONE;
        if (use->node == NONE || use->index != 0 || g->graph->nodes[use->node].op != node->op ||
            g->graph->nodes[use->node].block != node->block)
            continue;
        if (agree(g, &use->node, &id)) return use->node;
    }
    return NONE;
}

static bool takes_memory(const Gatherer *g, int32_t from, int32_t to, ValueId result) {
    int64_t bytes = value_bytes_at_opt(g->graph, result);
    for (int32_t step = from; step < to; ++step)
        if (g->pressure.live[step] + bytes > g->peak_limit) return true;
    return false;
}

static Status gather(Gatherer *g, NodeId id) {
    const Node *node = &g->graph->nodes[id];
    if (!op_has_siblings(node->op) || node->outputs[0] == NONE || residual_add(g, node) == NONE)
        return STATUS_OK;
    NodeId sibling = find_sibling(g, id);
    if (sibling == NONE) return STATUS_OK;
    int32_t from = g->pressure.made[g->graph->nodes[sibling].outputs[0]],
            to = g->pressure.made[node->outputs[0]];
    if (to - from > MOST_DISTANCE) {
        pass_reject(g->ctx, id, "not moved to its sibling: it is too many steps away");
        return STATUS_OK;
    }
    if (takes_memory(g, from, to, node->outputs[0])) {
        pass_reject(g->ctx, id, "not moved to its sibling: its result would raise the peak of memory");
        return STATUS_OK;
    }
    const Block *block = &g->graph->blocks[node->block];
    node_move_before(g->graph, id, block->nodes[node_position(g->graph, sibling) + 1]);
    pass_count_add(g->ctx, "moved", 1);
    return STATUS_OK;
}

Status pass_gather_siblings(PassCtx *ctx) {
    Gatherer g = {.ctx = ctx, .graph = ctx->graph};
    if (!use_table_build(ctx->graph, ctx->scratch, &g.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(pressure_create(ctx, &g.pressure));
    for (BlockId b = 0; b < ctx->graph->block_count; ++b) {
        const Block *block = &ctx->graph->blocks[b];
        if (!block_is_live(ctx->graph, b)) continue;
        TRY(pressure_enter(ctx, &g.pressure, b));
        g.peak_limit = g.pressure.peak + g.pressure.peak / PEAK_SHARE;
        for (int32_t i = 0; i < block->node_count; ++i) TRY(gather(&g, block->nodes[i]));
    }
    return STATUS_OK;
}
