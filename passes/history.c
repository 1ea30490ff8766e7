#include "passes/history.h"

#include <string.h>

Status history_note(History *history, const PassCtx *ctx, const char *pass, const char *what,
                    double seconds) {
    if (!ARENA_RESERVE(history->arena, history->steps, history->step_count, history->step_capacity))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    HistoryStep *step = &history->steps[history->step_count];
    *step = (HistoryStep){.pass = pass,
                          .what = what,
                          .graph = graph_snapshot(ctx->graph, history->arena),
                          .counter_count = ctx->counter_count,
                          .rejection_first = history->rejection_count,
                          .rejection_count = ctx->rejection_count - history->rejection_count,
                          .seconds = seconds,
                          .data_seconds = ctx->data_seconds};
    TRY_ALLOC(ctx->diag, step->graph);
    memcpy(step->counters, ctx->counters, sizeof step->counters);
    history->rejections = ctx->rejections;
    history->rejection_count = ctx->rejection_count;
    history->step_count++;
    return STATUS_OK;
}

void history_clear(History *history) {
    history->step_count = history->rejection_count = 0;
    history->rejections = NULL;
}

bool node_has_origin(const Node *node, const char *origin) {
    for (int32_t i = 0; i < node->origin_count; ++i)
        if (strcmp(node->origins[i], origin) == 0) return true;
    return false;
}

/* -- comparing -- */

static bool same_ids(int32_t count, const ValueId *a, int32_t other_count, const ValueId *b) {
    return count == other_count && (count == 0 || memcmp(a, b, (size_t)count * sizeof *a) == 0);
}

static bool same_origins(const Node *a, const Node *b) {
    if (a->origin_count != b->origin_count) return false;
    for (int32_t i = 0; i < a->origin_count; ++i)
        if (strcmp(a->origins[i], b->origins[i]) != 0) return false;
    return true;
}

static bool same_type(const Value *a, const Value *b) {
    return a->dtype == b->dtype && a->has_shape == b->has_shape && a->layout == b->layout &&
           a->channel_padding == b->channel_padding && (!a->has_shape || shape_equal(&a->shape, &b->shape));
}

static bool same_results(const Graph *before, const Graph *after, const Node *node) {
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE &&
            !same_type(&before->values[node->outputs[i]], &after->values[node->outputs[i]]))
            return false;
    return true;
}

NodeChange node_change(const Graph *before, const Graph *after, NodeId node) {
    bool was = node_is_live(before, node), is = node_is_live(after, node);
    if (!was || !is) return was ? NODE_REMOVED : is ? NODE_ADDED : NODE_ABSENT;
    const Node *a = &before->nodes[node], *b = &after->nodes[node];
    bool same = a->op == b->op && a->region == b->region && a->block == b->block &&
                same_ids(a->input_count, a->inputs, b->input_count, b->inputs) &&
                same_ids(a->output_count, a->outputs, b->output_count, b->outputs) && same_origins(a, b) &&
                attr_equal(&a->attrs, &b->attrs) && same_results(before, after, a);
    return same ? NODE_SAME : NODE_CHANGED;
}

int32_t nodes_touched(const Graph *before, const Graph *after) {
    int32_t touched = 0;
    for (NodeId n = 0; n < after->node_count; ++n) {
        NodeChange change = node_change(before, after, n);
        touched += change == NODE_ADDED || change == NODE_REMOVED || change == NODE_CHANGED;
    }
    return touched;
}

/* -- why a node is gone -- */

/* A node that newly stands for what this one stood for; NONE: there is none. */
static NodeId find_heir(const Graph *before, const Graph *after, NodeId node) {
    const Node *row = &before->nodes[node];
    for (NodeId n = 0; n < after->node_count; ++n) {
        if (n == node || !node_is_live(after, n)) continue;
        for (int32_t i = 0; i < row->origin_count; ++i) {
            bool had = node_is_live(before, n) && node_has_origin(&before->nodes[n], row->origins[i]);
            if (!had && node_has_origin(&after->nodes[n], row->origins[i])) return n;
        }
    }
    return NONE;
}

