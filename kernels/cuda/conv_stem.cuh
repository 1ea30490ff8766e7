// Convolutions of few channels on matrix units: what a window holds of all channels is one sum. A block computes tiles of
// places; the patch of the input that their windows see lies in shared memory, narrow and with channels innermost, and warps
// read their operands straight from it.
#ifndef SMELT_CONV_STEM_CUH
#define SMELT_CONV_STEM_CUH

#include "smelt/conv_pool.cuh"
#include "smelt/mma.cuh"
#include "smelt/sums.cuh"

namespace smelt {

// A tile of Z x Y x X places, and how the patch of the input lies in shared memory that their windows see: in lines along x.
// PACK elements of a line are read with one access.
template <int Z, int Y, int X, int PACK> struct StemTile {
    static const int depth = Z, height = Y, width = X, places = Z * Y * X, pack = PACK;
    int extent[3]; // of the patch; the last in packs
    int lead;      // elements of a line in front of the first window, so that packs begin where they do in memory
    int shift;     // elements of shared memory in front of a line's first one
    int pitch;     // from line to line, elements of shared memory
    int copy;      // elements from the patch to a second one that begins an element later, for windows at odd places; 0: none
};

// What a patch is read from: packs of N elements that lie in memory, which are copied to shared memory as they are, or elements
// that are computed one by one.
template <class V, int N> struct StemPacks {
    typedef Pack<V, N> Element;
    static const bool copies = sizeof(Element) >= 4;
    const V *p;
    SMELT_DEVICE Element read(Index i) const { return load_pack<N>(p, i); }
};
template <class X> struct StemElements {
    typedef Pack<float, 1> Element;
    static const bool copies = false;
    X x;
    SMELT_DEVICE Element read(Index i) const { return Element{{load_as<float>(x, i)}}; }
};
template <int N, class V> SMELT_DEVICE StemPacks<V, N> stem_packs(const V *p) { return {p}; }
template <class X> SMELT_DEVICE StemElements<X> stem_elements(const X &x) { return {x}; }

// The packs of a patch that a thread reads, on their way.
template <class X, bool COPIES> struct StemPack {
    typename X::Element held;
    SMELT_DEVICE void begin(const X &x, void *, Index i, bool found) {
        held = typename X::Element{};
        if (found) held = x.read(i);
    }
    SMELT_DEVICE void end() {}
    SMELT_DEVICE typename X::Element get(const void *) const { return held; }
};
template <class X> struct StemPack<X, true> {
    typedef typename X::Element Element;
    LaterCopy<sizeof(Element)> copy;
    SMELT_DEVICE void begin(const X &x, void *slot, Index i, bool found) {
        copy.begin(slot, x.p + (found ? i : 0), found ? (int)sizeof(Element) : 0);
    }
    SMELT_DEVICE void end() { copy.end(); }
    SMELT_DEVICE Element get(const void *slot) const { return *static_cast<const Element *>(slot); }
};

// What becomes of the sums of a tile: results, handed to the epilogue.
struct StemResults {
    static const bool pools = false;
};
// Or what a pool of maxima reads, in shared memory, from which it makes a tile of Z x Y x X results of its own. Its windows may overlap:
// tiles then compute what they share once each.
template <int Z, int Y, int X, int TAPS, class P> struct StemPool {
    static const bool pools = true;
    static const int depth = Z, height = Y, width = X, places = Z * Y * X, taps = TAPS;
    P pool;
};
template <int Z, int Y, int X, int TAPS, class P> SMELT_DEVICE StemPool<Z, Y, X, TAPS, P> stem_pool(const P &pool) {
    return {pool};
}

// T: smelt_half, smelt_bf16 or float (which nothing pools). A block of WARPS computes COLS channels, a multiple of 32, of a tile at
// a time; STEPS * step_terms terms hold all, in pairs of neighbours, or, of float, each for itself as TF32. Those of the first DIRECT steps begin at even
// elements of the patch or of its copy, the others anywhere; of float, they are all there.
// The result is channels-last, its channels a multiple of 8; bias may be nullptr.
// moments: MomentParts or NoMoments, of results that no pool reads.
template <class T, int COLS, int STEPS, int DIRECT, int WARPS, class Tile, int HELD, int CHANNELS, class X, class W, class B,
          class Behind, class E, class M>
struct ConvStem {
    static const int tiles = COLS / 8, threads = WARPS * 32, pack = Tile::pack, channels = CHANNELS;
    static const bool floats = Same<T, float>::value;
    static const int step_terms = 32 / (int)sizeof(T), terms = STEPS * step_terms;
    typedef Raw<T> Word; // how numbers lie in a patch
    static const int size = (int)sizeof(Word);
    typedef typename X::Element Element;
    typedef StemPack<X, X::copies> Held;
    const X &x;
    const W *weights;
    Strides strides;
    Window window;
    Tile tile;
    Index batch, outputs;
    const B *bias;
    const Behind &behind;
    const E &epilogue;
    const M &moment_parts;

