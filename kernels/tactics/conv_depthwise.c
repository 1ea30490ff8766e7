/* Convolutions of each channel by itself in channels-last layout: a thread computes eight channels of a few
 * places side by side. */
#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/conv_text.h"

enum {
    THREADS = 128, /* depthwise.cuh's DEPTHWISE_THREADS */
    LANES = EPILOGUE_LANES,
    MOST_SHARED = 40 << 10,
    MOST_KERNEL = 9,
    MOST_WIDTH = 8,
    LEAST_THREADS_PER_SM = 512, /* below which threads compute fewer places each */
    MOST_PACKS = 16,
    WIDTH = 0, /* numbers of a config */
    PACKS = 1
};

static bool is_small(Dim d, int64_t most) {
    return dim_is_exact(d) && d >= 1 && d <= most;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = conv_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    ConvText conv = conv_describe(problem);
    const Value *w = problem_value(problem, conv.w);
    if (problem_anchor(problem)->op != OP_Conv || !dtype_is_float(w->dtype))
        return "not a convolution of narrow floats";
    if (conv.channels != 1 || conv.outputs != 1) return "channels that are not each by itself";
    why = refuse_unless_packs(problem);
    if (why != NULL) return why;
    const WindowDims *window = &conv.window;
    if (!is_small(window->kernel[2], MOST_KERNEL) || !is_small(window->stride[2], 2) ||
        !is_small(window->dilation[2], 4))
        return "a kernel, stride or dilation that is long";
    if (!is_small(window->taps, MOST_SHARED / (LANES * dtype_bits(w->dtype) / 8))) return "many taps";
    return NULL;
}

/* Threads side by side in the channels: as many as leave the fewest without work, and fit in memory. */
static int32_t choose_packs(const Problem *problem, const ConvText *conv) {
    int64_t packs = conv->groups / LANES, best = 1;
    int64_t bytes = conv->window.taps * LANES * dtype_bits(problem_value(problem, conv->w)->dtype) / 8;
    for (int64_t n = 2; n <= MOST_PACKS && n * bytes <= MOST_SHARED; n *= 2)
        if ((packs + n - 1) / n * n * 8 <= (packs + best - 1) / best * best * 9) best = n;
    return (int32_t)best;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    ConvText conv = conv_describe(problem);
    int64_t places =
        dim_at_opt(problem->graph, dim_mul(problem->graph->dims, conv.batch, conv.window.out_count));
    int64_t wanted = (int64_t)device->sm_count * LEAST_THREADS_PER_SM;
    int32_t packs = choose_packs(problem, &conv), width = MOST_WIDTH, count = 1;
    while (width > 1 && places * (conv.groups / LANES) / width < wanted) width /= 2;
    out[0] = (Config){.count = 2, .number = {width, packs}};
    for (int32_t other = 1; other <= MOST_WIDTH; other *= 2)
        if (other != width) out[count++] = (Config){.count = 2, .number = {other, packs}};
    return count;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ConvText conv = conv_describe(emission->problem);
    const WindowDims *window = &conv.window;
    DimTable *dims = emission->graph->dims;
    int32_t width = config->number[WIDTH], packs = config->number[PACKS];
    KernelWriter *w = kernel_begin(emission, "conv_depthwise");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "depthwise.cuh");
    kernel_line(w, "depthwise_packs<%d, %d, %d, %d, %d, %d, %d>(%s, %s, %s, %s, %s, %s, %s, %s);", LANES,
                width, packs, (int)window->taps, (int)window->kernel[2], (int)window->stride[2],
                (int)window->dilation[2], kernel_pointer(w, conv.x), kernel_pointer(w, conv.w),
                strides_text(w, conv.x), window_text(w, window), kernel_number(w, conv.batch),
                kernel_number(w, conv.groups), bias_text(w, conv.bias), kernel_pack_epilogue(w, LANES));
    Dim rows = dim_mul(dims, conv.batch, dim_mul(dims, window->out[0], window->out[1]));
    Dim tiles = dim_mul(dims, rows, dim_ceil_div(dims, window->out[2], width));
    return kernel_finish(w, kernel_grid_for(emission, tiles, THREADS / packs),
                         dim_ceil_div(dims, conv.groups, packs * LANES), 1, THREADS, 0);
}

const Tactic tactic_conv_depthwise = {.name = "conv_depthwise",
                                      .version = 1,
                                      .strided = true,
                                      .refuses = refuses,
                                      .configs = configs,
                                      .emit = emit};
