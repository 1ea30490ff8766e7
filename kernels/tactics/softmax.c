/* Normalisations along one axis: Softmax, LogSoftmax, Hardmax and LpNormalization. */
#include "ops/softmax.h"

#include "kernels/slices.h"
#include "kernels/window_text.h"
#include "ops/norm_axis.h"

static bool is_ours(OpId op) {
    return op == OP_Softmax || op == OP_LogSoftmax || op == OP_Hardmax || op == OP_LpNormalization;
}

static Slices find_slices(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    int64_t axis = node->op == OP_LpNormalization ? ((const LpAttrs *)node->parsed)->axis
                                                  : ((const SoftmaxAttrs *)node->parsed)->axis;
    const Shape *x = &problem_input(problem, 0)->shape;
    bool walked[SMELT_MAX_RANK] = {0};
    int32_t own = (int32_t)(axis < 0 ? axis + x->rank : axis);
    slices_mark(x, own, own + 1, walked);
    return slices_normalized(problem, walked);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || !is_ours(node->op)) return "not Softmax or the like";
    if (problem_output(problem, 0) == NULL) return "no result is wanted";
    return refuse_unless_floats(problem);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices slices = find_slices(problem);
    (void)device;
    return team_configs(problem, &slices, out);
}

/* The function template with the arguments that are not deduced. */
static const char *function_text(KernelWriter *w, const Node *node, const char *team, const char *type) {
    switch (node->op) {
    case OP_LpNormalization:
        return kernel_format(w, "lp_rows<%s, %s, %d>", team, type, (int)((const LpAttrs *)node->parsed)->p);
    case OP_Hardmax:
        return kernel_format(w, "hardmax_rows<%s, %s>", team, type);
    default:
        return kernel_format(w, "softmax_rows<%s, %s, %s>", team, type,
                             node->op == OP_LogSoftmax ? "true" : "false");
    }
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    Slices slices = find_slices(emission->problem);
    KernelWriter *w = kernel_begin(emission, "softmax");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "normalize.cuh");
    const char *type = float_type(problem_input(emission->problem, 0)->dtype);
    const char *x = kernel_prologue(w), *where = slices_declare(w, &slices), *epilogue = kernel_epilogue(w);
    kernel_line(w, "%s(%s, %s, %s, %s, %s);", function_text(w, node, team_name(config->number[0]), type), x,
                where, kernel_number(w, slices.rows), kernel_number(w, slices.extent), epilogue);
    return kernel_finish(w, team_grid(emission, config->number[0], slices.rows), 1, 1, TEAM_THREADS, 0);
}

const Tactic tactic_softmax = {.name = "softmax",
                               .version = 2,
                               .strided = true,
                               .prologue = PROLOGUE_STORES,
                               .refuses = refuses,
                               .configs = configs,
                               .emit = emit};
