/* Tables and edits of graphs, and one broken graph for each rule of the verifier. */
#include "ir/graph.h"
#include "test.h"

/* %x -> Relu a -> Relu b -> Add c(b, a) -> Neg d; result d */
typedef struct Sample {
    Arena arena;
    Graph *graph;
    Diag diag;
    ValueId x, value[4];
    NodeId node[4];
} Sample;

static NodeId add(Sample *s, OpId op, const char *name, ValueId a, ValueId b, ValueId *out) {
    NodeId node = NONE;
    *out = graph_add_value(s->graph, name);
    ValueId inputs[2] = {a, b};
    CHECK_OK(graph_add_node(s->graph, MAIN_BLOCK, op, name, NULL, 2, inputs, 1, out, &node, &s->diag),
             &s->diag);
    return node;
}

static void sample_create(Sample *s) {
    *s = (Sample){0};
    s->graph = graph_create(&s->arena, "sample");
    s->x = graph_add_value(s->graph, "x");
    block_add_param(s->graph, MAIN_BLOCK, s->x);
    s->node[0] = add(s, OP_Relu, "a", s->x, NONE, &s->value[0]);
    s->node[1] = add(s, OP_Relu, "b", s->value[0], NONE, &s->value[1]);
    s->node[2] = add(s, OP_Add, "c", s->value[1], s->value[0], &s->value[2]);
    s->node[3] = add(s, OP_Neg, "d", s->value[2], NONE, &s->value[3]);
    block_add_result(s->graph, MAIN_BLOCK, s->value[3]);
}

static void sample_type(Sample *s) {
    for (ValueId v = 0; v < s->graph->value_count; ++v) {
        s->graph->values[v].dtype = DTYPE_F32;
        s->graph->values[v].has_shape = true;
        s->graph->values[v].shape = (Shape){.rank = 1, .dim = {4}};
    }
}

static void check_order(const Sample *s, int32_t count, const NodeId *expected) {
    const Block *block = &s->graph->blocks[MAIN_BLOCK];
    CHECK_INT(block->node_count, count);
    for (int32_t i = 0; i < count && i < block->node_count; ++i) {
        CHECK_INT(block->nodes[i], expected[i]);
        CHECK_INT(node_position(s->graph, expected[i]), i);
    }
}

static void test_names(void) {
    Sample s;
    sample_create(&s);
    ValueId again = graph_add_value(s.graph, "x"), fresh = graph_add_value(s.graph, NULL);
    CHECK_STR(s.graph->values[again].name, "x.1");
    CHECK(s.graph->values[fresh].name[0] == '%');
    CHECK_INT(graph_find_value(s.graph, s.graph->values[fresh].name), fresh);
    CHECK_INT(graph_find_value(s.graph, "nothing"), NONE);
    CHECK(graph_swap_names(s.graph, s.value[0], s.value[3]));
    CHECK_INT(graph_find_value(s.graph, "a"), s.value[3]);
    CHECK_STR(s.graph->values[s.value[0]].name, "d");
    for (int i = 0; i < 20000; ++i) graph_add_value(s.graph, "x"); /* in no quadratic time */
    arena_reset(&s.arena);
}

static void test_edits(void) {
    Sample s;
    NodeId inserted;
    sample_create(&s);
    ValueId out = graph_add_value(s.graph, "new");
    CHECK_OK(graph_insert_node(s.graph, s.node[2], true, OP_Abs, "", NULL, 1, &s.value[1], 1, &out, &inserted,
                               &s.diag),
             &s.diag);
    check_order(&s, 5, (NodeId[]){s.node[0], s.node[1], inserted, s.node[2], s.node[3]});
    node_move_before(s.graph, s.node[3], s.node[0]);
    check_order(&s, 5, (NodeId[]){s.node[3], s.node[0], s.node[1], inserted, s.node[2]});
    node_move_before(s.graph, s.node[3], s.node[2]);
    check_order(&s, 5, (NodeId[]){s.node[0], s.node[1], inserted, s.node[3], s.node[2]});
    graph_replace_uses(s.graph, s.value[1], out);
    CHECK_INT(s.graph->nodes[s.node[2]].inputs[0], out);
    graph_replace_uses(s.graph, s.value[3], s.x);
    CHECK_INT(s.graph->blocks[MAIN_BLOCK].results[0], s.x);
    graph_remove_node(s.graph, s.node[3]);
    check_order(&s, 4, (NodeId[]){s.node[0], s.node[1], inserted, s.node[2]});
    CHECK_INT(s.graph->values[s.value[3]].producer, NONE);
    CHECK_INT(s.graph->nodes[s.node[3]].op, OP_NONE);
    block_set_nodes(s.graph, MAIN_BLOCK, 2, (NodeId[]){s.node[1], s.node[0]});
    check_order(&s, 2, (NodeId[]){s.node[1], s.node[0]});
    arena_reset(&s.arena);
}

