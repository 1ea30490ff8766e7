/* normalize_on_read: an InstanceNormalization or GroupNormalization, with what is computed from its elements,
 * joins the first convolution that reads the result, which then normalises what it reads, and stores it for
 * other readers; where the target has kernels for that and they take less time. */
#include <string.h>

#include "passes/contraction.h"
#include "passes/runs.h"

typedef struct Joiner {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
} Joiner;

/* The node that reads the value first of all, which only nodes of the block read, or NONE. */
static NodeId first_user(const Joiner *j, BlockId block, ValueId value) {
    NodeId first = NONE;
    for (int32_t i = 0; i < use_count(&j->uses, value); ++i) {
        NodeId user = j->uses.uses[j->uses.first[value] + i].node;
        if (user == NONE || j->graph->nodes[user].op == OP_NONE || j->graph->nodes[user].block != block)
            return NONE;
        if (first == NONE || node_position(j->graph, user) < node_position(j->graph, first)) first = user;
    }
    return first;
}

/* The step that reads what the first one makes before others do, or none. */
static Run reader_of(const Joiner *j, const Run *front) {
    const Run none = {0};
    const Node *last = &j->graph->nodes[front->nodes[front->count - 1]];
    if (last->output_count != 1 || last->outputs[0] == NONE) return none;
    NodeId user = first_user(j, last->block, last->outputs[0]);
    if (user == NONE) return none;
    const Node *reader = &j->graph->nodes[user];
    bool convolves = reader->op == OP_Conv || reader->op == OP_ConvTranspose;
    return convolves && reader->inputs[0] == last->outputs[0] ? run_at(j->graph, user) : none;
}

/* The step that makes what the normalisation reads, where all three stand one behind the other: it may leave
 * moments to either. */
static Run maker_of(const Joiner *j, const Run *front, const Run *reader) {
    const Run none = {0};
    NodeId producer = j->graph->values[j->graph->nodes[front->nodes[0]].inputs[0]].producer;
    const Block *block = &j->graph->blocks[MAIN_BLOCK];
    int32_t at = node_position(j->graph, front->nodes[0]);
    if (producer == NONE || at == 0 || block->nodes[at - 1] != producer ||
        node_position(j->graph, reader->nodes[0]) != at + front->count)
        return none;
    return run_with(j->graph, producer);
}

/* The normalisation and its reader by themselves, and as one; *nodes are all of them. */
static int32_t list_ways(const Joiner *j, const Run *front, const Run *reader, NodeId *nodes, Way ways[2]) {
    Run maker = maker_of(j, front, reader), all = {0};
    if (maker.count + front->count + reader->count > REGION_NODES) maker.count = 0;
    run_append(&all, &maker);
    run_append(&all, front);
    run_append(&all, reader);
    memcpy(nodes, all.nodes, sizeof(NodeId) * (size_t)all.count);
    for (int32_t i = 0; i < 2; ++i) {
        ways[i] = (Way){.nodes = nodes, .shared = maker.count > 0 ? 1 : 0};
        if (maker.count > 0) (void)way_add(&ways[i], maker.count, NONE);
    }
    (void)way_add(&ways[0], front->count, NONE);
    (void)way_add(&ways[0], reader->count, NONE);
    (void)way_add(&ways[1], front->count + reader->count, reader->nodes[0]);
    return 2;
}

static void say_apart(const Joiner *j, const Run *front, const Run *reader, const Way ways[2]) {
    const char *name = op_def(j->graph->nodes[reader->nodes[0]].op)->name;
    if (ways[1].why != NULL)
        pass_reject(j->ctx, front->nodes[0], "cannot be computed as %s reads it: %s", name, ways[1].why);
    else if (!(ways[0].microseconds > 0 && ways[1].microseconds > 0))
        pass_reject(j->ctx, front->nodes[0],
                    "is not computed as %s reads it: nobody can tell what takes less time", name);
    else
        pass_reject(j->ctx, front->nodes[0],
                    "is not computed as %s reads it: that would take %.1f us, as steps of their own both "
                    "take %.1f us",
                    name, ways[1].microseconds, ways[0].microseconds);
}

static Status join(Joiner *j, const Run *front, bool announces) {
    const Run reader = reader_of(j, front);
    NodeId nodes[REGION_NODES];
    Way ways[2];
    if (reader.count == 0 || front->count + reader.count > REGION_NODES) return STATUS_OK;
    int32_t count = list_ways(j, front, &reader, nodes, ways);
    if (announces) {
        pass_target_announce(j->ctx, &j->uses, ways, count);
        return STATUS_OK;
    }
    if (pass_target_choose(j->ctx, &j->uses, ways, count) == 0) {
        say_apart(j, front, &reader, ways);
        return STATUS_OK;
    }
    Run whole = *front;
    run_append(&whole, &reader);
    TRY(run_make_region(j->ctx, &whole, reader.nodes[0]));
    for (int32_t i = 0; i < front->count; ++i) node_move_before(j->graph, front->nodes[i], reader.nodes[0]);
    pass_count_add(j->ctx, "joined", 1);
    return STATUS_OK;
}

static Status visit_all(Joiner *j, bool announces) {
    const Block *block = &j->graph->blocks[MAIN_BLOCK];
    /* What joins moves behind, so that a place may hold another node afterwards. */
    for (int32_t i = 0; i < block->node_count;) {
        NodeId id = block->nodes[i];
        const Run front = normalizes_planes(j->graph, id) ? run_at(j->graph, id) : (Run){0};
        if (front.count > 0) TRY(join(j, &front, announces));
        if (block->nodes[i] == id) ++i;
    }
    return STATUS_OK;
}

Status pass_normalize_on_read(PassCtx *ctx) {
    Joiner j = {.ctx = ctx, .graph = ctx->graph};
    if (ctx->target == NULL) return STATUS_OK;
    if (!use_table_build(ctx->graph, ctx->scratch, &j.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(visit_all(&j, true));
    return visit_all(&j, false);
}
