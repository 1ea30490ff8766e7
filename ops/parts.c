/* Where the parts of Concat, Split and Slice lie in the whole. */
#include "ops/kit.h"
#include "ops/movement.h"

int32_t part_count(OpId op, int32_t input_count, int32_t output_count) {
    if (op == OP_Concat) return input_count;
    return op == OP_Split ? output_count : op == OP_Slice ? 1 : 0;
}

/* One part further along the axis. */
static bool step_over(const InferCtx *ctx, int64_t axis, const TypeInfo *part, Dim start[SMELT_MAX_RANK]) {
    if (part->dtype == DTYPE_NONE) return false;
    int32_t a = (int32_t)(axis < 0 ? axis + part->shape.rank : axis);
    start[a] = dim_add(ctx->dims, start[a], part->shape.dim[a]);
    return true;
}

/* Numbers of an input: -1 where they are not known. */
static int32_t known_numbers(const InferCtx *ctx, int32_t input, int64_t out[SMELT_MAX_RANK]) {
    const TypeInfo *type = input < ctx->input_count ? ctx->inputs[input] : NULL;
    if (type == NULL) return 0;
    if (type->data == NULL || !shape_is_exact(&type->shape)) return -1;
    Tensor tensor = {.dtype = type->dtype, .rank = type->shape.rank, .data = (void *)type->data};
    for (int32_t i = 0; i < tensor.rank; ++i) tensor.dim[i] = type->shape.dim[i];
    return kit_read_ints(&tensor, out, SMELT_MAX_RANK);
}

static bool slice_start(const InferCtx *ctx, Dim start[SMELT_MAX_RANK]) {
    const Shape *in = &ctx->inputs[0]->shape;
    int64_t starts[SMELT_MAX_RANK], ends[SMELT_MAX_RANK], axes[SMELT_MAX_RANK], steps[SMELT_MAX_RANK];
    int32_t count = known_numbers(ctx, 1, starts), end_count = known_numbers(ctx, 2, ends);
    int32_t axis_count = known_numbers(ctx, 3, axes), step_count = known_numbers(ctx, 4, steps);
    if (count < 0 || end_count != count || axis_count < 0 || step_count < 0) return false;
    for (int32_t i = 0; i < count; ++i) {
        int64_t step = step_count > 0 ? steps[i] : 1, axis = axis_count > 0 ? axes[i] : i;
        int32_t a = (int32_t)(axis < 0 ? axis + in->rank : axis);
        if (step != 1 || a < 0 || a >= in->rank) return false;
        if (starts[i] != 0 && !dim_is_exact(in->dim[a])) return false;
        start[a] = starts[i] == 0 ? 0 : slice_range(in->dim[a], starts[i], ends[i], step).start;
    }
    return true;
}

bool part_start(OpId op, const InferCtx *ctx, int32_t index, Dim start[SMELT_MAX_RANK]) {
    for (int32_t i = 0; index == 0 && i < SMELT_MAX_RANK; ++i) start[i] = 0;
    if (op == OP_Slice) return slice_start(ctx, start);
    if (index == 0) return true;
    if (op == OP_Concat)
        return step_over(ctx, ((const ConcatAttrs *)ctx->attrs)->axis, ctx->inputs[index - 1], start);
    return step_over(ctx, ((const SplitAttrs *)ctx->attrs)->axis, &ctx->outputs[index - 1], start);
}
