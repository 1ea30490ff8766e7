#include "kernels/transposed_product.h"

#include "kernels/access.h"
#include "kernels/planes_text.h"
#include "kernels/window_text.h"
#include "ops/conv.h"

static int32_t axes_of(const Problem *problem) {
    return problem_input(problem, 0)->shape.rank - 2;
}

static const char *windows_refuse(const Problem *problem) {
    const TransposeAttrs *attrs = problem_anchor(problem)->parsed;
    const Value *x = problem_input(problem, 0), *w = problem_input(problem, 1),
                *y = problem_output(problem, 0);
    if (attrs->group != 1) return "groups";
    if (attrs->window.auto_pad != AUTO_PAD_NONE && attrs->window.auto_pad != AUTO_PAD_VALID)
        return "padding that is not written out";
    for (int32_t i = 0; i < axes_of(problem); ++i) {
        Dim in = x->shape.dim[2 + i], kernel = w->shape.dim[2 + i], out = y->shape.dim[2 + i];
        if (!dim_is_exact(in) || !dim_is_exact(out) || in < 1) return "spatial sizes that are not known";
        if (attrs->window.stride[i] != kernel || out != in * kernel || attrs->window.pad_begin[i] != 0)
            return "windows that overlap or are cut off";
    }
    return NULL;
}

/* Elements from place to place of the input where they are all as far apart; 0: they are not. */
static int64_t place_stride(const Problem *problem, int32_t width) {
    const Value *x = problem_input(problem, 0);
    Dim strides[SMELT_MAX_RANK];
    int32_t last = x->shape.rank - 1;
    value_strides(problem->graph, problem_read_input(problem), strides);
    if (strides[1] != 1 || !dim_is_exact(strides[last]) || strides[last] % width != 0) return 0;
    for (int32_t i = last; i > 0; i = i == 2 ? 0 : i - 1) {
        int32_t outer = i == 2 ? 0 : i - 1;
        if (strides[outer] != dim_mul(problem->graph->dims, strides[i], x->shape.dim[i])) return 0;
    }
    return strides[last];
}

static const char *operands_refuse(const Problem *problem, int32_t width) {
    const Value *x = problem_input(problem, 0), *w = problem_input(problem, 1),
                *bias = problem_input(problem, 2);
    if (w->data == NULL || x->shape.dim[1] != w->shape.dim[0])
        return "weights that are computed, or do not fit";
    if (w->shape.dim[0] % width != 0 || w->shape.dim[1] % EPILOGUE_LANES != 0)
        return "channels that are no multiple of 8";
    if (bias != NULL && (!value_is_plain(bias) || bias->shape.dim[0] != w->shape.dim[1]))
        return "a bias that does not fit";
    if (problem_output(problem, 0)->layout != LAYOUT_CHANNELS_LAST)
        return "a result that is not channels-last";
    if (!access_value_is_aligned(problem_value(problem, problem_read_input(problem))))
        return "an input that does not begin at a multiple of 16 bytes";
    return place_stride(problem, width) == 0 ? "an input that is not channels-last" : windows_refuse(problem);
}

const char *transposed_product_describe(const Problem *problem, int32_t width, TransposedProduct *out) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_ConvTranspose) return "not ConvTranspose";
    if (!input_has_rank(problem, 0, 3, 2 + WINDOW_AXES) || !output_ranks_like(problem, 0) ||
        !output_ranks_like(problem, 1))
        return "ranks that do not fit";
    const char *why = operands_refuse(problem, width);
    if (why != NULL) return why;
    const Shape *x = &problem_input(problem, 0)->shape, *w = &problem_input(problem, 1)->shape;
    *out = (TransposedProduct){.x = problem_read_input(problem),
                               .w = node->inputs[1],
                               .bias = anchor_input(problem, 2),
                               .rows = x->dim[0],
                               .cols = w->dim[1],
                               .depth = w->dim[0],
                               .outputs = w->dim[1],
                               .place_stride = place_stride(problem, width)};
    for (int32_t i = 2; i < x->rank; ++i) {
        out->rows = dim_mul(problem->graph->dims, out->rows, x->dim[i]);
        out->cols *= w->dim[i];
    }
    out->reads = problem->input_count > (out->bias != NONE ? 3 : 2) + planes_inputs(problem);
    return NULL;
}

/* "SumTaps<3>{rows, cols, 64, {8, 10, 7}, {2, 2, 2}}" */
static const char *taps_text(KernelWriter *w, const TransposedProduct *product) {
    const Problem *problem = kernel_emission(w)->problem;
    int32_t axes = axes_of(problem);
    return kernel_format(w, "SumTaps<%d>{%s, %s, %s, %s, %s}", axes, kernel_number(w, product->rows),
                         kernel_number(w, product->cols), kernel_number(w, product->outputs),
                         extents_text(w, problem_input(problem, 0)->shape.dim + 2, axes),
                         extents_text(w, problem_input(problem, 1)->shape.dim + 2, axes));
}

const char *transposed_product_store(KernelWriter *w, const TransposedProduct *product) {
    const Problem *problem = kernel_emission(w)->problem;
    const char *numbers = taps_text(w, product);
    const char *scale = sum_scale(w, 1, 1, product->bias, product->outputs, true);
    return kernel_format(w, "store_sums(%s, %s, %s)", numbers, scale,
                         kernel_pack_epilogue(w, problem_epilogue_lanes(problem)));
}
