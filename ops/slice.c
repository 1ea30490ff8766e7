#include "ops/kit.h"
#include "ops/movement.h"
#include "ops/strided.h"

SliceRange slice_range(int64_t extent, int64_t start, int64_t end, int64_t step) {
    SliceRange range = {.step = max_i64(step, -INT64_MAX)};
    if (start < 0) start += extent;
    if (end < 0) end += extent;
    if (step > 0) {
        range.start = clamp_i64(start, 0, extent);
        end = clamp_i64(end, 0, extent);
        range.count = end > range.start ? (end - range.start - 1) / range.step + 1 : 0;
    } else if (extent > 0) {
        range.start = clamp_i64(start, 0, extent - 1);
        end = clamp_i64(end, -1, extent - 1);
        range.count = range.start > end ? (range.start - end - 1) / -range.step + 1 : 0;
    }
    return range;
}

Status parse_Slice(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

/* -- inference: the formulas of slice_range over expressions -- */

/* Beyond any extent, and sums of a few do not overflow. */
static const int64_t FARTHEST = (int64_t)1 << 60;

typedef enum Sign { SIGN_UNKNOWN, SIGN_NEGATIVE, SIGN_NONNEGATIVE } Sign;

static Sign dim_sign(DimTable *dims, Dim d) {
    int64_t low, high;
    dim_bounds(dims, d, &low, &high);
    return low >= 0 ? SIGN_NONNEGATIVE : high < 0 ? SIGN_NEGATIVE : SIGN_UNKNOWN;
}

/* Models write "to the end" as the largest number of some integer type. */
static bool is_open(Dim end) {
    return dim_is_exact(end) && end >= INT32_MAX;
}

/* Where a range cannot reach below 0 the clamp at 0 is left out, and the upper clamp of start is never
 * needed: a start beyond the end gives a negative difference, which counts 0. */
static Dim count_forward(DimTable *dims, Dim extent, Dim start, Sign start_sign, Dim end, Sign end_sign,
                         int64_t step) {
    Dim stop = is_open(end)                   ? extent
               : end_sign == SIGN_NONNEGATIVE ? dim_min(dims, end, extent)
                                              : dim_add(dims, extent, end);
    Dim length;
    if (start_sign == SIGN_NONNEGATIVE)
        length = dim_sub(dims, stop, start);
    else if (stop == extent)
        length = dim_min(dims, extent, dim_sub(dims, 0, start)); /* the last -start elements */
    else
        length = dim_sub(dims, stop, dim_max(dims, 0, dim_add(dims, extent, start)));
    return dim_ceil_div(dims, dim_max(dims, 0, length), step);
}

static Dim count_backward(DimTable *dims, Dim extent, Dim start, Sign start_sign, Dim end, Sign end_sign,
                          int64_t step) {
    Dim last = dim_sub(dims, extent, 1);
    Dim first = start_sign == SIGN_NONNEGATIVE ? is_open(start) ? last : dim_min(dims, start, last)
                : start == -1 ? last
                                               : dim_max(dims, 0, dim_add(dims, extent, start));
    bool to_zero = dim_is_exact(end) && end <= -INT32_MAX;
    Dim stop = end_sign == SIGN_NONNEGATIVE ? end
               : to_zero                    ? -1
                                            : dim_max(dims, -1, dim_add(dims, extent, end));
    Dim length = dim_max(dims, 0, dim_sub(dims, first, stop));
    return dim_ceil_div(dims, dim_min(dims, length, extent), -step);
}

static Dim slice_dim(InferCtx *ctx, Dim extent, Dim start, Dim end, int64_t step) {
    if (dim_is_exact(extent) && dim_is_exact(start) && dim_is_exact(end))
        return slice_range(extent, start, end, step).count;
    step = clamp_i64(step, -FARTHEST, FARTHEST);
    if (dim_is_exact(start)) start = clamp_i64(start, -FARTHEST, FARTHEST);
    if (dim_is_exact(end)) end = clamp_i64(end, -FARTHEST, FARTHEST);
    Sign start_sign = dim_sign(ctx->dims, start), end_sign = dim_sign(ctx->dims, end);
    if (start_sign == SIGN_UNKNOWN || end_sign == SIGN_UNKNOWN) return dim_fresh(ctx->dims, "slice");
    if (step > 0) return count_forward(ctx->dims, extent, start, start_sign, end, end_sign, step);
    return count_backward(ctx->dims, extent, start, start_sign, end, end_sign, step);
}

typedef struct SliceInputs {
    int32_t count; /* of axes; -1: late */
    bool starts_known, ends_known, axes_known, steps_known;
    Dim starts[SMELT_MAX_RANK], ends[SMELT_MAX_RANK];
    int64_t axes[SMELT_MAX_RANK], steps[SMELT_MAX_RANK];
} SliceInputs;

static Status check_list(InferCtx *ctx, const char *what, int32_t count, int32_t *common) {
    if (count < 0) return STATUS_OK;
    if (*common >= 0 && count != *common)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d %s for %d starts", count, what, *common);
    *common = count;
    return STATUS_OK;
}

static Status read_slice_inputs(InferCtx *ctx, SliceInputs *in) {
    int32_t count;
    const TypeInfo *axes = infer_input(ctx, 3), *steps = infer_input(ctx, 4);
    TRY(kit_dims_of(ctx, ctx->inputs[1], "starts", SMELT_MAX_RANK, in->starts, &in->count,
                    &in->starts_known));
    TRY(kit_dims_of(ctx, ctx->inputs[2], "ends", SMELT_MAX_RANK, in->ends, &count, &in->ends_known));
    TRY(check_list(ctx, "ends", count, &in->count));
    TRY(kit_ints_of(ctx, axes, "axes", SMELT_MAX_RANK, in->axes, &count, &in->axes_known));
    if (axes != NULL) TRY(check_list(ctx, "axes", count, &in->count));
    TRY(kit_ints_of(ctx, steps, "steps", SMELT_MAX_RANK, in->steps, &count, &in->steps_known));
    if (steps != NULL) TRY(check_list(ctx, "steps", count, &in->count));
    if (in->count < 0) in->axes_known = false;
    for (int32_t i = 0; i < in->count; ++i) {
        if (axes == NULL) in->axes[i] = i;
        if (steps == NULL) in->steps[i] = 1;
        if (in->steps_known && in->steps[i] == 0)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "element %d of the steps is 0", i);
    }
    return STATUS_OK;
}

