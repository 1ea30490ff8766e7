#include "kernels/chain.h"

#include <string.h>

#include "kernels/emit_writer.h"
#include "ops/pointwise.h"

enum { MOST_PARAMETERS = 400 }; /* well below what kernels can have */

/* -- whether it can be done -- */

static bool is_slope(const Node *node, int32_t input) {
    return input == 1 && ((const PointwiseAttrs *)node->parsed)->signature == POINTWISE_SLOPE;
}

/* An operand has one way to be read in a chain. */
static bool is_read_otherwise(const Problem *problem, int32_t first, ValueId slope) {
    for (int32_t n = first; n < problem->node_count; ++n) {
        const Node *node = &problem->graph->nodes[problem->nodes[n]];
        for (int32_t i = 0; i < node->input_count; ++i)
            if (node->inputs[i] == slope && !is_slope(node, i)) return true;
    }
    return false;
}

static const char *node_refuses(const Graph *graph, const Node *node, const Shape *shape) {
    if (op_def(node->op)->op_class != OPCLASS_POINTWISE) return "a node that is not pointwise";
    if (node->outputs[0] == NONE) return "a node without result";
    const Value *result = &graph->values[node->outputs[0]];
    if (!shape_equal(&result->shape, shape)) return "results of different shapes";
    if (cuda_type_refusal(result->dtype) != NULL) return cuda_type_refusal(result->dtype);
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (node->inputs[i] == NONE) continue;
        const Value *input = &graph->values[node->inputs[i]];
        if (cuda_type_refusal(input->dtype) != NULL) return cuda_type_refusal(input->dtype);
        if (input->shape.rank > shape->rank) return "an operand of higher rank";
    }
    return NULL;
}

/* Kernel parameters that an operand may need: its pointer, and where its extents are symbols, two numbers for
 * each. */
static int32_t parameters_of(const Problem *problem, ValueId id) {
    const Shape *shape = &problem_value(problem, id)->shape;
    return shape_is_exact(shape) ? 1 : 1 + 2 * shape->rank;
}

static bool has_too_many_operands(const Problem *problem) {
    int32_t parameters = 0;
    if (problem->input_count + problem->output_count > MOST_PARAMETERS) return true;
    for (int32_t i = 0; i < problem->input_count; ++i)
        parameters += parameters_of(problem, problem->inputs[i]);
    for (int32_t i = 0; i < problem->output_count; ++i)
        parameters += parameters_of(problem, problem->outputs[i]);
    return parameters > MOST_PARAMETERS;
}

const char *chain_refuses(const Problem *problem, int32_t first, const Shape *shape) {
    if (has_too_many_operands(problem)) return "too many operands";
    for (int32_t n = first; n < problem->node_count; ++n) {
        const char *why = node_refuses(problem->graph, &problem->graph->nodes[problem->nodes[n]], shape);
        if (why != NULL) return why;
    }
    for (int32_t n = first; n < problem->node_count; ++n) {
        const Node *node = &problem->graph->nodes[problem->nodes[n]];
        if (node->input_count > 1 && is_slope(node, 1) && is_read_otherwise(problem, first, node->inputs[1]))
            return "a slope that is another operand too";
    }
    return NULL;
}

/* -- operands -- */

static const char *result_register(const Chain *chain, ValueId value) {
    for (int32_t n = chain->first; n < chain->problem->node_count; ++n)
        if (chain->graph->nodes[chain->problem->nodes[n]].outputs[0] == value)
            return kernel_text(chain->w,
                               arena_printf(kernel_emission(chain->w)->arena, "b%d", n - chain->first));
    return NULL;
}

const char *chain_register(const Chain *chain, ValueId value) {
    for (int32_t i = 0; i < chain->operand_count; ++i)
        if (chain->operands[i].value == value)
            return kernel_text(chain->w, arena_printf(kernel_emission(chain->w)->arena, "a%d", i));
    return result_register(chain, value);
}

/* 1 where two extents are equal, else 0. */
static Dim equals(DimTable *dims, Dim a, Dim b) {
    Dim distance = dim_max(dims, dim_sub(dims, a, b), dim_sub(dims, b, a));
    return dim_max(dims, 0, dim_sub(dims, 1, distance));
}

