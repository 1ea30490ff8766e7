/* cuBLASLt and cuDNN over the fake driver: what the runtime uses of them, in f32, element by element. Both
 * versions are 99.0.1. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/kernels.h"

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **parameters, void **extra);

enum {
    SUCCESS = 0,
    INVALID = 7,
    NOT_SUPPORTED = 15,
    VERSION = 990001,
    MOST_ENTRIES = 12,
    MOST_ITEMS = 8,
    RANK = 5
};

/* A handle, descriptor or layout: its attributes as 64-bit numbers. */
typedef struct Entry {
    int name;
    int64_t count, items[MOST_ITEMS];
} Entry;
typedef struct Object {
    int type, entry_count;
    Entry entries[MOST_ENTRIES];
    struct Job *jobs; /* of a handle */
    void *stream;
} Object;

static Object *new_object(int type) {
    Object *object = calloc(1, sizeof *object);
    object->type = type;
    fake_set(FAKE_LIVE_OBJECTS, fake_get(FAKE_LIVE_OBJECTS) + 1);
    return object;
}

static int delete_object(Object *object) {
    fake_set(FAKE_LIVE_OBJECTS, fake_get(FAKE_LIVE_OBJECTS) - 1);
    free(object);
    return SUCCESS;
}

static Entry *entry_of(Object *object, int name) {
    for (int i = 0; i < object->entry_count; ++i)
        if (object->entries[i].name == name) return &object->entries[i];
    if (object->entry_count == MOST_ENTRIES) abort();
    object->entries[object->entry_count].name = name;
    return &object->entries[object->entry_count++];
}

static int64_t number(Object *object, int name) {
    return entry_of(object, name)->items[0];
}

static Object *object_of(Object *object, int name, int64_t index) {
    return (Object *)(intptr_t)entry_of(object, name)->items[index];
}

static int set_items(Object *object, int name, int64_t count, const void *values, size_t size) {
    Entry *entry = entry_of(object, name);
    if (count < 1 || count > MOST_ITEMS || size > 8) return INVALID;
    *entry = (Entry){.name = name, .count = count};
    for (int64_t i = 0; i < count; ++i)
        memcpy(&entry->items[i], (const char *)values + (size_t)i * size, size);
    return SUCCESS;
}

/* -- work in streams -- */

/* What a call does, with everything as it was when it was made. */
typedef struct Job {
    struct Job *next;
    int (*run)(const struct Job *job);
    Object *plan;
    Object product, layouts[4];
    float beta;
    uint64_t pointers[MOST_ITEMS];
} Job;

static int run_job(const uint64_t *args, const FakeMap *map) {
    const Job *job = (const Job *)(intptr_t)args[0];
    (void)map;
    return job->run(job);
}

