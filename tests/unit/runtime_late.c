/* Sizes that depend on data, on the fake driver. */
#include "ops/op.h"
#include "runtime/context.h"
#include "tests/fake_cuda/main.h"
#include "tests/plan_rules.h"
#include "tests/plan_sample_cuda.h"

enum { MOST_ROWS = 8, RESULTS = 4, STEPS = 6 };

typedef struct Loaded {
    Arena arena;
    Plan plan;
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltError error;
} Loaded;

/* where = NonZero(x) on the device, i64[2, late]; twice = where + where (device), minus = -where (host), last
 * = twice + minus (device), again = -last (host), final = again + minus (device). `extra` more than there are
 * is what the device says it has found. */
static Plan late_plan(Arena *arena, int64_t extra, int64_t most) {
    static const int32_t operands[] = {0, 1, 1, 1, 2, 1, 3, 2, 3, 4, 4, 5, 5, 3, 6};
    static const int32_t results[] = {2, 3, 4, 6};
    static const uint8_t code[16] = "not really code";
    const PlanDim n = plan_dim_of_expression(0), count = plan_dim_of_expression(2),
                  late = plan_dim_of_expression(3), both = plan_dim_of_expression(4);
    Symbol symbols[] = {{"n", SYMBOL_INPUT, 0, 2, 8}, {"late", SYMBOL_LATE, 0, 1, most}};
    DimCode codes[] = {{DIM_SYMBOL, 0, 0}, {DIM_SYMBOL, 0, 0}, {DIM_PUSH, 0, 16}, {DIM_MUL, 0, 0},
                       {DIM_SYMBOL, 0, 0}, {DIM_PUSH, 0, 4},   {DIM_MUL, 0, 0},   {DIM_SYMBOL, 0, 1},
                       {DIM_SYMBOL, 0, 1}, {DIM_PUSH, 0, 2},   {DIM_MUL, 0, 0}};
    PlanExpression expressions[] = {{0, 1}, {1, 3}, {4, 3}, {7, 1}, {8, 3}};
    PlanKernel kernels[] = {{"fake_count", 4, 0, 2}, {"fake_where", 4, 2, 2}, {"fake_add_integers", 4, 4, 2}};
    PlanCubin cubins[6];
    PlanValue values[] = {{"x", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 0, 0, false, 0},
                          {"where", DTYPE_I64, 2, {2, late}, PLAN_OWN, -1, 0, false, 0},
                          {"twice", DTYPE_I64, 2, {2, late}, PLAN_BINDING, 1, 0, false, 0},
                          {"minus", DTYPE_I64, 2, {2, late}, PLAN_BINDING, 2, 0, false, 0},
                          {"last", DTYPE_I64, 2, {2, late}, PLAN_BINDING, 3, 0, false, 0},
                          {"again", DTYPE_I64, 2, {2, late}, PLAN_OWN, -1, 0, false, 0},
                          {"final", DTYPE_I64, 2, {2, late}, PLAN_BINDING, 4, 0, false, 0}};
    PlanBinding bindings[] = {
        {"x", false, 0}, {"twice", 2, true}, {"minus", 3, true}, {"last", 4, true}, {"final", 6, true}};
    PlanOp ops[] = {{"", "NonZero", 0, 1, 1, operands, operands + 1, sample_no_attrs, 4, "0"},
                    {"", "Add", 0, 2, 1, operands + 2, operands + 4, sample_no_attrs, 4, "1"},
                    {"", "Neg", 0, 1, 1, operands + 5, operands + 6, sample_no_attrs, 4, "2"},
                    {"", "Add", 0, 2, 1, operands + 7, operands + 9, sample_no_attrs, 4, "3"},
                    {"", "Neg", 0, 1, 1, operands + 10, operands + 11, sample_no_attrs, 4, "4"},
                    {"", "Add", 0, 2, 1, operands + 12, operands + 14, sample_no_attrs, 4, "5"}};
    PlanStep steps[STEPS];
    for (int32_t i = 0; i < STEPS; ++i) {
        steps[i] = (PlanStep){.name = "step", .op_first = i, .op_count = 1, .late = true, .reason = ""};
        if (i == 2 || i == 4) continue;
        steps[i].kind = PLAN_STEP_LAUNCH;
        steps[i].launch_first = i == 0 ? 0 : i == 1 ? 2 : i == 3 ? 3 : 4;
        steps[i].launch_count = i == 0 ? 2 : 1;
    }
    steps[0].scratch_bytes = 8;
    const PlanArg found = {.kind = PLAN_ARG_SCRATCH, .value = -1};
    PlanArg args[] = {found,
                      sample_value(0, false),
                      sample_number(count),
                      sample_number(extra),
                      sample_value(1, true),
                      sample_value(0, false),
                      sample_number(count),
                      sample_number(late),
                      sample_value(2, true),
                      sample_value(1, false),
                      sample_value(1, false),
                      sample_number(both),
                      sample_value(4, true),
                      sample_value(2, false),
                      sample_value(3, false),
                      sample_number(both),
                      sample_value(6, true),
                      sample_value(5, false),
                      sample_value(3, false),
                      sample_number(both)};
    PlanLaunch launches[] = {sample_launch(0, 1, 0), sample_launch(1, n, 4), sample_launch(2, late, 8),
                             sample_launch(2, late, 12), sample_launch(2, late, 16)};
    PlanProgram programs[] = {{"main", -1, 1, RESULTS, operands, results, 0, STEPS}};
    Plan plan = {0};
    sample_cuda_base(arena, &plan);
    for (int i = 0; i < 6; ++i)
        cubins[i] =
            (PlanCubin){.sm = i % 2 == 0 ? 80 : 90, .accelerated = i % 2 == 1, .data = code, .size = 16};
    plan.symbols = SAMPLE_COPY(arena, symbols);
    plan.codes = SAMPLE_COPY(arena, codes);
    plan.code_count = 11;
    plan.expressions = SAMPLE_COPY(arena, expressions);
    plan.expression_count = 5;
    plan.kernels = SAMPLE_COPY(arena, kernels);
    plan.cubins = SAMPLE_COPY(arena, cubins);
    plan.values = SAMPLE_COPY(arena, values);
    plan.value_count = 7;
    plan.bindings = SAMPLE_COPY(arena, bindings);
    plan.binding_count = 1 + RESULTS;
    plan.ops = SAMPLE_COPY(arena, ops);
    plan.op_count = plan.step_count = STEPS;
    plan.steps = SAMPLE_COPY(arena, steps);
    plan.programs = SAMPLE_COPY(arena, programs);
    plan.program_count = 1;
    plan.args = SAMPLE_COPY(arena, args);
    plan.arg_count = 20;
    plan.launches = SAMPLE_COPY(arena, launches);
    plan.launch_count = 5;
    plan.weights = sample_no_attrs;
    for (int32_t i = 0; i < plan.op_count; ++i)
        plan.ops[i].opset = op_def(op_find("", plan.ops[i].name))->since;
    return plan;
}

