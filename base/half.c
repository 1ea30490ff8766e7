#include "base/half.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Rebias of the exponent between binary16 and binary32, and the float 0.5, whose last bit weighs 2^-24 as a
 * subnormal half's does: adding it lets the floating-point unit align and round subnormals. */
#define HALF_REBIAS ((uint32_t)112 << 23)
#define HALF_MAGIC  ((uint32_t)126 << 23)

/* No branches, so that the runs below vectorise. */
static inline float half_widen(uint16_t half) {
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;
    uint32_t normal = magnitude + HALF_REBIAS;
    uint32_t special = normal + HALF_REBIAS; /* infinity and NaN */
    uint32_t subnormal = bits_of(float_of(HALF_MAGIC | (uint32_t)(half & 0x3ff)) - 0.5f);
    uint32_t bits = (half & 0x7c00) == 0x7c00 ? special : normal;
    bits = (half & 0x7c00) == 0 ? subnormal : bits;
    return float_of(bits | (uint32_t)(half & 0x8000) << 16);
}

static inline uint16_t half_narrow(float value) {
    uint32_t bits = bits_of(value);
    uint32_t magnitude = bits & 0x7fffffff;
    uint32_t normal = (magnitude - HALF_REBIAS + 0xfff + (magnitude >> 13 & 1)) >> 13;
    uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - HALF_MAGIC;
    uint32_t nan = 0x7e00 | (magnitude >> 13 & 0x3ff);
    uint32_t half = magnitude < HALF_REBIAS + ((uint32_t)1 << 23) ? subnormal : normal;
    half =
        magnitude >= 0x47800000 ? 0x7c00 : half; /* 65536 and above; what rounds up to it comes out right */
    half = magnitude > 0x7f800000 ? nan : half;
    return (uint16_t)(half | (bits >> 16 & 0x8000));
}

static inline float bf16_widen(uint16_t bits) {
    return float_of((uint32_t)bits << 16);
}

