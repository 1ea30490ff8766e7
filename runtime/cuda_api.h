/* The CUDA driver, found by dlopen: the runtime needs neither CUDA's headers nor its libraries. */
#ifndef SMELT_RUNTIME_CUDA_API_H
#define SMELT_RUNTIME_CUDA_API_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct CudaObject *CudaHandle;  /* context, module, function, stream, event or graph */
typedef unsigned long long CudaPointer; /* device memory */

typedef struct CudaLaunchAttribute { /* CUlaunchAttribute */
    int id, padding;
    int value[16];
} CudaLaunchAttribute;
enum {
    CUDA_LAUNCH_COOPERATIVE = 2,       /* CU_LAUNCH_ATTRIBUTE_COOPERATIVE */
    CUDA_LAUNCH_CLUSTER_DIMENSION = 4, /* CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION */
    CUDA_LAUNCH_SERIALIZATION = 6      /* CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION */
};

typedef struct CudaLaunch { /* CUlaunchConfig */
    unsigned grid[3], block[3], shared_bytes;
    CudaHandle stream;
    CudaLaunchAttribute *attributes;
    unsigned attribute_count;
} CudaLaunch;

typedef struct CudaMap { /* CUtensorMap */
    _Alignas(64) uint8_t bytes[128];
} CudaMap;

/* Source: enumerations of the CUDA Driver API reference. */
enum {
    CUDA_MAP_U8 = 0,
    CUDA_MAP_F16 = 6,
    CUDA_MAP_BF16 = 9,
    CUDA_MAP_TF32 = 11,
    CUDA_MAP_SWIZZLE_32 = 1, /* 64: 2, 128: 3 */
    CUDA_MAP_PROMOTE_256 = 3,
    CUDA_SUCCESS = 0,
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_INSUFFICIENT_DRIVER = 35,
    CUDA_NO_DEVICE = 100,
    CUDA_NO_BINARY_FOR_GPU = 209,
    CUDA_DEVICE_CLOCK = 13, /* kHz */
    CUDA_DEVICE_MULTIPROCESSORS = 16,
    CUDA_DEVICE_MEMORY_CLOCK = 36, /* kHz */
    CUDA_DEVICE_MEMORY_WIDTH = 37, /* bits */
    CUDA_DEVICE_L2 = 38,           /* bytes */
    CUDA_DEVICE_MAJOR = 75,
    CUDA_DEVICE_MINOR = 76,
    CUDA_FUNCTION_MAX_THREADS = 0,
    CUDA_FUNCTION_SHARED_STATIC = 1,
    CUDA_FUNCTION_MAX_DYNAMIC_SHARED = 8,
    CUDA_FUNCTION_CLUSTER_WIDTH = 11, /* that it was compiled for, 0: none */
    CUDA_STREAM_NON_BLOCKING = 1,
    CUDA_EVENT_DEFAULT = 0,
    CUDA_EVENT_NO_TIMING = 2,
    CUDA_PINNED_PORTABLE = 1,
    CUDA_CAPTURE_THREAD_LOCAL = 1,
    CUDA_LOWEST_DRIVER = 12000 /* 1000 * major + 10 * minor */
};

typedef struct CudaApi {
    void *library;
    char path[256];
    int version; /* of CUDA that the driver supports: 12040 */
#define CUDA(name, symbol, parameters)          int(*name) parameters;
#define CUDA_OPTIONAL(name, symbol, parameters) int(*name) parameters;
#include "runtime/cuda_api.def"
#undef CUDA
#undef CUDA_OPTIONAL
} CudaApi;

/* Opens the driver and initialises it. path: the library; NULL: $SMELT_CUDA_LIBRARY, else libcuda.so.1.
 * WRONG_DEVICE: there is no driver, it is too old or finds no GPU. A library once opened stays loaded. */
Status cuda_api_open(const char *path, CudaApi *out, Diag *diag);

/* OK for CUDA_SUCCESS; else fails with what, and the driver's name and text for the error. */
Status cuda_result(const CudaApi *api, int result, Status status, const char *what, Diag *diag);

#endif
