/* Vertical fusion: an anchor with what is computed from its result, element by element, and with what its
 * input is computed from; chains of such nodes without an anchor.
 *
 * Behind an anchor any node may join that makes element by element of its result, looks at it under another
 * shape or permutes it. The group is committed each time a single result leaves it, so that what is fused
 * never needs a second buffer: x * sigmoid(x) joins as a whole or not at all. Then nodes are pulled in: what
 * only the region reads is computed where it is read, when that costs no more than to read it. One value in
 * front of an anchor may leave all the same: the sum in front of a normalization, which the next residual
 * reads too, is stored by the anchor as it is computed. A chain is what its last node pulls in.
 * Squeeze-and-excite is taken as a whole, from its pool on.
 */
#include <string.h>

#include "ir/cost.h"
#include "ops/conv.h"
#include "passes/fusion.h"

enum {
    NAME_PARTS = 6,
    STEM_CHANNELS = 4, /* of a convolution whose kernels have their results in shared memory for a pool, */
    STEM_TERMS = 512,  /* its sums' terms, */
    STEM_PACK = 8,     /* what its results' channels are a multiple of, */
    STEM_RESULTS = 1 << 20, /* its results: of more, what tiles compute twice takes longer than a launch */
    STEM_POOLED = 27,       /* and elements of the pool's windows */
    MOST_POOLED = 64        /* elements of a window that a tile of a convolution holds */
};

const Node *fusion_member(const Fusion *f, int32_t i) {
    return &f->graph->nodes[f->members[i].node];
}

/* The place of a node in the group, or NONE. */
int32_t fusion_find(const Fusion *f, NodeId node) {
    for (int32_t i = 0; node != NONE && i < f->count; ++i)
        if (f->members[i].node == node) return i;
    return NONE;
}

int32_t fusion_find_producer(const Fusion *f, ValueId value) {
    return value == NONE ? NONE : fusion_find(f, f->graph->values[value].producer);
}

/* -- behind the root -- */

bool fusion_value_escapes(const Fusion *f, ValueId value) {
    for (int32_t i = f->uses.first[value]; i < f->uses.first[value + 1]; ++i)
        if (fusion_find(f, f->uses.uses[i].node) == NONE) return true;
    return false;
}

static bool is_result_of_block(const Fusion *f, ValueId value) {
    for (int32_t i = f->uses.first[value]; i < f->uses.first[value + 1]; ++i)
        if (f->uses.uses[i].node == NONE) return true;
    return false;
}

/* Results 0 that leave the group; an anchor's others lie beside it in any case. */
static int32_t escaping_count(const Fusion *f) {
    int32_t escaping = 0;
    for (int32_t i = 0; i < f->count; ++i)
        if (fusion_value_escapes(f, fusion_member(f, i)->outputs[0])) escaping++;
    return escaping;
}

/* Known when the region begins, or made inside it. */
static bool input_is_ready(const Fusion *f, ValueId value) {
    if (value == NONE || fusion_find_producer(f, value) != NONE) return true;
    NodeId producer = f->graph->values[value].producer, root = f->members[0].node;
    if (producer == NONE || f->graph->nodes[producer].block != f->graph->nodes[root].block) return true;
    return f->order[producer] < f->order[root];
}

static bool is_late(const Graph *graph, ValueId value) {
    return shape_is_late(graph->dims, &graph->values[value].shape);
}

/* Why a node may not be part of this region or of any, but for what it is and reads; NULL when it may. */
const char *fusion_place_refusal(const Fusion *f, NodeId id) {
    const Node *node = &f->graph->nodes[id], *root = fusion_member(f, 0);
    if (node->block != root->block) return "it stands in another block";
    if (node->region != NONE) return "it belongs to another region";
    if (is_late(f->graph, node->outputs[0]) && !is_late(f->graph, root->outputs[0]))
        return "its size depends on data";
    return NULL;
}

const char *fusion_node_refusal(const Fusion *f, NodeId id, NodeForm *form) {
    const char *why;
    *form = node_form(f->graph, &f->graph->nodes[id], &why);
    return *form == FORM_OTHER ? why : fusion_place_refusal(f, id);
}

/* Of a constant shape from dimension 1 on. */
static int64_t terms_of(const Shape *weights) {
    int64_t terms = 1;
    for (int32_t i = 1; i < weights->rank; ++i) {
        if (!dim_is_exact(weights->dim[i]) || weights->dim[i] > STEM_TERMS) return STEM_TERMS + 1;
        if (terms <= STEM_TERMS) terms *= weights->dim[i];
    }
    return terms;
}

