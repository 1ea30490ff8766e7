/* Convolutions of channels-last tensors in half precision on sm_90a's matrix units: blocks go through the
 * planes of an image, and each plane is multiplied by the weights of all planes of the window at once. What
 * counts for few output channels, where an instruction would else take longer to read windows from shared
 * memory than to multiply them. With stride 2, of few channels, each plane is of use to one or two planes of
 * the result. Warps beside those that multiply normalise what is read. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/planes_text.h"
#include "kernels/wgmma_conv.h"

enum {
    SHARED_RESERVED = 1024,
    PIECE = 64, /* places of an instruction */
    SIDE = 8,   /* of a piece that is a square */
    ELEMENT = 2,
    MOST_STRIDE = 2,
    MOST_WIDTH = 256,      /* columns of an instruction */
    MOST_SUMS = 128,       /* registers of a thread */
    MOST_NORMAL_SUMS = 96, /* where others have registers to normalise with */
    MOST_COLS = 128,
    MOST_STRIDED = 64,
    MOST_INPUTS = 6,
    MOST_STAGES = 32,
    WARPGROUPS = 2,
    MOST_PIECES = 2, /* of a warpgroup */
    PACK = 16        /* bytes that are normalised at a time */
};

static const double NORMAL_BEGIN = 8;    /* microseconds, until the first input is normalised */
static const double STRIDED_SHARE = 0.7; /* of the memory's rate */

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
    int32_t stride, down; /* of planes and places, and of lines */
    int64_t apart;        /* from place to place in memory, where pairs of them are no lines; else 0 */
    bool flat, normalizes, keeps; /* normalizes: what it reads; keeps: stores that as well */
    int32_t normal_shared;        /* bytes that normalising takes */
    double bytes;                 /* read and written */
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
    out->stride = (int32_t)window->stride[out->axis[0]];
    out->down = (int32_t)window->stride[out->axis[1]];
}

/* Pairs of places are lines of twice the channels, if nothing lies between them. */
static int64_t find_apart(const Problem *problem, const Planes *planes) {
    Dim strides[SMELT_MAX_RANK];
    if (planes->stride == 1) return 0;
    value_strides(problem->graph, planes->conv.x, strides);
    Dim step = strides[problem_value(problem, planes->conv.x)->shape.rank - 1];
    return step != planes->channels ? step : 0;
}

static const char *stride_refuses(const Planes *planes) {
    if (planes->conv.window.stride[planes->axis[2]] != planes->stride) return "strides that differ";
    if (planes->stride == 1) return planes->down == 1 ? NULL : "strides that differ";
    if (planes->kernel[0] != 3) return "windows of a stride that are not of three planes";
    if (planes->in[2] % 2 != 0) return "a stride over lines of odd length";
    if (planes->apart > INT32_MAX / 2) return "a stride over a slice of too much";
    if (planes->apart > 0 && planes->normalizes) return "a stride over a slice that is normalised";
    if (planes->channels != 16 && planes->channels != 32) return "a stride with more channels than 32";
    return planes->outputs <= MOST_STRIDED ? NULL : "a stride with more than 64 output channels";
}

/* Each place of the input is in the box of a tile that has the places of the result where it is. */
static bool covers(const Planes *planes, int32_t i) {
    int64_t stride = i == 1 ? planes->down : planes->stride;
    int64_t pad = planes->conv.window.pad[planes->axis[i]];
    return pad >= 0 && pad <= (planes->kernel[i] - 1) * (int64_t)planes->dilation[i] + 1 - stride &&
           planes->out[i] * stride >= planes->in[i];
}

static const char *normal_refuses(const Problem *problem, const Planes *planes) {
    const Value *x = problem_input(problem, 0);
    if (planes->keeps && !channels_are_inner(x)) return "a normalisation that leaves in another layout";
    for (int32_t i = 0; i < WINDOW_AXES && planes->keeps; ++i)
        if (!covers(planes, i)) return "a normalisation that leaves, of places in no window";
    return NULL;
}

