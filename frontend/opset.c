#include "frontend/opset.h"

#include <string.h>

#include "frontend/opset_rules.h"

/* ai.onnx: forms of older opsets. A row's last opset is the last one with the old form; operators that ONNX
 * dropped keep their row to the end, as exporters keep writing them. */
static const OpsetRow rows[] = {
    /* attributes that became inputs */
    {"", "Clip", 7, 10, rewrite_clip, ""},
    {"", "Pad", 7, 10, rewrite_pad, ""},
    {"", "Slice", 7, 9, rewrite_slice, ""},
    {"", "Squeeze", 7, 12, rewrite_axes, ""},
    {"", "Unsqueeze", 7, 12, rewrite_axes, ""},
    {"", "Split", 7, 17, rewrite_split, ""},
    {"", "TopK", 7, 9, rewrite_top_k, ""},
    {"", "Dropout", 7, 11, rewrite_dropout, "Cast"},
    {"", "ReduceSum", 7, 12, rewrite_axes, ""},
    {"", "ReduceMean", 7, 17, rewrite_axes, ""},
    {"", "ReduceMax", 7, 17, rewrite_axes, ""},
    {"", "ReduceMin", 7, 17, rewrite_axes, ""},
    {"", "ReduceProd", 7, 17, rewrite_axes, ""},
    {"", "ReduceL1", 7, 17, rewrite_axes, ""},
    {"", "ReduceL2", 7, 17, rewrite_axes, ""},
    {"", "ReduceSumSquare", 7, 17, rewrite_axes, ""},
    {"", "ReduceLogSum", 7, 17, rewrite_axes, ""},
    {"", "ReduceLogSumExp", 7, 17, rewrite_axes, ""},
    {"", "DFT", 7, 19, rewrite_dft, ""},
    /* changed meaning */
    {"", "Softmax", 7, 12, rewrite_softmax, "Flatten Shape Reshape"},
    {"", "LogSoftmax", 7, 12, rewrite_softmax, "Flatten Shape Reshape"},
    {"", "Hardmax", 7, 12, rewrite_softmax, "Flatten Shape Reshape"},
    {"", "BatchNormalization", 7, 13, rewrite_batch_norm, ""},
    {"", "GroupNormalization", 18, 20, rewrite_group_norm, "Shape Div Concat Unsqueeze Expand Reshape"},
    {"", "Resize", 7, 10, rewrite_resize_10, ""},
    {"", "Resize", 11, MAX_OPSET, rewrite_resize, ""},
    {"", "GridSample", 7, 19, rewrite_grid_sample, ""},
    {"", "RoiAlign", 7, 15, rewrite_roi_align, ""},
    {"", "Scan", 7, 8, rewrite_scan_8, ""},
    /* dropped or renamed */
    {"", "Upsample", 7, MAX_OPSET, rewrite_upsample, "=Resize"},
    {"", "Scatter", 7, MAX_OPSET, rewrite_scatter, "=ScatterElements"},
    {"", "MeanVarianceNormalization", 7, 8, rewrite_mean_variance, "ReduceMean Sub"},
    {"", "ImageScaler", 7, MAX_OPSET, rewrite_image_scaler, "=Mul Add"},
    {"", "Crop", 7, MAX_OPSET, rewrite_crop, "=Slice"},
    {"", "Affine", 7, MAX_OPSET, rewrite_affine, "=Mul Add"},
    {"", "Scale", 7, MAX_OPSET, rewrite_scale, "=Mul"},
    {"", "ParametricSoftplus", 7, MAX_OPSET, rewrite_parametric_softplus, "=Mul Softplus"},
    {"", "ScaledTanh", 7, MAX_OPSET, rewrite_scaled_tanh, "=Mul Tanh"},
    {"", "SimplifiedLayerNormalization", 7, MAX_OPSET, rewrite_simplified_layer_norm, "=RMSNormalization"},
    /* ONNX Runtime's fused operators */
    {"com.microsoft", "FusedConv", 0, INT16_MAX, rewrite_fused_conv, "=Conv Add"},
    {"com.microsoft", "FusedGemm", 0, INT16_MAX, rewrite_fused_gemm, "=Gemm"},
    {"com.microsoft", "FusedMatMul", 0, INT16_MAX, rewrite_fused_mat_mul, "=Transpose MatMul Mul"},
    {"com.microsoft", "TransposeMatMul", 0, INT16_MAX, rewrite_fused_mat_mul, "=Transpose MatMul Mul"},
    {"com.microsoft", "Gelu", 0, INT16_MAX, rewrite_gelu, "=Gelu"},
    {"com.microsoft", "BiasGelu", 0, INT16_MAX, rewrite_gelu, "=Add Gelu"},
    {"com.microsoft", "FastGelu", 0, INT16_MAX, rewrite_gelu, "=Add Gelu"},
    {"com.microsoft", "QuickGelu", 0, INT16_MAX, rewrite_quick_gelu, "=Swish"},
    {"com.microsoft", "SkipLayerNormalization", 0, INT16_MAX, rewrite_skip_layer_norm,
     "=Add LayerNormalization"},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", 0, INT16_MAX, rewrite_skip_layer_norm,
     "=Add RMSNormalization"},
    {"com.microsoft", "QuantizeLinear", 0, INT16_MAX, rewrite_same, "=QuantizeLinear"},
    {"com.microsoft", "DequantizeLinear", 0, INT16_MAX, rewrite_same, "=DequantizeLinear"},
    {"com.microsoft", "Trilu", 0, INT16_MAX, rewrite_same, "=Trilu"},
    {"com.microsoft", "QLinearAdd", 0, INT16_MAX, rewrite_qlinear_binary,
     "=DequantizeLinear Add QuantizeLinear"},
    {"com.microsoft", "QLinearMul", 0, INT16_MAX, rewrite_qlinear_binary,
     "=DequantizeLinear Mul QuantizeLinear"},
    {"com.microsoft", "QLinearSigmoid", 0, INT16_MAX, rewrite_qlinear_unary,
     "=DequantizeLinear Sigmoid QuantizeLinear"},
    {"com.microsoft", "QLinearLeakyRelu", 0, INT16_MAX, rewrite_qlinear_unary,
     "=DequantizeLinear LeakyRelu QuantizeLinear"},
    {"com.microsoft", "QLinearGlobalAveragePool", 0, INT16_MAX, rewrite_qlinear_unary,
     "=DequantizeLinear GlobalAveragePool QuantizeLinear"},
    {"com.microsoft", "QLinearAveragePool", 0, INT16_MAX, rewrite_qlinear_unary,
     "=DequantizeLinear AveragePool QuantizeLinear"},
    {"com.microsoft", "QLinearConcat", 0, INT16_MAX, rewrite_qlinear_concat,
     "=DequantizeLinear Concat QuantizeLinear"},
    {"com.microsoft", "QGemm", 0, INT16_MAX, rewrite_qgemm, "=DequantizeLinear Mul Gemm QuantizeLinear"},
};

