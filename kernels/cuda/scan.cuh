// Running totals: each element merged with all before it in its row.
#ifndef SMELT_SCAN_CUH
#define SMELT_SCAN_CUH

#include "smelt/team.cuh"

namespace smelt {

// What the lanes before this one of its team have, merged in order; *total: what all have. All threads take part.
template <class Team> struct Scan;

template <> struct Scan<ThreadTeam> {
    template <class Merge, class A> static SMELT_DEVICE A before(A x, A *total) {
        *total = x;
        return Merge::template start<A>();
    }
};

template <> struct Scan<WarpTeam> {
    template <class Merge, class A> static SMELT_DEVICE A before(A x, A *total) {
        const int lane = WarpTeam::lane();
#pragma unroll
        for (int distance = 1; distance < 32; distance *= 2) {
            const A other = __shfl_up_sync(0xffffffffu, x, distance);
            if (lane >= distance) x = Merge::merge(other, x);
        }
        *total = __shfl_sync(0xffffffffu, x, 31);
        const A left = __shfl_up_sync(0xffffffffu, x, 1);
        return lane == 0 ? Merge::template start<A>() : left;
    }
};

template <> struct Scan<BlockTeam> {
    template <class Merge, class A> static SMELT_DEVICE A before(A x, A *total) {
        const int warps = BlockTeam::size / 32, warp = (int)threadIdx.x / 32;
        __shared__ A part[warps];
        A own, sum = Merge::template start<A>(), front = sum;
        const A left = Scan<WarpTeam>::before<Merge>(x, &own);
        __syncthreads(); // the threads may still read what the last call left
        if (threadIdx.x % 32 == 0) part[warp] = own;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < warps; ++i) {
            if (i == warp) front = sum;
            sum = Merge::merge(sum, part[i]);
        }
        *total = sum;
        return Merge::merge(front, left);
    }
};

// Rows of elements that lie `inner` apart, `inner` rows side by side. A: the type of totals.
template <class Team, class Merge, class A, bool EXCLUSIVE, bool REVERSE, class T>
SMELT_DEVICE void cumulate_rows(const T *x, T *y, Index rows, Index extent, Index inner) {
    for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step()) {
        const Index outer = quotient(row, inner), base = outer * extent * inner + (row - outer * inner);
        A total = Merge::template start<A>();
        for (Index first = 0; first < extent; first += Team::size) {
            const Index k = first + Team::lane(), at = base + (REVERSE ? extent - 1 - k : k) * inner;
            const A own = k < extent ? load_as<A>(x, at) : Merge::template start<A>();
            A chunk;
            A result = Merge::merge(total, Scan<Team>::template before<Merge>(own, &chunk));
            if (!EXCLUSIVE) result = Merge::merge(result, own);
            if (k < extent) store(y, at, result);
            total = Merge::merge(total, chunk);
        }
    }
}

} // namespace smelt

#endif
