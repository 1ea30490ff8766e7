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
/* All-late shape of a given rank; stem names the symbols. */
void kit_late_shape(InferCtx *ctx, int32_t rank, const char *stem, Shape *out);

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

/* Row-major strides in elements. */
void kit_strides(int32_t rank, const int64_t *dims, int64_t *strides);
/* Strides of `from` seen through the broadcast shape (rank, dims): 0 where it repeats. */
void kit_broadcast_strides(const Tensor *from, int32_t rank, int64_t *strides);

#endif
