/* Conv, ConvInteger and QLinearConv in one to three dimensions.
 *
 * Each group of each batch entry is a product: weights (channels out x channels in * taps) times the matrix
 * of windows (channels in * taps x output positions), whose rows are read straight from the input. */
#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ops/conv.h"
#include "ops/conv_pack.h"
#include "ops/depthwise.h"
#include "ops/gemm.h"
#include "ops/kit.h"
#include "ops/widen.h"

/* Which inputs are what. */
typedef struct ConvInputs {
    int32_t x, w, bias;             /* -1: the operator has none */
    int32_t x_zero, w_zero, y_zero; /* likewise */
    int32_t x_scale, w_scale, y_scale;
} ConvInputs;

static const ConvInputs conv_inputs = {0, 1, 2, -1, -1, -1, -1, -1, -1};
static const ConvInputs integer_inputs = {0, 1, -1, 2, 3, -1, -1, -1, -1};
static const ConvInputs quantized_inputs = {0, 3, 8, 2, 5, 7, 1, 4, 6};

Status parse_Conv(const ParseCtx *ctx, const void **attrs) {
    ConvAttrs *own = ARENA_NEW(ctx->arena, ConvAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(window_parse(ctx, &own->window));
    TRY(attr_int_in(ctx->list, "group", 1, 1, INT32_MAX, &own->group, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

Status parse_ConvInteger(const ParseCtx *ctx, const void **attrs) {
    return parse_Conv(ctx, attrs);
}

Status parse_QLinearConv(const ParseCtx *ctx, const void **attrs) {
    return parse_Conv(ctx, attrs);
}

static Status check_channels(InferCtx *ctx, const ConvAttrs *attrs, const ConvInputs *at) {
    Dim x = ctx->inputs[at->x]->shape.dim[1];
    Dim per_group = ctx->inputs[at->w]->shape.dim[1], outputs = ctx->inputs[at->w]->shape.dim[0];
    if (dim_is_exact(x) && dim_is_exact(per_group) &&
        (x % attrs->group != 0 || x / attrs->group != per_group))
        return FAIL(ctx->diag, STATUS_BAD_MODEL,
                    "input %d has %lld channels, the weights expect %lld in each of %lld groups", at->x,
                    (long long)x, (long long)per_group, (long long)attrs->group);
    if (dim_is_exact(outputs) && outputs % attrs->group != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld output channels do not divide into %lld groups",
                    (long long)outputs, (long long)attrs->group);
    const TypeInfo *bias = at->bias < 0 ? NULL : infer_input(ctx, at->bias);
    if (bias == NULL) return STATUS_OK;
    TRY(kit_expect_rank(ctx, at->bias, 1, 1));
    if (dim_is_exact(bias->shape.dim[0]) && dim_is_exact(outputs) && bias->shape.dim[0] != outputs)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the bias has %lld elements, the weights %lld channels",
                    (long long)bias->shape.dim[0], (long long)outputs);
    return STATUS_OK;
}

static Status infer_conv(InferCtx *ctx, const ConvInputs *at, DType dtype) {
    const ConvAttrs *attrs = ctx->attrs;
    int32_t axes;
    TRY(window_check_axes(ctx, &attrs->window, at->x, &axes));
    TRY(kit_expect_rank(ctx, at->w, axes + 2, axes + 2));
    TRY(check_channels(ctx, attrs, at));
    const Shape *x = &ctx->inputs[at->x]->shape, *w = &ctx->inputs[at->w]->shape;
    TypeInfo *y = &ctx->outputs[0];
    y->dtype = dtype;
    y->shape.rank = x->rank;
    y->shape.dim[0] = x->dim[0];
    y->shape.dim[1] = w->dim[0];
    for (int32_t i = 0; i < axes; ++i) {
        if (attrs->window.has_kernel && dim_is_exact(w->dim[2 + i]) &&
            w->dim[2 + i] != attrs->window.kernel[i])
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "kernel_shape[%d] is %lld, the weights have %lld", i,
                        (long long)attrs->window.kernel[i], (long long)w->dim[2 + i]);
        TRY(window_extent(ctx, &attrs->window, i, x->dim[2 + i], w->dim[2 + i], false, &y->shape.dim[2 + i]));
    }
    return STATUS_OK;
}

Status infer_Conv(InferCtx *ctx) {
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_dtype_like(ctx, 1, 0));
    if (infer_input(ctx, 2) != NULL) TRY(kit_expect_dtype_like(ctx, 2, 0));
    return infer_conv(ctx, &conv_inputs, ctx->inputs[0]->dtype);
}

static Status expect_byte(InferCtx *ctx, int32_t input) {
    DType found = ctx->inputs[input]->dtype;
    if (found == DTYPE_I8 || found == DTYPE_U8) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected i8 or u8", input, dtype_name(found));
}

/* A zero point or scale: one element, or where `channels` is known, one per channel. */
static Status check_quantizer(InferCtx *ctx, int32_t input, Dim channels) {
    const TypeInfo *info = infer_input(ctx, input);
    if (info == NULL) return STATUS_OK;
    Dim count = shape_count(ctx->dims, &info->shape);
    if (!dim_is_exact(count) || count == 1 || (dim_is_exact(channels) && count == channels) ||
        !dim_is_exact(channels))
        return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has %lld elements, expected 1 or %lld", input,
                (long long)count, (long long)channels);
}

