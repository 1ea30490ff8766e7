/* eliminate_dead: removes nodes whose results nobody uses, and merges equal ones.
 *
 * Equal constants become one first, so that nodes which differ in nothing else are seen to be equal. A node
 * is merged into an earlier one of its own block; outputs of the graph keep the values that bear their
 * names. */
#include <string.h>

#include "passes/rewrite.h"

typedef struct Merger {
    PassCtx *ctx;
    Graph *graph;
    ValueId *same;   /* per value: what stands for it */
    bool *is_output; /* per value: of the graph */
    /* Ids by hash, open addressing: constants first, then the nodes of one block after the other. */
    int32_t *slots; /* id + 1 */
    size_t slot_count;
} Merger;

/* More ids than this with one hash are taken to be different. */
enum { MOST_PROBES = 64, HASHED_END = 4096 /* bytes */ };

/* -- table -- */

static bool table_create(Merger *m, size_t count) {
    m->slot_count = 16;
    while (m->slot_count < 2 * count) m->slot_count *= 2;
    m->slots = ARENA_ARRAY(m->ctx->scratch, int32_t, m->slot_count);
    return m->slots != NULL;
}

/* The id equal to `id`, which is put in where there is none. */
static int32_t table_find(Merger *m, uint64_t hash, int32_t id,
                          bool (*equal)(const Merger *, int32_t, int32_t)) {
    size_t slot = (size_t)hash & (m->slot_count - 1);
    for (int32_t probes = 0; probes < MOST_PROBES; ++probes, slot = (slot + 1) & (m->slot_count - 1)) {
        if (m->slots[slot] == 0) {
            m->slots[slot] = id + 1;
            return id;
        }
        if (equal(m, m->slots[slot] - 1, id)) return m->slots[slot] - 1;
    }
    return id;
}

/* -- constants -- */

static size_t constant_size(const Value *value) {
    size_t bytes = 0;
    return dtype_storage(value->dtype, value_count(value), &bytes) ? bytes : 0;
}

/* Of large ones both ends, so that the middle of most weights is never looked at here. */
static uint64_t constant_hash(const Value *value) {
    size_t size = constant_size(value), head = size < HASHED_END ? size : HASHED_END;
    const char *end = (const char *)value->data + size;
    uint64_t hash = hash_combine(hash_bytes(value->data, head), hash_bytes(end - head, head));
    hash = hash_combine(hash, size);
    return hash_combine(hash, hash_bytes(&value->shape.rank, sizeof value->shape.rank));
}

static bool equal_constants(const Merger *m, int32_t a, int32_t b) {
    const Value *x = &m->graph->values[a], *y = &m->graph->values[b];
    return x->dtype == y->dtype && x->layout == y->layout && x->channel_padding == y->channel_padding &&
           shape_equal(&x->shape, &y->shape) &&
           (x->data == y->data || memcmp(x->data, y->data, constant_size(x)) == 0);
}

static Status merge_constants(Merger *m) {
    if (!table_create(m, (size_t)m->graph->value_count))
        return FAIL(m->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    for (ValueId v = 0; v < m->graph->value_count; ++v) {
        const Value *value = &m->graph->values[v];
        if (value->data == NULL || m->is_output[v]) continue;
        m->same[v] = table_find(m, constant_hash(value), v, equal_constants);
        if (m->same[v] != v) pass_count_add(m->ctx, "constants_merged", 1);
    }
    return STATUS_OK;
}

/* -- nodes -- */

static uint64_t node_hash(const Node *node) {
    uint64_t hash = hash_bytes(node->inputs, (size_t)node->input_count * sizeof *node->inputs);
    return hash_combine(hash, (uint64_t)node->op);
}

static bool equal_nodes(const Merger *m, int32_t a, int32_t b) {
    const Node *x = &m->graph->nodes[a], *y = &m->graph->nodes[b];
    return x->op == y->op && x->block == y->block && x->region == y->region &&
           x->input_count == y->input_count && x->output_count == y->output_count &&
           memcmp(x->inputs, y->inputs, (size_t)x->input_count * sizeof *x->inputs) == 0 &&
           attr_equal(&x->attrs, &y->attrs);
}

static bool is_mergeable(const Merger *m, const Node *node) {
    if ((op_def(node->op)->flags & OPF_RANDOM) != 0 || op_def(node->op)->op_class == OPCLASS_CONTROL)
        return false;
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE && m->is_output[node->outputs[i]]) return false;
    return true;
}

/* The earlier node gives what the later one gave. */
static Status merge_node(Merger *m, NodeId earlier, NodeId later) {
    Node *kept = &m->graph->nodes[earlier], *gone = &m->graph->nodes[later];
    for (int32_t i = 0; i < gone->output_count; ++i) {
        if (gone->outputs[i] == NONE) continue;
        if (kept->outputs[i] == NONE) {
            kept->outputs[i] = gone->outputs[i];
            m->graph->values[gone->outputs[i]].producer = earlier;
            gone->outputs[i] = NONE;
        } else {
            m->same[gone->outputs[i]] = kept->outputs[i];
            m->graph->values[gone->outputs[i]].producer = NONE;
        }
    }
    if (!node_add_origins(m->graph, earlier, later))
        return FAIL(m->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    gone->op = OP_NONE;
    pass_count_add(m->ctx, "merged", 1);
    return STATUS_OK;
}

static void rename_ids(const Merger *m, int32_t count, ValueId *ids) {
    for (int32_t i = 0; i < count; ++i)
        if (ids[i] != NONE) ids[i] = m->same[ids[i]];
}

static Status merge_block(Merger *m, BlockId id);

static Status merge_bodies(Merger *m, const Node *node) {
    for (int32_t i = 0; i < node->attrs.count; ++i)
        if (node->attrs.items[i].kind == ATTR_BLOCK)
            TRY(merge_block(m, (BlockId)node->attrs.items[i].ints[0]));
    return STATUS_OK;
}

/* Definitions come before uses, so that one walk in order renames everything. */
static Status merge_block(Merger *m, BlockId id) {
    Block *block = &m->graph->blocks[id];
    int32_t kept = 0;
    for (int32_t i = 0; i < block->node_count; ++i) {
        NodeId node = block->nodes[i];
        Node *row = &m->graph->nodes[node];
        rename_ids(m, row->input_count, row->inputs);
        TRY(merge_bodies(m, row));
        NodeId first = is_mergeable(m, row) ? table_find(m, node_hash(row), node, equal_nodes) : node;
        if (first != node)
            TRY(merge_node(m, first, node));
        else
            block->nodes[kept++] = node;
    }
    block_set_nodes(m->graph, id, kept, block->nodes);
    rename_ids(m, block->result_count, block->results);
    return STATUS_OK;
}

static Status merge_equal(PassCtx *ctx) {
    Graph *graph = ctx->graph;
    Merger m = {.ctx = ctx, .graph = graph};
    m.same = ARENA_ARRAY(ctx->scratch, ValueId, graph->value_count);
    m.is_output = ARENA_ARRAY(ctx->scratch, bool, graph->value_count);
    TRY_ALLOC(ctx->diag, m.same);
    TRY_ALLOC(ctx->diag, m.is_output);
    for (ValueId v = 0; v < graph->value_count; ++v) m.same[v] = v;
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; i < block->result_count; ++i) m.is_output[block->results[i]] = true;
    TRY(merge_constants(&m));
    if (!table_create(&m, (size_t)graph->node_count))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return merge_block(&m, MAIN_BLOCK);
}

Status pass_eliminate_dead(PassCtx *ctx) {
    TRY(merge_equal(ctx));
    return remove_dead(ctx);
}
