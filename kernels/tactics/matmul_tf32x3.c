/* Matrix products of FP32 as three products of TF32, which are as accurate, on matrix units. */
#include "kernels/mma_matmul.h"

MMA_TACTIC(matmul, matmul_tf32x3, MMA_THREE_TERMS, .version = 2, .optional = true);
