// Mean and deviation of a product's columns, for a normalisation behind it (moments.cuh): found from the sums while they are in
// registers, so that nobody has to read the result for them.
#ifndef SMELT_SUM_MOMENTS_CUH
#define SMELT_SUM_MOMENTS_CUH

#include "smelt/sums.cuh"
#include "smelt/wgmma.cuh"

namespace smelt {

// Of the 8 numbers that each of 8 threads of a warp has, those with the same place threadIdx.x % 4, each thread gets one, added
// up: that of column column_of_rows(its lane).
SMELT_DEVICE float add_rows(const float (&own)[8]) {
    const bool a = threadIdx.x & 16, b = threadIdx.x & 8, c = threadIdx.x & 4;
    float four[4], two[2];
#pragma unroll
    for (int i = 0; i < 4; ++i)
        four[i] = (a ? own[4 + i] : own[i]) + __shfl_xor_sync(0xffffffffu, a ? own[i] : own[4 + i], 16);
#pragma unroll
    for (int i = 0; i < 2; ++i)
        two[i] = (b ? four[2 + i] : four[i]) + __shfl_xor_sync(0xffffffffu, b ? four[i] : four[2 + i], 8);
    return (c ? two[1] : two[0]) + __shfl_xor_sync(0xffffffffu, c ? two[0] : two[1], 4);
}
SMELT_DEVICE int column_of_rows(int lane) {
    return lane % 4 * 8 + (lane & 16 ? 4 : 0) + (lane & 8 ? 2 : 0) + (lane & 4 ? 1 : 0);
}
template <class A> SMELT_DEVICE A all_rows(A own) {
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) own += __shfl_xor_sync(0xffffffffu, own, mask);
    return own;
}

// Mean and squares of a warp's `rows` rows for the thread's column of 32, from what rows differ from a number near them, in 8
// columns for each thread.
SMELT_DEVICE Pack<float, 2> warp_moments(const float (&near)[8], const float (&sum)[8], const float (&squares)[8], int rows) {
    const int lane = (int)threadIdx.x % 32;
    const float each = 1.0f / (float)larger(rows, 1), apart = add_rows(sum), square = add_rows(squares);
    float from = near[0];
#pragma unroll
    for (int k = 1; k < 8; ++k) from = column_of_rows(lane) == lane % 4 * 8 + k ? near[k] : from;
    return {{from + apart * each, larger(square - apart * apart * each, 0.0f)}};
}

// Moments of several warps, merged in order.
struct MergedMoments {
    float count = 0.0f, first_mean = 0.0f, apart_sum = 0.0f, square = 0.0f;
    SMELT_DEVICE void add(float n, const Pack<float, 2> &moments) {
        if (count == 0.0f) first_mean = moments.at[0];
        const float apart = n > 0.0f ? moments.at[0] - first_mean : 0.0f;
        apart_sum += n * apart;
        square += (n > 0.0f ? moments.at[1] : 0.0f) + n * apart * apart;
        count += n;
    }
    SMELT_DEVICE Pack<float, 2> moments() const {
        const float mean = apart_sum / larger(count, 1.0f);
        return {{first_mean + mean, larger(square - mean * apart_sum, 0.0f)}};
    }
};

// Where the moments go: for each part and column mean and sum of the squares of what results differ from it; for each part how
// many rows it has. each: a part for each tile of rows, else one for each block, which then has tiles of the same columns.
struct MomentParts {
    float *moments, *counts;
    Index cols;
    bool each;
};

// As NoMoments of sums.cuh, of a block's consumers. Threads add up what their own rows differ from a number near them, the mean
// of the warp's rows in its first tile: in registers, of which there must be enough (sum_moments_fit of sums_text.h).
template <class Tile> struct TileMoments {
    static const int warps = Tile::consumers / 32, groups = Tile::cols / 32, together = 4; // warps that hand on at a time
    struct Memory {
        Pack<float, 2> moments[together][32];
        int rows[warps];
    };
    static SMELT_DEVICE Memory &shared() {
        __shared__ Memory memory;
        return memory;
    }
    const MomentParts &parts;
    Memory &memory;
    int rows = 0, tile_rows = 0; // of the warp, that count: before this tile, and of it
    float near[groups][8], sum[groups][8], squares[groups][8];

    SMELT_DEVICE explicit TileMoments(const MomentParts &moment_parts) : parts(moment_parts), memory(shared()) {}
    SMELT_DEVICE void start(int own) { tile_rows = all_rows(own); }
    // The 32 columns of number g; get(r, x): whether row r counts, and its results.
    template <int LINES, class Get> SMELT_DEVICE void take(int g, const Get &get) {
        if (rows == 0) {
#pragma unroll
            for (int k = 0; k < 8; ++k) near[g][k] = sum[g][k] = squares[g][k] = 0.0f;
#pragma unroll
            for (int r = 0; r < LINES; ++r) {
                float x[8];
                const bool counts = get(r, x);
#pragma unroll
                for (int k = 0; k < 8; ++k) near[g][k] += counts ? x[k] : 0.0f;
            }
            const float each = 1.0f / (float)larger(tile_rows, 1);
#pragma unroll
            for (int k = 0; k < 8; ++k) near[g][k] = all_rows(near[g][k]) * each;
        }
#pragma unroll
        for (int r = 0; r < LINES; ++r) {
            float x[8];
            const bool counts = get(r, x);
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                const float apart = counts ? x[k] - near[g][k] : 0.0f;
                sum[g][k] += apart;
                squares[g][k] += apart * apart;
            }
        }
    }
    SMELT_DEVICE void finish() { rows += tile_rows; }
    // Leaves what there is of the columns from `col` on as this part.
    SMELT_DEVICE void leave(Index part, Index col) {
        const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
        if (lane == 0) memory.rows[warp] = rows;
#pragma unroll
        for (int g = 0; g < groups; ++g) {
            MergedMoments merged; // of the first warp's threads
            const Pack<float, 2> mine = warp_moments(near[g], sum[g], squares[g], rows);
#pragma unroll
            for (int first = 0; first < warps; first += together) {
                if (warp >= first && warp < first + together)
                    memory.moments[warp - first][column_of_rows(lane)] = mine;
                consumers_wait<Tile::consumers>();
                if (warp == 0)
#pragma unroll
                    for (int w = 0; w < together; ++w) merged.add((float)memory.rows[first + w], memory.moments[w][lane]);
                consumers_wait<Tile::consumers>();
            }
            const Index column = col + g * 32 + lane;
            if (warp == 0 && column < parts.cols) store_pack(parts.moments, 2 * (part * parts.cols + column), merged.moments());
            if (warp == 0 && column == 0) parts.counts[part] = merged.count;
        }
        rows = 0;
    }
    SMELT_DEVICE void leave_tile(Index part, Index col) {
        if (parts.each) leave(part, col);
    }
    SMELT_DEVICE void leave_block() {
        if (!parts.each) leave((Index)blockIdx.x, 0);
    }
};
template <class Tile> SMELT_DEVICE TileMoments<Tile> tile_moments(const MomentParts &parts) { return TileMoments<Tile>(parts); }

} // namespace smelt

#endif
