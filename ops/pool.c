/* MaxPool, AveragePool, LpPool, in one to three dimensions. */
#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ops/kit.h"
#include "ops/pool.h"

typedef enum PoolKind { POOL_MAX, POOL_AVERAGE, POOL_LP } PoolKind;

static Status parse_pool(const ParseCtx *ctx, const void **attrs) {
    PoolAttrs *own = ARENA_NEW(ctx->arena, PoolAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(window_parse(ctx, &own->window));
    if (!own->window.has_kernel) return FAIL(ctx->diag, STATUS_BAD_MODEL, "kernel_shape is missing");
    TRY(attr_int(ctx->list, "ceil_mode", 0, &own->ceil_mode, ctx->diag));
    TRY(attr_int_in(ctx->list, "storage_order", 0, 0, 1, &own->storage_order, ctx->diag));
    TRY(attr_int(ctx->list, "count_include_pad", 0, &own->count_include_pad, ctx->diag));
    TRY(attr_int_in(ctx->list, "p", 2, 1, INT32_MAX, &own->p, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

Status parse_MaxPool(const ParseCtx *ctx, const void **attrs) {
    return parse_pool(ctx, attrs);
}

Status parse_AveragePool(const ParseCtx *ctx, const void **attrs) {
    return parse_pool(ctx, attrs);
}

Status parse_LpPool(const ParseCtx *ctx, const void **attrs) {
    return parse_pool(ctx, attrs);
}

static Status infer_pool(InferCtx *ctx) {
    const PoolAttrs *attrs = ctx->attrs;
    int32_t axes;
    TRY(window_check_axes(ctx, &attrs->window, 0, &axes));
    TRY(kit_infer_same(ctx));
    Shape *out = &ctx->outputs[0].shape;
    for (int32_t i = 0; i < axes; ++i)
        TRY(window_extent(ctx, &attrs->window, i, out->dim[2 + i], attrs->window.kernel[i],
                          attrs->ceil_mode != 0, &out->dim[2 + i]));
    return STATUS_OK;
}

Status infer_MaxPool(InferCtx *ctx) {
    DType dtype = ctx->inputs[0]->dtype;
    if (!dtype_is_float(dtype) && !dtype_is_integer(dtype))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input 0 is %s, expected numbers", dtype_name(dtype));
    TRY(infer_pool(ctx));
    if (ctx->output_count > 1) {
        ctx->outputs[1].dtype = DTYPE_I64;
        ctx->outputs[1].shape = ctx->outputs[0].shape;
    }
    return STATUS_OK;
}

Status infer_AveragePool(InferCtx *ctx) {
    TRY(kit_expect_float(ctx, 0));
    return infer_pool(ctx);
}

Status infer_LpPool(InferCtx *ctx) {
    TRY(kit_expect_float(ctx, 0));
    return infer_pool(ctx);
}

/* -- one output at a time: any dtype, any number of axes -- */

typedef struct PoolRun {
    PoolKind kind;
    const PoolAttrs *attrs;
    const Tensor *x;
    Tensor *y, *indices; /* indices: NULL unless wanted */
    Window window;
    int64_t line;   /* floats of a worker's line buffer */
    float *scratch; /* of all workers */
} PoolRun;

/* The part of the input that one window covers. */
typedef struct Cover {
    int64_t first[WINDOW_AXES], last[WINDOW_AXES]; /* taps */
    int64_t start[WINDOW_AXES];                    /* input position of tap 0 */
} Cover;

static Cover cover_of(const Window *window, const int64_t *position) {
    Cover cover;
    for (int i = 0; i < WINDOW_AXES; ++i) {
        window_taps(window, i, position[i], &cover.first[i], &cover.last[i]);
        cover.start[i] = position[i] * window->stride[i] - window->pad[i];
    }
    return cover;
}

/* How many elements an average over position `at` of an axis divides by. */
static int64_t divisor(const Window *window, int axis, int64_t at, bool include_pad) {
    int64_t first, last;
    window_taps(window, axis, at, &first, &last);
    if (!include_pad) return last - first;
    int64_t room = window->in[axis] + window->pad_end[axis] + window->pad[axis] - at * window->stride[axis];
    return min_i64(window->kernel[axis], ceil_div_i64(room, window->dilation[axis]));
}

/* Combines the covered elements of the plane at element `base`; *where gets the position of the maximum. */
static double combine(const PoolRun *run, int64_t base, const Cover *cover, int64_t where[WINDOW_AXES]) {
    const Window *win = &run->window;
    double result = run->kind == POOL_MAX ? -INFINITY : 0, p = (double)run->attrs->p;
    for (int64_t i = cover->first[0]; i < cover->last[0]; ++i)
        for (int64_t j = cover->first[1]; j < cover->last[1]; ++j)
            for (int64_t k = cover->first[2]; k < cover->last[2]; ++k) {
                int64_t z = cover->start[0] + i * win->dilation[0],
                        y = cover->start[1] + j * win->dilation[1];
                int64_t x = cover->start[2] + k * win->dilation[2];
                double value = kit_real(run->x, base + (z * win->in[1] + y) * win->in[2] + x);
                if (run->kind == POOL_AVERAGE) result += value;
                if (run->kind == POOL_LP) result += p == 2 ? value * value : pow(fabs(value), p);
                if (run->kind != POOL_MAX || (value <= result && where[0] >= 0)) continue;
                result = value;
                where[0] = z;
                where[1] = y;
                where[2] = x;
            }
    return result;
}

/* The index that MaxPool reports: over the whole input, spatial axes in either order. */
static int64_t index_of(const PoolRun *run, int64_t plane, const int64_t where[WINDOW_AXES]) {
    const int64_t *in = run->window.in;
    if (run->attrs->storage_order == 0)
        return plane * run->window.in_count + (where[0] * in[1] + where[1]) * in[2] + where[2];
    return plane * run->window.in_count + (where[2] * in[1] + where[1]) * in[0] + where[0];
}

static void run_outputs(void *context, int64_t first, int64_t last, int worker) {
    const PoolRun *run = context;
    const Window *win = &run->window;
    bool include_pad = run->attrs->count_include_pad != 0;
    (void)worker;
    for (int64_t index = first; index < last; ++index) {
        int64_t plane = index / win->out_count, rest = index % win->out_count;
        int64_t position[WINDOW_AXES] = {rest / win->out[2] / win->out[1], rest / win->out[2] % win->out[1],
                                         rest % win->out[2]};
        int64_t where[WINDOW_AXES] = {-1, 0, 0};
        Cover cover = cover_of(win, position);
        double value = combine(run, plane * win->in_count, &cover, where);
        if (run->kind == POOL_LP)
            value = run->attrs->p == 2 ? sqrt(value) : pow(value, 1 / (double)run->attrs->p);
        if (run->kind == POOL_AVERAGE) {
            int64_t count = 1;
            for (int i = 0; i < WINDOW_AXES; ++i) count *= divisor(win, i, position[i], include_pad);
            value = count > 0 ? value / (double)count : 0;
        }
        dtype_store_f64(run->y->dtype, run->y->data, index, value);
        if (run->indices != NULL)
            ((int64_t *)run->indices->data)[index] = where[0] < 0 ? 0 : index_of(run, plane, where);
    }
}

/* -- f32: planes and rows first, then columns, each in vectors -- */

SIMD_CLONES static void max_into(float *restrict to, const float *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i] > to[i] ? from[i] : to[i];
}

SIMD_CLONES static void max_into_by_two(float *restrict to, const float *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[2 * i] > to[i] ? from[2 * i] : to[i];
}

SIMD_CLONES static void add_into(float *restrict to, const float *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

SIMD_CLONES static void add_into_by_two(float *restrict to, const float *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] += from[2 * i];
}

/* to[i] = max or sum of itself and from[i * stride] */
static void fold_line(PoolKind kind, float *to, const float *from, int64_t stride, int64_t count) {
    bool max = kind == POOL_MAX;
    if (stride == 1) {
        (max ? max_into : add_into)(to, from, count);
    } else if (stride == 2) {
        (max ? max_into_by_two : add_into_by_two)(to, from, count);
    } else {
        for (int64_t i = 0; i < count; ++i) {
            float value = from[i * stride];
            to[i] = !max ? to[i] + value : value > to[i] ? value : to[i];
        }
    }
}

static void fill_line(float *to, float value, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = value;
}

/* Length of a line that covers all windows of a row, padding included; -1 where lines are not worth it. */
static int64_t line_length(const PoolRun *run) {
    const Window *win = &run->window;
    if (run->x->dtype != DTYPE_F32 || run->indices != NULL || run->kind == POOL_LP) return -1;
    int64_t length = (win->out[2] - 1) * win->stride[2] + (win->kernel[2] - 1) * win->dilation[2] + 1;
    length = max_i64(length, win->pad[2] + win->in[2]);
    return length <= 2 * win->in[2] + 4096 ? length : -1;
}

/* Folds the rows that the windows of row `row` of plane `out_z` cover. */
static void fold_rows(const PoolRun *run, const float *volume, int64_t out_z, int64_t row, float *to) {
    const Window *win = &run->window;
    int64_t first_z, last_z, first, last;
    window_taps(win, 0, out_z, &first_z, &last_z);
    window_taps(win, 1, row, &first, &last);
    for (int64_t tap_z = first_z; tap_z < last_z; ++tap_z)
        for (int64_t tap = first; tap < last; ++tap) {
            int64_t z = out_z * win->stride[0] - win->pad[0] + tap_z * win->dilation[0];
            int64_t y = row * win->stride[1] - win->pad[1] + tap * win->dilation[1];
            fold_line(run->kind, to, volume + (z * win->in[1] + y) * win->in[2], 1, win->in[2]);
        }
}

SIMD_CLONES static void divide_line(float *to, float divisor, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] /= divisor;
}

/* Sums of windows that cover `lines` rows become averages. */
static void average_line(const PoolRun *run, int64_t lines, float *to) {
    const Window *win = &run->window;
    bool include_pad = run->attrs->count_include_pad != 0;
    /* windows [inside, beyond) pass neither end of the row */
    int64_t span = (win->kernel[2] - 1) * win->dilation[2], room = win->in[2] + win->pad[2] - span;
    int64_t inside = min_i64(ceil_div_i64(win->pad[2], win->stride[2]), win->out[2]);
    int64_t beyond = clamp_i64(ceil_div_i64(room, win->stride[2]), inside, win->out[2]);
    for (int64_t i = 0; i < win->out[2]; ++i) {
        if (i == inside) i = beyond;
        if (i == win->out[2]) break;
        int64_t count = lines * divisor(win, 2, i, include_pad);
        to[i] = count > 0 ? to[i] / (float)count : 0;
    }
    int64_t count = lines * win->kernel[2];
    if (count > 0)
        divide_line(to + inside, (float)count, beyond - inside);
    else
        fill_line(to + inside, 0, beyond - inside);
}

static void run_row(const PoolRun *run, const float *volume, int64_t out_z, int64_t row, float *line,
                    float *to) {
    const Window *win = &run->window;
    float empty = run->kind == POOL_MAX ? -INFINITY : 0;
    fill_line(line, empty, run->line);
    fold_rows(run, volume, out_z, row, line + win->pad[2]);
    fill_line(to, empty, win->out[2]);
    for (int64_t tap = 0; tap < win->kernel[2]; ++tap)
        fold_line(run->kind, to, line + tap * win->dilation[2], win->stride[2], win->out[2]);
    if (run->kind == POOL_MAX) return;
    bool include_pad = run->attrs->count_include_pad != 0;
    average_line(run, divisor(win, 0, out_z, include_pad) * divisor(win, 1, row, include_pad), to);
}

static void run_rows(void *context, int64_t first, int64_t last, int worker) {
    const PoolRun *run = context;
    const Window *win = &run->window;
    float *line = run->scratch + worker * run->line;
    for (int64_t index = first; index < last; ++index) {
        int64_t row = index % win->out[1], plane = index / win->out[1];
        const float *volume = (const float *)run->x->data + plane / win->out[0] * win->in_count;
        run_row(run, volume, plane % win->out[0], row, line, (float *)run->y->data + index * win->out[2]);
    }
}

static PoolRun pool_make(const KernelCtx *ctx, PoolKind kind) {
    PoolRun run = {.kind = kind,
                   .attrs = ctx->attrs,
                   .x = ctx->inputs[0],
                   .y = ctx->outputs[0],
                   .indices = kernel_result(ctx, 1)};
    run.window = window_of(&run.attrs->window, run.attrs->window.kernel, run.x, run.y);
    run.line = line_length(&run);
    return run;
}

static size_t scratch_pool(const KernelCtx *ctx, PoolKind kind) {
    PoolRun run = pool_make(ctx, kind);
    return run.line < 0 ? 0 : kit_worker_scratch(ctx, (size_t)run.line * sizeof(float));
}

enum { LEAST_ELEMENTS = 1 << 14 /* worth handing to a thread */ };

static Status run_pool(KernelCtx *ctx, PoolKind kind) {
    PoolRun run = pool_make(ctx, kind);
    const Window *win = &run.window;
    int64_t planes = run.x->dim[0] * run.x->dim[1], work = max_i64(1, min_i64(win->taps, LEAST_ELEMENTS));
    int64_t row_work = win->kernel[0] * win->kernel[1] + win->kernel[2];
    size_t line = (size_t)run.line * sizeof(float);
    run.scratch = ctx->host->scratch;
    if (run.line >= 0 && ctx->host->scratch_size >= line)
        parallel_for(kit_worker_pool(ctx, line), planes * win->out[0] * win->out[1],
                     1 + LEAST_ELEMENTS / max_i64(1, row_work * run.line), run_rows, &run);
    else
        parallel_for(ctx->host->pool, planes * win->out_count, 1 + LEAST_ELEMENTS / work, run_outputs, &run);
    return STATUS_OK;
}

size_t scratch_MaxPool(const KernelCtx *ctx) {
    return scratch_pool(ctx, POOL_MAX);
}

Status kernel_MaxPool(KernelCtx *ctx) {
    return run_pool(ctx, POOL_MAX);
}

size_t scratch_AveragePool(const KernelCtx *ctx) {
    return scratch_pool(ctx, POOL_AVERAGE);
}

Status kernel_AveragePool(KernelCtx *ctx) {
    return run_pool(ctx, POOL_AVERAGE);
}

Status kernel_LpPool(KernelCtx *ctx) {
    return run_pool(ctx, POOL_LP);
}
