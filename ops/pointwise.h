/* Operators of pointwise.def: one expression per element, with broadcasting. */
#ifndef SMELT_OPS_POINTWISE_H
#define SMELT_OPS_POINTWISE_H

#include "ops/op.h"

/* Inputs that a variadic row takes at most. */
enum { POINTWISE_MAX_INPUTS = 255 };

/* Signatures and what they mean: the head of pointwise.def. */
typedef enum PointwiseSignature {
    POINTWISE_FLOAT,
    POINTWISE_REAL,
    POINTWISE_NUMERIC,
    POINTWISE_QUOTIENT,
    POINTWISE_BOUND,
    POINTWISE_WRAPPING,
    POINTWISE_POWER,
    POINTWISE_SLOPE,
    POINTWISE_BITS,
    POINTWISE_SHIFT,
    POINTWISE_LOGIC,
    POINTWISE_COMPARE,
    POINTWISE_EQUAL,
    POINTWISE_TEST,
    POINTWISE_SELECT
} PointwiseSignature;

/* The struct that every pointwise operator's parse makes, never NULL. */
typedef struct PointwiseAttrs {
    OpId op;
    PointwiseSignature signature;
    double alpha, beta; /* the row's attributes in order (choices and switches as 0 or 1), else 0 */
} PointwiseAttrs;

/* What the expression computes in for these types of inputs 0 and 1 (NONE: omitted): f32, f64, i64 or u64. */
DType pointwise_compute_dtype(const PointwiseAttrs *attrs, DType x, DType y);

#define POINTWISE(id, ...) Status parse_##id(const ParseCtx *ctx, const void **attrs);
#include "ops/pointwise.def"
#undef POINTWISE
Status infer_pointwise(InferCtx *ctx);
Status kernel_pointwise(KernelCtx *ctx);

/* The OpDef of a row of pointwise.def. */
#define POINTWISE_ROW(id, name_, since_, min_in_, max_in_, signature_, half_, flags_, attributes_, ...)      \
    {                                                                                                        \
        .name = (name_), .domain = "", .since = (since_), .min_in = (min_in_), .max_in = (max_in_),          \
        .min_out = 1, .max_out = 1, .op_class = OPCLASS_POINTWISE, .half = HALF_##half_, .flags = (flags_),  \
        .parse = parse_##id, .infer = infer_pointwise, .kernel = kernel_pointwise, .scratch = NULL,          \
        .expression = #__VA_ARGS__                                                                           \
    }

/* -- chains of f32 operators, block by block -- */

/* True where pointwise_block_f32 can run the operator: f32 in and f32 out (not comparisons, Where, logic). */
bool pointwise_has_block_f32(OpId op);

/* out[i] = the operator applied to inputs[k][i * steps[k]] for i in [0, count): step 1 walks along, 0 repeats
 * one element. inputs[k] is NULL for an omitted input (of Clip). Variadic operators fold over all inputs.
 * out may be any of the step-1 inputs itself, but must not overlap one otherwise. Runs on the calling
 * thread; meant for runs that stay in cache (some thousand elements), one call per operator of the chain.
 * attrs is the operator's parsed struct; pointwise_has_block_f32(attrs->op) holds. */
void pointwise_block_f32(const PointwiseAttrs *attrs, int32_t input_count, const float *const *inputs,
                         const int32_t *steps, float *out, int64_t count);

#endif
