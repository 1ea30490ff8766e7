/* The rule of values that share a buffer: whoever is written takes no byte of another value that is still
 * needed, but of one that it overwrites in place. Views, and parts that lie in their place in the whole, are
 * the same data as what they show: nothing is written for them. */
#include "base/footprint.h"
#include "ir/graph_verify.h"
#include "ops/movement.h"

typedef struct Tenant {
    int32_t first, last; /* nodes, in the order in which they run: that makes it, that needs it last */
    ValueId same;        /* another value with the same data, or itself */
    ValueId older;       /* made before it in its buffer, or NONE */
    Footprint footprint;
} Tenant;

typedef struct Overlap {
    Verify *v;
    const Graph *graph;
    Tenant *tenants;    /* per value */
    BlockId *home;      /* per value: the block that makes it */
    ValueId *newest;    /* per buffer */
    int32_t *node_time; /* per node: when it is done */
    int32_t time, comparisons;
} Overlap;

/* -- times -- */

static void note_use(Overlap *o, ValueId value, BlockId block, int32_t time) {
    while (block != o->home[value] && o->graph->blocks[block].owner != NONE) {
        time = o->node_time[o->graph->blocks[block].owner];
        block = o->graph->nodes[o->graph->blocks[block].owner].block;
    }
    if (time > o->tenants[value].last) o->tenants[value].last = time;
}

/* Numbers a block's nodes, and those of bodies before their owners; notes who makes what. */
static void number_block(Overlap *o, BlockId id) {
    const Block *block = &o->graph->blocks[id];
    for (int32_t i = 0; i < block->param_count; ++i) o->home[block->params[i]] = id;
    for (int32_t n = 0; n < block->node_count; ++n) {
        const Node *node = &o->graph->nodes[block->nodes[n]];
        for (int32_t i = 0; i < node->attrs.count; ++i)
            if (node->attrs.items[i].kind == ATTR_BLOCK)
                number_block(o, (BlockId)node->attrs.items[i].ints[0]);
        o->node_time[block->nodes[n]] = ++o->time;
        for (int32_t i = 0; i < node->output_count; ++i) {
            if (node->outputs[i] == NONE) continue;
            o->home[node->outputs[i]] = id;
            o->tenants[node->outputs[i]].first = o->tenants[node->outputs[i]].last = o->time;
        }
    }
}

static void note_uses(Overlap *o, BlockId id) {
    const Block *block = &o->graph->blocks[id];
    for (int32_t n = 0; n < block->node_count; ++n) {
        const Node *node = &o->graph->nodes[block->nodes[n]];
        for (int32_t i = 0; i < node->attrs.count; ++i)
            if (node->attrs.items[i].kind == ATTR_BLOCK) note_uses(o, (BlockId)node->attrs.items[i].ints[0]);
        for (int32_t i = 0; i < node->input_count; ++i)
            if (node->inputs[i] != NONE) note_use(o, node->inputs[i], id, o->node_time[block->nodes[n]]);
    }
    int32_t end = block->owner == NONE ? INT32_MAX : o->node_time[block->owner];
    for (int32_t i = 0; i < block->result_count; ++i) note_use(o, block->results[i], id, end);
}

static Footprint find_footprint(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    Dim own[SMELT_MAX_RANK];
    int64_t extents[SMELT_MAX_RANK], strides[SMELT_MAX_RANK];
    int bits = dtype_bits(value->dtype);
    value_strides(graph, id, own);
    for (int32_t i = 0; i < value->shape.rank; ++i) {
        extents[i] = dim_is_exact(value->shape.dim[i]) ? value->shape.dim[i] : -1;
        strides[i] = dim_is_exact(own[i]) ? own[i] : -1;
    }
    if (bits % 8 != 0) return (Footprint){.begin = 0, .end = INT64_MAX};
    return footprint_of(dim_is_exact(value->buffer_offset) ? value->buffer_offset : -1, bits / 8,
                        value->shape.rank, extents, strides);
}

/* -- the same data -- */

static ValueId find_same(Overlap *o, ValueId value) {
    while (o->tenants[value].same != value)
        value = o->tenants[value].same = o->tenants[o->tenants[value].same].same;
    return value;
}

static bool lies_like(const Graph *graph, ValueId a, ValueId b) {
    const Value *first = &graph->values[a], *second = &graph->values[b];
    return first->buffer == second->buffer && first->buffer_offset == second->buffer_offset;
}

static Status join_same(Overlap *o, NodeId id) {
    const Graph *graph = o->graph;
    const Node *node = &graph->nodes[id];
    Part *parts;
    int32_t count;
    if ((op_def(node->op)->flags & OPF_VIEW) != 0 && node->inputs[0] != NONE && node->outputs[0] != NONE &&
        graph->values[node->outputs[0]].buffer != NONE && lies_like(graph, node->inputs[0], node->outputs[0]))
        o->tenants[find_same(o, node->outputs[0])].same = find_same(o, node->inputs[0]);
    if (part_count(node->op, node->input_count, node->output_count) == 0) return STATUS_OK;
    if (!parts_find(graph, id, o->v->scratch, &parts, &count))
        return FAIL(o->v->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < count; ++i)
        if (parts[i].part != NONE && part_is_in_place(graph, &parts[i]))
            o->tenants[find_same(o, parts[i].part)].same = find_same(o, parts[i].whole);
    return STATUS_OK;
}

