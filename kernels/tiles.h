/* Tiles of matrix products (cuda/product.cuh): which are worth trying, and how they are launched. */
#ifndef SMELT_KERNELS_TILES_H
#define SMELT_KERNELS_TILES_H

#include "kernels/emit_writer.h"
#include "kernels/tactic.h"

/* A batch of products of rows x cols results, sums of `depth` terms. */
typedef struct TileProblem {
    Dim rows, cols, depth, batch;
    bool can_slice; /* the depth may be divided among blocks, whose sums another launch adds up */
    int32_t window; /* columns that no tile may divide; 0 and 1: one by one. Slices know none. */
} TileProblem;

/* At least one config (where a window has no more than 64 columns) whose numbers are rows, columns and depth
 * of a tile, the rows and columns of a thread, and how many slices the depth is divided into (1: it is not).
 */
int32_t tile_configs(const Device *device, const TileProblem *problem, Config out[MOST_CONFIGS]);
/* "Tile<64, 64, 16, 4, 4>" */
const char *tile_text(KernelWriter *w, const Config *config);
int32_t tile_threads(const Config *config);
int32_t tile_rows(const Config *config);
/* Tiles that cover rows x cols. */
Dim tile_count(DimTable *dims, const Config *config, Dim rows, Dim cols);
/* The problem's columns and those that tiles leave idle so as to divide no window. */
Dim tile_columns(DimTable *dims, const Config *config, const TileProblem *problem);

int32_t tile_slices(const Config *config);
/* Depth of each slice. */
Dim tile_slice_depth(DimTable *dims, const Config *config, Dim depth);
/* Sets the scratch memory for the sums of all slices in `type` ("float") and returns its pointer's text. */
const char *tile_sums(KernelWriter *w, const Config *config, const TileProblem *problem, const char *type);

#endif
