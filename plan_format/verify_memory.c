#include <stdlib.h>

#include "base/tensor.h"
#include "plan_format/verify.h"

/* -- buffers -- */

static Status verify_fixed_buffer(const Verifier *v, int32_t index) {
    const PlanBuffer *buffer = &v->plan->buffers[index];
    if (buffer->offset < 0 || buffer->offset % PLAN_WEIGHT_ALIGNMENT != 0 || buffer->capacity < 0 ||
        buffer->offset > v->plan->arena_size || buffer->capacity > v->plan->arena_size - buffer->offset)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "MEMORY: buffer %d has %lld bytes at offset %lld of an arena of %lld", index,
                    (long long)buffer->capacity, (long long)buffer->offset, (long long)v->plan->arena_size);
    if (dim_is_exact(buffer->size) && buffer->size > buffer->capacity)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: buffer %d has size %lld and capacity %lld", index,
                    (long long)buffer->size, (long long)buffer->capacity);
    return STATUS_OK;
}

static Status verify_buffer(const Verifier *v, int32_t index) {
    const PlanBuffer *buffer = &v->plan->buffers[index];
    int32_t limit = v->main_steps > 0 ? v->main_steps : 1;
    TRY(verify_dim(v, buffer->size, "buffer", index));
    if (buffer->first < 0 || buffer->last < buffer->first || buffer->last >= limit)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: buffer %d is alive from step %d to %d, of %d", index,
                    buffer->first, buffer->last, v->main_steps);
    if (v->plan->fixed) return verify_fixed_buffer(v, index);
    if (buffer->offset != -1 || buffer->capacity != 0)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "MEMORY: buffer %d has offset %lld, capacity %lld in a plan that is not fixed", index,
                    (long long)buffer->offset, (long long)buffer->capacity);
    return STATUS_OK;
}

typedef struct Key {
    int64_t key;
    int32_t index;
} Key;

static int compare_keys(const void *a, const void *b) {
    const Key *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Which of the buffers, ranked by offset, are alive: a tree of flags, leaves from `size` on, that finds the
 * nearest one set on either side in logarithmic time. */
typedef struct AliveTree {
    uint8_t *any;
    int32_t size;
} AliveTree;

static void alive_set(AliveTree *tree, int32_t rank, bool alive) {
    int32_t node = rank + tree->size;
    tree->any[node] = alive;
    for (node /= 2; node >= 1; node /= 2) tree->any[node] = tree->any[2 * node] | tree->any[2 * node + 1];
}

/* The nearest set rank before (side 0) or behind (side 1) the given one, or -1. */
static int32_t alive_neighbour(const AliveTree *tree, int32_t rank, int side) {
    int32_t node = rank + tree->size;
    while (node > 1 && (node % 2 == side || !tree->any[node ^ 1])) node /= 2;
    if (node <= 1) return -1;
    node ^= 1;
    while (node < tree->size) {
        int32_t nearer = 2 * node + (side == 0 ? 1 : 0);
        node = tree->any[nearer] ? nearer : nearer ^ 1;
    }
    return node - tree->size;
}

typedef struct OverlapSweep {
    Key *by_first, *by_last, *by_offset;
    int32_t count;
    int32_t *rank; /* of a buffer, by offset */
    AliveTree tree;
} OverlapSweep;

static Status sweep_init(const Verifier *v, OverlapSweep *sweep) {
    const Plan *plan = v->plan;
    sweep->by_first = ARENA_ARRAY(v->scratch, Key, plan->buffer_count);
    sweep->by_last = ARENA_ARRAY(v->scratch, Key, plan->buffer_count);
    sweep->by_offset = ARENA_ARRAY(v->scratch, Key, plan->buffer_count);
    sweep->rank = ARENA_ARRAY(v->scratch, int32_t, plan->buffer_count);
    TRY_ALLOC(v->diag, sweep->by_first);
    TRY_ALLOC(v->diag, sweep->by_last);
    TRY_ALLOC(v->diag, sweep->by_offset);
    TRY_ALLOC(v->diag, sweep->rank);
    for (int32_t i = 0; i < plan->buffer_count; ++i) {
        const PlanBuffer *buffer = &plan->buffers[i];
        if (buffer->capacity == 0) continue;
        sweep->by_first[sweep->count] = (Key){buffer->first, i};
        sweep->by_last[sweep->count] = (Key){buffer->last, i};
        sweep->by_offset[sweep->count++] = (Key){buffer->offset, i};
    }
    qsort(sweep->by_first, (size_t)sweep->count, sizeof(Key), compare_keys);
    qsort(sweep->by_last, (size_t)sweep->count, sizeof(Key), compare_keys);
    qsort(sweep->by_offset, (size_t)sweep->count, sizeof(Key), compare_keys);
    for (int32_t i = 0; i < sweep->count; ++i) sweep->rank[sweep->by_offset[i].index] = i;
    for (sweep->tree.size = 1; sweep->tree.size < sweep->count;) sweep->tree.size *= 2;
    sweep->tree.any = ARENA_ARRAY(v->scratch, uint8_t, 2 * (size_t)sweep->tree.size);
    TRY_ALLOC(v->diag, sweep->tree.any);
    return STATUS_OK;
}

static Status verify_apart(const Verifier *v, const OverlapSweep *sweep, int32_t index, int side) {
    int32_t rank = alive_neighbour(&sweep->tree, sweep->rank[index], side);
    if (rank < 0) return STATUS_OK;
    int32_t other = sweep->by_offset[rank].index;
    const PlanBuffer *low = &v->plan->buffers[side == 0 ? other : index];
    const PlanBuffer *high = &v->plan->buffers[side == 0 ? index : other];
    if (low->offset + low->capacity <= high->offset) return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN,
                "MEMORY: buffers %d and %d overlap at step %d: bytes %lld to %lld and %lld to %lld", index,
                other, v->plan->buffers[index].first, (long long)low->offset,
                (long long)(low->offset + low->capacity), (long long)high->offset,
                (long long)(high->offset + high->capacity));
}

