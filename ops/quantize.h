/* Attribute struct of QuantizeLinear and DequantizeLinear. */
#ifndef SMELT_OPS_QUANTIZE_H
#define SMELT_OPS_QUANTIZE_H

#include "ops/op.h"

typedef struct QuantizeAttrs {
    int64_t axis, block_size; /* 0: not blocked */
    DType output_dtype;       /* NONE: from the zero point, or the default */
    bool saturate;
} QuantizeAttrs;

#endif
