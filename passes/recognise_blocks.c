/* DepthToSpace and SpaceToDepth, written as Reshape, Transpose and Reshape, or as Slices of every other row
 * and column side by side. */
#include <string.h>

#include "ops/movement.h"
#include "passes/recognise.h"
#include "passes/view.h"

/* -- DepthToSpace, SpaceToDepth -- */

/* What stands at a place of the tensor of rank 6 in the middle. */
typedef enum Role { BATCH, DEPTH, ROWS, COLUMNS, BLOCK_ROWS, BLOCK_COLUMNS, PARTS } Role;

typedef struct BlockForm {
    OpId op;
    const char *mode; /* of DepthToSpace */
    Role middle[PARTS];
    int32_t perm[PARTS];
} BlockForm;

static const BlockForm forms[] = {
    {OP_DepthToSpace, "DCR", {BATCH, BLOCK_ROWS, BLOCK_COLUMNS, DEPTH, ROWS, COLUMNS}, {0, 3, 4, 1, 5, 2}},
    {OP_DepthToSpace, "CRD", {BATCH, DEPTH, BLOCK_ROWS, BLOCK_COLUMNS, ROWS, COLUMNS}, {0, 1, 4, 2, 5, 3}},
    {OP_SpaceToDepth, NULL, {BATCH, DEPTH, ROWS, BLOCK_ROWS, COLUMNS, BLOCK_COLUMNS}, {0, 3, 5, 1, 2, 4}},
};

/* The operator's shapes hold: in is [batch, depth, rows, columns] on the side of the depth. */
static bool form_fits(const Recogniser *r, const BlockForm *form, const TransposeAttrs *attrs,
                      const Shape *in, const Shape *middle, const Shape *out, int64_t *block) {
    DimTable *dims = r->graph->dims;
    Dim part[PARTS];
    if (attrs->count != PARTS || middle->rank != PARTS || in->rank != 4 || out->rank != 4) return false;
    for (int32_t i = 0; i < PARTS; ++i) {
        if (attrs->perm[i] != form->perm[i]) return false;
        part[form->middle[i]] = middle->dim[i];
    }
    *block = part[BLOCK_ROWS];
    if (!dim_is_exact(*block) || *block < 1 || part[BLOCK_COLUMNS] != *block) return false;
    const Shape *deep = form->op == OP_DepthToSpace ? in : out,
                *wide = form->op == OP_DepthToSpace ? out : in;
    return deep->dim[0] == part[BATCH] && wide->dim[0] == part[BATCH] && wide->dim[1] == part[DEPTH] &&
           deep->dim[1] == dim_mul(dims, part[DEPTH], dim_mul(dims, *block, *block)) &&
           deep->dim[2] == part[ROWS] && deep->dim[3] == part[COLUMNS] &&
           wide->dim[2] == dim_mul(dims, part[ROWS], *block) &&
           wide->dim[3] == dim_mul(dims, part[COLUMNS], *block);
}

static Status rewrite_blocks(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x");
    const Node *move = match_node(r->graph, match, "moved");
    const Shape *in = recognise_shape(r, x), *middle = recognise_shape(r, move->inputs[0]),
                *out = recognise_shape(r, r->graph->nodes[match->root].outputs[0]);
    *reason = "";
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; ++i) {
        AttrList attrs = {0};
        int64_t block;
        if (forms[i].op != rule->becomes || !form_fits(r, &forms[i], move->parsed, in, middle, out, &block))
            continue;
        bool done = attr_set_int(&attrs, r->ctx->scratch, "blocksize", block);
        if (forms[i].mode != NULL)
            done = done && attr_set_string(&attrs, r->ctx->scratch, "mode", forms[i].mode);
        if (!done) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        *reason = NULL;
        return recognise_replace(r, match, rule->becomes, &attrs, 1, &x);
    }
    return STATUS_OK;
}

/* -- SpaceToDepth as a Concat of Slices -- */

enum { SIDE = 2, PIECES = SIDE * SIDE, MOST_SLICES = 4 };

/* The view that Slices make this value of what is before them; false where there are none. */
static bool view_slices(const Recogniser *r, ValueId value, View *out) {
    NodeId slices[MOST_SLICES];
    int32_t count = 0;
    for (;; ++count) {
        NodeId producer = r->graph->values[value].producer;
        if (producer == NONE || r->graph->nodes[producer].op != OP_Slice) break;
        if (count == MOST_SLICES) return false;
        slices[count] = producer;
        value = r->graph->nodes[producer].inputs[0];
    }
    if (count == 0 || !r->graph->values[value].has_shape) return false;
    view_whole(r->graph, value, out);
    while (count-- > 0)
        if (!view_apply(r->graph, &r->graph->nodes[slices[count]], 0, out)) return false;
    return true;
}

static bool walks_by(const View *view, int32_t axis, Dim stride) {
    return view->dim[axis] == 1 || view->stride[axis] == stride;
}

