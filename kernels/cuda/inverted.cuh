// Inverted residuals: a 1x1 convolution to many channels, one of each of these by itself, and one back to few channels, in one
// launch; what lies between them stays in shared memory and registers. The first or the last may be missing.
// Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
#ifndef SMELT_INVERTED_CUH
#define SMELT_INVERTED_CUH

#include "smelt/mma.cuh"
#include "smelt/window.cuh"

namespace smelt {

static const int INVERTED_THREADS = 256, INVERTED_WARPS = INVERTED_THREADS / 32, INVERTED_COLUMNS = 16;

// A block computes a tile of places: ROWS rows of 16 for each warp. Windows of KERNEL x KERNEL places, STRIDE apart, of SLICE
// of the many channels at a time; INPUTS and OUTPUTS channels outside, 0: of these there is no convolution.
template <int KERNEL_, int STRIDE_, int ROWS_, int INPUTS_, int SLICE_, int OUTPUTS_> struct InvertedTile {
    static const int KERNEL = KERNEL_, STRIDE = STRIDE_, ROWS = ROWS_, INPUTS = INPUTS_, SLICE = SLICE_, OUTPUTS = OUTPUTS_;
    static const int TAPS = KERNEL * KERNEL, HEIGHT = INVERTED_WARPS * ROWS;
    static const int LINES = (HEIGHT - 1) * STRIDE + KERNEL;
    // Places of a line that are STRIDE apart lie side by side: windows beside each other read neighbours.
    static const int PART = ((INVERTED_COLUMNS - 1) * STRIDE + KERNEL + STRIDE - 1) / STRIDE, LINE = PART * STRIDE;
    static const int PIECES = (LINES * LINE + 15) / 16, PLACES = PIECES * 16;
    static const bool EXPANDS = INPUTS > 0, PROJECTS = OUTPUTS > 0;
    static const int DEPTH = (INPUTS + 15) / 16 * 16, TIMES = (OUTPUTS + 15) / 16;
    // Lines of shared memory end with a pack that nobody reads: eight of them begin in different banks.
    static const int IN_STEP = DEPTH + 8, STEP = SLICE + 8, LEAVING = PROJECTS ? OUTPUTS : 16, OUT_STEP = LEAVING + 4;
    // Weights of a slice: [SLICE, INPUTS], [OUTPUTS, SLICE] and [SLICE, TAPS].
    static const int BACK_AT = EXPANDS ? SLICE * IN_STEP : 0, TAPS_AT = BACK_AT + TIMES * 16 * STEP, WEIGHTS = TAPS_AT + SLICE * TAPS;
    // Elements of shared memory: the input's halo, one slice of the many channels or the two that are read in turns, two
    // slices' weights, and what leaves, which takes the place of the halo where nobody reads that any more.
    static const int HALO = EXPANDS ? PLACES * IN_STEP : 0, TURNS = EXPANDS ? 1 : 2;
    static const int WEIGHTS_AT = HALO + TURNS * PLACES * STEP, LEAVING_AT = PROJECTS ? 0 : WEIGHTS_AT + 2 * WEIGHTS;
};

// Places of a plane of the many channels, and of the results; the first window begins at -top, -left.
struct InvertedSizes { Index height, width, out_height, out_width, top, left, expanded; };
// The block's image, and its tile's first place.
struct InvertedPlace { Index image, row, column; };
// From one image, line and place of the input to the next, in elements.
struct InvertedSteps { Index image, line, place; };

// The row and the column in the plane of a place of the tile's halo.
template <class Tile> SMELT_DEVICE void halo_place(int place, const InvertedPlace &at, const InvertedSizes &sizes, Index &row, Index &column) {
    const int line = place / Tile::LINE, rest = place % Tile::LINE;
    row = at.row * Tile::STRIDE - sizes.top + line;
    column = at.column * Tile::STRIDE - sizes.left + rest % Tile::PART * Tile::STRIDE + rest / Tile::PART;
}

SMELT_DEVICE bool is_in_plane(Index row, Index column, Index height, Index width) {
    return inside(row, height) && inside(column, width);
}

// CHANNELS of the input; zeros beside the image and behind the channels, up to DEPTH.
template <class Tile, int CHANNELS, int DEPTH, class T>
SMELT_DEVICE void load_halo(const T *x, const InvertedSteps &steps, const InvertedPlace &at, const InvertedSizes &sizes, T *to) {
    const int PACKS = DEPTH / 8;
    for (int e = (int)threadIdx.x; e < Tile::PLACES * PACKS; e += INVERTED_THREADS) {
        const int place = e / PACKS, channel = e % PACKS * 8;
        Index row, column;
        halo_place<Tile>(place, at, sizes, row, column);
        const bool inside = place < Tile::LINES * Tile::LINE && channel < CHANNELS && is_in_plane(row, column, sizes.height, sizes.width);
        copy_later(to + place * (DEPTH + 8) + channel, x + (inside ? at.image * steps.image + row * steps.line + column * steps.place + channel : 0),
                   inside);
    }
}

// A block's copies of COUNT lines of PACKS packs.
template <int COUNT, int PACKS, class T> SMELT_DEVICE void copy_lines(const T *from, Index from_step, T *to, int to_step) {
    for (int e = (int)threadIdx.x; e < COUNT * PACKS; e += INVERTED_THREADS)
        copy_later(to + e / PACKS * to_step + e % PACKS * 8, from + e / PACKS * from_step + e % PACKS * 8, true);
}

// The weights that the slice from channel `first` on needs: expand [expanded, INPUTS], each [expanded, TAPS], back [OUTPUTS, expanded].
template <class Tile, class T>
SMELT_DEVICE void load_slice(const T *expand, const T *each, const T *back, Index first, Index expanded, T *to) {
    if (Tile::EXPANDS && Tile::INPUTS < Tile::DEPTH) // nothing is behind the last of them
        for (int e = (int)threadIdx.x; e < Tile::SLICE; e += INVERTED_THREADS) copy_later(to + e * Tile::IN_STEP + Tile::INPUTS, expand, false);
    if constexpr (Tile::EXPANDS) copy_lines<Tile::SLICE, Tile::INPUTS / 8>(expand + first * Tile::INPUTS, (Index)Tile::INPUTS, to, Tile::IN_STEP);
    if constexpr (Tile::PROJECTS) copy_lines<Tile::OUTPUTS, Tile::SLICE / 8>(back + first, expanded, to + Tile::BACK_AT, Tile::STEP);
    copy_lines<1, Tile::SLICE * Tile::TAPS / 8>(each + first * Tile::TAPS, (Index)0, to + Tile::TAPS_AT, 0);
}

// Where a lane finds its row of a left operand of 16 places, and of a right one of 16 columns.
SMELT_DEVICE int left_row(int lane) { return lane % 16; }
SMELT_DEVICE int left_depth(int lane) { return lane / 16 * 8; }
SMELT_DEVICE int right_row(int lane) { return lane / 16 * 8 + lane % 8; }
SMELT_DEVICE int right_depth(int lane) { return lane / 8 % 2 * 8; }

// A slice of the many channels at all places of the halo; zeros beside the image, since that is what the windows see there.
template <class Tile, class T, class Bias, class Between>
SMELT_DEVICE void expand_slice(const T *halo, const T *weights, Index first, const InvertedPlace &at, const InvertedSizes &sizes, const Bias &bias,
                               const Between &between, T *to) {
    const int TERMS = Tile::DEPTH / 16, PAIRS = Tile::SLICE / 16, lane = (int)threadIdx.x % 32;
    u32 b[TERMS][PAIRS][4];
    float start[2 * PAIRS][2];
#pragma unroll
    for (int p = 0; p < PAIRS; ++p)
#pragma unroll
        for (int t = 0; t < TERMS; ++t)
            load_matrices<false>(b[t][p], weights + (p * 16 + right_row(lane)) * Tile::IN_STEP + t * 16 + right_depth(lane));
#pragma unroll
    for (int n = 0; n < 2 * PAIRS; ++n)
#pragma unroll
        for (int k = 0; k < 2; ++k) start[n][k] = bias(first + n * 8 + lane % 4 * 2 + k, 0.0f);
    for (int piece = (int)threadIdx.x / 32; piece < Tile::PIECES; piece += INVERTED_WARPS) {
        float sums[2 * PAIRS][4];
#pragma unroll
        for (int n = 0; n < 2 * PAIRS; ++n)
#pragma unroll
            for (int k = 0; k < 4; ++k) sums[n][k] = start[n][k % 2];
#pragma unroll
        for (int t = 0; t < TERMS; ++t) {
            u32 a[4];
            load_matrices<false>(a, halo + (piece * 16 + left_row(lane)) * Tile::IN_STEP + t * 16 + left_depth(lane));
#pragma unroll
            for (int n = 0; n < 2 * PAIRS; ++n) multiply_matrices<T>(sums[n], a, b[t][n / 2][n % 2 * 2], b[t][n / 2][n % 2 * 2 + 1]);
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int place = piece * 16 + r * 8 + lane / 4;
            Index row, column;
            halo_place<Tile>(place, at, sizes, row, column);
            const bool inside = is_in_plane(row, column, sizes.height, sizes.width);
            const Index number = ((at.image * sizes.height + row) * sizes.width + column) * sizes.expanded + first + lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < 2 * PAIRS; ++n) {
                u32 pair = 0;
                if (inside) pair = pair_of<T>((float)between(number + n * 8, sums[n][2 * r]), (float)between(number + n * 8 + 1, sums[n][2 * r + 1]));
                *reinterpret_cast<u32 *>(to + place * Tile::STEP + n * 8 + lane % 4 * 2) = pair;
            }
        }
    }
}

