/* Graphs from text, run on the host after some passes: for what passes must not change. */
#ifndef SMELT_TESTS_GRAPH_RUN_H
#define SMELT_TESTS_GRAPH_RUN_H

#include "passes/evaluate.h"
#include "test.h"

enum { GRAPH_RUN_SYMBOLS = 16 };

/* Up to the pass `last`. */
static inline Graph *compile(const char *text, const char *last, Arena *arena) {
    Diag diag = {0};
    Graph *graph = NULL;
    PassOptions options = {.stop_after = last};
    CHECK_OK(graph_parse(text, strlen(text), "t.ir", NULL, arena, &graph, &diag), &diag);
    CHECK_OK(passes_run(graph, &options, NULL, &diag), &diag);
    return graph;
}

/* Numbers in eighths; truth values that are neither all true nor all false along any axis of 2 or more. */
static inline void fill_input(Tensor *x, int32_t input) {
    for (int64_t i = 0, n = tensor_count(x); i < n; ++i) {
        double number = (double)((i * 37 + 11 * (input + 1)) % 29 - 14) / 8;
        dtype_store_f64(x->dtype, x->data, i, x->dtype == DTYPE_BOOL ? (double)(i % 2 == 0) : number);
    }
}

static inline Tensor make_input(const Graph *graph, int32_t input, Arena *arena) {
    const Value *value = &graph->values[graph->blocks[MAIN_BLOCK].params[input]];
    int64_t dims[SMELT_MAX_RANK], symbols[GRAPH_RUN_SYMBOLS];
    Tensor out;
    Diag diag = {0};
    for (int32_t i = 0; i < GRAPH_RUN_SYMBOLS; ++i) symbols[i] = 3 + i; /* of its own for each symbol */
    for (int32_t i = 0; i < value->shape.rank; ++i)
        CHECK(dim_eval(graph->dims, value->shape.dim[i], symbols, &dims[i]));
    CHECK_OK(tensor_describe(&out, value->dtype, value->shape.rank, dims, 1 << 20, &diag), &diag);
    out.data = arena_alloc(arena, tensor_bytes(&out));
    fill_input(&out, input);
    return out;
}

/* The tensor of every value, by id. */
static inline Tensor *run_graph(Graph *graph, Arena *arena) {
    Diag diag = {0};
    PassCtx ctx = {.graph = graph, .scratch = arena, .diag = &diag};
    Tensor *tensors = ARENA_ARRAY(arena, Tensor, graph->value_count);
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (ValueId v = 0; v < graph->value_count; ++v)
        if (value_is_constant(graph, v)) tensors[v] = constant_tensor(&graph->values[v]);
    for (int32_t i = 0; i < block->param_count; ++i) tensors[block->params[i]] = make_input(graph, i, arena);
    for (int32_t i = 0; i < block->node_count; ++i) {
        const Node *node = &graph->nodes[block->nodes[i]];
        const Tensor *inputs[16] = {NULL};
        Tensor outputs[16];
        bool done = false;
        for (int32_t k = 0; k < node->input_count; ++k)
            if (node->inputs[k] != NONE) inputs[k] = &tensors[node->inputs[k]];
        CHECK_OK(evaluate_node(&ctx, node, inputs, 1 << 24, arena, outputs, &done), &diag);
        CHECK(done);
        for (int32_t k = 0; k < node->output_count && done; ++k)
            if (node->outputs[k] != NONE) tensors[node->outputs[k]] = outputs[k];
    }
    return tensors;
}

/* Largest difference relative to the largest element; two NaN do not differ. */
static inline double difference(const Tensor *a, const Tensor *b) {
    double largest = 0.125, worst = 0;
    if (a->dtype != b->dtype || a->rank != b->rank || tensor_count(a) != tensor_count(b)) return INFINITY;
    for (int32_t i = 0; i < a->rank; ++i)
        if (a->dim[i] != b->dim[i]) return INFINITY;
    for (int64_t i = 0, n = tensor_count(a); i < n; ++i) {
        double x = dtype_load_f64(a->dtype, a->data, i), y = dtype_load_f64(b->dtype, b->data, i);
        if (x == y || (isnan(x) && isnan(y))) continue;
        largest = fmax(largest, fabs(x));
        worst = fmax(worst, isfinite(x - y) ? fabs(x - y) : INFINITY);
    }
    return worst / largest;
}

#endif
