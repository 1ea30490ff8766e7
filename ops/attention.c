/* Attention of opset 24: softmax(scale Q K' + mask) V over heads, with shared key/value heads, a cache, soft
 * capping and a causal mask. Blocks of query rows at a time, so that memory does not grow with their number.
 */
#include "ops/attention.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ops/fastmath.h"
#include "ops/gemm.h"
#include "ops/kit.h"
#include "ops/widen.h"

Status parse_Attention(const ParseCtx *ctx, const void **attrs) {
    AttentionAttrs *own = ARENA_NEW(ctx->arena, AttentionAttrs);
    TRY_ALLOC(ctx->diag, own);
    int64_t causal;
    TRY(attr_int(ctx->list, "is_causal", 0, &causal, ctx->diag));
    own->causal = causal != 0;
    TRY(attr_int_in(ctx->list, "q_num_heads", 0, 0, INT32_MAX, &own->q_heads, ctx->diag));
    TRY(attr_int_in(ctx->list, "kv_num_heads", 0, 0, INT32_MAX, &own->kv_heads, ctx->diag));
    TRY(attr_int_in(ctx->list, "qk_matmul_output_mode", 0, 0, 3, &own->output_mode, ctx->diag));
    TRY(attr_float(ctx->list, "softcap", 0, &own->softcap, ctx->diag));
    own->has_scale = attr_find(ctx->list, "scale") != NULL;
    TRY(attr_float(ctx->list, "scale", 1, &own->scale, ctx->diag));
    if (own->has_scale && !(own->scale >= 0))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "scale is %g, expected a positive number",
                    (double)own->scale);
    *attrs = own;
    return STATUS_OK;
}

/* -- kernel -- */

enum { QUERY_ROWS = 64, SCORES = 1 << 18 /* most elements of a block of scores, beyond one row */ };

/* Q, K or V seen as [batch, head, position, feature]. */
typedef struct Heads {
    const Tensor *tensor, *past; /* past: NULL, or what comes before in the positions */
    int64_t heads, length, size; /* length without past */
    bool packed;                 /* [batch, position, heads * feature] */
} Heads;

typedef struct AttentionRun {
    const AttentionAttrs *attrs;
    GemmType type;
    Heads q, k, v;
    const Tensor *mask, *valid;
    Tensor *y, *scores_out;
    int64_t past, total; /* key positions in the cache, and in all */
    double scale;
    int64_t mask_stride[4], mask_width;
    int64_t rows, row_blocks; /* query rows of a block, blocks of a head */
    size_t scores_bytes, worker_bytes;
    char *scratch;
} AttentionRun;

/* One block of query rows of one head. */
typedef struct AttentionBlock {
    const AttentionRun *run;
    int64_t batch, head, kv_head, row, rows;
    void *scores;
} AttentionBlock;

static Heads heads_of(const Tensor *tensor, const Tensor *past, int64_t heads) {
    if (tensor->rank == 4)
        return (Heads){tensor, past, tensor->dim[1], tensor->dim[2], tensor->dim[3], false};
    return (Heads){tensor, past, heads, tensor->dim[1], tensor->dim[2] / heads, true};
}

/* The features of one position; *tensor is the tensor that holds them. */
static int64_t features_at(const Heads *heads, int64_t batch, int64_t head, int64_t position,
                           const Tensor **tensor) {
    int64_t past = heads->past != NULL ? heads->past->dim[2] : 0;
    *tensor = heads->tensor;
    if (heads->past != NULL && position < past) {
        *tensor = heads->past;
        return ((batch * heads->heads + head) * past + position) * heads->size;
    }
    position -= past;
    if (heads->packed) return ((batch * heads->length + position) * heads->heads + head) * heads->size;
    return ((batch * heads->heads + head) * heads->length + position) * heads->size;
}

static const void *read_features(const AttentionRun *run, const Heads *heads, int64_t batch, int64_t head,
                                 int64_t position, int64_t first, int64_t count, void *buffer) {
    const Tensor *tensor;
    int64_t at = features_at(heads, batch, head, position, &tensor) + first;
    return gemm_read(run->type, tensor, at, 1, count, buffer);
}

