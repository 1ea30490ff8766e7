// Instance and group normalisation, with what follows element by element, of what a product's kernel makes: all blocks are there
// together and meet when each has left the moments of its tiles. A block's last tile is normalised in registers, where it is; those
// before it wait in memory, each thread's for the thread itself. sm_90a alone.
#ifndef SMELT_WGMMA_BEHIND_CUH
#define SMELT_WGMMA_BEHIND_CUH

#include "smelt/sum_moments.cuh"
#include "smelt/wgmma_normal.cuh"
#include "smelt/wgmma_product.cuh"

namespace smelt {

// Results [rows, columns] of one batch entry, whose columns are channels. parts: of each block, or, where EACH, of each tile of rows,
// where slices divide the tile, of the rows that a block stores. count: of them where EACH. width: channels of a unit, CHANNELS:
// of all units that a tile has channels of, at most. kept: for the results of tiles that are not their blocks' last. Finish:
// generated (moments.cuh).
template <class T, int CHANNELS, bool EACH, class Finish> struct PlanesBehind {
    static const bool normalizes = true;
    const MomentParts &parts;
    Index count, width, places;
    T *kept;
    const Finish &finish;

    template <class Tile> struct Memory {
        union {
            struct {
                Pack<float, 2> moments[Tile::consumers / 32][Tile::cols];
                int rows[Tile::consumers / 32];
            } warps; // of the tile, each
            TeamSums<Tile::consumers, CHANNELS> sums;
        };
        Pack<float, 2> scales[Tile::cols];
    };
    // Moments of a thread's columns.
    template <class Tile> struct Block {
        static const int most = (Tile::cols + Tile::consumers - 1) / Tile::consumers;
        MergedMoments moments[most];
    };
    // That of the stages, which slices have no more use for until the next round.
    template <class Tile> SMELT_DEVICE Memory<Tile> &memory(const WgmmaRing<Tile> &ring) const {
        if constexpr (Tile::slices > 1) {
            return shared_object<Memory<Tile>>(ring.data);
        } else {
            __shared__ Memory<Tile> own;
            return own;
        }
    }
    // Moments of what the block stores of the tile: left, or added to those of the block's tiles before, which are left behind the
    // last one. Numbers are near those of the warp's first row, which counts if any does.
    template <class Tile, class Results>
    SMELT_DEVICE void leave(const Results &results, Index tile_row, Index tile_col, Memory<Tile> &shared, Block<Tile> &block,
                            bool last) const {
        typedef WgmmaOwn<Tile> Own;
        const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
        bool inside[Own::per];
        int rows = 0;
#pragma unroll
        for (int j = 0; j < Own::per; ++j) rows += inside[j] = wgmma_row_of<Tile>(tile_row, Own::line(j)) < places;
        rows = all_rows(rows);
        if (Tile::slices > 1) consumers_wait<Tile::consumers>(); // nobody multiplies any more
#pragma unroll
        for (int g = 0; g < Own::groups; ++g) {
            float near[8], sum[8] = {}, squares[8] = {};
#pragma unroll
            for (int k = 0; k < 8; ++k) near[k] = __shfl_sync(0xffffffffu, results[g * Own::per][k], lane % 4);
#pragma unroll
            for (int j = 0; j < Own::per; ++j)
#pragma unroll
                for (int k = 0; k < 8; ++k) {
                    const float apart = inside[j] ? results[g * Own::per + j][k] - near[k] : 0.0f;
                    sum[k] += apart;
                    squares[k] += apart * apart;
                }
            const Pack<float, 2> mine = warp_moments(near, sum, squares, rows);
            if (Own::has(g)) shared.warps.moments[warp][Own::group(g) * 32 + column_of_rows(lane)] = mine;
        }
        if (lane == 0) shared.warps.rows[warp] = rows;
        consumers_wait<Tile::consumers>();
        const Index part = EACH ? tile_row * Own::classes + Own::own() : (Index)blockIdx.x;
#pragma unroll
        for (int n = 0; n < Block<Tile>::most; ++n) {
            const int i = (int)threadIdx.x + n * Tile::consumers;
            if (i >= Own::groups * 32 || !Own::has(i / 32)) continue;
            const int at = Own::group(i / 32) * 32 + i % 32;
            const Index column = tile_col + at;
            MergedMoments merged;
            if (!EACH) merged = block.moments[n];
#pragma unroll
            for (int w = 0; w < Tile::consumers / 32; ++w) merged.add((float)shared.warps.rows[w], shared.warps.moments[w][at]);
            block.moments[n] = merged;
            if ((!EACH && !last) || column >= parts.cols) continue;
            store_pack(parts.moments, 2 * (part * parts.cols + column), merged.moments());
            if (column == 0) parts.counts[part] = merged.count;
        }
        consumers_wait<Tile::consumers>();
    }
    // For each 8 results that the block stores of the tile: what(results, row, column).
    template <class Tile, class Results, class What>
    SMELT_DEVICE void for_own(Results &results, Index tile_row, Index tile_col, const What &what) const {
        typedef WgmmaOwn<Tile> Own;
#pragma unroll
        for (int g = 0; g < Own::groups; ++g)
#pragma unroll
            for (int j = 0; j < Own::per; ++j) {
                const Index row = wgmma_row_of<Tile>(tile_row, Own::line(j));
                const Index col = tile_col + Own::group(g) * 32 + threadIdx.x % 4 * 8;
                if (Own::has(g) && row < places && col < parts.cols) what(results[g * Own::per + j], row, col);
            }
    }
    // To where the thread keeps them, and back.
    template <class Tile, class Results> SMELT_DEVICE void keep(Results &results, Index tile_row, Index tile_col) const {
        for_own<Tile>(results, tile_row, tile_col, [&](float(&x)[8], Index row, Index col) {
            Pack<T, 8> pack;
#pragma unroll
            for (int k = 0; k < 8; ++k) put(pack.at[k], x[k]);
            store_pack(kept, row * parts.cols + col, pack);
        });
    }
    template <class Tile, class Results> SMELT_DEVICE void take(Results &results, Index tile_row, Index tile_col) const {
        for_own<Tile>(results, tile_row, tile_col, [&](float(&x)[8], Index row, Index col) {
            const Pack<T, 8> pack = load_pack<8>(kept, row * parts.cols + col);
#pragma unroll
            for (int k = 0; k < 8; ++k) x[k] = (float)fetch(pack.at[k]);
        });
    }
    // Of the columns of a tile, from those of the parts that all blocks have left.
    template <class Tile> SMELT_DEVICE void find(Index tile_col, Memory<Tile> &shared) const {
        const PlaneUnits units = {tile_col, smaller(tile_col + Tile::cols, parts.cols), parts.cols, width, places};
        const PartCounts counts = {parts.counts, count};
        find_scales((const float *)parts.moments, counts, EACH ? count : (Index)gridDim.x, units, finish, shared.sums, shared.scales);
    }
    template <class Tile, class Store, class Results>
    SMELT_DEVICE void store(const Store &store, const Results &results, Index tile_row, Index tile_col,
                            const Memory<Tile> &shared) const {
        typedef WgmmaOwn<Tile> Own;
#pragma unroll
        for (int g = 0; g < Own::groups; ++g) {
            const int at = Own::group(g) * 32 + (int)(threadIdx.x % 4) * 8;
            if (!Own::has(g)) continue;
            Pack<float, 2> own[8];
            typename Store::Operands operands[Own::per];
#pragma unroll
            for (int k = 0; k < 8; ++k) own[k] = shared.scales[at + k];
#pragma unroll
            for (int j = 0; j < Own::per; ++j)
                store.fetch(wgmma_row_of<Tile>(tile_row, Own::line(j)), tile_col + at, 0, operands[j]);
#pragma unroll
            for (int j = 0; j < Own::per; ++j) {
                float x[8];
#pragma unroll
                for (int k = 0; k < 8; ++k) x[k] = results[g * Own::per + j][k] * own[k].at[0] + own[k].at[1];
                store.write(wgmma_row_of<Tile>(tile_row, Own::line(j)), tile_col + at, 0, x, operands[j]);
            }
        }
    }
    // A tile's results; behind the block's last tile everything that it has.
    template <class Tile, class Store, class Results>
    SMELT_DEVICE void finish_tile(const WgmmaRing<Tile> &ring, const WgmmaTiles<Tile> &tiles, Index tile, const Store &store,
                                  Results &results, Block<Tile> &block) const {
        Memory<Tile> &shared = memory<Tile>(ring);
        Index row, col, matrix;
        tiles.find(tile, row, col, matrix);
        const bool last = tile + tiles.step() >= tiles.count();
        leave<Tile>(results, row, col * Tile::cols, shared, block, last);
        if (!last) return keep<Tile>(results, row, col * Tile::cols);
        if (threadIdx.x == 0) grid_meet();
        consumers_wait<Tile::consumers>();
        Index found = col;
        find<Tile>(col * Tile::cols, shared);
        this->store<Tile>(store, results, row, col * Tile::cols, shared);
        for (tile -= tiles.step(); tile >= 0; tile -= tiles.step()) {
            tiles.find(tile, row, col, matrix);
            take<Tile>(results, row, col * Tile::cols);
            if (col != found) {
                consumers_wait<Tile::consumers>(); // the scales are read
                find<Tile>(col * Tile::cols, shared);
            }
            found = col;
            this->store<Tile>(store, results, row, col * Tile::cols, shared);
        }
    }
};
template <int CHANNELS, bool EACH, class T, class Finish>
SMELT_DEVICE PlanesBehind<T, CHANNELS, EACH, Finish> planes_behind(const MomentParts &parts, Index count, Index width, Index places,
                                                                   T *kept, const Finish &finish) {
    return {parts, count, width, places, kept, finish};
}

} // namespace smelt

#endif
