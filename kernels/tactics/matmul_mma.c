/* Matrix products on the matrix units that all architectures have. */
#include "kernels/mma_matmul.h"

static const char *refuses(const Problem *problem, const Device *device) {
    return mma_matmul_refuses(problem, device, MMA_AS_STATED);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    return mma_matmul_configs(problem, device, MMA_AS_STATED, out);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    (void)device;
    return mma_matmul_emit(config, MMA_AS_STATED, "matmul_mma", emission);
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    return mma_matmul_cost(problem, device, MMA_AS_STATED, config);
}

const Tactic tactic_matmul_mma = {.name = "matmul_mma",
                                  .version = 1,
                                  .strided = true,
                                  .refuses = refuses,
                                  .configs = configs,
                                  .emit = emit,
                                  .cost = cost};
