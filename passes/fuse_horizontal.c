/* fuse_horizontal: contractions that read one value and do the same with it become one wider contraction.
 *
 * Their weights, biases and per-channel constants are laid one behind the other along the output channels,
 * the nodes behind them are done once, and a Split at the end of the same step gives the old results: each
 * output channel is the same sum as before. The wide step stands where the first of them stood. What is saved
 * is a launch for each and reading the input more than once; what it may cost is memory, since all results
 * are there from the first step on, and the copy that a Split is where slices cannot be used in place.
 *
 * Convolutions that read the slices of one value, each its own, become one with the groups of all: so the
 * towers of detection heads go on side by side. On inputs that do not lie together they are left alone, since
 * a concatenation would cost what the merge saves. */
#include <string.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "passes/blocks.h"
#include "passes/pressure.h"
#include "passes/rewrite.h"
#include "passes/widen.h"

enum {
    MOST_SIBLINGS = JOIN_PARTS,
    MOST_COMPARED = 64,     /* candidates that one is compared with */
    MOST_DISTANCE = 4096,   /* steps between the first and the last */
    LAUNCH_BYTES = 1 << 20, /* that a GPU moves while it starts a kernel, about */
    PEAK_SLACK = 1 << 20,   /* bytes that count for nothing, though they may be all that a small model has */
    PEAK_SHARE = 16,        /* the peak may grow by one part in so many */
    GROUPED_MACS =
        1 << 22 /* a convolution in groups without matrix units does in the time of a launch, about */
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
    int32_t split_count, split_capacity;
    NodeId *splits; /* whose slices are to be looked at */
    bool rejoined;  /* slices of some are no longer read */
    Joiner joiner;
} Fusion;

/* Siblings on trial. */
typedef struct Group {
    int32_t count;
    Candidate *members[MOST_SIBLINGS];
    const Unit *units[MOST_SIBLINGS];
    ValueId input;               /* that all read, or read slices of */
    int32_t begin, end;          /* steps of the first and the last */
    int64_t saved, copied, peak; /* bytes */
} Group;

/* -- candidates -- */

