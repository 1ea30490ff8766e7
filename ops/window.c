#include "ops/window.h"

#include <string.h>

#include "ops/kit.h"

enum { WINDOW_LIMIT = 1 << 30 };

static Status parse_auto_pad(const ParseCtx *ctx, AutoPad *out) {
    static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    const char *text;
    TRY(attr_string(ctx->list, "auto_pad", "NOTSET", &text, ctx->diag));
    for (int i = 0; i < 4; ++i)
        if (strcmp(text, names[i]) == 0) {
            *out = (AutoPad)i;
            return STATUS_OK;
        }
    return FAIL(ctx->diag, STATUS_BAD_MODEL,
                "auto_pad is '%s', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID", text);
}

/* Reads `sides` runs of one value per axis. */
static Status parse_axes(const ParseCtx *ctx, const char *name, int sides, int64_t low, int32_t *axes,
                         int64_t *const *out, bool *present) {
    const int64_t *values;
    int32_t count;
    TRY(attr_ints(ctx->list, name, &values, &count, ctx->diag));
    *present = count > 0;
    if (count <= 0) return STATUS_OK;
    int32_t own = count / sides;
    if (count % sides != 0 || own > WINDOW_AXES)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s has %d values, expected %d per axis of 1 to %d", name,
                    count, sides, WINDOW_AXES);
    if (*axes != 0 && own != *axes)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s speaks of %d axes, other attributes of %d", name, own,
                    *axes);
    *axes = own;
    for (int32_t i = 0; i < count; ++i) {
        if (values[i] < low || values[i] > WINDOW_LIMIT)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s[%d] is %lld, expected %lld to %d", name, i,
                        (long long)values[i], (long long)low, WINDOW_LIMIT);
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): i / own is below sides */
        out[i / own][i % own] = values[i];
    }
    return STATUS_OK;
}

Status window_parse(const ParseCtx *ctx, WindowAttrs *out) {
    memset(out, 0, sizeof *out);
    for (int i = 0; i < WINDOW_AXES; ++i) out->kernel[i] = out->stride[i] = out->dilation[i] = 1;
    bool present;
    TRY(parse_auto_pad(ctx, &out->auto_pad));
    TRY(parse_axes(ctx, "strides", 1, 1, &out->axes, (int64_t *[]){out->stride}, &present));
    TRY(parse_axes(ctx, "dilations", 1, 1, &out->axes, (int64_t *[]){out->dilation}, &present));
    TRY(parse_axes(ctx, "pads", 2, 0, &out->axes, (int64_t *[]){out->pad_begin, out->pad_end}, &present));
    return parse_axes(ctx, "kernel_shape", 1, 1, &out->axes, (int64_t *[]){out->kernel}, &out->has_kernel);
}

Status window_check_axes(InferCtx *ctx, const WindowAttrs *attrs, int32_t index, int32_t *axes) {
    TRY(kit_expect_rank(ctx, index, 3, 2 + WINDOW_AXES));
    *axes = ctx->inputs[index]->shape.rank - 2;
    if (attrs->axes != 0 && attrs->axes != *axes)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has %d spatial axes, the attributes speak of %d",
                    index, *axes, attrs->axes);
    return STATUS_OK;
}

static Status extent_failure(InferCtx *ctx, const WindowAttrs *attrs, int32_t axis, Dim in, Dim kernel) {
    const char *from = dim_print(ctx->dims, in, ctx->arena);
    const char *size = dim_print(ctx->dims, kernel, ctx->arena);
    TRY_ALLOC(ctx->diag, from);
    TRY_ALLOC(ctx->diag, size);
    return FAIL(ctx->diag, STATUS_BAD_MODEL,
                "spatial axis %d: a kernel of %s (dilation %lld) does not fit an input of %s (padding %lld + "
                "%lld)",
                axis, size, (long long)attrs->dilation[axis], from, (long long)attrs->pad_begin[axis],
                (long long)attrs->pad_end[axis]);
}

Status window_extent(InferCtx *ctx, const WindowAttrs *attrs, int32_t axis, Dim in, Dim kernel, bool ceil,
                     Dim *out) {
    DimTable *dims = ctx->dims;
    Dim stride = attrs->stride[axis];
    if (attrs->auto_pad == AUTO_PAD_SAME_UPPER || attrs->auto_pad == AUTO_PAD_SAME_LOWER) {
        *out = dim_ceil_div(dims, in, stride);
    } else {
        bool padded = attrs->auto_pad == AUTO_PAD_NONE;
        Dim begin = padded ? attrs->pad_begin[axis] : 0, end = padded ? attrs->pad_end[axis] : 0;
        Dim reach = dim_mul(dims, dim_sub(dims, kernel, 1), attrs->dilation[axis]);
        Dim room = dim_sub(dims, dim_add(dims, in, begin + end - 1), reach);
        Dim steps = ceil ? dim_ceil_div(dims, room, stride) : dim_floor_div(dims, room, stride);
        if (ceil) /* room below zero is refused by the caller's extents, not made to fit */
            steps = dim_min(dims, steps, dim_floor_div(dims, dim_add(dims, in, begin - 1), stride));
        *out = dim_add(dims, steps, 1);
    }
    if (dim_is_exact(*out) && *out < 1) return extent_failure(ctx, attrs, axis, in, kernel);
    return STATUS_OK;
}

/* Padding of one axis from auto_pad, for the extents of input, output and one window. */
static void auto_padding(AutoPad auto_pad, int64_t in, int64_t out, int64_t stride, int64_t extent,
                         int64_t *begin, int64_t *end) {
    int64_t total = auto_pad == AUTO_PAD_VALID ? 0 : max_i64(0, (out - 1) * stride + extent - in);
    *begin = auto_pad == AUTO_PAD_SAME_LOWER ? total - total / 2 : total / 2;
    *end = total - *begin;
}

Window window_of(const WindowAttrs *attrs, const int64_t *kernel, const Tensor *input, const Tensor *output) {
    Window window = {.in_count = 1, .out_count = 1, .taps = 1};
    int32_t axes = input->rank - 2, missing = WINDOW_AXES - axes;
    for (int32_t i = 0; i < WINDOW_AXES; ++i) {
        window.in[i] = window.out[i] = window.kernel[i] = window.stride[i] = window.dilation[i] = 1;
        if (i < missing) continue;
        int32_t own = i - missing;
        window.in[i] = input->dim[2 + own];
        window.out[i] = output->dim[2 + own];
        window.kernel[i] = kernel[own];
        window.stride[i] = attrs->stride[own];
        window.dilation[i] = attrs->dilation[own];
        window.pad[i] = attrs->pad_begin[own];
        window.pad_end[i] = attrs->pad_end[own];
        if (attrs->auto_pad != AUTO_PAD_NONE)
            auto_padding(attrs->auto_pad, window.in[i], window.out[i], window.stride[i],
                         (kernel[own] - 1) * attrs->dilation[own] + 1, &window.pad[i], &window.pad_end[i]);
        window.in_count *= window.in[i];
        window.out_count *= window.out[i];
        window.taps *= window.kernel[i];
    }
    return window;
}
