/* Model-local functions: found by domain, name and overload, and inlined at each call. */
#include <string.h>

#include "frontend/importer.h"

static const char *function_key(Importer *im, const char *domain, const char *name, const char *overload) {
    return arena_printf(&im->scratch, "%s:%s:%s", domain_of(domain), proto_text(name), proto_text(overload));
}

Status functions_index(Importer *im) {
    for (size_t i = 0; i < im->proto->n_functions && i < INT32_MAX; ++i) {
        const Onnx__FunctionProto *function = im->proto->functions[i];
        const char *key = function_key(im, function->domain, function->name, function->overload);
        TRY_ALLOC(im->diag, key);
        if (name_map_find(&im->functions, key) >= 0)
            return FAIL(im->diag, STATUS_BAD_MODEL, "function '%s' of domain '%s' is defined twice",
                        proto_text(function->name), domain_of(function->domain));
        if (!name_map_set(&im->functions, &im->scratch, key, (int32_t)i))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
        if (function->n_opset_import > MAX_OPSETS)
            return FAIL(im->diag, STATUS_BAD_MODEL, "function '%s' imports %zu opsets",
                        proto_text(function->name), function->n_opset_import);
    }
    return STATUS_OK;
}

int32_t function_find(Importer *im, const Onnx__NodeProto *node) {
    if (im->proto->n_functions == 0) return -1;
    const char *key = function_key(im, node->domain, node->op_type, node->overload);
    return key == NULL ? -1 : name_map_find(&im->functions, key);
}

static Status check_call(Importer *im, const Scope *scope, const Onnx__NodeProto *node,
                         const Onnx__FunctionProto *function) {
    for (const Call *call = scope->call; call != NULL; call = call->caller->call)
        if (call->function == function)
            return FAIL(im->diag, STATUS_BAD_MODEL, "function '%s' calls itself", proto_text(function->name));
    if (node->n_input > function->n_input || node->n_output > function->n_output)
        return FAIL(im->diag, STATUS_BAD_MODEL,
                    "%zu inputs and %zu outputs, but function '%s' has %zu and %zu", node->n_input,
                    node->n_output, proto_text(function->name), function->n_input, function->n_output);
    return STATUS_OK;
}

static Status bind_inputs(Importer *im, Scope *scope, const Onnx__NodeProto *node, Scope *inside) {
    const Onnx__FunctionProto *function = inside->call->function;
    for (size_t i = 0; i < function->n_input; ++i) {
        ValueId value = NONE;
        const char *argument = i < node->n_input ? node->input[i] : "";
        if (scope_has_own(inside, function->input[i]))
            return FAIL(im->diag, STATUS_BAD_MODEL, "function '%s' has two inputs '%s'",
                        proto_text(function->name), function->input[i]);
        if (argument[0] != '\0') TRY(scope_read(im, scope, "input", i, argument, &value));
        TRY(scope_bind(im, inside, function->input[i], value));
    }
    return STATUS_OK;
}

/* The caller's values are made first and wait for the node inside that fills them. */
static Status want_outputs(Importer *im, Scope *scope, const Onnx__NodeProto *node, Scope *inside) {
    const Onnx__FunctionProto *function = inside->call->function;
    for (size_t i = 0; i < node->n_output; ++i) {
        ValueId value;
        if (node->output[i][0] == '\0') continue;
        TRY(scope_define(im, scope, node->output[i], &value));
        if (scope_has_own(inside, function->output[i]) ||
            name_map_find(&inside->wanted, function->output[i]) >= 0)
            continue; /* an input handed through, or an output listed twice: copied by join_outputs */
        if (!name_map_set(&inside->wanted, &im->scratch, function->output[i], value))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

/* Outputs that no node inside made for the caller become copies. */
static Status join_outputs(Importer *im, Scope *scope, const Onnx__NodeProto *node, const Scope *inside) {
    const Onnx__FunctionProto *function = inside->call->function;
    for (size_t i = 0; i < node->n_output; ++i) {
        ValueId wanted = NONE, made = NONE;
        if (node->output[i][0] == '\0') continue;
        scope_find(scope, node->output[i], &wanted);
        if (!scope_find(inside, function->output[i], &made) || made == NONE)
            return FAIL(im->diag, STATUS_BAD_MODEL, "function '%s' never makes its output '%s'",
                        proto_text(function->name), function->output[i]);
        if (made == SCOPE_DROPPED)
            TRY(scope_bind(im, scope, node->output[i], made));
        else if (made != wanted)
            TRY(add_identity(im, scope->block, made, wanted, inside->call->prefix));
    }
    return STATUS_OK;
}

static Status inline_call(Importer *im, Scope *scope, const Onnx__NodeProto *node, Scope *inside) {
    const Onnx__FunctionProto *function = inside->call->function;
    TRY(check_call(im, scope, node, function));
    TRY(bind_inputs(im, scope, node, inside));
    TRY(want_outputs(im, scope, node, inside));
    TRY(import_nodes(im, inside, function->n_node, function->node));
    return join_outputs(im, scope, node, inside);
}

Status import_call(Importer *im, Scope *scope, const Onnx__NodeProto *node, const char *label,
                   const Onnx__FunctionProto *function) {
    const char *prefix = arena_printf(im->arena, "%s/", label);
    TRY_ALLOC(im->diag, prefix);
    if (im->depth >= MAX_DEPTH)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "functions and bodies are nested over %d deep", MAX_DEPTH);
    Call call = {.function = function, .node = node, .caller = scope, .prefix = prefix};
    Scope inside = {.call = &call, .block = scope->block};
    im->depth++;
    Status status = inline_call(im, scope, node, &inside);
    im->depth--;
    return status;
}
