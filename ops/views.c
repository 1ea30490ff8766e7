/* Operators whose output is the input's bytes under another shape. */
#include "ops/kit.h"
#include "ops/movement.h"
#include "ops/strided.h"

/* Used where the executor could not let the output share the input's memory. */
static Status copy_input(KernelCtx *ctx) {
    Tensor *out = kernel_result(ctx, 0);
    if (out != NULL) tensor_copy_bytes(ctx->inputs[0], out, ctx->host->pool);
    return STATUS_OK;
}

/* -- Identity -- */

Status parse_Identity(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status infer_Identity(InferCtx *ctx) {
    return kit_infer_same(ctx);
}

Status kernel_Identity(KernelCtx *ctx) {
    return copy_input(ctx);
}

/* -- Reformat: layouts are not what operators see -- */

Status parse_Reformat(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status infer_Reformat(InferCtx *ctx) {
    return kit_infer_same(ctx);
}

Status kernel_Reformat(KernelCtx *ctx) {
    return copy_input(ctx);
}

/* -- Reshape -- */

Status parse_Reshape(const ParseCtx *ctx, const void **attrs) {
    ReshapeAttrs *out = ARENA_NEW(ctx->arena, ReshapeAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t allow_zero;
    TRY(attr_int_in(ctx->list, "allowzero", 0, 0, 1, &allow_zero, ctx->diag));
    out->allow_zero = allow_zero != 0;
    *attrs = out;
    return STATUS_OK;
}

/* Removes one factor equal to d; false when there is none. */
static bool cancel_factor(Dim *factors, int32_t *count, Dim d) {
    for (int32_t i = 0; i < *count; ++i) {
        if (factors[i] != d) continue;
        factors[i] = factors[--*count];
        return true;
    }
    return false;
}

/* What -1 stands for: the input's elements over the product of the known target dims. Equal factors cancel
 * before anything is multiplied, which keeps symbolic results short and lets an extent of 0 be carried over.
 */
static Status remaining_dim(InferCtx *ctx, const Shape *in, const Shape *target, int32_t unknown, Dim *out) {
    Dim factors[SMELT_MAX_RANK], total = 1, known = 1;
    int32_t count = in->rank;
    for (int32_t i = 0; i < count; ++i) factors[i] = in->dim[i];
    for (int32_t i = 0; i < target->rank; ++i)
        if (i != unknown && !cancel_factor(factors, &count, target->dim[i]))
            known = dim_mul(ctx->dims, known, target->dim[i]);
    for (int32_t i = 0; i < count; ++i) total = dim_mul(ctx->dims, total, factors[i]);
    if (known == 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL,
                    "a -1 beside an extent of 0 has no meaning in a target shape");
    if (dim_is_exact(total) && dim_is_exact(known) && total % known != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld elements do not divide into rows of %lld",
                    (long long)total, (long long)known);
    *out = dim_floor_div(ctx->dims, total, known);
    return STATUS_OK;
}

/* Resolves 0 and finds -1 in a target shape whose elements are known. */
static Status resolve_target(InferCtx *ctx, bool allow_zero, Shape *target, int32_t *unknown) {
    const Shape *in = &ctx->inputs[0]->shape;
    *unknown = -1;
    for (int32_t i = 0; i < target->rank; ++i) {
        Dim d = target->dim[i];
        if (d == -1) {
            if (*unknown >= 0)
                return FAIL(ctx->diag, STATUS_BAD_MODEL, "the target shape has more than one -1");
            *unknown = i;
        } else if (dim_is_exact(d) && d < -1) {
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "the target shape holds %lld", (long long)d);
        } else if (d == 0 && !allow_zero) {
            if (i >= in->rank)
                return FAIL(ctx->diag, STATUS_BAD_MODEL,
                            "element %d of the target shape copies a dimension that rank %d does not have", i,
                            in->rank);
            target->dim[i] = in->dim[i];
        }
    }
    return STATUS_OK;
}

Status infer_Reshape(InferCtx *ctx) {
    const ReshapeAttrs *attrs = ctx->attrs;
    const TypeInfo *in = ctx->inputs[0];
    Shape target = {0};
    bool known;
    int32_t unknown;
    ctx->outputs[0].dtype = in->dtype;
    TRY(kit_dims_of(ctx, ctx->inputs[1], "shape", SMELT_MAX_RANK, target.dim, &target.rank, &known));
    if (!known) return kit_late_by_count(ctx, target.rank, "shape", &ctx->outputs[0].shape);
    TRY(resolve_target(ctx, attrs->allow_zero, &target, &unknown));
    if (unknown >= 0) TRY(remaining_dim(ctx, &in->shape, &target, unknown, &target.dim[unknown]));
    Dim have = shape_count(ctx->dims, &in->shape), want = shape_count(ctx->dims, &target);
    if (dim_is_exact(have) && dim_is_exact(want) && have != want)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld elements do not fit a shape of %lld", (long long)have,
                    (long long)want);
    ctx->outputs[0].shape = target;
    return STATUS_OK;
}

Status kernel_Reshape(KernelCtx *ctx) {
    return copy_input(ctx);
}

/* -- Flatten -- */

Status parse_Flatten(const ParseCtx *ctx, const void **attrs) {
    FlattenAttrs *out = ARENA_NEW(ctx->arena, FlattenAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(attr_int(ctx->list, "axis", 1, &out->axis, ctx->diag));
    *attrs = out;
    return STATUS_OK;
}

Status infer_Flatten(InferCtx *ctx) {
    const FlattenAttrs *attrs = ctx->attrs;
    const TypeInfo *in = ctx->inputs[0];
    int32_t rank = in->shape.rank;
    if (attrs->axis < -rank || attrs->axis > rank)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "axis %lld is outside rank %d", (long long)attrs->axis,
                    rank);
    int64_t axis = attrs->axis < 0 ? attrs->axis + rank : attrs->axis;
    Shape *out = &ctx->outputs[0].shape;
    ctx->outputs[0].dtype = in->dtype;
    *out = (Shape){.rank = 2, .dim = {1, 1}};
    for (int32_t i = 0; i < rank; ++i)
        out->dim[i >= axis] = dim_mul(ctx->dims, out->dim[i >= axis], in->shape.dim[i]);
    return STATUS_OK;
}

Status kernel_Flatten(KernelCtx *ctx) {
    return copy_input(ctx);
}

/* -- Squeeze -- */

Status parse_Squeeze(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

/* Without axes, exact dimensions of 1 go. A rank is fixed when the model is built, so a symbolic dimension
 * counts as other than 1. */
static void mark_ones(const Shape *shape, bool marked[SMELT_MAX_RANK]) {
    for (int32_t i = 0; i < SMELT_MAX_RANK; ++i) marked[i] = i < shape->rank && shape->dim[i] == 1;
}

Status infer_Squeeze(InferCtx *ctx) {
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    int64_t axes[SMELT_MAX_RANK];
    int32_t count;
    bool known, marked[SMELT_MAX_RANK];
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    TRY(kit_ints_of(ctx, infer_input(ctx, 1), "axes", SMELT_MAX_RANK, axes, &count, &known));
    if (!known) return kit_late_by_count(ctx, count < 0 ? -1 : in->rank - count, "axes", out);
    if (infer_input(ctx, 1) == NULL)
        mark_ones(in, marked);
    else
        TRY(kit_axes(axes, count, in->rank, marked, ctx->diag));
    for (int32_t i = 0; i < in->rank; ++i) {
        if (!marked[i])
            out->dim[out->rank++] = in->dim[i];
        else if (dim_is_exact(in->dim[i]) && in->dim[i] != 1)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "axis %d has extent %lld and cannot be squeezed", i,
                        (long long)in->dim[i]);
    }
    return STATUS_OK;
}

Status kernel_Squeeze(KernelCtx *ctx) {
    return copy_input(ctx);
}

/* -- Unsqueeze -- */

Status parse_Unsqueeze(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status infer_Unsqueeze(InferCtx *ctx) {
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    int64_t axes[SMELT_MAX_RANK];
    int32_t count;
    bool known, marked[SMELT_MAX_RANK];
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    TRY(kit_ints_of(ctx, ctx->inputs[1], "axes", SMELT_MAX_RANK, axes, &count, &known));
    if (count > SMELT_MAX_RANK - in->rank)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "a result of rank %d; the largest rank is %d",
                    in->rank + count, SMELT_MAX_RANK);
    if (!known) return kit_late_by_count(ctx, count < 0 ? -1 : in->rank + count, "axes", out);
    TRY(kit_axes(axes, count, in->rank + count, marked, ctx->diag));
    out->rank = in->rank + count;
    for (int32_t i = 0, from = 0; i < out->rank; ++i) out->dim[i] = marked[i] ? 1 : in->dim[from++];
    return STATUS_OK;
}

Status kernel_Unsqueeze(KernelCtx *ctx) {
    return copy_input(ctx);
}

/* -- Dropout: nothing is dropped outside training -- */

Status parse_Dropout(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

/* Training mode with a ratio above 0 draws random numbers that inference has no use for. */
static Status check_inference_mode(InferCtx *ctx) {
    int64_t training = 0;
    double ratio = 0.5;
    bool training_known, ratio_known;
    TRY(kit_scalar_i64(ctx, 2, &training, &training_known));
    TRY(kit_scalar_f64(ctx, 1, &ratio, &ratio_known));
    bool drops = infer_input(ctx, 1) == NULL || (ratio_known && ratio != 0);
    if (training_known && training != 0 && drops)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "training mode: only inference is supported");
    return STATUS_OK;
}

Status infer_Dropout(InferCtx *ctx) {
    TRY(check_inference_mode(ctx));
    TRY(kit_infer_same(ctx));
    if (ctx->output_count > 1) {
        ctx->outputs[1].dtype = DTYPE_BOOL;
        ctx->outputs[1].shape = ctx->inputs[0]->shape;
    }
    return STATUS_OK;
}

Status kernel_Dropout(KernelCtx *ctx) {
    static const uint8_t kept = 1;
    Tensor *mask = kernel_result(ctx, 1);
    if (mask != NULL) elements_fill(DTYPE_BOOL, mask->data, 0, tensor_count(mask), &kept, 0);
    return copy_input(ctx);
}
