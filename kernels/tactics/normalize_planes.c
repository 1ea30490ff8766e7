/* InstanceNormalization and GroupNormalization in channels-last layout: many blocks for each channel, in two
 * launches, or a cluster of blocks for some channels of a batch entry, in one. */
#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/planes_text.h"
#include "kernels/sums_text.h"
#include "kernels/window_text.h"

enum {
    LANES = EPILOGUE_LANES,
    MOST_PACKS = 8,       /* 128 bytes of halves side by side */
    MOST_AHEAD = 4,       /* places of a thread that are written at a time */
    RESIDENT_WRITERS = 2, /* blocks of a multiprocessor then */
    MOST_BLOCKS = 8       /* of a cluster */
};

typedef enum PlanesNumber {
    PARTS,
    AHEAD,
    RESIDENT,
    BLOCKS, /* of a cluster, in one launch; 0: two launches */
    WIDTH,  /* channels that a cluster takes */
    NUMBERS
} PlanesNumber;

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || !planes_are_normalized_by(node))
        return "not InstanceNormalization or GroupNormalization";
    const char *why = refuse_unless_packs(problem);
    if (why != NULL) return why;
    const Value *x = problem_input(problem, 0);
    if (x->shape.dim[1] < LANES) return "no channels";
    if (!dim_is_exact(x->shape.dim[0])) return "a batch of unknown size";
    if (x->shape.dim[0] > MOST_GRID_YZ) return "a larger batch than a grid has blocks";
    if (x->shape.dim[1] / LANES > MOST_GRID_YZ) return "more channels than a grid has blocks";
    why = refuse_unless_plain(problem, 1);
    return why != NULL ? why : refuse_unless_floats(problem);
}

/* -- geometry -- */

static PlanesText describe(const Problem *problem) {
    return planes_describe(problem, problem_anchor(problem));
}

static Config config_of(const Problem *problem, const Device *device, int32_t resident, int32_t ahead) {
    PlanesText g = describe(problem);
    int32_t parts = planes_parts(problem, &g, device, resident, &ahead);
    return (Config){.count = NUMBERS, .number = {parts, ahead, resident, 0, 0}};
}

/* Channels that a cluster can take, whole units and packs; 0: there are none. */
static int64_t whole_width(const Problem *problem) {
    PlanesText g = describe(problem);
    int64_t width = g.width, least = width;
    while (least % LANES != 0) least += width;
    bool fits = least <= MOST_PACKS * LANES && g.channels % least == 0;
    return fits && dtype_bits(problem_input(problem, 0)->dtype) <= 16 ? least : 0;
}

static int32_t packs_of(int64_t width) {
    int32_t packs = 1;
    while (packs * LANES < width) packs *= 2;
    return packs;
}

static int32_t add_whole(const Problem *problem, const Device *device, Config *out) {
    PlanesText g = describe(problem);
    int64_t places = dim_at_opt(problem->graph, g.places);
    int32_t count = 0;
    for (int64_t width = whole_width(problem); width > 0 && width <= MOST_PACKS * LANES; width *= 2) {
        if (g.channels % width != 0) break;
        int32_t blocks = device->sm < CLUSTERS_SM ? 1 : MOST_BLOCKS, lines = PLANE_THREADS / packs_of(width);
        while (blocks > 1 && places < (int64_t)lines * blocks / 2) blocks /= 2;
        int32_t ahead = MOST_AHEAD;
        while (ahead > 1 && places < (int64_t)lines * blocks * ahead) ahead /= 2;
        out[count++] = (Config){.count = NUMBERS, .number = {blocks, ahead, 1, blocks, (int32_t)width}};
    }
    return count;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    int32_t count = 3;
    out[0] = config_of(problem, device, 2, 4);
    out[1] = config_of(problem, device, 1, 8);
    out[2] = config_of(problem, device, 2, 2);
    return count + add_whole(problem, device, out + count);
}

/* Two launches, between which nothing leaves L2 where it fits; or one, whose blocks read what they have twice
 * and pay for lines of few channels. The numbers are fitted to times on an H200. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    PlanesText g = describe(problem);
    double size = dtype_bits(problem_input(problem, 0)->dtype) / 8.0, bytes = planes_bytes(problem, &g);
    double rate = planes_rate(problem, &g, device);
    int32_t blocks = config->number[BLOCKS], width = config->number[WIDTH];
    if (blocks == 0) return 2 * device->launch_us + 3 + 3 * bytes / rate;
    int64_t batch = dim_at_opt(problem->graph, g.batch),
            all = g.channels / width * (batch > 0 ? batch : 1) * blocks;
    double own = bytes / (double)all * (double)ceil_div_i64(all, device->sm_count);
    double alone = 2.7 * own / (device_l2_per_clock(device) * device->clock_mhz);
    double together = bytes / rate * 280 / (width * size);
    return device->launch_us + 3.3 + (alone > together ? alone : together);
}

/* -- text -- */

