/* Chains of pointwise nodes: one thread computes a few consecutive elements, read and written 16 bytes at a
 * time where operands lie that way. */
#include "kernels/emit_writer.h"
#include "kernels/packs.h"
#include "kernels/tactic.h"

static const Shape *result_shape(const Problem *problem) {
    return &problem_value(problem, problem->outputs[0])->shape;
}

static const char *refuses(const Problem *problem, const Device *device) {
    (void)device;
    if (problem->anchor != NONE) return "not a chain of pointwise nodes";
    return chain_refuses(problem, CHAIN_RESULTS);
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

/* -- text -- */

static void write_body(Chain *chain, int32_t lanes, ByteWriter *out) {
    write_format(out, "    template <int N> SMELT_DEVICE void run(Index i) const {\n"
                      "        using namespace math;\n");
    packs_declare(chain, lanes, "N", "", out);
    packs_load(chain, lanes, "N", "", out);
    packs_compute(chain, lanes, "N", "", NONE, NONE, out);
    write_format(out, "    }\n");
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    int32_t lanes = config->number[0];
    Dim count = shape_count(emission->graph->dims, result_shape(problem));
    int32_t threads = packs_threads(problem, device, count, lanes);
    KernelWriter *w = kernel_begin(emission, "pointwise");
    Chain chain;
    TRY_ALLOC(emission->diag, w);
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    TRY(chain_prepare(w, problem, CHAIN_RESULTS, &chain));
    write_body(&chain, lanes, &text);
    const char *body = kernel_struct_end(w, "Chain", &text);
    kernel_line(w, "for_each_pack<%d>(%s, %s);", lanes, kernel_number(w, count), body);
    return kernel_finish(w, kernel_grid_for(emission, count, threads * lanes), 1, 1, threads, 0);
}

const Tactic tactic_pointwise = {
    .name = "pointwise", .version = 3, .strided = true, .refuses = refuses, .configs = configs, .emit = emit};
