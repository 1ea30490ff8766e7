/* plan_memory: buffers in the arena, and what is said about it. */
#include <stdlib.h>

#include "base/checked.h"
#include "base/pack.h"
#include "passes/memory.h"
#include "passes/pressure.h"

/* -- layout -- */

/* Bytes of a draft at the symbols' maximum, or at their opt. */
static Status draft_bytes(Planner *p, const Draft *draft, bool at_maximum, const int64_t *opt,
                          int64_t *bytes) {
    int64_t low;
    if (at_maximum)
        dim_bounds(p->graph->dims, draft->size, &low, bytes);
    else if (!dim_eval(p->graph->dims, draft->size, opt, bytes))
        return FAIL(p->ctx->diag, STATUS_BAD_MODEL, "the size of a buffer overflows 64 bits");
    if (*bytes < 0) *bytes = 0;
    return STATUS_OK;
}

Status memory_lay_out(Planner *p, MemoryPlan *memory) {
    DimTable *dims = p->graph->dims;
    int32_t symbol_count = dim_symbol_count(dims);
    PackItem *items = ARENA_ARRAY(p->ctx->scratch, PackItem, p->draft_count);
    int32_t *scratch = ARENA_ARRAY(p->ctx->scratch, int32_t, PACK_SCRATCH * (size_t)p->draft_count);
    int64_t *opt = ARENA_ARRAY(p->ctx->scratch, int64_t, symbol_count);
    TRY_ALLOC(p->ctx->diag, items);
    TRY_ALLOC(p->ctx->diag, scratch);
    TRY_ALLOC(p->ctx->diag, opt);
    TRY(memory_keep_for_branches(p));
    for (int32_t i = 0; i < symbol_count; ++i) opt[i] = dim_symbol_at(dims, i)->opt;
    *memory = (MemoryPlan){.done = true, .buffer_count = p->draft_count, .fixed = true};
    memory->buffers = ARENA_ARRAY(p->graph->arena, Buffer, p->draft_count);
    TRY_ALLOC(p->ctx->diag, memory->buffers);
    for (int32_t i = 0; i < p->draft_count; ++i) {
        int64_t low, high;
        dim_bounds(dims, p->drafts[i].size, &low, &high);
        if (high == INT64_MAX) memory->fixed = false;
    }
    for (int32_t i = 0; i < p->draft_count; ++i) {
        items[i] = (PackItem){.first = p->drafts[i].first, .last = p->drafts[i].last};
        TRY(draft_bytes(p, &p->drafts[i], memory->fixed, opt, &items[i].size));
        p->drafts[i].bytes = items[i].size;
    }
    memory->arena_size = pack_items(items, scratch, p->draft_count, BUFFER_ALIGNMENT);
    memory->lower_bound =
        pack_lower_bound(items, scratch, p->draft_count, p->step + 1, BUFFER_ALIGNMENT, &p->peak_step);
    if (memory->arena_size < 0 || memory->lower_bound < 0)
        return FAIL(p->ctx->diag, STATUS_BAD_MODEL, "intermediate tensors need more than 2^63 bytes");
    for (int32_t i = 0; i < p->draft_count; ++i)
        memory->buffers[i] = (Buffer){.size = p->drafts[i].size,
                                      .first = p->drafts[i].first,
                                      .last = p->drafts[i].last,
                                      .offset = memory->fixed ? items[i].offset : -1};
    return STATUS_OK;
}

/* -- report -- */

typedef struct Line {
    int64_t bytes;
    int32_t draft;
} Line;

static int largest_first(const void *a, const void *b) {
    const Line *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->draft < y->draft ? -1 : x->draft > y->draft;
}

/* The largest value of the draft that is needed at the step, else its newest. */
static const char *name_at(const Planner *p, const Draft *draft, int32_t step) {
    ValueId best = NONE;
    int64_t most = -1;
    for (ValueId v = draft->newest; v != NONE; v = p->older[v]) {
        int64_t bytes = value_bytes_at_opt(p->graph, v);
        if (p->lives[v].first_step > step || p->lives[v].last_step < step || bytes < most) continue;
        most = bytes;
        best = v;
    }
    return p->graph->values[best != NONE ? best : draft->newest].name;
}

/* The tensors that are alive at the worst step, largest first. */
static Status report_peak(const Planner *p, int64_t bytes) {
    enum { LISTED = 8 };
    Line *lines = ARENA_ARRAY(p->ctx->scratch, Line, p->draft_count);
    int32_t step = p->peak_step, count = 0;
    TRY_ALLOC(p->ctx->diag, lines);
    for (int32_t i = 0; i < p->draft_count; ++i)
        if (p->drafts[i].first <= step && step <= p->drafts[i].last)
            lines[count++] = (Line){p->drafts[i].bytes, i};
    qsort(lines, (size_t)count, sizeof *lines, largest_first);
    log_line(p->ctx->log, LOG_PASS, "plan_memory: step %d needs most, %lld bytes in %d tensors", step,
             (long long)bytes, count);
    for (int32_t i = 0; i < count && i < LISTED; ++i)
        log_line(p->ctx->log, LOG_PASS, "plan_memory:   %12lld B  %s", (long long)lines[i].bytes,
                 name_at(p, &p->drafts[lines[i].draft], step));
    return STATUS_OK;
}

Status memory_report(const Planner *p, const MemoryPlan *memory) {
    pass_count_add(p->ctx, "buffers", memory->buffer_count);
    pass_count_add(p->ctx, "arena", memory->arena_size);
    pass_count_add(p->ctx, "lower bound", memory->lower_bound);
    double over = memory->lower_bound == 0 ? 0.0
                                           : 100.0 * (double)(memory->arena_size - memory->lower_bound) /
                                                 (double)memory->lower_bound;
    log_line(p->ctx->log, LOG_PASS,
             "plan_memory: %d buffers in %lld bytes, %.1f %% over the lower bound of %lld%s",
             memory->buffer_count, (long long)memory->arena_size, over, (long long)memory->lower_bound,
             memory->fixed ? "" : " (at the usual sizes: some have no maximum)");
    return p->draft_count > 0 ? report_peak(p, memory->lower_bound) : STATUS_OK;
}
