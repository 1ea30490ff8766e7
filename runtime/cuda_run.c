#include <stdio.h>
#include <string.h>

#include "runtime/cuda.h"

enum { BINDING_ALIGNMENT = 16 /* the widest access of a kernel */ };

static Status cuda_try(SmeltContext *context, int result, const char *what, Diag *diag) {
    return cuda_result(&context->cuda->engine->api, result, STATUS_CUDA_FAILED, what, diag);
}

/* -- copies around host steps -- */

static Status download(SmeltContext *context, int32_t value, CudaHandle stream, Diag *diag) {
    TRY(late_on_host(context, value, diag));
    const Tensor *tensor = &context->tensors[value];
    size_t bytes = tensor_bytes(tensor);
    if (bytes == 0) return STATUS_OK;
    return cuda_try(
        context,
        context->cuda->engine->api.copy_out_async(tensor->data, cuda_place(context, value), bytes, stream),
        "a copy from the GPU", diag);
}

static Status upload(SmeltContext *context, int32_t value, CudaPointer to, CudaHandle stream, Diag *diag) {
    const Tensor *tensor = &context->tensors[value];
    size_t bytes = tensor_bytes(tensor);
    if (bytes == 0) return STATUS_OK;
    context->cuda->staging = true;
    return cuda_try(context, context->cuda->engine->api.copy_in_async(to, tensor->data, bytes, stream),
                    "a copy to the GPU", diag);
}

/* Waits until the host's memory may be written: all copies from it are done. */
static Status wait_staged(SmeltContext *context, Diag *diag) {
    if (!context->cuda->staging) return STATUS_OK;
    context->cuda->staging = false;
    return cuda_try(context, context->cuda->engine->api.event_synchronize(context->cuda->staged),
                    "a run on the GPU", diag);
}

static Status mark_staged(SmeltContext *context, CudaHandle stream, Diag *diag) {
    if (!context->cuda->staging) return STATUS_OK;
    return cuda_try(context, context->cuda->engine->api.event_record(context->cuda->staged, stream),
                    "an event", diag);
}

static Status run_host_step(SmeltContext *context, int32_t step, CudaHandle stream, Diag *diag) {
    CudaContext *cuda = context->cuda;
    bool copied = false;
    TRY(wait_staged(context, diag));
    for (int32_t m = cuda->downloads[step]; m >= 0; m = cuda->moves[m].next) {
        if (cuda->running && cuda->moves[m].only_enqueue) continue;
        TRY(download(context, cuda->moves[m].value, stream, diag));
        copied = true;
    }
    if (copied)
        TRY(cuda_try(context, cuda->engine->api.stream_synchronize(stream), "a run on the GPU", diag));
    TRY(execute_step(context, step, diag));
    TRY(late_bind_host_step(context, step, diag));
    for (int32_t m = cuda->uploads[step]; m >= 0; m = cuda->moves[m].next) {
        int32_t value = cuda->moves[m].value;
        if (cuda->running && cuda->moves[m].only_enqueue) continue;
        if (cuda->late_values[value].is_late) TRY(late_reserve(context, value, diag));
        TRY(upload(context, value, cuda_place(context, value), stream, diag));
    }
    return mark_staged(context, stream, diag);
}

/* -- the plan -- */

static Status execute_stretches(SmeltContext *context, CudaHandle stream, Diag *diag) {
    CudaContext *cuda = context->cuda;
    TRY(late_begin(context, diag));
    GraphSet *set = context->profiling ? NULL : graphs_find(context);
    for (int32_t i = 0; i < cuda->stretch_count; ++i) {
        const Stretch *stretch = &cuda->stretches[i];
        if (stretch->kind == STRETCH_HOST)
            TRY(run_host_step(context, stretch->step_first, stream, diag));
        else if (context->profiling)
            TRY(profile_stretch(context, i, stream, diag));
        else if (stretch->kind == STRETCH_LATE)
            TRY(late_run(context, stretch->step_first, stream, diag));
        else
            TRY(launch_graph(context, set, i, stream, diag));
    }
    return context->profiling ? profile_collect(context, stream, diag) : STATUS_OK;
}

/* -- bindings -- */

static bool is_own_place(const SmeltContext *context, int32_t binding) {
    const PlanValue *value = &context->plan->values[context->plan->bindings[binding].value];
    return value->storage == PLAN_BINDING && value->index == binding;
}