static void test_uses(void) {
    Sample s;
    UseTable uses;
    sample_create(&s);
    CHECK(use_table_build(s.graph, &s.arena, &uses));
    CHECK_INT(use_count(&uses, s.x), 1);
    CHECK_INT(use_count(&uses, s.value[0]), 2);
    CHECK_INT(use_count(&uses, s.value[3]), 1);
    struct Use *use = &uses.uses[uses.first[s.value[0]]];
    CHECK(use[0].node == s.node[1] && use[0].index == 0);
    CHECK(use[1].node == s.node[2] && use[1].index == 1);
    CHECK(uses.uses[uses.first[s.value[3]]].node == NONE);
    arena_reset(&s.arena);
}

static void test_refused_nodes(void) {
    Sample s;
    NodeId node;
    sample_create(&s);
    CHECK_INT(graph_add_node(s.graph, MAIN_BLOCK, OP_Relu, "", NULL, 1, &s.x, 1, &s.value[0], &node, &s.diag),
              STATUS_BAD_MODEL);
    CHECK_STR(s.diag.text, "value 'a' is produced twice");
    diag_clear(&s.diag);
    ValueId out = graph_add_value(s.graph, "new");
    CHECK_INT(graph_add_node(s.graph, MAIN_BLOCK, OP_Add, "", NULL, 1, &s.x, 1, &out, &node, &s.diag),
              STATUS_BAD_MODEL);
    CHECK_INT(s.graph->node_count, 4); /* nothing is left of them */
    CHECK_INT(s.graph->values[out].producer, NONE);
    arena_reset(&s.arena);
}

static void test_origins(void) {
    Sample s;
    sample_create(&s);
    static const char *const first[] = {"p", "q"}, *const second[] = {"q", "r"};
    s.graph->nodes[s.node[0]].origins = first;
    s.graph->nodes[s.node[0]].origin_count = 2;
    s.graph->nodes[s.node[1]].origins = second;
    s.graph->nodes[s.node[1]].origin_count = 2;
    CHECK(node_add_origins(s.graph, s.node[0], s.node[1]));
    CHECK_INT(s.graph->nodes[s.node[0]].origin_count, 3);
    CHECK_STR(s.graph->nodes[s.node[0]].origins[2], "r");
    arena_reset(&s.arena);
}

/* -- rules -- */

