#include "base/dim.h"

#include <string.h>

#include "base/checked.h"
#include "base/dim_table.h"

/* ---- Sums and products ---- */

/* a + factor * b */
static bool add_scaled(DimTable *table, Dim a, int64_t factor, Dim b, Dim *out) {
    DimPoly sum = {.count = 0};
    return dim_poly_add(table, &sum, 1, DIM_ONE, a) && dim_poly_add(table, &sum, factor, DIM_ONE, b) &&
           dim_poly_intern(table, &sum, out);
}

static bool multiply(DimTable *table, Dim a, Dim b, Dim *out) {
    DimPoly product;
    DimView view;
    product.count = 0;
    dim_view(table, a, &view);
    for (int32_t i = 0; i < view.count; ++i) {
        if (!dim_poly_add(table, &product, view.terms[i].coefficient, view.terms[i].monomial, b))
            return false;
    }
    return dim_poly_intern(table, &product, out);
}

/* ---- Division ---- */

/* Long division by the leading term. False unless it comes out even. */
static bool divide_exactly(DimTable *table, Dim a, Dim b, Dim *out) {
    DimPoly rest, quotient;
    DimView divisor;
    rest.count = quotient.count = 0;
    dim_view(table, b, &divisor);
    DimTerm lead = divisor.terms[0];
    if (!dim_poly_add(table, &rest, 1, DIM_ONE, a)) return false;
    while (rest.count > 0) {
        int64_t monomial, negated;
        int64_t coefficient = rest.terms[0].coefficient;
        if (coefficient % lead.coefficient != 0 ||
            !dim_monomial_div(table, rest.terms[0].monomial, lead.monomial, &monomial))
            return false;
        coefficient /= lead.coefficient;
        if (!dim_poly_add_term(table, &quotient, coefficient, monomial) ||
            !checked_sub_i64(0, coefficient, &negated) || !dim_poly_add(table, &rest, negated, monomial, b))
            return false;
    }
    return dim_poly_intern(table, &quotient, out);
}

/* Moves the terms of from that the term divides into *quotient, divided, and the others into *rest. */
static bool split_multiples(DimTable *table, Dim from, DimTerm by, DimPoly *quotient, DimPoly *rest) {
    DimView view;
    dim_view(table, from, &view);
    for (int32_t i = 0; i < view.count; ++i) {
        DimTerm term = view.terms[i];
        int64_t monomial;
        bool even = term.coefficient % by.coefficient == 0 &&
                    dim_monomial_div(table, term.monomial, by.monomial, &monomial);
        if (!(even ? dim_poly_add_term(table, quotient, term.coefficient / by.coefficient, monomial)
                   : dim_poly_add_term(table, rest, term.coefficient, term.monomial)))
            return false;
    }
    return true;
}

static int64_t take_constant(DimPoly *poly) {
    if (poly->count == 0 || poly->terms[poly->count - 1].monomial != DIM_ONE) return 0;
    return poly->terms[--poly->count].coefficient;
}

/* floor((terms + constant) / divisor) in lowest terms: a common factor goes, constant ends in [0, divisor)
 * and its whole multiples are returned. */
static int64_t reduce_fraction(DimPoly *terms, int64_t *constant, int64_t *divisor) {
    int64_t common = *divisor;
    for (int32_t i = 0; i < terms->count; ++i) common = gcd_i64(common, terms->terms[i].coefficient);
    for (int32_t i = 0; i < terms->count; ++i) terms->terms[i].coefficient /= common;
    *divisor /= common;
    int64_t whole = floor_div_i64(floor_div_i64(*constant, common), *divisor);
    *constant = floor_mod_i64(floor_div_i64(*constant, common), *divisor);
    return whole;
}

/* floor((floor(x, inner) + constant) / divisor) = floor((x + constant * inner) / (inner * divisor)) */
static bool merge_nested(DimTable *table, const DimPoly *terms, int64_t constant, int64_t *divisor, Dim *x) {
    Dim d;
    if (terms->count != 1 || !dim_poly_intern(table, terms, &d)) return false;
    int32_t entry = dim_as_atom(table, d);
    if (entry < 0) return false;
    DimAtom atom = *dim_atom_at(table, entry);
    int64_t offset, merged;
    if (atom.op != DIM_FLOOR_DIV || !dim_is_exact(atom.b) || !checked_mul_i64(constant, atom.b, &offset) ||
        !checked_mul_i64(*divisor, atom.b, &merged) || !add_scaled(table, atom.a, offset, 1, x))
        return false;
    *divisor = merged;
    return true;
}

