/* pad_channels: convolutions of awkward widths get channels of zeros.
 *
 * Matrix units and loads of packs take channels by eight. Where nothing but convolutions and what keeps zeros
 * zeros sees values whose channels are no multiple of that, filters of zeros behind the others make channels
 * of zeros, and whoever reads them gets weights of zeros for them: every result is the same sum as before,
 * and what the graph gives out has its own channels. Values that are tied by nodes which want as many
 * channels in as out are padded together or not at all; what it costs is the bytes of the zeros. */
#include <math.h>

#include "ops/conv.h"
#include "ops/norm.h"
#include "passes/join_constants.h"

enum {
    PACK = 8, /* channels that are loaded together */
    CHANNELS = 1,
    MOST_GROWTH = 3 /* the zeros may be one part in so many of the channels */
};

/* Values that must have the same channels; at the root of their tree. */
typedef struct Family {
    const char *why; /* it stays as it is: who else sees its values; NULL */
    NodeId maker;    /* the first convolution whose filters make its channels; NONE */
    bool read;       /* a convolution has weights for them */
    bool spatial;    /* some value has more than one element of a channel */
} Family;

typedef struct Padder {
    PassCtx *ctx;
    Graph *graph;
    ValueId *parent; /* per value; NONE: not to be padded */
    Family *families;
    Joiner joiner;
} Padder;

/* -- families -- */

static bool is_candidate(const Graph *graph, ValueId id) {
    const Value *value = &graph->values[id];
    return value->producer != NONE && graph->nodes[value->producer].block == MAIN_BLOCK &&
           value->data == NULL && value->has_shape && value->shape.rank > 2 && dtype_is_half(value->dtype) &&
           dim_is_exact(value->shape.dim[CHANNELS]) && value->shape.dim[CHANNELS] % PACK != 0;
}

static bool is_spatial(const Value *value) {
    for (int32_t i = CHANNELS + 1; i < value->shape.rank; ++i)
        if (value->shape.dim[i] != 1) return true;
    return false;
}

static bool is_free(const Padder *p, ValueId value) {
    return value != NONE && p->parent[value] != NONE;
}

static ValueId root_of(const Padder *p, ValueId value) {
    while (p->parent[value] != value) value = p->parent[value] = p->parent[p->parent[value]];
    return value;
}

static Family *family_of(const Padder *p, ValueId value) {
    return &p->families[root_of(p, value)];
}

static void refuse(Padder *p, ValueId value, const char *why) {
    if (is_free(p, value) && family_of(p, value)->why == NULL) family_of(p, value)->why = why;
}

static void tie(Padder *p, ValueId a, ValueId b) {
    ValueId from = root_of(p, a), to = root_of(p, b);
    if (from == to) return;
    const Family *gone = &p->families[from];
    Family *kept = &p->families[to];
    p->parent[from] = to;
    if (kept->why == NULL) kept->why = gone->why;
    if (kept->maker == NONE || (gone->maker != NONE && gone->maker < kept->maker)) kept->maker = gone->maker;
    kept->read = kept->read || gone->read;
    kept->spatial = kept->spatial || gone->spatial;
}

/* -- what nodes do with zeros -- */

/* How a node makes zeros of zeros, whatever its other elements are. */
typedef enum ZeroRule {
    ZERO_NEVER,
    ZERO_ALONE,   /* f(0) = 0, channel by channel */
    ZERO_SUM,     /* where all operands are 0 */
    ZERO_PRODUCT, /* where one is, and the others are finite */
    ZERO_CLIP,    /* where 0 lies between the bounds */
    ZERO_NORM     /* with a scale and a shift of 0 */
} ZeroRule;

