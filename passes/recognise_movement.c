/* Movements written in parts: Slices that together are a Split; reshapes around an operator that sees the
 * same rows without them. */
#include "ops/movement.h"
#include "ops/softmax.h"
#include "passes/recognise.h"

/* -- Split -- */

enum { MOST_PIECES = 64 };

/* Elements [start, end) along one axis. */
typedef struct Piece {
    NodeId node;
    int64_t start, end;
} Piece;

/* A Slice with step 1 along the one axis where it takes less than all. */
static bool read_slice(const Recogniser *r, NodeId id, int32_t *axis, Piece *out) {
    const Graph *graph = r->graph;
    const Node *node = &graph->nodes[id];
    const Shape *in = recognise_shape(r, node->inputs[0]), *result = recognise_shape(r, node->outputs[0]);
    const Value *starts = &graph->values[node->inputs[1]];
    if (starts->data == NULL || in->rank != result->rank || value_count(starts) != 1) return false;
    const Value *axes =
        node->input_count > 3 && node->inputs[3] != NONE ? &graph->values[node->inputs[3]] : NULL;
    const Value *steps =
        node->input_count > 4 && node->inputs[4] != NONE ? &graph->values[node->inputs[4]] : NULL;
    if ((axes != NULL && axes->data == NULL) || (steps != NULL && steps->data == NULL)) return false;
    int64_t at = axes == NULL ? 0 : dtype_load_i64(axes->dtype, axes->data, 0);
    int64_t step = steps == NULL ? 1 : dtype_load_i64(steps->dtype, steps->data, 0);
    if (at < 0) at += in->rank;
    if (step != 1 || at < 0 || at >= in->rank || !dim_is_exact(in->dim[at]) || !dim_is_exact(result->dim[at]))
        return false;
    int64_t start = dtype_load_i64(starts->dtype, starts->data, 0);
    start = slice_range(in->dim[at], start, INT64_MAX, 1).start;
    *axis = (int32_t)at;
    *out = (Piece){id, start, start + result->dim[at]};
    return true;
}

/* Puts a piece among those in order of their starts. */
static bool add_piece(Piece *pieces, int32_t *count, Piece piece) {
    if (*count == MOST_PIECES || piece.end <= piece.start) return false;
    int32_t at = (*count)++;
    for (; at > 0 && pieces[at - 1].start > piece.start; --at) pieces[at] = pieces[at - 1];
    pieces[at] = piece;
    return true;
}

/* All Slices of the value along the axis, in the block; false where they are too many. */
static bool find_pieces(const Recogniser *r, ValueId value, BlockId block, int32_t axis, Piece *pieces,
                        int32_t *count) {
    for (int32_t u = r->uses.first[value]; u < r->uses.first[value + 1]; ++u) {
        const struct Use *use = &r->uses.uses[u];
        int32_t own;
        Piece piece;
        if (use->node == NONE || use->index != 0 || use->block != block) continue;
        if (r->graph->nodes[use->node].op != OP_Slice || !read_slice(r, use->node, &own, &piece) ||
            own != axis)
            continue;
        if (!add_piece(pieces, count, piece)) return false;
    }
    return true;
}

static bool pieces_tile(const Piece *pieces, int32_t count, int64_t extent) {
    for (int32_t i = 0; i < count; ++i)
        if (pieces[i].start != (i == 0 ? 0 : pieces[i - 1].end)) return false;
    return count > 1 && pieces[count - 1].end == extent;
}

static NodeId first_of(const Graph *graph, const Piece *pieces, int32_t count) {
    NodeId first = pieces[0].node;
    for (int32_t i = 1; i < count; ++i)
        if (node_position(graph, pieces[i].node) < node_position(graph, first)) first = pieces[i].node;
    return first;
}