/* divisor > 1. Canonical: what is a multiple of the divisor stands outside, the constant inside is in [0,
 * divisor), and floors of floors are one. (Text shows floor(x, c) + k as floor(x + k*c, c).) */
static bool divide_by_number(DimTable *table, Dim a, int64_t divisor, Dim *out) {
    DimPoly quotient;
    quotient.count = 0;
    for (;;) {
        DimPoly rest;
        rest.count = 0;
        if (!split_multiples(table, a, (DimTerm){divisor, DIM_ONE}, &quotient, &rest)) return false;
        int64_t constant = take_constant(&rest);
        if (rest.count == 0)
            return dim_poly_add_term(table, &quotient, floor_div_i64(constant, divisor), DIM_ONE) &&
                   dim_poly_intern(table, &quotient, out);
        int64_t whole = reduce_fraction(&rest, &constant, &divisor);
        if (!dim_poly_add_term(table, &quotient, whole, DIM_ONE)) return false;
        if (merge_nested(table, &rest, constant, &divisor, &a)) continue;
        Dim inside, floored;
        return dim_poly_add_term(table, &rest, constant, DIM_ONE) && dim_poly_intern(table, &rest, &inside) &&
               dim_make_atom(table, DIM_FLOOR_DIV, inside, divisor, &floored) &&
               dim_poly_add(table, &quotient, 1, DIM_ONE, floored) && dim_poly_intern(table, &quotient, out);
    }
}

static bool divide_by_term(DimTable *table, Dim a, Dim b, DimTerm term, Dim *out) {
    DimPoly quotient, rest;
    Dim inside, floored;
    quotient.count = rest.count = 0;
    if (!split_multiples(table, a, term, &quotient, &rest) || !dim_poly_intern(table, &rest, &inside))
        return false;
    if (inside == 0) return dim_poly_intern(table, &quotient, out);
    return dim_make_atom(table, DIM_FLOOR_DIV, inside, b, &floored) &&
           dim_poly_add(table, &quotient, 1, DIM_ONE, floored) && dim_poly_intern(table, &quotient, out);
}

static bool floor_divide(DimTable *table, Dim a, Dim b, Dim *out) {
    DimView divisor;
    if (b == 0) return false;
    dim_view(table, b, &divisor);
    DimTerm lead = divisor.terms[0];
    if (lead.coefficient < 0) /* the leading sign belongs to the dividend */
        return add_scaled(table, 0, -1, a, &a) && add_scaled(table, 0, -1, b, &b) &&
               floor_divide(table, a, b, out);
    if (b == 1) {
        *out = a;
        return true;
    }
    if (dim_is_exact(b)) return divide_by_number(table, a, b, out);
    if (divide_exactly(table, a, b, out)) return true;
    if (divisor.count == 1) return divide_by_term(table, a, b, lead, out);
    return dim_make_atom(table, DIM_FLOOR_DIV, a, b, out);
}

/* ---- min, max, bcast ---- */

typedef struct Operands {
    int32_t count;
    Dim items[DIM_MAX_OPERANDS]; /* in order, none twice */
} Operands;

static bool insert_operand(const DimTable *table, Operands *operands, Dim d) {
    int32_t at = 0;
    while (at < operands->count && dim_compare(table, operands->items[at], d) < 0) ++at;
    if (at < operands->count && operands->items[at] == d) return true;
    if (operands->count == DIM_MAX_OPERANDS) return false;
    memmove(operands->items + at + 1, operands->items + at, (size_t)(operands->count - at) * sizeof(Dim));
    operands->items[at] = d;
    operands->count++;
    return true;
}

/* max(max(a, b), c) has the operands a, b, c. */
static bool collect_operands(const DimTable *table, DimOp op, Dim d, Operands *operands) {
    int32_t entry = dim_as_atom(table, d);
    if (entry < 0 || dim_atom_at(table, entry)->op != (int64_t)op) return insert_operand(table, operands, d);
    const DimAtom *atom = dim_atom_at(table, entry);
    return collect_operands(table, op, atom->a, operands) && collect_operands(table, op, atom->b, operands);
}

static void remove_operand(Operands *operands, int32_t at) {
    operands->count--;
    memmove(operands->items + at, operands->items + at + 1, (size_t)(operands->count - at) * sizeof(Dim));
}

static bool known_order(DimTable *table, Dim larger, Dim smaller) {
    Dim difference;
    return add_scaled(table, larger, -1, smaller, &difference) && dim_known_at_least(table, difference, 0);
}