static ZeroRule zero_rule(OpId op) {
    static const struct {
        OpId op;
        ZeroRule rule;
    } rules[] = {
        {OP_Relu, ZERO_ALONE},
        {OP_LeakyRelu, ZERO_ALONE},
        {OP_Elu, ZERO_ALONE},
        {OP_Selu, ZERO_ALONE},
        {OP_Celu, ZERO_ALONE},
        {OP_Gelu, ZERO_ALONE},
        {OP_HardSwish, ZERO_ALONE},
        {OP_Swish, ZERO_ALONE},
        {OP_Mish, ZERO_ALONE},
        {OP_Tanh, ZERO_ALONE},
        {OP_Softsign, ZERO_ALONE},
        {OP_Neg, ZERO_ALONE},
        {OP_Abs, ZERO_ALONE},
        {OP_MaxPool, ZERO_ALONE},
        {OP_AveragePool, ZERO_ALONE},
        {OP_GlobalMaxPool, ZERO_ALONE},
        {OP_GlobalAveragePool, ZERO_ALONE},
        {OP_Add, ZERO_SUM},
        {OP_Sub, ZERO_SUM},
        {OP_Max, ZERO_SUM},
        {OP_Min, ZERO_SUM},
        {OP_Mul, ZERO_PRODUCT},
        {OP_PRelu, ZERO_PRODUCT},
        {OP_Clip, ZERO_CLIP},
        {OP_InstanceNormalization, ZERO_NORM},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i)
        if (rules[i].op == op) return rules[i].rule;
    return ZERO_NEVER;
}

/* The axis of a constant operand along which the channels of a tensor of that rank lie; -1: it has none. */
static int32_t channel_axis(const Value *constant, int32_t rank, int64_t channels) {
    int32_t axis = constant->shape.rank - rank + CHANNELS;
    return axis >= 0 && constant->shape.dim[axis] == channels ? axis : -1;
}

static double only_element(const Graph *graph, ValueId constant, double absent) {
    if (constant == NONE) return absent;
    const Value *value = &graph->values[constant];
    if (value->data == NULL || value_count(value) != 1) return NAN;
    return dtype_load_f64(value->dtype, value->data, 0);
}

/* Whether an operand leaves the zeros zeros. */
static bool operand_suits(const Padder *p, const Node *node, int32_t input, ZeroRule rule) {
    const Graph *graph = p->graph;
    ValueId id = node->inputs[input];
    const Value *result = &graph->values[node->outputs[0]];
    if (rule == ZERO_CLIP && input > 0) {
        double bound = only_element(graph, id, 0);
        return input == 1 ? bound <= 0 : bound >= 0;
    }
    if (id == NONE) return false;
    const Value *value = &graph->values[id];
    if (value->data == NULL)
        return is_free(p, id) && value->shape.rank == result->shape.rank &&
               value->shape.dim[CHANNELS] == result->shape.dim[CHANNELS];
    if (rule == ZERO_NORM) return input > 0;
    if (channel_axis(value, result->shape.rank, result->shape.dim[CHANNELS]) >= 0) return true;
    return rule == ZERO_PRODUCT && isfinite(only_element(graph, id, 0));
}

static bool keeps_zeros(const Padder *p, const Node *node) {
    ZeroRule rule = zero_rule(node->op);
    if (rule == ZERO_NEVER || !is_free(p, node->outputs[0])) return false;
    for (int32_t i = 1; i < node->output_count; ++i)
        if (node->outputs[i] != NONE) return false;
    for (int32_t i = 0; i < node->input_count; ++i)
        if (!operand_suits(p, node, i, rule)) return false;
    return rule != ZERO_NORM || (double)((const NormAttrs *)node->parsed)->epsilon > 0;
}

/* -- what sees the values -- */

static bool has_known_filters(const Graph *graph, const Node *node) {
    bool bias = node->input_count > 2 && node->inputs[2] != NONE;
    return value_is_constant(graph, node->inputs[1]) && (!bias || value_is_constant(graph, node->inputs[2]));
}

/* Each channel has filters of its own, one each. */
static bool is_depthwise(const Graph *graph, const Node *node) {
    const Shape *w = &graph->values[node->inputs[1]].shape;
    int64_t group = ((const ConvAttrs *)node->parsed)->group;
    return group > 1 && w->dim[0] == group && w->dim[CHANNELS] == 1;
}

