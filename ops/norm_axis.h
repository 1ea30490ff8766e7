/* Attribute structs of the normalisations along chosen axes. Axes are as in the model, possibly negative. */
#ifndef SMELT_OPS_NORM_AXIS_H
#define SMELT_OPS_NORM_AXIS_H

#include "ops/op.h"

typedef struct LpAttrs {
    int64_t axis, p;
} LpAttrs;

typedef struct LrnAttrs {
    float alpha, beta, bias;
    int64_t size; /* channels in the window */
} LrnAttrs;

typedef struct MvnAttrs {
    const int64_t *axes;
    int32_t axis_count;
} MvnAttrs;

#endif