static const void *query_row(const void *context, int64_t batch, int64_t row, int64_t k, int64_t depth,
                             void *buffer) {
    const AttentionBlock *block = context;
    const AttentionRun *run = block->run;
    (void)batch;
    const void *from =
        read_features(run, &run->q, block->batch, block->head, block->row + row, k, depth, buffer);
    for (int64_t i = 0; i < depth; ++i) {
        if (run->type == GEMM_F32)
            ((float *)buffer)[i] = ((const float *)from)[i] * (float)run->scale;
        else
            ((double *)buffer)[i] = ((const double *)from)[i] * run->scale;
    }
    return buffer;
}

static const void *key_column(const void *context, int64_t batch, int64_t col, int64_t k, int64_t depth,
                              void *buffer) {
    const AttentionBlock *block = context;
    (void)batch;
    return read_features(block->run, &block->run->k, block->batch, block->kv_head, col, k, depth, buffer);
}

static size_t element_size(const AttentionRun *run) {
    return run->type == GEMM_F32 ? sizeof(float) : sizeof(double);
}

static const void *score_row(const void *context, int64_t batch, int64_t row, int64_t k, int64_t depth,
                             void *buffer) {
    const AttentionBlock *block = context;
    (void)batch;
    (void)depth;
    (void)buffer;
    return (const char *)block->scores + (size_t)(row * block->run->total + k) * element_size(block->run);
}

static const void *value_row(const void *context, int64_t batch, int64_t k, int64_t col, int64_t cols,
                             void *buffer) {
    const AttentionBlock *block = context;
    (void)batch;
    return read_features(block->run, &block->run->v, block->batch, block->kv_head, k, col, cols, buffer);
}

static void store_result(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col,
                         int64_t cols, const void *sums, int64_t ld) {
    const AttentionBlock *block = context;
    const AttentionRun *run = block->run;
    (void)batch;
    for (int64_t r = 0; r < rows; ++r) {
        int64_t position = block->row + row + r, heads = run->q.heads, size = run->v.size;
        int64_t at = run->q.packed ? (block->batch * run->q.length + position) * heads + block->head
                                   : (block->batch * heads + block->head) * run->q.length + position;
        if (run->type == GEMM_F32)
            dtype_write_f32(run->y->dtype, run->y->data, at * size + col, cols, (const float *)sums + r * ld);
        else
            dtype_write_f64(run->y->dtype, run->y->data, at * size + col, cols,
                            (const double *)sums + r * ld);
    }
}

static Gemm scores_gemm(const AttentionRun *run, const AttentionBlock *block, int64_t rows) {
    return (Gemm){.type = run->type,
                  .batch = 1,
                  .m = rows,
                  .n = run->total,
                  .k = run->q.size,
                  .context = block,
                  .row_a = query_row,
                  .col_b = key_column,
                  .c = block != NULL ? block->scores : NULL};
}

static Gemm values_gemm(const AttentionRun *run, const AttentionBlock *block, int64_t rows) {
    return (Gemm){.type = run->type,
                  .batch = 1,
                  .m = rows,
                  .n = run->v.size,
                  .k = run->total,
                  .context = block,
                  .row_a = score_row,
                  .row_b = value_row,
                  .store = store_result};
}

/* What is added to the score of query row i and key j: 0, -inf, or the mask's value. */
static double bias_at(const AttentionBlock *block, int64_t i, int64_t j) {
    const AttentionRun *run = block->run;
    const Tensor *mask = run->mask;
    if (run->attrs->causal && j > run->past + i) return -INFINITY;
    if (run->valid != NULL && j >= dtype_load_i64(run->valid->dtype, run->valid->data, block->batch))
        return -INFINITY;
    if (mask == NULL) return 0;
    if (j >= run->mask_width && run->mask_width != 1) return -INFINITY;
    int64_t at = block->batch * run->mask_stride[0] + block->head * run->mask_stride[1] +
                 i * run->mask_stride[2] + j * run->mask_stride[3];
    double value = dtype_load_f64(mask->dtype, mask->data, at);
    if (mask->dtype == DTYPE_BOOL) return value != 0 ? 0 : -INFINITY;
    return value;
}

