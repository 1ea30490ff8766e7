#include "kernels/chain.h"
#include "kernels/emit_writer.h"

/* Where the nodes behind the anchor begin in the problem's list. */
static int32_t first_behind_anchor(const Problem *problem) {
    int32_t first = 0;
    while (first < problem->node_count && problem->nodes[first] != problem->anchor) ++first;
    return first + 1;
}

const char *problem_epilogue_refuses(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    int32_t first = first_behind_anchor(problem);
    if (first == problem->node_count) return NULL;
    if (anchor->outputs[0] == NONE) return "an anchor without result";
    return chain_refuses(problem, first, &problem->graph->values[anchor->outputs[0]].shape);
}

/* "const float a0 = ...;" for every operand; element j. */
static void write_operands(const Chain *chain, ByteWriter *out) {
    for (int32_t i = 0; i < chain->operand_count; ++i) {
        const ChainOperand *operand = &chain->operands[i];
        const char *type = cuda_register_type(chain->graph->values[operand->value].dtype);
        write_format(out, "        const %s a%d = ", type, i);
        if (operand->source == OPERAND_SEED)
            write_format(out, "convert<%s>(x);\n", type);
        else if (operand->source == OPERAND_LITERAL)
            write_format(out, "%s;\n", operand->text);
        else
            write_format(out, "fetch(%s[%s]);\n", operand->text,
                         access_index(chain->w, &operand->access, "i"));
    }
}

static void write_results(const Chain *chain, ValueId seed, ByteWriter *out) {
    const Problem *problem = chain->problem;
    for (int32_t i = 0; i < problem->output_count; ++i) {
        ValueId value = problem->outputs[i];
        const char *held = value == seed ? "x" : chain_register(chain, value);
        if (held == NULL) continue; /* another output of the anchor */
        const Access access = chain_result_access(chain, value);
        write_format(out, "        put(%s[%s], %s);\n", kernel_result(chain->w, value),
                     access_index(chain->w, &access, "i"), held);
    }
}

const char *kernel_epilogue(KernelWriter *w) {
    Emission *emission = kernel_emission(w);
    const Problem *problem = emission->problem;
    const Node *anchor = problem_anchor(problem);
    const Shape none = {0};
    ValueId seed = anchor->outputs[0];
    const Shape *shape = seed != NONE ? &emission->graph->values[seed].shape : &none;
    Chain chain;
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    if (chain_prepare(w, problem, first_behind_anchor(problem), shape, seed, &chain) != STATUS_OK)
        return kernel_text(w, NULL);
    write_format(&text, "    template <class A> SMELT_DEVICE void operator()(Index i, A x) const {\n"
                        "        using namespace math;\n");
    write_operands(&chain, &text);
    chain_write_nodes(&chain, "        ", &text);
    write_results(&chain, seed, &text);
    write_format(&text, "    }\n");
    return kernel_struct_end(w, "Epilogue", &text);
}
