/* Attention on sm_90a's matrix units, one launch: heads of 64 features; up to 256 keys at once, or in tiles.
 */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/attention_text.h"

enum {
    THREADS = 128,
    QUERIES = 64, /* of a block */
    FEATURES = 64,
    MOST_KEYS = 256,        /* at once */
    TILE = 128,             /* where there are more */
    ROW = 128,              /* bytes */
    SLACK = 1024,           /* for the alignment of tiles */
    VECTOR = 8,             /* elements that strides are multiples of */
    SHARED_RESERVED = 1024, /* by the driver for each block */
    FEW_BLOCKS = 8,         /* this part of the multiprocessors has one */
    KEYS = 0, /* numbers of a config: positions that are read together; whether there are more */
    MANY = 1
};

/* Maps show something, whatever the shapes: there are keys where there are queries. */
static bool has_keys(const Problem *problem) {
    DimTable *dims = problem->graph->dims;
    Dim queries = attention_heads(problem, 0).length, keys = attention_heads(problem, 1).length;
    return dim_known_at_least(dims, keys, 1) || dim_known_at_least(dims, dim_sub(dims, keys, queries), 0);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = attention_block_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    if (!has_keys(problem)) return "keys of which there may be none";
    DType dtype = problem_input(problem, 0)->dtype;
    if (dtype != DTYPE_F16 && dtype != DTYPE_BF16) return "elements that are not of 16 bits";
    for (int32_t i = 0; i < 3; ++i) {
        HeadsText heads = attention_heads(problem, i);
        if (heads.size != FEATURES) return "heads of other than 64 features";
        if (attention_lanes(problem, &heads) != VECTOR) return "features that cannot be read eight at a time";
    }
    return NULL;
}

/* All keys at once, in the least number that the instruction has; or tiles of them. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Dim keys = attention_heads(problem, 1).length;
    int32_t count = 0, at_once = 32;
    (void)device;
    while (dim_is_exact(keys) && at_once < keys && at_once < MOST_KEYS) at_once += 32;
    if (dim_is_exact(keys) && keys <= at_once) out[count++] = (Config){.count = 2, .number = {at_once, 0}};
    out[count++] = (Config){.count = 2, .number = {TILE / 2, 1}};
    out[count++] = (Config){.count = 2, .number = {TILE, 1}};
    return count;
}

/* As in attention_wgmma.cuh. */
static int32_t shared_memory(const Config *config) {
    int32_t keys = config->number[KEYS], weights = (int32_t)round_up_i64(keys, QUERIES);
    int32_t rows = QUERIES + weights + (config->number[MANY] != 0 ? 4 * keys : keys);
    return SLACK + rows * ROW;
}

static int32_t resident_of(const Device *device, const Config *config) {
    int32_t blocks = device->shared_per_sm / (shared_memory(config) + SHARED_RESERVED);
    int32_t most = config->number[KEYS] > TILE ? 2 : 3; /* by registers */
    return blocks < most ? blocks : most;
}

/* Cycles of a multiprocessor for a block, and for each key that it reads, fitted to times on an H200. Very
 * few blocks are for attention_mma, whose warps share keys. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    enum { AT_ONCE = 700, IN_TILES = 1050 };
    const double of_key = 9.2;
    int64_t blocks = dim_at_opt(problem->graph, attention_block_count(problem, QUERIES));
    int64_t keys = dim_at_opt(problem->graph, attention_heads(problem, 1).length);
    if (blocks * FEW_BLOCKS < device->sm_count) return 0;
    double rounds = blocks < device->sm_count ? 1 : (double)blocks / device->sm_count;
    double cycles = (config->number[MANY] != 0 ? IN_TILES : AT_ONCE) +
                    of_key * (double)round_up_i64(keys, config->number[KEYS]);
    return device->launch_us + rounds * cycles / device->clock_mhz;
}

static const char *map_text(KernelWriter *w, int32_t input, int32_t positions) {
    const Problem *problem = kernel_emission(w)->problem;
    HeadsText heads = attention_heads(problem, input);
    KernelMap map = attention_map(problem, &heads, positions);
    return kernel_map(w, &map);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    int32_t keys = config->number[KEYS];
    KernelWriter *w = kernel_begin(emission, "attention_wgmma");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "attention_wgmma.cuh");
    const char *q = map_text(w, 0, QUERIES), *k = map_text(w, 1, keys), *v = map_text(w, 2, keys);
    const char *epilogue = kernel_pack_epilogue(w, problem_epilogue_lanes(problem));
    kernel_line(w, "attention_warpgroup<%d, %s, %s>(%s, %s, %s, %s);", keys,
                config->number[MANY] != 0 ? "true" : "false", cuda_type(problem_input(problem, 0)->dtype), q,
                k, v, attention_rest_text(w, epilogue));
    kernel_waits(w);
    kernel_resident(w, resident_of(device, config));
    return kernel_finish(w, attention_block_count(problem, QUERIES), 1, 1, THREADS, shared_memory(config));
}

const Tactic tactic_attention_wgmma = {.name = "attention_wgmma",
                                       .version = 1,
                                       .strided = true,
                                       .arch = "sm_90a",
                                       .refuses = refuses,
                                       .configs = configs,
                                       .cost = cost,
                                       .emit = emit};
