/* Dense matrix products: C = A B for a batch of equal sizes, with operands read through callbacks, so that
 * convolutions, strided matrices and quantized operands need no copy of their own.
 *
 * Blocking after Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008: a block of B
 * stays in the second-level cache, a panel of A in the first, a tile of C in registers. */
#ifndef SMELT_OPS_GEMM_H
#define SMELT_OPS_GEMM_H

#include <string.h>

#include "ops/op.h"

/* What a product computes in. Operands of other dtypes are converted by the callbacks. */
typedef enum GemmType { GEMM_F32, GEMM_F64, GEMM_I64 /* wraps */ } GemmType;

/* Where a block of B goes: panels of 3 vectors, the last as narrow as its columns allow and filled up with
 * zeros; a few odd columns after the last whole vector stand on their own, each `depth` elements. */
typedef struct GemmPanels {
    char *data;
    int64_t depth, cols;         /* of the block */
    int64_t lanes;               /* elements of a vector */
    size_t element;              /* bytes */
    int64_t whole, partial, odd; /* columns in full panels, in the last one, and on their own */
} GemmPanels;

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
    /* Where not NULL, asked instead of both: puts all rows [k, k + panels->depth) of the block of B that
     * begins at column `col` with gemm_put_row. lines: room for GEMM_LINES rows of panels->cols elements. */
    void (*pack_b)(const void *context, int64_t batch, int64_t k, int64_t col, void *lines,
                   const GemmPanels *panels);
    /* What C starts from in each of rows [row, row + rows); NULL: zero. */
    void (*start)(const void *context, int64_t batch, int64_t row, int64_t rows, void *values);
    /* C in memory, row-major with rows of n elements, products one after another. */
    void *c;
    bool accumulate; /* C holds what it starts from; `start` is not asked */
    /* Where not NULL, receives finished blocks, rows of ld elements, and c is not used. */
    void (*store)(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols,
                  const void *block, int64_t ld);
} Gemm;

enum { GEMM_LINES = 8 };

/* Copies a panel's part of a row: 192, 96 or 48 bytes, whose copies of known size need no call. */
static inline void gemm_copy(char *to, const char *from, size_t bytes) {
    if (bytes == 192)
        memcpy(to, from, 192);
    else if (bytes == 96)
        memcpy(to, from, 96);
    else
        memcpy(to, from, bytes);
}

/* Puts row i of the block, cols elements. */
static inline void gemm_put_row(const GemmPanels *panels, int64_t i, const void *row) {
    const char *from = row;
    char *panel = panels->data;
    int64_t width = 3 * panels->lanes;
    size_t element = panels->element, bytes = (size_t)width * element;
    for (int64_t j = 0; j < panels->whole; j += width) {
        gemm_copy(panel + (size_t)i * bytes, from, bytes);
        from += bytes;
        panel += (size_t)panels->depth * bytes;
    }
    if (panels->partial > 0) {
        int64_t step = (panels->partial + panels->lanes - 1) / panels->lanes * panels->lanes;
        char *to = panel + (size_t)(i * step) * element;
        size_t used = (size_t)panels->partial * element;
        memcpy(to, from, used);
        memset(to + used, 0, (size_t)step * element - used);
        from += used;
        panel += (size_t)(panels->depth * step) * element;
    }
    for (int64_t j = 0; j < panels->odd; ++j, from += element)
        memcpy(panel + (size_t)(j * panels->depth + i) * element, from, element);
}

/* F32 for f32, I64 for integers and bool, F64 for other floats. */
GemmType gemm_type_of(DType dtype);

/* For callbacks: count elements of tensor from element `first` on, `step` apart, as elements of that type: a
 * pointer to them where the tensor holds them so, else buffer after filling it. F32: tensor is f32. */
const void *gemm_read(GemmType type, const Tensor *tensor, int64_t first, int64_t step, int64_t count,
                      void *buffer);

/* For start callbacks: count elements of bias, of any float type, from element `first` on as elements of F32
 * or F64. */
void gemm_read_bias(GemmType type, const Tensor *bias, int64_t first, int64_t count, void *values);

/* Bytes of scratch for `threads` workers; SIZE_MAX where that overflows. Looks at type, sizes and store
 * alone. */
size_t gemm_scratch(const Gemm *gemm, int threads);
/* Enough for any product like gemm with smaller m or n; with store, also for smaller k. */
size_t gemm_scratch_most(const Gemm *gemm, int threads);
/* Runs on the host's pool with scratch of gemm_scratch for its size; with less, on one thread; INTERNAL where
 * that is too little even so. */
Status gemm_run(const Gemm *gemm, const Host *host, void *scratch, size_t scratch_size, Diag *diag);

#endif
