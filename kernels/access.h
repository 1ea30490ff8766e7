/* Where the element of an operand lies that goes with an element of a broadcast shape. */
#ifndef SMELT_KERNELS_ACCESS_H
#define SMELT_KERNELS_ACCESS_H

#include "kernels/emit.h"

enum { ACCESS_MAX_RANK = 2 * SMELT_MAX_RANK };

/* Dimensions that the operand walks along, slowest first; neighbours that are one for it are merged. */
typedef struct Access {
    int32_t rank; /* 0: one element; 1 with stride 1: element i goes with element i */
    Dim dim[ACCESS_MAX_RANK], stride[ACCESS_MAX_RANK];
} Access;

/* 1 where a dimension of `own` elements walks along one of `extent`, 0 where it is repeated. */
Dim access_walks(DimTable *dims, Dim own, Dim extent);
/* A row-major operand seen through `shape`, numpy's broadcasting. Whether a symbolic extent is repeated shows
 * at run time: its stride is an expression that is 0 where the extent is 1. */
Access access_broadcast(DimTable *dims, const Shape *operand, const Shape *shape);
/* A value as it lies in memory, seen through `shape`, whose elements are numbered in the order of a layout.
 */
Access access_value(const Graph *graph, ValueId operand, const Shape *shape, Layout numbering);
/* Explicit strides, one for each dimension of the shape. */
Access access_ordered(DimTable *dims, const Shape *shape, const Dim *strides, Layout numbering);
/* Explicit strides (elements) of each of rank <= ACCESS_MAX_RANK dimensions, slowest first. */
Access access_strided(DimTable *dims, int32_t rank, const Dim *extents, const Dim *strides);
/* From one element's number to the next along each axis, in the order of the value's layout without gaps. */
void access_number_strides(const Graph *graph, ValueId value, Dim strides[SMELT_MAX_RANK]);

bool access_is_linear(const Access *access);
bool access_is_single(const Access *access);
/* How `lanes` consecutive elements from a multiple of lanes on lie: one behind the other from a multiple of
 * lanes on; all the same one. */
bool access_is_packed(const Access *access, int32_t lanes);
bool access_is_splat(const Access *access, int32_t lanes);

/* Vectors are accessed with this many bytes at most. */
enum { VECTOR_BYTES = 16 };
/* Whether the value begins at a multiple of that. (Arenas, weights and bindings do.) */
bool access_value_is_aligned(const Value *value);

/* The coordinate along dimension g of the element number `index` (text). */
const char *access_coordinate(KernelWriter *w, const Access *access, int32_t g, const char *index);
/* The index as text: "i", "0", "residue(quotient(i, 49), 64)". */
const char *access_index(KernelWriter *w, const Access *access, const char *index);

/* Places of a batch entry, elements from one to the next, and from one entry to the next; false where places
 * do not lie at equal distances. value: [batch, channels, places..], channels last. */
bool access_places(const Graph *graph, ValueId value, Dim *places, Dim *step, Dim *batch_step);

#endif
