/* What operators and steps are said to cost, against numbers worked out by hand. */
#include "ir/cost.h"
#include "ops/cost.h"
#include "passes/pass.h"
#include "test.h"

static Graph *parse(const char *text, Arena *arena) {
    Diag diag = {0};
    Graph *graph = NULL;
    CHECK_OK(graph_parse(text, strlen(text), "t.ir", NULL, arena, &graph, &diag), &diag);
    return graph;
}

/* One node between inputs and its results, whose types inference gives. */
static Graph *infer(const char *text, Arena *arena) {
    Diag diag = {0};
    Graph *graph = parse(text, arena);
    CHECK_OK(passes_run(graph, &(PassOptions){.stop_after = "infer_shapes"}, NULL, &diag), &diag);
    return graph;
}

typedef struct Case {
    const char *inputs, *node;
    double macs, flops;
} Case;

static const Case cases[] = {
    {"  input %x : f32[1,3,8,8]\n  input %w : f32[4,3,3,3]\n", "Conv(%x, %w)", 4 * 36 * 27, 2 * 4 * 36 * 27},
    {"  input %x : f32[1,4,8,8]\n  input %w : f32[4,1,3,3]\n", "Conv(%x, %w) {group = 4}", 4 * 36 * 9,
     2 * 4 * 36 * 9},
    {"  input %x : f32[1,3,5,5]\n  input %w : f32[3,2,2,2]\n", "ConvTranspose(%x, %w)", 75 * 8, 2 * 75 * 8},
    {"  input %x : f32[2,5,7]\n  input %w : f32[7,3]\n", "MatMul(%x, %w)", 2 * 5 * 3 * 7, 4 * 5 * 3 * 7},
    {"  input %x : f32[7,5]\n  input %w : f32[3,7]\n", "Gemm(%x, %w) {transA = 1, transB = 1}", 105, 210},
    {"  input %x : f32[2,5,7]\n  input %w : f32[2,7,3]\n", "Einsum(%x, %w) {equation = \"bij,bjk->bik\"}",
     210, 420},
    {"  input %x : f32[6,2,4]\n  input %w : f32[1,9,4]\n  input %r : f32[1,9,3]\n",
     "GRU(%x, %w, %r) {hidden_size = 3}", 12 * (36 + 27), 24 * (36 + 27)},
    {"  input %x : f32[1,2,3,4]\n  input %w : f32[1,2,5,4]\n  input %r : f32[1,2,5,6]\n",
     "Attention(%x, %w, %r)", 2 * 3 * 5 * 4 + 2 * 3 * 5 * 6, 4 * 3 * 5 * 4 + 4 * 3 * 5 * 6},
    {"  input %x : f32[n,10]\n  input %w : f32[10]\n", "Add(%x, %w)", 0, 40},
    {"  input %x : f32[n,10]\n", "Relu(%x)", 0, 40},
    {"  input %x : f32[n,10]\n", "Softmax(%x)", 0, 200},
    {"  input %x : f32[1,2,6,6]\n", "MaxPool(%x) {kernel_shape = [2,2], strides = [2,2]}", 0, 18 * 4},
    {"  input %x : f32[1,2,6,6]\n", "GlobalAveragePool(%x)", 0, 72},
    {"  input %x : f32[6,7]\n", "Transpose(%x)", 0, 0},
};

static void test_nodes(void) {
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        Arena arena = {0};
        const char *text =
            arena_printf(&arena,
                         "smelt-ir 1\ngraph \"t\"\nsymbol n min 1 opt 4\nblock \"main\" {\n%s  %%y "
                         ": ? = %s\n  output %%y\n}\n",
                         cases[i].inputs, cases[i].node);
        Graph *graph = infer(text, &arena);
        CHECK_NEAR(node_macs(graph, 0), cases[i].macs, 0);
        CHECK_NEAR(node_flops(graph, 0), cases[i].flops, 0);
        arena_reset(&arena);
    }
}

/* What is known of shapes only in part costs nothing that could be told. */
static void test_unknown(void) {
    Shape row = {.rank = 1, .dim = {8}};
    const Shape *inputs[2] = {&row, NULL}, *outputs[1] = {NULL};
    OpShapes shapes = {2, 1, inputs, outputs};
    CHECK_INT(op_macs(OP_Conv, NULL, &shapes), 0);
    CHECK_INT(op_macs(OP_Gemm, NULL, &shapes), 0);
    CHECK_INT(op_macs(OP_Attention, NULL, &shapes), 0);
    CHECK_INT(op_macs(OP_LSTM, NULL, &shapes), 0);
    CHECK_NEAR(op_flops(OP_Add, NULL, &shapes), 0, 0);
    Shape huge = {.rank = 3, .dim = {INT64_MAX / 2, 4, 4}};
    inputs[0] = inputs[1] = outputs[0] = &huge;
    CHECK_INT(op_macs(OP_MatMul, NULL, &shapes), INT64_MAX);
}

/* A gather reads the rows that it takes, a slice its part. */
static void test_picks(void) {
    Shape table = {.rank = 2, .dim = {30000, 768}}, ids = {.rank = 1, .dim = {4}},
          rows = {.rank = 2, .dim = {4, 768}};
    const Shape *inputs[2] = {&table, &ids}, *outputs[1] = {&rows};
    OpShapes shapes = {2, 1, inputs, outputs};
    CHECK_INT(op_elements_read(OP_Gather, &shapes, 0), 4 * 768);
    CHECK_INT(op_elements_read(OP_Gather, &shapes, 1), 4);
    CHECK_INT(op_elements_read(OP_Add, &shapes, 0), 30000 * 768);
}

/* A region reads what comes from outside once and writes what goes outside; a view moves nothing. */
static void test_graph(void) {
    static const char text[] = "smelt-ir 1\ngraph \"t\"\nconstant %s : i64[1] = {64}\nblock \"main\" {\n"
                               "  input %x : f32[8,8]\n"
                               "  %a : ? = Relu(%x)\n  %b : ? = Mul(%a, %x)\n  %t : ? = Softmax(%b)\n"
                               "  %r : ? = Reshape(%t, %s)\n  %y : ? = Softmax(%r)\n"
                               "  output %y\n}\n";
    Arena arena = {0};
    Diag diag = {0};
    GraphCost cost;
    Graph *graph = parse(text, &arena);
    const char *disabled[] = {"canonicalize"};
    PassOptions options = {.disabled = disabled, .disabled_count = 1};
    CHECK_OK(passes_run(graph, &options, NULL, &diag), &diag);
    CHECK(graph_cost(graph, &arena, &cost));
    CHECK_NEAR(cost.flops, 64 + 64 + 2 * 5 * 64, 0);
    CHECK(cost.steps >= 2 && cost.steps <= 3); /* whether Softmax joins the chain before it */
    CHECK_NEAR(cost.bytes_read + cost.bytes_written, 512 * cost.steps, 0);
    arena_reset(&arena);
}

int main(void) {
    test_nodes();
    test_unknown();
    test_picks();
    test_graph();
    return test_result();
}
