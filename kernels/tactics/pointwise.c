/* Chains of pointwise nodes: one thread computes a few consecutive elements, read and written 16 bytes at a
 * time where operands lie that way. */
#include "kernels/chain.h"
#include "kernels/emit_writer.h"
#include "kernels/tactic.h"

enum { THREADS = 256 };

/* How the lanes of a vector get an operand. */
typedef enum Fetch {
    FETCH_LITERAL,
    FETCH_PACK,  /* one vector access */
    FETCH_SPLAT, /* one element for all lanes */
    FETCH_EACH   /* an index for each lane */
} Fetch;

static const Shape *result_shape(const Problem *problem) {
    const Node *node = &problem->graph->nodes[problem->nodes[0]];
    return &problem_value(problem, node->outputs[0])->shape;
}

static const char *refuses(const Problem *problem, const Device *device) {
    (void)device;
    if (problem->anchor != NONE) return "not a chain of pointwise nodes";
    if (problem->graph->nodes[problem->nodes[0]].outputs[0] == NONE) return "a node without result";
    return chain_refuses(problem, 0, result_shape(problem));
}

/* -- vectors -- */

/* Elements of the widest type that fit a vector; 1 where something that would be accessed as one is not
 * aligned. */
static int32_t widest_vector(const Problem *problem) {
    int32_t bytes = 1;
    for (int32_t i = 0; i < problem->input_count + problem->output_count; ++i) {
        const Value *value =
            problem_value(problem, i < problem->input_count ? problem->inputs[i]
                                                            : problem->outputs[i - problem->input_count]);
        if (!access_value_is_aligned(value)) return 1;
        if (dtype_bits(value->dtype) / 8 > bytes) bytes = dtype_bits(value->dtype) / 8;
    }
    return VECTOR_BYTES / bytes;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    int32_t count = 0;
    (void)device;
    for (int32_t lanes = widest_vector(problem); lanes > 0; lanes /= 2)
        out[count++] = (Config){.count = 1, .number = {lanes}};
    return count;
}

static Fetch choose_fetch(const ChainOperand *operand, int32_t lanes) {
    if (operand->source == OPERAND_LITERAL) return FETCH_LITERAL;
    if (access_is_packed(&operand->access, lanes)) return FETCH_PACK;
    return access_is_splat(&operand->access, lanes) ? FETCH_SPLAT : FETCH_EACH;
}

static bool stores_pack(const Chain *chain, ValueId result, int32_t lanes) {
    const Access access = chain_result_access(chain, result);
    return access_is_packed(&access, lanes);
}

/* -- text -- */

static const char *stored_type(const Chain *chain, ValueId value) {
    return cuda_type(chain->graph->values[value].dtype);
}

static const char *held_type(const Chain *chain, ValueId value) {
    return cuda_register_type(chain->graph->values[value].dtype);
}

/* What is read once for all lanes: "const Pack<float, N> v0 = load_pack<N>(p0, i);" */
static void write_vector_loads(const Chain *chain, int32_t lanes, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        Fetch fetch = choose_fetch(operand, lanes);
        if (fetch == FETCH_LITERAL)
            write_format(out, "        const %s a%d = %s;\n", held_type(chain, operand->value), k,
                         operand->text);
        else if (fetch == FETCH_SPLAT)
            write_format(out, "        const %s a%d = fetch(%s[%s]);\n", held_type(chain, operand->value), k,
                         operand->text, access_index(chain->w, &operand->access, "i"));
        else if (fetch == FETCH_PACK)
            write_format(out, "        const Pack<%s, N> v%d = load_pack<N>(%s, %s);\n",
                         stored_type(chain, operand->value), k, operand->text,
                         access_index(chain->w, &operand->access, "i"));
    }
}

static void write_lane_loads(const Chain *chain, int32_t lanes, ByteWriter *out) {
    for (int32_t k = 0; k < chain->operand_count; ++k) {
        const ChainOperand *operand = &chain->operands[k];
        Fetch fetch = choose_fetch(operand, lanes);
        if (fetch == FETCH_PACK)
            write_format(out, "            const %s a%d = fetch(v%d.at[k]);\n",
                         held_type(chain, operand->value), k, k);
        else if (fetch == FETCH_EACH)
            write_format(out, "            const %s a%d = fetch(%s[%s]);\n", held_type(chain, operand->value),
                         k, operand->text, access_index(chain->w, &operand->access, "(i + k)"));
    }
}

static void write_lane_stores(const Chain *chain, int32_t lanes, ByteWriter *out) {
    const Problem *problem = chain->problem;
    for (int32_t o = 0; o < problem->output_count; ++o) {
        const char *held = chain_register(chain, problem->outputs[o]);
        const Access access = chain_result_access(chain, problem->outputs[o]);
        if (access_is_packed(&access, lanes))
            write_format(out, "            put(w%d.at[k], %s);\n", o, held);
        else
            write_format(out, "            put(%s[%s], %s);\n", kernel_result(chain->w, problem->outputs[o]),
                         access_index(chain->w, &access, "(i + k)"), held);
    }
}

static void write_body(const Chain *chain, int32_t lanes, ByteWriter *out) {
    const Problem *problem = chain->problem;
    write_format(out, "    template <int N> SMELT_DEVICE void run(Index i) const {\n"
                      "        using namespace math;\n");
    write_vector_loads(chain, lanes, out);
    for (int32_t o = 0; o < problem->output_count; ++o)
        if (stores_pack(chain, problem->outputs[o], lanes))
            write_format(out, "        Pack<%s, N> w%d;\n", stored_type(chain, problem->outputs[o]), o);
    write_format(out, "#pragma unroll\n        for (int k = 0; k < N; ++k) {\n");
    write_lane_loads(chain, lanes, out);
    chain_write_nodes(chain, "            ", out);
    write_lane_stores(chain, lanes, out);
    write_format(out, "        }\n");
    for (int32_t o = 0; o < problem->output_count; ++o) {
        const Access access = chain_result_access(chain, problem->outputs[o]);
        if (access_is_packed(&access, lanes))
            write_format(out, "        store_pack(%s, %s, w%d);\n",
                         kernel_result(chain->w, problem->outputs[o]), access_index(chain->w, &access, "i"),
                         o);
    }
    write_format(out, "    }\n");
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    int32_t lanes = config->number[0];
    Dim count = shape_count(emission->graph->dims, result_shape(problem));
    KernelWriter *w = kernel_begin(emission, "pointwise");
    Chain chain;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    TRY(chain_prepare(w, problem, 0, result_shape(problem), NONE, &chain));
    write_body(&chain, lanes, &text);
    const char *body = kernel_struct_end(w, "Chain", &text);
    kernel_line(w, "for_each_pack<%d>(%s, %s);", lanes, kernel_number(w, count), body);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS * lanes), 1, 1, THREADS, 0);
}

const Tactic tactic_pointwise = {
    .name = "pointwise", .version = 2, .strided = true, .refuses = refuses, .configs = configs, .emit = emit};
