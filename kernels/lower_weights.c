/* The blob of constants. */
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "kernels/lowering.h"

enum { LARGE_WEIGHT = 4096 };

static int64_t place_behind(int64_t end, size_t size) {
    return round_up_i64(end, size >= LARGE_WEIGHT ? PLAN_ALIGNMENT : PLAN_WEIGHT_ALIGNMENT);
}

Status lower_weight(Lowering *l, const void *data, size_t size, int64_t *offset) {
    const char *key = arena_printf(l->arena, "%016llx.%zu", (unsigned long long)hash_bytes(data, size), size);
    TRY_ALLOC(l->diag, key);
    int32_t known = name_map_find(&l->weight_keys, key);
    if (known >= 0 && memcmp(l->weights[known].data, data, size) == 0) {
        *offset = l->weights[known].offset;
        return STATUS_OK;
    }
    if (!ARENA_RESERVE(l->arena, l->weights, l->weight_count, l->weight_capacity) ||
        !name_map_set(&l->weight_keys, l->arena, key, l->weight_count))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    *offset = place_behind(l->weights_size, size);
    l->weights[l->weight_count++] = (WeightItem){.data = data, .size = size, .offset = *offset};
    l->weights_size = *offset + (int64_t)size;
    return STATUS_OK;
}

/* -- constants in channels-last order -- */

