/* fold_pad: padding that a convolution or a pooling can do itself goes into its pads.
 *
 * Zeros before a Conv, zeros that an AveragePool counts, and before a MaxPool what never wins: the lowest
 * number, or zeros where no element is below them. Only spatial axes can be padded so, and every window of a
 * pooling must still see an element. */
#include <float.h>
#include <string.h>

#include "ops/conv.h"
#include "ops/pool.h"
#include "passes/contraction.h"

enum { FIRST_SPATIAL = 2, MOST_PADDING = 1 << 30, MOST_DEPTH = 8 };

/* A Pad that is known when the model is built. */
typedef struct Padding {
    int32_t rank;
    int64_t begin[SMELT_MAX_RANK], end[SMELT_MAX_RANK]; /* per axis */
    double value;
} Padding;

/* -- reading -- */

/* The elements of a constant with at most that many integers. */
static bool read_ints(const Graph *graph, ValueId id, int64_t *out, int64_t most, int64_t *count) {
    if (!value_is_constant(graph, id)) return false;
    const Value *value = &graph->values[id];
    *count = value_count(value);
    if (!dtype_is_integer(value->dtype) || *count > most) return false;
    for (int64_t i = 0; i < *count; ++i) out[i] = dtype_load_i64(value->dtype, value->data, i);
    return true;
}

static bool has_input(const Node *node, int32_t i) {
    return i < node->input_count && node->inputs[i] != NONE;
}

static bool read_axes(const Graph *graph, const Node *node, int32_t rank, int64_t axes[SMELT_MAX_RANK],
                      int64_t *count) {
    *count = rank;
    for (int32_t i = 0; i < rank; ++i) axes[i] = i;
    if (!has_input(node, 3)) return true;
    if (!read_ints(graph, node->inputs[3], axes, SMELT_MAX_RANK, count)) return false;
    for (int64_t i = 0; i < *count; ++i) {
        if (axes[i] < 0) axes[i] += rank;
        if (axes[i] < 0 || axes[i] >= rank) return false;
    }
    return true;
}

static const char *read_pad(const Graph *graph, const Node *node, Padding *out) {
    const Value *x = &graph->values[node->inputs[0]];
    int64_t pads[2 * SMELT_MAX_RANK] = {0}, axes[SMELT_MAX_RANK] = {0}, pad_count, axis_count;
    *out = (Padding){.rank = x->shape.rank};
    const char *mode;
    if (attr_string(&node->attrs, "mode", "constant", &mode, NULL) != STATUS_OK ||
        strcmp(mode, "constant") != 0)
        return "its mode is not constant";
    if (!x->has_shape || !dtype_is_float(x->dtype) ||
        !read_ints(graph, node->inputs[1], pads, 2 * SMELT_MAX_RANK, &pad_count) ||
        !read_axes(graph, node, out->rank, axes, &axis_count) || pad_count != 2 * axis_count)
        return "its pads are not known";
    for (int64_t i = 0; i < axis_count; ++i) {
        int64_t begin = pads[i], end = pads[i + axis_count];
        if (begin < 0 || end < 0) return "it takes elements away";
        if (begin > MOST_PADDING || end > MOST_PADDING) return "its pads are too large";
        if (axes[i] < FIRST_SPATIAL && (begin != 0 || end != 0)) return "it pads more than spatial axes";
        out->begin[axes[i]] = begin;
        out->end[axes[i]] = end;
    }
    if (!has_input(node, 2)) return NULL;
    const Value *value = &graph->values[node->inputs[2]];
    if (value->data == NULL || value_count(value) != 1) return "its value is not known";
    out->value = dtype_load_f64(value->dtype, value->data, 0);
    return NULL;
}

/* -- whether a node can pad so itself -- */

/* Operators whose results are never below zero, and those that give nothing but what they get. */
static const OpId nonnegative[] = {OP_Relu,    OP_Sigmoid, OP_HardSigmoid, OP_Abs,
                                   OP_Softmax, OP_Exp,     OP_Sqrt,        OP_Softplus};
