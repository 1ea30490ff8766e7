// Pools over windows and over whole planes, and back.
#ifndef SMELT_POOL_CUH
#define SMELT_POOL_CUH

#include "smelt/pointwise.cuh"
#include "smelt/window.cuh"

namespace smelt {

// -- what a pool does with the elements it covers --

// The first of the largest elements; NaN is never kept where something follows it.
template <class A> struct MaxOf {
    A value = lowest<A>();
    Index where = -1;
    SMELT_DEVICE void add(A x, Index at) {
        if (x <= value && where >= 0) return;
        value = x;
        where = at;
    }
    SMELT_DEVICE A result(Index) const { return value; }
};

template <class A> struct MeanOf {
    A sum = A(0);
    SMELT_DEVICE void add(A x, Index) { sum += x; }
    SMELT_DEVICE A result(Index count) const { return count > 0 ? sum / (A)count : A(0); }
};

template <class A, int P> struct NormOf {
    A sum = A(0);
    SMELT_DEVICE void add(A x, Index) {
        const A size = math::abs(x);
        sum += P == 1 ? size : P == 2 ? x * x : math::pow(size, (A)P);
    }
    SMELT_DEVICE A result(Index) const {
        return P == 1 ? sum : P == 2 ? math::sqrt(sum) : math::pow(sum, 1 / (A)P);
    }
};

// What becomes of the place of a maximum: nothing, or the index that MaxPool reports: over the whole input, spatial axes
// in row-major order, or in the opposite order.
struct NoIndices {
    SMELT_DEVICE void operator()(Index, Index, const Place &, Index, Index, const Window &) const {}
};
template <bool OPPOSITE> struct StoreIndices {
    i64 *to;
    Strides strides;
    SMELT_DEVICE void operator()(Index entry, Index channel, const Place &place, Index plane, Index where,
                                 const Window &window) const {
        const Place at = place_in(window.in, larger(where, (Index)0));
        const Index own = OPPOSITE ? (at.at[2] * window.in[1] + at.at[1]) * window.in[0] + at.at[0] : where;
        to[strides.plane(entry, channel) + strides.place(place.at[0], place.at[1], place.at[2])] =
            where < 0 ? 0 : plane * window.in_count() + own;
    }
};
SMELT_DEVICE Index where_of(const void *) { return -1; }
template <class A> SMELT_DEVICE Index where_of(const MaxOf<A> *pool) { return pool->where; }

// Taps [first, last) of an axis that are inside the input.
SMELT_DEVICE Index first_tap(const Window &window, int axis, Index start) {
    return start < 0 ? ceil_div(-start, window.dilation[axis]) : 0;
}
SMELT_DEVICE Index last_tap(const Window &window, int axis, Index start) {
    if (start >= window.in[axis]) return 0;
    return smaller(window.kernel[axis], ceil_div(window.in[axis] - start, window.dilation[axis]));
}

// The taps of one output place that are inside the input, and what an average divides by. pad_end: behind the last element of
// each axis. COUNT_PADDING: that divides by padding too.
template <bool COUNT_PADDING> struct PoolTaps {
    Index start[3], first[3], last[3], divisor;
    SMELT_DEVICE PoolTaps(const Window &window, const Place &pad_end, const Place &place) : divisor(1) {
#pragma unroll
        for (int axis = 0; axis < 3; ++axis) {
            start[axis] = window.start(axis, place.at[axis]);
            first[axis] = first_tap(window, axis, start[axis]);
            last[axis] = larger(last_tap(window, axis, start[axis]), first[axis]);
            const Index room = window.in[axis] + pad_end.at[axis] - start[axis];
            divisor *= COUNT_PADDING ? smaller(window.kernel[axis], ceil_div(room, window.dilation[axis]))
                                     : last[axis] - first[axis];
        }
    }
    // Calls body(z, y, x) for the input place of each.
    template <class Body> SMELT_DEVICE void each(const Window &window, const Body &body) const {
        for (Index z = first[0]; z < last[0]; ++z)
            for (Index y = first[1]; y < last[1]; ++y)
                for (Index k = first[2]; k < last[2]; ++k)
                    body(start[0] + z * window.dilation[0], start[1] + y * window.dilation[1],
                         start[2] + k * window.dilation[2]);
    }
};

// One thread for each output element.
template <class A, class Pool, bool COUNT_PADDING, class X, class N, class I, class E>
SMELT_DEVICE void pool_windows(const X &x, const Strides &strides, Index count, const Window &window, const Place &pad_end,
                               const N &numbering, const I &indices, const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const typename N::At own = numbering.at(i);
        const Place place = place_in(window.out, own.place);
        const Index base = strides.plane(own.entry, own.channel);
        const PoolTaps<COUNT_PADDING> taps(window, pad_end, place);
        Pool pool;
        taps.each(window, [&](Index z, Index y, Index column) {
            pool.add(load_as<A>(x, base + strides.place(z, y, column)), (z * window.in[1] + y) * window.in[2] + column);
        });
        indices(own.entry, own.channel, place, own.entry * numbering.channels + own.channel, where_of(&pool), window);
        epilogue(i, pool.result(taps.divisor));
    }
}

