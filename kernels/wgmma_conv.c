#include "kernels/wgmma_conv.h"

#include "ir/cost.h"

enum { VECTOR = 8 /* elements of 16 bytes: strides are multiples of them */ };

int32_t wgmma_conv_axes(const Problem *problem, const ConvText *conv) {
    return problem_value(problem, conv->x)->shape.rank - 2;
}

/* Channels lie one behind the other, everything else at multiples of 16 bytes. */
static const char *input_refuses(const Problem *problem, ValueId x) {
    const Value *value = problem_value(problem, x);
    Dim strides[SMELT_MAX_RANK];
    value_strides(problem->graph, x, strides);
    if (strides[1] != 1) return "an input that is not channels-last";
    if (!access_value_is_aligned(value)) return "an input that does not begin at a multiple of 16 bytes";
    for (int32_t i = 0; i < value->shape.rank; ++i)
        if (i != 1 && (!dim_is_exact(strides[i]) || strides[i] % VECTOR != 0))
            return "channels that are no multiple of 8";
    return NULL;
}

/* Constants are turned when the plan is made, others must lie as they are wanted. */
static bool turns_weights(const Problem *problem, const ConvText *conv) {
    return conv->window.taps != 1 && problem_value(problem, conv->w)->layout == LAYOUT_PLAIN;
}

static const char *weights_refuse(const Problem *problem, const ConvText *conv) {
    const Value *w = problem_value(problem, conv->w);
    if (!value_is_exact(w) || w->strides != NULL || w->channel_padding != 0)
        return "weights of unknown size or that are a slice";
    if (w->shape.dim[1] % VECTOR != 0) return "channels that are no multiple of 8";
    if (w->shape.dim[0] < 1) return "no output channels";
    if (w->data == NULL && turns_weights(problem, conv)) return "weights that are computed";
    if (!access_value_is_aligned(w)) return "weights that do not begin at a multiple of 16 bytes";
    return NULL;
}

Dim wgmma_conv_plane(const Problem *problem, const ConvText *conv) {
    const Value *y = problem_output(problem, 0);
    if (y->layout == LAYOUT_CHANNELS_LAST || conv->window.out_count == 1) return 0;
    return conv->outputs == 1 ? 0 : conv->window.out_count;
}

const char *wgmma_conv_refuses(const Problem *problem, ConvText *conv) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_Conv) return "not a convolution";
    const char *why = conv_shapes_refuse(problem);
    if (why != NULL) return why;
    *conv = conv_describe(problem);
    why = wgmma_refuses(problem_value(problem, conv->x)->dtype, problem_value(problem, conv->w)->dtype);
    if (why == NULL && conv->groups != 1) why = "groups";
    if (why == NULL && conv->bias != NONE && !value_is_plain(problem_value(problem, conv->bias)))
        why = "a bias that is a slice";
    if (why == NULL) why = input_refuses(problem, conv->x);
    return why != NULL ? why : weights_refuse(problem, conv);
}

WgmmaProblem wgmma_conv_product(const Problem *problem, const ConvText *conv) {
    DimTable *dims = problem->graph->dims;
    WgmmaProblem product = {.rows = dim_mul(dims, conv->batch, conv->window.out_count),
                            .cols = conv->outputs,
                            .batch = 1,
                            .depth = conv->channels,
                            .runs = conv->window.taps,
                            .spread = conv->outputs % 32 == 0,
                            .reads = problem->input_count > (conv->bias != NONE ? 3 : 2),
                            .bytes = wgmma_bytes(problem),
                            .known_cols = conv->outputs,
                            .known_batch = 1};
    int64_t rows = dim_at_opt(problem->graph, product.rows);
    product.known_rows = rows > 0 ? rows : 1;
    return product;
}

KernelMap wgmma_conv_weights(const Emission *emission, const ConvText *conv, int32_t depth, int32_t cols,
                             bool spread) {
    DimTable *dims = emission->graph->dims;
    Dim line = dim_mul(dims, conv->channels, conv->window.taps);
    KernelMap map = wgmma_spread_map(dims, depth, cols, conv->w, conv->outputs, line, line);
    if (!spread)
        map = (KernelMap){.value = conv->w,
                          .rank = 3,
                          .swizzle = 2 * depth,
                          .dim = {conv->channels, conv->window.taps, conv->outputs},
                          .stride = {1, conv->channels, line},
                          .box = {depth, 1, cols}};
    map.channels_last = turns_weights(emission->problem, conv);
    return map;
}
