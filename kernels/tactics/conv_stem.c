/* Convolutions of few channels, as a network's first one is, in half precision or TF32 on matrix units: the
 * windows of a tile are read from a patch of the input in shared memory, to which it comes from wherever and
 * in whatever type it lies. */
#include <math.h>

#include "base/checked.h"
#include "ir/form.h"
#include "kernels/access.h"
#include "kernels/chain.h"
#include "kernels/conv_text.h"
#include "kernels/sums_text.h"

enum {
    MOST_TERMS = 512,
    MOST_STEP = 64,         /* strides and dilations */
    BYTES_OF_A_STEP = 32,   /* of its terms */
    PACK = 4,               /* elements of the input that are read together where they lie so */
    MOST_HELD = 20,         /* accesses of a thread for a patch */
    MOST_PATCH = 64 << 10,  /* bytes: places in it have 16 bits */
    USUAL_EXTENT = 128,     /* of symbolic dimensions */
    LEAST_COPY = 4,         /* bytes that are copied without a register; cuda/conv_stem.cuh has it, too */
    FEW_ROUNDS = 8,         /* of tiles over the multiprocessors: below, they are whole */
    WIDE_WARPS = 8,         /* of a multiprocessor: with all registers for 64 columns, */
    NARROW_WARPS = 16,      /* with half of them each */
    BUSY_WARPS = 8,         /* that keep a multiprocessor busy */
    SHARED_RESERVED = 1024, /* of a block, by the driver */
    KEPT_CONFIGS = 8
};
#define ALONE 1.15 /* time of blocks that share a multiprocessor with no other */
/* Numbers of a config. */
enum { COLS, WARPS, DEPTH, HEIGHT, WIDTH, RESIDENT, STEM_NUMBERS };

/* Where the input comes from. */
typedef struct StemInput {
    ValueId value;         /* that is read as it lies, cast to what the anchor reads; NONE: it is computed */
    int64_t pack;          /* elements of a line that begin at multiples of as many, as lines do */
    int64_t element_bytes; /* 0: it is computed */
} StemInput;

/* A problem that the tactic may do. */
typedef struct Stem {
    ConvText conv;
    StemInput input;
    int32_t element; /* bytes of what is multiplied: 2, or 4 of f32 */
    bool pools;
    /* What an element of the step's result needs of the convolution's, along each axis: the windows of a pool
     * behind it, or a place. */
    int64_t kernel[WINDOW_AXES], stride[WINDOW_AXES], pad[WINDOW_AXES];
    Dim out[WINDOW_AXES]; /* places of the step's result */
} Stem;

/* A tile of the result as a config has it, and what of cuda/conv_stem.cuh's StemTile and its like follows. */
typedef struct StemTile {
    int64_t places[WINDOW_AXES]; /* of the convolution's result */
    int64_t extent[WINDOW_AXES], lead, shift, pitch, copy, pack;
    int64_t count; /* packs of a channel */
    int64_t halves, steps, direct, held, bytes;
} StemTile;

/* -- the input -- */

/* The value behind nothing but a cast, NONE where there is something else. */
static ValueId cast_input(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    const Value *x = problem_value(problem, anchor->inputs[0]);
    const Node *cast = x->producer == NONE ? NULL : &problem->graph->nodes[x->producer];
    if (cast == NULL || cast->op != OP_Cast || cast->inputs[0] == NONE) return NONE;
    const Value *from = problem_value(problem, cast->inputs[0]);
    if (from->dtype != DTYPE_F32 && from->dtype != DTYPE_F16 && from->dtype != DTYPE_BF16) return NONE;
    for (int32_t i = 0; i < problem->input_count; ++i)
        if (problem->inputs[i] == cast->inputs[0]) return cast->inputs[0];
    return NONE;
}