static void set_rows(Loaded *loaded, int64_t rows) {
    const int64_t dims[2] = {rows, 4};
    CHECK_INT(smelt_context_set_shape(loaded->context, 0, 2, dims, &loaded->error), SMELT_OK);
}

static void open_late(Loaded *loaded, int64_t extra, int64_t most) {
    Diag diag = {0};
    ByteWriter bytes = byte_writer(&loaded->arena);
    SmeltContextOptions options = {.threads = 1};
    loaded->plan = late_plan(&loaded->arena, extra, most);
    CHECK_OK(plan_write_bytes(&loaded->plan, &bytes, &diag), &diag);
    void *copy = arena_alloc(&loaded->arena, bytes.size + 4096); /* large objects are aligned */
    memcpy(copy, bytes.data, bytes.size);
    CHECK_INT(smelt_engine_load_memory(copy, bytes.size, NULL, &loaded->engine, &loaded->error), SMELT_OK);
    if (loaded->engine == NULL) fprintf(stderr, "%s\n", loaded->error.message);
    CHECK_INT(smelt_context_create(loaded->engine, &options, &loaded->context, &loaded->error), SMELT_OK);
    set_rows(loaded, 2);
}

static void close_late(Loaded *loaded) {
    smelt_context_destroy(loaded->context);
    smelt_engine_destroy(loaded->engine);
    arena_reset(&loaded->arena);
    *loaded = (Loaded){0};
    CHECK_INT(fake.get(FAKE_LIVE_OBJECTS), 0);
    CHECK_INT(fake.get(FAKE_LIVE_BYTES), 0);
}

