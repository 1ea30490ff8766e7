/* Attention written as MatMul, scale, mask, Softmax and MatMul.
 *
 * Queries, keys and values are followed back through what splits, transposes and reshapes them (view.h).
 * Where all three turn out to be [batch, position, head * feature], perhaps slices of a wider tensor, the
 * operator takes them so, and gives its result so; all that moved elements around falls away. Else it takes
 * [batch, head, position, feature]. */
#include <math.h>
#include <string.h>

#include "ops/movement.h"
#include "ops/softmax.h"
#include "passes/recognise.h"
#include "passes/view.h"

/* How the dimensions before the last two are read where there is just one: as heads, or as a batch. */
typedef enum Reading { READ_HEADS, READ_BATCH } Reading;

/* Queries, keys or values. */
typedef struct Operand {
    ValueId value;
    View view; /* of rank 4: [batch, head, position, feature] */
    /* Where it lies as [batch, position, row], features of a head and heads behind one another: */
    bool is_packed, is_swapped; /* swapped: [position, batch, row] */
    Dim row;
} Operand;

typedef struct Site {
    Recogniser *r;
    const Match *match;
    Reading reading;
    Operand q, k, v;
    Dim batch, heads, queries, keys, width; /* width: of a head of the result */
    double scale;
    ValueId mask;
    bool is_inverted, is_causal; /* mask true: not to be seen */
} Site;

/* What was made of a tensor of packed operands, for the next operand of the same tensor. */
typedef struct Rows {
    int32_t count;
    struct {
        ValueId base, rows;
        Dim row;
        bool is_swapped;
    } items[3];
} Rows;

/* -- analysis: operands -- */

static void prepend_ones(View *view) {
    int32_t missing = 4 - view->rank;
    for (int32_t i = 3; i >= 0; --i) {
        view->dim[i] = i < missing ? 1 : view->dim[i - missing];
        view->stride[i] = i < missing ? 0 : view->stride[i - missing];
    }
    view->rank = 4;
}

static void swap_dims(View *view, int32_t a, int32_t b) {
    Dim dim = view->dim[a], stride = view->stride[a];
    view->dim[a] = view->dim[b];
    view->stride[a] = view->stride[b];
    view->dim[b] = dim;
    view->stride[b] = stride;
}

/* Finds the shape [batch, position, row] or [position, batch, row] that the tensor has under another name. */
static void find_rows(Graph *graph, Operand *x) {
    DimTable *dims = graph->dims;
    const View *view = &x->view;
    Dim batch = view->dim[0], heads = view->dim[1], length = view->dim[2], size = view->dim[3];
    Dim width = dim_mul(dims, heads, size), count = shape_count(dims, &graph->values[view->base].shape);
    bool is_even = (size == 1 || view->stride[3] == 1) && (heads == 1 || view->stride[1] == size);
    Dim by_length = view->stride[2], by_batch = view->stride[0];
    if (!is_even || !dim_is_exact(heads) || heads < 1 || heads > INT32_MAX || !dim_is_exact(size)) return;
    if (length == 1) by_length = batch == 1 ? count : by_batch;
    x->row = batch != 1 && by_batch != dim_mul(dims, length, by_length) ? by_batch : by_length;
    x->is_swapped = x->row != by_length;
    if (x->is_swapped && by_length != dim_mul(dims, batch, x->row)) return;
    if (dim_mul(dims, dim_mul(dims, batch, length), x->row) != count || !dim_is_exact(view->offset)) return;
    if (x->row == width)
        x->is_packed = view->offset == 0;
    else
        x->is_packed = dim_is_exact(x->row) && view->offset >= 0 && view->offset + width <= x->row;
}

static bool trace_operand(Graph *graph, ValueId value, Reading reading, bool is_key, bool with_factor,
                          Operand *out) {
    *out = (Operand){.value = value};
    int32_t rank = graph->values[value].shape.rank;
    if (!graph->values[value].has_shape || rank < 2 || rank > 4) return false;
    view_trace(graph, value, with_factor, &out->view);
    prepend_ones(&out->view);
    if (is_key) swap_dims(&out->view, 2, 3);
    if (reading == READ_BATCH) swap_dims(&out->view, 0, 1);
    find_rows(graph, out);
    return true;
}

