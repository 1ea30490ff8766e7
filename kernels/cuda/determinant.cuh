// Determinants by Gaussian elimination with row pivoting, in double: a team of threads for each matrix, which has n * n
// doubles of scratch memory.
#ifndef SMELT_DETERMINANT_CUH
#define SMELT_DETERMINANT_CUH

#include "smelt/pointwise.cuh"
#include "smelt/team.cuh"

namespace smelt {

// Until all of the team have come here; what they wrote to memory before can be read.
template <class Team> SMELT_DEVICE void team_wait() {
    if (Team::size > 1) __syncthreads();
}

// The row from `column` on with the largest magnitude in that column, the first of equal ones; a NaN only on the diagonal.
template <class Team> SMELT_DEVICE Index find_pivot(const double *m, Index n, Index column) {
    Best<double> best{-1.0, n};
    for (Index r = column + Team::lane(); r < n; r += Team::size) {
        const double value = math::abs(m[r * n + column]);
        if (value > best.key) best = Best<double>{value, r};
    }
    best = Team::template all<First<false>>(best);
    const double own = m[column * n + column];
    return own != own ? column : best.at;
}

// Destroys the n x n matrix. Every thread gets the result.
template <class Team> SMELT_DEVICE double eliminate(double *m, Index n) {
    double product = 1;
    for (Index c = 0; c < n; ++c) {
        const Index pivot = find_pivot<Team>(m, n, c);
        const double divisor = m[pivot * n + c];
        if (divisor == 0) return 0;
        product *= pivot == c ? divisor : -divisor;
        team_wait<Team>();
        for (Index k = c + Team::lane(); pivot != c && k < n; k += Team::size) {
            const double swap = m[c * n + k];
            m[c * n + k] = m[pivot * n + k];
            m[pivot * n + k] = swap;
        }
        team_wait<Team>();
        const Index size = n - c - 1; // of what is left; the column in front of it is read, but not written
        for (Index i = Team::lane(); i < size * size; i += Team::size) {
            const Index row = quotient(i, size), r = c + 1 + row, k = c + 1 + (i - row * size);
            m[r * n + k] -= m[r * n + c] / divisor * m[c * n + k];
        }
        team_wait<Team>();
    }
    return product;
}

// Team: ThreadTeam or BlockTeam.
template <class Team, class T, class E>
SMELT_DEVICE void determinants(const T *x, Index count, Index n, double *scratch, const E &epilogue) {
    for (Index i = Team::first(); Team::goes_on(i, count); i += Team::step()) {
        double *own = scratch + i * n * n;
        for (Index k = Team::lane(); k < n * n; k += Team::size) own[k] = load_as<double>(x, i * n * n + k);
        team_wait<Team>();
        const double result = eliminate<Team>(own, n);
        if (Team::lane() == 0) epilogue(i, result);
    }
}

} // namespace smelt

#endif
