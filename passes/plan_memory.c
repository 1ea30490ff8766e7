/* plan_memory: gives every intermediate value a place in a buffer, and every buffer a place in the arena.
 *
 * Values alive at the same step get different buffers, but for views (the same bytes under another shape) and
 * results computed in place. Constants, graph inputs and graph outputs have memory of their own, and so have
 * values whose size depends on data: these stay without buffer. What bodies of control-flow nodes use counts
 * as used by the step that owns them. */
#include "base/checked.h"
#include "base/pack.h"
#include "ir/form.h"
#include "passes/pass.h"

enum { BUFFER_ALIGNMENT = 256, NEVER_DIES = INT32_MAX };

/* What is known of a value before buffers are given. */
typedef struct Life {
    BlockId block;         /* that defines it; NONE for constants and unreachable values */
    int32_t last_position; /* in that block, of the last node that uses it; NEVER_DIES for results */
    int32_t last_step;     /* of the main block */
    bool outside;          /* lies in a constant's, an input's or an output's memory */
} Life;

/* A buffer in the making. */
typedef struct Draft {
    Dim size;
    int32_t first, last;
    BlockId block;         /* whose nodes may overwrite it */
    int32_t last_position; /* of its values, in that block */
} Draft;

typedef struct Planner {
    PassCtx *ctx;
    Graph *graph;
    Life *lives;        /* per value */
    int32_t *positions; /* per node, in its block */
    int32_t step;       /* of the main block, during walks */
    Draft *drafts;
    int32_t draft_count, draft_capacity;
} Planner;

/* -- analysis: lifetimes -- */

static void note_use(Planner *p, ValueId value, BlockId block, int32_t position) {
    Life *life = &p->lives[value];
    while (block != life->block && p->graph->blocks[block].owner != NONE) {
        NodeId owner = p->graph->blocks[block].owner;
        position = p->positions[owner];
        block = p->graph->nodes[owner].block;
    }
    life->last_step = p->step;
    if (block == life->block && position > life->last_position) life->last_position = position;
}

static void note_definition(Planner *p, ValueId value, BlockId block) {
    p->lives[value] = (Life){.block = block, .last_position = -1, .last_step = p->step};
}

static void walk_block(Planner *p, BlockId id);

static void walk_node(Planner *p, NodeId id, BlockId block, int32_t position) {
    const Node *node = &p->graph->nodes[id];
    p->positions[id] = position;
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE) note_use(p, node->inputs[i], block, position);
    for (int32_t i = 0; i < node->attrs.count; ++i)
        if (node->attrs.items[i].kind == ATTR_BLOCK) walk_block(p, (BlockId)node->attrs.items[i].ints[0]);
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE) note_definition(p, node->outputs[i], block);
}

static void walk_block(Planner *p, BlockId id) {
    const Block *block = &p->graph->blocks[id];
    for (int32_t i = 0; i < block->param_count; ++i) note_definition(p, block->params[i], id);
    for (int32_t i = 0; i < block->node_count; ++i) {
        if (id == MAIN_BLOCK && i > 0 && node_starts_step(p->graph, block, i)) p->step++;
        walk_node(p, block->nodes[i], id, i);
    }
    for (int32_t i = 0; i < block->result_count; ++i) note_use(p, block->results[i], id, NEVER_DIES);
}

static Status analyse(Planner *p) {
    Graph *graph = p->graph;
    p->lives = ARENA_ARRAY(p->ctx->scratch, Life, graph->value_count);
    p->positions = ARENA_ARRAY(p->ctx->scratch, int32_t, graph->node_count);
    TRY_ALLOC(p->ctx->diag, p->lives);
    TRY_ALLOC(p->ctx->diag, p->positions);
    for (ValueId v = 0; v < graph->value_count; ++v) {
        p->lives[v].block = NONE;
        graph->values[v].buffer = NONE;
        graph->values[v].buffer_offset = 0;
    }
    walk_block(p, MAIN_BLOCK);
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (ValueId v = 0; v < graph->value_count; ++v) p->lives[v].outside = value_is_constant(graph, v);
    for (int32_t i = 0; i < block->param_count; ++i) p->lives[block->params[i]].outside = true;
    for (int32_t i = 0; i < block->result_count; ++i) p->lives[block->results[i]].outside = true;
    return STATUS_OK;
}

/* -- buffers -- */

static Dim value_bytes(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    Dim count = shape_count(graph->dims, &value->shape);
    int bits = dtype_bits(value->dtype);
    if (bits % 8 == 0) return dim_mul(graph->dims, count, bits / 8);
    return dim_ceil_div(graph->dims, dim_mul(graph->dims, count, bits), 8);
}

static bool value_is_late(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    if (!value->has_shape) return true;
    for (int32_t i = 0; i < value->shape.rank; ++i)
        if (dim_is_late(graph->dims, value->shape.dim[i])) return true;
    return false;
}

