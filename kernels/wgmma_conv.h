/* What the tactics of convolutions on sm_90a's matrix units share. */
#ifndef SMELT_KERNELS_WGMMA_CONV_H
#define SMELT_KERNELS_WGMMA_CONV_H

#include "kernels/conv_product.h"
#include "kernels/wgmma_text.h"

/* Why the copy engine cannot read the operands of a convolution, or NULL; windows are not looked at. *conv is
 * described where the anchor is a Conv of known shapes. */
const char *wgmma_conv_refuses(const Problem *problem, ConvText *conv);
/* Rows are windows, columns output channels. */
WgmmaProblem wgmma_conv_product(const Problem *problem, const ConvText *conv);
/* As (channel, tap, output channel), boxes of depth x 1 x cols; or spread: with channel and tap in one. */
KernelMap wgmma_conv_weights(const Emission *emission, const ConvText *conv, int32_t depth, int32_t cols,
                             bool spread);

#endif
