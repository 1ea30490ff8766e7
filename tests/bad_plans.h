/* Plans that must be refused: what is done to a good one (plan_sample.h), and words of the message.
 * tests/bad_plans holds the files, made by make_plans; their checksums are right unless they are the point.
 */
#ifndef SMELT_TESTS_BAD_PLANS_H
#define SMELT_TESTS_BAD_PLANS_H

#include <limits.h>

#include "ops/op.h"
#include "plan_sample.h"

/* Sections' kinds, and the length of a table's head: u32 count, u32 record size. */
enum {
    SECTION_META = 1,
    SECTION_DIMS = 3,
    SECTION_MEMORY = 4,
    SECTION_WEIGHTS = 5,
    SECTION_DEBUG = 8,
    TABLE_HEAD = 8
};

typedef struct BadPlan {
    const char *name, *words;
    void (*change_plan)(Plan *plan, Arena *arena);       /* before it is written, or NULL */
    size_t (*change_bytes)(uint8_t *bytes, size_t size); /* after; returns the new size. Or NULL */
    bool keep_checksums;                                 /* as they were before change_bytes */
} BadPlan;

/* A good plan that the runtime takes: the sample's operators with the table's opsets. */
static inline Plan good_plan(Arena *arena) {
    Plan plan = sample_plan(arena, false);
    for (int32_t i = 0; i < plan.op_count; ++i)
        plan.ops[i].opset = op_def(op_find(plan.ops[i].domain, plan.ops[i].name))->since;
    return plan;
}

static inline int32_t *bad_operands(Arena *arena, const int32_t *list, int32_t count) {
    return sample_copy(arena, list, (size_t)count * sizeof *list);
}

/* -- changes to the plan -- */

static inline void bad_overlapping_buffers(Plan *plan, Arena *arena) {
    *plan = sample_plan(arena, true);
    plan->buffers[2].offset = 64;
}
static inline void bad_cyclic_body(Plan *plan, Arena *arena) {
    *plan = sample_plan(arena, true);
    plan->programs[1].owner = 4; /* its own operator */
}
static inline void bad_unowned_body(Plan *plan, Arena *arena) {
    *plan = sample_plan(arena, true);
    plan->programs[1].owner = INT_MAX;
}
static inline void bad_arena_too_small(Plan *plan, Arena *arena) {
    (void)arena;
    plan->arena_size = 64;
}
static inline void bad_weight_out_of_range(Plan *plan, Arena *arena) {
    (void)arena;
    plan->values[1].dim[0] = 5;
}
static inline void bad_weight_offset(Plan *plan, Arena *arena) {
    (void)arena;
    plan->values[1].offset = INT64_MAX - 63;
}
static inline void bad_huge_value(Plan *plan, Arena *arena) {
    (void)arena;
    plan->values[2].dim[0] = INT64_MAX;
}
static inline void bad_architectures(Plan *plan, Arena *arena) {
    plan->arch_steps = ARENA_ARRAY(arena, PlanArchStep, plan->step_count);
    plan->arch_step_count = plan->step_count;
}
static inline void bad_dtype(Plan *plan, Arena *arena) {
    (void)arena;
    plan->values[2].dtype = 77;
}
static inline void bad_rank(Plan *plan, Arena *arena) {
    (void)arena;
    plan->values[2].rank = INT_MAX;
}
static inline void bad_expression_underflow(Plan *plan, Arena *arena) {
    (void)arena;
    plan->codes[1].op = DIM_ADD;
    plan->codes[1].value = 0;
}
static inline void bad_expression_symbol(Plan *plan, Arena *arena) {
    (void)arena;
    plan->codes[0].value = 1 << 20;
}
static inline void bad_expression_range(Plan *plan, Arena *arena) {
    (void)arena;
    plan->expressions[0].first = INT_MAX;
}
static inline void bad_symbol_range(Plan *plan, Arena *arena) {
    (void)arena;
    plan->symbols[0].max = 0;
}
static inline void bad_undefined_use(Plan *plan, Arena *arena) {
    int32_t *inputs = bad_operands(arena, plan->ops[0].inputs, 2);
    inputs[0] = 3;
    plan->ops[0].inputs = inputs;
}
static inline void bad_value_index(Plan *plan, Arena *arena) {
    int32_t *inputs = bad_operands(arena, plan->ops[0].inputs, 2);
    inputs[0] = INT_MAX;
    plan->ops[0].inputs = inputs;
}
static inline void bad_defined_twice(Plan *plan, Arena *arena) {
    int32_t *outputs = bad_operands(arena, plan->ops[1].outputs, 1);
    outputs[0] = 2;
    plan->ops[1].outputs = outputs;
}
static inline void bad_operator_inputs(Plan *plan, Arena *arena) {
    (void)arena;
    plan->ops[0].input_count = 1;
}
static inline void bad_attributes_cut(Plan *plan, Arena *arena) {
    (void)arena;
    plan->ops[0].attrs_size = 3;
}
static inline void bad_writes_weight(Plan *plan, Arena *arena) {
    (void)arena;
    plan->values[3] = plan->values[1];
}
static inline void bad_step_kind(Plan *plan, Arena *arena) {
    (void)arena;
    plan->steps[0].kind = 99;
}
static inline void bad_no_target(Plan *plan, Arena *arena) {
    (void)arena;
    plan->meta_count = 2;
}

