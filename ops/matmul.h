/* Attributes of Gemm. */
#ifndef SMELT_OPS_MATMUL_H
#define SMELT_OPS_MATMUL_H

#include <stdint.h>

typedef struct GemmAttrs {
    float alpha, beta;
    int64_t trans_a, trans_b;
} GemmAttrs;

#endif
