// Products of matrices by mma.sync, on every architecture. A block computes a tile: stages of both operands come to shared
// memory (cp.async), warps take parts of them as the instruction wants them (ldmatrix) and keep the sums in registers. Floats that
// must not be rounded are multiplied without matrix units, by threads that have the same sums.
//
// An operand whose lines lie along the depth (rows of the left matrix, columns of the right one) is given by an object with
//     struct Line                                  what is known of a line beforehand
//     struct Depth                                 a place along the depth
//     Line line(Index i), Depth begin(Index k), void next(Depth &, int by)
//     const T *find(Line, Depth, int &there)       `there` of COPY elements from there on are the operand's, the rest zeros
// and one with the depth outside by
//     const T *find(Index k, Index line, int &there)
// so that the same product serves matrices and windows of images.
#ifndef SMELT_MMA_PRODUCT_CUH
#define SMELT_MMA_PRODUCT_CUH

#include "smelt/mma.cuh"
#include "smelt/sums.cuh"
#include "smelt/window.cuh"

namespace smelt {

// How a stage of an operand, LINES x DEPTH elements, lies in shared memory: in rows along the depth, or (OUTER) along the
// lines. Packs of 16 bytes of a row change places by the row's number, so that eight neighbouring rows meet no bank twice.
// SPREAD: lines lie so that the 8 of each 32 that one thread gets sums of are neighbours: line 8 q + 2 p + e in row
// 8 p + 2 q + e.
template <class T, int LINES, int DEPTH, bool OUTER, bool SPREAD> struct MmaOperand {
    typedef T Element;
    static const int lines = LINES, depth = DEPTH, pack = 16 / sizeof(T), packs = (OUTER ? LINES : DEPTH) / pack;
    static const int bytes = LINES * DEPTH * sizeof(T);
    static const bool outer = OUTER;
    static SMELT_DEVICE int row_of(int line) { return SPREAD ? line / 32 * 32 + line / 2 % 4 * 8 + line / 8 % 4 * 2 + line % 2 : line; }
    // turn: the row's number, or any other that is the same modulo 8.
    static SMELT_DEVICE int place(int row, int turn, int at) {
        const int most = packs < 8 ? packs : 8;
        const int moved = (OUTER && sizeof(T) == 4 ? turn % 4 * 2 : turn / (8 / most)) % most;
        return (row * packs + (at / pack ^ moved)) * 16 + at % pack * (int)sizeof(T);
    }
    // The calling thread's part of 16 lines from `line` on and 32 bytes of the depth, number `step`: as mma.cuh has the left
    // operand, or two right ones side by side (b0, b1 of the first, then of the second).
    template <bool LEFT> static SMELT_DEVICE void load(u32 (&to)[4], const u8 *from, int line, int step) {
        const int lane = (int)threadIdx.x % 32;
        if constexpr (OUTER && sizeof(T) == 4) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int row = step * 8 + lane % 4 + (LEFT ? i / 2 : i % 2) * 4, at = line + lane / 4 + (LEFT ? i % 2 : i / 2) * 8;
                to[i] = *reinterpret_cast<const u32 *>(from + place(row, lane % 4, at));
            }
        } else {
            const int part = LEFT ? lane / 16 : lane / 8 % 2, half = LEFT ? lane / 8 % 2 : lane / 16;
            const int row = lane % 8 + (OUTER ? step * 16 + part * 8 : line + half * 8);
            load_matrices<OUTER>(to, from + place(row, lane % 8, OUTER ? line + half * 8 : (step * 2 + part) * pack));
        }
    }
    // Four elements along the depth, number `quad`, of the line that lies in row `row`; turn: as above.
    static SMELT_DEVICE Pack<T, 4> four(const u8 *from, int row, int turn, int quad) {
        Pack<T, 4> to;
        if constexpr (OUTER) {
#pragma unroll
            for (int k = 0; k < 4; ++k) to.at[k] = *reinterpret_cast<const T *>(from + place(quad * 4 + k, k, row));
        } else {
            to = *reinterpret_cast<const Pack<T, 4> *>(from + place(row, turn, quad * 4));
        }
        return to;
    }
};

// A block's tile: WARP_ROWS x WARP_COLS of it for each warp, multiples of 16 x 32. TERMS: 1, or for floats 3, see MmaPart, or 0:
// not on matrix units.
// COPY_A, COPY_B: elements that are copied together.
template <class ELEMENT, int TERMS, int ROWS, int COLS, int WARP_ROWS, int WARP_COLS, int DEPTH, int STAGES, int COPY_A, int COPY_B,
          bool OUTER_A, bool OUTER_B>
