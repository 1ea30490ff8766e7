/* fold_batch_norm: puts per-channel scales and shifts into the weights of the contraction before or after.
 *
 * s[c] * conv(x, W, b) + t[c] is conv(x, s[c] * W, s[c] * b + t[c]), and conv(s * x + t, W, b) is
 * conv(x, W * s, b + sum of W * t), where the convolution does not pad. The scale and shift come from a
 * BatchNormalization with constant statistics, or from Mul, Add, Sub or Div by a per-channel constant; behind
 * a concatenation of contractions each takes its part. A BatchNormalization that cannot fold becomes Mul and
 * Add, which later passes fuse like any other pointwise nodes. */
#include <math.h>

#include "ops/movement.h"
#include "passes/contraction.h"
#include "passes/rewrite.h"

enum {
    CHANNEL_AXIS = 1,
    MOST_FOLDS = 8,         /* into one contraction from one side: each makes new weights */
    GROWTH_FACTOR = 4,      /* new weights take so many times the bytes of the constants there are ... */
    GROWTH_BYTES = 64 << 20 /* ... and so many more at most, where contractions share theirs */
};

/* -- behind a contraction -- */

/* What the node does to the contraction's result, where that can go into its constants; weights NONE: it
 * cannot, and it was said why. */
static Status read_behind(PassCtx *ctx, const Contraction *c, NodeId follower, const Affine *affine,
                          NewConstants *out) {
    out->weights = NONE;
    if (c->bias_refuses != NULL) {
        pass_reject(ctx, follower, "not folded into the node before it: %s", c->bias_refuses);
        return STATUS_OK;
    }
    TRY(contraction_scale_behind(ctx, c, affine, out));
    if (out->weights == NONE)
        pass_reject(ctx, follower, "not folded into the node before it: its weights would overflow");
    return STATUS_OK;
}

/* Folds one follower after another; uses of the results do not change but for the folded nodes themselves. */
static Status fold_followers(PassCtx *ctx, const UseTable *uses, Contraction *c) {
    Graph *graph = ctx->graph;
    for (int32_t folds = 0; folds < MOST_FOLDS; ++folds) {
        NodeId follower = only_user(graph, uses, graph->nodes[c->node].block, c->result);
        Affine affine;
        NewConstants constants;
        bool found;
        if (follower == NONE) return STATUS_OK;
        TRY(affine_read(ctx, follower, c->result, c->output_axis, c->outputs, &affine, &found));
        if (!found) return STATUS_OK;
        TRY(read_behind(ctx, c, follower, &affine, &constants));
        if (constants.weights == NONE) return STATUS_OK;
        TRY(contraction_put(ctx, c, &constants));
        TRY(contraction_absorb(ctx, c, follower));
        pass_count_add(ctx, "folded", 1);
    }
    return STATUS_OK;
}

/* -- before a contraction -- */

/* Half-precision weights have little room for the scale of something else. */
static bool leaves_range(DType dtype, const Affine *affine) {
    static const double most = 64;
    if (dtype != DTYPE_F16) return false;
    for (int64_t i = 0; i < affine->channels; ++i) {
        double scale = fabs(affine->scale[i]);
        if (scale > most || (scale != 0 && scale < 1 / most)) return true;
    }
    return false;
}

static const char *before_refuses(const Graph *graph, const Contraction *c, const Affine *affine) {
    if (leaves_range(graph->values[c->weights].dtype, affine))
        return "its weights would leave the range of f16";
    if (!affine_shifts(affine)) return NULL;
    return c->bias_refuses != NULL ? c->bias_refuses : contraction_shift_refuses(graph, c);
}

/* The node that makes the contraction's input for it alone; `consumer` read it when the uses were counted. */
static NodeId only_producer(const Graph *graph, const UseTable *uses, const Contraction *c, NodeId consumer) {
    NodeId producer = graph->values[c->input].producer;
    if (producer == NONE || use_count(uses, c->input) != 1) return NONE;
    bool alone = uses->uses[uses->first[c->input]].node == consumer;
    return alone && graph->nodes[producer].block == graph->nodes[c->node].block ? producer : NONE;
}

