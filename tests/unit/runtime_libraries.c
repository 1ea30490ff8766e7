/* Calls of libraries on the fake driver, which has a cuBLASLt and a cuDNN: what the format allows, what is
 * found where it runs, and the numbers, against the same operators on the host. */
#include "ops/attr.h"
#include "tests/fake_cuda/loaded.h"
#include "tests/fake_cuda/main.h"
#include "tests/plan_rules.h"

enum {
    CALL_REPEATS = 3,
    /* so that they are a CUDA graph */ WEIGHTS = 128,
    BIAS_PLACE = 96,
    MOST_ELEMENTS = 256
};

static Arena arena;
static Plan plan;

/* -- plans: t = product(x, w), u = t + b, v = u + r, y = relu(v) -- */

typedef struct Sample {
    const char *op;
    int32_t library;
    int64_t x[4], w[4], b[4], y[4]; /* r is like y */
    PlanOperand operands[5];
    PlanCall call;
} Sample;

static const Sample samples[PLAN_LIBRARIES] = {{"MatMul",
                                                PLAN_CUBLASLT,
                                                {2, 3, 4},
                                                {4, 5},
                                                {5},
                                                {2, 3, 5},
                                                {{DTYPE_F32, 3, {1, 6, 4}, {1, 4, 1}},
                                                 {DTYPE_F32, 3, {1, 4, 5}, {1, 5, 1}},
                                                 {DTYPE_F32, 3, {1, 1, 5}, {1, 1, 1}},
                                                 {DTYPE_F32, 3, {1, 6, 5}, {1, 5, 1}},
                                                 {DTYPE_F32, 3, {1, 6, 5}, {1, 5, 1}}},
                                                {.after = {PLAN_AFTER_ADD, PLAN_AFTER_ADD, PLAN_AFTER_RELU}}},
                                               {"Conv",
                                                PLAN_CUDNN,
                                                {2, 4, 5, 4},
                                                {6, 2, 3, 2},
                                                {6, 1, 1},
                                                {2, 6, 3, 4},
                                                {{DTYPE_F32, 4, {2, 4, 5, 4}, {80, 20, 4, 1}},
                                                 {DTYPE_F32, 4, {6, 2, 3, 2}, {12, 6, 2, 1}},
                                                 {DTYPE_F32, 4, {1, 6, 1, 1}, {6, 1, 1, 1}},
                                                 {DTYPE_F32, 4, {2, 6, 3, 4}, {72, 12, 4, 1}},
                                                 {DTYPE_F32, 4, {2, 6, 3, 4}, {72, 12, 4, 1}}},
                                                {.after = {PLAN_AFTER_ADD, PLAN_AFTER_ADD, PLAN_AFTER_RELU6},
                                                 .step = {2, 1},
                                                 .dilation = {1, 1},
                                                 .low = {1, 0},
                                                 .high = {1, 1}}}};

static ByteWriter conv_attrs(void) {
    static const int64_t strides[] = {2, 1}, pads[] = {1, 0, 1, 1};
    AttrList list = {0};
    ByteWriter bytes = byte_writer(&arena);
    attr_set_int(&list, &arena, "group", 2);
    attr_set_ints(&list, &arena, "strides", strides, 2);
    attr_set_ints(&list, &arena, "pads", pads, 4);
    attr_write(&list, &bytes);
    return bytes;
}

static int64_t count_of(const int64_t *dims) {
    int64_t count = 1;
    for (int i = 0; i < 4 && dims[i] > 0; ++i) count *= dims[i];
    return count;
}

static PlanValue value_of(const char *name, const int64_t *dims, int32_t storage, int32_t index,
                          PlanDim offset) {
    PlanValue value = {name, DTYPE_F32, 0, {0}, storage, index, offset, false, 0};
    for (; value.rank < 4 && dims[value.rank] > 0; ++value.rank) value.dim[value.rank] = dims[value.rank];
    return value;
}

