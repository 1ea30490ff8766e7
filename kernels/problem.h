/* What one step of a GPU plan has to do: a region (or single node) with the values that go in and out. */
#ifndef SMELT_KERNELS_PROBLEM_H
#define SMELT_KERNELS_PROBLEM_H

#include "ir/graph.h"

typedef struct Problem {
    const Graph *graph;
    int32_t node_count;
    const NodeId *nodes; /* in order; the anchor, if any, is first among those that are not its prologue */
    NodeId anchor;       /* the first node that is not pointwise; NONE: a chain of pointwise nodes, or one */
    int32_t input_count, output_count;
    const ValueId *inputs;  /* read by the step and not made by it, each once */
    const ValueId *outputs; /* made by the step and used outside it, each once */
    /* One line: family, dtypes, shapes, attributes, epilogue. Equal lines are equal work; the key of caches.
     */
    const char *key;
} Problem;

/* Fills *out for consecutive nodes of a block. Lists are in arena. */
Status problem_create(const Graph *graph, const NodeId *nodes, int32_t node_count, Arena *arena, Problem *out,
                      Diag *diag);

/* The node that everything but the epilogue belongs to, or NULL for pointwise chains. */
const Node *problem_anchor(const Problem *problem);
const Value *problem_value(const Problem *problem, ValueId value);

#endif
