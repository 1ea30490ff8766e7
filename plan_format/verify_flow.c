#include "plan_format/verify.h"

static Status check_index(const Verifier *v, int32_t value, const char *what, int32_t index) {
    if (value >= 0 && value < v->plan->value_count) return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: %s %d names value %d, of %d", what, index, value,
                v->plan->value_count);
}

/* -- definitions -- */

static Status define(const Verifier *v, int32_t value, Definition definition, const char *what) {
    if (v->definitions[value].kind != DEFINED_NOWHERE)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: value %d is defined twice, the second time by %s %d",
                    value, what, definition.place);
    v->definitions[value] = definition;
    return STATUS_OK;
}

static Status define_param(const Verifier *v, int32_t program, int32_t value) {
    TRY(check_index(v, value, "program", program));
    if (program > 0 && v->plan->values[value].storage != PLAN_OWN)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: value %d, a parameter of body %d, has storage %d",
                    value, program, v->plan->values[value].storage);
    return define(v, value, (Definition){program == 0 ? DEFINED_BEFORE : DEFINED_PARAM, program},
                  "a parameter of program");
}

static bool buffer_is_alive(const Verifier *v, int32_t value, int32_t step) {
    const PlanValue *at = &v->plan->values[value];
    if (at->storage != PLAN_BUFFER) return true;
    const PlanBuffer *buffer = &v->plan->buffers[at->index];
    return step >= buffer->first && step <= buffer->last;
}

static Status check_alive(const Verifier *v, int32_t value, int32_t step, const char *what) {
    if (buffer_is_alive(v, value, step)) return STATUS_OK;
    const PlanBuffer *buffer = &v->plan->buffers[v->plan->values[value].index];
    return FAIL(v->diag, STATUS_BAD_PLAN,
                "MEMORY: value %d is %s at step %d; its buffer %d is alive from %d to %d", value, what, step,
                v->plan->values[value].index, buffer->first, buffer->last);
}

/* The operator belongs to a launch step, which are steps of program 0. */
static bool on_device(const Verifier *v, int32_t op) {
    return v->op_program[op] == 0 && v->plan->steps[v->op_step[op]].kind == PLAN_STEP_LAUNCH;
}

/* The host knows values that lie plainly only. */
static Status check_plain(const Verifier *v, int32_t value, int32_t op) {
    const PlanValue *row = &v->plan->values[value];
    if ((row->span == 0 && !row->channels_last) || on_device(v, op)) return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN,
                "STEPS: operator %d of a host step has value %d, which is a slice or in channels-last layout",
                op, value);
}

static Status define_outputs(const Verifier *v, int32_t index) {
    const PlanOp *op = &v->plan->ops[index];
    for (int32_t i = 0; i < op->output_count; ++i) {
        int32_t value = op->outputs[i];
        if (value == -1) continue;
        TRY(check_index(v, value, "operator", index));
        if (v->plan->values[value].storage == PLAN_NOWHERE && !on_device(v, index))
            return FAIL(v->diag, STATUS_BAD_PLAN,
                        "STEPS: operator %d of a host step writes value %d, which "
                        "has no memory",
                        index, value);
        TRY(check_plain(v, value, index));
        TRY(define(v, value, (Definition){DEFINED_OP, index}, "operator"));
        TRY(check_alive(v, value, v->op_step[index], "written"));
    }
    return STATUS_OK;
}

static Status define_all(const Verifier *v) {
    const Plan *plan = v->plan;
    for (int32_t p = 0; p < plan->program_count; ++p)
        for (int32_t i = 0; i < plan->programs[p].param_count; ++i)
            TRY(define_param(v, p, plan->programs[p].params[i]));
    for (int32_t i = 0; i < plan->op_count; ++i) TRY(define_outputs(v, i));
    for (int32_t i = 0; i < plan->value_count; ++i)
        if (plan->values[i].storage == PLAN_WEIGHT && v->definitions[i].kind == DEFINED_NOWHERE)
            v->definitions[i] = (Definition){DEFINED_BEFORE, 0};
    return STATUS_OK;
}

