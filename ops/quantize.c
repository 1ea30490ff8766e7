/* QuantizeLinear, DequantizeLinear (per tensor, per axis, blocked) and DynamicQuantizeLinear. */
#include "ops/quantize.h"

#include <math.h>

#include "base/checked.h"
#include "base/half.h"
#include "base/simd.h"
#include "ops/kit.h"

static Status parse_dtype(const ParseCtx *ctx, const char *name, DType *out) {
    int64_t number;
    TRY(attr_int(ctx->list, name, DTYPE_NONE, &number, ctx->diag));
    *out = (DType)number;
    if (number == DTYPE_NONE || dtype_is_valid(number)) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute '%s' is %lld, which is no element type", name,
                (long long)number);
}

Status parse_QuantizeLinear(const ParseCtx *ctx, const void **attrs) {
    QuantizeAttrs *own = ARENA_NEW(ctx->arena, QuantizeAttrs);
    TRY_ALLOC(ctx->diag, own);
    int64_t saturate;
    TRY(attr_int(ctx->list, "axis", 1, &own->axis, ctx->diag));
    TRY(attr_int_in(ctx->list, "block_size", 0, 0, INT64_MAX, &own->block_size, ctx->diag));
    TRY(attr_int_in(ctx->list, "saturate", 1, 0, 1, &saturate, ctx->diag));
    TRY(parse_dtype(ctx, "output_dtype", &own->output_dtype));
    own->saturate = saturate;
    *attrs = own;
    return STATUS_OK;
}

Status parse_DequantizeLinear(const ParseCtx *ctx, const void **attrs) {
    return parse_QuantizeLinear(ctx, attrs);
}

Status parse_DynamicQuantizeLinear(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

/* -- inference -- */

static bool is_scalar(const Shape *shape) {
    return shape->rank == 0 || (shape->rank == 1 && shape->dim[0] == 1);
}

static Status check_extent(InferCtx *ctx, Dim found, Dim expected, const char *what) {
    if (!dim_is_exact(found) || !dim_is_exact(expected) || found == expected) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "the scale has %lld elements %s, expected %lld",
                (long long)found, what, (long long)expected);
}

/* A blocked scale has x's shape with the axis divided by the block size, rounded up. */
static Status check_blocks(InferCtx *ctx, const QuantizeAttrs *attrs, int32_t axis) {
    const Shape *x = &ctx->inputs[0]->shape, *scale = &ctx->inputs[1]->shape;
    TRY(kit_expect_rank(ctx, 1, x->rank, x->rank));
    for (int32_t i = 0; i < x->rank; ++i) {
        Dim expected = i == axis ? dim_ceil_div(ctx->dims, x->dim[i], attrs->block_size) : x->dim[i];
        TRY(check_extent(ctx, scale->dim[i], expected, "in one dimension"));
    }
    return STATUS_OK;
}

static Status check_scale(InferCtx *ctx) {
    const QuantizeAttrs *attrs = ctx->attrs;
    const Shape *x = &ctx->inputs[0]->shape, *scale = &ctx->inputs[1]->shape;
    const TypeInfo *zero = infer_input(ctx, 2);
    int32_t axis;
    TRY(kit_expect_float(ctx, 1));
    if (zero != NULL) {
        bool same = zero->shape.rank == scale->rank || (is_scalar(&zero->shape) && is_scalar(scale));
        for (int32_t i = 0; same && i < scale->rank && i < zero->shape.rank; ++i)
            same = !dim_is_exact(scale->dim[i]) || !dim_is_exact(zero->shape.dim[i]) ||
                   scale->dim[i] == zero->shape.dim[i];
        if (!same) return FAIL(ctx->diag, STATUS_BAD_MODEL, "scale and zero point have different shapes");
    }
    if (attrs->block_size == 0 && is_scalar(scale)) return STATUS_OK;
    TRY(kit_axis(attrs->axis, x->rank, &axis, ctx->diag));
    if (attrs->block_size != 0) return check_blocks(ctx, attrs, axis);
    TRY(kit_expect_rank(ctx, 1, 1, 1));
    return check_extent(ctx, scale->dim[0], x->dim[axis], "for the axis");
}

