/* Intervals of expressions. INT64_MIN and INT64_MAX stand for no bound, and sums and products keep them. */
#include "base/checked.h"
#include "base/dim_table.h"

typedef struct Interval {
    int64_t low, high;
} Interval;

static bool is_unbounded(int64_t x) {
    return x == INT64_MIN || x == INT64_MAX;
}

/* The bound that a + b is clamped to; an absent bound stays absent. */
static int64_t add_bound(int64_t a, int64_t b, int64_t absent) {
    int64_t sum;
    if (a == absent || b == absent) return absent;
    if (checked_add_i64(a, b, &sum)) return sum;
    return a < 0 ? INT64_MIN : INT64_MAX;
}

static int64_t mul_bound(int64_t a, int64_t b) {
    int64_t product;
    if (a == 0 || b == 0) return 0;
    if (!is_unbounded(a) && !is_unbounded(b) && checked_mul_i64(a, b, &product)) return product;
    return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
}

static Interval interval_mul(Interval a, Interval b) {
    int64_t products[4] = {mul_bound(a.low, b.low), mul_bound(a.low, b.high), mul_bound(a.high, b.low),
                           mul_bound(a.high, b.high)};
    Interval out = {products[0], products[0]};
    for (int i = 1; i < 4; ++i) {
        out.low = min_i64(out.low, products[i]);
        out.high = max_i64(out.high, products[i]);
    }
    return out;
}

static int64_t div_bound(int64_t a, int64_t b) {
    return is_unbounded(a) ? a : floor_div_i64(a, b);
}

/* A divisor of zero has no value, so that one that is never negative is at least 1. */
static Interval interval_div(Interval a, Interval b) {
    if (b.low >= 0) {
        b.low = max_i64(b.low, 1);
        b.high = max_i64(b.high, 1);
        return (Interval){div_bound(a.low, a.low >= 0 ? b.high : b.low),
                          div_bound(a.high, a.high >= 0 ? b.low : b.high)};
    }
    int64_t low = max_i64(a.low, -INT64_MAX), high = max_i64(a.high, -INT64_MAX);
    int64_t size = max_i64(low < 0 ? -low : low, high < 0 ? -high : high);
    return (Interval){size == INT64_MAX ? INT64_MIN : -size, size};
}

static Interval dim_interval(const DimTable *table, Dim d);

static Interval atom_interval(const DimTable *table, const DimAtom *atom) {
    if (atom->op == DIM_SYMBOL) {
        const Symbol *symbol = table->symbols[atom->a];
        return (Interval){symbol->min, symbol->max};
    }
    Interval a = dim_interval(table, atom->a), b = dim_interval(table, atom->b);
    switch (atom->op) {
    case DIM_FLOOR_DIV:
        return interval_div(a, b);
    case DIM_MIN:
        return (Interval){min_i64(a.low, b.low), min_i64(a.high, b.high)};
    case DIM_MAX:
        return (Interval){max_i64(a.low, b.low), max_i64(a.high, b.high)};
    default: /* DIM_BCAST gives one of the two */
        return (Interval){min_i64(a.low, b.low), max_i64(a.high, b.high)};
    }
}

static Interval dim_interval(const DimTable *table, Dim d) {
    DimView view;
    Interval sum = {0, 0};
    dim_view(table, d, &view);
    for (int32_t i = 0; i < view.count; ++i) {
        int32_t degree;
        const int32_t *atoms = dim_monomial_at(table, view.terms[i].monomial, &degree);
        Interval term = {view.terms[i].coefficient, view.terms[i].coefficient};
        for (int32_t j = 0; j < degree; ++j)
            term = interval_mul(term, atom_interval(table, dim_atom_at(table, atoms[j])));
        sum.low = add_bound(sum.low, term.low, INT64_MIN);
        sum.high = add_bound(sum.high, term.high, INT64_MAX);
    }
    return sum;
}

void dim_bounds(DimTable *table, Dim d, int64_t *low, int64_t *high) {
    Interval interval = dim_interval(table, d);
    *low = interval.low;
    *high = interval.high;
}

bool dim_known_at_least(DimTable *table, Dim d, int64_t bound) {
    return dim_interval(table, d).low >= bound;
}

static int64_t atom_divisor(const DimTable *table, const DimAtom *atom) {
    if (atom->op == DIM_SYMBOL || atom->op == DIM_FLOOR_DIV) return 1;
    return gcd_i64(dim_divisor(table, atom->a), dim_divisor(table, atom->b)); /* gives one of the two */
}

int64_t dim_divisor(const DimTable *table, Dim d) {
    DimView view;
    int64_t common = 0;
    dim_view(table, d, &view);
    for (int32_t i = 0; i < view.count; ++i) {
        int32_t degree;
        const int32_t *atoms = dim_monomial_at(table, view.terms[i].monomial, &degree);
        int64_t divisor = gcd_i64(view.terms[i].coefficient, 0), product;
        for (int32_t j = 0; j < degree; ++j)
            if (checked_mul_i64(divisor, atom_divisor(table, dim_atom_at(table, atoms[j])), &product))
                divisor = product;
        common = gcd_i64(common, divisor);
    }
    return common;
}

static bool atom_is_late(const DimTable *table, const DimAtom *atom) {
    if (atom->op == DIM_SYMBOL) return table->symbols[atom->a]->kind == SYMBOL_LATE;
    return dim_is_late(table, atom->a) || dim_is_late(table, atom->b);
}

bool dim_is_late(const DimTable *table, Dim d) {
    DimView view;
    dim_view(table, d, &view);
    for (int32_t i = 0; i < view.count; ++i) {
        int32_t degree;
        const int32_t *atoms = dim_monomial_at(table, view.terms[i].monomial, &degree);
        for (int32_t j = 0; j < degree; ++j) {
            if (atom_is_late(table, dim_atom_at(table, atoms[j]))) return true;
        }
    }
    return false;
}
