/* The step at which most of the arena is needed, and what is alive then. */
#include "plan_format/print.h"

#include <stdlib.h>

#include "base/checked.h"

static int64_t buffer_bytes(const Plan *plan, const PlanBuffer *buffer, const int64_t *opt) {
    int64_t bytes = buffer->capacity;
    if (!plan->fixed && !plan_dim_eval(plan, buffer->size, opt, &bytes)) return 0;
    return bytes < 0 ? 0 : bytes;
}

static int64_t alive_bytes(const Plan *plan, const int64_t *bytes, int32_t step) {
    int64_t sum = 0;
    for (int32_t i = 0; i < plan->buffer_count; ++i)
        if (plan->buffers[i].first <= step && step <= plan->buffers[i].last &&
            !checked_add_i64(sum, bytes[i], &sum))
            return INT64_MAX;
    return sum;
}

/* From which step of program 0 to which each value is needed; what bodies use counts for the step that owns
 * them. */
static bool find_lives(const Plan *plan, Arena *arena, int32_t *first, int32_t *last) {
    int32_t *op_step = ARENA_ARRAY(arena, int32_t, plan->op_count);
    if (op_step == NULL) return false;
    for (int32_t i = 0; i < plan->value_count; ++i) first[i] = INT32_MAX;
    for (int32_t p = 0; p < plan->program_count; ++p) {
        const PlanProgram *program = &plan->programs[p];
        for (int32_t s = program->step_first; s < program->step_first + program->step_count; ++s)
            for (int32_t k = 0; k < plan->steps[s].op_count; ++k)
                op_step[plan->steps[s].op_first + k] = p == 0 ? s : op_step[program->owner];
    }
    for (int32_t op = 0; op < plan->op_count; ++op) {
        const PlanOp *row = &plan->ops[op];
        for (int32_t i = 0; i < row->output_count; ++i)
            if (row->outputs[i] >= 0) first[row->outputs[i]] = last[row->outputs[i]] = op_step[op];
        for (int32_t i = 0; i < row->input_count; ++i)
            if (row->inputs[i] >= 0 && last[row->inputs[i]] < op_step[op]) last[row->inputs[i]] = op_step[op];
    }
    return true;
}

static int largest_first(const void *a, const void *b) {
    const PlanTenant *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

/* The largest value of each buffer that is needed at the step. */
static bool name_tenants(const Plan *plan, Arena *arena, PlanPeak *peak) {
    int32_t *first = ARENA_ARRAY(arena, int32_t, plan->value_count);
    int32_t *last = ARENA_ARRAY(arena, int32_t, plan->value_count);
    int32_t *best = ARENA_ARRAY(arena, int32_t, plan->buffer_count);
    if (first == NULL || last == NULL || best == NULL || !find_lives(plan, arena, first, last)) return false;
    for (int32_t i = 0; i < plan->buffer_count; ++i) best[i] = -1;
    for (int32_t v = 0; v < plan->value_count; ++v) {
        const PlanValue *value = &plan->values[v];
        if (value->storage != PLAN_BUFFER || first[v] > peak->step || last[v] < peak->step) continue;
        int32_t *held = &best[value->index];
        if (*held < 0 || plan_value_bytes(plan, v) > plan_value_bytes(plan, *held)) *held = v;
    }
    for (int32_t i = 0; i < peak->count; ++i) peak->tenants[i].value = best[peak->tenants[i].buffer];
    return true;
}

bool plan_find_peak(const Plan *plan, Arena *arena, PlanPeak *out) {
    int64_t *opt = ARENA_ARRAY(arena, int64_t, plan->symbol_count);
    int64_t *bytes = ARENA_ARRAY(arena, int64_t, plan->buffer_count), most = -1;
    *out = (PlanPeak){.tenants = ARENA_ARRAY(arena, PlanTenant, plan->buffer_count)};
    if (opt == NULL || bytes == NULL || out->tenants == NULL) return false;
    for (int32_t i = 0; i < plan->symbol_count; ++i) opt[i] = plan->symbols[i].opt;
    for (int32_t i = 0; i < plan->buffer_count; ++i) bytes[i] = buffer_bytes(plan, &plan->buffers[i], opt);
    for (int32_t i = 0; i < plan->buffer_count; ++i) { /* it is a step where some buffer begins */
        int32_t step = plan->buffers[i].first;
        if (i > 0 && step == plan->buffers[i - 1].first) continue;
        int64_t alive = alive_bytes(plan, bytes, step);
        if (alive < most || (alive == most && step >= out->step)) continue;
        most = alive;
        out->step = step;
    }
    out->bytes = most < 0 ? 0 : most;
    for (int32_t i = 0; i < plan->buffer_count; ++i)
        if (plan->buffers[i].first <= out->step && out->step <= plan->buffers[i].last)
            out->tenants[out->count++] = (PlanTenant){.buffer = i, .value = -1, .bytes = bytes[i]};
    qsort(out->tenants, (size_t)out->count, sizeof *out->tenants, largest_first);
    return name_tenants(plan, arena, out);
}
