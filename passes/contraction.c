#include "passes/contraction.h"

#include <math.h>

#include "base/clock.h"
#include "ops/conv.h"
#include "ops/matmul.h"

enum { WEIGHTS = 1, BIAS = 2, WEIGHT_BLOCK = 1024 };

/* -- reading -- */

static void read_conv(const Node *node, const Value *w, Contraction *out) {
    int64_t group = ((const ConvAttrs *)node->parsed)->group, count = value_count(w);
    int64_t inputs = w->shape.dim[1], taps = count / (w->shape.dim[0] * inputs);
    out->outputs = w->shape.dim[0];
    out->inputs = inputs * group;
    out->output_of = (WeightMap){inputs * taps, out->outputs, INT64_MAX};
    out->input_of = (WeightMap){taps, inputs, count / group};
    out->output_axis = out->input_axis = 1;
}

static void read_conv_transpose(const Node *node, const Value *w, Contraction *out) {
    int64_t group = ((const TransposeAttrs *)node->parsed)->group, count = value_count(w);
    int64_t outputs = w->shape.dim[1], taps = count / (w->shape.dim[0] * outputs);
    out->outputs = outputs * group;
    out->inputs = w->shape.dim[0];
    out->output_of = (WeightMap){taps, outputs, count / group};
    out->input_of = (WeightMap){outputs * taps, out->inputs, INT64_MAX};
    out->output_axis = out->input_axis = 1;
}

static void read_matrix(const Value *w, bool transposed, Contraction *out) {
    out->inputs = w->shape.dim[transposed ? 1 : 0];
    out->outputs = w->shape.dim[transposed ? 0 : 1];
    out->output_of = (WeightMap){transposed ? out->inputs : 1, out->outputs, INT64_MAX};
    out->input_of = (WeightMap){transposed ? 1 : out->outputs, out->inputs, INT64_MAX};
}

static void read_gemm(const Node *node, const Value *w, Contraction *out) {
    const GemmAttrs *attrs = node->parsed;
    read_matrix(w, attrs->trans_b != 0, out);
    out->output_axis = 1;
    out->input_axis = attrs->trans_a != 0 ? 0 : 1;
    if (attrs->beta != 1) out->bias_refuses = "its bias is scaled";
}

NodeId only_user(const Graph *graph, const UseTable *uses, BlockId block, ValueId value) {
    if (use_count(uses, value) != 1) return NONE;
    NodeId user = uses->uses[uses->first[value]].node;
    return user != NONE && graph->nodes[user].op != OP_NONE && graph->nodes[user].block == block ? user
                                                                                                 : NONE;
}

/* A product has its bias in the Add behind it. */
static void read_product(const Graph *graph, const UseTable *uses, Contraction *out) {
    const Node *node = &graph->nodes[out->node];
    const Shape *shape = &graph->values[out->result].shape;
    NodeId user = only_user(graph, uses, node->block, out->result);
    read_matrix(&graph->values[out->weights], false, out);
    out->output_axis = shape->rank - 1;
    out->input_axis = graph->values[out->input].shape.rank - 1;
    if (user == NONE || graph->nodes[user].op != OP_Add || graph->nodes[user].outputs[0] == NONE) return;
    const Node *add = &graph->nodes[user];
    ValueId bias = add->inputs[add->inputs[0] == out->result ? 1 : 0];
    if (bias == out->result || !is_per_channel(graph, bias, shape->rank, out->output_axis, out->outputs) ||
        !shape_equal(&graph->values[add->outputs[0]].shape, shape))
        return;
    out->adder = user;
    out->bias = bias;
    out->result = add->outputs[0];
}

/* A bias in the node's own input must be one per channel; a Gemm's may be a row or a single element. */
static void check_bias(const Graph *graph, Contraction *out) {
    const Node *node = &graph->nodes[out->node];
    if (node->op == OP_MatMul || node->input_count <= BIAS || node->inputs[BIAS] == NONE) return;
    out->bias = node->inputs[BIAS];
    bool fits = node->op == OP_Gemm ? is_per_channel(graph, out->bias, 2, 1, out->outputs)
                                    : value_is_constant(graph, out->bias) &&
                                          value_count(&graph->values[out->bias]) == out->outputs;
    if (!fits) out->bias_refuses = "its bias is not a constant per channel";
}

