/* order_steps: independent steps of the main block in an order that needs less memory at its worst step.
 *
 * Lists are scheduled greedily by three rules, on what each step allocates and what it is the last to use.
 * The memory of the best list is then planned for real, and the list taken if its arena is smaller than that
 * of the order that the model came in. On a target with steps that only the host can run, nothing is moved:
 * the stretches between them would break up. */
#include <string.h>

#include "base/checked.h"
#include "passes/memory.h"
#include "passes/pressure.h"

enum { MOST_STEPS = 4096, MOST_LOOKAHEAD = 8 };

typedef struct Step {
    int32_t first, count;           /* nodes, in the block */
    int32_t read_first, read_count; /* in Order.reads: buffers that it reads, each once */
    int32_t made_first, made_count; /* in Order.makes: buffers that it opens */
    int32_t next_first, next_count; /* in Order.nexts: steps that must come later */
    int32_t waits;                  /* steps that must come first */
    bool in_place;                  /* some result may take the place of an operand */
} Step;

typedef struct Order {
    PassCtx *ctx;
    Graph *graph;
    Block *block;
    UseTable uses; /* as they are before the steps move */
    int32_t step_count;
    Step *steps;
    int32_t *step_of; /* per node of the main block and of its bodies: the step */
    ValueId *root;    /* per value: whose bytes it shows */
    int64_t *bytes;   /* per root; 0: outside of the arena */
    ValueId *reads, *makes;
    int32_t read_count, read_capacity, make_count, make_capacity, next_count, next_capacity;
    int32_t *nexts;
    int32_t *mark; /* per value and per step: the last step that noted it */
} Order;

/* -- what steps read and make -- */

static Status add_read(Order *o, ValueId value, int32_t step) {
    ValueId root = o->root[value];
    if (o->mark[root] == step || o->bytes[root] == 0) return STATUS_OK;
    o->mark[root] = step;
    if (!ARENA_RESERVE(o->ctx->scratch, o->reads, o->read_count, o->read_capacity))
        return FAIL(o->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    o->reads[o->read_count++] = root;
    return STATUS_OK;
}

/* The operands of a node, and what its bodies read. */
static Status add_reads(Order *o, NodeId id, int32_t step) {
    const Node *node = &o->graph->nodes[id];
    o->step_of[id] = step;
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE) TRY(add_read(o, node->inputs[i], step));
    for (int32_t i = 0; i < node->attrs.count; ++i) {
        if (node->attrs.items[i].kind != ATTR_BLOCK) continue;
        const Block *body = &o->graph->blocks[node->attrs.items[i].ints[0]];
        for (int32_t k = 0; k < body->node_count; ++k) TRY(add_reads(o, body->nodes[k], step));
        for (int32_t k = 0; k < body->result_count; ++k) TRY(add_read(o, body->results[k], step));
    }
    return STATUS_OK;
}

