/* DFT and STFT. */
#include "ops/signal.h"

#include <string.h>

#include "ops/fft.h"
#include "ops/kit.h"

enum { GRAIN = 4096 }; /* samples per piece of parallel work */

static Status parse_flag(const ParseCtx *ctx, const char *name, int64_t fallback, bool *out) {
    int64_t value;
    TRY(attr_int_in(ctx->list, name, fallback, 0, 1, &value, ctx->diag));
    *out = value != 0;
    return STATUS_OK;
}

/* Elements of one line's memory: the line itself and the transform's work. */
static size_t line_size(int64_t n) {
    size_t work = fft_work_size(n);
    return work == SIZE_MAX ? SIZE_MAX / 64 : 2 * (size_t)n + work;
}

/* Bytes of scratch for transforms of up to n elements: tables, and a line per worker. */
static size_t spectrum_scratch(const KernelCtx *ctx, int64_t n) {
    size_t tables = fft_table_size(max_i64(n, 1)), lines;
    lines = kit_worker_scratch(ctx, line_size(max_i64(n, 1)) * sizeof(double));
    return tables > SIZE_MAX / 64 || lines > SIZE_MAX / 2 ? SIZE_MAX : tables * sizeof(double) + lines;
}

/* Takes the scratch apart; *pool is NULL where it does for one line only. Fails where it is too small for
 * that: the operands' shapes are not what it was made for. */
static Status spectrum_begin(KernelCtx *ctx, int64_t n, Fft *fft, double **lines, ThreadPool **pool) {
    size_t tables = fft_table_size(n) * sizeof(double), line = line_size(n) * sizeof(double);
    if (n < 1 || fft_table_size(n) > SIZE_MAX / 64 || ctx->host->scratch_size < tables + line)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "a transform of length %lld", (long long)n);
    *pool = ctx->host->scratch_size - tables < kit_worker_scratch(ctx, line) ? NULL : ctx->host->pool;
    fft_init(fft, n, ctx->host->scratch);
    *lines = (double *)ctx->host->scratch + fft_table_size(n);
    return STATUS_OK;
}

/* A scalar size of at least 1; *known false where it is late. */
static Status size_input(InferCtx *ctx, int32_t input, const char *what, Dim *out, bool *known) {
    TRY(kit_dim_of(ctx, ctx->inputs[input], what, out, known));
    if (*known && dim_is_exact(*out) && *out < 1)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s is %lld", what, (long long)*out);
    return STATUS_OK;
}

static Dim half_spectrum(InferCtx *ctx, Dim length) {
    return dim_add(ctx->dims, dim_floor_div(ctx->dims, length, 2), 1);
}

/* -- DFT -- */

Status parse_DFT(const ParseCtx *ctx, const void **attrs) {
    DftAttrs *out = ARENA_NEW(ctx->arena, DftAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(parse_flag(ctx, "inverse", 0, &out->inverse));
    TRY(parse_flag(ctx, "onesided", 0, &out->one_sided));
    *attrs = out;
    return STATUS_OK;
}

static Status dft_axis(int64_t axis, int32_t rank, int32_t *out, Diag *diag) {
    TRY(kit_axis(axis, rank, out, diag));
    if (*out < rank - 1) return STATUS_OK;
    return FAIL(diag, STATUS_BAD_MODEL, "axis %lld holds real and imaginary parts", (long long)axis);
}

/* A one-sided inverse takes half a spectrum and gives a real signal. */
static bool gives_real(const DftAttrs *attrs) {
    return attrs->inverse && attrs->one_sided;
}

Status infer_DFT(InferCtx *ctx) {
    const DftAttrs *attrs = ctx->attrs;
    int64_t axis = -2;
    int32_t at = 0;
    bool axis_known, length_known = true;
    Dim length = 0;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 2, SMELT_MAX_RANK));
    TRY(kit_infer_same(ctx));
    Shape *out = &ctx->outputs[0].shape;
    Dim parts = out->dim[out->rank - 1];
    if (dim_is_exact(parts) && parts != 1 && parts != 2)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the last dimension is %lld, expected 1 or 2",
                    (long long)parts);
    TRY(kit_scalar_i64(ctx, 2, &axis, &axis_known));
    if (infer_input(ctx, 1) != NULL) TRY(size_input(ctx, 1, "dft_length", &length, &length_known));
    if (infer_input(ctx, 2) != NULL && !axis_known) {
        kit_late_shape(ctx, out->rank, "dft", out);
    } else {
        TRY(dft_axis(axis, out->rank, &at, ctx->diag));
        if (infer_input(ctx, 1) == NULL)
            length =
                gives_real(attrs) ? dim_mul(ctx->dims, 2, dim_sub(ctx->dims, out->dim[at], 1)) : out->dim[at];
        out->dim[at] = !length_known                         ? dim_fresh(ctx->dims, "dft")
                       : attrs->one_sided && !attrs->inverse ? half_spectrum(ctx, length)
                                                             : length;
        TRY(kit_check_dim(ctx, out->dim[at], "the length of the transform"));
    }
    out->dim[out->rank - 1] = gives_real(attrs) ? 1 : 2;
    return STATUS_OK;
}