struct MmaTile {
    typedef ELEMENT Element;
    static const int terms = TERMS, rows = ROWS, cols = COLS, depth = DEPTH, stages = STAGES, copy_a = COPY_A, copy_b = COPY_B;
    static const int warp_rows = WARP_ROWS, warp_cols = WARP_COLS, across = COLS / WARP_COLS;
    static const int threads = ROWS / WARP_ROWS * across * 32;
    static const int steps = DEPTH * (int)sizeof(ELEMENT) / 32; // of an instruction
    typedef MmaOperand<ELEMENT, ROWS, DEPTH, OUTER_A, false> A;
    typedef MmaOperand<ELEMENT, COLS, DEPTH, OUTER_B, !OUTER_B> B;
    static const int stage_bytes = A::bytes + B::bytes;
    struct Warp { // as SumPut wants it
        static const int cols = WARP_COLS, spread = OUTER_B ? 0 : 32, group = 32;
        static const bool roomy = false;
    };
};

// Which tile a block does.
struct MmaPlace { Index row, col, matrix; };
template <class Tile> SMELT_DEVICE MmaPlace mma_place(const ProductTiles &tiles) {
    Index row, col, matrix;
    tiles.find((Index)blockIdx.x, row, col, matrix);
    return {row * Tile::rows, col * Tile::cols, matrix};
}

// -- copies --

// A thread's copies of each stage of an operand. They are under way from begin on; end, behind the products of another stage,
// is where those without copies of their own store what they have read.
template <class Operand, class Lines, int COPY, int THREADS, bool OUTER = Operand::outer> struct MmaCopy {
    static const int pieces = Operand::depth / COPY, each = THREADS / pieces, count = (Operand::lines + each - 1) / each;
    static_assert(THREADS % pieces == 0, "a thread copies one part of all its lines");
    typename Lines::Depth depth;
    typename Lines::Line line[count];
    LaterCopy<COPY * (int)sizeof(typename Operand::Element)> copies[count];
    static SMELT_DEVICE int own(int i) { return (int)threadIdx.x / pieces + i * each; }
    static SMELT_DEVICE bool has(int i) { return count * each == Operand::lines || own(i) < Operand::lines; }

    SMELT_DEVICE void start(const Lines &lines, Index first, Index k) {
        depth = lines.begin(k + (Index)threadIdx.x % pieces * COPY);
#pragma unroll
        for (int i = 0; i < count; ++i) line[i] = lines.line(first + own(i));
    }
    SMELT_DEVICE void begin(const Lines &lines, u8 *to) {
        const int at = (int)threadIdx.x % pieces * COPY;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            if (!has(i)) continue;
            int there;
            const auto *from = lines.find(line[i], depth, there);
            const int row = Operand::row_of(own(i));
            copies[i].begin(to + Operand::place(row, row, at), from, there * (int)sizeof(*from));
        }
        lines.next(depth, Operand::depth);
    }
    SMELT_DEVICE void end() {
#pragma unroll
        for (int i = 0; i < count; ++i)
            if (has(i)) copies[i].end();
    }
};
template <class Operand, class Lines, int COPY, int THREADS> struct MmaCopy<Operand, Lines, COPY, THREADS, true> {
    static const int pieces = Operand::lines / COPY, each = THREADS / pieces, count = (Operand::depth + each - 1) / each;
    static_assert(THREADS % pieces == 0, "a thread copies the same lines at several depths");
    Index line, depth;
    LaterCopy<COPY * (int)sizeof(typename Operand::Element)> copies[count];
    static SMELT_DEVICE int own(int i) { return (int)threadIdx.x / pieces + i * each; }
    static SMELT_DEVICE bool has(int i) { return count * each == Operand::depth || own(i) < Operand::depth; }

    SMELT_DEVICE void start(const Lines &, Index first, Index k) {
        line = first + (Index)threadIdx.x % pieces * COPY;
        depth = k;
    }
    SMELT_DEVICE void begin(const Lines &lines, u8 *to) {
        const int at = (int)threadIdx.x % pieces * COPY;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            if (!has(i)) continue;
            int there;
            const auto *from = lines.find(depth + own(i), line, there);
            copies[i].begin(to + Operand::place(own(i), own(i), at), from, there * (int)sizeof(*from));
        }
        depth += Operand::depth;
    }
    SMELT_DEVICE void end() {
#pragma unroll
        for (int i = 0; i < count; ++i)
            if (has(i)) copies[i].end();
    }
};

