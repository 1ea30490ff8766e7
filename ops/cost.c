#include "ops/cost.h"

#include "base/checked.h"
#include "ops/einsum.h"
#include "ops/pool.h"

/* a * b for a, b >= 0; -1 (not known) is contagious, overflow saturates. */
static int64_t product(int64_t a, int64_t b) {
    int64_t out;
    if (a < 0 || b < 0) return -1;
    return checked_mul_i64(a, b, &out) ? out : INT64_MAX;
}

/* Elements of dimensions [first, rank); -1: not known. */
static int64_t span(const Shape *shape, int32_t first) {
    int64_t count = 1;
    if (shape == NULL) return -1;
    for (int32_t i = first; i < shape->rank; ++i) count = product(count, shape->dim[i]);
    return count;
}

static const Shape *input(const OpShapes *shapes, int32_t i) {
    return i < shapes->input_count ? shapes->inputs[i] : NULL;
}

static int64_t input_elements(const OpShapes *shapes, int32_t i) {
    return span(input(shapes, i), 0);
}

static int64_t result_elements(const OpShapes *shapes) {
    return shapes->output_count > 0 ? span(shapes->outputs[0], 0) : -1;
}

/* An extent, counted from the last for negative axes; -1: not known. */
static int64_t extent(const Shape *shape, int32_t axis) {
    if (shape == NULL) return -1;
    if (axis < 0) axis += shape->rank;
    return axis >= 0 && axis < shape->rank ? shape->dim[axis] : -1;
}

/* -- multiply-accumulates -- */

/* Each output element is a sum over the filter's elements of its channel. */
static int64_t conv_macs(const OpShapes *shapes, int32_t weights) {
    return product(result_elements(shapes), span(input(shapes, weights), 1));
}

static int64_t gemm_macs(const OpShapes *shapes) {
    int64_t out = result_elements(shapes), rows = extent(shapes->outputs[0], 0);
    int64_t weights = input_elements(shapes, 1);
    if (out <= 0 || rows <= 0 || weights < 0) return -1;
    return product(out, weights / max_i64(out / rows, 1)); /* weights are K x columns */
}

/* Queries meet every key, and their scores every value. */
static int64_t attention_macs(const OpShapes *shapes) {
    enum { QUERY, KEY, PAST_KEY = 4 };
    const Shape *past = input(shapes, PAST_KEY);
    int64_t keys = extent(input(shapes, KEY), -2), before = past != NULL ? extent(past, -2) : 0;
    if (keys < 0 || before < 0) return -1;
    int64_t scores = product(input_elements(shapes, QUERY), keys + before);
    int64_t sums = product(result_elements(shapes), keys + before), out;
    if (scores < 0 || sums < 0) return -1;
    return checked_add_i64(scores, sums, &out) ? out : INT64_MAX;
}

/* The product of the extents of all labels. */
static int64_t einsum_macs(const void *attrs, const OpShapes *shapes) {
    int32_t ranks[EINSUM_OPERANDS];
    EinsumAxes axes[EINSUM_OPERANDS + 1];
    int64_t extents[EINSUM_LABELS], macs = 1;
    const EinsumAttrs *einsum = attrs;
    if (einsum == NULL || einsum->operands > shapes->input_count) return -1;
    for (int32_t i = 0; i < einsum->operands; ++i) {
        if (shapes->inputs[i] == NULL) return -1;
        ranks[i] = shapes->inputs[i]->rank;
    }
    if (einsum_axes(einsum, ranks, axes, NULL) != STATUS_OK) return -1;
    for (int i = 0; i < EINSUM_LABELS; ++i) extents[i] = 1;
    for (int32_t i = 0; i < einsum->operands; ++i)
        for (int32_t k = 0; k < axes[i].rank; ++k)
            if (shapes->inputs[i]->dim[k] != 1) extents[axes[i].label[k]] = shapes->inputs[i]->dim[k];
    for (int i = 0; i < EINSUM_LABELS; ++i) macs = product(macs, extents[i]);
    return macs;
}

