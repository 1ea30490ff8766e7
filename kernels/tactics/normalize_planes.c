/* InstanceNormalization and GroupNormalization in channels-last layout: in two launches, or in one, whose
 * blocks keep what they read: those of a cluster, or all, tell one another the moments of their parts. */
#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/planes_text.h"
#include "kernels/sums_text.h"
#include "kernels/window_text.h"

enum {
    LANES = EPILOGUE_LANES,
    MOST_SIDE = 64,         /* channels of a cluster */
    MOST_WIDTH = 256,       /* where all blocks meet */
    LINE_BYTES = 128,       /* side by side that are read at the full rate */
    MOST_AHEAD = 4,         /* places of a thread that are written at a time */
    RESIDENT_WRITERS = 2,   /* blocks of a multiprocessor then */
    MOST_BLOCKS = 8,        /* of a cluster */
    BLOCK_SHARED = 1 << 10, /* bytes that a block has beside its own */
    FLOAT = 4,
    HALF = 2
};

typedef enum PlanesNumber {
    PARTS,
    AHEAD,
    RESIDENT,
    BLOCKS, /* of a cluster, in one launch */
    WIDTH,  /* channels of a unit in one launch; 0: two launches */
    UNITS,  /* units at a time, where all blocks meet */
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
    return (Config){.count = NUMBERS, .number = {parts, ahead, resident, 0, 0, 0}};
}

/* The fewest channels that are whole units and packs; of wider elements more than there can be: their moments
 * are in double, for which two launches do better. */
static int64_t least_width(const Problem *problem, const PlanesText *g) {
    int64_t width = g->width;
    while (width % LANES != 0) width += g->width;
    return dtype_is_half(problem_input(problem, 0)->dtype) ? width : MOST_WIDTH + 1;
}

static int32_t packs_of(int64_t width) {
    int32_t packs = 1;
    while (packs * LANES < width) packs *= 2;
    return packs;
}

/* How the blocks of a config of one launch divide the planes. */
typedef struct Whole {
    int64_t units;        /* of all planes */
    int32_t packs, lines; /* of a block's threads */
    int64_t rows;         /* of a part */
    int32_t kept, slots;  /* of them in shared memory, and those of the next parts */
    int64_t shared;       /* bytes */
    int32_t rounds;
} Whole;

/* Bytes that a block has beside what it keeps. */
static int64_t own_shared(const Config *config) {
    int64_t packs = packs_of(config->number[WIDTH]), warps = PLANE_THREADS / 32;
    int64_t numbers =
        packs * LANES * (2 * warps + 2 + 2 * config->number[BLOCKS]) + packs * warps + 2 * PLANE_THREADS;
    return numbers * FLOAT + BLOCK_SHARED;
}

static Whole divide(const Problem *problem, const Device *device, const Config *config) {
    PlanesText g = describe(problem);
    int64_t width = config->number[WIDTH], places = dim_at_opt(problem->graph, g.places),
            row = PLANE_THREADS * LANES * HALF;
    Whole w = {.units = g.batch * (g.channels / width), .packs = packs_of(width)};
    w.lines = PLANE_THREADS / w.packs;
    w.rows = ceil_div_i64(places > 0 ? places : 1, (int64_t)w.lines * config->number[PARTS]);
    int64_t room = min_i64(device->shared_per_sm, device->shared_per_block) - own_shared(config),
            fit = room > row ? room / row : 1;
    w.rounds = config->number[UNITS] > 0 ? (int32_t)ceil_div_i64(w.units, config->number[UNITS]) : 1;
    w.kept = (int32_t)min_i64(w.rows, fit);
    w.slots = (int32_t)min_i64(fit, (int64_t)w.kept * w.rounds);
    w.shared = w.slots * row;
    return w;
}

/* Blocks that share a multiprocessor. */
static int32_t resident_of(const Device *device, const Config *config, const Whole *whole) {
    return config->number[UNITS] == 0 && 2 * (whole->shared + own_shared(config)) <= device->shared_per_sm
               ? 2
               : 1;
}

static int32_t add_clusters(const Problem *problem, const Device *device, Config *out) {
    PlanesText g = describe(problem);
    int64_t places = dim_at_opt(problem->graph, g.places);
    int32_t count = 0;
    for (int64_t width = least_width(problem, &g); width <= MOST_SIDE; width *= 2) {
        if (g.channels % width != 0) break;
        int32_t blocks = device->sm < CLUSTERS_SM ? 1 : MOST_BLOCKS, lines = PLANE_THREADS / packs_of(width);
        while (blocks > 1 && places < (int64_t)lines * blocks / 2) blocks /= 2;
        out[count++] = (Config){.count = NUMBERS, .number = {blocks, 1, 1, blocks, (int32_t)width, 0}};
    }
    return count;
}

