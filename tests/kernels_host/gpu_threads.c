/* Threads are fibers. */
#undef _FORTIFY_SOURCE /* whose longjmp knows one stack */
#include "tests/kernels_host/gpu_threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK = 256 << 10, POISON = 0xff /* what no copy has filled is no number */ };

typedef struct Barrier {
    uint32_t count, generation;
} Barrier;

typedef struct Fiber {
    struct Fiber *next; /* that is free */
    jmp_buf at;
    ucontext_t begin;
    bool begun;
} Fiber;

typedef struct Thread {
    Fiber *fiber; /* NULL: has not begun, or is done */
    const uint32_t *word;
    uint32_t mask, value, cluster_generation;
} Thread;

GpuPlace threadIdx, blockIdx, blockDim, gridDim;

static const GpuLaunch *launched;
static Thread threads[MOST_THREADS];
static void *given[MOST_THREADS];
static unsigned current, begun, alive[GPU_BLOCKS],
    first_block; /* alive: threads of a block that are not done */
static bool backwards, pauses;
static Barrier block_barriers[GPU_BLOCKS], some_barriers[GPU_BLOCKS],
    group_barriers[GPU_BLOCKS][BLOCK_WARPGROUPS], warp_barriers[MOST_THREADS / WARP],
    cluster_barriers[GPU_BLOCKS], grid_barrier;
static char *dynamic[GPU_BLOCKS];
static Fiber *free_fibers, *running;
static jmp_buf scheduler;
static uint64_t chance;

void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "thread %u of block %u, %u, %u: ", threadIdx.x, blockIdx.x, blockIdx.y, blockIdx.z);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

unsigned own_thread(void) {
    return current;
}

unsigned thread_total(void) {
    return launched->threads * launched->together;
}

bool coin(void) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (chance >> 40 & 1) != 0;
}

/* -- one thread after the other -- */

unsigned own_block(void) {
    return current / launched->threads;
}

static void enter(unsigned thread) {
    current = thread;
    threadIdx.x = thread % launched->threads;
    blockIdx.x = first_block + own_block();
}

static unsigned in_order(unsigned number) {
    return backwards ? thread_total() - 1 - number : number;
}

/* To the scheduler, until the fiber is resumed. */
static void leave(void) {
    if (_setjmp(running->at) == 0) _longjmp(scheduler, 1);
}

/* Threads that never wait share a fiber. */
static void run_threads(void) {
    for (;;) {
        launched->kernel[own_block()](launched->args);
        threads[current].fiber = NULL;
        --alive[own_block()];
        if (begun < thread_total()) {
            enter(in_order(begun++));
            threads[current].fiber = running;
            continue;
        }
        running->next = free_fibers;
        free_fibers = running;
        leave();
    }
}

static bool __attribute__((noinline)) make_context(ucontext_t *context, char *stack) {
    if (getcontext(context) != 0) return false;
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = STACK;
    makecontext(context, run_threads, 0);
    return true;
}

static Fiber *take_fiber(void) {
    Fiber *fiber = free_fibers;
    if (fiber != NULL) {
        free_fibers = fiber->next;
        return fiber;
    }
    fiber = calloc(1, sizeof *fiber);
    char *stack =
        mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fiber == NULL || stack == MAP_FAILED || !make_context(&fiber->begin, stack))
        fail("no memory for a thread");
    return fiber;
}

static void resume(unsigned thread, Fiber *fiber) {
    enter(thread);
    threads[thread].fiber = running = fiber;
    if (_setjmp(scheduler) != 0) return;
    if (fiber->begun) _longjmp(fiber->at, 1);
    fiber->begun = true;
    setcontext(&fiber->begin);
}

void wait_while(const uint32_t *word, uint32_t mask, uint32_t value) {
    Thread *own = &threads[current];
    if ((*word & mask) != value) return;
    own->word = word;
    own->mask = mask;
    own->value = value;
    leave();
}

void may_pause(void) {
    static const uint32_t never = 0;
    if (pauses) wait_while(&never, 0, 0);
}

static bool run_ready(void) {
    bool any = false;
    pauses = coin();
    for (unsigned i = 0; i < thread_total(); ++i) {
        const Thread *thread = &threads[in_order(i)];
        if (thread->fiber == NULL || (thread->mask != 0 && (*thread->word & thread->mask) == thread->value))
            continue;
        resume(in_order(i), thread->fiber);
        any = true;
    }
    return any;
}

/* -- threads that meet -- */

static void meet(Barrier *barrier, unsigned expected) {
    const uint32_t generation = barrier->generation;
    if (++barrier->count == expected) {
        barrier->count = 0;
        ++barrier->generation;
    } else {
        wait_while(&barrier->generation, ~0u, generation);
    }
}

void gpu_wait_for_block(void) {
    meet(&block_barriers[own_block()], launched->threads);
}

void gpu_wait_for_threads(unsigned count) {
    meet(&some_barriers[own_block()], count);
}

void gpu_wait_for_warpgroup(void) {
    meet(&group_barriers[own_block()][threadIdx.x / WARPGROUP], WARPGROUP);
}

/* The first thread of the own warp, its lanes, and the barrier that they share. */
static unsigned warp_first(void) {
    return own_block() * launched->threads + threadIdx.x / WARP * WARP;
}

static unsigned warp_lanes(void) {
    const unsigned rest = launched->threads - threadIdx.x / WARP * WARP;
    return rest < WARP ? rest : WARP;
}

static Barrier *warp_barrier(void) {
    const unsigned warps = (launched->threads + WARP - 1) / WARP;
    return &warp_barriers[own_block() * warps + threadIdx.x / WARP];
}

