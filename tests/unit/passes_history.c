/* What the runner keeps of each pass, and the words in which a change is told. */
#include "passes/history.h"
#include "test.h"

static const char head[] = "smelt-ir 1\ngraph \"t\"\n"
                           "constant %one : f32[1] = {1}\n"
                           "block \"main\" {\n  input %x : f32[4]\n  input %z : f32[4]\n";

typedef struct Pair {
    Arena arena;
    Graph *graph;
    const Graph *before;
    Diag diag;
} Pair;

static void begin(Pair *pair, const char *nodes) {
    *pair = (Pair){0};
    const char *text = arena_printf(&pair->arena, "%s%s}\n", head, nodes);
    CHECK_OK(graph_parse(text, strlen(text), "t.ir", NULL, &pair->arena, &pair->graph, &pair->diag),
             &pair->diag);
    pair->before = graph_snapshot(pair->graph, &pair->arena);
    CHECK(pair->before != NULL);
}

static void end(Pair *pair) {
    arena_reset(&pair->arena);
}

static ValueId value(const Pair *pair, const char *name) {
    return graph_find_value(pair->graph, name);
}

static const char *removal(Pair *pair, NodeId node) {
    return explain_removal(pair->before, pair->graph, node, &pair->arena);
}

static const char *change(Pair *pair, NodeId node) {
    return explain_change(pair->before, pair->graph, node, &pair->arena);
}

/* Edits of the graph leave its snapshot as it was. */
static void test_snapshot(void) {
    Pair pair;
    AttrList attrs = {0};
    begin(&pair,
          "  %a : f32[4] = LeakyRelu(%x) {alpha = 0.5} \"a\"\n  %y : f32[4] = Neg(%a) \"n\"\n  output %y\n");
    CHECK_INT(nodes_touched(pair.before, pair.graph), 0);
    CHECK(attr_set_float(&attrs, &pair.arena, "alpha", 0.25F));
    CHECK_OK(node_set_attrs(pair.graph, 0, &attrs, &pair.diag), &pair.diag);
    pair.graph->nodes[1].inputs[0] = value(&pair, "x");
    CHECK_NEAR(pair.before->nodes[0].attrs.items[0].floats[0], 0.5, 0);
    CHECK_INT(pair.before->nodes[1].inputs[0], value(&pair, "a"));
    CHECK_INT(node_change(pair.before, pair.graph, 0), NODE_CHANGED);
    CHECK_INT(nodes_touched(pair.before, pair.graph), 2);
    CHECK_STR(change(&pair, 0), "attribute alpha is another");
    CHECK_STR(change(&pair, 1), "reads 'x' instead of 'a'");
    graph_remove_node(pair.graph, 0);
    CHECK(node_is_live(pair.before, 0));
    CHECK_INT(pair.before->blocks[MAIN_BLOCK].node_count, 2);
    CHECK_INT(node_change(pair.before, pair.graph, 0), NODE_REMOVED);
    CHECK_INT(node_change(pair.before, pair.graph, 7), NODE_ABSENT);
    end(&pair);
}

static void test_unread(void) {
    Pair pair;
    begin(&pair,
          "  %a : f32[4] = Relu(%x) \"a\"\n  %b : f32[4] = Neg(%a) \"b\"\n  %y : f32[4] = Abs(%x) \"y\"\n"
          "  output %y\n");
    graph_remove_node(pair.graph, 1);
    graph_remove_node(pair.graph, 0);
    CHECK_STR(removal(&pair, 1), "nobody reads its results");
    CHECK_STR(removal(&pair, 0), "what read its results is gone");
    end(&pair);
}

static void test_bypassed(void) {
    Pair pair;
    begin(&pair, "  %a : f32[4] = Identity(%x) \"a\"\n  %y : f32[4] = Neg(%a) \"n\"\n  output %y\n");
    graph_replace_uses(pair.graph, value(&pair, "a"), value(&pair, "x"));
    graph_remove_node(pair.graph, 0);
    CHECK_STR(removal(&pair, 0), "Neg 'n' reads 'x' instead");
    end(&pair);
    begin(&pair, "  %a : f32[4] = Neg(%x) \"n\"\n  %y : f32[4] = Identity(%a) \"i\"\n  output %y\n");
    ValueId a = value(&pair, "a"), y = value(&pair, "y");
    graph_replace_uses(pair.graph, y, a);
    CHECK(graph_swap_names(pair.graph, y, a));
    graph_remove_node(pair.graph, 1);
    CHECK_STR(removal(&pair, 1), "the output 'y' is computed without it");
    end(&pair);
}

static void test_known(void) {
    static const float known[4] = {1, 2, 3, 4};
    Pair pair;
    begin(&pair, "  %a : f32[4] = Expand(%one, %one) \"a\"\n  output %a\n");
    ValueId a = value(&pair, "a");
    graph_remove_node(pair.graph, 0);
    pair.graph->values[a].data = known;
    CHECK_STR(removal(&pair, 0), "its result 'a' is known: a constant now");
    end(&pair);
}

