/* TopK: a block of threads for each row. */
#include "kernels/window_text.h"
#include "ops/sorting.h"

enum { THREADS = 256, RANKED_BYTES = 16, MOST_SHARED = 2048 /* elements that are sorted in shared memory */ };

typedef struct Lines {
    Dim rows, extent, inner, k;
} Lines;

static Lines find_lines(const Problem *problem) {
    DimTable *dims = problem->graph->dims;
    const TopKAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *in = &problem_input(problem, 0)->shape;
    const Value *out =
        problem_output(problem, 0) != NULL ? problem_output(problem, 0) : problem_output(problem, 1);
    int32_t axis = (int32_t)(attrs->axis < 0 ? attrs->axis + in->rank : attrs->axis);
    Lines lines = {.rows = 1, .extent = in->dim[axis], .inner = 1, .k = out->shape.dim[axis]};
    for (int32_t i = 0; i < in->rank; ++i) {
        if (i != axis) lines.rows = dim_mul(dims, lines.rows, in->dim[i]);
        if (i > axis) lines.inner = dim_mul(dims, lines.inner, in->dim[i]);
    }
    return lines;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_TopK) return "not TopK";
    if (problem->node_count != 1) return "nodes behind it";
    if (problem_output(problem, 0) == NULL && problem_output(problem, 1) == NULL)
        return "no result is wanted";
    return refuse_types(problem);
}

/* Elements that shared memory has room for; 0 where k may be too large. */
static int32_t choose_capacity(DimTable *dims, Dim k) {
    int64_t low, high;
    int32_t capacity = 32;
    dim_bounds(dims, k, &low, &high);
    if (high > MOST_SHARED) return 0;
    while (capacity < high) capacity *= 2;
    return capacity;
}

static const char *optional_result(KernelWriter *w, const Node *node, int32_t i, const char *type) {
    if (i < node->output_count && node->outputs[i] != NONE) return kernel_result(w, node->outputs[i]);
    return kernel_format(w, "(%s *)nullptr", type);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    DimTable *dims = emission->graph->dims;
    Lines lines = find_lines(emission->problem);
    int32_t capacity = choose_capacity(dims, lines.k);
    const char *memory = "(Ranked *)nullptr";
    KernelWriter *w = kernel_begin(emission, "topk");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "topk.cuh");
    if (capacity == 0) {
        emission->scratch_bytes = dim_mul(dims, dim_mul(dims, lines.rows, lines.k), RANKED_BYTES);
        memory = kernel_scratch(w, 0, "Ranked");
    }
    kernel_line(w, "topk_rows<%d, %s>(%s, %s, %s, %s, %s, %s, %s, %s);", capacity,
                ((const TopKAttrs *)node->parsed)->largest ? "true" : "false",
                kernel_pointer(w, node->inputs[0]), kernel_number(w, lines.rows),
                kernel_number(w, lines.extent), kernel_number(w, lines.inner), kernel_number(w, lines.k),
                optional_result(w, node, 0, cuda_type(problem_input(emission->problem, 0)->dtype)),
                optional_result(w, node, 1, "i64"), memory);
    return kernel_finish(w, kernel_grid_for(emission, lines.rows, 1), 1, 1, THREADS, 0);
}

const Tactic tactic_topk = {
    .name = "topk", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
