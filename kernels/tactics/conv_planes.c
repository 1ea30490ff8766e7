/* Convolutions of channels-last tensors in half precision with stride 1 on sm_90a's matrix units: blocks go
 * through the planes of an image, and each plane is multiplied by the weights of all planes of the window at
 * once. What counts for few output channels, where an instruction would else take longer to read windows
 * from shared memory than to multiply them. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/wgmma_conv.h"

enum {
    SHARED_RESERVED = 1024,
    PIECE = 64, /* places of an instruction */
    SIDE = 8,   /* of a piece that is a square */
    ELEMENT = 2,
    MOST_WIDTH = 256, /* columns of an instruction */
    MOST_SUMS = 128,  /* registers of a thread */
    MOST_COLS = 128,
    MOST_INPUTS = 6,
    MOST_STAGES = 32,
    WARPGROUPS = 2,
    MOST_PIECES = 2 /* of a warpgroup */
};

typedef enum PlaneNumber {
    PLANE_PIECES, /* of a warpgroup */
    PLANE_COLS,
    PLANE_DEPTH,
    PLANE_LINES,
    PLANE_PLACES,
    PLANE_INPUTS,
    PLANE_STAGES,
    PLANE_PARTS
} PlaneNumber;

/* Numbers of planes, lines and places, in this order. */
typedef struct Planes {
    ConvText conv;
    int64_t images, channels, outputs;
    int32_t axis[WINDOW_AXES]; /* of the window: which is that of planes, .. */
    int32_t kernel[WINDOW_AXES], dilation[WINDOW_AXES];
    int64_t in[WINDOW_AXES], out[WINDOW_AXES];
    bool flat;
} Planes;

static void describe_axes(Planes *out) {
    static const int32_t slow[] = {0, 1, 2}, fast[] = {1, 0, 2};
    const WindowDims *window = &out->conv.window;
    for (int32_t i = 0; i < WINDOW_AXES; ++i) {
        int32_t axis = out->axis[i] = window->kernel[0] == 1 ? fast[i] : slow[i];
        out->kernel[i] = (int32_t)window->kernel[axis];
        out->dilation[i] = (int32_t)window->dilation[axis];
        out->in[i] = window->in[axis];
        out->out[i] = window->out[axis];
    }
}

static const char *describe(const Problem *problem, Planes *out) {
    const char *why = wgmma_conv_boxes_refuse(problem, &out->conv);
    if (why != NULL) return why;
    describe_axes(out);
    if (out->kernel[0] < 2) return "windows of one plane";
    if (out->dilation[0] != 1) return "dilated planes";
    out->images = dim_at_opt(problem->graph, out->conv.batch);
    if (out->images < 1) out->images = 1;
    out->channels = out->conv.channels;
    out->outputs = out->conv.outputs;
    out->flat = out->out[1] == 1;
    return NULL;
}

/* -- tiles -- */

/* Of lines (1) or places (2). */
static int32_t box(const Planes *planes, const Config *config, int32_t axis) {
    return config->number[PLANE_LINES + axis - 1] + (planes->kernel[axis] - 1) * planes->dilation[axis];
}

static int64_t input_bytes(const Planes *planes, const Config *config) {
    int64_t bytes = (int64_t)box(planes, config, 1) * box(planes, config, 2) * config->number[PLANE_DEPTH];
    return round_up_i64(bytes * ELEMENT, 1024);
}

static int64_t stage_bytes(const Planes *planes, const Config *config) {
    return (int64_t)planes->kernel[0] * planes->kernel[2] * config->number[PLANE_COLS] *
           config->number[PLANE_DEPTH] * ELEMENT;
}

/* Stages of weights for all channels and taps. */
static int64_t all_stages(const Planes *planes, const Config *config) {
    return planes->channels / config->number[PLANE_DEPTH] * planes->kernel[1];
}

static int64_t col_tiles(const Planes *planes, const Config *config) {
    return ceil_div_i64(planes->outputs, config->number[PLANE_COLS]);
}

