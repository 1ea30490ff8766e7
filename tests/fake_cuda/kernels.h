/* What the fake driver's kernels do, and what they need of it. */
#ifndef SMELT_TESTS_FAKE_CUDA_KERNELS_H
#define SMELT_TESTS_FAKE_CUDA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define DRIVER __attribute__((visibility("default")))

enum { FAKE_ILLEGAL_ADDRESS = 700 };

typedef struct FakeMap { /* a tensor map */
    uint64_t memory, extents[5], strides[4];
    int32_t type;
    uint32_t rank;
    uint8_t unused[40];
} FakeMap;

typedef struct FakeFunction {
    const char *name;
    int parameters;
    int maps; /* how many of them are tensor maps, 0 or the first */
    int (*run)(const uint64_t *args, const FakeMap *map); /* 0, or FAKE_ILLEGAL_ADDRESS */
} FakeFunction;

const FakeFunction *fake_find_function(const char *name); /* NULL: there is none */

extern const int fake_fill;          /* what fresh memory holds */
extern const float fake_launch_time; /* milliseconds that each launch between two events adds */

/* Host address of device bytes that are all in one allocation; NULL: they are not. */
uint8_t *fake_device_bytes(unsigned long long pointer, size_t size);

#endif
