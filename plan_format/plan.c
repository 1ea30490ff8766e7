#include "plan_format/plan.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

#include "plan_format/library.h"

const char *plan_meta(const Plan *plan, const char *key) {
    for (int32_t i = 0; i < plan->meta_count; ++i)
        if (strcmp(plan->meta[i].key, key) == 0) return plan->meta[i].value;
    return NULL;
}

bool plan_is_cuda(const Plan *plan) {
    const char *target = plan_meta(plan, "target");
    return target != NULL && strcmp(target, "cuda") == 0;
}

bool plan_dim_eval(const Plan *plan, PlanDim d, const int64_t *symbols, int64_t *out) {
    if (dim_is_exact(d)) {
        *out = d;
        return true;
    }
    const PlanExpression *expression = &plan->expressions[plan_dim_expression(d)];
    return dim_postfix_eval(plan->codes + expression->first, expression->count, symbols, out);
}

bool plan_dim_is_late(const Plan *plan, PlanDim d) {
    if (dim_is_exact(d)) return false;
    const PlanExpression *expression = &plan->expressions[plan_dim_expression(d)];
    for (int32_t i = 0; i < expression->count; ++i) {
        const DimCode *code = &plan->codes[expression->first + i];
        if (code->op == DIM_SYMBOL && plan->symbols[code->value].kind == SYMBOL_LATE) return true;
    }
    return false;
}

int32_t plan_dim_symbol(const Plan *plan, PlanDim d) {
    if (dim_is_exact(d)) return -1;
    const PlanExpression *expression = &plan->expressions[plan_dim_expression(d)];
    const DimCode *code = &plan->codes[expression->first];
    return expression->count == 1 && code->op == DIM_SYMBOL ? (int32_t)code->value : -1;
}

bool plan_value_is_late(const Plan *plan, int32_t value) {
    const PlanValue *row = &plan->values[value];
    for (int32_t i = 0; i < row->rank; ++i)
        if (plan_dim_is_late(plan, row->dim[i])) return true;
    return false;
}

static int32_t value_binds(const Plan *plan, int32_t value, bool *bound, int32_t *list, int32_t count) {
    const PlanValue *row = &plan->values[value];
    for (int32_t i = 0; i < row->rank; ++i) {
        int32_t symbol = plan_dim_symbol(plan, row->dim[i]);
        if (symbol < 0 || plan->symbols[symbol].kind != SYMBOL_LATE || bound[symbol]) continue;
        bound[symbol] = true;
        if (count < PLAN_MAX_COUNTS) list[count] = symbol;
        ++count;
    }
    return count;
}

int32_t plan_step_binds(const Plan *plan, const PlanStep *step, bool *bound, int32_t list[PLAN_MAX_COUNTS]) {
    int32_t count = 0;
    for (int32_t op = step->op_first; op < step->op_first + step->op_count; ++op)
        for (int32_t i = 0; i < plan->ops[op].output_count; ++i)
            if (plan->ops[op].outputs[i] >= 0)
                count = value_binds(plan, plan->ops[op].outputs[i], bound, list, count);
    return count;
}

enum { LONGEST_TERM = 4096 };

/* Text of a part of an expression, and whether it needs brackets as a factor. */
typedef struct Term {
    const char *text;
    bool is_sum;
} Term;

/* op -DIM_MUL: a product whose factors have been put in order. */
static Term join_terms(Arena *arena, int32_t op, Term a, Term b) {
    static const char *const functions[] = {
        [DIM_FLOOR_DIV] = "floor", [DIM_MIN] = "min", [DIM_MAX] = "max", [DIM_BCAST] = "bcast"};
    if (a.text == NULL || b.text == NULL) return (Term){NULL, false};
    if (strlen(a.text) + strlen(b.text) > LONGEST_TERM) return (Term){"...", false};
    if (op == DIM_MUL && b.text[0] >= '0' && b.text[0] <= '9') return join_terms(arena, -DIM_MUL, b, a);
    if (op == DIM_ADD && b.text[0] == '-')
        return (Term){arena_printf(arena, "%s - %s", a.text, b.text + 1), true};
    if (op == DIM_ADD) return (Term){arena_printf(arena, "%s + %s", a.text, b.text), true};
    if (op == DIM_MUL || op == -DIM_MUL)
        return (Term){arena_printf(arena, "%s%s%s*%s%s%s", a.is_sum ? "(" : "", a.text, a.is_sum ? ")" : "",
                                   b.is_sum ? "(" : "", b.text, b.is_sum ? ")" : ""),
                      false};
    return (Term){arena_printf(arena, "%s(%s, %s)", functions[op], a.text, b.text), false};
}

