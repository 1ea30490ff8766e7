/* Graphs in text form through plan_memory and lowering. */
#include "kernels/lower.h"
#include "passes/pass.h"
#include "test.h"

typedef struct Lowered {
    Arena arena;
    Graph *graph;
    Plan plan;
    Status status;
    Diag diag;
} Lowered;

static void lower_text(const char *text, bool with_memory, Lowered *out) {
    static const char *const options[] = {"precision=fp32"};
    /* The graph is to be lowered as it is written. */
    static const char *const disabled[] = {"fold_constants", "eliminate_dead", "canonicalize",
                                           "fold_batch_norm", "fuse_vertical"};
    LowerOptions lower = {.target = "cpu", .model_hash = 0xabc, .options = options, .option_count = 1};
    PassOptions passes = {.stop_after = with_memory ? NULL : "infer_shapes",
                          .disabled = disabled,
                          .disabled_count = sizeof disabled / sizeof *disabled};
    *out = (Lowered){.status = STATUS_OK};
    out->status = graph_parse(text, strlen(text), "test.ir", NULL, &out->arena, &out->graph, &out->diag);
    if (out->status == STATUS_OK) out->status = passes_run(out->graph, &passes, NULL, &out->diag);
    if (out->status == STATUS_OK)
        out->status = lower_to_host(out->graph, &lower, &out->arena, &out->plan, &out->diag);
}

static int32_t find_value(const Plan *plan, const char *name) {
    for (int32_t i = 0; i < plan->value_count; ++i)
        if (strcmp(plan->values[i].name, name) == 0) return i;
    return -1;
}

static const PlanValue *value_of(const Lowered *lowered, const char *name) {
    static const PlanValue none = {.storage = -1};
    int32_t index = find_value(&lowered->plan, name);
    CHECK(index >= 0);
    return index < 0 ? &none : &lowered->plan.values[index];
}

static void test_storage(void) {
    Lowered l;
    lower_text("smelt-ir 1\n"
               "graph \"t\"\n"
               "symbol n min 1 opt 2 max 4\n"
               "constant %a : f32[3] = {1, 2, 3}\n"
               "constant %same : f32[3] = {1, 2, 3}\n"
               "constant %other : f32[3] = {1, 2, 4}\n"
               "constant %flat : i64[1] = {-1}\n"
               "constant %axis : i64[] = {1}\n"
               "constant %square : f32[3,3] = {1, 0, 0, 0, 1, 0, 0, 0, 1}\n"
               "block \"main\" {\n"
               "  input %x : f32[n,3]\n"
               "  %p : ? = CumSum(%x, %axis)\n"
               "  %s : ? = MatMul(%p, %square)\n"
               "  %t : ? = Sub(%s, %a)\n"
               "  %u : ? = Div(%s, %same)\n"
               "  %v : ? = Mul(%t, %other)\n"
               "  %w : ? = Max(%u, %v)\n"
               "  %y : ? = Reshape(%x, %flat)\n"
               "  %z : ? = NonZero(%y)\n"
               "  %q : ? = Neg(%z)\n"
               "  %late : ? = Abs(%q)\n"
               "  output %w\n"
               "  output %late\n"
               "  output %x\n"
               "  output %other\n"
               "}\n",
               true, &l);
    CHECK_OK(l.status, &l.diag);
    if (l.status == STATUS_OK) {
        CHECK_STR(plan_meta(&l.plan, "target"), "cpu");
        CHECK_STR(plan_meta(&l.plan, "model_hash"), "0000000000000abc");
        CHECK_STR(plan_meta(&l.plan, "option.precision"), "fp32");
        CHECK_INT(l.plan.binding_count, 5);
        CHECK_STR(l.plan.bindings[2].name, "late");
        CHECK_INT(value_of(&l, "x")->storage, PLAN_BINDING);
        CHECK_INT(value_of(&l, "x")->index, 0);
        CHECK_INT(value_of(&l, "w")->index, 1);
        CHECK_INT(value_of(&l, "a")->storage, PLAN_WEIGHT);
        CHECK_INT(value_of(&l, "a")->offset, value_of(&l, "same")->offset);
        CHECK(value_of(&l, "a")->offset != value_of(&l, "other")->offset);
        CHECK(memcmp(l.plan.weights + value_of(&l, "other")->offset + 8, "\0\0\x80\x40", 4) == 0);
        CHECK_INT(value_of(&l, "s")->storage, PLAN_BUFFER);
        CHECK_INT(value_of(&l, "y")->storage, PLAN_BINDING); /* shows the input */
        CHECK_INT(value_of(&l, "y")->index, 0);
        CHECK_INT(value_of(&l, "z")->storage, PLAN_OWN);
        CHECK_INT(value_of(&l, "late")->storage, PLAN_BINDING);
        CHECK(l.plan.fixed);
        CHECK_INT(l.plan.symbols[0].max, 4);
        CHECK_INT(plan_dim_symbol(&l.plan, value_of(&l, "x")->dim[0]), 0);
        CHECK_STR(plan_dim_print(&l.plan, value_of(&l, "y")->dim[0], &l.arena), "3*n");
        for (int32_t i = 0; i < l.plan.buffer_count; ++i) CHECK(l.plan.buffers[i].capacity == 4 * 3 * 4);
    }
    arena_reset(&l.arena);
}

