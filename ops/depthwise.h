/* Depthwise convolution in one or two dimensions, f32: one input channel per group. */
#ifndef SMELT_OPS_DEPTHWISE_H
#define SMELT_OPS_DEPTHWISE_H

#include "ops/window.h"

typedef struct Depthwise {
    const float *x, *w, *bias; /* bias may be NULL */
    float *y;
    int64_t planes;     /* batch x channels of x */
    int64_t channels;   /* of x */
    int64_t multiplier; /* output channels per input channel */
    Window window;
} Depthwise;

/* Whether the kernel below takes this window, and at a bounded cost in scratch. */
bool depthwise_fits(const Window *window);
/* Bytes of scratch of one worker. */
size_t depthwise_scratch(const Window *window);
/* scratch: that much for each thread of the pool. */
void depthwise_run(const Depthwise *conv, ThreadPool *pool, void *scratch);

#endif
