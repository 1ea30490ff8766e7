// Convolutions: as products of weights and windows in tiles, and directly; their transposes and deformable ones.
//
// Tensors are [batch, channels, spatial axes]; weights [outputs, channels of a group, taps], those of transposed
// convolutions [channels, outputs of a group, taps].
#ifndef SMELT_CONV_CUH
#define SMELT_CONV_CUH

#include "smelt/product.cuh"
#include "smelt/window.cuh"

namespace smelt {

// channels and outputs are those of one group.
struct ConvSizes { Index batch, groups, channels, outputs; };

// -- operands of the product, for one group --

// Depth k is tap k % taps of channel k / taps, as weights lie; CHANNELS_INNER: channel k % channels at tap k / channels.
template <bool CHANNELS_INNER> struct Depth {
    Index channels, taps;
    struct At { Index channel, tap; };
    SMELT_DEVICE Index count() const { return channels * taps; }
    SMELT_DEVICE At at(Index k) const {
        const Index inner = CHANNELS_INNER ? channels : taps, slow = quotient(k, inner), fast = k - slow * inner;
        return CHANNELS_INNER ? At{fast, slow} : At{slow, fast};
    }
    SMELT_DEVICE Index weight(Index k) const {
        if (!CHANNELS_INNER) return k;
        const At own = at(k);
        return own.channel * taps + own.tap;
    }
};

template <class A, bool INNER, class T, class Zero> struct WeightLines {
    const T *w;
    Index first, outputs; // output channels before this group; of it
    Depth<INNER> depth;
    Zero zero;
    struct Line { Index base; A zero; bool is_inside; };
    SMELT_DEVICE Line line(Index m) const {
        if (m >= outputs) return Line{0, A(0), false};
        return Line{(first + m) * depth.count(), zero.template of<A>(first + m), true};
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        return l.is_inside && k < depth.count() ? load_as<A>(w, l.base + depth.weight(k)) - l.zero : A(0);
    }
};

// Line n is output position n % out_count of batch entry n / out_count.
template <class A, bool INNER, class X, class Zero> struct WindowLines {
    X x;
    Strides strides;
    Window window;
    ConvSizes sizes;
    Index group;
    Depth<INNER> depth;
    Zero zero;
    struct Line { Index base; Place start; bool is_inside; };
    SMELT_DEVICE Line line(Index n) const {
        const Index entry = quotient(n, window.out_count());
        const Place place = place_in(window.out, n - entry * window.out_count());
        Line l;
        l.base = strides.plane(entry, group * sizes.channels);
        l.is_inside = entry < sizes.batch;
#pragma unroll
        for (int i = 0; i < 3; ++i) l.start.at[i] = window.start(i, place.at[i]);
        return l;
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        const typename Depth<INNER>::At own = depth.at(k);
        const Place tap = place_in(window.kernel, own.tap);
        Index at = l.base + own.channel * strides.channel;
        bool is_inside = l.is_inside && k < depth.count();
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            const Index position = l.start.at[i] + tap.at[i] * window.dilation[i];
            is_inside = is_inside && inside(position, window.in[i]);
            at += position * strides.axis[i];
        }
        return is_inside ? load_as<A>(x, at) - zero.template of<A>(0) : A(0);
    }
};

// Bilinear sample of a plane of in[1] x in[2] elements; 0 outside.
template <class A, class T> SMELT_DEVICE A sample_plane(const T *x, Index plane, const Window &window, double at_y, double at_x) {
    if (!(at_y > -1 && at_y < (double)window.in[1] && at_x > -1 && at_x < (double)window.in[2])) return A(0);
    const double floor_y = ::floor(at_y), floor_x = ::floor(at_x);
    const A part_y = (A)(at_y - floor_y), part_x = (A)(at_x - floor_x);
    A sum = A(0);
#pragma unroll
    for (int corner = 0; corner < 4; ++corner) {
        const Index y = (Index)floor_y + corner / 2, column = (Index)floor_x + corner % 2;
        if (!inside(y, window.in[1]) || !inside(column, window.in[2])) continue;
        const A weight = (corner < 2 ? 1 - part_y : part_y) * (corner % 2 == 0 ? 1 - part_x : part_x);
        sum += weight * load_as<A>(x, plane + y * window.in[2] + column);
    }
    return sum;
}

