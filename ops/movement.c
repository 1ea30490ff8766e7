/* Transpose, Concat, Split, Expand, Tile and the two that trade depth for space: each is a few strided
 * copies. */
#include "ops/movement.h"

#include <string.h>

#include "ops/kit.h"
#include "ops/strided.h"

/* -- Transpose -- */

Status parse_Transpose(const ParseCtx *ctx, const void **attrs) {
    TransposeAttrs *out = ARENA_NEW(ctx->arena, TransposeAttrs);
    TRY_ALLOC(ctx->diag, out);
    const int64_t *perm;
    TRY(attr_ints(ctx->list, "perm", &perm, &out->count, ctx->diag));
    if (out->count > SMELT_MAX_RANK)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "perm has %d elements, at most %d are possible", out->count,
                    SMELT_MAX_RANK);
    bool marked[SMELT_MAX_RANK];
    if (out->count >= 0) TRY(kit_axes(perm, out->count, out->count, marked, ctx->diag));
    for (int32_t i = 0; i < out->count; ++i)
        out->perm[i] = (int32_t)(perm[i] < 0 ? perm[i] + out->count : perm[i]);
    *attrs = out;
    return STATUS_OK;
}

static int32_t source_axis(const TransposeAttrs *attrs, int32_t rank, int32_t i) {
    return attrs->count < 0 ? rank - 1 - i : attrs->perm[i];
}

Status infer_Transpose(InferCtx *ctx) {
    const TransposeAttrs *attrs = ctx->attrs;
    const Shape *in = &ctx->inputs[0]->shape;
    if (attrs->count >= 0 && attrs->count != in->rank)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "perm has %d elements, but the input has rank %d",
                    attrs->count, in->rank);
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    ctx->outputs[0].shape.rank = in->rank;
    for (int32_t i = 0; i < in->rank; ++i)
        ctx->outputs[0].shape.dim[i] = in->dim[source_axis(attrs, in->rank, i)];
    return STATUS_OK;
}

Status kernel_Transpose(KernelCtx *ctx) {
    const TransposeAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    int64_t from[SMELT_MAX_RANK], to[SMELT_MAX_RANK];
    kit_strides(in->rank, in->dim, from);
    kit_strides(out->rank, out->dim, to);
    StridedCopy copy = {.dtype = in->dtype, .from = in->data, .to = out->data};
    for (int32_t i = 0; i < out->rank; ++i)
        strided_add(&copy, out->dim[i], from[source_axis(attrs, in->rank, i)], to[i]);
    strided_copy(&copy, ctx->host->pool);
    return STATUS_OK;
}

/* -- Concat -- */

Status parse_Concat(const ParseCtx *ctx, const void **attrs) {
    ConcatAttrs *out = ARENA_NEW(ctx->arena, ConcatAttrs);
    TRY_ALLOC(ctx->diag, out);
    if (attr_find(ctx->list, "axis") == NULL)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'axis' is missing");
    TRY(attr_int(ctx->list, "axis", 0, &out->axis, ctx->diag));
    *attrs = out;
    return STATUS_OK;
}

Status infer_Concat(InferCtx *ctx) {
    const ConcatAttrs *attrs = ctx->attrs;
    int32_t axis;
    TRY(kit_infer_same(ctx));
    Shape *out = &ctx->outputs[0].shape;
    TRY(kit_axis(attrs->axis, out->rank, &axis, ctx->diag));
    for (int32_t n = 1; n < ctx->input_count; ++n) {
        if (ctx->inputs[n] == NULL) return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is omitted", n);
        const Shape *in = &ctx->inputs[n]->shape;
        TRY(kit_expect_dtype_like(ctx, n, 0));
        TRY(kit_expect_rank(ctx, n, out->rank, out->rank));
        for (int32_t i = 0; i < out->rank; ++i) {
            if (i == axis)
                out->dim[i] = dim_add(ctx->dims, out->dim[i], in->dim[i]);
            else
                TRY(kit_same_dim(ctx, out->dim[i], in->dim[i], "extents beside the axis", &out->dim[i]));
        }
    }
    return STATUS_OK;
}

/* Copies rows of `count` elements between a tensor of rows that long and one of longer rows. */
static void copy_rows(KernelCtx *ctx, DType dtype, int64_t rows, int64_t count, const void *from,
                      int64_t from_row, int64_t from_offset, void *to, int64_t to_row, int64_t to_offset) {
    StridedCopy copy = {
        .dtype = dtype, .from = from, .to = to, .from_offset = from_offset, .to_offset = to_offset};
    strided_add(&copy, rows, from_row, to_row);
    strided_add(&copy, count, 1, 1);
    strided_copy(&copy, ctx->host->pool);
}

