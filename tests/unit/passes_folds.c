/* Folds and fusions over random small graphs: what a graph computes stays the same up to rounding. */
#include "base/bytes.h"
#include "graph_run.h"

enum { GRAPHS = 400, STEPS = 12, CHANNELS = 4, LENGTH = 9, MOST_VALUES = 64 };

/* -- a random graph as text -- */

/* Values of shape [1, channels, length]. */
typedef struct Made {
    int32_t channels, length;
} Made;

typedef struct Writer {
    ByteWriter constants, nodes;
    uint64_t state;
    int32_t constant_count, value_count;
    Made values[MOST_VALUES];
} Writer;

static int32_t draw(Writer *w, int32_t count) {
    w->state = w->state * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((w->state >> 33) % (uint64_t)count);
}

/* A constant of eighths in [low, low + 2], which is never far from 1 in size. */
static int32_t constant(Writer *w, const char *shape, int32_t count, double low) {
    write_format(&w->constants, "constant %%k%d : f32[%s] = {", w->constant_count, shape);
    for (int32_t i = 0; i < count; ++i)
        write_format(&w->constants, "%s%g", i > 0 ? ", " : "", low + draw(w, 17) / 8.0);
    write_format(&w->constants, "}\n");
    return w->constant_count++;
}

static int32_t channel_constant(Writer *w, int32_t channels, double low) {
    char shape[32];
    bool scalar = draw(w, 4) == 0;
    snprintf(shape, sizeof shape, scalar ? "1,1" : "%d,1", channels);
    return constant(w, shape, scalar ? 1 : channels, low);
}

static int32_t vector(Writer *w, int32_t count, double low) {
    char shape[16];
    snprintf(shape, sizeof shape, "%d", count);
    return constant(w, shape, count, low);
}

static int32_t add_value(Writer *w, int32_t channels, int32_t length) {
    w->values[w->value_count] = (Made){channels, length};
    return w->value_count++;
}

static void write_conv(Writer *w, int32_t x) {
    const Made in = w->values[x];
    int32_t kernel = 1 + draw(w, 3), stride = 1 + draw(w, 2), begin = draw(w, 2), end = draw(w, 2);
    int32_t group = in.channels % 2 == 0 && draw(w, 3) == 0 ? 2 : 1, out = group * (1 + draw(w, CHANNELS));
    char shape[64];
    if (in.length + begin + end < kernel) return;
    snprintf(shape, sizeof shape, "%d,%d,%d", out, in.channels / group, kernel);
    int32_t weights = constant(w, shape, out * in.channels / group * kernel, -1);
    int32_t bias = draw(w, 2) == 0 ? vector(w, out, -1) : -1;
    int32_t y = add_value(w, out, (in.length + begin + end - kernel) / stride + 1);
    write_format(&w->nodes, "  %%v%d : ? = Conv(%%v%d, %%k%d", y, x, weights);
    if (bias >= 0) write_format(&w->nodes, ", %%k%d", bias);
    write_format(&w->nodes, ") {group = %d, pads = [%d,%d], strides = [%d]}\n", group, begin, end, stride);
}

static void write_transposed(Writer *w, int32_t x) {
    const Made in = w->values[x];
    int32_t kernel = 1 + draw(w, 3), stride = 1 + draw(w, 2), out = 1 + draw(w, CHANNELS);
    char shape[64];
    if (in.length > 2 * LENGTH) return;
    snprintf(shape, sizeof shape, "%d,%d,%d", in.channels, out, kernel);
    int32_t weights = constant(w, shape, in.channels * out * kernel, -1);
    int32_t y = add_value(w, out, (in.length - 1) * stride + kernel);
    write_format(&w->nodes, "  %%v%d : ? = ConvTranspose(%%v%d, %%k%d) {strides = [%d]}\n", y, x, weights,
                 stride);
}

