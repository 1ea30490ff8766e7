/* Translation units to device code: NVRTC in parallel, with a cache on disk.
 *
 * A compilation depends on the unit's text, the embedded headers that it includes, NVRTC's version, the
 * options and the architecture, and on nothing else: the same input gives the same bytes, and its hash names
 * the cache's entry. */
#ifndef SMELT_KERNELS_JIT_H
#define SMELT_KERNELS_JIT_H

#include "base/log.h"
#include "base/memory.h"
#include "kernels/tactic.h"

typedef struct JitOptions {
    const char *cache_folder; /* NULL: $XDG_CACHE_HOME/smelt or ~/.cache/smelt; "": no cache */
    const char *dump_folder;  /* receives kernels/<entry>.cu, .ptx, .cubin and .sass; NULL: nothing */
    int threads;              /* 0: the cores that this process may use */
    const Log *log;
    /* After each unit, one call at a time but from any thread. May be NULL. */
    void (*progress)(void *user, int32_t done, int32_t total);
    void *progress_user;
} JitOptions;

typedef struct JitRequest {
    const char *entry, *source; /* as in KernelLaunch */
    const Device *device;
    const char *work;  /* problem, tactic and config, for messages */
    const void *cubin; /* result, in the arena */
    size_t cubin_size;
    bool cached; /* it came from the cache */
} JitRequest;

typedef struct Jit Jit;

/* Opens NVRTC; options are copied but for what they point to. Fails with WRONG_DEVICE where there is none. */
Status jit_create(const JitOptions *options, Arena *arena, Jit **out, Diag *diag);
void jit_destroy(Jit *jit); /* NULL is ignored */

/* "NVRTC 13.0 (libnvrtc.so.13)" */
const char *jit_version(const Jit *jit);
int jit_major(const Jit *jit); /* 13 */

/* Compiles all. The first request that fails is reported: problem, architecture, the compiler's first lines,
 * and where the source has been written. Cubins are in arena. */
Status jit_compile(Jit *jit, JitRequest *requests, int32_t count, Arena *arena, Diag *diag);

#endif
