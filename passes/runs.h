/* Steps of a graph as passes join them: runs of nodes of a block. */
#ifndef SMELT_PASSES_RUNS_H
#define SMELT_PASSES_RUNS_H

#include "passes/fusion.h"

/* A run of nodes that is a step. */
typedef struct Run {
    NodeId nodes[REGION_NODES];
    int32_t count; /* 0: longer than that, or not where a step begins */
} Run;

Run run_at(const Graph *graph, NodeId first);
/* The step that the node is part of. */
Run run_with(const Graph *graph, NodeId node);
void run_append(Run *to, const Run *from);
/* Makes a region of the nodes, which need not be neighbours yet. */
Status run_make_region(PassCtx *ctx, const Run *whole, NodeId anchor);

/* InstanceNormalization or GroupNormalization. */
bool normalizes_planes(const Graph *graph, NodeId node);

#endif
