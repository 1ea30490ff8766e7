/* Trilu, ReverseSequence and Col2Im: movement that depends on where an element stands. */
#include <string.h>

#include "ops/kit.h"
#include "ops/movement.h"
#include "ops/strided.h"

enum { GRAIN = 16384 }; /* elements per piece of parallel work */

/* -- Trilu -- */

Status parse_Trilu(const ParseCtx *ctx, const void **attrs) {
    TriluAttrs *out = ARENA_NEW(ctx->arena, TriluAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t upper;
    TRY(attr_int_in(ctx->list, "upper", 1, 0, 1, &upper, ctx->diag));
    out->upper = upper != 0;
    *attrs = out;
    return STATUS_OK;
}

Status infer_Trilu(InferCtx *ctx) {
    int64_t k;
    bool known;
    TRY(kit_expect_rank(ctx, 0, 2, SMELT_MAX_RANK));
    TRY(kit_scalar_i64(ctx, 1, &k, &known));
    return kit_infer_same(ctx);
}

typedef struct TriluRun {
    const Tensor *in;
    Tensor *out;
    bool upper;
    int64_t k, rows, columns;
} TriluRun;

static void trilu_rows(void *context, int64_t first, int64_t last, int worker) {
    const TriluRun *run = context;
    (void)worker;
    for (int64_t n = first; n < last; ++n) {
        /* columns below `split` are one side, the others the other side */
        int64_t diagonal = n % run->rows + run->k + !run->upper;
        int64_t split = clamp_i64(diagonal, 0, run->columns), at = n * run->columns;
        int64_t kept = run->upper ? split : 0, zero = run->upper ? 0 : split;
        int64_t kept_count = run->upper ? run->columns - split : split;
        elements_copy(run->in->dtype, run->out->data, at + kept, run->in->data, at + kept, kept_count);
        elements_fill(run->in->dtype, run->out->data, at + zero, run->columns - kept_count, NULL, 0);
    }
}

Status kernel_Trilu(KernelCtx *ctx) {
    const TriluAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0], *k = kernel_input(ctx, 1);
    TriluRun run = {in, ctx->outputs[0], attrs->upper, 0, in->dim[in->rank - 2], in->dim[in->rank - 1]};
    if (tensor_count(in) == 0) return STATUS_OK;
    if (k != NULL) run.k = clamp_i64(kit_index(k, 0), -run.rows, run.columns);
    parallel_for(element_pool(ctx, in->dtype), tensor_count(in) / run.columns,
                 max_i64(1, GRAIN / run.columns), trilu_rows, &run);
    return STATUS_OK;
}

/* -- ReverseSequence -- */

Status parse_ReverseSequence(const ParseCtx *ctx, const void **attrs) {
    ReverseSequenceAttrs *out = ARENA_NEW(ctx->arena, ReverseSequenceAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t batch, time;
    TRY(attr_int_in(ctx->list, "batch_axis", 1, 0, 1, &batch, ctx->diag));
    TRY(attr_int_in(ctx->list, "time_axis", 0, 0, 1, &time, ctx->diag));
    if (batch == time)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "'batch_axis' and 'time_axis' are both %lld",
                    (long long)time);
    out->batch_axis = (int32_t)batch;
    out->time_axis = (int32_t)time;
    *attrs = out;
    return STATUS_OK;
}

Status infer_ReverseSequence(InferCtx *ctx) {
    const ReverseSequenceAttrs *attrs = ctx->attrs;
    TRY(kit_expect_rank(ctx, 0, 2, SMELT_MAX_RANK));
    TRY(kit_expect_rank(ctx, 1, 1, 1));
    TRY(kit_infer_same(ctx));
    Dim *batch = &ctx->outputs[0].shape.dim[attrs->batch_axis];
    return kit_same_dim(ctx, *batch, ctx->inputs[1]->shape.dim[0], "batch and number of sequence lengths",
                        batch);
}

typedef struct ReverseRun {
    const Tensor *in, *lengths;
    Tensor *out;
    int64_t batch, time, batch_stride, time_stride, inner;
} ReverseRun;

static void reverse_sequences(void *context, int64_t first, int64_t last, int worker) {
    const ReverseRun *run = context;
    (void)worker;
    for (int64_t n = first; n < last; ++n) {
        int64_t length = kit_index(run->lengths, n), at = n * run->batch_stride;
        for (int64_t t = 0; t < run->time; ++t) {
            int64_t source = t < length ? length - 1 - t : t;
            elements_copy(run->in->dtype, run->out->data, at + t * run->time_stride, run->in->data,
                          at + source * run->time_stride, run->inner);
        }
    }
}

