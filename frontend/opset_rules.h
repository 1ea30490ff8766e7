/* The rewrites that opset.c lists. Each changes the node from the form that its row names to the newest. */
#ifndef SMELT_FRONTEND_OPSET_RULES_H
#define SMELT_FRONTEND_OPSET_RULES_H

#include "frontend/opset.h"

/* opset_inputs.c: attributes that became inputs */
Status rewrite_clip(Form *form);
Status rewrite_pad(Form *form);
Status rewrite_slice(Form *form);
Status rewrite_axes(Form *form);
Status rewrite_split(Form *form);
Status rewrite_top_k(Form *form);
Status rewrite_dropout(Form *form);
Status rewrite_dft(Form *form);

/* opset_meaning.c: operators that changed */
Status rewrite_broadcast(Form *form);
Status rewrite_gemm_6(Form *form);
Status rewrite_softmax(Form *form);
Status rewrite_batch_norm(Form *form);
Status rewrite_batch_norm_training(Form *form);
Status rewrite_group_norm(Form *form);
Status rewrite_resize_10(Form *form);
Status rewrite_resize(Form *form);
Status rewrite_upsample(Form *form);
Status rewrite_grid_sample(Form *form);
Status rewrite_roi_align(Form *form);
Status rewrite_scan_8(Form *form);
Status rewrite_scatter(Form *form);

/* opset_legacy.c: operators that are no longer */
Status rewrite_mean_variance(Form *form);
Status rewrite_image_scaler(Form *form);
Status rewrite_crop(Form *form);
Status rewrite_affine(Form *form);
Status rewrite_scale(Form *form);
Status rewrite_parametric_softplus(Form *form);
Status rewrite_scaled_tanh(Form *form);

/* opset_contrib.c: ONNX Runtime's own */
Status rewrite_same(Form *form);
Status rewrite_fused_conv(Form *form);
Status rewrite_fused_gemm(Form *form);
Status rewrite_fused_mat_mul(Form *form);
Status rewrite_gelu(Form *form);
Status rewrite_quick_gelu(Form *form);
Status rewrite_skip_layer_norm(Form *form);
Status rewrite_simplified_layer_norm(Form *form);

/* opset_transformer.c: ONNX Runtime's layers of transformers, and what else has no newer form */
Status rewrite_array_feature_extractor(Form *form);
Status rewrite_zip_map(Form *form);
Status rewrite_embed_layer_norm(Form *form);
Status rewrite_attention(Form *form);
Status rewrite_beam_search(Form *form);

/* opset_quantized.c: ONNX Runtime's quantized operators, as dequantize, compute, quantize */
Status rewrite_qlinear_binary(Form *form);
Status rewrite_qlinear_unary(Form *form);
Status rewrite_qlinear_conv(Form *form);
Status rewrite_qlinear_concat(Form *form);
Status rewrite_qgemm(Form *form);

#endif
