/* Edits and queries over a whole graph. */
#include <string.h>

#include "ir/graph.h"

int32_t node_position(const Graph *graph, NodeId node) {
    const Block *block = &graph->blocks[graph->nodes[node].block];
    /* Edits move nodes by a few places: look around the last known one. */
    int32_t low = graph->nodes[node].place, high = low + 1;
    if (low >= block->node_count) low = block->node_count - 1;
    while (low >= 0 || high < block->node_count) {
        if (low >= 0) {
            if (block->nodes[low] == node) return low;
            low--;
        }
        if (high < block->node_count) {
            if (block->nodes[high] == node) return high;
            high++;
        }
    }
    return NONE;
}

void graph_remove_node(Graph *graph, NodeId node) {
    Node *row = &graph->nodes[node];
    Block *block = &graph->blocks[row->block];
    int32_t position = node_position(graph, node);
    if (position != NONE) {
        block->node_count--;
        memmove(block->nodes + position, block->nodes + position + 1,
                (size_t)(block->node_count - position) * sizeof *block->nodes);
    }
    for (int32_t i = 0; i < row->output_count; ++i)
        if (row->outputs[i] != NONE && graph->values[row->outputs[i]].producer == node)
            graph->values[row->outputs[i]].producer = NONE;
    row->op = OP_NONE;
    row->region = NONE;
}

void block_set_nodes(Graph *graph, BlockId block, int32_t count, const NodeId *nodes) {
    Block *row = &graph->blocks[block];
    for (int32_t i = 0; i < count; ++i) {
        row->nodes[i] = nodes[i];
        graph->nodes[nodes[i]].place = i;
    }
    row->node_count = count;
}

bool block_splice(Graph *graph, NodeId node, BlockId body) {
    BlockId block = graph->nodes[node].block;
    Block *into = &graph->blocks[block], *from = &graph->blocks[body];
    int32_t position = node_position(graph, node), moved = from->node_count;
    if (into->node_count > INT32_MAX - moved) return false;
    int32_t total = into->node_count + moved;
    NodeId *nodes = arena_grow(graph->arena, into->nodes, (size_t)position, (size_t)total, sizeof *nodes);
    if (nodes == NULL) return false;
    for (int32_t i = 0; i < moved; ++i) {
        nodes[position + i] = from->nodes[i];
        graph->nodes[from->nodes[i]].block = block;
        graph->nodes[from->nodes[i]].place = position + i;
    }
    memcpy(nodes + position + moved, into->nodes + position,
           (size_t)(into->node_count - position) * sizeof *nodes);
    into->nodes = nodes;
    into->node_count = into->node_capacity = total;
    from->node_count = 0;
    return true;
}

static void replace_ids(int32_t count, ValueId *ids, ValueId from, ValueId to) {
    for (int32_t i = 0; i < count; ++i)
        if (ids[i] == from) ids[i] = to;
}

void graph_replace_uses(Graph *graph, ValueId from, ValueId to) {
    for (NodeId n = 0; n < graph->node_count; ++n)
        if (graph->nodes[n].op != OP_NONE)
            replace_ids(graph->nodes[n].input_count, graph->nodes[n].inputs, from, to);
    for (BlockId b = 0; b < graph->block_count; ++b)
        replace_ids(graph->blocks[b].result_count, graph->blocks[b].results, from, to);
}

bool graph_swap_names(Graph *graph, ValueId a, ValueId b) {
    Value *first = &graph->values[a], *second = &graph->values[b];
    const char *name = first->name;
    first->name = second->name;
    second->name = name;
    return name_map_set(&graph->value_names, graph->arena, first->name, a) &&
           name_map_set(&graph->value_names, graph->arena, second->name, b);
}

void node_move_before(Graph *graph, NodeId node, NodeId before) {
    Block *block = &graph->blocks[graph->nodes[node].block];
    int32_t from = node_position(graph, node), to = node_position(graph, before);
    if (from == NONE || to == NONE || from == to) return;
    if (from < to) {
        to--;
        memmove(block->nodes + from, block->nodes + from + 1, (size_t)(to - from) * sizeof *block->nodes);
    } else {
        memmove(block->nodes + to + 1, block->nodes + to, (size_t)(from - to) * sizeof *block->nodes);
    }
    block->nodes[to] = node;
    graph->nodes[node].place = to;
}

/* -- uses -- */

/* Calls visit for every use of a value in the live blocks, in block and node order. */
static void each_use(const Graph *graph, void (*visit)(UseTable *table, ValueId value, struct Use use),
                     UseTable *table) {
    for (BlockId b = 0; b < graph->block_count; ++b) {
        if (!block_is_live(graph, b)) continue;
        const Block *block = &graph->blocks[b];
        for (int32_t i = 0; i < block->node_count; ++i) {
            const Node *node = &graph->nodes[block->nodes[i]];
            for (int32_t k = 0; k < node->input_count; ++k)
                if (node->inputs[k] != NONE)
                    visit(table, node->inputs[k], (struct Use){block->nodes[i], b, k});
        }
        for (int32_t k = 0; k < block->result_count; ++k)
            visit(table, block->results[k], (struct Use){NONE, b, k});
    }
}

static void count_use(UseTable *table, ValueId value, struct Use use) {
    (void)use;
    table->first[value + 1]++;
}

/* first[v] runs ahead while the uses of v are put down, and ends where those of v + 1 begin. */
static void put_use(UseTable *table, ValueId value, struct Use use) {
    table->uses[table->first[value]++] = use;
}

bool use_table_build(const Graph *graph, Arena *arena, UseTable *out) {
    int32_t count = out->value_count = graph->value_count;
    out->first = ARENA_ARRAY(arena, int32_t, (size_t)count + 1);
    if (out->first == NULL) return false;
    each_use(graph, count_use, out);
    for (int32_t v = 0; v < count; ++v) out->first[v + 1] += out->first[v];
    out->uses = ARENA_ARRAY(arena, struct Use, out->first[count]);
    if (out->uses == NULL) return false;
    each_use(graph, put_use, out);
    memmove(out->first + 1, out->first, (size_t)count * sizeof *out->first);
    out->first[0] = 0;
    return true;
}
