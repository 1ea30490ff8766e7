/* Normalisations along chosen axes: LpNormalization, LRN and MeanVarianceNormalization. */
#include "ops/norm_axis.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/simd.h"
#include "ops/fastmath.h"
#include "ops/kit.h"

enum { COLUMNS = 256 };

/* -- LpNormalization -- */

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
    if (ctx->outputs[0] == NULL) return STATUS_OK;
    int64_t outer = tensor_span(x, 0, axis), extent = x->dim[axis], inner = tensor_span(x, axis + 1, x->rank);
    for (int64_t o = 0; o < outer; ++o)
        for (int64_t i = 0; i < inner; i += COLUMNS)
            lp_columns(x, ctx->outputs[0], o * extent * inner + i, min_i64(COLUMNS, inner - i), extent, inner,
                       attrs->p);
    return STATUS_OK;
}

/* -- LRN -- */

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

/* x / (bias + factor * sum)^beta, in f32 by exp and log. */
SIMD_CLONES static void lrn_divide_f32(int64_t count, const float *sum, float factor, float bias, float beta,
                                       float *x) {
    for (int64_t i = 0; i < count; ++i) x[i] *= exp_f32(-beta * log_f32(bias + factor * sum[i]));
}

SIMD_CLONES static void add_squares_f32(int64_t count, const float *x, float *sum) {
    for (int64_t i = 0; i < count; ++i) sum[i] += x[i] * x[i];
}

static void lrn_block_f32(const LrnRun *run, int64_t at, int64_t below, int64_t above, int64_t count) {
    const LrnAttrs *attrs = run->attrs;
    float block[COLUMNS], sum[COLUMNS] = {0};
    for (int64_t k = below; k <= above; ++k) {
        dtype_read_f32(run->x->dtype, run->x->data, at + k * run->space, count, block);
        add_squares_f32(count, block, sum);
    }
    dtype_read_f32(run->x->dtype, run->x->data, at, count, block);
    lrn_divide_f32(count, sum, attrs->alpha / (float)attrs->size, attrs->bias, attrs->beta, block);
    dtype_write_f32(run->y->dtype, run->y->data, at, count, block);
}

static void lrn_block_f64(const LrnRun *run, int64_t at, int64_t below, int64_t above, int64_t count) {
    const LrnAttrs *attrs = run->attrs;
    double block[COLUMNS], sum[COLUMNS] = {0}, factor = (double)attrs->alpha / (double)attrs->size;
    for (int64_t k = below; k <= above; ++k) {
        dtype_read_f64(run->x->dtype, run->x->data, at + k * run->space, count, block);
        for (int64_t i = 0; i < count; ++i) sum[i] += block[i] * block[i];
    }
    dtype_read_f64(run->x->dtype, run->x->data, at, count, block);
    for (int64_t i = 0; i < count; ++i)
        block[i] /= pow((double)attrs->bias + factor * sum[i], (double)attrs->beta);
    dtype_write_f64(run->y->dtype, run->y->data, at, count, block);
}

/* One channel of one batch entry. Each window is summed anew: a running sum would keep infinities that have
 * left it. */
static void lrn_channel(const LrnRun *run, int64_t row) {
    int64_t c = row % run->channels, size = run->attrs->size;
    int64_t below = max_i64(-c, -((size - 1) / 2)), above = min_i64(run->channels - 1 - c, size / 2);
    for (int64_t i = 0; i < run->space; i += COLUMNS) {
        int64_t count = min_i64(COLUMNS, run->space - i);
        if (run->x->dtype == DTYPE_F64)
            lrn_block_f64(run, row * run->space + i, below, above, count);
        else
            lrn_block_f32(run, row * run->space + i, below, above, count);
    }
}

static void lrn_rows(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    for (int64_t row = first; row < last; ++row) lrn_channel(context, row);
}

Status kernel_LRN(KernelCtx *ctx) {
    enum { ELEMENTS_PER_PIECE = 4096 };
    const Tensor *x = ctx->inputs[0];
    LrnRun run = {.attrs = ctx->attrs,
                  .x = x,
                  .y = ctx->outputs[0],
                  .channels = x->dim[1],
                  .space = tensor_span(x, 2, x->rank)};
    if (run.y == NULL) return STATUS_OK;
    bool packed = dtype_bits(x->dtype) < 8; /* neighbours share bytes: one thread */
    parallel_for(packed ? NULL : ctx->host->pool, x->dim[0] * run.channels,
                 max_i64(1, ELEMENTS_PER_PIECE / max_i64(1, run.space)), lrn_rows, &run);
    return STATUS_OK;
}

/* -- MeanVarianceNormalization -- */

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
    if (ctx->outputs[0] == NULL || count == 0) return STATUS_OK;
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
