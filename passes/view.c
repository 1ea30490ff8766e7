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

/* -- axes that walk in several strides, as between two reshapes -- */

enum { AXIS_PARTS = 4, MOST_PARTS = SMELT_MAX_RANK * AXIS_PARTS };

typedef struct Stretch {
    Dim dim, stride;
} Stretch;

/* Slowest first, neighbours that are one merged; none: an extent of 1. */
typedef struct Axis {
    int32_t count;
    Stretch parts[AXIS_PARTS];
} Axis;

typedef struct Walk {
    ValueId base;
    int32_t rank;
    Axis axes[SMELT_MAX_RANK];
    Dim offset;
    double factor;
} Walk;

static bool add_part(Graph *graph, Stretch *parts, int32_t *count, int32_t capacity, Stretch part) {
    if (part.dim == 1) return true;
    Stretch *last = *count > 0 ? &parts[*count - 1] : NULL;
    if (last != NULL && last->stride == dim_mul(graph->dims, part.dim, part.stride)) {
        *last = (Stretch){dim_mul(graph->dims, last->dim, part.dim), part.stride};
        return true;
    }
    if (*count == capacity) return false;
    parts[(*count)++] = part;
    return true;
}

static int32_t merge_parts(Graph *graph, int32_t rank, const Dim *dims, const Dim *strides,
                           Stretch parts[SMELT_MAX_RANK]) {
    int32_t count = 0;
    for (int32_t i = 0; i < rank; ++i)
        (void)add_part(graph, parts, &count, SMELT_MAX_RANK, (Stretch){dims[i], strides[i]});
    return count;
}

bool view_lies_as(Graph *graph, const View *view, int32_t rank, const Dim *dims, const Dim *strides) {
    Stretch own[SMELT_MAX_RANK], other[SMELT_MAX_RANK];
    int32_t count = merge_parts(graph, view->rank, view->dim, view->stride, own);
    if (view->offset != 0 || view->factor != 1 || merge_parts(graph, rank, dims, strides, other) != count)
        return false;
    for (int32_t i = 0; i < count; ++i)
        if (own[i].dim != other[i].dim || own[i].stride != other[i].stride) return false;
    return true;
}

static void set_axis(Axis *axis, Dim dim, Dim stride) {
    axis->count = dim == 1 ? 0 : 1;
    axis->parts[0] = (Stretch){dim, stride};
}

static Walk walk_of(const View *view) {
    Walk out = {.base = view->base, .rank = view->rank, .offset = view->offset, .factor = view->factor};
    for (int32_t i = 0; i < view->rank; ++i) set_axis(&out.axes[i], view->dim[i], view->stride[i]);
    return out;
}

static bool view_of(const Walk *walk, View *out) {
    *out = (View){.base = walk->base, .rank = walk->rank, .offset = walk->offset, .factor = walk->factor};
    for (int32_t i = 0; i < walk->rank; ++i) {
        const Axis *axis = &walk->axes[i];
        if (axis->count > 1) return false;
        out->dim[i] = axis->count == 0 ? 1 : axis->parts[0].dim;
        out->stride[i] = axis->count == 0 ? 0 : axis->parts[0].stride;
    }
    return true;
}

/* -- reshapes -- */

static bool divides(Graph *graph, Dim a, Dim b) {
    return a != 0 && dim_mul(graph->dims, dim_floor_div(graph->dims, b, a), a) == b;
}

/* Takes parts of the old axes, whole or divided, until they make the extent. */
static bool take_parts(Graph *graph, Stretch **next, const Stretch *end, Dim extent, Axis *out) {
    out->count = 0;
    while (extent != 1) {
        Stretch *part = *next;
        Stretch taken = *part;
        if (part == end) return false;
        if (part->dim == extent || divides(graph, part->dim, extent)) {
            extent = part->dim == extent ? 1 : dim_floor_div(graph->dims, extent, part->dim);
            ++*next;
        } else if (divides(graph, extent, part->dim)) {
            part->dim = dim_floor_div(graph->dims, part->dim, extent);
            taken = (Stretch){extent, dim_mul(graph->dims, part->dim, part->stride)};
            extent = 1;
        } else {
            return false;
        }
        if (!add_part(graph, out->parts, &out->count, AXIS_PARTS, taken)) return false;
    }
    return true;
}

static bool reshape_walk(Graph *graph, const Shape *shape, Walk *walk) {
    Stretch parts[MOST_PARTS + 1] = {{0}}, *next = parts;
    int32_t count = 0;
    for (int32_t i = 0; i < walk->rank; ++i)
        for (int32_t k = 0; k < walk->axes[i].count; ++k)
            if (!add_part(graph, parts, &count, MOST_PARTS, walk->axes[i].parts[k])) return false;
    walk->rank = shape->rank;
    for (int32_t i = 0; i < shape->rank; ++i)
        if (shape->dim[i] == 0 || !take_parts(graph, &next, parts + count, shape->dim[i], &walk->axes[i]))
            return false;
    return next == parts + count;
}

/* -- the other nodes -- */

static bool normal_axis(int64_t axis, int32_t rank, int32_t *out) {
    if (axis < 0) axis += rank;
    *out = (int32_t)axis;
    return axis >= 0 && axis < rank;
}

static bool transpose_walk(const Node *node, Walk *walk) {
    const TransposeAttrs *attrs = node->parsed;
    const Walk old = *walk;
    for (int32_t i = 0; i < old.rank; ++i)
        walk->axes[i] = old.axes[attrs->count < 0 ? old.rank - 1 - i : attrs->perm[i]];
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

/* What takes a part of the elements: the axes must walk in one stride each. */
static bool select_walk(Graph *graph, const Node *node, int32_t output, Walk *walk) {
    View view;
    if (!view_of(walk, &view)) return false;
    bool holds = node->op == OP_Split   ? split_view(graph, node, output, &view)
                 : node->op == OP_Slice ? slice_view(graph, node, &view)
                                        : node->op == OP_Gather && gather_view(graph, node, &view);
    *walk = walk_of(&view);
    return holds;
}

static bool walk_apply(Graph *graph, const Node *node, int32_t output, Walk *walk) {
    if (node->op == OP_Transpose) return transpose_walk(node, walk);
    if (op_is_reshape(node->op)) return reshape_walk(graph, &graph->values[node->outputs[0]].shape, walk);
    return select_walk(graph, node, output, walk);
}

bool view_apply(Graph *graph, const Node *node, int32_t output, View *view) {
    Walk walk = walk_of(view);
    return walk_apply(graph, node, output, &walk) && view_of(&walk, view);
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

static bool step_forward(Graph *graph, ValueId value, Walk *walk) {
    const Node *node = &graph->nodes[graph->values[value].producer];
    double factor;
    if (moves_elements(node->op)) return walk_apply(graph, node, graph->values[value].output_index, walk);
    if (scaled_input(graph, node, &factor) < 0) return false;
    walk->factor *= factor;
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
        Walk walk = walk_of(out);
        for (int32_t i = base - 1; i >= 0 && holds; --i) holds = step_forward(graph, trace[i], &walk);
        if (holds && view_of(&walk, out)) return;
    }
}
