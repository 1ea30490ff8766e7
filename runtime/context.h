/* The state of one user of an engine: shapes, memory and threads. */
#ifndef SMELT_RUNTIME_CONTEXT_H
#define SMELT_RUNTIME_CONTEXT_H

#include "runtime/engine.h"

/* Memory that is kept between runs and grows when needed. */
typedef struct OwnMemory {
    void *data;
    size_t capacity;
} OwnMemory;

/* What a run needs to know of a value beside its tensor. */
typedef struct ValueState {
    bool known;     /* its dims are, since shapes were set */
    int64_t offset; /* in the arena, of values in buffers */
    OwnMemory own;
    OwnMemory other; /* of a body's parameter: what it was last time, which may lie in what it gets next */
} ValueState;

typedef struct OpState {
    const Tensor **inputs; /* NULL where omitted; into the context's tensors */
    Tensor **outputs;
    bool late;  /* some output's dims are known only when it runs */
    bool check; /* dims are known, but only while it runs can inference confirm them or its inputs */
    int32_t chain_length; /* pointwise operators from here on that run block by block; 0: none */
    int64_t chain_count;  /* elements of each of their results */
    OwnMemory scratch;    /* of control flow: apart from the scratch that the operators of its bodies share */
} OpState;

typedef struct BindingState {
    bool has_shape; /* inputs: set, or exact in the plan */
    int32_t rank;
    int64_t dims[SMELT_MAX_RANK];
    void *memory; /* of the caller during a run, or NULL */
    size_t size;  /* of memory, bytes; SIZE_MAX where the caller states none */
    OwnMemory own;
    const void *result; /* outputs, after a run */
    size_t result_size;
} BindingState;

typedef struct StepTime {
    int64_t runs;
    double microseconds;
    const char *origins; /* in the context's arena, NULL until asked for */
} StepTime;

typedef struct CudaContext CudaContext;

struct SmeltContext {
    const SmeltEngine *engine;
    const Plan *plan;
    Allocator allocator;
    Arena arena;         /* tables of the context's lifetime */
    Arena prepare_arena; /* of one preparation */
    Arena late_arena;    /* of one operator during a run */
    ThreadPool *pool;
    Host host;
    OwnMemory scratch, buffers;
    uint8_t *host_arena;     /* the buffers where host kernels find them; NULL: none do */
    int64_t *symbols;        /* values; -1 for late ones */
    Tensor *tensors;         /* per value */
    ValueState *values;      /* per value */
    OpState *ops;            /* per operator */
    BindingState *bindings;  /* per binding */
    int64_t *buffer_offsets; /* in the arena, per buffer */
    int64_t
        *host_offsets; /* in host_arena; of a CPU plan the same, of a GPU plan -1 where no host step looks */
    int64_t *buffer_sizes;
    int32_t *same;     /* per value, while shapes are set: another one that shows the same data, or itself */
    CudaContext *cuda; /* NULL: a CPU plan */
    bool prepared, ran, profiling;
    StepTime *times; /* per step */
};

/* Makes at least size bytes available, not initialised; what was there is lost when it grows. */
Status own_reserve(SmeltContext *context, OwnMemory *own, size_t size, Diag *diag);
/* The same for memory that may grow often, which keeps what is there. */
Status own_grow(SmeltContext *context, OwnMemory *own, size_t size, Diag *diag);

/* -- prepare.c: once per set of shapes -- */

/* Offsets of buffers that share memory where they are not alive at the same time: all of them, or those
 * marked in `wanted`; the others get -1. Bytes of the whole in *total. */
Status pack_buffers(SmeltContext *context, const bool *wanted, int64_t *offsets, int64_t *total, Diag *diag);

/* Symbols, shapes, layout, scratch and chains for the inputs' shapes. */
Status context_prepare(SmeltContext *context, Diag *diag);

/* -- shapes.c -- */

/* Infers every operator's outputs for the inputs' shapes, completes the tensors' dims where the plan left
 * them late, and refuses a plan that states other dims than inference finds. Sets late and check. */
Status infer_all(SmeltContext *context, Diag *diag);
/* The same for one operator during a run, with its inputs' data: gives late outputs dims and memory where
 * inference finds them. */
Status infer_late(SmeltContext *context, int32_t op, Diag *diag);

/* -- parts.c -- */

/* Refuses a plan where a part of an operand (is_part) lies anywhere but in its place. Values have their
 * offsets. */
Status check_parts(SmeltContext *context, int32_t op, Diag *diag);

/* -- overlap.c -- */

Status start_same_data(SmeltContext *context, Diag *diag);
void note_same_data(SmeltContext *context, int32_t a, int32_t b);
/* Refuses a plan where a value is written over another one of its buffer that is still needed. Values have
 * their offsets, and what is the same data has been noted. */
Status check_tenants(SmeltContext *context, Diag *diag);

/* -- execute.c -- */

Status execute_plan(SmeltContext *context, Diag *diag);
/* One host step. */
Status execute_step(SmeltContext *context, int32_t step, Diag *diag);
/* Copies output `binding` from its tensor to the caller's memory, unless it is there. */
Status deliver_result(SmeltContext *context, int32_t binding, Diag *diag);
/* Microseconds of a clock that only goes forward. */
double clock_microseconds(void);
/* A call of an operator's kernel or scratch function on the context's tensors. */
KernelCtx kernel_context(SmeltContext *context, int32_t op, Diag *diag);
/* Gives a value whose dims were late its dims, and memory: the caller's or the context's. */
Status place_late(SmeltContext *context, int32_t value, int32_t rank, const int64_t *dims, Diag *diag);

/* -- chain.c: pointwise operators of one step, block by block -- */

/* Finds the chains of a step whose shapes are known. */
void find_chains(SmeltContext *context, const PlanStep *step);
void run_chain(SmeltContext *context, int32_t op);

#endif