// The windows' weights of 8 channels as matrices whose diagonals they are, in a warp's registers.
template <class Tile, class T> SMELT_DEVICE void load_diagonals(const T *taps, u32 (&to)[Tile::TAPS]) {
    const int lane = (int)threadIdx.x % 32, column = lane / 4;
    const u32 mine = column / 2 != lane % 4 ? 0 : column % 2 == 0 ? 1 : 1 << 16; // what moves it to its place, or nowhere
#pragma unroll
    for (int t = 0; t < Tile::TAPS; ++t) to[t] = (u32)taps[column * Tile::TAPS + t].bits * mine;
}

// What the windows of the warp's rows give for 16 channels. Two places of a line of a window are one product of matrices.
template <class Tile, class T, class Bias>
SMELT_DEVICE void window_sums(const T *places, const T *taps, Index first, const Bias &bias, float (&sums)[Tile::ROWS][2][4]) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, KERNEL = Tile::KERNEL, PAIRS = KERNEL / 2;
    const int BESIDE = Tile::STRIDE == 1 ? 1 : Tile::PART; // from a line's place with an even number to the next
    u32 diagonals[2][Tile::TAPS];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        load_diagonals<Tile>(taps + h * 8 * Tile::TAPS, diagonals[h]);
#pragma unroll
        for (int o = 0; o < Tile::ROWS; ++o)
