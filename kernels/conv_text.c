#include "kernels/conv_text.h"

#include "kernels/chain.h"
#include "kernels/planes_text.h"

enum { LONGEST_INT_SUM = 33000 /* products of two numbers below 256 in an int */ };

static const char *refuse_quantizers(const Problem *problem, const ConvText *conv) {
    const ValueId whole[] = {conv->x_zero, conv->y_zero, conv->x_scale, conv->y_scale};
    const ValueId channels[] = {conv->w_zero, conv->w_scale};
    Dim outputs = problem_value(problem, conv->w)->shape.dim[0];
    for (int i = 0; i < 4; ++i)
        if (whole[i] != NONE && !is_quantizer(problem_value(problem, whole[i]), 1))
            return "a quantizer of unknown size";
    for (int i = 0; i < 2; ++i)
        if (channels[i] != NONE && !is_quantizer(problem_value(problem, channels[i]), outputs))
            return "a quantizer of unknown size";
    return NULL;
}

static bool channels_fit(const Problem *problem, const ConvText *conv) {
    DimTable *dims = problem->graph->dims;
    Dim outputs = problem_value(problem, conv->w)->shape.dim[0];
    Dim channels = problem_value(problem, conv->x)->shape.dim[1];
    bool bias_fits = conv->bias == NONE || problem_value(problem, conv->bias)->shape.dim[0] == outputs;
    return bias_fits && channels == dim_mul(dims, conv->channels, conv->groups) &&
           outputs == dim_mul(dims, conv->outputs, conv->groups);
}

const char *conv_shapes_refuse(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || (node->op != OP_Conv && node->op != OP_ConvInteger && node->op != OP_QLinearConv))
        return "not a convolution";
    const char *why = refuse_types(problem);
    if (why != NULL) return why;
    int32_t weights = node->op == OP_QLinearConv ? 3 : 1;
    if (!input_has_rank(problem, 0, 3, 2 + WINDOW_AXES) || !output_ranks_like(problem, 0) ||
        !output_ranks_like(problem, weights))
        return "ranks that do not fit";
    ConvText conv = conv_describe(problem);
    return channels_fit(problem, &conv) ? NULL : "channels that may differ from the weights'";
}

const char *conv_refuses(const Problem *problem) {
    const char *why = conv_shapes_refuse(problem);
    if (why == NULL) why = refuse_unless_plain(problem, 1);
    if (why != NULL) return why;
    ConvText conv = conv_describe(problem);
    why = refuse_quantizers(problem, &conv);
    return why != NULL ? why : pool_behind_refuses(problem);
}

static void describe_inputs(const Problem *problem, ConvText *out) {
    OpId op = problem_anchor(problem)->op;
    if (op == OP_Conv) out->bias = anchor_input(problem, 2);
    if (op == OP_ConvInteger) {
        out->x_zero = anchor_input(problem, 2);
        out->w_zero = anchor_input(problem, 3);
    }
    if (op != OP_QLinearConv) return;
    out->x_scale = anchor_input(problem, 1);
    out->x_zero = anchor_input(problem, 2);
    out->w = anchor_input(problem, 3);
    out->w_scale = anchor_input(problem, 4);
    out->w_zero = anchor_input(problem, 5);
    out->y_scale = anchor_input(problem, 6);
    out->y_zero = anchor_input(problem, 7);
    out->bias = anchor_input(problem, 8);
}

