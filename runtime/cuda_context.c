#include <stdio.h>
#include <string.h>

#include "runtime/cuda.h"

/* -- tables -- */

static void mark_value(SmeltContext *context, int32_t value) {
    if (value < 0) return;
    const PlanValue *row = &context->plan->values[value];
    if (row->storage == PLAN_BUFFER) context->cuda->buffer_on_host[row->index] = true;
    if (row->storage == PLAN_BINDING) context->cuda->bindings[row->index].on_host = true;
}

/* Host steps see the buffers that operands of theirs lie in, and of their bodies. */
static Status mark_host_memory(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    int32_t *main_steps = engine_main_steps(plan, &context->arena);
    TRY_ALLOC(diag, main_steps);
    for (int32_t op = 0; op < plan->op_count; ++op) {
        const PlanOp *row = &plan->ops[op];
        if (plan->steps[main_steps[op]].kind != PLAN_STEP_HOST) continue;
        for (int32_t i = 0; i < row->input_count; ++i) mark_value(context, row->inputs[i]);
        for (int32_t i = 0; i < row->output_count; ++i) mark_value(context, row->outputs[i]);
    }
    for (int32_t p = 1; p < plan->program_count; ++p)
        for (int32_t i = 0; i < plan->programs[p].result_count; ++i)
            mark_value(context, plan->programs[p].results[i]);
    return STATUS_OK;
}

/* Views, from operators to what they show: an operator's input comes before it. */
static void find_roots(SmeltContext *context) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    for (int32_t v = 0; v < plan->value_count; ++v) cuda->root[v] = v;
    for (int32_t op = 0; op < plan->op_count; ++op) {
        if (!context->engine->ops[op].is_alias) continue;
        int32_t out = plan->ops[op].outputs[0];
        cuda->root[out] = cuda->root[plan->ops[op].inputs[0]];
        if (plan->values[out].storage == PLAN_BINDING) cuda->binding_views[cuda->binding_view_count++] = op;
    }
}

/* Of a launch. */
static void add_binding_arguments(SmeltContext *context, const PlanLaunch *launch) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    for (int32_t i = launch->arg_first; i < launch->arg_first + launch->arg_count; ++i)
        if ((plan->args[i].kind == PLAN_ARG_VALUE || plan->args[i].kind == PLAN_ARG_MAP) &&
            plan->values[plan->args[i].value].storage == PLAN_BINDING)
            cuda->binding_arguments[cuda->binding_argument_count++] = i;
}

/* Those of other architectures are left out. */
static void find_binding_arguments(SmeltContext *context) {
    const Plan *plan = context->plan;
    for (int32_t s = 0; s < plan->programs[0].step_count; ++s) {
        const PlanStep *step = &plan->steps[s];
        for (int32_t l = step->launch_first; l < step->launch_first + step->launch_count; ++l)
            add_binding_arguments(context, &plan->launches[l]);
    }
}

static Status allocate_launches(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    cuda->arguments = ARENA_ARRAY(&context->arena, uint64_t, plan->arg_count);
    cuda->binding_arguments = ARENA_ARRAY(&context->arena, int32_t, plan->arg_count);
    cuda->launches = ARENA_ARRAY(&context->arena, LaunchState, plan->launch_count);
    cuda->map_places = ARENA_ARRAY(&context->arena, CudaPointer, plan->map_count);
    uint8_t *maps = ARENA_ARRAY(&context->arena, uint8_t, ((size_t)plan->map_count + 1) * sizeof(CudaMap));
    void **parameters = ARENA_ARRAY(&context->arena, void *, plan->arg_count);
    TRY_ALLOC(diag, cuda->arguments);
    TRY_ALLOC(diag, cuda->binding_arguments);
    TRY_ALLOC(diag, cuda->launches);
    TRY_ALLOC(diag, cuda->map_places);
    TRY_ALLOC(diag, maps);
    TRY_ALLOC(diag, parameters);
    /* Arenas align less than maps want. */
    cuda->maps = (CudaMap *)(void *)(maps + (_Alignof(CudaMap) - (uintptr_t)maps % _Alignof(CudaMap)));
    for (int32_t i = 0; i < plan->arg_count; ++i) {
        bool is_map = plan->args[i].kind == PLAN_ARG_MAP;
        parameters[i] = is_map ? (void *)&cuda->maps[plan->args[i].number] : (void *)&cuda->arguments[i];
    }
    for (int32_t i = 0; i < plan->launch_count; ++i)
        cuda->launches[i].parameters = parameters + plan->launches[i].arg_first;
    return STATUS_OK;
}

static Status allocate_graphs(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    for (int32_t i = 0; i < GRAPH_LIMIT; ++i) {
        GraphSet *set = &context->cuda->graphs[i];
        set->symbols = ARENA_ARRAY(&context->arena, int64_t, plan->symbol_count);
        set->bindings = ARENA_ARRAY(&context->arena, CudaPointer, plan->binding_count);
        set->graphs = ARENA_ARRAY(&context->arena, CudaHandle, plan->programs[0].step_count);
        TRY_ALLOC(diag, set->symbols);
        TRY_ALLOC(diag, set->bindings);
        TRY_ALLOC(diag, set->graphs);
    }
    return STATUS_OK;
}

