#include "kernels/packs.h"

#include "kernels/emit_writer.h"

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

void packs_declare(const Chain *chain, int32_t lanes, const char *count, const char *indent,
                   ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k)
        if (packs_fetch(&chain->operands[k], lanes) == FETCH_PACK)
            write_format(out, "%sPack<%s, %s> v%d;\n", indent, stored_type(chain, chain->operands[k].value),
                         count, k);
}

void packs_load(const Chain *chain, int32_t lanes, const char *count, const char *into, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        if (packs_fetch(operand, lanes) == FETCH_PACK)
            write_format(out, "        %sv%d = load_pack<%s>(%s, %s);\n", into, k, count, operand->text,
                         access_index(chain->w, &operand->access, "i"));
    }
}

void packs_prefetch(const Chain *chain, int32_t lanes, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        if (packs_fetch(operand, lanes) == FETCH_PACK)
            write_format(out, "        prefetch_l2(%s + (%s));\n", operand->text,
                         access_index(chain->w, &operand->access, "i"));
    }
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

static void write_lane_results(const Chain *chain, int32_t lanes, ValueId seed, ByteWriter *out) {
    const Problem *problem = chain->problem;
    for (int32_t o = 0; o < problem->output_count; ++o) {
        ValueId value = problem->outputs[o];
        const char *held = value == seed ? "x[k]" : chain_register(chain, value);
        if (held == NULL) continue; /* another output of the anchor */
        if (chain_result_is_packed(chain, value, lanes)) {
            write_format(out, "            put(w%d.at[k], %s);\n", o, held);
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
            write_format(out, "        Pack<%s, %s> w%d;\n", stored_type(chain, value), count, o);
            continue;
        }
        const char *condition = chain_result_condition(chain, value, "i");
        if (condition != NULL) write_format(out, "        if (%s)\n    ", condition);
        write_format(out, "        store_pack(%s, %s, w%d);\n", kernel_result(chain->w, value),
                     chain_result_index(chain, value, "i"), o);
    }
}

void packs_compute(const Chain *chain, int32_t lanes, const char *count, const char *from, ValueId seed,
                   ByteWriter *out) {
    write_common(chain, lanes, out);
    write_result_packs(chain, lanes, count, seed, false, out);
    write_format(out, "#pragma unroll\n        for (int k = 0; k < %s; ++k) {\n", count);
    write_lane_operands(chain, lanes, from, out);
    chain_write_steps(chain, "(i + k)", "            ", out);
    write_lane_results(chain, lanes, seed, out);
    write_format(out, "        }\n");
    write_result_packs(chain, lanes, count, seed, true, out);
}