/* Then one launch reads and writes. */
static double finds_moments(const Problem *problem, const Device *device) {
    PlanesText g = describe(problem);
    Config all[MOST_CONFIGS];
    double least = HUGE_VAL;
    if (planes_moment_type(problem, &g)[0] != 'f' || !dim_is_exact(g.places)) return 0;
    int32_t count = configs(problem, device, all);
    for (int32_t i = 0; i < count; ++i) least = fmin(least, cost(problem, device, &all[i]));
    double rest = device->launch_us + 1 + 2 * planes_bytes(problem, &g) / planes_rate(problem, &g, device);
    return fmax(least - rest, 0);
}

static Status emit_normalize(const Config *config, const PlanesText *g, const Device *device,
                             Emission *emission) {
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "plane_normalize");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "moments.cuh");
    const char *steps = planes_steps(w, g), *finish = planes_finish(w, g),
               *epilogue = kernel_pack_epilogue(w, LANES);
    int32_t ahead = config->number[AHEAD] > MOST_AHEAD ? MOST_AHEAD : config->number[AHEAD];
    kernel_line(w, "const Planes planes = %s;",
                planes_text(w, g, config->number[PARTS], config->number[AHEAD]));
    kernel_line(w, "plane_normalize<%d, %d, %d>(%s, %s, planes, %lld, %s, %s, %s, %s);", LANES, g->packs,
                ahead, kernel_pointer(w, problem_anchor(emission->problem)->inputs[0]), steps,
                (long long)g->width, planes_counts(w, g),
                kernel_scratch(w, emission->finds_at, planes_moment_type(emission->problem, g)), finish,
                epilogue);
    kernel_resident(w, RESIDENT_WRITERS);
    Dim runs = dim_ceil_div(dims, g->places, (int64_t)g->lines * ahead),
        blocks = planes_blocks(g, device, RESIDENT_WRITERS);
    return kernel_finish(w, dim_min(dims, runs, blocks), g->batch, g->groups, PLANE_THREADS, 0);
}

static Status emit_whole(const Config *config, const PlanesText *g, Emission *emission) {
    int32_t width = config->number[WIDTH], packs = packs_of(width), blocks = config->number[BLOCKS];
    PlanesText own = *g;
    KernelWriter *w = kernel_begin(emission, "plane_whole");
    TRY_ALLOC(emission->diag, w);
    own.lines = PLANE_THREADS / packs;
    kernel_include(w, "moments.cuh");
    const char *steps = planes_steps(w, g), *finish = planes_finish(w, g),
               *epilogue = kernel_pack_epilogue(w, LANES);
    kernel_line(w, "const Planes planes = %s;",
                planes_text(w, &own, config->number[PARTS], config->number[AHEAD]));
    kernel_line(w, "plane_whole<%d, %d, %d, %d>(%s, %s, planes, %d, %lld, %s, %s);", LANES, packs,
                config->number[AHEAD], blocks,
                kernel_pointer(w, problem_anchor(emission->problem)->inputs[0]), steps, width,
                (long long)g->width, finish, epilogue);
    kernel_cluster(w, blocks);
    return kernel_finish(w, blocks, g->batch, g->channels / width, PLANE_THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    PlanesText g = describe(emission->problem);
    Config own = *config;
    int64_t parts = emission->finds_parts;
    if (parts > 0) {
        own.number[PARTS] = (int32_t)parts;
        emission->scratch_bytes = emission->finds_at + moment_bytes(g.batch * parts, g.channels);
        return emit_normalize(&own, &g, device, emission);
    }
    if (config->number[BLOCKS] > 0) return emit_whole(config, &g, emission);
    int64_t bytes = planes_moment_type(emission->problem, &g)[0] == 'd' ? 16 : 8;
    emission->scratch_bytes =
        dim_mul(emission->graph->dims, g.batch, config->number[PARTS] * g.channels * bytes);
    TRY(planes_emit_moments(emission, &g, config->number[PARTS], config->number[AHEAD],
                            config->number[RESIDENT]));
    return emit_normalize(config, &g, device, emission);
}

const Tactic tactic_normalize_planes = {.name = "normalize_planes",
                                        .version = 2,
                                        .strided = true,
                                        .refuses = refuses,
                                        .configs = configs,
                                        .emit = emit,
                                        .cost = cost,
                                        .finds_moments = finds_moments};
