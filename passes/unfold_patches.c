/* unfold_patches: a convolution of few channels whose large windows lie side by side, as the first one of a
 * vision transformer, is a product: its rows are the patches of the image, each with the elements of all
 * channels.
 *
 * Matrix units copy rows of neighbours; of few channels there are none, and windows with many elements are
 * too much for the kernels that gather few (conv_stem). One pass over the image makes the rows. */
#include "ops/conv.h"
#include "passes/contraction.h"
#include "passes/rewrite.h"

enum {
    MOST_CHANNELS = 7, /* more are copied as they lie */
    LEAST_TERMS = 129, /* of a window; fewer are gathered where they are multiplied */
    MOST_AXES = 2      /* spatial ones: a patch's axes and the image's are those of one Transpose */
};

typedef struct Patches {
    NodeId node;
    int32_t axes;
    int64_t count[MOST_AXES], kernel[MOST_AXES]; /* of patches, and elements of one */
    int64_t channels, outputs, terms;
    int64_t places; /* patches of an image */
    bool has_bias;
    NodeId tokens_reshape, tokens_transpose; /* behind it; NONE: there are none */
} Patches;

/* Finds the nodes that make a sequence of the result, [N, outputs, count..] -> [N, outputs, patches] -> [N,
 * patches, outputs], if nobody else reads it. */
static void find_tokens(const Graph *graph, const UseTable *uses, Patches *out) {
    const Node *conv = &graph->nodes[out->node];
    NodeId reshape = only_user(graph, uses, conv->block, conv->outputs[0]);
    if (reshape == NONE || graph->nodes[reshape].op != OP_Reshape) return;
    ValueId flat = graph->nodes[reshape].outputs[0];
    const Shape *from = &graph->values[conv->outputs[0]].shape, *to = &graph->values[flat].shape;
    NodeId transpose = only_user(graph, uses, conv->block, flat);
    if (transpose == NONE || graph->nodes[transpose].op != OP_Transpose || to->rank != 3) return;
    const int64_t *perm = NULL;
    int32_t count = 0;
    if (attr_ints(&graph->nodes[transpose].attrs, "perm", &perm, &count, NULL) != STATUS_OK || count != 3)
        return;
    if (perm[0] != 0 || perm[1] != 2 || to->dim[0] != from->dim[0] || to->dim[1] != out->outputs) return;
    out->tokens_reshape = reshape;
    out->tokens_transpose = transpose;
}

/* Windows that begin where the one before ends, and that cover the image. */
static const char *windows_refuse(const Node *node, const Shape *x, const Shape *w, const Shape *y,
                                  Patches *out) {
    const WindowAttrs *window = &((const ConvAttrs *)node->parsed)->window;
    for (int32_t i = 0; i < out->axes; ++i) {
        bool known = dim_is_exact(x->dim[2 + i]) && dim_is_exact(y->dim[2 + i]);
        if (!known || window->dilation[i] != 1) return "its sizes are not known, or its windows have gaps";
        out->kernel[i] = w->dim[2 + i];
        out->count[i] = y->dim[2 + i];
        out->places *= out->count[i];
        /* Also without padding: the windows then have no room for it. */
        if (out->count[i] < 1 || window->stride[i] != out->kernel[i] ||
            out->count[i] * out->kernel[i] != x->dim[2 + i])
            return "its windows do not lie side by side";
        if (window->auto_pad == AUTO_PAD_NONE && window->pad_begin[i] != 0)
            return "its windows begin outside";
    }
    return NULL;
}

