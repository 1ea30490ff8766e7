/* Attributes of MaxPool, AveragePool and LpPool. */
#ifndef SMELT_OPS_POOL_H
#define SMELT_OPS_POOL_H

#include "ops/window.h"

typedef struct PoolAttrs {
    WindowAttrs window;
    int64_t ceil_mode, storage_order, count_include_pad, p;
} PoolAttrs;

#endif
