#include "passes/runs.h"

Run run_at(const Graph *graph, NodeId first) {
    const Block *block = &graph->blocks[graph->nodes[first].block];
    int32_t at = node_position(graph, first), end = step_end(graph, block, at);
    Run run = {0};
    if (!node_starts_step(graph, block, at) || end - at > REGION_NODES) return run;
    for (int32_t i = at; i < end; ++i) run.nodes[run.count++] = block->nodes[i];
    return run;
}

Run run_with(const Graph *graph, NodeId node) {
    const Block *block = &graph->blocks[graph->nodes[node].block];
    return run_at(graph, block->nodes[step_begin(graph, block, node_position(graph, node))]);
}

void run_append(Run *to, const Run *from) {
    for (int32_t i = 0; i < from->count; ++i) to->nodes[to->count++] = from->nodes[i];
}

/* -- normalisations that join a convolution -- */

/* Makes a region of both runs, which need not be neighbours yet. */
static Status make_region(const Joiner *j, const Joint *joint) {
    Run whole = joint->first;
    run_append(&whole, &joint->second);
    const char *name = region_name(j->graph, whole.nodes, whole.count);
    TRY_ALLOC(j->ctx->diag, name);
    RegionId region = graph_add_region(j->graph, joint->anchor, name);
    if (region == NONE) return FAIL(j->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < whole.count; ++i) j->graph->nodes[whole.nodes[i]].region = region;
    return STATUS_OK;
}

static void say_apart(const Joiner *j, const Joint *joint, const Way ways[2]) {
    if (ways[1].why != NULL)
        pass_reject(j->ctx, joint->normalisation, "cannot be %s: %s", joint->how, ways[1].why);
    else if (!(ways[0].microseconds > 0 && ways[1].microseconds > 0))
        pass_reject(j->ctx, joint->normalisation, "is not %s: nobody can tell what takes less time",
                    joint->how);
    else
        pass_reject(j->ctx, joint->normalisation,
                    "is not %s: that would take %.1f us, as steps of their own both take %.1f us", joint->how,
                    ways[1].microseconds, ways[0].microseconds);
}

Status joiner_join(Joiner *j, const Joint *joint, Way ways[2]) {
    if (j->announces) {
        pass_target_announce(j->ctx, &j->uses, ways, 2);
        return STATUS_OK;
    }
    if (pass_target_choose(j->ctx, &j->uses, ways, 2) == 0) {
        say_apart(j, joint, ways);
        return STATUS_OK;
    }
    TRY(make_region(j, joint));
    for (int32_t i = 0; i < joint->first.count; ++i)
        node_move_before(j->graph, joint->first.nodes[i], joint->second.nodes[0]);
    pass_count_add(j->ctx, "joined", 1);
    return STATUS_OK;
}

/* InstanceNormalization or GroupNormalization. */
static bool normalizes_planes(const Graph *graph, NodeId node) {
    OpId op = graph->nodes[node].op;
    return op == OP_InstanceNormalization || op == OP_GroupNormalization;
}

static Status visit_all(Joiner *j, Status (*visit)(Joiner *j, const Run *normalisation)) {
    const Block *block = &j->graph->blocks[MAIN_BLOCK];
    /* What joins may move behind, so that a place may hold another node afterwards. */
    for (int32_t i = 0; i < block->node_count;) {
        NodeId id = block->nodes[i];
        const Run run = normalizes_planes(j->graph, id) ? run_at(j->graph, id) : (Run){0};
        if (run.count > 0) TRY(visit(j, &run));
        if (block->nodes[i] == id) ++i;
    }
    return STATUS_OK;
}

Status join_normalisations(PassCtx *ctx, Status (*visit)(Joiner *j, const Run *normalisation)) {
    Joiner j = {.ctx = ctx, .graph = ctx->graph, .announces = true};
    if (ctx->target == NULL) return STATUS_OK;
    if (!use_table_build(ctx->graph, ctx->scratch, &j.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(visit_all(&j, visit));
    j.announces = false;
    return visit_all(&j, visit);
}
