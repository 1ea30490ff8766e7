/* GPU plans on the fake driver: tests/fake_cuda/fake_cuda.h says what that is worth. */
#include <pthread.h>

#include "tests/fake_cuda/loaded.h"
#include "tests/fake_cuda/main.h"

/* -- plans -- */

static void check_results(const float *x, const float *y, const float *z, const float *same, int count) {
    int wrong = 0;
    for (int i = 0; i < count; ++i)
        wrong += y[i] != -5 * (x[i] + x[count - 1 - i]) || z[i] != 2 * x[i] || same[i] != x[i];
    CHECK_INT(wrong, 0);
}

/* -- host memory -- */

static void run_rows(Loaded *loaded, int64_t rows, int seed) {
    float x[MOST_COUNT], y[MOST_COUNT], z[MOST_COUNT], same[MOST_COUNT];
    void *buffers[] = {x, y, z, same};
    fill(x, MOST_COUNT, seed);
    set_rows(loaded, rows);
    CHECK_INT(smelt_context_run(loaded->context, buffers, NULL, &loaded->error), SMELT_OK);
    if (loaded->error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded->error.message);
    check_results(x, y, z, same, (int)rows * 4);
}

static void test_run(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    const void *data;
    size_t size;
    open_plan(&loaded, &plan);
    for (int i = 0; i < 5; ++i) run_rows(&loaded, 2, i);
    CHECK_INT(fake.get(FAKE_CAPTURES), 1);
    CHECK_INT(fake.get(FAKE_GRAPH_LAUNCHES), 4);
    CHECK_INT(fake.get(FAKE_LAUNCHES), 5 * 4);
    for (int rows = 0; rows <= 8; ++rows) run_rows(&loaded, rows, rows);
    run_rows(&loaded, 2, 77);
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    void *buffers[] = {x, NULL, NULL, NULL};
    CHECK_INT(smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_OK);
    CHECK_INT(smelt_context_output(loaded.context, 2, &data, &size, &loaded.error), SMELT_OK);
    CHECK_INT(size, 32);
    CHECK(data != NULL && ((const float *)data)[7] == 16.0F);
    close_plan(&loaded);
}

static void test_late(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_short(&loaded.arena, true);
    float x[8] = {0, 2, 0, 0, 5, 0, 0, 8}, y[8];
    int64_t where[6], dims[8];
    size_t sizes[] = {sizeof x, sizeof y, sizeof where};
    void *buffers[] = {x, y, where};
    int rank;
    open_plan(&loaded, &plan);
    set_rows(&loaded, 2);
    for (int i = 0; i < 4; ++i) {
        memset(where, 0, sizeof where);
        CHECK_INT(smelt_context_run(loaded.context, buffers, sizes, &loaded.error), SMELT_OK);
        CHECK_INT(smelt_context_shape(loaded.context, 2, &rank, dims, &loaded.error), SMELT_OK);
        CHECK(rank == 2 && dims[0] == 2 && dims[1] == 3);
        CHECK(where[0] == 0 && where[1] == 1 && where[2] == 1 && where[3] == 1 && where[4] == 0 &&
              where[5] == 3);
        CHECK(y[7] == 24.0F);
    }
    sizes[2] = 8;
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, sizes, &loaded.error), SMELT_BAD_DATA,
           "needs 48 bytes");
    sizes[2] = sizeof where;
    CHECK_INT(smelt_context_run(loaded.context, buffers, sizes, &loaded.error), SMELT_OK);
    close_plan(&loaded);
}

static void test_control_flow(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_control(&loaded.arena);
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, z[8];
    uint8_t cond;
    void *buffers[] = {x, &cond, z};
    open_plan(&loaded, &plan);
    set_rows(&loaded, 2);
    for (int i = 0; i < 6; ++i) {
        cond = (uint8_t)(i % 2);
        x[7] = (float)i;
        CHECK_INT(smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_OK);
        if (loaded.error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded.error.message);
        for (int k = 0; k < 8; ++k) CHECK(z[k] == (cond != 0 ? 2 : -2) * x[k]);
    }
    close_plan(&loaded);
}

/* Streams of contexts and callers do not wait for copies that are on the way. */
static void test_weights_arrive(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    fake.reset();
    open_plan(&loaded, &plan);
    CHECK_INT(fake.get(FAKE_COPIES), 1);
    close_plan(&loaded);
}

