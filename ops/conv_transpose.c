/* ConvTranspose in one to three dimensions.
 *
 * Output positions with the same remainder by the strides (a phase) read the same taps of the kernel, at
 * consecutive input positions: each phase is a product like that of a convolution with stride 1, whose
 * results are spread out by the strides. Nothing is computed that is not part of the result. */
#include <string.h>

#include "ops/conv.h"
#include "ops/gemm.h"
#include "ops/kit.h"
#include "ops/widen.h"

static Status parse_extents(const ParseCtx *ctx, const char *name, int64_t low, int32_t *axes, int64_t *out,
                            bool *present) {
    const int64_t *values;
    int32_t count;
    TRY(attr_ints(ctx->list, name, &values, &count, ctx->diag));
    *present = count > 0;
    if (count <= 0) return STATUS_OK;
    if (count > WINDOW_AXES || (*axes != 0 && count != *axes))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s has %d values for %d axes", name, count, *axes);
    *axes = count;
    for (int32_t i = 0; i < count; ++i) {
        if (values[i] < low || values[i] > INT32_MAX)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s[%d] is %lld", name, i, (long long)values[i]);
        out[i] = values[i];
    }
    return STATUS_OK;
}

Status parse_ConvTranspose(const ParseCtx *ctx, const void **attrs) {
    TransposeAttrs *own = ARENA_NEW(ctx->arena, TransposeAttrs);
    TRY_ALLOC(ctx->diag, own);
    bool present;
    TRY(window_parse(ctx, &own->window));
    TRY(attr_int_in(ctx->list, "group", 1, 1, INT32_MAX, &own->group, ctx->diag));
    TRY(parse_extents(ctx, "output_padding", 0, &own->window.axes, own->output_padding, &present));
    TRY(parse_extents(ctx, "output_shape", 1, &own->window.axes, own->output_shape, &own->has_shape));
    *attrs = own;
    return STATUS_OK;
}

static bool is_same(AutoPad auto_pad) {
    return auto_pad == AUTO_PAD_SAME_UPPER || auto_pad == AUTO_PAD_SAME_LOWER;
}

static Status infer_extent(InferCtx *ctx, int32_t axis, Dim in, Dim kernel, Dim *out) {
    const TransposeAttrs *attrs = ctx->attrs;
    const WindowAttrs *window = &attrs->window;
    DimTable *dims = ctx->dims;
    if (attrs->has_shape) {
        *out = attrs->output_shape[axis];
    } else if (is_same(window->auto_pad)) {
        *out = dim_mul(dims, in, window->stride[axis]);
    } else {
        int64_t pads =
            window->auto_pad == AUTO_PAD_NONE ? window->pad_begin[axis] + window->pad_end[axis] : 0;
        Dim reach = dim_mul(dims, dim_sub(dims, kernel, 1), window->dilation[axis]);
        Dim steps = dim_mul(dims, dim_sub(dims, in, 1), window->stride[axis]);
        *out = dim_add(dims, dim_add(dims, steps, reach), 1 + attrs->output_padding[axis] - pads);
    }
    if (dim_is_exact(*out) && *out < 1)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "spatial axis %d of the output has extent %lld", axis,
                    (long long)*out);
    return STATUS_OK;
}

static Status check_channels(InferCtx *ctx, Dim outputs) {
    const TransposeAttrs *attrs = ctx->attrs;
    Dim x = ctx->inputs[0]->shape.dim[1], w = ctx->inputs[1]->shape.dim[0];
    if (dim_is_exact(x) && dim_is_exact(w) && (x != w || x % attrs->group != 0))
        return FAIL(ctx->diag, STATUS_BAD_MODEL,
                    "input 0 has %lld channels, the weights have %lld, in %lld groups", (long long)x,
                    (long long)w, (long long)attrs->group);
    if (infer_input(ctx, 2) == NULL) return STATUS_OK;
    TRY(kit_expect_dtype_like(ctx, 2, 0));
    TRY(kit_expect_rank(ctx, 2, 1, 1));
    Dim bias = ctx->inputs[2]->shape.dim[0];
    if (dim_is_exact(bias) && dim_is_exact(outputs) && bias != outputs)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the bias has %lld elements, the weights %lld channels",
                    (long long)bias, (long long)outputs);
    return STATUS_OK;
}

