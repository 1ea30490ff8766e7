/* Many users of one engine on a GPU: contexts on threads and streams of their own, with two sets of shapes,
 * host and device memory, while other engines come and go. Every result must have the bits of the first run,
 * and device memory must be what it was. Then the cost of an enqueue.
 *
 *     stress MODEL.plan [SECONDS [THREADS [ENQUEUES]]]
 *
 * Ends with exit code 0 when all held. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/cuda_api.h"
#include "runtime/smelt_runtime.h"

enum { SHAPE_SETS = 2, MOST_BINDINGS = 64, DIMENSION_LIMIT = 64, ALIGNMENT = 64 };

/* Inputs and the outputs they give, for one set of shapes. */
typedef struct Case {
    int64_t dims[MOST_BINDINGS][SMELT_RANK_LIMIT];
    void *host[MOST_BINDINGS];
    size_t size[MOST_BINDINGS];
} Case;

typedef struct Stress {
    const char *path;
    SmeltEngine *engine;
    int input_count, binding_count;
    SmeltBinding bindings[MOST_BINDINGS];
    Case cases[SHAPE_SETS];
    CudaApi cuda;
    CudaHandle context;
    double end;
} Stress;

typedef struct Worker {
    pthread_t thread;
    Stress *stress;
    int index;
    long runs;
    char failure[256];
} Worker;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool check(bool fine, Worker *worker, const char *what, const char *detail) {
    if (!fine && worker->failure[0] == '\0')
        snprintf(worker->failure, sizeof worker->failure, "%s: %.200s", what, detail);
    return fine;
}

/* -- cases -- */

static size_t element_size(int dtype) {
    static const size_t sizes[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2, 1, 1, 1, 1};
    return dtype > 0 && dtype < (int)(sizeof sizes / sizeof sizes[0]) ? sizes[dtype] : 0;
}

static int64_t choose_dim(const SmeltBinding *binding, int axis, int set) {
    int64_t low = binding->min_dims[axis] > 1 ? binding->min_dims[axis] : 1, high = binding->max_dims[axis];
    if (binding->dims[axis] >= 0) return binding->dims[axis];
    int64_t wanted = low + set * 3;
    if (wanted > high) wanted = high;
    return wanted < low ? low : wanted;
}

/* Floats in [-1, 1], other types small and not negative. */
static void fill(void *data, int dtype, size_t size, unsigned seed) {
    uint32_t state = seed * 2654435761U + 1;
    for (size_t i = 0; i < size / element_size(dtype); ++i) {
        state = state * 1664525U + 1013904223U;
        float value = (float)(state >> 8) / (float)(1 << 23) - 1.0F;
        if (dtype == 1)
            ((float *)data)[i] = value;
        else if (dtype == 11)
            ((double *)data)[i] = (double)value;
        else if (dtype == 10)
            ((uint16_t *)data)[i] = (uint16_t)(0x3000 | (state >> 22)); /* 0.125 to 0.25 */
        else
            ((uint8_t *)data)[i * element_size(dtype)] = (uint8_t)(state >> 24 & 1);
    }
}

static bool set_shapes(Stress *s, SmeltContext *context, int set, SmeltError *error) {
    for (int i = 0; i < s->input_count; ++i)
        if (smelt_context_set_shape(context, i, s->bindings[i].rank, s->cases[set].dims[i], error) !=
            SMELT_OK)
            return false;
    return true;
}

static bool make_inputs(Stress *s, int set) {
    Case *c = &s->cases[set];
    for (int i = 0; i < s->input_count; ++i) {
        c->size[i] = element_size(s->bindings[i].dtype);
        for (int k = 0; k < s->bindings[i].rank; ++k) {
            c->dims[i][k] = choose_dim(&s->bindings[i], k, set);
            c->size[i] *= (size_t)c->dims[i][k];
        }
        c->host[i] = calloc(1, (c->size[i] / ALIGNMENT + 1) * ALIGNMENT);
        if (c->host[i] == NULL || element_size(s->bindings[i].dtype) == 0) return false;
        fill(c->host[i], s->bindings[i].dtype, c->size[i], (unsigned)(i + 1));
    }
    return true;
}

