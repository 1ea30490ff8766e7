/* Runs reductions in time linear in the input. The dims are collapsed to groups that are alternately kept and
 * reduced; where the last group is reduced its elements are folded along memory, else whole rows of outputs
 * are folded side by side. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "ops/kit.h"
#include "ops/reduce_block.h"

enum { ROW_BLOCK = 1024, COLUMN_BLOCK = 1024 };

/* Dims that are walked together, slowest first, with their strides in the input. */
typedef struct Walk {
    int32_t rank;
    int64_t dim[SMELT_MAX_RANK], stride[SMELT_MAX_RANK];
    int64_t count; /* product of the dims */
} Walk;

typedef struct Reduction {
    const ReduceFunctions *functions;
    const ReduceFunctions *largest; /* MAX over the same elements, for m; NULL where m is not used */
    const Tensor *in;
    Tensor *out;
    DType native;             /* what the functions read */
    Walk kept, reduced;       /* all but the last group */
    bool last_reduced;        /* the last group's kind */
    int64_t last;             /* its extent; stride 1 */
    int64_t slice;            /* elements folded into each output element */
    int64_t columns_per_unit; /* outputs of one unit of work: 1 where last_reduced */
} Reduction;

/* -- loops over a walk -- */

static int64_t walk_offset(const Walk *walk, int64_t index) {
    int64_t offset = 0;
    for (int32_t i = walk->rank - 1; i >= 0; --i) {
        offset += index % walk->dim[i] * walk->stride[i];
        index /= walk->dim[i];
    }
    return offset;
}

/* Elements [first, first + count) of the input as the functions want them. */
static const void *fetch(const Reduction *run, int64_t first, int64_t count, void *buffer) {
    const Tensor *in = run->in;
    if (in->dtype == run->native) return (const char *)in->data + first * (run->native == DTYPE_F32 ? 4 : 8);
    if (run->native == DTYPE_F32)
        dtype_read_f32(in->dtype, in->data, first, count, buffer);
    else if (run->native == DTYPE_F64)
        dtype_read_f64(in->dtype, in->data, first, count, buffer);
    else
        dtype_read_i64(in->dtype, in->data, first, count, buffer);
    return buffer;
}

static double finite_or_zero(double m) {
    return isfinite(m) ? m : 0;
}

/* -- the last group is reduced: one output at a time -- */

static ReduceValue fold_slice(const Reduction *run, const ReduceFunctions *functions, int64_t base,
                              double m) {
    double buffer[ROW_BLOCK];
    ReduceValue a = functions->identity();
    for (int64_t r = 0; r < run->reduced.count; ++r) {
        int64_t offset = base + walk_offset(&run->reduced, r);
        for (int64_t done = 0; done < run->last; done += ROW_BLOCK) {
            int64_t count = min_i64(ROW_BLOCK, run->last - done);
            functions->row(count, fetch(run, offset + done, count, buffer), m, &a);
        }
    }
    return a;
}

/* The lowest or highest value of an integer type: MAX and MIN of nothing, whose 64-bit start does not fit. */
static int64_t integer_limit(DType dtype, bool highest) {
    int bits = dtype_bits(dtype);
    if (dtype_kind(dtype) != DTYPE_KIND_SIGNED) return highest ? -1 : 0;
    int64_t top = (int64_t)((uint64_t)INT64_MAX >> (64 - bits));
    return highest ? top : -top - 1;
}

static void store_result(const Reduction *run, int64_t index, ReduceValue a, double m) {
    Tensor *out = run->out;
    bool is_real = run->native == DTYPE_F32 || run->native == DTYPE_F64;
    ReduceValue value = run->functions->result(a, m, run->slice);
    if (is_real)
        dtype_store_f64(out->dtype, out->data, index,
                        dtype_is_integer(out->dtype) ? trunc(value.f64) : value.f64);
    else if (run->slice == 0 && (value.i64 == INT64_MIN || value.i64 == INT64_MAX))
        dtype_store_i64(out->dtype, out->data, index, integer_limit(out->dtype, value.i64 > 0));
    else
        dtype_store_i64(out->dtype, out->data, index, value.i64);
}

static void reduce_rows(void *context, int64_t first, int64_t last, int worker) {
    const Reduction *run = context;
    (void)worker;
    for (int64_t i = first; i < last; ++i) {
        int64_t base = walk_offset(&run->kept, i);
        double m = run->largest == NULL ? 0 : finite_or_zero(fold_slice(run, run->largest, base, 0).f64);
        store_result(run, i, fold_slice(run, run->functions, base, m), m);
    }
}

/* -- the last group is kept: a row of outputs at a time -- */

static void fold_columns(const Reduction *run, const ReduceFunctions *functions, int64_t base, int64_t count,
                         const double *ms, ReduceValue *as) {
    double buffer[COLUMN_BLOCK];
    for (int64_t i = 0; i < count; ++i) as[i] = functions->identity();
    for (int64_t r = 0; r < run->reduced.count; ++r) {
        int64_t offset = base + walk_offset(&run->reduced, r);
        functions->column(count, fetch(run, offset, count, buffer), ms, as);
    }
}

