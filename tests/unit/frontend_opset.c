/* Older forms of operators: what each becomes, as text. */
#include "frontend_test.h"

/* Imports x f32[2,3] -> node -> y at an opset. */
static void import_node(int line, int opset, const Wire *node) {
    Wire model = wire_simple(opset, *node);
    expect_import_at(line, &model);
}
#define IMPORT(opset, node) import_node(__LINE__, opset, &(node))

static void test_attributes_to_inputs(void) {
    static const int64_t pads[] = {0, 1, 0, 2}, axes[] = {0, -1}, k[] = {1, 2};
    Wire node = wire_node("Clip", "", "x", "y");
    node_float(&node, "max", 6);
    IMPORT(6, node);
    EXPECT_TEXT("= Clip(%x, _, %%2)");
    EXPECT_TEXT("constant %%2 : f32[] = {6}");
    node = wire_node("Pad", "", "x", "y");
    node_ints(&node, "pads", 4, pads);
    node_float(&node, "value", 0.5f);
    IMPORT(10, node);
    EXPECT_TEXT("i64[4] = {0, 1, 0, 2}");
    EXPECT_TEXT("f32[] = {0.5}");
    node = wire_node("Slice", "", "x", "y");
    node_ints(&node, "starts", 2, axes);
    node_ints(&node, "ends", 2, k);
    IMPORT(9, node);
    EXPECT_TEXT("= Slice(%x, %%2, %%3)");
    node = wire_node("Unsqueeze", "", "x", "y");
    node_ints(&node, "axes", 2, axes);
    IMPORT(11, node);
    EXPECT_TEXT("= Unsqueeze(%x, %%2)");
    node = wire_node("Squeeze", "", "x", "y"); /* without axes: all */
    IMPORT(11, node);
    EXPECT_TEXT("= Squeeze(%x)");
    node = wire_node("ReduceMean", "", "x", "y");
    node_ints(&node, "axes", 2, axes);
    node_int(&node, "keepdims", 0);
    IMPORT(17, node);
    EXPECT_TEXT("= ReduceMean(%x, %%2) {keepdims = 0}");
    node = wire_node("ReduceSum", "", "x", "y");
    node_ints(&node, "axes", 2, axes);
    IMPORT(12, node);
    EXPECT_TEXT("= ReduceSum(%x, %%2)");
    node = wire_node("Split", "", "x", "y,z");
    node_ints(&node, "split", 2, k);
    node_int(&node, "axis", 1);
    IMPORT(11, node);
    EXPECT_TEXT("i64[2] = {1, 2}");
    EXPECT_TEXT("{axis = 1}");
    node = wire_node("Split", "", "x", "y,z");
    IMPORT(13, node);
    EXPECT_TEXT("num_outputs = 2");
    node = wire_node("TopK", "", "x", "y,i");
    node_int(&node, "k", 2);
    IMPORT(9, node);
    EXPECT_TEXT("i64[1] = {2}");
    EXPECT_NO_TEXT("k = 2");
}

static void test_dropout(void) {
    Wire node = wire_node("Dropout", "", "x", "y,mask");
    node_float(&node, "ratio", 0.5f);
    IMPORT(9, node);
    EXPECT_TEXT("= Dropout(%x)");
    EXPECT_TEXT("%mask : ? = Cast(");
    node = wire_node("Dropout", "", "x", "y,mask");
    IMPORT(11, node);
    EXPECT_NO_TEXT("Cast");
}

static void test_softmax(void) {
    Wire node = wire_node("Softmax", "soft", "x", "y");
    IMPORT(12, node);
    EXPECT_TEXT("= Flatten(%x) {axis = 1}");
    EXPECT_TEXT("{axis = -1}");
    EXPECT_TEXT("= Shape(%x)");
    EXPECT_TEXT("%y : ? = Reshape(");
    EXPECT_TEXT("Flatten(%x) {axis = 1} \"soft\"");
    node_int(&node, "axis", -1);
    IMPORT(12, node);
    EXPECT_TEXT("%y : ? = Softmax(%x) {axis = -1}");
    node = wire_node("Softmax", "", "x", "y");
    IMPORT(13, node);
    EXPECT_TEXT("%y : ? = Softmax(%x)");
    EXPECT_NO_TEXT("Flatten");
}

