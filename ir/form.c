#include "ir/form.h"

#include "ops/cast.h"
#include "ops/indexing.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/quantize.h"

static bool is_narrow_float(DType dtype) {
    return dtype_is_float(dtype) && dtype_bits(dtype) == 8;
}

/* Scale and zero point of one element each, or one for each place along the axis. */
static const char *refuse_quantizer(const Graph *graph, const Node *node) {
    const QuantizeAttrs *attrs = node->parsed;
    const Value *scale = &graph->values[node->inputs[1]];
    if (attrs->block_size != 0) return "its scales are for blocks";
    if (!value_is_exact(scale)) return "how many scales it has shows at run time only";
    if (is_narrow_float(graph->values[node->outputs[0]].dtype)) return "8-bit floats round in their own way";
    return NULL;
}

static const char *refuse_elements(const Graph *graph, const Node *node) {
    if (op_def(node->op)->op_class == OPCLASS_POINTWISE) return NULL;
    if (op_def(node->op)->op_class == OPCLASS_QUANTIZATION) return refuse_quantizer(graph, node);
    return is_narrow_float(graph->values[node->outputs[0]].dtype) ? "8-bit floats round in their own way"
                                                                  : NULL;
}

/* Whether the elements are as many as before must not show at run time only. */
static const char *refuse_view(const Graph *graph, const Node *node) {
    const Shape *from = &graph->values[node->inputs[0]].shape, *to = &graph->values[node->outputs[0]].shape;
    if (node->op == OP_BitCast) return "it looks at bits";
    return shape_count(graph->dims, from) == shape_count(graph->dims, to) ? NULL : "its size is not known";
}

/* An index into nothing has no element to read. */
static const char *refuse_selection(const Graph *graph, const Node *node) {
    const Shape *from = &graph->values[node->inputs[0]].shape;
    int64_t low, high;
    for (int32_t i = 0; i < from->rank; ++i) {
        dim_bounds(graph->dims, from->dim[i], &low, &high);
        if (low < 1) return "it may select from nothing";
    }
    return NULL;
}

/* Its form, if nothing else is in the way. */
static NodeForm form_of(const Graph *graph, const Node *node, const char **why) {
    const OpDef *def = op_def(node->op);
    if (def->op_class == OPCLASS_POINTWISE || (def->flags & OPF_ELEMENTS) != 0) {
        *why = refuse_elements(graph, node);
        return FORM_ELEMENTS;
    }
    if ((def->flags & OPF_VIEW) != 0) {
        *why = refuse_view(graph, node);
        return FORM_VIEW;
    }
    if ((def->flags & OPF_PERMUTES) != 0) return FORM_PERMUTATION;
    if ((def->flags & OPF_SELECTS) != 0) {
        *why = refuse_selection(graph, node);
        return FORM_SELECTION;
    }
    *why = "it is not pointwise";
    return FORM_OTHER;
}

static bool has_plain_types(const Graph *graph, const Node *node) {
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && (!graph->values[node->inputs[i]].has_shape ||
                                        dtype_bits(graph->values[node->inputs[i]].dtype) < 8))
            return false;
    const Value *result = &graph->values[node->outputs[0]];
    return result->has_shape && dtype_bits(result->dtype) >= 8;
}

NodeForm node_form(const Graph *graph, const Node *node, const char **why) {
    const char *reason = NULL;
    NodeForm form = FORM_OTHER;
    if (node->output_count != 1 || node->outputs[0] == NONE || node->input_count == 0 ||
        node->inputs[0] == NONE)
        reason = "it has not one input and output";
    else if (!has_plain_types(graph, node))
        reason = "it has elements below a byte, or of unknown shape";
    else
        form = form_of(graph, node, &reason);
    if (why != NULL) *why = reason;
    return reason == NULL ? form : FORM_OTHER;
}

bool form_has_operand(const Node *node, int32_t i) {
    const OpDef *def = op_def(node->op);
    if (i >= node->input_count || node->inputs[i] == NONE) return false;
    if (i == 0) return true;
    if (def->op_class == OPCLASS_POINTWISE)
        return ((const PointwiseAttrs *)node->parsed)->signature != POINTWISE_SLOPE;
    return node->op == OP_Gather && i == 1;
}

/* The last dimension that has more than one element, or -1. */
static int32_t last_dimension(const Shape *shape) {
    int32_t last = shape->rank - 1;
    while (last >= 0 && shape->dim[last] == 1) --last;
    return last;
}

