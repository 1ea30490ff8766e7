#include "passes/rewrite.h"

#include <string.h>

void release_value(Graph *graph, ValueId id) {
    Value *value = &graph->values[id];
    graph->nodes[value->producer].outputs[value->output_index] = NONE;
    value->producer = NONE;
}

void make_constant(PassCtx *ctx, ValueId value, const void *data) {
    Graph *graph = ctx->graph;
    Value *row = &graph->values[value];
    NodeId producer = row->producer;
    const Node *node = &graph->nodes[producer];
    row->data = data;
    row->content = NULL;
    release_value(graph, value);
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE) return;
    graph_remove_node(graph, producer);
}

/* -- control flow -- */

Status if_branch(const PassCtx *ctx, const Node *node, bool condition, BlockId *out) {
    const char *name = condition ? "then_branch" : "else_branch";
    const Attr *attr = attr_find(&node->attrs, name);
    if (attr == NULL || attr->kind != ATTR_BLOCK)
        return FAIL(ctx->diag, STATUS_INTERNAL, "an If without '%s'", name);
    *out = (BlockId)attr->ints[0];
    return STATUS_OK;
}

/* Gives `output`, which has lost its producer, the value of `result`: as another name of it where a node of
 * the body computes it, else as a copy. */
static Status take_result(PassCtx *ctx, NodeId node, const NodeId *moved, int32_t moved_count, ValueId result,
                          ValueId output) {
    Graph *graph = ctx->graph;
    Value *from = &graph->values[result], *to = &graph->values[output];
    bool from_body = false;
    for (int32_t i = 0; i < moved_count && from->producer != NONE; ++i)
        from_body = from_body || moved[i] == from->producer;
    const char *name = to->name;
    *to = *from;
    to->name = name;
    to->data = NULL;
    to->producer = NONE;
    if (!from_body) {
        NodeId copy;
        return graph_insert_node(graph, node, true, OP_Identity, "", NULL, 1, &result, 1, &output, &copy,
                                 ctx->diag);
    }
    to->producer = from->producer;
    graph->nodes[to->producer].outputs[to->output_index] = output;
    from->producer = NONE;
    graph_replace_uses(graph, result, output);
    return STATUS_OK;
}

Status inline_body(PassCtx *ctx, NodeId node, BlockId body) {
    Graph *graph = ctx->graph;
    int32_t output_count = graph->nodes[node].output_count, moved_count = graph->blocks[body].node_count;
    const NodeId *moved = graph->blocks[body].nodes;
    ValueId *outputs = ARENA_ARRAY(ctx->scratch, ValueId, output_count);
    TRY_ALLOC(ctx->diag, outputs);
    if (output_count > 0) memcpy(outputs, graph->nodes[node].outputs, (size_t)output_count * sizeof *outputs);
    if (graph->blocks[body].param_count != 0 || graph->blocks[body].result_count < output_count)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "a branch gives %d results, expected %d",
                    graph->blocks[body].result_count, output_count);
    if (!block_splice(graph, node, body)) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < output_count; ++i)
        if (outputs[i] != NONE) release_value(graph, outputs[i]);
    for (int32_t i = 0; i < output_count; ++i) {
        /* A result that is given twice has by now become the earlier output. */
        ValueId result = graph->blocks[body].results[i];
        bool taken = false;
        for (int32_t k = 0; k < i && !taken; ++k) taken = outputs[k] == result;
        if (outputs[i] != NONE)
            TRY(take_result(ctx, node, moved, taken ? 0 : moved_count, result, outputs[i]));
    }
    graph_remove_node(graph, node);
    return STATUS_OK;
}

/* -- new nodes -- */

Status infer_outputs(Graph *graph, NodeId id, Arena *scratch, Diag *diag) {
    const Node *node = &graph->nodes[id];
    TypeInfo *types = ARENA_ARRAY(scratch, TypeInfo, (size_t)node->input_count + (size_t)node->output_count);
    const TypeInfo **inputs = ARENA_ARRAY(scratch, const TypeInfo *, node->input_count);
    TRY_ALLOC(diag, types);
    TRY_ALLOC(diag, inputs);
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (node->inputs[i] == NONE) continue;
        const Value *value = &graph->values[node->inputs[i]];
        types[i] = (TypeInfo){value->dtype, value->shape, value->data, value->content};
        inputs[i] = &types[i];
        if (value->dtype == DTYPE_NONE || !value->has_shape)
            return FAIL(diag, STATUS_INTERNAL, "input %d '%s' has no type", i, value->name);
    }
    InferCtx infer = {.attrs = node->parsed,
                      .input_count = node->input_count,
                      .output_count = node->output_count,
                      .inputs = inputs,
                      .outputs = types + node->input_count,
                      .dims = graph->dims,
                      .arena = graph->arena, /* content stays with the value */
                      .diag = diag};
    TRY(op_infer(node->op, &infer));
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        Value *value = &graph->values[node->outputs[i]];
        value->dtype = infer.outputs[i].dtype;
        value->has_shape = true;
        value->shape = infer.outputs[i].shape;
        value->content = infer.outputs[i].content;
    }
    return STATUS_OK;
}