bool contraction_read(const Graph *graph, const UseTable *uses, NodeId id, Contraction *out) {
    const Node *node = &graph->nodes[id];
    bool known =
        node->op == OP_Conv || node->op == OP_ConvTranspose || node->op == OP_Gemm || node->op == OP_MatMul;
    if (!known || node->inputs[WEIGHTS] == NONE || node->outputs[0] == NONE) return false;
    *out = (Contraction){.node = id,
                         .adder = NONE,
                         .input = node->inputs[0],
                         .weights = node->inputs[WEIGHTS],
                         .bias = NONE,
                         .result = node->outputs[0]};
    const Value *w = &graph->values[out->weights];
    const Value *x = &graph->values[out->input], *y = &graph->values[out->result];
    if (w->data == NULL || !dtype_is_float(w->dtype) || value_count(w) == 0) return false;
    if (!x->has_shape || !y->has_shape || y->shape.rank < 2) return false;
    if ((node->op == OP_MatMul || node->op == OP_Gemm) && w->shape.rank != 2) return false;
    if (node->op == OP_Conv) read_conv(node, w, out);
    if (node->op == OP_ConvTranspose) read_conv_transpose(node, w, out);
    if (node->op == OP_Gemm) read_gemm(node, w, out);
    if (node->op == OP_MatMul) read_product(graph, uses, out);
    check_bias(graph, out);
    return true;
}

const char *contraction_shift_refuses(const Graph *graph, const Contraction *c) {
    const Node *node = &graph->nodes[c->node];
    if (node->op == OP_ConvTranspose) return "the edges of a transposed convolution see it less often";
    if (node->op != OP_Conv) return NULL;
    const WindowAttrs *window = &((const ConvAttrs *)node->parsed)->window;
    bool padded = window->auto_pad == AUTO_PAD_SAME_UPPER || window->auto_pad == AUTO_PAD_SAME_LOWER;
    return padded || window_has_pads(window) ? "the convolution pads with zeros behind it" : NULL;
}

/* -- new constants -- */

static int64_t channel_of(const WeightMap *map, int64_t i) {
    return i / map->stride % map->extent + i / map->group_stride * map->extent;
}

static Status allocate(PassCtx *ctx, DType dtype, int64_t count, void **out) {
    size_t bytes;
    if (!dtype_storage(dtype, count, &bytes))
        return FAIL(ctx->diag, STATUS_INTERNAL, "weights without a size");
    *out = arena_alloc(ctx->graph->arena, bytes);
    TRY_ALLOC(ctx->diag, *out);
    return STATUS_OK;
}

/* What the channels of weights first ... first + count - 1 are scaled by. */
static void spread(const WeightMap *map, const double *scale, int64_t first, int64_t count, double *out) {
    for (int64_t i = 0, run; i < count; i += run) {
        int64_t channel = channel_of(map, first + i);
        bool along = map->stride == 1; /* one channel after the other, else one many times */
        run = along ? map->extent - channel % map->extent : map->stride - (first + i) % map->stride;
        if (run > count - i) run = count - i;
        for (int64_t k = 0; k < run; ++k) out[i + k] = scale[along ? channel + k : channel];
    }
}

/* A block of weights times their scales; false where one becomes infinite. */
static bool scale_block(const Value *w, const double *scales, int64_t first, int64_t count, void *data) {
    double old[WEIGHT_BLOCK], new[WEIGHT_BLOCK];
    bool finite = true;
    dtype_read_f64(w->dtype, w->data, first, count, old);
    for (int64_t i = 0; i < count; ++i) new[i] = old[i] * scales[i];
    dtype_write_f64(w->dtype, data, first, count, new);
    dtype_read_f64(w->dtype, data, first, count, new);
    for (int64_t i = 0; i < count; ++i) finite = finite && (isfinite(new[i]) || !isfinite(old[i]));
    return finite;
}

