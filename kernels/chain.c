#include "kernels/chain.h"

#include <string.h>

#include "ir/form.h"
#include "kernels/emit_writer.h"
#include "kernels/index_text.h"
#include "kernels/planes_text.h"
#include "ops/indexing.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/quantize.h"

enum {
    MOST_PARAMETERS = 400, /* well below what kernels can have */
    MOST_NODES = 64,
    MOST_STEPS = 256
};

static const ChainTerm no_term = {.number = -1};

static Status no_memory(Chain *c) {
    Diag *diag = c->w != NULL ? kernel_emission(c->w)->diag : NULL;
    return diag != NULL ? FAIL(diag, STATUS_NO_MEMORY, "out of memory") : STATUS_NO_MEMORY;
}

/* Remembers the first reason why the chain cannot be; what follows counts for nothing. */
static Status refuse(Chain *c, const char *why) {
    if (c->refusal == NULL) c->refusal = why;
    return STATUS_OK;
}

static const Value *value_of(const Chain *c, ValueId id) {
    return &c->graph->values[id];
}

/* -- what is known -- */

/* The number of a view, which is added when it is new. */
static Status add_view(Chain *c, const View *view, int32_t *out) {
    for (*out = 0; *out < c->view_count; ++*out)
        if (view_equal(&c->views[*out], view)) return STATUS_OK;
    if (!ARENA_RESERVE(c->arena, c->views, c->view_count, c->view_capacity)) return no_memory(c);
    c->views[c->view_count++] = *view;
    return STATUS_OK;
}

static const ChainKnown *find_known(const Chain *c, ValueId value, int32_t view) {
    for (int32_t i = 0; i < c->known_count; ++i)
        if (c->known[i].value == value && (view < 0 || c->known[i].view == view)) return &c->known[i];
    return NULL;
}

static const ChainKnown *find_hot(const Chain *c, ValueId value) {
    const ChainKnown *known = value == NONE ? NULL : find_known(c, value, -1);
    return known != NULL && known->hot ? known : NULL;
}

static Status add_known(Chain *c, ValueId value, int32_t view, bool hot, ChainTerm term) {
    if (!ARENA_RESERVE(c->arena, c->known, c->known_count, c->known_capacity)) return no_memory(c);
    c->known[c->known_count++] = (ChainKnown){.value = value, .view = view, .hot = hot, .term = term};
    return STATUS_OK;
}

static Status add_operand(Chain *c, const ChainOperand *operand, ChainTerm *out) {
    if (!ARENA_RESERVE(c->arena, c->operands, c->operand_count, c->operand_capacity)) return no_memory(c);
    *out = (ChainTerm){.number = c->operand_count};
    c->operands[c->operand_count++] = *operand;
    return STATUS_OK;
}

static Status add_step(Chain *c, const ChainStep *step, ChainTerm *out) {
    if (c->step_count == MOST_STEPS) return refuse(c, "too many nodes");
    if (!ARENA_RESERVE(c->arena, c->steps, c->step_count, c->step_capacity)) return no_memory(c);
    *out = (ChainTerm){.is_step = true, .number = c->step_count};
    c->steps[c->step_count++] = *step;
    return STATUS_OK;
}

/* -- operands in memory -- */

static Status need_literal(Chain *c, ValueId id, ChainTerm *out) {
    const Value *value = value_of(c, id);
    const ChainOperand operand = {
        .value = id, .source = OPERAND_LITERAL, .text = cuda_literal(c->arena, value->dtype, value->data, 0)};
    return operand.text == NULL ? no_memory(c) : add_operand(c, &operand, out);
}