/* What a reader of `value` reads in its place now. *reader: which node (NONE: an output of its block). */
static ValueId find_replacement(const Graph *before, const Graph *after, ValueId value, NodeId *reader) {
    for (NodeId n = 0; n < before->node_count; ++n) {
        if (!node_is_live(before, n) || !node_is_live(after, n)) continue;
        const Node *a = &before->nodes[n], *b = &after->nodes[n];
        for (int32_t i = 0; i < a->input_count && i < b->input_count; ++i) {
            *reader = n;
            if (a->inputs[i] == value && b->inputs[i] != value) return b->inputs[i];
        }
    }
    *reader = NONE;
    for (BlockId b = 0; b < before->block_count; ++b)
        for (int32_t i = 0; i < before->blocks[b].result_count && i < after->blocks[b].result_count; ++i)
            if (before->blocks[b].results[i] == value && after->blocks[b].results[i] != value)
                return after->blocks[b].results[i];
    return NONE;
}

static bool has_reader(const Graph *graph, ValueId value) {
    for (NodeId n = 0; n < graph->node_count; ++n) {
        if (!node_is_live(graph, n)) continue;
        for (int32_t i = 0; i < graph->nodes[n].input_count; ++i)
            if (graph->nodes[n].inputs[i] == value) return true;
    }
    return false;
}

static const char *op_name(const Graph *graph, NodeId node) {
    return op_def(graph->nodes[node].op)->name;
}

const char *explain_removal(const Graph *before, const Graph *after, NodeId node, Arena *arena) {
    const Node *row = &before->nodes[node];
    NodeId heir = find_heir(before, after, node), reader;
    bool was_read = false;
    for (int32_t i = 0; i < row->output_count; ++i) {
        ValueId value = row->outputs[i];
        if (value == NONE) continue;
        const Value *now = &after->values[value];
        if (now->data != NULL)
            return arena_printf(arena, "its result '%s' is known: a constant now", now->name);
        if (now->producer != NONE && now->producer != node && node_is_live(after, now->producer))
            return arena_printf(arena, "%s '%s' computes its result '%s'", op_name(after, now->producer),
                                node_title(after, now->producer), now->name);
        was_read = was_read || has_reader(before, value);
    }
    if (heir != NONE)
        return arena_printf(arena, "it went into %s '%s'", op_name(after, heir), node_title(after, heir));
    for (int32_t i = 0; i < row->output_count; ++i) {
        if (row->outputs[i] == NONE) continue;
        ValueId instead = find_replacement(before, after, row->outputs[i], &reader);
        if (instead == NONE) continue;
        const char *name = after->values[instead].name;
        if (reader == NONE) return arena_printf(arena, "the output '%s' is computed without it", name);
        return arena_printf(arena, "%s '%s' reads '%s' instead", op_name(after, reader),
                            node_title(after, reader), name);
    }
    return arena_strdup(arena, was_read ? "what read its results is gone" : "nobody reads its results");
}

/* -- what a new node is for -- */

static bool shares_origin(const Node *a, const Node *b) {
    for (int32_t i = 0; i < a->origin_count; ++i)
        if (node_has_origin(b, a->origins[i])) return true;
    return false;
}

const char *explain_addition(const Graph *before, const Graph *after, NodeId node, Arena *arena) {
    ByteWriter text = byte_writer(arena);
    for (NodeId n = 0; n < before->node_count; ++n) {
        if (!node_is_live(before, n) || node_is_live(after, n)) continue;
        if (!shares_origin(&before->nodes[n], &after->nodes[node])) continue;
        write_format(&text, "%s%s '%s'", text.size == 0 ? "does what " : ", ", op_name(before, n),
                     node_title(before, n));
    }
    if (text.size > 0) write_format(&text, " did");
    write_u8(&text, 0);
    return text.failed ? NULL : (const char *)text.data;
}

/* -- what changed -- */

typedef struct Explanation {
    ByteWriter text;
    const Graph *before, *after;
    const Node *was, *is;
} Explanation;

static void begin_part(Explanation *e) {
    if (e->text.size > 0) write_format(&e->text, "; ");
}

static const char *value_name(const Graph *graph, ValueId value) {
    return value == NONE ? "nothing" : graph->values[value].name;
}

