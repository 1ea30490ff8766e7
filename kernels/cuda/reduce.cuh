// Reductions over axes.
//
// Slices, generated, says where the elements lie: element k of row r at base(r) + at(k). A Reducer, generated from a row of
// ops/reduce.def, says what becomes of them:
//     typedef Number          elements and short runs of them
//     typedef Total           long runs and results
//     typedef Merge           one of team.cuh's
//     Number element(Number x, Number m)
//     Total result(Total a, Total m, Total n)
//     bool shifts             whether m is the largest element of the row, else 0
#ifndef SMELT_REDUCE_CUH
#define SMELT_REDUCE_CUH

#include "smelt/team.cuh"

namespace smelt {

template <class A> SMELT_DEVICE A finite_or_zero(A x) { return x - x == A(0) ? x : A(0); }

// A row past the end counts for nothing.
template <class Team, class R, class X, class S>
SMELT_DEVICE typename R::Total reduce_row(const X &x, const S &slices, Index row, Index rows, Index first, Index last,
                                          typename R::Number m) {
    typedef typename R::Number N;
    const Index base = slices.base(smaller(row, rows - 1));
    return fold<Team, typename R::Merge, N, typename R::Total>(first, last, [&](Index k) {
        const Index i = base + slices.at(k);
        return R::element(R::shifts ? load_as<N>(x, i) : load_first_of_row<N>(x, i, row, rows), m);
    });
}

template <class Team, class R, class X, class S, class E>
SMELT_DEVICE void reduce_rows(const X &x, const S &slices, Index rows, Index extent, const E &epilogue) {
    typedef typename R::Number N;
    typedef typename R::Total A;
    for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step()) {
        N m = N(0);
        if constexpr (R::shifts) {
            const Index base = slices.base(smaller(row, rows - 1));
            m = finite_or_zero(fold<Team, Largest<ElementOf<X>>, N, N>(
                0, extent, [&](Index k) { return load_first_of_row<N>(x, base + slices.at(k), row, rows); }));
        }
        const A a = reduce_row<Team, R>(x, slices, row, rows, 0, extent, m);
        if (row < rows && Team::lane() == 0) epilogue(row, R::result(a, (A)m, (A)extent));
    }
}

// Each row in so many parts: parts[row * count + number].
template <class Team, class R, class X, class S>
SMELT_DEVICE void reduce_parts(const X &x, const S &slices, Index rows, Index extent, Index count, typename R::Total *parts) {
    const Index length = ceil_div(extent, count);
    for (Index i = Team::first(); Team::goes_on(i, rows * count); i += Team::step()) {
        const Index own = smaller(i, rows * count - 1), number = quotient(own, rows), row = own - number * rows;
        const Index first = number * length, last = smaller(first + length, extent);
        const typename R::Total a =
            reduce_row<Team, R>(x, slices, i < rows * count ? row : rows, rows, first, last, typename R::Number(0));
        if (i < rows * count && Team::lane() == 0) parts[row * count + number] = a;
    }
}

template <class Team, class R, class E>
SMELT_DEVICE void reduce_finish(const typename R::Total *parts, Index rows, Index extent, Index count, const E &epilogue) {
    typedef typename R::Total A;
    for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step()) {
        const A a = fold<Team, typename R::Merge, A, A>(0, count, [&](Index k) { return parts[row * count + k]; });
        if (Team::lane() == 0) epilogue(row, R::result(a, A(0), (A)extent));
    }
}

// -- the place of the largest key --

// A number that orders as the elements do: equal for equal ones (-0 and 0 too), NaN above everything.
SMELT_DEVICE u64 order_key(u64 x) { return x; }
SMELT_DEVICE u64 order_key(i64 x) { return (u64)x ^ 1ull << 63; }
SMELT_DEVICE u64 order_key(double x) {
    const u64 bits = (u64)__double_as_longlong(x + 0.0);
    return x != x ? ~0ull : bits >> 63 != 0 ? ~bits : bits | 1ull << 63;
}
SMELT_DEVICE u64 order_key(float x) { return order_key((double)x); }

// flip: 0 for the largest, ~0 for the smallest. An empty row gives 0.
template <class Team, bool LAST, class X, class S, class E>
SMELT_DEVICE void arg_rows(const X &x, const S &slices, Index rows, Index extent, u64 flip, const E &epilogue) {
    for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step()) {
        const Index base = slices.base(smaller(row, rows - 1));
        Best<u64> best{0, LAST ? 0 : extent};
        for (Index k = Team::lane(); k < extent; k += Team::size)
            best = First<LAST>::merge(best, Best<u64>{order_key(load(x, base + slices.at(k))) ^ flip, k});
        best = Team::template all<First<LAST>>(best);
        if (row < rows && Team::lane() == 0) epilogue(row, (i64)(best.at < extent ? best.at : 0));
    }
}

} // namespace smelt

#endif
