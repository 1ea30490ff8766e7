/* Parsing and inference of the operators of reduce.def. */
#include "ops/reduce.h"

#include "ops/kit.h"
#include "ops/pointwise_content.h"

static Status parse_reduce(const ParseCtx *ctx, OpId op, ReduceSignature signature, ReduceMerge merge,
                           const void **attrs) {
    ReduceAttrs *parsed = ARENA_NEW(ctx->arena, ReduceAttrs);
    TRY_ALLOC(ctx->diag, parsed);
    int64_t keepdims, noop;
    TRY(attr_int_in(ctx->list, "keepdims", 1, 0, 1, &keepdims, ctx->diag));
    TRY(attr_int_in(ctx->list, "noop_with_empty_axes", 0, 0, 1, &noop, ctx->diag));
    *parsed = (ReduceAttrs){
        .op = op, .signature = signature, .merge = merge, .keepdims = keepdims, .noop_with_empty_axes = noop};
    *attrs = parsed;
    return STATUS_OK;
}

#define REDUCE(id, name, since, signature, half, merge, element, result)                                     \
    Status parse_##id(const ParseCtx *ctx, const void **attrs) {                                             \
        return parse_reduce(ctx, OP_##id, REDUCE_##signature, REDUCE_BY_##merge, attrs);                     \
    }
#include "ops/reduce.def"
#undef REDUCE

static Status check_dtype(InferCtx *ctx, ReduceSignature signature) {
    DType dtype = ctx->inputs[0]->dtype;
    bool fits = dtype_is_float(dtype) || dtype_is_integer(dtype) ||
                (dtype == DTYPE_BOOL && signature == REDUCE_BOOLS);
    if (fits) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input 0 is %s, expected a tensor of numbers",
                dtype_name(dtype));
}

/* The shape where the axes are not known yet, only how many they are (-1: not even that). */
static Status infer_late(InferCtx *ctx, int32_t axis_count) {
    const ReduceAttrs *attrs = ctx->attrs;
    int32_t rank = ctx->inputs[0]->shape.rank;
    if (attrs->keepdims) {
        kit_late_shape(ctx, rank, "reduced", &ctx->outputs[0].shape);
        return STATUS_OK;
    }
    if (axis_count < 0)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED,
                    "the number of axes depends on data, and keepdims is 0: the output's rank is unknown");
    if (axis_count > rank) return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d axes for rank %d", axis_count, rank);
    kit_late_shape(ctx, rank - axis_count, "reduced", &ctx->outputs[0].shape);
    return STATUS_OK;
}

/* Shape arithmetic: a vector of Dims folded to one. */
static Status reduce_content(InferCtx *ctx) {
    const ReduceAttrs *attrs = ctx->attrs;
    TypeInfo *out = &ctx->outputs[0];
    Dim extent = shape_count(ctx->dims, &out->shape);
    const Dim *elements;
    int32_t count;
    if (ctx->inputs[0]->data != NULL || extent != 1 || ctx->inputs[0]->shape.rank > 1) return STATUS_OK;
    TRY(dim_content(ctx, ctx->inputs[0], &elements, &count));
    if (elements == NULL || count == 0) return STATUS_OK;
    Dim *folded = ARENA_NEW(ctx->arena, Dim);
    TRY_ALLOC(ctx->diag, folded);
    *folded = elements[0];
    for (int32_t i = 1; i < count; ++i) {
        switch (attrs->op) {
        case OP_ReduceSum:
            *folded = dim_add(ctx->dims, *folded, elements[i]);
            break;
        case OP_ReduceProd:
            *folded = dim_mul(ctx->dims, *folded, elements[i]);
            break;
        case OP_ReduceMax:
            *folded = dim_max(ctx->dims, *folded, elements[i]);
            break;
        case OP_ReduceMin:
            *folded = dim_min(ctx->dims, *folded, elements[i]);
            break;
        default:
            return STATUS_OK;
        }
    }
    out->content = folded;
    return STATUS_OK;
}

Status infer_reduce(InferCtx *ctx) {
    const ReduceAttrs *attrs = ctx->attrs;
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    int64_t axes[SMELT_MAX_RANK];
    int32_t count;
    bool known, reduced[SMELT_MAX_RANK];
    TRY(check_dtype(ctx, attrs->signature));
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    TRY(kit_ints_of(ctx, infer_input(ctx, 1), "axes", SMELT_MAX_RANK, axes, &count, &known));
    if (!known) return infer_late(ctx, count);
    TRY(kit_axes(axes, count, in->rank, reduced, ctx->diag));
    bool all = count == 0 && !attrs->noop_with_empty_axes;
    for (int32_t i = 0; i < in->rank; ++i) {
        if (!all && !reduced[i])
            out->dim[out->rank++] = in->dim[i];
        else if (attrs->keepdims)
            out->dim[out->rank++] = 1;
    }
    return reduce_content(ctx);
}