Status infer_ConvTranspose(InferCtx *ctx) {
    const TransposeAttrs *attrs = ctx->attrs;
    int32_t axes;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_dtype_like(ctx, 1, 0));
    TRY(window_check_axes(ctx, &attrs->window, 0, &axes));
    TRY(kit_expect_rank(ctx, 1, axes + 2, axes + 2));
    const Shape *x = &ctx->inputs[0]->shape, *w = &ctx->inputs[1]->shape;
    TypeInfo *y = &ctx->outputs[0];
    y->dtype = ctx->inputs[0]->dtype;
    y->shape.rank = x->rank;
    y->shape.dim[0] = x->dim[0];
    y->shape.dim[1] = dim_mul(ctx->dims, w->dim[1], attrs->group);
    TRY(check_channels(ctx, y->shape.dim[1]));
    for (int32_t i = 0; i < axes; ++i) {
        if (attrs->window.has_kernel && dim_is_exact(w->dim[2 + i]) &&
            w->dim[2 + i] != attrs->window.kernel[i])
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "kernel_shape[%d] is %lld, the weights have %lld", i,
                        (long long)attrs->window.kernel[i], (long long)w->dim[2 + i]);
        TRY(infer_extent(ctx, i, x->dim[2 + i], w->dim[2 + i], &y->shape.dim[2 + i]));
    }
    return STATUS_OK;
}

/* -- kernel -- */

/* One axis of one phase. Output position first + j * stride, for j < count, reads input position
 * base + j - n * shift through tap tap + n * period, for n < taps. */
typedef struct PhaseAxis {
    int64_t first, count, base, tap, taps, period, shift;
} PhaseAxis;

typedef struct TransposeRun {
    const Tensor *x, *w, *bias;
    Tensor *y;
    Window window;                     /* in: of x, out: of y; pads are those taken off the output */
    int64_t groups, channels, outputs; /* the latter two of a group */
    PhaseAxis axis[WINDOW_AXES];
    int64_t taps; /* of the phase */
} TransposeRun;

static int64_t greatest_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The phase of outputs whose padded position leaves the given remainder. */
static PhaseAxis phase_axis(const Window *window, int axis, int64_t remainder) {
    int64_t stride = window->stride[axis], dilation = window->dilation[axis];
    int64_t common = greatest_divisor(stride, dilation);
    PhaseAxis phase = {.period = stride / common, .shift = dilation / common};
    phase.first = floor_mod_i64(remainder - window->pad[axis], stride);
    phase.count = window->out[axis] > phase.first ? (window->out[axis] - phase.first - 1) / stride + 1 : 0;
    int64_t most = min_i64(phase.period, window->kernel[axis]);
    while (phase.tap < most && phase.tap * dilation % stride != remainder) ++phase.tap;
    if (phase.tap < most) phase.taps = (window->kernel[axis] - phase.tap - 1) / phase.period + 1;
    phase.base = (phase.first + window->pad[axis] - phase.tap * dilation) / stride;
    return phase;
}

static const void *weight_row(const void *context, int64_t batch, int64_t row, int64_t k, int64_t depth,
                              void *buffer) {
    const TransposeRun *run = context;
    const PhaseAxis *z = &run->axis[0], *y = &run->axis[1], *x = &run->axis[2];
    const int64_t *kernel = run->window.kernel;
    int64_t tap = k % run->taps, at_x = tap % x->taps, at_y = tap / x->taps % y->taps;
    int64_t at_z = tap / x->taps / y->taps, channel = batch % run->groups * run->channels + k / run->taps;
    for (int64_t i = 0; i < depth; ++i) {
        int64_t index = (channel * run->outputs + row) * run->window.taps +
                        ((z->tap + at_z * z->period) * kernel[1] + y->tap + at_y * y->period) * kernel[2] +
                        x->tap + at_x * x->period;
        if (run->w->dtype == DTYPE_F32)
            ((float *)buffer)[i] = ((const float *)run->w->data)[index];
        else
            ((double *)buffer)[i] = dtype_load_f64(run->w->dtype, run->w->data, index);
        if (++at_x < x->taps) continue;
        at_x = 0;
        if (++at_y < y->taps) continue;
        at_y = 0;
        if (++at_z < z->taps) continue;
        at_z = 0;
        ++channel;
    }
    return buffer;
}

