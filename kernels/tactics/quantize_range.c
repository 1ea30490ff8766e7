/* DynamicQuantizeLinear: the range in parts, then every block puts the parts together and quantizes. */
#include "ir/cost.h"
#include "kernels/window_text.h"

enum { THREADS = 256, PER_THREAD = 8, PART = 8192, MOST_PARTS = 256, PART_BYTES = 8 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_DynamicQuantizeLinear) return "not DynamicQuantizeLinear";
    if (problem->node_count > 1) return "nodes behind it";
    return refuse_unless_floats(problem);
}

static const char *result_text(KernelWriter *w, const Node *node, int32_t output) {
    bool wanted = output < node->output_count && node->outputs[output] != NONE;
    return wanted ? kernel_result(w, node->outputs[output]) : "nullptr";
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    DimTable *dims = emission->graph->dims;
    Dim count = shape_count(dims, &problem_input(emission->problem, 0)->shape);
    int64_t parts = dim_at_opt(emission->graph, count) / PART + 1;
    KernelWriter *w = kernel_begin(emission, "range_parts");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    if (parts > MOST_PARTS) parts = MOST_PARTS;
    emission->scratch_bytes = parts * PART_BYTES;
    kernel_include(w, "quantize.cuh");
    kernel_line(w, "range_parts(%s, %s, %s);", kernel_pointer(w, node->inputs[0]), kernel_number(w, count),
                kernel_scratch(w, 0, "float"));
    TRY(kernel_finish(w, parts, 1, 1, THREADS, 0));
    w = kernel_begin(emission, "quantize_by_range");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "quantize.cuh");
    kernel_line(w, "quantize_by_range(%s, %s, %s, %lld, %s, %s, %s);", kernel_pointer(w, node->inputs[0]),
                kernel_number(w, count), kernel_scratch(w, 0, "float"), (long long)parts,
                result_text(w, node, 0), result_text(w, node, 1), result_text(w, node, 2));
    Dim blocks = dim_max(dims, 1, kernel_grid_for(emission, count, THREADS * PER_THREAD));
    return kernel_finish(w, blocks, 1, 1, THREADS, 0);
}

const Tactic tactic_quantize_range = {
    .name = "quantize_range", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
