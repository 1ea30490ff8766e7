/* plan_memory: inputs of Concat that are made in their place in the result, and results of Split and Slice
 * that stay where they lie in the operand. Neither is then copied.
 *
 * On the host that takes parts whose bytes follow one another in the whole. A target that reads and writes
 * through strides takes any part, if it can still run every step that makes or reads it. */
#include "passes/memory.h"

/* The nodes of the step that a node of the main block belongs to. */
static const NodeId *step_nodes(const Planner *p, NodeId id, int32_t *count) {
    const Block *block = &p->graph->blocks[MAIN_BLOCK];
    int32_t first = step_begin(p->graph, block, p->positions[id]);
    *count = step_end(p->graph, block, first) - first;
    return block->nodes + first;
}

/* Why the target cannot run these nodes as a step with their values as they lie now. */
static const char *nodes_refuse(const Planner *p, const NodeId *nodes, int32_t count) {
    if (p->ctx->target != NULL) return pass_target_refuses(p->ctx, &p->uses, nodes, count);
    for (int32_t i = 0; i < count; ++i) {
        const OpDef *def = op_def(p->graph->nodes[nodes[i]].op);
        if (def->op_class != OPCLASS_POINTWISE && (def->flags & OPF_STRIDED) == 0)
            return "a neighbour takes no slices";
    }
    return NULL;
}

static const char *step_refuses(const Planner *p, NodeId id) {
    int32_t count;
    const NodeId *nodes = step_nodes(p, id, &count);
    return nodes_refuse(p, nodes, count);
}

static bool node_joins(const Graph *graph, NodeId id) {
    return graph->nodes[id].op == OP_Concat;
}

/* Every part has its place in the whole: the step does nothing. */
static bool step_vanishes(const Planner *p, NodeId id) {
    const Node *node = &p->graph->nodes[id];
    bool joins = node->op == OP_Concat;
    int32_t count = joins ? node->input_count : node->output_count;
    if (!joins && node->op != OP_Split && node->op != OP_Slice) return false;
    for (int32_t i = 0; i < count; ++i) {
        ValueId part = joins ? node->inputs[i] : node->outputs[i];
        ValueId whole = joins ? node->outputs[0] : node->inputs[0];
        if (part != NONE && (p->slots[part].within != whole || p->slots[part].index != i)) return false;
    }
    return true;
}

/* -- whether a value may lie in a place -- */

static const char *stored_elsewhere(const Planner *p, ValueId value) {
    const Graph *graph = p->graph;
    if (value_is_constant(graph, value)) return "it is a constant";
    if (p->lives[value].outside && graph->values[value].producer == NONE) return "it is a graph input";
    if (p->lives[value].outside) return "it is a graph output";
    if (memory_is_late(graph, value)) return "its size depends on data";
    if (p->lives[value].block != MAIN_BLOCK || graph->values[value].producer == NONE)
        return "it comes from outside the main block";
    return dtype_bits(graph->values[value].dtype) % 8 != 0 ? "its elements share bytes" : NULL;
}

static const char *unlike(const Value *part, const Value *whole) {
    if (part->layout != whole->layout) return "it has another layout";
    return part->channel_padding != 0 || whole->channel_padding != 0 ? "its channels are padded" : NULL;
}

/* The part's elements lie in the whole as they would lie alone. */
static bool is_dense_part(const Graph *graph, const Part *part) {
    Dim own[SMELT_MAX_RANK], strides[SMELT_MAX_RANK];
    const Shape *shape = &graph->values[part->part].shape;
    value_strides(graph, part->part, own);
    value_strides(graph, part->whole, strides);
    for (int32_t i = 0; i < shape->rank; ++i)
        if (shape->dim[i] != 1 && own[i] != strides[i]) return false;
    return true;
}

/* A value that reads or makes `value` as a view of it would need its elements to follow one another. */
static bool has_views(const Planner *p, ValueId value) {
    const Graph *graph = p->graph;
    const Value *row = &graph->values[value];
    if (row->output_index == 0 && (op_def(graph->nodes[row->producer].op)->flags & OPF_VIEW) != 0)
        return true;
    for (int32_t i = p->uses.first[value]; i < p->uses.first[value + 1]; ++i) {
        const struct Use *use = &p->uses.uses[i];
        if (use->node != NONE && use->index == 0 &&
            (op_def(graph->nodes[use->node].op)->flags & OPF_VIEW) != 0)
            return true;
    }
    return false;
}

