#include "kernels/copy.h"

#include "base/checked.h"
#include "ops/movement.h"

/* Axis in [0, rank), whatever its sign; the operators have checked it. */
static int32_t normal_axis(int64_t axis, int32_t rank) {
    return (int32_t)(axis < 0 ? axis + rank : axis);
}

static Dim span(DimTable *dims, const Shape *shape, int32_t first, int32_t last) {
    Dim product = 1;
    for (int32_t i = first; i < last; ++i) product = dim_mul(dims, product, shape->dim[i]);
    return product;
}

static Access linear(Dim count) {
    return (Access){.rank = 1, .dim = {count}, .stride = {1}};
}

/* Every element of output 0, read by strides. */
static void read_strided(const Problem *problem, int32_t rank, const Dim *extents, const Dim *strides,
                         Copy *out) {
    out->read = access_strided(problem->graph->dims, rank, extents, strides);
    out->write = linear(out->count);
}

/* -- one operator each -- */

static const char *describe_view(const Problem *problem, Copy *out) {
    const Value *from = problem_input(problem, 0);
    if (shape_count(problem->graph->dims, &from->shape) != out->count)
        return "whether the number of elements stays shows at run time only";
    out->read = out->write = linear(out->count);
    return NULL;
}

static const char *describe_transpose(const Problem *problem, Copy *out) {
    const TransposeAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *in = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    Dim own[SMELT_MAX_RANK], strides[SMELT_MAX_RANK];
    access_row_major(problem->graph->dims, in, own);
    for (int32_t i = 0; i < in->rank; ++i)
        strides[i] = own[attrs->count < 0 ? in->rank - 1 - i : attrs->perm[i]];
    read_strided(problem, to->rank, to->dim, strides, out);
    return NULL;
}

static const char *describe_expand(const Problem *problem, Copy *out) {
    const Shape *in = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    out->read = access_broadcast(problem->graph->dims, in, to);
    out->write = linear(out->count);
    return NULL;
}

/* Each axis is (repeat, extent) with the repeats standing still. */
static const char *describe_tile(const Problem *problem, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const Shape *in = &problem_input(problem, 0)->shape;
    Dim own[SMELT_MAX_RANK], repeats[SMELT_MAX_RANK], extents[ACCESS_MAX_RANK], strides[ACCESS_MAX_RANK];
    int32_t count;
    if (!problem_known_dims(problem, problem_anchor(problem)->inputs[1], SMELT_MAX_RANK, repeats, &count))
        return "repeats are not known";
    access_row_major(dims, in, own);
    for (int32_t i = 0; i < in->rank; ++i) {
        extents[2 * i] = repeats[i];
        strides[2 * i] = 0;
        extents[2 * i + 1] = in->dim[i];
        strides[2 * i + 1] = own[i];
    }
    read_strided(problem, 2 * in->rank, extents, strides, out);
    return NULL;
}

/* Source axes in the order (batch, channel, row, row in block, column, column in block). */
static const char *describe_depth_to_space(const Problem *problem, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const BlockAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *in = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    Dim b = attrs->block, own[SMELT_MAX_RANK], channels = to->dim[1];
    access_row_major(dims, in, own);
    Dim in_block = attrs->rows_first ? own[1] : dim_mul(dims, own[1], channels);
    const Dim extents[6] = {in->dim[0], channels, in->dim[2], b, in->dim[3], b};
    const Dim strides[6] = {own[0], attrs->rows_first ? dim_mul(dims, own[1], b * b) : own[1],
                            own[2], dim_mul(dims, in_block, b),
                            1,      in_block};
    read_strided(problem, 6, extents, strides, out);
    return NULL;
}

/* The output's channel is (row in block, column in block, channel). */
static const char *describe_space_to_depth(const Problem *problem, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const BlockAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *in = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    Dim b = attrs->block, own[SMELT_MAX_RANK];
    access_row_major(dims, in, own);
    const Dim extents[6] = {in->dim[0], b, b, in->dim[1], to->dim[2], to->dim[3]};
    const Dim strides[6] = {own[0], own[2], 1, own[1], dim_mul(dims, own[2], b), b};
    read_strided(problem, 6, extents, strides, out);
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
    access_row_major(dims, in, strides);
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
    read_strided(problem, to->rank, to->dim, strides, out);
    return NULL;
}

/* -- Concat and Split: rows of the short tensor are parts of rows of the long one -- */

static void describe_part(DimTable *dims, const Shape *part, const Shape *whole, int32_t axis, Dim before,
                          Dim count, Access *dense, Access *strided, Dim *offset) {
    const Dim extents[2] = {span(dims, part, 0, axis), span(dims, part, axis, part->rank)};
    const Dim strides[2] = {span(dims, whole, axis, whole->rank), 1};
    *dense = linear(count);
    *strided = access_strided(dims, 2, extents, strides);
    *offset = dim_mul(dims, before, span(dims, whole, axis + 1, whole->rank));
}

static const char *describe_concat(const Problem *problem, int32_t index, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const Shape *whole = &problem_output(problem, 0)->shape, *part = &problem_input(problem, index)->shape;
    int32_t axis = normal_axis(((const ConcatAttrs *)problem_anchor(problem)->parsed)->axis, whole->rank);
    Dim before = 0;
    for (int32_t i = 0; i < index; ++i)
        before = dim_add(dims, before, problem_input(problem, i)->shape.dim[axis]);
    describe_part(dims, part, whole, axis, before, out->count, &out->read, &out->write, &out->write_offset);
    return NULL;
}

static const char *describe_split(const Problem *problem, int32_t index, Copy *out) {
    DimTable *dims = problem->graph->dims;
    const Node *node = problem_anchor(problem);
    const SplitAttrs *attrs = node->parsed;
    const Shape *whole = &problem_input(problem, 0)->shape, *part = &problem_output(problem, index)->shape;
    int32_t axis = normal_axis(attrs->axis, whole->rank), count = 0;
    Dim before = 0, sizes[256];
    if (attrs->has_sizes && !problem_known_dims(problem, node->inputs[1], 256, sizes, &count))
        return "sizes are not known";
    if (attrs->has_sizes)
        for (int32_t i = 0; i < index; ++i) before = dim_add(dims, before, sizes[i]);
    else
        before = dim_mul(dims, dim_ceil_div(dims, whole->dim[axis], attrs->num_outputs), index);
    describe_part(dims, part, whole, axis, before, out->count, &out->write, &out->read, &out->read_offset);
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
