/* Einsum. One or two operands are a batch of matrix products over strided views: labels that both operands
 * and the output have count products, those of the output and one operand count rows or columns, and those
 * that the output lacks are summed over. More operands are summed term by term. */
#include <string.h>

#include "ops/einsum.h"
#include "ops/gemm.h"
#include "ops/kit.h"
#include "ops/strided.h"

enum { PRODUCT_LOG2 = 44, TERMS_LOG2 = 34 };

/* -- the equation -- */

static int label_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return 26 + c - 'a';
    return -1;
}

/* Reads one term up to ',', "->" or the end. */
static Status parse_term(const char **text, EinsumTerm *term, Diag *diag) {
    *term = (EinsumTerm){.ellipsis = -1};
    for (; **text != 0 && **text != ',' && **text != '-'; ++*text) {
        if (**text == ' ') continue;
        if (strncmp(*text, "...", 3) == 0 && term->ellipsis < 0) {
            term->ellipsis = term->count;
            *text += 2;
            continue;
        }
        int label = label_of(**text);
        if (label < 0) return FAIL(diag, STATUS_BAD_MODEL, "unexpected '%c' in the equation", **text);
        if (term->count == EINSUM_LETTERS)
            return FAIL(diag, STATUS_BAD_MODEL, "a term has more than %d labels", EINSUM_LETTERS);
        term->labels[term->count++] = (int8_t)label;
    }
    return STATUS_OK;
}

static Status parse_equation(const char *text, EinsumAttrs *own, Diag *diag) {
    for (;;) {
        if (own->operands == EINSUM_OPERANDS)
            return FAIL(diag, STATUS_UNSUPPORTED, "the equation has more than %d operands", EINSUM_OPERANDS);
        TRY(parse_term(&text, &own->term[own->operands++], diag));
        if (*text != ',') break;
        ++text;
    }
    if (*text == 0) return STATUS_OK;
    if (strncmp(text, "->", 2) != 0) return FAIL(diag, STATUS_BAD_MODEL, "unexpected '-' in the equation");
    text += 2;
    own->has_output = true;
    TRY(parse_term(&text, &own->term[own->operands], diag));
    if (*text != 0) return FAIL(diag, STATUS_BAD_MODEL, "unexpected '%c' after the output", *text);
    return STATUS_OK;
}

/* The output of an equation without "->": labels that occur once, in alphabetical order. */
static void imply_output(EinsumAttrs *own) {
    EinsumTerm *output = &own->term[own->operands];
    int uses[EINSUM_LETTERS] = {0};
    *output = (EinsumTerm){.ellipsis = -1};
    for (int32_t i = 0; i < own->operands; ++i) {
        if (own->term[i].ellipsis >= 0) output->ellipsis = 0;
        for (int32_t j = 0; j < own->term[i].count; ++j) ++uses[own->term[i].labels[j]];
    }
    for (int label = 0; label < EINSUM_LETTERS; ++label)
        if (uses[label] == 1) output->labels[output->count++] = (int8_t)label;
}

static Status check_output(const EinsumAttrs *own, Diag *diag) {
    const EinsumTerm *output = &own->term[own->operands];
    bool present[EINSUM_LETTERS] = {false}, used[EINSUM_LETTERS] = {false};
    for (int32_t i = 0; i < own->operands; ++i)
        for (int32_t j = 0; j < own->term[i].count; ++j) present[own->term[i].labels[j]] = true;
    for (int32_t j = 0; j < output->count; ++j) {
        int label = output->labels[j];
        if (!present[label] || used[label])
            return FAIL(diag, STATUS_BAD_MODEL, "label '%c' of the output is %s",
                        label < 26 ? 'A' + label : 'a' + label - 26,
                        present[label] ? "repeated" : "in no operand");
        used[label] = true;
    }
    return STATUS_OK;
}