static void add_steps(const Sample *sample, int32_t choice, int64_t workspace) {
    PlanStep step = {
        .name = "call", .kind = PLAN_STEP_LAUNCH, .op_count = 4, .reason = "", .scratch_bytes = workspace};
    int32_t each = workspace > 0 ? 6 : 5;
    static const int32_t values[] = {0, 1, 2, 3, 7};
    step.launch_count = CALL_REPEATS;
    plan.steps = SAMPLE_COPY(&arena, (PlanStep[]){step});
    plan.args = ARENA_ARRAY(&arena, PlanArg, CALL_REPEATS * each);
    plan.launches = ARENA_ARRAY(&arena, PlanLaunch, CALL_REPEATS);
    for (int32_t l = 0; l < CALL_REPEATS; ++l) {
        plan.launches[l] = (PlanLaunch){-1, {1, 1, 1}, {1, 1, 1}, 0, each, l * each, false};
        for (int32_t i = 0; i < 5; ++i) plan.args[l * each + i] = sample_value(values[i], i == 4);
        if (each == 6) plan.args[l * each + 5] = (PlanArg){.kind = PLAN_ARG_SCRATCH, .value = -1};
    }
    plan.launch_count = CALL_REPEATS;
    plan.arg_count = CALL_REPEATS * each;
    plan.calls = SAMPLE_COPY(&arena, (PlanCall[]){sample->call});
    plan.operands = SAMPLE_COPY(&arena, sample->operands);
    plan.calls[0].library = sample->library;
    plan.calls[0].choice = choice;
    plan.calls[0].workspace = workspace;
    plan.calls[0].operand_count = plan.operand_count = 5;
    plan.call_count = plan.step_count = 1;
}

static void make_plan(PlanLibrary library, int32_t choice, int64_t workspace) {
    static const int32_t operands[] = {0, 1, 4, 4, 2, 5, 5, 3, 6, 6, 7}, params[] = {0, 3, 7};
    static const PlanMeta meta[] = {
        {"library.cublaslt", "99.0.1"}, {"library.cudnn", "99.0.1"}, {"target", "cuda"}};
    static float weights[WEIGHTS];
    const Sample *s = &samples[library];
    arena_reset(&arena);
    ByteWriter attrs = conv_attrs();
    const uint8_t *own = library == PLAN_CUDNN ? attrs.data : sample_no_attrs;
    int64_t bytes = 4 * count_of(s->y);
    for (int i = 0; i < WEIGHTS; ++i) weights[i] = (float)(i % 7 - 3);
    PlanValue values[] = {value_of("x", s->x, PLAN_BINDING, 0, 0),
                          value_of("w", s->w, PLAN_WEIGHT, -1, 0),
                          value_of("b", s->b, PLAN_WEIGHT, -1, 4 * BIAS_PLACE),
                          value_of("r", s->y, PLAN_BINDING, 1, 0),
                          value_of("t", s->y, PLAN_BUFFER, 0, 0),
                          value_of("u", s->y, PLAN_BUFFER, 1, 0),
                          value_of("v", s->y, PLAN_BUFFER, 2, 0),
                          value_of("y", s->y, PLAN_BINDING, 2, 0)};
    PlanBuffer buffers[] = {{bytes, 0, 0, 0, 640}, {bytes, 0, 0, 640, 640}, {bytes, 0, 0, 1280, 640}};
    PlanBinding bindings[] = {{"x", 0, false}, {"r", 3, false}, {"y", 7, true}};
    PlanOp ops[] = {
        {"", s->op, 0, 2, 1, operands, operands + 2, own, own == attrs.data ? (uint32_t)attrs.size : 4, "a"},
        {"", "Add", 0, 2, 1, operands + 3, operands + 5, sample_no_attrs, 4, "b"},
        {"", "Add", 0, 2, 1, operands + 6, operands + 8, sample_no_attrs, 4, "c"},
        {"", "Relu", 0, 1, 1, operands + 9, operands + 10, sample_no_attrs, 4, "d"}};
    PlanProgram programs[] = {{"main", -1, 2, 1, params, params + 2, 0, 1}};
    plan = (Plan){.major = PLAN_MAJOR,
                  .minor = PLAN_MINOR,
                  .fixed = true,
                  .meta = SAMPLE_COPY(&arena, meta),
                  .meta_count = 3,
                  .values = SAMPLE_COPY(&arena, values),
                  .value_count = 8,
                  .buffers = SAMPLE_COPY(&arena, buffers),
                  .buffer_count = 3,
                  .bindings = SAMPLE_COPY(&arena, bindings),
                  .binding_count = 3,
                  .ops = SAMPLE_COPY(&arena, ops),
                  .op_count = 4,
                  .programs = SAMPLE_COPY(&arena, programs),
                  .program_count = 1,
                  .arena_size = 1920,
                  .arena_lower_bound = 1920,
                  .weights = (const uint8_t *)weights,
                  .weights_size = sizeof weights};
    add_steps(s, choice, workspace);
}