static void break_input(Sample *s) {
    s->graph->nodes[s->node[1]].inputs[0] = 99;
}
static void break_count(Sample *s) {
    s->graph->nodes[s->node[2]].input_count = 1;
}
static void break_required(Sample *s) {
    s->graph->nodes[s->node[2]].inputs[0] = NONE;
}
static void break_parsed(Sample *s) {
    s->graph->nodes[s->node[0]].parsed = NULL;
}
static void break_order(Sample *s) {
    node_move_before(s->graph, s->node[2], s->node[1]);
}
static void break_removed(Sample *s) {
    s->graph->nodes[s->node[3]].op = OP_NONE;
}
static void break_listing(Sample *s) {
    s->graph->blocks[MAIN_BLOCK].nodes[1] = s->node[0];
}
static void break_block(Sample *s) {
    s->graph->nodes[s->node[1]].block = 1;
}
static void break_producer(Sample *s) {
    s->graph->values[s->value[1]].producer = s->node[0];
}
static void break_param(Sample *s) {
    block_add_param(s->graph, MAIN_BLOCK, s->value[1]);
}
static void break_twice(Sample *s) {
    block_add_param(s->graph, MAIN_BLOCK, s->x);
}
static void break_orphan(Sample *s) {
    s->graph->blocks[MAIN_BLOCK].results[0] = graph_add_value(s->graph, "orphan");
}
static void break_result(Sample *s) {
    s->graph->blocks[MAIN_BLOCK].results[0] = -5;
}
static void break_constant(Sample *s) {
    s->graph->values[s->x].data = s;
}
static void break_computed(Sample *s) {
    ValueId c = graph_add_constant_i64(s->graph, "k", 1, (int64_t[]){1});
    s->graph->values[c].producer = s->node[0];
}
static void break_type(Sample *s) {
    sample_type(s);
    s->graph->values[s->value[2]].has_shape = false;
}
static void break_rank(Sample *s) {
    sample_type(s);
    s->graph->values[s->value[2]].shape.rank = 9;
}
static void break_padding(Sample *s) {
    s->graph->values[s->x].channel_padding = 3;
}
static void break_region(Sample *s) {
    RegionId region = graph_add_region(s->graph, s->node[0], "r");
    s->graph->nodes[s->node[0]].region = s->graph->nodes[s->node[2]].region = region;
}
static void break_anchor(Sample *s) {
    s->graph->nodes[s->node[0]].region = graph_add_region(s->graph, s->node[1], "r");
}
static void break_body(Sample *s) {
    AttrList attrs = {0};
    BlockId body = graph_add_block(s->graph, "body", NONE);
    attr_set_block(&attrs, &s->arena, "body", body);
    CHECK_OK(node_set_attrs(s->graph, s->node[0], &attrs, &s->diag), &s->diag);
    CHECK_INT(s->graph->blocks[body].owner, s->node[0]);
    CHECK_OK(graph_verify(s->graph, STATUS_INTERNAL, &s->diag), &s->diag);
    s->graph->blocks[body].owner = s->node[1];
}
static void break_scope(Sample *s) {
    AttrList attrs = {0};
    NodeId inner;
    BlockId body = graph_add_block(s->graph, "body", NONE);
    ValueId out = graph_add_value(s->graph, "inner");
    attr_set_block(&attrs, &s->arena, "body", body);
    CHECK_OK(graph_add_node(s->graph, body, OP_Neg, "", NULL, 1, &s->x, 1, &out, &inner, &s->diag), &s->diag);
    CHECK_OK(node_set_attrs(s->graph, s->node[0], &attrs, &s->diag), &s->diag);
    CHECK_OK(graph_verify(s->graph, STATUS_INTERNAL, &s->diag), &s->diag);
    s->graph->nodes[s->node[1]].inputs[0] = out;
}

/* -- memory -- */

static Buffer *sample_memory(Sample *s) {
    Buffer *buffers = ARENA_ARRAY(&s->arena, Buffer, 2);
    buffers[0] = (Buffer){.size = 16, .first = 0, .last = 2, .offset = 0};
    buffers[1] = (Buffer){.size = 16, .first = 1, .last = 3, .offset = 16};
    sample_type(s);
    s->graph->memory =
        (MemoryPlan){.done = true, .buffer_count = 2, .buffers = buffers, .arena_size = 32, .fixed = true};
    s->graph->values[s->value[0]].buffer = 0;
    s->graph->values[s->value[1]].buffer = 1;
    s->graph->values[s->value[2]].buffer = 1;
    CHECK_OK(graph_verify(s->graph, STATUS_INTERNAL, &s->diag), &s->diag);
    return buffers;
}
static void break_buffer(Sample *s) {
    sample_memory(s);
    s->graph->values[s->value[0]].buffer = 2;
}
static void break_extent(Sample *s) {
    sample_memory(s);
    s->graph->values[s->value[0]].buffer_offset = 4;
}
static void break_lifetime(Sample *s) {
    sample_memory(s)[0].last = 1;
}
static void break_arena(Sample *s) {
    sample_memory(s)[1].offset = 17;
}
static void break_overlap(Sample *s) {
    sample_memory(s)[1].offset = 15;
}
static void break_unplaced(Sample *s) {
    sample_memory(s)[1].offset = -1;
}

