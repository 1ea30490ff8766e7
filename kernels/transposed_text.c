#include "kernels/transposed_text.h"

#include "kernels/conv_text.h"

const char *transposed_refuses(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_ConvTranspose) return "not ConvTranspose";
    if (!input_has_rank(problem, 0, 3, 2 + WINDOW_AXES) || !output_ranks_like(problem, 0) ||
        !output_ranks_like(problem, 1))
        return "ranks that do not fit";
    const TransposeAttrs *attrs = node->parsed;
    DimTable *dims = problem->graph->dims;
    const Dim *x = problem_input(problem, 0)->shape.dim, *w = problem_input(problem, 1)->shape.dim;
    Dim outputs = dim_mul(dims, w[1], attrs->group), channels = dim_floor_div(dims, x[1], attrs->group);
    if (x[1] != w[0] || x[1] != dim_mul(dims, channels, attrs->group) ||
        !input_has_shape(problem, 2, 1, &outputs))
        return "channels that may differ from the weights'";
    const char *why = refuse_unless_plain(problem, 1);
    return why != NULL ? why : refuse_unless_floats(problem);
}

/* Padding that an output shape or auto_pad implies. */
static void set_padding(DimTable *dims, const TransposeAttrs *attrs, int32_t axes, WindowDims *window) {
    bool same =
        attrs->window.auto_pad == AUTO_PAD_SAME_UPPER || attrs->window.auto_pad == AUTO_PAD_SAME_LOWER;
    for (int32_t i = WINDOW_AXES - axes; i < WINDOW_AXES; ++i) {
        int32_t own = i - (WINDOW_AXES - axes);
        window->pad[i] = attrs->window.auto_pad == AUTO_PAD_VALID ? 0 : attrs->window.pad_begin[own];
        if (!attrs->has_shape && !same) continue;
        Dim steps = dim_mul(dims, dim_sub(dims, window->in[i], 1), window->stride[i]);
        Dim reach = dim_mul(dims, dim_sub(dims, window->kernel[i], 1), window->dilation[i]);
        Dim full = dim_add(dims, dim_add(dims, steps, reach), attrs->output_padding[own] + 1);
        Dim total = dim_max(dims, 0, dim_sub(dims, full, window->out[i]));
        Dim half = dim_floor_div(dims, total, 2);
        window->pad[i] = attrs->window.auto_pad == AUTO_PAD_SAME_UPPER ? half : dim_sub(dims, total, half);
    }
}

TransposedText transposed_describe(const Problem *problem) {
    DimTable *dims = problem->graph->dims;
    const TransposeAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *x = &problem_input(problem, 0)->shape, *w = &problem_input(problem, 1)->shape;
    TransposedText text = {.groups = attrs->group, .batch = x->dim[0], .outputs = w->dim[1]};
    text.window = window_dims(dims, &attrs->window, w->dim + 2, x, &problem_output(problem, 0)->shape);
    text.channels = dim_floor_div(dims, x->dim[1], attrs->group);
    set_padding(dims, attrs, x->rank - 2, &text.window);
    return text;
}

const char *transposed_arguments(KernelWriter *w, const TransposedText *text) {
    const Node *node = problem_anchor(kernel_emission(w)->problem);
    return kernel_format(w, "%s, %s, %s, %s, %s, %s, %s, %s", kernel_pointer(w, node->inputs[0]),
                         kernel_pointer(w, node->inputs[1]), strides_text(w, node->inputs[0]),
                         window_text(w, &text->window),
                         conv_sizes_text(w, text->batch, text->groups, text->channels, text->outputs),
                         numbering_text(w, node->outputs[0]),
                         bias_text(w, anchor_input(kernel_emission(w)->problem, 2)), kernel_epilogue(w));
}
