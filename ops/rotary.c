/* RotaryEmbedding: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021. */
#include "base/simd.h"
#include "ops/attention.h"
#include "ops/kit.h"
#include "ops/strided.h"

enum { INPUT_COS = 1, INPUT_SIN = 2, INPUT_POSITIONS = 3 };

Status parse_RotaryEmbedding(const ParseCtx *ctx, const void **attrs) {
    RotaryAttrs *own = ARENA_NEW(ctx->arena, RotaryAttrs);
    TRY_ALLOC(ctx->diag, own);
    int64_t interleaved;
    TRY(attr_int(ctx->list, "interleaved", 0, &interleaved, ctx->diag));
    own->interleaved = interleaved != 0;
    TRY(attr_int_in(ctx->list, "num_heads", 0, 0, INT32_MAX, &own->heads, ctx->diag));
    TRY(attr_int_in(ctx->list, "rotary_embedding_dim", 0, 0, INT32_MAX, &own->dim, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

/* Features of a head and how many of them turn. */
static Status check_sizes(InferCtx *ctx, Dim size) {
    const RotaryAttrs *attrs = ctx->attrs;
    Dim turned = attrs->dim != 0 ? attrs->dim : size;
    if (!dim_is_exact(turned)) return STATUS_OK;
    if (turned % 2 != 0 || (dim_is_exact(size) && turned > size))
        return FAIL(ctx->diag, STATUS_BAD_MODEL,
                    "%lld features of a head are rotated, expected an even number "
                    "up to the head's size",
                    (long long)turned);
    for (int32_t i = INPUT_COS; i <= INPUT_SIN; ++i) {
        const Shape *cache = &ctx->inputs[i]->shape;
        Dim last = cache->dim[cache->rank - 1];
        if (dim_is_exact(last) && last != turned / 2)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has %lld values a position, expected %lld", i,
                        (long long)last, (long long)(turned / 2));
    }
    return STATUS_OK;
}

Status infer_RotaryEmbedding(InferCtx *ctx) {
    const RotaryAttrs *attrs = ctx->attrs;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 3, 4));
    int32_t cache_rank = infer_input(ctx, INPUT_POSITIONS) != NULL ? 2 : 3;
    const Shape *x = &ctx->inputs[0]->shape;
    Dim batch = x->dim[0], length = x->rank == 4 ? x->dim[2] : x->dim[1], size = x->dim[x->rank - 1];
    for (int32_t i = INPUT_COS; i <= INPUT_SIN; ++i) {
        TRY(kit_expect_dtype_like(ctx, i, 0));
        TRY(kit_expect_rank(ctx, i, cache_rank, cache_rank));
        const Dim *own = ctx->inputs[i]->shape.dim;
        if (cache_rank == 3 && ((dim_is_exact(own[0]) && dim_is_exact(batch) && own[0] != batch) ||
                                (dim_is_exact(own[1]) && dim_is_exact(length) && own[1] != length)))
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d does not have a row for each position", i);
        if (dim_is_exact(own[0]) && dim_is_exact(ctx->inputs[INPUT_COS]->shape.dim[0]) &&
            own[0] != ctx->inputs[INPUT_COS]->shape.dim[0])
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "the caches of cosines and sines differ in length");
    }
    if (cache_rank == 2) {
        TRY(kit_expect_rank(ctx, INPUT_POSITIONS, 2, 2));
        const Dim *own = ctx->inputs[INPUT_POSITIONS]->shape.dim;
        if ((dim_is_exact(own[0]) && dim_is_exact(batch) && own[0] != batch) ||
            (dim_is_exact(own[1]) && dim_is_exact(length) && own[1] != length))
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "position_ids does not have an entry for each position");
    }
    if (x->rank == 3 && attrs->heads == 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "an input of rank 3 needs num_heads");
    if (x->rank == 3 && dim_is_exact(size) && size % attrs->heads != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld features do not divide into %lld heads",
                    (long long)size, (long long)attrs->heads);
    TRY(check_sizes(ctx, x->rank == 3 ? dim_floor_div(ctx->dims, size, attrs->heads) : size));
    return kit_infer_same(ctx);
}

typedef struct RotaryRun {
    const RotaryAttrs *attrs;
    const Tensor *x, *cos, *sin, *positions;
    Tensor *y;
    int64_t heads, length, size, turned;
} RotaryRun;