/* Blocks at one time; each has the same columns all the time. */
static int64_t most_blocks(const Planes *planes, const Device *device, const Config *config) {
    int64_t cols = col_tiles(planes, config);
    return device->sm_count > cols ? device->sm_count / cols * cols : cols;
}

static bool keeps(const Planes *planes, const Config *config) {
    return config->number[PLANE_STAGES] == all_stages(planes, config);
}

static int64_t shared_bytes(const Planes *planes, const Config *config) {
    return config->number[PLANE_STAGES] * stage_bytes(planes, config) +
           config->number[PLANE_INPUTS] * input_bytes(planes, config) + 1024;
}

static bool spreads(const Planes *planes) {
    return planes->outputs % 32 == 0;
}

/* Planes of the result in all tiles of an image. */
static int64_t planes_of(const Planes *planes, const Config *config) {
    return planes->out[0] * ceil_div_i64(planes->out[1], config->number[PLANE_LINES]) *
           ceil_div_i64(planes->out[2], config->number[PLANE_PLACES]);
}

/* -- what it costs -- */

/* Cycles of a plane: instructions read both operands from shared memory, 128 bytes a cycle. What follows a
 * plane's products is fitted to times on an H200. */
static double plane_cycles(const Planes *planes, const Device *device, const Config *config) {
    double width = planes->kernel[0] * config->number[PLANE_COLS];
    double products = 2 * PIECE * 16 * width / device->fp16_per_clock, reads = (2048 + 32 * width) / 128;
    int64_t blocks = planes->channels / config->number[PLANE_DEPTH];
    double stages = (double)all_stages(planes, config);
    double instructions = WARPGROUPS * config->number[PLANE_PIECES] * stages * planes->kernel[2] *
                          config->number[PLANE_DEPTH] / 16;
    double copied = (double)(input_bytes(planes, config) * blocks);
    if (!keeps(planes, config)) copied += stages * (double)stage_bytes(planes, config);
    double main = 1.05 * instructions * (products > reads ? products : reads);
    double copies = copied / wgmma_l2_rate(device);
    return (main > copies ? main : copies) + 150 +
           14 * config->number[PLANE_PIECES] * config->number[PLANE_COLS];
}

static double model(const Planes *planes, const Device *device, const Config *config) {
    double parts = config->number[PLANE_PARTS];
    double each = (double)ceil_div_i64(planes_of(planes, config), config->number[PLANE_PARTS]);
    double runs = 1 + (each - 1) / (double)planes->out[0];
    double chunks = (double)planes->images * parts * (double)col_tiles(planes, config);
    double rounds = chunks / (double)most_blocks(planes, device, config);
    rounds = (double)(int64_t)(rounds + 0.999);
    double epilogue = WARPGROUPS * config->number[PLANE_PIECES] * PIECE * config->number[PLANE_COLS] * 0.064 *
                          (spreads(planes) ? 1 : 1.3) +
                      950;
    /* The first and the last plane of a run take half as long. */
    double cycles = (each + runs * (planes->kernel[0] - 2)) * plane_cycles(planes, device, config);
    return (rounds * (cycles + runs * epilogue) + 3000) / device->clock_mhz;
}

/* -- what is legal -- */

static bool is_legal(const Planes *planes, const Device *device, Config *config) {
    const int32_t most_shared = device->shared_per_block - SHARED_RESERVED - sum_moments_shared();
    int64_t all = all_stages(planes, config);
    for (int32_t i = 1; i < WINDOW_AXES; ++i)
        if (box(planes, config, i) > WGMMA_MOST_BOX) return false;
    int64_t width = (int64_t)planes->kernel[0] * config->number[PLANE_COLS];
    if (width > MOST_WIDTH ||
        config->number[PLANE_PIECES] * (width + config->number[PLANE_COLS]) / 2 > MOST_SUMS)
        return false;
    config->number[PLANE_INPUTS] = 2;
    config->number[PLANE_STAGES] = (int32_t)(all < MOST_STAGES ? all : MOST_STAGES);
    while (config->number[PLANE_STAGES] > 2 && shared_bytes(planes, config) > most_shared)
        config->number[PLANE_STAGES]--;
    /* Weights that do not stay are copied as often whatever the columns, and more of them take more
     * registers. */
    if (!keeps(planes, config) && (config->number[PLANE_STAGES] < 2 || config->number[PLANE_COLS] > 32))
        return false;
    while (config->number[PLANE_INPUTS] < MOST_INPUTS) {
        config->number[PLANE_INPUTS]++;
        if (shared_bytes(planes, config) <= most_shared) continue;
        config->number[PLANE_INPUTS]--;
        break;
    }
    return shared_bytes(planes, config) <= most_shared;
}

