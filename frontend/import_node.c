/* One node: inputs by name, attributes, then constant, function call or operator. */
#include <string.h>

#include "frontend/importer.h"
#include "frontend/opset.h"

enum { INPUT_ROOM = 8 /* inputs that a rewrite may add */ };

/* -- constants -- */

static Status constant_numbers(Importer *im, DType dtype, const void *data, size_t count, bool scalar,
                               Tensor *out) {
    size_t bytes;
    *out = (Tensor){.dtype = dtype, .rank = scalar ? 0 : 1, .dim = {(int64_t)count}};
    if (scalar) out->dim[0] = 0;
    if (!dtype_storage(dtype, (int64_t)count, &bytes))
        return FAIL(im->diag, STATUS_BAD_MODEL, "it is too large");
    out->data = arena_alloc(im->arena, bytes);
    TRY_ALLOC(im->diag, out->data);
    if (bytes > 0) memcpy(out->data, data, bytes);
    return STATUS_OK;
}

static Status constant_tensor(Importer *im, const Onnx__AttributeProto *attr, const char *name, Tensor *out) {
    if (strcmp(name, "value") == 0 && attr->t != NULL) return import_tensor(im, attr->t, out);
    if (strcmp(name, "sparse_value") == 0 && attr->sparse_tensor != NULL)
        return import_sparse_tensor(im, attr->sparse_tensor, out);
    if (strcmp(name, "value_float") == 0) return constant_numbers(im, DTYPE_F32, &attr->f, 1, true, out);
    if (strcmp(name, "value_int") == 0) return constant_numbers(im, DTYPE_I64, &attr->i, 1, true, out);
    if (strcmp(name, "value_floats") == 0)
        return constant_numbers(im, DTYPE_F32, attr->floats, attr->n_floats, false, out);
    if (strcmp(name, "value_ints") == 0)
        return constant_numbers(im, DTYPE_I64, attr->ints, attr->n_ints, false, out);
    if (strncmp(name, "value_string", 12) == 0)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "constants of strings are not supported");
    return FAIL(im->diag, STATUS_BAD_MODEL, "attribute '%s' is unknown, or holds no value", name);
}

static Status import_constant(Importer *im, Scope *scope, const Onnx__NodeProto *node) {
    if (node->n_output != 1 || node->n_input != 0 || node->n_attribute != 1)
        return FAIL(im->diag, STATUS_BAD_MODEL,
                    "a constant has no input, one output and one attribute, not %zu, %zu and %zu",
                    node->n_input, node->n_output, node->n_attribute);
    Tensor tensor;
    const Onnx__AttributeProto *attr = node->attribute[0];
    const char *name = proto_text(attr->name);
    Scope *written_in = scope;
    TRY(resolve_attribute(im, &written_in, &attr));
    if (attr == NULL)
        return FAIL(im->diag, STATUS_BAD_MODEL, "the function's attribute for its value is missing");
    TRY(constant_tensor(im, attr, name, &tensor));
    if (node->output[0][0] == '\0') return STATUS_OK;
    return define_constant(im, scope, node->output[0], &tensor);
}

/* -- operators -- */

Status set_origin(Importer *im, NodeId node, const char *origin) {
    const char **list = ARENA_ARRAY(im->arena, const char *, 1);
    TRY_ALLOC(im->diag, list);
    list[0] = arena_strdup(im->arena, origin);
    TRY_ALLOC(im->diag, list[0]);
    im->graph->nodes[node].origins = list;
    im->graph->nodes[node].origin_count = 1;
    return STATUS_OK;
}

static Status find_inputs(Importer *im, const Scope *scope, const Onnx__NodeProto *node, Form *form) {
    form->input_count = (int32_t)node->n_input;
    form->inputs = ARENA_ARRAY(&im->scratch, ValueId, node->n_input + INPUT_ROOM);
    TRY_ALLOC(im->diag, form->inputs);
    for (size_t i = 0; i < node->n_input; ++i) {
        form->inputs[i] = NONE;
        if (node->input[i][0] != '\0')
            TRY(scope_read(im, scope, "input", i, node->input[i], &form->inputs[i]));
    }
    while (form->input_count > 0 && form->inputs[form->input_count - 1] == NONE) form->input_count--;
    return STATUS_OK;
}

