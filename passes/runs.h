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

/* -- normalisations that join a convolution -- */

typedef struct Joiner {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
    bool announces; /* only says what it will ask */
} Joiner;

/* Two steps that may be one. */
typedef struct Joint {
    Run first, second; /* the first one moves to the second */
    NodeId anchor;     /* of both as one */
    NodeId normalisation;
    const char *how; /* "computed as Conv reads it": what it says of the normalisation */
} Joint;

/* Makes one step of both where the target's choice is the second way, that as one; else says why not. */
Status joiner_join(Joiner *j, const Joint *joint, Way ways[2]);
/* Visits the steps that begin with an InstanceNormalization or GroupNormalization, twice: all questions are
 * announced before the first is asked. */
Status join_normalisations(PassCtx *ctx, Status (*visit)(Joiner *j, const Run *normalisation));

#endif
