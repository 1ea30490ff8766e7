#include "tests/fake_cuda/driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 256 };

static const Pointer device_tag = 1ULL << 62; /* no host address has this bit */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
int64_t fake_numbers[FAKE_NUMBERS];
int fake_sticky;
static bool ready;
static char the_context; /* its address is the handle of the only context */
static _Thread_local void *current[16];
_Thread_local int fake_depth;

static void set_defaults(void) {
    fake_numbers[FAKE_COMPUTE_CAPABILITY] = 90;
    fake_numbers[FAKE_DRIVER_VERSION] = 13000;
    fake_numbers[FAKE_DEVICES] = 1;
    fake_numbers[FAKE_MEMORY] = 1 << 26;
    fake_numbers[FAKE_MAX_THREADS] = 1024;
    fake_numbers[FAKE_MOST_BLOCKS] = 4;
    fake_numbers[FAKE_FAIL_LAUNCH] = fake_numbers[FAKE_FAIL_EVENT] = 0;
    fake_sticky = SUCCESS;
    ready = true;
}

void fake_enter(void) {
    pthread_mutex_lock(&lock);
    if (!ready) set_defaults();
}

int fake_leave(int result) {
    pthread_mutex_unlock(&lock);
    return result;
}

DRIVER int64_t fake_get(FakeNumber which) {
    fake_enter();
    int64_t value = fake_numbers[which];
    fake_leave(0);
    return value;
}

DRIVER void fake_set(FakeNumber which, int64_t value) {
    fake_enter();
    fake_numbers[which] = value;
    fake_leave(0);
}

DRIVER void fake_reset(void) {
    fake_enter();
    set_defaults();
    fake_numbers[FAKE_LAUNCHES] = fake_numbers[FAKE_GRAPH_LAUNCHES] = fake_numbers[FAKE_CAPTURES] = 0;
    fake_numbers[FAKE_REORDERED] = fake_numbers[FAKE_COOPERATIVE] = 0;
    fake_numbers[FAKE_ALLOCATIONS] = fake_numbers[FAKE_WAITS] = fake_numbers[FAKE_COPIES] =
        fake_numbers[FAKE_MAPS] = 0;
    fake_leave(0);
}

/* -- memory -- */

typedef struct Allocation {
    struct Allocation *next;
    uint8_t *data;
    size_t size;
    bool pinned;
} Allocation;

static Allocation *allocations;

uint8_t *fake_device_bytes(Pointer pointer, size_t size) {
    if ((pointer & device_tag) == 0) return NULL;
    uintptr_t at = (uintptr_t)(pointer & ~device_tag);
    for (Allocation *a = allocations; a != NULL; a = a->next) {
        uintptr_t start = (uintptr_t)a->data;
        if (!a->pinned && at >= start && at - start <= a->size && size <= a->size - (at - start))
            return a->data + (at - start);
    }
    return NULL;
}

static int allocate(size_t size, bool pinned, uint8_t **out) {
    Allocation *a = malloc(sizeof *a);
    void *data = NULL;
    if (size == 0) return free(a), INVALID_VALUE;
    if (!pinned && (int64_t)size > fake_numbers[FAKE_MEMORY] - fake_numbers[FAKE_LIVE_BYTES])
        return free(a), OUT_OF_MEMORY;
    if (a == NULL || posix_memalign(&data, ALIGNMENT, size) != 0) return free(a), OUT_OF_MEMORY;
    memset(data, fake_fill, size);
    *a = (Allocation){allocations, data, size, pinned};
    allocations = a;
    fake_numbers[FAKE_ALLOCATIONS]++;
    fake_numbers[FAKE_LIVE_OBJECTS]++;
    if (!pinned) fake_numbers[FAKE_LIVE_BYTES] += (int64_t)size;
    *out = data;
    return SUCCESS;
}

static int release(uint8_t *data, bool pinned) {
    for (Allocation **link = &allocations; *link != NULL; link = &(*link)->next) {
        Allocation *a = *link;
        if (a->data != data || a->pinned != pinned) continue;
        *link = a->next;
        if (!pinned) fake_numbers[FAKE_LIVE_BYTES] -= (int64_t)a->size;
        fake_numbers[FAKE_LIVE_OBJECTS]--;
        free(a->data);
        free(a);
        return SUCCESS;
    }
    return INVALID_VALUE;
}

/* -- objects -- */

void *fake_new_object(size_t size) {
    void *object = calloc(1, size);
    if (object != NULL) fake_numbers[FAKE_LIVE_OBJECTS]++;
    return object;
}

