#include "kernels/tiles.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/window_text.h"

enum { ROWS, COLS, DEPTH, HEIGHT, WIDTH, SLICES, TILE_NUMBERS };
enum {
    USUAL_EXTENT = 1024, /* of symbolic dimensions */
    KEPT_CONFIGS = 8,    /* best guesses */
    MOST_SLICES = 32,
    LEAST_STEPS = 4 /* of a slice: tiles along the depth */
};

static const int32_t shapes[][SLICES] = {{128, 128, 8, 8, 8}, {128, 64, 16, 8, 4}, {64, 128, 16, 4, 8},
                                         {64, 64, 16, 4, 4},  {32, 128, 16, 4, 4}, {32, 64, 16, 4, 4},
                                         {32, 32, 16, 4, 4}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static int64_t usual(Dim extent) {
    return dim_is_exact(extent) ? extent : USUAL_EXTENT;
}

/* An estimate of the time in products of a multiprocessor: rounds of blocks over the device, each as long as
 * its tile is large; small tiles reuse less of what they read; slices take another launch that reads all
 * their sums. */
static double tile_cost(const Config *config, const Device *device, const TileProblem *problem) {
    const int32_t *n = config->number;
    int64_t rows = usual(problem->rows), cols = usual(problem->cols), batch = usual(problem->batch);
    int64_t window = n[SLICES] > 1 || problem->window < 1 ? 1 : problem->window;
    int64_t across = ceil_div_i64(ceil_div_i64(cols, window), n[COLS] / window);
    double blocks = (double)ceil_div_i64(rows, n[ROWS]) * (double)across * (double)batch * n[SLICES];
    double rounds = blocks <= device->sm_count ? 1 : blocks / device->sm_count;
    double work = (double)n[ROWS] * n[COLS] + 16.0 * (n[ROWS] + n[COLS]);
    double cost = rounds * work * (double)ceil_div_i64(usual(problem->depth), n[SLICES]);
    if (n[SLICES] == 1) return cost;
    return cost + device->launch_us * device_fp32_per_us(device) +
           64.0 * (double)rows * (double)cols * (double)batch * n[SLICES] / device->sm_count;
}

int32_t tile_configs(const Device *device, const TileProblem *problem, Config out[MOST_CONFIGS]) {
    double costs[KEPT_CONFIGS] = {0};
    int32_t count = 0;
    bool exact = dim_is_exact(problem->rows) && dim_is_exact(problem->cols) && dim_is_exact(problem->depth) &&
                 dim_is_exact(problem->batch);
    for (int32_t i = 0; i < SHAPES; ++i) {
        Config config = {.count = TILE_NUMBERS};
        for (int32_t k = 0; k < SLICES; ++k) config.number[k] = shapes[i][k];
        int64_t steps = ceil_div_i64(usual(problem->depth), shapes[i][DEPTH]);
        for (int32_t slices = 1; slices <= MOST_SLICES; slices *= 2) {
            if (slices == 1 && problem->window > shapes[i][COLS]) continue;
            if (slices > 1 && (!problem->can_slice || !exact || steps < (int64_t)slices * LEAST_STEPS)) break;
            config.number[SLICES] = slices;
            count =
                config_insert(&config, tile_cost(&config, device, problem), KEPT_CONFIGS, costs, out, count);
        }
    }
    return count;
}

const char *tile_text(KernelWriter *w, const Config *config) {
    const int32_t *n = config->number;
    return kernel_format(w, "Tile<%d, %d, %d, %d, %d>", n[ROWS], n[COLS], n[DEPTH], n[HEIGHT], n[WIDTH]);
}

int32_t tile_rows(const Config *config) {
    return config->number[ROWS];
}

int32_t tile_threads(const Config *config) {
    const int32_t *n = config->number;
    return n[ROWS] / n[HEIGHT] * (n[COLS] / n[WIDTH]);
}

Dim tile_count(DimTable *dims, const Config *config, Dim rows, Dim cols) {
    return dim_mul(dims, dim_ceil_div(dims, rows, config->number[ROWS]),
                   dim_ceil_div(dims, cols, config->number[COLS]));
}

Dim tile_columns(DimTable *dims, const Config *config, const TileProblem *problem) {
    if (problem->window < 2) return problem->cols;
    Dim windows = dim_ceil_div(dims, problem->cols, problem->window);
    return dim_mul(dims, dim_ceil_div(dims, windows, config->number[COLS] / problem->window),
                   config->number[COLS]);
}

int32_t tile_slices(const Config *config) {
    return config->number[SLICES];
}

Dim tile_slice_depth(DimTable *dims, const Config *config, Dim depth) {
    Dim steps = dim_ceil_div(dims, depth, config->number[DEPTH]);
    return dim_mul(dims, dim_ceil_div(dims, steps, config->number[SLICES]), config->number[DEPTH]);
}

const char *tile_sums(KernelWriter *w, const Config *config, const TileProblem *problem, const char *type) {
    Emission *emission = kernel_emission(w);
    DimTable *dims = emission->graph->dims;
    Dim size = dim_mul(dims, problem->batch, dim_mul(dims, problem->rows, problem->cols));
    Dim all = dim_mul(dims, size, config->number[SLICES]);
    int32_t bytes = type[0] == 'd' || type[0] == 'l' || strncmp(type, "unsigned long", 13) == 0 ? 8 : 4;
    emission->scratch_bytes = dim_mul(dims, all, bytes);
    kernel_number(w, all); /* indices reach that far */
    return kernel_scratch(w, 0, type);
}
