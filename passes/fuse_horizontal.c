/* fuse_horizontal: contractions that read one value and do the same with it become one wider contraction.
 *
 * Their weights, biases and per-channel constants are laid one behind the other along the output channels,
 * the nodes behind them are done once, and a Split at the end of the same step gives the old results: each
 * output channel is the same sum as before. The wide step stands where the first of them stood. What is saved
 * is a launch for each and reading the input more than once; what it may cost is memory, since all results
 * are there from the first step on, and the copy that a Split is where slices cannot be used in place. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "passes/join_constants.h"
#include "passes/pressure.h"
#include "passes/siblings.h"

enum {
    MOST_SIBLINGS = JOIN_PARTS,
    MOST_COMPARED = 64,     /* candidates that one is compared with */
    MOST_DISTANCE = 4096,   /* steps between the first and the last */
    LAUNCH_BYTES = 1 << 20, /* that a GPU moves while it starts a kernel, about */
    PEAK_SLACK = 1 << 16,
    PEAK_SHARE = 16 /* the peak may grow by one part in so many */
};

typedef struct Candidate {
    Unit unit;
    ValueId input;
    int32_t step;
    int32_t next;      /* candidate that reads the same value; NONE */
    bool merged, told; /* it is part of a wider step; it was said why it does not go with another */
    const char *why;   /* it cannot be merged at all; NULL */
} Candidate;

typedef struct Fusion {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
    Pressure pressure;
    int64_t peak_limit;
    int32_t count, capacity;
    Candidate *candidates;
    int32_t *first, *last; /* candidates per value that they read; NONE */
    Joiner joiner;
} Fusion;

/* Siblings on trial. */
typedef struct Group {
    int32_t count;
    Candidate *members[MOST_SIBLINGS];
    const Unit *units[MOST_SIBLINGS];
    int64_t width;               /* output channels of all */
    int64_t saved, copied, peak; /* bytes */
} Group;

/* -- candidates -- */