static bool is_quantized(DType dtype) {
    return dtype_is_integer(dtype) || (dtype_is_float(dtype) && dtype_bits(dtype) <= 8);
}

Status infer_QuantizeLinear(InferCtx *ctx) {
    const QuantizeAttrs *attrs = ctx->attrs;
    const TypeInfo *zero = infer_input(ctx, 2);
    DType from = ctx->inputs[0]->dtype, to = zero != NULL ? zero->dtype : attrs->output_dtype;
    if (to == DTYPE_NONE) to = DTYPE_U8;
    if (zero != NULL && attrs->output_dtype != DTYPE_NONE && attrs->output_dtype != to)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the zero point is %s, but output_dtype is %s",
                    dtype_name(to), dtype_name(attrs->output_dtype));
    if (!dtype_is_float(from) && from != DTYPE_I32)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input 0 is %s, expected floating-point or i32",
                    dtype_name(from));
    if (!is_quantized(to)) return FAIL(ctx->diag, STATUS_BAD_MODEL, "cannot quantize to %s", dtype_name(to));
    TRY(check_scale(ctx));
    TRY(kit_infer_same(ctx));
    ctx->outputs[0].dtype = to;
    return STATUS_OK;
}

Status infer_DequantizeLinear(InferCtx *ctx) {
    const QuantizeAttrs *attrs = ctx->attrs;
    if (!is_quantized(ctx->inputs[0]->dtype))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input 0 is %s, expected a quantized type",
                    dtype_name(ctx->inputs[0]->dtype));
    if (infer_input(ctx, 2) != NULL) TRY(kit_expect_dtype_like(ctx, 2, 0));
    TRY(check_scale(ctx));
    TRY(kit_infer_same(ctx));
    ctx->outputs[0].dtype = attrs->output_dtype != DTYPE_NONE ? attrs->output_dtype : ctx->inputs[1]->dtype;
    if (dtype_is_float(ctx->outputs[0].dtype)) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "cannot dequantize to %s", dtype_name(ctx->outputs[0].dtype));
}

Status infer_DynamicQuantizeLinear(InferCtx *ctx) {
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_infer_same(ctx));
    ctx->outputs[0].dtype = DTYPE_U8;
    ctx->outputs[1].dtype = DTYPE_F32;
    ctx->outputs[2].dtype = DTYPE_U8;
    return STATUS_OK;
}

/* -- kernels -- */

enum { QUANTIZE_BLOCK = 1024 };

/* One run of either operator. The parameters of element p are those at index
 * (p / (axis_extent * inner)) * blocks * inner + (p / inner % axis_extent) / block * inner + p % inner when
 * blocked, p / inner % axis_extent per axis, 0 per tensor. */
typedef struct Quantization {
    const Tensor *in, *scale, *zero; /* zero may be NULL */
    Tensor *out;
    bool per_tensor, saturate;
    int64_t axis_extent, inner, block_size; /* block_size 0: per axis */
} Quantization;

static int64_t parameter_index(const Quantization *run, int64_t p) {
    int64_t a = p / run->inner % run->axis_extent;
    if (run->block_size == 0) return a;
    int64_t outer = p / (run->inner * run->axis_extent),
            blocks = ceil_div_i64(run->axis_extent, run->block_size);
    return (outer * blocks + a / run->block_size) * run->inner + p % run->inner;
}

/* Elements from p on, at most limit, that have the same parameters. */
static int64_t parameter_run(const Quantization *run, int64_t p, int64_t limit) {
    if (run->per_tensor) return limit;
    if (run->inner > 1) return run->block_size == 0 ? min_i64(limit, run->inner - p % run->inner) : 1;
    if (run->block_size == 0) return 1;
    int64_t a = p % run->axis_extent;
    int64_t end = min_i64((a / run->block_size + 1) * run->block_size, run->axis_extent);
    return min_i64(limit, end - a);
}

