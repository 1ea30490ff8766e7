/* What the pass `recognise` finds computes what it stood for, on numbers; and it finds all of a model's
 * layers.
 *
 * The graphs are those of tests/ir/recognise_*.ir, whose texts say what becomes of them, and small models
 * with the blocks of transformers, 3-D U-Nets and EfficientNets as exporters write them. */
#include "base/bytes.h"
#include "base/file.h"
#include "graph_run.h"
#include "passes/pattern.h"

enum { LAYERS = 3 };

/* Returns how many nodes fewer there are. */
static int32_t check_text(const char *text, const char *name, int32_t number) {
    Arena arena = {0};
    Graph *plain = compile(text, "infer_shapes", &arena), *found = compile(text, "recognise", &arena);
    const Tensor *expected = run_graph(plain, &arena), *actual = run_graph(found, &arena);
    const Block *block = &plain->blocks[MAIN_BLOCK], *other = &found->blocks[MAIN_BLOCK];
    int32_t gone = block->node_count - other->node_count;
    for (int32_t i = 0; i < block->result_count; ++i) {
        const Tensor *want = &expected[block->results[i]];
        double error = difference(want, &actual[other->results[i]]);
        double most = dtype_bits(want->dtype) == 16 ? 1e-2 : 1e-5;
        CHECK(error < most);
        if (!(error < most)) fprintf(stderr, "%s, case %d, output %d: %g\n", name, number, i, error);
    }
    arena_reset(&arena);
    return gone;
}

/* -- the graphs of the text tests -- */

static void check_file(const char *name) {
    Arena arena = {0};
    Diag diag = {0};
    FileMap file;
    int32_t number = 0, gone = 0;
    const char *path = arena_printf(&arena, "%s/tests/ir/%s", SMELT_SOURCE_DIR, name);
    CHECK_OK(file_map(path, &file, &diag), &diag);
    char *text = arena_strndup(&arena, (const char *)file.data, file.size);
    file_unmap(&file);
    while (text != NULL) {
        char *next = strstr(text, "=====\n"), *expected;
        if (next != NULL) *next = '\0';
        expected = strstr(text, "---\n");
        CHECK(expected != NULL);
        if (expected != NULL) *expected = '\0';
        gone += check_text(text, name, ++number);
        text = next != NULL ? next + strlen("=====\n") : NULL;
    }
    CHECK(number > 5 && gone > 10);
    arena_reset(&arena);
}

static void test_texts(void) {
    static const char *const names[] = {"recognise_activation.ir", "recognise_attention.ir",
                                        "recognise_movement.ir", "recognise_norm.ir"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) check_file(names[i]);
}

/* -- models as exporters write them -- */

static void write_constant(ByteWriter *w, const char *name, const char *shape, int32_t count, double first) {
    write_format(w, "constant %%%s : f32[%s] = {", name, shape);
    for (int32_t i = 0; i < count; ++i)
        write_format(w, "%s%g", i > 0 ? ", " : "", first + (double)(i * 7 % 11 - 5) / 16);
    write_format(w, "}\n");
}

static const char transformer_constants[] =
    "constant %last : i64[1] = {-1}\nconstant %two : f32[] = {2}\nconstant %eps : f32[] = {1e-05}\n"
    "constant %root : f32[] = {1.4142135}\nconstant %one : f32[] = {1}\nconstant %half : f32[] = {0.5}\n"
    "constant %heads : i64[4] = {0, 0, 2, 4}\nconstant %flat : i64[3] = {0, 0, 8}\n"
    "constant %five : i64[5] = {0, 0, 3, 2, 4}\nconstant %i0 : i64[] = {0}\nconstant %i1 : i64[] = {1}\n"
    "constant %i2 : i64[] = {2}\nconstant %quarter : f32[] = {0.70710677}\n";

/* LayerNormalization of `from` as `to`, the n-th of its layer. */
static void write_layer_norm(ByteWriter *w, int32_t layer, int32_t n, const char *from, const char *to) {
    int32_t k = layer * 10 + n;
    write_format(w,
                 "  %%mean%d : ? = ReduceMean(%%%s, %%last)\n  %%dev%d : ? = Sub(%%%s, %%mean%d)\n"
                 "  %%sq%d : ? = Pow(%%dev%d, %%two)\n  %%var%d : ? = ReduceMean(%%sq%d, %%last)\n"
                 "  %%ve%d : ? = Add(%%var%d, %%eps)\n  %%sd%d : ? = Sqrt(%%ve%d)\n"
                 "  %%nm%d : ? = Div(%%dev%d, %%sd%d)\n  %%ng%d : ? = Mul(%%nm%d, %%gain)\n"
                 "  %%%s%d : ? = Add(%%ng%d, %%shift)\n",
                 k, from, k, from, k, k, k, k, k, k, k, k, k, k, k, k, k, k, to, layer, k);
}

