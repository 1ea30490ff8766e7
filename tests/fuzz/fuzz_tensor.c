/* Reads bytes as both kinds of tensor file; every element of what is read must be there. */
#include <stdlib.h>

#include "base/tensor_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(Status status, const Tensor *tensor, const Diag *diag) {
    if (status == STATUS_INTERNAL || (status != STATUS_OK && diag->text[0] == '\0')) abort();
    if (status != STATUS_OK) return;
    char text[128];
    double sum = 0;
    int64_t count = tensor_count(tensor);
    if (count < 0 || tensor->rank < 0 || tensor->rank > SMELT_MAX_RANK) abort();
    for (int64_t i = 0; i < count; ++i) sum += dtype_load_f64(tensor->dtype, tensor->data, i);
    tensor_format(tensor, text, sizeof text);
    volatile double seen = sum; /* so that the reads take place */
    (void)seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { MEMORY_LIMIT = 64 << 20 };
    Allocator allocator = {.limit = MEMORY_LIMIT};
    Arena arena = {.allocator = &allocator};
    Tensor tensor = {0};
    Diag diag = {0};
    const char *name;
    look_at(tensor_from_npy(data, size, &arena, &tensor, &diag), &tensor, &diag);
    diag_clear(&diag);
    tensor = (Tensor){0};
    look_at(tensor_from_pb(data, size, &arena, &tensor, &name, &diag), &tensor, &diag);
    arena_reset(&arena);
    if (allocator.in_use != 0) abort();
    return 0;
}