Status infer_ConvInteger(InferCtx *ctx) {
    TRY(expect_byte(ctx, 0));
    TRY(expect_byte(ctx, 1));
    TRY(infer_conv(ctx, &integer_inputs, DTYPE_I32));
    TRY(check_quantizer(ctx, 2, 1));
    return check_quantizer(ctx, 3, ctx->inputs[1]->shape.dim[0]);
}

Status infer_QLinearConv(InferCtx *ctx) {
    TRY(expect_byte(ctx, 0));
    TRY(expect_byte(ctx, 3));
    TRY(expect_byte(ctx, 7));
    TRY(infer_conv(ctx, &quantized_inputs, ctx->inputs[7]->dtype));
    for (int32_t i = 1; i < 8; ++i) {
        bool per_channel = i == 4 || i == 5;
        if (i != 3) TRY(check_quantizer(ctx, i, per_channel ? ctx->inputs[3]->shape.dim[0] : 1));
    }
    return STATUS_OK;
}

/* -- kernel -- */

typedef struct ConvRun {
    const Tensor *x, *w, *bias;
    Tensor *y;
    Window window;
    int64_t groups, channels, outputs; /* the latter two of a group */
    const Tensor *x_zero, *w_zero, *y_zero, *x_scale, *w_scale, *y_scale;
    bool pointwise; /* kernel 1, stride 1, no padding: the matrix of windows is the input itself */
} ConvRun;

static const Tensor *pick(const KernelCtx *ctx, int32_t index) {
    return index < 0 ? NULL : kernel_input(ctx, index);
}

static ConvRun conv_run_make(const KernelCtx *ctx, const ConvInputs *at) {
    const ConvAttrs *attrs = ctx->attrs;
    ConvRun run = {.x = ctx->inputs[at->x],
                   .w = ctx->inputs[at->w],
                   .bias = pick(ctx, at->bias),
                   .y = ctx->outputs[0],
                   .groups = attrs->group,
                   .x_zero = pick(ctx, at->x_zero),
                   .w_zero = pick(ctx, at->w_zero),
                   .y_zero = pick(ctx, at->y_zero),
                   .x_scale = pick(ctx, at->x_scale),
                   .w_scale = pick(ctx, at->w_scale),
                   .y_scale = pick(ctx, at->y_scale)};
    run.channels = run.w->dim[1];
    run.outputs = run.w->dim[0] / run.groups;
    run.window = window_of(&attrs->window, run.w->dim + 2, run.x, run.y);
    const Window *window = &run.window;
    run.pointwise = run.x->dtype == DTYPE_F32 && window->taps == 1;
    for (int i = 0; i < WINDOW_AXES; ++i)
        if (window->stride[i] != 1 || window->pad[i] != 0 || window->in[i] != window->out[i])
            run.pointwise = false;
    return run;
}

