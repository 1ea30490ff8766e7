/* Steps whose sizes depend on data. A late symbol is bound by the step that finds it: a host step by the
 * shapes of its results, a step on the device by numbers that its launches leave in scratch memory, for which
 * the run waits. From then on the symbol is a number like any other, and values that have it lie in memory
 * of their own, which grows when needed. */
#include "runtime/cuda.h"

/* -- what is late -- */

static bool is_late_launch(const Plan *plan, const PlanLaunch *launch) {
    bool late = false;
    for (int i = 0; i < 3; ++i) late = late || plan_dim_is_late(plan, launch->grid[i]);
    for (int32_t a = launch->arg_first; a < launch->arg_first + launch->arg_count; ++a)
        late = late || plan_dim_is_late(plan, plan->args[a].number) ||
               (plan->args[a].kind == PLAN_ARG_VALUE && plan_value_is_late(plan, plan->args[a].value));
    return late;
}

/* Results that no launch writes get their shapes all the same. */
static bool is_late_step(const Plan *plan, const PlanStep *step) {
    bool late = plan_dim_is_late(plan, step->scratch_bytes);
    for (int32_t op = step->op_first; op < step->op_first + step->op_count; ++op)
        for (int32_t i = 0; i < plan->ops[op].output_count; ++i)
            if (plan->ops[op].outputs[i] >= 0)
                late = late || plan_value_is_late(plan, plan->ops[op].outputs[i]);
    for (int32_t l = step->launch_first; l < step->launch_first + step->launch_count; ++l)
        late = late || is_late_launch(plan, &plan->launches[l]);
    return late;
}

static Status list_symbols(SmeltContext *context, int32_t step, bool *bound, Diag *diag) {
    LateStep *late = &context->cuda->late_steps[step];
    int32_t list[PLAN_MAX_COUNTS];
    int32_t count = plan_step_binds(context->plan, &context->plan->steps[step], bound, list);
    if (context->plan->steps[step].kind == PLAN_STEP_HOST || count == 0) return STATUS_OK;
    late->symbol_count = count; /* at most PLAN_MAX_COUNTS: the plan has been verified */
    late->symbols = ARENA_ARRAY(&context->arena, int32_t, count);
    TRY_ALLOC(diag, late->symbols);
    for (int32_t i = 0; i < count; ++i) late->symbols[i] = list[i];
    return STATUS_OK;
}

Status late_create(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    int32_t count = plan->programs[0].step_count;
    bool *bound = ARENA_ARRAY(&context->arena, bool, plan->symbol_count);
    cuda->late_steps = ARENA_ARRAY(&context->arena, LateStep, count);
    cuda->late_values = ARENA_ARRAY(&context->arena, LateValue, plan->value_count);
    TRY_ALLOC(diag, bound);
    TRY_ALLOC(diag, cuda->late_steps);
    TRY_ALLOC(diag, cuda->late_values);
    for (int32_t v = 0; v < plan->value_count; ++v)
        cuda->late_values[v].is_late = plan_value_is_late(plan, v);
    for (int32_t s = 0; s < count; ++s) {
        TRY(list_symbols(context, s, bound, diag));
        cuda->late_steps[s].is_late =
            plan->steps[s].kind == PLAN_STEP_LAUNCH && is_late_step(plan, &plan->steps[s]);
    }
    return STATUS_OK;
}

void late_destroy(SmeltContext *context) {
    CudaContext *cuda = context->cuda;
    for (int32_t v = 0; cuda->late_values != NULL && v < context->plan->value_count; ++v)
        device_release(cuda->engine, &cuda->late_values[v].memory);
    device_release(cuda->engine, &cuda->late_scratch);
    pinned_release(cuda->engine, &cuda->counts);
}

/* -- symbols -- */

static Status bind_symbol(SmeltContext *context, int32_t index, int64_t number, Diag *diag) {
    const Symbol *symbol = &context->plan->symbols[index];
    if (number < symbol->min || number > symbol->max)
        return FAIL(diag, STATUS_BAD_DATA, "a step finds %lld for '%s'; the plan is for %lld to %lld",
                    (long long)number, symbol->name, (long long)symbol->min, (long long)symbol->max);
    if (context->symbols[index] >= 0 && context->symbols[index] != number)
        return FAIL(diag, STATUS_BAD_DATA, "a step finds %lld for '%s', and an earlier one %lld",
                    (long long)number, symbol->name, (long long)context->symbols[index]);
    context->symbols[index] = number;
    return STATUS_OK;
}

