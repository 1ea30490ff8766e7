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

} // namespace smelt

#endif
