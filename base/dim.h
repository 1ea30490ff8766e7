/* Dimensions that may be symbolic, and the expressions over symbols that inference builds.
 *
 * A Dim is one int64: an exact number, or the id of an expression in a DimTable. Exact values are used as
 * they are; ids live below DIM_EXACT_MIN, where no exact value may be. Expressions are hash-consed
 * polynomials over atoms (symbols, floor divisions, min, max, broadcast), so that equal Dims of one table are
 * always equal numbers at run time (the converse does not hold). All arithmetic is checked: an overflow or a
 * full table makes the table `failed` and returns a fresh late symbol. */
#ifndef SMELT_BASE_DIM_H
#define SMELT_BASE_DIM_H

#include "base/memory.h"
#include "base/status.h"

typedef int64_t Dim;
#define DIM_EXACT_MIN (INT64_MIN + ((int64_t)1 << 32))
static inline bool dim_is_exact(Dim d) {
    return d >= DIM_EXACT_MIN;
}

enum { SMELT_MAX_RANK = 8 };

/* Zero-initialised: a scalar. */
typedef struct Shape {
    int32_t rank;
    Dim dim[SMELT_MAX_RANK];
} Shape;

/* A symbol's origin decides when its value is known. */
typedef enum SymbolKind {
    SYMBOL_INPUT, /* a dimension of a graph input: known when the caller sets shapes */
    SYMBOL_LATE   /* depends on data: bound by the step that produces it */
} SymbolKind;

typedef struct Symbol {
    const char *name; /* unique in its table */
    SymbolKind kind;
    int64_t min, opt, max; /* max = INT64_MAX: no stated maximum; opt used for tuning and estimates */
} Symbol;

typedef struct DimTable DimTable;

/* The table lives in arena and dies with it. NULL: out of memory. */
DimTable *dim_table_create(Arena *arena);

/* Finds or adds the symbol of that name. New input symbols have min 0, opt 1, max INT64_MAX. */
Dim dim_symbol(DimTable *table, const char *name, SymbolKind kind);
/* A new late symbol "stem.N" that no other has. */
Dim dim_fresh(DimTable *table, const char *stem);
/* The index of the symbol that d is, or -1 when d is exact or an expression. */
int32_t dim_symbol_index(const DimTable *table, Dim d);
int32_t dim_symbol_count(const DimTable *table);
Symbol *dim_symbol_at(DimTable *table, int32_t index);
/* An arithmetic failure or allocation failure happened since creation. */
bool dim_table_failed(const DimTable *table);
/* Says which: NO_MEMORY, or status with what the failure means to the caller. */
Status dim_table_check(const DimTable *table, Status status, const char *what, Diag *diag);

Dim dim_add(DimTable *table, Dim a, Dim b);
Dim dim_sub(DimTable *table, Dim a, Dim b);
Dim dim_mul(DimTable *table, Dim a, Dim b);
Dim dim_floor_div(DimTable *table, Dim a,
                  Dim b); /* by exact zero: the table fails. Exact where a is a multiple of b */
Dim dim_ceil_div(DimTable *table, Dim a, Dim b);
Dim dim_min(DimTable *table, Dim a, Dim b);
Dim dim_max(DimTable *table, Dim a, Dim b);
/* What two broadcast dimensions give: a if equal, the other when one is exactly 1, an exact one > 1 before a
 * symbol, else the atom bcast(a, b) (= b where a is 1, else a). Whether they do fit is checked where values
 * are known. */
Dim dim_broadcast(DimTable *table, Dim a, Dim b);

/* True where every value of the symbols within [min, max] is known to give d >= bound. */
bool dim_known_at_least(DimTable *table, Dim d, int64_t bound);
/* An interval that d stays in; INT64_MAX when unbounded. */
void dim_bounds(DimTable *table, Dim d, int64_t *low, int64_t *high);
/* A number that every value of d is known to be a multiple of: 512 for 512*T, 1 where nothing is known, 0 for
 * 0. */
int64_t dim_divisor(const DimTable *table, Dim d);
/* True where d contains a late symbol. */
bool dim_is_late(const DimTable *table, Dim d);

/* The number for given symbol values (values[i] for symbol i; -1 = not known yet). False: overflow, division
 * by zero, or an unknown symbol. */
bool dim_eval(const DimTable *table, Dim d, const int64_t *values, int64_t *out);

/* Text such as "batch", "2*h + 1", "floor(h + 3, 4)*c", and back. dim_print returns text in arena (NULL: out
 * of memory). dim_parse consumes the whole text; unknown names become input symbols. */
const char *dim_print(const DimTable *table, Dim d, Arena *arena);
Status dim_parse(DimTable *table, const char *text, Dim *out, Diag *diag);

/* Postfix form of an expression, which plans store (plan_format/FORMAT.md, DIMS) and dim_postfix_eval runs.
 * Writes at most capacity codes and returns how many the whole needs. */
typedef enum DimOp {
    DIM_PUSH,
    DIM_SYMBOL,
    DIM_ADD,
    DIM_MUL,
    DIM_FLOOR_DIV,
    DIM_MIN,
    DIM_MAX,
    DIM_BCAST
} DimOp;
typedef struct DimCode {
    int32_t op;      /* DimOp */
    int32_t padding; /* zero */
    int64_t value;   /* number of DIM_PUSH, symbol index of DIM_SYMBOL, else zero */
} DimCode;
enum { DIM_POSTFIX_DEPTH = 32, DIM_POSTFIX_MAX = 1024 };
int32_t dim_postfix(const DimTable *table, Dim d, DimCode *codes, int32_t capacity);
/* False: overflow, division by zero, unknown symbol (value -1). Codes must have passed dim_postfix_verify. */
bool dim_postfix_eval(const DimCode *codes, int32_t count, const int64_t *values, int64_t *out);
/* True where the codes are well-formed: leave one value, never underflow, stay within DIM_POSTFIX_DEPTH, name
 * symbols below symbol_count. */
bool dim_postfix_verify(const DimCode *codes, int32_t count, int32_t symbol_count);

/* Elements of a shape as a Dim (1 for rank 0). */
Dim shape_count(DimTable *table, const Shape *shape);
bool shape_is_exact(const Shape *shape);
bool shape_is_late(const DimTable *table, const Shape *shape); /* some dimension is */
bool shape_equal(const Shape *a, const Shape *b);              /* same rank and same Dims */
/* "[batch, 3, 2*h]" in arena. */
const char *shape_print(const DimTable *table, const Shape *shape, Arena *arena);

#endif