// Windows whose taps an input moves: offset [batch, offset groups, taps, 2, out], mask without the 2, or NULL.
template <class A, class T> struct MovedLines {
    const T *x, *offset, *mask;
    Window window;
    ConvSizes sizes;
    Index group, offset_groups;
    struct Line { Index entry, position; bool is_inside; };
    SMELT_DEVICE Line line(Index n) const {
        const Index entry = quotient(n, window.out_count());
        return Line{entry, n - entry * window.out_count(), entry < sizes.batch};
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        const Index own = quotient(k, window.taps()), tap = k - own * window.taps();
        if (!l.is_inside || own >= sizes.channels) return A(0);
        const Index all = sizes.channels * sizes.groups, channel = group * sizes.channels + own;
        const Index move = (l.entry * offset_groups + quotient(channel, quotient(all, offset_groups))) * window.taps() + tap;
        const Place place = place_in(window.out, l.position), step = place_in(window.kernel, tap);
        const Index y = window.start(1, place.at[1]) + step.at[1] * window.dilation[1];
        const Index column = window.start(2, place.at[2]) + step.at[2] * window.dilation[2];
        const double at_y = (double)y + load_as<double>(offset, 2 * move * window.out_count() + l.position);
        const double at_x = (double)column + load_as<double>(offset, (2 * move + 1) * window.out_count() + l.position);
        const A value = sample_plane<A>(x, (l.entry * all + channel) * window.in_count(), window, at_y, at_x);
        return mask == nullptr ? value : value * load_as<A>(mask, move * window.out_count() + l.position);
    }
};

// Puts sums where they belong in the output.
template <class N, class Finish, class E> struct ConvStore {
    ConvSizes sizes;
    Index group;
    N numbering;
    Finish finish;
    E epilogue;
    template <class A> SMELT_DEVICE void operator()(Index m, Index n, A sum) const {
        const Index entry = quotient(n, numbering.places);
        if (m >= sizes.outputs || entry >= sizes.batch) return;
        const Index channel = group * sizes.outputs + m;
        epilogue(numbering.of(entry, channel, n - entry * numbering.places), finish(channel, sum));
    }
};

template <class N, class Finish, class E>
SMELT_DEVICE ConvStore<N, Finish, E> conv_store(const ConvSizes &sizes, Index group, const N &numbering, const Finish &finish,
                                                const E &epilogue) {
    return ConvStore<N, Finish, E>{sizes, group, numbering, finish, epilogue};
}

// One group, blockIdx.y, in tiles. INNER: the input's channels are neighbours, and so are a window's elements that are read
// side by side.
template <class A, class Tile, bool INNER, class X, class W, class XZero, class WZero, class N, class Finish, class E>
SMELT_DEVICE void conv_tiles(X x, const W *w, const Strides &strides, const Window &window, const ConvSizes &sizes,
                             const XZero &x_zero, const WZero &w_zero, const N &numbering, const Finish &finish,
                             const E &epilogue) {
    const Index group = (Index)blockIdx.y;
    const Depth<INNER> depth{sizes.channels, window.taps()};
    const WeightLines<A, INNER, W, WZero> rows{w, group * sizes.outputs, sizes.outputs, depth, w_zero};
    const WindowLines<A, INNER, X, XZero> cols{x, strides, window, sizes, group, depth, x_zero};
    multiply<A, Tile, true, INNER>(sizes.outputs, rows, cols, depth.count(),
                                   conv_store(sizes, group, numbering, finish, epilogue));
}

