/* plan_memory: gives every intermediate value a place in a buffer, and every buffer a place in the arena.
 *
 * Values alive at the same step get different buffers, but for views (the same bytes under another shape),
 * parts of larger values (memory_slices.c) and results computed in place. Constants, graph inputs and graph
 * outputs have memory of their own, and so have values whose size depends on data: these stay without buffer.
 * What bodies of control-flow nodes use counts as used by the step that owns them. */
#include "base/checked.h"
#include "ir/form.h"
#include "ops/movement.h"
#include "passes/memory.h"
#include "passes/pressure.h"

/* -- buffers -- */

static Status open_buffer(Planner *p, ValueId value) {
    if (!ARENA_RESERVE(p->ctx->scratch, p->drafts, p->draft_count, p->draft_capacity))
        return FAIL(p->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    p->drafts[p->draft_count] = (Draft){.size = memory_bytes(p->graph, value),
                                        .first = p->step,
                                        .last = p->lives[value].last_step,
                                        .newest = value};
    p->older[value] = NONE;
    p->graph->values[value].buffer = p->draft_count++;
    Status status = dim_table_check(p->graph->dims, STATUS_BAD_MODEL, "the size of a value overflows 64 bits",
                                    p->ctx->diag);
    if (status != STATUS_OK) diag_value(p->ctx->diag, p->graph, value);
    return status;
}

/* Puts value within another one, `offset` bytes from its start. */
static void join_buffer(Planner *p, ValueId value, ValueId other, Dim offset) {
    Value *row = &p->graph->values[value];
    row->buffer = p->graph->values[other].buffer;
    row->buffer_offset = dim_add(p->graph->dims, p->graph->values[other].buffer_offset, offset);
    Draft *draft = &p->drafts[row->buffer];
    if (p->lives[value].last_step > draft->last) draft->last = p->lives[value].last_step;
    p->older[value] = draft->newest;
    draft->newest = value;
}

/* Puts the value at the start of a draft. */
static void move_in(Planner *p, ValueId value, int32_t index) {
    Draft *draft = &p->drafts[index];
    p->graph->values[value].buffer = index;
    if (p->lives[value].last_step > draft->last) draft->last = p->lives[value].last_step;
    p->older[value] = draft->newest;
    draft->newest = value;
}

/* A place for the value where its slot says, or in a buffer of its own. The value that it lies within may get
 * its place before it is made. */
static Status place_value(Planner *p, ValueId value) {
    enum { MAX_WITHIN = 64 }; /* deeper ones are placed from outside in, one stretch after another */
    ValueId chain[MAX_WITHIN];
    while (p->graph->values[value].buffer == NONE) {
        int32_t depth = 0;
        ValueId at = value;
        for (; p->slots[at].within != NONE && p->graph->values[at].buffer == NONE; at = p->slots[at].within)
            chain[depth++ % MAX_WITHIN] = at;
        if (p->graph->values[at].buffer == NONE) TRY(open_buffer(p, at));
        for (int32_t i = depth - 1; i >= 0 && i >= depth - MAX_WITHIN; --i) {
            const Slot *slot = &p->slots[chain[i % MAX_WITHIN]];
            int64_t element = dtype_bits(p->graph->values[value].dtype) / 8;
            join_buffer(p, chain[i % MAX_WITHIN], slot->within,
                        dim_mul(p->graph->dims, slot->offset, element));
        }
    }
    return STATUS_OK;
}

/* -- in place -- */

/* Whether nobody needs what lies where `value` lies once the node is done, and the node reads it as no other
 * operand. */
static bool dies_at(const Planner *p, ValueId value, const Node *node) {
    const Graph *graph = p->graph;
    int32_t position = p->positions[node - graph->nodes];
    Footprint own = memory_footprint(graph, value);
    for (ValueId v = p->drafts[graph->values[value].buffer].newest; v != NONE; v = p->older[v]) {
        const Life *life = &p->lives[v];
        bool over = life->block == node->block ? life->last_position <= position
                                               : node->block == MAIN_BLOCK && life->last_step < p->step;
        bool read = false;
        for (int32_t i = 0; over && v != value && i < node->input_count; ++i)
            if (node->inputs[i] == v) read = true;
        if (over && !read) continue;
        Footprint other = memory_footprint(graph, v);
        if (!footprint_apart(&own, &other)) return false;
    }
    return true;
}

/* Whether nobody needs what lies where `value` lies once the step is done, nor any other name of it in it. */
static bool dies_after_step(const Planner *p, ValueId value) {
    Footprint own = memory_footprint(p->graph, value);
    for (ValueId v = p->drafts[p->graph->values[value].buffer].newest; v != NONE; v = p->older[v]) {
        if (p->lives[v].last_step < p->step + (v == value)) continue;
        Footprint other = memory_footprint(p->graph, v);
        if (!footprint_apart(&own, &other)) return false;
    }
    return true;
}

/* The node reads the value, or another one of its buffer. */
static bool node_reads(const Graph *graph, const Node *node, ValueId value) {
    BufferId buffer = graph->values[value].buffer;
    for (int32_t i = 0; i < node->input_count; ++i) {
        ValueId input = node->inputs[i];
        if (input != NONE && (input == value || (buffer != NONE && graph->values[input].buffer == buffer)))
            return true;
    }
    return false;
}

/* The positions of the node's region, or of the node alone. */
static void find_region(const Planner *p, const Node *node, int32_t *first, int32_t *last) {
    const Graph *graph = p->graph;
    const Block *block = &graph->blocks[node->block];
    *first = *last = p->positions[node - graph->nodes];
    if (node->region == NONE) return;
    while (*first > 0 && graph->nodes[block->nodes[*first - 1]].region == node->region) --*first;
    while (*last + 1 < block->node_count && graph->nodes[block->nodes[*last + 1]].region == node->region)
        ++*last;
}

/* Behind an anchor that comes first, if any, every node computes element by element. */
static bool is_aligned(const Planner *p, const Node *node, int32_t first, int32_t last) {
    const Graph *graph = p->graph;
    NodeId anchor = node->region != NONE ? graph->regions[node->region].anchor : NONE;
    for (int32_t i = first; i <= last; ++i) {
        NodeId id = graph->blocks[node->block].nodes[i];
        if (id == anchor ? i != first : node_form(graph, &graph->nodes[id], NULL) != FORM_ELEMENTS)
            return false;
    }
    return true;
}

/* The node is in front of a convolution, whose windows share places of what it reads. */
static bool is_read_around(const Planner *p, const Node *node) {
    NodeId anchor = p->graph->regions[node->region].anchor;
    if (anchor == NONE || p->ctx->target == NULL) return false;
    OpId op = p->graph->nodes[anchor].op;
    return (op == OP_Conv || op == OP_ConvTranspose) &&
           p->positions[node - p->graph->nodes] < p->positions[anchor];
}

/* A region may run as one kernel. Whether another node of it still reads elements of the value, or of others
 * of its buffer, other than those that go with the element being written, when the node's first results are
 * written: the anchor, and any node where elements are moved or made in front of an anchor. */
static bool region_reads(const Planner *p, const Node *node, ValueId value) {
    const Graph *graph = p->graph;
    int32_t first, last;
    if (node->region == NONE) return false;
    find_region(p, node, &first, &last);
    if (is_read_around(p, node)) return true;
    bool aligned = is_aligned(p, node, first, last);
    BufferId buffer = graph->values[value].buffer;
    for (int32_t i = first; i <= last; ++i) {
        NodeId id = graph->blocks[node->block].nodes[i];
        const Node *other = &graph->nodes[id];
        if (other == node || (aligned && id != graph->regions[node->region].anchor)) continue;
        /* what an anchor computes in place, it may as well write with what follows done to it */
        if (aligned && (op_def(other->op)->flags & OPF_IN_PLACE) != 0 && other->outputs[0] != NONE &&
            buffer != NONE && graph->values[other->outputs[0]].buffer == buffer)
            continue;
        if (node_reads(graph, other, value)) return true;
    }
    return false;
}

/* Element i of both lies at the same distance from their first. */
static bool lies_alike(const Planner *p, ValueId a, ValueId b) {
    const Graph *graph = p->graph;
    const Value *first = &graph->values[a], *second = &graph->values[b];
    if (first->dtype != second->dtype || memory_bytes(graph, a) != memory_bytes(graph, b)) return false;
    if (value_is_plain(first) && value_is_plain(second)) return true;
    return first->strides == NULL && second->strides == NULL && first->layout == second->layout &&
           first->channel_padding == second->channel_padding && shape_equal(&first->shape, &second->shape);
}

/* The input that output 0 of the node may overwrite, or NONE: it dies here, has the same element type and
 * size (so that element i lies where element i goes), and is not read elsewhere in the region. */
static ValueId in_place_input(const Planner *p, const Node *node, ValueId output) {
    const Graph *graph = p->graph;
    for (int32_t i = 0; i < node->input_count; ++i) {
        ValueId input = node->inputs[i];
        if (input == NONE || graph->values[input].buffer == NONE) continue;
        if (p->lives[input].block == node->block && lies_alike(p, input, output) && dies_at(p, input, node) &&
            !region_reads(p, node, input))
            return input;
    }
    return NONE;
}

/* The same for a region that runs as one kernel: an operand that is read element by element behind the anchor
 * only, and that nobody needs after the step. */
static ValueId in_place_operand(const Planner *p, const Node *node, ValueId output) {
    const Graph *graph = p->graph;
    int32_t first, last;
    find_region(p, node, &first, &last);
    if (!is_aligned(p, node, first, last)) return NONE;
    for (int32_t i = p->positions[node - graph->nodes]; i >= first; --i) {
        const Node *other = &graph->nodes[graph->blocks[MAIN_BLOCK].nodes[i]];
        if (node_form(graph, other, NULL) != FORM_ELEMENTS) break;
        for (int32_t k = 0; k < other->input_count; ++k) {
            ValueId input = other->inputs[k];
            if (input == NONE || graph->values[input].buffer == NONE) continue;
            if (p->lives[input].block != MAIN_BLOCK || p->lives[input].first_step == p->step) continue;
            if (lies_alike(p, input, output) && dies_after_step(p, input) && !region_reads(p, other, input))
                return input;
        }
    }
    return NONE;
}

/* Whether results may be computed in the value's place as soon as nodes have read it: nothing shows it under
 * another name. */
static bool has_other_names(const Planner *p, ValueId value) {
    const Graph *graph = p->graph;
    for (int32_t i = p->uses.first[value]; i < p->uses.first[value + 1]; ++i) {
        const struct Use *use = &p->uses.uses[i];
        if (use->node == NONE || graph->nodes[use->node].block != MAIN_BLOCK) return true;
        const Node *node = &graph->nodes[use->node];
        if ((op_def(node->op)->flags & OPF_VIEW) != 0 ||
            part_count(node->op, node->input_count, node->output_count) > 0)
            return true;
    }
    return false;
}

/* The value's last reader may compute its result in place of it, and that result has a slot, as may the
 * result computed in place of that, and so on: then the value is best made there. Gives it and those between
 * them their slots. */
static bool pull_into_slot(Planner *p, ValueId value, int32_t depth) {
    enum { MAX_DEPTH = 16 };
    const Graph *graph = p->graph;
    const Life *life = &p->lives[value];
    if (life->block != MAIN_BLOCK || life->last_position < 0 || life->last_position == NEVER_DIES ||
        has_other_names(p, value))
        return false;
    const Node *node = &graph->nodes[graph->blocks[MAIN_BLOCK].nodes[life->last_position]];
    ValueId result = node->output_count > 0 ? node->outputs[0] : NONE;
    if ((op_def(node->op)->flags & OPF_IN_PLACE) == 0 || result == NONE || p->lives[result].outside ||
        memory_is_late(graph, result) || !lies_alike(p, value, result) || region_reads(p, node, value))
        return false;
    for (int32_t i = 0; i < node->input_count; ++i) /* only one of its operands can lie there */
        if (node->inputs[i] != NONE && p->slots[node->inputs[i]].within == result) return false;
    if (p->slots[result].within == NONE) {
        if (depth >= MAX_DEPTH || !pull_into_slot(p, result, depth + 1)) return false;
    } else {
        ValueId root = p->slots[result].within;
        while (p->slots[root].within != NONE) root = p->slots[root].within;
        if (graph->values[root].buffer == NONE && p->lives[result].first_step != p->step) return false;
    }
    p->slots[value] = (Slot){.within = result, .index = -1, .node = NONE};
    return true;
}

/* The first of the pointwise nodes that end with this one: they may run together, block by block. */
static int32_t chain_start(const Planner *p, const Node *node) {
    const Graph *graph = p->graph;
    const Block *block = &graph->blocks[node->block];
    int32_t start = p->positions[node - graph->nodes];
    if (op_def(node->op)->op_class != OPCLASS_POINTWISE) return start;
    for (; start > 0; --start) {
        const Node *before = &graph->nodes[block->nodes[start - 1]];
        if (before->region != node->region || op_def(before->op)->op_class != OPCLASS_POINTWISE) break;
    }
    return start;
}

/* Nobody needs anything of the draft from the node on, nor does the node read it. What a chain still reads
 * when it begins may be read in any block of it, unless it is as large as the result. */
static bool is_free(const Planner *p, const Draft *draft, const Node *node, ValueId output) {
    int32_t position = p->positions[node - p->graph->nodes], start = chain_start(p, node);
    Dim bytes = memory_bytes(p->graph, output);
    for (ValueId v = draft->newest; v != NONE; v = p->older[v]) {
        const Life *life = &p->lives[v];
        if (life->block == node->block ? life->last_position >= position : life->last_step >= p->step)
            return false;
        bool gone = life->block != node->block || life->last_position < start;
        if (!gone && memory_bytes(p->graph, v) != bytes) return false;
    }
    return true;
}

/* The host runs the nodes of a region, or of a body, one after another: what one of them is done with has
 * room for the result of a later one. Returns a draft that has as many bytes, or that may grow as nobody
 * lives in it behind the step; -1: none. */
static int32_t find_room(const Planner *p, const Node *node, ValueId output) {
    Dim bytes = memory_bytes(p->graph, output);
    int32_t best = -1;
    bool on_host = !p->ctx->strided && p->ctx->target == NULL;
    if (node->block == MAIN_BLOCK && (!on_host || node->region == NONE)) return -1;
    for (int32_t i = 0; i < p->draft_count; ++i) {
        const Draft *draft = &p->drafts[i];
        if (draft->last != p->step || !is_free(p, draft, node, output)) continue;
        if (draft->size == bytes) return i;
        if (!dim_is_exact(draft->size) || !dim_is_exact(bytes)) continue;
        if (p->lives[output].last_step != p->step || (draft->first < p->step && draft->size < bytes))
            continue;
        if (best < 0 || draft->size > p->drafts[best].size) best = i;
    }
    return best;
}

/* -- results of nodes -- */

static Status place_output(Planner *p, const Node *node, int32_t index) {
    ValueId output = node->outputs[index];
    if (output == NONE || p->lives[output].outside || memory_is_late(p->graph, output)) return STATUS_OK;
    Value *row = &p->graph->values[output];
    if (row->buffer != NONE) return STATUS_OK;                                   /* parts of it came first */
    if (p->on_device && p->lives[output].last_step == p->step) return STATUS_OK; /* in registers */
    if (p->slots[output].within != NONE) return place_value(p, output);
    uint32_t flags = index == 0 ? op_def(node->op)->flags : 0;
    bool in_place = !p->ctx->apart;
    ValueId input = NONE;
    if (index == 0 && memory_is_view(p->graph, node)) {
        input = p->graph->values[node->inputs[0]].buffer != NONE ? node->inputs[0] : NONE;
        if (input != NONE) pass_count_add(p->ctx, "views", 1);
    } else if (in_place && (flags & OPF_IN_PLACE) != 0) {
        input = in_place_input(p, node, output);
        if (input != NONE) pass_count_add(p->ctx, "in place", 1);
    }
    if (in_place && input == NONE && p->on_device) {
        input = in_place_operand(p, node, output);
        if (input != NONE) pass_count_add(p->ctx, "in place", 1);
    }
    if (input == NONE) {
        int32_t room = p->slots[output].within == NONE && !pull_into_slot(p, output, 0)
                           ? find_room(p, node, output)
                           : -1;
        if (room < 0) return place_value(p, output);
        p->drafts[room].size = dim_max(p->graph->dims, p->drafts[room].size, memory_bytes(p->graph, output));
        move_in(p, output, room);
        return STATUS_OK;
    }
    join_buffer(p, output, input, 0);
    return STATUS_OK;
}

/* Of regions that run as one kernel, only what leaves them is in memory. */
static void enter_step(Planner *p, const Block *block, int32_t first) {
    if (first > 0) p->step++;
    p->on_device = p->ctx->target != NULL && p->graph->nodes[block->nodes[first]].region != NONE &&
                   pass_target_refuses(p->ctx, &p->uses, block->nodes + first,
                                       step_end(p->graph, block, first) - first) == NULL;
}

static Status place_block(Planner *p, BlockId id) {
    for (int32_t i = 0; i < p->graph->blocks[id].node_count; ++i) {
        const Block *block = &p->graph->blocks[id];
        const Node *node = &p->graph->nodes[block->nodes[i]];
        if (id == MAIN_BLOCK && node_starts_step(p->graph, block, i)) enter_step(p, block, i);
        for (int32_t k = 0; k < node->attrs.count; ++k)
            if (node->attrs.items[k].kind == ATTR_BLOCK)
                TRY(place_block(p, (BlockId)node->attrs.items[k].ints[0]));
        for (int32_t k = 0; k < node->output_count; ++k) TRY(place_output(p, node, k));
    }
    return STATUS_OK;
}

static Status prepare(Planner *p) {
    Graph *graph = p->graph;
    p->older = ARENA_ARRAY(p->ctx->scratch, ValueId, graph->value_count);
    TRY_ALLOC(p->ctx->diag, p->older);
    for (ValueId v = 0; v < graph->value_count; ++v) {
        graph->values[v].buffer = NONE;
        graph->values[v].buffer_offset = 0;
        graph->values[v].strides = NULL;
    }
    if (!use_table_build(graph, p->ctx->scratch, &p->uses))
        return FAIL(p->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(memory_find_lives(p));
    return memory_find_slots(p);
}

static Status plan_once(PassCtx *ctx, const bool *banned, Planner *planner, MemoryPlan *memory) {
    *planner = (Planner){.ctx = ctx, .graph = ctx->graph, .banned = banned};
    TRY(prepare(planner));
    planner->step = 0;
    TRY(place_block(planner, MAIN_BLOCK));
    return memory_lay_out(planner, memory);
}

/* -- how many slices -- */

/* A whole keeps bytes for parts that are not made yet, or not needed any more. Where that makes the arena
 * more than an eighth larger than it is without slices, those that keep most are given up, at the worst step
 * first. */
enum { MOST_BANS = 16, TOLERATED_PART = 8 };

static void ban_all(const Graph *graph, bool *banned) {
    for (NodeId n = 0; n < graph->node_count; ++n) banned[n] = true;
}

/* Bytes of the draft, at the worst step, that no value has which is needed there. */
static int64_t wasted_bytes(const Planner *p, const Draft *draft, int32_t step) {
    int64_t used = 0;
    bool sliced = false;
    for (ValueId v = draft->newest; v != NONE; v = p->older[v]) {
        if (p->slots[v].within != NONE) sliced = true;
        if (p->lives[v].first_step > step || p->lives[v].last_step < step) continue;
        int64_t bytes = value_bytes_at_opt(p->graph, v);
        used = bytes < INT64_MAX - used ? used + bytes : INT64_MAX;
    }
    return sliced && used < draft->bytes ? draft->bytes - used : 0;
}

/* Forbids the slices of the draft that wastes most at the worst step. False: none does. */
static bool ban_worst(const Planner *p, const MemoryPlan *memory, bool *banned) {
    int32_t step = p->peak_step;
    int64_t most = 0;
    const Draft *worst = NULL;
    bool found = false;
    for (int32_t i = 0; i < memory->buffer_count; ++i) {
        if (p->drafts[i].first > step || p->drafts[i].last < step) continue;
        int64_t wasted = wasted_bytes(p, &p->drafts[i], step);
        if (wasted <= most) continue;
        most = wasted;
        worst = &p->drafts[i];
    }
    for (ValueId v = worst != NULL ? worst->newest : NONE; v != NONE; v = p->older[v]) {
        if (p->slots[v].node == NONE || p->slots[v].within == NONE || banned[p->slots[v].node]) continue;
        if (p->slots[p->slots[v].within].within != NONE) continue; /* the outermost only */
        banned[p->slots[v].node] = found = true;
    }
    return found;
}

static bool has_slices(const Planner *p) {
    for (ValueId v = 0; v < p->graph->value_count; ++v)
        if (p->slots[v].within != NONE && p->slots[v].node != NONE) return true;
    return false;
}

/* Fills banned with the nodes whose parts are better copied. What is counted and refused meanwhile is not
 * told. */
static Status choose_slices(const PassCtx *ctx, bool *banned) {
    PassCtx probe = *ctx;
    Planner planner;
    MemoryPlan memory;
    int64_t plain;
    TRY(plan_once(&probe, banned, &planner, &memory));
    if (!has_slices(&planner)) return STATUS_OK;
    bool *all = ARENA_ARRAY(ctx->scratch, bool, ctx->graph->node_count);
    TRY_ALLOC(ctx->diag, all);
    ban_all(ctx->graph, all);
    TRY(plan_once(&probe, all, &planner, &memory));
    plain = memory.arena_size;
    for (int i = 0; i < MOST_BANS; ++i) {
        TRY(plan_once(&probe, banned, &planner, &memory));
        if (memory.arena_size - plain <= plain / TOLERATED_PART || !ban_worst(&planner, &memory, banned))
            return STATUS_OK;
    }
    return STATUS_OK;
}

static Status plan_best(PassCtx *ctx, Planner *planner, MemoryPlan *memory) {
    bool *banned = ARENA_ARRAY(ctx->scratch, bool, ctx->graph->node_count);
    TRY_ALLOC(ctx->diag, banned);
    TRY(choose_slices(ctx, banned));
    return plan_once(ctx, banned, planner, memory);
}

/* -- the whole -- */

Status memory_measure(PassCtx *ctx, int64_t *arena_size) {
    PassCtx probe = *ctx;
    Planner planner;
    MemoryPlan memory;
    TRY(plan_best(&probe, &planner, &memory));
    *arena_size = memory.arena_size;
    for (ValueId v = 0; v < ctx->graph->value_count; ++v) {
        ctx->graph->values[v].buffer = NONE;
        ctx->graph->values[v].buffer_offset = 0;
        ctx->graph->values[v].strides = NULL;
    }
    return STATUS_OK;
}

Status pass_plan_memory(PassCtx *ctx) {
    Planner planner;
    MemoryPlan memory;
    TRY(plan_best(ctx, &planner, &memory));
    ctx->graph->memory = memory;
    return memory_report(&planner, &memory);
}
