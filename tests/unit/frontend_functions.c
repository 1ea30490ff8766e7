/* Model-local functions and body graphs: names, attributes, nesting. */
#include "frontend_test.h"

/* Scales(x) {slope} = LeakyRelu(Neg(x), alpha = slope) */
static Wire scales_function(void) {
    Wire function = wire_function("local", "Scales", "in", "out");
    Wire leaky = wire_node("LeakyRelu", "leaky", "t", "out"), fallback = wire_attr("slope", 1);
    node_reference(&leaky, "alpha", 1, "slope");
    function_node(&function, wire_node("Neg", "", "in", "t"));
    function_node(&function, leaky);
    wire_float(&fallback, 2, 0.125f);
    wire_put(&function, 11, &fallback);
    return function;
}

static Wire model_of(Wire graph, const Wire *functions, int count) {
    Wire model = wire_model(8, 17, graph);
    for (int i = 0; i < count; ++i) wire_put(&model, 25, &functions[i]);
    return model;
}

static Wire graph_of(Wire first, Wire second) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, first);
    if (second.size > 0) graph_node(&graph, second);
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return graph;
}

static void test_inlining(void) {
    Wire functions[] = {scales_function()}, none = {0};
    Wire call = wire_call("local", "Scales", "one", "x", "t");
    node_float(&call, "slope", 0.5f);
    Wire model = model_of(graph_of(call, wire_call("local", "Scales", "", "t", "y")), functions, 1);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("%one/t : ? = Neg(%x)");
    EXPECT_TEXT("%t : ? = LeakyRelu(%one/t) {alpha = 0.5} \"one/leaky\"");
    EXPECT_TEXT("%Scales_1/t : ? = Neg(%t)");
    EXPECT_TEXT("%y : ? = LeakyRelu(%Scales_1/t) {alpha = 0.125}"); /* the default */
    EXPECT_TEXT("\"one/Neg_0\"");
    model = model_of(graph_of(wire_call("local", "Scales", "", "x,x", "y"), none), functions, 1);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "2 inputs and 1 outputs, but function 'Scales' has 1 and 1");
    model = model_of(graph_of(wire_call("local", "Scales", "call", "gone", "y"), none), functions, 1);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "node 'call' (local.Scales): input 0 'gone' is no input");
}

/* Outer(x) {k} = Scales(x, slope = k), Same(x) = x, and a constant from an attribute. */
static void test_nested(void) {
    Wire outer = wire_function("local", "Outer", "a,unused", "b");
    Wire inner = wire_call("local", "Scales", "inner", "a", "b");
    node_reference(&inner, "slope", 1, "k");
    function_node(&outer, inner);
    Wire functions[] = {outer, scales_function(), wire_function("local", "Same", "a", "a")};
    Wire call = wire_call("local", "Outer", "top", "x", "t");
    node_float(&call, "k", 0.75f);
    Wire model = model_of(graph_of(call, wire_call("local", "Same", "same", "t", "y")), functions, 3);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("%t : ? = LeakyRelu(%top/inner/t) {alpha = 0.75} \"top/inner/leaky\"");
    EXPECT_TEXT("%y : ? = Identity(%t)");
    Wire constant = wire_node("Constant", "", "", "b");
    node_reference(&constant, "value_float", 1, "k");
    functions[0] = wire_function("local", "Outer", "a", "b");
    function_node(&functions[0], constant);
    call = wire_call("local", "Outer", "top", "x", "y");
    node_float(&call, "k", 2.5f);
    Wire none = {0};
    model = model_of(graph_of(call, none), functions, 1);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[] = {2.5}");
}

static void test_function_refusals(void) {
    Wire loop = wire_function("local", "Loops", "a", "b"), none = {0};
    function_node(&loop, wire_call("local", "Again", "", "a", "b"));
    Wire again = wire_function("local", "Again", "a", "b");
    function_node(&again, wire_call("local", "Loops", "", "a", "b"));
    Wire functions[] = {loop, again};
    Wire model = model_of(graph_of(wire_call("local", "Loops", "", "x", "y"), none), functions, 2);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "function 'Loops' calls itself");
    functions[1] = loop;
    model = model_of(graph_of(wire_call("local", "Loops", "", "x", "y"), none), functions, 2);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "function 'Loops' of domain 'local' is defined twice");
    functions[0] = wire_function("local", "Loops", "a", "b");
    model = model_of(graph_of(wire_call("local", "Loops", "", "x", "y"), none), functions, 1);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "function 'Loops' never makes its output 'b'");
    function_node(&functions[0], wire_node("NoSuch", "", "a", "b"));
    model = model_of(graph_of(wire_call("local", "Loops", "", "x", "y"), none), functions, 1);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED,
                   "1 operator is not supported: NoSuch x1 (first: node \"Loops/NoSuch_0\")");
    functions[0] = wire_function("local", "Loops", "a", "b");
    function_node(&functions[0], wire_node("Relu", "", "x", "b")); /* x is the caller's, not the function's */
    model = model_of(graph_of(wire_call("local", "Loops", "", "x", "y"), none), functions, 1);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL,
                   "node 'Loops_0/Relu_0' (Relu, opset 17): input 0 'x' is no input");
}

