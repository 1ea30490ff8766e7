/* What tactics of several convolutions in one step (Problem.middle) share. */
#ifndef SMELT_KERNELS_BLOCK_TEXT_H
#define SMELT_KERNELS_BLOCK_TEXT_H

#include "kernels/conv_text.h"

/* The weights of one of the convolutions. */
const Value *block_weights(const Problem *problem, const Node *node);
/* Why the node is no convolution of images in half precision that kernels can compute, or NULL; how weights
 * lie and windows are not looked at. */
const char *block_conv_refuses(const Problem *problem, const Node *node);
/* Weights of known sizes lie plainly, at a multiple of 16 bytes. */
bool block_weights_are_plain(const Problem *problem, const Node *node);
/* The same as block_conv_refuses, and where the convolution is no product with weights that lie plainly. */
const char *block_product_refuses(const Problem *problem, const Node *node);
/* Why the step's input and results are no packs of channels that kernels read and write straight, or NULL:
 * the input is read as it lies in memory, results go through kernel_pack_epilogue. */
const char *block_packs_refuse(const Problem *problem);

#endif
