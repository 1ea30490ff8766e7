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

ValueId form_input(const Form *form, int32_t index) {
    return index < form->input_count ? form->inputs[index] : NONE;
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
    form->domain = "";
    form->op = op;
    form->input_count = 0;
    for (int32_t i = 0; i < count; ++i) form_set_input(form, i, inputs[i]);
}

/* -- nodes -- */

/* Element types of results whose operator does not hand through that of its first input. */
static DType result_type(const Importer *im, const OpDef *def, const AttrList *attrs, int32_t count,
                         const ValueId *inputs, int32_t output) {
    static const struct {
        const char *op;
        DType dtype;  /* NONE: that of an input or attribute */
        int8_t input; /* whose type it is */
        const char *attribute;
    } rules[] = {
        {"Shape", DTYPE_I64, 0, NULL},
        {"Size", DTYPE_I64, 0, NULL},
        {"ArgMax", DTYPE_I64, 0, NULL},
        {"ArgMin", DTYPE_I64, 0, NULL},
        {"NonZero", DTYPE_I64, 0, NULL},
        {"NonMaxSuppression", DTYPE_I64, 0, NULL},
        {"Equal", DTYPE_BOOL, 0, NULL},
        {"Less", DTYPE_BOOL, 0, NULL},
        {"Greater", DTYPE_BOOL, 0, NULL},
        {"LessOrEqual", DTYPE_BOOL, 0, NULL},
        {"GreaterOrEqual", DTYPE_BOOL, 0, NULL},
        {"IsNaN", DTYPE_BOOL, 0, NULL},
        {"IsInf", DTYPE_BOOL, 0, NULL},
        {"Cast", DTYPE_NONE, 0, "to"},
        {"RandomNormal", DTYPE_NONE, 0, "dtype"},
        {"RandomUniform", DTYPE_NONE, 0, "dtype"},
        {"Where", DTYPE_NONE, 1, NULL},
        {"CastLike", DTYPE_NONE, 1, NULL},
        {"OneHot", DTYPE_NONE, 2, NULL},
        {"DequantizeLinear", DTYPE_NONE, 1, NULL},
        {"MatMulInteger", DTYPE_I32, 0, NULL},
        {"ConvInteger", DTYPE_I32, 0, NULL},
        {"QLinearConv", DTYPE_NONE, 7, NULL},
        {"QLinearMatMul", DTYPE_NONE, 7, NULL},
    };
    if ((strcmp(def->name, "TopK") == 0 || strcmp(def->name, "MaxPool") == 0) && output == 1)
        return DTYPE_I64;
    if (strcmp(def->name, "QuantizeLinear") == 0) return count > 2 ? dtype_of(im, inputs[2]) : DTYPE_U8;
    if (strcmp(def->name, "ConstantOfShape") == 0) {
        const Attr *value = attr_find(attrs, "value");
        return value != NULL && value->kind == ATTR_TENSOR ? value->tensor->dtype : DTYPE_F32;
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i) {
        if (strcmp(rules[i].op, def->name) != 0) continue;
        const Attr *attr = rules[i].attribute == NULL ? NULL : attr_find(attrs, rules[i].attribute);
        if (attr != NULL && attr->kind == ATTR_INT && dtype_is_valid(attr->ints[0]))
            return (DType)attr->ints[0];
        if (rules[i].dtype != DTYPE_NONE) return rules[i].dtype;
        return rules[i].input < count ? dtype_of(im, inputs[rules[i].input]) : DTYPE_F32;
    }
    return count > 0 && inputs[0] != NONE ? dtype_of(im, inputs[0]) : DTYPE_F32;
}

static Status guess_outputs(Importer *im, NodeId node) {
    const Node *row = &im->graph->nodes[node];
    const OpDef *def = op_def(row->op);
    if (def->op_class == OPCLASS_CONTROL) return STATUS_OK; /* declared types, if any, stand */
    for (int32_t i = 0; i < row->output_count; ++i)
        if (row->outputs[i] != NONE)
            TRY(guess_set(im, row->outputs[i],
                          result_type(im, def, &row->attrs, row->input_count, row->inputs, i)));
    return STATUS_OK;
}

Status form_add(Form *form, const char *domain, const char *op, const char *name, const AttrList *attrs,
                int32_t input_count, const ValueId *inputs, int32_t output_count, const ValueId *outputs) {
    Importer *im = form->im;
    OpId id = op_find(domain, op);
    NodeId node;
    if (id == OP_NONE) return FAIL(im->diag, STATUS_UNSUPPORTED, "operator %s is not supported", op);
    TRY(graph_add_node(im->graph, form->block, id, name, attrs, input_count, inputs, output_count, outputs,
                       &node, im->diag));
    TRY(set_origin(im, node, form->origin));
    return guess_outputs(im, node);
}

ValueId form_node(Form *form, const char *op, const AttrList *attrs, int32_t count, const ValueId *inputs) {
    if (form->status != STATUS_OK) return NONE;
    ValueId output = graph_add_value(form->im->graph, NULL);
    note_memory(form, output != NONE);
    if (output != NONE) note(form, form_add(form, "", op, form->name, attrs, count, inputs, 1, &output));
    return form->status == STATUS_OK ? output : NONE;
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

/* -- ranks -- */

int32_t form_rank(const Form *form, ValueId value) {
    const Graph *graph = form->im->graph;
    for (int steps = 0; value != NONE && steps < 64; ++steps) {
        const Value *row = &graph->values[value];
        if (row->has_shape) return row->shape.rank;
        if (row->producer == NONE) return -1;
        const Node *node = &graph->nodes[row->producer];
        const OpDef *def = op_def(node->op);
        const Attr *perm = attr_find(&node->attrs, "perm");
        if (strcmp(def->name, "Transpose") == 0 && perm != NULL) return perm->count;
        if (strcmp(def->name, "Reshape") == 0) {
            const Value *shape = &graph->values[node->inputs[1]];
            return shape->data != NULL && shape->shape.rank == 1 ? (int32_t)shape->shape.dim[0] : -1;
        }
        bool keeps = def->op_class == OPCLASS_NORMALIZATION || strcmp(def->name, "Transpose") == 0 ||
                     (def->op_class == OPCLASS_POINTWISE && node->input_count == 1);
        if (!keeps) return -1;
        value = node->inputs[0];
    }
    return -1;
}
