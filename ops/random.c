#include "ops/random.h"

#include <math.h>
#include <string.h>

#include "ops/kit.h"
#include "ops/strided.h"

enum { GRAIN = 4096 }; /* elements per piece of parallel work */

/* -- numbers -- */

/* The finaliser of SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014):
 * number i of a sequence without running through those before it. */
static uint64_t random_bits(uint64_t seed, uint64_t i) {
    uint64_t x = seed + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* In [0, 1). */
static double random_unit(uint64_t seed, int64_t i) {
    return (double)(random_bits(seed, (uint64_t)i) >> 11) * 0x1p-53;
}

/* Box & Muller, "A note on the generation of random normal deviates", 1958. */
static double random_normal(uint64_t seed, int64_t i) {
    double radius = sqrt(-2 * log(1 - random_unit(seed, 2 * i)));
    return radius * cos(6.283185307179586 * random_unit(seed, 2 * i + 1));
}

/* -- attributes -- */

static Status parse_seed(const ParseCtx *ctx, uint64_t *out) {
    float seed;
    uint32_t bits;
    TRY(attr_float(ctx->list, "seed", 0, &seed, ctx->diag));
    memcpy(&bits, &seed, sizeof bits);
    *out = random_bits(bits, 0);
    return STATUS_OK;
}

static Status parse_dtype(const ParseCtx *ctx, DType fallback, bool needs_float, DType *out) {
    int64_t dtype;
    TRY(attr_int(ctx->list, "dtype", fallback, &dtype, ctx->diag));
    bool right = (dtype == DTYPE_NONE && fallback == DTYPE_NONE) ||
                 (dtype_is_valid(dtype) && (needs_float ? dtype_is_float((DType)dtype)
                                                        : dtype_kind((DType)dtype) != DTYPE_KIND_OTHER));
    if (!right)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'dtype' is %lld, which is no type for it",
                    (long long)dtype);
    *out = (DType)dtype;
    return STATUS_OK;
}

static Status parse_shape(const ParseCtx *ctx, Shape *out) {
    const int64_t *dims;
    TRY(attr_ints(ctx->list, "shape", &dims, &out->rank, ctx->diag));
    if (out->rank < 0) return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'shape' is missing");
    if (out->rank > SMELT_MAX_RANK)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "a result of rank %d; the largest rank is %d", out->rank,
                    SMELT_MAX_RANK);
    for (int32_t i = 0; i < out->rank; ++i) {
        if (dims[i] < 0)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'shape' holds %lld", (long long)dims[i]);
        out->dim[i] = dims[i];
    }
    return STATUS_OK;
}

static Status parse_distribution(const ParseCtx *ctx, bool like, const char *a, const char *b,
                                 const void **attrs) {
    RandomAttrs *out = ARENA_NEW(ctx->arena, RandomAttrs);
    TRY_ALLOC(ctx->diag, out);
    float value_a, value_b;
    TRY(attr_float(ctx->list, a, 0, &value_a, ctx->diag));
    TRY(attr_float(ctx->list, b, 1, &value_b, ctx->diag));
    out->a = (double)value_a;
    out->b = (double)value_b;
    TRY(parse_seed(ctx, &out->seed));
    TRY(parse_dtype(ctx, like ? DTYPE_NONE : DTYPE_F32, true, &out->dtype));
    if (!like) TRY(parse_shape(ctx, &out->shape));
    *attrs = out;
    return STATUS_OK;
}

/* -- the generators of one distribution -- */

typedef double (*DrawNumber)(const RandomAttrs *attrs, int64_t i);

static double draw_normal(const RandomAttrs *attrs, int64_t i) {
    return attrs->a + attrs->b * random_normal(attrs->seed, i);
}

static double draw_uniform(const RandomAttrs *attrs, int64_t i) {
    return attrs->a + (attrs->b - attrs->a) * random_unit(attrs->seed, i);
}

typedef struct RandomRun {
    RandomAttrs attrs;
    DrawNumber draw;
    Tensor *out;
} RandomRun;

static void draw_numbers(void *context, int64_t first, int64_t last, int worker) {
    const RandomRun *run = context;
    (void)worker;
    for (int64_t i = first; i < last; ++i)
        dtype_store_f64(run->out->dtype, run->out->data, i, run->draw(&run->attrs, i));
}

static Status kernel_random(KernelCtx *ctx, DrawNumber draw) {
    RandomRun run = {*(const RandomAttrs *)ctx->attrs, draw, ctx->outputs[0]};
    int64_t count = tensor_count(run.out);
    run.attrs.seed = random_bits(run.attrs.seed, (uint64_t)count); /* other tensors, other numbers */
    parallel_for(element_pool(ctx, run.out->dtype), count, GRAIN, draw_numbers, &run);
    return STATUS_OK;
}

static Status infer_stated(InferCtx *ctx) {
    const RandomAttrs *attrs = ctx->attrs;
    ctx->outputs[0].dtype = attrs->dtype;
    ctx->outputs[0].shape = attrs->shape;
    return STATUS_OK;
}

static Status infer_like(InferCtx *ctx) {
    const RandomAttrs *attrs = ctx->attrs;
    TRY(kit_infer_same(ctx));
    if (attrs->dtype != DTYPE_NONE) ctx->outputs[0].dtype = attrs->dtype;
    if (dtype_is_float(ctx->outputs[0].dtype)) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "random numbers of type %s", dtype_name(ctx->outputs[0].dtype));
}

