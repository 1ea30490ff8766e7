/* Shape arithmetic through pointwise operators during inference. */
#ifndef SMELT_OPS_POINTWISE_CONTENT_H
#define SMELT_OPS_POINTWISE_CONTENT_H

#include "ops/op.h"

/* Gives output 0 its content where it is a scalar or a vector of few integers or bools and every element
 * follows from the inputs' elements as Dims. outputs[0]'s dtype and shape are set; attrs are PointwiseAttrs.
 */
Status pointwise_content(InferCtx *ctx);

/* The elements of a scalar or vector of at most DIM_CONTENT_MAX integers or bools as Dims in arena, from its
 * data or content. *content NULL: not known (or out of range). */
enum { DIM_CONTENT_MAX = 64 };
Status dim_content(InferCtx *ctx, const TypeInfo *input, const Dim **content, int32_t *count);

#endif
