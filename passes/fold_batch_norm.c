/* Folds per-channel scales and shifts into the weights of the contraction before them.
 *
 * y = s[c] * conv(x, W, b) + t[c] is conv(x, s[c] * W, s[c] * b + t[c]). The scale and shift come from a
 * BatchNormalization with constant statistics, or from Mul, Add, Sub or Div by a per-channel constant. A
 * BatchNormalization that cannot fold becomes Mul and Add, which later passes fuse like any other pointwise
 * nodes. */
#include <math.h>
#include <string.h>

#include "passes/pass.h"

enum { CHANNEL_AXIS = 1 };

/* y[c] = scale[c] * x[c] + shift[c], in double. */
typedef struct Affine {
    int64_t channels;
    double *scale, *shift;
} Affine;

static Status affine_create(PassCtx *ctx, int64_t channels, Affine *out) {
    out->channels = channels;
    out->scale = ARENA_ARRAY(ctx->scratch, double, channels);
    out->shift = ARENA_ARRAY(ctx->scratch, double, channels);
    TRY_ALLOC(ctx->diag, out->scale);
    TRY_ALLOC(ctx->diag, out->shift);
    for (int64_t c = 0; c < channels; ++c) out->scale[c] = 1;
    return STATUS_OK;
}

/* True where a constant has one element, or one per channel of a tensor of that rank and broadcasts along
 * nothing else. */
static bool is_per_channel(const Graph *graph, ValueId id, int32_t rank, int64_t channels) {
    const Value *value = &graph->values[id];
    if (!value_is_constant(graph, id) || !dtype_is_float(value->dtype) || value->shape.rank > rank)
        return false;
    for (int32_t i = 0; i < value->shape.rank; ++i) {
        int32_t axis = i + rank - value->shape.rank;
        if (value->shape.dim[i] != 1 && !(axis == CHANNEL_AXIS && value->shape.dim[i] == channels))
            return false;
    }
    return true;
}

static double per_channel(const Graph *graph, ValueId id, int64_t channel) {
    const Value *value = &graph->values[id];
    return dtype_load_f64(value->dtype, value->data, value_count(value) == 1 ? 0 : channel);
}

static bool batch_norm_is_constant(const Graph *graph, const Node *node) {
    for (int32_t i = 1; i < 5; ++i)
        if (!value_is_constant(graph, node->inputs[i])) return false;
    return true;
}

static Status read_batch_norm(PassCtx *ctx, const Node *node, Affine *out) {
    const Graph *graph = ctx->graph;
    float epsilon;
    TRY(attr_float(&node->attrs, "epsilon", 1e-5f, &epsilon, ctx->diag));
    for (int64_t c = 0; c < out->channels; ++c) {
        double scale = per_channel(graph, node->inputs[1], c), bias = per_channel(graph, node->inputs[2], c);
        double mean = per_channel(graph, node->inputs[3], c),
               variance = per_channel(graph, node->inputs[4], c);
        out->scale[c] = scale / sqrt(variance + (double)epsilon);
        out->shift[c] = bias - mean * out->scale[c];
    }
    return STATUS_OK;
}

/* Mul, Add, Sub, Div with a constant on the side where it is affine in x. */
static bool read_pointwise(const Graph *graph, const Node *node, ValueId x, int32_t rank, Affine *out) {
    if (node->input_count != 2) return false;
    bool x_first = node->inputs[0] == x;
    ValueId other = x_first ? node->inputs[1] : node->inputs[0];
    if (other == x || !is_per_channel(graph, other, rank, out->channels)) return false;
    for (int64_t c = 0; c < out->channels; ++c) {
        double k = per_channel(graph, other, c);
        switch (node->op) {
        case OP_Add:
            out->shift[c] = k;
            break;
        case OP_Sub:
            out->scale[c] = x_first ? 1 : -1;
            out->shift[c] = x_first ? -k : k;
            break;
        case OP_Mul:
            out->scale[c] = k;
            break;
        case OP_Div:
            if (!x_first || k == 0) return false;
            out->scale[c] = 1 / k;
            break;
        default:
            return false;
        }
    }
    return true;
}