/* The same plan with its operators on the host. */
static void without_calls(void) {
    plan.steps[0] = (PlanStep){.name = "host", .op_count = 4, .reason = ""};
    plan.launch_count = plan.arg_count = plan.call_count = plan.operand_count = 0;
}

/* -- numbers -- */

static void run_plan(int runs, float *y) {
    Loaded loaded = {0};
    float x[MOST_ELEMENTS], r[MOST_ELEMENTS];
    void *buffers[] = {x, r, y};
    open_plan(&loaded, &plan);
    for (int i = 0; i < runs && loaded.context != NULL; ++i) {
        fill(x, MOST_ELEMENTS, i);
        fill(r, MOST_ELEMENTS, i + 1);
        memset(y, 0, MOST_ELEMENTS * sizeof *y);
        CHECK_INT(smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_OK);
        if (loaded.error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded.error.message);
    }
    close_plan(&loaded);
}

static void check_numbers(PlanLibrary library, int32_t choice, int64_t workspace) {
    float expected[MOST_ELEMENTS] = {0}, got[MOST_ELEMENTS] = {0};
    float most = library == PLAN_CUDNN ? 6 : INFINITY;
    int wrong = 0, positive = 0;
    make_plan(library, choice, workspace);
    run_plan(3, got);
    without_calls();
    run_plan(3, expected);
    for (int64_t i = 0; i < count_of(samples[library].y); ++i) {
        wrong += got[i] != fminf(expected[i], most);
        positive += got[i] > 0;
    }
    CHECK_INT(wrong, 0);
    CHECK(positive > 3);
}

static void test_numbers(void) {
    for (int library = 0; library < PLAN_LIBRARIES; ++library) {
        check_numbers((PlanLibrary)library, 0, 0);
        check_numbers((PlanLibrary)library, 0, 512);
        check_numbers((PlanLibrary)library, 1, 512);
    }
    CHECK_INT(fake.get(FAKE_CAPTURES), 6);
    CHECK_INT(fake.get(FAKE_LAUNCHES), 6 * 3 * CALL_REPEATS);
}

/* The factors may lie transposed, and each matrix of a batch may have its own. */
static void test_layouts(void) {
    float expected[MOST_ELEMENTS], got[MOST_ELEMENTS];
    make_plan(PLAN_CUBLASLT, 0, 0);
    without_calls();
    run_plan(1, expected);
    make_plan(PLAN_CUBLASLT, 0, 0);
    for (int i = 0; i < 5; ++i) { /* two matrices of 3 rows */
        PlanOperand *operand = &plan.operands[i];
        if (i == 1 || i == 2) continue;
        operand->dim[0] = 2;
        operand->dim[1] = 3;
        operand->stride[0] = 3 * operand->stride[1];
    }
    run_plan(1, got);
    for (int i = 0; i < 30; ++i) CHECK(expected[i] == got[i]);
    make_plan(PLAN_CUBLASLT, 0, 0);
    plan.operands[0] = (PlanOperand){DTYPE_F32, 3, {1, 6, 4}, {1, 1, 6}};
    plan.operands[1] = (PlanOperand){DTYPE_F32, 3, {1, 4, 5}, {1, 1, 4}};
    run_plan(1, got);
    for (int row = 0; row < 6; ++row)
        for (int column = 0; column < 5; ++column) {
            float x[MOST_ELEMENTS], r[MOST_ELEMENTS], sum;
            fill(x, MOST_ELEMENTS, 0);
            fill(r, MOST_ELEMENTS, 1);
            sum = (float)((column + BIAS_PLACE) % 7 - 3) + r[row * 5 + column];
            for (int k = 0; k < 4; ++k) sum += x[k * 6 + row] * (float)((column * 4 + k) % 7 - 3);
            CHECK(got[row * 5 + column] == fmaxf(sum, 0));
        }
}

/* What is not launched on this GPU need not be possible on it. */
static void test_other_gpu(void) {
    float got[MOST_ELEMENTS];
    PlanOperand operands[10];
    make_plan(PLAN_CUDNN, 0, 0);
    for (int i = 0; i < 10; ++i) operands[i] = plan.operands[i % 5];
    PlanCall calls[] = {plan.calls[0], plan.calls[0]};
    calls[1].choice = 9;
    calls[1].operand_first = 5;
    plan.calls = SAMPLE_COPY(&arena, calls);
    plan.operands = SAMPLE_COPY(&arena, operands);
    plan.call_count = 2;
    plan.operand_count = 10;
    run_plan(1, got);
}

