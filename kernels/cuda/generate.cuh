// Elements that follow from their place: windows, ranges and the like.
#ifndef SMELT_GENERATE_CUH
#define SMELT_GENERATE_CUH

#include "smelt/pointwise.cuh"

namespace smelt {

// a0 - a1 cos(x) + a2 cos(2x) at step i of a period.
SMELT_DEVICE double cosine_window(Index i, Index period, double a0, double a1, double a2) {
    const double x = 2 * 3.14159265358979323846 * (double)i / (double)period;
    return period == 0 ? 1.0 : a0 - a1 * math::cos(x) + a2 * math::cos(2 * x);
}

// Whether the index that goes with element i of [outer, depth, inner] names its place along depth.
template <class I> SMELT_DEVICE bool is_hot(const I *indices, Index i, Index depth, Index inner) {
    const Index row = quotient(i, inner), outer = quotient(row, depth);
    const i64 index = load_as<i64>(indices, outer * inner + (i - row * inner));
    return (index < 0 ? index + (i64)depth : index) == (i64)(row - outer * depth);
}

} // namespace smelt

#endif
