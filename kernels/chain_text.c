#include <string.h>

#include "kernels/chain.h"
#include "kernels/emit_writer.h"
#include "ops/pointwise.h"
#include "ops/quantize.h"

typedef struct Statement {
    const Chain *chain;
    const ChainStep *step;
    const Node *node;
    const PointwiseAttrs *attrs;        /* of pointwise nodes */
    const char *number, *indent, *type; /* T */
    ByteWriter *out;
} Statement;

static const char *text_of(const Statement *s, ChainTerm term) {
    return kernel_text(s->chain->w,
                       arena_printf(s->chain->arena, "%c%d", term.is_step ? 'b' : 'a', term.number));
}

static const char *real_text(const Statement *s, double value) {
    return kernel_text(s->chain->w, cuda_real_literal(s->chain->arena, value, false));
}

static DType result_dtype(const Statement *s) {
    return s->chain->graph->values[s->node->outputs[0]].dtype;
}

/* -- pointwise nodes -- */

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
    bool given = input < s->node->input_count && s->node->inputs[input] != NONE;
    if (given)
        write_format(s->out, "%s    const T %s = T(%s);\n", s->indent, name,
                     text_of(s, s->step->terms[input]));
    else
        write_format(s->out, "%s    const T %s = %s<T>();\n", s->indent, name,
                     input == 1 ? "lowest" : "highest");
}

static void write_attribute(const Statement *s, const char *name, double value) {
    const char *letter = strstr(op_def(s->node->op)->expression, name);
    if (letter != NULL)
        write_format(s->out, "%s    const T %s = T(%s);\n", s->indent, name, real_text(s, value));
}

/* An exponent of 2 is a product, as on the host. */
static bool is_square(const Statement *s) {
    if (s->node->op != OP_Pow || s->type[0] == 'l' || s->type[0] == 'u') return false;
    const Value *y = &s->chain->graph->values[s->node->inputs[1]];
    return y->data != NULL && value_is_exact(y) && value_count(y) == 1 &&
           dtype_load_f64(y->dtype, y->data, 0) == 2;
}

/* Where the result has 16 bits or fewer, cheaper functions do (cuda/pointwise.cuh). NULL: there is none. */
static const char *quick_expression(const Statement *s) {
    static const struct {
        OpId op;
        const char *text;
    } quick[] = {{OP_Erf, "quick::erf(x)"},
                 {OP_Exp, "quick::exp(x)"},
                 {OP_Tanh, "quick::tanh(x)"},
                 {OP_Sigmoid, "quick::logistic(x)"},
                 {OP_Swish, "x * quick::logistic(alpha * x)"},
                 {OP_Gelu, "alpha == 0 ? quick::gelu(x) : quick::gelu_tanh(x)"}};
    bool narrow = dtype_is_float(result_dtype(s)) && dtype_bits(result_dtype(s)) <= 16;
    for (size_t i = 0; narrow && i < sizeof quick / sizeof quick[0]; ++i)
        if (quick[i].op == s->node->op) return quick[i].text;
    return NULL;
}

static void write_expression(const Statement *s, const char *result) {
    int32_t operands = op_def(s->node->op)->max_in;
    bool select = s->attrs->signature == POINTWISE_SELECT;
    if (select)
        write_format(s->out, "%s    const bool x = %s;\n", s->indent, text_of(s, s->step->terms[0]));
    else
        write_operand(s, "x", 0);
    if (operands > 1) write_operand(s, "y", 1);
    if (operands > 2) write_operand(s, "z", 2);
    write_attribute(s, "alpha", s->attrs->alpha);
    write_attribute(s, "beta", s->attrs->beta);
    write_format(s->out, "%s    %s = ", s->indent, result);
    const char *expression = is_square(s) ? "x * x" : quick_expression(s);
    if (expression == NULL) expression = op_def(s->node->op)->expression;
    if (select)
        write_format(s->out, "T(%s);\n", expression);
    else
        write_format(s->out, "convert<%s>(%s);\n", cuda_register_type(result_dtype(s)), expression);
}

/* All inputs from the left; the attribute counts in the last step only. */
static void write_fold(const Statement *s, const char *result) {
    const char *expression = op_def(s->node->op)->expression;
    int32_t count = s->node->input_count;
    write_format(s->out, "%s    T x = T(%s);\n", s->indent, text_of(s, s->step->terms[0]));
    for (int32_t i = 1; i < count; ++i)
        write_format(s->out, "%s    { const T y = T(%s), alpha = T(%d); x = T(%s); }\n", s->indent,
                     text_of(s, s->step->terms[i]), i + 1 == count ? (int)s->attrs->alpha : 1, expression);
    write_format(s->out, "%s    %s = convert<%s>(x);\n", s->indent, result,
                 cuda_register_type(result_dtype(s)));
}

