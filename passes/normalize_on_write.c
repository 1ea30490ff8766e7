/* normalize_on_write: an InstanceNormalization or GroupNormalization, with what is computed from its
 * elements, joins the convolution whose result it alone reads: the kernel normalises what it has made once
 * all of its blocks have met; where the target has kernels for that and they take less time. */
#include <string.h>

#include "passes/contraction.h"
#include "passes/runs.h"

typedef struct Joiner {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
} Joiner;

/* The step of the convolution whose result the normalisation reads, with nothing behind it; or none. */
static Run maker_of(const Joiner *j, const Run *behind) {
    const Run none = {0};
    const Node *node = &j->graph->nodes[behind->nodes[0]];
    NodeId producer = j->graph->values[node->inputs[0]].producer;
    if (producer == NONE || j->graph->nodes[producer].op != OP_Conv ||
        j->graph->nodes[producer].block != node->block ||
        only_user(j->graph, &j->uses, node->block, node->inputs[0]) != behind->nodes[0])
        return none;
    Run maker = run_with(j->graph, producer);
    return maker.count > 0 && maker.nodes[maker.count - 1] == producer ? maker : none;
}

static void say_apart(const Joiner *j, NodeId node, const Way ways[2]) {
    if (ways[1].why != NULL)
        pass_reject(j->ctx, node, "cannot be computed by the convolution in front: %s", ways[1].why);
    else if (!(ways[0].microseconds > 0 && ways[1].microseconds > 0))
        pass_reject(j->ctx, node,
                    "is not computed by the convolution in front: nobody can tell what takes less time");
    else
        pass_reject(j->ctx, node,
                    "is not computed by the convolution in front: that would take %.1f us, as steps of their "
                    "own both take %.1f us",
                    ways[1].microseconds, ways[0].microseconds);
}

static Status join(Joiner *j, const Run *behind, bool announces) {
    const Run maker = maker_of(j, behind);
    if (maker.count == 0 || maker.count + behind->count > REGION_NODES) return STATUS_OK;
    Run whole = maker;
    NodeId anchor = maker.nodes[maker.count - 1];
    run_append(&whole, behind);
    Way ways[2] = {{.nodes = whole.nodes}, {.nodes = whole.nodes}};
    (void)way_add(&ways[0], maker.count, NONE);
    (void)way_add(&ways[0], behind->count, NONE);
    (void)way_add(&ways[1], whole.count, anchor);
    if (announces) {
        pass_target_announce(j->ctx, &j->uses, ways, 2);
        return STATUS_OK;
    }
    if (pass_target_choose(j->ctx, &j->uses, ways, 2) == 0) {
        say_apart(j, behind->nodes[0], ways);
        return STATUS_OK;
    }
    TRY(run_make_region(j->ctx, &whole, anchor));
    for (int32_t i = 0; i < maker.count; ++i) node_move_before(j->graph, maker.nodes[i], behind->nodes[0]);
    pass_count_add(j->ctx, "joined", 1);
    return STATUS_OK;
}

static Status visit_all(Joiner *j, bool announces) {
    const Block *block = &j->graph->blocks[MAIN_BLOCK];
    /* What joins comes from in front: no node takes the place of one that is yet to be seen. */
    for (int32_t i = 0; i < block->node_count; ++i) {
        NodeId id = block->nodes[i];
        const Run behind = normalizes_planes(j->graph, id) ? run_at(j->graph, id) : (Run){0};
        if (behind.count > 0) TRY(join(j, &behind, announces));
    }
    return STATUS_OK;
}

Status pass_normalize_on_write(PassCtx *ctx) {
    Joiner j = {.ctx = ctx, .graph = ctx->graph};
    if (ctx->target == NULL) return STATUS_OK;
    if (!use_table_build(ctx->graph, ctx->scratch, &j.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(visit_all(&j, true));
    return visit_all(&j, false);
}