static int64_t pack_of(const Problem *problem, const ConvText *conv, ValueId value) {
    DimTable *dims = problem->graph->dims;
    Dim strides[SMELT_MAX_RANK];
    int32_t rank = problem_value(problem, value)->shape.rank;
    value_strides(problem->graph, value, strides);
    if (strides[rank - 1] != 1 || !access_value_is_aligned(problem_value(problem, value))) return 1;
    for (int32_t i = 0; i < rank - 1; ++i)
        if (dim_divisor(dims, strides[i]) % PACK != 0) return 1;
    const WindowDims *window = &conv->window;
    return dim_divisor(dims, window->in[2]) % PACK == 0 && dim_is_exact(window->pad[2]) ? PACK : 1;
}

static StemInput input_of(const Problem *problem, const ConvText *conv) {
    ValueId value = problem_has_front(problem) ? cast_input(problem) : conv->x;
    if (value == NONE) return (StemInput){.value = NONE, .pack = 1};
    return (StemInput){.value = value,
                       .pack = pack_of(problem, conv, value),
                       .element_bytes = dtype_bits(problem_value(problem, value)->dtype) / 8};
}

static Stem describe(const Problem *problem) {
    Stem stem = {.conv = conv_describe(problem), .pools = problem->pooling != NONE};
    stem.element = dtype_bits(problem_value(problem, stem.conv.x)->dtype) / 8;
    FormWindows pool = {0};
    stem.input = input_of(problem, &stem.conv);
    if (stem.pools) (void)form_maxima(problem->graph, problem_last(problem), &pool);
    const Shape *out = &problem_value(problem, problem_last(problem)->outputs[0])->shape;
    for (int32_t i = 0; i < WINDOW_AXES; ++i) {
        int32_t own = i - (WINDOW_AXES - (out->rank - 2));
        stem.kernel[i] = stem.stride[i] = stem.out[i] = 1;
        if (own >= 0) stem.out[i] = out->dim[2 + own];
        if (own < 0 || !stem.pools) continue;
        stem.kernel[i] = pool.kernel[own];
        stem.stride[i] = pool.stride[own];
        stem.pad[i] = pool.pad[own];
    }
    return stem;
}

/* -- tiles -- */

static int32_t terms_of_a_step(const Stem *stem) {
    return BYTES_OF_A_STEP / stem->element;
}

/* Steps of pairs of terms that begin an even number of elements behind the window: they are read at once,
 * from a copy of the patch where the window begins at an odd one. Terms of f32 are read each for itself. */
static int64_t direct_steps(const Stem *stem) {
    const ConvText *conv = &stem->conv;
    const WindowDims *window = &conv->window;
    if (stem->element == 4) return window->taps * conv->channels / terms_of_a_step(stem);
    int64_t wide = window->dilation[2] == 1 ? window->kernel[2] : 1;
    if (wide == 1 && window->kernel[2] > 1 && window->dilation[2] * conv->channels % 2 != 0) return 0;
    return window->taps / wide * (wide * conv->channels / 2) * 2 / terms_of_a_step(stem);
}

/* Bytes of shared memory: what all tiles need, packs on their way, and the patch, where the weights lie
 * first. */
static int64_t shared_bytes(const Config *config, const Stem *stem, const StemTile *tile) {
    const int32_t *n = config->number;
    int64_t common = tile->steps * (32 * n[COLS] + 64 + 8 * terms_of_a_step(stem)) + 4 * n[COLS];
    int64_t pack = tile->pack * stem->input.element_bytes;
    int64_t packs =
        pack < LEAST_COPY ? 0 : round_up_i64(tile->held * stem->conv.channels * n[WARPS] * 32 * pack, 16);
    int64_t weights = n[COLS] * stem->conv.channels * stem->conv.window.taps * stem->element;
    int64_t pooled = stem->pools ? tile->places[0] * tile->places[1] * tile->places[2] * n[COLS] * 2 : 0;
    return common + packs +
           max_i64((tile->copy + round_up_i64(tile->halves, 8)) * stem->element + pooled, weights);
}