static Status open_buffer(Planner *p, ValueId value) {
    const Life *life = &p->lives[value];
    if (!ARENA_RESERVE(p->ctx->scratch, p->drafts, p->draft_count, p->draft_capacity))
        return FAIL(p->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    p->drafts[p->draft_count] = (Draft){.size = value_bytes(p->graph, value),
                                        .first = p->step,
                                        .last = life->last_step,
                                        .block = life->block,
                                        .last_position = life->last_position};
    p->graph->values[value].buffer = p->draft_count++;
    Status status = dim_table_check(p->graph->dims, STATUS_BAD_MODEL, "the size of a value overflows 64 bits",
                                    p->ctx->diag);
    if (status != STATUS_OK) diag_value(p->ctx->diag, p->graph, value);
    return status;
}

/* Puts value where another one lies. */
static void join_buffer(Planner *p, ValueId value, ValueId other) {
    const Life *life = &p->lives[value];
    Value *row = &p->graph->values[value];
    row->buffer = p->graph->values[other].buffer;
    row->buffer_offset = p->graph->values[other].buffer_offset;
    Draft *draft = &p->drafts[row->buffer];
    if (life->last_step > draft->last) draft->last = life->last_step;
    if (life->block != draft->block)
        draft->last_position = NEVER_DIES; /* a body's view of an outer value */
    else if (life->last_position > draft->last_position)
        draft->last_position = life->last_position;
}

static bool node_reads(const Graph *graph, const Node *node, BufferId buffer) {
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && graph->values[node->inputs[i]].buffer == buffer) return true;
    return false;
}

/* A region may run as one kernel. Whether another node of it still reads elements of the buffer, other than
 * those that go with the element being written, when the node's first results are written: the anchor, and
 * any node where elements are moved or made in front of an anchor. */
static bool region_reads(const Planner *p, const Node *node, BufferId buffer) {
    const Graph *graph = p->graph;
    if (node->region == NONE) return false;
    const Block *block = &graph->blocks[node->block];
    NodeId anchor = graph->regions[node->region].anchor;
    int32_t first = p->positions[node - graph->nodes], last = first;
    while (first > 0 && graph->nodes[block->nodes[first - 1]].region == node->region) --first;
    while (last + 1 < block->node_count && graph->nodes[block->nodes[last + 1]].region == node->region)
        ++last;
    bool aligned = true;
    for (int32_t i = first; i <= last; ++i) {
        NodeId id = block->nodes[i];
        if (id == anchor ? i != first : node_form(graph, &graph->nodes[id], NULL) != FORM_ELEMENTS)
            aligned = false;
    }
    for (int32_t i = first; i <= last; ++i) {
        const Node *other = &graph->nodes[block->nodes[i]];
        if (other == node || (aligned && block->nodes[i] != anchor)) continue;
        /* what an anchor computes in place, it may as well write with what follows done to it */
        if (aligned && (op_def(other->op)->flags & OPF_IN_PLACE) != 0 && other->outputs[0] != NONE &&
            graph->values[other->outputs[0]].buffer == buffer)
            continue;
        if (node_reads(graph, other, buffer)) return true;
    }
    return false;
}

/* The input that output 0 of the node may overwrite, or NONE: its buffer dies here, has the same element type
 * and size (so that element i lies where element i goes), and holds no other input, nor one that another node
 * of the region reads elsewhere. */
static ValueId in_place_input(const Planner *p, const Node *node, ValueId output) {
    const Graph *graph = p->graph;
    Dim bytes = value_bytes(graph, output);
    for (int32_t i = 0; i < node->input_count; ++i) {
        ValueId input = node->inputs[i];
        if (input == NONE || graph->values[input].buffer == NONE) continue;
        const Draft *draft = &p->drafts[graph->values[input].buffer];
        bool fits = draft->block == node->block &&
                    draft->last_position == p->positions[node - graph->nodes] &&
                    graph->values[input].dtype == graph->values[output].dtype &&
                    value_bytes(graph, input) == bytes && !region_reads(p, node, graph->values[input].buffer);
        for (int32_t k = 0; fits && k < node->input_count; ++k) {
            ValueId other = node->inputs[k];
            if (other != NONE && other != input && graph->values[other].buffer == graph->values[input].buffer)
                fits = false;
        }
        if (fits) return input;
    }
    return NONE;
}

static Status place_output(Planner *p, const Node *node, int32_t index) {
    ValueId output = node->outputs[index];
    if (output == NONE || p->lives[output].outside || value_is_late(p->graph, output)) return STATUS_OK;
    uint32_t flags = index == 0 ? op_def(node->op)->flags : 0;
    ValueId input = NONE;
    if ((flags & OPF_VIEW) != 0) {
        input = node->inputs[0];
        if (p->lives[input].outside) {
            p->lives[output].outside = true;
            pass_count_add(p->ctx, "views", 1);
            return STATUS_OK;
        }
        if (p->graph->values[input].buffer == NONE) input = NONE;
        if (input != NONE) pass_count_add(p->ctx, "views", 1);
    } else if ((flags & OPF_IN_PLACE) != 0) {
        input = in_place_input(p, node, output);
        if (input != NONE) pass_count_add(p->ctx, "in place", 1);
    }
    if (input == NONE) return open_buffer(p, output);
    join_buffer(p, output, input);
    return STATUS_OK;
}

