/* The text form: everything that a graph holds comes back, and prints to the same bytes. */
#include "base/file.h"
#include "ir/graph.h"
#include "test.h"

#include <unistd.h>

static const char *print(const Graph *graph, ConstantBlob *blob, Arena *arena) {
    Diag diag = {0};
    ByteWriter out = byte_writer(arena);
    CHECK_OK(graph_print(graph, blob, &out, &diag), &diag);
    write_u8(&out, 0);
    return (const char *)out.data;
}

static Graph *parse(const char *text, const char *folder, Arena *arena) {
    Diag diag = {0};
    Graph *graph = NULL;
    CHECK_OK(graph_parse(text, strlen(text), "test.ir", folder, arena, &graph, &diag), &diag);
    return graph;
}

/* The text prints back as itself. */
static void check_same(const char *text, Arena *arena) {
    Graph *graph = parse(text, NULL, arena);
    if (graph != NULL) CHECK_STR(print(graph, NULL, arena), text);
}

#define HEAD "smelt-ir 1\ngraph \"t\"\n"

static void test_forms(Arena *arena) {
    check_same(HEAD "block \"main\" {\n}\n", arena);
    check_same("smelt-ir 1\n"
               "graph \"a \\\"quoted\\\" \\\\ \\n\\t\\x01 name\" opset 17\n"
               "symbol batch min 1 opt 4 max 64\n"
               "symbol h min 0 opt 1\n"
               "symbol found.0 late min 0 opt 1\n"
               "symbol \"odd name\" min 0 opt 1\n"
               "constant %w : f32[2,2] = {0.1, -0, inf, 0x7fc00001}\n"
               "constant %\"b:0\" : i64[] = {-9223372036854775808}\n"
               "constant %none : bool[0,3] = {}\n"
               "block \"main\" {\n"
               "  input %x : f32[batch,3,2*h + 1,floor(h + 3, 4)]\n"
               "  input %u : ?\n"
               "  input %s : f16[] channels_last padding 5 content [batch*h]\n"
               "  input %i : i64[3] content [batch,-1,min(h, odd%20name)]\n"
               "  input %%12 : u8[found.0]\n"
               "  %y : f32[batch,3,2*h + 1,floor(h + 3, 4)] = Relu(%x) \"Relu 1\"\n"
               "  %z : ? = Clip(%y, _, %s) from (\"Clip\", \"Max \\\"2\\\"\")\n"
               "  region \"add+relu\" anchor 0 {\n"
               "    %a : f32 = Add(%z, %w) \"add\" from ()\n"
               "    %r : f32 = Relu(%a)\n"
               "  }\n"
               "  region \"chain\" {\n"
               "    %q : ? = Neg(%\"b:0\")\n"
               "  }\n"
               "  %e : ? = Abs(%none)\n"
               "  output %r\n"
               "  output %r\n"
               "  output %x\n"
               "  output %q\n"
               "  output %e\n"
               "}\n",
               arena);
}

static void test_memory(Arena *arena) {
    check_same(HEAD "symbol n min 0 opt 1\n"
                    "memory arena 256 bound 200 fixed\n"
                    "buffer 0 [16] steps 0 1 offset 64\n"
                    "buffer 1 [4*n] steps 0 0\n"
                    "block \"main\" {\n"
                    "  input %x : f32[4] at 0[0]\n"
                    "  %y : f32[2] = Relu(%x) \"r\"\n"
                    "  %z : f32[n] at 1[4*n] = Relu(%x)\n"
                    "  output %y\n"
                    "}\n",
               arena);
}

/* Attributes that an operator does not know stay as they are. */
static void test_attributes(Arena *arena) {
    check_same(
        HEAD
        "block \"main\" {\n"
        "  input %x : f32[4]\n"
        "  %y : ? = Relu(%x) {a = -3, b = 1.0, c = 0.1, d = inf, e = 0x7fc00001, f = \"a \\\"s\\\"\", g = "
        "[1,2], h = [1.0,1e+10], i = [\"p\",\"\"], j = ints [], k = floats [], l = strings [], m = "
        "f32[2,1] {1, nan}, n = u64[] {18446744073709551615}, \"odd name\" = 1}\n"
        "  output %y\n"
        "}\n",
        arena);
}

