/* Operators that ONNX Runtime's optimizer writes into models (domain com.microsoft). */
#include <string.h>

#include "frontend/opset_rules.h"

/* The same operator as ONNX's newest. */
Status rewrite_same(Form *form) {
    form->domain = "";
    return form->status;
}

/* -- fused activations -- */

/* The parameters a, b of an activation come in fixed order, whatever ONNX calls the attributes. */
static Status become_activation(Form *form, const char *activation, ValueId x, int32_t count,
                                const float *params) {
    Arena *arena = form->im->arena;
    float a = count > 0 ? params[0] : 0, b = count > 1 ? params[1] : 0;
    form->attrs = (AttrList){0};
    if (strcmp(activation, "Clip") == 0 && count == 2) {
        FORM_BECOME(form, "Clip", x, form_scalar(form, x, (double)a), form_scalar(form, x, (double)b));
        return form->status;
    }
    bool plain = strcmp(activation, "Relu") == 0 || strcmp(activation, "Tanh") == 0 ||
                 strcmp(activation, "Sigmoid") == 0 || strcmp(activation, "HardSwish") == 0 ||
                 strcmp(activation, "Softplus") == 0;
    bool one = strcmp(activation, "LeakyRelu") == 0 || strcmp(activation, "Elu") == 0;
    bool two = strcmp(activation, "HardSigmoid") == 0;
    if (!plain && !one && !two) {
        diag_hint(form->im->diag, "export the model without the optimizer of ONNX Runtime");
        return form_refuse(form, "its activation is not supported");
    }
    if ((one || two) && count > 0) form_note_attr(form, attr_set_float(&form->attrs, arena, "alpha", a));
    if (two && count > 1) form_note_attr(form, attr_set_float(&form->attrs, arena, "beta", b));
    FORM_BECOME(form, activation, x);
    return form->status;
}

/* activation(Conv(x, w, bias) + z) */
Status rewrite_fused_conv(Form *form) {
    int32_t count;
    const char *activation = form_attr_string(form, "activation", "");
    const float *params = form_attr_floats(form, "activation_params", &count);
    ValueId z = form_input(form, 3);
    attr_remove(&form->attrs, "activation");
    attr_remove(&form->attrs, "activation_params");
    ValueId sum =
        FORM_NODE(form, "Conv", &form->attrs, form_input(form, 0), form_input(form, 1), form_input(form, 2));
    if (z != NONE) sum = FORM_NODE(form, "Add", NULL, sum, z);
    if (activation[0] != '\0') return become_activation(form, activation, sum, count, params);
    form->attrs = (AttrList){0};
    FORM_BECOME(form, "Identity", sum);
    return form->status;
}

Status rewrite_fused_gemm(Form *form) {
    static const char *const names[] = {"activation_alpha", "activation_beta", "activation_gamma"};
    float params[3];
    int32_t count = 0;
    const char *activation = form_attr_string(form, "activation", "");
    for (int i = 0; i < 3; ++i) {
        if (attr_find(&form->attrs, names[i]) != NULL && count == i)
            params[count++] = form_attr_float(form, names[i], 0);
        attr_remove(&form->attrs, names[i]);
    }
    attr_remove(&form->attrs, "activation");
    ValueId product =
        FORM_NODE(form, "Gemm", &form->attrs, form_input(form, 0), form_input(form, 1), form_input(form, 2));
    if (activation[0] != '\0') return become_activation(form, activation, product, count, params);
    form->attrs = (AttrList){0};
    FORM_BECOME(form, "Identity", product);
    return form->status;
}

/* -- matrix products with transposed operands -- */

/* matrix: the last two axes change places. batch: the last axis but one comes first (before `matrix`). */
static ValueId transposed(Form *form, ValueId x, bool matrix, bool batch) {
    if (!matrix && !batch) return x;
    int32_t rank = form_rank(form, x);
    if (rank < 2 || rank > SMELT_MAX_RANK) {
        form_refuse(form, "a transposed operand of unknown rank is not supported");
        return NONE;
    }
    int64_t perm[SMELT_MAX_RANK];
    for (int32_t i = 0; i < rank; ++i) perm[i] = i;
    if (batch) {
        for (int32_t i = 0; i + 2 < rank; ++i) perm[i] = i + 1;
        perm[rank - 2] = 0;
    }
    if (matrix) {
        int64_t last = perm[rank - 1];
        perm[rank - 1] = perm[rank - 2];
        perm[rank - 2] = last;
    }
    AttrList attrs = {0};
    form_note_attr(form, attr_set_ints(&attrs, form->im->arena, "perm", perm, rank));
    return FORM_NODE(form, "Transpose", &attrs, x);
}

