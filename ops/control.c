/* If, Loop and Scan over ctx->run_body. What a body returns holds until it runs again, and may be what it
 * gets then; only final results and stacked ones are copied. */
#include "ops/control.h"

#include <string.h>

#include "ops/kit.h"
#include "ops/strided.h"

Status control_body(const ParseCtx *ctx, const char *name, int32_t *out) {
    const Attr *attr = attr_find(ctx->list, name);
    if (attr == NULL || attr->kind != ATTR_BLOCK)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "body '%s' is missing", name);
    *out = (int32_t)attr->ints[0];
    return STATUS_OK;
}

Status control_scalar(InferCtx *ctx, int32_t input, DType dtype) {
    const TypeInfo *type = infer_input(ctx, input);
    if (type == NULL) return STATUS_OK;
    Dim count = shape_count(ctx->dims, &type->shape);
    if (type->dtype != dtype || (dim_is_exact(count) && count != 1))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s%s, expected one %s", input,
                    dtype_name(type->dtype), shape_print(ctx->dims, &type->shape, ctx->arena),
                    dtype_name(dtype));
    return STATUS_OK;
}

static Status read_condition(KernelCtx *ctx, const Tensor *tensor, bool *out) {
    if (tensor->dtype != DTYPE_BOOL || tensor_count(tensor) != 1)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "the condition is no single truth value");
    *out = *(const uint8_t *)tensor->data != 0;
    return STATUS_OK;
}

static Status copy_result(KernelCtx *ctx, const Tensor *from, int32_t output) {
    Tensor *out = kernel_result(ctx, output);
    if (out == NULL) return STATUS_OK;
    if (from->dtype != out->dtype)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "result %d is %s, expected %s", output,
                    dtype_name(from->dtype), dtype_name(out->dtype));
    TRY(kit_late_output(ctx, output, from->rank, from->dim));
    tensor_copy_bytes(from, out, ctx->host->pool);
    return STATUS_OK;
}

/* -- stacked outputs -- */

/* The dims of `count` elements stacked along axis. */
static void stacked_dims(const Tensor *element, int32_t axis, int64_t count, int64_t dims[SMELT_MAX_RANK]) {
    for (int32_t i = 0; i <= element->rank; ++i) dims[i] = i == axis ? count : element->dim[i - (i > axis)];
}

static Status check_stack(KernelCtx *ctx, int32_t output, const Tensor *element, int32_t axis, int64_t at) {
    const Tensor *out = ctx->outputs[output];
    int64_t dims[SMELT_MAX_RANK] = {0};
    bool fits = out->dtype == element->dtype && out->rank == element->rank + 1;
    stacked_dims(element, axis, 0, dims);
    for (int32_t i = 0; fits && i < out->rank; ++i)
        fits = i == axis ? at < out->dim[i] : dims[i] == out->dim[i];
    if (fits) return STATUS_OK;
    char found[128], expected[128];
    tensor_format(element, found, sizeof found);
    tensor_format(out, expected, sizeof expected);
    return FAIL(ctx->diag, STATUS_BAD_DATA, "run %lld of the body gives %s, which does not fit into %s",
                (long long)at, found, expected);
}

static void write_stack(const Tensor *element, Tensor *out, int32_t axis, int64_t at) {
    int64_t inner = tensor_span(element, axis, element->rank), outer = tensor_span(element, 0, axis);
    for (int64_t i = 0; i < outer; ++i)
        elements_copy(out->dtype, out->data, (i * out->dim[axis] + at) * inner, element->data, i * inner,
                      inner);
}

/* No run, no element: what is not known of the shape is 0. */
static Status empty_stack(KernelCtx *ctx, int32_t output, int32_t axis) {
    const Tensor *out = ctx->outputs[output];
    int64_t dims[SMELT_MAX_RANK];
    for (int32_t i = 0; i < out->rank; ++i) dims[i] = i == axis ? 0 : max_i64(out->dim[i], 0);
    return kit_late_output(ctx, output, out->rank, dims);
}

/* -- If -- */