/* Element `index` of a per-tensor or per-channel quantizer. */
static double quantizer_at(const Tensor *tensor, int64_t index, double fallback) {
    if (tensor == NULL) return fallback;
    return dtype_load_f64(tensor->dtype, tensor->data, tensor_count(tensor) == 1 ? 0 : index);
}

static const void *weight_row(const void *context, int64_t batch, int64_t row, int64_t k, int64_t depth,
                              void *buffer) {
    const ConvRun *run = context;
    int64_t output = batch % run->groups * run->outputs + row;
    int64_t first = output * run->channels * run->window.taps + k;
    if (run->w->dtype == DTYPE_F32) return (const float *)run->w->data + first;
    double *to = buffer, zero = quantizer_at(run->w_zero, output, 0);
    dtype_read_f64(run->w->dtype, run->w->data, first, depth, to);
    for (int64_t i = 0; i < depth && zero != 0; ++i) to[i] -= zero;
    return to;
}

typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));

/* Rows of windows are short in late layers: a call of memcpy for each would cost more than the copy. */
static inline void copy_floats(float *to, const float *from, int64_t count) {
    for (; count >= 4; count -= 4, to += 4, from += 4) *(Quad *)to = *(const Quad *)from;
    if ((count & 2) != 0) {
        to[0] = from[0];
        to[1] = from[1];
        to += 2;
        from += 2;
    }
    if ((count & 1) != 0) *to = *from;
}

static inline void zero_floats(float *to, int64_t count) {
    for (; count >= 4; count -= 4, to += 4) *(Quad *)to = (Quad){0};
    if ((count & 2) != 0) {
        to[0] = 0;
        to[1] = 0;
        to += 2;
    }
    if ((count & 1) != 0) *to = 0;
}

/* Where one row of windows reads: elements first + i * stride of a line of `width`, for `count` outputs. */
typedef struct Line {
    int64_t first, stride, width, count;
} Line;

/* The outputs [*low, *high) of the line that read inside it. */
static inline void line_inside(const Line *line, int64_t *low, int64_t *high) {
    if (line->stride == 1) {
        *low = clamp_i64(-line->first, 0, line->count);
        *high = clamp_i64(line->width - line->first, *low, line->count);
    } else {
        *low = clamp_i64(ceil_div_i64(-line->first, line->stride), 0, line->count);
        *high = clamp_i64(ceil_div_i64(line->width - line->first, line->stride), *low, line->count);
    }
}

SIMD_CLONES static void gather_by_two(float *restrict to, const float *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[2 * i];
}

static inline void read_line_f32(const float *row, const Line *line, float *to) {
    int64_t low, high;
    line_inside(line, &low, &high);
    zero_floats(to, low);
    const float *from = row + line->first;
    if (line->stride == 1)
        copy_floats(to + low, from + low, high - low);
    else if (line->stride == 2)
        gather_by_two(to + low, from + 2 * low, high - low);
    else
        for (int64_t i = low; i < high; ++i) to[i] = from[i * line->stride];
    zero_floats(to + high, line->count - high);
}

static void read_line(const ConvRun *run, int64_t row, const Line *line, double *to) {
    int64_t low, high;
    line_inside(line, &low, &high);
    double zero = quantizer_at(run->x_zero, 0, 0);
    for (int64_t i = 0; i < low; ++i) to[i] = 0;
    if (line->stride == 1)
        dtype_read_f64(run->x->dtype, run->x->data, row + line->first + low, high - low, to + low);
    else
        for (int64_t i = low; i < high; ++i)
            to[i] = dtype_load_f64(run->x->dtype, run->x->data, row + line->first + i * line->stride);
    for (int64_t i = low; i < high && zero != 0; ++i) to[i] -= zero;
    for (int64_t i = high; i < line->count; ++i) to[i] = 0;
}

