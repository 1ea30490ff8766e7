/* Plans built by hand, run through the public interface. */
#include <pthread.h>

#include "ops/attr.h"
#include "plan_loaded.h"
#include "plan_sample.h"

#if defined(__SANITIZE_ADDRESS__)
/* Plans that ask for absurd memory must get NO_MEMORY, not the sanitizer's abort. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1:max_allocation_size_mb=4096";
}
#endif

static void open_plan(Loaded *loaded, Plan *plan) {
    const SmeltContextOptions options = {.threads = 2};
    CHECK_INT(load(loaded, plan, NULL), SMELT_OK);
    open_context(loaded, &options);
}

static float expected_y(float x, float w) {
    float sum = x + w;
    return (sum > 0.0f ? sum : 0.0f) + x;
}

static void check_sample_run(Loaded *loaded, int64_t n) {
    float x[64], y[64];
    void *buffers[] = {x, y};
    for (int i = 0; i < 64; ++i) x[i] = (float)(i % 7) - 3.0f;
    int64_t dims[] = {n, 4}, found[SMELT_RANK_LIMIT];
    int rank = 0;
    CHECK_INT(smelt_context_set_shape(loaded->context, 0, 2, dims, &loaded->error), SMELT_OK);
    CHECK_INT(smelt_context_shape(loaded->context, 1, &rank, found, &loaded->error), SMELT_OK);
    CHECK_INT(rank, 2);
    CHECK_INT(found[0], n);
    CHECK_INT(smelt_context_run(loaded->context, buffers, NULL, &loaded->error), SMELT_OK);
    static const float w[] = {1.0f, -2.0f, 3.0f, -4.0f};
    for (int64_t i = 0; i < 4 * n; ++i) CHECK_NEAR(y[i], expected_y(x[i], w[i % 4]), 0);
}

static void test_sample(void) {
    Loaded loaded = {0};
    Plan plan = sample_plan(&loaded.arena, false);
    open_plan(&loaded, &plan);
    SmeltBinding binding;
    CHECK_INT(smelt_engine_binding_count(loaded.engine), 2);
    CHECK_INT(smelt_engine_find_binding(loaded.engine, "y"), 1);
    CHECK_INT(smelt_engine_find_binding(loaded.engine, "w"), -1);
    CHECK_INT(smelt_engine_binding(loaded.engine, 0, &binding, NULL), SMELT_OK);
    CHECK_INT(binding.dims[0], -1);
    CHECK_INT(binding.min_dims[0], 1);
    CHECK_INT(binding.opt_dims[0], plan.symbols[0].opt);
    CHECK_INT(binding.max_dims[0], 8);
    CHECK_INT(binding.max_dims[1], 4);
    check_sample_run(&loaded, 3);
    check_sample_run(&loaded, 8);
    check_sample_run(&loaded, 1);
    unload(&loaded);
}

/* Without a layout for all shapes, each set of shapes gets one. */
static void test_not_fixed(void) {
    Loaded loaded = {0};
    Plan plan = sample_plan(&loaded.arena, false);
    plan.symbols[0].max = INT64_MAX;
    plan.fixed = false;
    plan.buffers[0].capacity = 0;
    plan.buffers[0].offset = -1;
    open_plan(&loaded, &plan);
    check_sample_run(&loaded, 2);
    check_sample_run(&loaded, 16);
    CHECK(smelt_context_workspace(loaded.context) >= 256);
    unload(&loaded);
}

static void test_result_kept(void) {
    Loaded loaded = {0};
    Plan plan = sample_plan(&loaded.arena, false);
    open_plan(&loaded, &plan);
    float x[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    void *buffers[] = {x, NULL};
    int64_t dims[] = {2, 4};
    const void *data;
    size_t size;
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_USAGE,
           "no shape has been set");
    EXPECT(&loaded, smelt_context_output(loaded.context, 1, &data, &size, &loaded.error), SMELT_USAGE,
           "no run");
    CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, dims, NULL), SMELT_OK);
    CHECK_INT(smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_OK);
    CHECK_INT(smelt_context_output(loaded.context, 1, &data, &size, &loaded.error), SMELT_OK);
    CHECK_INT(size, 32);
    CHECK_NEAR(((const float *)data)[2], 2 + 3 + 2, 0);
    unload(&loaded);
}