/* The first run says what is right. */
static bool make_case(Stress *s, SmeltContext *context, int set, SmeltError *error) {
    void *buffers[MOST_BINDINGS] = {0};
    Case *c = &s->cases[set];
    if (!make_inputs(s, set) || !set_shapes(s, context, set, error)) return false;
    for (int i = 0; i < s->input_count; ++i) buffers[i] = c->host[i];
    if (smelt_context_run(context, buffers, NULL, error) != SMELT_OK) return false;
    for (int i = s->input_count; i < s->binding_count; ++i) {
        const void *data;
        if (smelt_context_output(context, i, &data, &c->size[i], error) != SMELT_OK) return false;
        c->host[i] = malloc(c->size[i] + 1);
        if (c->host[i] == NULL) return false;
        memcpy(c->host[i], data, c->size[i]);
    }
    return true;
}

/* -- workers -- */

static bool compare(Worker *worker, const Case *c, int binding, const void *data, size_t size,
                    const char *how) {
    const char *name = worker->stress->bindings[binding].name;
    return check(size == c->size[binding] && memcmp(data, c->host[binding], size) == 0, worker, how, name);
}

static bool run_host(Worker *worker, SmeltContext *context, int set) {
    const Stress *s = worker->stress;
    const Case *c = &s->cases[set];
    void *buffers[MOST_BINDINGS] = {0};
    SmeltError error = {0};
    for (int i = 0; i < s->input_count; ++i) buffers[i] = c->host[i];
    if (!check(smelt_context_run(context, buffers, NULL, &error) == SMELT_OK, worker, "run", error.message))
        return false;
    for (int i = s->input_count; i < s->binding_count; ++i) {
        const void *data;
        size_t size;
        if (smelt_context_output(context, i, &data, &size, &error) != SMELT_OK) return false;
        if (!compare(worker, c, i, data, size, "other bits from a run of")) return false;
    }
    return true;
}

/* Device memory and a stream of one worker. */
typedef struct DeviceSide {
    CudaHandle stream;
    CudaPointer memory[MOST_BINDINGS];
    void *pointers[MOST_BINDINGS];
    size_t sizes[MOST_BINDINGS];
    uint8_t *host;
} DeviceSide;

static bool open_device_side(Worker *worker, DeviceSide *d) {
    Stress *s = worker->stress;
    size_t largest = 1;
    if (s->cuda.context_push(s->context) != 0 ||
        s->cuda.stream_create(&d->stream, CUDA_STREAM_NON_BLOCKING) != 0)
        return check(false, worker, "device", "no stream");
    for (int i = 0; i < s->binding_count; ++i) {
        d->sizes[i] = 1;
        for (int set = 0; set < SHAPE_SETS; ++set)
            if (s->cases[set].size[i] > d->sizes[i]) d->sizes[i] = s->cases[set].size[i];
        if (s->cuda.memory_alloc(&d->memory[i], d->sizes[i]) != 0)
            return check(false, worker, "device", "no memory");
        d->pointers[i] = (void *)(uintptr_t)d->memory[i];
        if (d->sizes[i] > largest) largest = d->sizes[i];
    }
    d->host = malloc(largest);
    return check(d->host != NULL, worker, "host", "no memory");
}

static void close_device_side(Worker *worker, DeviceSide *d) {
    Stress *s = worker->stress;
    CudaHandle ignored;
    for (int i = 0; i < s->binding_count; ++i)
        if (d->memory[i] != 0) (void)s->cuda.memory_free(d->memory[i]);
    if (d->stream != NULL) (void)s->cuda.stream_destroy(d->stream);
    (void)s->cuda.context_pop(&ignored);
    free(d->host);
}

