/* MaxPool, AveragePool and LpPool: a thread for each output element, or for a tile of packs of neighbouring
 * ones. */
#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/chain.h"
#include "kernels/lines_text.h"
#include "kernels/pool_text.h"

enum {
    THREADS = 128,
    WARP = 32,
    WARPS_PER_CLOCK = 4, /* of a multiprocessor, an instruction each */
    MOST_EXTENT = 7,     /* of windows that tiles are for */
    MOST_PACKS = 64,     /* that the windows of a tile take */
    FEW_PACKS = 24,      /* that leave room for a block more */
    LINE_BYTES = 128,    /* of neighbouring channels of a group of threads */
    GROUP_LINES = 4,     /* tiles below each other in a group */
    LANES = 0,           /* numbers of a config */
    ACROSS = 1,          /* windows of a tile along the last axis */
    DOWN = 2,            /* and along the one in front of it; 0: no tiles */
    RESIDENT = 3         /* blocks of a multiprocessor, at least */
};

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_MaxPool && node->op != OP_AveragePool && node->op != OP_LpPool))
        return "not a pool";
    if (problem_output(problem, 0) == NULL) return "no result";
    if (!input_has_rank(problem, 0, 3, 2 + WINDOW_AXES) || !output_ranks_like(problem, 0))
        return "ranks that do not fit";
    return refuse_types(problem);
}

static const char *indices_text(KernelWriter *w, const Node *node) {
    const PoolAttrs *attrs = node->parsed;
    if (node->output_count < 2 || node->outputs[1] == NONE) return "NoIndices{}";
    return kernel_format(w, "StoreIndices<%s>{%s, %s}", attrs->storage_order != 0 ? "true" : "false",
                         kernel_result(w, node->outputs[1]), strides_text(w, node->outputs[1]));
}

/* An axis of the windows, whatever the rank: WINDOW_AXES - 1 is the last. Those that the input lacks have
 * extent 1. */
typedef struct Line {
    int64_t extent, step;
} Line;

static Line line_of(const Problem *problem, int32_t axis) {
    const PoolAttrs *attrs = problem_anchor(problem)->parsed;
    int32_t own = axis - (WINDOW_AXES - (problem_input(problem, 0)->shape.rank - 2));
    if (own < 0) return (Line){1, 1};
    return (Line){attrs->window.kernel[own], attrs->window.stride[own]};
}

/* Places of the input that so many windows take. */
static int64_t places_of(Line line, int64_t windows) {
    return (windows - 1) * line.step + line.extent;
}

static int64_t packs_of_tile(const Problem *problem, const Config *config) {
    return line_of(problem, 0).extent * places_of(line_of(problem, 1), config->number[DOWN]) *
           places_of(line_of(problem, 2), config->number[ACROSS]);
}

/* Whether windows are small, without gaps inside. */
static bool is_for_tiles(const Problem *problem) {
    const PoolAttrs *attrs = problem_anchor(problem)->parsed;
    int32_t axes = problem_input(problem, 0)->shape.rank - 2;
    for (int32_t i = 0; i < axes; ++i)
        if (attrs->window.dilation[i] != 1 || attrs->window.stride[i] > MOST_EXTENT ||
            attrs->window.kernel[i] > (axes - i > 2 ? MOST_EXTENT / 2 : MOST_EXTENT))
            return false;
    return problem_anchor(problem)->op != OP_LpPool || attrs->p > 0;
}

/* Packs of channels, where they are neighbours in memory and their places are not wanted, in tiles of
 * neighbouring windows; or elements. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    static const int32_t tiles[][2] = {{4, 2}, {2, 4}, {2, 2}, {2, 1}, {1, 4}, {1, 2}, {4, 1}, {1, 1}};
    int32_t count = 0, lanes = lines_lanes(problem);
    (void)device;
    if (problem_output(problem, 1) == NULL && !problem_has_front(problem) &&
        refuse_unless_packs(problem) == NULL) {
        for (size_t i = 0; i < sizeof tiles / sizeof tiles[0] && is_for_tiles(problem); ++i) {
            Config config = {.count = 4, .number = {lanes, tiles[i][0], tiles[i][1], 3}};
            if (tiles[i][0] == 2 && tiles[i][1] == 4 && packs_of_tile(problem, &config) <= FEW_PACKS)
                config.number[RESIDENT] = 4;
            if (packs_of_tile(problem, &config) <= MOST_PACKS || tiles[i][0] * tiles[i][1] == 1)
                out[count++] = config;
        }
        if (count == 0) out[count++] = (Config){.count = 4, .number = {lanes, 1, 0}};
    }
    out[count++] = (Config){.count = 4, .number = {1, 1, 0}};
    return count;
}

/* Threads side by side: packs of channels, tiles along the last axis, tiles along the one in front of it. */
typedef struct Group {
    int64_t packs, across, lines;
} Group;