/* The scale and shift that node applies to x, a tensor of that rank; *found false when it is none. */
static Status read_affine(PassCtx *ctx, NodeId id, ValueId x, int32_t rank, int64_t channels, Affine *out,
                          bool *found) {
    const Node *node = &ctx->graph->nodes[id];
    *found = false;
    bool candidate =
        node->op == OP_BatchNormalization
            ? node->inputs[0] == x && batch_norm_is_constant(ctx->graph, node)
            : node->op == OP_Add || node->op == OP_Sub || node->op == OP_Mul || node->op == OP_Div;
    if (!candidate) return STATUS_OK;
    TRY(affine_create(ctx, channels, out));
    if (node->op == OP_BatchNormalization) {
        TRY(read_batch_norm(ctx, node, out));
        *found = true;
    } else {
        *found = read_pointwise(ctx->graph, node, x, rank, out);
    }
    for (int64_t c = 0; *found && c < channels; ++c)
        *found = isfinite(out->scale[c]) && isfinite(out->shift[c]);
    return STATUS_OK;
}

/* Which output channel each weight belongs to: channel = (i / stride) % extent + (i / group_stride) * extent.
 */
typedef struct WeightMap {
    int64_t stride, extent, group_stride;
} WeightMap;

/* False where the node is no contraction with constant weights of a known layout. */
static bool weight_map(const Graph *graph, const Node *node, int64_t *channels, WeightMap *map) {
    const Value *w =
        node->input_count > 1 && node->inputs[1] != NONE ? &graph->values[node->inputs[1]] : NULL;
    if (w == NULL || w->data == NULL || !dtype_is_float(w->dtype)) return false;
    int64_t count = value_count(w), group = 1, flag = 0;
    if (count == 0) return false;
    switch (node->op) {
    case OP_Conv:
        *channels = w->shape.dim[0];
        *map = (WeightMap){count / *channels, *channels, INT64_MAX};
        return true;
    case OP_ConvTranspose: {
        if (attr_int(&node->attrs, "group", 1, &group, NULL) != STATUS_OK) return false;
        int64_t per_group = w->shape.dim[1], spatial = count / (w->shape.dim[0] * per_group);
        *channels = per_group * group;
        *map = (WeightMap){spatial, per_group, count / group};
        return true;
    }
    case OP_Gemm:
        if (attr_int(&node->attrs, "transB", 0, &flag, NULL) != STATUS_OK) return false;
        *channels = w->shape.dim[flag != 0 ? 0 : 1];
        *map = (WeightMap){flag != 0 ? w->shape.dim[1] : 1, *channels, INT64_MAX};
        return true;
    default:
        return false;
    }
}

/* The bias must be absent or per channel; a Gemm must add it unscaled. */
static bool bias_is_foldable(const Graph *graph, const Node *node, int64_t channels) {
    float beta = 1;
    if (node->op == OP_Gemm && (attr_float(&node->attrs, "beta", 1, &beta, NULL) != STATUS_OK || beta != 1))
        return false;
    if (node->input_count < 3 || node->inputs[2] == NONE) return true;
    if (node->op == OP_Gemm) return is_per_channel(graph, node->inputs[2], 2, channels);
    return value_is_constant(graph, node->inputs[2]) &&
           value_count(&graph->values[node->inputs[2]]) == channels;
}

