// Matrix products in tiles: each block computes a tile of the result from tiles of both operands in shared memory.
//
// An operand is a set of lines along the depth (rows of the left matrix, columns of the right one), given by an object with
//     struct Line             what is known of a line beforehand
//     Line line(Index i)      any i >= 0
//     A at(Line, Index k)     the element at depth k, 0 past the ends
// so that the same product serves matrices, windows of images and whatever else can be read this way.
#ifndef SMELT_PRODUCT_CUH
#define SMELT_PRODUCT_CUH

#include "smelt/core.cuh"

namespace smelt {

// A tile of ROWS x COLS results, DEPTH deep; each thread has HEIGHT x WIDTH of them, multiples of 4.
template <int ROWS, int COLS, int DEPTH, int HEIGHT, int WIDTH> struct Tile {
    static const int rows = ROWS, cols = COLS, depth = DEPTH, height = HEIGHT, width = WIDTH;
    static const int threads = (ROWS / HEIGHT) * (COLS / WIDTH);
};

// What one thread moves of a tile of LINES x DEPTH elements. ALONG: neighbouring threads read along the depth, else
// across lines.
template <class A, class Lines, bool ALONG, int LINES, int DEPTH, int THREADS> struct TilePart {
    static const int count = LINES * DEPTH / THREADS;
    static_assert(count * THREADS == LINES * DEPTH && count > 0, "a tile divides among the threads");
    typename Lines::Line line[count];
    A value[count];

    static SMELT_DEVICE int line_of(int i) {
        const int e = (int)threadIdx.x + i * THREADS;
        return ALONG ? e / DEPTH : e % LINES;
    }
    static SMELT_DEVICE int depth_of(int i) {
        const int e = (int)threadIdx.x + i * THREADS;
        return ALONG ? e % DEPTH : e / LINES;
    }
    SMELT_DEVICE void begin(const Lines &lines, Index first) {
#pragma unroll
        for (int i = 0; i < count; ++i) line[i] = lines.line(first + line_of(i));
    }
    SMELT_DEVICE void read(const Lines &lines, Index k) {
#pragma unroll
        for (int i = 0; i < count; ++i) value[i] = lines.at(line[i], k + depth_of(i));
    }
    template <class Row> SMELT_DEVICE void write(Row *to) const {
#pragma unroll
        for (int i = 0; i < count; ++i) to[depth_of(i)][line_of(i)] = value[i];
    }
};

// Where a thread's results of a tile are: its result (i, j) is that of row row(i) and column col(j).
template <class T> struct TileThread {
    const int top, left;
    SMELT_DEVICE TileThread()
        : top((int)threadIdx.x / (T::cols / T::width) * 4), left((int)threadIdx.x % (T::cols / T::width) * 4) {}
    SMELT_DEVICE int row(int i) const { return i / 4 * 4 * (T::rows / T::height) + top + i % 4; }
    SMELT_DEVICE int col(int j) const { return j / 4 * 4 * (T::cols / T::width) + left + j % 4; }
};

// The tile whose first result is at (row, col), summed over depths [begin, end); begin is a multiple of the tile's depth, and
// so is end unless it is the whole depth. All threads of the block take part.
template <class A, class T, bool ROWS_ALONG, bool COLS_ALONG, class Rows, class Cols>
SMELT_DEVICE void sum_tile(const Rows &rows, const Cols &cols, Index begin, Index end, Index row, Index col,
                           A (&sum)[T::height][T::width]) {
    const int PADDING = 4; // against bank conflicts; keeps packs of 4 aligned
    typedef Pack<A, 4> Four;
    struct alignas(sizeof(Four)) Shared {
        A a[T::depth][T::rows + PADDING], b[T::depth][T::cols + PADDING];
    };
    __shared__ Shared shared;
    TilePart<A, Rows, ROWS_ALONG, T::rows, T::depth, T::threads> a;
    TilePart<A, Cols, COLS_ALONG, T::cols, T::depth, T::threads> b;
    const TileThread<T> own;
#pragma unroll
    for (int i = 0; i < T::height; ++i)
#pragma unroll
        for (int j = 0; j < T::width; ++j) sum[i][j] = A(0);
    a.begin(rows, row);
    b.begin(cols, col);
    a.read(rows, begin);
    b.read(cols, begin);
    for (Index k = begin; k < end; k += T::depth) {
        __syncthreads();
        a.write(shared.a);
        b.write(shared.b);
        __syncthreads();
        if (k + T::depth < end) {
            a.read(rows, k + T::depth);
            b.read(cols, k + T::depth);
        }
#pragma unroll
        for (int d = 0; d < T::depth; ++d) {
            A x[T::height], y[T::width];
#pragma unroll
            for (int i = 0; i < T::height; i += 4) {
                const Four four = *(const Four *)&shared.a[d][i * (T::rows / T::height) + own.top];
#pragma unroll
                for (int n = 0; n < 4; ++n) x[i + n] = four.at[n];
            }
#pragma unroll
            for (int j = 0; j < T::width; j += 4) {
                const Four four = *(const Four *)&shared.b[d][j * (T::cols / T::width) + own.left];
#pragma unroll
                for (int n = 0; n < 4; ++n) y[j + n] = four.at[n];
            }
#pragma unroll
            for (int i = 0; i < T::height; ++i)
#pragma unroll
                for (int j = 0; j < T::width; ++j) sum[i][j] += x[i] * y[j];
        }
    }
}

// The same; calls store(row, col, sum) for each of the tile's places, also those past the ends.
template <class A, class T, bool ROWS_ALONG, bool COLS_ALONG, class Rows, class Cols, class Store>
SMELT_DEVICE void multiply_tile(const Rows &rows, const Cols &cols, Index begin, Index end, Index row, Index col,
                                const Store &store) {
    const TileThread<T> own;
    A sum[T::height][T::width];
    sum_tile<A, T, ROWS_ALONG, COLS_ALONG>(rows, cols, begin, end, row, col, sum);
#pragma unroll
    for (int i = 0; i < T::height; ++i)
#pragma unroll
        for (int j = 0; j < T::width; ++j) store(row + own.row(i), col + own.col(j), sum[i][j]);
}

// The first row and column of the tile that block blockIdx.x computes, rows first.
template <class T> struct BlockTile {
    Index row, col;
    explicit SMELT_DEVICE BlockTile(Index row_count) {
        const Index tiles = ceil_div(row_count, (Index)T::rows), tile = (Index)blockIdx.x, across = quotient(tile, tiles);
        row = (tile - across * tiles) * T::rows;
        col = across * T::cols;
    }
};

template <class A, class T, bool ROWS_ALONG, bool COLS_ALONG, class Rows, class Cols, class Store>
SMELT_DEVICE void multiply_range(Index row_count, const Rows &rows, const Cols &cols, Index begin, Index end,
                                 const Store &store) {
    const BlockTile<T> tile(row_count);
    multiply_tile<A, T, ROWS_ALONG, COLS_ALONG>(rows, cols, begin, end, tile.row, tile.col, store);
}

template <class A, class T, bool ROWS_ALONG, bool COLS_ALONG, class Rows, class Cols, class Store>
SMELT_DEVICE void multiply(Index row_count, const Rows &rows, const Cols &cols, Index depth, const Store &store) {
    multiply_range<A, T, ROWS_ALONG, COLS_ALONG>(row_count, rows, cols, 0, depth, store);
}

// -- long sums of few results: slices of the depth in blocks of their own, added up by another kernel --

// Sums of slice blockIdx.z of product `batch`: [slices, batches, rows, cols].
template <class A> struct SliceStore {
    A *to;
    Index rows, cols;
    SMELT_DEVICE void operator()(Index row, Index col, A sum) const {
        if (row < rows && col < cols) to[row * cols + col] = sum;
    }
};

// One of the gridDim.z slices, each slice_depth deep, a multiple of the tile's depth.
template <class A, class T, bool ROWS_ALONG, bool COLS_ALONG, class Rows, class Cols>
SMELT_DEVICE void multiply_slice(Index row_count, Index col_count, const Rows &rows, const Cols &cols, Index depth,
                                 Index slice_depth, Index batch, Index batches, A *sums) {
    const Index begin = (Index)blockIdx.z * slice_depth, end = smaller(begin + slice_depth, depth);
    const SliceStore<A> store{sums + ((Index)blockIdx.z * batches + batch) * row_count * col_count, row_count, col_count};
    multiply_range<A, T, ROWS_ALONG, COLS_ALONG>(row_count, rows, cols, begin, end, store);
}

// make_store(batch) gives the object that stores the results of that product.
template <class A, class MakeStore>
SMELT_DEVICE void add_slices(const A *sums, int slices, Index batches, Index rows, Index cols, const MakeStore &make_store) {
    const Index size = rows * cols, count = batches * size;
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index batch = quotient(i, size), at = i - batch * size, row = quotient(at, cols);
        A sum = sums[i];
        for (int slice = 1; slice < slices; ++slice) sum += sums[slice * count + i];
        make_store(batch)(row, at - row * cols, sum);
    }
}

