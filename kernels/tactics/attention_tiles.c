/* Attention in tiles of queries and keys, one launch: heads of up to 256 features of known number. */
#include "kernels/access.h"
#include "kernels/attention_text.h"
#include "ops/attention.h"

enum { THREADS = 256, MOST_FEATURES = 256, SHARED_MEMORY = 48 << 10 };

/* Numbers of a config. */
enum { QUERIES, KEYS, REUSE, NUMBERS };

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = attention_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    for (int32_t i = 1; i < 4; ++i)
        if (problem_output(problem, i) != NULL) return "caches or scores are wanted";
    if (anchor_input(problem, ATTENTION_PAST_KEY) != NONE) return "a cache comes before the keys";
    HeadsText q = attention_heads(problem, 0), v = attention_heads(problem, 2);
    if (!dim_is_exact(q.size) || !dim_is_exact(v.size) || q.size < 1 || v.size < 1)
        return "heads of unknown size";
    if (q.size > MOST_FEATURES || v.size > MOST_FEATURES) return "heads of more than 256 features";
    if (problem_input(problem, 0)->dtype == DTYPE_F64) return "doubles";
    if (problem_output(problem, 0)->layout != LAYOUT_PLAIN) return "a result that is not row-major";
    ValueId valid = anchor_input(problem, ATTENTION_VALID);
    if (valid != NONE && !value_is_plain(problem_value(problem, valid))) return "numbers of keys in a slice";
    return NULL;
}

/* -- configs -- */

static int64_t round_up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

/* As AttentionTile of attention_tiles.cuh has it. */
static int64_t shared_memory(int64_t size, int64_t width, const int32_t *number) {
    int64_t packs = (size + 3) / 4, row = (packs / 2 * 2 + 1) * 4;
    int64_t lanes = width % 64 == 0 ? 4 : width % 32 == 0 ? 2 : 1, value_row = round_up(width, 16 * lanes);
    int64_t keys = number[KEYS] * row, values = number[KEYS] * value_row;
    int64_t both = number[REUSE] == 0 ? keys + values : keys > values ? keys : values;
    return 4 * (number[QUERIES] * row + both + number[QUERIES] * (number[KEYS] + 4) + 4);
}

static Dim block_count(DimTable *dims, const Problem *problem, const HeadsText *q, int32_t queries) {
    Dim planes = dim_mul(dims, problem_input(problem, 0)->shape.dim[0], q->heads);
    return dim_mul(dims, planes, dim_ceil_div(dims, q->length, queries));
}

/* The tile of most queries that leaves no multiprocessor idle comes first, then what has more or less. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    static const int32_t numbers[][NUMBERS] = {{64, 32, 0}, {32, 64, 0}, {32, 32, 0},
                                               {16, 64, 0}, {16, 32, 0}, {32, 16, 0},
                                               {16, 16, 0}, {16, 32, 1}, {16, 16, 1}};
    DimTable *dims = problem->graph->dims;
    HeadsText q = attention_heads(problem, 0), v = attention_heads(problem, 2);
    int32_t count = 0, best = -1;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i) {
        bool is_last = i + 1 == sizeof numbers / sizeof numbers[0] && count == 0;
        if (shared_memory(q.size, v.size, numbers[i]) > SHARED_MEMORY && !is_last) continue;
        if (numbers[i][REUSE] != 0 && count > 0) continue;
        Dim blocks = block_count(dims, problem, &q, numbers[i][QUERIES]);
        bool fills = !dim_is_exact(blocks) || blocks >= device->sm_count;
        if (best < 0 && fills) best = count;
        out[count++] = (Config){NUMBERS, {numbers[i][0], numbers[i][1], numbers[i][2]}};
    }
    if (best < 0) /* few queries: small tiles of them */
        for (best = 0; best + 1 < count && out[best].number[QUERIES] > 16;) best++;
    Config first = out[best];
    for (; best > 0; --best) out[best] = out[best - 1];
    out[0] = first;
    return count;
}

