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
/* Where the counts of so many parts with moments of so many channels begin (Emission.leaves_parts), and where
 * they end, in bytes. */
int64_t moment_counts_at(int64_t parts, int64_t channels);
int64_t moment_bytes(int64_t parts, int64_t channels);
/* What a product's kernel does besides: "NoMoments{}", or "MomentParts{s0, s1, 64, false}" where the emission
 * leaves moments of `batch` entries. each: see there (cuda/sum_moments.cuh). */
const char *sum_moments(KernelWriter *w, int64_t batch, int64_t cols, bool each);
/* Parts of each entry with so many tiles of rows, or of the launch's blocks; 0: more than are merged fast. */
int64_t sum_moment_parts(int64_t tiles, int64_t blocks, bool each);
/* Bytes of shared memory that it takes, and whether threads have registers for it that have the sums of
 * `pieces` times 64 rows and of cols columns, with so many blocks on a multiprocessor. */
int32_t sum_moments_shared(void);
bool sum_moments_fit(int32_t pieces, int32_t cols, int32_t resident);
/* Whether 8 neighbouring columns are neighbours in memory, too. */
bool sums_are_packs(const Problem *problem, const SumsText *sums);

#endif
