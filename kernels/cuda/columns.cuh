// Reductions that read packs of elements: of rows that lie side by side in memory, where each thread has a pack of neighbouring
// rows, and of few long rows, in parts.
#ifndef SMELT_COLUMNS_CUH
#define SMELT_COLUMNS_CUH

#include "smelt/cluster.cuh"
#include "smelt/reduce.cuh"

namespace smelt {

static const int COLUMN_THREADS = 512;

// A total with its way to merge.
template <class R> struct Folded {
    typename R::Total value = R::Merge::template start<typename R::Total>();
};
template <class R> SMELT_DEVICE void combine(Folded<R> &a, const Folded<R> &b) { a.value = R::Merge::merge(a.value, b.value); }
template <class R> SMELT_DEVICE Folded<R> shuffled(const Folded<R> &a, int mask) {
    Folded<R> other;
    other.value = shuffled(a.value, mask);
    return other;
}

// Reads packs first, first + step, .. below last, pack p from element at(p) on, AHEAD at a time. put(part): part[l] is merged from
// the elements l of a run of packs.
template <int LANES, int AHEAD, class R, class X, class At, class Put>
SMELT_DEVICE void fold_packs(const X &x, Index first, Index step, Index last, const At &at, const Put &put) {
    typedef typename R::Number N;
    for (Index p = first; p < last; p += step * AHEAD) {
        typename X::Operands operands[AHEAD];
#pragma unroll
        for (int a = 0; a < AHEAD; ++a)
            if (p + a * step < last) x.read(at(p + a * step), operands[a]);
        N part[LANES];
#pragma unroll
        for (int l = 0; l < LANES; ++l) part[l] = R::Merge::template start<N>();
#pragma unroll
        for (int a = 0; a < AHEAD; ++a) {
            if (p + a * step >= last) continue;
            float value[LANES];
            x.value(at(p + a * step), operands[a], value);
#pragma unroll
            for (int l = 0; l < LANES; ++l) part[l] = R::Merge::merge(part[l], R::element((N)value[l], N(0)));
        }
        put(part);
    }
}

// What a thread has of the rows from `row` on: elements first, first + step, .. below extent.
template <int LANES, int AHEAD, class R, class X, class S>
SMELT_DEVICE void fold_columns(const X &x, const S &slices, Index row, Index first, Index step, Index extent, Folded<R> (&folded)[LANES]) {
    const Index base = slices.base(row);
    fold_packs<LANES, AHEAD, R>(x, first, step, extent, [&](Index k) { return base + slices.at(k); }, [&](const typename R::Number(&part)[LANES]) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) folded[l].value = R::Merge::merge(folded[l].value, (typename R::Total)part[l]);
    });
}

// A block has SIDE packs of LANES rows side by side and as many lines of elements as there are threads left; SLICES blocks, a
// cluster, divide the elements of theirs among themselves. A thread reads AHEAD packs at a time. R and Slices as in reduce.cuh, without a shift; X as in lines.cuh.
template <int LANES, int SIDE, int SLICES, int AHEAD, class R, class X, class S, class E>
SMELT_DEVICE void reduce_columns(const X &x, const S &slices, Index rows, Index extent, const E &epilogue) {
    const int LINES = COLUMN_THREADS / SIDE, APART = SIDE < 32 ? COLUMN_THREADS / 32 : LINES; // lines that share no warp
    struct Bytes { alignas(Folded<R>) u8 at[sizeof(Folded<R>)]; };
    __shared__ Bytes shared[APART > 1 ? APART * SIDE * LANES : 1];
    Folded<R> *const parts = reinterpret_cast<Folded<R> *>(shared);
    const int own = (int)threadIdx.x % SIDE, line = (int)threadIdx.x / SIDE;
    const Index group = quotient((Index)blockIdx.x, (Index)SLICES), slice = (Index)blockIdx.x - group * SLICES;
    const Index first = group * (SIDE * LANES), row = first + own * LANES;
    Folded<R> folded[LANES];
    if (row < rows) fold_columns<LANES, AHEAD>(x, slices, row, slice * LINES + line, (Index)(SLICES * LINES), extent, folded);
    const auto finish = [&](Index at, const Folded<R> &whole) {
        typedef typename R::Total A;
        if (slice == 0 && at < rows) epilogue(at, R::result(whole.value, A(0), (A)extent));
    };
    if constexpr (APART == 1) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) finish(row + l, folded[l]);
    } else {
#pragma unroll
        for (int l = 0; l < LANES; ++l) {
#pragma unroll
            for (int mask = SIDE; mask < 32; mask *= 2) combine(folded[l], shuffled(folded[l], mask));
            const int apart = SIDE < 32 ? (int)threadIdx.x / 32 : line;
            if (SIDE >= 32 || (int)threadIdx.x % 32 < SIDE) parts[(apart * SIDE + own) * LANES + l] = folded[l];
        }
        __syncthreads();
#pragma unroll
        for (int round = 0; round < SIDE * LANES; round += COLUMN_THREADS) {
            const int at = round + (int)threadIdx.x;
            Folded<R> whole;
            if (at < SIDE * LANES)
                for (int a = 0; a < APART; ++a) combine(whole, parts[a * SIDE * LANES + at]);
            if constexpr (SLICES > 1) {
                static_assert(SIDE * LANES <= COLUMN_THREADS, "a thread for each row");
                whole = cluster_combined<SLICES, SIDE * LANES>(parts, whole);
            }
            if (at < SIDE * LANES) finish(first + at, whole);
        }
    }
}

// Each of rows whose elements are neighbours in so many parts, a block for each: parts[row * count + number]. packs: of a row.
template <int LANES, class R, class X, class S>
SMELT_DEVICE void reduce_pack_parts(const X &x, const S &slices, Index packs, Index count, typename R::Total *parts) {
    typedef typename R::Total A;
    const Index row = quotient((Index)blockIdx.x, count), number = (Index)blockIdx.x - row * count, length = ceil_div(packs, count);
    const Index base = slices.base(row), first = number * length + (Index)threadIdx.x, last = smaller((number + 1) * length, packs);
    A total = R::Merge::template start<A>();
    fold_packs<LANES, 8, R>(x, first, (Index)BlockTeam::size, last, [&](Index p) { return base + p * LANES; },
                         [&](typename R::Number(&part)[LANES]) {
#pragma unroll
                             for (int half = LANES / 2; half > 0; half /= 2)
#pragma unroll
                                 for (int l = 0; l < half; ++l) part[l] = R::Merge::merge(part[l], part[l + half]);
                             total = R::Merge::merge(total, (A)part[0]);
                         });
    total = BlockTeam::all<typename R::Merge>(total);
    if (threadIdx.x == 0) parts[row * count + number] = total;
}

} // namespace smelt

#endif