#pragma unroll
            for (int k = 0; k < 4; ++k) sums[o][h][k] = bias(first + h * 8 + lane % 4 * 2 + k % 2, 0.0f);
    }
    const T *row = places + (warp * Tile::ROWS * Tile::STRIDE * Tile::LINE + left_row(lane)) * Tile::STEP;
#pragma unroll
    for (int line = 0; line < (Tile::ROWS - 1) * Tile::STRIDE + KERNEL; ++line, row += Tile::LINE * Tile::STEP) {
        u32 f[2][PAIRS][4], last[4];
#pragma unroll
        for (int k = 0; k < PAIRS; ++k)
#pragma unroll
            for (int h = 0; h < 2; ++h)
                load_matrices<false>(f[h][k], row + (lane / 16 * BESIDE + 2 * k / Tile::STRIDE) * Tile::STEP + h * 8);
        load_matrices<false>(last, row + (KERNEL - 1) / Tile::STRIDE * Tile::STEP + left_depth(lane));
#pragma unroll
        for (int o = 0; o < Tile::ROWS; ++o) {
            const int own = line - o * Tile::STRIDE;
            if (own < 0 || own >= KERNEL) continue;
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const u32 *weights = diagonals[h] + own * KERNEL;
#pragma unroll
                for (int k = 0; k < PAIRS; ++k) multiply_matrices<T>(sums[o][h], f[h][k], weights[2 * k], weights[2 * k + 1]);
                multiply_shallow(sums[o][h], last[2 * h], last[2 * h + 1], weights[KERNEL - 1]);
            }
        }
    }
}