static void look_at_conv(Padder *p, NodeId id) {
    const Node *node = &p->graph->nodes[id];
    ValueId x = node->inputs[0], y = node->outputs[0];
    bool plain = ((const ConvAttrs *)node->parsed)->group == 1;
    bool good = has_known_filters(p->graph, node) && (plain || is_depthwise(p->graph, node));
    for (int32_t i = 1; i < node->input_count; ++i)
        refuse(p, node->inputs[i], "a convolution as its weights");
    if (good && !plain && is_free(p, x) && is_free(p, y)) {
        tie(p, x, y);
    } else if (good && plain) {
        if (is_free(p, x)) family_of(p, x)->read = true;
        if (is_free(p, y) && family_of(p, y)->maker == NONE) family_of(p, y)->maker = id;
    } else {
        refuse(p, x, "a convolution in groups, or of weights that are computed");
        refuse(p, y, "a convolution in groups, or of weights that are computed");
    }
}

static void look_at_node(Padder *p, NodeId id) {
    const Node *node = &p->graph->nodes[id];
    if (node->op == OP_Conv) {
        look_at_conv(p, id);
        return;
    }
    bool keeps = keeps_zeros(p, node);
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (keeps && is_free(p, node->inputs[i])) tie(p, node->inputs[i], node->outputs[0]);
        if (!keeps) refuse(p, node->inputs[i], op_def(node->op)->name);
    }
    for (int32_t i = 0; !keeps && i < node->output_count; ++i)
        refuse(p, node->outputs[i], op_def(node->op)->name);
}

static void look_at_all(Padder *p) {
    const Graph *graph = p->graph;
    for (BlockId b = 0; b < graph->block_count; ++b) {
        const Block *block = &graph->blocks[b];
        if (!block_is_live(graph, b)) continue;
        for (int32_t i = 0; i < block->result_count; ++i)
            refuse(p, block->results[i], "who reads the results");
        for (int32_t i = 0; i < block->node_count; ++i) {
            const Node *node = &graph->nodes[block->nodes[i]];
            if (b == MAIN_BLOCK) look_at_node(p, block->nodes[i]);
            for (int32_t k = 0; b != MAIN_BLOCK && k < node->input_count; ++k)
                refuse(p, node->inputs[k], "the body of a node");
        }
    }
}

/* -- the decision -- */

static int64_t padded(int64_t channels) {
    return (channels + PACK - 1) / PACK * PACK;
}

static void decide(Padder *p, ValueId root) {
    Family *family = &p->families[root];
    int64_t channels = p->graph->values[root].shape.dim[CHANNELS], wide = padded(channels);
    bool made = family->maker != NONE && family->spatial, wanted = made && family->read;
    if (family->why != NULL && made)
        pass_reject(p->ctx, family->maker, "its %lld channels are not padded to %lld: seen by %s",
                    (long long)channels, (long long)wide, family->why);
    else if (wanted && (wide - channels) * MOST_GROWTH > channels) {
        pass_reject(p->ctx, family->maker,
                    "its %lld channels are not padded to %lld: too many would be zeros", (long long)channels,
                    (long long)wide);
        family->why = "too many";
    }
    if (!wanted && family->why == NULL) family->why = "nothing gains by it";
    if (family->why == NULL) pass_count_add(p->ctx, "padded", 1);
}

static bool is_padded(const Padder *p, ValueId value) {
    return is_free(p, value) && family_of(p, value)->why == NULL;
}

/* -- the change -- */

