#include "base/dim_table.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"

DimTable *dim_table_create(Arena *arena) {
    DimTable *table = ARENA_NEW(arena, DimTable);
    if (table == NULL) return NULL;
    table->arena = arena;
    return dim_intern(table, DIM_ENTRY_MONOMIAL, "", 0) == DIM_ONE ? table : NULL;
}

bool dim_table_failed(const DimTable *table) {
    return table->failed;
}

Status dim_table_check(const DimTable *table, Status status, const char *what, Diag *diag) {
    if (!table->failed) return STATUS_OK;
    if (table->out_of_memory) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return FAIL(diag, status, "%s", what);
}

static void fail(DimTable *table, bool out_of_memory) {
    table->failed = true;
    table->out_of_memory |= out_of_memory;
}

/* ---- Symbols ---- */

static Dim symbol_dim(DimTable *table, int32_t index) {
    Dim d;
    if (dim_make_atom(table, DIM_SYMBOL, index, 0, &d)) return d;
    table->failed = true;
    return 0;
}

Dim dim_symbol(DimTable *table, const char *name, SymbolKind kind) {
    int32_t index = name_map_find(&table->names, name);
    if (index >= 0) return symbol_dim(table, index);
    Symbol *symbol = ARENA_NEW(table->arena, Symbol);
    char *own_name = arena_strdup(table->arena, name);
    bool full = table->symbol_count >= DIM_MAX_SYMBOLS;
    if (full || symbol == NULL || own_name == NULL ||
        !ARENA_RESERVE(table->arena, table->symbols, table->symbol_count, table->symbol_capacity) ||
        !name_map_set(&table->names, table->arena, own_name, table->symbol_count)) {
        fail(table, !full);
        return 0;
    }
    *symbol = (Symbol){.name = own_name, .kind = kind, .min = 0, .opt = 1, .max = INT64_MAX};
    index = table->symbol_count++;
    table->symbols[index] = symbol;
    return symbol_dim(table, index);
}

Dim dim_fresh(DimTable *table, const char *stem) {
    char *name;
    do {
        name = arena_printf(table->arena, "%s.%lld", stem, (long long)table->next_fresh++);
    } while (name != NULL && name_map_find(&table->names, name) >= 0);
    if (name != NULL) return dim_symbol(table, name, SYMBOL_LATE);
    fail(table, true);
    return 0;
}

int32_t dim_symbol_index(const DimTable *table, Dim d) {
    int32_t entry = dim_as_atom(table, d);
    if (entry < 0) return -1;
    const DimAtom *atom = dim_atom_at(table, entry);
    return atom->op == DIM_SYMBOL ? (int32_t)atom->a : -1;
}

int32_t dim_symbol_count(const DimTable *table) {
    return table->symbol_count;
}

Symbol *dim_symbol_at(DimTable *table, int32_t index) {
    return table->symbols[index];
}

/* ---- Entries ---- */

static size_t key_size(DimEntryKind kind, int32_t count) {
    size_t element = kind == DIM_ENTRY_ATOM       ? sizeof(DimAtom)
                     : kind == DIM_ENTRY_MONOMIAL ? sizeof(int32_t)
                                                  : sizeof(DimTerm);
    return element * (size_t)count;
}

static void place(DimTable *table, int32_t entry) {
    size_t mask = table->slot_count - 1;
    size_t slot = (size_t)table->entries[entry].hash & mask;
    while (table->slots[slot] != 0) slot = (slot + 1) & mask;
    table->slots[slot] = entry + 1;
}

/* Keeps the slots at most half full. */
static bool reserve_slot(DimTable *table) {
    if ((size_t)table->entry_count * 2 < table->slot_count) return true;
    size_t wanted = table->slot_count == 0 ? 64 : table->slot_count * 2;
    int32_t *slots = ARENA_ARRAY(table->arena, int32_t, wanted);
    if (slots == NULL) return false;
    table->slots = slots;
    table->slot_count = wanted;
    for (int32_t i = 0; i < table->entry_count; ++i) place(table, i);
    return true;
}

static int32_t find_entry(const DimTable *table, const DimEntry *wanted) {
    if (table->slot_count == 0) return -1;
    size_t mask = table->slot_count - 1;
    for (size_t slot = (size_t)wanted->hash & mask; table->slots[slot] != 0; slot = (slot + 1) & mask) {
        const DimEntry *entry = &table->entries[table->slots[slot] - 1];
        if (entry->hash == wanted->hash && entry->kind == wanted->kind && entry->count == wanted->count &&
            memcmp(entry->key, wanted->key, key_size(entry->kind, entry->count)) == 0)
            return table->slots[slot] - 1;
    }
    return -1;
}

/* ---- Cost ---- */

/* Of operands that are evaluated one after the other and joined by a binary operation each. */
typedef struct CostSum {
    DimCost total; /* stack: the deepest operand's */
    int32_t second_stack;
} CostSum;

