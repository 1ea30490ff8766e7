/* If, Loop, Scan and BeamSearch: attributes. What their outputs are only their bodies tell; so inference here
 * checks the inputs and sets nothing, and passes/infer_control.c finds the types. */
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

enum { BEAM_MAX_LENGTH = 4096 }; /* tokens of a result: the default, and the most */

typedef struct BeamAttrs {
    int32_t decoder;                  /* the body */
    int32_t layers, heads, head_size; /* of its states [2, rows, heads, length, head_size] */
    int32_t eos, pad;                 /* tokens */
    int32_t ngram;                    /* 0: any may come again */
    int64_t vocab;                    /* 0: as many as the decoder gives */
    bool early_stopping;
} BeamAttrs;

/* The body that an attribute names. */
Status control_body(const ParseCtx *ctx, const char *name, int32_t *out);
/* Input `input`, where it is there, is one element of this type. */
Status control_scalar(InferCtx *ctx, int32_t input, DType dtype);

#endif
