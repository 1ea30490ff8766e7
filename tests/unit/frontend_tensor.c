/* Elements: every way in which ONNX stores them, and what is refused. */
#include <unistd.h>

#include "frontend_test.h"

/* Imports a model whose output y is the constant t, and checks t's element type, shape text and elements. */
static void expect_elements(int line, const Wire *tensor, const char *folder, const char *type, int count,
                            const double *expected) {
    Wire graph = {0};
    Diag diag = {0};
    Model model;
    graph_initializer(&graph, *tensor);
    graph_output(&graph, wire_value("t", WIRE_F32, NULL));
    Wire bytes = wire_model(8, 17, graph);
    Status status = model_import_bytes(bytes.data, bytes.size, "t.onnx", folder, NULL, NULL, &model, &diag);
    CHECK_OK(status, &diag);
    if (status != STATUS_OK) {
        fprintf(stderr, "  called from line %d\n", line);
        return;
    }
    const Graph *g = model.graph;
    ValueId id = g->nodes[g->blocks[MAIN_BLOCK].nodes[0]].inputs[0];
    const Value *value = &g->values[id];
    Tensor shape = {.dtype = value->dtype, .rank = value->shape.rank};
    for (int32_t i = 0; i < shape.rank; ++i) shape.dim[i] = value->shape.dim[i];
    char text[96];
    tensor_format(&shape, text, sizeof text);
    CHECK_STR(text, type);
    CHECK_INT(value_count(value), count);
    CHECK(value->data != NULL);
    for (int i = 0; i < count; ++i) {
        double found = dtype_load_f64(value->dtype, value->data, i);
        if (found != expected[i]) fprintf(stderr, "  line %d, element %d\n", line, i);
        CHECK_NEAR(found, expected[i], 0);
    }
    model_destroy(&model);
}

#define EXPECT_ELEMENTS(tensor, type, ...)                                                                   \
    expect_elements(__LINE__, &(tensor), NULL, type, (int)(sizeof(double[]){__VA_ARGS__} / sizeof(double)),  \
                    (const double[]){__VA_ARGS__})

static Wire model_with(Wire tensor) {
    Wire graph = {0};
    graph_initializer(&graph, tensor);
    graph_output(&graph, wire_value("t", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static void test_raw(void) {
    static const float f32[] = {1.5f, -2, 3, 4, 5, 6};
    static const uint16_t f16[] = {0x3c00, 0xc000};
    static const uint8_t bools[] = {0, 1, 7}, nibbles[] = {0x21, 0x0f};
    Wire t = wire_raw("t", WIRE_F32, "2,3", f32, sizeof f32);
    EXPECT_ELEMENTS(t, "f32[2,3]", 1.5, -2, 3, 4, 5, 6);
    t = wire_raw("t", WIRE_F32, "", f32, 4);
    EXPECT_ELEMENTS(t, "f32[]", 1.5);
    t = wire_raw("t", WIRE_F16, "2", f16, sizeof f16);
    EXPECT_ELEMENTS(t, "f16[2]", 1, -2);
    t = wire_raw("t", WIRE_BOOL, "3", bools, sizeof bools);
    EXPECT_ELEMENTS(t, "bool[3]", 0, 1, 1);
    t = wire_raw("t", 22, "3", nibbles, 2); /* i4, two per byte */
    EXPECT_ELEMENTS(t, "i4[3]", 1, 2, -1);
    t = wire_raw("t", WIRE_F32, "0,1152921504606846976", f32, 0);
    expect_elements(__LINE__, &t, NULL, "f32[0,1152921504606846976]", 0, NULL);
}

static void test_typed(void) {
    Wire t = wire_tensor("t", WIRE_F32, "2");
    wire_float(&t, 4, 0.25f); /* one by one */
    wire_float(&t, 4, -8);
    EXPECT_ELEMENTS(t, "f32[2]", 0.25, -8);
    t = wire_tensor("t", WIRE_F16, "2"); /* bit patterns in int32_data, packed */
    wire_bytes(&t, 5, "\x80\x78\x80\x80\x03", 5);
    EXPECT_ELEMENTS(t, "f16[2]", 1, -2);
    t = wire_tensor("t", 16, "1"); /* bf16 */
    wire_number(&t, 5, 0x3f80);
    EXPECT_ELEMENTS(t, "bf16[1]", 1);
    t = wire_tensor("t", 3, "3"); /* i8 */
    wire_number(&t, 5, -1);
    wire_number(&t, 5, 127);
    wire_number(&t, 5, -128);
    EXPECT_ELEMENTS(t, "i8[3]", -1, 127, -128);
    t = wire_tensor("t", WIRE_BOOL, "2");
    wire_number(&t, 5, 0);
    wire_number(&t, 5, 2);
    EXPECT_ELEMENTS(t, "bool[2]", 0, 1);
    t = wire_tensor("t", WIRE_I64, "2");
    wire_number(&t, 7, -5);
    wire_number(&t, 7, (int64_t)1 << 40);
    EXPECT_ELEMENTS(t, "i64[2]", -5, 1099511627776.0);
    t = wire_tensor("t", 12, "1"); /* u32 in uint64_data */
    wire_number(&t, 11, 0xfffffffe);
    EXPECT_ELEMENTS(t, "u32[1]", 4294967294.0);
    t = wire_tensor("t", 11, "1"); /* f64 */
    wire_bytes(&t, 10, "\0\0\0\0\0\0\x10\xc0", 8);
    EXPECT_ELEMENTS(t, "f64[1]", -4);
    t = wire_tensor("t", 21, "3"); /* u4: bytes of two in int32_data */
    wire_number(&t, 5, 0x21);
    wire_number(&t, 5, 0x0f);
    EXPECT_ELEMENTS(t, "u4[3]", 1, 2, 15);
}

static void test_refusals(void) {
    static const float f32[] = {1, 2, 3};
    Wire model = model_with(wire_raw("t", WIRE_F32, "4", f32, sizeof f32));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "tensor 't': has 12 bytes of raw data, but f32[4] needs 16");
    model = model_with(wire_tensor("t", WIRE_I64, "2"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "has 0 entries in int64_data, but i64[2] needs 2");
    model = model_with(wire_raw("t", 0, "3", f32, sizeof f32));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "element type 0 is unknown");
    model = model_with(wire_raw("t", 200, "3", f32, sizeof f32));
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "element type 200 is unknown");
    model = model_with(wire_raw("t", WIRE_STRING, "1", f32, 4));
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "string tensors are not supported");
    model = model_with(wire_raw("t", WIRE_F32, "-3", f32, sizeof f32));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "dimension 0 is negative (-3)");
    model = model_with(wire_raw("t", WIRE_F32, "4294967296,4294967296", f32, sizeof f32));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "overflow");
    model = model_with(wire_raw("t", WIRE_F32, "4611686018427387904", f32, sizeof f32));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "tensor 't'");
    model = model_with(wire_raw("t", WIRE_F32, "1,1,1,1,1,1,1,1,3", f32, sizeof f32));
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "rank 9");
    Wire segment = {0}, t = wire_raw("t", WIRE_F32, "3", f32, sizeof f32);
    wire_number(&segment, 1, 0);
    wire_put(&t, 3, &segment);
    model = model_with(t);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "segments");
}