static inline uint16_t bf16_narrow(float value) {
    uint32_t bits = bits_of(value);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    uint32_t nan = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

float half_to_float(uint16_t bits) {
    return half_widen(bits);
}

uint16_t half_from_float(float value) {
    return half_narrow(value);
}

uint16_t half_from_double(double value) {
    return half_narrow(float_odd_from_double(value));
}

float bf16_to_float(uint16_t bits) {
    return bf16_widen(bits);
}

uint16_t bf16_from_float(float value) {
    return bf16_narrow(value);
}

static SIMD_CLONES void widen_halves(const uint16_t *restrict in, int64_t count, float *restrict out) {
    for (int64_t i = 0; i < count; ++i) out[i] = half_widen(in[i]);
}

static SIMD_CLONES void narrow_to_halves(const float *restrict in, int64_t count, uint16_t *restrict out) {
    for (int64_t i = 0; i < count; ++i) out[i] = half_narrow(in[i]);
}

static SIMD_CLONES void widen_bf16s(const uint16_t *restrict in, int64_t count, float *restrict out) {
    for (int64_t i = 0; i < count; ++i) out[i] = bf16_widen(in[i]);
}

static SIMD_CLONES void narrow_to_bf16s(const float *restrict in, int64_t count, uint16_t *restrict out) {
    for (int64_t i = 0; i < count; ++i) out[i] = bf16_narrow(in[i]);
}

void half_to_float_run(const uint16_t *in, int64_t count, float *out) {
    widen_halves(in, count, out);
}

void half_from_float_run(const float *in, int64_t count, uint16_t *out) {
    narrow_to_halves(in, count, out);
}

void bf16_to_float_run(const uint16_t *in, int64_t count, float *out) {
    widen_bf16s(in, count, out);
}

void bf16_from_float_run(const float *in, int64_t count, uint16_t *out) {
    narrow_to_bf16s(in, count, out);
}

float float_odd_from_double(double value) {
    float nearest = (float)value;
    if (!((double)nearest != value) || isnan(value)) return nearest;
    /* Inexact: step back to the neighbour towards zero where needed, then make its last bit odd. */
    uint32_t bits = bits_of(nearest);
    if (fabs((double)nearest) > fabs(value)) bits--;
    return float_of(bits | 1);
}

typedef struct Minifloat {
    int8_t mantissa_bits, bias;
    uint8_t largest, sign; /* code of the largest finite magnitude, sign bit */
    uint8_t overflow, nan; /* codes that stand for "out of range" and NaN */
    bool finite;           /* no code is NaN or infinity */
    bool unsigned_zero;    /* the sign bit alone is NaN, and so is every NaN */
} Minifloat;

static const Minifloat *minifloat_format(DType dtype) {
    static const Minifloat e4m3fn = {3, 7, 0x7e, 0x80, 0x7f, 0x7f, false, false};
    static const Minifloat e4m3fnuz = {3, 8, 0x7f, 0x80, 0x80, 0x80, false, true};
    static const Minifloat e5m2 = {2, 15, 0x7b, 0x80, 0x7c, 0x7e, false, false};
    static const Minifloat e5m2fnuz = {2, 16, 0x7f, 0x80, 0x80, 0x80, false, true};
    static const Minifloat e2m1 = {1, 1, 0x07, 0x08, 0x07, 0x08, true, false};
    switch (dtype) {
    case DTYPE_F8E4M3FN:
        return &e4m3fn;
    case DTYPE_F8E4M3FNUZ:
        return &e4m3fnuz;
    case DTYPE_F8E5M2:
        return &e5m2;
    case DTYPE_F8E5M2FNUZ:
        return &e5m2fnuz;
    default:
        return &e2m1;
    }
}

static float e8m0_to_float(uint8_t bits) {
    return bits == 0xff ? NAN : bits == 0 ? 0x1p-127f : float_of((uint32_t)bits << 23);
}

float minifloat_to_float(DType dtype, uint8_t bits) {
    if (dtype == DTYPE_F8E8M0) return e8m0_to_float(bits);
    const Minifloat *format = minifloat_format(dtype);
    uint32_t sign = (bits & format->sign) != 0 ? 0x80000000u : 0;
    uint32_t magnitude = bits & (format->sign - 1u);
    if (format->unsigned_zero && magnitude == 0 && sign != 0) return NAN;
    if (magnitude > format->largest) {
        bool infinite = magnitude == format->overflow && format->overflow != format->nan;
        return float_of((infinite ? 0x7f800000u : 0x7fc00000u) | sign);
    }
    uint32_t exponent = magnitude >> format->mantissa_bits;
    uint32_t mantissa = magnitude & ((1u << format->mantissa_bits) - 1);
    if (exponent == 0) {
        exponent = 1;
    } else {
        mantissa |= 1u << format->mantissa_bits;
    }
    float scale = float_of((uint32_t)((int)exponent - format->bias - format->mantissa_bits + 127) << 23);
    return float_of(bits_of((float)mantissa * scale) | sign);
}

/* The code of a finite magnitude, rounded to nearest even and not yet bounded: may exceed the largest. */
static uint32_t minifloat_round(const Minifloat *format, uint32_t magnitude) {
    int exponent = (int)(magnitude >> 23) - 127;
    int lowest = 1 - format->bias;
    if (exponent < lowest - format->mantissa_bits - 1) return 0; /* below half of the smallest subnormal */
    uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
    int kept = exponent < lowest ? lowest : exponent;
    int shift = 23 - format->mantissa_bits + (kept - exponent);
    uint32_t rounded = (significand + (1u << (shift - 1)) - 1 + (significand >> shift & 1)) >> shift;
    return ((uint32_t)(kept - lowest) << format->mantissa_bits) + rounded;
}

uint8_t minifloat_from_float(DType dtype, float value, bool saturate) {
    if (dtype == DTYPE_F8E8M0) return e8m0_from_float(value, E8M0_NEAREST, saturate);
    const Minifloat *format = minifloat_format(dtype);
    uint8_t sign = bits_of(value) >> 31 != 0 ? format->sign : 0;
    if (isnan(value)) {
        return format->finite || format->unsigned_zero ? format->nan : (uint8_t)(format->nan | sign);
    }
    uint32_t code = isinf(value) ? UINT32_MAX : minifloat_round(format, bits_of(value) & 0x7fffffff);
    if (code > format->largest) {
        code = saturate || format->finite ? format->largest : format->overflow;
        if (code == format->nan && format->unsigned_zero) return format->nan;
    }
    if (code == 0 && format->unsigned_zero) sign = 0;
    return (uint8_t)(code | sign);
}

uint8_t e8m0_from_float(float value, E8m0Round round, bool saturate) {
    enum { LARGEST = 0xfe, NOT_A_NUMBER = 0xff };
    if (isnan(value)) return NOT_A_NUMBER;
    double magnitude = fabs((double)value);
    if (magnitude < 0x1p-127) return saturate ? 0 : NOT_A_NUMBER;
    if (isinf(value)) return saturate ? LARGEST : NOT_A_NUMBER;
    int exponent;
    double fraction = 2 * frexp(magnitude, &exponent); /* 1 to 2 */
    bool up = round == E8M0_UP ? fraction > 1 : round == E8M0_NEAREST && fraction >= 1.5;
    int code = exponent - 1 + 127 + up;
    return (uint8_t)(code <= LARGEST ? code : saturate ? LARGEST : NOT_A_NUMBER);
}
