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

// What a thread stores together: 8 neighbouring columns of a row. Tile::group: of how many columns the threads of a row have 8
// each. 32: of all rows that the thread has sums of. 16: of every other one. 64: of twice as many, those of the thread 16 lanes
// away, too, so that a warp stores whole lines of 128 bytes: what memory takes best. How columns lie says Tile::spread, see
// WgmmaTile; 0: in order. LINES: rows that a thread has sums of, two for each 64.
template <class Tile, int LINES> struct SumUnits {
    static const int group = Tile::group, groups = Tile::cols / group, lines = LINES * group / 32;
    // Of a group of columns, from its first one on.
    static SMELT_DEVICE Index first_col() {
        return group == 16 ? threadIdx.x % 4 / 2 * 8 : threadIdx.x % 4 * 8 + (group == 64 ? threadIdx.x % 32 / 16 * 32 : 0);
    }
    // Row number r, from the first one that the thread has sums of.
    static SMELT_DEVICE Index row(int r) {
        if (group == 64) return (Index)(r / 4 * 64 + r % 4 * 4) - (Index)(threadIdx.x % 32 / 16 * 4);
        return group == 32 ? (Index)(r / 2 * 64 + r % 2 * 8) : (Index)(r * 64 + threadIdx.x % 2 * 8);
    }
    // The sums that the thread has of group g and row number r, or of both rows that r and a neighbour's r are. Of groups of 64:
    // of its row r / 2 and of the half r % 2 of the columns.
    static SMELT_DEVICE void pick(const float (&sums)[LINES / 2][Tile::cols / 2], int g, int r, float (&mine)[8]) {
        const int line = group == 64 ? r / 2 : r, part = group == 64 ? g * 2 + r % 2 : g;
#pragma unroll
        for (int i = 0; i < 8; ++i)
            mine[i] = group == 16 ? sums[line][part * 8 + i] : sums[line / 2][part * 16 + i / 2 * 4 + line % 2 * 2 + i % 2];
    }
    // Groups of 64: both halves of a thread's row become those of rows number r and r + 1.
    static SMELT_DEVICE void exchange(float (&near)[8], float (&far)[8]) {
        const bool high = threadIdx.x & 16;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const float taken = __shfl_xor_sync(0xffffffffu, high ? near[i] : far[i], 16);
            near[i] = high ? taken : near[i];
            far[i] = high ? far[i] : taken;
        }
    }
    // Of what neighbours have picked, what the thread stores.
    static SMELT_DEVICE void join(const float (&mine)[8], float (&whole)[8]) {
        if (Tile::spread == 0) {
            gather_columns(mine, whole);
        } else if (group == 16) {
            const bool odd = threadIdx.x & 1;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float even_row = mine[i / 2 * 4 + i % 2], odd_row = mine[i / 2 * 4 + 2 + i % 2];
                const float kept = odd ? odd_row : even_row;
                const float taken = __shfl_xor_sync(0xffffffffu, odd ? even_row : odd_row, 1);
                whole[i] = odd ? taken : kept;
                whole[4 + i] = odd ? kept : taken;
            }
        } else {
#pragma unroll
            for (int i = 0; i < 8; ++i) whole[i] = mine[i];
        }
    }
};

// Hands units to the store. What the store reads is under way for a few groups of columns ahead; begin asks for the first of
// them.
template <class Tile, class Store, int LINES> struct SumPut : SumUnits<Tile, LINES> {
    typedef SumUnits<Tile, LINES> Units;
    static const int group = Units::group, groups = Units::groups, lines = Units::lines;
    // Units that are read ahead, by the registers that a thread has beside its sums, and groups whose columns are.
    static const int room = Tile::roomy || LINES * Tile::cols < 256 ? 8 : 2, all = groups * lines;
    static const int read = all < room ? all : room, most = room / lines < 1 ? 1 : room / lines, ahead = groups < most ? groups : most;
    Index rows[lines]; // of the result; as many as it has or more: nothing is stored
    Index col, matrix;
    typename Store::Operands operands[read];
    typename Store::Column columns[ahead];

    // For unit number `unit`, row by row of each group.
    SMELT_DEVICE void ask(const Store &store, int unit) {
        if (unit < all) store.fetch(rows[unit % lines], col + unit / lines * group, matrix, operands[unit % read]);
    }
    SMELT_DEVICE void ask_column(const Store &store, int g) {
        if (g < groups) store.fetch_column(col + g * group, matrix, columns[g % ahead]);
    }
    // tile_col: of the block's tile.
    SMELT_DEVICE void place(Index tile_col, Index tile_matrix) {
        col = tile_col + Units::first_col();
        matrix = tile_matrix;
    }
    // first: row that the thread has parts of.
    SMELT_DEVICE void place(Index first, Index tile_col, Index tile_matrix) {
#pragma unroll
        for (int r = 0; r < lines; ++r) rows[r] = first + Units::row(r);
        place(tile_col, tile_matrix);
    }
    // Of another tile, to L2: each 64 columns of the warp's rows once. first: of the warp.
    SMELT_DEVICE void prefetch(const Store &store, Index first, Index tile_col, Index tile_matrix) const {
        const int all = LINES * 8;
#pragma unroll
        for (int k = 0; k < (Tile::cols + 63) / 64 * all; k += 32) {
            const int i = k + (int)threadIdx.x % 32;
            if (i < (Tile::cols + 63) / 64 * all)
                store.prefetch(first + i % all / 16 * 64 + i % 16, tile_col + i / all * 64, tile_matrix);
        }
    }
    SMELT_DEVICE void begin(const Store &store) {
#pragma unroll
        for (int g = 0; g < ahead; ++g) ask_column(store, g);
#pragma unroll
        for (int unit = 0; unit < read; ++unit) ask(store, unit);
    }
    // Results of the row number r in the group's columns; of groups of 64 those of r + 1, too.
    static const int together = group == 64 ? 2 : 1;
    SMELT_DEVICE void take(const Store &store, const float (&sums)[LINES / 2][Tile::cols / 2], int g, int r,
                           float (&x)[together][8]) const {
        float mine[together][8], whole[8];
#pragma unroll
        for (int i = 0; i < together; ++i) Units::pick(sums, g, r + i, mine[i]);
        if constexpr (group == 64) Units::exchange(mine[0], mine[1]);
#pragma unroll
        for (int i = 0; i < together; ++i) {
            Units::join(mine[i], whole);
            store.apply(whole, columns[g % ahead], x[i]);
        }
    }
    template <class Moments>
    SMELT_DEVICE void finish(const Store &store, const float (&sums)[LINES / 2][Tile::cols / 2], Moments &moments) {
        int inside = 0;
#pragma unroll
        for (int r = 0; r < lines; ++r) inside += rows[r] < store.numbers.rows ? 1 : 0;
        moments.start(inside);
#pragma unroll
        for (int g = 0; g < groups; ++g) {
            moments.template take<lines>(g, [&](int r, float(&x)[8]) { // of groups of 32
                if constexpr (together == 1) take(store, sums, g, r, reinterpret_cast<float(&)[1][8]>(x));
                return rows[r] < store.numbers.rows;
            });
#pragma unroll
            for (int r = 0; r < lines; r += together) {
                float x[together][8];
                take(store, sums, g, r, x);
#pragma unroll
                for (int i = 0; i < together; ++i) {
                    store.write(rows[r + i], col + g * group, matrix, x[i], operands[(g * lines + r + i) % read]);
                    ask(store, g * lines + r + i + read);
                }
            }
            ask_column(store, g + ahead);
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