Status parse_Einsum(const ParseCtx *ctx, const void **attrs) {
    EinsumAttrs *own = ARENA_NEW(ctx->arena, EinsumAttrs);
    TRY_ALLOC(ctx->diag, own);
    const char *text;
    TRY(attr_string(ctx->list, "equation", NULL, &text, ctx->diag));
    if (text == NULL) return FAIL(ctx->diag, STATUS_BAD_MODEL, "equation is missing");
    TRY(parse_equation(text, own, ctx->diag));
    if (own->operands != ctx->input_count)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the equation has %d operands, the node %d inputs",
                    own->operands, ctx->input_count);
    if (!own->has_output) imply_output(own);
    TRY(check_output(own, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

/* -- shapes -- */

/* Puts the axes of the ellipsis, `dots` of them, into the term. */
static void expand(const EinsumTerm *term, int32_t dots, EinsumAxes *axes) {
    axes->rank = 0;
    for (int32_t i = 0; i <= term->count; ++i) {
        if (i == term->ellipsis)
            for (int32_t j = 0; j < dots; ++j) axes->label[axes->rank++] = (int8_t)(EINSUM_LABELS - dots + j);
        if (i < term->count) axes->label[axes->rank++] = term->labels[i];
    }
}

Status einsum_axes(const EinsumAttrs *attrs, const int32_t *ranks, EinsumAxes *axes, Diag *diag) {
    int32_t most = 0;
    for (int32_t i = 0; i < attrs->operands; ++i) {
        const EinsumTerm *term = &attrs->term[i];
        int32_t dots = ranks[i] - term->count;
        if (dots < 0 || (term->ellipsis < 0 && dots != 0))
            return FAIL(diag, STATUS_BAD_MODEL, "input %d has rank %d, its term has %d labels", i, ranks[i],
                        term->count);
        expand(term, dots, &axes[i]);
        most = dots > most ? dots : most;
    }
    expand(&attrs->term[attrs->operands], most, &axes[attrs->operands]);
    return STATUS_OK;
}

Status infer_Einsum(InferCtx *ctx) {
    const EinsumAttrs *attrs = ctx->attrs;
    EinsumAxes axes[EINSUM_OPERANDS + 1];
    int32_t ranks[EINSUM_OPERANDS];
    Dim extent[EINSUM_LABELS];
    bool seen[EINSUM_LABELS] = {false};
    DType dtype = ctx->inputs[0]->dtype;
    if (!dtype_is_float(dtype) && !dtype_is_integer(dtype))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input 0 is %s, expected numbers", dtype_name(dtype));
    for (int32_t i = 0; i < attrs->operands; ++i) {
        if (ctx->inputs[i] == NULL) return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is omitted", i);
        TRY(kit_expect_dtype_like(ctx, i, 0));
        ranks[i] = ctx->inputs[i]->shape.rank;
    }
    TRY(einsum_axes(attrs, ranks, axes, ctx->diag));
    for (int32_t i = 0; i < attrs->operands; ++i)
        for (int32_t j = 0; j < ranks[i]; ++j) {
            int label = axes[i].label[j];
            Dim own = ctx->inputs[i]->shape.dim[j], *all = &extent[label];
            if (seen[label] && dim_is_exact(own) && dim_is_exact(*all) && own != *all && own != 1 &&
                *all != 1)
                return FAIL(ctx->diag, STATUS_BAD_MODEL,
                            "axis %d of input %d has extent %lld, its label %lld", j, i, (long long)own,
                            (long long)*all);
            *all = seen[label] ? dim_broadcast(ctx->dims, *all, own) : own;
            seen[label] = true;
        }
    const EinsumAxes *output = &axes[attrs->operands];
    if (output->rank > SMELT_MAX_RANK)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "the output has rank %d, at most %d is supported",
                    output->rank, SMELT_MAX_RANK);
    ctx->outputs[0].dtype = dtype;
    ctx->outputs[0].shape.rank = output->rank;
    for (int32_t j = 0; j < output->rank; ++j) ctx->outputs[0].shape.dim[j] = extent[output->label[j]];
    return STATUS_OK;
}

/* -- kernel -- */

/* Some labels, outermost first, and how far one step along each moves in the operands and the output. */
typedef struct Group {
    int32_t count;
    int64_t size; /* product of the extents */
    int64_t extent[EINSUM_LABELS], stride_a[EINSUM_LABELS], stride_b[EINSUM_LABELS],
        stride_out[EINSUM_LABELS];
} Group;

typedef struct EinsumRun {
    GemmType type;
    const Tensor *a, *b;
    Tensor *y;
    Group batch, rows, cols, depth;
} EinsumRun;

/* Extents of all labels, and strides of one operand by label. */
static void label_extents(const EinsumAxes *axes, const Tensor *tensor, int64_t extent[EINSUM_LABELS]) {
    for (int32_t i = 0; i < axes->rank; ++i)
        if (extent[axes->label[i]] < 0 || extent[axes->label[i]] == 1)
            extent[axes->label[i]] = tensor->dim[i];
}

static void label_strides(const EinsumAxes *axes, const Tensor *tensor, int64_t stride[EINSUM_LABELS]) {
    int64_t own[SMELT_MAX_RANK];
    memset(stride, 0, EINSUM_LABELS * sizeof *stride);
    kit_strides(tensor->rank, tensor->dim, own);
    for (int32_t i = 0; i < axes->rank; ++i)
        if (tensor->dim[i] != 1) stride[axes->label[i]] += own[i];
}

static bool has_label(const EinsumAxes *axes, int label) {
    for (int32_t i = 0; i < axes->rank; ++i)
        if (axes->label[i] == label) return true;
    return false;
}

/* Element offset of entry `index` of a group along one of its stride arrays. */
static int64_t group_offset(const Group *group, const int64_t *strides, int64_t index) {
    int64_t offset = 0;
    for (int32_t i = group->count - 1; i >= 0; --i) {
        offset += index % group->extent[i] * strides[i];
        index /= group->extent[i];
    }
    return offset;
}

/* Entries [first, first + count) of a group, read from base on. */
static const void *read_group(GemmType type, const Tensor *tensor, int64_t base, const Group *group,
                              const int64_t *strides, int64_t first, int64_t count, void *buffer) {
    if (group->count == 0) return gemm_read(type, tensor, base, 0, count, buffer);
    int64_t inner = group->extent[group->count - 1], step = strides[group->count - 1];
    size_t element = type == GEMM_F32 ? sizeof(float) : sizeof(double);
    for (int64_t done = 0; done < count;) {
        int64_t at = first + done, some = min_i64(inner - at % inner, count - done);
        char *to = (char *)buffer + (size_t)done * element;
        const void *from = gemm_read(type, tensor, base + group_offset(group, strides, at), step, some, to);
        if (some == count) return from;
        if (from != to) memcpy(to, from, (size_t)some * element);
        done += some;
    }
    return buffer;
}

static const void *row_a(const void *context, int64_t batch, int64_t row, int64_t k, int64_t depth,
                         void *buffer) {
    const EinsumRun *run = context;
    int64_t base = group_offset(&run->batch, run->batch.stride_a, batch) +
                   group_offset(&run->rows, run->rows.stride_a, row);
    return read_group(run->type, run->a, base, &run->depth, run->depth.stride_a, k, depth, buffer);
}

static const void *row_b(const void *context, int64_t batch, int64_t k, int64_t col, int64_t cols,
                         void *buffer) {
    const EinsumRun *run = context;
    int64_t base = group_offset(&run->batch, run->batch.stride_b, batch) +
                   group_offset(&run->depth, run->depth.stride_b, k);
    return read_group(run->type, run->b, base, &run->cols, run->cols.stride_b, col, cols, buffer);
}

static const void *col_b(const void *context, int64_t batch, int64_t col, int64_t k, int64_t depth,
                         void *buffer) {
    const EinsumRun *run = context;
    int64_t base = group_offset(&run->batch, run->batch.stride_b, batch) +
                   group_offset(&run->cols, run->cols.stride_b, col);
    return read_group(run->type, run->b, base, &run->depth, run->depth.stride_b, k, depth, buffer);
}

static void store_element(GemmType type, Tensor *y, int64_t to, const void *values, int64_t index) {
    if (type == GEMM_F32)
        ((float *)y->data)[to] = ((const float *)values)[index];
    else if (type == GEMM_F64)
        dtype_store_f64(y->dtype, y->data, to, ((const double *)values)[index]);
    else
        dtype_store_i64(y->dtype, y->data, to, ((const int64_t *)values)[index]);
}

static void store_block(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col,
                        int64_t cols, const void *block, int64_t ld) {
    const EinsumRun *run = context;
    int64_t base = group_offset(&run->batch, run->batch.stride_out, batch);
    for (int64_t r = 0; r < rows; ++r) {
        int64_t line = base + group_offset(&run->rows, run->rows.stride_out, row + r);
        int64_t step = run->cols.count == 1 ? run->cols.stride_out[0] : 0;
        for (int64_t j = 0; j < cols && run->cols.count <= 1; ++j)
            store_element(run->type, run->y, line + (col + j) * step, block, r * ld + j);
        for (int64_t j = 0; j < cols && run->cols.count > 1; ++j)
            store_element(run->type, run->y, line + group_offset(&run->cols, run->cols.stride_out, col + j),
                          block, r * ld + j);
    }
}

/* A one for the second operand of an equation with one. */
static const float one_f32 = 1;
static const double one_f64 = 1;
static const int64_t one_i64 = 1;

static Tensor unit_tensor(GemmType type) {
    if (type == GEMM_F32) return (Tensor){.dtype = DTYPE_F32, .data = (void *)(uintptr_t)&one_f32};
    if (type == GEMM_F64) return (Tensor){.dtype = DTYPE_F64, .data = (void *)(uintptr_t)&one_f64};
    return (Tensor){.dtype = DTYPE_I64, .data = (void *)(uintptr_t)&one_i64};
}

static void group_add(Group *group, int64_t extent, int64_t a, int64_t b, int64_t out) {
    group->extent[group->count] = extent;
    group->stride_a[group->count] = a;
    group->stride_b[group->count] = b;
    group->stride_out[group->count++] = out;
}

/* Products of extents; false where all of them together are more terms than anyone waits for. */
static bool sizes_fit(EinsumRun *run) {
    Group *groups[] = {&run->batch, &run->rows, &run->cols, &run->depth};
    int64_t all = 1;
    bool empty = false, fits = true;
    for (int i = 0; i < 4; ++i) {
        groups[i]->size = 1;
        for (int32_t j = 0; j < groups[i]->count; ++j) {
            int64_t extent = groups[i]->extent[j];
            empty = empty || extent == 0;
            fits =
                fits && checked_mul_i64(all, max_i64(extent, 1), &all) && all <= (int64_t)1 << PRODUCT_LOG2;
            if (fits) groups[i]->size *= extent;
        }
    }
    return fits || empty;
}

/* Sorts the labels into the four groups. axes: of a, b and the output. */
static void make_groups(EinsumRun *run, const EinsumAxes *a, const EinsumAxes *b, const EinsumAxes *out) {
    int64_t extent[EINSUM_LABELS], in_a[EINSUM_LABELS], in_b[EINSUM_LABELS], in_out[EINSUM_LABELS];
    for (int label = 0; label < EINSUM_LABELS; ++label) extent[label] = -1;
    label_extents(a, run->a, extent);
    label_extents(b, run->b, extent);
    label_strides(a, run->a, in_a);
    label_strides(b, run->b, in_b);
    label_strides(out, run->y, in_out);
    for (int32_t i = 0; i < out->rank; ++i) {
        int label = out->label[i];
        bool left = has_label(a, label), right = has_label(b, label);
        Group *group = left && right ? &run->batch : left ? &run->rows : &run->cols;
        group_add(group, extent[label], in_a[label], in_b[label], in_out[label]);
    }
    for (int label = 0; label < EINSUM_LABELS; ++label)
        if (extent[label] >= 0 && !has_label(out, label))
            group_add(&run->depth, extent[label], in_a[label], in_b[label], 0);
}

/* Whether the output has its labels in the order of batch, rows and columns, in the computing type. */
static bool stores_directly(const EinsumRun *run) {
    const Group *groups[] = {&run->cols, &run->rows, &run->batch};
    DType dtype = run->y->dtype;
    int64_t stride = 1;
    for (int i = 0; i < 3; ++i)
        for (int32_t j = groups[i]->count - 1; j >= 0; --j) {
            if (groups[i]->extent[j] != 1 && groups[i]->stride_out[j] != stride) return false;
            stride *= groups[i]->extent[j];
        }
    return run->type == GEMM_F32 || dtype == DTYPE_F64 || dtype == DTYPE_I64 || dtype == DTYPE_U64;
}

static Gemm einsum_gemm(const EinsumRun *run) {
    Gemm gemm = {.type = run->type,
                 .batch = run->batch.size,
                 .m = run->rows.size,
                 .n = run->cols.size,
                 .k = run->depth.size,
                 .context = run,
                 .row_a = row_a,
                 .row_b = row_b,
                 .c = run->y->data,
                 .store = stores_directly(run) ? NULL : store_block};
    const Group *depth = &run->depth;
    if (depth->count > 0 && depth->stride_b[depth->count - 1] == 1) gemm.col_b = col_b;
    return gemm;
}

/* Labels of a run of one or two operands; *unit backs the second where there is one. False: too large. */
static bool einsum_make(const KernelCtx *ctx, EinsumRun *run, Tensor *unit) {
    const EinsumAttrs *attrs = ctx->attrs;
    EinsumAxes axes[EINSUM_OPERANDS + 1], none = {0};
    int32_t ranks[EINSUM_OPERANDS] = {0};
    for (int32_t i = 0; i < attrs->operands; ++i) ranks[i] = ctx->inputs[i]->rank;
    if (einsum_axes(attrs, ranks, axes, NULL) != STATUS_OK) return false;
    *run =
        (EinsumRun){.type = gemm_type_of(ctx->inputs[0]->dtype), .a = ctx->inputs[0], .y = ctx->outputs[0]};
    *unit = unit_tensor(run->type);
    run->b = attrs->operands == 1 ? unit : ctx->inputs[1];
    make_groups(run, &axes[0], attrs->operands == 1 ? &none : &axes[1], &axes[attrs->operands]);
    return sizes_fit(run);
}

/* Three operands and more. */
typedef struct TermRun {
    const KernelCtx *ctx;
    int32_t operands, labels, output_labels; /* labels: those of the output come first */
    int64_t extent[EINSUM_LABELS], stride[EINSUM_OPERANDS][EINSUM_LABELS]; /* by position in that list */
    int64_t terms;                                                         /* per output element */
} TermRun;

static bool terms_make(const KernelCtx *ctx, TermRun *run) {
    const EinsumAttrs *attrs = ctx->attrs;
    EinsumAxes axes[EINSUM_OPERANDS + 1];
    int32_t ranks[EINSUM_OPERANDS] = {0};
    int64_t extent[EINSUM_LABELS], strides[EINSUM_LABELS], all = 1;
    for (int32_t i = 0; i < attrs->operands; ++i) ranks[i] = ctx->inputs[i]->rank;
    if (einsum_axes(attrs, ranks, axes, NULL) != STATUS_OK) return false;
    const EinsumAxes *output = &axes[attrs->operands];
    for (int label = 0; label < EINSUM_LABELS; ++label) extent[label] = -1;
    for (int32_t i = 0; i < attrs->operands; ++i) label_extents(&axes[i], ctx->inputs[i], extent);
    *run = (TermRun){.ctx = ctx, .operands = attrs->operands, .output_labels = output->rank, .terms = 1};
    int8_t order[EINSUM_LABELS];
    for (int32_t i = 0; i < output->rank; ++i) order[run->labels++] = output->label[i];
    for (int label = 0; label < EINSUM_LABELS; ++label)
        if (extent[label] >= 0 && !has_label(output, label)) order[run->labels++] = (int8_t)label;
    for (int32_t i = 0; i < run->labels; ++i) {
        run->extent[i] = extent[order[i]];
        if (!checked_mul_i64(all, max_i64(run->extent[i], 1), &all) || all > (int64_t)1 << TERMS_LOG2)
            return false;
        if (i >= output->rank) run->terms *= run->extent[i];
    }
    for (int32_t i = 0; i < attrs->operands; ++i) {
        label_strides(&axes[i], ctx->inputs[i], strides);
        for (int32_t j = 0; j < run->labels; ++j) run->stride[i][j] = strides[order[j]];
    }
    return true;
}

/* Positions of entry `index` over labels [first, last), the last fastest. */
static void unravel(const TermRun *run, int64_t index, int32_t first, int32_t last, int64_t *position) {
    for (int32_t i = last - 1; i >= first; --i) {
        position[i] = index % run->extent[i];
        index /= run->extent[i];
    }
}

static void run_terms(void *context, int64_t first, int64_t last, int worker) {
    const TermRun *run = context;
    Tensor *y = run->ctx->outputs[0];
    bool integer = !dtype_is_float(y->dtype);
    int64_t position[EINSUM_LABELS] = {0};
    (void)worker;
    for (int64_t index = first; index < last; ++index) {
        double sum = 0;
        uint64_t total = 0;
        unravel(run, index, 0, run->output_labels, position);
        for (int64_t term = 0; term < run->terms; ++term) {
            double product = 1;
            uint64_t whole = 1;
            unravel(run, term, run->output_labels, run->labels, position);
            for (int32_t i = 0; i < run->operands; ++i) {
                const Tensor *x = run->ctx->inputs[i];
                int64_t at = 0;
                for (int32_t j = 0; j < run->labels; ++j) at += position[j] * run->stride[i][j];
                if (integer)
                    whole *= (uint64_t)dtype_load_i64(x->dtype, x->data, at);
                else
                    product *= dtype_load_f64(x->dtype, x->data, at);
            }
            sum += product;
            total += whole;
        }
        if (integer)
            dtype_store_i64(y->dtype, y->data, index, (int64_t)total);
        else
            dtype_store_f64(y->dtype, y->data, index, sum);
    }
}

/* More terms than anyone waits for. */
static Status too_large(Diag *diag, int log2) {
    return FAIL(diag, STATUS_UNSUPPORTED, "the equation has more than 2^%d terms", log2);
}

size_t scratch_Einsum(const KernelCtx *ctx) {
    EinsumRun run;
    Tensor unit;
    if (ctx->input_count > 2 || !einsum_make(ctx, &run, &unit)) return 0;
    Gemm gemm = einsum_gemm(&run);
    return gemm_scratch(&gemm, kit_worker_count(ctx));
}

/* One operand whose labels all go into the result is moved. */
static bool run_movement(const KernelCtx *ctx) {
    TermRun run;
    if (ctx->input_count != 1 || !terms_make(ctx, &run) || run.labels != run.output_labels) return false;
    StridedCopy copy = {
        .dtype = ctx->inputs[0]->dtype, .from = ctx->inputs[0]->data, .to = ctx->outputs[0]->data};
    int64_t stride = tensor_count(ctx->outputs[0]);
    if (stride == 0) return true;
    for (int32_t i = 0; i < run.labels; ++i) {
        stride /= run.extent[i];
        strided_add(&copy, run.extent[i], run.stride[0][i], stride);
    }
    strided_copy(&copy, ctx->host->pool);
    return true;
}

Status kernel_Einsum(KernelCtx *ctx) {
    if (run_movement(ctx)) return STATUS_OK;
    if (ctx->input_count > 2) {
        TermRun run;
        if (!terms_make(ctx, &run)) return too_large(ctx->diag, TERMS_LOG2);
        parallel_for(ctx->host->pool, tensor_count(ctx->outputs[0]), 1 + (1 << 12) / max_i64(run.terms, 1),
                     run_terms, &run);
        return STATUS_OK;
    }
    EinsumRun run;
    Tensor unit;
    if (!einsum_make(ctx, &run, &unit)) return too_large(ctx->diag, PRODUCT_LOG2);
    Gemm gemm = einsum_gemm(&run);
    return gemm_run(&gemm, ctx->host, ctx->host->scratch, ctx->host->scratch_size, ctx->diag);
}
