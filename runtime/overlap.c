/* Values that share a buffer: nothing is written over a value that is still needed, but for results that take
 * the place of an operand that is used up. Views, and parts that lie in their place in a whole, are the same
 * data as what they show. Checked once shapes are set, when every value has its bytes. */
#include "ops/movement.h"
#include "runtime/context.h"

enum { MOST_COMPARISONS = 1 << 26 };

typedef struct Tenant {
    int32_t home;        /* the program that makes it */
    int32_t first, last; /* times: when it begins to be written, and when it is read last */
    int32_t older;       /* of its buffer, among those that are still needed; -1: none */
} Tenant;

typedef struct Tenancy {
    SmeltContext *context;
    Diag *diag;
    Tenant *tenants;                 /* per value */
    int32_t *newest;                 /* per buffer */
    int32_t *first_body, *next_body; /* programs that an operator owns */
    int32_t *program, *step;         /* per operator: what it is part of */
    int32_t *begin, *end;            /* per operator: from when to when it runs */
    int32_t time, comparisons;
} Tenancy;

/* -- times: a launch step's operators all run at once -- */

static void number_program(Tenancy *t, int32_t index) {
    const Plan *plan = t->context->plan;
    const PlanProgram *program = &plan->programs[index];
    for (int32_t s = program->step_first; s < program->step_first + program->step_count; ++s) {
        const PlanStep *step = &plan->steps[s];
        int32_t first = t->time + 1, end = step->op_first + step->op_count;
        for (int32_t op = step->op_first; op < end; ++op) {
            for (int32_t b = t->first_body[op]; b >= 0; b = t->next_body[b]) number_program(t, b);
            t->program[op] = index;
            t->step[op] = s;
            t->begin[op] = t->end[op] = ++t->time;
        }
        for (int32_t op = step->op_first; step->launch_count > 0 && op < end; ++op) {
            t->begin[op] = first;
            t->end[op] = t->time;
        }
    }
}

static void note_definitions(Tenancy *t) {
    const Plan *plan = t->context->plan;
    for (int32_t p = 0; p < plan->program_count; ++p)
        for (int32_t i = 0; i < plan->programs[p].param_count; ++i)
            t->tenants[plan->programs[p].params[i]].home = p;
    for (int32_t op = 0; op < plan->op_count; ++op)
        for (int32_t i = 0; i < plan->ops[op].output_count; ++i) {
            int32_t value = plan->ops[op].outputs[i];
            if (value < 0) continue;
            t->tenants[value] = (Tenant){t->program[op], t->begin[op], t->end[op], -1};
        }
}

/* A value of an outer program is needed until the operator that owns the body is done. */
static void note_use(Tenancy *t, int32_t value, int32_t program, int32_t time) {
    const Plan *plan = t->context->plan;
    while (program > 0 && program != t->tenants[value].home) {
        time = t->end[plan->programs[program].owner];
        program = t->program[plan->programs[program].owner];
    }
    if (time > t->tenants[value].last) t->tenants[value].last = time;
}

static void note_uses(Tenancy *t) {
    const Plan *plan = t->context->plan;
    for (int32_t op = 0; op < plan->op_count; ++op)
        for (int32_t i = 0; i < plan->ops[op].input_count; ++i)
            if (plan->ops[op].inputs[i] >= 0)
                note_use(t, plan->ops[op].inputs[i], t->program[op], t->end[op]);
    for (int32_t p = 0; p < plan->program_count; ++p)
        for (int32_t i = 0; i < plan->programs[p].result_count; ++i)
            note_use(t, plan->programs[p].results[i], p,
                     p == 0 ? INT32_MAX : t->end[plan->programs[p].owner]);
}

/* -- the same data -- */

static int32_t find_same(SmeltContext *context, int32_t value) {
    while (context->same[value] != value) value = context->same[value] = context->same[context->same[value]];
    return value;
}

void note_same_data(SmeltContext *context, int32_t a, int32_t b) {
    context->same[find_same(context, a)] = find_same(context, b);
}

Status start_same_data(SmeltContext *context, Diag *diag) {
    context->same = ARENA_ARRAY(&context->prepare_arena, int32_t, context->plan->value_count);
    TRY_ALLOC(diag, context->same);
    for (int32_t i = 0; i < context->plan->value_count; ++i) context->same[i] = i;
    return STATUS_OK;
}

/* -- writing -- */

static int64_t value_end(const SmeltContext *context, int32_t value) {
    int64_t span = 0;
    (void)plan_dim_eval(context->plan, context->plan->values[value].span, context->symbols, &span);
    int64_t bytes = (int64_t)tensor_bytes(&context->tensors[value]);
    return context->values[value].offset + (span > bytes ? span : bytes);
}

/* Two slices with gaps may lie in each other's; else bytes tell. */
static bool may_meet(const SmeltContext *context, int32_t a, int32_t b) {
    int64_t a_first = context->values[a].offset, b_first = context->values[b].offset;
    if (tensor_count(&context->tensors[a]) == 0 || tensor_count(&context->tensors[b]) == 0) return false;
    if (context->plan->values[a].span != 0 && context->plan->values[b].span != 0) return false;
    return a_first < value_end(context, b) && b_first < value_end(context, a);
}

