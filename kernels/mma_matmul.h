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

#endif
