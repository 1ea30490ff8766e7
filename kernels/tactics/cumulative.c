/* CumSum and CumProd: a team of threads runs along each row. */
#include "kernels/slices.h"
#include "kernels/window_text.h"
#include "ops/sorting.h"

/* Rows are `inner` apart in their elements. */
typedef struct Lines {
    Dim extent, inner, rows;
} Lines;

static const char *find_axis(const Problem *problem, int32_t *axis) {
    int32_t rank = problem_input(problem, 0)->shape.rank, count;
    Dim at;
    if (!problem_known_dims(problem, anchor_input(problem, 1), 1, &at, &count) || count != 1 ||
        !dim_is_exact(at))
        return "the axis is not known";
    if (at < -rank || at >= rank) return "an axis that the input lacks";
    *axis = (int32_t)(at < 0 ? at + rank : at);
    return NULL;
}

static Lines find_lines(const Problem *problem, Slices *slices) {
    DimTable *dims = problem->graph->dims;
    const Shape *shape = &problem_input(problem, 0)->shape;
    int32_t axis = 0;
    (void)find_axis(problem, &axis);
    Lines lines = {.extent = shape->dim[axis], .inner = 1};
    for (int32_t i = axis + 1; i < shape->rank; ++i) lines.inner = dim_mul(dims, lines.inner, shape->dim[i]);
    *slices = slices_along(dims, shape, axis);
    lines.rows = slices->rows;
    return lines;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    int32_t axis;
    (void)device;
    if (node == NULL || (node->op != OP_CumSum && node->op != OP_CumProd)) return "not CumSum or CumProd";
    if (problem->node_count != 1) return "nodes behind it";
    const char *why = refuse_types(problem);
    return why != NULL ? why : find_axis(problem, &axis);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices slices;
    (void)device;
    (void)find_lines(problem, &slices);
    Team best = team_choose(problem, &slices);
    if (best == TEAM_COLUMN) best = TEAM_WARP;
    out[0] = (Config){.count = 1, .number = {(int32_t)best}};
    int32_t count = 1;
    for (Team team = TEAM_THREAD; team <= TEAM_BLOCK; ++team)
        if (team != best) out[count++] = (Config){.count = 1, .number = {(int32_t)team}};
    return count;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    const CumulativeAttrs *attrs = node->parsed;
    DType dtype = problem_input(emission->problem, 0)->dtype;
    Slices slices;
    Lines lines = find_lines(emission->problem, &slices);
    KernelWriter *w = kernel_begin(emission, "cumulative");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "scan.cuh");
    kernel_line(w, "cumulate_rows<%s, %s, %s, %s, %s>(%s, %s, %s, %s, %s);", team_name(config->number[0]),
                node->op == OP_CumSum ? "Sum" : "Product",
                dtype_is_float(dtype) ? "double" : cuda_compute_type(dtype),
                attrs->exclusive ? "true" : "false", attrs->reverse ? "true" : "false",
                kernel_pointer(w, node->inputs[0]), kernel_result(w, node->outputs[0]),
                kernel_number(w, lines.rows), kernel_number(w, lines.extent), kernel_number(w, lines.inner));
    return kernel_finish(w, team_grid(emission, config->number[0], lines.rows), 1, 1, TEAM_THREADS, 0);
}

const Tactic tactic_cumulative = {
    .name = "cumulative", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
