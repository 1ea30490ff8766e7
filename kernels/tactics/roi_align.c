/* RoiAlign: a thread for each bin. */
#include "kernels/window_text.h"
#include "ops/sampling.h"

enum { THREADS = 128 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_RoiAlign) return "not RoiAlign";
    if (!input_has_rank(problem, 0, 4, 4) || !output_ranks_like(problem, 0) ||
        !input_has_rank(problem, 1, 2, 2))
        return "ranks that do not fit";
    Dim regions[] = {problem_input(problem, 1)->shape.dim[0], 4};
    if (!input_has_shape(problem, 1, 2, regions) || !input_has_shape(problem, 2, 1, regions))
        return "regions whose shape may differ";
    return refuse_types(problem);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    const RoiAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0);
    const Shape *y = &problem_output(problem, 0)->shape;
    KernelWriter *w = kernel_begin(emission, "roi_align");
    (void)config;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "sample.cuh");
    const Dim sizes[] = {x->shape.dim[0], x->shape.dim[1], x->shape.dim[2], x->shape.dim[3]};
    kernel_line(w, "const RoiSizes sizes{%s, %s, %s, %s, %s, %s, %s, %d, %s};", kernel_number(w, sizes[0]),
                kernel_number(w, sizes[1]), kernel_number(w, sizes[2]), kernel_number(w, sizes[3]),
                kernel_number(w, y->dim[0]), kernel_number(w, y->dim[2]), kernel_number(w, y->dim[3]),
                (int)attrs->sampling_ratio,
                kernel_text(w, cuda_real_literal(emission->arena, (double)attrs->spatial_scale, false)));
    kernel_line(w, "roi_align<%s, %s, %s>(%s, %s, %s, sizes, %s);", float_type(x->dtype),
                attrs->max ? "true" : "false", attrs->half_pixel ? "true" : "false",
                kernel_pointer(w, node->inputs[0]), kernel_pointer(w, node->inputs[1]),
                kernel_pointer(w, node->inputs[2]), kernel_epilogue(w));
    Dim count = shape_count(emission->graph->dims, y);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_roi_align = {
    .name = "roi_align", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
