/* Attributes of Cast, CastLike and BitCast, as their parsers return them. */
#ifndef SMELT_OPS_CAST_H
#define SMELT_OPS_CAST_H

#include "base/half.h"
#include "ops/op.h"

typedef struct CastAttrs {
    DType to;      /* NONE for CastLike: the dtype of input 1 */
    bool saturate; /* to 8-bit floats: out of range becomes the largest value, else NaN or infinity */
    E8m0Round round;
} CastAttrs;

#endif
