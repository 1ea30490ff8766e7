/* Gather, GatherElements and GatherND: runs of elements from where indices say. */
#include "kernels/index_text.h"
#include "ops/indexing.h"

enum { THREADS = 256 };

static int32_t element_axis(const Problem *problem) {
    const GatherAttrs *attrs = problem_anchor(problem)->parsed;
    return axis_of(attrs->axis, problem_input(problem, 0)->shape.rank);
}

/* Batch dimensions that are not plainly the same might be read past. */
static const char *refuse_batches(const Problem *problem) {
    int32_t batch = ((const GatherNdAttrs *)problem_anchor(problem)->parsed)->batch_dims;
    const Shape *data = &problem_input(problem, 0)->shape, *indices = &problem_input(problem, 1)->shape;
    const char *why = index_refuse_tuples(indices, data, batch);
    for (int32_t i = 0; why == NULL && i < batch; ++i)
        if (data->dim[i] != indices->dim[i]) why = "whether the batches are equal shows at run time only";
    return why;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_Gather && node->op != OP_GatherElements && node->op != OP_GatherND))
        return "not a gather";
    if (problem->node_count > 1) return "nodes behind it";
    const char *why = refuse_types(problem);
    if (why != NULL) return why;
    if (node->op == OP_GatherND) return refuse_batches(problem);
    if (node->op == OP_Gather) return NULL;
    return index_refuse_elements(&problem_input(problem, 1)->shape, &problem_input(problem, 0)->shape,
                                 element_axis(problem));
}

/* Elements that stay together. */
static Dim run_length(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const Shape *data = &problem_input(problem, 0)->shape, *indices = &problem_input(problem, 1)->shape;
    DimTable *dims = problem->graph->dims;
    if (node->op == OP_GatherElements) return 1;
    if (node->op == OP_Gather) return span_of(dims, data, element_axis(problem) + 1, data->rank);
    int32_t first =
        ((const GatherNdAttrs *)node->parsed)->batch_dims + (int32_t)indices->dim[indices->rank - 1];
    return span_of(dims, data, first, data->rank);
}

/* Elements that are moved with one access. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    const Value *data = problem_input(problem, 0), *result = problem_output(problem, 0);
    int32_t lanes = VECTOR_BYTES / (dtype_bits(data->dtype) / 8), count = 0;
    Dim run = run_length(problem);
    bool aligned = access_value_is_aligned(data) && access_value_is_aligned(result);
    (void)device;
    while (lanes > 1 && (!aligned || !dim_is_exact(run) || run % lanes != 0)) lanes /= 2;
    out[count++] = (Config){.count = 1, .number = {lanes}};
    if (lanes > 1) out[count++] = (Config){.count = 1, .number = {1}};
    return count;
}

/* Along one axis. */
static const char *declare_axis(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    int32_t axis = element_axis(problem);
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    const char *count = kernel_count(w, node->inputs[1]), *extent = kernel_dim(w, node->inputs[0], axis);
    write_format(&text, "    SMELT_DEVICE Index at(Index n) const {\n");
    write_format(&text, "        const Index outer = quotient(n, %s);\n", count);
    write_format(&text, "        const Index index = index_at(%s, n - outer * %s, %s);\n",
                 kernel_pointer(w, node->inputs[1]), count, extent);
    write_format(&text, "        return index < 0 ? -1 : (outer * %s + index) * %s;\n    }\n", extent,
                 kernel_number(w, run_length(problem)));
    return kernel_struct_end(w, "Source", &text);
}

static const char *declare_source(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const Shape *data = &problem_input(problem, 0)->shape;
    if (node->op == OP_Gather) return declare_axis(w);
    if (node->op == OP_GatherElements)
        return index_declare_elements(w, "Source", node->inputs[1], data, element_axis(problem));
    return index_declare_tuples(w, "Source", node->inputs[1], data,
                                ((const GatherNdAttrs *)node->parsed)->batch_dims);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    int32_t lanes = config->number[0];
    Dim count = shape_count(emission->graph->dims, &problem_output(emission->problem, 0)->shape);
    KernelWriter *w = kernel_begin(emission, "gather");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "indexing.cuh");
    const char *source = declare_source(w);
    kernel_line(w, "for_each_pack<%d>(%s, gather(raw(%s), raw(%s), %s, %s));", lanes, kernel_number(w, count),
                kernel_pointer(w, node->inputs[0]), kernel_result(w, node->outputs[0]),
                kernel_number(w, run_length(emission->problem)), source);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS * lanes), 1, 1, THREADS, 0);
}

const Tactic tactic_gather = {
    .name = "gather", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