/* Pointers that follow the bindings' memory, on both sides. */
static Status bind_places(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    for (int32_t i = 0; i < plan->binding_count; ++i)
        if (is_own_place(context, i) && context->values[plan->bindings[i].value].known)
            context->tensors[plan->bindings[i].value].data = cuda->bindings[i].host.data;
    for (int32_t i = 0; i < cuda->binding_view_count; ++i) {
        const PlanOp *op = &plan->ops[cuda->binding_views[i]];
        context->tensors[op->outputs[0]].data = context->tensors[op->inputs[0]].data;
    }
    for (int32_t i = 0; i < cuda->binding_argument_count; ++i) {
        int32_t arg = cuda->binding_arguments[i];
        if (plan->args[arg].kind == PLAN_ARG_MAP)
            TRY(make_map(context, arg, diag));
        else
            cuda->arguments[arg] = cuda_place(context, plan->args[arg].value);
    }
    return STATUS_OK;
}

static Status take_device_memory(SmeltContext *context, int32_t index, void *memory, size_t size,
                                 Diag *diag) {
    const PlanBinding *binding = &context->plan->bindings[index];
    BindingState *state = &context->bindings[index];
    bool known = context->values[binding->value].known;
    size_t bytes = known ? tensor_bytes(&context->tensors[binding->value]) : 0;
    if (memory == NULL && (bytes > 0 || !known))
        return FAIL(diag, STATUS_USAGE, "'%s' has no memory", binding->name);
    if ((uintptr_t)memory % BINDING_ALIGNMENT != 0)
        return FAIL(diag, STATUS_USAGE, "the device memory of '%s' is not aligned to %d bytes", binding->name,
                    BINDING_ALIGNMENT);
    if (!known && size == SIZE_MAX)
        return FAIL(diag, STATUS_USAGE,
                    "the size of output '%s' depends on data: the run needs to know the size of its memory",
                    binding->name);
    if (size < bytes)
        return FAIL(diag, STATUS_BAD_DATA, "'%s' needs %zu bytes, its memory has %zu", binding->name, bytes,
                    size);
    context->cuda->bindings[index].memory = (CudaPointer)(uintptr_t)memory;
    context->cuda->bindings[index].size = size;
    state->memory = NULL; /* late results come to the context's memory first */
    state->result = memory;
    state->result_size = bytes;
    return STATUS_OK;
}

/* -- results -- */

/* To the caller's device memory, from where the plan leaves it. */
static Status place_result(SmeltContext *context, int32_t index, CudaHandle stream, Diag *diag) {
    CudaContext *cuda = context->cuda;
    int32_t value = context->plan->bindings[index].value, root = cuda->root[value];
    size_t bytes = tensor_bytes(&context->tensors[value]);
    const CudaBinding *binding = &cuda->bindings[index];
    context->bindings[index].result_size = bytes;
    if (bytes == 0 || (is_own_place(context, index) && context->values[value].known)) return STATUS_OK;
    if (bytes > binding->size)
        return FAIL(diag, STATUS_BAD_DATA, "output '%s' needs %zu bytes, its memory has %zu",
                    context->plan->bindings[index].name, bytes, binding->size);
    if (!cuda->on_device[root]) return upload(context, value, binding->memory, stream, diag);
    return cuda_try(context,
                    cuda->engine->api.copy_async(binding->memory, cuda_place(context, value), bytes, stream),
                    "a copy on the GPU", diag);
}

static Status enqueue(SmeltContext *context, CudaHandle stream, void *const *buffers, const size_t *sizes,
                      Diag *diag) {
    const Plan *plan = context->plan;
    context->cuda->running = false;
    for (int32_t i = 0; i < plan->binding_count; ++i)
        TRY(take_device_memory(context, i, buffers[i], sizes != NULL ? sizes[i] : SIZE_MAX, diag));
    TRY(bind_places(context, diag));
    if (context->profiling) profile_begin(context);
    TRY(execute_stretches(context, stream, diag));
    for (int32_t i = context->engine->input_count; i < plan->binding_count; ++i)
        TRY(place_result(context, i, stream, diag));
    return mark_staged(context, stream, diag);
}

/* -- runs with host memory -- */

static Status reserve_staging(SmeltContext *context, int32_t index, Diag *diag) {
    CudaContext *cuda = context->cuda;
    CudaBinding *binding = &cuda->bindings[index];
    int32_t value = context->plan->bindings[index].value;
    if (!context->values[value].known) return STATUS_OK;
    size_t bytes = tensor_bytes(&context->tensors[value]);
    TRY(pinned_reserve(cuda->engine, &binding->host, bytes, diag));
    if (is_own_place(context, index))
        TRY(device_reserve(cuda->engine, &binding->device, bytes, "inputs and outputs", diag));
    binding->memory = binding->device.data;
    return STATUS_OK;
}

