// Determinants by elimination with row pivoting: one thread for each matrix, which has n * n doubles of scratch memory.
#ifndef SMELT_DETERMINANT_CUH
#define SMELT_DETERMINANT_CUH

#include "smelt/pointwise.cuh"

namespace smelt {

SMELT_DEVICE double eliminate(double *m, Index n) {
    double product = 1;
    for (Index c = 0; c < n; ++c) {
        Index pivot = c;
        for (Index r = c + 1; r < n; ++r)
            if (math::abs(m[r * n + c]) > math::abs(m[pivot * n + c])) pivot = r;
        const double divisor = m[pivot * n + c];
        if (divisor == 0) return 0;
        for (Index k = c; pivot != c && k < n; ++k) {
            const double swap = m[c * n + k];
            m[c * n + k] = m[pivot * n + k];
            m[pivot * n + k] = swap;
        }
        product *= pivot == c ? divisor : -divisor;
        for (Index r = c + 1; r < n; ++r) {
            const double factor = m[r * n + c] / divisor;
            for (Index k = c + 1; k < n; ++k) m[r * n + k] -= factor * m[c * n + k];
        }
    }
    return product;
}

template <class T, class E> SMELT_DEVICE void determinants(const T *x, Index count, Index n, double *scratch, const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        double *own = scratch + i * n * n;
        for (Index k = 0; k < n * n; ++k) own[k] = load_as<double>(x, i * n * n + k);
        epilogue(i, eliminate(own, n));
    }
}

} // namespace smelt

#endif
