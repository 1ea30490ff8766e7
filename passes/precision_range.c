/* Ranges of values that hold for every input: from constants, and from what operators can give. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/simd.h"
#include "passes/precision_work.h"

typedef struct Range {
    double low, high;
} Range;

static const Range anything = {-INFINITY, INFINITY};

static Range hull(Range a, Range b) {
    return (Range){fmin(a.low, b.low), fmax(a.high, b.high)};
}

static Range range_of(const PrecisionWork *work, const Node *node, int32_t input) {
    if (input >= node->input_count || node->inputs[input] == NONE) return anything;
    const ValuePrecision *value = &work->values[node->inputs[input]];
    return (Range){value->low, value->high};
}

/* -- constants -- */

/* Floats in their order as integers, and back: what compares and reduces without branches. */
static inline int32_t ordered(int32_t bits) {
    return bits ^ ((bits >> 31) & INT32_MAX);
}

static double as_double(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

/* Hull of all elements, and the largest finite magnitude; infinities stay what they are in any type. */
SIMD_CLONES static void find_extremes(const float *x, int64_t count, Range *range, double *largest) {
    enum { INFINITE = 0x7f800000 };
    int32_t low = INT32_MAX, high = INT32_MIN, finite = 0, most = 0;
    for (int64_t i = 0; i < count; ++i) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        int32_t magnitude = bits & INT32_MAX, key = ordered(bits);
        int32_t kept = magnitude < INFINITE ? magnitude : 0;
        low = key < low ? key : low;
        high = key > high ? key : high;
        most = magnitude > most ? magnitude : most;
        finite = kept > finite ? kept : finite;
    }
    bool known = count > 0 && most <= INFINITE; /* beyond it are NaNs */
    *range = known ? (Range){as_double(ordered(low)), as_double(ordered(high))} : anything;
    *largest = as_double(finite);
}

static void mark_constant(PrecisionWork *work, ValueId id) {
    ValuePrecision *value = &work->values[id];
    Range range;
    double largest;
    const Value *constant = &work->graph->values[id];
    find_extremes(constant->data, value_count(constant), &range, &largest);
    value->low = range.low;
    value->high = range.high;
    value->seen = largest;
    value->huge = largest > work->half.largest;
}

/* -- operators -- */

typedef Range (*RangeRule)(const PrecisionWork *work, const Node *node);

static Range input_range(const PrecisionWork *work, const Node *node) {
    return range_of(work, node, 0);
}

static Range input_or_zero(const PrecisionWork *work, const Node *node) {
    return hull(range_of(work, node, 0), (Range){0, 0});
}

static Range all_inputs(const PrecisionWork *work, const Node *node) {
    Range out = {INFINITY, -INFINITY};
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && work->values[node->inputs[i]].typed)
            out = hull(out, range_of(work, node, i));
    return out.low <= out.high ? out : anything;
}

static Range padded(const PrecisionWork *work, const Node *node) {
    bool has_value = node->input_count > 2 && node->inputs[2] != NONE;
    return hull(range_of(work, node, 0), has_value ? range_of(work, node, 2) : (Range){0, 0});
}

static Range relu(const PrecisionWork *work, const Node *node) {
    Range x = range_of(work, node, 0);
    return (Range){fmax(x.low, 0), fmax(x.high, 0)};
}

static Range clipped(const PrecisionWork *work, const Node *node) {
    Range x = range_of(work, node, 0), low = range_of(work, node, 1), high = range_of(work, node, 2);
    return (Range){fmin(fmax(x.low, low.low), high.high), fmin(fmax(x.high, low.high), high.high)};
}

static Range negated(const PrecisionWork *work, const Node *node) {
    Range x = range_of(work, node, 0);
    return (Range){-x.high, -x.low};
}

static Range magnitude(const PrecisionWork *work, const Node *node) {
    Range x = range_of(work, node, 0);
    return (Range){x.low <= 0 && x.high >= 0 ? 0 : fmin(fabs(x.low), fabs(x.high)),
                   fmax(fabs(x.low), fabs(x.high))};
}