/* Adds buffers in the order in which they come alive; one that is apart from its neighbours in memory is
 * apart from all. */
static Status verify_overlap(const Verifier *v) {
    OverlapSweep sweep = {0};
    int32_t gone = 0;
    TRY(sweep_init(v, &sweep));
    for (int32_t i = 0; i < sweep.count; ++i) {
        for (; sweep.by_last[gone].key < sweep.by_first[i].key; ++gone)
            alive_set(&sweep.tree, sweep.rank[sweep.by_last[gone].index], false);
        TRY(verify_apart(v, &sweep, sweep.by_first[i].index, 0));
        TRY(verify_apart(v, &sweep, sweep.by_first[i].index, 1));
        alive_set(&sweep.tree, sweep.rank[sweep.by_first[i].index], true);
    }
    return STATUS_OK;
}

Status verify_buffers(const Verifier *v) {
    if (v->plan->arena_size < 0 || v->plan->arena_lower_bound < 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: an arena of %lld bytes with a lower bound of %lld",
                    (long long)v->plan->arena_size, (long long)v->plan->arena_lower_bound);
    for (int32_t i = 0; i < v->plan->buffer_count; ++i) TRY(verify_buffer(v, i));
    return v->plan->fixed ? verify_overlap(v) : STATUS_OK;
}

/* -- values -- */

/* *bytes is -1 where some dim is not exact. */
static Status value_bytes(const Verifier *v, int32_t index, int64_t *bytes) {
    const PlanValue *value = &v->plan->values[index];
    size_t size;
    *bytes = -1;
    for (int32_t i = 0; i < value->rank; ++i)
        if (!dim_is_exact(value->dim[i])) return STATUS_OK;
    if (!dims_storage((DType)value->dtype, value->rank, value->dim, &size))
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: the bytes of value %d overflow 64 bits", index);
    *bytes = (int64_t)size;
    return STATUS_OK;
}

static Status verify_type(const Verifier *v, int32_t index) {
    const PlanValue *value = &v->plan->values[index];
    if (!dtype_is_valid(value->dtype) || value->dtype == DTYPE_STRING)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d has dtype %d, which a tensor cannot have",
                    index, value->dtype);
    if (value->rank < 0 || value->rank > SMELT_MAX_RANK)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d has rank %d; the limit is %d", index,
                    value->rank, SMELT_MAX_RANK);
    for (int32_t i = 0; i < value->rank; ++i) TRY(verify_dim(v, value->dim[i], "value", index));
    for (int32_t i = value->rank; i < SMELT_MAX_RANK; ++i)
        if (value->dim[i] != 0)
            return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d of rank %d has dim %d = %lld, expected 0",
                        index, value->rank, i, (long long)value->dim[i]);
    return verify_dim(v, value->offset, "value", index);
}

