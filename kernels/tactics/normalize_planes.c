/* InstanceNormalization and GroupNormalization in channels-last layout: many blocks for each channel, in two
 * launches, or a cluster of blocks for some channels of a batch entry, in one. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/norm_text.h"
#include "kernels/sums_text.h"
#include "kernels/window_text.h"
#include "ops/norm.h"

enum {
    THREADS = 512, /* moments.cuh's MOMENT_THREADS */
    LANES = EPILOGUE_LANES,
    MOST_PACKS = 8, /* 128 bytes of halves side by side */
    MOST_ENTRIES = 65535,
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

static bool is_ours(OpId op) {
    return op == OP_InstanceNormalization || op == OP_GroupNormalization;
}

static int64_t unit_width(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    int64_t channels = problem_input(problem, 0)->shape.dim[1];
    return node->op == OP_InstanceNormalization ? 1 : channels / ((const NormAttrs *)node->parsed)->groups;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || !is_ours(node->op)) return "not InstanceNormalization or GroupNormalization";
    const char *why = refuse_unless_packs(problem);
    if (why != NULL) return why;
    const Value *x = problem_input(problem, 0);
    if (x->shape.dim[1] < LANES) return "no channels";
    if (!dim_is_exact(x->shape.dim[0]) || x->shape.dim[0] > MOST_ENTRIES) return "a batch of unknown size";
    why = refuse_unless_plain(problem, 1);
    return why != NULL ? why : refuse_unless_floats(problem);
}

/* -- geometry -- */

typedef struct Geometry {
    Dim batch, places;
    int64_t channels, groups; /* groups of channels that blocks take */
    int32_t packs, lines;     /* threads of a block side by side, and one behind the other */
} Geometry;

static Geometry geometry_of(const Problem *problem) {
    Shape plane = problem_input(problem, 0)->shape;
    Geometry g = {.batch = plane.dim[0], .channels = plane.dim[1], .packs = 1};
    plane.dim[0] = plane.dim[1] = 1;
    g.places = shape_count(problem->graph->dims, &plane);
    while (g.packs < MOST_PACKS && g.packs * 2 <= g.channels / LANES) g.packs *= 2;
    g.lines = THREADS / g.packs;
    g.groups = (g.channels / LANES + g.packs - 1) / g.packs;
    return g;
}

static int64_t blocks_wanted(const Geometry *g, const Device *device, int32_t resident) {
    int64_t blocks = (int64_t)device->sm_count * resident / (g->groups * (g->batch > 0 ? g->batch : 1));
    return blocks < 1 ? 1 : blocks;
}

/* So many places of a thread at a time, fewer where multiprocessors would have nothing to do. */
static Config config_of(const Problem *problem, const Device *device, int32_t resident, int32_t ahead) {
    Geometry g = geometry_of(problem);
    int64_t places = dim_at_opt(problem->graph, g.places), wanted = blocks_wanted(&g, device, resident);
    while (ahead > 1 && places / ((int64_t)g.lines * ahead) < wanted) ahead /= 2;
    int64_t runs = ceil_div_i64(places > 0 ? places : 1, (int64_t)g.lines * ahead);
    return (Config){.count = NUMBERS,
                    .number = {(int32_t)(wanted < runs ? wanted : runs), ahead, resident, 0, 0}};
}

