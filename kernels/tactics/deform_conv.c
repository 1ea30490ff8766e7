/* DeformConv as products in tiles, whose windows are sampled as they are read. */
#include "kernels/conv_text.h"
#include "kernels/tiles.h"

enum { INPUT_OFFSET = 2, INPUT_BIAS = 3, INPUT_MASK = 4 };

static bool shapes_fit(const Problem *problem) {
    const DeformAttrs *attrs = problem_anchor(problem)->parsed;
    DimTable *dims = problem->graph->dims;
    const Dim *x = problem_input(problem, 0)->shape.dim, *w = problem_input(problem, 1)->shape.dim;
    const Dim *y = problem_output(problem, 0)->shape.dim;
    Dim moves = dim_mul(dims, dim_mul(dims, w[2], w[3]), attrs->offset_group);
    const Dim offset[] = {y[0], dim_mul(dims, moves, 2), y[2], y[3]}, mask[] = {y[0], moves, y[2], y[3]};
    Dim outputs = dim_floor_div(dims, w[0], attrs->group),
        turned = dim_floor_div(dims, x[1], attrs->offset_group);
    return x[1] == dim_mul(dims, w[1], attrs->group) && w[0] == dim_mul(dims, outputs, attrs->group) &&
           x[1] == dim_mul(dims, turned, attrs->offset_group) &&
           input_has_shape(problem, INPUT_OFFSET, 4, offset) &&
           input_has_shape(problem, INPUT_MASK, 4, mask) && input_has_shape(problem, INPUT_BIAS, 1, w);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_DeformConv) return "not DeformConv";
    if (((const DeformAttrs *)node->parsed)->group > MOST_GRID_YZ)
        return "more groups than a grid has blocks";
    if (!input_has_rank(problem, 0, 4, 4) || !output_ranks_like(problem, 0) || !output_ranks_like(problem, 1))
        return "ranks that do not fit";
    if (!shapes_fit(problem)) return "shapes that may not fit each other";
    return refuse_unless_floats(problem);
}

static Dim outputs_of(const Problem *problem) {
    const DeformAttrs *attrs = problem_anchor(problem)->parsed;
    return dim_floor_div(problem->graph->dims, problem_input(problem, 1)->shape.dim[0], attrs->group);
}

static Dim columns(const Problem *problem) {
    const Dim *y = problem_output(problem, 0)->shape.dim;
    DimTable *dims = problem->graph->dims;
    return dim_mul(dims, y[0], dim_mul(dims, y[2], y[3]));
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    const DeformAttrs *attrs = problem_anchor(problem)->parsed;
    TileProblem product = {.rows = outputs_of(problem), .cols = columns(problem), .batch = attrs->group};
    const Shape *w = &problem_input(problem, 1)->shape;
    product.depth =
        dim_mul(problem->graph->dims, w->dim[1], dim_mul(problem->graph->dims, w->dim[2], w->dim[3]));
    return tile_configs(device, &product, out);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const DeformAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0);
    const Shape *weights = &problem_input(problem, 1)->shape;
    WindowDims window =
        window_dims(dims, &attrs->window, weights->dim + 2, &x->shape, &problem_output(problem, 0)->shape);
    ValueId mask = anchor_input(problem, INPUT_MASK);
    KernelWriter *w = kernel_begin(emission, "deform_conv");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv.cuh");
    kernel_line(w, "deform_tiles<%s, %s, %s>(%s, %s, %s, %s, %s, %s, %s, %s, %s);", float_type(x->dtype),
                tile_text(w, config), cuda_type(x->dtype), kernel_pointer(w, node->inputs[0]),
                kernel_pointer(w, node->inputs[1]), kernel_pointer(w, node->inputs[INPUT_OFFSET]),
                mask != NONE ? kernel_pointer(w, mask) : "nullptr", window_text(w, &window),
                conv_sizes_text(w, x->shape.dim[0], attrs->group, weights->dim[1], outputs_of(problem)),
                kernel_number(w, attrs->offset_group), bias_text(w, anchor_input(problem, INPUT_BIAS)),
                kernel_epilogue(w));
    Dim tiles = tile_count(dims, config, outputs_of(problem), columns(problem));
    return kernel_finish(w, tiles, attrs->group, 1, tile_threads(config), 0);
}

const Tactic tactic_deform_conv = {
    .name = "deform_conv", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
