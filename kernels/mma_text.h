/* Products of matrices by mma.sync, or in the same tiles without it (cuda/mma_product.cuh): which tiles are
 * legal, what they cost, and the text of their kernels. */
#ifndef SMELT_KERNELS_MMA_TEXT_H
#define SMELT_KERNELS_MMA_TEXT_H

#include "kernels/sums_text.h"

typedef struct MmaProblem {
    SumsText sums;
    Dim batch, depth;
    DType dtype;   /* f16, bf16, f32 */
    int32_t terms; /* products of TF32 for each one of f32: 1 or 3; 0: without matrix units; else 1 */
    int32_t copy_a, copy_b; /* elements that are copied together */
    bool outer_a, outer_b;  /* the operand's depth is not its innermost dimension */
    bool reads;             /* the epilogue reads something of the result's size */
    int64_t bytes;          /* that must be moved at least */
} MmaProblem;

/* Numbers of a config. */
typedef enum MmaNumber {
    MMA_ROWS,
    MMA_COLS,
    MMA_WARP_ROWS,
    MMA_WARP_COLS,
    MMA_DEPTH,
    MMA_STAGES,
    MMA_SLICES, /* of the depth; more than 1: another launch adds them up */
    MMA_NUMBERS
} MmaNumber;

typedef enum MmaPrecision {
    MMA_AS_STATED,   /* f16 and bf16; f32 as TF32 where the graph says so */
    MMA_THREE_TERMS, /* f32, as accurate as it */
    MMA_PLAIN        /* f32 without matrix units */
} MmaPrecision;

/* Why there is no such instruction for operands of these types, or NULL. */
const char *mma_refuses(const Problem *problem, const Device *device, MmaPrecision precision);
/* What of a MmaProblem follows from the problem, its operands and the precision; the rest is the caller's. */
MmaProblem mma_problem(const Problem *problem, MmaPrecision precision);
/* Elements that can be copied together where all that they begin at is a multiple of `divisor` elements; 0:
 * none, copies are of 4, 8 or 16 bytes. */
int32_t mma_copy(DType dtype, int64_t divisor);

/* All that are legal, the least cost first; at least one. */
int32_t mma_configs(const Problem *problem, const Device *device, const MmaProblem *product,
                    Config out[MOST_CONFIGS]);
/* Microseconds. */
double mma_cost(const Problem *problem, const Device *device, const MmaProblem *product,
                const Config *config);

/* Begins a kernel in which `place` is the tile that a block does (MmaPlace). NULL: out of memory. */
KernelWriter *mma_begin(Emission *emission, const char *family, const MmaProblem *product,
                        const Config *config);
/* The call and the launch; a, b, store: what constructs the operands and the store. store NULL: config has
 * several slices, whose sums lie in scratch memory until mma_add_slices, which follows. */
Status mma_finish(KernelWriter *w, const MmaProblem *product, const Config *config, const char *a,
                  const char *b, const char *store);
/* The launch that adds them up, in a kernel of its own. */
Status mma_add_slices(KernelWriter *w, const MmaProblem *product, const Config *config, const char *store);

/* A tactic of the functions mma_<PRODUCT>_refuses, _configs, _cost and _emit: tactic_<NAME>; what else it has
 * follows. */
#define MMA_TACTIC(PRODUCT, NAME, PRECISION, ...)                                                            \
    static const char *refuses(const Problem *problem, const Device *device) {                               \
        return mma_##PRODUCT##_refuses(problem, device, PRECISION);                                          \
    }                                                                                                        \
    static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {         \
        return mma_##PRODUCT##_configs(problem, device, PRECISION, out);                                     \
    }                                                                                                        \
    static Status emit(const Config *config, const Device *device, Emission *emission) {                     \
        (void)device;                                                                                        \
        return mma_##PRODUCT##_emit(config, PRECISION, #NAME, emission);                                     \
    }                                                                                                        \
    static double cost(const Problem *problem, const Device *device, const Config *config) {                 \
        return mma_##PRODUCT##_cost(problem, device, PRECISION, config);                                     \
    }                                                                                                        \
    const Tactic tactic_##NAME = {.name = #NAME,                                                             \
                                  .strided = true,                                                           \
                                  .refuses = refuses,                                                        \
                                  .configs = configs,                                                        \
                                  .emit = emit,                                                              \
                                  .cost = cost,                                                              \
                                  __VA_ARGS__}

#endif
