/* fold_constants: evaluates nodes whose inputs are known.
 *
 * Also what depends on no data at all: values whose elements inference knows (the shape of an exact shape),
 * and the branch of an If with a constant condition. Folding must not let the model grow without bound nor
 * take long: outputs that are much larger than what they are made of stay computed, and so does what is a
 * great deal of work. */
#include <string.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "passes/evaluate.h"
#include "passes/rewrite.h"

enum {
    GROWTH_BYTES = 64 << 20,  /* that outputs may take beyond ... */
    GROWTH_FACTOR = 4,        /* ... so many times their inputs' bytes */
    WEIGHT_BYTES = 512 << 20, /* the same for all weights of contractions, which take memory in any case */
    SORT_ELEMENTS = 1 << 20   /* inputs of operators that may compare each element with each */
};
static const int64_t most_macs = (int64_t)1 << 32;

typedef struct Folder {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;        /* as they were before the pass */
    size_t budget;        /* bytes that all outputs may still take */
    size_t weight_budget; /* and those that are weights */
} Folder;

static size_t value_bytes(const Value *value) {
    size_t bytes = 0;
    return dtype_storage(value->dtype, value_count(value), &bytes) ? bytes : 0;
}

static bool inputs_are_constant(const Graph *graph, const Node *node) {
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && !value_is_constant(graph, node->inputs[i])) return false;
    return true;
}

static size_t input_bytes(const Graph *graph, const Node *node) {
    size_t total = 0;
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE) total += value_bytes(&graph->values[node->inputs[i]]);
    return total;
}

static bool is_affordable(const Folder *f, NodeId id, const Node *node) {
    OpClass op_class = op_def(node->op)->op_class;
    if (node_macs(f->graph, id) > most_macs) return false;
    if (op_class != OPCLASS_SORTING && op_class != OPCLASS_RECURRENT) return true;
    return input_bytes(f->graph, node) <= SORT_ELEMENTS;
}

/* -- three ways to know a value -- */

/* A view of a constant shares its bytes. */
static bool fold_view(Folder *f, const Node *node) {
    ValueId output = node->outputs[0];
    if ((op_def(node->op)->flags & OPF_VIEW) == 0 || output == NONE) return false;
    for (int32_t i = 1; i < node->output_count; ++i)
        if (node->outputs[i] != NONE) return false;
    const Value *in = &f->graph->values[node->inputs[0]], *out = &f->graph->values[output];
    if (!value_is_exact(out) || value_count(in) != value_count(out) || in->dtype != out->dtype) return false;
    make_constant(f->ctx, output, in->data);
    pass_count_add(f->ctx, "folded", 1);
    return true;
}

/* A contraction reads it beside its data: computed anew in each run, it would take the same memory, and no
 * pass could look at it. */
static bool is_weight(const Folder *f, ValueId value) {
    int32_t count = use_count(&f->uses, value);
    for (int32_t i = 0; i < count; ++i) {
        const struct Use *use = &f->uses.uses[f->uses.first[value] + i];
        if (use->node != NONE && use->index > 0 && f->graph->nodes[use->node].op != OP_NONE &&
            op_def(f->graph->nodes[use->node].op)->op_class == OPCLASS_CONTRACTION)
            return true;
    }
    return false;
}

static bool makes_weights(const Folder *f, const Node *node) {
    return node->output_count == 1 && node->outputs[0] != NONE && is_weight(f, node->outputs[0]);
}

static Status fold_evaluated(Folder *f, const Node *node) {
    Graph *graph = f->graph;
    Arena *scratch = f->ctx->scratch;
    int32_t output_count = node->output_count;
    Tensor *tensors = ARENA_ARRAY(scratch, Tensor, (size_t)node->input_count + (size_t)output_count);
    const Tensor **inputs = ARENA_ARRAY(scratch, const Tensor *, node->input_count);
    ValueId *ids = ARENA_ARRAY(scratch, ValueId, output_count);
    TRY_ALLOC(f->ctx->diag, tensors);
    TRY_ALLOC(f->ctx->diag, inputs);
    TRY_ALLOC(f->ctx->diag, ids);
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (node->inputs[i] == NONE) continue;
        tensors[i] = constant_tensor(&graph->values[node->inputs[i]]);
        inputs[i] = &tensors[i];
    }
    Tensor *outputs = tensors + node->input_count;
    size_t in_bytes = input_bytes(graph, node), limit = in_bytes * GROWTH_FACTOR;
    if (limit < in_bytes + GROWTH_BYTES) limit = in_bytes + GROWTH_BYTES;
    size_t *budget = &f->budget;
    bool done;
    TRY(evaluate_node(f->ctx, node, inputs, limit < *budget ? limit : *budget, graph->arena, outputs, &done));
    if (!done && makes_weights(f, node)) {
        budget = &f->weight_budget;
        TRY(evaluate_node(f->ctx, node, inputs, *budget, graph->arena, outputs, &done));
    }
    if (!done) return STATUS_OK;
    memcpy(ids, node->outputs, (size_t)output_count * sizeof *ids); /* the node may go with its last output */
    for (int32_t i = 0; i < output_count; ++i) {
        if (ids[i] == NONE) continue;
        Value *value = &graph->values[ids[i]];
        value->dtype = outputs[i].dtype;
        value->has_shape = true;
        value->shape.rank = outputs[i].rank;
        memcpy(value->shape.dim, outputs[i].dim, sizeof outputs[i].dim);
        *budget -= tensor_bytes(&outputs[i]);
        make_constant(f->ctx, ids[i], outputs[i].data);
    }
    pass_count_add(f->ctx, "folded", 1);
    return STATUS_OK;
}

