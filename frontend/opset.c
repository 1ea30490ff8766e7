#include "frontend/opset.h"

#include <string.h>

#include "frontend/import.h"
#include "frontend/opset_rules.h"

/* ai.onnx: forms of older opsets. A row's last opset is the last one with the old form; operators that ONNX
 * dropped keep their row to the end, as exporters keep writing them. */
static const OpsetRow rows[] = {
    /* attributes that became inputs */
    {"", "Clip", 1, 10, rewrite_clip, ""},
    {"", "Pad", 1, 10, rewrite_pad, ""},
    {"", "Slice", 1, 9, rewrite_slice, ""},
    {"", "Squeeze", 1, 12, rewrite_axes, ""},
    {"", "Unsqueeze", 1, 12, rewrite_axes, ""},
    {"", "Split", 1, 17, rewrite_split, ""},
    {"", "TopK", 1, 9, rewrite_top_k, ""},
    {"", "Dropout", 1, 11, rewrite_dropout, "Cast"},
    {"", "ReduceSum", 1, 12, rewrite_axes, ""},
    {"", "ReduceMean", 1, 17, rewrite_axes, ""},
    {"", "ReduceMax", 1, 17, rewrite_axes, ""},
    {"", "ReduceMin", 1, 17, rewrite_axes, ""},
    {"", "ReduceProd", 1, 17, rewrite_axes, ""},
    {"", "ReduceL1", 1, 17, rewrite_axes, ""},
    {"", "ReduceL2", 1, 17, rewrite_axes, ""},
    {"", "ReduceSumSquare", 1, 17, rewrite_axes, ""},
    {"", "ReduceLogSum", 1, 17, rewrite_axes, ""},
    {"", "ReduceLogSumExp", 1, 17, rewrite_axes, ""},
    {"", "DFT", 1, 19, rewrite_dft, ""},
    /* broadcasting by attribute */
    {"", "Add", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Sub", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Mul", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Div", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Pow", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "And", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Or", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Xor", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Less", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Equal", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Greater", 1, 6, rewrite_broadcast, "Unsqueeze"},
    {"", "Gemm", 1, 6, rewrite_gemm_6, ""},
    /* changed meaning */
    {"", "Softmax", 1, 12, rewrite_softmax, "Flatten Shape Reshape"},
    {"", "LogSoftmax", 1, 12, rewrite_softmax, "Flatten Shape Reshape"},
    {"", "Hardmax", 1, 12, rewrite_softmax, "Flatten Shape Reshape"},
    {"", "BatchNormalization", 1, 13, rewrite_batch_norm, ""},
    {"", "BatchNormalization", 14, MAX_OPSET, rewrite_batch_norm_training, "ReduceMean Sub Mul Add"},
    {"", "GroupNormalization", 18, 20, rewrite_group_norm, "Shape Div Concat Unsqueeze Expand Reshape"},
    {"", "Resize", 1, 10, rewrite_resize_10, ""},
    {"", "Resize", 11, MAX_OPSET, rewrite_resize, ""},
    {"", "GridSample", 1, 19, rewrite_grid_sample, ""},
    {"", "RoiAlign", 1, 15, rewrite_roi_align, ""},
    {"", "Scan", 1, 8, rewrite_scan_8, ""},
    /* dropped or renamed */
    {"", "Upsample", 1, MAX_OPSET, rewrite_upsample, "=Resize"},
    {"", "Scatter", 1, MAX_OPSET, rewrite_scatter, "=ScatterElements"},
    {"", "MeanVarianceNormalization", 1, 8, rewrite_mean_variance, "ReduceMean Sub"},
    {"", "ImageScaler", 1, MAX_OPSET, rewrite_image_scaler, "=Mul Add"},
    {"", "Crop", 1, MAX_OPSET, rewrite_crop, "=Slice"},
    {"", "Affine", 1, MAX_OPSET, rewrite_affine, "=Mul Add"},
    {"", "Scale", 1, MAX_OPSET, rewrite_scale, "=Mul"},
    {"", "ParametricSoftplus", 1, MAX_OPSET, rewrite_parametric_softplus, "=Mul Softplus"},
    {"", "ScaledTanh", 1, MAX_OPSET, rewrite_scaled_tanh, "=Mul Tanh"},
    {"", "SimplifiedLayerNormalization", 1, MAX_OPSET, rewrite_simplified_layer_norm, "=RMSNormalization"},
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
    {"com.microsoft", "EmbedLayerNormalization", 0, INT16_MAX, rewrite_embed_layer_norm,
     "=Gather Shape Slice Add Equal Cast Mul ReduceSum LayerNormalization"},
    {"com.microsoft", "Attention", 0, INT16_MAX, rewrite_attention,
     "=MatMul Add Split Unsqueeze Greater Where Range Less Cast Gather Squeeze Concat Attention"},
    {"ai.onnx.ml", "ArrayFeatureExtractor", 0, INT16_MAX, rewrite_array_feature_extractor, "=Reshape Gather"},
    {"ai.onnx.ml", "ZipMap", 0, INT16_MAX, rewrite_zip_map, "=Identity"},
    {"com.microsoft", "BeamSearch", 0, INT16_MAX, rewrite_beam_search, ""},
    {"com.microsoft", "QuantizeLinear", 0, INT16_MAX, rewrite_same, "=QuantizeLinear"},
    {"com.microsoft", "DequantizeLinear", 0, INT16_MAX, rewrite_same, "=DequantizeLinear"},
    {"com.microsoft", "Trilu", 0, INT16_MAX, rewrite_same, "=Trilu"},
    {"com.microsoft", "QLinearAdd", 0, INT16_MAX, rewrite_qlinear_binary,
     "=DequantizeLinear Add CastLike QuantizeLinear"},
    {"com.microsoft", "QLinearMul", 0, INT16_MAX, rewrite_qlinear_binary,
     "=DequantizeLinear Mul CastLike QuantizeLinear"},
    {"com.microsoft", "QLinearSigmoid", 0, INT16_MAX, rewrite_qlinear_unary,
     "=DequantizeLinear Sigmoid CastLike QuantizeLinear"},
    {"com.microsoft", "QLinearLeakyRelu", 0, INT16_MAX, rewrite_qlinear_unary,
     "=DequantizeLinear LeakyRelu CastLike QuantizeLinear"},
    {"com.microsoft", "QLinearGlobalAveragePool", 0, INT16_MAX, rewrite_qlinear_unary,
     "=DequantizeLinear GlobalAveragePool CastLike QuantizeLinear"},
    {"com.microsoft", "QLinearAveragePool", 0, INT16_MAX, rewrite_qlinear_unary,
     "=DequantizeLinear AveragePool CastLike QuantizeLinear"},
    {"com.microsoft", "QLinearConv", 0, INT16_MAX, rewrite_qlinear_conv, "=QLinearConv Transpose"},
    {"com.microsoft", "QLinearConcat", 0, INT16_MAX, rewrite_qlinear_concat,
     "=DequantizeLinear Concat CastLike QuantizeLinear"},
    {"com.microsoft", "QGemm", 0, INT16_MAX, rewrite_qgemm,
     "=DequantizeLinear Mul Gemm CastLike QuantizeLinear"},
};

bool import_form(int32_t i, ImportForm *out) {
    if (i < 0 || (size_t)i >= sizeof rows / sizeof rows[0]) return false;
    const OpsetRow *row = &rows[i];
    bool instead = row->needs[0] == '=';
    *out =
        (ImportForm){.domain = row->domain, .op = row->op, .kept = !instead, .others = row->needs + instead};
    out->first = row->first <= 1 ? 0 : row->first;
    out->last = row->last >= MAX_OPSET ? 0 : row->last;
    return true;
}

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
    if (row != NULL) TRY(row->rewrite(form));
    if (form->domain[0] == '\0' && form_attr_int(form, "broadcast", 0) != 0)
        return form_refuse(form, "broadcasting by attribute ended with opset 6");
    TRY(form->status);
    return form_add(form, form->domain, form->op, form->name, &form->attrs, form->input_count, form->inputs,
                    form->output_count, form->outputs);
}
