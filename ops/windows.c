/* HannWindow, HammingWindow, BlackmanWindow and MelWeightMatrix. */
#include <math.h>

#include "ops/kit.h"
#include "ops/signal.h"
#include "ops/strided.h"

#define PI 3.14159265358979323846

static Status parse_window(const ParseCtx *ctx, const void **attrs) {
    SignalWindowAttrs *out = ARENA_NEW(ctx->arena, SignalWindowAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t dtype, periodic;
    TRY(attr_int(ctx->list, "output_datatype", DTYPE_F32, &dtype, ctx->diag));
    TRY(attr_int_in(ctx->list, "periodic", 1, 0, 1, &periodic, ctx->diag));
    if (!dtype_is_valid(dtype) || (!dtype_is_float((DType)dtype) && !dtype_is_integer((DType)dtype)))
        return FAIL(ctx->diag, STATUS_BAD_MODEL,
                    "attribute 'output_datatype' is %lld, which is no numeric type", (long long)dtype);
    *out = (SignalWindowAttrs){(DType)dtype, periodic != 0};
    *attrs = out;
    return STATUS_OK;
}

/* A scalar input that becomes an extent; fresh where it is late. */
static Status extent_of(InferCtx *ctx, int32_t input, const char *what, Dim *out) {
    bool known;
    TRY(kit_dim_of(ctx, ctx->inputs[input], what, out, &known));
    if (!known) *out = dim_fresh(ctx->dims, what);
    return kit_check_dim(ctx, *out, what);
}

static Status infer_window(InferCtx *ctx) {
    const SignalWindowAttrs *attrs = ctx->attrs;
    ctx->outputs[0].dtype = attrs->dtype;
    ctx->outputs[0].shape.rank = 1;
    return extent_of(ctx, 0, "size", &ctx->outputs[0].shape.dim[0]);
}

/* Integers are cut off, as a cast does. */
static void store(Tensor *out, int64_t i, double value) {
    dtype_store_f64(out->dtype, out->data, i, dtype_is_integer(out->dtype) ? trunc(value) : value);
}

/* a0 - a1 cos(x) + a2 cos(2x) over one period, added so that the middle of all three is 1 exactly. */
static Status kernel_cosine_window(KernelCtx *ctx, double a0, double a1, double a2) {
    const SignalWindowAttrs *attrs = ctx->attrs;
    Tensor *out = ctx->outputs[0];
    int64_t size = out->dim[0], period = attrs->periodic ? size : size - 1;
    for (int64_t i = 0; i < size; ++i) {
        double x = 2 * PI * (double)i / (double)period;
        store(out, i, period == 0 ? 1 : a0 + a2 * cos(2 * x) - a1 * cos(x));
    }
    return STATUS_OK;
}

Status parse_HannWindow(const ParseCtx *ctx, const void **attrs) {
    return parse_window(ctx, attrs);
}

Status infer_HannWindow(InferCtx *ctx) {
    return infer_window(ctx);
}

Status kernel_HannWindow(KernelCtx *ctx) {
    return kernel_cosine_window(ctx, 0.5, 0.5, 0);
}

Status parse_HammingWindow(const ParseCtx *ctx, const void **attrs) {
    return parse_window(ctx, attrs);
}

Status infer_HammingWindow(InferCtx *ctx) {
    return infer_window(ctx);
}

Status kernel_HammingWindow(KernelCtx *ctx) {
    return kernel_cosine_window(ctx, 25.0 / 46, 21.0 / 46, 0);
}

Status parse_BlackmanWindow(const ParseCtx *ctx, const void **attrs) {
    return parse_window(ctx, attrs);
}

Status infer_BlackmanWindow(InferCtx *ctx) {
    return infer_window(ctx);
}

Status kernel_BlackmanWindow(KernelCtx *ctx) {
    return kernel_cosine_window(ctx, 0.42, 0.5, 0.08);
}

/* -- MelWeightMatrix -- */

Status parse_MelWeightMatrix(const ParseCtx *ctx, const void **attrs) {
    return parse_window(ctx, attrs);
}

Status infer_MelWeightMatrix(InferCtx *ctx) {
    const SignalWindowAttrs *attrs = ctx->attrs;
    Shape *out = &ctx->outputs[0].shape;
    Dim length = 0;
    bool known;
    double ignored;
    for (int32_t i = 2; i < 5; ++i) TRY(kit_scalar_f64(ctx, i, &ignored, &known));
    ctx->outputs[0].dtype = attrs->dtype;
    out->rank = 2;
    TRY(extent_of(ctx, 1, "dft_length", &length));
    out->dim[0] = dim_add(ctx->dims, dim_floor_div(ctx->dims, length, 2), 1);
    return extent_of(ctx, 0, "num_mel_bins", &out->dim[1]);
}

/* Edge i of the triangular bands, equally spaced on the mel scale, as a bin of the spectrum. */
typedef struct MelScale {
    double low, step; /* mel */
    double bins_per_hertz;
} MelScale;

static double mel_of_hertz(double hertz) {
    return 2595 * log10(1 + hertz / 700);
}

static double mel_edge(const MelScale *scale, int64_t i) {
    double hertz = 700 * (pow(10, (scale->low + (double)i * scale->step) / 2595) - 1);
    return floor(hertz * scale->bins_per_hertz);
}

/* A triangle that rises from edge i to 1 at the next and falls to the one after. */
static void write_band(Tensor *out, int64_t band, int64_t left, int64_t center, int64_t right) {
    int64_t columns = out->dim[1];
    for (int64_t j = left; j <= center; ++j)
        store(out, j * columns + band, center == left ? 1 : (double)(j - left) / (double)(center - left));
    for (int64_t j = center; j < right; ++j)
        store(out, j * columns + band, (double)(right - j) / (double)(right - center));
}

Status kernel_MelWeightMatrix(KernelCtx *ctx) {
    Tensor *out = ctx->outputs[0];
    int64_t bands = out->dim[1], rows = out->dim[0];
    double value[3];
    for (int32_t i = 0; i < 3; ++i)
        value[i] = dtype_load_f64(ctx->inputs[i + 2]->dtype, ctx->inputs[i + 2]->data, 0);
    int64_t length = kit_index(ctx->inputs[1], 0);
    MelScale scale = {.low = mel_of_hertz(value[1]), .bins_per_hertz = (double)(length + 1) / value[0]};
    scale.step = (mel_of_hertz(value[2]) - scale.low) / (double)(bands + 2);
    elements_fill(out->dtype, out->data, 0, tensor_count(out), NULL, 0);
    for (int64_t i = 0; i < bands; ++i) {
        double left = mel_edge(&scale, i), center = mel_edge(&scale, i + 1), right = mel_edge(&scale, i + 2);
        if (!(left >= 0 && left <= center && center <= right && center < (double)rows &&
              right <= (double)rows))
            return FAIL(ctx->diag, STATUS_BAD_DATA, "band %lld is from bin %g to %g of a spectrum of %lld",
                        (long long)i, left, right, (long long)rows);
        write_band(out, i, (int64_t)left, (int64_t)center, (int64_t)right);
    }
    return STATUS_OK;
}