// The same for one slice of the depth, blockIdx.z.
template <class A, class Tile, bool INNER, class X, class W, class XZero, class WZero>
SMELT_DEVICE void conv_slices(X x, const W *w, const Strides &strides, const Window &window, const ConvSizes &sizes,
                              const XZero &x_zero, const WZero &w_zero, Index slice_depth, A *sums) {
    const Index group = (Index)blockIdx.y;
    const Depth<INNER> depth{sizes.channels, window.taps()};
    const WeightLines<A, INNER, W, WZero> rows{w, group * sizes.outputs, sizes.outputs, depth, w_zero};
    const WindowLines<A, INNER, X, XZero> cols{x, strides, window, sizes, group, depth, x_zero};
    multiply_slice<A, Tile, true, INNER>(sizes.outputs, sizes.batch * window.out_count(), rows, cols, depth.count(),
                                         slice_depth, group, sizes.groups, sums);
}

template <class N, class Finish, class E> struct MakeConvStore {
    ConvSizes sizes;
    N numbering;
    Finish finish;
    E epilogue;
    SMELT_DEVICE ConvStore<N, Finish, E> operator()(Index group) const {
        return ConvStore<N, Finish, E>{sizes, group, numbering, finish, epilogue};
    }
};

// Adds up what conv_slices left.
template <class A, class N, class Finish, class E>
SMELT_DEVICE void conv_add_slices(const A *sums, int slices, const ConvSizes &sizes, const N &numbering, const Finish &finish,
                                  const E &epilogue) {
    const MakeConvStore<N, Finish, E> make{sizes, numbering, finish, epilogue};
    add_slices(sums, slices, sizes.groups, sizes.outputs, sizes.batch * numbering.places, make);
}

template <class A, class Tile, class T, class Finish, class E>
SMELT_DEVICE void deform_tiles(const T *x, const T *w, const T *offset, const T *mask, const Window &window,
                               const ConvSizes &sizes, Index offset_groups, const Finish &finish, const E &epilogue) {
    const Index group = (Index)blockIdx.y;
    const Depth<false> depth{sizes.channels, window.taps()};
    const Numbering<false> numbering{sizes.groups * sizes.outputs, window.out_count()};
    const WeightLines<A, false, T, NoZero> rows{w, group * sizes.outputs, sizes.outputs, depth, NoZero{}};
    const MovedLines<A, T> cols{x, offset, mask, window, sizes, group, offset_groups};
    multiply<A, Tile, true, false>(sizes.outputs, rows, cols, depth.count(),
                                   conv_store(sizes, group, numbering, finish, epilogue));
}

// -- one thread for each output element --

// The sum for one place of a channel.
template <class A, class X, class W, class XZero, class WZero>
SMELT_DEVICE A conv_sum(const X &x, const W *w, const Strides &strides, const Window &window, const ConvSizes &sizes,
                        const XZero &x_zero, const WZero &w_zero, Index entry, Index channel, const Place &place) {
    const Index group = quotient(channel, sizes.outputs);
    const Index z = window.start(0, place.at[0]), y = window.start(1, place.at[1]), column = window.start(2, place.at[2]);
    Index from = strides.plane(entry, group * sizes.channels);
    Index weight = channel * sizes.channels * window.taps();
    const A own_zero = w_zero.template of<A>(channel), input_zero = x_zero.template of<A>(0);
    A sum = A(0);
    for (Index c = 0; c < sizes.channels; ++c, from += strides.channel)
        for (Index tap_z = 0; tap_z < window.kernel[0]; ++tap_z)
            for (Index tap_y = 0; tap_y < window.kernel[1]; ++tap_y)
                for (Index tap_x = 0; tap_x < window.kernel[2]; ++tap_x, ++weight) {
                    const Index at_z = z + tap_z * window.dilation[0], at_y = y + tap_y * window.dilation[1];
                    const Index at_x = column + tap_x * window.dilation[2];
                    if (!inside(at_z, window.in[0]) || !inside(at_y, window.in[1]) || !inside(at_x, window.in[2])) continue;
                    const Index at = from + strides.place(at_z, at_y, at_x);
                    sum += (load_as<A>(x, at) - input_zero) * (load_as<A>(w, weight) - own_zero);
                }
    return sum;
}

