#include "kernels/lowering.h"

/* -- constants -- */

static Status store_constant(Lowering *l, const Value *from, PlanValue *to) {
    size_t size;
    if (!value_is_exact(from) || !dtype_storage(from->dtype, value_count(from), &size))
        return FAIL(l->diag, STATUS_INTERNAL, "a constant without exact shape");
    to->storage = PLAN_WEIGHT;
    return lower_weight(l, from->data, size, &to->offset);
}

/* -- the others -- */

/* The plan's value that `value` shows under another shape, or NULL. */
static const PlanValue *viewed_value(const Lowering *l, const Value *value) {
    if (value->producer == NONE || value->output_index != 0) return NULL;
    const Node *node = &l->graph->nodes[value->producer];
    if ((op_def(node->op)->flags & OPF_VIEW) == 0 || l->values[node->inputs[0]] < 0) return NULL;
    return &l->plan->values[l->values[node->inputs[0]]];
}

/* How the elements lie on the device; plans for the host know no layouts. */
static Status place_elements(Lowering *l, ValueId id, const Value *from, PlanValue *to) {
    DimTable *dims = l->graph->dims;
    if (l->finish_step == NULL) return STATUS_OK;
    to->channels_last = from->layout == LAYOUT_CHANNELS_LAST && from->shape.rank > 2;
    if (from->strides == NULL && from->channel_padding == 0) return STATUS_OK;
    Dim bytes = dim_ceil_div(dims, dim_mul(dims, value_span(l->graph, id), dtype_bits(from->dtype)), 8);
    return lower_dim(l, bytes, &to->span);
}

static Status store_computed(Lowering *l, ValueId id, const Value *from, PlanValue *to) {
    const PlanValue *viewed = viewed_value(l, from);
    if (l->output_bindings[id] >= 0) {
        to->storage = PLAN_BINDING;
        to->index = l->output_bindings[id];
    } else if (from->buffer != NONE) {
        to->storage = PLAN_BUFFER;
        to->index = from->buffer;
        TRY(lower_dim(l, from->buffer_offset, &to->offset));
    } else if (from->producer == NONE || shape_is_late(l->graph->dims, &from->shape)) {
        to->storage = PLAN_OWN;
    } else if (viewed != NULL && (viewed->storage == PLAN_WEIGHT || viewed->storage == PLAN_BINDING)) {
        to->storage = viewed->storage;
        to->index = viewed->index;
        to->offset = viewed->offset;
    } else if (l->graph->nodes[from->producer].region != NONE) {
        to->storage = PLAN_NOWHERE; /* a region that runs as one kernel */
    } else {
        return FAIL(l->diag, STATUS_INTERNAL, "no memory has been planned for it");
    }
    return STATUS_OK;
}

/* Graph inputs are added first, each with the binding of its number. */
static bool is_input(const Lowering *l, ValueId id, int32_t index) {
    const Block *block = &l->graph->blocks[MAIN_BLOCK];
    return index < block->param_count && block->params[index] == id;
}

static Status fill_value(Lowering *l, ValueId id, int32_t index, PlanValue *to) {
    const Value *from = &l->graph->values[id];
    *to = (PlanValue){.dtype = (int32_t)from->dtype, .rank = from->shape.rank, .index = -1};
    to->name = arena_strdup(l->arena, from->name);
    TRY_ALLOC(l->diag, to->name);
    if (!from->has_shape || from->dtype == DTYPE_NONE)
        return FAIL(l->diag, STATUS_INTERNAL, "its type has not been inferred");
    for (int32_t i = 0; i < to->rank; ++i) TRY(lower_dim(l, from->shape.dim[i], &to->dim[i]));
    if (is_input(l, id, index)) {
        to->storage = PLAN_BINDING;
        to->index = index;
        return STATUS_OK;
    }
    if (from->data != NULL) return store_constant(l, from, to);
    TRY(place_elements(l, id, from, to));
    return store_computed(l, id, from, to);
}

Status lower_value(Lowering *l, ValueId id, int32_t *out) {
    Plan *plan = l->plan;
    *out = id == NONE ? -1 : l->values[id];
    if (id == NONE || *out >= 0) return STATUS_OK;
    if (!ARENA_RESERVE(l->arena, plan->values, plan->value_count, l->value_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    Status status = fill_value(l, id, plan->value_count, &plan->values[plan->value_count]);
    if (status != STATUS_OK) {
        diag_value(l->diag, l->graph, id);
        return status;
    }
    *out = l->values[id] = plan->value_count++;
    return STATUS_OK;
}

Status lower_buffers(Lowering *l) {
    const MemoryPlan *memory = &l->graph->memory;
    Plan *plan = l->plan;
    plan->buffers = ARENA_ARRAY(l->arena, PlanBuffer, memory->buffer_count);
    TRY_ALLOC(l->diag, plan->buffers);
    for (int32_t i = 0; i < memory->buffer_count; ++i) {
        const Buffer *from = &memory->buffers[i];
        PlanBuffer *to = &plan->buffers[i];
        int64_t low, high;
        *to = (PlanBuffer){.first = from->first, .last = from->last, .offset = from->offset};
        TRY(lower_dim(l, from->size, &to->size));
        dim_bounds(l->graph->dims, from->size, &low, &high);
        to->capacity = memory->fixed ? high : 0;
    }
    plan->buffer_count = memory->buffer_count;
    plan->arena_size = memory->arena_size;
    plan->arena_lower_bound = memory->lower_bound;
    plan->fixed = memory->fixed;
    return STATUS_OK;
}
