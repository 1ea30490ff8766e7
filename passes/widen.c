#include "passes/widen.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "passes/rewrite.h"

typedef struct Widening {
    PassCtx *ctx;
    Graph *graph;
    Joiner *joiner;
    int32_t count;
    const Unit *const *units;
    const Unit *first;
    int64_t width;   /* output channels of all */
    ValueId input;   /* what the wide anchor reads */
    NodeId before;   /* the first unit's anchor: new nodes go before it */
    RegionId region; /* of the new nodes */
    ValueId *made;   /* per place in the unit: the wide value */
    NodeId last;     /* newest node */
} Widening;

static Join join_along(const Widening *w, DType dtype, int32_t rank, int32_t axis) {
    Join join = {.dtype = dtype, .rank = rank, .axis = axis, .count = w->count};
    for (int32_t i = 0; i < rank; ++i) join.dims[i] = 1;
    join.dims[axis] = w->width;
    for (int32_t i = 0; i < join.count; ++i) join.widths[i] = w->units[i]->width;
    return join;
}

static Status join_weights(const Widening *w, ValueId *out) {
    const Value *like = &w->graph->values[w->first->weights];
    Join join = join_along(w, like->dtype, like->shape.rank, w->first->weight_axis);
    for (int32_t i = 0; i < join.rank; ++i)
        if (i != join.axis) join.dims[i] = like->shape.dim[i];
    for (int32_t i = 0; i < join.count; ++i) join.parts[i] = w->units[i]->weights;
    return join_constants(w->ctx, w->joiner, &join, like->name, out);
}

/* One element per channel, of which each member has its own, a single one, or (NONE) zeros; aligned with the
 * channel axis of a result from the right. */
static Status join_channels(const Widening *w, DType dtype, const ValueId parts[JOIN_PARTS], int32_t rank,
                            const char *name, ValueId *out) {
    Join join = join_along(w, dtype, rank, 0);
    memcpy(join.parts, parts, sizeof join.parts);
    return join_constants(w->ctx, w->joiner, &join, name, out);
}

