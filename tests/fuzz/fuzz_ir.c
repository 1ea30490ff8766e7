/* Reads bytes as the text form of a graph; what is read and verified must print, and read back to the same
 * text. */
#include <stdlib.h>
#include <string.h>

#include "ir/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Status print(const char *text, size_t size, Arena *arena, ByteWriter *out) {
    Diag diag = {0};
    Graph *graph;
    *out = byte_writer(arena);
    TRY(graph_parse(text, size, "fuzz.ir", NULL, arena, &graph, &diag));
    TRY(graph_verify(graph, STATUS_BAD_MODEL, &diag));
    return graph_print(graph, NULL, out, &diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { MEMORY_LIMIT = 256 << 20 };
    Allocator allocator = {.limit = MEMORY_LIMIT};
    Arena arena = {.allocator = &allocator};
    ByteWriter first, second;
    if (print((const char *)data, size, &arena, &first) == STATUS_OK) {
        Status status = print((const char *)first.data, first.size, &arena, &second);
        bool same = status == STATUS_OK && first.size == second.size &&
                    memcmp(first.data, second.data, first.size) == 0;
        if (!same && status != STATUS_NO_MEMORY) abort();
    }
    arena_reset(&arena);
    return 0;
}
