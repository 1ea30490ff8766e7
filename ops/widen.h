/* Kernels of f16 and bf16 by way of f32: products of such elements are exact there, and its sums are those of
 * the GPU. Operands are converted once, into scratch, where the kernel for f32 has its fast paths. */
#ifndef SMELT_OPS_WIDEN_H
#define SMELT_OPS_WIDEN_H

#include "ops/op.h"

/* Bytes of scratch for the kernel and, where operands are of a 16-bit type, for their copies. */
size_t widen_scratch(const KernelCtx *ctx, OpScratch scratch);
/* Runs the kernel on copies where operands are of a 16-bit type and there is scratch for them, else as it is.
 * For operators whose output sizes are known. */
Status widen_run(KernelCtx *ctx, OpKernel kernel);

#endif
