#include "ops/recurrent.h"

#include <string.h>
#include <strings.h>

#include "ops/gemm.h"
#include "ops/kit.h"
#include "ops/strided.h"

enum { INPUT_X, INPUT_W, INPUT_R, INPUT_B, INPUT_LENGTHS, INPUT_H, INPUT_C, INPUT_P, INPUT_COUNT };

/* -- attributes -- */

static const struct {
    const char *name;
    bool takes_alpha, takes_beta;
    double alpha, beta; /* defaults */
} functions[] = {[CELL_AFFINE] = {"Affine", true, true, 1, 0},
                 [CELL_ELU] = {"Elu", true, false, 1, 0},
                 [CELL_HARD_SIGMOID] = {"HardSigmoid", true, true, 0.2, 0.5},
                 [CELL_LEAKY_RELU] = {"LeakyRelu", true, false, 0.01, 0},
                 [CELL_RELU] = {"Relu", false, false, 0, 0},
                 [CELL_SCALED_TANH] = {"ScaledTanh", true, true, 1, 1},
                 [CELL_SIGMOID] = {"Sigmoid", false, false, 0, 0},
                 [CELL_SOFTPLUS] = {"Softplus", false, false, 0, 0},
                 [CELL_SOFTSIGN] = {"Softsign", false, false, 0, 0},
                 [CELL_TANH] = {"Tanh", false, false, 0, 0},
                 [CELL_THRESHOLDED_RELU] = {"ThresholdedRelu", true, false, 1, 0}};

static int32_t function_count(CellKind kind) {
    return kind == CELL_LSTM ? 3 : kind == CELL_GRU ? 2 : 1;
}

static Status find_function(const ParseCtx *ctx, const char *name, CellFunction *out) {
    for (int i = CELL_AFFINE; i <= CELL_THRESHOLDED_RELU; ++i) {
        *out = (CellFunction)i;
        if (strcasecmp(functions[i].name, name) == 0) return STATUS_OK; /* exporters vary in case */
    }
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "activation '%s' is none of ONNX's", name);
}

/* f is the gates' sigmoid, g and h are tanh; an RNN has only a tanh. */
static void default_activations(CellKind kind, RecurrentAttrs *out) {
    int32_t each = function_count(kind);
    for (int32_t i = 0; i < 2 * each; ++i)
        out->activations[i].function = i % each == 0 && kind != CELL_RNN ? CELL_SIGMOID : CELL_TANH;
}

/* alpha and beta lists hold values only for the functions that take them, in order; those they are too short
 * for keep their defaults. */
static Status parse_activations(const ParseCtx *ctx, CellKind kind, RecurrentAttrs *out) {
    const char *const *names;
    const float *alphas, *betas;
    int32_t count, alpha_count, beta_count, wanted = out->directions * function_count(kind);
    int32_t next_alpha = 0, next_beta = 0;
    TRY(attr_strings(ctx->list, "activations", &names, &count, ctx->diag));
    TRY(attr_floats(ctx->list, "activation_alpha", &alphas, &alpha_count, ctx->diag));
    TRY(attr_floats(ctx->list, "activation_beta", &betas, &beta_count, ctx->diag));
    default_activations(kind, out);
    if (count > 0 && count != wanted)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d activations, expected %d", count, wanted);
    for (int32_t i = 0; i < wanted; ++i) {
        CellActivation *activation = &out->activations[i];
        if (count > 0) TRY(find_function(ctx, names[i], &activation->function));
        activation->alpha = functions[activation->function].alpha;
        activation->beta = functions[activation->function].beta;
        if (functions[activation->function].takes_alpha && next_alpha < alpha_count)
            activation->alpha = (double)alphas[next_alpha++];
        if (functions[activation->function].takes_beta && next_beta < beta_count)
            activation->beta = (double)betas[next_beta++];
    }
    return STATUS_OK;
}

static Status parse_direction(const ParseCtx *ctx, RecurrentAttrs *out) {
    const char *direction;
    TRY(attr_string(ctx->list, "direction", "forward", &direction, ctx->diag));
    out->directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    out->reverse = strcmp(direction, "reverse") == 0;
    if (out->directions == 2 || out->reverse || strcmp(direction, "forward") == 0) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL,
                "attribute 'direction' is '%s', expected 'forward', 'reverse' or 'bidirectional'", direction);
}

