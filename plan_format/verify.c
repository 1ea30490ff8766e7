#include "plan_format/verify.h"

#include <string.h>

#include "base/hash.h"

static Status verify_meta(const Verifier *v) {
    for (int32_t i = 1; i < v->plan->meta_count; ++i)
        if (strcmp(v->plan->meta[i - 1].key, v->plan->meta[i].key) >= 0)
            return FAIL(v->diag, STATUS_BAD_PLAN, "META: entry %d '%s' stands after '%s': not in order", i,
                        v->plan->meta[i].key, v->plan->meta[i - 1].key);
    return STATUS_OK;
}

/* -- DIMS -- */

static Status verify_symbol(const Verifier *v, int32_t index, NameMap *names) {
    const Symbol *symbol = &v->plan->symbols[index];
    if (symbol->name[0] == '\0') return FAIL(v->diag, STATUS_BAD_PLAN, "DIMS: symbol %d has no name", index);
    int32_t other = name_map_find(names, symbol->name);
    if (other >= 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "DIMS: symbols %d and %d have one name, '%s'", other, index,
                    symbol->name);
    if (!name_map_set(names, v->scratch, symbol->name, index))
        return FAIL(v->diag, STATUS_NO_MEMORY, "out of memory");
    if (symbol->min < 0 || symbol->opt < symbol->min || symbol->max < symbol->opt)
        return FAIL(v->diag, STATUS_BAD_PLAN, "DIMS: symbol %d '%s' has min %lld, opt %lld, max %lld", index,
                    symbol->name, (long long)symbol->min, (long long)symbol->opt, (long long)symbol->max);
    if (index > 0 && symbol->kind == SYMBOL_INPUT && symbol[-1].kind == SYMBOL_LATE)
        return FAIL(v->diag, STATUS_BAD_PLAN, "DIMS: symbol %d '%s' of an input stands after a late one",
                    index, symbol->name);
    return STATUS_OK;
}

Status verify_dims(const Verifier *v) {
    const Plan *plan = v->plan;
    NameMap names = {0};
    for (int32_t i = 0; i < plan->symbol_count; ++i) TRY(verify_symbol(v, i, &names));
    for (int32_t i = 0; i < plan->expression_count; ++i) {
        int64_t first = plan->expressions[i].first, count = plan->expressions[i].count;
        if (first < 0 || count < 1 || count > DIM_POSTFIX_MAX || first + count > plan->code_count)
            return FAIL(v->diag, STATUS_BAD_PLAN,
                        "DIMS: expression %d has %lld codes from %lld, of at most %d and %d in all", i,
                        (long long)count, (long long)first, DIM_POSTFIX_MAX, plan->code_count);
        if (!dim_postfix_verify(plan->codes + first, (int32_t)count, plan->symbol_count))
            return FAIL(v->diag, STATUS_BAD_PLAN, "DIMS: expression %d is malformed", i);
    }
    return STATUS_OK;
}

Status verify_dim(const Verifier *v, PlanDim d, const char *what, int32_t index) {
    if (dim_is_exact(d) && d < 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: %s %d has a dim of %lld", what, index, (long long)d);
    /* Unsigned: the distance of any id from the smallest number fits. */
    uint64_t expression = (uint64_t)d - (uint64_t)INT64_MIN;
    if (!dim_is_exact(d) && expression >= (uint64_t)v->plan->expression_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: %s %d has a dim of expression %llu, of %d", what,
                    index, (unsigned long long)expression, v->plan->expression_count);
    return STATUS_OK;
}

/* -- STEPS: who divides what -- */

Status verify_division(const Verifier *v, const char *what, int32_t index, int32_t first, int32_t count,
                       int32_t *end, int32_t limit, const char *parts) {
    if (first != *end || count < 0 || count > limit - first)
        return FAIL(v->diag, STATUS_BAD_PLAN, "%s %d has %d %s from %d; expected from %d, of %d", what, index,
                    count, parts, first, *end, limit);
    *end = first + count;
    return STATUS_OK;
}

static Status verify_step(const Verifier *v, int32_t index, int32_t *end) {
    const PlanStep *step = &v->plan->steps[index];
    if (step->kind != PLAN_STEP_HOST && step->kind != PLAN_STEP_LAUNCH)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: step %d is of kind %d, which version %d.%d has not",
                    index, step->kind, PLAN_MAJOR, PLAN_MINOR);
    if (step->op_count < 1) return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: step %d has no operators", index);
    return verify_division(v, "STEPS: step", index, step->op_first, step->op_count, end, v->plan->op_count,
                           "operators");
}

static Status verify_owner(Verifier *v, int32_t index) {
    int32_t owner = v->plan->programs[index].owner;
    if (index == 0 ? owner != -1 : owner < 0 || owner >= v->plan->op_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: program %d is owned by operator %d, of %d", index,
                    owner, v->plan->op_count);
    /* Operators of later programs have not been given theirs yet. */
    int32_t outer = index == 0 ? 0 : v->op_program[owner];
    if (outer < 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: program %d is owned by operator %d of a later program",
                    index, owner);
    v->program_depth[index] = index == 0 ? 0 : v->program_depth[outer] + 1;
    if (v->program_depth[index] > PLAN_MAX_DEPTH)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: program %d is a body %d levels deep; the limit is %d",
                    index, v->program_depth[index], PLAN_MAX_DEPTH);
    return STATUS_OK;
}