// A row of the warp's windows as the left operand of a product. within: what that reads of the windows' sums; beside the
// image of those of a place inside it, which nobody will read.
template <class T, class Within>
SMELT_DEVICE void window_rows(const float (&each)[2][4], Index row, Index column, const InvertedSizes &sizes, Index image, Index channel,
                              const Within &within, u32 (&a)[4]) {
    const int lane = (int)threadIdx.x % 32;
    const Index line = (image * sizes.out_height + smaller(row, sizes.out_height - 1)) * sizes.out_width;
#pragma unroll
    for (int k = 0; k < 4; ++k) { // rows of the left operand, then more of its depth
        const Index own = smaller(column + lane / 4 + k % 2 * 8, sizes.out_width - 1);
        const Index number = (line + own) * sizes.expanded + channel + k / 2 * 8 + lane % 4 * 2;
        a[k] = pair_of<T>((float)within(number, each[k / 2][k % 2 * 2]), (float)within(number + 1, each[k / 2][k % 2 * 2 + 1]));
    }
}

// COUNT channels of a row of the warp's results: through shared memory, so that packs of channels leave together. number: of
// the first channel at the first place; the next place's is `step` further.
template <int COUNT, class Bias, class E>
SMELT_DEVICE void store_row(const float (&sums)[(COUNT + 15) / 16 * 2][4], Index number, Index step, int there, const Bias &bias, const E &epilogue, float *own) {
    const int lane = (int)threadIdx.x % 32, PACKS = COUNT / 8, STEP = COUNT + 4;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < PACKS; ++n)
#pragma unroll
        for (int k = 0; k < 4; ++k) own[(lane / 4 + k / 2 * 8) * STEP + n * 8 + lane % 4 * 2 + k % 2] = sums[n][k];
    __syncwarp();
    for (int e = lane; e < 16 * PACKS; e += 32) {
        const int place = e / PACKS, channel = e % PACKS * 8;
        if (place >= there) continue;
        const Index at = number + place * step + channel;
        typename E::Operands operands;
        epilogue.read(at, operands);
        float x[8];
#pragma unroll
        for (int l = 0; l < 8; ++l) x[l] = bias(channel + l, own[place * STEP + channel + l]);
        epilogue.write(at, x, operands);
    }
}

// What becomes of a slice of the many channels: sums of the results, or, where they are the results, packs of them.
template <class Tile, class T, class Bias, class Within, class E>
SMELT_DEVICE void take_slice(const T *places, const T *weights, Index first, const InvertedPlace &at, const InvertedSizes &sizes, const Bias &bias,
                             const Within &within, const E &epilogue, float *own, float (&sums)[Tile::ROWS][Tile::PROJECTS ? 2 * Tile::TIMES : 1][4]) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
#pragma unroll 1
    for (int group = 0; group < Tile::SLICE; group += 16) {
        float each[Tile::ROWS][2][4];
        window_sums<Tile>(places + group, weights + Tile::TAPS_AT + group * Tile::TAPS, first + group, bias, each);
        if constexpr (!Tile::PROJECTS) {
#pragma unroll
            for (int o = 0; o < Tile::ROWS; ++o) {
                const Index row = at.row + warp * Tile::ROWS + o, number = ((at.image * sizes.out_height + row) * sizes.out_width + at.column) * sizes.expanded + first + group;
                const Index there = row < sizes.out_height ? sizes.out_width - at.column : 0;
                store_row<16>(each[o], number, sizes.expanded, (int)smaller(there, (Index)16), PlainSum{}, epilogue, own);
            }
        } else {
            u32 a[Tile::ROWS][4];
#pragma unroll
            for (int o = 0; o < Tile::ROWS; ++o)
                window_rows<T>(each[o], at.row + warp * Tile::ROWS + o, at.column, sizes, at.image, first + group, within, a[o]);
#pragma unroll
            for (int t = 0; t < Tile::TIMES; ++t) {
                u32 b[4];
                load_matrices<false>(b, weights + Tile::BACK_AT + (t * 16 + right_row(lane)) * Tile::STEP + group + right_depth(lane));
#pragma unroll
                for (int o = 0; o < Tile::ROWS; ++o) {
                    multiply_matrices<T>(sums[o][2 * t], a[o], b[0], b[1]);
                    if (t * 16 + 8 < Tile::OUTPUTS) multiply_matrices<T>(sums[o][2 * t + 1], a[o], b[2], b[3]);
                }
            }
        }
    }
}

