/* Where the elements of a value lie in memory. */
#include <string.h>

#include "ir/graph.h"

enum { CHANNEL_AXIS = 1 };

void layout_order(Layout layout, int32_t rank, int32_t order[SMELT_MAX_RANK]) {
    bool last = layout == LAYOUT_CHANNELS_LAST && rank > 2;
    for (int32_t i = 0; i < rank; ++i) order[i] = last && i >= CHANNEL_AXIS ? i + 1 : i;
    if (last) order[rank - 1] = CHANNEL_AXIS;
}

void layout_strides(DimTable *dims, Layout layout, int32_t channel_padding, const Shape *shape,
                    Dim strides[SMELT_MAX_RANK]) {
    int32_t order[SMELT_MAX_RANK] = {0};
    Dim stride = 1;
    layout_order(layout, shape->rank, order);
    for (int32_t i = shape->rank - 1; i >= 0; --i) {
        int32_t axis = order[i];
        strides[axis] = stride;
        Dim extent = shape->dim[axis];
        if (axis == CHANNEL_AXIS) extent = dim_add(dims, extent, channel_padding);
        stride = dim_mul(dims, stride, extent);
    }
}

void value_strides(const Graph *graph, ValueId id, Dim strides[SMELT_MAX_RANK]) {
    const Value *value = &graph->values[id];
    if (value->strides == NULL)
        layout_strides(graph->dims, value->layout, value->channel_padding, &value->shape, strides);
    else
        memcpy(strides, value->strides, (size_t)value->shape.rank * sizeof(Dim));
}

bool value_is_plain(const Value *value) {
    bool plain_order = value->layout == LAYOUT_PLAIN || value->shape.rank < 3;
    return value->strides == NULL && value->channel_padding == 0 && plain_order;
}

Dim value_span(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    Dim strides[SMELT_MAX_RANK], span = 1;
    if (value->strides == NULL && value->channel_padding == 0) return shape_count(graph->dims, &value->shape);
    value_strides(graph, id, strides);
    for (int32_t i = 0; i < value->shape.rank; ++i) {
        if (value->shape.dim[i] == 0) return 0;
        Dim steps = dim_sub(graph->dims, value->shape.dim[i], 1);
        span = dim_add(graph->dims, span, dim_mul(graph->dims, steps, strides[i]));
    }
    return dim_max(graph->dims, 0, span);
}
