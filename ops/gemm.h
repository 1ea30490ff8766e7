/* Dense matrix products: C = A B for a batch of equal sizes, with operands read through callbacks, so that
 * convolutions, strided matrices and quantized operands need no copy of their own.
 *
 * Blocking after Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008: a block of B
 * stays in the second-level cache, a panel of A in the first, a tile of C in registers. */
#ifndef SMELT_OPS_GEMM_H
#define SMELT_OPS_GEMM_H

#include "ops/op.h"

/* What a product computes in. Operands of other dtypes are converted by the callbacks. */
typedef enum GemmType { GEMM_F32, GEMM_F64, GEMM_I64 /* wraps */ } GemmType;

typedef struct Gemm {
    GemmType type;
    int64_t batch, m, n, k;
    const void *context; /* of the callbacks */
    /* Elements [k, k + depth) of row `row` of A: a pointer to them, or buffer after filling it. */
    const void *(*row_a)(const void *context, int64_t batch, int64_t row, int64_t k, int64_t depth,
                         void *buffer);
    /* Elements [col, col + cols) of row k of B, likewise. */
    const void *(*row_b)(const void *context, int64_t batch, int64_t k, int64_t col, int64_t cols,
                         void *buffer);
    /* Where not NULL, asked instead of row_b: elements [k, k + depth) of column `col` of B. */
    const void *(*col_b)(const void *context, int64_t batch, int64_t col, int64_t k, int64_t depth,
                         void *buffer);
    /* What C starts from in each of rows [row, row + rows); NULL: zero. */
    void (*start)(const void *context, int64_t batch, int64_t row, int64_t rows, void *values);
    /* C in memory, row-major with rows of n elements, products one after another. */
    void *c;
    bool accumulate; /* C holds what it starts from; `start` is not asked */
    /* Where not NULL, receives finished blocks, rows of ld elements, and c is not used. */
    void (*store)(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols,
                  const void *block, int64_t ld);
} Gemm;

/* F32 for f32, I64 for integers and bool, F64 for other floats. */
GemmType gemm_type_of(DType dtype);

/* For callbacks: count elements of tensor from element `first` on, `step` apart, as elements of that type: a
 * pointer to them where the tensor holds them so, else buffer after filling it. F32: tensor is f32. */
const void *gemm_read(GemmType type, const Tensor *tensor, int64_t first, int64_t step, int64_t count,
                      void *buffer);

/* Bytes of scratch for `threads` workers; SIZE_MAX where that overflows. Looks at type, sizes and store
 * alone. */
size_t gemm_scratch(const Gemm *gemm, int threads);
/* Enough for any product with n, k up to those of gemm. */
size_t gemm_scratch_most(const Gemm *gemm, int threads);
/* Runs on the host's pool with scratch of gemm_scratch for its size; with less, on one thread; INTERNAL where
 * that is too little even so. */
Status gemm_run(const Gemm *gemm, const Host *host, void *scratch, size_t scratch_size, Diag *diag);

#endif
