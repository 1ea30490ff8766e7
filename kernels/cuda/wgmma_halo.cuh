// Convolutions of channels-last tensors with stride 1, sm_90a alone: a block copies each piece of the input once, with its
// halo, and multiplies it by the weights of every tap; the products of a tap read it from another first row on.
#ifndef SMELT_WGMMA_HALO_CUH
#define SMELT_WGMMA_HALO_CUH

#include "smelt/wgmma_inputs.cuh"

namespace smelt {

// A block's work: WARPGROUPS * BLOCKS pieces of 64 rows, COLS columns; stages of DEPTH channels of the input, and of the
// weights of TAPS neighbouring taps. INPUTS, STAGES: how many of each are there. KEEP: all weights are, and stay.
template <class ELEMENT, int WARPGROUPS, int BLOCKS, int COLS, int DEPTH, int TAPS, int INPUTS, int INPUT_BYTES, int STAGES,
          bool KEEP, bool SPREAD>
struct HaloTile {
    typedef ELEMENT Element;
    static const int warpgroups = WARPGROUPS, repeat = BLOCKS, cols = COLS, depth = DEPTH, taps = TAPS, inputs = INPUTS;
    static const int stages = STAGES;
    static const bool roomy = true;
    static const bool keep = KEEP;
    static const int spread = SPREAD ? 32 : 0, group = 32;
    static const bool moves_registers = WARPGROUPS == 2;
    static const int consumers = WARPGROUPS * 128;
    // Of an input, rounded up to where the next may begin; of the weights of a tap.
    static const int input_bytes = INPUT_BYTES, tap_bytes = COLS * DEPTH * 2, line = DEPTH * 2, stage_bytes = TAPS * tap_bytes;
};

// Numbers, slowest axis first, with 1 and 0 for axes that there are not. A piece of the result is `tile`, one of the input
// `box` (tile + (kernel - 1) * dilation) along each axis. Pieces of 64 rows begin `pitch` rows apart in a plane.
struct HaloWindow {
    Index out[3];
    int kernel[3], dilation[3], pad[3], tile[3], box[3];
    int channels, pitch, planes; // planes: pieces of 64 rows in each plane of the tile
    Index images;
};

struct HaloPlace {
    Index image, start[3], col;
};

template <class Tile> struct HaloTiles {
    HaloWindow window;
    Index cols; // tiles of columns
    SMELT_DEVICE Index along(int axis) const { return ceil_div(window.out[axis], (Index)window.tile[axis]); }
    SMELT_DEVICE Index count() const { return window.images * along(0) * along(1) * along(2) * cols; }
    SMELT_DEVICE HaloPlace find(Index tile) const {
        HaloPlace place;
        place.col = residue(tile, cols) * Tile::cols;
        tile = quotient(tile, cols);
#pragma unroll
        for (int i = 2; i >= 0; --i) {
            place.start[i] = residue(tile, along(i)) * window.tile[i];
            tile = quotient(tile, along(i));
        }
        place.image = tile;
        return place;
    }
    // Of a place of a tile: the result's row, or one behind all.
    SMELT_DEVICE Index number(const HaloPlace &place, int plane, int line, int x) const {
        const Index at[3] = {place.start[0] + plane, place.start[1] + line, place.start[2] + x};
        const bool outside = at[0] >= window.out[0] || at[1] >= window.out[1] || at[2] >= window.out[2];
        return outside ? behind() : ((place.image * window.out[0] + at[0]) * window.out[1] + at[1]) * window.out[2] + at[2];
    }
    SMELT_DEVICE Index behind() const { return window.images * window.out[0] * window.out[1] * window.out[2]; }
    // The same of a thread's row of a block's piece.
    SMELT_DEVICE Index row(const HaloPlace &place, int piece, int inside) const {
        const int plane = piece / window.planes, flat = piece % window.planes * window.pitch + inside;
        const int line = quotient(flat, window.box[2]), x = flat - line * window.box[2];
        // What is behind the next piece's first row is that one's.
        const bool outside = inside >= window.pitch || x >= window.tile[2] || line >= window.tile[1];
        return outside ? behind() : number(place, plane, line, x);
    }
};

// x: the input as (channel, x, y, z, image); w: the weights as for WgmmaWindows. Of a part of the channels all taps'.
template <class Tile>
SMELT_DEVICE void halo_copy_weights(const InputRing<Tile> &ring, const HaloWindow &window, const TensorMap &w, WgmmaStage &stage,
                                    int channel, Index col) {
    for (int tap = 0; tap < window.kernel[0] * window.kernel[1] * window.kernel[2]; tap += Tile::taps) {
        const u32 full = ring.full + stage.at * 8, at = ring.weights + stage.at * Tile::stage_bytes;
        barrier_wait(ring.free + stage.at * 8, stage.round ^ 1);
        barrier_arrive_expecting(full, Tile::stage_bytes);
#pragma unroll
        for (int j = 0; j < Tile::taps; ++j)
            wgmma_copy_columns<Tile>(at + j * Tile::tap_bytes, w, full,
                                     Tile::spread ? (tap + j) * window.channels + channel : channel,
                                     Tile::spread ? (int)col : tap + j, (int)col);
        stage.next<Tile::stages>();
    }
}

// Those that stay and are constant come before kernels in front have ended.
template <class Tile>
SMELT_DEVICE void halo_copy_ahead(const InputRing<Tile> &ring, const HaloTiles<Tile> &tiles, const TensorMap &w) {
    WgmmaStage stage;
    if (threadIdx.x == Tile::consumers)
        for (int channel = 0; channel < tiles.window.channels; channel += Tile::depth)
            halo_copy_weights<Tile>(ring, tiles.window, w, stage, channel, tiles.find((Index)blockIdx.x).col);
    __syncwarp();
}

// AHEAD: weights that stay have been asked for.
template <class Tile, bool AHEAD>
SMELT_DEVICE void halo_copy(const InputRing<Tile> &ring, const HaloTiles<Tile> &tiles, const TensorMap &x, const TensorMap &w) {
    const HaloWindow &window = tiles.window;
    WgmmaStage input, stage;
    bool first = true;
    for (Index tile = (Index)blockIdx.x; tile < tiles.count(); tile += (Index)gridDim.x, first = false) {
        const HaloPlace place = tiles.find(tile);
        for (int channel = 0; channel < window.channels; channel += Tile::depth) {
            barrier_wait(ring.input_free + input.at * 8, input.round ^ 1);
            barrier_arrive_expecting(ring.input_full + input.at * 8,
                                     window.box[0] * window.box[1] * window.box[2] * Tile::line);
            copy_box(ring.inputs + input.at * Tile::input_bytes, x, ring.input_full + input.at * 8, channel,
                     (int)place.start[2] - window.pad[2], (int)place.start[1] - window.pad[1],
                     (int)place.start[0] - window.pad[0], (int)place.image);
            input.next<Tile::inputs>();
            if (!Tile::keep || (first && !AHEAD)) halo_copy_weights<Tile>(ring, window, w, stage, channel, place.col);
        }
    }
}

// Products of an input's part with the weights of all taps, line by line of the window. begin(j): the first row of piece j in
// the box. SWAPPED: the weights are an instruction's rows, COLS places its columns. add: to the sums that there are.
template <class Tile, bool SWAPPED, int COLS, int PIECES, class Begin>
SMELT_DEVICE void halo_multiply(const InputRing<Tile> &ring, const HaloWindow &window, u32 box, u64 box_form, WgmmaStage &stage,
                                bool wait, bool &add, InputReads<Tile> &reads, float (&sums)[PIECES][COLS / 2],
                                const Begin &begin) {
    const u64 weights_form = operand_form<Tile::line>(16, 8 * Tile::line);
    for (int z = 0; z < window.kernel[0]; ++z)
        for (int y = 0; y < window.kernel[1]; ++y) {
            const u32 at = ring.weights + stage.at * Tile::stage_bytes;
            const u32 shift = (z * window.dilation[0] * window.box[1] + y * window.dilation[1]) * window.box[2];
            if (!Tile::keep || wait) barrier_wait(ring.full + stage.at * 8, stage.round);
            wgmma_begin();
#pragma unroll
            for (int t = 0; t < Tile::taps; ++t)
#pragma unroll
                for (int k = 0; k < Tile::depth / 16; ++k)
#pragma unroll
                    for (int j = 0; j < PIECES; ++j) {
                        const u64 weights = operand_at(weights_form, at + t * Tile::tap_bytes + k * 32);
                        const u64 places = operand_at(
                            box_form, box + (begin(j) + shift + t * window.dilation[2]) * Tile::line + k * 32);
                        Wgmma<typename Tile::Element, COLS, false, false>::run(
                            sums[j], SWAPPED ? weights : places, SWAPPED ? places : weights, t + k > 0 || add);
                    }
            wgmma_commit();
            add = true;
            reads.pass_on(ring.free + stage.at * 8);
            stage.next<Tile::stages>();
        }
}

template <class Tile, class Store, class Moments>
SMELT_DEVICE void halo_consume(const InputRing<Tile> &ring, const HaloTiles<Tile> &tiles, const Store &store,
                               const Moments &moment_parts) {
    auto moments = tile_moments<Tile>(moment_parts);
    const HaloWindow &window = tiles.window;
    const int warpgroup = threadIdx.x / 128;
    WgmmaStage input, stage;
    float sums[Tile::repeat][Tile::cols / 2];
    u32 begins[Tile::repeat]; // first row of each piece in the input's box
#pragma unroll
    for (int j = 0; j < Tile::repeat; ++j) {
        const int piece = warpgroup * Tile::repeat + j;
        begins[j] = piece / window.planes * window.box[1] * window.box[2] + piece % window.planes * window.pitch;
    }
    const u64 box_form = operand_form<Tile::line>(16, 8 * Tile::line);
    bool first = true;
    for (Index tile = (Index)blockIdx.x; tile < tiles.count(); tile += (Index)gridDim.x, first = false) {
        const HaloPlace place = tiles.find(tile);
        bool add = false;
        InputReads<Tile> reads;
        for (int channel = 0; channel < window.channels; channel += Tile::depth) {
            const u32 box = ring.inputs + input.at * Tile::input_bytes;
            barrier_wait(ring.input_full + input.at * 8, input.round);
            halo_multiply<Tile, false, Tile::cols>(ring, window, box, box_form, stage, first, add, reads, sums,
                                                   [&](int j) { return begins[j]; });
            wgmma_wait<0>();
            reads.free_weights();
            reads.input = ring.input_free + input.at * 8;
            reads.free_input();
            input.next<Tile::inputs>();
        }
        SumPut<Tile, Store, 2 * Tile::repeat> put;
#pragma unroll
        for (int r = 0; r < 2 * Tile::repeat; ++r)
            put.rows[r] = tiles.row(place, warpgroup * Tile::repeat + r / 2, (int)wgmma_row() + r % 2 * 8);
        put.place(place.col, 0);
        put.begin(store);
        put.finish(store, sums, moments);
        moments.leave_tile(quotient(tile, tiles.cols), place.col);
    }
    moments.leave_block();
}

// AHEAD: the weights are constant. moments: MomentParts or NoMoments; tiles of rows are counted without their columns.
template <class Tile, bool AHEAD, class Store, class Moments>
SMELT_DEVICE void halo_product(const HaloTiles<Tile> &tiles, const TensorMap &x, const TensorMap &w, const Store &store,
                               const Moments &moments) {
    const InputRing<Tile> ring = input_ring<Tile>(x, w);
    if (AHEAD && Tile::keep) halo_copy_ahead<Tile>(ring, tiles, w);
    wait_for_previous_kernel();
    if (threadIdx.x >= Tile::consumers) {
        if (Tile::moves_registers) registers_to<40>();
        if (threadIdx.x == Tile::consumers) halo_copy<Tile, AHEAD>(ring, tiles, x, w);
        __syncwarp();
    } else {
        if (Tile::moves_registers) registers_from<232>();
        halo_consume<Tile>(ring, tiles, store, moments);
    }
}

} // namespace smelt

#endif
