#include "ir/cost.h"

#include "base/checked.h"

int64_t dim_at_opt(const Graph *graph, Dim d) {
    enum { MOST_SYMBOLS = 256 };
    int64_t values[MOST_SYMBOLS], out;
    int32_t count = dim_symbol_count(graph->dims);
    if (dim_is_exact(d)) return d;
    if (count > MOST_SYMBOLS) return -1;
    for (int32_t i = 0; i < count; ++i) {
        const Symbol *symbol = dim_symbol_at(graph->dims, i);
        values[i] = symbol->kind == SYMBOL_LATE ? -1 : symbol->opt;
    }
    return dim_eval(graph->dims, d, values, &out) ? out : -1;
}

/* a * b for a, b >= 0; -1 is contagious, overflow saturates. */
static int64_t product(int64_t a, int64_t b) {
    int64_t out;
    if (a < 0 || b < 0) return -1;
    return checked_mul_i64(a, b, &out) ? out : INT64_MAX;
}

static int64_t span_at_opt(const Graph *graph, const Value *value, int32_t first) {
    int64_t count = 1;
    if (!value->has_shape) return -1;
    for (int32_t i = first; i < value->shape.rank; ++i)
        count = product(count, dim_at_opt(graph, value->shape.dim[i]));
    return count;
}

int64_t value_count_at_opt(const Graph *graph, ValueId value) {
    return span_at_opt(graph, &graph->values[value], 0);
}

/* Length of the sum behind each output element. */
static int64_t contracted_length(const Graph *graph, const Node *node) {
    const Value *a = &graph->values[node->inputs[0]];
    if (!a->has_shape || a->shape.rank == 0) return -1;
    switch (node->op) {
    case OP_Conv:
    case OP_ConvInteger:
        return span_at_opt(graph, &graph->values[node->inputs[1]], 1);
    case OP_QLinearConv:
        return span_at_opt(graph, &graph->values[node->inputs[3]], 1);
    case OP_Gemm: {
        const Value *b = &graph->values[node->inputs[1]];
        int64_t out = value_count_at_opt(graph, node->outputs[0]),
                rows = dim_at_opt(graph, graph->values[node->outputs[0]].shape.dim[0]);
        int64_t weights = span_at_opt(graph, b, 0);
        return out > 0 && rows > 0 && weights >= 0 ? weights / (out / rows) : -1;
    }
    case OP_MatMul:
    case OP_MatMulInteger:
    case OP_QLinearMatMul:
        return dim_at_opt(graph, a->shape.dim[a->shape.rank - 1]);
    default:
        return 0;
    }
}

int64_t node_macs(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    int64_t macs;
    if (node->op == OP_NONE || node->input_count == 0 || node->inputs[0] == NONE || node->output_count == 0 ||
        node->outputs[0] == NONE)
        return 0;
    if (node->op == OP_ConvTranspose) /* every input element meets its channel's filters */
        macs = product(value_count_at_opt(graph, node->inputs[0]),
                       span_at_opt(graph, &graph->values[node->inputs[1]], 1));
    else
        macs = product(value_count_at_opt(graph, node->outputs[0]), contracted_length(graph, node));
    return max_i64(macs, 0);
}
