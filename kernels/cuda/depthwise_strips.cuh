// Convolutions of each channel by itself on matrix units, where channels are neighbours in memory: a tap's weights are a diagonal
// matrix, by which the elements of 8 channels are multiplied. That is eight times the work, on units that are more than eight
// times as fast and take 16-bit elements as they are. An infinity or NaN makes NaNs of the seven channels of its place that share
// its matrix, too.
#ifndef SMELT_DEPTHWISE_STRIPS_CUH
#define SMELT_DEPTHWISE_STRIPS_CUH

#include "smelt/mma.cuh"
#include "smelt/window.cuh"

namespace smelt {

// A warp computes 32 channels of two strips of 8 places side by side, row by row; what a strip's windows read of the rows in front
// lies in a ring of STAGES in shared memory. Thread l has 8 neighbouring channels, from 8 (l % 4) on, of place l / 4 of either.
// GROUPS of the block's warps are side by side in the channels.
template <int KERNEL_Z_, int KERNEL_Y_, int KERNEL_X_, int STRIDE_Y_, int STRIDE_X_, int STAGES_, int GROUPS_> struct DepthwiseStrip {
    static const int KERNEL_Z = KERNEL_Z_, KERNEL_Y = KERNEL_Y_, KERNEL_X = KERNEL_X_, STRIDE_Y = STRIDE_Y_, STRIDE_X = STRIDE_X_;
    static const int STAGES = STAGES_, GROUPS = GROUPS_, TAPS = KERNEL_Z * KERNEL_Y * KERNEL_X, WIDTH = 8, WARPS = 4;
    static const int CHANNELS = 32 * GROUPS, PAIRS = WARPS / GROUPS; // of a block
    static const int PIXELS = (WIDTH - 1) * STRIDE_X + KERNEL_X, EACH = (PIXELS + STRIDE_X - 1) / STRIDE_X;
    static const int LIVE = (KERNEL_Y + STRIDE_Y - 1) / STRIDE_Y; // rows of the result that a row of the input is part of
    static const int TURNS = LIVE <= 3 ? LIVE : 1;                // rows whose code is laid out one after the other
    static const bool HELD = TAPS <= 9;                           // whether threads keep their weights in registers
    // Pixels of a row, those of even numbers first where places are two apart: what a window's tap reads is side by side.
    struct Row { Pack<u32, 4> at[KERNEL_Z][2][EACH * STRIDE_X][4]; };
    static SMELT_DEVICE int slot(int pixel) { return pixel % STRIDE_X * EACH + pixel / STRIDE_X; }
    // Of a tap, for each thread that has a place on the diagonal, four weights, one for each matrix; zeros for the other threads.
    struct Weights { Pack<u16, 4> at[TAPS][9]; };
};

// Two strips: unit 2 i and 2 i + 1 of all.
struct StripPair {
    Index entry[2], plane[2], row[2], column[2];
    bool is_there[2];
};
template <class Tile> SMELT_DEVICE StripPair strip_pair(Index pair, Index units, const Window &window, Index band) {
    const Index strips = ceil_div(window.out[2], (Index)Tile::WIDTH), bands = ceil_div(window.out[1], band);
    StripPair own;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const Index unit = 2 * pair + h, rows = quotient(unit, strips), planes = quotient(rows, bands);
        own.is_there[h] = unit < units;
        own.entry[h] = quotient(planes, window.out[0]);
        own.plane[h] = planes - own.entry[h] * window.out[0];
        own.row[h] = (rows - planes * bands) * band;
        own.column[h] = (unit - rows * strips) * Tile::WIDTH;
    }
    return own;
}

