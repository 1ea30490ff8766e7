/* Between the file that compiles the expressions of reduce.def and the one that runs them. */
#ifndef SMELT_OPS_REDUCE_BLOCK_H
#define SMELT_OPS_REDUCE_BLOCK_H

#include "ops/reduce.h"

/* An accumulator: what elements merge into. */
typedef union ReduceValue {
    double f64; /* elements of f32 and f64 */
    int64_t i64;
    uint64_t u64;
} ReduceValue;

typedef struct ReduceFunctions {
    /* Before any element. */
    ReduceValue (*identity)(void);
    /* *a = merge(*a, element(xs[i])) for all i. */
    void (*row)(int64_t count, const void *xs, double m, ReduceValue *a);
    /* as[i] = merge(as[i], element(xs[i])) with m = ms[i]. */
    void (*column)(int64_t count, const void *xs, const double *ms, ReduceValue *as);
    /* The output element from a, in the same member. */
    ReduceValue (*result)(ReduceValue a, double m, int64_t n);
} ReduceFunctions;

/* By type of the elements in memory; all NULL where the row's signature does not have it. */
extern const ReduceFunctions reduce_f32[OP_COUNT], reduce_f64[OP_COUNT], reduce_i64[OP_COUNT],
    reduce_u64[OP_COUNT];

#endif