static Wire norm_model(const char *op, const char *inputs, const char *outputs, Wire *node) {
    Wire graph = {0};
    *node = wire_node(op, "", inputs, outputs);
    graph_input(&graph, wire_value("x", WIRE_F32, "N,C,H,W"));
    for (const char *name = "sbmv"; *name != '\0'; ++name) {
        char text[2] = {*name, '\0'};
        graph_input(&graph, wire_value(text, WIRE_F32, "C"));
    }
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return graph;
}

static void test_norms(void) {
    Wire node, graph = norm_model("BatchNormalization", "x,s,b,m,v", "y,m1,v1,m2,v2", &node), all = graph;
    graph_node(&all, node);
    Wire model = wire_model(8, 7, all);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("%y : ? = BatchNormalization(%x, %s, %b, %m, %v)");
    graph_node(&all, wire_node("Relu", "late", "m2", "z"));
    model = wire_model(8, 7, all);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "input 0 'm2' is an output that its node only has in training");
    node_int(&node, "spatial", 0);
    graph_node(&graph, node);
    model = wire_model(8, 7, graph);
    EXPECT_IMPORT(model);
    EXPECT_NO_TEXT("BatchNormalization(");
    EXPECT_TEXT("= Sub(%x, %m)");
    graph = norm_model("GroupNormalization", "x,s,b", "y", &node);
    node_int(&node, "num_groups", 2);
    all = graph;
    graph_node(&all, node);
    model = wire_model(8, 18, all);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= Unsqueeze(%s, ");
    EXPECT_TEXT("= Expand(");
    model = wire_model(8, 21, all);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= GroupNormalization(%x, %s, %b)");
}

static Wire resize_model(const char *op, int opset, const float *scales, const char *dims, size_t size) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "1,1,4,4"));
    graph_initializer(&graph, wire_raw("scales", WIRE_F32, dims, scales, size));
    graph_node(&graph, wire_node(op, "", "x,scales", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, opset, graph);
}

static void test_training_norm(void) {
    Wire node, graph = norm_model("BatchNormalization", "x,s,b,m,v", "y,m1,v1", &node);
    node_int(&node, "training_mode", 1);
    node_float(&node, "momentum", 0.75f);
    graph_node(&graph, node);
    Wire model = wire_model(8, 15, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("i64[3] = {0, 2, 3}");
    EXPECT_TEXT("%%11 : ? = ReduceMean(%x, %%8) {keepdims = 0}");
    EXPECT_TEXT("f32[] = {0.75}");
    EXPECT_TEXT("f32[] = {0.25}");
    EXPECT_TEXT("%m1 : ? = Add(%%15, %%17)");
    EXPECT_TEXT("%v1 : ? = Add(%%19, %%21)");
    EXPECT_TEXT("%y : ? = BatchNormalization(%x, %s, %b, %%11, %%13)");
    EXPECT_NO_TEXT("training_mode");
}

/* y, z = Scan(lengths, i, x) with x read backwards. */
static Wire scan_model(const char *lengths) {
    static const int64_t backwards[] = {1};
    char inputs[32];
    snprintf(inputs, sizeof inputs, "%s,i,x", lengths);
    Wire body = {0}, node = wire_node("Scan", "", inputs, "y,z"), graph = {0};
    graph_input(&body, wire_value("sum", WIRE_F32, "2"));
    graph_input(&body, wire_value("next", WIRE_F32, "2"));
    graph_node(&body, wire_node("Add", "", "sum,next", "total"));
    graph_node(&body, wire_node("Identity", "", "total", "all"));
    graph_output(&body, wire_value("total", WIRE_F32, NULL));
    graph_output(&body, wire_value("all", WIRE_F32, NULL));
    node_int(&node, "num_scan_inputs", 1);
    node_ints(&node, "directions", 1, backwards);
    node_graph(&node, "body", &body);
    graph_input(&graph, wire_value("l", WIRE_I64, "N"));
    graph_input(&graph, wire_value("i", WIRE_F32, "N,2"));
    graph_input(&graph, wire_value("x", WIRE_F32, "N,T,2"));
    graph_node(&graph, node);
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    graph_output(&graph, wire_value("z", WIRE_F32, NULL));
    return wire_model(7, 8, graph);
}

static void test_scan_over_batch(void) {
    Wire model = scan_model("");
    EXPECT_IMPORT(model);
    EXPECT_TEXT("%y : ?, %z : ? = Scan(%i, %x) {num_scan_inputs = 2}");
    EXPECT_TEXT("= Scan(%%9, %%10) {num_scan_inputs = 1, scan_input_directions = [1]}");
    EXPECT_NO_TEXT(" directions");
    model = scan_model("l");
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "without sequence_lens only");
}

