// Attention on matrix units, for elements of 16 bits: as attention_tiles.cuh, with a warp for each 16 queries, or several that
// share the keys of a tile among them and add up in the end.
#ifndef SMELT_ATTENTION_MMA_CUH
#define SMELT_ATTENTION_MMA_CUH

#include "smelt/attention_tiles.cuh"
#include "smelt/mma.cuh"
#include "smelt/sums.cuh"

namespace smelt {

// BANDS: warps with queries of their own; SHARES: warps that divide the keys of a tile, KEYS for each; SIZE and WIDTH: features
// of a head of keys and values; BUFFERS: 2 where the next tile comes while this one is worked on.
template <int BANDS_, int SHARES_, int KEYS_, int SIZE_, int WIDTH_, int BUFFERS_> struct MatrixTile {
    static const int bands = BANDS_, shares = SHARES_, keys = KEYS_, size = SIZE_, width = WIDTH_, buffers = BUFFERS_;
    static const int threads = bands * shares * 32, query_count = bands * 16, key_count = shares * keys;
    static const int depth = (size + 15) / 16 * 16, span = (width + 15) / 16 * 16;
    static const int row = depth + 8, value_row = span + 8; // elements: eight neighbouring rows meet no bank twice
    static const int sum_row = span + 4;
    template <class T> union alignas(16) Memory {
        struct {
            T keys[buffers][key_count * row], values[buffers][key_count * value_row];
        } tiles;
        struct {
            float most[shares][query_count], sum[shares][query_count], result[shares][query_count * sum_row];
        } parts; // where shares add up
    };
};

// Positions from `first` on as rows of 16-bit elements; zeros behind the last position and feature.
template <int COUNT, int SIZE, int DEPTH, int ROW, int THREADS, class T>
SMELT_DEVICE void copy_heads(const StridedHeads<T> &from, Index base, Index first, Index length, T *to) {
    const int packs = DEPTH / 8;
    for (int i = (int)threadIdx.x; i < COUNT * packs; i += THREADS) {
        const int line = i / packs, feature = (i - line * packs) * 8;
        const Index position = first + line;
        const bool inside = position < length && feature < SIZE;
        copy_later(to + line * ROW + feature, from.p + (inside ? base + position * from.position + feature : 0), inside);
    }
}

// Where nothing happens between scaling and the mask, scores stay without the scale until they become powers of two: a score is
// `unit` times what the registers hold, in powers of two.
struct MatrixRule {
    AttentionRule<float> own;
    bool folds;
    float unit;
    explicit SMELT_DEVICE MatrixRule(const AttentionRule<float> &rule)
        : own(rule), folds(rule.scale > 0 && rule.cap == 0), unit(1.44269504088896341f * (folds ? rule.scale : 1.0f)) {}
};

// 8 neighbouring elements of the result, from number i on.
template <class E> SMELT_DEVICE void put_features(const E &epilogue, Index i, const float (&x)[8]) {
#pragma unroll
    for (int k = 0; k < 8; k += E::lanes) {
        typename E::Operands operands;
        float part[E::lanes];
#pragma unroll
        for (int l = 0; l < E::lanes; ++l) part[l] = x[k + l];
        epilogue.read(i + k, operands);
        epilogue.write(i + k, part, operands);
    }
}

template <class Tile, class T> struct MatrixAttention {
    static const int steps = Tile::depth / 16, columns = Tile::keys / 8, groups = Tile::span / 8;
    u32 queries[steps][4];
    float result[groups][4], most[2], sum[2];
    int lane, band, share;

    SMELT_DEVICE MatrixAttention()
        : lane((int)threadIdx.x % 32), band((int)threadIdx.x / 32 % Tile::bands), share((int)threadIdx.x / 32 / Tile::bands) {}

    SMELT_DEVICE void take(const StridedHeads<T> &q, Index base, Index first, Index length) {
#pragma unroll
        for (int step = 0; step < steps; ++step)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const Index position = first + band * 16 + lane / 4 + i % 2 * 8;
                const int feature = step * 16 + lane % 4 * 2 + i / 2 * 8;
                queries[step][i] = 0;
                if (position < length && feature < Tile::size)
                    queries[step][i] = *reinterpret_cast<const u32 *>(q.p + (base + position * q.position + feature));
            }
    }

