#include "ops/fastmath.h"
#include "test.h"

/* Distance in units of the last place of the correctly rounded result. */
static double ulps(float got, double exact) {
    float rounded = (float)exact;
    int exponent;
    if (isnan(exact)) return isnan(got) ? 0 : INFINITY;
    if (isinf(rounded) || isinf(got)) return rounded == got ? 0 : INFINITY;
    frexp(exact, &exponent);
    return fabs((double)got - exact) / ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

/* Samples all bit patterns: every sign, exponent and a spread of mantissas. */
#define CHECK_FUNCTION(fast, exact)                                                                          \
    do {                                                                                                     \
        double worst = 0;                                                                                    \
        for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 4093) {                                          \
            float x = f32_of_bits((uint32_t)bits);                                                           \
            worst = fmax(worst, ulps(fast(x), exact((double)x)));                                            \
        }                                                                                                    \
        CHECK_NEAR(worst, 0, 2.5);                                                                           \
    } while (0)

int main(void) {
    CHECK_FUNCTION(exp_f32, exp);
    CHECK_FUNCTION(expm1_f32, expm1);
    CHECK_FUNCTION(log_f32, log);
    CHECK_FUNCTION(log1p_f32, log1p);
    CHECK_FUNCTION(tanh_f32, tanh);
    CHECK_FUNCTION(erf_f32, erf);

    CHECK(exp_f32(-INFINITY) == 0 && exp_f32(INFINITY) == INFINITY && exp_f32(0) == 1);
    CHECK(exp_f32(-103.0f) > 0 && exp_f32(-105.0f) == 0 && isfinite(exp_f32(88.72f)));
    CHECK(expm1_f32(-INFINITY) == -1 && expm1_f32(1e-30f) == 1e-30f);
    CHECK(log_f32(0) == -INFINITY && isnan(log_f32(-1)) && log_f32(INFINITY) == INFINITY);
    CHECK_NEAR(log_f32(1e-45f), -103.278929903, 1e-5);
    CHECK(tanh_f32(INFINITY) == 1 && tanh_f32(-INFINITY) == -1 && signbit(tanh_f32(-0.0f)));
    CHECK(erf_f32(INFINITY) == 1 && erf_f32(-INFINITY) == -1 && erf_f32(1e-40f) > 0);
    CHECK(isnan(exp_f32(NAN)) && isnan(expm1_f32(NAN)) && isnan(log_f32(NAN)) && isnan(log1p_f32(NAN)) &&
          isnan(tanh_f32(NAN)) && isnan(erf_f32(NAN)));
    return test_result();
}
