#include "ops/shape.h"

#include <math.h>

#include "ops/kit.h"
#include "ops/strided.h"

/* -- Shape -- */

Status parse_Shape(const ParseCtx *ctx, const void **attrs) {
    ShapeAttrs *out = ARENA_NEW(ctx->arena, ShapeAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(attr_int(ctx->list, "start", 0, &out->start, ctx->diag));
    TRY(attr_int(ctx->list, "end", INT64_MAX, &out->end, ctx->diag));
    *attrs = out;
    return STATUS_OK;
}

/* The dimensions [*first, *last) that are asked for. */
static void shape_range(const ShapeAttrs *attrs, int32_t rank, int32_t *first, int32_t *last) {
    int64_t start = attrs->start < 0 ? attrs->start + rank : attrs->start;
    int64_t end = attrs->end < 0 ? attrs->end + rank : attrs->end;
    *first = (int32_t)clamp_i64(start, 0, rank);
    *last = (int32_t)clamp_i64(end, *first, rank);
}

Status infer_Shape(InferCtx *ctx) {
    const Shape *in = &ctx->inputs[0]->shape;
    TypeInfo *out = &ctx->outputs[0];
    int32_t first, last;
    shape_range(ctx->attrs, in->rank, &first, &last);
    out->dtype = DTYPE_I64;
    out->shape = (Shape){.rank = 1, .dim = {last - first}};
    Dim *content = ARENA_ARRAY(ctx->arena, Dim, last - first);
    TRY_ALLOC(ctx->diag, content);
    for (int32_t i = first; i < last; ++i) content[i - first] = in->dim[i];
    out->content = content;
    return STATUS_OK;
}

Status kernel_Shape(KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0];
    int64_t *out = ctx->outputs[0]->data;
    int32_t first, last;
    shape_range(ctx->attrs, in->rank, &first, &last);
    for (int32_t i = first; i < last; ++i) out[i - first] = in->dim[i];
    return STATUS_OK;
}

/* -- Size -- */