/* Asks the target about every step that makes or reads the value as it lies now, but for one. */
static const char *neighbours_refuse(const Planner *p, ValueId value, NodeId except) {
    const Graph *graph = p->graph;
    NodeId producer = graph->values[value].producer;
    const char *why = NULL;
    if (producer != except && !step_vanishes(p, producer) && graph->nodes[producer].op != OP_Concat)
        why = step_refuses(p, producer);
    for (int32_t i = p->uses.first[value]; why == NULL && i < p->uses.first[value + 1]; ++i) {
        const struct Use *use = &p->uses.uses[i];
        if (use->node == except || use->node == NONE) continue;
        if (graph->nodes[use->node].block != MAIN_BLOCK) return "a body reads it";
        if (!step_vanishes(p, use->node)) why = step_refuses(p, use->node);
    }
    return why;
}

/* The device has what host steps make only once somebody there reads it: what nothing moves must be made on
 * the device. */
static bool made_on_host(const Planner *p, ValueId value) {
    const Graph *graph = p->graph;
    for (;;) {
        NodeId producer = graph->values[value].producer;
        if (p->ctx->target == NULL || producer == NONE) return false;
        if (step_vanishes(p, producer)) return false; /* its parts are looked at themselves */
        if (graph->values[value].output_index != 0 || !memory_is_view(graph, &graph->nodes[producer]))
            return step_refuses(p, producer) != NULL;
        value = graph->nodes[producer].inputs[0];
    }
}

static const char *try_strided(Planner *p, const Part *part, NodeId node) {
    Value *value = &p->graph->values[part->part];
    if (!p->ctx->strided) return "its bytes do not follow one another";
    if (has_views(p, part->part)) return "it is, or has, a view, and its bytes do not follow one another";
    Dim *strides = ARENA_ARRAY(p->graph->arena, Dim, SMELT_MAX_RANK);
    if (strides == NULL) return "out of memory";
    value_strides(p->graph, part->whole, strides);
    value->strides = strides;
    const char *why = neighbours_refuse(p, part->part, node);
    if (why != NULL) value->strides = NULL;
    return why;
}

/* Takes a value's place within another one from it, and with it those of the parts that count on it. */
static void forget_slot(Planner *p, ValueId value) {
    bool strided = p->graph->values[value].strides != NULL;
    p->slots[value].within = NONE;
    p->graph->values[value].strides = NULL;
    pass_count_add(p->ctx, "slices", -1);
    for (ValueId v = 0; strided && v < p->graph->value_count; ++v)
        if (p->slots[v].within == value) forget_slot(p, v);
}

/* Gives the part its slot, or says why not. */
static const char *try_part(Planner *p, const Part *part, int32_t index, NodeId node) {
    const Graph *graph = p->graph;
    if (!part->known) return "where it begins is not known";
    const char *why = stored_elsewhere(p, part->part);
    if (why == NULL && made_on_host(p, node_joins(graph, node) ? part->part : part->whole))
        why = "a host step makes it";
    if (why == NULL) why = unlike(&graph->values[part->part], &graph->values[part->whole]);
    if (why == NULL && p->slots[part->part].within != NONE) why = "it has a place in another tensor";
    if (why == NULL && !is_dense_part(graph, part)) why = try_strided(p, part, node);
    if (why != NULL) return why;
    p->slots[part->part] =
        (Slot){.within = part->whole, .offset = part_offset(graph, part), .node = node, .index = index};
    pass_count_add(p->ctx, "slices", 1);
    return NULL;
}

/* -- Concat -- */

/* The values that `value` is a view of get its place. */
static const char *pull_viewed(Planner *p, ValueId value) {
    const Graph *graph = p->graph;
    ValueId shown = value;
    for (;;) {
        const Value *row = &graph->values[shown];
        const Node *node = &graph->nodes[row->producer];
        if (row->output_index != 0 || !memory_is_view(graph, node)) break;
        shown = node->inputs[0];
        if (stored_elsewhere(p, shown) != NULL) return "it is a view of an input, output or constant";
        if (p->slots[shown].within != NONE) return "it is a view of a tensor with another place";
    }
    for (ValueId at = value; at != shown;) {
        ValueId next = graph->nodes[graph->values[at].producer].inputs[0];
        p->slots[next] = (Slot){.within = at, .node = NONE, .index = -1};
        at = next;
    }
    return NULL;
}

static const char *try_input(Planner *p, const Part *part, int32_t index, NodeId node) {
    const char *why = try_part(p, part, index, node);
    if (why != NULL || p->graph->values[part->part].strides != NULL) return why;
    why = pull_viewed(p, part->part);
    if (why != NULL) forget_slot(p, part->part);
    return why;
}

static Status slot_concat(Planner *p, NodeId id) {
    ValueId whole = p->graph->nodes[id].outputs[0];
    Part *parts;
    int32_t count;
    const char *why = stored_elsewhere(p, whole);
    if (why != NULL) {
        pass_reject(p->ctx, id, "its result: %s", why);
        return STATUS_OK;
    }
    if (!parts_find(p->graph, id, p->ctx->scratch, &parts, &count))
        return FAIL(p->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < count; ++i) {
        why = try_input(p, &parts[i], i, id);
        if (why != NULL) pass_reject(p->ctx, id, "input %d: %s", i, why);
    }
    return STATUS_OK;
}