/* Each GPU gets its launches, and only their kernels. */
static void test_architectures(void) {
    static const int launches[2] = {3, 2}, capabilities[2] = {80, 90};
    for (int i = 0; i < 2; ++i) {
        Loaded loaded = {0};
        Plan plan = sample_cuda_archs(&loaded.arena);
        float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8];
        void *buffers[] = {x, y};
        fake.reset();
        fake.set(FAKE_COMPUTE_CAPABILITY, capabilities[i]);
        open_plan(&loaded, &plan);
        set_rows(&loaded, 2);
        for (int run = 0; run < 3; ++run)
            CHECK_INT(smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_OK);
        for (int k = 0; k < 8; ++k) CHECK(y[k] == 3 * x[k]);
        CHECK_INT(fake.get(FAKE_LAUNCHES), 3 * launches[i]);
        close_plan(&loaded);
    }
    fake.reset();
}

/* Every allocation of preparing and running fails once; the context stays usable. */
static void test_failing_allocations(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    float x[MOST_COUNT] = {0}, y[MOST_COUNT], z[MOST_COUNT], same[MOST_COUNT];
    void *buffers[] = {x, y, z, same};
    int status = SMELT_NO_MEMORY, failures = 0;
    open_plan(&loaded, &plan);
    for (int64_t n = 1; n <= 1000 && status != SMELT_OK; ++n) {
        set_rows(&loaded, 1 + n % 2); /* other shapes, so that all is prepared again */
        loaded.context->allocator.fail_at = loaded.context->allocator.count + (uint64_t)n;
        status = smelt_context_run(loaded.context, buffers, NULL, &loaded.error);
        loaded.context->allocator.fail_at = 0;
        CHECK(status == SMELT_OK || status == SMELT_NO_MEMORY);
        failures += status == SMELT_NO_MEMORY;
    }
    CHECK_INT(status, SMELT_OK);
    CHECK(failures >= 2);
    for (int64_t bytes = 4; bytes < 2000; bytes += 60) { /* and of the device */
        Loaded small = {.engine = loaded.engine};
        fake.set(FAKE_MEMORY, fake.get(FAKE_LIVE_BYTES) + bytes);
        open_fake_context(&small, false);
        set_rows(&small, 8);
        status = smelt_context_run(small.context, buffers, NULL, &small.error);
        CHECK(status == SMELT_OK || status == SMELT_NO_MEMORY);
        fake.set(FAKE_MEMORY, 1 << 20);
        run_rows(&small, 8, 5);
        smelt_context_destroy(small.context);
    }
    run_rows(&loaded, 8, 3);
    close_plan(&loaded);
}

/* -- device memory -- */

typedef struct DeviceBuffers {
    void *context;
    unsigned long long memory[4];
    int count;
} DeviceBuffers;

static void open_buffers(DeviceBuffers *buffers, int count) {
    buffers->count = count;
    CHECK_INT(fake.retain(&buffers->context, 0), 0);
    CHECK_INT(fake.push(buffers->context), 0);
    for (int i = 0; i < count; ++i) CHECK_INT(fake.alloc(&buffers->memory[i], 512), 0);
    CHECK_INT(fake.pop(&buffers->context), 0);
}

static void close_buffers(DeviceBuffers *buffers) {
    for (int i = 0; i < buffers->count; ++i) CHECK_INT(fake.free(buffers->memory[i]), 0);
    CHECK_INT(fake.release(0), 0);
}

static void write_buffer(DeviceBuffers *buffers, size_t offset, const void *from, size_t size) {
    CHECK_INT(fake.push(buffers->context), 0);
    CHECK_INT(fake.copy_in(buffers->memory[0] + offset, from, size), 0);
    CHECK_INT(fake.pop(&buffers->context), 0);
}

static void read_buffer(DeviceBuffers *buffers, int index, void *to, size_t size) {
    CHECK_INT(fake.push(buffers->context), 0);
    CHECK_INT(fake.copy_out(to, buffers->memory[index], size, NULL), 0);
    CHECK_INT(fake.synchronize(), 0);
    CHECK_INT(fake.pop(&buffers->context), 0);
}