/* Drops each operand that another always beats. */
static void drop_beaten(DimTable *table, DimOp op, Operands *operands) {
    for (int32_t i = 0; i < operands->count; ++i) {
        for (int32_t j = 0; j < operands->count;) {
            Dim winner = operands->items[i], loser = operands->items[j];
            bool beaten = i != j && (op == DIM_MAX ? known_order(table, winner, loser)
                                                   : known_order(table, loser, winner));
            if (!beaten) {
                ++j;
                continue;
            }
            remove_operand(operands, j);
            if (j < i) --i;
        }
    }
}

/* Ones give way to everything, and any other number decides. */
static void drop_broadcast(Operands *operands) {
    for (int32_t i = 0; i < operands->count; ++i) {
        if (!dim_is_exact(operands->items[i]) || operands->items[i] == 1) continue;
        operands->items[0] = operands->items[i];
        operands->count = 1;
        return;
    }
    for (int32_t i = operands->count - 1; i >= 0 && operands->count > 1; --i) {
        if (operands->items[i] == 1) remove_operand(operands, i);
    }
}

static bool combine(DimTable *table, DimOp op, Dim a, Dim b, Dim *out) {
    Operands operands = {0};
    if (!collect_operands(table, op, a, &operands) || !collect_operands(table, op, b, &operands))
        return false;
    if (op == DIM_BCAST)
        drop_broadcast(&operands);
    else
        drop_beaten(table, op, &operands);
    *out = operands.items[0];
    for (int32_t i = 1; i < operands.count; ++i) {
        if (!dim_make_atom(table, op, *out, operands.items[i], out)) return false;
    }
    return true;
}

/* ---- The public operations ---- */

/* The result, or on failure a symbol that nothing is known of. */
static Dim settle(DimTable *table, bool succeeded, Dim result) {
    if (succeeded) return result;
    table->failed = true;
    return dim_fresh(table, "overflow");
}

Dim dim_add(DimTable *table, Dim a, Dim b) {
    Dim out = 0;
    bool succeeded = add_scaled(table, a, 1, b, &out);
    return settle(table, succeeded, out);
}

Dim dim_sub(DimTable *table, Dim a, Dim b) {
    Dim out = 0;
    bool succeeded = add_scaled(table, a, -1, b, &out);
    return settle(table, succeeded, out);
}

Dim dim_mul(DimTable *table, Dim a, Dim b) {
    Dim out = 0;
    bool succeeded = multiply(table, a, b, &out);
    return settle(table, succeeded, out);
}

Dim dim_floor_div(DimTable *table, Dim a, Dim b) {
    Dim out = 0;
    bool succeeded = floor_divide(table, a, b, &out);
    return settle(table, succeeded, out);
}

Dim dim_ceil_div(DimTable *table, Dim a, Dim b) {
    Dim out = 0;
    bool succeeded = add_scaled(table, a, 1, b, &out) && add_scaled(table, out, -1, 1, &out) &&
                     floor_divide(table, out, b, &out);
    return settle(table, succeeded, out);
}

Dim dim_min(DimTable *table, Dim a, Dim b) {
    Dim out = 0;
    bool succeeded = combine(table, DIM_MIN, a, b, &out);
    return settle(table, succeeded, out);
}

Dim dim_max(DimTable *table, Dim a, Dim b) {
    Dim out = 0;
    bool succeeded = combine(table, DIM_MAX, a, b, &out);
    return settle(table, succeeded, out);
}

Dim dim_broadcast(DimTable *table, Dim a, Dim b) {
    Dim out = 0;
    bool succeeded = combine(table, DIM_BCAST, a, b, &out);
    return settle(table, succeeded, out);
}

/* ---- Shapes ---- */

Dim shape_count(DimTable *table, const Shape *shape) {
    Dim count = 1;
    for (int32_t i = 0; i < shape->rank; ++i) count = dim_mul(table, count, shape->dim[i]);
    return count;
}

bool shape_is_exact(const Shape *shape) {
    for (int32_t i = 0; i < shape->rank; ++i) {
        if (!dim_is_exact(shape->dim[i])) return false;
    }
    return true;
}

bool shape_is_late(const DimTable *table, const Shape *shape) {
    for (int32_t i = 0; i < shape->rank; ++i)
        if (dim_is_late(table, shape->dim[i])) return true;
    return false;
}

bool shape_equal(const Shape *a, const Shape *b) {
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}
