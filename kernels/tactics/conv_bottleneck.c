/* Residual blocks, from many channels to 64 by a 1x1 convolution, a 3x3 one among those and a 1x1 one back to
 * many, in one launch on sm_90a's matrix units: a warpgroup computes a tile of places. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/block_text.h"
#include "kernels/wgmma_conv.h"

enum {
    MIDDLE = 64,    /* channels between */
    MOST_PARTS = 4, /* of 64 channels of the input, and of the result */
    TAPS = 9,
    ELEMENT = 2,
    PIECE =
        64 * MIDDLE * ELEMENT, /* bytes of the weights of 64 channels for 64, and of 64 places of the input */
    LINE = 16,                 /* places of a tile's line with what is beside it */
    PLACES = 14,               /* without */
    LINES = 4,                 /* times REPEAT */
    MOST_STAGES = 4,
    SHARED_RESERVED = 1024 + 512, /* for the alignment of what lies there, and for barriers */
    WARPGROUPS = 2,
    THREADS = WARPGROUPS * 128 + 128,
    REPEAT = 0, /* numbers of a config */
    STAGES = 1,
    NUMBERS = 2
};

typedef struct Bottleneck {
    ConvText conv;                                  /* the first one */
    const Node *expand, *windows, *back, *shortcut; /* NULL: there is none */
    int64_t parts, outputs;
    bool constant; /* all weights are */
} Bottleneck;

static const char *refuse_windows(const Problem *problem, const Node *node) {
    const char *why = block_conv_refuses(problem, node);
    if (why != NULL) return why;
    const ConvAttrs *attrs = node->parsed;
    const WindowAttrs *window = &attrs->window;
    const Value *w = block_weights(problem, node);
    if (attrs->group != 1) return "groups";
    if (w->shape.dim[0] != MIDDLE || w->shape.dim[1] != MIDDLE) return "other than 64 channels in between";
    if (w->shape.dim[2] != 3 || w->shape.dim[3] != 3) return "other windows than 3x3";
    for (int32_t i = 0; i < 2; ++i) {
        if (window->stride[i] != 1 || window->dilation[i] != 1) return "strides and dilations";
        if (window->pad_begin[i] != 1 || window->pad_end[i] != 1) return "pads other than 1";
    }
    if (w->strides != NULL || w->channel_padding != 0 || !access_value_is_aligned(w))
        return "weights that are a slice";
    return w->layout == LAYOUT_PLAIN && w->data == NULL ? "weights that are computed" : NULL;
}

static const char *refuse_channels(const Problem *problem, const Bottleneck *own) {
    const Shape *back = &block_weights(problem, own->back)->shape;
    if (own->conv.outputs != MIDDLE || back->dim[1] != MIDDLE) return "other than 64 channels in between";
    if (own->conv.channels > MOST_PARTS * MIDDLE || back->dim[0] > MOST_PARTS * MIDDLE ||
        back->dim[0] < MIDDLE || back->dim[0] % MIDDLE != 0)
        return "more than 256 channels, or results that are no multiples of 64";
    if (own->shortcut != NULL) {
        const Shape *shortcut = &block_weights(problem, own->shortcut)->shape;
        if (own->conv.channels > MIDDLE) return "a shortcut from more than 64 channels";
        if (shortcut->dim[0] != back->dim[0] || shortcut->dim[1] != own->conv.channels)
            return "channels that do not fit";
    }
    const Node *nodes[2] = {own->expand, own->windows};
    for (int i = 0; i < 2; ++i)
        if (!channels_are_inner(problem_value(problem, nodes[i]->outputs[0])))
            return "values that are not in channels-last layout";
    return block_packs_refuse(problem);
}

static const char *describe(const Problem *problem, Bottleneck *out) {
    const Node *nodes = problem->graph->nodes;
    if (problem->middle == NONE || problem->project == NONE || problem->middle == problem->anchor)
        return "not a block of three convolutions";
    const Node *expand = problem_anchor(problem), *windows = &nodes[problem->middle],
               *back = &nodes[problem->project],
               *shortcut = problem->shortcut == NONE ? NULL : &nodes[problem->shortcut];
    *out = (Bottleneck){.expand = expand, .windows = windows, .back = back, .shortcut = shortcut};
    if (problem->shortcut != NONE && problem->sum == NONE) return "a shortcut that is not added";
    const char *why = block_product_refuses(problem, expand);
    if (why == NULL) why = refuse_windows(problem, windows);
    if (why == NULL) why = block_product_refuses(problem, back);
    if (why == NULL && problem->shortcut != NONE) why = block_product_refuses(problem, shortcut);
    if (why == NULL) why = wgmma_conv_boxes_refuse(problem, 1, &out->conv);
    if (why == NULL) why = refuse_channels(problem, out);
    if (why != NULL) return why;
    out->parts = ceil_div_i64(out->conv.channels, MIDDLE);
    out->outputs = block_weights(problem, out->back)->shape.dim[0];
    const Node *all[] = {out->expand, out->windows, out->back, out->shortcut};
    out->constant = true;
    for (int i = 0; i < 4; ++i)
        out->constant = out->constant && (all[i] == NULL || inputs_are_constant(problem, all[i], 1));
    return NULL;
}

