/* The parts of infer_shapes. */
#ifndef SMELT_PASSES_INFER_H
#define SMELT_PASSES_INFER_H

#include "passes/pass.h"

typedef struct Inference {
    PassCtx *ctx;
    Graph *graph;
    TypeInfo *types; /* per value: what is known of it so far; data also where it is not a constant */
    int64_t budget;  /* nodes that may still be inferred: bodies are inferred several times */
    bool tentative;  /* types are not final: the graph must stay as it is */
} Inference;

/* Nodes in order, bodies within. */
Status infer_block(Inference *inf, BlockId block);
/* What is known of a value that some other part has found out. */
void infer_set(Inference *inf, ValueId value, const TypeInfo *type);

/* A node of class CONTROL. *inlined: it was an If with a known condition, and in its place now stand the
 * nodes of the branch that it takes. */
Status infer_control(Inference *inf, NodeId id, bool *inlined);

#endif
