#include <string.h>
#include <time.h>

#include "runtime/context.h"

/* -- memory that is found during a run -- */

static Status late_in_binding(SmeltContext *context, int32_t index, size_t bytes, void **data, Diag *diag) {
    BindingState *state = &context->bindings[index];
    const char *name = context->plan->bindings[index].name;
    if (state->memory == NULL) {
        TRY(own_grow(context, &state->own, bytes, diag));
        *data = state->own.data;
        return STATUS_OK;
    }
    if (state->size == SIZE_MAX)
        return FAIL(diag, STATUS_USAGE,
                    "the size of output '%s' depends on data: the run needs to know the size of its memory",
                    name);
    if (bytes > state->size)
        return FAIL(diag, STATUS_BAD_DATA, "output '%s' needs %zu bytes, its memory has %zu", name, bytes,
                    state->size);
    *data = state->memory;
    return STATUS_OK;
}

Status place_late(SmeltContext *context, int32_t index, int32_t rank, const int64_t *dims, Diag *diag) {
    const PlanValue *value = &context->plan->values[index];
    Tensor *tensor = &context->tensors[index];
    size_t bytes;
    if (rank != value->rank)
        return FAIL(diag, STATUS_BAD_PLAN, "value %d '%s' gets rank %d, the plan says %d", index, value->name,
                    rank, value->rank);
    for (int32_t i = 0; i < rank; ++i) {
        if (dims[i] < 0)
            return FAIL(diag, STATUS_BAD_DATA, "value %d '%s' gets an impossible dimension %d: %lld", index,
                        value->name, i, (long long)dims[i]);
        tensor->dim[i] = dims[i];
    }
    if (!dims_storage(tensor->dtype, rank, dims, &bytes))
        return FAIL(diag, STATUS_BAD_DATA, "value %d '%s' gets more than 2^63 bytes", index, value->name);
    if (value->storage == PLAN_BINDING)
        return late_in_binding(context, value->index, bytes, &tensor->data, diag);
    TRY(own_grow(context, &context->values[index].own, bytes, diag));
    tensor->data = context->values[index].own.data;
    return STATUS_OK;
}

/* KernelCtx.allocate: the executor is the context. */
static Status allocate_output(KernelCtx *ctx, int32_t output, int32_t rank, const int64_t *dims) {
    SmeltContext *context = ctx->executor;
    Tensor *tensor = ctx->outputs[output];
    int32_t value = (int32_t)(tensor - context->tensors);
    if (!context->values[value].known) return place_late(context, value, rank, dims, ctx->diag);
    bool same = rank == tensor->rank;
    for (int32_t i = 0; same && i < rank; ++i) same = dims[i] == tensor->dim[i];
    if (same) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_PLAN, "output %d gets another shape than the plan says", output);
}

/* -- operators -- */

static Status run_body(void *executor, int32_t body, int32_t input_count, const Tensor *inputs,
                       int32_t output_count, Tensor *outputs, Diag *diag);

KernelCtx kernel_context(SmeltContext *context, int32_t op, Diag *diag) {
    return (KernelCtx){.attrs = context->engine->ops[op].attrs,
                       .input_count = context->plan->ops[op].input_count,
                       .output_count = context->plan->ops[op].output_count,
                       .inputs = context->ops[op].inputs,
                       .outputs = context->ops[op].outputs,
                       .host = &context->host,
                       .allocate = allocate_output,
                       .run_body = run_body,
                       .executor = context,
                       .diag = diag};
}

/* An output with late dims keeps data NULL until the kernel has sized it. */
static Status check_outputs(const SmeltContext *context, int32_t op, Diag *diag) {
    const PlanOp *row = &context->plan->ops[op];
    for (int32_t i = 0; i < row->output_count; ++i)
        if (row->outputs[i] >= 0 && context->tensors[row->outputs[i]].data == NULL)
            return FAIL(diag, STATUS_INTERNAL, "the kernel has not sized its output %d", i);
    return STATUS_OK;
}

static Status run_kernel(SmeltContext *context, int32_t op, Diag *diag) {
    const OpDef *def = op_def(context->engine->ops[op].id);
    KernelCtx ctx = kernel_context(context, op, diag);
    bool is_control = def->op_class == OPCLASS_CONTROL;
    OwnMemory *scratch = is_control ? &context->ops[op].scratch : &context->scratch;
    if ((context->ops[op].late || is_control) && def->scratch != NULL)
        TRY(own_reserve(context, scratch, def->scratch(&ctx), diag));
    context->host.scratch = scratch->data;
    context->host.scratch_size = scratch->capacity;
    TRY(def->kernel(&ctx));
    return context->ops[op].late ? check_outputs(context, op, diag) : STATUS_OK;
}

static Status run_op(SmeltContext *context, int32_t op, Diag *diag) {
    const OpState *state = &context->ops[op];
    if (state->late || state->check) TRY(infer_late(context, op, diag));
    if (!context->engine->ops[op].is_alias) {
        Status status = run_kernel(context, op, diag);
        if (status != STATUS_OK) diag_operator(diag, context->plan, op);
        return status == STATUS_BAD_MODEL ? STATUS_BAD_DATA : status;
    }
    state->outputs[0]->data = state->inputs[0]->data;
    return STATUS_OK;
}

