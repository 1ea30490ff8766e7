// Choosing some of many: how many are kept is known only once the data is. Counts of tiles, their running totals, and then
// each kept element's place among the kept, in order.
//
// Keep, a function object, tells whether element i is kept.
#ifndef SMELT_SELECT_CUH
#define SMELT_SELECT_CUH

#include "smelt/scan.cuh"

namespace smelt {

static const int SELECT_ROUNDS = 16, SELECT_TILE = 256 * SELECT_ROUNDS; // elements of a block of 256 threads

template <class T> struct IsNonZero {
    const T *x;
    SMELT_DEVICE bool operator()(Index i) const { return fetch(x[i]) != 0; }
};

// A block for each tile.
template <class Keep> SMELT_DEVICE void select_count(const Keep &keep, Index count, i64 *counts) {
    const Index first = (Index)blockIdx.x * SELECT_TILE;
    i64 own = 0;
    for (int k = 0; k < SELECT_ROUNDS; ++k) {
        const Index i = first + k * 256 + (Index)threadIdx.x;
        if (i < count && keep(i)) ++own;
    }
    own = BlockTeam::all<Sum>(own);
    if (threadIdx.x == 0) counts[blockIdx.x] = own;
}

// Each count becomes the sum of those before it; *found: of all. One block.
SMELT_DEVICE void select_offsets(i64 *counts, Index tiles, i64 *found) {
    i64 total = 0;
    for (Index first = 0; first < tiles; first += BlockTeam::size) {
        const Index i = first + (Index)threadIdx.x;
        i64 chunk;
        const i64 before = Scan<BlockTeam>::before<Sum>(i < tiles ? counts[i] : 0, &chunk);
        if (i < tiles) counts[i] = total + before;
        total += chunk;
    }
    if (threadIdx.x == 0) *found = total;
}

// Calls sink(place, i, kept) for each i, where place elements before it are kept. A block for each tile.
template <class Keep, class Sink>
SMELT_DEVICE void select_place(const Keep &keep, Index count, const i64 *offsets, const Sink &sink) {
    i64 place = offsets[blockIdx.x];
    for (int k = 0; k < SELECT_ROUNDS; ++k) {
        const Index i = (Index)blockIdx.x * SELECT_TILE + k * 256 + (Index)threadIdx.x;
        const bool own = i < count && keep(i);
        i64 chunk;
        const i64 before = Scan<BlockTeam>::before<Sum>((i64)(own ? 1 : 0), &chunk);
        if (i < count) sink(place + before, i, own);
        place += chunk;
    }
}

// -- what becomes of the kept --

// The indices of each, axis by axis.
template <int RANK> struct Coordinates {
    i64 *to;
    Index found;
    Index extents[RANK];
    SMELT_DEVICE void operator()(i64 place, Index i, bool kept) const {
        if (!kept || place >= found) return;
#pragma unroll
        for (int r = RANK - 1; r >= 0; --r) {
            const Index rest = quotient(i, extents[r]);
            to[r * (i64)found + place] = (i64)(i - rest * extents[r]);
            i = rest;
        }
    }
};

struct Places {
    i64 *to;
    SMELT_DEVICE void operator()(i64 place, Index i, bool kept) const {
        if (kept) to[place] = (i64)i;
    }
};

// Lines of `inner` elements, `extent` of them in each of `outer` groups: those that are kept, in the order of `places`.
template <class T>
SMELT_DEVICE void take_lines(const T *x, T *y, const i64 *places, Index outer, Index extent, Index inner, Index found) {
    const Index count = outer * found * inner;
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index line = quotient(i, inner), group = quotient(line, found);
        y[i] = x[(group * extent + (Index)places[line - group * found]) * inner + (i - line * inner)];
    }
}

} // namespace smelt

#endif