static const char *read_patches(const PassCtx *ctx, NodeId id, Patches *out) {
    const Graph *graph = ctx->graph;
    const Node *node = &graph->nodes[id];
    const Value *x = &graph->values[node->inputs[0]], *w = &graph->values[node->inputs[1]],
                *y = &graph->values[node->outputs[0]];
    *out = (Patches){.node = id,
                     .axes = x->shape.rank - 2,
                     .terms = 1,
                     .places = 1,
                     .tokens_reshape = NONE,
                     .tokens_transpose = NONE};
    if (!x->has_shape || !y->has_shape || w->data == NULL || out->axes < 1 || out->axes > MOST_AXES)
        return "its shapes are not known, or it has three spatial axes";
    if (!pass_on_matrix_units(ctx, x->dtype)) return "no matrix units do it";
    for (int32_t i = 1; i < w->shape.rank; ++i) out->terms *= w->shape.dim[i];
    out->channels = w->shape.dim[1];
    out->outputs = w->shape.dim[0];
    out->has_bias = node->input_count > 2 && node->inputs[2] != NONE;
    if (out->terms < LEAST_TERMS || out->outputs < 1) return "its windows are small";
    return windows_refuse(node, &x->shape, &w->shape, &y->shape, out);
}

/* -- the product -- */

typedef struct Rewriter {
    PassCtx *ctx;
    NodeId before; /* the convolution */
    const char *name;
} Rewriter;