static bool run_device(Worker *worker, SmeltContext *context, DeviceSide *d, int set) {
    const Stress *s = worker->stress;
    const Case *c = &s->cases[set];
    SmeltError error = {0};
    for (int i = 0; i < s->input_count; ++i)
        if (c->size[i] > 0 && s->cuda.copy_in_async(d->memory[i], c->host[i], c->size[i], d->stream) != 0)
            return check(false, worker, "device", "a copy failed");
    int status = smelt_context_enqueue(context, d->stream, d->pointers, d->sizes, &error);
    if (!check(status == SMELT_OK, worker, "enqueue", error.message)) return false;
    for (int i = s->input_count; i < s->binding_count; ++i) {
        if (c->size[i] > 0 && s->cuda.copy_out_async(d->host, d->memory[i], c->size[i], d->stream) != 0)
            return check(false, worker, "device", "a copy failed");
        if (!check(s->cuda.stream_synchronize(d->stream) == 0, worker, "device", "the stream failed"))
            return false;
        if (!compare(worker, c, i, d->host, c->size[i], "other bits from an enqueue of")) return false;
    }
    return true;
}

static void *work(void *user) {
    Worker *worker = user;
    Stress *s = worker->stress;
    SmeltContextOptions options = {.threads = 1};
    SmeltContext *context = NULL;
    SmeltError error = {0};
    DeviceSide device = {0};
    bool fine = check(smelt_context_create(s->engine, &options, &context, &error) == SMELT_OK, worker,
                      "context", error.message) &&
                open_device_side(worker, &device);
    for (long i = worker->index; fine && seconds() < s->end; ++i) {
        int set = (int)(i / 3 % SHAPE_SETS);
        fine = check(set_shapes(s, context, set, &error), worker, "shapes", error.message) &&
               (i % 2 == 0 ? run_host(worker, context, set) : run_device(worker, context, &device, set));
        worker->runs += fine;
    }
    close_device_side(worker, &device);
    smelt_context_destroy(context);
    return NULL;
}

/* Engines of the same plan that come and go. */
static void *reload(void *user) {
    Worker *worker = user;
    Stress *s = worker->stress;
    bool fine = true;
    while (fine && seconds() < s->end) {
        SmeltEngine *engine = NULL;
        SmeltContext *context = NULL;
        SmeltError error = {0};
        fine = check(smelt_engine_load(s->path, NULL, &engine, &error) == SMELT_OK, worker, "load",
                     error.message) &&
               check(smelt_context_create(engine, NULL, &context, &error) == SMELT_OK, worker, "context",
                     error.message) &&
               check(set_shapes(s, context, 0, &error), worker, "shapes", error.message) &&
               run_host(worker, context, 0);
        worker->runs += fine;
        smelt_context_destroy(context);
        smelt_engine_destroy(engine);
    }
    return NULL;
}

/* -- the cost of an enqueue -- */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static size_t free_memory(const Stress *s) {
    size_t free_bytes = 0, total = 0;
    (void)s->cuda.context_synchronize();
    (void)s->cuda.memory_info(&free_bytes, &total);
    return free_bytes;
}

static bool enqueue_many(Worker *worker, SmeltContext *context, DeviceSide *d, long count) {
    enum { AT_ONCE = 256, WARM = 16 };
    const Stress *s = worker->stress;
    double *times = malloc((size_t)count * sizeof *times + 1);
    size_t before = 0;
    SmeltError error = {0};
    bool fine =
        times != NULL && set_shapes(worker->stress, context, 0, &error) && run_device(worker, context, d, 0);
    for (long i = -WARM; fine && i < count; ++i) {
        if (i == 0) before = free_memory(s);
        double start = seconds();
        fine = smelt_context_enqueue(context, d->stream, d->pointers, d->sizes, &error) == SMELT_OK;
        if (i >= 0) times[i] = 1e6 * (seconds() - start);
        if (i % AT_ONCE == 0) fine = fine && s->cuda.stream_synchronize(d->stream) == 0;
    }
    fine = check(fine && s->cuda.stream_synchronize(d->stream) == 0, worker, "enqueue", error.message);
    if (fine && count > 0) {
        fine = check(free_memory(s) == before, worker, "device memory", "not what it was before");
        qsort(times, (size_t)count, sizeof *times, compare_doubles);
        printf("enqueue: median %.2f us, 99%% %.2f us of %ld\n", times[count / 2], times[count * 99 / 100],
               count);
    }
    free(times);
    return fine;
}

