// Convolutions as those of wgmma_halo.cuh, whose instructions have output channels as rows and places as columns, sm_90a alone:
// up to 256 places, so that an instruction reads less from shared memory than it has time for. Two warpgroups take turns with
// tiles of their own: one multiplies while the other stores.
#ifndef SMELT_WGMMA_SWAPPED_CUH
#define SMELT_WGMMA_SWAPPED_CUH

#include "smelt/wgmma_halo.cuh"

namespace smelt {

// A warpgroup's work: 64 output channels of PLANES planes with LINES lines of 8 places. The others: as those of HaloTile.
template <class ELEMENT, int PLANES, int LINES, int DEPTH, int TAPS, int INPUTS, int INPUT_BYTES, int STAGES, bool KEEP>
struct SwappedTile {
    typedef ELEMENT Element;
    static const int warpgroups = 1; // that read an input or a stage
    static const int planes = PLANES, lines = LINES, places = 8, cols = 64, depth = DEPTH, taps = TAPS, inputs = INPUTS;
    static const int stages = STAGES, spread = 0, consumers = 256;
    static const bool keep = KEEP;
    static const int input_bytes = INPUT_BYTES, tap_bytes = cols * DEPTH * 2, line = DEPTH * 2, stage_bytes = TAPS * tap_bytes;
    // Sums pass through the input that is read last: floats from a place to the next, a gap in the middle of a place's so that
    // banks differ, lines at a time.
    static const int gap = 4, pitch = cols + gap, most = INPUT_BYTES / (places * pitch * 4);
    static const int rounds = (LINES + most - 1) / most, together = (LINES + rounds - 1) / rounds;
};

// Sums as the instruction leaves them, of a channel and pairs of places each, are handed to the store as 8 channels of a place,
// neighbours' behind each other. memory: nothing else is done with it any more.
template <class Tile, class Store>
SMELT_DEVICE void swapped_store(u32 memory, const HaloTiles<Tile> &tiles, const HaloPlace &place, const Store &store,
                                const typename Store::Column &column, const float (&sums)[Tile::planes][Tile::lines * 4]) {
    const int ahead = 4; // lines of a thread that are read at a time
    const int thread = threadIdx.x % 128, part = thread % 8, x = thread / 8 % Tile::places, down = thread / 64;
    const u32 to = memory + (thread % 4 * 2 * Tile::pitch + (int)wgmma_row() + thread / 64 * Tile::gap) * 4;
    const u32 from = memory + ((down * Tile::places + x) * Tile::pitch + part * 8 + part / 4 * Tile::gap) * 4;
    const Index col = place.col + part * 8;
#pragma unroll
    for (int plane = 0; plane < Tile::planes; ++plane)
#pragma unroll
        for (int first = 0; first < Tile::lines; first += Tile::together) {
            warpgroup_wait();
#pragma unroll
            for (int i = 0; i < Tile::together && first + i < Tile::lines; ++i)
#pragma unroll
                for (int k = 0; k < 4; ++k)
                    shared_put(to + ((i * Tile::places + k % 2) * Tile::pitch + k / 2 * 8) * 4, sums[plane][(first + i) * 4 + k]);
            warpgroup_wait();
#pragma unroll
            for (int i = 0; i < Tile::together; i += 2 * ahead) {
                typename Store::Operands operands[ahead];
                Index rows[ahead];
                float results[ahead][8];
#pragma unroll
                for (int j = 0; j < ahead; ++j) {
                    const int line = i + 2 * j + down;
                    const bool here = line < Tile::together && first + line < Tile::lines;
                    rows[j] = here ? tiles.number(place, plane, first + line, x) : tiles.behind();
                    store.fetch(rows[j], col, 0, operands[j]);
                }
#pragma unroll
                for (int j = 0; j < ahead; ++j) {
                    const int line = i + 2 * j; // behind the last one the first is read
                    const bool within = line + 1 < Tile::together || line + down < Tile::together;
                    const u32 at = from + (within ? line : -down) * Tile::places * Tile::pitch * 4;
                    float own[8];
                    shared_get(at, own[0], own[1], own[2], own[3]);
                    shared_get(at + 16, own[4], own[5], own[6], own[7]);
                    store.apply(own, column, results[j]);
                }
#pragma unroll
                for (int j = 0; j < ahead; ++j) store.write(rows[j], col, 0, results[j], operands[j]);
            }
        }
}

// turns: barriers of both warpgroups, whose phases are complete when the other one has begun a tile's products. All of its warps say
// so: one that still waited for the phase before would not see it end, where a tile has no instructions that others wait for.
template <class Tile, class Store>
SMELT_DEVICE void swapped_consume(const InputRing<Tile> &ring, const HaloTiles<Tile> &tiles, u32 turns, const Store &store) {
    const HaloWindow &window = tiles.window;
    const int warpgroup = threadIdx.x / 128, inputs = window.channels / Tile::depth;
    const int stages = Tile::keep ? 0 : inputs * window.kernel[0] * window.kernel[1]; // of the other's tiles
    const u64 box_form = operand_form<Tile::line>(16, window.box[2] * Tile::line);
    float sums[Tile::planes][Tile::lines * 4];
    WgmmaStage input, stage;
    u32 turn = warpgroup ^ 1;
    bool first = true;
    if (warpgroup == 1) {
        input.skip<Tile::inputs>(inputs);
        stage.skip<Tile::stages>(stages);
    }
    typename Store::Column column; // of the thread's 8 channels, the same in all tiles
    store.fetch_column(tiles.find((Index)blockIdx.x).col + threadIdx.x % 8 * 8, 0, column);
    const Index step = 2 * (Index)gridDim.x;
    for (Index tile = (Index)blockIdx.x + warpgroup * (Index)gridDim.x; tile < tiles.count(); tile += step) {
        const HaloPlace place = tiles.find(tile);
        bool add = false;
        u32 memory = 0; // the last input
        InputReads<Tile> reads;
        barrier_wait(turns + warpgroup * 8, turn);
        turn ^= 1;
        for (int channel = 0; channel < window.channels; channel += Tile::depth) {
            const u32 box = memory = ring.inputs + input.at * Tile::input_bytes;
            barrier_wait(ring.input_full + input.at * 8, input.round);
            halo_multiply<Tile, true, Tile::lines * 8>(
                ring, window, box, box_form, stage, first, add, reads, sums,
                [&](int j) { return (u32)(j * window.box[1] * window.box[2]); });
            reads.input = ring.input_free + input.at * 8;
            input.next<Tile::inputs>();
        }
        if (threadIdx.x % 32 == 0) barrier_arrive(turns + (warpgroup ^ 1) * 8);
        wgmma_wait<0>();
#pragma unroll
        for (int j = 0; j < Tile::planes; ++j) wgmma_settle(sums[j]);
        reads.free_weights();
        swapped_store<Tile>(memory, tiles, place, store, column, sums);
        stores_done();
        warpgroup_wait();
        reads.free_input();
        input.skip<Tile::inputs>(inputs);
        stage.skip<Tile::stages>(stages);
        first = false;
    }
}

// The grid has a multiple of tiles.cols blocks: each has the same columns all the time. AHEAD: the weights are constant.
template <class Tile, bool AHEAD, class Store>
SMELT_DEVICE void swapped_product(const HaloTiles<Tile> &tiles, const TensorMap &x, const TensorMap &w, const Store &store) {
    __shared__ u64 barriers[2];
    const u32 turns = shared_address(barriers);
    if (threadIdx.x == 0)
        for (int i = 0; i < 2; ++i) barrier_init(turns + i * 8, 4);
    const InputRing<Tile> ring = input_ring<Tile>(x, w);
    if (AHEAD && Tile::keep) halo_copy_ahead<Tile>(ring, tiles, w);
    wait_for_previous_kernel();
    if (threadIdx.x >= Tile::consumers) {
        registers_to<40>();
        if (threadIdx.x == Tile::consumers) halo_copy<Tile, AHEAD>(ring, tiles, x, w);
        __syncwarp();
    } else {
        registers_from<232>();
        swapped_consume<Tile>(ring, tiles, turns, store);
    }
}

} // namespace smelt

#endif