static void reduce_columns(void *context, int64_t first, int64_t last, int worker) {
    const Reduction *run = context;
    int64_t units_per_row = ceil_div_i64(run->last, run->columns_per_unit);
    ReduceValue as[COLUMN_BLOCK];
    double ms[COLUMN_BLOCK] = {0};
    (void)worker;
    for (int64_t unit = first; unit < last; ++unit) {
        int64_t row = unit / units_per_row, column = unit % units_per_row * run->columns_per_unit;
        int64_t count = min_i64(run->columns_per_unit, run->last - column);
        int64_t base = walk_offset(&run->kept, row) + column;
        if (run->largest != NULL) {
            memset(ms, 0, sizeof ms);
            fold_columns(run, run->largest, base, count, ms, as);
            for (int64_t i = 0; i < count; ++i) ms[i] = finite_or_zero(as[i].f64);
        }
        fold_columns(run, run->functions, base, count, ms, as);
        for (int64_t i = 0; i < count; ++i) store_result(run, row * run->last + column + i, as[i], ms[i]);
    }
}

/* -- set-up -- */

static void walk_add(Walk *walk, int64_t dim, int64_t stride) {
    walk->dim[walk->rank] = dim;
    walk->stride[walk->rank++] = stride;
    walk->count *= dim;
}

/* Splits the input's dims into the two walks and the last group; dims of one go nowhere, neighbours of one
 * kind merge. */
static void set_walks(Reduction *run, const bool *reduced) {
    int64_t dim[SMELT_MAX_RANK], stride[SMELT_MAX_RANK];
    bool is_reduced[SMELT_MAX_RANK];
    int32_t groups = 0;
    for (int32_t i = 0; i < run->in->rank; ++i) {
        if (run->in->dim[i] == 1) continue;
        if (groups > 0 && is_reduced[groups - 1] == reduced[i]) {
            dim[groups - 1] *= run->in->dim[i];
            continue;
        }
        is_reduced[groups] = reduced[i];
        dim[groups++] = run->in->dim[i];
    }
    kit_strides(groups, dim, stride);
    run->kept = run->reduced = (Walk){.count = 1};
    for (int32_t i = 0; i + 1 < groups; ++i)
        walk_add(is_reduced[i] ? &run->reduced : &run->kept, dim[i], stride[i]);
    run->last = groups == 0 ? 1 : dim[groups - 1];
    run->last_reduced = groups == 0 || is_reduced[groups - 1];
    run->slice = run->reduced.count * (run->last_reduced ? run->last : 1);
}

static void set_functions(Reduction *run, const ReduceAttrs *attrs) {
    DTypeKind kind = dtype_kind(run->in->dtype);
    const ReduceFunctions *table = reduce_u64;
    run->native = DTYPE_U64;
    if (kind == DTYPE_KIND_FLOAT && run->in->dtype != DTYPE_F64) {
        table = reduce_f32;
        run->native = DTYPE_F32;
    } else if (kind == DTYPE_KIND_FLOAT || attrs->signature == REDUCE_REAL) {
        table = reduce_f64;
        run->native = DTYPE_F64;
    } else if (kind == DTYPE_KIND_SIGNED) {
        table = reduce_i64;
        run->native = DTYPE_I64;
    }
    run->functions = &table[attrs->op];
    run->largest = attrs->merge == REDUCE_BY_MAX_SUM ? &table[OP_ReduceMax] : NULL;
}

Status kernel_reduce(KernelCtx *ctx) {
    enum { ELEMENTS_PER_PIECE = 32768 };
    const ReduceAttrs *attrs = ctx->attrs;
    int64_t axes[SMELT_MAX_RANK];
    bool reduced[SMELT_MAX_RANK];
    Reduction run = {.in = ctx->inputs[0], .out = ctx->outputs[0], .columns_per_unit = COLUMN_BLOCK};
    if (run.out == NULL || tensor_count(run.out) == 0) return STATUS_OK;
    int32_t count = kit_read_ints(kernel_input(ctx, 1), axes, SMELT_MAX_RANK);
    TRY(kit_axes(axes, count, run.in->rank, reduced, ctx->diag));
    if (count == 0) memset(reduced, !attrs->noop_with_empty_axes, sizeof reduced);
    set_walks(&run, reduced);
    set_functions(&run, attrs);
    bool packed = dtype_bits(run.out->dtype) < 8; /* neighbours share bytes: one thread */
    int64_t units = run.last_reduced ? run.kept.count : run.kept.count * ceil_div_i64(run.last, COLUMN_BLOCK);
    int64_t unit_work = run.last_reduced ? run.slice : run.slice * min_i64(run.last, COLUMN_BLOCK);
    int64_t grain = max_i64(1, ELEMENTS_PER_PIECE / max_i64(1, unit_work));
    parallel_for(packed ? NULL : ctx->host->pool, units, grain,
                 run.last_reduced ? reduce_rows : reduce_columns, &run);
    return STATUS_OK;
}