static void test_bad_calls(void) {
    Loaded loaded = {0};
    Plan plan = sample_plan(&loaded.arena, false);
    open_plan(&loaded, &plan);
    float x[40] = {0}, y[40];
    void *buffers[] = {x, y};
    size_t sizes[] = {32, 31};
    int64_t nine[] = {9, 4}, five[] = {2, 5}, two[] = {2, 4};
    EXPECT(&loaded, smelt_context_set_shape(loaded.context, 1, 2, two, &loaded.error), SMELT_USAGE,
           "is an output");
    EXPECT(&loaded, smelt_context_set_shape(loaded.context, 0, 3, two, &loaded.error), SMELT_BAD_DATA,
           "has rank 3, expected 2");
    EXPECT(&loaded, smelt_context_set_shape(loaded.context, 0, 2, five, &loaded.error), SMELT_BAD_DATA,
           "input 'x': dimension 1 is 5, expected 4");
    CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, nine, &loaded.error), SMELT_OK);
    EXPECT(&loaded, smelt_context_prepare(loaded.context, &loaded.error), SMELT_BAD_DATA,
           "dimension 0 ('n') is 9; the plan is for 1 to 8");
    CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, two, &loaded.error), SMELT_OK);
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, sizes, &loaded.error), SMELT_BAD_DATA,
           "'y' needs 32 bytes, its memory has 31");
    buffers[0] = NULL;
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_USAGE,
           "input 'x' has no memory");
    buffers[0] = (char *)x + 1;
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_USAGE,
           "not aligned");
    unload(&loaded);
}

static void test_profile(void) {
    Loaded loaded = {0};
    Plan plan = sample_plan(&loaded.arena, false);
    open_plan(&loaded, &plan);
    SmeltStepProfile step;
    CHECK_INT(smelt_context_step_count(loaded.context), 1);
    CHECK_INT(smelt_context_profile(loaded.context, 1, NULL), SMELT_OK);
    check_sample_run(&loaded, 2);
    check_sample_run(&loaded, 2);
    CHECK_INT(smelt_context_step(loaded.context, 0, &step, NULL), SMELT_OK);
    CHECK_STR(step.name, "add+relu+add");
    CHECK_STR(step.origins, "first\nsecond\nthird\nfourth");
    CHECK_INT(step.runs, 2);
    CHECK(step.microseconds > 0);
    EXPECT(&loaded, smelt_context_step(loaded.context, 1, &step, &loaded.error), SMELT_USAGE,
           "no step 1, of 1");
    unload(&loaded);
}

/* -- chains: a whole step over blocks, with every way of reading an input -- */

