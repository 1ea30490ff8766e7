/* A tensor in host memory: dense, row-major, no strides. */
#ifndef SMELT_BASE_TENSOR_H
#define SMELT_BASE_TENSOR_H

#include "base/dim.h"
#include "base/dtype.h"

typedef struct Tensor {
    DType dtype;
    int32_t rank;
    int64_t dim[SMELT_MAX_RANK];
    void *data; /* dtype_storage bytes; owner depends on where it came from */
} Tensor;

/* Product of the dims; 1 for rank 0. Sizes of tensors that exist have been checked and cannot overflow. */
int64_t tensor_count(const Tensor *tensor);
size_t tensor_bytes(const Tensor *tensor);
/* Product of dims [first, last). */
int64_t tensor_span(const Tensor *tensor, int32_t first, int32_t last);
bool tensor_same_shape(const Tensor *a, const Tensor *b);
/* Bytes of a tensor with these dims. False where one is negative, or elements or bytes are more than 2^63;
 * zeros count as one in that, so that every span of dims fits whatever the order of the factors. */
bool dims_storage(DType dtype, int32_t rank, const int64_t *dims, size_t *bytes);
/* Checks rank, dims >= 0 and that the bytes fit in limit; sets the fields but not data. Fails with BAD_DATA.
 */
Status tensor_describe(Tensor *tensor, DType dtype, int32_t rank, const int64_t *dims, size_t limit,
                       Diag *diag);
/* "f32[1,3,224,224]" into buffer. */
void tensor_format(const Tensor *tensor, char *buffer, size_t size);

#endif
