#include <stdio.h>

#include "base/checked.h"
#include "base/units.h"
#include "runtime/cuda.h"

enum { MOST_GRID_YZ = 65535 };

/* -- memory -- */

Status cuda_lay_out(SmeltContext *context, int64_t total, Diag *diag) {
    CudaContext *cuda = context->cuda;
    int64_t mirrored;
    cuda->arena_bytes = total;
    TRY(pack_buffers(context, cuda->buffer_on_host, context->host_offsets, &mirrored, diag));
    TRY(pinned_reserve(cuda->engine, &cuda->mirror, (size_t)mirrored, diag));
    context->host_arena = cuda->mirror.data;
    return STATUS_OK;
}

static Status evaluate_scratch(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    cuda->scratch_bytes = 0;
    for (int32_t i = 0; i < plan->step_count; ++i) {
        int64_t size;
        if (plan_dim_is_late(plan, plan->steps[i].scratch_bytes)) continue;
        if (!plan_dim_eval(plan, plan->steps[i].scratch_bytes, context->symbols, &size) || size < 0)
            return FAIL(diag, STATUS_BAD_DATA,
                        "the inputs' shapes give step %d scratch memory of an impossible size", i);
        cuda->scratch_bytes = max_i64(cuda->scratch_bytes, size);
    }
    if (!checked_add_i64(cuda->arena_bytes, PLAN_ALIGNMENT - 1, &cuda->arena_bytes))
        return FAIL(diag, STATUS_BAD_DATA, "the inputs' shapes need more than 2^63 bytes");
    cuda->arena_bytes = cuda->arena_bytes / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    return STATUS_OK;
}

static Status reserve_workspace(SmeltContext *context, Diag *diag) {
    CudaContext *cuda = context->cuda;
    int64_t total;
    char what[96];
    if (!checked_add_i64(cuda->arena_bytes, cuda->scratch_bytes, &total))
        return FAIL(diag, STATUS_BAD_DATA, "the inputs' shapes need more than 2^63 bytes");
    if (cuda->caller_workspace) {
        if ((uint64_t)total <= cuda->workspace_size) return STATUS_OK;
        return FAIL(diag, STATUS_NO_MEMORY, "the arena needs %lld bytes; the caller's workspace has %zu",
                    (long long)total, cuda->workspace_size);
    }
    if (cuda->own.data == 0 || (uint64_t)total > cuda->own.capacity) graphs_clear(context);
    snprintf(what, sizeof what, "the arena, beside %s of weights,",
             byte_text((double)context->plan->weights_size).text);
    TRY(device_reserve(cuda->engine, &cuda->own, (size_t)total, what, diag));
    cuda->workspace = cuda->own.data;
    return STATUS_OK;
}

/* Known bindings that host steps touch, so that an enqueue finds their memory there. */
static Status reserve_bindings(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    for (int32_t i = 0; i < plan->binding_count; ++i) {
        CudaBinding *binding = &context->cuda->bindings[i];
        int32_t value = plan->bindings[i].value;
        if (binding->on_host && context->values[value].known)
            TRY(pinned_reserve(context->cuda->engine, &binding->host, tensor_bytes(&context->tensors[value]),
                               diag));
    }
    return STATUS_OK;
}

CudaPointer cuda_place(const SmeltContext *context, int32_t index) {
    const PlanValue *value = &context->plan->values[index];
    const CudaContext *cuda = context->cuda;
    if (value->storage == PLAN_WEIGHT) return cuda->engine->weights + (CudaPointer)value->offset;
    if (value->storage == PLAN_BUFFER) return cuda->workspace + (CudaPointer)context->values[index].offset;
    if (value->storage == PLAN_BINDING && context->values[index].known)
        return cuda->bindings[value->index].memory;
    return cuda->late_values[index].memory.data;
}

/* -- launches -- */

static Status evaluate_argument(SmeltContext *context, int32_t index, CudaPointer base, int64_t scratch,
                                bool skipped, Diag *diag) {
    const PlanArg *arg = &context->plan->args[index];
    CudaContext *cuda = context->cuda;
    int64_t number;
    if (!plan_dim_eval(context->plan, arg->number, context->symbols, &number))
        return FAIL(diag, STATUS_BAD_DATA, "the inputs' shapes give argument %d an impossible value", index);
    if (arg->kind == PLAN_ARG_SCRATCH && (number < 0 || number > scratch))
        return FAIL(diag, STATUS_BAD_PLAN, "argument %d begins at byte %lld of scratch memory of %lld", index,
                    (long long)number, (long long)scratch);
    if (arg->kind == PLAN_ARG_MAP) {
        cuda->map_places[arg->number] = skipped ? NO_MAP : 0; /* shapes have changed */
        bool binds = context->plan->values[arg->value].storage == PLAN_BINDING;
        return binds ? STATUS_OK : make_map(context, index, diag);
    }
    if (arg->kind == PLAN_ARG_VALUE)
        cuda->arguments[index] = cuda_place(context, arg->value);
    else if (arg->kind == PLAN_ARG_SCRATCH)
        cuda->arguments[index] = base + (CudaPointer)number;
    else
        cuda->arguments[index] = (uint64_t)number;
    return STATUS_OK;
}

Status evaluate_launch(SmeltContext *context, int32_t index, CudaPointer scratch, int64_t scratch_bytes,
                       Diag *diag) {
    static const int64_t most[3] = {INT32_MAX, MOST_GRID_YZ, MOST_GRID_YZ};
    const PlanLaunch *launch = &context->plan->launches[index];
    LaunchState *state = &context->cuda->launches[index];
    state->skipped = false;
    for (int i = 0; i < 3; ++i) {
        int64_t size;
        if (!plan_dim_eval(context->plan, launch->grid[i], context->symbols, &size) || size < 0 ||
            size > most[i])
            return FAIL(diag, STATUS_BAD_DATA, "the inputs' shapes give launch %d a grid that no GPU has",
                        index);
        state->grid[i] = (unsigned)size;
        state->skipped = state->skipped || size == 0;
    }
    if (launch->together)
        state->grid[0] = (unsigned)min_i64(state->grid[0], context->cuda->engine->together[index]);
    for (int32_t a = launch->arg_first; a < launch->arg_first + launch->arg_count; ++a)
        TRY(evaluate_argument(context, a, scratch, scratch_bytes, state->skipped, diag));
    return STATUS_OK;
}

static Status evaluate_launches(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    CudaPointer base = context->cuda->workspace + (CudaPointer)context->cuda->arena_bytes;
    for (int32_t s = 0; s < plan->programs[0].step_count; ++s) {
        const PlanStep *step = &plan->steps[s];
        int64_t scratch = 0;
        if (step->launch_count == 0 || context->cuda->late_steps[s].is_late) continue;
        (void)plan_dim_eval(plan, step->scratch_bytes, context->symbols, &scratch);
        for (int32_t l = step->launch_first; l < step->launch_first + step->launch_count; ++l)
            TRY(evaluate_launch(context, l, base, scratch, diag));
    }
    return STATUS_OK;
}

Status cuda_prepare(SmeltContext *context, Diag *diag) {
    arena_reset(&context->cuda->arena);
    TRY(evaluate_scratch(context, diag));
    TRY(plan_moves(context, diag));
    TRY(reserve_bindings(context, diag));
    TRY(reserve_workspace(context, diag));
    return evaluate_launches(context, diag);
}
