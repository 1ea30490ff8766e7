/* Operators that move elements as copies: element i of an index space from one place to another. */
#ifndef SMELT_KERNELS_COPY_H
#define SMELT_KERNELS_COPY_H

#include "kernels/access.h"

typedef struct Copy {
    ValueId from, to;
    Dim count; /* of the index space; 0: nothing is to be copied */
    Access read, write;
    Dim read_offset, write_offset; /* elements */
} Copy;

/* How many copies the problem's operator is: one for each input of Concat and each output of Split, else one.
 * 0: it is none. */
int32_t copy_count(const Problem *problem);
/* The copy of that number, in the problem's graph's dimensions. Returns NULL, or why it cannot be said. */
const char *copy_describe(const Problem *problem, int32_t index, Copy *out);

#endif