/* y = relu(x + c) * s + t with x f32[2, 3, 100], c f32[3, 1], s f32[], t f32[100]. */
static void test_chain(void) {
    enum { N = 2, C = 3, L = 100, COUNT = N * C * L };
    static float weights[64 + 64 + 128];
    static const int32_t operands[] = {0, 1, 4, 4, 5, 5, 2, 6, 6, 3, 7};
    Loaded loaded = {0};
    for (int i = 0; i < C; ++i) weights[i] = (float)i - 1.0f;
    weights[64] = 3.0f;
    for (int i = 0; i < L; ++i) weights[128 + i] = (float)i;
    PlanValue values[] = {{"x", DTYPE_F32, 3, {N, C, L}, PLAN_BINDING, 0, 0, false, 0},
                          {"c", DTYPE_F32, 2, {C, 1}, PLAN_WEIGHT, -1, 0, false, 0},
                          {"s", DTYPE_F32, 0, {0}, PLAN_WEIGHT, -1, 256, false, 0},
                          {"t", DTYPE_F32, 1, {L}, PLAN_WEIGHT, -1, 512, false, 0},
                          {"a", DTYPE_F32, 3, {N, C, L}, PLAN_BUFFER, 0, 0, false, 0},
                          {"b", DTYPE_F32, 3, {N, C, L}, PLAN_BUFFER, 0, 0, false, 0},
                          {"d", DTYPE_F32, 3, {N, C, L}, PLAN_BUFFER, 0, 0, false, 0},
                          {"y", DTYPE_F32, 3, {N, C, L}, PLAN_BINDING, 1, 0, false, 0}};
    PlanOp ops[] = {{"", "Add", 0, 2, 1, operands, operands + 2, sample_no_attrs, 4, ""},
                    {"", "Relu", 0, 1, 1, operands + 3, operands + 4, sample_no_attrs, 4, ""},
                    {"", "Mul", 0, 2, 1, operands + 5, operands + 7, sample_no_attrs, 4, ""},
                    {"", "Add", 0, 2, 1, operands + 8, operands + 10, sample_no_attrs, 4, ""}};
    PlanStep step = {.name = "chain", .op_count = 4, .reason = ""};
    PlanProgram program = {"main", -1, 1, 1, operands, operands + 10, 0, 1};
    PlanBuffer buffer = {4 * COUNT, 0, 0, 0, 4 * COUNT};
    PlanBinding bindings[] = {{"x", 0, false}, {"y", 7, true}};
    PlanMeta meta = {"target", "cpu"};
    Plan plan = {.meta_count = 1,
                 .meta = &meta,
                 .value_count = 8,
                 .values = values,
                 .op_count = 4,
                 .ops = ops,
                 .step_count = 1,
                 .steps = &step,
                 .program_count = 1,
                 .programs = &program,
                 .buffer_count = 1,
                 .buffers = &buffer,
                 .binding_count = 2,
                 .bindings = bindings,
                 .arena_size = 4 * COUNT,
                 .fixed = true,
                 .weights = (const uint8_t *)weights,
                 .weights_size = sizeof weights};
    open_plan(&loaded, &plan);
    static float x[COUNT], y[COUNT];
    void *buffers[] = {x, y};
    for (int i = 0; i < COUNT; ++i) x[i] = (float)(i % 11) - 5.0f;
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_OK, "");
    for (int i = 0; i < COUNT; ++i) {
        float sum = x[i] + weights[i / L % C];
        CHECK_NEAR(y[i], (sum > 0 ? sum : 0) * 3.0f + (float)(i % L), 0);
    }
    unload(&loaded);
}

/* -- sizes that depend on data, and shapes that only the run's shape arithmetic tells -- */

/* y = Transpose(NonZero(x)), x f32[n, 4]; copy = Reshape(x, Shape(x)). */
static Plan late_plan(Arena *arena) {
    static const int32_t operands[] = {0, 1, 1, 2, 0, 3, 0, 3, 4, 2, 4};
    const PlanDim n = plan_dim_of_expression(0), late = plan_dim_of_expression(2);
    Plan plan = sample_plan(arena, false);
    PlanValue values[] = {{"x", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 0, 0, false, 0},
                          {"z", DTYPE_I64, 2, {2, late}, PLAN_OWN, -1, 0, false, 0},
                          {"y", DTYPE_I64, 2, {late, 2}, PLAN_BINDING, 1, 0, false, 0},
                          {"s", DTYPE_I64, 1, {2}, PLAN_BUFFER, 0, 0, false, 0},
                          {"copy", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 2, 0, false, 0}};
    PlanOp ops[] = {{"", "NonZero", 0, 1, 1, operands, operands + 1, sample_no_attrs, 4, "nz"},
                    {"", "Transpose", 0, 1, 1, operands + 2, operands + 3, sample_no_attrs, 4, ""},
                    {"", "Shape", 0, 1, 1, operands + 4, operands + 5, sample_no_attrs, 4, ""},
                    {"", "Reshape", 0, 2, 1, operands + 6, operands + 8, sample_no_attrs, 4, ""}};
    PlanStep steps[] = {{.name = "nonzero", .op_first = 0, .op_count = 1, .late = true, .reason = ""},
                        {.name = "transpose", .op_first = 1, .op_count = 1, .late = true, .reason = ""},
                        {.name = "shape", .op_first = 2, .op_count = 1, .reason = ""},
                        {.name = "reshape", .op_first = 3, .op_count = 1, .reason = ""}};
    PlanProgram programs[] = {{"main", -1, 1, 2, operands, operands + 9, 0, 4}};
    PlanBuffer buffers[] = {{16, 2, 3, 0, 64}};
    PlanBinding bindings[] = {{"x", 0, false}, {"y", 2, true}, {"copy", 4, true}};
    plan.values = SAMPLE_COPY(arena, values);
    plan.ops = SAMPLE_COPY(arena, ops);
    plan.steps = SAMPLE_COPY(arena, steps);
    plan.programs = SAMPLE_COPY(arena, programs);
    plan.buffers = SAMPLE_COPY(arena, buffers);
    plan.bindings = SAMPLE_COPY(arena, bindings);
    plan.op_count = plan.step_count = 4;
    plan.binding_count = 3;
    return plan;
}