static bool reads(const PlanOp *op, int32_t value) {
    for (int32_t i = 0; i < op->input_count; ++i)
        if (op->inputs[i] == value) return true;
    return false;
}

/* The value takes the exact place of one that its operator, or another one of its launch step, reads, and
 * nobody reads later. */
static bool is_in_place(const Tenancy *t, int32_t op, int32_t value, int32_t other) {
    const SmeltContext *context = t->context;
    const PlanStep *step = &context->plan->steps[t->step[op]];
    if (context->values[value].offset != context->values[other].offset ||
        value_end(context, value) != value_end(context, other) ||
        context->tensors[value].dtype != context->tensors[other].dtype || t->tenants[other].last > t->end[op])
        return false;
    bool found = false, writes = value == context->plan->ops[op].outputs[0] &&
                                 (op_def(context->engine->ops[op].id)->flags & OPF_IN_PLACE) != 0;
    if (step->launch_count == 0) return writes && reads(&context->plan->ops[op], other);
    for (int32_t i = step->op_first; i < step->op_first + step->op_count; ++i)
        found = found || reads(&context->plan->ops[i], other);
    return found;
}

static Status check_written(Tenancy *t, int32_t op, int32_t value) {
    SmeltContext *context = t->context;
    if (context->plan->values[value].storage != PLAN_BUFFER || !context->values[value].known)
        return STATUS_OK;
    int32_t *link = &t->newest[context->plan->values[value].index];
    while (*link >= 0) {
        int32_t other = *link;
        Tenant *tenant = &t->tenants[other];
        if (++t->comparisons > MOST_COMPARISONS)
            return FAIL(t->diag, STATUS_BAD_PLAN, "more values share buffer %d than can be told apart",
                        context->plan->values[value].index);
        if (tenant->last < t->tenants[value].first) { /* gone for good: times go forward */
            *link = tenant->older;
            continue;
        }
        link = &tenant->older;
        if (!may_meet(context, value, other) || find_same(context, value) == find_same(context, other) ||
            is_in_place(t, op, value, other))
            continue;
        (void)FAIL(t->diag, STATUS_BAD_PLAN, "value %d is written over value %d, which is still needed",
                   value, other);
        diag_operator(t->diag, context->plan, op);
        return STATUS_BAD_PLAN;
    }
    t->tenants[value].older = t->newest[context->plan->values[value].index];
    t->newest[context->plan->values[value].index] = value;
    return STATUS_OK;
}

static Status check_program(Tenancy *t, int32_t index) {
    const Plan *plan = t->context->plan;
    const PlanProgram *program = &plan->programs[index];
    if (program->step_count == 0) return STATUS_OK;
    const PlanStep *last = &plan->steps[program->step_first + program->step_count - 1];
    for (int32_t op = plan->steps[program->step_first].op_first; op < last->op_first + last->op_count; ++op) {
        for (int32_t b = t->first_body[op]; b >= 0; b = t->next_body[b]) TRY(check_program(t, b));
        for (int32_t i = 0; i < plan->ops[op].output_count; ++i)
            if (plan->ops[op].outputs[i] >= 0) TRY(check_written(t, op, plan->ops[op].outputs[i]));
    }
    return STATUS_OK;
}

static Status create(SmeltContext *context, Tenancy *t, Diag *diag) {
    const Plan *plan = context->plan;
    Arena *arena = &context->prepare_arena;
    *t = (Tenancy){.context = context, .diag = diag};
    t->tenants = ARENA_ARRAY(arena, Tenant, plan->value_count);
    t->newest = ARENA_ARRAY(arena, int32_t, plan->buffer_count);
    t->first_body = ARENA_ARRAY(arena, int32_t, plan->op_count);
    t->next_body = ARENA_ARRAY(arena, int32_t, plan->program_count);
    t->program = ARENA_ARRAY(arena, int32_t, plan->op_count);
    t->step = ARENA_ARRAY(arena, int32_t, plan->op_count);
    t->begin = ARENA_ARRAY(arena, int32_t, plan->op_count);
    t->end = ARENA_ARRAY(arena, int32_t, plan->op_count);
    TRY_ALLOC(diag, t->tenants);
    TRY_ALLOC(diag, t->newest);
    TRY_ALLOC(diag, t->first_body);
    TRY_ALLOC(diag, t->next_body);
    TRY_ALLOC(diag, t->program);
    TRY_ALLOC(diag, t->step);
    TRY_ALLOC(diag, t->begin);
    TRY_ALLOC(diag, t->end);
    for (int32_t i = 0; i < plan->buffer_count; ++i) t->newest[i] = -1;
    for (int32_t i = 0; i < plan->op_count; ++i) t->first_body[i] = -1;
    for (int32_t p = plan->program_count - 1; p > 0; --p) {
        t->next_body[p] = t->first_body[plan->programs[p].owner];
        t->first_body[plan->programs[p].owner] = p;
    }
    return STATUS_OK;
}

Status check_tenants(SmeltContext *context, Diag *diag) {
    Tenancy t;
    TRY(create(context, &t, diag));
    number_program(&t, 0);
    note_definitions(&t);
    note_uses(&t);
    return check_program(&t, 0);
}
