#include "cli/compare.h"

#include <math.h>

typedef struct Sums {
    double dot, got, expected;
} Sums;

static double cosine_of(const Sums *sums) {
    if (sums->got == 0 && sums->expected == 0) return 1;
    if (sums->got == 0 || sums->expected == 0) return 0;
    return sums->dot / sqrt(sums->got * sums->expected);
}

/* How far beyond its tolerance an element is; <= 0 passes. */
static double excess_of(double got, double expected, double rtol, double atol) {
    if (got == expected || (isnan(got) && isnan(expected))) return -atol;
    if (isnan(got) || isnan(expected) || isinf(got) || isinf(expected)) return INFINITY;
    return fabs(got - expected) - (atol + rtol * fabs(expected));
}

/* 64-bit integers lose digits as doubles: equal ones are equal, different ones differ by at least 1. */
static void load_pair(const Tensor *got, const Tensor *expected, int64_t i, double *a, double *b) {
    *a = dtype_load_f64(got->dtype, got->data, i);
    *b = dtype_load_f64(expected->dtype, expected->data, i);
    if (*a == *b && dtype_is_integer(got->dtype)) {
        int64_t x = dtype_load_i64(got->dtype, got->data, i),
                y = dtype_load_i64(expected->dtype, expected->data, i);
        if (x != y) *a = *b + (x > y ? 1 : -1) * fmax(1, fabs(*b) * 0x1p-52);
    }
}

Comparison tensor_compare(const Tensor *got, const Tensor *expected, double rtol, double atol,
                          double min_cosine) {
    Comparison result = {.passed = true, .cosine = 1};
    if (got->dtype != expected->dtype) return (Comparison){.reason = "dtype"};
    if (!tensor_same_shape(got, expected)) return (Comparison){.reason = "shape"};
    Sums sums = {0};
    double worst = -INFINITY;
    int64_t count = tensor_count(got);
    for (int64_t i = 0; i < count; ++i) {
        double a, b;
        load_pair(got, expected, i, &a, &b);
        double excess = excess_of(a, b, rtol, atol), difference = fabs(a - b);
        if (difference > result.max_abs) result.max_abs = difference;
        if (excess > worst) {
            worst = excess;
            result.worst = i;
            result.got = a;
            result.expected = b;
        }
        if (isfinite(a) && isfinite(b)) {
            sums.dot += a * b;
            sums.got += a * a;
            sums.expected += b * b;
        }
    }
    result.cosine = cosine_of(&sums);
    if (count > 0 && worst > 0) {
        result.passed = false;
        result.reason = "values";
    } else if (min_cosine > 0 && result.cosine < min_cosine) {
        result.passed = false;
        result.reason = "cosine";
    }
    return result;
}

/* Differing elements of other types than floats count each: the error is their share. */
static double share_of_differences(const Tensor *got, const Tensor *expected) {
    int64_t count = tensor_count(expected), different = 0;
    for (int64_t i = 0; i < count; ++i)
        different +=
            dtype_load_i64(got->dtype, got->data, i) != dtype_load_i64(expected->dtype, expected->data, i);
    return count > 0 ? (double)different / (double)count : 0;
}

double tensor_error(const Tensor *got, const Tensor *expected) {
    double low = 0, high = 0, largest = 0;
    int64_t finite = 0;
    int64_t count = tensor_count(expected);
    if (!tensor_same_shape(got, expected)) return INFINITY;
    if (!dtype_is_float(expected->dtype)) return share_of_differences(got, expected);
    for (int64_t i = 0; i < count; ++i) {
        double a = dtype_load_f64(got->dtype, got->data, i),
               b = dtype_load_f64(expected->dtype, expected->data, i);
        double difference = a == b || (isnan(a) && isnan(b)) ? 0 : fabs(a - b);
        if (isnan(difference)) difference = INFINITY;
        largest = fmax(largest, difference);
        if (!isfinite(b)) continue;
        low = fmin(low, b);
        high = fmax(high, b);
        finite++;
    }
    if (finite == 0 && count > 0) return -1;
    if (largest == 0) return 0;
    return high > low ? largest / (high - low) : INFINITY;
}