Status parse_RandomNormal(const ParseCtx *ctx, const void **attrs) {
    return parse_distribution(ctx, false, "mean", "scale", attrs);
}

Status infer_RandomNormal(InferCtx *ctx) {
    return infer_stated(ctx);
}

Status kernel_RandomNormal(KernelCtx *ctx) {
    return kernel_random(ctx, draw_normal);
}

Status parse_RandomNormalLike(const ParseCtx *ctx, const void **attrs) {
    return parse_distribution(ctx, true, "mean", "scale", attrs);
}

Status infer_RandomNormalLike(InferCtx *ctx) {
    return infer_like(ctx);
}

Status kernel_RandomNormalLike(KernelCtx *ctx) {
    return kernel_random(ctx, draw_normal);
}

Status parse_RandomUniform(const ParseCtx *ctx, const void **attrs) {
    return parse_distribution(ctx, false, "low", "high", attrs);
}

Status infer_RandomUniform(InferCtx *ctx) {
    return infer_stated(ctx);
}

Status kernel_RandomUniform(KernelCtx *ctx) {
    return kernel_random(ctx, draw_uniform);
}

Status parse_RandomUniformLike(const ParseCtx *ctx, const void **attrs) {
    return parse_distribution(ctx, true, "low", "high", attrs);
}

Status infer_RandomUniformLike(InferCtx *ctx) {
    return infer_like(ctx);
}

Status kernel_RandomUniformLike(KernelCtx *ctx) {
    return kernel_random(ctx, draw_uniform);
}

/* -- Bernoulli -- */

Status parse_Bernoulli(const ParseCtx *ctx, const void **attrs) {
    RandomAttrs *out = ARENA_NEW(ctx->arena, RandomAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(parse_seed(ctx, &out->seed));
    TRY(parse_dtype(ctx, DTYPE_NONE, false, &out->dtype));
    *attrs = out;
    return STATUS_OK;
}

Status infer_Bernoulli(InferCtx *ctx) {
    const RandomAttrs *attrs = ctx->attrs;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_infer_same(ctx));
    if (attrs->dtype != DTYPE_NONE) ctx->outputs[0].dtype = attrs->dtype;
    return STATUS_OK;
}

Status kernel_Bernoulli(KernelCtx *ctx) {
    const RandomAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    int64_t count = tensor_count(out);
    for (int64_t i = 0; i < count; ++i)
        dtype_store_i64(out->dtype, out->data, i,
                        random_unit(attrs->seed, i) < dtype_load_f64(in->dtype, in->data, i));
    return STATUS_OK;
}

/* -- Multinomial -- */

Status parse_Multinomial(const ParseCtx *ctx, const void **attrs) {
    MultinomialAttrs *out = ARENA_NEW(ctx->arena, MultinomialAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(parse_seed(ctx, &out->seed));
    TRY(attr_int_in(ctx->list, "sample_size", 1, 1, INT32_MAX, &out->sample_size, ctx->diag));
    TRY(parse_dtype(ctx, DTYPE_I32, false, &out->dtype));
    if (out->dtype == DTYPE_I32 || out->dtype == DTYPE_I64) {
        *attrs = out;
        return STATUS_OK;
    }
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'dtype' is %s, expected i32 or i64",
                dtype_name(out->dtype));
}

Status infer_Multinomial(InferCtx *ctx) {
    const MultinomialAttrs *attrs = ctx->attrs;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 2, 2));
    ctx->outputs[0].dtype = attrs->dtype;
    ctx->outputs[0].shape = (Shape){.rank = 2, .dim = {ctx->inputs[0]->shape.dim[0], attrs->sample_size}};
    return STATUS_OK;
}

size_t scratch_Multinomial(const KernelCtx *ctx) {
    return (size_t)ctx->inputs[0]->dim[1] * sizeof(double);
}

/* Running sums of exp(x - max), which are in proportion to the probabilities. */
static void accumulate_weights(const Tensor *in, int64_t row, double *sums) {
    int64_t classes = in->dim[1];
    double most = -INFINITY, sum = 0;
    dtype_read_f64(in->dtype, in->data, row * classes, classes, sums);
    for (int64_t i = 0; i < classes; ++i) most = fmax(most, sums[i]);
    for (int64_t i = 0; i < classes; ++i) sums[i] = sum += exp(sums[i] - most);
}

/* The first class whose running sum is above `at`. */
static int64_t find_class(const double *sums, int64_t classes, double at) {
    int64_t low = 0, high = classes - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (sums[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

Status kernel_Multinomial(KernelCtx *ctx) {
    const MultinomialAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    double *sums = ctx->host->scratch;
    int64_t classes = in->dim[1], samples = out->dim[1];
    if (classes == 0 && tensor_count(out) > 0)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "there are no classes to choose from");
    for (int64_t row = 0; row < in->dim[0]; ++row) {
        accumulate_weights(in, row, sums);
        for (int64_t i = 0; i < samples; ++i) {
            double at = random_unit(attrs->seed, row * samples + i) * sums[classes - 1];
            dtype_store_i64(out->dtype, out->data, row * samples + i, find_class(sums, classes, at));
        }
    }
    return STATUS_OK;
}
