/* Attributes of convolutions. */
#ifndef SMELT_OPS_CONV_H
#define SMELT_OPS_CONV_H

#include "ops/window.h"

/* Conv, ConvInteger, QLinearConv. */
typedef struct ConvAttrs {
    WindowAttrs window;
    int64_t group;
} ConvAttrs;

/* Whether each of several channels is convolved by itself. */
static inline bool conv_is_depthwise(const ConvAttrs *attrs, const Shape *weights) {
    return weights->rank > 1 && weights->dim[1] == 1 && weights->dim[0] > 1 &&
           attrs->group == weights->dim[0];
}

/* ConvTranspose. */
typedef struct TransposeAttrs {
    WindowAttrs window;
    int64_t group;
    int64_t output_padding[WINDOW_AXES];
    int64_t output_shape[WINDOW_AXES];
    bool has_shape; /* output_shape is given */
} TransposeAttrs;

/* DeformConv. */
typedef struct DeformAttrs {
    WindowAttrs window;
    int64_t group, offset_group;
} DeformAttrs;

#endif
