/* Anchors that read one value, and whether they do the same with it. */
#ifndef SMELT_PASSES_SIBLINGS_H
#define SMELT_PASSES_SIBLINGS_H

#include "passes/pass.h"

/* A step around a contraction with constant weights, taken apart:
 * result = floor(core(anchor(x, weights) + bias)), floor being a Relu or nothing. */
typedef struct Unit {
    const NodeId *nodes; /* in order, neighbours in their block; the anchor is the first */
    int32_t count;
    ValueId input, weights, bias; /* bias NONE: none is added */
    int32_t weight_axis;          /* of the weights' shape, along which output channels lie */
    int32_t axis;                 /* of the results' shapes, along which they lie */
    int64_t width;                /* output channels */
    int64_t groups;               /* of a convolution, else 1 */
    int32_t core, core_count;     /* nodes [core, core + core_count) stand between the bias and the floor */
    ValueId head, tail;           /* what the core begins and ends with */
    bool floored;                 /* a Relu follows the core */
    ValueId result;               /* the only value that leaves the step */
} Unit;

/* Whether the operator can be an anchor here at all: a contraction whose weights input 1 holds. */
bool op_has_siblings(OpId op);
/* Takes apart the step of these nodes, whose first is such an anchor. Returns NULL, or why it cannot be
 * widened; "" where nobody would expect it. */
const char *unit_read(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t count,
                      Unit *out);

/* Where a value stands in its unit: 0 the head, k the result of core node k - 1, -1 outside. */
int32_t unit_place(const Graph *graph, const Unit *unit, ValueId value);
/* The value is a constant with one element for every channel of the unit's result, or a single one. */
bool unit_is_per_channel(const Graph *graph, const Unit *unit, ValueId value);
/* Why a and b cannot become one wider step, or NULL. Their inputs are not compared, nor how many groups they
 * have. */
const char *units_differ(const Graph *graph, const Unit *a, const Unit *b);

#endif
