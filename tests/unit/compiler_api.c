/* The compiler's public header: a graph by hand becomes a plan that runs; passes of one's own; refusals. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compiler/smelt.h"
#include "test.h"

enum { F32 = 1, I64 = 7, BATCH = 3, WIDTH = 4, UNITS = 2 };

/* A call that must succeed. */
#define OK(call)                                                                                             \
    do {                                                                                                     \
        SmeltError error = {0};                                                                              \
        int status_ = (call);                                                                                \
        test_checks++;                                                                                       \
        if (status_ != SMELT_OK) {                                                                           \
            test_failures++;                                                                                 \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, error.message);                    \
        }                                                                                                    \
    } while (0)

/* A call that must fail so, with these words. */
#define REFUSED(call, wanted, text)                                                                          \
    do {                                                                                                     \
        SmeltError error = {0};                                                                              \
        CHECK_INT((call), (wanted));                                                                         \
        CHECK_INT(error.status, (wanted));                                                                   \
        CHECK(strstr(error.message, (text)) != NULL);                                                        \
        if (strstr(error.message, (text)) == NULL) fprintf(stderr, "  it says: %s\n", error.message);        \
    } while (0)

static const float weights[WIDTH * UNITS] = {1, 2, 3, 4, 5, 6, 7, 8};
static const float bias[UNITS] = {-30, 1};

static SmeltNode add(SmeltGraph *graph, const char *op, int inputs, const SmeltValue *values,
                     const char *result) {
    SmeltNode node = SMELT_NONE;
    SmeltNodeSpec spec = {.op = op,
                          .name = op,
                          .input_count = inputs,
                          .inputs = values,
                          .output_count = 1,
                          .output_names = &result};
    OK(smelt_graph_add_node(graph, SMELT_NONE, &spec, &node, &error));
    return node;
}

/* y = Relu(x * w + b) for x of [batch, 4]. */
static SmeltGraph *make_layer(void) {
    SmeltGraph *graph = NULL;
    int64_t dims[2] = {0, WIDTH}, weight_dims[2] = {WIDTH, UNITS}, bias_dims[1] = {UNITS};
    SmeltValue x, w, b;
    OK(smelt_graph_create("layer", &graph, &error));
    OK(smelt_graph_add_symbol(graph, "batch", 1, 2, 8, &dims[0], &error));
    OK(smelt_graph_add_input(graph, "x", F32, 2, dims, &x, &error));
    OK(smelt_graph_add_constant(graph, "w", F32, 2, weight_dims, weights, &w, &error));
    OK(smelt_graph_add_constant(graph, "b", F32, 1, bias_dims, bias, &b, &error));
    SmeltNode product = add(graph, "MatMul", 2, (SmeltValue[]){x, w}, "p");
    SmeltNode sum = add(graph, "Add", 2, (SmeltValue[]){smelt_node_output(graph, product, 0), b}, "s");
    SmeltNode relu = add(graph, "Relu", 1, (SmeltValue[]){smelt_node_output(graph, sum, 0)}, "y");
    OK(smelt_graph_add_output(graph, smelt_node_output(graph, relu, 0), &error));
    OK(smelt_graph_verify(graph, &error));
    return graph;
}

static void run_layer(const SmeltPlan *plan, double tolerance) {
    SmeltEngine *engine = NULL;
    SmeltContext *context = NULL;
    float x[BATCH * WIDTH], y[BATCH * UNITS];
    size_t size;
    const void *bytes = smelt_plan_data(plan, &size);
    int64_t dims[2] = {BATCH, WIDTH};
    for (int i = 0; i < BATCH * WIDTH; ++i) x[i] = (float)(i - 5);
    OK(smelt_engine_load_memory(bytes, size, NULL, &engine, &error));
    OK(smelt_context_create(engine, NULL, &context, &error));
    OK(smelt_context_set_shape(context, 0, 2, dims, &error));
    OK(smelt_context_run(context, (void *[]){x, y}, NULL, &error));
    for (int i = 0; i < BATCH; ++i)
        for (int k = 0; k < UNITS; ++k) {
            float sum = bias[k];
            for (int j = 0; j < WIDTH; ++j) sum += x[i * WIDTH + j] * weights[j * UNITS + k];
            CHECK_NEAR(y[i * UNITS + k], fmaxf(sum, 0), tolerance);
        }
    smelt_context_destroy(context);
    smelt_engine_destroy(engine);
}

