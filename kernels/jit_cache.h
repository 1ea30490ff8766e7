/* Compiled units on disk, by content hash. A cache is never a reason to fail: what cannot be read is
 * compiled, what cannot be written is lost. */
#ifndef SMELT_KERNELS_JIT_CACHE_H
#define SMELT_KERNELS_JIT_CACHE_H

#include "base/file.h"

typedef struct JitKey {
    uint64_t high, low;
} JitKey;

typedef struct JitCache {
    const char *folder; /* NULL: no cache */
} JitCache;

/* The folder of that name among smelt's caches: in `chosen`, or where it is NULL in $XDG_CACHE_HOME/smelt or
 * ~/.cache/smelt, made where it is not there. NULL: none can be, or chosen is "". */
const char *cache_folder(const char *chosen, const char *name, Arena *arena);
/* chosen as JitOptions.cache_folder; memory in arena. */
JitCache jit_cache_open(const char *chosen, Arena *arena);

/* Maps a whole entry; false when there is none or it is damaged. cubin points into *map, which the caller
 * unmaps. */
bool jit_cache_find(const JitCache *cache, JitKey key, FileMap *map, const void **cubin, size_t *size);
void jit_cache_add(const JitCache *cache, JitKey key, const void *cubin, size_t size);

/* Removes the entries unused for longest while the cache is over its limit of 1 GiB. */
void jit_cache_trim(const JitCache *cache, Arena *scratch);

#endif
