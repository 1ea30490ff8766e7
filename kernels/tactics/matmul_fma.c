/* Matrix products of FP32, not rounded, without matrix units. */
#include "kernels/mma_matmul.h"

MMA_TACTIC(matmul, matmul_fma, MMA_PLAIN, .version = 2);
