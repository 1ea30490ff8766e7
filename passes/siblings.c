#include "passes/siblings.h"

#include <string.h>

#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"

enum { DATA, WEIGHTS, BIAS, LAST_AXIS = -1 };

/* -- anchors -- */

typedef struct AnchorKind {
    OpId op;
    int32_t weight_rank; /* 0: any */
    int32_t weight_axis; /* that holds output channels */
    int32_t result_axis;
    int64_t (*groups)(const Node *node); /* NULL: always one */
    /* The attributes say the same, but for the number of groups; NULL: there are none. */
    bool (*agree)(const Node *a, const Node *b);
} AnchorKind;

static int64_t conv_groups(const Node *node) {
    return ((const ConvAttrs *)node->parsed)->group;
}

static int64_t transpose_groups(const Node *node) {
    return ((const TransposeAttrs *)node->parsed)->group;
}

/* What is not written has its default. Kernels are as large as the weights say. */
static bool windows_agree(const WindowAttrs *a, const WindowAttrs *b) {
    return a->auto_pad == b->auto_pad && memcmp(a->stride, b->stride, sizeof a->stride) == 0 &&
           memcmp(a->dilation, b->dilation, sizeof a->dilation) == 0 &&
           memcmp(a->pad_begin, b->pad_begin, sizeof a->pad_begin) == 0 &&
           memcmp(a->pad_end, b->pad_end, sizeof a->pad_end) == 0;
}

static bool convs_agree(const Node *a, const Node *b) {
    return windows_agree(&((const ConvAttrs *)a->parsed)->window, &((const ConvAttrs *)b->parsed)->window);
}

static bool transposes_agree(const Node *a, const Node *b) {
    const TransposeAttrs *x = a->parsed, *y = b->parsed;
    return windows_agree(&x->window, &y->window) && x->has_shape == y->has_shape &&
           memcmp(x->output_padding, y->output_padding, sizeof x->output_padding) == 0 &&
           memcmp(x->output_shape, y->output_shape, sizeof x->output_shape) == 0;
}

static bool gemms_agree(const Node *a, const Node *b) {
    const GemmAttrs *x = a->parsed, *y = b->parsed;
    return x->alpha == y->alpha && x->beta == y->beta && x->trans_a == y->trans_a && x->trans_b == y->trans_b;
}

static const AnchorKind kinds[] = {{OP_Conv, 0, 0, 1, conv_groups, convs_agree},
                                   {OP_ConvTranspose, 0, 1, 1, transpose_groups, transposes_agree},
                                   {OP_MatMul, 2, 1, LAST_AXIS, NULL, NULL},
                                   {OP_Gemm, 2, 1, 1, NULL, gemms_agree}};

static const AnchorKind *find_kind(OpId op) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i)
        if (kinds[i].op == op) return &kinds[i];
    return NULL;
}

bool op_has_siblings(OpId op) {
    return find_kind(op) != NULL;
}

/* -- taking a step apart -- */

static bool is_member(const Unit *unit, NodeId node) {
    for (int32_t i = 0; i < unit->count; ++i)
        if (unit->nodes[i] == node) return true;
    return false;
}

/* The one value that is used outside, or NONE. */
static ValueId only_result(const Graph *graph, const UseTable *uses, const Unit *unit) {
    ValueId result = NONE;
    for (int32_t i = 0; i < unit->count; ++i) {
        const Node *node = &graph->nodes[unit->nodes[i]];
        for (int32_t o = 0; o < node->output_count; ++o) {
            ValueId value = node->outputs[o];
            bool leaves = false;
            for (int32_t u = value == NONE ? 0 : uses->first[value];
                 value != NONE && u < uses->first[value + 1]; ++u)
                leaves = leaves || uses->uses[u].node == NONE || !is_member(unit, uses->uses[u].node);
            if (leaves && result != NONE) return NONE;
            if (leaves) result = value;
        }
    }
    return result;
}

static bool is_constant_float(const Graph *graph, ValueId id) {
    return value_is_constant(graph, id) && dtype_is_float(graph->values[id].dtype);
}