/* A convolution of few channels in half precision behind which a pool of maxima computes little again. */
static bool stem_pools(const Fusion *f, const Node *anchor, const Node *pool) {
    FormWindows windows;
    if (anchor->op != OP_Conv || !dtype_is_half(f->graph->values[anchor->inputs[0]].dtype)) return false;
    const Shape *w = &f->graph->values[anchor->inputs[1]].shape;
    if (((const ConvAttrs *)anchor->parsed)->group != 1 || terms_of(w) > STEM_TERMS ||
        w->dim[1] > STEM_CHANNELS || !dim_is_exact(w->dim[0]) || w->dim[0] % STEM_PACK != 0)
        return false;
    if (value_count_at_opt(f->graph, anchor->outputs[0]) > STEM_RESULTS) return false;
    if (form_maxima(f->graph, pool, &windows) != NULL || windows.taps > STEM_POOLED) return false;
    for (int32_t i = 0; i < windows.axes; ++i)
        if (windows.kernel[i] > windows.stride[i] + 1) return false;
    return true;
}

/* Why a pool cannot take the results of the convolution that the region is built around, as they are
 * computed; NULL when it can. */
static const char *pool_refusal(const Fusion *f, NodeId user) {
    const Node *node = &f->graph->nodes[user], *anchor = fusion_member(f, 0);
    FormWindows windows;
    int32_t from = fusion_find_producer(f, node->inputs[0]);
    bool stem = stem_pools(f, anchor, node);
    const char *why = stem ? NULL : form_windows(f->graph, node, &windows);
    if (why == NULL) why = fusion_place_refusal(f, user);
    if (why != NULL) return why;
    if (f->pools) return "another pool is in front of it";
    if (anchor->op != OP_Conv && anchor->op != OP_ConvInteger && anchor->op != OP_QLinearConv)
        return "only convolutions pool what they compute";
    if (node->inputs[0] != fusion_member(f, from)->outputs[0] || f->members[from].stage != 0)
        return "it reads the result in another order";
    if (stem) return NULL;
    if (windows.taps > MOST_POOLED) return "its windows are larger than what is computed at a time";
    if (pass_copies_channels(f->ctx, f->members[0].node)) return "the convolution alone has faster kernels";
    return NULL;
}

static bool is_pool(const Node *node) {
    return op_def(node->op)->op_class == OPCLASS_POOLING;
}

/* Why a user of the group's results cannot join; NULL when it can, with the stage that it reads. */
static const char *refusal(const Fusion *f, NodeId user, NodeForm *form, int32_t *stage) {
    const Node *node = &f->graph->nodes[user];
    *stage = NONE;
    *form = FORM_OTHER;
    if (is_pool(node)) return pool_refusal(f, user);
    const char *why = fusion_node_refusal(f, user, form);
    if (why != NULL) return why;
    if (*form == FORM_SELECTION) return "it selects elements";
    const Shape *result = &f->graph->values[node->outputs[0]].shape;
    for (int32_t i = 0; i < node->input_count; ++i) {
        int32_t from = fusion_find_producer(f, node->inputs[i]);
        if (from == NONE && !input_is_ready(f, node->inputs[i])) return "another input is computed later";
        if (from == NONE) continue;
        if (!form_has_operand(node, i) || node->inputs[i] != fusion_member(f, from)->outputs[0])
            return "it reads another result, or the whole of it";
        if (*form == FORM_ELEMENTS && !shape_equal(result, &f->graph->values[node->inputs[i]].shape))
            return "its result has another shape";
        if (*stage != NONE && *stage != f->members[from].stage) return "it reads the result in two orders";
        *stage = f->members[from].stage;
    }
    if (*form == FORM_PERMUTATION && !form_keeps_rows(f->graph, node) &&
        value_count_at_opt(f->graph, node->outputs[0]) > MOST_SCATTERED)
        return "it would store too many elements far apart";
    return NULL;
}

