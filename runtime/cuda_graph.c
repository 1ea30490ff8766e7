#include <string.h>

#include "runtime/cuda.h"
#include "runtime/libraries.h"

enum { GRAPH_LAUNCHES = 3 /* below which a graph gains nothing */ };

/* -- the cache -- */

static void forget(const CudaApi *api, GraphSet *set, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
        if (set->graphs[i] != NULL) (void)api->graph_executable_destroy(set->graphs[i]);
        set->graphs[i] = NULL;
    }
    set->last_use = 0;
}

void graphs_clear(SmeltContext *context) {
    for (int32_t i = 0; i < GRAPH_LIMIT; ++i) {
        GraphSet *set = &context->cuda->graphs[i];
        if (set->graphs != NULL && set->last_use > 0)
            forget(&context->cuda->engine->api, set, context->plan->programs[0].step_count);
    }
}

static bool is_current(const SmeltContext *context, const GraphSet *set) {
    const Plan *plan = context->plan;
    if (set->last_use == 0) return false;
    for (int32_t i = 0; i < plan->binding_count; ++i)
        if (set->bindings[i] != context->cuda->bindings[i].memory) return false;
    return plan->symbol_count == 0 ||
           memcmp(set->symbols, context->symbols, (size_t)plan->symbol_count * sizeof(int64_t)) == 0;
}

static void note(SmeltContext *context, GraphSet *set) {
    const Plan *plan = context->plan;
    for (int32_t i = 0; i < plan->binding_count; ++i) set->bindings[i] = context->cuda->bindings[i].memory;
    for (int32_t i = 0; i < plan->symbol_count; ++i) set->symbols[i] = context->symbols[i];
    set->last_use = context->cuda->use_count;
}

GraphSet *graphs_find(SmeltContext *context) {
    CudaContext *cuda = context->cuda;
    GraphSet *oldest = &cuda->graphs[0];
    cuda->use_count++;
    for (int32_t i = 0; i < GRAPH_LIMIT; ++i) {
        GraphSet *set = &cuda->graphs[i];
        if (is_current(context, set)) {
            set->last_use = cuda->use_count;
            return set;
        }
        if (set->last_use < oldest->last_use) oldest = set;
    }
    /* A graph that is under way may be destroyed: the driver keeps it until it is done. */
    forget(&cuda->engine->api, oldest, context->plan->programs[0].step_count);
    note(context, oldest);
    return NULL;
}

/* -- launches -- */

/* Kernels that wait for those in front of them may be put in place while these still run; blocks that wait
 * for each other run at one time, whatever else there is. */
static int launch_with(const CudaEngine *engine, const PlanLaunch *launch, const LaunchState *state,
                       bool early, CudaHandle stream) {
    CudaLaunchAttribute attributes[2] = {{.id = CUDA_LAUNCH_SERIALIZATION, .value = {1}},
                                         {.id = CUDA_LAUNCH_COOPERATIVE, .value = {1}}};
    CudaLaunch config = {.shared_bytes = (unsigned)launch->shared_bytes,
                         .stream = stream,
                         .attributes = attributes + (early ? 0 : 1),
                         .attribute_count = (early ? 1U : 0U) + (launch->together ? 1U : 0U)};
    for (int i = 0; i < 3; ++i) {
        config.grid[i] = state->grid[i];
        config.block[i] = (unsigned)launch->block[i];
    }
    return engine->api.launch_ex(&config, engine->kernels[launch->kernel].function, state->parameters, NULL);
}

Status launch_one(SmeltContext *context, int32_t index, CudaHandle stream, bool joins, Diag *diag) {
    const PlanLaunch *launch = &context->plan->launches[index];
    const LaunchState *state = &context->cuda->launches[index];
    const CudaEngine *engine = context->cuda->engine;
    int result;
    if (state->skipped) return STATUS_OK;
    if (launch->kernel < 0) return libraries_launch(context, index, stream, diag);
    bool early = engine->kernels_wait && !joins;
    if (early || launch->together)
        result = launch_with(engine, launch, state, early, stream);
    else
        result = engine->api.launch(engine->kernels[launch->kernel].function, state->grid[0], state->grid[1],
                                    state->grid[2], (unsigned)launch->block[0], (unsigned)launch->block[1],
                                    (unsigned)launch->block[2], (unsigned)launch->shared_bytes, stream,
                                    state->parameters, NULL);
    return cuda_result(&engine->api, result, STATUS_CUDA_FAILED, context->plan->kernels[launch->kernel].entry,
                       diag);
}

static Status launch_step(SmeltContext *context, int32_t index, CudaHandle stream, Diag *diag) {
    const PlanStep *step = &context->plan->steps[index];
    for (int32_t l = step->launch_first; l < step->launch_first + step->launch_count; ++l)
        TRY(launch_one(context, l, stream, false, diag));
    return STATUS_OK;
}

Status launch_steps(SmeltContext *context, StepRange range, CudaHandle stream, Diag *diag) {
    for (int32_t i = 0; i < range.repeats; ++i)
        for (int32_t s = range.first; s < range.end; ++s) TRY(launch_step(context, s, stream, diag));
    return STATUS_OK;
}

static Status capture_launches(SmeltContext *context, StepRange range, BranchPlan *branches,
                               CudaHandle *graph, Diag *diag) {
    const CudaApi *api = &context->cuda->engine->api;
    CudaHandle stream = context->cuda->stream;
    if (api->capture_begin(stream, CUDA_CAPTURE_THREAD_LOCAL) != 0) return STATUS_CUDA_FAILED;
    Status status =
        launch_steps(context, (StepRange){range.first, range.end, range.repeats - 1}, stream, diag);
    if (status == STATUS_OK) status = branches_launch(context, branches, stream, diag);
    int result = api->capture_end(stream, graph);
    return status != STATUS_OK ? status : cuda_result(api, result, STATUS_CUDA_FAILED, "a graph", diag);
}

bool capture_steps(SmeltContext *context, StepRange range, CudaHandle *executable) {
    const CudaApi *api = &context->cuda->engine->api;
    CudaHandle graph = NULL;
    BranchPlan branches = {0};
    Arena arena;
    Diag ignored = {0};
    arena_init(&arena, &context->allocator);
    *executable = NULL;
    bool captured = branches_find(context, range, &arena, &branches, &ignored) == STATUS_OK &&
                    capture_launches(context, range, &branches, &graph, &ignored) == STATUS_OK &&
                    api->graph_instantiate(executable, graph, 0) == CUDA_SUCCESS;
    if (!captured) *executable = NULL;
    if (graph != NULL) (void)api->graph_destroy(graph);
    branches_release(context, &branches);
    arena_reset(&arena);
    return captured;
}

bool stretch_has_graph(const Stretch *stretch) {
    return stretch->launch_count >= GRAPH_LAUNCHES;
}

Status launch_graph(SmeltContext *context, GraphSet *set, int32_t index, CudaHandle stream, Diag *diag) {
    const Stretch *stretch = &context->cuda->stretches[index];
    const CudaApi *api = &context->cuda->engine->api;
    StepRange all = {stretch->step_first, stretch->step_first + stretch->step_count, 1};
    if (set == NULL || !stretch_has_graph(stretch)) return launch_steps(context, all, stream, diag);
    if (set->graphs[index] == NULL && !capture_steps(context, all, &set->graphs[index]))
        return launch_steps(context, all, stream, diag);
    return cuda_result(api, api->graph_launch(set->graphs[index], stream), STATUS_CUDA_FAILED,
                       "a graph's launch", diag);
}