static Status need_memory(Chain *c, ValueId id, int32_t view, ChainTerm *out) {
    const Value *value = value_of(c, id);
    DimTable *dims = c->graph->dims;
    Dim strides[SMELT_MAX_RANK], index_stride[VIEW_INDICES], offset;
    if (cuda_type_refusal(value->dtype) != NULL) return refuse(c, cuda_type_refusal(value->dtype));
    if (value->data != NULL && value_is_exact(value) && value_count(value) == 1)
        return need_literal(c, id, out);
    const View *from = &c->views[view];
    value_strides(c->graph, id, strides);
    Access access = view_access(dims, from, strides, &offset, index_stride);
    if (from->index_count == 0 && offset == 0) {
        const ChainOperand operand = {.value = id,
                                      .source = OPERAND_MEMORY,
                                      .text = c->w != NULL ? kernel_pointer(c->w, id) : "",
                                      .access = access};
        return add_operand(c, &operand, out);
    }
    ChainStep step = {.kind = CHAIN_READ,
                      .value = id,
                      .access = access,
                      .offset = offset,
                      .index_count = from->index_count};
    memcpy(step.index, from->index, sizeof step.index);
    memcpy(step.index_stride, index_stride, sizeof step.index_stride);
    return add_step(c, &step, out);
}

/* -- nodes, from their results to what they read -- */

static Status need(Chain *c, ValueId id, const View *view, ChainTerm *out);

/* 1 where two extents are equal, else 0. */
static Dim equals(DimTable *dims, Dim a, Dim b) {
    Dim distance = dim_max(dims, dim_sub(dims, a, b), dim_sub(dims, b, a));
    return dim_max(dims, 0, dim_sub(dims, 1, distance));
}

/* A slope of one dimension that does not broadcast has an element for each channel, which shows at run time
 * where extents are symbols. */
static View slope_view(const Chain *c, const View *view, const Shape *slope) {
    DimTable *dims = c->graph->dims;
    const Shape *shape = &view->shape;
    if (slope->rank != 1 || shape->rank < 3 || slope->dim[0] == 1) return view_broadcast(dims, view, slope);
    Dim extent = slope->dim[0], last = shape->dim[shape->rank - 1];
    Dim broadcasts = equals(dims, extent, last), walks = dim_min(dims, 1, dim_sub(dims, extent, 1));
    Dim along = dim_mul(dims, broadcasts, walks),
        channel = dim_mul(dims, dim_sub(dims, 1, broadcasts), walks);
    const int32_t order[1] = {shape->rank - 1};
    View out = view_select(view, slope, order);
    for (int32_t k = 0; k < view->digit_count; ++k)
        out.weight[0][k] = dim_add(dims, dim_mul(dims, along, view->weight[shape->rank - 1][k]),
                                   dim_mul(dims, channel, view->weight[1][k]));
    return out;
}

/* One element, or one for each place along the axis. */
static View quantizer_view(const Chain *c, const Node *node, const View *view, const Shape *scale) {
    const QuantizeAttrs *attrs = node->parsed;
    View out = *view;
    if (scale->rank == 1 && scale->dim[0] != 1) {
        const int32_t order[1] = {axis_of(attrs->axis, view->shape.rank)};
        return view_select(view, scale, order);
    }
    (void)c;
    memset(out.weight, 0, sizeof out.weight);
    memset(out.offset, 0, sizeof out.offset);
    memset(out.index_weight, 0, sizeof out.index_weight);
    out.shape = *scale;
    return out;
}

static View operand_view(const Chain *c, const Node *node, int32_t input, const View *view) {
    const Shape *shape = &value_of(c, node->inputs[input])->shape;
    if (op_def(node->op)->op_class == OPCLASS_QUANTIZATION && input > 0)
        return quantizer_view(c, node, view, shape);
    if (!form_has_operand(node, input)) return slope_view(c, view, shape);
    return view_broadcast(c->graph->dims, view, shape);
}

/* The operands that a node's text reads: CastLike's second input says its type only. */
static bool reads_input(const Node *node, int32_t i) {
    return node->inputs[i] != NONE && (node->op != OP_CastLike || i == 0);
}

