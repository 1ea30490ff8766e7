/* Attention on matrix units, one launch: 16-bit elements, heads of up to 128 features that can be read eight
 * at a time. */
#include "base/checked.h"
#include "kernels/attention_text.h"

enum {
    WARP = 32,
    MOST_FEATURES = 128,
    SHARED_MEMORY = 48 << 10,
    LEAST_SM = 80,
    RESIDENT_THREADS = 512 /* of a multiprocessor: each has up to 128 registers */
};

/* Numbers of a config, as MatrixTile of attention_mma.cuh has them. */
enum { BANDS, SHARES, KEYS, BUFFERS, NUMBERS };

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = attention_block_refuses(problem);
    if (why != NULL) return why;
    DType dtype = problem_input(problem, 0)->dtype;
    if (dtype != DTYPE_F16 && dtype != DTYPE_BF16) return "elements that are not of 16 bits";
    if (device->sm < LEAST_SM && dtype != DTYPE_F16) return "matrix units of sm_75";
    for (int32_t i = 0; i < 3; ++i) {
        HeadsText heads = attention_heads(problem, i);
        if (heads.size > MOST_FEATURES) return "heads of more than 128 features";
        if (attention_lanes(problem, &heads) != 8) return "features that cannot be read eight at a time";
    }
    return NULL;
}

/* -- configs -- */

static int64_t shared_memory(int64_t size, int64_t width, const int32_t *number) {
    int64_t row = round_up_i64(size, 16) + 8, value_row = round_up_i64(width, 16) + 8;
    int64_t tiles = 2 * (int64_t)number[BUFFERS] * number[SHARES] * number[KEYS] * (row + value_row);
    int64_t parts = 4 * (int64_t)number[SHARES] * number[BANDS] * 16 * (round_up_i64(width, 16) + 4 + 2);
    return number[SHARES] > 1 && parts > tiles ? parts : tiles;
}

/* The most queries to a block that leave no multiprocessor idle come first; where there are few, warps share
 * the keys. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    static const int32_t numbers[][NUMBERS] = {{8, 1, 64, 2}, {7, 1, 64, 2}, {4, 1, 64, 2}, {4, 1, 32, 2},
                                               {2, 2, 32, 2}, {2, 2, 16, 2}, {1, 4, 32, 1}, {1, 4, 16, 2},
                                               {1, 4, 16, 1}, {1, 2, 16, 1}};
    HeadsText q = attention_heads(problem, 0), v = attention_heads(problem, 2);
    int32_t count = 0, best = -1, shared = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i) {
        if (shared_memory(q.size, v.size, numbers[i]) > SHARED_MEMORY) continue;
        Dim blocks = attention_block_count(problem, 16 * numbers[i][BANDS]);
        if (best < 0 && (!dim_is_exact(blocks) || blocks >= device->sm_count)) best = count;
        if (numbers[i][BANDS] > 1) shared = count + 1;
        out[count++] = (Config){NUMBERS, {numbers[i][0], numbers[i][1], numbers[i][2], numbers[i][3]}};
    }
    if (best < 0) best = shared;
    config_prefer(out, best);
    return count;
}

/* -- emission -- */

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    HeadsText q = attention_heads(problem, 0), v = attention_heads(problem, 2);
    const int32_t *number = config->number;
    KernelWriter *w = kernel_begin(emission, "attention_mma");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "attention_mma.cuh");
    kernel_line(w, "typedef MatrixTile<%d, %d, %d, %lld, %lld, %d> Tile;", number[BANDS], number[SHARES],
                number[KEYS], (long long)q.size, (long long)v.size, number[BUFFERS]);
    const char *epilogue = kernel_pack_epilogue(w, problem_epilogue_lanes(problem));
    kernel_line(w, "attention_matrices<Tile>(%s);", attention_block_text(w, epilogue));
    int32_t threads = number[BANDS] * number[SHARES] * WARP;
    kernel_resident(w, RESIDENT_THREADS / threads);
    return kernel_finish(w, attention_block_count(problem, 16 * number[BANDS]), 1, 1, threads, 0);
}

const Tactic tactic_attention_mma = {.name = "attention_mma",
                                     .version = 2,
                                     .strided = true,
                                     .refuses = refuses,
                                     .configs = configs,
                                     .emit = emit};