/* Every weight times what its channel is scaled by; *out NONE where one becomes infinite. */
static Status scaled_weights(PassCtx *ctx, const Contraction *c, const WeightMap *map, const double *scale,
                             ValueId *out) {
    const Value w = ctx->graph->values[c->weights];
    double scales[WEIGHT_BLOCK];
    int64_t count = value_count(&w);
    void *data;
    *out = NONE;
    TRY(allocate(ctx, w.dtype, count, &data));
    for (int64_t first = 0; first < count; first += WEIGHT_BLOCK) {
        int64_t length = count - first < WEIGHT_BLOCK ? count - first : WEIGHT_BLOCK;
        spread(map, scale, first, length, scales);
        if (!scale_block(&w, scales, first, length, data)) return STATUS_OK;
    }
    *out = graph_add_constant(ctx->graph, w.name, w.dtype, w.shape.rank, w.shape.dim, data);
    return *out == NONE ? FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

/* scale * bias + shift as a vector; *out NONE where an element becomes infinite. */
static Status changed_bias(PassCtx *ctx, const Contraction *c, const Affine *affine, ValueId *out) {
    Graph *graph = ctx->graph;
    DType dtype = graph->values[c->weights].dtype;
    void *data;
    *out = NONE;
    TRY(allocate(ctx, dtype, affine->channels, &data));
    for (int64_t i = 0; i < affine->channels; ++i) {
        double bias = c->bias != NONE ? per_channel(graph, c->bias, i) : 0;
        dtype_store_f64(dtype, data, i, bias * affine->scale[i] + affine->shift[i]);
        if (isfinite(bias) && !isfinite(dtype_load_f64(dtype, data, i))) return STATUS_OK;
    }
    *out = graph_add_constant(graph, c->bias != NONE ? graph->values[c->bias].name : NULL, dtype, 1,
                              &affine->channels, data);
    return *out == NONE ? FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

/* -- putting them in -- */

/* A product gets an Add behind it, which gives what the product gave. */
static Status add_adder(PassCtx *ctx, Contraction *c) {
    Graph *graph = ctx->graph;
    ValueId product = graph_add_value(graph, graph->values[c->result].name);
    if (product == NONE) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    Value *row = &graph->values[product], *result = &graph->values[c->result];
    row->dtype = result->dtype;
    row->has_shape = true;
    row->shape = result->shape;
    row->producer = c->node;
    result->producer = NONE;
    graph->nodes[c->node].outputs[0] = product;
    const ValueId inputs[] = {product, c->bias};
    TRY(graph_insert_node(graph, c->node, false, OP_Add, graph->nodes[c->node].name, NULL, 2, inputs, 1,
                          &c->result, &c->adder, ctx->diag));
    return node_add_origins(graph, c->adder, c->node) ? STATUS_OK
                                                      : FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
}

static Status put_bias(PassCtx *ctx, Contraction *c) {
    Graph *graph = ctx->graph;
    Node *node = &graph->nodes[c->node];
    if (c->bias == NONE) return STATUS_OK;
    if (node->op == OP_MatMul && c->adder == NONE) return add_adder(ctx, c);
    if (node->op == OP_MatMul) {
        Node *add = &graph->nodes[c->adder];
        add->inputs[add->inputs[0] == node->outputs[0] ? 1 : 0] = c->bias;
        return STATUS_OK;
    }
    ValueId *inputs = ARENA_ARRAY(graph->arena, ValueId, BIAS + 1);
    TRY_ALLOC(ctx->diag, inputs);
    inputs[0] = c->input;
    inputs[WEIGHTS] = c->weights;
    inputs[BIAS] = c->bias;
    node->inputs = inputs;
    node->input_count = BIAS + 1;
    return STATUS_OK;
}

/* New weights, and a new bias where `bias` is not NULL. */
static Status new_constants(PassCtx *ctx, const Contraction *c, const WeightMap *map, const double *scale,
                            const Affine *bias, NewConstants *out) {
    double start = clock_seconds();
    out->bias = c->bias;
    Status status = scaled_weights(ctx, c, map, scale, &out->weights);
    pass_data_since(ctx, start);
    TRY(status);
    if (bias == NULL || out->weights == NONE) return STATUS_OK;
    TRY(changed_bias(ctx, c, bias, &out->bias));
    if (out->bias == NONE) out->weights = NONE;
    return STATUS_OK;
}

Status contraction_scale_behind(PassCtx *ctx, const Contraction *c, const Affine *affine, NewConstants *out) {
    bool needs_bias = c->bias != NONE || affine_shifts(affine);
    return new_constants(ctx, c, &c->output_of, affine->scale, needs_bias ? affine : NULL, out);
}

Status contraction_put(PassCtx *ctx, Contraction *c, const NewConstants *constants) {
    c->weights = constants->weights;
    c->bias = constants->bias;
    ctx->graph->nodes[c->node].inputs[WEIGHTS] = c->weights;
    return put_bias(ctx, c);
}

/* What a shift of the inputs adds to each output: the sum of its weights times their input's shift. */
static Status shifted_outputs(PassCtx *ctx, const Contraction *c, const double *shift, Affine *out) {
    const Value *w = &ctx->graph->values[c->weights];
    const Node *node = &ctx->graph->nodes[c->node];
    double alpha = node->op == OP_Gemm ? (double)((const GemmAttrs *)node->parsed)->alpha : 1;
    TRY(affine_create(ctx, c->outputs, out));
    for (int64_t i = 0, count = value_count(w); i < count; ++i)
        out->shift[channel_of(&c->output_of, i)] +=
            alpha * dtype_load_f64(w->dtype, w->data, i) * shift[channel_of(&c->input_of, i)];
    return STATUS_OK;
}

Status contraction_scale_before(PassCtx *ctx, const Contraction *c, const Affine *affine, NewConstants *out) {
    Affine bias;
    bool shifts = affine_shifts(affine);
    if (shifts) TRY(shifted_outputs(ctx, c, affine->shift, &bias));
    return new_constants(ctx, c, &c->input_of, affine->scale, shifts ? &bias : NULL, out);
}

Status contraction_absorb(PassCtx *ctx, Contraction *c, NodeId follower) {
    Graph *graph = ctx->graph;
    NodeId last = c->adder != NONE ? c->adder : c->node;
    ValueId result = graph->nodes[follower].outputs[0];
    if (!node_add_origins(graph, last, follower)) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph_remove_node(graph, follower);
    graph->values[c->result].producer = NONE;
    graph->nodes[last].outputs[0] = result;
    graph->values[result].producer = last;
    graph->values[result].output_index = 0;
    c->result = result;
    return STATUS_OK;
}
