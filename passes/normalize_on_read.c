/* normalize_on_read: an InstanceNormalization or GroupNormalization, with what is computed from its elements,
 * joins the convolution that alone reads the result, which then normalises what it reads; where the target
 * has kernels for that and they take less time. */
#include "passes/contraction.h"
#include "passes/fusion.h"

typedef struct Joiner {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
} Joiner;

/* A run of nodes that is a step. */
typedef struct Run {
    NodeId nodes[REGION_NODES];
    int32_t count; /* 0: longer than that, or not where a step begins */
} Run;

static Run run_at(const Joiner *j, NodeId first) {
    const Block *block = &j->graph->blocks[j->graph->nodes[first].block];
    int32_t at = node_position(j->graph, first), end = step_end(j->graph, block, at);
    Run run = {0};
    if (!node_starts_step(j->graph, block, at) || end - at > REGION_NODES) return run;
    for (int32_t i = at; i < end; ++i) run.nodes[run.count++] = block->nodes[i];
    return run;
}

static double cost_of(const Joiner *j, const Run *run) {
    return pass_target_cost(j->ctx, &j->uses, run->nodes, run->count);
}

/* The step that reads what the first one makes, or none. */
static Run reader_of(const Joiner *j, const Run *front) {
    const Run none = {0};
    const Node *last = &j->graph->nodes[front->nodes[front->count - 1]];
    if (last->output_count != 1 || last->outputs[0] == NONE) return none;
    NodeId user = only_user(j->graph, &j->uses, last->block, last->outputs[0]);
    if (user == NONE) return none;
    const Node *reader = &j->graph->nodes[user];
    bool convolves = reader->op == OP_Conv || reader->op == OP_ConvTranspose;
    return convolves && reader->inputs[0] == last->outputs[0] ? run_at(j, user) : none;
}

/* Region of the whole, which the nodes are not in yet. */
static Status region_for(Joiner *j, const Run *whole, NodeId anchor, RegionId *out) {
    const char *name = region_name(j->graph, whole->nodes, whole->count);
    TRY_ALLOC(j->ctx->diag, name);
    *out = graph_add_region(j->graph, anchor, name);
    return *out != NONE ? STATUS_OK : FAIL(j->ctx->diag, STATUS_NO_MEMORY, "out of memory");
}

static void set_region(Joiner *j, const Run *run, RegionId region) {
    for (int32_t i = 0; i < run->count; ++i) j->graph->nodes[run->nodes[i]].region = region;
}

/* Whether it is done as one step, *region of which the nodes are in then. */
static bool gains(Joiner *j, const Run *front, const Run *reader, const Run *whole, RegionId region) {
    double apart = cost_of(j, front), alone = cost_of(j, reader);
    set_region(j, whole, region);
    const char *why = pass_target_refuses(j->ctx, &j->uses, whole->nodes, whole->count);
    double together = why == NULL ? cost_of(j, whole) : 0;
    if (why == NULL && together > 0 && apart > 0 && alone > 0 && together < apart + alone) return true;
    const char *name = op_def(j->graph->nodes[reader->nodes[0]].op)->name;
    if (why != NULL)
        pass_reject(j->ctx, front->nodes[0], "cannot be computed as %s reads it: %s", name, why);
    else
        pass_reject(
            j->ctx, front->nodes[0],
            "is not computed as %s reads it: that would take %.1f us, as a step of its own %.1f us with "
            "the convolution's %.1f us",
            name, together, apart, alone);
    return false;
}

static Status join(Joiner *j, const Run *front) {
    const Run reader = reader_of(j, front);
    RegionId region;
    if (reader.count == 0 || front->count + reader.count > REGION_NODES) return STATUS_OK;
    RegionId before[] = {j->graph->nodes[front->nodes[0]].region, j->graph->nodes[reader.nodes[0]].region};
    int32_t regions = j->graph->region_count;
    Run whole = *front;
    for (int32_t i = 0; i < reader.count; ++i) whole.nodes[whole.count++] = reader.nodes[i];
    TRY(region_for(j, &whole, reader.nodes[0], &region));
    if (!gains(j, front, &reader, &whole, region)) {
        set_region(j, front, before[0]);
        set_region(j, &reader, before[1]);
        j->graph->region_count = regions;
        return STATUS_OK;
    }
    for (int32_t i = 0; i < front->count; ++i) node_move_before(j->graph, front->nodes[i], reader.nodes[0]);
    pass_count_add(j->ctx, "joined", 1);
    return STATUS_OK;
}

Status pass_normalize_on_read(PassCtx *ctx) {
    Joiner j = {.ctx = ctx, .graph = ctx->graph};
    const Block *block = &ctx->graph->blocks[MAIN_BLOCK];
    if (ctx->target == NULL) return STATUS_OK;
    if (!use_table_build(ctx->graph, ctx->scratch, &j.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    /* What joins moves behind, so that a place may hold another node afterwards. */
    for (int32_t i = 0; i < block->node_count;) {
        NodeId id = block->nodes[i];
        OpId op = ctx->graph->nodes[id].op;
        bool planes = op == OP_InstanceNormalization || op == OP_GroupNormalization;
        const Run front = planes ? run_at(&j, id) : (Run){0};
        if (front.count > 0) TRY(join(&j, &front));
        if (block->nodes[i] == id) ++i;
    }
    return STATUS_OK;
}