Status parse_If(const ParseCtx *ctx, const void **attrs) {
    IfAttrs *out = ARENA_NEW(ctx->arena, IfAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(control_body(ctx, "then_branch", &out->then_body));
    TRY(control_body(ctx, "else_branch", &out->else_body));
    *attrs = out;
    return STATUS_OK;
}

Status infer_If(InferCtx *ctx) {
    return control_scalar(ctx, 0, DTYPE_BOOL);
}

size_t scratch_If(const KernelCtx *ctx) {
    return (size_t)ctx->output_count * sizeof(Tensor);
}

Status kernel_If(KernelCtx *ctx) {
    const IfAttrs *attrs = ctx->attrs;
    Tensor *results = ctx->host->scratch;
    bool condition = false;
    TRY(read_condition(ctx, ctx->inputs[0], &condition));
    TRY(ctx->run_body(ctx->executor, condition ? attrs->then_body : attrs->else_body, 0, NULL,
                      ctx->output_count, results, ctx->diag));
    for (int32_t i = 0; i < ctx->output_count; ++i) TRY(copy_result(ctx, &results[i], i));
    return STATUS_OK;
}

/* -- Loop -- */

Status parse_Loop(const ParseCtx *ctx, const void **attrs) {
    LoopAttrs *out = ARENA_NEW(ctx->arena, LoopAttrs);
    TRY_ALLOC(ctx->diag, out);
    TRY(control_body(ctx, "body", &out->body));
    out->state_count = ctx->input_count > 2 ? ctx->input_count - 2 : 0;
    if (ctx->output_count < out->state_count)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d outputs for %d states", ctx->output_count,
                    out->state_count);
    *attrs = out;
    return STATUS_OK;
}

Status infer_Loop(InferCtx *ctx) {
    TRY(control_scalar(ctx, 0, DTYPE_I64));
    TRY(control_scalar(ctx, 1, DTYPE_BOOL));
    for (int32_t i = 2; i < ctx->input_count; ++i)
        if (ctx->inputs[i] == NULL) return FAIL(ctx->diag, STATUS_BAD_MODEL, "state %d is omitted", i - 2);
    return STATUS_OK;
}

/* One run of a Loop; the arrays are in its scratch. */
typedef struct LoopRun {
    const LoopAttrs *attrs;
    int32_t stack_count;
    Tensor *params, *results; /* iteration, condition, states; condition, states, elements of stacks */
    bool *sized;              /* per stack: had its dims before the first run */
} LoopRun;

static size_t loop_params(const LoopAttrs *attrs) {
    return 2 + (size_t)attrs->state_count;
}

size_t scratch_Loop(const KernelCtx *ctx) {
    size_t outputs = (size_t)ctx->output_count;
    return (loop_params(ctx->attrs) + 1 + outputs) * sizeof(Tensor) + outputs * sizeof(bool);
}

/* Appends what run `n` gave to the stacks. Those without dims grow by one element each time; kernel_output
 * keeps what they hold. */
static Status grow_stacks(KernelCtx *ctx, const LoopRun *run, int64_t n) {
    int32_t first = run->attrs->state_count;
    for (int32_t i = 0; i < run->stack_count; ++i) {
        Tensor *out = ctx->outputs[first + i];
        const Tensor *element = &run->results[1 + first + i];
        int64_t dims[SMELT_MAX_RANK];
        if (out == NULL) continue;
        if (!run->sized[i] && element->rank < SMELT_MAX_RANK) {
            stacked_dims(element, 0, n + 1, dims);
            if (n == 0) TRY(kernel_output(ctx, first + i, element->rank + 1, dims));
            TRY(check_stack(ctx, first + i, element, 0, 0));
            if (n > 0) TRY(kernel_output(ctx, first + i, element->rank + 1, dims));
        }
        TRY(check_stack(ctx, first + i, element, 0, n));
        write_stack(element, out, 0, n);
    }
    return STATUS_OK;
}

/* Runs of a body that were fewer than a stack was made for, or none at all. */
static Status close_stacks(KernelCtx *ctx, const LoopRun *run, int64_t runs) {
    int32_t first = run->attrs->state_count;
    for (int32_t i = 0; i < run->stack_count; ++i) {
        const Tensor *out = ctx->outputs[first + i];
        if (out == NULL) continue;
        if (!run->sized[i] && runs == 0) TRY(empty_stack(ctx, first + i, 0));
        if (out->dim[0] != runs)
            return FAIL(ctx->diag, STATUS_BAD_DATA, "the loop ends after %lld runs, expected %lld",
                        (long long)runs, (long long)out->dim[0]);
    }
    return STATUS_OK;
}

static Status loop_begin(KernelCtx *ctx, LoopRun *run, int64_t *iteration, bool *condition) {
    size_t params = loop_params(run->attrs);
    run->params = ctx->host->scratch;
    run->results = run->params + params;
    run->sized = (bool *)(run->results + 1 + ctx->output_count);
    run->params[0] = (Tensor){.dtype = DTYPE_I64, .data = iteration};
    run->params[1] = (Tensor){.dtype = DTYPE_BOOL, .data = condition};
    for (int32_t i = 0; i < run->attrs->state_count; ++i) run->params[2 + i] = *ctx->inputs[2 + i];
    for (int32_t i = 0; i < run->stack_count; ++i) {
        const Tensor *out = ctx->outputs[run->attrs->state_count + i];
        run->sized[i] = out != NULL && out->data != NULL;
    }
    if (kernel_input(ctx, 1) != NULL) TRY(read_condition(ctx, ctx->inputs[1], condition));
    return STATUS_OK;
}