/* Every third element from `first` on is not zero; how many there are. */
static int fill(float *x, int rows, int first, int step) {
    int found = 0;
    for (int i = 0; i < 4 * rows; ++i) {
        x[i] = i >= first && (i - first) % step == 0 ? (float)(i + 1) : 0.0F;
        found += x[i] != 0;
    }
    return found;
}

static void check_results(const float *x, int rows, int found, const int64_t *const results[RESULTS]) {
    static const int64_t factors[RESULTS] = {2, -1, 1, -2};
    for (int i = 0, k = 0; i < 4 * rows; ++i) {
        if (x[i] == 0) continue;
        for (int r = 0; r < RESULTS; ++r) {
            CHECK_INT(results[r][k], factors[r] * (i / 4));
            CHECK_INT(results[r][found + k], factors[r] * (i % 4));
        }
        ++k;
    }
}

static void run_once(Loaded *loaded, int rows, int first, int step) {
    float x[4 * MOST_ROWS];
    int64_t results[RESULTS][8 * MOST_ROWS], dims[8];
    void *buffers[] = {x, results[0], results[1], results[2], results[3]};
    size_t sizes[] = {sizeof x, sizeof results[0], sizeof results[0], sizeof results[0], sizeof results[0]};
    const int64_t *const found_at[RESULTS] = {results[0], results[1], results[2], results[3]};
    int found = fill(x, rows, first, step), rank;
    memset(results, 0x5a, sizeof results);
    CHECK_INT(smelt_context_run(loaded->context, buffers, sizes, &loaded->error), SMELT_OK);
    if (loaded->error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded->error.message);
    for (int i = 1; i <= RESULTS; ++i) {
        CHECK_INT(smelt_context_shape(loaded->context, i, &rank, dims, &loaded->error), SMELT_OK);
        CHECK(rank == 2 && dims[0] == 2 && dims[1] == found);
    }
    check_results(x, rows, found, found_at);
}

static void test_run(void) {
    Loaded loaded = {0};
    open_late(&loaded, 0, 32);
    for (int i = 0; i < 5; ++i) {
        run_once(&loaded, 2, 1, 3);
        run_once(&loaded, 2, 0, 1);
        run_once(&loaded, 2, 8, 1); /* nothing is found */
        run_once(&loaded, 2, 7, 1);
    }
    for (int rows = 8; rows >= 0; rows -= 4) {
        set_rows(&loaded, rows);
        run_once(&loaded, rows, 0, 2);
    }
    CHECK_INT(smelt_context_profile(loaded.context, 1, &loaded.error), SMELT_OK);
    set_rows(&loaded, 4);
    run_once(&loaded, 4, 0, 2);
    for (int i = 0; i < STEPS; ++i) {
        SmeltStepProfile step;
        CHECK_INT(smelt_context_step(loaded.context, i, &step, &loaded.error), SMELT_OK);
        CHECK_INT(step.runs, 1);
    }
    close_late(&loaded);
}