/* A node in front of the convolution, with a value of its own as its result or `out`. */
static Status add_node(const Rewriter *r, OpId op, const AttrList *attrs, int32_t input_count,
                       const ValueId *inputs, ValueId *out) {
    Graph *graph = r->ctx->graph;
    NodeId node;
    if (*out == NONE) *out = graph_add_value(graph, NULL);
    if (*out == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(graph_insert_node(graph, r->before, true, op, r->name, attrs, input_count, inputs, 1, out, &node,
                          r->ctx->diag));
    if (!node_add_origins(graph, node, r->before))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return infer_outputs(graph, node, r->ctx->scratch, r->ctx->diag);
}

static Status add_reshape(const Rewriter *r, ValueId x, int32_t rank, const int64_t *shape, ValueId *out) {
    const AttrList none = {0};
    const ValueId inputs[2] = {x, graph_add_constant_i64(r->ctx->graph, NULL, rank, shape)};
    if (inputs[1] == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    *out = NONE;
    return add_node(r, OP_Reshape, &none, 2, inputs, out);
}

static Status add_transpose(const Rewriter *r, ValueId x, int32_t rank, const int64_t *perm, ValueId *out) {
    AttrList attrs = {0};
    if (!attr_set_ints(&attrs, r->ctx->scratch, "perm", perm, rank))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return add_node(r, OP_Transpose, &attrs, 1, &x, out);
}

/* [N, C, (count, kernel) of each axis] -> [N, count.., C, kernel..] -> rows. */
static Status add_rows(const Rewriter *r, const Patches *p, ValueId x, ValueId *out) {
    int64_t split[2 + 2 * MOST_AXES] = {0, p->channels}, perm[2 + 2 * MOST_AXES] = {0};
    const int64_t flat[2] = {-1, p->terms};
    ValueId parts, turned = NONE;
    for (int32_t i = 0; i < p->axes; ++i) {
        split[2 + 2 * i] = p->count[i];
        split[3 + 2 * i] = p->kernel[i];
        perm[1 + i] = 2 + 2 * i;
        perm[2 + p->axes + i] = 3 + 2 * i;
    }
    perm[1 + p->axes] = 1;
    TRY(add_reshape(r, x, 2 + 2 * p->axes, split, &parts));
    TRY(add_transpose(r, parts, 2 + 2 * p->axes, perm, &turned));
    return add_reshape(r, turned, 2, flat, out);
}

static Status add_product(const Rewriter *r, const Patches *p, ValueId rows, ValueId *out) {
    Graph *graph = r->ctx->graph;
    const Node *conv = &graph->nodes[p->node];
    const Value *w = &graph->values[conv->inputs[1]];
    const int64_t flat[2] = {p->outputs, p->terms};
    AttrList attrs = {0};
    ValueId inputs[3] = {rows, graph_add_constant(graph, w->name, w->dtype, 2, flat, w->data), NONE};
    if (p->has_bias) inputs[2] = graph->nodes[p->node].inputs[2];
    if (inputs[1] == NONE || !attr_set_int(&attrs, r->ctx->scratch, "transB", 1))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    *out = NONE;
    return add_node(r, OP_Gemm, &attrs, p->has_bias ? 3 : 2, inputs, out);
}

/* [N, outputs, count..] as the convolution gives it. */
static Status put_images(const Rewriter *r, const Patches *p, ValueId product) {
    ValueId places, y = r->ctx->graph->nodes[p->node].outputs[0];
    int64_t shape[2 + MOST_AXES] = {-1}, perm[2 + MOST_AXES] = {0, 1 + p->axes};
    for (int32_t i = 0; i < p->axes; ++i) {
        shape[1 + i] = p->count[i];
        perm[2 + i] = 1 + i;
    }
    shape[1 + p->axes] = p->outputs;
    TRY(add_reshape(r, product, 2 + p->axes, shape, &places));
    release_value(r->ctx->graph, y);
    return add_transpose(r, places, 2 + p->axes, perm, &y);
}

/* [N, patches, outputs], as the nodes behind the convolution make it of its result. */
static Status put_tokens(const Rewriter *r, const Patches *p, ValueId product) {
    Graph *graph = r->ctx->graph;
    const NodeId behind[2] = {p->tokens_reshape, p->tokens_transpose};
    const AttrList none = {0};
    const int64_t shape[3] = {-1, p->places, p->outputs};
    ValueId out = graph->nodes[p->tokens_transpose].outputs[0];
    const ValueId inputs[2] = {product, graph_add_constant_i64(graph, NULL, 3, shape)};
    if (inputs[1] == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    release_value(graph, out);
    TRY(add_node(r, OP_Reshape, &none, 2, inputs, &out));
    for (int i = 1; i >= 0; --i) {
        if (!node_add_origins(graph, graph->values[out].producer, behind[i]))
            return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        graph_remove_node(graph, behind[i]);
    }
    return STATUS_OK;
}

static Status rewrite(PassCtx *ctx, const Patches *p) {
    Rewriter r = {.ctx = ctx, .before = p->node, .name = ctx->graph->nodes[p->node].name};
    ValueId rows, product;
    TRY(add_rows(&r, p, ctx->graph->nodes[p->node].inputs[0], &rows));
    TRY(add_product(&r, p, rows, &product));
    TRY(p->tokens_transpose != NONE ? put_tokens(&r, p, product) : put_images(&r, p, product));
    graph_remove_node(ctx->graph, p->node);
    pass_count_add(ctx, "unfolded", 1);
    return STATUS_OK;
}

/* Of few channels, which all meet in each sum. */
static bool is_candidate(const Graph *graph, NodeId id) {
    if (!node_is_live(graph, id) || graph->nodes[id].op != OP_Conv) return false;
    const Shape *w = &graph->values[graph->nodes[id].inputs[1]].shape;
    return ((const ConvAttrs *)graph->nodes[id].parsed)->group == 1 && w->rank > 2 &&
           dim_is_exact(w->dim[1]) && w->dim[1] <= MOST_CHANNELS;
}

Status pass_unfold_patches(PassCtx *ctx) {
    int32_t count = ctx->graph->node_count;
    UseTable uses;
    if (!use_table_build(ctx->graph, ctx->scratch, &uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    for (NodeId n = 0; n < count; ++n) {
        Patches patches;
        if (!is_candidate(ctx->graph, n)) continue;
        const char *why = read_patches(ctx, n, &patches);
        if (why == NULL) {
            find_tokens(ctx->graph, &uses, &patches);
            TRY(rewrite(ctx, &patches));
        } else
            pass_reject(ctx, n, "not made a product of patches: %s", why);
    }
    return STATUS_OK;
}
