// Pools over whole planes: many threads for each.
#ifndef SMELT_POOL_PLANES_CUH
#define SMELT_POOL_PLANES_CUH

#include "smelt/pool.cuh"
#include "smelt/wgmma.cuh"

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

// What the blocks of a cluster have of the same plane, each in thread t of part t, in the order of the blocks.
template <int SLICES, int COUNT, class Pool> SMELT_DEVICE Pool cluster_pool(Pool *parts, const Pool &own) {
    const int WORDS = sizeof(Pool) / 4;
    union Words { float at[WORDS]; Pool pool; SMELT_DEVICE Words() {} };
    __syncthreads(); // nobody reads the parts any more
    if (threadIdx.x < COUNT) parts[threadIdx.x] = own;
    cluster_arrive();
    cluster_wait();
    Pool whole;
    if (threadIdx.x < COUNT && cluster_rank() == 0) {
#pragma unroll
        for (int block = 0; block < SLICES; ++block) {
            Words words;
#pragma unroll
            for (int i = 0; i < WORDS; ++i) words.at[i] = shared_get_from(shared_address(parts + threadIdx.x) + i * 4, block);
            combine(whole, words.pool);
        }
    }
    cluster_arrive();
    cluster_wait(); // the others' memory is read no more
    return whole;
}

// Planes whose elements lie channels-last: a block has PACKS threads side by side, each with LANES neighbouring channels. SLICES
// blocks, a cluster, divide the elements of their planes among themselves. groups: of PACKS packs, of an entry. Places,
// generated, says where element i of a plane is, from its first on: places.at(i).
template <int LANES, int PACKS, int SLICES, class Pool, class T, class P, class E>
SMELT_DEVICE void pool_plane_packs(const T *x, const Strides &strides, const P &places, Index channels, Index extent,
                                   Index groups, const E &epilogue) {
    const int THREADS = 256, LINES = THREADS / PACKS, WARPS = THREADS / 32;
    struct Bytes { alignas(Pool) u8 at[sizeof(Pool)]; };
    __shared__ Bytes shared[WARPS * PACKS * LANES];
    Pool *const parts = reinterpret_cast<Pool *>(shared);
    const int own = (int)threadIdx.x % PACKS, line = (int)threadIdx.x / PACKS, warp = (int)threadIdx.x / 32;
    const Index group = quotient((Index)blockIdx.x, (Index)SLICES), slice = (Index)blockIdx.x - group * SLICES;
    const Index entry = quotient(group, groups), channel = ((group - entry * groups) * PACKS + own) * LANES;
    Pool pool[LANES];
    if (channel < channels) {
        const Index base = strides.plane(entry, channel);
#pragma unroll 4
        for (Index i = slice * LINES + line; i < extent; i += SLICES * LINES) {
            const Pack<T, LANES> v = load_pack<LANES>(x, base + places.at(i));
#pragma unroll
            for (int l = 0; l < LANES; ++l) pool[l].add((float)fetch(v.at[l]), i);
        }
    }
#pragma unroll
    for (int l = 0; l < LANES; ++l) {
#pragma unroll
        for (int mask = PACKS; mask < 32; mask *= 2) combine(pool[l], shuffled(pool[l], mask));
        if ((int)threadIdx.x % 32 < PACKS) parts[(warp * PACKS + own) * LANES + l] = pool[l];
    }
    __syncthreads();
    // A thread for each plane.
    Pool whole;
    if (threadIdx.x < PACKS * LANES)
        for (int w = 0; w < WARPS; ++w) combine(whole, parts[w * PACKS * LANES + threadIdx.x]);
    if constexpr (SLICES > 1) whole = cluster_pool<SLICES, PACKS * LANES>(parts, whole);
    const Index first = (group - entry * groups) * (PACKS * LANES) + (Index)threadIdx.x;
    if (slice == 0 && threadIdx.x < PACKS * LANES && first < channels) epilogue(entry * channels + first, whole_result(whole, extent));
}

} // namespace smelt

#endif