/* -- steps and programs -- */

double clock_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e6 * (double)now.tv_sec + 1e-3 * (double)now.tv_nsec;
}

Status execute_step(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanStep *step = &context->plan->steps[index];
    double start = context->profiling ? clock_microseconds() : 0.0;
    for (int32_t i = 0; i < step->op_count;) {
        int32_t op = step->op_first + i, chain = context->ops[op].chain_length;
        if (chain > 0)
            run_chain(context, op);
        else
            TRY(run_op(context, op, diag));
        i += chain > 0 ? chain : 1;
    }
    if (context->profiling) {
        context->times[index].runs++;
        context->times[index].microseconds += clock_microseconds() - start;
    }
    return STATUS_OK;
}

static Status run_program(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanProgram *program = &context->plan->programs[index];
    for (int32_t i = 0; i < program->step_count; ++i)
        TRY(execute_step(context, program->step_first + i, diag));
    return STATUS_OK;
}

static Status bind_parameter(SmeltContext *context, int32_t value, const Tensor *from, Diag *diag) {
    Tensor *tensor = &context->tensors[value];
    bool fits = from->dtype == tensor->dtype && from->rank == tensor->rank;
    for (int32_t i = 0; fits && i < from->rank; ++i)
        if (context->values[value].known && from->dim[i] != tensor->dim[i]) fits = false;
    if (!fits) {
        char given[128], expected[128];
        tensor_format(from, given, sizeof given);
        tensor_format(tensor, expected, sizeof expected);
        return FAIL(diag, STATUS_BAD_DATA, "parameter '%s' of a body gets %s, expected %s",
                    context->plan->values[value].name, given, expected);
    }
    /* Results of the last run may come back as parameters, in any order: they are left in place. */
    ValueState *state = &context->values[value];
    OwnMemory last = state->own;
    state->own = state->other;
    state->other = last;
    TRY(own_reserve(context, &state->own, tensor_bytes(from), diag));
    *tensor = *from;
    tensor->data = state->own.data;
    if (tensor_bytes(from) > 0) memcpy(tensor->data, from->data, tensor_bytes(from));
    return STATUS_OK;
}

static Status run_body(void *executor, int32_t body, int32_t input_count, const Tensor *inputs,
                       int32_t output_count, Tensor *outputs, Diag *diag) {
    SmeltContext *context = executor;
    const PlanProgram *program = &context->plan->programs[body];
    if (program->param_count != input_count || program->result_count != output_count)
        return FAIL(diag, STATUS_BAD_PLAN, "a body with %d parameters and %d results gets %d and %d",
                    program->param_count, program->result_count, input_count, output_count);
    for (int32_t i = 0; i < input_count; ++i)
        TRY(bind_parameter(context, program->params[i], &inputs[i], diag));
    TRY(run_program(context, body, diag));
    for (int32_t i = 0; i < output_count; ++i) outputs[i] = context->tensors[program->results[i]];
    return STATUS_OK;
}

/* -- results -- */

/* Results that were not computed in the caller's memory are copied there. */
Status deliver_result(SmeltContext *context, int32_t index, Diag *diag) {
    BindingState *state = &context->bindings[index];
    const Tensor *tensor = &context->tensors[context->plan->bindings[index].value];
    size_t bytes = tensor_bytes(tensor);
    state->result = tensor->data;
    state->result_size = bytes;
    if (state->memory == NULL || state->memory == tensor->data) return STATUS_OK;
    if (state->size == SIZE_MAX && !context->values[context->plan->bindings[index].value].known)
        return FAIL(diag, STATUS_USAGE,
                    "the size of output '%s' depends on data: the run needs to know the size of its memory",
                    context->plan->bindings[index].name);
    if (bytes > state->size)
        return FAIL(diag, STATUS_BAD_DATA, "output '%s' needs %zu bytes, its memory has %zu",
                    context->plan->bindings[index].name, bytes, state->size);
    if (bytes > 0) memcpy(state->memory, tensor->data, bytes);
    state->result = state->memory;
    return STATUS_OK;
}

/* Values in the memory of inputs, and of outputs whose size is known beforehand. */
static Status bind_memory(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanBinding *binding = &context->plan->bindings[index];
    const PlanValue *value = &context->plan->values[binding->value];
    BindingState *state = &context->bindings[index];
    Tensor *tensor = &context->tensors[binding->value];
    if (value->storage != PLAN_BINDING || value->index != index || !context->values[binding->value].known)
        return STATUS_OK;
    tensor->data = state->memory;
    if (state->memory != NULL) return STATUS_OK;
    TRY(own_reserve(context, &state->own, tensor_bytes(tensor), diag));
    tensor->data = state->own.data;
    return STATUS_OK;
}

Status execute_plan(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    for (int32_t i = 0; i < plan->binding_count; ++i) TRY(bind_memory(context, i, diag));
    TRY(run_program(context, 0, diag));
    for (int32_t i = context->engine->input_count; i < plan->binding_count; ++i)
        TRY(deliver_result(context, i, diag));
    return STATUS_OK;
}