static Status parse_recurrent(const ParseCtx *ctx, CellKind kind, const void **attrs) {
    RecurrentAttrs *out = ARENA_NEW(ctx->arena, RecurrentAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t layout, linear, coupled;
    float clip;
    TRY(parse_direction(ctx, out));
    TRY(attr_int_in(ctx->list, "hidden_size", 0, 0, INT32_MAX, &out->hidden_size, ctx->diag));
    TRY(attr_int_in(ctx->list, "layout", 0, 0, 1, &layout, ctx->diag));
    TRY(attr_int(ctx->list, "linear_before_reset", 0, &linear, ctx->diag));
    TRY(attr_int(ctx->list, "input_forget", 0, &coupled, ctx->diag));
    TRY(attr_float(ctx->list, "clip", 0, &clip, ctx->diag));
    out->batch_first = layout == 1;
    out->linear_before_reset = linear != 0;
    out->input_forget = coupled != 0;
    out->clip = (double)clip;
    if (!(clip >= 0)) return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'clip' is %g", out->clip);
    TRY(parse_activations(ctx, kind, out));
    *attrs = out;
    return STATUS_OK;
}

/* -- inference -- */

/* Checks one extent of an input and remembers what it is in *dim; a late or new one (-1) is taken over. */
static Status match_dim(InferCtx *ctx, int32_t input, int32_t axis, const char *what, Dim *dim) {
    Dim found = ctx->inputs[input]->shape.dim[axis];
    if (*dim == -1) {
        *dim = found;
        return STATUS_OK;
    }
    return kit_same_dim(ctx, *dim, found, what, dim);
}

static Status match_multiple(InferCtx *ctx, int32_t input, int32_t axis, const char *what, Dim hidden,
                             int64_t times) {
    Dim expected = dim_mul(ctx->dims, hidden, times);
    return match_dim(ctx, input, axis, what, &expected);
}

static Status check_types(InferCtx *ctx) {
    static const int32_t ranks[INPUT_COUNT] = {3, 3, 3, 2, 1, 3, 3, 2};
    TRY(kit_expect_float(ctx, 0));
    for (int32_t i = 0; i < ctx->input_count; ++i) {
        if (ctx->inputs[i] == NULL) continue;
        TRY(kit_expect_rank(ctx, i, ranks[i], ranks[i]));
        if (i != INPUT_LENGTHS)
            TRY(kit_expect_dtype_like(ctx, i, 0));
        else if (!dtype_is_integer(ctx->inputs[i]->dtype))
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "sequence_lens is %s, expected i32",
                        dtype_name(ctx->inputs[i]->dtype));
    }
    return STATUS_OK;
}

static Status check_state(InferCtx *ctx, int32_t input, Dim *batch, Dim *hidden) {
    const RecurrentAttrs *attrs = ctx->attrs;
    Dim directions = attrs->directions;
    if (infer_input(ctx, input) == NULL) return STATUS_OK;
    TRY(match_dim(ctx, input, attrs->batch_first ? 1 : 0, "directions of the initial state", &directions));
    TRY(match_dim(ctx, input, attrs->batch_first ? 0 : 1, "batch of the initial state", batch));
    return match_dim(ctx, input, 2, "hidden size of the initial state", hidden);
}

static Status check_recurrent(InferCtx *ctx, CellKind kind, Dim *batch, Dim *hidden) {
    const RecurrentAttrs *attrs = ctx->attrs;
    int32_t gates = cell_gates(kind);
    Dim directions = attrs->directions, input_size = -1;
    *hidden = attrs->hidden_size > 0 ? attrs->hidden_size : -1;
    *batch = -1;
    TRY(check_types(ctx));
    TRY(match_dim(ctx, INPUT_X, attrs->batch_first ? 0 : 1, "batch", batch));
    TRY(match_dim(ctx, INPUT_X, 2, "input size", &input_size));
    TRY(match_dim(ctx, INPUT_W, 0, "directions of W", &directions));
    TRY(match_dim(ctx, INPUT_W, 2, "input size of W", &input_size));
    TRY(match_dim(ctx, INPUT_R, 0, "directions of R", &directions));
    TRY(match_dim(ctx, INPUT_R, 2, "hidden size of R", hidden));
    TRY(match_multiple(ctx, INPUT_W, 1, "rows of W", *hidden, gates));
    TRY(match_multiple(ctx, INPUT_R, 1, "rows of R", *hidden, gates));
    if (infer_input(ctx, INPUT_B) != NULL) {
        TRY(match_dim(ctx, INPUT_B, 0, "directions of B", &directions));
        TRY(match_multiple(ctx, INPUT_B, 1, "columns of B", *hidden, 2 * gates));
    }
    if (infer_input(ctx, INPUT_LENGTHS) != NULL)
        TRY(match_dim(ctx, INPUT_LENGTHS, 0, "batch and number of sequence lengths", batch));
    TRY(check_state(ctx, INPUT_H, batch, hidden));
    TRY(check_state(ctx, INPUT_C, batch, hidden));
    if (infer_input(ctx, INPUT_P) == NULL) return STATUS_OK;
    TRY(match_dim(ctx, INPUT_P, 0, "directions of P", &directions));
    return match_multiple(ctx, INPUT_P, 1, "columns of P", *hidden, 3);
}