typedef struct DftRun {
    const Tensor *in;
    Tensor *out;
    const DftAttrs *attrs;
    Fft fft;
    double *lines;
    int64_t in_extent, out_extent, inner; /* along the axis; positions behind it, without the parts */
    int64_t in_parts, out_parts;
} DftRun;

/* Loads the numbers that there are, and the mirrored half of a one-sided spectrum. */
static void load_line(const DftRun *run, int64_t outer, int64_t inner, double *line) {
    int64_t n = run->fft.n, count = min_i64(run->in_extent, gives_real(run->attrs) ? n / 2 + 1 : n);
    memset(line, 0, 2 * (size_t)n * sizeof *line);
    for (int64_t i = 0; i < count; ++i) {
        int64_t at = ((outer * run->in_extent + i) * run->inner + inner) * run->in_parts;
        line[2 * i] = dtype_load_f64(run->in->dtype, run->in->data, at);
        line[2 * i + 1] = run->in_parts == 2 ? dtype_load_f64(run->in->dtype, run->in->data, at + 1) : 0;
    }
    for (int64_t i = n / 2 + 1; gives_real(run->attrs) && i < n; ++i) {
        line[2 * i] = line[2 * (n - i)];
        line[2 * i + 1] = -line[2 * (n - i) + 1];
    }
}

static void store_line(const DftRun *run, int64_t outer, int64_t inner, const double *line) {
    double scale = run->attrs->inverse ? 1.0 / (double)run->fft.n : 1.0;
    for (int64_t i = 0; i < run->out_extent; ++i) {
        int64_t at = ((outer * run->out_extent + i) * run->inner + inner) * run->out_parts;
        for (int64_t part = 0; part < run->out_parts; ++part)
            dtype_store_f64(run->out->dtype, run->out->data, at + part, line[2 * i + part] * scale);
    }
}

static void dft_lines(void *context, int64_t first, int64_t last, int worker) {
    const DftRun *run = context;
    double *line = run->lines + (size_t)worker * line_size(run->fft.n);
    for (int64_t i = first; i < last; ++i) {
        load_line(run, i / run->inner, i % run->inner, line);
        fft_run(&run->fft, line, run->attrs->inverse, line + 2 * run->fft.n);
        store_line(run, i / run->inner, i % run->inner, line);
    }
}

/* The axis may be data that is not there yet: any axis but the last might be it. */
size_t scratch_DFT(const KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0], *out = ctx->outputs[0];
    int64_t longest = 1;
    for (int32_t i = 0; i < in->rank - 1; ++i)
        longest = max_i64(longest, max_i64(in->dim[i], 2 * max_i64(out->dim[i], 0)));
    return spectrum_scratch(ctx, longest);
}

static int64_t scalar_or(const Tensor *tensor, int64_t fallback) {
    return tensor == NULL ? fallback : kit_index(tensor, 0);
}

Status kernel_DFT(KernelCtx *ctx) {
    const DftAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    int32_t axis = 0, rank = in->rank;
    ThreadPool *pool;
    TRY(dft_axis(scalar_or(kernel_input(ctx, 2), -2), rank, &axis, ctx->diag));
    int64_t fallback = gives_real(attrs) ? 2 * (in->dim[axis] - 1) : in->dim[axis];
    int64_t n = scalar_or(kernel_input(ctx, 1), fallback);
    if (tensor_count(out) == 0) return STATUS_OK;
    DftRun run = {.in = in,
                  .out = out,
                  .attrs = attrs,
                  .in_extent = in->dim[axis],
                  .out_extent = out->dim[axis],
                  .inner = tensor_span(in, axis + 1, rank - 1),
                  .in_parts = in->dim[rank - 1],
                  .out_parts = out->dim[rank - 1]};
    TRY(spectrum_begin(ctx, n, &run.fft, &run.lines, &pool));
    if (run.out_extent != (attrs->one_sided && !attrs->inverse ? n / 2 + 1 : n))
        return FAIL(ctx->diag, STATUS_BAD_DATA, "a transform of length %lld does not give extent %lld",
                    (long long)n, (long long)run.out_extent);
    parallel_for(pool, tensor_span(in, 0, axis) * run.inner, max_i64(1, GRAIN / n), dft_lines, &run);
    return STATUS_OK;
}

/* -- STFT -- */