/* The node's element at a view of its result. */
static Status need_elements(Chain *c, const Node *node, const View *view, ChainTerm *out) {
    ChainTerm *terms = ARENA_ARRAY(c->arena, ChainTerm, node->input_count);
    if (terms == NULL) return no_memory(c);
    const char *why = cuda_type_refusal(value_of(c, node->outputs[0])->dtype);
    if (why != NULL) return refuse(c, why);
    for (int32_t i = 0; i < node->input_count; ++i) {
        terms[i] = no_term;
        if (!reads_input(node, i)) continue;
        if (value_of(c, node->inputs[i])->shape.rank > view->shape.rank)
            return refuse(c, "an operand of higher rank");
        const View own = operand_view(c, node, i, view);
        TRY(need(c, node->inputs[i], &own, &terms[i]));
        if (c->refusal != NULL) return STATUS_OK;
    }
    const ChainStep step = {.kind = CHAIN_NODE, .node = node, .terms = terms};
    return add_step(c, &step, out);
}

/* Transpose: dimension perm[i] of the input is dimension i of the result. */
static View transposed(const View *view, const Node *node, const Shape *shape, bool forward) {
    const TransposeAttrs *attrs = node->parsed;
    int32_t order[SMELT_MAX_RANK] = {0};
    for (int32_t i = 0; i < shape->rank; ++i) {
        int32_t from = attrs->count < 0 ? shape->rank - 1 - i : attrs->perm[i];
        order[forward ? i : from] = forward ? from : i;
    }
    return view_select(view, shape, order);
}

/* The deep tensor as [N, b, b, c, h, w] (or [N, c, b, b, h, w]) and the wide one as [N, c, h, b, w, b]. */
static bool rearranged(const Chain *c, const View *view, const Node *node, const Shape *shape, bool to_wide,
                       View *out) {
    const BlockAttrs *attrs = node->parsed;
    const Shape *wide = to_wide ? shape : &view->shape;
    DimTable *dims = c->graph->dims;
    bool rows_first = node->op == OP_DepthToSpace && attrs->rows_first;
    Dim b = attrs->block, channels = wide->dim[1];
    View split, moved;
    const Dim h = to_wide ? view->shape.dim[2] : shape->dim[2],
              w = to_wide ? view->shape.dim[3] : shape->dim[3];
    const Shape deep6 = rows_first ? (Shape){.rank = 6, .dim = {wide->dim[0], channels, b, b, h, w}}
                                   : (Shape){.rank = 6, .dim = {wide->dim[0], b, b, channels, h, w}};
    const Shape wide6 = {.rank = 6, .dim = {wide->dim[0], channels, h, b, w, b}};
    /* dimensions of the wide tensor in the deep one */
    const int32_t in_deep[6] = {0, rows_first ? 1 : 3, 4, rows_first ? 2 : 1, 5, rows_first ? 3 : 2};
    int32_t order[6];
    for (int32_t i = 0; i < 6; ++i) order[to_wide ? i : in_deep[i]] = to_wide ? in_deep[i] : i;
    if (!view_reshape(dims, view, to_wide ? &deep6 : &wide6, &split)) return false;
    moved = view_select(&split, to_wide ? &wide6 : &deep6, order);
    return view_reshape(dims, &moved, shape, out);
}

/* The view of the node's other side: of its result, forward, or of its input. */
static bool permuted(const Chain *c, const View *view, const Node *node, bool forward, View *out) {
    const Shape *shape = &value_of(c, forward ? node->outputs[0] : node->inputs[0])->shape;
    if (node->op != OP_Transpose)
        return view->shape.rank == 4 &&
               rearranged(c, view, node, shape, forward == (node->op == OP_DepthToSpace), out);
    *out = transposed(view, node, shape, forward);
    return true;
}

