#include "kernels/access.h"

#include <string.h>

#include "kernels/emit_writer.h"

Access access_strided(DimTable *dims, int32_t rank, const Dim *extents, const Dim *strides) {
    Access access = {0};
    for (int32_t i = 0; i < rank; ++i) {
        if (extents[i] == 1) continue;
        int32_t last = access.rank - 1;
        if (last >= 0 && access.stride[last] == dim_mul(dims, strides[i], extents[i])) {
            access.dim[last] = dim_mul(dims, access.dim[last], extents[i]);
            access.stride[last] = strides[i];
            continue;
        }
        access.dim[access.rank] = extents[i];
        access.stride[access.rank++] = strides[i];
    }
    if (access.rank == 1 && access.stride[0] == 0) access.rank = 0;
    return access;
}

Dim access_walks(DimTable *dims, Dim own, Dim extent) {
    if (own == extent) return 1;
    if (dim_is_exact(own)) return own == 1 ? 0 : 1;
    return dim_min(dims, 1, dim_sub(dims, own, 1));
}

Access access_ordered(DimTable *dims, const Shape *shape, const Dim *strides, Layout numbering) {
    Dim extents[SMELT_MAX_RANK], steps[SMELT_MAX_RANK];
    int32_t order[SMELT_MAX_RANK];
    layout_order(numbering, shape->rank, order);
    for (int32_t i = 0; i < shape->rank; ++i) {
        extents[i] = shape->dim[order[i]];
        steps[i] = strides[order[i]];
    }
    return access_strided(dims, shape->rank, extents, steps);
}

/* Strides along `shape` of an operand that has these along its own. */
static void broadcast_strides(DimTable *dims, const Shape *operand, const Dim *own, const Shape *shape,
                              Dim strides[SMELT_MAX_RANK]) {
    int32_t missing = shape->rank - operand->rank;
    for (int32_t i = 0; i < shape->rank; ++i)
        strides[i] = i < missing ? 0
                                 : dim_mul(dims, own[i - missing],
                                           access_walks(dims, operand->dim[i - missing], shape->dim[i]));
}

Access access_broadcast(DimTable *dims, const Shape *operand, const Shape *shape) {
    Dim own[SMELT_MAX_RANK] = {0}, strides[SMELT_MAX_RANK] = {0};
    layout_strides(dims, LAYOUT_PLAIN, 0, operand, own);
    broadcast_strides(dims, operand, own, shape, strides);
    return access_strided(dims, shape->rank, shape->dim, strides);
}

Access access_value(const Graph *graph, ValueId operand, const Shape *shape, Layout numbering) {
    Dim own[SMELT_MAX_RANK] = {0}, strides[SMELT_MAX_RANK] = {0};
    value_strides(graph, operand, own);
    broadcast_strides(graph->dims, &graph->values[operand].shape, own, shape, strides);
    return access_ordered(graph->dims, shape, strides, numbering);
}

void access_number_strides(const Graph *graph, ValueId id, Dim strides[SMELT_MAX_RANK]) {
    const Value *value = &graph->values[id];
    layout_strides(graph->dims, value->layout, 0, &value->shape, strides);
}

bool access_is_linear(const Access *access) {
    return access->rank == 1 && access->stride[0] == 1;
}

bool access_is_single(const Access *access) {
    return access->rank == 0;
}

static bool is_multiple(Dim d, int32_t lanes) {
    return dim_is_exact(d) && d % lanes == 0;
}

bool access_is_packed(const Access *access, int32_t lanes) {
    int32_t last = access->rank - 1;
    if (access_is_linear(access)) return true;
    if (last < 0 || access->stride[last] != 1 || !is_multiple(access->dim[last], lanes)) return false;
    for (int32_t i = 0; i < last; ++i)
        if (!is_multiple(access->stride[i], lanes)) return false;
    return true;
}

bool access_is_splat(const Access *access, int32_t lanes) {
    int32_t last = access->rank - 1;
    return last < 0 || (access->stride[last] == 0 && is_multiple(access->dim[last], lanes));
}

bool access_value_is_aligned(const Value *value) {
    if (value->buffer == NONE) return true;
    return dim_is_exact(value->buffer_offset) && value->buffer_offset % VECTOR_BYTES == 0;
}

/* The index over what lies behind the dimension, without what lies before it. */
const char *access_coordinate(KernelWriter *w, const Access *access, int32_t g, const char *index) {
    Emission *emission = kernel_emission(w);
    Dim behind = 1;
    for (int32_t i = g + 1; i < access->rank; ++i)
        behind = dim_mul(emission->graph->dims, behind, access->dim[i]);
    if (behind != 1)
        index = kernel_text(
            w, arena_printf(emission->arena, "quotient(%s, %s)", index, kernel_number(w, behind)));
    if (g == 0) return index;
    return kernel_text(
        w, arena_printf(emission->arena, "residue(%s, %s)", index, kernel_number(w, access->dim[g])));
}

const char *access_index(KernelWriter *w, const Access *access, const char *index) {
    Emission *emission = kernel_emission(w);
    const char *sum = NULL;
    for (int32_t g = 0; g < access->rank; ++g) {
        if (access->stride[g] == 0) continue;
        const char *term = access_coordinate(w, access, g, index);
        if (access->stride[g] != 1)
            term = kernel_text(
                w, arena_printf(emission->arena, "%s * %s", term, kernel_number(w, access->stride[g])));
        sum = sum == NULL ? term : kernel_text(w, arena_printf(emission->arena, "%s + %s", sum, term));
    }
    return sum == NULL ? "0" : sum;
}

const char *kernel_broadcast_index(KernelWriter *w, ValueId value, const Shape *shape, const char *index) {
    Graph *graph = kernel_emission(w)->graph;
    Access access = access_broadcast(graph->dims, &graph->values[value].shape, shape);
    return access_index(w, &access, index);
}

bool access_places(const Graph *graph, ValueId value, Dim *places, Dim *step, Dim *batch_step) {
    const Shape *x = &graph->values[value].shape;
    Dim strides[SMELT_MAX_RANK];
    value_strides(graph, value, strides);
    *step = strides[x->rank - 1];
    *batch_step = strides[0];
    *places = 1;
    for (int32_t i = x->rank - 1; i >= 2; --i) {
        if (strides[i] != dim_mul(graph->dims, *step, *places)) return false;
        *places = dim_mul(graph->dims, *places, x->dim[i]);
    }
    return true;
}
