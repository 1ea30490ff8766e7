/* What rewrites are written in. */
#include <string.h>

#include "frontend/opset.h"

static void note(Form *form, Status status) {
    if (form->status == STATUS_OK) form->status = status;
}

static void note_memory(Form *form, bool good) {
    if (!good) note(form, FAIL(form->im->diag, STATUS_NO_MEMORY, "out of memory"));
}

void form_note_attr(Form *form, bool good) {
    note_memory(form, good);
}

Status form_refuse(Form *form, const char *why) {
    note(form, FAIL(form->im->diag, STATUS_UNSUPPORTED, "%s", why));
    return form->status;
}

ValueId form_input(Form *form, int32_t index) {
    if (index < 64) form->read |= UINT64_C(1) << index;
    return index < form->input_count ? form->inputs[index] : NONE;
}

ValueId form_required(Form *form, int32_t index) {
    ValueId value = form_input(form, index);
    if (value == NONE)
        note(form, FAIL(form->im->diag, STATUS_BAD_MODEL, "required input %d is omitted", index));
    return value;
}

static void check_all_read(Form *form) {
    for (int32_t i = 0; i < form->input_count && i < 64; ++i)
        if (form->inputs[i] != NONE && (form->read >> i & 1) == 0)
            note(form, FAIL(form->im->diag, STATUS_BAD_MODEL, "it has %d inputs, and takes none at place %d",
                            form->input_count, i));
}

void form_set_input(Form *form, int32_t index, ValueId value) {
    if (index >= form->input_count) {
        ValueId *grown = arena_grow(&form->im->scratch, form->inputs, (size_t)form->input_count,
                                    (size_t)index + 1, sizeof *grown);
        note_memory(form, grown != NULL);
        if (grown == NULL) return;
        for (int32_t i = form->input_count; i < index; ++i) grown[i] = NONE;
        form->inputs = grown;
        form->input_count = index + 1;
    }
    form->inputs[index] = value;
}

void form_become(Form *form, const char *op, int32_t count, const ValueId *inputs) {
    check_all_read(form);
    form->domain = "";
    form->op = op;
    form->input_count = 0;
    form->read = UINT64_MAX;
    for (int32_t i = 0; i < count; ++i) form_set_input(form, i, inputs[i]);
}

/* -- nodes -- */

Status form_add(Form *form, const char *domain, const char *op, const char *name, const AttrList *attrs,
                int32_t input_count, const ValueId *inputs, int32_t output_count, const ValueId *outputs) {
    Importer *im = form->im;
    OpId id = op_find(domain, op);
    NodeId node;
    if (id == OP_NONE) return FAIL(im->diag, STATUS_UNSUPPORTED, "operator %s is not supported", op);
    TRY(graph_add_node(im->graph, form->block, id, name, attrs, input_count, inputs, output_count, outputs,
                       &node, im->diag));
    TRY(set_origin(im, node, form->origin));
    if ((op_def(id)->flags & OPF_RANDOM) != 0)
        log_line(im->options->log, LOG_WARNING,
                 "node '%s' (%s) is random: its numbers follow from the attribute 'seed' (0 without) alone "
                 "and are "
                 "the same in every run",
                 form->origin, op);
    return guess_outputs(im, node);
}

ValueId form_node(Form *form, const char *op, const AttrList *attrs, int32_t count, const ValueId *inputs) {
    if (form->status != STATUS_OK) return NONE;
    ValueId output = graph_add_value(form->im->graph, NULL);
    note_memory(form, output != NONE);
    if (output != NONE) note(form, form_add(form, "", op, form->name, attrs, count, inputs, 1, &output));
    return form->status == STATUS_OK ? output : NONE;
}

int32_t form_rank(const Form *form, ValueId value) {
    return rank_of(form->im, value);
}

/* -- constants -- */

static ValueId add_constant(Form *form, DType dtype, int32_t rank, int64_t count, const void *data) {
    if (form->status != STATUS_OK) return NONE;
    ValueId value = graph_add_constant(form->im->graph, NULL, dtype, rank, &count, data);
    note_memory(form, value != NONE);
    return value;
}

ValueId form_ints(Form *form, int32_t count, const int64_t *values) {
    if (form->status != STATUS_OK) return NONE;
    ValueId value = graph_add_constant_i64(form->im->graph, NULL, count, values);
    note_memory(form, value != NONE);
    return value;
}

ValueId form_int(Form *form, int64_t value) {
    return form_ints(form, 1, &value);
}

static void *number_room(Form *form, DType dtype, int32_t count) {
    size_t bytes;
    void *data = dtype_storage(dtype, count, &bytes) ? arena_alloc(form->im->arena, bytes) : NULL;
    note_memory(form, data != NULL);
    return data;
}

ValueId form_scalar(Form *form, ValueId like, double value) {
    DType dtype = dtype_of(form->im, like);
    void *data = number_room(form, dtype, 1);
    if (data == NULL) return NONE;
    dtype_store_f64(dtype, data, 0, value);
    return add_constant(form, dtype, 0, 0, data);
}

ValueId form_floats(Form *form, ValueId like, int32_t count, const float *values) {
    DType dtype = dtype_of(form->im, like);
    void *data = number_room(form, dtype, count);
    if (data == NULL) return NONE;
    for (int32_t i = 0; i < count; ++i) dtype_store_f64(dtype, data, i, (double)values[i]);
    return add_constant(form, dtype, 1, count, data);
}

/* -- attributes -- */

int64_t form_attr_int(Form *form, const char *name, int64_t fallback) {
    int64_t value = fallback;
    note(form, attr_int(&form->attrs, name, fallback, &value, form->im->diag));
    return value;
}

float form_attr_float(Form *form, const char *name, float fallback) {
    float value = fallback;
    note(form, attr_float(&form->attrs, name, fallback, &value, form->im->diag));
    return value;
}

const char *form_attr_string(Form *form, const char *name, const char *fallback) {
    const char *value = fallback;
    note(form, attr_string(&form->attrs, name, fallback, &value, form->im->diag));
    return value == NULL ? "" : value;
}

const int64_t *form_attr_ints(Form *form, const char *name, int32_t *count) {
    const int64_t *values = NULL;
    *count = -1;
    note(form, attr_ints(&form->attrs, name, &values, count, form->im->diag));
    return values;
}

const float *form_attr_floats(Form *form, const char *name, int32_t *count) {
    const float *values = NULL;
    *count = -1;
    note(form, attr_floats(&form->attrs, name, &values, count, form->im->diag));
    return values;
}

void form_set_int(Form *form, const char *name, int64_t value) {
    note_memory(form, attr_set_int(&form->attrs, form->im->arena, name, value));
}

void form_set_string(Form *form, const char *name, const char *value) {
    note_memory(form, attr_set_string(&form->attrs, form->im->arena, name, value));
}
