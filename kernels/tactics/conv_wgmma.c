/* Convolutions of channels-last tensors in half precision or TF32 on sm_90a's matrix units: the copy engine
 * gathers the windows. */
#include "base/checked.h"
#include "kernels/planes_text.h"
#include "kernels/wgmma_conv.h"

enum { MOST_STEP = 8 };

/* What the copy engine can do, by the number of spatial axes. */
typedef struct Reach {
    int32_t corner, offset; /* corners from -corner - 1 to corner; offsets of taps up to this */
} Reach;
static const Reach reach[WINDOW_AXES] = {{32767, 65535}, {127, 255}, {15, 31}};

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

/* Rows of the product are places of the input. */
static bool is_pointwise(const WindowDims *window) {
    bool all = window->taps == 1;
    for (int32_t i = 0; i < WINDOW_AXES; ++i)
        all = all && window->stride[i] == 1 && window->pad[i] == 0 && window->in[i] == window->out[i];
    return all;
}

static const char *refuses(const Problem *problem, const Device *device) {
    ConvText conv;
    const char *why = wgmma_conv_refuses(problem, &conv);
    (void)device;
    if (why != NULL) return why;
    if (problem_front_planes(problem) != NULL && (conv.groups != 1 || !is_pointwise(&conv.window)))
        return "a normalisation of windows or groups, which would be done for each";
    SumsText sums = conv_sums(problem, &conv);
    if (problem->normalization != NONE && (conv.groups != 1 || !sums_are_packs(problem, &sums)))
        return "a normalisation of groups or single channels behind";
    return window_refuses(&conv.window, conv_axes(problem, &conv));
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    ConvText conv = conv_describe(problem);
    WgmmaProblem product = wgmma_conv_product(problem, &conv);
    return wgmma_configs(device, &product, out);
}

static KernelMap map_input(const Emission *emission, const ConvText *conv, const Config *config) {
    int32_t axes = conv_axes(emission->problem, conv), depth = config->number[WGMMA_DEPTH];
    KernelMap map = {.value = conv->x,
                     .rank = axes + 2,
                     .swizzle = wgmma_line(wgmma_element(emission->problem), depth),
                     .windows = true};
    Dim strides[SMELT_MAX_RANK];
    value_strides(emission->graph, conv->x, strides);
    map.dim[0] = dim_mul(emission->graph->dims, conv->channels, conv->groups);
    map.stride[0] = 1;
    map.box[0] = depth;
    map.pixels = wgmma_copied_rows(config);
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

/* "WgmmaWindow<2>{{56, 56}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 64, 64}" */
static const char *window_numbers(KernelWriter *w, const ConvText *conv, int32_t axes) {
    const WindowDims *window = &conv->window;
    int32_t first = WINDOW_AXES - axes;
    return kernel_format(
        w, "WgmmaWindow<%d>{%s, %s, %s, %s, %s, %s, %s}", axes, extents_text(w, window->out + first, axes),
        extents_text(w, window->kernel + first, axes), extents_text(w, window->stride + first, axes),
        extents_text(w, window->dilation + first, axes), extents_text(w, window->pad + first, axes),
        kernel_number(w, conv->channels), kernel_number(w, conv->outputs));
}

/* -- moments of the result -- */

/* Blocks that have tiles of one entry and the same columns leave them once, others for each tile. */
static bool leaves_each(const WgmmaProblem *product, const ConvText *conv, const Config *config) {
    return conv->batch > 1 || product->cols > config->number[WGMMA_COLS];
}

/* Threads of three warpgroups have fewer registers. */
static bool make_room(const Device *device, const WgmmaProblem *product, Config *config) {
    const int32_t *n = config->number;
    return n[WGMMA_WARPGROUPS] <= 2 && sum_moments_fit(n[WGMMA_REPEAT], n[WGMMA_COLS], n[WGMMA_RESIDENT]) &&
           wgmma_make_room(device, product, config, sum_moments_shared());
}

static int64_t moment_parts(const Problem *problem, const Device *device, const Config *config) {
    ConvText conv = conv_describe(problem);
    WgmmaProblem product = wgmma_conv_product(problem, &conv);
    Config own = *config;
    if (!conv_has_moments(problem, &conv) || conv.batch < 1 || config->number[WGMMA_SLICES] > 1) return 0;
    int64_t rows = product.rows / conv.batch;
    if (conv.batch > 1 && rows % wgmma_rows(config) != 0) return 0;
    if (!make_room(device, &product, &own)) return 0;
    return sum_moment_parts(ceil_div_i64(rows, wgmma_rows(config)),
                            (int64_t)device->sm_count * config->number[WGMMA_RESIDENT],
                            leaves_each(&product, &conv, config));
}

/* -- text -- */

static Status emit(const Config *chosen, const Device *device, Emission *emission) {
    ConvText conv = conv_describe(emission->problem);
    WgmmaProblem product = wgmma_conv_product(emission->problem, &conv);
    Config own = *chosen;
    const Config *config = &own;
    if (emission->leaves_parts > 0) (void)make_room(device, &product, &own);
    int32_t axes = conv_axes(emission->problem, &conv);
    KernelMap x = map_input(emission, &conv, config);
    KernelMap weights = wgmma_conv_weights(emission, &conv, config->number[WGMMA_DEPTH],
                                           wgmma_copied_cols(config), wgmma_spreads(&product, config));
    TRY(front_planes_begin(emission, device));
    KernelWriter *w = kernel_begin(emission, "conv_wgmma");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "wgmma_conv.cuh");
    wgmma_declare_tile(w, &product, config, emission->graph->values[conv.x].dtype);
    const char *maps = kernel_format(w, "%s, %s", kernel_map(w, &x), kernel_map(w, &weights));
    const char *load =
        kernel_format(w, "WgmmaWindows<Tile, %d>{%s, %s}", axes, maps, window_numbers(w, &conv, axes));
    SumsText sums = conv_sums(emission->problem, &conv);
    product.moments = sum_moments(w, conv.batch, conv.outputs, leaves_each(&product, &conv, config));
    product.normal = front_planes_normal(w, device, "NormalDrop{}");
    return wgmma_finish(w, device, &product, config, load, sum_store(w, &sums, conv_scale(w, &conv)));
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    ConvText conv = conv_describe(problem);
    WgmmaProblem product = wgmma_conv_product(problem, &conv);
    return wgmma_cost(device, &product, config) + front_planes_cost(problem, device);
}

const Tactic tactic_conv_wgmma = {.name = "conv_wgmma",
                                  .version = 7,
                                  .strided = true,
                                  .normalizes_planes = true,
                                  .normalizes_results = true,
                                  .arch = "sm_90a",
                                  .refuses = refuses,
                                  .configs = configs,
                                  .emit = emit,
                                  .cost = cost,
                                  .moment_parts = moment_parts,
                                  .finds_moments = front_planes_cost};