Status kernel_Concat(KernelCtx *ctx) {
    const ConcatAttrs *attrs = ctx->attrs;
    Tensor *out = ctx->outputs[0];
    int32_t axis;
    TRY(kit_axis(attrs->axis, out->rank, &axis, ctx->diag));
    int64_t rows = tensor_span(out, 0, axis), out_row = tensor_span(out, axis, out->rank), offset = 0;
    for (int32_t n = 0; n < ctx->input_count; ++n) {
        const Tensor *in = ctx->inputs[n];
        int64_t row = tensor_span(in, axis, in->rank);
        copy_rows(ctx, out->dtype, rows, row, in->data, row, 0, out->data, out_row, offset);
        offset += row;
    }
    return STATUS_OK;
}

/* -- Split -- */

Status parse_Split(const ParseCtx *ctx, const void **attrs) {
    SplitAttrs *out = ARENA_NEW(ctx->arena, SplitAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t parts;
    TRY(attr_int(ctx->list, "axis", 0, &out->axis, ctx->diag));
    TRY(attr_int_in(ctx->list, "num_outputs", 0, 0, INT16_MAX, &parts, ctx->diag));
    out->has_sizes = (ctx->inputs_present & 2) != 0;
    if (out->has_sizes && parts != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "both 'num_outputs' and an input of sizes are given");
    if (parts != 0 && parts < ctx->output_count)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d outputs, but 'num_outputs' is %lld", ctx->output_count,
                    (long long)parts);
    out->num_outputs = parts == 0 ? ctx->output_count : (int32_t)parts;
    *attrs = out;
    return STATUS_OK;
}

/* Part `i` of `parts` without stated sizes: equal ones rounded up, the last takes the rest. */
static Dim even_part(DimTable *dims, Dim extent, int32_t parts, int32_t i) {
    Dim part = dim_ceil_div(dims, extent, parts);
    if (dim_is_exact(extent) && dim_is_exact(part)) return clamp_i64(extent - i * part, 0, part);
    return i < parts - 1 ? part : dim_sub(dims, extent, dim_mul(dims, part, parts - 1));
}

/* The sizes of all parts as Dims, in the arena; *known false when they are late. */
static Status split_sizes(InferCtx *ctx, Dim extent, Dim *sizes, int32_t capacity, bool *known) {
    int32_t count;
    TRY(kit_dims_of(ctx, ctx->inputs[1], "split", capacity, sizes, &count, known));
    if (!*known) return STATUS_OK;
    if (count < ctx->output_count)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d sizes for %d outputs", count, ctx->output_count);
    Dim sum = 0;
    for (int32_t i = 0; i < count; ++i) {
        TRY(kit_check_dim(ctx, sizes[i], "the size of a part"));
        sum = dim_add(ctx->dims, sum, sizes[i]);
    }
    return kit_same_dim(ctx, extent, sum, "extent of the axis and sum of the sizes", &sum);
}

Status infer_Split(InferCtx *ctx) {
    const SplitAttrs *attrs = ctx->attrs;
    const TypeInfo *in = ctx->inputs[0];
    int32_t axis, capacity = attrs->num_outputs;
    bool known = true;
    TRY(kit_axis(attrs->axis, in->shape.rank, &axis, ctx->diag));
    Dim extent = in->shape.dim[axis], *sizes = ARENA_ARRAY(ctx->arena, Dim, capacity);
    TRY_ALLOC(ctx->diag, sizes);
    if (attrs->has_sizes) TRY(split_sizes(ctx, extent, sizes, capacity, &known));
    for (int32_t i = 0; i < ctx->output_count; ++i) {
        ctx->outputs[i].dtype = in->dtype;
        ctx->outputs[i].shape = in->shape;
        ctx->outputs[i].shape.dim[axis] = !known             ? dim_fresh(ctx->dims, "split")
                                          : attrs->has_sizes ? sizes[i]
                                                             : even_part(ctx->dims, extent, capacity, i);
    }
    return STATUS_OK;
}

Status kernel_Split(KernelCtx *ctx) {
    const SplitAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    int32_t axis;
    TRY(kit_axis(attrs->axis, in->rank, &axis, ctx->diag));
    int64_t extent = in->dim[axis], inner = tensor_span(in, axis + 1, in->rank), offset = 0;
    int64_t part = ceil_div_i64(extent, attrs->num_outputs);
    for (int32_t i = 0; i < ctx->output_count; ++i) {
        Tensor *out = ctx->outputs[i];
        int64_t size =
            attrs->has_sizes ? kit_index(ctx->inputs[1], i) : clamp_i64(extent - i * part, 0, part);
        if (size < 0 || size > extent - offset || (out != NULL && out->dim[axis] != size))
            return FAIL(ctx->diag, STATUS_BAD_DATA, "part %d of %lld does not fit extent %lld at %lld", i,
                        (long long)size, (long long)extent, (long long)offset);
        if (out != NULL)
            copy_rows(ctx, in->dtype, tensor_span(in, 0, axis), size * inner, in->data, extent * inner,
                      offset * inner, out->data, size * inner, 0);
        offset += size;
    }
    return STATUS_OK;
}