Status infer_Slice(InferCtx *ctx) {
    SliceInputs in = {0};
    TRY(kit_infer_same(ctx));
    Shape *out = &ctx->outputs[0].shape;
    TRY(read_slice_inputs(ctx, &in));
    if (!in.axes_known) {
        kit_late_shape(ctx, out->rank, "slice", out);
        return STATUS_OK;
    }
    bool marked[SMELT_MAX_RANK], known = in.starts_known && in.ends_known && in.steps_known;
    TRY(kit_axes(in.axes, in.count, out->rank, marked, ctx->diag));
    for (int32_t i = 0; i < in.count; ++i) {
        Dim *extent = &out->dim[in.axes[i] < 0 ? in.axes[i] + out->rank : in.axes[i]];
        *extent = known ? slice_dim(ctx, *extent, in.starts[i], in.ends[i], in.steps[i])
                        : dim_fresh(ctx->dims, "slice");
    }
    return STATUS_OK;
}

/* -- kernel -- */

static Status read_ranges(const KernelCtx *ctx, SliceRange ranges[SMELT_MAX_RANK]) {
    const Tensor *in = ctx->inputs[0];
    int64_t starts[SMELT_MAX_RANK], ends[SMELT_MAX_RANK], axes[SMELT_MAX_RANK], steps[SMELT_MAX_RANK];
    int32_t count = kit_read_ints(ctx->inputs[1], starts, SMELT_MAX_RANK), axis;
    kit_read_ints(ctx->inputs[2], ends, SMELT_MAX_RANK);
    bool has_axes = kit_read_ints(kernel_input(ctx, 3), axes, SMELT_MAX_RANK) > 0;
    bool has_steps = kit_read_ints(kernel_input(ctx, 4), steps, SMELT_MAX_RANK) > 0;
    for (int32_t i = 0; i < in->rank; ++i) ranges[i] = (SliceRange){0, 1, in->dim[i]};
    for (int32_t i = 0; i < count; ++i) {
        TRY(kit_axis(has_axes ? axes[i] : i, in->rank, &axis, ctx->diag));
        ranges[axis] = slice_range(in->dim[axis], starts[i], ends[i], has_steps ? steps[i] : 1);
    }
    return STATUS_OK;
}

Status kernel_Slice(KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    SliceRange ranges[SMELT_MAX_RANK];
    int64_t from[SMELT_MAX_RANK], to[SMELT_MAX_RANK];
    TRY(read_ranges(ctx, ranges));
    kit_strides(in->rank, in->dim, from);
    kit_strides(out->rank, out->dim, to);
    StridedCopy copy = {.dtype = in->dtype, .from = in->data, .to = out->data};
    for (int32_t i = 0; i < in->rank; ++i) {
        if (ranges[i].count != out->dim[i])
            return FAIL(ctx->diag, STATUS_BAD_DATA, "the slice of axis %d has %lld elements, expected %lld",
                        i, (long long)ranges[i].count, (long long)out->dim[i]);
        strided_add(&copy, ranges[i].count, ranges[i].count > 1 ? from[i] * ranges[i].step : from[i], to[i]);
        copy.from_offset += ranges[i].count > 0 ? ranges[i].start * from[i] : 0;
    }
    strided_copy(&copy, ctx->host->pool);
    return STATUS_OK;
}
