/* One wide step from several that do the same. */
#ifndef SMELT_PASSES_WIDEN_H
#define SMELT_PASSES_WIDEN_H

#include "passes/join_constants.h"
#include "passes/siblings.h"

typedef struct Wide {
    ValueId whole; /* the results, one behind the other along their channel axis */
    NodeId split;  /* gives the old results; part of the step where the target can have it so */
} Wide;

/* Puts one step in the place of the first of these units, which agree (units_differ) and number JOIN_PARTS at
 * most, and removes them. input: what all of them read; or a value of which they read slices, in order and
 * without gaps, for convolutions alone: then the wide one has the groups of all. */
Status widen_units(PassCtx *ctx, Joiner *joiner, int32_t count, const Unit *const *units, ValueId input,
                   Wide *out);

#endif