/* -- writing -- */

/* Output 0 of the node takes the exact place of an operand that nobody needs any more. */
static bool is_in_place(const Overlap *o, const Node *node, ValueId input, ValueId output, int32_t time) {
    const Graph *graph = o->graph;
    bool reads = false;
    for (int32_t i = 0; i < node->input_count; ++i) reads = reads || node->inputs[i] == input;
    return reads && output == node->outputs[0] && (op_def(node->op)->flags & OPF_IN_PLACE) != 0 &&
           o->tenants[input].last == time && lies_like(graph, input, output) &&
           graph->values[input].dtype == graph->values[output].dtype &&
           o->tenants[input].footprint.end == o->tenants[output].footprint.end;
}

/* The operand of a region that output 0 of one of its nodes takes the exact place of, when the values between
 * them are in no memory. */
static bool is_region_in_place(const Overlap *o, const Node *node, ValueId input, ValueId output,
                               int32_t time) {
    const Graph *graph = o->graph;
    int32_t last = o->tenants[input].last;
    if (node->region == NONE || !lies_like(graph, input, output) || last > time ||
        graph->values[input].dtype != graph->values[output].dtype)
        return false;
    for (int32_t i = 0; i < node->input_count; ++i) {
        ValueId between = node->inputs[i];
        if (between == NONE || graph->values[between].buffer != NONE) continue;
        NodeId producer = graph->values[between].producer;
        if (producer != NONE && graph->nodes[producer].region == node->region) return true;
    }
    return false;
}

static Status check_written(Overlap *o, NodeId id, ValueId output) {
    enum { MAX_COMPARISONS = 1 << 24 };
    const Graph *graph = o->graph;
    BufferId buffer = graph->values[output].buffer;
    Tenant *own = &o->tenants[output];
    if (buffer == NONE) return STATUS_OK;
    own->footprint = find_footprint(graph, output);
    for (ValueId other = o->newest[buffer]; other != NONE; other = o->tenants[other].older) {
        const Tenant *tenant = &o->tenants[other];
        if (++o->comparisons > MAX_COMPARISONS) break;
        if (tenant->last < own->first || find_same(o, other) == find_same(o, output)) continue;
        if (tenant->footprint.end == INT64_MAX || own->footprint.end == INT64_MAX) continue;
        if (footprint_apart(&tenant->footprint, &own->footprint)) continue;
        const Node *node = &graph->nodes[id];
        if (is_in_place(o, node, other, output, own->first) ||
            is_region_in_place(o, node, other, output, own->first))
            continue;
        diag_node(o->v->diag, graph, id);
        return RULE(o->v, "'%s' is written over '%s', which is still needed", graph->values[output].name,
                    graph->values[other].name);
    }
    own->older = o->newest[buffer];
    o->newest[buffer] = output;
    return STATUS_OK;
}

static Status check_block(Overlap *o, BlockId id) {
    const Block *block = &o->graph->blocks[id];
    for (int32_t n = 0; n < block->node_count; ++n) {
        const Node *node = &o->graph->nodes[block->nodes[n]];
        for (int32_t i = 0; i < node->attrs.count; ++i)
            if (node->attrs.items[i].kind == ATTR_BLOCK)
                TRY(check_block(o, (BlockId)node->attrs.items[i].ints[0]));
        TRY(join_same(o, block->nodes[n]));
        for (int32_t i = 0; i < node->output_count; ++i)
            if (node->outputs[i] != NONE) TRY(check_written(o, block->nodes[n], node->outputs[i]));
    }
    return STATUS_OK;
}

Status verify_overlap(Verify *v) {
    const Graph *graph = v->graph;
    Overlap o = {.v = v, .graph = graph};
    o.tenants = ARENA_ARRAY(v->scratch, Tenant, graph->value_count);
    o.home = ARENA_ARRAY(v->scratch, BlockId, graph->value_count);
    o.newest = ARENA_ARRAY(v->scratch, ValueId, graph->memory.buffer_count);
    o.node_time = ARENA_ARRAY(v->scratch, int32_t, graph->node_count);
    TRY_ALLOC(v->diag, o.tenants);
    TRY_ALLOC(v->diag, o.home);
    TRY_ALLOC(v->diag, o.newest);
    TRY_ALLOC(v->diag, o.node_time);
    for (ValueId i = 0; i < graph->value_count; ++i) {
        o.tenants[i] = (Tenant){.same = i, .older = NONE};
        o.home[i] = MAIN_BLOCK;
    }
    for (BufferId i = 0; i < graph->memory.buffer_count; ++i) o.newest[i] = NONE;
    number_block(&o, MAIN_BLOCK);
    note_uses(&o, MAIN_BLOCK);
    return check_block(&o, MAIN_BLOCK);
}
