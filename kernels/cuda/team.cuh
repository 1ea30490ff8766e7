// Threads that work on one row together: how rows are dealt out, and how the threads merge what each of them has.
//
// A block has 256 threads. All of a team's threads, and all teams of a block, take the same way through the loop
//     for (Index row = Team::first(); Team::goes_on(row, rows); row += Team::step())
// in which rows past the end may occur: their threads take part in all(), but must write nothing.
#ifndef SMELT_TEAM_CUH
#define SMELT_TEAM_CUH

#include "smelt/core.cuh"

namespace smelt {

// -- values that go from thread to thread --

// The element that goes first by its key, and where it is.
template <class K> struct Best { K key; Index at; };

template <class A> SMELT_DEVICE A shuffled(A x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
template <class K> SMELT_DEVICE Best<K> shuffled(const Best<K> &x, int mask) {
    return Best<K>{shuffled(x.key, mask), shuffled(x.at, mask)};
}

// -- ways to merge --

SMELT_DEVICE float add(float a, float b) { return a + b; }
SMELT_DEVICE double add(double a, double b) { return a + b; }
SMELT_DEVICE u64 add(u64 a, u64 b) { return a + b; }
SMELT_DEVICE i64 add(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
SMELT_DEVICE float multiply(float a, float b) { return a * b; }
SMELT_DEVICE double multiply(double a, double b) { return a * b; }
SMELT_DEVICE u64 multiply(u64 a, u64 b) { return a * b; }
SMELT_DEVICE i64 multiply(i64 a, i64 b) { return (i64)((u64)a * (u64)b); }

// The limits of elements of type E in the type A that they are computed in.
template <class E, class A> SMELT_DEVICE A lowest_of() {
    if constexpr (IsFloat<A>::value) return lowest<A>();
    else if constexpr ((A)-1 < (A)0) return -(A)(1ull << (sizeof(E) * 8 - 2)) * 2;
    else return 0;
}
template <class E, class A> SMELT_DEVICE A highest_of() {
    if constexpr (IsFloat<A>::value) return highest<A>();
    else if constexpr ((A)-1 < (A)0) return (A)((1ull << (sizeof(E) * 8 - 1)) - 1);
    else return (A)(~0ull >> (64 - sizeof(E) * 8));
}

struct Sum {
    template <class A> static SMELT_DEVICE A start() { return A(0); }
    template <class A> static SMELT_DEVICE A merge(A a, A b) { return add(a, b); }
};
struct Product {
    template <class A> static SMELT_DEVICE A start() { return A(1); }
    template <class A> static SMELT_DEVICE A merge(A a, A b) { return multiply(a, b); }
};
// NaN when either is NaN.
template <class E> struct Largest {
    template <class A> static SMELT_DEVICE A start() { return lowest_of<E, A>(); }
    template <class A> static SMELT_DEVICE A merge(A a, A b) { return a > b || a != a ? a : b; }
    static SMELT_DEVICE float merge(float a, float b) { return larger_or_nan(a, b); }
};
template <class E> struct Smallest {
    template <class A> static SMELT_DEVICE A start() { return highest_of<E, A>(); }
    template <class A> static SMELT_DEVICE A merge(A a, A b) { return a < b || a != a ? a : b; }
    static SMELT_DEVICE float merge(float a, float b) { return -larger_or_nan(-a, -b); }
};
// Without regard to NaN.
struct LargestNumber {
    template <class A> static SMELT_DEVICE A start() { return lowest<A>(); }
    template <class A> static SMELT_DEVICE A merge(A a, A b) { return b > a ? b : a; }
    static SMELT_DEVICE float merge(float a, float b) { return ::fmaxf(a, b); }
};
// Among equal keys the lower place, or the higher.
template <bool LAST> struct First {
    template <class B> static SMELT_DEVICE B merge(const B &a, const B &b) {
        const bool tie = LAST ? b.at > a.at : b.at < a.at;
        return b.key > a.key || (b.key == a.key && tie) ? b : a;
    }
};

// -- teams --

struct ThreadTeam {
    static const int size = 1;
    static SMELT_DEVICE int lane() { return 0; }
    static SMELT_DEVICE Index first() { return thread_index(); }
    static SMELT_DEVICE Index step() { return thread_count(); }
    static SMELT_DEVICE bool goes_on(Index row, Index rows) { return row < rows; }
    template <class Merge, class A> static SMELT_DEVICE A all(const A &a) { return a; }
};

struct WarpTeam {
    static const int size = 32;
    static SMELT_DEVICE int lane() { return (int)threadIdx.x % 32; }
    static SMELT_DEVICE Index first() { return thread_index() / 32; }
    static SMELT_DEVICE Index step() { return thread_count() / 32; }
    static SMELT_DEVICE bool goes_on(Index row, Index rows) { return row < rows; }
    template <class Merge, class A> static SMELT_DEVICE A all(A a) {
#pragma unroll
        for (int mask = 16; mask > 0; mask /= 2) a = Merge::merge(a, shuffled(a, mask));
        return a;
    }
};

struct BlockTeam {
    static const int size = 256;
    static SMELT_DEVICE int lane() { return (int)threadIdx.x; }
    static SMELT_DEVICE Index first() { return (Index)blockIdx.x; }
    static SMELT_DEVICE Index step() { return (Index)gridDim.x; }
    static SMELT_DEVICE bool goes_on(Index row, Index rows) { return row < rows; }
    template <class Merge, class A> static SMELT_DEVICE A all(A a) {
        __shared__ A part[size / 32];
        a = WarpTeam::all<Merge>(a);
        __syncthreads(); // the threads may still read what the last call left
        if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = a;
        __syncthreads();
        a = part[0];
#pragma unroll
        for (int i = 1; i < size / 32; ++i) a = Merge::merge(a, part[i]);
        return a;
    }
};

// SIZE threads for a row, part of a warp or whole ones; ROWS rows in a block of SIZE * ROWS threads.
template <int SIZE, int ROWS> struct LineTeam {
    static_assert(SIZE < 32 ? (SIZE & (SIZE - 1)) == 0 : SIZE % 32 == 0, "parts of a warp, or warps");
    static const int size = SIZE, WARPS = SIZE / 32;
    static const bool ALONE = WARPS == 1 || ROWS == 1; // nobody waits for threads of another row
    static SMELT_DEVICE int lane() { return (int)threadIdx.x % SIZE; }
    static SMELT_DEVICE Index first() { return (Index)blockIdx.x * ROWS + (Index)threadIdx.x / SIZE; }
    static SMELT_DEVICE Index step() { return (Index)gridDim.x * ROWS; }
    // For all rows whose threads wait for one another.
    static SMELT_DEVICE bool goes_on(Index row, Index rows) {
        return row - (ALONE ? 0 : SIZE < 32 ? (Index)threadIdx.x % 32 / SIZE : (Index)threadIdx.x / SIZE) < rows;
    }
    // Packs of a row, of which rows past the end have none.
    static SMELT_DEVICE int packs_of(Index row, Index rows, int packs) { return ALONE || row < rows ? packs : 0; }
    // Of the first thread of the row, all of whose threads are in one warp.
    static SMELT_DEVICE float of_first(float x) { return __shfl_sync(0xffffffffu, x, (int)threadIdx.x % 32 / SIZE * SIZE); }
    template <class Merge, class A> static SMELT_DEVICE A all(A a) {
#pragma unroll
        for (int mask = SIZE < 32 ? SIZE / 2 : 16; mask > 0; mask /= 2) a = Merge::merge(a, shuffled(a, mask));
        if constexpr (WARPS > 1) {
            __shared__ A part[ROWS][WARPS];
            const int row = (int)threadIdx.x / SIZE;
            __syncthreads(); // the threads may still read what the last call left
            if (threadIdx.x % 32 == 0) part[row][(int)threadIdx.x % SIZE / 32] = a;
            __syncthreads();
            a = part[row][0];
#pragma unroll
            for (int i = 1; i < WARPS; ++i) a = Merge::merge(a, part[row][i]);
        }
        return a;
    }
};

// 32 neighbouring rows in each block, which neighbouring threads read side by side.
struct ColumnTeam {
    static const int size = 8;
    static SMELT_DEVICE int lane() { return (int)threadIdx.x / 32; }
    static SMELT_DEVICE Index first() { return (Index)blockIdx.x * 32 + (Index)threadIdx.x % 32; }
    static SMELT_DEVICE Index step() { return (Index)gridDim.x * 32; }
    static SMELT_DEVICE bool goes_on(Index row, Index rows) { return row - (Index)threadIdx.x % 32 < rows; }
    template <class Merge, class A> static SMELT_DEVICE A all(const A &own) {
        __shared__ A part[size][32];
        const int column = (int)threadIdx.x % 32;
        __syncthreads();
        part[lane()][column] = own;
        __syncthreads();
        A a = part[0][column];
#pragma unroll
        for (int i = 1; i < size; ++i) a = Merge::merge(a, part[i][column]);
        return a;
    }
};

// An element that is read for the first time, by the thread that has its row; rows past the end, which are another's, are read
// as zeros.
template <class A, class X> SMELT_DEVICE A load_first_of_row(const X &x, Index i, Index row, Index rows) {
    return row < rows ? load_first<A>(x, i) : A(0);
}

// -- sums in few roundings --

// Calls value(k) for the team's k in [first, last) and merges what it returns, in runs of the type N that are merged as A:
// long sums lose no more to rounding than short ones. All threads of the team get the result.
template <class Team, class Merge, class N, class A, class Value>
SMELT_DEVICE A fold(Index first, Index last, const Value &value) {
    const int RUN = 16;
    A total = Merge::template start<A>();
    for (Index k = first + Team::lane(); k < last; k += Team::size * RUN) {
        N part = Merge::template start<N>();
#pragma unroll
        for (int j = 0; j < RUN; ++j)
            if (k + j * Team::size < last) part = Merge::merge(part, (N)value(k + j * Team::size));
        total = Merge::merge(total, (A)part);
    }
    return Team::template all<Merge>(total);
}

} // namespace smelt

#endif
