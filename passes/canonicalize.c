/* canonicalize: removes what changes nothing, and merges chains of reshapes, transposes and casts.
 *
 * One walk in order: what a value is replaced with is known before its first use comes. */
#include <string.h>

#include "ops/movement.h"
#include "passes/rewrite.h"

typedef struct Canon {
    PassCtx *ctx;
    Graph *graph;
    int32_t value_count; /* at the beginning: those that the pass adds replace nothing */
    ValueId *same;       /* per value: what users are to read instead */
    bool *is_output;     /* per value: of the graph */
} Canon;

static const Value *input_value(const Canon *c, const Node *node, int32_t i) {
    return i < node->input_count && node->inputs[i] != NONE ? &c->graph->values[node->inputs[i]] : NULL;
}

static bool same_shape(const Canon *c, const Node *node) {
    const Value *in = &c->graph->values[node->inputs[0]], *out = &c->graph->values[node->outputs[0]];
    return in->has_shape && out->has_shape && in->dtype == out->dtype && shape_equal(&in->shape, &out->shape);
}

/* -- nodes that give their first input: one test for each operator -- */

typedef bool (*Test)(const Canon *c, const Node *node);

static bool gives_input(const Canon *c, const Node *node) {
    (void)c;
    (void)node;
    return true;
}

static bool has_one_input(const Canon *c, const Node *node) {
    (void)c;
    return node->input_count == 1;
}

static bool has_one_output(const Canon *c, const Node *node) {
    return node->output_count == 1 && same_shape(c, node);
}

static bool keeps_type(const Canon *c, const Node *node) {
    return c->graph->values[node->inputs[0]].dtype == c->graph->values[node->outputs[0]].dtype;
}

/* Not in training mode; the mask, if there is one, must be unused. */
static bool is_inactive_dropout(const Canon *c, const Node *node) {
    const Value *training = input_value(c, node, 2);
    if (training == NULL) return true;
    return training->data != NULL && value_count(training) == 1 &&
           dtype_load_i64(training->dtype, training->data, 0) == 0;
}

/* The constant's elements are all this number. */
static bool holds_only(const Value *value, double number) {
    if (value == NULL || value->data == NULL || dtype_kind(value->dtype) == DTYPE_KIND_OTHER) return false;
    int64_t count = value_count(value);
    for (int64_t i = 0; i < count; ++i)
        if (dtype_load_f64(value->dtype, value->data, i) != number) return false;
    return count > 0;
}

static bool pads_nothing(const Canon *c, const Node *node) {
    return same_shape(c, node) && holds_only(input_value(c, node, 1), 0);
}

static bool slices_everything(const Canon *c, const Node *node) {
    const Value *steps = input_value(c, node, 4);
    return same_shape(c, node) && (steps == NULL || holds_only(steps, 1));
}

static bool has_no_bounds(const Canon *c, const Node *node) {
    return input_value(c, node, 1) == NULL && input_value(c, node, 2) == NULL;
}

static bool permutes_nothing(const Canon *c, const Node *node) {
    const TransposeAttrs *attrs = node->parsed;
    int32_t rank = c->graph->values[node->inputs[0]].shape.rank;
    for (int32_t i = 0; i < rank; ++i)
        if ((attrs->count < 0 ? rank - 1 - i : attrs->perm[i]) != i) return false;
    return true;
}

static bool has_neutral_one(const Canon *c, const Node *node) {
    return same_shape(c, node) && holds_only(input_value(c, node, 1), 1);
}

static bool has_neutral_zero(const Canon *c, const Node *node) {
    return same_shape(c, node) && holds_only(input_value(c, node, 1), 0);
}

static bool squeezes_nothing(const Canon *c, const Node *node) {
    return same_shape(c, node) && !squeeze_is_assumed(c->graph, node);
}

