// Transposing through shared memory, so that both sides are accessed along their rows.
#ifndef SMELT_TRANSPOSE_CUH
#define SMELT_TRANSPOSE_CUH

#include "smelt/core.cuh"

namespace smelt {

// For each plane: to[target + a * to_stride + b] = from[source + a + b * from_stride] for a below `columns`, b below
// `rows`. One block of 256 threads for each tile of 32 x 32 of each plane; map gives a plane's source and target.
template <class T, class Map>
SMELT_DEVICE void transpose_tiles(const T *from, T *to, Index columns, Index rows, Index from_stride, Index to_stride,
                                  const Map &map) {
    __shared__ T tile[32][33];
    const Index column_tiles = (columns + 31) / 32, row_tiles = (rows + 31) / 32;
    const Index number = (Index)blockIdx.x, in_plane = residue(number, column_tiles * row_tiles);
    const Index plane = quotient(number, column_tiles * row_tiles);
    const Index column = residue(in_plane, column_tiles) * 32, row = quotient(in_plane, column_tiles) * 32;
    const int lane = (int)threadIdx.x % 32, line = (int)threadIdx.x / 32;
    const Index source = map.source(plane), target = map.target(plane);
#pragma unroll
    for (int k = line; k < 32; k += 8)
        if (column + lane < columns && row + k < rows)
            tile[k][lane] = from[source + (column + lane) + (row + k) * from_stride];
    __syncthreads();
#pragma unroll
    for (int k = line; k < 32; k += 8)
        if (column + k < columns && row + lane < rows)
            to[target + (column + k) * to_stride + (row + lane)] = tile[lane][k];
}

} // namespace smelt

#endif
