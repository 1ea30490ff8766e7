/* Pad and CenterCropPad: rows of the output are a stretch of an input row between two borders. */
#include <string.h>

#include "ops/kit.h"
#include "ops/movement.h"
#include "ops/strided.h"

/* -- the shared copy -- */

/* Per axis: how many elements are added in front, and the box of the input that stays (negative pads crop it
 * before the border is made). */
typedef struct PadPlan {
    const Tensor *in;
    Tensor *out;
    PadMode mode;
    const void *value; /* PAD_CONSTANT: one element; NULL: zero */
    int64_t front[SMELT_MAX_RANK], start[SMELT_MAX_RANK], count[SMELT_MAX_RANK];
    int64_t stride[SMELT_MAX_RANK]; /* of in, elements */
    int32_t axis;                   /* the last padded axis: a row is what lies along it and behind it */
    int64_t unit;                   /* elements behind it */
} PadPlan;

static void pad_plan(PadPlan *plan, const int64_t *before) {
    const Tensor *in = plan->in, *out = plan->out;
    kit_strides(in->rank, in->dim, plan->stride);
    for (int32_t i = 0; i < in->rank; ++i) {
        int64_t after = out->dim[i] - in->dim[i] - before[i];
        plan->front[i] = clamp_i64(before[i], 0, out->dim[i]);
        plan->start[i] = clamp_i64(-before[i], 0, in->dim[i]);
        plan->count[i] =
            clamp_i64(in->dim[i] - plan->start[i] + min_i64(after, 0), 0, out->dim[i] - plan->front[i]);
        if (before[i] != 0 || after != 0) plan->axis = i;
    }
    plan->unit = tensor_span(in, plan->axis + 1, in->rank);
}

/* The input index behind output index i of an axis, -1 for the constant. */
static int64_t pad_source(const PadPlan *plan, int32_t axis, int64_t i) {
    int64_t j = i - plan->front[axis], count = plan->count[axis];
    if (j < 0 || j >= count) {
        switch (plan->mode) {
        case PAD_CONSTANT:
            return -1;
        case PAD_EDGE:
            j = clamp_i64(j, 0, count - 1);
            break;
        case PAD_WRAP:
            j = floor_mod_i64(j, count);
            break;
        case PAD_REFLECT: /* as often as needed; the edge itself is not repeated */
            j = count == 1 ? 0 : floor_mod_i64(j, 2 * (count - 1));
            if (j >= count) j = 2 * (count - 1) - j;
            break;
        }
    }
    return plan->start[axis] + j;
}

static void pad_border(const PadPlan *plan, int64_t source, int64_t target, int64_t first, int64_t last) {
    DType dtype = plan->in->dtype;
    if (plan->mode == PAD_CONSTANT) {
        elements_fill(dtype, plan->out->data, target + first * plan->unit, (last - first) * plan->unit,
                      plan->value, 0);
        return;
    }
    for (int64_t i = first; i < last; ++i)
        elements_copy(dtype, plan->out->data, target + i * plan->unit, plan->in->data,
                      source + pad_source(plan, plan->axis, i) * plan->unit, plan->unit);
}

static void pad_rows(void *context, int64_t first, int64_t last, int worker) {
    const PadPlan *plan = context;
    int32_t axis = plan->axis;
    int64_t extent = plan->out->dim[axis], row = extent * plan->unit;
    int64_t front = plan->front[axis], count = plan->count[axis];
    (void)worker;
    for (int64_t n = first; n < last; ++n) {
        int64_t rest = n, source = 0;
        bool constant = false;
        for (int32_t i = axis - 1; i >= 0 && !constant; --i) {
            int64_t index = pad_source(plan, i, rest % plan->out->dim[i]);
            rest /= plan->out->dim[i];
            constant = index < 0;
            source += index * plan->stride[i];
        }
        if (constant) {
            pad_border(plan, 0, n * row, 0, extent);
            continue;
        }
        pad_border(plan, source, n * row, 0, front);
        elements_copy(plan->in->dtype, plan->out->data, n * row + front * plan->unit, plan->in->data,
                      source + plan->start[axis] * plan->unit, count * plan->unit);
        pad_border(plan, source, n * row, front + count, extent);
    }
}

