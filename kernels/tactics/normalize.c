/* Normalisations by mean and deviation of rows: Layer, RMS, Instance, Group and MeanVariance. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/index_text.h"
#include "kernels/norm_text.h"
#include "ops/norm.h"
#include "ops/norm_axis.h"

static bool is_ours(OpId op) {
    return op == OP_LayerNormalization || op == OP_RMSNormalization || op == OP_InstanceNormalization ||
           op == OP_GroupNormalization || op == OP_MeanVarianceNormalization;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || !is_ours(node->op)) return "not a normalisation by mean and deviation";
    if (problem_output(problem, 0) == NULL) return "only statistics are wanted";
    for (int32_t i = 1; i < node->output_count; ++i)
        if (node->outputs[i] != NONE && !value_is_plain(problem_output(problem, i)))
            return "statistics that are slices or in channels-last layout";
    bool channels = node->op == OP_InstanceNormalization || node->op == OP_GroupNormalization;
    const char *why = channels ? refuse_unless_plain(problem, 1) : NULL;
    return why != NULL ? why : refuse_unless_floats(problem);
}

/* -- rows -- */

/* Neighbouring channels in groups: the channel axis is (group, channel of the group). */
static Slices group_slices(const Problem *problem, int64_t groups) {
    DimTable *dims = problem->graph->dims;
    const Node *node = problem_anchor(problem);
    const Value *x = problem_input(problem, 0);
    Slices slices = {.rows = dim_mul(dims, x->shape.dim[0], groups), .along = true};
    Dim own = dim_floor_div(dims, x->shape.dim[1], groups);
    Access kept[2], walked[2];
    for (int side = 0; side < 2; ++side) {
        Dim strides[SMELT_MAX_RANK], extents[SMELT_MAX_RANK], steps[SMELT_MAX_RANK];
        int32_t memory[SMELT_MAX_RANK], rank = 0;
        access_number_strides(problem->graph, side == 0 ? node->inputs[0] : node->outputs[0], strides);
        layout_order(x->layout, x->shape.rank, memory);
        for (int32_t i = 0; i < x->shape.rank; ++i) {
            if (memory[i] == 0) continue;
            extents[rank] = memory[i] == 1 ? own : x->shape.dim[memory[i]];
            steps[rank++] = strides[memory[i]];
        }
        const Dim rows[2] = {x->shape.dim[0], groups},
                  row_steps[2] = {strides[0], dim_mul(dims, strides[1], own)};
        kept[side] = access_strided(dims, 2, rows, row_steps);
        walked[side] = access_strided(dims, rank, extents, steps);
    }
    slices.extent = own;
    for (int32_t i = 2; i < x->shape.rank; ++i) slices.extent = dim_mul(dims, slices.extent, x->shape.dim[i]);
    slices.kept = kept[0];
    slices.walked = walked[0];
    slices.out_kept = kept[1];
    slices.out_walk = walked[1];
    return slices;
}

static Slices find_slices(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const Shape *x = &problem_input(problem, 0)->shape;
    bool walked[SMELT_MAX_RANK] = {0};
    if (node->op == OP_GroupNormalization)
        return group_slices(problem, ((const NormAttrs *)node->parsed)->groups);
    if (node->op == OP_MeanVarianceNormalization) {
        const MvnAttrs *attrs = node->parsed;
        for (int32_t i = 0; i < attrs->axis_count; ++i) walked[axis_of(attrs->axes[i], x->rank)] = true;
    } else {
        int32_t axis = node->op == OP_InstanceNormalization
                           ? 2
                           : axis_of(((const NormAttrs *)node->parsed)->axis, x->rank);
        slices_mark(x, axis, x->rank, walked);
    }
    return slices_normalized(problem, walked);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices slices = find_slices(problem);
    (void)device;
    return team_configs(problem, &slices, out);
}

