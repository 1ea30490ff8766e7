// Transposed convolutions whose windows do not overlap: a product of weights and input places, each result of which goes to a
// place of its own.
#ifndef SMELT_CONV_SCATTER_CUH
#define SMELT_CONV_SCATTER_CUH

#include "smelt/conv.cuh"

namespace smelt {

// Line m is output m % outputs of the group at tap m / outputs; depth k is a channel of the group.
template <class A, class T> struct TransposedLines {
    const T *w; // of the group
    Index outputs, taps, channels;
    struct Line { Index base; bool is_inside; };
    SMELT_DEVICE Line line(Index m) const {
        const Index tap = quotient(m, outputs);
        return Line{(m - tap * outputs) * taps + tap, tap < taps};
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        return l.is_inside && k < channels ? load_as<A>(w, l.base + k * outputs * taps) : A(0);
    }
};

// Line n is an input place of a batch entry.
template <class A, class T> struct PlaceLines {
    const T *x;
    Strides strides;
    Window window;
    Index batch, first, channels; // first: channel of the group
    struct Line { Index base; bool is_inside; };
    SMELT_DEVICE Line line(Index n) const {
        const Index entry = quotient(n, window.in_count());
        const Place place = place_in(window.in, n - entry * window.in_count());
        return Line{strides.plane(entry, first) + strides.place(place.at[0], place.at[1], place.at[2]), entry < batch};
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        return l.is_inside && k < channels ? load_as<A>(x, l.base + k * strides.channel) : A(0);
    }
};

template <class N, class Finish, class E> struct ScatterStore {
    ConvSizes sizes;
    Index group;
    Window window;
    N numbering;
    Finish finish;
    E epilogue;
    template <class A> SMELT_DEVICE void operator()(Index m, Index n, A sum) const {
        const Index tap = quotient(m, sizes.outputs), entry = quotient(n, window.in_count());
        if (tap >= window.taps() || entry >= sizes.batch) return;
        const Place from = place_in(window.in, n - entry * window.in_count()), step = place_in(window.kernel, tap);
        Index place = 0;
#pragma unroll
        for (int i = 0; i < 3; ++i) place = place * window.out[i] + from.at[i] * window.stride[i] + step.at[i];
        const Index channel = group * sizes.outputs + m - tap * sizes.outputs;
        epilogue(numbering.of(entry, channel, place), finish(channel, sum));
    }
};

// One group, blockIdx.y, in tiles. window as in conv_transpose; its kernel and stride are the same, and cover the output.
template <class A, class Tile, bool INNER, class T, class N, class Finish, class E>
SMELT_DEVICE void conv_scatter(const T *x, const T *w, const Strides &strides, const Window &window, const ConvSizes &sizes,
                               const N &numbering, const Finish &finish, const E &epilogue) {
    const Index group = (Index)blockIdx.y, count = sizes.outputs * window.taps();
    const TransposedLines<A, T> rows{w + group * sizes.channels * count, sizes.outputs, window.taps(), sizes.channels};
    const PlaceLines<A, T> cols{x, strides, window, sizes.batch, group * sizes.channels, sizes.channels};
    multiply<A, Tile, false, INNER>(count, rows, cols, sizes.channels,
                                    ScatterStore<N, Finish, E>{sizes, group, window, numbering, finish, epilogue});
}

} // namespace smelt

#endif