Status rewrite_fused_mat_mul(Form *form) {
    double alpha = (double)form_attr_float(form, "alpha", 1);
    ValueId a = transposed(form, form_input(form, 0), form_attr_int(form, "transA", 0) != 0,
                           form_attr_int(form, "transBatchA", 0) != 0);
    ValueId b = transposed(form, form_input(form, 1), form_attr_int(form, "transB", 0) != 0,
                           form_attr_int(form, "transBatchB", 0) != 0);
    form->attrs = (AttrList){0};
    if (alpha == 1) {
        FORM_BECOME(form, "MatMul", a, b);
        return form->status;
    }
    FORM_BECOME(form, "Mul", FORM_NODE(form, "MatMul", NULL, a, b),
                form_scalar(form, form_input(form, 0), alpha));
    return form->status;
}

/* -- Gelu and its kin -- */

/* Gelu(x), BiasGelu(x, bias), FastGelu(x, bias?) by tanh. */
Status rewrite_gelu(Form *form) {
    bool fast = strcmp(form->op, "FastGelu") == 0, plain = strcmp(form->op, "Gelu") == 0;
    ValueId x = form_input(form, 0);
    ValueId bias = plain ? NONE : fast ? form_input(form, 1) : form_required(form, 1);
    if (bias != NONE) x = FORM_NODE(form, "Add", NULL, x, bias);
    form->attrs = (AttrList){0};
    if (fast) form_set_string(form, "approximate", "tanh");
    FORM_BECOME(form, "Gelu", x);
    return form->status;
}

/* x * sigmoid(alpha * x) */
Status rewrite_quick_gelu(Form *form) {
    float alpha = form_attr_float(form, "alpha", 1.702f);
    form->attrs = (AttrList){0};
    form_note_attr(form, attr_set_float(&form->attrs, form->im->arena, "alpha", alpha));
    FORM_BECOME(form, "Swish", form_input(form, 0));
    return form->status;
}

/* -- normalisations -- */

static void set_norm_attrs(Form *form, float epsilon, int64_t axis) {
    form->attrs = (AttrList){0};
    form_set_int(form, "axis", axis);
    form_note_attr(form, attr_set_float(&form->attrs, form->im->arena, "epsilon", epsilon));
}

/* Norm(input + skip + bias): inputs are input, skip, gamma, (beta, except for the simplified form), bias;
 * output 3 is the sum. */
Status rewrite_skip_layer_norm(Form *form) {
    bool simplified = strcmp(form->op, "SkipSimplifiedLayerNormalization") == 0;
    ValueId gamma = form_input(form, 2), beta = simplified ? NONE : form_input(form, 3);
    ValueId bias = form_input(form, simplified ? 3 : 4);
    float epsilon = form_attr_float(form, "epsilon", simplified ? 1e-6f : 1e-12f);
    ValueId sum = FORM_NODE(form, "Add", NULL, form_input(form, 0), form_input(form, 1));
    if (bias != NONE) sum = FORM_NODE(form, "Add", NULL, sum, bias);
    for (int32_t i = 1; i < form->output_count; ++i) {
        if (form->outputs[i] != NONE && i == 3 && form->status == STATUS_OK)
            TRY(add_identity(form->im, form->block, sum, form->outputs[i], form->origin));
    }
    form->output_count = 1;
    set_norm_attrs(form, epsilon, -1);
    FORM_BECOME(form, simplified ? "RMSNormalization" : "LayerNormalization", sum, gamma, beta);
    return form->status;
}

Status rewrite_simplified_layer_norm(Form *form) {
    float epsilon = form_attr_float(form, "epsilon", 1e-5f);
    int64_t axis = form_attr_int(form, "axis", -1);
    form->output_count = 1;
    set_norm_attrs(form, epsilon, axis);
    FORM_BECOME(form, "RMSNormalization", form_input(form, 0), form_input(form, 1));
    return form->status;
}
