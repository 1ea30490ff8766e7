/* NonMaxSuppression: a block of threads for each batch and class; the run waits for how many boxes are left.
 */
#include "kernels/select_text.h"
#include "kernels/window_text.h"
#include "ops/sorting.h"

enum { THREADS = 256, PLACE_BYTES = 8, RANKED_BYTES = 16 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_NonMaxSuppression) return "not NonMaxSuppression";
    if (problem->node_count != 1) return "nodes behind it";
    if (problem_output(problem, 0) == NULL) return "no result is wanted";
    if (!input_has_rank(problem, 0, 3, 3) || !input_has_rank(problem, 1, 3, 3))
        return "boxes or scores of another rank";
    if (problem_input(problem, 0)->dtype != DTYPE_F32 || problem_input(problem, 1)->dtype != DTYPE_F32)
        return "boxes or scores that are not f32";
    if (problem_input(problem, 0)->shape.dim[1] != problem_input(problem, 1)->shape.dim[2] ||
        problem_input(problem, 0)->shape.dim[0] != problem_input(problem, 1)->shape.dim[0])
        return "boxes and scores that may not fit each other";
    return refuse_types(problem);
}

/* The only element of an input, or what it is where it is omitted. */
static const char *scalar_text(KernelWriter *w, ValueId value, const char *type, const char *missing) {
    return value == NONE ? missing : kernel_format(w, "load_as<%s>(%s, 0)", type, kernel_pointer(w, value));
}

static const char *accepts_text(KernelWriter *w, ValueId threshold) {
    if (threshold == NONE) return "[](float) { return true; }";
    return kernel_format(w, "[&](float score) { return score > %s; }",
                         scalar_text(w, threshold, "float", ""));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    DimTable *dims = emission->graph->dims;
    const Shape *scores = &problem_input(problem, 1)->shape;
    Dim pairs = dim_mul(dims, scores->dim[0], scores->dim[1]), all = dim_mul(dims, pairs, scores->dim[2]);
    Dim found = scratch_take(emission, PLACE_BYTES);
    Dim kept = scratch_take(emission, dim_mul(dims, pairs, PLACE_BYTES));
    Dim selected = scratch_take(emission, dim_mul(dims, all, PLACE_BYTES));
    Dim items = scratch_take(emission, dim_mul(dims, all, RANKED_BYTES));
    KernelWriter *w = kernel_begin(emission, "suppress");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "suppression.cuh");
    kernel_line(w, "suppress_pairs<%s>(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s);",
                ((const SuppressionAttrs *)node->parsed)->center_point ? "true" : "false",
                kernel_pointer(w, node->inputs[0]), kernel_pointer(w, node->inputs[1]),
                kernel_number(w, pairs), kernel_number(w, scores->dim[1]), kernel_number(w, scores->dim[2]),
                scalar_text(w, anchor_input(problem, 2), "i64", "0"),
                scalar_text(w, anchor_input(problem, 3), "float", "0.0f"),
                accepts_text(w, anchor_input(problem, 4)), kernel_scratch(w, items, "Ranked"),
                kernel_scratch(w, selected, "i64"), kernel_scratch(w, kept, "i64"));
    TRY(kernel_finish(w, kernel_grid_for(emission, pairs, 1), 1, 1, THREADS, 0));
    w = kernel_begin(emission, "suppress");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "suppression.cuh");
    kernel_line(w, "select_offsets(%s, %s, %s);", kernel_scratch(w, kept, "i64"), kernel_number(w, pairs),
                kernel_scratch(w, found, "i64"));
    TRY(kernel_finish(w, 1, 1, 1, THREADS, 0));
    w = kernel_begin(emission, "suppress");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "suppression.cuh");
    kernel_line(w, "write_selected(%s, %s, %s, %s, %s, %s, %s);", kernel_scratch(w, selected, "i64"),
                kernel_scratch(w, kept, "i64"), kernel_number(w, pairs), kernel_number(w, scores->dim[1]),
                kernel_number(w, scores->dim[2]), kernel_dim(w, node->outputs[0], 0),
                kernel_result(w, node->outputs[0]));
    return kernel_finish(w, kernel_grid_for(emission, pairs, 1), 1, 1, THREADS, 0);
}

const Tactic tactic_suppression = {.name = "suppression",
                                   .version = 1,
                                   .finds_sizes = true,
                                   .refuses = refuses,
                                   .configs = only_config,
                                   .emit = emit};
