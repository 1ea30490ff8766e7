/* If, Loop and Scan: attributes. What their outputs are only their bodies tell; so inference here checks the
 * inputs and sets nothing, and passes/infer_control.c finds the types. */
#ifndef SMELT_OPS_CONTROL_H
#define SMELT_OPS_CONTROL_H

#include "ops/op.h"

typedef struct IfAttrs {
    int32_t then_body, else_body; /* as run_body wants them */
} IfAttrs;

typedef struct LoopAttrs {
    int32_t body;
    int32_t state_count;
} LoopAttrs;

/* How a scan input is cut, or a scan output put together. */
typedef struct ScanAxis {
    int64_t axis; /* as in the model, possibly negative; of the whole tensor */
    bool reverse;
} ScanAxis;

typedef struct ScanAttrs {
    int32_t body;
    int32_t state_count, input_count, output_count; /* of scan inputs and outputs */
    const ScanAxis *inputs, *outputs;
} ScanAttrs;

#endif