/* y = BeamSearch(i, m) with a decoder that declares its state so (NULL: has none). */
static Wire beam_search_model(const char *state) {
    Wire body = {0}, node = wire_call("com.microsoft", "BeamSearch", "search", "i,m", "y"), graph = {0};
    graph_input(&body, wire_value("ids", WIRE_I32, "N,S"));
    graph_input(&body, wire_value("positions", WIRE_I32, "N,S"));
    graph_input(&body, wire_value("mask", WIRE_I32, "N,T"));
    if (state != NULL) graph_input(&body, wire_value("past", WIRE_F32, state));
    graph_output(&body, wire_value("ids", WIRE_F32, NULL));
    graph_output(&body, wire_value("mask", WIRE_F32, NULL));
    node_int(&node, "eos_token_id", 2);
    node_int(&node, "pad_token_id", 2);
    node_graph(&node, "decoder", &body);
    graph_input(&graph, wire_value("i", WIRE_I32, "N,S"));
    graph_input(&graph, wire_value("m", WIRE_I32, "1"));
    graph_node(&graph, node);
    graph_output(&graph, wire_value("y", WIRE_I32, NULL));
    return wire_model(8, 15, graph);
}

static void test_beam_search(void) {
    static const char *const wrong[] = {NULL, "2,N,H,P,8", "2,N,4,P,D", "2,N,4,8"};
    Wire model = beam_search_model("2,N,4,P,8");
    EXPECT_IMPORT(model);
    EXPECT_TEXT("num_heads = 4, num_layers = 1");
    EXPECT_TEXT("head_size = 8");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        model = beam_search_model(wrong[i]);
        EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "must declare states");
    }
}

static void test_resize(void) {
    static const float up[] = {1, 1, 2, 2}, down[] = {1, 1, 0.5f, 0.5f}, mixed[] = {1, 1, 2, 0.5f};
    if (op_find("", "Resize") == OP_NONE) {
        Wire model = resize_model("Upsample", 9, up, "4", sizeof up);
        EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "Upsample x1");
        return;
    }
    Wire model = resize_model("Upsample", 9, up, "4", sizeof up);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("%y : ? = Resize(%x, _, %scales) {coordinate_transformation_mode = \"asymmetric\", "
                "nearest_mode = \"floor\"}");
    model = resize_model("Resize", 10, down, "4", sizeof down);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("nearest_mode = \"ceil\"");
    model = resize_model("Resize", 10, mixed, "4", sizeof mixed);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[4] = {1, 1, 2, 1}");
    EXPECT_TEXT("f32[4] = {1, 1, 1, 0.5}");
    Wire node = wire_node("Upsample", "", "x", "y"), graph = {0};
    node_floats(&node, "scales", 4, up);
    graph_input(&graph, wire_value("x", WIRE_F32, "1,1,4,4"));
    graph_node(&graph, node);
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    model = wire_model(8, 7, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[4] = {1, 1, 2, 2}");
}

