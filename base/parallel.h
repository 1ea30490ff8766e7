/* A fixed set of worker threads that split index ranges. One pool may serve one caller at a time. */
#ifndef SMELT_BASE_PARALLEL_H
#define SMELT_BASE_PARALLEL_H

#include "base/memory.h"
#include "base/status.h"

typedef struct ThreadPool ThreadPool;

/* threads counts the caller; 0 = the cores this process may use; 1 starts no thread. */
Status thread_pool_create(int threads, Allocator *allocator, ThreadPool **out, Diag *diag);
void thread_pool_destroy(ThreadPool *pool);
int thread_pool_size(const ThreadPool *pool); /* NULL: 1 */

/* body handles [first, last) on thread `worker` (0 .. size-1). */
typedef void (*ParallelBody)(void *context, int64_t first, int64_t last, int worker);

/* Runs body over [0, count) in pieces of about grain indices (>= 1) or more; returns when all are done.
 * Pieces are the same for the same count, grain and pool size. Runs inline when pool is NULL or one piece is
 * enough. */
void parallel_for(ThreadPool *pool, int64_t count, int64_t grain, ParallelBody body, void *context);

#endif
