/* Random generators: each element from its place, so that a GPU draws what the host does. */
#include "ops/random.h"

#include "kernels/window_text.h"

enum { THREADS = 256 };

static bool is_ours(OpId op) {
    return op == OP_RandomNormal || op == OP_RandomNormalLike || op == OP_RandomUniform ||
           op == OP_RandomUniformLike || op == OP_Bernoulli || op == OP_Multinomial;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    int64_t low, high;
    (void)device;
    if (node == NULL || !is_ours(node->op)) return "not a random generator";
    if (node->op == OP_Multinomial) {
        dim_bounds(problem->graph->dims, problem_input(problem, 0)->shape.dim[1], &low, &high);
        if (low < 1) return "classes that there may be none of";
    }
    return refuse_types(problem);
}

static const char *seed_text(KernelWriter *w, uint64_t seed) {
    return kernel_format(w, "0x%llxull", (unsigned long long)seed);
}

static const char *real_text(KernelWriter *w, double value) {
    return kernel_text(w, cuda_real_literal(kernel_emission(w)->arena, value, false));
}

/* Element i of a distribution. Tensors of different sizes hold different numbers. */
static const char *distribution_text(KernelWriter *w, const Node *node) {
    const RandomAttrs *attrs = node->parsed;
    const char *seed = kernel_format(w, "random_bits(%s, (u64)%s)", seed_text(w, attrs->seed),
                                     kernel_count(w, node->outputs[0]));
    if (node->op == OP_RandomNormal || node->op == OP_RandomNormalLike)
        return kernel_format(w, "%s + %s * random_normal(%s, (i64)i)", real_text(w, attrs->a),
                             real_text(w, attrs->b), seed);
    return kernel_format(w, "%s + %s * random_unit(%s, (i64)i)", real_text(w, attrs->a),
                         real_text(w, attrs->b - attrs->a), seed);
}

static const char *bernoulli_text(KernelWriter *w, const Node *node) {
    return kernel_format(w, "(i64)(random_unit(%s, (i64)i) < load_as<double>(%s, i))",
                         seed_text(w, ((const RandomAttrs *)node->parsed)->seed),
                         kernel_pointer(w, node->inputs[0]));
}

static const char *class_text(KernelWriter *w, const Node *node) {
    const MultinomialAttrs *attrs = node->parsed;
    return kernel_format(w, "draw_class(%s, %s, %s, %s, i)", kernel_scratch(w, 0, "double"),
                         kernel_dim(w, node->inputs[0], 1), kernel_number(w, attrs->sample_size),
                         seed_text(w, attrs->seed));
}

static Status emit_weights(Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    const Shape *x = &problem_input(emission->problem, 0)->shape;
    KernelWriter *w = kernel_begin(emission, "weigh_classes");
    TRY_ALLOC(emission->diag, w);
    emission->scratch_bytes = dim_mul(emission->graph->dims, shape_count(emission->graph->dims, x), 8);
    kernel_include(w, "random.cuh");
    kernel_line(w, "weigh_classes(%s, %s, %s, %s);", kernel_pointer(w, node->inputs[0]),
                kernel_number(w, x->dim[0]), kernel_number(w, x->dim[1]), kernel_scratch(w, 0, "double"));
    return kernel_finish(w, kernel_grid_for(emission, x->dim[0], THREADS), 1, 1, THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    Dim count = shape_count(emission->graph->dims, &problem_output(emission->problem, 0)->shape);
    (void)config, (void)device;
    if (node->op == OP_Multinomial) TRY(emit_weights(emission));
    KernelWriter *w = kernel_begin(emission, "random");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "random.cuh");
    const char *epilogue = kernel_epilogue(w);
    const char *element = node->op == OP_Multinomial ? class_text(w, node)
                          : node->op == OP_Bernoulli ? bernoulli_text(w, node)
                                                     : distribution_text(w, node);
    kernel_line(w, "for (Index i = thread_index(); i < %s; i += thread_count())", kernel_number(w, count));
    kernel_line(w, "    %s(i, %s);", epilogue, element);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_random = {
    .name = "random", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
