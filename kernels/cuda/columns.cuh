// Reductions that read packs of elements: of rows that lie side by side in memory, where each thread has a pack of neighbouring
// rows, and of few long rows, in parts.
#ifndef SMELT_COLUMNS_CUH
#define SMELT_COLUMNS_CUH

#include "smelt/cluster.cuh"
#include "smelt/reduce.cuh"

namespace smelt {

// A total with its way to merge.
template <class R> struct Folded {
    typename R::Total value = R::Merge::template start<typename R::Total>();
};
template <class R> SMELT_DEVICE void combine(Folded<R> &a, const Folded<R> &b) { a.value = R::Merge::merge(a.value, b.value); }

// Packs p, p + step, .. of which all of AHEAD are below last if WHOLE: read together, then merged into part[l], the elements l of each.
template <int LANES, int AHEAD, bool WHOLE, class R, class X, class At>
SMELT_DEVICE void fold_run(const X &x, Index p, Index step, Index last, const At &at, typename R::Number (&part)[LANES]) {
    typedef typename R::Number N;
    typename X::Operands operands[AHEAD];
#pragma unroll
    for (int a = 0; a < AHEAD; ++a)
        if (WHOLE || p + a * step < last) x.template read<EarlyLoads>(at(p + a * step), operands[a]);
#pragma unroll
    for (int a = 0; a < AHEAD; ++a) {
        if (!WHOLE && p + a * step >= last) continue;
        float value[LANES];
        x.value(at(p + a * step), operands[a], value);
#pragma unroll
        for (int l = 0; l < LANES; ++l) part[l] = R::Merge::merge(part[l], R::element((N)value[l], N(0)));
    }
}

// Reads packs first, first + step, .. below last, pack p from element at(p) on, AHEAD at a time. put(part): part[l] is merged from the
// elements l of a run of packs; ALL: of all of them, else of AHEAD.
template <int LANES, int AHEAD, bool ALL, class R, class X, class At, class Put>
SMELT_DEVICE void fold_packs(const X &x, Index first, Index step, Index last, const At &at, const Put &put) {
    typename R::Number part[LANES];
    const auto start = [&] {
#pragma unroll
        for (int l = 0; l < LANES; ++l) part[l] = R::Merge::template start<typename R::Number>();
    };
    Index p = first;
    start();
    for (; p + (AHEAD - 1) * step < last; p += step * AHEAD) {
        fold_run<LANES, AHEAD, true, R>(x, p, step, last, at, part);
        if (ALL) continue;
        put(part);
        start();
    }
    if (p < last) fold_run<LANES, AHEAD, false, R>(x, p, step, last, at, part);
    if (ALL || p < last) put(part);
}

// A block of THREADS has SIDE packs of LANES rows side by side and as many lines of elements as there are threads left, of which a
// thread reads AHEAD packs at a time. FEW: elements of a thread, which lose nothing as numbers. R and Slices as in reduce.cuh, without a
// shift; X as in lines.cuh.
template <int LANES_, int THREADS_, int SIDE_, int AHEAD_, bool FEW_, class R_> struct ColumnTile {
    static const int LANES = LANES_, THREADS = THREADS_, SIDE = SIDE_, AHEAD = AHEAD_;
    static const int LINES = THREADS / SIDE, ROWS = SIDE * LANES;
    static const int APART = SIDE < 32 ? THREADS / 32 : LINES; // lines that share no warp
    static const bool FEW = FEW_;
    typedef R_ R;
    struct Bytes { alignas(Folded<R>) u8 at[sizeof(Folded<R>)]; };
};

// What the threads of a warp that have the same rows have of them, merged.
template <int SIDE, class Merge, class A, int LANES> SMELT_DEVICE void merge_lines(A (&own)[LANES]) {
#pragma unroll
    for (int l = 0; l < LANES; ++l)
#pragma unroll
        for (int mask = SIDE; mask < 32; mask *= 2) own[l] = Merge::merge(own[l], shuffled(own[l], mask));
}

// The warp's elements first, first + step, .. below extent of the rows from `row` on, if there are such rows.
template <class Tile, class X, class S>
SMELT_DEVICE void fold_columns(const X &x, const S &slices, bool there, Index row, Index first, Index step, Index extent,
                               typename Tile::R::Total (&whole)[Tile::LANES]) {
    typedef typename Tile::R R;
    typedef typename R::Number N;
    const int LANES = Tile::LANES;
    const Index base = slices.base(there ? row : 0);
    N few[LANES];
#pragma unroll
    for (int l = 0; l < LANES; ++l) {
        few[l] = R::Merge::template start<N>();
        whole[l] = R::Merge::template start<typename R::Total>();
    }
    fold_packs<LANES, Tile::AHEAD, Tile::FEW, R>(x, first, step, there ? extent : 0, [&](Index k) { return base + slices.at(k); },
                                                 [&](const N(&part)[LANES]) {
#pragma unroll
                                                     for (int l = 0; l < LANES; ++l)
                                                         if (Tile::FEW) few[l] = part[l];
                                                         else whole[l] = R::Merge::merge(whole[l], (typename R::Total)part[l]);
                                                 });
    if (!Tile::FEW) return merge_lines<Tile::SIDE, typename R::Merge>(whole);
    merge_lines<Tile::SIDE, typename R::Merge>(few);
#pragma unroll
    for (int l = 0; l < LANES; ++l) whole[l] = (typename R::Total)few[l];
}

// What a block has of ROWS rows from `first` on, of slice `slice` of so many of their elements; put(i, whole) by a thread for each
// row of the block, which all threads call. parts: APART * ROWS in shared memory, if there is more than one line apart.
template <class Tile, class X, class S, class Put>
SMELT_DEVICE void column_block(const X &x, const S &slices, Index first, Index slice, Index count, Index rows, Index extent,
                               Folded<typename Tile::R> *parts, const Put &put) {
    typedef typename Tile::R R;
    const int LANES = Tile::LANES, SIDE = Tile::SIDE, APART = Tile::APART, THREADS = Tile::THREADS;
    const int own = (int)threadIdx.x % SIDE, line = (int)threadIdx.x / SIDE;
    const Index row = first + own * LANES;
    typename R::Total own_part[LANES];
    fold_columns<Tile>(x, slices, row < rows, row, slice * Tile::LINES + line, count * Tile::LINES, extent, own_part);
    if constexpr (APART == 1) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) put(own * LANES + l, Folded<R>{own_part[l]});
    } else {
        const int apart = SIDE < 32 ? (int)threadIdx.x / 32 : line;
#pragma unroll
        for (int l = 0; l < LANES; ++l)
            if (SIDE >= 32 || (int)threadIdx.x % 32 < SIDE) parts[(apart * SIDE + own) * LANES + l].value = own_part[l];
        __syncthreads();
#pragma unroll
        for (int round = 0; round < Tile::ROWS; round += THREADS) {
            const int at = round + (int)threadIdx.x;
            Folded<R> whole;
            if (at < Tile::ROWS)
#pragma unroll
                for (int a = 0; a < APART; ++a) combine(whole, parts[a * Tile::ROWS + at]);
            put(at, whole);
        }
    }
}

