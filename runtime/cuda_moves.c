/* What host steps of a GPU plan take from the device and give to it. A value is copied once: in front of the
 * first host step that reads it, or behind the host step that makes it if the device reads it later. */
#include "runtime/cuda.h"

typedef struct MovePass {
    SmeltContext *context;
    CudaContext *cuda;
    Diag *diag;
    int32_t *maker; /* per value: the step of program 0 that makes it; -1: there before the first */
    int32_t *first_op, *next_op;     /* operators of each step of program 0, with those of bodies */
    int32_t *first_body, *next_body; /* programs that operators of the step own, at any depth */
} MovePass;

static Status add_move(MovePass *pass, int32_t *list, int32_t value, bool only_enqueue) {
    CudaContext *cuda = pass->cuda;
    if (!ARENA_RESERVE(&cuda->arena, cuda->moves, cuda->move_count, cuda->move_capacity))
        return FAIL(pass->diag, STATUS_NO_MEMORY, "out of memory");
    cuda->moves[cuda->move_count] = (Move){value, only_enqueue, *list};
    *list = cuda->move_count++;
    return STATUS_OK;
}

/* -- who makes what -- */

static Status list_bodies(MovePass *pass, const int32_t *main_steps) {
    const Plan *plan = pass->context->plan;
    pass->first_body = ARENA_ARRAY(&pass->cuda->arena, int32_t, plan->programs[0].step_count);
    pass->next_body = ARENA_ARRAY(&pass->cuda->arena, int32_t, plan->program_count);
    TRY_ALLOC(pass->diag, pass->first_body);
    TRY_ALLOC(pass->diag, pass->next_body);
    for (int32_t s = 0; s < plan->programs[0].step_count; ++s) pass->first_body[s] = -1;
    for (int32_t p = 1; p < plan->program_count; ++p) {
        int32_t step = main_steps[plan->programs[p].owner];
        pass->next_body[p] = pass->first_body[step];
        pass->first_body[step] = p;
        for (int32_t i = 0; i < plan->programs[p].param_count; ++i)
            pass->maker[plan->programs[p].params[i]] = step;
    }
    return STATUS_OK;
}

static Status list_operators(MovePass *pass) {
    const Plan *plan = pass->context->plan;
    int32_t step_count = plan->programs[0].step_count;
    int32_t *main_steps = engine_main_steps(plan, &pass->cuda->arena);
    pass->first_op = ARENA_ARRAY(&pass->cuda->arena, int32_t, step_count);
    pass->next_op = ARENA_ARRAY(&pass->cuda->arena, int32_t, plan->op_count);
    pass->maker = ARENA_ARRAY(&pass->cuda->arena, int32_t, plan->value_count);
    TRY_ALLOC(pass->diag, main_steps);
    TRY_ALLOC(pass->diag, pass->first_op);
    TRY_ALLOC(pass->diag, pass->next_op);
    TRY_ALLOC(pass->diag, pass->maker);
    for (int32_t s = 0; s < step_count; ++s) pass->first_op[s] = -1;
    for (int32_t v = 0; v < plan->value_count; ++v) pass->maker[v] = -1;
    for (int32_t op = plan->op_count - 1; op >= 0; --op) {
        pass->next_op[op] = pass->first_op[main_steps[op]];
        pass->first_op[main_steps[op]] = op;
        for (int32_t i = 0; i < plan->ops[op].output_count; ++i)
            if (plan->ops[op].outputs[i] >= 0) pass->maker[plan->ops[op].outputs[i]] = main_steps[op];
    }
    return list_bodies(pass, main_steps);
}

static void start_places(MovePass *pass) {
    const Plan *plan = pass->context->plan;
    for (int32_t v = 0; v < plan->value_count; ++v)
        pass->cuda->on_device[v] = pass->cuda->on_host[v] = plan->values[v].storage == PLAN_WEIGHT;
    for (int32_t i = 0; i < pass->context->engine->input_count; ++i)
        pass->cuda->on_device[plan->bindings[i].value] = true;
}

/* -- steps -- */

/* Views only, of known size: there is nothing to do on the host. */
static bool is_idle(const SmeltContext *context, const PlanStep *step) {
    for (int32_t op = step->op_first; op < step->op_first + step->op_count; ++op)
        if (!context->engine->ops[op].is_alias || context->ops[op].late || context->ops[op].check)
            return false;
    return true;
}

static Status read_on_host(MovePass *pass, int32_t step, int32_t value) {
    CudaContext *cuda = pass->cuda;
    int32_t root = cuda->root[value];
    if (pass->maker[root] == step || cuda->on_host[root]) return STATUS_OK;
    cuda->on_host[root] = true;
    return add_move(pass, &cuda->downloads[step], value, pass->maker[root] < 0);
}

