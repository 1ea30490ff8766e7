/* Elementwise comparison of tensors. */
#ifndef SMELT_CLI_COMPARE_H
#define SMELT_CLI_COMPARE_H

#include "base/tensor.h"

typedef struct Comparison {
    bool passed;
    const char *reason; /* why not: "shape", "dtype", "values", "cosine"; NULL when passed */
    int64_t worst;      /* element with the largest excess over its tolerance (or difference, when passed) */
    double got, expected, max_abs, cosine;
} Comparison;

/* |got - expected| <= atol + rtol * |expected| for each element; NaN equals NaN, infinities must agree.
 * min_cosine <= 0: not asked for. Integers and bool compare exactly when atol and rtol leave no room for 1.
 */
Comparison tensor_compare(const Tensor *got, const Tensor *expected, double rtol, double atol,
                          double min_cosine);

/* The largest difference relative to the range of what is expected, 0 included; of other types than floats
 * the share of elements that differ. -1 where nothing finite is expected, which says nothing; infinite for
 * other shapes. */
double tensor_error(const Tensor *got, const Tensor *expected);

#endif
