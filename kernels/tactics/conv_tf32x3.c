/* Convolutions of FP32 as three products of TF32, which are as accurate, on matrix units. */
#include "kernels/mma_conv.h"

MMA_TACTIC(conv, conv_tf32x3, MMA_THREE_TERMS, .version = 1, .optional = true, .f32_layout = true);