static Status add_turn(Lowering *l, WeightTurn turn, int32_t *out) {
    TRY(lower_value(l, turn.value, out));
    if (!ARENA_RESERVE(l->arena, l->turns, l->turn_count, l->turn_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    l->turns[l->turn_count++] = turn;
    return STATUS_OK;
}

Status lower_channels_last(Lowering *l, ValueId value, int32_t arg, int32_t *out) {
    return add_turn(l, (WeightTurn){.value = value, .arg = arg}, out);
}

Status lower_in_any_order(Lowering *l, ValueId value, int32_t arg, int32_t *out) {
    return add_turn(l, (WeightTurn){.value = value, .arg = arg, .in_any_order = true}, out);
}

/* [N, C, spatial...] as [N, spatial..., C]; a matrix as its columns. */
static void turn_elements(const uint8_t *from, uint8_t *to, int64_t n, int64_t channels, int64_t count,
                          size_t element) {
    for (int64_t i = 0; i < n; ++i)
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t k = 0; k < count; ++k)
                memcpy(to + (size_t)((i * count + k) * channels + c) * element,
                       from + (size_t)((i * channels + c) * count + k) * element, element);
}

static Status turn_value(Lowering *l, ValueId id, PlanValue *to) {
    const Value *value = &l->graph->values[id];
    size_t size, element = (size_t)dtype_bits(value->dtype) / 8;
    int64_t count = 1;
    int32_t channels = value->shape.rank == 2 ? 0 : 1;
    if (!value_is_exact(value) || value->shape.rank < 2 || element < 1 ||
        !dtype_storage(value->dtype, value_count(value), &size))
        return FAIL(l->diag, STATUS_INTERNAL, "a constant that has no channels-last order");
    uint8_t *data = arena_alloc(l->arena, size);
    TRY_ALLOC(l->diag, data);
    for (int32_t i = channels + 1; i < value->shape.rank; ++i) count *= value->shape.dim[i];
    turn_elements(value->data, data, channels == 0 ? 1 : value->shape.dim[0], value->shape.dim[channels],
                  count, element);
    to->channels_last = true;
    return lower_weight(l, data, size, &to->offset);
}

static bool runs_launches(const Lowering *l, const PlanProgram *program, const PlanStep *step) {
    return program == &l->plan->programs[0] && step->kind == PLAN_STEP_LAUNCH && step->launch_count > 0;
}

/* Which of the plan's values something needs as the host has them. */
static void mark_plain(const Lowering *l, bool *plain) {
    const Plan *plan = l->plan;
    for (int32_t p = 0; p < plan->program_count; ++p) {
        const PlanProgram *program = &plan->programs[p];
        for (int32_t i = 0; i < program->result_count; ++i) plain[program->results[i]] = true;
        for (int32_t s = program->step_first; s < program->step_first + program->step_count; ++s) {
            const PlanStep *step = &plan->steps[s];
            if (runs_launches(l, program, step)) continue;
            for (int32_t o = step->op_first; o < step->op_first + step->op_count; ++o)
                for (int32_t i = 0; i < plan->ops[o].input_count; ++i)
                    if (plan->ops[o].inputs[i] >= 0) plain[plan->ops[o].inputs[i]] = true;
        }
    }
    for (int32_t i = 0, turn = 0; i < plan->arg_count; ++i) {
        bool turned = turn < l->turn_count && l->turns[turn].arg == i;
        if (turned) turn++;
        if (!turned && plan->args[i].value >= 0) plain[plan->args[i].value] = true;
    }
}

/* A value of its own for the turned constant, where the plain one is needed too. */
static Status add_twin(Lowering *l, const WeightTurn *turn, int32_t *twin) {
    Plan *plan = l->plan;
    if (*twin < 0) {
        if (!ARENA_RESERVE(l->arena, plan->values, plan->value_count, l->value_capacity))
            return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
        *twin = plan->value_count++;
        plan->values[*twin] = plan->values[plan->args[turn->arg].value];
        TRY(turn_value(l, turn->value, &plan->values[*twin]));
    }
    plan->args[turn->arg].value = *twin;
    return STATUS_OK;
}

static Status turn_values(Lowering *l) {
    Plan *plan = l->plan;
    int32_t count = plan->value_count;
    bool *plain = ARENA_ARRAY(l->arena, bool, count);
    int32_t *twins = ARENA_ARRAY(l->arena, int32_t, count);
    TRY_ALLOC(l->diag, plain);
    TRY_ALLOC(l->diag, twins);
    for (int32_t i = 0; i < count; ++i) twins[i] = -1;
    mark_plain(l, plain);
    for (int32_t i = 0; i < l->turn_count; ++i) {
        const WeightTurn *turn = &l->turns[i];
        int32_t value = plan->args[turn->arg].value;
        if (turn->in_any_order) continue;
        if (plain[value])
            TRY(add_twin(l, turn, &twins[value]));
        else if (!plan->values[value].channels_last)
            TRY(turn_value(l, turn->value, &plan->values[value]));
    }
    return STATUS_OK;
}

/* -- the blob -- */

/* The item at an offset: of those without bytes and the one behind them, that one. */
static int32_t find_item(const Lowering *l, int64_t offset) {
    int32_t low = 0, high = l->weight_count;
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        if (l->weights[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Leaves out what no value has any more. */
static Status close_gaps(Lowering *l) {
    Plan *plan = l->plan;
    int32_t *item = ARENA_ARRAY(l->arena, int32_t, plan->value_count);
    bool *used = ARENA_ARRAY(l->arena, bool, l->weight_count);
    TRY_ALLOC(l->diag, item);
    TRY_ALLOC(l->diag, used);
    for (int32_t i = 0; i < plan->value_count; ++i) {
        if (plan->values[i].storage != PLAN_WEIGHT) continue;
        item[i] = find_item(l, plan->values[i].offset);
        used[item[i]] = true;
    }
    l->weights_size = 0;
    for (int32_t i = 0; i < l->weight_count; ++i) {
        WeightItem *weight = &l->weights[i];
        if (!used[i]) weight->size = 0;
        weight->offset = place_behind(l->weights_size, weight->size);
        if (used[i]) l->weights_size = weight->offset + (int64_t)weight->size;
    }
    for (int32_t i = 0; i < plan->value_count; ++i)
        if (plan->values[i].storage == PLAN_WEIGHT) plan->values[i].offset = l->weights[item[i]].offset;
    return STATUS_OK;
}

Status lower_weights(Lowering *l) {
    TRY(turn_values(l));
    TRY(close_gaps(l));
    uint8_t *blob = arena_alloc(l->arena, (size_t)l->weights_size);
    TRY_ALLOC(l->diag, blob);
    for (int32_t i = 0; i < l->weight_count; ++i)
        if (l->weights[i].size > 0)
            memcpy(blob + l->weights[i].offset, l->weights[i].data, l->weights[i].size);
    l->plan->weights = blob;
    l->plan->weights_size = (uint64_t)l->weights_size;
    return STATUS_OK;
}
