/* Convolutions with a thread for each output element. */
#include "kernels/conv_text.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    (void)device;
    return conv_refuses(problem);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ConvText conv = conv_describe(emission->problem);
    KernelWriter *w = kernel_begin(emission, "conv_direct");
    (void)config;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    const Problem *problem = emission->problem;
    int32_t team = pool_behind_team(problem);
    kernel_include(w, "conv.cuh");
    const char *operands = conv_operands(w, &conv), *results = conv_results(w, &conv);
    if (problem->pooling == NONE)
        kernel_line(w, "conv_direct<%s>(%s, %s);", conv.type, operands, results);
    else
        kernel_line(w, "conv_direct_pooled<%s, %d>(%s, %s%s);", conv.type, team, operands, results,
                    conv_pool(w));
    Dim count =
        shape_count(emission->graph->dims, &problem_value(problem, problem_last(problem)->outputs[0])->shape);
    count = dim_mul(emission->graph->dims, count, team);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_conv_direct = {.name = "conv_direct",
                                   .version = 3,
                                   .slow = SLOW_FOR_ALL,
                                   .strided = true,
                                   .pools = true,
                                   .prologue = PROLOGUE_READS,
                                   .refuses = refuses,
                                   .configs = only_config,
                                   .emit = emit};
