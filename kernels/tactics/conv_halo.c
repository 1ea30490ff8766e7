/* Convolutions of channels-last tensors in half precision with stride 1 on sm_90a's matrix units: each piece
 * of the input is copied once, with its halo, for all taps. What counts for few channels, where windows would
 * be copied from L2 again for every tap. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/wgmma_conv.h"

enum {
    INPUTS = 2,         /* pieces of the input in shared memory */
    SWAPPED_INPUTS = 3, /* one is stored from, one multiplied, one on its way */
    SHARED_RESERVED = 1024,
    PIECE = 64, /* rows of an instruction */
    ELEMENT = 2,
    MOST_SUMS = 128, /* registers of a thread */
    MOST_COLS = 128,
    SIDE = 8, /* places of a tile's line where operands are swapped */
    SWAPPED_COLS = 64,
    MOST_SWAPPED_COLS = 256,
    MOST_STAGES = 32,
    WARPGROUPS = 2,
    KEPT = 12 /* configs */
};

typedef enum HaloNumber {
    HALO_PIECES, /* of a warpgroup; 0: operands are swapped, a warpgroup has tiles of its own */
    HALO_COLS,
    HALO_DEPTH,
    HALO_Z,
    HALO_Y,
    HALO_X,
    HALO_STAGES
} HaloNumber;

/* A convolution whose sizes but the batch are known. */
typedef struct Halo {
    ConvText conv;
    int64_t images, channels, outputs, taps;
    int32_t kernel[WINDOW_AXES], dilation[WINDOW_AXES];
    int64_t out[WINDOW_AXES];
} Halo;

static const char *describe(const Problem *problem, Halo *out) {
    const char *why = wgmma_conv_boxes_refuse(problem, 1, &out->conv);
    if (why != NULL) return why;
    const WindowDims *window = &out->conv.window;
    for (int32_t i = 0; i < WINDOW_AXES; ++i) {
        out->kernel[i] = (int32_t)window->kernel[i];
        out->dilation[i] = (int32_t)window->dilation[i];
        out->out[i] = window->out[i];
    }
    out->images = dim_at_opt(problem->graph, out->conv.batch);
    if (out->images < 1) out->images = 1;
    out->channels = out->conv.channels;
    out->outputs = out->conv.outputs;
    out->taps = window->taps;
    return NULL;
}

/* -- tiles -- */

static int32_t box(const Halo *halo, const Config *config, int32_t axis) {
    return config->number[HALO_Z + axis] + (halo->kernel[axis] - 1) * halo->dilation[axis];
}

static bool is_swapped(const Config *config) {
    return config->number[HALO_PIECES] == 0;
}

static int32_t inputs_of(const Config *config) {
    return is_swapped(config) ? SWAPPED_INPUTS : INPUTS;
}

/* Rows between the beginnings of two pieces: those of the box, where a piece is one of its lines. */
static int32_t pitch(const Halo *halo, const Config *config) {
    return config->number[HALO_X] > PIECE / 2 && config->number[HALO_X] <= PIECE ? box(halo, config, 2)
                                                                                 : PIECE;
}

static int32_t pieces_of_plane(const Halo *halo, const Config *config) {
    int32_t y = config->number[HALO_Y];
    return pitch(halo, config) != PIECE ? y : (int32_t)ceil_div_i64(y * box(halo, config, 2), PIECE);
}

static int64_t box_bytes(const Halo *halo, const Config *config) {
    return (int64_t)box(halo, config, 0) * box(halo, config, 1) * box(halo, config, 2) *
           config->number[HALO_DEPTH] * ELEMENT;
}

static int64_t input_bytes(const Halo *halo, const Config *config) {
    return round_up_i64(box_bytes(halo, config), 1024);
}

static int64_t tap_bytes(const Config *config) {
    return (int64_t)config->number[HALO_COLS] * config->number[HALO_DEPTH] * ELEMENT;
}

/* Stages of weights for all channels and taps: one has the taps of a line. */
static int64_t all_stages(const Halo *halo, const Config *config) {
    return halo->channels / config->number[HALO_DEPTH] * (halo->taps / halo->kernel[2]);
}

