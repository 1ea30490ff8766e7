/* plan_memory: from where to where each value is needed. */
#include "passes/memory.h"

/* -- values -- */

bool memory_is_late(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    return !value->has_shape || shape_is_late(graph->dims, &value->shape);
}

bool memory_is_view(const Graph *graph, const Node *node) {
    if ((op_def(node->op)->flags & OPF_VIEW) == 0 || node->inputs[0] == NONE || node->outputs[0] == NONE)
        return false;
    const Value *from = &graph->values[node->inputs[0]], *to = &graph->values[node->outputs[0]];
    if (value_is_plain(from) && value_is_plain(to)) return true;
    return from->strides == NULL && to->strides == NULL && from->layout == to->layout &&
           from->channel_padding == to->channel_padding && shape_equal(&from->shape, &to->shape);
}

Dim memory_bytes(const Graph *graph, ValueId id) {
    Dim count = value_span(graph, id);
    int bits = dtype_bits(graph->values[id].dtype);
    if (bits % 8 == 0) return dim_mul(graph->dims, count, bits / 8);
    return dim_ceil_div(graph->dims, dim_mul(graph->dims, count, bits), 8);
}

Footprint memory_footprint(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    Dim own[SMELT_MAX_RANK];
    int64_t extents[SMELT_MAX_RANK], strides[SMELT_MAX_RANK];
    int64_t offset = dim_is_exact(value->buffer_offset) ? value->buffer_offset : -1;
    value_strides(graph, id, own);
    for (int32_t i = 0; i < value->shape.rank; ++i) {
        extents[i] = dim_is_exact(value->shape.dim[i]) ? value->shape.dim[i] : -1;
        strides[i] = dim_is_exact(own[i]) ? own[i] : -1;
    }
    int bits = dtype_bits(value->dtype);
    if (bits % 8 != 0) return (Footprint){.end = INT64_MAX};
    return footprint_of(offset, bits / 8, value->shape.rank, extents, strides);
}

/* -- lives -- */

static void note_use(Planner *p, ValueId value, BlockId block, int32_t position) {
    Life *life = &p->lives[value];
    while (block != life->block && p->graph->blocks[block].owner != NONE) {
        NodeId owner = p->graph->blocks[block].owner;
        position = p->positions[owner];
        block = p->graph->nodes[owner].block;
    }
    life->last_step = p->step;
    if (block == life->block && position > life->last_position) life->last_position = position;
}

static void note_definition(Planner *p, ValueId value, BlockId block) {
    p->lives[value] = (Life){.block = block,
                             .last_position = -1,
                             .first_step = p->step,
                             .last_step = p->step,
                             .outside = p->lives[value].outside};
}

static void walk_block(Planner *p, BlockId id);

static void walk_node(Planner *p, NodeId id, BlockId block, int32_t position) {
    const Node *node = &p->graph->nodes[id];
    p->positions[id] = position;
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE) note_use(p, node->inputs[i], block, position);
    for (int32_t i = 0; i < node->attrs.count; ++i)
        if (node->attrs.items[i].kind == ATTR_BLOCK) walk_block(p, (BlockId)node->attrs.items[i].ints[0]);
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE) note_definition(p, node->outputs[i], block);
    if (memory_is_view(p->graph, node) && p->lives[node->inputs[0]].outside &&
        !memory_is_late(p->graph, node->outputs[0]))
        p->lives[node->outputs[0]].outside = true;
}

static void walk_block(Planner *p, BlockId id) {
    const Block *block = &p->graph->blocks[id];
    for (int32_t i = 0; i < block->param_count; ++i) note_definition(p, block->params[i], id);
    for (int32_t i = 0; i < block->node_count; ++i) {
        if (id == MAIN_BLOCK && i > 0 && node_starts_step(p->graph, block, i)) p->step++;
        walk_node(p, block->nodes[i], id, i);
    }
    for (int32_t i = 0; i < block->result_count; ++i) note_use(p, block->results[i], id, NEVER_DIES);
}

Status memory_find_lives(Planner *p) {
    Graph *graph = p->graph;
    p->lives = ARENA_ARRAY(p->ctx->scratch, Life, graph->value_count);
    p->positions = ARENA_ARRAY(p->ctx->scratch, int32_t, graph->node_count);
    TRY_ALLOC(p->ctx->diag, p->lives);
    TRY_ALLOC(p->ctx->diag, p->positions);
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (ValueId v = 0; v < graph->value_count; ++v)
        p->lives[v] = (Life){.block = NONE, .outside = value_is_constant(graph, v)};
    for (int32_t i = 0; i < block->param_count; ++i) p->lives[block->params[i]].outside = true;
    for (int32_t i = 0; i < block->result_count; ++i) p->lives[block->results[i]].outside = true;
    p->step = 0;
    walk_block(p, MAIN_BLOCK);
    return STATUS_OK;
}
