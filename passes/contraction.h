/* Contractions with constant weights, whose channels can be scaled and shifted. */
#ifndef SMELT_PASSES_CONTRACTION_H
#define SMELT_PASSES_CONTRACTION_H

#include "passes/affine.h"

/* Which channel a weight belongs to: (i / stride) % extent + (i / group_stride) * extent. */
typedef struct WeightMap {
    int64_t stride, extent, group_stride;
} WeightMap;

typedef struct Contraction {
    NodeId node;
    NodeId adder;                         /* the Add that gives a MatMul its bias; NONE */
    ValueId input, weights, bias, result; /* bias NONE: there is none */
    int64_t outputs, inputs;              /* channels */
    int32_t output_axis, input_axis;      /* of result and input, along which they lie */
    WeightMap output_of, input_of;
    const char *bias_refuses; /* why its bias cannot be changed, or NULL */
} Contraction;

/* False where the node is no contraction with constant weights of a known layout. */
bool contraction_read(const Graph *graph, const UseTable *uses, NodeId node, Contraction *out);
/* Why a shift before it is not a bias behind it, or NULL. */
const char *contraction_shift_refuses(const Graph *graph, const Contraction *c);

/* Constants for a contraction. */
typedef struct NewConstants {
    ValueId weights, bias; /* weights NONE: some would no longer be finite numbers of their type */
} NewConstants;

/* For result = scale * result + shift of each output channel, and for contraction(scale * input + shift). */
Status contraction_scale_behind(PassCtx *ctx, const Contraction *c, const Affine *affine, NewConstants *out);
Status contraction_scale_before(PassCtx *ctx, const Contraction *c, const Affine *affine, NewConstants *out);
Status contraction_put(PassCtx *ctx, Contraction *c, const NewConstants *constants);
/* The node behind it goes, and what it gave is the contraction's result. */
Status contraction_absorb(PassCtx *ctx, Contraction *c, NodeId follower);

/* The only user of a value, if it is a node of that block. */
NodeId only_user(const Graph *graph, const UseTable *uses, BlockId block, ValueId value);

#endif
