/* The labels of Einsum in groups, and where its operands lie along them. */
#ifndef SMELT_KERNELS_EINSUM_TEXT_H
#define SMELT_KERNELS_EINSUM_TEXT_H

#include "kernels/access.h"
#include "kernels/window_text.h"
#include "ops/einsum.h"

/* Some labels, outermost first; stride: elements from one step along a label to the next, in each operand and
 * (last) the output. */
typedef struct LabelGroup {
    int32_t count;
    Dim extent[EINSUM_LABELS], stride[EINSUM_OPERANDS + 1][EINSUM_LABELS];
} LabelGroup;

typedef struct EinsumText {
    int32_t operands;
    LabelGroup output, depth;     /* labels of the output, labels that are summed over */
    LabelGroup batch, rows, cols; /* two operands: the output's labels in both, the first, the second */
    const char *type;             /* that sums are computed in */
} EinsumText;

/* Why the anchor is no Einsum that device code can compute, or NULL. */
const char *einsum_refuses(const Problem *problem);
EinsumText einsum_describe(const Problem *problem);
Dim group_size(DimTable *dims, const LabelGroup *group);
/* Where entry `index` (text) of a group lies in an operand; operand number `operands`: in the output. */
const char *group_index(KernelWriter *w, const LabelGroup *group, int32_t operand, const char *index);

#endif
