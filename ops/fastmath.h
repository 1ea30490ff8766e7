/* Elementary functions of f32 without branches or calls, so that a loop over them becomes vector code.
 * Within 2.5 ulp of the exact value (tests/unit/ops_fastmath.c), right at zeros, infinities, NaN and
 * denormals.
 *
 * No fmaf: where the machine has no fused multiply-add it would be a call; the compiler contracts a*b + c. */
#ifndef SMELT_OPS_FASTMATH_H
#define SMELT_OPS_FASTMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define FASTMATH static inline __attribute__((always_inline))

FASTMATH uint32_t bits_of_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
FASTMATH float f32_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
FASTMATH float copysign_f32(float magnitude, float sign) {
    return f32_of_bits((bits_of_f32(magnitude) & 0x7fffffffu) | (bits_of_f32(sign) & 0x80000000u));
}
FASTMATH float abs_f32(float x) {
    return f32_of_bits(bits_of_f32(x) & 0x7fffffffu);
}

/* 2^n for n in [-126, 127]. */
FASTMATH float exp2_int_f32(int32_t n) {
    return f32_of_bits((uint32_t)(n + 127) << 23);
}

/* x = n*ln2 + r with |r| <= ln2/2. The sum with 1.5*2^23 rounds to an integer in the low mantissa bits;
 * taking n from there is defined for NaN too, where it does not matter. */
FASTMATH float reduce_by_ln2_f32(float x, int32_t *n) {
    const float magic = 12582912.0f;
    float shifted = x * 1.44269504088896341f + magic;
    *n = (int32_t)(bits_of_f32(shifted) & 0xfffu) - (int32_t)(bits_of_f32(shifted) & 0x800u) * 2;
    float whole = shifted - magic;
    return (x - whole * 0.693145751953125f) - whole * 1.428606820309417232e-6f;
}

/* (exp(r) - 1 - r) / r^2 for |r| <= ln2/2. Minimax, Cephes expf. */
FASTMATH float exp_tail_f32(float r) {
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    return p * r + 5.0000001201e-1f;
}

FASTMATH float exp_f32(float x) {
    float bounded = x > 89.0f ? 89.0f : x;
    bounded = bounded < -104.0f ? -104.0f : bounded;
    int32_t n;
    float r = reduce_by_ln2_f32(bounded, &n);
    float p = exp_tail_f32(r) * (r * r) + r + 1.0f;
    /* In two steps: 2^n itself may overflow, or be denormal. */
    int32_t half = n >> 1;
    return p * exp2_int_f32(half) * exp2_int_f32(n - half);
}

FASTMATH float expm1_f32(float x) {
    float bounded = x > 89.0f ? 89.0f : x;
    bounded = bounded < -40.0f ? -40.0f : bounded;
    int32_t n;
    float r = reduce_by_ln2_f32(bounded, &n);
    float q = exp_tail_f32(r) * (r * r) + r;
    float half_scale = exp2_int_f32(n - 1);
    return n == 0 ? q : (half_scale * q + (half_scale - 0.5f)) * 2.0f;
}

