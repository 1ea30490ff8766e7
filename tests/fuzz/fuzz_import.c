/* Reads bytes as an ONNX model; what is accepted must satisfy the verifier, and nothing may be left
 * allocated. */
#include <stdlib.h>

#include "frontend/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { MEMORY_LIMIT = 1 << 30 };
    Allocator allocator = {.limit = MEMORY_LIMIT};
    Model model;
    Diag diag = {0};
    Status status = model_import_bytes(data, size, "fuzz.onnx", NULL, NULL, &allocator, &model, &diag);
    if (status == STATUS_OK && graph_verify(model.graph, STATUS_INTERNAL, &diag) != STATUS_OK) abort();
    if (status == STATUS_INTERNAL || (status != STATUS_OK && diag.text[0] == '\0')) abort();
    model_destroy(&model);
    if (allocator.in_use != 0) abort();
    return 0;
}
