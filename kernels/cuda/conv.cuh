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

template <class A, class T, class Zero> struct WeightLines {
    const T *w;
    Index first, outputs, depth; // output channels before this group; of it
    Zero zero;
    struct Line { Index base; A zero; bool is_inside; };
    SMELT_DEVICE Line line(Index m) const {
        if (m >= outputs) return Line{0, A(0), false};
        return Line{(first + m) * depth, zero.template of<A>(first + m), true};
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        return l.is_inside && k < depth ? load_as<A>(w, l.base + k) - l.zero : A(0);
    }
};

// Line n is output position n % out_count of batch entry n / out_count; depth k is tap k % taps of channel k / taps.
template <class A, class T, class Zero> struct WindowLines {
    const T *x;
    Window window;
    ConvSizes sizes;
    Index group;
    Zero zero;
    struct Line { Index base; Place start; bool is_inside; };
    SMELT_DEVICE Line line(Index n) const {
        const Index entry = quotient(n, window.out_count());
        const Place place = place_in(window.out, n - entry * window.out_count());
        Line l;
        l.base = (entry * sizes.groups + group) * sizes.channels * window.in_count();
        l.is_inside = entry < sizes.batch;
#pragma unroll
        for (int i = 0; i < 3; ++i) l.start.at[i] = window.start(i, place.at[i]);
        return l;
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        const Index channel = quotient(k, window.taps());
        const Place tap = place_in(window.kernel, k - channel * window.taps());
        Index at = 0;
        bool is_inside = l.is_inside && channel < sizes.channels;
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            const Index position = l.start.at[i] + tap.at[i] * window.dilation[i];
            is_inside = is_inside && inside(position, window.in[i]);
            at = at * window.in[i] + position;
        }
        if (!is_inside) return A(0);
        return load_as<A>(x, l.base + channel * window.in_count() + at) - zero.template of<A>(0);
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
template <class Finish, class E> struct ConvStore {
    ConvSizes sizes;
    Index group, out_count;
    Finish finish;
    E epilogue;
    template <class A> SMELT_DEVICE void operator()(Index m, Index n, A sum) const {
        const Index entry = quotient(n, out_count);
        if (m >= sizes.outputs || entry >= sizes.batch) return;
        const Index channel = group * sizes.outputs + m;
        epilogue((entry * sizes.groups * sizes.outputs + channel) * out_count + n - entry * out_count,
                 finish(channel, sum));
    }
};

template <class Finish, class E>
SMELT_DEVICE ConvStore<Finish, E> conv_store(const ConvSizes &sizes, const Window &window, Index group, const Finish &finish,
                                             const E &epilogue) {
    return ConvStore<Finish, E>{sizes, group, window.out_count(), finish, epilogue};
}

// One group, blockIdx.y, in tiles.
template <class A, class Tile, class X, class W, class XZero, class WZero, class Finish, class E>
SMELT_DEVICE void conv_tiles(const X *x, const W *w, const Window &window, const ConvSizes &sizes, const XZero &x_zero,
                             const WZero &w_zero, const Finish &finish, const E &epilogue) {
    const Index group = (Index)blockIdx.y, depth = sizes.channels * window.taps();
    const WeightLines<A, W, WZero> rows{w, group * sizes.outputs, sizes.outputs, depth, w_zero};
    const WindowLines<A, X, XZero> cols{x, window, sizes, group, x_zero};
    multiply<A, Tile, true, false>(sizes.outputs, rows, cols, depth, conv_store(sizes, window, group, finish, epilogue));
}

// The same for one slice of the depth, blockIdx.z.
template <class A, class Tile, class X, class W, class XZero, class WZero>
SMELT_DEVICE void conv_slices(const X *x, const W *w, const Window &window, const ConvSizes &sizes, const XZero &x_zero,
                              const WZero &w_zero, Index slice_depth, A *sums) {
    const Index group = (Index)blockIdx.y, depth = sizes.channels * window.taps();
    const WeightLines<A, W, WZero> rows{w, group * sizes.outputs, sizes.outputs, depth, w_zero};
    const WindowLines<A, X, XZero> cols{x, window, sizes, group, x_zero};
    multiply_slice<A, Tile, true, false>(sizes.outputs, sizes.batch * window.out_count(), rows, cols, depth, slice_depth,
                                         group, sizes.groups, sums);
}

template <class Finish, class E> struct MakeConvStore {
    ConvSizes sizes;
    Index out_count;
    Finish finish;
    E epilogue;
    SMELT_DEVICE ConvStore<Finish, E> operator()(Index group) const {
        return ConvStore<Finish, E>{sizes, group, out_count, finish, epilogue};
    }
};

// Adds up what conv_slices left.
template <class A, class Finish, class E>
SMELT_DEVICE void conv_add_slices(const A *sums, int slices, const Window &window, const ConvSizes &sizes,
                                  const Finish &finish, const E &epilogue) {
    const MakeConvStore<Finish, E> make{sizes, window.out_count(), finish, epilogue};
    add_slices(sums, slices, sizes.groups, sizes.outputs, sizes.batch * window.out_count(), make);
}

template <class A, class Tile, class T, class Finish, class E>
SMELT_DEVICE void deform_tiles(const T *x, const T *w, const T *offset, const T *mask, const Window &window,
                               const ConvSizes &sizes, Index offset_groups, const Finish &finish, const E &epilogue) {
    const Index group = (Index)blockIdx.y, depth = sizes.channels * window.taps();
    const WeightLines<A, T, NoZero> rows{w, group * sizes.outputs, sizes.outputs, depth, NoZero{}};
    const MovedLines<A, T> cols{x, offset, mask, window, sizes, group, offset_groups};
    multiply<A, Tile, true, false>(sizes.outputs, rows, cols, depth, conv_store(sizes, window, group, finish, epilogue));
}

// -- one thread for each output element --

template <class A, class X, class W, class XZero, class WZero, class Finish, class E>
SMELT_DEVICE void conv_direct(const X *x, const W *w, const Window &window, const ConvSizes &sizes, const XZero &x_zero,
                              const WZero &w_zero, const Finish &finish, const E &epilogue) {
    const Index outputs = sizes.groups * sizes.outputs, count = sizes.batch * outputs * window.out_count();
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index plane = quotient(i, window.out_count()), entry = quotient(plane, outputs);
        const Index channel = plane - entry * outputs, group = quotient(channel, sizes.outputs);
        const Place place = place_in(window.out, i - plane * window.out_count());
        const Index z = window.start(0, place.at[0]), y = window.start(1, place.at[1]), column = window.start(2, place.at[2]);
        Index from = (entry * sizes.groups + group) * sizes.channels * window.in_count();
        Index weight = channel * sizes.channels * window.taps();
        const A own_zero = w_zero.template of<A>(channel), input_zero = x_zero.template of<A>(0);
        A sum = A(0);
        for (Index c = 0; c < sizes.channels; ++c, from += window.in_count())
            for (Index tap_z = 0; tap_z < window.kernel[0]; ++tap_z)
                for (Index tap_y = 0; tap_y < window.kernel[1]; ++tap_y)
                    for (Index tap_x = 0; tap_x < window.kernel[2]; ++tap_x, ++weight) {
                        const Index at_z = z + tap_z * window.dilation[0], at_y = y + tap_y * window.dilation[1];
                        const Index at_x = column + tap_x * window.dilation[2];
                        if (!inside(at_z, window.in[0]) || !inside(at_y, window.in[1]) || !inside(at_x, window.in[2]))
                            continue;
                        const Index at = (at_z * window.in[1] + at_y) * window.in[2] + at_x;
                        sum += (load_as<A>(x, from + at) - input_zero) * (load_as<A>(w, weight) - own_zero);
                    }
        epilogue(i, finish(channel, sum));
    }
}