static Status add_candidate(Fusion *f, const Block *block, int32_t position, int32_t count, int32_t step) {
    const Node *anchor = &f->graph->nodes[block->nodes[position]];
    if (!op_has_siblings(anchor->op) || anchor->input_count < 2 || anchor->inputs[1] == NONE)
        return STATUS_OK;
    ValueId input = anchor->inputs[0];
    if (use_count(&f->uses, input) < 2) return STATUS_OK;
    if (!ARENA_RESERVE(f->ctx->scratch, f->candidates, f->count, f->capacity))
        return FAIL(f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    NodeId *nodes = ARENA_ARRAY(f->ctx->scratch, NodeId, count);
    TRY_ALLOC(f->ctx->diag, nodes);
    memcpy(nodes, block->nodes + position, (size_t)count * sizeof *nodes);
    Candidate *c = &f->candidates[f->count];
    *c = (Candidate){.input = input, .step = step, .next = NONE};
    c->why = unit_read(f->graph, &f->uses, nodes, count, &c->unit);
    if (c->why != NULL && c->why[0] == '\0') return STATUS_OK;
    if (f->first[input] == NONE)
        f->first[input] = f->count;
    else
        f->candidates[f->last[input]].next = f->count;
    f->last[input] = f->count++;
    return STATUS_OK;
}

static Status find_candidates(Fusion *f, BlockId id) {
    const Block *block = &f->graph->blocks[id];
    f->count = 0;
    for (int32_t i = 0, step = 0; i < block->node_count; ++step) {
        int32_t count = 1;
        while (i + count < block->node_count && !node_starts_step(f->graph, block, i + count)) ++count;
        TRY(add_candidate(f, block, i, count, step));
        i += count;
    }
    return STATUS_OK;
}

/* -- what a merge brings and costs -- */

static bool is_member_node(const Group *g, NodeId node) {
    for (int32_t i = 0; i < g->count; ++i)
        if (node == g->units[i]->nodes[0]) return true;
    return false;
}

/* The last step that still needs the input once the group runs as its first member. */
static int32_t input_needed_until(const Fusion *f, const Group *g) {
    ValueId input = g->units[0]->input;
    const struct Use *uses = f->uses.uses;
    for (int32_t u = f->uses.first[input]; u < f->uses.first[input + 1]; ++u)
        if (uses[u].node == NONE || !is_member_node(g, uses[u].node)) return f->pressure.last_use[input];
    return g->members[0]->step;
}

/* The results live from the first step on rather than each from its own; the input may go earlier. */
static int64_t peak_of(const Fusion *f, const Group *g, bool keep) {
    ValueId input = g->units[0]->input;
    int32_t first = g->members[0]->step, last = g->members[g->count - 1]->step;
    NodeId producer = f->graph->values[input].producer;
    bool is_counted = producer != NONE && f->graph->nodes[producer].block == f->pressure.block;
    int32_t needed = is_counted ? input_needed_until(f, g) : last;
    int64_t most = 0, extra = 0;
    for (int32_t i = 1; i < g->count; ++i) extra += value_bytes_at_opt(f->graph, g->units[i]->result);
    for (int32_t step = first, next = 1; step < last; ++step) {
        while (g->members[next]->step == step)
            extra -= value_bytes_at_opt(f->graph, g->units[next++]->result);
        int64_t gone = step > needed ? value_bytes_at_opt(f->graph, input) : 0;
        most = max_i64(most, f->pressure.live[step] + extra - gone);
        if (keep) f->pressure.live[step] += extra - gone;
    }
    return most;
}

/* Where slices may not be strided, a Split is free only where they are contiguous. */
static bool split_is_free(const Fusion *f, const Unit *unit) {
    const Shape *shape = &f->graph->values[unit->result].shape;
    if (f->ctx->strided) return true;
    for (int32_t i = 0; i < unit->axis; ++i)
        if (shape->dim[i] != 1) return false;
    return true;
}

static void estimate(const Fusion *f, Group *g) {
    int64_t results = 0;
    for (int32_t i = 0; i < g->count; ++i) results += value_bytes_at_opt(f->graph, g->units[i]->result);
    g->saved = (g->count - 1) * (LAUNCH_BYTES + value_bytes_at_opt(f->graph, g->units[0]->input));
    g->copied = split_is_free(f, g->units[0]) ? 0 : 2 * results;
    g->peak = peak_of(f, g, false);
}

/* The table of reasons against merging a group whose members agree. */
static bool is_too_far(const Fusion *f, const Group *g) {
    (void)f;
    return g->members[g->count - 1]->step - g->members[0]->step > MOST_DISTANCE;
}
static bool copies_more(const Fusion *f, const Group *g) {
    (void)f;
    return g->copied > g->saved;
}
static bool takes_memory(const Fusion *f, const Group *g) {
    return g->peak > f->peak_limit;
}
static const struct {
    bool (*applies)(const Fusion *f, const Group *g);
    const char *reason;
} costs[] = {{is_too_far, "its siblings are too many steps away"},
             {copies_more, "the split would copy more bytes than launches and reads of the input cost"},
             {takes_memory, "all results at once would raise the peak of memory"}};

static const char *group_costs(const Fusion *f, Group *g) {
    if (g->members[g->count - 1]->step - g->members[0]->step <= MOST_DISTANCE) estimate(f, g);
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; ++i)
        if (costs[i].applies(f, g)) return costs[i].reason;
    return NULL;
}

/* -- the wide step -- */

typedef struct Widening {
    Fusion *f;
    const Group *group;
    const Unit *first;
    NodeId before;   /* the first member's anchor: new nodes go before it */
    RegionId region; /* of the new nodes */
    ValueId *made;   /* per place in the unit: the wide value */
    NodeId last;     /* newest node */
} Widening;