/* A value like that of the first member, as wide as all. */
static Status widen_value(const Widening *w, ValueId like, int32_t axis, ValueId *out) {
    Graph *graph = w->graph;
    *out = graph_add_value(graph, graph->values[like].name);
    if (*out == NONE) return FAIL(w->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    Value *value = &graph->values[*out];
    value->dtype = graph->values[like].dtype;
    value->has_shape = true;
    value->shape = graph->values[like].shape;
    value->shape.dim[axis] = w->width;
    return STATUS_OK;
}

/* The anchor of the unit that stands first. */
static NodeId earliest(const Graph *graph, int32_t count, const Unit *const *units) {
    NodeId first = units[0]->nodes[0];
    for (int32_t i = 1; i < count; ++i)
        if (node_position(graph, units[i]->nodes[0]) < node_position(graph, first))
            first = units[i]->nodes[0];
    return first;
}

/* Adds a node to the wide step. */
static Status add_node(Widening *w, OpId op, const char *name, const AttrList *attrs, int32_t input_count,
                       const ValueId *inputs, int32_t output_count, const ValueId *outputs) {
    TRY(graph_insert_node(w->graph, w->before, true, op, name, attrs, input_count, inputs, output_count,
                          outputs, &w->last, w->ctx->diag));
    w->graph->nodes[w->last].region = w->region;
    return STATUS_OK;
}

/* The newest node stands for this node of a member, too. */
static Status add_origin(const Widening *w, NodeId node) {
    return node_add_origins(w->graph, w->last, node) ? STATUS_OK
                                                     : FAIL(w->ctx->diag, STATUS_NO_MEMORY, "out of memory");
}

static bool has_bias(const Widening *w) {
    for (int32_t i = 0; i < w->count; ++i)
        if (w->units[i]->bias != NONE) return true;
    return false;
}

static Status join_bias(const Widening *w, ValueId *out) {
    ValueId parts[JOIN_PARTS] = {0};
    *out = NONE;
    if (!has_bias(w)) return STATUS_OK;
    const Value *like = NULL;
    for (int32_t i = 0; i < w->count; ++i) {
        parts[i] = w->units[i]->bias;
        if (parts[i] != NONE) like = &w->graph->values[parts[i]];
    }
    return join_channels(w, like->dtype, parts, 1, like->name, out);
}

/* Slices of the input keep to the filters of their own unit. */
static Status wide_attrs(const Widening *w, const Node *like, AttrList *out) {
    int64_t groups = 0;
    if (!attr_copy(&like->attrs, out, w->graph->arena))
        return FAIL(w->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    if (w->input == w->first->input) return STATUS_OK;
    for (int32_t i = 0; i < w->count; ++i) groups += w->units[i]->groups;
    return attr_set_int(out, w->graph->arena, "group", groups)
               ? STATUS_OK
               : FAIL(w->ctx->diag, STATUS_NO_MEMORY, "out of memory");
}

/* The anchor and its bias. A matrix product has no input for one and is followed by an Add. */
static Status widen_anchor(Widening *w) {
    Graph *graph = w->graph;
    const Node like = graph->nodes[w->first->nodes[0]];
    ValueId inputs[3] = {w->input, NONE, NONE}, operands[2];
    TRY(join_weights(w, &inputs[1]));
    TRY(join_bias(w, &inputs[2]));
    TRY(widen_value(w, like.outputs[0], w->first->axis[0], &w->made[0]));
    bool apart = like.op == OP_MatMul;
    AttrList attrs;
    TRY(wide_attrs(w, &like, &attrs));
    TRY(add_node(w, like.op, like.name, &attrs, apart || inputs[2] == NONE ? 2 : 3, inputs, 1, w->made));
    graph->regions[w->region].anchor = w->last;
    for (int32_t i = 0; i < w->count; ++i) TRY(add_origin(w, w->units[i]->nodes[0]));
    if (!apart || inputs[2] == NONE) return STATUS_OK;
    operands[0] = w->made[0];
    operands[1] = inputs[2];
    TRY(widen_value(w, w->first->head, w->first->axis[0], &w->made[0]));
    const char *name = "";
    for (int32_t i = 0; i < w->count && name[0] == '\0'; ++i)
        if (w->units[i]->core == 2) name = graph->nodes[w->units[i]->nodes[1]].name;
    TRY(add_node(w, OP_Add, name, NULL, 2, operands, 1, w->made));
    for (int32_t i = 0; i < w->count; ++i)
        if (w->units[i]->core == 2) TRY(add_origin(w, w->units[i]->nodes[1]));
    return STATUS_OK;
}

static bool constants_agree(const Graph *graph, const ValueId *parts, int32_t count) {
    const Value *first = &graph->values[parts[0]];
    for (int32_t i = 0; i < count; ++i) {
        const Value *value = &graph->values[parts[i]];
        if (value_count(value) != 1 ||
            memcmp(value->data, first->data, (size_t)dtype_bits(first->dtype) / 8) != 0)
            return false;
    }
    return true;
}

/* The extents of a Reshape that keeps the channels last. */
static Status widen_extents(const Widening *w, ValueId like, ValueId *out) {
    const Value *value = &w->graph->values[like];
    int64_t extents[SMELT_MAX_RANK] = {0}, count = value_count(value);
    memcpy(extents, value->data, (size_t)count * sizeof *extents);
    if (extents[count - 1] != -1) extents[count - 1] = w->width;
    *out = graph_add_constant_i64(w->graph, value->name, (int32_t)count, extents);
    return *out == NONE ? FAIL(w->ctx->diag, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

/* Input `input` of node k of the units' cores, for all of them. */
static Status widen_operand(const Widening *w, int32_t k, int32_t input, ValueId *out) {
    const Graph *graph = w->graph;
    ValueId parts[JOIN_PARTS] = {0};
    for (int32_t i = 0; i < w->count; ++i) {
        const Unit *unit = w->units[i];
        parts[i] = graph->nodes[unit->nodes[unit->core + k]].inputs[input];
    }
    int32_t place = parts[0] == NONE ? -1 : unit_place(graph, w->first, parts[0]);
    *out = place >= 0 ? w->made[place] : parts[0];
    if (parts[0] == NONE || place >= 0 || !value_is_constant(graph, parts[0]) ||
        constants_agree(graph, parts, w->count))
        return STATUS_OK;
    if (graph->nodes[w->first->nodes[w->first->core + k]].op == OP_Reshape)
        return widen_extents(w, parts[0], out);
    const Value *like = &graph->values[parts[0]];
    int32_t rank = graph->values[w->made[k + 1]].shape.rank - w->first->axis[k + 1];
    return join_channels(w, like->dtype, parts, rank, like->name, out);
}

static Status widen_core_node(Widening *w, int32_t k) {
    Graph *graph = w->graph;
    const Node like = graph->nodes[w->first->nodes[w->first->core + k]];
    ValueId *inputs = ARENA_ARRAY(w->ctx->scratch, ValueId, like.input_count);
    TRY_ALLOC(w->ctx->diag, inputs);
    TRY(widen_value(w, like.outputs[0], w->first->axis[k + 1], &w->made[k + 1]));
    for (int32_t i = 0; i < like.input_count; ++i) TRY(widen_operand(w, k, i, &inputs[i]));
    TRY(add_node(w, like.op, like.name, &like.attrs, like.input_count, inputs, 1, &w->made[k + 1]));
    for (int32_t i = 0; i < w->count; ++i) {
        const Unit *unit = w->units[i];
        TRY(add_origin(w, unit->nodes[unit->core + k]));
    }
    return STATUS_OK;
}

/* 0 for units with a Relu, minus infinity for the others. */
static Status join_floors(const Widening *w, ValueId *out) {
    Graph *graph = w->graph;
    DType dtype = graph->values[w->first->result].dtype;
    ValueId parts[JOIN_PARTS] = {0}, scalars[2];
    const double floors[] = {-INFINITY, 0};
    for (int32_t i = 0; i < 2; ++i) {
        void *data = arena_alloc(graph->arena, sizeof(double));
        TRY_ALLOC(w->ctx->diag, data);
        dtype_store_f64(dtype, data, 0, floors[i]);
        scalars[i] = graph_add_constant(graph, NULL, dtype, 0, NULL, data);
        if (scalars[i] == NONE) return FAIL(w->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    }
    for (int32_t i = 0; i < w->count; ++i) parts[i] = scalars[w->units[i]->floored];
    return join_channels(w, dtype, parts, graph->values[w->first->result].shape.rank - w->first->result_axis,
                         NULL, out);
}

/* Relu where all have one, Max with a floor per channel where some have: Relu(x) is max(x, 0). */
static Status widen_floor(Widening *w, ValueId *value) {
    Graph *graph = w->graph;
    int32_t floored = 0;
    const Unit *like = w->first;
    for (int32_t i = w->count - 1; i >= 0; --i) {
        floored += w->units[i]->floored;
        if (w->units[i]->floored) like = w->units[i];
    }
    if (floored == 0) return STATUS_OK;
    const char *name = graph->nodes[like->nodes[like->count - 1]].name;
    ValueId inputs[2] = {*value, NONE};
    bool all = floored == w->count;
    if (!all) TRY(join_floors(w, &inputs[1]));
    TRY(widen_value(w, like->result, w->first->result_axis, value));
    TRY(add_node(w, all ? OP_Relu : OP_Max, name, NULL, all ? 1 : 2, inputs, 1, value));
    for (int32_t i = 0; i < w->count; ++i) {
        const Unit *unit = w->units[i];
        if (unit->floored) TRY(add_origin(w, unit->nodes[unit->count - 1]));
    }
    if (!all) pass_count_add(w->ctx, "floors", 1);
    return STATUS_OK;
}

/* Takes the results from the units. */
static Status add_split(Widening *w, ValueId whole) {
    Graph *graph = w->graph;
    AttrList attrs = {0};
    ValueId inputs[2] = {whole, NONE}, results[JOIN_PARTS];
    int64_t widths[JOIN_PARTS];
    for (int32_t i = 0; i < w->count; ++i) {
        const Unit *unit = w->units[i];
        release_value(graph, unit->result);
        widths[i] = unit->width;
        results[i] = unit->result;
    }
    inputs[1] = graph_add_constant_i64(graph, NULL, w->count, widths);
    if (inputs[1] == NONE || !attr_set_int(&attrs, graph->arena, "axis", w->first->result_axis))
        return FAIL(w->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return add_node(w, OP_Split, "", &attrs, 2, inputs, w->count, results);
}

/* A target that cannot end a step with a Split has it as a step of its own. */
static void part_split(const Widening *w) {
    Graph *graph = w->graph;
    NodeId anchor = graph->regions[w->region].anchor;
    const Block *block = &graph->blocks[graph->nodes[anchor].block];
    int32_t first = node_position(graph, anchor), last = node_position(graph, w->last);
    if (pass_target_refuses(w->ctx, NULL, block->nodes + first, last - first + 1) == NULL) return;
    graph->nodes[w->last].region = NONE;
    if (last - first == 1) graph->nodes[anchor].region = NONE;
}

Status widen_units(PassCtx *ctx, Joiner *joiner, int32_t count, const Unit *const *units, ValueId input,
                   Wide *out) {
    Graph *graph = ctx->graph;
    const Unit *first = units[0];
    RegionId old = graph->nodes[first->nodes[0]].region;
    const char *step =
        old == NONE ? op_def(graph->nodes[first->nodes[0]].op)->name : graph->regions[old].name;
    char *name = arena_printf(graph->arena, "%s x%d", step, count);
    TRY_ALLOC(ctx->diag, name);
    for (char *c = name; *c != '\0'; ++c) *c = (char)tolower((unsigned char)*c);
    Widening w = {.ctx = ctx,
                  .graph = graph,
                  .joiner = joiner,
                  .count = count,
                  .units = units,
                  .first = first,
                  .input = input,
                  .before = earliest(graph, count, units)};
    for (int32_t i = 0; i < count; ++i) w.width += units[i]->width;
    w.region = graph_add_region(graph, NONE, name);
    w.made = ARENA_ARRAY(ctx->scratch, ValueId, first->core_count + 1);
    TRY_ALLOC(ctx->diag, w.made);
    if (w.region == NONE) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(widen_anchor(&w));
    for (int32_t k = 0; k < first->core_count; ++k) TRY(widen_core_node(&w, k));
    out->whole = w.made[unit_place(graph, first, first->tail)];
    TRY(widen_floor(&w, &out->whole));
    TRY(add_split(&w, out->whole));
    out->split = w.last;
    for (int32_t i = 0; i < count; ++i)
        for (int32_t k = 0; k < units[i]->step_count; ++k) {
            if (k < units[i]->count) graph_remove_node(graph, units[i]->nodes[k]);
            graph->nodes[units[i]->nodes[k]].region = NONE;
        }
    part_split(&w);
    return STATUS_OK;
}
