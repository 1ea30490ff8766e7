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
    int32_t at = node_position(graph, node);
    while (!node_starts_step(graph, block, at)) --at;
    return run_at(graph, block->nodes[at]);
}

void run_append(Run *to, const Run *from) {
    for (int32_t i = 0; i < from->count; ++i) to->nodes[to->count++] = from->nodes[i];
}

Status run_make_region(PassCtx *ctx, const Run *whole, NodeId anchor) {
    const char *name = region_name(ctx->graph, whole->nodes, whole->count);
    TRY_ALLOC(ctx->diag, name);
    RegionId region = graph_add_region(ctx->graph, anchor, name);
    if (region == NONE) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < whole->count; ++i) ctx->graph->nodes[whole->nodes[i]].region = region;
    return STATUS_OK;
}

bool normalizes_planes(const Graph *graph, NodeId node) {
    OpId op = graph->nodes[node].op;
    return op == OP_InstanceNormalization || op == OP_GroupNormalization;
}