/* A slope of one dimension that does not broadcast has an element for each channel, which shows at run time
 * where extents are symbols. */
static Access slope_access(const Chain *chain, ValueId id) {
    const Shape *slope = &chain->graph->values[id].shape, *shape = &chain->shape;
    DimTable *dims = chain->graph->dims;
    if (slope->rank != 1 || shape->rank < 3 || slope->dim[0] == 1)
        return access_value(chain->graph, id, shape, chain->numbering);
    Dim strides[SMELT_MAX_RANK] = {0}, extent = slope->dim[0], last = shape->dim[shape->rank - 1];
    Dim broadcasts = equals(dims, extent, last), walks = dim_min(dims, 1, dim_sub(dims, extent, 1));
    strides[shape->rank - 1] = dim_mul(dims, broadcasts, walks);
    strides[1] = dim_mul(dims, dim_sub(dims, 1, broadcasts), walks);
    return access_ordered(dims, shape, strides, chain->numbering);
}

static Status add_operand(Chain *chain, const Node *node, int32_t input, ValueId seed) {
    ValueId id = node->inputs[input];
    if (id == NONE || chain_register(chain, id) != NULL) return STATUS_OK;
    Emission *emission = kernel_emission(chain->w);
    if (!ARENA_RESERVE(emission->arena, chain->operands, chain->operand_count, chain->operand_capacity))
        return FAIL(emission->diag, STATUS_NO_MEMORY, "out of memory");
    ChainOperand *operand = &chain->operands[chain->operand_count++];
    const Value *value = &chain->graph->values[id];
    *operand = (ChainOperand){.value = id, .source = OPERAND_MEMORY};
    if (id == seed) {
        operand->source = OPERAND_SEED;
    } else if (value->data != NULL && value_is_exact(value) && value_count(value) == 1) {
        operand->source = OPERAND_LITERAL;
        operand->text = kernel_text(chain->w, cuda_literal(emission->arena, value->dtype, value->data, 0));
    } else {
        operand->text = kernel_pointer(chain->w, id);
        operand->access = is_slope(node, input)
                              ? slope_access(chain, id)
                              : access_value(chain->graph, id, &chain->shape, chain->numbering);
    }
    return STATUS_OK;
}

Status chain_prepare(KernelWriter *w, const Problem *problem, int32_t first, const Shape *shape, ValueId seed,
                     Chain *out) {
    *out = (Chain){
        .w = w, .graph = kernel_emission(w)->graph, .problem = problem, .first = first, .shape = *shape};
    ValueId first_value = seed != NONE ? seed : out->graph->nodes[problem->nodes[first]].outputs[0];
    out->numbering = out->graph->values[first_value].layout;
    kernel_include(w, "pointwise.cuh");
    for (int32_t n = first; n < problem->node_count; ++n) {
        const Node *node = &out->graph->nodes[problem->nodes[n]];
        for (int32_t i = 0; i < node->input_count; ++i) TRY(add_operand(out, node, i, seed));
    }
    return STATUS_OK;
}

Access chain_result_access(const Chain *chain, ValueId value) {
    return access_value(chain->graph, value, &chain->shape, chain->numbering);
}

/* -- statements -- */

typedef struct Statement {
    const Chain *chain;
    const Node *node;
    const PointwiseAttrs *attrs;
    const char *indent, *type; /* T */
    ByteWriter *out;
} Statement;

/* The type T of the expression. Selection takes elements as they are. */
static const char *expression_type(const Graph *graph, const Node *node) {
    const PointwiseAttrs *attrs = node->parsed;
    DType x = graph->values[node->inputs[0]].dtype, y = DTYPE_NONE;
    if (node->input_count > 1 && node->inputs[1] != NONE) y = graph->values[node->inputs[1]].dtype;
    if (attrs->signature == POINTWISE_SELECT) return cuda_register_type(y);
    return cuda_compute_type(pointwise_compute_dtype(attrs, x, y));
}