// Where a thread reads the next row of a pair of strips: its first pixel's place; which of its pixels and planes are there.
template <class Tile> struct StripSource {
    Index place[2], y[2];
    u32 pixels[2], planes[2];
    SMELT_DEVICE void find(const StripPair &own, const Strides &strides, const Window &window, Index channel, bool is_channel) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const Index x = window.start(2, own.column[h]) + (Index)((int)threadIdx.x % 32 / 4), z = window.start(0, own.plane[h]);
            y[h] = window.start(1, own.row[h]);
            place[h] = strides.plane(own.entry[h], channel) + strides.place(z, y[h], x);
            pixels[h] = planes[h] = 0;
#pragma unroll
            for (int p = 0; p < Tile::PIXELS; p += 8) pixels[h] |= (u32)(is_channel && own.is_there[h] && inside(x + p, window.in[2])) << p / 8;
#pragma unroll
            for (int k = 0; k < Tile::KERNEL_Z; ++k) planes[h] |= (u32)inside(z + k * window.dilation[0], window.in[0]) << k;
        }
    }
    // Begins to copy a row, and goes on to the next.
    template <class T> SMELT_DEVICE void copy(const T *x, const Strides &strides, const Window &window, typename Tile::Row &to) {
        const int q = (int)threadIdx.x % 4, own = (int)threadIdx.x % 32 / 4;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const u32 there = inside(y[h], window.in[1]) ? pixels[h] : 0;
#pragma unroll
            for (int z = 0; z < Tile::KERNEL_Z; ++z) {
                const u32 of_plane = planes[h] >> z & 1 ? there : 0;
#pragma unroll
                for (int p = 0; p < Tile::PIXELS; p += 8)
                    if (p + 8 <= Tile::PIXELS || p + own < Tile::PIXELS)
                        copy_later(&to.at[z][h][Tile::slot(p + own)][q],
                                   x + (place[h] + z * window.dilation[0] * strides.axis[0] + p * strides.axis[2]), of_plane >> p / 8 & 1);
            }
            place[h] += strides.axis[1];
            ++y[h];
        }
    }
};

// The weight of matrix g as an element of the diagonal: in the lower or higher half of a register. half: of the thread.
SMELT_DEVICE u32 diagonal_of(const Pack<u16, 4> &weights, int g, u32 half) {
    const u32 pair = weights.at[g / 2 * 2] | (u32)weights.at[g / 2 * 2 + 1] << 16;
    return __byte_perm(pair, 0, g % 2 == 0 ? (half ? 0x1044 : 0x4410) : (half ? 0x3244 : 0x4432));
}

// A thread's elements of the diagonals, as it finds them in shared memory or from the beginning.
template <class Tile> struct StripWeights {
    const typename Tile::Weights &weights;
    int entry;
    u32 half, held[Tile::HELD ? Tile::TAPS : 1][4];
    SMELT_DEVICE StripWeights(const typename Tile::Weights &of_all, int own, u32 own_half) : weights(of_all), entry(own), half(own_half) {
        if (Tile::HELD)
#pragma unroll
            for (int tap = 0; tap < Tile::TAPS; ++tap) read(tap, held[Tile::HELD ? tap : 0]);
    }
    SMELT_DEVICE void read(int tap, u32 (&to)[4]) const {
        const Pack<u16, 4> of_tap = weights.at[tap][entry];
#pragma unroll
        for (int g = 0; g < 4; ++g) to[g] = diagonal_of(of_tap, g, half);
    }
    SMELT_DEVICE void get(int tap, u32 (&to)[4]) const {
        if (!Tile::HELD) read(tap, to);
#pragma unroll
        for (int g = 0; Tile::HELD && g < 4; ++g) to[g] = held[Tile::HELD ? tap : 0][g];
    }
};

