/* Plans whose values share buffers: what the runtime takes computes what the model says, wherever values are
 * moved to. */
#include "kernels/lower.h"
#include "passes/pass.h"
#include "runtime/smelt_runtime.h"
#include "test.h"

enum { ELEMENTS = 64, OUTPUTS = 2 };

/* Nested Concats, a part that is read elsewhere, parts of a Split, results in place, views, a chain, a body.
 */
static const char *const model = "smelt-ir 1\n"
                                 "graph \"t\"\n"
                                 "constant %flat : i64[2] = {2, 64}\n"
                                 "constant %begin : i64[1] = {1}\n"
                                 "constant %end : i64[1] = {3}\n"
                                 "constant %zero : i64[1] = {0}\n"
                                 "constant %yes : bool[] = {1}\n"
                                 "block \"main\" {\n"
                                 "  input %x : f32[1,64]\n"
                                 "  %a : ? = Softmax(%x)\n"
                                 "  %b : ? = Exp(%x)\n"
                                 "  %c : ? = Concat(%a, %b) {axis = 0}\n"
                                 "  %d : ? = Softmax(%c)\n"
                                 "  %e : ? = Concat(%c, %d) {axis = 0}\n"
                                 "  %f : ? = Relu(%e)\n"
                                 "  %p : ?, %q : ? = Split(%f) {axis = 0, num_outputs = 2}\n"
                                 "  %r : ? = Neg(%p)\n"
                                 "  %s : ? = Add(%r, %q)\n"
                                 "  %t : ? = Softmax(%f)\n"
                                 "  %u : ? = Slice(%t, %begin, %end, %zero)\n"
                                 "  %v : ? = Add(%s, %u)\n"
                                 "  %w : ? = Reshape(%v, %flat)\n"
                                 "  region \"add+mul+exp\" {\n"
                                 "    %g : ? = Add(%w, %a)\n"
                                 "    %h : ? = Mul(%g, %b)\n"
                                 "    %i : ? = Exp(%h)\n"
                                 "  }\n"
                                 "  %k : ? = Concat(%i, %i) {axis = 0}\n"
                                 "  %l : ? = Softmax(%k)\n"
                                 "  %y : ? = Neg(%l)\n"
                                 "  %z : ? = Add(%i, %w)\n"
                                 "  output %y\n"
                                 "  output %z\n"
                                 "}\n";

typedef struct Sample {
    Arena arena;
    Plan plan;
    float input[ELEMENTS];
    float expected[OUTPUTS][4 * ELEMENTS];
} Sample;

static void lower_text(const char *text, const PassOptions *passes, Arena *arena, Plan *plan) {
    LowerOptions options = {.target = "cpu"};
    Diag diag = {0};
    Graph *graph;
    CHECK_OK(graph_parse(text, strlen(text), "test.ir", NULL, arena, &graph, &diag), &diag);
    CHECK_OK(passes_run(graph, passes, NULL, &diag), &diag);
    CHECK_OK(lower_to_host(graph, &options, arena, plan, &diag), &diag);
}

static void lower_sample(Sample *s) {
    static const char *const disabled[] = {"fold_constants",  "eliminate_dead", "canonicalize",
                                           "fuse_horizontal", "fuse_vertical",  "order_steps"};
    const PassOptions passes = {.disabled = disabled, .disabled_count = sizeof disabled / sizeof *disabled};
    lower_text(model, &passes, &s->arena, &s->plan);
    for (int i = 0; i < ELEMENTS; ++i) s->input[i] = (float)((i * 37) % 19) / 8.0F - 1.0F;
}

/* Status of loading and running the plan; the outputs where it is SMELT_OK. */
static int run_plan(const Sample *s, float outputs[OUTPUTS][4 * ELEMENTS]) {
    Arena arena = {0};
    Diag diag = {0};
    ByteWriter bytes = byte_writer(&arena);
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltContextOptions options = {.threads = 1};
    float input[ELEMENTS];
    void *memory[1 + OUTPUTS] = {input, outputs[0], outputs[1]};
    memcpy(input, s->input, sizeof input);
    CHECK_OK(plan_write_bytes(&s->plan, &bytes, &diag), &diag);
    int status = smelt_engine_load_memory(bytes.data, bytes.size, NULL, &engine, NULL);
    if (status == SMELT_OK) {
        CHECK_INT(smelt_context_create(engine, &options, &context, NULL), SMELT_OK);
        status = smelt_context_run(context, memory, NULL, NULL);
        smelt_context_destroy(context);
        smelt_engine_destroy(engine);
    }
    arena_reset(&arena);
    return status;
}

static int32_t find_value(const Plan *plan, const char *name) {
    for (int32_t i = 0; i < plan->value_count; ++i)
        if (strcmp(plan->values[i].name, name) == 0) return i;
    CHECK(false);
    return 0;
}

/* What is taken must give the same; counts what is taken. */
static void check_mutant(const Sample *s, int *taken, int *refused) {
    static float outputs[OUTPUTS][4 * ELEMENTS];
    memset(outputs, 0xff, sizeof outputs);
    int status = run_plan(s, outputs);
    if (status != SMELT_OK) {
        CHECK_INT(status, SMELT_BAD_PLAN);
        ++*refused;
        return;
    }
    ++*taken;
    CHECK(memcmp(outputs, s->expected, sizeof outputs) == 0);
}