const char *plan_dim_print(const Plan *plan, PlanDim d, Arena *arena) {
    if (dim_is_exact(d)) return arena_printf(arena, "%lld", (long long)d);
    const PlanExpression *expression = &plan->expressions[plan_dim_expression(d)];
    Term stack[DIM_POSTFIX_DEPTH] = {{NULL, false}};
    int32_t depth = 0;
    for (int32_t i = 0; i < expression->count; ++i) {
        const DimCode *code = &plan->codes[expression->first + i];
        if (code->op == DIM_PUSH)
            stack[depth++] = (Term){arena_printf(arena, "%lld", (long long)code->value), false};
        else if (code->op == DIM_SYMBOL)
            stack[depth++] = (Term){plan->symbols[code->value].name, false};
        else {
            depth--;
            stack[depth - 1] = join_terms(arena, code->op, stack[depth - 1], stack[depth]);
        }
    }
    return stack[0].text;
}

int32_t plan_arch_count(const Plan *plan) {
    return plan->kernel_count > 0 ? plan->kernels[0].cubin_count : 0;
}

int32_t plan_variant_count(const Plan *plan) {
    return plan->arch_step_count > 0 ? plan_arch_count(plan) : 1;
}

PlanArchStep plan_step_on(const Plan *plan, int32_t step, int32_t arch) {
    const PlanStep *own = &plan->steps[step];
    if (arch > 0 && plan->arch_step_count > 0)
        return plan->arch_steps[(int64_t)step * (plan_arch_count(plan) - 1) + arch - 1];
    return (PlanArchStep){own->launch_first, own->launch_count, own->scratch_bytes};
}

void plan_choose_arch(Plan *plan, int32_t arch) {
    for (int32_t i = 0; i < plan->step_count; ++i) {
        const PlanArchStep chosen = plan_step_on(plan, i, arch);
        plan->steps[i].launch_first = chosen.launch_first;
        plan->steps[i].launch_count = chosen.launch_count;
        plan->steps[i].scratch_bytes = chosen.scratch_bytes;
    }
    plan->arch_step_count = 0;
}

int64_t plan_map_bytes(const PlanMap *map, int64_t element, const int64_t dim[PLAN_MAP_RANK],
                       const int64_t stride[PLAN_MAP_RANK - 1]) {
    int64_t bytes, steps;
    if (dim[0] < 1 || !checked_mul_i64(dim[0], element, &bytes)) return -1;
    for (int32_t i = 1; i < map->rank; ++i)
        if (dim[i] < 1 || stride[i - 1] < 0 || !checked_mul_i64(dim[i] - 1, stride[i - 1], &steps) ||
            !checked_add_i64(bytes, steps, &bytes))
            return -1;
    return bytes;
}

int64_t plan_operand_bytes(const PlanOperand *operand) {
    int64_t elements = 1, steps, bytes;
    for (int32_t i = 0; i < operand->rank; ++i)
        if (!checked_mul_i64(operand->dim[i] - 1, operand->stride[i], &steps) ||
            !checked_add_i64(elements, steps, &elements))
            return -1;
    return checked_mul_i64(elements, dtype_bits((DType)operand->dtype) / 8, &bytes) ? bytes : -1;
}

bool plan_operand_is_vector(const PlanOperand *operand, const PlanOperand *result) {
    return operand->dim[0] == 1 && operand->dim[1] == 1 && operand->dim[2] == result->dim[2];
}

const char *plan_library_version(const Plan *plan, PlanLibrary library) {
    char key[32];
    snprintf(key, sizeof key, "library.%s", library_names[library].key);
    return plan_meta(plan, key);
}

const char *plan_launch_name(const Plan *plan, int32_t launch) {
    int32_t kernel = plan->launches[launch].kernel;
    return kernel >= 0 ? plan->kernels[kernel].entry : library_names[plan->calls[-1 - kernel].library].key;
}
