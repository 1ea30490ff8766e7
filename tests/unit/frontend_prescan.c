/* The walk over the wire format: every way in which bytes can be wrong, with the place named. */
#include "frontend_test.h"

static Wire good_model(void) {
    static const float data[] = {1, 2, 3};
    Wire graph = {0};
    graph_input(&graph, wire_value("x", WIRE_F32, "N,3"));
    graph_initializer(&graph, wire_raw("w", WIRE_F32, "3", data, sizeof data));
    graph_node(&graph, wire_node("Add", "sum", "x,w", "y"));
    graph_output(&graph, wire_value("y", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

/* Wherever the file ends, it is refused, and the message says so. */
static void test_truncated(void) {
    Wire model = good_model();
    for (size_t size = 0; size < model.size; ++size) {
        Wire part = model;
        Diag diag;
        part.size = size;
        Status status = import_wire(&part, NULL, NULL, &diag);
        CHECK_INT(status, STATUS_BAD_MODEL);
        CHECK(diag.text[0] != '\0');
    }
    Wire part = model;
    part.size = 0;
    EXPECT_REFUSAL(part, STATUS_BAD_MODEL, "the file is empty");
    part.size = 10;
    EXPECT_REFUSAL(part, STATUS_BAD_MODEL, "truncated or damaged: field 7 at byte 2 needs");
}

/* Any flipped bit gives a result or a status, never a fault; run under the sanitizers. */
static void test_flipped(void) {
    Wire model = good_model();
    for (size_t bit = 0; bit < model.size * 8; ++bit) {
        Wire flipped = model;
        Diag diag;
        flipped.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        Status status = import_wire(&flipped, NULL, NULL, &diag);
        CHECK(status == STATUS_OK || status == STATUS_BAD_MODEL || status == STATUS_UNSUPPORTED);
    }
}

static Wire with_bytes(const void *bytes, size_t size) {
    Wire model = {0};
    memcpy(model.data, bytes, size);
    model.size = size;
    return model;
}

static void test_damaged(void) {
    Wire model = with_bytes("hello, this is text", 19);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "not an ONNX model: field 13 at byte 2");
    model = with_bytes("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "a number at byte 1 is longer than 10 bytes");
    model = with_bytes("\x08\xff", 2);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "a number at byte 1 has no end");
    model = with_bytes("\x00\x01", 2);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "bad field number at byte 0");
    model = with_bytes("\x0b\x01", 2);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "field 1 at byte 0 has the unknown wire type 3");
    model = with_bytes("\x0a\x01x", 3);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "field 'ir_version' at byte 0 has wire type 2, expected 0");
    model = with_bytes("\x08\x08\x08\x08", 4);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "field 'ir_version' of one ModelProto occurs again at byte 2");
    model = with_bytes("\x3a\x04\x12\x02"
                       "a\0",
                       6);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "the text 'name' at byte 2 contains a zero byte");
    /* initializer { float_data: 3 bytes } */
    model = with_bytes("\x3a\x07\x2a\x05\x22\x03\x01\x02\x03", 9);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "the 3 bytes at byte 6 are not a whole count of 4-byte numbers");
    /* initializer { raw_data as a number } */
    model = with_bytes("\x3a\x04\x2a\x02\x48\x03", 6);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "raw tensor data at byte 4 is a number");
}

/* The fields that stand for raw data are ours: a file cannot set them. */
static void test_private_fields(void) {
    Wire graph = {0}, tensor = wire_tensor("t", WIRE_F32, "1");
    wire_varint(&tensor, (uint64_t)536870910 << 3 | 1);
    for (int i = 0; i < 8; ++i) wire_byte(&tensor, 0);
    wire_varint(&tensor, (uint64_t)536870911 << 3 | 1);
    for (int i = 0; i < 8; ++i) wire_byte(&tensor, i == 0 ? 4 : 0);
    graph_initializer(&graph, tensor);
    graph_output(&graph, wire_value("t", WIRE_F32, NULL));
    Wire model = wire_model(8, 17, graph);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "has 0 entries in float_data");
}

static void test_nesting(void) {
    Wire type = {0};
    for (int i = 0; i < 80; ++i) { /* a sequence of sequences of ... */
        Wire element = {0}, outer = {0};
        wire_put(&element, 1, &type);
        wire_put(&outer, 4, &element);
        type = outer;
    }
    Wire graph = {0}, value = {0};
    wire_text(&value, 1, "x");
    wire_put(&value, 2, &type);
    graph_input(&graph, value);
    Wire model = wire_model(8, 17, graph);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "nested deeper than 64 messages at byte");
}

/* Two bytes of file for each node of hundreds: refused before it is unpacked. */
static void test_out_of_proportion(void) {
    enum { NODES = 3 << 20 };
    Wire head = {0};
    wire_number(&head, 1, 8);
    size_t size = head.size + 6 + 2 * (size_t)NODES;
    uint8_t *bytes = calloc(size, 1);
    if (bytes == NULL) return;
    memcpy(bytes, head.data, head.size);
    Wire length = {0};
    wire_varint(&length, 7 << 3 | 2);
    wire_varint(&length, 2 * (uint64_t)NODES);
    memcpy(bytes + head.size, length.data, length.size);
    for (size_t i = 0; i < NODES; ++i) bytes[head.size + length.size + 2 * i] = 1 << 3 | 2;
    Model model;
    Diag diag = {0};
    Allocator allocator = {0};
    Status status = model_import_bytes(bytes, head.size + length.size + 2 * (size_t)NODES, "big.onnx", NULL,
                                       NULL, &allocator, &model, &diag);
    CHECK_INT(status, STATUS_BAD_MODEL);
    CHECK(strstr(diag.text, "out of proportion") != NULL);
    CHECK(allocator.peak < (size_t)1 << 20);
    free(bytes);
}

/* Every allocation of an import may fail. */
static void test_out_of_memory(void) {
    Wire model = good_model();
    for (uint64_t n = 1;; ++n) {
        Allocator allocator = {.fail_at = n};
        Model imported;
        Diag diag = {0};
        Status status =
            model_import_bytes(model.data, model.size, "m.onnx", NULL, NULL, &allocator, &imported, &diag);
        model_destroy(&imported);
        CHECK_INT(allocator.in_use, 0);
        if (allocator.count < n) {
            CHECK_OK(status, &diag);
            CHECK(n > 2);
            break;
        }
        CHECK_INT(status, STATUS_NO_MEMORY);
    }
}

int main(void) {
    test_truncated();
    test_flipped();
    test_damaged();
    test_private_fields();
    test_nesting();
    test_out_of_proportion();
    test_out_of_memory();
    return test_result();
}