    SMELT_DEVICE void begin() {
#pragma unroll
        for (int g = 0; g < groups; ++g)
#pragma unroll
            for (int i = 0; i < 4; ++i) result[g][i] = 0.0f;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            most[r] = lowest<float>();
            sum[r] = 0.0f;
        }
    }

    // What a thread's score i of column c is for: the query, and the key, from the share's first on.
    SMELT_DEVICE Index query_of(Index first_query, int i) const { return first_query + band * 16 + lane / 4 + i / 2 * 8; }
    SMELT_DEVICE int key_of(int c, int i) const { return c * 8 + lane % 4 * 2 + i % 2; }

    // What products are added to: the mask where that folds, in units of the scale; first: the share's first key.
    template <class M>
    SMELT_DEVICE void start(const MatrixRule &rule, const M &given, Index batch, Index head, Index first_query, Index first,
                            Index queries_end, Index keys_end, float (&scores)[columns][4]) const {
        const float inverse = 1.0f / rule.own.scale;
#pragma unroll
        for (int c = 0; c < columns; ++c)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const Index query = query_of(first_query, i), key = first + key_of(c, i);
                scores[c][i] = i >= 2 && given.repeats() ? scores[c][i % 2] : 0.0f;
                if (!rule.folds || key >= keys_end || (given.repeats() ? i >= 2 : query >= queries_end)) continue;
                const float masked = given.template at<float>(batch, head, query, key);
                scores[c][i] = masked == lowest<float>() ? masked : larger(masked * inverse, -3.402823466e38f);
            }
    }

    // Adds products of the queries with the share's keys of a tile, of which `left` count; WHOLE: all.
    template <bool WHOLE> SMELT_DEVICE void score(const T *keys, Index left, float (&scores)[columns][4]) const {
        const T *const from = keys + (share * Tile::keys + lane / 16 * 8 + lane % 8) * Tile::row + lane / 8 % 2 * 8;
#pragma unroll
        for (int step = 0; step < steps; ++step)
#pragma unroll
            for (int c = 0; c < columns; c += 2) {
                if (!WHOLE && c * 8 >= left) continue;
                u32 key[4];
                load_matrices<false>(key, from + c * 8 * Tile::row + step * 16);
                multiply_matrices<T>(scores[c], queries[step], key[0], key[1]);
                multiply_matrices<T>(scores[c + 1], queries[step], key[2], key[3]);
            }
    }

    // Scales, caps and masks what start left for now, and drops keys that do not count (WHOLE: there are none).
    template <bool WHOLE, class M>
    SMELT_DEVICE void mask(const MatrixRule &rule, const M &given, Index batch, Index head, Index first_query, Index first,
                           Index queries_end, Index keys_end, float (&scores)[columns][4]) const {
        if (WHOLE && rule.folds) return;
#pragma unroll
        for (int c = 0; c < columns; ++c)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const Index query = query_of(first_query, i), key = first + key_of(c, i);
                const bool is_seen = key < keys_end && !(rule.own.is_causal && key > query);
                float score = scores[c][i];
                if (!rule.folds) {
                    score *= rule.own.scale;
                    if (rule.own.cap > 0) score = rule.own.cap * math::tanh(score / rule.own.cap);
                    if (is_seen && query < queries_end) score += given.template at<float>(batch, head, query, key);
                }
                scores[c][i] = is_seen ? score : lowest<float>();
            }
    }

    // Makes scores weights, of the softmax of all keys so far; FIRST: there were none.
    template <bool FIRST> SMELT_DEVICE void weigh(float unit, float (&scores)[columns][4]) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float now = FIRST ? lowest<float>() : most[r];
#pragma unroll
            for (int c = 0; c < columns; ++c) now = larger(now, larger(scores[c][2 * r], scores[c][2 * r + 1]));
            now = larger(now, shuffled(now, 1));
            now = larger(now, shuffled(now, 2));
            const float base = now == lowest<float>() ? 0.0f : now * unit, factor = FIRST ? 0.0f : power_of_two(most[r] * unit - base);
            most[r] = now;
            sum[r] = FIRST ? 0.0f : sum[r] * factor;
