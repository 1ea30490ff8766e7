/* Matrix products of FP32, not rounded, without matrix units. */
#include "kernels/mma_matmul.h"

MMA_MATMUL_TACTIC(matmul_fma, MMA_PLAIN, .version = 1);
