/* What the tactics of convolutions on sm_90a's matrix units share. */
#ifndef SMELT_KERNELS_WGMMA_CONV_H
#define SMELT_KERNELS_WGMMA_CONV_H

#include "kernels/conv_product.h"
#include "kernels/wgmma_text.h"

/* Why the copy engine cannot read the operands of a convolution, or NULL; windows are not looked at. *conv is
 * described where the anchor is a Conv of known shapes. */
const char *wgmma_conv_refuses(const Problem *problem, ConvText *conv);
/* The same, and where it is not one of halves, in one group, with strides up to most_stride and known sizes:
 * what is copied in boxes of neighbours for several taps. */
const char *wgmma_conv_boxes_refuse(const Problem *problem, int32_t most_stride, ConvText *conv);
/* Its input as (channel, place, line, plane, image), in boxes of depth x box[2] x box[1] x box[0] x 1: which
 * axis of the window goes through planes, lines and places, and what of it a box has. */
KernelMap wgmma_conv_boxes(const Emission *emission, const ConvText *conv, int32_t depth,
                           const int32_t axis[WINDOW_AXES], const int32_t box[WINDOW_AXES]);
enum { WGMMA_MOST_BOX = 256 /* along a dimension */ };
/* Rows are windows, columns output channels. */
WgmmaProblem wgmma_conv_product(const Problem *problem, const ConvText *conv);
/* As (channel, tap, output channel), boxes of depth x 1 x cols; or spread (WgmmaTile's number): with channel
 * and tap in one. */
KernelMap wgmma_conv_weights(const Emission *emission, const ConvText *conv, int32_t depth, int32_t cols,
                             int32_t spread);

#endif