static void pointers_of(const DeviceBuffers *buffers, size_t offset, void **out) {
    for (int i = 0; i < buffers->count; ++i) out[i] = (void *)(uintptr_t)(buffers->memory[i] + offset);
}

static void enqueue_rows(Loaded *loaded, DeviceBuffers *buffers, size_t offset, int rows, int seed) {
    float x[MOST_COUNT], y[MOST_COUNT + 64], z[MOST_COUNT + 64], same[MOST_COUNT + 64];
    void *pointers[4];
    fill(x, MOST_COUNT, seed);
    set_rows(loaded, rows);
    write_buffer(buffers, offset, x, sizeof x);
    pointers_of(buffers, offset, pointers);
    CHECK_INT(smelt_context_enqueue(loaded->context, NULL, pointers, NULL, &loaded->error), SMELT_OK);
    if (loaded->error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded->error.message);
    size_t first = offset / sizeof(float), size = offset + (size_t)rows * 16;
    read_buffer(buffers, 1, y, size);
    read_buffer(buffers, 2, z, size);
    read_buffer(buffers, 3, same, size);
    check_results(x, y + first, z + first, same + first, rows * 4);
}

static void test_enqueue(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    DeviceBuffers buffers = {0};
    open_plan(&loaded, &plan);
    open_buffers(&buffers, 4);
    for (int i = 0; i < 4; ++i) enqueue_rows(&loaded, &buffers, 0, 3, i);
    CHECK_INT(fake.get(FAKE_CAPTURES), 1);
    int64_t allocations = fake.get(FAKE_ALLOCATIONS);
    for (int i = 0; i < 20; ++i) enqueue_rows(&loaded, &buffers, 0, 3, i);
    CHECK_INT(fake.get(FAKE_ALLOCATIONS), allocations);
    for (int i = 0; i < 3; ++i)
        for (size_t offset = 0; offset < 256; offset += 16) enqueue_rows(&loaded, &buffers, offset, 3, i);
    CHECK(fake.get(FAKE_LIVE_GRAPHS) <= 8);
    for (int i = 0; i < 9; ++i) {
        enqueue_rows(&loaded, &buffers, 0, i % 3 * 4, i);
        run_rows(&loaded, 8 - i % 9, i);
    }
    close_buffers(&buffers);
    close_plan(&loaded);
}

/* Without host steps an enqueue neither waits nor allocates. */
static void test_enqueue_is_asynchronous(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_short(&loaded.arena, false);
    DeviceBuffers buffers = {0};
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8];
    void *pointers[4];
    open_plan(&loaded, &plan);
    open_buffers(&buffers, 2);
    pointers_of(&buffers, 0, pointers);
    set_rows(&loaded, 2);
    CHECK_INT(smelt_context_prepare(loaded.context, &loaded.error), SMELT_OK);
    write_buffer(&buffers, 0, x, sizeof x);
    int64_t waits = fake.get(FAKE_WAITS), allocations = fake.get(FAKE_ALLOCATIONS),
            copies = fake.get(FAKE_COPIES);
    for (int i = 0; i < 5; ++i)
        CHECK_INT(smelt_context_enqueue(loaded.context, NULL, pointers, NULL, &loaded.error), SMELT_OK);
    CHECK_INT(fake.get(FAKE_WAITS), waits);
    CHECK_INT(fake.get(FAKE_ALLOCATIONS), allocations);
    CHECK_INT(fake.get(FAKE_COPIES), copies);
    CHECK_INT(fake.get(FAKE_LAUNCHES), 0); /* nobody has waited */
    CHECK_INT(fake.get(FAKE_GRAPH_LAUNCHES), 4);
    read_buffer(&buffers, 1, y, sizeof y);
    CHECK_INT(fake.get(FAKE_LAUNCHES), 15);
    for (int i = 0; i < 8; ++i) CHECK(y[i] == 3 * x[i]);
    close_buffers(&buffers);
    close_plan(&loaded);
}

