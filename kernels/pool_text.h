/* Pools as arguments of device code (cuda/pool.cuh, cuda/conv_pool.cuh). */
#ifndef SMELT_KERNELS_POOL_TEXT_H
#define SMELT_KERNELS_POOL_TEXT_H

#include "kernels/window_text.h"
#include "ops/pool.h"

enum { POOL_MOST_TAPS = 64 /* elements of a window that a tile of results takes, or a warp at once */ };

/* "MaxOf<float>", for elements that are computed with in `type`. */
const char *pool_type_text(KernelWriter *w, const Node *node, const char *type);

/* Why kernels of the anchor, a convolution, cannot do the pool behind it; NULL where they can, and where
 * there is none. */
const char *pool_behind_refuses(const Problem *problem);
/* Elements of its window. 1: there is none. */
int64_t pool_behind_taps(const Problem *problem);
/* Threads that divide a window among themselves where each window is done by itself. */
int32_t pool_behind_team(const Problem *problem);
/* "pool_behind<MaxOf<float>>(Window{...}, Numbering<false>{...}, Between{...})", which declares Between. */
const char *pool_behind_text(KernelWriter *w);

#endif
