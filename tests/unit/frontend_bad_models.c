/* tests/bad_models/<status>-<what>.onnx: each is refused with that status, within bounded memory, and is what
 * bad_models.h makes. The seeds of the fuzzer import, where the operators they use exist. */
#include "bad_models.h"
#include "frontend/import.h"
#include "test.h"

static void check_same(const char *path, const Wire *expected) {
    FileMap file;
    Diag diag = {0};
    Status status = file_map(path, &file, &diag);
    CHECK_OK(status, &diag);
    if (status != STATUS_OK) return;
    CHECK_INT(file.size, expected->size);
    CHECK(file.size == expected->size &&
          (file.size == 0 || memcmp(file.data, expected->data, file.size) == 0));
    file_unmap(&file);
}

static Status import_file(const char *path, Diag *diag) {
    enum { MEMORY_LIMIT = 1 << 30 };
    Allocator allocator = {.limit = MEMORY_LIMIT};
    Model model;
    *diag = (Diag){0};
    Status status = model_import(path, NULL, &allocator, &model, diag);
    if (status == STATUS_OK) CHECK_OK(graph_verify(model.graph, STATUS_INTERNAL, diag), diag);
    model_destroy(&model);
    CHECK_INT(allocator.in_use, 0);
    return status;
}

static void test_bad(void) {
    for (int i = 0; i < BAD_MODEL_COUNT; ++i) {
        char path[1024], expected[64];
        Diag diag;
        Wire model = bad_models[i].make();
        snprintf(path, sizeof path, "%s/tests/bad_models/%s.onnx", SMELT_SOURCE_DIR, bad_models[i].name);
        check_same(path, &model);
        snprintf(expected, sizeof expected, "%.*s", (int)strcspn(bad_models[i].name, "-"),
                 bad_models[i].name);
        for (char *c = expected; *c != '\0'; ++c) *c = *c == '_' ? ' ' : *c;
        CHECK_STR(status_name(import_file(path, &diag)), expected);
        CHECK(diag.text[0] != '\0' && strstr(diag.context[DIAG_FILE], ".onnx") != NULL);
    }
}

static void test_seeds(void) {
    for (int i = 0; i < SEED_MODEL_COUNT; ++i) {
        char path[1024];
        Diag diag;
        Wire model = seed_models[i].make();
        snprintf(path, sizeof path, "%s/tests/fuzz/corpus/import/%s.onnx", SMELT_SOURCE_DIR,
                 seed_models[i].name);
        check_same(path, &model);
        Status status = import_file(path, &diag);
        bool needs_if = strcmp(seed_models[i].name, "body") == 0 && op_find("", "If") == OP_NONE;
        if (!needs_if) CHECK_OK(status, &diag);
    }
}

int main(void) {
    test_bad();
    test_seeds();
    return test_result();
}
