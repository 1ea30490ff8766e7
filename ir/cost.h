/* Arithmetic of nodes, for reports and cost models. */
#ifndef SMELT_IR_COST_H
#define SMELT_IR_COST_H

#include "ir/graph.h"

/* Multiply-accumulates of a contraction (convolutions, matrix products) at the symbols' opt values; 0 for
 * other operators and where shapes are not known. Saturates at INT64_MAX. */
int64_t node_macs(const Graph *graph, NodeId node);

/* One dimension with every symbol at opt; -1 when late. */
int64_t dim_at_opt(const Graph *graph, Dim d);
/* Elements of a value with every symbol at opt; -1 where its shape is not known or depends on data. */
int64_t value_count_at_opt(const Graph *graph, ValueId value);

#endif