static void test_build(void) {
    char path[] = "/tmp/smelt-api-XXXXXX";
    SmeltGraph *graph = make_layer();
    SmeltBuilder *builder = NULL;
    SmeltPlan *plan = NULL, *again = NULL;
    OK(smelt_builder_create(&builder, &error));
    OK(smelt_builder_set(builder, "threads", "1", &error));
    OK(smelt_build(builder, graph, &plan, &error));
    run_layer(plan, 1e-5);
    REFUSED(smelt_build(builder, graph, &again, &error), SMELT_USAGE, "built already");
    CHECK(again == NULL);
    int file = mkstemp(path);
    CHECK(file >= 0);
    close(file);
    OK(smelt_plan_save(plan, path, &error));
    SmeltEngine *engine = NULL;
    OK(smelt_engine_load(path, NULL, &engine, &error));
    smelt_engine_destroy(engine);
    unlink(path);
    smelt_plan_destroy(plan);
    smelt_builder_destroy(builder);
    smelt_graph_destroy(graph);
}

/* Small integers are exact in half precision too. */
static void test_precision(void) {
    SmeltGraph *graph = make_layer();
    SmeltBuilder *builder = NULL;
    SmeltPlan *plan = NULL;
    OK(smelt_builder_create(&builder, &error));
    REFUSED(smelt_builder_set(builder, "precision", "fp4", &error), SMELT_USAGE, "expected fp32");
    OK(smelt_builder_set(builder, "precision", "fp16", &error));
    OK(smelt_build(builder, graph, &plan, &error));
    CHECK(strstr(smelt_graph_text(graph), "f16[") != NULL);
    run_layer(plan, 0.5);
    smelt_plan_destroy(plan);
    smelt_builder_destroy(builder);
    smelt_graph_destroy(graph);
}

static void test_look(void) {
    SmeltGraph *graph = make_layer();
    int input = -1, count = 0;
    size_t size;
    SmeltNode product = smelt_graph_first_node(graph), sum = smelt_graph_next_node(graph, product);
    SmeltValue x = smelt_graph_find_value(graph, "x"), p = smelt_node_output(graph, product, 0);
    SmeltValue w = smelt_graph_find_value(graph, "w");
    CHECK_STR(smelt_node_op(graph, product), "MatMul");
    CHECK_STR(smelt_node_name(graph, product), "MatMul");
    CHECK_STR(smelt_node_domain(graph, product), "");
    CHECK_INT(smelt_node_origin_count(graph, product), 1);
    CHECK_STR(smelt_node_origin(graph, product, 0), "MatMul");
    CHECK_STR(smelt_node_op(graph, sum), "Add");
    CHECK_INT(smelt_graph_next_node(graph, smelt_graph_next_node(graph, sum)), SMELT_NONE);
    CHECK_INT(smelt_graph_input(graph, 0), x);
    CHECK_INT(smelt_graph_input(graph, 1), SMELT_NONE);
    CHECK_STR(smelt_value_name(graph, smelt_graph_output(graph, 0)), "y");
    CHECK_STR(smelt_value_type(graph, p), "f32[batch, 2]");
    CHECK_INT(smelt_value_rank(graph, p), 2);
    CHECK_INT(smelt_value_dim(graph, p, 0), smelt_value_dim(graph, x, 0));
    CHECK(smelt_value_dim(graph, p, 0) < 0);
    CHECK_INT(smelt_value_dim(graph, p, 1), UNITS);
    CHECK_INT(smelt_value_producer(graph, p), product);
    CHECK_INT(smelt_value_reader_count(graph, p), 1);
    CHECK_INT(smelt_value_reader(graph, p, 0, &input), sum);
    CHECK_INT(input, 0);
    CHECK_INT(smelt_value_reader(graph, smelt_graph_output(graph, 0), 0, NULL), SMELT_NONE);
    CHECK_INT(smelt_value_count(graph, w), WIDTH * UNITS);
    CHECK_NEAR(smelt_value_element(graph, w, 3), 4, 0);
    CHECK(memcmp(smelt_value_data(graph, w, &size), weights, sizeof weights) == 0);
    CHECK_INT(size, sizeof weights);
    CHECK(smelt_value_data(graph, x, NULL) == NULL);
    CHECK(smelt_node_op(graph, 99) == NULL);
    CHECK(smelt_node_ints(graph, product, "perm", &count) == NULL);
    CHECK_INT(smelt_node_int(graph, product, "axis", 7), 7);
    CHECK(strstr(smelt_graph_text(graph), "%p : f32[batch,2] = MatMul(%x, %w)") != NULL);
    smelt_graph_destroy(graph);
}

