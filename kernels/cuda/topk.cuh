// The largest or smallest elements of rows, best first; ties go to the lower index.
//
// A block finds the threshold of each row by its digits, the most significant first, collects what passes it in any order
// and sorts that. The digits of an element are those of its key and then of its index, lower ones above: no two are equal.
#ifndef SMELT_TOPK_CUH
#define SMELT_TOPK_CUH

#include "smelt/reduce.cuh"
#include "smelt/scan.cuh"
#include "smelt/sort.cuh"

namespace smelt {

struct Ranked { u64 key; u64 place; }; // place: falls as the index rises

SMELT_DEVICE bool beats(const Ranked &a, const Ranked &b) {
    return a.key > b.key || (a.key == b.key && a.place > b.place);
}

// The digits that are decided, and which they are.
struct Threshold {
    Ranked digits, mask;
    SMELT_DEVICE bool matches(const Ranked &x) const {
        return (x.key & mask.key) == digits.key && (x.place & mask.place) == digits.place;
    }
    SMELT_DEVICE bool passes(const Ranked &x) const {
        return !beats(digits, Ranked{x.key & mask.key, x.place & mask.place});
    }
};

// The threshold that `wanted` of the row's elements pass, 0 < wanted <= extent. Every thread of the block gets it.
template <class Rank> SMELT_DEVICE Threshold find_threshold(const Rank &rank, Index extent, Index wanted) {
    const int BINS = 256;
    __shared__ u64 bins[BINS];
    __shared__ u64 chosen, passed, held; // the digit; how many have a higher one; how many have it
    Threshold t = {{0, 0}, {0, 0}};
    u64 rest = (u64)wanted;
    for (int digit = 0; digit < 16; ++digit) {
        const int shift = 56 - digit % 8 * 8;
        __syncthreads();
        bins[threadIdx.x] = 0;
        __syncthreads();
        for (Index i = (Index)threadIdx.x; i < extent; i += BINS) {
            const Ranked x = rank(i);
            if (t.matches(x)) atomicAdd(&bins[(digit < 8 ? x.key : x.place) >> shift & 255], 1ull);
        }
        __syncthreads();
        const u64 bin = BINS - 1 - threadIdx.x, own = bins[bin];
        u64 all;
        const u64 above = Scan<BlockTeam>::before<Sum>(own, &all);
        if (above < rest && above + own >= rest) {
            chosen = bin;
            passed = above;
            held = own;
        }
        __syncthreads();
        (digit < 8 ? t.digits.key : t.digits.place) |= chosen << shift;
        (digit < 8 ? t.mask.key : t.mask.place) |= 255ull << shift;
        rest -= passed;
        if (held == rest) break;
    }
    return t;
}

struct Beats {
    SMELT_DEVICE bool operator()(const Ranked &a, const Ranked &b) const { return beats(a, b); }
};

// Best first. One block.
SMELT_DEVICE void sort_ranked(Ranked *items, Index count) { sort_block(items, count, Beats{}); }

// A block of 256 threads for each row; rows as in cumulate_rows. The best k of each go to `values` and `indices` (may be
// NULL). CAPACITY: as many are sorted in shared memory; 0: in `memory`, k for each row.
template <int CAPACITY, bool LARGEST, class T>
SMELT_DEVICE void topk_rows(const T *x, Index rows, Index extent, Index inner, Index k, T *values, i64 *indices, Ranked *memory) {
    __shared__ Ranked shared[CAPACITY > 0 ? CAPACITY : 1];
    __shared__ u64 taken;
    const Index wanted = smaller(k, extent);
    if (wanted <= 0) return;
    for (Index row = (Index)blockIdx.x; row < rows; row += (Index)gridDim.x) {
        const Index outer = quotient(row, inner), column = row - outer * inner, base = outer * extent * inner + column;
        Ranked *items = CAPACITY > 0 ? shared : memory + row * k;
        const auto rank = [&](Index i) {
            const u64 key = order_key(load(x, base + i * inner));
            return Ranked{LARGEST ? key : ~key, ~(u64)i};
        };
        const Threshold t = find_threshold(rank, extent, wanted);
        if (threadIdx.x == 0) taken = 0;
        __syncthreads();
        for (Index i = (Index)threadIdx.x; i < extent; i += (Index)blockDim.x) {
            const Ranked own = rank(i);
            if (!t.passes(own)) continue;
            const u64 place = atomicAdd(&taken, 1ull);
            if (place < (u64)wanted) items[place] = own;
        }
        sort_ranked(items, wanted);
        for (Index i = (Index)threadIdx.x; i < wanted; i += (Index)blockDim.x) {
            const Index from = (Index)~items[i].place, to = (outer * k + i) * inner + column;
            if (values != nullptr) raw(values)[to] = raw(x)[base + from * inner];
            if (indices != nullptr) indices[to] = (i64)from;
        }
    }
}

} // namespace smelt

#endif
