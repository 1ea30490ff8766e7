/* Inverted residuals, from the 1x1 convolution to many channels over that of each of them by itself to the
 * one back to few, in one launch: a block computes a tile of places, and goes through the many channels in
 * slices. The first or the last of the three may be missing. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/block_text.h"

enum {
    THREADS = 256, /* inverted.cuh's INVERTED_THREADS */
    WARPS = THREADS / 32,
    COLUMNS = 16,
    LANES = EPILOGUE_LANES,
    SHARED_RESERVED = 1024, /* bytes of each block, for the system */
    MOST_INPUTS = 160,
    MOST_OUTPUTS = 96,
    KEPT_CONFIGS = 4,
    ROWS = 0, /* numbers of a config */
    SLICE = 1,
    RESIDENT = 2, /* blocks of a multiprocessor */
    NUMBERS = 3
};

/* The three convolutions: [expanded, inputs], [expanded, kernel, kernel] and [outputs, expanded]; NULL, and
 * no inputs or outputs: there is none. */
typedef struct Inverted {
    const Node *expand, *each, *back;
    int64_t inputs, expanded, outputs, kernel, stride, top, left;
    Dim height, width, out_height, out_width;
} Inverted;

static const char *refuse_each(const Problem *problem, const Node *node, Inverted *out) {
    const char *why = block_conv_refuses(problem, node);
    if (why != NULL) return why;
    if (!block_weights_are_plain(problem, node)) return "weights that do not lie plainly";
    const ConvAttrs *attrs = node->parsed;
    const WindowAttrs *window = &attrs->window;
    const Shape *w = &block_weights(problem, node)->shape;
    out->kernel = w->dim[2];
    out->stride = window->stride[0];
    out->top = window->pad_begin[0];
    out->left = window->pad_begin[1];
    if (w->dim[1] != 1 || attrs->group != w->dim[0]) return "channels that are not each by itself";
    if (w->dim[3] != out->kernel || (out->kernel != 3 && out->kernel != 5))
        return "other windows than 3x3 and 5x5";
    if (window->stride[1] != out->stride || out->stride > 2) return "other strides than 1 and 2";
    if (window->dilation[0] != 1 || window->dilation[1] != 1) return "dilations";
    if (out->top >= out->kernel || out->left >= out->kernel) return "pads that are longer than windows";
    return NULL;
}

static const char *refuse_channels(const Problem *problem, const Inverted *own) {
    const Value *x = problem_input(problem, 0);
    const Shape *back = own->back == NULL ? NULL : &block_weights(problem, own->back)->shape;
    const Shape *expand = own->expand == NULL ? NULL : &block_weights(problem, own->expand)->shape;
    if ((expand != NULL && expand->dim[0] != own->expanded) ||
        (back != NULL && back->dim[1] != own->expanded) ||
        x->shape.dim[1] != (expand != NULL ? own->inputs : own->expanded))
        return "channels that do not fit";
    if (own->inputs % LANES != 0 || own->outputs % LANES != 0 || own->expanded % 16 != 0 || own->expanded < 1)
        return "channels that are no packs of eight";
    if (own->inputs > MOST_INPUTS || own->outputs > MOST_OUTPUTS) return "many channels";
    const char *why = block_packs_refuse(problem);
    if (why != NULL) return why;
    const Node *wide[2] = {own->expand, own->each};
    for (int i = 0; i < 2; ++i)
        if (wide[i] != NULL && !channels_are_inner(problem_value(problem, wide[i]->outputs[0])))
            return "values that are not in channels-last layout";
    return NULL;
}

static const char *describe(const Problem *problem, Inverted *out) {
    if (problem->middle == NONE || problem->shortcut != NONE) return "not an inverted residual";
    *out = (Inverted){.each = &problem->graph->nodes[problem->middle]};
    if (problem->anchor != problem->middle) out->expand = problem_anchor(problem);
    if (problem->project != NONE) out->back = &problem->graph->nodes[problem->project];
    const char *why = refuse_each(problem, out->each, out);
    if (why == NULL && out->expand != NULL) why = block_product_refuses(problem, out->expand);
    if (why == NULL && out->back != NULL) why = block_product_refuses(problem, out->back);
    if (why != NULL) return why;
    out->expanded = block_weights(problem, out->each)->shape.dim[0];
    if (out->expand != NULL) out->inputs = block_weights(problem, out->expand)->shape.dim[1];
    if (out->back != NULL) out->outputs = block_weights(problem, out->back)->shape.dim[0];
    const Shape *x = &problem_value(problem, out->each->inputs[0])->shape,
                *y = &problem_value(problem, out->each->outputs[0])->shape;
    out->height = x->dim[2];
    out->width = x->dim[3];
    out->out_height = y->dim[2];
    out->out_width = y->dim[3];
    return refuse_channels(problem, out);
}

/* -- configs -- */

/* What inverted.cuh's InvertedTile works out. */
typedef struct Tile {
    int64_t places, depth, times, bytes;
} Tile;