/* Without memory of the caller's, and with too little. */
static void test_memory(void) {
    Loaded loaded = {0};
    float x[8];
    int64_t results[RESULTS][16];
    size_t sizes[] = {sizeof x, 48, 48, 48, 40}, size;
    const void *data;
    void *none[] = {x, NULL, NULL, NULL, NULL};
    void *buffers[] = {x, results[0], results[1], results[2], results[3]};
    const int64_t *const found_at[RESULTS] = {results[0], results[1], results[2], results[3]};
    open_late(&loaded, 0, 32);
    int found = fill(x, 2, 1, 3);
    CHECK_INT(found, 3);
    CHECK_INT(smelt_context_run(loaded.context, none, NULL, &loaded.error), SMELT_OK);
    for (int i = 0; i < RESULTS; ++i) {
        CHECK_INT(smelt_context_output(loaded.context, 1 + i, &data, &size, &loaded.error), SMELT_OK);
        CHECK_INT(size, 48);
        if (data != NULL) memcpy(results[i], data, 48);
    }
    check_results(x, 2, found, found_at);
    CHECK_INT(smelt_context_run(loaded.context, buffers, sizes, &loaded.error), SMELT_BAD_DATA);
    CHECK(strstr(loaded.error.message, "output 'final' needs 48 bytes, its memory has 40") != NULL);
    sizes[4] = 48;
    CHECK_INT(smelt_context_run(loaded.context, buffers, sizes, &loaded.error), SMELT_OK);
    check_results(x, 2, found, found_at);
    close_late(&loaded);
}

static void test_enqueue(void) {
    Loaded loaded = {0};
    float x[8];
    int64_t results[RESULTS][6];
    unsigned long long memory[1 + RESULTS];
    size_t sizes[1 + RESULTS];
    void *pointers[1 + RESULTS], *driver;
    const int64_t *const found_at[RESULTS] = {results[0], results[1], results[2], results[3]};
    open_late(&loaded, 0, 32);
    CHECK_INT(fake.retain(&driver, 0), 0);
    CHECK_INT(fake.push(driver), 0);
    for (int i = 0; i <= RESULTS; ++i) {
        CHECK_INT(fake.alloc(&memory[i], 512), 0);
        pointers[i] = (void *)(uintptr_t)memory[i];
        sizes[i] = 512;
    }
    int found = fill(x, 2, 1, 3);
    CHECK_INT(fake.copy_in(memory[0], x, sizeof x), 0);
    for (int i = 0; i < 3; ++i) {
        CHECK_INT(smelt_context_enqueue(loaded.context, NULL, pointers, sizes, &loaded.error), SMELT_OK);
        for (int r = 0; r < RESULTS; ++r)
            CHECK_INT(fake.copy_out(results[r], memory[1 + r], sizeof results[r], NULL), 0);
        CHECK_INT(fake.synchronize(), 0);
        check_results(x, 2, found, found_at);
    }
    sizes[3] = 47;
    CHECK_INT(smelt_context_enqueue(loaded.context, NULL, pointers, sizes, &loaded.error), SMELT_BAD_DATA);
    CHECK(strstr(loaded.error.message, "output 'last' needs 48 bytes, its memory has 47") != NULL);
    for (int i = 0; i <= RESULTS; ++i) CHECK_INT(fake.free(memory[i]), 0);
    CHECK_INT(fake.pop(&driver), 0);
    CHECK_INT(fake.release(0), 0);
    close_late(&loaded);
}

