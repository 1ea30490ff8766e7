/* Attention's operands as arguments of device code. */
#ifndef SMELT_KERNELS_ATTENTION_TEXT_H
#define SMELT_KERNELS_ATTENTION_TEXT_H

#include "kernels/window_text.h"

/* Queries, keys or values. */
typedef struct HeadsText {
    ValueId value, past; /* past: NONE, or what comes before in the positions */
    Dim heads, length, size, past_length;
    bool packed; /* [batch, position, head * feature], else [batch, head, position, feature] */
} HeadsText;

/* input: of the anchor, 0 to 2, which must be there, as must be its past. */
HeadsText attention_heads(const Problem *problem, int32_t input);
/* Why no kernel for Attention takes the problem, or NULL. */
const char *attention_refuses(const Problem *problem);
/* Strides of a mask that broadcasts to [batch, head, query, key], 0 where it is repeated. */
void attention_mask_strides(const Problem *problem, Dim strides[4]);
/* "Mask<float>{p3, {0, 0, 16, 1}, 16}", "NoMask{}" */
const char *attention_mask_text(KernelWriter *w);
/* "AttentionRule<float>{0.125f, (float)0, false}"; size: of a head of the queries. */
const char *attention_rule_text(KernelWriter *w, const char *type, Dim size);

/* -- kernels with a block for each tile of queries of each head, as attention_tiles.cuh has them -- */

/* Why none of them takes the problem, or NULL. */
const char *attention_block_refuses(const Problem *problem);
/* Blocks of so many queries. */
Dim attention_block_count(const Problem *problem, int32_t queries);
/* Features that can be read with one access. */
int32_t attention_lanes(const Problem *problem, const HeadsText *heads);
/* Their arguments, from the queries to the epilogue (text). */
const char *attention_block_text(KernelWriter *w, const char *epilogue);
/* The same without queries, keys and values. */
const char *attention_rest_text(KernelWriter *w, const char *epilogue);
/* Of heads of 64 features of 16 bits: dimensions feature, position, head, batch and one of no account; a copy
 * is of so many positions of a head. */
KernelMap attention_map(const Problem *problem, const HeadsText *heads, int32_t positions);

#endif
