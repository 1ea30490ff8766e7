/* Convolutions of channels-last tensors as products by mma.sync: the functions of their tactics. */
#ifndef SMELT_KERNELS_MMA_CONV_H
#define SMELT_KERNELS_MMA_CONV_H

#include "kernels/mma_text.h"

const char *mma_conv_refuses(const Problem *problem, const Device *device, MmaPrecision precision);
int32_t mma_conv_configs(const Problem *problem, const Device *device, MmaPrecision precision,
                         Config out[MOST_CONFIGS]);
double mma_conv_cost(const Problem *problem, const Device *device, MmaPrecision precision,
                     const Config *config);
/* family: of the entries' names. */
Status mma_conv_emit(const Config *config, MmaPrecision precision, const char *family, Emission *emission);

#endif
