/* Which element of a tensor goes with each element of another: coordinates as sums over the digits of a
 * number.
 *
 * Elements of a tensor are numbered; the number's digits are the coordinates in the order of its layout. What
 * permutes, slices, repeats or reshapes elements gives coordinates in another tensor that are sums of these
 * digits, so that an element that is many such steps away still has one address, an Access of the number. */
#ifndef SMELT_KERNELS_VIEW_H
#define SMELT_KERNELS_VIEW_H

#include "kernels/access.h"

enum { VIEW_INDICES = 2 /* that come from index tensors */ };

typedef struct View {
    int32_t digit_count;
    Dim extent[ACCESS_MAX_RANK]; /* of the digits, slowest first */
    Shape shape;                 /* of the tensor that is looked at */
    /* Coordinate d is offset[d] + the sum of weight[d][k] * digit k + the sum of index_weight[d][n] *
     * index[n]. */
    Dim offset[SMELT_MAX_RANK];
    Dim weight[SMELT_MAX_RANK][ACCESS_MAX_RANK];
    int32_t index_count;
    int32_t index[VIEW_INDICES]; /* whoever makes them knows what these numbers stand for */
    Dim index_weight[SMELT_MAX_RANK][VIEW_INDICES];
} View;

/* The tensor itself, its elements numbered in the order of a layout. */
View view_of(const Shape *shape, Layout numbering);
bool view_equal(const View *a, const View *b);

/* An operand that is broadcast to the view's shape. */
View view_broadcast(DimTable *dims, const View *view, const Shape *operand);
/* Dimension i is the view's dimension order[i], of rank dimensions of these extents. */
View view_select(const View *view, const Shape *shape, const int32_t *order);
/* The same elements in row-major order under another shape of as many. False where that is no sum of digits:
 * a digit is cut where it cannot be, or the view has not all elements. */
bool view_reshape(DimTable *dims, const View *view, const Shape *shape, View *out);

/* Where the element lies in memory with these strides: element *offset + the access's place of the number +
 * the sum of index_stride[n] * index[n]. */
Access view_access(DimTable *dims, const View *view, const Dim *strides, Dim *offset,
                   Dim index_stride[VIEW_INDICES]);

#endif
