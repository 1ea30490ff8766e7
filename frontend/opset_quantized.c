/* Quantized operators of ONNX Runtime: dequantize, compute, quantize. Their exact integer forms differ from
 * that by roundings. */
#include <string.h>

#include "frontend/opset_rules.h"

/* The real values of inputs first (elements), first + 1 (scale) and first + 2 (zero point). */
static ValueId dequantized(Form *form, int32_t first) {
    return FORM_NODE(form, "DequantizeLinear", NULL, form_input(form, first), form_input(form, first + 1),
                     form_input(form, first + 2));
}

static Status become_quantized(Form *form, ValueId x, ValueId scale, ValueId zero_point) {
    form->attrs = (AttrList){0};
    FORM_BECOME(form, "QuantizeLinear", x, scale, zero_point);
    return form->status;
}

/* "QLinearAdd" is "Add". */
static const char *plain_name(const Form *form) {
    return form->op + strlen("QLinear");
}

Status rewrite_qlinear_binary(Form *form) {
    ValueId a = dequantized(form, 0), b = dequantized(form, 3);
    ValueId result = FORM_NODE(form, plain_name(form), NULL, a, b);
    return become_quantized(form, result, form_input(form, 6), form_input(form, 7));
}

Status rewrite_qlinear_unary(Form *form) {
    if (form_attr_int(form, "channels_last", 0) != 0)
        return form_refuse(form, "channels_last is not supported");
    attr_remove(&form->attrs, "channels_last");
    ValueId result = FORM_NODE(form, plain_name(form), &form->attrs, dequantized(form, 0));
    return become_quantized(form, result, form_input(form, 3), form_input(form, 4));
}

/* Inputs: scale and zero point of the result, then three of each part. */
Status rewrite_qlinear_concat(Form *form) {
    int32_t count = (form->input_count - 2 + 2) / 3;
    if (count < 1) return form_refuse(form, "nothing to concatenate");
    ValueId *parts = ARENA_ARRAY(&form->im->scratch, ValueId, count);
    TRY_ALLOC(form->im->diag, parts);
    for (int32_t i = 0; i < count; ++i) parts[i] = dequantized(form, 2 + 3 * i);
    ValueId result = form_node(form, "Concat", &form->attrs, count, parts);
    return become_quantized(form, result, form_input(form, 0), form_input(form, 1));
}

/* Inputs: a, b with scales and zero points, the bias in units of both scales, and the result's scale and zero
 * point (without them the result stays real). Scales of b may be one per column. */
Status rewrite_qgemm(Form *form) {
    AttrList per_column = {0};
    bool transposed = form_attr_int(form, "transB", 0) != 0;
    form_note_attr(form, attr_set_int(&per_column, form->im->arena, "axis", transposed ? 0 : 1));
    ValueId a = dequantized(form, 0);
    ValueId b = FORM_NODE(form, "DequantizeLinear", &per_column, form_input(form, 3), form_input(form, 4),
                          form_input(form, 5));
    ValueId bias = form_input(form, 6), scale = form_input(form, 7);
    if (bias != NONE) {
        ValueId unit = FORM_NODE(form, "Mul", NULL, form_input(form, 1), form_input(form, 4));
        AttrList real = {0};
        form_note_attr(form, attr_set_int(&real, form->im->arena, "to", dtype_of(form->im, unit)));
        bias = FORM_NODE(form, "Mul", NULL, FORM_NODE(form, "Cast", &real, bias), unit);
    }
    if (scale == NONE) {
        FORM_BECOME(form, "Gemm", a, b, bias);
        return form->status;
    }
    ValueId result = FORM_NODE(form, "Gemm", &form->attrs, a, b, bias);
    return become_quantized(form, result, scale, form_input(form, 8));
}
