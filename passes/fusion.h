/* A region as it grows: what the parts of vertical fusion share. */
#ifndef SMELT_PASSES_FUSION_H
#define SMELT_PASSES_FUSION_H

#include "ir/form.h"
#include "passes/pass.h"

enum {
    REGION_NODES = 24,
    MOST_SCATTERED = 1 << 18 /* elements stored far apart, 32 bytes of traffic each: what a launch costs */
};

typedef struct Member {
    NodeId node;
    int32_t stage; /* hot nodes: of one stage are those whose elements have one order; NONE: cold */
    bool in_front; /* cold: the anchor's input comes from it */
    int64_t times; /* cold: that an element is computed, over all of what reads it */
} Member;

typedef struct Fusion {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
    int32_t *order;         /* per node: position of its region's root; ties stand next to one another */
    bool has_anchor, pools; /* pools: behind the anchor */
    bool cut;               /* more of what is in front of the anchor could be pulled in, but for its cost */
    int32_t count, committed, stages;
    Member members[REGION_NODES]; /* the group that grows, its root first; the first `committed` ones stay */
} Fusion;

const Node *fusion_member(const Fusion *f, int32_t i);
/* The place in the group of a node, or of the node that makes a value; NONE: it is not in it. */
int32_t fusion_find(const Fusion *f, NodeId node);
int32_t fusion_find_producer(const Fusion *f, ValueId value);
/* Whether anything outside of the group uses the value. */
bool fusion_value_escapes(const Fusion *f, ValueId value);
/* Why a node may not be part of this region, but for what it is and reads; of any, but for what it reads;
 * NULL when it may. */
const char *fusion_place_refusal(const Fusion *f, NodeId id);
const char *fusion_node_refusal(const Fusion *f, NodeId id, NodeForm *form);

/* Makes a global pool's group squeeze-and-excite where that is what stands behind it; whether its region is.
 */
void fusion_squeeze(Fusion *f);
bool fusion_squeezes(const Fusion *f, NodeId pool);

/* "conv+bias+relu", in the graph's arena; NULL: out of memory. */
const char *region_name(const Graph *graph, const NodeId *nodes, int32_t count);

/* Pulls in what members read, and what that is computed from. */
void fusion_pull(Fusion *f);

#endif
