/* Steps around a convolution that may become one with it: what passes that make such blocks, or leave their
 * parts alone, share. */
#ifndef SMELT_PASSES_BLOCKS_H
#define SMELT_PASSES_BLOCKS_H

#include "passes/pass.h"

enum { CONV_BLOCK_NODES = 24, CONV_BLOCK_STEPS = 4 };

/* A convolution in front, what follows it, and where the step stands in its block. */
typedef struct BlockStep {
    NodeId anchor;
    ValueId result; /* the one that leaves it */
    int32_t first, count;
} BlockStep;

typedef enum BlockPlace {
    BLOCK_FRONT,
    BLOCK_MIDDLE,
    BLOCK_SHORTCUT, /* a convolution of the first one's input, whose result the last step adds to its own */
    BLOCK_BEHIND
} BlockPlace;

/* Steps of which the others read no more than the result. Of one that there is not count is 0. */
typedef struct ConvBlock {
    BlockStep steps[CONV_BLOCK_STEPS];
    int32_t node_count;
    NodeId nodes[CONV_BLOCK_NODES]; /* of all of them, in an order in which they can stand */
    /* The ways to compute them: as they are, and the steps from first to last as one. */
    int32_t way_count;
    BlockPlace first[MOST_WAYS], last[MOST_WAYS];
    Way ways[MOST_WAYS];
} ConvBlock;

/* The block around a convolution with windows. Ways are all of it, and of a depthwise convolution two steps
 * alone; false: there are none. The ways point into *out. */
bool conv_block_find(const Graph *graph, const UseTable *uses, NodeId middle, ConvBlock *out);
/* Whether the convolution is the shortcut of a block that the target does best as one step, with values
 * channels-last. */
bool conv_block_takes_shortcut(PassCtx *ctx, const UseTable *uses, NodeId node);

#endif
