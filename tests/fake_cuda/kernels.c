#include "tests/fake_cuda/kernels.h"

#include <string.h>

static float *floats(uint64_t pointer, uint64_t count) {
    if (count > SIZE_MAX / sizeof(float)) return NULL;
    return (float *)(void *)fake_device_bytes(pointer, (size_t)count * sizeof(float));
}

static int kernel_add(const uint64_t *args, const FakeMap *map) {
    float *out = floats(args[0], args[3]), *a = floats(args[1], args[3]), *b = floats(args[2], args[3]);
    if (out == NULL || a == NULL || b == NULL) return FAKE_ILLEGAL_ADDRESS;
    (void)map;
    for (uint64_t i = 0; i < args[3]; ++i) out[i] = a[i] + b[i];
    return 0;
}

static int kernel_scale(const uint64_t *args, const FakeMap *map) {
    float *out = floats(args[0], args[2]), *a = floats(args[1], args[2]);
    if (out == NULL || a == NULL) return FAKE_ILLEGAL_ADDRESS;
    (void)map;
    for (uint64_t i = 0; i < args[2]; ++i) out[i] = a[i] * (float)(int64_t)args[3];
    return 0;
}

static int kernel_sum_scratch(const uint64_t *args, const FakeMap *map) {
    float *out = floats(args[0], args[3]), *a = floats(args[1], args[3]), *scratch = floats(args[2], args[3]);
    if (out == NULL || a == NULL || scratch == NULL) return FAKE_ILLEGAL_ADDRESS;
    (void)map;
    for (uint64_t i = 0; i < args[3]; ++i) scratch[i] = a[args[3] - 1 - i];
    for (uint64_t i = 0; i < args[3]; ++i) out[i] = a[i] + scratch[i];
    return 0;
}

static int64_t *integers(uint64_t pointer, uint64_t count) {
    if (count > SIZE_MAX / sizeof(int64_t)) return NULL;
    return (int64_t *)(void *)fake_device_bytes(pointer, (size_t)count * sizeof(int64_t));
}

/* counted, floats, how many, what to say too much */
static int kernel_count(const uint64_t *args, const FakeMap *map) {
    (void)map;
    int64_t *counted = integers(args[0], 1);
    float *a = floats(args[1], args[2]);
    if (counted == NULL || a == NULL) return FAKE_ILLEGAL_ADDRESS;
    *counted = (int64_t)args[3];
    for (uint64_t i = 0; i < args[2]; ++i) *counted += a[i] != 0;
    return 0;
}

/* rows and columns of what is not zero, floats in rows of 4, how many, how many are not zero */
static int kernel_where(const uint64_t *args, const FakeMap *map) {
    (void)map;
    int64_t *where = integers(args[0], 2 * args[3]);
    float *a = floats(args[1], args[2]);
    uint64_t found = 0;
    if (where == NULL || a == NULL) return FAKE_ILLEGAL_ADDRESS;
    for (uint64_t i = 0; i < args[2] && found < args[3]; ++i) {
        if (a[i] == 0) continue;
        where[found] = (int64_t)(i / 4);
        where[args[3] + found++] = (int64_t)(i % 4);
    }
    return 0;
}

static int kernel_add_integers(const uint64_t *args, const FakeMap *map) {
    int64_t *out = integers(args[0], args[3]), *a = integers(args[1], args[3]),
            *b = integers(args[2], args[3]);
    if (out == NULL || a == NULL || b == NULL) return FAKE_ILLEGAL_ADDRESS;
    (void)map;
    for (uint64_t i = 0; i < args[3]; ++i) out[i] = a[i] + b[i];
    return 0;
}

/* What a map shows, one element after the other. */
static int kernel_read_map(const uint64_t *args, const FakeMap *map) {
    uint64_t count = args[2];
    float *out = floats(args[1], count);
    if (out == NULL) return FAKE_ILLEGAL_ADDRESS;
    for (uint64_t i = 0; i < count; ++i) {
        uint64_t rest = i / map->extents[0], at = map->memory + i % map->extents[0] * sizeof(float);
        for (uint32_t d = 1; d < map->rank; ++d) {
            at += rest % map->extents[d] * map->strides[d - 1];
            rest /= map->extents[d];
        }
        const float *from = floats(at, 1);
        if (from == NULL) return FAKE_ILLEGAL_ADDRESS;
        out[i] = *from;
    }
    return 0;
}

const FakeFunction *fake_find_function(const char *name) {
    static const FakeFunction functions[] = {{"fake_add", 4, 0, kernel_add},
                                             {"fake_scale", 4, 0, kernel_scale},
                                             {"fake_sum_scratch", 4, 0, kernel_sum_scratch},
                                             {"fake_count", 4, 0, kernel_count},
                                             {"fake_where", 4, 0, kernel_where},
                                             {"fake_add_integers", 4, 0, kernel_add_integers},
                                             {"fake_read_map", 3, 1, kernel_read_map}};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i)
        if (strcmp(functions[i].name, name) == 0) return &functions[i];
    return NULL;
}

const int fake_fill = 0xdb;
const float fake_launch_time = 1e-2F;

DRIVER int cuFuncGetParamInfo(void *function, size_t index, size_t *offset, size_t *size) {
    enum { SUCCESS = 0, INVALID_VALUE = 1 };
    const FakeFunction *f = function;
    *offset = 8 * index;
    *size = (int)index < f->maps ? sizeof(FakeMap) : 8;
    return (int)index < f->parameters ? SUCCESS : INVALID_VALUE;
}
