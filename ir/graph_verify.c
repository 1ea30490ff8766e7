/* The rules that every graph keeps between passes, each with one message. */
#include "ir/graph_verify.h"

#include <inttypes.h>

/* -- operands and counts -- */

static Status check_ids(Verify *v, const char *what, int32_t count, const ValueId *ids, bool may_omit) {
    for (int32_t i = 0; i < count; ++i) {
        if (ids[i] == NONE && may_omit) continue;
        if (ids[i] < 0 || ids[i] >= v->graph->value_count)
            return RULE(v, "%s %d is value %d of %d", what, i, ids[i], v->graph->value_count);
    }
    return STATUS_OK;
}

static Status check_counts(Verify *v, const Node *node) {
    const OpDef *def = op_def(node->op);
    if (node->input_count < def->min_in || node->input_count > def->max_in)
        return RULE(v, "%d inputs, expected %d to %d", node->input_count, def->min_in, def->max_in);
    if (node->output_count < def->min_out || node->output_count > def->max_out)
        return RULE(v, "%d outputs, expected %d to %d", node->output_count, def->min_out, def->max_out);
    for (int32_t i = 0; i < def->min_in; ++i)
        if (node->inputs[i] == NONE) return RULE(v, "required input %d is omitted", i);
    return STATUS_OK;
}

/* The attributes still pass the operator's parser, and the parsed struct is there where it makes one. */
static Status check_attrs(Verify *v, const Node *node) {
    Diag reason = {0};
    const void *parsed = NULL;
    uint64_t present = 0;
    for (int32_t i = 0; i < node->input_count && i < 64; ++i)
        if (node->inputs[i] != NONE) present |= (uint64_t)1 << i;
    ParseCtx ctx = {.list = &node->attrs,
                    .input_count = node->input_count,
                    .output_count = node->output_count,
                    .inputs_present = present,
                    .arena = v->scratch,
                    .diag = &reason};
    Status status = op_parse(node->op, &ctx, &parsed);
    if (status == STATUS_NO_MEMORY) return FAIL(v->diag, status, "out of memory");
    if (status != STATUS_OK) return RULE(v, "%s", reason.text);
    if ((parsed == NULL) != (node->parsed == NULL)) return RULE(v, "its attributes are not parsed");
    return STATUS_OK;
}

/* -- values -- */

static Status check_type(Verify *v, const Value *value) {
    if (value->dtype != DTYPE_NONE && !dtype_is_valid(value->dtype))
        return RULE(v, "no element type has the number %d", (int)value->dtype);
    if (value->has_shape && (value->shape.rank < 0 || value->shape.rank > SMELT_MAX_RANK))
        return RULE(v, "rank %d is outside 0 to %d", value->shape.rank, SMELT_MAX_RANK);
    for (int32_t i = 0; value->has_shape && i < value->shape.rank; ++i)
        if (dim_is_exact(value->shape.dim[i]) && value->shape.dim[i] < 0)
            return RULE(v, "dimension %d is %" PRId64, i, value->shape.dim[i]);
    if (value->channel_padding < 0 || (value->channel_padding > 0 && value->layout == LAYOUT_PLAIN))
        return RULE(v, "channel padding %d in the plain layout", value->channel_padding);
    if (value->strides != NULL && (!value->has_shape || value->data != NULL))
        return RULE(v, "strides of a constant, or without a shape");
    for (int32_t i = 0; value->strides != NULL && i < value->shape.rank; ++i)
        if (dim_is_exact(value->strides[i]) && value->strides[i] < 0)
            return RULE(v, "stride %d is %" PRId64, i, value->strides[i]);
    return STATUS_OK;
}

static Status check_constant(Verify *v, const Value *value) {
    size_t bytes;
    if (value->dtype == DTYPE_NONE || !value_is_exact(value))
        return RULE(v, "a constant without a type or an exact shape");
    if (!dims_storage(value->dtype, value->shape.rank, value->shape.dim, &bytes))
        return RULE(v, "a constant of too many elements");
    if (value->producer != NONE) return RULE(v, "a constant with a producer");
    return STATUS_OK;
}

static Status check_value(Verify *v, ValueId id) {
    const Value *value = &v->graph->values[id];
    Status status = check_type(v, value);
    if (status == STATUS_OK && value->data != NULL) status = check_constant(v, value);
    if (status == STATUS_OK) return status;
    diag_value(v->diag, v->graph, id);
    return status;
}

/* -- definitions and uses -- */

static Status fail_value(Verify *v, ValueId id, Status status) {
    diag_value(v->diag, v->graph, id);
    return status;
}

