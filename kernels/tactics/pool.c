/* MaxPool, AveragePool and LpPool: a thread for each output element. */
#include "kernels/chain.h"
#include "kernels/pool_text.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_MaxPool && node->op != OP_AveragePool && node->op != OP_LpPool))
        return "not a pool";
    if (problem_output(problem, 0) == NULL) return "no result";
    if (!input_has_rank(problem, 0, 3, 2 + WINDOW_AXES) || !output_ranks_like(problem, 0))
        return "ranks that do not fit";
    return refuse_types(problem);
}

static const char *indices_text(KernelWriter *w, const Node *node) {
    const PoolAttrs *attrs = node->parsed;
    if (node->output_count < 2 || node->outputs[1] == NONE) return "NoIndices{}";
    return kernel_format(w, "StoreIndices<%s>{%s, %s}", attrs->storage_order != 0 ? "true" : "false",
                         kernel_result(w, node->outputs[1]), strides_text(w, node->outputs[1]));
}

/* Elements of a thread: packs of channels where they are neighbours in memory and their places are not
 * wanted. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    int32_t count = 0;
    (void)device;
    if (problem_output(problem, 1) == NULL && !problem_has_front(problem) &&
        refuse_unless_packs(problem) == NULL)
        out[count++] = (Config){.count = 1, .number = {EPILOGUE_LANES}};
    out[count++] = (Config){.count = 1, .number = {1}};
    return count;
}

static void write_call(KernelWriter *w, const Node *node, const WindowDims *window, Dim count,
                       int32_t lanes) {
    const Value *values = kernel_emission(w)->graph->values;
    const PoolAttrs *attrs = node->parsed;
    const char *type = cuda_compute_type(values[node->inputs[0]].dtype),
               *pool = pool_type_text(w, node, type);
    const char *counts = attrs->count_include_pad != 0 ? "true" : "false";
    const char *padding = extents_text(w, window->pad_end, WINDOW_AXES);
    if (lanes > 1) {
        kernel_line(w, "pool_packs<%d, %s, %s>(%s, %s, %s, %s, Place{%s}, %s, %s);", lanes, pool, counts,
                    kernel_pointer(w, node->inputs[0]), strides_text(w, node->inputs[0]),
                    kernel_number(w, count), window_text(w, window), padding,
                    kernel_dim(w, node->outputs[0], 1), kernel_pack_epilogue(w, lanes));
        return;
    }
    const char *elements = kernel_prologue(w), *epilogue = kernel_epilogue(w);
    kernel_line(w, "pool_windows<%s, %s, %s>(%s, %s, %s, %s, Place{%s}, %s, %s, %s);", type, pool, counts,
                elements, number_strides_text(w, node->inputs[0]), kernel_number(w, count),
                window_text(w, window), padding, numbering_text(w, node->outputs[0]), indices_text(w, node),
                epilogue);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const PoolAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0), *y = problem_output(problem, 0);
    WindowDims window = window_dims(dims, &attrs->window, attrs->window.kernel, &x->shape, &y->shape);
    KernelWriter *w = kernel_begin(emission, "pool");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool.cuh");
    Dim count = dim_floor_div(dims, shape_count(dims, &y->shape), config->number[0]);
    write_call(w, node, &window, count, config->number[0]);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_pool = {.name = "pool",
                            .version = 3,
                            .strided = true,
                            .prologue = PROLOGUE_READS,
                            .refuses = refuses,
                            .configs = configs,
                            .emit = emit};
