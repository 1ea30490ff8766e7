/* normalize_on_read: an InstanceNormalization or GroupNormalization, with what is computed from its elements,
 * joins the first convolution that reads the result, which then normalises what it reads, and stores it for
 * other readers; where the target has kernels for that and they take less time. */
#include "passes/contraction.h"
#include "passes/runs.h"

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

/* The normalisation and its reader by themselves, and as one; *all are the nodes of both ways. */
static void list_ways(const Joiner *j, const Run *front, const Run *reader, Run *all, Way ways[2]) {
    Run maker = maker_of(j, front, reader);
    if (maker.count + front->count + reader->count > REGION_NODES) maker.count = 0;
    *all = maker;
    run_append(all, front);
    run_append(all, reader);
    for (int32_t i = 0; i < 2; ++i) {
        ways[i] = (Way){.nodes = all->nodes, .shared = maker.count > 0 ? 1 : 0};
        if (maker.count > 0) (void)way_add(&ways[i], maker.count, NONE);
    }
    (void)way_add(&ways[0], front->count, NONE);
    (void)way_add(&ways[0], reader->count, NONE);
    (void)way_add(&ways[1], front->count + reader->count, reader->nodes[0]);
}

static Status join(Joiner *j, const Run *front) {
    Joint joint = {.first = *front, .second = reader_of(j, front), .normalisation = front->nodes[0]};
    const Run *reader = &joint.second;
    Run all;
    Way ways[2];
    if (reader->count == 0 || front->count + reader->count > REGION_NODES) return STATUS_OK;
    list_ways(j, front, reader, &all, ways);
    joint.anchor = reader->nodes[0];
    joint.how = arena_printf(j->ctx->scratch, "computed as %s reads it",
                             op_def(j->graph->nodes[joint.anchor].op)->name);
    TRY_ALLOC(j->ctx->diag, joint.how);
    return joiner_join(j, &joint, ways);
}

Status pass_normalize_on_read(PassCtx *ctx) {
    return join_normalisations(ctx, join);
}
