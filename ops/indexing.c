/* Gather, GatherElements and GatherND. All indices are checked before the first is used, so that the copies
 * can run in parallel and a bad index changes nothing. */
#include "ops/indexing.h"

#include "base/simd.h"
#include "ops/kit.h"
#include "ops/strided.h"

enum { GRAIN = 16384 }; /* elements per piece of parallel work */

static Status index_failure(Diag *diag, int64_t index, int64_t position, int64_t extent) {
    return FAIL(diag, STATUS_BAD_DATA, "index %lld at position %lld is outside extent %lld", (long long)index,
                (long long)position, (long long)extent);
}

/* Whether any of `count` indices is outside [-extent, extent), without a branch in the loops. */
SIMD_CLONES static bool any_outside(const Tensor *indices, int64_t count, int64_t extent) {
    int64_t outside = 0;
    if (indices->dtype == DTYPE_I64) {
        const int64_t *values = indices->data;
        for (int64_t i = 0; i < count; ++i) outside |= (values[i] < -extent) | (values[i] >= extent);
    } else {
        for (int64_t i = 0; i < count; ++i) {
            int64_t index = kit_index(indices, i);
            outside |= (index < -extent) | (index >= extent);
        }
    }
    return outside != 0;
}

Status index_check(const Tensor *indices, int64_t extent, Diag *diag) {
    int64_t count = tensor_count(indices);
    if (!any_outside(indices, count, extent)) return STATUS_OK;
    for (int64_t i = 0; i < count; ++i) {
        int64_t index = kit_index(indices, i);
        if (index < -extent || index >= extent) return index_failure(diag, index, i, extent);
    }
    return STATUS_OK;
}

static inline int64_t wrap_index(int64_t index, int64_t extent) {
    return index < 0 ? index + extent : index;
}

/* -- single elements, a block at a time -- */

enum { BLOCK = 256 };

/* at[i] = i * step + the place of index first + i, in steps of `stride`. */
SIMD_CLONES static void find_places(const Tensor *indices, int64_t first, int64_t count, int64_t extent,
                                    int64_t stride, int64_t step, int64_t *at) {
    if (indices->dtype == DTYPE_I64) {
        const int64_t *values = (const int64_t *)indices->data + first;
        for (int64_t i = 0; i < count; ++i) at[i] = wrap_index(values[i], extent) * stride + i * step;
    } else {
        for (int64_t i = 0; i < count; ++i)
            at[i] = wrap_index(kit_index(indices, first + i), extent) * stride + i * step;
    }
}

/* Elements base + at[i] of `from` to elements first + i of `to`. */
static void copy_places(DType dtype, void *to, int64_t first, const void *from, int64_t base,
                        const int64_t *at, int64_t count) {
    int bits = dtype_bits(dtype);
    if (bits == 32)
        for (int64_t i = 0; i < count; ++i) element_copy(32, dtype, to, first + i, from, base + at[i]);
    else
        for (int64_t i = 0; i < count; ++i) element_copy(bits, dtype, to, first + i, from, base + at[i]);
}

static Status expect_index(InferCtx *ctx, int32_t input) {
    DType dtype = ctx->inputs[input]->dtype;
    if (dtype == DTYPE_I64 || dtype == DTYPE_I32) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected i64 or i32 indices", input,
                dtype_name(dtype));
}