/* What a view shows need not be there for it. */
static Status read_inputs(MovePass *pass, int32_t step, int32_t op) {
    const PlanOp *row = &pass->context->plan->ops[op];
    for (int32_t i = pass->context->engine->ops[op].is_alias ? 1 : 0; i < row->input_count; ++i)
        if (row->inputs[i] >= 0) TRY(read_on_host(pass, step, row->inputs[i]));
    return STATUS_OK;
}

static void write_results(MovePass *pass, int32_t op, bool on_device) {
    const PlanOp *row = &pass->context->plan->ops[op];
    if (pass->context->engine->ops[op].is_alias) return;
    for (int32_t i = 0; i < row->output_count; ++i) {
        if (row->outputs[i] < 0) continue;
        pass->cuda->on_device[row->outputs[i]] = on_device;
        pass->cuda->on_host[row->outputs[i]] = !on_device;
    }
}

static Status visit_host_step(MovePass *pass, int32_t step) {
    for (int32_t op = pass->first_op[step]; op >= 0; op = pass->next_op[op]) {
        TRY(read_inputs(pass, step, op));
        write_results(pass, op, false);
    }
    /* A body may give a value from outside as its result. */
    for (int32_t p = pass->first_body[step]; p >= 0; p = pass->next_body[p])
        for (int32_t i = 0; i < pass->context->plan->programs[p].result_count; ++i)
            TRY(read_on_host(pass, step, pass->context->plan->programs[p].results[i]));
    return STATUS_OK;
}

/* The step that made the value gives it to the device. */
static Status read_on_device(MovePass *pass, int32_t step, int32_t value, bool only_enqueue) {
    CudaContext *cuda = pass->cuda;
    int32_t root = cuda->root[value];
    if (pass->maker[root] == step || cuda->on_device[root]) return STATUS_OK;
    cuda->on_device[root] = true;
    return add_move(pass, &cuda->uploads[pass->maker[root]], value, only_enqueue);
}

static Status visit_launch_step(MovePass *pass, int32_t step) {
    const Plan *plan = pass->context->plan;
    const PlanStep *row = &plan->steps[step];
    for (int32_t l = row->launch_first; l < row->launch_first + row->launch_count; ++l) {
        const PlanLaunch *launch = &plan->launches[l];
        for (int32_t a = launch->arg_first; a < launch->arg_first + launch->arg_count; ++a)
            if (plan->args[a].value >= 0 && !plan->args[a].written)
                TRY(read_on_device(pass, step, plan->args[a].value, false));
    }
    for (int32_t op = row->op_first; op < row->op_first + row->op_count; ++op) write_results(pass, op, true);
    return STATUS_OK;
}

/* A result that a host step computes in the place of its binding goes to the caller's device memory. */
static Status visit_results(MovePass *pass) {
    const Plan *plan = pass->context->plan;
    for (int32_t i = pass->context->engine->input_count; i < plan->binding_count; ++i) {
        int32_t value = plan->bindings[i].value;
        if (plan->values[value].storage == PLAN_BINDING && plan->values[value].index == i &&
            pass->context->values[value].known)
            TRY(read_on_device(pass, -1, value, true));
    }
    return STATUS_OK;
}

static void add_step(CudaContext *cuda, int32_t step, StretchKind kind, int32_t launch_count) {
    int32_t count = cuda->stretch_count;
    if (kind != STRETCH_LAUNCHES || count == 0 || cuda->stretches[count - 1].kind != STRETCH_LAUNCHES)
        cuda->stretches[cuda->stretch_count++] = (Stretch){.kind = kind, .step_first = step};
    Stretch *last = &cuda->stretches[cuda->stretch_count - 1];
    last->step_count = step - last->step_first + 1;
    last->launch_count += launch_count;
}

Status plan_moves(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    CudaContext *cuda = context->cuda;
    MovePass pass = {.context = context, .cuda = cuda, .diag = diag};
    cuda->stretch_count = cuda->move_count = cuda->move_capacity = 0;
    cuda->moves = NULL;
    TRY(list_operators(&pass));
    start_places(&pass);
    for (int32_t s = 0; s < plan->programs[0].step_count; ++s) {
        const PlanStep *step = &plan->steps[s];
        cuda->downloads[s] = cuda->uploads[s] = -1;
        if (step->kind == PLAN_STEP_HOST && is_idle(context, step)) continue;
        if (step->kind == PLAN_STEP_HOST)
            TRY(visit_host_step(&pass, s));
        else
            TRY(visit_launch_step(&pass, s));
        bool is_late = cuda->late_steps[s].is_late;
        StretchKind kind = is_late ? STRETCH_LATE : STRETCH_LAUNCHES;
        if (step->kind == PLAN_STEP_HOST) kind = STRETCH_HOST;
        if (kind != STRETCH_LAUNCHES || step->launch_count > 0) add_step(cuda, s, kind, step->launch_count);
    }
    return visit_results(&pass);
}