/* Makes a value visible, for its first time. */
static Status define(Verify *v, ValueId id) {
    if (v->graph->values[id].data != NULL) return fail_value(v, id, RULE(v, "a constant that is computed"));
    if (v->scope[id] != SCOPE_UNSEEN) return fail_value(v, id, RULE(v, "it is defined twice"));
    v->scope[id] = SCOPE_OPEN;
    return STATUS_OK;
}

static Status check_use(Verify *v, ValueId id) {
    if (v->graph->values[id].data != NULL || v->scope[id] == SCOPE_OPEN) return STATUS_OK;
    if (v->scope[id] == SCOPE_CLOSED)
        return fail_value(v, id, RULE(v, "it is used outside the body that defines it"));
    if (v->graph->values[id].producer == NONE)
        return fail_value(v, id, RULE(v, "it has no producer, no data, and is no parameter"));
    return fail_value(v, id, RULE(v, "it is used before its definition"));
}

/* After inference every value has a type; before it, none needs one. */
static Status check_inferred(Verify *v, ValueId id) {
    const Value *value = &v->graph->values[id];
    if (!v->inferred || (value->dtype != DTYPE_NONE && value->has_shape)) return STATUS_OK;
    return fail_value(v, id, RULE(v, "it has no type or shape, though others have"));
}

static Status check_outputs(Verify *v, NodeId id, const Node *node) {
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        const Value *value = &v->graph->values[node->outputs[i]];
        if (value->producer != id || value->output_index != i)
            return fail_value(v, node->outputs[i],
                              RULE(v, "its producer is node %d, output %d; expected node %d, output %d",
                                   value->producer, value->output_index, id, i));
        TRY(define(v, node->outputs[i]));
        TRY(check_inferred(v, node->outputs[i]));
    }
    return STATUS_OK;
}

/* -- blocks -- */

static Status check_block(Verify *v, BlockId id, int32_t depth);

static Status check_bodies(Verify *v, NodeId id, const Node *node, int32_t depth) {
    for (int32_t i = 0; i < node->attrs.count; ++i) {
        const Attr *attr = &node->attrs.items[i];
        if (attr->kind != ATTR_BLOCK) continue;
        int64_t body = attr->ints[0];
        if (body <= MAIN_BLOCK || body >= v->graph->block_count)
            return RULE(v, "attribute '%s' names block %" PRId64 " of %d", attr->name, body,
                        v->graph->block_count);
        if (v->graph->blocks[body].owner != id || v->entered[body])
            return RULE(v, "the body '%s' has another owner", attr->name);
        TRY(check_block(v, (BlockId)body, depth + 1));
    }
    return STATUS_OK;
}

static Status check_node(Verify *v, BlockId block, NodeId id, int32_t depth) {
    const Node *node = &v->graph->nodes[id];
    if (node->block != block) return RULE(v, "it stands in block %d but names block %d", block, node->block);
    TRY(check_ids(v, "input", node->input_count, node->inputs, true));
    TRY(check_ids(v, "output", node->output_count, node->outputs, true));
    TRY(check_counts(v, node));
    TRY(check_attrs(v, node));
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE) TRY(check_use(v, node->inputs[i]));
    TRY(check_bodies(v, id, node, depth));
    return check_outputs(v, id, node);
}

static Status check_listing(Verify *v, const Block *block, NodeId id) {
    if (id < 0 || id >= v->graph->node_count)
        return RULE(v, "block '%s' lists node %d of %d", block->name, id, v->graph->node_count);
    if (v->graph->nodes[id].op <= OP_NONE || v->graph->nodes[id].op >= OP_COUNT)
        return RULE(v, "block '%s' lists node %d, which was removed", block->name, id);
    if (v->listed[id]) return RULE(v, "node %d stands in two places", id);
    v->listed[id] = true;
    return STATUS_OK;
}

static Status check_params(Verify *v, const Block *block) {
    TRY(check_ids(v, "parameter", block->param_count, block->params, false));
    for (int32_t i = 0; i < block->param_count; ++i) {
        if (v->graph->values[block->params[i]].producer != NONE)
            return fail_value(v, block->params[i], RULE(v, "a parameter with a producer"));
        TRY(define(v, block->params[i]));
    }
    return STATUS_OK;
}

/* What the block defines can't be seen from outside. */
static void close_scope(Verify *v, const Block *block) {
    for (int32_t i = 0; i < block->param_count; ++i) v->scope[block->params[i]] = SCOPE_CLOSED;
    for (int32_t i = 0; i < block->node_count; ++i) {
        const Node *node = &v->graph->nodes[block->nodes[i]];
        for (int32_t k = 0; k < node->output_count; ++k)
            if (node->outputs[k] != NONE) v->scope[node->outputs[k]] = SCOPE_CLOSED;
    }
}