/* Row k of the matrix of windows: tap k % taps of channel k / taps, at outputs [col, col + cols). */
static const void *window_row(const void *context, int64_t batch, int64_t k, int64_t col, int64_t cols,
                              void *buffer) {
    const ConvRun *run = context;
    const Window *win = &run->window;
    int64_t plane = (batch * run->channels + k / win->taps) * win->in_count;
    if (run->pointwise) return (const float *)run->x->data + plane + col;
    int64_t tap = k % win->taps, plane_taps = win->kernel[1] * win->kernel[2];
    int64_t tap_z = tap / plane_taps * win->dilation[0] - win->pad[0];
    int64_t tap_y = tap % plane_taps / win->kernel[2] * win->dilation[1] - win->pad[1];
    int64_t tap_x = tap % win->kernel[2] * win->dilation[2] - win->pad[2];
    int64_t x = col % win->out[2], y = col / win->out[2] % win->out[1], z = col / win->out[2] / win->out[1];
    bool single = run->x->dtype == DTYPE_F32;
    for (int64_t done = 0; done < cols;) {
        int64_t in_z = z * win->stride[0] + tap_z, in_y = y * win->stride[1] + tap_y;
        Line line = {x * win->stride[2] + tap_x, win->stride[2], win->in[2],
                     min_i64(win->out[2] - x, cols - done)};
        int64_t row = plane + (in_z * win->in[1] + in_y) * win->in[2];
        if (in_z < 0 || in_z >= win->in[0] || in_y < 0 || in_y >= win->in[1]) line.width = row = 0;
        if (single)
            read_line_f32((const float *)run->x->data + row, &line, (float *)buffer + done);
        else
            read_line(run, row, &line, (double *)buffer + done);
        done += line.count;
        x = 0;
        if (++y == win->out[1]) {
            y = 0;
            ++z;
        }
    }
    return buffer;
}

static void pack_windows(const void *context, int64_t batch, int64_t k, int64_t col, void *lines,
                         const GemmPanels *panels) {
    const ConvRun *run = context;
    const float *x = (const float *)run->x->data + batch * run->channels * run->window.in_count;
    if (conv_pack(x, &run->window, k, col, lines, panels)) return;
    for (int64_t i = 0; i < panels->depth; ++i)
        gemm_put_row(panels, i, window_row(context, batch, k + i, col, panels->cols, lines));
}

static void bias_values(const void *context, int64_t batch, int64_t row, int64_t rows, void *values) {
    const ConvRun *run = context;
    gemm_read_bias(run->x->dtype == DTYPE_F32 ? GEMM_F32 : GEMM_F64, run->bias,
                   batch % run->groups * run->outputs + row, rows, values);
}

enum { STORE_BLOCK = 256 };

SIMD_CLONES static void requantize(int64_t count, const double *sums, float scale, float zero, float *to) {
    for (int64_t i = 0; i < count; ++i) to[i] = rintf((float)sums[i] * scale) + zero;
}

/* Sums to outputs, scaled and offset where the operator is quantized: in f32, as quantized models are
 * calibrated and run elsewhere, so that halves round the same way. */
static void store_block(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col,
                        int64_t cols, const void *block, int64_t ld) {
    const ConvRun *run = context;
    double x_scale = quantizer_at(run->x_scale, 0, 1), y_scale = quantizer_at(run->y_scale, 0, 1);
    float zero = (float)quantizer_at(run->y_zero, 0, 0), values[STORE_BLOCK];
    for (int64_t r = 0; r < rows; ++r) {
        const double *from = (const double *)block + r * ld;
        int64_t to = (batch * run->outputs + row + r) * run->window.out_count + col;
        if (run->y_scale == NULL) {
            dtype_write_f64(run->y->dtype, run->y->data, to, cols, from);
            continue;
        }
        double w_scale = quantizer_at(run->w_scale, batch % run->groups * run->outputs + row + r, 1);
        float scale = (float)x_scale * (float)w_scale / (float)y_scale;
        for (int64_t i = 0; i < cols; i += STORE_BLOCK) {
            int64_t count = min_i64(STORE_BLOCK, cols - i);
            requantize(count, from + i, scale, zero, values);
            dtype_write_f32(run->y->dtype, run->y->data, to + i, count, values);
        }
    }
}