/* Three MatMuls, the scale on the scores, a mask. */
static void write_separate(ByteWriter *w, int32_t i, const char *x) {
    static const char names[] = "qkv";
    for (int32_t n = 0; n < 3; ++n)
        write_format(
            w,
            "  %%%c%d : ? = MatMul(%%%s, %%w%c)\n  %%%cb%d : ? = Add(%%%c%d, %%shift)\n"
            "  %%%cr%d : ? = Reshape(%%%cb%d, %%heads)\n  %%%ct%d : ? = Transpose(%%%cr%d) {perm = [%s]}\n",
            names[n], i, x, names[n], names[n], i, names[n], i, names[n], i, names[n], i, names[n], i,
            names[n], i, n == 1 ? "0,2,3,1" : "0,2,1,3");
    write_format(w,
                 "  %%s%d : ? = MatMul(%%qt%d, %%kt%d)\n  %%sd_%d : ? = Div(%%s%d, %%two)\n"
                 "  %%sm%d : ? = Add(%%sd_%d, %%mask)\n  %%p%d : ? = Softmax(%%sm%d)\n",
                 i, i, i, i, i, i, i, i, i);
    write_format(w, "  %%o%d : ? = MatMul(%%p%d, %%vt%d)\n", i, i, i);
}

/* One MatMul for all three, the root of the scale on queries and keys. */
static void write_joint(ByteWriter *w, int32_t i, const char *x) {
    write_format(w,
                 "  %%a%d : ? = MatMul(%%%s, %%wa)\n  %%ar%d : ? = Reshape(%%a%d, %%five)\n"
                 "  %%at%d : ? = Transpose(%%ar%d) {perm = [2,0,3,1,4]}\n",
                 i, x, i, i, i, i);
    for (int32_t n = 0; n < 3; ++n)
        write_format(w, "  %%%c%d : ? = Gather(%%at%d, %%i%d)\n", "qkv"[n], i, i, n);
    write_format(w,
                 "  %%kt%d : ? = Transpose(%%k%d) {perm = [0,1,3,2]}\n  %%qs%d : ? = Mul(%%q%d, %%quarter)\n"
                 "  %%ks%d : ? = Mul(%%kt%d, %%quarter)\n  %%s%d : ? = MatMul(%%qs%d, %%ks%d)\n"
                 "  %%p%d : ? = Softmax(%%s%d)\n  %%o%d : ? = MatMul(%%p%d, %%v%d)\n",
                 i, i, i, i, i, i, i, i, i, i, i, i, i, i);
}

static void write_transformer_layer(ByteWriter *w, int32_t i, bool joint) {
    char from[16], normal[16], hidden[16];
    snprintf(from, sizeof from, "x%d", i);
    snprintf(normal, sizeof normal, "n%d", i);
    snprintf(hidden, sizeof hidden, "h%d", i);
    write_layer_norm(w, i, 0, from, "n");
    if (joint)
        write_joint(w, i, normal);
    else
        write_separate(w, i, normal);
    write_format(
        w,
        "  %%ot%d : ? = Transpose(%%o%d) {perm = [0,2,1,3]}\n  %%of%d : ? = Reshape(%%ot%d, %%flat)\n"
        "  %%pr%d : ? = MatMul(%%of%d, %%wq)\n  %%h%d : ? = Add(%%pr%d, %%x%d)\n",
        i, i, i, i, i, i, i, i, i);
    write_layer_norm(w, i, 1, hidden, "m");
    write_format(
        w,
        "  %%f%d : ? = MatMul(%%m%d, %%wu)\n  %%g%d : ? = Div(%%f%d, %%root)\n"
        "  %%e%d : ? = Erf(%%g%d)\n  %%eo%d : ? = Add(%%e%d, %%one)\n  %%fe%d : ? = Mul(%%f%d, %%eo%d)\n"
        "  %%ge%d : ? = Mul(%%fe%d, %%half)\n  %%d%d : ? = MatMul(%%ge%d, %%wd)\n"
        "  %%x%d : ? = Add(%%d%d, %%h%d)\n",
        i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i + 1, i, i);
}

static const char *write_transformer(bool joint, Arena *arena) {
    ByteWriter w = byte_writer(arena);
    write_format(&w, "smelt-ir 1\ngraph \"t\"\n%s", transformer_constants);
    write_constant(&w, "gain", "8", 8, 1);
    write_constant(&w, "shift", "8", 8, 0);
    write_constant(&w, "wq", "8,8", 64, 0);
    write_constant(&w, "wk", "8,8", 64, 0.1);
    write_constant(&w, "wv", "8,8", 64, -0.1);
    write_constant(&w, "wa", "8,24", 192, 0);
    write_constant(&w, "wu", "8,16", 128, 0);
    write_constant(&w, "wd", "16,8", 128, 0);
    write_format(&w, "block \"main\" {\n  input %%x0 : f32[batch,length,8]\n"
                     "  input %%mask : f32[batch,1,1,length]\n");
    for (int32_t i = 0; i < LAYERS; ++i) write_transformer_layer(&w, i, joint);
    write_format(&w, "  output %%x%d\n}\n", LAYERS);
    write_u8(&w, 0);
    return (const char *)w.data;
}

