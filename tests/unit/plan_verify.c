/* Every rule of plan_verify: one change to a good plan, and the words that must come. */
#include "plan_rules.h"
#include "plan_sample.h"

/* The plan that the next expect_rule looks at. */
static Arena arena;
static Plan plan;

static void fresh(void) {
    arena_reset(&arena);
    plan = sample_plan(&arena, true);
}

static Status verify(Diag *diag) {
    Arena scratch = {0};
    Status status = plan_verify(&plan, &scratch, diag);
    arena_reset(&scratch);
    return status;
}

/* RULE(change, words): what the change does to the good plan is refused with these words. */
#define RULE(change, part) PLAN_RULE(plan, fresh(), change, part)

static int32_t *operand(const int32_t *list, int32_t count) {
    return sample_copy(&arena, list, (size_t)count * sizeof *list);
}

static void set_input(int32_t op, int32_t input, int32_t value) {
    int32_t *list = operand(plan.ops[op].inputs, plan.ops[op].input_count);
    list[input] = value;
    plan.ops[op].inputs = list;
}

static void set_output(int32_t op, int32_t value) {
    int32_t *list = operand(plan.ops[op].outputs, 1);
    list[0] = value;
    plan.ops[op].outputs = list;
}

static void set_result(int32_t program, int32_t value) {
    int32_t *list = operand(plan.programs[program].results, 1);
    list[0] = value;
    plan.programs[program].results = list;
}

static void swap_bindings(void) {
    PlanBinding input = plan.bindings[0];
    plan.bindings[0] = plan.bindings[1];
    plan.bindings[1] = input;
}

static void test_good(void) {
    Diag diag = {0};
    CHECK_OK(verify(&diag), &diag);
    plan.fixed = false;
    for (int32_t i = 0; i < plan.buffer_count; ++i) plan.buffers[i].capacity = 0, plan.buffers[i].offset = -1;
    CHECK_OK(verify(&diag), &diag);
    fresh();
}

static void test_dims(void) {
    RULE(plan.meta[1].key = "aaa", "META: entry 1 'aaa' stands after 'model'");
    RULE(plan.symbols[0].name = "", "symbol 0 has no name");
    RULE(plan.symbols[1].name = "n", "symbols 0 and 1 have one name");
    RULE(plan.symbols[0].min = -1, "has min -1, opt 2, max 8");
    RULE(plan.symbols[0].opt = 9, "has min 1, opt 9, max 8");
    RULE(plan.symbols[0].kind = SYMBOL_LATE; plan.symbols[1].kind = SYMBOL_INPUT, "stands after a late one");
    RULE(plan.expressions[1].count = 4, "expression 1 is malformed");
    RULE(plan.expressions[2].first = 5, "expression 2 has 1 codes from 5");
    RULE(plan.expressions[0].count = 0, "expression 0 has 0 codes");
    RULE(plan.codes[0].value = 2, "expression 0 is malformed");
}

static void test_memory(void) {
    RULE(plan.arena_size = -1, "an arena of -1 bytes");
    RULE(plan.arena_size = 128, "buffer 2 has 128 bytes at offset 128 of an arena of 128");
    RULE(plan.buffers[0].offset = 32, "buffer 0 has 128 bytes at offset 32");
    RULE(plan.buffers[0].size = 129, "buffer 0 has size 129 and capacity 128");
    RULE(plan.buffers[0].size = -5, "buffer 0 has a dim of -5");
    RULE(plan.buffers[0].size = plan_dim_of_expression(3), "buffer 0 has a dim of expression 3, of 3");
    RULE(plan.buffers[0].last = 2, "buffer 0 is alive from step 0 to 2, of 2");
    RULE(plan.buffers[0].first = -1, "buffer 0 is alive from step -1");
    RULE(plan.buffers[2].offset = 64, "overlap at step 1: bytes 0 to 128 and 64 to 192");
    RULE(plan.buffers[0].last = 1, "overlap at step 1");
    RULE(plan.fixed = false, "in a plan that is not fixed");
    RULE(plan.values[2].dtype = 99, "value 2 has dtype 99");
    RULE(plan.values[2].dtype = DTYPE_STRING, "which a tensor cannot have");
    RULE(plan.values[2].rank = 9, "value 2 has rank 9");
    RULE(plan.values[2].dim[3] = 1, "value 2 of rank 2 has dim 3 = 1");
    RULE(plan.values[2].dim[1] = -4, "value 2 has a dim of -4");
    RULE(plan.values[2].storage = 5, "storage 5, which does not exist");
    RULE(plan.values[2].index = 3, "value 2 lies in buffer 3, of 3");
    RULE(plan.values[2].offset = 2, "value 2 begins at byte 2");
    RULE(plan.buffers[0].size = 128;
         plan.values[2].dim[0] = 9, "value 2 has 144 bytes at 0 of buffer 0, of 128");
    RULE(plan.values[2].dim[0] = INT64_MAX, "the bytes of value 2 overflow");
    RULE(plan.values[1].dim[0] = 5, "value 1 has 20 bytes at weight 0, of 16");
    RULE(plan.values[1].offset = 16, "not a multiple of 64");
    RULE(plan.values[1].dim[0] = plan_dim_of_expression(0), "no exact shape");
    RULE(plan.values[1].index = 0, "has index 0, expected -1");
    RULE(plan.values[0].index = 7, "value 0 lies in binding 7, of 2");
    RULE(plan.values[0].offset = 4, "value 0 lies at 4 of binding 0");
    RULE(plan.values[6].offset = 4, "value 6 of storage 3 has offset 4");
}

