/* Runs host kernels at build time. */
#ifndef SMELT_PASSES_EVALUATE_H
#define SMELT_PASSES_EVALUATE_H

#include "passes/pass.h"

/* The operator always gives the same outputs for the same inputs, and may be run at build time. */
bool op_is_foldable(OpId op);

/* A constant as a tensor. The value must have data. */
Tensor constant_tensor(const Value *value);

/* Runs the kernel of `node` on inputs (NULL where omitted, else with data); outputs (output_count of them)
 * get data in arena, and dtype DTYPE_NONE where the node does not want them. *done is false where nothing was
 * computed: the outputs would take more than byte_limit bytes in all, or the operator refuses these inputs
 * (which is then left for the run to say). Fails only for lack of memory. */
Status evaluate_node(PassCtx *ctx, const Node *node, const Tensor *const *inputs, size_t byte_limit,
                     Arena *arena, Tensor *outputs, bool *done);

/* Runs the kernel of an operator that moves elements without looking at them on symbolic elements instead: a
 * Dim is an int64 like any other. moved inputs come as i64 tensors of Dims. outputs have their exact dims
 * set. */
Status evaluate_movement(const PassCtx *ctx, const Node *node, const Tensor *const *inputs, Tensor *outputs,
                         bool *done);
/* The input holds elements that the operator copies, not sizes or indices that it looks at. */
bool op_moves_input(OpId op, int32_t input);

#endif