/* -- what is not there -- */

static void expect_failure(int status, const char *part) {
    Loaded loaded = {0};
    EXPECT(&loaded, load(&loaded, &plan, NULL), status, part);
    close_plan(&loaded);
}

static void test_missing(void) {
    make_plan(PLAN_CUBLASLT, 1, 0);
    expect_failure(SMELT_WRONG_DEVICE, "cuBLASLt knows 1 ways to do a product; the plan wants number 1");
    make_plan(PLAN_CUDNN, 1, 0);
    expect_failure(
        SMELT_WRONG_DEVICE,
        "cuDNN knows 1 ways to do a convolution, of 4 that it proposes (status 15); the plan wants number 1");
    make_plan(PLAN_CUDNN, 0, 0);
    plan.meta[1].value = "98.0.0";
    expect_failure(SMELT_WRONG_DEVICE, "the plan was made with cuDNN 98.0.0;");
    make_plan(PLAN_CUBLASLT, 0, 0);
    setenv("SMELT_CUBLASLT_LIBRARY", "/nowhere/libcublasLt.so", 1);
    expect_failure(SMELT_WRONG_DEVICE,
                   "the plan calls a library: cuBLASLt (libcublasLt.so.13) is not installed");
    setenv("SMELT_CUBLASLT_LIBRARY", "libc.so.6", 1);
    expect_failure(SMELT_WRONG_DEVICE, "libc.so.6 lacks cublasLtGetVersion");
    setenv("SMELT_CUBLASLT_LIBRARY", SMELT_FAKE_CUDA, 1);
    plan.operands[0].dtype = plan.operands[1].dtype = plan.operands[2].dtype = DTYPE_F16;
    plan.operands[3].dtype = plan.operands[4].dtype = DTYPE_F16;
    for (int i = 0; i < 8; ++i) plan.values[i].dtype = DTYPE_F16;
    expect_failure(SMELT_CUDA_FAILED, "cuBLASLt: the ways to do a product: status 15");
}

/* -- rules -- */

#define CALL_RULE(library, change, part)                                                                     \
    do {                                                                                                     \
        make_plan(library, 0, 512);                                                                          \
        PLAN_RULE(plan, (void)0, change, part);                                                              \
    } while (0)

static void test_rules(void) {
    CALL_RULE(PLAN_CUDNN, plan.calls[0].library = 2, "call 0 has a library that does not exist");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].choice = 64, "an impossible choice");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].workspace = -1, "an impossible workspace");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].operand_first = 1, "call 0 has 5 operands from 1; expected from 0");
    CALL_RULE(PLAN_CUDNN, plan.operand_count = 6, "calls have 5 operands, of 6");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].after[3] = PLAN_AFTER_ADD, "operands too many or too few");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].after[0] = PLAN_AFTER_NONE, "an operation that does not exist");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].after[2] = PLAN_AFTER_COUNT, "an operation that does not exist");
    CALL_RULE(PLAN_CUDNN, plan.operands[0].dtype = DTYPE_F64, "an operand of another type");
    CALL_RULE(PLAN_CUDNN, plan.operands[0].rank = 2, "an operand of another rank");
    CALL_RULE(PLAN_CUDNN, plan.operands[0].dim[1] = 0, "an operand of impossible extents");
    CALL_RULE(PLAN_CUDNN, plan.operands[0].dim[4] = 1, "an operand of impossible extents");
    CALL_RULE(PLAN_CUDNN, plan.operands[0].stride[0] = -1, "an operand of impossible extents");
    CALL_RULE(PLAN_CUDNN, plan.operands[0].stride[0] = INT64_MAX, "an operand of more than 2^63 bytes");
    CALL_RULE(PLAN_CUDNN, plan.operands[2].dim[1] = 2, "an addend that does not fit");
    CALL_RULE(PLAN_CUDNN, plan.operands[1].dim[1] = 3, "images that do not fit");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].step[0] = 0, "an impossible step");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].low[2] = 1, "an impossible step");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].high[0] = 3, "windows that do not fit");
    CALL_RULE(PLAN_CUDNN, plan.calls[0].dilation[0] = 9, "windows that do not fit");
    CALL_RULE(PLAN_CUDNN, plan.meta[1].key = "library.none",
              "there is no version of cuDNN, which call 0 needs");
    CALL_RULE(PLAN_CUBLASLT, plan.operands[0].dim[2] = 3, "matrices that do not fit");
    CALL_RULE(PLAN_CUBLASLT, plan.operands[4].stride[2] = 2, "matrices that do not fit or are not dense");
    CALL_RULE(PLAN_CUBLASLT, plan.calls[0].step[1] = 1, "a window that means nothing");
    CALL_RULE(PLAN_CUBLASLT, plan.calls[0].after[2] = PLAN_AFTER_TANH,
              "an operation behind it that the library has not");
    CALL_RULE(PLAN_CUBLASLT, plan.operands[2] = plan.operands[3], "more behind it than the library has");
    CALL_RULE(PLAN_CUBLASLT, plan.operands[3].dim[2] = 1, "an addend that is repeated");
    CALL_RULE(PLAN_CUBLASLT, plan.operands[2].dtype = DTYPE_F16, "a vector of another type than the result");
}