/* -- configs -- */

static int64_t input_bytes(const Config *config) {
    return ((int64_t)LINES * config->number[REPEAT] + 2) * LINE * MIDDLE * ELEMENT;
}

/* What bottleneck.cuh's BottleneckTile works out. The last tap reads a few rows behind. */
static int64_t shared_bytes(const Bottleneck *own, const Config *config) {
    int64_t strips = own->outputs / MIDDLE * (own->shortcut != NULL ? 2 : 1);
    int64_t weights = (own->parts + TAPS + strips) * PIECE;
    return weights + (config->number[STAGES] + WARPGROUPS) * input_bytes(config) + 3 * MIDDLE * ELEMENT +
           1024;
}

static Dim count_tiles(DimTable *dims, const Bottleneck *own, const Config *config) {
    const WindowDims *window = &own->conv.window;
    Dim down = dim_ceil_div(dims, window->out[1], (int64_t)LINES * config->number[REPEAT]);
    return dim_mul(dims, own->conv.batch, dim_mul(dims, down, dim_ceil_div(dims, window->out[2], PLACES)));
}

/* Fitted to times on an H200: a tile's cycles, alone and where warpgroups take turns. */
static double cost_of(const Problem *problem, const Device *device, const Bottleneck *own,
                      const Config *config) {
    double tiles = (double)dim_at_opt(problem->graph, count_tiles(problem->graph->dims, own, config));
    double repeat = config->number[REPEAT];
    double alone = (own->shortcut != NULL ? 5000 : 5560) + 3500 * (repeat - 1);
    double each = (own->shortcut != NULL ? 3900 : 5000) + 4260 * (repeat - 1);
    double rounds = tiles / device->sm_count;
    if (rounds < 8) rounds = (double)ceil_div_i64((int64_t)tiles, device->sm_count);
    double cycles = rounds * each > alone ? rounds * each : alone;
    return device->launch_us + cycles / device->clock_mhz;
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    Bottleneck own;
    return describe(problem, &own) == NULL ? cost_of(problem, device, &own, config) : 0;
}

/* Larger tiles without a shortcut have too few registers for what is added. */
static int32_t add_configs(const Problem *problem, const Bottleneck *own, const Device *device,
                           Config out[MOST_CONFIGS]) {
    enum { REPEATS = 2 };
    double costs[REPEATS];
    int32_t count = 0;
    for (int32_t repeat = 1; repeat <= (own->shortcut != NULL ? REPEATS : 1); ++repeat) {
        Config config = {.count = NUMBERS, .number = {repeat, MOST_STAGES}};
        while (config.number[STAGES] > 1 &&
               shared_bytes(own, &config) > device->shared_per_block - SHARED_RESERVED)
            config.number[STAGES]--;
        if (config.number[STAGES] > 1)
            count =
                config_insert(&config, cost_of(problem, device, own, &config), REPEATS, costs, out, count);
    }
    return count;
}

static const char *refuses(const Problem *problem, const Device *device) {
    Bottleneck own;
    Config all[MOST_CONFIGS];
    const char *why = describe(problem, &own);
    if (why != NULL) return why;
    return add_configs(problem, &own, device, all) == 0 ? "weights larger than shared memory" : NULL;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Bottleneck own;
    return describe(problem, &own) == NULL ? add_configs(problem, &own, device, out) : 0;
}

/* The convolutions by themselves reach two thirds of the memory's rate. */
static bool pays(const Problem *problem, const Device *device) {
    Bottleneck own;
    Config all[MOST_CONFIGS];
    if (describe(problem, &own) != NULL || add_configs(problem, &own, device, all) == 0) return false;
    double places = (double)value_count_at_opt(problem->graph, own.expand->outputs[0]) / MIDDLE;
    double channels = (double)own.conv.channels + 4 * MIDDLE + (double)own.outputs;
    double bytes = places * channels * ELEMENT;
    if (conv_reads(problem, &own.conv)) bytes += places * (double)own.outputs * ELEMENT;
    double apart = 3 * device->launch_us + bytes / (0.65 * device->dram_gb_per_s * 1e3);
    return cost_of(problem, device, &own, &all[0]) < 0.9 * apart;
}