/* A block has the same columns all the time where operands are swapped. */
static bool keeps(const Halo *halo, const Config *config) {
    return config->number[HALO_STAGES] == all_stages(halo, config) &&
           (is_swapped(config) || halo->outputs <= config->number[HALO_COLS]);
}

static int64_t col_tiles(const Halo *halo, const Config *config) {
    return ceil_div_i64(halo->outputs, config->number[HALO_COLS]);
}

static int64_t most_blocks(const Halo *halo, const Device *device, const Config *config) {
    return wgmma_blocks_of_columns(device->sm_count, is_swapped(config) ? col_tiles(halo, config) : 1);
}

/* Pieces that reach behind the box read what lies there, whose products are not stored. */
static int64_t shared_bytes(const Halo *halo, const Config *config) {
    int64_t behind = is_swapped(config)
                         ? 0
                         : (int64_t)(PIECE + box(halo, config, 2)) * config->number[HALO_DEPTH] * ELEMENT;
    return config->number[HALO_STAGES] * halo->kernel[2] * tap_bytes(config) +
           inputs_of(config) * input_bytes(halo, config) + behind + 1024;
}

static bool spreads(const Halo *halo) {
    return halo->outputs % 32 == 0;
}

/* Tiles that a block has, where there are fewer rounds than that a whole number. */
static double rounds_of(const Halo *halo, const Device *device, const Config *config) {
    double tiles = (double)halo->images * (double)col_tiles(halo, config);
    for (int32_t i = 0; i < WINDOW_AXES; ++i)
        tiles *= (double)ceil_div_i64(halo->out[i], config->number[HALO_Z + i]);
    int64_t blocks = most_blocks(halo, device, config);
    double rounds = tiles / (double)blocks;
    return rounds < 16 ? (double)ceil_div_i64((int64_t)tiles, blocks) : rounds;
}

/* Read and written. */
static double halo_bytes(const Halo *halo) {
    double places = (double)halo->images;
    for (int32_t i = 0; i < WINDOW_AXES; ++i) places *= (double)halo->out[i];
    return places * (double)(halo->channels + halo->outputs) * ELEMENT;
}

/* For a tile: its input and, where they do not stay, the weights. */
static double copied_bytes(const Halo *halo, const Config *config) {
    double channels = (double)halo->channels,
           input = (double)box_bytes(halo, config) * channels / config->number[HALO_DEPTH];
    if (keeps(halo, config)) return input;
    return input + (double)halo->taps * channels * ELEMENT * config->number[HALO_COLS];
}

/* A tile is stored while the next one is multiplied. By 160 times on an H200, of which it misses 5 %. */
static double swapped_model(const Halo *halo, const Device *device, const Config *config) {
    double planes = config->number[HALO_Z], places = SIDE * config->number[HALO_Y];
    double products = 2 * PIECE * 16 * places / device->fp16_per_clock,
           reads = 1.32 * (2048 + 32 * places) / 128;
    double steps = planes * (double)halo->taps * (double)halo->channels / 16;
    bool near = halo_bytes(halo) < (double)device->l2_bytes;
    double copies = copied_bytes(halo, config) / ((near ? 0.74 : 0.66) * wgmma_l2_rate(device)),
           stored = 10.5 * planes * places;
    double main = 1.15 * steps * (products > reads ? products : reads);
    if (copies > main) main = copies;
    double both = 0.82 * (main + stored);
    return (rounds_of(halo, device, config) * (main > both ? main : both) + 2200) / device->clock_mhz;
}

/* As wgmma_cost; the epilogue follows the products, while the next input comes. Rows that are read from
 * anywhere on take longer than those from multiples of 8 on, the more the shorter they are. */