static Range sum(const PrecisionWork *work, const Node *node) {
    Range x = range_of(work, node, 0), y = range_of(work, node, 1);
    return (Range){x.low + y.low, x.high + y.high};
}

static Range difference(const PrecisionWork *work, const Node *node) {
    Range x = range_of(work, node, 0), y = range_of(work, node, 1);
    return (Range){x.low - y.high, x.high - y.low};
}

/* 0 times a bound that is not known is 0: elements are finite. */
static double times(double a, double b) {
    return a == 0 || b == 0 ? 0 : a * b;
}

static Range product(const PrecisionWork *work, const Node *node) {
    Range x = range_of(work, node, 0), y = range_of(work, node, 1);
    Range low = {times(x.low, y.low), times(x.low, y.low)}, out = low;
    out = hull(out, (Range){times(x.low, y.high), times(x.low, y.high)});
    out = hull(out, (Range){times(x.high, y.low), times(x.high, y.low)});
    return hull(out, (Range){times(x.high, y.high), times(x.high, y.high)});
}

static Range unit(const PrecisionWork *work, const Node *node) {
    (void)work, (void)node;
    return (Range){0, 1};
}

static Range signed_unit(const PrecisionWork *work, const Node *node) {
    (void)work, (void)node;
    return (Range){-1, 1};
}

static Range cast_range(const PrecisionWork *work, const Node *node) {
    DType from = work->graph->values[node->inputs[0]].dtype;
    if (from == DTYPE_BOOL) return (Range){0, 1};
    if (from == DTYPE_U8) return (Range){0, UINT8_MAX};
    if (from == DTYPE_I8) return (Range){INT8_MIN, INT8_MAX};
    return dtype_is_float(from) ? range_of(work, node, 0) : anything;
}

static const struct {
    OpId op;
    RangeRule rule;
} rules[] = {
    {OP_Sigmoid, unit},
    {OP_HardSigmoid, unit},
    {OP_Softmax, unit},
    {OP_Hardmax, unit},
    {OP_Tanh, signed_unit},
    {OP_Erf, signed_unit},
    {OP_Sin, signed_unit},
    {OP_Cos, signed_unit},
    {OP_Softsign, signed_unit},
    {OP_Sign, signed_unit},
    {OP_LpNormalization, signed_unit},
    {OP_MaxPool, input_range},
    {OP_GlobalMaxPool, input_range},
    {OP_GlobalAveragePool, input_range},
    {OP_AveragePool, input_or_zero},
    {OP_ReduceMax, input_range},
    {OP_ReduceMin, input_range},
    {OP_ReduceMean, input_range},
    {OP_Max, all_inputs},
    {OP_Min, all_inputs},
    {OP_Mean, all_inputs},
    {OP_Where, all_inputs},
    {OP_Pad, padded},
    {OP_Relu, relu},
    {OP_Clip, clipped},
    {OP_Neg, negated},
    {OP_Abs, magnitude},
    {OP_Add, sum},
    {OP_Sub, difference},
    {OP_Mul, product},
    {OP_Cast, cast_range},
};

/* Operators that only move elements give those of their inputs; a few put zeros beside them. */
static Range node_range(const PrecisionWork *work, const Node *node) {
    OpClass op_class = op_def(node->op)->op_class;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i)
        if (rules[i].op == node->op) return rules[i].rule(work, node);
    bool moves = op_def(node->op)->half == HALF_MOVES &&
                 (op_class == OPCLASS_MOVEMENT || op_class == OPCLASS_INDEXING);
    return moves ? hull(all_inputs(work, node), (Range){0, 0}) : anything;
}

/* -- constants that do not fit -- */

bool operand_is_bound(const Node *node, int32_t input) {
    return (node->op == OP_Clip && input > 0) || node->op == OP_Max || node->op == OP_Min;
}

