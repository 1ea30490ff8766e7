#include "kernels/einsum_text.h"

#include <string.h>

/* Every extent of a label is the same or 1. */
static bool labels_fit(const Problem *problem) {
    const EinsumAttrs *attrs = problem_anchor(problem)->parsed;
    EinsumAxes axes[EINSUM_OPERANDS + 1];
    int32_t ranks[EINSUM_OPERANDS];
    Dim extent[EINSUM_LABELS];
    for (int32_t i = 0; i < EINSUM_LABELS; ++i) extent[i] = 1;
    for (int32_t i = 0; i < attrs->operands; ++i) ranks[i] = problem_input(problem, i)->shape.rank;
    if (einsum_axes(attrs, ranks, axes, NULL) != STATUS_OK) return false;
    if (axes[attrs->operands].rank != problem_output(problem, 0)->shape.rank) return false;
    for (int32_t i = 0; i < attrs->operands; ++i)
        for (int32_t j = 0; j < ranks[i]; ++j) {
            Dim own = problem_input(problem, i)->shape.dim[j], *all = &extent[axes[i].label[j]];
            if (own != 1 && *all != 1 && own != *all) return false;
            if (own != 1) *all = own;
        }
    return true;
}

const char *einsum_refuses(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_Einsum) return "not Einsum";
    if (problem_output(problem, 0) == NULL) return "no result";
    if (!labels_fit(problem)) return "labels whose extents may differ, or ranks that do not fit";
    EinsumText einsum = einsum_describe(problem);
    if (einsum.depth.count > ACCESS_MAX_RANK || einsum.output.count > ACCESS_MAX_RANK)
        return "too many labels";
    return refuse_types(problem);
}

static bool has_label(const EinsumAxes *axes, int32_t label) {
    for (int32_t i = 0; i < axes->rank; ++i)
        if (axes->label[i] == label) return true;
    return false;
}

/* Strides of one operand by label; 0 along extents of 1, which repeat. */
static void label_strides(DimTable *dims, const EinsumAxes *axes, const Shape *shape, Dim *stride) {
    Dim own[SMELT_MAX_RANK];
    layout_strides(dims, LAYOUT_PLAIN, 0, shape, own);
    for (int32_t i = 0; i < axes->rank; ++i) {
        Dim walks = dim_is_exact(shape->dim[i])
                        ? shape->dim[i] != 1
                        : dim_min(dims, 1, dim_max(dims, 0, dim_sub(dims, shape->dim[i], 1)));
        int32_t label = axes->label[i];
        stride[label] = dim_add(dims, stride[label], dim_mul(dims, own[i], walks));
    }
}

static void group_add(LabelGroup *group, int32_t label, int32_t operands, const Dim *extent,
                      Dim stride[][EINSUM_LABELS]) {
    group->extent[group->count] = extent[label];
    for (int32_t i = 0; i <= operands; ++i) group->stride[i][group->count] = stride[i][label];
    group->count++;
}

static const char *sum_type(DType dtype) {
    if (dtype_is_float(dtype)) return float_type(dtype);
    return dtype_bits(dtype) == 64 ? "unsigned long long" : "unsigned int";
}

EinsumText einsum_describe(const Problem *problem) {
    const EinsumAttrs *attrs = problem_anchor(problem)->parsed;
    DimTable *dims = problem->graph->dims;
    EinsumAxes axes[EINSUM_OPERANDS + 1];
    int32_t ranks[EINSUM_OPERANDS];
    Dim extent[EINSUM_LABELS], stride[EINSUM_OPERANDS + 1][EINSUM_LABELS];
    bool seen[EINSUM_LABELS] = {false};
    EinsumText text;
    memset(&text, 0, sizeof text);
    memset(stride, 0, sizeof stride);
    text.operands = attrs->operands;
    text.type = sum_type(problem_input(problem, 0)->dtype);
    for (int32_t i = 0; i < attrs->operands; ++i) ranks[i] = problem_input(problem, i)->shape.rank;
    if (einsum_axes(attrs, ranks, axes, NULL) != STATUS_OK) return text;
    const EinsumAxes *output = &axes[attrs->operands];
    if (output->rank != problem_output(problem, 0)->shape.rank) return text;
    for (int32_t i = 0; i < attrs->operands; ++i) {
        const Shape *shape = &problem_input(problem, i)->shape;
        label_strides(dims, &axes[i], shape, stride[i]);
        for (int32_t j = 0; j < axes[i].rank; ++j) {
            int32_t label = axes[i].label[j];
            extent[label] = seen[label] ? dim_broadcast(dims, extent[label], shape->dim[j]) : shape->dim[j];
            seen[label] = true;
        }
    }
    label_strides(dims, output, &problem_output(problem, 0)->shape, stride[attrs->operands]);
    for (int32_t i = 0; i < output->rank; ++i) {
        int32_t label = output->label[i];
        bool left = has_label(&axes[0], label), right = attrs->operands > 1 && has_label(&axes[1], label);
        group_add(&text.output, label, attrs->operands, extent, stride);
        group_add(left && right ? &text.batch
                  : left        ? &text.rows
                                : &text.cols,
                  label, attrs->operands, extent, stride);
    }
    for (int32_t label = 0; label < EINSUM_LABELS; ++label)
        if (seen[label] && !has_label(output, label))
            group_add(&text.depth, label, attrs->operands, extent, stride);
    return text;
}

Dim group_size(DimTable *dims, const LabelGroup *group) {
    Dim size = 1;
    for (int32_t i = 0; i < group->count; ++i) size = dim_mul(dims, size, group->extent[i]);
    return size;
}

const char *group_index(KernelWriter *w, const LabelGroup *group, int32_t operand, const char *index) {
    Access access =
        access_strided(kernel_emission(w)->graph->dims, group->count, group->extent, group->stride[operand]);
    return access_index(w, &access, index);
}
