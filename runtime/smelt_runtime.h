/* smelt's runtime: loads a plan and runs it. This header stands alone; link libsmelt_runtime.
 *
 *     smelt_engine_load("model.plan", NULL, &engine, &error);
 *     smelt_context_create(engine, NULL, &context, &error);
 *     smelt_context_run(context, buffers, &error);        one pointer per binding
 *
 * Every function that can fail returns 0 (SMELT_OK) or a SmeltStatus and fills *error, which may be NULL.
 * Nothing prints, exits or aborts. A handle is for one thread at a time; an engine may be shared by contexts
 * on any threads and must outlive them. Destroy functions accept NULL. */
#ifndef SMELT_RUNTIME_H
#define SMELT_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SMELT_API __attribute__((visibility("default")))

typedef enum SmeltStatus {
    SMELT_OK = 0,
    SMELT_USAGE = 1,
    SMELT_BAD_MODEL = 2,
    SMELT_UNSUPPORTED = 3,
    SMELT_BAD_PLAN = 4,
    SMELT_BAD_DATA = 5,
    SMELT_IO = 6,
    SMELT_WRONG_DEVICE = 7,
    SMELT_NO_MEMORY = 8,
    SMELT_CUDA_FAILED = 9,
    SMELT_INTERNAL = 10
} SmeltStatus;

typedef struct SmeltError {
    int status;
    char message[1536]; /* one line, and a second "hint: ..." line where there is advice */
} SmeltError;

enum { SMELT_RANK_LIMIT = 8 };

/* Element types have ONNX's TensorProto numbers: 1 = float32, 2 = uint8, 7 = int64, 10 = float16, ... */
typedef struct SmeltBinding {
    const char *name; /* the engine's */
    int is_output;
    int dtype;
    int rank;
    int64_t dims[SMELT_RANK_LIMIT]; /* -1 where dynamic */
    /* What the plan was built for; all equal where exact. opt_dims is the usual shape: what a profile gives
     * as its optimum, else 1. INT64_MAX: no stated maximum. */
    int64_t min_dims[SMELT_RANK_LIMIT], opt_dims[SMELT_RANK_LIMIT], max_dims[SMELT_RANK_LIMIT];
} SmeltBinding;

typedef struct SmeltEngine SmeltEngine;
typedef struct SmeltContext SmeltContext;

/* Where a GPU plan runs. Zero-initialise for the defaults. */
typedef struct SmeltEngineOptions {
    int device;               /* CUDA's number of the GPU, whose primary context is used */
    int use_current_context;  /* not 0: the CUDA context that is current on the calling thread instead */
    const char *cuda_library; /* NULL: libcuda.so.1 (or what $SMELT_CUDA_LIBRARY names) */
} SmeltEngineOptions;

/* Zero-initialise for the defaults. */
typedef struct SmeltContextOptions {
    int threads;          /* of host steps; 0: the cores this process may use */
    int caller_workspace; /* not 0: device memory comes from smelt_context_set_workspace */
} SmeltContextOptions;

/* Maps the file and verifies it once. A GPU plan's weights and kernels are put on the GPU; SMELT_WRONG_DEVICE
 * where there is none or the plan is not for it. options may be NULL. */
SMELT_API int smelt_engine_load(const char *path, const SmeltEngineOptions *options, SmeltEngine **engine,
                                SmeltError *error);
/* The bytes, aligned to 64, must stay until the engine is destroyed. */
SMELT_API int smelt_engine_load_memory(const void *bytes, size_t size, const SmeltEngineOptions *options,
                                       SmeltEngine **engine, SmeltError *error);
SMELT_API void smelt_engine_destroy(SmeltEngine *engine);

typedef struct SmeltDevice {
    char name[128];
    int compute_capability; /* 10 * major + minor */
    int multiprocessors;
    size_t memory;      /* bytes */
    double bandwidth;   /* of memory, bytes per second; 0: the driver does not say */
    int driver_version; /* of CUDA that the driver supports: 12040 */
    int clock;          /* of the multiprocessors at most, kHz; 0: the driver does not say */
    size_t l2;          /* bytes of L2; 0: the driver does not say */
} SmeltDevice;
/* GPU number index, without making a context on it. Fails with SMELT_WRONG_DEVICE where there is none. */
SMELT_API int smelt_device(int index, SmeltDevice *device, SmeltError *error);
/* The engine's; 0 in compute_capability for a CPU plan. */
SMELT_API int smelt_engine_device(const SmeltEngine *engine, SmeltDevice *device, SmeltError *error);

/* Bindings are numbered: inputs first, then outputs, each in the model's order. */
SMELT_API int smelt_engine_binding_count(const SmeltEngine *engine);
SMELT_API int smelt_engine_binding(const SmeltEngine *engine, int index, SmeltBinding *binding,
                                   SmeltError *error);
/* -1 when there is none of that name. The input, where an output has the same one. */
SMELT_API int smelt_engine_find_binding(const SmeltEngine *engine, const char *name);

SMELT_API int smelt_context_create(SmeltEngine *engine, const SmeltContextOptions *options,
                                   SmeltContext **context, SmeltError *error);
