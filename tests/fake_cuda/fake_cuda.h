/* A CUDA driver over host memory, for tests of the runtime where there is no GPU.
 *
 * Work on a stream happens as late as the driver's rules allow: when somebody waits for it. So whoever reads
 * a result too early, or overwrites what a copy has yet to read, gets wrong numbers. A graph's nodes come as
 * late as what depends on them allows. Device pointers are
 * useless to the host, and every access is checked against what is allocated. */
#ifndef SMELT_TESTS_FAKE_CUDA_H
#define SMELT_TESTS_FAKE_CUDA_H

#include <stdint.h>

typedef enum FakeNumber {
    FAKE_COMPUTE_CAPABILITY, /* settings */
    FAKE_DRIVER_VERSION,
    FAKE_DEVICES,
    FAKE_MEMORY,      /* bytes of the device */
    FAKE_FAIL_LAUNCH, /* n > 0: the n-th launch from now on is an illegal address, as all calls after it */
    FAKE_FAIL_EVENT,  /* n > 0: the n-th event from now on is not made */
    FAKE_MAX_THREADS, /* that a kernel allows */
    FAKE_MOST_BLOCKS, /* of a kernel that run at one time */
    FAKE_LAUNCHES,    /* counters: kernels that ran */
    FAKE_COOPERATIVE, /* of these, cooperative ones */
    FAKE_GRAPH_LAUNCHES,
    FAKE_CAPTURES,
    FAKE_REORDERED, /* nodes of graphs that came before one that was captured earlier */
    FAKE_LIVE_GRAPHS,
    FAKE_ALLOCATIONS,  /* ever made, on the device and pinned */
    FAKE_LIVE_BYTES,   /* on the device */
    FAKE_LIVE_OBJECTS, /* allocations, streams, events, modules, graphs, retained contexts */
    FAKE_WAITS,        /* for streams, events and contexts */
    FAKE_COPIES,
    FAKE_MAPS, /* tensor maps ever made */
    FAKE_NUMBERS
} FakeNumber;

/* In the library: exported beside the driver's functions. */
int64_t fake_get(FakeNumber which);
void fake_set(FakeNumber which, int64_t value);
/* Settings to their defaults and counters to 0, but for what lives. */
void fake_reset(void);

/* Kernels by entry: fake_add(out, a, b, count), fake_scale(out, a, count, factor), fake_sum_scratch(out, a,
 * scratch, count): through scratch memory, out[i] = a[i] + a[count - 1 - i], fake_read_map(map, out, count):
 * elements of a tensor map one behind the other. All of float. Any bytes are a cubin. */

#endif
