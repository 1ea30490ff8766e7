/* Attributes that became inputs. */
#include "frontend/opset_rules.h"

/* A list attribute becomes a 1-D input; absent or empty: none. */
static void move_ints(Form *form, const char *name, int32_t index) {
    int32_t count;
    const int64_t *values = form_attr_ints(form, name, &count);
    if (count > 0) form_set_input(form, index, form_ints(form, count, values));
    attr_remove(&form->attrs, name);
}

static void move_scalar(Form *form, const char *name, int32_t index) {
    if (attr_find(&form->attrs, name) == NULL) return;
    float value = form_attr_float(form, name, 0);
    form_set_input(form, index, form_scalar(form, form_input(form, 0), (double)value));
    attr_remove(&form->attrs, name);
}

Status rewrite_clip(Form *form) {
    move_scalar(form, "min", 1);
    move_scalar(form, "max", 2);
    return form->status;
}

Status rewrite_pad(Form *form) {
    move_ints(form, "pads", 1);
    move_scalar(form, "value", 2);
    return form->status;
}

Status rewrite_slice(Form *form) {
    move_ints(form, "starts", 1);
    move_ints(form, "ends", 2);
    move_ints(form, "axes", 3);
    return form->status;
}

/* Squeeze, Unsqueeze and the reductions. */
Status rewrite_axes(Form *form) {
    move_ints(form, "axes", 1);
    return form->status;
}

/* Without sizes, the outputs are equal parts, as many as there are outputs. */
Status rewrite_split(Form *form) {
    if (form->opset < 13) move_ints(form, "split", 1);
    if (form_input(form, 1) == NONE) form_set_int(form, "num_outputs", form->output_count);
    return form->status;
}

Status rewrite_top_k(Form *form) {
    int64_t k = form_attr_int(form, "k", -1);
    form_set_input(form, 1, form_int(form, k));
    attr_remove(&form->attrs, "k");
    return form->status;
}

/* Outside of training the ratio means nothing. Before opset 10 the mask had the input's type. */
Status rewrite_dropout(Form *form) {
    attr_remove(&form->attrs, "ratio");
    if (form->opset >= 10 || form->output_count < 2 || form->outputs[1] == NONE) return form->status;
    ValueId outputs[] = {form->outputs[0], graph_add_value(form->im->graph, NULL)};
    form_note_attr(form, outputs[1] != NONE);
    TRY(form->status);
    TRY(form_add(form, "", "Dropout", form->name, &form->attrs, form->input_count, form->inputs, 2, outputs));
    form->attrs = (AttrList){0};
    form_set_int(form, "to", dtype_of(form->im, form_input(form, 0)));
    form->outputs++;
    form->output_count--;
    FORM_BECOME(form, "Cast", outputs[1]);
    return form->status;
}

/* The default changed from 1 to the last axis but one. */
Status rewrite_dft(Form *form) {
    int64_t axis = form_attr_int(form, "axis", 1);
    form_set_input(form, 2, form_int(form, axis));
    attr_remove(&form->attrs, "axis");
    return form->status;
}
