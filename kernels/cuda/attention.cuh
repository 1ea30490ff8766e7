// Attention, a block for each row of queries; RotaryEmbedding.
#ifndef SMELT_ATTENTION_CUH
#define SMELT_ATTENTION_CUH

#include "smelt/pointwise.cuh"
#include "smelt/team.cuh"

namespace smelt {

// Q, K or V seen as [batch, head, position, feature]. past: NULL, or what comes before in the positions. PACKED: the
// tensor is [batch, position, head, feature].
template <bool PACKED, class T> struct Heads {
    const T *p, *past;
    Index heads, length, size, past_length;
    SMELT_DEVICE const T *at(Index batch, Index head, Index position) const {
        if (past != nullptr && position < past_length)
            return past + ((batch * heads + head) * past_length + position) * size;
        position -= past_length;
        return p + (PACKED ? (batch * length + position) * heads + head : (batch * heads + head) * length + position) * size;
    }
};

struct NoMask {
    template <class A> SMELT_DEVICE A at(Index, Index, Index, Index) const { return A(0); }
    SMELT_DEVICE bool repeats() const { return true; } // is the same for all queries
};

// Strides over batch, head, query and key, 0 where it repeats; keys from width on are masked, unless it is 1.
template <class M> struct Mask {
    const M *p;
    Index stride[4], width;
    template <class A> SMELT_DEVICE A at(Index batch, Index head, Index query, Index key) const {
        if (key >= width && width != 1) return -highest<A>();
        const A value = load_as<A>(p, batch * stride[0] + head * stride[1] + query * stride[2] + key * stride[3]);
        if (Same<M, smelt_bool>::value) return value != 0 ? A(0) : -highest<A>();
        return value;
    }
    SMELT_DEVICE bool repeats() const { return stride[2] == 0; }
};

// Shows the scores at one stage: 0 scaled, 1 capped, 2 masked, 3 after the softmax.
struct NoStage {
    template <class A> SMELT_DEVICE void operator()(int, Index, A) const {}
};
template <int STAGE, class T> struct ShowStage {
    T *to;
    template <class A> SMELT_DEVICE void operator()(int stage, Index i, A score) const {
        if (stage == STAGE) put(to[i], score);
    }
};

template <class A> struct AttentionRule {
    A scale, cap; // cap 0: none
    bool is_causal;
};

// scores: memory for `total` numbers of this block. valid: keys of each batch entry, or NULL. Runs with BlockTeam.
template <class A, bool PACKED, class T, class M, class L, class Show, class E>
SMELT_DEVICE void attention(const Heads<PACKED, T> &q, const Heads<PACKED, T> &k, const Heads<PACKED, T> &v, Index batches,
                            Index total, const AttentionRule<A> &rule, const M &mask, const L *valid, const Show &show,
                            A *scores, const E &epilogue) {
    __shared__ A part[BlockTeam::size];
    const Index rows = batches * q.heads * q.length;
    for (Index row = BlockTeam::first(); BlockTeam::goes_on(row, rows); row += BlockTeam::step()) {
        const Index plane = quotient(row, q.length), query = row - plane * q.length;
        const Index batch = quotient(plane, q.heads), head = plane - batch * q.heads;
        const Index shared_head = quotient(head, quotient(q.heads, k.heads));
        const T *const own = q.at(batch, head, query);
        const Index keys = valid == nullptr ? total : (Index)load_as<i64>(valid, batch);
        A most = lowest<A>();
        for (Index j = BlockTeam::lane(); j < total; j += BlockTeam::size) {
            const T *const key = k.at(batch, shared_head, j);
            A score = A(0);
            for (Index f = 0; f < q.size; ++f) score += rule.scale * load_as<A>(own, f) * load_as<A>(key, f);
            show(0, row * total + j, score);
            if (rule.cap > 0) score = rule.cap * math::tanh(score / rule.cap);
            show(1, row * total + j, score);
            const bool is_masked = (rule.is_causal && j > k.past_length + query) || j >= keys;
            score += is_masked ? -highest<A>() : mask.template at<A>(batch, head, query, j);
            show(2, row * total + j, score);
            scores[j] = score;
            most = larger(most, score);
        }
        most = BlockTeam::all<LargestNumber>(most);
        A sum = A(0);
        for (Index j = BlockTeam::lane(); j < total; j += BlockTeam::size) {
            scores[j] = math::exp(scores[j] - most);
            sum += scores[j];
        }
        sum = BlockTeam::all<Sum>(sum); // the scores of all threads are there behind this
        for (Index j = BlockTeam::lane(); j < total; j += BlockTeam::size) show(3, row * total + j, scores[j] / sum);
        const int width = (int)smaller(v.size, (Index)BlockTeam::size), slices = BlockTeam::size / larger(width, 1);
        const int lane = BlockTeam::lane() % larger(width, 1), slice = BlockTeam::lane() / larger(width, 1);
        const Index to = (PACKED ? (batch * q.length + query) * q.heads + head : row) * v.size;
        for (Index first = 0; first < v.size; first += width) {
            const Index f = first + lane;
            A value = A(0);
            if (slice < slices && f < v.size)
                for (Index j = slice; j < total; j += slices) value += scores[j] * load_as<A>(v.at(batch, shared_head, j), f);
            __syncthreads();
            part[BlockTeam::lane()] = value;
            __syncthreads();
            if (slice != 0 || f >= v.size) continue;
            for (int other = 1; other < slices; ++other) value += part[other * width + lane];
            epilogue(to + f, total > 0 ? value / sum : A(0)); // without keys there are no values
        }
        __syncthreads(); // before the next row overwrites the scores
    }
}

// Cache and new positions after each other, as [batch, head, position, feature].
template <bool PACKED, class T> SMELT_DEVICE void join_heads(const Heads<PACKED, T> &heads, T *to, Index total, Index count) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index row = quotient(i, heads.size), plane = quotient(row, total), batch = quotient(plane, heads.heads);
        to[i] = heads.at(batch, plane - batch * heads.heads, row - plane * total)[i - row * heads.size];
    }
}

