/* How much arithmetic operators do: the one source for reports, studies and cost models. */
#ifndef SMELT_OPS_COST_H
#define SMELT_OPS_COST_H

#include "ops/op.h"

/* Shapes of a node's operands, with exact dimensions; NULL: omitted or not known. */
typedef struct OpShapes {
    int32_t input_count, output_count;
    const Shape *const *inputs, *const *outputs;
} OpShapes;

/* Multiply-accumulates of a contraction or recurrent layer; 0 for other operators, and where shapes are not
 * known. Saturates at INT64_MAX. attrs: the operator's parsed struct. */
int64_t op_macs(OpId op, const void *attrs, const OpShapes *shapes);

/* Operations: two for each multiply-accumulate, one for each operator between elements, each function and
 * each element of a sum, maximum or window; about five for each element that is normalised (mean or maximum,
 * difference, exponential or square, sum, quotient); none for copies. An estimate of the work that the
 * operator asks for, whatever way a kernel does it. 0 where shapes are not known. */
double op_flops(OpId op, const void *attrs, const OpShapes *shapes);

/* Elements of input `index` that must be read: all of them, but for what gathers and slices leave aside. */
int64_t op_elements_read(OpId op, const OpShapes *shapes, int32_t index);

#endif
