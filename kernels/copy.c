#include "kernels/copy.h"

#include "base/checked.h"
#include "ops/movement.h"

/* Axis in [0, rank), whatever its sign; the operators have checked it. */
static int32_t normal_axis(int64_t axis, int32_t rank) {
    return (int32_t)(axis < 0 ? axis + rank : axis);
}

/* One digit of the number of a copied element: along a part of an axis of what is counted. */
typedef struct Digit {
    int32_t axis;
    Dim extent, from, to; /* strides in memory */
} Digit;

/* Elements are numbered in the order in which they are written. */
static void set_digits(const Problem *problem, int32_t rank, const Digit *digits, int32_t count, Copy *out) {
    DimTable *dims = problem->graph->dims;
    Dim extents[ACCESS_MAX_RANK], from[ACCESS_MAX_RANK], to[ACCESS_MAX_RANK];
    int32_t order[SMELT_MAX_RANK], next = 0;
    layout_order(problem_value(problem, out->to)->layout, rank, order);
    for (int32_t i = 0; i < rank; ++i) {
        for (int32_t d = 0; d < count; ++d) {
            if (digits[d].axis != order[i]) continue;
            extents[next] = digits[d].extent;
            from[next] = digits[d].from;
            to[next++] = digits[d].to;
        }
    }
    out->read = access_strided(dims, next, extents, from);
    out->write = access_strided(dims, next, extents, to);
}

/* Every element of `to`, axis by axis; read by these strides. */
static void set_axes(const Problem *problem, const Dim *strides, Copy *out) {
    const Shape *shape = &problem_value(problem, out->to)->shape;
    Digit digits[SMELT_MAX_RANK];
    Dim own[SMELT_MAX_RANK];
    value_strides(problem->graph, out->to, own);
    for (int32_t i = 0; i < shape->rank; ++i) digits[i] = (Digit){i, shape->dim[i], strides[i], own[i]};
    set_digits(problem, shape->rank, digits, shape->rank, out);
}

/* -- one operator each -- */

static const char *describe_view(const Problem *problem, Copy *out) {
    const Shape *from = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    if (shape_count(problem->graph->dims, from) != out->count)
        return "whether the number of elements stays shows at run time only";
    out->read = access_value(problem->graph, out->from, from, LAYOUT_PLAIN);
    out->write = access_value(problem->graph, out->to, to, LAYOUT_PLAIN);
    return NULL;
}

static const char *describe_reformat(const Problem *problem, Copy *out) {
    Dim own[SMELT_MAX_RANK];
    value_strides(problem->graph, out->from, own);
    set_axes(problem, own, out);
    return NULL;
}

static const char *describe_transpose(const Problem *problem, Copy *out) {
    const TransposeAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *in = &problem_input(problem, 0)->shape;
    Dim own[SMELT_MAX_RANK], strides[SMELT_MAX_RANK];
    value_strides(problem->graph, out->from, own);
    for (int32_t i = 0; i < in->rank; ++i)
        strides[i] = own[attrs->count < 0 ? in->rank - 1 - i : attrs->perm[i]];
    set_axes(problem, strides, out);
    return NULL;
}

static const char *describe_expand(const Problem *problem, Copy *out) {
    const Shape *in = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    Dim own[SMELT_MAX_RANK], strides[SMELT_MAX_RANK] = {0};
    int32_t missing = to->rank - in->rank;
    value_strides(problem->graph, out->from, own);
    for (int32_t i = missing < 0 ? 0 : missing; i < to->rank; ++i)
        strides[i] = dim_mul(problem->graph->dims, own[i - missing],
                             access_walks(problem->graph->dims, in->dim[i - missing], to->dim[i]));
    set_axes(problem, strides, out);
    return NULL;
}

/* Each axis is (repeat, extent) with the repeats standing still. */
static const char *describe_tile(const Problem *problem, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const Shape *in = &problem_input(problem, 0)->shape;
    Dim own[SMELT_MAX_RANK], to[SMELT_MAX_RANK], repeats[SMELT_MAX_RANK];
    Digit digits[2 * SMELT_MAX_RANK];
    int32_t count;
    if (!problem_known_dims(problem, problem_anchor(problem)->inputs[1], SMELT_MAX_RANK, repeats, &count))
        return "repeats are not known";
    value_strides(problem->graph, out->from, own);
    value_strides(problem->graph, out->to, to);
    for (int32_t i = 0; i < in->rank; ++i) {
        digits[2 * i] = (Digit){i, repeats[i], 0, dim_mul(dims, to[i], in->dim[i])};
        digits[2 * i + 1] = (Digit){i, in->dim[i], own[i], to[i]};
    }
    set_digits(problem, in->rank, digits, 2 * in->rank, out);
    return NULL;
}

