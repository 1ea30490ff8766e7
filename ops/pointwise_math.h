/* The functions that expressions of pointwise.def and reduce.def call, for each compute type. */
#ifndef SMELT_OPS_POINTWISE_MATH_H
#define SMELT_OPS_POINTWISE_MATH_H

#include <stdbool.h>

#include "ops/fastmath.h"

/* One condition in each choice: compilers vectorise that where they give up on x > y || x != x. */
#define POINTWISE_MATH_FLOAT(suffix, T)                                                                      \
    FASTMATH T max_##suffix(T x, T y) {                                                                      \
        T larger = x > y ? x : y;                                                                            \
        return x != x ? x : larger;                                                                          \
    }                                                                                                        \
    FASTMATH T min_##suffix(T x, T y) {                                                                      \
        T smaller = x < y ? x : y;                                                                           \
        return x != x ? x : smaller;                                                                         \
    }                                                                                                        \
    FASTMATH T sign_##suffix(T x) {                                                                          \
        return x != x ? x : (T)((x > 0) - (x < 0));                                                          \
    }                                                                                                        \
    FASTMATH T divide_##suffix(T x, T y) {                                                                   \
        return x / y;                                                                                        \
    }                                                                                                        \
    FASTMATH T square_##suffix(T x) {                                                                        \
        return x * x;                                                                                        \
    }

POINTWISE_MATH_FLOAT(f32, float)
POINTWISE_MATH_FLOAT(f64, double)
#undef POINTWISE_MATH_FLOAT

/* Remainder with the sign of x (truncated) or of y. */
static inline double modulo_f64(double x, double y, bool truncated) {
    double remainder = fmod(x, y);
    return !truncated && remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder;
}
static inline float modulo_f32(float x, float y, bool truncated) {
    return (float)modulo_f64(x, y, truncated); /* exact: fmod never rounds */
}

static inline double abs_f64(double x) {
    return fabs(x);
}

/* Integers wrap; arithmetic that could overflow is done unsigned. Division by zero gives 0 (kernels refuse it
 * beforehand). */
static inline uint64_t abs_u64(uint64_t x) {
    return x;
}
static inline int64_t abs_i64(int64_t x) {
    return x < 0 ? (int64_t)(0 - (uint64_t)x) : x;
}
static inline uint64_t sign_u64(uint64_t x) {
    return x > 0;
}
static inline int64_t sign_i64(int64_t x) {
    return (x > 0) - (x < 0);
}
static inline uint64_t max_u64(uint64_t x, uint64_t y) {
    return x > y ? x : y;
}
static inline uint64_t min_u64(uint64_t x, uint64_t y) {
    return x < y ? x : y;
}
static inline uint64_t square_u64(uint64_t x) {
    return x * x;
}
static inline int64_t square_i64(int64_t x) {
    return (int64_t)((uint64_t)x * (uint64_t)x);
}
static inline uint64_t divide_u64(uint64_t x, uint64_t y) {
    return y == 0 ? 0 : x / y;
}
static inline int64_t divide_i64(int64_t x, int64_t y) {
    if (y == -1) return (int64_t)(0 - (uint64_t)x); /* INT64_MIN / -1 traps */
    return y == 0 ? 0 : x / y;
}
static inline uint64_t modulo_u64(uint64_t x, uint64_t y, bool truncated) {
    (void)truncated;
    return y == 0 ? 0 : x % y;
}
static inline int64_t modulo_i64(int64_t x, int64_t y, bool truncated) {
    if (y == 0 || y == -1) return 0;
    int64_t remainder = x % y;
    return !truncated && remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder;
}
static inline uint64_t shift_u64(uint64_t x, uint64_t y, bool right) {
    if (y > 63) return 0;
    return right ? x >> y : x << y;
}
static inline uint64_t pow_u64(uint64_t x, uint64_t y) {
    uint64_t result = 1;
    for (; y != 0; y >>= 1, x *= x)
        if (y & 1) result *= x;
    return result;
}
/* A negative power is the truncated reciprocal: 0 unless x is 1 or -1 (and for x = 0, which has none). */
static inline int64_t pow_i64(int64_t x, int64_t y) {
    if (y >= 0) return (int64_t)pow_u64((uint64_t)x, (uint64_t)y);
    return x == 1 ? 1 : x == -1 ? (y % 2 == 0 ? 1 : -1) : 0;
}

#endif
