/* Layer- and RMSNormalization and softmax of rows whose elements lie one behind the other and fit in the
 * registers of a few warps. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/index_text.h"
#include "kernels/norm_text.h"
#include "kernels/slices.h"
#include "kernels/window_text.h"
#include "ops/norm.h"
#include "ops/norm_axis.h"
#include "ops/softmax.h"

enum {
    LANES = EPILOGUE_LANES,
    WARP = 32,
    MOST_PACKS = 4,  /* of a thread */
    MOST_WARPS = 16, /* of a row */
    BLOCK_WARPS = 8, /* where a block has several rows */
    WARPS = 0,       /* numbers of a config: for a row */
    ROWS = 1         /* of a block */
};

static bool is_softmax(OpId op) {
    return op == OP_Softmax || op == OP_LogSoftmax;
}

static int64_t axis_of_node(const Node *node) {
    return is_softmax(node->op) ? ((const SoftmaxAttrs *)node->parsed)->axis
                                : ((const NormAttrs *)node->parsed)->axis;
}

static Slices find_slices(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const Shape *x = &problem_input(problem, 0)->shape;
    bool walked[SMELT_MAX_RANK] = {0};
    int32_t axis = axis_of(axis_of_node(node), x->rank);
    slices_mark(x, axis, is_softmax(node->op) ? axis + 1 : x->rank, walked);
    return slices_normalized(problem, walked);
}

/* -- whether rows fit -- */

static const char *refuse_slices(const Slices *slices) {
    if (!access_is_linear(&slices->walked) || !access_is_linear(&slices->out_walk))
        return "rows whose elements are not neighbours";
    if (!dim_is_exact(slices->extent) || slices->extent % LANES != 0) return "rows of no packs of elements";
    return slices->extent > LANES * WARP * MOST_PACKS * MOST_WARPS ? "rows that are too long" : NULL;
}

/* An element for each of a row's, in their order, the same ones for all rows. */
static bool is_row(const Problem *problem, int32_t input, int32_t axis) {
    const Value *value = problem_input(problem, input), *x = problem_input(problem, 0);
    if (value == NULL) return true;
    if (x->layout != LAYOUT_PLAIN) return false;
    int32_t missing = x->shape.rank - value->shape.rank;
    bool same = missing >= 0 && missing <= axis && value_is_plain(value);
    for (int32_t i = 0; same && i < value->shape.rank; ++i)
        same = value->shape.dim[i] == (i + missing < axis ? 1 : x->shape.dim[i + missing]);
    return same;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL ||
        (!is_softmax(node->op) && node->op != OP_LayerNormalization && node->op != OP_RMSNormalization))
        return "not a normalisation of rows";
    if (problem_output(problem, 0) == NULL) return "only statistics are wanted";
    for (int32_t i = 1; i < node->output_count; ++i)
        if (node->outputs[i] != NONE && !value_is_plain(problem_output(problem, i)))
            return "statistics that are slices or in channels-last layout";
    const Value *x = problem_input(problem, 0);
    const char *why = refuse_unless_floats(problem);
    if (why != NULL) return why;
    if (cuda_compute_type(x->dtype)[0] != 'f') return "wide floats";
    if (problem_epilogue_lanes(problem) != LANES) return "results that do not come in packs";
    Slices slices = find_slices(problem);
    why = refuse_slices(&slices);
    int32_t axis = axis_of(axis_of_node(node), x->shape.rank);
    if (why == NULL && !is_softmax(node->op) && (!is_row(problem, 1, axis) || !is_row(problem, 2, axis)))
        return "parameters that are no row";
    return why;
}

/* -- configs: warps for a row, rows of a block -- */

static int32_t packs_of(const Slices *slices, int32_t warps) {
    return (int32_t)ceil_div_i64(slices->extent, (int64_t)LANES * WARP * warps);
}

/* Rows in a block: where there are many, so that a multiprocessor has many warps. */
static int32_t rows_of(int64_t rows, int32_t warps, const Device *device) {
    int32_t count = 1;
    while (warps == 1 && count < BLOCK_WARPS && rows >= 2 * (int64_t)count * device->sm_count) count *= 2;
    return count;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices slices = find_slices(problem);
    int64_t rows = dim_at_opt(problem->graph, slices.rows);
    int32_t count = 0;
    for (int32_t warps = 1; warps <= MOST_WARPS; ++warps) {
        int32_t packs = packs_of(&slices, warps);
        if (packs > MOST_PACKS || (warps > 1 && packs == packs_of(&slices, warps - 1))) continue;
        out[count++] = (Config){.count = 2, .number = {warps, rows_of(rows, warps, device)}};
    }
    return count;
}

/* -- text -- */

/* "Finish{p1, p2}" */
static const char *declare_finish(KernelWriter *w) {
    static const char *const names[] = {"", "scale", "shift"};
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    norm_write_inverse(w, node, &text);
    norm_write_statistics(w, &text);
    write_format(&text, "    struct Parameters {\n");
    for (int32_t i = 1; i < 3; ++i)
        if (problem_input(problem, i) != NULL)
            write_format(&text, "        Pack<%s, %d> %s;\n", cuda_type(problem_input(problem, i)->dtype),
                         LANES, names[i]);
    write_format(&text, "    };\n    SMELT_DEVICE void read(Index k, Parameters &p) const {\n");
    for (int32_t i = 1; i < 3; ++i)
        if (problem_input(problem, i) != NULL)
            write_format(&text, "        p.%s = load_pack<%d>(%s, k);\n", names[i], LANES,
                         kernel_pointer(w, node->inputs[i]));
    write_format(&text,
                 "    }\n    SMELT_DEVICE float value(const Parameters &p, int l, float x) const {\n"
                 "        return x%s%s;\n    }\n",
                 problem_input(problem, 1) == NULL ? "" : " * (float)fetch(p.scale.at[l])",
                 problem_input(problem, 2) == NULL ? "" : " + (float)fetch(p.shift.at[l])");
    return kernel_struct_end(w, "Finish", &text);
}

static bool parameters_are_constant(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    for (int32_t i = 1; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && !value_is_constant(problem->graph, node->inputs[i])) return false;
    return true;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    Slices slices = find_slices(problem);
    int32_t warps = config->number[WARPS], rows = config->number[ROWS];
    KernelWriter *w = kernel_begin(emission, "lines");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "lines.cuh");
    const char *x = kernel_pack_prologue(w, LANES), *where = slices_declare(w, &slices),
               *finish = is_softmax(node->op) ? "" : kernel_format(w, "%s, ", declare_finish(w)),
               *epilogue = kernel_pack_epilogue(w, LANES);
    bool flag = node->op == OP_LogSoftmax || node->op == OP_LayerNormalization;
    kernel_line(w, "%s<LineTeam<%d, %d>, %d, %s>(%s, %s, %s, %d, %s%s);",
                is_softmax(node->op) ? "softmax_lines" : "moment_lines", warps, rows,
                packs_of(&slices, warps), flag ? "true" : "false", x, where, kernel_number(w, slices.rows),
                (int)(slices.extent / LANES), finish, epilogue);
    if (!is_softmax(node->op) && parameters_are_constant(problem)) kernel_waits(w);
    return kernel_finish(w, kernel_grid_for(emission, slices.rows, rows), 1, 1, WARP * warps * rows, 0);
}

const Tactic tactic_lines = {.name = "lines",
                             .version = 1,
                             .strided = true,
                             .prologue = PROLOGUE_STORES,
                             .refuses = refuses,
                             .configs = configs,
                             .emit = emit};
