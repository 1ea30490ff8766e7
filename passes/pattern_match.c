/* Matching of patterns. Operands of a product or sum are tried in every order; within each of them the first
 * way that fits is kept. */
#include <math.h>
#include <string.h>

#include "ops/pointwise.h"
#include "passes/pattern.h"

enum { OPERANDS = 10, MOST_UNIFORM = 1 << 20 };

typedef struct Matcher {
    const Graph *graph;
    const UseTable *uses;
    BlockId block;
    bool lenient;
    Match match;
} Matcher;

/* A factor of a product or a term of a sum in the graph. */
typedef struct Operand {
    ValueId value;
    double weight; /* exponent or sign */
    /* The same as a power of another value, or NONE. */
    ValueId base;
    double base_weight;
} Operand;

typedef struct Operands {
    bool failed; /* too many */
    bool is_sum;
    double sign; /* of a product */
    int32_t count;
    Operand items[OPERANDS];
} Operands;

/* -- numbers -- */

bool value_is_uniform(const Graph *graph, ValueId value, double *out) {
    if (!value_is_constant(graph, value)) return false;
    const Value *row = &graph->values[value];
    int64_t count = value_count(row);
    if (dtype_kind(row->dtype) == DTYPE_KIND_OTHER || count < 1 || count > MOST_UNIFORM) return false;
    *out = dtype_load_f64(row->dtype, row->data, 0);
    for (int64_t i = 1; i < count; ++i)
        if (dtype_load_f64(row->dtype, row->data, i) != *out) return false;
    return true;
}

bool numbers_agree(DType dtype, double a, double b) {
    double unit = dtype == DTYPE_F64    ? 0x1p-52
                  : dtype == DTYPE_F16  ? 0x1p-10
                  : dtype == DTYPE_BF16 ? 0x1p-7
                                        : 0x1p-23;
    return a == b || fabs(a - b) <= 4 * unit * fabs(b);
}

static bool accept_number(Matcher *m, DType dtype, double found, double expected) {
    if (numbers_agree(dtype, found, expected)) return true;
    if (!m->lenient) return false;
    if (!m->match.has_wrong_number) {
        m->match.found = found;
        m->match.expected = expected;
    }
    m->match.has_wrong_number = true;
    return true;
}

/* -- names -- */

static MatchName *find_name(Match *match, const char *name) {
    for (int32_t i = 0; i < match->name_count; ++i)
        if (strcmp(match->names[i].name, name) == 0) return &match->names[i];
    return NULL;
}

ValueId match_value(const Match *match, const char *name) {
    for (int32_t i = 0; i < match->name_count; ++i)
        if (strcmp(match->names[i].name, name) == 0) return match->names[i].value;
    return NONE;
}

double match_number(const Match *match, const char *name) {
    for (int32_t i = 0; i < match->name_count; ++i)
        if (strcmp(match->names[i].name, name) == 0) return match->names[i].number;
    return 0;
}

const Node *match_node(const Graph *graph, const Match *match, const char *name) {
    ValueId value = match_value(match, name);
    NodeId producer = value == NONE ? NONE : graph->values[value].producer;
    return producer == NONE ? NULL : &graph->nodes[producer];
}

static bool bind(Matcher *m, const char *name, bool is_label, ValueId value, double number) {
    MatchName *old = find_name(&m->match, name);
    if (old != NULL) {
        old->is_label = old->is_label || is_label;
        return old->value == value && (value != NONE || old->number == number);
    }
    if (m->match.name_count == MATCH_NAMES) return false;
    m->match.names[m->match.name_count++] = (MatchName){name, value, number, is_label};
    return true;
}

/* -- nodes -- */

bool op_is_reshape(OpId op) {
    return op == OP_Reshape || op == OP_Flatten || op == OP_Squeeze || op == OP_Unsqueeze;
}

/* The node of the block that makes the value as its first output. */
static NodeId maker(const Matcher *m, ValueId value) {
    NodeId producer = m->graph->values[value].producer;
    if (producer == NONE || m->graph->values[value].output_index != 0) return NONE;
    return m->graph->nodes[producer].block == m->block ? producer : NONE;
}

static bool cover(Matcher *m, NodeId node) {
    for (int32_t i = 0; i < m->match.node_count; ++i)
        if (m->match.nodes[i] == node) return true;
    if (m->match.node_count == MATCH_NODES) return false;
    m->match.nodes[m->match.node_count++] = node;
    return true;
}

/* -- products and sums of the graph -- */

