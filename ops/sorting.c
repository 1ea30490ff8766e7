/* TopK, ArgMax and ArgMin. */
#include "ops/sorting.h"

#include "ops/kit.h"
#include "ops/order.h"
#include "ops/strided.h"

enum { GRAIN = 16384 }; /* elements per piece of parallel work */

static Status parse_flag(const ParseCtx *ctx, const char *name, bool fallback, bool *out) {
    int64_t value;
    TRY(attr_int(ctx->list, name, fallback, &value, ctx->diag));
    *out = value != 0;
    return STATUS_OK;
}

static Status expect_numeric(InferCtx *ctx) {
    if (dtype_kind(ctx->inputs[0]->dtype) != DTYPE_KIND_OTHER) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_UNSUPPORTED, "the order of %s", dtype_name(ctx->inputs[0]->dtype));
}

/* -- TopK -- */

Status parse_TopK(const ParseCtx *ctx, const void **attrs) {
    TopKAttrs *out = ARENA_NEW(ctx->arena, TopKAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(attr_int(ctx->list, "axis", -1, &out->axis, ctx->diag));
    TRY(parse_flag(ctx, "largest", true, &out->largest));
    TRY(parse_flag(ctx, "sorted", true, &out->sorted));
    *attrs = out;
    return STATUS_OK;
}

Status infer_TopK(InferCtx *ctx) {
    const TopKAttrs *attrs = ctx->attrs;
    Dim k = 0;
    int32_t axis = 0;
    bool known;
    TRY(expect_numeric(ctx));
    TRY(kit_infer_same(ctx));
    Shape *out = &ctx->outputs[0].shape;
    TRY(kit_axis(attrs->axis, out->rank, &axis, ctx->diag));
    TRY(kit_dim_of(ctx, ctx->inputs[1], "k", &k, &known));
    if (!known) k = kit_late_at_most(ctx, "k", out->dim[axis]);
    TRY(kit_check_dim(ctx, k, "k"));
    if (dim_is_exact(k) && dim_is_exact(out->dim[axis]) && k > out->dim[axis])
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "k is %lld, but axis %d has extent %lld", (long long)k, axis,
                    (long long)out->dim[axis]);
    out->dim[axis] = k;
    if (ctx->output_count > 1) {
        ctx->outputs[1].dtype = DTYPE_I64;
        ctx->outputs[1].shape = *out;
    }
    return STATUS_OK;
}

typedef struct Ranked {
    uint64_t key;
    int64_t index;
} Ranked;

typedef struct TopKRun {
    const Tensor *in;
    Tensor *values, *indices; /* may be NULL */
    bool largest;
    int64_t extent, inner, k;
    Ranked *scratch; /* k per worker */
} TopKRun;

/* Ties go to the lower index. */
static inline bool beats(Ranked a, Ranked b) {
    return a.key > b.key || (a.key == b.key && a.index < b.index);
}

/* heap[0] is the one that all others beat. */
static void sift_down(Ranked *heap, int64_t count, int64_t at, Ranked item) {
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && beats(heap[child], heap[child + 1])) ++child;
        if (beats(heap[child], item)) break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static Ranked ranked(const TopKRun *run, int64_t base, int64_t i) {
    uint64_t key = order_key(run->in->dtype, run->in->data, base + i * run->inner);
    return (Ranked){run->largest ? key : ~key, i};
}

/* The best k of one line, best first. */
static void select_line(const TopKRun *run, int64_t base, Ranked *heap) {
    int64_t k = run->k;
    for (int64_t i = 0; i < k; ++i) heap[i] = ranked(run, base, i);
    for (int64_t i = k / 2 - 1; i >= 0; --i) sift_down(heap, k, i, heap[i]);
    for (int64_t i = k; i < run->extent; ++i) {
        Ranked item = ranked(run, base, i);
        if (beats(item, heap[0])) sift_down(heap, k, 0, item);
    }
    for (int64_t end = k - 1; end > 0; --end) {
        Ranked worst = heap[0];
        sift_down(heap, end, 0, heap[end]);
        heap[end] = worst;
    }
}

static void topk_lines(void *context, int64_t first, int64_t last, int worker) {
    const TopKRun *run = context;
    Ranked *heap = run->scratch + worker * run->k;
    DType dtype = run->in->dtype;
    for (int64_t n = first; n < last; ++n) {
        int64_t outer = n / run->inner, j = n % run->inner, base = outer * run->extent * run->inner + j;
        select_line(run, base, heap);
        for (int64_t i = 0; i < run->k; ++i) {
            int64_t to = (outer * run->k + i) * run->inner + j;
            if (run->values != NULL)
                elements_copy(dtype, run->values->data, to, run->in->data, base + heap[i].index * run->inner,
                              1);
            if (run->indices != NULL) ((int64_t *)run->indices->data)[to] = heap[i].index;
        }
    }
}

static int64_t topk_count(const KernelCtx *ctx, int32_t axis) {
    const Tensor *out = kernel_result(ctx, 0) != NULL ? kernel_result(ctx, 0) : kernel_result(ctx, 1);
    int64_t extent = ctx->inputs[0]->dim[axis];
    return out != NULL && out->rank == ctx->inputs[0]->rank ? min_i64(out->dim[axis], extent) : extent;
}

