/* Matrix products of FP32 as three products of TF32, which are as accurate, on matrix units. */
#include "kernels/mma_matmul.h"

static const char *refuses(const Problem *problem, const Device *device) {
    return mma_matmul_refuses(problem, device, MMA_THREE_TERMS);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    return mma_matmul_configs(problem, device, MMA_THREE_TERMS, out);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    (void)device;
    return mma_matmul_emit(config, MMA_THREE_TERMS, "matmul_tf32x3", emission);
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    return mma_matmul_cost(problem, device, MMA_THREE_TERMS, config);
}

const Tactic tactic_matmul_tf32x3 = {.name = "matmul_tf32x3",
                                     .version = 1,
                                     .strided = true,
                                     .optional = true,
                                     .refuses = refuses,
                                     .configs = configs,
                                     .emit = emit,
                                     .cost = cost};