Status kernel_ReverseSequence(KernelCtx *ctx) {
    const ReverseSequenceAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0], *lengths = ctx->inputs[1];
    int64_t inner = tensor_span(in, 2, in->rank);
    int64_t stride[2] = {in->dim[1] * inner, inner};
    ReverseRun run = {in,
                      lengths,
                      ctx->outputs[0],
                      in->dim[attrs->batch_axis],
                      in->dim[attrs->time_axis],
                      stride[attrs->batch_axis],
                      stride[attrs->time_axis],
                      inner};
    for (int64_t n = 0; n < run.batch; ++n) {
        int64_t length = kit_index(lengths, n);
        if (length < 0 || length > run.time)
            return FAIL(ctx->diag, STATUS_BAD_DATA, "sequence length %lld is outside 0 to %lld",
                        (long long)length, (long long)run.time);
    }
    parallel_for(element_pool(ctx, in->dtype), run.batch, max_i64(1, GRAIN / max_i64(1, run.time * inner)),
                 reverse_sequences, &run);
    return STATUS_OK;
}

/* -- Col2Im -- */

static Status read_list(const ParseCtx *ctx, const char *name, int64_t low, int32_t capacity, int64_t *out,
                        int32_t *count) {
    const int64_t *values;
    TRY(attr_ints(ctx->list, name, &values, count, ctx->diag));
    if (*count > capacity)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute '%s' has %d elements, at most %d are possible",
                    name, *count, capacity);
    if (*count < 0) *count = 0;
    for (int32_t i = 0; i < *count; ++i) {
        if (values[i] < low || values[i] > INT32_MAX)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "attribute '%s' holds %lld", name, (long long)values[i]);
        out[i] = values[i];
    }
    return STATUS_OK;
}

Status parse_Col2Im(const ParseCtx *ctx, const void **attrs) {
    Col2ImAttrs *out = ARENA_NEW(ctx->arena, Col2ImAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(read_list(ctx, "strides", 1, SMELT_MAX_RANK, out->strides, &out->stride_count));
    TRY(read_list(ctx, "dilations", 1, SMELT_MAX_RANK, out->dilations, &out->dilation_count));
    TRY(read_list(ctx, "pads", 0, 2 * SMELT_MAX_RANK, out->pads, &out->pad_count));
    *attrs = out;
    return STATUS_OK;
}

static Status check_col2im_lists(Diag *diag, const Col2ImAttrs *attrs, int32_t spatial) {
    if ((attrs->stride_count == 0 || attrs->stride_count == spatial) &&
        (attrs->dilation_count == 0 || attrs->dilation_count == spatial) &&
        (attrs->pad_count == 0 || attrs->pad_count == 2 * spatial))
        return STATUS_OK;
    return FAIL(diag, STATUS_BAD_MODEL, "strides, dilations or pads do not fit %d spatial dimensions",
                spatial);
}

Status infer_Col2Im(InferCtx *ctx) {
    const Col2ImAttrs *attrs = ctx->attrs;
    const TypeInfo *in = ctx->inputs[0];
    Shape *out = &ctx->outputs[0].shape;
    Dim image[SMELT_MAX_RANK], block[SMELT_MAX_RANK], size = 1;
    int32_t spatial, block_count;
    bool image_known, block_known;
    TRY(kit_expect_rank(ctx, 0, 3, 3));
    TRY(kit_dims_of(ctx, ctx->inputs[1], "image_shape", SMELT_MAX_RANK - 2, image, &spatial, &image_known));
    TRY(kit_dims_of(ctx, ctx->inputs[2], "block_shape", SMELT_MAX_RANK - 2, block, &block_count,
                    &block_known));
    if (dtype_kind(in->dtype) == DTYPE_KIND_OTHER)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "sums of %s", dtype_name(in->dtype));
    if (spatial < 0) spatial = block_count;
    if (spatial == 0) return FAIL(ctx->diag, STATUS_BAD_MODEL, "the image has no dimensions");
    if (block_count >= 0 && block_count != spatial)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d block extents for %d image extents", block_count,
                    spatial);
    ctx->outputs[0].dtype = in->dtype;
    TRY(kit_late_by_count(ctx, spatial < 0 ? -1 : spatial + 2, "image_shape", out));
    TRY(check_col2im_lists(ctx->diag, attrs, spatial));
    out->dim[0] = in->shape.dim[0];
    for (int32_t i = 0; i < spatial; ++i) {
        if (image_known) out->dim[i + 2] = image[i];
        TRY(kit_check_dim(ctx, out->dim[i + 2], "an image extent"));
        if (block_known) size = dim_mul(ctx->dims, size, block[i]);
    }
    if (!block_known) return STATUS_OK;
    if (dim_is_exact(size) && size <= 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "a block of %lld elements", (long long)size);
    if (dim_is_exact(size) && dim_is_exact(in->shape.dim[1]) && in->shape.dim[1] % size != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld rows are not a multiple of the block's %lld elements",
                    (long long)in->shape.dim[1], (long long)size);
    out->dim[1] = dim_floor_div(ctx->dims, in->shape.dim[1], size);
    return STATUS_OK;
}

typedef struct Col2ImRun {
    const Tensor *in;
    Tensor *out;
    int32_t spatial;
    int64_t block[SMELT_MAX_RANK], stride[SMELT_MAX_RANK], dilation[SMELT_MAX_RANK], pad[SMELT_MAX_RANK];
    int64_t positions[SMELT_MAX_RANK]; /* blocks along each dimension */
    int64_t block_size, column_count;
} Col2ImRun;

enum { COLUMNS = 256 };

