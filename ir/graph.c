#include "ir/graph.h"

#include <inttypes.h>
#include <string.h>

Graph *graph_create(Arena *arena, const char *name) {
    Graph *graph = ARENA_NEW(arena, Graph);
    if (graph == NULL) return NULL;
    graph->arena = arena;
    graph->name = arena_strdup(arena, name);
    graph->source = graph->name;
    graph->dims = dim_table_create(arena);
    if (graph->name == NULL || graph->dims == NULL) return NULL;
    return graph_add_block(graph, "main", NONE) == MAIN_BLOCK ? graph : NULL;
}

/* -- values -- */

/* A name that no value has: the wanted one, else one made from it. */
static char *fresh_name(Graph *graph, const char *wanted) {
    bool named = wanted != NULL && wanted[0] != '\0';
    if (named && name_map_find(&graph->value_names, wanted) < 0) return arena_strdup(graph->arena, wanted);
    for (int64_t number = named ? 1 : graph->value_count;; ++number) {
        char *name = named ? arena_printf(graph->arena, "%s.%" PRId64, wanted, number)
                           : arena_printf(graph->arena, "%%%" PRId64, number);
        if (name == NULL || name_map_find(&graph->value_names, name) < 0) return name;
        /* Many copies of one name would make counting quadratic. */
        if (number < graph->value_count) number = graph->value_count;
    }
}

ValueId graph_add_value(Graph *graph, const char *name) {
    if (!ARENA_RESERVE(graph->arena, graph->values, graph->value_count, graph->value_capacity)) return NONE;
    char *unique = fresh_name(graph, name);
    if (unique == NULL || !name_map_set(&graph->value_names, graph->arena, unique, graph->value_count))
        return NONE;
    graph->values[graph->value_count] = (Value){.name = unique, .producer = NONE, .buffer = NONE};
    return graph->value_count++;
}

ValueId graph_add_constant(Graph *graph, const char *name, DType dtype, int32_t rank, const int64_t *dims,
                           const void *data) {
    if (rank < 0 || rank > SMELT_MAX_RANK || data == NULL) return NONE;
    ValueId id = graph_add_value(graph, name);
    if (id == NONE) return NONE;
    Value *value = &graph->values[id];
    value->dtype = dtype;
    value->has_shape = true;
    value->shape.rank = rank;
    if (rank > 0) memcpy(value->shape.dim, dims, (size_t)rank * sizeof *dims);
    value->data = data;
    return id;
}

ValueId graph_add_constant_i64(Graph *graph, const char *name, int32_t count, const int64_t *values) {
    int64_t *copy = count < 0 ? NULL : ARENA_ARRAY(graph->arena, int64_t, count);
    if (copy == NULL) return NONE;
    if (count > 0) memcpy(copy, values, (size_t)count * sizeof *values);
    int64_t dim = count;
    return graph_add_constant(graph, name, DTYPE_I64, 1, &dim, copy);
}

ValueId graph_find_value(const Graph *graph, const char *name) {
    return name_map_find(&graph->value_names, name);
}

bool value_is_exact(const Value *value) {
    return value->has_shape && shape_is_exact(&value->shape);
}

int64_t value_count(const Value *value) {
    int64_t count = 1;
    for (int32_t i = 0; i < value->shape.rank; ++i) count *= value->shape.dim[i];
    return count;
}

/* -- blocks -- */

BlockId graph_add_block(Graph *graph, const char *name, NodeId owner) {
    if (!ARENA_RESERVE(graph->arena, graph->blocks, graph->block_count, graph->block_capacity)) return NONE;
    char *copy = arena_strdup(graph->arena, name == NULL ? "" : name);
    if (copy == NULL) return NONE;
    graph->blocks[graph->block_count] = (Block){.name = copy, .owner = owner};
    return graph->block_count++;
}

/* Params and results have no capacity of their own: they grow when their count is a power of two. */
static bool append_id(Arena *arena, ValueId **items, int32_t *count, ValueId id) {
    if ((*count & (*count - 1)) == 0) {
        if (*count > INT32_MAX / 2) return false;
        size_t wanted = *count == 0 ? 1 : (size_t)*count * 2;
        ValueId *grown = arena_grow(arena, *items, (size_t)*count, wanted, sizeof id);
        if (grown == NULL) return false;
        *items = grown;
    }
    (*items)[(*count)++] = id;
    return true;
}

bool block_add_param(Graph *graph, BlockId block, ValueId value) {
    Block *row = &graph->blocks[block];
    return append_id(graph->arena, &row->params, &row->param_count, value);
}

bool block_add_result(Graph *graph, BlockId block, ValueId value) {
    Block *row = &graph->blocks[block];
    return append_id(graph->arena, &row->results, &row->result_count, value);
}

