/* Convolutions of channels-last tensors on the matrix units that all architectures have. */
#include "kernels/mma_conv.h"

MMA_TACTIC(conv, conv_mma, MMA_AS_STATED, .version = 1);
