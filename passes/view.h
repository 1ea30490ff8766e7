/* Values that are another value's elements in another order, seen through the nodes that move them. */
#ifndef SMELT_PASSES_VIEW_H
#define SMELT_PASSES_VIEW_H

#include "ir/graph.h"

/* Element [i0, i1, ...] is element offset + i0 * stride[0] + ... of base (in its row-major order), times
 * factor. */
typedef struct View {
    ValueId base;
    int32_t rank;
    Dim dim[SMELT_MAX_RANK], stride[SMELT_MAX_RANK], offset;
    double factor;
} View;

/* A value as itself: its elements in row-major order. */
void view_whole(Graph *graph, ValueId value, View *out);
/* Goes back through Transpose, reshapes, Slice, Split and Gather of one index, and products with one constant
 * where with_factor is true, as far as what comes of it is a view. The value must have a shape. */
void view_trace(Graph *graph, ValueId value, bool with_factor, View *out);
/* The view that output `output` of a node makes of a view of its first input. False: it makes none. */
bool view_apply(Graph *graph, const Node *node, int32_t output, View *view);
/* Its elements in row-major order lie as those of these extents with these strides do. */
bool view_lies_as(Graph *graph, const View *view, int32_t rank, const Dim *dims, const Dim *strides);
/* Its elements lie in row-major order without gaps. */
bool view_is_dense(Graph *graph, const View *view);

#endif
