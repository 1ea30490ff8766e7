/* Attention: a block for each row of queries, whose scores lie in shared memory where they fit, else in
 * scratch memory. */
#include "ops/attention.h"
#include "kernels/access.h"
#include "kernels/window_text.h"

enum { THREADS = 256, MOST_SHARED_SCORES = 4096, MOST_BLOCKS = 2048 };

/* Queries, keys or values as the kernel sees them. */
typedef struct HeadsText {
    ValueId value, past;
    Dim heads, length, size, past_length;
    bool packed;
} HeadsText;

static HeadsText heads_of(const Problem *problem, int32_t input, int32_t past, int64_t heads) {
    DimTable *dims = problem->graph->dims;
    const Dim *dim = problem_input(problem, input)->shape.dim;
    HeadsText out = {.value = anchor_input(problem, input),
                     .past = past < 0 ? NONE : anchor_input(problem, past),
                     .packed = problem_input(problem, input)->shape.rank == 3};
    out.heads = out.packed ? heads : dim[1];
    out.length = out.packed ? dim[1] : dim[2];
    out.size = out.packed ? dim_floor_div(dims, dim[2], heads) : dim[3];
    if (out.past != NONE) out.past_length = problem_value(problem, out.past)->shape.dim[2];
    return out;
}

static bool mask_fits(const Problem *problem, const HeadsText *q, Dim total) {
    const Value *mask = problem_input(problem, ATTENTION_MASK);
    const Dim wanted[4] = {problem_input(problem, 0)->shape.dim[0], q->heads, q->length, total};
    if (mask != NULL && mask->shape.rank > 4) return false;
    for (int32_t i = 0; mask != NULL && i < mask->shape.rank; ++i) {
        Dim own = mask->shape.dim[i];
        if (i + 1 < mask->shape.rank && own != 1 && own != wanted[4 - mask->shape.rank + i]) return false;
    }
    return true;
}

static bool shapes_fit(const Problem *problem) {
    const AttentionAttrs *attrs = problem_anchor(problem)->parsed;
    DimTable *dims = problem->graph->dims;
    HeadsText q = heads_of(problem, 0, -1, attrs->q_heads);
    HeadsText k = heads_of(problem, 1, ATTENTION_PAST_KEY, attrs->kv_heads);
    HeadsText v = heads_of(problem, 2, ATTENTION_PAST_VALUE, attrs->kv_heads);
    Dim batch = problem_input(problem, 0)->shape.dim[0];
    const Dim past_key[] = {batch, k.heads, k.past_length, k.size},
              past_value[] = {batch, v.heads, v.past_length, v.size};
    for (int32_t i = ATTENTION_PAST_KEY; i <= ATTENTION_PAST_VALUE; ++i)
        if (anchor_input(problem, i) != NONE && !input_has_rank(problem, i, 4, 4)) return false;
    bool heads_fit = k.heads == v.heads && dim_is_exact(q.heads) && dim_is_exact(k.heads) && k.heads > 0;
    bool packs = !q.packed || (dim_mul(dims, q.size, q.heads) == problem_input(problem, 0)->shape.dim[2] &&
                               dim_mul(dims, k.size, k.heads) == problem_input(problem, 1)->shape.dim[2] &&
                               dim_mul(dims, v.size, v.heads) == problem_input(problem, 2)->shape.dim[2]);
    return heads_fit && packs && q.size == k.size && k.length == v.length && k.past_length == v.past_length &&
           problem_input(problem, 1)->shape.dim[0] == batch &&
           problem_input(problem, 2)->shape.dim[0] == batch &&
           input_has_shape(problem, ATTENTION_PAST_KEY, 4, past_key) &&
           input_has_shape(problem, ATTENTION_PAST_VALUE, 4, past_value) &&
           input_has_shape(problem, ATTENTION_VALID, 1, &batch) &&
           mask_fits(problem, &q, dim_add(dims, k.past_length, k.length));
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_Attention) return "not Attention";
    if (problem_output(problem, 0) == NULL) return "no result";
    if (!input_has_rank(problem, 0, 3, 4) || !output_ranks_like(problem, 0) ||
        !output_ranks_like(problem, 1) || !output_ranks_like(problem, 2))
        return "ranks that do not fit";
    if (!shapes_fit(problem)) return "shapes that may not fit each other";
    return refuse_types(problem);
}

static const char *heads_text(KernelWriter *w, const HeadsText *heads) {
    DType dtype = kernel_emission(w)->graph->values[heads->value].dtype;
    return kernel_format(w, "Heads<%s, %s>{%s, %s, %s, %s, %s, %s}", heads->packed ? "true" : "false",
                         cuda_type(dtype), kernel_pointer(w, heads->value),
                         heads->past != NONE ? kernel_pointer(w, heads->past) : "nullptr",
                         kernel_number(w, heads->heads), kernel_number(w, heads->length),
                         kernel_number(w, heads->size), kernel_number(w, heads->past_length));
}