/* What element k of the blocks adds to a row of the image: the column that is at the row's place, less what
 * the last dimension contributes, or -1. `row` counts rows of one plane; *offset gets where block position 0
 * puts its element along the last dimension. */
static int64_t find_columns(const Col2ImRun *run, int64_t row, int64_t k, int64_t *offset) {
    int32_t last = run->spatial - 1;
    int64_t column = 0, scale = run->positions[last];
    *offset = k % run->block[last] * run->dilation[last] - run->pad[last];
    k /= run->block[last];
    for (int32_t i = last - 1; i >= 0; --i) {
        int64_t pixel = row % run->out->dim[i + 2];
        int64_t from_start = pixel + run->pad[i] - k % run->block[i] * run->dilation[i];
        int64_t position = from_start / run->stride[i];
        if (from_start < 0 || from_start % run->stride[i] != 0 || position >= run->positions[i]) return -1;
        k /= run->block[i];
        row /= run->out->dim[i + 2];
        column += position * scale;
        scale *= run->positions[i];
    }
    return column;
}

/* Adds what element k puts onto pixels [x, x + count) of a row. `column`, offset: see find_columns. */
static void add_columns(const Col2ImRun *run, int64_t element, int64_t offset, int64_t x, int64_t count,
                        double *sums) {
    int32_t last = run->spatial - 1;
    int64_t stride = run->stride[last];
    int64_t low = max_i64(0, ceil_div_i64(x - offset, stride));
    int64_t high = min_i64(run->positions[last], ceil_div_i64(x + count - offset, stride));
    double values[COLUMNS];
    if (low >= high) return;
    dtype_read_f64(run->in->dtype, run->in->data, element + low, high - low, values);
    double *to = sums + low * stride + offset - x;
    if (stride == 1)
        for (int64_t i = 0; i < high - low; ++i) to[i] += values[i];
    else
        for (int64_t i = 0; i < high - low; ++i) to[i * stride] += values[i];
}

static void col2im_rows(void *context, int64_t first, int64_t last, int worker) {
    const Col2ImRun *run = context;
    int64_t width = run->out->dim[run->spatial + 1];
    int64_t plane_rows = tensor_span(run->out, 2, run->spatial + 1);
    (void)worker;
    for (int64_t n = first; n < last; ++n) {
        int64_t plane = n / plane_rows;
        for (int64_t x = 0, count; x < width; x += count) {
            double sums[COLUMNS] = {0};
            count = min_i64(COLUMNS, width - x);
            for (int64_t k = 0; k < run->block_size; ++k) {
                int64_t offset, column = find_columns(run, n % plane_rows, k, &offset);
                if (column < 0) continue;
                int64_t element = (plane * run->block_size + k) * run->column_count + column;
                add_columns(run, element, offset, x, count, sums);
            }
            dtype_write_f64(run->out->dtype, run->out->data, n * width + x, count, sums);
        }
    }
}

static Status col2im_prepare(KernelCtx *ctx, Col2ImRun *run) {
    const Col2ImAttrs *attrs = ctx->attrs;
    int64_t columns = 1;
    run->spatial = kit_read_ints(ctx->inputs[2], run->block, SMELT_MAX_RANK - 2);
    for (int32_t i = 0; i < run->spatial; ++i) {
        run->stride[i] = attrs->stride_count > 0 ? attrs->strides[i] : 1;
        run->dilation[i] = attrs->dilation_count > 0 ? attrs->dilations[i] : 1;
        run->pad[i] = attrs->pad_count > 0 ? attrs->pads[i] : 0;
        int64_t end_pad = attrs->pad_count > 0 ? attrs->pads[i + run->spatial] : 0, room;
        if (!checked_mul_i64(run->block[i] - 1, run->dilation[i], &room) || run->block[i] < 1 ||
            !checked_sub_i64(run->out->dim[i + 2] + run->pad[i] + end_pad, room, &room) || room < 1)
            return FAIL(ctx->diag, STATUS_BAD_DATA, "block extent %lld does not fit image extent %lld",
                        (long long)run->block[i], (long long)run->out->dim[i + 2]);
        run->positions[i] = (room - 1) / run->stride[i] + 1;
        run->block_size *= run->block[i];
        if (!checked_mul_i64(columns, run->positions[i], &columns)) columns = -1;
    }
    if (columns != run->column_count)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "%lld columns, but the image has %lld block positions",
                    (long long)run->column_count, (long long)columns);
    return STATUS_OK;
}

Status kernel_Col2Im(KernelCtx *ctx) {
    Col2ImRun run = {.in = ctx->inputs[0],
                     .out = ctx->outputs[0],
                     .block_size = 1,
                     .column_count = ctx->inputs[0]->dim[2]};
    if (tensor_count(run.out) == 0) return STATUS_OK;
    TRY(col2im_prepare(ctx, &run));
    int64_t width = run.out->dim[run.spatial + 1];
    parallel_for(element_pool(ctx, run.out->dtype), tensor_count(run.out) / width,
                 max_i64(1, GRAIN / run.block_size / width), col2im_rows, &run);
    return STATUS_OK;
}
