/* Models that break a rule of ONNX but mean only one thing. */
#include <string.h>

#include "base/checked.h"
#include "ops/pointwise.h"
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
        int64_t axis = dtype_load_i64(axes->dtype, axes->data, i);
        if (axis < 0) axis += shape->rank;
        if (axis < 0 || axis >= shape->rank) return true;
        if (!dim_may_be_one(graph->dims, shape->dim[axis])) return false;
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

/* -- an If whose result has one rank or another, where that makes no difference -- */

static bool has_two_ranks(const Inference *inf, ValueId value) {
    for (int32_t i = 0; i < inf->two_rank_count; ++i)
        if (inf->two_ranks[i] == value) return true;
    return false;
}

static Status note_two_ranks(Inference *inf, ValueId value) {
    if (value == NONE || has_two_ranks(inf, value)) return STATUS_OK;
    if (!ARENA_RESERVE(inf->ctx->scratch, inf->two_ranks, inf->two_rank_count, inf->two_rank_capacity))
        return FAIL(inf->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    inf->two_ranks[inf->two_rank_count++] = value;
    return STATUS_OK;
}

/* Appends Unsqueeze(result, [0, 1, ...]) to the branch. */
static Status unsqueeze_result(Inference *inf, NodeId id, BlockId branch, int32_t index, const TypeInfo *type,
                               int32_t count) {
    int64_t axes[SMELT_MAX_RANK];
    Graph *graph = inf->graph;
    const AttrList none = {0};
    NodeId unsqueeze;
    for (int32_t i = 0; i < count; ++i) axes[i] = i;
    ValueId list = graph_add_constant_i64(graph, NULL, count, axes), raised = graph_add_value(graph, NULL);
    if (list == NONE || raised == NONE) return FAIL(inf->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    const ValueId inputs[] = {graph->blocks[branch].results[index], list};
    TRY(grow_types(inf));
    inf->types[list] =
        (TypeInfo){.dtype = DTYPE_I64, .shape = graph->values[list].shape, .data = graph->values[list].data};
    TRY(graph_add_node(graph, branch, OP_Unsqueeze, graph->nodes[id].name, &none, 2, inputs, 1, &raised,
                       &unsqueeze, inf->ctx->diag));
    if (!node_add_origins(graph, unsqueeze, id))
        return FAIL(inf->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph->blocks[branch].results[index] = raised;
    infer_set(inf, raised, type);
    return STATUS_OK;
}

Status repair_ranks(Inference *inf, NodeId id, const BlockId branch[2], int32_t index, TypeInfo types[2]) {
    ValueId output = inf->graph->nodes[id].outputs[index];
    int lower = types[0].shape.rank < types[1].shape.rank ? 0 : 1;
    Shape *shape = &types[lower].shape;
    int32_t missing = types[!lower].shape.rank - shape->rank;
    for (int i = 0; i < 2; ++i)
        if (has_two_ranks(inf, inf->graph->blocks[branch[i]].results[index]))
            TRY(note_two_ranks(inf, output));
    if (missing == 0) return STATUS_OK;
    memmove(shape->dim + missing, shape->dim, (size_t)shape->rank * sizeof(Dim));
    for (int32_t i = 0; i < missing; ++i) shape->dim[i] = 1;
    shape->rank += missing;
    TRY(note_two_ranks(inf, output));
    if (inf->tentative) return STATUS_OK;
    pass_count_add(inf->ctx, "ranks_raised", 1);
    return unsqueeze_result(inf, id, branch[lower], index, &types[lower], missing);
}

/* Every operand of the node is broadcast to the others' shape. */
static bool broadcasts(const Node *node) {
    if (op_def(node->op)->op_class != OPCLASS_POINTWISE) return false;
    PointwiseSignature signature = ((const PointwiseAttrs *)node->parsed)->signature;
    return signature != POINTWISE_BOUND && signature != POINTWISE_SLOPE;
}

Status check_ranks(Inference *inf, const Node *node) {
    int32_t rank = -1; /* that the result has whatever the If decides */
    for (int32_t i = 0; i < node->input_count; ++i) {
        ValueId value = node->inputs[i];
        if (value != NONE && !has_two_ranks(inf, value))
            rank = (int32_t)max_i64(rank, inf->types[value].shape.rank);
    }
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (node->inputs[i] == NONE || !has_two_ranks(inf, node->inputs[i])) continue;
        if (broadcasts(node) && inf->types[node->inputs[i]].shape.rank <= rank) continue;
        if (node->op == OP_CastLike && i == 1) continue;
        diag_hint(inf->ctx->diag, "exact input shapes (--shape) may decide the condition beforehand");
        return FAIL(inf->ctx->diag, STATUS_UNSUPPORTED,
                    "input %d has one rank or another, which an If decides", i);
    }
    return STATUS_OK;
}

Status check_result_ranks(Inference *inf) {
    const Graph *graph = inf->graph;
    for (BlockId b = 0; inf->two_rank_count > 0 && b < graph->block_count; ++b) {
        const Block *block = &graph->blocks[b];
        if (!block_is_live(graph, b) || (block->owner != NONE && graph->nodes[block->owner].op == OP_If))
            continue;
        for (int32_t i = 0; i < block->result_count; ++i)
            if (has_two_ranks(inf, block->results[i]))
                return FAIL(inf->ctx->diag, STATUS_UNSUPPORTED,
                            "result %d of '%s' has one rank or another, which an If decides", i, block->name);
    }
    return STATUS_OK;
}