static Status fold_predecessors(PassCtx *ctx, const UseTable *uses, Contraction *c) {
    Graph *graph = ctx->graph;
    NodeId consumer = c->node;
    for (int32_t folds = 0; folds < MOST_FOLDS; ++folds) {
        NodeId before = only_producer(graph, uses, c, consumer);
        ValueId x = before == NONE ? NONE : affine_operand(graph, before);
        Affine affine;
        NewConstants constants;
        bool found;
        if (x == NONE) return STATUS_OK;
        TRY(affine_read(ctx, before, x, c->input_axis, c->inputs, &affine, &found));
        if (!found) return STATUS_OK;
        const char *why = before_refuses(graph, c, &affine);
        if (why == NULL) TRY(contraction_scale_before(ctx, c, &affine, &constants));
        if (why == NULL && constants.weights == NONE) why = "its weights would overflow";
        if (why != NULL) {
            pass_reject(ctx, before, "not folded into the node behind it: %s", why);
            return STATUS_OK;
        }
        c->input = graph->nodes[c->node].inputs[0] = x;
        TRY(contraction_put(ctx, c, &constants));
        if (!node_add_origins(graph, c->node, before))
            return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
        graph_remove_node(graph, before);
        consumer = before;
        pass_count_add(ctx, "folded_before", 1);
    }
    return STATUS_OK;
}

/* -- behind a concatenation -- */

/* The contraction whose result the value is, for this user alone. */
static bool contraction_of(const Graph *graph, const UseTable *uses, ValueId value, Contraction *out) {
    NodeId producer = graph->values[value].producer;
    if (producer == NONE || use_count(uses, value) != 1) return false;
    if (graph->nodes[producer].op == OP_Add) /* the bias of a product */
        for (int32_t i = 0; i < 2; ++i) {
            NodeId product = graph->values[graph->nodes[producer].inputs[i]].producer;
            if (product != NONE && graph->nodes[product].op == OP_MatMul) producer = product;
        }
    return contraction_read(graph, uses, producer, out) && out->result == value;
}

/* Reads every branch and its new constants; *why tells what is in the way. */
static Status read_branches(PassCtx *ctx, const UseTable *uses, NodeId concat, const Affine *affine,
                            Contraction *branches, NewConstants *constants, const char **why) {
    const Node *node = &ctx->graph->nodes[concat];
    int64_t first = 0;
    for (int32_t i = 0; i < node->input_count; ++i) {
        Contraction *c = &branches[i];
        *why = "a branch of the concatenation is no contraction";
        if (!contraction_of(ctx->graph, uses, node->inputs[i], c) || c->output_axis != CHANNEL_AXIS)
            return STATUS_OK;
        *why = c->bias_refuses;
        if (*why != NULL) return STATUS_OK;
        const Affine part = {c->outputs, affine->scale + first, affine->shift + first};
        first += c->outputs;
        TRY(contraction_scale_behind(ctx, c, &part, &constants[i]));
        *why = constants[i].weights == NONE ? "weights would overflow" : NULL;
        if (*why != NULL) return STATUS_OK;
    }
    return STATUS_OK;
}

static Status fold_into_branches(PassCtx *ctx, const UseTable *uses, NodeId concat, NodeId follower,
                                 const Affine *affine, bool *done) {
    Graph *graph = ctx->graph;
    int32_t count = graph->nodes[concat].input_count;
    const char *why = NULL;
    Contraction *branches = ARENA_ARRAY(ctx->scratch, Contraction, count);
    NewConstants *constants = ARENA_ARRAY(ctx->scratch, NewConstants, count);
    TRY_ALLOC(ctx->diag, branches);
    TRY_ALLOC(ctx->diag, constants);
    TRY(read_branches(ctx, uses, concat, affine, branches, constants, &why));
    if (why != NULL) {
        pass_reject(ctx, follower, "not folded into the concatenation before it: %s", why);
        return STATUS_OK;
    }
    for (int32_t i = 0; i < count; ++i) {
        TRY(contraction_put(ctx, &branches[i], &constants[i]));
        if (!node_add_origins(graph, branches[i].node, follower))
            return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    }
    ValueId result = graph->nodes[follower].outputs[0];
    graph_remove_node(graph, follower);
    graph->values[graph->nodes[concat].outputs[0]].producer = NONE;
    graph->nodes[concat].outputs[0] = result;
    graph->values[result].producer = concat;
    graph->values[result].output_index = 0;
    *done = true;
    pass_count_add(ctx, "folded", 1);
    return STATUS_OK;
}