/* A -1 says nothing beside an extent of 0. */
bool reshape_target(DimTable *dims, const Shape *from, const Shape *to, int64_t target[SMELT_MAX_RANK]) {
    int32_t unknown = 0;
    bool may_be_empty = false;
    for (int32_t i = 0; i < to->rank; ++i) {
        target[i] = to->dim[i];
        if (target[i] == 0) return false;
        if (dim_is_exact(target[i])) continue;
        target[i] = i < from->rank && from->dim[i] == to->dim[i] ? 0 : -1;
        if (target[i] == -1)
            unknown++;
        else
            may_be_empty = may_be_empty || !dim_known_at_least(dims, to->dim[i], 1);
    }
    return unknown == 0 || (unknown == 1 && !may_be_empty);
}

/* -- dead code -- */

typedef struct Marker {
    Graph *graph;
    bool *used; /* per value */
} Marker;

static void mark_ids(Marker *m, int32_t count, const ValueId *ids) {
    for (int32_t i = 0; i < count; ++i)
        if (ids[i] != NONE) m->used[ids[i]] = true;
}

static bool is_used(const Marker *m, const Node *node) {
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE && m->used[node->outputs[i]]) return true;
    return false;
}

/* Backwards: users come before what they use, bodies before what stands in front of their owner. */
static void mark_block(Marker *m, BlockId id) {
    const Block *block = &m->graph->blocks[id];
    mark_ids(m, block->result_count, block->results);
    for (int32_t i = block->node_count - 1; i >= 0; --i) {
        const Node *node = &m->graph->nodes[block->nodes[i]];
        if (!is_used(m, node)) continue;
        mark_ids(m, node->input_count, node->inputs);
        for (int32_t k = 0; k < node->attrs.count; ++k)
            if (node->attrs.items[k].kind == ATTR_BLOCK) mark_block(m, (BlockId)node->attrs.items[k].ints[0]);
    }
}

/* Outputs that nobody reads are no longer asked for; a node without others goes. */
static bool sweep_node(PassCtx *ctx, const Marker *m, NodeId id) {
    Node *node = &ctx->graph->nodes[id];
    bool used = is_used(m, node);
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE || m->used[node->outputs[i]]) continue;
        ctx->graph->values[node->outputs[i]].producer = NONE;
        if (used) pass_count_add(ctx, "outputs_dropped", 1);
        if (used) node->outputs[i] = NONE;
    }
    if (!used) {
        node->op = OP_NONE;
        node->region = NONE;
        pass_count_add(ctx, "removed", 1);
    }
    return used;
}

static void sweep(PassCtx *ctx, const Marker *m) {
    Graph *graph = ctx->graph;
    for (BlockId b = 0; b < graph->block_count; ++b) {
        Block *block = &graph->blocks[b];
        int32_t kept = 0;
        for (int32_t i = 0; i < block->node_count; ++i)
            if (sweep_node(ctx, m, block->nodes[i])) block->nodes[kept++] = block->nodes[i];
        block_set_nodes(graph, b, kept, block->nodes);
    }
}

Status remove_dead(PassCtx *ctx) {
    Marker m = {.graph = ctx->graph, .used = ARENA_ARRAY(ctx->scratch, bool, ctx->graph->value_count)};
    TRY_ALLOC(ctx->diag, m.used);
    mark_block(&m, MAIN_BLOCK);
    sweep(ctx, &m);
    return STATUS_OK;
}

bool dim_may_be_one(DimTable *dims, Dim dim) {
    int64_t low, high;
    dim_bounds(dims, dim, &low, &high);
    return low <= 1 && high >= 1 && dim_divisor(dims, dim) == 1;
}

bool squeeze_is_assumed(const Graph *graph, const Node *node) {
    if (node->op != OP_Squeeze || (node->input_count > 1 && node->inputs[1] != NONE)) return false;
    const Shape *shape = &graph->values[node->inputs[0]].shape;
    for (int32_t i = 0; i < shape->rank; ++i)
        if (!dim_is_exact(shape->dim[i]) && dim_may_be_one(graph->dims, shape->dim[i])) return true;
    return false;
}