// Up to ROWS rows: a block of SLICES x 32 threads computes 32 columns of them. COLS_ALONG: the 32 lanes divide the depth and
// every slice has columns of its own, else every lane has a column and the slices divide the depth.
template <class A, int ROWS, int SLICES, bool COLS_ALONG, class Rows, class Cols, class Store>
SMELT_DEVICE void multiply_few(const Rows &rows, const Cols &cols, Index depth, const Store &store) {
    const Index col = (Index)blockIdx.x * 32;
    const int lane = (int)threadIdx.x % 32, slice = (int)threadIdx.x / 32;
    __shared__ A part[SLICES][ROWS][33];
    typename Rows::Line line[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; ++i) line[i] = rows.line(i);
    const int step = COLS_ALONG ? 32 : SLICES;
    for (int pass = 0; pass < (COLS_ALONG ? 32 / SLICES : 1); ++pass) {
        const Index own = col + (COLS_ALONG ? pass * SLICES + slice : lane);
        const typename Cols::Line column = cols.line(own);
        A sum[ROWS];
#pragma unroll
        for (int i = 0; i < ROWS; ++i) sum[i] = A(0);
#pragma unroll 4
        for (Index k = COLS_ALONG ? lane : slice; k < depth; k += step) {
            const A y = cols.at(column, k);
#pragma unroll
            for (int i = 0; i < ROWS; ++i) sum[i] += rows.at(line[i], k) * y;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < ROWS; ++i) part[slice][i][lane] = sum[i];
        __syncthreads();
        const int count = COLS_ALONG ? SLICES : 32, terms = COLS_ALONG ? 32 : SLICES;
        for (int e = (int)threadIdx.x; e < ROWS * count; e += 32 * SLICES) {
            const int i = e / count, j = e % count;
            A total = A(0);
            for (int n = 0; n < terms; ++n) total += COLS_ALONG ? part[j][i][n] : part[n][i][j];
            store(i, col + (COLS_ALONG ? pass * SLICES + j : j), total);
        }
    }
}

} // namespace smelt

#endif