static void test_bindings(void) {
    RULE(plan.bindings[0].name = "", "binding 0 has no name");
    RULE(swap_bindings(), "input 1 stands after an output");
    RULE(plan.bindings[1].value = 8, "binding 1 'y' is value 8, of 8");
    RULE(plan.bindings[1].value = 3, "program 0 has 4 as its result 0 of 1");
    RULE(plan.values[0].storage = PLAN_OWN;
         plan.values[0].index = -1, "input 0 'x' is value 0, which has storage 3");
    RULE(plan.binding_count = 1;
         plan.values[4].index = 0, "1 inputs and 0 outputs; program 0 has 1 parameters");
}

static void test_programs(void) {
    RULE(plan.program_count = 0, "there is no program");
    RULE(plan.programs[0].step_count = 1, "program 1 is owned by operator 3 of a later program");
    RULE(plan.programs[1].step_first = 1, "program 1 has 1 steps from 1; expected from 2");
    RULE(plan.programs[1].step_count = 5, "program 1 has 5 steps from 2");
    RULE(plan.programs[1].step_count = 0, "programs hold 2 steps and 4 operators, of 3 and 5");
    RULE(plan.steps[1].op_count = 0, "step 1 has no operators");
    RULE(plan.steps[1].op_first = 2, "step 1 has 1 operators from 2; expected from 3");
    RULE(plan.steps[1].kind = 2, "step 1 is of kind 2, which version 1.4 has not");
    RULE(plan.programs[0].owner = 0, "program 0 is owned by operator 0");
    RULE(plan.programs[1].owner = -1, "program 1 is owned by operator -1, of 5");
    RULE(plan.programs[1].owner = 4, "program 1 is owned by operator 4 of a later program");
}

static void test_flow(void) {
    RULE(set_input(1, 0, 3), "input 0 of operator 1 is value 3, which is not defined before it");
    RULE(set_input(0, 0, 6), "input 0 of operator 0 is value 6"); /* a body's parameter, outside of it */
    RULE(set_input(3, 0, 7), "input 0 of operator 3 is value 7"); /* a body's value, outside of it */
    RULE(set_input(4, 0, 5), "input 0 of operator 4 is value 5"); /* the owner's result, in its body */
    RULE(set_input(0, 0, 8), "operator 0 names value 8, of 8");
    RULE(set_input(0, 0, -2), "operator 0 names value -2, of 8");
    RULE(set_output(1, 2), "value 2 is defined twice, the second time by operator 1");
    RULE(set_output(1, 0), "value 0 is defined twice");
    RULE(plan.values[6].storage = PLAN_BUFFER;
         plan.values[6].index = 1, "a parameter of body 1, has storage 1");
    RULE(plan.values[3].storage = PLAN_NOWHERE;
         plan.values[3].index = -1, "writes value 3, which has no memory");
    RULE(set_result(1, 5), "result 0 of program 1 is value 5, which the program does not define");
    RULE(plan.buffers[0].first = plan.buffers[0].last = 1; plan.buffers[1].offset = plan.buffers[1].size = 0;
         plan.buffers[1].capacity = plan.buffers[0].offset = 0; plan.arena_size = 512;
         plan.buffers[0].offset = 256, "value 2 is written at step 0; its buffer 0 is alive from 1 to 1");
    RULE(set_input(3, 0, 3), "value 3 is read at step 1; its buffer 0 is alive from 0 to 0");
    RULE(plan.values[5].storage = PLAN_BINDING; plan.values[5].index = 1;
         plan.values[5].dtype = DTYPE_I32, "value 5 (dtype 6) lies in binding 1, whose value 4 has dtype 1");
}

/* Bodies 33 levels deep, each owned by the one operator of the body around it. */
static void test_depth(void) {
    enum { LEVELS = PLAN_MAX_DEPTH + 1 };
    PlanProgram programs[LEVELS + 1];
    PlanStep steps[LEVELS + 1];
    PlanOp ops[LEVELS + 1];
    for (int32_t i = 0; i <= LEVELS; ++i) {
        programs[i] = (PlanProgram){.name = "p", .owner = i - 1, .step_first = i, .step_count = 1};
        steps[i] = (PlanStep){.name = "s", .op_first = i, .op_count = 1};
        ops[i] =
            (PlanOp){.domain = "", .name = "Owner", .attrs = sample_no_attrs, .attrs_size = 4, .origins = ""};
    }
    plan = (Plan){.programs = programs, .steps = steps, .ops = ops};
    plan.program_count = plan.step_count = plan.op_count = LEVELS;
    Diag diag = {0};
    CHECK_OK(verify(&diag), &diag);
    RULE(plan.program_count = plan.step_count = plan.op_count = LEVELS + 1,
         "program 33 is a body 33 levels deep; the limit is 32");
}

int main(void) {
    fresh();
    test_good();
    test_dims();
    test_memory();
    test_bindings();
    test_programs();
    test_flow();
    test_depth();
    arena_reset(&arena);
    return test_result();
}
