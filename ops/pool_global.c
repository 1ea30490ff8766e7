/* GlobalAveragePool, GlobalMaxPool, GlobalLpPool: each plane to one element. */
#include <math.h>

#include "base/simd.h"
#include "ops/kit.h"

Status parse_GlobalAveragePool(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status parse_GlobalMaxPool(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status parse_GlobalLpPool(const ParseCtx *ctx, const void **attrs) {
    int64_t *p = ARENA_NEW(ctx->arena, int64_t);
    TRY_ALLOC(ctx->diag, p);
    TRY(attr_int_in(ctx->list, "p", 2, 1, INT32_MAX, p, ctx->diag));
    *attrs = p;
    return STATUS_OK;
}

Status infer_GlobalAveragePool(InferCtx *ctx) {
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 2, SMELT_MAX_RANK));
    TRY(kit_infer_same(ctx));
    for (int32_t i = 2; i < ctx->outputs[0].shape.rank; ++i) ctx->outputs[0].shape.dim[i] = 1;
    return STATUS_OK;
}

Status infer_GlobalMaxPool(InferCtx *ctx) {
    return infer_GlobalAveragePool(ctx);
}

Status infer_GlobalLpPool(InferCtx *ctx) {
    return infer_GlobalAveragePool(ctx);
}

enum { LANES = 8, LEAST_ELEMENTS = 1 << 14 /* worth handing to a thread */ };
typedef float Floats __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef double Doubles __attribute__((vector_size(LANES * sizeof(double))));

SIMD_CLONES static double sum_f32(const float *x, int64_t count) {
    Doubles sums = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) sums += __builtin_convertvector(*(const Floats *)(x + i), Doubles);
    double sum = 0;
    for (int lane = 0; lane < LANES; ++lane) sum += sums[lane];
    for (; i < count; ++i) sum += (double)x[i];
    return sum;
}

typedef struct GlobalRun {
    const Tensor *x;
    Tensor *y;
    int64_t count; /* elements of a plane */
    int64_t p;
} GlobalRun;

static void run_average(void *context, int64_t first, int64_t last, int worker) {
    const GlobalRun *run = context;
    (void)worker;
    for (int64_t plane = first; plane < last; ++plane) {
        double sum = 0;
        if (run->x->dtype == DTYPE_F32)
            sum = sum_f32((const float *)run->x->data + plane * run->count, run->count);
        else
            for (int64_t i = 0; i < run->count; ++i)
                sum += dtype_load_f64(run->x->dtype, run->x->data, plane * run->count + i);
        dtype_store_f64(run->y->dtype, run->y->data, plane, sum / (double)run->count);
    }
}

/* NaN elements do not count. */
SIMD_CLONES static float max_f32(const float *x, int64_t count, float max) {
    float lane[2 * LANES];
    int64_t i = 0;
    for (int j = 0; j < 2 * LANES; ++j) lane[j] = max;
    for (; i + 2 * LANES <= count; i += 2 * LANES)
        for (int j = 0; j < 2 * LANES; ++j) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (int j = 0; j < 2 * LANES; ++j) max = lane[j] > max ? lane[j] : max;
    for (; i < count; ++i) max = x[i] > max ? x[i] : max;
    return max;
}

static double plane_max(const GlobalRun *run, int64_t first) {
    if (run->x->dtype == DTYPE_F32)
        return (double)max_f32((const float *)run->x->data + first, run->count, -INFINITY);
    double max = -(double)INFINITY;
    for (int64_t i = 0; i < run->count; ++i)
        max = fmax(max, dtype_load_f64(run->x->dtype, run->x->data, first + i));
    return max;
}

static void run_max(void *context, int64_t first, int64_t last, int worker) {
    const GlobalRun *run = context;
    (void)worker;
    for (int64_t plane = first; plane < last; ++plane)
        dtype_store_f64(run->y->dtype, run->y->data, plane, plane_max(run, plane * run->count));
}

static double plane_power_sum(const GlobalRun *run, int64_t first) {
    double sum = 0;
    if (run->p == 2)
        for (int64_t i = 0; i < run->count; ++i) {
            double x = kit_real(run->x, first + i);
            sum += x * x;
        }
    else
        for (int64_t i = 0; i < run->count; ++i)
            sum += pow(fabs(kit_real(run->x, first + i)), (double)run->p);
    return sum;
}

static void run_lp(void *context, int64_t first, int64_t last, int worker) {
    const GlobalRun *run = context;
    (void)worker;
    for (int64_t plane = first; plane < last; ++plane) {
        double sum = plane_power_sum(run, plane * run->count);
        dtype_store_f64(run->y->dtype, run->y->data, plane, pow(sum, 1 / (double)run->p));
    }
}

static Status run_global(KernelCtx *ctx, ParallelBody body) {
    const Tensor *x = ctx->inputs[0];
    GlobalRun run = {.x = x, .y = ctx->outputs[0], .count = tensor_span(x, 2, x->rank)};
    if (ctx->attrs != NULL) run.p = *(const int64_t *)ctx->attrs;
    parallel_for(ctx->host->pool, x->dim[0] * x->dim[1], 1 + LEAST_ELEMENTS / max_i64(run.count, 1), body,
                 &run);
    return STATUS_OK;
}

Status kernel_GlobalAveragePool(KernelCtx *ctx) {
    return run_global(ctx, run_average);
}

Status kernel_GlobalMaxPool(KernelCtx *ctx) {
    return run_global(ctx, run_max);
}

Status kernel_GlobalLpPool(KernelCtx *ctx) {
    return run_global(ctx, run_lp);
}
