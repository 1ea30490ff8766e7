/* Operators whose meaning changed. */
#include <string.h>

#include "frontend/opset_rules.h"

/* Up to opset 6, the second operand's axes lie along the first one's from `axis` on; without it, they are the
 * last ones, as ever since. */
Status rewrite_broadcast(Form *form) {
    bool places = form_attr_int(form, "broadcast", 0) != 0 && attr_find(&form->attrs, "axis") != NULL;
    int64_t axis = form_attr_int(form, "axis", 0);
    form->attrs = (AttrList){0};
    if (!places) return form->status;
    int32_t rank = form_rank(form, form_input(form, 0)), other = form_rank(form, form_input(form, 1));
    if (rank < 0 || other < 0)
        return form_refuse(form, "broadcasting along an axis needs operands of known rank");
    if (axis < 0) axis += rank;
    if (axis < 0 || axis + other > rank)
        return FAIL(form->im->diag, STATUS_BAD_MODEL, "%d axes from axis %lld on are outside rank %d", other,
                    (long long)axis, rank);
    int64_t behind[SMELT_MAX_RANK];
    int32_t count = rank - other - (int32_t)axis;
    for (int32_t i = 0; i < count; ++i) behind[i] = other + i;
    if (count > 0)
        form_set_input(
            form, 1, FORM_NODE(form, "Unsqueeze", NULL, form_input(form, 1), form_ints(form, count, behind)));
    return form->status;
}

Status rewrite_gemm_6(Form *form) {
    attr_remove(&form->attrs, "broadcast");
    return form->status;
}

/* Up to opset 12, everything from `axis` on (by default 1) is one row. */
Status rewrite_softmax(Form *form) {
    int64_t axis = form_attr_int(form, "axis", 1);
    if (axis == -1) return form->status;
    ValueId x = form_input(form, 0);
    AttrList by_row = {0}, rows = {0};
    Arena *arena = form->im->arena;
    if (!attr_set_int(&by_row, arena, "axis", axis) || !attr_set_int(&rows, arena, "axis", -1))
        return FAIL(form->im->diag, STATUS_NO_MEMORY, "out of memory");
    ValueId flat = FORM_NODE(form, "Flatten", &by_row, x);
    ValueId result = FORM_NODE(form, form->op, &rows, flat);
    ValueId shape = FORM_NODE(form, "Shape", NULL, x);
    form->attrs = (AttrList){0};
    form_set_int(form, "allowzero", 1); /* x may be empty */
    FORM_BECOME(form, "Reshape", result, shape);
    return form->status;
}

/* Statistics per element of a sample instead of per channel. */
static Status normalize_elements(Form *form) {
    ValueId x = form_input(form, 0), scale = form_input(form, 1), bias = form_input(form, 2);
    ValueId mean = form_input(form, 3), variance = form_input(form, 4);
    double epsilon = (double)form_attr_float(form, "epsilon", 1e-5f);
    ValueId deviation = FORM_NODE(
        form, "Sqrt", NULL, FORM_NODE(form, "Add", NULL, variance, form_scalar(form, variance, epsilon)));
    ValueId centred = FORM_NODE(form, "Sub", NULL, x, mean);
    ValueId scaled = FORM_NODE(form, "Mul", NULL, FORM_NODE(form, "Div", NULL, centred, deviation), scale);
    form->attrs = (AttrList){0};
    FORM_BECOME(form, "Add", scaled, bias);
    return form->status;
}

/* Outputs behind the first were for training. */
Status rewrite_batch_norm(Form *form) {
    form->output_count = 1;
    bool per_channel = form_attr_int(form, "spatial", 1) != 0;
    attr_remove(&form->attrs, "spatial");
    return per_channel ? form->status : normalize_elements(form);
}

/* Output `index`, if it is wanted: momentum * old + (1 - momentum) * now. */
static Status running_average(Form *form, int32_t index, ValueId old, ValueId now) {
    if (index >= form->output_count || form->outputs[index] == NONE) return form->status;
    double momentum = (double)form_attr_float(form, "momentum", 0.9f);
    ValueId parts[] = {FORM_NODE(form, "Mul", NULL, old, form_scalar(form, old, momentum)),
                       FORM_NODE(form, "Mul", NULL, now, form_scalar(form, now, 1 - momentum))};
    TRY(form->status);
    return form_add(form, "", "Add", form->name, NULL, 2, parts, 1, &form->outputs[index]);
}

