#include "ops/pointwise_content.h"

#include "ops/pointwise.h"

enum { CONTENT_INPUTS = 8 };

Status dim_content(InferCtx *ctx, const TypeInfo *input, const Dim **content, int32_t *count) {
    *content = NULL;
    *count = 0;
    if (!dtype_is_integer(input->dtype) && input->dtype != DTYPE_BOOL) return STATUS_OK;
    Dim extent = input->shape.rank == 0 ? 1 : input->shape.dim[0];
    if (input->shape.rank > 1 || !dim_is_exact(extent) || extent > DIM_CONTENT_MAX) return STATUS_OK;
    *count = (int32_t)extent;
    *content = input->content;
    if (input->data == NULL) return STATUS_OK;
    Dim *read = ARENA_ARRAY(ctx->arena, Dim, extent);
    TRY_ALLOC(ctx->diag, read);
    *content = NULL;
    for (int32_t i = 0; i < *count; ++i) {
        read[i] = dtype_load_i64(input->dtype, input->data, i);
        if (!dim_is_exact(read[i])) return STATUS_OK;
    }
    *content = read;
    return STATUS_OK;
}

/* a < b + slack, where that is decided for all values: 1 or 0, else -1. */
static int decide_less(DimTable *dims, Dim a, Dim b, int64_t slack) {
    int64_t low_a, high_a, low_b, high_b;
    dim_bounds(dims, a, &low_a, &high_a);
    dim_bounds(dims, b, &low_b, &high_b);
    if (high_a != INT64_MAX && high_a - slack < low_b) return 1;
    if (high_b != INT64_MAX && low_a - slack >= high_b) return 0;
    return -1;
}

static int decide_equal(DimTable *dims, Dim a, Dim b) {
    if (a == b) return 1;
    if (dim_is_exact(a) && dim_is_exact(b)) return 0;
    return decide_less(dims, a, b, 0) == 1 || decide_less(dims, b, a, 0) == 1 ? 0 : -1;
}

static bool set_truth(int decided, Dim *out) {
    *out = decided;
    return decided >= 0;
}

/* Truncation is floor division where neither side is negative. */
static bool divides_as_floor(DimTable *dims, Dim a, Dim b) {
    return dim_known_at_least(dims, a, 0) && dim_known_at_least(dims, b, 1);
}

/* The operator on one set of elements; false where the result is not a Dim. Dims are not wrapped: a sum that
 * overflows makes the table fail, as a shape of that size would. */
static bool content_element(InferCtx *ctx, OpId op, Dim x, Dim y, Dim z, Dim *out) {
    DimTable *dims = ctx->dims;
    switch (op) {
    case OP_Add:
    case OP_Sum:
        *out = dim_add(dims, x, y);
        return true;
    case OP_Sub:
        *out = dim_sub(dims, x, y);
        return true;
    case OP_Mul:
        *out = dim_mul(dims, x, y);
        return true;
    case OP_Min:
        *out = dim_min(dims, x, y);
        return true;
    case OP_Max:
        *out = dim_max(dims, x, y);
        return true;
    case OP_Neg:
        *out = dim_sub(dims, 0, x);
        return true;
    case OP_Abs:
        *out = x;
        return dim_known_at_least(dims, x, 0);
    case OP_Div:
        *out = dim_floor_div(dims, x, y);
        return true;
    case OP_Mod:
        *out = dim_sub(dims, x, dim_mul(dims, dim_floor_div(dims, x, y), y));
        return true;
    case OP_Equal:
        return set_truth(decide_equal(dims, x, y), out);
    case OP_Less:
        return set_truth(decide_less(dims, x, y, 0), out);
    case OP_Greater:
        return set_truth(decide_less(dims, y, x, 0), out);
    case OP_LessOrEqual:
        return set_truth(decide_less(dims, x, y, 1), out);
    case OP_GreaterOrEqual:
        return set_truth(decide_less(dims, y, x, 1), out);
    case OP_And:
        *out = x & y;
        return true;
    case OP_Or:
        *out = x | y;
        return true;
    case OP_Not:
        *out = !x;
        return true;
    case OP_Where:
        *out = x != 0 ? y : z;
        return true;
    default:
        return false;
    }
}

