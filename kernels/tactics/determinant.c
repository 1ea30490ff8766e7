/* Det. */
#include "kernels/index_text.h"

enum { THREADS = 64 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_Det) return "not Det";
    const Shape *x = &problem_input(problem, 0)->shape;
    if (x->dim[x->rank - 1] != x->dim[x->rank - 2])
        return "whether matrices are square shows at run time only";
    return refuse_types(problem);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Shape *x = &problem_input(problem, 0)->shape;
    Dim count = span_of(dims, x, 0, x->rank - 2);
    KernelWriter *w = kernel_begin(emission, "determinant");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    emission->scratch_bytes = dim_mul(dims, shape_count(dims, x), (Dim)sizeof(double));
    kernel_include(w, "determinant.cuh");
    const char *epilogue = kernel_epilogue(w);
    kernel_line(w, "determinants(%s, %s, %s, %s, %s);", kernel_pointer(w, problem_anchor(problem)->inputs[0]),
                kernel_number(w, count), kernel_number(w, x->dim[x->rank - 1]),
                kernel_scratch(w, 0, "double"), epilogue);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_determinant = {
    .name = "determinant", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