static const char *read_anchor(const Graph *graph, Unit *out) {
    const Node *anchor = &graph->nodes[out->nodes[0]];
    const AnchorKind *kind = find_kind(anchor->op);
    const Value *weights = &graph->values[anchor->inputs[WEIGHTS]],
                *result = anchor->outputs[0] == NONE ? NULL : &graph->values[anchor->outputs[0]];
    if (!is_constant_float(graph, anchor->inputs[WEIGHTS]) || value_is_constant(graph, anchor->inputs[DATA]))
        return "";
    if (kind->weight_rank != 0 && weights->shape.rank != kind->weight_rank) return "";
    if (result == NULL || !result->has_shape || result->shape.rank < 2) return "";
    if (dtype_bits(weights->dtype) % 8 != 0) return "its weights are no whole bytes";
    bool transposed = anchor->op == OP_Gemm && ((const GemmAttrs *)anchor->parsed)->trans_b != 0;
    out->input = anchor->inputs[DATA];
    out->weights = anchor->inputs[WEIGHTS];
    out->weight_axis = transposed ? 0 : kind->weight_axis;
    out->axis[0] = kind->result_axis == LAST_AXIS ? result->shape.rank - 1 : kind->result_axis;
    out->width = weights->shape.dim[out->weight_axis];
    out->groups = kind->groups == NULL ? 1 : kind->groups(anchor);
    out->head = anchor->outputs[0];
    out->bias = anchor->input_count > BIAS ? anchor->inputs[BIAS] : NONE;
    return NULL;
}

/* Conv has a vector; a Gemm's may be a row or a single element. */
static bool bias_is_vector(const Graph *graph, const Unit *unit) {
    if (unit->bias == NONE) return true;
    const Value *bias = &graph->values[unit->bias];
    if (!is_constant_float(graph, unit->bias)) return false;
    int64_t count = value_count(bias);
    return count == 1 || (count == unit->width && bias->shape.dim[bias->shape.rank - 1] == count);
}

/* A constant with one element for every channel along that axis of a result of that rank, or a single one. */
static bool is_per_channel(const Graph *graph, const Unit *unit, ValueId id, int32_t rank, int32_t axis) {
    const Value *value = &graph->values[id];
    if (!value_is_constant(graph, id) || dtype_bits(value->dtype) % 8 != 0 || value->shape.rank > rank)
        return false;
    for (int32_t i = 0; i < value->shape.rank; ++i) {
        bool along = i + rank - value->shape.rank == axis && value->shape.dim[i] == unit->width;
        if (value->shape.dim[i] != 1 && !along) return false;
    }
    return true;
}

/* A constant that the first node behind the anchor adds is its bias, where it has no other. */
static void take_bias(const Graph *graph, const UseTable *uses, Unit *out) {
    if (out->bias != NONE || out->count < 2 || use_count(uses, out->head) != 1) return;
    const Node *node = &graph->nodes[out->nodes[1]];
    const Node *anchor = &graph->nodes[out->nodes[0]];
    bool scaled = anchor->op == OP_Gemm && ((const GemmAttrs *)anchor->parsed)->beta != 1;
    if (node->op != OP_Add || scaled) return;
    ValueId bias = node->inputs[node->inputs[0] == out->head ? 1 : 0];
    if (bias == out->head ||
        !is_per_channel(graph, out, bias, graph->values[out->head].shape.rank, out->axis[0]) ||
        !shape_equal(&graph->values[node->outputs[0]].shape, &graph->values[out->head].shape))
        return;
    out->bias = bias;
    out->head = node->outputs[0];
    out->core = 2;
}

static bool is_block_result(const UseTable *uses, ValueId value) {
    for (int32_t i = 0; value != NONE && i < use_count(uses, value); ++i)
        if (uses->uses[uses->first[value] + i].node == NONE) return true;
    return false;
}

/* Views at the end, each for the next alone, are nothing that the unit computes; but what the graph gives has
 * memory of its own, and to leave a view of it behind would be to copy. */
static void leave_views(const Graph *graph, const UseTable *uses, Unit *out) {
    if (is_block_result(uses, graph->nodes[out->nodes[out->count - 1]].outputs[0])) return;
    while (out->count > 1) {
        const Node *last = &graph->nodes[out->nodes[out->count - 1]];
        bool is_view = (op_def(last->op)->flags & OPF_VIEW) != 0 && use_count(uses, last->inputs[0]) == 1 &&
                       graph->values[last->inputs[0]].producer == out->nodes[out->count - 2];
        if (!is_view) return;
        out->count--;
    }
}

/* Where a Transpose puts the axis. */
static int32_t permuted_axis(const Node *node, int32_t rank, int32_t axis) {
    const int64_t *perm;
    int32_t count;
    if (attr_ints(&node->attrs, "perm", &perm, &count, NULL) != STATUS_OK) return -1;
    for (int32_t i = 0; i < rank; ++i)
        if ((count < 0 ? rank - 1 - i : perm[i]) == axis) return i;
    return -1;
}

