// Convolutions with a pool behind them whose windows share no element and lie inside: what goes into the pool is never in
// memory. Numberings and epilogues are those of the pool's result.
#ifndef SMELT_CONV_POOL_CUH
#define SMELT_CONV_POOL_CUH

#include "smelt/conv.cuh"
#include "smelt/pool.cuh"

namespace smelt {

// POOL of the convolution's results. window: in is their extents, out those of the pool's; numbering: theirs. Before,
// generated: what the pool reads, an Element, of result number i.
template <class POOL, class N, class BEFORE> struct PoolBehind {
    typedef POOL Pool;
    typedef BEFORE Before;
    Window window;
    N numbering;
    Before before;
    // The convolution's place that is element e of the window of place `own`.
    SMELT_DEVICE Index place(Index own, Index e) const {
        const Place first = place_in(window.out, own), tap = place_in(window.kernel, e);
        Index number = 0;
#pragma unroll
        for (int i = 0; i < 3; ++i) number = number * window.in[i] + first.at[i] * window.stride[i] + tap.at[i];
        return number;
    }
    template <class A> SMELT_DEVICE typename BEFORE::Element element(Index entry, Index channel, Index place, A result) const {
        return before(numbering.of(entry, channel, place), result);
    }
};

template <class Pool, class N, class Before>
SMELT_DEVICE PoolBehind<Pool, N, Before> pool_behind(const Window &window, const N &numbering, const Before &before) {
    return PoolBehind<Pool, N, Before>{window, numbering, before};
}

// A window of elements element(0), element(1), ...: TEAM threads side by side divide them, and merge what they have in an order
// that is always the same.
template <int TEAM, class Pool, class Element> SMELT_DEVICE Pool pool_window(Index taps, const Element &element) {
    Pool own;
    for (Index e = (Index)((int)threadIdx.x % TEAM); e < taps; e += TEAM) own.add(element(e), e);
    for (int mask = TEAM / 2; mask > 0; mask /= 2) {
        const Pool other = shuffled(own, mask);
        combine(own, other);
    }
    return own;
}

// One team for each element of the pool's result.
template <class A, int TEAM, class X, class W, class XZero, class WZero, class N, class Finish, class E, class P>
SMELT_DEVICE void conv_direct_pooled(X x, const W *w, const Strides &strides, const Window &window, const ConvSizes &sizes,
                                     const XZero &x_zero, const WZero &w_zero, const N &numbering, const Finish &finish,
                                     const E &epilogue, const P &pool) {
    const Index count = sizes.batch * numbering.channels * numbering.places, taps = pool.window.taps();
    for (Index i = quotient(thread_index(), TEAM); i < count; i += quotient(thread_count(), TEAM)) {
        const typename N::At own = numbering.at(i);
        const typename P::Pool result = pool_window<TEAM, typename P::Pool>(taps, [&](Index e) {
            const Index place = pool.place(own.place, e);
            const A sum = conv_sum<A>(x, w, strides, window, sizes, x_zero, w_zero, own.entry, own.channel,
                                      place_in(window.out, place));
            return pool.element(own.entry, own.channel, place, finish(own.channel, sum));
        });
        if ((int)threadIdx.x % TEAM == 0) epilogue(i, result.result(taps));
    }
}

// Adds up what conv_slices left.
template <class A, int TEAM, class N, class Finish, class E, class P>
SMELT_DEVICE void conv_add_slices_pooled(const A *sums, int slices, const ConvSizes &sizes, const N &numbering,
                                         const Finish &finish, const E &epilogue, const P &pool) {
    const Index count = sizes.batch * numbering.channels * numbering.places, taps = pool.window.taps();
    const Index all = sizes.batch * numbering.channels * pool.numbering.places;
    for (Index i = quotient(thread_index(), TEAM); i < count; i += quotient(thread_count(), TEAM)) {
        const typename N::At own = numbering.at(i);
        const Index first = (own.channel * sizes.batch + own.entry) * pool.numbering.places;
        const typename P::Pool result = pool_window<TEAM, typename P::Pool>(taps, [&](Index e) {
            const Index place = pool.place(own.place, e);
            A sum = sums[first + place];
            for (int slice = 1; slice < slices; ++slice) sum += sums[slice * all + first + place];
            return pool.element(own.entry, own.channel, place, finish(own.channel, sum));
        });
        if ((int)threadIdx.x % TEAM == 0) epilogue(i, result.result(taps));
    }
}

// The columns of a tile of COLS are the elements of as many windows as it has room for, one window behind the other. Lines: of
// the convolution's places.
template <int COLS, int TAPS, class Lines, class P> struct PooledLines {
    static const int windows = COLS / TAPS; // of a tile
    static_assert(windows > 0, "a tile holds a window");
    typedef typename Lines::Line Line;
    const Lines &lines;
    const P &pool;
    Index places; // of the pool's result
    SMELT_DEVICE Line line(Index n) const {
        const Index tile = n / COLS, window = (n % COLS) / TAPS, number = tile * windows + window;
        const Index entry = quotient(number, places), place = pool.place(number - entry * places, n % COLS - window * TAPS);
        Line own = lines.line(entry * pool.numbering.places + place);
        own.is_inside = own.is_inside && window < windows;
        return own;
    }
    template <class L> SMELT_DEVICE auto at(const L &line, Index k) const { return lines.at(line, k); }
};

// Pools of a tile's results, some rows at a time, from shared memory.
template <class T, int TAPS, class A, class N, class Finish, class E, class P>
SMELT_DEVICE void pool_tile(const A (&sum)[T::height][T::width], Index row, Index first_window, Index windows,
                            const ConvSizes &sizes, Index group, const N &numbering, const Finish &finish, const E &epilogue,
                            const P &pool) {
    const int ROWS = 4 * (T::rows / T::height), WINDOWS = T::cols / TAPS;
    typedef typename P::Before::Element Element;
    __shared__ Element stage[ROWS][T::cols + 1];
    const TileThread<T> own;
#pragma unroll
    for (int part = 0; part < T::height / 4; ++part) {
        const Index top = row + part * ROWS;
        __syncthreads();
#pragma unroll
        for (int j = 0; j < T::width; ++j) {
            const int col = own.col(j), window = col / TAPS;
            const Index number = first_window + window, entry = quotient(number, numbering.places);
            if (window >= WINDOWS || number >= windows) continue;
            const Index place = pool.place(number - entry * numbering.places, col - window * TAPS);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const Index channel = group * sizes.outputs + top + own.top + i;
                if (top + own.top + i >= sizes.outputs) continue;
                stage[own.top + i][col] = pool.element(entry, channel, place, finish(channel, sum[part * 4 + i][j]));
            }
        }
        __syncthreads();
        for (int n = (int)threadIdx.x; n < ROWS * WINDOWS; n += T::threads) {
            const int line = n / WINDOWS, window = n % WINDOWS;
            const Index number = first_window + window, entry = quotient(number, numbering.places);
            if (top + line >= sizes.outputs || number >= windows) continue;
            typename P::Pool own_pool;
            for (int e = 0; e < TAPS; ++e) own_pool.add(stage[line][window * TAPS + e], e);
            epilogue(numbering.of(entry, group * sizes.outputs + top + line, number - entry * numbering.places),
                     own_pool.result(TAPS));
        }
    }
}