static void write_pointwise(Statement *s, const char *result) {
    s->attrs = s->node->parsed;
    s->type = expression_type(s->chain->graph, s->node);
    write_format(s->out, "%s%s %s; // %s\n", s->indent, cuda_register_type(result_dtype(s)), result,
                 op_def(s->node->op)->name);
    write_format(s->out, "%s{\n%s    typedef %s T;\n", s->indent, s->indent, s->type);
    if ((op_def(s->node->op)->flags & OPF_VARIADIC) != 0)
        write_fold(s, result);
    else
        write_expression(s, result);
    write_format(s->out, "%s}\n", s->indent);
}

/* -- casts and quantizers: what a store and a load would make of the element -- */

static const char *quantizer_text(const Statement *s, int32_t input) {
    if (input >= s->node->input_count || s->node->inputs[input] == NONE) return "0.0f";
    return kernel_text(
        s->chain->w, arena_printf(s->chain->arena, "convert<float>(%s)", text_of(s, s->step->terms[input])));
}

static void write_conversion(const Statement *s, const char *result) {
    const char *x = text_of(s, s->step->terms[0]), *register_type = cuda_register_type(result_dtype(s));
    write_format(s->out, "%sconst %s %s = ", s->indent, register_type, result);
    if (s->node->op == OP_DequantizeLinear)
        write_format(s->out, "convert<%s>((convert<float>(%s) - %s) * %s)", register_type, x,
                     quantizer_text(s, 2), quantizer_text(s, 1));
    else if (s->node->op == OP_QuantizeLinear)
        write_format(s->out, "stored<%s>(quantized<true>(convert<float>(%s), %s, %s))",
                     cuda_type(result_dtype(s)), x, quantizer_text(s, 1), quantizer_text(s, 2));
    else
        write_format(s->out, "stored<%s>(%s)", cuda_type(result_dtype(s)), x);
    write_format(s->out, "; // %s\n", op_def(s->node->op)->name);
}

/* -- steps -- */

static void write_index(const Statement *s, const char *result) {
    write_format(s->out, "%sconst Index %s = selected(%s, %s);\n", s->indent, result,
                 text_of(s, s->step->terms[0]), kernel_number(s->chain->w, s->step->extent));
}

const char *chain_read_index(const Chain *chain, const ChainStep *step, const char *number) {
    ByteWriter text = byte_writer(chain->arena);
    write_format(&text, "%s", access_index(chain->w, &step->access, number));
    if (step->offset != 0) write_format(&text, " + %s", kernel_number(chain->w, step->offset));
    for (int32_t n = 0; n < step->index_count; ++n)
        write_format(&text, " + b%d * %s", step->index[n], kernel_number(chain->w, step->index_stride[n]));
    write_u8(&text, 0);
    return kernel_text(chain->w, text.failed ? NULL : (const char *)text.data);
}

static void write_read(const Statement *s, const char *result) {
    KernelWriter *w = s->chain->w;
    const ChainStep *step = s->step;
    const char *type = cuda_register_type(s->chain->graph->values[step->value].dtype);
    if (step->pack != NULL)
        write_format(s->out, "%sconst %s %s = fetch(%s.at[k]);\n", s->indent, type, result, step->pack);
    else
        write_format(s->out, "%sconst %s %s = fetch(%s[%s]);\n", s->indent, type, result,
                     kernel_pointer(w, step->value), chain_read_index(s->chain, step, s->number));
}

void chain_write_step(const Chain *chain, int32_t i, const char *number, const char *indent,
                      ByteWriter *out) {
    const ChainStep *step = &chain->steps[i];
    Statement s = {
        .chain = chain, .step = step, .node = step->node, .number = number, .indent = indent, .out = out};
    const char *result = kernel_text(chain->w, arena_printf(chain->arena, "b%d", i));
    if (step->kind == CHAIN_INDEX)
        write_index(&s, result);
    else if (step->kind == CHAIN_READ)
        write_read(&s, result);
    else if (op_def(step->node->op)->op_class == OPCLASS_POINTWISE)
        write_pointwise(&s, result);
    else
        write_conversion(&s, result);
    if (step->kind == CHAIN_NODE && step->node->op == OP_QuantizeLinear)
        kernel_include(chain->w, "quantize.cuh");
}

void chain_write_steps(const Chain *chain, const char *number, const char *indent, ByteWriter *out) {
    for (int32_t i = 0; i < chain->step_count; ++i) chain_write_step(chain, i, number, indent, out);
}