/* A new node that takes the origins of an old one is what became of it. */
static void test_heir(void) {
    Pair pair;
    NodeId swish;
    begin(&pair, "  %g : f32[4] = HardSigmoid(%x) \"gate\"\n  %y : f32[4] = Mul(%x, %g) \"mul\"\n"
                 "  %w : f32[4] = Neg(%y) \"n\"\n  output %w\n");
    ValueId x = value(&pair, "x"), s = graph_add_value(pair.graph, "s");
    pair.graph->values[s] = (Value){.name = pair.graph->values[s].name,
                                    .dtype = DTYPE_F32,
                                    .has_shape = true,
                                    .shape = pair.graph->values[x].shape,
                                    .producer = NONE,
                                    .buffer = NONE};
    CHECK_OK(
        graph_insert_node(pair.graph, 0, true, OP_HardSwish, "swish", NULL, 1, &x, 1, &s, &swish, &pair.diag),
        &pair.diag);
    CHECK(node_add_origins(pair.graph, swish, 0) && node_add_origins(pair.graph, swish, 1));
    graph_replace_uses(pair.graph, value(&pair, "y"), s);
    graph_remove_node(pair.graph, 1);
    graph_remove_node(pair.graph, 0);
    CHECK_INT(node_change(pair.before, pair.graph, swish), NODE_ADDED);
    CHECK_STR(removal(&pair, 0), "it went into HardSwish 'swish'");
    CHECK_STR(removal(&pair, 1), "it went into HardSwish 'swish'");
    CHECK_STR(change(&pair, 2), "reads 's' instead of 'y'");
    CHECK_STR(explain_addition(pair.before, pair.graph, swish, &pair.arena),
              "does what HardSigmoid 'gate', Mul 'mul' did");
    CHECK(node_has_origin(&pair.graph->nodes[swish], "gate"));
    CHECK_INT(nodes_touched(pair.before, pair.graph), 4);
    end(&pair);
}

static void test_regions_and_types(void) {
    Pair pair;
    begin(&pair, "  %a : f32[4] = Neg(%x) \"a\"\n  %y : f32[4] = Relu(%a) \"b\"\n  output %y\n");
    RegionId region = graph_add_region(pair.graph, NONE, "neg+relu");
    pair.graph->nodes[0].region = pair.graph->nodes[1].region = region;
    pair.graph->values[value(&pair, "y")].dtype = DTYPE_F16;
    CHECK_STR(change(&pair, 0), "joined region 'neg+relu'");
    CHECK_STR(change(&pair, 1), "'y' is f16[4], was f32[4]; joined region 'neg+relu'");
    end(&pair);
}

/* The runner notes the graph before and behind each pass, with counters and reasons. */
static void test_runner(void) {
    static const char *const off[] = {"eliminate_dead"};
    Pair pair;
    begin(&pair, "  %t : f32[1] = Add(%one, %one) \"two\"\n  %a : f32[4] = Mul(%x, %t) \"m\"\n"
                 "  %y : f32[4] = Relu(%a) \"r\"\n  output %y\n  output %a\n");
    History history = {.arena = &pair.arena};
    PassOptions options = {.history = &history, .disabled = off, .disabled_count = 1};
    for (int round = 0; round < 2; ++round) {
        history_clear(&history);
        CHECK_OK(passes_run(pair.graph, &options, NULL, &pair.diag), &pair.diag);
        CHECK_INT(history.step_count, pass_count()); /* one is off, and the import is there */
        CHECK_STR(history.steps[0].pass, "import");
    }
    for (int32_t i = 1; i < history.step_count; ++i) {
        CHECK(strcmp(history.steps[i].pass, "eliminate_dead") != 0);
        CHECK(history.steps[i].seconds >= 0);
        CHECK(history.steps[i].rejection_first + history.steps[i].rejection_count <= history.rejection_count);
    }
    end(&pair);
}

/* Without memory for the history the run fails, and nothing is left behind. */
static void test_memory_faults(void) {
    for (uint64_t n = 1; n < 5000; ++n) {
        Allocator allocator = {0};
        Pair pair = {0};
        Arena kept = {.allocator = &allocator};
        History history = {.arena = &kept};
        PassOptions options = {.history = &history};
        begin(&pair,
              "  %t : f32[1] = Add(%one, %one) \"two\"\n  %a : f32[4] = Mul(%x, %t) \"m\"\n  output %a\n");
        allocator.fail_at = n;
        Status status = passes_run(pair.graph, &options, NULL, &pair.diag);
        bool failed = allocator.count >= n;
        arena_reset(&kept);
        end(&pair);
        CHECK_INT(allocator.in_use, 0);
        CHECK_INT(status, failed ? STATUS_NO_MEMORY : STATUS_OK);
        if (!failed) {
            CHECK(n > 2);
            return;
        }
    }
    CHECK(false);
}

int main(void) {
    test_snapshot();
    test_unread();
    test_bypassed();
    test_known();
    test_heir();
    test_regions_and_types();
    test_runner();
    test_memory_faults();
    return test_result();
}
