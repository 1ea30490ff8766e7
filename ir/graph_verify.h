/* State of the verifier. Private to this folder. */
#ifndef SMELT_IR_GRAPH_VERIFY_H
#define SMELT_IR_GRAPH_VERIFY_H

#include "ir/graph.h"

enum { SCOPE_UNSEEN, SCOPE_OPEN, SCOPE_CLOSED };

typedef struct Verify {
    const Graph *graph;
    Status failure;
    Diag *diag;
    Arena *scratch;
    uint8_t *scope; /* per value: whether the point reached may use it */
    bool *listed;   /* per node: seen in a block */
    bool *entered;  /* per block: reached from the main block */
    bool inferred;  /* some computed value has a shape */
} Verify;

/* A broken rule. */
#define RULE(v, ...) FAIL((v)->diag, (v)->failure, __VA_ARGS__)

/* The rules of a finished memory plan. */
Status verify_memory(Verify *v);
/* Of values that share buffers, which have places within them (verify_overlap.c). */
Status verify_overlap(Verify *v);

#endif