static void write_product(Writer *w, int32_t x) {
    const Made in = w->values[x];
    int32_t out = 1 + draw(w, LENGTH);
    char shape[64];
    snprintf(shape, sizeof shape, "%d,%d", in.length, out);
    int32_t weights = constant(w, shape, in.length * out, -1), y = add_value(w, in.channels, out);
    write_format(&w->nodes, "  %%v%d : ? = MatMul(%%v%d, %%k%d)\n", y, x, weights);
    if (draw(w, 2) == 0) return;
    int32_t bias = vector(w, out, -1), z = add_value(w, in.channels, out);
    write_format(&w->nodes, "  %%v%d : ? = %s(%%v%d, %%k%d)\n", z, draw(w, 2) == 0 ? "Add" : "Mul", y, bias);
}

static void write_affine(Writer *w, int32_t x) {
    static const char *const operators[] = {"Add", "Sub", "Mul", "Div"};
    const Made in = w->values[x];
    int32_t op = draw(w, 4), k = channel_constant(w, in.channels, op == 3 ? 0.5 : -1);
    int32_t y = add_value(w, in.channels, in.length);
    bool swapped = op < 3 && draw(w, 3) == 0;
    write_format(&w->nodes, swapped ? "  %%v%d : ? = %s(%%k%d, %%v%d)\n" : "  %%v%d : ? = %s(%%v%d, %%k%d)\n",
                 y, operators[op], swapped ? k : x, swapped ? x : k);
}

static void write_norm(Writer *w, int32_t x) {
    const Made in = w->values[x];
    int32_t scale = vector(w, in.channels, -1), bias = vector(w, in.channels, -1),
            mean = vector(w, in.channels, -1), variance = vector(w, in.channels, 0.5);
    int32_t y = add_value(w, in.channels, in.length);
    write_format(&w->nodes, "  %%v%d : ? = BatchNormalization(%%v%d, %%k%d, %%k%d, %%k%d, %%k%d)\n", y, x,
                 scale, bias, mean, variance);
}

static void write_pad(Writer *w, int32_t x) {
    const Made in = w->values[x];
    int32_t begin = draw(w, 3), end = draw(w, 3), y = add_value(w, in.channels, in.length + begin + end);
    write_format(&w->constants, "constant %%k%d : i64[6] = {0, 0, %d, 0, 0, %d}\n", w->constant_count, begin,
                 end);
    write_format(&w->nodes, "  %%v%d : ? = Pad(%%v%d, %%k%d)\n", y, x, w->constant_count++);
}

static void write_pool(Writer *w, int32_t x) {
    static const char *const operators[] = {"MaxPool", "AveragePool"};
    const Made in = w->values[x];
    int32_t kernel = 1 + draw(w, 3), op = draw(w, 2);
    if (in.length < kernel) return;
    int32_t y = add_value(w, in.channels, in.length - kernel + 1);
    write_format(&w->nodes, "  %%v%d : ? = %s(%%v%d) {kernel_shape = [%d]}\n", y, operators[op], x, kernel);
}

static void write_activation(Writer *w, int32_t x) {
    static const char *const operators[] = {"Relu", "Sigmoid", "Tanh"};
    const Made in = w->values[x];
    int32_t y = add_value(w, in.channels, in.length);
    write_format(&w->nodes, "  %%v%d : ? = %s(%%v%d)\n", y, operators[draw(w, 3)], x);
}

/* Two to four alike that read x, some with a Relu, concatenated. */
static void write_siblings(Writer *w, int32_t x) {
    const Made in = w->values[x];
    int32_t count = 2 + draw(w, 3), channels = 0, results[4];
    char shape[64];
    for (int32_t i = 0; i < count; ++i) {
        int32_t out = 1 + draw(w, CHANNELS);
        snprintf(shape, sizeof shape, "%d,%d,1", out, in.channels);
        int32_t weights = constant(w, shape, out * in.channels, -1);
        results[i] = add_value(w, out, in.length);
        channels += out;
        write_format(&w->nodes, "  %%v%d : ? = Conv(%%v%d, %%k%d)\n", results[i], x, weights);
        if (draw(w, 2) == 0) write_affine(w, results[i]), results[i] = w->value_count - 1;
        if (draw(w, 2) == 0) continue;
        int32_t y = add_value(w, out, in.length);
        write_format(&w->nodes, "  %%v%d : ? = Relu(%%v%d)\n", y, results[i]);
        results[i] = y;
    }
    int32_t y = add_value(w, channels, in.length);
    write_format(&w->nodes, "  %%v%d : ? = Concat(", y);
    for (int32_t i = 0; i < count; ++i) write_format(&w->nodes, "%s%%v%d", i > 0 ? ", " : "", results[i]);
    write_format(&w->nodes, ") {axis = 1}\n");
}

