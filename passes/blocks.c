#include "passes/blocks.h"

#include <string.h>

#include "ops/conv.h"
#include "passes/contraction.h"

static const Block *block_of(const Graph *graph, NodeId node) {
    return &graph->blocks[graph->nodes[node].block];
}

/* The step that begins with this convolution; false: it begins none, or its last node's first result is left
 * out. Whether others leave it too is the target's to refuse. */
static bool read_step(const Graph *graph, NodeId anchor, BlockStep *out) {
    const Block *block = block_of(graph, anchor);
    if (graph->nodes[anchor].op != OP_Conv) return false;
    *out = (BlockStep){.anchor = anchor, .first = node_position(graph, anchor)};
    if (!node_starts_step(graph, block, out->first)) return false;
    out->count = step_end(graph, block, out->first) - out->first;
    out->result = graph->nodes[block->nodes[out->first + out->count - 1]].outputs[0];
    return out->result != NONE;
}

/* The first node of the step that a node, which stands in the block of `id`, is in; NONE: it stands in none.
 */
static NodeId step_of(const Graph *graph, NodeId id, NodeId node) {
    if (node == NONE || graph->nodes[node].block != graph->nodes[id].block) return NONE;
    const Block *block = block_of(graph, id);
    return block->nodes[step_begin(graph, block, node_position(graph, node))];
}

/* The step of one convolution of `input` alone whose result the node, one of the step's, adds. */
static bool find_shortcut(const Graph *graph, const UseTable *uses, ValueId input, const BlockStep *step,
                          NodeId add, BlockStep *out) {
    const Node *node = &graph->nodes[add];
    for (int32_t k = 0; k < node->input_count && node->op == OP_Add; ++k) {
        NodeId other = graph->values[node->inputs[k]].producer;
        if (other == step->anchor || step_of(graph, add, other) != other || other == NONE) continue;
        if (read_step(graph, other, out) && out->count == 1 && graph->nodes[other].inputs[0] == input &&
            only_user(graph, uses, node->block, out->result) == add)
            return true;
    }
    *out = (BlockStep){.anchor = NONE};
    return false;
}

/* The steps around a convolution; false: there is none in front nor behind. */
static bool find_steps(const Graph *graph, const UseTable *uses, NodeId middle, BlockStep *steps) {
    BlockId id = graph->nodes[middle].block;
    if (!read_step(graph, middle, &steps[BLOCK_MIDDLE])) return false;
    ValueId input = graph->nodes[middle].inputs[0], result = steps[BLOCK_MIDDLE].result;
    NodeId front = step_of(graph, middle, graph->values[input].producer),
           behind = only_user(graph, uses, id, result);
    if (front == NONE || !read_step(graph, front, &steps[BLOCK_FRONT]) ||
        steps[BLOCK_FRONT].result != input || only_user(graph, uses, id, input) != middle)
        steps[BLOCK_FRONT].count = 0;
    if (behind == NONE || !read_step(graph, behind, &steps[BLOCK_BEHIND]) ||
        graph->nodes[behind].inputs[0] != result)
        steps[BLOCK_BEHIND].count = 0;
    return steps[BLOCK_FRONT].count + steps[BLOCK_BEHIND].count > 0;
}

/* Of a block of three steps. */
static void add_shortcut(const Graph *graph, const UseTable *uses, BlockStep *steps) {
    const BlockStep *behind = &steps[BLOCK_BEHIND];
    ValueId input = graph->nodes[steps[BLOCK_FRONT].anchor].inputs[0];
    const Block *block = block_of(graph, behind->anchor);
    for (int32_t i = behind->first; i < behind->first + behind->count; ++i)
        if (find_shortcut(graph, uses, input, behind, block->nodes[i], &steps[BLOCK_SHORTCUT])) return;
}

/* As they are, the steps from first to last as one. */
static void add_way(ConvBlock *b, BlockPlace first, BlockPlace last) {
    Way *way = &b->ways[b->way_count];
    *way = (Way){.nodes = b->nodes};
    for (int32_t i = 0; i < CONV_BLOCK_STEPS; ++i) {
        int32_t count = b->steps[i].count;
        if (i < (int32_t)first || i >= (int32_t)last) {
            if (count > 0) (void)way_add(way, count, NONE);
            continue;
        }
        for (int32_t k = i + 1; k <= (int32_t)last; ++k) count += b->steps[k].count;
        (void)way_add(way, count, b->steps[first].anchor);
        i = (int32_t)last;
    }
    b->first[b->way_count] = first;
    b->last[b->way_count++] = last;
}

