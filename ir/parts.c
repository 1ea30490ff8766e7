/* Values that are parts of larger ones: inputs of Concat, outputs of Split and Slice. */
#include "ir/graph.h"
#include "ops/movement.h"

static void describe_type(const Graph *graph, ValueId id, TypeInfo *out) {
    if (id == NONE) return;
    const Value *value = &graph->values[id];
    *out = (TypeInfo){.dtype = value->dtype, .shape = value->shape, .data = value->data};
}

static bool bind_operands(const Graph *graph, const Node *node, Arena *arena, InferCtx *ctx) {
    TypeInfo *types = ARENA_ARRAY(arena, TypeInfo, node->input_count + node->output_count);
    const TypeInfo **inputs = ARENA_ARRAY(arena, const TypeInfo *, node->input_count);
    if (types == NULL || inputs == NULL) return false;
    for (int32_t i = 0; i < node->input_count; ++i) {
        describe_type(graph, node->inputs[i], &types[i]);
        inputs[i] = node->inputs[i] != NONE ? &types[i] : NULL;
    }
    for (int32_t i = 0; i < node->output_count; ++i)
        describe_type(graph, node->outputs[i], &types[node->input_count + i]);
    *ctx = (InferCtx){.attrs = node->parsed,
                      .input_count = node->input_count,
                      .output_count = node->output_count,
                      .inputs = inputs,
                      .outputs = types + node->input_count,
                      .dims = graph->dims,
                      .arena = arena};
    return true;
}

bool parts_find(const Graph *graph, NodeId id, Arena *arena, Part **out, int32_t *count) {
    const Node *node = &graph->nodes[id];
    InferCtx ctx;
    *count = part_count(node->op, node->input_count, node->output_count);
    *out = ARENA_ARRAY(arena, Part, *count);
    if (*out == NULL || (*count > 0 && !bind_operands(graph, node, arena, &ctx))) return false;
    bool known = true;
    Dim start[SMELT_MAX_RANK] = {0};
    for (int32_t i = 0; i < *count; ++i) {
        Part *part = &(*out)[i];
        part->part = node->op == OP_Concat ? node->inputs[i] : node->outputs[i];
        part->whole = node->op == OP_Concat ? node->outputs[0] : node->inputs[0];
        if (part->part == NONE || part->whole == NONE) known = false;
        known = known && part_start(node->op, &ctx, i, start);
        part->known = known;
        for (int32_t k = 0; k < SMELT_MAX_RANK; ++k) part->start[k] = start[k];
    }
    return true;
}

Dim part_offset(const Graph *graph, const Part *part) {
    const Value *whole = &graph->values[part->whole];
    Dim strides[SMELT_MAX_RANK], offset = 0;
    value_strides(graph, part->whole, strides);
    for (int32_t i = 0; i < whole->shape.rank; ++i)
        offset = dim_add(graph->dims, offset, dim_mul(graph->dims, part->start[i], strides[i]));
    return offset;
}

bool part_is_in_place(const Graph *graph, const Part *part) {
    if (!part->known) return false;
    const Value *small = &graph->values[part->part], *large = &graph->values[part->whole];
    Dim own[SMELT_MAX_RANK], strides[SMELT_MAX_RANK];
    if (small->buffer == NONE || small->buffer != large->buffer || small->dtype != large->dtype) return false;
    value_strides(graph, part->part, own);
    value_strides(graph, part->whole, strides);
    for (int32_t i = 0; i < small->shape.rank; ++i)
        if (small->shape.dim[i] != 1 && own[i] != strides[i]) return false;
    Dim bytes = dim_mul(graph->dims, part_offset(graph, part), dtype_bits(small->dtype) / 8);
    return small->buffer_offset == dim_add(graph->dims, large->buffer_offset, bytes);
}

bool parts_are_in_place(const Graph *graph, NodeId id, Arena *arena) {
    Part *parts;
    int32_t count;
    if (!parts_find(graph, id, arena, &parts, &count) || count == 0) return false;
    for (int32_t i = 0; i < count; ++i)
        if (parts[i].part != NONE && !part_is_in_place(graph, &parts[i])) return false;
    return true;
}