/* In training mode, the statistics are those of the input, and the given ones only enter running averages. */
Status rewrite_batch_norm_training(Form *form) {
    if (form_attr_int(form, "training_mode", 0) == 0) return form->status;
    ValueId x = form_input(form, 0);
    int32_t rank = form_rank(form, x);
    if (rank < 2) return form_refuse(form, "training mode needs an input of known rank, 2 or more");
    int64_t others[SMELT_MAX_RANK];
    for (int32_t i = 0; i < rank - 1; ++i) others[i] = i == 0 ? 0 : i + 1;
    ValueId axes = form_ints(form, rank - 1, others);
    AttrList flat = {0};
    form_note_attr(form, attr_set_int(&flat, form->im->arena, "keepdims", 0));
    ValueId centred = FORM_NODE(form, "Sub", NULL, x, FORM_NODE(form, "ReduceMean", NULL, x, axes));
    ValueId mean = FORM_NODE(form, "ReduceMean", &flat, x, axes);
    ValueId variance =
        FORM_NODE(form, "ReduceMean", &flat, FORM_NODE(form, "Mul", NULL, centred, centred), axes);
    TRY(running_average(form, 1, form_input(form, 3), mean));
    TRY(running_average(form, 2, form_input(form, 4), variance));
    form->output_count = 1;
    attr_remove(&form->attrs, "training_mode");
    attr_remove(&form->attrs, "momentum");
    FORM_BECOME(form, "BatchNormalization", x, form_input(form, 1), form_input(form, 2), mean, variance);
    return form->status;
}

/* scale or bias per group [G] becomes per channel [C]: each value C / G times. */
static ValueId per_channel(Form *form, ValueId per_group, ValueId channels_per_group, ValueId groups) {
    AttrList axis = {0};
    form_note_attr(form, attr_set_int(&axis, form->im->arena, "axis", 0));
    ValueId extent = FORM_NODE(form, "Concat", &axis, groups, channels_per_group);
    ValueId column = FORM_NODE(form, "Unsqueeze", NULL, per_group, form_int(form, 1));
    ValueId table = FORM_NODE(form, "Expand", NULL, column, extent);
    return FORM_NODE(form, "Reshape", NULL, table, form_int(form, -1));
}

Status rewrite_group_norm(Form *form) {
    ValueId x = form_input(form, 0);
    AttrList second = {0};
    form_note_attr(form, attr_set_int(&second, form->im->arena, "start", 1) &&
                             attr_set_int(&second, form->im->arena, "end", 2));
    ValueId channels = FORM_NODE(form, "Shape", &second, x);
    ValueId groups = form_int(form, form_attr_int(form, "num_groups", 1));
    ValueId each = FORM_NODE(form, "Div", NULL, channels, groups);
    form_set_input(form, 1, per_channel(form, form_input(form, 1), each, groups));
    form_set_input(form, 2, per_channel(form, form_input(form, 2), each, groups));
    return form->status;
}

/* -- resizing -- */

static void set_asymmetric(Form *form, const char *nearest) {
    form_set_string(form, "coordinate_transformation_mode", "asymmetric");
    form_set_string(form, "nearest_mode", nearest);
}

/* Before opset 11, nearest takes the element below where an axis grows and above where it shrinks. An axis of
 * each kind: grow first, then shrink. */
static Status resize_by(Form *form, ValueId x, ValueId scales) {
    enum { MAX_SCALES = SMELT_MAX_RANK };
    const Value *row = scales == NONE ? NULL : &form->im->graph->values[scales];
    float up[MAX_SCALES], down[MAX_SCALES];
    int32_t count =
        row != NULL && row->data != NULL && row->shape.rank == 1 ? (int32_t)row->shape.dim[0] : -1;
    bool grows = false, shrinks = false;
    if (count > MAX_SCALES || (row != NULL && row->dtype != DTYPE_F32)) count = -1;
    for (int32_t i = 0; i < count; ++i) {
        float scale = ((const float *)row->data)[i];
        up[i] = scale > 1 ? scale : 1;
        down[i] = scale < 1 ? scale : 1;
        grows |= scale > 1;
        shrinks |= scale < 1;
    }
    if (grows && shrinks) {
        set_asymmetric(form, "floor");
        x = FORM_NODE(form, "Resize", &form->attrs, x, NONE, form_floats(form, NONE, count, up));
        scales = form_floats(form, NONE, count, down);
    }
    set_asymmetric(form, shrinks ? "ceil" : "floor");
    FORM_BECOME(form, "Resize", x, NONE, scales);
    return form->status;
}

Status rewrite_resize_10(Form *form) {
    return resize_by(form, form_input(form, 0), form_input(form, 1));
}