// Adds what a row of the input gives, the j-th of STRIDE_Y behind those that the rows of the result in front have seen. The sums of
// the first of these rows are number `first`.
template <class Tile, class T>
SMELT_DEVICE void add_strip_row(const typename Tile::Row &row, int j, const StripWeights<Tile> &weights, int first,
                                float (&sum)[Tile::LIVE][4][4]) {
    const int q = (int)threadIdx.x % 4, place = (int)threadIdx.x % 32 / 4;
#pragma unroll
    for (int z = 0; z < Tile::KERNEL_Z; ++z)
#pragma unroll
        for (int k = 0; k < Tile::KERNEL_X; k += 2) {
            const bool both = k + 1 < Tile::KERNEL_X;
            Pack<u32, 4> v[2][2] = {};
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                v[0][h] = row.at[z][h][Tile::slot(k) + place][q];
                if (both) v[1][h] = row.at[z][h][Tile::slot(k + 1) + place][q];
            }
#pragma unroll
            for (int d = 0; d < Tile::LIVE; ++d) {
                const int y = Tile::KERNEL_Y - Tile::STRIDE_Y + j - d * Tile::STRIDE_Y;
                if (y < 0 || y >= Tile::KERNEL_Y) continue;
                const int tap = (z * Tile::KERNEL_Y + y) * Tile::KERNEL_X + k;
                u32 b[2][4] = {};
                weights.get(tap, b[0]);
                if (both) weights.get(tap + 1, b[1]);
#pragma unroll
                for (int g = 0; g < 4; ++g) {
                    const u32 a[4] = {v[0][0].at[g], v[0][1].at[g], v[1][0].at[g], v[1][1].at[g]};
                    float(&to)[4] = sum[(first + d) % Tile::LIVE][g];
                    if (!both && Same<T, smelt_half>::value) multiply_shallow(to, a[0], a[1], b[0][g]);
                    else multiply_matrices<T>(to, a, b[0][g], b[1][g]);
                }
            }
        }
}

// A finished row of a pair of strips, number i of their bands.
template <class Tile, class E>
SMELT_DEVICE void put_strip_row(const float (&sum)[4][4], const Window &window, const StripPair &own, Index channels, Index channel, Index i,
                                const E &epilogue) {
    const Index place = (Index)((int)threadIdx.x % 32 / 4);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const Index y = own.row[h] + i, column = own.column[h] + place;
        if (!own.is_there[h] || channel >= channels || y >= window.out[1] || column >= window.out[2]) continue;
        const Index number =
            (((own.entry[h] * window.out[0] + own.plane[h]) * window.out[1] + y) * window.out[2] + column) * channels + channel;
        typename E::Operands operands;
        epilogue.read(number, operands);
        float value[8];
#pragma unroll
        for (int l = 0; l < 8; ++l) value[l] = sum[l / 2][2 * h + l % 2];
        epilogue.write(number, value, operands);
    }
}

// What a block's channels are multiplied with, from [channels, TAPS].
template <class Tile, class T> struct StripLoad {
    static const int THREADS = Tile::WARPS * 32, ELEMENTS = Tile::CHANNELS * Tile::TAPS, ROUNDS = (ELEMENTS + THREADS - 1) / THREADS;
    u16 held[ROUNDS];
    SMELT_DEVICE void begin(const T *w, Index group, Index channels) {
#pragma unroll
        for (int i = 0; i < ROUNDS; ++i) {
            const int e = i * THREADS + (int)threadIdx.x;
            held[i] = e < ELEMENTS && group + e / Tile::TAPS < channels ? w[group * Tile::TAPS + e].bits : (u16)0;
        }
    }
    SMELT_DEVICE void end(typename Tile::Weights *to) const {
#pragma unroll
        for (int i = 0; i < ROUNDS; ++i) {
            const int e = i * THREADS + (int)threadIdx.x, c = e / Tile::TAPS;
            if (e < ELEMENTS) to[c / 32].at[e - c * Tile::TAPS][c % 32 / 8 * 2 + c % 2].at[c % 8 / 2] = held[i];
        }
        for (int i = (int)threadIdx.x; i < Tile::TAPS * Tile::GROUPS; i += THREADS) to[i / Tile::TAPS].at[i % Tile::TAPS][8] = Pack<u16, 4>{};
        __syncthreads();
    }
};

