/* Small ONNX models for tests, written as bytes: nothing here shares code with the reader. Numbers are those
 * of the ONNX format. */
#ifndef SMELT_TESTS_ONNX_WIRE_H
#define SMELT_TESTS_ONNX_WIRE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct Wire {
    size_t size;
    uint8_t data[16384];
} Wire;

static inline void wire_byte(Wire *w, unsigned byte) {
    if (w->size < sizeof w->data) w->data[w->size++] = (uint8_t)byte;
}

static inline void wire_varint(Wire *w, uint64_t value) {
    for (; value >= 0x80; value >>= 7) wire_byte(w, (unsigned)(value & 0x7f) | 0x80);
    wire_byte(w, (unsigned)value);
}

static inline void wire_number(Wire *w, unsigned field, int64_t value) {
    wire_varint(w, field << 3);
    wire_varint(w, (uint64_t)value);
}

static inline void wire_bytes(Wire *w, unsigned field, const void *data, size_t size) {
    wire_varint(w, field << 3 | 2);
    wire_varint(w, size);
    for (size_t i = 0; i < size; ++i) wire_byte(w, ((const uint8_t *)data)[i]);
}

static inline void wire_text(Wire *w, unsigned field, const char *text) {
    wire_bytes(w, field, text, strlen(text));
}

static inline void wire_put(Wire *w, unsigned field, const Wire *inner) {
    wire_bytes(w, field, inner->data, inner->size);
}

static inline void wire_float(Wire *w, unsigned field, float value) {
    uint8_t bytes[4];
    memcpy(bytes, &value, 4);
    wire_varint(w, field << 3 | 5);
    for (int i = 0; i < 4; ++i) wire_byte(w, bytes[i]);
}

/* Calls put for each part of a list "a,b,,c". */
static inline void wire_list(Wire *w, unsigned field, const char *list) {
    while (list[0] != '\0') {
        size_t length = strcspn(list, ",");
        wire_bytes(w, field, list, length);
        list += length + (list[length] == ',');
    }
}

/* -- types and tensors -- */

enum { WIRE_F32 = 1, WIRE_U8 = 2, WIRE_I32 = 6, WIRE_I64 = 7, WIRE_STRING = 8, WIRE_BOOL = 9, WIRE_F16 = 10 };

/* dims "2,N,?": exact, named, unknown; "": a scalar; NULL: no shape at all. */
static inline Wire wire_value(const char *name, int type, const char *dims) {
    Wire value = {0}, kind = {0}, tensor = {0}, shape = {0};
    while (dims != NULL && dims[0] != '\0') {
        Wire dim = {0};
        size_t length = strcspn(dims, ",");
        if (dims[0] == '-' || (dims[0] >= '0' && dims[0] <= '9'))
            wire_number(&dim, 1, strtoll(dims, NULL, 10));
        else if (dims[0] != '?')
            wire_bytes(&dim, 2, dims, length);
        wire_put(&shape, 1, &dim);
        dims += length + (dims[length] == ',');
    }
    wire_number(&tensor, 1, type);
    if (dims != NULL) wire_put(&tensor, 2, &shape);
    wire_put(&kind, 1, &tensor);
    wire_text(&value, 1, name);
    wire_put(&value, 2, &kind);
    return value;
}

/* A tensor without elements; dims "2,3". */
static inline Wire wire_tensor(const char *name, int type, const char *dims) {
    Wire tensor = {0};
    while (dims[0] != '\0') {
        wire_number(&tensor, 1, strtoll(dims, NULL, 10));
        dims += strcspn(dims, ",");
        dims += dims[0] == ',';
    }
    wire_number(&tensor, 2, type);
    if (name[0] != '\0') wire_text(&tensor, 8, name);
    return tensor;
}

static inline Wire wire_raw(const char *name, int type, const char *dims, const void *data, size_t size) {
    Wire tensor = wire_tensor(name, type, dims);
    wire_bytes(&tensor, 9, data, size);
    return tensor;
}

static inline Wire wire_external(const char *name, int type, const char *dims, const char *location,
                                 const char *offset, const char *length) {
    const char *keys[] = {"location", "offset", "length"}, *values[] = {location, offset, length};
    Wire tensor = wire_tensor(name, type, dims);
    for (int i = 0; i < 3; ++i) {
        Wire entry = {0};
        if (values[i] == NULL) continue;
        wire_text(&entry, 1, keys[i]);
        wire_text(&entry, 2, values[i]);
        wire_put(&tensor, 13, &entry);
    }
    wire_number(&tensor, 14, 1);
    return tensor;
}

