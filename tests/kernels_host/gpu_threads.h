/* What the parts of the GPU know of each other. */
#ifndef SMELT_TESTS_KERNELS_HOST_GPU_THREADS_H
#define SMELT_TESTS_KERNELS_HOST_GPU_THREADS_H

#include "tests/kernels_host/gpu.h"

enum {
    WARP = 32,
    WARPGROUP = 128,
    BLOCK_WARPGROUPS = 8,
    MOST_THREADS = 4096 /* that run together */
};

/* The running thread, and its block, among those that run together. */
unsigned own_thread(void);
unsigned own_block(void);
unsigned thread_total(void);

/* Until (*word & mask) is something else; mask 0: until the others have had their turn. */
void wait_while(const uint32_t *word, uint32_t mask, uint32_t value);
/* By chance, for all threads alike: lets the others run first. */
void may_pause(void);
/* The last lane to come does the work of all: lanes[i] is what lane i gave. */
void together(void *mine, void (*work)(void *const *lanes, unsigned count));
bool coin(void);
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Of a block of the cluster, of the running thread's block. Dynamic shared memory is at GPU_DYNAMIC and
 * behind. */
void *shared_of(unsigned rank, unsigned address, unsigned bytes);
void *shared_at(unsigned address, unsigned bytes);
/* The place that swizzled tiles have a byte at: 16-byte parts exchanged among lines of `swizzle` bytes. */
static inline unsigned swizzled(unsigned address, unsigned swizzle) {
    return address ^ ((address >> 7 & (swizzle / 16 - 1)) << 4);
}

/* Copies by the engine that are due; all: one at least, where there is one. False: nothing was done. */
bool engine_runs(bool all);
void copies_begin(void); /* a block */
void groups_begin(void);

#endif