// SLICES blocks, a cluster, divide the elements of their rows among themselves.
template <class Tile, int SLICES, class X, class S, class E>
SMELT_DEVICE void reduce_columns(const X &x, const S &slices, Index rows, Index extent, const E &epilogue) {
    typedef typename Tile::R R;
    typedef typename R::Total A;
    __shared__ typename Tile::Bytes shared[Tile::APART > 1 ? Tile::APART * Tile::ROWS : 1], slices_shared[SLICES > 1 ? SLICES * Tile::ROWS : 1];
    Folded<R> *const parts = reinterpret_cast<Folded<R> *>(shared);
    const Index group = quotient((Index)blockIdx.x, (Index)SLICES), slice = (Index)blockIdx.x - group * SLICES;
    const Index first = group * Tile::ROWS;
    if constexpr (SLICES > 1) cluster_arrive_relaxed();
    column_block<Tile>(x, slices, first, slice, (Index)SLICES, rows, extent, parts, [&](int at, Folded<R> whole) {
        if constexpr (SLICES > 1) {
            static_assert(Tile::ROWS <= Tile::THREADS, "a thread for each row");
            whole = cluster_combined<SLICES, Tile::ROWS>(reinterpret_cast<Folded<R> *>(slices_shared), whole);
        }
        if (at < Tile::ROWS && slice == 0 && first + at < rows) epilogue(first + at, R::result(whole.value, A(0), (A)extent));
    });
}

// All blocks, which are there together, have a slice of the elements of some rows, so many slices of each; then they meet, and a warp
// finishes a row. totals: [slices, rows], rows in whole blocks of them.
template <class Tile, class X, class S, class E>
SMELT_DEVICE void reduce_columns_met(const X &x, const S &slices, Index rows, Index extent, Index count, typename Tile::R::Total *totals,
                                     const E &epilogue) {
    typedef typename Tile::R R;
    typedef typename R::Total A;
    __shared__ typename Tile::Bytes shared[Tile::APART > 1 ? Tile::APART * Tile::ROWS : 1];
    const Index groups = ceil_div(rows, (Index)Tile::ROWS), stride = groups * Tile::ROWS;
    for (Index part = (Index)blockIdx.x; part < groups * count; part += (Index)gridDim.x) {
        const Index slice = quotient(part, groups), first = (part - slice * groups) * Tile::ROWS;
        column_block<Tile>(x, slices, first, slice, count, rows, extent, reinterpret_cast<Folded<R> *>(shared),
                           [&](int at, const Folded<R> &whole) {
                               if (at < Tile::ROWS) totals[slice * stride + first + at] = whole.value;
                           });
        __syncthreads(); // also in front of the meeting
    }
    if (threadIdx.x == 0) grid_meet();
    __syncthreads();
    const Index WARPS = Tile::THREADS / 32;
    for (Index row = (Index)blockIdx.x * WARPS + (Index)threadIdx.x / 32; row < rows; row += (Index)gridDim.x * WARPS) {
        A total = R::Merge::template start<A>();
#pragma unroll 4
        for (Index slice = (Index)WarpTeam::lane(); slice < count; slice += 32)
            total = R::Merge::merge(total, totals[slice * stride + row]);
        total = WarpTeam::all<typename R::Merge>(total);
        if (WarpTeam::lane() == 0) epilogue(row, R::result(total, A(0), (A)extent));
    }
}

// Each of rows whose elements are neighbours in so many parts, a block for each: parts[row * count + number]. packs: of a row.
template <int LANES, class R, class X, class S>
SMELT_DEVICE void reduce_pack_parts(const X &x, const S &slices, Index packs, Index count, typename R::Total *parts) {
    typedef typename R::Total A;
    const Index row = quotient((Index)blockIdx.x, count), number = (Index)blockIdx.x - row * count, length = ceil_div(packs, count);
    const Index base = slices.base(row), first = number * length + (Index)threadIdx.x, last = smaller((number + 1) * length, packs);
    A total = R::Merge::template start<A>();
    fold_packs<LANES, 8, false, R>(x, first, (Index)BlockTeam::size, last, [&](Index p) { return base + p * LANES; },
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
