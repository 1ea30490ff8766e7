#include "ir/cost.h"

#include "base/checked.h"
#include "ops/cost.h"

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

int64_t value_count_at_opt(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    int64_t count = 1;
    if (!value->has_shape) return -1;
    for (int32_t i = 0; i < value->shape.rank; ++i) {
        int64_t dim = dim_at_opt(graph, value->shape.dim[i]);
        if (dim < 0) return -1;
        if (!checked_mul_i64(count, dim, &count)) count = INT64_MAX;
    }
    return count;
}

/* -- nodes -- */

enum { MOST_OPERANDS = 64 };

/* Shapes of a node's operands; those beyond the first MOST_OPERANDS are left out. */
typedef struct Operands {
    OpShapes shapes;
    Shape shape[2][MOST_OPERANDS];
    const Shape *list[2][MOST_OPERANDS];
} Operands;

/* The shape with every symbol at opt. False: some dimension is not known. */
static bool shape_at_opt(const Graph *graph, ValueId id, Shape *out) {
    if (id == NONE || !graph->values[id].has_shape) return false;
    *out = graph->values[id].shape;
    for (int32_t i = 0; i < out->rank; ++i) {
        out->dim[i] = dim_at_opt(graph, out->dim[i]);
        if (out->dim[i] < 0) return false;
    }
    return true;
}

static void read_operands(const Graph *graph, const Node *node, Operands *out) {
    const ValueId *ids[2] = {node->inputs, node->outputs};
    int32_t counts[2] = {node->input_count < MOST_OPERANDS ? node->input_count : MOST_OPERANDS,
                         node->output_count < MOST_OPERANDS ? node->output_count : MOST_OPERANDS};
    for (int side = 0; side < 2; ++side)
        for (int32_t i = 0; i < counts[side]; ++i) {
            bool known = shape_at_opt(graph, ids[side][i], &out->shape[side][i]);
            out->list[side][i] = known ? &out->shape[side][i] : NULL;
        }
    out->shapes = (OpShapes){counts[0], counts[1], out->list[0], out->list[1]};
}

int64_t node_macs(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    Operands operands;
    if (node->op == OP_NONE) return 0;
    read_operands(graph, node, &operands);
    return op_macs(node->op, node->parsed, &operands.shapes);
}

double node_flops(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    Operands operands;
    if (node->op == OP_NONE) return 0;
    read_operands(graph, node, &operands);
    return op_flops(node->op, node->parsed, &operands.shapes);
}

/* -- steps -- */

static double elements_to_bytes(const Graph *graph, ValueId value, int64_t elements) {
    return (double)max_i64(elements, 0) * dtype_bits(graph->values[value].dtype) / 8;
}

/* The node leaves its results where its operands lie. */
static bool only_renames(const Graph *graph, NodeId id, Arena *scratch) {
    const Node *node = &graph->nodes[id];
    if (!graph->memory.done) return false;
    if (parts_are_in_place(graph, id, scratch)) return true;
    if ((op_def(node->op)->flags & OPF_VIEW) == 0 || node->inputs[0] == NONE || node->outputs[0] == NONE)
        return false;
    const Value *from = &graph->values[node->inputs[0]], *to = &graph->values[node->outputs[0]];
    return from->buffer != NONE && from->buffer == to->buffer && from->buffer_offset == to->buffer_offset;
}

static bool is_member(const NodeId *nodes, int32_t count, NodeId node) {
    for (int32_t i = 0; i < count; ++i)
        if (nodes[i] == node) return true;
    return false;
}

/* An earlier operand of the step is the same value. */
static bool was_read(const Graph *graph, const NodeId *nodes, int32_t at, int32_t input) {
    ValueId value = graph->nodes[nodes[at]].inputs[input];
    for (int32_t i = 0; i <= at; ++i) {
        const Node *node = &graph->nodes[nodes[i]];
        for (int32_t k = 0; k < node->input_count && (i < at || k < input); ++k)
            if (node->inputs[k] == value) return true;
    }
    return false;
}

static bool leaves_step(const UseTable *uses, ValueId value, const NodeId *nodes, int32_t count) {
    for (int32_t i = uses->first[value]; i < uses->first[value + 1]; ++i)
        if (uses->uses[i].node == NONE || !is_member(nodes, count, uses->uses[i].node)) return true;
    return false;
}

bool step_cost(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t count, Arena *scratch,
               StepCost *out) {
    Operands operands;
    *out = (StepCost){0};
    for (int32_t n = 0; n < count; ++n) {
        const Node *node = &graph->nodes[nodes[n]];
        if (only_renames(graph, nodes[n], scratch)) continue;
        out->runs = true;
        read_operands(graph, node, &operands);
        out->flops += op_flops(node->op, node->parsed, &operands.shapes);
        for (int32_t i = 0; i < node->input_count; ++i) {
            ValueId value = node->inputs[i];
            if (value == NONE || is_member(nodes, count, graph->values[value].producer) ||
                was_read(graph, nodes, n, i))
                continue;
            int64_t elements = i < operands.shapes.input_count
                                   ? op_elements_read(node->op, &operands.shapes, i)
                                   : value_count_at_opt(graph, value);
            out->bytes_read += elements_to_bytes(graph, value, elements);
        }
        for (int32_t i = 0; i < node->output_count; ++i)
            if (node->outputs[i] != NONE && leaves_step(uses, node->outputs[i], nodes, count))
                out->bytes_written +=
                    elements_to_bytes(graph, node->outputs[i], value_count_at_opt(graph, node->outputs[i]));
    }
    return true;
}

bool graph_cost(const Graph *graph, Arena *scratch, GraphCost *out) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    UseTable uses;
    *out = (GraphCost){0};
    if (!use_table_build(graph, scratch, &uses)) return false;
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        StepCost step;
        end = step_end(graph, block, first);
        if (!step_cost(graph, &uses, block->nodes + first, end - first, scratch, &step)) return false;
        out->steps += step.runs;
        out->flops += step.flops;
        out->bytes_read += step.bytes_read;
        out->bytes_written += step.bytes_written;
    }
    return true;
}