/* The source's channel is (row in block, column in block, channel), or the channel first. */
static const char *describe_depth_to_space(const Problem *problem, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const BlockAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *in = &problem_input(problem, 0)->shape, *shape = &problem_output(problem, 0)->shape;
    Dim b = attrs->block, own[SMELT_MAX_RANK], to[SMELT_MAX_RANK], channels = shape->dim[1];
    value_strides(problem->graph, out->from, own);
    value_strides(problem->graph, out->to, to);
    Dim in_block = attrs->rows_first ? own[1] : dim_mul(dims, own[1], channels);
    const Digit digits[6] = {{0, in->dim[0], own[0], to[0]},
                             {1, channels, attrs->rows_first ? dim_mul(dims, own[1], b * b) : own[1], to[1]},
                             {2, in->dim[2], own[2], dim_mul(dims, to[2], b)},
                             {2, b, dim_mul(dims, in_block, b), to[2]},
                             {3, in->dim[3], own[3], dim_mul(dims, to[3], b)},
                             {3, b, in_block, to[3]}};
    set_digits(problem, 4, digits, 6, out);
    return NULL;
}

/* The output's channel is (row in block, column in block, channel). */
static const char *describe_space_to_depth(const Problem *problem, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const BlockAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *in = &problem_input(problem, 0)->shape, *shape = &problem_output(problem, 0)->shape;
    Dim b = attrs->block, own[SMELT_MAX_RANK], to[SMELT_MAX_RANK], channel = in->dim[1];
    value_strides(problem->graph, out->from, own);
    value_strides(problem->graph, out->to, to);
    Dim column = dim_mul(dims, to[1], channel);
    const Digit digits[6] = {{0, in->dim[0], own[0], to[0]},
                             {1, b, own[2], dim_mul(dims, column, b)},
                             {1, b, own[3], column},
                             {1, channel, own[1], to[1]},
                             {2, shape->dim[2], dim_mul(dims, own[2], b), to[2]},
                             {3, shape->dim[3], dim_mul(dims, own[3], b), to[3]}};
    set_digits(problem, 4, digits, 6, out);
    return NULL;
}

/* -- Slice -- */

typedef struct SliceInputs {
    Dim starts[SMELT_MAX_RANK], ends[SMELT_MAX_RANK], axes[SMELT_MAX_RANK], steps[SMELT_MAX_RANK];
    int32_t count, axis_count, step_count;
} SliceInputs;

static bool read_slice(const Problem *problem, SliceInputs *in) {
    const Node *node = problem_anchor(problem);
    int32_t ends;
    const ValueId axes = node->input_count > 3 ? node->inputs[3] : NONE;
    const ValueId steps = node->input_count > 4 ? node->inputs[4] : NONE;
    return problem_known_dims(problem, node->inputs[1], SMELT_MAX_RANK, in->starts, &in->count) &&
           problem_known_dims(problem, node->inputs[2], SMELT_MAX_RANK, in->ends, &ends) &&
           problem_known_dims(problem, axes, SMELT_MAX_RANK, in->axes, &in->axis_count) &&
           problem_known_dims(problem, steps, SMELT_MAX_RANK, in->steps, &in->step_count);
}

/* Where the range begins, as slice_range computes it. */
static const char *first_element(DimTable *dims, Dim extent, Dim start, Dim end, Dim step, Dim *out) {
    int64_t low, high;
    if (dim_is_exact(extent) && dim_is_exact(start) && dim_is_exact(end)) {
        *out = slice_range(extent, start, end, step).start;
        return NULL;
    }
    dim_bounds(dims, start, &low, &high);
    Dim last = step > 0 ? extent : dim_sub(dims, extent, 1);
    if (low >= 0)
        *out = start == 0 ? 0 : dim_min(dims, start, last);
    else if (high < 0)
        *out = dim_max(dims, 0, dim_add(dims, extent, start));
    else
        return "the sign of a start is not known";
    return NULL;
}

static const char *describe_slice(const Problem *problem, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const Shape *in = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    SliceInputs slice;
    Dim strides[SMELT_MAX_RANK];
    if (!read_slice(problem, &slice)) return "starts, ends, axes or steps are not known";
    value_strides(problem->graph, out->from, strides);
    for (int32_t i = 0; i < slice.count; ++i) {
        Dim start, step = slice.step_count > 0 ? slice.steps[i] : 1,
                   axis = slice.axis_count > 0 ? slice.axes[i] : i;
        if (!dim_is_exact(step) || !dim_is_exact(axis)) return "an axis or step is not known";
        int32_t a = normal_axis(axis, in->rank);
        const char *why = first_element(dims, in->dim[a], slice.starts[i], slice.ends[i], step, &start);
        if (why != NULL) return why;
        out->read_offset = dim_add(dims, out->read_offset, dim_mul(dims, start, strides[a]));
        /* one element needs no stride, and a step may be any number */
        if (to->dim[a] != 1) strides[a] = dim_mul(dims, strides[a], step);
    }
    set_axes(problem, strides, out);
    return NULL;
}

/* -- Concat and Split: the part begins `before` elements along the axis of the whole -- */

