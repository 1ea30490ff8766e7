/* fuse_blocks: steps that read one another's results, and nothing else of size, become one step.
 *
 * Inverted residuals: a 1x1 convolution to many channels, one of each of these by itself, and one back to
 * few, each with what follows it element by element. What lies between them is several times as large as what
 * goes in and out. Whether a step of all three is faster is the target's to say, which times both ways or
 * reckons: its kernels compute the seams of their tiles twice. */
#include <string.h>

#include "ops/conv.h"
#include "passes/contraction.h"
#include "passes/fusion.h"

/* A convolution in front, what follows it, and where the step stands in its block. */
typedef struct Step {
    NodeId anchor;
    ValueId result; /* the one that leaves it */
    int32_t first, count;
} Step;

typedef struct Blocks {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
    Block *block;
    NodeId nodes[REGION_NODES]; /* of the steps that may become one */
    int32_t count;
    bool announces; /* only says what it will ask */
} Blocks;

/* The step that begins with this convolution; false: it begins none, or has several results. */
static bool read_step(const Blocks *b, NodeId anchor, Step *out) {
    const Graph *graph = b->graph;
    const Node *node = &graph->nodes[anchor];
    if (node->op != OP_Conv || &graph->blocks[node->block] != b->block) return false;
    *out = (Step){.anchor = anchor, .first = node_position(graph, anchor)};
    if (!node_starts_step(graph, b->block, out->first)) return false;
    out->count = step_end(graph, b->block, out->first) - out->first;
    out->result = graph->nodes[b->block->nodes[out->first + out->count - 1]].outputs[0];
    return out->result != NONE;
}

/* The convolution that begins the step whose result this is, or NONE. */
static NodeId maker(const Blocks *b, ValueId value) {
    NodeId producer = b->graph->values[value].producer;
    if (producer == NONE || &b->graph->blocks[b->graph->nodes[producer].block] != b->block) return NONE;
    int32_t at = node_position(b->graph, producer);
    while (!node_starts_step(b->graph, b->block, at)) --at;
    return b->block->nodes[at];
}

static bool add_nodes(Blocks *b, const Step *step) {
    if (b->count + step->count > REGION_NODES) return false;
    memcpy(b->nodes + b->count, b->block->nodes + step->first, sizeof(NodeId) * (size_t)step->count);
    b->count += step->count;
    return true;
}

/* The steps around a convolution of each channel by itself, whose results nothing else reads. Of a
 * step that there is not count is 0; false: there is none. */
static bool find_steps(Blocks *b, NodeId each, Step out[3]) {
    const Graph *graph = b->graph;
    BlockId id = graph->nodes[each].block;
    ValueId input = graph->nodes[each].inputs[0];
    NodeId front = maker(b, input), behind;
    if (!read_step(b, each, &out[1])) return false;
    if (front == NONE || !read_step(b, front, &out[0]) || out[0].result != input ||
        only_user(graph, &b->uses, id, input) != each)
        out[0].count = 0;
    behind = only_user(graph, &b->uses, id, out[1].result);
    if (behind == NONE || !read_step(b, behind, &out[2]) || graph->nodes[behind].inputs[0] != out[1].result)
        out[2].count = 0;
    return out[0].count + out[2].count > 0;
}

