// What the blocks of a cluster have of the same results, merged.
#ifndef SMELT_CLUSTER_CUH
#define SMELT_CLUSTER_CUH

#include "smelt/wgmma.cuh"

namespace smelt {

// Thread t < COUNT of each of SLICES blocks, all of which have called cluster_arrive_relaxed() once they were there, has a part of result
// t; that of block 0 gets them combined in the order of the blocks, by combine(Pool &, const Pool &), which the others get nothing of.
// parts: SLICES * COUNT, in shared memory, that nothing else uses.
template <int SLICES, int COUNT, class Pool> SMELT_DEVICE Pool cluster_combined(Pool *parts, const Pool &own) {
    const int WORDS = sizeof(Pool) / 4;
    union Words { float at[WORDS]; Pool pool; SMELT_DEVICE Words() {} };
    cluster_wait();
    if (threadIdx.x < COUNT) {
        Words words;
        words.pool = own;
#pragma unroll
        for (int i = 0; i < WORDS; ++i)
            shared_put_to(shared_address(parts + (int)cluster_rank() * COUNT + threadIdx.x) + i * 4, 0, words.at[i]);
    }
    cluster_arrive();
    cluster_wait();
    Pool whole;
    if (threadIdx.x < COUNT && cluster_rank() == 0)
#pragma unroll
        for (int block = 0; block < SLICES; ++block) combine(whole, parts[block * COUNT + threadIdx.x]);
    return whole;
}

} // namespace smelt

#endif