// -- RotaryEmbedding --

struct RotarySizes {
    Index heads, length, size, turned; // of x; features of a head that turn
    Index cached;                      // rows of the caches
};

// x is [batch, head, position, feature], PACKED: [batch, position, head, feature]. positions: rows of the caches, or NULL:
// they have a row for each position of each batch entry. Positions past the cache count as its last.
template <class A, bool PACKED, bool INTERLEAVED, class T, class P, class E>
SMELT_DEVICE void rotary(const T *x, const T *cosines, const T *sines, const P *positions, const RotarySizes &sizes,
                         Index count, const E &epilogue) {
    const Index half = sizes.turned / 2;
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index row = quotient(i, sizes.size), feature = i - row * sizes.size, base = row * sizes.size;
        if (feature >= sizes.turned) {
            epilogue(i, load_as<A>(x, i));
            continue;
        }
        const Index entry = quotient(row, sizes.heads * sizes.length), inner = row - entry * sizes.heads * sizes.length;
        const Index position = PACKED ? quotient(inner, sizes.heads) : residue(inner, sizes.length);
        Index cache = entry * sizes.length + position;
        if (positions != nullptr) {
            const i64 given = load_as<i64>(positions, cache);
            cache = (Index)smaller(larger(given, (i64)0), (i64)sizes.cached - 1);
        }
        const bool is_second = INTERLEAVED ? feature % 2 != 0 : feature >= half;
        const Index pair = INTERLEAVED ? feature / 2 : is_second ? feature - half : feature;
        const A real = load_as<A>(x, base + (INTERLEAVED ? 2 * pair : pair));
        const A imaginary = load_as<A>(x, base + (INTERLEAVED ? 2 * pair + 1 : pair + half));
        const A cosine = load_as<A>(cosines, cache * half + pair), sine = load_as<A>(sines, cache * half + pair);
        epilogue(i, is_second ? sine * real + cosine * imaginary : cosine * real - sine * imaginary);
    }
}

} // namespace smelt

#endif
