/* What the fake driver's files share. */
#ifndef SMELT_TESTS_FAKE_CUDA_DRIVER_H
#define SMELT_TESTS_FAKE_CUDA_DRIVER_H

#include <stdbool.h>

#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/kernels.h"

enum { COOPERATIVE = 2, SERIALIZATION = 6 }; /* attributes of launches */

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    TOO_LARGE = 720, /* CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE */
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    NOT_FOUND = 500,
    CAPTURE_UNJOINED = 904,
    CAPTURE_ISOLATION = 905,
    MOST_PARAMETERS = 8,
    NODE_WORDS = 8 /* of 64 nodes each: what a graph may have */
};

typedef unsigned long long Pointer;

extern int64_t fake_numbers[FAKE_NUMBERS];
extern int fake_sticky;              /* the error that every call gives after a fault */
extern _Thread_local int fake_depth; /* contexts that the thread has pushed */

/* Around whatever touches the driver's state. */
void fake_enter(void);
int fake_leave(int result); /* the result */

void *fake_new_object(size_t size); /* NULL: out of memory */
int fake_delete_object(void *object);

/* -- streams.c -- */

typedef struct Nodes { /* of a graph that is captured, by number */
    uint64_t bits[NODE_WORDS];
} Nodes;

typedef struct Event {
    uint64_t recorded, done; /* numbers of the last record asked for, and of the last that has come */
    int64_t launches;        /* that there were by then */
    struct Stream *stream;
    struct Stream *origin; /* of the capture in which it was recorded; NULL: in none */
    Nodes behind;          /* what it is behind of */
} Event;

typedef enum WorkKind { WORK_COPY_IN, WORK_COPY_OUT, WORK_COPY, WORK_LAUNCH, WORK_EVENT, WORK_WAIT } WorkKind;

typedef struct Work {
    struct Work *next;
    WorkKind kind;
    Pointer to, from;
    void *host_to;
    const void *host_from;
    void *staged; /* what a copy reads, freed with it */
    size_t size;
    const FakeFunction *function;
    uint64_t args[MOST_PARAMETERS];
    FakeMap map; /* of functions whose first parameter is one */
    Event *event;
    uint64_t record;
    Nodes behind; /* in a graph: what must be done before */
} Work;

int fake_do_work(const Work *work);
/* Work at the end of a stream, or of the graph that it captures. */
int fake_submit(void *stream, Work work);
int fake_drain_all(void);

#endif