/* Equal factors to whole powers are one. */
static void add_operand(Operands *out, Operand operand) {
    for (int32_t i = 0; i < out->count && !out->is_sum; ++i) {
        Operand *old = &out->items[i];
        bool whole = old->weight == floor(old->weight) && operand.weight == floor(operand.weight);
        if (old->value != operand.value || old->base != NONE || operand.base != NONE || !whole) continue;
        old->weight += operand.weight;
        return;
    }
    out->failed = out->failed || out->count == OPERANDS;
    if (!out->failed) out->items[out->count++] = operand;
}

static void add_root(const Matcher *m, NodeId node, ValueId value, double exponent, double weight,
                     Operands *out) {
    add_operand(out, (Operand){value, weight, m->graph->nodes[node].inputs[0], exponent * weight});
}

static bool may_open(const Matcher *m, ValueId value, bool is_top) {
    return is_top || m->lenient || use_count(m->uses, value) == 1;
}

static void collect(Matcher *m, ValueId value, double weight, bool is_top, Operands *out);

static void collect_inputs(Matcher *m, NodeId node, double first, double second, Operands *out) {
    out->failed = out->failed || !cover(m, node);
    const Node *row = &m->graph->nodes[node];
    if (out->failed) return;
    collect(m, row->inputs[0], first, false, out);
    if (row->input_count > 1) collect(m, row->inputs[1], second, false, out);
}

static void collect(Matcher *m, ValueId value, double weight, bool is_top, Operands *out) {
    NodeId node = maker(m, value);
    OpId op = node != NONE && may_open(m, value, is_top) ? m->graph->nodes[node].op : OP_NONE;
    double exponent = 0;
    if (op == OP_Neg) {
        if (!out->is_sum) out->sign = -out->sign;
        collect_inputs(m, node, out->is_sum ? -weight : weight, 0, out);
    } else if (op == (out->is_sum ? OP_Add : OP_Mul)) {
        collect_inputs(m, node, weight, weight, out);
    } else if (op == (out->is_sum ? OP_Sub : OP_Div)) {
        collect_inputs(m, node, weight, -weight, out);
    } else if (op == OP_Reciprocal && !out->is_sum) {
        collect_inputs(m, node, -weight, 0, out);
    } else if (op == OP_Sqrt && !out->is_sum) {
        add_root(m, node, value, 0.5, weight, out);
    } else if (op == OP_Pow && !out->is_sum &&
               value_is_uniform(m->graph, m->graph->nodes[node].inputs[1], &exponent)) {
        add_root(m, node, value, exponent, weight, out);
    } else {
        add_operand(out, (Operand){value, weight, NONE, 0});
    }
}

/* -- matching -- */

static bool match_at(Matcher *m, const Pattern *p, ValueId value, double sign);

/* The constant part: the operands that no item of the pattern took. */
static bool match_rest(Matcher *m, const Pattern *p, const Operands *operands, uint32_t taken, double sign,
                       DType dtype) {
    double rest = operands->is_sum ? 0 : operands->sign * sign;
    for (int32_t i = 0; i < operands->count; ++i) {
        double number;
        if ((taken >> i & 1) != 0) continue;
        if (!value_is_uniform(m->graph, operands->items[i].value, &number)) return false;
        rest = operands->is_sum ? rest + operands->items[i].weight * number
                                : rest * pow(number, operands->items[i].weight);
    }
    if (p->rest == NULL) return accept_number(m, dtype, rest, p->number);
    return bind(m, p->rest, false, NONE, operands->is_sum ? rest - p->number : rest / p->number);
}

/* Item `index` and those behind it against the operands that are not taken. */
static bool match_items(Matcher *m, const Pattern *p, const Operands *operands, int32_t index, uint32_t taken,
                        double sign, DType dtype) {
    if (index == p->count) return match_rest(m, p, operands, taken, sign, dtype);
    const Pattern *item = p->items[index];
    double weight = p->weights[index];
    for (int32_t i = 0; i < operands->count; ++i) {
        const Operand *operand = &operands->items[i];
        const Match before = m->match;
        bool is_signed = operands->is_sum && item->kind == PATTERN_PRODUCT;
        bool fits = (taken >> i & 1) == 0 && (is_signed || operand->weight == weight) &&
                    match_at(m, item, operand->value, is_signed ? operand->weight * weight : 1);
        if (!fits && (taken >> i & 1) == 0 && operand->base != NONE && operand->base_weight == weight) {
            m->match = before;
            fits = cover(m, m->graph->values[operand->value].producer) && match_at(m, item, operand->base, 1);
        }
        if (fits && match_items(m, p, operands, index + 1, taken | 1u << i, sign, dtype)) return true;
        m->match = before;
    }
    return false;
}

