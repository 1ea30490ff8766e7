/* ConvTranspose as arguments of device code (cuda/conv.cuh, cuda/conv_scatter.cuh). */
#ifndef SMELT_KERNELS_TRANSPOSED_TEXT_H
#define SMELT_KERNELS_TRANSPOSED_TEXT_H

#include "kernels/window_text.h"

typedef struct TransposedText {
    WindowDims
        window; /* in: of the input; out: of the output; pad: what is taken off before its first element */
    int64_t groups;
    Dim batch, channels, outputs; /* the latter two of a group */
} TransposedText;

/* Why the anchor is no transposed convolution that device code can compute, or NULL. */
const char *transposed_refuses(const Problem *problem);
TransposedText transposed_describe(const Problem *problem);
/* The tensors, strides, window, sizes, how results are numbered and what becomes of the sums, which declares
 * the epilogue. */
const char *transposed_arguments(KernelWriter *w, const TransposedText *text);

#endif
