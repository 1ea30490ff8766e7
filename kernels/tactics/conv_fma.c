/* Convolutions of channels-last tensors of FP32, not rounded, without matrix units. */
#include "kernels/mma_conv.h"

MMA_TACTIC(conv, conv_fma, MMA_PLAIN, .version = 1, .f32_layout = true);