/* The extents are written out, or follow from the others. */
static bool reshapes_rows(const Graph *graph, const Node *node, const Shape *from, const Shape *to,
                          int32_t axis) {
    ValueId sizes = node->inputs[1];
    return axis == from->rank - 1 && to->rank > 0 && to->dim[to->rank - 1] == from->dim[axis] &&
           value_is_constant(graph, sizes) && graph->values[sizes].dtype == DTYPE_I64 &&
           value_count(&graph->values[sizes]) == to->rank && dim_is_exact(from->dim[axis]);
}

/* The axis of the node's result along which channels lie; -1 where they no longer do along one. */
static int32_t core_axis(const Graph *graph, const Unit *unit, const Node *node) {
    const Shape *to = &graph->values[node->outputs[0]].shape;
    int32_t axis = -1;
    for (int32_t i = 0; i < node->input_count; ++i) {
        int32_t place = node->inputs[i] == NONE ? -1 : unit_place(graph, unit, node->inputs[i]);
        if (place < 0) continue;
        const Shape *from = &graph->values[node->inputs[i]].shape;
        if (axis >= 0 && unit->axis[place] != axis) return -1;
        axis = unit->axis[place];
        if (node->op == OP_Transpose) return permuted_axis(node, from->rank, axis);
        if (node->op == OP_Reshape)
            return i == 0 && reshapes_rows(graph, node, from, to, axis) ? to->rank - 1 : -1;
        bool by_element = op_def(node->op)->op_class == OPCLASS_POINTWISE || node->op == OP_Cast;
        if (!by_element || !shape_equal(from, to)) return -1;
    }
    return axis;
}

static const char *read_core(const Graph *graph, Unit *out) {
    if (out->core_count >= UNIT_NODES) return "its step has too many nodes";
    for (int32_t k = 0; k < out->core_count; ++k) {
        const Node *node = &graph->nodes[out->nodes[out->core + k]];
        if (node->outputs[0] == NONE || node->output_count > 1)
            return "its step holds more than it can share";
        out->axis[k + 1] = core_axis(graph, out, node);
        if (out->axis[k + 1] < 0)
            return "its step does more than to permute, and to compute element by element";
    }
    int32_t place = unit_place(graph, out, out->tail);
    if (place < 0) return "its result does not come from its anchor";
    out->result_axis = out->axis[place];
    return NULL;
}

/* A Relu at the end that gives the result. */
static void take_floor(const Graph *graph, Unit *out) {
    const Node *last = &graph->nodes[out->nodes[out->count - 1]];
    out->tail = out->result;
    out->core_count = out->count - out->core;
    if (out->core_count == 0 || last->op != OP_Relu || last->outputs[0] != out->result) return;
    out->floored = true;
    out->core_count--;
    out->tail = last->inputs[0];
}

const char *unit_read(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t count,
                      Unit *out) {
    *out = (Unit){.nodes = nodes, .step_count = count, .count = count, .core = 1};
    const char *why = read_anchor(graph, out);
    if (why != NULL) return why;
    leave_views(graph, uses, out);
    out->result = only_result(graph, uses, out);
    if (out->result == NONE) return "more than one of its values is used elsewhere";
    if (!bias_is_vector(graph, out)) return "its bias is not a constant per channel";
    take_bias(graph, uses, out);
    take_floor(graph, out);
    return read_core(graph, out);
}

int32_t unit_place(const Graph *graph, const Unit *unit, ValueId value) {
    if (value == unit->head) return 0;
    for (int32_t k = 0; k < unit->core_count; ++k)
        if (graph->nodes[unit->nodes[unit->core + k]].outputs[0] == value) return k + 1;
    return -1;
}

/* -- comparing two -- */

static const char *anchors_differ(const Graph *graph, const Unit *a, const Unit *b) {
    const Node *x = &graph->nodes[a->nodes[0]], *y = &graph->nodes[b->nodes[0]];
    const Value *v = &graph->values[a->weights], *w = &graph->values[b->weights];
    if (x->op != y->op) return "they are different operators";
    if (x->block != y->block) return "they stand in different blocks";
    if (v->dtype != w->dtype) return "their weights have different types";
    for (int32_t i = 0; i < v->shape.rank; ++i)
        if (v->shape.rank != w->shape.rank || (i != a->weight_axis && v->shape.dim[i] != w->shape.dim[i]))
            return "their kernels have different shapes";
    bool (*agree)(const Node *, const Node *) = find_kind(x->op)->agree;
    if (agree != NULL && !agree(x, y)) return "strides, pads or other attributes differ";
    return NULL;
}

/* What node k of the core computes. */
static const Shape *core_shape(const Graph *graph, const Unit *unit, int32_t k) {
    return &graph->values[graph->nodes[unit->nodes[unit->core + k]].outputs[0]].shape;
}

