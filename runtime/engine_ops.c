#include <string.h>

#include "ops/movement.h"
#include "runtime/engine.h"

void diag_operator(Diag *diag, const Plan *plan, int32_t index) {
    const PlanOp *op = &plan->ops[index];
    size_t first = strcspn(op->origins, "\n");
    if (first == 0)
        diag_context(diag, DIAG_NODE, "operator %d (%s)", index, op->name);
    else
        diag_context(diag, DIAG_NODE, "operator %d (%s) from '%.*s'", index, op->name, (int)first,
                     op->origins);
}

static Status find_op(const PlanOp *op, OpId *id, Diag *diag) {
    *id = op_find(op->domain, op->name);
    if (*id == OP_NONE)
        return FAIL(diag, STATUS_UNSUPPORTED, "operator '%s' of domain '%s' is unknown to this runtime",
                    op->name, op->domain);
    if (op_def(*id)->since == op->opset) return STATUS_OK;
    (void)FAIL(diag, STATUS_UNSUPPORTED,
               "the operator has the meaning of opset %d; this runtime knows that of %d", op->opset,
               op_def(*id)->since);
    diag_hint(diag, "build the plan again with this version of smelt");
    return STATUS_UNSUPPORTED;
}

/* Each body that the attributes name belongs to this operator and is named once. */
static Status check_bodies(const Plan *plan, int32_t index, const AttrList *list, int32_t *named,
                           Diag *diag) {
    for (int32_t i = 0; i < list->count; ++i) {
        if (list->items[i].kind != ATTR_BLOCK) continue;
        int64_t program = list->items[i].ints[0];
        if (program < 1 || program >= plan->program_count)
            return FAIL(diag, STATUS_BAD_PLAN, "attribute '%s' names program %lld, of %d",
                        list->items[i].name, (long long)program, plan->program_count);
        if (plan->programs[program].owner != index)
            return FAIL(diag, STATUS_BAD_PLAN,
                        "attribute '%s' names program %lld, whose owner is operator %d", list->items[i].name,
                        (long long)program, plan->programs[program].owner);
        if (named[program]++ > 0)
            return FAIL(diag, STATUS_BAD_PLAN, "program %lld is named twice", (long long)program);
    }
    return STATUS_OK;
}

static Status parse_op(SmeltEngine *engine, int32_t index, int32_t *named, Diag *diag) {
    const PlanOp *op = &engine->plan.ops[index];
    ByteReader reader = byte_reader(op->attrs, op->attrs_size);
    AttrList list;
    TRY(attr_read(&reader, &engine->arena, &list, diag));
    if (reader.position != op->attrs_size)
        return FAIL(diag, STATUS_BAD_PLAN, "its attributes end after %zu of %u bytes", reader.position,
                    op->attrs_size);
    TRY(check_bodies(&engine->plan, index, &list, named, diag));
    ParseCtx ctx = {.list = &list,
                    .input_count = op->input_count,
                    .output_count = op->output_count,
                    .arena = &engine->arena,
                    .diag = diag};
    for (int32_t i = 0; i < op->input_count && i < 64; ++i)
        if (op->inputs[i] >= 0) ctx.inputs_present |= (uint64_t)1 << i;
    return op_parse(engine->ops[index].id, &ctx, &engine->ops[index].attrs);
}

static bool same_place(const PlanValue *a, const PlanValue *b) {
    return a->storage == b->storage && a->index == b->index && a->offset == b->offset;
}

/* Memory that is not the operator's to write: weights, and bindings of other values. */
static bool is_foreign(const Plan *plan, int32_t index) {
    const PlanValue *value = &plan->values[index];
    return value->storage == PLAN_WEIGHT ||
           (value->storage == PLAN_BINDING && plan->bindings[value->index].value != index);
}

static Status check_outputs(SmeltEngine *engine, int32_t index, Diag *diag) {
    const Plan *plan = &engine->plan;
    const PlanOp *op = &plan->ops[index];
    EngineOp *bound = &engine->ops[index];
    for (int32_t i = 0; i < op->output_count; ++i) {
        if (op->outputs[i] < 0) continue;
        const PlanValue *value = &plan->values[op->outputs[i]];
        bool is_view = i == 0 && (op_def(bound->id)->flags & OPF_VIEW) != 0 && op->inputs[0] >= 0;
        bool alias = is_view && value->storage != PLAN_OWN && same_place(value, &plan->values[op->inputs[0]]);
        if (alias)
            bound->is_alias = true;
        else if (is_foreign(plan, op->outputs[i]))
            return FAIL(diag, STATUS_BAD_PLAN, "output %d is value %d, whose memory it may not write", i,
                        op->outputs[i]);
    }
    return STATUS_OK;
}