/* Cephes logf: x = 2^e * m with m in [sqrt(1/2), sqrt(2)). */
FASTMATH float log_f32(float x) {
    float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x;
    int32_t lowered = x < 1.17549435e-38f ? 23 : 0;
    uint32_t bits = bits_of_f32(scaled);
    uint32_t shifted = bits - 0x3f3504f3u; /* sqrt(1/2): the exponent steps there */
    int32_t e = ((int32_t)shifted >> 23) - lowered;
    float f = f32_of_bits((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    float square = f * f, exponent = (float)e;
    float tail = p * f * square - 2.12194440e-4f * exponent - 0.5f * square;
    float result = f + tail + 0.693359375f * exponent;
    result = x < INFINITY ? result : x; /* also NaN */
    result = x == 0.0f ? -INFINITY : result;
    return x < 0.0f ? NAN : result;
}

/* log(u) for the rounded u = 1 + x, and what the rounding lost to first order. */
FASTMATH float log1p_f32(float x) {
    float u = 1.0f + x;
    float lost = (x - (u - 1.0f)) / u;
    lost = u > 0.0f ? lost : 0.0f;
    lost = u < INFINITY ? lost : 0.0f;
    return log_f32(u) + lost;
}

/* tanh(a) = t / (t + 2) for t = exp(2a) - 1. */
FASTMATH float tanh_f32(float x) {
    float a = abs_f32(x);
    float t = expm1_f32(2.0f * (a > 10.0f ? 10.0f : a));
    return copysign_f32(t / (t + 2.0f), x);
}

/* Two polynomials: x + x*p(x^2) near zero, 1 - exp(q(|x|)) beyond. The coefficients are those of N. Juffa's
 * erff. */
FASTMATH float erf_f32(float x) {
    float a = abs_f32(x), square = x * x;
    float far = -1.72853470e-5f * a + 3.83197126e-4f;
    far = far * square + (-3.88396438e-3f * a + 2.42546219e-2f);
    far = far * a - 1.06777877e-1f;
    far = far * a - 6.34846687e-1f;
    far = far * a - 1.28717512e-1f;
    far = far * a - a;
    far = copysign_f32(1.0f - exp_f32(a > 4.0f ? -40.0f : far), x);
    float near = -5.96761703e-4f;
    near = near * square + 4.99119423e-3f;
    near = near * square - 2.67681349e-2f;
    near = near * square + 1.12819925e-1f;
    near = near * square - 3.76125336e-1f;
    near = near * square + 1.28379166e-1f;
    near = near * x + x;
    far = x != x ? x : far;
    return a > 0.927734375f ? far : near;
}

/* Cephes atanf: the argument comes down to [-tan(pi/8), tan(pi/8)] by atan(a) = pi/4 + atan((a - 1) / (a +
 * 1)), or pi/2 - atan(1 / a). */
FASTMATH float atan_f32(float x) {
    float a = abs_f32(x);
    float turned = a > 2.414213562f ? 1.57079632679f : a > 0.4142135624f ? 0.785398163397f : 0.0f;
    float above = a > 2.414213562f ? -1.0f : a > 0.4142135624f ? a - 1.0f : a;
    float below = a > 2.414213562f ? a : a > 0.4142135624f ? a + 1.0f : 1.0f;
    float z = above / below, square = z * z;
    z = a < INFINITY ? z : 0.0f;
    square = a < INFINITY ? square : 0.0f;
    float p = 8.05374449538e-2f;
    p = p * square - 1.38776856032e-1f;
    p = p * square + 1.99777106478e-1f;
    p = p * square - 3.33329491539e-1f;
    float result = copysign_f32(turned + (p * square * z + z), x);
    return x != x ? x : result;
}

/* Cephes asinf on [0, 0.5], with z = s * s. */
FASTMATH float asin_near_f32(float s, float z) {
    float p = 4.2163199048e-2f;
    p = p * z + 2.4181311049e-2f;
    p = p * z + 4.5470025998e-2f;
    p = p * z + 7.4953002686e-2f;
    p = p * z + 1.6666752422e-1f;
    return p * z * s + s;
}

/* Beyond 0.5 by asin(a) = pi/2 - 2 asin(sqrt((1 - a) / 2)); NaN outside [-1, 1]. */
FASTMATH float asin_f32(float x) {
    float a = abs_f32(x), half = 0.5f * (1.0f - a);
    float z = a > 0.5f ? half : a * a, s = a > 0.5f ? sqrtf(half) : a;
    float near = asin_near_f32(s, z);
    return copysign_f32(a > 0.5f ? 1.57079632679f - 2.0f * near : near, x);
}

FASTMATH float acos_f32(float x) {
    float a = abs_f32(x), half = 0.5f * (1.0f - a);
    float z = a > 0.5f ? half : a * a, s = a > 0.5f ? sqrtf(half) : a;
    float near = asin_near_f32(s, z);
    float far = x < 0.0f ? 3.14159265359f - 2.0f * near : 2.0f * near;
    return a > 0.5f ? far : 1.57079632679f - copysign_f32(near, x);
}

#endif
