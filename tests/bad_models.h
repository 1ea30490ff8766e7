/* The models of tests/bad_models (which must be refused, with the status in the file's name) and of
 * tests/fuzz/corpus/import (which seed the fuzzer), as functions. make_models.c writes the files; a unit test
 * holds files and functions together. */
#ifndef SMELT_TESTS_BAD_MODELS_H
#define SMELT_TESTS_BAD_MODELS_H

#include "onnx_wire.h"

typedef struct SampleModel {
    const char *name; /* of the file */
    Wire (*make)(void);
} SampleModel;

/* y = x + w, with every part that a model usually has. */
static Wire sample_sum(void) {
    static const float data[] = {1, 2, 3};
    Wire graph = {0};
    wire_text(&graph, 2, "sum");
    graph_input(&graph, wire_value("x", WIRE_F32, "N,3"));
    graph_initializer(&graph, wire_raw("w", WIRE_F32, "3", data, sizeof data));
    graph_node(&graph, wire_node("Add", "sum", "x,w", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, "N,3"));
    return wire_model(8, 17, graph);
}

static Wire sample_with(Wire tensor) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "3"));
    graph_initializer(&graph, tensor);
    graph_node(&graph, wire_node("Add", "sum", "x,w", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

/* -- damaged files -- */

static Wire bad_empty(void) {
    return (Wire){0};
}

static Wire bad_truncated(void) {
    Wire model = sample_sum();
    model.size -= 20;
    return model;
}

static Wire bad_garbage(void) {
    Wire model = {0};
    uint32_t state = 1;
    for (int i = 0; i < 200; ++i) {
        state = state * 1664525u + 1013904223u;
        wire_byte(&model, state >> 24);
    }
    return model;
}

static Wire bad_bit_flipped(void) {
    Wire model = sample_sum();
    model.data[3] ^= 0x40; /* the graph's length */
    return model;
}

static Wire bad_text_file(void) {
    Wire model = {0};
    static const char text[] = "version https://git-lfs.github.com/spec/v1\nsize 12345\n";
    memcpy(model.data, text, sizeof text - 1);
    model.size = sizeof text - 1;
    return model;
}

static Wire bad_nesting(void) {
    Wire type = {0}, graph = {0}, value = {0};
    for (int i = 0; i < 200; ++i) {
        Wire element = {0}, outer = {0};
        wire_put(&element, 1, &type);
        wire_put(&outer, 4, &element);
        type = outer;
    }
    wire_text(&value, 1, "x");
    wire_put(&value, 2, &type);
    graph_input(&graph, value);
    return wire_model(8, 17, graph);
}

static Wire bad_no_graph(void) {
    Wire model = {0}, import = wire_opset("", 17);
    wire_number(&model, 1, 8);
    wire_put(&model, 8, &import);
    return model;
}

/* -- graphs that make no sense -- */

static Wire bad_cycle(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, wire_node("Add", "left", "x,b", "a"));
    graph_node(&graph, wire_node("Mul", "right", "x,a", "b"));
    graph_output(&graph, wire_value("b", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static Wire bad_duplicate_value(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, wire_node("Relu", "one", "x", "y"));
    graph_node(&graph, wire_node("Neg", "two", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static Wire bad_missing_input(void) {
    return wire_simple(17, wire_node("Add", "sum", "x,w", "y"));
}

static Wire bad_missing_output(void) {
    return wire_simple(17, wire_node("Relu", "", "x", "z"));
}

static Wire bad_attribute(void) {
    Wire node = wire_node("LeakyRelu", "leaky", "x", "y");
    node_text(&node, "alpha", "much");
    return wire_simple(17, node);
}

static Wire bad_input_count(void) {
    return wire_simple(17, wire_node("Add", "sum", "x", "y"));
}

static Wire bad_function(void) {
    Wire model = wire_simple(17, wire_call("local", "Twice", "", "x", "y"));
    Wire function = wire_function("local", "Twice", "a", "b");
    function_node(&function, wire_call("local", "Twice", "", "a", "b"));
    wire_put(&model, 25, &function);
    return model;
}

static Wire bad_huge_dims(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "4294967296,4294967296"));
    graph_node(&graph, wire_node("Relu", "", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static Wire bad_negative_dim(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "-5"));
    graph_node(&graph, wire_node("Relu", "", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

/* -- tensors -- */

static Wire bad_tensor_size(void) {
    static const float data[] = {1, 2, 3};
    return sample_with(wire_raw("w", WIRE_F32, "4", data, sizeof data));
}

static Wire bad_tensor_type(void) {
    static const float data[] = {1, 2, 3};
    return sample_with(wire_raw("w", 0, "3", data, sizeof data));
}

static Wire bad_huge_tensor(void) {
    static const float data[] = {1, 2, 3};
    return sample_with(wire_raw("w", WIRE_F32, "1099511627776,1048576", data, sizeof data));
}

static Wire bad_external_outside(void) {
    return sample_with(wire_external("w", WIRE_F32, "3", "../CMakeLists.txt", "0", "12"));
}

static Wire bad_external_absolute(void) {
    return sample_with(wire_external("w", WIRE_F32, "3", "/etc/passwd", "0", "12"));
}

static Wire bad_external_range(void) {
    return sample_with(wire_external("w", WIRE_F32, "3", "bad_model-truncated.onnx", "1000000000000", "12"));
}

static Wire bad_external_missing(void) {
    return sample_with(wire_external("w", WIRE_F32, "3", "no_such_file.bin", "0", "12"));
}

static Wire sparse_sample(const char *dims, int64_t index) {
    static const float value = 5;
    Wire tensor = {0}, graph = {0};
    Wire values = wire_raw("w", WIRE_F32, "1", &value, sizeof value);
    Wire indices = wire_raw("", WIRE_I64, "1", &index, sizeof index);
    wire_put(&tensor, 1, &values);
    wire_put(&tensor, 2, &indices);
    wire_number(&tensor, 3, strtoll(dims, NULL, 10));
    graph_input(&graph, wire_value("x", WIRE_F32, "3"));
    wire_put(&graph, 15, &tensor);
    graph_node(&graph, wire_node("Add", "sum", "x,w", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static Wire bad_sparse_index(void) {
    return sparse_sample("3", 3);
}

static Wire bad_sparse_bomb(void) {
    return sparse_sample("1000000000000", 1);
}

/* -- what smelt does not do -- */

static Wire bad_operators(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, wire_node("Foo", "f", "x", "a"));
    graph_node(&graph, wire_call("com.example", "Bar", "b", "a", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static Wire bad_opset(void) {
    return wire_simple(99, wire_node("Relu", "", "x", "y"));
}

static Wire bad_ir_version(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_node(&graph, wire_node("Relu", "", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(1, 17, graph);
}

static Wire bad_strings(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_STRING, "2"));
    graph_node(&graph, wire_node("Identity", "", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_STRING, NULL));
    return wire_model(8, 17, graph);
}

static Wire bad_rank_unknown(void) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, NULL));
    graph_node(&graph, wire_node("Relu", "", "x", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

/* Each of 24 functions calls the next four times. */
static Wire bad_function_bomb(void) {
    Wire model = wire_simple(17, wire_call("local", "A", "", "x", "y"));
    for (int i = 0; i < 24; ++i) {
        char name[] = {(char)('A' + i), '\0'}, next[] = {(char)('B' + i), '\0'};
        Wire function = wire_function("local", name, "a", "e");
        for (int k = 0; k < 4; ++k) {
            char input[] = {(char)('a' + k), '\0'}, output[] = {(char)('b' + k), '\0'};
            function_node(&function, i < 23 ? wire_call("local", next, "", input, output)
                                            : wire_node("Relu", "", input, output));
        }
        wire_put(&model, 25, &function);
    }
    return model;
}

static const SampleModel bad_models[] = {
    {"bad_model-empty", bad_empty},
    {"bad_model-truncated", bad_truncated},
    {"bad_model-garbage", bad_garbage},
    {"bad_model-bit_flipped", bad_bit_flipped},
    {"bad_model-text_file", bad_text_file},
    {"bad_model-nested_too_deep", bad_nesting},
    {"bad_model-no_graph", bad_no_graph},
    {"bad_model-cycle", bad_cycle},
    {"bad_model-duplicate_value", bad_duplicate_value},
    {"bad_model-missing_input", bad_missing_input},
    {"bad_model-missing_output", bad_missing_output},
    {"bad_model-attribute_type", bad_attribute},
    {"bad_model-input_count", bad_input_count},
    {"bad_model-recursive_function", bad_function},
    {"bad_model-huge_dims", bad_huge_dims},
    {"bad_model-negative_dim", bad_negative_dim},
    {"bad_model-tensor_size", bad_tensor_size},
    {"bad_model-tensor_type", bad_tensor_type},
    {"bad_model-huge_tensor", bad_huge_tensor},
    {"bad_model-external_outside_folder", bad_external_outside},
    {"bad_model-external_absolute", bad_external_absolute},
    {"bad_model-external_range", bad_external_range},
    {"bad_model-sparse_index", bad_sparse_index},
    {"file_error-external_missing", bad_external_missing},
    {"unsupported-sparse_bomb", bad_sparse_bomb},
    {"unsupported-operators", bad_operators},
    {"unsupported-opset", bad_opset},
    {"unsupported-ir_version", bad_ir_version},
    {"unsupported-strings", bad_strings},
    {"unsupported-rank_unknown", bad_rank_unknown},
    {"unsupported-function_bomb", bad_function_bomb},
};

/* -- seeds: good models that use what a reader must handle -- */

static Wire seed_functions(void) {
    Wire call = wire_call("local", "Scales", "one", "x", "y");
    node_float(&call, "slope", 0.5f);
    Wire model = wire_simple(17, call), function = wire_function("local", "Scales", "in", "out");
    Wire leaky = wire_node("LeakyRelu", "leaky", "t", "out");
    node_reference(&leaky, "alpha", 1, "slope");
    function_node(&function, wire_node("Neg", "", "in", "t"));
    function_node(&function, leaky);
    wire_put(&model, 25, &function);
    return model;
}

static Wire seed_body(void) {
    Wire graph = {0}, body = {0}, branch = wire_node("If", "", "c", "y");
    graph_node(&body, wire_node("Relu", "", "x", "r"));
    graph_output(&body, wire_value("r", WIRE_F32, NULL));
    node_graph(&branch, "then_branch", &body);
    node_graph(&branch, "else_branch", &body);
    graph_input(&graph, wire_value("x", WIRE_F32, "2"));
    graph_input(&graph, wire_value("c", WIRE_BOOL, ""));
    graph_node(&graph, branch);
    graph_output(&graph, wire_value("y", WIRE_F32, "2"));
    return wire_model(8, 17, graph);
}

static Wire seed_typed(void) {
    Wire tensor = wire_tensor("w", WIRE_F16, "3"), graph = {0}, cast = wire_node("Cast", "", "w", "f");
    for (int i = 0; i < 3; ++i) wire_number(&tensor, 5, 0x3c00);
    node_int(&cast, "to", 1);
    graph_input(&graph, wire_value("x", WIRE_F32, "N,3"));
    graph_initializer(&graph, tensor);
    graph_node(&graph, cast);
    graph_node(&graph, wire_node("Max", "", "x,f,f", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static Wire seed_old_opset(void) {
    static const int64_t pads[] = {0, 1, 0, 1};
    Wire graph = {0}, pad = wire_node("Pad", "", "x", "p");
    node_ints(&pad, "pads", 4, pads);
    graph_input(&graph, wire_value("x", WIRE_F32, "2,3"));
    graph_node(&graph, pad);
    graph_node(&graph, wire_node("Softmax", "", "p", "s"));
    graph_node(&graph, wire_node("Dropout", "", "s", "y,mask"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(3, 7, graph);
}

static Wire seed_shapes(void) {
    static const int64_t minus_one = -1;
    Wire graph = {0}, concat = wire_node("Concat", "", "c,m", "t"),
         gather = wire_node("Gather", "", "s,z", "c");
    node_int(&concat, "axis", 0);
    graph_input(&graph, wire_value("x", WIRE_F32, "N,3,H"));
    graph_initializer(&graph, wire_raw("m", WIRE_I64, "1", &minus_one, 8));
    graph_initializer(&graph, wire_raw("z", WIRE_I64, "1", &(int64_t){0}, 8));
    graph_node(&graph, wire_node("Shape", "", "x", "s"));
    graph_node(&graph, gather);
    graph_node(&graph, concat);
    graph_node(&graph, wire_node("Reshape", "", "x,t", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static Wire seed_fused_conv(void) {
    static const float weights[4 * 3] = {0.5f};
    Wire graph = {0}, node = wire_call("com.microsoft", "FusedConv", "", "x,w", "y");
    node_text(&node, "activation", "Relu");
    graph_input(&graph, wire_value("x", WIRE_F32, "1,3,4,4"));
    graph_initializer(&graph, wire_raw("w", WIRE_F32, "4,3,1,1", weights, sizeof weights));
    graph_node(&graph, node);
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 12, graph);
}

static Wire seed_sparse(void) {
    return sparse_sample("3", 1);
}

static const SampleModel seed_models[] = {
    {"sum", sample_sum},
    {"functions", seed_functions},
    {"body", seed_body},
    {"typed", seed_typed},
    {"old_opset", seed_old_opset},
    {"shapes", seed_shapes},
    {"fused_conv", seed_fused_conv},
    {"sparse", seed_sparse},
};

enum {
    BAD_MODEL_COUNT = sizeof bad_models / sizeof bad_models[0],
    SEED_MODEL_COUNT = sizeof seed_models / sizeof seed_models[0]
};

#endif
