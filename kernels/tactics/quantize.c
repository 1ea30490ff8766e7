/* QuantizeLinear and DequantizeLinear: one thread for each element. */
#include "ops/quantize.h"

#include "kernels/index_text.h"

enum { THREADS = 256 };

static bool is_single(const Value *scale) {
    return scale->shape.rank == 0 || value_known_count(scale) == 1;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_QuantizeLinear && node->op != OP_DequantizeLinear))
        return "not QuantizeLinear or DequantizeLinear";
    const QuantizeAttrs *attrs = node->parsed;
    const Value *scale = problem_input(problem, 1), *y = problem_output(problem, 0);
    bool is_narrow = dtype_is_float(y->dtype) && dtype_bits(y->dtype) == 8;
    if (problem->node_count > 1 && is_narrow && !attrs->saturate)
        return "nodes behind a conversion that does not saturate";
    if (attrs->block_size == 0 && value_known_count(scale) < 0)
        return "whether the scale is one number shows at run time only";
    return refuse_types(problem);
}

/* Which scale goes with element i. */
static const char *scale_index(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    DimTable *dims = problem->graph->dims;
    const QuantizeAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *x = &problem_input(problem, 0)->shape;
    if (is_single(problem_input(problem, 1))) return "0";
    int32_t axis = axis_of(attrs->axis, x->rank);
    Dim strides[SMELT_MAX_RANK] = {0}, inner = 1;
    strides[axis] = 1;
    Access access = access_strided(dims, x->rank, x->dim, strides);
    if (attrs->block_size == 0) return access_index(w, &access, "i");
    for (int32_t i = axis + 1; i < x->rank; ++i) inner = dim_mul(dims, inner, x->dim[i]);
    Dim blocks = dim_ceil_div(dims, x->dim[axis], attrs->block_size);
    return kernel_format(w, "(quotient(i, %s) * %s + quotient(%s, %s)) * %s + residue(i, %s)",
                         kernel_number(w, dim_mul(dims, inner, x->dim[axis])), kernel_number(w, blocks),
                         kernel_format(w, "residue(quotient(i, %s), %s)", kernel_number(w, inner),
                                       kernel_number(w, x->dim[axis])),
                         kernel_number(w, attrs->block_size), kernel_number(w, inner),
                         kernel_number(w, inner));
}

static const char *load_text(KernelWriter *w, int32_t input, const char *index) {
    ValueId id = anchor_input(kernel_emission(w)->problem, input);
    if (id == NONE) return "0.0f";
    return kernel_format(w, "load_as<float>(%s, %s)", kernel_pointer(w, id), index);
}

static void write_body(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const QuantizeAttrs *attrs = node->parsed;
    const char *x = load_text(w, 0, "i"), *scale = load_text(w, 1, "k"), *zero = load_text(w, 2, "k");
    bool to_float = dtype_is_float(problem_output(problem, 0)->dtype);
    kernel_line(w, "    const Index k = %s;", scale_index(w));
    if (node->op == OP_DequantizeLinear)
        kernel_line(w, "    %s(i, (%s - %s) * %s);", kernel_epilogue(w), x, zero, scale);
    else if (to_float && problem->node_count == 1)
        kernel_line(w, "    put_cast<%s, ROUND_NEAREST>(%s[i], quantized<false>(%s, %s, %s));",
                    attrs->saturate ? "true" : "false", kernel_result(w, node->outputs[0]), x, scale, zero);
    else
        kernel_line(w, "    %s(i, quantized<%s>(%s, %s, %s));", kernel_epilogue(w),
                    to_float ? "false" : "true", x, scale, zero);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    Dim count = shape_count(emission->graph->dims, &problem_output(emission->problem, 0)->shape);
    KernelWriter *w = kernel_begin(emission, "quantize");
    (void)config, (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "quantize.cuh");
    kernel_line(w, "for (Index i = thread_index(); i < %s; i += thread_count()) {", kernel_number(w, count));
    write_body(w);
    kernel_line(w, "}");
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_quantize = {
    .name = "quantize", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
