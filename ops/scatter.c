/* ScatterElements, ScatterND and TensorScatter: a copy of the data, then updates in the order in which they
 * are given, so that repeated indices have one defined result. */
#include <math.h>
#include <string.h>

#include "ops/indexing.h"
#include "ops/kit.h"
#include "ops/strided.h"

static Status parse_reduction(const ParseCtx *ctx, ScatterReduction *out) {
    static const char *const names[] = {[SCATTER_REPLACE] = "none",
                                        [SCATTER_ADD] = "add",
                                        [SCATTER_MUL] = "mul",
                                        [SCATTER_MAX] = "max",
                                        [SCATTER_MIN] = "min"};
    const char *name;
    TRY(attr_string(ctx->list, "reduction", "none", &name, ctx->diag));
    for (int i = SCATTER_REPLACE; i <= SCATTER_MIN; ++i) {
        *out = (ScatterReduction)i;
        if (strcmp(names[i], name) == 0) return STATUS_OK;
    }
    return FAIL(ctx->diag, STATUS_BAD_MODEL,
                "attribute 'reduction' is '%s', expected 'none', 'add', 'mul', 'max' or 'min'", name);
}

static Status parse_scatter(const ParseCtx *ctx, const void **attrs) {
    ScatterAttrs *out = ARENA_NEW(ctx->arena, ScatterAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(attr_int(ctx->list, "axis", 0, &out->axis, ctx->diag));
    TRY(parse_reduction(ctx, &out->reduction));
    *attrs = out;
    return STATUS_OK;
}

static Status check_scatter_types(InferCtx *ctx) {
    const ScatterAttrs *attrs = ctx->attrs;
    DType dtype = ctx->inputs[1]->dtype;
    if (dtype != DTYPE_I64 && dtype != DTYPE_I32)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input 1 is %s, expected i64 or i32 indices",
                    dtype_name(dtype));
    TRY(kit_expect_dtype_like(ctx, 2, 0));
    if (attrs->reduction != SCATTER_REPLACE && dtype_kind(ctx->inputs[0]->dtype) == DTYPE_KIND_OTHER)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "a reduction of %s", dtype_name(ctx->inputs[0]->dtype));
    return kit_infer_same(ctx);
}

static double combine_f64(ScatterReduction reduction, double a, double b) {
    switch (reduction) {
    case SCATTER_ADD:
        return a + b;
    case SCATTER_MUL:
        return a * b;
    case SCATTER_MAX:
        return isnan(a) || a > b ? a : b;
    case SCATTER_MIN:
        return isnan(a) || a < b ? a : b;
    default:
        return b;
    }
}

/* Sums and products wrap; u64 compares as unsigned. */
static int64_t combine_i64(ScatterReduction reduction, bool is_unsigned, int64_t a, int64_t b) {
    bool less = is_unsigned ? (uint64_t)a < (uint64_t)b : a < b;
    switch (reduction) {
    case SCATTER_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case SCATTER_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case SCATTER_MAX:
        return less ? b : a;
    case SCATTER_MIN:
        return less ? a : b;
    default:
        return b;
    }
}

/* out[at + i] = reduction(out[at + i], updates[from + i]) */
static void scatter_run(ScatterReduction reduction, Tensor *out, int64_t at, const Tensor *updates,
                        int64_t from, int64_t count) {
    DType dtype = out->dtype;
    DTypeKind kind = dtype_kind(dtype);
    if (reduction == SCATTER_REPLACE) {
        elements_copy(dtype, out->data, at, updates->data, from, count);
        return;
    }
    for (int64_t i = 0; i < count; ++i) {
        if (kind == DTYPE_KIND_FLOAT)
            dtype_store_f64(dtype, out->data, at + i,
                            combine_f64(reduction, dtype_load_f64(dtype, out->data, at + i),
                                        dtype_load_f64(dtype, updates->data, from + i)));
        else
            dtype_store_i64(dtype, out->data, at + i,
                            combine_i64(reduction, kind == DTYPE_KIND_UNSIGNED,
                                        dtype_load_i64(dtype, out->data, at + i),
                                        dtype_load_i64(dtype, updates->data, from + i)));
    }
}

/* -- ScatterElements -- */

Status parse_ScatterElements(const ParseCtx *ctx, const void **attrs) {
    return parse_scatter(ctx, attrs);
}