static void *measure(void *user) {
    Worker *worker = user;
    Stress *s = worker->stress;
    SmeltContext *context = NULL;
    SmeltError error = {0};
    DeviceSide device = {0};
    if (check(smelt_context_create(s->engine, NULL, &context, &error) == SMELT_OK, worker, "context",
              error.message) &&
        open_device_side(worker, &device))
        (void)enqueue_many(worker, context, &device, worker->runs);
    close_device_side(worker, &device);
    smelt_context_destroy(context);
    return NULL;
}

/* -- the whole -- */

static bool open_stress(Stress *s, SmeltError *error) {
    Diag diag = {0};
    SmeltContext *context = NULL;
    int device = 0;
    if (cuda_api_open(NULL, &s->cuda, &diag) != STATUS_OK || s->cuda.device_get(&device, 0) != 0 ||
        s->cuda.primary_retain(&s->context, device) != 0) {
        snprintf(error->message, sizeof error->message, "%s", diag.text);
        return false;
    }
    if (smelt_engine_load(s->path, NULL, &s->engine, error) != SMELT_OK) return false;
    s->binding_count = smelt_engine_binding_count(s->engine);
    if (s->binding_count > MOST_BINDINGS) return false;
    for (int i = 0; i < s->binding_count; ++i) {
        if (smelt_engine_binding(s->engine, i, &s->bindings[i], error) != SMELT_OK) return false;
        s->input_count += !s->bindings[i].is_output;
    }
    bool fine = smelt_context_create(s->engine, NULL, &context, error) == SMELT_OK;
    for (int set = 0; fine && set < SHAPE_SETS; ++set) fine = make_case(s, context, set, error);
    smelt_context_destroy(context);
    return fine;
}

static bool report(const Worker *worker, const char *what) {
    if (worker->failure[0] != '\0') printf("%s %d: %s\n", what, worker->index, worker->failure);
    return worker->failure[0] == '\0';
}

static bool stress(Stress *s, int threads, double duration, long enqueues) {
    Worker *workers = calloc((size_t)threads + 2, sizeof *workers);
    bool fine = workers != NULL;
    long runs = 0;
    if (!fine) return false;
    s->end = seconds() + duration;
    for (int i = 0; i <= threads; ++i) {
        workers[i] = (Worker){.stress = s, .index = i};
        if (pthread_create(&workers[i].thread, NULL, i < threads ? work : reload, &workers[i]) != 0) abort();
    }
    for (int i = 0; i <= threads; ++i) {
        pthread_join(workers[i].thread, NULL);
        fine = report(&workers[i], i < threads ? "thread" : "reload") && fine;
        runs += workers[i].runs;
    }
    Worker *last = &workers[threads + 1];
    *last = (Worker){.stress = s, .index = threads + 1, .runs = enqueues};
    if (pthread_create(&last->thread, NULL, measure, last) != 0) abort();
    pthread_join(last->thread, NULL);
    fine = report(last, "enqueues") && fine;
    printf("%s: %ld runs of %d threads in %.0f s: %s\n", s->path, runs, threads, duration,
           fine ? "fine" : "FAILED");
    free(workers);
    return fine;
}

int main(int argc, char **argv) {
    static Stress s;
    SmeltError error = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL.plan [SECONDS [THREADS [ENQUEUES]]]\n", argv[0]);
        return 2;
    }
    s.path = argv[1];
    if (!open_stress(&s, &error)) {
        fprintf(stderr, "%s: %s\n", s.path, error.message);
        return 1;
    }
    bool fine = stress(&s, argc > 3 ? atoi(argv[3]) : 8, argc > 2 ? atof(argv[2]) : 10,
                       argc > 4 ? atol(argv[4]) : 10000);
    for (int set = 0; set < SHAPE_SETS; ++set)
        for (int i = 0; i < s.binding_count; ++i) free(s.cases[set].host[i]);
    smelt_engine_destroy(s.engine);
    (void)s.cuda.primary_release(0);
    return fine ? 0 : 1;
}