static bool operands_agree(const Site *s) {
    const View *q = &s->q.view, *k = &s->k.view, *v = &s->v.view;
    const Graph *graph = s->r->graph;
    DType dtype = graph->values[s->q.value].dtype;
    return q->dim[0] == k->dim[0] && q->dim[0] == v->dim[0] && q->dim[1] == k->dim[1] &&
           q->dim[1] == v->dim[1] && q->dim[3] == k->dim[3] && k->dim[2] == v->dim[2] &&
           graph->values[s->k.value].dtype == dtype && graph->values[s->v.value].dtype == dtype &&
           dtype_is_float(dtype);
}

/* -- analysis: the mask -- */

enum { MOST_MASK = 1 << 24 };

/* A known row of the mask hides every key. */
static bool hides_a_row(const Graph *graph, const Site *s) {
    const Value *mask = &graph->values[s->mask];
    int64_t count = value_count(mask), keys = s->keys;
    for (int64_t row = 0; row < count / keys; ++row) {
        bool seen = false;
        for (int64_t j = 0; j < keys && !seen; ++j)
            seen = (dtype_load_i64(mask->dtype, mask->data, row * keys + j) != 0) != s->is_inverted;
        if (!seen) return true;
    }
    return false;
}

/* Query i sees keys up to i. */
static bool is_triangle(const Graph *graph, const Site *s) {
    const Value *mask = &graph->values[s->mask];
    int64_t count = value_count(mask), keys = s->keys;
    if (s->queries != keys || count != keys * keys) return false;
    for (int64_t i = 0; i < count; ++i) {
        bool seen = (dtype_load_i64(mask->dtype, mask->data, i) != 0) != s->is_inverted;
        if (seen != (i % keys <= i / keys)) return false;
    }
    return true;
}

static bool mask_is_known(const Graph *graph, const Site *s) {
    const Value *mask = &graph->values[s->mask];
    return mask->data != NULL && dim_is_exact(s->keys) && s->keys > 0 && value_count(mask) <= MOST_MASK;
}

/* It broadcasts to [batch, heads, queries, keys], and along keys not at all. */
static const char *mask_refusal(Site *s) {
    const Graph *graph = s->r->graph;
    const Value *mask = &graph->values[s->mask];
    const Dim full[4] = {s->batch, s->heads, s->queries, s->keys};
    if (!mask->has_shape || mask->shape.rank < 1 || mask->shape.rank > 4)
        return "the mask has an unknown shape";
    for (int32_t i = 0; i < mask->shape.rank; ++i) {
        int32_t axis = 4 - mask->shape.rank + i;
        if (mask->shape.dim[i] != full[axis] && (axis == 3 || mask->shape.dim[i] != 1))
            return "the mask may not fit the scores";
    }
    if (mask->dtype != DTYPE_BOOL)
        return mask->dtype == graph->values[s->q.value].dtype ? NULL : "the mask has another type";
    double low = match_number(s->match, "low");
    if (isinf(low) && low < 0) {
        s->is_causal = mask_is_known(graph, s) && is_triangle(graph, s);
        return NULL;
    }
    if (!(low <= -1e4)) return "masked scores may still count";
    if (!mask_is_known(graph, s) || hides_a_row(graph, s)) return "a query may see no key at all";
    s->is_causal = is_triangle(graph, s);
    return NULL;
}

/* -- analysis: the whole -- */

static const char *find_mask(Site *s) {
    ValueId keep = match_value(s->match, "keep"), drop = match_value(s->match, "drop");
    s->is_inverted = drop != NONE;
    s->mask = drop != NONE ? drop : keep != NONE ? keep : match_value(s->match, "mask");
    return s->mask == NONE ? NULL : mask_refusal(s);
}

static bool softmax_is_over_keys(const Site *s) {
    const Node *softmax = match_node(s->r->graph, s->match, "weights");
    const Shape *shape = recognise_shape(s->r, softmax->inputs[0]);
    int64_t axis = ((const SoftmaxAttrs *)softmax->parsed)->axis;
    return axis == -1 || axis == shape->rank - 1;
}

static bool scores_keep_shape(const Site *s) {
    const Shape *weights = recognise_shape(s->r, match_value(s->match, "weights"));
    return shape_equal(weights, recognise_shape(s->r, match_value(s->match, "scores")));
}