/* -- emission -- */

/* [batch, head, position, feature] */
static void head_strides(const Problem *problem, const HeadsText *heads, Dim out[4]) {
    Dim own[SMELT_MAX_RANK];
    value_strides(problem->graph, heads->value, own);
    out[0] = own[0];
    out[1] = heads->packed ? dim_mul(problem->graph->dims, heads->size, own[2]) : own[1];
    out[2] = heads->packed ? own[1] : own[2];
    out[3] = heads->packed ? own[2] : own[3];
}

/* Features that can be read with one access. */
static int32_t head_lanes(const Problem *problem, const HeadsText *heads) {
    const Value *value = problem_value(problem, heads->value);
    int32_t lanes = VECTOR_BYTES * 8 / dtype_bits(value->dtype);
    Dim strides[4];
    head_strides(problem, heads, strides);
    if (strides[3] != 1 || !access_value_is_aligned(value)) return 1;
    while (lanes > 1 && heads->size % lanes != 0) lanes /= 2;
    for (int32_t i = 0; i < 3; ++i)
        while (lanes > 1 && dim_divisor(problem->graph->dims, strides[i]) % lanes != 0) lanes /= 2;
    return lanes;
}

static const char *heads_text(KernelWriter *w, const HeadsText *heads) {
    const Problem *problem = kernel_emission(w)->problem;
    Dim strides[4];
    head_strides(problem, heads, strides);
    return kernel_format(
        w, "StridedHeads<%s>{%s, %s, %s, %s, %s}", cuda_type(problem_value(problem, heads->value)->dtype),
        kernel_pointer(w, heads->value), kernel_number(w, strides[0]), kernel_number(w, strides[1]),
        kernel_number(w, strides[2]), kernel_number(w, strides[3]));
}

static const char *sizes_text(KernelWriter *w, const HeadsText *q, const HeadsText *k, const HeadsText *v) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    Dim row = dim_mul(dims, q->heads, v->size), plane = dim_mul(dims, q->length, v->size);
    return kernel_format(w, "AttentionSizes{%s, %s, %s, %s, %s, %s, %s}", kernel_number(w, q->heads),
                         kernel_number(w, k->heads), kernel_number(w, q->length), kernel_number(w, k->length),
                         kernel_number(w, dim_mul(dims, q->heads, plane)),
                         kernel_number(w, q->packed ? v->size : plane),
                         kernel_number(w, q->packed ? row : v->size));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    HeadsText q = attention_heads(problem, 0), k = attention_heads(problem, 1),
              v = attention_heads(problem, 2);
    ValueId valid = anchor_input(problem, ATTENTION_VALID);
    KernelWriter *w = kernel_begin(emission, "attention_tiles");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "attention_tiles.cuh");
    kernel_line(w, "typedef AttentionTile<%d, %d, %lld, %lld, %d, %d, %d, %s> Tile;", config->number[QUERIES],
                config->number[KEYS], (long long)q.size, (long long)v.size, head_lanes(problem, &q),
                head_lanes(problem, &k), head_lanes(problem, &v),
                config->number[REUSE] != 0 ? "true" : "false");
    kernel_line(w, "attention_tiles<Tile>(%s, %s, %s, %s, %s, %s, %s, %s);", heads_text(w, &q),
                heads_text(w, &k), heads_text(w, &v), sizes_text(w, &q, &k, &v),
                attention_rule_text(w, "float", q.size), attention_mask_text(w),
                valid != NONE ? kernel_pointer(w, valid) : "(const long long *)nullptr", kernel_epilogue(w));
    return kernel_finish(w, block_count(emission->graph->dims, problem, &q, config->number[QUERIES]), 1, 1,
                         THREADS, 0);
}

const Tactic tactic_attention_tiles = {.name = "attention_tiles",
                                       .version = 1,
                                       .strided = true,
                                       .refuses = refuses,
                                       .configs = configs,
                                       .emit = emit};