/* -- external data -- */

static void test_external(void) {
    static const float f32[] = {9, 1, 2, 3};
    static const double expected[] = {1, 2, 3};
    char folder[] = "/tmp/smelt-tensor-XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/data.bin", folder);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(f32, 1, sizeof f32, file) == sizeof f32 && fclose(file) == 0);
    Wire t = wire_external("t", WIRE_F32, "3", "data.bin", "4", "12");
    expect_elements(__LINE__, &t, folder, "f32[3]", 3, expected);
    t = wire_external("t", WIRE_F32, "3", "data.bin", "4", NULL);
    expect_elements(__LINE__, &t, folder, "f32[3]", 3, expected);
    struct {
        Wire tensor;
        const char *folder;
        Status status;
        const char *words;
    } cases[] = {
        {wire_external("t", WIRE_F32, "3", "data.bin", "8", "12"), folder, STATUS_BAD_MODEL,
         "outside its 16 bytes"},
        {wire_external("t", WIRE_F32, "3", "data.bin", "0", "16"), folder, STATUS_BAD_MODEL,
         "has 16 bytes of external data, but f32[3] needs 12"},
        {wire_external("t", WIRE_F32, "3", "data.bin", "-4", NULL), folder, STATUS_BAD_MODEL,
         "offset '-4' is not a byte count"},
        {wire_external("t", WIRE_F32, "3", "data.bin", "99999999999999999999", NULL), folder,
         STATUS_BAD_MODEL, "is not a byte count"},
        {wire_external("t", WIRE_F32, "3", NULL, "0", NULL), folder, STATUS_BAD_MODEL, "without a location"},
        {wire_external("t", WIRE_F32, "3", "../data.bin", "0", NULL), folder, STATUS_BAD_MODEL,
         "../data.bin"},
        {wire_external("t", WIRE_F32, "3", path, "0", NULL), folder, STATUS_BAD_MODEL, path},
        {wire_external("t", WIRE_F32, "3", "gone.bin", "0", NULL), folder, STATUS_IO, "gone.bin"},
        {wire_external("t", WIRE_F32, "3", "data.bin", "0", NULL), NULL, STATUS_BAD_MODEL,
         "given without the folder to look in"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        Wire model = model_with(cases[i].tensor);
        expect_refusal_at((int)(1000 + i), &model, NULL, cases[i].folder, cases[i].status, cases[i].words);
    }
    unlink(path);
    rmdir(folder);
}

