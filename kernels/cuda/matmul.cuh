// Matrices in memory as operands of products, and what becomes of the sums.
#ifndef SMELT_MATMUL_CUH
#define SMELT_MATMUL_CUH

#include "smelt/normalize.cuh"
#include "smelt/product.cuh"
#include "smelt/team.cuh"
#include "smelt/window.cuh"

namespace smelt {

// N elements one behind the other, from a multiple of N on; they may be computed.
template <int N, class A, class T> SMELT_DEVICE void load_lanes(const T *p, Index i, A (&out)[N]) {
    const Pack<T, N> pack = load_pack<N>(p, i);
#pragma unroll
    for (int n = 0; n < N; ++n) out[n] = convert<A>(fetch(pack.at[n]));
}
template <int N, class A, class X, class = typename X::Element> SMELT_DEVICE void load_lanes(const X &x, Index i, A (&out)[N]) {
#pragma unroll
    for (int n = 0; n < N; ++n) out[n] = load_as<A>(x, i + n);
}

// Lines of a matrix (rows of the left operand, columns of the right one): element k of line i is at
// first + i * line_stride + k * step of X, a pointer or elements that are computed.
template <class A, class X, class Zero> struct MatrixLines {
    X p;
    Index first, lines, depth, line_stride, step;
    Zero zero;
    struct Line { Index base; A zero; bool is_inside; };
    SMELT_DEVICE Line line(Index i) const {
        if (i >= lines) return Line{0, A(0), false};
        return Line{first + i * line_stride, zero.template of<A>(i), true};
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        return l.is_inside && k < depth ? load_as<A>(p, l.base + k * step) - l.zero : A(0);
    }
    // Elements k to k + N of a line that lie one behind the other, and without a zero point.
    template <int N> SMELT_DEVICE void pack(const Line &l, Index k, A (&out)[N]) const { load_lanes<N>(p, l.base + k, out); }
};

template <class A, class X, class Zero>
SMELT_DEVICE MatrixLines<A, X, Zero> matrix_lines(X p, Index first, Index lines, Index depth, Index line_stride, Index step,
                                                  const Zero &zero) {
    return MatrixLines<A, X, Zero>{p, first, lines, depth, line_stride, step, zero};
}

// -- lines that are normalised as they are read --

// Of COUNT lines from `first` on: what is taken off, and what the deviation is multiplied with.
template <class A, int COUNT> struct LineMoments { A high[COUNT], low[COUNT], inverse[COUNT]; };

// Finish, generated:
//     V inverse(V variance)              what deviations are multiplied with
//     A value(Index k, A normalized)     element k of a line
template <class A, int COUNT, class Lines, class Finish> struct NormalizedLines {
    const Lines &own;
    const LineMoments<A, COUNT> &moments; // in shared memory
    const Finish &finish;
    Index first, lines, depth;
    struct Line { typename Lines::Line own; A high, low, inverse; };
    SMELT_DEVICE Line line(Index i) const {
        const int n = (int)(i - first);
        return Line{own.line(i), moments.high[n], moments.low[n], moments.inverse[n]};
    }
    SMELT_DEVICE A normalized(const Line &l, Index k, A x) const {
        return finish.value(k, ((x - l.high) - l.low) * l.inverse);
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        return l.own.is_inside && k < depth ? normalized(l, k, own.at(l.own, k)) : A(0);
    }
    template <int N> SMELT_DEVICE void pack(const Line &l, Index k, A (&out)[N]) const {
        own.template pack<N>(l.own, k, out);
#pragma unroll
        for (int n = 0; n < N; ++n) out[n] = normalized(l, k + n, out[n]);
    }
};

// Lines [first, first + COUNT), normalised: the block finds their moments, a warp those of each line in turn, whole and in the
// same order every time. moments: shared. All threads of the block take part.
template <bool CENTERED, class A, int COUNT, class Lines, class Finish>
SMELT_DEVICE NormalizedLines<A, COUNT, Lines, Finish> normalized_lines(const Lines &lines, Index first, const Finish &finish,
                                                                       LineMoments<A, COUNT> &moments) {
    for (int n = (int)threadIdx.x / 32; n < COUNT; n += (int)blockDim.x / 32) {
        const typename Lines::Line line = lines.line(first + n);
        double mean = 0;
        if (CENTERED)
            mean = fold<WarpTeam, Sum, A, double>(0, lines.depth, [&](Index k) { return lines.at(line, k); }) /
                   (double)lines.depth;
        const Center<A> center(mean);
        const double squares = fold<WarpTeam, Sum, A, double>(
            0, lines.depth, [&](Index k) { return math::square(center.of(lines.at(line, k))); });
        if (threadIdx.x % 32 != 0) continue;
        moments.high[n] = center.high;
        moments.low[n] = center.low;
        moments.inverse[n] = (A)finish.inverse(squares / (double)lines.depth);
    }
    __syncthreads();
    return NormalizedLines<A, COUNT, Lines, Finish>{lines, moments, finish, first, lines.lines, lines.depth};
}

struct PlainProduct {
    template <class A> SMELT_DEVICE A operator()(Index, Index, A sum) const { return sum; }
};

// alpha * sum + beta * c, where c is NULL or is read with these strides.
template <class S, class C> struct ScaledProduct {
    S alpha, beta;
    const C *c;
    Index row_stride, col_stride;
    template <class A> SMELT_DEVICE S operator()(Index row, Index col, A sum) const {
        const S product = alpha * (S)sum;
        return c == nullptr ? product : product + beta * load_as<S>(c, row * row_stride + col * col_stride);
    }
};

// A sum of products of quantized numbers as a quantized number; ROUND: to an integer. Steps are 1 for a scale of each row
// or column.
template <bool ROUND, class AS, class BS, class YS, class Z> struct RequantizedProduct {
    const AS *a_scale;
    Index a_step;
    const BS *b_scale;
    Index b_step;
    const YS *y_scale;
    const Z *y_zero;
    template <class A> SMELT_DEVICE double operator()(Index row, Index col, A sum) const {
        const double scale = load_as<double>(a_scale, row * a_step) / load_as<double>(y_scale, 0) *
                             load_as<double>(b_scale, col * b_step);
        const double value = (double)sum * scale;
        return (ROUND ? ::rint(value) : value) + load_as<double>(y_zero, 0);
    }
};

// Results of product number `batch`.
template <class Finish, class E> struct MatrixStore {
    Index first, rows, cols;
    Finish finish;
    E epilogue;
    template <class A> SMELT_DEVICE void operator()(Index row, Index col, A sum) const {
        if (row < rows && col < cols) epilogue(first + row * cols + col, finish(row, col, sum));
    }
};

template <class Finish, class E>
SMELT_DEVICE MatrixStore<Finish, E> matrix_store(Index batch, Index rows, Index cols, const Finish &finish, const E &epilogue) {
    return MatrixStore<Finish, E>{batch * rows * cols, rows, cols, finish, epilogue};
}

template <class Finish, class E> struct MakeMatrixStore {
    Index rows, cols;
    Finish finish;
    E epilogue;
    SMELT_DEVICE MatrixStore<Finish, E> operator()(Index batch) const {
        return matrix_store(batch, rows, cols, finish, epilogue);
    }
};

template <class Finish, class E>
SMELT_DEVICE MakeMatrixStore<Finish, E> make_matrix_store(Index rows, Index cols, const Finish &finish, const E &epilogue) {
    return MakeMatrixStore<Finish, E>{rows, cols, finish, epilogue};
}

// Up to ROWS rows of which all lines lie along memory, packs of N elements: each warp reads one column at a time, and once,
// with its lanes side by side; for products whose time is that of reading the right matrix.
template <class A, int ROWS, int N, class Rows, class Cols, class Store>
SMELT_DEVICE void multiply_lines(const Rows &rows, const Cols &cols, const Store &store) {
    const Index warps = (Index)blockDim.x / 32, lane = (Index)threadIdx.x % 32;
    const Index col = (Index)blockIdx.x * warps + (Index)threadIdx.x / 32;
    A sum[ROWS];
    typename Rows::Line line[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        sum[r] = A(0);
        line[r] = rows.line(r);
    }
    if (col < cols.lines) {
        const typename Cols::Line column = cols.line(col);
#pragma unroll 4
        for (Index k = lane * N; k < cols.depth; k += 32 * N) {
            A x[N], y[N];
            cols.template pack<N>(column, k, y);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                if (r >= rows.lines) continue;
                rows.template pack<N>(line[r], k, x);
#pragma unroll
                for (int n = 0; n < N; ++n) sum[r] += x[n] * y[n];
            }
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
        for (int mask = 16; mask > 0; mask /= 2) sum[r] += shuffled(sum[r], mask);
    if (lane == 0)
        for (int r = 0; r < ROWS; ++r) store(r, col, sum[r]);
}

// Number of the product that this block works on; it may be past the last.
SMELT_DEVICE Index batch_index() { return (Index)blockIdx.z * (Index)gridDim.y + (Index)blockIdx.y; }

} // namespace smelt

#endif