static Status parse_axis(const ParseCtx *ctx, const void **attrs) {
    GatherAttrs *out = ARENA_NEW(ctx->arena, GatherAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(attr_int(ctx->list, "axis", 0, &out->axis, ctx->diag));
    *attrs = out;
    return STATUS_OK;
}

/* -- Gather -- */

Status parse_Gather(const ParseCtx *ctx, const void **attrs) {
    return parse_axis(ctx, attrs);
}

Status infer_Gather(InferCtx *ctx) {
    const GatherAttrs *attrs = ctx->attrs;
    const Shape *data = &ctx->inputs[0]->shape, *indices = &ctx->inputs[1]->shape;
    Shape *out = &ctx->outputs[0].shape;
    int32_t axis = 0;
    TRY(expect_index(ctx, 1));
    TRY(kit_axis(attrs->axis, data->rank, &axis, ctx->diag));
    if (data->rank - 1 + indices->rank > SMELT_MAX_RANK)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "a result of rank %d; the largest rank is %d",
                    data->rank - 1 + indices->rank, SMELT_MAX_RANK);
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    for (int32_t i = 0; i < axis; ++i) out->dim[out->rank++] = data->dim[i];
    for (int32_t i = 0; i < indices->rank; ++i) out->dim[out->rank++] = indices->dim[i];
    for (int32_t i = axis + 1; i < data->rank; ++i) out->dim[out->rank++] = data->dim[i];
    return STATUS_OK;
}

typedef struct GatherRun {
    const Tensor *data, *indices;
    Tensor *out;
    int64_t index_count, extent, inner; /* out is [outer, index_count, inner] */
} GatherRun;

/* Outputs [first, last), each one element: of one row of the output after another. */
static void gather_elements(const GatherRun *run, int64_t first, int64_t last) {
    int64_t places[BLOCK];
    for (int64_t n = first, count; n < last; n += count) {
        int64_t outer = n / run->index_count, i = n % run->index_count;
        count = min_i64(BLOCK, min_i64(last - n, run->index_count - i));
        find_places(run->indices, i, count, run->extent, 1, 0, places);
        copy_places(run->data->dtype, run->out->data, n, run->data->data, outer * run->extent, places, count);
    }
}

static void gather_runs(void *context, int64_t first, int64_t last, int worker) {
    const GatherRun *run = context;
    DType dtype = run->data->dtype;
    int64_t outer = first / run->index_count, i = first % run->index_count;
    (void)worker;
    if (run->inner == 1) {
        gather_elements(run, first, last);
        return;
    }
    for (int64_t n = first; n < last; ++n) {
        int64_t from = outer * run->extent + wrap_index(kit_index(run->indices, i), run->extent);
        elements_copy(dtype, run->out->data, n * run->inner, run->data->data, from * run->inner, run->inner);
        if (++i < run->index_count) continue;
        i = 0;
        ++outer;
    }
}

Status kernel_Gather(KernelCtx *ctx) {
    const GatherAttrs *attrs = ctx->attrs;
    const Tensor *data = ctx->inputs[0];
    int32_t axis = 0;
    TRY(kit_axis(attrs->axis, data->rank, &axis, ctx->diag));
    GatherRun run = {data,
                     ctx->inputs[1],
                     ctx->outputs[0],
                     tensor_count(ctx->inputs[1]),
                     data->dim[axis],
                     tensor_span(data, axis + 1, data->rank)};
    TRY(index_check(run.indices, run.extent, ctx->diag));
    if (tensor_count(run.out) == 0) return STATUS_OK;
    parallel_for(element_pool(ctx, data->dtype), tensor_span(data, 0, axis) * run.index_count,
                 max_i64(1, GRAIN / run.inner), gather_runs, &run);
    return STATUS_OK;
}

/* -- GatherElements -- */

Status parse_GatherElements(const ParseCtx *ctx, const void **attrs) {
    return parse_axis(ctx, attrs);
}

Status infer_GatherElements(InferCtx *ctx) {
    const GatherAttrs *attrs = ctx->attrs;
    const Shape *data = &ctx->inputs[0]->shape, *indices = &ctx->inputs[1]->shape;
    int32_t axis = 0;
    TRY(expect_index(ctx, 1));
    TRY(kit_axis(attrs->axis, data->rank, &axis, ctx->diag));
    TRY(kit_expect_rank(ctx, 1, data->rank, data->rank));
    for (int32_t i = 0; i < data->rank; ++i)
        if (i != axis && dim_is_exact(data->dim[i]) && dim_is_exact(indices->dim[i]) &&
            indices->dim[i] > data->dim[i])
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "axis %d: %lld indices for extent %lld", i,
                        (long long)indices->dim[i], (long long)data->dim[i]);
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    ctx->outputs[0].shape = *indices;
    return STATUS_OK;
}

