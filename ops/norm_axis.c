/* Normalisations along chosen axes: LpNormalization, LRN and MeanVarianceNormalization. */
#include "ops/norm_axis.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/simd.h"
#include "ops/fastmath.h"
#include "ops/kit.h"

enum { COLUMNS = 256 };

/* -- statistics over chosen axes -- */

/* What is summed, of x less its slice's center. */
typedef enum Term { TERM_VALUE, TERM_ABS, TERM_SQUARE } Term;

/* The input as rows of `inner` elements, which are of one slice (inside) or of as many slices, in the order
 * of the arrays of statistics. */
typedef struct AxisRun {
    const Tensor *x;
    Tensor *y;
    int64_t stride[SMELT_MAX_RANK]; /* of x's dims in those arrays: 0 for normalized ones */
    int64_t rows, inner, slices, slice;
    bool inside;
    Term term;
    double *center, *sum; /* of each slice; center is 0 at first */
} AxisRun;

static void axis_run_make(AxisRun *run, const KernelCtx *ctx, const bool *normalized) {
    const Tensor *x = ctx->inputs[0];
    int32_t last = x->rank - 1;
    *run = (AxisRun){.x = x, .y = ctx->outputs[0], .inner = 1, .slices = 1};
    for (int32_t i = last; i >= 0; --i) {
        run->stride[i] = normalized[i] ? 0 : run->slices;
        if (!normalized[i]) run->slices *= x->dim[i];
    }
    for (int32_t i = last; i >= 0 && normalized[i] == normalized[last]; --i) run->inner *= x->dim[i];
    run->inside = last >= 0 && normalized[last];
    run->rows = tensor_count(x) / max_i64(1, run->inner);
    run->slice = tensor_count(x) / max_i64(1, run->slices);
}

static size_t axis_run_scratch(const AxisRun *run) {
    return 2 * sizeof(double) * (size_t)run->slices;
}

static void axis_run_use(AxisRun *run, const Host *host) {
    run->center = host->scratch;
    run->sum = run->center + run->slices;
    memset(run->center, 0, sizeof(double) * (size_t)run->slices);
}

/* The slice of a row's first element. */
static int64_t slice_of(const AxisRun *run, int64_t row) {
    int64_t index = 0, i = row * run->inner;
    for (int32_t k = run->x->rank - 1; k >= 0; --k) {
        index += i % run->x->dim[k] * run->stride[k];
        i /= run->x->dim[k];
    }
    return index;
}

/* Elements [at, at + count) of a row less their centers. */
SIMD_CLONES static void subtract_centers(const AxisRun *run, int64_t k, int64_t at, int64_t count,
                                         double *x) {
    const double *centers = run->center + k + (run->inside ? 0 : at);
    if (run->inside)
        for (int64_t i = 0; i < count; ++i) x[i] -= centers[0];
    else
        for (int64_t i = 0; i < count; ++i) x[i] -= centers[i];
}

SIMD_CLONES static void make_terms(Term term, int64_t count, double *x) {
    if (term == TERM_SQUARE)
        for (int64_t i = 0; i < count; ++i) x[i] *= x[i];
    else if (term == TERM_ABS)
        for (int64_t i = 0; i < count; ++i) x[i] = fabs(x[i]);
}

static void read_terms(const AxisRun *run, int64_t row, int64_t k, int64_t at, int64_t count, double *terms) {
    dtype_read_f64(run->x->dtype, run->x->data, row * run->inner + at, count, terms);
    subtract_centers(run, k, at, count, terms);
    make_terms(run->term, count, terms);
}

SIMD_CLONES static void add_each(int64_t count, const double *x, double *sum) {
    for (int64_t i = 0; i < count; ++i) sum[i] += x[i];
}

/* In several lanes, so that it is not one chain of dependent additions. */
SIMD_CLONES static double add_up(int64_t count, const double *x) {
    enum { LANES = 16 };
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; count - i >= LANES; i += LANES)
        for (int j = 0; j < LANES; ++j) lane[j] += x[i + j];
    for (int j = 0; j < LANES; ++j) sum += lane[j];
    for (; i < count; ++i) sum += x[i];
    return sum;
}

/* Slices [first, last), each within its rows. */
static void sum_slices(void *context, int64_t first, int64_t last, int worker) {
    const AxisRun *run = context;
    double terms[COLUMNS];
    (void)worker;
    for (int64_t row = 0; row < run->rows; ++row) {
        int64_t k = slice_of(run, row);
        if (k < first || k >= last) continue;
        for (int64_t at = 0, count; at < run->inner; at += count) {
            count = min_i64(COLUMNS, run->inner - at);
            read_terms(run, row, k, at, count, terms);
            run->sum[k] += add_up(count, terms);
        }
    }
}

/* Elements [first, last) of every row, each of another slice. */
static void sum_columns(void *context, int64_t first, int64_t last, int worker) {
    const AxisRun *run = context;
    double terms[COLUMNS];
    (void)worker;
    for (int64_t row = 0; row < run->rows; ++row) {
        int64_t k = slice_of(run, row);
        for (int64_t at = first, count; at < last; at += count) {
            count = min_i64(COLUMNS, last - at);
            read_terms(run, row, k, at, count, terms);
            add_each(count, terms, run->sum + k + at);
        }
    }
}