/* Late symbols that the results of a step on the host, or of inference, show. */
static Status bind_results(SmeltContext *context, const PlanStep *step, bool only_known, Diag *diag) {
    const Plan *plan = context->plan;
    for (int32_t op = step->op_first; op < step->op_first + step->op_count; ++op) {
        for (int32_t i = 0; i < plan->ops[op].output_count; ++i) {
            int32_t value = plan->ops[op].outputs[i];
            if (value < 0 || !context->cuda->late_values[value].is_late) continue;
            if (only_known && !context->values[value].known) continue;
            for (int32_t d = 0; d < plan->values[value].rank; ++d) {
                int32_t symbol = plan_dim_symbol(plan, plan->values[value].dim[d]);
                if (symbol < 0 || plan->symbols[symbol].kind != SYMBOL_LATE || context->symbols[symbol] >= 0)
                    continue;
                TRY(bind_symbol(context, symbol, context->tensors[value].dim[d], diag));
            }
        }
    }
    return STATUS_OK;
}

Status late_begin(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    bool any = false;
    for (int32_t i = 0; i < plan->symbol_count; ++i) {
        if (plan->symbols[i].kind != SYMBOL_LATE) continue;
        context->symbols[i] = -1;
        any = true;
    }
    for (int32_t s = 0; any && s < plan->programs[0].step_count; ++s)
        TRY(bind_results(context, &plan->steps[s], true, diag));
    return STATUS_OK;
}

Status late_bind_host_step(SmeltContext *context, int32_t step, Diag *diag) {
    return bind_results(context, &context->plan->steps[step], false, diag);
}

/* -- memory -- */

Status late_reserve(SmeltContext *context, int32_t value, Diag *diag) {
    DeviceMemory *memory = &context->cuda->late_values[value].memory;
    size_t bytes = tensor_bytes(&context->tensors[value]), roomy = memory->capacity + memory->capacity / 2;
    if (memory->data != 0 && bytes <= memory->capacity) return STATUS_OK;
    return device_reserve(context->cuda->engine, memory, bytes > roomy ? bytes : roomy,
                          "a result whose size depends on data", diag);
}

Status late_on_host(SmeltContext *context, int32_t value, Diag *diag) {
    const Tensor *tensor = &context->tensors[value];
    int64_t dims[SMELT_MAX_RANK] = {0};
    if (context->values[value].known) return STATUS_OK;
    for (int32_t i = 0; i < tensor->rank; ++i) dims[i] = tensor->dim[i];
    return place_late(context, value, tensor->rank, dims, diag);
}

/* The dims that the plan states for the symbols as they are. */
static Status stated_dims(SmeltContext *context, int32_t value, int64_t *dims, Diag *diag) {
    const PlanValue *row = &context->plan->values[value];
    size_t bytes;
    for (int32_t i = 0; i < row->rank; ++i)
        if (!plan_dim_eval(context->plan, row->dim[i], context->symbols, &dims[i]) || dims[i] < 0)
            return FAIL(diag, STATUS_BAD_DATA, "value %d '%s' gets an impossible dimension %d", value,
                        row->name, i);
    if (!dims_storage((DType)row->dtype, row->rank, dims, &bytes))
        return FAIL(diag, STATUS_BAD_DATA, "value %d '%s' gets more than 2^63 bytes", value, row->name);
    return STATUS_OK;
}

static Status check_dims(SmeltContext *context, int32_t value, Diag *diag) {
    const Tensor *tensor = &context->tensors[value];
    int64_t dims[SMELT_MAX_RANK] = {0};
    TRY(stated_dims(context, value, dims, diag));
    for (int32_t i = 0; i < tensor->rank; ++i)
        if (dims[i] != tensor->dim[i])
            return FAIL(diag, STATUS_BAD_DATA, "dimension %d of value %d '%s' is %lld; the plan says %lld", i,
                        value, context->plan->values[value].name, (long long)tensor->dim[i],
                        (long long)dims[i]);
    return STATUS_OK;
}

static Status check_inputs(SmeltContext *context, const PlanStep *step, Diag *diag) {
    const Plan *plan = context->plan;
    for (int32_t op = step->op_first; op < step->op_first + step->op_count; ++op)
        for (int32_t i = 0; i < plan->ops[op].input_count; ++i) {
            int32_t value = plan->ops[op].inputs[i];
            if (value >= 0 && context->cuda->late_values[value].is_late &&
                plan->values[value].storage != PLAN_NOWHERE)
                TRY(check_dims(context, value, diag));
        }
    return STATUS_OK;
}

static Status place_result(SmeltContext *context, int32_t value, Diag *diag) {
    Tensor *tensor = &context->tensors[value];
    int64_t dims[SMELT_MAX_RANK] = {0};
    if (context->values[value].known) TRY(check_dims(context, value, diag));
    TRY(stated_dims(context, value, dims, diag));
    for (int32_t i = 0; i < tensor->rank; ++i) tensor->dim[i] = dims[i];
    return late_reserve(context, value, diag);
}