/* What a kernel says is not believed: outside the symbol's range nothing is launched with it. */
static void test_wrong_counts(void) {
    static const int64_t extra[] = {-4, 30, INT64_MAX - 8, DIM_EXACT_MIN};
    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; ++i) {
        Loaded loaded = {0};
        float x[8];
        void *none[] = {x, NULL, NULL, NULL, NULL};
        open_late(&loaded, extra[i], 32);
        (void)fill(x, 2, 1, 3);
        CHECK_INT(smelt_context_run(loaded.context, none, NULL, &loaded.error), SMELT_BAD_DATA);
        CHECK(strstr(loaded.error.message, "for 'late'; the plan is for 0 to 32") != NULL);
        close_late(&loaded);
    }
    Loaded loaded = {0};
    float x[8];
    void *none[] = {x, NULL, NULL, NULL, NULL};
    open_late(&loaded, (int64_t)1 << 60, INT64_MAX); /* more memory than there can be */
    (void)fill(x, 2, 1, 3);
    CHECK_INT(smelt_context_run(loaded.context, none, NULL, &loaded.error), SMELT_BAD_DATA);
    CHECK(strstr(loaded.error.message, "2^63 bytes") != NULL);
    close_late(&loaded);
}

/* Every allocation of a run fails once, and those of the device; the context stays usable. */
static void test_failing_allocations(void) {
    Loaded loaded = {0};
    float x[32];
    void *none[] = {x, NULL, NULL, NULL, NULL};
    int status = SMELT_NO_MEMORY;
    open_late(&loaded, 0, 32);
    (void)fill(x, 8, 0, 1);
    for (int64_t n = 1; n <= 1000 && status != SMELT_OK; ++n) {
        set_rows(&loaded, 1 + n % 2);
        loaded.context->allocator.fail_at = loaded.context->allocator.count + (uint64_t)n;
        status = smelt_context_run(loaded.context, none, NULL, &loaded.error);
        loaded.context->allocator.fail_at = 0;
        CHECK(status == SMELT_OK || status == SMELT_NO_MEMORY);
    }
    CHECK_INT(status, SMELT_OK);
    set_rows(&loaded, 8);
    for (int64_t bytes = 4; bytes < 4000; bytes += 60) {
        fake.set(FAKE_MEMORY, fake.get(FAKE_LIVE_BYTES) + bytes);
        status = smelt_context_run(loaded.context, none, NULL, &loaded.error);
        CHECK(status == SMELT_OK || status == SMELT_NO_MEMORY);
    }
    fake.set(FAKE_MEMORY, 1 << 20);
    run_once(&loaded, 8, 0, 1);
    close_late(&loaded);
}

/* -- what is refused when the plan is read -- */

static void renew(Loaded *loaded) {
    arena_reset(&loaded->arena);
    loaded->plan = late_plan(&loaded->arena, 0, 32);
}

#define RULE(change, part) PLAN_RULE(loaded.plan, renew(&loaded), change, part)

static void test_rules(void) {
    Loaded loaded = {0};
    Arena scratch = {0};
    Diag diag = {0};
    loaded.plan = late_plan(&loaded.arena, 0, 32);
    CHECK_OK(plan_verify(&loaded.plan, &scratch, &diag), &diag);
    RULE(loaded.plan.steps[0].scratch_bytes = 7;
         loaded.plan.args[0].number = 0, "step 0 finds 1 sizes in scratch memory of 7 bytes");
    RULE(loaded.plan.steps[0].scratch_bytes = plan_dim_of_expression(3),
         "the scratch memory of step 0 depends on 'late', which no step up to 0 finds");
    RULE(loaded.plan.values[1].dim[1] = plan_dim_of_expression(4),
         "on the device, the size of value 1 depends on 'late', which no step up to 0 finds");
    RULE(loaded.plan.values[1].dim[1] = 3, "argument 4 is value 1 of storage 3, which has no memory");
    RULE(loaded.plan.values[5].dim[1] = 3; loaded.plan.values[5].storage = PLAN_OWN,
                                           "argument 17 is value 5 of storage 3, which has no memory");
    arena_reset(&scratch);
    arena_reset(&loaded.arena);
}

int main(void) {
    static void (*const tests[])(void) = {
        test_run, test_memory, test_enqueue, test_wrong_counts, test_failing_allocations, test_rules};
    return run_on_fake(sizeof tests / sizeof tests[0], tests);
}
