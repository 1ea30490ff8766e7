/* Attention: a block for each row of queries, whose scores lie in shared memory where they fit, else in
 * scratch memory. */
#include "ops/attention.h"
#include "kernels/attention_text.h"

enum { THREADS = 256, MOST_SHARED_SCORES = 4096, MOST_BLOCKS = 2048 };

static const char *refuses(const Problem *problem, const Device *device) {
    (void)device;
    return attention_refuses(problem);
}

static const char *heads_text(KernelWriter *w, const HeadsText *heads) {
    DType dtype = kernel_emission(w)->graph->values[heads->value].dtype;
    return kernel_format(w, "Heads<%s, %s>{%s, %s, %s, %s, %s, %s}", heads->packed ? "true" : "false",
                         cuda_type(dtype), kernel_pointer(w, heads->value),
                         heads->past != NONE ? kernel_pointer(w, heads->past) : "nullptr",
                         kernel_number(w, heads->heads), kernel_number(w, heads->length),
                         kernel_number(w, heads->size), kernel_number(w, heads->past_length));
}

static const char *stage_text(KernelWriter *w) {
    const Node *node = problem_anchor(kernel_emission(w)->problem);
    const AttentionAttrs *attrs = node->parsed;
    const Value *shown = problem_output(kernel_emission(w)->problem, 3);
    if (shown == NULL) return "NoStage{}";
    return kernel_format(w, "ShowStage<%d, %s>{%s}", (int)attrs->output_mode, cuda_type(shown->dtype),
                         kernel_result(w, node->outputs[3]));
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
    HeadsText q = attention_heads(problem, 0), k = attention_heads(problem, 1),
              v = attention_heads(problem, 2);
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
                kernel_number(w, total), attention_rule_text(w, type, q.size), attention_mask_text(w),
                valid != NONE ? kernel_pointer(w, valid) : "(const long long *)nullptr", stage_text(w), type,
                kernel_epilogue(w));
    return kernel_finish(w, blocks, 1, 1, THREADS, 0);
}

const Tactic tactic_attention = {.name = "attention",
                                 .version = 1,
                                 .slow = SLOW_FOR_ALL,
                                 .refuses = refuses,
                                 .configs = only_config,
                                 .emit = emit};
