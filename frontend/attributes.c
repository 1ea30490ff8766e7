/* AttributeProto to the neutral encoding of ops/attr.h. */
#include <string.h>

#include "frontend/importer.h"

int attribute_type(const Onnx__AttributeProto *attr) {
    if (attr->has_type && attr->type != 0) return attr->type;
    if (attr->has_f) return ATTRIBUTE_FLOAT;
    if (attr->has_i) return ATTRIBUTE_INT;
    if (attr->has_s) return ATTRIBUTE_STRING;
    if (attr->t != NULL) return ATTRIBUTE_TENSOR;
    if (attr->g != NULL) return ATTRIBUTE_GRAPH;
    if (attr->n_floats > 0) return ATTRIBUTE_FLOATS;
    if (attr->n_ints > 0) return ATTRIBUTE_INTS;
    if (attr->n_strings > 0) return ATTRIBUTE_STRINGS;
    return attr->sparse_tensor != NULL ? ATTRIBUTE_SPARSE_TENSOR : 0;
}

static const Onnx__AttributeProto *find_attribute(size_t count, Onnx__AttributeProto *const *attrs,
                                                  const char *name) {
    for (size_t i = 0; i < count; ++i)
        if (strcmp(proto_text(attrs[i]->name), name) == 0) return attrs[i];
    return NULL;
}

Status resolve_attribute(Importer *im, Scope **scope, const Onnx__AttributeProto **attr) {
    while (*attr != NULL && proto_text((*attr)->ref_attr_name)[0] != '\0') {
        const char *name = (*attr)->ref_attr_name;
        const Call *call = (*scope)->call;
        if (call == NULL)
            return FAIL(im->diag, STATUS_BAD_MODEL,
                        "attribute '%s' refers to attribute '%s' of a function, but is in none",
                        proto_text((*attr)->name), name);
        *attr = find_attribute(call->node->n_attribute, call->node->attribute, name);
        if (*attr != NULL) {
            *scope = call->caller;
            continue;
        }
        *attr = find_attribute(call->function->n_attribute_proto, call->function->attribute_proto, name);
        if (*attr != NULL && proto_text((*attr)->ref_attr_name)[0] != '\0')
            return FAIL(im->diag, STATUS_BAD_MODEL,
                        "the default of the function's attribute '%s' is a reference", name);
    }
    return STATUS_OK;
}

/* A copy with a terminating zero; text with a zero inside has no meaning for any operator. */
static Status copy_text(Importer *im, const ProtobufCBinaryData *bytes, const char **out) {
    if (bytes->len > 0 && memchr(bytes->data, '\0', bytes->len) != NULL)
        return FAIL(im->diag, STATUS_BAD_MODEL, "its text contains a zero byte");
    *out = arena_strndup(im->arena, bytes->len > 0 ? (const char *)bytes->data : "", bytes->len);
    TRY_ALLOC(im->diag, *out);
    return STATUS_OK;
}

static Status set_text(Importer *im, const Onnx__AttributeProto *attr, const char *name, AttrList *list) {
    const char *text;
    TRY(copy_text(im, &attr->s, &text));
    return attr_set_string(list, im->arena, name, text) ? STATUS_OK
                                                        : FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
}

static Status set_texts(Importer *im, const Onnx__AttributeProto *attr, const char *name, AttrList *list) {
    const char **texts = ARENA_ARRAY(&im->scratch, const char *, attr->n_strings);
    TRY_ALLOC(im->diag, texts);
    for (size_t i = 0; i < attr->n_strings; ++i) TRY(copy_text(im, &attr->strings[i], &texts[i]));
    return attr_set_strings(list, im->arena, name, texts, (int32_t)attr->n_strings)
               ? STATUS_OK
               : FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
}

