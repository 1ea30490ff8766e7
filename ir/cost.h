/* Arithmetic and memory traffic of nodes and steps, for reports and cost models; ops/cost.h counts. */
#ifndef SMELT_IR_COST_H
#define SMELT_IR_COST_H

#include "ir/graph.h"

/* Multiply-accumulates of a contraction or recurrent layer at the symbols' opt values; 0 for other operators
 * and where shapes are not known. Saturates at INT64_MAX. */
int64_t node_macs(const Graph *graph, NodeId node);
/* Operations, as ops/cost.h counts them, at the symbols' opt values. */
double node_flops(const Graph *graph, NodeId node);

typedef struct StepCost {
    double flops, bytes_read, bytes_written;
    bool runs; /* false: it only renames memory */
} StepCost;

/* What nodes that run as one step must do at least, at the symbols' opt values: read what comes from outside
 * once, write what is used outside once. uses: of the graph as it is. False: out of memory. */
bool step_cost(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t count, Arena *scratch,
               StepCost *out);

typedef struct GraphCost {
    int32_t steps; /* that run */
    double flops, bytes_read, bytes_written;
} GraphCost;

/* The sum over the steps of the main block; bodies are left out. False: out of memory. */
bool graph_cost(const Graph *graph, Arena *scratch, GraphCost *out);

/* One dimension with every symbol at opt; -1 when late. */
int64_t dim_at_opt(const Graph *graph, Dim d);
/* Elements of a value with every symbol at opt; -1 where its shape is not known or depends on data. */
int64_t value_count_at_opt(const Graph *graph, ValueId value);

#endif
