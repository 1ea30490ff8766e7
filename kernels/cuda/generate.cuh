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

SMELT_DEVICE double mel_of_hertz(double hertz) { return 2595 * ::log10(1 + hertz / 700); }

// Edge i of the triangular bands, equally spaced on the mel scale, as a bin of the spectrum.
SMELT_DEVICE double mel_edge(double low, double step, double bins_per_hertz, Index i) {
    const double hertz = 700 * (::pow(10.0, (low + (double)i * step) / 2595) - 1);
    return ::floor(hertz * bins_per_hertz);
}

// The weight of a bin in a band: a triangle that rises to 1 at the band's center and falls again.
SMELT_DEVICE double mel_weight(double length, double rate, double lowest, double highest, Index bands, Index bin, Index band) {
    const double low = mel_of_hertz(lowest), step = (mel_of_hertz(highest) - low) / (double)(bands + 2);
    const double scale = (length + 1) / rate, at = (double)bin;
    const double left = mel_edge(low, step, scale, band), center = mel_edge(low, step, scale, band + 1);
    const double right = mel_edge(low, step, scale, band + 2);
    if (at == center) return 1;
    if (at < center) return at >= left ? (at - left) / (center - left) : 0.0;
    return at < right ? (right - at) / (right - center) : 0.0;
}

// Whether the index that goes with element i of [outer, depth, inner] names its place along depth.
template <class I> SMELT_DEVICE bool is_hot(const I *indices, Index i, Index depth, Index inner) {
    const Index row = quotient(i, inner), outer = quotient(row, depth);
    const i64 index = load_as<i64>(indices, outer * inner + (i - row * inner));
    return (index < 0 ? index + (i64)depth : index) == (i64)(row - outer * depth);
}

} // namespace smelt

#endif
