// What the blocks of a cluster have of the same results, merged.
#ifndef SMELT_CLUSTER_CUH
#define SMELT_CLUSTER_CUH

#include "smelt/wgmma.cuh"

namespace smelt {

// Thread t < COUNT of each of SLICES blocks has a part of result t; that of block 0 gets them combined in the order of the blocks, by
// combine(Pool &, const Pool &), which the others get nothing of. parts: of COUNT, in shared memory.
template <int SLICES, int COUNT, class Pool> SMELT_DEVICE Pool cluster_combined(Pool *parts, const Pool &own) {
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

} // namespace smelt

#endif