/* -- uses -- */

/* Whether what `value` holds is there just before operator `op`, which belongs to (or ends) `program`. */
static bool is_visible(const Verifier *v, int32_t value, int32_t program, int32_t op) {
    Definition definition = v->definitions[value];
    if (definition.kind == DEFINED_NOWHERE) return false;
    if (definition.kind == DEFINED_BEFORE) return true;
    int32_t home = definition.kind == DEFINED_PARAM ? definition.place : v->op_program[definition.place];
    while (program > home) {
        op = v->plan->programs[program].owner;
        program = v->op_program[op];
    }
    return program == home && (definition.kind == DEFINED_PARAM || definition.place < op);
}

/* What has no memory is seen only by the step that makes it. */
static Status check_nowhere(const Verifier *v, int32_t value, int32_t op) {
    if (v->plan->values[value].storage != PLAN_NOWHERE) return STATUS_OK;
    int32_t maker = v->definitions[value].place;
    if (v->op_program[op] == 0 && v->op_step[op] == v->op_step[maker]) return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN,
                "STEPS: operator %d reads value %d, which has no memory outside step %d", op, value,
                v->op_step[maker]);
}

static Status check_operator_inputs(const Verifier *v, int32_t index) {
    const PlanOp *op = &v->plan->ops[index];
    for (int32_t i = 0; i < op->input_count; ++i) {
        int32_t value = op->inputs[i];
        if (value == -1) continue;
        TRY(check_index(v, value, "operator", index));
        if (!is_visible(v, value, v->op_program[index], index))
            return FAIL(v->diag, STATUS_BAD_PLAN,
                        "STEPS: input %d of operator %d is value %d, which is not "
                        "defined before it",
                        i, index, value);
        TRY(check_alive(v, value, v->op_step[index], "read"));
        TRY(check_plain(v, value, index));
        TRY(check_nowhere(v, value, index));
    }
    return STATUS_OK;
}

static Status check_result(const Verifier *v, int32_t program, int32_t result) {
    const Plan *plan = v->plan;
    int32_t value = plan->programs[program].results[result];
    TRY(check_index(v, value, "program", program));
    if (!is_visible(v, value, program, plan->op_count))
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: result %d of program %d is value %d, which the program "
                    "does not define",
                    result, program, value);
    if (plan->values[value].storage == PLAN_NOWHERE)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: result %d of program %d is value %d, which has no "
                    "memory",
                    result, program, value);
    int32_t last_step = v->main_steps > 0 ? v->main_steps - 1 : 0;
    int32_t step = program == 0 ? last_step : v->op_step[plan->programs[program].owner];
    return check_alive(v, value, step, "a result");
}

/* A value in a binding's memory has the binding's type; only the input itself is in an input's memory before
 * the first step. */
static Status check_binding_storage(const Verifier *v, int32_t index) {
    const Plan *plan = v->plan;
    const PlanValue *value = &plan->values[index];
    if (value->storage != PLAN_BINDING) return STATUS_OK;
    int32_t owner = plan->bindings[value->index].value;
    if (index == owner) return STATUS_OK;
    if (plan->values[owner].dtype != value->dtype || v->definitions[index].kind != DEFINED_OP)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "MEMORY: value %d (dtype %d) lies in binding %d, whose value %d has dtype %d", index,
                    value->dtype, value->index, owner, plan->values[owner].dtype);
    return STATUS_OK;
}

Status verify_flow(Verifier *v) {
    const Plan *plan = v->plan;
    v->definitions = ARENA_ARRAY(v->scratch, Definition, plan->value_count);
    TRY_ALLOC(v->diag, v->definitions);
    TRY(define_all(v));
    for (int32_t i = 0; i < plan->op_count; ++i) TRY(check_operator_inputs(v, i));
    for (int32_t p = 0; p < plan->program_count; ++p)
        for (int32_t i = 0; i < plan->programs[p].result_count; ++i) TRY(check_result(v, p, i));
    for (int32_t i = 0; i < plan->value_count; ++i) TRY(check_binding_storage(v, i));
    return STATUS_OK;
}
