// Attention on sm_90a's matrix units: a block, one warpgroup, has 64 queries of a head and their scores for all keys at once, or
// for a tile of them after another. Heads have 64 features of 16 bits, so that the rows of tiles have 128 bytes.
#ifndef SMELT_ATTENTION_WGMMA_CUH
#define SMELT_ATTENTION_WGMMA_CUH

#include "smelt/attention_mma.cuh"
#include "smelt/wgmma_product.cuh"

namespace smelt {

// Tiles of KEYS in shared memory, in bytes from a multiple of 1024 on: queries; weights in parts of 64 keys; keys; values. MANY:
// there are several, so that the next two of keys and values have places of their own; else weights take the place of the keys.
template <int KEYS, bool MANY> struct WarpgroupHeads {
    static const int part = 64 * 128, buffers = MANY ? 2 : 1;
    typedef WgmmaOperand<64, 64, false> Queries;
    typedef WgmmaOperand<KEYS, 64, false> Keys;
    typedef WgmmaOperand<64, KEYS, true> Values;
    static const int weights = part, weight_bytes = (KEYS + 63) / 64 * part;
    static const int keys = MANY ? weights + weight_bytes : weights;
    static const int values = MANY ? keys + buffers * Keys::bytes : keys + weight_bytes;
};

// Where tiles come to, and the barriers that count their bytes.
template <class Heads> struct WarpgroupTiles {
    u32 memory, barriers;
    SMELT_DEVICE u32 keys(int i) const { return memory + Heads::keys + i * Heads::Keys::bytes; }
    SMELT_DEVICE u32 values(int i) const { return memory + Heads::values + i * Heads::Values::bytes; }
    SMELT_DEVICE u32 keys_there(int i) const { return barriers + 16 * i; }
    SMELT_DEVICE u32 values_there(int i) const { return barriers + 16 * i + 8; }
    SMELT_DEVICE void bring_keys(const TensorMap &k, int i, Index first, const AttentionBlock &block, int more) const {
        barrier_arrive_expecting(keys_there(i), Heads::Keys::bytes + more);
        copy_box(keys(i), k, keys_there(i), 0, (int)first, (int)block.shared_head, (int)block.batch, 0);
    }
    SMELT_DEVICE void bring_values(const TensorMap &v, int i, Index first, const AttentionBlock &block) const {
        barrier_arrive_expecting(values_there(i), Heads::Values::bytes);
        copy_box(values(i), v, values_there(i), 0, (int)first, (int)block.shared_head, (int)block.batch, 0);
    }
};

// Weights as the left operand of the next product.
template <class T, int COLUMNS> SMELT_DEVICE void store_weights(u32 to, const float (&weights)[COLUMNS][4]) {
    const int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int c = 0; c < COLUMNS; ++c)
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int line = (int)threadIdx.x / 32 * 16 + lane / 4 + r * 8, pack = c % 8 ^ line % 8;
            shared_put(to + c / 8 * 8192 + line * 128 + pack * 16 + lane % 4 * 4,
                       float_of_bits(pair_of<T>(weights[c][2 * r], weights[c][2 * r + 1])));
        }
}

// Maps have the dimensions feature, position, head, batch and one more of no account. A block for each 64 queries of each head.
template <int KEYS, bool MANY, class T, class M, class L, class E>
SMELT_DEVICE void attention_warpgroup(const TensorMap &q, const TensorMap &k, const TensorMap &v, const AttentionSizes &sizes,
                                      const AttentionRule<float> &rule, const M &mask, const L *valid, const E &epilogue) {
    typedef WarpgroupHeads<KEYS, MANY> Heads;
    __shared__ u64 barriers[2 * Heads::buffers];
    const WarpgroupTiles<Heads> tiles{dynamic_memory() + 1023 & ~1023u, shared_address(barriers)};
    const bool leads = threadIdx.x == 0;
    if (leads) {
        map_prefetch(q);
        map_prefetch(k);
        map_prefetch(v);
        for (int i = 0; i < 2 * Heads::buffers; ++i) barrier_init(tiles.barriers + i * 8, 1);
        barrier_init_done();
    }
    __syncthreads();
    wait_for_previous_kernel();
    const AttentionBlock block(sizes, rule, valid, 64);
    const Index end = MANY ? block.end : KEYS;
    for (int i = 0; leads && i < Heads::buffers && i * KEYS < end; ++i) {
        tiles.bring_keys(k, i, i * KEYS, block, i == 0 ? Heads::Queries::bytes : 0);
        if (i == 0) copy_box(tiles.memory, q, tiles.keys_there(0), 0, (int)block.first_query, (int)block.head, (int)block.batch, 0);
        tiles.bring_values(v, i, i * KEYS, block);
    }
    MatrixAttention<MatrixTile<4, 1, KEYS, 64, 64, 1>, T> attention;
    const MatrixRule own_rule(rule);
    attention.begin();
    const u64 query = operand_at(Heads::Queries::form(), tiles.memory);
    const u64 weight = operand_at(Heads::Queries::form(), tiles.memory + Heads::weights);
    int buffer = 0;
    u32 round = 0;
    for (Index first = 0; first < end; first += KEYS) {
        float scores[KEYS / 8][4];
        attention.start(own_rule, mask, block.batch, block.head, block.first_query, first, sizes.queries, block.limit, scores);
        const u64 key = operand_at(Heads::Keys::form(), tiles.keys(buffer)), value = operand_at(Heads::Values::form(), tiles.values(buffer));
        barrier_wait(tiles.keys_there(buffer), round);
        wgmma_begin();
#pragma unroll
        for (int step = 0; step < 4; ++step)
            Wgmma<T, KEYS, false, false>::run(reinterpret_cast<float(&)[KEYS / 2]>(scores), query + (step * Heads::Queries::next_depth >> 4),
                                              key + (step * Heads::Keys::next_depth >> 4), 1);
        wgmma_commit();
        wgmma_wait<0>();
        attention.template mask<false>(own_rule, mask, block.batch, block.head, block.first_query, first, sizes.queries, block.limit,
                                       scores);
        attention.template weigh<!MANY>(own_rule.unit, scores);
        if (!MANY) __syncthreads(); // all have read the keys
        store_weights<T>(tiles.memory + Heads::weights, scores);
        stores_done();
        __syncthreads();
        if (leads && first + 2 * KEYS < end) tiles.bring_keys(k, buffer, first + 2 * KEYS, block, 0);
        barrier_wait(tiles.values_there(buffer), round);
        wgmma_begin();
#pragma unroll
        for (int step = 0; step < KEYS / 16; ++step)
            Wgmma<T, 64, false, true>::run(reinterpret_cast<float(&)[32]>(attention.result),
                                           weight + (step / 4 * Heads::part + step % 4 * Heads::Queries::next_depth >> 4),
                                           value + (step * Heads::Values::next_depth >> 4), MANY || step > 0);
        wgmma_commit();
        wgmma_wait<0>();
        if (!MANY) break;
        __syncthreads(); // all have read weights and values
        if (leads && first + 2 * KEYS < end) tiles.bring_values(v, buffer, first + 2 * KEYS, block);
        buffer = 1 - buffer;
        if (buffer == 0) round ^= 1;
    }
    attention.finish_sums();
    attention.store(block.batch * sizes.to_batch + block.head * sizes.to_head + block.first_query * sizes.to_query, sizes,
                    sizes.queries - block.first_query, epilogue);
}

} // namespace smelt

#endif