/* -- changes to the bytes -- */

/* The entry of a kind in the section table. */
static inline uint8_t *bad_entry(uint8_t *bytes, uint64_t kind) {
    uint8_t *entry = bytes + 32;
    while (sample_load(entry, 4) != kind) entry += 32; /* every plan has those that are asked for */
    return entry;
}
static inline uint8_t *bad_section(uint8_t *bytes, uint64_t kind) {
    return bytes + sample_load(bad_entry(bytes, kind) + 8, 8);
}

static inline size_t bad_major_version(uint8_t *bytes, size_t size) {
    sample_store(bytes + 8, 2, 2);
    return size;
}
static inline size_t bad_magic(uint8_t *bytes, size_t size) {
    bytes[0] = 'P';
    return size;
}
static inline size_t bad_required_section(uint8_t *bytes, size_t size) {
    uint8_t *entry = bad_entry(bytes, SECTION_DEBUG);
    sample_store(entry, 4, 77);
    sample_store(entry + 4, 4, 1);
    return size;
}
static inline size_t bad_section_twice(uint8_t *bytes, size_t size) {
    sample_store(bad_entry(bytes, SECTION_DEBUG), 4, SECTION_META);
    return size;
}
static inline size_t bad_section_missing(uint8_t *bytes, size_t size) {
    uint8_t *entry = bad_entry(bytes, SECTION_META);
    sample_store(entry, 4, 77);
    sample_store(entry + 4, 4, 0);
    return size;
}
static inline size_t bad_section_count(uint8_t *bytes, size_t size) {
    sample_store(bytes + 12, 4, UINT32_MAX);
    return size;
}
static inline size_t bad_section_size(uint8_t *bytes, size_t size) {
    sample_store(bad_entry(bytes, SECTION_WEIGHTS) + 16, 8, UINT64_MAX - 8);
    return size;
}
static inline size_t bad_section_offset(uint8_t *bytes, size_t size) {
    sample_store(bad_entry(bytes, SECTION_MEMORY) + 8, 8, 40);
    return size;
}
static inline size_t bad_record_count(uint8_t *bytes, size_t size) {
    uint8_t *strings = bad_section(bytes, SECTION_MEMORY);
    sample_store(strings + TABLE_HEAD + (sample_load(strings, 4) + 7) / 8 * 8, 4, UINT32_MAX);
    return size;
}
static inline size_t bad_string_count(uint8_t *bytes, size_t size) {
    sample_store(bad_section(bytes, SECTION_META), 4, UINT32_MAX);
    return size;
}
static inline size_t bad_string_offset(uint8_t *bytes, size_t size) {
    uint8_t *strings = bad_section(bytes, SECTION_META);
    sample_store(strings + TABLE_HEAD + (sample_load(strings, 4) + 7) / 8 * 8 + TABLE_HEAD, 4, UINT32_MAX);
    return size;
}
static inline size_t bad_truncated(uint8_t *bytes, size_t size) {
    (void)bytes;
    return size / 2;
}
static inline size_t bad_empty(uint8_t *bytes, size_t size) {
    (void)bytes;
    (void)size;
    return 0;
}
static inline size_t bad_bit_flipped(uint8_t *bytes, size_t size) {
    bytes[size / 2] ^= 0x10;
    return size;
}

