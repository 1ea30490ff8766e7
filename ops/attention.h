/* Attention: what its inference and its kernel share. */
#ifndef SMELT_OPS_ATTENTION_H
#define SMELT_OPS_ATTENTION_H

#include "ops/op.h"

typedef struct AttentionAttrs {
    bool causal, has_scale;
    int64_t q_heads, kv_heads; /* 0: not given */
    int64_t output_mode;       /* the stage of the scores that output 3 shows */
    float softcap, scale;
} AttentionAttrs;

/* RotaryEmbedding. */
typedef struct RotaryAttrs {
    int64_t heads, dim; /* 0: not given */
    bool interleaved;
} RotaryAttrs;

enum { ATTENTION_MASK = 3, ATTENTION_PAST_KEY, ATTENTION_PAST_VALUE, ATTENTION_VALID };

#endif
