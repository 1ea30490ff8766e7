/* The bytes that a strided box of elements takes, and whether two boxes of one buffer are apart. */
#ifndef SMELT_BASE_FOOTPRINT_H
#define SMELT_BASE_FOOTPRINT_H

#include "base/memory.h"

typedef struct Footprint {
    int64_t begin, end; /* from the first byte to behind the last (INT64_MAX: not known); equal: none */
    int64_t run, pitch; /* only bytes begin + k * pitch + [0, run) are taken; pitch 0: all of them may be */
} Footprint;

/* offset: bytes before the first element. strides: elements, in any order of size. -1 stands for an extent,
 * stride or offset that is not known. rank <= 8. */
Footprint footprint_of(int64_t offset, int64_t element_bytes, int32_t rank, const int64_t *extents,
                       const int64_t *strides);

/* True where no byte can be in both. */
bool footprint_apart(const Footprint *a, const Footprint *b);

#endif