/* Every value to every place of every buffer; pairs of them exchanged. */
static void test_moved(Sample *s) {
    Plan *plan = &s->plan;
    int taken = 0, refused = 0;
    for (int32_t v = 0; v < plan->value_count; ++v) {
        PlanValue kept = plan->values[v];
        if (kept.storage != PLAN_BUFFER) continue;
        for (int32_t b = 0; b < plan->buffer_count; ++b)
            for (PlanDim offset = 0; offset < plan->buffers[b].size; offset += 128) {
                plan->values[v].index = b;
                plan->values[v].offset = offset;
                check_mutant(s, &taken, &refused);
            }
        plan->values[v] = kept;
        for (int32_t w = 0; w < v; ++w) {
            PlanValue other = plan->values[w];
            if (other.storage != PLAN_BUFFER) continue;
            plan->values[v].index = other.index, plan->values[v].offset = other.offset;
            plan->values[w].index = kept.index, plan->values[w].offset = kept.offset;
            check_mutant(s, &taken, &refused);
            plan->values[v] = kept, plan->values[w] = other;
        }
    }
    CHECK(taken > 20 && refused > 200);
}

/* Lifetimes and places of buffers. */
static void test_buffers(Sample *s) {
    Plan *plan = &s->plan;
    int taken = 0, refused = 0;
    for (int32_t b = 0; b < plan->buffer_count; ++b) {
        PlanBuffer kept = plan->buffers[b];
        for (int32_t step = 0; step < plan->programs[0].step_count; ++step) {
            plan->buffers[b].first = step;
            check_mutant(s, &taken, &refused);
            plan->buffers[b] = kept;
            plan->buffers[b].last = step;
            check_mutant(s, &taken, &refused);
            plan->buffers[b] = kept;
        }
        for (int64_t offset = 0; offset < plan->arena_size; offset += 64) {
            plan->buffers[b].offset = offset;
            check_mutant(s, &taken, &refused);
        }
        plan->buffers[b] = kept;
    }
    CHECK(taken > 0 && refused > 20);
}

/* Operators that read other values. */
static void test_operands(Sample *s) {
    Plan *plan = &s->plan;
    int32_t concat = -1;
    float outputs[OUTPUTS][4 * ELEMENTS];
    for (int32_t op = 0; op < plan->op_count && concat < 0; ++op)
        if (strcmp(plan->ops[op].name, "Concat") == 0) concat = op;
    PlanOp kept = plan->ops[concat];
    int32_t swapped[2] = {kept.inputs[1], kept.inputs[0]};
    plan->ops[concat].inputs = swapped; /* parts that lie in each other's place */
    CHECK_INT(run_plan(s, outputs), SMELT_BAD_PLAN);
    plan->ops[concat] = kept;
}

static void test_places(const Sample *s) {
    const Plan *plan = &s->plan;
    const PlanValue *a = &plan->values[find_value(plan, "a")], *b = &plan->values[find_value(plan, "b")],
                    *c = &plan->values[find_value(plan, "c")], *d = &plan->values[find_value(plan, "d")],
                    *e = &plan->values[find_value(plan, "e")];
    CHECK(a->index == e->index && b->index == e->index && c->index == e->index && d->index == e->index);
    CHECK_INT(b->offset - a->offset, 256);
    CHECK_INT(d->offset - c->offset, 512);
}

/* Of a tensor without elements every span of dims must still fit: kernels count rows and columns. */
static void test_zero_beside_huge(void) {
    static const char text[] = "smelt-ir 1\n"
                               "graph \"t\"\n"
                               "symbol n min 0 opt 1\nsymbol m min 0 opt 1\nsymbol k min 0 opt 1\n"
                               "block \"main\" {\n"
                               "  input %x : f32[n,m,k]\n"
                               "  %a : ? = Softmax(%x) {axis = 1}\n"
                               "  %y : ? = Transpose(%a)\n"
                               "  output %y\n"
                               "}\n";
    const int64_t huge = (int64_t)1 << 40;
    const struct Row {
        int64_t dims[3];
        int status;
    } rows[] = {{{huge, huge, 0}, SMELT_BAD_DATA}, {{huge, 0, huge}, SMELT_BAD_DATA},
                {{0, huge, huge}, SMELT_BAD_DATA}, {{0, huge, 1}, SMELT_OK},
                {{huge, 1, 0}, SMELT_OK},          {{0, 0, 0}, SMELT_OK}};
    Arena arena = {0};
    Plan plan;
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltError error;
    float none[1];
    void *memory[] = {none, none};
    ByteWriter bytes = byte_writer(&arena);
    Diag diag = {0};
    lower_text(text, &(PassOptions){0}, &arena, &plan);
    CHECK_OK(plan_write_bytes(&plan, &bytes, &diag), &diag);
    CHECK_INT(smelt_engine_load_memory(bytes.data, bytes.size, NULL, &engine, NULL), SMELT_OK);
    CHECK_INT(smelt_context_create(engine, NULL, &context, NULL), SMELT_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
        CHECK_INT(smelt_context_set_shape(context, 0, 3, rows[i].dims, NULL), SMELT_OK);
        CHECK_INT(smelt_context_run(context, memory, NULL, &error), rows[i].status);
        if (rows[i].status != SMELT_OK) CHECK(strstr(error.message, "more than 2^63 bytes") != NULL);
    }
    smelt_context_destroy(context);
    smelt_engine_destroy(engine);
    arena_reset(&arena);
}

int main(void) {
    static Sample sample;
    lower_sample(&sample);
    test_places(&sample);
    memset(sample.expected, 0xff, sizeof sample.expected); /* what is not written stays */
    CHECK_INT(run_plan(&sample, sample.expected), SMELT_OK);
    test_moved(&sample);
    test_buffers(&sample);
    test_operands(&sample);
    arena_reset(&sample.arena);
    test_zero_beside_huge();
    return test_result();
}
