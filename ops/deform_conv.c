/* DeformConv in two dimensions: Zhu et al., "Deformable ConvNets v2", 2018. A convolution whose windows are
 * sampled between elements, at positions that an input moves, and may be weighted. */
#include <math.h>
#include <string.h>

#include "ops/conv.h"
#include "ops/gemm.h"
#include "ops/kit.h"

enum { INPUT_OFFSET = 2, INPUT_BIAS = 3, INPUT_MASK = 4 };

Status parse_DeformConv(const ParseCtx *ctx, const void **attrs) {
    DeformAttrs *own = ARENA_NEW(ctx->arena, DeformAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(window_parse(ctx, &own->window));
    TRY(attr_int_in(ctx->list, "group", 1, 1, INT32_MAX, &own->group, ctx->diag));
    TRY(attr_int_in(ctx->list, "offset_group", 1, 1, INT32_MAX, &own->offset_group, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

static Status expect_extent(InferCtx *ctx, int32_t input, int32_t axis, Dim wanted) {
    Dim found = ctx->inputs[input]->shape.dim[axis];
    if (!dim_is_exact(found) || !dim_is_exact(wanted) || found == wanted) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has extent %lld on axis %d, expected %lld", input,
                (long long)found, axis, (long long)wanted);
}

/* Offsets have two values per tap and output position, the mask one. */
static Status check_moves(InferCtx *ctx, int32_t input, int64_t values) {
    const DeformAttrs *attrs = ctx->attrs;
    const Dim *w = ctx->inputs[1]->shape.dim;
    const Shape *y = &ctx->outputs[0].shape;
    if (infer_input(ctx, input) == NULL) return STATUS_OK;
    TRY(kit_expect_dtype_like(ctx, input, 0));
    TRY(kit_expect_rank(ctx, input, 4, 4));
    Dim taps = dim_mul(ctx->dims, w[2], w[3]);
    TRY(expect_extent(ctx, input, 0, y->dim[0]));
    TRY(expect_extent(ctx, input, 1, dim_mul(ctx->dims, taps, values * attrs->offset_group)));
    TRY(expect_extent(ctx, input, 2, y->dim[2]));
    return expect_extent(ctx, input, 3, y->dim[3]);
}

Status infer_DeformConv(InferCtx *ctx) {
    const DeformAttrs *attrs = ctx->attrs;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_dtype_like(ctx, 1, 0));
    int32_t axes;
    TRY(window_check_axes(ctx, &attrs->window, 0, &axes));
    if (axes != 2)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "DeformConv in %d dimensions, 2 are supported", axes);
    TRY(kit_expect_rank(ctx, 1, 4, 4));
    const Shape *x = &ctx->inputs[0]->shape, *w = &ctx->inputs[1]->shape;
    if (dim_is_exact(x->dim[1]) && x->dim[1] % attrs->offset_group != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld channels do not divide into %lld offset groups",
                    (long long)x->dim[1], (long long)attrs->offset_group);
    if (dim_is_exact(w->dim[0]) && w->dim[0] % attrs->group != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld output channels do not divide into %lld groups",
                    (long long)w->dim[0], (long long)attrs->group);
    TRY(expect_extent(ctx, 0, 1, dim_mul(ctx->dims, w->dim[1], attrs->group)));
    TypeInfo *y = &ctx->outputs[0];
    y->dtype = ctx->inputs[0]->dtype;
    y->shape = (Shape){.rank = 4, .dim = {x->dim[0], w->dim[0]}};
    for (int32_t i = 0; i < 2; ++i) {
        if (attrs->window.has_kernel) TRY(expect_extent(ctx, 1, 2 + i, attrs->window.kernel[i]));
        TRY(window_extent(ctx, &attrs->window, i, x->dim[2 + i], w->dim[2 + i], false, &y->shape.dim[2 + i]));
    }
    if (infer_input(ctx, INPUT_BIAS) != NULL) {
        TRY(kit_expect_dtype_like(ctx, INPUT_BIAS, 0));
        TRY(kit_expect_rank(ctx, INPUT_BIAS, 1, 1));
        TRY(expect_extent(ctx, INPUT_BIAS, 0, w->dim[0]));
    }
    TRY(check_moves(ctx, INPUT_OFFSET, 2));
    return check_moves(ctx, INPUT_MASK, 1);
}

typedef struct DeformRun {
    const Tensor *x, *w, *offset, *bias, *mask;
    Tensor *y;
    Window window;
    int64_t groups, channels, outputs; /* the latter two of a group */
    int64_t offset_groups;
} DeformRun;

static bool is_single(const DeformRun *run) {
    return run->x->dtype == DTYPE_F32;
}

static const void *weight_row(const void *context, int64_t batch, int64_t row, int64_t k, int64_t depth,
                              void *buffer) {
    const DeformRun *run = context;
    int64_t first = (batch % run->groups * run->outputs + row) * run->channels * run->window.taps + k;
    return gemm_read(is_single(run) ? GEMM_F32 : GEMM_F64, run->w, first, 1, depth, buffer);
}

/* Bilinear sample of the plane that begins at element `plane`; zero outside. */
static double sample(const DeformRun *run, int64_t plane, double y, double x) {
    const int64_t *in = run->window.in;
    if (!(y > -1 && y < (double)in[1] && x > -1 && x < (double)in[2])) return 0;
    int64_t y0 = (int64_t)y - (y < 0), x0 = (int64_t)x - (x < 0); /* rounded down: both are above -1 */
    double part_y = y - (double)y0, part_x = x - (double)x0, sum = 0;
    for (int corner = 0; corner < 4; ++corner) {
        int64_t at_y = y0 + corner / 2, at_x = x0 + corner % 2;
        if (at_y < 0 || at_y >= in[1] || at_x < 0 || at_x >= in[2]) continue;
        double weight = (corner < 2 ? 1 - part_y : part_y) * (corner % 2 == 0 ? 1 - part_x : part_x);
        sum += weight * kit_real(run->x, plane + at_y * in[2] + at_x);
    }
    return sum;
}

static const void *sampled_row(const void *context, int64_t batch, int64_t k, int64_t col, int64_t cols,
                               void *buffer) {
    const DeformRun *run = context;
    const Window *win = &run->window;
    int64_t entry = batch / run->groups, tap = k % win->taps;
    int64_t channel = batch % run->groups * run->channels + k / win->taps;
    int64_t per_offset = run->channels * run->groups / run->offset_groups;
    int64_t move = (entry * run->offset_groups + channel / per_offset) * win->taps + tap;
    int64_t plane = (entry * run->channels * run->groups + channel) * win->in_count;
    int64_t tap_y = tap / win->kernel[2] * win->dilation[1] - win->pad[1];
    int64_t tap_x = tap % win->kernel[2] * win->dilation[2] - win->pad[2];
    int64_t out_y = col / win->out[2], out_x = col % win->out[2];
    for (int64_t i = 0; i < cols; ++i) {
        int64_t at = col + i, base_y = out_y * win->stride[1] + tap_y,
                base_x = out_x * win->stride[2] + tap_x;
        double y = (double)base_y + kit_real(run->offset, 2 * move * win->out_count + at);
        double x = (double)base_x + kit_real(run->offset, (2 * move + 1) * win->out_count + at);
        double value = sample(run, plane, y, x);
        if (run->mask != NULL) value *= kit_real(run->mask, move * win->out_count + at);
        if (is_single(run))
            ((float *)buffer)[i] = (float)value;
        else
            ((double *)buffer)[i] = value;
        if (++out_x < win->out[2]) continue;
        out_x = 0;
        ++out_y;
    }
    return buffer;
}

static void bias_values(const void *context, int64_t batch, int64_t row, int64_t rows, void *values) {
    const DeformRun *run = context;
    gemm_read_bias(is_single(run) ? GEMM_F32 : GEMM_F64, run->bias, batch % run->groups * run->outputs + row,
                   rows, values);
}

static void store_block(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col,
                        int64_t cols, const void *block, int64_t ld) {
    const DeformRun *run = context;
    for (int64_t r = 0; r < rows; ++r)
        dtype_write_f64(run->y->dtype, run->y->data,
                        (batch * run->outputs + row + r) * run->window.out_count + col, cols,
                        (const double *)block + r * ld);
}

static void deform_make(const KernelCtx *ctx, DeformRun *run, Gemm *gemm) {
    const DeformAttrs *attrs = ctx->attrs;
    *run = (DeformRun){.x = ctx->inputs[0],
                       .w = ctx->inputs[1],
                       .offset = ctx->inputs[INPUT_OFFSET],
                       .bias = kernel_input(ctx, INPUT_BIAS),
                       .mask = kernel_input(ctx, INPUT_MASK),
                       .y = ctx->outputs[0],
                       .groups = attrs->group,
                       .offset_groups = attrs->offset_group};
    run->channels = run->w->dim[1];
    run->outputs = run->w->dim[0] / run->groups;
    run->window = window_of(&attrs->window, run->w->dim + 2, run->x, run->y);
    *gemm = (Gemm){.type = is_single(run) ? GEMM_F32 : GEMM_F64,
                   .batch = run->x->dim[0] * run->groups,
                   .m = run->outputs,
                   .n = run->window.out_count,
                   .k = run->channels * run->window.taps,
                   .context = run,
                   .row_a = weight_row,
                   .row_b = sampled_row,
                   .start = run->bias != NULL ? bias_values : NULL,
                   .c = run->y->data,
                   .store = is_single(run) ? NULL : store_block};
}

size_t scratch_DeformConv(const KernelCtx *ctx) {
    DeformRun run;
    Gemm gemm;
    deform_make(ctx, &run, &gemm);
    return gemm_scratch(&gemm, kit_worker_count(ctx));
}

Status kernel_DeformConv(KernelCtx *ctx) {
    DeformRun run;
    Gemm gemm;
    deform_make(ctx, &run, &gemm);
    return gemm_run(&gemm, ctx->host, ctx->host->scratch, ctx->host->scratch_size, ctx->diag);
}