/* "Mask<float>{p3, {0, 0, 16, 1}, 16}" */
static const char *mask_text(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    DimTable *dims = problem->graph->dims;
    const Value *mask = problem_input(problem, ATTENTION_MASK);
    Dim own[SMELT_MAX_RANK], strides[4] = {0};
    if (mask == NULL) return "NoMask{}";
    int32_t rank = mask->shape.rank;
    access_row_major(dims, &mask->shape, own);
    for (int32_t i = 0; i < rank; ++i) {
        Dim walks = dim_min(dims, 1, dim_max(dims, 0, dim_sub(dims, mask->shape.dim[i], 1)));
        strides[4 - rank + i] = dim_mul(dims, own[i], walks);
    }
    return kernel_format(w, "Mask<%s>{%s, %s, %s}", cuda_type(mask->dtype),
                         kernel_pointer(w, anchor_input(problem, ATTENTION_MASK)),
                         extents_text(w, strides, 4),
                         kernel_number(w, rank > 0 ? mask->shape.dim[rank - 1] : 1));
}

static const char *stage_text(KernelWriter *w) {
    const Node *node = problem_anchor(kernel_emission(w)->problem);
    const AttentionAttrs *attrs = node->parsed;
    const Value *shown = problem_output(kernel_emission(w)->problem, 3);
    if (shown == NULL) return "NoStage{}";
    return kernel_format(w, "ShowStage<%d, %s>{%s}", (int)attrs->output_mode, cuda_type(shown->dtype),
                         kernel_result(w, node->outputs[3]));
}

static const char *rule_text(KernelWriter *w, const char *type, Dim size) {
    const AttentionAttrs *attrs = problem_anchor(kernel_emission(w)->problem)->parsed;
    Arena *arena = kernel_emission(w)->arena;
    const char *scale =
        attrs->has_scale ? kernel_text(w, cuda_real_literal(arena, (double)attrs->scale, false))
                         : kernel_format(w, "1 / ::sqrt((double)%s)",
                                         kernel_number(w, dim_max(kernel_emission(w)->graph->dims, size, 1)));
    return kernel_format(w, "AttentionRule<%s>{(%s)(%s), (%s)%s, %s}", type, type, scale, type,
                         kernel_text(w, cuda_real_literal(arena, (double)attrs->softcap, false)),
                         attrs->causal ? "true" : "false");
}

/* Declares `scores`, the block's own memory for a row. */
static void write_scores(KernelWriter *w, const char *type, Dim total, Dim blocks) {
    Emission *emission = kernel_emission(w);
    if (dim_is_exact(total) && total <= MOST_SHARED_SCORES) {
        kernel_line(w, "__shared__ %s scores[%lld];", type, total > 0 ? (long long)total : 1);
        return;
    }
    DimTable *dims = emission->graph->dims;
    emission->scratch_bytes = dim_mul(dims, dim_mul(dims, blocks, total), type[0] == 'd' ? 8 : 4);
    kernel_line(w, "%s *scores = %s + (Index)blockIdx.x * %s;", type, kernel_scratch(w, 0, type),
                kernel_number(w, total));
}

static Status emit_present(Emission *emission, const HeadsText *heads, int32_t output, Dim total) {
    if (problem_output(emission->problem, output) == NULL) return STATUS_OK;
    ValueId to = problem_anchor(emission->problem)->outputs[output];
    KernelWriter *w = kernel_begin(emission, "attention_cache");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "attention.cuh");
    kernel_line(w, "join_heads(%s, %s, %s, %s);", heads_text(w, heads), kernel_result(w, to),
                kernel_number(w, total), kernel_count(w, to));
    Dim count = shape_count(emission->graph->dims, &emission->graph->values[to].shape);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const AttentionAttrs *attrs = problem_anchor(problem)->parsed;
    HeadsText q = heads_of(problem, 0, -1, attrs->q_heads);
    HeadsText k = heads_of(problem, 1, ATTENTION_PAST_KEY, attrs->kv_heads);
    HeadsText v = heads_of(problem, 2, ATTENTION_PAST_VALUE, attrs->kv_heads);
    Dim total = dim_add(dims, k.past_length, k.length), batch = problem_input(problem, 0)->shape.dim[0];
    Dim blocks = dim_min(dims, dim_mul(dims, dim_mul(dims, batch, q.heads), q.length), MOST_BLOCKS);
    const char *type = float_type(problem_input(problem, 0)->dtype);
    ValueId valid = anchor_input(problem, ATTENTION_VALID);
    (void)config;
    (void)device;
    TRY(emit_present(emission, &k, 1, total));
    TRY(emit_present(emission, &v, 2, total));
    KernelWriter *w = kernel_begin(emission, "attention");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "attention.cuh");
    write_scores(w, type, total, blocks);
    kernel_line(w, "attention<%s>(%s, %s, %s, %s, %s, %s, %s, %s, %s, (%s *)scores, %s);", type,
                heads_text(w, &q), heads_text(w, &k), heads_text(w, &v), kernel_number(w, batch),
                kernel_number(w, total), rule_text(w, type, q.size), mask_text(w),
                valid != NONE ? kernel_pointer(w, valid) : "(const long long *)nullptr", stage_text(w), type,
                kernel_epilogue(w));
    return kernel_finish(w, blocks, 1, 1, THREADS, 0);
}

const Tactic tactic_attention = {
    .name = "attention", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
