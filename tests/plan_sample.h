/* Small plans built by hand, and the bytes of plans with right checksums, for the tests of plans and runtime.
 */
#ifndef SMELT_TESTS_PLAN_SAMPLE_H
#define SMELT_TESTS_PLAN_SAMPLE_H

#include <string.h>

#include "base/hash.h"
#include "plan_format/plan.h"

static const uint8_t sample_no_attrs[4] = {0, 0, 0, 0};

#define SAMPLE_COPY(arena, items) sample_copy((arena), (items), sizeof(items))
static inline void *sample_copy(Arena *arena, const void *items, size_t size) {
    return memcpy(arena_alloc(arena, size), items, size);
}

/* y = relu(x + w) + x with x f32[n, 4], n from 1 to 8, as one step of three operators; the second works in
 * place. With `body`, a second step owns a body of one operator: z = Owner(y) { p -> Neg(p) }, which no
 * operator table has. */
static inline Plan sample_plan(Arena *arena, bool body) {
    static const float weights[64] = {1.0f, -2.0f, 3.0f, -4.0f};
    static const int32_t operands[] = {0, 1, 2, 2, 3, 3, 0, 4, 4, 5, 6, 7};
    const PlanDim n = plan_dim_of_expression(0), bytes = plan_dim_of_expression(1);
    PlanMeta meta[] = {{"model", "sample"}, {"producer", "smelt test"}, {"target", "cpu"}};
    Symbol symbols[] = {{"n", SYMBOL_INPUT, 1, 2, 8}, {"late", SYMBOL_LATE, 0, 1, INT64_MAX}};
    DimCode codes[] = {
        {DIM_SYMBOL, 0, 0}, {DIM_SYMBOL, 0, 0}, {DIM_PUSH, 0, 16}, {DIM_MUL, 0, 0}, {DIM_SYMBOL, 0, 1}};
    PlanExpression expressions[] = {{0, 1}, {1, 3}, {4, 1}};
    PlanValue values[] = {
        {"x", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 0, 0, false, 0},
        {"w", DTYPE_F32, 1, {4}, PLAN_WEIGHT, -1, 0, false, 0},
        {"a", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 0, 0, false, 0},
        {"b", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 0, 0, false, 0},
        {"y", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 1, 0, false, 0},
        {"z", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 1, 0, false, 0},
        {"p", DTYPE_F32, 2, {n, 4}, PLAN_OWN, -1, 0, false, 0},
        {"q", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 2, 0, false, 0},
    };
    PlanBuffer buffers[] = {{bytes, 0, 0, 0, 128}, {bytes, 1, 1, 0, 128}, {bytes, 1, 1, 128, 128}};
    PlanBinding bindings[] = {{"x", 0, false}, {"y", 4, true}};
    PlanOp ops[] = {
        {"", "Add", 14, 2, 1, operands, operands + 2, sample_no_attrs, 4, "first"},
        {"", "Relu", 14, 1, 1, operands + 3, operands + 4, sample_no_attrs, 4, "second"},
        {"", "Add", 14, 2, 1, operands + 5, operands + 7, sample_no_attrs, 4, "third\nfourth"},
        {"", "Owner", 1, 1, 1, operands + 8, operands + 9, sample_no_attrs, 4, "owner"},
        {"", "Neg", 13, 1, 1, operands + 10, operands + 11, sample_no_attrs, 4, "inner"},
    };
    PlanStep steps[] = {{.name = "add+relu+add", .op_count = 3, .reason = ""},
                        {.name = "owner", .op_first = 3, .op_count = 1, .reason = ""},
                        {.name = "neg", .op_first = 4, .op_count = 1, .reason = ""}};
    PlanProgram programs[] = {{"main", -1, 1, 1, operands, operands + 7, 0, body ? 2 : 1},
                              {"body", 3, 1, 1, operands + 10, operands + 11, 2, 1}};
    return (Plan){.major = PLAN_MAJOR,
                  .minor = PLAN_MINOR,
                  .meta_count = 3,
                  .symbol_count = 2,
                  .code_count = 5,
                  .expression_count = 3,
                  .value_count = body ? 8 : 5,
                  .buffer_count = body ? 3 : 1,
                  .binding_count = 2,
                  .op_count = body ? 5 : 3,
                  .step_count = body ? 3 : 1,
                  .program_count = body ? 2 : 1,
                  .meta = SAMPLE_COPY(arena, meta),
                  .symbols = SAMPLE_COPY(arena, symbols),
                  .codes = SAMPLE_COPY(arena, codes),
                  .expressions = SAMPLE_COPY(arena, expressions),
                  .values = SAMPLE_COPY(arena, values),
                  .buffers = SAMPLE_COPY(arena, buffers),
                  .bindings = SAMPLE_COPY(arena, bindings),
                  .ops = SAMPLE_COPY(arena, ops),
                  .steps = SAMPLE_COPY(arena, steps),
                  .programs = SAMPLE_COPY(arena, programs),
                  .arena_size = 256,
                  .arena_lower_bound = 128,
                  .fixed = true,
                  .weights = (const uint8_t *)weights,
                  .weights_size = 16};
}

static inline uint64_t sample_load(const uint8_t *bytes, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; ++i) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static inline void sample_store(uint8_t *bytes, size_t count, uint64_t value) {
    for (size_t i = 0; i < count; ++i) bytes[i] = (uint8_t)(value >> (8 * i));
}

/* Makes the checksums right again for whatever header and sections say, where that is possible. */
static inline void sample_fix_checksums(uint8_t *bytes, size_t size) {
    uint64_t sections = size < 32 ? 0 : sample_load(bytes + 12, 4);
    if (size < 32 || sections > (size - 32) / 32) return;
    for (uint64_t i = 0; i < sections; ++i) {
        uint8_t *entry = bytes + 32 + i * 32;
        uint64_t offset = sample_load(entry + 8, 8), length = sample_load(entry + 16, 8);
        if (offset <= size && length <= size - offset)
            sample_store(entry + 24, 8, hash_bytes(bytes + offset, length));
    }
    sample_store(bytes + 24, 8, 0);
    sample_store(bytes + 24, 8, hash_bytes(bytes, 32 + sections * 32));
}

#endif
