// What becomes of a product's sums, as matrix units leave them in the registers of a warp: of each 8 columns, four neighbouring
// threads have 2 neighbouring ones each. They are finished, numbered and handed to the epilogue, 8 columns at a time.
#ifndef SMELT_SUMS_CUH
#define SMELT_SUMS_CUH

#include "smelt/core.cuh"

namespace smelt {

// The tiles of a batch of products, counted so that those under way at one time share rows and columns.
struct ProductTiles {
    Index rows, cols, batch; // in tiles
    static const int height = 8;
    SMELT_DEVICE Index count() const { return rows * cols * batch; }
    SMELT_DEVICE void find(Index tile, Index &row, Index &col, Index &matrix) const {
        const Index each = rows * cols;
        matrix = quotient(tile, each);
        tile = residue(tile, each);
        const Index band = quotient(tile, height * cols), inside = residue(tile, height * cols);
        const Index lines = smaller((Index)height, rows - band * height);
        row = band * height + residue(inside, lines);
        col = quotient(inside, lines);
    }
};

// Four neighbouring threads have 2 neighbouring columns each of 4 groups of 8; afterwards each has one group whole.
SMELT_DEVICE void gather_columns(const float (&from)[8], float (&to)[8]) {
    const bool high = threadIdx.x & 2, odd = threadIdx.x & 1;
    float half[8]; // groups 2 high and 2 high + 1: [group][thread pair][element]
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float kept = high ? from[4 + i] : from[i], given = high ? from[i] : from[4 + i];
        const float taken = __shfl_xor_sync(0xffffffffu, given, 2);
        half[i / 2 * 4 + i % 2] = high ? taken : kept;
        half[i / 2 * 4 + 2 + i % 2] = high ? kept : taken;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float kept = odd ? half[4 + i] : half[i], given = odd ? half[i] : half[4 + i];
        const float taken = __shfl_xor_sync(0xffffffffu, given, 1);
        to[i / 2 * 4 + i % 2] = odd ? taken : kept;
        to[i / 2 * 4 + 2 + i % 2] = odd ? kept : taken;
    }
}

// -- results --

// What is added to the sums of a column, from a vector with an element for each: alpha * sum + beta * c; c may be nullptr.
// PACKED: the vector has a multiple of 8.
template <class C, bool PACKED> struct SumScale {
    float alpha, beta;
    const C *c;
    Index cols;
    struct Column { Pack<C, 8> at; };
    SMELT_DEVICE void fetch_column(Index col, Column &column) const {
        if (c == nullptr) return;
        if (PACKED) {
            if (col < cols) column.at = load_pack<8>(c, col);
        } else {
#pragma unroll
            for (int k = 0; k < 8; ++k)
                if (col + k < cols) column.at.at[k] = c[col + k];
        }
    }
    SMELT_DEVICE float apply(float sum, const Column &column, int k) const {
        return c == nullptr ? alpha * sum : alpha * sum + beta * fetch(column.at.at[k]);
    }
};

// Numbers of a result's elements: rows one behind the other, or planes of `pixels` rows for each column; and which of the
// columns that Finish knows one of a matrix is.
struct SumRows {
    Index rows, cols;
    SMELT_DEVICE Index column(Index col, Index) const { return col; }
    SMELT_DEVICE Index number(Index row, Index col, Index matrix) const { return (matrix * rows + row) * cols + col; }
};
struct SumPlanes {
    Index rows, cols, pixels;
    SMELT_DEVICE Index column(Index col, Index) const { return col; }
    SMELT_DEVICE Index number(Index row, Index col, Index) const {
        const Index image = quotient(row, pixels);
        return (image * cols + col) * pixels + (row - image * pixels);
    }
};
// Matrices are groups of `cols` columns of one result.
template <class All> struct SumGroups {
    All all;
    Index rows, cols;
    SMELT_DEVICE Index column(Index col, Index matrix) const { return matrix * cols + col; }
    SMELT_DEVICE Index number(Index row, Index col, Index matrix) const { return all.number(row, column(col, matrix), 0); }
};
template <class All> SMELT_DEVICE SumGroups<All> sum_groups(const All &all, Index cols) { return {all, all.rows, cols}; }
// Numbers of a channels-last result's elements: rows are the places of the input, slowest axis first, columns the channels of
// each tap. Every element belongs to one of them.
template <int AXES> struct SumTaps {
    Index rows, cols, channels;
    Index in[AXES];
    int kernel[AXES];
    SMELT_DEVICE Index column(Index col, Index) const { return residue(col, channels); }
    SMELT_DEVICE Index number(Index row, Index col, Index) const {
        Index tap = quotient(col, channels), place = 0, extent = 1;
        const Index channel = col - tap * channels;
#pragma unroll
        for (int i = AXES - 1; i >= 0; --i) {
            place += (residue(row, in[i]) * kernel[i] + residue(tap, (Index)kernel[i])) * extent;
            extent *= in[i] * kernel[i];
            row = quotient(row, in[i]);
            tap = quotient(tap, (Index)kernel[i]);
        }
        return (row * extent + place) * channels + channel;
    }
};

