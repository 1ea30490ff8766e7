/* Graphs, names, inputs and order: what becomes of a model, and what is refused with which words. */
#include "frontend_test.h"

static void test_simple(void) {
    Wire model = wire_simple(17, wire_node("Relu", "", "x", "y"));
    EXPECT_IMPORT(model);
    EXPECT_TEXT("input %x : f32[2,3]");
    EXPECT_TEXT("%y : ? = Relu(%x)");
    EXPECT_TEXT("Relu_0"); /* the origin of an unnamed node */
    EXPECT_TEXT("opset 17");
}

static void test_versions(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, wire_node("Relu", "r", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, "2"));
    Wire model = wire_model(3, 9, graph);
    EXPECT_IMPORT(model);
    model = wire_model(40, 9, graph);
    EXPECT_IMPORT(model);
    model = wire_model(2, 9, graph);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "IR version 2 is outside the supported 3 to 13");
    model = wire_model(100000, 9, graph);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "IR version 100000");
    model = wire_model(8, 28, graph);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "opset 28 of ai.onnx is outside the supported 6 to 27");
    model = wire_model(8, 5, graph);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "node 'r' (Relu, opset 5): opset 5 of ai.onnx is outside");
    model = wire_model(8, 0, graph);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "imports no opset of ai.onnx");
    Wire nothing = {0};
    wire_number(&nothing, 1, 8);
    EXPECT_REFUSAL(nothing, STATUS_BAD_MODEL, "it has no graph");
}

