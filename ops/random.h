/* Attribute structs of the random generators.
 *
 * A result depends on the seed, the operator's attributes and the number of its elements, and on nothing
 * else: runs can be repeated. Without a seed a fixed one is used, which ONNX leaves to the implementation. */
#ifndef SMELT_OPS_RANDOM_H
#define SMELT_OPS_RANDOM_H

#include "ops/op.h"

/* RandomNormal, RandomNormalLike (a: mean, b: scale), RandomUniform, RandomUniformLike (a: low, b: high),
 * Bernoulli (neither) */
typedef struct RandomAttrs {
    DType dtype; /* DTYPE_NONE: the input's */
    double a, b;
    uint64_t seed;
    Shape shape; /* exact; of the operators without input */
} RandomAttrs;

typedef struct MultinomialAttrs {
    DType dtype; /* i32 or i64 */
    int64_t sample_size;
    uint64_t seed;
} MultinomialAttrs;

#endif