static void test_broadcast(void) {
    Wire graph = {0}, node = wire_node("Add", "", "x,b", "y");
    node_int(&node, "broadcast", 1);
    node_int(&node, "axis", 0);
    graph_input(&graph, wire_value("x", WIRE_F32, "2,3"));
    graph_input(&graph, wire_value("b", WIRE_F32, "2"));
    graph_node(&graph, node);
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    Wire model = wire_model(8, 6, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= Unsqueeze(%b, ");
    EXPECT_TEXT("i64[1] = {1}");
    model = wire_model(8, 7, graph);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "broadcasting by attribute ended with opset 6");
}

static void test_legacy(void) {
    static const float bias[] = {1, 2, 3};
    static const int64_t border[] = {1, 2, 0, 4};
    Wire node = wire_node("ImageScaler", "", "x", "y");
    node_float(&node, "scale", 0.5f);
    node_floats(&node, "bias", 3, bias);
    IMPORT(7, node);
    EXPECT_TEXT("= Mul(%x, ");
    EXPECT_TEXT("= Unsqueeze(");
    EXPECT_TEXT("%y : ? = Add(");
    node = wire_node("Crop", "", "x", "y");
    node_ints(&node, "border", 4, border);
    IMPORT(7, node);
    EXPECT_TEXT("{2, 1}");                    /* top, left */
    EXPECT_TEXT("{-4, 9223372036854775807}"); /* bottom, right */
    node = wire_node("Affine", "", "x", "y");
    IMPORT(7, node);
    EXPECT_TEXT("%y : ? = Add(");
    node = wire_node("Crop", "crop", "x", "y");
    Wire model = wire_simple(7, node);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "node 'crop' (Crop, opset 7): Crop needs 4 borders");
}

static void test_contrib(void) {
    static const float bounds[] = {0, 6}, weights[12] = {0};
    Wire graph = {0}, node = wire_call("com.microsoft", "FusedConv", "fused", "x,w,,z", "y");
    node_text(&node, "activation", "Clip");
    node_floats(&node, "activation_params", 2, bounds);
    node_int(&node, "group", 1);
    graph_input(&graph, wire_value("x", WIRE_F32, "1,3,4,4"));
    graph_input(&graph, wire_value("z", WIRE_F32, "1,4,4,4"));
    graph_initializer(&graph, wire_raw("w", WIRE_F32, "4,3,1,1", weights, sizeof weights));
    Wire all = graph;
    graph_node(&all, node);
    graph_output(&all, wire_value("y", WIRE_F32, NULL));
    Wire model = wire_model(8, 12, all);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= Conv(%x, %w) {group = 1}");
    EXPECT_TEXT("= Add(");
    EXPECT_TEXT("%y : ? = Clip(");
    node = wire_call("com.microsoft", "FusedConv", "fused", "x,w", "y");
    node_text(&node, "activation", "Sinus");
    graph_node(&graph, node);
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    model = wire_model(8, 12, graph);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED,
                   "node 'fused' (com.microsoft.FusedConv): its activation is not supported\nhint: ");
    node = wire_call("com.microsoft", "FusedMatMul", "", "x,x", "y");
    node_int(&node, "transB", 1);
    node_float(&node, "alpha", 0.5f);
    IMPORT(12, node);
    EXPECT_TEXT("= Transpose(%x) {perm = [1,0]}");
    EXPECT_TEXT("= MatMul(%x, ");
    EXPECT_TEXT("%y : ? = Mul(");
    node = wire_call("com.microsoft", "FastGelu", "", "x", "y");
    IMPORT(12, node);
    EXPECT_TEXT("%y : ? = Gelu(%x) {approximate = \"tanh\"}");
}