// blockIdx.y counts groups of channels; blockIdx.x goes through pairs of strips of `band` rows, one for each warp at a time.
// CONSTANT: the weights and what finish reads are, and so can be read before other kernels are done.
template <class Tile, bool CONSTANT, class T, class Finish, class E>
SMELT_DEVICE void depthwise_strips(const T *x, const T *w, const Strides &strides, const Window &window, Index batch, Index channels,
                                   Index band, const Finish &finish, const E &epilogue) {
    typedef typename Tile::Row Row;
    typedef typename Tile::Weights Weights;
    const int STAGES = Tile::STAGES, lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const Index group = (Index)blockIdx.y * Tile::CHANNELS, channel = group + warp % Tile::GROUPS * 32 + lane % 4 * 8;
    const bool is_channel = channel < channels;
    Row *const ring = reinterpret_cast<Row *>(block_memory()) + warp * STAGES;
    Weights *const all_weights = reinterpret_cast<Weights *>(block_memory() + sizeof(Row) * STAGES * Tile::WARPS);
    if (!CONSTANT) wait_for_previous_kernel();
    StripLoad<Tile, T> load;
    load.begin(w, group, channels);
    float shift[8];
#pragma unroll
    for (int l = 0; l < 8; ++l) shift[l] = is_channel ? finish(channel + l, 0.0f) : 0.0f;
    if (CONSTANT) wait_for_previous_kernel();

    const Index units = batch * window.out[0] * ceil_div(window.out[1], band) * ceil_div(window.out[2], (Index)Tile::WIDTH);
    const Index pairs = ceil_div(units, (Index)2), step = (Index)gridDim.x * Tile::PAIRS, rows = (band - 1) * Tile::STRIDE_Y + Tile::KERNEL_Y;
    Index pair = (Index)blockIdx.x * Tile::PAIRS + warp / Tile::GROUPS, next = pair, left = rows;
    StripSource<Tile> source;
    source.find(strip_pair<Tile>(next, units, window, band), strides, window, channel, is_channel);
    const auto copy_next = [&](int stage) {
        if (next < pairs) {
            source.copy(x, strides, window, ring[stage]);
            if (--left == 0) {
                left = rows;
                next += step;
                source.find(strip_pair<Tile>(next, units, window, band), strides, window, channel, is_channel);
            }
        }
        close_copies();
    };
#pragma unroll
    for (int s = 0; s < STAGES - 1; ++s) copy_next(s);
    load.end(all_weights);
    const u32 half = (u32)lane / 4 % 2;
    const StripWeights<Tile> weights(all_weights[warp % Tile::GROUPS], lane / 8 == lane % 4 ? lane % 4 * 2 + (int)half : 8, half);
    int stage = 0;
    for (; pair < pairs; pair += step) {
        const StripPair own = strip_pair<Tile>(pair, units, window, band);
        float sum[Tile::LIVE][4][4];
#pragma unroll
        for (int i = 0; i < Tile::LIVE * 16; ++i) sum[i / 16][i / 4 % 4][i % 4] = shift[i / 4 % 4 * 2 + i % 2];
        for (Index begin = -(Index)((Tile::KERNEL_Y - 1) / Tile::STRIDE_Y); begin < band; begin += Tile::TURNS) {
#pragma unroll
            for (int turn = 0; turn < Tile::TURNS; ++turn) {
                const Index i = begin + turn;
                if (i >= band) break;
#pragma unroll
                for (int j = 0; j < Tile::STRIDE_Y; ++j) {
                    if (i * Tile::STRIDE_Y + Tile::KERNEL_Y - Tile::STRIDE_Y + j < 0) continue;
                    wait_for_copies<STAGES - 2>();
                    __syncwarp();
                    copy_next(stage == 0 ? STAGES - 1 : stage - 1);
                    add_strip_row<Tile, T>(ring[stage], j, weights, turn, sum);
                    stage = stage + 1 == STAGES ? 0 : stage + 1;
                }
                if (i >= 0) put_strip_row<Tile>(sum[turn], window, own, channels, channel, i, epilogue);
#pragma unroll
                for (int d = 0; d < Tile::LIVE; ++d) {
                    if (Tile::TURNS > 1 && d != turn) continue; // the sums stay where they are
#pragma unroll
                    for (int k = 0; k < 16; ++k)
                        sum[d][k / 4][k % 4] =
                            Tile::TURNS == 1 && d + 1 < Tile::LIVE ? sum[d + 1 < Tile::LIVE ? d + 1 : d][k / 4][k % 4] : shift[k / 4 * 2 + k % 2];
                }
            }
        }
    }
}

} // namespace smelt

#endif
