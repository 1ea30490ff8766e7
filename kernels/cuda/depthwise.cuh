// Convolutions of each channel by itself, where channels are neighbours in memory.
#ifndef SMELT_DEPTHWISE_CUH
#define SMELT_DEPTHWISE_CUH

#include "smelt/window.cuh"

namespace smelt {

static const int DEPTHWISE_THREADS = 128;

// What a thread computes: LANES channels of ROWS x WIDTH places, whose windows overlap. PACKS threads of a block are side by
// side in the channels. The last two axes' kernels, strides and dilations; where ROWS is 1, the numbers of axis 1 do not matter
// but for the kernel's extent.
template <int LANES_, int ROWS_, int WIDTH_, int PACKS_, int TAPS_, int KERNEL_Y_, int STRIDE_Y_, int KERNEL_, int STRIDE_, int DILATION_, int SPARE>
struct DepthwiseTile {
    static const int LANES = LANES_, ROWS = ROWS_, WIDTH = WIDTH_, PACKS = PACKS_, TAPS = TAPS_;
    static const int KERNEL_Y = KERNEL_Y_, STRIDE_Y = STRIDE_Y_, KERNEL = KERNEL_, STRIDE = STRIDE_, DILATION = DILATION_;
    static const int COLUMNS = (WIDTH - 1) * STRIDE + (KERNEL - 1) * DILATION + 1;
    static const int INPUT_ROWS = (ROWS - 1) * STRIDE_Y + KERNEL_Y;
    // Whether the code of all rows of the input is laid out one after the other, and how many of them are read before the first
    // is used: there are registers for SPARE packs.
    static const bool LAID_OUT = ROWS > 1 || KERNEL_Y * KERNEL * WIDTH <= 320;
    // Whether rows of places are stored as soon as they are whole (where a window has one plane), so that registers hold the sums of
    // a few of them.
    static const bool EARLY = ROWS > 2;
    static const int SPARE_ROWS = SPARE / COLUMNS;
    static const int AHEAD = !LAID_OUT || SPARE_ROWS < 1 ? 1 : SPARE_ROWS < INPUT_ROWS ? SPARE_ROWS : INPUT_ROWS;
};

// The weights [channels, TAPS] of the block's channels, turned: packs of channels for each tap.
template <class Tile, class W>
SMELT_DEVICE void load_depthwise_weights(const W *w, Index group, Index channels, Pack<W, Tile::LANES> (&weights)[Tile::TAPS][Tile::PACKS]) {
    const int LANES = Tile::LANES, PACKS = Tile::TAPS * Tile::PACKS, ROUNDS = (PACKS + DEPTHWISE_THREADS - 1) / DEPTHWISE_THREADS;
    const int BATCH = ROUNDS < 4 ? ROUNDS : 4;
    const Index left = (channels - group) / LANES * Tile::TAPS;
    for (int round = 0; round < ROUNDS; round += BATCH) {
        Pack<W, LANES> own[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; ++i) {
            const int pack = (round + i) * DEPTHWISE_THREADS + (int)threadIdx.x;
            if (pack < PACKS && pack < left) own[i] = load_pack<LANES>(w, (group * Tile::TAPS + pack * LANES));
        }
#pragma unroll
        for (int i = 0; i < BATCH; ++i) {
            const int pack = (round + i) * DEPTHWISE_THREADS + (int)threadIdx.x;
            if (pack >= PACKS || pack >= left) continue;
#pragma unroll
            for (int l = 0; l < LANES; ++l) {
                const int c = (pack * LANES + l) / Tile::TAPS, tap = (pack * LANES + l) % Tile::TAPS;
                weights[tap][c / LANES].at[c % LANES] = own[i].at[l];
            }
        }
    }
}

// Adds what one row of the input gives to the sums of all rows of places whose windows it is in. tap: of the first row of the
// plane's weights.
template <class Tile, class T, class W>
SMELT_DEVICE void add_depthwise_row(const Pack<T, Tile::LANES> (&v)[Tile::COLUMNS], int line, int tap, int own,
                                    const Pack<W, Tile::LANES> (&weights)[Tile::TAPS][Tile::PACKS],
                                    float (&sum)[Tile::ROWS][Tile::WIDTH][Tile::LANES]) {
#pragma unroll
    for (int r = 0; r < Tile::ROWS; ++r) {
        const int y = line - r * Tile::STRIDE_Y;
        if (Tile::ROWS > 1 && (y < 0 || y >= Tile::KERNEL_Y)) continue;
#pragma unroll
        for (int k = 0; k < Tile::KERNEL; ++k) {
            const Pack<W, Tile::LANES> u = weights[tap + y * Tile::KERNEL + k][own];
#pragma unroll
            for (int l = 0; l < Tile::LANES; ++l) {
                const float weight = (float)fetch(u.at[l]);
#pragma unroll
                for (int o = 0; o < Tile::WIDTH; ++o)
                    sum[r][o][l] += (float)fetch(v[o * Tile::STRIDE + k * Tile::DILATION].at[l]) * weight;
            }
        }
    }
}

// blockIdx.y counts groups of PACKS * LANES channels; blockIdx.x goes through tiles of places. CONSTANT: the weights and what
// finish reads are, and so can be read before other kernels are done.
template <class Tile, bool CONSTANT, class T, class W, class Finish, class E>
SMELT_DEVICE void depthwise_packs(const T *x, const W *w, const Strides &strides, const Window &window, Index batch,
                                  Index channels, const Finish &finish, const E &epilogue) {
    const int LANES = Tile::LANES, ROWS = Tile::ROWS, WIDTH = Tile::WIDTH, LINES = DEPTHWISE_THREADS / Tile::PACKS;
    __shared__ Pack<W, LANES> weights[Tile::TAPS][Tile::PACKS];
    const Index group = (Index)blockIdx.y * (Tile::PACKS * LANES);
    const int own = (int)threadIdx.x % Tile::PACKS, own_line = (int)threadIdx.x / Tile::PACKS;
    const Index channel = group + own * LANES;
    float shift[LANES];
    if (!CONSTANT) wait_for_previous_kernel();
    load_depthwise_weights<Tile>(w, group, channels, weights);
#pragma unroll
    for (int l = 0; l < LANES; ++l) shift[l] = channel < channels ? finish(channel + l, 0.0f) : 0.0f;
    if (CONSTANT) wait_for_previous_kernel();
    __syncthreads();
    const Index across = ceil_div(window.out[2], (Index)WIDTH), down = ceil_div(window.out[1], (Index)ROWS);
    const Index tiles = channel < channels && own_line < LINES ? batch * window.out[0] * down * across : 0;
    for (Index tile = (Index)blockIdx.x * LINES + own_line; tile < tiles; tile += (Index)gridDim.x * LINES) {
        const Index rows = quotient(tile, across), plane = quotient(rows, down), entry = quotient(plane, window.out[0]);
        const Index first = (tile - rows * across) * WIDTH, row = (rows - plane * down) * ROWS;
        const Index left = window.start(2, first), top = window.start(1, row), front = window.start(0, plane - entry * window.out[0]);
        float sum[ROWS][WIDTH][LANES];
        const auto begin_row = [&](int r) {
#pragma unroll
            for (int o = 0; o < WIDTH; ++o)
#pragma unroll
                for (int l = 0; l < LANES; ++l) sum[r][o][l] = shift[l];
        };
        const auto put_row = [&](int r) {
#pragma unroll
            for (int o = 0; o < WIDTH; ++o) {
                if (row + r >= window.out[1] || first + o >= window.out[2]) continue;
                const Index number = ((plane * window.out[1] + row + r) * window.out[2] + first + o) * channels + channel;
                typename E::Operands operands;
                epilogue.read(number, operands);
                epilogue.write(number, sum[r][o], operands);
            }
        };
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            if (!Tile::EARLY) begin_row(r);
        for (Index z = 0; z < window.kernel[0]; ++z) {
            const Index at_z = front + z * window.dilation[0];
            if (!inside(at_z, window.in[0])) continue;
            const Index plane_base = strides.plane(entry, channel) + at_z * strides.axis[0];
            const auto load_row = [&](Pack<T, LANES>(&v)[Tile::COLUMNS], int y) {
                const Index at_y = top + y * (ROWS > 1 ? 1 : window.dilation[1]);
                const bool is_row = inside(at_y, window.in[1]);
#pragma unroll
                for (int column = 0; column < Tile::COLUMNS; ++column) {
                    const Index at_x = left + column, i = plane_base + at_y * strides.axis[1] + at_x * strides.axis[2];
                    v[column] = load_pack_if<LANES>(is_row && inside(at_x, window.in[2]), x, i);
                }
            };
            Pack<T, LANES> v[Tile::AHEAD][Tile::COLUMNS];
#pragma unroll
            for (int y = 0; y < Tile::AHEAD; ++y) load_row(v[y], y);
#pragma unroll (Tile::LAID_OUT ? Tile::INPUT_ROWS : 1)
            for (int y = 0; y < Tile::INPUT_ROWS; ++y) {
                if (Tile::EARLY && y % Tile::STRIDE_Y == 0 && y / Tile::STRIDE_Y < ROWS) begin_row(y / Tile::STRIDE_Y);
                add_depthwise_row<Tile>(v[y % Tile::AHEAD], y, (int)z * (Tile::KERNEL_Y * Tile::KERNEL), own, weights, sum);
                if (y + Tile::AHEAD < Tile::INPUT_ROWS) load_row(v[y % Tile::AHEAD], y + Tile::AHEAD);
                const int done = y - Tile::KERNEL_Y + 1;
                if (Tile::EARLY && done >= 0 && done % Tile::STRIDE_Y == 0) put_row(done / Tile::STRIDE_Y);
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            if (!Tile::EARLY) put_row(r);
    }
}

} // namespace smelt

#endif