static void check_late_run(Loaded *loaded, int marks) {
    float x[8] = {0}, copy[8];
    const int64_t *data;
    size_t size;
    int rank;
    int64_t dims[SMELT_RANK_LIMIT];
    void *buffers[] = {x, NULL, copy};
    for (int i = 0; i < marks; ++i) x[i] = (float)(i + 1);
    CHECK_INT(smelt_context_run(loaded->context, buffers, NULL, &loaded->error), SMELT_OK);
    CHECK_STR(loaded->error.message, "");
    CHECK_INT(smelt_context_output(loaded->context, 1, (const void **)&data, &size, NULL), SMELT_OK);
    CHECK_INT(size, marks * 16);
    CHECK_INT(smelt_context_shape(loaded->context, 1, &rank, dims, NULL), SMELT_OK);
    CHECK_INT(dims[0], marks);
    CHECK_INT(dims[1], 2);
    for (int i = 0; i < marks; ++i) CHECK(data[2 * i] == i / 4 && data[2 * i + 1] == i % 4);
    CHECK(memcmp(copy, x, sizeof x) == 0);
}

static void test_late(void) {
    Loaded loaded = {0};
    Plan plan = late_plan(&loaded.arena);
    open_plan(&loaded, &plan);
    int64_t dims[] = {2, 4}, found[SMELT_RANK_LIMIT], y[16];
    int rank;
    float x[8] = {1, 0, 1, 0, 1, 0, 1, 1}, copy[8];
    void *buffers[] = {x, y, copy};
    size_t sizes[] = {32, 79, 32};
    CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, dims, NULL), SMELT_OK);
    CHECK_INT(smelt_context_shape(loaded.context, 1, &rank, found, NULL), SMELT_OK);
    CHECK_INT(found[0], -1);
    CHECK_INT(found[1], 2);
    check_late_run(&loaded, 2);
    check_late_run(&loaded, 7);
    check_late_run(&loaded, 0);
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_USAGE,
           "depends on data");
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, sizes, &loaded.error), SMELT_BAD_DATA,
           "output 'y' needs 80 bytes, its memory has 79");
    sizes[1] = 80;
    CHECK_INT(smelt_context_run(loaded.context, buffers, sizes, &loaded.error), SMELT_OK);
    CHECK(y[8] == 1 && y[9] == 3);
    unload(&loaded);
}

/* -- memory -- */

/* Once shapes are set, a run whose sizes do not depend on data allocates nothing. */
static void test_no_allocation(void) {
    Loaded loaded = {0};
    Plan plan = sample_plan(&loaded.arena, false);
    open_plan(&loaded, &plan);
    float x[64] = {0}, y[64];
    int64_t dims[] = {3, 4};
    void *buffers[] = {x, y};
    CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, dims, NULL), SMELT_OK);
    CHECK_INT(smelt_context_prepare(loaded.context, NULL), SMELT_OK);
    uint64_t before = loaded.context->allocator.count;
    CHECK(before > 0);
    for (int i = 0; i < 3; ++i) {
        CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, dims, NULL), SMELT_OK); /* nothing new */
        CHECK_INT(smelt_context_run(loaded.context, buffers, NULL, NULL), SMELT_OK);
    }
    CHECK_INT(loaded.context->allocator.count, before);
    unload(&loaded);
}

