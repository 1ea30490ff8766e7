/* Softmax, LogSoftmax and Hardmax along one axis. */
#include "ops/softmax.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/simd.h"
#include "ops/fastmath.h"
#include "ops/kit.h"

static Status parse_softmax(const ParseCtx *ctx, bool logarithm, const void **attrs) {
    SoftmaxAttrs *own = ARENA_NEW(ctx->arena, SoftmaxAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(attr_int(ctx->list, "axis", -1, &own->axis, ctx->diag));
    own->logarithm = logarithm;
    *attrs = own;
    return STATUS_OK;
}

Status parse_Softmax(const ParseCtx *ctx, const void **attrs) {
    return parse_softmax(ctx, false, attrs);
}

Status parse_LogSoftmax(const ParseCtx *ctx, const void **attrs) {
    return parse_softmax(ctx, true, attrs);
}

Status parse_Hardmax(const ParseCtx *ctx, const void **attrs) {
    return parse_softmax(ctx, false, attrs);
}

Status infer_Softmax(InferCtx *ctx) {
    int32_t axis;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_axis(((const SoftmaxAttrs *)ctx->attrs)->axis, ctx->inputs[0]->shape.rank, &axis, ctx->diag));
    return kit_infer_same(ctx);
}

Status infer_LogSoftmax(InferCtx *ctx) {
    return infer_Softmax(ctx);
}

Status infer_Hardmax(InferCtx *ctx) {
    return infer_Softmax(ctx);
}

/* -- kernels -- */

enum { COLUMNS = 256, ROW_BLOCK = 256, LANES = 16, ELEMENTS_PER_PIECE = 16384 };

/* The tensor as [outer, extent, inner]. */
typedef struct AxisView {
    const Tensor *in;
    Tensor *out;
    int64_t outer, extent, inner;
    bool logarithm;
} AxisView;

static Status axis_view(const KernelCtx *ctx, AxisView *view) {
    const SoftmaxAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    int32_t axis;
    TRY(kit_axis(attrs->axis, in->rank, &axis, ctx->diag));
    *view = (AxisView){.in = in,
                       .out = ctx->outputs[0],
                       .outer = tensor_span(in, 0, axis),
                       .extent = in->dim[axis],
                       .inner = tensor_span(in, axis + 1, in->rank),
                       .logarithm = attrs->logarithm};
    return STATUS_OK;
}

/* Contiguous f32 rows; x and y may be the same. */

