/* Where gathers read and scatters write, as functions of device code (cuda/indexing.cuh). */
#ifndef SMELT_KERNELS_INDEX_TEXT_H
#define SMELT_KERNELS_INDEX_TEXT_H

#include "kernels/slices.h"
#include "kernels/window_text.h"

/* Axis in [0, rank), whatever its sign; the operators have checked that it is one. */
int32_t axis_of(int64_t axis, int32_t rank);
Dim span_of(DimTable *dims, const Shape *shape, int32_t first, int32_t last);

/* Elements of an index tensor that has one index for each element of a result: the element of `data` that has
 * the same coordinates, but for the axis, whose coordinate is the index. Declares struct <name> with at(n);
 * returns the text that constructs it. */
const char *index_declare_elements(KernelWriter *w, const char *name, ValueId indices, const Shape *data,
                                   int32_t axis);
/* Why that cannot be done, or NULL: whether other axes fit shows at run time only. */
const char *index_refuse_elements(const Shape *indices, const Shape *data, int32_t axis);

/* Tuples of indices for the dimensions of `data` from `batch` on, likewise. */
const char *index_declare_tuples(KernelWriter *w, const char *name, ValueId indices, const Shape *data,
                                 int32_t batch);
const char *index_refuse_tuples(const Shape *indices, const Shape *data, int32_t batch);

#endif
