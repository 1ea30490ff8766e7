#include "kernels/attention_text.h"

#include "kernels/access.h"
#include "ops/attention.h"

HeadsText attention_heads(const Problem *problem, int32_t input) {
    const AttentionAttrs *attrs = problem_anchor(problem)->parsed;
    DimTable *dims = problem->graph->dims;
    int64_t heads = input == 0 ? attrs->q_heads : attrs->kv_heads;
    const Dim *dim = problem_input(problem, input)->shape.dim;
    HeadsText out = {.value = anchor_input(problem, input),
                     .past = input == 0 ? NONE : anchor_input(problem, ATTENTION_PAST_KEY + input - 1),
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
    DimTable *dims = problem->graph->dims;
    HeadsText q = attention_heads(problem, 0);
    HeadsText k = attention_heads(problem, 1);
    HeadsText v = attention_heads(problem, 2);
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

const char *attention_refuses(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_Attention) return "not Attention";
    if (problem_output(problem, 0) == NULL) return "no result";
    if (!input_has_rank(problem, 0, 3, 4) || !output_ranks_like(problem, 0) ||
        !output_ranks_like(problem, 1) || !output_ranks_like(problem, 2))
        return "ranks that do not fit";
    if (!shapes_fit(problem)) return "shapes that may not fit each other";
    return refuse_types(problem);
}

void attention_mask_strides(const Problem *problem, Dim strides[4]) {
    DimTable *dims = problem->graph->dims;
    ValueId id = anchor_input(problem, ATTENTION_MASK);
    const Value *mask = problem_value(problem, id);
    Dim own[SMELT_MAX_RANK];
    int32_t rank = mask->shape.rank;
    value_strides(problem->graph, id, own);
    for (int32_t i = 0; i < 4; ++i) {
        Dim extent = i < 4 - rank ? 1 : mask->shape.dim[i - (4 - rank)];
        Dim walks = dim_min(dims, 1, dim_max(dims, 0, dim_sub(dims, extent, 1)));
        strides[i] = i < 4 - rank ? 0 : dim_mul(dims, own[i - (4 - rank)], walks);
    }
}

const char *attention_mask_text(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Value *mask = problem_input(problem, ATTENTION_MASK);
    Dim strides[4];
    if (mask == NULL) return "NoMask{}";
    attention_mask_strides(problem, strides);
    int32_t rank = mask->shape.rank;
    return kernel_format(w, "Mask<%s>{%s, %s, %s}", cuda_type(mask->dtype),
                         kernel_pointer(w, anchor_input(problem, ATTENTION_MASK)),
                         extents_text(w, strides, 4),
                         kernel_number(w, rank > 0 ? mask->shape.dim[rank - 1] : 1));
}

const char *attention_rule_text(KernelWriter *w, const char *type, Dim size) {
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

/* -- a block for each tile of queries of each head -- */

const char *attention_block_refuses(const Problem *problem) {
    const char *why = attention_refuses(problem);
    if (why != NULL) return why;
    for (int32_t i = 1; i < 4; ++i)
        if (problem_output(problem, i) != NULL) return "caches or scores are wanted";
    if (anchor_input(problem, ATTENTION_PAST_KEY) != NONE) return "a cache comes before the keys";
    HeadsText q = attention_heads(problem, 0), v = attention_heads(problem, 2);
    if (!dim_is_exact(q.size) || !dim_is_exact(v.size) || q.size < 1 || v.size < 1)
        return "heads of unknown size";
    if (problem_output(problem, 0)->layout != LAYOUT_PLAIN) return "a result that is not row-major";
    ValueId valid = anchor_input(problem, ATTENTION_VALID);
    if (valid != NONE && !value_is_plain(problem_value(problem, valid))) return "numbers of keys in a slice";
    return NULL;
}

Dim attention_block_count(const Problem *problem, int32_t queries) {
    DimTable *dims = problem->graph->dims;
    HeadsText q = attention_heads(problem, 0);
    Dim planes = dim_mul(dims, problem_input(problem, 0)->shape.dim[0], q.heads);
    return dim_mul(dims, planes, dim_ceil_div(dims, q.length, queries));
}

/* [batch, head, position, feature] */
static void head_strides(const Problem *problem, const HeadsText *heads, Dim out[4]) {
    Dim own[SMELT_MAX_RANK];
    value_strides(problem->graph, heads->value, own);
    out[0] = own[0];
    out[1] = heads->packed ? dim_mul(problem->graph->dims, heads->size, own[2]) : own[1];
    out[2] = heads->packed ? own[1] : own[2];
    out[3] = heads->packed ? own[2] : own[3];
}

int32_t attention_lanes(const Problem *problem, const HeadsText *heads) {
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

const char *attention_rest_text(KernelWriter *w, const char *epilogue) {
    const Problem *problem = kernel_emission(w)->problem;
    HeadsText q = attention_heads(problem, 0), k = attention_heads(problem, 1),
              v = attention_heads(problem, 2);
    ValueId valid = anchor_input(problem, ATTENTION_VALID);
    return kernel_format(w, "%s, %s, %s, %s, %s", sizes_text(w, &q, &k, &v),
                         attention_rule_text(w, "float", q.size), attention_mask_text(w),
                         valid != NONE ? kernel_pointer(w, valid) : "(const long long *)nullptr", epilogue);
}

const char *attention_block_text(KernelWriter *w, const char *epilogue) {
    const Problem *problem = kernel_emission(w)->problem;
    HeadsText q = attention_heads(problem, 0), k = attention_heads(problem, 1),
              v = attention_heads(problem, 2);
    return kernel_format(w, "%s, %s, %s, %s", heads_text(w, &q), heads_text(w, &k), heads_text(w, &v),
                         attention_rest_text(w, epilogue));
}

KernelMap attention_map(const Problem *problem, const HeadsText *heads, int32_t positions) {
    Dim strides[4];
    head_strides(problem, heads, strides);
    return (KernelMap){.value = heads->value,
                       .rank = 5,
                       .swizzle = 128,
                       .dim = {heads->size, heads->length, heads->heads,
                               problem_value(problem, heads->value)->shape.dim[0], 1},
                       .stride = {1, strides[2], strides[1], strides[0], strides[0]},
                       .box = {(int32_t)heads->size, positions, 1, 1, 1}};
}