static Status make_outputs(Importer *im, Scope *scope, const Onnx__NodeProto *node, Form *form) {
    form->output_count = (int32_t)node->n_output;
    form->outputs = ARENA_ARRAY(&im->scratch, ValueId, node->n_output);
    TRY_ALLOC(im->diag, form->outputs);
    for (size_t i = 0; i < node->n_output; ++i) {
        form->outputs[i] = NONE;
        if (node->output[i][0] != '\0') TRY(scope_define(im, scope, node->output[i], &form->outputs[i]));
    }
    return STATUS_OK;
}

/* Outputs that the rewrite has left out must not be read. */
static Status drop_outputs(Importer *im, Scope *scope, const Onnx__NodeProto *node) {
    for (size_t i = 0; i < node->n_output; ++i) {
        ValueId value;
        if (node->output[i][0] != '\0' && scope_find(scope, node->output[i], &value) &&
            im->graph->values[value].producer == NONE)
            TRY(scope_bind(im, scope, node->output[i], SCOPE_DROPPED));
    }
    return STATUS_OK;
}

static Status check_opset(Importer *im, const char *domain, const char *op, int64_t opset) {
    if (domain[0] != '\0' || (opset >= MIN_OPSET && opset <= MAX_OPSET)) return STATUS_OK;
    OpId id = op_find(domain, op);
    if (opset > 0 && opset < MIN_OPSET && id != OP_NONE && op_def(id)->since <= opset) return STATUS_OK;
    if (opset == 0) return FAIL(im->diag, STATUS_BAD_MODEL, "the model imports no opset of ai.onnx");
    return FAIL(im->diag, STATUS_UNSUPPORTED, "opset %lld of ai.onnx is outside the supported %d to %d",
                (long long)opset, MIN_OPSET, MAX_OPSET);
}

static Status import_operator(Importer *im, Scope *scope, const Onnx__NodeProto *node, const char *label) {
    Form form = {.im = im,
                 .node = node,
                 .domain = domain_of(node->domain),
                 .op = proto_text(node->op_type),
                 .name = label,
                 .origin = label,
                 .block = scope->block};
    if (proto_text(node->name)[0] == '\0') form.name = "";
    form.opset = scope_opset(im, scope, form.domain);
    TRY(check_opset(im, form.domain, form.op, form.opset));
    TRY(find_inputs(im, scope, node, &form));
    TRY(import_attributes(im, scope, node, &form.attrs));
    TRY(make_outputs(im, scope, node, &form));
    TRY(form_import(&form));
    return drop_outputs(im, scope, node);
}

static void name_node(Importer *im, const Scope *scope, const Onnx__NodeProto *node, const char *label) {
    const char *domain = domain_of(node->domain);
    if (domain[0] == '\0')
        diag_context(im->diag, DIAG_NODE, "node '%s' (%s, opset %lld)", label, proto_text(node->op_type),
                     (long long)scope_opset(im, scope, domain));
    else
        diag_context(im->diag, DIAG_NODE, "node '%s' (%s.%s)", label, domain, proto_text(node->op_type));
}

Status import_node(Importer *im, Scope *scope, const Onnx__NodeProto *node, size_t index) {
    const char *label = node_label(im, scope, node, index);
    int32_t function = function_find(im, node);
    bool standard = domain_of(node->domain)[0] == '\0';
    TRY_ALLOC(im->diag, label);
    Status status;
    if (++im->node_count > MAX_NODES)
        status = FAIL(im->diag, STATUS_UNSUPPORTED, "over %d nodes, inlined functions included", MAX_NODES);
    else if (node->n_input > MAX_OPERANDS || node->n_output > MAX_OPERANDS ||
             node->n_attribute > MAX_ATTRIBUTES)
        status = FAIL(im->diag, STATUS_BAD_MODEL, "%zu inputs, %zu outputs and %zu attributes are too many",
                      node->n_input, node->n_output, node->n_attribute);
    else if (function >= 0)
        status = import_call(im, scope, node, label, im->proto->functions[function]);
    else if (standard && strcmp(proto_text(node->op_type), "Constant") == 0)
        status = import_constant(im, scope, node);
    else
        status = import_operator(im, scope, node, label);
    if (status != STATUS_OK) name_node(im, scope, node, label);
    return status;
}
