#include <string.h>

#include "base/checked.h"
#include "base/dim_table.h"

/* Codes past capacity are counted only. */
typedef struct Emitter {
    const DimTable *table;
    DimCode *codes;
    int32_t count, capacity;
} Emitter;

static void emit(Emitter *emitter, DimOp op, int64_t value) {
    if (emitter->count < emitter->capacity)
        emitter->codes[emitter->count] = (DimCode){.op = (int32_t)op, .value = value};
    emitter->count++;
}

static void emit_dim(Emitter *emitter, Dim d);

static void emit_atom(Emitter *emitter, int64_t entry) {
    const DimAtom *atom = dim_atom_at(emitter->table, entry);
    if (atom->op == DIM_SYMBOL) {
        emit(emitter, DIM_SYMBOL, atom->a);
        return;
    }
    emit_dim(emitter, atom->a);
    emit_dim(emitter, atom->b);
    emit(emitter, (DimOp)atom->op, 0);
}

/* The atom that needs the deepest stack comes first, as DimCost counts on. */
static void emit_monomial(Emitter *emitter, int64_t entry) {
    int32_t degree, deepest = 0;
    const int32_t *atoms = dim_monomial_at(emitter->table, entry, &degree);
    const DimEntry *entries = emitter->table->entries;
    for (int32_t i = 1; i < degree; ++i) {
        if (entries[atoms[i]].cost.stack > entries[atoms[deepest]].cost.stack) deepest = i;
    }
    emit_atom(emitter, atoms[deepest]);
    for (int32_t i = 0; i < degree; ++i) {
        if (i == deepest) continue;
        emit_atom(emitter, atoms[i]);
        emit(emitter, DIM_MUL, 0);
    }
}

static void emit_term(Emitter *emitter, const DimTerm *term) {
    if (term->monomial == DIM_ONE) {
        emit(emitter, DIM_PUSH, term->coefficient);
        return;
    }
    emit_monomial(emitter, term->monomial);
    if (term->coefficient == 1) return;
    emit(emitter, DIM_PUSH, term->coefficient);
    emit(emitter, DIM_MUL, 0);
}

static void emit_dim(Emitter *emitter, Dim d) {
    DimView view;
    if (dim_is_exact(d)) {
        emit(emitter, DIM_PUSH, d);
        return;
    }
    int32_t deepest = 0;
    dim_view(emitter->table, d, &view);
    for (int32_t i = 1; i < view.count; ++i) {
        if (dim_term_cost(emitter->table, &view.terms[i]).stack >
            dim_term_cost(emitter->table, &view.terms[deepest]).stack)
            deepest = i;
    }
    emit_term(emitter, &view.terms[deepest]);
    for (int32_t i = 0; i < view.count; ++i) {
        if (i == deepest) continue;
        emit_term(emitter, &view.terms[i]);
        emit(emitter, DIM_ADD, 0);
    }
}

int32_t dim_postfix(const DimTable *table, Dim d, DimCode *codes, int32_t capacity) {
    Emitter emitter = {.table = table, .codes = codes, .capacity = capacity};
    emit_dim(&emitter, d);
    return emitter.count;
}

static bool apply(DimOp op, int64_t a, int64_t b, int64_t *out) {
    switch (op) {
    case DIM_ADD:
        return checked_add_i64(a, b, out);
    case DIM_MUL:
        return checked_mul_i64(a, b, out);
    case DIM_FLOOR_DIV:
        if (b == 0 || (a == INT64_MIN && b == -1)) return false;
        *out = floor_div_i64(a, b);
        return true;
    case DIM_MIN:
        *out = min_i64(a, b);
        return true;
    case DIM_MAX:
        *out = max_i64(a, b);
        return true;
    case DIM_BCAST:
        *out = a == 1 ? b : a;
        return true;
    default:
        return false;
    }
}

bool dim_postfix_eval(const DimCode *codes, int32_t count, const int64_t *values, int64_t *out) {
    int64_t stack[DIM_POSTFIX_DEPTH] = {0};
    int32_t top = 0;
    for (int32_t i = 0; i < count; ++i) {
        if (codes[i].op == DIM_PUSH) {
            stack[top++] = codes[i].value;
        } else if (codes[i].op == DIM_SYMBOL) {
            if (values[codes[i].value] == -1) return false;
            stack[top++] = values[codes[i].value];
        } else {
            --top;
            if (!apply((DimOp)codes[i].op, stack[top - 1], stack[top], &stack[top - 1])) return false;
        }
    }
    *out = stack[0];
    return true;
}

bool dim_postfix_verify(const DimCode *codes, int32_t count, int32_t symbol_count) {
    int32_t depth = 0;
    for (int32_t i = 0; i < count; ++i) {
        const DimCode *code = &codes[i];
        if (code->op < DIM_PUSH || code->op > DIM_BCAST || code->padding != 0) return false;
        if (code->op > DIM_SYMBOL) {
            if (code->value != 0 || depth < 2) return false;
            --depth;
        } else {
            if (code->op == DIM_SYMBOL && (code->value < 0 || code->value >= symbol_count)) return false;
            if (depth == DIM_POSTFIX_DEPTH) return false;
            ++depth;
        }
    }
    return depth == 1;
}

bool dim_eval(const DimTable *table, Dim d, const int64_t *values, int64_t *out) {
    DimCode codes[DIM_POSTFIX_MAX];
    int32_t count = dim_postfix(table, d, codes, DIM_POSTFIX_MAX);
    return count <= DIM_POSTFIX_MAX && dim_postfix_eval(codes, count, values, out);
}
