// The functions that expressions of ops/pointwise.def and ops/reduce.def call, with the meaning that ops/pointwise_math.h
// gives them. Integer division by zero gives 0.
#ifndef SMELT_POINTWISE_CUH
#define SMELT_POINTWISE_CUH

#include "smelt/core.cuh"

namespace smelt {
namespace math {

#define SMELT_MATH(name)                                                                                               \
    SMELT_DEVICE float name(float x) { return ::name##f(x); }                                                          \
    SMELT_DEVICE double name(double x) { return ::name(x); }
SMELT_MATH(exp)
SMELT_MATH(expm1)
SMELT_MATH(log)
SMELT_MATH(log1p)
SMELT_MATH(sqrt)
SMELT_MATH(sin)
SMELT_MATH(cos)
SMELT_MATH(tan)
SMELT_MATH(asin)
SMELT_MATH(acos)
SMELT_MATH(atan)
SMELT_MATH(sinh)
SMELT_MATH(cosh)
SMELT_MATH(tanh)
SMELT_MATH(asinh)
SMELT_MATH(acosh)
SMELT_MATH(atanh)
SMELT_MATH(erf)
SMELT_MATH(ceil)
SMELT_MATH(floor)
SMELT_MATH(rint)
#undef SMELT_MATH

SMELT_DEVICE bool isnan(float x) { return x != x; }
SMELT_DEVICE bool isnan(double x) { return x != x; }
SMELT_DEVICE bool isinf(float x) { return x == infinity_f32() || x == -infinity_f32(); }
SMELT_DEVICE bool isinf(double x) { return x == infinity_f64() || x == -infinity_f64(); }

SMELT_DEVICE float abs(float x) { return ::fabsf(x); }
SMELT_DEVICE double abs(double x) { return ::fabs(x); }
SMELT_DEVICE i64 abs(i64 x) { return x < 0 ? (i64)(0 - (u64)x) : x; }
SMELT_DEVICE u64 abs(u64 x) { return x; }

// NaN when either is NaN; without branches, which warps would take for each element apart.
#define SMELT_EXTREME(T, NAME, OPERATOR)                                                                               \
    SMELT_DEVICE T NAME(T x, T y) { return (x OPERATOR y) | (x != x) ? x : y; }
SMELT_EXTREME(double, max, >)
SMELT_EXTREME(double, min, <)
#if !defined(SMELT_ON_HOST) && __CUDA_ARCH__ >= 800
SMELT_DEVICE float max(float x, float y) {
    float z;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
    return z;
}
SMELT_DEVICE float min(float x, float y) {
    float z;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
    return z;
}
#else
SMELT_EXTREME(float, max, >)
SMELT_EXTREME(float, min, <)
#endif
#undef SMELT_EXTREME
#define SMELT_MATH(T)                                                                                                  \
    SMELT_DEVICE T sign(T x) { return x != x ? x : (T)((x > 0) - (x < 0)); }                                           \
    SMELT_DEVICE T square(T x) { return x * x; }
SMELT_MATH(float)
SMELT_MATH(double)
#undef SMELT_MATH
SMELT_DEVICE i64 max(i64 x, i64 y) { return x > y ? x : y; }
SMELT_DEVICE i64 min(i64 x, i64 y) { return x < y ? x : y; }
SMELT_DEVICE i64 sign(i64 x) { return (x > 0) - (x < 0); }
SMELT_DEVICE i64 square(i64 x) { return (i64)((u64)x * (u64)x); }
SMELT_DEVICE u64 max(u64 x, u64 y) { return x > y ? x : y; }
SMELT_DEVICE u64 min(u64 x, u64 y) { return x < y ? x : y; }
SMELT_DEVICE u64 sign(u64 x) { return x != 0; }
SMELT_DEVICE u64 square(u64 x) { return x * x; }

SMELT_DEVICE float divide(float x, float y) { return x / y; }
SMELT_DEVICE double divide(double x, double y) { return x / y; }
SMELT_DEVICE u64 divide(u64 x, u64 y) { return y == 0 ? 0 : x / y; }
SMELT_DEVICE i64 divide(i64 x, i64 y) {
    if (y == -1) return (i64)(0 - (u64)x);
    return y == 0 ? 0 : x / y;
}

// Remainder with the sign of y, or of x (truncated).
template <class T> SMELT_DEVICE T signed_remainder(T remainder, T y, bool truncated) {
    return !truncated && remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder;
}
SMELT_DEVICE float modulo(float x, float y, float truncated) { return signed_remainder(::fmodf(x, y), y, truncated != 0); }
SMELT_DEVICE double modulo(double x, double y, double truncated) { return signed_remainder(::fmod(x, y), y, truncated != 0); }
SMELT_DEVICE u64 modulo(u64 x, u64 y, u64) { return y == 0 ? 0 : x % y; }
SMELT_DEVICE i64 modulo(i64 x, i64 y, i64 truncated) {
    return y == 0 || y == -1 ? 0 : signed_remainder(x % y, y, truncated != 0);
}

SMELT_DEVICE u64 shift(u64 x, u64 y, u64 right) { return y > 63 ? 0 : right != 0 ? x >> y : x << y; }

SMELT_DEVICE float pow(float x, float y) { return ::powf(x, y); }
SMELT_DEVICE double pow(double x, double y) { return ::pow(x, y); }
SMELT_DEVICE u64 pow(u64 x, u64 y) {
    u64 result = 1;
    for (; y != 0; y >>= 1, x *= x)
        if (y & 1) result *= x;
    return result;
}
// A negative power is the truncated reciprocal.
SMELT_DEVICE i64 pow(i64 x, i64 y) {
    if (y >= 0) return (i64)pow((u64)x, (u64)y);
    return x == 1 ? 1 : x == -1 ? (y % 2 == 0 ? 1 : -1) : 0;
}

} // namespace math

// Where the result is stored in 16 bits or fewer: in few instructions and without branches, to about 5e-5 of the result, or
// 1e-6 of erf's range.
namespace quick {

SMELT_DEVICE float exp(float x) { return power_of_two(x * 1.44269504088896341f); }
SMELT_DEVICE float logistic(float x) { return reciprocal(1.0f + exp(-x)); }
SMELT_DEVICE float tanh(float x) {
    const float s = x * x, near = x * (1.0f + s * (-0.333333333f + s * (0.133333333f - s * 0.053968254f)));
    return s < 0.0625f ? near : 2.0f * logistic(2.0f * x) - 1.0f;
}
// 1 - erf(t) = 2^(a polynomial without constant), fitted to the least error of erf over t >= 0.
SMELT_DEVICE float erf(float x) {
    const float t = math::abs(x);
    const float p = t * (-1.627889037f + t * (-0.9185094237f + t * (-0.1486654282f + t * (0.02958985977f + t * -0.002944102511f))));
    const float one = 1.0f - power_of_two(p);
    return x < 0.0f ? -one : one;
}
// max(x, 0) - |x| / 2 * (1 - erf(|x| / sqrt(2))): small results keep their digits. The polynomial is fitted to the least relative
// error of the result over |x| <= 6, where it is below half the least number of 16 bits that is not subnormal.
SMELT_DEVICE float gelu(float x) {
    const float size = math::abs(x), t = smaller(size, 6.0f);
    const float p =
        t * (-1.150584936f + t * (-0.4605783224f + t * (-0.05166837573f + t * (0.007354788948f + t * (-0.0006357957609f + t * 2.444059282e-5f)))));
    return 0.5f * ((x + size) - t * power_of_two(p));
}
SMELT_DEVICE float gelu_tanh(float x) { return x * logistic(1.59576912160573071f * (x + 0.044715f * x * x * x)); }

} // namespace quick

} // namespace smelt

#endif