static Status make_split(Recogniser *r, ValueId value, int32_t axis, const Piece *pieces, int32_t count) {
    Graph *graph = r->graph;
    AttrList attrs = {0};
    int64_t sizes[MOST_PIECES];
    ValueId inputs[2] = {value, NONE}, outputs[MOST_PIECES];
    NodeId split, first = first_of(graph, pieces, count);
    for (int32_t i = 0; i < count; ++i) {
        sizes[i] = pieces[i].end - pieces[i].start;
        outputs[i] = graph->nodes[pieces[i].node].outputs[0];
        release_value(graph, outputs[i]);
    }
    inputs[1] = graph_add_constant_i64(graph, NULL, count, sizes);
    if (inputs[1] == NONE || !attr_set_int(&attrs, r->ctx->scratch, "axis", axis))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(graph_insert_node(graph, first, true, OP_Split, graph->nodes[first].name, &attrs, 2, inputs, count,
                          outputs, &split, r->ctx->diag));
    for (int32_t i = 0; i < count; ++i) {
        if (!node_add_origins(graph, split, pieces[i].node))
            return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        graph_remove_node(graph, pieces[i].node);
    }
    return STATUS_OK;
}

static Status rewrite_slices(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x");
    Piece pieces[MOST_PIECES], own;
    int32_t count = 0, axis;
    (void)rule;
    *reason = "";
    if (x >= r->value_count || r->touched[x] || value_is_constant(r->graph, x)) return STATUS_OK;
    if (!read_slice(r, match->root, &axis, &own)) return STATUS_OK;
    if (!find_pieces(r, x, r->graph->nodes[match->root].block, axis, pieces, &count)) return STATUS_OK;
    if (!pieces_tile(pieces, count, recognise_shape(r, x)->dim[axis])) return STATUS_OK;
    *reason = NULL;
    r->touched[x] = true;
    return make_split(r, x, axis, pieces, count);
}

/* -- reshapes of reshapes, where rules have left them -- */

