/* TensorScatter: a thread for each element of the cache. */
#include "kernels/index_text.h"
#include "ops/indexing.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_TensorScatter) return "not TensorScatter";
    if (problem->node_count > 1) return "nodes behind it";
    const Shape *cache = &problem_input(problem, 0)->shape, *update = &problem_input(problem, 1)->shape;
    int32_t axis = axis_of(((const TensorScatterAttrs *)node->parsed)->axis, cache->rank);
    for (int32_t i = 0; i < cache->rank; ++i)
        if (i != axis && cache->dim[i] != update->dim[i])
            return "whether cache and update fit shows at run time only";
    const Value *starts = problem_input(problem, 2);
    if (starts != NULL && starts->shape.dim[0] != cache->dim[0])
        return "whether there is an index for each entry shows at run time only";
    return refuse_types(problem);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    const TensorScatterAttrs *attrs = node->parsed;
    DimTable *dims = emission->graph->dims;
    const Shape *cache = &problem_input(problem, 0)->shape;
    int32_t axis = axis_of(attrs->axis, cache->rank);
    ValueId starts = anchor_input(problem, 2);
    Dim count = shape_count(dims, cache);
    KernelWriter *w = kernel_begin(emission, "scatter_cache");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "indexing.cuh");
    kernel_line(w, "scatter_cache<%s>(raw(%s), raw(%s), %s, raw(%s), %s, %s, %s, %s, %s);",
                attrs->circular ? "true" : "false", kernel_pointer(w, node->inputs[0]),
                kernel_pointer(w, node->inputs[1]),
                starts == NONE ? "(const i64 *)nullptr" : kernel_pointer(w, starts),
                kernel_result(w, node->outputs[0]), kernel_number(w, count),
                kernel_number(w, span_of(dims, cache, 1, axis)), kernel_number(w, cache->dim[axis]),
                kernel_dim(w, node->inputs[1], axis),
                kernel_number(w, span_of(dims, cache, axis + 1, cache->rank)));
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_scatter_cache = {
    .name = "scatter_cache", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