static void test_quantized(void) {
    static const float scale[] = {0.5f};
    static const uint8_t zero[] = {128};
    Wire graph = {0};
    graph_input(&graph, wire_value("a", WIRE_U8, "2,3"));
    graph_input(&graph, wire_value("b", WIRE_U8, "2,3"));
    graph_initializer(&graph, wire_raw("s", WIRE_F32, "", scale, 4));
    graph_initializer(&graph, wire_raw("z", WIRE_U8, "", zero, 1));
    graph_node(&graph, wire_call("com.microsoft", "QLinearAdd", "", "a,s,z,b,s,z,s,z", "y"));
    graph_output(&graph, wire_value("y", WIRE_U8, NULL));
    Wire model = wire_model(8, 12, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= DequantizeLinear(%a, %s, %z)");
    EXPECT_TEXT("= DequantizeLinear(%b, %s, %z)");
    EXPECT_TEXT("%y : ? = QuantizeLinear(");
}

/* Channels in the last place are moved to the second and back. */
static void test_channels_last(void) {
    static const float scale[] = {0.5f};
    static const uint8_t zero[] = {128}, weights[2 * 3] = {1};
    Wire graph = {0}, conv = wire_call("com.microsoft", "QLinearConv", "conv", "x,s,z,w,s,z,s,z", "c");
    Wire pool = wire_call("com.microsoft", "QLinearGlobalAveragePool", "pool", "c,s,z,s,z", "y");
    node_int(&conv, "channels_last", 1);
    node_int(&pool, "channels_last", 1);
    graph_input(&graph, wire_value("x", WIRE_U8, "1,4,4,3"));
    graph_initializer(&graph, wire_raw("s", WIRE_F32, "", scale, 4));
    graph_initializer(&graph, wire_raw("z", WIRE_U8, "", zero, 1));
    graph_initializer(&graph, wire_raw("w", WIRE_U8, "2,3,1,1", weights, sizeof weights));
    graph_node(&graph, conv);
    graph_node(&graph, pool); /* its rank shows through the convolution only */
    graph_output(&graph, wire_value("y", WIRE_U8, NULL));
    Wire model = wire_model(8, 12, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= Transpose(%x) {perm = [0,3,1,2]}");
    EXPECT_TEXT("%c : ? = Transpose(");
    EXPECT_TEXT("{perm = [0,2,3,1]} \"conv\"");
    EXPECT_TEXT("{perm = [0,2,3,1]} \"pool\"");
}

/* Ranks through views and reductions, as FusedMatMul needs them. */
static void test_ranks(void) {
    static const int64_t shape[] = {2, 3, 1, 1}, axes[] = {0};
    Wire graph = {0}, squeeze = wire_node("Squeeze", "", "r,a", "q");
    Wire product = wire_call("com.microsoft", "FusedMatMul", "product", "m,m", "y");
    node_int(&product, "transA", 1);
    graph_input(&graph, wire_value("x", WIRE_F32, "N"));
    graph_initializer(&graph, wire_raw("t", WIRE_I64, "4", shape, sizeof shape));
    graph_initializer(&graph, wire_raw("a", WIRE_I64, "1", axes, sizeof axes));
    graph_node(&graph, wire_node("Reshape", "", "x,t", "r"));
    graph_node(&graph, squeeze);
    graph_node(&graph, wire_node("ReduceMax", "", "q,a", "m"));
    graph_node(&graph, product);
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    Wire model = wire_model(8, 18, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("= Transpose(%m) {perm = [0,2,1]}");
    Wire unknown = {0}, nonzero = wire_node("GatherND", "", "x,i", "m");
    graph_input(&unknown, wire_value("x", WIRE_F32, "2,3"));
    graph_input(&unknown, wire_value("i", WIRE_I64, "2,1"));
    graph_node(&unknown, nonzero);
    graph_node(&unknown, product);
    graph_output(&unknown, wire_value("y", WIRE_F32, NULL));
    model = wire_model(8, 18, unknown);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED,
                   "node 'product' (com.microsoft.FusedMatMul): a transposed operand of unknown rank");
}

/* Constants beside a value take its element type, through the nodes before it. */
static void test_types(void) {
    Wire graph = {0}, cast = wire_node("Cast", "", "x", "h"), clip = wire_node("Clip", "", "r", "y");
    node_int(&cast, "to", 10);
    node_float(&clip, "min", 0.5f);
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, cast);
    graph_node(&graph, wire_node("Relu", "", "h", "r"));
    graph_node(&graph, clip);
    graph_output(&graph, wire_value("y", WIRE_F16, NULL));
    Wire model = wire_model(8, 9, graph);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f16[] = {0.5}");
}

int main(void) {
    test_attributes_to_inputs();
    test_dropout();
    test_softmax();
    test_norms();
    test_training_norm();
    test_scan_over_batch();
    test_beam_search();
    test_resize();
    test_broadcast();
    test_legacy();
    test_contrib();
    test_quantized();
    test_channels_last();
    test_ranks();
    test_types();
    return test_result();
}
