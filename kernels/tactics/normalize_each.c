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
    return refuse_unless_floats(problem);
}

static const char *real_text(KernelWriter *w, double value, const char *type) {
    return kernel_text(w, cuda_real_literal(kernel_emission(w)->arena, value, type[0] == 'f'));
}

static const char *batch_text(KernelWriter *w, const char *type) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const Shape *x = &problem_input(problem, 0)->shape;
    Dim strides[SMELT_MAX_RANK] = {0};
    if (x->rank > 1) strides[1] = 1;
    Access access = access_strided(problem->graph->dims, x->rank, x->dim, strides);
    const char *element[5];
    for (int32_t i = 0; i < 5; ++i)
        element[i] = kernel_format(w, "load_as<%s>(%s, %s)", type, kernel_pointer(w, node->inputs[i]),
                                   i == 0 ? "i" : access_index(w, &access, "i"));
    return kernel_format(w, "(%s - %s) / math::sqrt(%s + %s) * %s + %s", element[0], element[3], element[4],
                         real_text(w, (double)((const NormAttrs *)node->parsed)->epsilon, type), element[1],
                         element[2]);
}

static const char *response_text(KernelWriter *w, const char *type) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const LrnAttrs *attrs = node->parsed;
    const Shape *x = &problem_input(problem, 0)->shape;
    Dim space = 1;
    for (int32_t i = 2; i < x->rank; ++i) space = dim_mul(problem->graph->dims, space, x->dim[i]);
    return kernel_format(w, "local_response<%s>(%s, i, %s, %s, %lldll, %lldll, %s, %s, %s)", type,
                         kernel_pointer(w, node->inputs[0]), kernel_number(w, x->dim[1]),
                         kernel_number(w, space), (long long)(attrs->size - 1) / 2,
                         (long long)attrs->size / 2,
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

const Tactic tactic_normalize_each = {
    .name = "normalize_each", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
