#include "tests/fake_cuda/fake_cuda.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake_cuda/kernels.h"

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    SERIALIZATION = 6, /* a launch attribute */
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    NOT_FOUND = 500,
    MOST_PARAMETERS = 8,
    ALIGNMENT = 256
};

typedef unsigned long long Pointer;
static const Pointer device_tag = 1ULL << 62; /* no host address has this bit */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t numbers[FAKE_NUMBERS];
static int sticky; /* the error that every call gives after a fault */
static bool ready;
static char the_context; /* its address is the handle of the only context */
static _Thread_local void *current[16];
static _Thread_local int depth;

static void set_defaults(void) {
    numbers[FAKE_COMPUTE_CAPABILITY] = 90;
    numbers[FAKE_DRIVER_VERSION] = 13000;
    numbers[FAKE_DEVICES] = 1;
    numbers[FAKE_MEMORY] = 1 << 26;
    numbers[FAKE_MAX_THREADS] = 1024;
    numbers[FAKE_FAIL_LAUNCH] = 0;
    sticky = SUCCESS;
    ready = true;
}

static void enter(void) {
    pthread_mutex_lock(&lock);
    if (!ready) set_defaults();
}

static int leave(int result) {
    pthread_mutex_unlock(&lock);
    return result;
}

DRIVER int64_t fake_get(FakeNumber which) {
    enter();
    int64_t value = numbers[which];
    leave(0);
    return value;
}

DRIVER void fake_set(FakeNumber which, int64_t value) {
    enter();
    numbers[which] = value;
    leave(0);
}

DRIVER void fake_reset(void) {
    enter();
    set_defaults();
    numbers[FAKE_LAUNCHES] = numbers[FAKE_GRAPH_LAUNCHES] = numbers[FAKE_CAPTURES] = 0;
    numbers[FAKE_ALLOCATIONS] = numbers[FAKE_WAITS] = numbers[FAKE_COPIES] = numbers[FAKE_MAPS] = 0;
    leave(0);
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
    if (!pinned && (int64_t)size > numbers[FAKE_MEMORY] - numbers[FAKE_LIVE_BYTES])
        return free(a), OUT_OF_MEMORY;
    if (a == NULL || posix_memalign(&data, ALIGNMENT, size) != 0) return free(a), OUT_OF_MEMORY;
    memset(data, fake_fill, size);
    *a = (Allocation){allocations, data, size, pinned};
    allocations = a;
    numbers[FAKE_ALLOCATIONS]++;
    numbers[FAKE_LIVE_OBJECTS]++;
    if (!pinned) numbers[FAKE_LIVE_BYTES] += (int64_t)size;
    *out = data;
    return SUCCESS;
}

static int release(uint8_t *data, bool pinned) {
    for (Allocation **link = &allocations; *link != NULL; link = &(*link)->next) {
        Allocation *a = *link;
        if (a->data != data || a->pinned != pinned) continue;
        *link = a->next;
        if (!pinned) numbers[FAKE_LIVE_BYTES] -= (int64_t)a->size;
        numbers[FAKE_LIVE_OBJECTS]--;
        free(a->data);
        free(a);
        return SUCCESS;
    }
    return INVALID_VALUE;
}

/* -- streams: what waits to be done -- */

typedef enum WorkKind { WORK_COPY_IN, WORK_COPY_OUT, WORK_COPY, WORK_LAUNCH, WORK_EVENT } WorkKind;

typedef struct Event {
    uint64_t recorded, done; /* numbers of the last record asked for, and of the last that has come */
    int64_t launches;        /* that there were by then */
    struct Stream *stream;
} Event;

typedef struct Work {
    struct Work *next;
    WorkKind kind;
    Pointer to, from;
    void *host_to;
    const void *host_from;
    size_t size;
    const FakeFunction *function;
    uint64_t args[MOST_PARAMETERS];
    FakeMap map; /* of functions whose first parameter is one */
    Event *event;
    uint64_t record;
} Work;

