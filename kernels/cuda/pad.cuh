// Where the elements of a padded tensor come from.
#ifndef SMELT_PAD_CUH
#define SMELT_PAD_CUH

#include "smelt/core.cuh"

namespace smelt {

enum PadMode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

// The input coordinate behind coordinate `at` of an axis of which `count` elements from `start` on stay, `front` elements
// from the beginning; -1 for the constant (and where there is nothing to repeat).
template <PadMode MODE> SMELT_DEVICE Index pad_source(Index at, Index front, Index start, Index count) {
    Index j = at - front;
    if (j >= 0 && j < count) return start + j;
    if (MODE == PAD_CONSTANT || count <= 0) return -1;
    if (MODE == PAD_EDGE) return start + (j < 0 ? 0 : count - 1);
    const Index period = MODE == PAD_WRAP ? count : larger(2 * (count - 1), (Index)1);
    j %= period;
    if (j < 0) j += period;
    return start + (MODE == PAD_REFLECT && j >= count ? period - j : j);
}

} // namespace smelt

#endif
