/* Moments of channels as one step leaves them in scratch memory for the next (Emission.leaves_parts). */
#ifndef SMELT_TESTS_KERNELS_HOST_MOMENTS_H
#define SMELT_TESTS_KERNELS_HOST_MOMENTS_H

#include "base/tensor.h"

/* Those of a tensor [batch, channels, ..], divided into parts of about the same size. */
void moments_fill(const Tensor *x, int64_t parts, char *scratch);
/* Whether what is there are those of a result of a narrow type, in whatever parts. */
void moments_check(const Tensor *y, int64_t parts, const char *scratch, const char *what);

#endif