#pragma unroll
            for (int c = 0; c < columns; ++c)
#pragma unroll
                for (int i = 2 * r; i < 2 * r + 2; ++i) {
                    scores[c][i] = power_of_two(scores[c][i] * unit - base);
                    sum[r] += scores[c][i];
                }
#pragma unroll
            for (int g = 0; !FIRST && g < groups; ++g) {
                result[g][2 * r] *= factor;
                result[g][2 * r + 1] *= factor;
            }
        }
    }

    template <bool WHOLE> SMELT_DEVICE void add(const float (&weights)[columns][4], Index left, const T *values) {
        const T *const from = values + (share * Tile::keys + lane % 16) * Tile::value_row + lane / 16 * 8;
#pragma unroll
        for (int c = 0; c < columns; c += 2) {
            if (!WHOLE && c * 8 >= left) continue;
            const u32 weight[4] = {pair_of<T>(weights[c][0], weights[c][1]), pair_of<T>(weights[c][2], weights[c][3]),
                                   pair_of<T>(weights[c + 1][0], weights[c + 1][1]),
                                   pair_of<T>(weights[c + 1][2], weights[c + 1][3])};
#pragma unroll
            for (int g = 0; g < groups; g += 2) {
                u32 value[4];
                load_matrices<true>(value, from + c * 8 * Tile::value_row + g * 8);
                multiply_matrices<T>(result[g], weight, value[0], value[1]);
                multiply_matrices<T>(result[g + 1], weight, value[2], value[3]);
            }
        }
    }

    SMELT_DEVICE void finish_sums() {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            sum[r] += shuffled(sum[r], 1);
            sum[r] += shuffled(sum[r], 2);
        }
    }

    // to: number of the result's element of the block's first query.
    template <class E> SMELT_DEVICE void store(Index to, const AttentionSizes &sizes, Index queries_left, const E &epilogue) const {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int line = band * 16 + lane / 4 + r * 8;
            const float inverse = sizes.inverse(sum[r]);
#pragma unroll
            for (int g = 0; g < groups; g += 4) {
                float mine[8], whole[8];
#pragma unroll
                for (int i = 0; i < 8; ++i) mine[i] = g + i / 2 < groups ? result[g + i / 2][2 * r + i % 2] * inverse : 0.0f;
                gather_columns(mine, whole);
                const int feature = (g + lane % 4) * 8;
                if (line < queries_left && feature < Tile::width) put_features(epilogue, to + line * sizes.to_query + feature, whole);
            }
        }
    }

    // The same where shares have seen different keys.
    template <class Parts, class E>
    SMELT_DEVICE void store_shares(Parts &parts, float unit, Index to, const AttentionSizes &sizes, Index queries_left,
                                   const E &epilogue) const {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int line = band * 16 + lane / 4 + r * 8;
            parts.most[share][line] = most[r];
            parts.sum[share][line] = sum[r];
#pragma unroll
            for (int g = 0; g < groups; ++g)
#pragma unroll
                for (int i = 0; i < 2; ++i)
                    parts.result[share][line * Tile::sum_row + g * 8 + lane % 4 * 2 + i] = result[g][2 * r + i];
        }
        __syncthreads();
        const int lines = (int)smaller(queries_left, (Index)Tile::query_count), packs = Tile::width / 8;
        for (int n = (int)threadIdx.x; n < lines * packs; n += Tile::threads) {
            const int line = n / packs, feature = (n - line * packs) * 8;
            float highest_score = lowest<float>(), total = 0.0f, whole[8] = {};
#pragma unroll
            for (int s = 0; s < Tile::shares; ++s) highest_score = larger(highest_score, parts.most[s][line]);
            const float base = highest_score == lowest<float>() ? 0.0f : highest_score;
#pragma unroll
            for (int s = 0; s < Tile::shares; ++s) {
                const float factor = power_of_two((parts.most[s][line] - base) * unit);
                const Pack<float, 8> part = load_pack<8>(parts.result[s], line * Tile::sum_row + feature);
                total += factor * parts.sum[s][line];
#pragma unroll
                for (int i = 0; i < 8; ++i) whole[i] += factor * part.at[i];
            }
            const float inverse = sizes.inverse(total);
#pragma unroll
            for (int i = 0; i < 8; ++i) whole[i] *= inverse;
            put_features(epilogue, to + line * sizes.to_query + feature, whole);
        }
    }
};