/* -- text -- */

/* Of a product with so many channels of its input. */
static const char *back_map(KernelWriter *w, const Bottleneck *own, ValueId weights, Dim channels) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    KernelMap map =
        wgmma_spread_map(dims, 32, ELEMENT, MIDDLE, MIDDLE, weights, own->outputs, channels, channels);
    return kernel_map(w, &map);
}

static const char *weights_text(KernelWriter *w, const Bottleneck *own) {
    Emission *emission = kernel_emission(w);
    KernelMap expand = wgmma_conv_weights(emission, &own->conv, MIDDLE, MIDDLE, 0);
    KernelMap windows = {.value = own->windows->inputs[1],
                         .rank = 3,
                         .swizzle = MIDDLE * ELEMENT,
                         .dim = {MIDDLE, TAPS, MIDDLE},
                         .stride = {1, MIDDLE, TAPS * MIDDLE},
                         .box = {MIDDLE, 1, MIDDLE},
                         .channels_last =
                             block_weights(emission->problem, own->windows)->layout == LAYOUT_PLAIN};
    const char *back = back_map(w, own, own->back->inputs[1], MIDDLE);
    return kernel_format(
        w, "BottleneckWeights{%s, %s, %s, %s}", kernel_map(w, &expand), kernel_map(w, &windows), back,
        own->shortcut != NULL ? back_map(w, own, own->shortcut->inputs[1], own->conv.channels) : back);
}

static ValueId bias_of(const Node *node) {
    return node->input_count > 2 ? node->inputs[2] : NONE;
}

/* What is added to a product's columns. */
static const char *columns_text(KernelWriter *w, const Node *node) {
    if (bias_of(node) == NONE) return "NoBias{}";
    return kernel_format(w, "ColumnBias<%s>{%s}", cuda_type(DTYPE_F16), kernel_pointer(w, bias_of(node)));
}

static const char *finish_text(KernelWriter *w, const Bottleneck *own) {
    const char *back = columns_text(w, own->back);
    if (own->shortcut == NULL) return back;
    return kernel_format(w, "finish_both(%s, %s)", back, columns_text(w, own->shortcut));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    static const int32_t axes[] = {0, 1, 2};
    const int32_t box[] = {1, LINES * config->number[REPEAT] + 2, LINE};
    const Problem *problem = emission->problem;
    Bottleneck own;
    KernelWriter *w = kernel_begin(emission, "conv_bottleneck");
    TRY_ALLOC(emission->diag, w);
    const char *why = describe(problem, &own);
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "conv_bottleneck: %s", why);
    KernelMap x = wgmma_conv_boxes(emission, &own.conv, MIDDLE, axes, box);
    kernel_include(w, "bottleneck.cuh");
    kernel_declare(w, "typedef BottleneckTile<%s, %d, %d, %d, %s, %d> Tile;", cuda_type(DTYPE_F16),
                   config->number[REPEAT], (int)own.parts, (int)(own.outputs / MIDDLE),
                   own.shortcut != NULL ? "true" : "false", config->number[STAGES]);
    const char *between = kernel_between(w), *within = kernel_within(w),
               *epilogue = kernel_pack_epilogue(w, EPILOGUE_LANES);
    const WindowDims *window = &own.conv.window;
    kernel_line(w, "const BottleneckTiles<Tile> tiles = {{%s, %s, %s}};", kernel_number(w, own.conv.batch),
                kernel_number(w, window->out[1]), kernel_number(w, window->out[2]));
    kernel_line(w, "bottleneck<Tile, %s>(tiles, %s, %s, %s, %s, %s, %s, %s, %s);",
                own.constant ? "true" : "false", kernel_map(w, &x), weights_text(w, &own),
                columns_text(w, own.expand), between, columns_text(w, own.windows), within,
                finish_text(w, &own), epilogue);
    Dim tiles = count_tiles(emission->graph->dims, &own, config);
    kernel_waits(w);
    kernel_resident(w, 1);
    return kernel_finish(w, dim_min(emission->graph->dims, tiles, device->sm_count), 1, 1, THREADS,
                         (int32_t)shared_bytes(&own, config));
}

const Tactic tactic_conv_bottleneck = {.name = "conv_bottleneck",
                                       .version = 2,
                                       .strided = true,
                                       .inverts = true,
                                       .arch = "sm_90a",
                                       .refuses = refuses,
                                       .configs = configs,
                                       .cost = cost,
                                       .emit = emit,
                                       .pays = pays};