static Status scaled_weights(PassCtx *ctx, ValueId weights, const WeightMap *map, const Affine *affine,
                             ValueId *out) {
    const Value w = ctx->graph->values[weights];
    int64_t count = value_count(&w);
    size_t bytes;
    if (!dtype_storage(w.dtype, count, &bytes))
        return FAIL(ctx->diag, STATUS_INTERNAL, "weights without a size");
    void *data = arena_alloc(ctx->graph->arena, bytes);
    TRY_ALLOC(ctx->diag, data);
    for (int64_t i = 0; i < count; ++i) {
        int64_t channel = i / map->stride % map->extent + i / map->group_stride * map->extent;
        dtype_store_f64(w.dtype, data, i, dtype_load_f64(w.dtype, w.data, i) * affine->scale[channel]);
    }
    *out = graph_add_constant(ctx->graph, w.name, w.dtype, w.shape.rank, w.shape.dim, data);
    return *out == NONE ? FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static Status shifted_bias(PassCtx *ctx, const Node *node, const Affine *affine, ValueId *out) {
    Graph *graph = ctx->graph;
    ValueId old = node->input_count > 2 ? node->inputs[2] : NONE;
    DType dtype = graph->values[node->inputs[1]].dtype;
    size_t bytes;
    if (!dtype_storage(dtype, affine->channels, &bytes))
        return FAIL(ctx->diag, STATUS_INTERNAL, "bias without a size");
    void *data = arena_alloc(graph->arena, bytes);
    TRY_ALLOC(ctx->diag, data);
    for (int64_t c = 0; c < affine->channels; ++c) {
        double bias = old != NONE ? per_channel(graph, old, c) : 0;
        dtype_store_f64(dtype, data, c, bias * affine->scale[c] + affine->shift[c]);
    }
    *out = graph_add_constant(graph, old != NONE ? graph->values[old].name : NULL, dtype, 1,
                              &affine->channels, data);
    return *out == NONE ? FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

/* Gives the contraction new weights and the follower's result as its own. */
static Status fold_into(PassCtx *ctx, NodeId anchor, NodeId follower, const WeightMap *map,
                        const Affine *affine) {
    Graph *graph = ctx->graph;
    ValueId weights, bias, result = graph->nodes[follower].outputs[0];
    ValueId *inputs = ARENA_ARRAY(graph->arena, ValueId, 3);
    TRY_ALLOC(ctx->diag, inputs);
    TRY(scaled_weights(ctx, graph->nodes[anchor].inputs[1], map, affine, &weights));
    TRY(shifted_bias(ctx, &graph->nodes[anchor], affine, &bias));
    if (!node_add_origins(graph, anchor, follower)) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph_remove_node(graph, follower);
    Node *node = &graph->nodes[anchor];
    inputs[0] = node->inputs[0];
    inputs[1] = weights;
    inputs[2] = bias;
    node->inputs = inputs;
    node->input_count = 3;
    graph->values[node->outputs[0]].producer = NONE;
    node->outputs[0] = result;
    graph->values[result].producer = anchor;
    graph->values[result].output_index = 0;
    pass_count_add(ctx, "folded", 1);
    return STATUS_OK;
}

/* The only user of a value, if it is a node of the same block. */
static NodeId only_user(PassCtx *ctx, const UseTable *uses, NodeId anchor, ValueId value) {
    const struct Use *use = &uses->uses[uses->first[value]];
    if (use_count(uses, value) == 1 && use->node != NONE &&
        ctx->graph->nodes[use->node].block == ctx->graph->nodes[anchor].block)
        return use->node;
    return NONE;
}

/* Folds one follower after another; uses of the results do not change but for the folded nodes themselves. */
static Status fold_followers(PassCtx *ctx, const UseTable *uses, NodeId anchor) {
    Graph *graph = ctx->graph;
    WeightMap map;
    int64_t channels;
    if (!weight_map(graph, &graph->nodes[anchor], &channels, &map)) return STATUS_OK;
    for (;;) {
        ValueId result = graph->nodes[anchor].outputs[0];
        const Value *value = &graph->values[result];
        NodeId follower = only_user(ctx, uses, anchor, result);
        Affine affine;
        bool found;
        if (follower == NONE || !value->has_shape || value->shape.rank < 2) return STATUS_OK;
        TRY(read_affine(ctx, follower, result, value->shape.rank, channels, &affine, &found));
        if (!found) return STATUS_OK;
        if (!bias_is_foldable(graph, &graph->nodes[anchor], channels)) {
            pass_reject(ctx, follower, "the bias of the node before it is not a constant per channel");
            return STATUS_OK;
        }
        if (!shape_equal(&graph->values[graph->nodes[follower].outputs[0]].shape, &value->shape))
            return STATUS_OK;
        TRY(fold_into(ctx, anchor, follower, &map, &affine));
    }
}

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
    TRY(read_batch_norm(ctx, &node, &affine));
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
    graph->nodes[id].outputs[0] = NONE;
    graph->values[result].producer = NONE;
    TRY(graph_insert_node(graph, id, true, OP_Add, node.name, &none, 2, add_inputs, 1, &result, &add,
                          ctx->diag));
    if (!node_add_origins(graph, add, id)) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph_remove_node(graph, id);
    pass_count_add(ctx, "split", 1);
    return STATUS_OK;
}

Status pass_fold_batch_norm(PassCtx *ctx) {
    Graph *graph = ctx->graph;
    UseTable uses;
    if (!use_table_build(graph, ctx->scratch, &uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    int32_t node_count = graph->node_count;
    for (NodeId n = 0; n < node_count; ++n)
        if (graph->nodes[n].op != OP_NONE) TRY(fold_followers(ctx, &uses, n));
    for (NodeId n = 0; n < node_count; ++n)
        if (graph->nodes[n].op == OP_BatchNormalization) TRY(split_batch_norm(ctx, n));
    return STATUS_OK;
}