static Status add_results(Order *o, NodeId id, int32_t step) {
    const Node *node = &o->graph->nodes[id];
    for (int32_t i = 0; i < node->output_count; ++i) {
        ValueId value = node->outputs[i];
        if (value == NONE) continue;
        if (i == 0 && memory_is_view(o->graph, node)) {
            o->root[value] = o->root[node->inputs[0]];
            continue;
        }
        if (o->bytes[value] == 0) continue;
        o->mark[value] = step; /* its own step does not read it */
        if (!ARENA_RESERVE(o->ctx->scratch, o->makes, o->make_count, o->make_capacity))
            return FAIL(o->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        o->makes[o->make_count++] = value;
    }
    return STATUS_OK;
}

static Status describe_steps(Order *o) {
    const Graph *graph = o->graph;
    int32_t step = -1;
    for (int32_t i = 0; i < o->block->node_count; ++i) {
        const Node *node = &graph->nodes[o->block->nodes[i]];
        if (node_starts_step(graph, o->block, i))
            o->steps[++step] = (Step){.first = i, .read_first = o->read_count, .made_first = o->make_count};
        Step *row = &o->steps[step];
        TRY(add_reads(o, o->block->nodes[i], step));
        TRY(add_results(o, o->block->nodes[i], step));
        row->count++;
        row->read_count = o->read_count - row->read_first;
        row->made_count = o->make_count - row->made_first;
        if ((op_def(node->op)->flags & OPF_IN_PLACE) != 0) row->in_place = true;
    }
    return STATUS_OK;
}

/* -- who comes before whom -- */

static Status add_edge(Order *o, int32_t from, int32_t to) {
    if (from == to) return STATUS_OK;
    if (!ARENA_RESERVE(o->ctx->scratch, o->nexts, o->next_count, o->next_capacity))
        return FAIL(o->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    o->nexts[o->next_count++] = to;
    o->steps[from].next_count++;
    o->steps[to].waits++;
    return STATUS_OK;
}

static bool keeps_turn(const Order *o, const Step *step) {
    for (int32_t i = step->first; i < step->first + step->count; ++i) {
        const OpDef *def = op_def(o->graph->nodes[o->block->nodes[i]].op);
        if ((def->flags & OPF_RANDOM) != 0 || def->op_class == OPCLASS_CONTROL) return true;
    }
    return false;
}

/* Steps with random operators or bodies stay in their order among themselves. */
static Status link_steps(Order *o, const UseTable *uses) {
    int32_t turn = -1;
    for (int32_t s = o->step_count - 1; s >= 0; --s) {
        Step *step = &o->steps[s];
        step->next_first = o->next_count;
        for (int32_t n = step->first; n < step->first + step->count; ++n) {
            const Node *node = &o->graph->nodes[o->block->nodes[n]];
            for (int32_t i = 0; i < node->output_count; ++i) {
                if (node->outputs[i] == NONE) continue;
                for (int32_t u = uses->first[node->outputs[i]]; u < uses->first[node->outputs[i] + 1]; ++u) {
                    const struct Use *use = &uses->uses[u];
                    NodeId user = use->node != NONE ? use->node : o->graph->blocks[use->block].owner;
                    if (user != NONE) TRY(add_edge(o, s, o->step_of[user]));
                }
            }
        }
        if (!keeps_turn(o, step)) continue;
        if (turn >= 0) TRY(add_edge(o, s, turn));
        turn = s;
    }
    return STATUS_OK;
}

/* -- lists -- */

typedef struct Run {
    const Order *o;
    int32_t *waits;   /* per step: how many it still waits for */
    int32_t *readers; /* per root: steps that still read it */
    int32_t *list;    /* steps in their order */
    int32_t count;
    int32_t *ready; /* steps that may come next, as they came up */
    int32_t ready_count;
    int64_t live, peak;
} Run;

/* What a step takes at its worst, and what is left of that behind it. */
static void weigh(const Run *run, int32_t index, int64_t *most, int64_t *left) {
    const Order *o = run->o;
    const Step *step = &o->steps[index];
    int64_t made = 0, freed = 0, largest = 0;
    for (int32_t i = 0; i < step->made_count; ++i) made += o->bytes[o->makes[step->made_first + i]];
    for (int32_t i = 0; i < step->read_count; ++i) {
        ValueId root = o->reads[step->read_first + i];
        if (run->readers[root] != 1) continue;
        freed += o->bytes[root];
        largest = max_i64(largest, o->bytes[root]);
    }
    for (int32_t i = 0; i < step->made_count; ++i) /* never read: gone at once */
        if (run->readers[o->makes[step->made_first + i]] == 0)
            freed += o->bytes[o->makes[step->made_first + i]];
    *left = made - freed;
    *most = step->in_place && largest > 0 && made >= largest ? made - largest : made;
}

static void take(Run *run, int32_t index) {
    const Order *o = run->o;
    const Step *step = &o->steps[index];
    int64_t most, left;
    weigh(run, index, &most, &left);
    run->peak = max_i64(run->peak, run->live + most);
    run->live += left;
    run->list[run->count++] = index;
    for (int32_t i = 0; i < step->read_count; ++i) run->readers[o->reads[step->read_first + i]]--;
    for (int32_t i = 0; i < step->next_count; ++i) {
        int32_t next = o->nexts[step->next_first + i];
        if (--run->waits[next] == 0) run->ready[run->ready_count++] = next;
    }
}

static Status start_run(const Order *o, Run *run) {
    Arena *arena = o->ctx->scratch;
    *run = (Run){.o = o};
    run->waits = ARENA_ARRAY(arena, int32_t, o->step_count);
    run->readers = ARENA_ARRAY(arena, int32_t, o->graph->value_count);
    run->list = ARENA_ARRAY(arena, int32_t, o->step_count);
    run->ready = ARENA_ARRAY(arena, int32_t, o->step_count);
    TRY_ALLOC(o->ctx->diag, run->waits);
    TRY_ALLOC(o->ctx->diag, run->readers);
    TRY_ALLOC(o->ctx->diag, run->list);
    TRY_ALLOC(o->ctx->diag, run->ready);
    for (int32_t s = 0; s < o->step_count; ++s) run->waits[s] = o->steps[s].waits;
    for (int32_t i = 0; i < o->read_count; ++i) run->readers[o->reads[i]]++;
    for (int32_t s = 0; s < o->step_count; ++s)
        if (run->waits[s] == 0) run->ready[run->ready_count++] = s;
    return STATUS_OK;
}

/* The step that alone becomes ready once `index` is done, or -1. */
static int32_t only_next(const Run *run, int32_t index) {
    const Order *o = run->o;
    const Step *step = &o->steps[index];
    int32_t found = -1, count = 0;
    for (int32_t i = 0; i < step->next_count; ++i) {
        int32_t next = o->nexts[step->next_first + i], edges = 0;
        if (next == found) continue;
        for (int32_t k = 0; k < step->next_count; ++k) edges += o->nexts[step->next_first + k] == next;
        if (run->waits[next] != edges) continue;
        found = next;
        count++;
    }
    return count == 1 ? found : -1;
}

/* Rules: the smaller value goes first. */
typedef int64_t (*Rule)(const Run *run, int32_t step);

static int64_t by_rest(const Run *run, int32_t step) {
    int64_t most, left;
    weigh(run, step, &most, &left);
    return left;
}

static int64_t by_need(const Run *run, int32_t step) {
    int64_t most, left;
    weigh(run, step, &most, &left);
    return left <= 0 ? left : most;
}

/* The least that is left at some point of the steps that can follow one after the other. */
static int64_t by_outlook(const Run *run, int32_t step) {
    int64_t live = 0, least = INT64_MAX;
    for (int32_t depth = 0; step >= 0 && depth < MOST_LOOKAHEAD; ++depth) {
        int64_t most, left;
        weigh(run, step, &most, &left);
        live += left;
        least = min_i64(least, live);
        step = only_next(run, step);
    }
    return least;
}

/* Among equals the one that has become ready last: what a step has made is used while it is at hand. */
static Status schedule(const Order *o, Rule rule, Run *run) {
    TRY(start_run(o, run));
    while (run->ready_count > 0) {
        int32_t best = -1;
        int64_t least = 0;
        for (int32_t i = 0; i < run->ready_count; ++i) {
            int64_t value = rule(run, run->ready[i]);
            if (best >= 0 && value > least) continue;
            best = i;
            least = value;
        }
        int32_t step = run->ready[best];
        for (int32_t i = best; i + 1 < run->ready_count; ++i) run->ready[i] = run->ready[i + 1];
        run->ready_count--;
        take(run, step);
    }
    return STATUS_OK;
}

/* -- the whole -- */

static Status find_bytes(Order *o) {
    const Graph *graph = o->graph;
    const Block *block = o->block;
    for (ValueId v = 0; v < graph->value_count; ++v) {
        o->root[v] = v;
        o->mark[v] = -1;
        NodeId producer = graph->values[v].producer;
        if (producer != NONE && graph->nodes[producer].block == MAIN_BLOCK && !memory_is_late(graph, v))
            o->bytes[v] = value_bytes_at_opt(graph, v);
    }
    for (int32_t i = 0; i < block->result_count; ++i) o->bytes[block->results[i]] = 0;
    return STATUS_OK;
}

static Status create(PassCtx *ctx, Order *o) {
    Graph *graph = ctx->graph;
    *o = (Order){.ctx = ctx, .graph = graph, .block = &graph->blocks[MAIN_BLOCK]};
    for (int32_t i = 0; i < o->block->node_count; ++i)
        if (node_starts_step(graph, o->block, i)) o->step_count++;
    o->steps = ARENA_ARRAY(ctx->scratch, Step, o->step_count);
    o->step_of = ARENA_ARRAY(ctx->scratch, int32_t, graph->node_count);
    o->root = ARENA_ARRAY(ctx->scratch, ValueId, graph->value_count);
    o->bytes = ARENA_ARRAY(ctx->scratch, int64_t, graph->value_count);
    o->mark = ARENA_ARRAY(ctx->scratch, int32_t, graph->value_count);
    TRY_ALLOC(ctx->diag, o->steps);
    TRY_ALLOC(ctx->diag, o->step_of);
    TRY_ALLOC(ctx->diag, o->root);
    TRY_ALLOC(ctx->diag, o->bytes);
    TRY_ALLOC(ctx->diag, o->mark);
    TRY(find_bytes(o));
    TRY(describe_steps(o));
    if (!use_table_build(graph, ctx->scratch, &o->uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return link_steps(o, &o->uses);
}

static bool has_host_steps(const Order *o) {
    if (o->ctx->target == NULL) return false;
    for (int32_t s = 0; s < o->step_count; ++s)
        if (pass_target_refuses(o->ctx, &o->uses, o->block->nodes + o->steps[s].first, o->steps[s].count) !=
            NULL)
            return true;
    return false;
}

static void apply(const Order *o, const NodeId *nodes, const int32_t *list, NodeId *out) {
    int32_t count = 0;
    for (int32_t s = 0; s < o->step_count; ++s) {
        const Step *step = &o->steps[list[s]];
        memcpy(out + count, nodes + step->first, (size_t)step->count * sizeof *out);
        count += step->count;
    }
    block_set_nodes(o->graph, MAIN_BLOCK, count, out);
}

static Status compare(Order *o, const int32_t *list) {
    int32_t count = o->block->node_count;
    int64_t before, after;
    NodeId *old = ARENA_ARRAY(o->ctx->scratch, NodeId, count),
           *sorted = ARENA_ARRAY(o->ctx->scratch, NodeId, count);
    TRY_ALLOC(o->ctx->diag, old);
    TRY_ALLOC(o->ctx->diag, sorted);
    memcpy(old, o->block->nodes, (size_t)count * sizeof *old);
    TRY(memory_measure(o->ctx, &before));
    apply(o, old, list, sorted);
    TRY(memory_measure(o->ctx, &after));
    if (after >= before) {
        block_set_nodes(o->graph, MAIN_BLOCK, count, old);
        return STATUS_OK;
    }
    pass_count_add(o->ctx, "arena before", before);
    pass_count_add(o->ctx, "arena", after);
    return STATUS_OK;
}

Status pass_order_steps(PassCtx *ctx) {
    static const Rule rules[] = {by_rest, by_need, by_outlook};
    Order order;
    Run given, best = {0};
    TRY(create(ctx, &order));
    if (order.step_count < 2 || order.step_count > MOST_STEPS || has_host_steps(&order)) return STATUS_OK;
    TRY(start_run(&order, &given));
    for (int32_t s = 0; s < order.step_count; ++s) take(&given, s);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i) {
        Run run;
        TRY(schedule(&order, rules[i], &run));
        if (run.count == order.step_count && (best.list == NULL || run.peak < best.peak)) best = run;
    }
    return best.list != NULL && best.peak < given.peak ? compare(&order, best.list) : STATUS_OK;
}
