// Attention in tiles: a block takes some queries of one head and goes through the keys tile by tile, with the softmax of what
// it has seen so far, so that no row of scores is ever whole.
#ifndef SMELT_ATTENTION_TILES_CUH
#define SMELT_ATTENTION_TILES_CUH

#include "smelt/attention.cuh"

namespace smelt {

// Elements of [batch, head, position, feature] wherever they lie.
template <class T> struct StridedHeads {
    const T *p;
    Index batch, head, position, feature; // elements from one to the next
};

// What the number of an element of the result is made of.
struct AttentionSizes {
    Index heads, shared_heads, queries, keys;
    Index to_batch, to_head, to_query; // from one to the next in the result's numbering; features follow one another
    // What weighted values are multiplied with: without keys there are none.
    SMELT_DEVICE float inverse(float sum) const { return keys > 0 ? 1.0f / sum : 0.0f; }
};

// QUERIES and KEYS are multiples of 16; SIZE and WIDTH: features of a head of keys and values; KEY_LANES, VALUE_LANES: features
// that can be read at once; REUSE: values take the memory of the keys. A row of scores belongs to 16 neighbouring threads.
template <int QUERIES_, int KEYS_, int SIZE_, int WIDTH_, int QUERY_LANES_, int KEY_LANES_, int VALUE_LANES_, bool REUSE_>
struct AttentionTile {
    static const int query_count = QUERIES_, key_count = KEYS_, size = SIZE_, width = WIDTH_;
    static const int query_lanes = QUERY_LANES_, key_lanes = KEY_LANES_, value_lanes = VALUE_LANES_;
    static const bool reuse = REUSE_;
    static const int threads = 256, columns = 16, bands = threads / columns;
    static const int rows = query_count / bands, scores = key_count / columns; // of a thread
    // Rows of an odd number of packs of four: threads that read neighbouring rows meet no bank twice.
    static const int packs = (size + 3) / 4, depth = packs * 4, row = (packs / 2 * 2 + 1) * 4;
    static const int lanes = width % 64 == 0 ? 4 : width % 32 == 0 ? 2 : 1; // of the result
    static const int groups = (width + columns * lanes - 1) / (columns * lanes), value_row = groups * columns * lanes;
    static const int weight_row = key_count + 4;
    static const int value_memory = key_count * value_row, key_memory = key_count * row;
    struct alignas(16) Memory {
        float queries[query_count * row], weights[query_count * weight_row];
        float keys[reuse && value_memory > key_memory ? value_memory : key_memory], values[reuse ? 4 : value_memory];
    };
};

// Elements of `count` positions from `first` on as rows of floats; zeros behind the last position and feature.
template <int COUNT, int SIZE, int DEPTH, int ROW, int LANES, int THREADS, class T>
SMELT_DEVICE void load_heads(const StridedHeads<T> &from, Index base, Index first, Index length, float factor, float *to) {
    const int packs = (DEPTH + LANES - 1) / LANES;
    for (int i = (int)threadIdx.x; i < COUNT * packs; i += THREADS) {
        const int line = i / packs, feature = (i - line * packs) * LANES;
        const Index position = first + line;
        Pack<T, LANES> pack;
        const bool inside = position < length && feature < SIZE;
        if (inside) {
            const T *const at = from.p + (base + position * from.position + feature * from.feature);
            if (LANES == 1) pack.at[0] = *at;
            else pack = load_pack<LANES>(at, 0);
        }
        const int LANES_OUT = LANES < 4 ? LANES : 4;
#pragma unroll
        for (int part = 0; part < LANES; part += LANES_OUT) {
            Pack<float, LANES_OUT> floats;
#pragma unroll
            for (int lane = 0; lane < LANES_OUT; ++lane)
                floats.at[lane] = inside ? factor * (float)fetch(pack.at[part + lane]) : 0.0f;
            store_pack(to, line * ROW + feature + part, floats);
        }
    }
}

template <class A> SMELT_DEVICE A largest_of_row(A x) {
#pragma unroll
    for (int mask = 8; mask > 0; mask /= 2) x = larger(x, shuffled(x, mask));
    return x;
}
template <class A> SMELT_DEVICE A sum_of_row(A x) {
#pragma unroll
    for (int mask = 8; mask > 0; mask /= 2) x += shuffled(x, mask);
    return x;
}

// Scores of the thread's queries and the keys column, column + 16, ... of a tile.
template <class Tile> SMELT_DEVICE void tile_scores(const float *queries, const float *keys, float (&scores)[Tile::rows][Tile::scores]) {
    const int column = (int)threadIdx.x % Tile::columns, band = (int)threadIdx.x / Tile::columns;
#pragma unroll
    for (int r = 0; r < Tile::rows; ++r)
#pragma unroll
        for (int c = 0; c < Tile::scores; ++c) scores[r][c] = 0.0f;
#pragma unroll 4
    for (int d = 0; d < Tile::depth; d += 4) {
        Pack<float, 4> query[Tile::rows], key[Tile::scores];
#pragma unroll
        for (int r = 0; r < Tile::rows; ++r) query[r] = load_pack<4>(queries + (band * Tile::rows + r) * Tile::row, d);
#pragma unroll
        for (int c = 0; c < Tile::scores; ++c) key[c] = load_pack<4>(keys + (column + c * Tile::columns) * Tile::row, d);
#pragma unroll
        for (int lane = 0; lane < 4; ++lane)
#pragma unroll
            for (int r = 0; r < Tile::rows; ++r)
#pragma unroll
                for (int c = 0; c < Tile::scores; ++c) scores[r][c] += query[r].at[lane] * key[c].at[lane];
    }
}

// Adds the values of a tile, weighted, to what the thread's queries have.
template <class Tile>
SMELT_DEVICE void add_values(const float *weights, const float *values,
                             float (&result)[Tile::rows][Tile::groups][Tile::lanes]) {
    const int column = (int)threadIdx.x % Tile::columns, band = (int)threadIdx.x / Tile::columns;
    for (int j = 0; j < Tile::key_count; j += 4) {
        Pack<float, 4> weight[Tile::rows];
#pragma unroll
        for (int r = 0; r < Tile::rows; ++r)
            weight[r] = load_pack<4>(weights + (band * Tile::rows + r) * Tile::weight_row, j);
#pragma unroll
        for (int k = 0; k < 4; ++k)
#pragma unroll
            for (int g = 0; g < Tile::groups; ++g) {
                const Pack<float, Tile::lanes> value = load_pack<Tile::lanes>(
                    values + (j + k) * Tile::value_row, (g * Tile::columns + column) * Tile::lanes);
#pragma unroll
                for (int r = 0; r < Tile::rows; ++r)
#pragma unroll
                    for (int lane = 0; lane < Tile::lanes; ++lane)
                        result[r][g][lane] += weight[r].at[k] * value.at[lane];
            }
    }
}

// The softmax of a thread's queries over the keys so far. The sum is of the thread's own scores.
template <class Tile> struct RunningSoftmax {
    float most[Tile::rows], sum[Tile::rows];
    // Makes scores weights, and returns what earlier weights of row r are to be multiplied with.
    SMELT_DEVICE float add(int r, float (&scores)[Tile::scores]) {
        float now = most[r];
#pragma unroll
        for (int c = 0; c < Tile::scores; ++c) now = larger(now, scores[c]);
        now = largest_of_row(now);
        const float base = now == lowest<float>() ? 0.0f : now, factor = math::exp(most[r] - base);
        most[r] = now;
        sum[r] *= factor;
#pragma unroll
        for (int c = 0; c < Tile::scores; ++c) {
            scores[c] = math::exp(scores[c] - base);
            sum[r] += scores[c];
        }
        return factor;
    }
};

// Caps and masks the thread's scores; keys from `keys` on do not count.
template <class Tile, class M>
SMELT_DEVICE void mask_scores(const AttentionRule<float> &rule, const M &mask, Index batch, Index head, Index query,
                              Index first, Index queries, Index keys, float (&scores)[Tile::scores]) {
    const int column = (int)threadIdx.x % Tile::columns;
#pragma unroll
    for (int c = 0; c < Tile::scores; ++c) {
        const Index key = first + column + c * Tile::columns;
        float score = scores[c];
        if (rule.cap > 0) score = rule.cap * math::tanh(score / rule.cap);
        const bool is_seen = key < keys && query < queries && !(rule.is_causal && key > query);
        scores[c] = is_seen ? score + mask.template at<float>(batch, head, query, key) : lowest<float>();
    }
}

// What a block works on: queries from first_query on of one head of one batch entry, and keys below end; limit: keys of the
// entry. valid: keys of each batch entry, or NULL.
struct AttentionBlock {
    Index batch, head, shared_head, first_query, limit, end;
    template <class A, class L>
    SMELT_DEVICE AttentionBlock(const AttentionSizes &sizes, const AttentionRule<A> &rule, const L *valid, int queries) {
        const Index tiles = quotient(sizes.queries + queries - 1, (Index)queries);
        const Index plane = quotient((Index)blockIdx.x, tiles);
        first_query = ((Index)blockIdx.x - plane * tiles) * queries;
        batch = quotient(plane, sizes.heads);
        head = plane - batch * sizes.heads;
        shared_head = quotient(head, quotient(sizes.heads, sizes.shared_heads));
        limit = sizes.keys;
        if (valid != nullptr) limit = (Index)larger(smaller(load_as<i64>(valid, batch), (i64)sizes.keys), (i64)0);
        end = rule.is_causal ? smaller(limit, first_query + queries) : limit;
    }
};

// A block for each tile of queries of each head.
template <class Tile, class T, class M, class L, class E>
SMELT_DEVICE void attention_tiles(const StridedHeads<T> &q, const StridedHeads<T> &k, const StridedHeads<T> &v,
                                  const AttentionSizes &sizes, const AttentionRule<float> &rule, const M &mask,
                                  const L *valid, const E &epilogue) {
    __shared__ typename Tile::Memory memory;
    float *const values = Tile::reuse ? memory.keys : memory.values;
    const AttentionBlock block(sizes, rule, valid, Tile::query_count);
    const Index batch = block.batch, head = block.head, first_query = block.first_query;
    const Index key_base = batch * k.batch + block.shared_head * k.head, value_base = batch * v.batch + block.shared_head * v.head;
    const int column = (int)threadIdx.x % Tile::columns, band = (int)threadIdx.x / Tile::columns;
    load_heads<Tile::query_count, Tile::size, Tile::depth, Tile::row, Tile::query_lanes, Tile::threads>(
        q, batch * q.batch + head * q.head, first_query, sizes.queries, rule.scale, memory.queries);
    RunningSoftmax<Tile> softmax;
    float result[Tile::rows][Tile::groups][Tile::lanes];
#pragma unroll
    for (int r = 0; r < Tile::rows; ++r) {
        softmax.most[r] = lowest<float>();
        softmax.sum[r] = 0.0f;
#pragma unroll
        for (int g = 0; g < Tile::groups; ++g)
#pragma unroll
            for (int lane = 0; lane < Tile::lanes; ++lane) result[r][g][lane] = 0.0f;
    }
    for (Index first = 0; first < block.end; first += Tile::key_count) {
        __syncthreads(); // the last tile's values are used up
        load_heads<Tile::key_count, Tile::size, Tile::depth, Tile::row, Tile::key_lanes, Tile::threads>(k, key_base, first,
                                                                                                   sizes.keys, 1.0f, memory.keys);
        if (!Tile::reuse)
            load_heads<Tile::key_count, Tile::width, Tile::width, Tile::value_row, Tile::value_lanes, Tile::threads>(
                v, value_base, first, sizes.keys, 1.0f, values);
        __syncthreads();
        float scores[Tile::rows][Tile::scores];
        tile_scores<Tile>(memory.queries, memory.keys, scores);
#pragma unroll
        for (int r = 0; r < Tile::rows; ++r) {
            const int line = band * Tile::rows + r;
            mask_scores<Tile>(rule, mask, batch, head, first_query + line, first, sizes.queries, block.limit, scores[r]);
            const float factor = softmax.add(r, scores[r]);
#pragma unroll
            for (int c = 0; c < Tile::scores; ++c) memory.weights[line * Tile::weight_row + column + c * Tile::columns] = scores[r][c];
#pragma unroll
            for (int g = 0; g < Tile::groups; ++g)
#pragma unroll
                for (int lane = 0; lane < Tile::lanes; ++lane) result[r][g][lane] *= factor;
        }
        __syncthreads(); // the keys are used up, the weights are there
        if (Tile::reuse) {
            load_heads<Tile::key_count, Tile::width, Tile::width, Tile::value_row, Tile::value_lanes, Tile::threads>(
                v, value_base, first, sizes.keys, 1.0f, values);
            __syncthreads();
        }
        add_values<Tile>(memory.weights, values, result);
    }
#pragma unroll
    for (int r = 0; r < Tile::rows; ++r) {
        const Index query = first_query + band * Tile::rows + r;
        const float inverse = sizes.inverse(sum_of_row(softmax.sum[r]));
        const Index to = batch * sizes.to_batch + head * sizes.to_head + query * sizes.to_query;
        if (query >= sizes.queries) continue;
#pragma unroll
        for (int g = 0; g < Tile::groups; ++g)
#pragma unroll
            for (int lane = 0; lane < Tile::lanes; ++lane) {
                const int feature = (g * Tile::columns + column) * Tile::lanes + lane;
                if (feature < Tile::width) epilogue(to + feature, result[r][g][lane] * inverse);
            }
    }
}

} // namespace smelt

#endif