// -- products --

// A thread's part of an operand. Floats are rounded to TF32; with 3 terms `rest` is what that has left of them, so that
// rest * b + a * rest + a * b has the product's 24 bits but for about the last. Source: Markidis et al., "NVIDIA Tensor Core
// Programmability, Performance & Precision", 2018.
template <class T, int TERMS> struct MmaPart {
    u32 at[4], rest[TERMS == 3 ? 4 : 1];
    SMELT_DEVICE void round() {
        if constexpr (sizeof(T) == 4) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float x = float_of_bits(at[i]);
                at[i] = tf32_of(x);
                if constexpr (TERMS == 3) {
                    const u32 infinite = 0x7f800000u; // what would be rounded to infinity is cut off
                    if ((at[i] & infinite) == infinite) at[i] = bits_of_float(x) & 0xffffe000u;
                    rest[i] = (at[i] & infinite) == infinite ? 0 : tf32_of(x - float_of_bits(at[i]));
                }
            }
        }
    }
};

template <class T, int TERMS> struct MmaStep {
    static SMELT_DEVICE void add(float (&sums)[4], const MmaPart<T, TERMS> &a, const MmaPart<T, TERMS> &b, int j) {
        multiply_matrices<T>(sums, a.at, b.at[j], b.at[j + 1]);
    }
};
template <> struct MmaStep<float, 1> {
    static SMELT_DEVICE void add(float (&sums)[4], const MmaPart<float, 1> &a, const MmaPart<float, 1> &b, int j) {
        multiply_floats(sums, a.at, b.at[j], b.at[j + 1]);
    }
};
// Matrix units cut sums off instead of rounding them, which long sums add up: each step's are added here. Source: Ootomo &
// Yokota, "Recovering single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance", 2022.
template <> struct MmaStep<float, 3> {
    static SMELT_DEVICE void add(float (&sums)[4], const MmaPart<float, 3> &a, const MmaPart<float, 3> &b, int j) {
        float part[4] = {};
        multiply_floats(part, a.rest, b.at[j], b.at[j + 1]);
        multiply_floats(part, a.at, b.rest[j], b.rest[j + 1]);
        multiply_floats(part, a.at, b.at[j], b.at[j + 1]);
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[i] += part[i];
    }
};

// A warp's products of one stage without matrix units: a thread's sums are those of mma.sync's result. Not unrolled, since what is
// read ahead takes the sums' registers.
template <class Tile>
SMELT_DEVICE void fma_multiply(const u8 *stage, int row, int col, float (&sums)[Tile::warp_rows / 16][Tile::warp_cols / 2]) {
    const int lane = (int)threadIdx.x % 32, line = lane / 4, pair = lane % 4 * 2;
#pragma unroll 1
    for (int quad = 0; quad < Tile::depth / 4; ++quad) {
        Pack<float, 4> a[Tile::warp_rows / 8];
#pragma unroll
        for (int i = 0; i < Tile::warp_rows / 8; ++i) a[i] = Tile::A::four(stage, row + i * 8 + line, line, quad);
#pragma unroll
        for (int j = 0; j < Tile::warp_cols / 4; ++j) {
            const int own = pair + j % 2;
            const Pack<float, 4> b = Tile::B::four(stage + Tile::A::bytes, col + j / 2 * 8 + own, own, quad);
#pragma unroll
            for (int k = 0; k < 4; ++k)
#pragma unroll
                for (int i = 0; i < Tile::warp_rows / 8; ++i)
                    sums[i / 2][j / 2 * 4 + i % 2 * 2 + j % 2] += a[i].at[k] * b.at[k];
        }
    }
}

// A warp's products of one stage; row, col: its first ones of the tile.
template <class Tile>
SMELT_DEVICE void mma_multiply(const u8 *stage, int row, int col, float (&sums)[Tile::warp_rows / 16][Tile::warp_cols / 2]) {
    typedef typename Tile::Element T;
#pragma unroll
    for (int step = 0; step < Tile::steps; ++step) {
        MmaPart<T, Tile::terms> a[Tile::warp_rows / 16];
#pragma unroll
        for (int m = 0; m < Tile::warp_rows / 16; ++m) {
            Tile::A::template load<true>(a[m].at, stage, row + m * 16, step);
            a[m].round();
        }
#pragma unroll
        for (int n = 0; n < Tile::warp_cols / 8; n += 2) {
            MmaPart<T, Tile::terms> b;
            Tile::B::template load<false>(b.at, stage + Tile::A::bytes, col + n * 8, step);
            b.round();
#pragma unroll
            for (int m = 0; m < Tile::warp_rows / 16; ++m)
#pragma unroll
                for (int j = 0; j < 2; ++j)
                    MmaStep<T, Tile::terms>::add(*reinterpret_cast<float(*)[4]>(&sums[m][(n + j) * 4]), a[m], b, j * 2);
        }
    }
}

