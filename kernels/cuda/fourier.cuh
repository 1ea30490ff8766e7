// Discrete Fourier transforms by their definition, in double: one thread for each frequency of each line.
#ifndef SMELT_FOURIER_CUH
#define SMELT_FOURIER_CUH

#include "smelt/pointwise.cuh"

namespace smelt {

struct Complex { double re, im; };

// cos and sin of each n-th part of a turn.
SMELT_DEVICE void fourier_table(Index n, double *table) {
    for (Index k = thread_index(); k < n; k += thread_count()) {
        const double angle = 2 * 3.14159265358979323846 * (double)k / (double)n;
        table[2 * k] = math::cos(angle);
        table[2 * k + 1] = math::sin(angle);
    }
}

// sign: -1, or 1 for the inverse. signal(line, i) gives sample i < samples <= n, result(line, bin, sum) stores.
template <class Signal, class Result>
SMELT_DEVICE void fourier_bins(const double *table, Index n, Index lines, Index bins, Index samples, double sign,
                               const Signal &signal, const Result &result) {
    for (Index t = thread_index(); t < lines * bins; t += thread_count()) {
        const Index line = quotient(t, bins), bin = t - line * bins;
        Complex sum{0, 0};
        Index turn = 0;
        for (Index i = 0; i < samples; ++i) {
            const Complex x = signal(line, i);
            const double c = table[2 * turn], s = sign * table[2 * turn + 1];
            sum.re += x.re * c - x.im * s;
            sum.im += x.re * s + x.im * c;
            turn += bin;
            if (turn >= n) turn -= n;
        }
        result(line, bin, sum);
    }
}

template <class T> SMELT_DEVICE Complex load_complex(const T *x, Index i, Index parts) {
    return Complex{load_as<double>(x, i * parts), parts == 2 ? load_as<double>(x, i * parts + 1) : 0.0};
}

// Lines along the middle of [outer, extent, inner], followed by zeros. mirrored: half a spectrum, whose other half is its
// conjugate.
template <class T> struct LineSignal {
    const T *x;
    Index n, extent, inner, parts;
    bool mirrored;
    SMELT_DEVICE Complex operator()(Index line, Index i) const {
        const bool flipped = mirrored && i > n / 2;
        const Index outer = quotient(line, inner), own = flipped ? n - i : i;
        if (own >= extent) return Complex{0, 0};
        Complex sample = load_complex(x, (outer * extent + own) * inner + (line - outer * inner), parts);
        if (flipped) sample.im = -sample.im;
        return sample;
    }
};

// Frames of [batch, length], `step` apart, times a window (NULL: ones).
template <class T> struct FrameSignal {
    const T *x, *window;
    Index frames, step, length, width, parts; // width: of the window
    SMELT_DEVICE Complex operator()(Index line, Index i) const {
        const Index batch = quotient(line, frames), at = (line - batch * frames) * step + i;
        if (i >= width || at >= length) return Complex{0, 0};
        const double weight = window == nullptr ? 1.0 : load_as<double>(window, i);
        const Complex sample = load_complex(x, batch * length + at, parts);
        return Complex{sample.re * weight, sample.im * weight};
    }
};

template <class T> struct LineResult {
    T *y;
    Index bins, inner, parts;
    double scale;
    SMELT_DEVICE void operator()(Index line, Index bin, Complex sum) const {
        const Index outer = quotient(line, inner), at = ((outer * bins + bin) * inner + (line - outer * inner)) * parts;
        store(y, at, sum.re * scale);
        if (parts == 2) store(y, at + 1, sum.im * scale);
    }
};

} // namespace smelt

#endif