static void test_enqueue_late(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_short(&loaded.arena, true);
    DeviceBuffers buffers = {0};
    float x[8] = {0, 2, 0, 0, 5, 0, 0, 8};
    int64_t where[6];
    size_t sizes[] = {512, 512, 512};
    void *pointers[4];
    open_plan(&loaded, &plan);
    open_buffers(&buffers, 3);
    pointers_of(&buffers, 0, pointers);
    set_rows(&loaded, 2);
    write_buffer(&buffers, 0, x, sizeof x);
    CHECK_INT(smelt_context_enqueue(loaded.context, NULL, pointers, sizes, &loaded.error), SMELT_OK);
    read_buffer(&buffers, 2, where, sizeof where);
    CHECK(where[2] == 1 && where[3] == 1 && where[5] == 3);
    EXPECT(&loaded, smelt_context_enqueue(loaded.context, NULL, pointers, NULL, &loaded.error), SMELT_USAGE,
           "needs to know the size");
    sizes[2] = 40;
    EXPECT(&loaded, smelt_context_enqueue(loaded.context, NULL, pointers, sizes, &loaded.error),
           SMELT_BAD_DATA, "output 'where' needs 48 bytes, its memory has 40");
    close_buffers(&buffers);
    close_plan(&loaded);
}

static void test_bad_buffers(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_short(&loaded.arena, false);
    DeviceBuffers buffers = {0};
    size_t sizes[] = {512, 16};
    void *pointers[4];
    open_plan(&loaded, &plan);
    open_buffers(&buffers, 2);
    pointers_of(&buffers, 4, pointers);
    EXPECT(&loaded, smelt_context_enqueue(loaded.context, NULL, pointers, NULL, &loaded.error), SMELT_USAGE,
           "no shape has been set");
    set_rows(&loaded, 2);
    EXPECT(&loaded, smelt_context_enqueue(loaded.context, NULL, pointers, NULL, &loaded.error), SMELT_USAGE,
           "'x' is not aligned to 16");
    pointers_of(&buffers, 0, pointers);
    EXPECT(&loaded, smelt_context_enqueue(loaded.context, NULL, pointers, sizes, &loaded.error),
           SMELT_BAD_DATA, "'y' needs 32 bytes, its memory has 16");
    pointers[1] = NULL;
    EXPECT(&loaded, smelt_context_enqueue(loaded.context, NULL, pointers, NULL, &loaded.error), SMELT_USAGE,
           "'y' has no memory");
    close_buffers(&buffers);
    close_plan(&loaded);
}

static void test_workspace(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    DeviceBuffers buffers = {0};
    CHECK_INT(load(&loaded, &plan, NULL), SMELT_OK);
    open_fake_context(&loaded, true);
    open_buffers(&buffers, 2);
    set_rows(&loaded, 2);
    EXPECT(&loaded, smelt_context_prepare(loaded.context, &loaded.error), SMELT_NO_MEMORY,
           "needs 544 bytes; the caller's workspace has 0");
    CHECK_INT(smelt_context_workspace(loaded.context), 544);
    EXPECT(&loaded,
           smelt_context_set_workspace(loaded.context, (void *)(uintptr_t)(buffers.memory[0] + 8), 544,
                                       &loaded.error),
           SMELT_USAGE, "aligned to 256");
    close_buffers(&buffers);
    open_buffers(&buffers, 0);
    CHECK_INT(fake.push(buffers.context), 0);
    CHECK_INT(fake.alloc(&buffers.memory[0], 1024), 0);
    CHECK_INT(fake.pop(&buffers.context), 0);
    buffers.count = 1;
    CHECK_INT(smelt_context_set_workspace(loaded.context, (void *)(uintptr_t)buffers.memory[0], 1024,
                                          &loaded.error),
              SMELT_OK);
    for (int i = 0; i < 4; ++i) run_rows(&loaded, 2, i);
    close_buffers(&buffers);
    close_plan(&loaded);
}

static void test_current_context(void) {
    Loaded loaded = {0};
    SmeltEngineOptions options = {.use_current_context = 1};
    Plan plan = sample_cuda_plan(&loaded.arena);
    void *context = NULL;
    EXPECT(&loaded, load(&loaded, &plan, &options), SMELT_USAGE, "no CUDA context is current");
    CHECK_INT(fake.retain(&context, 0), 0);
    CHECK_INT(fake.push(context), 0);
    CHECK_INT(load(&loaded, &plan, &options), SMELT_OK);
    open_fake_context(&loaded, false);
    run_rows(&loaded, 3, 1);
    CHECK_INT(fake.pop(&context), 0);
    run_rows(&loaded, 3, 2);
    CHECK_INT(fake.release(0), 0);
    close_plan(&loaded);
}

