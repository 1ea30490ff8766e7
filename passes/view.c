#include "passes/view.h"

#include "ops/movement.h"
#include "passes/pattern.h"

enum { LONGEST_TRACE = 16 };

static void set_dense(Graph *graph, const Shape *shape, View *out) {
    Dim stride = 1;
    out->rank = shape->rank;
    for (int32_t i = shape->rank - 1; i >= 0; --i) {
        out->dim[i] = shape->dim[i];
        out->stride[i] = stride;
        stride = dim_mul(graph->dims, stride, shape->dim[i]);
    }
}

void view_whole(Graph *graph, ValueId value, View *out) {
    *out = (View){.base = value, .factor = 1};
    set_dense(graph, &graph->values[value].shape, out);
}

bool view_is_dense(Graph *graph, const View *view) {
    Dim stride = 1;
    if (view->offset != 0 || view->factor != 1) return false;
    for (int32_t i = view->rank - 1; i >= 0; --i) {
        if (view->dim[i] != 1 && view->stride[i] != stride) return false;
        stride = dim_mul(graph->dims, stride, view->dim[i]);
    }
    return true;
}

/* -- reshapes -- */

/* A run of dimensions of the old shape and one of the new, of as many elements. */
typedef struct Runs {
    int32_t old_first, old_end, new_first, new_end;
    Dim old_count, new_count;
} Runs;

static bool divides(Graph *graph, Dim a, Dim b) {
    return a != 0 && dim_mul(graph->dims, dim_floor_div(graph->dims, b, a), a) == b;
}

/* Makes both runs longer until they have as many elements. */
static bool balance(Graph *graph, const View *old, const Shape *shape, Runs *runs) {
    while (runs->old_count != runs->new_count) {
        bool old_has_more = runs->old_end < old->rank, new_has_more = runs->new_end < shape->rank;
        if (new_has_more && (!old_has_more || divides(graph, runs->new_count, runs->old_count)))
            runs->new_count = dim_mul(graph->dims, runs->new_count, shape->dim[runs->new_end++]);
        else if (old_has_more)
            runs->old_count = dim_mul(graph->dims, runs->old_count, old->dim[runs->old_end++]);
        else
            return false;
    }
    return true;
}

/* The old run lies like one dimension; gives the new one its strides. */
static bool split_run(Graph *graph, const View *old, const Runs *runs, View *out) {
    for (int32_t i = runs->old_first; i + 1 < runs->old_end; ++i)
        if (old->stride[i] != dim_mul(graph->dims, old->dim[i + 1], old->stride[i + 1])) return false;
    Dim stride = old->stride[runs->old_end - 1];
    for (int32_t i = runs->new_end - 1; i >= runs->new_first; --i) {
        out->stride[i] = stride;
        stride = dim_mul(graph->dims, stride, out->dim[i]);
    }
    return true;
}

static void drop_ones(View *view) {
    int32_t kept = 0;
    for (int32_t i = 0; i < view->rank; ++i) {
        if (view->dim[i] == 1) continue;
        view->dim[kept] = view->dim[i];
        view->stride[kept++] = view->stride[i];
    }
    view->rank = kept;
}

static bool reshape_view(Graph *graph, const Shape *shape, View *view) {
    View old = *view;
    int32_t next = 0;
    drop_ones(&old);
    view->rank = shape->rank;
    for (int32_t i = 0; i < shape->rank; ++i) {
        view->dim[i] = shape->dim[i];
        view->stride[i] = 0;
        if (shape->dim[i] == 0) return false;
    }
    for (int32_t i = 0; i < shape->rank;) {
        if (shape->dim[i] == 1) {
            ++i;
            continue;
        }
        if (next == old.rank) return false;
        Runs runs = {next, next + 1, i, i + 1, old.dim[next], shape->dim[i]};
        if (!balance(graph, &old, shape, &runs) || !split_run(graph, &old, &runs, view)) return false;
        next = runs.old_end;
        i = runs.new_end;
    }
    return next == old.rank;
}

/* -- the other nodes -- */

static bool normal_axis(int64_t axis, int32_t rank, int32_t *out) {
    if (axis < 0) axis += rank;
    *out = (int32_t)axis;
    return axis >= 0 && axis < rank;
}

static bool transpose_view(const Node *node, View *view) {
    const TransposeAttrs *attrs = node->parsed;
    const View old = *view;
    for (int32_t i = 0; i < old.rank; ++i) {
        int32_t from = attrs->count < 0 ? old.rank - 1 - i : attrs->perm[i];
        view->dim[i] = old.dim[from];
        view->stride[i] = old.stride[from];
    }
    return true;
}

static void move_start(Graph *graph, View *view, int32_t axis, Dim start) {
    view->offset = dim_add(graph->dims, view->offset, dim_mul(graph->dims, start, view->stride[axis]));
}

static bool split_view(Graph *graph, const Node *node, int32_t output, View *view) {
    int32_t axis;
    if (!normal_axis(((const SplitAttrs *)node->parsed)->axis, view->rank, &axis)) return false;
    for (int32_t i = 0; i < output; ++i) {
        if (node->outputs[i] == NONE || !graph->values[node->outputs[i]].has_shape) return false;
        move_start(graph, view, axis, graph->values[node->outputs[i]].shape.dim[axis]);
    }
    view->dim[axis] = graph->values[node->outputs[output]].shape.dim[axis];
    return true;
}