static const struct {
    void (*break_graph)(Sample *s);
    const char *message;
} rules[] = {
    {break_input, "sample: node 'b' (Relu): input 0 is value 99 of 5"},
    {break_count, "sample: node 'c' (Add): 1 inputs, expected 2 to 2"},
    {break_required, "sample: node 'c' (Add): required input 0 is omitted"},
    {break_parsed, "sample: node 'a' (Relu): its attributes are not parsed"},
    {break_order, "sample: node 'c' (Add), value 'b': it is used before its definition"},
    {break_removed, "sample: block 'main' lists node 3, which was removed"},
    {break_listing, "sample: node 0 stands in two places"},
    {break_block, "sample: node 'b' (Relu): it stands in block 0 but names block 1"},
    {break_producer,
     "sample: node 'b' (Relu), value 'b': its producer is node 0, output 0; expected node 1, output 0"},
    {break_param, "sample: value 'b': a parameter with a producer"},
    {break_twice, "sample: value 'x': it is defined twice"},
    {break_orphan, "sample: value 'orphan': it has no producer, no data, and is no parameter"},
    {break_result, "sample: result 0 is value -5 of 5"},
    {break_constant, "sample: value 'x': a constant without a type or an exact shape"},
    {break_computed, "sample: value 'k': a constant with a producer"},
    {break_type, "sample: node 'c' (Add), value 'c': it has no type or shape, though others have"},
    {break_rank, "sample: value 'c': rank 9 is outside 0 to 8"},
    {break_padding, "sample: value 'x': channel padding 3 in the plain layout"},
    {break_region, "sample: region 'r' is interrupted"},
    {break_anchor, "sample: the anchor of region 'r' is not in it"},
    {break_body, "sample: node 'a' (Relu): the body 'body' has another owner"},
    {break_scope, "sample: node 'b' (Relu), value 'inner': it is used outside the body that defines it"},
    {break_buffer, "sample: value 'a': it is in buffer 2 of 2"},
    {break_extent, "sample: value 'a': it ends at byte 20 of a buffer of 16"},
    {break_lifetime,
     "sample: node 'c' (Add), value 'a': step 2 touches it, but its buffer 0 lives from step 0 to step 1"},
    {break_arena, "sample: buffer 1 passes the end of the arena (32 bytes)"},
    {break_overlap, "sample: buffers 0 and 1 overlap while both are alive"},
    {break_unplaced, "sample: buffer 1 has no offset in a fixed arena"},
};

static void test_rules(void) {
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i) {
        Sample s;
        char text[2048];
        sample_create(&s);
        CHECK_OK(graph_verify(s.graph, STATUS_INTERNAL, &s.diag), &s.diag);
        rules[i].break_graph(&s);
        CHECK_INT(graph_verify(s.graph, STATUS_INTERNAL, &s.diag), STATUS_INTERNAL);
        diag_format(&s.diag, text, sizeof text);
        CHECK_STR(text, rules[i].message);
        arena_reset(&s.arena);
    }
}

/* Every allocation that can fail does so once, and is reported. */
static void test_memory_faults(void) {
    for (uint64_t n = 1; n < 200; ++n) {
        Allocator allocator = {.fail_at = n};
        Arena arena = {.allocator = &allocator};
        Diag diag = {0};
        Graph *graph;
        ByteWriter out = byte_writer(&arena);
        const char text[] =
            "smelt-ir 1\ngraph \"t\"\nblock \"main\" {\n  input %x : f32[n]\n  %y : f32[n] = Relu(%x) {a = "
            "[1,2]} \"r\"\n  output %y\n}\n";
        Status status = graph_parse(text, sizeof text - 1, "t", NULL, &arena, &graph, &diag);
        if (status == STATUS_OK) status = graph_verify(graph, STATUS_INTERNAL, &diag);
        if (status == STATUS_OK) status = graph_print(graph, NULL, &out, &diag);
        if (allocator.count < n) { /* all of them came through */
            CHECK_OK(status, &diag);
            arena_reset(&arena);
            CHECK_INT(allocator.in_use, 0);
            return;
        }
        CHECK_INT(status, STATUS_NO_MEMORY);
        arena_reset(&arena);
    }
    CHECK(false);
}

int main(void) {
    test_names();
    test_edits();
    test_uses();
    test_refused_nodes();
    test_origins();
    test_rules();
    test_memory_faults();
    return test_result();
}