/* An operand that is computed must be the same for both, and for every channel. */
static const char *computed_operand_refuses(const Graph *graph, const Unit *a, int32_t k, ValueId mine,
                                            ValueId theirs) {
    const Shape *shape = &graph->values[mine].shape;
    int32_t axis = a->axis[k + 1] - (core_shape(graph, a, k)->rank - shape->rank);
    if (mine != theirs) return "an operand behind the anchor is computed for each of them";
    if (axis >= 0 && shape->dim[axis] != 1)
        return "an operand behind the anchor differs from channel to channel";
    return NULL;
}

/* The extents of a Reshape, but for that of the channels. */
static bool extents_agree(const Graph *graph, const Unit *a, const Unit *b, ValueId mine, ValueId theirs) {
    const int64_t *x = graph->values[mine].data, *y = graph->values[theirs].data;
    int64_t last = value_count(&graph->values[mine]) - 1;
    if (last != value_count(&graph->values[theirs]) - 1) return false;
    return memcmp(x, y, (size_t)last * sizeof *x) == 0 &&
           ((x[last] == -1 && y[last] == -1) || (x[last] == a->width && y[last] == b->width));
}

static const char *operands_differ(const Graph *graph, const Unit *a, const Unit *b, int32_t k, int32_t input,
                                   ValueId mine, ValueId theirs) {
    const Node *node = &graph->nodes[a->nodes[a->core + k]];
    int32_t rank = core_shape(graph, a, k)->rank, axis = a->axis[k + 1];
    int32_t place = mine == NONE ? -1 : unit_place(graph, a, mine);
    if ((mine == NONE) != (theirs == NONE)) return "the nodes behind them have other inputs";
    if (mine == NONE) return NULL;
    if (place != unit_place(graph, b, theirs)) return "the nodes behind them are connected otherwise";
    if (place >= 0) return NULL;
    if (graph->values[mine].dtype != graph->values[theirs].dtype) return "operands have different types";
    if (!value_is_constant(graph, mine) || !value_is_constant(graph, theirs))
        return computed_operand_refuses(graph, a, k, mine, theirs);
    if (node->op == OP_Reshape)
        return extents_agree(graph, a, b, mine, theirs) ? NULL : "they are reshaped otherwise";
    if (!is_per_channel(graph, a, mine, rank, axis) || !is_per_channel(graph, b, theirs, rank, axis))
        return "a constant behind the anchor is not one per channel";
    bool scalar = input > 0 && op_def(node->op)->op_class == OPCLASS_POINTWISE &&
                  ((const PointwiseAttrs *)node->parsed)->signature == POINTWISE_BOUND;
    const Value *v = &graph->values[mine], *w = &graph->values[theirs];
    if (scalar && memcmp(v->data, w->data, (size_t)(dtype_bits(v->dtype) / 8)) != 0)
        return "they clip to different bounds";
    return NULL;
}

static const char *cores_differ(const Graph *graph, const Unit *a, const Unit *b) {
    if (a->core_count != b->core_count) return "different nodes follow them";
    for (int32_t k = 0; k < a->core_count; ++k) {
        const Node *x = &graph->nodes[a->nodes[a->core + k]], *y = &graph->nodes[b->nodes[b->core + k]];
        if (x->op != y->op || x->input_count != y->input_count || !attr_equal(&x->attrs, &y->attrs))
            return "different nodes follow them";
        for (int32_t i = 0; i < x->input_count; ++i) {
            const char *why = operands_differ(graph, a, b, k, i, x->inputs[i], y->inputs[i]);
            if (why != NULL) return why;
        }
    }
    if (unit_place(graph, a, a->tail) != unit_place(graph, b, b->tail))
        return "the nodes behind them are connected otherwise";
    return NULL;
}

static const char *results_differ(const Graph *graph, const Unit *a, const Unit *b) {
    const Value *x = &graph->values[a->result], *y = &graph->values[b->result];
    if (x->dtype != y->dtype) return "their results have different types";
    if (x->shape.rank != y->shape.rank || a->result_axis != b->result_axis)
        return "their results have different ranks";
    for (int32_t i = 0; i < x->shape.rank; ++i)
        if (i != a->result_axis && x->shape.dim[i] != y->shape.dim[i])
            return "their results have different shapes";
    return NULL;
}

const char *units_differ(const Graph *graph, const Unit *a, const Unit *b) {
    const char *why = anchors_differ(graph, a, b);
    if (why == NULL) why = results_differ(graph, a, b);
    if (why == NULL) why = cores_differ(graph, a, b);
    return why;
}