static Dim tiles_along(DimTable *dims, const Shape *y, int32_t from_last, int32_t windows) {
    int32_t own = y->rank - 1 - from_last;
    return own < 2 ? 1 : dim_ceil_div(dims, y->dim[own], windows);
}

static Group group_of(DimTable *dims, const Problem *problem, const Config *config) {
    const Value *y = problem_output(problem, 0);
    int64_t channels = y->shape.dim[1] / config->number[LANES],
            most = LINE_BYTES * 8 / (config->number[LANES] * dtype_bits(problem_input(problem, 0)->dtype));
    Group group = {.packs = 1, .lines = GROUP_LINES};
    for (int64_t packs = 2; packs <= most; ++packs)
        if (channels % packs == 0) group.packs = packs;
    Dim down = tiles_along(dims, &y->shape, 1, config->number[DOWN]),
        across = tiles_along(dims, &y->shape, 0, config->number[ACROSS]);
    if (dim_is_exact(down)) group.lines = min_i64(group.lines, max_i64(down, 1));
    group.across = max_i64(THREADS / (group.packs * group.lines), 1);
    if (dim_is_exact(across)) group.across = min_i64(group.across, max_i64(across, 1));
    return group;
}

/* Threads: tiles, with those that fill up groups, packs or elements of the result. */
static Dim work_of(DimTable *dims, const Problem *problem, const Config *config) {
    const Shape *y = &problem_output(problem, 0)->shape;
    if (config->number[DOWN] == 0) return dim_floor_div(dims, shape_count(dims, y), config->number[LANES]);
    Group group = group_of(dims, problem, config);
    Shape tiles = *y;
    for (int32_t i = 0; i < 2 && i < y->rank - 2; ++i) {
        int64_t side = i == 0 ? group.across : group.lines;
        Dim count = tiles_along(dims, y, i, config->number[i == 0 ? ACROSS : DOWN]);
        tiles.dim[y->rank - 1 - i] = dim_mul(dims, dim_ceil_div(dims, count, side), side);
    }
    return dim_floor_div(dims, shape_count(dims, &tiles), config->number[LANES]);
}

/* What multiprocessors have to do (sums along each line that a tile reads, and of these for each window), the
 * bytes that must be moved meanwhile, and what a thread of a tile waits for its packs. Fitted to an H200. */
static double tile_cost(const Problem *problem, const Device *device, const Config *config, double moved) {
    const double empty = 0.59, sharp = 1.7, per_tile = 80, per_pack = 15, per_maximum = 1.4, per_mean = 19,
                 per_sum = 12, pack_us = 0.02;
    double packs = (double)packs_of_tile(problem, config),
           windows = config->number[ACROSS] * config->number[DOWN],
           threads = (double)dim_at_opt(problem->graph, work_of(problem->graph->dims, problem, config));
    double lines = (double)places_of(line_of(problem, 1), config->number[DOWN]) * config->number[ACROSS];
    bool takes_largest = problem_anchor(problem)->op == OP_MaxPool;
    double sums = takes_largest ? per_maximum * windows : per_mean * windows + per_sum * lines;
    double instructions = threads / WARP * (per_tile + per_pack * packs + sums);
    double made = instructions / (WARPS_PER_CLOCK * (double)device->sm_count * device->clock_mhz);
    return empty + pack_us * packs + pow(pow(moved, sharp) + pow(made, sharp), 1 / sharp);
}

