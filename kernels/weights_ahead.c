#include "kernels/weights_ahead.h"

#include "ir/cost.h"

enum { NODES_AHEAD = 32 /* between the two */ };

static int64_t constant_bytes(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    size_t bytes = 0;
    if (value->data == NULL || !value_is_exact(value) ||
        !dtype_storage(value->dtype, value_count(value), &bytes) || bytes > INT32_MAX)
        return 0;
    return (int64_t)bytes;
}

int64_t weights_bytes(const Graph *graph) {
    int64_t bytes = 0;
    for (ValueId v = 0; v < graph->value_count; ++v) bytes += constant_bytes(graph, v);
    return bytes;
}

/* Kernels read weights of windows in another order, from a copy of their own (kernel_turned). */
static bool is_read_as_stated(const Graph *graph, const Node *node) {
    const Shape *shape = &graph->values[node->inputs[1]].shape;
    bool stated = node->op != OP_ConvTranspose;
    for (int32_t i = 2; node->op == OP_Conv && i < shape->rank; ++i) stated = stated && shape->dim[i] == 1;
    return stated;
}

/* The first contraction with constant weights from a place in the block on, or NONE. */
static NodeId next_with_weights(const Graph *graph, const Block *block, int32_t first) {
    for (int32_t i = first; i < block->node_count && i < first + NODES_AHEAD; ++i) {
        const Node *node = &graph->nodes[block->nodes[i]];
        if (op_def(node->op)->op_class == OPCLASS_CONTRACTION && node->input_count > 1 &&
            node->inputs[1] != NONE && graph->values[node->inputs[1]].data != NULL)
            return block->nodes[i];
    }
    return NONE;
}

void weights_look_ahead(const Problem *problem, const Device *device, int64_t bytes, Emission *emission) {
    const Graph *graph = problem->graph;
    const Node *anchor = problem_anchor(problem);
    if (anchor == NULL || op_def(anchor->op)->op_class != OPCLASS_CONTRACTION || bytes <= device->l2_bytes)
        return;
    NodeId last = problem->nodes[problem->node_count - 1];
    NodeId next = next_with_weights(graph, &graph->blocks[anchor->block], node_position(graph, last) + 1);
    if (next == NONE || !is_read_as_stated(graph, &graph->nodes[next])) return;
    ValueId weights = graph->nodes[next].inputs[1];
    int64_t own = constant_bytes(graph, weights);
    double multiplies = 2 * (double)node_macs(graph, next) / (device->fp16_tflops * 1e6),
           waits = (double)own / (device->dram_gb_per_s * 1e3);
    if (multiplies > waits) return;
    emission->ahead = weights;
    emission->ahead_bytes = own;
}
