/* CumSum and CumProd. */
#include "ops/kit.h"
#include "ops/sorting.h"

enum { GRAIN = 16384 }; /* elements per piece of parallel work */

static Status parse_cumulative(const ParseCtx *ctx, const void **attrs) {
    CumulativeAttrs *out = ARENA_NEW(ctx->arena, CumulativeAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t exclusive, reverse;
    TRY(attr_int_in(ctx->list, "exclusive", 0, 0, 1, &exclusive, ctx->diag));
    TRY(attr_int_in(ctx->list, "reverse", 0, 0, 1, &reverse, ctx->diag));
    out->exclusive = exclusive != 0;
    out->reverse = reverse != 0;
    *attrs = out;
    return STATUS_OK;
}

static Status infer_cumulative(InferCtx *ctx) {
    int64_t axis;
    int32_t ignored;
    bool known;
    if (dtype_kind(ctx->inputs[0]->dtype) == DTYPE_KIND_OTHER)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "input 0 is %s", dtype_name(ctx->inputs[0]->dtype));
    TRY(kit_scalar_i64(ctx, 1, &axis, &known));
    if (known) TRY(kit_axis(axis, ctx->inputs[0]->shape.rank, &ignored, ctx->diag));
    return kit_infer_same(ctx);
}

typedef struct CumulativeRun {
    const Tensor *in;
    Tensor *out;
    bool product, exclusive, reverse;
    int64_t extent, inner;
} CumulativeRun;

static void run_line_f64(const CumulativeRun *run, int64_t at, int64_t step) {
    double total = run->product ? 1 : 0;
    DType dtype = run->in->dtype;
    for (int64_t i = 0; i < run->extent; ++i, at += step) {
        double value = dtype_load_f64(dtype, run->in->data, at), before = total;
        total = run->product ? total * value : total + value;
        dtype_store_f64(dtype, run->out->data, at, run->exclusive ? before : total);
    }
}

/* Sums and products of integers wrap. */
static void run_line_i64(const CumulativeRun *run, int64_t at, int64_t step) {
    uint64_t total = run->product ? 1 : 0;
    DType dtype = run->in->dtype;
    for (int64_t i = 0; i < run->extent; ++i, at += step) {
        uint64_t value = (uint64_t)dtype_load_i64(dtype, run->in->data, at), before = total;
        total = run->product ? total * value : total + value;
        dtype_store_i64(dtype, run->out->data, at, (int64_t)(run->exclusive ? before : total));
    }
}

static void run_lines(void *context, int64_t first, int64_t last, int worker) {
    const CumulativeRun *run = context;
    bool is_float = dtype_is_float(run->in->dtype);
    int64_t step = run->reverse ? -run->inner : run->inner;
    (void)worker;
    for (int64_t n = first; n < last; ++n) {
        int64_t at = n / run->inner * run->extent * run->inner + n % run->inner;
        if (run->reverse) at += (run->extent - 1) * run->inner;
        if (is_float)
            run_line_f64(run, at, step);
        else
            run_line_i64(run, at, step);
    }
}

static Status kernel_cumulative(KernelCtx *ctx, bool product) {
    const CumulativeAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    int32_t axis = 0;
    if (tensor_count(in) == 0) return STATUS_OK;
    if (tensor_count(ctx->inputs[1]) != 1) return FAIL(ctx->diag, STATUS_BAD_DATA, "the axis is no scalar");
    TRY(kit_axis(kit_index(ctx->inputs[1], 0), in->rank, &axis, ctx->diag));
    CumulativeRun run = {in,
                         ctx->outputs[0],
                         product,
                         attrs->exclusive,
                         attrs->reverse,
                         in->dim[axis],
                         tensor_span(in, axis + 1, in->rank)};
    bool shared = dtype_bits(in->dtype) < 8;
    parallel_for(shared ? NULL : ctx->host->pool, tensor_span(in, 0, axis) * run.inner,
                 max_i64(1, GRAIN / run.extent), run_lines, &run);
    return STATUS_OK;
}

Status parse_CumSum(const ParseCtx *ctx, const void **attrs) {
    return parse_cumulative(ctx, attrs);
}

Status infer_CumSum(InferCtx *ctx) {
    return infer_cumulative(ctx);
}

Status kernel_CumSum(KernelCtx *ctx) {
    return kernel_cumulative(ctx, false);
}

Status parse_CumProd(const ParseCtx *ctx, const void **attrs) {
    return parse_cumulative(ctx, attrs);
}

Status infer_CumProd(InferCtx *ctx) {
    return infer_cumulative(ctx);
}

Status kernel_CumProd(KernelCtx *ctx) {
    return kernel_cumulative(ctx, true);
}
