#include "kernels/norm_text.h"

#include "kernels/window_text.h"
#include "ops/matmul.h"
#include "ops/norm.h"

void norm_write_inverse(KernelWriter *w, const Node *node, ByteWriter *out) {
    write_format(out, "    template <class V> SMELT_DEVICE V inverse(V variance) const { return ");
    if (node->op == OP_MeanVarianceNormalization)
        write_format(out, "1 / (math::sqrt(variance) + (V)1e-9); }\n");
    else
        write_format(
            out, "1 / math::sqrt(variance + (V)%s); }\n",
            kernel_text(w, cuda_real_literal(kernel_emission(w)->arena,
                                             (double)((const NormAttrs *)node->parsed)->epsilon, false)));
}

void norm_write_statistics(KernelWriter *w, ByteWriter *out) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    write_format(out, "    SMELT_DEVICE void statistics(Index row, double mean, double inverse) const {\n");
    if (problem_output(problem, 1) != NULL)
        write_format(out, "        store(%s, row, mean);\n", kernel_result(w, node->outputs[1]));
    if (problem_output(problem, 2) != NULL)
        write_format(out, "        store(%s, row, inverse);\n", kernel_result(w, node->outputs[2]));
    write_format(out, "    }\n");
}

static bool holds(const Problem *problem, NodeId node) {
    for (int32_t i = 0; i < problem->node_count; ++i)
        if (problem->nodes[i] == node) return true;
    return false;
}

const Node *problem_front_norm(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    if (anchor == NULL || (anchor->op != OP_MatMul && anchor->op != OP_Gemm)) return NULL;
    NodeId producer = anchor->inputs[0] == NONE ? NONE : problem_value(problem, anchor->inputs[0])->producer;
    if (producer == NONE || !holds(problem, producer)) return NULL;
    const Node *node = &problem->graph->nodes[producer];
    return node->op == OP_LayerNormalization || node->op == OP_RMSNormalization ? node : NULL;
}

/* One element for each of the depth, or omitted. */
static bool is_parameter(const Problem *problem, const Node *node, int32_t i, Dim depth) {
    if (i >= node->input_count || node->inputs[i] == NONE) return true;
    const Value *value = problem_value(problem, node->inputs[i]);
    int32_t rank = value->shape.rank;
    for (int32_t d = 0; d + 1 < rank; ++d)
        if (value->shape.dim[d] != 1) return false;
    NodeId producer = value->producer;
    return rank > 0 && value->shape.dim[rank - 1] == depth && value_is_plain(value) &&
           cuda_type_refusal(value->dtype) == NULL && (producer == NONE || !holds(problem, producer));
}

const char *problem_front_norm_refuses(const Problem *problem) {
    const Node *node = problem_front_norm(problem), *anchor = problem_anchor(problem);
    if (node == NULL) return NULL;
    const Value *x = problem_value(problem, node->inputs[0]);
    int64_t axis = ((const NormAttrs *)node->parsed)->axis;
    if (x->shape.rank < 2 || (axis != -1 && axis != x->shape.rank - 1))
        return "a normalisation of more than rows in front";
    if (anchor->op == OP_Gemm && ((const GemmAttrs *)anchor->parsed)->trans_a != 0)
        return "a normalisation of columns in front";
    if (!dtype_is_float(x->dtype) || cuda_type_refusal(x->dtype) != NULL)
        return "a normalisation of no floats in front";
    Dim depth = x->shape.dim[x->shape.rank - 1];
    for (int32_t i = 1; i < 3; ++i)
        if (!is_parameter(problem, node, i, depth)) return "a normalisation with other parameters in front";
    if (x->producer != NONE && holds(problem, x->producer)) return "nodes in front of a normalisation";
    for (int32_t i = 1; i < anchor->input_count; ++i)
        if (anchor->inputs[i] == node->outputs[0]) return "a normalisation that is read twice";
    for (int32_t i = 0; i < problem->output_count; ++i)
        for (int32_t o = 0; o < node->output_count; ++o)
            if (problem->outputs[i] == node->outputs[o]) return "a normalisation that leaves";
    return NULL;
}

/* "Finish{p1, p2}" */
static const char *declare_finish(KernelWriter *w, const Node *node) {
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    norm_write_inverse(w, node, &text);
    write_format(
        &text,
        "    template <class A> SMELT_DEVICE A value(Index k, A x) const { return x * load_as<A>(%s, k)",
        kernel_pointer(w, node->inputs[1]));
    if (node->input_count > 2 && node->inputs[2] != NONE)
        write_format(&text, " + load_as<A>(%s, k)", kernel_pointer(w, node->inputs[2]));
    write_format(&text, "; }\n");
    return kernel_struct_end(w, "Finish", &text);
}

void norm_write_lines(KernelWriter *w, const char *lines, const char *type, int32_t count,
                      const char *first) {
    const Node *node = problem_front_norm(kernel_emission(w)->problem);
    kernel_line(w, "const auto finish = %s;", declare_finish(w, node));
    kernel_line(w, "__shared__ LineMoments<%s, %d> moments;", type, count);
    kernel_line(w, "const auto normal = normalized_lines<%s>(%s, %s, finish, moments);",
                node->op == OP_LayerNormalization ? "true" : "false", lines, first);
}
