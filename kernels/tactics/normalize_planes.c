/* InstanceNormalization and GroupNormalization in channels-last layout: many blocks for each channel, in two
 * launches. */
#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/window_text.h"
#include "ops/norm.h"

enum {
    THREADS = 256, /* moments.cuh's MOMENT_THREADS */
    LANES = EPILOGUE_LANES,
    MOST_PACKS = 8, /* 128 bytes of halves side by side */
    BLOCKS_PER_SM = 2,
    LEAST_PLACES = 8, /* of a thread */
    MOST_ENTRIES = 65535,
    PART_BYTES = 16,
    CHUNKS = 0 /* number of a config */
};

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

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Geometry g = geometry_of(problem);
    int64_t places = dim_at_opt(problem->graph, g.places), most = places / ((int64_t)g.lines * LEAST_PLACES);
    int64_t wanted = (int64_t)device->sm_count * BLOCKS_PER_SM / (g.groups * (g.batch > 0 ? g.batch : 1));
    int64_t chunks = wanted < most ? wanted : most;
    out[0] = (Config){.count = 1, .number = {chunks < 1 ? 1 : (int32_t)chunks}};
    out[1] = (Config){.count = 1, .number = {3}};
    return 2;
}

/* Two launches, between which nothing leaves L2 where it fits. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    const Value *x = problem_input(problem, 0);
    double bytes = (double)value_count_at_opt(problem->graph, problem_anchor(problem)->inputs[0]) *
                   (dtype_bits(x->dtype) / 8.0);
    double rate = bytes < device->l2_bytes ? device->l2_gb_per_s : device->dram_gb_per_s;
    (void)config;
    return 2 * device->launch_us + 3 * bytes / (rate * 1e3);
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
    double epsilon = (double)((const NormAttrs *)node->parsed)->epsilon;
    kernel_struct_begin(w);
    write_format(
        &text,
        "    SMELT_DEVICE double inverse(double variance) const { return 1 / math::sqrt(variance + %s); }\n",
        kernel_text(w, cuda_real_literal(kernel_emission(w)->arena, epsilon, false)));
    write_format(
        &text,
        "    SMELT_DEVICE void scales(Index channel, float &scale, float &shift) const {\n"
        "        scale = load_as<float>(%s, channel);\n        shift = load_as<float>(%s, channel);\n    }\n",
        kernel_pointer(w, node->inputs[1]), kernel_pointer(w, node->inputs[2]));
    return kernel_struct_end(w, "Finish", &text);
}

static const char *planes_text(KernelWriter *w, const Geometry *g, int32_t chunks) {
    return kernel_format(w, "Planes{%s, %s, %d}", kernel_number(w, g->places), kernel_number(w, g->channels),
                         chunks);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    DimTable *dims = emission->graph->dims;
    Geometry g = geometry_of(emission->problem);
    int32_t chunks = config->number[CHUNKS];
    KernelWriter *w = kernel_begin(emission, "plane_moments");
    TRY_ALLOC(emission->diag, w);
    emission->scratch_bytes = dim_mul(dims, g.batch, (Dim)chunks * g.channels * PART_BYTES);
    kernel_include(w, "moments.cuh");
    const char *steps = declare_steps(w);
    kernel_line(w, "plane_moments<%d, %d>(%s, %s, %s, %s);", LANES, g.packs,
                kernel_pointer(w, node->inputs[0]), steps, planes_text(w, &g, chunks),
                kernel_scratch(w, 0, "double"));
    TRY(kernel_finish(w, chunks, g.batch, g.groups, THREADS, 0));
    w = kernel_begin(emission, "plane_normalize");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "moments.cuh");
    steps = declare_steps(w);
    const char *finish = declare_finish(w), *epilogue = kernel_pack_epilogue(w, LANES);
    kernel_line(w, "plane_normalize<%d, %d>(%s, %s, %s, %lld, %s, %s, %s);", LANES, g.packs,
                kernel_pointer(w, node->inputs[0]), steps, planes_text(w, &g, chunks),
                (long long)unit_width(emission->problem), kernel_scratch(w, 0, "double"), finish, epilogue);
    int64_t blocks = (int64_t)device->sm_count * BLOCKS_PER_SM * 2 / (g.groups * (g.batch > 0 ? g.batch : 1));
    Dim needed = dim_ceil_div(dims, g.places, g.lines);
    return kernel_finish(w, dim_min(dims, needed, blocks < 1 ? 1 : blocks), g.batch, g.groups, THREADS, 0);
}

const Tactic tactic_normalize_planes = {.name = "normalize_planes",
                                        .version = 1,
                                        .strided = true,
                                        .refuses = refuses,
                                        .configs = configs,
                                        .emit = emit,
                                        .cost = cost};
