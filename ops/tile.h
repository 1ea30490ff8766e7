/* Transposing a matrix between two memories, with elements of any whole number of bytes. */
#ifndef SMELT_OPS_TILE_H
#define SMELT_OPS_TILE_H

#include <stddef.h>
#include <stdint.h>

enum { TILE_SIDE = 64 }; /* rows and columns that are worth handing over at least */

/* to[i][k] = from[k][i] for i < rows, k < columns; to_row and from_column are the distances in bytes of rows
 * of `to` and of columns' rows in `from`. size: 1, 2, 4, 8 or 16 bytes. */
void tile_transpose(char *to, int64_t to_row, const char *from, int64_t from_column, int64_t rows,
                    int64_t columns, size_t size);

#endif