SMELT_API void smelt_context_destroy(SmeltContext *context);

/* Inputs with dynamic dimensions need a shape before a run; it stays until changed. */
SMELT_API int smelt_context_set_shape(SmeltContext *context, int input, int rank, const int64_t *dims,
                                      SmeltError *error);
/* Lays memory out for the shapes that are set (a run does it otherwise); after it, runs allocate nothing
 * unless sizes depend on data. */
SMELT_API int smelt_context_prepare(SmeltContext *context, SmeltError *error);
/* Of an output: its shape for the shapes that are set; -1 in dims where only a run tells, and after a run all
 * of it. */
SMELT_API int smelt_context_shape(SmeltContext *context, int binding, int *rank, int64_t *dims,
                                  SmeltError *error);
/* Bytes of memory for intermediate tensors, of a GPU plan on the GPU; known once the context is prepared. */
SMELT_API size_t smelt_context_workspace(const SmeltContext *context);
/* Device memory of the caller for intermediate tensors of a context that was created for it: aligned to 256
 * bytes, not used by anything else while a run is under way. What smelt_context_workspace says must fit. */
SMELT_API int smelt_context_set_workspace(SmeltContext *context, void *memory, size_t size,
                                          SmeltError *error);

/* Runs with host memory: buffers[i] holds binding i's elements, row-major. An output's pointer may be NULL:
 * the context then keeps the result, and smelt_context_output gives it. A caller's buffer for an output whose
 * size depends on data is not filled beyond sizes[i] bytes: the run fails with SMELT_BAD_DATA naming the size
 * it needs. sizes may be NULL where all sizes are known. */
SMELT_API int smelt_context_run(SmeltContext *context, void *const *buffers, const size_t *sizes,
                                SmeltError *error);
/* Of a GPU plan: runs with device memory on a CUDA stream (CUstream or cudaStream_t; NULL: the default one)
 * of the engine's CUDA context. buffers[i] is binding i's, aligned to 16 bytes; sizes as for
 * smelt_context_run. Returns before the work is done, and neither allocates nor waits, unless shapes are new,
 * or the plan has steps on the host (then it waits for their inputs). A context's runs must follow each
 * other: on one stream, or ordered by the caller. */
SMELT_API int smelt_context_enqueue(SmeltContext *context, void *stream, void *const *buffers,
                                    const size_t *sizes, SmeltError *error);
/* The result of the last run: memory of the caller or of the context, valid until its next run. */
SMELT_API int smelt_context_output(SmeltContext *context, int binding, const void **data, size_t *size,
                                   SmeltError *error);

/* Of the last smelt_context_run of a GPU plan while timing was on, in microseconds. */
typedef struct SmeltRunTimes {
    double enqueue; /* host time to hand the work over */
    double copy_in, compute, copy_out;
} SmeltRunTimes;
/* Turns the measuring of whole runs on or off; it costs a few microseconds each. */
SMELT_API int smelt_context_timing(SmeltContext *context, int enable, SmeltError *error);
SMELT_API int smelt_context_run_times(const SmeltContext *context, SmeltRunTimes *times, SmeltError *error);

/* Per-step time of the following runs. On the host each run measures each step. On a GPU each run measures
 * the time until one of the steps is done, and the next run that until the next one, so that the run is
 * otherwise like any: a step's time is what it adds, and all of them are known after as many runs as there
 * are steps and one more, as medians of their first 32 measurements. Such a run ends when its work is done.
 */
typedef struct SmeltStepProfile {
    const char *name;    /* "conv+bias+relu" */
    const char *origins; /* ONNX nodes behind it, separated by newlines */
    const char *choice;  /* "conv_wgmma 128,64 (measured, 21.8 us)", or why it runs on the host; "" untold */
    int64_t runs;        /* that measured it */
    double microseconds; /* of one run */
    int64_t bytes;       /* of its inputs and outputs for the shapes that are set: the least it must move */
    double flops;        /* additions, multiplications, functions that it asks for (ops/cost.h counts) */
    int launches;        /* of kernels on a GPU; 0: it runs on the host, or only renames values */
    int library_calls;   /* of these launches, calls of NVIDIA's libraries */
    int matrix_bits;     /* of the elements that a convolution or matrix product in it multiplies; 0: there is
                            none; 19 stands for f32 rounded to TF32 */
    int operators;       /* that it is made of */
} SmeltStepProfile;
SMELT_API int smelt_context_profile(SmeltContext *context, int enable, SmeltError *error);
SMELT_API int smelt_context_step_count(const SmeltContext *context);
SMELT_API int smelt_context_step(SmeltContext *context, int index, SmeltStepProfile *profile,
                                 SmeltError *error);
/* Of a profiled GPU plan: microseconds that its first CUDA graph takes until its first kernel starts, which
 * are in no step's time. */
SMELT_API double smelt_context_profile_start(const SmeltContext *context);
/* An operator of a step: the ONNX nodes behind it, separated by newlines, and its part of the step's flops.
 */
SMELT_API int smelt_context_step_operator(SmeltContext *context, int index, int number, const char **origins,
                                          double *flops, SmeltError *error);

#ifdef __cplusplus
}
#endif

#endif
