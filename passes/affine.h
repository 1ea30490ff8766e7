/* Nodes that scale and shift every channel of a tensor by constants. */
#ifndef SMELT_PASSES_AFFINE_H
#define SMELT_PASSES_AFFINE_H

#include "passes/pass.h"

/* y[c] = scale[c] * x[c] + shift[c], in double. */
typedef struct Affine {
    int64_t channels;
    double *scale, *shift;
} Affine;

/* The identity. Memory is the pass's scratch. */
Status affine_create(PassCtx *ctx, int64_t channels, Affine *out);
bool affine_shifts(const Affine *affine);

/* The constant has one float, or one for each of the channels that lie along `axis` of a tensor of that rank,
 * and broadcasts along nothing else. */
bool is_per_channel(const Graph *graph, ValueId value, int32_t rank, int32_t axis, int64_t channels);
/* Its element for a channel. */
double per_channel(const Graph *graph, ValueId value, int64_t channel);

/* What the node does to x, whose channels lie along `axis`: a BatchNormalization with constant statistics
 * (axis 1), or an Add, Sub, Mul or Div with a constant, that keeps the shape. *found false: nothing of the
 * kind, or its numbers are not finite. */
Status affine_read(PassCtx *ctx, NodeId node, ValueId x, int32_t axis, int64_t channels, Affine *out,
                   bool *found);
/* The value that such a node works on, or NONE. */
ValueId affine_operand(const Graph *graph, NodeId node);

bool batch_norm_is_constant(const Graph *graph, const Node *node);
Status batch_norm_read(PassCtx *ctx, const Node *node, Affine *out);

#endif