static const char *describe(const Problem *problem, Planes *out) {
    const char *why = wgmma_conv_boxes_refuse(problem, MOST_STRIDE, &out->conv);
    if (why != NULL) return why;
    describe_axes(out);
    if (out->kernel[0] < 2) return "windows of one plane";
    if (out->dilation[0] != 1) return "dilated planes";
    out->images = dim_at_opt(problem->graph, out->conv.batch);
    if (out->images < 1) out->images = 1;
    out->channels = out->conv.channels;
    out->outputs = out->conv.outputs;
    out->flat = out->out[1] == 1;
    out->normalizes = problem_front_planes(problem) != NULL;
    out->keeps = out->normalizes && problem_prologue_leaves(problem);
    out->bytes = (double)problem_bytes(problem);
    out->normal_shared = front_planes_shared(problem, WARPGROUPS * 128);
    out->apart = find_apart(problem, out);
    why = stride_refuses(out);
    return why != NULL ? why : normal_refuses(problem, out);
}

/* -- tiles -- */

/* Of lines (1), or of places or pairs of them (2). */
static int32_t box(const Planes *planes, const Config *config, int32_t axis) {
    int32_t tile = config->number[PLANE_LINES + axis - 1];
    int32_t last = (tile - 1) * (axis == 1 ? planes->down : planes->stride) +
                   (planes->kernel[axis] - 1) * planes->dilation[axis];
    if (axis == 1 || planes->stride == 1) return last + 1;
    return (last + (int32_t)(planes->conv.window.pad[planes->axis[2]] & 1)) / 2 + 1;
}