SIMD_CLONES static float row_max(int64_t count, const float *x) {
    float lane[LANES], largest = -INFINITY;
    int64_t i = 0;
    for (int j = 0; j < LANES; ++j) lane[j] = -INFINITY;
    for (; count - i >= LANES; i += LANES)
        for (int j = 0; j < LANES; ++j) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (int j = 0; j < LANES; ++j) largest = lane[j] > largest ? lane[j] : largest;
    for (; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
    return largest;
}

/* y = exp(x - m), or nothing where y is NULL; returns the sum. */
SIMD_CLONES static float row_exp(int64_t count, const float *x, float m, float *y) {
    float e[ROW_BLOCK], lane[LANES] = {0}, sum = 0;
    for (int64_t done = 0; done < count; done += ROW_BLOCK) {
        int64_t length = min_i64(ROW_BLOCK, count - done), i = 0;
        for (int64_t k = 0; k < length; ++k) e[k] = exp_f32(x[done + k] - m);
        for (; length - i >= LANES; i += LANES)
            for (int j = 0; j < LANES; ++j) lane[j] += e[i + j];
        for (; i < length; ++i) sum += e[i];
        if (y != NULL) memcpy(y + done, e, (size_t)length * sizeof *e);
    }
    for (int j = 0; j < LANES; ++j) sum += lane[j];
    return sum;
}

SIMD_CLONES static void row_scale(int64_t count, const float *x, float factor, float shift, float *y) {
    for (int64_t i = 0; i < count; ++i) y[i] = x[i] * factor + shift;
}

static void softmax_row_f32(const AxisView *view, int64_t row) {
    const float *x = (const float *)view->in->data + row * view->extent;
    float *y = (float *)view->out->data + row * view->extent;
    float m = row_max(view->extent, x);
    if (view->logarithm) {
        float shift = m + logf(row_exp(view->extent, x, m, NULL));
        row_scale(view->extent, x, 1, -shift, y);
    } else {
        float sum = row_exp(view->extent, x, m, y);
        row_scale(view->extent, y, 1 / sum, 0, y);
    }
}

/* A row of narrower floats, block by block through f32. */
static void softmax_row_narrow(const AxisView *view, int64_t row) {
    DType dtype = view->in->dtype;
    int64_t base = row * view->extent;
    float x[ROW_BLOCK], m = -INFINITY, sum = 0;
    for (int64_t done = 0, count; done < view->extent; done += count) {
        count = min_i64(ROW_BLOCK, view->extent - done);
        dtype_read_f32(dtype, view->in->data, base + done, count, x);
        m = fmaxf(m, row_max(count, x));
    }
    for (int64_t done = 0, count; done < view->extent; done += count) {
        count = min_i64(ROW_BLOCK, view->extent - done);
        dtype_read_f32(dtype, view->in->data, base + done, count, x);
        sum += row_exp(count, x, m, NULL);
    }
    for (int64_t done = 0, count; done < view->extent; done += count) {
        count = min_i64(ROW_BLOCK, view->extent - done);
        dtype_read_f32(dtype, view->in->data, base + done, count, x);
        if (!view->logarithm) row_exp(count, x, m, x);
        row_scale(count, x, view->logarithm ? 1 : 1 / sum, view->logarithm ? -(m + logf(sum)) : 0, x);
        dtype_write_f32(dtype, view->out->data, base + done, count, x);
    }
}

static void softmax_rows(void *context, int64_t first, int64_t last, int worker) {
    const AxisView *view = context;
    (void)worker;
    for (int64_t row = first; row < last; ++row)
        if (view->in->dtype == DTYPE_F32)
            softmax_row_f32(view, row);
        else
            softmax_row_narrow(view, row);
}

/* f64, and any type along another axis: COLUMNS neighbours side by side, in double. */

static void column_results(const AxisView *view, int64_t base, int64_t count, const double *m,
                           const double *sum) {
    double x[COLUMNS];
    for (int64_t a = 0; a < view->extent; ++a) {
        dtype_read_f64(view->in->dtype, view->in->data, base + a * view->inner, count, x);
        for (int64_t i = 0; i < count; ++i)
            x[i] = view->logarithm ? x[i] - m[i] - log(sum[i]) : exp(x[i] - m[i]) / sum[i];
        dtype_write_f64(view->out->dtype, view->out->data, base + a * view->inner, count, x);
    }
}

static void softmax_columns(const AxisView *view, int64_t base, int64_t count) {
    double x[COLUMNS], m[COLUMNS], sum[COLUMNS] = {0};
    for (int64_t i = 0; i < count; ++i) m[i] = -(double)INFINITY;
    for (int64_t a = 0; a < view->extent; ++a) {
        dtype_read_f64(view->in->dtype, view->in->data, base + a * view->inner, count, x);
        for (int64_t i = 0; i < count; ++i) m[i] = x[i] > m[i] ? x[i] : m[i];
    }
    for (int64_t a = 0; a < view->extent; ++a) {
        dtype_read_f64(view->in->dtype, view->in->data, base + a * view->inner, count, x);
        for (int64_t i = 0; i < count; ++i) sum[i] += exp(x[i] - m[i]);
    }
    column_results(view, base, count, m, sum);
}

/* The same in f32, with vector code; m, sum, x and y are rows of `count` neighbours. */

SIMD_CLONES static void columns_max(int64_t count, const float *x, float *m) {
    for (int64_t i = 0; i < count; ++i) m[i] = x[i] > m[i] ? x[i] : m[i];
}

SIMD_CLONES static void columns_exp(int64_t count, const float *x, const float *m, float *y, float *sum) {
    for (int64_t i = 0; i < count; ++i) {
        float e = exp_f32(x[i] - m[i]);
        sum[i] += e;
        y[i] = e;
    }
}

SIMD_CLONES static void columns_scale(int64_t count, const float *factor, float *y) {
    for (int64_t i = 0; i < count; ++i) y[i] *= factor[i];
}

SIMD_CLONES static void columns_shift(int64_t count, const float *x, const float *shift, float *y) {
    for (int64_t i = 0; i < count; ++i) y[i] = x[i] - shift[i];
}

static void softmax_columns_f32(const AxisView *view, int64_t base, int64_t count) {
    float m[COLUMNS], sum[COLUMNS], unused[COLUMNS];
    const float *x = (const float *)view->in->data + base;
    float *y = (float *)view->out->data + base;
    int64_t stride = view->inner;
    for (int64_t i = 0; i < count; ++i) m[i] = -INFINITY, sum[i] = 0;
    for (int64_t a = 0; a < view->extent; ++a) columns_max(count, x + a * stride, m);
    for (int64_t a = 0; a < view->extent; ++a)
        columns_exp(count, x + a * stride, m, view->logarithm ? unused : y + a * stride, sum);
    for (int64_t i = 0; i < count; ++i) sum[i] = view->logarithm ? m[i] + logf(sum[i]) : 1 / sum[i];
    for (int64_t a = 0; a < view->extent; ++a) {
        if (view->logarithm)
            columns_shift(count, x + a * stride, sum, y + a * stride);
        else
            columns_scale(count, sum, y + a * stride);
    }
}

static void softmax_tiles(void *context, int64_t first, int64_t last, int worker) {
    const AxisView *view = context;
    int64_t tiles = ceil_div_i64(view->inner, COLUMNS);
    (void)worker;
    for (int64_t tile = first; tile < last; ++tile) {
        int64_t column = tile % tiles * COLUMNS, count = min_i64(COLUMNS, view->inner - column);
        int64_t base = tile / tiles * view->extent * view->inner + column;
        if (view->in->dtype == DTYPE_F32)
            softmax_columns_f32(view, base, count);
        else
            softmax_columns(view, base, count);
    }
}

Status kernel_Softmax(KernelCtx *ctx) {
    AxisView view;
    if (ctx->outputs[0] == NULL || tensor_count(ctx->inputs[0]) == 0) return STATUS_OK;
    TRY(axis_view(ctx, &view));
    bool rows = view.inner == 1 && view.in->dtype != DTYPE_F64;
    bool packed = dtype_bits(view.out->dtype) < 8; /* neighbours share bytes: one thread */
    int64_t units = rows ? view.outer : view.outer * ceil_div_i64(view.inner, COLUMNS);
    int64_t unit_work = view.extent * (rows ? 1 : min_i64(view.inner, COLUMNS));
    parallel_for(packed ? NULL : ctx->host->pool, units, max_i64(1, ELEMENTS_PER_PIECE / unit_work),
                 rows ? softmax_rows : softmax_tiles, &view);
    return STATUS_OK;
}

Status kernel_LogSoftmax(KernelCtx *ctx) {
    return kernel_Softmax(ctx);
}

/* The first element of the row, if it is not a number, else the first largest number. */
static int64_t first_largest(const AxisView *view, int64_t base) {
    int64_t at = 0;
    if (view->in->dtype == DTYPE_F32 && view->inner == 1) {
        const float *x = (const float *)view->in->data + base;
        if (isnan(x[0])) return base;
        float largest = row_max(view->extent, x);
        while (x[at] != largest) ++at;
        return base + at;
    }
    double largest = kit_real(view->in, base);
    for (int64_t a = 1; a < view->extent; ++a) {
        double x = kit_real(view->in, base + a * view->inner);
        if (x > largest) largest = x, at = a;
    }
    return base + at * view->inner;
}

static void hardmax_rows(void *context, int64_t first, int64_t last, int worker) {
    const AxisView *view = context;
    (void)worker;
    for (int64_t row = first; row < last; ++row) {
        int64_t base = row / view->inner * view->extent * view->inner + row % view->inner;
        dtype_store_f64(view->out->dtype, view->out->data, first_largest(view, base), 1);
    }
}

/* One at the first largest element, zero elsewhere. */
Status kernel_Hardmax(KernelCtx *ctx) {
    AxisView view;
    if (ctx->outputs[0] == NULL || tensor_count(ctx->inputs[0]) == 0) return STATUS_OK;
    TRY(axis_view(ctx, &view));
    memset(view.out->data, 0, tensor_bytes(view.out));
    bool packed = dtype_bits(view.out->dtype) < 8; /* neighbours share bytes: one thread */
    parallel_for(packed ? NULL : ctx->host->pool, view.outer * view.inner,
                 max_i64(1, ELEMENTS_PER_PIECE / view.extent), hardmax_rows, &view);
    return STATUS_OK;
}
