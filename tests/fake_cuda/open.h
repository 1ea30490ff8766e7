/* The fake driver, opened by a test. */
#ifndef SMELT_TESTS_FAKE_CUDA_OPEN_H
#define SMELT_TESTS_FAKE_CUDA_OPEN_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "tests/fake_cuda/fake_cuda.h"

/* The fake's functions that tests call themselves. */
static struct Fake {
    int64_t (*get)(FakeNumber which);
    void (*set)(FakeNumber which, int64_t value);
    void (*reset)(void);
    int (*retain)(void **context, int device);
    int (*release)(int device);
    int (*push)(void *context);
    int (*pop)(void **context);
    int (*alloc)(unsigned long long *memory, size_t bytes);
    int (*free)(unsigned long long memory);
    int (*copy_in)(unsigned long long to, const void *from, size_t bytes);
    int (*copy_out)(void *to, unsigned long long from, size_t bytes, void *stream);
    int (*synchronize)(void);
} fake;

static inline bool fake_find(void *library, const char *name, void *function) {
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static inline bool open_fake(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    return library != NULL && fake_find(library, "fake_get", &fake.get) &&
           fake_find(library, "fake_set", &fake.set) && fake_find(library, "fake_reset", &fake.reset) &&
           fake_find(library, "cuDevicePrimaryCtxRetain", &fake.retain) &&
           fake_find(library, "cuDevicePrimaryCtxRelease_v2", &fake.release) &&
           fake_find(library, "cuCtxPushCurrent_v2", &fake.push) &&
           fake_find(library, "cuCtxPopCurrent_v2", &fake.pop) &&
           fake_find(library, "cuMemAlloc_v2", &fake.alloc) &&
           fake_find(library, "cuMemFree_v2", &fake.free) &&
           fake_find(library, "cuMemcpyHtoD_v2", &fake.copy_in) &&
           fake_find(library, "cuMemcpyDtoHAsync_v2", &fake.copy_out) &&
           fake_find(library, "cuCtxSynchronize", &fake.synchronize);
}

#endif