static Status bind_op(SmeltEngine *engine, int32_t index, int32_t *named, Diag *diag) {
    TRY(find_op(&engine->plan.ops[index], &engine->ops[index].id, diag));
    TRY(parse_op(engine, index, named, diag));
    return check_outputs(engine, index, diag);
}

static bool is_empty(const Plan *plan, int32_t value) {
    const PlanValue *row = &plan->values[value];
    for (int32_t k = 0; k < row->rank; ++k)
        if (row->dim[k] == 0) return true;
    return false;
}

/* Nothing to compute: every result has a dimension of zero. */
static bool gives_no_elements(const Plan *plan, const PlanOp *op) {
    for (int32_t i = 0; i < op->output_count; ++i)
        if (op->outputs[i] >= 0 && !is_empty(plan, op->outputs[i])) return false;
    return true;
}

/* Concat, Split or Slice whose parts lie in the buffer of the whole. */
static bool moves_nothing(SmeltEngine *engine, int32_t index) {
    const PlanOp *op = &engine->plan.ops[index];
    const EngineOp *bound = &engine->ops[index];
    bool joins = bound->id == OP_Concat;
    int32_t count = part_count(bound->id, op->input_count, op->output_count);
    for (int32_t i = 0; i < count; ++i) {
        int32_t part = joins ? op->inputs[i] : op->outputs[i];
        int32_t whole = joins ? op->outputs[0] : op->inputs[0];
        if (part >= 0 && is_empty(&engine->plan, part)) continue;
        if ((joins || part >= 0) && !is_part(&engine->plan, bound, op, part, whole)) return false;
    }
    engine->ops[index].is_idle = count > 0;
    return count > 0;
}

/* Steps of the device where nothing is launched hold views and empty results only. */
static Status check_empty_steps(SmeltEngine *engine, Diag *diag) {
    const Plan *plan = &engine->plan;
    for (int32_t s = 0; s < plan->step_count; ++s) {
        const PlanStep *step = &plan->steps[s];
        if (step->kind != PLAN_STEP_LAUNCH || step->launch_count > 0) continue;
        for (int32_t op = step->op_first; op < step->op_first + step->op_count; ++op)
            if (!engine->ops[op].is_alias && !gives_no_elements(plan, &plan->ops[op]) &&
                !moves_nothing(engine, op))
                return FAIL(diag, STATUS_BAD_PLAN, "step %d launches nothing for its operator %d (%s)", s, op,
                            plan->ops[op].name);
    }
    return STATUS_OK;
}

Status engine_bind_ops(SmeltEngine *engine, Diag *diag) {
    const Plan *plan = &engine->plan;
    engine->ops = ARENA_ARRAY(&engine->arena, EngineOp, plan->op_count);
    int32_t *named = ARENA_ARRAY(&engine->arena, int32_t, plan->program_count);
    TRY_ALLOC(diag, engine->ops);
    TRY_ALLOC(diag, named);
    for (int32_t i = 0; i < plan->op_count; ++i) {
        Diag fault = {0};
        Status status = bind_op(engine, i, named, &fault);
        if (status == STATUS_OK) continue;
        if (status == STATUS_BAD_MODEL) status = STATUS_BAD_PLAN; /* the operators' word for it */
        (void)FAIL(diag, status, "%s", fault.text);
        if (fault.hint[0] != '\0') diag_hint(diag, "%s", fault.hint);
        diag_operator(diag, plan, i);
        return status;
    }
    TRY(check_empty_steps(engine, diag));
    for (int32_t p = 1; p < plan->program_count; ++p)
        if (named[p] == 0)
            return FAIL(diag, STATUS_BAD_PLAN, "program %d is not named by its owner, operator %d", p,
                        plan->programs[p].owner);
    return STATUS_OK;
}

int32_t *engine_main_steps(const Plan *plan, Arena *arena) {
    int32_t *steps = ARENA_ARRAY(arena, int32_t, plan->op_count);
    for (int32_t p = 0; steps != NULL && p < plan->program_count; ++p) {
        const PlanProgram *program = &plan->programs[p];
        for (int32_t s = program->step_first; s < program->step_first + program->step_count; ++s)
            for (int32_t op = plan->steps[s].op_first; op < plan->steps[s].op_first + plan->steps[s].op_count;
                 ++op)
                steps[op] = p == 0 ? s : steps[program->owner];
    }
    return steps;
}