/* -- what can go wrong -- */

static void expect_load(const SmeltEngineOptions *options, int status, const char *part) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    EXPECT(&loaded, load(&loaded, &plan, options), status, part);
    close_plan(&loaded);
}

static void test_wrong_device(void) {
    SmeltEngineOptions missing = {.cuda_library = "libno_such_driver.so"}, second = {.device = 1};
    expect_load(&missing, SMELT_WRONG_DEVICE, "no CUDA driver: libno_such_driver.so");
    expect_load(&second, SMELT_WRONG_DEVICE, "there is no GPU 1; this machine has 1");
    fake.set(FAKE_DEVICES, 0);
    expect_load(NULL, SMELT_WRONG_DEVICE, "finds no GPU");
    fake.reset();
    fake.set(FAKE_DRIVER_VERSION, 11080);
    expect_load(NULL, SMELT_WRONG_DEVICE, "the driver supports CUDA 11.8; 12.0 is needed");
    fake.set(FAKE_DRIVER_VERSION, 12020);
    expect_load(NULL, SMELT_WRONG_DEVICE, "the plan needs a driver for CUDA 12.4; this one supports 12.2");
    fake.reset();
    fake.set(FAKE_COMPUTE_CAPABILITY, 75);
    expect_load(NULL, SMELT_WRONG_DEVICE, "holds code for sm_80, sm_90a; this GPU, Fake GPU 0, is sm_75");
    fake.set(FAKE_COMPUTE_CAPABILITY, 100);
    expect_load(NULL, SMELT_WRONG_DEVICE, "is sm_100");
    fake.set(FAKE_COMPUTE_CAPABILITY, 89); /* runs the code for sm_80 */
    expect_load(NULL, SMELT_OK, "");
    fake.set(FAKE_MAX_THREADS, 64);
    expect_load(NULL, SMELT_BAD_PLAN, "launch 0 has blocks of 128 threads; its kernel allows 64");
    fake.reset();
}

static void test_bad_kernels(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    plan.kernels[1].entry = "unknown";
    EXPECT(&loaded, load(&loaded, &plan, NULL), SMELT_BAD_PLAN, "kernel 1 'unknown' does not load");
    close_plan(&loaded);
    plan = sample_cuda_plan(&loaded.arena);
    plan.launches[0].shared_bytes = 200 << 10;
    EXPECT(&loaded, load(&loaded, &plan, NULL), SMELT_WRONG_DEVICE, "needs 204800 bytes of shared memory");
    close_plan(&loaded);
    plan = sample_cuda_plan(&loaded.arena);
    plan.kernels[0].param_count = 3;
    plan.launches[0].arg_count = plan.launches[2].arg_count = 3;
    plan.launches[1].arg_first = 3;
    plan.launches[2].arg_first = 7;
    plan.launches[3].arg_first = 10;
    plan.arg_count = 14;
    memmove(plan.args + 3, plan.args + 4, 4 * sizeof *plan.args);
    memmove(plan.args + 7, plan.args + 8, 3 * sizeof *plan.args);
    memmove(plan.args + 10, plan.args + 12, 4 * sizeof *plan.args);
    EXPECT(&loaded, load(&loaded, &plan, NULL), SMELT_BAD_PLAN, "'fake_add' does not take 3 parameters");
    close_plan(&loaded);
    plan = sample_cuda_plan(&loaded.arena);
    plan.meta[2].value = "cpu";
    EXPECT(&loaded, load(&loaded, &plan, NULL), SMELT_BAD_PLAN, "a plan for target 'cpu' has launches");
    close_plan(&loaded);
    plan = sample_cuda_plan(&loaded.arena);
    plan.values[6].index = 2; /* no view any more, so that its step would have to compute it */
    plan.buffers[2].last = 5;
    EXPECT(&loaded, load(&loaded, &plan, NULL), SMELT_BAD_PLAN,
           "step 4 launches nothing for its operator 5 (Flatten)");
    close_plan(&loaded);
}