/* A constant with zeros behind it along an axis. */
static Status extend(Padder *p, ValueId *constant, int32_t axis) {
    const Value *old = &p->graph->values[*constant];
    Join join = {.dtype = old->dtype,
                 .rank = old->shape.rank,
                 .axis = axis,
                 .count = 2,
                 .parts = {*constant, NONE},
                 .widths = {old->shape.dim[axis], padded(old->shape.dim[axis]) - old->shape.dim[axis]}};
    for (int32_t i = 0; i < join.rank; ++i)
        join.dims[i] = i == axis ? padded(old->shape.dim[i]) : old->shape.dim[i];
    return join_constants(p->ctx, &p->joiner, &join, old->name, constant);
}

static Status set_group(Padder *p, NodeId id, int64_t group) {
    AttrList attrs = {0};
    if (!attr_copy(&p->graph->nodes[id].attrs, &attrs, p->ctx->scratch) ||
        !attr_set_int(&attrs, p->ctx->scratch, "group", group))
        return FAIL(p->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return node_set_attrs(p->graph, id, &attrs, p->ctx->diag);
}

static Status widen_conv(Padder *p, NodeId id) {
    Node *node = &p->graph->nodes[id];
    bool makes = is_padded(p, node->outputs[0]), reads = is_padded(p, node->inputs[0]);
    int64_t group = ((const ConvAttrs *)node->parsed)->group;
    if (reads && group == 1) TRY(extend(p, &node->inputs[1], CHANNELS));
    if (makes) TRY(extend(p, &node->inputs[1], 0));
    if (makes && node->input_count > 2 && node->inputs[2] != NONE) TRY(extend(p, &node->inputs[2], 0));
    return makes && group > 1 ? set_group(p, id, padded(group)) : STATUS_OK;
}

static Status widen_node(Padder *p, NodeId id) {
    Node *node = &p->graph->nodes[id];
    if (node->op == OP_Conv) return widen_conv(p, id);
    if (node->output_count == 0 || !is_padded(p, node->outputs[0])) return STATUS_OK;
    const Shape result = p->graph->values[node->outputs[0]].shape;
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (!value_is_constant(p->graph, node->inputs[i])) continue;
        int32_t axis = node->op == OP_InstanceNormalization ? 0
                                                            : channel_axis(&p->graph->values[node->inputs[i]],
                                                                           result.rank, result.dim[CHANNELS]);
        if (axis >= 0) TRY(extend(p, &node->inputs[i], axis));
    }
    return STATUS_OK;
}

static Status widen_all(Padder *p) {
    Graph *graph = p->graph;
    int32_t value_count = graph->value_count; /* constants come behind these */
    for (int32_t i = 0; i < graph->blocks[MAIN_BLOCK].node_count; ++i)
        TRY(widen_node(p, graph->blocks[MAIN_BLOCK].nodes[i]));
    for (ValueId v = 0; v < value_count; ++v)
        if (is_padded(p, v))
            graph->values[v].shape.dim[CHANNELS] = padded(graph->values[v].shape.dim[CHANNELS]);
    return STATUS_OK;
}

Status pass_pad_channels(PassCtx *ctx) {
    Graph *graph = ctx->graph;
    if (!ctx->strided) return STATUS_OK; /* the host gains nothing */
    Padder *p = ARENA_NEW(ctx->scratch, Padder);
    TRY_ALLOC(ctx->diag, p);
    *p = (Padder){.ctx = ctx, .graph = graph};
    p->parent = ARENA_ARRAY(ctx->scratch, ValueId, graph->value_count);
    p->families = ARENA_ARRAY(ctx->scratch, Family, graph->value_count);
    TRY_ALLOC(ctx->diag, p->parent);
    TRY_ALLOC(ctx->diag, p->families);
    for (ValueId v = 0; v < graph->value_count; ++v) {
        p->parent[v] = is_candidate(graph, v) ? v : NONE;
        p->families[v] = (Family){.maker = NONE, .spatial = is_free(p, v) && is_spatial(&graph->values[v])};
    }
    look_at_all(p);
    for (ValueId v = 0, count = graph->value_count; v < count; ++v)
        if (p->parent[v] == v) decide(p, v);
    return widen_all(p);
}