typedef struct Stream {
    struct Stream *next;
    Work *first, **last;
    bool capturing;
} Stream;

static Stream default_stream;
static Stream *streams = &default_stream;

static Stream *stream_of(void *handle) {
    Stream *stream = handle != NULL ? handle : &default_stream;
    if (stream->last == NULL) stream->last = &stream->first;
    return stream;
}

static int push(Stream *stream, Work work) {
    Work *copy = malloc(sizeof *copy);
    if (copy == NULL) return OUT_OF_MEMORY;
    *copy = work;
    copy->next = NULL;
    *stream->last = copy;
    stream->last = &copy->next;
    return SUCCESS;
}

static int do_launch(const Work *work) {
    if (numbers[FAKE_FAIL_LAUNCH] > 0 && --numbers[FAKE_FAIL_LAUNCH] == 0) return FAKE_ILLEGAL_ADDRESS;
    numbers[FAKE_LAUNCHES]++;
    return work->function->run(work->args, &work->map);
}

static int do_work(const Work *work) {
    uint8_t *to = (uint8_t *)work->host_to;
    const uint8_t *from = (const uint8_t *)work->host_from;
    if (work->kind == WORK_LAUNCH) return do_launch(work);
    if (work->kind == WORK_EVENT) {
        work->event->done = work->record;
        work->event->launches = numbers[FAKE_LAUNCHES];
        return SUCCESS;
    }
    numbers[FAKE_COPIES]++;
    if (work->kind != WORK_COPY_OUT) to = fake_device_bytes(work->to, work->size);
    if (work->kind != WORK_COPY_IN) from = fake_device_bytes(work->from, work->size);
    if (to == NULL || from == NULL) return FAKE_ILLEGAL_ADDRESS;
    memmove(to, from, work->size);
    return SUCCESS;
}

/* Does what waits in the stream, up to a record of an event where one is given. */
static int drain(Stream *stream, const Event *event) {
    while (!stream->capturing && stream->first != NULL && (event == NULL || event->done < event->recorded)) {
        Work *work = stream->first;
        stream->first = work->next;
        if (stream->first == NULL) stream->last = &stream->first;
        if (sticky == SUCCESS) sticky = do_work(work);
        free(work);
    }
    return sticky;
}

static int drain_all(void) {
    for (Stream *s = streams; s != NULL; s = s->next) drain(stream_of(s), NULL);
    return sticky;
}

static int submit(void *handle, Work work) {
    if (depth == 0) return INVALID_VALUE;
    if (sticky != SUCCESS) return sticky;
    return push(stream_of(handle), work);
}

/* -- the driver's functions -- */