static void test_edit(void) {
    SmeltGraph *graph = make_layer();
    SmeltNode product = smelt_graph_first_node(graph), sum = smelt_graph_next_node(graph, product), flip;
    SmeltValue x = smelt_graph_find_value(graph, "x"), w = smelt_graph_find_value(graph, "w");
    SmeltValue y = smelt_graph_output(graph, 0);
    int64_t perm[2] = {1, 0};
    int count;
    SmeltAttribute attribute = {.name = "perm", .kind = SMELT_ATTRIBUTE_INTS, .ints = perm, .count = 2};
    SmeltNodeSpec spec = {
        .op = "Transpose", .input_count = 1, .inputs = &w, .attribute_count = 1, .attributes = &attribute};
    OK(smelt_graph_add_node(graph, product, &spec, &flip, &error));
    CHECK_INT(smelt_graph_first_node(graph), flip);
    CHECK_STR(smelt_value_type(graph, smelt_node_output(graph, flip, 0)), "f32[2, 4]");
    CHECK(memcmp(smelt_node_ints(graph, flip, "perm", &count), perm, sizeof perm) == 0);
    /* A change of a result's type, and what an operator refuses, leave everything as it was. */
    perm[0] = 0;
    perm[1] = 1;
    REFUSED(smelt_node_set_attribute(graph, flip, &attribute, &error), SMELT_USAGE, "another type");
    CHECK_INT(smelt_node_ints(graph, flip, "perm", &count)[0], 1);
    REFUSED(smelt_node_set_input(graph, product, 1, smelt_node_output(graph, flip, 0), &error),
            SMELT_BAD_MODEL, "MatMul");
    CHECK_INT(smelt_node_input(graph, product, 1), w);
    REFUSED(smelt_node_set_input(graph, product, 2, x, &error), SMELT_USAGE, "no input 2");
    REFUSED(smelt_node_set_input(graph, 99, 0, x, &error), SMELT_USAGE, "no node 99");
    REFUSED(smelt_node_set_input(graph, product, 0, 99, &error), SMELT_USAGE, "no value 99");
    spec.op = "Alchemy";
    REFUSED(smelt_graph_add_node(graph, SMELT_NONE, &spec, NULL, &error), SMELT_UNSUPPORTED, "'Alchemy'");
    spec = (SmeltNodeSpec){.op = "Add", .input_count = 2, .inputs = (SmeltValue[]){x, w}};
    REFUSED(smelt_graph_add_node(graph, SMELT_NONE, &spec, NULL, &error), SMELT_BAD_MODEL, "broadcast");
    OK(smelt_graph_remove_node(graph, flip, &error));
    CHECK(smelt_node_op(graph, flip) == NULL);
    /* The output keeps its name. */
    REFUSED(smelt_graph_replace(graph, y, x, &error), SMELT_USAGE, "different types");
    OK(smelt_graph_replace(graph, y, smelt_node_output(graph, sum, 0), &error));
    CHECK_INT(smelt_graph_output(graph, 0), smelt_node_output(graph, sum, 0));
    CHECK_STR(smelt_value_name(graph, smelt_graph_output(graph, 0)), "y");
    OK(smelt_graph_verify(graph, &error));
    smelt_graph_destroy(graph);
}