static double model(const Halo *halo, const Device *device, const Config *config) {
    if (is_swapped(config)) return swapped_model(halo, device, config);
    double pieces = WARPGROUPS * config->number[HALO_PIECES], cols = config->number[HALO_COLS];
    double products = 2 * PIECE * 16 * cols / device->fp16_per_clock, reads = (2048 + 32 * cols) / 128;
    double steps = (double)halo->taps * (double)halo->channels / 16;
    double copies = copied_bytes(halo, config) / wgmma_l2_rate(device);
    double slower = config->number[HALO_DEPTH] >= (cols > 32 ? 64 : 32) ? (cols > 32 ? 1.3 : 1.05) : 1.7;
    double main = slower * pieces * steps * (products > reads ? products : reads);
    if (copies > main) main = copies;
    double epilogue = pieces * PIECE * cols * 0.064 * (spreads(halo) ? 1 : 1.3) + 950;
    return (rounds_of(halo, device, config) * (main + epilogue) + 2000) / device->clock_mhz;
}

/* As many stages as there is memory for. */
static bool is_legal(const Halo *halo, const Device *device, Config *config) {
    const int32_t most_shared = device->shared_per_block - SHARED_RESERVED;
    for (int32_t i = 0; i < WINDOW_AXES; ++i)
        if (box(halo, config, i) > WGMMA_MOST_BOX) return false;
    int64_t most = all_stages(halo, config);
    config->number[HALO_STAGES] = (int32_t)(most < MOST_STAGES ? most : MOST_STAGES);
    while (config->number[HALO_STAGES] > 1 && shared_bytes(halo, config) > most_shared)
        config->number[HALO_STAGES]--;
    bool enough = config->number[HALO_STAGES] > 1 || keeps(halo, config);
    return enough && shared_bytes(halo, config) <= most_shared;
}

static bool has_pieces(const Halo *halo, Config *config) {
    int32_t pieces = config->number[HALO_Z] * pieces_of_plane(halo, config);
    config->number[HALO_PIECES] = pieces / WARPGROUPS;
    return pieces % WARPGROUPS == 0 &&
           config->number[HALO_PIECES] * config->number[HALO_COLS] / 2 <= MOST_SUMS;
}

static int32_t depth_of(const Halo *halo, bool narrow) {
    int32_t depth = 64;
    while (halo->channels % depth != 0) depth /= 2;
    return narrow && depth > 16 ? depth / 2 : depth;
}

static int32_t cols_of(const Halo *halo) {
    int32_t cols = 32;
    while (cols < halo->outputs) cols += 32;
    return cols;
}

/* Instructions whose columns are no multiple of 32 take longer. */
static void add_swapped(const Halo *halo, const Device *device, int32_t depth, double *costs, Config *out,
                        int32_t *count) {
    int32_t most_z = halo->out[0] > 1 ? 4 : 1;
    for (int32_t z = 1; z <= most_z; ++z)
        for (int32_t y = 4; z * y * SIDE / 2 <= MOST_SUMS && y < halo->out[1] + 4; y += 4) {
            Config config = {.count = HALO_STAGES + 1, .number = {0, SWAPPED_COLS, depth, z, y, SIDE}};
            if (is_legal(halo, device, &config))
                *count = config_insert(&config, model(halo, device, &config), 2 * KEPT, costs, out, *count);
        }
}

/* Lines of the image in equal parts. */
static void add_parts(const Halo *halo, const Device *device, int32_t depth, int32_t parts, double *costs,
                      Config *out, int32_t *count) {
    int32_t most_z = halo->out[0] > 1 ? 4 : 1;
    for (int32_t z = 1; z <= most_z; ++z)
        for (int32_t y = 1; y <= 16 && y <= halo->out[1] + 1; ++y) {
            Config config = {
                .count = HALO_STAGES + 1,
                .number = {0, cols_of(halo), depth, z, y, (int32_t)ceil_div_i64(halo->out[2], parts)}};
            if (has_pieces(halo, &config) && is_legal(halo, device, &config))
                *count = config_insert(&config, model(halo, device, &config), KEPT, costs, out, *count);
        }
}