/* count elements of the line of x that begins at element `line`, from `first` on; zero outside the line. */
static void read_line(const TransposeRun *run, int64_t line, int64_t first, int64_t count, void *to,
                      int64_t at) {
    int64_t low = clamp_i64(-first, 0, count), high = clamp_i64(run->window.in[2] - first, low, count);
    if (run->x->dtype == DTYPE_F32) {
        float *out = (float *)to + at;
        memset(out, 0, (size_t)low * sizeof *out);
        memcpy(out + low, (const float *)run->x->data + line + first + low,
               (size_t)(high - low) * sizeof *out);
        memset(out + high, 0, (size_t)(count - high) * sizeof *out);
    } else {
        double *out = (double *)to + at;
        memset(out, 0, (size_t)low * sizeof *out);
        dtype_read_f64(run->x->dtype, run->x->data, line + first + low, high - low, out + low);
        memset(out + high, 0, (size_t)(count - high) * sizeof *out);
    }
}

static const void *input_row(const void *context, int64_t batch, int64_t k, int64_t col, int64_t cols,
                             void *buffer) {
    const TransposeRun *run = context;
    const PhaseAxis *z = &run->axis[0], *y = &run->axis[1], *x = &run->axis[2];
    const Window *win = &run->window;
    int64_t plane = (batch * run->channels + k / run->taps) * win->in_count, tap = k % run->taps;
    int64_t from_z = z->base - tap / x->taps / y->taps * z->shift;
    int64_t from_y = y->base - tap / x->taps % y->taps * y->shift,
            from_x = x->base - tap % x->taps * x->shift;
    for (int64_t done = 0; done < cols;) {
        int64_t at = col + done, at_x = at % x->count;
        int64_t in_y = from_y + at / x->count % y->count, in_z = from_z + at / x->count / y->count;
        int64_t some = min_i64(x->count - at_x, cols - done);
        bool inside = in_z >= 0 && in_z < win->in[0] && in_y >= 0 && in_y < win->in[1];
        /* a line that is all padding reads past its end */
        if (inside)
            read_line(run, plane + (in_z * win->in[1] + in_y) * win->in[2], from_x + at_x, some, buffer,
                      done);
        else
            read_line(run, plane, win->in[2], some, buffer, done);
        done += some;
    }
    return buffer;
}

static void bias_values(const void *context, int64_t batch, int64_t row, int64_t rows, void *values) {
    const TransposeRun *run = context;
    gemm_read_bias(run->x->dtype == DTYPE_F32 ? GEMM_F32 : GEMM_F64, run->bias,
                   batch % run->groups * run->outputs + row, rows, values);
}

/* Spreads a row of sums over one output plane. */
static void spread_row(const TransposeRun *run, int64_t plane, int64_t col, int64_t cols, const void *sums) {
    const PhaseAxis *z = &run->axis[0], *y = &run->axis[1], *x = &run->axis[2];
    const Window *win = &run->window;
    for (int64_t done = 0; done < cols;) {
        int64_t at = col + done, at_x = at % x->count, some = min_i64(x->count - at_x, cols - done);
        int64_t out_z = z->first + at / x->count / y->count * win->stride[0];
        int64_t out_y = y->first + at / x->count % y->count * win->stride[1];
        int64_t to = plane + (out_z * win->out[1] + out_y) * win->out[2] + x->first + at_x * win->stride[2];
        if (run->y->dtype == DTYPE_F32)
            for (int64_t i = 0; i < some; ++i)
                ((float *)run->y->data)[to + i * win->stride[2]] = ((const float *)sums)[done + i];
        else
            for (int64_t i = 0; i < some; ++i)
                dtype_store_f64(run->y->dtype, run->y->data, to + i * win->stride[2],
                                ((const double *)sums)[done + i]);
        done += some;
    }
}

static void store_block(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col,
                        int64_t cols, const void *block, int64_t ld) {
    const TransposeRun *run = context;
    size_t element = run->y->dtype == DTYPE_F32 ? sizeof(float) : sizeof(double);
    for (int64_t r = 0; r < rows; ++r)
        spread_row(run, (batch * run->outputs + row + r) * run->window.out_count, col, cols,
                   (const char *)block + (size_t)(r * ld) * element);
}

