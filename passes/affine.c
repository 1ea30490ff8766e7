#include "passes/affine.h"

#include <math.h>

enum { CHANNEL_AXIS = 1, STATISTICS = 5 };

Status affine_create(PassCtx *ctx, int64_t channels, Affine *out) {
    out->channels = channels;
    out->scale = ARENA_ARRAY(ctx->scratch, double, channels);
    out->shift = ARENA_ARRAY(ctx->scratch, double, channels);
    TRY_ALLOC(ctx->diag, out->scale);
    TRY_ALLOC(ctx->diag, out->shift);
    for (int64_t c = 0; c < channels; ++c) out->scale[c] = 1;
    return STATUS_OK;
}

bool affine_shifts(const Affine *affine) {
    for (int64_t c = 0; c < affine->channels; ++c)
        if (affine->shift[c] != 0) return true;
    return false;
}

bool is_per_channel(const Graph *graph, ValueId id, int32_t rank, int32_t axis, int64_t channels) {
    if (!value_is_constant(graph, id)) return false;
    const Value *value = &graph->values[id];
    if (!dtype_is_float(value->dtype) || value->shape.rank > rank) return false;
    for (int32_t i = 0; i < value->shape.rank; ++i) {
        bool along = i + rank - value->shape.rank == axis && value->shape.dim[i] == channels;
        if (value->shape.dim[i] != 1 && !along) return false;
    }
    return true;
}

double per_channel(const Graph *graph, ValueId id, int64_t channel) {
    const Value *value = &graph->values[id];
    return dtype_load_f64(value->dtype, value->data, value_count(value) == 1 ? 0 : channel);
}

bool batch_norm_is_constant(const Graph *graph, const Node *node) {
    for (int32_t i = 1; i < STATISTICS; ++i)
        if (!value_is_constant(graph, node->inputs[i])) return false;
    return true;
}

Status batch_norm_read(PassCtx *ctx, const Node *node, Affine *out) {
    const Graph *graph = ctx->graph;
    float epsilon;
    TRY(attr_float(&node->attrs, "epsilon", 1e-5f, &epsilon, ctx->diag));
    for (int64_t c = 0; c < out->channels; ++c) {
        double scale = per_channel(graph, node->inputs[1], c), bias = per_channel(graph, node->inputs[2], c);
        double mean = per_channel(graph, node->inputs[3], c),
               variance = per_channel(graph, node->inputs[4], c);
        out->scale[c] = scale / sqrt(variance + (double)epsilon);
        out->shift[c] = bias - mean * out->scale[c];
    }
    return STATUS_OK;
}

static bool is_arithmetic(OpId op) {
    return op == OP_Add || op == OP_Sub || op == OP_Mul || op == OP_Div;
}

ValueId affine_operand(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    if (node->op == OP_BatchNormalization) return node->inputs[0];
    if (!is_arithmetic(node->op)) return NONE;
    ValueId operand = node->inputs[value_is_constant(graph, node->inputs[0]) ? 1 : 0];
    return value_is_constant(graph, operand) ? NONE : operand;
}

/* Add, Sub, Mul, Div with a constant on the side where it is affine in x. */
static bool read_arithmetic(const Graph *graph, const Node *node, ValueId x, int32_t axis, Affine *out) {
    bool x_first = node->inputs[0] == x;
    ValueId other = x_first ? node->inputs[1] : node->inputs[0];
    if (other == x || !is_per_channel(graph, other, graph->values[x].shape.rank, axis, out->channels))
        return false;
    for (int64_t c = 0; c < out->channels; ++c) {
        double k = per_channel(graph, other, c);
        switch (node->op) {
        case OP_Add:
            out->shift[c] = k;
            break;
        case OP_Sub:
            out->scale[c] = x_first ? 1 : -1;
            out->shift[c] = x_first ? -k : k;
            break;
        case OP_Mul:
            out->scale[c] = k;
            break;
        default: /* Div */
            if (!x_first || k == 0) return false;
            out->scale[c] = 1 / k;
        }
    }
    return true;
}

Status affine_read(PassCtx *ctx, NodeId id, ValueId x, int32_t axis, int64_t channels, Affine *out,
                   bool *found) {
    const Graph *graph = ctx->graph;
    const Node *node = &graph->nodes[id];
    *found = false;
    bool candidate = node->op == OP_BatchNormalization
                         ? axis == CHANNEL_AXIS && node->inputs[0] == x && batch_norm_is_constant(graph, node)
                         : is_arithmetic(node->op);
    if (!candidate || node->outputs[0] == NONE ||
        !shape_equal(&graph->values[node->outputs[0]].shape, &graph->values[x].shape))
        return STATUS_OK;
    TRY(affine_create(ctx, channels, out));
    if (node->op == OP_BatchNormalization) {
        TRY(batch_norm_read(ctx, node, out));
        *found = true;
    } else {
        *found = read_arithmetic(graph, node, x, axis, out);
    }
    for (int64_t c = 0; *found && c < channels; ++c)
        *found = isfinite(out->scale[c]) && isfinite(out->shift[c]);
    return STATUS_OK;
}
