/* Steps of a graph that need not wait for each other, on streams of their own. What a step reads and writes
 * says which earlier ones it waits for, so that results are those of the steps one after another. */
#include "runtime/cuda.h"

enum { NOBODY = -1 };

/* Bytes that a step reads or writes. */
typedef struct Touch {
    int32_t storage, place; /* PlanStorage; buffer, binding or value */
    bool written;
} Touch;

typedef struct BranchStep {
    int32_t step; /* of the plan */
    int32_t branch;
    int32_t seen[BRANCH_LIMIT]; /* of each branch the last one that is over when this one begins */
    int32_t
        waits[BRANCH_LIMIT]; /* of each branch the one that it waits for beside that in front in its own */
    bool is_awaited;         /* by another branch, or by the end of the graph */
    CudaHandle done;         /* event; NULL: nobody waits for it */
    int32_t touch_count;
    Touch *touches;
} BranchStep;

/* -- what depends on what -- */

enum { SCRATCH_PLACE = -1 /* all steps share it */ };

/* False: only constants and numbers. */
static bool touch_of(const SmeltContext *context, const PlanArg *arg, Touch *out) {
    if (arg->kind == PLAN_ARG_SCRATCH) {
        *out = (Touch){PLAN_OWN, SCRATCH_PLACE, true};
        return true;
    }
    if (arg->kind != PLAN_ARG_VALUE && arg->kind != PLAN_ARG_MAP) return false;
    const PlanValue *value = &context->plan->values[arg->value];
    bool is_own = value->storage == PLAN_OWN;
    *out = (Touch){.storage = value->storage,
                   .place = is_own ? context->cuda->root[arg->value] : value->index,
                   .written = arg->kind == PLAN_ARG_VALUE && arg->written};
    return value->storage != PLAN_WEIGHT;
}

static Status find_touches(const SmeltContext *context, Arena *arena, BranchStep *own, Diag *diag) {
    const Plan *plan = context->plan;
    const PlanStep *step = &plan->steps[own->step];
    const PlanLaunch *first = &plan->launches[step->launch_first], *last = first + step->launch_count - 1;
    int32_t end = last->arg_first + last->arg_count;
    own->touches = ARENA_ARRAY(arena, Touch, end - first->arg_first);
    TRY_ALLOC(diag, own->touches);
    for (int32_t a = first->arg_first; a < end; ++a)
        own->touch_count += touch_of(context, &plan->args[a], &own->touches[own->touch_count]);
    return STATUS_OK;
}

static bool buffers_overlap(const SmeltContext *context, int32_t a, int32_t b) {
    const int64_t *offsets = context->buffer_offsets, *sizes = context->buffer_sizes;
    return offsets[a] < offsets[b] + sizes[b] && offsets[b] < offsets[a] + sizes[a];
}

/* Parts of one buffer are written side by side, and over each other only behind the last reader. Callers may
 * give one memory to several bindings. */
static bool touches_conflict(const SmeltContext *context, const Touch *early, const Touch *late) {
    if (early->storage != late->storage) return false;
    if (early->storage == PLAN_BINDING) return early->written || late->written;
    if (early->place != late->place)
        return early->storage == PLAN_BUFFER && buffers_overlap(context, early->place, late->place);
    return early->storage == PLAN_BUFFER ? early->written != late->written : early->written || late->written;
}

static bool depends_on(const SmeltContext *context, const BranchStep *late, const BranchStep *early) {
    for (int32_t i = 0; i < late->touch_count; ++i)
        for (int32_t j = 0; j < early->touch_count; ++j)
            if (touches_conflict(context, &early->touches[j], &late->touches[i])) return true;
    return false;
}

/* -- which branch -- */

typedef struct Branches {
    const SmeltContext *context;
    BranchStep *steps;
    int32_t tail[BRANCH_LIMIT];
} Branches;

static bool is_seen(const BranchStep *from, const BranchStep *steps, int32_t which) {
    return from->seen[steps[which].branch] >= which;
}

static void see(BranchStep *from, const BranchStep *steps, int32_t which) {
    for (int b = 0; b < BRANCH_LIMIT; ++b)
        if (steps[which].seen[b] > from->seen[b]) from->seen[b] = steps[which].seen[b];
    if (!is_seen(from, steps, which)) from->seen[steps[which].branch] = which;
}

/* Earlier steps that step number `index` depends on, the latest first, without those that are over before
 * another one of them begins: of each branch one at most. */
static int32_t find_needs(const Branches *b, int32_t index, int32_t needs[BRANCH_LIMIT]) {
    BranchStep *own = &b->steps[index];
    int32_t count = 0;
    for (int32_t i = index - 1; i >= 0 && count < BRANCH_LIMIT; --i) {
        if (is_seen(own, b->steps, i) || !depends_on(b->context, own, &b->steps[i])) continue;
        needs[count++] = i;
        see(own, b->steps, i);
    }
    return count;
}

/* Behind the latest of its needs that nothing follows yet; else on a branch of its own, whose steps are over
 * by then, as long as there are any. */
static int32_t choose_branch(const Branches *b, int32_t index, const int32_t *needs, int32_t count) {
    for (int32_t i = 0; i < count; ++i)
        if (b->tail[b->steps[needs[i]].branch] == needs[i]) return b->steps[needs[i]].branch;
    for (int branch = 0; branch < BRANCH_LIMIT && count > 0; ++branch)
        if (b->steps[index].seen[branch] >= b->tail[branch]) return branch;
    return count > 0 ? b->steps[needs[0]].branch : 0;
}