/* Of threads that read their windows by themselves: reads, elements or packs, and beside them the bytes. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    enum { SHARP = 4 /* how little the shorter of the two counts */ };
    const double empty = 1.5, packs_per_clock = 2.9, elements_per_clock = 4;
    const Node *node = problem_anchor(problem);
    const PoolAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0), *y = problem_output(problem, 0);
    double lanes = config->number[LANES], reads = 1;
    for (int32_t i = 0; i < x->shape.rank - 2; ++i) reads *= (double)attrs->window.kernel[i];
    double in = (double)value_count_at_opt(problem->graph, node->inputs[0]),
           out = (double)value_count_at_opt(problem->graph, node->outputs[0]);
    double moved = device_bytes_us(device, in * dtype_bits(x->dtype) / 8 + out * dtype_bits(y->dtype) / 8);
    if (config->number[DOWN] > 0) return tile_cost(problem, device, config, moved);
    double rate = (lanes > 1 ? packs_per_clock : elements_per_clock) * device->sm_count * device->clock_mhz,
           read = out / lanes * reads / rate;
    return empty + pow(pow(moved, SHARP) + pow(read, SHARP), 1.0 / SHARP);
}

/* "PoolTiles<8, PoolLine<4, 3, 1>, PoolLine<4, 3, 1>, 1, 8, 4, 4, MaxOf<float>, false>::run" */
static const char *tiles_text(KernelWriter *w, const Config *config, const char *pool, const char *counts) {
    const Problem *problem = kernel_emission(w)->problem;
    Group group = group_of(problem->graph->dims, problem, config);
    Line down = line_of(problem, 1), across = line_of(problem, 2);
    return kernel_format(
        w, "PoolTiles<%d, PoolLine<%d, %d, %d>, PoolLine<%d, %d, %d>, %d, %d, %d, %d, %s, %s>::run",
        config->number[LANES], config->number[ACROSS], (int)across.extent, (int)across.step,
        config->number[DOWN], (int)down.extent, (int)down.step, (int)line_of(problem, 0).extent,
        (int)group.packs, (int)group.across, (int)group.lines, pool, counts);
}

static void write_call(KernelWriter *w, const Node *node, const WindowDims *window, Dim count,
                       const Config *config) {
    const Problem *problem = kernel_emission(w)->problem;
    const Value *values = problem->graph->values;
    const PoolAttrs *attrs = node->parsed;
    const char *type = cuda_compute_type(values[node->inputs[0]].dtype),
               *pool = pool_type_text(w, node, type);
    const char *counts = attrs->count_include_pad != 0 ? "true" : "false";
    const char *padding = extents_text(w, window->pad_end, WINDOW_AXES);
    int32_t lanes = config->number[LANES];
    if (lanes > 1) {
        const char *function = kernel_format(w, "pool_packs<%d, %s, %s>", lanes, pool, counts);
        if (config->number[DOWN] > 0) {
            kernel_waits(w);
            kernel_resident(w, config->number[RESIDENT]);
            function = tiles_text(w, config, pool, counts);
        }
        kernel_line(w, "%s(%s, %s, %s, %s, Place{%s}, %s, %s);", function, kernel_pointer(w, node->inputs[0]),
                    strides_text(w, node->inputs[0]), kernel_number(w, count), window_text(w, window),
                    padding, kernel_dim(w, node->outputs[0], 1), kernel_pack_epilogue(w, lanes));
        return;
    }
    const char *elements = kernel_prologue(w), *epilogue = kernel_epilogue(w);
    kernel_line(w, "pool_windows<%s, %s, %s>(%s, %s, %s, %s, Place{%s}, %s, %s, %s);", type, pool, counts,
                elements, number_strides_text(w, node->inputs[0]), kernel_number(w, count),
                window_text(w, window), padding, numbering_text(w, node->outputs[0]), indices_text(w, node),
                epilogue);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const PoolAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0), *y = problem_output(problem, 0);
    WindowDims window = window_dims(dims, &attrs->window, attrs->window.kernel, &x->shape, &y->shape);
    KernelWriter *w = kernel_begin(emission, "pool");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool.cuh");
    Dim count = work_of(dims, problem, config);
    kernel_count(w, node->outputs[0]); /* is indexed with */
    write_call(w, node, &window, count, config);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_pool = {.name = "pool",
                            .version = 7,
                            .strided = true,
                            .prologue = PROLOGUE_READS,
                            .refuses = refuses,
                            .configs = configs,
                            .cost = cost,
                            .emit = emit};