static Status copy_input(SmeltContext *context, int32_t index, Diag *diag) {
    int32_t value = context->plan->bindings[index].value;
    const Tensor *tensor = &context->tensors[value];
    size_t bytes = tensor_bytes(tensor);
    if (bytes > 0) memcpy(tensor->data, context->bindings[index].memory, bytes);
    return upload(context, value, context->cuda->bindings[index].memory, context->cuda->stream, diag);
}

/* Results that are only on the device come into the binding's pinned memory. */
static Status copy_output(SmeltContext *context, int32_t index, Diag *diag) {
    CudaContext *cuda = context->cuda;
    int32_t value = context->plan->bindings[index].value;
    Tensor *tensor = &context->tensors[value];
    if (cuda->on_host[cuda->root[value]]) return STATUS_OK;
    if (context->values[value].known) tensor->data = cuda->bindings[index].host.data;
    return download(context, value, cuda->stream, diag);
}

static Status mark(SmeltContext *context, int which, Diag *diag) {
    const CudaContext *cuda = context->cuda;
    if (!cuda->timing) return STATUS_OK;
    return cuda_try(context, cuda->engine->api.event_record(cuda->marks[which], cuda->stream), "an event",
                    diag);
}

static Status collect_times(SmeltContext *context, Diag *diag) {
    CudaContext *cuda = context->cuda;
    double *const spans[RUN_MARKS - 1] = {&cuda->times.copy_in, &cuda->times.compute, &cuda->times.copy_out};
    for (int i = 0; cuda->timing && i < RUN_MARKS - 1; ++i) {
        float milliseconds = 0;
        TRY(cuda_try(context,
                     cuda->engine->api.event_elapsed(&milliseconds, cuda->marks[i], cuda->marks[i + 1]),
                     "an event", diag));
        *spans[i] = 1e3 * (double)milliseconds;
    }
    return STATUS_OK;
}

static Status run_staged(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    if (context->profiling) profile_begin(context);
    TRY(mark(context, 0, diag));
    for (int32_t i = 0; i < context->engine->input_count; ++i) TRY(copy_input(context, i, diag));
    TRY(mark_staged(context, cuda->stream, diag));
    TRY(mark(context, 1, diag));
    double start = clock_microseconds();
    TRY(execute_stretches(context, cuda->stream, diag));
    cuda->times.enqueue = clock_microseconds() - start;
    TRY(mark(context, 2, diag));
    for (int32_t i = context->engine->input_count; i < plan->binding_count; ++i)
        TRY(copy_output(context, i, diag));
    TRY(mark(context, 3, diag));
    cuda->staging = false;
    TRY(cuda_try(context, cuda->engine->api.stream_synchronize(cuda->stream), "a run on the GPU", diag));
    return collect_times(context, diag);
}

static Status run(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    context->cuda->running = true;
    for (int32_t i = 0; i < plan->binding_count; ++i) TRY(reserve_staging(context, i, diag));
    TRY(bind_places(context, diag));
    Status status = wait_staged(context, diag);
    if (status == STATUS_OK) status = run_staged(context, diag);
    if (status != STATUS_OK) {
        (void)context->cuda->engine->api.stream_synchronize(context->cuda->stream);
        return status;
    }
    for (int32_t i = context->engine->input_count; i < plan->binding_count; ++i)
        TRY(deliver_result(context, i, diag));
    return STATUS_OK;
}

/* -- entry points -- */

/* After a CUDA error nothing of the context can be trusted. */
static Status check_alive(SmeltContext *context, Diag *diag) {
    if (context->cuda->failure[0] == '\0') return STATUS_OK;
    return FAIL(diag, STATUS_CUDA_FAILED, "the GPU failed in an earlier run: %s", context->cuda->failure);
}

static Status leave(SmeltContext *context, Status status, const Diag *diag) {
    cuda_leave(context->cuda->engine);
    if (status == STATUS_CUDA_FAILED)
        snprintf(context->cuda->failure, sizeof context->cuda->failure, "%.250s", diag->text);
    return status;
}

Status cuda_run(SmeltContext *context, Diag *diag) {
    TRY(check_alive(context, diag));
    TRY(cuda_enter(context->cuda->engine, diag));
    return leave(context, run(context, diag), diag);
}

Status cuda_enqueue(SmeltContext *context, CudaHandle stream, void *const *buffers, const size_t *sizes,
                    Diag *diag) {
    TRY(check_alive(context, diag));
    TRY(cuda_enter(context->cuda->engine, diag));
    return leave(context, enqueue(context, stream, buffers, sizes, diag), diag);
}
