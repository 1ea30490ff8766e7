#include "kernels/packs.h"

#include "ir/cost.h"
#include "kernels/emit_writer.h"

enum { FEW_THREADS = 256, MANY_THREADS = 512, FEW_BYTES = 32 /* that a thread does not move */ };

/* A multiprocessor takes some time for each block (0.16 us on an H200), in which blocks that move little do
 * not keep its memory busy. */
int32_t packs_threads(const Problem *problem, const Device *device, Dim count, int32_t lanes) {
    int64_t bits = 0, packs = dim_at_opt(problem->graph, count) / lanes;
    for (int32_t i = 0; i < problem->input_count; ++i)
        bits += dtype_bits(problem_value(problem, problem->inputs[i])->dtype);
    for (int32_t i = 0; i < problem->output_count; ++i)
        bits += dtype_bits(problem_value(problem, problem->outputs[i])->dtype);
    bool waves = packs > (int64_t)device->threads_per_sm * device->sm_count;
    return waves && bits * lanes < 8 * FEW_BYTES ? MANY_THREADS : FEW_THREADS;
}

Fetch packs_fetch(const ChainOperand *operand, int32_t lanes) {
    if (operand->source == OPERAND_LITERAL) return FETCH_LITERAL;
    if (operand->source == OPERAND_SEED) return FETCH_SEED;
    if (access_is_packed(&operand->access, lanes)) return FETCH_PACK;
    return access_is_splat(&operand->access, lanes) ? FETCH_SPLAT : FETCH_EACH;
}

static const char *stored_type(const Chain *chain, ValueId value) {
    return cuda_type(chain->graph->values[value].dtype);
}

static const char *held_type(const Chain *chain, ValueId value) {
    return cuda_register_type(chain->graph->values[value].dtype);
}

/* What is the same for all lanes. */
static void write_common(const Chain *chain, int32_t lanes, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        Fetch fetch = packs_fetch(operand, lanes);
        if (fetch == FETCH_LITERAL)
            write_format(out, "        const %s a%d = %s;\n", held_type(chain, operand->value), k,
                         operand->text);
        else if (fetch == FETCH_SPLAT)
            write_format(out, "        const %s a%d = fetch(%s[%s]);\n", held_type(chain, operand->value), k,
                         operand->text, access_index(chain->w, &operand->access, "i"));
    }
}

/* -- reads through indices that all lanes share -- */

static bool term_is_common(const Chain *chain, ChainTerm term, int32_t lanes) {
    if (term.number < 0) return true;
    if (term.is_step) return chain->steps[term.number].common;
    Fetch fetch = packs_fetch(&chain->operands[term.number], lanes);
    return fetch == FETCH_LITERAL || fetch == FETCH_SPLAT;
}

/* Of those in front of it that is known. */
static bool step_is_common(const Chain *chain, const ChainStep *step, int32_t lanes) {
    int32_t terms = step->kind == CHAIN_NODE ? step->node->input_count : 1;
    if (step->kind == CHAIN_READ) return false;
    for (int32_t t = 0; t < terms; ++t)
        if (!term_is_common(chain, step->terms[t], lanes)) return false;
    return true;
}

/* One vector access: the lanes have the same indices, and lie one behind the other. */
static bool read_is_pack(const Chain *chain, const ChainStep *step, int32_t lanes) {
    if (step->kind != CHAIN_READ || !access_is_packed(&step->access, lanes)) return false;
    bool together = dim_is_exact(step->offset) && step->offset % lanes == 0;
    for (int32_t n = 0; n < step->index_count; ++n)
        together = together && dim_is_exact(step->index_stride[n]) && step->index_stride[n] % lanes == 0 &&
                   chain->steps[step->index[n]].common;
    return together;
}

void packs_declare(Chain *chain, int32_t lanes, const char *count, const char *into, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k)
        if (packs_fetch(&chain->operands[k], lanes) == FETCH_PACK)
            write_format(out, "        Pack<%s, %s> v%d;\n", stored_type(chain, chain->operands[k].value),
                         count, k);
    for (int32_t i = 0; i < chain->step_count; ++i) {
        ChainStep *step = &chain->steps[i];
        step->common = step_is_common(chain, step, lanes);
        if (!read_is_pack(chain, step, lanes)) continue;
        step->pack = kernel_text(chain->w, arena_printf(chain->arena, "%su%d", into, i));
        write_format(out, "        Pack<%s, %s> u%d;\n", stored_type(chain, step->value), count, i);
    }
}

/* Reads whose places depend on indices, which are found first. */
static void load_selected(const Chain *chain, int32_t lanes, const char *count, ByteWriter *out) {
    bool any = false;
    for (int32_t i = 0; i < chain->step_count; ++i) any = any || chain->steps[i].pack != NULL;
    if (!any) return;
    write_format(out, "        {\n        using namespace math;\n");
    write_common(chain, lanes, out);
    for (int32_t i = 0; i < chain->step_count; ++i) {
        const ChainStep *step = &chain->steps[i];
        if (step->pack != NULL)
            write_format(out, "        %s = load_pack<%s>(%s, %s);\n", step->pack, count,
                         kernel_pointer(chain->w, step->value), chain_read_index(chain, step, "i"));
        else if (step->common)
            chain_write_step(chain, i, "i", "        ", out);
    }
    write_format(out, "        }\n");
}