static Status allocate_tables(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    Arena *arena = &context->arena;
    cuda->buffer_on_host = ARENA_ARRAY(arena, bool, plan->buffer_count);
    cuda->bindings = ARENA_ARRAY(arena, CudaBinding, plan->binding_count);
    cuda->root = ARENA_ARRAY(arena, int32_t, plan->value_count);
    cuda->on_device = ARENA_ARRAY(arena, bool, plan->value_count);
    cuda->on_host = ARENA_ARRAY(arena, bool, plan->value_count);
    cuda->binding_views = ARENA_ARRAY(arena, int32_t, plan->op_count);
    cuda->stretches = ARENA_ARRAY(arena, Stretch, plan->programs[0].step_count);
    cuda->downloads = ARENA_ARRAY(arena, int32_t, plan->programs[0].step_count);
    cuda->uploads = ARENA_ARRAY(arena, int32_t, plan->programs[0].step_count);
    context->host_offsets = ARENA_ARRAY(arena, int64_t, plan->buffer_count);
    TRY_ALLOC(diag, cuda->buffer_on_host);
    TRY_ALLOC(diag, cuda->bindings);
    TRY_ALLOC(diag, cuda->root);
    TRY_ALLOC(diag, cuda->on_device);
    TRY_ALLOC(diag, cuda->on_host);
    TRY_ALLOC(diag, cuda->binding_views);
    TRY_ALLOC(diag, cuda->stretches);
    TRY_ALLOC(diag, cuda->downloads);
    TRY_ALLOC(diag, cuda->uploads);
    TRY_ALLOC(diag, context->host_offsets);
    TRY(late_create(context, diag));
    TRY(allocate_launches(context, diag));
    return allocate_graphs(context, diag);
}

/* -- creation -- */

static Status create_objects(CudaContext *cuda, Diag *diag) {
    const CudaApi *api = &cuda->engine->api;
    int result = api->stream_create(&cuda->stream, CUDA_STREAM_NON_BLOCKING);
    if (result == CUDA_SUCCESS) result = api->event_create(&cuda->staged, CUDA_EVENT_NO_TIMING);
    for (int i = 0; i < RUN_MARKS && result == CUDA_SUCCESS; ++i)
        result = api->event_create(&cuda->marks[i], CUDA_EVENT_DEFAULT);
    return cuda_result(api, result, STATUS_CUDA_FAILED, "a CUDA stream", diag);
}

Status cuda_context_create(SmeltContext *context, const SmeltContextOptions *options, Diag *diag) {
    CudaContext *cuda = ARENA_NEW(&context->arena, CudaContext);
    TRY_ALLOC(diag, cuda);
    context->cuda = cuda;
    cuda->engine = context->engine->cuda;
    cuda->caller_workspace = options != NULL && options->caller_workspace != 0;
    arena_init(&cuda->arena, &context->allocator);
    TRY(allocate_tables(context, diag));
    find_roots(context);
    find_binding_arguments(context);
    TRY(mark_host_memory(context, diag));
    TRY(cuda_enter(cuda->engine, diag));
    Status status = create_objects(cuda, diag);
    cuda_leave(cuda->engine);
    return status;
}

static void destroy_events(CudaContext *cuda) {
    const CudaApi *api = &cuda->engine->api;
    for (int i = 0; i < RUN_MARKS; ++i)
        if (cuda->marks[i] != NULL) (void)api->event_destroy(cuda->marks[i]);
    if (cuda->staged != NULL) (void)api->event_destroy(cuda->staged);
}

void cuda_context_destroy(SmeltContext *context) {
    CudaContext *cuda = context->cuda;
    if (cuda == NULL) return;
    if (cuda_enter(cuda->engine, NULL) == STATUS_OK) {
        (void)cuda->engine->api.context_synchronize();
        graphs_clear(context);
        profile_destroy(context);
        destroy_events(cuda);
        for (int i = 0; i < BRANCH_LIMIT; ++i)
            if (cuda->branches[i] != NULL) (void)cuda->engine->api.stream_destroy(cuda->branches[i]);
        if (cuda->stream != NULL) (void)cuda->engine->api.stream_destroy(cuda->stream);
        device_release(cuda->engine, &cuda->own);
        pinned_release(cuda->engine, &cuda->mirror);
        late_destroy(context);
        for (int32_t i = 0; cuda->bindings != NULL && i < context->plan->binding_count; ++i) {
            device_release(cuda->engine, &cuda->bindings[i].device);
            pinned_release(cuda->engine, &cuda->bindings[i].host);
        }
        cuda_leave(cuda->engine);
    }
    arena_reset(&cuda->arena);
}

/* -- the caller's workspace -- */

static Status set_workspace(SmeltContext *context, void *memory, size_t size, Diag *diag) {
    CudaContext *cuda = context->cuda;
    if (cuda == NULL || !cuda->caller_workspace)
        return FAIL(diag, STATUS_USAGE, "the context was not created for memory of the caller");
    if ((uintptr_t)memory % PLAN_ALIGNMENT != 0)
        return FAIL(diag, STATUS_USAGE, "the workspace must be aligned to %d bytes", PLAN_ALIGNMENT);
    TRY(cuda_enter(cuda->engine, diag));
    graphs_clear(context);
    cuda_leave(cuda->engine);
    cuda->workspace = (CudaPointer)(uintptr_t)memory;
    cuda->workspace_size = memory != NULL ? size : 0;
    context->prepared = false;
    return STATUS_OK;
}

int smelt_context_set_workspace(SmeltContext *context, void *memory, size_t size, SmeltError *error) {
    Diag diag = {0};
    return report_status(set_workspace(context, memory, size, &diag), &diag, error);
}

/* -- timing -- */

int smelt_context_timing(SmeltContext *context, int enable, SmeltError *error) {
    Diag diag = {0};
    if (context->cuda != NULL) context->cuda->timing = enable != 0;
    return report_status(STATUS_OK, &diag, error);
}

int smelt_context_run_times(const SmeltContext *context, SmeltRunTimes *times, SmeltError *error) {
    Diag diag = {0};
    *times = context->cuda != NULL ? context->cuda->times : (SmeltRunTimes){0};
    return report_status(STATUS_OK, &diag, error);
}
