// Quantized numbers from reals and back.
#ifndef SMELT_QUANTIZE_CUH
#define SMELT_QUANTIZE_CUH

#include "smelt/cast.cuh"
#include "smelt/pointwise.cuh"
#include "smelt/team.cuh"

namespace smelt {

// Integers are rounded and saturate when stored; 8-bit floats are rounded then.
template <bool ROUND> SMELT_DEVICE float quantized(float x, float scale, float zero) {
    return (ROUND ? math::rint(x / scale) : x / scale) + zero;
}

struct SmallestNumber {
    template <class A> static SMELT_DEVICE A start() { return highest<A>(); }
    template <class A> static SMELT_DEVICE A merge(A a, A b) { return b < a ? b : a; }
};

// -- to the range that the data have --

// The lowest and highest number of each block's part of x, and 0: range[2 * block] and the one behind.
template <class T> SMELT_DEVICE void range_parts(const T *x, Index count, float *range) {
    const Index length = ceil_div(count, (Index)gridDim.x), first = (Index)blockIdx.x * length;
    const Index last = smaller(first + length, count);
    const auto value = [&](Index k) { return load_as<float>(x, k); };
    const float low = fold<BlockTeam, SmallestNumber, float, float>(first, last, value);
    const float high = fold<BlockTeam, LargestNumber, float, float>(first, last, value);
    if (threadIdx.x != 0) return;
    range[2 * (Index)blockIdx.x] = smaller(low, 0.0f);
    range[2 * (Index)blockIdx.x + 1] = larger(high, 0.0f);
}

// scale_out and zero_out: NULL where they are not wanted.
template <class T>
SMELT_DEVICE void quantize_by_range(const T *x, Index count, const float *range, Index parts, u8 *y, float *scale_out, u8 *zero_out) {
    const float low = fold<BlockTeam, SmallestNumber, float, float>(0, parts, [&](Index k) { return range[2 * k]; });
    const float high = fold<BlockTeam, LargestNumber, float, float>(0, parts, [&](Index k) { return range[2 * k + 1]; });
    const float scale = high == low ? 1.0f : (high - low) / 255.0f;
    u8 zero;
    put(zero, math::rint(-low / scale));
    if (thread_index() == 0 && scale_out != nullptr) *scale_out = scale;
    if (thread_index() == 0 && zero_out != nullptr) *zero_out = zero;
    for (Index i = thread_index(); i < count && y != nullptr; i += thread_count())
        store(y, i, quantized<true>(load_as<float>(x, i), scale, (float)zero));
}

} // namespace smelt

#endif