/* The elements of lines begin where packs do in memory. */
static void place_packs(const Config *config, const Stem *stem, StemTile *tile) {
    const WindowDims *window = &stem->conv.window;
    int64_t step = config->number[WIDTH] * stem->stride[2] * window->stride[2];
    tile->pack = step % PACK == 0 ? stem->input.pack : 1;
    if (tile->pack > 1) tile->lead = floor_mod_i64(-stem->pad[2] * window->stride[2] - window->pad[2], PACK);
    tile->extent[2] = ceil_div_i64(tile->extent[2] + tile->lead, tile->pack);
}

static StemTile tile_of(const Config *config, const Stem *stem) {
    const WindowDims *window = &stem->conv.window;
    const int32_t *n = config->number;
    int64_t channels = stem->conv.channels;
    StemTile tile = {.steps = ceil_div_i64(window->taps * channels, terms_of_a_step(stem)),
                     .direct = direct_steps(stem)};
    for (int i = 0; i < WINDOW_AXES; ++i) {
        tile.places[i] = (n[DEPTH + i] - 1) * stem->stride[i] + stem->kernel[i];
        /* Warps compute 32 places of one line or 16 of two. */
        if (i == 2) tile.places[i] = tile.places[i] <= 16 ? 16 : round_up_i64(tile.places[i], 32);
    }
    if (tile.places[2] == 16) tile.places[1] = round_up_i64(tile.places[1], 2);
    for (int i = 0; i < WINDOW_AXES; ++i)
        tile.extent[i] =
            (tile.places[i] - 1) * window->stride[i] + (window->kernel[i] - 1) * window->dilation[i] + 1;
    place_packs(config, stem, &tile);
    bool pairs = tile.direct > 0 && stem->element == 2;
    bool twice = pairs && window->stride[2] * channels % 2 != 0;
    tile.shift = pairs && !twice ? tile.lead * channels % 2 : 0;
    tile.pitch = round_up_i64(tile.extent[2] * tile.pack * channels + tile.shift,
                              channels == 1 && tile.pack > 1 ? tile.pack : 2);
    tile.count = tile.extent[0] * tile.extent[1] * tile.extent[2];
    tile.held = ceil_div_i64(tile.count, n[WARPS] * 32);
    tile.halves = tile.extent[0] * tile.extent[1] * tile.pitch;
    tile.copy = twice ? round_up_i64(tile.halves, 8) : 0;
    tile.bytes = shared_bytes(config, stem, &tile);
    return tile;
}

static bool is_legal(const Device *device, const Stem *stem, const StemTile *tile) {
    return tile->held * stem->conv.channels <= MOST_HELD && tile->halves * stem->element <= MOST_PATCH &&
           tile->bytes <= device->shared_per_block;
}

static int64_t usual(Dim extent) {
    return dim_is_exact(extent) ? extent : USUAL_EXTENT;
}

static Dim tile_count(DimTable *dims, const Config *config, const Stem *stem) {
    Dim tiles = stem->conv.batch;
    for (int i = 0; i < WINDOW_AXES; ++i)
        tiles = dim_mul(dims, tiles, dim_ceil_div(dims, stem->out[i], config->number[DEPTH + i]));
    return tiles;
}

/* Blocks of a multiprocessor that work at a time. */
static double blocks_under_way(const Config *config, const Device *device, const StemTile *tile,
                               double tiles) {
    int64_t room = device->shared_per_sm / (tile->bytes + SHARED_RESERVED);
    return fmin(tiles / device->sm_count, (double)min_i64(room, config->number[RESIDENT]));
}

/* An estimate of cycles, after times measured on an H200: a multiprocessor's tiles are read, multiplied and
 * stored, in turn, and few warps do not keep it busy; each block turns the weights first. */