static void place_step(Branches *b, int32_t index) {
    BranchStep *own = &b->steps[index];
    int32_t needs[BRANCH_LIMIT];
    for (int i = 0; i < BRANCH_LIMIT; ++i) own->seen[i] = own->waits[i] = NOBODY;
    int32_t count = find_needs(b, index, needs);
    own->branch = choose_branch(b, index, needs, count);
    for (int i = 0; i < BRANCH_LIMIT; ++i) own->seen[i] = NOBODY;
    if (b->tail[own->branch] != NOBODY) see(own, b->steps, b->tail[own->branch]);
    for (int32_t i = 0; i < count; ++i) {
        if (is_seen(own, b->steps, needs[i])) continue;
        own->waits[b->steps[needs[i]].branch] = needs[i];
        b->steps[needs[i]].is_awaited = true;
        see(own, b->steps, needs[i]);
    }
    b->tail[own->branch] = index;
}

Status branches_find(const SmeltContext *context, StepRange range, Arena *arena, BranchPlan *out,
                     Diag *diag) {
    Branches b = {.context = context, .steps = ARENA_ARRAY(arena, BranchStep, range.end - range.first)};
    int32_t count = 0;
    TRY_ALLOC(diag, b.steps);
    for (int i = 0; i < BRANCH_LIMIT; ++i) b.tail[i] = NOBODY;
    for (int32_t s = range.first; s < range.end; ++s) {
        if (context->plan->steps[s].launch_count == 0) continue;
        b.steps[count] = (BranchStep){.step = s};
        TRY(find_touches(context, arena, &b.steps[count], diag));
        place_step(&b, count++);
    }
    *out = (BranchPlan){.steps = b.steps, .count = count};
    for (int i = 0; i < BRANCH_LIMIT; ++i) {
        if (i > 0 && b.tail[i] != NOBODY) b.steps[b.tail[i]].is_awaited = true;
        out->tail[i] = b.tail[i];
    }
    return STATUS_OK;
}

/* -- launches -- */

static Status try_call(SmeltContext *context, int result, Diag *diag) {
    return cuda_result(&context->cuda->engine->api, result, STATUS_CUDA_FAILED, "a branch of a graph", diag);
}

/* The branches' streams, and the steps' events. */
static Status make_objects(SmeltContext *context, const BranchPlan *plan, Diag *diag) {
    CudaContext *cuda = context->cuda;
    const CudaApi *api = &cuda->engine->api;
    for (int i = 1; i < BRANCH_LIMIT; ++i)
        if (plan->tail[i] != NOBODY && cuda->branches[i] == NULL)
            TRY(try_call(context, api->stream_create(&cuda->branches[i], CUDA_STREAM_NON_BLOCKING), diag));
    for (int32_t s = 0; s < plan->count; ++s)
        if (plan->steps[s].is_awaited)
            TRY(try_call(context, api->event_create(&plan->steps[s].done, CUDA_EVENT_NO_TIMING), diag));
    return STATUS_OK;
}

/* joins: the stream has waited for others since its last launch. */
static Status launch_branch_step(SmeltContext *context, const BranchStep *steps, const BranchStep *own,
                                 CudaHandle stream, bool *joins, Diag *diag) {
    const CudaApi *api = &context->cuda->engine->api;
    const PlanStep *step = &context->plan->steps[own->step];
    for (int i = 0; i < BRANCH_LIMIT; ++i) {
        if (own->waits[i] == NOBODY) continue;
        *joins = true;
        TRY(try_call(context, api->stream_wait(stream, steps[own->waits[i]].done, 0), diag));
    }
    for (int32_t l = step->launch_first; l < step->launch_first + step->launch_count; ++l) {
        TRY(launch_one(context, l, stream, *joins, diag));
        *joins = *joins && context->cuda->launches[l].skipped;
    }
    return own->done == NULL ? STATUS_OK : try_call(context, api->event_record(own->done, stream), diag);
}

static Status launch_all(SmeltContext *context, const BranchPlan *plan, CudaHandle stream, Diag *diag) {
    const CudaApi *api = &context->cuda->engine->api;
    bool joins[BRANCH_LIMIT] = {false};
    for (int32_t s = 0; s < plan->count; ++s) {
        int32_t branch = plan->steps[s].branch;
        CudaHandle own = branch == 0 ? stream : context->cuda->branches[branch];
        TRY(launch_branch_step(context, plan->steps, &plan->steps[s], own, &joins[branch], diag));
    }
    for (int i = 1; i < BRANCH_LIMIT; ++i)
        if (plan->tail[i] != NOBODY)
            TRY(try_call(context, api->stream_wait(stream, plan->steps[plan->tail[i]].done, 0), diag));
    return STATUS_OK;
}

Status branches_launch(SmeltContext *context, BranchPlan *plan, CudaHandle stream, Diag *diag) {
    TRY(make_objects(context, plan, diag));
    return launch_all(context, plan, stream, diag);
}

void branches_release(const SmeltContext *context, BranchPlan *plan) {
    for (int32_t s = 0; s < plan->count; ++s)
        if (plan->steps[s].done != NULL) (void)context->cuda->engine->api.event_destroy(plan->steps[s].done);
    *plan = (BranchPlan){0};
}