void gpu_wait_for_warp(void) {
    meet(warp_barrier(), warp_lanes());
}

void together(void *mine, void (*work)(void *const *lanes, unsigned count)) {
    given[current] = mine;
    if (warp_barrier()->count + 1 == warp_lanes()) work(&given[warp_first()], warp_lanes());
    gpu_wait_for_warp();
}

typedef struct Exchange {
    uint64_t value, result;
    unsigned from;
} Exchange;

static void exchange(void *const *lanes, unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
        Exchange *own = lanes[i];
        own->result = ((const Exchange *)lanes[own->from < count ? own->from : i])->value;
    }
}

uint64_t gpu_exchange(uint64_t own, unsigned lane) {
    Exchange mine = {.value = own, .from = lane};
    together(&mine, exchange);
    return mine.result;
}

/* -- clusters -- */

unsigned gpu_cluster_rank(void) {
    return own_block() % launched->cluster;
}

static Barrier *cluster_barrier(void) {
    return &cluster_barriers[own_block() / launched->cluster];
}

void gpu_cluster_arrive(void) {
    Barrier *barrier = cluster_barrier();
    threads[current].cluster_generation = barrier->generation;
    if (++barrier->count < launched->threads * launched->cluster) return;
    barrier->count = 0;
    ++barrier->generation;
}

void gpu_cluster_wait(void) {
    wait_while(&cluster_barrier()->generation, ~0u, threads[current].cluster_generation);
}

void gpu_grid_meet(void) {
    if (launched->together != gridDim.x * gridDim.y * gridDim.z)
        fail("a meeting of blocks that are not together");
    meet(&grid_barrier, launched->together);
}

/* -- shared memory -- */

/* Numbers of what is not dynamic: an address beyond all dynamic memory and the distance from the code's data.
 */
static const unsigned static_memory = 0x10000000;

void *gpu_shared_memory(unsigned address) {
    return shared_at(address, 1);
}

unsigned gpu_shared_address(const void *memory) {
    const char *at = memory;
    return static_memory + (unsigned)(int)(at - launched->data[own_block()]);
}

void *shared_of(unsigned rank, unsigned address, unsigned bytes) {
    const unsigned block = own_block() - gpu_cluster_rank() + rank;
    if (rank >= launched->cluster || alive[block] == 0) fail("block %u of the cluster is not there", rank);
    if (address >= static_memory / 2)
        return (char *)(uintptr_t)launched->data[block] + (int)(address - static_memory);
    if (address < GPU_DYNAMIC || address + bytes > GPU_DYNAMIC + launched->shared_bytes)
        fail("address 0x%x is not in the %u bytes of shared memory from 0x%x on", address,
             launched->shared_bytes, GPU_DYNAMIC);
    return dynamic[block] + address;
}

void *shared_at(unsigned address, unsigned bytes) {
    return shared_of(gpu_cluster_rank(), address, bytes);
}

float gpu_get_from(unsigned address, unsigned rank) {
    float x;
    memcpy(&x, shared_of(rank, address, sizeof x), sizeof x);
    return x;
}

void gpu_put_to(unsigned address, unsigned rank, float x) {
    memcpy(shared_of(rank, address, sizeof x), &x, sizeof x);
}

void gpu_put(unsigned address, float x) {
    memcpy(shared_at(address, sizeof x), &x, sizeof x);
}

const float *gpu_get(unsigned address) {
    if (address % 16 != 0) fail("address 0x%x of four numbers", address);
    return shared_at(address, 16);
}

/* -- launches -- */

static bool any_alive(void) {
    unsigned count = 0;
    for (unsigned i = 0; i < launched->together; ++i) count += alive[i];
    return count > 0;
}

static void run_together(void) {
    const unsigned count = thread_total();
    memset(threads, 0, count * sizeof *threads);
    memset(block_barriers, 0, sizeof block_barriers);
    memset(some_barriers, 0, sizeof some_barriers);
    memset(group_barriers, 0, sizeof group_barriers);
    memset(warp_barriers, 0, (count / WARP + GPU_BLOCKS) * sizeof *warp_barriers);
    memset(cluster_barriers, 0, sizeof cluster_barriers);
    grid_barrier = (Barrier){0};
    for (unsigned i = 0; i < launched->together; ++i) {
        memset(dynamic[i] + GPU_DYNAMIC, POISON, launched->shared_bytes);
        alive[i] = launched->threads;
    }
    copies_begin();
    groups_begin();
    begun = 0;
    while (begun < count) resume(in_order(begun++), take_fiber());
    while (any_alive()) {
        const bool ran = run_ready();
        if (!engine_runs(!ran) && !ran) fail("threads wait for each other forever");
    }
    backwards = !backwards;
}

void gpu_run(const GpuLaunch *launch) {
    launched = launch;
    chance = 1;
    backwards = false;
    if (launch->threads * launch->together > MOST_THREADS || launch->together > GPU_BLOCKS ||
        launch->shared_bytes > GPU_SHARED || launch->grid[0] % launch->together != 0)
        fail("%u threads, %u bytes of shared memory, %u of %u blocks in a cluster", launch->threads,
             launch->shared_bytes, launch->cluster, launch->grid[0]);
    for (unsigned i = 0; i < launch->together; ++i) {
        if (dynamic[i] == NULL) dynamic[i] = malloc(GPU_DYNAMIC + GPU_SHARED);
        if (dynamic[i] == NULL) fail("no memory");
    }
    gridDim = (GpuPlace){launch->grid[0], launch->grid[1], launch->grid[2]};
    blockDim = (GpuPlace){launch->threads, 1, 1};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (first_block = 0; first_block < gridDim.x; first_block += launch->together) run_together();
}
