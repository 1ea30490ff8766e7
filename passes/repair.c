/* Models that break a rule of ONNX but mean only one thing. */
#include "passes/infer.h"
#include "passes/rewrite.h"

/* -- scalars among the operands of a concatenation of vectors -- */

static Status grow_types(Inference *inf) {
    if (inf->type_count >= inf->graph->value_count) return STATUS_OK;
    int32_t wanted = inf->graph->value_count + inf->graph->value_count / 2;
    inf->types =
        arena_grow(inf->ctx->scratch, inf->types, (size_t)inf->type_count, (size_t)wanted, sizeof(TypeInfo));
    TRY_ALLOC(inf->ctx->diag, inf->types);
    inf->type_count = wanted;
    return STATUS_OK;
}

/* Puts Unsqueeze(operand, [0]) before the node. */
static Status unsqueeze_operand(Inference *inf, NodeId id, int32_t index) {
    static const int64_t first_axis[] = {0};
    Graph *graph = inf->graph;
    const AttrList none = {0};
    NodeId unsqueeze;
    ValueId axes = graph_add_constant_i64(graph, NULL, 1, first_axis), vector = graph_add_value(graph, NULL);
    if (axes == NONE || vector == NONE) return FAIL(inf->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    const ValueId inputs[] = {graph->nodes[id].inputs[index], axes};
    TRY(grow_types(inf));
    inf->types[axes] =
        (TypeInfo){.dtype = DTYPE_I64, .shape = graph->values[axes].shape, .data = graph->values[axes].data};
    TRY(graph_insert_node(graph, id, true, OP_Unsqueeze, graph->nodes[id].name, &none, 2, inputs, 1, &vector,
                          &unsqueeze, inf->ctx->diag));
    if (!node_add_origins(graph, unsqueeze, id))
        return FAIL(inf->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph->nodes[id].inputs[index] = vector;
    return STATUS_OK;
}

Status repair_concat(Inference *inf, NodeId id, bool *repaired) {
    bool vectors = false;
    int32_t scalars = 0;
    *repaired = false;
    if (inf->tentative) return STATUS_OK;
    for (int32_t i = 0; i < inf->graph->nodes[id].input_count; ++i) {
        ValueId operand = inf->graph->nodes[id].inputs[i];
        if (operand == NONE || inf->types[operand].dtype == DTYPE_NONE) return STATUS_OK;
        vectors = vectors || inf->types[operand].shape.rank == 1;
        scalars += inf->types[operand].shape.rank == 0;
    }
    if (!vectors || scalars == 0) return STATUS_OK;
    for (int32_t i = 0; i < inf->graph->nodes[id].input_count; ++i)
        if (inf->types[inf->graph->nodes[id].inputs[i]].shape.rank == 0) TRY(unsqueeze_operand(inf, id, i));
    pass_count_add(inf->ctx, "scalars_concatenated", scalars);
    *repaired = true;
    return STATUS_OK;
}

/* -- an If that squeezes an axis where its extent is 1, and else does not -- */

/* The value that the block's only node squeezes into its only result, or NONE. */
static ValueId squeezed_value(const Graph *graph, BlockId id) {
    const Block *block = &graph->blocks[id];
    if (block->node_count != 1 || block->result_count != 1) return NONE;
    const Node *node = &graph->nodes[block->nodes[0]];
    return node->op == OP_Squeeze && node->outputs[0] == block->results[0] ? node->inputs[0] : NONE;
}

static bool passes_through(const Graph *graph, BlockId id, ValueId value) {
    const Block *block = &graph->blocks[id];
    if (block->result_count != 1) return false;
    if (block->results[0] == value) return true;
    if (block->node_count != 1) return false;
    const Node *node = &graph->nodes[block->nodes[0]];
    return node->op == OP_Identity && node->outputs[0] == block->results[0] && node->inputs[0] == value;
}

/* Every axis that the block's Squeeze names may have extent 1. */
static bool may_squeeze(const Inference *inf, BlockId id) {
    const Graph *graph = inf->graph;
    const Node *node = &graph->nodes[graph->blocks[id].nodes[0]];
    const Shape *shape = &inf->types[node->inputs[0]].shape;
    const TypeInfo *axes =
        node->input_count > 1 && node->inputs[1] != NONE ? &inf->types[node->inputs[1]] : NULL;
    if (axes == NULL || axes->data == NULL) return true;
    int64_t count = axes->shape.rank == 0 ? 1 : axes->shape.dim[0];
    for (int64_t i = 0; i < count; ++i) {
        int64_t axis = dtype_load_i64(axes->dtype, axes->data, i), low, high;
        if (axis < 0) axis += shape->rank;
        if (axis < 0 || axis >= shape->rank) return true;
        dim_bounds(graph->dims, shape->dim[axis], &low, &high);
        if (low > 1 || high < 1 || dim_divisor(graph->dims, shape->dim[axis]) != 1) return false;
    }
    return true;
}

int repair_squeeze(const Inference *inf, const BlockId branch[2]) {
    for (int i = 0; i < 2; ++i) {
        ValueId value = squeezed_value(inf->graph, branch[i]);
        if (value != NONE && passes_through(inf->graph, branch[!i], value))
            return may_squeeze(inf, branch[i]) ? i : !i;
    }
    return -1;
}