/* Whether operands may be swapped: the kernel leaves no moments then. */
static bool swaps(const Problem *problem, const Halo *halo) {
    return halo->outputs > SWAPPED_COLS / 2 && !conv_has_moments(problem, &halo->conv);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Halo halo;
    double costs[2 * KEPT];
    int32_t count = 0;
    if (describe(problem, &halo) != NULL) return 0;
    for (int32_t narrow = 0; narrow < 2 && halo.outputs <= MOST_COLS; ++narrow)
        for (int32_t parts = 1; parts <= 16 && parts <= halo.out[2]; ++parts)
            add_parts(&halo, device, depth_of(&halo, narrow != 0), parts, costs, out, &count);
    for (int32_t depth = depth_of(&halo, false); depth >= 32 && swaps(problem, &halo); depth /= 2)
        add_swapped(&halo, device, depth, costs, out, &count);
    return count;
}

static const char *refuses(const Problem *problem, const Device *device) {
    Halo halo;
    Config found[MOST_CONFIGS];
    (void)device;
    const char *why = describe(problem, &halo);
    if (why != NULL) return why;
    if (halo.taps < 3) return "few taps";
    if (halo.channels % 16 != 0) return "channels that are no multiple of 16";
    if (halo.outputs > MOST_SWAPPED_COLS) return "more than 256 output channels";
    if (halo.outputs > MOST_COLS && !swaps(problem, &halo)) return "more than 128 output channels";
    return configs(problem, device, found) > 0 ? NULL : "windows that do not fit in shared memory";
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    Halo halo;
    return describe(problem, &halo) == NULL ? model(&halo, device, config) : 0;
}

/* -- moments of the result -- */

static int64_t count_row_tiles(const Halo *halo, const Config *config) {
    int64_t tiles = 1;
    for (int32_t i = 0; i < WINDOW_AXES; ++i) tiles *= ceil_div_i64(halo->out[i], config->number[HALO_Z + i]);
    return tiles;
}

/* Blocks that have tiles of one entry and the same columns leave them once, others for each tile. */
static bool leaves_each(const Halo *halo, const Config *config) {
    return halo->images > 1 || halo->outputs > config->number[HALO_COLS];
}

/* Takes stages of weights for the memory that moments need. */
static bool make_room(const Halo *halo, const Device *device, Config *config) {
    const int32_t most = device->shared_per_block - SHARED_RESERVED - sum_moments_shared();
    bool kept = keeps(halo, config);
    while (!kept && config->number[HALO_STAGES] > 2 && shared_bytes(halo, config) > most)
        config->number[HALO_STAGES]--;
    return shared_bytes(halo, config) <= most &&
           sum_moments_fit(config->number[HALO_PIECES], config->number[HALO_COLS], 1);
}

static int64_t moment_parts(const Problem *problem, const Device *device, const Config *config) {
    Halo halo;
    Config own = *config;
    if (describe(problem, &halo) != NULL || !conv_has_moments(problem, &halo.conv)) return 0;
    if (is_swapped(config) || !make_room(&halo, device, &own)) return 0;
    return sum_moment_parts(count_row_tiles(&halo, config), device->sm_count, leaves_each(&halo, config));
}

/* -- text -- */

static const char *numbers_text(KernelWriter *w, const int32_t *numbers) {
    return kernel_format(w, "{%d, %d, %d}", numbers[0], numbers[1], numbers[2]);
}

static const char *window_numbers(KernelWriter *w, const Halo *halo, const Config *config) {
    const WindowDims *window = &halo->conv.window;
    int32_t boxes[WINDOW_AXES];
    for (int32_t i = 0; i < WINDOW_AXES; ++i) boxes[i] = box(halo, config, i);
    const char *shapes = kernel_format(w, "%s, %s, %s, %s", extents_text(w, window->out, WINDOW_AXES),
                                       extents_text(w, window->kernel, WINDOW_AXES),
                                       extents_text(w, window->dilation, WINDOW_AXES),
                                       extents_text(w, window->pad, WINDOW_AXES));
    return kernel_format(w, "{%s, %s, %s, %s, %d, %d, %s}", shapes, numbers_text(w, config->number + HALO_Z),
                         numbers_text(w, boxes), kernel_number(w, halo->conv.channels), pitch(halo, config),
                         pieces_of_plane(halo, config), kernel_number(w, halo->conv.batch));
}

