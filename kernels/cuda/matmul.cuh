// Matrices in memory as operands of products, and what becomes of the sums.
#ifndef SMELT_MATMUL_CUH
#define SMELT_MATMUL_CUH

#include "smelt/product.cuh"
#include "smelt/team.cuh"
#include "smelt/window.cuh"

namespace smelt {

// Lines of a matrix (rows of the left operand, columns of the right one): element k of line i is at
// i * line_stride + k * step.
template <class A, class T, class Zero> struct MatrixLines {
    const T *p;
    Index lines, depth, line_stride, step;
    Zero zero;
    struct Line { Index base; A zero; bool is_inside; };
    SMELT_DEVICE Line line(Index i) const {
        if (i >= lines) return Line{0, A(0), false};
        return Line{i * line_stride, zero.template of<A>(i), true};
    }
    SMELT_DEVICE A at(const Line &l, Index k) const {
        return l.is_inside && k < depth ? load_as<A>(p, l.base + k * step) - l.zero : A(0);
    }
};

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
#pragma unroll
    for (int r = 0; r < ROWS; ++r) sum[r] = A(0);
    if (col < cols.lines) {
#pragma unroll 4
        for (Index k = lane * N; k < cols.depth; k += 32 * N) {
            const auto y = load_pack<N>(cols.p, col * cols.line_stride + k);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                if (r >= rows.lines) continue;
                const auto x = load_pack<N>(rows.p, r * rows.line_stride + k);
#pragma unroll
                for (int n = 0; n < N; ++n) sum[r] += convert<A>(fetch(x.at[n])) * convert<A>(fetch(y.at[n]));
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
