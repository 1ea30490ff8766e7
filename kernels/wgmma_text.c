#include "kernels/wgmma_text.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/window_text.h"

enum {
    SHARED_RESERVED = 1024 + 512, /* by the driver for each block, and for barriers */
    SHARED_SLACK = 1024,          /* for the alignment of stages */
    MOST_STAGES = 8,
    ROWS_OF_A_STEP = 64,  /* of an instruction */
    BYTES_OF_A_STEP = 32, /* of the depth */
    BYTES_OF_A_LINE = 128,
    MOST_STAGE_LINE = 192,
    MOST_SLICES = 8,    /* blocks of a cluster */
    LEAST_STEPS = 3,    /* of a slice */
    IDLE_SHARE = 16,    /* of the multiprocessors */
    MOST_RATE = 100,    /* bytes a cycle from L2 to one multiprocessor */
    COPY_LATENCY = 640, /* cycles */
    STEP_LATENCY = 200,
    MOST_BOX = 256,          /* lines that a box has */
    LEAST_SHARED_ROWS = 128, /* of a tile */
    LEAST_SHARED_COLS = 64,
    COLUMNS_OF_A_PIECE = 32,
    STRIP = 64 /* lines of an operand with the depth outside that are copied together */
};

#define SHARING 1.02 /* time of blocks that share an operand, to that of others */

typedef struct TileShape {
    int32_t warpgroups, repeat, cols, resident;
} TileShape;

enum { SHARE_NOTHING, SHARE_ROWS, SHARE_COLS };

