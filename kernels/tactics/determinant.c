/* Det: a thread for each small matrix, a block for each large one. */
#include "kernels/index_text.h"

enum { SMALL = 8 /* rows */ };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_Det) return "not Det";
    const Shape *x = &problem_input(problem, 0)->shape;
    if (x->dim[x->rank - 1] != x->dim[x->rank - 2])
        return "whether matrices are square shows at run time only";
    return refuse_types(problem);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    const Shape *x = &problem_input(problem, 0)->shape;
    Dim n = x->dim[x->rank - 1];
    bool is_small = dim_is_exact(n) && n <= SMALL;
    (void)device;
    out[0] = (Config){.count = 1, .number = {is_small ? TEAM_THREAD : TEAM_BLOCK}};
    out[1] = (Config){.count = 1, .number = {is_small ? TEAM_BLOCK : TEAM_THREAD}};
    return 2;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Shape *x = &problem_input(problem, 0)->shape;
    Dim count = span_of(dims, x, 0, x->rank - 2);
    KernelWriter *w = kernel_begin(emission, "determinant");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    emission->scratch_bytes = dim_mul(dims, shape_count(dims, x), (Dim)sizeof(double));
    kernel_include(w, "determinant.cuh");
    const char *epilogue = kernel_epilogue(w);
    kernel_line(w, "determinants<%s>(%s, %s, %s, %s, %s);", team_name(config->number[0]),
                kernel_pointer(w, problem_anchor(problem)->inputs[0]), kernel_number(w, count),
                kernel_number(w, x->dim[x->rank - 1]), kernel_scratch(w, 0, "double"), epilogue);
    return kernel_finish(w, team_grid(emission, config->number[0], count), 1, 1, TEAM_THREADS, 0);
}

const Tactic tactic_determinant = {
    .name = "determinant", .version = 2, .refuses = refuses, .configs = configs, .emit = emit};
