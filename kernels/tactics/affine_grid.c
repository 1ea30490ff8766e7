/* AffineGrid: a thread for each coordinate. */
#include "kernels/window_text.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_AffineGrid) return "not AffineGrid";
    const Shape *y = &problem_output(problem, 0)->shape;
    if (y->rank < 3) return "ranks that do not fit";
    const Dim theta[] = {y->dim[0], y->rank - 2, y->rank - 1};
    if (!input_has_shape(problem, 0, 3, theta)) return "matrices that may not fit";
    return cuda_type_refusal(problem_input(problem, 0)->dtype);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    const Shape *y = &problem_output(emission->problem, 0)->shape;
    int32_t axes = y->rank - 2;
    KernelWriter *w = kernel_begin(emission, "affine_grid");
    (void)config;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "sample.cuh");
    Dim count = shape_count(emission->graph->dims, y);
    kernel_line(w, "affine_grid<%s, %d>(%s, Extents<%d>{%s}, %s, %s);",
                *(const int64_t *)node->parsed != 0 ? "true" : "false", axes,
                kernel_pointer(w, node->inputs[0]), axes, extents_text(w, y->dim + 1, axes),
                kernel_number(w, count), kernel_epilogue(w));
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_affine_grid = {
    .name = "affine_grid", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