/* Which row and column of each block the view takes, row * SIDE + column; -1 where it is no such view. */
static int32_t block_place(const Recogniser *r, const View *view) {
    View whole;
    view_whole(r->graph, view->base, &whole);
    if (whole.rank != 4 || view->rank != 4 || !dim_is_exact(whole.dim[2]) || !dim_is_exact(whole.dim[3]) ||
        !dim_is_exact(view->offset))
        return -1;
    int64_t rows = whole.dim[2], columns = whole.dim[3];
    if (rows < 1 || columns < 1 || rows % SIDE != 0 || columns % SIDE != 0) return -1;
    int64_t row = view->offset / columns, column = view->offset % columns;
    if (row >= SIDE || column >= SIDE || view->dim[0] != whole.dim[0] || view->dim[1] != whole.dim[1] ||
        view->dim[2] != rows / SIDE || view->dim[3] != columns / SIDE ||
        !walks_by(view, 0, whole.stride[0]) || !walks_by(view, 1, whole.stride[1]) ||
        !walks_by(view, 2, SIDE * columns) || !walks_by(view, 3, SIDE))
        return -1;
    return (int32_t)(row * SIDE + column);
}

/* places[i]: of input i. All of one value, each place once. */
static bool read_pieces(const Recogniser *r, const Node *concat, ValueId *x, int32_t places[PIECES]) {
    bool taken[PIECES] = {false};
    for (int32_t i = 0; i < PIECES; ++i) {
        View view;
        if (!view_slices(r, concat->inputs[i], &view) || (i > 0 && view.base != *x)) return false;
        *x = view.base;
        places[i] = block_place(r, &view);
        if (places[i] < 0 || taken[places[i]]) return false;
        taken[places[i]] = true;
    }
    return true;
}

/* The only user of the value, where it is a convolution whose weights can be put into another order. */
static NodeId only_convolution(const Recogniser *r, ValueId value, Dim channels) {
    int64_t groups;
    if (value >= r->value_count || r->touched[value] || use_count(&r->uses, value) != 1) return NONE;
    const struct Use *use = &r->uses.uses[r->uses.first[value]];
    if (use->node == NONE || use->index != 0 || r->graph->nodes[use->node].op != OP_Conv) return NONE;
    const Node *node = &r->graph->nodes[use->node];
    const Value *weights = &r->graph->values[node->inputs[1]];
    if (attr_int(&node->attrs, "group", 1, &groups, NULL) != STATUS_OK || groups != 1 ||
        weights->data == NULL || dtype_bits(weights->dtype) % 8 != 0 || weights->shape.rank < 2 ||
        weights->shape.dim[1] != channels)
        return NONE;
    return use->node;
}

/* The convolution's weights for channels that come in the order of the places. */
static Status reorder_weights(Recogniser *r, NodeId conv, const int32_t places[PIECES]) {
    Graph *graph = r->graph;
    const Value weights = graph->values[graph->nodes[conv].inputs[1]];
    size_t bytes, filters = (size_t)weights.shape.dim[0];
    if (!dtype_storage(weights.dtype, value_count(&weights), &bytes))
        return FAIL(r->ctx->diag, STATUS_INTERNAL, "weights without a size");
    char *data = arena_alloc(graph->arena, bytes);
    TRY_ALLOC(r->ctx->diag, data);
    size_t part = filters == 0 ? 0 : bytes / filters / PIECES;
    for (size_t f = 0; f < filters; ++f)
        for (size_t i = 0; i < PIECES; ++i)
            memcpy(data + (f * PIECES + (size_t)places[i]) * part,
                   (const char *)weights.data + (f * PIECES + i) * part, part);
    ValueId ordered =
        graph_add_constant(graph, weights.name, weights.dtype, weights.shape.rank, weights.shape.dim, data);
    if (ordered == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph->nodes[conv].inputs[1] = ordered;
    return STATUS_OK;
}

static Status rewrite_pieces(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    const Node *concat = &r->graph->nodes[match->root];
    ValueId result = concat->outputs[0], x = NONE;
    int64_t axis = ((const ConcatAttrs *)concat->parsed)->axis;
    int32_t places[PIECES];
    AttrList attrs = {0};
    *reason = "";
    if ((axis != 1 && axis != -3) || recognise_shape(r, result)->rank != 4 ||
        !read_pieces(r, concat, &x, places))
        return STATUS_OK;
    bool is_ordered = true;
    for (int32_t i = 0; i < PIECES; ++i) is_ordered = is_ordered && places[i] == i;
    NodeId conv = is_ordered ? NONE : only_convolution(r, result, recognise_shape(r, result)->dim[1]);
    *reason = is_ordered || conv != NONE ? NULL : "the channels are in another order";
    if (*reason != NULL) return STATUS_OK;
    if (!attr_set_int(&attrs, r->ctx->scratch, "blocksize", SIDE))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    if (!is_ordered) TRY(reorder_weights(r, conv, places));
    return recognise_replace(r, match, rule->becomes, &attrs, 1, &x);
}

static const Rule rules[] = {
    {OP_DepthToSpace, "Reshape(moved:Transpose(Reshape(x)))", rewrite_blocks},
    {OP_SpaceToDepth, "Reshape(moved:Transpose(Reshape(x)))", rewrite_blocks},
    {OP_SpaceToDepth, "Concat(a, b, c, d)", rewrite_pieces},
};

const RuleList recognise_block_rules = {rules, sizeof rules / sizeof rules[0]};