typedef struct GatherElementsRun {
    const Tensor *data, *indices;
    Tensor *out;
    int32_t axis;
    int64_t stride[SMELT_MAX_RANK]; /* of data; 0 for axis, whose place comes from the index */
    int64_t axis_stride, row;       /* row: elements along the last dimension */
} GatherElementsRun;

static void gather_element_rows(void *context, int64_t first, int64_t last, int worker) {
    const GatherElementsRun *run = context;
    const Tensor *indices = run->indices;
    int64_t extent = run->data->dim[run->axis], step = run->stride[indices->rank - 1], places[BLOCK];
    (void)worker;
    for (int64_t n = first; n < last; ++n) {
        int64_t rest = n, base = 0;
        for (int32_t i = indices->rank - 2; i >= 0; --i) {
            base += rest % indices->dim[i] * run->stride[i];
            rest /= indices->dim[i];
        }
        for (int64_t j = 0, count; j < run->row; j += count) {
            int64_t at = n * run->row + j;
            count = min_i64(BLOCK, run->row - j);
            find_places(indices, at, count, extent, run->axis_stride, step, places);
            copy_places(run->data->dtype, run->out->data, at, run->data->data, base + j * step, places,
                        count);
        }
    }
}

Status kernel_GatherElements(KernelCtx *ctx) {
    const GatherAttrs *attrs = ctx->attrs;
    GatherElementsRun run = {.data = ctx->inputs[0], .indices = ctx->inputs[1], .out = ctx->outputs[0]};
    int64_t count = tensor_count(run.indices);
    TRY(kit_axis(attrs->axis, run.data->rank, &run.axis, ctx->diag));
    TRY(index_check(run.indices, run.data->dim[run.axis], ctx->diag));
    for (int32_t i = 0; i < run.data->rank; ++i)
        if (i != run.axis && run.indices->dim[i] > run.data->dim[i])
            return FAIL(ctx->diag, STATUS_BAD_DATA, "axis %d: %lld indices for extent %lld", i,
                        (long long)run.indices->dim[i], (long long)run.data->dim[i]);
    if (count == 0) return STATUS_OK;
    kit_strides(run.data->rank, run.data->dim, run.stride);
    run.axis_stride = run.stride[run.axis];
    run.stride[run.axis] = 0;
    run.row = run.indices->dim[run.indices->rank - 1];
    parallel_for(element_pool(ctx, run.data->dtype), count / run.row, max_i64(1, GRAIN / run.row),
                 gather_element_rows, &run);
    return STATUS_OK;
}

/* -- tuples of indices -- */

void tuple_index_init(TupleIndex *tuples, const Tensor *indices, const Tensor *data, int32_t first) {
    int64_t strides[SMELT_MAX_RANK];
    *tuples = (TupleIndex){.indices = indices, .depth = indices->dim[indices->rank - 1]};
    tuples->count = tensor_span(indices, 0, indices->rank - 1);
    kit_strides(data->rank, data->dim, strides);
    for (int32_t i = 0; i < tuples->depth; ++i) {
        tuples->extent[i] = data->dim[first + i];
        tuples->stride[i] = strides[first + i];
    }
}

Status tuple_index_check(const TupleIndex *tuples, Diag *diag) {
    int64_t count = tuples->depth == 0 ? 0 : tuples->count;
    for (int64_t n = 0; n < count; ++n) {
        for (int64_t i = 0; i < tuples->depth; ++i) {
            int64_t at = n * tuples->depth + i, index = kit_index(tuples->indices, at);
            if (index < -tuples->extent[i] || index >= tuples->extent[i])
                return index_failure(diag, index, at, tuples->extent[i]);
        }
    }
    return STATUS_OK;
}

int64_t tuple_index_offset(const TupleIndex *tuples, int64_t n) {
    int64_t offset = 0;
    for (int64_t i = 0; i < tuples->depth; ++i)
        offset += wrap_index(kit_index(tuples->indices, n * tuples->depth + i), tuples->extent[i]) *
                  tuples->stride[i];
    return offset;
}

