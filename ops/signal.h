/* Attribute structs of the signal operators. */
#ifndef SMELT_OPS_SIGNAL_H
#define SMELT_OPS_SIGNAL_H

#include "ops/op.h"

typedef struct DftAttrs {
    bool inverse, one_sided;
} DftAttrs;

typedef struct StftAttrs {
    bool one_sided;
} StftAttrs;

/* HannWindow, HammingWindow, BlackmanWindow; MelWeightMatrix (periodic unused) */
typedef struct SignalWindowAttrs {
    DType dtype;
    bool periodic;
} SignalWindowAttrs;

#endif
