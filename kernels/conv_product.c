#include "kernels/conv_product.h"

#include "kernels/access.h"
#include "kernels/planes_text.h"

int32_t conv_axes(const Problem *problem, const ConvText *conv) {
    return problem_value(problem, conv->x)->shape.rank - 2;
}

/* Channels lie one behind the other, everything else at multiples of `width` elements. */
static const char *input_refuses(const Problem *problem, ValueId x, int32_t width) {
    const Value *value = problem_value(problem, x);
    Dim strides[SMELT_MAX_RANK];
    value_strides(problem->graph, x, strides);
    if (strides[1] != 1) return "an input that is not channels-last";
    if (!access_value_is_aligned(value)) return "an input that does not begin at a multiple of 16 bytes";
    for (int32_t i = 0; i < value->shape.rank; ++i)
        if (i != 1 && dim_divisor(problem->graph->dims, strides[i]) % width != 0)
            return "channels that do not fill whole copies";
    return NULL;
}

bool conv_turns_weights(const Problem *problem, const ConvText *conv) {
    return conv->window.taps != 1 && problem_value(problem, conv->w)->layout == LAYOUT_PLAIN;
}

static const char *weights_refuse(const Problem *problem, const ConvText *conv, int32_t width) {
    const Value *w = problem_value(problem, conv->w);
    if (!value_is_exact(w) || w->strides != NULL || w->channel_padding != 0)
        return "weights of unknown size or that are a slice";
    if (w->shape.dim[1] % width != 0) return "channels that do not fill whole copies";
    if (w->shape.dim[0] < 1) return "no output channels";
    if (w->data == NULL && conv_turns_weights(problem, conv)) return "weights that are computed";
    if (!access_value_is_aligned(w)) return "weights that do not begin at a multiple of 16 bytes";
    return NULL;
}

const char *conv_product_refuses(const Problem *problem, int32_t width, ConvText *conv) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_Conv) return "not a convolution";
    const char *why = conv_shapes_refuse(problem);
    if (why != NULL) return why;
    *conv = conv_describe(problem);
    if (conv->bias != NONE && !value_is_plain(problem_value(problem, conv->bias)))
        return "a bias that is a slice";
    why = input_refuses(problem, conv->x, width);
    return why != NULL ? why : weights_refuse(problem, conv, width);
}

/* Rows of each image where the result's columns are planes, 0 where they lie in its rows. */
static Dim plane_of(const Problem *problem, const ConvText *conv) {
    const Value *y = problem_output(problem, 0);
    if (y->layout == LAYOUT_CHANNELS_LAST || conv->window.out_count == 1) return 0;
    return y->shape.dim[1] == 1 ? 0 : conv->window.out_count;
}

SumsText conv_sums(const Problem *problem, const ConvText *conv) {
    return (SumsText){.rows = dim_mul(problem->graph->dims, conv->batch, conv->window.out_count),
                      .cols = conv->outputs,
                      .groups = conv->groups,
                      .pixels = plane_of(problem, conv)};
}

const char *conv_scale(KernelWriter *w, const ConvText *conv) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    return sum_scale(w, 1, 1, conv->bias, dim_mul(dims, conv->outputs, conv->groups),
                     conv->outputs % EPILOGUE_LANES == 0);
}

bool conv_reads(const Problem *problem, const ConvText *conv) {
    return problem->input_count > (conv->bias != NONE ? 3 : 2) + planes_inputs(problem);
}

bool conv_has_moments(const Problem *problem, const ConvText *conv) {
    SumsText sums = conv_sums(problem, conv);
    bool ends = problem->nodes[problem->node_count - 1] == problem->anchor;
    return ends && dim_is_exact(conv->batch) && dim_is_exact(sums.rows) && sums.groups == 1 &&
           sums_are_packs(problem, &sums);
}