/* Every step of every sequence meets both matrices. */
static int64_t recurrent_macs(const OpShapes *shapes) {
    int64_t steps = product(extent(input(shapes, 0), 0), extent(input(shapes, 0), 1));
    int64_t weights = input_elements(shapes, 1), more = input_elements(shapes, 2), all;
    if (weights < 0 || more < 0 || !checked_add_i64(weights, more, &all)) return -1;
    return product(steps, all);
}

int64_t op_macs(OpId op, const void *attrs, const OpShapes *shapes) {
    enum { QLINEAR_WEIGHTS = 3 };
    int64_t macs = 0;
    if (shapes->output_count < 1) return 0;
    switch (op) {
    case OP_Conv:
    case OP_ConvInteger:
    case OP_DeformConv:
        macs = conv_macs(shapes, 1);
        break;
    case OP_QLinearConv:
        macs = conv_macs(shapes, QLINEAR_WEIGHTS);
        break;
    case OP_ConvTranspose: /* every input element meets its channel's filters */
        macs = product(input_elements(shapes, 0), span(input(shapes, 1), 1));
        break;
    case OP_Gemm:
        macs = gemm_macs(shapes);
        break;
    case OP_MatMul:
    case OP_MatMulInteger:
    case OP_QLinearMatMul:
        macs = product(result_elements(shapes), extent(input(shapes, 0), -1));
        break;
    case OP_Einsum:
        macs = einsum_macs(attrs, shapes);
        break;
    case OP_Attention:
        macs = attention_macs(shapes);
        break;
    case OP_RNN:
    case OP_GRU:
    case OP_LSTM:
        macs = recurrent_macs(shapes);
        break;
    default:
        break;
    }
    return max_i64(macs, 0);
}

/* -- operations -- */

/* Elements under the window of a pooling: its taps for each output element; all of them where it is global.
 */
static int64_t pooled_elements(OpId op, const void *attrs, const OpShapes *shapes) {
    bool windowed = op == OP_MaxPool || op == OP_AveragePool || op == OP_LpPool;
    const PoolAttrs *pool = attrs;
    int64_t count = result_elements(shapes);
    if (!windowed || pool == NULL) return input_elements(shapes, 0);
    for (int32_t i = 0; i < pool->window.axes && i < WINDOW_AXES; ++i)
        count = product(count, pool->window.kernel[i]);
    return count;
}

double op_flops(OpId op, const void *attrs, const OpShapes *shapes) {
    enum { PER_NORMALIZED = 5 };
    const OpDef *def = op_def(op);
    int64_t count = 0, each = 1;
    if (def->half == HALF_MOVES) return 0;
    switch (def->op_class) {
    case OPCLASS_CONTRACTION:
    case OPCLASS_RECURRENT:
        count = op_macs(op, attrs, shapes);
        each = 2;
        break;
    case OPCLASS_POINTWISE:
        count = result_elements(shapes);
        each = max_i64(1, shapes->input_count - 1);
        break;
    case OPCLASS_NORMALIZATION:
        count = input_elements(shapes, 0);
        each = PER_NORMALIZED;
        break;
    case OPCLASS_REDUCTION:
        count = input_elements(shapes, 0);
        break;
    case OPCLASS_POOLING:
        count = pooled_elements(op, attrs, shapes);
        break;
    case OPCLASS_RESAMPLING:
    case OPCLASS_QUANTIZATION:
    case OPCLASS_OTHER:
        count = result_elements(shapes);
        each = 2;
        break;
    default: /* copies, sizes, sorting; bodies count for themselves */
        break;
    }
    return count > 0 ? (double)count * (double)each : 0;
}

int64_t op_elements_read(OpId op, const OpShapes *shapes, int32_t index) {
    int64_t all = max_i64(input_elements(shapes, index), 0), out = result_elements(shapes);
    bool picks = op == OP_Gather || op == OP_GatherElements || op == OP_GatherND || op == OP_Slice;
    return picks && index == 0 && out >= 0 && out < all ? out : all;
}
