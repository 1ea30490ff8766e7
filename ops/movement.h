/* Attribute structs of the operators that move elements by index alone, as their parsers return them. */
#ifndef SMELT_OPS_MOVEMENT_H
#define SMELT_OPS_MOVEMENT_H

#include "ops/op.h"

typedef struct ReshapeAttrs {
    bool allow_zero; /* a 0 in the target shape is an extent, not "copy the input's" */
} ReshapeAttrs;

/* Flatten, Concat, Split: axes as in the model, possibly negative */
typedef struct FlattenAttrs {
    int64_t axis; /* may equal the rank */
} FlattenAttrs;

typedef struct ConcatAttrs {
    int64_t axis;
} ConcatAttrs;

typedef struct SplitAttrs {
    int64_t axis;
    int32_t num_outputs; /* 0: from the input of sizes, or as many as the node has */
    bool has_sizes;      /* input 1 is there */
} SplitAttrs;

typedef struct TransposeAttrs {
    int32_t count; /* -1: reverse the dimensions */
    int32_t perm[SMELT_MAX_RANK];
} TransposeAttrs;

typedef enum PadMode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } PadMode;
typedef struct PadAttrs {
    PadMode mode;
} PadAttrs;

/* DepthToSpace, SpaceToDepth */
typedef struct BlockAttrs {
    int64_t block;   /* >= 1 */
    bool rows_first; /* DepthToSpace: CRD order, else DCR */
} BlockAttrs;

typedef struct TriluAttrs {
    bool upper;
} TriluAttrs;

typedef struct CenterCropPadAttrs {
    int32_t count; /* -1: all axes */
    int64_t axes[SMELT_MAX_RANK];
} CenterCropPadAttrs;

typedef struct ReverseSequenceAttrs {
    int32_t batch_axis, time_axis; /* 0 and 1, in either order */
} ReverseSequenceAttrs;

/* Lists that the node does not give have count 0 and mean strides and dilations of 1, pads of 0. */
typedef struct Col2ImAttrs {
    int32_t stride_count, dilation_count, pad_count; /* 0 where absent */
    int64_t strides[SMELT_MAX_RANK], dilations[SMELT_MAX_RANK], pads[2 * SMELT_MAX_RANK];
} Col2ImAttrs;

/* What one axis of a Slice covers once start, end and step are clamped to its extent, by ONNX's rules. */
typedef struct SliceRange {
    int64_t start, step, count;
} SliceRange;
SliceRange slice_range(int64_t extent, int64_t start, int64_t end, int64_t step);

/* Tensors that are parts of a larger one: the inputs of Concat, the outputs of Split, that of Slice. How many
 * the operator has; 0 for others. */
int32_t part_count(OpId op, int32_t input_count, int32_t output_count);
/* Where a part begins in the whole, along each axis: to be asked for parts 0, 1, ... in turn with one array,
 * which for part 0 may hold anything. ctx has the operands' types, of the outputs too (dtype NONE where one
 * is not wanted). False: not known, or its elements do not follow one another. */
bool part_start(OpId op, const InferCtx *ctx, int32_t index, Dim start[SMELT_MAX_RANK]);

#endif