// Finishes sums and passes them to the epilogue, 8 neighbouring columns of a row at a time or each for itself.
template <class Numbers, class Finish, class Epilogue> struct SumStore {
    typedef typename Finish::Column Column;
    typedef typename Epilogue::Operands Operands;
    Numbers numbers;
    Finish finish;
    Epilogue epilogue;
    SMELT_DEVICE void fetch_column(Index col, Index matrix, Column &column) const {
        if (col < numbers.cols) finish.fetch_column(numbers.column(col, matrix), column);
    }
    SMELT_DEVICE void fetch(Index row, Index col, Index matrix, Operands &operands) const {
        if (Epilogue::lanes == 8 && row < numbers.rows && col < numbers.cols)
            epilogue.read(numbers.number(row, col, matrix), operands);
    }
    // To L2, long before it is fetched.
    SMELT_DEVICE void prefetch(Index row, Index col, Index matrix) const {
        if (Epilogue::lanes == 8 && row < numbers.rows && col < numbers.cols)
            epilogue.prefetch(numbers.number(row, col, matrix));
    }
    SMELT_DEVICE void apply(const float (&sums)[8], const Column &column, float (&x)[8]) const {
#pragma unroll
        for (int k = 0; k < 8; ++k) x[k] = finish.apply(sums[k], column, k);
    }
    SMELT_DEVICE void put(Index row, Index col, Index matrix, const float (&sums)[8], const Column &column,
                          const Operands &operands) const {
        float x[8];
        apply(sums, column, x);
        write(row, col, matrix, x, operands);
    }
    // What apply has made of the sums.
    SMELT_DEVICE void write(Index row, Index col, Index matrix, const float (&x)[8], const Operands &operands) const {
        if (row >= numbers.rows || col >= numbers.cols) return;
        if constexpr (Epilogue::lanes == 8) {
            epilogue.write(numbers.number(row, col, matrix), x, operands);
        } else {
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                if (col + k >= numbers.cols) return;
                const float one[1] = {x[k]};
                Operands own;
                const Index i = numbers.number(row, col + k, matrix);
                epilogue.read(i, own);
                epilogue.write(i, one, own);
            }
        }
    }
};
template <class Numbers, class Finish, class Epilogue>
SMELT_DEVICE SumStore<Numbers, Finish, Epilogue> store_sums(const Numbers &numbers, const Finish &finish,
                                                            const Epilogue &epilogue) {
    return {numbers, finish, epilogue};
}

// What else is to be found of a tile's results, as SumPut hands them on: nothing.
struct NoMoments {
    SMELT_DEVICE void start(int) {}
    template <int LINES, class Get> SMELT_DEVICE void take(int, const Get &) {}
    SMELT_DEVICE void finish() {}
    SMELT_DEVICE void leave_tile(Index, Index) {}
    SMELT_DEVICE void leave_block() {}
};
template <class Tile> SMELT_DEVICE NoMoments tile_moments(const NoMoments &) { return {}; }

// Hands 8 neighbouring columns of a row at a time to the store. LINES: rows that a thread has parts of. What the store
// reads is under way for a few groups of 32 columns ahead; begin asks for the first of them.
template <class Tile, class Store, int LINES> struct SumPut {
    static const int groups = Tile::cols / 32;
    // Registers: sums of a thread and what is read ahead.
    static const int room = Tile::resident == 1 ? 8 : LINES * Tile::cols < 256 ? 8 : 2;
    static const int most = room / LINES < 1 ? 1 : room / LINES, ahead = groups < most ? groups : most;
    Index rows[LINES]; // of the result; as many as it has or more: nothing is stored
    Index col, matrix;
    typename Store::Operands operands[ahead][LINES];
    typename Store::Column columns[ahead];

    SMELT_DEVICE void ask(const Store &store, int g) {
        store.fetch_column(col + g * 32, matrix, columns[g % ahead]);
#pragma unroll
        for (int r = 0; r < LINES; ++r) store.fetch(rows[r], col + g * 32, matrix, operands[g % ahead][r]);
    }
    // tile_col: of the block's tile.
    SMELT_DEVICE void place(Index tile_col, Index tile_matrix) {
        col = tile_col + threadIdx.x % 4 * 8;
        matrix = tile_matrix;
    }
    SMELT_DEVICE void begin(const Store &store) {
#pragma unroll
        for (int g = 0; g < ahead; ++g) ask(store, g);
    }
    // Results of the row number r in the group's columns.
    SMELT_DEVICE void take(const Store &store, const float (&sums)[LINES / 2][Tile::cols / 2], int g, int r,
                           float (&x)[8]) const {
        float mine[8], whole[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) mine[i] = sums[r / 2][(g * 4 + i / 2) * 4 + r % 2 * 2 + i % 2];
        if (!Tile::spread) gather_columns(mine, whole);
        store.apply(Tile::spread ? mine : whole, columns[g % ahead], x);
    }
    template <class Moments>
    SMELT_DEVICE void finish(const Store &store, const float (&sums)[LINES / 2][Tile::cols / 2], Moments &moments) {
        int inside = 0;
#pragma unroll
        for (int r = 0; r < LINES; ++r) inside += rows[r] < store.numbers.rows ? 1 : 0;
        moments.start(inside);
#pragma unroll
        for (int g = 0; g < groups; ++g) {
            moments.template take<LINES>(g, [&](int r, float(&x)[8]) {
                take(store, sums, g, r, x);
                return rows[r] < store.numbers.rows;
            });
#pragma unroll
            for (int r = 0; r < LINES; ++r) {
                float x[8];
                take(store, sums, g, r, x);
                store.write(rows[r], col + g * 32, matrix, x, operands[g % ahead][r]);
            }
            if (g + ahead < groups) ask(store, g + ahead);
        }
        moments.finish();
    }
    SMELT_DEVICE void finish(const Store &store, const float (&sums)[LINES / 2][Tile::cols / 2]) {
        NoMoments none;
        finish(store, sums, none);
    }
};

} // namespace smelt

#endif
