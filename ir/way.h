/* Ways to compute the same nodes: as steps one behind the other, which passes and targets tell apart by the
 * time they take. */
#ifndef SMELT_IR_WAY_H
#define SMELT_IR_WAY_H

#include "ir/graph.h"

enum { MOST_WAYS = 8, MOST_WAY_STEPS = 12 };

typedef struct Way {
    const NodeId *nodes; /* of all steps in order; they need not be neighbours in their block yet */
    int32_t step_count;
    int32_t ends[MOST_WAY_STEPS];   /* of each step, behind its last node */
    NodeId anchors[MOST_WAY_STEPS]; /* of each; NONE: as its nodes' regions say */
    int32_t shared; /* leading steps that all the ways of a question begin with, for what they leave to those
                       behind; models do not count them */
    /* What a target says of it. */
    const char *why;     /* why some step cannot be done, in words that hold until it is asked again; NULL */
    double microseconds; /* 0: nobody can tell */
} Way;

/* Adds a step of the next `count` nodes. False: too many steps. */
static inline bool way_add(Way *way, int32_t count, NodeId anchor) {
    if (way->step_count == MOST_WAY_STEPS) return false;
    way->ends[way->step_count] = (way->step_count > 0 ? way->ends[way->step_count - 1] : 0) + count;
    way->anchors[way->step_count++] = anchor;
    return true;
}

/* The step's nodes. */
static inline const NodeId *way_step(const Way *way, int32_t step, int32_t *count) {
    int32_t first = step > 0 ? way->ends[step - 1] : 0;
    *count = way->ends[step] - first;
    return way->nodes + first;
}

#endif