static Status set_tensor(Importer *im, const Onnx__AttributeProto *attr, const char *name, AttrList *list) {
    Tensor tensor;
    if (attr->t != NULL)
        TRY(import_tensor(im, attr->t, &tensor));
    else if (attr->sparse_tensor != NULL)
        TRY(import_sparse_tensor(im, attr->sparse_tensor, &tensor));
    else
        return FAIL(im->diag, STATUS_BAD_MODEL, "it is a tensor, but holds none");
    return attr_set_tensor(list, im->arena, name, &tensor)
               ? STATUS_OK
               : FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
}

static Status set_graph(Importer *im, Scope *scope, const Onnx__AttributeProto *attr, const char *name,
                        AttrList *list) {
    BlockId block;
    if (attr->g == NULL) return FAIL(im->diag, STATUS_BAD_MODEL, "it is a graph, but holds none");
    TRY(import_body(im, scope, attr->g, &block));
    return attr_set_block(list, im->arena, name, block) ? STATUS_OK
                                                        : FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
}

/* Sets the kinds that are plain numbers; false: out of memory. */
static bool set_numbers(Importer *im, const Onnx__AttributeProto *attr, int type, const char *name,
                        AttrList *list) {
    switch (type) {
    case ATTRIBUTE_FLOAT:
        return attr_set_float(list, im->arena, name, attr->f);
    case ATTRIBUTE_INT:
        return attr_set_int(list, im->arena, name, attr->i);
    case ATTRIBUTE_FLOATS:
        return attr_set_floats(list, im->arena, name, attr->floats, (int32_t)attr->n_floats);
    default:
        return attr_set_ints(list, im->arena, name, attr->ints, (int32_t)attr->n_ints);
    }
}

static Status set_attribute(Importer *im, Scope *scope, const Onnx__AttributeProto *attr, const char *name,
                            AttrList *list) {
    int type = attribute_type(attr);
    switch (type) {
    case ATTRIBUTE_FLOAT:
    case ATTRIBUTE_INT:
    case ATTRIBUTE_FLOATS:
    case ATTRIBUTE_INTS:
        return set_numbers(im, attr, type, name, list) ? STATUS_OK
                                                       : FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    case ATTRIBUTE_STRING:
        return set_text(im, attr, name, list);
    case ATTRIBUTE_STRINGS:
        return set_texts(im, attr, name, list);
    case ATTRIBUTE_TENSOR:
    case ATTRIBUTE_SPARSE_TENSOR:
        return set_tensor(im, attr, name, list);
    case ATTRIBUTE_GRAPH:
        return set_graph(im, scope, attr, name, list);
    case ATTRIBUTE_TENSORS:
    case ATTRIBUTE_GRAPHS:
    case ATTRIBUTE_SPARSE_TENSORS:
    case ATTRIBUTE_TYPE_PROTO:
    case ATTRIBUTE_TYPE_PROTOS:
        return FAIL(im->diag, STATUS_UNSUPPORTED,
                    "lists of tensors or graphs and types are not supported as attributes");
    case 0:
        return FAIL(im->diag, STATUS_BAD_MODEL, "it has neither a type nor a value");
    default:
        return FAIL(im->diag, STATUS_BAD_MODEL, "its type %d is unknown", type);
    }
}

Status import_attributes(Importer *im, Scope *scope, const Onnx__NodeProto *node, AttrList *out) {
    for (size_t i = 0; i < node->n_attribute; ++i) {
        const Onnx__AttributeProto *attr = node->attribute[i];
        const char *name = proto_text(attr->name);
        Scope *written_in = scope;
        if (attr_find(out, name) != NULL)
            return FAIL(im->diag, STATUS_BAD_MODEL, "attribute '%s' is given twice", name);
        TRY(resolve_attribute(im, &written_in, &attr));
        if (attr == NULL) continue;
        Status status = set_attribute(im, written_in, attr, name, out);
        if (status != STATUS_OK) {
            diag_context(im->diag, DIAG_TENSOR, "attribute '%s'", name);
            return status;
        }
    }
    return STATUS_OK;
}
