/* Moving elements of any type without looking at them: the loops that all data movement shares.
 *
 * Elements of fewer than 8 bits are moved as raw bits, one by one; all others as bytes. */
#ifndef SMELT_OPS_STRIDED_H
#define SMELT_OPS_STRIDED_H

#include "ops/op.h"

enum { STRIDED_MAX_RANK = 2 * SMELT_MAX_RANK };

/* A box of elements that is copied from one strided tensor to another, which must not overlap but where each
 * element lies where it goes, as parts that were made in their place do: those are left alone.
 * Zero-initialise and add dimensions, slowest first. */
typedef struct StridedCopy {
    DType dtype;
    int32_t rank;
    int64_t dim[STRIDED_MAX_RANK];
    int64_t from_stride[STRIDED_MAX_RANK], to_stride[STRIDED_MAX_RANK]; /* elements; `from` may be <= 0 */
    const void *from;
    void *to;
    int64_t from_offset, to_offset; /* elements; where the box's first element is */
} StridedCopy;

static inline void strided_add(StridedCopy *copy, int64_t dim, int64_t from_stride, int64_t to_stride) {
    copy->dim[copy->rank] = dim;
    copy->from_stride[copy->rank] = from_stride;
    copy->to_stride[copy->rank++] = to_stride;
}

/* Runs the copy. Large ones are split over pool (may be NULL). Takes time linear in the elements, blocked for
 * the cache where the fastest dimension differs between the two sides. */
void strided_copy(const StridedCopy *copy, ThreadPool *pool);

/* Copies count elements from index from_index to index to_index. */
void elements_copy(DType dtype, void *to, int64_t to_index, const void *from, int64_t from_index,
                   int64_t count);
/* Copies one element of `bits` bits; fast for whole bytes. */
static inline void element_copy(int bits, DType dtype, void *to, int64_t to_index, const void *from,
                                int64_t from_index) {
    switch (bits) {
    case 8:
        ((uint8_t *)to)[to_index] = ((const uint8_t *)from)[from_index];
        break;
    case 16:
        ((uint16_t *)to)[to_index] = ((const uint16_t *)from)[from_index];
        break;
    case 32:
        ((uint32_t *)to)[to_index] = ((const uint32_t *)from)[from_index];
        break;
    case 64:
        ((uint64_t *)to)[to_index] = ((const uint64_t *)from)[from_index];
        break;
    default:
        elements_copy(dtype, to, to_index, from, from_index, 1);
        break;
    }
}

/* Sets count elements from index first on to element `index` of value; value NULL: all bits zero. */
void elements_fill(DType dtype, void *to, int64_t first, int64_t count, const void *value, int64_t index);

/* The pool that writers of single elements may use: none for types whose elements share bytes. */
static inline ThreadPool *element_pool(const KernelCtx *ctx, DType dtype) {
    return dtype_bits(dtype) < 8 ? NULL : ctx->host->pool;
}

/* Whole tensors of equal byte size, as views need when they could not share memory; large ones over pool. */
void tensor_copy_bytes(const Tensor *from, Tensor *to, ThreadPool *pool);

#endif