bool graph_name_output(Graph *graph, int32_t output, const char *name) {
    const char *copy = arena_strdup(graph->arena, name);
    if (copy == NULL || !ARENA_RESERVE(graph->arena, graph->output_names, graph->output_name_count,
                                       graph->output_name_capacity))
        return false;
    graph->output_names[graph->output_name_count++] = (OutputName){output, copy};
    return true;
}

const char *graph_output_name(const Graph *graph, int32_t output) {
    for (int32_t i = 0; i < graph->output_name_count; ++i)
        if (graph->output_names[i].output == output) return graph->output_names[i].name;
    return graph->values[graph->blocks[MAIN_BLOCK].results[output]].name;
}

bool block_is_live(const Graph *graph, BlockId block) {
    for (int32_t steps = 0; steps <= graph->block_count; ++steps) {
        if (block == MAIN_BLOCK) return true;
        if (block < 0 || block >= graph->block_count) return false;
        NodeId owner = graph->blocks[block].owner;
        if (owner < 0 || owner >= graph->node_count || graph->nodes[owner].op == OP_NONE) return false;
        block = graph->nodes[owner].block;
    }
    return false; /* a cycle */
}

RegionId graph_add_region(Graph *graph, NodeId anchor, const char *name) {
    if (!ARENA_RESERVE(graph->arena, graph->regions, graph->region_count, graph->region_capacity))
        return NONE;
    char *copy = arena_strdup(graph->arena, name);
    if (copy == NULL) return NONE;
    graph->regions[graph->region_count] = (Region){.anchor = anchor, .name = copy};
    return graph->region_count++;
}

/* -- nodes -- */

static int32_t trimmed_count(int32_t count, const ValueId *ids) {
    while (count > 0 && ids[count - 1] == NONE) count--;
    return count;
}

static Status copy_ids(Graph *graph, int32_t count, const ValueId *ids, ValueId **out, Diag *diag) {
    *out = ARENA_ARRAY(graph->arena, ValueId, count);
    TRY_ALLOC(diag, *out);
    for (int32_t i = 0; i < count; ++i) {
        if (ids[i] < NONE || ids[i] >= graph->value_count)
            return FAIL(diag, STATUS_INTERNAL, "operand %d is value %d of %d", i, ids[i], graph->value_count);
        (*out)[i] = ids[i];
    }
    return STATUS_OK;
}

static Status check_outputs(const Graph *graph, const Node *node, Diag *diag) {
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        const Value *value = &graph->values[node->outputs[i]];
        bool twice = value->producer != NONE || value->data != NULL;
        for (int32_t j = 0; j < i && !twice; ++j) twice = node->outputs[j] == node->outputs[i];
        if (twice) return FAIL(diag, STATUS_BAD_MODEL, "value '%s' is produced twice", value->name);
    }
    return STATUS_OK;
}

/* Copies attrs into the node, claims its bodies, and parses. `id` is the node's id, even if its row does not
 * exist yet. */
static Status set_attrs(Graph *graph, Node *node, NodeId id, const AttrList *attrs, Diag *diag) {
    AttrList copy = {0};
    if (attrs != NULL && !attr_copy(attrs, &copy, graph->arena))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < copy.count; ++i) {
        if (copy.items[i].kind != ATTR_BLOCK) continue;
        int64_t block = copy.items[i].ints[0];
        if (block <= MAIN_BLOCK || block >= graph->block_count ||
            (graph->blocks[block].owner != NONE && graph->blocks[block].owner != id))
            return FAIL(diag, STATUS_INTERNAL, "attribute '%s' names block %" PRId64 ", which it cannot own",
                        copy.items[i].name, block);
    }
    uint64_t present = 0;
    for (int32_t i = 0; i < node->input_count && i < 64; ++i)
        if (node->inputs[i] != NONE) present |= (uint64_t)1 << i;
    ParseCtx ctx = {.list = &copy,
                    .input_count = node->input_count,
                    .output_count = node->output_count,
                    .inputs_present = present,
                    .arena = graph->arena,
                    .diag = diag};
    const void *parsed = NULL;
    TRY(op_parse(node->op, &ctx, &parsed));
    for (int32_t i = 0; i < copy.count; ++i)
        if (copy.items[i].kind == ATTR_BLOCK) graph->blocks[copy.items[i].ints[0]].owner = id;
    node->attrs = copy;
    node->parsed = parsed;
    return STATUS_OK;
}

static Status block_insert(Graph *graph, BlockId block, int32_t position, NodeId id, Diag *diag) {
    Block *row = &graph->blocks[block];
    if (!ARENA_RESERVE(graph->arena, row->nodes, row->node_count, row->node_capacity))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    memmove(row->nodes + position + 1, row->nodes + position,
            (size_t)(row->node_count - position) * sizeof *row->nodes);
    row->nodes[position] = id;
    row->node_count++;
    return STATUS_OK;
}

