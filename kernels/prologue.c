#include "kernels/chain.h"
#include "kernels/emit_writer.h"
#include "kernels/norm_text.h"
#include "kernels/packs.h"
#include "kernels/planes_text.h"

const char *problem_prologue_refuses(const Problem *problem) {
    if (problem_front_norm(problem) != NULL) return problem_front_norm_refuses(problem);
    if (problem_front_planes(problem) != NULL) return problem_front_planes_refuses(problem);
    return problem_has_front(problem) ? chain_refuses(problem, CHAIN_IN_FRONT) : NULL;
}

bool problem_prologue_leaves(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    for (int32_t i = 0; problem_has_front(problem) && i < problem->output_count; ++i)
        if (problem->outputs[i] == anchor->inputs[0]) return true;
    return false;
}

static void write_element(const Value *value, ByteWriter *out) {
    write_format(out, "    typedef %s Element;\n", cuda_type(value->dtype));
}

/* An operand in memory whose elements do not lie one behind the other. */
static const char *declare_operand(KernelWriter *w, ValueId id) {
    Emission *emission = kernel_emission(w);
    const Value *value = &emission->graph->values[id];
    const Access access = access_value(emission->graph, id, &value->shape, value->layout);
    if (access_is_linear(&access) || access_is_single(&access)) return kernel_pointer(w, id);
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    write_element(value, &text);
    write_format(&text,
                 "    template <class A> SMELT_DEVICE A at(Index i) const { return load_as<A>(%s, %s); }\n"
                 "    template <class A> SMELT_DEVICE A first(Index i) const { return at<A>(i); }\n",
                 kernel_pointer(w, id), access_index(w, &access, "i"));
    return kernel_struct_end(w, "Operand", &text);
}

/* "const float a0 = ...;" */
static void write_operands(const Chain *chain, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        const char *type = cuda_register_type(chain->graph->values[operand->value].dtype);
        if (operand->source == OPERAND_LITERAL)
            write_format(out, "        const %s a%d = %s;\n", type, k, operand->text);
        else
            write_format(out, "        const %s a%d = fetch(%s[%s]);\n", type, k, operand->text,
                         access_index(chain->w, &operand->access, "i"));
    }
}

/* The value is computed by `name`; where it leaves, that stores it, for at() to read. */
static void write_functions(const Chain *chain, ValueId id, bool leaves, ByteWriter *out) {
    write_format(out,
                 "    template <class A> SMELT_DEVICE A %s(Index i) const {\n"
                 "        using namespace math;\n",
                 leaves ? "first" : "at");
    write_operands(chain, out);
    chain_write_steps(chain, "i", "        ", out);
    const char *held = chain_register(chain, id);
    if (!leaves) {
        write_format(out, "        return convert<A>(%s);\n    }\n", held);
        write_format(out,
                     "    template <class A> SMELT_DEVICE A first(Index i) const { return at<A>(i); }\n");
        return;
    }
    const char *result = kernel_result(chain->w, id), *index = chain_result_index(chain, id, "i");
    write_format(out, "        put(%s[%s], %s);\n        return at<A>(i);\n    }\n", result, index, held);
    write_format(out,
                 "    template <class A> SMELT_DEVICE A at(Index i) const { return load_as<A>(%s, %s); }\n",
                 result, index);
}

const char *kernel_prologue(KernelWriter *w) {
    Emission *emission = kernel_emission(w);
    const Problem *problem = emission->problem;
    ValueId id = problem_anchor(problem)->inputs[0];
    Chain chain;
    if (!problem_has_front(problem)) return declare_operand(w, id);
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    if (chain_prepare(w, problem, CHAIN_IN_FRONT, &chain) != STATUS_OK) return kernel_text(w, NULL);
    write_element(&emission->graph->values[id], &text);
    write_functions(&chain, id, problem_prologue_leaves(problem), &text);
    return kernel_struct_end(w, "Prologue", &text);
}

const char *kernel_pack_prologue(KernelWriter *w, int32_t lanes) {
    Emission *emission = kernel_emission(w);
    ValueId id = problem_anchor(emission->problem)->inputs[0];
    const char *count = kernel_text(w, arena_printf(emission->arena, "%d", lanes));
    Chain chain;
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    if (chain_prepare(w, emission->problem, CHAIN_IN_FRONT, &chain) != STATUS_OK) return kernel_text(w, NULL);
    packs_operands(&chain, lanes, count, &text);
    write_format(&text,
                 "    SMELT_DEVICE void value(Index i, const Operands &o, float (&x)[%s]) const {\n"
                 "        using namespace math;\n",
                 count);
    packs_compute(&chain, lanes, count, "o.", NONE, id, &text);
    write_format(&text, "    }\n");
    return kernel_struct_end(w, "Prologue", &text);
}