static void test_no_memory(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    fake.set(FAKE_MEMORY, 2);
    EXPECT(&loaded, load(&loaded, &plan, NULL), SMELT_NO_MEMORY,
           "4 B for weights do not fit on Fake GPU 0, which has 2 B free of 2 B");
    close_plan(&loaded);
    fake.set(FAKE_MEMORY, 300);
    plan = sample_cuda_plan(&loaded.arena);
    open_plan(&loaded, &plan);
    set_rows(&loaded, 2);
    EXPECT(&loaded, smelt_context_prepare(loaded.context, &loaded.error), SMELT_NO_MEMORY,
           "544 B for the arena, beside 4 B of weights, do not fit on Fake GPU 0");
    fake.set(FAKE_MEMORY, 1 << 20);
    run_rows(&loaded, 2, 3);
    close_plan(&loaded);
    fake.reset();
}

/* A fault of the GPU: this run and all later ones fail, and everything can still be destroyed. */
static void test_fault(void) {
    for (int when = 1; when <= 8; ++when) {
        Loaded loaded = {0};
        Plan plan = sample_cuda_plan(&loaded.arena);
        float x[MOST_COUNT] = {0}, y[MOST_COUNT];
        void *buffers[] = {x, y, NULL, NULL};
        open_plan(&loaded, &plan);
        set_rows(&loaded, 2);
        fake.set(FAKE_FAIL_LAUNCH, when);
        int status = smelt_context_run(loaded.context, buffers, NULL, &loaded.error);
        if (status == SMELT_OK) status = smelt_context_run(loaded.context, buffers, NULL, &loaded.error);
        CHECK_INT(status, SMELT_CUDA_FAILED);
        CHECK(strstr(loaded.error.message, "CUDA_ERROR_ILLEGAL_ADDRESS") != NULL);
        EXPECT(&loaded, smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_CUDA_FAILED,
               "the GPU failed in an earlier run: ");
        close_plan(&loaded);
        fake.reset();
    }
}

/* Two stretches on the GPU with a host step behind each. For the fake driver a launch takes 10 us, and what
 * is between two events 250 us more: the first graph's start, and in the second stretch part of its first
 * step. */
static void test_profile(void) {
    enum { RUNS = 12 };
    static const struct {
        int64_t runs;
        double microseconds;
    } steps[6] = {{RUNS / 2, 10}, {RUNS, -1}, {RUNS / 2, 260}, {RUNS / 2, 20}, {0, 0}, {RUNS, -1}};
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    SmeltStepProfile step;
    SmeltRunTimes times;
    open_plan(&loaded, &plan);
    int64_t objects = fake.get(FAKE_LIVE_GRAPHS);
    CHECK_NEAR(smelt_context_profile_start(loaded.context), 0, 0);
    CHECK_INT(smelt_context_profile(loaded.context, 1, &loaded.error), SMELT_OK);
    CHECK_INT(smelt_context_timing(loaded.context, 1, &loaded.error), SMELT_OK);
    for (int i = 0; i < RUNS; ++i) run_rows(&loaded, 2, i);
    for (int i = 0; i < 6; ++i) {
        CHECK_INT(smelt_context_step(loaded.context, i, &step, &loaded.error), SMELT_OK);
        CHECK_INT(step.runs, steps[i].runs);
        if (steps[i].microseconds >= 0) CHECK_NEAR(step.microseconds, steps[i].microseconds, 1e-2);
    }
    CHECK_NEAR(smelt_context_profile_start(loaded.context), 250, 1e-2);
    CHECK_INT(smelt_context_run_times(loaded.context, &times, &loaded.error), SMELT_OK);
    CHECK_NEAR(times.copy_in, 250, 1e-3);
    CHECK_NEAR(times.copy_out, 250, 1e-3);
    CHECK_INT(smelt_context_profile(loaded.context, 0, &loaded.error), SMELT_OK);
    fake.reset();
    for (int i = 0; i < 3; ++i) run_rows(&loaded, 2, i);
    CHECK_INT(fake.get(FAKE_GRAPH_LAUNCHES), 2);
    CHECK_INT(smelt_context_profile(loaded.context, 1, &loaded.error), SMELT_OK);
    CHECK_INT(smelt_context_step(loaded.context, 0, &step, &loaded.error), SMELT_OK);
    CHECK_INT(step.runs, 0);
    close_plan(&loaded);
    CHECK_INT(fake.get(FAKE_LIVE_GRAPHS), objects);
}