/* before[i]: elements to add in front of axis i, negative to crop; what comes behind follows from the shapes.
 */
static Status pad_tensor(KernelCtx *ctx, PadMode mode, const void *value, const int64_t *before) {
    PadPlan plan = {.in = ctx->inputs[0], .out = ctx->outputs[0], .mode = mode, .value = value};
    if (tensor_count(plan.out) == 0) return STATUS_OK;
    if (plan.in->rank == 0) {
        tensor_copy_bytes(plan.in, plan.out, NULL);
        return STATUS_OK;
    }
    pad_plan(&plan, before);
    for (int32_t i = 0; i < plan.in->rank && mode != PAD_CONSTANT; ++i)
        if (plan.count[i] == 0)
            return FAIL(ctx->diag, STATUS_BAD_DATA, "axis %d has no element to pad with", i);
    int64_t row = plan.out->dim[plan.axis] * plan.unit;
    parallel_for(element_pool(ctx, plan.in->dtype), tensor_span(plan.out, 0, plan.axis),
                 max_i64(1, 16384 / row), pad_rows, &plan);
    return STATUS_OK;
}

/* -- Pad -- */

Status parse_Pad(const ParseCtx *ctx, const void **attrs) {
    static const char *const names[] = {
        [PAD_CONSTANT] = "constant", [PAD_REFLECT] = "reflect", [PAD_EDGE] = "edge", [PAD_WRAP] = "wrap"};
    PadAttrs *out = ARENA_NEW(ctx->arena, PadAttrs);
    TRY_ALLOC(ctx->diag, out);
    const char *mode;
    TRY(attr_string(ctx->list, "mode", "constant", &mode, ctx->diag));
    while (strcmp(names[out->mode], mode) != 0)
        if (out->mode++ == PAD_WRAP)
            return FAIL(ctx->diag, STATUS_BAD_MODEL,
                        "attribute 'mode' is '%s', expected 'constant', 'reflect', 'edge' or 'wrap'", mode);
    *attrs = out;
    return STATUS_OK;
}

Status infer_Pad(InferCtx *ctx) {
    const TypeInfo *axes_input = infer_input(ctx, 3);
    Dim pads[2 * SMELT_MAX_RANK];
    int64_t axes[SMELT_MAX_RANK];
    int32_t pad_count, axis_count;
    bool pads_known, axes_known, marked[SMELT_MAX_RANK];
    TRY(kit_infer_same(ctx));
    Shape *out = &ctx->outputs[0].shape;
    if (infer_input(ctx, 2) != NULL) TRY(kit_expect_dtype_like(ctx, 2, 0));
    TRY(kit_dims_of(ctx, ctx->inputs[1], "pads", 2 * SMELT_MAX_RANK, pads, &pad_count, &pads_known));
    TRY(kit_ints_of(ctx, axes_input, "axes", SMELT_MAX_RANK, axes, &axis_count, &axes_known));
    if (axes_input == NULL)
        for (axis_count = 0; axis_count < out->rank; ++axis_count) axes[axis_count] = axis_count;
    if (pad_count >= 0 && axis_count >= 0 && pad_count != 2 * axis_count)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d pads for %d axes", pad_count, axis_count);
    if (!axes_known) {
        kit_late_shape(ctx, out->rank, "pad", out);
        return STATUS_OK;
    }
    TRY(kit_axes(axes, axis_count, out->rank, marked, ctx->diag));
    for (int32_t i = 0; i < axis_count; ++i) {
        Dim *extent = &out->dim[axes[i] < 0 ? axes[i] + out->rank : axes[i]];
        *extent = pads_known ? dim_add(ctx->dims, *extent, dim_add(ctx->dims, pads[i], pads[i + axis_count]))
                             : dim_fresh(ctx->dims, "pad");
        TRY(kit_check_dim(ctx, *extent, "a padded extent"));
    }
    return STATUS_OK;
}