static void explain_operands(Explanation *e) {
    enum { NAMED = 3 };
    int32_t named = 0;
    if (e->was->input_count != e->is->input_count) {
        begin_part(e);
        write_format(&e->text, "reads %d values, before %d", e->is->input_count, e->was->input_count);
    }
    for (int32_t i = 0; i < e->was->input_count && i < e->is->input_count && named < NAMED; ++i) {
        if (e->was->inputs[i] == e->is->inputs[i]) continue;
        begin_part(e);
        write_format(&e->text, "reads '%s' instead of '%s'", value_name(e->after, e->is->inputs[i]),
                     value_name(e->before, e->was->inputs[i]));
        named++;
    }
    for (int32_t i = 0; i < e->was->output_count; ++i)
        if (e->was->outputs[i] != NONE && (i >= e->is->output_count || e->is->outputs[i] == NONE)) {
            begin_part(e);
            write_format(&e->text, "no longer gives '%s'", value_name(e->before, e->was->outputs[i]));
        }
}

static void explain_attributes(Explanation *e) {
    const AttrList *was = &e->was->attrs, *is = &e->is->attrs;
    for (int32_t i = 0; i < is->count; ++i) {
        const Attr *old = attr_find(was, is->items[i].name);
        AttrList a = {.count = old != NULL, .items = (Attr *)(uintptr_t)old},
                 b = {.count = 1, .items = &is->items[i]};
        if (attr_equal(&a, &b)) continue;
        begin_part(e);
        write_format(&e->text, old == NULL ? "got attribute %s" : "attribute %s is another",
                     is->items[i].name);
    }
    for (int32_t i = 0; i < was->count; ++i) {
        if (attr_find(is, was->items[i].name) != NULL) continue;
        begin_part(e);
        write_format(&e->text, "lost attribute %s", was->items[i].name);
    }
}

static void explain_origins(Explanation *e) {
    enum { NAMED = 6 };
    int32_t gained = 0;
    for (int32_t i = 0; i < e->is->origin_count; ++i) {
        if (node_has_origin(e->was, e->is->origins[i])) continue;
        if (gained == 0) begin_part(e);
        if (gained < NAMED)
            write_format(&e->text, "%s'%s'", gained == 0 ? "took in " : ", ", e->is->origins[i]);
        gained++;
    }
    if (gained > NAMED) write_format(&e->text, " and %d more", gained - NAMED);
}

static void write_type(ByteWriter *out, const Graph *graph, const Value *value) {
    const char *shape = value->has_shape ? shape_print(graph->dims, &value->shape, out->arena) : "[?]";
    write_format(out, "%s%s%s", value->dtype == DTYPE_NONE ? "?" : dtype_name(value->dtype),
                 shape != NULL ? shape : "", value->layout == LAYOUT_CHANNELS_LAST ? " channels_last" : "");
}

static void explain_types(Explanation *e) {
    for (int32_t i = 0; i < e->was->output_count; ++i) {
        ValueId id = e->was->outputs[i];
        if (id == NONE || same_type(&e->before->values[id], &e->after->values[id])) continue;
        begin_part(e);
        write_format(&e->text, "'%s' is ", value_name(e->after, id));
        write_type(&e->text, e->after, &e->after->values[id]);
        if (e->before->values[id].dtype == DTYPE_NONE) continue;
        write_format(&e->text, ", was ");
        write_type(&e->text, e->before, &e->before->values[id]);
    }
}

static void explain_region(Explanation *e) {
    if (e->was->region == e->is->region && e->was->block == e->is->block) return;
    begin_part(e);
    if (e->was->block != e->is->block)
        write_format(&e->text, "moved into block '%s'", e->after->blocks[e->is->block].name);
    else if (e->is->region == NONE)
        write_format(&e->text, "left region '%s'", e->before->regions[e->was->region].name);
    else
        write_format(&e->text, "joined region '%s'", e->after->regions[e->is->region].name);
}

const char *explain_change(const Graph *before, const Graph *after, NodeId node, Arena *arena) {
    Explanation e = {.text = byte_writer(arena),
                     .before = before,
                     .after = after,
                     .was = &before->nodes[node],
                     .is = &after->nodes[node]};
    if (e.was->op != e.is->op) write_format(&e.text, "became %s", op_def(e.is->op)->name);
    explain_operands(&e);
    explain_attributes(&e);
    explain_origins(&e);
    explain_types(&e);
    explain_region(&e);
    write_u8(&e.text, 0);
    return e.text.failed ? NULL : (const char *)e.text.data;
}