/* Gather: the dimensions of the indices stand in the place of the data's axis. */
static Status need_gathered(Chain *c, const Node *node, const View *view, ChainTerm *out) {
    const Shape *data = &value_of(c, node->inputs[0])->shape, *indices = &value_of(c, node->inputs[1])->shape;
    int32_t axis = axis_of(((const GatherAttrs *)node->parsed)->axis, data->rank),
            order[SMELT_MAX_RANK] = {0};
    ChainTerm *term = ARENA_NEW(c->arena, ChainTerm), index = no_term;
    if (term == NULL) return no_memory(c);
    if (view->index_count == VIEW_INDICES) return refuse(c, "a gather of a gather of a gather");
    for (int32_t i = 0; i < indices->rank; ++i) order[i] = axis + i;
    const View at = view_select(view, indices, order);
    TRY(need(c, node->inputs[1], &at, term));
    if (c->refusal != NULL) return STATUS_OK;
    const ChainStep step = {.kind = CHAIN_INDEX, .terms = term, .extent = data->dim[axis]};
    TRY(add_step(c, &step, &index));
    for (int32_t i = 0; i < data->rank; ++i) order[i] = i < axis ? i : i == axis ? 0 : i - 1 + indices->rank;
    View from = view_select(view, data, order);
    memset(from.weight[axis], 0, sizeof from.weight[axis]);
    memset(from.index_weight[axis], 0, sizeof from.index_weight[axis]);
    from.offset[axis] = 0;
    from.index_weight[axis][from.index_count] = 1;
    from.index[from.index_count++] = index.number;
    return need(c, node->inputs[0], &from, out);
}

static Status need_node(Chain *c, const Node *node, const View *view, ChainTerm *out) {
    const char *why;
    View from;
    switch (node_form(c->graph, node, &why)) {
    case FORM_ELEMENTS:
        return need_elements(c, node, view, out);
    case FORM_VIEW:
        if (!view_reshape(c->graph->dims, view, &value_of(c, node->inputs[0])->shape, &from))
            return refuse(c, "a reshape that cuts dimensions");
        return need(c, node->inputs[0], &from, out);
    case FORM_PERMUTATION:
        if (!permuted(c, view, node, false, &from)) return refuse(c, "a reshape that cuts dimensions");
        return need(c, node->inputs[0], &from, out);
    case FORM_SELECTION:
        if (node->op == OP_Gather) return need_gathered(c, node, view, out);
        from = view_broadcast(c->graph->dims, view, &value_of(c, node->inputs[0])->shape);
        return need(c, node->inputs[0], &from, out);
    default:
        return refuse(c, why);
    }
}

const Node *problem_maker(const Problem *problem, ValueId value) {
    NodeId producer = value == NONE ? NONE : problem_value(problem, value)->producer;
    for (int32_t n = 0; producer != NONE && n < problem->node_count; ++n)
        if (problem->nodes[n] == producer) return &problem->graph->nodes[producer];
    return NULL;
}

static bool leaves(const Problem *problem, ValueId value) {
    for (int32_t i = 0; i < problem->output_count; ++i)
        if (problem->outputs[i] == value) return true;
    return false;
}

/* The register of the value's element that the view (of the value's shape) shows. */
static Status need(Chain *c, ValueId id, const View *view, ChainTerm *out) {
    int32_t number;
    *out = no_term;
    if (c->refusal != NULL) return STATUS_OK;
    TRY(add_view(c, view, &number));
    const ChainKnown *known = find_known(c, id, number);
    if (known != NULL) {
        *out = known->term;
        return STATUS_OK;
    }
    const Node *producer = problem_maker(c->problem, id);
    if (producer == NULL)
        TRY(need_memory(c, id, number, out));
    else if (producer == problem_anchor(c->problem) || find_hot(c, id) != NULL)
        return refuse(c, "a result that is read in another order");
    else if (c->behind && leaves(c->problem, id))
        return refuse(c, "a value in front of the anchor that leaves and is used behind it");
    else
        TRY(need_node(c, producer, view, out));
    return c->refusal != NULL ? STATUS_OK : add_known(c, id, number, false, *out);
}

/* -- nodes behind an anchor, from its result on -- */

/* The view of a node's result, where the node reads the anchor's result or what was made of it; *hot says
 * whether. */