SIMD_CLONES static void softmax_f32(float *x, int64_t count) {
    float max = -INFINITY;
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) max = x[i] > max ? x[i] : max;
    for (int64_t i = 0; i < count; ++i) x[i] = exp_f32(x[i] - max);
    for (int64_t i = 0; i < count; ++i) sum += (double)x[i];
    float inverse = (float)(1 / sum);
    for (int64_t i = 0; i < count; ++i) x[i] *= inverse;
}

static void softmax_f64(double *x, int64_t count) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; ++i) max = x[i] > max ? x[i] : max;
    for (int64_t i = 0; i < count; ++i) sum += x[i] = exp(x[i] - max);
    for (int64_t i = 0; i < count; ++i) x[i] /= sum;
}

/* Shows a row of scores where the model asked for this stage of them. */
static void show_row(const AttentionBlock *block, int64_t row, int64_t stage, const void *scores) {
    const AttentionRun *run = block->run;
    if (run->scores_out == NULL || run->attrs->output_mode != stage) return;
    int64_t at =
        ((block->batch * run->q.heads + block->head) * run->q.length + block->row + row) * run->total;
    if (run->type == GEMM_F32)
        dtype_write_f32(run->scores_out->dtype, run->scores_out->data, at, run->total, scores);
    else
        dtype_write_f64(run->scores_out->dtype, run->scores_out->data, at, run->total, scores);
}

static void cap_row(const AttentionRun *run, void *scores) {
    double cap = (double)run->attrs->softcap;
    for (int64_t j = 0; cap > 0 && j < run->total; ++j) {
        if (run->type == GEMM_F32)
            ((float *)scores)[j] = (float)(cap * tanh((double)((float *)scores)[j] / cap));
        else
            ((double *)scores)[j] = cap * tanh(((double *)scores)[j] / cap);
    }
}

static void mask_row(const AttentionBlock *block, int64_t row, void *scores) {
    const AttentionRun *run = block->run;
    if (run->mask == NULL && run->valid == NULL && !run->attrs->causal) return;
    for (int64_t j = 0; j < run->total; ++j) {
        double bias = bias_at(block, block->row + row, j);
        if (run->type == GEMM_F32)
            ((float *)scores)[j] += (float)bias;
        else
            ((double *)scores)[j] += bias;
    }
}

static void finish_row(const AttentionBlock *block, int64_t row) {
    const AttentionRun *run = block->run;
    void *scores = (char *)block->scores + (size_t)(row * run->total) * element_size(run);
    show_row(block, row, 0, scores);
    cap_row(run, scores);
    show_row(block, row, 1, scores);
    mask_row(block, row, scores);
    show_row(block, row, 2, scores);
    if (run->type == GEMM_F32)
        softmax_f32(scores, run->total);
    else
        softmax_f64(scores, run->total);
    show_row(block, row, 3, scores);
}

static void run_blocks(void *context, int64_t first, int64_t last, int worker) {
    const AttentionRun *run = context;
    char *scratch = run->scratch + (size_t)worker * run->worker_bytes;
    char *product = scratch + run->scores_bytes;
    size_t product_bytes = run->worker_bytes - run->scores_bytes;
    const Host alone = {0};
    for (int64_t index = first; index < last; ++index) {
        int64_t head = index / run->row_blocks;
        AttentionBlock block = {.run = run,
                                .batch = head / run->q.heads,
                                .head = head % run->q.heads,
                                .row = index % run->row_blocks * run->rows,
                                .scores = scratch};
        block.kv_head = block.head / (run->q.heads / run->k.heads);
        block.rows = min_i64(run->rows, run->q.length - block.row);
        Gemm scores = scores_gemm(run, &block, block.rows), values = values_gemm(run, &block, block.rows);
        /* scratch is for the largest block, so that neither can fail */
        if (gemm_run(&scores, &alone, product, product_bytes, NULL) != STATUS_OK) return;
        for (int64_t row = 0; row < block.rows; ++row) finish_row(&block, row);
        if (gemm_run(&values, &alone, product, product_bytes, NULL) != STATUS_OK) return;
    }
}