Status infer_ScatterElements(InferCtx *ctx) {
    const ScatterAttrs *attrs = ctx->attrs;
    const Shape *data = &ctx->inputs[0]->shape, *indices = &ctx->inputs[1]->shape;
    int32_t axis;
    Dim ignored;
    TRY(check_scatter_types(ctx));
    TRY(kit_axis(attrs->axis, data->rank, &axis, ctx->diag));
    TRY(kit_expect_rank(ctx, 1, data->rank, data->rank));
    TRY(kit_expect_rank(ctx, 2, data->rank, data->rank));
    for (int32_t i = 0; i < data->rank; ++i)
        TRY(kit_same_dim(ctx, indices->dim[i], ctx->inputs[2]->shape.dim[i], "extents of indices and updates",
                         &ignored));
    return STATUS_OK;
}

Status kernel_ScatterElements(KernelCtx *ctx) {
    const ScatterAttrs *attrs = ctx->attrs;
    const Tensor *data = ctx->inputs[0], *indices = ctx->inputs[1], *updates = ctx->inputs[2];
    Tensor *out = ctx->outputs[0];
    int64_t strides[SMELT_MAX_RANK], position[SMELT_MAX_RANK] = {0}, count = tensor_count(indices);
    int32_t axis = 0;
    TRY(kit_axis(attrs->axis, data->rank, &axis, ctx->diag));
    TRY(index_check(indices, data->dim[axis], ctx->diag));
    for (int32_t i = 0; i < data->rank; ++i)
        if ((i != axis && indices->dim[i] > data->dim[i]) || indices->dim[i] != updates->dim[i])
            return FAIL(ctx->diag, STATUS_BAD_DATA, "axis %d: %lld indices and %lld updates for extent %lld",
                        i, (long long)indices->dim[i], (long long)updates->dim[i], (long long)data->dim[i]);
    tensor_copy_bytes(data, out, ctx->host->pool);
    kit_strides(data->rank, data->dim, strides);
    for (int64_t n = 0; n < count; ++n) {
        int64_t index = kit_index(indices, n), at = 0;
        if (index < 0) index += data->dim[axis];
        for (int32_t i = 0; i < data->rank; ++i) at += (i == axis ? index : position[i]) * strides[i];
        scatter_run(attrs->reduction, out, at, updates, n, 1);
        for (int32_t i = data->rank - 1; i >= 0 && ++position[i] == indices->dim[i]; --i) position[i] = 0;
    }
    return STATUS_OK;
}

/* -- ScatterND -- */

Status parse_ScatterND(const ParseCtx *ctx, const void **attrs) {
    return parse_scatter(ctx, attrs);
}

Status infer_ScatterND(InferCtx *ctx) {
    const Shape *data = &ctx->inputs[0]->shape, *indices = &ctx->inputs[1]->shape,
                *updates = &ctx->inputs[2]->shape;
    Dim ignored;
    TRY(check_scatter_types(ctx));
    TRY(kit_expect_rank(ctx, 0, 1, SMELT_MAX_RANK));
    TRY(kit_expect_rank(ctx, 1, 1, SMELT_MAX_RANK));
    Dim depth = indices->dim[indices->rank - 1];
    if (!dim_is_exact(depth))
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "index tuples whose length is not known before the run");
    if (depth > data->rank)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "tuples of %lld indices for rank %d", (long long)depth,
                    data->rank);
    int32_t lead = indices->rank - 1, tail = data->rank - (int32_t)depth;
    TRY(kit_expect_rank(ctx, 2, lead + tail, lead + tail));
    for (int32_t i = 0; i < lead + tail; ++i)
        TRY(kit_same_dim(ctx, updates->dim[i], i < lead ? indices->dim[i] : data->dim[depth + i - lead],
                         "extents of the updates", &ignored));
    return STATUS_OK;
}

Status kernel_ScatterND(KernelCtx *ctx) {
    const ScatterAttrs *attrs = ctx->attrs;
    const Tensor *data = ctx->inputs[0], *updates = ctx->inputs[2];
    TupleIndex tuples;
    tuple_index_init(&tuples, ctx->inputs[1], data, 0);
    int64_t inner = tensor_span(data, (int32_t)tuples.depth, data->rank);
    TRY(tuple_index_check(&tuples, ctx->diag));
    if (tensor_count(updates) != tuples.count * inner)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "%lld updates for %lld indices of %lld elements each",
                    (long long)tensor_count(updates), (long long)tuples.count, (long long)inner);
    tensor_copy_bytes(data, ctx->outputs[0], ctx->host->pool);
    if (inner == 0) return STATUS_OK;
    for (int64_t n = 0; n < tuples.count; ++n)
        scatter_run(attrs->reduction, ctx->outputs[0], tuple_index_offset(&tuples, n), updates, n * inner,
                    inner);
    return STATUS_OK;
}

