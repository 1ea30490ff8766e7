#include "runtime/cuda.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

int report_status(Status status, const Diag *diag, SmeltError *error) {
    if (error == NULL) return (int)status;
    error->status = (int)status;
    error->message[0] = '\0';
    if (status != STATUS_OK) diag_format(diag, error->message, sizeof error->message);
    return (int)status;
}

/* -- loading -- */

static Status check_target(const Plan *plan, Diag *diag) {
    const char *target = plan_meta(plan, "target");
    if (target == NULL) return FAIL(diag, STATUS_BAD_PLAN, "META: there is no target");
    if (!plan_is_cuda(plan) && plan->launch_count > 0)
        return FAIL(diag, STATUS_BAD_PLAN, "META: a plan for target '%s' has launches", target);
    if (plan_is_cuda(plan) || strcmp(target, "cpu") == 0) return STATUS_OK;
    return FAIL(diag, STATUS_WRONG_DEVICE, "the plan is for target '%s'; this runtime has 'cpu' and 'cuda'",
                target);
}

static Status load_bytes(SmeltEngine *engine, const void *bytes, size_t size, const char *name,
                         const SmeltEngineOptions *options, Diag *diag) {
    const Plan *plan = &engine->plan;
    TRY(plan_read(bytes, size, name, &engine->arena, &engine->plan, diag));
    TRY(check_target(plan, diag));
    while (engine->input_count < plan->binding_count && !plan->bindings[engine->input_count].is_output)
        engine->input_count++;
    TRY(engine_bind_ops(engine, diag));
    return plan_is_cuda(plan) ? cuda_engine_open(engine, options, diag) : STATUS_OK;
}

static SmeltEngine *engine_new(Diag *diag) {
    SmeltEngine *engine = mem_alloc(NULL, sizeof *engine);
    if (engine == NULL) {
        (void)FAIL(diag, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    memset(engine, 0, sizeof *engine);
    arena_init(&engine->arena, &engine->allocator);
    return engine;
}

static int finish_load(SmeltEngine *engine, Status status, Diag *diag, const char *name, SmeltEngine **out,
                       SmeltError *error) {
    if (status == STATUS_OK) {
        *out = engine;
    } else {
        diag_context(diag, DIAG_FILE, "%s", name);
        smelt_engine_destroy(engine);
    }
    return report_status(status, diag, error);
}

int smelt_engine_load(const char *path, const SmeltEngineOptions *options, SmeltEngine **out,
                      SmeltError *error) {
    Diag diag = {0};
    *out = NULL;
    SmeltEngine *engine = engine_new(&diag);
    if (engine == NULL) return report_status(STATUS_NO_MEMORY, &diag, error);
    Status status = file_map(path, &engine->map, &diag);
    if (status == STATUS_OK)
        status = load_bytes(engine, engine->map.data, engine->map.size, path, options, &diag);
    return finish_load(engine, status, &diag, path, out, error);
}

int smelt_engine_load_memory(const void *bytes, size_t size, const SmeltEngineOptions *options,
                             SmeltEngine **out, SmeltError *error) {
    Diag diag = {0};
    *out = NULL;
    if ((uintptr_t)bytes % PLAN_WEIGHT_ALIGNMENT != 0)
        return report_status(
            FAIL(&diag, STATUS_USAGE, "the plan's bytes must be aligned to %d", PLAN_WEIGHT_ALIGNMENT), &diag,
            error);
    SmeltEngine *engine = engine_new(&diag);
    if (engine == NULL) return report_status(STATUS_NO_MEMORY, &diag, error);
    Status status = load_bytes(engine, bytes, size, "plan", options, &diag);
    return finish_load(engine, status, &diag, "plan", out, error);
}

void smelt_engine_destroy(SmeltEngine *engine) {
    if (engine == NULL) return;
    cuda_engine_close(engine);
    arena_reset(&engine->arena);
    file_unmap(&engine->map);
    mem_free(NULL, engine);
}

/* -- bindings -- */

int smelt_engine_binding_count(const SmeltEngine *engine) {
    return engine->plan.binding_count;
}

typedef struct DimRange {
    int64_t low, usual, high;
} DimRange;

/* A dim when all symbols are at their least, optimum and greatest; everything where that cannot be told. */
static DimRange dim_range(const Plan *plan, PlanDim d, Arena *arena) {
    int64_t *values = ARENA_ARRAY(arena, int64_t, plan->symbol_count), least, usual, greatest;
    DimRange range = {0, 0, INT64_MAX};
    if (values == NULL || plan_dim_is_late(plan, d)) return range;
    for (int32_t i = 0; i < plan->symbol_count; ++i) values[i] = plan->symbols[i].min;
    if (!plan_dim_eval(plan, d, values, &least)) return range;
    for (int32_t i = 0; i < plan->symbol_count; ++i) values[i] = plan->symbols[i].max;
    if (!plan_dim_eval(plan, d, values, &greatest)) greatest = INT64_MAX;
    for (int32_t i = 0; i < plan->symbol_count; ++i) values[i] = plan->symbols[i].opt;
    if (!plan_dim_eval(plan, d, values, &usual)) usual = least;
    range.low = min_i64(least, greatest);
    range.high = max_i64(least, greatest);
    range.usual = clamp_i64(usual, range.low, range.high);
    return range;
}

int smelt_engine_binding(const SmeltEngine *engine, int index, SmeltBinding *binding, SmeltError *error) {
    const Plan *plan = &engine->plan;
    Diag diag = {0};
    if (index < 0 || index >= plan->binding_count)
        return report_status(
            FAIL(&diag, STATUS_USAGE, "there is no binding %d, of %d", index, plan->binding_count), &diag,
            error);
    const PlanValue *value = &plan->values[plan->bindings[index].value];
    Arena arena = {0};
    *binding = (SmeltBinding){.name = plan->bindings[index].name,
                              .is_output = plan->bindings[index].is_output,
                              .dtype = value->dtype,
                              .rank = value->rank};
    for (int32_t i = 0; i < value->rank; ++i) {
        binding->dims[i] = dim_is_exact(value->dim[i]) ? value->dim[i] : -1;
        DimRange range = dim_range(plan, value->dim[i], &arena);
        binding->min_dims[i] = range.low;
        binding->opt_dims[i] = range.usual;
        binding->max_dims[i] = range.high;
    }
    arena_reset(&arena);
    return report_status(STATUS_OK, &diag, error);
}

int smelt_engine_find_binding(const SmeltEngine *engine, const char *name) {
    for (int32_t i = 0; i < engine->plan.binding_count; ++i)
        if (strcmp(engine->plan.bindings[i].name, name) == 0) return i;
    return -1;
}
