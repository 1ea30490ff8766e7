/* What several operator files share: shapes during inference, indices during runs. Not for other folders. */
#ifndef SMELT_OPS_KIT_H
#define SMELT_OPS_KIT_H

#include "base/checked.h"
#include "ops/op.h"

/* -- inference -- */

/* A shape-like integer input (target shape, pads, starts, ...) as Dims: from its data, else its content.
 * *known is false when neither is there; then only *count (elements; -1 if even that is late) is set. Fails
 * when it is not a 0-D or 1-D integer tensor or has more than capacity elements. A missing input (NULL) gives
 * count 0, known. `what` names it in messages ("shape"). */
Status kit_dims_of(InferCtx *ctx, const TypeInfo *input, const char *what, int32_t capacity, Dim *dims,
                   int32_t *count, bool *known);

/* The same for a single element; fails when there is none. */
Status kit_dim_of(InferCtx *ctx, const TypeInfo *input, const char *what, Dim *out, bool *known);

/* The same where every element must be an exact number now; *known false otherwise (late at build time, never
 * at run time). */
Status kit_ints_of(InferCtx *ctx, const TypeInfo *input, const char *what, int32_t capacity, int64_t *values,
                   int32_t *count, bool *known);

/* Normalizes axis in [-rank, rank) to [0, rank); fails naming both ("axis 4 is outside rank 4"). */
Status kit_axis(int64_t axis, int32_t rank, int32_t *out, Diag *diag);
/* Marks each of the (possibly negative) axes; refuses repeats. */
Status kit_axes(const int64_t *axes, int32_t count, int32_t rank, bool marked[SMELT_MAX_RANK], Diag *diag);

/* Numpy broadcasting of two shapes; fails when exact dims disagree ("shapes [2,3] and [4] do not broadcast").
 * a and out may alias. */
Status kit_broadcast(InferCtx *ctx, const Shape *a, const Shape *b, Shape *out);

/* The input broadcasts to `to` without changing it, as far as dims are exact. */
Status kit_expect_broadcasts_to(InferCtx *ctx, int32_t input, const Shape *to);

Status kit_expect_rank(InferCtx *ctx, int32_t input, int32_t low,
                       int32_t high); /* "input 1 has rank 5, expected 1 to 3" */
Status kit_expect_dtype_like(InferCtx *ctx, int32_t input,
                             int32_t like); /* both inputs have the same dtype */
Status kit_expect_float(InferCtx *ctx, int32_t input);
/* Output 0 has the dtype and shape of input 0. */
Status kit_infer_same(InferCtx *ctx);
/* Element of a constant scalar input as double / int64; *known false when it has no data. */
Status kit_scalar_f64(InferCtx *ctx, int32_t input, double *out, bool *known);
Status kit_scalar_i64(InferCtx *ctx, int32_t input, int64_t *out, bool *known);
/* The dimension that two equal ones are: fails where both are exact and differ ("what: 3 and 4 differ"), else
 * gives the exact one or the first. */
Status kit_same_dim(InferCtx *ctx, Dim a, Dim b, const char *what, Dim *out);
/* Fails for an exact negative dimension, named by what. */
Status kit_check_dim(InferCtx *ctx, Dim dim, const char *what);
/* An output whose rank is the extent of a shape-like input (count as kit_dims_of gave it): all-late dims.
 * Fails with UNSUPPORTED where even the extent is unknown. */
Status kit_late_by_count(InferCtx *ctx, int32_t count, const char *what, Shape *out);
/* All-late shape of a given rank; stem names the symbols. */
void kit_late_shape(InferCtx *ctx, int32_t rank, const char *stem, Shape *out);

/* A fresh late dimension that never exceeds the largest value of `most`. */
Dim kit_late_at_most(InferCtx *ctx, const char *stem, Dim most);

static inline const TypeInfo *infer_input(const InferCtx *ctx, int32_t i) {
    return i < ctx->input_count ? ctx->inputs[i] : NULL;
}

/* -- attributes -- */

/* For operators without attributes: *attrs = NULL. */
Status kit_parse_none(const ParseCtx *ctx, const void **attrs);

/* -- kernels -- */

static inline const Tensor *kernel_input(const KernelCtx *ctx, int32_t i) {
    return i < ctx->input_count ? ctx->inputs[i] : NULL;
}
static inline Tensor *kernel_result(const KernelCtx *ctx, int32_t i) {
    return i < ctx->output_count ? ctx->outputs[i] : NULL;
}

/* Gives an output whose size only the kernel knows its dims and memory. Where inference already knew them,
 * only checks that they agree (BAD_DATA). */
Status kit_late_output(KernelCtx *ctx, int32_t index, int32_t rank, const int64_t *dims);
/* Threads that a kernel may run on, the caller's included. */
int kit_worker_count(const KernelCtx *ctx);
/* Scratch where each worker needs `bytes` of its own (worker i: from i * bytes on): what to ask for, and the
 * pool to use with what was given: NULL where it does for the calling thread only. */
size_t kit_worker_scratch(const KernelCtx *ctx, size_t bytes);
ThreadPool *kit_worker_pool(const KernelCtx *ctx, size_t bytes);
/* The elements of an integer tensor (at most capacity of them); returns how many. NULL: 0. */
int32_t kit_read_ints(const Tensor *tensor, int64_t *values, int32_t capacity);
/* One index of an index tensor, fast for i64 and i32. */
static inline int64_t kit_index(const Tensor *tensor, int64_t i) {
    if (tensor->dtype == DTYPE_I64) return ((const int64_t *)tensor->data)[i];
    if (tensor->dtype == DTYPE_I32) return ((const int32_t *)tensor->data)[i];
    return dtype_load_i64(tensor->dtype, tensor->data, i);
}

/* One element of a tensor as a real number, fast for f32, and the way back. */
static inline double kit_real(const Tensor *tensor, int64_t i) {
    if (tensor->dtype == DTYPE_F32) return (double)((const float *)tensor->data)[i];
    return dtype_load_f64(tensor->dtype, tensor->data, i);
}
static inline void kit_set_real(const Tensor *tensor, int64_t i, double value) {
    if (tensor->dtype == DTYPE_F32)
        ((float *)tensor->data)[i] = (float)value;
    else
        dtype_store_f64(tensor->dtype, tensor->data, i, value);
}

/* Row-major strides in elements. */
void kit_strides(int32_t rank, const int64_t *dims, int64_t *strides);
/* Strides of `from` seen through the broadcast shape (rank, dims): 0 where it repeats. */
void kit_broadcast_strides(const Tensor *from, int32_t rank, int64_t *strides);

#endif
