/* Attribute structs of the operators that order elements or run along an axis. Axes are as in the model. */
#ifndef SMELT_OPS_SORTING_H
#define SMELT_OPS_SORTING_H

#include "ops/op.h"

typedef struct TopKAttrs {
    int64_t axis;
    bool largest, sorted; /* results are sorted either way */
} TopKAttrs;

/* ArgMax, ArgMin */
typedef struct ArgAttrs {
    int64_t axis;
    bool keep_dims, select_last;
} ArgAttrs;

/* CumSum, CumProd */
typedef struct CumulativeAttrs {
    bool exclusive, reverse;
} CumulativeAttrs;

typedef struct UniqueAttrs {
    bool has_axis; /* else the input counts as one flat run */
    int64_t axis;
    bool sorted; /* else in order of first occurrence */
} UniqueAttrs;

typedef struct SuppressionAttrs {
    bool center_point; /* boxes are (x, y, width, height), else two corners (y, x, y, x) */
} SuppressionAttrs;

#endif