ConvText conv_describe(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const ConvAttrs *attrs = node->parsed;
    DimTable *dims = problem->graph->dims;
    ConvText conv = {.x = problem_read_input(problem),
                     .w = node->inputs[1],
                     .bias = NONE,
                     .x_zero = NONE,
                     .w_zero = NONE,
                     .y_zero = NONE,
                     .x_scale = NONE,
                     .w_scale = NONE,
                     .y_scale = NONE,
                     .groups = attrs->group};
    describe_inputs(problem, &conv);
    const Value *x = problem_value(problem, conv.x);
    const Shape *w = &problem_value(problem, conv.w)->shape;
    conv.window =
        window_dims(dims, &attrs->window, w->dim + 2, &x->shape, &problem_output(problem, 0)->shape);
    conv.batch = x->shape.dim[0];
    conv.channels = w->dim[1];
    conv.outputs = dim_floor_div(dims, w->dim[0], attrs->group);
    Dim depth = dim_mul(dims, conv.channels, conv.window.taps);
    if (dtype_is_float(x->dtype))
        conv.type = float_type(x->dtype);
    else
        conv.type = dim_is_exact(depth) && depth <= LONGEST_INT_SUM ? "int" : "long long";
    return conv;
}

const char *conv_sizes_text(KernelWriter *w, Dim batch, int64_t groups, Dim channels, Dim outputs) {
    return kernel_format(w, "ConvSizes{%s, %s, %s, %s}", kernel_number(w, batch), kernel_number(w, groups),
                         kernel_number(w, channels), kernel_number(w, outputs));
}

const char *bias_text(KernelWriter *w, ValueId bias) {
    if (bias == NONE) return "PlainSum{}";
    return kernel_format(w, "AddBias<%s>{%s}", cuda_type(kernel_emission(w)->graph->values[bias].dtype),
                         kernel_pointer(w, bias));
}

/* "Requantize<AddBias<int>, float, float, float, signed char>{AddBias<int>{p8}, p1, p4, 0, p6, p7}" */
static const char *requantize_text(KernelWriter *w, const ConvText *conv) {
    const Value *values = kernel_emission(w)->graph->values;
    const char *bias = conv->bias == NONE
                           ? "PlainSum"
                           : kernel_format(w, "AddBias<%s>", cuda_type(values[conv->bias].dtype));
    return kernel_format(w, "Requantize<%s, %s, %s, %s, %s>{%s, %s, %s, %d, %s, %s}", bias,
                         cuda_type(values[conv->x_scale].dtype), cuda_type(values[conv->w_scale].dtype),
                         cuda_type(values[conv->y_scale].dtype), cuda_type(values[conv->y_zero].dtype),
                         bias_text(w, conv->bias), kernel_pointer(w, conv->x_scale),
                         kernel_pointer(w, conv->w_scale),
                         value_known_count(&values[conv->w_scale]) == 1 ? 0 : 1,
                         kernel_pointer(w, conv->y_scale), kernel_pointer(w, conv->y_zero));
}

const char *conv_sizes(KernelWriter *w, const ConvText *conv) {
    return conv_sizes_text(w, conv->batch, conv->groups, conv->channels, conv->outputs);
}

const char *conv_operands(KernelWriter *w, const ConvText *conv) {
    bool computed = problem_has_front(kernel_emission(w)->problem);
    const char *x = computed ? kernel_prologue(w) : kernel_pointer(w, conv->x);
    const char *strides = computed ? number_strides_text(w, conv->x) : strides_text(w, conv->x);
    return kernel_format(w, "%s, %s, %s, %s, %s, %s, %s", x, kernel_pointer(w, conv->w), strides,
                         window_text(w, &conv->window), conv_sizes(w, conv), zero_point_text(w, conv->x_zero),
                         zero_point_text(w, conv->w_zero));
}

const char *conv_results(KernelWriter *w, const ConvText *conv) {
    return kernel_format(
        w, "%s, %s, %s", numbering_text(w, problem_last(kernel_emission(w)->problem)->outputs[0]),
        conv->y_scale == NONE ? bias_text(w, conv->bias) : requantize_text(w, conv), kernel_epilogue(w));
}

const char *conv_pool(KernelWriter *w) {
    if (kernel_emission(w)->problem->pooling == NONE) return "";
    return kernel_format(w, ", %s", pool_behind_text(w));
}