static const struct {
    OpId op;
    Test test;
} identities[] = {
    {OP_Identity, gives_input},
    {OP_Dropout, is_inactive_dropout},
    {OP_Cast, keeps_type},
    {OP_CastLike, keeps_type},
    {OP_Reshape, same_shape},
    {OP_Flatten, same_shape},
    {OP_Squeeze, squeezes_nothing},
    {OP_Unsqueeze, same_shape},
    {OP_Expand, same_shape},
    {OP_Tile, same_shape},
    {OP_Pad, pads_nothing},
    {OP_Slice, slices_everything},
    {OP_Transpose, permutes_nothing},
    {OP_Concat, has_one_input},
    {OP_Sum, has_one_input},
    {OP_Mean, has_one_input},
    {OP_Max, has_one_input},
    {OP_Min, has_one_input},
    {OP_Split, has_one_output},
    {OP_Clip, has_no_bounds},
    {OP_Mul, has_neutral_one},
    {OP_Div, has_neutral_one},
    {OP_Pow, has_neutral_one},
    {OP_Sub, has_neutral_zero},
};

static bool is_identity(const Canon *c, const Node *node) {
    for (int32_t i = 1; i < node->output_count; ++i)
        if (node->outputs[i] != NONE) return false;
    for (size_t i = 0; i < sizeof identities / sizeof identities[0]; ++i)
        if (identities[i].op == node->op) return node->outputs[0] != NONE && identities[i].test(c, node);
    return false;
}

/* Lets users of the node's output read `to`. An output of the graph must keep its name: `to` takes it over
 * where it has none of its own that users know. */