// The same in channels-last layout, for LANES channels in each thread; count of such packs.
template <int LANES, class Pool, bool COUNT_PADDING, class T, class E>
SMELT_DEVICE void pool_packs(const T *x, const Strides &strides, Index count, const Window &window, const Place &pad_end,
                             Index channels, const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index number = i * LANES, row = quotient(number, channels), entry = quotient(row, window.out_count());
        const Index base = strides.plane(entry, number - row * channels);
        const PoolTaps<COUNT_PADDING> taps(window, pad_end, place_in(window.out, row - entry * window.out_count()));
        Pool pool[LANES];
        taps.each(window, [&](Index z, Index y, Index column) {
            const Pack<T, LANES> v = load_pack<LANES>(x, base + strides.place(z, y, column));
#pragma unroll
            for (int l = 0; l < LANES; ++l) pool[l].add((float)fetch(v.at[l]), 0);
        });
        typename E::Operands operands;
        epilogue.read(number, operands);
        float value[LANES];
#pragma unroll
        for (int l = 0; l < LANES; ++l) value[l] = pool[l].result(taps.divisor);
        epilogue.write(number, value, operands);
    }
}

// -- planes --

template <class A> SMELT_DEVICE void combine(MaxOf<A> &pool, const MaxOf<A> &other) {
    if (other.where >= 0 && (pool.where < 0 || other.value > pool.value)) pool = other;
}
template <class A> SMELT_DEVICE void combine(MeanOf<A> &pool, const MeanOf<A> &other) { pool.sum += other.sum; }
template <class A, int P> SMELT_DEVICE void combine(NormOf<A, P> &pool, const NormOf<A, P> &other) { pool.sum += other.sum; }

// COLUMNS planes for each block of THREADS, which read them side by side; always added up in the same order. Slices, generated,
// says where element k of a plane lies: at base(plane) + at(k).
template <class A, class Pool, int THREADS, int COLUMNS, class X, class S, class E>
SMELT_DEVICE void pool_planes(const X &x, const S &slices, Index planes, Index extent, const E &epilogue) {
    struct Bytes { alignas(Pool) u8 at[sizeof(Pool)]; };
    __shared__ Bytes shared[THREADS];
    Pool *const pools = reinterpret_cast<Pool *>(shared);
    const int LANES = THREADS / COLUMNS, lane = (int)threadIdx.x / COLUMNS, column = (int)threadIdx.x % COLUMNS;
    for (Index first = (Index)blockIdx.x * COLUMNS; first < planes; first += (Index)gridDim.x * COLUMNS) {
        const Index plane = first + column, base = slices.base(smaller(plane, planes - 1));
        Pool pool;
        for (Index i = (Index)lane; i < extent; i += LANES) pool.add(load_as<A>(x, base + slices.at(i)), i);
        __syncthreads();
        pools[threadIdx.x] = pool;
        __syncthreads();
        for (int half = LANES / 2; half > 0; half /= 2) {
            if (lane < half) combine(pools[threadIdx.x], pools[(int)threadIdx.x + half * COLUMNS]);
            __syncthreads();
        }
        if (lane == 0 && plane < planes) epilogue(plane, pools[threadIdx.x].result(extent));
    }
}

// -- back --

template <class T> SMELT_DEVICE void fill_zeros(T *to, Index count) {
    for (Index i = thread_index(); i < count; i += thread_count()) put(to[i], 0.0f);
}

// Puts elements back where MaxPool took them from: indices count in a tensor of extents `from`, whose elements are also
// those of the larger one of extents `to`. Indices outside are passed over.
template <int RANK, class T> struct Unpool {
    Index from[RANK], to[RANK];
    SMELT_DEVICE void run(const T *x, const i64 *indices, T *y, Index count) const {
        for (Index i = thread_index(); i < count; i += thread_count()) {
            i64 rest = indices[i];
            Index place = 0, stride = 1;
            bool is_inside = rest >= 0;
#pragma unroll
            for (int axis = RANK - 1; axis >= 0; --axis) {
                const i64 at = axis == 0 ? rest : rest % from[axis];
                is_inside = is_inside && at < to[axis];
                rest /= from[axis];
                place += (Index)at * stride;
                stride *= to[axis];
            }
            if (is_inside) y[place] = x[i];
        }
    }
};

} // namespace smelt

#endif
