/* Lays out buffers with lifetimes in one arena: the small planner that the compiler and the runtime share. */
#ifndef SMELT_BASE_PACK_H
#define SMELT_BASE_PACK_H

#include "base/memory.h"

typedef struct PackItem {
    int64_t size;        /* bytes, >= 0 */
    int32_t first, last; /* steps during which it is alive, inclusive, first <= last */
    int64_t offset;      /* out: multiple of alignment; 0 for size 0 */
} PackItem;

enum { PACK_SCRATCH = 3 }; /* numbers for each item */

/* Chooses offsets so that items alive at one step never overlap; deterministic: tries greedy orders (by size,
 * lifetime, both, first and last step) with two ways to choose a gap, then changes to the best of them, and
 * ends early where nothing can be better. The time is bounded: of thousands of items few layouts are tried.
 * scratch has PACK_SCRATCH * count numbers. Returns the arena size in bytes, a multiple of alignment, or -1
 * on overflow or for an item with size < 0 or first > last. Needs no allocation. Source: greedy-by-size
 * offset assignment of Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020. */
int64_t pack_items(PackItem *items, int32_t *scratch, int32_t count, int64_t alignment);

/* The largest sum of (aligned) sizes alive at one step before step_count: no layout can be smaller. -1 on
 * overflow. *peak (may be NULL) is the first such step, 0 where nothing is alive. scratch has 2 * count
 * numbers. */
int64_t pack_lower_bound(const PackItem *items, int32_t *scratch, int32_t count, int32_t step_count,
                         int64_t alignment, int32_t *peak);

#endif