Status kernel_Loop(KernelCtx *ctx) {
    const Tensor *trips = kernel_input(ctx, 0);
    LoopRun run = {.attrs = ctx->attrs};
    int32_t states = run.attrs->state_count;
    int64_t n = 0, most = trips == NULL ? INT64_MAX : kit_index(trips, 0);
    bool condition = true, has_condition = kernel_input(ctx, 1) != NULL;
    run.stack_count = ctx->output_count - states;
    TRY(loop_begin(ctx, &run, &n, &condition));
    for (; n < most && condition; ++n) {
        TRY(ctx->run_body(ctx->executor, run.attrs->body, 2 + states, run.params, 1 + ctx->output_count,
                          run.results, ctx->diag));
        if (has_condition) TRY(read_condition(ctx, &run.results[0], &condition));
        for (int32_t i = 0; i < states; ++i) run.params[2 + i] = run.results[1 + i];
        TRY(grow_stacks(ctx, &run, n));
    }
    for (int32_t i = 0; i < states; ++i) TRY(copy_result(ctx, &run.params[2 + i], i));
    return close_stacks(ctx, &run, n);
}

/* -- Scan -- */

/* Axes and directions of `count` scan inputs or outputs; 0 and forward where the lists are absent. */
static Status parse_scan_axes(const ParseCtx *ctx, const char *axes_name, const char *directions_name,
                              int32_t count, const ScanAxis **out) {
    const int64_t *axes, *directions;
    int32_t axis_count, direction_count;
    ScanAxis *list = ARENA_ARRAY(ctx->arena, ScanAxis, count);
    TRY_ALLOC(ctx->diag, list);
    TRY(attr_ints(ctx->list, axes_name, &axes, &axis_count, ctx->diag));
    TRY(attr_ints(ctx->list, directions_name, &directions, &direction_count, ctx->diag));
    if ((axis_count > 0 && axis_count != count) || (direction_count > 0 && direction_count != count))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "'%s' or '%s' does not have %d elements", axes_name,
                    directions_name, count);
    for (int32_t i = 0; i < count; ++i) {
        if (axis_count > 0) list[i].axis = axes[i];
        if (direction_count > 0) list[i].reverse = directions[i] != 0;
    }
    *out = list;
    return STATUS_OK;
}

