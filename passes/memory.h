/* What the files of plan_memory share. */
#ifndef SMELT_PASSES_MEMORY_H
#define SMELT_PASSES_MEMORY_H

#include "base/footprint.h"
#include "passes/pass.h"

enum { BUFFER_ALIGNMENT = 256, NEVER_DIES = INT32_MAX };

/* What is known of a value before buffers are given. */
typedef struct Life {
    BlockId block;         /* that defines it; NONE for constants and unreachable values */
    int32_t last_position; /* in that block, of the last node that uses it; NEVER_DIES for results */
    int32_t first_step;    /* of the main block, that makes it */
    int32_t last_step;     /* of the main block */
    bool outside;          /* lies in a constant's, an input's or an output's memory */
} Life;

/* Where a value is to lie, decided before buffers are given: within another one. */
typedef struct Slot {
    ValueId within; /* NONE: no slot */
    Dim offset;     /* elements from its first */
    NodeId node;    /* Concat, Split or Slice that makes it a part; NONE: it has all of the other's place */
    int32_t index;  /* which part */
} Slot;

/* A buffer in the making. */
typedef struct Draft {
    Dim size;
    int64_t bytes; /* laid out: at the symbols' maximum, or opt */
    int32_t first, last;
    ValueId newest; /* of its values, linked by Planner.older */
} Draft;

typedef struct Planner {
    PassCtx *ctx;
    Graph *graph;
    const bool *banned; /* per node: its parts get no slots */
    UseTable uses;
    Life *lives;        /* per value */
    Slot *slots;        /* per value */
    ValueId *older;     /* per value: another one of its buffer, or NONE */
    int32_t *positions; /* per node, in its block */
    int32_t step;       /* of the main block, during walks */
    int32_t peak_step;  /* the first of those with the most bytes alive */
    bool on_device;     /* the step is a region that runs as one kernel */
    Draft *drafts;
    int32_t draft_count, draft_capacity;
} Planner;

/* Bytes of the arena that plan_memory would plan for the graph as it is. Leaves no plan behind. */
Status memory_measure(PassCtx *ctx, int64_t *arena_size);

/* Fills lives and positions. */
Status memory_find_lives(Planner *p);

/* Decides which inputs of Concat are made in their place in the result, and which results of Split and Slice
 * stay in their place in the operand. */
Status memory_find_slots(Planner *p);

/* Makes drafts last as long as steps come that may run beside their last readers. */
Status memory_keep_for_branches(Planner *p);

/* Chooses offsets. Fills drafts' bytes, and peak_step. */
Status memory_lay_out(Planner *p, MemoryPlan *memory);
Status memory_report(const Planner *p, const MemoryPlan *memory);

bool memory_is_late(const Graph *graph, ValueId value); /* its size depends on data */
/* Output 0 of the node can be its input 0's bytes. */
bool memory_is_view(const Graph *graph, const Node *node);
/* Bytes that it takes, those of gaps in it included. */
Dim memory_bytes(const Graph *graph, ValueId value);
/* Of a value that has a place. */
Footprint memory_footprint(const Graph *graph, ValueId value);

#endif