static void read_parameters(const Quantization *run, int64_t first, int64_t count, float *scales,
                            float *zeros) {
    for (int64_t done = 0; done < count;) {
        int64_t p = first + done, length = parameter_run(run, p, count - done);
        int64_t index = run->per_tensor ? 0 : parameter_index(run, p);
        float scale = (float)dtype_load_f64(run->scale->dtype, run->scale->data, index);
        float zero = run->zero == NULL ? 0 : (float)dtype_load_f64(run->zero->dtype, run->zero->data, index);
        for (int64_t i = 0; i < length; ++i) scales[done + i] = scale, zeros[done + i] = zero;
        done += length;
    }
}

SIMD_CLONES static void quantize_f32(int64_t count, const float *scales, const float *zeros, const float *x,
                                     bool round, float *y) {
    if (round)
        for (int64_t i = 0; i < count; ++i) y[i] = rintf(x[i] / scales[i]) + zeros[i];
    else
        for (int64_t i = 0; i < count; ++i) y[i] = x[i] / scales[i] + zeros[i];
}

SIMD_CLONES static void dequantize_f32(int64_t count, const float *scales, const float *zeros, const float *x,
                                       float *y) {
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): read_parameters has filled count */
    for (int64_t i = 0; i < count; ++i) y[i] = (x[i] - zeros[i]) * scales[i];
}

/* Integers saturate when stored. */
static void store_quantized(const Quantization *run, int64_t first, int64_t count, const float *values) {
    DType to = run->out->dtype;
    if (!dtype_is_float(to) || dtype_bits(to) != 8) {
        dtype_write_f32(to, run->out->data, first, count, values);
        return;
    }
    uint8_t *out = (uint8_t *)run->out->data + first;
    for (int64_t i = 0; i < count; ++i) out[i] = minifloat_from_float(to, values[i], run->saturate);
}

/* Elements from `first` on as f32: the tensor's own, or buffer after filling it. */
static const float *read_block(const Tensor *in, int64_t first, int64_t count, float *buffer) {
    if (in->dtype == DTYPE_F32) return (const float *)in->data + first;
    dtype_read_f32(in->dtype, in->data, first, count, buffer);
    return buffer;
}

static void quantize_blocks(const Quantization *run, int64_t first_block, int64_t last_block, bool forward) {
    float buffer[QUANTIZE_BLOCK], result[QUANTIZE_BLOCK], scales[QUANTIZE_BLOCK], zeros[QUANTIZE_BLOCK];
    for (int64_t block = first_block; block < last_block; ++block) {
        int64_t first = block * QUANTIZE_BLOCK;
        int64_t count = min_i64(QUANTIZE_BLOCK, tensor_count(run->in) - first);
        const float *x = read_block(run->in, first, count, buffer);
        bool direct = !forward && run->out->dtype == DTYPE_F32;
        float *y = direct ? (float *)run->out->data + first : result;
        if (!run->per_tensor || block == first_block) read_parameters(run, first, count, scales, zeros);
        if (forward) {
            quantize_f32(count, scales, zeros, x, !dtype_is_float(run->out->dtype), y);
            store_quantized(run, first, count, y);
        } else {
            dequantize_f32(count, scales, zeros, x, y);
            if (!direct) dtype_write_f32(run->out->dtype, run->out->data, first, count, y);
        }
    }
}

static void quantize_body(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    quantize_blocks(context, first, last, true);
}

static void dequantize_body(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    quantize_blocks(context, first, last, false);
}

static Status run_quantization(KernelCtx *ctx, ParallelBody body) {
    enum { BLOCKS_PER_PIECE = 16 };
    const QuantizeAttrs *attrs = ctx->attrs;
    Quantization run = {.in = ctx->inputs[0],
                        .scale = ctx->inputs[1],
                        .zero = kernel_input(ctx, 2),
                        .out = ctx->outputs[0],
                        .saturate = attrs->saturate,
                        .block_size = attrs->block_size};
    if (run.out == NULL) return STATUS_OK;
    run.per_tensor = tensor_count(run.scale) == 1;
    if (!run.per_tensor) {
        int32_t axis;
        TRY(kit_axis(attrs->axis, run.in->rank, &axis, ctx->diag));
        run.axis_extent = run.in->dim[axis];
        run.inner = tensor_span(run.in, axis + 1, run.in->rank);
    }
    parallel_for(ctx->host->pool, ceil_div_i64(tensor_count(run.in), QUANTIZE_BLOCK), BLOCKS_PER_PIECE, body,
                 &run);
    return STATUS_OK;
}

