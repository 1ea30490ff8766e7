/* Layers of transformers that ONNX Runtime's optimizer writes (domain com.microsoft), and
 * ArrayFeatureExtractor of ai.onnx.ml. */
#include <string.h>

#include "base/dtype.h"
#include "frontend/opset_rules.h"

static const double MASKED = -10000; /* default of mask_filter_value */

static AttrList one_int(Form *form, const char *name, int64_t value) {
    AttrList attrs = {0};
    form_note_attr(form, attr_set_int(&attrs, form->im->arena, name, value));
    return attrs;
}

static ValueId gather(Form *form, ValueId data, ValueId indices, int64_t axis) {
    AttrList attrs = one_int(form, "axis", axis);
    return FORM_NODE(form, "Gather", &attrs, data, indices);
}

static ValueId cast(Form *form, ValueId x, int64_t element_type) {
    AttrList attrs = one_int(form, "to", element_type);
    return FORM_NODE(form, "Cast", &attrs, x);
}

static bool wants_output(const Form *form, int32_t index) {
    return index < form->output_count && form->outputs[index] != NONE;
}

/* Output `index`, which something else than the last node makes. */
static Status give_output(Form *form, int32_t index, ValueId value) {
    TRY(form->status);
    return wants_output(form, index)
               ? add_identity(form->im, form->block, value, form->outputs[index], form->origin)
               : STATUS_OK;
}

/* x[..., indices], the indices in a row; a vector x counts as a matrix of one row. */
Status rewrite_array_feature_extractor(Form *form) {
    ValueId x = form_input(form, 0),
            row = FORM_NODE(form, "Reshape", NULL, form_input(form, 1), form_int(form, -1));
    int32_t rank = form_rank(form, x);
    if (rank < 1) return form_refuse(form, "it needs an input of a known rank of at least 1");
    if (rank == 1) x = FORM_NODE(form, "Unsqueeze", NULL, x, form_int(form, 0));
    form->attrs = one_int(form, "axis", -1);
    FORM_BECOME(form, "Gather", x, row);
    return form->status;
}

/* Classifiers end with it: a map from labels to probabilities for each row, which other programs print. The
 * table itself is the result here (import_graph.c lets it pass as an output). */
Status rewrite_zip_map(Form *form) {
    log_line(
        form->im->options->log, LOG_WARNING,
        "node '%s' (ai.onnx.ml.ZipMap) gives its input as a tensor, a column for each label, instead of maps",
        form->origin);
    form->attrs = (AttrList){0};
    FORM_BECOME(form, "Identity", form_required(form, 0));
    return form->status;
}

/* -- EmbedLayerNormalization -- */

enum { ONNX_INT32 = 6 };

/* How many tokens of each sequence the mask leaves, 0 without a mask. */
static ValueId count_tokens(Form *form, ValueId ids, ValueId mask) {
    AttrList attrs = one_int(form, "keepdims", 0);
    ValueId counted =
        mask == NONE
            ? FORM_NODE(form, "Mul", NULL, ids, form_scalar(form, ids, 0))
            : cast(form, FORM_NODE(form, "Equal", NULL, mask, form_scalar(form, mask, 1)), ONNX_INT32);
    return FORM_NODE(form, "ReduceSum", &attrs, counted, form_int(form, 1));
}

/* Rows of the table of positions: those asked for, else the first ones. */
static ValueId embed_positions(Form *form, ValueId ids, ValueId table, ValueId positions) {
    if (positions != NONE) return gather(form, table, positions, 0);
    AttrList attrs = one_int(form, "start", 1);
    ValueId length = FORM_NODE(form, "Shape", &attrs, ids);
    return FORM_NODE(form, "Slice", NULL, table, form_int(form, 0), length, form_int(form, 0));
}

/* Inputs: ids, segment ids?, tables of words, positions and segments?, gamma, beta, mask?, positions?.
 * Outputs: the normalised sum of embeddings, tokens per sequence, the sum. */
