/* Convolutions of each channel by itself in channels-last layout: a thread computes eight channels of a few
 * places whose windows overlap. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/conv_text.h"

enum {
    THREADS = 128, /* depthwise.cuh's DEPTHWISE_THREADS */
    LANES = EPILOGUE_LANES,
    PACK_REGISTERS = LANES / 2,
    MOST_SHARED = 40 << 10,
    MOST_KERNEL = 9,
    MOST_LAID_OUT = 25,        /* taps of a window */
    LEAST_THREADS_PER_SM = 96, /* below which threads compute fewer places each */
    MOST_PACKS = 20,
    REGISTERS = 512,      /* of a thread, where a multiprocessor has one block */
    OTHER_REGISTERS = 56, /* than those of sums and what is read */
    WIDTH = 0,            /* numbers of a config */
    PACKS = 1,
    ROWS = 2,
    RESIDENT = 3 /* blocks of a multiprocessor, at least */
};

static const double SPARE_WORK = 1.08;

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
    if (conv.groups / LANES > MOST_GRID_YZ) return "more channels than a grid has blocks";
    why = refuse_unless_packs(problem);
    if (why != NULL) return why;
    const WindowDims *window = &conv.window;
    if (!is_small(window->kernel[2], MOST_KERNEL) || !is_small(window->stride[2], 2) ||
        !is_small(window->dilation[2], 4))
        return "a kernel, stride or dilation that is long";
    if (!is_small(window->taps, MOST_SHARED / (LANES * dtype_bits(w->dtype) / 8))) return "many taps";
    return NULL;
}

/* Blocks that a line of places takes, n of whose threads stand side by side. */
static double block_work(int64_t packs, int64_t n) {
    int64_t lines = THREADS / n;
    return (double)ceil_div_i64(packs, n) / (double)lines;
}

/* Threads side by side in the channels: the most of those that leave few without work, and fit in memory. */
static int32_t choose_packs(const Problem *problem, const ConvText *conv) {
    int64_t packs = conv->groups / LANES, best = 1;
    int64_t bytes = conv->window.taps * LANES * dtype_bits(problem_value(problem, conv->w)->dtype) / 8;
    double least = 0;
    for (int64_t n = 1; n <= MOST_PACKS && n * bytes <= MOST_SHARED; ++n) {
        double work = block_work(packs, n);
        if (n == 1 || work < least) least = work;
    }
    for (int64_t n = 1; n <= MOST_PACKS && n * bytes <= MOST_SHARED; ++n)
        if (block_work(packs, n) <= least * SPARE_WORK) best = n;
    return (int32_t)best;
}

/* Whether threads can take several rows, whose windows' taps are laid out one after the other. */
static bool takes_rows(const WindowDims *window) {
    return is_small(window->kernel[1], MOST_KERNEL) &&
           window->kernel[1] * window->kernel[2] <= MOST_LAID_OUT && is_small(window->stride[1], 2) &&
           window->dilation[1] == 1 && window->out[1] != 1;
}

/* Places of an image that threads compute which take so many each, those beside it included. */
static int64_t covered(const Problem *problem, const WindowDims *window, const int32_t shape[2]) {
    DimTable *dims = problem->graph->dims;
    Dim rows = dim_mul(dims, dim_ceil_div(dims, window->out[1], shape[0]), shape[0]);
    Dim columns = dim_mul(dims, dim_ceil_div(dims, window->out[2], shape[1]), shape[1]);
    return dim_at_opt(problem->graph, dim_mul(dims, window->out[0], dim_mul(dims, rows, columns)));
}

/* First the shape of four places, two or one that leaves enough threads, with the fewest places beside the
 * image. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    static const int32_t shapes[][2] = {{2, 2}, {1, 4}, {1, 2}, {1, 1}, {2, 4}, {1, 8}}; /* rows, width */
    enum { SHAPES = sizeof shapes / sizeof shapes[0], GUESSED = 4 };
    ConvText conv = conv_describe(problem);
    int64_t wanted = (int64_t)device->sm_count * LEAST_THREADS_PER_SM;
    int64_t lines = dim_at_opt(problem->graph, conv.batch) * (conv.groups / LANES), least = 0;
    int32_t packs = choose_packs(problem, &conv), count = 0, best = 0, size = 0;
    for (int32_t i = 0; i < SHAPES; ++i) {
        int32_t own = shapes[i][0] * shapes[i][1];
        int64_t places = covered(problem, &conv.window, shapes[i]);
        if (shapes[i][0] > 1 && !takes_rows(&conv.window)) continue;
        bool enough = lines * places / own >= wanted || own == 1;
        if (i < GUESSED && enough && (own > size || (own == size && places < least))) {
            best = count;
            size = own;
            least = places;
        }
        for (int32_t resident = 3; resident <= 4; ++resident)
            out[count++] = (Config){
                .count = 4,
                .number = {shapes[i][1], packs, shapes[i][0], i < GUESSED ? resident : resident - 1}};
    }
    config_prefer(out, best);
    return count;
}

/* "DepthwiseTile<8, 1, 4, 16, 9, 3, 1, 3, 1, 1, 18>" */
static const char *tile_text(KernelWriter *w, const WindowDims *window, const Config *config) {
    int32_t rows = config->number[ROWS], sums = rows * config->number[WIDTH] * LANES;
    int32_t spare = REGISTERS / config->number[RESIDENT] - OTHER_REGISTERS - sums;
    return kernel_format(w, "DepthwiseTile<%d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d>", LANES, rows,
                         config->number[WIDTH], config->number[PACKS], (int)window->taps,
                         (int)window->kernel[1], rows > 1 ? (int)window->stride[1] : 1,
                         (int)window->kernel[2], (int)window->stride[2], (int)window->dilation[2],
                         spare > 0 ? spare / PACK_REGISTERS : 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    ConvText conv = conv_describe(problem);
    const WindowDims *window = &conv.window;
    DimTable *dims = emission->graph->dims;
    int32_t packs = config->number[PACKS];
    bool constant = inputs_are_constant(problem, problem_anchor(problem), 1);
    KernelWriter *w = kernel_begin(emission, "conv_depthwise");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "depthwise.cuh");
    kernel_waits(w);
    kernel_resident(w, config->number[RESIDENT]);
    kernel_line(w, "depthwise_packs<%s, %s>(%s, %s, %s, %s, %s, %s, %s, %s);", tile_text(w, window, config),
                constant ? "true" : "false", kernel_pointer(w, conv.x), kernel_pointer(w, conv.w),
                strides_text(w, conv.x), window_text(w, window), kernel_number(w, conv.batch),
                kernel_number(w, conv.groups), bias_text(w, conv.bias), kernel_pack_epilogue(w, LANES));
    Dim rows = dim_mul(dims, dim_mul(dims, conv.batch, window->out[0]),
                       dim_ceil_div(dims, window->out[1], config->number[ROWS]));
    Dim tiles = dim_mul(dims, rows, dim_ceil_div(dims, window->out[2], config->number[WIDTH]));
    /* As many blocks as are there at a time: each turns its weights once. */
    int64_t groups = ceil_div_i64(conv.groups, packs * LANES);
    int64_t blocks = ceil_div_i64((int64_t)device->sm_count * config->number[RESIDENT], groups);
    return kernel_finish(w, dim_min(dims, dim_ceil_div(dims, tiles, THREADS / packs), blocks), groups, 1,
                         THREADS, 0);
}

const Tactic tactic_conv_depthwise = {.name = "conv_depthwise",
                                      .version = 2,
                                      .strided = true,
                                      .refuses = refuses,
                                      .configs = configs,
                                      .emit = emit};