static Status place_block(Planner *p, BlockId id) {
    for (int32_t i = 0; i < p->graph->blocks[id].node_count; ++i) {
        const Block *block = &p->graph->blocks[id];
        const Node *node = &p->graph->nodes[block->nodes[i]];
        if (id == MAIN_BLOCK && i > 0 && node_starts_step(p->graph, block, i)) p->step++;
        for (int32_t k = 0; k < node->attrs.count; ++k)
            if (node->attrs.items[k].kind == ATTR_BLOCK)
                TRY(place_block(p, (BlockId)node->attrs.items[k].ints[0]));
        for (int32_t k = 0; k < node->output_count; ++k) TRY(place_output(p, node, k));
    }
    return STATUS_OK;
}

/* -- layout -- */

/* Bytes of a draft at the symbols' maximum, or at their opt. */
static Status draft_bytes(Planner *p, const Draft *draft, bool at_maximum, const int64_t *opt,
                          int64_t *bytes) {
    int64_t low;
    if (at_maximum)
        dim_bounds(p->graph->dims, draft->size, &low, bytes);
    else if (!dim_eval(p->graph->dims, draft->size, opt, bytes))
        return FAIL(p->ctx->diag, STATUS_BAD_MODEL, "the size of a buffer overflows 64 bits");
    if (*bytes < 0) *bytes = 0;
    return STATUS_OK;
}

static Status lay_out(Planner *p, MemoryPlan *memory) {
    DimTable *dims = p->graph->dims;
    int32_t symbol_count = dim_symbol_count(dims);
    PackItem *items = ARENA_ARRAY(p->ctx->scratch, PackItem, p->draft_count);
    int32_t *order = ARENA_ARRAY(p->ctx->scratch, int32_t, p->draft_count);
    int64_t *opt = ARENA_ARRAY(p->ctx->scratch, int64_t, symbol_count);
    TRY_ALLOC(p->ctx->diag, items);
    TRY_ALLOC(p->ctx->diag, order);
    TRY_ALLOC(p->ctx->diag, opt);
    for (int32_t i = 0; i < symbol_count; ++i) opt[i] = dim_symbol_at(dims, i)->opt;
    memory->fixed = true;
    for (int32_t i = 0; i < p->draft_count; ++i) {
        int64_t low, high;
        dim_bounds(dims, p->drafts[i].size, &low, &high);
        if (high == INT64_MAX) memory->fixed = false;
    }
    for (int32_t i = 0; i < p->draft_count; ++i) {
        items[i] = (PackItem){.first = p->drafts[i].first, .last = p->drafts[i].last};
        TRY(draft_bytes(p, &p->drafts[i], memory->fixed, opt, &items[i].size));
    }
    memory->arena_size = pack_items(items, order, p->draft_count, BUFFER_ALIGNMENT);
    memory->lower_bound = pack_lower_bound(items, p->draft_count, p->step + 1, BUFFER_ALIGNMENT);
    if (memory->arena_size < 0 || memory->lower_bound < 0)
        return FAIL(p->ctx->diag, STATUS_BAD_MODEL, "intermediate tensors need more than 2^63 bytes");
    for (int32_t i = 0; i < p->draft_count; ++i)
        memory->buffers[i] = (Buffer){.size = p->drafts[i].size,
                                      .first = p->drafts[i].first,
                                      .last = p->drafts[i].last,
                                      .offset = memory->fixed ? items[i].offset : -1};
    return STATUS_OK;
}

static void report(const Planner *p, const MemoryPlan *memory) {
    pass_count_add(p->ctx, "buffers", memory->buffer_count);
    pass_count_add(p->ctx, "arena", memory->arena_size);
    pass_count_add(p->ctx, "lower bound", memory->lower_bound);
    double over = memory->lower_bound == 0 ? 0.0
                                           : 100.0 * (double)(memory->arena_size - memory->lower_bound) /
                                                 (double)memory->lower_bound;
    log_line(p->ctx->log, LOG_PASS,
             "plan_memory: %d buffers in %lld bytes, %.1f %% over the lower bound of %lld%s",
             memory->buffer_count, (long long)memory->arena_size, over, (long long)memory->lower_bound,
             memory->fixed ? "" : " (at the usual sizes: some have no maximum)");
}

Status pass_plan_memory(PassCtx *ctx) {
    Planner planner = {.ctx = ctx, .graph = ctx->graph};
    TRY(analyse(&planner));
    planner.step = 0;
    TRY(place_block(&planner, MAIN_BLOCK));
    MemoryPlan memory = {.done = true, .buffer_count = planner.draft_count};
    memory.buffers = ARENA_ARRAY(ctx->graph->arena, Buffer, planner.draft_count);
    TRY_ALLOC(ctx->diag, memory.buffers);
    TRY(lay_out(&planner, &memory));
    ctx->graph->memory = memory;
    report(&planner, &memory);
    return STATUS_OK;
}