// The input position that reaches an output position (the padding added) through a tap, or -1.
SMELT_DEVICE Index source_of(const Window &window, int axis, Index position, Index tap) {
    const Index reach = position + window.pad[axis] - tap * window.dilation[axis];
    if (reach < 0) return -1;
    const Index source = quotient(reach, window.stride[axis]);
    return source * window.stride[axis] == reach && source < window.in[axis] ? source : -1;
}

// window: in is the input's extent, out the output's, pad what is taken off before the output's first element.
template <class A, class T, class Finish, class E>
SMELT_DEVICE void conv_transpose(const T *x, const T *w, const Window &window, const ConvSizes &sizes, const Finish &finish,
                                 const E &epilogue) {
    const Index outputs = sizes.groups * sizes.outputs, count = sizes.batch * outputs * window.out_count();
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index plane = quotient(i, window.out_count()), entry = quotient(plane, outputs);
        const Index channel = plane - entry * outputs, group = quotient(channel, sizes.outputs);
        const Place place = place_in(window.out, i - plane * window.out_count());
        const Index from = (entry * sizes.groups + group) * sizes.channels * window.in_count();
        const Index weights =
            (group * sizes.channels * sizes.outputs + channel - group * sizes.outputs) * window.taps();
        A sum = A(0);
        for (Index tap_z = 0; tap_z < window.kernel[0]; ++tap_z) {
            const Index z = source_of(window, 0, place.at[0], tap_z);
            if (z < 0) continue;
            for (Index tap_y = 0; tap_y < window.kernel[1]; ++tap_y) {
                const Index y = source_of(window, 1, place.at[1], tap_y);
                if (y < 0) continue;
                for (Index tap_x = 0; tap_x < window.kernel[2]; ++tap_x) {
                    const Index column = source_of(window, 2, place.at[2], tap_x);
                    if (column < 0) continue;
                    const Index at = from + (z * window.in[1] + y) * window.in[2] + column;
                    const Index tap = weights + (tap_z * window.kernel[1] + tap_y) * window.kernel[2] + tap_x;
                    for (Index c = 0; c < sizes.channels; ++c)
                        sum += load_as<A>(x, at + c * window.in_count()) *
                               load_as<A>(w, tap + c * sizes.outputs * window.taps());
                }
            }
        }
        epilogue(i, finish(channel, sum));
    }
}

// Col2Im: sums of the columns' elements that belong to each pixel. x is [batch * channels * taps, columns]; window: in is how
// many blocks there are along each axis, out the image, kernel the block.
template <class A, class T, class E>
SMELT_DEVICE void col2im(const T *x, const Window &window, Index count, const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index plane = quotient(i, window.out_count());
        const Place place = place_in(window.out, i - plane * window.out_count());
        A sum = A(0);
        for (Index tap_z = 0; tap_z < window.kernel[0]; ++tap_z) {
            const Index z = source_of(window, 0, place.at[0], tap_z);
            if (z < 0) continue;
            for (Index tap_y = 0; tap_y < window.kernel[1]; ++tap_y) {
                const Index y = source_of(window, 1, place.at[1], tap_y);
                if (y < 0) continue;
                for (Index tap_x = 0; tap_x < window.kernel[2]; ++tap_x) {
                    const Index column = source_of(window, 2, place.at[2], tap_x);
                    if (column < 0) continue;
                    const Index tap = (tap_z * window.kernel[1] + tap_y) * window.kernel[2] + tap_x;
                    sum += load_as<A>(x, (plane * window.taps() + tap) * window.in_count() +
                                             (z * window.in[1] + y) * window.in[2] + column);
                }
            }
        }
        epilogue(i, sum);
    }
}

} // namespace smelt

#endif
