/* MaxUnpool: zeros, then each element in its place. */
#include "kernels/window_text.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_MaxUnpool) return "not MaxUnpool";
    if (problem->node_count != 1) return "nodes behind it";
    if (!input_has_rank(problem, 0, 3, 2 + WINDOW_AXES) || !output_ranks_like(problem, 0))
        return "ranks that do not fit";
    const Shape *x = &problem_input(problem, 0)->shape;
    if (!input_has_shape(problem, 1, x->rank, x->dim)) return "indices whose shape may differ";
    return refuse_types(problem);
}

static Status emit_zeros(Emission *emission) {
    ValueId y = problem_anchor(emission->problem)->outputs[0];
    KernelWriter *w = kernel_begin(emission, "unpool_zeros");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool.cuh");
    kernel_line(w, "fill_zeros(%s, %s);", kernel_result(w, y), kernel_count(w, y));
    Dim count = shape_count(emission->graph->dims, &emission->graph->values[y].shape);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    const WindowAttrs *attrs = node->parsed;
    DimTable *dims = emission->graph->dims;
    const Value *x = problem_input(emission->problem, 0), *y = problem_output(emission->problem, 0);
    Dim from[SMELT_MAX_RANK];
    (void)config;
    (void)device;
    TRY(emit_zeros(emission));
    for (int32_t i = 0; i < x->shape.rank; ++i) {
        from[i] = x->shape.dim[i];
        if (i < 2) continue;
        Dim steps = dim_mul(dims, dim_sub(dims, from[i], 1), attrs->stride[i - 2]);
        from[i] =
            dim_add(dims, steps, attrs->kernel[i - 2] - attrs->pad_begin[i - 2] - attrs->pad_end[i - 2]);
    }
    KernelWriter *w = kernel_begin(emission, "unpool");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool.cuh");
    kernel_line(w, "const Unpool<%d, %s> unpool{%s, %s};", x->shape.rank, cuda_type(x->dtype),
                extents_text(w, from, x->shape.rank), extents_text(w, y->shape.dim, x->shape.rank));
    kernel_line(w, "unpool.run(%s, %s, %s, %s);", kernel_pointer(w, node->inputs[0]),
                kernel_pointer(w, node->inputs[1]), kernel_result(w, node->outputs[0]),
                kernel_count(w, node->inputs[0]));
    Dim count = shape_count(dims, &x->shape);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_unpool = {
    .name = "unpool", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