/* Parts of an image so that all blocks have one, or some of them. */
static void add_parts(const Planes *planes, const Device *device, Config *config, double *costs, Config *out,
                      int32_t *count) {
    int64_t most = planes_of(planes, config), blocks = most_blocks(planes, device, config);
    double best = 0;
    Config found = *config;
    for (int32_t rounds = 1; rounds <= 4; ++rounds) {
        int64_t parts = rounds * blocks / (planes->images * col_tiles(planes, config));
        if (parts < 1) parts = 1;
        config->number[PLANE_PARTS] = (int32_t)(parts < most ? parts : most);
        double cost = model(planes, device, config);
        if (rounds > 1 && cost >= best) continue;
        best = cost;
        found = *config;
    }
    *count = config_insert(&found, best, MOST_CONFIGS, costs, out, *count);
}

static void add_tiles(const Planes *planes, const Device *device, int32_t cols, int32_t depth, double *costs,
                      Config *out, int32_t *count) {
    for (int32_t pieces = 1; pieces <= MOST_PIECES; ++pieces)
        for (int32_t down = 1; down <= WARPGROUPS * pieces; down *= 2) {
            int32_t across = WARPGROUPS * pieces / down;
            Config config = {.count = PLANE_PARTS + 1,
                             .number = {pieces, cols, depth, planes->flat ? 1 : SIDE * down,
                                        planes->flat ? PIECE * across : SIDE * across}};
            if (planes->flat && down > 1) break;
            if (is_legal(planes, device, &config)) add_parts(planes, device, &config, costs, out, count);
        }
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Planes planes;
    double costs[MOST_CONFIGS];
    int32_t count = 0, depth = 64;
    if (describe(problem, &planes) != NULL) return 0;
    while (planes.channels % depth != 0) depth /= 2;
    for (int32_t narrow = 0; narrow < 2 && depth >= 16; ++narrow, depth /= 2)
        for (int32_t cols = 32; cols <= 64 && cols < planes.outputs + 32; cols *= 2)
            add_tiles(&planes, device, cols, depth, costs, out, &count);
    return count;
}

static const char *refuses(const Problem *problem, const Device *device) {
    Planes planes;
    Config found[MOST_CONFIGS];
    const char *why = describe(problem, &planes);
    if (why != NULL) return why;
    if (planes.channels % 16 != 0) return "channels that are no multiple of 16";
    if (planes.outputs > MOST_COLS) return "more than 128 output channels";
    return configs(problem, device, found) > 0 ? NULL : "windows that do not fit in shared memory";
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    Planes planes;
    return describe(problem, &planes) == NULL ? model(&planes, device, config) : 0;
}

static int64_t moment_parts(const Problem *problem, const Device *device, const Config *config) {
    Planes planes;
    (void)device;
    if (describe(problem, &planes) != NULL || !conv_has_moments(problem, &planes.conv)) return 0;
    int32_t parts = config->number[PLANE_PARTS];
    int32_t pieces = config->number[PLANE_PIECES] * (planes.kernel[0] + 1);
    return sum_moments_fit(pieces, config->number[PLANE_COLS], 1) ? sum_moment_parts(parts, parts, true) : 0;
}

/* -- text -- */

static const char *three(KernelWriter *w, const int64_t *numbers) {
    return kernel_format(w, "{%lld, %lld, %lld}", (long long)numbers[0], (long long)numbers[1],
                         (long long)numbers[2]);
}

