/* plan_memory: memory that steps which may run side by side do not share. A GPU runs a step beside earlier
 * ones whose results it does not need, unless it writes where these read. */
#include "passes/memory.h"

enum { NEAR = 8 /* steps behind its last reader for which a buffer is kept at most */ };

/* Where each step of the main block begins; one more than there are. */
static int32_t *find_steps(const Planner *p) {
    const Block *block = &p->graph->blocks[MAIN_BLOCK];
    int32_t *begin = ARENA_ARRAY(p->ctx->scratch, int32_t, (size_t)block->node_count + 2), count = 0;
    if (begin == NULL) return NULL;
    for (int32_t i = 0; i < block->node_count; ++i)
        if (i == 0 || node_starts_step(p->graph, block, i)) begin[count++] = i;
    for (; count <= p->step + 1; ++count) begin[count] = block->node_count;
    return begin;
}

/* Whether the step takes a result of one of those behind `from` that are marked. */
static bool step_follows(const Planner *p, const int32_t *begin, int32_t step, int32_t from,
                         const bool *marked) {
    const Block *block = &p->graph->blocks[MAIN_BLOCK];
    for (int32_t i = begin[step]; i < begin[step + 1]; ++i) {
        const Node *node = &p->graph->nodes[block->nodes[i]];
        for (int32_t k = 0; k < node->input_count; ++k) {
            if (node->inputs[k] == NONE) continue;
            const Life *life = &p->lives[node->inputs[k]];
            if (life->block == MAIN_BLOCK && life->first_step >= from && marked[life->first_step - from])
                return true;
        }
    }
    return false;
}

/* The last of the steps behind `from` that need not wait for it; itself where all do. */
static int32_t last_beside(const Planner *p, const int32_t *begin, int32_t from) {
    bool marked[NEAR + 1] = {true};
    int32_t last = from;
    for (int32_t s = from + 1; s <= p->step && s <= from + NEAR; ++s) {
        marked[s - from] = step_follows(p, begin, s, from, marked);
        if (!marked[s - from]) last = s;
    }
    return last;
}

Status memory_keep_for_branches(Planner *p) {
    if (p->ctx->target == NULL || p->draft_count == 0) return STATUS_OK;
    const int32_t *begin = find_steps(p);
    int32_t *last = ARENA_ARRAY(p->ctx->scratch, int32_t, (size_t)p->step + 1);
    TRY_ALLOC(p->ctx->diag, begin);
    TRY_ALLOC(p->ctx->diag, last);
    for (int32_t s = 0; s <= p->step; ++s) last[s] = last_beside(p, begin, s);
    for (int32_t i = 0; i < p->draft_count; ++i) p->drafts[i].last = last[p->drafts[i].last];
    return STATUS_OK;
}
