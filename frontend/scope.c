/* What names mean. */
#include <string.h>

#include "frontend/importer.h"

/* Maps hold numbers from 0 on. */
enum { BIND_OFFSET = -SCOPE_DROPPED };

bool scope_find(const Scope *scope, const char *name, ValueId *out) {
    for (; scope != NULL; scope = scope->outer) {
        int32_t found = name_map_find(&scope->names, name);
        *out = found - BIND_OFFSET;
        if (found >= 0) return true;
    }
    return false;
}

Status scope_read(Importer *im, const Scope *scope, const char *what, size_t index, const char *name,
                  ValueId *out) {
    if (!scope_find(scope, name, out))
        return FAIL(im->diag, STATUS_BAD_MODEL, "%s %zu '%s' is no input, initializer or output of a node",
                    what, index, name);
    if (*out == SCOPE_DROPPED)
        return FAIL(im->diag, STATUS_UNSUPPORTED,
                    "%s %zu '%s' is an output that its node only has in training", what, index, name);
    return STATUS_OK;
}

bool scope_has_own(const Scope *scope, const char *name) {
    return name_map_find(&scope->names, name) >= 0;
}

Status scope_bind(Importer *im, Scope *scope, const char *name, ValueId value) {
    if (!name_map_set(&scope->names, &im->scratch, name, value + BIND_OFFSET))
        return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

/* Hints are one number: element type, and rank + 1 (0: unknown) times this. */
enum { HINT_RANK = 256 };

Status scope_define(Importer *im, Scope *scope, const char *name, ValueId *out) {
    *out = name_map_find(&scope->wanted, name);
    if (*out < 0) {
        const char *full =
            scope->call == NULL ? name : arena_printf(&im->scratch, "%s%s", scope->call->prefix, name);
        TRY_ALLOC(im->diag, full);
        *out = graph_add_value(im->graph, full);
        if (*out == NONE) return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    }
    int32_t hint = name_map_find(&scope->hints, name);
    if (hint > 0) {
        TRY(guess_set(im, *out, (DType)(hint % HINT_RANK)));
        TRY(guess_rank(im, *out, hint / HINT_RANK - 1));
    }
    return scope_bind(im, scope, name, *out);
}

Status scope_hint(Importer *im, Scope *scope, const Onnx__ValueInfoProto *info) {
    if (info->type == NULL || info->type->tensor_type == NULL || info->name == NULL ||
        !dtype_is_valid(info->type->tensor_type->elem_type))
        return STATUS_OK;
    const Onnx__TensorShapeProto *shape = info->type->tensor_type->shape;
    int32_t rank = shape == NULL || shape->n_dim > SMELT_MAX_RANK ? -1 : (int32_t)shape->n_dim;
    int32_t hint = info->type->tensor_type->elem_type + (rank + 1) * HINT_RANK;
    if (!name_map_set(&scope->hints, &im->scratch, info->name, hint))
        return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

const char *domain_of(const char *domain) {
    domain = proto_text(domain);
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

int64_t scope_opset(const Importer *im, const Scope *scope, const char *domain) {
    bool inside = scope->call != NULL;
    size_t count = inside ? scope->call->function->n_opset_import : im->proto->n_opset_import;
    Onnx__OperatorSetIdProto *const *imports =
        inside ? scope->call->function->opset_import : im->proto->opset_import;
    for (size_t i = 0; i < count; ++i)
        if (strcmp(domain_of(imports[i]->domain), domain) == 0) return imports[i]->version;
    for (size_t i = 0; inside && i < im->proto->n_opset_import; ++i)
        if (strcmp(domain_of(im->proto->opset_import[i]->domain), domain) == 0)
            return im->proto->opset_import[i]->version;
    return 0;
}

const char *node_label(Importer *im, const Scope *scope, const Onnx__NodeProto *node, size_t index) {
    const char *prefix = scope->call == NULL ? "" : scope->call->prefix;
    if (proto_text(node->name)[0] != '\0') return arena_printf(im->arena, "%s%s", prefix, node->name);
    return arena_printf(im->arena, "%s%s_%zu", prefix, proto_text(node->op_type), index);
}
