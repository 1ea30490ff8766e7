#include "ir/form.h"

#include "ops/cast.h"
#include "ops/indexing.h"
#include "ops/movement.h"
#include "ops/pointwise.h"
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

/* An index map whose parameters are not known has no text. Those of Transpose are attributes. */
static const char *refuse_map(const Graph *graph, const Node *node) {
    for (int32_t i = 1; i < node->input_count; ++i) {
        ValueId id = node->inputs[i];
        if (id == NONE || form_has_operand(node, i)) continue;
        if (!value_is_constant(graph, id) && graph->values[id].content == NULL)
            return "where its elements come from is not known";
    }
    return NULL;
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
    const OpDef *def = op_def(node->op);
    NodeForm form = FORM_OTHER;
    if (def->op_class == OPCLASS_POINTWISE || (def->flags & OPF_ELEMENTS) != 0) {
        form = FORM_ELEMENTS;
        reason = refuse_elements(graph, node);
    } else if ((def->flags & OPF_VIEW) != 0) {
        form = FORM_VIEW;
        if (node->op == OP_BitCast) reason = "it looks at bits";
    } else if ((def->flags & OPF_INDEX_MAP) != 0) {
        form = FORM_INDEX_MAP;
        reason = refuse_map(graph, node);
    } else {
        reason = "it is not pointwise";
    }
    if (reason == NULL && (node->output_count != 1 || node->outputs[0] == NONE || node->inputs[0] == NONE))
        reason = "it has not one input and output";
    if (reason == NULL && !has_plain_types(graph, node)) reason = "it has elements below a byte";
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
