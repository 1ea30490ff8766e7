#include "kernels/window_text.h"

#include "kernels/chain.h"

#include <stdarg.h>

/* Padding before one axis as auto_pad gives it for the extents of input, output and one window. */
static Dim padding_before(DimTable *dims, AutoPad auto_pad, const WindowDims *window, int32_t axis,
                          Dim *end) {
    Dim reach = dim_mul(dims, dim_sub(dims, window->kernel[axis], 1), window->dilation[axis]);
    Dim last = dim_mul(dims, dim_sub(dims, window->out[axis], 1), window->stride[axis]);
    Dim missing = dim_sub(dims, dim_add(dims, dim_add(dims, last, reach), 1), window->in[axis]);
    Dim total = auto_pad == AUTO_PAD_VALID ? 0 : dim_max(dims, 0, missing);
    Dim half = dim_floor_div(dims, total, 2), rest = dim_sub(dims, total, half);
    *end = auto_pad == AUTO_PAD_SAME_LOWER ? half : rest;
    return auto_pad == AUTO_PAD_SAME_LOWER ? rest : half;
}

WindowDims window_dims(DimTable *dims, const WindowAttrs *attrs, const Dim *kernel, const Shape *input,
                       const Shape *output) {
    WindowDims window = {.in_count = 1, .out_count = 1, .taps = 1};
    int32_t missing = WINDOW_AXES - (input->rank - 2);
    for (int32_t i = 0; i < WINDOW_AXES; ++i) {
        window.in[i] = window.out[i] = window.kernel[i] = window.stride[i] = window.dilation[i] = 1;
        if (i < missing) continue;
        int32_t own = i - missing;
        window.in[i] = input->dim[2 + own];
        window.out[i] = output->dim[2 + own];
        window.kernel[i] = kernel[own];
        window.stride[i] = attrs->stride[own];
        window.dilation[i] = attrs->dilation[own];
        window.pad[i] = attrs->pad_begin[own];
        window.pad_end[i] = attrs->pad_end[own];
        if (attrs->auto_pad != AUTO_PAD_NONE)
            window.pad[i] = padding_before(dims, attrs->auto_pad, &window, i, &window.pad_end[i]);
        window.in_count = dim_mul(dims, window.in_count, window.in[i]);
        window.out_count = dim_mul(dims, window.out_count, window.out[i]);
        window.taps = dim_mul(dims, window.taps, window.kernel[i]);
    }
    return window;
}

const char *kernel_format(KernelWriter *w, const char *format, ...) {
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    va_list arguments;
    va_start(arguments, format);
    write_format_list(&text, format, arguments);
    va_end(arguments);
    write_u8(&text, 0);
    return kernel_text(w, text.failed ? NULL : (const char *)text.data);
}

const char *extents_text(KernelWriter *w, const Dim *extents, int32_t count) {
    const char *text = "{";
    for (int32_t i = 0; i < count; ++i)
        text = kernel_format(w, "%s%s%s", text, i > 0 ? ", " : "", kernel_number(w, extents[i]));
    return kernel_format(w, "%s}", text);
}

const char *window_text(KernelWriter *w, const WindowDims *window) {
    return kernel_format(
        w, "Window{%s, %s, %s, %s, %s, %s}", extents_text(w, window->in, WINDOW_AXES),
        extents_text(w, window->out, WINDOW_AXES), extents_text(w, window->kernel, WINDOW_AXES),
        extents_text(w, window->stride, WINDOW_AXES), extents_text(w, window->dilation, WINDOW_AXES),
        extents_text(w, window->pad, WINDOW_AXES));
}

static const char *axes_text(KernelWriter *w, int32_t rank, const Dim own[SMELT_MAX_RANK]) {
    int32_t missing = WINDOW_AXES - (rank - 2);
    Dim axes[WINDOW_AXES] = {0};
    for (int32_t i = missing; i < WINDOW_AXES; ++i) axes[i] = own[2 + i - missing];
    return kernel_format(w, "Strides{%s, %s, %s}", kernel_number(w, own[0]), kernel_number(w, own[1]),
                         extents_text(w, axes, WINDOW_AXES));
}

const char *strides_text(KernelWriter *w, ValueId value) {
    const Graph *graph = kernel_emission(w)->graph;
    Dim own[SMELT_MAX_RANK] = {0};
    value_strides(graph, value, own);
    return axes_text(w, graph->values[value].shape.rank, own);
}

const char *number_strides_text(KernelWriter *w, ValueId value) {
    const Graph *graph = kernel_emission(w)->graph;
    Dim own[SMELT_MAX_RANK] = {0};
    access_number_strides(graph, value, own);
    return axes_text(w, graph->values[value].shape.rank, own);
}

