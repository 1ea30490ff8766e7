// Sliding windows over up to three spatial axes, what is subtracted from quantized elements, and what becomes of sums.
#ifndef SMELT_WINDOW_CUH
#define SMELT_WINDOW_CUH

#include "smelt/core.cuh"

namespace smelt {

// A position in three axes, slowest first.
struct Place { Index at[3]; };

// Axes that the input lacks come first and have extent 1.
struct Window {
    Index in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    SMELT_DEVICE Index in_count() const { return in[0] * in[1] * in[2]; }
    SMELT_DEVICE Index out_count() const { return out[0] * out[1] * out[2]; }
    SMELT_DEVICE Index taps() const { return kernel[0] * kernel[1] * kernel[2]; }
    // Input position of tap 0 at an output position.
    SMELT_DEVICE Index start(int axis, Index position) const { return position * stride[axis] - pad[axis]; }
};

SMELT_DEVICE Place place_in(const Index *extents, Index i) {
    const Index rows = quotient(i, extents[2]), planes = quotient(rows, extents[1]);
    return Place{{planes, rows - planes * extents[1], i - rows * extents[2]}};
}

SMELT_DEVICE bool inside(Index i, Index extent) { return i >= 0 && i < extent; }

// Elements from one to the next along each axis of a tensor [batch, channels, spatial axes].
struct Strides {
    Index batch, channel, axis[3];
    SMELT_DEVICE Index plane(Index entry, Index c) const { return entry * batch + c * channel; }
    SMELT_DEVICE Index place(Index z, Index y, Index x) const { return z * axis[0] + y * axis[1] + x * axis[2]; }
};

// How the elements of a result [batch, channels, places] are numbered: in this order, or channels last.
template <bool CHANNELS_LAST> struct Numbering {
    Index channels, places;
    struct At { Index entry, channel, place; };
    SMELT_DEVICE Index of(Index entry, Index channel, Index place) const {
        if (CHANNELS_LAST) return (entry * places + place) * channels + channel;
        return (entry * channels + channel) * places + place;
    }
    SMELT_DEVICE At at(Index i) const {
        const Index inner = CHANNELS_LAST ? channels : places, middle = CHANNELS_LAST ? places : channels;
        const Index rows = quotient(i, inner), entry = quotient(rows, middle), a = rows - entry * middle, b = i - rows * inner;
        return CHANNELS_LAST ? At{entry, b, a} : At{entry, a, b};
    }
};

// -- zero points: a number to subtract for each line of an operand --

struct NoZero {
    template <class A> SMELT_DEVICE A of(Index) const { return A(0); }
};

// step: 0 for one zero point of all lines, 1 for one of each.
template <class Z> struct ZeroPoint {
    const Z *p;
    Index step;
    template <class A> SMELT_DEVICE A of(Index line) const { return load_as<A>(p, line * step); }
};

// -- what becomes of the sum for an output channel --

struct PlainSum {
    template <class A> SMELT_DEVICE A operator()(Index, A sum) const { return sum; }
};

template <class B> struct AddBias {
    const B *bias;
    template <class A> SMELT_DEVICE A operator()(Index channel, A sum) const { return sum + load_as<A>(bias, channel); }
};

// A sum of products of quantized numbers as a quantized number. Bias: PlainSum or AddBias.
template <class Bias, class XS, class WS, class YS, class Z> struct Requantize {
    Bias bias;
    const XS *x_scale;
    const WS *w_scale;
    Index w_step; // 1 for a scale of each channel
    const YS *y_scale;
    const Z *y_zero;
    template <class A> SMELT_DEVICE double operator()(Index channel, A sum) const {
        const double scale =
            load_as<double>(x_scale, 0) * load_as<double>(w_scale, channel * w_step) / load_as<double>(y_scale, 0);
        return ::rint((double)bias(channel, sum) * scale) + load_as<double>(y_zero, 0);
    }
};

} // namespace smelt

#endif
