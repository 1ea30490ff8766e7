/* The parts of infer_shapes. */
#ifndef SMELT_PASSES_INFER_H
#define SMELT_PASSES_INFER_H

#include "passes/pass.h"

typedef struct Inference {
    PassCtx *ctx;
    Graph *graph;
    TypeInfo *types; /* per value: what is known of it so far; data also where it is not a constant */
    int32_t type_count;
    int64_t budget;     /* nodes that may still be inferred: bodies are inferred several times */
    ValueId *two_ranks; /* results of Ifs that have more dims here, extents of 1, than in some runs */
    int32_t two_rank_count, two_rank_capacity;
    bool tentative; /* types are not final: the graph must stay as it is */
} Inference;

/* Nodes in order, bodies within. */
Status infer_block(Inference *inf, BlockId block);
/* What is known of a value that some other part has found out. */
void infer_set(Inference *inf, ValueId value, const TypeInfo *type);

/* A node of class CONTROL. *inlined: it was an If with a known condition, and in its place now stand the
 * nodes of the branch that it takes. */
Status infer_control(Inference *inf, NodeId id, bool *inlined);

/* Where a Concat joins vectors and scalars, the scalars become vectors of one element: nodes are put before
 * it. *repaired: they must be inferred first. */
Status repair_concat(Inference *inf, NodeId id, bool *repaired);
/* Exporters write "squeeze this axis if its extent is 1" as an If whose result has one rank or another. Which
 * of the branches (else, then) is taken: the one that squeezes, unless the extent cannot be 1; -1 when it is
 * not that. A run in which the extent is not 1 after all fails in the Squeeze. */
int repair_squeeze(const Inference *inf, const BlockId branch[2]);

/* Result `index` of an If, which has these types in its branches: the one of less rank gets leading extents
 * of 1, as broadcasting would give it. check_ranks fails for nodes that could tell the difference: they
 * have to broadcast such an operand to another one of at least its rank; check_result_ranks for blocks that
 * give it away. */
Status repair_ranks(Inference *inf, NodeId node, const BlockId branch[2], int32_t index, TypeInfo types[2]);
Status check_ranks(Inference *inf, const Node *node);
Status check_result_ranks(Inference *inf);

#endif
