/* Memory runs out at every point: models go from their bytes to a plan and its outputs while one allocation
 * fails, each in turn. The linker puts this file's functions before those of base/memory.c (--wrap, in
 * tests/CMakeLists.txt), so that no allocation of the compiler or the runtime goes unseen. */
#include "base/tensor_file.h"
#include "frontend/import.h"
#include "kernels/lower.h"
#include "passes/precision.h"
#include "runtime/smelt_runtime.h"
#include "test.h"

enum { MOST_RUNS = 1500, MNIST_INPUTS = 28 * 28, MNIST_OUTPUTS = 10 };

/* Blocks come from the system; objects are what callers ask of arenas, many to a block. */
typedef struct Fault {
    uint64_t count, fail_at; /* since the last begin(); 0 = none fails */
} Fault;
static Fault block_fault, object_fault;
static int64_t blocks_alive;
static char last_error[2048];

static bool refused(Fault *fault) {
    return ++fault->count == fault->fail_at;
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);
void *__real_arena_alloc(Arena *arena, size_t size);
void *__wrap_arena_alloc(Arena *arena, size_t size);
void *__real_arena_alloc_array(Arena *arena, size_t count, size_t size);
void *__wrap_arena_alloc_array(Arena *arena, size_t count, size_t size);
void *__real_arena_grow(Arena *arena, const void *old, size_t old_count, size_t new_count, size_t size);
void *__wrap_arena_grow(Arena *arena, const void *old, size_t old_count, size_t new_count, size_t size);
bool __real_arena_reserve(Arena *arena, void **items, int32_t count, int32_t *capacity, size_t size);
bool __wrap_arena_reserve(Arena *arena, void **items, int32_t count, int32_t *capacity, size_t size);
char *__real_arena_strdup(Arena *arena, const char *text);
char *__wrap_arena_strdup(Arena *arena, const char *text);
char *__real_arena_strndup(Arena *arena, const char *text, size_t length);
char *__wrap_arena_strndup(Arena *arena, const char *text, size_t length);

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    if (refused(&block_fault)) return NULL;
    blocks_alive++;
    return __real_aligned_alloc(alignment, size);
}

void __wrap_free(void *memory) {
    blocks_alive -= memory != NULL;
    __real_free(memory);
}

void *__wrap_arena_alloc(Arena *arena, size_t size) {
    return refused(&object_fault) ? NULL : __real_arena_alloc(arena, size);
}

void *__wrap_arena_alloc_array(Arena *arena, size_t count, size_t size) {
    return refused(&object_fault) ? NULL : __real_arena_alloc_array(arena, count, size);
}

void *__wrap_arena_grow(Arena *arena, const void *old, size_t old_count, size_t new_count, size_t size) {
    return refused(&object_fault) ? NULL : __real_arena_grow(arena, old, old_count, new_count, size);
}

bool __wrap_arena_reserve(Arena *arena, void **items, int32_t count, int32_t *capacity, size_t size) {
    return !refused(&object_fault) && __real_arena_reserve(arena, items, count, capacity, size);
}

char *__wrap_arena_strdup(Arena *arena, const char *text) {
    return refused(&object_fault) ? NULL : __real_arena_strdup(arena, text);
}

char *__wrap_arena_strndup(Arena *arena, const char *text, size_t length) {
    return refused(&object_fault) ? NULL : __real_arena_strndup(arena, text, length);
}

/* -- the whole way -- */

/* Of a model: what it should say, and for one that is run also, what goes in and should come out. */
typedef struct Case {
    const char *file;
    FileMap map;
    Tensor x, y; /* no data: the model is compiled only */
    double tolerance;
    const PrecisionOptions *precision;
    int expected;
} Case;

static Status compile(const Case *one, Model *model, Allocator *allocator, Arena *arena, ByteWriter *bytes,
                      Diag *diag) {
    LowerOptions options = {.target = "cpu"};
    Plan plan;
    TRY(model_import_bytes(one->map.data, one->map.size, "torture.onnx", NULL, NULL, allocator, model, diag));
    TRY(passes_run(model->graph, &(PassOptions){.precision = one->precision}, NULL, diag));
    TRY(lower_to_host(model->graph, &options, arena, &plan, diag));
    return plan_write_bytes(&plan, bytes, diag);
}

static int run(const void *plan, size_t size, const void *x, void *y, SmeltError *error) {
    SmeltContextOptions options = {.threads = 1};
    SmeltEngine *engine = NULL;
    SmeltContext *context = NULL;
    void *buffers[2];
    memcpy(buffers, (const void *[]){x, y}, sizeof buffers);
    int status = smelt_engine_load_memory(plan, size, NULL, &engine, error);
    if (status == SMELT_OK) status = smelt_context_create(engine, &options, &context, error);
    if (status == SMELT_OK) status = smelt_context_run(context, buffers, NULL, error);
    smelt_context_destroy(context);
    smelt_engine_destroy(engine);
    return status;
}

