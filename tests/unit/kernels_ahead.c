/* Which weights come to L2 ahead of the product that reads them. */
#include "kernels/weights_ahead.h"

#include "kernels/arch.h"
#include "test.h"

#define WEIGHTS "f16[4,4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}\n"
#define PRODUCTS(rows)                                                                                       \
    "smelt-ir 1\n"                                                                                           \
    "graph \"g\"\n"                                                                                          \
    "constant %w : " WEIGHTS "constant %u : " WEIGHTS "block \"main\" {\n"                                   \
    "  input %x : f16[" rows ",4]\n"                                                                         \
    "  %a : f16[" rows ",4] = MatMul(%x, %w)\n"                                                              \
    "  %r : f16[" rows ",4] = Relu(%a)\n"                                                                    \
    "  %b : f16[" rows ",4] = MatMul(%r, %u)\n"                                                              \
    "  output %b\n"                                                                                          \
    "}\n"

#define CONVOLUTIONS(window, numbers, pads)                                                                  \
    "smelt-ir 1\n"                                                                                           \
    "graph \"g\"\n"                                                                                          \
    "constant %w : f16[1,1,1,1] = {1}\n"                                                                     \
    "constant %u : f16[1,1," window "] = {" numbers "}\n"                                                    \
    "block \"main\" {\n"                                                                                     \
    "  input %x : f16[1,1,5,5]\n"                                                                            \
    "  %a : f16[1,1,5,5] = Conv(%x, %w)\n"                                                                   \
    "  %b : f16[1,1,5,5] = Conv(%a, %u) {pads = [" pads "]}\n"                                               \
    "  output %b\n"                                                                                          \
    "}\n"

/* What is found for node number `node` of the block, of so many bytes of constants. */
static Emission look(const char *text, int32_t node, int64_t bytes, Arena *arena, Graph **graph) {
    Diag diag = {0};
    UseTable uses;
    Problem problem;
    Emission emission = {.arena = arena};
    CHECK_OK(graph_parse(text, strlen(text), "g.ir", ".", arena, graph, &diag), &diag);
    CHECK(use_table_build(*graph, arena, &uses));
    CHECK_OK(
        problem_create(*graph, &uses, &(*graph)->blocks[MAIN_BLOCK].nodes[node], 1, arena, &problem, &diag),
        &diag);
    weights_look_ahead(&problem, device_find("h200"), bytes, &emission);
    return emission;
}

int main(void) {
    static const char few[] = PRODUCTS("16"), many[] = PRODUCTS("4000"),
                      single[] = CONVOLUTIONS("1,1", "2", "0,0,0,0"),
                      windows[] = CONVOLUTIONS("3,1", "1, 2, 3", "1,0,1,0");
    Arena arena = {0};
    Graph *graph;
    Emission emission = look(few, 0, INT64_MAX, &arena, &graph);
    CHECK_INT(emission.ahead_bytes, 32);
    CHECK(emission.ahead == graph_find_value(graph, "u"));
    CHECK_INT(weights_bytes(graph), 64);
    /* L2 holds them all */
    CHECK_INT(look(few, 0, 64, &arena, &graph).ahead_bytes, 0);
    /* no contraction; nothing behind; time enough to read them while rows are multiplied */
    CHECK_INT(look(few, 1, INT64_MAX, &arena, &graph).ahead_bytes, 0);
    CHECK_INT(look(few, 2, INT64_MAX, &arena, &graph).ahead_bytes, 0);
    CHECK_INT(look(many, 0, INT64_MAX, &arena, &graph).ahead_bytes, 0);
    /* weights of windows are turned, and read from the copy */
    CHECK_INT(look(single, 0, INT64_MAX, &arena, &graph).ahead_bytes, 2);
    CHECK_INT(look(windows, 0, INT64_MAX, &arena, &graph).ahead_bytes, 0);
    arena_reset(&arena);
    return test_result();
}
