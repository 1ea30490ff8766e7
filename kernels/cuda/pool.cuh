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
    static SMELT_DEVICE MaxOf of(A x, Index at) { return MaxOf{x, at}; }
    SMELT_DEVICE void add(A x, Index at) {
        if (x <= value && where >= 0) return;
        value = x;
        where = at;
    }
    SMELT_DEVICE A result(Index) const { return value; }
};

template <class A> struct MeanOf {
    A sum = A(0);
    static SMELT_DEVICE MeanOf of(A x, Index) { return MeanOf{x}; }
    SMELT_DEVICE void add(A x, Index) { sum += x; }
    SMELT_DEVICE A result(Index count) const { return count > 0 ? sum / (A)count : A(0); }
};

template <class A, int P> struct NormOf {
    A sum = A(0);
    static SMELT_DEVICE NormOf of(A x, Index) {
        const A size = math::abs(x);
        return NormOf{P == 1 ? size : P == 2 ? x * x : math::pow(size, (A)P)};
    }
    SMELT_DEVICE void add(A x, Index at) { sum += of(x, at).sum; }
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
    explicit SMELT_DEVICE PoolDivisor(Index n) : count(n), inverse(n > 0 ? reciprocal((float)n) : 0.0f) {}
};
template <class Pool> SMELT_DEVICE float divided(const Pool &pool, const PoolDivisor &divisor) { return pool.result(divisor.count); }
SMELT_DEVICE float divided(const MeanOf<float> &pool, const PoolDivisor &divisor) { return pool.sum * divisor.inverse; }

// The same in channels-last layout, for LANES neighbouring channels in each thread, words of memory. What a pool makes of such
// packs, elements of which are of type T: it may keep them as they are. A pack of NOTHING changes no result.
template <class T, int LANES> using PoolWords = Pack<u32, (int)sizeof(T) * LANES / 4>;
template <int LANES, class T> SMELT_DEVICE PoolWords<T, LANES> load_words(const T *p) {
    return load_pack<(int)sizeof(T) * LANES / 4>(reinterpret_cast<const u32 *>(p), 0);
}
template <class T, int WORDS> SMELT_DEVICE float lane_of(const Pack<u32, WORDS> &words, int l) {
    if constexpr (sizeof(T) == 4) return float_of_bits(words.at[l]);
    else return fetch(T{(Raw<T>)(words.at[l * sizeof(T) / 4] >> l % (4 / sizeof(T)) * sizeof(T) * 8)});
}
template <class T, class Pool, int LANES> struct PackPool {
    static const u32 NOTHING = 0;
    Pool pool[LANES];
    PackPool() = default;
    explicit SMELT_DEVICE PackPool(const PoolWords<T, LANES> &v) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) pool[l] = Pool::of(lane_of<T>(v, l), 0);
    }
    SMELT_DEVICE void add(const PoolWords<T, LANES> &v) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) pool[l].add(lane_of<T>(v, l), 0);
    }
    SMELT_DEVICE void combine(const PackPool &other) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) smelt::combine(pool[l], other.pool[l]);
    }
    SMELT_DEVICE float result(int l, const PoolDivisor &divisor) const { return divided(pool[l], divisor); }
};
// The larger number where one of two is NaN. Word: what is larger in a word of elements.
template <class T, int LANES, class Word> struct WordsPool {
    static const u32 NOTHING = Word::LEAST;
    PoolWords<T, LANES> words;
    SMELT_DEVICE WordsPool() {
#pragma unroll
        for (u32 &word : words.at) word = NOTHING;
    }
    explicit SMELT_DEVICE WordsPool(const PoolWords<T, LANES> &v) : words(v) {}
    SMELT_DEVICE void add(const PoolWords<T, LANES> &v) {
#pragma unroll
        for (int w = 0; w < (int)sizeof(words) / 4; ++w) words.at[w] = Word::larger(words.at[w], v.at[w]);
    }
    SMELT_DEVICE void combine(const WordsPool &other) { add(other.words); }
    SMELT_DEVICE float result(int l, const PoolDivisor &) const { return lane_of<T>(words, l); }
};
struct LargerHalves {
    static const u32 LEAST = 0xfc00fc00u;
    static SMELT_DEVICE u32 larger(u32 a, u32 b) { return larger_halves(a, b); }
};
struct LargerBf16s {
    static const u32 LEAST = 0xff80ff80u;
    static SMELT_DEVICE u32 larger(u32 a, u32 b) { return larger_bf16s(a, b); }
};
struct LargerFloat {
    static const u32 LEAST = 0xff800000u;
    static SMELT_DEVICE u32 larger(u32 a, u32 b) { return bits_of_float(::fmaxf(float_of_bits(a), float_of_bits(b))); }
};
template <int LANES> struct PackPool<smelt_half, MaxOf<float>, LANES> : WordsPool<smelt_half, LANES, LargerHalves> {
    using WordsPool<smelt_half, LANES, LargerHalves>::WordsPool;
};
template <int LANES> struct PackPool<smelt_bf16, MaxOf<float>, LANES> : WordsPool<smelt_bf16, LANES, LargerBf16s> {
    using WordsPool<smelt_bf16, LANES, LargerBf16s>::WordsPool;
};
template <int LANES> struct PackPool<float, MaxOf<float>, LANES> : WordsPool<float, LANES, LargerFloat> {
    using WordsPool<float, LANES, LargerFloat>::WordsPool;
};