static void set_mask(AttentionRun *run) {
    const Tensor *mask = run->mask;
    if (mask == NULL) return;
    int64_t strides[SMELT_MAX_RANK];
    kit_strides(mask->rank, mask->dim, strides);
    for (int32_t i = 0; i < mask->rank; ++i)
        run->mask_stride[4 - mask->rank + i] = mask->dim[i] == 1 ? 0 : strides[i];
    run->mask_width = mask->rank > 0 ? mask->dim[mask->rank - 1] : 1;
}

static void attention_make(const KernelCtx *ctx, AttentionRun *run) {
    const AttentionAttrs *attrs = ctx->attrs;
    const Tensor *past_key = kernel_input(ctx, ATTENTION_PAST_KEY);
    *run = (AttentionRun){.attrs = attrs,
                          .type = ctx->inputs[0]->dtype == DTYPE_F32 ? GEMM_F32 : GEMM_F64,
                          .mask = kernel_input(ctx, ATTENTION_MASK),
                          .valid = kernel_input(ctx, ATTENTION_VALID),
                          .y = ctx->outputs[0],
                          .scores_out = kernel_result(ctx, 3)};
    run->q = heads_of(ctx->inputs[0], NULL, attrs->q_heads);
    run->k = heads_of(ctx->inputs[1], past_key, attrs->kv_heads);
    run->v = heads_of(ctx->inputs[2], kernel_input(ctx, ATTENTION_PAST_VALUE), attrs->kv_heads);
    run->past = past_key != NULL ? past_key->dim[2] : 0;
    run->total = run->past + run->k.length;
    run->scale = attrs->has_scale ? (double)attrs->scale : 1 / sqrt((double)max_i64(run->q.size, 1));
    run->rows = clamp_i64(SCORES / max_i64(run->total, 1), 1, QUERY_ROWS);
    run->row_blocks = ceil_div_i64(run->q.length, run->rows);
    set_mask(run);
    Gemm scores = scores_gemm(run, NULL, run->rows), values = values_gemm(run, NULL, run->rows);
    size_t first = gemm_scratch_most(&scores, 1), second = gemm_scratch_most(&values, 1);
    run->scores_bytes = (size_t)ceil_div_i64(run->rows * run->total, 16) * 16 * element_size(run);
    run->worker_bytes = run->scores_bytes + (first > second ? first : second);
}

/* Cache and new positions after each other, as [batch, head, position, feature]. */
static void write_present(const Heads *heads, int64_t batches, int64_t total, Tensor *out) {
    size_t row_bits = (size_t)heads->size * (size_t)dtype_bits(out->dtype);
    for (int64_t row = 0; out != NULL && row < batches * heads->heads * total; ++row) {
        const Tensor *from;
        int64_t head = row / total;
        int64_t at = features_at(heads, head / heads->heads, head % heads->heads, row % total, &from);
        size_t element = (size_t)dtype_bits(out->dtype) / 8;
        memcpy((char *)out->data + (size_t)row * row_bits / 8,
               (const char *)from->data + (size_t)at * element, row_bits / 8);
    }
}

static size_t scratch_heads(const KernelCtx *ctx) {
    AttentionRun run;
    attention_make(ctx, &run);
    return kit_worker_scratch(ctx, run.worker_bytes);
}

static Status run_heads(KernelCtx *ctx) {
    AttentionRun run;
    attention_make(ctx, &run);
    int64_t batches = run.q.tensor->dim[0];
    if (kernel_result(ctx, 1) != NULL) write_present(&run.k, batches, run.total, ctx->outputs[1]);
    if (kernel_result(ctx, 2) != NULL) write_present(&run.v, batches, run.total, ctx->outputs[2]);
    if (ctx->host->scratch_size < run.worker_bytes)
        return FAIL(ctx->diag, STATUS_INTERNAL, "scratch of %zu bytes is too small", ctx->host->scratch_size);
    run.scratch = ctx->host->scratch;
    parallel_for(kit_worker_pool(ctx, run.worker_bytes), batches * run.q.heads * run.row_blocks, 1,
                 run_blocks, &run);
    return STATUS_OK;
}

size_t scratch_Attention(const KernelCtx *ctx) {
    return widen_scratch(ctx, scratch_heads);
}

Status kernel_Attention(KernelCtx *ctx) {
    return widen_run(ctx, run_heads);
}