/* -- Split and Slice -- */

/* Bytes of the whole that its parts keep alive, beyond its own last use, without need. */
static bool wastes_memory(const Planner *p, const Part *parts, int32_t count) {
    Dim kept = 0, all = memory_bytes(p->graph, parts[0].whole);
    int32_t last = -1;
    for (int32_t i = 0; i < count; ++i) {
        if (parts[i].part == NONE) continue;
        kept = dim_add(p->graph->dims, kept, memory_bytes(p->graph, parts[i].part));
        if (p->lives[parts[i].part].last_step > last) last = p->lives[parts[i].part].last_step;
    }
    if (last <= p->lives[parts[0].whole].last_step) return false;
    return !dim_is_exact(kept) || !dim_is_exact(all) ? kept != all : kept < all / 2;
}

static Status slot_split(Planner *p, NodeId id) {
    Part *parts;
    int32_t count;
    if (!parts_find(p->graph, id, p->ctx->scratch, &parts, &count))
        return FAIL(p->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    if (count == 0) return STATUS_OK;
    const char *why = stored_elsewhere(p, parts[0].whole);
    if (why == NULL && wastes_memory(p, parts, count)) why = "most of it would be kept for a small part";
    if (why != NULL) {
        pass_reject(p->ctx, id, "its operand: %s", why);
        return STATUS_OK;
    }
    for (int32_t i = 0; i < count; ++i) {
        if (parts[i].part == NONE) continue;
        why = try_part(p, &parts[i], i, id);
        if (why != NULL) pass_reject(p->ctx, id, "output %d: %s", i, why);
    }
    return STATUS_OK;
}

/* -- all -- */

static bool forget_strided(Planner *p, int32_t count, const ValueId *values) {
    bool found = false;
    for (int32_t i = 0; i < count; ++i) {
        if (values[i] == NONE || p->graph->values[values[i]].strides == NULL) continue;
        forget_slot(p, values[i]);
        found = true;
    }
    return found;
}

/* A step that the target cannot run with its values as they all lie now gets none that are strided. */
static bool relieve_step(Planner *p, const NodeId *nodes, int32_t count) {
    bool strided = false, found = false;
    for (int32_t n = 0; n < count; ++n) {
        const Node *node = &p->graph->nodes[nodes[n]];
        for (int32_t i = 0; i < node->input_count; ++i)
            if (node->inputs[i] != NONE && p->graph->values[node->inputs[i]].strides != NULL) strided = true;
        for (int32_t i = 0; i < node->output_count; ++i)
            if (node->outputs[i] != NONE && p->graph->values[node->outputs[i]].strides != NULL)
                strided = true;
    }
    if (!strided || step_vanishes(p, nodes[0]) || nodes_refuse(p, nodes, count) == NULL) return false;
    pass_reject(p->ctx, nodes[0], "no kernel takes all of its slices");
    for (int32_t n = 0; n < count; ++n) {
        const Node *node = &p->graph->nodes[nodes[n]];
        if (forget_strided(p, node->input_count, node->inputs)) found = true;
        if (forget_strided(p, node->output_count, node->outputs)) found = true;
    }
    return found;
}

static bool relieve_all(Planner *p) {
    const Block *block = &p->graph->blocks[MAIN_BLOCK];
    bool found = false;
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        end = step_end(p->graph, block, first);
        if (relieve_step(p, block->nodes + first, end - first)) found = true;
    }
    return found;
}

static bool may_slice(const Planner *p, NodeId id) {
    /* the host runs a region's nodes one after another */
    bool alone = p->graph->nodes[id].region == NONE || !p->ctx->strided;
    return alone && !p->banned[id];
}

Status memory_find_slots(Planner *p) {
    const Graph *graph = p->graph;
    const Block *block = &graph->blocks[MAIN_BLOCK];
    p->slots = ARENA_ARRAY(p->ctx->scratch, Slot, graph->value_count);
    TRY_ALLOC(p->ctx->diag, p->slots);
    for (ValueId v = 0; v < graph->value_count; ++v) p->slots[v].within = NONE;
    /* Outer ones first: their strides are those of the inner. */
    for (int32_t i = block->node_count - 1; i >= 0; --i)
        if (graph->nodes[block->nodes[i]].op == OP_Concat && may_slice(p, block->nodes[i]))
            TRY(slot_concat(p, block->nodes[i]));
    for (int32_t i = 0; i < block->node_count; ++i) {
        const Node *node = &graph->nodes[block->nodes[i]];
        if ((node->op == OP_Split || node->op == OP_Slice) && may_slice(p, block->nodes[i]))
            TRY(slot_split(p, block->nodes[i]));
    }
    /* Slots are only taken away: this ends. */
    while (p->ctx->strided && relieve_all(p)) continue;
    return STATUS_OK;
}