/* -- Expand -- */

Status parse_Expand(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

/* The rank is known but not the target: extents above 1 stay, the others are late. */
static Status infer_late_expand(InferCtx *ctx, int32_t count) {
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    TRY(kit_late_by_count(ctx, count < 0 ? -1 : count > in->rank ? count : in->rank, "shape", out));
    for (int32_t i = 0; i < in->rank; ++i)
        if (dim_is_exact(in->dim[i]) && in->dim[i] != 1) out->dim[out->rank - in->rank + i] = in->dim[i];
    return STATUS_OK;
}

Status infer_Expand(InferCtx *ctx) {
    Shape target = {0};
    bool known;
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    TRY(kit_dims_of(ctx, ctx->inputs[1], "shape", SMELT_MAX_RANK, target.dim, &target.rank, &known));
    if (!known) return infer_late_expand(ctx, target.rank);
    for (int32_t i = 0; i < target.rank; ++i) TRY(kit_check_dim(ctx, target.dim[i], "a target extent"));
    return kit_broadcast(ctx, &ctx->inputs[0]->shape, &target, &ctx->outputs[0].shape);
}

/* Inference without the target's elements takes over the input's extents above 1: the target must agree. */
static Status check_target(KernelCtx *ctx) {
    const Tensor *out = ctx->outputs[0];
    int64_t target[SMELT_MAX_RANK];
    int32_t count = kit_read_ints(ctx->inputs[1], target, SMELT_MAX_RANK);
    for (int32_t i = 0; i < count && i < out->rank; ++i) {
        int64_t extent = out->dim[out->rank - count + i];
        if (target[i] != 1 && target[i] != extent)
            return FAIL(ctx->diag, STATUS_BAD_DATA,
                        "extent %lld does not broadcast to %lld, element %d of the target", (long long)extent,
                        (long long)target[i], i);
    }
    return STATUS_OK;
}

Status kernel_Expand(KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    TRY(check_target(ctx));
    int64_t from[SMELT_MAX_RANK], to[SMELT_MAX_RANK];
    kit_broadcast_strides(in, out->rank, from);
    kit_strides(out->rank, out->dim, to);
    StridedCopy copy = {.dtype = in->dtype, .from = in->data, .to = out->data};
    for (int32_t i = 0; i < out->rank; ++i) strided_add(&copy, out->dim[i], from[i], to[i]);
    strided_copy(&copy, ctx->host->pool);
    return STATUS_OK;
}

/* -- Tile -- */

Status parse_Tile(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status infer_Tile(InferCtx *ctx) {
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    Dim repeats[SMELT_MAX_RANK];
    int32_t count;
    bool known;
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    TRY(kit_dims_of(ctx, ctx->inputs[1], "repeats", SMELT_MAX_RANK, repeats, &count, &known));
    if (count >= 0 && count != in->rank)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d repeats for rank %d", count, in->rank);
    kit_late_shape(ctx, known ? 0 : in->rank, "tile", out);
    out->rank = in->rank;
    for (int32_t i = 0; known && i < in->rank; ++i) {
        TRY(kit_check_dim(ctx, repeats[i], "a number of repeats"));
        out->dim[i] = dim_mul(ctx->dims, in->dim[i], repeats[i]);
    }
    return STATUS_OK;
}

Status kernel_Tile(KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    int64_t from[SMELT_MAX_RANK], to[SMELT_MAX_RANK];
    kit_strides(in->rank, in->dim, from);
    kit_strides(out->rank, out->dim, to);
    StridedCopy copy = {.dtype = in->dtype, .from = in->data, .to = out->data};
    for (int32_t i = 0; i < out->rank; ++i) {
        strided_add(&copy, in->dim[i] == 0 ? 0 : out->dim[i] / in->dim[i], 0, in->dim[i] * to[i]);
        strided_add(&copy, in->dim[i], from[i], to[i]);
    }
    strided_copy(&copy, ctx->host->pool);
    return STATUS_OK;
}

/* -- DepthToSpace, SpaceToDepth -- */

static Status parse_block(const ParseCtx *ctx, BlockAttrs **out) {
    *out = ARENA_NEW(ctx->arena, BlockAttrs);
    TRY_ALLOC(ctx->diag, *out);
    return attr_int_in(ctx->list, "blocksize", 0, 1, INT16_MAX, &(*out)->block, ctx->diag);
}

Status parse_DepthToSpace(const ParseCtx *ctx, const void **attrs) {
    BlockAttrs *out;
    const char *mode;
    TRY(parse_block(ctx, &out));
    TRY(attr_string(ctx->list, "mode", "DCR", &mode, ctx->diag));
    out->rows_first = strcmp(mode, "CRD") == 0;
    if (!out->rows_first && strcmp(mode, "DCR") != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'mode' is '%s', expected 'DCR' or 'CRD'", mode);
    *attrs = out;
    return STATUS_OK;
}

Status parse_SpaceToDepth(const ParseCtx *ctx, const void **attrs) {
    BlockAttrs *out;
    TRY(parse_block(ctx, &out));
    *attrs = out;
    return STATUS_OK;
}

static Status divide_dim(InferCtx *ctx, int32_t axis, int64_t by, Dim *out) {
    Dim extent = ctx->inputs[0]->shape.dim[axis];
    if (dim_is_exact(extent) && extent % by != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "extent %lld of axis %d is not a multiple of %lld",
                    (long long)extent, axis, (long long)by);
    *out = dim_floor_div(ctx->dims, extent, by);
    return STATUS_OK;
}

Status infer_DepthToSpace(InferCtx *ctx) {
    const BlockAttrs *attrs = ctx->attrs;
    TRY(kit_expect_rank(ctx, 0, 4, 4));
    TRY(kit_infer_same(ctx));
    Dim *out = ctx->outputs[0].shape.dim;
    TRY(divide_dim(ctx, 1, attrs->block * attrs->block, &out[1]));
    out[2] = dim_mul(ctx->dims, out[2], attrs->block);
    out[3] = dim_mul(ctx->dims, out[3], attrs->block);
    return STATUS_OK;
}

Status infer_SpaceToDepth(InferCtx *ctx) {
    const BlockAttrs *attrs = ctx->attrs;
    TRY(kit_expect_rank(ctx, 0, 4, 4));
    TRY(kit_infer_same(ctx));
    Dim *out = ctx->outputs[0].shape.dim;
    out[1] = dim_mul(ctx->dims, out[1], attrs->block * attrs->block);
    TRY(divide_dim(ctx, 2, attrs->block, &out[2]));
    return divide_dim(ctx, 3, attrs->block, &out[3]);
}

/* Dimensions in the order of the space side: batch, channel, row, row in block, column, column in block. The
 * depth side has (row in block, column in block, channel) as its channel, or channel first. */
static void block_strides(const Tensor *depth, int64_t block, bool rows_first, int64_t strides[6]) {
    int64_t plane = depth->dim[2] * depth->dim[3], channels = depth->dim[1] / (block * block);
    strides[0] = depth->dim[1] * plane;
    strides[1] = rows_first ? block * block * plane : plane;
    strides[2] = depth->dim[3];
    strides[3] = rows_first ? block * plane : block * channels * plane;
    strides[4] = 1;
    strides[5] = rows_first ? plane : channels * plane;
}

static void space_strides(const Tensor *space, int64_t block, int64_t strides[6]) {
    int64_t width = space->dim[3], plane = space->dim[2] * width;
    strides[0] = space->dim[1] * plane;
    strides[1] = plane;
    strides[2] = width * block;
    strides[3] = width;
    strides[4] = block;
    strides[5] = 1;
}

Status kernel_DepthToSpace(KernelCtx *ctx) {
    const BlockAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    int64_t from[6], to[6], b = attrs->block;
    const int64_t dims[6] = {in->dim[0], out->dim[1], in->dim[2], b, in->dim[3], b};
    block_strides(in, b, attrs->rows_first, from);
    space_strides(out, b, to);
    StridedCopy copy = {.dtype = in->dtype, .from = in->data, .to = out->data};
    for (int32_t i = 0; i < 6; ++i) strided_add(&copy, dims[i], from[i], to[i]);
    strided_copy(&copy, ctx->host->pool);
    return STATUS_OK;
}

Status kernel_SpaceToDepth(KernelCtx *ctx) {
    const BlockAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    int64_t from[6], to[6], b = attrs->block;
    const int64_t dims[6] = {in->dim[0], in->dim[1], out->dim[2], b, out->dim[3], b};
    const int32_t order[6] = {0, 3, 5, 1, 2, 4}; /* as `out` lies in memory */
    space_strides(in, b, from);
    block_strides(out, b, false, to);
    StridedCopy copy = {.dtype = in->dtype, .from = in->data, .to = out->data};
    for (int32_t i = 0; i < 6; ++i) strided_add(&copy, dims[order[i]], from[order[i]], to[order[i]]);
    strided_copy(&copy, ctx->host->pool);
    return STATUS_OK;
}