DRIVER int cuInit(unsigned flags) {
    enter();
    return leave(flags != 0 ? INVALID_VALUE : numbers[FAKE_DEVICES] == 0 ? NO_DEVICE : SUCCESS);
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
    enter();
    *context = &the_context;
    numbers[FAKE_LIVE_OBJECTS]++;
    return leave(device >= 0 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuDevicePrimaryCtxRelease_v2(int device) {
    enter();
    numbers[FAKE_LIVE_OBJECTS]--;
    return leave(device >= 0 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuCtxPushCurrent_v2(void *context) {
    if (context != &the_context || depth == (int)(sizeof current / sizeof current[0])) return INVALID_VALUE;
    current[depth++] = context;
    return SUCCESS;
}

DRIVER int cuCtxPopCurrent_v2(void **context) {
    if (depth == 0) return INVALID_VALUE;
    *context = current[--depth];
    return SUCCESS;
}

DRIVER int cuCtxGetCurrent(void **context) {
    *context = depth > 0 ? current[depth - 1] : NULL;
    return SUCCESS;
}

DRIVER int cuCtxGetDevice(int *device) {
    *device = 0;
    return depth > 0 ? SUCCESS : INVALID_VALUE;
}

DRIVER int cuCtxSynchronize(void) {
    enter();
    numbers[FAKE_WAITS]++;
    return leave(depth > 0 ? drain_all() : INVALID_VALUE);
}

DRIVER int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    enter();
    *total = (size_t)numbers[FAKE_MEMORY];
    *free_bytes = (size_t)(numbers[FAKE_MEMORY] - numbers[FAKE_LIVE_BYTES]);
    return leave(SUCCESS);
}

DRIVER int cuMemAlloc_v2(Pointer *memory, size_t bytes) {
    uint8_t *data = NULL;
    enter();
    int result = depth == 0 ? INVALID_VALUE : sticky != SUCCESS ? sticky : allocate(bytes, false, &data);
    *memory = (Pointer)(uintptr_t)data | device_tag;
    return leave(result);
}

DRIVER int cuMemFree_v2(Pointer memory) {
    enter();
    return leave(release((uint8_t *)(uintptr_t)(memory & ~device_tag), false));
}

DRIVER int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    uint8_t *data = NULL;
    enter();
    int result = depth == 0 || flags > 7 ? INVALID_VALUE : allocate(bytes, true, &data);
    *memory = data;
    return leave(result);
}

DRIVER int cuMemFreeHost(void *memory) {
    enter();
    return leave(release(memory, true));
}

DRIVER int cuMemcpyHtoD_v2(Pointer to, const void *from, size_t bytes) {
    enter();
    if (sticky == SUCCESS)
        sticky = do_work(&(Work){.kind = WORK_COPY_IN, .to = to, .host_from = from, .size = bytes});
    return leave(sticky);
}

DRIVER int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, void *stream) {
    enter();
    return leave(submit(stream, (Work){.kind = WORK_COPY_IN, .to = to, .host_from = from, .size = bytes}));
}

DRIVER int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, void *stream) {
    enter();
    return leave(submit(stream, (Work){.kind = WORK_COPY_OUT, .host_to = to, .from = from, .size = bytes}));
}

DRIVER int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void *stream) {
    enter();
    return leave(submit(stream, (Work){.kind = WORK_COPY, .to = to, .from = from, .size = bytes}));
}

/* -- modules -- */

static void *new_object(size_t size) {
    void *object = calloc(1, size);
    if (object != NULL) numbers[FAKE_LIVE_OBJECTS]++;
    return object;
}

static int delete_object(void *object) {
    if (object == NULL) return INVALID_VALUE;
    numbers[FAKE_LIVE_OBJECTS]--;
    free(object);
    return SUCCESS;
}

DRIVER int cuModuleLoadData(void **module, const void *image) {
    enter();
    *module = new_object(1);
    return leave(depth == 0 || image == NULL || *module == NULL ? INVALID_VALUE : SUCCESS);
}

DRIVER int cuModuleUnload(void *module) {
    enter();
    return leave(delete_object(module));
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
    enter();
    return leave(submit(stream, work));
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
    for (unsigned i = 0; i < config->count; ++i)
        if (config->attributes[i].id != SERIALIZATION) return INVALID_VALUE;
    return cuLaunchKernel(function, config->grid[0], config->grid[1], config->grid[2], config->block[0],
                          config->block[1], config->block[2], config->shared, config->stream, parameters,
                          extra);
}

/* -- streams and events -- */

