#include "ops/kit.h"

#include <stdio.h>
#include <string.h>

/* A Dim that came out of data: int64 values too low to be exact Dims are clamped, which keeps their meaning
 * ("before everything"). */
static Dim dim_of_int(int64_t value) {
    return value < DIM_EXACT_MIN ? DIM_EXACT_MIN : value;
}

Status kit_dims_of(InferCtx *ctx, const TypeInfo *input, const char *what, int32_t capacity, Dim *dims,
                   int32_t *count, bool *known) {
    *count = 0;
    *known = true;
    if (input == NULL) return STATUS_OK;
    if (!dtype_is_integer(input->dtype) && input->dtype != DTYPE_BOOL)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s is %s, expected an integer tensor", what,
                    dtype_name(input->dtype));
    if (input->shape.rank > 1)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s has rank %d, expected 0 or 1", what, input->shape.rank);
    Dim extent = input->shape.rank == 0 ? 1 : input->shape.dim[0];
    if (!dim_is_exact(extent)) {
        *count = -1;
        *known = false;
        return STATUS_OK;
    }
    if (extent > capacity)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s has %lld elements, at most %d are possible", what,
                    (long long)extent, capacity);
    *count = (int32_t)extent;
    *known = input->data != NULL || input->content != NULL || extent == 0;
    for (int32_t i = 0; *known && i < *count; ++i)
        dims[i] = input->data != NULL ? dim_of_int(dtype_load_i64(input->dtype, input->data, i))
                                      : input->content[i];
    return STATUS_OK;
}

Status kit_dim_of(InferCtx *ctx, const TypeInfo *input, const char *what, Dim *out, bool *known) {
    int32_t count;
    TRY(kit_dims_of(ctx, input, what, 1, out, &count, known));
    if (*known && count != 1)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s has no element, expected one", what);
    return STATUS_OK;
}

Status kit_ints_of(InferCtx *ctx, const TypeInfo *input, const char *what, int32_t capacity, int64_t *values,
                   int32_t *count, bool *known) {
    TRY(kit_dims_of(ctx, input, what, capacity, values, count, known));
    for (int32_t i = 0; *known && i < *count; ++i)
        if (!dim_is_exact(values[i])) *known = false;
    return STATUS_OK;
}

Status kit_axis(int64_t axis, int32_t rank, int32_t *out, Diag *diag) {
    if (axis < -rank || axis >= rank)
        return FAIL(diag, STATUS_BAD_MODEL, "axis %lld is outside rank %d", (long long)axis, rank);
    *out = (int32_t)(axis < 0 ? axis + rank : axis);
    return STATUS_OK;
}

Status kit_axes(const int64_t *axes, int32_t count, int32_t rank, bool marked[SMELT_MAX_RANK], Diag *diag) {
    memset(marked, 0, SMELT_MAX_RANK * sizeof *marked);
    for (int32_t i = 0; i < count; ++i) {
        int32_t axis = 0;
        TRY(kit_axis(axes[i], rank, &axis, diag));
        if (marked[axis]) return FAIL(diag, STATUS_BAD_MODEL, "axis %d is named twice", axis);
        marked[axis] = true;
    }
    return STATUS_OK;
}

static Status broadcast_failure(InferCtx *ctx, const Shape *a, const Shape *b) {
    const char *left = shape_print(ctx->dims, a, ctx->arena), *right = shape_print(ctx->dims, b, ctx->arena);
    TRY_ALLOC(ctx->diag, left);
    TRY_ALLOC(ctx->diag, right);
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "shapes %s and %s do not broadcast", left, right);
}

Status kit_broadcast(InferCtx *ctx, const Shape *a, const Shape *b, Shape *out) {
    Shape result = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int32_t i = 0; i < result.rank; ++i) {
        int32_t ia = i - (result.rank - a->rank), ib = i - (result.rank - b->rank);
        Dim da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (dim_is_exact(da) && dim_is_exact(db) && da != db && da != 1 && db != 1)
            return broadcast_failure(ctx, a, b);
        result.dim[i] = dim_broadcast(ctx->dims, da, db);
    }
    *out = result;
    return STATUS_OK;
}

Status kit_expect_broadcasts_to(InferCtx *ctx, int32_t input, const Shape *to) {
    const Shape *from = &ctx->inputs[input]->shape;
    Shape both;
    TRY(kit_broadcast(ctx, to, from, &both));
    bool fits = both.rank == to->rank;
    for (int32_t i = 0; fits && i < to->rank; ++i)
        fits = both.dim[i] == to->dim[i] || !dim_is_exact(both.dim[i]) || !dim_is_exact(to->dim[i]);
    return fits ? STATUS_OK : broadcast_failure(ctx, from, to);
}

Status kit_expect_rank(InferCtx *ctx, int32_t input, int32_t low, int32_t high) {
    int32_t rank = ctx->inputs[input]->shape.rank;
    if (rank >= low && rank <= high) return STATUS_OK;
    if (low == high)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has rank %d, expected %d", input, rank, low);
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has rank %d, expected %d to %d", input, rank, low,
                high);
}

Status kit_expect_dtype_like(InferCtx *ctx, int32_t input, int32_t like) {
    DType found = ctx->inputs[input]->dtype, expected = ctx->inputs[like]->dtype;
    if (found == expected) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected %s as input %d", input,
                dtype_name(found), dtype_name(expected), like);
}

Status kit_expect_float(InferCtx *ctx, int32_t input) {
    DType found = ctx->inputs[input]->dtype;
    if (dtype_is_float(found)) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected a floating-point tensor", input,
                dtype_name(found));
}