static Status infer_recurrent(InferCtx *ctx, CellKind kind) {
    const RecurrentAttrs *attrs = ctx->attrs;
    Dim batch, hidden, steps = ctx->inputs[0]->shape.dim[attrs->batch_first ? 1 : 0], d = attrs->directions;
    TRY(check_recurrent(ctx, kind, &batch, &hidden));
    for (int32_t i = 0; i < ctx->output_count; ++i) {
        Shape *out = &ctx->outputs[i].shape;
        ctx->outputs[i].dtype = ctx->inputs[0]->dtype;
        if (i == 0)
            *out = attrs->batch_first ? (Shape){4, {batch, steps, d, hidden}}
                                      : (Shape){4, {steps, d, batch, hidden}};
        else
            *out = attrs->batch_first ? (Shape){3, {batch, d, hidden}} : (Shape){3, {d, batch, hidden}};
    }
    return STATUS_OK;
}

/* -- kernel -- */

RecurrentSizes recurrent_sizes(CellKind kind, int64_t steps, int64_t batch, int64_t hidden) {
    enum { PROJECTED = 1 << 18 }; /* elements that stay in cache until their step comes */
    int64_t state = batch * hidden, row = state * cell_gates(kind);
    int64_t chunk = clamp_i64(PROJECTED / max_i64(1, row), 1, max_i64(1, steps));
    /* h, c, and for a GRU the products with h and the reset state */
    return (RecurrentSizes){chunk, (size_t)(2 * state + (kind == CELL_GRU ? row + state : 0)),
                            (size_t)(chunk * row)};
}

/* Where the parts of the scratch are; with base NULL only their total. */
typedef struct RecurrentScratch {
    bool is_f64; /* what is computed in; other inputs are converted */
    size_t converted[INPUT_COUNT], state, projection, gemm, gemm_size, total;
} RecurrentScratch;

static size_t take(RecurrentScratch *scratch, size_t bytes) {
    size_t at = scratch->total;
    scratch->total = (at + bytes + 63) / 64 * 64;
    return at;
}

static void lay_out(const KernelCtx *ctx, CellKind kind, RecurrentScratch *out, RecurrentSizes *sizes) {
    const RecurrentAttrs *attrs = ctx->attrs;
    const Tensor *x = ctx->inputs[INPUT_X], *r = ctx->inputs[INPUT_R];
    int64_t steps = x->dim[attrs->batch_first ? 1 : 0], batch = x->dim[attrs->batch_first ? 0 : 1];
    DType dtype = x->dtype;
    *out = (RecurrentScratch){.is_f64 = dtype == DTYPE_F64};
    size_t real = out->is_f64 ? sizeof(double) : sizeof(float);
    bool converts = dtype != DTYPE_F64 && dtype != DTYPE_F32;
    for (int32_t i = 0; i < ctx->input_count && converts; ++i)
        if (ctx->inputs[i] != NULL && i != INPUT_LENGTHS)
            out->converted[i] = take(out, (size_t)tensor_count(ctx->inputs[i]) * real);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only inputs behind it may be omitted */
    *sizes = recurrent_sizes(kind, steps, batch, r->dim[2]);
    out->state = take(out, sizes->state * real);
    out->projection = take(out, sizes->projection * real);
    Gemm gemm = {.type = out->is_f64 ? GEMM_F64 : GEMM_F32,
                 .batch = 1,
                 .m = sizes->chunk * batch,
                 .n = r->dim[1],
                 .k = x->dim[2]};
    out->gemm_size = gemm_scratch(&gemm, ctx->host == NULL ? 1 : thread_pool_size(ctx->host->pool));
    out->gemm = take(out, out->gemm_size);
}

static size_t scratch_recurrent(const KernelCtx *ctx, CellKind kind) {
    RecurrentScratch scratch;
    RecurrentSizes sizes;
    lay_out(ctx, kind, &scratch, &sizes);
    return scratch.total;
}

/* An input's elements in the type that is computed in. */
static const void *real_input(const KernelCtx *ctx, const RecurrentScratch *scratch, int32_t input) {
    const Tensor *tensor = kernel_input(ctx, input);
    if (tensor == NULL || tensor->dtype == DTYPE_F32 || tensor->dtype == DTYPE_F64)
        return tensor == NULL ? NULL : tensor->data;
    float *values = (void *)((char *)ctx->host->scratch + scratch->converted[input]);
    dtype_read_f32(tensor->dtype, tensor->data, 0, tensor_count(tensor), values);
    return values;
}