    struct MomentTile { // as TileMoments wants it
        static const int consumers = threads, cols = COLS;
    };
    struct alignas(16) Fragments { u32 at[4]; }; // of two tiles of the right operand
    // Of two pairs of terms that a thread reads: bytes from a window's first element to the first and to the second << 16, and
    // which bytes of the two make the pair. Where pairs are read at once, the place of the first alone counts. Of float there is
    // one term in place of a pair.
    struct alignas(16) Pairs { u32 at[4]; };
    struct Term {
        int place;  // bytes from the window's first element, negative: there is no such term
        int weight; // elements from the channel's first one
    };
    struct Shared {
        Fragments b[STEPS][tiles / 2][32];
        Pairs pairs[STEPS][4];
        Term term[terms];
        float bias[tiles / 4][4][8];
    };
    // Behind it: the packs of the next patch as they are read, the patch, and what a pool reads. Before the first patch is there,
    // the weights lie in its place.
    struct Memory {
        Shared *shared;
        Element *packs;
        Word *patch;
        u32 *stage;
    };
    SMELT_DEVICE Memory memory() const {
        u8 *const all = block_memory(), *const packs = all + sizeof(Shared);
        u8 *const patch = packs + (X::copies ? ceil_div(HELD * channels * threads * (int)sizeof(Element), 16) * 16 : 0);
        u8 *const stage = patch + size * (tile.copy + ceil_div(tile.extent[0] * tile.extent[1] * tile.pitch, 8) * 8);
        return {reinterpret_cast<Shared *>(all), reinterpret_cast<Element *>(packs), reinterpret_cast<Word *>(patch),
                reinterpret_cast<u32 *>(stage)};
    }
    // Where a tile is.
    struct Corner {
        Index entry, number[3], first[3], start[3], base; // which tile; places of the result; elements of the input
    };