/* Of planes alone, which have another tactic: one launch, but in channels-last layout a team that walks a
 * plane takes a sector for each run of its channels. One row for each multiprocessor at a time. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    enum { SECTOR = 32, VISITS = 3, ROUND_US = 6 /* three passes, each with a sum over a block */ };
    const Node *node = problem_anchor(problem);
    const Value *x = problem_input(problem, 0);
    (void)config;
    if (node->op != OP_InstanceNormalization && node->op != OP_GroupNormalization) return 0;
    Slices slices = find_slices(problem);
    int64_t rows = dim_at_opt(problem->graph, slices.rows),
            extent = dim_at_opt(problem->graph, slices.extent);
    int64_t size = dtype_bits(x->dtype) / 8, run = x->layout == LAYOUT_PLAIN ? SECTOR : size;
    if (node->op == OP_GroupNormalization)
        run *= dim_at_opt(problem->graph, x->shape.dim[1]) / ((const NormAttrs *)node->parsed)->groups;
    double bytes = (double)extent * (double)size * (run < SECTOR ? (double)SECTOR / (double)run : 1) * VISITS;
    double rounds = (double)ceil_div_i64(rows, device->sm_count);
    return device->launch_us +
           rounds * (ROUND_US + bytes / (device_l2_per_clock(device) * device->clock_mhz));
}

/* -- text -- */

/* Element i's parameter: broadcast over x, or one for each channel. */
static const char *parameter_text(KernelWriter *w, int32_t input) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const Shape *x = &problem_input(problem, 0)->shape;
    const Graph *graph = problem->graph;
    Layout numbering = problem_output(problem, 0)->layout;
    const Dim strides[SMELT_MAX_RANK] = {0, 1};
    bool channels = node->op == OP_InstanceNormalization || node->op == OP_GroupNormalization;
    Access access = channels ? access_ordered(graph->dims, x, strides, numbering)
                             : access_value(graph, node->inputs[input], x, numbering);
    return kernel_format(w, "load_as<A>(%s, %s)", kernel_pointer(w, node->inputs[input]),
                         access_index(w, &access, "i"));
}

static void write_value(KernelWriter *w, ByteWriter *out) {
    const Problem *problem = kernel_emission(w)->problem;
    bool scaled = problem_anchor(problem)->op != OP_MeanVarianceNormalization;
    write_format(out, "    template <class A> SMELT_DEVICE A value(Index i, A x) const { return x");
    if (scaled) write_format(out, " * %s", parameter_text(w, 1));
    if (scaled && problem_input(problem, 2) != NULL) write_format(out, " + %s", parameter_text(w, 2));
    write_format(out, "; }\n");
}

static const char *declare_finish(KernelWriter *w) {
    const Node *node = problem_anchor(kernel_emission(w)->problem);
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    norm_write_inverse(w, node, &text);
    write_value(w, &text);
    norm_write_statistics(w, &text);
    return kernel_struct_end(w, "Finish", &text);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    Slices slices = find_slices(emission->problem);
    KernelWriter *w = kernel_begin(emission, "normalize");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "normalize.cuh");
    const char *x = kernel_prologue(w), *where = slices_declare(w, &slices), *finish = declare_finish(w);
    const char *epilogue = kernel_epilogue(w);
    kernel_line(w, "moment_rows<%s, %s, %s>(%s, %s, %s, %s, %s, %s);", team_name(config->number[0]),
                float_type(problem_input(emission->problem, 0)->dtype),
                node->op == OP_RMSNormalization ? "false" : "true", x, where, kernel_number(w, slices.rows),
                kernel_number(w, slices.extent), finish, epilogue);
    return kernel_finish(w, team_grid(emission, config->number[0], slices.rows), 1, 1, TEAM_THREADS, 0);
}

const Tactic tactic_normalize = {.name = "normalize",
                                 .version = 2,
                                 .strided = true,
                                 .prologue = PROLOGUE_STORES,
                                 .refuses = refuses,
                                 .configs = configs,
                                 .emit = emit,
                                 .cost = cost};