/* Adds the earliest user of an escaping result that can join. */
static bool add_next(Fusion *f, NodeForm *form) {
    NodeId best = NONE;
    int32_t stage, best_stage = NONE;
    NodeForm user_form;
    for (int32_t i = 0; i < f->count; ++i) {
        ValueId value = fusion_member(f, i)->outputs[0];
        for (int32_t u = f->uses.first[value]; u < f->uses.first[value + 1]; ++u) {
            NodeId user = f->uses.uses[u].node;
            if (user == NONE || fusion_find(f, user) != NONE) continue;
            if (best != NONE && f->order[user] >= f->order[best]) continue;
            if (refusal(f, user, &user_form, &stage) != NULL) continue;
            best = user;
            best_stage = stage;
            *form = user_form;
        }
    }
    if (best == NONE) return false;
    if (*form != FORM_ELEMENTS) best_stage = ++f->stages;
    f->pools = f->pools || *form == FORM_OTHER;
    f->members[f->count++] = (Member){.node = best, .stage = best_stage};
    return true;
}

/* Says why the group ends where it does. */
static void explain_end(Fusion *f) {
    f->count = f->committed;
    NodeForm form;
    int32_t stage;
    NodeId last = f->members[f->committed - 1].node;
    ValueId value = f->graph->nodes[last].outputs[0];
    int32_t users = use_count(&f->uses, value);
    if (users == 0) return;
    NodeId user = f->uses.uses[f->uses.first[value]].node;
    if (user == NONE)
        pass_reject(f->ctx, last, "its result is an output of the graph");
    else if (users > 1)
        pass_reject(f->ctx, last, "its result has %d users", users);
    else {
        const char *reason = refusal(f, user, &form, &stage);
        if (reason != NULL)
            pass_reject(f->ctx, user, "cannot join %s: %s", op_def(f->graph->nodes[last].op)->name, reason);
    }
}

/* A view at the end is free without the region, but for one that would be copied to an output. */
static void grow(Fusion *f) {
    NodeForm form;
    f->committed = 1;
    f->stages = 0;
    f->pools = false;
    while (f->count < REGION_NODES && add_next(f, &form)) {
        ValueId result = fusion_member(f, f->count - 1)->outputs[0];
        if (form == FORM_VIEW && !is_result_of_block(f, result)) continue;
        if (escaping_count(f) <= 1) f->committed = f->count;
    }
    explain_end(f);
}

/* -- regions -- */

/* In the order of the region: what was pulled in, as it stands in the block, then the root and what is behind
 * it. */
static void sort_members(Fusion *f) {
    Member sorted[REGION_NODES];
    int32_t cold = 0, total = 0;
    for (int32_t i = 0; i < f->count; ++i) {
        if (f->members[i].stage != NONE) continue;
        int32_t at = cold++;
        for (; at > 0 && f->order[sorted[at - 1].node] > f->order[f->members[i].node]; --at)
            sorted[at] = sorted[at - 1];
        sorted[at] = f->members[i];
    }
    total = cold;
    for (int32_t i = 0; i < f->count; ++i)
        if (f->members[i].stage != NONE) sorted[total++] = f->members[i];
    memcpy(f->members, sorted, sizeof(Member) * (size_t)total);
}

const char *region_name(const Graph *graph, const NodeId *nodes, int32_t count) {
    ByteWriter name = byte_writer(graph->arena);
    for (int32_t i = 0; i < count && i < NAME_PARTS; ++i) {
        const Node *node = &graph->nodes[nodes[i]];
        if (i > 0) write_u8(&name, '+');
        for (const char *c = op_def(node->op)->name; *c != '\0'; ++c)
            write_u8(&name, (uint8_t)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c));
        bool biased = (node->op == OP_Conv || node->op == OP_ConvTranspose || node->op == OP_Gemm) &&
                      node->input_count > 2;
        if (biased) write_format(&name, "+bias");
    }
    if (count > NAME_PARTS) write_format(&name, "+%d more", count - NAME_PARTS);
    write_u8(&name, 0);
    return name.failed ? NULL : (const char *)name.data;
}

/* Puts the members next to one another, around the root. */
static void gather_members(Fusion *f, NodeId root) {
    const Block *block = &f->graph->blocks[f->graph->nodes[root].block];
    int32_t at = node_position(f->graph, root), behind = 0;
    for (int32_t i = 0; i < f->count; ++i) {
        NodeId node = f->members[i].node;
        if (f->members[i].stage == NONE)
            node_move_before(f->graph, node, root);
        else if (block->nodes[at + behind++] != node)
            node_move_before(f->graph, node, block->nodes[at + behind - 1]);
        f->order[node] = f->order[root];
    }
}