DRIVER int cuStreamCreate(void **stream, unsigned flags) {
    enter();
    Stream *created = new_object(sizeof *created);
    if (created != NULL) {
        created->next = streams;
        streams = created;
    }
    *stream = created;
    return leave(created != NULL && flags <= 1 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuStreamDestroy_v2(void *handle) {
    enter();
    Stream *stream = stream_of(handle);
    drain(stream, NULL);
    for (Stream **link = &streams; *link != NULL; link = &(*link)->next)
        if (*link == stream) {
            *link = stream->next;
            break;
        }
    return leave(delete_object(handle));
}

DRIVER int cuStreamSynchronize(void *stream) {
    enter();
    numbers[FAKE_WAITS]++;
    return leave(stream_of(stream)->capturing ? INVALID_VALUE : drain(stream_of(stream), NULL));
}

DRIVER int cuEventCreate(void **event, unsigned flags) {
    enter();
    *event = new_object(sizeof(Event));
    return leave(*event != NULL && flags <= 3 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuEventDestroy_v2(void *event) {
    enter();
    drain_all(); /* work in streams points to it */
    return leave(delete_object(event));
}

DRIVER int cuEventRecord(void *handle, void *stream) {
    enter();
    Event *event = handle;
    event->stream = stream_of(stream);
    return leave(submit(stream, (Work){.kind = WORK_EVENT, .event = event, .record = ++event->recorded}));
}

DRIVER int cuEventSynchronize(void *handle) {
    enter();
    Event *event = handle;
    numbers[FAKE_WAITS]++;
    return leave(event->stream == NULL ? SUCCESS : drain(event->stream, event));
}

DRIVER int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    const Event *a = start, *b = end;
    enter();
    *milliseconds = 0.25F + fake_launch_time * (float)(b->launches - a->launches);
    return leave(a->recorded == 0 || b->recorded == 0 || a->done < a->recorded || b->done < b->recorded
                     ? INVALID_VALUE
                     : sticky);
}

/* -- graphs -- */

typedef struct Graph {
    Work *first;
} Graph;

static Graph *copy_graph(const Work *work) {
    Graph *graph = new_object(sizeof *graph);
    if (graph == NULL) return NULL;
    numbers[FAKE_LIVE_GRAPHS]++;
    for (Work **last = &graph->first; work != NULL; work = work->next, last = &(*last)->next) {
        *last = malloc(sizeof **last);
        if (*last == NULL) break;
        **last = *work;
        (*last)->next = NULL;
    }
    return graph;
}

static int delete_graph(Graph *graph) {
    while (graph != NULL && graph->first != NULL) {
        Work *next = graph->first->next;
        free(graph->first);
        graph->first = next;
    }
    numbers[FAKE_LIVE_GRAPHS]--;
    return delete_object(graph);
}

DRIVER int cuStreamBeginCapture_v2(void *handle, int mode) {
    enter();
    Stream *stream = stream_of(handle);
    drain(stream, NULL);
    bool fine = handle != NULL && !stream->capturing && mode <= 2 && depth > 0;
    stream->capturing = fine;
    return leave(sticky != SUCCESS ? sticky : fine ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuStreamEndCapture(void *handle, void **graph) {
    enter();
    Stream *stream = stream_of(handle);
    if (!stream->capturing) return leave(INVALID_VALUE);
    stream->capturing = false;
    Graph *captured = copy_graph(stream->first);
    while (stream->first != NULL) {
        Work *next = stream->first->next;
        free(stream->first);
        stream->first = next;
    }
    stream->last = &stream->first;
    numbers[FAKE_CAPTURES]++;
    *graph = captured;
    return leave(captured != NULL ? SUCCESS : OUT_OF_MEMORY);
}

DRIVER int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    enter();
    *executable = copy_graph(((Graph *)graph)->first);
    return leave(*executable != NULL && flags == 0 ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuGraphUpload(void *executable, void *stream) {
    enter();
    return leave(executable != NULL && stream_of(stream) != NULL ? SUCCESS : INVALID_VALUE);
}

DRIVER int cuGraphLaunch(void *executable, void *stream) {
    enter();
    int result = SUCCESS;
    numbers[FAKE_GRAPH_LAUNCHES]++;
    for (const Work *work = ((Graph *)executable)->first; work != NULL && result == SUCCESS;
         work = work->next)
        result = submit(stream, *work);
    return leave(result);
}

DRIVER int cuGraphExecDestroy(void *executable) {
    enter();
    return leave(delete_graph(executable));
}

DRIVER int cuGraphDestroy(void *graph) {
    enter();
    return leave(delete_graph(graph));
}
