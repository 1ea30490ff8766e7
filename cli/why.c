#include "cli/why.h"

#include <string.h>

#include "passes/history.h"

typedef struct Event {
    const char *pass, *change; /* "added", "removed", "changed", "refused" */
    const char *op, *node, *text;
    int32_t times; /* in a row */
} Event;

typedef struct EventList {
    int32_t count, capacity;
    Event *items;
} EventList;

typedef struct Why {
    App *app;
    const History *history;
    const Compiled *compiled;
    const char *wanted;
    bool *tracked; /* per node: it stands for the wanted one */
    int32_t origin_count, origin_capacity;
    const char **origins; /* what the wanted nodes are known by */
    EventList became, refused;
} Why;

static const Graph *first_graph(const Why *why) {
    return why->history->steps[0].graph;
}

static const Graph *last_graph(const Why *why) {
    return why->history->steps[why->history->step_count - 1].graph;
}

/* -- which nodes are meant -- */

static bool node_is_called(const Graph *graph, NodeId node, const char *name) {
    const Node *row = &graph->nodes[node];
    if (strcmp(row->name, name) == 0 || node_has_origin(row, name)) return true;
    for (int32_t i = 0; i < row->output_count; ++i)
        if (row->outputs[i] != NONE && strcmp(graph->values[row->outputs[i]].name, name) == 0) return true;
    return false;
}

static bool add_origin(Why *why, const char *origin) {
    for (int32_t i = 0; i < why->origin_count; ++i)
        if (strcmp(why->origins[i], origin) == 0) return true;
    if (!ARENA_RESERVE(&why->app->arena, why->origins, why->origin_count, why->origin_capacity)) return false;
    why->origins[why->origin_count++] = origin;
    return true;
}

/* Marks the nodes of a graph that bear the name; an ONNX node that was asked for stands for itself alone,
 * even where a node of the graph came from several. */
