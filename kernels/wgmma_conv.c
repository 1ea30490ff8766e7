#include "kernels/wgmma_conv.h"

#include "ir/cost.h"
#include "kernels/planes_text.h"

enum {
    VECTOR = 16 /* bytes: strides are multiples of them */,
    STEP = 32 /* bytes of an instruction's depth */
};

/* Strides of tensor maps are numbers. */
static bool strides_are_known(const Problem *problem, ValueId x) {
    Dim strides[SMELT_MAX_RANK];
    bool known = true;
    value_strides(problem->graph, x, strides);
    for (int32_t i = 0; i < problem_value(problem, x)->shape.rank; ++i)
        known = known && dim_is_exact(strides[i]);
    return known;
}

const char *wgmma_conv_refuses(const Problem *problem, ConvText *conv) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_Conv) return "not a convolution";
    const char *why = wgmma_refuses(problem);
    if (why == NULL) why = conv_product_refuses(problem, VECTOR / wgmma_element(problem), conv);
    /* Behind a group's channels are those of the next. */
    if (why == NULL && conv->groups != 1 && conv->channels * wgmma_element(problem) % STEP != 0)
        why = "groups of channels that do not fill a step";
    if (why == NULL && !strides_are_known(problem, conv->x)) why = "strides that are not known";
    return why;
}

const char *wgmma_conv_boxes_refuse(const Problem *problem, int32_t most_stride, ConvText *conv) {
    const char *why = wgmma_conv_refuses(problem, conv);
    if (why != NULL) return why;
    if (problem_input(problem, 0)->dtype == DTYPE_F32) return "operands that are not fp16 or bf16";
    if (conv->groups != 1) return "groups";
    const WindowDims *window = &conv->window;
    for (int32_t i = 0; i < WINDOW_AXES; ++i) {
        const Dim numbers[] = {window->in[i], window->out[i], window->kernel[i], window->dilation[i],
                               window->pad[i]};
        for (int k = 0; k < 5; ++k)
            if (!dim_is_exact(numbers[k]) || numbers[k] > INT32_MAX / 2)
                return "spatial sizes that are not known";
        if (window->stride[i] > most_stride) return most_stride > 1 ? "strides above 2" : "strides above 1";
        if (window->in[i] < 1 || window->out[i] < 1) return "an empty image";
        if ((window->kernel[i] - 1) * window->dilation[i] >= WGMMA_MOST_BOX)
            return "windows that reach too far";
    }
    return NULL;
}

KernelMap wgmma_conv_boxes(const Emission *emission, const ConvText *conv, int32_t depth,
                           const int32_t axis[WINDOW_AXES], const int32_t box[WINDOW_AXES]) {
    enum { ELEMENT = 2 };
    int32_t lacks = WINDOW_AXES - conv_axes(emission->problem, conv);
    KernelMap map = {.value = conv->x, .rank = 5, .swizzle = ELEMENT * depth};
    Dim strides[SMELT_MAX_RANK];
    value_strides(emission->graph, conv->x, strides);
    map.dim[0] = conv->channels;
    map.stride[0] = 1;
    map.box[0] = depth;
    for (int32_t i = 0; i < WINDOW_AXES; ++i) {
        int32_t at = WINDOW_AXES - i;
        map.dim[at] = conv->window.in[axis[i]];
        map.stride[at] = axis[i] >= lacks ? strides[2 + axis[i] - lacks] : strides[0];
        map.box[at] = box[i];
    }
    map.dim[4] = conv->batch;
    map.stride[4] = strides[0];
    map.box[4] = 1;
    return map;
}

WgmmaProblem wgmma_conv_product(const Problem *problem, const ConvText *conv) {
    DimTable *dims = problem->graph->dims;
    WgmmaProblem product = {.rows = dim_mul(dims, conv->batch, conv->window.out_count),
                            .cols = conv->outputs,
                            .batch = conv->groups,
                            .depth = conv->channels,
                            .runs = conv->window.taps,
                            .element = wgmma_element(problem),
                            .spread = conv->outputs % 16 == 0,
                            .constant = problem_value(problem, conv->w)->data != NULL,
                            .alone = conv_has_moments(problem, conv) || problem->normalization != NONE,
                            .bytes = problem_bytes(problem),
                            .known_cols = conv->outputs,
                            .known_batch = conv->groups,
                            .normal_shared = front_planes_shared(problem, WGMMA_MOST_CONSUMERS),
                            .unit = behind_planes_unit(problem)};
    int64_t rows = dim_at_opt(problem->graph, product.rows);
    product.known_rows = rows > 0 ? rows : 1;
    wgmma_describe_epilogue(problem, &product);
    return product;
}

KernelMap wgmma_conv_weights(const Emission *emission, const ConvText *conv, int32_t depth, int32_t cols,
                             int32_t spread) {
    DimTable *dims = emission->graph->dims;
    Dim line = dim_mul(dims, conv->channels, conv->window.taps);
    int32_t element = wgmma_element(emission->problem);
    Dim outputs = dim_mul(dims, conv->outputs, conv->groups);
    KernelMap map = {.value = conv->w,
                     .rank = 3,
                     .swizzle = wgmma_line(element, depth),
                     .dim = {conv->channels, conv->window.taps, outputs},
                     .stride = {1, conv->channels, line},
                     .box = {depth, 1, cols}};
    if (spread > 0) map = wgmma_spread_map(dims, spread, element, depth, cols, conv->w, outputs, line, line);
    map.channels_last = conv_turns_weights(emission->problem, conv);
    return map;
}
