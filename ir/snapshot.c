/* A graph as it is now, to be looked at when the original has gone on. */
#include <string.h>

#include "ir/graph.h"

/* A copy of count items; *good turns false when there is no memory for it. */
static void *copy_items(Arena *arena, const void *items, int32_t count, size_t size, bool *good) {
    void *copy = arena_alloc_array(arena, (size_t)count, size);
    if (copy == NULL)
        *good = false;
    else if (count > 0)
        memcpy(copy, items, (size_t)count * size);
    return copy;
}

static void copy_node(Arena *arena, Node *node, bool *good) {
    node->inputs = copy_items(arena, node->inputs, node->input_count, sizeof *node->inputs, good);
    node->outputs = copy_items(arena, node->outputs, node->output_count, sizeof *node->outputs, good);
    node->attrs.items =
        copy_items(arena, node->attrs.items, node->attrs.count, sizeof *node->attrs.items, good);
    node->attrs.capacity = node->attrs.count;
}

static void copy_block(Arena *arena, Block *block, bool *good) {
    block->params = copy_items(arena, block->params, block->param_count, sizeof *block->params, good);
    block->results = copy_items(arena, block->results, block->result_count, sizeof *block->results, good);
    block->nodes = copy_items(arena, block->nodes, block->node_count, sizeof *block->nodes, good);
    block->node_capacity = block->node_count;
}

const Graph *graph_snapshot(const Graph *graph, Arena *arena) {
    bool good = true;
    Graph *copy = copy_items(arena, graph, 1, sizeof *graph, &good);
    if (copy == NULL) return NULL;
    copy->arena = arena;
    copy->value_names = (NameMap){0};
    copy->values = copy_items(arena, graph->values, graph->value_count, sizeof *graph->values, &good);
    copy->nodes = copy_items(arena, graph->nodes, graph->node_count, sizeof *graph->nodes, &good);
    copy->blocks = copy_items(arena, graph->blocks, graph->block_count, sizeof *graph->blocks, &good);
    copy->regions = copy_items(arena, graph->regions, graph->region_count, sizeof *graph->regions, &good);
    copy->memory.buffers = copy_items(arena, graph->memory.buffers, graph->memory.buffer_count,
                                      sizeof *graph->memory.buffers, &good);
    for (NodeId n = 0; good && n < graph->node_count; ++n) copy_node(arena, &copy->nodes[n], &good);
    for (BlockId b = 0; good && b < graph->block_count; ++b) copy_block(arena, &copy->blocks[b], &good);
    return good ? copy : NULL;
}