template <class A, class X, class W, class XZero, class WZero, class N, class Finish, class E>
SMELT_DEVICE void conv_direct(X x, const W *w, const Strides &strides, const Window &window, const ConvSizes &sizes,
                              const XZero &x_zero, const WZero &w_zero, const N &numbering, const Finish &finish,
                              const E &epilogue) {
    const Index count = sizes.batch * numbering.channels * numbering.places;
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const typename N::At own = numbering.at(i);
        const A sum = conv_sum<A>(x, w, strides, window, sizes, x_zero, w_zero, own.entry, own.channel,
                                  place_in(window.out, own.place));
        epilogue(i, finish(own.channel, sum));
    }
}

// The input position that reaches an output position (the padding added) through a tap, or -1.
SMELT_DEVICE Index source_of(const Window &window, int axis, Index position, Index tap) {
    const Index reach = position + window.pad[axis] - tap * window.dilation[axis];
    if (reach < 0) return -1;
    const Index source = quotient(reach, window.stride[axis]);
    return source * window.stride[axis] == reach && source < window.in[axis] ? source : -1;
}

// Calls visit(tap, z, y, column) for each tap that reaches a place of the output and the input position that it comes from.
// window: in is the input's extent, out the output's, pad what is taken off before the output's first element.
template <class Visit> SMELT_DEVICE void each_source(const Window &window, const Place &place, const Visit &visit) {
    for (Index tap_z = 0; tap_z < window.kernel[0]; ++tap_z) {
        const Index z = source_of(window, 0, place.at[0], tap_z);
        if (z < 0) continue;
        for (Index tap_y = 0; tap_y < window.kernel[1]; ++tap_y) {
            const Index y = source_of(window, 1, place.at[1], tap_y);
            if (y < 0) continue;
            for (Index tap_x = 0; tap_x < window.kernel[2]; ++tap_x) {
                const Index column = source_of(window, 2, place.at[2], tap_x);
                if (column >= 0) visit((tap_z * window.kernel[1] + tap_y) * window.kernel[2] + tap_x, z, y, column);
            }
        }
    }
}

template <class A, class T, class N, class Finish, class E>
SMELT_DEVICE void conv_transpose(const T *x, const T *w, const Strides &strides, const Window &window, const ConvSizes &sizes,
                                 const N &numbering, const Finish &finish, const E &epilogue) {
    const Index count = sizes.batch * numbering.channels * numbering.places;
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const typename N::At own = numbering.at(i);
        const Index channel = own.channel, group = quotient(channel, sizes.outputs);
        const Index from = strides.plane(own.entry, group * sizes.channels);
        const Index weights =
            (group * sizes.channels * sizes.outputs + channel - group * sizes.outputs) * window.taps();
        A sum = A(0);
        each_source(window, place_in(window.out, own.place), [&](Index tap, Index z, Index y, Index column) {
            const Index at = from + strides.place(z, y, column);
            for (Index c = 0; c < sizes.channels; ++c)
                sum += load_as<A>(x, at + c * strides.channel) *
                       load_as<A>(w, weights + tap + c * sizes.outputs * window.taps());
        });
        epilogue(i, finish(channel, sum));
    }
}

// Col2Im: sums of the columns' elements that belong to each pixel. x is [batch * channels * taps, columns]; window: in is how
// many blocks there are along each axis, out the image, kernel the block.
template <class A, class T, class E>
SMELT_DEVICE void col2im(const T *x, const Window &window, Index count, const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index plane = quotient(i, window.out_count());
        A sum = A(0);
        each_source(window, place_in(window.out, i - plane * window.out_count()),
                    [&](Index tap, Index z, Index y, Index column) {
                        sum += load_as<A>(x, (plane * window.taps() + tap) * window.in_count() +
                                                 (z * window.in[1] + y) * window.in[2] + column);
                    });
        epilogue(i, sum);
    }
}

} // namespace smelt

#endif
