/* Convolutions of each channel by itself in channels-last layout: a thread computes eight channels of a few
 * places whose windows overlap. */
#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/conv_text.h"

enum {
    THREADS = 128, /* depthwise.cuh's DEPTHWISE_THREADS */
    PACK_REGISTERS = 4,
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
    STRIP_WIDTH = 4, /* of strips, .. */
    GROUPS = 5,      /* warps of a block that are side by side in the channels */
    DEPTH = 6,       /* planes of strips */
    HELD = 7,        /* whether weights are in registers */
    STRIP_CHANNELS = 16,
    STRIP_PLACES = 32, /* of a warp */
    MOST_STRIP_TAPS = 125,
    STRIP_CONFIGS = 16,
    MOST_BAND = 1 << 16,    /* rows */
    RESERVED_SHARED = 1024, /* bytes that each block takes beside its own */
    OTHER_HELD = 64         /* registers of a thread beside sums and weights */
};

static const double SPARE_WORK = 1.08;
/* Of strips, fitted to times measured on an H200: cycles of a multiprocessor for four warps' copies of a
 * round, products of matrices, reads of weights, and rows that are stored. */
static const double START_US = 1.5, CYCLES_PER_US = 1750, COPY_CYCLES = 30, PRODUCT_CYCLES = 5.5,
                    WEIGHT_CYCLES = 6, ROW_CYCLES = 200;
/* Where places are two apart, and with blocks of fewer than 64 channels, so many times that; what of the time
 * that memory takes counts beside it. */
static const double APART = 1.2, PIECES = 1.15, STRIP_MEMORY = 0.4;
/* Of tiles, fitted to times measured on an H200. Work for a place: of a tap, of one that threads read the
 * weights of, and of a pack that they read; more where registers are few, or where rows are read again; how
 * much of it a multiprocessor does in a microsecond. Strips must be so much faster. */
static const double TAP_WORK = 8, WEIGHT_WORK = 10, PACK_WORK = 14, FEW_REGISTERS = 1.18,
                    FEW_REGISTERS_APART = 1.25, READ_AGAIN = 1.085, WORK_RATE = 165e3, LEAST_GAIN = 0.93;

static bool is_small(Dim d, int64_t most) {
    return dim_is_exact(d) && d >= 1 && d <= most;
}

/* Neighbouring channels of a thread: 16 bytes. */
static int32_t lanes_of(const Problem *problem) {
    return 128 / dtype_bits(problem_value(problem, problem_anchor(problem)->inputs[0])->dtype);
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
    if (conv.groups / lanes_of(problem) > MOST_GRID_YZ) return "more channels than a grid has blocks";
    why = refuse_unless_packs(problem);
    if (why != NULL) return why;
    const WindowDims *window = &conv.window;
    if (!is_small(window->kernel[2], MOST_KERNEL) || !is_small(window->stride[2], 2) ||
        !is_small(window->dilation[2], 4))
        return "a kernel, stride or dilation that is long";
    if (!is_small(window->taps, MOST_SHARED / (EPILOGUE_LANES * dtype_bits(w->dtype) / 8)))
        return "many taps";
    return NULL;
}

/* Blocks that a line of places takes, n of whose threads stand side by side. */
static double block_work(int64_t packs, int64_t n) {
    int64_t lines = THREADS / n;
    return (double)ceil_div_i64(packs, n) / (double)lines;
}