// A block for each tile of queries of each head.
template <class Tile, class T, class M, class L, class E>
SMELT_DEVICE void attention_matrices(const StridedHeads<T> &q, const StridedHeads<T> &k, const StridedHeads<T> &v,
                                     const AttentionSizes &sizes, const AttentionRule<float> &rule, const M &mask,
                                     const L *valid, const E &epilogue) {
    __shared__ typename Tile::template Memory<T> memory;
    const AttentionBlock block(sizes, rule, valid, Tile::query_count);
    const Index key_base = block.batch * k.batch + block.shared_head * k.head;
    const Index value_base = block.batch * v.batch + block.shared_head * v.head;
    const MatrixRule own_rule(rule);
    // Keys and values are two groups of copies.
    const auto bring = [&](Index first, int buffer) {
        copy_heads<Tile::key_count, Tile::size, Tile::depth, Tile::row, Tile::threads>(k, key_base, first, sizes.keys,
                                                                                        memory.tiles.keys[buffer]);
        close_copies();
        copy_heads<Tile::key_count, Tile::width, Tile::span, Tile::value_row, Tile::threads>(v, value_base, first, sizes.keys,
                                                                                              memory.tiles.values[buffer]);
        close_copies();
    };
    MatrixAttention<Tile, T> attention;
    if (Tile::buffers > 1 && block.end > 0) bring(0, 0);
    attention.begin();
    attention.take(q, block.batch * q.batch + block.head * q.head, block.first_query, sizes.queries);
    int buffer = 0;
    for (Index first = 0; first < block.end; first += Tile::key_count) {
        const bool is_last = first + Tile::key_count >= block.end;
        if (Tile::buffers == 1) bring(first, 0);
        else if (!is_last) bring(first + Tile::key_count, 1 - buffer);
        const Index own = first + attention.share * Tile::keys, left = block.limit - own;
        const bool whole = left >= Tile::keys && !(rule.is_causal && own + Tile::keys > block.first_query + attention.band * 16 + 1);
        float scores[Tile::keys / 8][4];
        attention.start(own_rule, mask, block.batch, block.head, block.first_query, own, sizes.queries, block.limit, scores);
        if (Tile::buffers == 1 || is_last) wait_for_copies<1>();
        else wait_for_copies<3>();
        __syncthreads();
        const auto weigh = [&](auto is_whole) {
            const bool WHOLE = decltype(is_whole)::value;
            attention.template score<WHOLE>(memory.tiles.keys[buffer], left, scores);
            attention.template mask<WHOLE>(own_rule, mask, block.batch, block.head, block.first_query, own, sizes.queries, block.limit,
                                           scores);
            attention.template weigh<false>(own_rule.unit, scores);
        };
        if (whole) weigh(Same<T, T>{});
        else weigh(Same<T, void>{});
        if (Tile::buffers == 1 || is_last) wait_for_copies<0>();
        else wait_for_copies<2>();
        __syncthreads();
        if (whole) attention.template add<true>(scores, left, memory.tiles.values[buffer]);
        else attention.template add<false>(scores, left, memory.tiles.values[buffer]);
        __syncthreads(); // what comes next overwrites the tile
        if (Tile::buffers > 1) buffer = 1 - buffer;
    }
    attention.finish_sums();
    const Index to = block.batch * sizes.to_batch + block.head * sizes.to_head + block.first_query * sizes.to_query;
    const Index left = sizes.queries - block.first_query;
    if (Tile::shares == 1) attention.store(to, sizes, left, epilogue);
    else attention.store_shares(memory.parts, own_rule.unit, to, sizes, left, epilogue);
}

} // namespace smelt

#endif
