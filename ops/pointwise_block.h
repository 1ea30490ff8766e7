/* Between the files that compile the expressions of pointwise.def, one for each compute type, and the one
 * that runs them. */
#ifndef SMELT_OPS_POINTWISE_BLOCK_H
#define SMELT_OPS_POINTWISE_BLOCK_H

#include "ops/pointwise.h"

/* Elements that are computed at a time: their operands stay in the first-level cache. */
enum { POINTWISE_BLOCK = 1024 };

/* Every count is a multiple of this, so that the loops need no code for a rest: arrays of the last few
 * elements are padded instead. */
enum { POINTWISE_STEP = 16 };

/* Elements to compute next where `rest` are left: whole steps as long as there are any, then all the rest at
 * once. */
static inline int64_t pointwise_next(int64_t rest) {
    if (rest >= POINTWISE_BLOCK) return POINTWISE_BLOCK;
    return rest < POINTWISE_STEP ? rest : rest - rest % POINTWISE_STEP;
}
static inline bool pointwise_is_rest(int64_t count) {
    return count < POINTWISE_STEP;
}

/* out[i] = expression(xs[i], ys[i], zs[i]) for i in [0, count), count a multiple of POINTWISE_STEP. Operands
 * are arrays of the table's compute type (operands that the expression does not use may be any readable array
 * of that size); results too, but for rows whose result is bool: bytes of 0 or 1. out may be one of the
 * operands. */
typedef void (*PointwiseBlock)(int64_t count, const void *xs, const void *ys, const void *zs, double alpha_,
                               double beta_, void *out);

/* By compute type; NULL where a row's signature does not have that type. */
extern const PointwiseBlock pointwise_f32[OP_COUNT], pointwise_f64[OP_COUNT], pointwise_i64[OP_COUNT],
    pointwise_u64[OP_COUNT];

/* What a signature's expressions give in each compute type: an element, a bool, or not compiled.
 *                                   f32        f64        i64        u64 */
#define POINTWISE_KINDS_FLOAT    ELEMENT, ELEMENT, NOTHING, NOTHING
#define POINTWISE_KINDS_REAL     ELEMENT, ELEMENT, NOTHING, NOTHING
#define POINTWISE_KINDS_NUMERIC  ELEMENT, ELEMENT, ELEMENT, ELEMENT
#define POINTWISE_KINDS_QUOTIENT ELEMENT, ELEMENT, ELEMENT, ELEMENT
#define POINTWISE_KINDS_BOUND    ELEMENT, ELEMENT, ELEMENT, ELEMENT
#define POINTWISE_KINDS_WRAPPING ELEMENT, ELEMENT, NOTHING, ELEMENT
#define POINTWISE_KINDS_POWER    ELEMENT, ELEMENT, ELEMENT, ELEMENT
#define POINTWISE_KINDS_SLOPE    ELEMENT, ELEMENT, NOTHING, NOTHING
#define POINTWISE_KINDS_BITS     NOTHING, NOTHING, NOTHING, ELEMENT
#define POINTWISE_KINDS_SHIFT    NOTHING, NOTHING, NOTHING, ELEMENT
#define POINTWISE_KINDS_LOGIC    NOTHING, NOTHING, NOTHING, PREDICATE
#define POINTWISE_KINDS_COMPARE  PREDICATE, PREDICATE, PREDICATE, PREDICATE
#define POINTWISE_KINDS_EQUAL    PREDICATE, PREDICATE, PREDICATE, PREDICATE
#define POINTWISE_KINDS_TEST     PREDICATE, PREDICATE, NOTHING, NOTHING
#define POINTWISE_KINDS_SELECT   ELEMENT, NOTHING, NOTHING, ELEMENT

#endif
