// Normalisations: rows are reduced, then written with what came of it. Slices as in reduce.cuh; element k of row r of the
// result has the number row(r) + step(k). What reads several passes of x reads each element in the same thread, which then writes it.
#ifndef SMELT_NORMALIZE_CUH
#define SMELT_NORMALIZE_CUH

#include "smelt/pointwise.cuh"
#include "smelt/team.cuh"

namespace smelt {

// -- along one axis; A: the type to compute in --

template <class Team, class A, bool LOGARITHM, class X, class S, class E>
SMELT_DEVICE void softmax_rows(const X &x, const S &slices, Index rows, Index extent, const E &epilogue) {
    for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step()) {
        const Index base = slices.base(smaller(row, rows - 1));
        const A m = fold<Team, LargestNumber, A, A>(
            0, extent, [&](Index k) { return load_first_of_row<A>(x, base + slices.at(k), row, rows); });
        const double sum = fold<Team, Sum, A, double>(
            0, extent, [&](Index k) { return math::exp(load_as<A>(x, base + slices.at(k)) - m); });
        const A factor = (A)(1 / sum), shift = m + math::log((A)sum);
        if (row >= rows) continue;
        const Index to = slices.row(row);
        for (Index k = Team::lane(); k < extent; k += Team::size) {
            const A element = load_as<A>(x, base + slices.at(k));
            epilogue(to + slices.step(k), LOGARITHM ? element - shift : math::exp(element - m) * factor);
        }
    }
}

// One at the first largest element. NaN is never larger, but nothing is larger than a NaN that comes first.
template <class Team, class A, class X, class S, class E>
SMELT_DEVICE void hardmax_rows(const X &x, const S &slices, Index rows, Index extent, const E &epilogue) {
    for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step()) {
        const Index base = slices.base(smaller(row, rows - 1));
        Best<A> best{lowest<A>(), extent};
        for (Index k = Team::lane(); k < extent; k += Team::size) {
            const A element = load_first_of_row<A>(x, base + slices.at(k), row, rows);
            const A key = element == element ? element : k == 0 ? highest<A>() : lowest<A>();
            best = First<false>::merge(best, Best<A>{key, k});
        }
        best = Team::template all<First<false>>(best);
        if (row >= rows) continue;
        const Index to = slices.row(row);
        for (Index k = Team::lane(); k < extent; k += Team::size)
            epilogue(to + slices.step(k), k == best.at ? A(1) : A(0));
    }
}

// By the sum of magnitudes, or the root of the sum of squares. Rows of zeros stay.
template <class Team, class A, int P, class X, class S, class E>
SMELT_DEVICE void lp_rows(const X &x, const S &slices, Index rows, Index extent, const E &epilogue) {
    for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step()) {
        const Index base = slices.base(smaller(row, rows - 1));
        const double sum = fold<Team, Sum, double, double>(0, extent, [&](Index k) {
            const double element = load_first_of_row<double>(x, base + slices.at(k), row, rows);
            return P == 1 ? math::abs(element) : element * element;
        });
        const double norm = P == 1 ? sum : math::sqrt(sum);
        if (row >= rows) continue;
        const Index to = slices.row(row);
        for (Index k = Team::lane(); k < extent; k += Team::size) {
            const double element = load_as<double>(x, base + slices.at(k));
            epilogue(to + slices.step(k), norm == 0 ? A(0) : (A)(element / norm));
        }
    }
}

// -- by mean and deviation --

// A number that is taken off, in two parts: elements near it lose nothing to its rounding.
template <class A> struct Center {
    A high, low;
    explicit SMELT_DEVICE Center(double mean) : high((A)mean), low((A)(mean - (double)high)) {}
    SMELT_DEVICE A of(A x) const { return (x - high) - low; }
};

// Finish, generated:
//     V inverse(V variance)                           what deviations are multiplied with
//     A value(Index i, A normalized)                  element number i of the result
//     void statistics(Index row, double mean, double inverse)
template <class Team, class A, bool CENTERED, class X, class S, class Finish, class E>
SMELT_DEVICE void moment_rows(const X &x, const S &slices, Index rows, Index extent, const Finish &finish, const E &epilogue) {
    for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step()) {
        const Index base = slices.base(smaller(row, rows - 1));
        double mean = 0;
        if (CENTERED)
            mean = fold<Team, Sum, A, double>(
                       0, extent, [&](Index k) { return load_first_of_row<A>(x, base + slices.at(k), row, rows); }) /
                   (double)extent;
        const Center<A> center(mean);
        const double squares = fold<Team, Sum, A, double>(0, extent, [&](Index k) {
            const Index i = base + slices.at(k);
            return math::square(center.of(CENTERED ? load_as<A>(x, i) : load_first_of_row<A>(x, i, row, rows)));
        });
        const double inverse = finish.inverse(squares / (double)extent);
        if (row >= rows) continue;
        if (Team::lane() == 0) finish.statistics(row, mean, inverse);
        const Index to = slices.row(row);
        for (Index k = Team::lane(); k < extent; k += Team::size) {
            const Index i = to + slices.step(k);
            epilogue(i, finish.value(i, center.of(load_as<A>(x, base + slices.at(k))) * (A)inverse));
        }
    }
}

// -- element by element --

// x / (bias + alpha / size * the sum of squares of channels from `below` before to `above` behind)^beta, for the element of
// x at `at`, of this channel; neighbouring channels are `stride` apart.
template <class A, class T>
SMELT_DEVICE A local_response(const T *x, Index at, Index channel, Index channels, Index stride, i64 below, i64 above, A factor,
                              A bias, A beta) {
    const Index first = (Index)-smaller((i64)channel, below), last = (Index)smaller((i64)(channels - 1 - channel), above);
    A sum = A(0);
    for (Index c = first; c <= last; ++c) sum += math::square(load_as<A>(x, at + c * stride));
    return load_as<A>(x, at) * math::pow(bias + factor * sum, -beta);
}

} // namespace smelt

#endif