// The tile at `place`, summed over the depths [begin, end). All threads of the block take part.
template <class Tile, class A, class B, class Store>
SMELT_DEVICE void mma_product(const MmaPlace &place, const A &a, const B &b, Index begin, Index end, const Store &store) {
    u8 *const memory = block_memory();
    const int warp = (int)threadIdx.x / 32, row = warp / Tile::across * Tile::warp_rows, col = warp % Tile::across * Tile::warp_cols;
    const int steps = (int)ceil_div(end - begin, (Index)Tile::depth);
    MmaCopy<typename Tile::A, A, Tile::copy_a, Tile::threads> copy_a;
    MmaCopy<typename Tile::B, B, Tile::copy_b, Tile::threads> copy_b;
    float sums[Tile::warp_rows / 16][Tile::warp_cols / 2] = {};
    const auto copy = [&](int step) {
        u8 *const stage = memory + step % Tile::stages * Tile::stage_bytes;
        copy_a.begin(a, stage);
        copy_b.begin(b, stage + Tile::A::bytes);
    };
    copy_a.start(a, place.row, begin);
    copy_b.start(b, place.col, begin);
#pragma unroll
    for (int step = 0; step < Tile::stages - 1; ++step) {
        if (step < steps) {
            copy(step);
            copy_a.end();
            copy_b.end();
        }
        close_copies();
    }
    for (int step = 0; step < steps; ++step) {
        const bool more = step + Tile::stages - 1 < steps;
        wait_for_copies<Tile::stages - 2>();
        __syncthreads(); // the stage is there for all, and nobody reads the one before
        if (more) copy(step + Tile::stages - 1);
        close_copies();
        if constexpr (Tile::terms == 0)
            fma_multiply<Tile>(memory + step % Tile::stages * Tile::stage_bytes, row, col, sums);
        else
            mma_multiply<Tile>(memory + step % Tile::stages * Tile::stage_bytes, row, col, sums);
        if (more) {
            copy_a.end();
            copy_b.end();
        }
    }
    SumPut<typename Tile::Warp, Store, Tile::warp_rows / 8> put;
#pragma unroll
    for (int r = 0; r < Tile::warp_rows / 8; ++r) put.rows[r] = place.row + row + r * 8 + (Index)threadIdx.x % 32 / 4;
    put.place(place.col + col, place.matrix);
    put.begin(store);
    put.finish(store, sums);
}

// -- slices of the depth, each with blocks of its own (blockIdx.y), added up by another kernel --

// What becomes of a slice's sums: they lie in memory one behind the other.
struct MmaNoColumn {
    struct Column {};
    SMELT_DEVICE void fetch_column(Index, Column &) const {}
    SMELT_DEVICE float apply(float sum, const Column &, int) const { return sum; }
};
template <int LANES> struct MmaSums {
    static const int lanes = LANES;
    struct Operands {};
    float *to;
    SMELT_DEVICE void read(Index, Operands &) const {}
    SMELT_DEVICE void prefetch(Index) const {}
    SMELT_DEVICE void write(Index i, const float (&x)[LANES], const Operands &) const {
        Pack<float, LANES> pack;
#pragma unroll
        for (int k = 0; k < LANES; ++k) pack.at[k] = x[k];
        store_pack(to, i, pack);
    }
};

// One of the gridDim.y slices, each slice_depth deep, a multiple of the tile's depth. sums: [slices, batch, rows, cols]; LANES: 8
// where cols are a multiple of it, else 1.
template <class Tile, int LANES, class A, class B>
SMELT_DEVICE void mma_slice(const MmaPlace &place, const A &a, const B &b, Index depth, Index slice_depth, Index batch, Index rows,
                            Index cols, float *sums) {
    const Index slice = (Index)blockIdx.y, begin = slice * slice_depth;
    const MmaSums<LANES> to = {sums + slice * batch * rows * cols};
    mma_product<Tile>(place, a, b, begin, smaller(begin + slice_depth, depth), store_sums(SumRows{rows, cols}, MmaNoColumn{}, to));
}