Status rewrite_embed_layer_norm(Form *form) {
    ValueId ids = form_required(form, 0), segments = form_input(form, 1), segment_table = form_input(form, 4);
    ValueId words = form_required(form, 2), places = form_required(form, 3), mask = form_input(form, 7);
    float epsilon = form_attr_float(form, "epsilon", 1e-12f);
    ValueId sum = FORM_NODE(form, "Add", NULL, gather(form, words, ids, 0),
                            embed_positions(form, ids, places, form_input(form, 8)));
    if (segments != NONE && segment_table != NONE)
        sum = FORM_NODE(form, "Add", NULL, sum, gather(form, segment_table, segments, 0));
    if (wants_output(form, 1)) TRY(give_output(form, 1, count_tokens(form, ids, mask)));
    TRY(give_output(form, 2, sum));
    form->output_count = 1;
    form->attrs = one_int(form, "axis", -1);
    form_note_attr(form, attr_set_float(&form->attrs, form->im->arena, "epsilon", epsilon));
    FORM_BECOME(form, "LayerNormalization", sum, form_required(form, 5), form_required(form, 6));
    return form->status;
}

/* -- Attention -- */

/* 1 where a sequence of the length of x has tokens: [batch, 1, 1, length], from the number of them. */
static ValueId tokens_before(Form *form, ValueId x, ValueId counts) {
    AttrList from = one_int(form, "start", 1);
    form_note_attr(form, attr_set_int(&from, form->im->arena, "end", 2));
    ValueId length = FORM_NODE(form, "Squeeze", NULL, FORM_NODE(form, "Shape", &from, x));
    ValueId positions =
        FORM_NODE(form, "Range", NULL, form_scalar(form, length, 0), length, form_scalar(form, length, 1));
    static const int64_t behind[] = {1, 2, 3};
    ValueId column = FORM_NODE(form, "Unsqueeze", NULL, counts, form_ints(form, 3, behind));
    return FORM_NODE(form, "Less", NULL, cast(form, positions, ONNX_INT32), column);
}

/* What the mask adds to the scores, in the element type of x. */
static ValueId mask_scores(Form *form, ValueId x, ValueId mask, double masked) {
    static const int64_t between[] = {1, 2};
    int32_t rank = form_rank(form, mask);
    ValueId kept = NONE;
    if (rank < 1 || rank > 3) {
        form_refuse(form, "its mask must have 1 to 3 axes");
        return NONE;
    }
    if (rank == 1)
        kept = tokens_before(form, x, mask);
    else
        kept = FORM_NODE(form, "Greater", NULL,
                         FORM_NODE(form, "Unsqueeze", NULL, mask, form_ints(form, 4 - rank, between)),
                         form_scalar(form, mask, 0));
    return FORM_NODE(form, "Where", NULL, kept, form_scalar(form, x, 0), form_scalar(form, x, masked));
}

/* Three parts of the last axis: of qkv_hidden_sizes, else equal. */
static Status split_projection(Form *form, ValueId projected, ValueId *parts) {
    int32_t count;
    const int64_t *sizes = form_attr_ints(form, "qkv_hidden_sizes", &count);
    AttrList attrs = one_int(form, "axis", -1);
    if (count > 0 && count != 3) return form_refuse(form, "qkv_hidden_sizes must be three");
    if (count <= 0) form_note_attr(form, attr_set_int(&attrs, form->im->arena, "num_outputs", 3));
    ValueId inputs[] = {projected, count == 3 ? form_ints(form, 3, sizes) : NONE};
    for (int i = 0; i < 3; ++i) parts[i] = graph_add_value(form->im->graph, NULL);
    form_note_attr(form, parts[0] != NONE && parts[1] != NONE && parts[2] != NONE);
    TRY(form->status);
    return form_add(form, "", "Split", form->name, &attrs, count == 3 ? 2 : 1, inputs, 3, parts);
}

/* Element `index` of a state [2, batch, heads, length, size]. */
static ValueId state_part(Form *form, ValueId state, int64_t index) {
    return FORM_NODE(form, "Squeeze", NULL, gather(form, state, form_int(form, index), 0), form_int(form, 0));
}

static Status refuse_unusual(Form *form) {
    if (form_attr_int(form, "do_rotary", 0) != 0) return form_refuse(form, "do_rotary is not supported");
    if (form_attr_int(form, "past_present_share_buffer", 0) != 0 || form_input(form, 6) != NONE)
        return form_refuse(form, "a state that shares its memory is not supported");
    return form->status;
}