static Status fold_concat(PassCtx *ctx, const UseTable *uses, NodeId concat, bool *done) {
    const Graph *graph = ctx->graph;
    const Node *node = &graph->nodes[concat];
    const Value *result = node->outputs[0] == NONE ? NULL : &graph->values[node->outputs[0]];
    if (result == NULL || !result->has_shape || result->shape.rank < 2) return STATUS_OK;
    int64_t axis = ((const ConcatAttrs *)node->parsed)->axis;
    NodeId follower = only_user(graph, uses, node->block, node->outputs[0]);
    Affine affine;
    bool found;
    if ((axis < 0 ? axis + result->shape.rank : axis) != CHANNEL_AXIS || follower == NONE ||
        !dim_is_exact(result->shape.dim[CHANNEL_AXIS]))
        return STATUS_OK;
    TRY(affine_read(ctx, follower, node->outputs[0], CHANNEL_AXIS, result->shape.dim[CHANNEL_AXIS], &affine,
                    &found));
    return found ? fold_into_branches(ctx, uses, concat, follower, &affine, done) : STATUS_OK;
}

/* -- what stays -- */

static Status add_channel_constant(PassCtx *ctx, const Node *node, const double *values, int64_t channels,
                                   ValueId *out) {
    const Value x = ctx->graph->values[node->inputs[0]];
    int64_t dims[SMELT_MAX_RANK];
    int32_t rank = x.shape.rank - CHANNEL_AXIS; /* [C, 1, ...] aligns with the channel axis from the right */
    size_t bytes;
    if (!dtype_storage(x.dtype, channels, &bytes))
        return FAIL(ctx->diag, STATUS_INTERNAL, "scale without a size");
    void *data = arena_alloc(ctx->graph->arena, bytes);
    TRY_ALLOC(ctx->diag, data);
    for (int64_t c = 0; c < channels; ++c) dtype_store_f64(x.dtype, data, c, values[c]);
    for (int32_t i = 0; i < rank; ++i) dims[i] = i == 0 ? channels : 1;
    *out = graph_add_constant(ctx->graph, NULL, x.dtype, rank, dims, data);
    return *out == NONE ? FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

/* BatchNormalization(x) = x * scale + shift. */
static Status split_batch_norm(PassCtx *ctx, NodeId id) {
    Graph *graph = ctx->graph;
    const Node node = graph->nodes[id];
    const Value x = graph->values[node.inputs[0]];
    if (!batch_norm_is_constant(graph, &node) || !x.has_shape || x.shape.rank < 2) return STATUS_OK;
    Affine affine;
    ValueId scale, shift, product = graph_add_value(graph, NULL), result = node.outputs[0];
    NodeId mul, add;
    if (product == NONE) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(affine_create(ctx, value_count(&graph->values[node.inputs[1]]), &affine));
    TRY(batch_norm_read(ctx, &node, &affine));
    TRY(add_channel_constant(ctx, &node, affine.scale, affine.channels, &scale));
    TRY(add_channel_constant(ctx, &node, affine.shift, affine.channels, &shift));
    graph->values[product].dtype = x.dtype;
    graph->values[product].has_shape = true;
    graph->values[product].shape = graph->values[result].shape;
    const AttrList none = {0};
    const ValueId mul_inputs[] = {node.inputs[0], scale}, add_inputs[] = {product, shift};
    TRY(graph_insert_node(graph, id, true, OP_Mul, node.name, &none, 2, mul_inputs, 1, &product, &mul,
                          ctx->diag));
    if (!node_add_origins(graph, mul, id)) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    /* The result must lose its old producer before a new node may make it, and the new node's place is the
     * old one's. */
    release_value(graph, result);
    TRY(graph_insert_node(graph, id, true, OP_Add, node.name, &none, 2, add_inputs, 1, &result, &add,
                          ctx->diag));
    if (!node_add_origins(graph, add, id)) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph_remove_node(graph, id);
    pass_count_add(ctx, "split", 1);
    return STATUS_OK;
}

static size_t constant_bytes(const Graph *graph, ValueId value) {
    size_t bytes = 0;
    if (!value_is_constant(graph, value)) return 0;
    return dtype_storage(graph->values[value].dtype, value_count(&graph->values[value]), &bytes) ? bytes : 0;
}

/* Weights of the contractions that the node's inputs come from, or its own. */
static size_t weight_bytes(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    if (node->op != OP_Concat) return node->input_count > 1 ? constant_bytes(graph, node->inputs[1]) : 0;
    size_t total = 0;
    for (int32_t i = 0; i < node->input_count; ++i) {
        NodeId producer = graph->values[node->inputs[i]].producer;
        if (producer != NONE && graph->nodes[producer].op != OP_Concat)
            total += weight_bytes(graph, producer);
    }
    return total;
}

/* Whether the node's weights may be made anew; if so, they are counted. */
static bool take_budget(PassCtx *ctx, NodeId id, size_t *budget) {
    size_t bytes = weight_bytes(ctx->graph, id);
    if (bytes > *budget) {
        pass_reject(ctx, id, "nothing more is folded into it: new weights would take too much memory");
        return false;
    }
    *budget -= bytes;
    return true;
}

static Status fold_contractions(PassCtx *ctx, const UseTable *uses, size_t *budget) {
    for (NodeId n = 0, count = ctx->graph->node_count; n < count; ++n) {
        Contraction c;
        if (!node_is_live(ctx->graph, n) || !contraction_read(ctx->graph, uses, n, &c)) continue;
        size_t before = *budget;
        if (!take_budget(ctx, n, budget)) continue;
        ValueId weights = c.weights;
        TRY(fold_followers(ctx, uses, &c));
        TRY(fold_predecessors(ctx, uses, &c));
        if (c.weights == weights) *budget = before;
    }
    return STATUS_OK;
}

static Status fold_concats(PassCtx *ctx, const UseTable *uses, size_t *budget) {
    for (NodeId n = 0, count = ctx->graph->node_count; n < count; ++n) {
        bool done = node_is_live(ctx->graph, n) && ctx->graph->nodes[n].op == OP_Concat;
        for (int32_t folds = 0; done && folds < MOST_FOLDS; ++folds) {
            size_t before = *budget;
            done = false;
            if (take_budget(ctx, n, budget)) TRY(fold_concat(ctx, uses, n, &done));
            if (!done) *budget = before;
        }
    }
    return STATUS_OK;
}

Status pass_fold_batch_norm(PassCtx *ctx) {
    UseTable uses;
    size_t budget = 0;
    for (ValueId v = 0; v < ctx->graph->value_count; ++v) budget += constant_bytes(ctx->graph, v);
    budget = budget > SIZE_MAX / (2 * GROWTH_FACTOR) ? SIZE_MAX / 2 : budget * GROWTH_FACTOR + GROWTH_BYTES;
    if (!use_table_build(ctx->graph, ctx->scratch, &uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(fold_contractions(ctx, &uses, &budget));
    if (!use_table_build(ctx->graph, ctx->scratch, &uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(fold_concats(ctx, &uses, &budget));
    for (NodeId n = 0, count = ctx->graph->node_count; n < count; ++n)
        if (ctx->graph->nodes[n].op == OP_BatchNormalization) TRY(split_batch_norm(ctx, n));
    return STATUS_OK;
}