static void cost_add(CostSum *sum, DimCost item) {
    sum->total.codes += item.codes + (sum->total.codes > 0 ? 1 : 0);
    if (item.nesting > sum->total.nesting) sum->total.nesting = item.nesting;
    if (item.stack > sum->total.stack) {
        sum->second_stack = sum->total.stack;
        sum->total.stack = item.stack;
    } else if (item.stack > sum->second_stack) {
        sum->second_stack = item.stack;
    }
}

static DimCost cost_total(CostSum sum) {
    if (sum.second_stack + 1 > sum.total.stack) sum.total.stack = sum.second_stack + 1;
    return sum.total;
}

DimCost dim_cost(const DimTable *table, Dim d) {
    return dim_is_exact(d) ? (DimCost){.codes = 1, .stack = 1} : table->entries[d - INT64_MIN].cost;
}

DimCost dim_term_cost(const DimTable *table, const DimTerm *term) {
    if (term->monomial == DIM_ONE) return (DimCost){.codes = 1, .stack = 1};
    DimCost cost = table->entries[term->monomial].cost;
    if (term->coefficient == 1) return cost;
    cost.codes += 2;
    if (cost.stack < 2) cost.stack = 2;
    return cost;
}

static DimCost atom_cost(const DimTable *table, const DimAtom *atom) {
    if (atom->op == DIM_SYMBOL) return (DimCost){.codes = 1, .stack = 1};
    DimCost a = dim_cost(table, atom->a), b = dim_cost(table, atom->b);
    return (DimCost){.codes = a.codes + b.codes + 1,
                     .stack = a.stack > b.stack + 1 ? a.stack : b.stack + 1,
                     .nesting = 1 + (a.nesting > b.nesting ? a.nesting : b.nesting)};
}

static DimCost entry_cost(const DimTable *table, const DimEntry *entry) {
    if (entry->kind == DIM_ENTRY_ATOM) return atom_cost(table, entry->key);
    CostSum sum = {0};
    for (int32_t i = 0; i < entry->count; ++i) {
        if (entry->kind == DIM_ENTRY_MONOMIAL)
            cost_add(&sum, table->entries[((const int32_t *)entry->key)[i]].cost);
        else
            cost_add(&sum, dim_term_cost(table, (const DimTerm *)entry->key + i));
    }
    return cost_total(sum);
}

int32_t dim_intern(DimTable *table, DimEntryKind kind, const void *key, int32_t count) {
    size_t size = key_size(kind, count);
    DimEntry entry = {.kind = kind, .count = count, .key = key};
    entry.hash = hash_combine(hash_bytes(key, size), (uint64_t)kind);
    int32_t found = find_entry(table, &entry);
    if (found >= 0) return found;
    entry.cost = entry_cost(table, &entry);
    if (entry.cost.codes > DIM_POSTFIX_MAX || entry.cost.stack > DIM_POSTFIX_DEPTH ||
        entry.cost.nesting > DIM_MAX_NESTING)
        return -1;
    void *own_key = arena_alloc(table->arena, size);
    bool full = table->entry_count >= DIM_MAX_ENTRIES || table->key_bytes > DIM_MAX_BYTES;
    if (full || own_key == NULL ||
        !ARENA_RESERVE(table->arena, table->entries, table->entry_count, table->entry_capacity) ||
        !reserve_slot(table)) {
        fail(table, !full);
        return -1;
    }
    entry.key = memcpy(own_key, key, size);
    table->key_bytes += size;
    table->entries[table->entry_count] = entry;
    place(table, table->entry_count);
    return table->entry_count++;
}

void dim_view(const DimTable *table, Dim d, DimView *view) {
    if (dim_is_exact(d)) {
        view->exact = (DimTerm){d, DIM_ONE};
        view->terms = &view->exact;
        view->count = d != 0;
        return;
    }
    int64_t entry = d - INT64_MIN;
    assert(entry < table->entry_count && table->entries[entry].kind == DIM_ENTRY_POLY);
    view->terms = table->entries[entry].key;
    view->count = table->entries[entry].count;
}

int32_t dim_as_atom(const DimTable *table, Dim d) {
    DimView view;
    dim_view(table, d, &view);
    if (view.count != 1 || view.terms[0].coefficient != 1) return -1;
    int32_t degree;
    const int32_t *atoms = dim_monomial_at(table, view.terms[0].monomial, &degree);
    return degree == 1 ? atoms[0] : -1;
}

/* ---- Order ---- */