Status kernel_QuantizeLinear(KernelCtx *ctx) {
    return run_quantization(ctx, quantize_body);
}

Status kernel_DequantizeLinear(KernelCtx *ctx) {
    return run_quantization(ctx, dequantize_body);
}

/* -- the range of a tensor, widened to contain 0: of each of some pieces, then of all -- */

enum { RANGE_PIECES = 64 };

typedef struct RangeRun {
    const Tensor *x;
    float low[RANGE_PIECES], high[RANGE_PIECES];
} RangeRun;

SIMD_CLONES static void widen_range(int64_t count, const float *x, float *low, float *high) {
    enum { LANES = 16 };
    float lows[LANES], highs[LANES];
    int64_t i = 0;
    for (int j = 0; j < LANES; ++j) lows[j] = *low, highs[j] = *high;
    for (; count - i >= LANES; i += LANES)
        for (int j = 0; j < LANES; ++j) {
            lows[j] = x[i + j] < lows[j] ? x[i + j] : lows[j];
            highs[j] = x[i + j] > highs[j] ? x[i + j] : highs[j];
        }
    for (; i < count; ++i) {
        lows[0] = x[i] < lows[0] ? x[i] : lows[0];
        highs[0] = x[i] > highs[0] ? x[i] : highs[0];
    }
    for (int j = 0; j < LANES; ++j) {
        *low = lows[j] < *low ? lows[j] : *low;
        *high = highs[j] > *high ? highs[j] : *high;
    }
}

static void range_pieces(void *context, int64_t first, int64_t last, int worker) {
    RangeRun *run = context;
    float block[QUANTIZE_BLOCK];
    int64_t total = tensor_count(run->x), length = ceil_div_i64(total, RANGE_PIECES);
    (void)worker;
    for (int64_t piece = first; piece < last; ++piece) {
        int64_t end = min_i64((piece + 1) * length, total);
        run->low[piece] = run->high[piece] = 0;
        for (int64_t at = piece * length, count; at < end; at += count) {
            count = min_i64(QUANTIZE_BLOCK, end - at);
            widen_range(count, read_block(run->x, at, count, block), &run->low[piece], &run->high[piece]);
        }
    }
}

static void range_of(const Tensor *x, ThreadPool *pool, float *low, float *high) {
    RangeRun run = {.x = x};
    bool small = tensor_count(x) < RANGE_PIECES * QUANTIZE_BLOCK;
    parallel_for(small ? NULL : pool, RANGE_PIECES, 1, range_pieces, &run);
    *low = *high = 0;
    widen_range(RANGE_PIECES, run.low, low, high);
    widen_range(RANGE_PIECES, run.high, low, high);
}

Status kernel_DynamicQuantizeLinear(KernelCtx *ctx) {
    enum { BLOCKS_PER_PIECE = 16 };
    float low, high, scale;
    uint8_t zero;
    range_of(ctx->inputs[0], ctx->host->pool, &low, &high);
    scale = high == low ? 1 : (high - low) / 255;
    dtype_store_f64(DTYPE_U8, &zero, 0, (double)(-low / scale));
    Tensor *scale_out = kernel_result(ctx, 1), *zero_out = kernel_result(ctx, 2);
    if (scale_out != NULL) *(float *)scale_out->data = scale;
    if (zero_out != NULL) *(uint8_t *)zero_out->data = zero;
    Tensor scale_tensor = {.dtype = DTYPE_F32, .data = &scale},
           zero_tensor = {.dtype = DTYPE_U8, .data = &zero};
    Quantization run = {.in = ctx->inputs[0],
                        .scale = &scale_tensor,
                        .zero = &zero_tensor,
                        .out = ctx->outputs[0],
                        .per_tensor = true};
    if (run.out == NULL) return STATUS_OK;
    parallel_for(ctx->host->pool, ceil_div_i64(tensor_count(run.in), QUANTIZE_BLOCK), BLOCKS_PER_PIECE,
                 quantize_body, &run);
    return STATUS_OK;
}