static Tile tile_of(const Inverted *own, const Config *config) {
    int64_t slice = config->number[SLICE];
    int64_t lines = ((int64_t)WARPS * config->number[ROWS] - 1) * own->stride + own->kernel;
    int64_t line = ceil_div_i64((COLUMNS - 1) * own->stride + own->kernel, own->stride) * own->stride;
    Tile tile = {.places = round_up_i64(lines * line, 16),
                 .depth = round_up_i64(own->inputs, 16),
                 .times = ceil_div_i64(own->outputs, 16)};
    int64_t each = slice + 8, in = own->expand != NULL ? tile.depth + 8 : 0;
    int64_t weights = slice * in + tile.times * 16 * each + slice * own->kernel * own->kernel;
    int64_t leaving = (int64_t)WARPS * 16 * ((own->back != NULL ? own->outputs : 16) + 4) * 4;
    tile.bytes = 2 * (tile.places * (own->expand != NULL ? in + each : 2 * each) + 2 * weights);
    if (own->back == NULL) tile.bytes += leaving;
    if (tile.bytes < leaving) tile.bytes = leaving;
    return tile;
}

/* -- times, fitted to those of an H200 -- */

static bool is_quick(OpId op) {
    return op == OP_Conv || op == OP_Clip || op == OP_Relu || op == OP_LeakyRelu || op == OP_HardSwish ||
           op == OP_HardSigmoid || op == OP_Add || op == OP_Mul;
}

static bool is_costly(const Problem *problem) {
    for (int32_t i = 0; i < problem->node_count; ++i)
        if (!is_quick(problem->graph->nodes[problem->nodes[i]].op)) return true;
    return false;
}

/* Instructions of a warp for a slice: at a piece of the halo, and for 16 channels of its windows. */
static double slice_instructions(const Inverted *own, const Config *config, const Tile *tile,
                                 double activation) {
    double slice = config->number[SLICE], rows = config->number[ROWS], kernel = (double)own->kernel;
    double terms = (double)tile->depth / 16,
           piece = 21 + terms * (1 + slice / 8) + slice * (1 + activation / 2);
    double pieces = (double)ceil_div_i64(tile->places / 16, WARPS);
    double lines = (rows - 1) * (double)own->stride + kernel, leaving = own->back != NULL ? 8 : 48;
    double group = 60 + 4 * kernel * kernel + lines * kernel + rows * kernel * (kernel + 1) +
                   rows * (leaving + 16 * activation) + (double)tile->times * (1 + 2 * rows);
    double copies = (double)tile->places * slice / 8 / THREADS * 30;
    return slice / 16 * group + (own->expand != NULL ? pieces * piece : copies);
}

/* Blocks that are there at a time take turns; the more there are, the less of it is waiting. */
static double cost_of(const Problem *problem, const Device *device, const Inverted *own,
                      const Config *config) {
    static const double busy[] = {0, 0.35, 0.505, 0.6}; /* part of the cycles in which instructions begin */
    enum { SCHEDULERS = 4, SLICE_CYCLES = 284, BLOCK_CYCLES = 544 };
    DimTable *dims = problem->graph->dims;
    Tile tile = tile_of(own, config);
    int32_t resident = config->number[RESIDENT];
    Dim rows = dim_ceil_div(dims, own->out_height, (int64_t)WARPS * config->number[ROWS]);
    Dim tiles = dim_mul(dims, rows, dim_ceil_div(dims, own->out_width, COLUMNS));
    Dim blocks = dim_mul(dims, problem_input(problem, 0)->shape.dim[0], tiles);
    int64_t slices = own->expanded / config->number[SLICE];
    double instructions = slice_instructions(own, config, &tile, is_costly(problem) ? 5.8 : 2.27);
    double cycles =
        (double)slices * (instructions * WARPS / SCHEDULERS / busy[resident] + SLICE_CYCLES) + BLOCK_CYCLES;
    double waves = (double)dim_at_opt(problem->graph, blocks) / device->sm_count / resident;
    if (waves < 1) waves = 1;
    if (waves < 2) waves = waves > 1 ? 2 : 1;
    return device->launch_us + waves * resident * cycles / device->clock_mhz;
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    Inverted own;
    return describe(problem, &own) == NULL ? cost_of(problem, device, &own, config) : 0;
}

/* The legal ones that should be fastest. */
static int32_t add_configs(const Problem *problem, const Inverted *own, const Device *device,
                           Config out[MOST_CONFIGS]) {
    static const int32_t slices[] = {48, 32, 16};
    double costs[KEPT_CONFIGS];
    int32_t count = 0;
    for (int32_t i = 0; i < 18; ++i) {
        Config config = {.count = NUMBERS, .number = {1 + i % 2, slices[i / 6], 1 + i / 2 % 3}};
        int64_t bytes = tile_of(own, &config).bytes;
        if (own->expanded % config.number[SLICE] != 0 || bytes > device->shared_per_block ||
            (bytes + SHARED_RESERVED) * config.number[RESIDENT] > device->shared_per_sm)
            continue;
        count =
            config_insert(&config, cost_of(problem, device, own, &config), KEPT_CONFIGS, costs, out, count);
    }
    return count;
}