enum { AXIS_GRAIN = 1 << 14 /* elements worth handing to a thread */ };

/* sum = the sum of the terms of each slice. Each is summed by one thread, in one order. */
static void axis_sum(AxisRun *run, Term term, ThreadPool *pool) {
    enum { SHORT = 64 /* rows too short for each piece to look at them all */ };
    run->term = term;
    memset(run->sum, 0, sizeof(double) * (size_t)run->slices);
    if (run->inside)
        parallel_for(run->inner < SHORT ? NULL : pool, run->slices, 1 + AXIS_GRAIN / run->slice, sum_slices,
                     run);
    else
        parallel_for(pool, run->inner, 1 + AXIS_GRAIN / run->rows, sum_columns, run);
}

SIMD_CLONES static void divide_each(const AxisRun *run, int64_t k, int64_t at, int64_t count, double *x) {
    const double *divisors = run->sum + k + (run->inside ? 0 : at);
    if (run->inside)
        for (int64_t i = 0; i < count; ++i) x[i] /= divisors[0];
    else
        for (int64_t i = 0; i < count; ++i) x[i] /= divisors[i];
}

static void apply_blocks(void *context, int64_t first, int64_t last, int worker) {
    const AxisRun *run = context;
    int64_t blocks = ceil_div_i64(run->inner, COLUMNS);
    double block[COLUMNS];
    (void)worker;
    for (int64_t unit = first; unit < last; ++unit) {
        int64_t row = unit / blocks, at = unit % blocks * COLUMNS, k = slice_of(run, row);
        int64_t count = min_i64(COLUMNS, run->inner - at);
        dtype_read_f64(run->x->dtype, run->x->data, row * run->inner + at, count, block);
        subtract_centers(run, k, at, count, block);
        divide_each(run, k, at, count, block);
        dtype_write_f64(run->y->dtype, run->y->data, row * run->inner + at, count, block);
    }
}

/* y = (x - center) / sum */
static void axis_apply(AxisRun *run, const Host *host) {
    int64_t units = run->rows * ceil_div_i64(run->inner, COLUMNS);
    bool packed = dtype_bits(run->y->dtype) < 8; /* neighbours share bytes: one thread */
    parallel_for(packed ? NULL : host->pool, units, 1 + AXIS_GRAIN / min_i64(run->inner, COLUMNS),
                 apply_blocks, run);
}

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

static Status lp_run_make(AxisRun *run, const KernelCtx *ctx, Diag *diag) {
    bool normalized[SMELT_MAX_RANK];
    TRY(kit_axes(&((const LpAttrs *)ctx->attrs)->axis, 1, ctx->inputs[0]->rank, normalized, diag));
    axis_run_make(run, ctx, normalized);
    return STATUS_OK;
}

size_t scratch_LpNormalization(const KernelCtx *ctx) {
    AxisRun run;
    return lp_run_make(&run, ctx, NULL) == STATUS_OK ? axis_run_scratch(&run) : 0;
}

Status kernel_LpNormalization(KernelCtx *ctx) {
    bool squared = ((const LpAttrs *)ctx->attrs)->p == 2;
    AxisRun run;
    TRY(lp_run_make(&run, ctx, ctx->diag));
    if (run.y == NULL || tensor_count(run.x) == 0) return STATUS_OK;
    axis_run_use(&run, ctx->host);
    axis_sum(&run, squared ? TERM_SQUARE : TERM_ABS, ctx->host->pool);
    for (int64_t k = 0; k < run.slices; ++k) {
        double norm = squared ? sqrt(run.sum[k]) : run.sum[k];
        run.sum[k] = norm == 0 ? (double)INFINITY : norm; /* zeros stay zeros */
    }
    axis_apply(&run, ctx->host);
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

static Status mvn_run_make(AxisRun *run, const KernelCtx *ctx, Diag *diag) {
    const MvnAttrs *attrs = ctx->attrs;
    bool normalized[SMELT_MAX_RANK];
    TRY(kit_axes(attrs->axes, attrs->axis_count, ctx->inputs[0]->rank, normalized, diag));
    axis_run_make(run, ctx, normalized);
    return STATUS_OK;
}

size_t scratch_MeanVarianceNormalization(const KernelCtx *ctx) {
    AxisRun run;
    return mvn_run_make(&run, ctx, NULL) == STATUS_OK ? axis_run_scratch(&run) : 0;
}

Status kernel_MeanVarianceNormalization(KernelCtx *ctx) {
    AxisRun run;
    TRY(mvn_run_make(&run, ctx, ctx->diag));
    if (run.y == NULL || tensor_count(run.x) == 0) return STATUS_OK;
    axis_run_use(&run, ctx->host);
    axis_sum(&run, TERM_VALUE, ctx->host->pool);
    for (int64_t k = 0; k < run.slices; ++k) run.center[k] = run.sum[k] / (double)run.slice;
    axis_sum(&run, TERM_SQUARE, ctx->host->pool);
    for (int64_t k = 0; k < run.slices; ++k) run.sum[k] = sqrt(run.sum[k] / (double)run.slice) + 1e-9;
    axis_apply(&run, ctx->host);
    return STATUS_OK;
}
