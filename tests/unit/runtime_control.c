/* Loops from text to results: states that change places, stacks whose length only the run knows, states that
 * grow, bodies within bodies. */
#include "kernels/lower.h"
#include "passes/pass.h"
#include "runtime/smelt_runtime.h"
#include "test.h"

typedef struct Model {
    Arena arena;
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltError error;
} Model;

static void open_model(Model *model, const char *text) {
    Diag diag = {0};
    Graph *graph;
    Plan plan = {0};
    CHECK_OK(graph_parse(text, strlen(text), "test.ir", NULL, &model->arena, &graph, &diag), &diag);
    CHECK_OK(passes_run(graph, &(PassOptions){0}, NULL, &diag), &diag);
    CHECK_OK(lower_to_host(graph, &(LowerOptions){.target = "cpu"}, &model->arena, &plan, &diag), &diag);
    ByteWriter bytes = byte_writer(&model->arena);
    CHECK_OK(plan_write_bytes(&plan, &bytes, &diag), &diag);
    void *copy = arena_alloc(&model->arena, bytes.size + 4096); /* large objects are aligned */
    memcpy(copy, bytes.data, bytes.size);
    CHECK_INT(smelt_engine_load_memory(copy, bytes.size, NULL, &model->engine, &model->error), SMELT_OK);
    CHECK_INT(smelt_context_create(model->engine, NULL, &model->context, &model->error), SMELT_OK);
    if (model->error.status != SMELT_OK) fprintf(stderr, "%s\n", model->error.message);
}

static void close_model(Model *model) {
    smelt_context_destroy(model->context);
    smelt_engine_destroy(model->engine);
    arena_reset(&model->arena);
    *model = (Model){0};
}

/* Runs, leaving the outputs with the context. */
static void run_model(Model *model, void *const *inputs, int count) {
    void *buffers[8] = {NULL};
    for (int i = 0; i < count; ++i) buffers[i] = inputs[i];
    CHECK_INT(smelt_context_run(model->context, buffers, NULL, &model->error), SMELT_OK);
    if (model->error.status != SMELT_OK) fprintf(stderr, "%s\n", model->error.message);
}

/* Output `binding` as floats; checks how many there are. */
static const float *output_of(Model *model, int binding, int64_t count) {
    const void *data = NULL;
    size_t size = 0;
    CHECK_INT(smelt_context_output(model->context, binding, &data, &size, &model->error), SMELT_OK);
    CHECK_INT(size, (size_t)count * sizeof(float));
    return data;
}

/* (a, b) -> (b, a), stacking a: the results of one run are the parameters of the next, crosswise. */
static const char swapping[] = "smelt-ir 1\ngraph \"t\"\nconstant %t : bool[] = {1}\nblock \"main\" {\n"
                               "  input %m : i64[]\n  input %a : f32[3]\n  input %b : f32[3]\n"
                               "  %p : ?, %q : ?, %s : ? = Loop(%m, %t, %a, %b) \"loop\"\n"
                               "    body body \"b\" {\n      input %i : ?\n      input %c : ?\n     "
                               " input %x : ?\n      input %y : ?\n"
                               "      %d : ? = Identity(%c)\n"
                               "      output %d\n      output %y\n      output %x\n      output %x\n    }\n"
                               "  output %p\n  output %q\n  output %s\n}\n";

static void test_swapping(void) {
    Model model = {0};
    float a[3] = {1, 2, 3}, b[3] = {4, 5, 6};
    open_model(&model, swapping);
    for (int64_t trips = 0; trips < 70; trips = trips * 2 + 1) {
        run_model(&model, (void *[]){&trips, a, b}, 3);
        const float *p = output_of(&model, 3, 3), *s = output_of(&model, 5, trips * 3);
        for (int i = 0; i < 3; ++i) CHECK_NEAR(p[i], trips % 2 == 0 ? a[i] : b[i], 0);
        for (int64_t i = 0; i < trips * 3; ++i) CHECK_NEAR(s[i], i / 3 % 2 == 0 ? a[i % 3] : b[i % 3], 0);
    }
    close_model(&model);
}

/* A state that gets longer with every run. */
static const char growing[] =
    "smelt-ir 1\ngraph \"t\"\nconstant %t : bool[] = {1}\nconstant %one : i64[1] = {1}\nblock \"main\" {\n"
    "  input %m : i64[]\n  input %a : f32[n]\n"
    "  %p : ? = Loop(%m, %t, %a) \"loop\"\n"
    "    body body \"b\" {\n      input %i : ?\n      input %c : ?\n      input %x : ?\n"
    "      %f : ? = Cast(%i) {to = 1}\n      %u : ? = Reshape(%f, %one)\n"
    "      %y : ? = Concat(%x, %u) {axis = 0}\n"
    "      output %c\n      output %y\n    }\n"
    "  output %p\n}\n";

static void test_growing(void) {
    Model model = {0};
    float a[2] = {-2, -1};
    int64_t dims[] = {2};
    open_model(&model, growing);
    CHECK_INT(smelt_context_set_shape(model.context, 1, 1, dims, &model.error), SMELT_OK);
    for (int64_t trips = 0; trips < 50; trips += 7) {
        run_model(&model, (void *[]){&trips, a}, 2);
        const float *p = output_of(&model, 2, trips + 2);
        for (int64_t i = 0; i < trips + 2; ++i) CHECK_NEAR(p[i], (float)(i - 2), 0);
    }
    close_model(&model);
}

/* Ends by its condition; the inner loop reads what is outside of both. */
static const char nested[] =
    "smelt-ir 1\ngraph \"t\"\nconstant %t : bool[] = {1}\nconstant %three : i64[] = {3}\n"
    "constant %most : i64[] = {1000}\nblock \"main\" {\n"
    "  input %limit : f32[]\n  input %step : f32[]\n  input %a : f32[]\n"
    "  %p : ?, %s : ? = Loop(%most, %t, %a) \"loop\"\n"
    "    body body \"outer\" {\n      input %i : ?\n      input %c : ?\n      input %x : ?\n"
    "      %y : ?, %r : ? = Loop(%three, %t, %x) \"loop\"\n"
    "        body body \"inner\" {\n          input %j : ?\n          input %e : ?\n          input %z : ?\n"
    "          %w : ? = Add(%z, %step)\n"
    "          output %e\n          output %w\n          output %w\n        }\n"
    "      %d : ? = Less(%y, %limit)\n"
    "      output %d\n      output %y\n      output %r\n    }\n"
    "  output %p\n  output %s\n}\n";

static void test_nested(void) {
    Model model = {0};
    open_model(&model, nested);
    for (float limit = 10; limit < 40; limit += 10) {
        float step = 0.5f, a = 1;
        int64_t runs = 1;
        while (a + 1.5f * (float)runs < limit) ++runs;
        run_model(&model, (void *[]){&limit, &step, &a}, 3);
        CHECK_NEAR(output_of(&model, 3, 1)[0], a + 1.5f * (float)runs, 0);
        const float *s = output_of(&model, 4, 3 * runs);
        for (int64_t i = 0; i < 3 * runs; ++i) CHECK_NEAR(s[i], a + 0.5f * (float)(i + 1), 0);
    }
    close_model(&model);
}

int main(void) {
    test_swapping();
    test_growing();
    test_nested();
    return test_result();
}