/* Large operands make large results. */
static bool carries_magnitude(const Node *node) {
    const OpDef *def = op_def(node->op);
    return def->op_class == OPCLASS_POINTWISE || def->op_class == OPCLASS_CONTRACTION ||
           def->half == HALF_MOVES;
}

/* The largest that any element of the mask's row can be, and whether each element is either small or beyond
 * the narrow range. */
static bool row_keeps_one(const PrecisionWork *work, const Value *mask, int64_t first, int64_t length) {
    double limit = work->half.largest / PRECISION_MARGIN, highest = -INFINITY;
    for (int64_t i = first; i < first + length; ++i) {
        double x = dtype_load_f64(mask->dtype, mask->data, i);
        if (isnan(x) || x > limit || (x < -limit && x > -work->half.largest)) return false;
        highest = fmax(highest, x);
    }
    return highest >= -limit;
}

static bool feeds_softmax_only(const PrecisionWork *work, ValueId value, int32_t rank) {
    for (int32_t u = work->uses.first[value]; u < work->uses.first[value + 1]; ++u) {
        NodeId user = work->uses.uses[u].node;
        int64_t axis;
        if (user == NONE || work->graph->nodes[user].op != OP_Softmax) return false;
        if (attr_int(&work->graph->nodes[user].attrs, "axis", -1, &axis, NULL) != STATUS_OK) return false;
        if (axis != -1 && axis != rank - 1) return false;
    }
    return use_count(&work->uses, value) > 0;
}

bool mask_is_clampable(const PrecisionWork *work, const Node *node, int32_t input) {
    const Graph *graph = work->graph;
    if (node->op != OP_Add || !value_is_constant(graph, node->inputs[input])) return false;
    const Value *mask = &graph->values[node->inputs[input]], *result = &graph->values[node->outputs[0]];
    const ValuePrecision *other = &work->values[node->inputs[1 - input]];
    double limit = work->half.largest / PRECISION_MARGIN;
    int32_t rank = mask->shape.rank;
    bool bounded = (other->low >= -limit && other->high <= limit) ||
                   (other->seen >= 0 && other->seen * PRECISION_MARGIN <= limit);
    if (!bounded || rank == 0 || !result->has_shape) return false;
    int64_t length = mask->shape.dim[rank - 1], count = value_count(mask);
    if (length < 1 || result->shape.dim[result->shape.rank - 1] != length) return false;
    for (int64_t first = 0; first < count; first += length)
        if (!row_keeps_one(work, mask, first, length)) return false;
    return feeds_softmax_only(work, node->outputs[0], result->shape.rank);
}

/* -- the walk -- */

static bool is_proven(const PrecisionWork *work, Range range) {
    return range.low >= -work->half.largest && range.high <= work->half.largest;
}

static bool gets_huge(const PrecisionWork *work, const Node *node) {
    for (int32_t i = 0; i < node->input_count; ++i)
        if (operand_is_typed(work, node, i) && work->values[node->inputs[i]].huge &&
            !operand_is_bound(node, i) && !mask_is_clampable(work, node, i))
            return carries_magnitude(node);
    return false;
}

static void mark_results(PrecisionWork *work, const Node *node) {
    Range range = node_range(work, node);
    bool huge = gets_huge(work, node) && !is_proven(work, range);
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE || !work->values[node->outputs[i]].typed) continue;
        ValuePrecision *value = &work->values[node->outputs[i]];
        value->low = isnan(range.low) ? -INFINITY : range.low;
        value->high = isnan(range.high) ? INFINITY : range.high;
        value->huge = huge;
    }
}

void precision_constants(PrecisionWork *work) {
    double start = clock_seconds();
    for (ValueId v = 0; v < work->value_count; ++v)
        if (work->values[v].typed && work->graph->values[v].data != NULL) mark_constant(work, v);
    pass_data_since(work->ctx, start);
}

void precision_ranges(PrecisionWork *work) {
    const Graph *graph = work->graph;
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; i < block->node_count; ++i) mark_results(work, &graph->nodes[block->nodes[i]]);
}
