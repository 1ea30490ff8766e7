/* ArgMax and ArgMin. */
#include "kernels/slices.h"
#include "kernels/window_text.h"
#include "ops/sorting.h"

static Slices find_slices(const Problem *problem) {
    const ArgAttrs *attrs = problem_anchor(problem)->parsed;
    return slices_along(problem->graph->dims, &problem_input(problem, 0)->shape, attrs->axis);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_ArgMax && node->op != OP_ArgMin)) return "not ArgMax or ArgMin";
    return refuse_types(problem);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices slices = find_slices(problem);
    (void)device;
    return team_configs(problem, &slices, out);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    Slices slices = find_slices(emission->problem);
    KernelWriter *w = kernel_begin(emission, "arg");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "reduce.cuh");
    const char *x = kernel_prologue(w), *where = slices_declare(w, &slices), *epilogue = kernel_epilogue(w);
    kernel_line(w, "arg_rows<%s, %s>(%s, %s, %s, %s, %s, %s);", team_name(config->number[0]),
                ((const ArgAttrs *)node->parsed)->select_last ? "true" : "false", x, where,
                kernel_number(w, slices.rows), kernel_number(w, slices.extent),
                node->op == OP_ArgMax ? "0" : "~0ull", epilogue);
    return kernel_finish(w, team_grid(emission, config->number[0], slices.rows), 1, 1, TEAM_THREADS, 0);
}

const Tactic tactic_arg = {.name = "arg",
                           .version = 2,
                           .prologue = PROLOGUE_READS,
                           .refuses = refuses,
                           .configs = configs,
                           .emit = emit};