static Status view_behind(Chain *c, const Node *node, bool *hot, View *out) {
    const ChainKnown *from = NULL;
    const char *why;
    NodeForm form = node_form(c->graph, node, &why);
    for (int32_t i = 0; i < node->input_count; ++i) {
        const ChainKnown *known = find_hot(c, node->inputs[i]);
        if (known == NULL) continue;
        if (form == FORM_OTHER) return refuse(c, why);
        if (known->is_slice) return refuse(c, "a slice that is used in the step that makes it");
        if (!form_has_operand(node, i) || form == FORM_SELECTION)
            return refuse(c, "a node that reads the result as a whole");
        if (from != NULL && from->view != known->view)
            return refuse(c, "a result that is read in two orders");
        from = known;
    }
    *hot = from != NULL;
    if (!*hot) return STATUS_OK;
    const View *view = &c->views[from->view];
    const Shape *result = &value_of(c, node->outputs[0])->shape;
    if (form == FORM_ELEMENTS && !shape_equal(result, &view->shape))
        return refuse(c, "results of different shapes");
    if (form == FORM_VIEW && !view_reshape(c->graph->dims, view, result, out))
        return refuse(c, "a reshape that cuts dimensions");
    if (form == FORM_PERMUTATION && !permuted(c, view, node, true, out))
        return refuse(c, "a reshape that cuts dimensions");
    if (form == FORM_ELEMENTS) *out = *view;
    return STATUS_OK;
}

/* Elements of a Split's result along its axis; -1 where that is not known. */
static Dim slice_extent(const Chain *c, const Node *node, int32_t output, int32_t axis) {
    ValueId sizes = node->input_count > 1 ? node->inputs[1] : NONE;
    Dim extent = -1;
    if (sizes != NONE && value_is_constant(c->graph, sizes))
        extent = dtype_load_i64(value_of(c, sizes)->dtype, value_of(c, sizes)->data, output);
    else if (node->outputs[output] != NONE)
        extent = value_of(c, node->outputs[output])->shape.dim[axis];
    return dim_is_exact(extent) ? extent : -1;
}

/* A Split that ends the region: each of its results takes the elements of its slice. */
static Status push_split(Chain *c, const Node *node) {
    const ChainKnown *from = find_hot(c, node->inputs[0]);
    DimTable *dims = c->graph->dims;
    Dim begin = 0;
    if (from == NULL) return STATUS_OK;
    if (from->is_slice) return refuse(c, "a slice that is used in the step that makes it");
    const ChainKnown whole = *from;
    const Shape *shape = &value_of(c, node->inputs[0])->shape;
    int32_t axis = axis_of(((const SplitAttrs *)node->parsed)->axis, shape->rank);
    for (int32_t o = 0; o < node->output_count; ++o) {
        ValueId value = node->outputs[o];
        Dim end = dim_add(dims, begin, slice_extent(c, node, o, axis));
        View view = c->views[whole.view];
        int32_t number;
        if (end < begin) return refuse(c, "a slice whose size shows at run time only");
        if (value == NONE) {
            begin = end;
            continue;
        }
        view.shape = value_of(c, value)->shape;
        view.offset[axis] = dim_sub(dims, view.offset[axis], begin);
        TRY(add_view(c, &view, &number));
        TRY(add_known(c, value, number, true, whole.term));
        ChainKnown *slice = &c->known[c->known_count - 1];
        slice->is_slice = true;
        slice->whole = whole.view;
        slice->axis = axis;
        slice->begin = begin;
        slice->end = end;
        begin = end;
    }
    return STATUS_OK;
}

static Status push_node(Chain *c, const Node *node) {
    View view = {0};
    ChainTerm term;
    int32_t number;
    bool hot = false;
    TRY(view_behind(c, node, &hot, &view));
    if (c->refusal != NULL || !hot) return STATUS_OK;
    if (node_form(c->graph, node, NULL) == FORM_ELEMENTS)
        TRY(need_elements(c, node, &view, &term));
    else
        term = find_hot(c, node->inputs[0])->term;
    if (c->refusal != NULL) return STATUS_OK;
    TRY(add_view(c, &view, &number));
    return add_known(c, node->outputs[0], number, true, term);
}