static const char *refuses(const Problem *problem, const Device *device) {
    Inverted own;
    Config all[MOST_CONFIGS];
    const char *why = describe(problem, &own);
    if (why != NULL) return why;
    return add_configs(problem, &own, device, all) == 0 ? "tiles larger than shared memory" : NULL;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Inverted own;
    return describe(problem, &own) == NULL ? add_configs(problem, &own, device, out) : 0;
}

static double bytes_at_opt(const Problem *problem, ValueId value) {
    return (double)value_count_at_opt(problem->graph, value) *
           dtype_bits(problem_value(problem, value)->dtype) / 8;
}

/* Convolutions by themselves reach about two thirds of the memory's rate, with costly functions, too, which
 * the fused one waits for. That one must be clearly faster. */
static bool pays(const Problem *problem, const Device *device) {
    Inverted own;
    Config all[MOST_CONFIGS];
    double apart = 0;
    if (describe(problem, &own) != NULL || add_configs(problem, &own, device, all) == 0) return false;
    const Node *nodes[3] = {own.expand, own.each, own.back};
    for (int i = 0; i < 3; ++i) {
        if (nodes[i] == NULL) continue;
        double bytes =
            bytes_at_opt(problem, nodes[i]->inputs[0]) + bytes_at_opt(problem, nodes[i]->outputs[0]);
        apart += device->launch_us + bytes / (0.65 * device->dram_gb_per_s * 1e3);
    }
    return cost_of(problem, device, &own, &all[0]) < 0.9 * apart;
}

/* -- text -- */

/* A convolution's weights and bias as two arguments; NULL: of one that is missing. */
static const char *weights_text(KernelWriter *w, const Inverted *own, const Node *node) {
    if (node == NULL) return kernel_format(w, "%s, PlainSum{}", kernel_pointer(w, own->each->inputs[1]));
    const char *weights = kernel_pointer(w, node->inputs[1]);
    return kernel_format(w, "%s, %s", weights, bias_text(w, node->input_count > 2 ? node->inputs[2] : NONE));
}

static bool weights_are_constant(const Problem *problem, const Node *node) {
    return node == NULL || inputs_are_constant(problem, node, 1);
}

static const char *sizes_text(KernelWriter *w, const Inverted *own) {
    return kernel_format(w, "InvertedSizes{%s, %s, %s, %s, %d, %d, %d}", kernel_number(w, own->height),
                         kernel_number(w, own->width), kernel_number(w, own->out_height),
                         kernel_number(w, own->out_width), (int)own->top, (int)own->left, (int)own->expanded);
}

/* Of the image, the line and the place. */
static const char *steps_text(KernelWriter *w, ValueId value) {
    Dim strides[SMELT_MAX_RANK];
    value_strides(kernel_emission(w)->graph, value, strides);
    return kernel_format(w, "InvertedSteps{%s, %s, %s}", kernel_number(w, strides[0]),
                         kernel_number(w, strides[2]), kernel_number(w, strides[3]));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    Inverted own = {0};
    KernelWriter *w = kernel_begin(emission, "conv_inverted");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    const char *why = describe(problem, &own);
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "conv_inverted: %s", why);
    kernel_include(w, "inverted.cuh");
    kernel_declare(w, "typedef InvertedTile<%d, %d, %d, %d, %d, %d> Tile;", (int)own.kernel, (int)own.stride,
                   config->number[ROWS], (int)own.inputs, config->number[SLICE], (int)own.outputs);
    const char *between = own.expand != NULL ? kernel_between(w) : "PlainSum{}",
               *within = own.back != NULL ? kernel_within(w) : "PlainSum{}",
               *epilogue = kernel_pack_epilogue(w, LANES);
    bool constant = weights_are_constant(problem, own.expand) && weights_are_constant(problem, own.each) &&
                    weights_are_constant(problem, own.back);
    ValueId x = problem_anchor(problem)->inputs[0];
    kernel_line(w, "inverted_residual<Tile, %s>(%s, %s, %s, %s, %s, %s, %s, %s, %s);",
                constant ? "true" : "false", kernel_pointer(w, x), steps_text(w, x), sizes_text(w, &own),
                weights_text(w, &own, own.expand), between, weights_text(w, &own, own.each), within,
                weights_text(w, &own, own.back), epilogue);
    kernel_waits(w);
    kernel_resident(w, config->number[RESIDENT]);
    Dim rows = dim_ceil_div(dims, own.out_height, (int64_t)WARPS * config->number[ROWS]);
    Dim tiles = dim_mul(dims, rows, dim_ceil_div(dims, own.out_width, COLUMNS));
    Dim images = problem_input(problem, 0)->shape.dim[0];
    return kernel_finish(w, dim_mul(dims, images, tiles), 1, 1, THREADS,
                         (int32_t)tile_of(&own, config).bytes);
}

const Tactic tactic_conv_inverted = {.name = "conv_inverted",
                                     .version = 1,
                                     .strided = true,
                                     .inverts = true,
                                     .refuses = refuses,
                                     .configs = configs,
                                     .cost = cost,
                                     .emit = emit,
                                     .pays = pays};