/* Without what it needs nothing is profiled, and nothing stays behind. */
static void test_no_profile(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    open_plan(&loaded, &plan);
    int64_t objects = fake.get(FAKE_LIVE_OBJECTS);
    fake.set(FAKE_FAIL_EVENT, 4);
    EXPECT(&loaded, smelt_context_profile(loaded.context, 1, &loaded.error), SMELT_NO_MEMORY, "an event");
    CHECK_INT(fake.get(FAKE_LIVE_OBJECTS), objects);
    run_rows(&loaded, 2, 0);
    CHECK_INT(smelt_context_profile(loaded.context, 1, &loaded.error), SMELT_OK);
    run_rows(&loaded, 2, 1);
    close_plan(&loaded);
    fake.reset();
}

static void test_step_operators(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    const char *origins;
    double flops;
    open_plan(&loaded, &plan);
    run_rows(&loaded, 2, 1);
    CHECK_INT(smelt_context_step_operator(loaded.context, 3, 1, &origins, &flops, &loaded.error), SMELT_OK);
    CHECK_STR(origins, "fifth");
    CHECK_NEAR(flops, 8, 0);
    EXPECT(&loaded, smelt_context_step_operator(loaded.context, 3, 2, &origins, &flops, &loaded.error),
           SMELT_USAGE, "no operator 2, of 2");
    close_plan(&loaded);
}

typedef struct Worker {
    pthread_t thread;
    Loaded loaded; /* the engine is shared */
    int seed, failures;
} Worker;

/* Counts for itself: the macros' counters are for one thread. */
static void *work(void *user) {
    Worker *worker = user;
    Loaded *loaded = &worker->loaded;
    float x[MOST_COUNT] = {0}, y[MOST_COUNT] = {0}, z[MOST_COUNT] = {0}, same[MOST_COUNT] = {0};
    void *buffers[] = {x, y, z, same};
    for (int i = 0; i < 50; ++i) {
        int64_t dims[] = {1 + (i + worker->seed) % 8, 4};
        int count = (int)dims[0] * 4;
        fill(x, MOST_COUNT, i + worker->seed);
        worker->failures +=
            smelt_context_set_shape(loaded->context, 0, 2, dims, &loaded->error) != SMELT_OK ||
            smelt_context_run(loaded->context, buffers, NULL, &loaded->error) != SMELT_OK;
        for (int k = 0; k < count; ++k)
            worker->failures += y[k] != -5 * (x[k] + x[count - 1 - k]) || z[k] != 2 * x[k] || same[k] != x[k];
    }
    return NULL;
}

static void test_threads(void) {
    enum { WORKERS = 4 };
    Loaded loaded = {0};
    Worker workers[WORKERS] = {0};
    Plan plan = sample_cuda_plan(&loaded.arena);
    CHECK_INT(load(&loaded, &plan, NULL), SMELT_OK);
    for (int i = 0; i < WORKERS; ++i) {
        workers[i].loaded.engine = loaded.engine;
        workers[i].seed = i;
        open_fake_context(&workers[i].loaded, false);
        CHECK_INT(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; ++i) {
        pthread_join(workers[i].thread, NULL);
        CHECK_INT(workers[i].failures, 0);
        smelt_context_destroy(workers[i].loaded.context);
    }
    close_plan(&loaded);
}

static void test_device(void) {
    SmeltDevice device;
    SmeltError error;
    CHECK_INT(smelt_device(0, &device, &error), SMELT_OK);
    CHECK_STR(device.name, "Fake GPU 0");
    CHECK_INT(device.compute_capability, 90);
    CHECK_INT(device.driver_version, 13000);
    CHECK_INT(smelt_device(1, &device, &error), SMELT_WRONG_DEVICE);
}

int main(void) {
    /* clang-format off */
    static void (*const tests[])(void) = {
        test_run, test_late, test_failing_allocations, test_control_flow, test_weights_arrive, test_enqueue,
        test_enqueue_is_asynchronous, test_enqueue_late, test_bad_buffers, test_workspace, test_current_context,
        test_wrong_device, test_bad_kernels, test_no_memory, test_fault, test_profile, test_no_profile, test_step_operators,
        test_threads, test_device, test_architectures};
    /* clang-format on */
    return run_on_fake(sizeof tests / sizeof tests[0], tests);
}