/* What is computed from result 0 of a node, up to `end` (NULL: all of it). */
static Status build_behind(Chain *c, const Node *first, const Node *end) {
    ValueId seed = first->outputs[0];
    const ChainOperand operand = {.value = seed, .source = OPERAND_SEED};
    ChainTerm term;
    int32_t number;
    c->behind = true;
    if (seed == NONE) return c->problem->node_count == 1 ? STATUS_OK : refuse(c, "an anchor without result");
    const View view = view_of(&value_of(c, seed)->shape, value_of(c, seed)->layout);
    TRY(add_view(c, &view, &number));
    if (c->problem->node_count > 1) {
        const char *why = cuda_type_refusal(value_of(c, seed)->dtype);
        if (why != NULL) return refuse(c, why);
        TRY(add_operand(c, &operand, &term));
    } else {
        term = no_term;
    }
    TRY(add_known(c, seed, number, true, term));
    const NodeId *nodes = c->problem->nodes;
    for (int32_t n = 0; n < c->problem->node_count && &c->graph->nodes[nodes[n]] != end; ++n) {
        const Node *node = &c->graph->nodes[nodes[n]];
        if (node != first) TRY(node->op == OP_Split ? push_split(c, node) : push_node(c, node));
        if (c->refusal != NULL) return STATUS_OK;
    }
    return STATUS_OK;
}

/* Results that leave are made behind the anchor, are its own, or are its input. */
static Status check_results(Chain *c) {
    const Node *anchor = problem_anchor(c->problem);
    for (int32_t o = 0; o < c->problem->output_count; ++o) {
        ValueId value = c->problem->outputs[o];
        if (anchor != problem_last(c->problem) && find_hot(c, value) == NULL)
            return refuse(c, "a result in front of a pool, a normalisation or a second contraction");
        if (value != anchor->inputs[0] && problem_maker(c->problem, value) != anchor &&
            find_hot(c, value) == NULL)
            return refuse(c, "a result that the anchor has no part in");
    }
    return STATUS_OK;
}

ValueId chain_end(const Problem *problem, ChainPlace place) {
    const Node *nodes = problem->graph->nodes;
    ValueId x = problem_anchor(problem)->inputs[0];
    if (place == CHAIN_NORMALIZED) return x;
    if (place == CHAIN_SCALES) {
        const ValueId *inputs = nodes[problem->scale].inputs;
        return inputs[inputs[0] == x ? 1 : 0];
    }
    if (place == CHAIN_WITHIN) return nodes[problem->project].inputs[0];
    if (problem->middle != NONE) return nodes[problem->middle].inputs[0];
    return nodes[problem->pooling != NONE ? problem->pooling : problem->excite].inputs[0];
}

/* What stands at the end reads what is made of the result in front of it, element by element. */
static Status build_between(Chain *c, ChainPlace place) {
    const Problem *problem = c->problem;
    const Node *nodes = c->graph->nodes, *first = problem_anchor(problem), *end = problem_last(problem);
    if (place == CHAIN_NORMALIZED) {
        first = problem_front_planes(problem);
        end = problem_anchor(problem);
    } else if (place == CHAIN_SCALES) {
        first = &nodes[problem->excite];
    } else if (place == CHAIN_WITHIN) {
        first = &nodes[problem->middle];
        end = &nodes[problem->project];
    } else if (problem->squeeze != NONE) {
        first = &nodes[problem->squeeze];
        end = &nodes[problem->excite];
    } else if (problem->middle != NONE) {
        end = &nodes[problem->middle];
    }
    TRY(build_behind(c, first, end));
    if (c->refusal != NULL) return STATUS_OK;
    const ChainKnown *read = find_hot(c, chain_end(problem, place));
    if (read == NULL || read->view != 0 || read->is_slice)
        return refuse(c, "a result that is read in another order");
    return STATUS_OK;
}