/* Every allocation of preparing and running fails once; the context stays usable. */
static void test_failing_allocations(void) {
    Loaded loaded = {0};
    Plan plan = late_plan(&loaded.arena);
    open_plan(&loaded, &plan);
    float x[64] = {1, 0, 2}, copy[64];
    void *buffers[] = {x, NULL, copy};
    int status = SMELT_NO_MEMORY, failures = 0;
    for (int64_t n = 1; n <= 1000 && status != SMELT_OK; ++n) {
        int64_t dims[] = {2 + n % 2, 4}; /* other shapes, so that all is prepared again */
        CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, dims, NULL), SMELT_OK);
        loaded.context->allocator.fail_at = loaded.context->allocator.count + (uint64_t)n;
        status = smelt_context_run(loaded.context, buffers, NULL, &loaded.error);
        loaded.context->allocator.fail_at = 0;
        CHECK(status == SMELT_OK || status == SMELT_NO_MEMORY);
        failures += status == SMELT_NO_MEMORY;
    }
    CHECK_INT(status, SMELT_OK);
    CHECK(failures > 3);
    int64_t dims[] = {2, 4};
    CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, dims, NULL), SMELT_OK);
    check_late_run(&loaded, 5);
    unload(&loaded);
}

static void test_empty(void) {
    Loaded loaded = {0};
    Plan plan = sample_plan(&loaded.arena, false);
    plan.symbols[0].min = 0;
    open_plan(&loaded, &plan);
    check_sample_run(&loaded, 0);
    check_sample_run(&loaded, 4);
    unload(&loaded);
}

/* -- an engine shared by contexts of several threads -- */

typedef struct Shared {
    SmeltEngine *engine;
    int wrong;
} Shared;

static void *use_shared(void *argument) {
    static const float w[] = {1.0f, -2.0f, 3.0f, -4.0f};
    Shared *shared = argument;
    SmeltContextOptions options = {.threads = 2};
    SmeltContext *context = NULL;
    float x[32], y[32];
    void *buffers[] = {x, y};
    if (smelt_context_create(shared->engine, &options, &context, NULL) != SMELT_OK) shared->wrong++;
    for (int run = 0; run < 50 && context != NULL; ++run) {
        int64_t dims[] = {1 + run % 8, 4};
        for (int i = 0; i < 32; ++i) x[i] = (float)(i + run) - 20.0f;
        smelt_context_set_shape(context, 0, 2, dims, NULL);
        if (smelt_context_run(context, buffers, NULL, NULL) != SMELT_OK) shared->wrong++;
        for (int64_t i = 0; i < 4 * dims[0]; ++i) shared->wrong += y[i] != expected_y(x[i], w[i % 4]);
    }
    smelt_context_destroy(context);
    return NULL;
}

static void test_shared_engine(void) {
    enum { USERS = 4 };
    Loaded loaded = {0};
    Plan plan = sample_plan(&loaded.arena, false);
    pthread_t threads[USERS];
    Shared shared[USERS];
    open_plan(&loaded, &plan);
    for (int i = 0; i < USERS; ++i) {
        shared[i] = (Shared){.engine = loaded.engine};
        CHECK_INT(pthread_create(&threads[i], NULL, use_shared, &shared[i]), 0);
    }
    for (int i = 0; i < USERS; ++i) {
        pthread_join(threads[i], NULL);
        CHECK_INT(shared[i].wrong, 0);
    }
    unload(&loaded);
}

/* -- plans that pass the format's rules and not the operators' -- */

static void expect_load(Plan *plan, int status, const char *part) {
    Loaded loaded = {0};
    EXPECT(&loaded, load(&loaded, plan, NULL), status, part);
    unload(&loaded);
}

static void expect_prepare(Plan *plan, int status, const char *part) {
    Loaded loaded = {0};
    int64_t dims[] = {2, 4};
    open_plan(&loaded, plan);
    CHECK_INT(smelt_context_set_shape(loaded.context, 0, 2, dims, NULL), SMELT_OK);
    EXPECT(&loaded, smelt_context_prepare(loaded.context, &loaded.error), status, part);
    unload(&loaded);
}