static Status place_results(SmeltContext *context, const PlanStep *step, Diag *diag) {
    const Plan *plan = context->plan;
    for (int32_t op = step->op_first; op < step->op_first + step->op_count; ++op)
        for (int32_t i = 0; i < plan->ops[op].output_count; ++i) {
            int32_t value = plan->ops[op].outputs[i];
            if (value >= 0 && context->cuda->late_values[value].is_late &&
                plan->values[value].storage != PLAN_NOWHERE)
                TRY(place_result(context, value, diag));
        }
    return STATUS_OK;
}

/* -- a step on the device -- */

typedef struct Scratch {
    CudaPointer base;
    int64_t size;
} Scratch;

static Status find_scratch(SmeltContext *context, int32_t index, Scratch *out, Diag *diag) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    PlanDim stated = plan->steps[index].scratch_bytes;
    if (!plan_dim_eval(plan, stated, context->symbols, &out->size) || out->size < 0)
        return FAIL(diag, STATUS_BAD_DATA, "step %d gets scratch memory of an impossible size", index);
    out->base = cuda->workspace + (CudaPointer)cuda->arena_bytes;
    if (!plan_dim_is_late(plan, stated)) return STATUS_OK;
    TRY(device_reserve(cuda->engine, &cuda->late_scratch, (size_t)out->size, "scratch memory", diag));
    out->base = cuda->late_scratch.data;
    return STATUS_OK;
}

/* Waits for what the launches have found. */
static Status read_counts(SmeltContext *context, int32_t index, const Scratch *scratch, CudaHandle stream,
                          Diag *diag) {
    const LateStep *late = &context->cuda->late_steps[index];
    CudaContext *cuda = context->cuda;
    size_t bytes = (size_t)late->symbol_count * sizeof(int64_t);
    if ((uint64_t)scratch->size < bytes)
        return FAIL(diag, STATUS_BAD_PLAN, "step %d finds %d sizes in scratch memory of %lld bytes", index,
                    late->symbol_count, (long long)scratch->size);
    TRY(pinned_reserve(cuda->engine, &cuda->counts, bytes, diag));
    TRY(cuda_result(&cuda->engine->api,
                    cuda->engine->api.copy_out_async(cuda->counts.data, scratch->base, bytes, stream),
                    STATUS_CUDA_FAILED, "a copy from the GPU", diag));
    TRY(cuda_result(&cuda->engine->api, cuda->engine->api.stream_synchronize(stream), STATUS_CUDA_FAILED,
                    "a run on the GPU", diag));
    for (int32_t i = 0; i < late->symbol_count; ++i)
        TRY(bind_symbol(context, late->symbols[i], ((const int64_t *)cuda->counts.data)[i], diag));
    return STATUS_OK;
}

/* Whether the launch needs what this step has yet to find: it writes a late value, or has a number of one. */
static bool needs_counts(const SmeltContext *context, const PlanLaunch *launch) {
    const Plan *plan = context->plan;
    int64_t ignored;
    for (int i = 0; i < 3; ++i)
        if (!plan_dim_eval(plan, launch->grid[i], context->symbols, &ignored)) return true;
    for (int32_t a = launch->arg_first; a < launch->arg_first + launch->arg_count; ++a) {
        const PlanArg *arg = &plan->args[a];
        if (!plan_dim_eval(plan, arg->number, context->symbols, &ignored)) return true;
        if (arg->written && context->cuda->late_values[arg->value].is_late) return true;
    }
    return false;
}

Status late_run(SmeltContext *context, int32_t index, CudaHandle stream, Diag *diag) {
    const PlanStep *step = &context->plan->steps[index];
    bool waiting = context->cuda->late_steps[index].symbol_count > 0;
    Scratch scratch;
    TRY(check_inputs(context, step, diag));
    TRY(find_scratch(context, index, &scratch, diag));
    if (!waiting) TRY(place_results(context, step, diag));
    for (int32_t l = step->launch_first; l < step->launch_first + step->launch_count; ++l) {
        if (waiting && needs_counts(context, &context->plan->launches[l])) {
            TRY(read_counts(context, index, &scratch, stream, diag));
            TRY(place_results(context, step, diag));
            waiting = false;
        }
        TRY(evaluate_launch(context, l, scratch.base, scratch.size, diag));
        TRY(launch_one(context, l, stream, false, diag));
    }
    if (!waiting) return STATUS_OK;
    TRY(read_counts(context, index, &scratch, stream, diag));
    return place_results(context, step, diag);
}