static bool match_operands(Matcher *m, const Pattern *p, ValueId value, double sign) {
    const Match before = m->match;
    DType dtype = m->graph->values[value].dtype;
    Operands operands = {.is_sum = p->kind == PATTERN_SUM, .sign = 1};
    collect(m, value, 1, true, &operands);
    if (!operands.failed && match_items(m, p, &operands, 0, 0, sign, dtype)) return true;
    m->match = before;
    if (p->count != 1) return false;
    /* One factor with a constant: the value as a whole may be it. */
    operands = (Operands){.is_sum = p->kind == PATTERN_SUM, .sign = 1};
    add_operand(&operands, (Operand){value, 1, NONE, 0});
    if (match_items(m, p, &operands, 0, 0, sign, dtype)) return true;
    m->match = before;
    return false;
}

/* A number in the place of an attribute. */
static bool match_attribute(Matcher *m, const Pattern *p, const Node *node, int32_t index) {
    if (op_def(node->op)->op_class != OPCLASS_POINTWISE || index > 1) return false;
    const PointwiseAttrs *attrs = node->parsed;
    double number = index == 0 ? attrs->alpha : attrs->beta;
    if (p->kind == PATTERN_ANY_NUMBER) return bind(m, p->name, false, NONE, number);
    return p->kind == PATTERN_NUMBER && accept_number(m, DTYPE_F32, number, p->number);
}

static bool match_inputs(Matcher *m, const Pattern *p, const Node *node, bool swapped) {
    int32_t most = op_def(node->op)->max_in;
    for (int32_t i = 0; i < p->count; ++i) {
        int32_t input = swapped ? 1 - i : i;
        if (i >= most) {
            if (!match_attribute(m, p->items[i], node, i - most)) return false;
            continue;
        }
        if (input >= node->input_count || node->inputs[input] == NONE) return false;
        if (!match_at(m, p->items[i], node->inputs[input], 1)) return false;
    }
    return true;
}

static bool has_unwritten_inputs(OpId op) {
    return op_is_reshape(op) || op_def(op)->op_class == OPCLASS_REDUCTION;
}

static bool match_call(Matcher *m, const Pattern *p, ValueId value) {
    NodeId id = maker(m, value);
    if (id == NONE) return false;
    const Node *node = &m->graph->nodes[id];
    bool is_op = node->op == p->op || (p->op == OP_Reshape && op_is_reshape(node->op));
    if (!is_op || (node->input_count > p->count && !has_unwritten_inputs(node->op)) || !cover(m, id))
        return false;
    const Match before = m->match;
    if (match_inputs(m, p, node, false)) return true;
    m->match = before;
    bool commutes = (op_def(node->op)->flags & OPF_COMMUTES) != 0 && node->input_count == 2 && p->count == 2;
    return commutes && match_inputs(m, p, node, true);
}

/* sign: what a product is to be multiplied with. */
static bool match_at(Matcher *m, const Pattern *p, ValueId value, double sign) {
    double number;
    if (p->name != NULL && p->kind != PATTERN_ANY_NUMBER &&
        !bind(m, p->name, p->kind != PATTERN_NAME, value, 0))
        return false;
    switch (p->kind) {
    case PATTERN_NAME:
        return true;
    case PATTERN_NUMBER:
        return value_is_uniform(m->graph, value, &number) &&
               accept_number(m, m->graph->values[value].dtype, number, p->number);
    case PATTERN_ANY_NUMBER:
        return value_is_uniform(m->graph, value, &number) && bind(m, p->name, false, NONE, number);
    case PATTERN_CALL:
        return match_call(m, p, value);
    case PATTERN_PRODUCT:
    case PATTERN_SUM:
        return match_operands(m, p, value, sign);
    }
    return false;
}

/* What stands for an operand is made by a node that the pattern covers. */
static bool covers_operand(const Matcher *m) {
    for (int32_t i = 0; i < m->match.name_count; ++i) {
        const MatchName *name = &m->match.names[i];
        NodeId producer =
            name->value == NONE || name->is_label ? NONE : m->graph->values[name->value].producer;
        for (int32_t k = 0; k < m->match.node_count && producer != NONE; ++k)
            if (m->match.nodes[k] == producer) return true;
    }
    return false;
}

bool pattern_match(const Pattern *pattern, const Graph *graph, const UseTable *uses, NodeId root,
                   bool lenient, Match *out) {
    const Node *node = &graph->nodes[root];
    Matcher m = {.graph = graph, .uses = uses, .block = node->block, .lenient = lenient};
    m.match.root = root;
    if (node->output_count == 0 || node->outputs[0] == NONE || !cover(&m, root)) return false;
    bool found = match_at(&m, pattern, node->outputs[0], 1) && !covers_operand(&m);
    *out = m.match;
    return found;
}