static const OpId keeping[] = {OP_MaxPool, OP_AveragePool, OP_Concat, OP_Reshape, OP_Transpose, OP_Identity};

static bool op_is_one_of(OpId op, const OpId *list, size_t count) {
    for (size_t i = 0; i < count; ++i)
        if (list[i] == op) return true;
    return false;
}

static bool clips_at_zero(const Graph *graph, const Node *node) {
    if (node->op != OP_Clip || !has_input(node, 1) || !value_is_constant(graph, node->inputs[1]))
        return false;
    const Value *low = &graph->values[node->inputs[1]];
    return value_count(low) == 1 && dtype_load_f64(low->dtype, low->data, 0) >= 0;
}

static bool is_nonnegative(const Graph *graph, ValueId id, int32_t depth) {
    NodeId producer = graph->values[id].producer;
    if (producer == NONE || depth == MOST_DEPTH) return false;
    const Node *node = &graph->nodes[producer];
    if (op_is_one_of(node->op, nonnegative, sizeof nonnegative / sizeof nonnegative[0])) return true;
    if (clips_at_zero(graph, node)) return true;
    if (!op_is_one_of(node->op, keeping, sizeof keeping / sizeof keeping[0])) return false;
    int32_t count = node->op == OP_Concat ? node->input_count : 1;
    for (int32_t i = 0; i < count; ++i)
        if (!is_nonnegative(graph, node->inputs[i], depth + 1)) return false;
    return true;
}

static const char *window_refuses(const WindowAttrs *window, const Padding *padding) {
    if (window->auto_pad == AUTO_PAD_SAME_UPPER || window->auto_pad == AUTO_PAD_SAME_LOWER)
        return "the node behind it pads by the size of its input";
    if (padding->rank > FIRST_SPATIAL + WINDOW_AXES) return "it has too many axes";
    return NULL;
}

/* auto_pad says more than pads does; attributes may say nothing of any axis. */
static int64_t own_pad(const WindowAttrs *window, const int64_t pads[WINDOW_AXES], int32_t axis) {
    return window->auto_pad == AUTO_PAD_NONE && axis < window->axes ? pads[axis] : 0;
}

/* A window that lies in the padding alone has no element to give. */
static const char *pool_refuses(const PoolAttrs *attrs, const Padding *padding) {
    if (attrs->ceil_mode != 0) return "the last window of the pooling may pass the end";
    for (int32_t i = 0; i < padding->rank - FIRST_SPATIAL; ++i) {
        const WindowAttrs *w = &attrs->window;
        int64_t begin = own_pad(w, w->pad_begin, i) + padding->begin[i + FIRST_SPATIAL],
                end = own_pad(w, w->pad_end, i) + padding->end[i + FIRST_SPATIAL];
        bool covers = w->dilation[i] == 1 && begin < w->kernel[i] && end < w->kernel[i];
        if (!covers) return "a window of the pooling may see nothing but padding";
    }
    return NULL;
}

static const char *max_refuses(const Graph *graph, const Node *pad, const Node *pool,
                               const Padding *padding) {
    const Value *x = &graph->values[pad->inputs[0]];
    double lowest[1];
    dtype_store_f64(x->dtype, lowest, 0, -DBL_MAX); /* saturates */
    bool never_wins = padding->value <= dtype_load_f64(x->dtype, lowest, 0) ||
                      (padding->value <= 0 && is_nonnegative(graph, pad->inputs[0], 0));
    if (pool->output_count > 1 && pool->outputs[1] != NONE) return "the pooling tells where its maxima lie";
    return never_wins ? NULL : "its value may be the maximum";
}

static bool is_padded(const WindowAttrs *window) {
    for (int32_t i = 0; i < window->axes; ++i)
        if (own_pad(window, window->pad_begin, i) != 0 || own_pad(window, window->pad_end, i) != 0)
            return true;
    return false;
}