/* load: name of the function that does. */
static void load_by(const Chain *chain, int32_t lanes, const char *count, const char *into, const char *load,
                    ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        if (packs_fetch(operand, lanes) == FETCH_PACK)
            write_format(out, "        %sv%d = %s<%s>(%s, %s);\n", into, k, load, count, operand->text,
                         access_index(chain->w, &operand->access, "i"));
    }
    load_selected(chain, lanes, count, out);
}

void packs_load(const Chain *chain, int32_t lanes, const char *count, const char *into, ByteWriter *out) {
    load_by(chain, lanes, count, into, "load_pack", out);
}

void packs_operands(Chain *chain, int32_t lanes, const char *count, ByteWriter *out) {
    write_format(out, "    struct Operands {\n");
    packs_declare(chain, lanes, count, "o.", out);
    write_format(out, "    };\n    template <class Loads = PackLoads> SMELT_DEVICE void read(Index i, "
                      "Operands &o) const {\n");
    load_by(chain, lanes, count, "o.", "Loads::template pack", out);
    write_format(out, "    }\n");
}

void packs_prefetch(const Chain *chain, int32_t lanes, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        if (packs_fetch(operand, lanes) == FETCH_PACK)
            write_format(out, "        prefetch_l2(%s + (%s));\n", operand->text,
                         access_index(chain->w, &operand->access, "i"));
    }
}

static void write_lane_operands(const Chain *chain, int32_t lanes, const char *from, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        const char *type = held_type(chain, operand->value);
        Fetch fetch = packs_fetch(operand, lanes);
        if (fetch == FETCH_PACK)
            write_format(out, "            const %s a%d = fetch(%sv%d.at[k]);\n", type, k, from, k);
        else if (fetch == FETCH_SEED)
            write_format(out, "            const %s a%d = convert<%s>(x[k]);\n", type, k, type);
        else if (fetch == FETCH_EACH)
            write_format(out, "            const %s a%d = fetch(%s[%s]);\n", type, k, operand->text,
                         access_index(chain->w, &operand->access, "(i + k)"));
    }
}

/* Elements of a pack that are made two at a time. */
static bool narrows(const Chain *chain, ValueId value) {
    return dtype_is_half(chain->graph->values[value].dtype);
}

static void write_lane_results(const Chain *chain, int32_t lanes, ValueId seed, ByteWriter *out) {
    const Problem *problem = chain->problem;
    for (int32_t o = 0; o < problem->output_count; ++o) {
        ValueId value = problem->outputs[o];
        const char *held = value == seed ? "x[k]" : chain_register(chain, value);
        if (held == NULL) continue; /* another output of the anchor */
        if (chain_result_is_packed(chain, value, lanes)) {
            write_format(out,
                         narrows(chain, value) ? "            w%d[k] = %s;\n"
                                               : "            put(w%d.at[k], %s);\n",
                         o, held);
            continue;
        }
        const char *condition = chain_result_condition(chain, value, "(i + k)");
        if (condition != NULL) write_format(out, "            if (%s)\n    ", condition);
        write_format(out, "            put(%s[%s], %s);\n", kernel_result(chain->w, value),
                     chain_result_index(chain, value, "(i + k)"), held);
    }
}

/* Results that are stored as packs: their declarations, or their stores. */
static void write_result_packs(const Chain *chain, int32_t lanes, const char *count, ValueId seed, bool store,
                               ByteWriter *out) {
    const Problem *problem = chain->problem;
    for (int32_t o = 0; o < problem->output_count; ++o) {
        ValueId value = problem->outputs[o];
        if (value != seed && chain_register(chain, value) == NULL) continue;
        if (!chain_result_is_packed(chain, value, lanes)) continue;
        if (!store) {
            if (narrows(chain, value))
                write_format(out, "        float w%d[%s];\n", o, count);
            else
                write_format(out, "        Pack<%s, %s> w%d;\n", stored_type(chain, value), count, o);
            continue;
        }
        const char *condition = chain_result_condition(chain, value, "i");
        if (condition != NULL) write_format(out, "        if (%s)\n    ", condition);
        write_format(out, "        store_pack(%s, %s, ", kernel_result(chain->w, value),
                     chain_result_index(chain, value, "i"));
        if (narrows(chain, value))
            write_format(out, "narrowed<%s>(w%d));\n", stored_type(chain, value), o);
        else
            write_format(out, "w%d);\n", o);
    }
}

void packs_compute(const Chain *chain, int32_t lanes, const char *count, const char *from, ValueId seed,
                   ValueId given, ByteWriter *out) {
    write_common(chain, lanes, out);
    write_result_packs(chain, lanes, count, seed, false, out);
    write_format(out, "#pragma unroll\n        for (int k = 0; k < %s; ++k) {\n", count);
    write_lane_operands(chain, lanes, from, out);
    chain_write_steps(chain, "(i + k)", "            ", out);
    write_lane_results(chain, lanes, seed, out);
    if (given != NONE)
        write_format(out, "            x[k] = convert<float>(%s);\n", chain_register(chain, given));
    write_format(out, "        }\n");
    write_result_packs(chain, lanes, count, seed, true, out);
}