static Status mark_matches(Why *why, const Graph *graph, int32_t *matches) {
    for (NodeId n = 0; n < graph->node_count; ++n) {
        if (!node_is_live(graph, n) || !node_is_called(graph, n, why->wanted)) continue;
        const Node *row = &graph->nodes[n];
        bool by_origin = node_has_origin(row, why->wanted);
        why->tracked[n] = true;
        ++*matches;
        for (int32_t i = 0; i < row->origin_count; ++i)
            if ((!by_origin || strcmp(row->origins[i], why->wanted) == 0) &&
                !add_origin(why, row->origins[i]))
                return FAIL(&why->app->diag, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

enum { MOST_NEAR = 3, FAR = 1 << 20 };

typedef struct Near {
    const char *name;
    int distance;
} Near;

/* Small when one text looks like the other, or holds it. */
static int name_distance(const char *wanted, const char *name) {
    if (name[0] == '\0') return FAR;
    if (strcasestr(name, wanted) != NULL || strcasestr(wanted, name) != NULL) return 0;
    int distance = edit_distance(wanted, name);
    return distance <= 2 || distance * 3 <= (int)strlen(wanted) ? distance : FAR;
}

static void consider(Near near[MOST_NEAR], const char *wanted, const char *name) {
    int distance = name_distance(wanted, name);
    for (int i = 0; i < MOST_NEAR; ++i)
        if (near[i].name != NULL && strcmp(near[i].name, name) == 0) return;
    for (int i = 0; i < MOST_NEAR && distance < FAR; ++i) {
        if (near[i].name != NULL && near[i].distance <= distance) continue;
        memmove(near + i + 1, near + i, (size_t)(MOST_NEAR - 1 - i) * sizeof *near);
        near[i] = (Near){name, distance};
        return;
    }
}

/* "did you mean 'a', 'b'?"; where nothing is near, what names there look like. */
static void hint_names(Why *why, const Near near[MOST_NEAR]) {
    const Graph *graph = first_graph(why);
    bool found = near[0].name != NULL;
    ByteWriter names = byte_writer(&why->app->arena);
    int32_t count = 0;
    for (int i = 0; found && i < MOST_NEAR && near[i].name != NULL; ++i)
        write_format(&names, "%s'%s'", i > 0 ? ", " : "", near[i].name);
    for (NodeId n = 0; !found && n < graph->node_count && count < MOST_NEAR; ++n)
        if (node_is_live(graph, n))
            write_format(&names, "%s'%s'", count++ > 0 ? ", " : "", node_title(graph, n));
    write_u8(&names, 0);
    if (names.failed) return;
    diag_hint(&why->app->diag, found ? "did you mean %s?" : "its nodes are called %s, ...",
              (const char *)names.data);
}

static Status no_match(Why *why) {
    const Graph *graph = first_graph(why);
    Near near[MOST_NEAR] = {{0}};
    for (NodeId n = 0; n < graph->node_count; ++n) {
        const Node *row = &graph->nodes[n];
        if (!node_is_live(graph, n)) continue;
        consider(near, why->wanted, row->name);
        for (int32_t i = 0; i < row->origin_count; ++i) consider(near, why->wanted, row->origins[i]);
        for (int32_t i = 0; i < row->output_count; ++i)
            if (row->outputs[i] != NONE) consider(near, why->wanted, graph->values[row->outputs[i]].name);
    }
    hint_names(why, near);
    return FAIL(&why->app->diag, STATUS_USAGE, "--why: no node or value is called '%s'", why->wanted);
}

/* In the model; else among what the passes made. */
static Status find_matches(Why *why) {
    int32_t matches = 0;
    for (int32_t i = 0; i < why->history->step_count && matches == 0; ++i)
        TRY(mark_matches(why, why->history->steps[i].graph, &matches));
    return matches > 0 ? STATUS_OK : no_match(why);
}

/* -- what became of them -- */

static bool bears_origin(const Why *why, const Node *node) {
    for (int32_t i = 0; i < why->origin_count; ++i)
        if (node_has_origin(node, why->origins[i])) return true;
    return false;
}

static Status add_event(Why *why, EventList *list, const char *pass, const char *change, const Graph *graph,
                        NodeId node, const char *text) {
    TRY_ALLOC(&why->app->diag, text);
    Event *last = list->count > 0 ? &list->items[list->count - 1] : NULL;
    if (last != NULL && strcmp(last->pass, pass) == 0 && strcmp(last->change, change) == 0 &&
        strcmp(last->node, node_title(graph, node)) == 0 && strcmp(last->text, text) == 0) {
        last->times++;
        return STATUS_OK;
    }
    if (!ARENA_RESERVE(&why->app->arena, list->items, list->count, list->capacity) || list->items == NULL)
        return FAIL(&why->app->diag, STATUS_NO_MEMORY, "out of memory");
    const Node *row = &graph->nodes[node];
    list->items[list->count++] = (Event){.pass = pass,
                                         .change = change,
                                         .op = row->op != OP_NONE ? op_def(row->op)->name : "removed",
                                         .node = node_title(graph, node),
                                         .text = text,
                                         .times = 1};
    return STATUS_OK;
}

static Status follow_node(Why *why, const char *pass, const Graph *before, const Graph *after, NodeId node) {
    Arena *arena = &why->app->arena;
    NodeChange change = node_change(before, after, node);
    if (change == NODE_REMOVED && why->tracked[node])
        return add_event(why, &why->became, pass, "removed", before, node,
                         explain_removal(before, after, node, arena));
    if (change != NODE_ADDED && change != NODE_CHANGED) return STATUS_OK;
    if (bears_origin(why, &after->nodes[node])) why->tracked[node] = true;
    if (!why->tracked[node]) return STATUS_OK;
    if (change == NODE_ADDED)
        return add_event(why, &why->became, pass, "added", after, node,
                         explain_addition(before, after, node, arena));
    return add_event(why, &why->became, pass, "changed", after, node,
                     explain_change(before, after, node, arena));
}

static Status follow(Why *why) {
    const History *history = why->history;
    for (int32_t s = 1; s < history->step_count; ++s) {
        const HistoryStep *step = &history->steps[s];
        const Graph *before = history->steps[s - 1].graph;
        /* What stands for the node before the pass is told of before what does so from now on. */
        for (NodeId n = 0; n < step->graph->node_count; ++n)
            TRY(follow_node(why, step->pass, before, step->graph, n));
        for (int32_t i = 0; i < step->rejection_count; ++i) {
            const Rejection *rejection = &history->rejections[step->rejection_first + i];
            if (rejection->node < 0 || rejection->node >= step->graph->node_count ||
                !why->tracked[rejection->node])
                continue;
            const Graph *graph = node_is_live(step->graph, rejection->node) ? step->graph : before;
            TRY(add_event(why, &why->refused, rejection->pass, "refused", graph, rejection->node,
                          rejection->reason));
        }
    }
    return STATUS_OK;
}

/* -- where they are now -- */

typedef struct Place {
    int32_t step;        /* of the plan; -1: inside a body */
    int32_t first, last; /* nodes [first, last) of the block run with it */
    const Block *block;
} Place;

/* Steps are counted as the plan counts them. */
static Place find_place(const Graph *graph, NodeId node) {
    const Block *block = &graph->blocks[graph->nodes[node].block];
    Place place = {.step = -1, .block = block};
    int32_t position = node_position(graph, node);
    for (int32_t i = 0; i <= position; ++i) {
        if (!node_starts_step(graph, block, i)) continue;
        place.step++;
        place.first = i;
    }
    place.last = step_end(graph, block, position);
    if (graph->nodes[node].block != MAIN_BLOCK) place.step = -1;
    return place;
}

static const char *place_name(const Graph *graph, NodeId node) {
    RegionId region = graph->nodes[node].region;
    return region != NONE ? graph->regions[region].name : op_def(graph->nodes[node].op)->name;
}

/* The names of the ONNX nodes that run in the same step; more(i) tells them apart for the caller. */
static void each_companion(const Graph *graph, Place place, void (*visit)(ByteWriter *, const char *, bool),
                           ByteWriter *out) {
    bool first = true;
    for (int32_t i = place.first; i < place.last; ++i) {
        const Node *node = &graph->nodes[place.block->nodes[i]];
        for (int32_t k = 0; k < node->origin_count; ++k, first = false) visit(out, node->origins[k], first);
        if (node->origin_count > 0) continue;
        visit(out, node_title(graph, place.block->nodes[i]), first);
        first = false;
    }
}

static void write_plain(ByteWriter *out, const char *text, bool first) {
    write_format(out, "%s%s", first ? "" : ", ", text);
}

static void write_quoted(ByteWriter *out, const char *text, bool first) {
    if (!first) write_format(out, ", ");
    write_json_text(out, text);
}

/* What the plan runs for a step, where there is a plan. */
static void each_kernel(const Why *why, int32_t step, void (*visit)(ByteWriter *, const char *, bool),
                        ByteWriter *out) {
    const Plan *plan = &why->compiled->plan;
    if (step < 0 || step >= plan->step_count) return;
    const PlanStep *row = &plan->steps[step];
    for (int32_t i = 0; i < row->launch_count; ++i)
        visit(out, plan_launch_name(plan, row->launch_first + i), i == 0);
}

/* -- printing -- */

static void print_events(const EventList *list, ByteWriter *out) {
    for (int32_t i = 0; i < list->count; ++i) {
        const Event *event = &list->items[i];
        bool refused = strcmp(event->change, "refused") == 0;
        write_format(out, "  %-18s %s '%s'%s%s%s%s", event->pass, event->op, event->node, refused ? "" : " ",
                     refused ? "" : event->change, event->text[0] != '\0' ? ": " : "", event->text);
        if (event->times > 1) write_format(out, " (%d times)", event->times);
        write_format(out, "\n");
    }
}

static void print_place(const Why *why, NodeId node, ByteWriter *out) {
    const Graph *graph = last_graph(why);
    Place place = find_place(graph, node);
    write_format(out, "  %s '%s' in ", op_def(graph->nodes[node].op)->name, node_title(graph, node));
    if (place.step >= 0)
        write_format(out, "step %d '%s': ", place.step, place_name(graph, node));
    else
        write_format(out, "body '%s', '%s': ", place.block->name, place_name(graph, node));
    each_companion(graph, place, write_plain, out);
    write_format(out, "\n");
    size_t before = out->size;
    write_format(out, "    kernels: ");
    size_t empty = out->size;
    each_kernel(why, place.step, write_plain, out);
    write_format(out, "\n");
    if (out->size == empty + 1) out->size = before;
    const Plan *plan = &why->compiled->plan;
    if (place.step < 0 || place.step >= plan->step_count || plan->steps[place.step].reason[0] == '\0') return;
    write_format(out, "    %s: %s\n",
                 plan->steps[place.step].kind == PLAN_STEP_HOST ? "runs on the host" : "choice",
                 plan->steps[place.step].reason);
}

static void print_text(const Why *why, ByteWriter *out) {
    const Graph *graph = last_graph(why);
    bool lives = false;
    write_format(out, "%s\nwhat became of it\n", why->wanted);
    print_events(&why->became, out);
    if (why->became.count == 0) write_format(out, "  nothing: no pass changed it\n");
    write_format(out, "refused\n");
    print_events(&why->refused, out);
    if (why->refused.count == 0) write_format(out, "  nothing\n");
    write_format(out, "where it is\n");
    for (NodeId n = 0; n < graph->node_count; ++n) {
        if (!why->tracked[n] || !node_is_live(graph, n)) continue;
        print_place(why, n, out);
        lives = true;
    }
    if (!lives) write_format(out, "  nowhere: nothing in the plan comes from it\n");
}

static void print_events_json(const char *key, const EventList *list, ByteWriter *out) {
    write_format(out, "  \"%s\": [", key);
    for (int32_t i = 0; i < list->count; ++i) {
        const Event *event = &list->items[i];
        write_format(out, "%s\n    {\"pass\": ", i > 0 ? "," : "");
        write_json_text(out, event->pass);
        write_format(out, ", \"change\": \"%s\", \"op\": \"%s\", \"node\": ", event->change, event->op);
        write_json_text(out, event->node);
        write_format(out, ", \"times\": %d, \"text\": ", event->times);
        write_json_text(out, event->text);
        write_format(out, "}");
    }
    write_format(out, "],\n");
}

static void print_json(const Why *why, ByteWriter *out) {
    const Graph *graph = last_graph(why);
    const char *separator = "";
    write_format(out, "{\n  \"node\": ");
    write_json_text(out, why->wanted);
    write_format(out, ",\n");
    print_events_json("history", &why->became, out);
    print_events_json("refused", &why->refused, out);
    write_format(out, "  \"now\": [");
    for (NodeId n = 0; n < graph->node_count; ++n) {
        if (!why->tracked[n] || !node_is_live(graph, n)) continue;
        Place place = find_place(graph, n);
        write_format(out, "%s\n    {\"op\": \"%s\", \"node\": ", separator, op_def(graph->nodes[n].op)->name);
        write_json_text(out, node_title(graph, n));
        write_format(out, ", \"step\": %d, \"name\": ", place.step);
        write_json_text(out, place_name(graph, n));
        write_format(out, ", \"origins\": [");
        each_companion(graph, place, write_quoted, out);
        write_format(out, "], \"kernels\": [");
        each_kernel(why, place.step, write_quoted, out);
        write_format(out, "]}");
        separator = ",";
    }
    write_format(out, "]\n}\n");
}

static Status explain(Why *why, bool json) {
    ByteWriter out = byte_writer(&why->app->arena);
    why->tracked = ARENA_ARRAY(&why->app->arena, bool, last_graph(why)->node_count);
    TRY_ALLOC(&why->app->diag, why->tracked);
    TRY(find_matches(why));
    TRY(follow(why));
    if (json)
        print_json(why, &out);
    else
        print_text(why, &out);
    if (out.failed) return FAIL(&why->app->diag, STATUS_NO_MEMORY, "out of memory");
    fwrite(out.data, 1, out.size, stdout);
    return STATUS_OK;
}

Status why_node(App *app, const char *path, CompileSettings *settings, const char *wanted, bool json) {
    Compiled compiled = {0};
    Arena arena = {.allocator = &app->allocator};
    History history = {.arena = &arena};
    Why why = {.app = app, .history = &history, .compiled = &compiled, .wanted = wanted};
    settings->history = &history;
    if (settings->target == NULL && settings->gpu == NULL) settings->target = "cpu";
    Status status = compile_model(app, path, settings, &compiled);
    if (status == STATUS_OK) status = explain(&why, json);
    arena_reset(&arena);
    compiled_destroy(&compiled);
    return status;
}