static Status add_candidate(Fusion *f, const Block *block, int32_t position, int32_t count, int32_t step) {
    const Node *anchor = &f->graph->nodes[block->nodes[position]];
    if (!op_has_siblings(anchor->op) || anchor->input_count < 2 || anchor->inputs[1] == NONE)
        return STATUS_OK;
    ValueId input = anchor->inputs[0];
    if (!ARENA_RESERVE(f->ctx->scratch, f->candidates, f->count, f->capacity))
        return FAIL(f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    NodeId *nodes = ARENA_ARRAY(f->ctx->scratch, NodeId, count);
    TRY_ALLOC(f->ctx->diag, nodes);
    memcpy(nodes, block->nodes + position, (size_t)count * sizeof *nodes);
    Candidate *c = &f->candidates[f->count];
    *c = (Candidate){.input = input, .step = step, .next = NONE};
    c->why = unit_read(f->graph, &f->uses, nodes, count, &c->unit);
    if (c->why != NULL && c->why[0] == '\0') return STATUS_OK;
    if (c->why == NULL && conv_block_takes_shortcut(f->ctx, &f->uses, nodes[0]))
        c->why = "as a block's shortcut it is done in the block's step";
    if (f->first[input] == NONE)
        f->first[input] = f->count;
    else
        f->candidates[f->last[input]].next = f->count;
    f->last[input] = f->count++;
    return STATUS_OK;
}

static Status note_split(Fusion *f, NodeId id) {
    if (!ARENA_RESERVE(f->ctx->scratch, f->splits, f->split_count, f->split_capacity))
        return FAIL(f->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    f->splits[f->split_count++] = id;
    return STATUS_OK;
}

static Status find_candidates(Fusion *f, BlockId id) {
    const Block *block = &f->graph->blocks[id];
    f->count = f->split_count = 0;
    for (int32_t i = 0, step = 0; i < block->node_count; ++step) {
        int32_t end = step_end(f->graph, block, i);
        TRY(add_candidate(f, block, i, end - i, step));
        for (; i < end; ++i)
            if (f->graph->nodes[block->nodes[i]].op == OP_Split) TRY(note_split(f, block->nodes[i]));
    }
    return STATUS_OK;
}

/* -- what a merge brings and costs -- */

static bool is_member_node(const Group *g, NodeId node) {
    for (int32_t i = 0; i < g->count; ++i)
        if (node == g->units[i]->nodes[0]) return true;
    return false;
}

/* The last step that still needs the common input once the group runs as its first member. */
static int32_t input_needed_until(const Fusion *f, const Group *g) {
    const struct Use *uses = f->uses.uses;
    NodeId producer = f->graph->values[g->input].producer;
    bool counted = producer != NONE && f->graph->nodes[producer].block == f->pressure.block &&
                   g->input == g->units[0]->input;
    if (!counted) return g->end;
    for (int32_t u = f->uses.first[g->input]; u < f->uses.first[g->input + 1]; ++u)
        if (uses[u].node == NONE || !is_member_node(g, uses[u].node)) return f->pressure.last_use[g->input];
    return g->begin;
}

/* The last step that reads any of the results, where those are slices of one buffer. */
static int32_t joint_end(const Fusion *f, const Group *g) {
    int32_t end = g->end;
    for (int32_t i = 0; i < g->count && !f->ctx->strided; ++i) {
        int32_t last = f->pressure.last_use[g->units[i]->result];
        if (last > end) end = last;
    }
    return end - g->begin > MOST_DISTANCE ? g->begin + MOST_DISTANCE : end;
}

/* The results live from the first step on rather than each from its own, and on the host, where a step leaves
 * one buffer with all of them, until the last is read; the input may go earlier. */
static int64_t peak_of(const Fusion *f, const Group *g, bool keep) {
    int32_t needed = input_needed_until(f, g), end = joint_end(f, g);
    int64_t most = 0, input = value_bytes_at_opt(f->graph, g->input);
    for (int32_t step = g->begin; step <= end; ++step) {
        int64_t more = step > needed && step <= g->end ? -input : 0;
        for (int32_t i = 0; i < g->count; ++i) {
            bool early = step < g->members[i]->step,
                 late = !f->ctx->strided && step > f->pressure.last_use[g->units[i]->result];
            if (early || late) more += value_bytes_at_opt(f->graph, g->units[i]->result);
        }
        most = max_i64(most, f->pressure.live[step] + more);
        if (keep) f->pressure.live[step] += more;
    }
    return most;
}

/* Where slices may not be strided, a Split is free only where they are contiguous. */
static bool split_is_free(const Fusion *f, const Unit *unit) {
    const Shape *shape = &f->graph->values[unit->result].shape;
    if (f->ctx->strided) return true;
    for (int32_t i = 0; i < unit->result_axis; ++i)
        if (shape->dim[i] != 1) return false;
    return true;
}

static void estimate(const Fusion *f, Group *g) {
    int64_t results = 0, reads = 0;
    for (int32_t i = 0; i < g->count; ++i) results += value_bytes_at_opt(f->graph, g->units[i]->result);
    if (g->input == g->units[0]->input) reads = value_bytes_at_opt(f->graph, g->input);
    g->saved = (g->count - 1) * (LAUNCH_BYTES + reads);
    g->copied = split_is_free(f, g->units[0]) ? 0 : 2 * results;
    g->peak = peak_of(f, g, false);
}

/* The table of reasons against merging a group whose members agree. */
static bool copies_more(const Fusion *f, const Group *g) {
    (void)f;
    return g->copied > g->saved;
}
static bool takes_memory(const Fusion *f, const Group *g) {
    return g->peak > f->peak_limit;
}
/* Depthwise convolutions have no use for matrix units in any case. */
static bool is_slow_in_groups(const Fusion *f, const Group *g) {
    const Unit *unit = g->units[0];
    if (g->input == unit->input || f->graph->values[unit->weights].shape.dim[1] == 1) return false;
    return node_macs(f->graph, unit->nodes[0]) > GROUPED_MACS;
}
static const struct {
    bool (*applies)(const Fusion *f, const Group *g);
    const char *reason;
} costs[] = {{copies_more, "the split would copy more bytes than launches and reads of the input cost"},
             {takes_memory, "all results at once would raise the peak of memory"},
             {is_slow_in_groups, "groups would keep matrix units from more work than a launch is worth"}};

static const char *group_costs(const Fusion *f, Group *g) {
    g->begin = g->end = g->members[0]->step;
    for (int32_t i = 1; i < g->count; ++i) {
        if (g->members[i]->step < g->begin) g->begin = g->members[i]->step;
        if (g->members[i]->step > g->end) g->end = g->members[i]->step;
    }
    if (g->end - g->begin > MOST_DISTANCE) return "its siblings are too many steps away";
    estimate(f, g);
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; ++i)
        if (costs[i].applies(f, g)) return costs[i].reason;
    return NULL;
}

static Status merge_group(Fusion *f, const Group *g) {
    Wide wide;
    TRY(widen_units(f->ctx, &f->joiner, g->count, g->units, g->input, &wide));
    for (int32_t i = 0; i < g->count; ++i) g->members[i]->merged = true;
    peak_of(f, g, true);
    pass_count_add(f->ctx, "groups", 1);
    pass_count_add(f->ctx, "merged", g->count);
    return note_split(f, wide.split);
}

/* -- who goes with whom -- */

static void add_member(Group *g, Candidate *c) {
    g->members[g->count] = c;
    g->units[g->count++] = &c->unit;
}

static void tell(const Fusion *f, Candidate *c, const char *why) {
    if (!c->told) pass_reject(f->ctx, c->unit.nodes[0], "not merged with its siblings: %s", why);
    c->told = true;
}

static bool has_siblings(const Fusion *f, const Candidate *c) {
    return f->first[c->input] != f->last[c->input];
}

static Group gather_group(Fusion *f, Candidate *leader) {
    Group g = {.input = leader->input};
    int32_t compared = 0;
    add_member(&g, leader);
    for (int32_t i = leader->next; i != NONE && g.count < MOST_SIBLINGS; i = f->candidates[i].next) {
        Candidate *c = &f->candidates[i];
        if (c->merged || c->why != NULL) continue;
        if (compared++ == MOST_COMPARED) break;
        const char *why =
            c->unit.groups != 1 ? "it has groups" : units_differ(f->graph, &leader->unit, &c->unit);
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
    for (; g.count > 1; --g.count) {
        const char *why = group_costs(f, &g);
        if (why == NULL) return merge_group(f, &g);
        tell(f, g.members[g.count - 1], why);
    }
    return STATUS_OK;
}

/* -- convolutions of slices -- */

/* One that reads this slice and goes with the unit. */
static Candidate *find_like(Fusion *f, ValueId slice, const Unit *like, const char **why) {
    int32_t compared = 0;
    for (int32_t i = f->first[slice]; i != NONE && compared < MOST_COMPARED; i = f->candidates[i].next) {
        Candidate *c = &f->candidates[i];
        if (c->merged || c->why != NULL) continue;
        compared++;
        *why = units_differ(f->graph, like, &c->unit);
        if (*why == NULL && c->unit.width * like->groups != like->width * c->unit.groups)
            *why = "their groups have different widths";
        if (*why == NULL) return c;
    }
    return NULL;
}

/* What a convolution of the first slice does, others do with the other slices. */
static Status try_slices(Fusion *f, const Node *split, Candidate *leader) {
    Group g = {.input = split->inputs[0]};
    const char *why = "another slice has no convolution";
    add_member(&g, leader);
    for (int32_t i = 1; i < split->output_count; ++i) {
        Candidate *c = find_like(f, split->outputs[i], &leader->unit, &why);
        if (c == NULL) {
            tell(f, leader, why);
            return STATUS_OK;
        }
        add_member(&g, c);
    }
    why = group_costs(f, &g);
    if (why != NULL) {
        tell(f, leader, why);
        return STATUS_OK;
    }
    pass_count_add(f->ctx, "rejoined", 1);
    f->rejoined = true;
    return merge_group(f, &g);
}

static Status look_at_split(Fusion *f, NodeId id) {
    const Node split = f->graph->nodes[id];
    const Value *whole = &f->graph->values[split.inputs[0]];
    int64_t axis;
    TRY(attr_int(&split.attrs, "axis", 0, &axis, f->ctx->diag));
    if (!whole->has_shape || (axis < 0 ? axis + whole->shape.rank : axis) != 1 || split.output_count < 2 ||
        split.output_count > MOST_SIBLINGS)
        return STATUS_OK;
    for (int32_t i = 0; i < split.output_count; ++i)
        if (split.outputs[i] == NONE) return STATUS_OK;
    for (int32_t i = f->first[split.outputs[0]]; i != NONE; i = f->candidates[i].next) {
        Candidate *c = &f->candidates[i];
        if (!c->merged && c->why == NULL && f->graph->nodes[c->unit.nodes[0]].op == OP_Conv)
            TRY(try_slices(f, &split, c));
    }
    return STATUS_OK;
}

/* -- equal ones on other inputs -- */

/* Where the node stands whose result the value is; before all others where none in the block makes it. */
static int32_t made_at(const Fusion *f, ValueId value, BlockId block) {
    NodeId producer = f->graph->values[value].producer;
    return producer != NONE && f->graph->nodes[producer].block == block ? node_position(f->graph, producer)
                                                                        : -1;
}

/* Both could run at once, and do the same with values of one shape. */
static bool are_equal(const Fusion *f, const Candidate *a, const Candidate *b) {
    const Graph *graph = f->graph;
    const Value *x = &graph->values[a->input], *y = &graph->values[b->input];
    if (a->input == b->input || !x->has_shape || !y->has_shape || !shape_equal(&x->shape, &y->shape))
        return false;
    BlockId block = graph->nodes[a->unit.nodes[0]].block;
    return made_at(f, b->input, block) < node_position(graph, a->unit.nodes[0]) &&
           units_differ(graph, &a->unit, &b->unit) == NULL;
}

static void tell_equal_ones(Fusion *f) {
    for (int32_t i = 0; i < f->count; ++i) {
        Candidate *c = &f->candidates[i];
        for (int32_t k = i + 1; k < f->count && k - i <= MOST_COMPARED && c->why == NULL && !c->merged; ++k) {
            Candidate *other = &f->candidates[k];
            if (other->why != NULL || other->merged || !are_equal(f, c, other)) continue;
            tell(f, c, "an equal one reads another value, and laying both side by side costs what is saved");
            break;
        }
    }
}

/* -- the walk -- */

static Status fuse_block(Fusion *f, BlockId id) {
    TRY(find_candidates(f, id));
    if (f->count == 0) return STATUS_OK;
    TRY(pressure_enter(f->ctx, &f->pressure, id));
    f->peak_limit = f->pressure.peak + f->pressure.peak / PEAK_SHARE + PEAK_SLACK;
    for (int32_t i = 0; i < f->count; ++i) {
        Candidate *c = &f->candidates[i];
        if (!has_siblings(f, c)) continue;
        if (c->why != NULL || c->unit.groups != 1)
            tell(f, c, c->why != NULL ? c->why : "it has groups");
        else if (!c->merged && c->next != NONE)
            TRY(try_group(f, c));
    }
    /* Each that is found adds its own Split behind the list. */
    for (int32_t i = 0; i < f->split_count; ++i) TRY(look_at_split(f, f->splits[i]));
    tell_equal_ones(f);
    return STATUS_OK;
}

/* A step of one node is no region. */
static Status dissolve_regions(PassCtx *ctx) {
    Graph *graph = ctx->graph;
    int32_t *members = ARENA_ARRAY(ctx->scratch, int32_t, graph->region_count);
    TRY_ALLOC(ctx->diag, members);
    for (int32_t pass = 0; pass < 2; ++pass)
        for (NodeId n = 0; n < graph->node_count; ++n) {
            RegionId region = node_is_live(graph, n) ? graph->nodes[n].region : NONE;
            if (region != NONE && pass == 0) members[region]++;
            if (region != NONE && pass == 1 && members[region] == 1) graph->nodes[n].region = NONE;
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
    if (!f->rejoined) return STATUS_OK;
    TRY(remove_dead(ctx));
    return dissolve_regions(ctx);
}
