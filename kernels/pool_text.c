#include "kernels/pool_text.h"

#include "ir/form.h"

enum { LEAST_FOR_WARP = 17 /* elements of a window that a warp divides among its lanes */, WARP = 32 };

const char *pool_type_text(KernelWriter *w, const Node *node, const char *type) {
    switch (node->op) {
    case OP_MaxPool:
    case OP_GlobalMaxPool:
        return kernel_format(w, "MaxOf<%s>", type);
    case OP_AveragePool:
    case OP_GlobalAveragePool:
        return kernel_format(w, "MeanOf<%s>", type);
    case OP_LpPool:
        return kernel_format(w, "NormOf<%s, %d>", type, (int)((const PoolAttrs *)node->parsed)->p);
    default:
        return kernel_format(w, "NormOf<%s, %d>", type, (int)*(const int64_t *)node->parsed);
    }
}

const char *pool_behind_refuses(const Problem *problem) {
    FormWindows windows;
    if (problem->pooling == NONE) return NULL;
    const char *why = form_windows(problem->graph, problem_last(problem), &windows);
    if (why != NULL) return why;
    return windows.taps <= POOL_MOST_TAPS ? NULL : "a pool with large windows behind it";
}

int64_t pool_behind_taps(const Problem *problem) {
    FormWindows windows = {.taps = 1};
    if (problem->pooling != NONE) (void)form_windows(problem->graph, problem_last(problem), &windows);
    return windows.taps;
}

int32_t pool_behind_team(const Problem *problem) {
    return pool_behind_taps(problem) < LEAST_FOR_WARP ? 1 : WARP;
}

/* The windows over the convolution's result; a step of no account where there is one window only. */
static WindowDims windows_of(const Problem *problem) {
    const Node *node = problem_last(problem);
    FormWindows windows;
    WindowAttrs attrs = {.auto_pad = AUTO_PAD_NONE};
    if (form_windows(problem->graph, node, &windows) != NULL)
        (void)form_maxima(problem->graph, node, &windows);
    for (int32_t i = 0; i < WINDOW_AXES; ++i) {
        attrs.stride[i] = windows.stride[i];
        attrs.pad_begin[i] = windows.pad[i];
        attrs.dilation[i] = 1;
    }
    return window_dims(problem->graph->dims, &attrs, windows.kernel,
                       &problem_value(problem, node->inputs[0])->shape,
                       &problem_value(problem, node->outputs[0])->shape);
}

const char *pool_behind_text(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_last(problem);
    WindowDims windows = windows_of(problem);
    const char *type = cuda_compute_type(problem_value(problem, node->inputs[0])->dtype);
    kernel_include(w, "conv_pool.cuh");
    return kernel_format(w, "pool_behind<%s>(%s, %s, %s)", pool_type_text(w, node, type),
                         window_text(w, &windows), numbering_text(w, problem_anchor(problem)->outputs[0]),
                         kernel_between(w));
}
