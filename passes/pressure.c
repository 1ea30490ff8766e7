#include "passes/pressure.h"

#include "base/checked.h"
#include "ir/cost.h"

int64_t value_bytes_at_opt(const Graph *graph, ValueId value) {
    static const size_t most = (size_t)1 << 42; /* so that sums over a graph stay below 2^63 */
    size_t bytes;
    int64_t count = value_count_at_opt(graph, value);
    if (count < 0 || !dtype_storage(graph->values[value].dtype, count, &bytes)) return 0;
    return (int64_t)(bytes < most ? bytes : most);
}

static void note_use(Pressure *p, ValueId value, int32_t step) {
    if (value == NONE) return;
    ValueId root = p->root[value];
    NodeId producer = p->graph->values[root].producer;
    if (producer != NONE && p->graph->nodes[producer].block == p->block) p->last_use[root] = step;
}

static void note_uses(Pressure *p, NodeId id, int32_t step) {
    const Node *node = &p->graph->nodes[id];
    for (int32_t i = 0; i < node->input_count; ++i) note_use(p, node->inputs[i], step);
    for (int32_t i = 0; i < node->attrs.count; ++i) {
        if (node->attrs.items[i].kind != ATTR_BLOCK) continue;
        const Block *body = &p->graph->blocks[node->attrs.items[i].ints[0]];
        for (int32_t k = 0; k < body->node_count; ++k) note_uses(p, body->nodes[k], step);
        for (int32_t k = 0; k < body->result_count; ++k) note_use(p, body->results[k], step);
    }
}

static void note_results(Pressure *p, NodeId id, int32_t step) {
    const Node *node = &p->graph->nodes[id];
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        p->made[node->outputs[i]] = p->last_use[node->outputs[i]] = step;
        bool view = i == 0 && (op_def(node->op)->flags & OPF_VIEW) != 0;
        p->root[node->outputs[i]] = view ? p->root[node->inputs[0]] : node->outputs[i];
    }
}

/* live[i] becomes what is more at step i than at the one before. What a step makes and uses up itself is
 * taken to be free: it goes through registers, or in place. */
static void note_changes(Pressure *p, const Node *node) {
    for (int32_t o = 0; o < node->output_count; ++o) {
        ValueId value = node->outputs[o];
        if (value == NONE || p->root[value] != value || p->last_use[value] == p->made[value]) continue;
        int64_t bytes = value_bytes_at_opt(p->graph, value);
        p->live[p->made[value]] += bytes;
        if (p->last_use[value] + 1 < p->step_count) p->live[p->last_use[value] + 1] -= bytes;
    }
}

Status pressure_create(PassCtx *ctx, Pressure *out) {
    const Graph *graph = ctx->graph;
    *out = (Pressure){.graph = graph};
    out->made = ARENA_ARRAY(ctx->scratch, int32_t, graph->value_count);
    out->last_use = ARENA_ARRAY(ctx->scratch, int32_t, graph->value_count);
    out->root = ARENA_ARRAY(ctx->scratch, ValueId, graph->value_count);
    TRY_ALLOC(ctx->diag, out->made);
    TRY_ALLOC(ctx->diag, out->last_use);
    TRY_ALLOC(ctx->diag, out->root);
    for (ValueId v = 0; v < graph->value_count; ++v) out->root[v] = v;
    return STATUS_OK;
}

Status pressure_enter(PassCtx *ctx, Pressure *p, BlockId id) {
    const Block *block = &p->graph->blocks[id];
    int32_t step = -1;
    p->block = id;
    for (int32_t i = 0; i < block->node_count; ++i) {
        if (node_starts_step(p->graph, block, i)) step++;
        note_uses(p, block->nodes[i], step);
        note_results(p, block->nodes[i], step);
    }
    for (int32_t i = 0; i < block->result_count; ++i) note_use(p, block->results[i], step);
    p->step_count = step + 1;
    p->live = ARENA_ARRAY(ctx->scratch, int64_t, p->step_count);
    TRY_ALLOC(ctx->diag, p->live);
    for (int32_t i = 0; i < block->node_count; ++i) note_changes(p, &p->graph->nodes[block->nodes[i]]);
    p->peak = 0;
    for (int32_t i = 0; i < p->step_count; ++i) {
        if (i > 0) p->live[i] += p->live[i - 1];
        p->peak = max_i64(p->peak, p->live[i]);
    }
    return STATUS_OK;
}