    // Terms of each line of a window come in pairs, first those with both, then the last ones of lines of odd length.
    SMELT_DEVICE Term term(int k) const {
        const int wide = window.dilation[2] == 1 ? (int)window.kernel[2] : 1, length = wide * channels, even = length / 2 * 2;
        const int lines = (int)window.taps() / wide;
        if (k >= lines * length) return {-1, 0};
        const bool paired = k < lines * even;
        const int line = paired ? k / even : k - lines * even, at = paired ? k % even : length - 1;
        const int tap = line * wide + at / channels, channel = at % channels;
        const Place place = place_in(window.kernel, (Index)tap);
        int step[3];
        for (int i = 0; i < 3; ++i) step[i] = (int)(place.at[i] * window.dilation[i]);
        const int row = (step[0] * tile.extent[1] + step[1]) * tile.pitch;
        return {size * (row + step[2] * channels + channel), channel * (int)window.taps() + tap};
    }
    SMELT_DEVICE void fill_pairs(Shared &shared) const {
        for (int k = threadIdx.x; k < terms; k += threads) shared.term[k] = term(k);
        __syncthreads();
        for (int n = threadIdx.x; floats && n < terms; n += threads) {
            const int place = shared.term[n].place;
            u32 *to = &shared.pairs[n / 8][n % 4].at[n % 8 / 4 * 2];
            to[0] = (u32)larger(place, 0);
            to[1] = place < 0 ? 0 : ~0u; // the bits that count
        }
        if (floats) return;
        for (int n = threadIdx.x; n < terms / 2; n += threads) {
            const int first = shared.term[2 * n].place, second = shared.term[2 * n + 1].place;
            u32 *to = &shared.pairs[n / 8][n % 4].at[n % 8 / 4 * 2];
            to[0] = n < DIRECT * 8 ? (u32)first : (u32)larger(first, 0) | (u32)larger(second, 0) << 16;
            to[1] = first < 0 ? 0x2222 : second < 0 ? 0x3210 : 0x5410;
        }
    }
    // The weights of the block's channels, as they lie.
    SMELT_DEVICE void copy_weights(W *to, Index first) const {
        const Index depth = channels * window.taps(), count = smaller((Index)COLS, outputs - first) * depth;
        const int each = 16 / (int)sizeof(W);
        for (Index i = (Index)threadIdx.x * each; i < count; i += threads * each) {
            LaterCopy<16> copy;
            copy.begin(to + i, weights + first * depth + i, (int)smaller(count - i, (Index)each) * (int)sizeof(W));
            copy.end();
        }
    }
    // What a register of the right operand has: of the pair, or term, number k.
    static SMELT_DEVICE u32 bits_of(smelt_half x) { return x.bits; }
    static SMELT_DEVICE u32 bits_of(smelt_bf16 x) { return x.bits; }
    static SMELT_DEVICE u32 bits_of(float x) { return tf32_of(x); }
    SMELT_DEVICE u32 weights_of(const Shared &shared, const W *own, int channel, bool there, int k) const {
        if (floats) {
            const Term only = shared.term[k];
            return there && only.place >= 0 ? bits_of(own[channel * channels * (int)window.taps() + only.weight]) : 0;
        }
        k *= 2;
        const Term first = shared.term[k], second = shared.term[k + 1];
        const int line = channel * channels * (int)window.taps();
        return (there && first.place >= 0 ? bits_of(own[line + first.weight]) : 0) |
               (there && second.place >= 0 ? bits_of(own[line + second.weight]) : 0) << 16;
    }
    // Columns of the right operand are spread so that a thread gets 8 neighbouring channels of a row.
    SMELT_DEVICE void fill(Shared &shared, const W *own, Index first) const {
        const int lane = threadIdx.x % 32, column = lane / 4;
#pragma unroll 4
        for (int e = threadIdx.x / 32; e < STEPS * tiles; e += WARPS) {
            const int n = e % tiles, step = e / tiles, k = step * 8 + lane % 4;
            const int channel = n / 4 * 32 + column / 2 * 8 + n % 4 * 2 + column % 2;
            const bool there = first + channel < outputs;
            u32 *to = &shared.b[step][n / 2][lane].at[n % 2 * 2];
            to[0] = weights_of(shared, own, channel, there, k);
            to[1] = weights_of(shared, own, channel, there, k + 4);
        }
    }
    // Everything that all tiles need; the packs of the first are on their way.
    SMELT_DEVICE void prepare(const Memory &memory, Index first) const {
        Shared &shared = *memory.shared;
        W *const own = reinterpret_cast<W *>(memory.patch);
        copy_weights(own, first);
        close_copies();
        for (int c = threadIdx.x; c < COLS; c += threads)
            shared.bias[c / 32][c % 32 / 8][c % 8] =
                bias != nullptr && first + c < outputs ? load_as<float>(bias, first + c) : 0.0f;
        fill_pairs(shared);
        wait_for_copies<0>();
        __syncthreads();
        fill(shared, own, first);
        __syncthreads();
    }

    // -- the patch --

