/* Operators whose elements follow from their place and a few numbers: one thread for each element. */
#include <string.h>

#include "kernels/index_text.h"
#include "ops/shape.h"
#include "ops/signal.h"

enum { THREADS = 256 };

static bool is_ours(OpId op) {
    switch (op) {
    case OP_Shape:
    case OP_Size:
    case OP_ConstantOfShape:
    case OP_Range:
    case OP_EyeLike:
    case OP_OneHot:
    case OP_HannWindow:
    case OP_HammingWindow:
    case OP_BlackmanWindow:
    case OP_MelWeightMatrix:
        return true;
    default:
        return false;
    }
}

/* Inputs that are read by number have that many elements. */
static bool has_elements(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    bool scalars = node->op == OP_Range || node->op == OP_MelWeightMatrix;
    if (node->op == OP_OneHot) return value_known_count(problem_input(problem, 2)) == 2;
    for (int32_t i = 0; scalars && i < node->input_count; ++i)
        if (value_known_count(problem_input(problem, i)) != 1) return false;
    return true;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || !is_ours(node->op)) return "not a generator";
    if (problem->node_count > 1) return "nodes behind it";
    if (!has_elements(problem)) return "how many elements an input has is not known";
    return refuse_types(problem);
}

/* -- one element as text; those that only move bits as their bits -- */

static const char *shape_element(KernelWriter *w, const Node *node) {
    const ShapeAttrs *attrs = node->parsed;
    const Problem *problem = kernel_emission(w)->problem;
    const Shape *in = &problem_input(problem, 0)->shape;
    int32_t count = (int32_t)problem_output(problem, 0)->shape.dim[0];
    int64_t first = attrs->start < 0 ? attrs->start + in->rank : attrs->start;
    const char *text = "(i64)0";
    if (first < 0) first = 0;
    for (int32_t i = count - 1; i >= 0; --i)
        text = kernel_format(w, "i == %d ? (i64)%s : %s", i, kernel_number(w, in->dim[first + i]), text);
    return text;
}

static const char *constant_element(KernelWriter *w, const Node *node) {
    const Tensor *value = ((const ConstantOfShapeAttrs *)node->parsed)->value;
    unsigned long long bits = 0;
    if (value != NULL) memcpy(&bits, value->data, (size_t)dtype_bits(value->dtype) / 8);
    return kernel_format(w, "0x%llxull", bits);
}

/* Integers wrap. */
static const char *range_element(KernelWriter *w, const Node *node) {
    const Problem *problem = kernel_emission(w)->problem;
    const char *type = dtype_is_float(problem_output(problem, 0)->dtype) ? "double" : "u64";
    return kernel_format(w, "load_as<%s>(%s, 0) + (%s)i * load_as<%s>(%s, 0)", type,
                         kernel_pointer(w, node->inputs[0]), type, type, kernel_pointer(w, node->inputs[2]));
}

static const char *eye_element(KernelWriter *w, const Node *node) {
    const char *columns = kernel_dim(w, node->outputs[0], 1);
    int64_t k = ((const EyeLikeAttrs *)node->parsed)->k;
    if (k < -INT64_MAX) k = -INT64_MAX; /* what a literal can say; outside every matrix */
    return kernel_format(w, "(i64)(residue(i, %s) - quotient(i, %s)) == %lldll", columns, columns,
                         (long long)k);
}

static const char *one_hot_element(KernelWriter *w, const Node *node) {
    Graph *graph = kernel_emission(w)->graph;
    const Shape *out = &graph->values[node->outputs[0]].shape;
    int32_t axis = axis_of(((const OneHotAttrs *)node->parsed)->axis, out->rank);
    return kernel_format(w, "raw(%s)[is_hot(%s, i, %s, %s) ? 1 : 0]", kernel_pointer(w, node->inputs[2]),
                         kernel_pointer(w, node->inputs[0]), kernel_number(w, out->dim[axis]),
                         kernel_number(w, span_of(graph->dims, out, axis + 1, out->rank)));
}

static const char *window_element(KernelWriter *w, const Node *node) {
    static const char *const hann = "0.5, 0.5, 0.0", *const hamming = "25.0 / 46, 21.0 / 46, 0.0",
                             *const blackman = "0.42, 0.5, 0.08";
    Graph *graph = kernel_emission(w)->graph;
    Dim size = graph->values[node->outputs[0]].shape.dim[0];
    Dim period = ((const SignalWindowAttrs *)node->parsed)->periodic ? size : dim_sub(graph->dims, size, 1);
    const char *numbers = node->op == OP_HannWindow      ? hann
                          : node->op == OP_HammingWindow ? hamming
                                                         : blackman;
    return kernel_format(w, "cosine_window(i, %s, %s)", kernel_number(w, period), numbers);
}

static const char *mel_element(KernelWriter *w, const Node *node) {
    const char *bands = kernel_dim(w, node->outputs[0], 1), *numbers = "";
    for (int32_t i = 1; i < 5; ++i)
        numbers = kernel_format(w, "%sload_as<double>(%s, 0), ", numbers, kernel_pointer(w, node->inputs[i]));
    return kernel_format(w, "mel_weight(%s%s, quotient(i, %s), residue(i, %s))", numbers, bands, bands,
                         bands);
}

static const char *element_text(KernelWriter *w, const Node *node) {
    switch (node->op) {
    case OP_Shape:
        return shape_element(w, node);
    case OP_Size:
        return kernel_format(w, "(i64)%s", kernel_count(w, node->inputs[0]));
    case OP_ConstantOfShape:
        return constant_element(w, node);
    case OP_Range:
        return range_element(w, node);
    case OP_EyeLike:
        return eye_element(w, node);
    case OP_OneHot:
        return one_hot_element(w, node);
    case OP_MelWeightMatrix:
        return mel_element(w, node);
    default:
        return window_element(w, node);
    }
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    bool bits = node->op == OP_ConstantOfShape || node->op == OP_OneHot;
    Dim count = shape_count(emission->graph->dims, &problem_output(emission->problem, 0)->shape);
    KernelWriter *w = kernel_begin(emission, "generate");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "generate.cuh");
    const char *result = kernel_result(w, node->outputs[0]), *element = element_text(w, node);
    kernel_line(w, "for (Index i = thread_index(); i < %s; i += thread_count())", kernel_number(w, count));
    if (bits)
        kernel_line(w, "    raw(%s)[i] = (Raw<%s>)(%s);", result,
                    cuda_type(problem_output(emission->problem, 0)->dtype), element);
    else
        kernel_line(w, "    store(%s, i, %s);", result, element);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_generate = {
    .name = "generate", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
