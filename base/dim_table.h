/* Inside of base/dim*.c: the hash-consed table behind base/dim.h. Nothing else includes it.
 *
 * Three kinds of entries, each unique: atoms (symbols and non-polynomial operations), monomials (products of
 * atoms, in order) and polynomials (sums of coefficient * monomial, in order). A non-exact Dim is the index
 * of a polynomial. The orders are structural (by names and shape, never by index), so that text does not
 * depend on what was built first. Sizes are bounded when an entry is made: whoever walks an expression needs
 * no limits of his own. */
#ifndef SMELT_BASE_DIM_TABLE_H
#define SMELT_BASE_DIM_TABLE_H

#include "base/dim.h"
#include "base/hash.h"

enum {
    DIM_ONE = 0, /* the empty monomial's entry: the constant term's */
    DIM_MAX_TERMS = DIM_POSTFIX_MAX / 2,
    DIM_MAX_DEGREE = 64,
    DIM_MAX_NESTING = 48,
    DIM_MAX_OPERANDS = 32, /* of one min, max or bcast of many */
    DIM_MAX_ENTRIES = 1 << 20,
    DIM_MAX_SYMBOLS = 1 << 20,
    DIM_MAX_BYTES = 1 << 26
};

typedef enum DimEntryKind { DIM_ENTRY_ATOM, DIM_ENTRY_MONOMIAL, DIM_ENTRY_POLY } DimEntryKind;

typedef struct DimAtom {
    int64_t op; /* DIM_SYMBOL (a: the symbol's index), DIM_FLOOR_DIV, DIM_MIN, DIM_MAX, DIM_BCAST */
    Dim a, b;
} DimAtom;

typedef struct DimTerm {
    int64_t coefficient; /* never zero */
    int64_t monomial;    /* entry */
} DimTerm;

/* What evaluating takes in postfix form, when the operand that needs the deepest stack comes first. */
typedef struct DimCost {
    int32_t codes, stack, nesting;
} DimCost;

typedef struct DimEntry {
    DimEntryKind kind;
    int32_t count;   /* atoms of a monomial, terms of a polynomial, 1 */
    const void *key; /* DimAtom; int32_t[count] atoms of a monomial; DimTerm[count] */
    uint64_t hash;
    DimCost cost;
} DimEntry;

struct DimTable {
    Arena *arena;
    DimEntry *entries;
    int32_t entry_count, entry_capacity;
    int32_t *slots; /* open addressing, entry + 1 */
    size_t slot_count;
    size_t key_bytes;
    Symbol **symbols; /* each stays where it is */
    int32_t symbol_count, symbol_capacity;
    NameMap names;
    int64_t next_fresh;
    bool failed, out_of_memory; /* the second implies the first */
};

/* The entry of that key, found or added. -1: out of memory or a table limit (the table fails), or the
 * expression is too large for a plan (it does not). */
int32_t dim_intern(DimTable *table, DimEntryKind kind, const void *key, int32_t count);

static inline const DimAtom *dim_atom_at(const DimTable *table, int64_t entry) {
    return table->entries[entry].key;
}
static inline const int32_t *dim_monomial_at(const DimTable *table, int64_t entry, int32_t *degree) {
    *degree = table->entries[entry].count;
    return table->entries[entry].key;
}
static inline Dim dim_of_entry(int32_t entry) {
    return INT64_MIN + entry;
}

/* The terms of any Dim; an exact one has its constant term in `exact` (none for 0). Do not copy it: terms may
 * point into it. */
typedef struct DimView {
    int32_t count;
    const DimTerm *terms;
    DimTerm exact;
} DimView;
void dim_view(const DimTable *table, Dim d, DimView *view);
/* The entry of the atom that d is, or -1. */
int32_t dim_as_atom(const DimTable *table, Dim d);
DimCost dim_cost(const DimTable *table, Dim d);
DimCost dim_term_cost(const DimTable *table, const DimTerm *term);

/* Structural orders: negative, zero (only for equal ones) or positive. Monomials are in graded lexicographic
 * order, the higher degree first, which multiplication preserves. */
int dim_compare(const DimTable *table, Dim a, Dim b);
int dim_compare_atoms(const DimTable *table, int64_t a, int64_t b);
int dim_compare_monomials(const DimTable *table, int64_t a, int64_t b);

/* A polynomial under construction: terms in order. All return false on overflow, limits or no memory. */
typedef struct DimPoly {
    int32_t count;
    DimTerm terms[DIM_MAX_TERMS];
} DimPoly;
bool dim_poly_add_term(DimTable *table, DimPoly *poly, int64_t coefficient, int64_t monomial);
/* poly += coefficient * monomial * d */
bool dim_poly_add(DimTable *table, DimPoly *poly, int64_t coefficient, int64_t monomial, Dim d);
bool dim_poly_intern(DimTable *table, const DimPoly *poly, Dim *out);
bool dim_make_atom(DimTable *table, DimOp op, Dim a, Dim b, Dim *out);
/* False also where by does not divide monomial. */
bool dim_monomial_div(DimTable *table, int64_t monomial, int64_t by, int64_t *out);

#endif