static void describe_part(const Problem *problem, ValueId part, ValueId whole, int32_t axis, Dim before,
                          bool writes_whole, Copy *out) {
    const Shape *shape = &problem_value(problem, part)->shape;
    Dim own[SMELT_MAX_RANK], outer[SMELT_MAX_RANK];
    Digit digits[SMELT_MAX_RANK];
    value_strides(problem->graph, part, own);
    value_strides(problem->graph, whole, outer);
    for (int32_t i = 0; i < shape->rank; ++i)
        digits[i] =
            (Digit){i, shape->dim[i], writes_whole ? own[i] : outer[i], writes_whole ? outer[i] : own[i]};
    set_digits(problem, shape->rank, digits, shape->rank, out);
    *(writes_whole ? &out->write_offset : &out->read_offset) =
        dim_mul(problem->graph->dims, before, outer[axis]);
}

static const char *describe_concat(const Problem *problem, int32_t index, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const Shape *whole = &problem_output(problem, 0)->shape;
    int32_t axis = normal_axis(((const ConcatAttrs *)problem_anchor(problem)->parsed)->axis, whole->rank);
    Dim before = 0;
    for (int32_t i = 0; i < index; ++i)
        before = dim_add(dims, before, problem_input(problem, i)->shape.dim[axis]);
    describe_part(problem, out->from, out->to, axis, before, true, out);
    return NULL;
}

static const char *describe_split(const Problem *problem, int32_t index, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const Node *node = problem_anchor(problem);
    const SplitAttrs *attrs = node->parsed;
    const Shape *whole = &problem_input(problem, 0)->shape;
    int32_t axis = normal_axis(attrs->axis, whole->rank), count = 0;
    Dim before = 0, sizes[256];
    if (attrs->has_sizes && !problem_known_dims(problem, node->inputs[1], 256, sizes, &count))
        return "sizes are not known";
    if (attrs->has_sizes)
        for (int32_t i = 0; i < index; ++i) before = dim_add(dims, before, sizes[i]);
    else
        before = dim_mul(dims, dim_ceil_div(dims, whole->dim[axis], attrs->num_outputs), index);
    describe_part(problem, out->to, out->from, axis, before, false, out);
    return NULL;
}

/* -- */

static bool is_view(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    return (op_def(node->op)->flags & OPF_VIEW) != 0;
}

int32_t copy_count(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || problem->node_count != 1 || node->output_count == 0) return 0;
    switch (node->op) {
    case OP_Concat:
        return node->input_count;
    case OP_Split:
        return node->output_count;
    case OP_Transpose:
    case OP_Expand:
    case OP_Tile:
    case OP_Slice:
    case OP_DepthToSpace:
    case OP_SpaceToDepth:
    case OP_Reformat:
        return 1;
    default:
        return is_view(problem) && node->output_count == 1 ? 1 : 0;
    }
}

static const char *describe(const Problem *problem, int32_t index, Copy *out) {
    switch (problem_anchor(problem)->op) {
    case OP_Concat:
        return describe_concat(problem, index, out);
    case OP_Split:
        return describe_split(problem, index, out);
    case OP_Transpose:
        return describe_transpose(problem, out);
    case OP_Expand:
        return describe_expand(problem, out);
    case OP_Tile:
        return describe_tile(problem, out);
    case OP_Slice:
        return describe_slice(problem, out);
    case OP_DepthToSpace:
        return describe_depth_to_space(problem, out);
    case OP_SpaceToDepth:
        return describe_space_to_depth(problem, out);
    case OP_Reformat:
        return describe_reformat(problem, out);
    default:
        return describe_view(problem, out);
    }
}

/* A part that the memory plan has where it lies in the whole. */
static bool is_in_place(const Problem *problem, const Node *node, const Copy *copy) {
    DimTable *dims = problem->graph->dims;
    const Value *from = problem_value(problem, copy->from), *to = problem_value(problem, copy->to);
    if (part_count(node->op, node->input_count, node->output_count) == 0 || from->buffer == NONE ||
        from->buffer != to->buffer)
        return false;
    Dim bytes = dtype_bits(to->dtype) / 8;
    return dim_add(dims, from->buffer_offset, dim_mul(dims, copy->read_offset, bytes)) ==
           dim_add(dims, to->buffer_offset, dim_mul(dims, copy->write_offset, bytes));
}

const char *copy_describe(const Problem *problem, int32_t index, Copy *out) {
    const Node *node = problem_anchor(problem);
    *out = (Copy){.from = node->inputs[node->op == OP_Concat ? index : 0],
                  .to = node->outputs[node->op == OP_Split ? index : 0]};
    if (out->from == NONE) return "an omitted input";
    if (out->to == NONE) return NULL; /* an unwanted part */
    const char *why = cuda_type_refusal(problem_value(problem, out->from)->dtype);
    if (why != NULL) return why;
    const Value *counted = problem_value(problem, node->op == OP_Concat ? out->from : out->to);
    out->count = shape_count(problem->graph->dims, &counted->shape);
    why = describe(problem, index, out);
    if (why == NULL && is_in_place(problem, node, out)) out->count = 0;
    return why;
}