// Places [first, first + WIDTH) of a line, whose neighbours (1, 2), (3, 4).. are merged once for all windows.
template <int WIDTH, int COUNT, class P> struct PooledLine {
    P one[COUNT], pair[COUNT];
    SMELT_DEVICE void set(int i, const P &p) {
        one[i] = p;
        if (i > 0 && i % 2 == 0) {
            pair[i - 1] = one[i - 1];
            pair[i - 1].combine(p);
        }
    }
    SMELT_DEVICE P window(int first) const {
        P own = first % 2 == 1 && WIDTH > 1 ? pair[first] : one[first];
#pragma unroll
        for (int k = 1; k < WIDTH; ++k)
            if ((first + k) % 2 == 1) own.combine(k + 1 < WIDTH ? pair[first + k] : one[first + k]);
        return own;
    }
};

// An axis of a tile: so many windows of an extent, a step apart.
template <int COUNT_, int EXTENT_, int STEP_> struct PoolLine {
    static const int COUNT = COUNT_, EXTENT = EXTENT_, STEP = STEP_, PLACES = (COUNT - 1) * STEP + EXTENT;
    static SMELT_DEVICE constexpr bool reads(int place) { return EXTENT >= STEP || place % STEP < EXTENT; }
    // Elements of a window that an average divides by, along this axis.
    static SMELT_DEVICE Index elements(Index start, Index in, Index pad_end, bool count_padding) {
        return count_padding ? smaller((Index)EXTENT, in + pad_end - start) : larger(smaller(start + EXTENT, in) - larger(start, (Index)0), (Index)0);
    }
};

static const int POOL_AHEAD = 18; // packs that a thread reads at a time, at most, unless a line has more

