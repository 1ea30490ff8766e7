/* GridSample: a thread for each output element. */
#include "kernels/window_text.h"
#include "ops/sampling.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_GridSample) return "not GridSample";
    if (!input_has_rank(problem, 0, 3, SMELT_MAX_RANK) || !output_ranks_like(problem, 0) ||
        !output_ranks_like(problem, 1))
        return "ranks that do not fit";
    const Shape *x = &problem_input(problem, 0)->shape, *grid = &problem_input(problem, 1)->shape;
    if (x->dim[0] != grid->dim[0] || grid->dim[grid->rank - 1] != x->rank - 2)
        return "a grid that may not fit the input";
    return refuse_types(problem);
}

/* Product of dimensions [first, rank). */
static Dim extent_from(DimTable *dims, const Shape *shape, int32_t first) {
    Dim product = 1;
    for (int32_t i = first; i < shape->rank; ++i) product = dim_mul(dims, product, shape->dim[i]);
    return product;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const SampleAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0);
    const Shape *y = &problem_output(problem, 0)->shape;
    int32_t axes = x->shape.rank - 2;
    KernelWriter *w = kernel_begin(emission, "grid_sample");
    (void)config;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "sample.cuh");
    bool narrow = dtype_is_float(x->dtype) && x->dtype != DTYPE_F64;
    const char *sampler = kernel_format(w, "Sampler<%d, %d, %s>", (int)attrs->mode, (int)attrs->padding,
                                        attrs->align_corners ? "true" : "false");
    kernel_line(w, "grid_sample<%s, %s, %d, %d>(%s, %s, Extents<%d>{%s}, %s, %s, %s, %s{}, %s);",
                narrow ? "float" : "double", sampler, (int)attrs->mode, axes,
                kernel_pointer(w, node->inputs[0]), kernel_pointer(w, node->inputs[1]), axes,
                extents_text(w, x->shape.dim + 2, axes), kernel_number(w, y->dim[0]),
                kernel_number(w, y->dim[1]), kernel_number(w, extent_from(dims, y, 2)), sampler,
                kernel_epilogue(w));
    return kernel_finish(w, kernel_grid_for(emission, shape_count(dims, y), THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_grid_sample = {
    .name = "grid_sample", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
