#include "tests/fake_cuda/kernels.h"

#include <string.h>

static float *floats(uint64_t pointer, uint64_t count) {
    if (count > SIZE_MAX / sizeof(float)) return NULL;
    return (float *)(void *)fake_device_bytes(pointer, (size_t)count * sizeof(float));
}

static int kernel_add(const uint64_t *args) {
    float *out = floats(args[0], args[3]), *a = floats(args[1], args[3]), *b = floats(args[2], args[3]);
    if (out == NULL || a == NULL || b == NULL) return FAKE_ILLEGAL_ADDRESS;
    for (uint64_t i = 0; i < args[3]; ++i) out[i] = a[i] + b[i];
    return 0;
}

static int kernel_scale(const uint64_t *args) {
    float *out = floats(args[0], args[2]), *a = floats(args[1], args[2]);
    if (out == NULL || a == NULL) return FAKE_ILLEGAL_ADDRESS;
    for (uint64_t i = 0; i < args[2]; ++i) out[i] = a[i] * (float)(int64_t)args[3];
    return 0;
}

static int kernel_sum_scratch(const uint64_t *args) {
    float *out = floats(args[0], args[3]), *a = floats(args[1], args[3]), *scratch = floats(args[2], args[3]);
    if (out == NULL || a == NULL || scratch == NULL) return FAKE_ILLEGAL_ADDRESS;
    for (uint64_t i = 0; i < args[3]; ++i) scratch[i] = a[args[3] - 1 - i];
    for (uint64_t i = 0; i < args[3]; ++i) out[i] = a[i] + scratch[i];
    return 0;
}

const FakeFunction *fake_find_function(const char *name) {
    static const FakeFunction functions[] = {{"fake_add", 4, kernel_add},
                                             {"fake_scale", 4, kernel_scale},
                                             {"fake_sum_scratch", 4, kernel_sum_scratch}};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i)
        if (strcmp(functions[i].name, name) == 0) return &functions[i];
    return NULL;
}
