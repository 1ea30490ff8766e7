/* Anchors that read one value, and whether they do the same with it. */
#ifndef SMELT_PASSES_SIBLINGS_H
#define SMELT_PASSES_SIBLINGS_H

#include "passes/pass.h"

enum { UNIT_NODES = 24 };

/* A step around a contraction with constant weights, taken apart:
 * result = floor(core(anchor(x, weights) + bias)), floor being a Relu or nothing. The core is pointwise, but
 * may permute the axes, and reshape what lies before the channels where these are last. Views at the end of
 * the step are left out. */
typedef struct Unit {
    const NodeId *nodes;          /* in order, neighbours in their block; the anchor is the first */
    int32_t step_count;           /* of the step */
    int32_t count;                /* of these that belong to the unit; the others are views of its result */
    ValueId input, weights, bias; /* bias NONE: none is added */
    int32_t weight_axis;          /* of the weights' shape, along which output channels lie */
    int64_t width;                /* output channels */
    int64_t groups;               /* of a convolution, else 1 */
    int32_t core, core_count;     /* nodes [core, core + core_count) stand between the bias and the floor */
    int32_t axis[UNIT_NODES];     /* along which channels lie: of the head, and of each core node's result */
    ValueId head, tail;           /* what the core begins and ends with */
    bool floored;                 /* a Relu follows the core */
    ValueId result;               /* the only value that leaves the unit */
    int32_t result_axis;
} Unit;

/* Whether the operator can be an anchor here at all: a contraction whose weights input 1 holds. */
bool op_has_siblings(OpId op);
/* Takes apart the step of these nodes, whose first is such an anchor. Returns NULL, or why it cannot be
 * widened; "" where nobody would expect it. */
const char *unit_read(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t count,
                      Unit *out);

/* Where a value stands in its unit: 0 the head, k the result of core node k - 1, -1 outside. */
int32_t unit_place(const Graph *graph, const Unit *unit, ValueId value);
/* Why a and b cannot become one wider step, or NULL. Their inputs are not compared, nor how many groups they
 * have. */
const char *units_differ(const Graph *graph, const Unit *a, const Unit *b);

#endif