// conv_tiles for windows of TAPS elements, of which no tile has a part.
template <class A, class T, bool INNER, int TAPS, class X, class W, class XZero, class WZero, class N, class Finish, class E,
          class P>
SMELT_DEVICE void conv_tiles_pooled(X x, const W *w, const Strides &strides, const Window &window, const ConvSizes &sizes,
                                    const XZero &x_zero, const WZero &w_zero, const N &numbering, const Finish &finish,
                                    const E &epilogue, const P &pool) {
    const Index group = (Index)blockIdx.y;
    const Depth<INNER> depth{sizes.channels, window.taps()};
    const WeightLines<A, INNER, W, WZero> rows{w, group * sizes.outputs, sizes.outputs, depth, w_zero};
    typedef WindowLines<A, INNER, X, XZero> Lines;
    const Lines places{x, strides, window, sizes, group, depth, x_zero};
    const PooledLines<T::cols, TAPS, Lines, P> cols{places, pool, numbering.places};
    const BlockTile<T> tile(sizes.outputs);
    A sum[T::height][T::width];
    sum_tile<A, T, true, INNER>(rows, cols, 0, depth.count(), tile.row, tile.col, sum);
    pool_tile<T, TAPS>(sum, tile.row, tile.col / T::cols * (T::cols / TAPS), sizes.batch * numbering.places, sizes, group,
                       numbering, finish, epilogue, pool);
}

} // namespace smelt

#endif
