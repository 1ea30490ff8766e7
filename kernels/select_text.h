/* Launches that choose some of many (kernels/cuda/select.cuh). */
#ifndef SMELT_KERNELS_SELECT_TEXT_H
#define SMELT_KERNELS_SELECT_TEXT_H

#include "kernels/emit.h"

/* What is kept: constructs the function object that tells, and includes what it needs. */
typedef struct Selection {
    const char *family; /* of the kernels' names */
    const char *include;
    Dim count;
    Dim offsets, found; /* places in scratch memory: selection_bytes(count), and one i64 */
    const char *(*keep)(KernelWriter *w, const void *context);
    const void *context;
} Selection;

/* Takes so many bytes, aligned to 256, of the emission's scratch memory; returns where they begin. */
Dim scratch_take(Emission *emission, Dim bytes);
Dim selection_bytes(DimTable *dims, Dim count);
/* Two launches: offsets of the tiles, and how many are kept, to `found`. */
Status selection_count(Emission *emission, const Selection *selection);
/* One more, that calls the sink (text of a function object, from `sink`) for each element. */
Status selection_place(Emission *emission, const Selection *selection,
                       const char *(*sink)(KernelWriter *w, const void *context));
/* Copies lines of `inner` elements, of which `from` has `extent` in each of `outer` groups, to `to`: those
 * whose numbers are at `places` in scratch memory. */
Status take_lines(Emission *emission, const char *family, ValueId from, ValueId to, Dim places, Dim outer,
                  Dim extent, Dim inner, Dim found);

#endif
