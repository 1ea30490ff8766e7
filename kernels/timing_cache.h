/* How long tactics and configs take for problems, as measured on one kind of GPU: a text file that people and
 * version control can read.
 *
 *   smelt-timings 1
 *   gpu NVIDIA H200 sm_90a driver 13.0
 *   PROBLEM <tab> TACTIC.VERSION <tab> NUMBER,NUMBER <tab> MICROSECONDS
 *   ...
 *   end ROWS HASH
 *
 * Rows are sorted, no two are for the same problem, tactic and config; HASH (XXH3 of all before the last
 * line) shows that nothing was cut off or edited. */
#ifndef SMELT_KERNELS_TIMING_CACHE_H
#define SMELT_KERNELS_TIMING_CACHE_H

#include "kernels/tactic.h"

typedef struct Timing {
    const char *problem,
        *tactic; /* tactic with its version: "conv_wgmma.2"; of several problems: "A.1+B.2" */
    Config config;
    double microseconds; /* > 0 */
} Timing;

typedef struct TimingCache {
    Arena *arena;
    const char *gpu; /* "NVIDIA H200 sm_90 driver 13.0": times of another one mean nothing */
    int32_t count, capacity;
    Timing *rows; /* sorted */
    struct TimingCache *
        estimates; /* of problems that it has no rows of (kernels/interpolate.h); NULL: none. Never written */
} TimingCache;

/* An empty one. NULL: out of memory. */
TimingCache *timing_cache_create(Arena *arena, const char *gpu);
/* Fails with BAD_DATA where the file is no whole cache of this version, naming the line; IO where it cannot
 * be read. */
Status timing_cache_read(const char *path, Arena *arena, TimingCache **out, Diag *diag);
Status timing_cache_write(const TimingCache *cache, const char *path, Diag *diag);
/* Adds a row or lowers the time of the one that is there. Problems with control characters are left out.
 * False: out of memory. */
bool timing_cache_add(TimingCache *cache, const Timing *row);
/* The same, but that the time is the new one whatever it was. */
bool timing_cache_set(TimingCache *cache, const Timing *row);
/* All rows of `from`, which must be for the same GPU (USAGE). */
Status timing_cache_merge(TimingCache *to, const TimingCache *from, Diag *diag);
/* The row, or NULL. */
const Timing *timing_cache_find(const TimingCache *cache, const char *problem, const Tactic *tactic,
                                const Config *config);
/* Where the rows of the problem begin, or would. */
int32_t timing_cache_rows(const TimingCache *cache, const char *problem);
/* Some row of the problem is there. */
bool timing_cache_knows(const TimingCache *cache, const char *problem);
/* Of tactics, in versions, that this smelt has. */
bool timing_is_current(const Timing *row);
/* "conv_wgmma.2" in arena; NULL: out of memory. */
const char *timing_tactic_name(Arena *arena, const Tactic *tactic);

#endif