static double tile_cost(const Config *config, const Device *device, const Stem *stem, const StemTile *tile) {
    const int32_t *n = config->number;
    double tiles = (double)usual(stem->conv.batch) * (double)ceil_div_i64(stem->conv.outputs, n[COLS]);
    for (int i = 0; i < WINDOW_AXES; ++i) tiles *= (double)ceil_div_i64(usual(stem->out[i]), n[DEPTH + i]);
    double sums = (double)(tile->places[0] * tile->places[1]) * (double)(tile->places[2] * n[COLS]);
    double work = sums * (0.025 + 0.014 * (double)tile->steps) +
                  0.3 * (double)(tile->count * stem->conv.channels) + 200;
    if (stem->pools) work += 0.03 * sums;
    double rounds = tiles / device->sm_count;
    if (rounds < FEW_ROUNDS) rounds = (double)ceil_div_i64((int64_t)tiles, device->sm_count);
    double blocks = blocks_under_way(config, device, tile, tiles);
    if (blocks < 1) blocks = 1;
    double share = blocks * n[WARPS] / BUSY_WARPS;
    if (share < 1) work /= share;
    double turned = ceil(fmin(tiles, (double)device->sm_count * n[RESIDENT]) / device->sm_count);
    return rounds * (blocks < 2 ? work * ALONE : work) + turned * (600 + 2.0 * n[COLS] * (double)tile->steps);
}

/* Depth, height, width and warps of tiles of results, of a convolution and of a pool. */
static const int32_t tile_shapes[][4] = {{1, 8, 16, 4}, {1, 16, 16, 8}, {1, 8, 32, 8},  {1, 4, 32, 4},
                                         {1, 4, 16, 4}, {1, 1, 128, 4}, {1, 1, 256, 8}, {4, 4, 16, 8},
                                         {4, 8, 16, 8}, {2, 8, 16, 8},  {2, 4, 16, 4},  {1, 1, 64, 2}};
static const int32_t pooled_shapes[][4] = {{1, 7, 7, 8},  {1, 3, 7, 4},  {1, 3, 15, 8}, {1, 7, 15, 8},
                                           {1, 8, 8, 8},  {1, 4, 8, 4},  {1, 4, 16, 8}, {1, 1, 15, 2},
                                           {1, 1, 63, 4}, {1, 1, 64, 4}, {2, 4, 8, 8}};

static int32_t list_configs(const Stem *stem, const Device *device, Config out[MOST_CONFIGS]) {
    int32_t shapes = stem->pools ? sizeof pooled_shapes / sizeof pooled_shapes[0]
                                 : sizeof tile_shapes / sizeof tile_shapes[0];
    double costs[MOST_CONFIGS];
    int32_t count = 0;
    for (int32_t cols = stem->conv.outputs > 32 ? 64 : 32; cols >= 32; cols -= 32)
        for (int32_t s = 0; s < shapes; ++s) {
            const int32_t *shape = stem->pools ? pooled_shapes[s] : tile_shapes[s];
            int32_t warps = cols > 32 && !stem->pools ? WIDE_WARPS : NARROW_WARPS;
            Config config = {.count = STEM_NUMBERS,
                             .number = {cols, shape[3], shape[0], shape[1], shape[2], warps / shape[3]}};
            StemTile tile = tile_of(&config, stem);
            if (is_legal(device, stem, &tile))
                count = config_insert(&config, tile_cost(&config, device, stem, &tile), MOST_CONFIGS, costs,
                                      out, count);
        }
    return count;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Stem stem = describe(problem);
    int32_t count = list_configs(&stem, device, out);
    return count < KEPT_CONFIGS ? count : KEPT_CONFIGS;
}

/* -- what it can do -- */