int fake_delete_object(void *object) {
    if (object == NULL) return INVALID_VALUE;
    fake_numbers[FAKE_LIVE_OBJECTS]--;
    free(object);
    return SUCCESS;
}

/* -- the driver's functions -- */

DRIVER int cuInit(unsigned flags) {
    fake_enter();
    return fake_leave(flags != 0 ? INVALID_VALUE : fake_numbers[FAKE_DEVICES] == 0 ? NO_DEVICE : SUCCESS);
}

DRIVER int cuDriverGetVersion(int *version) {
    *version = (int)fake_get(FAKE_DRIVER_VERSION);
    return SUCCESS;
}

DRIVER int cuGetErrorName(int error, const char **text) {
    *text = error == FAKE_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS"
            : error == OUT_OF_MEMORY      ? "CUDA_ERROR_OUT_OF_MEMORY"
                                          : "CUDA_ERROR_FAKE";
    return SUCCESS;
}

DRIVER int cuGetErrorString(int error, const char **text) {
    *text = error == SUCCESS ? "no error" : "an error of the fake driver";
    return SUCCESS;
}

DRIVER int cuDeviceGetCount(int *count) {
    *count = (int)fake_get(FAKE_DEVICES);
    return SUCCESS;
}

DRIVER int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal < fake_get(FAKE_DEVICES) ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, (size_t)length, "Fake GPU %d", device);
    return SUCCESS;
}

