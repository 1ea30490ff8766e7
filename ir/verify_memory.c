/* The rules of a finished memory plan: every value inside its buffer while the buffer is alive, and buffers
 * that are alive together apart from one another. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "ir/graph_verify.h"

static Status fail_value(Verify *v, ValueId id, Status status) {
    diag_value(v->diag, v->graph, id);
    return status;
}

/* The value's bytes lie within its buffer, where both sizes are exact. */
static Status check_extent(Verify *v, const Value *value, const Buffer *buffer) {
    int64_t elements = 1, end;
    size_t bytes;
    if (dim_is_exact(value->buffer_offset) && value->buffer_offset < 0)
        return RULE(v, "it begins %" PRId64 " bytes before its buffer", -value->buffer_offset);
    if (!value_is_exact(value) || !dim_is_exact(value->buffer_offset) || !dim_is_exact(buffer->size))
        return STATUS_OK;
    if (value->strides != NULL || value->channel_padding != 0)
        elements = value_span(v->graph, (ValueId)(value - v->graph->values));
    else
        for (int32_t i = 0; i < value->shape.rank; ++i)
            if (!checked_mul_i64(elements, value->shape.dim[i], &elements))
                return RULE(v, "its elements overflow 64 bits");
    if (!dim_is_exact(elements)) return STATUS_OK;
    if (!dtype_storage(value->dtype, elements, &bytes) || bytes > INT64_MAX ||
        !checked_add_i64(value->buffer_offset, (int64_t)bytes, &end))
        return RULE(v, "its bytes overflow 64 bits");
    if (end > buffer->size)
        return RULE(v, "it ends at byte %" PRId64 " of a buffer of %" PRId64, end, buffer->size);
    return STATUS_OK;
}

static Status check_place(Verify *v, ValueId id) {
    const Value *value = &v->graph->values[id];
    if (value->buffer == NONE) return STATUS_OK;
    if (value->buffer < 0 || value->buffer >= v->graph->memory.buffer_count)
        return fail_value(v, id,
                          RULE(v, "it is in buffer %d of %d", value->buffer, v->graph->memory.buffer_count));
    if (value->data != NULL) return fail_value(v, id, RULE(v, "a constant in a buffer"));
    Status status = check_extent(v, value, &v->graph->memory.buffers[value->buffer]);
    return status == STATUS_OK ? status : fail_value(v, id, status);
}

static Status check_buffer(Verify *v, int32_t index, const Buffer *buffer) {
    const MemoryPlan *memory = &v->graph->memory;
    if (dim_is_exact(buffer->size) && buffer->size < 0)
        return RULE(v, "buffer %d has %" PRId64 " bytes", index, buffer->size);
    if (buffer->first < 0 || buffer->first > buffer->last)
        return RULE(v, "buffer %d lives from step %d to step %d", index, buffer->first, buffer->last);
    if (buffer->offset < 0)
        return memory->fixed ? RULE(v, "buffer %d has no offset in a fixed arena", index) : STATUS_OK;
    if (buffer->offset > memory->arena_size ||
        (dim_is_exact(buffer->size) && buffer->size > memory->arena_size - buffer->offset))
        return RULE(v, "buffer %d passes the end of the arena (%" PRId64 " bytes)", index,
                    memory->arena_size);
    return STATUS_OK;
}

/* -- lifetimes -- */

/* The step that each node of the main block belongs to (a region is one step); nodes of bodies belong to the
 * step of the node that owns them. */
static Status check_alive(Verify *v, ValueId id, int32_t step) {
    const Value *value = &v->graph->values[id];
    if (value->buffer == NONE) return STATUS_OK;
    const Buffer *buffer = &v->graph->memory.buffers[value->buffer];
    if (step >= buffer->first && step <= buffer->last) return STATUS_OK;
    return fail_value(v, id,
                      RULE(v, "step %d touches it, but its buffer %d lives from step %d to step %d", step,
                           value->buffer, buffer->first, buffer->last));
}

static Status check_node_alive(Verify *v, const Node *node, int32_t step) {
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE) TRY(check_alive(v, node->inputs[i], step));
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE) TRY(check_alive(v, node->outputs[i], step));
    for (int32_t i = 0; i < node->attrs.count; ++i) {
        if (node->attrs.items[i].kind != ATTR_BLOCK) continue;
        const Block *body = &v->graph->blocks[node->attrs.items[i].ints[0]];
        for (int32_t k = 0; k < body->node_count; ++k)
            TRY(check_node_alive(v, &v->graph->nodes[body->nodes[k]], step));
        for (int32_t k = 0; k < body->result_count; ++k) TRY(check_alive(v, body->results[k], step));
    }
    return STATUS_OK;
}

static Status check_lifetimes(Verify *v) {
    const Block *block = &v->graph->blocks[MAIN_BLOCK];
    int32_t step = -1;
    RegionId open = NONE;
    for (int32_t i = 0; i < block->node_count; ++i) {
        const Node *node = &v->graph->nodes[block->nodes[i]];
        if (node->region == NONE || node->region != open) step++;
        open = node->region;
        Status status = check_node_alive(v, node, step);
        if (status != STATUS_OK) diag_node(v->diag, v->graph, block->nodes[i]);
        TRY(status);
    }
    return STATUS_OK;
}

/* -- overlap -- */

static int by_offset(const void *a, const void *b) {
    const Buffer *first = *(const Buffer *const *)a, *second = *(const Buffer *const *)b;
    return first->offset < second->offset ? -1 : first->offset > second->offset;
}

/* Buffers with exact sizes, in the order of their offsets: each is compared with those that begin before it
 * ends. Where lifetimes keep them apart many may share bytes, so the number of comparisons is bounded: a
 * plan with more is taken to be fine. */
static Status check_overlap(Verify *v) {
    enum { MAX_COMPARISONS = 1 << 24 };
    const MemoryPlan *memory = &v->graph->memory;
    const Buffer **sorted = ARENA_ARRAY(v->scratch, const Buffer *, memory->buffer_count);
    int32_t count = 0, comparisons = 0;
    TRY_ALLOC(v->diag, sorted);
    for (int32_t i = 0; i < memory->buffer_count; ++i)
        if (memory->buffers[i].offset >= 0 && dim_is_exact(memory->buffers[i].size))
            sorted[count++] = &memory->buffers[i];
    qsort(sorted, (size_t)count, sizeof *sorted, by_offset);
    for (int32_t i = 0; i < count; ++i) {
        int64_t end = sorted[i]->offset + sorted[i]->size;
        for (int32_t k = i + 1; k < count && sorted[k]->offset < end; ++k) {
            if (++comparisons > MAX_COMPARISONS) return STATUS_OK;
            bool together = sorted[i]->first <= sorted[k]->last && sorted[k]->first <= sorted[i]->last;
            if (together && sorted[k]->size > 0)
                return RULE(v, "buffers %td and %td overlap while both are alive",
                            sorted[i] - memory->buffers, sorted[k] - memory->buffers);
        }
    }
    return STATUS_OK;
}

Status verify_memory(Verify *v) {
    for (int32_t i = 0; i < v->graph->memory.buffer_count; ++i)
        TRY(check_buffer(v, i, &v->graph->memory.buffers[i]));
    for (ValueId id = 0; id < v->graph->value_count; ++id) TRY(check_place(v, id));
    TRY(check_lifetimes(v));
    TRY(check_overlap(v));
    return verify_overlap(v);
}