Status kernel_Pad(KernelCtx *ctx) {
    const PadAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0], *axes_input = kernel_input(ctx, 3), *value = kernel_input(ctx, 2);
    int64_t pads[2 * SMELT_MAX_RANK], axes[SMELT_MAX_RANK], before[SMELT_MAX_RANK] = {0};
    int32_t pad_count = kit_read_ints(ctx->inputs[1], pads, 2 * SMELT_MAX_RANK), axis;
    kit_read_ints(axes_input, axes, SMELT_MAX_RANK);
    for (int32_t i = 0; i < pad_count / 2; ++i) {
        TRY(kit_axis(axes_input == NULL ? i : axes[i], in->rank, &axis, ctx->diag));
        int64_t sum;
        before[axis] = clamp_i64(pads[i], -INT64_MAX, INT64_MAX);
        if (!checked_add_i64(pads[i], pads[i + pad_count / 2], &sum) ||
            ctx->outputs[0]->dim[axis] - in->dim[axis] != sum)
            return FAIL(ctx->diag, STATUS_BAD_DATA, "pads %lld and %lld of axis %d do not give extent %lld",
                        (long long)pads[i], (long long)pads[i + pad_count / 2], axis,
                        (long long)ctx->outputs[0]->dim[axis]);
    }
    bool has_value = value != NULL && tensor_count(value) > 0;
    return pad_tensor(ctx, attrs->mode, has_value ? value->data : NULL, before);
}

/* -- CenterCropPad -- */

Status parse_CenterCropPad(const ParseCtx *ctx, const void **attrs) {
    CenterCropPadAttrs *out = ARENA_NEW(ctx->arena, CenterCropPadAttrs);
    TRY_ALLOC(ctx->diag, out);
    const int64_t *axes;
    TRY(attr_ints(ctx->list, "axes", &axes, &out->count, ctx->diag));
    if (out->count > SMELT_MAX_RANK)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d axes, at most %d are possible", out->count,
                    SMELT_MAX_RANK);
    for (int32_t i = 0; i < out->count; ++i) out->axes[i] = axes[i];
    *attrs = out;
    return STATUS_OK;
}

Status infer_CenterCropPad(InferCtx *ctx) {
    const CenterCropPadAttrs *attrs = ctx->attrs;
    Dim target[SMELT_MAX_RANK];
    int32_t count;
    bool known, marked[SMELT_MAX_RANK];
    TRY(kit_infer_same(ctx));
    Shape *out = &ctx->outputs[0].shape;
    int32_t axis_count = attrs->count < 0 ? out->rank : attrs->count;
    if (attrs->count >= 0) TRY(kit_axes(attrs->axes, attrs->count, out->rank, marked, ctx->diag));
    TRY(kit_dims_of(ctx, ctx->inputs[1], "shape", SMELT_MAX_RANK, target, &count, &known));
    if (count >= 0 && count != axis_count)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d target extents for %d axes", count, axis_count);
    for (int32_t i = 0; i < axis_count; ++i) {
        int64_t axis = attrs->count < 0     ? i
                       : attrs->axes[i] < 0 ? attrs->axes[i] + out->rank
                                            : attrs->axes[i];
        if (known) TRY(kit_check_dim(ctx, target[i], "a target extent"));
        out->dim[axis] = known ? target[i] : dim_fresh(ctx->dims, "crop");
    }
    return STATUS_OK;
}

Status kernel_CenterCropPad(KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0], *out = ctx->outputs[0];
    int64_t before[SMELT_MAX_RANK];
    /* both halves round down: crop starts at floor(d / 2), padding in front is floor(d / 2) */
    for (int32_t i = 0; i < in->rank; ++i) before[i] = (out->dim[i] - in->dim[i]) / 2;
    return pad_tensor(ctx, PAD_CONSTANT, NULL, before);
}
