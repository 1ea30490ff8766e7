/* Sliding windows: what convolutions and pools share. Up to three spatial axes, which follow the batch and
 * channel axes of their input. */
#ifndef SMELT_OPS_WINDOW_H
#define SMELT_OPS_WINDOW_H

#include "ops/op.h"

enum { WINDOW_AXES = 3 };

typedef enum AutoPad { AUTO_PAD_NONE, AUTO_PAD_SAME_UPPER, AUTO_PAD_SAME_LOWER, AUTO_PAD_VALID } AutoPad;

/* The attributes kernel_shape, strides, dilations, pads, auto_pad as written, absent ones defaulted. */
typedef struct WindowAttrs {
    int32_t axes; /* how many the attributes speak of; 0: none says */
    AutoPad auto_pad;
    bool has_kernel;
    int64_t kernel[WINDOW_AXES], stride[WINDOW_AXES], dilation[WINDOW_AXES];
    int64_t pad_begin[WINDOW_AXES], pad_end[WINDOW_AXES];
} WindowAttrs;

/* Whether the attributes say themselves that something lies around the input. */
static inline bool window_has_pads(const WindowAttrs *attrs) {
    for (int axis = 0; attrs->auto_pad == AUTO_PAD_NONE && axis < WINDOW_AXES; ++axis)
        if (attrs->pad_begin[axis] != 0 || attrs->pad_end[axis] != 0) return true;
    return false;
}

/* Numbers of one run: always three axes, those that the input lacks come first and have extent 1. */
typedef struct Window {
    int64_t in[WINDOW_AXES], out[WINDOW_AXES], kernel[WINDOW_AXES];
    int64_t stride[WINDOW_AXES], dilation[WINDOW_AXES];
    int64_t pad[WINDOW_AXES], pad_end[WINDOW_AXES]; /* before the first element, after the last */
    int64_t in_count, out_count, taps;              /* products over the axes */
} Window;

/* Refuses values below 1 (pads: below 0), above 2^30, more than three axes, or counts that disagree. */
Status window_parse(const ParseCtx *ctx, WindowAttrs *out);

/* Checks that input `index` has as many spatial axes as the attributes speak of and one to three at all;
 * *axes is that number. */
Status window_check_axes(InferCtx *ctx, const WindowAttrs *attrs, int32_t index, int32_t *axes);

/* Output extent on spatial axis `axis` for an input extent and a kernel extent. ceil: the last window may
 * pass the end, if it begins in the input or the padding before it. Refuses an exact extent below 1. */
Status window_extent(InferCtx *ctx, const WindowAttrs *attrs, int32_t axis, Dim in, Dim kernel, bool ceil,
                     Dim *out);

/* The numbers for tensors whose dims are known; kernel: `axes` extents. */
Window window_of(const WindowAttrs *attrs, const int64_t *kernel, const Tensor *input, const Tensor *output);

/* The taps [*first, *last) of axis `axis` that fall inside the input for output position `position`. */
static inline void window_taps(const Window *window, int axis, int64_t position, int64_t *first,
                               int64_t *last) {
    int64_t start = position * window->stride[axis] - window->pad[axis], step = window->dilation[axis];
    *first = start < 0 ? (-start + step - 1) / step : 0;
    *last = start >= window->in[axis] ? 0 : (window->in[axis] - start + step - 1) / step;
    if (*last > window->kernel[axis]) *last = window->kernel[axis];
    if (*last < *first) *last = *first;
}

#endif