/* Channels whose lines are long and leave few threads of a block without any; 0: there are none. */
static int32_t met_width(const Problem *problem) {
    PlanesText g = describe(problem);
    int64_t least = least_width(problem, &g);
    int32_t best = 0;
    double most = 0;
    for (int64_t width = least; width <= MOST_WIDTH; width += least) {
        if (g.channels % width != 0) continue;
        double filled = (double)width / (packs_of(width) * LANES);
        if (width * HALF < LINE_BYTES) filled *= (double)(width * HALF) / LINE_BYTES;
        if (filled <= most) continue;
        most = filled;
        best = (int32_t)width;
    }
    return best;
}

static double cost(const Problem *problem, const Device *device, const Config *config);

/* So many units at a time as cost least: of those that a block keeps whole, and of those of which it has room
 * for two. */
static int32_t add_met(const Problem *problem, const Device *device, Config *out) {
    PlanesText g = describe(problem);
    int32_t width = met_width(problem), count = 0;
    if (width == 0 || device->sm < CLUSTERS_SM || device->sm_count < 2) return 0;
    int64_t units = g.batch * (g.channels / width);
    for (int32_t times = 1; times <= 2; ++times) {
        double least = 0;
        for (int32_t together = 1; together <= min_i64(units, device->sm_count / 2); ++together) {
            Config own = {.count = NUMBERS,
                          .number = {device->sm_count / together, 1, 1, 0, width, together}};
            Whole whole = divide(problem, device, &own);
            double us = cost(problem, device, &own);
            if (together > 1 && (us >= least || whole.rows > whole.kept ||
                                 (times == 2 && whole.rounds > 1 && whole.slots < 2 * whole.kept)))
                continue;
            least = us;
            out[count] = own;
        }
        bool known = count > 0 && out[0].number[UNITS] == out[count].number[UNITS];
        if (units > 0 && !known) ++count;
    }
    return count;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    int32_t count = 3;
    out[0] = config_of(problem, device, 2, 4);
    out[1] = config_of(problem, device, 1, 8);
    out[2] = config_of(problem, device, 2, 2);
    Dim places, step, batch_step;
    if (!access_places(problem->graph, problem_anchor(problem)->inputs[0], &places, &step, &batch_step))
        return count;
    count += add_clusters(problem, device, out + count);
    return count + add_met(problem, device, out + count);
}

/* Two launches, between which nothing leaves L2 where it fits; or one, in rounds of blocks that read what
 * they have, find moments, wait for others and write. Fitted to times on an H200. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    const double cluster_us = 3.3, met_us = 4.7, cached_us = 0.05e-3, cluster_more = 1.25,
                 moved_us = 0.0735e-3, doubles = 1.4, narrow = 0.25; /* bytes' */
    const double fit = 0.91; /* of the multiprocessors have a place in a cluster */
    PlanesText g = describe(problem);
    double bytes = planes_bytes(problem, &g), rate = planes_rate(problem, &g, device);
    if (config->number[WIDTH] == 0)
        return 2 * device->launch_us + 3 +
               3 * bytes / rate * (dtype_is_half(problem_input(problem, 0)->dtype) ? 1 : doubles);
    Whole whole = divide(problem, device, config);
    double again = (double)(whole.rows - whole.kept) / (double)whole.rows,
           line = config->number[WIDTH] * HALF,
           own = (double)(whole.rows * PLANE_THREADS * LANES * HALF) * (1 + again / 2) *
                 (2 * bytes < device->l2_bytes ? cached_us : moved_us);
    if (config->number[WIDTH] < g.channels && line < LINE_BYTES) own *= 1 + narrow * (LINE_BYTES / line - 1);
    if (config->number[UNITS] > 0) return device->launch_us + whole.rounds * (met_us + own);
    double blocks = (double)(whole.units * config->number[BLOCKS]),
           slots = fit * device->sm_count * resident_of(device, config, &whole);
    if (2 * bytes < device->l2_bytes) own *= cluster_more;
    return device->launch_us + fmax(blocks / slots, 1) *
                                   (cluster_us + own * ceil(fmin(blocks, slots) / (fit * device->sm_count)));
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