static Wire two_inputs(Wire a, Wire b) {
    Wire graph = {0};
    graph_input(&graph, a);
    graph_input(&graph, b);
    graph_node(&graph, wire_node("Add", "sum", "a,b", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static void test_dims(void) {
    Wire model = two_inputs(wire_value("a", WIRE_F32, "N,3,?,-1"), wire_value("b", WIRE_F32, "N,0,None"));
    EXPECT_IMPORT(model);
    EXPECT_TEXT("input %a : f32[N,3,a.dim2,a.dim3]");
    EXPECT_TEXT("input %b : f32[N,b.dim1,b.dim2]");
    model = two_inputs(wire_value("a", WIRE_F32, "2"), wire_value("b", WIRE_F32, "-7"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "input 'b': dimension 0 is negative (-7)");
    model = two_inputs(wire_value("a", WIRE_F32, "2"), wire_value("b", WIRE_F32, "4294967296,4294967296"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "dimensions are too large");
    model = two_inputs(wire_value("a", WIRE_F32, "2"), wire_value("b", WIRE_F32, NULL));
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED,
                   "does not say how many dimensions it has\nhint: pass --shape b:");
    model = two_inputs(wire_value("a", WIRE_F32, "2"), wire_value("b", WIRE_F32, "1,1,1,1,1,1,1,1,1"));
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "rank 9 is over the limit of 8");
    model = two_inputs(wire_value("a", WIRE_F32, "2"), wire_value("a", WIRE_F32, "2"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "input 'a' is listed twice");
    model = two_inputs(wire_value("a", WIRE_F32, "2"), wire_value("b", 99, "2"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "input 'b': its element type 99 is unknown");
    model = two_inputs(wire_value("a", WIRE_F32, "2"), wire_value("b", WIRE_STRING, "2"));
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "input 'b': it is a tensor of strings");
}

static void test_stated_shapes(void) {
    Wire model = two_inputs(wire_value("a", WIRE_F32, "N,C"), wire_value("b", WIRE_F32, "N,1"));
    InputShape shape = {.name = "a", .rank = 2, .dim = {4, -1}, .min = {0, 1}, .opt = {0, 3}, .max = {0, 9}};
    ImportOptions options = {.shapes = &shape, .shape_count = 1};
    Diag diag;
    CHECK_OK(import_wire(&model, &options, NULL, &diag), &diag);
    EXPECT_TEXT("input %a : f32[4,C]");
    EXPECT_TEXT("input %b : f32[4,1]"); /* N is 4 everywhere */
    EXPECT_TEXT("symbol C min 1 opt 3 max 9");
    shape.name = "z";
    expect_refusal_at(__LINE__, &model, &options, NULL, STATUS_USAGE,
                      "stated for 'z', but the inputs are 'a', 'b'");
    shape.name = "a";
    shape.rank = 1;
    expect_refusal_at(__LINE__, &model, &options, NULL, STATUS_USAGE, "has rank 1, the model's has rank 2");
    InputShape both[] = {{.name = "a", .rank = 2, .dim = {4, 2}}, {.name = "b", .rank = 2, .dim = {5, 1}}};
    options = (ImportOptions){.shapes = both, .shape_count = 2};
    expect_refusal_at(__LINE__, &model, &options, NULL, STATUS_USAGE, "make dimension 'N' both 4 and 5");
    model = two_inputs(wire_value("a", WIRE_F32, NULL), wire_value("b", WIRE_F32, "7,1"));
    both[1].dim[0] = -1; /* makes an exact dimension dynamic */
    CHECK_OK(import_wire(&model, &options, NULL, &diag), &diag);
    EXPECT_TEXT("input %a : f32[4,2]");
    EXPECT_TEXT("input %b : f32[b.dim0,1]");
}

static Wire kinds(const Wire *type) {
    Wire graph = {0}, value = {0};
    wire_text(&value, 1, "s");
    wire_put(&value, 2, type);
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_input(&graph, value);
    graph_node(&graph, wire_node("Relu", "", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static void test_other_types(void) {
    static const struct {
        unsigned field;
        const char *words;
    } cases[] = {
        {4, "it is a sequence"}, {5, "it is a map"}, {7, "an opaque"}, {8, "a sparse"}, {9, "an optional"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        Wire type = {0}, empty = {0};
        wire_put(&type, cases[i].field, &empty);
        Wire model = kinds(&type);
        EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, cases[i].words);
        EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "input 's'");
    }
    Wire none = {0}, model = kinds(&none);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "input 's': it has no element type");
}

static void test_initializers(void) {
    static const float data[] = {1, 2, 3};
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2,3"));
    graph_input(&graph, wire_value("w", WIRE_F32, "3")); /* a default: constant, no parameter */
    graph_initializer(&graph, wire_raw("w", WIRE_F32, "3", data, sizeof data));
    graph_node(&graph, wire_node("Add", "", "x,w", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    Wire model = wire_model(3, 9, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("constant %w : f32[3] = {1, 2, 3}");
    EXPECT_NO_TEXT("input %w");
    graph_initializer(&graph, wire_raw("w", WIRE_F32, "3", data, sizeof data));
    model = wire_model(3, 9, graph);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "initializer 'w' is defined twice");
}

/* Outputs that are inputs or constants are copied, and a constant leaves its name to the copy. */
static void test_outputs(void) {
    static const float data[] = {1, 2, 3};
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_initializer(&graph, wire_raw("w", WIRE_F32, "3", data, sizeof data));
    graph_output(&graph, wire_value("x", WIRE_F32, NULL));
    graph_output(&graph, wire_value("w", WIRE_F32, NULL));
    Wire model = wire_model(8, 17, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= Identity(%x)");
    EXPECT_TEXT("%w : ? = Identity(%w.1)");
    EXPECT_TEXT("output %w\n");
    EXPECT_TEXT("output %x.1 as \"x\"\n");
    graph_output(&graph, wire_value("nowhere", WIRE_F32, NULL));
    model = wire_model(8, 17, graph);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL,
                   "output 2 'nowhere' is no input, initializer or output of a node");
    Wire empty = {0};
    graph_input(&empty, wire_value("x", WIRE_F32, "2"));
    model = wire_model(8, 17, empty);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "the graph has no outputs");
    Wire twice = {0};
    graph_input(&twice, wire_value("x", WIRE_F32, "2"));
    graph_node(&twice, wire_node("Relu", "", "x", "y"));
    graph_output(&twice, wire_value("y", WIRE_F32, NULL));
    graph_output(&twice, wire_value("y", WIRE_F32, NULL));
    model = wire_model(8, 17, twice);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "output 'y': it is listed twice");
}

static void test_order(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, wire_node("Exp", "third", "b", "y"));
    graph_node(&graph, wire_node("Neg", "second", "a", "b"));
    graph_node(&graph, wire_node("Relu", "first", "x", "a"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    Wire model = wire_model(8, 17, graph);
    EXPECT_IMPORT(model);
    const char *relu = strstr(graph_text, "Relu"), *neg = strstr(graph_text, "Neg"),
               *exp = strstr(graph_text, "Exp(");
    CHECK(relu != NULL && neg != NULL && exp != NULL && relu < neg && neg < exp);
    graph_node(&graph, wire_node("Add", "left", "x,q", "p"));
    graph_node(&graph, wire_node("Mul", "right", "x,p", "q"));
    model = wire_model(8, 17, graph);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "the nodes form a cycle: 'left' -> 'right' -> 'left'");
    Wire self = wire_simple(17, wire_node("Add", "self", "x,y", "y"));
    EXPECT_REFUSAL(self, STATUS_BAD_MODEL, "the nodes form a cycle: 'self' -> 'self'");
}

static void test_names(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, wire_node("Relu", "one", "x", "y"));
    graph_node(&graph, wire_node("Neg", "", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    Wire model = wire_model(8, 17, graph);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "value 'y' is made twice: by node 'one' and by node 'Neg_1'");
    model = wire_simple(17, wire_node("Relu", "", "x", "x"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "value 'x' is made twice: by node 'Relu_0' and as an input");
    model = wire_simple(17, wire_node("Add", "sum", "x,w", "y"));
    EXPECT_REFUSAL(
        model, STATUS_BAD_MODEL,
        "test.onnx: node 'sum' (Add, opset 17): input 1 'w' is no input, initializer or output of a node");
    model = wire_simple(17, wire_node("Add", "sum", "x", "y"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "node 'sum' (Add, opset 17): 1 inputs, expected 2");
    /* an omitted input in the middle */
    model = wire_simple(17, wire_node("Clip", "", "x,,x", "y"));
    EXPECT_IMPORT(model);
}

static void test_unsupported(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, wire_node("Foo", "f0", "x", "a"));
    graph_node(&graph, wire_call("com.x", "Bar", "", "a", "b"));
    graph_node(&graph, wire_node("Foo", "f1", "b", "c"));
    graph_node(&graph, wire_node("Relu", "", "c", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    Wire model = wire_model(8, 17, graph);
    EXPECT_REFUSAL(
        model, STATUS_UNSUPPORTED,
        "2 operators are not supported: Foo x2 (first: node \"f0\"), com.x.Bar x1 (first: node \"Bar_1\")");
    Wire body = {0};
    graph_node(&body, wire_node("Foo", "inside", "x", "z"));
    graph_output(&body, wire_value("z", WIRE_F32, NULL));
    Wire branch = wire_node("If", "branch", "x", "y");
    node_graph(&branch, "then_branch", &body);
    node_graph(&branch, "else_branch", &body);
    model = wire_simple(17, branch);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "Foo x2 (first: node \"inside\")");
}

static void test_many_unsupported(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    for (int i = 0; i < 60; ++i) {
        char op[32], output[32];
        snprintf(op, sizeof op, "NoSuchOperator%d", i);
        snprintf(output, sizeof output, "v%d", i);
        graph_node(&graph, wire_node(op, "", "x", output));
    }
    graph_output(&graph, wire_value("v0", WIRE_F32, NULL));
    Wire model = wire_model(8, 17, graph);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "60 operators are not supported: NoSuchOperator0 x1");
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, " more");
}

static void test_attributes(void) {
    Wire node = wire_node("LeakyRelu", "leaky", "x", "y");
    node_float(&node, "alpha", 0.5f);
    Wire model = wire_simple(17, node);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("alpha = 0.5");
    node_float(&node, "alpha", 0.5f);
    model = wire_simple(17, node);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "attribute 'alpha' is given twice");
    node = wire_node("LeakyRelu", "leaky", "x", "y");
    node_text(&node, "alpha", "much");
    model = wire_simple(17, node);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL,
                   "node 'leaky' (LeakyRelu, opset 17): attribute 'alpha' is a string");
    node = wire_node("LeakyRelu", "leaky", "x", "y");
    node_reference(&node, "alpha", 1, "slope");
    model = wire_simple(17, node);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "refers to attribute 'slope' of a function, but is in none");
    Wire odd = wire_attr("alpha", 77), empty = wire_attr("alpha", 0), typed = wire_attr("alpha", 13);
    node = wire_node("LeakyRelu", "", "x", "y");
    wire_put(&node, 5, &odd);
    model = wire_simple(17, node);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "attribute 'alpha': its type 77 is unknown");
    node = wire_node("LeakyRelu", "", "x", "y");
    wire_put(&node, 5, &empty);
    model = wire_simple(17, node);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "it has neither a type nor a value");
    node = wire_node("LeakyRelu", "", "x", "y");
    wire_put(&node, 5, &typed);
    model = wire_simple(17, node);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "not supported as attributes");
}

/* Counts that no model needs and that would make some step slow. */
static void test_limits(void) {
    Wire node = {0}, import = wire_opset("d", 1);
    wire_text(&node, 1, "x");
    wire_text(&node, 2, "y");
    wire_text(&node, 4, "Relu");
    size_t head = node.size;
    for (int i = 0; i < 5000 && node.size + 4 < sizeof node.data; ++i) wire_bytes(&node, 5, "", 0);
    CHECK(node.size > head + 8192);
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    node.size = head + (size_t)2 * 4097;
    graph_node(&graph, node);
    Wire model = wire_model(8, 17, graph);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "1 inputs, 1 outputs and 4097 attributes are too many");
    model = wire_simple(17, wire_node("Relu", "", "x", "y"));
    for (int i = 0; i < 1024; ++i) wire_put(&model, 8, &import);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "the model imports 1025 opsets");
}

int main(void) {
    test_limits();
    test_simple();
    test_versions();
    test_dims();
    test_stated_shapes();
    test_other_types();
    test_initializers();
    test_outputs();
    test_order();
    test_names();
    test_unsupported();
    test_many_unsupported();
    test_attributes();
    return test_result();
}