/* Elements that inference knows become data. */
static Status fold_content(Folder *f, ValueId id) {
    Value *value = &f->graph->values[id];
    size_t bytes;
    if (value->content == NULL || !value_is_exact(value)) return STATUS_OK;
    int64_t count = value_count(value);
    for (int64_t i = 0; i < count; ++i)
        if (!dim_is_exact(value->content[i])) return STATUS_OK;
    if (!dtype_storage(value->dtype, count, &bytes)) return STATUS_OK;
    void *data = arena_alloc(f->graph->arena, bytes);
    TRY_ALLOC(f->ctx->diag, data);
    for (int64_t i = 0; i < count; ++i) dtype_store_i64(value->dtype, data, i, value->content[i]);
    make_constant(f->ctx, id, data);
    pass_count_add(f->ctx, "known", 1);
    return STATUS_OK;
}

static Status fold_if(Folder *f, NodeId id, bool *inlined) {
    const Node *node = &f->graph->nodes[id];
    if (node->op != OP_If || !value_is_constant(f->graph, node->inputs[0])) return STATUS_OK;
    const Value *condition = &f->graph->values[node->inputs[0]];
    BlockId branch;
    if (condition->dtype != DTYPE_BOOL || value_count(condition) != 1) return STATUS_OK;
    TRY(if_branch(f->ctx, node, dtype_load_i64(DTYPE_BOOL, condition->data, 0) != 0, &branch));
    *inlined = true;
    pass_count_add(f->ctx, "inlined", 1);
    return inline_body(f->ctx, id, branch);
}

/* -- the walk -- */

static Status fold_block(Folder *f, BlockId id);

static Status fold_bodies(Folder *f, NodeId id) {
    for (int32_t i = 0; i < f->graph->nodes[id].attrs.count; ++i) {
        const Attr *attr = &f->graph->nodes[id].attrs.items[i];
        if (attr->kind == ATTR_BLOCK) TRY(fold_block(f, (BlockId)attr->ints[0]));
    }
    return STATUS_OK;
}

static Status fold_node(Folder *f, NodeId id, bool *inlined) {
    if (op_def(f->graph->nodes[id].op)->op_class == OPCLASS_CONTROL) {
        TRY(fold_if(f, id, inlined));
        return *inlined ? STATUS_OK : fold_bodies(f, id);
    }
    for (int32_t i = 0; i < f->graph->nodes[id].output_count; ++i)
        if (f->graph->nodes[id].outputs[i] != NONE) TRY(fold_content(f, f->graph->nodes[id].outputs[i]));
    const Node *node = &f->graph->nodes[id];
    if (node->op == OP_NONE || !op_is_foldable(node->op) || !inputs_are_constant(f->graph, node))
        return STATUS_OK;
    if (fold_view(f, node)) return STATUS_OK;
    if (!is_affordable(f, id, node)) {
        pass_reject(f->ctx, id, "not folded: too much work for a build");
        return STATUS_OK;
    }
    return fold_evaluated(f, node);
}

static Status fold_block(Folder *f, BlockId id) {
    for (int32_t i = 0; i < f->graph->blocks[id].node_count;) {
        NodeId node = f->graph->blocks[id].nodes[i];
        bool inlined = false;
        Status status = fold_node(f, node, &inlined);
        if (status != STATUS_OK) diag_node(f->ctx->diag, f->graph, node);
        TRY(status);
        /* Where the node is gone, another stands in its place. */
        if (!inlined && f->graph->nodes[node].op != OP_NONE) ++i;
    }
    return STATUS_OK;
}

static size_t constant_bytes(const Graph *graph) {
    size_t total = 0;
    for (ValueId v = 0; v < graph->value_count; ++v)
        if (graph->values[v].data != NULL) total += value_bytes(&graph->values[v]);
    return total;
}

Status pass_fold_constants(PassCtx *ctx) {
    size_t constants = constant_bytes(ctx->graph), budget;
    if (!checked_mul_size(constants, GROWTH_FACTOR, &budget) ||
        !checked_add_size(budget, GROWTH_BYTES, &budget))
        budget = SIZE_MAX / 2;
    Folder f = {.ctx = ctx, .graph = ctx->graph, .budget = budget, .weight_budget = WEIGHT_BYTES};
    if (!use_table_build(ctx->graph, ctx->scratch, &f.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return fold_block(&f, MAIN_BLOCK);
}