static void test_bodies(Arena *arena) {
    const char *text = HEAD "block \"main\" {\n"
                            "  input %x : f32[4]\n"
                            "  %y : ? = Relu(%x) {a = 1} \"outer\"\n"
                            "    body branch \"first\" {\n"
                            "      input %p : ?\n"
                            "      %q : ? = Add(%p, %x)\n"
                            "        body inner \"\" {\n"
                            "          %s : ? = Neg(%p)\n"
                            "          output %s\n"
                            "        }\n"
                            "      output %q\n"
                            "    }\n"
                            "    body other \"second\" {\n"
                            "      output %x\n"
                            "    }\n"
                            "  output %y\n"
                            "}\n";
    check_same(text, arena);
    Graph *graph = parse(text, NULL, arena);
    Diag diag = {0};
    CHECK_OK(graph_verify(graph, STATUS_BAD_MODEL, &diag), &diag);
    CHECK_INT(graph->block_count, 4);
    NodeId outer = graph->values[graph_find_value(graph, "y")].producer;
    CHECK_INT(graph->blocks[1].owner, outer);
    CHECK_INT(graph->blocks[2].owner, graph->values[graph_find_value(graph, "q")].producer);
    CHECK_INT(graph->blocks[3].owner, outer);
}

/* Any bits of any element type come back. */
static void test_elements(Arena *arena) {
    enum { COUNT = 64 };
    uint32_t seed = 1;
    for (int number = 1; number < DTYPE_COUNT; ++number) {
        DType dtype = (DType)number;
        uint8_t bytes[COUNT * 16];
        size_t size;
        for (size_t i = 0; i < sizeof bytes; ++i) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = (uint8_t)(seed >> 24);
        }
        if (dtype == DTYPE_BOOL)
            for (size_t i = 0; i < sizeof bytes; ++i) bytes[i] &= 1;
        CHECK(dtype_storage(dtype, COUNT, &size));
        Graph *graph = graph_create(arena, "t");
        ValueId id = graph_add_constant(graph, "c", dtype, 1, (int64_t[]){COUNT}, bytes);
        block_add_result(graph, MAIN_BLOCK, id);
        Graph *again = parse(print(graph, NULL, arena), NULL, arena);
        if (again == NULL) continue;
        const Value *value = &again->values[graph_find_value(again, "c")];
        CHECK_INT(value->dtype, dtype);
        CHECK(memcmp(value->data, bytes, size) == 0);
    }
}

static void test_blob(Arena *arena) {
    char folder[] = "/tmp/smelt-ir-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    Diag diag = {0};
    ConstantBlob *blob;
    float data[100];
    int64_t few[16] = {0};
    for (int i = 0; i < 100; ++i) data[i] = (float)i / 3;
    Graph *graph = graph_create(arena, "t");
    ValueId many[3];
    many[0] = graph_add_constant(graph, "a", DTYPE_F32, 2, (int64_t[]){10, 10}, data);
    many[1] = graph_add_constant(graph, "b", DTYPE_F32, 1, (int64_t[]){17}, data);
    many[2] = graph_add_constant(graph, "c", DTYPE_F32, 1, (int64_t[]){100}, data);
    for (int i = 0; i < 3; ++i) block_add_result(graph, MAIN_BLOCK, many[i]);
    block_add_result(graph, MAIN_BLOCK, graph_add_constant_i64(graph, "few", 16, few));
    CHECK_OK(constant_blob_open(arena, folder, &blob, &diag), &diag);
    const char *text = print(graph, blob, arena);
    CHECK_STR(print(graph, blob, arena), text); /* known content is not written again */
    CHECK_OK(constant_blob_close(blob, &diag), &diag);

    FileMap map;
    CHECK_OK(file_map(path_join(arena, folder, "constants.bin"), &map, &diag), &diag);
    CHECK_INT(map.size, 448 + 68); /* 400 bytes up to a multiple of 64, and 17 floats */
    file_unmap(&map);
    Graph *again = parse(text, folder, arena);
    CHECK(again != NULL && memcmp(again->values[graph_find_value(again, "c")].data, data, 400) == 0);
    CHECK_OK(constant_blob_open(arena, folder, &blob, &diag), &diag);
    CHECK_STR(print(again, blob, arena), text);
    CHECK_OK(constant_blob_close(blob, &diag), &diag);

    char *broken = arena_strdup(arena, text);
    char *digit = strstr(broken, "blob 0 ") + 7; /* the first of a hash */
    *digit = *digit == '0' ? '1' : '0';
    CHECK_INT(graph_parse(broken, strlen(broken), "x", folder, arena, &again, &diag), STATUS_BAD_MODEL);
    CHECK(strstr(diag.text, "the hash of the bytes at offset 0") != NULL);
    diag_clear(&diag);
    CHECK_INT(graph_parse(text, strlen(text), "x", NULL, arena, &again, &diag), STATUS_BAD_MODEL);
    unlink(path_join(arena, folder, "constants.bin"));
    rmdir(folder);
}