/* Threads side by side in the channels: the most of those that leave few without work, and fit in memory. */
static int32_t choose_packs(const Problem *problem, const ConvText *conv) {
    int32_t lanes = lanes_of(problem);
    int64_t packs = conv->groups / lanes, best = 1;
    int64_t bytes = conv->window.taps * lanes * dtype_bits(problem_value(problem, conv->w)->dtype) / 8;
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

/* Whether windows have one plane, which is never beside the input: rows are stored as it is done. */
static bool is_one_plane(const WindowDims *window) {
    return is_small(window->kernel[0], 1) && window->pad[0] == 0 && window->pad_end[0] == 0;
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

/* Blocks of a multiprocessor; RESIDENT is of four warps. */
static int32_t strip_resident(const Config *config) {
    return config->number[RESIDENT] * 4 / config->number[GROUPS];
}

/* Pairs of pixels that a pair of places reads. */
static int64_t strip_steps(const WindowDims *window) {
    return (window->stride[2] + window->kernel[2] + 1) / 2;
}

/* Planes and rows of the input, a line each, of a stage. */
static int64_t strip_lines(const WindowDims *window, const Config *config) {
    int64_t planes = (config->number[DEPTH] - 1) * window->stride[0] + window->kernel[0];
    return config->number[BAND] == 1 ? planes * window->kernel[1] : planes;
}

/* What DepthwiseStrip says. */
static int64_t strip_shared_bytes(const WindowDims *window, const Config *config) {
    int64_t width = config->number[STRIP_WIDTH], x = window->stride[2], steps = strip_steps(window);
    int64_t pairs = x * (width - 2) / 2 + steps, pixels = 2 * round_up_i64(pairs, x);
    int64_t line = (STRIP_PLACES / width * pixels / 2) | 1,
            stage = strip_lines(window, config) * line * STRIP_CHANNELS / 4 * 16;
    int64_t weights = window->kernel[0] * window->kernel[1] * (x + 2 * steps) * STRIP_CHANNELS * 2;
    int64_t sums = config->number[DEPTH] * (config->number[GROUPS] > 2 ? 16 : 8) * STRIP_PLACES * 16;
    return (stage * config->number[STAGES] + weights) * config->number[GROUPS] + 2 * sums;
}

/* Warps side by side in the channels: the most that leave few without work. */
static int32_t strip_groups(const ConvText *conv) {
    int64_t groups = ceil_div_i64(conv->groups, STRIP_CHANNELS), least = INT64_MAX;
    int32_t best = 1;
    for (int32_t n = 4; n >= 1; --n) {
        int64_t covers = round_up_i64(groups, n);
        if (least != INT64_MAX && covers * 16 > least * 15) continue;
        least = covers;
        best = n;
    }
    return best;
}

/* Blocks for the channels. */
static int64_t strip_columns(const ConvText *conv, const Config *config) {
    return ceil_div_i64(conv->groups, (int64_t)STRIP_CHANNELS * config->number[GROUPS]);
}

/* Blocks for places, beside `columns` for channels: as many as there is room for, since one more would begin
 * when all others are done. */
static int64_t rows_of_blocks(const Device *device, int32_t resident, int64_t columns) {
    int64_t blocks = (int64_t)device->sm_count * resident / columns;
    return blocks < 1 ? 1 : blocks;
}

/* Blocks that do a set of strips in each warp. */
static Dim strip_blocks(const Problem *problem, const ConvText *conv, const Config *config) {
    DimTable *dims = problem->graph->dims;
    const WindowDims *window = &conv->window;
    Dim planes = dim_mul(dims, conv->batch, dim_ceil_div(dims, window->out[0], config->number[DEPTH]));
    Dim rows = dim_mul(dims, planes, dim_ceil_div(dims, window->out[1], config->number[BAND]));
    int64_t strips = STRIP_PLACES / config->number[STRIP_WIDTH];
    return dim_ceil_div(
        dims, dim_mul(dims, rows, dim_ceil_div(dims, window->out[2], config->number[STRIP_WIDTH])), strips);
}

/* Registers of a thread for sums, pixels and, where they are held, weights. */
static int64_t strip_registers(const WindowDims *window, const Config *config) {
    int64_t live = config->number[BAND] == 1 ? 1 : ceil_div_i64(window->kernel[1], window->stride[1]);
    int64_t held = config->number[HELD] ? 4 * window->kernel[0] * window->kernel[1] * strip_steps(window) : 0;
    return 16 * (live * config->number[DEPTH] + 1) + held;
}

static double strip_us(const Problem *problem, const Device *device, const ConvText *conv,
                       const Config *config) {
    const WindowDims *window = &conv->window;
    const int32_t *number = config->number;
    int64_t stages =
        number[BAND] == 1 ? 1 : (number[BAND] - 1) * (int64_t)window->stride[1] + window->kernel[1];
    int64_t across = number[STRIP_WIDTH] / 4,
            read = (number[STRIP_WIDTH] - 1) * window->stride[2] + window->kernel[2];
    double cycles = COPY_CYCLES * (double)(stages * strip_lines(window, config) * ceil_div_i64(read, across));
    double products = PRODUCT_CYCLES * 4 * (double)ceil_div_i64(strip_steps(window), 2);
    if (!number[HELD]) products += WEIGHT_CYCLES * (double)strip_steps(window);
    /* each row of the input with all rows of the window, those of bands' ends too */
    double rows = number[BAND] == 1 ? 1 : (double)stages / (double)window->stride[1];
    cycles += number[DEPTH] *
              (products * rows * (double)(window->kernel[0] * window->kernel[1]) + number[BAND] * ROW_CYCLES);
    int32_t resident = strip_resident(config);
    if (window->stride[2] > 1) cycles *= APART;
    if (number[GROUPS] * STRIP_CHANNELS < 64) cycles *= PIECES;
    int64_t sets = dim_at_opt(problem->graph, strip_blocks(problem, conv, config));
    int64_t columns = strip_columns(conv, config);
    int64_t rounds = ceil_div_i64(sets, rows_of_blocks(device, resident, columns));
    int64_t beside = ceil_div_i64(sets * columns, device->sm_count);
    if (beside > resident) beside = resident;
    int64_t warps = beside * number[GROUPS];
    if (warps < 8) warps = 8; /* fewer wait as long */
    return START_US + (double)(rounds * warps) / 4 * cycles / CYCLES_PER_US;
}

/* Of bands that divide the rows equally, but for the last one: the longest that is shorter, or 0. */
static int64_t shorter_band(int64_t rows, int64_t band) {
    return rows > 0 && band > 1 ? ceil_div_i64(rows, ceil_div_i64(rows, band - 1)) : 0;
}

/* Configs by their modelled times; *us: of the first. */
static int32_t strip_configs(const Problem *problem, const Device *device, const ConvText *conv, Config *out,
                             double *us) {
    enum { WIDTHS = 3, RESIDENTS = 3, STRIP_SHAPES = WIDTHS * RESIDENTS * 2 * 2 * 2 };
    const WindowDims *window = &conv->window;
    int64_t rows = dim_at_opt(problem->graph, window->out[1]);
    int64_t columns = dim_at_opt(problem->graph, window->out[2]);
    double costs[STRIP_CONFIGS];
    int32_t count = 0;
    if (!takes_strips(problem, device, conv)) return 0;
    for (int32_t i = 0; i < STRIP_SHAPES; ++i) {
        int32_t held = 1 - i % 2, depth = 1 + i / 2 % 2, stages = 4 + i / 4 % 2 * 4,
                width = 8 << (i / 8 + 1) % 3;
        int32_t resident = 4 - i / (8 * WIDTHS);
        /* planes that are read lie side by side then */
        if (depth > 1 && (is_small(window->kernel[0], 1) || window->dilation[0] != 1)) continue;
        if (width > 16 && round_up_i64(columns, width) > round_up_i64(columns, 16)) continue;
        for (int64_t band = shorter_band(rows, MOST_BAND + 1); band > 0; band = shorter_band(rows, band)) {
            Config config = {
                .count = 8,
                .number = {0, (int32_t)band, stages, resident, width, strip_groups(conv), depth, held}};
            int64_t bytes = strip_shared_bytes(window, &config) + RESERVED_SHARED;
            if (bytes > device->shared_per_block || bytes * strip_resident(&config) > device->shared_per_sm ||
                strip_registers(window, &config) > REGISTERS / resident - OTHER_HELD)
                continue;
            count = config_insert(&config, strip_us(problem, device, conv, &config), STRIP_CONFIGS, costs,
                                  out, count);
        }
    }
    if (count > 0) *us = costs[0];
    return count;
}

/* What threads do that take tiles of this shape, for the places that tiles cover. */
static double tile_work(const WindowDims *window, const int32_t shape[2], double places, bool is_narrow) {
    double taps = (double)window->taps, own = shape[0] * shape[1];
    double rows = (double)window->kernel[1], x = (double)window->stride[2];
    if (shape[0] > 1) rows += (double)((shape[0] - 1) * window->stride[1]);
    double columns = (shape[1] - 1) * x + (double)((window->kernel[2] - 1) * window->dilation[2] + 1);
    double packs = (double)window->kernel[0] * rows * columns / own;
    double weight = is_narrow ? WEIGHT_WORK : 0; /* others are not converted */
    double work = taps * (TAP_WORK + weight / shape[1]) + packs * PACK_WORK;
    if (own == 8 && (taps > 9 || x > 1)) work *= x > 1 ? FEW_REGISTERS_APART : FEW_REGISTERS;
    if (shape[0] == 1 && rows > 1) work *= READ_AGAIN;
    return places * work;
}

/* Blocks of a multiprocessor, at least, that are tried first. */
static int32_t tile_resident(const WindowDims *window, const int32_t shape[2]) {
    int32_t most = shape[0] * shape[1] < 8 ? 9 * 9 * 9 : shape[1] == 8 ? 25 : 9; /* taps */
    return window->taps <= most ? 3 : 2;
}

static double moved_us(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    double bytes = 0;
    for (int32_t i = 0; i < 2; ++i) {
        ValueId id = i == 0 ? node->inputs[0] : node->outputs[0];
        bytes += (double)value_count_at_opt(problem->graph, id) *
                 dtype_bits(problem_value(problem, id)->dtype) / 8;
    }
    return device_bytes_us(device, bytes);
}

/* First the shape of those that leave enough threads with the least to do. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    static const int32_t shapes[][2] = {{2, 2}, {1, 4}, {1, 2}, {1, 1}, {2, 4},
                                        {1, 8}, {4, 4}, {8, 4}, {8, 2}, {4, 2}}; /* rows, width */
    enum { SHAPES = sizeof shapes / sizeof shapes[0] };
    bool is_narrow = lanes_of(problem) > 4;
    ConvText conv = conv_describe(problem);
    double wanted = (double)device->sm_count * LEAST_THREADS_PER_SM, least = 0;
    int64_t line_packs = conv.groups / lanes_of(problem);
    double lines = (double)dim_at_opt(problem->graph, conv.batch) * (double)line_packs;
    int32_t packs = choose_packs(problem, &conv), count = 0, best = 0;
    for (int32_t i = 0; i < SHAPES; ++i) {
        int32_t own = shapes[i][0] * shapes[i][1], first = tile_resident(&conv.window, shapes[i]);
        double places = (double)covered(problem, &conv.window, shapes[i]);
        if (shapes[i][0] > 1 && !takes_rows(&conv.window)) continue;
        if (shapes[i][0] > 2 && (lanes_of(problem) > 4 || !is_one_plane(&conv.window))) continue;
        double work = lines * tile_work(&conv.window, shapes[i], places, is_narrow);
        bool enough = lines * places / own >= wanted || own == 1;
        if ((i < 4 || (is_narrow ? i < 6 : i == SHAPES - 1)) && enough && (least == 0 || work < least)) {
            best = count;
            least = work;
        }
        for (int32_t k = 0; k < 2; ++k) {
            int32_t resident = own < 8 ? 3 + k : k == 0 ? first : 5 - first;
            out[count++] = (Config){.count = 4, .number = {shapes[i][1], packs, shapes[i][0], resident}};
        }
    }
    double us = 0, work_us = least / (WORK_RATE * device->sm_count);
    int32_t strips = strip_configs(problem, device, &conv, out + count, &us);
    double moved = moved_us(problem, device), tiles = START_US + hypot(work_us, moved);
    if (strips > 0 && hypot(us, STRIP_MEMORY * moved) < LEAST_GAIN * tiles) best = count;
    config_prefer(out, best);
    return count + strips;
}

/* "DepthwiseTile<8, 1, 4, 16, 9, 3, 1, 3, 1, 1, 18>" */
static const char *tile_text(KernelWriter *w, const WindowDims *window, int32_t lanes, const Config *config) {
    int32_t rows = config->number[ROWS], live = rows;
    if (rows > 2) live = (int32_t)ceil_div_i64(window->kernel[1], window->stride[1]);
    int32_t sums = live * config->number[WIDTH] * lanes;
    int32_t spare = REGISTERS / config->number[RESIDENT] - OTHER_REGISTERS - sums;
    return kernel_format(w, "DepthwiseTile<%d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d>", lanes, rows,
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
    kernel_resident(w, strip_resident(config));
    kernel_line(w,
                "depthwise_strips<DepthwiseStrip<%d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %s, %s>, %s>(%s, "
                "%s, %s, %s, "
                "%s, %lld, %d, %s, %s);",
                (int)window->kernel[0], (int)window->kernel[1], (int)window->kernel[2],
                (int)window->stride[0], (int)window->stride[1], (int)window->stride[2], config->number[DEPTH],
                config->number[STRIP_WIDTH], config->number[STAGES], config->number[GROUPS],
                config->number[BAND] == 1 ? "true" : "false", config->number[HELD] ? "true" : "false",
                constant ? "true" : "false", kernel_pointer(w, conv.x), kernel_pointer(w, conv.w),
                strides_text(w, conv.x), window_text(w, window), kernel_number(w, conv.batch),
                (long long)conv.groups, config->number[BAND], bias_text(w, conv.bias),
                kernel_pack_epilogue(w, EPILOGUE_LANES));
    int64_t groups = strip_columns(&conv, config);
    int64_t blocks = rows_of_blocks(device, strip_resident(config), groups);
    return kernel_finish(w, dim_min(emission->graph->dims, strip_blocks(problem, &conv, config), blocks),
                         groups, 1, config->number[GROUPS] * 32, (int32_t)strip_shared_bytes(window, config));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    if (config->number[WIDTH] == 0) return emit_strips(config, device, emission);
    const Problem *problem = emission->problem;
    ConvText conv = conv_describe(problem);
    const WindowDims *window = &conv.window;
    DimTable *dims = emission->graph->dims;
    int32_t packs = config->number[PACKS], lanes = lanes_of(problem);
    bool constant = inputs_are_constant(problem, problem_anchor(problem), 1);
    KernelWriter *w = kernel_begin(emission, "conv_depthwise");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "depthwise.cuh");
    kernel_waits(w);
    kernel_resident(w, config->number[RESIDENT]);
    kernel_line(w, "depthwise_packs<%s, %s>(%s, %s, %s, %s, %s, %s, %s, %s);",
                tile_text(w, window, lanes, config), constant ? "true" : "false", kernel_pointer(w, conv.x),
                kernel_pointer(w, conv.w), strides_text(w, conv.x), window_text(w, window),
                kernel_number(w, conv.batch), kernel_number(w, conv.groups), bias_text(w, conv.bias),
                kernel_pack_epilogue(w, lanes));
    Dim rows = dim_mul(dims, dim_mul(dims, conv.batch, window->out[0]),
                       dim_ceil_div(dims, window->out[1], config->number[ROWS]));
    Dim tiles = dim_mul(dims, rows, dim_ceil_div(dims, window->out[2], config->number[WIDTH]));
    /* As many blocks as are there at a time: each turns its weights once. */
    int64_t groups = ceil_div_i64(conv.groups, packs * lanes);
    int64_t blocks = rows_of_blocks(device, config->number[RESIDENT], groups);
    return kernel_finish(w, dim_min(dims, dim_ceil_div(dims, tiles, THREADS / packs), blocks), groups, 1,
                         THREADS, 0);
}

const Tactic tactic_conv_depthwise = {.name = "conv_depthwise",
                                      .version = 5,
                                      .strided = true,
                                      .refuses = refuses,
                                      .configs = configs,
                                      .emit = emit};
