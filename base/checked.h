/* Arithmetic that says when it overflows. Each returns false on overflow and leaves *out unspecified. */
#ifndef SMELT_BASE_CHECKED_H
#define SMELT_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add_i64(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline bool checked_sub_i64(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_sub_overflow(a, b, out);
}
static inline bool checked_mul_i64(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool checked_add_size(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline bool checked_mul_size(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

/* Floor division and modulus (sign of the divisor); b != 0. */
static inline int64_t floor_div_i64(int64_t a, int64_t b) {
    int64_t q = a / b;
    return (a % b != 0 && (a % b < 0) != (b < 0)) ? q - 1 : q;
}
static inline int64_t floor_mod_i64(int64_t a, int64_t b) {
    return a - floor_div_i64(a, b) * b;
}
static inline int64_t ceil_div_i64(int64_t a, int64_t b) {
    return -floor_div_i64(-a, b);
}
/* The next multiple; it must fit. */
static inline int64_t round_up_i64(int64_t a, int64_t multiple) {
    return ceil_div_i64(a, multiple) * multiple;
}
static inline int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t clamp_i64(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

/* Greatest common divisor, not negative; gcd(0, b) = |b|. Neither may be INT64_MIN with the other 0. */
static inline int64_t gcd_i64(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t next = a % b;
        a = b;
        b = next;
    }
    return a < 0 ? -a : a;
}

#endif