static const char *types_refuse(const Problem *problem, const ConvText *conv, const Device *device) {
    DType x = problem_value(problem, conv->x)->dtype;
    if (x != problem_value(problem, conv->w)->dtype) return "operands of different types";
    if (x == DTYPE_F32 && !problem->graph->tf32) return "fp32 without --precision=tf32";
    if (x == DTYPE_F32 && problem->pooling != NONE) return "a pool of fp32 behind it";
    if (x != DTYPE_F32 && !dtype_is_half(x)) return "operands that are not fp16, bf16 or fp32";
    return device->sm < 80 && x != DTYPE_F16 ? "matrix units of sm_75" : NULL;
}

static const char *sizes_refuse(const Problem *problem, const ConvText *conv) {
    Dim terms = dim_mul(problem->graph->dims, conv->channels, conv->window.taps);
    if (conv->groups != 1) return "groups";
    if (!dim_is_exact(terms) || terms > MOST_TERMS || terms < 1) return "more than 512 terms in a sum";
    if (!dim_is_exact(conv->outputs)) return "an unknown number of channels";
    if (conv->outputs > MOST_GRID_YZ) return "more channels than a grid has blocks";
    for (int i = 0; i < WINDOW_AXES; ++i)
        if (conv->window.stride[i] > MOST_STEP || conv->window.dilation[i] > MOST_STEP)
            return "windows that reach too far";
    return NULL;
}

/* Results lie in packs of channels, weights as a whole. */
static const char *layouts_refuse(const Problem *problem, const ConvText *conv) {
    const Value *weights = problem_value(problem, conv->w);
    if (problem_output(problem, 0)->layout != LAYOUT_CHANNELS_LAST ||
        problem_value(problem, problem_last(problem)->outputs[0])->layout != LAYOUT_CHANNELS_LAST ||
        problem_epilogue_lanes(problem) != EPILOGUE_LANES)
        return "a result that does not lie in packs of channels";
    if (!value_is_plain(weights) || !access_value_is_aligned(weights))
        return "weights that do not lie plainly";
    if (conv->bias != NONE && !value_is_plain(problem_value(problem, conv->bias)))
        return "a bias that is a slice";
    return NULL;
}

static const char *pool_refuses(const Problem *problem, const ConvText *conv) {
    FormWindows windows;
    if (problem->pooling == NONE) return NULL;
    const Node *pool = problem_last(problem);
    if (problem_value(problem, pool->inputs[0])->dtype != problem_value(problem, conv->x)->dtype)
        return "a pool of another type";
    const char *why = form_maxima(problem->graph, pool, &windows);
    if (why != NULL) return "a pool of other than maxima";
    for (int32_t i = 0; i < windows.axes; ++i)
        if (windows.kernel[i] > MOST_STEP || windows.stride[i] > MOST_STEP || windows.pad[i] > MOST_STEP)
            return "a pool with large windows behind it";
    return windows.taps <= POOL_MOST_TAPS ? NULL : "a pool with large windows behind it";
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_Conv) return "not a convolution";
    const char *why = conv_shapes_refuse(problem);
    if (why != NULL) return why;
    ConvText conv = conv_describe(problem);
    why = types_refuse(problem, &conv, device);
    if (why == NULL) why = sizes_refuse(problem, &conv);
    if (why == NULL) why = layouts_refuse(problem, &conv);
    if (why == NULL) why = pool_refuses(problem, &conv);
    if (why == NULL && problem_has_front(problem)) why = problem_prologue_refuses(problem);
    if (why != NULL) return why;
    Config all[MOST_CONFIGS];
    Stem stem = describe(problem);
    return list_configs(&stem, device, all) == 0 ? "windows that reach too far" : NULL;
}

/* -- text -- */

static const char *input_text(KernelWriter *w, const StemInput *input, int64_t pack) {
    if (input->value == NONE) return kernel_format(w, "stem_elements(%s)", kernel_prologue(w));
    return kernel_format(w, "stem_packs<%lld>(%s)", (long long)pack, kernel_pointer(w, input->value));
}

