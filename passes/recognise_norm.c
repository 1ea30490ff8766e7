/* Normalisations written in parts. */
#include <math.h>

#include "ops/norm.h"
#include "ops/reduce.h"
#include "passes/recognise.h"

/* -- axes -- */

/* Which axes of a tensor of that rank a reduction goes over; false where that is not known. */
static bool reduction_axes(const Graph *graph, const Node *node, int32_t rank, uint32_t *axes) {
    const ReduceAttrs *attrs = node->parsed;
    bool is_given = node->input_count > 1 && node->inputs[1] != NONE;
    const Value *given = is_given ? &graph->values[node->inputs[1]] : NULL;
    if (is_given && (given->data == NULL || !dtype_is_integer(given->dtype))) return false;
    int64_t count = is_given ? value_count(given) : 0;
    *axes = count == 0 && !attrs->noop_with_empty_axes ? (1u << rank) - 1 : 0;
    for (int64_t i = 0; i < count; ++i) {
        int64_t axis = dtype_load_i64(given->dtype, given->data, i);
        if (axis < 0) axis += rank;
        if (axis < 0 || axis >= rank) return false;
        *axes |= 1u << axis;
    }
    return true;
}

/* The axes of a named reduction of x that keeps its rank; false where it is none. */
static bool named_axes(const Recogniser *r, const Match *match, const char *name, uint32_t *axes) {
    const Node *node = match_node(r->graph, match, name);
    if (node == NULL || op_def(node->op)->op_class != OPCLASS_REDUCTION) return false;
    const Shape *x = recognise_shape(r, node->inputs[0]);
    return ((const ReduceAttrs *)node->parsed)->keepdims && reduction_axes(r->graph, node, x->rank, axes);
}

static uint32_t axes_from(int32_t first, int32_t rank) {
    return ((1u << rank) - 1) & ~((1u << first) - 1);
}

/* -- scale and bias -- */

/* Broadcasts along nothing but axes from `first` on. */
static bool fits_trailing(const Recogniser *r, ValueId parameter, ValueId x, int32_t first) {
    const Shape *own = recognise_shape(r, parameter), *full = recognise_shape(r, x);
    if (r->graph->values[parameter].dtype != r->graph->values[x].dtype || own->rank > full->rank)
        return false;
    for (int32_t i = 0; i < own->rank; ++i) {
        int32_t axis = full->rank - own->rank + i;
        if (own->dim[i] != 1 && (axis < first || own->dim[i] != full->dim[axis])) return false;
    }
    return true;
}

/* A constant with one element, or one for each of the channels of x (axis 1), or none at all. */
static bool fits_channels(const Recogniser *r, ValueId parameter, ValueId x) {
    const Shape *full = recognise_shape(r, x);
    if (full->rank < 2 || !dim_is_exact(full->dim[1]) || full->dim[1] < 1) return false;
    if (parameter == NONE) return true;
    const Shape *own = recognise_shape(r, parameter);
    if (!value_is_constant(r->graph, parameter) || own->rank > full->rank ||
        !dtype_is_float(r->graph->values[parameter].dtype))
        return false;
    for (int32_t i = 0; i < own->rank; ++i) {
        int32_t axis = full->rank - own->rank + i;
        if (own->dim[i] != 1 && (axis != 1 || own->dim[i] != full->dim[1])) return false;
    }
    return true;
}

/* Element of a parameter that fits_channels, or absent. */
static double channel_element(const Recogniser *r, ValueId parameter, int64_t channel, double absent) {
    if (parameter == NONE) return absent;
    const Value *value = &r->graph->values[parameter];
    return dtype_load_f64(value->dtype, value->data, value_count(value) == 1 ? 0 : channel);
}

static Status channel_constant(Recogniser *r, DType dtype, int64_t channels, const double *elements,
                               ValueId *out) {
    return recognise_constant(r, dtype, 1, &channels, elements, out);
}

/* A parameter that fits_channels as a vector. */
static Status channel_vector(Recogniser *r, ValueId parameter, ValueId x, double absent, ValueId *out) {
    int64_t channels = recognise_shape(r, x)->dim[1];
    double *elements = ARENA_ARRAY(r->ctx->scratch, double, channels);
    TRY_ALLOC(r->ctx->diag, elements);
    for (int64_t c = 0; c < channels; ++c) elements[c] = channel_element(r, parameter, c, absent);
    return channel_constant(r, r->graph->values[x].dtype, channels, elements, out);
}

