/* The equation of Einsum. */
#ifndef SMELT_OPS_EINSUM_H
#define SMELT_OPS_EINSUM_H

#include "ops/op.h"

/* Labels: 'A'..'Z', 'a'..'z', then the axes of the ellipsis, the last of them EINSUM_LABELS - 1. */
enum { EINSUM_LETTERS = 52, EINSUM_LABELS = EINSUM_LETTERS + SMELT_MAX_RANK, EINSUM_OPERANDS = 16 };

/* One term of the equation as written; ellipsis is the place of "..." in labels, or -1. */
typedef struct EinsumTerm {
    int32_t count, ellipsis;
    int8_t labels[EINSUM_LABELS];
} EinsumTerm;

typedef struct EinsumAttrs {
    int32_t operands;
    bool has_output;                      /* "->" is written */
    EinsumTerm term[EINSUM_OPERANDS + 1]; /* operands, then the output */
} EinsumAttrs;

/* A term for an operand of a certain rank: the label of each axis. */
typedef struct EinsumAxes {
    int32_t rank;
    int8_t label[EINSUM_LABELS];
} EinsumAxes;

/* Labels of every operand's axes and then of the output's; ranks: of the operands. */
Status einsum_axes(const EinsumAttrs *attrs, const int32_t *ranks, EinsumAxes *axes, Diag *diag);

#endif