/* Bodies become programs behind the one that holds their owner, whose attributes name them. */
static void test_bodies(void) {
    Lowered l;
    lower_text("smelt-ir 1\n"
               "graph \"t\"\n"
               "block \"main\" {\n"
               "  input %c : bool[]\n"
               "  input %x : f32[2]\n"
               "  %r : ? = Softmax(%x)\n"
               "  %y : ? = If(%c) \"if\"\n"
               "    body else_branch \"else\" {\n"
               "      %e : ? = Neg(%r)\n"
               "      output %e\n"
               "    }\n"
               "    body then_branch \"then\" {\n"
               "      %f : ? = Exp(%r)\n"
               "      %g : ? = Log(%f)\n"
               "      output %g\n"
               "    }\n"
               "  output %y\n"
               "}\n",
               true, &l);
    CHECK_OK(l.status, &l.diag);
    if (l.status == STATUS_OK) {
        CHECK_INT(l.plan.program_count, 3);
        CHECK_INT(l.plan.programs[1].owner, 1);
        CHECK_INT(l.plan.programs[2].owner, 1);
        CHECK_STR(l.plan.ops[l.plan.programs[1].owner].name, "If");
        CHECK_INT(value_of(&l, "f")->storage, PLAN_BUFFER);
        const PlanBuffer *outer = &l.plan.buffers[value_of(&l, "r")->index];
        CHECK_INT(outer->last, 1); /* read by the bodies of step 1 */
        ByteReader reader = byte_reader(l.plan.ops[1].attrs, l.plan.ops[1].attrs_size);
        AttrList attrs;
        CHECK_OK(attr_read(&reader, &l.arena, &attrs, &l.diag), &l.diag);
        const Attr *then_branch = attr_find(&attrs, "then_branch");
        CHECK(then_branch != NULL && then_branch->kind == ATTR_BLOCK);
        if (then_branch != NULL) CHECK_STR(l.plan.programs[then_branch->ints[0]].name, "then");
    }
    arena_reset(&l.arena);
}

static void test_regions(void) {
    Lowered l;
    lower_text("smelt-ir 1\n"
               "graph \"t\"\n"
               "constant %w : f32[2,2] = {1, 2, 3, 4}\n"
               "block \"main\" {\n"
               "  input %x : f32[2,2]\n"
               "  region \"matmul+relu\" anchor 0 {\n"
               "    %a : ? = MatMul(%x, %w)\n"
               "    %b : ? = Relu(%a)\n"
               "  }\n"
               "  %c : ? = Softmax(%b)\n"
               "  output %c\n"
               "}\n",
               true, &l);
    CHECK_OK(l.status, &l.diag);
    if (l.status == STATUS_OK) {
        CHECK_INT(l.plan.step_count, 2);
        CHECK_STR(l.plan.steps[0].name, "matmul+relu");
        CHECK_INT(l.plan.steps[0].op_count, 2);
        CHECK_STR(l.plan.steps[1].name, "softmax");
        CHECK_INT(value_of(&l, "a")->index, value_of(&l, "b")->index);
    }
    arena_reset(&l.arena);
}

static void test_no_memory_plan(void) {
    Lowered l;
    lower_text("smelt-ir 1\n"
               "graph \"t\"\n"
               "block \"main\" {\n"
               "  input %x : f32[2]\n"
               "  %y : ? = Neg(%x)\n"
               "  output %y\n"
               "}\n",
               false, &l);
    CHECK_INT(l.status, STATUS_INTERNAL);
    CHECK(strstr(l.diag.text, "plan_memory") != NULL);
    arena_reset(&l.arena);
}

/* A chain of negations takes turns in two buffers where results lie apart, and one where they need not. */
static void test_apart(void) {
    static const char text[] = "smelt-ir 1\n"
                               "graph \"t\"\n"
                               "block \"main\" {\n"
                               "  input %x : f32[64]\n"
                               "  %a : f32[64] = Neg(%x)\n"
                               "  %b : f32[64] = Neg(%a)\n"
                               "  %c : f32[64] = Neg(%b)\n"
                               "  output %c\n"
                               "}\n";
    for (int apart = 0; apart < 2; ++apart) {
        Arena arena = {0};
        Diag diag = {0};
        Graph *graph;
        const PassOptions passes = {.start_from = "plan_memory", .apart = apart == 1};
        CHECK_OK(graph_parse(text, strlen(text), "test.ir", NULL, &arena, &graph, &diag), &diag);
        CHECK_OK(passes_run(graph, &passes, NULL, &diag), &diag);
        ValueId a = graph->nodes[0].outputs[0], b = graph->nodes[1].outputs[0];
        CHECK((graph->values[a].buffer != graph->values[b].buffer) == (apart == 1));
        arena_reset(&arena);
    }
}

int main(void) {
    test_apart();
    test_storage();
    test_bodies();
    test_regions();
    test_no_memory_plan();
    return test_result();
}
