/* Matrix products on the matrix units that all architectures have. */
#include "kernels/mma_matmul.h"

MMA_TACTIC(matmul, matmul_mma, MMA_AS_STATED, .version = 2);