static bool list_nodes(const Graph *graph, ConvBlock *b) {
    for (int32_t i = 0; i < CONV_BLOCK_STEPS; ++i) {
        const BlockStep *step = &b->steps[i];
        if (step->count == 0) continue;
        if (b->node_count + step->count > CONV_BLOCK_NODES) return false;
        memcpy(b->nodes + b->node_count, block_of(graph, step->anchor)->nodes + step->first,
               sizeof(NodeId) * (size_t)step->count);
        b->node_count += step->count;
    }
    return true;
}

bool conv_block_find(const Graph *graph, const UseTable *uses, NodeId middle, ConvBlock *out) {
    static const BlockPlace ranges[3][2] = {
        {BLOCK_FRONT, BLOCK_BEHIND}, {BLOCK_FRONT, BLOCK_MIDDLE}, {BLOCK_MIDDLE, BLOCK_BEHIND}};
    const Node *node = &graph->nodes[middle];
    *out = (ConvBlock){0};
    if (node->op != OP_Conv || !find_steps(graph, uses, middle, out->steps)) return false;
    bool depthwise = conv_is_depthwise(node->parsed, &graph->values[node->inputs[1]].shape);
    bool whole = out->steps[BLOCK_FRONT].count > 0 && out->steps[BLOCK_BEHIND].count > 0;
    if (!depthwise && !whole) return false;
    if (!depthwise) add_shortcut(graph, uses, out->steps);
    if (!list_nodes(graph, out)) return false;
    add_way(out, BLOCK_FRONT, BLOCK_FRONT);
    for (int32_t r = 0; r < (depthwise ? 3 : 1); ++r)
        if (out->steps[ranges[r][0]].count > 0 && out->steps[ranges[r][1]].count > 0)
            add_way(out, ranges[r][0], ranges[r][1]);
    return true;
}

/* Exchanges the layouts of the block's input and results with these. */
static void swap_layouts(Graph *graph, const ConvBlock *b, Layout layouts[CONV_BLOCK_NODES + 1]) {
    for (int32_t i = 0; i <= b->node_count; ++i) {
        ValueId id =
            i < b->node_count ? graph->nodes[b->nodes[i]].outputs[0] : graph->nodes[b->nodes[0]].inputs[0];
        if (id == NONE) continue;
        Layout own = graph->values[id].layout;
        graph->values[id].layout = layouts[i];
        layouts[i] = own;
    }
}

/* The target's choice as if the input and all results were channels-last. */
static int32_t choose_channels_last(PassCtx *ctx, const UseTable *uses, ConvBlock *b) {
    Layout layouts[CONV_BLOCK_NODES + 1];
    for (int32_t i = 0; i <= CONV_BLOCK_NODES; ++i) layouts[i] = LAYOUT_CHANNELS_LAST;
    swap_layouts(ctx->graph, b, layouts);
    int32_t best = pass_target_choose(ctx, uses, b->ways, b->way_count);
    swap_layouts(ctx->graph, b, layouts);
    return best;
}

bool conv_block_takes_shortcut(PassCtx *ctx, const UseTable *uses, NodeId node) {
    const Graph *graph = ctx->graph;
    const Node *own = &graph->nodes[node];
    ConvBlock block;
    if (ctx->target == NULL || own->op != OP_Conv || own->outputs[0] == NONE) return false;
    NodeId last = step_of(graph, node, only_user(graph, uses, own->block, own->outputs[0]));
    if (last == NONE || graph->nodes[last].op != OP_Conv) return false;
    NodeId middle = step_of(graph, node, graph->values[graph->nodes[last].inputs[0]].producer);
    if (middle == NONE || !conv_block_find(graph, uses, middle, &block)) return false;
    const BlockStep *shortcut = &block.steps[BLOCK_SHORTCUT];
    return shortcut->count > 0 && shortcut->anchor == node && choose_channels_last(ctx, uses, &block) != 0;
}