static bool is_depthwise(const ConvRun *run) {
    return run->x->dtype == DTYPE_F32 && run->channels == 1 && run->groups > 1 &&
           depthwise_fits(&run->window);
}

static Gemm conv_gemm(const ConvRun *run) {
    bool single = run->x->dtype == DTYPE_F32;
    return (Gemm){.type = single ? GEMM_F32 : GEMM_F64,
                  .batch = run->x->dim[0] * run->groups,
                  .m = run->outputs,
                  .n = run->window.out_count,
                  .k = run->channels * run->window.taps,
                  .context = run,
                  .row_a = weight_row,
                  .row_b = window_row,
                  .pack_b = single && !run->pointwise ? pack_windows : NULL,
                  .start = run->bias != NULL ? bias_values : NULL,
                  .c = run->y->data,
                  .store = single ? NULL : store_block};
}

static size_t scratch_conv(const KernelCtx *ctx, const ConvInputs *at) {
    ConvRun run = conv_run_make(ctx, at);
    if (is_depthwise(&run)) return kit_worker_scratch(ctx, depthwise_scratch(&run.window));
    Gemm gemm = conv_gemm(&run);
    return gemm_scratch(&gemm, kit_worker_count(ctx));
}

static Status run_depthwise(const KernelCtx *ctx, const ConvRun *run) {
    Depthwise depthwise = {.x = run->x->data,
                           .w = run->w->data,
                           .bias = run->bias != NULL ? run->bias->data : NULL,
                           .y = run->y->data,
                           .planes = run->x->dim[0] * run->groups,
                           .channels = run->groups,
                           .multiplier = run->outputs,
                           .window = run->window};
    size_t bytes = depthwise_scratch(&run->window);
    if (ctx->host->scratch_size < bytes)
        return FAIL(ctx->diag, STATUS_INTERNAL, "scratch of %zu bytes, a plane needs %zu",
                    ctx->host->scratch_size, bytes);
    depthwise_run(&depthwise, kit_worker_pool(ctx, bytes), ctx->host->scratch);
    return STATUS_OK;
}

static Status run_conv(KernelCtx *ctx, const ConvInputs *at) {
    ConvRun run = conv_run_make(ctx, at);
    if (is_depthwise(&run)) return run_depthwise(ctx, &run);
    Gemm gemm = conv_gemm(&run);
    return gemm_run(&gemm, ctx->host, ctx->host->scratch, ctx->host->scratch_size, ctx->diag);
}

static size_t scratch_float(const KernelCtx *ctx) {
    return scratch_conv(ctx, &conv_inputs);
}

static Status run_float(KernelCtx *ctx) {
    return run_conv(ctx, &conv_inputs);
}

size_t scratch_Conv(const KernelCtx *ctx) {
    return widen_scratch(ctx, scratch_float);
}

Status kernel_Conv(KernelCtx *ctx) {
    return widen_run(ctx, run_float);
}

size_t scratch_ConvInteger(const KernelCtx *ctx) {
    return scratch_conv(ctx, &integer_inputs);
}

Status kernel_ConvInteger(KernelCtx *ctx) {
    return run_conv(ctx, &integer_inputs);
}

size_t scratch_QLinearConv(const KernelCtx *ctx) {
    return scratch_conv(ctx, &quantized_inputs);
}

Status kernel_QLinearConv(KernelCtx *ctx) {
    return run_conv(ctx, &quantized_inputs);
}
