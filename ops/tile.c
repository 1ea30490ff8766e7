/* Tiles are turned in registers, 16 bytes by 16 bytes, into a buffer whose lines never share a cache set, and
 * go out from there in whole lines. (Straight stores would hit one set of the cache again and again where
 * rows are a power of two apart.) */
#include "ops/tile.h"

#include <stdbool.h>
#include <string.h>

#include "base/checked.h"

enum { BUFFER_BYTES = TILE_SIDE * TILE_SIDE * 4 };

typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef uint16_t Halves __attribute__((vector_size(16)));
typedef uint32_t Words __attribute__((vector_size(16)));
typedef uint64_t Doubles __attribute__((vector_size(16)));

#define LOW_8(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_8(a, b)                                                                                         \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOW_16(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_16(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LOW_32(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH_32(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LOW_64(a, b)  __builtin_shufflevector(a, b, 0, 2)
#define HIGH_64(a, b) __builtin_shufflevector(a, b, 1, 3)

/* A square of as many rows as a vector has lanes. Interleaving row i with row i + lanes / 2, once per bit of
 * the lane number, rotates the bits of (row, lane) until they have changed places. */
#define DEFINE_SQUARE(name, Vector, lanes, rounds, LOW, HIGH)                                                \
    static inline void name(char *to, int64_t to_row, const char *from, int64_t from_column) {               \
        Vector a[lanes], b[lanes];                                                                           \
        for (int i = 0; i < (lanes); ++i) memcpy(&a[i], from + i * from_column, sizeof a[i]);                \
        for (int round = 0; round < (rounds); ++round) {                                                     \
            for (int i = 0; i < (lanes) / 2; ++i) {                                                          \
                b[2 * i] = LOW(a[i], a[i + (lanes) / 2]);                                                    \
                b[2 * i + 1] = HIGH(a[i], a[i + (lanes) / 2]);                                               \
            }                                                                                                \
            memcpy(a, b, sizeof a);                                                                          \
        }                                                                                                    \
        for (int i = 0; i < (lanes); ++i) memcpy(to + i * to_row, &a[i], sizeof a[i]);                       \
    }
DEFINE_SQUARE(square_8, Bytes, 16, 4, LOW_8, HIGH_8)
DEFINE_SQUARE(square_16, Halves, 8, 3, LOW_16, HIGH_16)
DEFINE_SQUARE(square_32, Words, 4, 2, LOW_32, HIGH_32)
DEFINE_SQUARE(square_64, Doubles, 2, 1, LOW_64, HIGH_64)

static inline void move_plain(char *to, int64_t to_row, const char *from, int64_t from_column, int64_t rows,
                              int64_t columns, size_t size) {
    for (int64_t k = 0; k < columns; ++k)
        for (int64_t i = 0; i < rows; ++i)
            memcpy(to + i * to_row + k * (int64_t)size, from + k * from_column + i * (int64_t)size, size);
}

/* Squares first, then what is left at the two edges. */
#define DEFINE_TURN(name, square, size, lanes)                                                               \
    static void name(char *to, int64_t to_row, const char *from, int64_t from_column, int64_t rows,          \
                     int64_t columns) {                                                                      \
        int64_t whole_rows = rows - rows % (lanes), whole_columns = columns - columns % (lanes);             \
        for (int64_t k = 0; k < whole_columns; k += (lanes))                                                 \
            for (int64_t i = 0; i < whole_rows; i += (lanes))                                                \
                square(to + i * to_row + k * (size), to_row, from + k * from_column + i * (size),            \
                       from_column);                                                                         \
        move_plain(to + whole_rows * to_row, to_row, from + whole_rows * (size), from_column,                \
                   rows - whole_rows, columns, size);                                                        \
        move_plain(to + whole_columns * (size), to_row, from + whole_columns * from_column, from_column,     \
                   whole_rows, columns - whole_columns, size);                                               \
    }
DEFINE_TURN(turn_8, square_8, 1, 16)
DEFINE_TURN(turn_16, square_16, 2, 8)
DEFINE_TURN(turn_32, square_32, 4, 4)
DEFINE_TURN(turn_64, square_64, 8, 2)

static void turn_128(char *to, int64_t to_row, const char *from, int64_t from_column, int64_t rows,
                     int64_t columns) {
    move_plain(to, to_row, from, from_column, rows, columns, 16);
}

typedef void (*Turn)(char *to, int64_t to_row, const char *from, int64_t from_column, int64_t rows,
                     int64_t columns);

static Turn turn_for(size_t size) {
    return size == 1 ? turn_8 : size == 2 ? turn_16 : size == 4 ? turn_32 : size == 8 ? turn_64 : turn_128;
}

void tile_transpose(char *to, int64_t to_row, const char *from, int64_t from_column, int64_t rows,
                    int64_t columns, size_t size) {
    char buffer[BUFFER_BYTES] __attribute__((aligned(64)));
    int64_t side = size <= 4 ? TILE_SIDE : size == 8 ? TILE_SIDE / 2 : TILE_SIDE / 4, bytes = (int64_t)size;
    int64_t pitch = side * bytes;
    Turn turn = turn_for(size);
    if (rows < 4 || columns < 4) { /* lines are short: nothing to gain from whole ones */
        turn(to, to_row, from, from_column, rows, columns);
        return;
    }
    for (int64_t i = 0; i < rows; i += side) {
        int64_t tile_rows = min_i64(side, rows - i);
        for (int64_t k = 0; k < columns; k += side) {
            int64_t tile_columns = min_i64(side, columns - k);
            turn(buffer, pitch, from + k * from_column + i * bytes, from_column, tile_rows, tile_columns);
            for (int64_t row = 0; row < tile_rows; ++row)
                memcpy(to + (i + row) * to_row + k * bytes, buffer + row * pitch,
                       (size_t)(tile_columns * bytes));
        }
    }
}