static const BadPlan bad_plans[] = {
    {"overlapping_buffers", "overlap at step 1", bad_overlapping_buffers, NULL, false},
    {"cyclic_body", "program 1 is owned by operator 4 of a later program", bad_cyclic_body, NULL, false},
    {"unowned_body", "program 1 is owned by operator 2147483647, of 5", bad_unowned_body, NULL, false},
    {"arena_too_small", "buffer 0 has 128 bytes at offset 0 of an arena of 64", bad_arena_too_small, NULL,
     false},
    {"weight_out_of_range", "value 1 has 20 bytes at weight 0, of 16", bad_weight_out_of_range, NULL, false},
    {"weight_offset", "value 1", bad_weight_offset, NULL, false},
    {"huge_value", "the bytes of value 2 overflow 64 bits", bad_huge_value, NULL, false},
    {"architectures", "steps on 0 architectures, expected 0", bad_architectures, NULL, false},
    {"dtype", "value 2 has dtype 77", bad_dtype, NULL, false},
    {"rank", "value 2 has rank 2147483647", bad_rank, NULL, false},
    {"expression_underflow", "expression 1 is malformed", bad_expression_underflow, NULL, false},
    {"expression_symbol", "expression 0 is malformed", bad_expression_symbol, NULL, false},
    {"expression_range", "expression 0 has 1 codes from 2147483647", bad_expression_range, NULL, false},
    {"symbol_range", "has min 1, opt 2, max 0", bad_symbol_range, NULL, false},
    {"undefined_use", "is value 3, which is not defined before it", bad_undefined_use, NULL, false},
    {"value_index", "operator 0 names value 2147483647, of 5", bad_value_index, NULL, false},
    {"defined_twice", "value 2 is defined twice", bad_defined_twice, NULL, false},
    {"operator_inputs", "operator 0 (Add) from 'first': 1 inputs, expected 2", bad_operator_inputs, NULL,
     false},
    {"attributes_cut", "attributes end after 3 bytes", bad_attributes_cut, NULL, false},
    {"writes_weight", "whose memory it may not write", bad_writes_weight, NULL, false},
    {"step_kind", "step 0 is of kind 99", bad_step_kind, NULL, false},
    {"no_target", "there is no target", bad_no_target, NULL, false},
    {"major_version", "version 2.", NULL, bad_major_version, false},
    {"magic", "not a plan", NULL, bad_magic, false},
    {"required_section", "section kind 77 is required", NULL, bad_required_section, false},
    {"section_twice", "section kind 1 is there twice", NULL, bad_section_twice, false},
    {"section_missing", "section META is missing", NULL, bad_section_missing, false},
    {"section_count", "4294967295 sections", NULL, bad_section_count, false},
    {"section_size", "section WEIGHTS has 18446744073709551607 bytes", NULL, bad_section_size, false},
    {"section_offset", "section MEMORY", NULL, bad_section_offset, false},
    {"record_count", "section MEMORY", NULL, bad_record_count, false},
    {"string_count", "section META", NULL, bad_string_count, false},
    {"string_offset", "META", NULL, bad_string_offset, false},
    {"truncated", "bytes", NULL, bad_truncated, true},
    {"empty", "0 bytes are too few", NULL, bad_empty, true},
    {"bit_flipped", "checksum is", NULL, bad_bit_flipped, true},
};
enum { BAD_PLAN_COUNT = (int)(sizeof bad_plans / sizeof bad_plans[0]) };

#endif
