/* Importing models made with onnx_wire.h and looking at what came out. */
#ifndef SMELT_TESTS_FRONTEND_TEST_H
#define SMELT_TESTS_FRONTEND_TEST_H

#include "frontend/import.h"
#include "onnx_wire.h"
#include "test.h"

/* The graph's text, cut at the buffer's end. */
static char graph_text[65536];

static inline Status import_wire(const Wire *model, const ImportOptions *options, const char *folder,
                                 Diag *diag) {
    Model imported;
    Allocator allocator = {0};
    Arena arena = {0};
    ByteWriter text = byte_writer(&arena);
    graph_text[0] = '\0';
    *diag = (Diag){0};
    Status status = model_import_bytes(model->data, model->size, "test.onnx", folder, options, &allocator,
                                       &imported, diag);
    if (status == STATUS_OK) {
        CHECK_OK(graph_verify(imported.graph, STATUS_INTERNAL, diag), diag);
        CHECK_OK(graph_print(imported.graph, NULL, &text, diag), diag);
        size_t size = text.size < sizeof graph_text ? text.size : sizeof graph_text - 1;
        memcpy(graph_text, text.data, size);
        graph_text[size] = '\0';
    }
    arena_reset(&arena);
    model_destroy(&imported);
    CHECK_INT(allocator.in_use, 0);
    return status;
}

static inline void expect_text_at(int line, const char *part, int wanted) {
    test_checks++;
    if ((strstr(graph_text, part) != NULL) == (wanted != 0)) return;
    test_failures++;
    fprintf(stderr, "line %d: \"%s\" is %s in:\n%s\n", line, part, wanted ? "not" : "wrongly", graph_text);
}

static inline void expect_import_at(int line, const Wire *model) {
    Diag diag;
    char text[2048];
    test_checks++;
    if (import_wire(model, NULL, NULL, &diag) == STATUS_OK) return;
    diag_format(&diag, text, sizeof text);
    test_failures++;
    fprintf(stderr, "line %d: import failed: %s\n", line, text);
}

static inline void expect_refusal_at(int line, const Wire *model, const ImportOptions *options,
                                     const char *folder, Status status, const char *part) {
    Diag diag;
    char text[2048];
    Status found = import_wire(model, options, folder, &diag);
    diag_format(&diag, text, sizeof text);
    test_checks++;
    if (found == status && strstr(text, part) != NULL) return;
    test_failures++;
    fprintf(stderr, "line %d: expected %s \"%s\", got %s \"%s\"\n", line, status_name(status), part,
            status_name(found), text);
}

/* The graph's text has this in it / does not. */
#define EXPECT_TEXT(part)    expect_text_at(__LINE__, part, 1)
#define EXPECT_NO_TEXT(part) expect_text_at(__LINE__, part, 0)
#define EXPECT_IMPORT(model) expect_import_at(__LINE__, &(model))
/* The import fails with this status and these words. */
#define EXPECT_REFUSAL(model, status, part) expect_refusal_at(__LINE__, &(model), NULL, NULL, status, part)

#endif