static Join join_along(const Widening *w, DType dtype, int32_t rank, int32_t axis) {
    Join join = {.dtype = dtype, .rank = rank, .axis = axis, .count = w->group->count};
    for (int32_t i = 0; i < rank; ++i) join.dims[i] = 1;
    join.dims[axis] = w->group->width;
    for (int32_t i = 0; i < join.count; ++i) join.widths[i] = w->group->units[i]->width;
    return join;
}

static Status join_weights(const Widening *w, ValueId *out) {
    const Value *like = &w->f->graph->values[w->first->weights];
    Join join = join_along(w, like->dtype, like->shape.rank, w->first->weight_axis);
    for (int32_t i = 0; i < join.rank; ++i)
        if (i != join.axis) join.dims[i] = like->shape.dim[i];
    for (int32_t i = 0; i < join.count; ++i) join.parts[i] = w->group->units[i]->weights;
    return join_constants(w->f->ctx, &w->f->joiner, &join, like->name, out);
}

/* One element per channel, of which each member has its own, a single one, or (NONE) zeros; aligned with the
 * channel axis of a result from the right. */
static Status join_channels(const Widening *w, DType dtype, const ValueId parts[MOST_SIBLINGS], int32_t rank,
                            const char *name, ValueId *out) {
    Join join = join_along(w, dtype, rank, 0);
    memcpy(join.parts, parts, sizeof join.parts);
    return join_constants(w->f->ctx, &w->f->joiner, &join, name, out);
}

/* Axes from the channels' on. */
static int32_t channel_rank(const Widening *w) {
    return w->f->graph->values[w->first->result].shape.rank - w->first->axis;
}

