// Pools over windows, and back.
#ifndef SMELT_POOL_CUH
#define SMELT_POOL_CUH

#include "smelt/pointwise.cuh"
#include "smelt/team.cuh"
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

template <class A> SMELT_DEVICE void combine(MaxOf<A> &pool, const MaxOf<A> &other) {
    if (other.where >= 0 && (pool.where < 0 || other.value > pool.value)) pool = other;
}
template <class A> SMELT_DEVICE void combine(MeanOf<A> &pool, const MeanOf<A> &other) { pool.sum += other.sum; }
template <class A, int P> SMELT_DEVICE void combine(NormOf<A, P> &pool, const NormOf<A, P> &other) { pool.sum += other.sum; }
// What the thread with the other number has.
template <class A> SMELT_DEVICE MaxOf<A> shuffled(const MaxOf<A> &pool, int mask) {
    MaxOf<A> other;
    other.value = shuffled(pool.value, mask);
    other.where = shuffled(pool.where, mask);
    return other;
}
template <class A> SMELT_DEVICE MeanOf<A> shuffled(const MeanOf<A> &pool, int mask) { return MeanOf<A>{shuffled(pool.sum, mask)}; }
template <class A, int P> SMELT_DEVICE NormOf<A, P> shuffled(const NormOf<A, P> &pool, int mask) {
    return NormOf<A, P>{shuffled(pool.sum, mask)};
}

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

// What an average divides by, of several pools.
struct PoolDivisor {
    Index count;
    float inverse;
    explicit SMELT_DEVICE PoolDivisor(Index n) : count(n), inverse(n > 0 ? 1.0f / (float)n : 0.0f) {}
};
template <class Pool> SMELT_DEVICE float divided(const Pool &pool, const PoolDivisor &divisor) { return pool.result(divisor.count); }
SMELT_DEVICE float divided(const MeanOf<float> &pool, const PoolDivisor &divisor) { return pool.sum * divisor.inverse; }

// The same in channels-last layout, for LANES neighbouring channels in each thread. What a pool makes of such packs, elements of
// which are of type T: it may keep them as they lie in memory.
template <class T, class Pool, int LANES> struct PackPool {
    Pool pool[LANES];
    SMELT_DEVICE void add(const Pack<T, LANES> &v) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) pool[l].add((float)fetch(v.at[l]), 0);
    }
    SMELT_DEVICE void combine(const PackPool &other) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) smelt::combine(pool[l], other.pool[l]);
    }
    SMELT_DEVICE float result(int l, const PoolDivisor &divisor) const { return divided(pool[l], divisor); }
};
template <class T, int LANES> struct PairsPool {
    union { u32 pairs[LANES / 2]; Pack<T, LANES> pack; };
    SMELT_DEVICE PairsPool() {
#pragma unroll
        for (int l = 0; l < LANES / 2; ++l) pairs[l] = Same<T, smelt_half>::value ? 0xfc00fc00u : 0xff80ff80u;
    }
    SMELT_DEVICE void add(const Pack<T, LANES> &v) {
        PairsPool other;
        other.pack = v;
        combine(other);
    }
    SMELT_DEVICE void combine(const PairsPool &other) {
#pragma unroll
        for (int l = 0; l < LANES / 2; ++l)
            pairs[l] = Same<T, smelt_half>::value ? larger_halves(pairs[l], other.pairs[l]) : larger_bf16s(pairs[l], other.pairs[l]);
    }
    SMELT_DEVICE float result(int l, const PoolDivisor &) const { return fetch(pack.at[l]); }
};
template <int LANES> struct PackPool<smelt_half, MaxOf<float>, LANES> : PairsPool<smelt_half, LANES> {};
template <int LANES> struct PackPool<smelt_bf16, MaxOf<float>, LANES> : PairsPool<smelt_bf16, LANES> {};

// A pack, where there is one: many can be under way together.
template <int LANES, class T> SMELT_DEVICE Pack<T, LANES> pack_of_window(bool is_there, const T *x, Index i) {
    if constexpr (sizeof(Pack<T, LANES>) % 16 == 0) return load_pack_if<LANES>(is_there, x, i);
    else return is_there ? load_pack<LANES>(x, i) : Pack<T, LANES>{};
}

static const int POOL_AHEAD = 20; // packs that a thread reads at a time, at most