static void test_launches(void) {
    CALL_RULE(PLAN_CUBLASLT, plan.launches[0].kernel = -2, "launch 0 is of kernel -2, of 0, with 1 calls");
    CALL_RULE(PLAN_CUBLASLT, plan.launches[0].grid[1] = 2, "launch 0 of a call has a grid");
    CALL_RULE(PLAN_CUBLASLT, plan.launches[0].block[0] = 2, "launch 0 of a call has a grid");
    CALL_RULE(PLAN_CUBLASLT, plan.launches[0].together = true, "launch 0 of a call has a grid");
    CALL_RULE(PLAN_CUBLASLT, plan.calls[0].workspace = 0, "launch 0 has 6 arguments");
    CALL_RULE(PLAN_CUBLASLT, plan.calls[0].workspace = 513, "argument 5 is no workspace of 513 bytes");
    CALL_RULE(PLAN_CUBLASLT, plan.args[5].number = 256, "argument 5 is no workspace of 512 bytes");
    CALL_RULE(PLAN_CUBLASLT, plan.args[4].written = false, "argument 4 is not what its call takes");
    CALL_RULE(PLAN_CUBLASLT, plan.args[0] = sample_number(3), "argument 0 is not what its call takes");
    CALL_RULE(PLAN_CUBLASLT, plan.operands[0].stride[1] = 5, "argument 0 has 96 bytes; its call takes 116");
}

/* Whatever passes the reader stays within the fake device's memory, which looks at each access. */
static void test_mutation(void) {
    int ran = 0;
    for (int library = 0; library < PLAN_LIBRARIES; ++library) {
        Diag diag = {0};
        make_plan((PlanLibrary)library, 1, 512);
        fix_opsets(&plan);
        ByteWriter bytes = byte_writer(&arena);
        CHECK_OK(plan_write_bytes(&plan, &bytes, &diag), &diag);
        uint8_t *copy = arena_alloc(&arena, bytes.size + 4096);
        for (size_t at = 32; at < bytes.size; ++at) {
            Loaded loaded = {0};
            float x[MOST_ELEMENTS] = {0}, r[MOST_ELEMENTS] = {0}, y[MOST_ELEMENTS];
            void *buffers[] = {x, r, y};
            memcpy(copy, bytes.data, bytes.size);
            copy[at] ^= at % 3 == 0 ? 1 : 6;
            sample_fix_checksums(copy, bytes.size);
            int status = smelt_engine_load_memory(copy, bytes.size, NULL, &loaded.engine, &loaded.error);
            if (status == SMELT_OK) {
                open_fake_context(&loaded, false);
                status = smelt_context_run(loaded.context, buffers, NULL, &loaded.error);
                CHECK(status != SMELT_CUDA_FAILED);
                ran += status == SMELT_OK;
            }
            close_plan(&loaded);
        }
    }
    CHECK(ran > 10);
}

int main(void) {
    static void (*const tests[])(void) = {test_numbers, test_layouts,  test_other_gpu, test_missing,
                                          test_rules,   test_launches, test_mutation};
    setenv("SMELT_CUBLASLT_LIBRARY", SMELT_FAKE_CUDA, 1);
    setenv("SMELT_CUDNN_LIBRARY", SMELT_FAKE_CUDA, 1);
    return run_on_fake(7, tests);
}
