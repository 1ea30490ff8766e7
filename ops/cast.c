/* Cast and CastLike between all numeric types; BitCast. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/simd.h"
#include "ops/cast.h"
#include "ops/kit.h"
#include "ops/strided.h"

static Status parse_target(const ParseCtx *ctx, DType *to) {
    int64_t number;
    TRY(attr_int(ctx->list, "to", DTYPE_NONE, &number, ctx->diag));
    if (!dtype_is_valid(number))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'to' is %lld, which is no element type",
                    (long long)number);
    *to = (DType)number;
    return STATUS_OK;
}

static Status parse_round(const ParseCtx *ctx, E8m0Round *round) {
    static const char *const names[] = {[E8M0_NEAREST] = "nearest", [E8M0_UP] = "up", [E8M0_DOWN] = "down"};
    const char *text;
    TRY(attr_string(ctx->list, "round_mode", "up", &text, ctx->diag));
    for (int i = E8M0_NEAREST; i <= E8M0_DOWN; ++i) {
        *round = (E8m0Round)i;
        if (strcmp(text, names[i]) == 0) return STATUS_OK;
    }
    return FAIL(ctx->diag, STATUS_BAD_MODEL,
                "attribute 'round_mode' is '%s', expected 'up', 'down' or 'nearest'", text);
}

Status parse_CastLike(const ParseCtx *ctx, const void **attrs) {
    CastAttrs *own = ARENA_NEW(ctx->arena, CastAttrs);
    TRY_ALLOC(ctx->diag, own);
    int64_t saturate;
    TRY(attr_int_in(ctx->list, "saturate", 1, 0, 1, &saturate, ctx->diag));
    TRY(parse_round(ctx, &own->round));
    own->saturate = saturate;
    *attrs = own;
    return STATUS_OK;
}

Status parse_Cast(const ParseCtx *ctx, const void **attrs) {
    DType to = DTYPE_NONE;
    TRY(parse_target(ctx, &to));
    TRY(parse_CastLike(ctx, attrs));
    ((CastAttrs *)*attrs)->to = to; /* just made by parse_CastLike */
    return STATUS_OK;
}

Status parse_BitCast(const ParseCtx *ctx, const void **attrs) {
    return parse_Cast(ctx, attrs);
}

static Status check_numeric(InferCtx *ctx, DType dtype) {
    if (dtype_kind(dtype) != DTYPE_KIND_OTHER) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_UNSUPPORTED, "conversion from %s to %s", dtype_name(ctx->inputs[0]->dtype),
                dtype_name(ctx->outputs[0].dtype));
}

static Status infer_to(InferCtx *ctx, DType to) {
    const TypeInfo *in = ctx->inputs[0];
    TypeInfo *out = &ctx->outputs[0];
    TRY(kit_infer_same(ctx));
    out->dtype = to;
    if (in->dtype != to) {
        TRY(check_numeric(ctx, in->dtype));
        TRY(check_numeric(ctx, to));
    }
    bool keeps_sizes = to == DTYPE_I64 || to == DTYPE_I32;
    if (keeps_sizes && (dtype_is_integer(in->dtype) || in->dtype == DTYPE_BOOL)) out->content = in->content;
    return STATUS_OK;
}

Status infer_Cast(InferCtx *ctx) {
    return infer_to(ctx, ((const CastAttrs *)ctx->attrs)->to);
}

Status infer_CastLike(InferCtx *ctx) {
    return infer_to(ctx, ctx->inputs[1]->dtype);
}

Status infer_BitCast(InferCtx *ctx) {
    DType from = ctx->inputs[0]->dtype, to = ((const CastAttrs *)ctx->attrs)->to;
    if (dtype_bits(from) != dtype_bits(to) || from == DTYPE_STRING || to == DTYPE_STRING)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s and %s have different widths", dtype_name(from),
                    dtype_name(to));
    TRY(kit_infer_same(ctx));
    ctx->outputs[0].dtype = to;
    return STATUS_OK;
}

/* -- kernels -- */

enum { CAST_BLOCK = 1024 };

typedef struct Conversion {
    const CastAttrs *attrs;
    const Tensor *in;
    Tensor *out;
    DType
        carrier; /* F32, F64 or I64: what elements become on the way, losing nothing that the target keeps */
} Conversion;

static bool is_minifloat(DType dtype) {
    return dtype_is_float(dtype) && dtype_bits(dtype) <= 8;
}

static DType choose_carrier(DType from, DType to) {
    bool half = dtype_is_half(to);
    if (!dtype_is_float(from) && !dtype_is_float(to)) return DTYPE_I64;
    if (!dtype_is_float(from) && half) return from == DTYPE_U64 ? DTYPE_F64 : DTYPE_I64;
    bool packed = dtype_is_integer(to) && dtype_bits(to) < 8;
    bool wide = from == DTYPE_F64 || to == DTYPE_F64 || packed;
    return wide ? DTYPE_F64 : DTYPE_F32;
}

