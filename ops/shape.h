/* Attribute structs of the operators that query shapes or generate tensors from them. */
#ifndef SMELT_OPS_SHAPE_H
#define SMELT_OPS_SHAPE_H

#include "ops/op.h"

typedef struct ShapeAttrs {
    int64_t start,
        end; /* as in the model: may be negative, are clamped to the rank; end INT64_MAX where absent */
} ShapeAttrs;

typedef struct ConstantOfShapeAttrs {
    const Tensor *value; /* one element; NULL: f32 zero */
} ConstantOfShapeAttrs;

typedef struct EyeLikeAttrs {
    DType dtype; /* DTYPE_NONE: the input's */
    int64_t k;   /* which diagonal; positive: above the main one */
} EyeLikeAttrs;

typedef struct OneHotAttrs {
    int64_t axis; /* where the new dimension goes, of rank + 1 */
} OneHotAttrs;

#endif