/* -- nodes and their attributes -- */

static inline Wire wire_node(const char *op, const char *name, const char *inputs, const char *outputs) {
    Wire node = {0};
    wire_list(&node, 1, inputs);
    wire_list(&node, 2, outputs);
    if (name[0] != '\0') wire_text(&node, 3, name);
    wire_text(&node, 4, op);
    return node;
}

static inline Wire wire_attr(const char *name, int type) {
    Wire attr = {0};
    wire_text(&attr, 1, name);
    wire_number(&attr, 20, type);
    return attr;
}

static inline void node_float(Wire *node, const char *name, float value) {
    Wire attr = wire_attr(name, 1);
    wire_float(&attr, 2, value);
    wire_put(node, 5, &attr);
}

static inline void node_int(Wire *node, const char *name, int64_t value) {
    Wire attr = wire_attr(name, 2);
    wire_number(&attr, 3, value);
    wire_put(node, 5, &attr);
}

static inline void node_text(Wire *node, const char *name, const char *value) {
    Wire attr = wire_attr(name, 3);
    wire_text(&attr, 4, value);
    wire_put(node, 5, &attr);
}

static inline void node_tensor(Wire *node, const char *name, const Wire *tensor) {
    Wire attr = wire_attr(name, 4);
    wire_put(&attr, 5, tensor);
    wire_put(node, 5, &attr);
}

static inline void node_graph(Wire *node, const char *name, const Wire *graph) {
    Wire attr = wire_attr(name, 5);
    wire_put(&attr, 6, graph);
    wire_put(node, 5, &attr);
}

static inline void node_ints(Wire *node, const char *name, int count, const int64_t *values) {
    Wire attr = wire_attr(name, 7);
    for (int i = 0; i < count; ++i) wire_number(&attr, 8, values[i]);
    wire_put(node, 5, &attr);
}

static inline void node_floats(Wire *node, const char *name, int count, const float *values) {
    Wire attr = wire_attr(name, 6);
    for (int i = 0; i < count; ++i) wire_float(&attr, 7, values[i]);
    wire_put(node, 5, &attr);
}

/* The value of the surrounding function's attribute `other`. */
static inline void node_reference(Wire *node, const char *name, int type, const char *other) {
    Wire attr = wire_attr(name, type);
    wire_text(&attr, 21, other);
    wire_put(node, 5, &attr);
}

/* -- graphs and models -- */

static inline void graph_node(Wire *graph, Wire node) {
    wire_put(graph, 1, &node);
}
static inline void graph_initializer(Wire *graph, Wire tensor) {
    wire_put(graph, 5, &tensor);
}
static inline void graph_input(Wire *graph, Wire value) {
    wire_put(graph, 11, &value);
}
static inline void graph_output(Wire *graph, Wire value) {
    wire_put(graph, 12, &value);
}

static inline Wire wire_opset(const char *domain, int version) {
    Wire opset = {0};
    if (domain[0] != '\0') wire_text(&opset, 1, domain);
    wire_number(&opset, 2, version);
    return opset;
}

static inline Wire wire_model(int ir_version, int opset, Wire graph) {
    Wire model = {0}, import = wire_opset("", opset);
    wire_number(&model, 1, ir_version);
    wire_put(&model, 7, &graph);
    if (opset != 0) wire_put(&model, 8, &import);
    return model;
}

/* x f32[2,3] -> node(s) -> y: most tests change one thing of this. */
static inline Wire wire_simple(int opset, Wire node) {
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "2,3"));
    graph_node(&graph, node);
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, opset, graph);
}

static inline Wire wire_function(const char *domain, const char *name, const char *inputs,
                                 const char *outputs) {
    Wire function = {0}, import = wire_opset("", 17);
    wire_text(&function, 1, name);
    wire_list(&function, 4, inputs);
    wire_list(&function, 5, outputs);
    wire_put(&function, 9, &import);
    wire_text(&function, 10, domain);
    return function;
}

static inline void function_node(Wire *function, Wire node) {
    wire_put(function, 7, &node);
}

/* A call of a function, or a node of another domain. */
static inline Wire wire_call(const char *domain, const char *op, const char *name, const char *inputs,
                             const char *outputs) {
    Wire node = wire_node(op, name, inputs, outputs);
    wire_text(&node, 7, domain);
    return node;
}

#endif
