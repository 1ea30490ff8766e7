/* Batches of matrix products by mma.sync: the functions of their tactics. */
#ifndef SMELT_KERNELS_MMA_MATMUL_H
#define SMELT_KERNELS_MMA_MATMUL_H

#include "kernels/mma_text.h"

const char *mma_matmul_refuses(const Problem *problem, const Device *device, MmaPrecision precision);
int32_t mma_matmul_configs(const Problem *problem, const Device *device, MmaPrecision precision,
                           Config out[MOST_CONFIGS]);
double mma_matmul_cost(const Problem *problem, const Device *device, MmaPrecision precision,
                       const Config *config);
/* family: of the entries' names. */
Status mma_matmul_emit(const Config *config, MmaPrecision precision, const char *family, Emission *emission);

/* A tactic of these functions: tactic_<NAME>; what else it has follows. */
#define MMA_MATMUL_TACTIC(NAME, PRECISION, ...)                                                              \
    static const char *refuses(const Problem *problem, const Device *device) {                               \
        return mma_matmul_refuses(problem, device, PRECISION);                                               \
    }                                                                                                        \
    static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {         \
        return mma_matmul_configs(problem, device, PRECISION, out);                                          \
    }                                                                                                        \
    static Status emit(const Config *config, const Device *device, Emission *emission) {                     \
        (void)device;                                                                                        \
        return mma_matmul_emit(config, PRECISION, #NAME, emission);                                          \
    }                                                                                                        \
    static double cost(const Problem *problem, const Device *device, const Config *config) {                 \
        return mma_matmul_cost(problem, device, PRECISION, config);                                          \
    }                                                                                                        \
    const Tactic tactic_##NAME = {.name = #NAME,                                                             \
                                  .strided = true,                                                           \
                                  .refuses = refuses,                                                        \
                                  .configs = configs,                                                        \
                                  .emit = emit,                                                              \
                                  .cost = cost,                                                              \
                                  __VA_ARGS__}

#endif