static Status verify_program(Verifier *v, int32_t index, int32_t *step_end, int32_t *op_end) {
    const Plan *plan = v->plan;
    const PlanProgram *program = &plan->programs[index];
    TRY(verify_owner(v, index));
    TRY(verify_division(v, "STEPS: program", index, program->step_first, program->step_count, step_end,
                        plan->step_count, "steps"));
    for (int32_t s = program->step_first; s < *step_end; ++s) {
        TRY(verify_step(v, s, op_end));
        for (int32_t op = plan->steps[s].op_first; op < *op_end; ++op) {
            v->op_program[op] = index;
            v->op_step[op] = index == 0 ? s : v->op_step[program->owner];
        }
    }
    return STATUS_OK;
}

Status verify_programs(Verifier *v) {
    const Plan *plan = v->plan;
    int32_t step_end = 0, op_end = 0;
    v->op_program = ARENA_ARRAY(v->scratch, int32_t, plan->op_count);
    v->op_step = ARENA_ARRAY(v->scratch, int32_t, plan->op_count);
    v->program_depth = ARENA_ARRAY(v->scratch, int32_t, plan->program_count);
    TRY_ALLOC(v->diag, v->op_program);
    TRY_ALLOC(v->diag, v->op_step);
    TRY_ALLOC(v->diag, v->program_depth);
    for (int32_t op = 0; op < plan->op_count; ++op) v->op_program[op] = -1;
    if (plan->program_count < 1) return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: there is no program");
    for (int32_t i = 0; i < plan->program_count; ++i) TRY(verify_program(v, i, &step_end, &op_end));
    if (step_end != plan->step_count || op_end != plan->op_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: programs hold %d steps and %d operators, of %d and %d",
                    step_end, op_end, plan->step_count, plan->op_count);
    v->main_steps = plan->programs[0].step_count;
    return STATUS_OK;
}

/* -- BINDINGS -- */

static Status verify_binding_name(const Verifier *v, int32_t index, NameMap *names) {
    const PlanBinding *binding = &v->plan->bindings[index];
    if (binding->name[0] == '\0')
        return FAIL(v->diag, STATUS_BAD_PLAN, "BINDINGS: binding %d has no name", index);
    int32_t other = name_map_find(names, binding->name);
    if (other >= 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "BINDINGS: bindings %d and %d have one name, '%s'", other,
                    index, binding->name);
    if (!name_map_set(names, v->scratch, binding->name, index))
        return FAIL(v->diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

/* The binding's value, and its place in the parameters or results of program 0. */
static Status verify_binding_value(const Verifier *v, int32_t index, int32_t place) {
    const Plan *plan = v->plan;
    const PlanBinding *binding = &plan->bindings[index];
    const PlanProgram *program = &plan->programs[0];
    int32_t count = binding->is_output ? program->result_count : program->param_count;
    const int32_t *list = binding->is_output ? program->results : program->params;
    if (binding->value < 0 || binding->value >= plan->value_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "BINDINGS: binding %d '%s' is value %d, of %d", index,
                    binding->name, binding->value, plan->value_count);
    if (place >= count || list[place] != binding->value)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "BINDINGS: binding %d '%s' is value %d; program 0 has %d as its %s %d of %d", index,
                    binding->name, binding->value, place < count ? list[place] : -1,
                    binding->is_output ? "result" : "parameter", place, count);
    const PlanValue *value = &plan->values[binding->value];
    if (!binding->is_output && (value->storage != PLAN_BINDING || value->index != index))
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "BINDINGS: input %d '%s' is value %d, which has storage %d, index %d", index,
                    binding->name, binding->value, value->storage, value->index);
    return STATUS_OK;
}

Status verify_bindings(const Verifier *v) {
    const Plan *plan = v->plan;
    NameMap names[2] = {{0}, {0}};
    int32_t counts[2] = {0, 0};
    for (int32_t i = 0; i < plan->binding_count; ++i) {
        bool is_output = plan->bindings[i].is_output;
        if (!is_output && counts[true] > 0)
            return FAIL(v->diag, STATUS_BAD_PLAN, "BINDINGS: input %d stands after an output", i);
        TRY(verify_binding_name(v, i, &names[is_output]));
        TRY(verify_binding_value(v, i, counts[is_output]++));
    }
    if (plan->programs[0].param_count != counts[false] || plan->programs[0].result_count != counts[true])
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "BINDINGS: %d inputs and %d outputs; program 0 has %d parameters and %d results",
                    counts[false], counts[true], plan->programs[0].param_count,
                    plan->programs[0].result_count);
    return STATUS_OK;
}

Status plan_verify(const Plan *plan, Arena *scratch, Diag *diag) {
    Verifier v = {.plan = plan, .scratch = scratch, .diag = diag};
    TRY(verify_meta(&v));
    TRY(verify_dims(&v));
    TRY(verify_programs(&v));
    TRY(verify_buffers(&v));
    TRY(verify_values(&v));
    TRY(verify_bindings(&v));
    TRY(verify_kernels(&v));
    TRY(verify_calls(&v));
    TRY(verify_flow(&v));
    return verify_launches(&v);
}
