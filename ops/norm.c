/* Normalisations over contiguous rows: Layer, RMS, Instance, Group and Batch (inference). */
#include "ops/norm.h"

#include <math.h>

#include "base/checked.h"
#include "ops/kit.h"

static Status parse_norm(const ParseCtx *ctx, NormAttrs **out, const void **attrs) {
    NormAttrs *own = ARENA_NEW(ctx->arena, NormAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(attr_float(ctx->list, "epsilon", 1e-5f, &own->epsilon, ctx->diag));
    TRY(attr_int(ctx->list, "axis", -1, &own->axis, ctx->diag));
    *out = own;
    *attrs = own;
    return STATUS_OK;
}

Status parse_LayerNormalization(const ParseCtx *ctx, const void **attrs) {
    NormAttrs *own = NULL;
    int64_t stash;
    TRY(parse_norm(ctx, &own, attrs));
    TRY(attr_int(ctx->list, "stash_type", DTYPE_F32, &stash, ctx->diag));
    own->stash = (DType)stash;
    if (dtype_is_valid(stash) && dtype_is_float(own->stash)) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'stash_type' is %lld, expected a floating-point type",
                (long long)stash);
}

Status parse_RMSNormalization(const ParseCtx *ctx, const void **attrs) {
    NormAttrs *own = NULL;
    return parse_norm(ctx, &own, attrs);
}

Status parse_InstanceNormalization(const ParseCtx *ctx, const void **attrs) {
    NormAttrs *own = NULL;
    return parse_norm(ctx, &own, attrs);
}

Status parse_GroupNormalization(const ParseCtx *ctx, const void **attrs) {
    NormAttrs *own = NULL;
    TRY(parse_norm(ctx, &own, attrs));
    return attr_int_in(ctx->list, "num_groups", 0, 1, INT32_MAX, &own->groups, ctx->diag);
}

Status parse_BatchNormalization(const ParseCtx *ctx, const void **attrs) {
    NormAttrs *own = NULL;
    int64_t training;
    TRY(attr_int(ctx->list, "training_mode", 0, &training, ctx->diag));
    if (training != 0 || ctx->output_count > 1)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "batch normalization in training mode");
    return parse_norm(ctx, &own, attrs);
}

/* -- inference -- */

/* Input `index`, where present, broadcasts to x without changing its shape. */
static Status check_parameter(InferCtx *ctx, int32_t index) {
    if (infer_input(ctx, index) == NULL) return STATUS_OK;
    TRY(kit_expect_float(ctx, index));
    return kit_expect_broadcasts_to(ctx, index, &ctx->inputs[0]->shape);
}

static Status infer_rows(InferCtx *ctx, int32_t *axis) {
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_axis(((const NormAttrs *)ctx->attrs)->axis, ctx->inputs[0]->shape.rank, axis, ctx->diag));
    for (int32_t i = 1; i < ctx->input_count; ++i) TRY(check_parameter(ctx, i));
    return kit_infer_same(ctx);
}

Status infer_LayerNormalization(InferCtx *ctx) {
    int32_t axis;
    TRY(infer_rows(ctx, &axis));
    for (int32_t k = 1; k < ctx->output_count; ++k) {
        ctx->outputs[k].dtype = ((const NormAttrs *)ctx->attrs)->stash;
        ctx->outputs[k].shape = ctx->inputs[0]->shape;
        for (int32_t i = axis; i < ctx->inputs[0]->shape.rank; ++i) ctx->outputs[k].shape.dim[i] = 1;
    }
    return STATUS_OK;
}

Status infer_RMSNormalization(InferCtx *ctx) {
    int32_t axis;
    return infer_rows(ctx, &axis);
}

/* Inputs 1 and up are vectors with an element for each channel of x. */
static Status infer_channels(InferCtx *ctx, int32_t low_rank) {
    const Shape *x = &ctx->inputs[0]->shape;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, low_rank, SMELT_MAX_RANK));
    for (int32_t i = 1; i < ctx->input_count; ++i) {
        Dim channels = x->rank > 1 ? x->dim[1] : 1, same;
        TRY(kit_expect_float(ctx, i));
        TRY(kit_expect_rank(ctx, i, 1, 1));
        TRY(kit_same_dim(ctx, ctx->inputs[i]->shape.dim[0], channels, "channels", &same));
    }
    return kit_infer_same(ctx);
}

Status infer_InstanceNormalization(InferCtx *ctx) {
    return infer_channels(ctx, 3);
}

Status infer_GroupNormalization(InferCtx *ctx) {
    int64_t groups = ((const NormAttrs *)ctx->attrs)->groups;
    TRY(infer_channels(ctx, 2));
    Dim channels = ctx->inputs[0]->shape.dim[1];
    if (!dim_is_exact(channels) || channels % groups == 0) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld channels do not divide into %lld groups",
                (long long)channels, (long long)groups);
}

Status infer_BatchNormalization(InferCtx *ctx) {
    return infer_channels(ctx, 1);
}

/* -- kernels -- */

enum { ELEMENTS_PER_PIECE = 16384 };

