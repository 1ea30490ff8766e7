/* Normalisations that compute each element by itself: Batch (inference) and LRN. */
#include "kernels/access.h"
#include "kernels/window_text.h"
#include "ops/norm.h"
#include "ops/norm_axis.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_BatchNormalization && node->op != OP_LRN))
        return "not BatchNormalization or LRN";
    if (problem_output(problem, 0) == NULL) return "no result is wanted";
    const char *why = refuse_unless_plain(problem, 1);
    return why != NULL ? why : refuse_unless_floats(problem);
}

static const char *real_text(KernelWriter *w, double value, const char *type) {
    return kernel_text(w, cuda_real_literal(kernel_emission(w)->arena, value, type[0] == 'f'));
}

/* Where element number i of the result is read. */
static const char *place_text(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Shape *x = &problem_input(problem, 0)->shape;
    Access access = access_value(problem->graph, problem_anchor(problem)->inputs[0], x,
                                 problem_output(problem, 0)->layout);
    return access_index(w, &access, "i");
}

static const char *channel_text(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Shape *x = &problem_input(problem, 0)->shape;
    Dim strides[SMELT_MAX_RANK] = {0};
    if (x->rank > 1) strides[1] = 1;
    Access access = access_ordered(problem->graph->dims, x, strides, problem_output(problem, 0)->layout);
    return access_index(w, &access, "i");
}

static const char *batch_text(KernelWriter *w, const char *type) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const char *element[5], *place = place_text(w), *channel = channel_text(w);
    for (int32_t i = 0; i < 5; ++i)
        element[i] = kernel_format(w, "load_as<%s>(%s, %s)", type, kernel_pointer(w, node->inputs[i]),
                                   i == 0 ? place : channel);
    return kernel_format(w, "(%s - %s) / math::sqrt(%s + %s) * %s + %s", element[0], element[3], element[4],
                         real_text(w, (double)((const NormAttrs *)node->parsed)->epsilon, type), element[1],
                         element[2]);
}

static const char *response_text(KernelWriter *w, const char *type) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const LrnAttrs *attrs = node->parsed;
    Dim strides[SMELT_MAX_RANK] = {0};
    value_strides(problem->graph, node->inputs[0], strides);
    return kernel_format(w, "local_response<%s>(%s, %s, %s, %s, %s, %lldll, %lldll, %s, %s, %s)", type,
                         kernel_pointer(w, node->inputs[0]), place_text(w), channel_text(w),
                         kernel_dim(w, node->inputs[0], 1), kernel_number(w, strides[1]),
                         (long long)(attrs->size - 1) / 2, (long long)attrs->size / 2,
                         real_text(w, (double)attrs->alpha / (double)attrs->size, type),
                         real_text(w, (double)attrs->bias, type), real_text(w, (double)attrs->beta, type));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    Dim count = shape_count(emission->graph->dims, &problem_output(problem, 0)->shape);
    KernelWriter *w = kernel_begin(emission, "normalize_each");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "normalize.cuh");
    const char *type = float_type(problem_input(problem, 0)->dtype), *epilogue = kernel_epilogue(w);
    kernel_line(w, "for (Index i = thread_index(); i < %s; i += thread_count())", kernel_number(w, count));
    kernel_line(w, "    %s(i, %s);", epilogue,
                problem_anchor(problem)->op == OP_LRN ? response_text(w, type) : batch_text(w, type));
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_normalize_each = {.name = "normalize_each",
                                      .version = 2,
                                      .strided = true,
                                      .refuses = refuses,
                                      .configs = only_config,
                                      .emit = emit};
