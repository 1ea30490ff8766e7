/* Parsing and inference of the operators of pointwise.def. */
#include "ops/pointwise.h"

#include <string.h>

#include "ops/kit.h"
#include "ops/pointwise_content.h"

/* -- attributes -- */

typedef enum AttributeKind {
    ATTRIBUTE_NONE,
    ATTRIBUTE_REAL,
    ATTRIBUTE_SWITCH,
    ATTRIBUTE_CHOICE,
    ATTRIBUTE_INPUTS
} AttributeKind;

/* The attributes column of a row. */
typedef struct Attribute {
    const char *name;
    AttributeKind kind;
    float fallback;
    const char *choices[2];      /* values 0 and 1 of a CHOICE */
    const char *fallback_choice; /* NULL: the attribute is required */
} Attribute;

static Status parse_choice(const ParseCtx *ctx, const Attribute *row, double *value) {
    const char *text;
    TRY(attr_string(ctx->list, row->name, row->fallback_choice, &text, ctx->diag));
    if (text == NULL) return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute '%s' is missing", row->name);
    for (int i = 0; i < 2; ++i) {
        *value = i;
        if (strcmp(text, row->choices[i]) == 0) return STATUS_OK;
    }
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute '%s' is '%s', expected '%s' or '%s'", row->name, text,
                row->choices[0], row->choices[1]);
}

static Status parse_attribute(const ParseCtx *ctx, const Attribute *row, double *value) {
    float real;
    int64_t integer;
    switch (row->kind) {
    case ATTRIBUTE_NONE:
        *value = 0;
        return STATUS_OK;
    case ATTRIBUTE_INPUTS:
        *value = ctx->input_count;
        return STATUS_OK;
    case ATTRIBUTE_CHOICE:
        return parse_choice(ctx, row, value);
    case ATTRIBUTE_SWITCH:
        TRY(attr_int_in(ctx->list, row->name, (int64_t)row->fallback, 0, 1, &integer, ctx->diag));
        *value = (double)integer;
        return STATUS_OK;
    case ATTRIBUTE_REAL:
        TRY(attr_float(ctx->list, row->name, row->fallback, &real, ctx->diag));
        *value = real;
        return STATUS_OK;
    }
    return STATUS_OK;
}

static Status parse_row(const ParseCtx *ctx, OpId op, PointwiseSignature signature, const Attribute rows[2],
                        const void **attrs) {
    PointwiseAttrs *parsed = ARENA_NEW(ctx->arena, PointwiseAttrs);
    TRY_ALLOC(ctx->diag, parsed);
    parsed->op = op;
    parsed->signature = signature;
    TRY(parse_attribute(ctx, &rows[0], &parsed->alpha));
    TRY(parse_attribute(ctx, &rows[1], &parsed->beta));
    *attrs = parsed;
    return STATUS_OK;
}

#define NO_ATTRIBUTES                                                                                        \
    { .kind = ATTRIBUTE_NONE }
