/* What became of the graph, pass by pass. The runner looks at the graph before and after each pass; no pass
 * tells it anything but its counters and rejections. */
#ifndef SMELT_PASSES_HISTORY_H
#define SMELT_PASSES_HISTORY_H

#include "passes/pass.h"

typedef struct HistoryStep {
    const char *pass;   /* "import" for the first: the graph before all passes */
    const char *what;   /* the pass in a line */
    const Graph *graph; /* as the pass left it (graph_snapshot) */
    int32_t counter_count;
    PassCounter counters[PASS_COUNTERS];
    int32_t rejection_first, rejection_count; /* in History.rejections */
    double seconds, data_seconds;             /* that the pass took; of them on weights */
} HistoryStep;

/* Zero-initialise with an arena, which need not outlive the graph. */
struct History {
    Arena *arena;
    int32_t step_count, step_capacity, rejection_count;
    HistoryStep *steps;
    const Rejection *rejections; /* of all passes */
};

/* Forgets everything but the memory, for another run of the passes. */
void history_clear(History *history);
/* Called by the runner; seconds: how long the pass took. */
Status history_note(History *history, const PassCtx *ctx, const char *pass, const char *what, double seconds);

typedef enum NodeChange {
    NODE_ABSENT, /* neither before nor after */
    NODE_SAME,
    NODE_ADDED,
    NODE_REMOVED,
    NODE_CHANGED /* its operator, operands, attributes, region or origins, or the type or layout of a result
                  */
} NodeChange;
NodeChange node_change(const Graph *before, const Graph *after, NodeId node);
/* Nodes that were added, removed or changed. */
int32_t nodes_touched(const Graph *before, const Graph *after);

/* In arena; NULL: out of memory. Why a node that is gone is gone, as far as its surroundings show: "its
 * result is the constant 'w'", "nobody reads its results", "Conv 'conv1' takes its place". */
const char *explain_removal(const Graph *before, const Graph *after, NodeId node, Arena *arena);
/* What a new node stands for, in full: "does what Div 'a', Erf 'b', Add 'c' did" where those are gone and it
 * has their origins, so that what an operator spells out can be read; "" where it is new. */
const char *explain_addition(const Graph *before, const Graph *after, NodeId node, Arena *arena);
/* What is different about a node that is there before and after: "Mul became HardSwish; joined region
 * 'conv+relu'". "" when nothing is. */
const char *explain_change(const Graph *before, const Graph *after, NodeId node, Arena *arena);

/* Whether `origin` is one of the ONNX nodes behind it. */
bool node_has_origin(const Node *node, const char *origin);

#endif