/* The newest Attention, and behind it the state that it leaves. inputs: q, k, v, mask, past key and value. */
static Status add_attention(Form *form, ValueId *inputs) {
    ValueId outputs[3] = {form->outputs[0]};
    for (int i = 1; i < 3; ++i) outputs[i] = graph_add_value(form->im->graph, NULL);
    form_note_attr(form, outputs[1] != NONE && outputs[2] != NONE);
    TRY(form->status);
    TRY(form_add(form, "", "Attention", form->name, &form->attrs, 6, inputs, 3, outputs));
    ValueId key = FORM_NODE(form, "Unsqueeze", NULL, outputs[1], form_int(form, 0));
    ValueId value = FORM_NODE(form, "Unsqueeze", NULL, outputs[2], form_int(form, 0));
    form->outputs[0] = form->outputs[1];
    form->output_count = 1;
    form->attrs = one_int(form, "axis", 0);
    FORM_BECOME(form, "Concat", key, value);
    return form->status;
}

/* Inputs: x, weights of q, k and v, their bias, mask?, past?, what to add to the scores?. Outputs: y, state.
 */
Status rewrite_attention(Form *form) {
    ValueId x = form_input(form, 0), bias = form_input(form, 2), mask = form_input(form, 3);
    ValueId past = form_input(form, 4), scores = form_input(form, 5), parts[3];
    int64_t heads = form_attr_int(form, "num_heads", 0);
    int64_t causal = form_attr_int(form, "unidirectional", 0);
    float scale = form_attr_float(form, "scale", 0);
    double masked = (double)form_attr_float(form, "mask_filter_value", (float)MASKED);
    TRY(refuse_unusual(form));
    if (past != NONE && form_rank(form, mask) == 1)
        return form_refuse(form, "a past state with a mask of lengths is not supported");
    ValueId projected = FORM_NODE(form, "MatMul", NULL, x, form_input(form, 1));
    if (bias != NONE) projected = FORM_NODE(form, "Add", NULL, projected, bias);
    TRY(form->status);
    TRY(split_projection(form, projected, parts));
    if (mask != NONE) {
        mask = mask_scores(form, x, mask, masked);
        scores = scores == NONE ? mask : FORM_NODE(form, "Add", NULL, mask, scores);
    }
    form->attrs = one_int(form, "q_num_heads", heads);
    form_set_int(form, "kv_num_heads", heads);
    form_set_int(form, "is_causal", causal != 0);
    if (scale != 0) form_note_attr(form, attr_set_float(&form->attrs, form->im->arena, "scale", scale));
    ValueId inputs[] = {parts[0], parts[1], parts[2], scores, NONE, NONE};
    if (past != NONE) {
        inputs[4] = state_part(form, past, 0);
        inputs[5] = state_part(form, past, 1);
    }
    TRY(form->status);
    if (wants_output(form, 1)) return add_attention(form, inputs);
    form->output_count = 1;
    FORM_BECOME(form, "Attention", inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], inputs[5]);
    return form->status;
}

/* -- BeamSearch -- */

/* Extent `axis` of the first layer's state as the decoder declares it; 0: it does not. */
static int64_t declared_extent(const Onnx__GraphProto *decoder, size_t axis) {
    const Onnx__ValueInfoProto *state = decoder->n_input > 3 ? decoder->input[3] : NULL;
    if (state == NULL || state->type == NULL || state->type->tensor_type == NULL) return 0;
    const Onnx__TensorShapeProto *shape = state->type->tensor_type->shape;
    return shape == NULL || shape->n_dim != 5 ? 0 : shape->dim[axis]->dim_value;
}

/* The state begins empty: how many heads it has, and of which size, only its declaration tells. */
Status rewrite_beam_search(Form *form) {
    const Attr *body = attr_find(&form->attrs, "decoder");
    const Onnx__GraphProto *decoder = NULL;
    for (size_t i = 0; i < form->node->n_attribute; ++i)
        if (strcmp(proto_text(form->node->attribute[i]->name), "decoder") == 0)
            decoder = form->node->attribute[i]->g;
    if (body == NULL || body->kind != ATTR_BLOCK || decoder == NULL)
        return form_refuse(form, "it has no graph 'decoder'");
    int64_t heads = declared_extent(decoder, 2), size = declared_extent(decoder, 4);
    if (heads < 1 || size < 1)
        return form_refuse(form,
                           "its decoder must declare states [2, batch, heads, length, size] with numbers "
                           "for heads and size");
    form_set_int(form, "num_layers", form->im->graph->blocks[body->ints[0]].param_count - 3);
    form_set_int(form, "num_heads", heads);
    form_set_int(form, "head_size", size);
    return form->status;
}