size_t scratch_TopK(const KernelCtx *ctx) {
    const TopKAttrs *attrs = ctx->attrs;
    int32_t axis = 0;
    if (kit_axis(attrs->axis, ctx->inputs[0]->rank, &axis, NULL) != STATUS_OK) return 0;
    return kit_worker_scratch(ctx, (size_t)topk_count(ctx, axis) * sizeof(Ranked));
}

Status kernel_TopK(KernelCtx *ctx) {
    const TopKAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    int32_t axis = 0;
    TRY(kit_axis(attrs->axis, in->rank, &axis, ctx->diag));
    TopKRun run = {.in = in,
                   .values = kernel_result(ctx, 0),
                   .indices = kernel_result(ctx, 1),
                   .largest = attrs->largest,
                   .extent = in->dim[axis],
                   .inner = tensor_span(in, axis + 1, in->rank),
                   .k = topk_count(ctx, axis),
                   .scratch = ctx->host->scratch};
    int64_t wanted = kit_index(ctx->inputs[1], 0);
    if (wanted != run.k)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "k is %lld, but %lld of %lld elements fit", (long long)wanted,
                    (long long)run.k, (long long)run.extent);
    int64_t lines = tensor_span(in, 0, axis) * run.inner;
    if (run.k == 0 || lines == 0) return STATUS_OK;
    bool shared = dtype_bits(in->dtype) < 8;
    parallel_for(shared ? NULL : kit_worker_pool(ctx, (size_t)run.k * sizeof(Ranked)), lines,
                 max_i64(1, GRAIN / run.extent), topk_lines, &run);
    return STATUS_OK;
}

/* -- ArgMax, ArgMin -- */

static Status parse_arg(const ParseCtx *ctx, const void **attrs) {
    ArgAttrs *out = ARENA_NEW(ctx->arena, ArgAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(attr_int(ctx->list, "axis", 0, &out->axis, ctx->diag));
    TRY(parse_flag(ctx, "keepdims", true, &out->keep_dims));
    TRY(parse_flag(ctx, "select_last_index", false, &out->select_last));
    *attrs = out;
    return STATUS_OK;
}

static Status infer_arg(InferCtx *ctx) {
    const ArgAttrs *attrs = ctx->attrs;
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    int32_t axis = 0;
    TRY(expect_numeric(ctx));
    TRY(kit_axis(attrs->axis, in->rank, &axis, ctx->diag));
    ctx->outputs[0].dtype = DTYPE_I64;
    for (int32_t i = 0; i < in->rank; ++i) {
        if (i != axis)
            out->dim[out->rank++] = in->dim[i];
        else if (attrs->keep_dims)
            out->dim[out->rank++] = 1;
    }
    return STATUS_OK;
}

typedef struct ArgRun {
    const Tensor *in;
    int64_t *out;
    bool largest, select_last;
    int64_t extent, inner;
} ArgRun;

static void arg_lines(void *context, int64_t first, int64_t last, int worker) {
    const ArgRun *run = context;
    DType dtype = run->in->dtype;
    (void)worker;
    for (int64_t n = first; n < last; ++n) {
        int64_t base = n / run->inner * run->extent * run->inner + n % run->inner, best = 0;
        uint64_t best_key = 0, flip = run->largest ? 0 : UINT64_MAX;
        for (int64_t i = 0; i < run->extent; ++i) {
            uint64_t key = order_key(dtype, run->in->data, base + i * run->inner) ^ flip;
            if (key < best_key || (key == best_key && !run->select_last)) continue;
            best = i;
            best_key = key;
        }
        run->out[n] = best;
    }
}

static Status kernel_arg(KernelCtx *ctx, bool largest) {
    const ArgAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    int32_t axis = 0;
    TRY(kit_axis(attrs->axis, in->rank, &axis, ctx->diag));
    ArgRun run = {in,
                  ctx->outputs[0]->data,
                  largest,
                  attrs->select_last,
                  in->dim[axis],
                  tensor_span(in, axis + 1, in->rank)};
    int64_t lines = tensor_span(in, 0, axis) * run.inner;
    if (lines == 0) return STATUS_OK;
    if (run.extent == 0)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "axis %d has no element to choose from", axis);
    parallel_for(ctx->host->pool, lines, max_i64(1, GRAIN / run.extent), arg_lines, &run);
    return STATUS_OK;
}

Status parse_ArgMax(const ParseCtx *ctx, const void **attrs) {
    return parse_arg(ctx, attrs);
}

Status infer_ArgMax(InferCtx *ctx) {
    return infer_arg(ctx);
}

Status kernel_ArgMax(KernelCtx *ctx) {
    return kernel_arg(ctx, true);
}

Status parse_ArgMin(const ParseCtx *ctx, const void **attrs) {
    return parse_arg(ctx, attrs);
}

Status infer_ArgMin(InferCtx *ctx) {
    return infer_arg(ctx);
}

Status kernel_ArgMin(KernelCtx *ctx) {
    return kernel_arg(ctx, false);
}