static int64_t input_bytes(const Planes *planes, const Config *config) {
    int32_t boxes = planes->apart > 0 ? planes->stride : 1;
    int64_t bytes = (int64_t)box(planes, config, 1) * box(planes, config, 2) * config->number[PLANE_DEPTH] *
                    ELEMENT * planes->stride / boxes;
    return boxes * round_up_i64(bytes, 1024);
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
    return wgmma_blocks_of_columns(device->sm_count, col_tiles(planes, config));
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
static double instruction_cycles(const Device *device, double width) {
    double products = 2 * PIECE * 16 * width / device->fp16_per_clock, reads = (2048 + 32 * width) / 128;
    return products > reads ? products : reads;
}

static double plane_cycles(const Planes *planes, const Device *device, const Config *config) {
    double cols = config->number[PLANE_COLS];
    double instruction = planes->stride == 1
                             ? instruction_cycles(device, planes->kernel[0] * cols)
                             : instruction_cycles(device, cols) + instruction_cycles(device, 2 * cols);
    int64_t blocks = planes->channels / config->number[PLANE_DEPTH];
    double stages = (double)all_stages(planes, config);
    double instructions = WARPGROUPS * config->number[PLANE_PIECES] * stages * planes->kernel[2] *
                          config->number[PLANE_DEPTH] / 16;
    double copied = (double)(input_bytes(planes, config) * blocks * planes->stride);
    if (!keeps(planes, config)) copied += stages * (double)stage_bytes(planes, config);
    double main = (planes->flat ? 1 : 1.05) * instructions * instruction;
    /* One piece's products are over before the second of two inputs is there. */
    if (config->number[PLANE_PIECES] == 1 && config->number[PLANE_INPUTS] == 2)
        main *= planes->flat ? 1.9 : 1.17;
    double copies = copied / wgmma_l2_rate(device);
    /* What normalises takes shared memory's time from the instructions. */
    double normal =
        planes->normalizes ? (double)(input_bytes(planes, config) * blocks * planes->stride) / PACK : 0;
    return (main > copies ? main : copies) + normal + 150 +
           (planes->flat ? 6 : 14) * config->number[PLANE_PIECES] * config->number[PLANE_COLS];
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
    double time = (rounds * (cycles + runs * epilogue) + 3000) / device->clock_mhz;
    double memory = planes->stride == 1 ? 0 : planes->bytes / (STRIDED_SHARE * device->dram_gb_per_s * 1e3);
    return time > memory ? time : memory;
}

/* -- what is legal -- */

static bool is_legal(const Planes *planes, const Device *device, Config *config) {
    const int32_t most_shared =
        device->shared_per_block - SHARED_RESERVED - sum_moments_shared() - planes->normal_shared;
    int64_t all = all_stages(planes, config);
    for (int32_t i = 1; i < WINDOW_AXES; ++i)
        if (box(planes, config, i) > WGMMA_MOST_BOX) return false;
    int64_t width = (int64_t)(planes->stride == 1 ? planes->kernel[0] : 2) * config->number[PLANE_COLS];
    if (planes->stride > 1 &&
        (col_tiles(planes, config) > 1 || config->number[PLANE_DEPTH] != planes->channels))
        return false;
    if (width > MOST_WIDTH || config->number[PLANE_PIECES] * (width + config->number[PLANE_COLS]) / 2 >
                                  (planes->normalizes && planes->stride > 1 ? MOST_NORMAL_SUMS : MOST_SUMS))
        return false;
    config->number[PLANE_INPUTS] = 2;
    config->number[PLANE_STAGES] = (int32_t)(all < MOST_STAGES ? all : MOST_STAGES);
    while (config->number[PLANE_STAGES] > 2 && shared_bytes(planes, config) > most_shared)
        config->number[PLANE_STAGES]--;
    /* Weights that do not stay are copied as often whatever the columns, and more of them take more
     * registers. */
    if (!keeps(planes, config) &&
        (config->number[PLANE_STAGES] < 2 || config->number[PLANE_COLS] > 32 || planes->stride > 1))
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
    if (describe(problem, &planes) != NULL) return 0;
    double front = planes.normalizes ? NORMAL_BEGIN + front_planes_cost(problem, device) : 0;
    return model(&planes, device, config) + front;
}

static int64_t moment_parts(const Problem *problem, const Device *device, const Config *config) {
    Planes planes;
    (void)device;
    if (describe(problem, &planes) != NULL || !conv_has_moments(problem, &planes.conv)) return 0;
    int32_t parts = config->number[PLANE_PARTS];
    int32_t pieces = config->number[PLANE_PIECES] * (planes.stride == 1 ? planes.kernel[0] + 1 : 2);
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
    const char *shapes = kernel_format(w, "%s, %s, %s, %s, %s", ordered(w, planes, window->in),
                                       ordered(w, planes, window->out), ordered(w, planes, window->kernel),
                                       ordered(w, planes, window->dilation), ordered(w, planes, window->pad));
    const char *tile = kernel_format(w, "{%d, %d}, {%d, %d}, %d, %s", config->number[PLANE_LINES],
                                     config->number[PLANE_PLACES], box(planes, config, 1),
                                     box(planes, config, 2), planes->down, planes->flat ? "true" : "false");
    return kernel_format(w, "{%s, %s, %lld, %lld, %s, %s, %d, %lld}", shapes, tile,
                         (long long)planes->channels, (long long)planes->apart, ordered(w, planes, steps),
                         kernel_number(w, planes->conv.batch), config->number[PLANE_PARTS],
                         (long long)col_tiles(planes, config));
}

static void declare_tile(KernelWriter *w, const Planes *planes, const Config *config) {
    const int32_t *n = config->number;
    const Value *x = &kernel_emission(w)->graph->values[planes->conv.x];
    kernel_declare(w, "typedef PlaneTile<%s, %d, %d, %d, %d, %d, %d, %d, %lld, %d, %s, %s, %s> Tile;",
                   cuda_type(x->dtype), n[PLANE_PIECES], n[PLANE_COLS], n[PLANE_DEPTH], planes->kernel[0],
                   planes->kernel[2], planes->stride, n[PLANE_INPUTS], (long long)input_bytes(planes, config),
                   n[PLANE_STAGES], keeps(planes, config) ? "true" : "false",
                   spreads(planes) ? "true" : "false", planes->apart > 0 ? "true" : "false");
}

/* The input as boxes have it: with stride 2 pairs of places are one, of the channels of both or, apart, with
 * what lies between. */
static KernelMap input_map(const Emission *emission, const Planes *planes, const Config *config) {
    const int32_t boxes[] = {1, box(planes, config, 1), box(planes, config, 2)};
    KernelMap x = wgmma_conv_boxes(emission, &planes->conv, config->number[PLANE_DEPTH], planes->axis, boxes);
    if (planes->apart > 0) {
        x.dim[0] = dim_add(emission->graph->dims, x.dim[0], planes->apart);
    } else {
        x.dim[0] *= planes->stride;
        x.box[0] *= planes->stride;
        x.swizzle *= planes->stride;
    }
    x.dim[1] /= planes->stride;
    x.stride[1] *= planes->stride;
    return x;
}

/* What the normalised input is stored with: distances between planes, lines and places. */
static const char *keep_text(KernelWriter *w, const Planes *planes) {
    const Graph *graph = kernel_emission(w)->graph;
    ValueId id = problem_anchor(kernel_emission(w)->problem)->inputs[0];
    const Value *x = &graph->values[id];
    int32_t lacks = WINDOW_AXES - (x->shape.rank - 2);
    Dim strides[SMELT_MAX_RANK], steps[WINDOW_AXES];
    if (!planes->keeps) return "NormalDrop{}";
    Access access = access_value(graph, id, &x->shape, x->layout);
    bool packed = access_is_packed(&access, EPILOGUE_LANES) && access_value_is_aligned(x);
    value_strides(graph, id, strides);
    for (int32_t i = 0; i < WINDOW_AXES; ++i)
        steps[i] = planes->axis[i] >= lacks ? strides[2 + planes->axis[i] - lacks] : 0;
    return kernel_format(w, "NormalKeep<%s, %s>{%s, %s}", cuda_type(x->dtype), packed ? "true" : "false",
                         kernel_result(w, id), three(w, steps));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    Planes planes;
    DimTable *dims = emission->graph->dims;
    (void)describe(emission->problem, &planes);
    KernelMap x = input_map(emission, &planes, config);
    KernelMap weights = wgmma_conv_weights(emission, &planes.conv, config->number[PLANE_DEPTH],
                                           config->number[PLANE_COLS], spreads(&planes) ? 32 : 0);
    TRY(front_planes_begin(emission, device));
    KernelWriter *w = kernel_begin(emission, "conv_planes");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "wgmma_planes.cuh");
    declare_tile(w, &planes, config);
    const char *maps = kernel_format(w, "%s, %s", kernel_map(w, &x), kernel_map(w, &weights));
    SumsText sums = conv_sums(emission->problem, &planes.conv);
    const char *store = sum_store(w, &sums, conv_scale(w, &planes.conv));
    kernel_line(w, "const PlaneWindow window = %s;", window_text_of(w, &planes, config));
    const char *moments = sum_moments(w, planes.images, planes.outputs, true);
    kernel_line(w, "plane_product<Tile>(window, %s, %s, %s, %s);", maps, store, moments,
                front_planes_normal(w, device, keep_text(w, &planes)));
    Dim blocks = dim_mul(dims, planes.conv.batch, config->number[PLANE_PARTS] * col_tiles(&planes, config));
    kernel_waits(w);
    kernel_resident(w, 1);
    return kernel_finish(w, dim_min(dims, blocks, most_blocks(&planes, device, config)), 1, 1,
                         WARPGROUPS * 128 + (planes.normalizes && planes.stride > 1 ? 256 : 128),
                         (int32_t)shared_bytes(&planes, config));
}

const Tactic tactic_conv_planes = {.name = "conv_planes",
                                   .version = 2,
                                   .strided = true,
                                   .normalizes_planes = true,
                                   .keeps_planes = true,
                                   .arch = "sm_90a",
                                   .refuses = refuses,
                                   .configs = configs,
                                   .emit = emit,
                                   .cost = cost,
                                   .moment_parts = moment_parts,
                                   .finds_moments = front_planes_cost};