/* -- what is refused -- */

#define BODY(lines) HEAD "block \"main\" {\n  input %x : f32[4]\n" lines "}\n"

static const struct {
    const char *text, *message;
} refused[] = {
    {"", "test.ir:1: expected 'smelt-ir', found the end of the text"},
    {"smelt-ir 2\n", "test.ir:1: the version is 2, outside 1 to 1"},
    {"smelt-ir 1\ngraph x\n", "test.ir:2: expected the graph's name, found 'x'"},
    {HEAD "blob\n", "test.ir:3: expected 'block', found 'blob'"},
    {HEAD "block \"main\" {\n", "test.ir:4: expected '%', found the end of the text"},
    {HEAD "block \"main\" {\n}\nblock\n", "test.ir:5: expected the end of the text, found 'block'"},
    {BODY("  %y : f32 = Relu(%z)\n"), "test.ir:5: value 'z' is used before its definition"},
    {BODY("  %x : f32 = Relu(%x)\n"), "test.ir:5: value 'x' is defined twice"},
    {BODY("  %y : ?, %y : ? = Relu(%x)\n"), "test.ir:5: value 'y' is defined twice"},
    {BODY("  %y : ? = Frob(%x)\n"), "test.ir:5: unknown operator 'Frob'"},
    {BODY("  %y : ? = a.b::Relu(%x)\n"), "test.ir:5: unknown operator 'a.b::Relu'"},
    {BODY("  %y : ? = Relu(%x, %x)\n"), "test.ir:5: 2 inputs, expected 1"},
    {BODY("  %y : ? = Add(_, %x)\n"), "test.ir:5: required input 0 is omitted"},
    {BODY("  %y : ? = LeakyRelu(%x) {alpha = 1}\n"),
     "test.ir:5: attribute 'alpha' is an int, expected a float"},
    {BODY("  %y : ? = Relu(%x) {a = 1, a = 2}\n"), "test.ir:5: attribute 'a' is given twice"},
    {BODY("  %y : ? = Relu(%x) {a = [1,\"x\"]}\n"), "test.ir:5: a list of different kinds of elements"},
    {BODY("  %y : ? = Relu(%x) {a = 99999999999999999999}\n"), "test.ir:5: '99999999999999999999' is no i64"},
    {BODY("  %y : ? = Relu(%x) {a = f32[2] {1}}\n"), "test.ir:5: expected ',', found '}}'"},
    {BODY("  %y : ? = Relu(%x) {a = f32[1000000000000] {1}}\n"),
     "test.ir:5: fewer elements than the type's 1000000000000"},
    {BODY("  %y : ? = Relu(%x) \"name\n"), "test.ir:5: a string does not end on its line"},
    {BODY("  %y : ? = Relu(%x) \"\\q\"\n"), "test.ir:5: a string has a bad escape or a zero byte"},
    {BODY("  %y : ? = Relu(%x) more\n"), "test.ir:5: expected the end of the line, found 'more'"},
    {BODY("  %y : f31 = Relu(%x)\n"), "test.ir:5: unknown type 'f31'"},
    {BODY("  %y : f32[1,2,3,4,5,6,7,8,9] = Relu(%x)\n"), "test.ir:5: more than 8 dimensions"},
    {BODY("  %y : f32[-3] = Relu(%x)\n"), "test.ir:5: dimension 0 is -3"},
    {BODY("  %y : f32[2 +] = Relu(%x)\n"), "test.ir:5: dimension '2 +': expected"},
    {BODY("  %y : i64[2] content [1] = Relu(%x)\n"), "test.ir:5: content of 1 elements, expected 2"},
    {BODY("  %y : i64[2] at 0[0] = Relu(%x)\n"), "test.ir:5: a buffer is 0, outside 0 to -1"},
    {BODY("  region \"r\" anchor 1 {\n    %y : ? = Relu(%x)\n  }\n"),
     "test.ir:7: anchor 1 of a region of 1 nodes"},
    {HEAD "constant %c : u8[1] = {256}\n", "test.ir:3: '256' is no u8"},
    {HEAD "constant %c : f16[1] = {0x12345}\n", "test.ir:3: '0x12345' is no f16"},
    {HEAD "constant %c : f32[4000000000,4000000000,4000000000] = {}\n",
     "test.ir:3: its shape is not exact or too large"},
    {HEAD "constant %c : f32[n] = {1}\n", "test.ir:3: its shape is not exact or too large"},
    {HEAD "constant %c : f32[1] = blob 0 0\n",
     "test.ir:3: no 'constants' line names the file of this constant"},
    {HEAD "symbol n min 3 opt 1 max 2\n", "test.ir:3: the range of symbol 'n' is empty or below 0"},
    {HEAD "symbol n min 0 opt 1\nsymbol n min 0 opt 1\n", "test.ir:4: symbol 'n' stands behind its use or"},
    {HEAD "buffer 0 [4] steps 0 1\n", "test.ir:3: a buffer without a 'memory' line"},
};