static const char *average_refuses(const PoolAttrs *attrs, const Padding *padding) {
    if (padding->value != 0) return "its value is not zero";
    /* Its own padding is not counted, that of the Pad is. */
    if (attrs->count_include_pad == 0 && is_padded(&attrs->window))
        return "the pooling does not count its pads";
    return NULL;
}

static const char *user_refuses(const Graph *graph, const Node *pad, const Node *user,
                                const Padding *padding) {
    const char *why;
    switch (user->op) {
    case OP_Conv:
        why = window_refuses(&((const ConvAttrs *)user->parsed)->window, padding);
        return why == NULL && padding->value != 0 ? "its value is not zero" : why;
    case OP_MaxPool:
    case OP_AveragePool:
        why = window_refuses(&((const PoolAttrs *)user->parsed)->window, padding);
        if (why == NULL) why = pool_refuses(user->parsed, padding);
        if (why != NULL) return why;
        return user->op == OP_MaxPool ? max_refuses(graph, pad, user, padding)
                                      : average_refuses(user->parsed, padding);
    default:
        return "the node behind it cannot pad";
    }
}

/* -- folding -- */

static const WindowAttrs *window_attrs(const Node *node) {
    return node->op == OP_Conv ? &((const ConvAttrs *)node->parsed)->window
                               : &((const PoolAttrs *)node->parsed)->window;
}

static Status add_pads(PassCtx *ctx, NodeId id, const Padding *padding) {
    Graph *graph = ctx->graph;
    const Node *node = &graph->nodes[id];
    const WindowAttrs *window = window_attrs(node);
    AttrList attrs;
    int64_t pads[2 * WINDOW_AXES];
    int32_t axes = padding->rank - FIRST_SPATIAL;
    for (int32_t i = 0; i < axes; ++i) {
        pads[i] = padding->begin[i + FIRST_SPATIAL] + own_pad(window, window->pad_begin, i);
        pads[i + axes] = padding->end[i + FIRST_SPATIAL] + own_pad(window, window->pad_end, i);
    }
    bool fits = attr_copy(&node->attrs, &attrs, graph->arena);
    if (fits) attr_remove(&attrs, "auto_pad");
    fits = fits && attr_set_ints(&attrs, graph->arena, "pads", pads, 2 * axes);
    if (fits && node->op == OP_AveragePool) fits = attr_set_int(&attrs, graph->arena, "count_include_pad", 1);
    if (!fits) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return node_set_attrs(graph, id, &attrs, ctx->diag);
}

static Status fold_pad(PassCtx *ctx, const UseTable *uses, NodeId id) {
    Graph *graph = ctx->graph;
    const Node *pad = &graph->nodes[id];
    Padding padding;
    NodeId user = only_user(graph, uses, pad->block, pad->outputs[0]);
    if (user == NONE || graph->nodes[user].inputs[0] != pad->outputs[0]) {
        pass_reject(ctx, id, "not folded: it has other users than one node behind it");
        return STATUS_OK;
    }
    const char *why = read_pad(graph, pad, &padding);
    if (why == NULL) why = user_refuses(graph, pad, &graph->nodes[user], &padding);
    if (why != NULL) {
        pass_reject(ctx, id, "not folded into the node behind it: %s", why);
        return STATUS_OK;
    }
    TRY(add_pads(ctx, user, &padding));
    if (!node_add_origins(graph, user, id)) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph->nodes[user].inputs[0] = pad->inputs[0];
    graph_remove_node(graph, id);
    pass_count_add(ctx, "folded", 1);
    return STATUS_OK;
}

Status pass_fold_pad(PassCtx *ctx) {
    UseTable uses;
    if (!use_table_build(ctx->graph, ctx->scratch, &uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    for (NodeId n = 0; n < ctx->graph->node_count; ++n)
        if (node_is_live(ctx->graph, n) && ctx->graph->nodes[n].op == OP_Pad &&
            ctx->graph->nodes[n].outputs[0] != NONE)
            TRY(fold_pad(ctx, &uses, n));
    return STATUS_OK;
}