Status parse_Size(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status infer_Size(InferCtx *ctx) {
    Dim *content = ARENA_NEW(ctx->arena, Dim);
    TRY_ALLOC(ctx->diag, content);
    *content = shape_count(ctx->dims, &ctx->inputs[0]->shape);
    ctx->outputs[0].dtype = DTYPE_I64;
    ctx->outputs[0].content = content;
    return STATUS_OK;
}

Status kernel_Size(KernelCtx *ctx) {
    *(int64_t *)ctx->outputs[0]->data = tensor_count(ctx->inputs[0]);
    return STATUS_OK;
}

/* -- ConstantOfShape -- */

Status parse_ConstantOfShape(const ParseCtx *ctx, const void **attrs) {
    ConstantOfShapeAttrs *out = ARENA_NEW(ctx->arena, ConstantOfShapeAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(attr_tensor(ctx->list, "value", &out->value, ctx->diag));
    if (out->value != NULL && tensor_count(out->value) != 1)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'value' has %lld elements, expected 1",
                    (long long)tensor_count(out->value));
    *attrs = out;
    return STATUS_OK;
}

Status infer_ConstantOfShape(InferCtx *ctx) {
    const ConstantOfShapeAttrs *attrs = ctx->attrs;
    Shape shape = {0};
    bool known;
    ctx->outputs[0].dtype = attrs->value != NULL ? attrs->value->dtype : DTYPE_F32;
    TRY(kit_dims_of(ctx, ctx->inputs[0], "shape", SMELT_MAX_RANK, shape.dim, &shape.rank, &known));
    if (!known) return kit_late_by_count(ctx, shape.rank, "shape", &ctx->outputs[0].shape);
    for (int32_t i = 0; i < shape.rank; ++i) TRY(kit_check_dim(ctx, shape.dim[i], "an extent of the output"));
    ctx->outputs[0].shape = shape;
    return STATUS_OK;
}

Status kernel_ConstantOfShape(KernelCtx *ctx) {
    const ConstantOfShapeAttrs *attrs = ctx->attrs;
    Tensor *out = ctx->outputs[0];
    elements_fill(out->dtype, out->data, 0, tensor_count(out),
                  attrs->value != NULL ? attrs->value->data : NULL, 0);
    return STATUS_OK;
}

/* -- Range -- */

Status parse_Range(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

/* Elements of an integer range as a Dim; fresh where delta is not known, whose sign decides. */
static Status integer_range(InferCtx *ctx, Dim *count) {
    Dim value[3];
    bool known, all = true;
    static const char *const names[] = {"start", "limit", "delta"};
    for (int32_t i = 0; i < 3; ++i) {
        TRY(kit_dim_of(ctx, ctx->inputs[i], names[i], &value[i], &known));
        all = all && known;
    }
    if (!all || !dim_is_exact(value[2])) {
        *count = dim_fresh(ctx->dims, "range");
        return STATUS_OK;
    }
    if (value[2] == 0) return FAIL(ctx->diag, STATUS_BAD_MODEL, "the step of the range is 0");
    bool up = value[2] > 0;
    Dim length = up ? dim_sub(ctx->dims, value[1], value[0]) : dim_sub(ctx->dims, value[0], value[1]);
    *count = dim_ceil_div(ctx->dims, dim_max(ctx->dims, 0, length), up ? value[2] : -value[2]);
    return STATUS_OK;
}

static Status float_range(InferCtx *ctx, Dim *count) {
    double value[3];
    bool known, all = true;
    for (int32_t i = 0; i < 3; ++i) {
        TRY(kit_scalar_f64(ctx, i, &value[i], &known));
        all = all && known;
    }
    if (!all) {
        *count = dim_fresh(ctx->dims, "range");
        return STATUS_OK;
    }
    double length = value[1] - value[0];
    if (ctx->inputs[0]->dtype == DTYPE_F32) length = (double)(float)length; /* the difference has the type */
    double elements = ceil(length / value[2]);
    if (!(elements < 0x1p53))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the range has no finite number of elements");
    *count = elements > 0 ? (Dim)elements : 0;
    return STATUS_OK;
}

Status infer_Range(InferCtx *ctx) {
    TypeInfo *out = &ctx->outputs[0];
    TRY(kit_expect_dtype_like(ctx, 1, 0));
    TRY(kit_expect_dtype_like(ctx, 2, 0));
    out->dtype = ctx->inputs[0]->dtype;
    out->shape.rank = 1;
    if (dtype_is_integer(out->dtype)) return integer_range(ctx, &out->shape.dim[0]);
    TRY(kit_expect_float(ctx, 0));
    return float_range(ctx, &out->shape.dim[0]);
}

enum { RANGE_BLOCK = 256 };

typedef struct RangeRun {
    Tensor *out;
    double first, step;               /* of floats */
    uint64_t whole_first, whole_step; /* of integers, which wrap */
} RangeRun;

/* Blocks are computed whole, so that their loops have a known length. */
static void range_blocks(void *context, int64_t first, int64_t last, int worker) {
    const RangeRun *run = context;
    DType dtype = run->out->dtype;
    double reals[RANGE_BLOCK];
    int64_t wholes[RANGE_BLOCK];
    (void)worker;
    for (int64_t block = first; block < last; ++block) {
        int64_t at = block * RANGE_BLOCK, count = min_i64(RANGE_BLOCK, run->out->dim[0] - at);
        if (dtype_is_float(dtype)) {
            for (int i = 0; i < RANGE_BLOCK; ++i) reals[i] = run->first + (double)(at + i) * run->step;
            dtype_write_f64(dtype, run->out->data, at, count, reals);
        } else {
            for (int i = 0; i < RANGE_BLOCK; ++i)
                wholes[i] = (int64_t)(run->whole_first + (uint64_t)(at + i) * run->whole_step);
            dtype_write_i64(dtype, run->out->data, at, count, wholes);
        }
    }
}

Status kernel_Range(KernelCtx *ctx) {
    enum { BLOCKS_PER_PIECE = 64 };
    const Tensor *start = ctx->inputs[0], *delta = ctx->inputs[2];
    RangeRun run = {.out = ctx->outputs[0]};
    if (dtype_is_float(run.out->dtype)) {
        run.first = kit_real(start, 0);
        run.step = kit_real(delta, 0);
    } else {
        run.whole_first = (uint64_t)kit_index(start, 0);
        run.whole_step = (uint64_t)kit_index(delta, 0);
    }
    parallel_for(element_pool(ctx, run.out->dtype), ceil_div_i64(run.out->dim[0], RANGE_BLOCK),
                 BLOCKS_PER_PIECE, range_blocks, &run);
    return STATUS_OK;
}

/* -- EyeLike -- */

Status parse_EyeLike(const ParseCtx *ctx, const void **attrs) {
    EyeLikeAttrs *out = ARENA_NEW(ctx->arena, EyeLikeAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t dtype;
    TRY(attr_int(ctx->list, "dtype", DTYPE_NONE, &dtype, ctx->diag));
    TRY(attr_int(ctx->list, "k", 0, &out->k, ctx->diag));
    if (dtype != DTYPE_NONE && (!dtype_is_valid(dtype) || dtype_kind((DType)dtype) == DTYPE_KIND_OTHER))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute 'dtype' is %lld, which is no numeric type",
                    (long long)dtype);
    out->dtype = (DType)dtype;
    *attrs = out;
    return STATUS_OK;
}

Status infer_EyeLike(InferCtx *ctx) {
    const EyeLikeAttrs *attrs = ctx->attrs;
    TRY(kit_expect_rank(ctx, 0, 2, 2));
    TRY(kit_infer_same(ctx));
    if (attrs->dtype != DTYPE_NONE) ctx->outputs[0].dtype = attrs->dtype;
    if (dtype_kind(ctx->outputs[0].dtype) == DTYPE_KIND_OTHER)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "an identity matrix of %s",
                    dtype_name(ctx->outputs[0].dtype));
    return STATUS_OK;
}

Status kernel_EyeLike(KernelCtx *ctx) {
    const EyeLikeAttrs *attrs = ctx->attrs;
    Tensor *out = ctx->outputs[0];
    int64_t rows = out->dim[0], columns = out->dim[1], k = clamp_i64(attrs->k, -rows, columns);
    elements_fill(out->dtype, out->data, 0, rows * columns, NULL, 0);
    for (int64_t i = max_i64(0, -k); i < rows && i + k < columns; ++i)
        dtype_store_i64(out->dtype, out->data, i * columns + i + k, 1);
    return STATUS_OK;
}

/* -- OneHot -- */

Status parse_OneHot(const ParseCtx *ctx, const void **attrs) {
    OneHotAttrs *out = ARENA_NEW(ctx->arena, OneHotAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(attr_int(ctx->list, "axis", -1, &out->axis, ctx->diag));
    *attrs = out;
    return STATUS_OK;
}

/* depth may have any numeric type. */
static Status one_hot_depth(InferCtx *ctx, Dim *depth) {
    const TypeInfo *in = ctx->inputs[1];
    bool known;
    double value = 0;
    if (dtype_is_float(in->dtype)) {
        TRY(kit_scalar_f64(ctx, 1, &value, &known));
        if (known && !(value >= 0 && value < 0x1p53))
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "the depth is %g", value);
        *depth = (Dim)value;
    } else {
        TRY(kit_dim_of(ctx, in, "depth", depth, &known));
    }
    if (!known) *depth = dim_fresh(ctx->dims, "depth");
    return kit_check_dim(ctx, *depth, "the depth");
}

Status infer_OneHot(InferCtx *ctx) {
    const OneHotAttrs *attrs = ctx->attrs;
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    int32_t axis;
    Dim depth = 0;
    TRY(kit_expect_rank(ctx, 0, 0, SMELT_MAX_RANK - 1));
    TRY(kit_expect_rank(ctx, 2, 1, 1));
    TRY(kit_same_dim(ctx, ctx->inputs[2]->shape.dim[0], 2, "number of values, off and on", &depth));
    TRY(kit_axis(attrs->axis, in->rank + 1, &axis, ctx->diag));
    TRY(one_hot_depth(ctx, &depth));
    if (dtype_kind(ctx->inputs[0]->dtype) == DTYPE_KIND_OTHER)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "indices of type %s", dtype_name(ctx->inputs[0]->dtype));
    ctx->outputs[0].dtype = ctx->inputs[2]->dtype;
    out->rank = in->rank + 1;
    for (int32_t i = 0; i < out->rank; ++i) out->dim[i] = i == axis ? depth : in->dim[i - (i > axis)];
    return STATUS_OK;
}

Status kernel_OneHot(KernelCtx *ctx) {
    const OneHotAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0], *values = ctx->inputs[2];
    Tensor *out = ctx->outputs[0];
    int32_t axis;
    TRY(kit_axis(attrs->axis, out->rank, &axis, ctx->diag));
    int64_t depth = out->dim[axis], inner = tensor_span(out, axis + 1, out->rank), count = tensor_count(in);
    elements_fill(out->dtype, out->data, 0, tensor_count(out), values->data, 0);
    for (int64_t i = 0; i < count; ++i) {
        int64_t index = kit_index(in, i);
        if (index < 0) index += depth;
        if (index < 0 || index >= depth) continue; /* outside: all off */
        int64_t at = (i / inner * depth + index) * inner + i % inner;
        elements_copy(out->dtype, out->data, at, values->data, 1, 1);
    }
    return STATUS_OK;
}