static void declare_tile(KernelWriter *w, const Halo *halo, const Config *config, DType dtype) {
    const int32_t *n = config->number;
    const char *memory = kernel_format(w, "%d, %d, %d, %lld, %d, %s", n[HALO_DEPTH], halo->kernel[2],
                                       inputs_of(config), (long long)input_bytes(halo, config),
                                       n[HALO_STAGES], keeps(halo, config) ? "true" : "false");
    if (is_swapped(config))
        kernel_declare(w, "typedef SwappedTile<%s, %d, %d, %s> Tile;", cuda_type(dtype), n[HALO_Z], n[HALO_Y],
                       memory);
    else
        kernel_declare(w, "typedef HaloTile<%s, %d, %d, %d, %s, %s> Tile;", cuda_type(dtype), WARPGROUPS,
                       n[HALO_PIECES], n[HALO_COLS], memory, spreads(halo) ? "true" : "false");
}

static Dim count_tiles(DimTable *dims, const Halo *halo, const Config *config) {
    Dim tiles = dim_mul(dims, halo->conv.batch, col_tiles(halo, config));
    for (int32_t i = 0; i < WINDOW_AXES; ++i)
        tiles = dim_mul(dims, tiles, ceil_div_i64(halo->out[i], config->number[HALO_Z + i]));
    return tiles;
}

static Status emit(const Config *chosen, const Device *device, Emission *emission) {
    Halo halo;
    DimTable *dims = emission->graph->dims;
    Config own = *chosen;
    const Config *config = &own;
    (void)describe(emission->problem, &halo);
    if (emission->leaves_parts > 0) (void)make_room(&halo, device, &own);
    static const int32_t axes[] = {0, 1, 2};
    const int32_t boxes[] = {box(&halo, config, 0), box(&halo, config, 1), box(&halo, config, 2)};
    KernelMap x = wgmma_conv_boxes(emission, &halo.conv, config->number[HALO_DEPTH], axes, boxes);
    KernelMap weights =
        wgmma_conv_weights(emission, &halo.conv, config->number[HALO_DEPTH], config->number[HALO_COLS],
                           spreads(&halo) && !is_swapped(config) ? 32 : 0);
    KernelWriter *w = kernel_begin(emission, "conv_halo");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, is_swapped(config) ? "wgmma_swapped.cuh" : "wgmma_halo.cuh");
    declare_tile(w, &halo, config, emission->graph->values[halo.conv.x].dtype);
    const char *maps = kernel_format(w, "%s, %s", kernel_map(w, &x), kernel_map(w, &weights));
    SumsText sums = conv_sums(emission->problem, &halo.conv);
    const char *store = sum_store(w, &sums, conv_scale(w, &halo.conv));
    kernel_line(w, "const HaloTiles<Tile> tiles = {%s, %lld};", window_numbers(w, &halo, config),
                (long long)col_tiles(&halo, config));
    const char *ahead = problem_value(emission->problem, halo.conv.w)->data != NULL ? "true" : "false";
    if (is_swapped(config))
        kernel_line(w, "swapped_product<Tile, %s>(tiles, %s, %s);", ahead, maps, store);
    else
        kernel_line(w, "halo_product<Tile, %s>(tiles, %s, %s, %s);", ahead, maps, store,
                    sum_moments(w, halo.images, halo.outputs, leaves_each(&halo, config)));
    Dim grid = dim_min(dims, count_tiles(dims, &halo, config), most_blocks(&halo, device, config));
    kernel_waits(w);
    kernel_resident(w, 1);
    return kernel_finish(w, grid, 1, 1, WARPGROUPS * 128 + 128, (int32_t)shared_bytes(&halo, config));
}

const Tactic tactic_conv_halo = {.name = "conv_halo",
                                 .version = 2,
                                 .strided = true,
                                 .arch = "sm_90a",
                                 .refuses = refuses,
                                 .configs = configs,
                                 .emit = emit,
                                 .cost = cost,
                                 .moment_parts = moment_parts};
