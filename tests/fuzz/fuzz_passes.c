/* Reads bytes as the text form of a graph and runs the passes over it: inference, folding through the host
 * kernels and every rewrite must hold against any graph that the verifier lets through. */
#include <stdlib.h>

#include "passes/pass.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Status run(const char *text, size_t size, Arena *arena, Diag *diag) {
    Graph *graph;
    TRY(graph_parse(text, size, "fuzz.ir", NULL, arena, &graph, diag));
    TRY(graph_verify(graph, STATUS_BAD_MODEL, diag));
    return passes_run(graph, &(PassOptions){0}, NULL, diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { MEMORY_LIMIT = 64 << 20 };
    Allocator allocator = {.limit = MEMORY_LIMIT};
    Arena arena = {.allocator = &allocator};
    Diag diag = {0};
    /* A graph that a pass breaks is a fault of ours. */
    if (run((const char *)data, size, &arena, &diag) == STATUS_INTERNAL) abort();
    arena_reset(&arena);
    return 0;
}