static void test_bad_plans(void) {
    Arena arena = {0};
    Plan plan = sample_plan(&arena, true);
    expect_load(&plan, SMELT_UNSUPPORTED, "operator 3 (Owner) from 'owner': operator 'Owner' of domain ''");
    plan = sample_plan(&arena, false);
    plan.meta[2].value = "tpu";
    expect_load(&plan, SMELT_WRONG_DEVICE, "for target 'tpu'");
    plan = sample_plan(&arena, false);
    plan.ops[0].input_count = 1;
    expect_load(&plan, SMELT_BAD_PLAN, "operator 0 (Add) from 'first': 1 inputs, expected 2");
    plan = sample_plan(&arena, false);
    plan.ops[0].attrs_size = 3;
    expect_load(&plan, SMELT_BAD_PLAN, "attributes end after 3 bytes");
    plan = sample_plan(&arena, false);
    plan.values[3] = plan.values[1]; /* Relu's output lies in WEIGHTS */
    expect_load(&plan, SMELT_BAD_PLAN, "output 0 is value 3, whose memory it may not write");
    plan = sample_plan(&arena, false);
    plan.values[3].storage = PLAN_BINDING; /* ... or in the input */
    expect_load(&plan, SMELT_BAD_PLAN, "output 0 is value 3, whose memory it may not write");
    plan = sample_plan(&arena, false);
    plan.values[3].dim[0] = 1; /* smaller than what Relu writes */
    expect_prepare(&plan, SMELT_BAD_PLAN,
                   "its output 0 has shape [2, 4] for these inputs; the plan says f32[1,4]");
    plan = sample_plan(&arena, false);
    plan.values[3].dtype = DTYPE_I32;
    expect_prepare(&plan, SMELT_BAD_PLAN, "the plan says i32[2,4]");
    plan = sample_plan(&arena, false);
    plan.buffers[0].size = 128;
    plan.values[3].offset = 16; /* overlaps its input, not in place */
    expect_prepare(&plan, SMELT_BAD_PLAN, "its output 0 (value 3) overlaps value 2");
    plan = sample_plan(&arena, false);
    plan.buffers[0].size = 16;
    expect_prepare(&plan, SMELT_BAD_PLAN, "value 2 'a' with 32 bytes does not fit in buffer 0 of 16");
    arena_reset(&arena);
}

/* Changes to the bytes with right checksums: what still loads must run without fault, whatever it gives. */
static void run_mutant(const uint8_t *bytes, size_t size) {
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltContextOptions options = {.threads = 1};
    int64_t dims[] = {2, 4};
    void *memory[3] = {0};
    Arena arena = {0};
    if (smelt_engine_load_memory(bytes, size, NULL, &engine, NULL) != SMELT_OK) return;
    int count = smelt_engine_binding_count(engine);
    if (count > 0 && count <= 3 && smelt_context_create(engine, &options, &context, NULL) == SMELT_OK) {
        memory[0] = arena_alloc(&arena, 4096);
        smelt_context_set_shape(context, 0, 2, dims, NULL);
        smelt_context_run(context, memory, NULL, NULL);
        smelt_context_destroy(context);
    }
    smelt_engine_destroy(engine);
    arena_reset(&arena);
}

static void test_mutants(bool late) {
    static const uint8_t changes[] = {0x01, 0x02, 0x04, 0x08, 0x40, 0x80, 0xff};
    Arena arena = {0};
    Diag diag = {0};
    Plan plan = late ? late_plan(&arena) : sample_plan(&arena, false);
    fix_opsets(&plan);
    ByteWriter bytes = byte_writer(&arena);
    CHECK_OK(plan_write_bytes(&plan, &bytes, &diag), &diag);
    uint8_t *copy = mem_alloc(NULL, bytes.size);
    for (size_t at = 0; at < bytes.size; ++at)
        for (size_t k = 0; k < sizeof changes; ++k) {
            memcpy(copy, bytes.data, bytes.size);
            copy[at] ^= changes[k];
            sample_fix_checksums(copy, bytes.size);
            run_mutant(copy, bytes.size);
        }
    mem_free(NULL, copy);
    arena_reset(&arena);
}

int main(void) {
    test_sample();
    test_not_fixed();
    test_result_kept();
    test_bad_calls();
    test_profile();
    test_chain();
    test_late();
    test_no_allocation();
    test_failing_allocations();
    test_empty();
    test_shared_engine();
    test_bad_plans();
    test_mutants(false);
    test_mutants(true);
    return test_result();
}