/* From bytes to outputs; everything is released whatever happens. */
static int whole_way(const Case *one) {
    Allocator allocator = {0};
    Arena arena = {.allocator = &allocator};
    ByteWriter bytes = byte_writer(&arena);
    Model model = {0};
    Diag diag = {0};
    int status = (int)compile(one, &model, &allocator, &arena, &bytes, &diag);
    CHECK(status == SMELT_OK || diag.text[0] != '\0');
    diag_format(&diag, last_error, sizeof last_error);
    if (status == SMELT_OK && one->x.data != NULL) {
        float y[MNIST_OUTPUTS] = {0};
        SmeltError error = {0};
        status = run(bytes.data, bytes.size, one->x.data, y, &error);
        CHECK(status == SMELT_OK || error.message[0] != '\0');
        memcpy(last_error, error.message, sizeof error.message);
        for (int i = 0; status == SMELT_OK && i < MNIST_OUTPUTS; ++i)
            CHECK_NEAR(y[i], ((const float *)one->y.data)[i], one->tolerance);
    }
    model_destroy(&model);
    arena_reset(&arena);
    CHECK_INT(allocator.in_use, 0);
    return status;
}

static void begin(uint64_t block, uint64_t object) {
    block_fault = (Fault){.fail_at = block};
    object_fault = (Fault){.fail_at = object};
}

/* Fails every stride-th, so that at most MOST_RUNS are needed. */
static void fail_each(const Case *one, bool objects) {
    begin(0, 0);
    CHECK_INT(whole_way(one), one->expected);
    uint64_t count = objects ? object_fault.count : block_fault.count, refusals = 0;
    uint64_t stride = 1 + count / MOST_RUNS;
    CHECK(count > 0);
    for (uint64_t n = 1; n <= count; n += stride) {
        int64_t alive = blocks_alive;
        begin(objects ? 0 : n, objects ? n : 0);
        int status = whole_way(one);
        bool fine = (status == SMELT_NO_MEMORY || status == one->expected) && blocks_alive == alive;
        if (!fine)
            fprintf(stderr, "%s: %s %llu of %llu: status %d (%s), %lld blocks left\n", one->file,
                    objects ? "object" : "block", (unsigned long long)n, (unsigned long long)count, status,
                    last_error, (long long)(blocks_alive - alive));
        CHECK(fine);
        refusals += status == SMELT_NO_MEMORY;
    }
    begin(0, 0);
    fprintf(stderr, "%s: %llu %s, one in %llu failed, %llu times out of memory\n", one->file,
            (unsigned long long)count, objects ? "objects" : "blocks", (unsigned long long)stride,
            (unsigned long long)refusals);
    CHECK(refusals > 0);
}

static double largest_of(const Tensor *tensor) {
    double largest = 0;
    for (int64_t i = 0; i < tensor_count(tensor); ++i)
        largest = fmax(largest, fabs(dtype_load_f64(tensor->dtype, tensor->data, i)));
    return largest;
}

int main(void) {
    static const char *const seeds = SMELT_SOURCE_DIR "/tests/fuzz/corpus/import";
    static const char *const mnist = SMELT_SOURCE_DIR "/tests/models/mnist-8";
    Arena arena = {0};
    Diag diag = {0};
    char **names;
    int32_t count;
    Case one = {.file = path_join(&arena, mnist, "model.onnx"), .tolerance = 1e-2};
    CHECK_OK(
        tensor_file_read(path_join(&arena, mnist, "test_data_set_0/input_0.pb"), &arena, &one.x, NULL, &diag),
        &diag);
    CHECK_OK(tensor_file_read(path_join(&arena, mnist, "test_data_set_0/output_0.pb"), &arena, &one.y, NULL,
                              &diag),
             &diag);
    CHECK_OK(file_map(one.file, &one.map, &diag), &diag);
    CHECK(tensor_count(&one.x) == MNIST_INPUTS && tensor_count(&one.y) == MNIST_OUTPUTS);
    if (test_failures == 0) {
        fail_each(&one, false);
        fail_each(&one, true);
        const PrecisionOptions narrow = {
            .half = DTYPE_F16, .lower = true, .samples = &one.x, .sample_count = 1, .most_work = INT64_MAX};
        one.precision = &narrow;
        one.tolerance = 2e-2 * largest_of(&one.y);
        fail_each(&one, true);
    }
    file_unmap(&one.map);
    Case yunet = {.file = SMELT_SOURCE_DIR "/tests/models/yunet-n-320/model.onnx"};
    CHECK_OK(file_map(yunet.file, &yunet.map, &diag), &diag);
    fail_each(&yunet, true);
    file_unmap(&yunet.map);
    CHECK_OK(folder_list(&arena, seeds, &names, &count, &diag), &diag);
    CHECK(count > 4);
    for (int32_t i = 0; i < count; ++i) {
        Case seed = {.file = path_join(&arena, seeds, names[i])};
        CHECK_OK(file_map(seed.file, &seed.map, &diag), &diag);
        begin(0, 0);
        seed.expected = whole_way(&seed);
        fail_each(&seed, true);
        file_unmap(&seed.map);
    }
    arena_reset(&arena);
    return test_result();
}
