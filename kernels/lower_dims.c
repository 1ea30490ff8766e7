#include "kernels/lowering.h"

static Status add_symbols_of(Lowering *l, SymbolKind kind) {
    for (int32_t i = 0; i < dim_symbol_count(l->graph->dims); ++i) {
        const Symbol *symbol = dim_symbol_at(l->graph->dims, i);
        if (symbol->kind != kind) continue;
        Symbol copy = *symbol;
        copy.name = arena_strdup(l->arena, symbol->name);
        TRY_ALLOC(l->diag, copy.name);
        l->symbols[i] = l->plan->symbol_count;
        l->plan->symbols[l->plan->symbol_count++] = copy;
    }
    return STATUS_OK;
}

Status lower_symbols(Lowering *l) {
    int32_t count = dim_symbol_count(l->graph->dims);
    l->symbols = ARENA_ARRAY(l->arena, int32_t, count);
    l->plan->symbols = ARENA_ARRAY(l->arena, Symbol, count);
    TRY_ALLOC(l->diag, l->symbols);
    TRY_ALLOC(l->diag, l->plan->symbols);
    TRY(add_symbols_of(l, SYMBOL_INPUT));
    return add_symbols_of(l, SYMBOL_LATE);
}

static Status add_expression(Lowering *l, Dim dim, int32_t *index) {
    Plan *plan = l->plan;
    DimCode codes[DIM_POSTFIX_MAX];
    int32_t count = dim_postfix(l->graph->dims, dim, codes, DIM_POSTFIX_MAX);
    if (count > DIM_POSTFIX_MAX)
        return FAIL(l->diag, STATUS_UNSUPPORTED, "a dimension is an expression of %d parts; the limit is %d",
                    count, DIM_POSTFIX_MAX);
    if (!ARENA_RESERVE(l->arena, plan->expressions, plan->expression_count, l->expression_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    plan->expressions[plan->expression_count] = (PlanExpression){.first = plan->code_count, .count = count};
    for (int32_t i = 0; i < count; ++i) {
        if (!ARENA_RESERVE(l->arena, plan->codes, plan->code_count, l->code_capacity))
            return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
        if (codes[i].op == DIM_SYMBOL) codes[i].value = l->symbols[codes[i].value];
        plan->codes[plan->code_count++] = codes[i];
    }
    *index = plan->expression_count++;
    return STATUS_OK;
}

Status lower_dim(Lowering *l, Dim dim, PlanDim *out) {
    if (dim_is_exact(dim)) {
        *out = dim;
        return STATUS_OK;
    }
    const char *key = arena_printf(l->arena, "%lld", (long long)dim);
    TRY_ALLOC(l->diag, key);
    int32_t index = name_map_find(&l->expressions, key);
    if (index < 0) {
        TRY(add_expression(l, dim, &index));
        if (!name_map_set(&l->expressions, l->arena, key, index))
            return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    }
    *out = plan_dim_of_expression(index);
    return STATUS_OK;
}