static Status set_epsilon(Recogniser *r, double epsilon, AttrList *attrs) {
    if (!attr_set_float(attrs, r->ctx->scratch, "epsilon", (float)epsilon))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

/* -- LayerNormalization, RMSNormalization, InstanceNormalization -- */

static bool epsilon_is_sound(double epsilon) {
    return epsilon >= 0 && isfinite((double)(float)epsilon);
}

static Status become_instance(Recogniser *r, const Match *match, ValueId x) {
    AttrList attrs = {0};
    ValueId inputs[3] = {x};
    TRY(set_epsilon(r, match_number(match, "epsilon"), &attrs));
    TRY(channel_vector(r, match_value(match, "scale"), x, 1, &inputs[1]));
    TRY(channel_vector(r, match_value(match, "bias"), x, 0, &inputs[2]));
    return recognise_replace(r, match, OP_InstanceNormalization, &attrs, 3, inputs);
}

static Status become_layer(Recogniser *r, const Match *match, OpId op, ValueId x, int32_t axis) {
    AttrList attrs = {0};
    const double one = 1;
    int32_t rank = recognise_shape(r, x)->rank;
    ValueId inputs[3] = {x, match_value(match, "scale"), match_value(match, "bias")};
    TRY(set_epsilon(r, match_number(match, "epsilon"), &attrs));
    if (!attr_set_int(&attrs, r->ctx->scratch, "axis", axis - rank))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    if (inputs[1] == NONE) TRY(channel_constant(r, r->graph->values[x].dtype, 1, &one, &inputs[1]));
    return recognise_replace(r, match, op, &attrs, inputs[2] == NONE ? 2 : 3, inputs);
}

/* The first axis where the axes are the last ones of the rank; else -1. */
static int32_t first_axis(uint32_t axes, int32_t rank) {
    for (int32_t first = 0; first < rank; ++first)
        if (axes == axes_from(first, rank)) return first;
    return -1;
}

static const char *moments_refusal(const Recogniser *r, const Match *match, ValueId x, uint32_t *axes) {
    uint32_t mean_axes = 0;
    if (!dtype_is_float(r->graph->values[x].dtype)) return "";
    if (!named_axes(r, match, "square", axes)) return "the axes are not known, or are dropped";
    ValueId wide = match_value(match, "wide");
    if (wide != NONE && (!dtype_is_float(r->graph->values[wide].dtype) ||
                         dtype_bits(r->graph->values[wide].dtype) <= dtype_bits(r->graph->values[x].dtype)))
        return "it is computed in a type that is no wider";
    bool has_mean = match_value(match, "mean") != NONE;
    if (has_mean && (!named_axes(r, match, "mean", &mean_axes) || mean_axes != *axes))
        return "mean and variance go over different axes";
    if (!recognise_keeps_type(r, match, x)) return "scale or bias give the result another shape";
    if (!epsilon_is_sound(match_number(match, "epsilon"))) return "epsilon is negative or not finite";
    return NULL;
}

static bool parameters_fit(const Recogniser *r, const Match *match, ValueId x, int32_t first) {
    ValueId scale = match_value(match, "scale"), bias = match_value(match, "bias");
    return (scale == NONE || fits_trailing(r, scale, x, first)) &&
           (bias == NONE || fits_trailing(r, bias, x, first));
}

static Status rewrite_layer(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x");
    uint32_t axes = 0;
    *reason = moments_refusal(r, match, x, &axes);
    if (*reason != NULL) return STATUS_OK;
    int32_t first = first_axis(axes, recognise_shape(r, x)->rank);
    if (first < 0)
        *reason = "the axes are not the last ones";
    else if (!parameters_fit(r, match, x, first))
        *reason = "scale or bias do not belong to the normalised axes";
    return *reason != NULL ? STATUS_OK : become_layer(r, match, rule->becomes, x, first);
}

/* Over all axes behind the channels, with parameters for each channel. Of rank 3 and without parameters it is
 * left to LayerNormalization. */
static Status rewrite_instance(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x"), scale = match_value(match, "scale"),
            bias = match_value(match, "bias");
    uint32_t axes = 0;
    int32_t rank = recognise_shape(r, x)->rank, least = scale == NONE && bias == NONE ? 4 : 3;
    (void)rule;
    *reason = "";
    if (rank < least || moments_refusal(r, match, x, &axes) != NULL || first_axis(axes, rank) != 2 ||
        !fits_channels(r, scale, x) || !fits_channels(r, bias, x))
        return STATUS_OK;
    *reason = NULL;
    return become_instance(r, match, x);
}

/* -- GroupNormalization: InstanceNormalization of [batch, groups, rest] -- */

static const char *group_refusal(const Recogniser *r, const Match *match, ValueId x, const Node *inner) {
    const Shape *shape = recognise_shape(r, x), *grouped = recognise_shape(r, inner->inputs[0]);
    if (shape->rank < 3 || grouped->rank < 3 || grouped->dim[0] != shape->dim[0])
        return "the groups do not lie within one batch entry";
    if (!dim_is_exact(shape->dim[1]) || !dim_is_exact(grouped->dim[1]) || grouped->dim[1] < 1 ||
        shape->dim[1] < 1 || shape->dim[1] % grouped->dim[1] != 0)
        return "the channels do not divide into groups";
    if (!recognise_keeps_type(r, match, x)) return "the result has another shape than the operand";
    for (int32_t i = 1; i < 3; ++i)
        if (!value_is_constant(r->graph, inner->inputs[i]))
            return "scale and bias of the groups are not constant";
    if (!fits_channels(r, match_value(match, "scale"), x) || !fits_channels(r, match_value(match, "bias"), x))
        return "scale and bias are no constants per channel";
    return NULL;
}

/* (y * group_scale + group_bias) * scale + bias for each channel. */
static Status group_parameters(Recogniser *r, const Match *match, ValueId x, const Node *inner,
                               ValueId out[2]) {
    int64_t channels = recognise_shape(r, x)->dim[1], groups = recognise_shape(r, inner->inputs[0])->dim[1];
    DType dtype = r->graph->values[x].dtype;
    double *scales = ARENA_ARRAY(r->ctx->scratch, double, channels),
           *biases = ARENA_ARRAY(r->ctx->scratch, double, channels);
    TRY_ALLOC(r->ctx->diag, scales);
    TRY_ALLOC(r->ctx->diag, biases);
    for (int64_t c = 0; c < channels; ++c) {
        int64_t group = c / (channels / groups);
        double scale = channel_element(r, match_value(match, "scale"), c, 1);
        scales[c] = channel_element(r, inner->inputs[1], group, 1) * scale;
        biases[c] = channel_element(r, inner->inputs[2], group, 0) * scale +
                    channel_element(r, match_value(match, "bias"), c, 0);
    }
    TRY(channel_constant(r, dtype, channels, scales, &out[0]));
    return channel_constant(r, dtype, channels, biases, &out[1]);
}

static Status rewrite_group(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x"), inputs[3] = {x};
    const Node inner = *match_node(r->graph, match, "inner");
    AttrList attrs = {0};
    *reason = group_refusal(r, match, x, &inner);
    if (*reason != NULL) return STATUS_OK;
    TRY(set_epsilon(r, (double)((const NormAttrs *)inner.parsed)->epsilon, &attrs));
    if (!attr_set_int(&attrs, r->ctx->scratch, "num_groups", recognise_shape(r, inner.inputs[0])->dim[1]))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(group_parameters(r, match, x, &inner, &inputs[1]));
    return recognise_replace(r, match, rule->becomes, &attrs, 3, inputs);
}

/* -- LpNormalization -- */

/* Where a row is all zeros the pattern gives NaN, and the operator zeros. */
static Status rewrite_lp(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x");
    uint32_t axes = 0;
    int32_t axis = 0;
    AttrList attrs = {0};
    *reason = NULL;
    if (!dtype_is_float(r->graph->values[x].dtype))
        *reason = "";
    else if (!named_axes(r, match, "norm", &axes) || axes == 0 || (axes & (axes - 1)) != 0)
        *reason = "the norm is not along one axis that is kept";
    else if (!recognise_keeps_type(r, match, x))
        *reason = "the norm gives the result another shape";
    if (*reason != NULL) return STATUS_OK;
    while ((axes >> axis & 1) == 0) axis++;
    bool of_magnitudes =
        match_value(match, "absolute") != NONE || match_node(r->graph, match, "norm")->op == OP_ReduceL1;
    if (!attr_set_int(&attrs, r->ctx->scratch, "axis", axis) ||
        !attr_set_int(&attrs, r->ctx->scratch, "p", of_magnitudes ? 1 : 2))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return recognise_replace(r, match, rule->becomes, &attrs, 1, &x);
}

static Status refuse_bounded(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    (void)r;
    (void)rule;
    (void)match;
    *reason = "the norm has a lower bound, which the operator has not";
    return STATUS_OK;
}

/* -- means of images -- */

/* In front of a convolution: what makes them a pool's is squeeze-and-excite. */
static Status rewrite_plane_mean(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    const AttrList none = {0};
    ValueId x = match_value(match, "x"), y = r->graph->nodes[match->root].outputs[0];
    const Shape *in = recognise_shape(r, x), *out = recognise_shape(r, y);
    *reason = "";
    if (in->rank < 3 || in->rank != out->rank || !dtype_is_float(r->graph->values[x].dtype)) return STATUS_OK;
    for (int32_t i = 0; i < in->rank; ++i)
        if (out->dim[i] != (i < 2 ? in->dim[i] : 1)) return STATUS_OK;
    if (y >= r->value_count || r->touched[y] || use_count(&r->uses, y) != 1) return STATUS_OK;
    NodeId user = r->uses.uses[r->uses.first[y]].node;
    if (user == NONE || r->graph->nodes[user].op != OP_Conv) return STATUS_OK;
    *reason = NULL;
    return recognise_replace(r, match, rule->becomes, &none, 1, &x);
}

#define CENTERED "(x - mean:ReduceMean(x)) / Sqrt(square:ReduceMean((x - mean)^2) + $epsilon)"
#define DISTRIBUTED                                                                                          \
    "x * factor:(scale / Sqrt(square:ReduceMean((x - mean)^2) + $epsilon)) + bias - mean:ReduceMean(x) * "   \
    "factor"
#define UNCENTERED "x / Sqrt(square:ReduceMean(x^2) + $epsilon)"
#define WIDENED    "Cast(wide:Cast(x) / Sqrt(square:ReduceMean(wide^2) + $epsilon))"
#define GROUPED    "Reshape(inner:InstanceNormalization(Reshape(x), group_scale, group_bias))"

#define INSTANCE(pattern)                                                                                    \
    { OP_InstanceNormalization, pattern, rewrite_instance }
#define LAYER(pattern)                                                                                       \
    { OP_LayerNormalization, pattern, rewrite_layer }
#define RMS(pattern)                                                                                         \
    { OP_RMSNormalization, pattern, rewrite_layer }
#define GROUP(pattern)                                                                                       \
    { OP_GroupNormalization, pattern, rewrite_group }
#define LP(pattern)                                                                                          \
    { OP_LpNormalization, pattern, rewrite_lp }
#define BOUNDED(pattern)                                                                                     \
    { OP_LpNormalization, pattern, refuse_bounded }
static const Rule rules[] = {
    LAYER(CENTERED " * scale + bias"),
    INSTANCE(CENTERED " * scale + bias"),
    LAYER(DISTRIBUTED),
    INSTANCE(DISTRIBUTED),
    LAYER(CENTERED " * scale"),
    INSTANCE(CENTERED " * scale"),
    INSTANCE(CENTERED),
    LAYER(CENTERED),
    RMS(UNCENTERED " * scale"),
    RMS(WIDENED " * scale"),
    RMS(WIDENED),
    RMS(UNCENTERED),
    GROUP(GROUPED " * scale + bias"),
    GROUP(GROUPED " * scale"),
    GROUP(GROUPED),
    LP("x / norm:ReduceL2(x)"),
    LP("x / Expand(norm:ReduceL2(x), shape)"),
    LP("x / Sqrt(norm:ReduceSum(x^2))"),
    LP("x / Sqrt(norm:ReduceSumSquare(x))"),
    LP("x / norm:ReduceL1(x)"),
    LP("x / norm:ReduceSum(absolute:Abs(x))"),
    BOUNDED("x / Clip(ReduceL2(x), $bound)"),
    BOUNDED("x / Expand(Clip(ReduceL2(x), $bound), shape)"),
    BOUNDED("x / Max(ReduceL2(x), $bound)"),
    {OP_GlobalAveragePool, "ReduceMean(x)", rewrite_plane_mean},
};

const RuleList recognise_norm_rules = {rules, sizeof rules / sizeof rules[0]};