static uint8_t minifloat_of(const Conversion *run, float value) {
    if (run->out->dtype == DTYPE_F8E8M0)
        return e8m0_from_float(value, run->attrs->round, run->attrs->saturate);
    return minifloat_from_float(run->out->dtype, value, run->attrs->saturate);
}

/* 4-bit floats have one way to convert, which stores know; 8-bit ones depend on the attributes. */
static void write_minifloats(const Conversion *run, int64_t first, int64_t count, const float *in) {
    if (dtype_bits(run->out->dtype) < 8) {
        dtype_write_f32(run->out->dtype, run->out->data, first, count, in);
        return;
    }
    uint8_t *out = (uint8_t *)run->out->data + first;
    for (int64_t i = 0; i < count; ++i) out[i] = minifloat_of(run, in[i]);
}

/* Reals become integers by truncation; ones of less than 8 bits by rounding to the nearest, half to even, and
 * keep the low bits ("4 bit integer types" of ONNX's technical details). Out of range is undefined in ONNX
 * else: we saturate. */
static void write_truncated(const Conversion *run, int64_t first, int64_t count, const double *in) {
    DType to = run->out->dtype;
    double whole[CAST_BLOCK];
    int64_t wide[CAST_BLOCK];
    bool packed = dtype_bits(to) < 8;
    for (int64_t i = 0; i < count; ++i) whole[i] = packed ? rint(in[i]) : trunc(in[i]);
    if (!packed) {
        dtype_write_f64(to, run->out->data, first, count, whole);
        return;
    }
    dtype_write_f64(DTYPE_I64, wide, 0, count, whole);
    dtype_write_i64(to, run->out->data, first, count, wide);
}

SIMD_CLONES static void truncate_f32(int64_t count, float *x) {
    for (int64_t i = 0; i < count; ++i) x[i] = truncf(x[i]);
}

static void cast_f32(const Conversion *run, int64_t first, int64_t count) {
    float block[CAST_BLOCK];
    DType to = run->out->dtype;
    float *carried = to == DTYPE_F32 ? (float *)run->out->data + first : block;
    dtype_read_f32(run->in->dtype, run->in->data, first, count, carried);
    if (to == DTYPE_F32) return;
    if (dtype_is_integer(to)) truncate_f32(count, block);
    if (is_minifloat(to))
        write_minifloats(run, first, count, block);
    else
        dtype_write_f32(to, run->out->data, first, count, block);
}

static void cast_f64(const Conversion *run, int64_t first, int64_t count) {
    double block[CAST_BLOCK];
    float narrow[CAST_BLOCK];
    DType to = run->out->dtype;
    dtype_read_f64(run->in->dtype, run->in->data, first, count, block);
    if (dtype_is_integer(to)) {
        write_truncated(run, first, count, block);
    } else if (is_minifloat(to)) {
        for (int64_t i = 0; i < count; ++i) narrow[i] = float_odd_from_double(block[i]);
        write_minifloats(run, first, count, narrow);
    } else {
        dtype_write_f64(to, run->out->data, first, count, block);
    }
}

static void cast_i64(const Conversion *run, int64_t first, int64_t count) {
    int64_t block[CAST_BLOCK];
    dtype_read_i64(run->in->dtype, run->in->data, first, count, block);
    dtype_write_i64(run->out->dtype, run->out->data, first, count, block);
}

static void cast_blocks(void *context, int64_t first_block, int64_t last_block, int worker) {
    const Conversion *run = context;
    (void)worker;
    for (int64_t block = first_block; block < last_block; ++block) {
        int64_t first = block * CAST_BLOCK, count = min_i64(CAST_BLOCK, tensor_count(run->out) - first);
        if (run->carrier == DTYPE_F32)
            cast_f32(run, first, count);
        else if (run->carrier == DTYPE_F64)
            cast_f64(run, first, count);
        else
            cast_i64(run, first, count);
    }
}

Status kernel_BitCast(KernelCtx *ctx) {
    if (ctx->outputs[0] != NULL) tensor_copy_bytes(ctx->inputs[0], ctx->outputs[0], ctx->host->pool);
    return STATUS_OK;
}

Status kernel_Cast(KernelCtx *ctx) {
    enum { BLOCKS_PER_PIECE = 16 };
    Conversion run = {.attrs = ctx->attrs, .in = ctx->inputs[0], .out = ctx->outputs[0]};
    if (run.out == NULL) return STATUS_OK;
    if (run.in->dtype == run.out->dtype) return kernel_BitCast(ctx);
    run.carrier = choose_carrier(run.in->dtype, run.out->dtype);
    parallel_for(ctx->host->pool, ceil_div_i64(tensor_count(run.out), CAST_BLOCK), BLOCKS_PER_PIECE,
                 cast_blocks, &run);
    return STATUS_OK;
}

Status kernel_CastLike(KernelCtx *ctx) {
    return kernel_Cast(ctx);
}