/* Aligned raw data of a mapped file are used where they are. */
static void test_in_place(void) {
    enum { COUNT = 1 << 10 };
    static float data[COUNT];
    char path[] = "/tmp/smelt-model-XXXXXX";
    Wire model = model_with(wire_raw("t", WIRE_F32, "1024", data, sizeof data));
    int descriptor = mkstemp(path);
    /* Fields that smelt skips shift the data until they are aligned. */
    bool found = false;
    for (size_t shift = 0; shift < 4 && !found; ++shift) {
        Wire file = {0};
        Model imported;
        Diag diag = {0};
        wire_bytes(&file, 6, "xxxx", shift);
        memcpy(file.data + file.size, model.data, model.size);
        file.size += model.size;
        CHECK(pwrite(descriptor, file.data, file.size, 0) == (ssize_t)file.size);
        CHECK_OK(model_import(path, NULL, NULL, &imported, &diag), &diag);
        const Graph *g = imported.graph;
        const uint8_t *at = g->values[g->nodes[0].inputs[0]].data;
        found = at >= imported.file.data && at < imported.file.data + imported.file.size;
        model_destroy(&imported);
    }
    CHECK(found);
    close(descriptor);
    unlink(path);
}

/* -- sparse tensors -- */

static Wire sparse(const char *indices_dims, int count, const int64_t *indices, const char *dims) {
    static const float values[] = {5, 7};
    Wire tensor = {0}, inner = wire_raw("t", WIRE_F32, "2", values, sizeof values);
    Wire places = wire_raw("", WIRE_I64, indices_dims, indices, (size_t)count * sizeof *indices);
    wire_put(&tensor, 1, &inner);
    wire_put(&tensor, 2, &places);
    for (; dims[0] != '\0'; dims += strcspn(dims, ","), dims += dims[0] == ',')
        wire_number(&tensor, 3, strtoll(dims, NULL, 10));
    return tensor;
}

static Wire sparse_model(Wire tensor) {
    Wire graph = {0};
    wire_put(&graph, 15, &tensor);
    graph_output(&graph, wire_value("t", WIRE_F32, NULL));
    return wire_model(8, 17, graph);
}

static void test_sparse(void) {
    static const int64_t linear[] = {1, 5}, pairs[] = {0, 1, 1, 2}, outside[] = {0, 6};
    Wire model = sparse_model(sparse("2", 2, linear, "2,3"));
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[2,3] = {0, 5, 0, 0, 0, 7}");
    model = sparse_model(sparse("2,2", 4, pairs, "2,3"));
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[2,3] = {0, 5, 0, 0, 0, 7}");
    model = sparse_model(sparse("2", 2, outside, "2,3"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "index 1 of the sparse tensor is outside its shape");
    model = sparse_model(sparse("2", 2, linear, "1000000,1000000"));
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "sparse tensors of over 256 MiB");
    model = sparse_model(sparse("1", 1, linear, "2,3"));
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "do not fit together");
    Wire empty = {0};
    model = sparse_model(empty);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "without values or indices");
}

/* -- Constant nodes -- */

static void test_constants(void) {
    static const int64_t ints[] = {3, -4};
    static const float floats[] = {0.5f, 2};
    Wire node = wire_node("Constant", "", "", "y");
    node_ints(&node, "value_ints", 2, ints);
    Wire model = wire_simple(17, node);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("i64[2] = {3, -4}");
    node = wire_node("Constant", "", "", "y");
    node_int(&node, "value_int", 6);
    model = wire_simple(17, node);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("i64[] = {6}");
    node = wire_node("Constant", "", "", "y");
    node_floats(&node, "value_floats", 2, floats);
    model = wire_simple(17, node);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[2] = {0.5, 2}");
    node = wire_node("Constant", "", "", "y");
    node_float(&node, "value_float", 0.75f);
    model = wire_simple(17, node);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[] = {0.75}");
    Wire tensor = wire_raw("", WIRE_F32, "2", floats, sizeof floats);
    node = wire_node("Constant", "", "", "y");
    node_tensor(&node, "value", &tensor);
    model = wire_simple(17, node);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[2] = {0.5, 2}");
    node = wire_node("Constant", "", "", "y");
    Wire attr = wire_attr("sparse_value", 11), thin = sparse("2", 2, (const int64_t[]){0, 1}, "3");
    wire_put(&attr, 22, &thin);
    wire_put(&node, 5, &attr);
    model = wire_simple(17, node);
    EXPECT_IMPORT(model);
    EXPECT_TEXT("f32[3] = {5, 7, 0}");
    node = wire_node("Constant", "words", "", "y");
    node_text(&node, "value_string", "hello");
    model = wire_simple(17, node);
    EXPECT_REFUSAL(model, STATUS_UNSUPPORTED, "node 'words' (Constant, opset 17): constants of strings");
    node = wire_node("Constant", "", "", "y");
    model = wire_simple(17, node);
    EXPECT_REFUSAL(model, STATUS_BAD_MODEL, "one attribute, not 0, 1 and 0");
}

int main(void) {
    test_raw();
    test_typed();
    test_refusals();
    test_external();
    test_in_place();
    test_sparse();
    test_constants();
    return test_result();
}