static Status rewrite_reshapes(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x");
    const Shape from = *recognise_shape(r, x),
                to = *recognise_shape(r, r->graph->nodes[match->root].outputs[0]);
    int64_t target[SMELT_MAX_RANK];
    const AttrList none = {0};
    *reason = "";
    if (!reshape_target(r->graph->dims, &from, &to, target)) return STATUS_OK;
    *reason = NULL;
    const ValueId inputs[2] = {x, graph_add_constant_i64(r->graph, NULL, to.rank, target)};
    if (inputs[1] == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return recognise_replace(r, match, rule->becomes, &none, 2, inputs);
}

/* -- Softmax of a flattened tensor, as it was before opset 13 -- */

static Status rewrite_flat_softmax(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x");
    const Node *inner = match_node(r->graph, match, "inner");
    const Shape *shape = recognise_shape(r, x), *flat = recognise_shape(r, inner->inputs[0]);
    int64_t axis = ((const SoftmaxAttrs *)inner->parsed)->axis;
    AttrList attrs = {0};
    bool same_rows = shape->rank > 0 && flat->rank > 0 && (axis == -1 || axis == flat->rank - 1) &&
                     shape->dim[shape->rank - 1] == flat->dim[flat->rank - 1] &&
                     recognise_keeps_type(r, match, x);
    *reason = same_rows ? NULL : "";
    if (!same_rows) return STATUS_OK;
    if (!attr_set_int(&attrs, r->ctx->scratch, "axis", -1))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return recognise_replace(r, match, rule->becomes, &attrs, 1, &x);
}

/* -- products of rows between two transposes of the rows -- */

/* Together the transposes leave everything where it was, and rows whole. */
static bool transposes_cancel(const Node *first, const Node *second, int32_t rank) {
    const TransposeAttrs *a = first->parsed, *b = second->parsed;
    if (a->count != rank || b->count != rank || a->perm[rank - 1] != rank - 1) return false;
    for (int32_t i = 0; i < rank; ++i)
        if (a->perm[b->perm[i]] != i) return false;
    return true;
}

static bool is_row_bias(const Recogniser *r, ValueId bias) {
    const Shape *shape = recognise_shape(r, bias);
    for (int32_t i = 0; i + 1 < shape->rank; ++i)
        if (shape->dim[i] != 1) return false;
    return true;
}

static Status rewrite_row_product(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    const Node *first = match_node(r->graph, match, "first"), *second = &r->graph->nodes[match->root];
    ValueId x = match_value(match, "x"), bias = match_value(match, "bias"), product;
    const ValueId operands[2] = {x, match_value(match, "weights")};
    const AttrList none = {0};
    int32_t rank = recognise_shape(r, x)->rank;
    *reason = "";
    if (rank < 2 || recognise_shape(r, operands[1])->rank != 2 || !transposes_cancel(first, second, rank) ||
        recognise_shape(r, second->inputs[0])->rank != rank || (bias != NONE && !is_row_bias(r, bias)))
        return STATUS_OK;
    *reason = NULL;
    if (bias == NONE) return recognise_replace(r, match, rule->becomes, &none, 2, operands);
    TRY(recognise_insert(r, match->root, OP_MatMul, &none, 2, operands, &product));
    TRY(recognise_add_origins(r, match, product));
    const ValueId terms[2] = {product, bias};
    return recognise_replace(r, match, OP_Add, &none, 2, terms);
}

/* The same with rows of all outer axes in one, as Gemm takes them. */
static Status rewrite_row_gemm(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    const Node *first = match_node(r->graph, match, "first"), *second = &r->graph->nodes[match->root];
    const Node gemm = *match_node(r->graph, match, "gemm");
    ValueId x = match_value(match, "x"), rows, product;
    const Shape in = *recognise_shape(r, x), *moved = recognise_shape(r, first->outputs[0]),
                out = *recognise_shape(r, second->outputs[0]), *back = recognise_shape(r, second->inputs[0]);
    const Shape flat = *recognise_shape(r, gemm.inputs[0]);
    int64_t transposed, target[SMELT_MAX_RANK];
    const AttrList none = {0};
    *reason = "";
    if (in.rank < 2 || back->rank != in.rank || flat.rank != 2 || flat.dim[1] != in.dim[in.rank - 1] ||
        !transposes_cancel(first, second, in.rank) || !is_row_bias(r, gemm.inputs[2]) ||
        attr_int(&gemm.attrs, "transA", 0, &transposed, NULL) != STATUS_OK || transposed != 0)
        return STATUS_OK;
    for (int32_t i = 0; i + 1 < in.rank; ++i)
        if (moved->dim[i] != back->dim[i]) return STATUS_OK;
    const Shape made = *recognise_shape(r, gemm.outputs[0]);
    if (!recognise_can_reshape(r, &in, &flat) || !reshape_target(r->graph->dims, &made, &out, target))
        return STATUS_OK;
    *reason = NULL;
    (void)rule;
    TRY(recognise_reshape(r, match->root, x, &flat, &rows));
    const ValueId operands[3] = {rows, gemm.inputs[1], gemm.inputs[2]};
    TRY(recognise_insert(r, match->root, OP_Gemm, &gemm.attrs, 3, operands, &product));
    TRY(recognise_add_origins(r, match, product));
    const ValueId shaped[2] = {product, graph_add_constant_i64(r->graph, NULL, out.rank, target)};
    if (shaped[1] == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return recognise_replace(r, match, OP_Reshape, &none, 2, shaped);
}

static const Rule rules[] = {
    {OP_MatMul, "Transpose(MatMul(first:Transpose(x), weights) + bias)", rewrite_row_product},
    {OP_MatMul, "Transpose(MatMul(first:Transpose(x), weights))", rewrite_row_product},
    {OP_Gemm, "Transpose(Reshape(gemm:Gemm(Reshape(first:Transpose(x)), weights, bias)))", rewrite_row_gemm},
    {OP_Reshape, "Reshape(Reshape(x))", rewrite_reshapes},
    {OP_Softmax, "Reshape(inner:Softmax(Reshape(x)))", rewrite_flat_softmax},
    {OP_LogSoftmax, "Reshape(inner:LogSoftmax(Reshape(x)))", rewrite_flat_softmax},
    {OP_Split, "Slice(x, starts, ends)", rewrite_slices},
    {OP_Split, "Slice(x, starts, ends, axes)", rewrite_slices},
    {OP_Split, "Slice(x, starts, ends, axes, steps)", rewrite_slices},
};

const RuleList recognise_movement_rules = {rules, sizeof rules / sizeof rules[0]};
