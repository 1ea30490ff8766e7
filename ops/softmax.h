/* Attribute struct of Softmax, LogSoftmax and Hardmax. */
#ifndef SMELT_OPS_SOFTMAX_H
#define SMELT_OPS_SOFTMAX_H

#include "ops/op.h"

typedef struct SoftmaxAttrs {
    int64_t axis; /* as in the model, possibly negative */
    bool logarithm;
} SoftmaxAttrs;

#endif
