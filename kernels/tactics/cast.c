/* Cast and CastLike, a few consecutive elements for each thread. */
#include "ops/cast.h"

#include "kernels/access.h"
#include "kernels/emit_writer.h"
#include "kernels/packs.h"

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_Cast && node->op != OP_CastLike)) return "not Cast or CastLike";
    if (problem->node_count != 1) return "nodes behind it";
    const char *why = cuda_type_refusal(problem_input(problem, 0)->dtype);
    return why != NULL ? why : cuda_type_refusal(problem_output(problem, 0)->dtype);
}

/* As many elements as one store of the result has. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    const Value *from = problem_input(problem, 0), *to = problem_output(problem, 0);
    bool aligned = access_value_is_aligned(from) && access_value_is_aligned(to);
    (void)device;
    out[0] = (Config){.count = 1, .number = {aligned ? VECTOR_BYTES * 8 / dtype_bits(to->dtype) : 1}};
    return 1;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    static const char *const rounds[] = {
        [E8M0_NEAREST] = "ROUND_NEAREST", [E8M0_UP] = "ROUND_UP", [E8M0_DOWN] = "ROUND_DOWN"};
    const Node *node = problem_anchor(emission->problem);
    const CastAttrs *attrs = node->parsed;
    int32_t lanes = config->number[0];
    Dim count = shape_count(emission->graph->dims, &problem_output(emission->problem, 0)->shape);
    int32_t threads = packs_threads(emission->problem, device, count, lanes);
    KernelWriter *w = kernel_begin(emission, "cast");
    TRY_ALLOC(emission->diag, w);
    ByteWriter text = byte_writer(emission->arena);
    kernel_include(w, "cast.cuh");
    kernel_struct_begin(w);
    write_format(&text, "    template <int N> SMELT_DEVICE void run(Index i) const {\n");
    write_format(&text, "        const auto v = load_pack<N>(%s, i);\n", kernel_pointer(w, node->inputs[0]));
    write_format(&text, "        Pack<%s, N> w;\n#pragma unroll\n",
                 cuda_type(problem_output(emission->problem, 0)->dtype));
    write_format(&text, "        for (int k = 0; k < N; ++k) put_cast<%s, %s>(w.at[k], fetch(v.at[k]));\n",
                 attrs->saturate ? "true" : "false", rounds[attrs->round]);
    write_format(&text, "        store_pack(%s, i, w);\n    }\n", kernel_result(w, node->outputs[0]));
    const char *body = kernel_struct_end(w, "Cast", &text);
    kernel_line(w, "for_each_pack<%d>(%s, %s);", lanes, kernel_number(w, count), body);
    return kernel_finish(w, kernel_grid_for(emission, count, threads * lanes), 1, 1, threads, 0);
}

const Tactic tactic_cast = {
    .name = "cast", .version = 2, .refuses = refuses, .configs = configs, .emit = emit};
