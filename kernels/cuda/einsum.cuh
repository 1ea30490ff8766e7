// Einsum: each output element is the sum of its terms.
#ifndef SMELT_EINSUM_CUH
#define SMELT_EINSUM_CUH

#include "smelt/core.cuh"

namespace smelt {

// terms(i, k): term k of output element i, in the type A.
template <class A, class Terms, class E>
SMELT_DEVICE void sum_terms(Index count, Index depth, const Terms &terms, const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        A sum = A(0);
        for (Index k = 0; k < depth; ++k) sum += terms(i, k);
        epilogue(i, sum);
    }
}

} // namespace smelt

#endif