// STRIP neighbouring places along the last axis in each thread, whose columns of elements are pooled once for all windows that
// they are in; count of such strips. WIDTH, STEP: extent and stride of windows along the last axis, where nothing is dilated.
// HEIGHT: their extent along the one before, whose rows are read at a time where they are few; 1: any, which are read one by one.
template <int LANES, int STRIP, int HEIGHT, int WIDTH, int STEP, class Pool, bool COUNT_PADDING, class T, class E>
SMELT_DEVICE void pool_strips(const T *x, const Strides &strides, Index count, const Window &window, const Place &pad_end,
                              Index channels, const E &epilogue) {
    const int COLUMNS = (STRIP - 1) * STEP + WIDTH, AHEAD = HEIGHT > 1 && COLUMNS * HEIGHT <= POOL_AHEAD ? HEIGHT : 1;
    const Index packs = quotient(channels, (Index)LANES), along = ceil_div(window.out[2], (Index)STRIP);
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index strip = quotient(i, packs), channel = (i - strip * packs) * LANES, line = quotient(strip, along);
        const Index first = (strip - line * along) * STRIP, plane = quotient(line, window.out[1]);
        const Index entry = quotient(plane, window.out[0]);
        const Place place{{plane - entry * window.out[0], line - plane * window.out[1], first}};
        const PoolTaps<COUNT_PADDING> taps(window, pad_end, place);
        const Index base = strides.plane(entry, channel);
        PackPool<T, Pool, LANES> columns[COLUMNS];
        for (Index z = taps.first[0]; z < taps.last[0]; ++z) {
            const auto add_rows = [&](Index y) {
                Pack<T, LANES> v[AHEAD][COLUMNS];
#pragma unroll
                for (int r = 0; r < AHEAD; ++r) {
                    const Index row = base + strides.place(taps.start[0] + z * window.dilation[0], taps.start[1] + (y + r) * window.dilation[1], 0);
                    const bool is_row = y + r >= taps.first[1] && y + r < taps.last[1];
#pragma unroll
                    for (int c = 0; c < COLUMNS; ++c)
                        v[r][c] = pack_of_window<LANES>(is_row && inside(taps.start[2] + c, window.in[2]), x,
                                                        row + (taps.start[2] + c) * strides.axis[2]);
                }
#pragma unroll
                for (int r = 0; r < AHEAD; ++r)
#pragma unroll
                    for (int c = 0; c < COLUMNS; ++c)
                        if (y + r >= taps.first[1] && y + r < taps.last[1] && inside(taps.start[2] + c, window.in[2])) columns[c].add(v[r][c]);
            };
            if constexpr (AHEAD > 1) add_rows(0);
            else
                for (Index y = taps.first[1]; y < taps.last[1]; ++y) add_rows(y);
        }
#pragma unroll
        for (int o = 0; o < STRIP; ++o) {
            if (first + o >= window.out[2]) break;
            PackPool<T, Pool, LANES> own = columns[o * STEP];
#pragma unroll
            for (int c = 1; c < WIDTH; ++c) own.combine(columns[o * STEP + c]);
            const PoolDivisor divisor(PoolTaps<COUNT_PADDING>(window, pad_end, Place{{place.at[0], place.at[1], first + o}}).divisor);
            const Index number = (line * window.out[2] + first + o) * channels + channel;
            typename E::Operands operands;
            epilogue.read(number, operands);
            float value[LANES];
#pragma unroll
            for (int l = 0; l < LANES; ++l) value[l] = own.result(l, divisor);
            epilogue.write(number, value, operands);
        }
    }
}

// Any other windows of packs, a place in each thread.
template <int LANES, class Pool, bool COUNT_PADDING, class T, class E>
SMELT_DEVICE void pool_packs(const T *x, const Strides &strides, Index count, const Window &window, const Place &pad_end,
                             Index channels, const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index number = i * LANES, row = quotient(number, channels), entry = quotient(row, window.out_count());
        const Index base = strides.plane(entry, number - row * channels);
        const PoolTaps<COUNT_PADDING> taps(window, pad_end, place_in(window.out, row - entry * window.out_count()));
        PackPool<T, Pool, LANES> pool;
        taps.each(window, [&](Index z, Index y, Index column) {
            pool.add(load_pack<LANES>(x, base + strides.place(z, y, column)));
        });
        typename E::Operands operands;
        epilogue.read(number, operands);
        const PoolDivisor divisor(taps.divisor);
        float value[LANES];
#pragma unroll
        for (int l = 0; l < LANES; ++l) value[l] = pool.result(l, divisor);
        epilogue.write(number, value, operands);
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
