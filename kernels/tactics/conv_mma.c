/* Convolutions of channels-last tensors on the matrix units that all architectures have. */
#include "kernels/mma_conv.h"

static const char *refuses(const Problem *problem, const Device *device) {
    return mma_conv_refuses(problem, device, MMA_AS_STATED);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    return mma_conv_configs(problem, device, MMA_AS_STATED, out);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    (void)device;
    return mma_conv_emit(config, MMA_AS_STATED, "conv_mma", emission);
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    return mma_conv_cost(problem, device, MMA_AS_STATED, config);
}

const Tactic tactic_conv_mma = {.name = "conv_mma",
                                .version = 1,
                                .strided = true,
                                .refuses = refuses,
                                .configs = configs,
                                .emit = emit,
                                .cost = cost};