/* -- TensorScatter: writes a stretch of a cache per batch entry -- */

Status parse_TensorScatter(const ParseCtx *ctx, const void **attrs) {
    TensorScatterAttrs *out = ARENA_NEW(ctx->arena, TensorScatterAttrs);
    TRY_ALLOC(ctx->diag, out);
    const char *mode;
    TRY(attr_int(ctx->list, "axis", -2, &out->axis, ctx->diag));
    TRY(attr_string(ctx->list, "mode", "linear", &mode, ctx->diag));
    out->circular = strcmp(mode, "circular") == 0;
    if (!out->circular && strcmp(mode, "linear") != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'mode' is '%s', expected 'linear' or 'circular'",
                    mode);
    *attrs = out;
    return STATUS_OK;
}

Status infer_TensorScatter(InferCtx *ctx) {
    const TensorScatterAttrs *attrs = ctx->attrs;
    const Shape *cache = &ctx->inputs[0]->shape, *update = &ctx->inputs[1]->shape;
    int32_t axis = 0;
    Dim ignored;
    TRY(kit_infer_same(ctx));
    TRY(kit_expect_dtype_like(ctx, 1, 0));
    TRY(kit_expect_rank(ctx, 0, 2, SMELT_MAX_RANK));
    TRY(kit_expect_rank(ctx, 1, cache->rank, cache->rank));
    TRY(kit_axis(attrs->axis, cache->rank, &axis, ctx->diag));
    if (axis == 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "axis 0 is the batch and cannot be written along");
    for (int32_t i = 0; i < cache->rank; ++i)
        if (i != axis)
            TRY(kit_same_dim(ctx, cache->dim[i], update->dim[i], "extents of cache and update", &ignored));
    if (dim_is_exact(cache->dim[axis]) && dim_is_exact(update->dim[axis]) &&
        update->dim[axis] > cache->dim[axis])
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "an update of %lld entries for a cache of %lld",
                    (long long)update->dim[axis], (long long)cache->dim[axis]);
    if (infer_input(ctx, 2) == NULL) return STATUS_OK;
    TRY(kit_expect_rank(ctx, 2, 1, 1));
    return kit_same_dim(ctx, cache->dim[0], ctx->inputs[2]->shape.dim[0], "batch and number of write indices",
                        &ignored);
}

static Status check_write_indices(KernelCtx *ctx, int64_t length, int64_t written, bool circular) {
    const Tensor *indices = kernel_input(ctx, 2);
    int64_t count = indices == NULL ? 0 : tensor_count(indices);
    if (written > length)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "an update of %lld entries for a cache of %lld",
                    (long long)written, (long long)length);
    for (int64_t i = 0; i < count; ++i) {
        int64_t index = kit_index(indices, i);
        if (index < 0 || (circular ? index >= max_i64(length, 1) : index > length - written))
            return FAIL(ctx->diag, STATUS_BAD_DATA, "write index %lld does not fit a cache of %lld entries",
                        (long long)index, (long long)length);
    }
    return STATUS_OK;
}

Status kernel_TensorScatter(KernelCtx *ctx) {
    const TensorScatterAttrs *attrs = ctx->attrs;
    const Tensor *cache = ctx->inputs[0], *update = ctx->inputs[1], *indices = kernel_input(ctx, 2);
    Tensor *out = ctx->outputs[0];
    int32_t axis = 0;
    TRY(kit_axis(attrs->axis, cache->rank, &axis, ctx->diag));
    int64_t length = cache->dim[axis], written = update->dim[axis];
    int64_t inner = tensor_span(cache, axis + 1, cache->rank), rows = tensor_span(cache, 0, axis);
    int64_t per_batch = tensor_span(cache, 1, axis);
    TRY(check_write_indices(ctx, length, written, attrs->circular));
    tensor_copy_bytes(cache, out, ctx->host->pool);
    for (int64_t row = 0; row < rows; ++row) {
        int64_t start = indices == NULL ? 0 : kit_index(indices, row / per_batch);
        int64_t straight = min_i64(written, length - start); /* what lies before the cache wraps */
        elements_copy(cache->dtype, out->data, (row * length + start) * inner, update->data,
                      row * written * inner, straight * inner);
        elements_copy(cache->dtype, out->data, row * length * inner, update->data,
                      (row * written + straight) * inner, (written - straight) * inner);
    }
    return STATUS_OK;
}
