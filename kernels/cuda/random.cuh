// Random numbers by their place, bit for bit as ops/random.c draws them.
#ifndef SMELT_RANDOM_CUH
#define SMELT_RANDOM_CUH

#include "smelt/pointwise.cuh"

namespace smelt {

// The finaliser of SplitMix64.
SMELT_DEVICE u64 random_bits(u64 seed, u64 i) {
    u64 x = seed + (i + 1) * 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// In [0, 1).
SMELT_DEVICE double random_unit(u64 seed, i64 i) { return (double)(random_bits(seed, (u64)i) >> 11) * 0x1p-53; }

SMELT_DEVICE double random_normal(u64 seed, i64 i) {
    const double radius = math::sqrt(-2 * math::log(1 - random_unit(seed, 2 * i)));
    return radius * math::cos(6.283185307179586 * random_unit(seed, 2 * i + 1));
}

// Running sums of exp(x - largest) of each row.
template <class T> SMELT_DEVICE void weigh_classes(const T *x, Index rows, Index classes, double *sums) {
    for (Index row = thread_index(); row < rows; row += thread_count()) {
        double most = -infinity_f64(), sum = 0;
        for (Index k = 0; k < classes; ++k) {
            const double weight = load_as<double>(x, row * classes + k);
            most = weight > most ? weight : most;
        }
        for (Index k = 0; k < classes; ++k)
            sums[row * classes + k] = sum += math::exp(load_as<double>(x, row * classes + k) - most);
    }
}

// The first class of sample i's row whose running sum is above a random part of the last. classes > 0.
SMELT_DEVICE i64 draw_class(const double *sums, Index classes, Index samples, u64 seed, Index i) {
    const double *own = sums + quotient(i, samples) * classes;
    const double at = random_unit(seed, (i64)i) * own[classes - 1];
    Index low = 0, high = classes - 1;
    while (low < high) {
        const Index middle = low + (high - low) / 2;
        if (own[middle] > at) high = middle;
        else low = middle + 1;
    }
    return (i64)low;
}

} // namespace smelt

#endif
