/* GPU plans: what the engine and a context hold on the device. */
#ifndef SMELT_RUNTIME_CUDA_H
#define SMELT_RUNTIME_CUDA_H

#include "runtime/context.h"
#include "runtime/cuda_api.h"
#include "runtime/smelt_runtime.h"

/* -- cuda_engine.c -- */

typedef struct CudaKernel {
    CudaHandle module, function;
} CudaKernel;

struct CudaEngine {
    CudaApi api;
    int device;
    CudaHandle context;
    bool owns_context; /* the primary context is retained */
    SmeltDevice info;
    bool kernels_wait; /* for those in front of them, so that they may be launched early */
    CudaPointer weights;
    CudaKernel *kernels;            /* per kernel of the plan */
    int32_t *together;              /* per launch whose blocks run together: how many can */
    struct LibraryCalls *libraries; /* libraries.h; NULL: the plan calls none */
};

/* The driver and a GPU's context, without a plan. Close it in either case. */
Status cuda_device_open(CudaEngine *cuda, const SmeltEngineOptions *options, Diag *diag);
void cuda_device_close(CudaEngine *cuda);
/* Chooses the device, checks that the plan is for it, and uploads kernels and weights. */
Status cuda_engine_open(SmeltEngine *engine, const SmeltEngineOptions *options, Diag *diag);
void cuda_engine_close(SmeltEngine *engine); /* accepts any state */

/* Between the two the engine's CUDA context is the calling thread's current one. */
Status cuda_enter(CudaEngine *cuda, Diag *diag);
void cuda_leave(CudaEngine *cuda);

/* -- cuda_memory.c -- */

/* Memory on the device, or of the host and pinned, that grows when needed and loses what was there. */
typedef struct DeviceMemory {
    CudaPointer data;
    size_t capacity;
} DeviceMemory;

Status device_reserve(CudaEngine *cuda, DeviceMemory *memory, size_t size, const char *what, Diag *diag);
void device_release(CudaEngine *cuda, DeviceMemory *memory);
Status pinned_reserve(CudaEngine *cuda, OwnMemory *memory, size_t size, Diag *diag);
void pinned_release(CudaEngine *cuda, OwnMemory *memory);

/* -- the context -- */

/* A copy of a value between device and host, beside a host step. */
typedef struct Move {
    int32_t value;
    bool only_enqueue; /* smelt_context_run has inputs on the host already and takes results there */
    int32_t next;      /* of the same step and direction; -1: the last */
} Move;

typedef enum StretchKind { STRETCH_LAUNCHES, STRETCH_HOST, STRETCH_LATE } StretchKind;

/* Steps of program 0 that run without a wait in between: launches in one CUDA graph, one host step, or one
 * step on the device whose sizes depend on data. */
typedef struct Stretch {
    StretchKind kind;
    int32_t step_first, step_count, launch_count;
} Stretch;

/* One launch with this context's numbers. */
typedef struct LaunchState {
    unsigned grid[3];
    bool skipped; /* its grid is empty */
    void **parameters;
} LaunchState;

enum { GRAPH_LIMIT = 8, RUN_MARKS = 4, BRANCH_LIMIT = 4 };

/* Steps [first, end), so many times. */
typedef struct StepRange {
    int32_t first, end, repeats;
} StepRange;

/* CUDA graphs of all stretches for one tuple of shapes and bindings' memory. */
typedef struct GraphSet {
    int64_t *symbols;      /* per symbol */
    CudaPointer *bindings; /* per binding */
    CudaHandle *graphs;    /* per stretch, NULL: none yet */
    uint64_t last_use;     /* 0: the set is free */
} GraphSet;

typedef struct CudaBinding {
    CudaPointer memory;  /* during a run */
    size_t size;         /* of it; SIZE_MAX: not stated */
    DeviceMemory device; /* for smelt_context_run */
    OwnMemory host;      /* pinned: what host steps and smelt_context_run see */
    bool on_host;        /* host steps read or write it */
} CudaBinding;

#define NO_MAP (~(CudaPointer)0)