static const char *analyse(Site *s) {
    Graph *graph = s->r->graph;
    ValueId q = match_value(s->match, "q"), k = match_value(s->match, "k"), v = match_value(s->match, "v");
    if (!trace_operand(graph, q, s->reading, false, true, &s->q) ||
        !trace_operand(graph, k, s->reading, true, true, &s->k) ||
        !trace_operand(graph, v, s->reading, false, false, &s->v) ||
        graph->values[q].shape.rank != graph->values[k].shape.rank ||
        graph->values[q].shape.rank != graph->values[v].shape.rank)
        return "operands of ranks that do not fit";
    if (!operands_agree(s)) return "batches or heads of the operands may differ";
    if (!softmax_is_over_keys(s)) return "Softmax does not go over the keys";
    if (!scores_keep_shape(s)) return "the mask gives the scores another shape";
    s->batch = s->q.view.dim[0];
    s->heads = s->q.view.dim[1];
    s->queries = s->q.view.dim[2];
    s->keys = s->k.view.dim[2];
    s->width = s->v.view.dim[3];
    s->scale = match_number(s->match, "factor") * s->q.view.factor * s->k.view.factor;
    if (!(s->scale >= 0) || !isfinite((double)(float)s->scale)) return "the scale is negative or not finite";
    return find_mask(s);
}

/* -- rewriting: [batch, position, head * feature] -- */

static Status make_rows(Site *s, NodeId before, const Operand *x, Rows *rows, ValueId *out) {
    Recogniser *r = s->r;
    Shape shape = {3, {s->batch, x->view.dim[2], x->row}};
    for (int32_t i = 0; i < rows->count; ++i) {
        *out = rows->items[i].rows;
        if (rows->items[i].base == x->view.base && rows->items[i].row == x->row &&
            rows->items[i].is_swapped == x->is_swapped && shape_equal(recognise_shape(r, *out), &shape))
            return STATUS_OK;
    }
    if (x->is_swapped) {
        AttrList attrs = {0};
        const int64_t perm[3] = {1, 0, 2};
        Shape swapped = {3, {x->view.dim[2], s->batch, x->row}};
        if (!attr_set_ints(&attrs, r->ctx->scratch, "perm", perm, 3))
            return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        TRY(recognise_reshape(r, before, x->view.base, &swapped, out));
        TRY(recognise_insert(r, before, OP_Transpose, &attrs, 1, out, out));
    } else {
        TRY(recognise_reshape(r, before, x->view.base, &shape, out));
    }
    rows->items[rows->count].base = x->view.base;
    rows->items[rows->count].row = x->row;
    rows->items[rows->count].is_swapped = x->is_swapped;
    rows->items[rows->count++].rows = *out;
    return STATUS_OK;
}

static Status make_packed(Site *s, NodeId before, const Operand *x, Rows *rows, ValueId *out) {
    const AttrList none = {0};
    Recogniser *r = s->r;
    Dim width = s->heads * x->view.dim[3];
    TRY(make_rows(s, before, x, rows, out));
    if (x->row == width) return STATUS_OK;
    const int64_t start = x->view.offset, end = start + width, axis = 2;
    ValueId inputs[4] = {*out, graph_add_constant_i64(r->graph, NULL, 1, &start),
                         graph_add_constant_i64(r->graph, NULL, 1, &end),
                         graph_add_constant_i64(r->graph, NULL, 1, &axis)};
    if (inputs[1] == NONE || inputs[2] == NONE || inputs[3] == NONE)
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return recognise_insert(r, before, OP_Slice, &none, 4, inputs, out);
}

static bool can_pack(const Site *s, const Operand *x) {
    const Shape rows = {3, {s->batch, x->view.dim[2], x->row}},
                swapped = {3, {x->view.dim[2], s->batch, x->row}};
    return x->is_packed &&
           recognise_can_reshape(s->r, recognise_shape(s->r, x->view.base), x->is_swapped ? &swapped : &rows);
}

/* -- rewriting: [batch, head, position, feature] -- */

/* The shape with ones before it. */
static Shape with_ones(const Shape *own) {
    Shape out = {.rank = 4};
    for (int32_t i = 0; i < 4; ++i) out.dim[i] = i < 4 - own->rank ? 1 : own->dim[i - (4 - own->rank)];
    return out;
}

static Status make_plain(Site *s, NodeId before, ValueId value, ValueId *out) {
    const Shape shape = with_ones(recognise_shape(s->r, value));
    return recognise_reshape(s->r, before, value, &shape, out);
}