/* Exact operands that no product of two overflows; symbols stand for sizes. */
static bool is_small(Dim d) {
    return !dim_is_exact(d) || (d > -((int64_t)1 << 31) && d < (int64_t)1 << 31);
}

/* Division only where nothing is negative, logic only on known truth values, arithmetic only on small numbers
 * (where large ones wrap, or stand for infinity, they are no sizes). */
static bool content_applies(InferCtx *ctx, OpId op, const Dim *operand) {
    switch (op) {
    case OP_Where:
    case OP_Not:
        return dim_is_exact(operand[0]);
    case OP_And:
    case OP_Or:
        return dim_is_exact(operand[0]) && dim_is_exact(operand[1]);
    case OP_Div:
    case OP_Mod:
        return divides_as_floor(ctx->dims, operand[0], operand[1]);
    case OP_Add:
    case OP_Sum:
    case OP_Sub:
    case OP_Mul:
    case OP_Neg:
        return is_small(operand[0]) && is_small(operand[1]);
    default:
        return true;
    }
}

/* Element i from all inputs; variadic operators fold. */
static bool content_at(InferCtx *ctx, OpId op, const Dim *const *inputs, const int32_t *counts, int32_t i,
                       Dim *out) {
    Dim operand[CONTENT_INPUTS] = {0};
    for (int32_t k = 0; k < ctx->input_count; ++k) operand[k] = inputs[k][counts[k] == 1 ? 0 : i];
    if ((op_def(op)->flags & OPF_VARIADIC) == 0)
        return content_applies(ctx, op, operand) &&
               content_element(ctx, op, operand[0], operand[1], operand[2], out);
    *out = operand[0];
    for (int32_t k = 1; k < ctx->input_count; ++k) {
        Dim pair[2] = {*out, operand[k]};
        if (!content_applies(ctx, op, pair) || !content_element(ctx, op, pair[0], pair[1], 0, out))
            return false;
    }
    return true;
}

/* Only where it adds something: wide enough types, and an input whose elements are symbolic. */
static bool is_wanted(const InferCtx *ctx) {
    const TypeInfo *out = &ctx->outputs[0];
    Dim extent = out->shape.rank == 0 ? 1 : out->shape.dim[0];
    if (out->shape.rank > 1 || !dim_is_exact(extent) || extent > DIM_CONTENT_MAX || extent < 1) return false;
    if (out->dtype != DTYPE_I64 && out->dtype != DTYPE_I32 && out->dtype != DTYPE_BOOL) return false;
    if (ctx->input_count > CONTENT_INPUTS) return false;
    for (int32_t k = 0; k < ctx->input_count; ++k)
        if (ctx->inputs[k]->data == NULL && ctx->inputs[k]->content != NULL) return true;
    return false;
}

Status pointwise_content(InferCtx *ctx) {
    const PointwiseAttrs *attrs = ctx->attrs;
    TypeInfo *out = &ctx->outputs[0];
    if (!is_wanted(ctx)) return STATUS_OK;
    const Dim *inputs[CONTENT_INPUTS];
    int32_t counts[CONTENT_INPUTS];
    for (int32_t k = 0; k < ctx->input_count; ++k) {
        TRY(dim_content(ctx, ctx->inputs[k], &inputs[k], &counts[k]));
        if (inputs[k] == NULL) return STATUS_OK;
    }
    int32_t extent = out->shape.rank == 0 ? 1 : (int32_t)out->shape.dim[0];
    Dim *content = ARENA_ARRAY(ctx->arena, Dim, extent);
    TRY_ALLOC(ctx->diag, content);
    for (int32_t i = 0; i < extent; ++i)
        if (!content_at(ctx, attrs->op, inputs, counts, i, &content[i])) return STATUS_OK;
    out->content = content;
    return STATUS_OK;
}