/* A value's memory on the device where its size depends on data, unless it is known beforehand and bound. */
typedef struct LateValue {
    bool is_late;
    DeviceMemory memory;
} LateValue;

typedef struct LateStep {
    bool is_late; /* on the device, with operands or numbers that depend on data */
    int32_t symbol_count;
    int32_t *symbols; /* that it binds, in the order in which it leaves them in scratch memory */
} LateStep;

struct CudaContext {
    CudaEngine *engine;
    CudaHandle stream; /* of smelt_context_run, and to capture on */
    CudaHandle
        branches[BRANCH_LIMIT];  /* streams of graphs' branches while they are captured; the first has none */
    CudaHandle staged;           /* event: copies to the device have read the host's memory */
    bool staging;                /* staged has been recorded */
    CudaHandle marks[RUN_MARKS]; /* events of timing: start, inputs there, computed, outputs there */
    struct CudaProfile *profile; /* NULL until there is one */
    char failure[256];           /* first CUDA error of a run, after which nothing runs */
    Arena arena;                 /* of one preparation */
    DeviceMemory own;            /* arena and scratch */
    CudaPointer workspace;       /* own's, or the caller's */
    size_t workspace_size;
    bool caller_workspace;
    int64_t arena_bytes, scratch_bytes;                 /* that these shapes need */
    OwnMemory mirror;                                   /* host memory of the buffers that host steps touch */
    bool *buffer_on_host;                               /* per buffer */
    CudaBinding *bindings;                              /* per binding */
    uint64_t *arguments;                                /* per argument: what the kernel gets */
    int32_t *binding_arguments, binding_argument_count; /* those that change with the bindings' memory */
    CudaMap *maps;                                      /* per map of the plan */
    CudaPointer
        *map_places; /* the memory that each is of; 0: it is not made yet; NO_MAP: of a skipped launch */
    int32_t *binding_views, binding_view_count; /* operators whose result shows a binding's memory */
    LaunchState *launches;                      /* per launch */
    int32_t *root;                              /* per value: the value that it is a view of, or itself */
    bool *on_device; /* per root: its elements are there, after the last step of an enqueue */
    bool *on_host;
    Stretch *stretches;
    int32_t stretch_count;
    int32_t *downloads, *uploads; /* per step of program 0: the first of its moves, or -1 */
    Move *moves;
    int32_t move_count, move_capacity;
    LateValue *late_values; /* per value */
    LateStep *late_steps;   /* per step of program 0 */
    DeviceMemory late_scratch;
    OwnMemory counts; /* pinned: what a step has found */
    GraphSet graphs[GRAPH_LIMIT];
    uint64_t use_count;
    bool timing, running; /* running: in smelt_context_run */
    SmeltRunTimes times;
};

Status cuda_context_create(SmeltContext *context, const SmeltContextOptions *options, Diag *diag);
void cuda_context_destroy(SmeltContext *context); /* accepts any state */

/* Where a value lies on the device for the bindings of this run; the value has a place there. */
CudaPointer cuda_place(const SmeltContext *context, int32_t value);

/* -- cuda_prepare.c -- */

/* While memory is laid out: total bytes of the arena; host memory for the buffers that host steps touch. */
Status cuda_lay_out(SmeltContext *context, int64_t total, Diag *diag);
/* Once shapes and memory are known: launches, stretches, moves, workspace. */
Status cuda_prepare(SmeltContext *context, Diag *diag);
/* Grid and arguments of a launch for the symbols as they are, with scratch memory of so many bytes. */
Status evaluate_launch(SmeltContext *context, int32_t index, CudaPointer scratch, int64_t scratch_bytes,
                       Diag *diag);

/* -- cuda_late.c -- */

Status late_create(SmeltContext *context, Diag *diag);
void late_destroy(SmeltContext *context); /* accepts any state */
/* Before a run: late symbols have no value but where inference has found one. */
Status late_begin(SmeltContext *context, Diag *diag);
/* Behind a step on the host: binds the late symbols that its results show. */
Status late_bind_host_step(SmeltContext *context, int32_t step, Diag *diag);
/* A late value's memory on the device, and on the host, for the dims of its tensor. */
Status late_reserve(SmeltContext *context, int32_t value, Diag *diag);
Status late_on_host(SmeltContext *context, int32_t value, Diag *diag);
/* A late step on the device: launches, waits for the sizes that it finds, launches the rest. */
Status late_run(SmeltContext *context, int32_t step, CudaHandle stream, Diag *diag);