// Adds up what the slices left, in their order.
template <int LANES, class Store>
SMELT_DEVICE void mma_add_slices(const float *sums, int slices, Index batch, Index rows, Index cols, const Store &store) {
    const Index packs = ceil_div(cols, (Index)8), lines = batch * rows, size = lines * cols;
    for (Index i = thread_index(); i < lines * packs; i += thread_count()) {
        const Index line = quotient(i, packs), col = (i - line * packs) * 8, matrix = quotient(line, rows), row = line - matrix * rows;
        typename Store::Operands operands;
        typename Store::Column column;
        store.fetch_column(col, matrix, column);
        store.fetch(row, col, matrix, operands);
        float sum[8] = {};
        for (int slice = 0; slice < slices; ++slice) {
            const float *const from = sums + slice * size + line * cols + col;
            if (LANES == 8) {
                const Pack<float, 8> pack = load_pack<8>(from, 0);
#pragma unroll
                for (int k = 0; k < 8; ++k) sum[k] += pack.at[k];
            } else {
#pragma unroll
                for (int k = 0; k < 8; ++k)
                    if (col + k < cols) sum[k] += from[k];
            }
        }
        store.put(row, col, matrix, sum, column, operands);
    }
}

// -- operands --

// A matrix whose lines lie along the depth, line_stride elements apart; COPY elements begin at a multiple of as many.
template <class T, int COPY> struct MmaLines {
    const T *p;
    Index lines, depth, line_stride;
    struct Line {
        Index base;
        bool inside;
    };
    typedef Index Depth;
    SMELT_DEVICE Line line(Index i) const { return {i * line_stride, i < lines}; }
    SMELT_DEVICE Depth begin(Index k) const { return k; }
    SMELT_DEVICE void next(Depth &k, int by) const { k += by; }
    SMELT_DEVICE const T *find(const Line &line, const Depth &k, int &there) const {
        there = line.inside ? (int)larger(smaller(depth - k, (Index)COPY), (Index)0) : 0;
        return there > 0 ? p + line.base + k : p;
    }
};
// The same with the depth outside, step elements apart.
template <class T, int COPY> struct MmaColumns {
    const T *p;
    Index lines, depth, step;
    SMELT_DEVICE const T *find(Index k, Index line, int &there) const {
        there = k < depth ? (int)larger(smaller(lines - line, (Index)COPY), (Index)0) : 0;
        return there > 0 ? p + k * step + line : p;
    }
};

// The windows of a channels-last image as lines: the depth goes through the channels of each tap. COPY divides the channels.
template <class T, int COPY> struct MmaWindows {
    const T *p;
    Strides strides;
    Window window;
    Index batch, channels;
    struct Line {
        Index base, start[3];
        bool inside;
    };
    struct Depth {
        Index channel, tap[3];
    };
    SMELT_DEVICE Line line(Index i) const {
        const Index image = quotient(i, window.out_count());
        const Place out = place_in(window.out, i - image * window.out_count());
        Line line = {image * strides.batch, {}, image < batch};
#pragma unroll
        for (int a = 0; a < 3; ++a) {
            line.start[a] = window.start(a, out.at[a]);
            line.base += line.start[a] * strides.axis[a];
        }
        return line;
    }
    SMELT_DEVICE Depth begin(Index k) const {
        const Index tap = quotient(k, channels);
        const Place place = place_in(window.kernel, tap);
        return {k - tap * channels, {place.at[0], place.at[1], place.at[2]}};
    }
    SMELT_DEVICE void next(Depth &at, int by) const {
        at.channel += by;
        while (at.channel >= channels) {
            at.channel -= channels;
            if (++at.tap[2] < window.kernel[2]) continue;
            at.tap[2] = 0;
            if (++at.tap[1] < window.kernel[1]) continue;
            at.tap[1] = 0;
            ++at.tap[0];
        }
    }
    SMELT_DEVICE const T *find(const Line &line, const Depth &at, int &there) const {
        bool found = line.inside && at.tap[0] < window.kernel[0];
        Index place = line.base + at.channel;
#pragma unroll
        for (int a = 0; a < 3; ++a) {
            const Index step = at.tap[a] * window.dilation[a];
            found = found && inside(line.start[a] + step, window.in[a]);
            place += step * strides.axis[a];
        }
        there = found ? COPY : 0;
        return found ? p + place : p;
    }
};

} // namespace smelt

#endif