/* -- GatherND -- */

Status parse_GatherND(const ParseCtx *ctx, const void **attrs) {
    GatherNdAttrs *out = ARENA_NEW(ctx->arena, GatherNdAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t batch_dims;
    TRY(attr_int_in(ctx->list, "batch_dims", 0, 0, SMELT_MAX_RANK - 1, &batch_dims, ctx->diag));
    out->batch_dims = (int32_t)batch_dims;
    *attrs = out;
    return STATUS_OK;
}

Status infer_GatherND(InferCtx *ctx) {
    const GatherNdAttrs *attrs = ctx->attrs;
    const Shape *data = &ctx->inputs[0]->shape, *indices = &ctx->inputs[1]->shape;
    Shape *out = &ctx->outputs[0].shape;
    int32_t batch = attrs->batch_dims;
    TRY(expect_index(ctx, 1));
    TRY(kit_expect_rank(ctx, 0, batch + 1, SMELT_MAX_RANK));
    TRY(kit_expect_rank(ctx, 1, batch + 1, SMELT_MAX_RANK));
    Dim depth = indices->dim[indices->rank - 1];
    if (!dim_is_exact(depth))
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "index tuples whose length is not known before the run");
    if (depth > data->rank - batch)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "tuples of %lld indices for %d dimensions", (long long)depth,
                    data->rank - batch);
    int32_t tail = data->rank - batch - (int32_t)depth;
    if (indices->rank - 1 + tail > SMELT_MAX_RANK)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "a result of rank %d; the largest rank is %d",
                    indices->rank - 1 + tail, SMELT_MAX_RANK);
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    for (int32_t i = 0; i < indices->rank - 1; ++i) out->dim[out->rank++] = indices->dim[i];
    for (int32_t i = 0; i < batch; ++i)
        TRY(kit_same_dim(ctx, indices->dim[i], data->dim[i], "batch dimensions", &out->dim[i]));
    for (int32_t i = data->rank - tail; i < data->rank; ++i) out->dim[out->rank++] = data->dim[i];
    return STATUS_OK;
}

typedef struct GatherNdRun {
    TupleIndex tuples;
    const Tensor *data;
    Tensor *out;
    int64_t per_batch, batch_stride, inner;
} GatherNdRun;

static void gather_tuples(void *context, int64_t first, int64_t last, int worker) {
    const GatherNdRun *run = context;
    int bits = dtype_bits(run->data->dtype);
    (void)worker;
    if (run->inner == 1) {
        for (int64_t n = first; n < last; ++n)
            element_copy(bits, run->data->dtype, run->out->data, n, run->data->data,
                         n / run->per_batch * run->batch_stride + tuple_index_offset(&run->tuples, n));
        return;
    }
    for (int64_t n = first; n < last; ++n)
        elements_copy(run->data->dtype, run->out->data, n * run->inner, run->data->data,
                      n / run->per_batch * run->batch_stride + tuple_index_offset(&run->tuples, n),
                      run->inner);
}

Status kernel_GatherND(KernelCtx *ctx) {
    const GatherNdAttrs *attrs = ctx->attrs;
    const Tensor *data = ctx->inputs[0], *indices = ctx->inputs[1];
    int32_t batch = attrs->batch_dims;
    GatherNdRun run = {.data = data, .out = ctx->outputs[0]};
    tuple_index_init(&run.tuples, indices, data, batch);
    TRY(tuple_index_check(&run.tuples, ctx->diag));
    if (tensor_count(run.out) == 0) return STATUS_OK;
    run.per_batch = tensor_span(indices, batch, indices->rank - 1);
    run.batch_stride = tensor_span(data, batch, data->rank);
    run.inner = tensor_span(data, batch + (int32_t)run.tuples.depth, data->rank);
    parallel_for(element_pool(ctx, data->dtype), run.tuples.count, max_i64(1, GRAIN / run.inner),
                 gather_tuples, &run);
    return STATUS_OK;
}
