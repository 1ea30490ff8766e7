/* Dropout with its mask: nothing is dropped outside training. Without the mask it is a copy (movement.c). */
#include "kernels/window_text.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_Dropout) return "not Dropout";
    if (problem->node_count > 1) return "nodes behind it";
    if (problem_output(problem, 1) == NULL) return "no mask";
    return refuse_types(problem);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    Dim count = shape_count(emission->graph->dims, &problem_input(emission->problem, 0)->shape);
    KernelWriter *w = kernel_begin(emission, "dropout");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "for (Index i = thread_index(); i < %s; i += thread_count()) {", kernel_number(w, count));
    if (node->outputs[0] != NONE)
        kernel_line(w, "    %s[i] = %s[i];", kernel_result(w, node->outputs[0]),
                    kernel_pointer(w, node->inputs[0]));
    kernel_line(w, "    store(%s, i, true);", kernel_result(w, node->outputs[1]));
    kernel_line(w, "}");
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_dropout = {
    .name = "dropout", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
