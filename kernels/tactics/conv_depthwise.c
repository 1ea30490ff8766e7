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
    WIDTH = 0,            /* numbers of a config; width 0: strips on matrix units, of so many rows */
    PACKS = 1,
    BAND = 1,
    ROWS = 2,
    STAGES = 2,
    RESIDENT = 3,    /* blocks of a multiprocessor, at least */
    STRIP_WIDTH = 8, /* what depthwise_strips.cuh says */
    STRIP_CHANNELS = 32,
    STRIP_WARPS = 4,
    MOST_STRIP_TAPS = 125,
    STRIP_STAGES = 4,
    STRIP_GROUPS = 2, /* warps of a block that are side by side in the channels, at most */
    LEAST_BAND = 4
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

/* -- strips -- */

static bool takes_strips(const Problem *problem, const Device *device, const ConvText *conv) {
    const Value *x = problem_value(problem, conv->x), *w = problem_value(problem, conv->w);
    const WindowDims *window = &conv->window;
    bool narrow =
        x->dtype == w->dtype && (x->dtype == DTYPE_F16 || (x->dtype == DTYPE_BF16 && device->sm >= 80));
    for (int32_t i = 1; i < WINDOW_AXES; ++i)
        narrow = narrow && is_small(window->kernel[i], MOST_KERNEL) && is_small(window->stride[i], 2) &&
                 window->dilation[i] == 1;
    return narrow && is_small(window->taps, MOST_STRIP_TAPS);
}

static int64_t strip_shared_bytes(const WindowDims *window, int32_t stages) {
    int64_t pixels = (STRIP_WIDTH - 1) * window->stride[2] + window->kernel[2];
    int64_t row = window->kernel[0] * 2 * round_up_i64(pixels, window->stride[2]) * STRIP_CHANNELS * 2;
    return row * stages * STRIP_WARPS + window->taps * 72 * STRIP_GROUPS;
}

static int32_t strip_groups(const ConvText *conv) {
    return conv->groups > STRIP_CHANNELS ? STRIP_GROUPS : 1;
}

/* Blocks for the channels. */
static int64_t strip_columns(const ConvText *conv) {
    return ceil_div_i64(conv->groups, (int64_t)STRIP_CHANNELS * strip_groups(conv));
}

/* Blocks that do a pair of strips in each warp. */
static Dim strip_blocks(const Problem *problem, const ConvText *conv, int32_t band) {
    DimTable *dims = problem->graph->dims;
    const WindowDims *window = &conv->window;
    Dim rows =
        dim_mul(dims, dim_mul(dims, conv->batch, window->out[0]), dim_ceil_div(dims, window->out[1], band));
    return dim_ceil_div(dims, dim_mul(dims, rows, dim_ceil_div(dims, window->out[2], STRIP_WIDTH)),
                        2 * STRIP_WARPS / strip_groups(conv));
}

/* Bands of all rows, half of them, ..; *best: the shortest that lose little to the rows that they share.
 * Fitted to an H200. */
static int32_t strip_configs(const Problem *problem, const Device *device, const ConvText *conv, Config *out,
                             int32_t *best) {
    const WindowDims *window = &conv->window;
    int64_t rows = dim_at_opt(problem->graph, window->out[1]), bytes;
    int32_t count = 0;
    if (!takes_strips(problem, device, conv)) return 0;
    int32_t resident = window->taps <= MOST_LAID_OUT ? 3 : 2;
    bytes = strip_shared_bytes(window, STRIP_STAGES);
    while (resident > 1 && bytes * resident > device->shared_per_sm) --resident;
    if (bytes > device->shared_per_block) return 0;
    int64_t enough = 3 * (window->kernel[1] - 1) * (window->kernel[1] - 1) / 2;
    *best = 0;
    for (int64_t parts = 1, last = 0; parts <= rows; parts *= 2) {
        int64_t band = ceil_div_i64(rows, parts);
        if (band == last || (band < LEAST_BAND && parts > 1)) break;
        last = band;
        if (band >= enough) *best = count;
        out[count++] = (Config){.count = 4, .number = {0, (int32_t)band, STRIP_STAGES, resident}};
    }
    return count;
}

/* Whether memory, not the caches, has what is read and written. */
static bool is_large(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    double bytes = 0;
    for (int32_t i = 0; i < 2; ++i) {
        ValueId id = i == 0 ? node->inputs[0] : node->outputs[0];
        bytes += (double)value_count_at_opt(problem->graph, id) *
                 dtype_bits(problem_value(problem, id)->dtype) / 8;
    }
    return bytes > (double)device->l2_bytes;
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
    int32_t strips = strip_configs(problem, device, &conv, out + count, &size);
    bool flat = is_small(conv.window.kernel[0], 1) && !is_small(conv.window.kernel[1], 1);
    bool heavy = is_small(conv.window.stride[1], 1) || !is_small(conv.window.taps, 9);
    if (strips > 0 && flat && heavy && is_large(problem, device)) best = count + size;
    config_prefer(out, best);
    return count + strips;
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

static Status emit_strips(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    ConvText conv = conv_describe(problem);
    const WindowDims *window = &conv.window;
    bool constant = inputs_are_constant(problem, problem_anchor(problem), 1);
    KernelWriter *w = kernel_begin(emission, "depthwise_strips");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "depthwise_strips.cuh");
    kernel_waits(w);
    kernel_resident(w, config->number[RESIDENT]);
    kernel_line(w,
                "depthwise_strips<DepthwiseStrip<%d, %d, %d, %d, %d, %d, %d>, %s>(%s, %s, %s, %s, %s, %lld, "
                "%d, %s, %s);",
                (int)window->kernel[0], (int)window->kernel[1], (int)window->kernel[2],
                (int)window->stride[1], (int)window->stride[2], config->number[STAGES], strip_groups(&conv),
                constant ? "true" : "false", kernel_pointer(w, conv.x), kernel_pointer(w, conv.w),
                strides_text(w, conv.x), window_text(w, window), kernel_number(w, conv.batch),
                (long long)conv.groups, config->number[BAND], bias_text(w, conv.bias),
                kernel_pack_epilogue(w, LANES));
    int64_t groups = strip_columns(&conv);
    int64_t blocks = ceil_div_i64((int64_t)device->sm_count * config->number[RESIDENT], groups);
    Dim wanted = strip_blocks(problem, &conv, config->number[BAND]);
    return kernel_finish(w, dim_min(emission->graph->dims, wanted, blocks), groups, 1, THREADS,
                         (int32_t)strip_shared_bytes(window, config->number[STAGES]));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    if (config->number[WIDTH] == 0) return emit_strips(config, device, emission);
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
                                      .version = 3,
                                      .strided = true,
                                      .refuses = refuses,
                                      .configs = configs,
                                      .emit = emit};
