/* Plans that are checked in: tests/bad_plans must be refused, each with its words; tests/golden_plans, which
 * earlier versions wrote, must load and give the outputs that were recorded with them. */
#include "bad_plans.h"
#include "base/tensor_file.h"
#include "runtime/smelt_runtime.h"
#include "test.h"

static Arena arena;

/* -- bad -- */

static const BadPlan *find_bad(const char *file) {
    for (int i = 0; i < BAD_PLAN_COUNT; ++i) {
        size_t length = strlen(bad_plans[i].name);
        if (strncmp(file, bad_plans[i].name, length) == 0 && strcmp(file + length, ".plan") == 0)
            return &bad_plans[i];
    }
    return NULL;
}

static void test_bad(void) {
    static const char *const folder = SMELT_SOURCE_DIR "/tests/bad_plans";
    Diag diag = {0};
    char **names;
    int32_t count = 0;
    CHECK_OK(folder_list(&arena, folder, &names, &count, &diag), &diag);
    CHECK_INT(count, BAD_PLAN_COUNT);
    for (int32_t i = 0; i < count; ++i) {
        SmeltEngine *engine;
        SmeltError error = {0};
        const BadPlan *bad = find_bad(names[i]);
        int status = smelt_engine_load(path_join(&arena, folder, names[i]), NULL, &engine, &error);
        bool right = bad != NULL && strstr(error.message, bad->words) != NULL && engine == NULL;
        if (status != SMELT_BAD_PLAN || !right)
            fprintf(stderr, "%s: status %d, \"%s\", expected \"%s\"\n", names[i], status, error.message,
                    bad == NULL ? "nothing: bad_plans.h does not know it" : bad->words);
        CHECK_INT(status, SMELT_BAD_PLAN);
        CHECK(right);
        smelt_engine_destroy(engine);
    }
}

/* -- golden -- */

enum { MOST_BINDINGS = 4 };

static Tensor read_tensor(const char *folder, const char *kind, int index) {
    Tensor tensor = {0};
    Diag diag = {0};
    const char *name = arena_printf(&arena, "%s/%s_%d.npy", folder, kind, index);
    CHECK_OK(tensor_file_read(name, &arena, &tensor, NULL, &diag), &diag);
    return tensor;
}

static void check_output(SmeltContext *context, const char *folder, int binding, int index) {
    const void *data = NULL;
    size_t size = 0;
    int rank = 0;
    int64_t dims[SMELT_RANK_LIMIT];
    Tensor expected = read_tensor(folder, "output", index);
    CHECK_INT(smelt_context_output(context, binding, &data, &size, NULL), SMELT_OK);
    CHECK_INT(smelt_context_shape(context, binding, &rank, dims, NULL), SMELT_OK);
    CHECK_INT(rank, expected.rank);
    for (int32_t i = 0; i < expected.rank; ++i) CHECK_INT(dims[i], expected.dim[i]);
    CHECK_INT(size, tensor_bytes(&expected));
    CHECK_INT(expected.dtype, DTYPE_F32);
    for (size_t i = 0; size == tensor_bytes(&expected) && i < size / sizeof(float); ++i)
        CHECK_NEAR(((const float *)data)[i], ((const float *)expected.data)[i], 1e-6);
}

static void run_golden(const char *folder) {
    SmeltEngine *engine = NULL;
    SmeltContext *context = NULL;
    SmeltError error = {0};
    SmeltBinding binding;
    void *buffers[MOST_BINDINGS] = {0};
    CHECK_INT(smelt_engine_load(path_join(&arena, folder, "model.plan"), NULL, &engine, &error), SMELT_OK);
    CHECK_STR(error.message, "");
    if (engine == NULL) return;
    CHECK_INT(smelt_context_create(engine, NULL, &context, &error), SMELT_OK);
    int count = smelt_engine_binding_count(engine), inputs = 0;
    CHECK(count > 1 && count <= MOST_BINDINGS);
    while (smelt_engine_binding(engine, inputs, &binding, NULL) == SMELT_OK && !binding.is_output) {
        Tensor x = read_tensor(folder, "input", inputs);
        CHECK_INT(smelt_context_set_shape(context, inputs, x.rank, x.dim, &error), SMELT_OK);
        buffers[inputs++] = x.data;
    }
    CHECK_INT(smelt_context_run(context, buffers, NULL, &error), SMELT_OK);
    CHECK_STR(error.message, "");
    for (int i = inputs; i < count; ++i) check_output(context, folder, i, i - inputs);
    smelt_context_destroy(context);
    smelt_engine_destroy(engine);
}

static void test_golden(void) {
    static const char *const folder = SMELT_SOURCE_DIR "/tests/golden_plans";
    Diag diag = {0};
    char **names;
    int32_t count = 0;
    CHECK_OK(folder_list(&arena, folder, &names, &count, &diag), &diag);
    CHECK(count >= 5);
    for (int32_t i = 0; i < count; ++i) run_golden(path_join(&arena, folder, names[i]));
}

int main(void) {
    test_bad();
    test_golden();
    arena_reset(&arena);
    return test_result();
}