/* Users tell outputs apart by their names. */
static Status check_output_names(Verify *v) {
    const Graph *graph = v->graph;
    NameMap names = {0};
    for (int32_t i = 0; graph->output_name_count > 0 && i < graph->blocks[MAIN_BLOCK].result_count; ++i) {
        const char *name = graph_output_name(graph, i);
        if (name_map_find(&names, name) >= 0) return RULE(v, "two outputs are called '%s'", name);
        if (!name_map_set(&names, v->scratch, name, i))
            return FAIL(v->diag, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

static Status check_block(Verify *v, BlockId id, int32_t depth) {
    const Block *block = &v->graph->blocks[id];
    if (depth > GRAPH_MAX_NESTING) return RULE(v, "bodies nest deeper than %d", GRAPH_MAX_NESTING);
    v->entered[id] = true;
    TRY(check_params(v, block));
    for (int32_t i = 0; i < block->node_count; ++i) {
        TRY(check_listing(v, block, block->nodes[i]));
        Status status = check_node(v, id, block->nodes[i], depth);
        if (status != STATUS_OK) diag_node(v->diag, v->graph, block->nodes[i]);
        TRY(status);
    }
    TRY(check_ids(v, "result", block->result_count, block->results, false));
    for (int32_t i = 0; i < block->result_count; ++i) TRY(check_use(v, block->results[i]));
    if (id != MAIN_BLOCK) close_scope(v, block);
    return STATUS_OK;
}

/* -- regions -- */

/* Nodes of a region follow one another in one block. Nothing outside can then stand on a path between two
 * of them: regions are convex. */
static Status check_regions_of(Verify *v, const Block *block, bool *closed) {
    RegionId open = NONE;
    for (int32_t i = 0; i < block->node_count; ++i) {
        RegionId region = v->graph->nodes[block->nodes[i]].region;
        if (region < NONE || region >= v->graph->region_count)
            return RULE(v, "node %d is in region %d of %d", block->nodes[i], region, v->graph->region_count);
        if (region == open) continue;
        if (open != NONE) closed[open] = true;
        if (region != NONE && closed[region])
            return RULE(v, "region '%s' is interrupted", v->graph->regions[region].name);
        open = region;
    }
    if (open != NONE) closed[open] = true;
    return STATUS_OK;
}

static Status check_regions(Verify *v) {
    const Graph *graph = v->graph;
    bool *closed = ARENA_ARRAY(v->scratch, bool, graph->region_count);
    TRY_ALLOC(v->diag, closed);
    for (BlockId b = 0; b < graph->block_count; ++b)
        if (v->entered[b]) TRY(check_regions_of(v, &graph->blocks[b], closed));
    for (RegionId r = 0; r < graph->region_count; ++r) {
        NodeId anchor = graph->regions[r].anchor;
        if (!closed[r] || anchor == NONE) continue;
        if (anchor < 0 || anchor >= graph->node_count || graph->nodes[anchor].region != r ||
            !v->listed[anchor])
            return RULE(v, "the anchor of region '%s' is not in it", graph->regions[r].name);
    }
    return STATUS_OK;
}

/* -- all -- */

static bool find_inferred(const Graph *graph) {
    for (ValueId v = 0; v < graph->value_count; ++v)
        if (graph->values[v].producer != NONE && graph->values[v].has_shape) return true;
    return false;
}

static Status verify(Verify *v) {
    const Graph *graph = v->graph;
    v->scope = ARENA_ARRAY(v->scratch, uint8_t, graph->value_count);
    v->listed = ARENA_ARRAY(v->scratch, bool, graph->node_count);
    v->entered = ARENA_ARRAY(v->scratch, bool, graph->block_count);
    TRY_ALLOC(v->diag, v->scope);
    TRY_ALLOC(v->diag, v->listed);
    TRY_ALLOC(v->diag, v->entered);
    v->inferred = find_inferred(graph);
    if (graph->blocks[MAIN_BLOCK].owner != NONE) return RULE(v, "the main block has an owner");
    for (ValueId id = 0; id < graph->value_count; ++id) TRY(check_value(v, id));
    TRY(check_block(v, MAIN_BLOCK, 0));
    TRY(check_output_names(v));
    TRY(check_regions(v));
    return graph->memory.done ? verify_memory(v) : STATUS_OK;
}

Status graph_verify(const Graph *graph, Status failure, Diag *diag) {
    Arena scratch = {.allocator = graph->arena->allocator};
    Verify v = {.graph = graph, .failure = failure, .diag = diag, .scratch = &scratch};
    Status status = verify(&v);
    if (status != STATUS_OK) diag_context(diag, DIAG_FILE, "%s", graph->source);
    arena_reset(&scratch);
    return status;
}