/* The handle owns the job: graphs run it again. */
static int submit(Object *handle, void *stream, Job job) {
    static const FakeFunction function = {"library", 1, 0, run_job};
    Job *copy = malloc(sizeof *copy);
    void *parameters[] = {&copy};
    *copy = job;
    copy->next = handle->jobs;
    handle->jobs = copy;
    return cuLaunchKernel((void *)(intptr_t)&function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}

static int delete_handle(Object *handle) {
    while (handle->jobs != NULL) {
        Job *job = handle->jobs;
        handle->jobs = job->next;
        free(job);
    }
    return delete_object(handle);
}

/* NULL: outside of what is allocated. */
static float *element(uint64_t pointer, int64_t index) {
    return (float *)(void *)fake_device_bytes(pointer + 4 * (uint64_t)index, sizeof(float));
}

/* -- cuBLASLt: attributes are its own numbers, a layout's type, rows, columns and pitch 0, 2, 3, 4 -- */

enum { TYPE, ROWS = 2, COLUMNS, PITCH, BATCH, BATCH_STRIDE, TURN_A = 3, TURN_B, EPILOGUE = 7, BIAS };

DRIVER size_t cublasLtGetVersion(void) {
    return VERSION;
}
DRIVER int cublasLtCreate(Object **handle) {
    *handle = new_object(0);
    return SUCCESS;
}
DRIVER int cublasLtDestroy(Object *handle) {
    return delete_handle(handle);
}
DRIVER int cublasLtMatmulDescCreate(Object **product, int compute, int scale) {
    *product = new_object(0);
    return (compute == 68 || compute == 77) && scale == 0 ? SUCCESS : INVALID;
}
DRIVER int cublasLtMatmulDescDestroy(Object *product) {
    return delete_object(product);
}
DRIVER int cublasLtMatmulDescSetAttribute(Object *product, int name, const void *value, size_t size) {
    return set_items(product, name, 1, value, size);
}
DRIVER int cublasLtMatrixLayoutCreate(Object **layout, int type, uint64_t rows, uint64_t columns,
                                      int64_t pitch) {
    const int64_t items[] = {type, 0, (int64_t)rows, (int64_t)columns, pitch, 1, 0};
    *layout = new_object(0);
    for (int i = 0; i < 7; ++i) set_items(*layout, i, 1, &items[i], 8);
    return pitch >= (int64_t)rows ? SUCCESS : INVALID;
}
DRIVER int cublasLtMatrixLayoutDestroy(Object *layout) {
    return delete_object(layout);
}
DRIVER int cublasLtMatrixLayoutSetAttribute(Object *layout, int name, const void *value, size_t size) {
    return set_items(layout, name, 1, value, size);
}
DRIVER int cublasLtMatmulPreferenceCreate(Object **preference) {
    *preference = new_object(0);
    return SUCCESS;
}
DRIVER int cublasLtMatmulPreferenceDestroy(Object *preference) {
    return delete_object(preference);
}
DRIVER int cublasLtMatmulPreferenceSetAttribute(Object *preference, int name, const void *value,
                                                size_t size) {
    return set_items(preference, name, 1, value, size);
}

typedef struct Way {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} Way;

/* Two ways, of which the second needs a workspace. */
DRIVER int cublasLtMatmulAlgoGetHeuristic(Object *handle, Object *product, Object *a, Object *b, Object *c,
                                          Object *d, Object *preference, int capacity, Way *ways,
                                          int *count) {
    (void)handle, (void)product, (void)c;
    if (number(a, TYPE) != 0 || number(b, TYPE) != 0 || number(d, TYPE) != 0) return NOT_SUPPORTED;
    *count = number(preference, 1) >= 512 ? 2 : 1;
    if (*count > capacity) *count = capacity;
    for (int i = 0; i < *count; ++i)
        ways[i] = (Way){.algorithm = {(uint64_t)i}, .workspace = 512 * (size_t)i};
    return SUCCESS;
}

static float *matrix_at(const Job *job, int which, int64_t batch, int64_t row, int64_t column) {
    Object layout = job->layouts[which];
    return element(job->pointers[which],
                   batch * number(&layout, BATCH_STRIDE) + column * number(&layout, PITCH) + row);
}

static int run_matmul_at(const Job *job, int64_t batch, int64_t row, int64_t column) {
    Object product = job->product, a = job->layouts[0];
    bool turn_a = number(&product, TURN_A) != 0, turn_b = number(&product, TURN_B) != 0;
    int64_t depth = number(&a, turn_a ? ROWS : COLUMNS), epilogue = number(&product, EPILOGUE);
    float *out = matrix_at(job, 3, batch, row, column), sum = 0;
    for (int64_t k = 0; k < depth; ++k) {
        const float *x = turn_a ? matrix_at(job, 0, batch, k, row) : matrix_at(job, 0, batch, row, k);
        const float *y = turn_b ? matrix_at(job, 1, batch, column, k) : matrix_at(job, 1, batch, k, column);
        if (x == NULL || y == NULL) return FAKE_ILLEGAL_ADDRESS;
        sum += *x * *y;
    }
    const float *added = matrix_at(job, 2, batch, row, column), *bias = NULL;
    if ((epilogue & 4) != 0) bias = element((uint64_t)number(&product, BIAS), row);
    if (out == NULL || added == NULL || ((epilogue & 4) != 0 && bias == NULL)) return FAKE_ILLEGAL_ADDRESS;
    if (job->beta != 0) sum += job->beta * *added;
    if (bias != NULL) sum += *bias;
    *out = (epilogue & 2) != 0 && sum < 0 ? 0 : sum;
    return SUCCESS;
}

static int run_matmul(const Job *job) {
    Object d = job->layouts[3];
    int result = SUCCESS;
    for (int64_t batch = 0; batch < number(&d, BATCH); ++batch)
        for (int64_t row = 0; row < number(&d, ROWS); ++row)
            for (int64_t column = 0; column < number(&d, COLUMNS) && result == SUCCESS; ++column)
                result = run_matmul_at(job, batch, row, column);
    return result;
}

DRIVER int cublasLtMatmul(Object *handle, Object *product, const float *alpha, uint64_t a, Object *a_layout,
                          uint64_t b, Object *b_layout, const float *beta, uint64_t c, Object *c_layout,
                          uint64_t d, Object *d_layout, const uint64_t *algorithm, uint64_t workspace,
                          size_t workspace_bytes, void *stream) {
    if (*alpha != 1 || workspace_bytes != 512 * algorithm[0]) return INVALID;
    if (workspace_bytes > 0 && fake_device_bytes(workspace, workspace_bytes) == NULL) return INVALID;
    return submit(handle, stream,
                  (Job){.run = run_matmul,
                        .product = *product,
                        .layouts = {*a_layout, *b_layout, *c_layout, *d_layout},
                        .beta = *beta,
                        .pointers = {a, b, c, d}});
}

/* -- cuDNN: types and attributes are its own numbers -- */

enum { HANDLE = -1, PLAN = 5, PACK = 16, MOST_WAYS = 4, CONFIG_GRAPH = -1, CONFIG_NUMBER = -2 };

DRIVER size_t cudnnGetVersion(void) {
    return VERSION;
}
DRIVER int cudnnCreate(Object **handle) {
    *handle = new_object(HANDLE);
    return SUCCESS;
}
DRIVER int cudnnDestroy(Object *handle) {
    return delete_handle(handle);
}
DRIVER int cudnnSetStream(Object *handle, void *stream) {
    handle->stream = stream;
    return SUCCESS;
}
DRIVER int cudnnBackendCreateDescriptor(int type, Object **object) {
    *object = new_object(type);
    return SUCCESS;
}
DRIVER int cudnnBackendDestroyDescriptor(Object *object) {
    return delete_object(object);
}

DRIVER int cudnnBackendSetAttribute(Object *object, int name, int type, int64_t count, const void *values) {
    static const uint8_t sizes[16] = {8, 4, 1, 8, 4, 8, 8, 4, 4, 4, 4, 4, 4, 4, 4, 8};
    return type < 0 || type > 15 ? INVALID : set_items(object, name, count, values, sizes[type]);
}

/* Four ways are proposed; the second does not work, the third needs a workspace, the fourth has the note that
 * it is not deterministic. */
DRIVER int cudnnBackendGetAttribute(Object *object, int name, int type, int64_t capacity, int64_t *count,
                                    void *values) {
    static const int notes[] = {0, 4};
    const int64_t number_of = number(object, CONFIG_NUMBER);
    (void)type;
    if (name == 402) { /* a plan's workspace */
        *count = 1;
        *(int64_t *)values = number(object_of(object, 401, 0), CONFIG_NUMBER) == 2 ? 512 : 0;
        return SUCCESS;
    }
    if (name == 300) { /* a config's engine */
        set_items(*(Object **)values, CONFIG_NUMBER, 1, &number_of, 8);
        return SUCCESS;
    }
    if (name == 1303) { /* an engine's notes */
        *count = number_of == 3 ? 2 : 1;
        memcpy(values, notes, (size_t)*count * sizeof *notes);
        return SUCCESS;
    }
    if (name != 202) return INVALID;
    Object **configs = values;
    int64_t graph = number(object, 201);
    for (*count = 0; *count < capacity && *count < MOST_WAYS; ++*count) {
        set_items(configs[*count], CONFIG_GRAPH, 1, &graph, 8);
        set_items(configs[*count], CONFIG_NUMBER, 1, count, 8);
    }
    return SUCCESS;
}

DRIVER int cudnnBackendFinalize(Object *object) {
    bool broken = object->type == PLAN && number(object_of(object, 401, 0), CONFIG_NUMBER) == 1;
    return broken ? NOT_SUPPORTED : SUCCESS;
}

static float *tensor_at(const Job *job, Object *tensor, const int64_t *index) {
    Entry *extents = entry_of(tensor, 902), *strides = entry_of(tensor, 903);
    int64_t at = 0;
    for (int64_t i = 0; i < extents->count; ++i)
        at += extents->items[i] > 1 ? index[i] * strides->items[i] : 0;
    return element(job->pointers[number(tensor, 906)], at);
}

static int convolve_at(const Job *job, Object *convolve, const int64_t *out, float *sum) {
    Object *x = object_of(convolve, 704, 0), *w = object_of(convolve, 703, 0),
           *window = object_of(convolve, 702, 0);
    Entry *in = entry_of(x, 902), *taps = entry_of(w, 902);
    int64_t axes = number(window, 106), group = out[1] / (taps->items[0] / (in->items[1] / taps->items[1])),
            count = 1;
    for (int64_t i = 1; i < taps->count; ++i) count *= taps->items[i];
    *sum = 0;
    for (int64_t tap = 0; tap < count; ++tap) {
        int64_t from[RANK] = {out[0]}, which[RANK] = {out[1]}, rest = tap;
        bool inside = true;
        for (int64_t i = taps->count - 1; i > 0; rest /= taps->items[i--]) which[i] = rest % taps->items[i];
        from[1] = group * taps->items[1] + which[1];
        for (int64_t i = 0; i < axes; ++i) {
            from[i + 2] = out[i + 2] * entry_of(window, 103)->items[i] +
                          which[i + 2] * entry_of(window, 102)->items[i] - entry_of(window, 105)->items[i];
            inside = inside && from[i + 2] >= 0 && from[i + 2] < in->items[i + 2];
        }
        if (!inside) continue;
        const float *a = tensor_at(job, x, from), *b = tensor_at(job, w, which);
        if (a == NULL || b == NULL) return FAKE_ILLEGAL_ADDRESS;
        *sum += *a * *b;
    }
    return SUCCESS;
}

static int apply_at(const Job *job, Object *apply, const int64_t *out, float *value) {
    Object *pointwise = object_of(apply, 750, 0);
    double clip = INFINITY;
    if (number(pointwise, 0) == 0) {
        const float *added = tensor_at(job, object_of(apply, 752, 0), out);
        if (added == NULL) return FAKE_ILLEGAL_ADDRESS;
        *value += *added;
    } else {
        if (entry_of(pointwise, 4)->count > 0) memcpy(&clip, entry_of(pointwise, 4)->items, sizeof clip);
        *value = fminf(fmaxf(*value, 0), (float)clip);
    }
    return SUCCESS;
}

static int run_graph_at(const Job *job, Entry *operations, const int64_t *out) {
    Object *last = (Object *)(intptr_t)operations->items[operations->count - 1];
    float value = 0;
    int result = convolve_at(job, (Object *)(intptr_t)operations->items[0], out, &value);
    for (int64_t i = 1; i < operations->count && result == SUCCESS; ++i)
        result = apply_at(job, (Object *)(intptr_t)operations->items[i], out, &value);
    float *to = tensor_at(job, object_of(last, operations->count > 1 ? 753 : 705, 0), out);
    if (to == NULL || result != SUCCESS) return FAKE_ILLEGAL_ADDRESS;
    *to = value;
    return SUCCESS;
}

static int run_graph(const Job *job) {
    Entry *operations = entry_of(object_of(object_of(job->plan, 401, 0), CONFIG_GRAPH, 0), 801);
    Entry *extents = entry_of(object_of((Object *)(intptr_t)operations->items[0], 705, 0), 902);
    int64_t count = 1;
    int result = SUCCESS;
    for (int64_t i = 0; i < extents->count; ++i) count *= extents->items[i];
    for (int64_t n = 0; n < count && result == SUCCESS; ++n) {
        int64_t out[RANK] = {0}, rest = n;
        for (int64_t i = extents->count - 1; i >= 0; rest /= extents->items[i--])
            out[i] = rest % extents->items[i];
        result = run_graph_at(job, operations, out);
    }
    return result;
}

DRIVER int cudnnBackendExecute(Object *handle, Object *plan, Object *pack) {
    Job job = {.run = run_graph, .plan = plan};
    Entry *names = entry_of(pack, 1000), *pointers = entry_of(pack, 1001);
    for (int64_t i = 0; i < names->count; ++i) job.pointers[names->items[i]] = (uint64_t)pointers->items[i];
    if (number(object_of(plan, 401, 0), CONFIG_NUMBER) == 2 &&
        fake_device_bytes((unsigned long long)number(pack, 1003), 512) == NULL)
        return INVALID;
    return submit(handle, handle->stream, job);
}