Status parse_STFT(const ParseCtx *ctx, const void **attrs) {
    StftAttrs *out = ARENA_NEW(ctx->arena, StftAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(parse_flag(ctx, "onesided", 1, &out->one_sided));
    *attrs = out;
    return STATUS_OK;
}

/* The frame's length: as given, else the window's, else the signal's. */
static Status frame_length(InferCtx *ctx, Dim *length, bool *known) {
    if (infer_input(ctx, 3) != NULL) return size_input(ctx, 3, "frame_length", length, known);
    *known = true;
    *length = infer_input(ctx, 2) != NULL ? ctx->inputs[2]->shape.dim[0] : ctx->inputs[0]->shape.dim[1];
    return STATUS_OK;
}

Status infer_STFT(InferCtx *ctx) {
    const StftAttrs *attrs = ctx->attrs;
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    Dim step = 0, length = 0;
    bool step_known, length_known;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 2, 3)); /* rank 2: real, without the dimension of parts */
    if (in->rank == 3 && dim_is_exact(in->dim[2]) && in->dim[2] != 1 && in->dim[2] != 2)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the last dimension is %lld, expected 1 or 2",
                    (long long)in->dim[2]);
    if (infer_input(ctx, 2) != NULL) {
        TRY(kit_expect_rank(ctx, 2, 1, 1));
        TRY(kit_expect_dtype_like(ctx, 2, 0));
    }
    TRY(size_input(ctx, 1, "frame_step", &step, &step_known));
    TRY(frame_length(ctx, &length, &length_known));
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    kit_late_shape(ctx, 4, "stft", out);
    out->dim[0] = in->dim[0];
    out->dim[3] = 2;
    if (length_known) out->dim[2] = attrs->one_sided ? half_spectrum(ctx, length) : length;
    if (length_known && step_known) {
        Dim frames = dim_floor_div(ctx->dims, dim_sub(ctx->dims, in->dim[1], length), step);
        out->dim[1] = dim_max(ctx->dims, 0, dim_add(ctx->dims, frames, 1));
    }
    return STATUS_OK;
}

typedef struct StftRun {
    const Tensor *in, *window;
    Tensor *out;
    Fft fft;
    double *lines;
    int64_t frames, bins, step, length, parts;
} StftRun;

/* Sample i of a frame, windowed; zero behind the window and behind the signal. */
static void load_frame(const StftRun *run, int64_t batch, int64_t frame, double *line) {
    DType dtype = run->in->dtype;
    int64_t n = run->fft.n, first = frame * run->step;
    int64_t count = run->window == NULL ? n : min_i64(n, run->window->dim[0]);
    memset(line, 0, 2 * (size_t)n * sizeof *line);
    for (int64_t i = 0; i < min_i64(count, run->length - first); ++i) {
        double weight = run->window == NULL ? 1 : dtype_load_f64(dtype, run->window->data, i);
        int64_t at = (batch * run->length + first + i) * run->parts;
        for (int64_t part = 0; part < run->parts; ++part)
            line[2 * i + part] = weight * dtype_load_f64(dtype, run->in->data, at + part);
    }
}

static void stft_frames(void *context, int64_t first, int64_t last, int worker) {
    const StftRun *run = context;
    double *line = run->lines + (size_t)worker * line_size(run->fft.n);
    for (int64_t i = first; i < last; ++i) {
        load_frame(run, i / run->frames, i % run->frames, line);
        fft_run(&run->fft, line, false, line + 2 * run->fft.n);
        dtype_write_f64(run->out->dtype, run->out->data, i * run->bins * 2, run->bins * 2, line);
    }
}

size_t scratch_STFT(const KernelCtx *ctx) {
    return spectrum_scratch(ctx, 2 * max_i64(ctx->outputs[0]->dim[2], 0));
}

Status kernel_STFT(KernelCtx *ctx) {
    const StftAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0], *window = kernel_input(ctx, 2);
    Tensor *out = ctx->outputs[0];
    ThreadPool *pool;
    int64_t n = scalar_or(kernel_input(ctx, 3), window != NULL ? window->dim[0] : in->dim[1]);
    StftRun run = {.in = in,
                   .window = window,
                   .out = out,
                   .frames = out->dim[1],
                   .bins = out->dim[2],
                   .step = kit_index(ctx->inputs[1], 0),
                   .length = in->dim[1],
                   .parts = in->rank == 3 ? in->dim[2] : 1};
    if (tensor_count(out) == 0) return STATUS_OK;
    TRY(spectrum_begin(ctx, n, &run.fft, &run.lines, &pool));
    if (run.bins != (attrs->one_sided ? n / 2 + 1 : n) || run.step < 1 ||
        (run.frames - 1) * run.step > run.length - n)
        return FAIL(ctx->diag, STATUS_BAD_DATA,
                    "%lld frames of %lld samples do not fit into a signal of %lld", (long long)run.frames,
                    (long long)n, (long long)run.length);
    parallel_for(pool, out->dim[0] * run.frames, max_i64(1, GRAIN / n), stft_frames, &run);
    return STATUS_OK;
}