static Status verify_weight(const Verifier *v, int32_t index, int64_t bytes) {
    const PlanValue *value = &v->plan->values[index];
    uint64_t size = v->plan->weights_size;
    if (bytes < 0 || !dim_is_exact(value->offset))
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d lies in WEIGHTS and has no exact %s", index,
                    bytes < 0 ? "shape" : "offset");
    if (value->offset % PLAN_WEIGHT_ALIGNMENT != 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d begins at weight %lld, not a multiple of %d",
                    index, (long long)value->offset, PLAN_WEIGHT_ALIGNMENT);
    if ((uint64_t)value->offset > size || (uint64_t)bytes > size - (uint64_t)value->offset)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d has %lld bytes at weight %lld, of %llu",
                    index, (long long)bytes, (long long)value->offset, (unsigned long long)size);
    return STATUS_OK;
}

/* Only what launches touch may lie otherwise than plainly. */
static Status verify_place(const Verifier *v, int32_t index, int64_t *bytes) {
    const PlanValue *value = &v->plan->values[index];
    TRY(verify_dim(v, value->span, "value", index));
    bool inner = value->storage == PLAN_BUFFER || value->storage == PLAN_NOWHERE;
    if ((value->span != 0 && !inner) || (value->channels_last && !inner && value->storage != PLAN_WEIGHT))
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "MEMORY: value %d of storage %d is a slice or in channels-last layout", index,
                    value->storage);
    if (dim_is_exact(value->span) && value->span != 0 && value->span < *bytes)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d spans %lld bytes and has %lld", index,
                    (long long)value->span, (long long)*bytes);
    if (value->span != 0) *bytes = dim_is_exact(value->span) ? value->span : -1;
    return STATUS_OK;
}

static Status verify_in_buffer(const Verifier *v, int32_t index, int64_t bytes) {
    const PlanValue *value = &v->plan->values[index];
    if (value->index < 0 || value->index >= v->plan->buffer_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d lies in buffer %d, of %d", index,
                    value->index, v->plan->buffer_count);
    PlanDim size = v->plan->buffers[value->index].size;
    if (!dim_is_exact(value->offset)) return STATUS_OK;
    int64_t element = dtype_bits((DType)value->dtype) / 8;
    if (element > 1 && value->offset % element != 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d begins at byte %lld, not a multiple of %lld",
                    index, (long long)value->offset, (long long)element);
    if (bytes < 0 || !dim_is_exact(size)) return STATUS_OK;
    if (value->offset > size || bytes > size - value->offset)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d has %lld bytes at %lld of buffer %d, of %lld",
                    index, (long long)bytes, (long long)value->offset, value->index, (long long)size);
    return STATUS_OK;
}

static Status verify_in_binding(const Verifier *v, int32_t index) {
    const PlanValue *value = &v->plan->values[index];
    if (value->index < 0 || value->index >= v->plan->binding_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d lies in binding %d, of %d", index,
                    value->index, v->plan->binding_count);
    if (value->offset != 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d lies at %lld of binding %d, expected 0",
                    index, (long long)value->offset, value->index);
    return STATUS_OK;
}

Status verify_value_bytes(const Verifier *v, int32_t index, int64_t *bytes) {
    TRY(value_bytes(v, index, bytes));
    return verify_place(v, index, bytes);
}

static Status verify_storage(const Verifier *v, int32_t index) {
    const PlanValue *value = &v->plan->values[index];
    int64_t bytes;
    TRY(verify_value_bytes(v, index, &bytes));
    switch (value->storage) {
    case PLAN_WEIGHT:
        TRY(verify_weight(v, index, bytes));
        break;
    case PLAN_BUFFER:
        return verify_in_buffer(v, index, bytes);
    case PLAN_BINDING:
        return verify_in_binding(v, index);
    case PLAN_OWN:
    case PLAN_NOWHERE:
        if (value->offset != 0)
            return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d of storage %d has offset %lld", index,
                        value->storage, (long long)value->offset);
        break;
    default:
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d has storage %d, which does not exist", index,
                    value->storage);
    }
    if (value->index != -1)
        return FAIL(v->diag, STATUS_BAD_PLAN, "MEMORY: value %d of storage %d has index %d, expected -1",
                    index, value->storage, value->index);
    return STATUS_OK;
}

Status verify_values(const Verifier *v) {
    for (int32_t i = 0; i < v->plan->value_count; ++i) {
        TRY(verify_type(v, i));
        TRY(verify_storage(v, i));
    }
    return STATUS_OK;
}