/* One of the window's lists, in the order of planes, lines and places. */
static const char *ordered(KernelWriter *w, const Planes *planes, const Dim *list) {
    return three(w, (int64_t[]){list[planes->axis[0]], list[planes->axis[1]], list[planes->axis[2]]});
}

static const char *window_text_of(KernelWriter *w, const Planes *planes, const Config *config) {
    const WindowDims *window = &planes->conv.window;
    const int64_t steps[] = {window->out[1] * window->out[2], window->out[2], 1};
    const char *shapes = kernel_format(w, "%lld, %s, %s, %s, %s", (long long)planes->in[0],
                                       ordered(w, planes, window->out), ordered(w, planes, window->kernel),
                                       ordered(w, planes, window->dilation), ordered(w, planes, window->pad));
    const char *tile =
        kernel_format(w, "{%d, %d}, {%d, %d}, %s", config->number[PLANE_LINES], config->number[PLANE_PLACES],
                      box(planes, config, 1), box(planes, config, 2), planes->flat ? "true" : "false");
    return kernel_format(w, "{%s, %s, %lld, %s, %s, %d, %lld}", shapes, tile, (long long)planes->channels,
                         ordered(w, planes, steps), kernel_number(w, planes->conv.batch),
                         config->number[PLANE_PARTS], (long long)col_tiles(planes, config));
}

static void declare_tile(KernelWriter *w, const Planes *planes, const Config *config) {
    const int32_t *n = config->number;
    const Value *x = &kernel_emission(w)->graph->values[planes->conv.x];
    kernel_declare(w, "typedef PlaneTile<%s, %d, %d, %d, %d, %d, %d, %lld, %d, %s, %s> Tile;",
                   cuda_type(x->dtype), n[PLANE_PIECES], n[PLANE_COLS], n[PLANE_DEPTH], planes->kernel[0],
                   planes->kernel[2], n[PLANE_INPUTS], (long long)input_bytes(planes, config),
                   n[PLANE_STAGES], keeps(planes, config) ? "true" : "false",
                   spreads(planes) ? "true" : "false");
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    Planes planes;
    DimTable *dims = emission->graph->dims;
    (void)describe(emission->problem, &planes);
    const int32_t boxes[] = {1, box(&planes, config, 1), box(&planes, config, 2)};
    KernelMap x = wgmma_conv_boxes(emission, &planes.conv, config->number[PLANE_DEPTH], planes.axis, boxes);
    KernelMap weights = wgmma_conv_weights(emission, &planes.conv, config->number[PLANE_DEPTH],
                                           config->number[PLANE_COLS], spreads(&planes) ? 32 : 0);
    KernelWriter *w = kernel_begin(emission, "conv_planes");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "wgmma_planes.cuh");
    declare_tile(w, &planes, config);
    const char *maps = kernel_format(w, "%s, %s", kernel_map(w, &x), kernel_map(w, &weights));
    SumsText sums = conv_sums(emission->problem, &planes.conv);
    const char *store = sum_store(w, &sums, conv_scale(w, &planes.conv));
    kernel_line(w, "const PlaneWindow window = %s;", window_text_of(w, &planes, config));
    kernel_line(w, "plane_product<Tile>(window, %s, %s, %s);", maps, store,
                sum_moments(w, planes.images, planes.outputs, true));
    Dim blocks = dim_mul(dims, planes.conv.batch, config->number[PLANE_PARTS] * col_tiles(&planes, config));
    kernel_waits(w);
    kernel_resident(w, 1);
    return kernel_finish(w, dim_min(dims, blocks, most_blocks(&planes, device, config)), 1, 1,
                         WARPGROUPS * 128 + 128, (int32_t)shared_bytes(&planes, config));
}

const Tactic tactic_conv_planes = {.name = "conv_planes",
                                   .version = 1,
                                   .strided = true,
                                   .arch = "sm_90a",
                                   .refuses = refuses,
                                   .configs = configs,
                                   .emit = emit,
                                   .cost = cost,
                                   .moment_parts = moment_parts};