/* A value like that of the first member, as wide as all. */
static Status widen_value(const Widening *w, ValueId like, ValueId *out) {
    Graph *graph = w->f->graph;
    *out = graph_add_value(graph, graph->values[like].name);
    if (*out == NONE) return FAIL(w->f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    Value *value = &graph->values[*out];
    value->dtype = graph->values[like].dtype;
    value->has_shape = true;
    value->shape = graph->values[like].shape;
    value->shape.dim[w->first->axis] = w->group->width;
    return STATUS_OK;
}

/* Adds a node to the wide step. */
static Status add_node(Widening *w, OpId op, const char *name, const AttrList *attrs, int32_t input_count,
                       const ValueId *inputs, int32_t output_count, const ValueId *outputs) {
    TRY(graph_insert_node(w->f->graph, w->before, true, op, name, attrs, input_count, inputs, output_count,
                          outputs, &w->last, w->f->ctx->diag));
    w->f->graph->nodes[w->last].region = w->region;
    return STATUS_OK;
}

/* The newest node stands for this node of a member, too. */
static Status add_origin(const Widening *w, NodeId node) {
    return node_add_origins(w->f->graph, w->last, node)
               ? STATUS_OK
               : FAIL(w->f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
}

static bool has_bias(const Group *g) {
    for (int32_t i = 0; i < g->count; ++i)
        if (g->units[i]->bias != NONE) return true;
    return false;
}

static Status join_bias(const Widening *w, ValueId *out) {
    ValueId parts[MOST_SIBLINGS] = {0};
    *out = NONE;
    if (!has_bias(w->group)) return STATUS_OK;
    const Value *like = NULL;
    for (int32_t i = 0; i < w->group->count; ++i) {
        parts[i] = w->group->units[i]->bias;
        if (parts[i] != NONE) like = &w->f->graph->values[parts[i]];
    }
    return join_channels(w, like->dtype, parts, 1, like->name, out);
}

/* The anchor and its bias. A matrix product has no input for one and is followed by an Add. */
static Status widen_anchor(Widening *w) {
    Graph *graph = w->f->graph;
    const Node like = graph->nodes[w->first->nodes[0]];
    ValueId inputs[3] = {w->first->input, NONE, NONE}, operands[2];
    TRY(join_weights(w, &inputs[1]));
    TRY(join_bias(w, &inputs[2]));
    TRY(widen_value(w, like.outputs[0], &w->made[0]));
    bool apart = like.op == OP_MatMul;
    TRY(add_node(w, like.op, like.name, &like.attrs, apart || inputs[2] == NONE ? 2 : 3, inputs, 1, w->made));
    graph->regions[w->region].anchor = w->last;
    for (int32_t i = 0; i < w->group->count; ++i) TRY(add_origin(w, w->group->units[i]->nodes[0]));
    if (!apart || inputs[2] == NONE) return STATUS_OK;
    operands[0] = w->made[0];
    operands[1] = inputs[2];
    TRY(widen_value(w, w->first->head, &w->made[0]));
    const char *name = "";
    for (int32_t i = 0; i < w->group->count && name[0] == '\0'; ++i)
        if (w->group->units[i]->core == 2) name = graph->nodes[w->group->units[i]->nodes[1]].name;
    TRY(add_node(w, OP_Add, name, NULL, 2, operands, 1, w->made));
    for (int32_t i = 0; i < w->group->count; ++i)
        if (w->group->units[i]->core == 2) TRY(add_origin(w, w->group->units[i]->nodes[1]));
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

/* Input `input` of node k of the members' cores, for all of them. */
static Status widen_operand(const Widening *w, int32_t k, int32_t input, ValueId *out) {
    const Graph *graph = w->f->graph;
    ValueId parts[MOST_SIBLINGS] = {0};
    for (int32_t i = 0; i < w->group->count; ++i) {
        const Unit *unit = w->group->units[i];
        parts[i] = graph->nodes[unit->nodes[unit->core + k]].inputs[input];
    }
    int32_t place = parts[0] == NONE ? -1 : unit_place(graph, w->first, parts[0]);
    *out = place >= 0 ? w->made[place] : parts[0];
    if (parts[0] == NONE || place >= 0 || !value_is_constant(graph, parts[0]) ||
        constants_agree(graph, parts, w->group->count))
        return STATUS_OK;
    const Value *like = &graph->values[parts[0]];
    return join_channels(w, like->dtype, parts, channel_rank(w), like->name, out);
}

static Status widen_core_node(Widening *w, int32_t k) {
    Graph *graph = w->f->graph;
    const Node like = graph->nodes[w->first->nodes[w->first->core + k]];
    ValueId *inputs = ARENA_ARRAY(w->f->ctx->scratch, ValueId, like.input_count);
    TRY_ALLOC(w->f->ctx->diag, inputs);
    for (int32_t i = 0; i < like.input_count; ++i) TRY(widen_operand(w, k, i, &inputs[i]));
    TRY(widen_value(w, like.outputs[0], &w->made[k + 1]));
    TRY(add_node(w, like.op, like.name, &like.attrs, like.input_count, inputs, 1, &w->made[k + 1]));
    for (int32_t i = 0; i < w->group->count; ++i) {
        const Unit *unit = w->group->units[i];
        TRY(add_origin(w, unit->nodes[unit->core + k]));
    }
    return STATUS_OK;
}

/* 0 for members with a Relu, minus infinity for the others. */
static Status join_floors(const Widening *w, ValueId *out) {
    Graph *graph = w->f->graph;
    DType dtype = graph->values[w->first->result].dtype;
    ValueId parts[MOST_SIBLINGS] = {0}, scalars[2];
    const double floors[] = {-INFINITY, 0};
    for (int32_t i = 0; i < 2; ++i) {
        void *data = arena_alloc(graph->arena, sizeof(double));
        TRY_ALLOC(w->f->ctx->diag, data);
        dtype_store_f64(dtype, data, 0, floors[i]);
        scalars[i] = graph_add_constant(graph, NULL, dtype, 0, NULL, data);
        if (scalars[i] == NONE) return FAIL(w->f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    }
    for (int32_t i = 0; i < w->group->count; ++i) parts[i] = scalars[w->group->units[i]->floored];
    return join_channels(w, dtype, parts, channel_rank(w), NULL, out);
}

/* Relu where all have one, Max with a floor per channel where some have: Relu(x) is max(x, 0). */
static Status widen_floor(Widening *w, ValueId *value) {
    Graph *graph = w->f->graph;
    int32_t floored = 0;
    const Unit *like = w->first;
    for (int32_t i = w->group->count - 1; i >= 0; --i) {
        floored += w->group->units[i]->floored;
        if (w->group->units[i]->floored) like = w->group->units[i];
    }
    if (floored == 0) return STATUS_OK;
    const char *name = graph->nodes[like->nodes[like->count - 1]].name;
    ValueId inputs[2] = {*value, NONE};
    bool all = floored == w->group->count;
    if (!all) TRY(join_floors(w, &inputs[1]));
    TRY(widen_value(w, like->result, value));
    TRY(add_node(w, all ? OP_Relu : OP_Max, name, NULL, all ? 1 : 2, inputs, 1, value));
    for (int32_t i = 0; i < w->group->count; ++i) {
        const Unit *unit = w->group->units[i];
        if (unit->floored) TRY(add_origin(w, unit->nodes[unit->count - 1]));
    }
    if (!all) pass_count_add(w->f->ctx, "floors", 1);
    return STATUS_OK;
}

/* Takes the results from the members. */
static Status add_split(Widening *w, ValueId whole) {
    Graph *graph = w->f->graph;
    AttrList attrs = {0};
    ValueId inputs[2] = {whole, NONE}, results[MOST_SIBLINGS];
    int64_t widths[MOST_SIBLINGS];
    for (int32_t i = 0; i < w->group->count; ++i) {
        const Unit *unit = w->group->units[i];
        Value *value = &graph->values[unit->result];
        graph->nodes[value->producer].outputs[value->output_index] = NONE;
        value->producer = NONE;
        widths[i] = unit->width;
        results[i] = unit->result;
    }
    inputs[1] = graph_add_constant_i64(graph, NULL, w->group->count, widths);
    if (inputs[1] == NONE || !attr_set_int(&attrs, graph->arena, "axis", w->first->axis))
        return FAIL(w->f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return add_node(w, OP_Split, "", &attrs, 2, inputs, w->group->count, results);
}

/* A target that cannot end a step with a Split has it as a step of its own. */
static void part_split(const Widening *w, NodeId anchor) {
    Graph *graph = w->f->graph;
    const Block *block = &graph->blocks[graph->nodes[anchor].block];
    int32_t first = node_position(graph, anchor), last = node_position(graph, w->last);
    if (pass_target_refuses(w->f->ctx, block->nodes + first, last - first + 1) == NULL) return;
    graph->nodes[w->last].region = NONE;
    if (last - first == 1) graph->nodes[anchor].region = NONE;
}

static Status merge_group(Fusion *f, const Group *g) {
    Graph *graph = f->graph;
    const Unit *first = g->units[0];
    RegionId old = graph->nodes[first->nodes[0]].region;
    const char *step =
        old == NONE ? op_def(graph->nodes[first->nodes[0]].op)->name : graph->regions[old].name;
    char *name = arena_printf(graph->arena, "%s x%d", step, g->count);
    TRY_ALLOC(f->ctx->diag, name);
    for (char *c = name; *c != '\0'; ++c) *c = (char)tolower((unsigned char)*c);
    Widening w = {.f = f, .group = g, .first = first, .before = first->nodes[0]};
    w.region = graph_add_region(graph, NONE, name);
    w.made = ARENA_ARRAY(f->ctx->scratch, ValueId, first->core_count + 1);
    TRY_ALLOC(f->ctx->diag, w.made);
    if (w.region == NONE) return FAIL(f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(widen_anchor(&w));
    for (int32_t k = 0; k < first->core_count; ++k) TRY(widen_core_node(&w, k));
    ValueId whole = w.made[unit_place(graph, first, first->tail)];
    TRY(widen_floor(&w, &whole));
    TRY(add_split(&w, whole));
    for (int32_t i = 0; i < g->count; ++i)
        for (int32_t k = 0; k < g->units[i]->count; ++k) graph_remove_node(graph, g->units[i]->nodes[k]);
    part_split(&w, graph->regions[w.region].anchor);
    for (int32_t i = 0; i < g->count; ++i) g->members[i]->merged = true;
    peak_of(f, g, true);
    pass_count_add(f->ctx, "groups", 1);
    pass_count_add(f->ctx, "merged", g->count);
    return STATUS_OK;
}

/* -- who goes with whom -- */

static void add_member(Group *g, Candidate *c) {
    g->members[g->count] = c;
    g->units[g->count++] = &c->unit;
    g->width += c->unit.width;
}

static void tell(const Fusion *f, Candidate *c, const char *why) {
    if (!c->told) pass_reject(f->ctx, c->unit.nodes[0], "not merged with its siblings: %s", why);
    c->told = true;
}

static Group gather_group(Fusion *f, Candidate *leader) {
    Group g = {0};
    int32_t compared = 0;
    add_member(&g, leader);
    for (int32_t i = leader->next; i != NONE && g.count < MOST_SIBLINGS; i = f->candidates[i].next) {
        Candidate *c = &f->candidates[i];
        if (c->merged || c->why != NULL) continue;
        if (compared++ == MOST_COMPARED) break;
        const char *why = units_differ(f->graph, &leader->unit, &c->unit);
        if (why == NULL)
            add_member(&g, c);
        else
            tell(f, c, why);
    }
    return g;
}

/* The group that the candidate leads, as large as its cost allows. */
static Status try_group(Fusion *f, Candidate *leader) {
    Group g = gather_group(f, leader);
    while (g.count > 1) {
        const char *why = group_costs(f, &g);
        if (why == NULL) return merge_group(f, &g);
        tell(f, g.members[g.count - 1], why);
        g.width -= g.units[--g.count]->width;
    }
    return STATUS_OK;
}

static Status fuse_block(Fusion *f, BlockId id) {
    TRY(find_candidates(f, id));
    if (f->count < 2) return STATUS_OK;
    TRY(pressure_enter(f->ctx, &f->pressure, id));
    f->peak_limit = f->pressure.peak + f->pressure.peak / PEAK_SHARE + PEAK_SLACK;
    for (int32_t i = 0; i < f->count; ++i) {
        Candidate *c = &f->candidates[i];
        if (c->why != NULL)
            tell(f, c, c->why);
        else if (!c->merged && c->next != NONE)
            TRY(try_group(f, c));
    }
    return STATUS_OK;
}

Status pass_fuse_horizontal(PassCtx *ctx) {
    Graph *graph = ctx->graph;
    Fusion *f = ARENA_NEW(ctx->scratch, Fusion);
    TRY_ALLOC(ctx->diag, f);
    *f = (Fusion){.ctx = ctx, .graph = graph};
    if (!use_table_build(graph, ctx->scratch, &f->uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(pressure_create(ctx, &f->pressure));
    f->first = ARENA_ARRAY(ctx->scratch, int32_t, graph->value_count);
    f->last = ARENA_ARRAY(ctx->scratch, int32_t, graph->value_count);
    TRY_ALLOC(ctx->diag, f->first);
    TRY_ALLOC(ctx->diag, f->last);
    for (ValueId v = 0; v < graph->value_count; ++v) f->first[v] = NONE;
    for (BlockId b = 0; b < graph->block_count; ++b) {
        if (!block_is_live(graph, b)) continue;
        TRY(fuse_block(f, b));
        for (int32_t i = 0; i < f->count; ++i) f->first[f->candidates[i].input] = NONE;
    }
    return STATUS_OK;
}