/* Element i of a constant integer input; the fallback where it is omitted. */
static bool constant_element(const Graph *graph, const Node *node, int32_t input, int64_t i, int64_t fallback,
                             int64_t *out) {
    *out = fallback;
    if (input >= node->input_count || node->inputs[input] == NONE) return true;
    const Value *value = &graph->values[node->inputs[input]];
    if (value->data == NULL || i >= value_count(value)) return false;
    *out = dtype_load_i64(value->dtype, value->data, i);
    return true;
}

static bool slice_view(Graph *graph, const Node *node, View *view) {
    const Value *starts = &graph->values[node->inputs[1]], *out = &graph->values[node->outputs[0]];
    if (starts->data == NULL) return false;
    for (int64_t i = 0; i < value_count(starts); ++i) {
        int64_t axis, step, start = dtype_load_i64(starts->dtype, starts->data, i);
        int32_t at;
        if (!constant_element(graph, node, 3, i, i, &axis) ||
            !constant_element(graph, node, 4, i, 1, &step) || step < 1 || !normal_axis(axis, view->rank, &at))
            return false;
        if (dim_is_exact(view->dim[at]))
            start = slice_range(view->dim[at], start, INT64_MAX, step).start;
        else if (start < 0)
            return false;
        move_start(graph, view, at, start);
        view->stride[at] = dim_mul(graph->dims, view->stride[at], step);
    }
    for (int32_t i = 0; i < view->rank; ++i) view->dim[i] = out->shape.dim[i];
    return true;
}

static bool gather_view(Graph *graph, const Node *node, View *view) {
    const Value *indices = &graph->values[node->inputs[1]];
    int64_t axis, index;
    int32_t at;
    if (indices->data == NULL || value_count(indices) != 1 || indices->shape.rank > 1) return false;
    if (attr_int(&node->attrs, "axis", 0, &axis, NULL) != STATUS_OK || !normal_axis(axis, view->rank, &at))
        return false;
    index = dtype_load_i64(indices->dtype, indices->data, 0);
    if (index < 0 && dim_is_exact(view->dim[at])) index += view->dim[at];
    if (index < 0) return false;
    move_start(graph, view, at, index);
    view->dim[at] = 1;
    if (indices->shape.rank == 1) return true;
    view->rank--;
    for (int32_t i = at; i < view->rank; ++i) {
        view->dim[i] = view->dim[i + 1];
        view->stride[i] = view->stride[i + 1];
    }
    return true;
}

bool view_apply(Graph *graph, const Node *node, int32_t output, View *view) {
    switch (node->op) {
    case OP_Transpose:
        return transpose_view(node, view);
    case OP_Split:
        return split_view(graph, node, output, view);
    case OP_Slice:
        return slice_view(graph, node, view);
    case OP_Gather:
        return gather_view(graph, node, view);
    default:
        return op_is_reshape(node->op) && reshape_view(graph, &graph->values[node->outputs[0]].shape, view);
    }
}

/* -- traces -- */

/* Which input the node passes on, times *factor; -1 where it is no product with one constant. */
static int32_t scaled_input(const Graph *graph, const Node *node, double *factor) {
    if (node->op != OP_Mul && node->op != OP_Div) return -1;
    for (int32_t i = 0; i < (node->op == OP_Mul ? 2 : 1); ++i) {
        const Value *in = &graph->values[node->inputs[i]], *out = &graph->values[node->outputs[0]];
        if (!in->has_shape || !dtype_is_float(in->dtype) || !shape_equal(&in->shape, &out->shape) ||
            !value_is_uniform(graph, node->inputs[1 - i], factor))
            continue;
        if (node->op == OP_Div) *factor = 1 / *factor;
        return i;
    }
    return -1;
}

static bool moves_elements(OpId op) {
    return op_is_reshape(op) || op == OP_Transpose || op == OP_Split || op == OP_Slice || op == OP_Gather;
}

/* The value that the node that makes this one shows again, or NONE. */
static ValueId step_back(const Graph *graph, ValueId value, bool with_factor) {
    NodeId producer = graph->values[value].producer;
    double factor;
    if (producer == NONE) return NONE;
    const Node *node = &graph->nodes[producer];
    int32_t input = moves_elements(node->op) ? 0 : with_factor ? scaled_input(graph, node, &factor) : -1;
    return input < 0 || !graph->values[node->inputs[input]].has_shape ? NONE : node->inputs[input];
}

static bool step_forward(Graph *graph, ValueId value, View *view) {
    const Node *node = &graph->nodes[graph->values[value].producer];
    double factor;
    if (moves_elements(node->op)) return view_apply(graph, node, graph->values[value].output_index, view);
    if (scaled_input(graph, node, &factor) < 0) return false;
    view->factor *= factor;
    return true;
}

void view_trace(Graph *graph, ValueId value, bool with_factor, View *out) {
    ValueId trace[LONGEST_TRACE] = {value};
    int32_t length = 1;
    while (length < LONGEST_TRACE) {
        ValueId back = step_back(graph, trace[length - 1], with_factor);
        if (back == NONE) break;
        trace[length++] = back;
    }
    for (int32_t base = length - 1; base >= 0; --base) {
        bool holds = true;
        view_whole(graph, trace[base], out);
        for (int32_t i = base - 1; i >= 0 && holds; --i) holds = step_forward(graph, trace[i], out);
        if (holds) return;
    }
}