static const char *write_graph(uint64_t seed, Arena *arena) {
    static void (*const writers[])(Writer * w, int32_t x) = {
        write_conv,   write_conv, write_transposed, write_product, write_affine,  write_norm,
        write_affine, write_pad,  write_activation, write_pool,    write_siblings};
    Writer w = {.constants = byte_writer(arena), .nodes = byte_writer(arena), .state = seed};
    int32_t first = add_value(&w, 1 + draw(&w, CHANNELS), LENGTH);
    for (int32_t i = 0; i < STEPS && w.value_count < MOST_VALUES - 16; ++i) {
        /* Mostly the newest, so that chains form; now and then an older one, which then has two users. */
        int32_t x = draw(&w, 6) == 0 ? draw(&w, w.value_count) : w.value_count - 1;
        if (w.values[x].length >= 1) writers[draw(&w, 11)](&w, x);
    }
    ByteWriter text = byte_writer(arena);
    write_format(&text, "smelt-ir 1\ngraph \"t\"\n");
    write_bytes(&text, w.constants.data, w.constants.size);
    write_format(&text, "block \"main\" {\n  input %%v0 : f32[1,%d,%d]\n", w.values[first].channels, LENGTH);
    write_bytes(&text, w.nodes.data, w.nodes.size);
    write_format(&text, "  output %%v%d\n", w.value_count - 1);
    if (w.value_count > 3) write_format(&text, "  output %%v%d\n", w.value_count / 2);
    write_format(&text, "}\n");
    write_u8(&text, 0);
    return (const char *)text.data;
}

/* -- running it -- */

static int32_t check_graph(uint64_t seed) {
    Arena arena = {0};
    const char *text = write_graph(seed, &arena);
    Graph *plain = compile(text, "infer_shapes", &arena), *fused = compile(text, "fuse_horizontal", &arena);
    const Tensor *expected = run_graph(plain, &arena), *actual = run_graph(fused, &arena);
    const Block *block = &plain->blocks[MAIN_BLOCK], *other = &fused->blocks[MAIN_BLOCK];
    int32_t gone = block->node_count - other->node_count;
    for (int32_t i = 0; i < block->result_count; ++i) {
        double error = difference(&expected[block->results[i]], &actual[other->results[i]]);
        CHECK(error < 1e-4);
        if (!(error < 1e-4)) fprintf(stderr, "seed %llu: %g\n%s", (unsigned long long)seed, error, text);
    }
    arena_reset(&arena);
    return gone;
}

/* Weights that a model generates are folded though they are large. */
static void test_generated_weights(void) {
    static const char text[] = "smelt-ir 1\ngraph \"t\"\n"
                               "constant %s : i64[2] = {4096, 5000}\nconstant %t : i64[2] = {1, 20480000}\n"
                               "block \"main\" {\n  input %x : f32[1,4096]\n"
                               "  %w : ? = ConstantOfShape(%s)\n  %u : ? = ConstantOfShape(%t)\n"
                               "  %y : ? = MatMul(%x, %w)\n  output %y\n  output %u\n}\n";
    Arena arena = {0};
    Graph *graph = compile(text, "fold_constants", &arena);
    CHECK(value_is_constant(graph, graph_find_value(graph, "w")));
    CHECK(!value_is_constant(graph, graph_find_value(graph, "u")));
    arena_reset(&arena);
}

int main(void) {
    int32_t changed = 0;
    for (uint64_t seed = 1; seed <= GRAPHS; ++seed) changed += check_graph(seed) > 0;
    CHECK(changed > GRAPHS / 2);
    test_generated_weights();
    return test_result();
}
