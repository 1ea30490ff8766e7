/* Constants laid one behind the other, remembered. */
#ifndef SMELT_PASSES_JOIN_CONSTANTS_H
#define SMELT_PASSES_JOIN_CONSTANTS_H

#include "passes/pass.h"

enum { JOIN_PARTS = 16, JOIN_KEPT = 64 };

/* What to make: along `axis` of a constant of this type, part i takes widths[i]. A part is a constant with
 * as many elements as it takes up, a single element that is repeated, or NONE for zeros. */
typedef struct Join {
    DType dtype; /* whole bytes */
    int32_t rank, axis;
    int64_t dims[SMELT_MAX_RANK]; /* of the whole */
    int32_t count;
    ValueId parts[JOIN_PARTS];
    int64_t widths[JOIN_PARTS];
} Join;

/* The last ones made: what is joined again (heads that several levels share) is made once. Zero-initialise.
 */
typedef struct Joiner {
    int32_t count;
    struct {
        Join join;
        ValueId whole;
    } kept[JOIN_KEPT];
} Joiner;

/* The joined constant; a new one takes `name` for the stem of its own (NULL: none). */
Status join_constants(PassCtx *ctx, Joiner *joiner, const Join *join, const char *name, ValueId *out);

#endif