bool channels_are_inner(const Value *value) {
    return value->layout == LAYOUT_CHANNELS_LAST && value->shape.rank > 2;
}

const char *numbering_text(KernelWriter *w, ValueId value) {
    const Value *row = &kernel_emission(w)->graph->values[value];
    Shape places = row->shape;
    places.dim[0] = places.dim[1] = 1;
    return kernel_format(w, "Numbering<%s>{%s, %s}", channels_are_inner(row) ? "true" : "false",
                         kernel_number(w, row->shape.dim[1]),
                         kernel_number(w, shape_count(kernel_emission(w)->graph->dims, &places)));
}

const char *refuse_unless_packs(const Problem *problem) {
    const Value *x = problem_input(problem, 0), *y = problem_output(problem, 0);
    if (x == NULL || y == NULL || !channels_are_inner(x) || !channels_are_inner(y))
        return "values that are not in channels-last layout";
    if (!dtype_is_float(x->dtype) || !dtype_is_float(y->dtype) || x->dtype == DTYPE_F64 ||
        y->dtype == DTYPE_F64)
        return "elements that are no narrow floats";
    Access access = access_value(problem->graph, problem_anchor(problem)->inputs[0], &x->shape, x->layout);
    if (problem_has_front(problem) || !access_is_packed(&access, EPILOGUE_LANES) ||
        !access_value_is_aligned(x) || problem_epilogue_lanes(problem) != EPILOGUE_LANES)
        return "channels that are no packs of eight";
    return NULL;
}

const char *refuse_unless_plain(const Problem *problem, int32_t first) {
    const Node *anchor = problem_anchor(problem);
    for (int32_t i = first; i < anchor->input_count; ++i)
        if (anchor->inputs[i] != NONE && !value_is_plain(problem_input(problem, i)))
            return "weights or the like that are slices or in channels-last layout";
    return NULL;
}

int64_t value_known_count(const Value *value) {
    return value_is_exact(value) ? value_count(value) : -1;
}

bool is_quantizer(const Value *value, Dim lines) {
    int64_t count = value_known_count(value);
    return count == 1 || (count >= 0 && dim_is_exact(lines) && count == lines);
}

const char *zero_point_text(KernelWriter *w, ValueId id) {
    if (id == NONE) return "NoZero{}";
    const Value *value = &kernel_emission(w)->graph->values[id];
    return kernel_format(w, "ZeroPoint<%s>{%s, %d}", cuda_type(value->dtype), kernel_pointer(w, id),
                         value_known_count(value) == 1 ? 0 : 1);
}

const char *refuse_types(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    const char *why = NULL;
    for (int32_t i = 0; why == NULL && i < anchor->input_count; ++i)
        if (anchor->inputs[i] != NONE) why = cuda_type_refusal(problem_input(problem, i)->dtype);
    for (int32_t i = 0; why == NULL && i < anchor->output_count; ++i)
        if (anchor->outputs[i] != NONE) why = cuda_type_refusal(problem_output(problem, i)->dtype);
    return why;
}

const char *refuse_unless_floats(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    const char *why = refuse_types(problem);
    for (int32_t i = 0; why == NULL && i < anchor->input_count; ++i)
        if (anchor->inputs[i] != NONE && !dtype_is_float(problem_input(problem, i)->dtype))
            why = "an input that is not floating-point";
    return why;
}

bool input_has_rank(const Problem *problem, int32_t input, int32_t low, int32_t high) {
    const Value *value = problem_input(problem, input);
    return value != NULL && value->shape.rank >= low && value->shape.rank <= high;
}

bool output_ranks_like(const Problem *problem, int32_t input) {
    const Value *from = problem_input(problem, input), *to = problem_output(problem, 0);
    return from != NULL && to != NULL && from->shape.rank == to->shape.rank;
}

bool input_has_shape(const Problem *problem, int32_t input, int32_t rank, const Dim *dims) {
    const Value *value = problem_input(problem, input);
    if (value == NULL) return true;
    if (value->shape.rank != rank) return false;
    for (int32_t i = 0; i < rank; ++i)
        if (value->shape.dim[i] != dims[i]) return false;
    return true;
}

ValueId anchor_input(const Problem *problem, int32_t i) {
    const Node *anchor = problem_anchor(problem);
    return i < anchor->input_count ? anchor->inputs[i] : NONE;
}

bool inputs_are_constant(const Problem *problem, const Node *node, int32_t first) {
    for (int32_t i = first; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && problem_value(problem, node->inputs[i])->data == NULL) return false;
    return true;
}

const char *float_type(DType dtype) {
    return dtype == DTYPE_F64 ? "double" : "float";
}

int32_t only_config(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    (void)problem;
    (void)device;
    out[0] = (Config){.count = 0};
    return 1;
}
