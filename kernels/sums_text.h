/* What becomes of the sums of a product on matrix units (cuda/sums.cuh), as text. */
#ifndef SMELT_KERNELS_SUMS_TEXT_H
#define SMELT_KERNELS_SUMS_TEXT_H

#include "kernels/emit_writer.h"
#include "kernels/tactic.h"

/* The products of a batch: each has rows x cols sums. */
typedef struct SumsText {
    Dim rows, cols;
    int64_t groups; /* more than 1: the batch's products are groups of columns of one result */
    Dim pixels;     /* rows of each image where the result's columns are planes of them, else 0 */
} SumsText;

/* What a step reads and writes at least, at the symbols' opt values. */
int64_t problem_bytes(const Problem *problem);

/* What is added to the sums of a column: "SumScale<smelt_half, true>{0x1p+0f, 0x1p+0f, p2, 64}". c has an
 * element for each of `cols` columns or is NONE. packs: whatever begins at a multiple of 8 columns begins at
 * one of c. */
const char *sum_scale(KernelWriter *w, float alpha, float beta, ValueId c, Dim cols, bool packs);
/* What constructs the store, which declares the epilogue. finish: what constructs the SumScale. */
const char *sum_store(KernelWriter *w, const SumsText *sums, const char *finish);
/* Whether 8 neighbouring columns are neighbours in memory, too. */
bool sums_are_packs(const Problem *problem, const SumsText *sums);

#endif
