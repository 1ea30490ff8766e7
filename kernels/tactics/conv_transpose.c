/* ConvTranspose: a thread for each output element gathers the inputs that reach it. */
#include "kernels/transposed_text.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    (void)device;
    return transposed_refuses(problem);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    TransposedText text = transposed_describe(problem);
    KernelWriter *w = kernel_begin(emission, "conv_transpose");
    (void)config;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv.cuh");
    kernel_line(w, "conv_transpose<%s>(%s);", float_type(problem_input(problem, 0)->dtype),
                transposed_arguments(w, &text));
    Dim count = shape_count(emission->graph->dims, &problem_output(problem, 0)->shape);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_conv_transpose = {.name = "conv_transpose",
                                      .version = 2,
                                      .slow = SLOW_FOR_ALL,
                                      .strided = true,
                                      .refuses = refuses,
                                      .configs = only_config,
                                      .emit = emit};
