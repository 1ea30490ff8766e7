/* Quantized operators of ONNX Runtime: dequantize, compute, quantize. Their exact integer forms differ from
 * that by roundings. */
#include <string.h>

#include "frontend/opset_rules.h"

/* The real values of inputs first (elements), first + 1 (scale) and first + 2 (zero point). */
static ValueId dequantized(Form *form, int32_t first) {
    return FORM_NODE(form, "DequantizeLinear", NULL, form_input(form, first), form_input(form, first + 1),
                     form_input(form, first + 2));
}

/* The result has the element type of the inputs `like`, also where it has no zero point. */
static Status become_quantized(Form *form, ValueId x, ValueId scale, ValueId zero_point, ValueId like) {
    form->attrs = (AttrList){0};
    if (zero_point == NONE) zero_point = FORM_NODE(form, "CastLike", NULL, form_scalar(form, NONE, 0), like);
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
    return become_quantized(form, result, form_input(form, 6), form_input(form, 7), form_input(form, 0));
}

/* Attributes of the Transpose that moves channels from the last place to the second, or back. */
static AttrList channel_move(Form *form, int32_t rank, bool to_last) {
    int64_t perm[SMELT_MAX_RANK] = {0};
    AttrList attrs = {0};
    for (int32_t i = 1; i < rank; ++i) perm[i] = to_last ? i + 1 : i - 1;
    perm[to_last ? rank - 1 : 1] = to_last ? 1 : rank - 1;
    form_note_attr(form, attr_set_ints(&attrs, form->im->arena, "perm", perm, rank));
    return attrs;
}

static ValueId move_channels(Form *form, ValueId x, int32_t rank, bool to_last) {
    AttrList attrs = channel_move(form, rank, to_last);
    return FORM_NODE(form, "Transpose", &attrs, x);
}

/* Takes the attribute channels_last off the node: the rank then, 0 for channels in the second place. */
static int32_t take_channels_last(Form *form, ValueId like) {
    bool last = form_attr_int(form, "channels_last", 0) != 0;
    int32_t rank = rank_of(form->im, like);
    attr_remove(&form->attrs, "channels_last");
    if (last && (rank < 3 || rank > SMELT_MAX_RANK))
        form_refuse(form, "channels_last for an input of unknown rank");
    return last && form->status == STATUS_OK ? rank : 0;
}

Status rewrite_qlinear_unary(Form *form) {
    int32_t rank = take_channels_last(form, form_input(form, 0));
    ValueId x = dequantized(form, 0);
    if (rank > 0) x = move_channels(form, x, rank, false);
    ValueId result = FORM_NODE(form, plain_name(form), &form->attrs, x);
    if (rank > 0) result = move_channels(form, result, rank, true);
    return become_quantized(form, result, form_input(form, 3), form_input(form, 4), form_input(form, 0));
}

/* ONNX's own, but for the place of the channels (the weights' are as ever). */
Status rewrite_qlinear_conv(Form *form) {
    int32_t rank = take_channels_last(form, form_input(form, 3));
    form->domain = "";
    if (rank == 0) return form->status;
    form_set_input(form, 0, move_channels(form, form_input(form, 0), rank, false));
    ValueId result = form_node(form, "QLinearConv", &form->attrs, form->input_count, form->inputs);
    form->read = UINT64_MAX; /* QLinearConv counts its inputs itself */
    form->attrs = channel_move(form, rank, true);
    FORM_BECOME(form, "Transpose", result);
    return form->status;
}

/* Inputs: scale and zero point of the result, then three of each part. */
Status rewrite_qlinear_concat(Form *form) {
    int32_t count = (form->input_count - 2 + 2) / 3;
    if (count < 1) return form_refuse(form, "nothing to concatenate");
    ValueId *parts = ARENA_ARRAY(&form->im->scratch, ValueId, count);
    TRY_ALLOC(form->im->diag, parts);
    for (int32_t i = 0; i < count; ++i) parts[i] = dequantized(form, 2 + 3 * i);
    ValueId result = form_node(form, "Concat", &form->attrs, count, parts);
    return become_quantized(form, result, form_input(form, 0), form_input(form, 1), form_input(form, 2));
}

/* Inputs: a, b with scales and zero points, the bias in units of both scales and alpha, and the result's
 * scale and zero point (without them the result stays real). Scales of b may be one per column. */
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
        double alpha = (double)form_attr_float(form, "alpha", 1);
        if (alpha != 1) unit = FORM_NODE(form, "Mul", NULL, unit, form_scalar(form, unit, alpha));
        AttrList real = {0};
        form_note_attr(form, attr_set_int(&real, form->im->arena, "to", dtype_of(form->im, unit)));
        bias = FORM_NODE(form, "Mul", NULL, FORM_NODE(form, "Cast", &real, bias), unit);
    }
    if (scale == NONE) {
        FORM_BECOME(form, "Gemm", a, b, bias);
        return form->status;
    }
    ValueId result = FORM_NODE(form, "Gemm", &form->attrs, a, b, bias);
    return become_quantized(form, result, scale, form_input(form, 8), form_input(form, 0));
}
