/* Calls of NVIDIA's libraries, which plans have only where they were built with --tactics=+cublaslt or
 * +cudnn. What a call needs is made when the engine is loaded; a mutex keeps contexts apart, whose calls
 * share it. */
#ifndef SMELT_RUNTIME_LIBRARIES_H
#define SMELT_RUNTIME_LIBRARIES_H

#include <pthread.h>

#include "plan_format/library.h"
#include "runtime/cuda.h"

enum { CALL_OPERANDS = 3 + PLAN_CALL_AFTER };
typedef struct LibraryOpaque *LibraryObject; /* a handle or descriptor */

typedef struct CublasltWay { /* cublasLtMatmulHeuristicResult_t */
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} CublasltWay;

typedef struct Cublaslt {
#define CUBLASLT(name, symbol, parameters) int(*name) parameters;
#define CUDNN(name, symbol, parameters)
#include "runtime/libraries.def"
#undef CUBLASLT
#undef CUDNN
    LibraryObject handle;
} Cublaslt;

typedef struct Cudnn {
#define CUBLASLT(name, symbol, parameters)
#define CUDNN(name, symbol, parameters) int(*name) parameters;
#include "runtime/libraries.def"
#undef CUBLASLT
#undef CUDNN
    LibraryObject handle;
} Cudnn;

typedef struct CublasltCall {
    LibraryObject product, layouts[4]; /* of a, b, c and d, as the library calls them */
    int32_t matrix, vector;            /* operands that are added; -1: none */
    CublasltWay way;
} CublasltCall;

enum { CUDNN_OBJECTS = 64, CUDNN_WAYS = 32 };
typedef struct CudnnCall {
    LibraryObject objects[CUDNN_OBJECTS]; /* all that were made but the plan */
    int32_t object_count;
    LibraryObject plan;
} CudnnCall;

typedef struct LibraryCall {
    const PlanCall *call;
    const PlanOperand *operands;
    CublasltCall cublaslt;
    CudnnCall cudnn;
} LibraryCall;

typedef struct LibraryCalls {
    pthread_mutex_t lock;
    Library libraries[PLAN_LIBRARIES];
    Cublaslt cublaslt;
    Cudnn cudnn;
    LibraryCall *calls; /* per call of the plan; nothing in those that this GPU does not launch */
} LibraryCalls;

/* Opens the libraries that the plan's calls need and makes what they need; the engine's CUDA context is
 * current. WRONG_DEVICE: a library is missing or of another version than the plan was made with. */
Status libraries_open(SmeltEngine *engine, Diag *diag);
void libraries_close(SmeltEngine *engine); /* accepts any state */
/* Puts a launch that is a call into the stream. */
Status libraries_launch(const SmeltContext *context, int32_t launch, CudaHandle stream, Diag *diag);
/* OK for 0; else fails with the library's name and what. */
Status library_result(PlanLibrary library, int result, const char *what, Diag *diag);

/* One library each: pointers are those of the operands, then of the workspace. */
Status cublaslt_prepare(const Cublaslt *api, LibraryCall *call, Diag *diag);
Status cublaslt_run(const Cublaslt *api, const LibraryCall *call, const CudaPointer *pointers,
                    CudaHandle stream, Diag *diag);
void cublaslt_release(const Cublaslt *api, LibraryCall *call); /* accepts any state */
Status cudnn_prepare(const Cudnn *api, LibraryCall *call, Diag *diag);
Status cudnn_run(const Cudnn *api, const LibraryCall *call, const CudaPointer *pointers, CudaHandle stream,
                 Diag *diag);
void cudnn_release(const Cudnn *api, LibraryCall *call); /* accepts any state */

#endif