DRIVER int cuDeviceGetAttribute(int *value, int attribute, int device) {
    enum { MULTIPROCESSORS = 16, MAJOR = 75, MINOR = 76 };
    int sm = (int)fake_get(FAKE_COMPUTE_CAPABILITY);
    *value = attribute == MAJOR             ? sm / 10
             : attribute == MINOR           ? sm % 10
             : attribute == MULTIPROCESSORS ? 1
                                            : 0;
    return device >= 0 ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = (size_t)fake_get(FAKE_MEMORY);
    return device >= 0 ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuDevicePrimaryCtxRetain(void **context, int device) {
    fake_enter();
    *context = &the_context;
    fake_numbers[FAKE_LIVE_OBJECTS]++;
    return fake_leave(device >= 0 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuDevicePrimaryCtxRelease_v2(int device) {
    fake_enter();
    fake_numbers[FAKE_LIVE_OBJECTS]--;
    return fake_leave(device >= 0 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuCtxPushCurrent_v2(void *context) {
    if (context != &the_context || fake_depth == (int)(sizeof current / sizeof current[0]))
        return INVALID_VALUE;
    current[fake_depth++] = context;
    return SUCCESS;
}

DRIVER int cuCtxPopCurrent_v2(void **context) {
    if (fake_depth == 0) return INVALID_VALUE;
    *context = current[--fake_depth];
    return SUCCESS;
}

DRIVER int cuCtxGetCurrent(void **context) {
    *context = fake_depth > 0 ? current[fake_depth - 1] : NULL;
    return SUCCESS;
}

DRIVER int cuCtxGetDevice(int *device) {
    *device = 0;
    return fake_depth > 0 ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuCtxSynchronize(void) {
    fake_enter();
    fake_numbers[FAKE_WAITS]++;
    return fake_leave(fake_depth > 0 ? fake_drain_all() : INVALID_VALUE);
}

DRIVER int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    fake_enter();
    *total = (size_t)fake_numbers[FAKE_MEMORY];
    *free_bytes = (size_t)(fake_numbers[FAKE_MEMORY] - fake_numbers[FAKE_LIVE_BYTES]);
    return fake_leave(SUCCESS);
}

DRIVER int cuMemAlloc_v2(Pointer *memory, size_t bytes) {
    uint8_t *data = NULL;
    fake_enter();
    int result = fake_depth == 0          ? INVALID_VALUE
                 : fake_sticky != SUCCESS ? fake_sticky
                                          : allocate(bytes, false, &data);
    *memory = (Pointer)(uintptr_t)data | device_tag;
    return fake_leave(result);
}

DRIVER int cuMemFree_v2(Pointer memory) {
    fake_enter();
    return fake_leave(release((uint8_t *)(uintptr_t)(memory & ~device_tag), false));
}

DRIVER int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    uint8_t *data = NULL;
    fake_enter();
    int result = fake_depth == 0 || flags > 7 ? INVALID_VALUE : allocate(bytes, true, &data);
    *memory = data;
    return fake_leave(result);
}

DRIVER int cuMemFreeHost(void *memory) {
    fake_enter();
    return fake_leave(release(memory, true));
}

/* Returns when the host's memory has been read, as the driver may: what is on the way arrives in the order of
 * the default stream, which streams that do not block do not wait for. */
DRIVER int cuMemcpyHtoD_v2(Pointer to, const void *from, size_t bytes) {
    fake_enter();
    void *staged = malloc(bytes + 1);
    if (staged == NULL) return fake_leave(OUT_OF_MEMORY);
    memcpy(staged, from, bytes);
    int result = fake_submit(
        NULL, (Work){.kind = WORK_COPY_IN, .to = to, .host_from = staged, .staged = staged, .size = bytes});
    if (result != SUCCESS) free(staged);
    return fake_leave(result);
}

DRIVER int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, void *stream) {
    fake_enter();
    return fake_leave(
        fake_submit(stream, (Work){.kind = WORK_COPY_IN, .to = to, .host_from = from, .size = bytes}));
}

DRIVER int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, void *stream) {
    fake_enter();
    return fake_leave(
        fake_submit(stream, (Work){.kind = WORK_COPY_OUT, .host_to = to, .from = from, .size = bytes}));
}

DRIVER int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void *stream) {
    fake_enter();
    return fake_leave(fake_submit(stream, (Work){.kind = WORK_COPY, .to = to, .from = from, .size = bytes}));
}

/* -- modules -- */

DRIVER int cuModuleLoadData(void **module, const void *image) {
    fake_enter();
    *module = fake_new_object(1);
    return fake_leave(fake_depth == 0 || image == NULL || *module == NULL ? INVALID_VALUE : SUCCESS);
}

DRIVER int cuModuleUnload(void *module) {
    fake_enter();
    return fake_leave(fake_delete_object(module));
}

DRIVER int cuModuleGetFunction(void **function, void *module, const char *name) {
    const FakeFunction *found = module != NULL ? fake_find_function(name) : NULL;
    *function = (void *)(uintptr_t)found;
    return found != NULL ? SUCCESS : NOT_FOUND;
}

DRIVER int cuFuncGetAttribute(int *value, int attribute, void *function) {
    *value = attribute == 0 ? (int)fake_get(FAKE_MAX_THREADS) : 0;
    return function != NULL ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuFuncSetAttribute(void *function, int attribute, int value) {
    enum { MAX_DYNAMIC_SHARED = 8, MOST_SHARED = 99 << 10 };
    return function != NULL && attribute == MAX_DYNAMIC_SHARED && value <= MOST_SHARED ? SUCCESS
                                                                                       : INVALID_VALUE;
}

DRIVER int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *count, void *function, int threads,
                                                       size_t shared) {
    *count = (int)fake_get(FAKE_MOST_BLOCKS); /* there is one multiprocessor */
    return function != NULL && threads > 0 && shared <= 99 << 10 ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                          unsigned bz, unsigned shared, void *stream, void **parameters, void **extra) {
    Work work = {.kind = WORK_LAUNCH, .function = function};
    if (gx * gy * gz == 0 || bx * by * bz == 0 || bx * by * bz > 1024 || shared > 99 << 10 || extra != NULL)
        return INVALID_VALUE;
    for (int i = 0; i < work.function->parameters; ++i) {
        if (i < work.function->maps)
            memcpy(&work.map, parameters[i], sizeof work.map);
        else
            memcpy(&work.args[i], parameters[i], sizeof work.args[i]);
    }
    fake_enter();
    return fake_leave(fake_submit(stream, work));
}

typedef struct Attribute {
    int id, padding, value[16];
} Attribute;
typedef struct LaunchConfig {
    unsigned grid[3], block[3], shared;
    void *stream;
    Attribute *attributes;
    unsigned count;
} LaunchConfig;

/* Launches follow one another here, whatever they would allow. */
DRIVER int cuLaunchKernelEx(const LaunchConfig *config, void *function, void **parameters, void **extra) {
    for (unsigned i = 0; i < config->count; ++i) {
        int id = config->attributes[i].id;
        if (id != SERIALIZATION && id != COOPERATIVE) return INVALID_VALUE;
        if (id != COOPERATIVE) continue;
        if (config->grid[0] > fake_get(FAKE_MOST_BLOCKS)) return TOO_LARGE;
        fake_set(FAKE_COOPERATIVE, fake_get(FAKE_COOPERATIVE) + 1);
    }
    return cuLaunchKernel(function, config->grid[0], config->grid[1], config->grid[2], config->block[0],
                          config->block[1], config->block[2], config->shared, config->stream, parameters,
                          extra);
}