    // Tiles along an axis, and the first place of one: what a pool needs may begin outside of the result.
    SMELT_DEVICE Index across(int axis) const {
        if constexpr (Behind::pools) {
            const int extents[3] = {Behind::depth, Behind::height, Behind::width};
            return ceil_div(behind.pool.window.out[axis], (Index)extents[axis]);
        } else {
            const int extents[3] = {Tile::depth, Tile::height, Tile::width};
            return ceil_div(window.out[axis], (Index)extents[axis]);
        }
    }
    SMELT_DEVICE Index first_of(int axis, Index number) const {
        if constexpr (Behind::pools) {
            const int extents[3] = {Behind::depth, Behind::height, Behind::width};
            return behind.pool.window.start(axis, number * extents[axis]);
        } else {
            const int extents[3] = {Tile::depth, Tile::height, Tile::width};
            return number * extents[axis];
        }
    }
    SMELT_DEVICE Index tile_count() const { return across(0) * across(1) * across(2) * batch; }
    SMELT_DEVICE Corner corner(Index number) const {
        const Index extents[3] = {across(0), across(1), across(2)}, all = extents[0] * extents[1] * extents[2];
        const Index entry = quotient(number, all);
        const Place at = place_in(extents, number - entry * all);
        Corner corner = {entry, {at.at[0], at.at[1], at.at[2]}, {}, {}, 0};
        for (int i = 0; i < 3; ++i) {
            corner.first[i] = first_of(i, at.at[i]);
            corner.start[i] = window.start(i, corner.first[i]) - (i == 2 ? tile.lead : 0);
        }
        corner.base = strides.plane(entry, 0) + strides.place(corner.start[0], corner.start[1], corner.start[2]);
        return corner;
    }
    // Packs of all channels at one place of the patch: how far it is from the corner.
    struct Spot {
        int at[3];
        bool inside;
    };
    SMELT_DEVICE Spot spot(int e) const {
        const int line = e / tile.extent[2], plane = line / tile.extent[1];
        return {{plane, line - plane * tile.extent[1], (e - line * tile.extent[2]) * pack}, plane < tile.extent[0]};
    }
    SMELT_DEVICE void read(const Memory &memory, const Corner &corner, Held (&held)[HELD][channels]) const {
#pragma unroll
        for (int i = 0; i < HELD; ++i) {
            const int e = i * threads + (int)threadIdx.x;
            const Spot own = spot(e);
            bool found = own.inside;
            for (int a = 0; a < 3; ++a) found = found && inside(corner.start[a] + own.at[a], window.in[a]);
            const Index from = corner.base + strides.place(own.at[0], own.at[1], own.at[2]);
#pragma unroll
            for (int c = 0; c < channels; ++c)
                held[i][c].begin(x, memory.packs + e * channels + c, from + c * strides.channel, found);
        }
        close_copies();
    }
    // Neighbouring elements of shared memory, of which the first has an odd place or not.
    template <bool ODD, int N> static SMELT_DEVICE void put_line(u32 *to, const float (&numbers)[N], bool) {
#pragma unroll
        for (int k = 0; k < N; ++k) to[k] = tf32_of(numbers[k]);
    }
    template <bool ODD, int N> static SMELT_DEVICE void put_line(u16 *to, const float (&numbers)[N], bool with_first) {
        const int first = ODD ? 1 : 0;
        if (ODD && with_first) to[0] = narrow_bits(T{}, numbers[0]);
#pragma unroll
        for (int k = first; k + 1 < N; k += 2) *reinterpret_cast<u32 *>(to + k) = pair_of<T>(numbers[k], numbers[k + 1]);
        if ((N - first) % 2 != 0) to[N - 1] = narrow_bits(T{}, numbers[N - 1]);
    }
    SMELT_DEVICE void put(const Memory &memory, Held (&held)[HELD][channels]) const {
#pragma unroll
        for (int i = 0; i < HELD; ++i)
#pragma unroll
            for (int c = 0; c < channels; ++c) held[i][c].end();
        wait_for_copies<0>(); // a thread reads what it has copied itself
#pragma unroll
        for (int i = 0; i < HELD; ++i) {
            const int e = i * threads + (int)threadIdx.x;
            const Spot own = spot(e);
            if (!own.inside) continue;
            float numbers[pack * channels];
#pragma unroll
            for (int c = 0; c < channels; ++c) {
                const Element wide = held[i][c].get(memory.packs + e * channels + c);
#pragma unroll
                for (int k = 0; k < pack; ++k) numbers[k * channels + c] = convert<float>(fetch(wide.at[k]));
            }
            const int at = (own.at[0] * tile.extent[1] + own.at[1]) * tile.pitch + tile.shift + own.at[2] * channels;
            put_spot(memory.patch + at, numbers, tile.shift % 2 != 0, at % 2 != 0, true);
            if (tile.copy != 0) put_spot(memory.patch + tile.copy + at - 1, numbers, tile.shift % 2 == 0, at % 2 == 0, at > 0);
        }
    }
    // odd, known beforehand: whether a line's first pack begins at an odd place; own: the same of this one.
    SMELT_DEVICE void put_spot(Word *to, const float (&numbers)[pack * channels], bool odd, bool own, bool with_first) const {
        if (pack * channels % 2 == 0 ? odd : own)
            put_line<true>(to, numbers, with_first);
        else
            put_line<false>(to, numbers, with_first);
    }

