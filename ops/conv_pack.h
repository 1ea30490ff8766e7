/* The matrix of windows of an f32 convolution, a block at a time, for the product. */
#ifndef SMELT_OPS_CONV_PACK_H
#define SMELT_OPS_CONV_PACK_H

#include "ops/gemm.h"
#include "ops/window.h"

/* Puts rows [k, k + panels->depth) at outputs [col, col + panels->cols): row k is tap k % taps of channel
 * k / taps. x: the first channel. lines: GEMM_LINES * panels->cols floats. False, and nothing done, where the
 * input that the block covers does not fit there. */
bool conv_pack(const float *x, const Window *window, int64_t k, int64_t col, float *lines,
               const GemmPanels *panels);

#endif