static int compare_i64(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

int dim_compare_atoms(const DimTable *table, int64_t a, int64_t b) {
    if (a == b) return 0;
    const DimAtom *x = dim_atom_at(table, a), *y = dim_atom_at(table, b);
    if (x->op != y->op) return compare_i64(x->op, y->op);
    if (x->op == DIM_SYMBOL) return strcmp(table->symbols[x->a]->name, table->symbols[y->a]->name);
    int order = dim_compare(table, x->a, y->a);
    return order != 0 ? order : dim_compare(table, x->b, y->b);
}

int dim_compare_monomials(const DimTable *table, int64_t a, int64_t b) {
    if (a == b) return 0;
    int32_t x_degree, y_degree;
    const int32_t *x = dim_monomial_at(table, a, &x_degree), *y = dim_monomial_at(table, b, &y_degree);
    if (x_degree != y_degree) return y_degree - x_degree;
    for (int32_t i = 0; i < x_degree; ++i) {
        int order = dim_compare_atoms(table, x[i], y[i]);
        if (order != 0) return order;
    }
    return 0;
}

int dim_compare(const DimTable *table, Dim a, Dim b) {
    if (a == b) return 0;
    DimView x, y;
    dim_view(table, a, &x);
    dim_view(table, b, &y);
    for (int32_t i = 0; i < x.count && i < y.count; ++i) {
        int order = dim_compare_monomials(table, x.terms[i].monomial, y.terms[i].monomial);
        if (order == 0) order = compare_i64(x.terms[i].coefficient, y.terms[i].coefficient);
        if (order != 0) return order;
    }
    return x.count - y.count;
}

/* ---- Polynomials ---- */

/* Products of symbols and atoms as one more entry, atoms in order. */
static bool monomial_mul(DimTable *table, int64_t a, int64_t b, int64_t *out) {
    int32_t x_degree, y_degree, merged[DIM_MAX_DEGREE];
    const int32_t *x = dim_monomial_at(table, a, &x_degree), *y = dim_monomial_at(table, b, &y_degree);
    if (x_degree + y_degree > DIM_MAX_DEGREE) return false;
    int32_t i = 0, j = 0, count = 0;
    while (i < x_degree || j < y_degree) {
        bool from_x = j == y_degree || (i < x_degree && dim_compare_atoms(table, x[i], y[j]) <= 0);
        merged[count++] = from_x ? x[i++] : y[j++];
    }
    *out = dim_intern(table, DIM_ENTRY_MONOMIAL, merged, count);
    return *out >= 0;
}

bool dim_monomial_div(DimTable *table, int64_t monomial, int64_t by, int64_t *out) {
    int32_t x_degree, y_degree, rest[DIM_MAX_DEGREE];
    const int32_t *x = dim_monomial_at(table, monomial, &x_degree),
                  *y = dim_monomial_at(table, by, &y_degree);
    int32_t j = 0, count = 0;
    for (int32_t i = 0; i < x_degree; ++i) {
        if (j < y_degree && x[i] == y[j])
            ++j;
        else
            rest[count++] = x[i];
    }
    if (j < y_degree) return false;
    *out = dim_intern(table, DIM_ENTRY_MONOMIAL, rest, count);
    return *out >= 0;
}

bool dim_poly_add_term(DimTable *table, DimPoly *poly, int64_t coefficient, int64_t monomial) {
    if (coefficient == 0) return true;
    if (coefficient == INT64_MIN) return false; /* no negative of it */
    int32_t low = 0, high = poly->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (dim_compare_monomials(table, poly->terms[middle].monomial, monomial) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    DimTerm *at = &poly->terms[low];
    size_t behind = (size_t)(poly->count - low) * sizeof *at;
    if (low < poly->count && at->monomial == monomial) {
        if (!checked_add_i64(at->coefficient, coefficient, &at->coefficient) || at->coefficient == INT64_MIN)
            return false;
        if (at->coefficient != 0) return true;
        poly->count--;
        memmove(at, at + 1, behind - sizeof *at);
        return true;
    }
    if (poly->count == DIM_MAX_TERMS) return false;
    memmove(at + 1, at, behind);
    *at = (DimTerm){coefficient, monomial};
    poly->count++;
    return true;
}

bool dim_poly_add(DimTable *table, DimPoly *poly, int64_t coefficient, int64_t monomial, Dim d) {
    DimView view;
    dim_view(table, d, &view);
    for (int32_t i = 0; i < view.count; ++i) {
        int64_t product_coefficient, product;
        if (!checked_mul_i64(view.terms[i].coefficient, coefficient, &product_coefficient) ||
            !monomial_mul(table, view.terms[i].monomial, monomial, &product) ||
            !dim_poly_add_term(table, poly, product_coefficient, product))
            return false;
    }
    return true;
}

bool dim_poly_intern(DimTable *table, const DimPoly *poly, Dim *out) {
    *out = 0;
    if (poly->count == 0) return true;
    if (poly->count == 1 && poly->terms[0].monomial == DIM_ONE) {
        *out = poly->terms[0].coefficient;
        return dim_is_exact(*out);
    }
    int32_t entry = dim_intern(table, DIM_ENTRY_POLY, poly->terms, poly->count);
    if (entry < 0) return false;
    *out = dim_of_entry(entry);
    return true;
}

bool dim_make_atom(DimTable *table, DimOp op, Dim a, Dim b, Dim *out) {
    DimAtom key = {op, a, b};
    int32_t atom = dim_intern(table, DIM_ENTRY_ATOM, &key, 1);
    if (atom < 0) return false;
    int32_t monomial = dim_intern(table, DIM_ENTRY_MONOMIAL, &atom, 1);
    if (monomial < 0) return false;
    DimTerm term = {1, monomial};
    int32_t entry = dim_intern(table, DIM_ENTRY_POLY, &term, 1);
    if (entry < 0) return false;
    *out = dim_of_entry(entry);
    return true;
}