static void test_refused(Arena *arena) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; ++i) {
        Diag diag = {0};
        Graph *graph;
        char text[2048];
        Status status =
            graph_parse(refused[i].text, strlen(refused[i].text), "test.ir", NULL, arena, &graph, &diag);
        CHECK_INT(status, STATUS_BAD_MODEL);
        diag_format(&diag, text, sizeof text);
        text[strlen(refused[i].message)] = '\0'; /* beginnings are compared */
        CHECK_STR(text, refused[i].message);
    }
}

/* Every prefix, and every text with one byte changed, is read or refused without harm. */
static void test_damage(Arena *arena) {
    char text[] = HEAD "symbol n min 0 opt 1\nconstant %w : f32[2] = {0.1, 0x7fc00001}\n"
                       "block \"main\" {\n  input %x : f32[n,floor(n + 1, 2)]\n"
                       "  region \"r\" anchor 0 {\n    %y : f32, _ = Add(%x, %w) {a = [1.5,2], b = "
                       "\"\\x01\"} \"n\" from (\"o\")\n"
                       "      body b \"\" {\n        output %x\n      }\n  }\n  output %y\n}\n";
    size_t size = sizeof text - 1;
    for (size_t i = 0; i < size; ++i) {
        Diag diag = {0};
        Graph *graph;
        CHECK(graph_parse(text, i, "t", NULL, arena, &graph, &diag) != STATUS_OK || i + 1 == size);
    }
    for (size_t i = 0; i < 4 * size; ++i) {
        Diag diag = {0};
        Graph *graph;
        char saved = text[i / 4];
        text[i / 4] = "0}%\n"[i % 4];
        if (graph_parse(text, size, "t", NULL, arena, &graph, &diag) == STATUS_OK &&
            graph_verify(graph, STATUS_BAD_MODEL, &diag) == STATUS_OK)
            print(graph, NULL, arena);
        text[i / 4] = saved;
    }
}

static void test_nesting(Arena *arena) {
    ByteWriter out = byte_writer(arena);
    Diag diag = {0};
    Graph *graph;
    write_format(&out, HEAD "block \"\" {\ninput %%x : ?\n");
    for (int i = 0; i < 100000; ++i) write_format(&out, "%%v%d : ? = Relu(%%x)\nbody b \"\" {\n", i);
    CHECK_INT(graph_parse((char *)out.data, out.size, "t", NULL, arena, &graph, &diag), STATUS_BAD_MODEL);
    CHECK_STR(diag.text, "bodies nest deeper than 32");
}

static void test_constants_unused(Arena *arena) {
    Graph *graph = graph_create(arena, "t");
    graph_add_constant_i64(graph, "unused", 1, (int64_t[]){1});
    CHECK_STR(print(graph, NULL, arena), HEAD "block \"main\" {\n}\n");
}

int main(void) {
    Arena arena = {0};
    test_forms(&arena);
    test_memory(&arena);
    test_attributes(&arena);
    test_bodies(&arena);
    test_elements(&arena);
    test_blob(&arena);
    test_refused(&arena);
    test_damage(&arena);
    test_nesting(&arena);
    test_constants_unused(&arena);
    arena_reset(&arena);
    return test_result();
}