static Status check_lengths(const KernelCtx *ctx, int64_t steps) {
    const Tensor *lengths = kernel_input(ctx, INPUT_LENGTHS);
    int64_t count = lengths == NULL ? 0 : tensor_count(lengths);
    for (int64_t b = 0; b < count; ++b) {
        int64_t length = kit_index(lengths, b);
        if (length < 0 || length > steps)
            return FAIL(ctx->diag, STATUS_BAD_DATA, "sequence length %lld is outside 0 to %lld",
                        (long long)length, (long long)steps);
    }
    return STATUS_OK;
}

static void *output_data(const KernelCtx *ctx, int32_t i) {
    Tensor *out = kernel_result(ctx, i);
    return out == NULL ? NULL : out->data;
}

static Status kernel_recurrent(KernelCtx *ctx, CellKind kind) {
    const RecurrentAttrs *attrs = ctx->attrs;
    const Tensor *x = ctx->inputs[INPUT_X];
    RecurrentScratch scratch;
    RecurrentSizes sizes;
    lay_out(ctx, kind, &scratch, &sizes);
    char *base = ctx->host->scratch;
    RecurrentRun run = {.kind = kind,
                        .attrs = attrs,
                        .steps = x->dim[attrs->batch_first ? 1 : 0],
                        .batch = x->dim[attrs->batch_first ? 0 : 1],
                        .input_size = x->dim[2],
                        .hidden = ctx->inputs[INPUT_R]->dim[2],
                        .lengths = kernel_input(ctx, INPUT_LENGTHS),
                        .out_dtype = x->dtype,
                        .y = output_data(ctx, 0),
                        .y_h = output_data(ctx, 1),
                        .y_c = output_data(ctx, 2),
                        .host = ctx->host,
                        .diag = ctx->diag,
                        .chunk = sizes.chunk,
                        .state = base + scratch.state,
                        .projection = base + scratch.projection,
                        .gemm = base + scratch.gemm,
                        .gemm_size = scratch.gemm_size};
    TRY(check_lengths(ctx, run.steps));
    run.x = real_input(ctx, &scratch, INPUT_X);
    run.w = real_input(ctx, &scratch, INPUT_W);
    run.r = real_input(ctx, &scratch, INPUT_R);
    run.bias = real_input(ctx, &scratch, INPUT_B);
    run.initial_h = real_input(ctx, &scratch, INPUT_H);
    run.initial_c = real_input(ctx, &scratch, INPUT_C);
    run.peepholes = real_input(ctx, &scratch, INPUT_P);
    /* what lies behind the end of a sequence is zero */
    if (run.y != NULL && run.lengths != NULL)
        elements_fill(x->dtype, run.y, 0, tensor_count(ctx->outputs[0]), NULL, 0);
    return scratch.is_f64 ? recurrent_run_f64(&run) : recurrent_run_f32(&run);
}

/* -- the three operators -- */

Status parse_RNN(const ParseCtx *ctx, const void **attrs) {
    return parse_recurrent(ctx, CELL_RNN, attrs);
}

Status infer_RNN(InferCtx *ctx) {
    return infer_recurrent(ctx, CELL_RNN);
}

size_t scratch_RNN(const KernelCtx *ctx) {
    return scratch_recurrent(ctx, CELL_RNN);
}

Status kernel_RNN(KernelCtx *ctx) {
    return kernel_recurrent(ctx, CELL_RNN);
}

Status parse_GRU(const ParseCtx *ctx, const void **attrs) {
    return parse_recurrent(ctx, CELL_GRU, attrs);
}

Status infer_GRU(InferCtx *ctx) {
    return infer_recurrent(ctx, CELL_GRU);
}

size_t scratch_GRU(const KernelCtx *ctx) {
    return scratch_recurrent(ctx, CELL_GRU);
}

Status kernel_GRU(KernelCtx *ctx) {
    return kernel_recurrent(ctx, CELL_GRU);
}

Status parse_LSTM(const ParseCtx *ctx, const void **attrs) {
    return parse_recurrent(ctx, CELL_LSTM, attrs);
}

Status infer_LSTM(InferCtx *ctx) {
    return infer_recurrent(ctx, CELL_LSTM);
}

size_t scratch_LSTM(const KernelCtx *ctx) {
    return scratch_recurrent(ctx, CELL_LSTM);
}

Status kernel_LSTM(KernelCtx *ctx) {
    return kernel_recurrent(ctx, CELL_LSTM);
}
