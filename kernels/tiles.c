#include "kernels/tiles.h"

#include "kernels/window_text.h"

enum { ROWS, COLS, DEPTH, HEIGHT, WIDTH, TILE_NUMBERS, USUAL_EXTENT = 1024 /* of symbolic dimensions */ };

static const Config tiles[] = {
    {TILE_NUMBERS, {128, 128, 8, 8, 8}}, {TILE_NUMBERS, {128, 64, 16, 8, 4}},
    {TILE_NUMBERS, {64, 128, 16, 4, 8}}, {TILE_NUMBERS, {64, 64, 16, 4, 4}},
    {TILE_NUMBERS, {32, 128, 16, 4, 4}}, {TILE_NUMBERS, {32, 64, 16, 4, 4}},
    {TILE_NUMBERS, {32, 32, 16, 4, 4}},
};
enum { TILES = sizeof tiles / sizeof tiles[0] };

static int64_t usual(Dim extent) {
    return dim_is_exact(extent) ? extent : USUAL_EXTENT;
}

/* An estimate of the time: rounds of blocks over the device, each as long as its tile is large; small tiles
 * reuse less of what they read. */
static int64_t tile_cost(const Config *tile, const Device *device, int64_t rows, int64_t cols,
                         int64_t batch) {
    const int32_t *n = tile->number;
    int64_t blocks = ((rows + n[ROWS] - 1) / n[ROWS]) * ((cols + n[COLS] - 1) / n[COLS]) * batch;
    int64_t rounds = (blocks + device->sm_count - 1) / device->sm_count;
    int64_t work = (int64_t)n[ROWS] * n[COLS], reads = 16 * (int64_t)(n[ROWS] + n[COLS]);
    return rounds * (work + reads);
}

int32_t tile_configs(const Device *device, Dim rows, Dim cols, int64_t batch, Config out[MOST_CONFIGS]) {
    int64_t cost[TILES];
    for (int32_t i = 0; i < TILES; ++i) {
        int64_t own = tile_cost(&tiles[i], device, usual(rows), usual(cols), batch);
        int32_t place = i;
        for (; place > 0 && cost[place - 1] > own; --place) {
            cost[place] = cost[place - 1];
            out[place] = out[place - 1];
        }
        cost[place] = own;
        out[place] = tiles[i];
    }
    return TILES;
}

const char *tile_text(KernelWriter *w, const Config *config) {
    const int32_t *n = config->number;
    return kernel_format(w, "Tile<%d, %d, %d, %d, %d>", n[ROWS], n[COLS], n[DEPTH], n[HEIGHT], n[WIDTH]);
}

int32_t tile_threads(const Config *config) {
    const int32_t *n = config->number;
    return n[ROWS] / n[HEIGHT] * (n[COLS] / n[WIDTH]);
}

Dim tile_count(DimTable *dims, const Config *config, Dim rows, Dim cols) {
    return dim_mul(dims, dim_ceil_div(dims, rows, config->number[ROWS]),
                   dim_ceil_div(dims, cols, config->number[COLS]));
}