/* What comes in front of the last step moves to it: only the steps themselves read what is in between. */
static Status join(Blocks *b, const Step *first, const Step *last) {
    Graph *graph = b->graph;
    RegionId region = graph->nodes[first->anchor].region;
    const char *name = region_name(graph, b->nodes, b->count);
    TRY_ALLOC(b->ctx->diag, name);
    if (region == NONE) region = graph_add_region(graph, first->anchor, name);
    if (region == NONE) return FAIL(b->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    graph->regions[region].name = name;
    for (int32_t i = 0; b->nodes[i] != last->anchor; ++i) node_move_before(graph, b->nodes[i], last->anchor);
    for (int32_t i = 0; i < b->count; ++i) graph->nodes[b->nodes[i]].region = region;
    pass_count_add(b->ctx, "blocks", 1);
    return STATUS_OK;
}

/* Ways to compute the steps, and which of them each makes one. */
typedef struct BlockWays {
    int32_t count, first[MOST_WAYS], last[MOST_WAYS];
    Way ways[MOST_WAYS];
} BlockWays;

/* As they are, the steps from first to last as one. */
static void add_way(const Blocks *b, const Step steps[3], int32_t first, int32_t last, BlockWays *out) {
    Way *way = &out->ways[out->count];
    *way = (Way){.nodes = b->nodes};
    for (int32_t i = 0; i < 3; ++i) {
        int32_t count = steps[i].count;
        if (i < first || i >= last) {
            if (count > 0) (void)way_add(way, count, NONE);
            continue;
        }
        for (int32_t k = i + 1; k <= last; ++k) count += steps[k].count;
        (void)way_add(way, count, steps[first].anchor);
        i = last;
    }
    out->first[out->count] = first;
    out->last[out->count++] = last;
}

/* Apart, all three, or two of them; false: there are too many nodes. */
static bool list_ways(Blocks *b, const Step steps[3], BlockWays *out) {
    static const int32_t ranges[3][2] = {{0, 2}, {0, 1}, {1, 2}};
    b->count = out->count = 0;
    for (int32_t i = 0; i < 3; ++i)
        if (steps[i].count > 0 && !add_nodes(b, &steps[i])) return false;
    add_way(b, steps, 0, 0, out);
    for (int32_t r = 0; r < 3; ++r)
        if (steps[ranges[r][0]].count > 0 && steps[ranges[r][1]].count > 0)
            add_way(b, steps, ranges[r][0], ranges[r][1], out);
    return true;
}

static void say_apart(const Blocks *b, NodeId each, const BlockWays *all) {
    const Way *apart = &all->ways[0], *whole = &all->ways[1];
    if (whole->why != NULL)
        pass_reject(b->ctx, each, "cannot be one step with the convolutions around it: %s", whole->why);
    else if (whole->microseconds > 0 && apart->microseconds > 0)
        pass_reject(
            b->ctx, each,
            "is no step with the convolutions around it: they are faster apart, %.1f us against %.1f us",
            apart->microseconds, whole->microseconds);
    else
        pass_reject(b->ctx, each, "is no step with the convolutions around it: they are faster apart");
}

static Status fuse(Blocks *b, NodeId each) {
    Step steps[3] = {0};
    BlockWays all;
    if (!find_steps(b, each, steps) || !list_ways(b, steps, &all)) return STATUS_OK;
    if (b->announces) {
        pass_target_announce(b->ctx, &b->uses, all.ways, all.count);
        return STATUS_OK;
    }
    int32_t best = pass_target_choose(b->ctx, &b->uses, all.ways, all.count);
    if (best == 0) {
        say_apart(b, each, &all);
        return STATUS_OK;
    }
    b->count = 0;
    for (int32_t i = all.first[best]; i <= all.last[best]; ++i) (void)add_nodes(b, &steps[i]);
    return join(b, &steps[all.first[best]], &steps[all.last[best]]);
}

static Status visit_all(Blocks *blocks) {
    Graph *graph = blocks->graph;
    for (BlockId id = 0; id < graph->block_count; ++id) {
        blocks->block = &graph->blocks[id];
        for (int32_t i = 0; i < blocks->block->node_count; ++i) {
            NodeId node = blocks->block->nodes[i];
            const Node *own = &graph->nodes[node];
            if (own->op == OP_Conv && conv_is_depthwise(own->parsed, &graph->values[own->inputs[1]].shape))
                TRY(fuse(blocks, node));
        }
    }
    return STATUS_OK;
}

Status pass_fuse_blocks(PassCtx *ctx) {
    Blocks blocks = {.ctx = ctx, .graph = ctx->graph};
    if (ctx->target == NULL) return STATUS_OK; /* whose kernels it is all about */
    if (!use_table_build(ctx->graph, ctx->scratch, &blocks.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    blocks.announces = true;
    TRY(visit_all(&blocks));
    blocks.announces = false;
    return visit_all(&blocks);
}
