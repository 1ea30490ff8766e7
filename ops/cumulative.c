/* CumSum and CumProd. */
#include "base/simd.h"
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

enum { BLOCK = 1024 };

/* Elements of a block with the running results, in double, or in integers that wrap. */
typedef union CumulativeBlock {
    double real[BLOCK];
    uint64_t whole[BLOCK];
} CumulativeBlock;

static void read_block(const CumulativeRun *run, int64_t first, int64_t count, CumulativeBlock *out) {
    if (dtype_is_float(run->in->dtype))
        dtype_read_f64(run->in->dtype, run->in->data, first, count, out->real);
    else
        dtype_read_i64(run->in->dtype, run->in->data, first, count, (int64_t *)out->whole);
}

static void write_block(const CumulativeRun *run, int64_t first, int64_t count, const CumulativeBlock *in) {
    if (dtype_is_float(run->in->dtype))
        dtype_write_f64(run->out->dtype, run->out->data, first, count, in->real);
    else
        dtype_write_i64(run->out->dtype, run->out->data, first, count, (const int64_t *)in->whole);
}

/* x[i] is merged into total[i * step], and becomes that, or what that was before. */
#define MERGE_ALL(x, total, merged)                                                                          \
    for (int64_t i = 0; i < count; ++i) {                                                                    \
        before = (total)[i * step];                                                                          \
        (total)[i * step] = (merged);                                                                        \
        (x)[i] = exclusive ? before : (total)[i * step];                                                     \
    }

static inline void merge_real(bool product, bool exclusive, int64_t count, double *x, double *total,
                              int64_t step) {
    double before;
    if (product)
        MERGE_ALL(x, total, before * x[i])
    else
        MERGE_ALL(x, total, before + x[i])
}

static inline void merge_whole(bool product, bool exclusive, int64_t count, uint64_t *x, uint64_t *total,
                               int64_t step) {
    uint64_t before;
    if (product)
        MERGE_ALL(x, total, before * x[i])
    else
        MERGE_ALL(x, total, before + x[i])
}

SIMD_CLONES static void merge_columns(const CumulativeRun *run, int64_t count, CumulativeBlock *restrict x,
                                      CumulativeBlock *restrict total) {
    if (dtype_is_float(run->in->dtype))
        merge_real(run->product, run->exclusive, count, x->real, total->real, 1);
    else
        merge_whole(run->product, run->exclusive, count, x->whole, total->whole, 1);
}

static void start_totals(const CumulativeRun *run, CumulativeBlock *total) {
    bool real = dtype_is_float(run->in->dtype);
    for (int i = 0; i < BLOCK; ++i)
        if (real)
            total->real[i] = run->product ? 1 : 0;
        else
            total->whole[i] = run->product ? 1 : 0;
}

/* `count` neighbouring lines, of which the first begins at element `base`. */
static void run_columns(const CumulativeRun *run, int64_t base, int64_t count) {
    CumulativeBlock x, total;
    start_totals(run, &total);
    for (int64_t a = 0; a < run->extent; ++a) {
        int64_t at = base + (run->reverse ? run->extent - 1 - a : a) * run->inner;
        read_block(run, at, count, &x);
        merge_columns(run, count, &x, &total);
        write_block(run, at, count, &x);
    }
}

static void reverse_block(int64_t count, CumulativeBlock *x) {
    for (int64_t i = 0, j = count - 1; i < j; ++i, --j) {
        uint64_t other = x->whole[i];
        x->whole[i] = x->whole[j];
        x->whole[j] = other;
    }
}

/* A contiguous line. */
static void run_line(const CumulativeRun *run, int64_t base) {
    CumulativeBlock x, total;
    bool real = dtype_is_float(run->in->dtype);
    start_totals(run, &total);
    for (int64_t done = 0, count; done < run->extent; done += count) {
        count = min_i64(BLOCK, run->extent - done);
        int64_t at = base + (run->reverse ? run->extent - done - count : done);
        read_block(run, at, count, &x);
        if (run->reverse) reverse_block(count, &x);
        if (real)
            merge_real(run->product, run->exclusive, count, x.real, total.real, 0);
        else
            merge_whole(run->product, run->exclusive, count, x.whole, total.whole, 0);
        if (run->reverse) reverse_block(count, &x);
        write_block(run, at, count, &x);
    }
}

static void run_units(void *context, int64_t first, int64_t last, int worker) {
    const CumulativeRun *run = context;
    int64_t tiles = ceil_div_i64(run->inner, BLOCK);
    (void)worker;
    for (int64_t unit = first; unit < last; ++unit) {
        int64_t column = unit % tiles * BLOCK, base = unit / tiles * run->extent * run->inner + column;
        if (run->inner == 1)
            run_line(run, base);
        else
            run_columns(run, base, min_i64(BLOCK, run->inner - column));
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
    int64_t units = tensor_span(in, 0, axis) * ceil_div_i64(run.inner, BLOCK);
    parallel_for(shared ? NULL : ctx->host->pool, units,
                 max_i64(1, GRAIN / (run.extent * min_i64(run.inner, BLOCK))), run_units, &run);
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
