// Transposing through shared memory, so that both sides are accessed along their rows.
#ifndef SMELT_TRANSPOSE_CUH
#define SMELT_TRANSPOSE_CUH

#include "smelt/core.cuh"

namespace smelt {

static const int TRANSPOSE_THREADS = 256;

// For each plane: to[target + a * to_stride + b] = from[source + a + b * from_stride] for a below `columns`, b below
// `rows`. One block for each tile of COLUMNS x ROWS of each plane, read FROM neighbours at a time and written TO at a time;
// map gives a plane's source and target.
template <int COLUMNS, int ROWS, int FROM, int TO, class T, class Map>
SMELT_DEVICE void transpose_tiles(const T *from, T *to, Index columns, Index rows, Index from_stride, Index to_stride,
                                  const Map &map) {
    const int READS = COLUMNS * ROWS / FROM, READ_ROUNDS = (READS + TRANSPOSE_THREADS - 1) / TRANSPOSE_THREADS;
    const int WRITES = COLUMNS * ROWS / TO, WRITE_ROUNDS = (WRITES + TRANSPOSE_THREADS - 1) / TRANSPOSE_THREADS;
    const int GAP = sizeof(T) < 4 ? 4 / (int)sizeof(T) : 1; // elements behind a line, so that lines begin in different banks
    __shared__ T tile[ROWS][COLUMNS + GAP];
    const Index column_tiles = ceil_div(columns, (Index)COLUMNS), row_tiles = ceil_div(rows, (Index)ROWS);
    const Index number = (Index)blockIdx.x, in_plane = residue(number, column_tiles * row_tiles);
    const Index plane = quotient(number, column_tiles * row_tiles);
    const Index column = residue(in_plane, column_tiles) * COLUMNS, row = quotient(in_plane, column_tiles) * ROWS;
    const Index source = map.source(plane) + column + row * from_stride, target = map.target(plane) + column * to_stride + row;
    Pack<T, FROM> own[READ_ROUNDS];
#pragma unroll
    for (int i = 0; i < READ_ROUNDS; ++i) {
        const int e = i * TRANSPOSE_THREADS + (int)threadIdx.x, r = e / (COLUMNS / FROM), c = e % (COLUMNS / FROM) * FROM;
        if (e < READS && column + c < columns && row + r < rows) own[i] = load_pack<FROM>(from, source + c + r * from_stride);
    }
#pragma unroll
    for (int i = 0; i < READ_ROUNDS; ++i) {
        const int e = i * TRANSPOSE_THREADS + (int)threadIdx.x, r = e / (COLUMNS / FROM), c = e % (COLUMNS / FROM) * FROM;
        if (e < READS)
#pragma unroll
            for (int l = 0; l < FROM; ++l) tile[r][c + l] = own[i].at[l];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < WRITE_ROUNDS; ++i) {
        const int e = i * TRANSPOSE_THREADS + (int)threadIdx.x, c = e / (ROWS / TO), r = e % (ROWS / TO) * TO;
        if (e >= WRITES || column + c >= columns || row + r >= rows) continue;
        Pack<T, TO> out;
#pragma unroll
        for (int l = 0; l < TO; ++l) out.at[l] = tile[r + l][c];
        store_pack(to, target + c * to_stride + r, out);
    }
}

// The same where one extent is FEW: `count` elements of each of FEW rows that lie `stride` apart in the source (GATHERS) or in
// the target become, or come from, a place of FEW neighbours each. A thread has LANES elements of each row; a warp's lie one behind
// the other on the other side, which goes through shared memory. One block for each TRANSPOSE_THREADS * LANES elements of the rows
// of each plane; count, stride and what map gives: multiples of LANES.
template <int FEW, int LANES, bool GATHERS, class T, class Map>
SMELT_DEVICE void transpose_few(const T *from, T *to, Index count, Index stride, const Map &map) {
    const int WARP = 32;
    __shared__ Pack<T, LANES> parts[TRANSPOSE_THREADS * FEW];
    const Index tiles = ceil_div(count, (Index)(TRANSPOSE_THREADS * LANES)), plane = quotient((Index)blockIdx.x, tiles);
    const int lane = (int)threadIdx.x % WARP, own = (int)threadIdx.x - lane;
    const Index first = (residue((Index)blockIdx.x, tiles) * TRANSPOSE_THREADS + own) * LANES, place = first + lane * LANES;
    const Index packs = (count - first) / LANES * FEW; // of this warp and those behind it
    const Index source = map.source(plane), target = map.target(plane);
    Pack<T, LANES> *warp = parts + own * FEW, rows[FEW], mixed[FEW];
    wait_for_previous_kernel();
#pragma unroll
    for (int f = 0; f < FEW; ++f) {
        const int n = f * WARP + lane;
        if (GATHERS && place < count) rows[f] = load_pack<LANES>(from, source + f * stride + place);
        if (!GATHERS && n < packs) warp[n] = load_pack<LANES>(from, source + first * FEW + n * LANES);
    }
    if (!GATHERS) __syncwarp();
#pragma unroll
    for (int f = 0; f < FEW && !GATHERS; ++f) mixed[f] = warp[lane * FEW + f];
#pragma unroll
    for (int i = 0; i < FEW * LANES; ++i) {
        if (GATHERS) mixed[i / LANES].at[i % LANES] = rows[i % FEW].at[i / FEW];
        else rows[i % FEW].at[i / FEW] = mixed[i / LANES].at[i % LANES];
    }
#pragma unroll
    for (int f = 0; f < FEW && GATHERS; ++f) warp[lane * FEW + f] = mixed[f];
    if (GATHERS) __syncwarp();
#pragma unroll
    for (int f = 0; f < FEW; ++f) {
        const int n = f * WARP + lane;
        if (GATHERS && n < packs) store_pack(to, target + first * FEW + n * LANES, warp[n]);
        if (!GATHERS && place < count) store_pack(to, target + f * stride + place, rows[f]);
    }
}

} // namespace smelt

#endif