    // -- the product --

    struct Spread { int z, y, x; };
    static SMELT_DEVICE Spread spread(int place) {
        return {place / (Tile::width * Tile::height), place / Tile::width % Tile::height, place % Tile::width};
    }
    // Of the 32 places that a warp computes at a time a thread has 4 in operands, 8 from each other, in one line or two.
    static const bool one_line = Tile::width % 32 == 0;
    static_assert(Tile::places % 32 == 0 && (one_line || (Tile::width == 16 && Tile::height % 2 == 0)), "warps have whole lines");
    // Bytes of the patch from the first to number i.
    SMELT_DEVICE int apart(int i) const {
        const int x = one_line ? i * 8 : i % 2 * 8, y = one_line ? 0 : i / 2;
        return size * (y * (int)window.stride[1] * tile.pitch + x * (int)window.stride[2] * channels);
    }
    // Where a thread's pairs of the steps that read them at once begin, in bytes: the first, the second << 16.
    static const int most_known = DIRECT < 16 ? DIRECT : 16;
    struct Known { u32 at[most_known > 0 ? most_known : 1]; };
    SMELT_DEVICE Known known(const Shared &shared) const {
        Known known;
#pragma unroll
        for (int k = 0; k < most_known; ++k) {
            const Pairs pairs = shared.pairs[k][threadIdx.x % 4];
            known.at[k] = pairs.at[0] | pairs.at[2] << 16;
        }
        return known;
    }
    static SMELT_DEVICE void multiply(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
        if constexpr (floats)
            multiply_floats(sums, a, b0, b1);
        else
            multiply_matrices<T>(sums, a, b0, b1);
    }
    SMELT_DEVICE void multiply_step(const Shared &shared, int step, const u32 (&a)[2][4], float (&sums)[2][tiles][4]) const {
#pragma unroll
        for (int n = 0; n < tiles / 2; ++n) {
            const Fragments b = shared.b[step][n][threadIdx.x % 32];
#pragma unroll
            for (int m = 0; m < 2; ++m) {
                multiply(sums[m][2 * n], a[m], b.at[0], b.at[1]);
                multiply(sums[m][2 * n + 1], a[m], b.at[2], b.at[3]);
            }
        }
    }
    // row: the window of the thread's first place.
    SMELT_DEVICE void step_at_once(const Shared &shared, int step, const u8 *row, u32 places, float (&sums)[2][tiles][4]) const {
        const u8 *const from[2] = {row + (places & 0xffff), row + (places >> 16)};
        u32 a[2][4];
#pragma unroll
        for (int i = 0; i < 8; ++i)
            a[i / 4][i % 4] = *reinterpret_cast<const u32 *>(from[i % 4 / 2] + apart(i / 4 * 2 + i % 2));
        multiply_step(shared, step, a, sums);
    }
    SMELT_DEVICE void step_by_halves(const Shared &shared, int step, const u8 *row, float (&sums)[2][tiles][4]) const {
        const Pairs pairs = shared.pairs[step][threadIdx.x % 4];
        u32 a[2][4];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const u32 places = pairs.at[half * 2], chosen = pairs.at[half * 2 + 1];
            if (floats) {
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    a[i / 2][half * 2 + i % 2] = *reinterpret_cast<const u32 *>(row + places + apart(i)) & chosen;
                continue;
            }
            const u8 *const first = row + (places & 0xffff), *const second = row + (places >> 16);
#pragma unroll
            for (int i = 0; i < 4; ++i)
                a[i / 2][half * 2 + i % 2] = __byte_perm(*reinterpret_cast<const u16 *>(first + apart(i)),
                                                         *reinterpret_cast<const u16 *>(second + apart(i)), chosen);
        }
        multiply_step(shared, step, a, sums);
    }
    SMELT_DEVICE bool is_result(const Corner &corner, int place) const {
        const Spread at = spread(place);
        return inside(corner.first[0] + at.z, window.out[0]) &&
               inside(corner.first[1] + at.y, window.out[1]) && inside(corner.first[2] + at.x, window.out[2]);
    }
    // 8 channels at a time of a place.
    SMELT_DEVICE void store(u32 *stage, const Corner &corner, Index first_col, int place, const float (&sums)[tiles][4],
                            int half) const {
        const Spread at = spread(place);
        const Index out[3] = {corner.first[0] + at.z, corner.first[1] + at.y, corner.first[2] + at.x};
        if (!is_result(corner, place)) return;
        const Index row = (out[0] * window.out[1] + out[1]) * window.out[2] + out[2];
#pragma unroll
        for (int group = 0; group < tiles / 4; ++group) {
            const int own = group * 4 + (int)threadIdx.x % 4;
            const Index col = first_col + own * 8;
            if (col >= outputs) return;
            float y[8];
#pragma unroll
            for (int k = 0; k < 8; ++k) y[k] = sums[group * 4 + k / 2][half * 2 + k % 2];
            if constexpr (Behind::pools) {
                Pack<u32, 4> pack;
#pragma unroll
                for (int k = 0; k < 4; ++k)
                    pack.at[k] = pair_of<T>(behind.pool.element(corner.entry, col + 2 * k, row, y[2 * k]),
                                            behind.pool.element(corner.entry, col + 2 * k + 1, row, y[2 * k + 1]));
                store_pack(stage, staged(place, own), pack);
            } else {
                typename E::Operands operands;
                const Index number = (corner.entry * window.out_count() + row) * outputs + col;
                epilogue.read(number, operands);
                epilogue.write(number, y, operands);
            }
        }
    }
    static SMELT_DEVICE u32 larger_pair(smelt_half, u32 a, u32 b) { return larger_halves(a, b); }
    static SMELT_DEVICE u32 larger_pair(smelt_bf16, u32 a, u32 b) { return larger_bf16s(a, b); }
    // Where 8 channels of a place lie for the pool: neighbouring places meet no bank twice.
    static SMELT_DEVICE int staged(int place, int group) { return place * COLS / 2 + (group ^ place % (tiles < 8 ? tiles : 8)) * 4; }
    // The pool's results of the tile.
    SMELT_DEVICE void pool_stage(const u32 *stage, const Corner &corner, Index first_col) const {
        const Window &windows = behind.pool.window;
        const int extents[3] = {Behind::depth, Behind::height, Behind::width};
        for (int e = threadIdx.x; e < Behind::places * tiles; e += threads) {
            const int group = e % tiles, number = e / tiles, line = number / Behind::width;
            const int at[3] = {line / Behind::height, line % Behind::height, number - line * Behind::width};
            const Index col = first_col + group * 8;
            Index out[3];
            bool found = col < outputs;
            for (int i = 0; i < 3; ++i) {
                out[i] = corner.number[i] * extents[i] + at[i];
                found = found && out[i] < windows.out[i];
            }
            if (!found) continue;
            Pack<u32, 4> most = {{0x7fff7fffu, 0x7fff7fffu, 0x7fff7fffu, 0x7fff7fffu}}; // NaNs: nothing is smaller
#pragma unroll
            for (int tap = 0; tap < Behind::taps; ++tap) {
                const Place step = place_in(windows.kernel, (Index)tap);
                int own[3];
                bool there = true;
                for (int i = 0; i < 3; ++i) {
                    own[i] = at[i] * (int)windows.stride[i] + (int)step.at[i];
                    there = there && inside(corner.first[i] + own[i], window.out[i]);
                }
                if (!there) continue;
                const int place = (own[0] * Tile::height + own[1]) * Tile::width + own[2];
                const Pack<u32, 4> pack = load_pack<4>(stage, staged(place, group));
#pragma unroll
                for (int k = 0; k < 4; ++k) most.at[k] = larger_pair(T{}, most.at[k], pack.at[k]);
            }
            float y[8];
#pragma unroll
            for (int k = 0; k < 8; ++k) y[k] = fetch(T{(u16)(most.at[k / 2] >> k % 2 * 16)});
            const Index row = (out[0] * windows.out[1] + out[1]) * windows.out[2] + out[2];
            const Index to = (corner.entry * windows.out_count() + row) * outputs + col;
            typename E::Operands operands;
            epilogue.read(to, operands);
            epilogue.write(to, y, operands);
        }
    }
    // 32 places of the tile.
    template <class Moments>
    SMELT_DEVICE void multiply(const Memory &memory, const Known &known, Index number, Index first_col, int first,
                               Moments &moments) const {
        const Shared &shared = *memory.shared;
        const int lane = threadIdx.x % 32;
        const Spread at = spread(first + lane / 4);
        const int line = (at.z * (int)window.stride[0] * tile.extent[1] + at.y * (int)window.stride[1]) * tile.pitch;
        int start = line + tile.shift + (at.x * (int)window.stride[2] + tile.lead) * channels;
        if (tile.copy != 0 && start % 2 != 0) start += tile.copy - 1;
        const u8 *const row = reinterpret_cast<const u8 *>(memory.patch + start);
        float sums[2][tiles][4];
#pragma unroll
        for (int i = 0; i < 2 * tiles * 4; ++i)
            sums[i / (tiles * 4)][i / 4 % tiles][i % 4] = shared.bias[i / 16 % (tiles / 4)][lane % 4][i / 4 % 4 * 2 + i % 2];
#pragma unroll
        for (int k = 0; k < most_known; ++k) step_at_once(shared, k, row, known.at[k], sums);
        for (int k = most_known; k < DIRECT; ++k) {
            const Pairs pairs = shared.pairs[k][lane % 4];
            step_at_once(shared, k, row, pairs.at[0] | pairs.at[2] << 16, sums);
        }
#pragma unroll 2
        for (int k = DIRECT; k < STEPS; ++k) step_by_halves(shared, k, row, sums);
        const Corner corner = this->corner(number);
#pragma unroll
        for (int i = 0; i < 4; ++i) store(memory.stage, corner, first_col, first + i * 8 + lane / 4, sums[i / 2], i % 2);
        add_moments(corner, first + lane / 4, sums, moments);
    }
    // Of places 8 apart, from `first` on.
    template <class Moments>
    SMELT_DEVICE void add_moments(const Corner &corner, int first, const float (&sums)[2][tiles][4], Moments &moments) const {
        bool counts[4];
        int count = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) count += counts[i] = is_result(corner, first + i * 8);
        moments.start(count);
#pragma unroll
        for (int group = 0; group < tiles / 4; ++group)
            moments.template take<4>(group, [&](int i, float(&x)[8]) {
#pragma unroll
                for (int k = 0; k < 8; ++k) x[k] = sums[i / 2][group * 4 + k / 2][i % 2 * 2 + k % 2];
                return counts[i];
            });
        moments.finish();
    }
    SMELT_DEVICE void run() const {
        const Memory all = memory();
        const Index first_col = (Index)blockIdx.y * COLS, count = tile_count();
        auto moments = tile_moments<MomentTile>(moment_parts);
        Held held[HELD][channels];
        read(all, corner((Index)blockIdx.x), held); // the grid has no more blocks than there are tiles
        prepare(all, first_col);
        const Known whole = known(*all.shared);
        for (Index number = (Index)blockIdx.x; number < count; number += (Index)gridDim.x) {
            put(all, held);
            __syncthreads();
            if (number + (Index)gridDim.x < count) read(all, corner(number + (Index)gridDim.x), held);
            for (int first = (int)threadIdx.x / 32 * 32; first < Tile::places; first += threads)
                multiply(all, whole, number, first_col, first, moments);
            __syncthreads();
            moments.leave_tile(number, first_col);
            if constexpr (Behind::pools) pool_stage(all.stage, corner(number), first_col);
        }
        moments.leave_block();
    }
};

template <class T, int COLS, int STEPS, int DIRECT, int WARPS, int HELD, int CHANNELS, class Tile, class X, class W, class B,
          class Behind, class E, class M>
SMELT_DEVICE void conv_stem(const X &x, const W *weights, const Strides &strides, const Window &window, const Tile &tile,
                            Index batch, Index outputs, const B *bias, const Behind &behind, const E &epilogue,
                            const M &moments) {
    ConvStem<T, COLS, STEPS, DIRECT, WARPS, Tile, HELD, CHANNELS, X, W, B, Behind, E, M>{
        x, weights, strides, window, tile, batch, outputs, bias, behind, epilogue, moments}
        .run();
}

} // namespace smelt

#endif