static const OpsetRow *find_row(const char *domain, const char *op, int64_t opset) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i)
        if (strcmp(rows[i].op, op) == 0 && strcmp(rows[i].domain, domain) == 0 && opset >= rows[i].first &&
            opset <= rows[i].last)
            return &rows[i];
    return NULL;
}

/* Every word of the list is an operator of the table. */
static bool all_known(const char *list) {
    char name[64];
    while (*list != '\0') {
        size_t length = strcspn(list, " ");
        if (length >= sizeof name) return false;
        memcpy(name, list, length);
        name[length] = '\0';
        if (op_find("", name) == OP_NONE) return false;
        list += length;
        list += strspn(list, " ");
    }
    return true;
}

bool operator_is_known(const char *domain, const char *op, int64_t opset) {
    if (domain[0] == '\0' && strcmp(op, "Constant") == 0) return true;
    const OpsetRow *row = find_row(domain, op, opset);
    if (row != NULL && row->needs[0] == '=') return all_known(row->needs + 1);
    return op_find(domain, op) != OP_NONE && (row == NULL || all_known(row->needs));
}

Status form_import(Form *form) {
    const OpsetRow *row = find_row(form->domain, form->op, form->opset);
    if (form->domain[0] == '\0' && form_attr_int(form, "broadcast", 0) != 0)
        return form_refuse(form, "broadcasting by attribute ended with opset 6");
    if (row != NULL) TRY(row->rewrite(form));
    TRY(form->status);
    return form_add(form, form->domain, form->op, form->name, &form->attrs, form->input_count, form->inputs,
                    form->output_count, form->outputs);
}