/* What a Transpose of the last two dimensions alone, which makes the value, takes; or NONE. */
static ValueId before_swap(const Graph *graph, ValueId value) {
    NodeId producer = graph->values[value].producer;
    int32_t rank = graph->values[value].shape.rank;
    if (producer == NONE || graph->nodes[producer].op != OP_Transpose) return NONE;
    const TransposeAttrs *attrs = graph->nodes[producer].parsed;
    for (int32_t i = 0; i < rank; ++i) {
        int32_t from = attrs->count < 0 ? rank - 1 - i : attrs->perm[i];
        if (from != (i == rank - 1 ? rank - 2 : i == rank - 2 ? rank - 1 : i)) return NONE;
    }
    return graph->nodes[producer].inputs[0];
}

/* Keys come as [batch, head, feature, position]. */
static Status make_plain_keys(Site *s, NodeId before, ValueId *out) {
    AttrList attrs = {0};
    const int64_t perm[4] = {0, 1, 3, 2};
    ValueId untransposed = before_swap(s->r->graph, s->k.value);
    if (untransposed != NONE) return make_plain(s, before, untransposed, out);
    TRY(make_plain(s, before, s->k.value, out));
    if (!attr_set_ints(&attrs, s->r->ctx->scratch, "perm", perm, 4))
        return FAIL(s->r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return recognise_insert(s->r, before, OP_Transpose, &attrs, 1, out, out);
}

/* -- rewriting: the result -- */

/* The only user of a value, if it moves elements within the block. */
static NodeId only_mover(const Recogniser *r, ValueId value, BlockId block) {
    if (value >= r->value_count || r->touched[value] || use_count(&r->uses, value) != 1) return NONE;
    NodeId user = r->uses.uses[r->uses.first[value]].node;
    if (user == NONE || r->graph->nodes[user].block != block) return NONE;
    OpId op = r->graph->nodes[user].op;
    return op == OP_Transpose || op_is_reshape(op) ? user : NONE;
}

/* How a value holds the result: in none of these ways, as [batch, position, head * feature], or with
 * positions before the batch. */
typedef enum Order { ORDER_OTHER, ORDER_SWAPPED, ORDER_PACKED } Order;

static Order result_order(const Site *s, const View *view, const Shape *shape) {
    DimTable *dims = s->r->graph->dims;
    Dim width = dim_mul(dims, s->heads, s->width), entry = dim_mul(dims, s->queries, width);
    const Shape packed = {3, {s->batch, s->queries, width}}, swapped = {3, {s->queries, s->batch, width}};
    const Dim strides[3] = {width, entry, 1};
    if (view_is_dense(s->r->graph, view))
        return recognise_can_reshape(s->r, &packed, shape) ? ORDER_PACKED : ORDER_OTHER;
    return view_lies_as(s->r->graph, view, 3, swapped.dim, strides) &&
                   recognise_can_reshape(s->r, &swapped, shape)
               ? ORDER_SWAPPED
               : ORDER_OTHER;
}

/* Follows the result, seen as a view of [batch, position, head * feature], to the last value that holds it in
 * the best order that there is. `covered` then ends there. */
static Order follow_result(const Site *s, Match *covered) {
    Graph *graph = s->r->graph;
    Match ahead = *covered;
    Order best = ORDER_OTHER;
    Dim width = dim_mul(graph->dims, s->heads, s->width), entry = dim_mul(graph->dims, s->queries, width);
    const Shape *shape = recognise_shape(s->r, graph->nodes[covered->root].outputs[0]);
    View view = {.rank = shape->rank, .factor = 1};
    const Dim strides[4] = {entry, s->reading == READ_BATCH ? entry : s->width, width, 1};
    for (int32_t i = 0; i < view.rank; ++i) {
        view.dim[i] = shape->dim[i];
        view.stride[i] = strides[4 - view.rank + i];
    }
    for (;;) {
        ValueId value = graph->nodes[ahead.root].outputs[0];
        Order order = result_order(s, &view, recognise_shape(s->r, value));
        if (order != ORDER_OTHER && order >= best) {
            *covered = ahead;
            best = order;
        }
        NodeId next = only_mover(s->r, value, graph->nodes[ahead.root].block);
        if (next == NONE || ahead.node_count == MATCH_NODES ||
            !view_apply(graph, &graph->nodes[next], 0, &view))
            return best;
        ahead.nodes[ahead.node_count++] = ahead.root = next;
    }
}

static Status replace_by_reshape(Recogniser *r, const Match *covered, ValueId result) {
    int64_t target[SMELT_MAX_RANK];
    const AttrList none = {0};
    const Shape shape = *recognise_shape(r, r->graph->nodes[covered->root].outputs[0]);
    if (!reshape_target(r->graph->dims, recognise_shape(r, result), &shape, target))
        return FAIL(r->ctx->diag, STATUS_INTERNAL, "a result that no constant can tell the shape of");
    const ValueId inputs[2] = {result, graph_add_constant_i64(r->graph, NULL, shape.rank, target)};
    if (inputs[1] == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return recognise_replace(r, covered, OP_Reshape, &none, 2, inputs);
}

/* The operator, and a Reshape to what the covered nodes gave. */
static Status finish_reshaped(Site *s, const Match *covered, const AttrList *attrs, int32_t input_count,
                              const ValueId *inputs) {
    ValueId result;
    TRY(recognise_insert(s->r, covered->root, OP_Attention, attrs, input_count, inputs, &result));
    TRY(recognise_add_origins(s->r, covered, result));
    return replace_by_reshape(s->r, covered, result);
}

/* The operator, and its result with positions before the batch. */
static Status finish_swapped(Site *s, const Match *covered, const AttrList *attrs, int32_t input_count,
                             const ValueId *inputs) {
    Recogniser *r = s->r;
    ValueId result;
    AttrList move = {0};
    const int64_t perm[3] = {1, 0, 2};
    const Shape swapped = {3, {s->queries, s->batch, dim_mul(r->graph->dims, s->heads, s->width)}};
    if (!attr_set_ints(&move, r->ctx->scratch, "perm", perm, 3))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(recognise_insert(r, covered->root, OP_Attention, attrs, input_count, inputs, &result));
    TRY(recognise_add_origins(s->r, covered, result));
    if (shape_equal(recognise_shape(r, r->graph->nodes[covered->root].outputs[0]), &swapped))
        return recognise_replace(r, covered, OP_Transpose, &move, 1, &result);
    TRY(recognise_insert(r, covered->root, OP_Transpose, &move, 1, &result, &result));
    return replace_by_reshape(r, covered, result);
}

/* The operator, and what brings its packed result into the order that the covered nodes gave. */
static Status finish_transposed(Site *s, const Match *covered, const AttrList *attrs, int32_t input_count,
                                const ValueId *inputs) {
    Recogniser *r = s->r;
    ValueId result;
    AttrList move = {0};
    const int64_t perm[4] = {0, 2, 1, 3};
    const Shape heads = {4, {s->batch, s->queries, s->heads, s->width}};
    if (!attr_set_ints(&move, r->ctx->scratch, "perm", perm, 4))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(recognise_insert(r, covered->root, OP_Attention, attrs, input_count, inputs, &result));
    TRY(recognise_add_origins(s->r, covered, result));
    TRY(recognise_reshape(r, covered->root, result, &heads, &result));
    if (recognise_shape(r, r->graph->nodes[covered->root].outputs[0])->rank == 4)
        return recognise_replace(r, covered, OP_Transpose, &move, 1, &result);
    TRY(recognise_insert(r, covered->root, OP_Transpose, &move, 1, &result, &result));
    return replace_by_reshape(r, covered, result);
}

/* -- rewriting: the whole -- */

static Status set_attributes(Site *s, double scale, bool is_packed, AttrList *attrs) {
    Arena *arena = s->r->ctx->scratch;
    bool done = attr_set_float(attrs, arena, "scale", (float)scale);
    if (s->is_causal) done = done && attr_set_int(attrs, arena, "is_causal", 1);
    if (is_packed)
        done = done && attr_set_int(attrs, arena, "q_num_heads", s->heads) &&
               attr_set_int(attrs, arena, "kv_num_heads", s->heads);
    return done ? STATUS_OK : FAIL(s->r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
}

/* Input 3; *count of inputs then. */
static Status make_mask(Site *s, NodeId before, ValueId inputs[4], int32_t *count) {
    const AttrList none = {0};
    *count = s->mask == NONE || s->is_causal ? 3 : 4;
    inputs[3] = s->mask;
    if (*count == 3 || !s->is_inverted) return STATUS_OK;
    return recognise_insert(s->r, before, OP_Not, &none, 1, &s->mask, &inputs[3]);
}

static bool can_be_packed(const Site *s) {
    const Shape result = {3, {s->batch, s->queries, dim_mul(s->r->graph->dims, s->heads, s->width)}},
                heads = {4, {s->batch, s->queries, s->heads, s->width}};
    return can_pack(s, &s->q) && can_pack(s, &s->k) && can_pack(s, &s->v) &&
           recognise_can_reshape(s->r, &result, &heads);
}

static Status rewrite_packed(Site *s) {
    Recogniser *r = s->r;
    Match covered = *s->match;
    NodeId before = s->match->root;
    Rows rows = {0};
    AttrList attrs = {0};
    ValueId inputs[4];
    int32_t count;
    const Shape packed = {3, {s->batch, s->queries, dim_mul(r->graph->dims, s->heads, s->width)}};
    TRY(make_packed(s, before, &s->q, &rows, &inputs[0]));
    TRY(make_packed(s, before, &s->k, &rows, &inputs[1]));
    TRY(make_packed(s, before, &s->v, &rows, &inputs[2]));
    TRY(make_mask(s, before, inputs, &count));
    TRY(set_attributes(s, s->scale, true, &attrs));
    Order order = follow_result(s, &covered);
    const Shape *result = recognise_shape(r, r->graph->nodes[covered.root].outputs[0]);
    if (order == ORDER_OTHER) return finish_transposed(s, &covered, &attrs, count, inputs);
    if (order == ORDER_SWAPPED) return finish_swapped(s, &covered, &attrs, count, inputs);
    if (shape_equal(result, &packed))
        return recognise_replace(r, &covered, OP_Attention, &attrs, count, inputs);
    return finish_reshaped(s, &covered, &attrs, count, inputs);
}

static Status rewrite_plain(Site *s) {
    Recogniser *r = s->r;
    NodeId before = s->match->root;
    AttrList attrs = {0};
    ValueId inputs[4];
    int32_t count;
    TRY(make_plain(s, before, s->q.value, &inputs[0]));
    TRY(make_plain_keys(s, before, &inputs[1]));
    TRY(make_plain(s, before, s->v.value, &inputs[2]));
    TRY(make_mask(s, before, inputs, &count));
    TRY(set_attributes(s, match_number(s->match, "factor"), false, &attrs));
    if (recognise_shape(r, r->graph->nodes[before].outputs[0])->rank == 4)
        return recognise_replace(r, s->match, OP_Attention, &attrs, count, inputs);
    return finish_reshaped(s, s->match, &attrs, count, inputs);
}

static bool can_be_plain(const Site *s) {
    const Shape result = {4, {s->batch, s->heads, s->queries, s->width}};
    const ValueId values[3] = {s->q.value, s->k.value, s->v.value};
    for (int32_t i = 0; i < 3; ++i) {
        const Shape *own = recognise_shape(s->r, values[i]), full = with_ones(own);
        if (!recognise_can_reshape(s->r, own, &full)) return false;
    }
    return recognise_can_reshape(s->r, &result,
                                 recognise_shape(s->r, s->r->graph->nodes[s->match->root].outputs[0]));
}

static Status rewrite_attention(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    Site site = {.r = r, .match = match, .mask = NONE, .reading = READ_HEADS};
    Site other = {.r = r, .match = match, .mask = NONE, .reading = READ_BATCH};
    (void)rule;
    *reason = analyse(&site);
    if (*reason == NULL && can_be_packed(&site)) return rewrite_packed(&site);
    bool may_be_batch = recognise_shape(r, match_value(match, "q"))->rank == 3;
    if (may_be_batch && analyse(&other) == NULL && can_be_packed(&other)) {
        *reason = NULL;
        return rewrite_packed(&other);
    }
    if (*reason == NULL && !can_be_plain(&site))
        *reason = "no constant can tell the shapes that it would take";
    return *reason != NULL ? STATUS_OK : rewrite_plain(&site);
}

#define ATTENTION(scores)                                                                                    \
    { OP_Attention, "MatMul(weights:Softmax(" scores "), v)", rewrite_attention }
static const Rule rules[] = {
    ATTENTION("$factor * scores:MatMul(q, k) + mask"),
    ATTENTION("$factor * scores:MatMul(q, k)"),
    ATTENTION("Where(keep, $factor * scores:MatMul(q, k), $low)"),
    ATTENTION("Where(drop, $low, $factor * scores:MatMul(q, k))"),
};

const RuleList recognise_attention_rules = {rules, sizeof rules / sizeof rules[0]};
