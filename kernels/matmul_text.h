/* MatMul, Gemm, MatMulInteger and QLinearMatMul as arguments of device code (cuda/matmul.cuh). */
#ifndef SMELT_KERNELS_MATMUL_TEXT_H
#define SMELT_KERNELS_MATMUL_TEXT_H

#include "kernels/access.h"
#include "kernels/window_text.h"

/* A batch of matrices. See MatrixLines. */
typedef struct MatrixText {
    ValueId value, zero, scale; /* NONE where it has none */
    Dim lines, line_stride, step;
    Shape batch;                /* extents of its own batch axes */
    Dim stride[SMELT_MAX_RANK]; /* of the value's axes in memory, the batch's first */
} MatrixText;

typedef struct ProductText {
    MatrixText a, b;
    ValueId y_scale, y_zero;
    Dim rows, cols, depth;
    Shape batch;      /* of the products */
    const char *type; /* that sums are computed in */
} ProductText;

/* Why the anchor is no product that device code can compute, or NULL. */
const char *product_refuses(const Problem *problem);
ProductText product_describe(const Problem *problem);
/* Index of the first element of the operand's matrix for the product with this number (text). */
const char *product_matrix_place(KernelWriter *w, const ProductText *product, const MatrixText *matrix,
                                 const char *number);
/* Writes the lines of the kernel that declare the operands `a` and `b` of product `batch`; begin: in front of
 * them which product it is. */
void product_operands(KernelWriter *w, const ProductText *product);
void product_begin(KernelWriter *w, const ProductText *product);
/* The left operand of a block that reads `count` of its lines from `first` (text) on: "a", or "normal" where
 * they are normalised, behind the lines of the kernel that do so. */
const char *product_left(KernelWriter *w, const ProductText *product, int32_t count, const char *first);
/* The object that stores the results of product `batch`; of any product, where the operator has no quantizers
 * ("matrix_store(batch, ...)", "make_matrix_store(...)"). Declares the epilogue. */
const char *product_store(KernelWriter *w, const ProductText *product);
const char *product_make_store(KernelWriter *w, const ProductText *product);
/* Grid for blocks_x blocks of each product. */
Status product_finish(KernelWriter *w, const ProductText *product, Dim blocks_x, int32_t threads);

#endif
