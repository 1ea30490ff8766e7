/* Normalisations along chosen axes: LpNormalization, LRN and MeanVarianceNormalization. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "ops/kit.h"

enum { COLUMNS = 64 };

/* -- LpNormalization -- */

typedef struct LpAttrs {
    int64_t axis, p;
} LpAttrs;

Status parse_LpNormalization(const ParseCtx *ctx, const void **attrs) {
    LpAttrs *own = ARENA_NEW(ctx->arena, LpAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(attr_int(ctx->list, "axis", -1, &own->axis, ctx->diag));
    TRY(attr_int_in(ctx->list, "p", 2, 1, 2, &own->p, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

Status infer_LpNormalization(InferCtx *ctx) {
    int32_t axis;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_axis(((const LpAttrs *)ctx->attrs)->axis, ctx->inputs[0]->shape.rank, &axis, ctx->diag));
    return kit_infer_same(ctx);
}

/* x as [outer, extent, inner]: elements [base, base + count) of one outer slice and their fellows along the
 * axis. */
static void lp_columns(const Tensor *x, Tensor *y, int64_t base, int64_t count, int64_t extent, int64_t inner,
                       int64_t p) {
    double block[COLUMNS], norm[COLUMNS] = {0};
    for (int64_t a = 0; a < extent; ++a) {
        dtype_read_f64(x->dtype, x->data, base + a * inner, count, block);
        for (int64_t i = 0; i < count; ++i) norm[i] += p == 1 ? fabs(block[i]) : block[i] * block[i];
    }
    for (int64_t i = 0; i < count; ++i) norm[i] = p == 1 ? norm[i] : sqrt(norm[i]);
    for (int64_t a = 0; a < extent; ++a) {
        dtype_read_f64(x->dtype, x->data, base + a * inner, count, block);
        for (int64_t i = 0; i < count; ++i) block[i] = norm[i] == 0 ? 0 : block[i] / norm[i];
        dtype_write_f64(y->dtype, y->data, base + a * inner, count, block);
    }
}

Status kernel_LpNormalization(KernelCtx *ctx) {
    const LpAttrs *attrs = ctx->attrs;
    const Tensor *x = ctx->inputs[0];
    int32_t axis;
    TRY(kit_axis(attrs->axis, x->rank, &axis, ctx->diag));
    int64_t outer = tensor_span(x, 0, axis), extent = x->dim[axis], inner = tensor_span(x, axis + 1, x->rank);
    for (int64_t o = 0; o < outer; ++o)
        for (int64_t i = 0; i < inner; i += COLUMNS)
            lp_columns(x, ctx->outputs[0], o * extent * inner + i, min_i64(COLUMNS, inner - i), extent, inner,
                       attrs->p);
    return STATUS_OK;
}

/* -- LRN -- */

typedef struct LrnAttrs {
    float alpha, beta, bias;
    int64_t size; /* channels in the window */
} LrnAttrs;

Status parse_LRN(const ParseCtx *ctx, const void **attrs) {
    LrnAttrs *own = ARENA_NEW(ctx->arena, LrnAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(attr_float(ctx->list, "alpha", 0.0001f, &own->alpha, ctx->diag));
    TRY(attr_float(ctx->list, "beta", 0.75f, &own->beta, ctx->diag));
    TRY(attr_float(ctx->list, "bias", 1.0f, &own->bias, ctx->diag));
    TRY(attr_int_in(ctx->list, "size", 0, 1, INT32_MAX, &own->size, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

Status infer_LRN(InferCtx *ctx) {
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 2, SMELT_MAX_RANK));
    return kit_infer_same(ctx);
}

typedef struct LrnRun {
    const LrnAttrs *attrs;
    const Tensor *x;
    Tensor *y;
    int64_t channels, space;
} LrnRun;

/* Elements [base, base + count) of channel c, whose batch entry starts at `batch`. Each window is summed
 * anew: a running sum would keep infinities that have left it. */
static void lrn_columns(const LrnRun *run, int64_t batch, int64_t c, int64_t column, int64_t count) {
    const LrnAttrs *attrs = run->attrs;
    double block[COLUMNS], sum[COLUMNS] = {0};
    int64_t first = max_i64(0, c - (attrs->size - 1) / 2);
    int64_t last = min_i64(run->channels - 1, c + attrs->size / 2);
    for (int64_t k = first; k <= last; ++k) {
        dtype_read_f64(run->x->dtype, run->x->data, batch + k * run->space + column, count, block);
        for (int64_t i = 0; i < count; ++i) sum[i] += block[i] * block[i];
    }
    int64_t at = batch + c * run->space + column;
    dtype_read_f64(run->x->dtype, run->x->data, at, count, block);
    double alpha = (double)attrs->alpha / (double)attrs->size;
    for (int64_t i = 0; i < count; ++i)
        block[i] /= pow((double)attrs->bias + alpha * sum[i], (double)attrs->beta);
    dtype_write_f64(run->y->dtype, run->y->data, at, count, block);
}

static void lrn_rows(void *context, int64_t first_row, int64_t last_row, int worker) {
    const LrnRun *run = context;
    (void)worker;
    for (int64_t row = first_row; row < last_row; ++row)
        for (int64_t i = 0; i < run->space; i += COLUMNS)
            lrn_columns(run, row / run->channels * run->channels * run->space, row % run->channels, i,
                        min_i64(COLUMNS, run->space - i));
}

Status kernel_LRN(KernelCtx *ctx) {
    enum { ELEMENTS_PER_PIECE = 4096 };
    const Tensor *x = ctx->inputs[0];
    LrnRun run = {.attrs = ctx->attrs,
                  .x = x,
                  .y = ctx->outputs[0],
                  .channels = x->dim[1],
                  .space = tensor_span(x, 2, x->rank)};
    bool packed = dtype_bits(x->dtype) < 8; /* neighbours share bytes: one thread */
    parallel_for(packed ? NULL : ctx->host->pool, x->dim[0] * run.channels,
                 max_i64(1, ELEMENTS_PER_PIECE / max_i64(1, run.space)), lrn_rows, &run);
    return STATUS_OK;
}

/* -- MeanVarianceNormalization -- */

typedef struct MvnAttrs {
    const int64_t *axes;
    int32_t axis_count;
} MvnAttrs;

Status parse_MeanVarianceNormalization(const ParseCtx *ctx, const void **attrs) {
    static const int64_t all_but_channels[] = {0, 2, 3};
    MvnAttrs *own = ARENA_NEW(ctx->arena, MvnAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(attr_ints(ctx->list, "axes", &own->axes, &own->axis_count, ctx->diag));
    if (own->axis_count < 0) own->axes = all_but_channels, own->axis_count = 3;
    *attrs = own;
    return STATUS_OK;
}

Status infer_MeanVarianceNormalization(InferCtx *ctx) {
    const MvnAttrs *attrs = ctx->attrs;
    bool marked[SMELT_MAX_RANK];
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_axes(attrs->axes, attrs->axis_count, ctx->inputs[0]->shape.rank, marked, ctx->diag));
    return kit_infer_same(ctx);
}

/* Strides of x's dims in the array of statistics: 0 for normalized axes. Returns its element count. */
static int64_t statistic_strides(const Tensor *x, const bool *normalized, int64_t *strides) {
    int64_t count = 1;
    for (int32_t i = x->rank - 1; i >= 0; --i) {
        strides[i] = normalized[i] ? 0 : count;
        if (!normalized[i]) count *= x->dim[i];
    }
    return count;
}

/* The arrays: mean and sum of squares, later deviation. */
size_t scratch_MeanVarianceNormalization(const KernelCtx *ctx) {
    const MvnAttrs *attrs = ctx->attrs;
    bool normalized[SMELT_MAX_RANK];
    int64_t strides[SMELT_MAX_RANK];
    const Tensor *x = ctx->inputs[0];
    if (kit_axes(attrs->axes, attrs->axis_count, x->rank, normalized, NULL) != STATUS_OK) return 0;
    return 2 * sizeof(double) * (size_t)statistic_strides(x, normalized, strides);
}

static int64_t statistic_index(const Tensor *x, const int64_t *strides, int64_t i) {
    int64_t index = 0;
    for (int32_t k = x->rank - 1; k >= 0; --k) {
        index += i % x->dim[k] * strides[k];
        i /= x->dim[k];
    }
    return index;
}

Status kernel_MeanVarianceNormalization(KernelCtx *ctx) {
    const MvnAttrs *attrs = ctx->attrs;
    const Tensor *x = ctx->inputs[0];
    bool normalized[SMELT_MAX_RANK];
    int64_t strides[SMELT_MAX_RANK], count = tensor_count(x);
    TRY(kit_axes(attrs->axes, attrs->axis_count, x->rank, normalized, ctx->diag));
    if (count == 0) return STATUS_OK;
    int64_t slices = statistic_strides(x, normalized, strides), slice = count / slices;
    double *mean = ctx->host->scratch, *deviation = mean + slices;
    memset(mean, 0, 2 * sizeof(double) * (size_t)slices);
    for (int64_t i = 0; i < count; ++i)
        mean[statistic_index(x, strides, i)] += dtype_load_f64(x->dtype, x->data, i) / (double)slice;
    for (int64_t i = 0; i < count; ++i) {
        int64_t k = statistic_index(x, strides, i);
        double d = dtype_load_f64(x->dtype, x->data, i) - mean[k];
        deviation[k] += d * d / (double)slice;
    }
    for (int64_t k = 0; k < slices; ++k) deviation[k] = sqrt(deviation[k]) + 1e-9;
    for (int64_t i = 0; i < count; ++i) {
        int64_t k = statistic_index(x, strides, i);
        dtype_store_f64(ctx->outputs[0]->dtype, ctx->outputs[0]->data, i,
                        (dtype_load_f64(x->dtype, x->data, i) - mean[k]) / deviation[k]);
    }
    return STATUS_OK;
}