/* "MetParts<float>{..}" */
static const char *parts_text(KernelWriter *w, const PlanesText *g, const Config *config) {
    const char *type = planes_moment_type(kernel_emission(w)->problem, g);
    int32_t blocks = config->number[BLOCKS];
    if (blocks == 0) return kernel_format(w, "MetParts<%s>{%s}", type, kernel_scratch(w, 0, type));
    kernel_line(w, "__shared__ %s parts[%d];", type, blocks * config->number[WIDTH] * 2);
    return kernel_format(w, "ClusterParts<%d, %s>{parts}", (int)blocks, type);
}

static Status emit_whole(const Config *config, const PlanesText *g, const Device *device,
                         Emission *emission) {
    const Whole whole = divide(emission->problem, device, config);
    int32_t width = config->number[WIDTH], blocks = config->number[BLOCKS], together = config->number[UNITS];
    const char *type = planes_moment_type(emission->problem, g);
    bool met = together > 0;
    Dim places, step, batch_step;
    (void)access_places(emission->graph, problem_anchor(emission->problem)->inputs[0], &places, &step,
                        &batch_step);
    if (met)
        emission->scratch_bytes = whole.units * config->number[PARTS] * width * (type[0] == 'd' ? 16 : 8);
    KernelWriter *w = kernel_begin(emission, "whole_planes");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "whole_planes.cuh");
    const char *finish = planes_finish(w, g), *epilogue = kernel_pack_epilogue(w, LANES);
    int32_t resident = resident_of(device, config, &whole);
    kernel_line(w, "typedef KeptRows<%d, %d, %d, %d, %d, %s, %s> Rows;", PLANE_THREADS, LANES,
                (int)whole.kept, (int)whole.slots, resident > 1 ? 2 : 4, whole.rounds == 1 ? "true" : "false",
                !met && whole.kept == whole.rows && dim_is_exact(g->places) ? "true" : "false");
    kernel_line(w, "typedef WholeTile<%d, %d, Rows> Tile;", LANES, (int)whole.packs);
    if (met)
        kernel_line(w, "const Index together = smaller((Index)%d, (Index)gridDim.x);", (int)together);
    else
        kernel_line(w, "const Index together = quotient((Index)gridDim.x, (Index)%d);", (int)blocks);
    kernel_line(w,
                "const WholeUnits units = {%lld, %lld, %d, together, quotient((Index)gridDim.x, together)};",
                (long long)whole.units, (long long)(g->channels / width), (int)width);
    const char *parts = parts_text(w, g, config);
    kernel_line(w, "whole_planes<Tile, %s>(%s, %s, %s, %s, %s, units, %lld, %s, %s, %s);", type,
                kernel_pointer(w, problem_anchor(emission->problem)->inputs[0]), kernel_number(w, batch_step),
                kernel_number(w, step), kernel_number(w, g->places), kernel_number(w, g->channels),
                (long long)g->width, parts, finish, epilogue);
    kernel_resident(w, resident);
    if (met)
        kernel_together(w);
    else
        kernel_cluster(w, blocks);
    return kernel_finish(w, met ? together * config->number[PARTS] : whole.units * blocks, 1, 1,
                         PLANE_THREADS, (int32_t)whole.shared);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    PlanesText g = describe(emission->problem);
    Config own = *config;
    int64_t parts = emission->finds_parts;
    if (parts > 0) { /* as the second one of two launches */
        if (config->number[WIDTH] > 0)
            own = config_of(emission->problem, device, RESIDENT_WRITERS, MOST_AHEAD);
        own.number[PARTS] = (int32_t)parts;
        emission->scratch_bytes = emission->finds_at + moment_bytes(g.batch * parts, g.channels);
        return emit_normalize(&own, &g, device, emission);
    }
    if (config->number[WIDTH] > 0) return emit_whole(config, &g, device, emission);
    int64_t bytes = planes_moment_type(emission->problem, &g)[0] == 'd' ? 16 : 8;
    emission->scratch_bytes =
        dim_mul(emission->graph->dims, g.batch, config->number[PARTS] * g.channels * bytes);
    TRY(planes_emit_moments(emission, &g, config->number[PARTS], config->number[AHEAD],
                            config->number[RESIDENT]));
    return emit_normalize(config, &g, device, emission);
}

const Tactic tactic_normalize_planes = {.name = "normalize_planes",
                                        .version = 3,
                                        .strided = true,
                                        .refuses = refuses,
                                        .configs = configs,
                                        .emit = emit,
                                        .cost = cost,
                                        .finds_moments = finds_moments};