/* Convolutions with GroupNormalization over InstanceNormalization, and with Swish. */
static const char *write_convolutions(Arena *arena) {
    ByteWriter w = byte_writer(arena);
    write_format(&w, "smelt-ir 1\ngraph \"t\"\nconstant %%groups : i64[3] = {0, 2, -1}\n"
                     "constant %%ones : f32[2] = {1, 1}\nconstant %%zeros : f32[2] = {0, 0}\n"
                     "constant %%shape : i64[5] = {0, 4, 3, 4, 5}\n");
    write_constant(&w, "gain", "4,1,1,1", 4, 1);
    write_constant(&w, "shift", "4,1,1,1", 4, 0);
    write_constant(&w, "weights", "4,4,1,1,1", 16, 0);
    write_format(&w, "block \"main\" {\n  input %%x0 : f32[n,4,3,4,5]\n");
    for (int32_t i = 0; i < LAYERS; ++i)
        write_format(&w,
                     "  %%c%d : ? = Conv(%%x%d, %%weights)\n  %%r%d : ? = Reshape(%%c%d, %%groups)\n"
                     "  %%i%d : ? = InstanceNormalization(%%r%d, %%ones, %%zeros)\n"
                     "  %%b%d : ? = Reshape(%%i%d, %%shape)\n  %%g%d : ? = Mul(%%b%d, %%gain)\n"
                     "  %%a%d : ? = Add(%%g%d, %%shift)\n  %%s%d : ? = Sigmoid(%%a%d)\n"
                     "  %%x%d : ? = Mul(%%a%d, %%s%d)\n",
                     i, i, i, i, i, i, i, i, i, i, i, i, i, i, i + 1, i, i);
    write_format(&w, "  output %%x%d\n}\n", LAYERS);
    write_u8(&w, 0);
    return (const char *)w.data;
}

static int32_t count_ops(const Graph *graph, OpId op) {
    int32_t count = 0;
    for (NodeId n = 0; n < graph->node_count; ++n) count += graph->nodes[n].op == op;
    return count;
}

static void test_transformers(void) {
    for (int32_t joint = 0; joint < 2; ++joint) {
        Arena arena = {0};
        const char *text = write_transformer(joint != 0, &arena);
        const Graph *graph = compile(text, "recognise", &arena);
        CHECK_INT(count_ops(graph, OP_Attention), LAYERS);
        CHECK_INT(count_ops(graph, OP_LayerNormalization), 2 * LAYERS);
        CHECK_INT(count_ops(graph, OP_Gelu), LAYERS);
        CHECK_INT(count_ops(graph, OP_MatMul), (joint != 0 ? 4 : 6) * LAYERS);
        CHECK_INT(count_ops(graph, OP_Split), joint * LAYERS);
        CHECK_INT(count_ops(graph, OP_Transpose) + count_ops(graph, OP_Reshape) + count_ops(graph, OP_Gather),
                  0);
        check_text(text, joint != 0 ? "joint transformer" : "transformer", joint);
        arena_reset(&arena);
    }
}

static void test_convolutions(void) {
    Arena arena = {0};
    const char *text = write_convolutions(&arena);
    const Graph *graph = compile(text, "recognise", &arena);
    CHECK_INT(count_ops(graph, OP_GroupNormalization), LAYERS);
    CHECK_INT(count_ops(graph, OP_Swish), LAYERS);
    CHECK_INT(count_ops(graph, OP_Reshape), 0);
    check_text(text, "convolutions", 0);
    arena_reset(&arena);
}

/* A pattern that cannot be read is a fault of ours, and says where. */
static void test_patterns(void) {
    static const char *const wrong[] = {"x * ",   "Nothing(x)", "MatMul(a, b", "x ^ y",        "a:b:Sqrt(x)",
                                        "(x + 1", "x) + 1",     "2 ^ 9 * x",   "a*b*c*d*e*f*g"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        Arena arena = {0};
        Diag diag = {0};
        const Pattern *pattern;
        CHECK_INT(pattern_parse(wrong[i], &arena, &pattern, &diag), STATUS_INTERNAL);
        CHECK(strstr(diag.text, wrong[i]) != NULL);
        arena_reset(&arena);
    }
}

int main(void) {
    test_patterns();
    test_texts();
    test_transformers();
    test_convolutions();
    return test_result();
}
