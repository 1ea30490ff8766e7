#include "kernels/emit_writer.h"
#include "kernels/packs.h"
#include "kernels/planes_text.h"

const char *problem_epilogue_refuses(const Problem *problem) {
    const char *why = problem_behind_planes_refuses(problem);
    if (why == NULL && problem->normalization == NONE && problem_last(problem) != problem_anchor(problem) &&
        problem->middle != problem->anchor)
        why = chain_refuses(problem, CHAIN_BETWEEN);
    if (why == NULL && problem->scale != NONE) why = chain_refuses(problem, CHAIN_SCALES);
    if (why == NULL && problem->project != NONE) why = chain_refuses(problem, CHAIN_WITHIN);
    if (why != NULL || problem->node_count == 1) return why;
    return chain_refuses(problem, CHAIN_BEHIND);
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
        const char *condition = chain_result_condition(chain, value, "i");
        if (condition != NULL) write_format(out, "        if (%s)\n    ", condition);
        write_format(out, "        put(%s[%s], %s);\n", kernel_result(chain->w, value),
                     chain_result_index(chain, value, "i"), held);
    }
}

const char *kernel_epilogue(KernelWriter *w) {
    Emission *emission = kernel_emission(w);
    ValueId seed = problem_last(emission->problem)->outputs[0];
    Chain chain;
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    if (chain_prepare(w, emission->problem, CHAIN_BEHIND, &chain) != STATUS_OK) return kernel_text(w, NULL);
    write_format(&text, "    template <class A> SMELT_DEVICE void operator()(Index i, A x) const {\n"
                        "        using namespace math;\n");
    write_operands(&chain, &text);
    chain_write_steps(&chain, "i", "        ", &text);
    write_results(&chain, seed, &text);
    write_format(&text, "    }\n");
    return kernel_struct_end(w, "Epilogue", &text);
}

static const char *declare_between(KernelWriter *w, ChainPlace place, const char *name) {
    Emission *emission = kernel_emission(w);
    ValueId read = chain_end(emission->problem, place);
    const char *type = cuda_register_type(emission->graph->values[read].dtype), *held;
    Chain chain;
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    if (chain_prepare(w, emission->problem, place, &chain) != STATUS_OK) return kernel_text(w, NULL);
    held = chain_register(&chain, read);
    write_format(&text,
                 "    typedef %s Element;\n"
                 "    template <class A> SMELT_DEVICE Element operator()(Index i, A x) const {\n"
                 "        using namespace math;\n",
                 type);
    write_operands(&chain, &text);
    chain_write_steps(&chain, "i", "        ", &text);
    write_format(&text, "        return %s;\n    }\n", held);
    return kernel_struct_end(w, name, &text);
}

const char *kernel_between(KernelWriter *w) {
    return declare_between(w, CHAIN_BETWEEN, "Between");
}

const char *kernel_normalized(KernelWriter *w) {
    return declare_between(w, CHAIN_NORMALIZED, "Normalized");
}

const char *kernel_scales(KernelWriter *w) {
    return declare_between(w, CHAIN_SCALES, "Scales");
}

const char *kernel_within(KernelWriter *w) {
    return declare_between(w, CHAIN_WITHIN, "Within");
}

const char *kernel_pack_epilogue(KernelWriter *w, int32_t lanes) {
    Emission *emission = kernel_emission(w);
    ValueId seed = problem_last(emission->problem)->outputs[0];
    const char *count = kernel_text(w, arena_printf(emission->arena, "%d", lanes));
    Chain chain;
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    if (chain_prepare(w, emission->problem, CHAIN_BEHIND, &chain) != STATUS_OK) return kernel_text(w, NULL);
    write_format(&text, "    static const int lanes = %s;\n", count);
    packs_operands(&chain, lanes, count, &text);
    write_format(&text, "    SMELT_DEVICE void prefetch(Index i) const {\n");
    packs_prefetch(&chain, lanes, &text);
    write_format(
        &text,
        "    }\n    SMELT_DEVICE void write(Index i, const float (&x)[%s], const Operands &o) const {\n"
        "        using namespace math;\n",
        count);
    packs_compute(&chain, lanes, count, "o.", seed, NONE, &text);
    write_format(&text, "    }\n");
    return kernel_struct_end(w, "Epilogue", &text);
}

bool problem_is_aligned(const Problem *problem) {
    for (int32_t i = 0; i < problem->input_count + problem->output_count; ++i) {
        ValueId id =
            i < problem->input_count ? problem->inputs[i] : problem->outputs[i - problem->input_count];
        if (!access_value_is_aligned(problem_value(problem, id))) return false;
    }
    return true;
}

int32_t problem_epilogue_lanes(const Problem *problem) {
    const Value *seed = problem->middle == NONE ? problem_output(problem, 0)
                                                : problem_value(problem, problem_last(problem)->outputs[0]);
    int32_t order[SMELT_MAX_RANK];
    layout_order(seed->layout, seed->shape.rank, order);
    if (seed->shape.rank < 1) return 1;
    Dim last = seed->shape.dim[order[seed->shape.rank - 1]];
    if (!dim_is_exact(last) || last % EPILOGUE_LANES != 0) return 1;
    return problem_is_aligned(problem) ? EPILOGUE_LANES : 1;
}
