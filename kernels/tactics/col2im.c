/* Col2Im: a thread for each pixel gathers what belongs to it. */
#include "kernels/window_text.h"
#include "ops/movement.h"

enum { THREADS = 256, INPUT_BLOCK = 2 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    Dim block[WINDOW_AXES];
    int32_t axes;
    (void)device;
    if (node == NULL || node->op != OP_Col2Im) return "not Col2Im";
    if (!problem_known_dims(problem, node->inputs[INPUT_BLOCK], WINDOW_AXES, block, &axes))
        return "more than three axes, or a block that is not known";
    if (problem_output(problem, 0)->shape.rank != axes + 2) return "ranks that do not fit";
    return cuda_type_refusal(problem_input(problem, 0)->dtype);
}

/* in: how many blocks there are along each axis. */
static WindowDims describe(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const Col2ImAttrs *attrs = node->parsed;
    DimTable *dims = problem->graph->dims;
    const Shape *image = &problem_output(problem, 0)->shape;
    WindowAttrs window = {.axes = 0};
    Shape blocks = *image;
    Dim block[WINDOW_AXES] = {1, 1, 1};
    int32_t axes;
    problem_known_dims(problem, node->inputs[INPUT_BLOCK], WINDOW_AXES, block, &axes);
    for (int32_t i = 0; i < axes; ++i) {
        window.stride[i] = attrs->stride_count > 0 ? attrs->strides[i] : 1;
        window.dilation[i] = attrs->dilation_count > 0 ? attrs->dilations[i] : 1;
        window.pad_begin[i] = attrs->pad_count > 0 ? attrs->pads[i] : 0;
        window.pad_end[i] = attrs->pad_count > 0 ? attrs->pads[i + axes] : 0;
        Dim reach = dim_mul(dims, dim_sub(dims, block[i], 1), window.dilation[i]);
        Dim room = dim_add(dims, image->dim[2 + i], window.pad_begin[i] + window.pad_end[i] - 1);
        blocks.dim[2 + i] =
            dim_add(dims, dim_floor_div(dims, dim_sub(dims, room, reach), window.stride[i]), 1);
    }
    return window_dims(dims, &window, block, &blocks, image);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    WindowDims window = describe(emission->problem);
    DType dtype = problem_input(emission->problem, 0)->dtype;
    bool narrow = dtype_is_float(dtype) && dtype != DTYPE_F64; /* integers are bounded when they are stored */
    KernelWriter *w = kernel_begin(emission, "col2im");
    (void)config;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv.cuh");
    Dim count = shape_count(emission->graph->dims, &problem_output(emission->problem, 0)->shape);
    kernel_line(w, "col2im<%s>(%s, %s, %s, %s);", narrow ? "float" : "double",
                kernel_pointer(w, node->inputs[0]), window_text(w, &window), kernel_number(w, count),
                kernel_epilogue(w));
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_col2im = {
    .name = "col2im", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
