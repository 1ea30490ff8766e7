// Shared memory of convolutions that copy each piece of the input once, sm_90a alone: pieces of the input and
// stages of weights come and go each in their own time.
#ifndef SMELT_WGMMA_INPUTS_CUH
#define SMELT_WGMMA_INPUTS_CUH

#include "smelt/wgmma_product.cuh"

namespace smelt {

template <class Tile> struct InputRing {
    u32 inputs, weights, input_full, input_free, full, free; // data; barriers of 8 bytes
    u32 input_done, factors; // of what normalises inputs: an input is, and all its factors are found; else input_full, and none
};

// By all threads of a block. Both begin at multiples of 1024 bytes: stages of weights have as many in all.
// NORMALIZERS: warps that normalise an input.
template <class Tile, int NORMALIZERS = 0>
SMELT_DEVICE InputRing<Tile> input_ring(const TensorMap &x, const TensorMap &w) {
    __shared__ u64 barriers[2 * (Tile::inputs + Tile::stages) + (NORMALIZERS > 0 ? Tile::inputs + 1 : 0)];
    const u32 at = shared_address(barriers), data = dynamic_memory() + 1023 & ~1023u;
    const u32 more = at + 16 * (Tile::inputs + Tile::stages);
    const InputRing<Tile> ring = {
        data + Tile::stages * Tile::stage_bytes,  data, at, at + 8 * Tile::inputs, at + 16 * Tile::inputs,
        at + 16 * Tile::inputs + 8 * Tile::stages, NORMALIZERS > 0 ? more : at, more + 8 * Tile::inputs};
    if (threadIdx.x == 0) {
        map_prefetch(x);
        map_prefetch(w);
        for (int i = 0; i < Tile::inputs; ++i) {
            barrier_init(ring.input_full + i * 8, 1);
            barrier_init(ring.input_free + i * 8, Tile::warpgroups);
            if (NORMALIZERS > 0) barrier_init(ring.input_done + i * 8, NORMALIZERS);
        }
        if (NORMALIZERS > 0) barrier_init(ring.factors, 1);
        for (int i = 0; i < Tile::stages; ++i) {
            barrier_init(ring.full + i * 8, 1);
            barrier_init(ring.free + i * 8, Tile::warpgroups);
        }
        barrier_init_done();
    }
    __syncthreads();
    return ring;
}

// What instructions under way read, for the warpgroup that has begun them: barriers of a stage of weights and of an input that
// are free when those are over, 0 where nothing is.
template <class Tile> struct InputReads {
    u32 weights = 0, input = 0;
    static SMELT_DEVICE bool announces() { return threadIdx.x % 128 == 0; }
    // The last ones read `stage`, and those before them are over.
    SMELT_DEVICE void pass_on(u32 stage) {
        wgmma_wait<1>();
        if (!Tile::keep && announces() && weights != 0) barrier_arrive(weights);
        if (announces() && input != 0) barrier_arrive(input);
        weights = stage;
        input = 0;
    }
    // None are under way.
    SMELT_DEVICE void free_weights() {
        if (!Tile::keep && announces()) barrier_arrive(weights);
        weights = 0;
    }
    SMELT_DEVICE void free_input() {
        if (announces()) barrier_arrive(input);
        input = 0;
    }
};

} // namespace smelt

#endif
