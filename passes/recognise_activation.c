/* Activations written in parts. */
#include "passes/recognise.h"

/* "tanh" for the spelling with that, "alpha" for the factor that the pattern calls so. */
static Status set_attribute(Recogniser *r, const Rule *rule, const Match *match, AttrList *attrs) {
    bool done = true;
    if (rule->becomes == OP_Gelu && match_value(match, "tanh") != NONE)
        done = attr_set_string(attrs, r->ctx->scratch, "approximate", "tanh");
    else if (rule->becomes == OP_Swish && match_number(match, "alpha") != 1)
        done = attr_set_float(attrs, r->ctx->scratch, "alpha", (float)match_number(match, "alpha"));
    return done ? STATUS_OK : FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
}

static Status rewrite_activation(Recogniser *r, const Rule *rule, const Match *match, const char **reason) {
    ValueId x = match_value(match, "x");
    AttrList attrs = {0};
    *reason = NULL;
    if (!dtype_is_float(r->graph->values[x].dtype))
        *reason = "";
    else if (!recognise_keeps_type(r, match, x))
        *reason = "the result has another shape than the operand";
    if (*reason != NULL) return STATUS_OK;
    TRY(set_attribute(r, rule, match, &attrs));
    return recognise_replace(r, match, rule->becomes, &attrs, 1, &x);
}

#define ACTIVATION(op, pattern)                                                                              \
    { OP_##op, pattern, rewrite_activation }
static const Rule rules[] = {
    ACTIVATION(Gelu, "0.5 * x * (1 + Erf(0.70710678118654752 * x))"),
    ACTIVATION(Gelu, "x * (0.5 + 0.5 * Erf(0.70710678118654752 * x))"),
    ACTIVATION(Gelu, "0.5 * x + 0.5 * x * Erf(0.70710678118654752 * x)"),
    ACTIVATION(Gelu, "0.5 * x * (1 + tanh:Tanh(0.79788456080286536 * (x + 0.044715 * x^3)))"),
    ACTIVATION(Gelu, "0.5 * x * (1 + tanh:Tanh(0.79788456080286536 * x * (1 + 0.044715 * x^2)))"),
    ACTIVATION(Gelu, "0.5 * x * (1 + tanh:Tanh(x * (0.79788456080286536 + 0.035677408136300125 * x^2)))"),
    ACTIVATION(Gelu, "x * (0.5 + 0.5 * tanh:Tanh(0.79788456080286536 * (x + 0.044715 * x^3)))"),
    ACTIVATION(Mish, "x * Tanh(Softplus(x))"),
    ACTIVATION(Mish, "x * Tanh(Log(1 + Exp(x)))"),
    ACTIVATION(HardSwish, "x * HardSigmoid(x, 0.16666666666666667, 0.5)"),
    ACTIVATION(HardSwish, "x * Clip(3 + x, 0, 6) / 6"),
    ACTIVATION(HardSwish, "x * Min(Max(3 + x, 0), 6) / 6"),
    ACTIVATION(HardSwish, "x * Min(Relu(3 + x), 6) / 6"),
    ACTIVATION(HardSwish, "x * Clip(0.5 + x / 6, 0, 1)"),
    ACTIVATION(Swish, "x * Sigmoid($alpha * x)"),
    ACTIVATION(Swish, "x / (1 + Exp(-$alpha * x))"),
};

const RuleList recognise_activation_rules = {rules, sizeof rules / sizeof rules[0]};
