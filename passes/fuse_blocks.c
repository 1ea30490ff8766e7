/* fuse_blocks: steps that read one another's results, and nothing else of size, become one step.
 *
 * Inverted residuals: a 1x1 convolution to many channels, one of each of these by itself, and one back to
 * few, each with what follows it element by element. What lies between them is several times as large as what
 * goes in and out. Whether a step of all three is faster is the target's to say, which times both ways or
 * reckons: its kernels compute the seams of their tiles twice.
 *
 * Residual blocks: a 1x1 convolution to few channels, a larger one among these and one back to many, with the
 * shortcut's convolution where there is one. Only all of them together are worth it. */
#include "passes/blocks.h"
#include "passes/fusion.h"

/* What comes in front of the last step moves to it: only the steps themselves read what is in between. */
static Status join(PassCtx *ctx, const ConvBlock *b, int32_t way) {
    Graph *graph = ctx->graph;
    const NodeId *nodes = b->nodes;
    int32_t count = 0;
    for (int32_t i = 0; i < (int32_t)b->first[way]; ++i) nodes += b->steps[i].count;
    for (int32_t i = (int32_t)b->first[way]; i <= (int32_t)b->last[way]; ++i) count += b->steps[i].count;
    NodeId last = b->steps[b->last[way]].anchor;
    RegionId region = graph->nodes[nodes[0]].region;
    const char *name = region_name(graph, nodes, count);
    TRY_ALLOC(ctx->diag, name);
    if (region == NONE) region = graph_add_region(graph, nodes[0], name);
    if (region == NONE) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph->regions[region].name = name;
    for (int32_t i = 0; nodes[i] != last; ++i) node_move_before(graph, nodes[i], last);
    for (int32_t i = 0; i < count; ++i) graph->nodes[nodes[i]].region = region;
    pass_count_add(ctx, "blocks", 1);
    return STATUS_OK;
}

static void say_apart(PassCtx *ctx, NodeId middle, const ConvBlock *b) {
    const Way *apart = &b->ways[0], *whole = &b->ways[1];
    if (whole->why != NULL)
        pass_reject(ctx, middle, "cannot be one step with the convolutions around it: %s", whole->why);
    else if (whole->microseconds > 0 && apart->microseconds > 0)
        pass_reject(
            ctx, middle,
            "is no step with the convolutions around it: they are faster apart, %.1f us against %.1f us",
            apart->microseconds, whole->microseconds);
    else
        pass_reject(ctx, middle, "is no step with the convolutions around it: they are faster apart");
}

/* announces: only says what it will ask. */
static Status fuse(PassCtx *ctx, const UseTable *uses, NodeId middle, bool announces) {
    ConvBlock b;
    if (!conv_block_find(ctx->graph, uses, middle, &b)) return STATUS_OK;
    if (announces) {
        pass_target_announce(ctx, uses, b.ways, b.way_count);
        return STATUS_OK;
    }
    int32_t best = pass_target_choose(ctx, uses, b.ways, b.way_count);
    if (best != 0) return join(ctx, &b, best);
    say_apart(ctx, middle, &b);
    return STATUS_OK;
}

/* A convolution with windows of more than one element. */
static bool has_taps(const Graph *graph, const Node *node) {
    if (node->op != OP_Conv) return false;
    const Shape *w = &graph->values[node->inputs[1]].shape;
    for (int32_t i = 2; i < w->rank; ++i)
        if (w->dim[i] != 1) return true;
    return false;
}

static Status visit_all(PassCtx *ctx, const UseTable *uses, bool announces) {
    const Graph *graph = ctx->graph;
    for (BlockId id = 0; id < graph->block_count; ++id) {
        const Block *block = &graph->blocks[id];
        for (int32_t i = 0; i < block->node_count; ++i)
            if (has_taps(graph, &graph->nodes[block->nodes[i]]))
                TRY(fuse(ctx, uses, block->nodes[i], announces));
    }
    return STATUS_OK;
}

Status pass_fuse_blocks(PassCtx *ctx) {
    UseTable uses;
    if (ctx->target == NULL) return STATUS_OK; /* whose kernels it is all about */
    if (!use_table_build(ctx->graph, ctx->scratch, &uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(visit_all(ctx, &uses, true));
    return visit_all(ctx, &uses, false);
}