static Status bypass(Canon *c, NodeId id, ValueId to, bool *done) {
    Graph *graph = c->graph;
    Node *node = &graph->nodes[id];
    ValueId from = node->outputs[0];
    NodeId producer = graph->values[to].producer;
    *done = true;
    if (c->is_output[from] && value_is_constant(graph, to)) {
        make_constant(c->ctx, from, graph->values[to].data);
        return STATUS_OK;
    }
    if (c->is_output[from]) {
        *done = producer != NONE && graph->nodes[producer].block == MAIN_BLOCK && !c->is_output[to];
        if (!*done) return STATUS_OK;
        if (!graph_swap_names(graph, from, to)) return FAIL(c->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        c->is_output[to] = true;
        c->is_output[from] = false;
    }
    c->same[from] = to;
    graph_remove_node(graph, id);
    return STATUS_OK;
}

/* -- chains -- */

/* The node that computes input 0, where it is of one of the operators. */
static const Node *producer_of(const Canon *c, const Node *node, OpId first, OpId second) {
    NodeId producer = c->graph->values[node->inputs[0]].producer;
    if (producer == NONE) return NULL;
    const Node *row = &c->graph->nodes[producer];
    return row->op == first || row->op == second ? row : NULL;
}

static Status merge_transposes(Canon *c, NodeId id, bool *changed) {
    Node *node = &c->graph->nodes[id];
    const Node *inner = producer_of(c, node, OP_Transpose, OP_Transpose);
    if (inner == NULL) return STATUS_OK;
    const TransposeAttrs *first = inner->parsed, *second = node->parsed;
    int64_t perm[SMELT_MAX_RANK];
    int32_t rank = c->graph->values[node->inputs[0]].shape.rank;
    AttrList attrs = {0};
    for (int32_t i = 0; i < rank; ++i) {
        int32_t middle = second->count < 0 ? rank - 1 - i : second->perm[i];
        perm[i] = first->count < 0 ? rank - 1 - middle : first->perm[middle];
    }
    if (!attr_set_ints(&attrs, c->ctx->scratch, "perm", perm, rank))
        return FAIL(c->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    node->inputs[0] = inner->inputs[0];
    *changed = true;
    return node_set_attrs(c->graph, id, &attrs, c->ctx->diag);
}

static bool is_reshape(OpId op) {
    return op == OP_Reshape || op == OP_Flatten || op == OP_Squeeze || op == OP_Unsqueeze;
}

static Status merge_reshapes(Canon *c, NodeId id, bool *changed) {
    Node *node = &c->graph->nodes[id];
    NodeId producer = c->graph->values[node->inputs[0]].producer;
    int64_t target[SMELT_MAX_RANK];
    AttrList none = {0};
    if (producer == NONE || !is_reshape(c->graph->nodes[producer].op)) return STATUS_OK;
    if (squeeze_is_assumed(c->graph, node) || squeeze_is_assumed(c->graph, &c->graph->nodes[producer]))
        return STATUS_OK;
    const Shape *from = &c->graph->values[c->graph->nodes[producer].inputs[0]].shape,
                *to = &c->graph->values[node->outputs[0]].shape;
    if (!reshape_target(c->graph->dims, from, to, target)) return STATUS_OK;
    int32_t rank = to->rank;
    ValueId shape = graph_add_constant_i64(c->graph, NULL, rank, target);
    ValueId *inputs = ARENA_ARRAY(c->graph->arena, ValueId, 2);
    if (shape == NONE || inputs == NULL) return FAIL(c->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    inputs[0] = c->graph->nodes[producer].inputs[0];
    inputs[1] = shape;
    node->op = OP_Reshape;
    node->inputs = inputs;
    node->input_count = 2;
    *changed = true;
    return node_set_attrs(c->graph, id, &none, c->ctx->diag);
}

/* A Reshape whose shape is computed, though a constant can tell it: the computation is needed no more. */
static Status fix_target(Canon *c, NodeId id, bool *changed) {
    Node *node = &c->graph->nodes[id];
    const AttrList none = {0};
    int64_t target[SMELT_MAX_RANK];
    const Shape *from = &c->graph->values[node->inputs[0]].shape,
                *to = &c->graph->values[node->outputs[0]].shape;
    if (node->op != OP_Reshape || value_is_constant(c->graph, node->inputs[1])) return STATUS_OK;
    /* What only the run can tell must be checked then: it may not fit. */
    if (shape_is_late(c->graph->dims, to)) return STATUS_OK;
    if (!reshape_target(c->graph->dims, from, to, target)) return STATUS_OK;
    ValueId shape = graph_add_constant_i64(c->graph, NULL, to->rank, target);
    ValueId *inputs = ARENA_ARRAY(c->graph->arena, ValueId, 2);
    if (shape == NONE || inputs == NULL) return FAIL(c->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    inputs[0] = node->inputs[0];
    inputs[1] = shape;
    node->inputs = inputs;
    *changed = true;
    return node_set_attrs(c->graph, id, &none, c->ctx->diag);
}

/* Every value of `from` is one of `to`. */
static bool is_wider(DType from, DType to) {
    if (from == DTYPE_BOOL) return dtype_is_integer(to) || dtype_is_float(to);
    if (dtype_kind(from) != dtype_kind(to) || dtype_bits(from) < 8 || dtype_bits(from) >= dtype_bits(to))
        return false;
    if (dtype_is_float(from)) return dtype_bits(from) >= 16 && dtype_bits(to) >= 32;
    return dtype_is_integer(from);
}

static Status merge_casts(Canon *c, NodeId id, bool *changed) {
    Node *node = &c->graph->nodes[id];
    const Node *inner = producer_of(c, node, OP_Cast, OP_CastLike);
    if (inner == NULL) return STATUS_OK;
    DType from = c->graph->values[inner->inputs[0]].dtype, middle = c->graph->values[node->inputs[0]].dtype;
    *changed = is_wider(from, middle);
    if (*changed) node->inputs[0] = inner->inputs[0];
    return STATUS_OK;
}

/* Relu of Relu is the inner one. */
static bool repeats_relu(const Canon *c, const Node *node) {
    return node->op == OP_Relu && producer_of(c, node, OP_Relu, OP_Relu) != NULL;
}

static Status merge_chain(Canon *c, NodeId id, bool *changed) {
    OpId op = c->graph->nodes[id].op;
    *changed = false;
    if (op == OP_Transpose) return merge_transposes(c, id, changed);
    if (op == OP_Cast || op == OP_CastLike) return merge_casts(c, id, changed);
    if (!is_reshape(op)) return STATUS_OK;
    TRY(merge_reshapes(c, id, changed));
    return *changed ? STATUS_OK : fix_target(c, id, changed);
}

/* -- the walk -- */

static void rename_ids(const Canon *c, int32_t count, ValueId *ids) {
    for (int32_t i = 0; i < count; ++i)
        if (ids[i] != NONE && ids[i] < c->value_count) ids[i] = c->same[ids[i]];
}

/* The constant operand of a commutative operator stands second. */
static void order_inputs(const Canon *c, Node *node) {
    if ((op_def(node->op)->flags & OPF_COMMUTES) == 0 || node->input_count != 2) return;
    ValueId first = node->inputs[0];
    if (!value_is_constant(c->graph, first) || value_is_constant(c->graph, node->inputs[1])) return;
    node->inputs[0] = node->inputs[1];
    node->inputs[1] = first;
}

/* What the rules look at: the types of its first operands. */
static bool is_typed(const Canon *c, const Node *node) {
    if (node->input_count == 0 || node->inputs[0] == NONE || node->outputs[0] == NONE) return false;
    const Value *in = &c->graph->values[node->inputs[0]], *out = &c->graph->values[node->outputs[0]];
    return in->has_shape && out->has_shape && in->dtype != DTYPE_NONE && out->dtype != DTYPE_NONE;
}

static Status visit_block(Canon *c, BlockId id);

static Status visit_node(Canon *c, NodeId id) {
    Node *node = &c->graph->nodes[id];
    bool changed, done = false;
    rename_ids(c, node->input_count, node->inputs);
    for (int32_t i = 0; i < node->attrs.count; ++i)
        if (node->attrs.items[i].kind == ATTR_BLOCK)
            TRY(visit_block(c, (BlockId)node->attrs.items[i].ints[0]));
    if (!is_typed(c, node)) return STATUS_OK;
    order_inputs(c, node);
    TRY(merge_chain(c, id, &changed));
    if (changed) pass_count_add(c->ctx, "merged", 1);
    if (is_identity(c, node) || repeats_relu(c, node)) TRY(bypass(c, id, node->inputs[0], &done));
    if (done) pass_count_add(c->ctx, "bypassed", 1);
    return STATUS_OK;
}

static Status visit_block(Canon *c, BlockId id) {
    for (int32_t i = 0; i < c->graph->blocks[id].node_count;) {
        NodeId node = c->graph->blocks[id].nodes[i];
        Status status = visit_node(c, node);
        if (status != STATUS_OK) diag_node(c->ctx->diag, c->graph, node);
        TRY(status);
        if (c->graph->nodes[node].op != OP_NONE) ++i;
    }
    rename_ids(c, c->graph->blocks[id].result_count, c->graph->blocks[id].results);
    return STATUS_OK;
}

Status pass_canonicalize(PassCtx *ctx) {
    Graph *graph = ctx->graph;
    Canon c = {.ctx = ctx, .graph = graph, .value_count = graph->value_count};
    c.same = ARENA_ARRAY(ctx->scratch, ValueId, graph->value_count);
    c.is_output = ARENA_ARRAY(ctx->scratch, bool, graph->value_count);
    TRY_ALLOC(ctx->diag, c.same);
    TRY_ALLOC(ctx->diag, c.is_output);
    for (ValueId v = 0; v < graph->value_count; ++v) c.same[v] = v;
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; i < block->result_count; ++i) c.is_output[block->results[i]] = true;
    TRY(visit_block(&c, MAIN_BLOCK));
    return remove_dead(ctx);
}