/* "const T y = T(a1);" An omitted operand is a bound. */
static void write_operand(const Statement *s, const char *name, int32_t input) {
    ValueId id = input < s->node->input_count ? s->node->inputs[input] : NONE;
    if (id == NONE)
        write_format(s->out, "%s    const T %s = %s<T>();\n", s->indent, name,
                     input == 1 ? "lowest" : "highest");
    else
        write_format(s->out, "%s    const T %s = T(%s);\n", s->indent, name, chain_register(s->chain, id));
}

static void write_attribute(const Statement *s, const char *name, double value) {
    const char *text =
        kernel_text(s->chain->w, cuda_real_literal(kernel_emission(s->chain->w)->arena, value, false));
    const char *letter = strstr(op_def(s->node->op)->expression, name);
    if (letter != NULL) write_format(s->out, "%s    const T %s = T(%s);\n", s->indent, name, text);
}

/* An exponent of 2 is a product, as on the host. */
static bool is_square(const Statement *s) {
    if (s->node->op != OP_Pow || s->type[0] == 'l' || s->type[0] == 'u') return false;
    const Value *y = &s->chain->graph->values[s->node->inputs[1]];
    return y->data != NULL && value_is_exact(y) && value_count(y) == 1 &&
           dtype_load_f64(y->dtype, y->data, 0) == 2;
}

static void write_expression(const Statement *s, const char *result) {
    int32_t operands = op_def(s->node->op)->max_in;
    bool select = s->attrs->signature == POINTWISE_SELECT;
    if (select)
        write_format(s->out, "%s    const bool x = %s;\n", s->indent,
                     chain_register(s->chain, s->node->inputs[0]));
    else
        write_operand(s, "x", 0);
    if (operands > 1) write_operand(s, "y", 1);
    if (operands > 2) write_operand(s, "z", 2);
    write_attribute(s, "alpha", s->attrs->alpha);
    write_attribute(s, "beta", s->attrs->beta);
    write_format(s->out, "%s    %s = ", s->indent, result);
    const char *expression = is_square(s) ? "x * x" : op_def(s->node->op)->expression;
    const char *type = cuda_register_type(s->chain->graph->values[s->node->outputs[0]].dtype);
    if (select)
        write_format(s->out, "T(%s);\n", expression);
    else
        write_format(s->out, "convert<%s>(%s);\n", type, expression);
}

/* All inputs from the left; the attribute counts in the last step only. */
static void write_fold(const Statement *s, const char *result) {
    const char *expression = op_def(s->node->op)->expression;
    int32_t count = s->node->input_count;
    write_format(s->out, "%s    T x = T(%s);\n", s->indent, chain_register(s->chain, s->node->inputs[0]));
    for (int32_t i = 1; i < count; ++i)
        write_format(s->out, "%s    { const T y = T(%s), alpha = T(%d); x = T(%s); }\n", s->indent,
                     chain_register(s->chain, s->node->inputs[i]), i + 1 == count ? (int)s->attrs->alpha : 1,
                     expression);
    write_format(s->out, "%s    %s = convert<%s>(x);\n", s->indent, result,
                 cuda_register_type(s->chain->graph->values[s->node->outputs[0]].dtype));
}

void chain_write_nodes(const Chain *chain, const char *indent, ByteWriter *out) {
    for (int32_t n = chain->first; n < chain->problem->node_count; ++n) {
        const Node *node = &chain->graph->nodes[chain->problem->nodes[n]];
        Statement s = {.chain = chain,
                       .node = node,
                       .attrs = node->parsed,
                       .indent = indent,
                       .type = expression_type(chain->graph, node),
                       .out = out};
        const char *result = result_register(chain, node->outputs[0]);
        write_format(out, "%s%s %s; // %s\n", indent,
                     cuda_register_type(chain->graph->values[node->outputs[0]].dtype), result,
                     op_def(node->op)->name);
        write_format(out, "%s{\n%s    typedef %s T;\n", indent, indent, s.type);
        if ((op_def(node->op)->flags & OPF_VARIADIC) != 0)
            write_fold(&s, result);
        else
            write_expression(&s, result);
        write_format(out, "%s}\n", indent);
    }
}
