/* MaxUnpool: puts each element back where MaxPool took it from. Indices count elements of the tensor that the
 * pooling attributes give; an explicit output shape adds zeros after it. */
#include <string.h>

#include "ops/kit.h"
#include "ops/strided.h"
#include "ops/window.h"

Status parse_MaxUnpool(const ParseCtx *ctx, const void **attrs) {
    WindowAttrs *own = ARENA_NEW(ctx->arena, WindowAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(window_parse(ctx, own));
    if (!own->has_kernel) return FAIL(ctx->diag, STATUS_BAD_MODEL, "kernel_shape is missing");
    *attrs = own;
    return STATUS_OK;
}

static Status given_shape(InferCtx *ctx, int32_t rank, Shape *out) {
    int32_t count;
    bool known;
    TRY(kit_dims_of(ctx, infer_input(ctx, 2), "output_shape", SMELT_MAX_RANK, out->dim, &count, &known));
    if (count >= 0 && count != rank)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "output_shape has %d elements, expected %d", count, rank);
    if (!known) kit_late_shape(ctx, rank, "unpool", out);
    out->rank = rank;
    for (int32_t i = 0; i < rank; ++i)
        if (dim_is_exact(out->dim[i]) && out->dim[i] < 0)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "output_shape[%d] is %lld", i, (long long)out->dim[i]);
    return STATUS_OK;
}

Status infer_MaxUnpool(InferCtx *ctx) {
    const WindowAttrs *attrs = ctx->attrs;
    int32_t axes;
    TRY(window_check_axes(ctx, attrs, 0, &axes));
    TRY(kit_expect_float(ctx, 0));
    if (dtype_bits(ctx->inputs[0]->dtype) < 8)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "input 0 is %s", dtype_name(ctx->inputs[0]->dtype));
    if (ctx->inputs[1]->dtype != DTYPE_I64)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input 1 is %s, expected i64",
                    dtype_name(ctx->inputs[1]->dtype));
    TRY(kit_expect_rank(ctx, 1, axes + 2, axes + 2));
    TRY(kit_infer_same(ctx));
    Shape *out = &ctx->outputs[0].shape;
    if (infer_input(ctx, 2) != NULL) return given_shape(ctx, axes + 2, out);
    for (int32_t i = 0; i < axes; ++i) {
        Dim steps = dim_mul(ctx->dims, dim_sub(ctx->dims, out->dim[2 + i], 1), attrs->stride[i]);
        int64_t extra = attrs->kernel[i] - attrs->pad_begin[i] - attrs->pad_end[i];
        out->dim[2 + i] = dim_add(ctx->dims, steps, extra);
        if (dim_is_exact(out->dim[2 + i]) && out->dim[2 + i] < 1)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "spatial axis %d of the output has extent %lld", i,
                        (long long)out->dim[2 + i]);
    }
    return STATUS_OK;
}

/* The shape that indices count in. False: it overflows. */
static bool pooled_shape(const WindowAttrs *attrs, const Tensor *x, int64_t *dims) {
    int64_t count = 1;
    for (int32_t i = 0; i < x->rank; ++i) {
        dims[i] = x->dim[i];
        if (i >= 2 &&
            (!checked_mul_i64(x->dim[i] - 1, attrs->stride[i - 2], &dims[i]) ||
             !checked_add_i64(dims[i], attrs->kernel[i - 2] - attrs->pad_begin[i - 2] - attrs->pad_end[i - 2],
                              &dims[i])))
            return false;
        if (!checked_mul_i64(count, dims[i], &count) || count < 0) return false;
    }
    return true;
}

/* The element of the output that index means; -1 when it is outside. */
static int64_t place_of(const Tensor *y, const int64_t *dims, int64_t index) {
    int64_t place = 0, stride = 1;
    if (index < 0) return -1;
    for (int32_t i = y->rank - 1; i >= 0; --i) {
        if (dims[i] <= 0) return -1;
        int64_t at = i == 0 ? index : index % dims[i];
        if (at >= y->dim[i]) return -1;
        index /= dims[i];
        place += at * stride;
        stride *= y->dim[i];
    }
    return place;
}

Status kernel_MaxUnpool(KernelCtx *ctx) {
    const Tensor *x = ctx->inputs[0], *indices = ctx->inputs[1];
    Tensor *y = ctx->outputs[0];
    int64_t dims[SMELT_MAX_RANK] = {0}, count = tensor_count(x), y_count = tensor_count(y);
    if (!tensor_same_shape(x, indices))
        return FAIL(ctx->diag, STATUS_BAD_DATA, "values and indices differ in shape");
    if (!pooled_shape(ctx->attrs, x, dims))
        return FAIL(ctx->diag, STATUS_BAD_DATA, "the unpooled tensor has more than 2^63 elements");
    bool as_pooled = memcmp(dims, y->dim, (size_t)y->rank * sizeof *dims) == 0;
    int bits = dtype_bits(x->dtype);
    memset(y->data, 0, tensor_bytes(y));
    for (int64_t i = 0; i < count; ++i) {
        int64_t index = ((const int64_t *)indices->data)[i];
        int64_t place = as_pooled && index < y_count ? index : place_of(y, dims, index);
        if (place < 0)
            return FAIL(ctx->diag, STATUS_BAD_DATA, "index %lld is outside the output", (long long)index);
        element_copy(bits, x->dtype, y->data, place, x->data, i);
    }
    return STATUS_OK;
}
