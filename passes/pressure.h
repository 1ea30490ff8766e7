/* How many bytes are alive at each step, to foresee what a change of order costs. */
#ifndef SMELT_PASSES_PRESSURE_H
#define SMELT_PASSES_PRESSURE_H

#include "passes/pass.h"

/* An estimate for one block after the other, with symbols at opt: every computed value takes its bytes from
 * the step that makes it to the last that reads it, views none. In the pass's scratch memory. */
typedef struct Pressure {
    const Graph *graph;
    BlockId block;
    int32_t step_count;
    int64_t *live;     /* bytes, per step of the block */
    int64_t peak;      /* the most of live */
    int32_t *made;     /* per value made in the block: the step that makes it */
    int32_t *last_use; /* per value made in the block: the last step that reads it or a view of it */
    ValueId *root;     /* per value: whose bytes it shows */
} Pressure;

Status pressure_create(PassCtx *ctx, Pressure *out);
/* Looks at a block as it is now. */
Status pressure_enter(PassCtx *ctx, Pressure *pressure, BlockId block);
/* Bytes of a value at opt, 2^42 at most; 0 where that is not known. */
int64_t value_bytes_at_opt(const Graph *graph, ValueId value);

#endif