// A thread has a tile of Down x Across windows of DEPTH planes that lie side by side, and goes down its lines. PACKS packs of
// neighbouring channels in GROUP x LINES tiles are neighbouring threads; count of threads, with those that fill up groups.
template <int LANES, class Across, class Down, int DEPTH, int PACKS, int GROUP, int LINES, class Pool, bool COUNT_PADDING> struct PoolTiles {
    static const int COLUMNS = Across::PLACES, ROWS = Down::PLACES, WANTED = POOL_AHEAD / (DEPTH * COLUMNS);
    static const int AHEAD = WANTED < 1 ? 1 : WANTED < ROWS ? WANTED : ROWS;

    // Where a thread is: of the first window.
    struct Tile {
        Index entry, channel, z, y, x;
        SMELT_DEVICE Tile(Index rest, const Window &window, Index channels) {
            channel = next_digit(rest, PACKS);
            x = next_digit(rest, GROUP);
            y = next_digit(rest, LINES);
            channel = (channel + next_digit(rest, quotient(channels, (Index)(LANES * PACKS))) * PACKS) * LANES;
            x = (x + next_digit(rest, ceil_div(window.out[2], (Index)(GROUP * Across::COUNT))) * GROUP) * Across::COUNT;
            y = (y + next_digit(rest, ceil_div(window.out[1], (Index)(LINES * Down::COUNT))) * LINES) * Down::COUNT;
            z = next_digit(rest, window.out[0]);
            entry = rest;
        }
    };

    template <class T, class E>
    static SMELT_DEVICE void pool(const Tile &tile, const T *x, const Strides &strides, const Window &window, const Place &pad_end, Index channels,
                                  const E &epilogue) {
        typedef PackPool<T, Pool, LANES> P;
        const Index z = window.start(0, tile.z), y = window.start(1, tile.y), column = window.start(2, tile.x);
        const T *first = x + strides.plane(tile.entry, tile.channel) + strides.place(z, y, column);
        PoolWords<T, LANES> v[AHEAD][DEPTH][COLUMNS];
        const auto read = [&](int r) {
#pragma unroll
            for (int p = 0; p < DEPTH; ++p)
#pragma unroll
                for (int c = 0; c < COLUMNS; ++c) {
                    if (!Across::reads(c) || !Down::reads(r)) continue;
                    PoolWords<T, LANES> &to = v[r % AHEAD][p][c];
#pragma unroll
                    for (u32 &word : to.at) word = P::NOTHING;
                    to = load_pack_if<(int)sizeof(to) / 4>(inside(z + p, window.in[0]) && inside(y + r, window.in[1]) && inside(column + c, window.in[2]),
                                                           reinterpret_cast<const u32 *>(first + strides.place(p, r, c)), 0, to);
                }
        };
#pragma unroll
        for (int r = 0; r < AHEAD; ++r) read(r);
        Index number = (((tile.entry * window.out[0] + tile.z) * window.out[1] + tile.y) * window.out[2] + tile.x) * channels + tile.channel;
        const Index planes = PoolLine<1, DEPTH, 1>::elements(z, window.in[0], pad_end.at[0], COUNT_PADDING);
        PooledLine<Down::EXTENT, ROWS, P> lines[Across::COUNT];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            PooledLine<Across::EXTENT, COLUMNS, P> line;
#pragma unroll
            for (int c = 0; c < COLUMNS; ++c) {
                P one(v[r % AHEAD][0][c]);
#pragma unroll
                for (int p = 1; p < DEPTH; ++p) one.combine(P(v[r % AHEAD][p][c]));
                line.set(c, one);
            }
            if (r + AHEAD < ROWS) read(r + AHEAD);
#pragma unroll
            for (int o = 0; o < Across::COUNT; ++o) lines[o].set(r, line.window(o * Across::STEP));
            const int d = (r - Down::EXTENT + 1) / Down::STEP;
            if (r < Down::EXTENT - 1 || d * Down::STEP + Down::EXTENT - 1 != r || tile.y + d >= window.out[1]) continue;
            const Index high = Down::elements(y + d * Down::STEP, window.in[1], pad_end.at[1], COUNT_PADDING) * planes;
#pragma unroll
            for (int o = 0; o < Across::COUNT; ++o) {
                if (tile.x + o >= window.out[2]) break;
                const PoolDivisor divisor(Across::elements(column + o * Across::STEP, window.in[2], pad_end.at[2], COUNT_PADDING) * high);
                const P own = lines[o].window(d * Down::STEP);
                const Index to = number + (d * window.out[2] + o) * channels;
                typename E::Operands operands;
                epilogue.read(to, operands);
                float value[LANES];
#pragma unroll
                for (int l = 0; l < LANES; ++l) value[l] = own.result(l, divisor);
                epilogue.write(to, value, operands);
            }
        }
    }

    template <class T, class E>
    static SMELT_DEVICE void run(const T *x, const Strides &strides, Index count, const Window &window, const Place &pad_end, Index channels,
                                 const E &epilogue) {
        Index e = thread_index();
        Tile tile(e, window, channels);
        wait_for_previous_kernel();
        while (e < count) {
            if (tile.y < window.out[1] && tile.x < window.out[2]) pool(tile, x, strides, window, pad_end, channels, epilogue);
            e += thread_count();
            if (e < count) tile = Tile(e, window, channels);
        }
    }
};

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
            pool.add(load_words<LANES>(x + base + strides.place(z, y, column)));
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