static void test_usage(void) {
    SmeltGraph *graph = NULL;
    SmeltBuilder *builder = NULL;
    SmeltPlan *plan = NULL;
    SmeltValue value;
    int64_t dim = -1;
    OK(smelt_builder_create(&builder, &error));
    REFUSED(smelt_builder_set(builder, "colour", "red", &error), SMELT_USAGE, "no option 'colour'");
    REFUSED(smelt_builder_set(builder, "target", "tpu", &error), SMELT_USAGE, "expected cuda or cpu");
    REFUSED(smelt_builder_set(builder, "threads", "many", &error), SMELT_USAGE, "threads");
    REFUSED(smelt_builder_set(builder, "plugin-pass", "/no/such.so", &error), SMELT_IO, "/no/such.so");
    REFUSED(smelt_graph_load("/no/such.onnx", NULL, 0, &graph, &error), SMELT_IO, "/no/such.onnx");
    CHECK(graph == NULL);
    REFUSED(smelt_graph_load_memory("noise", 5, NULL, NULL, 0, &graph, &error), SMELT_BAD_MODEL, "");
    OK(smelt_graph_create("t", &graph, &error));
    REFUSED(smelt_graph_add_input(graph, "x", F32, 1, &dim, &value, &error), SMELT_USAGE, "dimension 0");
    REFUSED(smelt_graph_add_input(graph, "x", 99, 0, NULL, &value, &error), SMELT_USAGE, "99");
    REFUSED(smelt_graph_add_input(graph, "x", F32, 9, &dim, &value, &error), SMELT_USAGE, "rank 9");
    REFUSED(smelt_graph_add_symbol(graph, "n", 2, 1, 3, &dim, &error), SMELT_USAGE, "min");
    OK(smelt_builder_set(builder, "disable-pass", "alchemy", &error));
    REFUSED(smelt_build(builder, graph, &plan, &error), SMELT_USAGE, "no pass 'alchemy'");
    smelt_graph_destroy(graph);
    smelt_builder_destroy(builder);
}

static void test_tactics(void) {
    SmeltGraph *graph = NULL;
    SmeltBuilder *builder = NULL;
    SmeltPlan *plan = NULL;
    OK(smelt_builder_create(&builder, &error));
    OK(smelt_graph_create("t", &graph, &error));
    OK(smelt_builder_set(builder, "tactics", "+conv_x", &error));
    REFUSED(smelt_build(builder, graph, &plan, &error), SMELT_USAGE, "goes with the target cuda");
    OK(smelt_builder_set(builder, "target", "cuda", &error));
    OK(smelt_builder_set(builder, "gpu", "sm_80", &error));
    REFUSED(smelt_build(builder, graph, &plan, &error), SMELT_USAGE, "there is no 'conv_x'");
    smelt_graph_destroy(graph);
    smelt_builder_destroy(builder);
}

/* -- passes -- */

typedef struct Seen {
    int runs, nodes;
} Seen;

static int count_nodes(SmeltPass *pass, SmeltGraph *graph, SmeltError *error) {
    Seen *seen = smelt_pass_user(pass);
    (void)error;
    seen->runs++;
    for (SmeltNode n = smelt_graph_first_node(graph); n != SMELT_NONE; n = smelt_graph_next_node(graph, n))
        seen->nodes++;
    smelt_pass_count(pass, "seen", seen->nodes);
    smelt_pass_reject(pass, 12345, "nothing is there");
    return SMELT_OK;
}

