/* Tiles of matrix products (cuda/product.cuh): which are worth trying, and how they are launched. */
#ifndef SMELT_KERNELS_TILES_H
#define SMELT_KERNELS_TILES_H

#include "kernels/emit_writer.h"
#include "kernels/tactic.h"

/* Configs whose numbers are rows, columns and depth of a tile and the rows and columns of a thread, for a
 * batch of `batch` products of rows x cols results. */
int32_t tile_configs(const Device *device, Dim rows, Dim cols, int64_t batch, Config out[MOST_CONFIGS]);
/* "Tile<64, 64, 16, 4, 4>" */
const char *tile_text(KernelWriter *w, const Config *config);
int32_t tile_threads(const Config *config);
/* Tiles that cover rows x cols. */
Dim tile_count(DimTable *dims, const Config *config, Dim rows, Dim cols);

#endif
