/* ConvTranspose whose windows lie side by side (kernel = stride) as one product on matrix units: the input's
 * places, as rows, with the weights of all taps; the sums of a row are scattered. */
#ifndef SMELT_KERNELS_TRANSPOSED_PRODUCT_H
#define SMELT_KERNELS_TRANSPOSED_PRODUCT_H

#include "kernels/sums_text.h"

typedef struct TransposedProduct {
    ValueId x, w, bias;  /* w: its taps are wanted outside of its output channels; bias may be NONE */
    Dim rows;            /* places of all images, place_stride elements apart */
    int64_t cols, depth; /* taps * output channels; channels */
    int64_t outputs;     /* channels */
    int64_t place_stride;
    bool reads; /* the epilogue reads something of the result's size */
} TransposedProduct;

/* Why it is none, or NULL. width: elements of which channels and strides are multiples. */
const char *transposed_product_describe(const Problem *problem, int32_t width, TransposedProduct *out);
/* What constructs the store, which declares the epilogue. */
const char *transposed_product_store(KernelWriter *w, const TransposedProduct *product);

#endif