// Weights: [expanded, INPUTS], [expanded, TAPS], [OUTPUTS, expanded]; of a convolution that is missing any. CONSTANT: they can be read before other kernels are done.
// Between and Within: what the second and the third convolution read, of the results in front of them.
template <class Tile, bool CONSTANT, class T, class ExpandBias, class Between, class EachBias, class Within, class BackBias, class E>
SMELT_DEVICE void inverted_residual(const T *x, const InvertedSteps &steps, const InvertedSizes &sizes, const T *expand, const ExpandBias &expand_bias,
                                    const Between &between, const T *each, const EachBias &each_bias, const Within &within, const T *back,
                                    const BackBias &back_bias, const E &epilogue) {
    T *halo = reinterpret_cast<T *>(block_memory()), *places = halo + Tile::HALO, *weights = halo + Tile::WEIGHTS_AT;
    float *own = reinterpret_cast<float *>(halo + Tile::LEAVING_AT) + (int)threadIdx.x / 32 * 16 * Tile::OUT_STEP;
    const Index columns = ceil_div(sizes.out_width, (Index)INVERTED_COLUMNS), tiles = columns * ceil_div(sizes.out_height, (Index)Tile::HEIGHT);
    const Index image = quotient((Index)blockIdx.x, tiles), tile = residue((Index)blockIdx.x, tiles);
    const InvertedPlace at = {image, quotient(tile, columns) * Tile::HEIGHT, residue(tile, columns) * INVERTED_COLUMNS};
    float sums[Tile::ROWS][Tile::PROJECTS ? 2 * Tile::TIMES : 1][4] = {};
    if (!CONSTANT) wait_for_previous_kernel();
    load_slice<Tile>(expand, each, back, (Index)0, sizes.expanded, weights);
    if (CONSTANT) wait_for_previous_kernel();
    if constexpr (Tile::EXPANDS) load_halo<Tile, Tile::INPUTS, Tile::DEPTH>(x, steps, at, sizes, halo);
    else load_halo<Tile, Tile::SLICE, Tile::SLICE>(x, steps, at, sizes, places);
    close_copies();
    int turn = 0;
    for (Index first = 0; first < sizes.expanded; first += Tile::SLICE, turn = 1 - turn) {
        const T *now = weights + turn * Tile::WEIGHTS;
        T *there = places + turn % Tile::TURNS * Tile::PLACES * Tile::STEP;
        const Index next = first + Tile::SLICE;
        wait_for_copies<0>();
        __syncthreads();
        if constexpr (Tile::EXPANDS) expand_slice<Tile>(halo, now, first, at, sizes, expand_bias, between, there);
        if (next < sizes.expanded) {
            load_slice<Tile>(expand, each, back, next, sizes.expanded, weights + (1 - turn) * Tile::WEIGHTS);
            if constexpr (!Tile::EXPANDS)
                load_halo<Tile, Tile::SLICE, Tile::SLICE>(x + next, steps, at, sizes, places + (1 - turn) * Tile::PLACES * Tile::STEP);
        }
        close_copies();
        if constexpr (Tile::EXPANDS) __syncthreads();
        take_slice<Tile>(there, now, first, at, sizes, each_bias, within, epilogue, own, sums);
    }
    if constexpr (Tile::PROJECTS) {
        __syncthreads();
#pragma unroll
        for (int o = 0; o < Tile::ROWS; ++o) {
            const Index row = at.row + (int)threadIdx.x / 32 * Tile::ROWS + o;
            const Index there = row < sizes.out_height ? sizes.out_width - at.column : 0;
            store_row<Tile::OUTPUTS>(sums[o], ((image * sizes.out_height + row) * sizes.out_width + at.column) * Tile::OUTPUTS, (Index)Tile::OUTPUTS,
                                     (int)smaller(there, (Index)INVERTED_COLUMNS), back_bias, epilogue, own);
        }
    }
}

} // namespace smelt

#endif
