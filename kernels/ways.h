/* Which way to compute a region takes less time: its steps in sequence, as they follow each other in the
 * graph, not each alone. Times are rows of the timing cache:
 *
 *   steps: PROBLEM ; PROBLEM ; ... <tab> TACTIC.VERSION+TACTIC.VERSION+... <tab> <tab> MICROSECONDS
 *
 * with the tactics that did the steps; rows of tactics that are no more, or are newer now, do not count. */
#ifndef SMELT_KERNELS_WAYS_H
#define SMELT_KERNELS_WAYS_H

#include "ir/way.h"
#include "kernels/timing_cache.h"

/* A way that is to be timed. */
typedef struct WayTrial {
    const char *key; /* of its row */
    Graph *graph;    /* its steps alone (way_extract) */
} WayTrial;

/* Ways that are to be told apart: of the same nodes, with the same operands. */
typedef struct WayQuestion {
    int32_t count;
    WayTrial ways[MOST_WAYS];
} WayQuestion;

/* Who can measure here: puts rows into the cache that the target chooses by, as far as it can. */
typedef struct WayTimer {
    void (*measure)(void *user, const WayQuestion *questions, int32_t count);
    void *user;
} WayTimer;

/* The problem of its row, from those of its steps, in arena; NULL: out of memory. */
const char *way_key(const Problem *steps, int32_t count, Arena *arena);
/* Microseconds that the cache has of it; 0: none. */
double way_time(const TimingCache *timings, const char *key);
/* The row's tactics: what the steps of a way's graph, but for Reformats, are done by as the cache has their
 * times. In arena; NULL: out of memory, or some step by none. */
const char *way_tactics(const Graph *graph, const Device *device, const TimingCache *timings, Arena *arena);

#endif