/* Each of 24 functions calls the next four times: 4^24 nodes. */
static void test_explosion(void) {
    enum { LEVELS = 24 };
    Wire none = {0}, model = wire_model(8, 17, graph_of(wire_call("local", "F0", "", "x", "y"), none));
    for (int i = 0; i < LEVELS; ++i) {
        char name[16], next[16];
        snprintf(name, sizeof name, "F%d", i);
        snprintf(next, sizeof next, "F%d", i + 1);
        Wire function = wire_function("local", name, "a", "e");
        if (i + 1 == LEVELS) {
            function_node(&function, wire_node("Relu", "", "a", "e"));
        } else {
            function_node(&function, wire_call("local", next, "", "a", "b"));
            function_node(&function, wire_call("local", next, "", "b", "c"));
            function_node(&function, wire_call("local", next, "", "c", "d"));
            function_node(&function, wire_call("local", next, "", "d", "e"));
        }
        wire_put(&model, 25, &function);
    }
    Diag diag = {0};
    Model imported;
    Allocator allocator = {.limit = (size_t)2 << 30};
    Status status =
        model_import_bytes(model.data, model.size, "bomb.onnx", NULL, NULL, &allocator, &imported, &diag);
    CHECK_INT(status, STATUS_UNSUPPORTED);
    CHECK(strstr(diag.text, "nodes, inlined functions included") != NULL);
}

/* -- bodies: these need the control-flow operators -- */

static Wire branch_body(const char *op, const char *name) {
    Wire body = {0};
    graph_node(&body, wire_node(op, "", "outer_value", name));
    graph_output(&body, wire_value(name, WIRE_F32, NULL));
    return body;
}

static void test_bodies(void) {
    Wire graph = {0}, then_body = branch_body("Relu", "r"), else_body = branch_body("Neg", "y");
    Wire branch = wire_node("If", "choose", "cond", "y"); /* before the node that its bodies read from */
    node_graph(&branch, "then_branch", &then_body);
    node_graph(&branch, "else_branch", &else_body);
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_input(&graph, wire_value("cond", WIRE_BOOL, ""));
    graph_node(&graph, branch);
    graph_node(&graph, wire_node("Exp", "", "x", "outer_value"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    Wire model = wire_model(8, 17, graph);
    if (op_find("", "If") == OP_NONE) {
        EXPECT_REFUSAL(model, STATUS_UNSUPPORTED,
                       "1 operator is not supported: If x1 (first: node \"choose\")");
        return;
    }
    EXPECT_IMPORT(model);
    const char *exp = strstr(graph_text, "= Exp(%x)"), *choose = strstr(graph_text, "= If(%cond)");
    CHECK(exp != NULL && choose != NULL && exp < choose);
    EXPECT_TEXT("= Relu(%outer_value)");
    EXPECT_TEXT("= Neg(%outer_value)");
    EXPECT_TEXT("%y.1"); /* the body's y is another value than the main graph's */
    Wire outside = {0};
    graph_output(&outside, wire_value("x", WIRE_F32, NULL));
    branch = wire_node("If", "choose", "cond", "y");
    node_graph(&branch, "then_branch", &outside); /* a result that is a value from around */
    node_graph(&branch, "else_branch", &outside);
    Wire other = {0};
    graph_input(&other, wire_value("x", WIRE_F32, "2"));
    graph_input(&other, wire_value("cond", WIRE_BOOL, ""));
    graph_node(&other, branch);
    graph_output(&other, wire_value("y", WIRE_F32, NULL));
    model = wire_model(8, 17, other);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= Identity(%x)");
    outside.size = 0;
    graph_output(&outside, wire_value("nowhere", WIRE_F32, NULL));
    branch = wire_node("If", "choose", "cond", "z");
    node_graph(&branch, "then_branch", &outside);
    node_graph(&branch, "else_branch", &outside);
    graph_node(&other, branch);
    model = wire_model(8, 17, other);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL,
                   "node 'choose' (If, opset 17), output 'nowhere': output 0 'nowhere' is no");
}

int main(void) {
    test_inlining();
    test_nested();
    test_function_refusals();
    test_explosion();
    test_bodies();
    return test_result();
}
