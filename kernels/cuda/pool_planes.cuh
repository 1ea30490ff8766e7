// Pools over whole planes: many threads for each.
#ifndef SMELT_POOL_PLANES_CUH
#define SMELT_POOL_PLANES_CUH

#include "smelt/cluster.cuh"
#include "smelt/pool.cuh"

namespace smelt {

// Of a plane; the mean of no elements is NaN, unlike that of a window beside the input.
template <class Pool> SMELT_DEVICE auto whole_result(const Pool &pool, Index extent) { return pool.result(extent); }
template <class A> SMELT_DEVICE A whole_result(const MeanOf<A> &pool, Index extent) { return pool.sum / (A)extent; }

// COLUMNS planes for each block of THREADS, which read them side by side; always added up in the same order. Slices, generated,
// says where element k of a plane lies: at base(plane) + at(k).
template <class A, class Pool, int THREADS, int COLUMNS, class X, class S, class E>
SMELT_DEVICE void pool_planes(const X &x, const S &slices, Index planes, Index extent, const E &epilogue) {
    struct Bytes { alignas(Pool) u8 at[sizeof(Pool)]; };
    __shared__ Bytes shared[THREADS];
    Pool *const pools = reinterpret_cast<Pool *>(shared);
    const int LANES = THREADS / COLUMNS, lane = (int)threadIdx.x / COLUMNS, column = (int)threadIdx.x % COLUMNS;
    for (Index first = (Index)blockIdx.x * COLUMNS; first < planes; first += (Index)gridDim.x * COLUMNS) {
        const Index plane = first + column, base = slices.base(smaller(plane, planes - 1));
        Pool pool;
        for (Index i = (Index)lane; i < extent; i += LANES) pool.add(load_as<A>(x, base + slices.at(i)), i);
        __syncthreads();
        pools[threadIdx.x] = pool;
        __syncthreads();
        for (int half = LANES / 2; half > 0; half /= 2) {
            if (lane < half) combine(pools[threadIdx.x], pools[(int)threadIdx.x + half * COLUMNS]);
            __syncthreads();
        }
        if (lane == 0 && plane < planes) epilogue(plane, whole_result(pools[threadIdx.x], extent));
    }
}

// Packs of the places i, i + STEP, .. of which all of AHEAD are there if WHOLE: read together, then added to the pools of their channels.
template <int AHEAD, int STEP, bool WHOLE, class T, class P, class Pool, int LANES>
SMELT_DEVICE void pool_places(const T *x, Index base, const P &places, Index i, Index extent, Pool (&pool)[LANES]) {
    Pack<T, LANES> v[AHEAD];
#pragma unroll
    for (int a = 0; a < AHEAD; ++a)
        if (WHOLE || i + a * STEP < extent) v[a] = EarlyLoads::pack<LANES>(x, base + places.at(i + a * STEP));
#pragma unroll
    for (int a = 0; a < AHEAD; ++a)
#pragma unroll
        for (int l = 0; l < LANES; ++l)
            if (WHOLE || i + a * STEP < extent) pool[l].add((float)fetch(v[a].at[l]), i + a * STEP);
}

// Planes whose elements lie channels-last: a block of THREADS has PACKS side by side, each with LANES neighbouring channels. SLICES
// blocks, a cluster, divide the elements of their planes among themselves. groups: of PACKS packs, of an entry. Places,
// generated, says where element i of a plane is, from its first on: places.at(i).
template <int LANES, int THREADS, int PACKS, int SLICES, class Pool, class T, class P, class E>
SMELT_DEVICE void pool_plane_packs(const T *x, const Strides &strides, const P &places, Index channels, Index extent,
                                   Index groups, const E &epilogue) {
    const int LINES = THREADS / PACKS, WARPS = THREADS / 32, AHEAD = 16 / (int)sizeof(T);
    struct Bytes { alignas(Pool) u8 at[sizeof(Pool)]; };
    const int APART = PACKS < 32 ? WARPS : LINES; // lines that share no warp
    __shared__ Bytes shared[APART > 1 ? APART * PACKS * LANES : 1], slices_shared[SLICES > 1 ? SLICES * PACKS * LANES : 1];
    Pool *const parts = reinterpret_cast<Pool *>(shared);
    const int own = (int)threadIdx.x % PACKS, line = (int)threadIdx.x / PACKS, warp = (int)threadIdx.x / 32;
    if constexpr (SLICES > 1) cluster_arrive_relaxed();
    const Index group = quotient((Index)blockIdx.x, (Index)SLICES), slice = (Index)blockIdx.x - group * SLICES;
    const Index entry = quotient(group, groups), channel = ((group - entry * groups) * PACKS + own) * LANES;
    Pool pool[LANES];
    if (channel < channels) {
        const Index base = strides.plane(entry, channel);
        const int STEP = SLICES * LINES;
        Index i = slice * LINES + line;
        for (; i + (AHEAD - 1) * STEP < extent; i += STEP * AHEAD) pool_places<AHEAD, STEP, true>(x, base, places, i, extent, pool);
        if (i < extent) pool_places<AHEAD, STEP, false>(x, base, places, i, extent, pool);
    }
    const Index first = (group - entry * groups) * (PACKS * LANES);
    const auto finish = [&](Index at, const Pool &whole) {
        if (slice == 0 && first + at < channels) epilogue(entry * channels + first + at, whole_result(whole, extent));
    };
    if constexpr (APART == 1) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) finish((Index)(own * LANES + l), pool[l]);
    } else {
#pragma unroll
        for (int l = 0; l < LANES; ++l) {
#pragma unroll
            for (int mask = PACKS; mask < 32; mask *= 2) combine(pool[l], shuffled(pool[l], mask));
            if (PACKS >= 32 || (int)threadIdx.x % 32 < PACKS) parts[((PACKS < 32 ? warp : line) * PACKS + own) * LANES + l] = pool[l];
        }
        __syncthreads();
        // A thread for each plane.
        for (int round = 0; round < PACKS * LANES; round += THREADS) {
            const int at = round + (int)threadIdx.x;
            Pool whole;
            if (at < PACKS * LANES)
                for (int w = 0; w < APART; ++w) combine(whole, parts[w * PACKS * LANES + at]);
            static_assert(SLICES == 1 || PACKS * LANES <= THREADS, "one round, as blocks of a cluster meet in it");
            if constexpr (SLICES > 1) whole = cluster_combined<SLICES, PACKS * LANES>(reinterpret_cast<Pool *>(slices_shared), whole);
            if (at < PACKS * LANES) finish((Index)at, whole);
        }
    }
}

} // namespace smelt

#endif