Status parse_Scan(const ParseCtx *ctx, const void **attrs) {
    ScanAttrs *out = ARENA_NEW(ctx->arena, ScanAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t inputs;
    TRY(control_body(ctx, "body", &out->body));
    TRY(attr_int_in(ctx->list, "num_scan_inputs", 0, 1, ctx->input_count, &inputs, ctx->diag));
    out->input_count = (int32_t)inputs;
    out->state_count = ctx->input_count - out->input_count;
    out->output_count = ctx->output_count - out->state_count;
    if (out->output_count < 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d outputs for %d states", ctx->output_count,
                    out->state_count);
    TRY(parse_scan_axes(ctx, "scan_input_axes", "scan_input_directions", out->input_count, &out->inputs));
    TRY(parse_scan_axes(ctx, "scan_output_axes", "scan_output_directions", out->output_count, &out->outputs));
    *attrs = out;
    return STATUS_OK;
}

Status infer_Scan(InferCtx *ctx) {
    const ScanAttrs *attrs = ctx->attrs;
    Dim length = 0;
    for (int32_t i = 0; i < ctx->input_count; ++i) {
        int32_t axis = 0, scan = i - attrs->state_count;
        if (ctx->inputs[i] == NULL) return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is omitted", i);
        if (scan < 0) continue;
        TRY(kit_axis(attrs->inputs[scan].axis, ctx->inputs[i]->shape.rank, &axis, ctx->diag));
        Dim extent = ctx->inputs[i]->shape.dim[axis];
        TRY(kit_same_dim(ctx, scan == 0 ? extent : length, extent, "extents of the scanned axes", &length));
    }
    return STATUS_OK;
}

static size_t round_up(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* One run of a Scan; the arrays and the slices that are not contiguous are in its scratch. */
typedef struct ScanRun {
    const ScanAttrs *attrs;
    int64_t length;
    Tensor *params, *results;
    char *slices;
} ScanRun;

/* The input without its scanned axis. */
static Tensor slice_type(const Tensor *in, int32_t axis) {
    Tensor slice = {.dtype = in->dtype, .rank = in->rank - 1};
    for (int32_t i = 0; i < slice.rank; ++i) slice.dim[i] = in->dim[i + (i >= axis)];
    return slice;
}

static bool scan_axis(const KernelCtx *ctx, const ScanAttrs *attrs, int32_t i, int32_t *axis) {
    return kit_axis(attrs->inputs[i].axis, ctx->inputs[attrs->state_count + i]->rank, axis, ctx->diag) ==
           STATUS_OK;
}

static size_t scan_tables(const KernelCtx *ctx) {
    return round_up((size_t)(ctx->input_count + ctx->output_count) * sizeof(Tensor));
}

size_t scratch_Scan(const KernelCtx *ctx) {
    const ScanAttrs *attrs = ctx->attrs;
    size_t total = scan_tables(ctx);
    for (int32_t i = 0; i < attrs->input_count; ++i) {
        int32_t axis = 0;
        if (!scan_axis(ctx, attrs, i, &axis)) return total;
        Tensor slice = slice_type(ctx->inputs[attrs->state_count + i], axis);
        total += round_up(tensor_bytes(&slice));
    }
    return total;
}

/* Slice `t` of each scan input, gathered into scratch. */
static void cut_slices(KernelCtx *ctx, const ScanRun *run, int64_t t) {
    char *memory = run->slices;
    for (int32_t i = 0; i < run->attrs->input_count; ++i) {
        const Tensor *in = ctx->inputs[run->attrs->state_count + i];
        int32_t axis = 0;
        if (!scan_axis(ctx, run->attrs, i, &axis)) return; /* passed inference */
        Tensor slice = slice_type(in, axis);
        int64_t inner = tensor_span(in, axis + 1, in->rank), outer = tensor_span(in, 0, axis);
        int64_t at = run->attrs->inputs[i].reverse ? run->length - 1 - t : t;
        slice.data = memory;
        for (int64_t o = 0; o < outer; ++o)
            elements_copy(in->dtype, memory, o * inner, in->data, (o * run->length + at) * inner, inner);
        run->params[run->attrs->state_count + i] = slice;
        memory += round_up(tensor_bytes(&slice));
    }
}

static Status fill_stacks(KernelCtx *ctx, const ScanRun *run, int64_t t) {
    for (int32_t i = 0; i < run->attrs->output_count; ++i) {
        int32_t output = run->attrs->state_count + i, axis = 0;
        const Tensor *element = &run->results[output];
        Tensor *out = ctx->outputs[output];
        int64_t dims[SMELT_MAX_RANK], at = run->attrs->outputs[i].reverse ? run->length - 1 - t : t;
        if (out == NULL) continue;
        if (element->rank == SMELT_MAX_RANK)
            return FAIL(ctx->diag, STATUS_UNSUPPORTED, "an output of rank %d", element->rank + 1);
        TRY(kit_axis(run->attrs->outputs[i].axis, element->rank + 1, &axis, ctx->diag));
        stacked_dims(element, axis, run->length, dims);
        if (t == 0) TRY(kit_late_output(ctx, output, element->rank + 1, dims));
        TRY(check_stack(ctx, output, element, axis, at));
        write_stack(element, out, axis, at);
    }
    return STATUS_OK;
}

static Status empty_stacks(KernelCtx *ctx, const ScanRun *run) {
    for (int32_t i = 0; i < run->attrs->output_count; ++i) {
        int32_t output = run->attrs->state_count + i, axis = 0;
        if (ctx->outputs[output] == NULL) continue;
        TRY(kit_axis(run->attrs->outputs[i].axis, ctx->outputs[output]->rank, &axis, ctx->diag));
        TRY(empty_stack(ctx, output, axis));
    }
    return STATUS_OK;
}

Status kernel_Scan(KernelCtx *ctx) {
    ScanRun run = {.attrs = ctx->attrs, .params = ctx->host->scratch};
    int32_t states = run.attrs->state_count, axis = 0;
    run.results = run.params + ctx->input_count;
    run.slices = (char *)ctx->host->scratch + scan_tables(ctx);
    if (!scan_axis(ctx, run.attrs, 0, &axis)) return STATUS_BAD_MODEL;
    run.length = ctx->inputs[states]->dim[axis];
    for (int32_t i = 0; i < states; ++i) run.params[i] = *ctx->inputs[i];
    for (int64_t t = 0; t < run.length; ++t) {
        cut_slices(ctx, &run, t);
        TRY(ctx->run_body(ctx->executor, run.attrs->body, ctx->input_count, run.params, ctx->output_count,
                          run.results, ctx->diag));
        for (int32_t i = 0; i < states; ++i) run.params[i] = run.results[i];
        TRY(fill_stacks(ctx, &run, t));
    }
    for (int32_t i = 0; i < states; ++i) TRY(copy_result(ctx, &run.params[i], i));
    return run.length == 0 ? empty_stacks(ctx, &run) : STATUS_OK;
}
