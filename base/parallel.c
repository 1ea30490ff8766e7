#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/checked.h"

/* A job's pieces are handed out through one word: the job's number above, its pieces not yet taken below. A
 * thread that lowers the word by one owns a piece, and because no job begins before all pieces of the last
 * are done, the job's fields stay as they are until that piece is counted in `unfinished`. Workers that sleep
 * through a job are not waited for. */
enum {
    PIECE_BITS = 16,
    PIECES_PER_THREAD = 4, /* more pieces than threads, so that a late thread costs little */
    MAX_THREADS = 1024,
    SPIN_ROUNDS = 2000 /* tens of microseconds: about the gap between two operators */
};
#define PIECE_MASK (((uint64_t)1 << PIECE_BITS) - 1)
_Static_assert(MAX_THREADS *PIECES_PER_THREAD < (1 << PIECE_BITS), "pieces of a job fit their bits");

typedef struct Worker {
    ThreadPool *pool;
    pthread_t thread;
    int index;
} Worker;

struct ThreadPool {
    Allocator *allocator;
    int size, started; /* size counts the caller; started does not */
    int spin_rounds;
    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic int64_t unfinished; /* pieces whose body has not returned */
    _Atomic bool stopping;
    _Atomic int sleepers;
    _Atomic bool caller_sleeps;
    _Alignas(64) ParallelBody body;
    void *context;
    int64_t count, pieces;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    Worker workers[];
};

static void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* First index of a piece: pieces differ in length by at most one. */
static int64_t piece_start(const ThreadPool *pool, int64_t piece) {
    return pool->count / pool->pieces * piece + min_i64(piece, pool->count % pool->pieces);
}

static void finish_piece(ThreadPool *pool) {
    if (atomic_fetch_sub(&pool->unfinished, 1) != 1 || !atomic_load(&pool->caller_sleeps)) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

static bool work_waits(ThreadPool *pool) {
    return (atomic_load(&pool->ticket) & PIECE_MASK) != 0 || atomic_load(&pool->stopping);
}

static void run_pieces(ThreadPool *pool, int worker) {
    uint64_t ticket = atomic_load(&pool->ticket);
    while ((ticket & PIECE_MASK) != 0) {
        if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket - 1)) continue;
        int64_t piece = pool->pieces - (int64_t)(ticket & PIECE_MASK);
        pool->body(pool->context, piece_start(pool, piece), piece_start(pool, piece + 1), worker);
        finish_piece(pool);
        ticket = atomic_load(&pool->ticket);
    }
}

/* Spins a little, then sleeps, until there is work or the pool stops. */
static void wait_for_work(ThreadPool *pool) {
    for (int i = 0; i < pool->spin_rounds; ++i) {
        if (work_waits(pool)) return;
        cpu_relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!work_waits(pool)) pthread_cond_wait(&pool->work, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
    Worker *worker = argument;
    while (!atomic_load(&worker->pool->stopping)) {
        run_pieces(worker->pool, worker->index);
        wait_for_work(worker->pool);
    }
    return NULL;
}

static void wake_workers(ThreadPool *pool, int64_t wanted) {
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    if (wanted >= pool->size - 1) {
        pthread_cond_broadcast(&pool->work);
    } else {
        for (int64_t i = 0; i < wanted; ++i) pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_for_pieces(ThreadPool *pool) {
    for (int i = 0; i < pool->spin_rounds; ++i) {
        if (atomic_load(&pool->unfinished) == 0) return;
        cpu_relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->unfinished) != 0) pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

void parallel_for(ThreadPool *pool, int64_t count, int64_t grain, ParallelBody body, void *context) {
    if (count <= 0) return;
    int64_t pieces = count / max_i64(grain, 1);
    if (pool != NULL) pieces = min_i64(pieces, (int64_t)pool->size * PIECES_PER_THREAD);
    if (pool == NULL || pool->size == 1 || pieces <= 1) {
        body(context, 0, count, 0);
        return;
    }
    pool->body = body;
    pool->context = context;
    pool->count = count;
    pool->pieces = pieces;
    atomic_store(&pool->unfinished, pieces);
    uint64_t job = (atomic_load(&pool->ticket) >> PIECE_BITS) + 1;
    atomic_store(&pool->ticket, job << PIECE_BITS | (uint64_t)pieces);
    wake_workers(pool, pieces - 1);
    run_pieces(pool, 0);
    wait_for_pieces(pool);
}

int thread_pool_size(const ThreadPool *pool) {
    return pool == NULL ? 1 : pool->size;
}

static int usable_cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* Workers take no signals: those belong to the host program's own threads. */
static int start_workers(ThreadPool *pool) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = 0;
    while (error == 0 && pool->started < pool->size - 1) {
        Worker *worker = &pool->workers[pool->started];
        *worker = (Worker){.pool = pool, .index = pool->started + 1};
        error = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (error == 0) pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}

Status thread_pool_create(int threads, Allocator *allocator, ThreadPool **out, Diag *diag) {
    *out = NULL;
    if (threads < 0 || threads > MAX_THREADS) {
        return FAIL(diag, STATUS_USAGE, "%d threads: expected 0 to %d", threads, MAX_THREADS);
    }
    int cores = usable_cores();
    int size = threads > 0 ? threads : cores < MAX_THREADS ? cores : MAX_THREADS;
    ThreadPool *pool = mem_alloc(allocator, sizeof *pool + (size_t)size * sizeof(Worker));
    TRY_ALLOC(diag, pool);
    memset(pool, 0, sizeof *pool);
    pool->allocator = allocator;
    pool->size = size;
    pool->spin_rounds = size <= cores ? SPIN_ROUNDS : 0; /* spinning must not keep a core from a worker */
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    int error = start_workers(pool);
    if (error != 0) {
        thread_pool_destroy(pool);
        return FAIL(diag, STATUS_NO_MEMORY, "cannot start a thread: %s", strerror(error));
    }
    *out = pool;
    return STATUS_OK;
}

void thread_pool_destroy(ThreadPool *pool) {
    if (pool == NULL) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stopping, true);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->started; ++i) pthread_join(pool->workers[i].thread, NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    mem_free(pool->allocator, pool);
}
