/* Attention in tiles of queries and keys, one launch: heads of up to 256 features of known number. */
#include "base/checked.h"
#include "kernels/attention_text.h"

enum { THREADS = 256, MOST_FEATURES = 256, SHARED_MEMORY = 48 << 10 };

/* Numbers of a config. */
enum { QUERIES, KEYS, REUSE, NUMBERS };

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = attention_block_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    HeadsText q = attention_heads(problem, 0), v = attention_heads(problem, 2);
    if (q.size > MOST_FEATURES || v.size > MOST_FEATURES) return "heads of more than 256 features";
    return problem_input(problem, 0)->dtype == DTYPE_F64 ? "doubles" : NULL;
}

/* -- configs -- */

/* As AttentionTile of attention_tiles.cuh has it. */
static int64_t shared_memory(int64_t size, int64_t width, const int32_t *number) {
    int64_t packs = (size + 3) / 4, row = (packs / 2 * 2 + 1) * 4;
    int64_t lanes = width % 64 == 0   ? 4
                    : width % 32 == 0 ? 2
                                      : 1,
            value_row = round_up_i64(width, 16 * lanes);
    int64_t keys = number[KEYS] * row, values = number[KEYS] * value_row;
    int64_t both = number[REUSE] == 0 ? keys + values : keys > values ? keys : values;
    return 4 * (number[QUERIES] * row + both + number[QUERIES] * (number[KEYS] + 4) + 4);
}

/* The tile of most queries that leaves no multiprocessor idle comes first, then what has more or less. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    static const int32_t numbers[][NUMBERS] = {{64, 32, 0}, {32, 64, 0}, {32, 32, 0},
                                               {16, 64, 0}, {16, 32, 0}, {32, 16, 0},
                                               {16, 16, 0}, {16, 32, 1}, {16, 16, 1}};
    HeadsText q = attention_heads(problem, 0), v = attention_heads(problem, 2);
    int32_t count = 0, best = -1;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i) {
        bool is_last = i + 1 == sizeof numbers / sizeof numbers[0] && count == 0;
        if (shared_memory(q.size, v.size, numbers[i]) > SHARED_MEMORY && !is_last) continue;
        if (numbers[i][REUSE] != 0 && count > 0) continue;
        Dim blocks = attention_block_count(problem, numbers[i][QUERIES]);
        bool fills = !dim_is_exact(blocks) || blocks >= device->sm_count;
        if (best < 0 && fills) best = count;
        out[count++] = (Config){NUMBERS, {numbers[i][0], numbers[i][1], numbers[i][2]}};
    }
    if (best < 0) /* few queries: small tiles of them */
        for (best = 0; best + 1 < count && out[best].number[QUERIES] > 16;) best++;
    config_prefer(out, best);
    return count;
}

/* -- emission -- */

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    HeadsText q = attention_heads(problem, 0), k = attention_heads(problem, 1),
              v = attention_heads(problem, 2);
    KernelWriter *w = kernel_begin(emission, "attention_tiles");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "attention_tiles.cuh");
    kernel_line(w, "typedef AttentionTile<%d, %d, %lld, %lld, %d, %d, %d, %s> Tile;", config->number[QUERIES],
                config->number[KEYS], (long long)q.size, (long long)v.size, attention_lanes(problem, &q),
                attention_lanes(problem, &k), attention_lanes(problem, &v),
                config->number[REUSE] != 0 ? "true" : "false");
    kernel_line(w, "attention_tiles<Tile>(%s);", attention_block_text(w, kernel_epilogue(w)));
    return kernel_finish(w, attention_block_count(problem, config->number[QUERIES]), 1, 1, THREADS, 0);
}

const Tactic tactic_attention_tiles = {.name = "attention_tiles",
                                       .version = 1,
                                       .slow = SLOW_FOR_HALVES,
                                       .strided = true,
                                       .refuses = refuses,
                                       .configs = configs,
                                       .emit = emit};