Status rewrite_upsample(Form *form) {
    int32_t count;
    const float *values = form_attr_floats(form, "scales", &count);
    ValueId scales = count > 0 ? form_floats(form, NONE, count, values) : form_input(form, 1);
    attr_remove(&form->attrs, "scales");
    return resize_by(form, form_input(form, 0), scales);
}

/* Exporters write empty tensors for inputs that they omit. tf_half_pixel_for_nn ended with opset 12; for
 * nearest, it is half_pixel with the rounding moved by a half. */
Status rewrite_resize(Form *form) {
    for (int32_t i = 1; i < form->input_count; ++i) {
        const Value *value = form->inputs[i] == NONE ? NULL : &form->im->graph->values[form->inputs[i]];
        if (value != NULL && value->data != NULL && value_count(value) == 0) form->inputs[i] = NONE;
    }
    const char *mode = form_attr_string(form, "coordinate_transformation_mode", "half_pixel");
    if (strcmp(mode, "tf_half_pixel_for_nn") != 0) return form->status;
    const char *rounding = form_attr_string(form, "nearest_mode", "round_prefer_floor");
    bool floors = strcmp(rounding, "floor") == 0;
    if (strcmp(form_attr_string(form, "mode", "nearest"), "nearest") != 0 ||
        (!floors && strcmp(rounding, "round_prefer_floor") != 0))
        return form_refuse(form,
                           "tf_half_pixel_for_nn is supported for nearest with floor or round_prefer_floor");
    form_set_string(form, "coordinate_transformation_mode", "half_pixel");
    form_set_string(form, "nearest_mode", floors ? "round_prefer_ceil" : "ceil");
    return form->status;
}

/* -- renamed choices and operators -- */

Status rewrite_grid_sample(Form *form) {
    const char *mode = form_attr_string(form, "mode", "bilinear");
    if (strcmp(mode, "bilinear") == 0) form_set_string(form, "mode", "linear");
    if (strcmp(mode, "bicubic") == 0) form_set_string(form, "mode", "cubic");
    return form->status;
}

Status rewrite_roi_align(Form *form) {
    form_set_string(form, "coordinate_transformation_mode", "output_half_pixel");
    return form->status;
}

/* A parameter of block for each of the node's inputs from 1 on. */
static Status add_params(Form *form, BlockId block) {
    Importer *im = form->im;
    for (int32_t i = 1; i < form->input_count; ++i) {
        ValueId value = graph_add_value(im->graph, NULL);
        if (value == NONE || !block_add_param(im->graph, block, value))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
        TRY(guess_set(im, value, dtype_of(im, form->inputs[i])));
    }
    return STATUS_OK;
}

/* The node without its first input, moved into block, whose results its outputs become. */
static Status move_into(Form *form, BlockId block) {
    Importer *im = form->im;
    Form inner = *form;
    inner.block = block;
    inner.outputs = ARENA_ARRAY(&im->scratch, ValueId, form->output_count);
    TRY_ALLOC(im->diag, inner.outputs);
    for (int32_t i = 0; i < form->output_count; ++i) {
        inner.outputs[i] = graph_add_value(im->graph, NULL);
        if (inner.outputs[i] == NONE) return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    }
    TRY(form_add(&inner, "", form->op, form->name, &form->attrs, form->input_count - 1,
                 im->graph->blocks[block].params, form->output_count, inner.outputs));
    for (int32_t i = 0; i < form->output_count; ++i)
        if (!block_add_result(im->graph, block, inner.outputs[i]))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

/* Opset 8 scans axis 1 of each element of a batch along axis 0: a Scan over the batch whose body is the Scan
 * of today. */
Status rewrite_scan_8(Form *form) {
    Importer *im = form->im;
    if (form_input(form, 0) != NONE)
        return form_refuse(form, "Scan of opset 8 is supported without sequence_lens only");
    int32_t count;
    const int64_t *directions = form_attr_ints(form, "directions", &count);
    if (count >= 0)
        form_note_attr(form,
                       attr_set_ints(&form->attrs, im->arena, "scan_input_directions", directions, count));
    attr_remove(&form->attrs, "directions");
    TRY(form->status);
    BlockId batch = graph_add_block(im->graph, "batch", NONE);
    if (batch == NONE) return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(add_params(form, batch));
    TRY(move_into(form, batch));
    form->attrs = (AttrList){0};
    form_set_int(form, "num_scan_inputs", form->input_count - 1);
    form_note_attr(form, attr_set_block(&form->attrs, im->arena, "body", batch));
    form->inputs++;
    form->input_count--;
    return form->status;
}

Status rewrite_scatter(Form *form) {
    form->op = "ScatterElements";
    return form->status;
}