static void run_rows(const KernelCtx *ctx, int64_t rows, int64_t row, ParallelBody body, void *context) {
    bool packed = dtype_bits(ctx->inputs[0]->dtype) < 8; /* neighbours share bytes: one thread */
    parallel_for(packed ? NULL : ctx->host->pool, rows, max_i64(1, ELEMENTS_PER_PIECE / max_i64(1, row)),
                 body, context);
}

/* Layer and RMS */

typedef struct LayerRun {
    const Tensor *x;
    Tensor *y, *mean, *inverse; /* the last two may be NULL */
    NormParameter scale, bias;
    int64_t row;
    double epsilon;
    bool centered;
} LayerRun;

static void layer_rows(void *context, int64_t first, int64_t last, int worker) {
    const LayerRun *run = context;
    (void)worker;
    for (int64_t i = first; i < last; ++i) {
        double mean, variance;
        norm_moments(run->x, i * run->row, run->row, run->centered, &mean, &variance);
        double inverse = 1 / sqrt(variance + run->epsilon);
        if (run->y != NULL)
            norm_affine(run->x, run->y, i * run->row, run->row, mean, inverse, &run->scale, &run->bias);
        if (run->mean != NULL) dtype_store_f64(run->mean->dtype, run->mean->data, i, mean);
        if (run->inverse != NULL) dtype_store_f64(run->inverse->dtype, run->inverse->data, i, inverse);
    }
}

static Status run_layers(KernelCtx *ctx, bool centered) {
    const NormAttrs *attrs = ctx->attrs;
    const Tensor *x = ctx->inputs[0];
    int32_t axis;
    TRY(kit_axis(attrs->axis, x->rank, &axis, ctx->diag));
    LayerRun run = {.x = x,
                    .y = ctx->outputs[0],
                    .mean = kernel_result(ctx, 1),
                    .inverse = kernel_result(ctx, 2),
                    .row = tensor_span(x, axis, x->rank),
                    .epsilon = (double)attrs->epsilon,
                    .centered = centered};
    if (tensor_count(x) == 0) return STATUS_OK;
    norm_parameter_set(&run.scale, ctx->inputs[1], 1, x);
    norm_parameter_set(&run.bias, kernel_input(ctx, 2), 0, x);
    run_rows(ctx, tensor_span(x, 0, axis), run.row, layer_rows, &run);
    return STATUS_OK;
}

Status kernel_LayerNormalization(KernelCtx *ctx) {
    return run_layers(ctx, true);
}

Status kernel_RMSNormalization(KernelCtx *ctx) {
    return run_layers(ctx, false);
}

/* Instance, Group and Batch: x as [batch, channels, space] */

typedef struct ChannelRun {
    const Tensor *x, *scale, *bias;
    Tensor *y;
    const Tensor *mean, *variance; /* Batch; else NULL: of each group of channels */
    int64_t channels, space, per_group;
    double epsilon;
} ChannelRun;

static double vector_at(const Tensor *vector, int64_t i) {
    return dtype_load_f64(vector->dtype, vector->data, i);
}

static void channel_groups(void *context, int64_t first, int64_t last, int worker) {
    const ChannelRun *run = context;
    (void)worker;
    for (int64_t group = first; group < last; ++group) {
        int64_t row = group * run->per_group; /* counts channels over the whole batch */
        double mean = 0, variance = 0;
        if (run->mean == NULL)
            norm_moments(run->x, row * run->space, run->per_group * run->space, true, &mean, &variance);
        for (int64_t i = row; i < row + run->per_group; ++i) {
            int64_t channel = i % run->channels;
            if (run->mean != NULL)
                mean = vector_at(run->mean, channel), variance = vector_at(run->variance, channel);
            double factor = vector_at(run->scale, channel) / sqrt(variance + run->epsilon);
            norm_scale(run->x, run->y, i * run->space, run->space, factor,
                       vector_at(run->bias, channel) - mean * factor);
        }
    }
}

static Status run_channels(KernelCtx *ctx, int64_t groups, const Tensor *mean, const Tensor *variance) {
    const Tensor *x = ctx->inputs[0];
    ChannelRun run = {.x = x,
                      .scale = ctx->inputs[1],
                      .bias = ctx->inputs[2],
                      .y = ctx->outputs[0],
                      .mean = mean,
                      .variance = variance,
                      .channels = x->rank > 1 ? x->dim[1] : 1,
                      .space = tensor_span(x, x->rank > 1 ? 2 : 1, x->rank),
                      .epsilon = (double)((const NormAttrs *)ctx->attrs)->epsilon};
    if (run.y == NULL || tensor_count(x) == 0) return STATUS_OK;
    run.per_group = groups == 0 ? 1 : run.channels / groups;
    run_rows(ctx, x->dim[0] * run.channels / run.per_group, run.per_group * run.space, channel_groups, &run);
    return STATUS_OK;
}

Status kernel_InstanceNormalization(KernelCtx *ctx) {
    return run_channels(ctx, 0, NULL, NULL);
}

Status kernel_GroupNormalization(KernelCtx *ctx) {
    return run_channels(ctx, ((const NormAttrs *)ctx->attrs)->groups, NULL, NULL);
}

Status kernel_BatchNormalization(KernelCtx *ctx) {
    return run_channels(ctx, 0, ctx->inputs[3], ctx->inputs[4]);
}
