/* Trilu and ReverseSequence: movement that depends on where an element stands. */
#include "kernels/access.h"
#include "kernels/emit_writer.h"
#include "kernels/tactic.h"
#include "ops/movement.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_Trilu && node->op != OP_ReverseSequence))
        return "not Trilu or ReverseSequence";
    if (problem->node_count != 1) return "nodes behind it";
    return cuda_type_refusal(problem_input(problem, 0)->dtype);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    (void)problem, (void)device;
    out[0] = (Config){.count = 0};
    return 1;
}

/* Kept where the column lies on the right side of diagonal k, else zero. */
static void write_triangle(KernelWriter *w, const Problem *problem, ByteWriter *out) {
    const Node *node = problem_anchor(problem);
    const Shape *shape = &problem_input(problem, 0)->shape;
    const char *from = kernel_pointer(w, node->inputs[0]), *to = kernel_result(w, node->outputs[0]);
    bool upper = ((const TriluAttrs *)node->parsed)->upper;
    write_format(out, "        const Index column = residue(i, %s), row = residue(quotient(i, %s), %s);\n",
                 kernel_number(w, shape->dim[shape->rank - 1]), kernel_number(w, shape->dim[shape->rank - 1]),
                 kernel_number(w, shape->dim[shape->rank - 2]));
    if (problem_input(problem, 1) != NULL)
        write_format(out, "        const i64 k = load_as<i64>(%s, 0);\n", kernel_pointer(w, node->inputs[1]));
    else
        write_format(out, "        const i64 k = 0;\n");
    write_format(out, "        raw(%s)[i] = (i64)(column - row) %s k ? raw(%s)[i] : 0;\n", to,
                 upper ? ">=" : "<=", from);
}

/* The first `length` steps of each sequence backwards. Lengths outside the extent, which the host refuses,
 * are cut. */
static void write_reversal(KernelWriter *w, const Problem *problem, ByteWriter *out) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    const Node *node = problem_anchor(problem);
    const ReverseSequenceAttrs *attrs = node->parsed;
    const Shape *shape = &problem_input(problem, 0)->shape;
    Access space = {.rank = 3, .dim = {shape->dim[0], shape->dim[1], 1}};
    for (int32_t i = 2; i < shape->rank; ++i) space.dim[2] = dim_mul(dims, space.dim[2], shape->dim[i]);
    const char *extent = kernel_number(w, shape->dim[attrs->time_axis]);
    Dim stride = attrs->time_axis == 1 ? space.dim[2] : dim_mul(dims, space.dim[2], space.dim[1]);
    write_format(out, "        const Index batch = %s, time = %s;\n",
                 access_coordinate(w, &space, attrs->batch_axis, "i"),
                 access_coordinate(w, &space, attrs->time_axis, "i"));
    write_format(out, "        const Index length = (Index)smaller(load_as<i64>(%s, batch), (i64)%s);\n",
                 kernel_pointer(w, node->inputs[1]), extent);
    write_format(out, "        const Index source = time < length ? length - 1 - time : time;\n");
    write_format(out, "        raw(%s)[i] = raw(%s)[i + (source - time) * %s];\n",
                 kernel_result(w, node->outputs[0]), kernel_pointer(w, node->inputs[0]),
                 kernel_number(w, stride));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    Dim count = shape_count(emission->graph->dims, &problem_output(problem, 0)->shape);
    KernelWriter *w = kernel_begin(emission, "place");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    ByteWriter text = byte_writer(emission->arena);
    kernel_struct_begin(w);
    write_format(&text, "    template <int N> SMELT_DEVICE void run(Index i) const {\n");
    if (problem_anchor(problem)->op == OP_Trilu)
        write_triangle(w, problem, &text);
    else
        write_reversal(w, problem, &text);
    write_format(&text, "    }\n");
    kernel_line(w, "for_each_pack<1>(%s, %s);", kernel_number(w, count),
                kernel_struct_end(w, "Place", &text));
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_place = {
    .name = "place", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