bool form_keeps_rows(const Graph *graph, const Node *node) {
    const Shape *from = &graph->values[node->inputs[0]].shape, *to = &graph->values[node->outputs[0]].shape;
    int32_t last = last_dimension(to), rank = from->rank;
    if (node->op == OP_Transpose && last >= 0) {
        const TransposeAttrs *attrs = node->parsed;
        return (attrs->count < 0 ? rank - 1 - last : attrs->perm[last]) == last_dimension(from);
    }
    if (node->op == OP_Gather) {
        int64_t axis = ((const GatherAttrs *)node->parsed)->axis;
        return axis != rank - 1 && axis != -1;
    }
    return node->op != OP_DepthToSpace && node->op != OP_SpaceToDepth;
}

/* -- pools -- */

/* Whether the last window along an axis ends in the input, whatever its extent is. */
static bool windows_fit(const PoolAttrs *attrs, Dim in, Dim out, int64_t kernel, int64_t stride) {
    bool padded = attrs->window.auto_pad != AUTO_PAD_NONE && attrs->window.auto_pad != AUTO_PAD_VALID;
    if (dim_is_exact(in) && dim_is_exact(out)) return out < 1 || (out - 1) * stride + kernel <= in;
    return !padded && attrs->ceil_mode == 0;
}

static const char *refuse_axis(const Graph *graph, const Node *node, int32_t i, FormWindows *out) {
    const PoolAttrs *attrs = node->parsed;
    const WindowAttrs *window = &attrs->window;
    Dim from = graph->values[node->inputs[0]].shape.dim[2 + i],
        to = graph->values[node->outputs[0]].shape.dim[2 + i];
    out->kernel[i] = window->kernel[i];
    out->stride[i] = window->stride[i];
    if (window->auto_pad == AUTO_PAD_NONE && (window->pad_begin[i] != 0 || window->pad_end[i] != 0))
        return "its windows reach outside";
    if (window->kernel[i] > 1 && window->dilation[i] != 1) return "its windows have gaps";
    if (!windows_fit(attrs, from, to, window->kernel[i], window->stride[i]))
        return "its windows may reach outside";
    if (window->kernel[i] > window->stride[i] && to != 1) return "its windows overlap";
    return NULL;
}

static const char *refuse_plane(const Graph *graph, const Node *node, int32_t i, FormWindows *out) {
    Dim extent = graph->values[node->inputs[0]].shape.dim[2 + i];
    if (!dim_is_exact(extent) || extent < 1) return "its window's size shows at run time only";
    out->kernel[i] = out->stride[i] = extent;
    return NULL;
}

const char *form_windows(const Graph *graph, const Node *node, FormWindows *out) {
    bool whole = node->op == OP_GlobalAveragePool || node->op == OP_GlobalMaxPool;
    if (!whole && node->op != OP_MaxPool && node->op != OP_AveragePool)
        return "it takes neither maxima nor means";
    if (node->output_count != 1 || node->outputs[0] == NONE || !has_plain_types(graph, node))
        return "it has not one input and output";
    const Shape *x = &graph->values[node->inputs[0]].shape;
    *out = (FormWindows){.axes = x->rank - 2, .taps = 1, .kernel = {1, 1, 1}, .stride = {1, 1, 1}};
    if (x->rank < 3 || x->rank > 2 + WINDOW_AXES || graph->values[node->outputs[0]].shape.rank != x->rank)
        return "it has not one to three axes";
    for (int32_t i = 0; i < out->axes; ++i) {
        const char *why = whole ? refuse_plane(graph, node, i, out) : refuse_axis(graph, node, i, out);
        if (why != NULL) return why;
        if (out->taps > INT32_MAX / out->kernel[i]) return "its windows are large";
        out->taps *= out->kernel[i];
    }
    return NULL;
}

const char *form_maxima(const Graph *graph, const Node *node, FormWindows *out) {
    const Shape *x = &graph->values[node->inputs[0]].shape;
    if (node->op != OP_MaxPool) return "it takes no maxima";
    if (node->output_count != 1 || node->outputs[0] == NONE || !has_plain_types(graph, node))
        return "it has not one input and output";
    if (x->rank < 3 || x->rank > 2 + WINDOW_AXES) return "it has not one to three axes";
    const WindowAttrs *window = &((const PoolAttrs *)node->parsed)->window;
    *out = (FormWindows){.axes = x->rank - 2, .taps = 1, .kernel = {1, 1, 1}, .stride = {1, 1, 1}};
    if (window->auto_pad != AUTO_PAD_NONE) return "its pads depend on its input";
    for (int32_t i = 0; i < out->axes; ++i) {
        if (window->kernel[i] > 1 && window->dilation[i] != 1) return "its windows have gaps";
        if (out->taps > INT32_MAX / window->kernel[i]) return "its windows are large";
        out->kernel[i] = window->kernel[i];
        out->stride[i] = window->stride[i];
        out->pad[i] = window->pad_begin[i];
        out->taps *= window->kernel[i];
    }
    return NULL;
}