#define REAL(name_, fallback_)   {.name = #name_, .kind = ATTRIBUTE_REAL, .fallback = (fallback_)},
#define SWITCH(name_, fallback_) {.name = #name_, .kind = ATTRIBUTE_SWITCH, .fallback = (fallback_)},
#define CHOICE(name_, first, second)                                                                         \
    {.name = #name_, .kind = ATTRIBUTE_CHOICE, .choices = {first, second}, .fallback_choice = first},
#define NEED(name_, first, second) {.name = #name_, .kind = ATTRIBUTE_CHOICE, .choices = {first, second}},
#define INPUTS                                                                                               \
    { .kind = ATTRIBUTE_INPUTS }
#define POINTWISE(id, name_, since_, min_in_, max_in_, signature_, half_, flags_, attributes_, ...)          \
    Status parse_##id(const ParseCtx *ctx, const void **attrs) {                                             \
        static const Attribute rows[2] = {attributes_};                                                      \
        return parse_row(ctx, OP_##id, POINTWISE_##signature_, rows, attrs);                                 \
    }
#include "ops/pointwise.def"
#undef POINTWISE

/* -- types -- */

enum {
    KIND_FLOAT = 1 << DTYPE_KIND_FLOAT,
    KIND_SIGNED = 1 << DTYPE_KIND_SIGNED,
    KIND_UNSIGNED = 1 << DTYPE_KIND_UNSIGNED,
    KIND_BOOL = 1 << DTYPE_KIND_BOOL,
    KIND_NUMBER = KIND_FLOAT | KIND_SIGNED | KIND_UNSIGNED
};

/* What each signature takes as input 0. */
static const struct {
    unsigned kinds;
    const char *expected;
} accepted[] = {
    [POINTWISE_FLOAT] = {KIND_FLOAT, "a floating-point tensor"},
    [POINTWISE_REAL] = {KIND_NUMBER, "a tensor of numbers"},
    [POINTWISE_NUMERIC] = {KIND_NUMBER, "a tensor of numbers"},
    [POINTWISE_QUOTIENT] = {KIND_NUMBER, "a tensor of numbers"},
    [POINTWISE_BOUND] = {KIND_NUMBER, "a tensor of numbers"},
    [POINTWISE_WRAPPING] = {KIND_NUMBER, "a tensor of numbers"},
    [POINTWISE_POWER] = {KIND_NUMBER, "a tensor of numbers"},
    [POINTWISE_SLOPE] = {KIND_NUMBER, "a tensor of numbers"},
    [POINTWISE_BITS] = {KIND_SIGNED | KIND_UNSIGNED, "an integer tensor"},
    [POINTWISE_SHIFT] = {KIND_UNSIGNED, "an unsigned integer tensor"},
    [POINTWISE_LOGIC] = {KIND_BOOL, "bool"},
    [POINTWISE_COMPARE] = {KIND_NUMBER, "a tensor of numbers"},
    [POINTWISE_EQUAL] = {KIND_NUMBER | KIND_BOOL, "a tensor of numbers or bool"},
    [POINTWISE_TEST] = {KIND_FLOAT, "a floating-point tensor"},
    [POINTWISE_SELECT] = {KIND_BOOL, "bool"},
};

static Status check_kind(InferCtx *ctx, int32_t input, PointwiseSignature signature) {
    DType dtype = ctx->inputs[input]->dtype;
    if ((accepted[signature].kinds >> dtype_kind(dtype) & 1) != 0) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected %s", input, dtype_name(dtype),
                accepted[signature].expected);
}

static Status check_dtypes(InferCtx *ctx, PointwiseSignature signature) {
    TRY(check_kind(ctx, 0, signature));
    int32_t like = signature == POINTWISE_SELECT ? 1 : 0;
    for (int32_t i = like + 1; i < ctx->input_count; ++i) {
        if (ctx->inputs[i] == NULL) continue;
        if (signature == POINTWISE_POWER)
            TRY(check_kind(ctx, i, signature));
        else
            TRY(kit_expect_dtype_like(ctx, i, like));
    }
    int bits = dtype_bits(ctx->inputs[like]->dtype);
    if (signature == POINTWISE_SELECT && (bits < 8 || bits > 64))
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "elements of type %s cannot be selected",
                    dtype_name(ctx->inputs[like]->dtype));
    return STATUS_OK;
}

static bool gives_bool(PointwiseSignature signature) {
    return signature == POINTWISE_COMPARE || signature == POINTWISE_EQUAL || signature == POINTWISE_TEST;
}

/* -- shapes -- */

/* y and z are scalars (a tensor of one element will do). */
static Status check_bounds(InferCtx *ctx) {
    for (int32_t i = 1; i < ctx->input_count; ++i) {
        if (ctx->inputs[i] == NULL) continue;
        Dim count = shape_count(ctx->dims, &ctx->inputs[i]->shape);
        if (dim_is_exact(count) && count != 1)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has %lld elements, expected a scalar", i,
                        (long long)count);
    }
    return STATUS_OK;
}

/* The slope broadcasts to x, or has one element for each channel (dimension 1) of x. */
static Status check_slope(InferCtx *ctx) {
    const Shape *x = &ctx->inputs[0]->shape, *slope = &ctx->inputs[1]->shape;
    if (slope->rank == 1 && x->rank >= 2 && slope->dim[0] == x->dim[1]) return STATUS_OK;
    return kit_expect_broadcasts_to(ctx, 1, x);
}

Status infer_pointwise(InferCtx *ctx) {
    const PointwiseAttrs *attrs = ctx->attrs;
    TypeInfo *out = &ctx->outputs[0];
    TRY(check_dtypes(ctx, attrs->signature));
    out->dtype =
        gives_bool(attrs->signature) ? DTYPE_BOOL : ctx->inputs[attrs->signature == POINTWISE_SELECT]->dtype;
    out->shape = ctx->inputs[0]->shape;
    if (attrs->signature == POINTWISE_BOUND) return check_bounds(ctx);
    if (attrs->signature == POINTWISE_SLOPE) return check_slope(ctx);
    for (int32_t i = 1; i < ctx->input_count; ++i) {
        if (ctx->inputs[i] == NULL)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "required input %d is omitted", i);
        TRY(kit_broadcast(ctx, &out->shape, &ctx->inputs[i]->shape, &out->shape));
    }
    return pointwise_content(ctx);
}