/* Makes the group a region, or what has become of one that it is already. */
static Status make_region(Fusion *f) {
    NodeId root = f->members[0].node;
    RegionId region = f->graph->nodes[root].region;
    NodeId nodes[REGION_NODES];
    sort_members(f);
    for (int32_t i = 0; i < f->count; ++i) nodes[i] = f->members[i].node;
    const char *name = region_name(f->graph, nodes, f->count);
    TRY_ALLOC(f->ctx->diag, name);
    if (region == NONE) {
        region = graph_add_region(f->graph, f->has_anchor ? root : NONE, name);
        if (region == NONE) return FAIL(f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        pass_count_add(f->ctx, "regions", 1);
        pass_count_add(f->ctx, "fused_nodes", -1);
    }
    gather_members(f, root);
    f->graph->regions[region].name = name;
    for (int32_t i = 0; i < f->count; ++i) {
        Node *node = &f->graph->nodes[f->members[i].node];
        if (node->region == NONE) pass_count_add(f->ctx, "fused_nodes", 1);
        node->region = region;
    }
    return STATUS_OK;
}

/* The rest of the region that an anchor begins already. */
static void load_group(Fusion *f, NodeId anchor) {
    const Block *block = &f->graph->blocks[f->graph->nodes[anchor].block];
    RegionId region = f->graph->nodes[anchor].region;
    if (region == NONE) return;
    for (int32_t at = node_position(f->graph, anchor) + 1; at < block->node_count && f->count < REGION_NODES;
         ++at) {
        if (f->graph->nodes[block->nodes[at]].region != region) break;
        f->members[f->count++] = (Member){.node = block->nodes[at]};
    }
}

/* -- the pass -- */

/* Anchors before chains, so that a pointwise node goes to the anchor before it rather than to a chain behind
 * it; contractions first, since what follows them saves most, but for those of squeeze-and-excite. Chains
 * from their last node on: backwards. */
typedef enum Phase { SQUEEZES, CONTRACTIONS, ANCHORS, FRONTS, CHAINS, PHASE_COUNT } Phase;

/* A node that ends a chain. A large transpose is better done in tiles; a view at the end is free but for one
 * that would be copied to an output. */
static bool ends_chain(const Fusion *f, const Node *node) {
    switch (node_form(f->graph, node, NULL)) {
    case FORM_ELEMENTS:
        return true;
    case FORM_PERMUTATION:
        return form_keeps_rows(f->graph, node) ||
               value_count_at_opt(f->graph, node->outputs[0]) <= MOST_SCATTERED;
    case FORM_VIEW:
        return is_result_of_block(f, node->outputs[0]);
    default:
        return false;
    }
}

static bool is_root(const Fusion *f, const Node *node, Phase phase) {
    const OpDef *def = op_def(node->op);
    bool anchors = (def->flags & OPF_EPILOGUE) != 0, contracts = def->op_class == OPCLASS_CONTRACTION;
    if (node->output_count == 0 || node->outputs[0] == NONE) return false;
    if (phase == FRONTS) {
        NodeId id = (NodeId)(node - f->graph->nodes);
        return anchors && (node->region == NONE || f->graph->regions[node->region].anchor == id) &&
               !fusion_squeezes(f, id);
    }
    if (node->region != NONE) return false;
    if (phase == SQUEEZES) return node->op == OP_GlobalAveragePool;
    if (phase == CHAINS) return ends_chain(f, node);
    return anchors && contracts == (phase == CONTRACTIONS);
}

/* The group that a root begins, as far as the phase takes it. Sets *known to the members that were a step
 * before. */
static void form_group(Fusion *f, NodeId root, Phase phase, int32_t *known) {
    f->has_anchor = phase != CHAINS;
    f->members[0] = (Member){.node = root};
    f->count = *known = 1;
    if (phase == FRONTS) {
        load_group(f, root);
        *known = f->count;
    }
    if (phase == SQUEEZES)
        fusion_squeeze(f);
    else if (phase == FRONTS || phase == CHAINS)
        fusion_pull(f);
    else
        grow(f);
}

static Status fuse_block(Fusion *f, BlockId id, Phase phase) {
    const Block *block = &f->graph->blocks[id];
    for (int32_t i = 0; i < block->node_count; ++i) {
        NodeId node = block->nodes[phase == CHAINS ? block->node_count - 1 - i : i];
        int32_t known;
        if (!is_root(f, &f->graph->nodes[node], phase)) continue;
        form_group(f, node, phase, &known);
        if (f->count > known) TRY(make_region(f));
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
    for (BlockId b = 0; b < graph->block_count; ++b)
        for (int32_t phase = 0; phase < PHASE_COUNT; ++phase) TRY(fuse_block(&fusion, b, (Phase)phase));
    return STATUS_OK;
}