/* -- the whole -- */

static Status build_at(Chain *c, ValueId value, const Value *numbers) {
    const View view = view_of(&numbers->shape, numbers->layout);
    ChainTerm term;
    int32_t first;
    if (!shape_equal(&value_of(c, value)->shape, &numbers->shape))
        return refuse(c, "results of different shapes");
    TRY(add_view(c, &view, &first));
    return need(c, value, &view, &term);
}

static Status build(Chain *c, ChainPlace place) {
    if (place == CHAIN_BEHIND) {
        TRY(build_behind(c, problem_last(c->problem), NULL));
        return c->refusal != NULL ? STATUS_OK : check_results(c);
    }
    if (place == CHAIN_IN_FRONT) {
        ValueId input = problem_anchor(c->problem)->inputs[0];
        return build_at(c, input, value_of(c, input));
    }
    if (place != CHAIN_RESULTS) return build_between(c, place);
    for (int32_t o = 0; o < c->problem->output_count && c->refusal == NULL; ++o)
        TRY(build_at(c, c->problem->outputs[o], value_of(c, c->problem->outputs[0])));
    return STATUS_OK;
}

/* Kernel parameters that an operand may need: its pointer, and where its extents are symbols, two numbers for
 * each. */
static int32_t parameters_of(const Problem *problem, ValueId id) {
    const Shape *shape = &problem_value(problem, id)->shape;
    return shape_is_exact(shape) ? 1 : 1 + 2 * shape->rank;
}

static bool has_too_many_operands(const Problem *problem) {
    int32_t parameters = 0;
    if (problem->input_count + problem->output_count > MOST_PARAMETERS) return true;
    for (int32_t i = 0; i < problem->input_count; ++i)
        parameters += parameters_of(problem, problem->inputs[i]);
    for (int32_t i = 0; i < problem->output_count; ++i)
        parameters += parameters_of(problem, problem->outputs[i]);
    return parameters > MOST_PARAMETERS;
}

bool problem_has_front(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    for (int32_t i = 0; anchor != NULL && problem->node_count > 1 && i < anchor->input_count; ++i)
        if (problem_maker(problem, anchor->inputs[i]) != NULL) return true;
    return false;
}

/* What the anchor reads comes from the region as its input 0 only, and is read there only. */
static const char *front_refusal(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    for (int32_t i = 1; i < anchor->input_count; ++i)
        if (anchor->inputs[i] != NONE &&
            (problem_maker(problem, anchor->inputs[i]) != NULL || anchor->inputs[i] == anchor->inputs[0]))
            return "nodes in front of the anchor's other inputs";
    return NULL;
}

const char *chain_refuses(const Problem *problem, ChainPlace place) {
    Arena scratch = {.allocator = problem->graph->arena->allocator};
    Chain chain = {.graph = problem->graph, .problem = problem, .arena = &scratch};
    if (problem->node_count > MOST_NODES) return "too many nodes";
    if (has_too_many_operands(problem)) return "too many operands";
    const char *why = place == CHAIN_IN_FRONT ? front_refusal(problem) : NULL;
    if (why == NULL) why = build(&chain, place) == STATUS_OK ? chain.refusal : "out of memory";
    arena_reset(&scratch);
    return why;
}

Status chain_prepare(KernelWriter *w, const Problem *problem, ChainPlace place, Chain *out) {
    Emission *emission = kernel_emission(w);
    *out = (Chain){.w = w, .graph = emission->graph, .problem = problem, .arena = emission->arena};
    kernel_include(w, "pointwise.cuh");
    TRY(build(out, place));
    if (out->refusal == NULL) return STATUS_OK;
    return FAIL(emission->diag, STATUS_INTERNAL, "a region that was accepted: %s", out->refusal);
}
