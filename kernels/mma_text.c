#include "kernels/mma_text.h"

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/window_text.h"

enum {
    LEAST_SM = 80, /* for bf16 and TF32, and copies to shared memory in the background */
    LINE = 64,     /* bytes of a stage's line along the depth, or twice that */
    MOST_STAGES = 4,
    MOST_SLICES = 16,
    LEAST_STEPS = 4, /* of a slice */
    MOST_COPIES = 8, /* of a thread for one stage of an operand: each has registers */
    MOST_SUMS = 64,  /* of a thread, where operands of matrix units have 32 bits or are held in registers */
    KEPT_CONFIGS = 12,
    WARP = 32,
    MOST_RESIDENT = 8,
    REGISTERS = 65536,      /* of a multiprocessor of every architecture */
    SHARED_RESERVED = 1024, /* by the driver for each block */
    TILE_WAIT = 1500,       /* cycles */
    START = 3,              /* microseconds of a launch */
    SUM_THREADS = 256
};

static const int32_t shapes[][MMA_DEPTH] = {{128, 128, 64, 64}, {128, 128, 64, 32}, {128, 64, 64, 32},
                                            {64, 128, 64, 32},  {128, 32, 32, 32},  {64, 64, 32, 32},
                                            {32, 128, 32, 32},  {64, 32, 16, 32},   {32, 64, 16, 32},
                                            {32, 32, 16, 32},   {16, 128, 16, 32}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* -- what it is -- */

const char *mma_refuses(const Problem *problem, const Device *device, MmaPrecision precision) {
    const Value *a = problem_input(problem, 0), *b = problem_input(problem, 1);
    if (a == NULL || b == NULL) return "operands that are left out";
    DType dtype = a->dtype;
    if (b->dtype != dtype) return "operands of different types";
    if (precision != MMA_AS_STATED && dtype != DTYPE_F32) return "operands that are not fp32";
    if (precision == MMA_PLAIN) return NULL;
    if (dtype == DTYPE_F32 && precision == MMA_AS_STATED && !problem->graph->tf32)
        return "fp32 without --precision=tf32";
    if (dtype != DTYPE_F32 && !dtype_is_half(dtype)) return "operands that are not fp16, bf16 or fp32";
    if (dtype != DTYPE_F16 && device->sm < LEAST_SM) return "matrix units of sm_75";
    return NULL;
}

MmaProblem mma_problem(const Problem *problem, MmaPrecision precision) {
    return (MmaProblem){.batch = 1,
                        .dtype = problem_input(problem, 0)->dtype,
                        .terms = precision == MMA_PLAIN         ? 0
                                 : precision == MMA_THREE_TERMS ? 3
                                                                : 1,
                        .bytes = problem_bytes(problem)};
}

int32_t mma_copy(DType dtype, int64_t divisor) {
    int32_t size = dtype_bits(dtype) / 8;
    for (int32_t copy = 16 / size; copy * size >= 4; copy /= 2)
        if (divisor % copy == 0) return copy;
    return 0;
}

static int32_t element_size(const MmaProblem *product) {
    return dtype_bits(product->dtype) / 8;
}

static int32_t threads_of(const Config *config) {
    const int32_t *n = config->number;
    return n[MMA_ROWS] / n[MMA_WARP_ROWS] * (n[MMA_COLS] / n[MMA_WARP_COLS]) * WARP;
}

static int32_t stage_bytes(const MmaProblem *product, const Config *config) {
    const int32_t *n = config->number;
    return (n[MMA_ROWS] + n[MMA_COLS]) * n[MMA_DEPTH] * element_size(product);
}

static int32_t shared_bytes(const MmaProblem *product, const Config *config) {
    return config->number[MMA_STAGES] * stage_bytes(product, config);
}

static int64_t at_opt(const Problem *problem, Dim d) {
    int64_t number = dim_at_opt(problem->graph, d);
    return number > 0 ? number : 1;
}

/* -- what it costs -- */

/* Without matrix units a thread reads HEIGHT + WIDTH operands from shared memory for HEIGHT x WIDTH products,
 * which takes that share of the time from them. Fits what kernels of three shapes took on an H200. */
static double plain_share(const Config *config) {
    double height = config->number[MMA_WARP_ROWS] / 8.0, width = config->number[MMA_WARP_COLS] / 4.0;
    return height * width / (height * width + 3 * (height + width));
}

/* Multiplications and additions of a multiprocessor in a cycle. What wgmma or tcgen05 are made for, mma.sync
 * reaches about 0.6 of the rate of. */
static double products_per_clock(const Device *device, const MmaProblem *product, const Config *config) {
    if (product->terms == 0)
        return plain_share(config) * device->fp32_tflops * 1e6 / device->clock_mhz / device->sm_count;
    double rate =
        device->sm == 90 || device->sm == 100 ? 0.6 * device->fp16_per_clock : device->fp16_per_clock;
    if (product->dtype != DTYPE_F32) return rate;
    return rate * device->tf32_tflops / device->fp16_tflops / product->terms;
}

/* Blocks that share a multiprocessor's registers, as the sums and what is beside them need them. */
static int32_t registers_allow(int32_t registers, const Config *config) {
    const int32_t *n = config->number;
    int32_t blocks = registers / (threads_of(config) * (n[MMA_WARP_ROWS] * n[MMA_WARP_COLS] / WARP + 72));
    return blocks < 1 ? 1 : blocks > MOST_RESIDENT ? MOST_RESIDENT : blocks;
}

/* Blocks that share a multiprocessor. */
static int32_t resident(const Device *device, const MmaProblem *product, const Config *config) {
    int32_t by_memory = device->shared_per_sm / (shared_bytes(product, config) + SHARED_RESERVED);
    int32_t by_registers = registers_allow(device->registers_per_sm, config);
    int32_t least = by_memory < by_registers ? by_memory : by_registers;
    return least < 1 ? 1 : least;
}

/* Cycles of a tile's products and copies for a multiprocessor that `warps` warps share: few of them do not
 * hide the latency of their instructions. */
static double main_cycles(const Device *device, const MmaProblem *product, const Config *config, double depth,
                          double warps) {
    const int32_t *n = config->number;
    double products = 2.0 * n[MMA_ROWS] * n[MMA_COLS] * depth / products_per_clock(device, product, config);
    double copies =
        (double)(n[MMA_ROWS] + n[MMA_COLS]) * depth * element_size(product) / device_l2_per_clock(device);
    return (products > copies ? products : copies) * (1 + 3 / warps);
}

static int64_t tiles_at_opt(const Problem *problem, const MmaProblem *product, const Config *config) {
    return ceil_div_i64(at_opt(problem, product->sums.rows), config->number[MMA_ROWS]) *
           ceil_div_i64(at_opt(problem, product->sums.cols), config->number[MMA_COLS]) *
           at_opt(problem, product->batch);
}

/* Writing the sums of slices, and reading them again. */
static double slices_time(const Problem *problem, const Device *device, const MmaProblem *product,
                          const Config *config) {
    double sums = (double)at_opt(problem, product->sums.rows) * (double)at_opt(problem, product->sums.cols) *
                  (double)at_opt(problem, product->batch) * sizeof(float);
    return START + 2 * sums * config->number[MMA_SLICES] / (device->l2_gb_per_s * 1e3);
}

/* Nothing of this is measured: it ranks tiles by how well they use the rates of the GPU's description. Each
 * tile begins and ends with a wait for memory. */
double mma_cost(const Problem *problem, const Device *device, const MmaProblem *product,
                const Config *config) {
    const int32_t *n = config->number;
    int64_t steps = ceil_div_i64(at_opt(problem, product->depth), n[MMA_DEPTH]),
            tiles = tiles_at_opt(problem, product, config) * n[MMA_SLICES];
    double depth = (double)ceil_div_i64(steps, n[MMA_SLICES]) * n[MMA_DEPTH];
    double blocks = (double)tiles / device->sm_count, most = resident(device, product, config);
    double sharing = blocks < 1 ? 1 : blocks < most ? blocks : most;
    double main = main_cycles(device, product, config, depth, sharing * threads_of(config) / WARP);
    double epilogue = (double)n[MMA_ROWS] * n[MMA_COLS] * (product->reads ? 0.25 : 0.1);
    double rounds = blocks / sharing;
    if (rounds < 4) rounds = (double)ceil_div_i64(tiles, (int64_t)(device->sm_count * sharing));
    double time = rounds * (sharing * (main + epilogue) + TILE_WAIT) / device->clock_mhz + START;
    double moved = (double)product->bytes / (device->dram_gb_per_s * 1e3) + START;
    if (n[MMA_SLICES] > 1) time += slices_time(problem, device, product, config);
    return time > moved ? time : moved;
}

/* -- what is legal -- */

/* Threads divide the pieces of a line, and have registers for theirs. */
static bool copies_fit(const Config *config, bool outer, int32_t lines, int32_t copy) {
    int32_t depth = config->number[MMA_DEPTH], threads = threads_of(config);
    int32_t pieces = (outer ? lines : depth) / copy, count = (outer ? depth : lines);
    return threads % pieces == 0 && ceil_div_i64(count, threads / pieces) <= MOST_COPIES;
}

static bool is_legal(const Problem *problem, const Device *device, const MmaProblem *product,
                     const Config *config) {
    const int32_t *n = config->number;
    if (n[MMA_STAGES] < 2 || shared_bytes(product, config) > device->shared_per_block) return false;
    bool narrow = device->sm < LEAST_SM; /* the next stage is in registers, too */
    if (narrow && n[MMA_DEPTH] * element_size(product) > LINE) return false;
    bool held = narrow || (product->dtype == DTYPE_F32 && product->terms > 0);
    if (held && n[MMA_WARP_ROWS] * n[MMA_WARP_COLS] / WARP > MOST_SUMS) return false;
    if (!copies_fit(config, product->outer_a, n[MMA_ROWS], product->copy_a) ||
        !copies_fit(config, product->outer_b, n[MMA_COLS], product->copy_b))
        return false;
    if (n[MMA_SLICES] == 1) return true;
    int64_t tiles = tiles_at_opt(problem, product, config);
    int64_t steps = ceil_div_i64(at_opt(problem, product->depth), n[MMA_DEPTH]);
    return dim_is_exact(product->depth) && tiles * n[MMA_SLICES] <= 2 * (int64_t)device->sm_count &&
           steps >= (int64_t)LEAST_STEPS * n[MMA_SLICES];
}

/* As many as fit twice into a multiprocessor's memory. sm_75 reads the next stage to registers. */
static int32_t stages_of(const Device *device, const MmaProblem *product, const Config *config) {
    int32_t most = device->shared_per_block / 2 / stage_bytes(product, config);
    if (device->sm < LEAST_SM || most < 2) return 2;
    return most < MOST_STAGES ? most : MOST_STAGES;
}

int32_t mma_configs(const Problem *problem, const Device *device, const MmaProblem *product,
                    Config out[MOST_CONFIGS]) {
    double costs[KEPT_CONFIGS];
    int32_t count = 0;
    for (int32_t i = 0; i < 2 * SHAPES; ++i)
        for (int32_t slices = 1; slices <= MOST_SLICES; slices *= 2) {
            const int32_t *shape = shapes[i / 2];
            Config config = {.count = MMA_NUMBERS,
                             .number = {shape[0], shape[1], shape[2], shape[3],
                                        LINE * (1 + i % 2) / element_size(product), 0, slices}};
            config.number[MMA_STAGES] = stages_of(device, product, &config);
            if (!is_legal(problem, device, product, &config)) continue;
            count = config_insert(&config, mma_cost(problem, device, product, &config), KEPT_CONFIGS, costs,
                                  out, count);
        }
    return count;
}

/* -- text -- */

static Dim tiles_of(DimTable *dims, const MmaProblem *product, const Config *config, KernelWriter *w,
                    const char **text) {
    Dim rows = dim_ceil_div(dims, product->sums.rows, config->number[MMA_ROWS]);
    Dim cols = dim_ceil_div(dims, product->sums.cols, config->number[MMA_COLS]);
    *text = kernel_format(w, "ProductTiles{%s, %s, %s}", kernel_number(w, rows), kernel_number(w, cols),
                          kernel_number(w, product->batch));
    return dim_mul(dims, product->batch, dim_mul(dims, rows, cols));
}

KernelWriter *mma_begin(Emission *emission, const char *family, const MmaProblem *product,
                        const Config *config) {
    KernelWriter *w = kernel_begin(emission, family);
    const int32_t *n = config->number;
    const char *tiles;
    if (w == NULL) return NULL;
    kernel_include(w, "mma_product.cuh");
    kernel_declare(w, "typedef MmaTile<%s, %d, %d, %d, %d, %d, %d, %d, %d, %d, %s, %s> Tile;",
                   cuda_type(product->dtype), product->terms, n[MMA_ROWS], n[MMA_COLS], n[MMA_WARP_ROWS],
                   n[MMA_WARP_COLS], n[MMA_DEPTH], n[MMA_STAGES], product->copy_a, product->copy_b,
                   product->outer_a ? "true" : "false", product->outer_b ? "true" : "false");
    (void)tiles_of(emission->graph->dims, product, config, w, &tiles);
    kernel_line(w, "const MmaPlace place = mma_place<Tile>(%s);", tiles);
    return w;
}

/* Depth of a slice: whole steps. */
static Dim slice_depth(DimTable *dims, const MmaProblem *product, const Config *config) {
    Dim steps = dim_ceil_div(dims, product->depth, config->number[MMA_DEPTH]);
    return dim_mul(dims, dim_ceil_div(dims, steps, config->number[MMA_SLICES]), config->number[MMA_DEPTH]);
}

/* Sums of all slices, in scratch memory; and how many of them are packs. */
static const char *slices_text(KernelWriter *w, const MmaProblem *product, const Config *config) {
    Emission *emission = kernel_emission(w);
    DimTable *dims = emission->graph->dims;
    Dim each = dim_mul(dims, product->batch, dim_mul(dims, product->sums.rows, product->sums.cols));
    Dim all = dim_mul(dims, each, config->number[MMA_SLICES]);
    emission->scratch_bytes = dim_mul(dims, all, (int64_t)sizeof(float));
    kernel_number(w, all); /* indices reach that far */
    return kernel_scratch(w, 0, "float");
}

static int32_t slice_lanes(const MmaProblem *product) {
    return dim_is_exact(product->sums.cols) && product->sums.cols % EPILOGUE_LANES == 0 ? EPILOGUE_LANES : 1;
}

/* "8, 1, 49, 512": of a batch of sums in scratch memory. */
static const char *sizes_text(KernelWriter *w, const MmaProblem *product) {
    return kernel_format(w, "%s, %s, %s", kernel_number(w, product->batch),
                         kernel_number(w, product->sums.rows), kernel_number(w, product->sums.cols));
}

Status mma_finish(KernelWriter *w, const MmaProblem *product, const Config *config, const char *a,
                  const char *b, const char *store) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    const char *tiles, *depth = kernel_number(w, product->depth);
    Dim grid = tiles_of(dims, product, config, w, &tiles);
    if (store != NULL)
        kernel_line(w, "mma_product<Tile>(place, %s, %s, 0, %s, %s);", a, b, depth, store);
    else
        kernel_line(w, "mma_slice<Tile, %d>(place, %s, %s, %s, %s, %s, %s);", slice_lanes(product), a, b,
                    depth, kernel_number(w, slice_depth(dims, product, config)), sizes_text(w, product),
                    slices_text(w, product, config));
    if (product->terms == 0) kernel_resident(w, registers_allow(REGISTERS, config));
    return kernel_finish(w, grid, config->number[MMA_SLICES], 1, threads_of(config),
                         shared_bytes(product, config));
}

Status mma_add_slices(KernelWriter *w, const MmaProblem *product, const Config *config, const char *store) {
    Emission *emission = kernel_emission(w);
    DimTable *dims = emission->graph->dims;
    kernel_include(w, "mma_product.cuh");
    kernel_line(w, "mma_add_slices<%d>(%s, %d, %s, %s);", slice_lanes(product),
                slices_text(w, product, config), config->number[MMA_SLICES], sizes_text(w, product), store);
    Dim lines = dim_mul(dims, product->batch, product->sums.rows);
    Dim packs = dim_mul(dims, lines, dim_ceil_div(dims, product->sums.cols, EPILOGUE_LANES));
    return kernel_finish(w, kernel_grid_for(emission, packs, SUM_THREADS), 1, 1, SUM_THREADS, 0);
}