/* Padding that an output shape or auto_pad implies. ORT and the standard agree where it is not negative. */
static void set_padding(const TransposeAttrs *attrs, const Tensor *x, Window *window) {
    if (!attrs->has_shape && !is_same(attrs->window.auto_pad)) {
        for (int i = 0; attrs->window.auto_pad == AUTO_PAD_VALID && i < WINDOW_AXES; ++i) window->pad[i] = 0;
        return;
    }
    int32_t missing = WINDOW_AXES - (x->rank - 2);
    for (int32_t i = missing; i < WINDOW_AXES; ++i) {
        int64_t full = (window->in[i] - 1) * window->stride[i] + attrs->output_padding[i - missing] +
                       (window->kernel[i] - 1) * window->dilation[i] + 1;
        int64_t total = max_i64(0, full - window->out[i]);
        window->pad[i] = attrs->window.auto_pad == AUTO_PAD_SAME_UPPER ? total / 2 : total - total / 2;
    }
}

static void transpose_make(const KernelCtx *ctx, TransposeRun *run, Gemm *gemm) {
    const TransposeAttrs *attrs = ctx->attrs;
    *run = (TransposeRun){.x = ctx->inputs[0],
                          .w = ctx->inputs[1],
                          .bias = kernel_input(ctx, 2),
                          .y = ctx->outputs[0],
                          .groups = attrs->group};
    run->channels = run->x->dim[1] / run->groups;
    run->outputs = run->w->dim[1];
    run->window = window_of(&attrs->window, run->w->dim + 2, run->x, run->y);
    set_padding(attrs, run->x, &run->window);
    *gemm = (Gemm){.type = run->x->dtype == DTYPE_F32 ? GEMM_F32 : GEMM_F64,
                   .batch = run->x->dim[0] * run->groups,
                   .m = run->outputs,
                   .n = run->window.out_count,
                   .k = run->channels * run->window.taps,
                   .context = run,
                   .row_a = weight_row,
                   .row_b = input_row,
                   .start = run->bias != NULL ? bias_values : NULL,
                   .store = store_block};
}

static size_t scratch_phases(const KernelCtx *ctx) {
    TransposeRun run;
    Gemm gemm;
    transpose_make(ctx, &run, &gemm);
    return gemm_scratch_most(&gemm, kit_worker_count(ctx));
}

static Status run_phase(const KernelCtx *ctx, TransposeRun *run, Gemm *gemm) {
    run->taps = gemm->n = 1;
    for (int i = 0; i < WINDOW_AXES; ++i) {
        run->taps *= run->axis[i].taps;
        gemm->n *= run->axis[i].count;
    }
    gemm->k = run->channels * run->taps;
    return gemm_run(gemm, ctx->host, ctx->host->scratch, ctx->host->scratch_size, ctx->diag);
}

static Status run_phases(KernelCtx *ctx) {
    TransposeRun run;
    Gemm gemm;
    transpose_make(ctx, &run, &gemm);
    const Window *win = &run.window;
    int64_t phases[WINDOW_AXES];
    for (int i = 0; i < WINDOW_AXES; ++i) phases[i] = min_i64(win->stride[i], win->out[i]);
    /* phase p of an axis is that of output position p */
    for (int64_t z = 0; z < phases[0]; ++z) {
        run.axis[0] = phase_axis(win, 0, (z + win->pad[0]) % win->stride[0]);
        for (int64_t y = 0; y < phases[1]; ++y) {
            run.axis[1] = phase_axis(win, 1, (y + win->pad[1]) % win->stride[1]);
            for (int64_t x = 0; x < phases[2]; ++x) {
                run.axis[2] = phase_axis(win, 2, (x + win->pad[2]) % win->stride[2]);
                TRY(run_phase(ctx, &run, &gemm));
            }
        }
    }
    return STATUS_OK;
}

size_t scratch_ConvTranspose(const KernelCtx *ctx) {
    return widen_scratch(ctx, scratch_phases);
}

Status kernel_ConvTranspose(KernelCtx *ctx) {
    return widen_run(ctx, run_phases);
}