/* Row of the caches for a head's row of x. */
static int64_t cache_row(const RotaryRun *run, int64_t row) {
    int64_t per_batch = run->heads * run->length, inside = row % per_batch;
    int64_t position = run->x->rank == 4 ? inside % run->length : inside / run->heads;
    int64_t entry = row / per_batch * run->length + position;
    return run->positions == NULL ? entry
                                  : dtype_load_i64(run->positions->dtype, run->positions->data, entry);
}

/* Turns `half` pairs: a and b are `step` apart from pair to pair, in x as in y. */
static inline void turn_pairs(int64_t half, int64_t step, const float *restrict a, const float *restrict b,
                              const float *restrict cosine, const float *restrict sine, float *restrict y_a,
                              float *restrict y_b) {
    for (int64_t i = 0; i < half; ++i) {
        double x = (double)a[i * step], y = (double)b[i * step], c = (double)cosine[i], s = (double)sine[i];
        y_a[i * step] = (float)(c * x - s * y);
        y_b[i * step] = (float)(s * x + c * y);
    }
}

SIMD_CLONES static void turn_row_f32(const RotaryRun *run, int64_t base, int64_t cache) {
    int64_t half = run->turned / 2;
    const float *x = (const float *)run->x->data + base, *cosine = (const float *)run->cos->data + cache;
    const float *sine = (const float *)run->sin->data + cache;
    float *y = (float *)run->y->data + base;
    if (run->attrs->interleaved)
        turn_pairs(half, 2, x, x + 1, cosine, sine, y, y + 1);
    else
        turn_pairs(half, 1, x, x + half, cosine, sine, y, y + half);
}

static void turn_row(const RotaryRun *run, int64_t base, int64_t cache) {
    DType dtype = run->x->dtype;
    int64_t half = run->turned / 2;
    for (int64_t i = 0; i < half; ++i) {
        int64_t real = base + (run->attrs->interleaved ? 2 * i : i);
        int64_t imaginary = run->attrs->interleaved ? real + 1 : real + half;
        double a = dtype_load_f64(dtype, run->x->data, real),
               b = dtype_load_f64(dtype, run->x->data, imaginary);
        double cosine = dtype_load_f64(dtype, run->cos->data, cache + i);
        double sine = dtype_load_f64(dtype, run->sin->data, cache + i);
        dtype_store_f64(dtype, run->y->data, real, cosine * a - sine * b);
        dtype_store_f64(dtype, run->y->data, imaginary, sine * a + cosine * b);
    }
}

static void run_rows(void *context, int64_t first, int64_t last, int worker) {
    const RotaryRun *run = context;
    DType dtype = run->x->dtype;
    (void)worker;
    for (int64_t row = first; row < last; ++row) {
        int64_t base = row * run->size, cache = cache_row(run, row) * (run->turned / 2);
        if (dtype == DTYPE_F32)
            turn_row_f32(run, base, cache);
        else
            turn_row(run, base, cache);
        elements_copy(dtype, run->y->data, base + run->turned, run->x->data, base + run->turned,
                      run->size - run->turned);
    }
}

Status kernel_RotaryEmbedding(KernelCtx *ctx) {
    const Tensor *x = ctx->inputs[0];
    RotaryRun run = {.attrs = ctx->attrs,
                     .x = x,
                     .cos = ctx->inputs[INPUT_COS],
                     .sin = ctx->inputs[INPUT_SIN],
                     .positions = kernel_input(ctx, INPUT_POSITIONS),
                     .y = ctx->outputs[0]};
    run.heads = x->rank == 4 ? x->dim[1] : run.attrs->heads;
    run.length = x->rank == 4 ? x->dim[2] : x->dim[1];
    run.size = x->rank == 4 ? x->dim[3] : x->dim[2] / run.heads;
    run.turned = run.attrs->dim != 0 ? run.attrs->dim : run.size;
    for (int64_t i = 0; run.positions != NULL && i < tensor_count(run.positions); ++i) {
        int64_t position = dtype_load_i64(run.positions->dtype, run.positions->data, i);
        if (position < 0 || position >= run.cos->dim[0])
            return FAIL(ctx->diag, STATUS_BAD_DATA, "position %lld is outside [0, %lld)", (long long)position,
                        (long long)run.cos->dim[0]);
    }
    if (tensor_count(x) == 0) return STATUS_OK;
    parallel_for(ctx->host->pool, tensor_count(x) / run.size, 1 + (1 << 12) / run.size, run_rows, &run);
    return STATUS_OK;
}
