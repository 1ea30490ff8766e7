/* Convolutions of channels-last tensors as products on matrix units: what their tactics share. Rows are
 * windows, columns output channels, of each group. */
#ifndef SMELT_KERNELS_CONV_PRODUCT_H
#define SMELT_KERNELS_CONV_PRODUCT_H

#include "kernels/conv_text.h"
#include "kernels/sums_text.h"

/* Why the operands of a convolution do not lie as matrix units read them, or NULL; types, groups and windows
 * are not looked at. width: elements of which channels and strides are multiples. *conv is described where
 * the anchor is a Conv of known shapes. */
const char *conv_product_refuses(const Problem *problem, int32_t width, ConvText *conv);
int32_t conv_axes(const Problem *problem, const ConvText *conv); /* spatial ones */
SumsText conv_sums(const Problem *problem, const ConvText *conv);
const char *conv_scale(KernelWriter *w, const ConvText *conv);
/* Whether the epilogue reads something of the result's size. */
bool conv_reads(const Problem *problem, const ConvText *conv);
/* Whether a kernel can leave moments of the result: it stores sums as they are, and sizes are known. */
bool conv_has_moments(const Problem *problem, const ConvText *conv);
/* Weights are constants that are turned to (output channel, tap, channel) when the plan is made; others lie
 * so already. */
bool conv_turns_weights(const Problem *problem, const ConvText *conv);

#endif
