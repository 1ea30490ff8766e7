/* Rounding of narrow floats against a reference that searches the format's own values. */
#include "test.h"

#include "base/half.h"

static uint32_t random_state = 12345;

static uint32_t random_u32(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Nearest half by bisection over the finite values of one sign, from the definition of rounding to nearest
 * even; the next value after the largest counts as 65536, which stands for infinity. */
static double half_magnitude(uint32_t code) {
    uint32_t exponent = code >> 10, mantissa = code & 0x3ff;
    return exponent == 0 ? ldexp(mantissa, -24) : ldexp(mantissa + 1024.0, (int)exponent - 25);
}

static uint16_t half_reference(double value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs(value);
    uint32_t low = 0, high = 0x7c00;
    if (magnitude >= half_magnitude(high)) return (uint16_t)(sign | 0x7c00);
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (half_magnitude(middle) <= magnitude) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double below = magnitude - half_magnitude(low), above = half_magnitude(high) - magnitude;
    uint32_t code = below < above ? low : above < below ? high : (low & 1) == 0 ? low : high;
    return (uint16_t)(sign | code);
}

static void test_half_round_trip(void) {
    for (uint32_t code = 0; code <= 0xffff; ++code) {
        float value = half_to_float((uint16_t)code);
        if ((code & 0x7c00) == 0x7c00 && (code & 0x3ff) != 0) {
            CHECK(isnan(value) && isnan(half_to_float(half_from_float(value))));
            continue;
        }
        CHECK_INT(half_from_float(value), code);
        CHECK_INT(half_from_double((double)value), code);
        if ((code & 0x7fff) < 0x7c00) CHECK(fabs((double)value) == half_magnitude(code & 0x7fff));
    }
    CHECK(isinf(half_to_float(0x7c00)) && half_to_float(0xfc00) < 0);
}

/* Halfway points and their neighbours on both sides, everywhere. */
static void test_half_ties(void) {
    for (uint32_t code = 0; code < 0x7c00; ++code) {
        float middle = (float)((half_magnitude(code) + half_magnitude(code + 1)) / 2);
        float points[] = {nextafterf(middle, 0), middle, nextafterf(middle, INFINITY), -middle};
        for (int i = 0; i < 4; ++i) CHECK_INT(half_from_float(points[i]), half_reference((double)points[i]));
    }
    for (int i = 0; i < 100000; ++i) {
        float value = float_from_bits(random_u32());
        if (!isnan(value)) CHECK_INT(half_from_float(value), half_reference((double)value));
    }
    CHECK_INT(half_from_float(65519.996f), 0x7bff);
    CHECK_INT(half_from_float(65520.0f), 0x7c00);
    CHECK_INT(half_from_float(-INFINITY), 0xfc00);
    CHECK_INT(half_from_float(0x1p-25f), 0);
    CHECK_INT(half_from_float(nextafterf(0x1p-25f, 1)), 1);
    CHECK_INT(half_from_float(-0.0f), 0x8000);
}

static void test_half_double_rounding(void) {
    /* Just above a tie of binary16, yet below what a float can tell from the tie. */
    double value = 1 + 0x1p-11 + 0x1p-40;
    CHECK_INT(half_from_double(value), 0x3c01);
    CHECK_INT(half_from_float((float)value), 0x3c00);
    CHECK_INT(half_from_double(-value), 0xbc01);
    CHECK_INT(half_from_double(1 + 3 * 0x1p-11 - 0x1p-40), 0x3c01);
    CHECK_INT(half_from_double(0x1p-25 + 0x1p-70), 1);
    CHECK_INT(half_from_double(1e300), 0x7c00);
    CHECK_INT(half_from_double(-1e-300), 0x8000);
    CHECK_INT(half_from_double(65520 - 1e-9), 0x7bff);
    CHECK(isnan(half_to_float(half_from_double(NAN))));
    for (int i = 0; i < 100000; ++i) {
        double random = ldexp(random_u32() + 0x1p-32 * random_u32(), (int)(random_u32() % 48) - 60);
        CHECK_INT(half_from_double(random), half_reference(random));
    }
}

static void test_bf16(void) {
    for (uint32_t code = 0; code <= 0xffff; ++code) {
        float value = bf16_to_float((uint16_t)code);
        if (isnan(value)) {
            CHECK(isnan(bf16_to_float(bf16_from_float(value))));
        } else {
            CHECK_INT(bf16_from_float(value), code);
        }
    }
    CHECK_INT(bf16_from_float(1 + 0x1p-8f), 0x3f80); /* tie to even */
    CHECK_INT(bf16_from_float(1 + 3 * 0x1p-8f), 0x3f82);
    CHECK_INT(bf16_from_float(1 + 0x1p-8f + 0x1p-20f), 0x3f81);
    CHECK_INT(bf16_from_float(3.4e38f), 0x7f80);
    CHECK(isnan(bf16_to_float(bf16_from_float(float_from_bits(0x7f800001)))));
}

static void test_runs(void) {
    static float wide[1003], back[1003];
    static uint16_t narrow[1003];
    for (int i = 0; i < 1003; ++i) wide[i] = float_from_bits(random_u32());
    half_from_float_run(wide, 1003, narrow);
    half_to_float_run(narrow, 1003, back);
    for (int i = 0; i < 1003; ++i) {
        float expected = half_to_float(narrow[i]);
        CHECK_INT(narrow[i], half_from_float(wide[i]));
        CHECK(memcmp(&expected, &back[i], sizeof expected) == 0);
    }
    bf16_from_float_run(wide, 1003, narrow);
    bf16_to_float_run(narrow, 1003, back);
    for (int i = 0; i < 1003; ++i) {
        float expected = bf16_to_float(narrow[i]);
        CHECK_INT(narrow[i], bf16_from_float(wide[i]));
        CHECK(memcmp(&expected, &back[i], sizeof expected) == 0);
    }
}

/* Nearest by trying every code; of two equally near the even one. */
static uint8_t minifloat_reference(DType dtype, float value) {
    int codes = dtype == DTYPE_F4E2M1 ? 16 : 256, best = -1;
    double nearest = INFINITY;
    for (int code = 0; code < codes; ++code) {
        float candidate = minifloat_to_float(dtype, (uint8_t)code);
        if (!isfinite(candidate) || (candidate == 0 && signbit(candidate) != signbit(value))) continue;
        double distance = fabs((double)candidate - (double)value);
        if (distance < nearest || (distance == nearest && (code & 1) == 0)) {
            nearest = distance;
            best = code;
        }
    }
    return (uint8_t)best;
}

static void test_minifloat(DType dtype, float largest) {
    int codes = dtype == DTYPE_F4E2M1 ? 16 : 256;
    for (int code = 0; code < codes; ++code) {
        float value = minifloat_to_float(dtype, (uint8_t)code);
        CHECK(!isfinite(value) || fabsf(value) <= largest);
        if (isfinite(value)) CHECK_INT(minifloat_from_float(dtype, value, false), code);
        if (isfinite(value)) CHECK_INT(minifloat_from_float(dtype, value, true), code);
        if (isnan(value)) CHECK(isnan(minifloat_to_float(dtype, minifloat_from_float(dtype, value, true))));
    }
    CHECK(minifloat_to_float(dtype, minifloat_from_float(dtype, INFINITY, true)) == largest);
    CHECK(minifloat_to_float(dtype, minifloat_from_float(dtype, -1e30f, true)) == -largest);
    bool no_negative_zero = dtype == DTYPE_F8E4M3FNUZ || dtype == DTYPE_F8E5M2FNUZ;
    for (int i = 0; i < 20000; ++i) {
        float value = ldexpf((float)(random_u32() >> 20) / 2048 - 1, (int)(random_u32() % 40) - 20);
        if (no_negative_zero && value < 0 && minifloat_from_float(dtype, value, true) == 0) value = -value;
        CHECK_INT(minifloat_from_float(dtype, value, true), minifloat_reference(dtype, value));
    }
}

/* Rows of the tables in ONNX's description of Cast. */
static void test_minifloat_special(void) {
    CHECK_INT(minifloat_from_float(DTYPE_F8E4M3FN, INFINITY, false), 0x7f);
    CHECK_INT(minifloat_from_float(DTYPE_F8E4M3FN, -1e6f, false), 0xff);
    CHECK_INT(minifloat_from_float(DTYPE_F8E4M3FN, -0.0f, true), 0x80);
    CHECK_INT(minifloat_from_float(DTYPE_F8E4M3FNUZ, 1e6f, false), 0x80);
    CHECK_INT(minifloat_from_float(DTYPE_F8E4M3FNUZ, -0.0f, true), 0);
    CHECK_INT(minifloat_from_float(DTYPE_F8E4M3FNUZ, -1e-9f, true), 0);
    CHECK_INT(minifloat_from_float(DTYPE_F8E4M3FNUZ, NAN, true), 0x80);
    CHECK_INT(minifloat_from_float(DTYPE_F8E5M2, -INFINITY, false), 0xfc);
    CHECK_INT(minifloat_from_float(DTYPE_F8E5M2, 1e6f, false), 0x7c);
    CHECK(isinf(minifloat_to_float(DTYPE_F8E5M2, 0x7c)));
    CHECK(isnan(minifloat_to_float(DTYPE_F8E5M2, 0x7d)));
    CHECK_INT(minifloat_from_float(DTYPE_F8E5M2FNUZ, -INFINITY, false), 0x80);
    CHECK_INT(minifloat_from_float(DTYPE_F4E2M1, 5.0f, false), 6);
    CHECK_INT(minifloat_from_float(DTYPE_F4E2M1, NAN, true), 8);
}

static void test_e8m0(void) {
    for (int code = 0; code < 255; ++code) {
        float value = minifloat_to_float(DTYPE_F8E8M0, (uint8_t)code);
        CHECK((double)value == ldexp(1, code - 127));
        for (int round = E8M0_NEAREST; round <= E8M0_DOWN; ++round) {
            CHECK_INT(e8m0_from_float(value, (E8m0Round)round, false), code);
        }
    }
    CHECK(isnan(minifloat_to_float(DTYPE_F8E8M0, 0xff)));
    CHECK_INT(e8m0_from_float(1.01f, E8M0_UP, true), 128);
    CHECK_INT(e8m0_from_float(1.99f, E8M0_DOWN, true), 127);
    CHECK_INT(e8m0_from_float(1.5f, E8M0_NEAREST, true), 128);
    CHECK_INT(e8m0_from_float(1.49f, E8M0_NEAREST, true), 127);
    CHECK_INT(e8m0_from_float(0, E8M0_UP, true), 0);
    CHECK_INT(e8m0_from_float(0, E8M0_NEAREST, false), 0xff);
    CHECK_INT(e8m0_from_float(3.4e38f, E8M0_UP, true), 0xfe);
    CHECK_INT(e8m0_from_float(INFINITY, E8M0_UP, true), 0xfe);
    CHECK_INT(e8m0_from_float(3.4e38f, E8M0_NEAREST, false), 0xff);
    CHECK_INT(e8m0_from_float(NAN, E8M0_UP, true), 0xff);
}

int main(void) {
    test_half_round_trip();
    test_half_ties();
    test_half_double_rounding();
    test_bf16();
    test_runs();
    test_minifloat(DTYPE_F8E4M3FN, 448);
    test_minifloat(DTYPE_F8E4M3FNUZ, 240);
    test_minifloat(DTYPE_F8E5M2, 57344);
    test_minifloat(DTYPE_F8E5M2FNUZ, 57344);
    test_minifloat(DTYPE_F4E2M1, 6);
    test_minifloat_special();
    test_e8m0();
    return test_result();
}