/* Channels that a cluster can take, whole units and packs; 0: there are none. */
static int64_t whole_width(const Problem *problem) {
    Geometry g = geometry_of(problem);
    int64_t width = unit_width(problem), least = width;
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
    Geometry g = geometry_of(problem);
    int64_t places = dim_at_opt(problem->graph, g.places);
    int32_t count = 0;
    for (int64_t width = whole_width(problem); width > 0 && width <= MOST_PACKS * LANES; width *= 2) {
        if (g.channels % width != 0) break;
        int32_t blocks = device->sm < CLUSTERS_SM ? 1 : MOST_BLOCKS, lines = THREADS / packs_of(width);
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
    const Value *x = problem_input(problem, 0);
    Geometry g = geometry_of(problem);
    double size = dtype_bits(x->dtype) / 8.0;
    double bytes = (double)value_count_at_opt(problem->graph, problem_anchor(problem)->inputs[0]) * size;
    double rate = (2 * bytes < device->l2_bytes ? 0.65 * device->l2_gb_per_s : device->dram_gb_per_s) * 1e3;
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

/* Where a place of a batch entry begins: "at(entry, place)". */
static const char *declare_steps(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Graph *graph = problem->graph;
    const Value *x = problem_input(problem, 0);
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    Dim strides[SMELT_MAX_RANK];
    value_strides(graph, problem_anchor(problem)->inputs[0], strides);
    Access places = access_strided(graph->dims, x->shape.rank - 2, x->shape.dim + 2, strides + 2);
    kernel_struct_begin(w);
    write_format(&text,
                 "    SMELT_DEVICE Index at(Index entry, Index place) const { return entry * %s + %s; }\n",
                 kernel_number(w, strides[0]), access_index(w, &places, "place"));
    return kernel_struct_end(w, "Steps", &text);
}

static const char *declare_finish(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    norm_write_inverse(w, node, &text);
    write_format(
        &text,
        "    SMELT_DEVICE void scales(Index channel, float &scale, float &shift) const {\n"
        "        scale = load_as<float>(%s, channel);\n        shift = load_as<float>(%s, channel);\n    }\n",
        kernel_pointer(w, node->inputs[1]), kernel_pointer(w, node->inputs[2]));
    return kernel_struct_end(w, "Finish", &text);
}

/* Of halves, whose own rounding is larger than theirs, moments are floats. */
static const char *moment_type(const Problem *problem) {
    return dtype_bits(problem_input(problem, 0)->dtype) > 16 ? "double" : "float";
}

static const char *planes_text(KernelWriter *w, const Geometry *g, const Config *config) {
    return kernel_format(w, "{%s, %s, %d, %d}", kernel_number(w, g->places), kernel_number(w, g->channels),
                         config->number[PARTS], g->lines * config->number[AHEAD]);
}

static Status emit_moments(const Config *config, const Geometry *g, Emission *emission) {
    KernelWriter *w = kernel_begin(emission, "plane_moments");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "moments.cuh");
    const char *steps = declare_steps(w);
    kernel_line(w, "const Planes planes = %s;", planes_text(w, g, config));
    kernel_line(w, "plane_moments<%d, %d, %d>(%s, %s, planes, %s);", LANES, g->packs, config->number[AHEAD],
                kernel_pointer(w, problem_anchor(emission->problem)->inputs[0]), steps,
                kernel_scratch(w, 0, moment_type(emission->problem)));
    kernel_resident(w, config->number[RESIDENT]);
    return kernel_finish(w, config->number[PARTS], g->batch, g->groups, THREADS, 0);
}

static bool finds_moments(const Problem *problem) {
    return moment_type(problem)[0] == 'f' && dim_is_exact(geometry_of(problem).places);
}

/* What says how many places parts have: those that the step in front has left, or the first launch's. */
static const char *counts_text(KernelWriter *w, const Geometry *g) {
    int64_t parts = kernel_emission(w)->finds_parts;
    if (parts == 0) return "planes";
    return kernel_format(w, "PartCounts{%s, %lld}",
                         kernel_scratch(w, moment_counts_at(g->batch * parts, g->channels), "const float"),
                         (long long)parts);
}

static Status emit_normalize(const Config *config, const Geometry *g, const Device *device,
                             Emission *emission) {
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "plane_normalize");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "moments.cuh");
    const char *steps = declare_steps(w), *finish = declare_finish(w),
               *epilogue = kernel_pack_epilogue(w, LANES);
    int32_t ahead = config->number[AHEAD] > MOST_AHEAD ? MOST_AHEAD : config->number[AHEAD];
    kernel_line(w, "const Planes planes = %s;", planes_text(w, g, config));
    kernel_line(w, "plane_normalize<%d, %d, %d>(%s, %s, planes, %lld, %s, %s, %s, %s);", LANES, g->packs,
                ahead, kernel_pointer(w, problem_anchor(emission->problem)->inputs[0]), steps,
                (long long)unit_width(emission->problem), counts_text(w, g),
                kernel_scratch(w, 0, moment_type(emission->problem)), finish, epilogue);
    kernel_resident(w, RESIDENT_WRITERS);
    Dim runs = dim_ceil_div(dims, g->places, (int64_t)g->lines * ahead),
        blocks = blocks_wanted(g, device, RESIDENT_WRITERS);
    return kernel_finish(w, dim_min(dims, runs, blocks), g->batch, g->groups, THREADS, 0);
}

static Status emit_whole(const Config *config, const Geometry *g, Emission *emission) {
    int32_t width = config->number[WIDTH], packs = packs_of(width), blocks = config->number[BLOCKS];
    Geometry own = *g;
    KernelWriter *w = kernel_begin(emission, "plane_whole");
    TRY_ALLOC(emission->diag, w);
    own.lines = THREADS / packs;
    kernel_include(w, "moments.cuh");
    const char *steps = declare_steps(w), *finish = declare_finish(w),
               *epilogue = kernel_pack_epilogue(w, LANES);
    kernel_line(w, "const Planes planes = %s;", planes_text(w, &own, config));
    kernel_line(w, "plane_whole<%d, %d, %d, %d>(%s, %s, planes, %d, %lld, %s, %s);", LANES, packs,
                config->number[AHEAD], blocks,
                kernel_pointer(w, problem_anchor(emission->problem)->inputs[0]), steps, width,
                (long long)unit_width(emission->problem), finish, epilogue);
    kernel_cluster(w, blocks);
    return kernel_finish(w, blocks, g->batch, g->channels / width, THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    Geometry g = geometry_of(emission->problem);
    Config own = *config;
    int64_t parts = emission->finds_parts;
    if (parts > 0) {
        own.number[PARTS] = (int32_t)parts;
        emission->scratch_bytes = moment_bytes(g.batch * parts, g.channels);
        return emit_normalize(&own, &g, device, emission);
    }
    if (config->number[BLOCKS] > 0) return emit_whole(config, &g, emission);
    int64_t bytes = moment_type(emission->problem)[0] == 'd' ? 16 : 8;
    emission->scratch_bytes =
        dim_mul(emission->graph->dims, g.batch, config->number[PARTS] * g.channels * bytes);
    TRY(emit_moments(config, &g, emission));
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
