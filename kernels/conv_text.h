/* Conv, ConvInteger and QLinearConv as arguments of device code (cuda/conv.cuh). */
#ifndef SMELT_KERNELS_CONV_TEXT_H
#define SMELT_KERNELS_CONV_TEXT_H

#include "kernels/pool_text.h"
#include "ops/conv.h"

/* What a convolution reads, NONE where it has no such input, and its sizes. */
typedef struct ConvText {
    ValueId x, w, bias, x_zero, w_zero, y_zero, x_scale, w_scale, y_scale;
    WindowDims window;
    int64_t groups;
    Dim batch, channels, outputs; /* the latter two of a group */
    const char *type;             /* that sums are computed in */
} ConvText;

/* Why the anchor is no convolution that device code can compute, or NULL. */
const char *conv_refuses(const Problem *problem);
/* The same, but for how weights and the like lie and what quantizers are. */
const char *conv_shapes_refuse(const Problem *problem);
ConvText conv_describe(const Problem *problem);
/* "ConvSizes{8, 1, 64, 64}" */
const char *conv_sizes_text(KernelWriter *w, Dim batch, int64_t groups, Dim channels, Dim outputs);
/* Arguments of conv_direct and its like, in order: the tensors, strides, window, sizes and zero points; sizes
 * alone; how results are numbered and what becomes of the sums, which declares the epilogue. */
const char *conv_operands(KernelWriter *w, const ConvText *conv);
const char *conv_sizes(KernelWriter *w, const ConvText *conv);
const char *conv_results(KernelWriter *w, const ConvText *conv);
/* "", or behind them for kernels that pool: ", pool_behind<...>(...)", which declares what is in front of it.
 */
const char *conv_pool(KernelWriter *w);
/* "AddBias<float>{p2}" or "PlainSum{}" */
const char *bias_text(KernelWriter *w, ValueId bias);

#endif