/* "StemTile<1, 8, 16, 4>{{1, 21, 10}, 1, 1, 122, 0}" */
static const char *tile_text(KernelWriter *w, const StemTile *tile) {
    const int64_t *n = tile->places, *e = tile->extent;
    return kernel_format(w, "StemTile<%lld, %lld, %lld, %lld>{{%lld, %lld, %lld}, %lld, %lld, %lld, %lld}",
                         (long long)n[0], (long long)n[1], (long long)n[2], (long long)tile->pack,
                         (long long)e[0], (long long)e[1], (long long)e[2], (long long)tile->lead,
                         (long long)tile->shift, (long long)tile->pitch, (long long)tile->copy);
}

static const char *behind_text(KernelWriter *w, const Config *config, const Stem *stem) {
    const int32_t *n = config->number;
    if (!stem->pools) return "StemResults{}";
    return kernel_format(w, "stem_pool<%d, %d, %d, %lld>(%s)", n[DEPTH], n[HEIGHT], n[WIDTH],
                         (long long)stem->kernel[0] * stem->kernel[1] * stem->kernel[2], pool_behind_text(w));
}

/* -- moments of the result, and all -- */

/* Sums of moments take registers. */
static int32_t resident_with_moments(const Config *config) {
    return (config->number[RESIDENT] * 2 + 2) / 3;
}

static int64_t moment_parts(const Problem *problem, const Device *device, const Config *config) {
    enum { TOGETHER = 4 /* warps, as in cuda/sum_moments.cuh */ };
    Stem stem = describe(problem);
    Dim tiles = tile_count(problem->graph->dims, config, &stem);
    bool ends = problem->nodes[problem->node_count - 1] == problem->anchor;
    if (!ends || stem.conv.batch != 1 || !dim_is_exact(tiles) || stem.conv.outputs > config->number[COLS] ||
        config->number[WARPS] % TOGETHER != 0)
        return 0;
    return sum_moment_parts(tiles, (int64_t)device->sm_count * resident_with_moments(config), false);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    Stem stem = describe(problem);
    int32_t resident = emission->leaves_parts > 0 ? resident_with_moments(config) : config->number[RESIDENT];
    StemTile tile = tile_of(config, &stem);
    const ConvText *conv = &stem.conv;
    const int32_t *n = config->number;
    KernelWriter *w = kernel_begin(emission, "conv_stem");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv_stem.cuh");
    const char *x = input_text(w, &stem.input, tile.pack);
    const char *strides =
        stem.input.value == NONE ? number_strides_text(w, conv->x) : strides_text(w, stem.input.value);
    const char *bias = conv->bias == NONE ? "(const float *)nullptr" : kernel_pointer(w, conv->bias);
    kernel_line(
        w, "conv_stem<%s, %d, %lld, %lld, %d, %lld, %lld>(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s);",
        cuda_type(problem_value(problem, conv->w)->dtype), n[COLS], (long long)tile.steps,
        (long long)tile.direct, n[WARPS], (long long)tile.held, (long long)conv->channels, x,
        kernel_pointer(w, conv->w), strides, window_text(w, &conv->window), tile_text(w, &tile),
        kernel_number(w, conv->batch), kernel_number(w, conv->outputs), bias, behind_text(w, config, &stem),
        kernel_pack_epilogue(w, EPILOGUE_LANES), sum_moments(w, 1, conv->outputs, false));
    kernel_resident(w, resident);
    Dim blocks = dim_min(dims, tile_count(dims, config, &stem), (int64_t)device->sm_count * resident);
    return kernel_finish(w, blocks, dim_ceil_div(dims, conv->outputs, n[COLS]), 1, n[WARPS] * 32,
                         (int32_t)tile.bytes);
}

const Tactic tactic_conv_stem = {.name = "conv_stem",
                                 .version = 5,
                                 .strided = true,
                                 .prologue = PROLOGUE_READS,
                                 .pools = true,
                                 .refuses = refuses,
                                 .configs = configs,
                                 .emit = emit,
                                 .moment_parts = moment_parts};