typedef struct NodeSpec {
    OpId op;
    const char *name;
    const AttrList *attrs;
    int32_t input_count, output_count;
    const ValueId *inputs, *outputs;
} NodeSpec;

static Status add_node_at(Graph *graph, BlockId block, int32_t position, const NodeSpec *spec, NodeId *out,
                          Diag *diag) {
    *out = NONE;
    if (!ARENA_RESERVE(graph->arena, graph->nodes, graph->node_count, graph->node_capacity))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    NodeId id = graph->node_count;
    Node node = {.op = spec->op,
                 .name = arena_strdup(graph->arena, spec->name == NULL ? "" : spec->name),
                 .input_count = trimmed_count(spec->input_count, spec->inputs),
                 .output_count = spec->output_count,
                 .block = block,
                 .region = NONE,
                 .place = position};
    TRY_ALLOC(diag, node.name);
    TRY(copy_ids(graph, node.input_count, spec->inputs, &node.inputs, diag));
    TRY(copy_ids(graph, node.output_count, spec->outputs, &node.outputs, diag));
    TRY(check_outputs(graph, &node, diag));
    TRY(set_attrs(graph, &node, id, spec->attrs, diag));
    TRY(block_insert(graph, block, position, id, diag));
    for (int32_t i = 0; i < node.output_count; ++i) {
        if (node.outputs[i] == NONE) continue;
        graph->values[node.outputs[i]].producer = id;
        graph->values[node.outputs[i]].output_index = i;
    }
    graph->nodes[graph->node_count++] = node;
    *out = id;
    return STATUS_OK;
}

Status graph_add_node(Graph *graph, BlockId block, OpId op, const char *name, const AttrList *attrs,
                      int32_t input_count, const ValueId *inputs, int32_t output_count,
                      const ValueId *outputs, NodeId *out, Diag *diag) {
    NodeSpec spec = {op, name, attrs, input_count, output_count, inputs, outputs};
    return add_node_at(graph, block, graph->blocks[block].node_count, &spec, out, diag);
}

Status graph_insert_node(Graph *graph, NodeId anchor, bool before, OpId op, const char *name,
                         const AttrList *attrs, int32_t input_count, const ValueId *inputs,
                         int32_t output_count, const ValueId *outputs, NodeId *out, Diag *diag) {
    NodeSpec spec = {op, name, attrs, input_count, output_count, inputs, outputs};
    int32_t position = node_position(graph, anchor) + (before ? 0 : 1);
    return add_node_at(graph, graph->nodes[anchor].block, position, &spec, out, diag);
}

Status node_set_attrs(Graph *graph, NodeId node, const AttrList *attrs, Diag *diag) {
    return set_attrs(graph, &graph->nodes[node], node, attrs, diag);
}

const char *node_title(const Graph *graph, NodeId node) {
    const Node *row = &graph->nodes[node];
    if (row->name[0] != '\0') return row->name;
    for (int32_t i = 0; i < row->output_count; ++i)
        if (row->outputs[i] != NONE) return graph->values[row->outputs[i]].name;
    return "";
}

bool node_add_origins(Graph *graph, NodeId to, NodeId from) {
    Node *row = &graph->nodes[to];
    const Node *other = &graph->nodes[from];
    const char **merged =
        ARENA_ARRAY(graph->arena, const char *, (size_t)row->origin_count + (size_t)other->origin_count);
    if (merged == NULL) return false;
    int32_t count = row->origin_count;
    if (count > 0) memcpy(merged, row->origins, (size_t)count * sizeof *merged);
    for (int32_t i = 0; i < other->origin_count; ++i) {
        bool known = false;
        for (int32_t j = 0; j < row->origin_count && !known; ++j)
            known = strcmp(merged[j], other->origins[i]) == 0;
        if (!known) merged[count++] = other->origins[i];
    }
    row->origins = merged;
    row->origin_count = count;
    return true;
}

/* -- messages -- */

void diag_node(Diag *diag, const Graph *graph, NodeId node) {
    const Node *row = &graph->nodes[node];
    const char *name = row->name;
    for (int32_t i = 0; i < row->output_count && name[0] == '\0'; ++i)
        if (row->outputs[i] != NONE) name = graph->values[row->outputs[i]].name;
    const char *op = row->op == OP_NONE ? "removed" : op_def(row->op)->name;
    diag_context(diag, DIAG_NODE, "node '%s' (%s)", name, op);
}

void diag_value(Diag *diag, const Graph *graph, ValueId value) {
    diag_context(diag, DIAG_TENSOR, "value '%s'", graph->values[value].name);
}
