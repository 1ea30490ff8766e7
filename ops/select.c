/* Compress and NonZero: what is kept depends on data, and so does the size of the output. */
#include "ops/indexing.h"
#include "ops/kit.h"
#include "ops/strided.h"

/* -- Compress -- */

Status parse_Compress(const ParseCtx *ctx, const void **attrs) {
    CompressAttrs *out = ARENA_NEW(ctx->arena, CompressAttrs);
    TRY_ALLOC(ctx->diag, out);
    out->has_axis = attr_find(ctx->list, "axis") != NULL;
    TRY(attr_int(ctx->list, "axis", 0, &out->axis, ctx->diag));
    *attrs = out;
    return STATUS_OK;
}

static int64_t count_true(const uint8_t *condition, int64_t count) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; ++i) kept += condition[i] != 0;
    return kept;
}

Status infer_Compress(InferCtx *ctx) {
    const CompressAttrs *attrs = ctx->attrs;
    const TypeInfo *in = ctx->inputs[0], *condition = ctx->inputs[1];
    Shape *out = &ctx->outputs[0].shape;
    int32_t axis = 0;
    TRY(kit_infer_same(ctx));
    TRY(kit_expect_rank(ctx, 1, 1, 1));
    if (condition->dtype != DTYPE_BOOL)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the condition is %s, expected bool",
                    dtype_name(condition->dtype));
    if (attrs->has_axis)
        TRY(kit_axis(attrs->axis, in->shape.rank, &axis, ctx->diag));
    else
        *out = (Shape){.rank = 1, .dim = {shape_count(ctx->dims, &in->shape)}};
    Dim extent = out->dim[axis], length = condition->shape.dim[0];
    if (dim_is_exact(length) && dim_is_exact(extent) && length > extent)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld conditions for %lld elements", (long long)length,
                    (long long)extent);
    out->dim[axis] = condition->data != NULL && dim_is_exact(length)
                         ? count_true(condition->data, length)
                         : kit_late_at_most(ctx, "compress", dim_min(ctx->dims, length, extent));
    return STATUS_OK;
}

Status kernel_Compress(KernelCtx *ctx) {
    const CompressAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0], *condition = ctx->inputs[1];
    Tensor *out = ctx->outputs[0];
    int32_t axis = 0, rank = attrs->has_axis ? in->rank : 1;
    if (attrs->has_axis) TRY(kit_axis(attrs->axis, in->rank, &axis, ctx->diag));
    int64_t dims[SMELT_MAX_RANK] = {tensor_count(in)}, length = condition->dim[0];
    for (int32_t i = 0; i < in->rank && attrs->has_axis; ++i) dims[i] = in->dim[i];
    int64_t outer = attrs->has_axis ? tensor_span(in, 0, axis) : 1, extent = dims[axis];
    int64_t inner = attrs->has_axis ? tensor_span(in, axis + 1, in->rank) : 1, kept = 0;
    const uint8_t *keep = condition->data;
    if (length > extent)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "%lld conditions for %lld elements", (long long)length,
                    (long long)extent);
    dims[axis] = count_true(keep, length);
    TRY(kit_late_output(ctx, 0, rank, dims));
    for (int64_t n = 0; n < outer; ++n)
        for (int64_t i = 0; i < length; ++i)
            if (keep[i] != 0)
                elements_copy(in->dtype, out->data, kept++ * inner, in->data, (n * extent + i) * inner,
                              inner);
    return STATUS_OK;
}

/* -- NonZero -- */

Status parse_NonZero(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

static inline bool is_nonzero(DType dtype, const void *data, int64_t i) {
    switch (dtype) {
    case DTYPE_BOOL:
    case DTYPE_U8:
    case DTYPE_I8:
        return ((const uint8_t *)data)[i] != 0;
    case DTYPE_F32:
        return ((const float *)data)[i] != 0;
    case DTYPE_I32:
        return ((const int32_t *)data)[i] != 0;
    case DTYPE_I64:
        return ((const int64_t *)data)[i] != 0;
    default:
        return dtype_load_f64(dtype, data, i) != 0;
    }
}

static int64_t count_nonzero(DType dtype, const void *data, int64_t count) {
    int64_t found = 0;
    for (int64_t i = 0; i < count; ++i) found += is_nonzero(dtype, data, i);
    return found;
}

Status infer_NonZero(InferCtx *ctx) {
    const TypeInfo *in = ctx->inputs[0];
    TypeInfo *out = &ctx->outputs[0];
    Dim count = shape_count(ctx->dims, &in->shape);
    if (dtype_kind(in->dtype) == DTYPE_KIND_OTHER)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "input 0 is %s", dtype_name(in->dtype));
    out->dtype = DTYPE_I64;
    out->shape = (Shape){.rank = 2, .dim = {in->shape.rank}};
    out->shape.dim[1] = in->data != NULL && dim_is_exact(count) ? count_nonzero(in->dtype, in->data, count)
                                                                : kit_late_at_most(ctx, "nonzero", count);
    return STATUS_OK;
}

Status kernel_NonZero(KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    int64_t count = tensor_count(in), found = count_nonzero(in->dtype, in->data, count), next = 0;
    const int64_t dims[2] = {in->rank, found};
    TRY(kit_late_output(ctx, 0, 2, dims));
    int64_t *indices = out->data;
    for (int64_t n = 0; n < count && next < found; ++n) {
        if (!is_nonzero(in->dtype, in->data, n)) continue;
        int64_t rest = n;
        for (int32_t i = in->rank - 1; i >= 0; --i) {
            indices[i * found + next] = rest % in->dim[i];
            rest /= in->dim[i];
        }
        ++next;
    }
    return STATUS_OK;
}