static int give_up(SmeltPass *pass, SmeltGraph *graph, SmeltError *error) {
    (void)pass;
    (void)graph;
    return smelt_fail(error, SMELT_UNSUPPORTED, "not on a %s", "Sunday");
}

static int break_graph(SmeltPass *pass, SmeltGraph *graph, SmeltError *error) {
    (void)pass;
    return smelt_graph_remove_node(graph, smelt_graph_first_node(graph), error);
}

static int build_with(const SmeltPassSpec *pass, SmeltError *failure) {
    SmeltGraph *graph = make_layer();
    SmeltBuilder *builder = NULL;
    SmeltPlan *plan = NULL;
    OK(smelt_builder_create(&builder, &error));
    int status = smelt_builder_add_pass(builder, pass, failure);
    if (status == SMELT_OK) status = smelt_build(builder, graph, &plan, failure);
    if (status == SMELT_OK) run_layer(plan, 1e-5);
    smelt_plan_destroy(plan);
    smelt_builder_destroy(builder);
    smelt_graph_destroy(graph);
    return status;
}

static void test_passes(void) {
    Seen seen = {0};
    SmeltPassSpec pass = {
        .name = "count_nodes", .place = "after=infer_shapes", .run = count_nodes, .user = &seen};
    OK(build_with(&pass, &error));
    CHECK_INT(seen.runs, 1);
    CHECK_INT(seen.nodes, 3);
    pass.place = "after=alchemy";
    REFUSED(build_with(&pass, &error), SMELT_USAGE, "no pass 'alchemy'");
    pass.place = "somewhere";
    REFUSED(build_with(&pass, &error), SMELT_USAGE, "expected after=PASS or before=PASS");
    pass = (SmeltPassSpec){.name = "infer_shapes", .place = "after=infer_shapes", .run = count_nodes};
    REFUSED(build_with(&pass, &error), SMELT_USAGE, "two passes named 'infer_shapes'");
    pass.name = "Bad Name";
    REFUSED(build_with(&pass, &error), SMELT_USAGE, "small letters");
    pass = (SmeltPassSpec){.name = "nothing", .place = "after=infer_shapes"};
    REFUSED(build_with(&pass, &error), SMELT_USAGE, "no function");
    pass = (SmeltPassSpec){.name = "give_up", .place = "after=infer_shapes", .run = give_up};
    REFUSED(build_with(&pass, &error), SMELT_UNSUPPORTED, "pass give_up: not on a Sunday");
    pass = (SmeltPassSpec){.name = "break_graph", .place = "before=plan_memory", .run = break_graph};
    REFUSED(build_with(&pass, &error), SMELT_BAD_MODEL, "the graph is broken after break_graph:");
    REFUSED(build_with(&pass, &error), SMELT_BAD_MODEL, "it has no producer, no data, and is no parameter");
}

static void test_load(void) {
    SmeltGraph *graph = NULL;
    const char *model = SMELT_SOURCE_DIR "/tests/models/mnist-8/model.onnx";
    OK(smelt_graph_load(model, NULL, 0, &graph, &error));
    CHECK_INT(smelt_graph_input_count(graph), 1);
    CHECK(smelt_node_origin_count(graph, smelt_graph_first_node(graph)) == 1);
    CHECK(smelt_node_origin(graph, smelt_graph_first_node(graph), 0) != NULL);
    smelt_graph_destroy(graph);
    SmeltInputShape shape = {.name = "Input4", .rank = 4, .dims = {1, 1, 28, 28}};
    REFUSED(smelt_graph_load(model, &shape, 1, &graph, &error), SMELT_USAGE, "Input4");
}

int main(void) {
    test_build();
    test_precision();
    test_look();
    test_edit();
    test_usage();
    test_tactics();
    test_passes();
    test_load();
    return test_result();
}