/* -- cuda_map.c -- */

/* Makes the map that argument number `index` is, for where its value lies now, unless it is of that place
 * already. Fails where it would reach beyond the value. */
Status make_map(SmeltContext *context, int32_t index, Diag *diag);

/* -- cuda_moves.c -- */

/* What each host step needs from the device and gives back. */
Status plan_moves(SmeltContext *context, Diag *diag);

/* -- cuda_graph.c -- */

/* The graphs for these shapes and bindings where they have been seen before. NULL: they are new, and noted in
 * the place of the tuple that was used longest ago. */
GraphSet *graphs_find(SmeltContext *context);
void graphs_clear(SmeltContext *context);
/* A launch whose grid and arguments are there. joins: it waits for more than what is in front in the stream.
 */
Status launch_one(SmeltContext *context, int32_t index, CudaHandle stream, bool joins, Diag *diag);
Status launch_steps(SmeltContext *context, StepRange range, CudaHandle stream, Diag *diag);
/* The same as a graph, on the context's own stream, where nothing runs. False where none came of it: another
 * thread that loads or unloads an engine synchronises with the device, which breaks a capture and harms
 * nothing else. */
bool capture_steps(SmeltContext *context, StepRange range, CudaHandle *executable);
/* Whether its launches are enough for a graph to gain something. */
bool stretch_has_graph(const Stretch *stretch);
/* The launches of stretch number `stretch`: as a graph of set, captured when it is new, or one by one where
 * set is NULL or a graph gains nothing. */
Status launch_graph(SmeltContext *context, GraphSet *set, int32_t stretch, CudaHandle stream, Diag *diag);

/* -- cuda_branches.c -- */

/* Which steps of a graph run side by side. */
typedef struct BranchPlan {
    struct BranchStep *steps; /* those that launch something, in the plan's order */
    int32_t count;
    int32_t tail[BRANCH_LIMIT]; /* of each branch its last one; -1: it is empty */
} BranchPlan;

/* Divides the steps of a range among branches, such that each runs behind all whose results or memory it
 * takes. Lives in arena. */
Status branches_find(const SmeltContext *context, StepRange range, Arena *arena, BranchPlan *out, Diag *diag);
/* Their launches, once, on a stream that captures and on streams of the context's that join it. */
Status branches_launch(SmeltContext *context, BranchPlan *plan, CudaHandle stream, Diag *diag);
/* Once the capture has ended. */
void branches_release(const SmeltContext *context, BranchPlan *plan);

/* -- cuda_run.c -- */

/* The context is prepared; cuda_run's bindings hold host memory. A CUDA error makes all later calls fail. */
Status cuda_run(SmeltContext *context, Diag *diag);
Status cuda_enqueue(SmeltContext *context, CudaHandle stream, void *const *buffers, const size_t *sizes,
                    Diag *diag);

/* -- cuda_profile.c -- */

typedef struct CudaProfile CudaProfile;

/* Makes what profiling needs, or forgets what it has measured. */
Status profile_create(SmeltContext *context, Diag *diag);
void profile_destroy(SmeltContext *context); /* accepts any state */
/* Of a profiled run: before its first event, once memory is bound; instead of each stretch on the device; and
 * at its end, which waits for it. */
void profile_begin(SmeltContext *context);
Status profile_stretch(SmeltContext *context, int32_t stretch, CudaHandle stream, Diag *diag);
Status profile_collect(SmeltContext *context, CudaHandle stream, Diag *diag);
/* Of a step on the device: what it adds to a run, the median of so many; others are left as they are. */
void profile_step(const SmeltContext *context, int32_t step, int64_t *runs, double *microseconds);
/* Microseconds from the start of the first stretch to that of its first step. */
double profile_start(const SmeltContext *context);

#endif
