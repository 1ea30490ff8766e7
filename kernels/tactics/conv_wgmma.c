/* Convolutions of channels-last tensors in half precision on sm_90a's matrix units: the copy engine gathers
 * the windows. */
#include "ir/cost.h"
#include "kernels/conv_text.h"
#include "kernels/wgmma_text.h"

enum { VECTOR = 8 /* elements of 16 bytes: strides are multiples of them */, MOST_STEP = 8 };

/* What the copy engine can do, by the number of spatial axes. */
typedef struct Reach {
    int32_t corner, offset; /* corners from -corner - 1 to corner; offsets of taps up to this */
} Reach;
static const Reach reach[WINDOW_AXES] = {{32767, 65535}, {127, 255}, {15, 31}};

static int32_t axes_of(const Problem *problem, const ConvText *conv) {
    return problem_value(problem, conv->x)->shape.rank - 2;
}

/* The last window's first element, counted from the last element of the input. */
static int64_t last_corner(const WindowDims *window, int32_t axis) {
    return (window->out[axis] - 1) * window->stride[axis] - window->pad[axis] - (window->in[axis] - 1);
}

static bool fits(int64_t corner, int32_t most) {
    return corner >= -(int64_t)most - 1 && corner <= most;
}

static const char *window_refuses(const WindowDims *window, int32_t axes) {
    const Reach *limit = &reach[axes - 1];
    for (int32_t i = WINDOW_AXES - axes; i < WINDOW_AXES; ++i) {
        const Dim numbers[] = {window->in[i],     window->out[i],      window->kernel[i],
                               window->stride[i], window->dilation[i], window->pad[i]};
        for (int k = 0; k < 6; ++k)
            if (!dim_is_exact(numbers[k]) || numbers[k] > INT32_MAX)
                return "spatial sizes that are not known";
        if (window->in[i] < 1 || window->out[i] < 1) return "an empty image";
        if (window->stride[i] > MOST_STEP) return "strides above 8";
        if (!fits(-window->pad[i], limit->corner) || !fits(last_corner(window, i), limit->corner))
            return "windows that begin too far outside";
        if ((window->kernel[i] - 1) * window->dilation[i] > limit->offset)
            return "windows that reach too far";
    }
    return NULL;
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

/* Rows of each image where the result's columns are planes, 0 where they lie in its rows. */
static Dim plane_of(const Problem *problem, const ConvText *conv) {
    const Value *y = problem_output(problem, 0);
    if (y->layout == LAYOUT_CHANNELS_LAST || conv->window.out_count == 1) return 0;
    return conv->outputs == 1 ? 0 : conv->window.out_count;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_Conv) return "not a convolution";
    const char *why = conv_shapes_refuse(problem);
    if (why != NULL) return why;
    ConvText conv = conv_describe(problem);
    (void)device;
    why = wgmma_refuses(problem_value(problem, conv.x)->dtype, problem_value(problem, conv.w)->dtype);
    if (why == NULL && conv.groups != 1) why = "groups";
    if (why == NULL && conv.bias != NONE && !value_is_plain(problem_value(problem, conv.bias)))
        why = "a bias that is a slice";
    if (why == NULL) why = input_refuses(problem, conv.x);
    if (why == NULL) why = weights_refuse(problem, &conv);
    return why != NULL ? why : window_refuses(&conv.window, axes_of(problem, &conv));
}

static WgmmaProblem product_of(const Problem *problem, const ConvText *conv) {
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

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    ConvText conv = conv_describe(problem);
    WgmmaProblem product = product_of(problem, &conv);
    return wgmma_configs(device, &product, out);
}

static KernelMap map_input(const Emission *emission, const ConvText *conv, const Config *config) {
    int32_t axes = axes_of(emission->problem, conv), depth = config->number[WGMMA_DEPTH];
    KernelMap map = {.value = conv->x, .rank = axes + 2, .swizzle = 2 * depth, .windows = true};
    Dim strides[SMELT_MAX_RANK];
    value_strides(emission->graph, conv->x, strides);
    map.dim[0] = conv->channels;
    map.stride[0] = 1;
    map.box[0] = depth;
    map.pixels = wgmma_rows(config);
    for (int32_t i = 0; i < axes; ++i) {
        int32_t axis = WINDOW_AXES - 1 - i; /* fastest first */
        map.dim[1 + i] = conv->window.in[axis];
        map.stride[1 + i] = strides[1 + axes - i];
        map.step[i] = (int32_t)conv->window.stride[axis];
        map.low[i] = (int32_t)-conv->window.pad[axis];
        map.high[i] = (int32_t)last_corner(&conv->window, axis);
    }
    map.dim[1 + axes] = conv->batch;
    map.stride[1 + axes] = strides[0];
    return map;
}

/* As (depth, tap, output channel), or spread. */
static KernelMap map_weights(const Emission *emission, const ConvText *conv, const WgmmaProblem *product,
                             const Config *config) {
    DimTable *dims = emission->graph->dims;
    Dim line = dim_mul(dims, conv->channels, conv->window.taps);
    KernelMap map = wgmma_spread_map(dims, config, conv->w, conv->outputs, line, line);
    if (!wgmma_spreads(product, config))
        map = (KernelMap){.value = conv->w,
                          .rank = 3,
                          .swizzle = 2 * config->number[WGMMA_DEPTH],
                          .dim = {conv->channels, conv->window.taps, conv->outputs},
                          .stride = {1, conv->channels, line},
                          .box = {config->number[WGMMA_DEPTH], 1, config->number[WGMMA_COLS]}};
    map.channels_last = turns_weights(emission->problem, conv);
    return map;
}

/* "WgmmaWindow<2>{{56, 56}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 64}" */
static const char *window_numbers(KernelWriter *w, const ConvText *conv, int32_t axes) {
    const WindowDims *window = &conv->window;
    int32_t first = WINDOW_AXES - axes;
    return kernel_format(
        w, "WgmmaWindow<%d>{%s, %s, %s, %s, %s, %s}", axes, extents_text(w, window->out + first, axes),
        extents_text(w, window->kernel + first, axes), extents_text(w, window->stride + first, axes),
        extents_text(w, window->dilation + first, axes), extents_text(w, window->pad + first, axes),
        kernel_number(w, conv->channels));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ConvText conv = conv_describe(emission->problem);
    WgmmaProblem product = product_of(emission->problem, &conv);
    int32_t axes = axes_of(emission->problem, &conv);
    KernelMap x = map_input(emission, &conv, config);
    KernelMap weights = map_weights(emission, &conv, &product, config);
    KernelWriter *w = kernel_begin(emission, "conv_wgmma");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "wgmma_conv.cuh");
    wgmma_declare_tile(w, &product, config, emission->graph->values[conv.x].dtype);
    const char *maps = kernel_format(w, "%s, %s", kernel_map(w, &x), kernel_map(w, &weights));
    const char *load =
        kernel_format(w, "WgmmaWindows<Tile, %d>{%s, %s}", axes, maps, window_numbers(w, &conv, axes));
    return wgmma_finish(w, device, &product, config, load, wgmma_scale(w, 1, 1, conv.bias, conv.outputs),
                        plane_of(emission->problem, &conv));
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    ConvText conv = conv_describe(problem);
    WgmmaProblem product = product_of(problem, &conv);
    return wgmma_cost(device, &product, config);
}

const Tactic tactic_conv_wgmma = {.name = "conv_wgmma",
                                  .version = 1,
                                  .strided = true,
                                  .arch = "sm_90a",
                                  .refuses = refuses,
                                  .configs = configs,
                                  .emit = emit,
                                  .cost = cost};