Status kit_infer_same(InferCtx *ctx) {
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    ctx->outputs[0].shape = ctx->inputs[0]->shape;
    return STATUS_OK;
}

/* The input as a one-element tensor; *known false when omitted or without data. */
static Status scalar_input(InferCtx *ctx, int32_t input, const TypeInfo **out, bool *known) {
    *out = infer_input(ctx, input);
    *known = *out != NULL && (*out)->data != NULL;
    if (*out == NULL) return STATUS_OK;
    Dim count = shape_count(ctx->dims, &(*out)->shape);
    if (dim_is_exact(count) && count != 1)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has %lld elements, expected a scalar", input,
                    (long long)count);
    return STATUS_OK;
}

Status kit_scalar_f64(InferCtx *ctx, int32_t input, double *out, bool *known) {
    const TypeInfo *scalar;
    TRY(scalar_input(ctx, input, &scalar, known));
    if (*known) *out = dtype_load_f64(scalar->dtype, scalar->data, 0);
    return STATUS_OK;
}

Status kit_scalar_i64(InferCtx *ctx, int32_t input, int64_t *out, bool *known) {
    const TypeInfo *scalar;
    TRY(scalar_input(ctx, input, &scalar, known));
    if (*known) {
        *out = dtype_load_i64(scalar->dtype, scalar->data, 0);
    } else if (scalar != NULL && scalar->content != NULL && dim_is_exact(scalar->content[0])) {
        *out = scalar->content[0];
        *known = true;
    }
    return STATUS_OK;
}

Status kit_same_dim(InferCtx *ctx, Dim a, Dim b, const char *what, Dim *out) {
    if (dim_is_exact(a) && dim_is_exact(b) && a != b)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s: %lld and %lld differ", what, (long long)a,
                    (long long)b);
    *out = dim_is_exact(b) ? b : a;
    return STATUS_OK;
}

Status kit_check_dim(InferCtx *ctx, Dim dim, const char *what) {
    if (!dim_is_exact(dim) || dim >= 0) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s would be %lld", what, (long long)dim);
}

Status kit_late_by_count(InferCtx *ctx, int32_t count, const char *what, Shape *out) {
    if (count < 0)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED,
                    "the output's rank is the extent of '%s', which is not known before the run", what);
    kit_late_shape(ctx, count, what, out);
    return STATUS_OK;
}

void kit_late_shape(InferCtx *ctx, int32_t rank, const char *stem, Shape *out) {
    out->rank = rank;
    for (int32_t i = 0; i < rank; ++i) out->dim[i] = dim_fresh(ctx->dims, stem);
}

Dim kit_late_at_most(InferCtx *ctx, const char *stem, Dim most) {
    Dim late = dim_fresh(ctx->dims, stem);
    int32_t index = dim_symbol_index(ctx->dims, late);
    int64_t low, high;
    dim_bounds(ctx->dims, most, &low, &high);
    if (index < 0) return late;
    Symbol *symbol = dim_symbol_at(ctx->dims, index);
    symbol->max = max_i64(high, 0);
    symbol->opt = min_i64(symbol->opt, symbol->max);
    return late;
}

Status kit_parse_none(const ParseCtx *ctx, const void **attrs) {
    (void)ctx;
    *attrs = NULL;
    return STATUS_OK;
}

Status kit_late_output(KernelCtx *ctx, int32_t index, int32_t rank, const int64_t *dims) {
    Tensor *out = ctx->outputs[index];
    if (out->data == NULL) return kernel_output(ctx, index, rank, dims);
    for (int32_t i = 0; i < rank; ++i)
        if (out->rank != rank || out->dim[i] != dims[i])
            return FAIL(ctx->diag, STATUS_BAD_DATA, "output %d has extent %lld on axis %d, expected %lld",
                        index, (long long)dims[i], i, (long long)out->dim[i]);
    return STATUS_OK;
}

int kit_worker_count(const KernelCtx *ctx) {
    return ctx->host == NULL ? 1 : thread_pool_size(ctx->host->pool);
}

size_t kit_worker_scratch(const KernelCtx *ctx, size_t bytes) {
    size_t total;
    return checked_mul_size(bytes, (size_t)kit_worker_count(ctx), &total) ? total : SIZE_MAX;
}

ThreadPool *kit_worker_pool(const KernelCtx *ctx, size_t bytes) {
    return ctx->host->scratch_size < kit_worker_scratch(ctx, bytes) ? NULL : ctx->host->pool;
}

int32_t kit_read_ints(const Tensor *tensor, int64_t *values, int32_t capacity) {
    if (tensor == NULL) return 0;
    int64_t count = min_i64(tensor_count(tensor), capacity);
    dtype_read_i64(tensor->dtype, tensor->data, 0, count, values);
    return (int32_t)count;
}

void kit_strides(int32_t rank, const int64_t *dims, int64_t *strides) {
    int64_t stride = 1;
    for (int32_t i = rank - 1; i >= 0; --i) {
        strides[i] = stride;
        stride *= dims[i];
    }
}

void kit_broadcast_strides(const Tensor *from, int32_t rank, int64_t *strides) {
    int64_t own[SMELT_MAX_RANK] = {0};
    kit_strides(from->rank, from->dim, own);
    int32_t offset = rank - from->rank;
    for (int32_t i = 0; i < rank; ++i)
        strides[i] = i < offset || from->dim[i - offset] == 1 ? 0 : own[i - offset];
}