/* Registers of a thread bound rows x cols / 128 sums and how many blocks share a multiprocessor. */
static const TileShape shapes[] = {
    {2, 2, 128, 1}, {2, 1, 256, 1}, {2, 1, 192, 1}, {2, 1, 160, 1}, {2, 2, 96, 1}, {2, 1, 128, 1},
    {2, 1, 128, 2}, {2, 1, 96, 2},  {2, 2, 64, 1},  {2, 1, 64, 2},  {1, 2, 64, 2}, {1, 1, 128, 2},
    {1, 1, 64, 3},  {2, 2, 32, 2},  {2, 4, 32, 1},  {2, 1, 32, 2},  {1, 1, 32, 3}, {1, 1, 64, 2},
    {1, 1, 32, 2},  {1, 1, 64, 1},  {1, 1, 128, 1}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* How the blocks of a cluster work together. */
typedef struct Way {
    int32_t slices, shares;
} Way;
static const Way ways[] = {{1, SHARE_NOTHING}, {2, SHARE_NOTHING}, {4, SHARE_NOTHING},
                           {8, SHARE_NOTHING}, {1, SHARE_ROWS},    {1, SHARE_COLS}};
enum { WAYS = sizeof ways / sizeof ways[0] };

const char *wgmma_refuses(const Problem *problem) {
    const Value *a = problem_input(problem, 0), *b = problem_input(problem, 1);
    if (a == NULL || b == NULL) return "operands that are left out";
    if (a->dtype != b->dtype) return "operands of different types";
    if (a->dtype == DTYPE_F32) return problem->graph->tf32 ? NULL : "fp32 without --precision=tf32";
    return dtype_is_half(a->dtype) ? NULL : "operands that are not fp16, bf16 or fp32";
}

int32_t wgmma_element(const Problem *problem) {
    return dtype_bits(problem_input(problem, 0)->dtype) / 8;
}

bool wgmma_reads_outer(int32_t element) {
    return element == 2;
}

int32_t wgmma_rows(const Config *config) {
    return config->number[WGMMA_WARPGROUPS] * config->number[WGMMA_REPEAT] * ROWS_OF_A_STEP;
}

int32_t wgmma_copied_rows(const Config *config) {
    return wgmma_rows(config) / (config->number[WGMMA_SHARES] == SHARE_ROWS ? 2 : 1);
}

int32_t wgmma_copied_cols(const Config *config) {
    return config->number[WGMMA_COLS] / (config->number[WGMMA_SHARES] == SHARE_COLS ? 2 : 1);
}

/* Blocks of a cluster. */
static int32_t cluster_of(const Config *config) {
    return config->number[WGMMA_SHARES] != SHARE_NOTHING ? 2 : config->number[WGMMA_SLICES];
}

static int32_t stage_depth(const Config *config) {
    return config->number[WGMMA_DEPTH] * config->number[WGMMA_BLOCKS];
}

static int32_t stage_bytes(const WgmmaProblem *problem, const Config *config) {
    return stage_depth(config) * problem->element * (wgmma_rows(config) + config->number[WGMMA_COLS]);
}

/* What the other slices send to a block: their sums of its parts, of 32 columns of 8 rows for each warp. */
static int32_t joined_bytes(const Config *config) {
    int32_t slices = config->number[WGMMA_SLICES], threads = config->number[WGMMA_WARPGROUPS] * 128,
            parts = config->number[WGMMA_COLS] / 32 * config->number[WGMMA_REPEAT] * 2;
    return (parts + slices - 1) / slices * (slices - 1) * threads * 8 * 4;
}

static int64_t steps_of(const WgmmaProblem *problem, const Config *config) {
    int64_t parts = problem->runs * ceil_div_i64(problem->depth, config->number[WGMMA_DEPTH]);
    return ceil_div_i64(parts, config->number[WGMMA_BLOCKS]);
}

bool wgmma_spreads(const WgmmaProblem *problem, const Config *config) {
    return problem->spread && (problem->runs == 1 || problem->depth % config->number[WGMMA_DEPTH] == 0);
}

/* -- what it costs -- */

double wgmma_l2_rate(const Device *device) {
    return 1.29 * device_l2_per_clock(device);
}

/* Blocks that run at one time. Clusters of more than two leave some multiprocessors idle: those that they do
 * not fill lie in groups apart. */
static int64_t most_blocks(const Device *device, const Config *config) {
    int32_t cluster = cluster_of(config), resident = config->number[WGMMA_RESIDENT];
    int32_t used = cluster > 2 ? device->sm_count - device->sm_count / IDLE_SHARE : device->sm_count;
    int64_t blocks = (int64_t)(used / cluster) * cluster * resident;
    return blocks > 0 ? blocks : (int64_t)device->sm_count * resident;
}

static int64_t tiles_of(const WgmmaProblem *problem, const Config *config) {
    int32_t shares = config->number[WGMMA_SHARES];
    int64_t rows = ceil_div_i64(problem->known_rows, wgmma_rows(config)),
            cols = ceil_div_i64(problem->known_cols, config->number[WGMMA_COLS]);
    if (shares == SHARE_COLS) rows = round_up_i64(rows, 2);
    if (shares == SHARE_ROWS) cols = round_up_i64(cols, 2);
    return rows * cols * problem->known_batch;
}

/* Bytes a cycle from L2 to each of the multiprocessors that read. Neighbours ask for the same tiles together:
 * it gives more than when each reads something else. */
static double l2_rate(const Device *device, double active) {
    double rate = 1.21 * device_l2_per_clock(device) * device->sm_count / active;
    return rate < MOST_RATE ? rate : MOST_RATE;
}

/* Cycles of a stage: products at the full rate unless shared memory (128 bytes a cycle), L2 or the copying of
 * windows, row by row, is slower. TF32 takes as long as two bytes each of half precision. */
static double stage_cycles(const Device *device, const WgmmaProblem *problem, const Config *config,
                           double bytes_per_cycle) {
    double rows = wgmma_rows(config), cols = config->number[WGMMA_COLS],
           depth = stage_depth(config) * problem->element / 2.0;
    double products = 2 * rows * cols * depth / device->fp16_per_clock,
           shared = rows * depth / 64 * (2048 + 32 * cols) / 16 / 128,
           copies = stage_bytes(problem, config) / bytes_per_cycle,
           windows = problem->boxes ? 0 : 0.95 * rows * depth / 64;
    double most = products > shared ? products : shared;
    if (windows > copies) copies = windows;
    return most > copies ? most : copies;
}

/* Cycles to store a tile. Where results of others are read, registers are too few for many sums in each
 * thread of two blocks. */
static double epilogue_cycles(const WgmmaProblem *problem, const Config *config) {
    int32_t sums = config->number[WGMMA_REPEAT] * config->number[WGMMA_COLS] / 2;
    double each = 0.158;
    if (problem->reads) each = config->number[WGMMA_RESIDENT] > 1 && sums > 40 ? 0.271 : 0.178;
    return each * wgmma_rows(config) * config->number[WGMMA_COLS];
}

/* Cycles for blocks that do several tiles. */
static double many_cycles(const Device *device, const WgmmaProblem *problem, const Config *config) {
    double resident = config->number[WGMMA_RESIDENT], blocks = device->sm_count * resident;
    double tiles = (double)tiles_of(problem, config), rounds = tiles / blocks;
    double stage = stage_cycles(device, problem, config, 1.68 * device_l2_per_clock(device));
    double main = (double)steps_of(problem, config) * stage;
    double epilogue = epilogue_cycles(problem, config) + 945;
    if (rounds < 4.4) rounds = (double)ceil_div_i64((int64_t)tiles, (int64_t)blocks);
    if (resident == 1) return rounds * (main + epilogue);
    double together = resident * main, alone = main + epilogue;
    return rounds * ((together > alone ? together : alone) + 0.5 * epilogue);
}

/* Cycles where each block does one tile: latencies count, of a step, of a copy and of the slices' meeting. */
static double once_cycles(const Device *device, const WgmmaProblem *problem, const Config *config) {
    static const double joins[MOST_SLICES + 1] = {[2] = 1760, [4] = 2240, [8] = 3560};
    int32_t slices = config->number[WGMMA_SLICES];
    int64_t blocks = tiles_of(problem, config) * slices;
    double sharing = (double)ceil_div_i64(blocks, device->sm_count);
    double rate = l2_rate(device, blocks < device->sm_count ? (double)blocks : device->sm_count);
    double stage = stage_cycles(device, problem, config, rate);
    double latency =
        (COPY_LATENCY + 1.66 * stage_bytes(problem, config) / rate) / (config->number[WGMMA_STAGES] - 1);
    double steps = (double)ceil_div_i64(steps_of(problem, config), slices);
    double epilogue = epilogue_cycles(problem, config) + 1100;
    if (latency < STEP_LATENCY) latency = STEP_LATENCY;
    if (slices > 1)
        epilogue =
            epilogue / slices + joins[slices] + 0.112 * wgmma_rows(config) * config->number[WGMMA_COLS];
    double together = sharing * steps * stage, alone = steps * (stage > latency ? stage : latency) + epilogue;
    if (sharing < 2) return alone;
    return (together > alone ? together : alone) + 0.35 * epilogue;
}

/* Of a normalisation of the left operand: parts of all channels are merged first; what a tile has then is
 * done in packs, before its products. A second step of a tile waits for the first one's. */
static double normal_cycles(const Device *device, const WgmmaProblem *problem, const Config *config) {
    double resident = config->number[WGMMA_RESIDENT], steps = (double)steps_of(problem, config);
    double tiles = (double)ceil_div_i64(tiles_of(problem, config), (int64_t)(device->sm_count * resident));
    double packs = steps * stage_depth(config) * wgmma_rows(config) / EPILOGUE_LANES;
    return 1500 + 26.0 * (double)problem->depth * resident + tiles * packs * (steps > 1 ? 1.2 : 0.5);
}

double wgmma_cost(const Device *device, const WgmmaProblem *problem, const Config *config) {
    int64_t blocks = tiles_of(problem, config) * config->number[WGMMA_SLICES];
    double cycles = blocks > most_blocks(device, config) ? many_cycles(device, problem, config)
                                                         : once_cycles(device, problem, config);
    /* What an operand saves that two blocks share is not modelled: much where a tile waits for L2, but the
     * best tiles do not (times on an H200). */
    if (config->number[WGMMA_SHARES] != SHARE_NOTHING) cycles *= SHARING;
    /* What normalises a tile waits for all of it, and the products wait for that. */
    if (problem->normal_shared > 0) cycles += normal_cycles(device, problem, config);
    double time = (cycles + 1000) / device->clock_mhz,
           moved = (double)problem->bytes / (device->dram_gb_per_s * 1e3);
    return time > moved ? time : moved + 2;
}

/* -- what is legal -- */

/* As many as there is room for beside `others` bytes and what slices share their sums through. */
static void set_stages(const Device *device, const WgmmaProblem *problem, Config *config, int32_t others) {
    int32_t each = device->shared_per_sm / config->number[WGMMA_RESIDENT] - SHARED_RESERVED - SHARED_SLACK;
    int32_t stages =
        (each - others - joined_bytes(config) - problem->normal_shared) / stage_bytes(problem, config);
    config->number[WGMMA_STAGES] = stages < MOST_STAGES ? stages : MOST_STAGES;
}

bool wgmma_make_room(const Device *device, const WgmmaProblem *problem, Config *config, int32_t bytes) {
    set_stages(device, problem, config, bytes);
    return config->number[WGMMA_STAGES] >= 2;
}

/* Parts of a stage: as many as divide a tile's parts into stages of a good depth. */
static int32_t blocks_of(const WgmmaProblem *problem, int32_t depth) {
    int64_t parts = problem->runs * ceil_div_i64(problem->depth, depth);
    int32_t best = 1;
    for (int32_t blocks = 2; blocks * depth * problem->element <= MOST_STAGE_LINE; ++blocks)
        if (parts % blocks == 0) best = blocks;
    return best;
}

/* Halves are whole strips, and parts of 32 columns. */
static bool may_share(const Device *device, const WgmmaProblem *problem, const Config *config) {
    int64_t rows = ceil_div_i64(problem->known_rows, wgmma_rows(config)),
            cols = ceil_div_i64(problem->known_cols, config->number[WGMMA_COLS]);
    if (problem->alone || config->number[WGMMA_SLICES] > 1 || device->sm_count < 2) return false;
    if (wgmma_rows(config) < LEAST_SHARED_ROWS || config->number[WGMMA_COLS] < LEAST_SHARED_COLS)
        return false;
    if (config->number[WGMMA_SHARES] == SHARE_ROWS) return cols > 1;
    return rows > 1 && wgmma_copied_cols(config) % COLUMNS_OF_A_PIECE == 0;
}

static bool is_legal(const Device *device, const WgmmaProblem *problem, const Config *config) {
    if (config->number[WGMMA_STAGES] < 2) return false;
    int32_t slices = config->number[WGMMA_SLICES];
    /* A cluster that must wait for others to end may meet blocks of the next kernel in its place. */
    if (slices > 1 && (tiles_of(problem, config) * slices > most_blocks(device, config) ||
                       steps_of(problem, config) < LEAST_STEPS * slices))
        return false;
    if (problem->outer_b && wgmma_copied_cols(config) % STRIP != 0) return false;
    if (problem->boxes && !problem->outer_a && wgmma_rows(config) > MOST_BOX) return false;
    if (config->number[WGMMA_SHARES] == SHARE_NOTHING) return true;
    return problem->normal_shared == 0 && may_share(device, problem, config);
}

static int64_t padded_depth(const WgmmaProblem *problem, int32_t part) {
    return ceil_div_i64(problem->depth, part) * part;
}

/* The part that wastes least, the widest of such: parts of a run that ends within one are filled with zeros.
 */
static int32_t depth_of(const WgmmaProblem *problem) {
    int32_t widest = BYTES_OF_A_LINE / problem->element, best = widest;
    if (problem->outer_a || problem->outer_b) return best;
    for (int32_t depth = widest / 2; depth >= BYTES_OF_A_STEP / problem->element; depth /= 2)
        if (padded_depth(problem, depth) < padded_depth(problem, best)) best = depth;
    if (!problem->boxes && problem->known_batch > 1) return best; /* behind a group is the next */
    /* Narrow parts pay where they save a tenth. */
    if (padded_depth(problem, widest) * 10 < padded_depth(problem, best) * 11) best = widest;
    return best;
}

int32_t wgmma_configs(const Device *device, const WgmmaProblem *problem, Config out[MOST_CONFIGS]) {
    double costs[MOST_CONFIGS];
    int32_t count = 0, depth = depth_of(problem);
    for (int32_t i = 0; i < SHAPES * WAYS; ++i) {
        const TileShape *shape = &shapes[i / WAYS];
        const Way *way = &ways[i % WAYS];
        Config config = {.count = WGMMA_SHARES + 1,
                         .number = {shape->warpgroups, shape->repeat, shape->cols, depth,
                                    blocks_of(problem, depth), 0, shape->resident, way->slices, way->shares}};
        set_stages(device, problem, &config, 0);
        if (is_legal(device, problem, &config))
            count =
                config_insert(&config, wgmma_cost(device, problem, &config), MOST_CONFIGS, costs, out, count);
    }
    return count;
}

/* -- maps -- */

KernelMap wgmma_matrix_map(const WgmmaProblem *problem, const Config *config, ValueId value, Dim lines,
                           Dim depth, Dim batch, Dim line_stride, Dim batch_stride, bool outer,
                           int32_t box_lines) {
    int32_t part = config->number[WGMMA_DEPTH];
    KernelMap map = {.value = value, .rank = 3, .swizzle = part * problem->element};
    Dim dim[] = {outer ? lines : depth, outer ? depth : lines, batch},
        stride[] = {1, line_stride, batch_stride};
    int32_t box[] = {outer ? STRIP : part, outer ? part : box_lines, 1};
    memcpy(map.dim, dim, sizeof dim);
    memcpy(map.stride, stride, sizeof stride);
    memcpy(map.box, box, sizeof box);
    return map;
}

KernelMap wgmma_spread_map(DimTable *dims, int32_t element, int32_t part, int32_t cols, ValueId value,
                           Dim lines, Dim depth, Dim line_stride) {
    KernelMap map = {.value = value, .rank = 5, .swizzle = part * element};
    static const int32_t extents[] = {0, 2, 4, 4}, steps[] = {0, 1, 8, 2, 32};
    map.dim[0] = depth;
    map.stride[0] = 1;
    map.box[0] = part;
    for (int32_t i = 1; i < 5; ++i) {
        map.dim[i] = i < 4 ? extents[i] : dim_floor_div(dims, lines, 32);
        map.stride[i] = dim_mul(dims, line_stride, steps[i]);
        map.box[i] = i < 4 ? extents[i] : cols / 32;
    }
    return map;
}

/* -- text -- */

void wgmma_declare_tile(KernelWriter *w, const WgmmaProblem *problem, const Config *config, DType dtype) {
    const int32_t *n = config->number;
    static const char *const shares[] = {"SHARE_NOTHING", "SHARE_ROWS", "SHARE_COLUMNS"};
    kernel_declare(w, "typedef WgmmaTile<%s, %d, %d, %d, %d, %d, %d, %d, %d, %s, %s, %s, %s> Tile;",
                   cuda_type(dtype), n[WGMMA_WARPGROUPS], n[WGMMA_REPEAT], n[WGMMA_COLS], n[WGMMA_DEPTH],
                   n[WGMMA_BLOCKS], n[WGMMA_STAGES], n[WGMMA_SLICES], n[WGMMA_RESIDENT],
                   problem->outer_a ? "true" : "false", problem->outer_b ? "true" : "false",
                   wgmma_spreads(problem, config) ? "true" : "false", shares[n[WGMMA_SHARES]]);
}

static int32_t threads_of(const Config *config) {
    int32_t warpgroups = config->number[WGMMA_WARPGROUPS];
    return warpgroups * 128 + (warpgroups == 2 && config->number[WGMMA_RESIDENT] == 1 ? 128 : 32);
}

Status wgmma_finish(KernelWriter *w, const Device *device, const WgmmaProblem *problem, const Config *config,
                    const char *load, const char *store) {
    Emission *emission = kernel_emission(w);
    DimTable *dims = emission->graph->dims;
    Dim rows = dim_ceil_div(dims, problem->rows, wgmma_rows(config));
    Dim cols = dim_ceil_div(dims, problem->cols, config->number[WGMMA_COLS]);
    if (config->number[WGMMA_SHARES] == SHARE_COLS) rows = dim_ceil_div(dims, rows, 2);
    if (config->number[WGMMA_SHARES] == SHARE_ROWS) cols = dim_ceil_div(dims, cols, 2);
    Dim tiles = dim_mul(dims, problem->batch, dim_mul(dims, rows, cols));
    kernel_line(w, "const ProductTiles tiles = {%s, %s, %s};", kernel_number(w, rows), kernel_number(w, cols),
                kernel_number(w, problem->batch));
    if (emission->ahead_bytes > 0)
        kernel_line(w, "if (threadIdx.x == 32) prefetch_part(%s, %lld);",
                    kernel_in_any_order(w, emission->ahead), (long long)emission->ahead_bytes);
    kernel_line(w, "wgmma_product<Tile, %s>(tiles, %s, %s, %lld, %s, %s);",
                problem->constant ? "true" : "false", load, store, (long long)steps_of(problem, config),
                problem->moments == NULL ? "NoMoments{}" : problem->moments,
                problem->normal == NULL ? "NoNormal{}" : problem->normal);
    kernel_waits(w);
    kernel_resident(w, config->number[WGMMA_RESIDENT]);
    int32_t cluster = cluster_of(config);
    Dim grid = tiles;
    if (config->number[WGMMA_SLICES] == 1)
        grid = dim_min(dims, tiles, (int64_t)(device->sm_count / cluster) * config->number[WGMMA_RESIDENT]);
    kernel_cluster(w, cluster);
    return kernel_finish(w, dim_mul(dims, grid, cluster), 1, 1, threads_of(config),
                         config->number[WGMMA_STAGES] * stage_bytes(problem, config) + joined_bytes(config) +
                             SHARED_SLACK);
}
