// Cast's own ways to store 8-bit floats; everything else is stored as put() does.
#ifndef SMELT_CAST_CUH
#define SMELT_CAST_CUH

#include "smelt/core.cuh"

namespace smelt {

enum CastRound { ROUND_NEAREST, ROUND_UP, ROUND_DOWN };

// A power of two from the magnitude; ties up. Out of range becomes the nearest code (saturate) or NaN.
template <bool SATURATE, CastRound ROUND> SMELT_DEVICE u8 e8m0_of_float(float x) {
    const u32 magnitude = bits_of_float(x) & 0x7fffffff;
    if (magnitude > 0x7f800000u) return 0xff;
    if (magnitude < 0x400000u) return SATURATE ? 0 : 0xff; // below 2^-127
    if (magnitude == 0x7f800000u) return SATURATE ? 0xfe : 0xff;
    const bool subnormal = magnitude < 0x800000u;
    const u32 unit = subnormal ? 0x400000u : 0x800000u, fraction = subnormal ? magnitude - unit : magnitude & (unit - 1);
    const bool up = ROUND == ROUND_UP ? fraction > 0 : ROUND == ROUND_NEAREST && fraction >= unit / 2;
    const u32 code = (magnitude >> 23) + (up ? 1 : 0);
    return (u8)(code <= 0xfe ? code : SATURATE ? 0xfe : 0xff);
}

template <bool SATURATE, CastRound ROUND, class T, class A> SMELT_DEVICE void put_cast(T &to, A x) { put(to, x); }
template <bool SATURATE, CastRound ROUND, class A> SMELT_DEVICE void put_cast(smelt_f8e4m3fn &to, A x) {
    to.bits = E4M3FN::narrow(rounds_once(x), SATURATE);
}
template <bool SATURATE, CastRound ROUND, class A> SMELT_DEVICE void put_cast(smelt_f8e4m3fnuz &to, A x) {
    to.bits = E4M3FNUZ::narrow(rounds_once(x), SATURATE);
}
template <bool SATURATE, CastRound ROUND, class A> SMELT_DEVICE void put_cast(smelt_f8e5m2 &to, A x) {
    to.bits = E5M2::narrow(rounds_once(x), SATURATE);
}
template <bool SATURATE, CastRound ROUND, class A> SMELT_DEVICE void put_cast(smelt_f8e5m2fnuz &to, A x) {
    to.bits = E5M2FNUZ::narrow(rounds_once(x), SATURATE);
}
template <bool SATURATE, CastRound ROUND, class A> SMELT_DEVICE void put_cast(smelt_f8e8m0 &to, A x) {
    to.bits = e8m0_of_float<SATURATE, ROUND>(rounds_once(x));
}

} // namespace smelt

#endif
