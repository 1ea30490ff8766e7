/* Graphs and bodies: initializers, nodes, results. */
#include <string.h>

#include "frontend/importer.h"

/* -- initializers -- */

Status define_constant(Importer *im, Scope *scope, const char *name, const Tensor *tensor) {
    ValueId value;
    TRY(scope_define(im, scope, name, &value));
    Value *row = &im->graph->values[value];
    row->dtype = tensor->dtype;
    row->has_shape = true;
    row->shape.rank = tensor->rank;
    memcpy(row->shape.dim, tensor->dim, sizeof row->shape.dim);
    row->data = tensor->data;
    return STATUS_OK;
}

static Status define_initializer(Importer *im, Scope *scope, const char *name, const Tensor *tensor) {
    if (name[0] == '\0') return FAIL(im->diag, STATUS_BAD_MODEL, "an initializer has no name");
    if (scope_has_own(scope, name))
        return FAIL(im->diag, STATUS_BAD_MODEL, "initializer '%s' is defined twice", name);
    return define_constant(im, scope, name, tensor);
}

/* Before the inputs: one that is an input, too, is the input's default and makes it a constant. */
static Status import_initializers(Importer *im, Scope *scope, const Onnx__GraphProto *graph) {
    Tensor tensor;
    for (size_t i = 0; i < graph->n_initializer; ++i) {
        TRY(import_tensor(im, graph->initializer[i], &tensor));
        TRY(define_initializer(im, scope, proto_text(graph->initializer[i]->name), &tensor));
    }
    for (size_t i = 0; i < graph->n_sparse_initializer; ++i) {
        TRY(import_sparse_tensor(im, graph->sparse_initializer[i], &tensor));
        TRY(define_initializer(im, scope, proto_text(graph->sparse_initializer[i]->values->name), &tensor));
    }
    return STATUS_OK;
}

static Status import_hints(Importer *im, Scope *scope, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_value_info; ++i) TRY(scope_hint(im, scope, graph->value_info[i]));
    for (size_t i = 0; i < graph->n_output; ++i) TRY(scope_hint(im, scope, graph->output[i]));
    for (size_t i = 0; i < graph->n_input; ++i) TRY(scope_hint(im, scope, graph->input[i]));
    return STATUS_OK;
}

/* -- results -- */

Status add_identity(Importer *im, BlockId block, ValueId from, ValueId to, const char *origin) {
    NodeId node;
    TRY(graph_add_node(im->graph, block, op_find("", "Identity"), "", NULL, 1, &from, 1, &to, &node,
                       im->diag));
    return set_origin(im, node, origin);
}

/* The model declares a sequence of maps, which becomes a tensor. */
static bool is_zip_map(const Importer *im, const char *output) {
    const Onnx__GraphProto *graph = im->proto->graph;
    for (size_t i = 0; i < graph->n_node; ++i) {
        const Onnx__NodeProto *node = graph->node[i];
        if (strcmp(proto_text(node->op_type), "ZipMap") == 0 && node->n_output == 1 &&
            strcmp(proto_text(node->output[0]), output) == 0)
            return true;
    }
    return false;
}

/* Every result is made by a node of its block and listed once; whatever is not (constants, parameters, values
 * from around a body) is copied. A copied constant leaves its name to the copy. */
static Status import_result(Importer *im, Scope *scope, const Onnx__ValueInfoProto *info, size_t index,
                            NameMap *listed) {
    Graph *graph = im->graph;
    const char *name = proto_text(info->name);
    ValueId value;
    if (!is_zip_map(im, name)) TRY(check_tensor_type(im, info));
    TRY(scope_read(im, scope, "output", index, name, &value));
    if (value == NONE) return FAIL(im->diag, STATUS_BAD_MODEL, "it is an input that the caller omits");
    NodeId producer = graph->values[value].producer;
    bool twice = name_map_find(listed, name) >= 0;
    if (!name_map_set(listed, &im->scratch, name, 1))
        return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    if (twice && scope->block == MAIN_BLOCK) return FAIL(im->diag, STATUS_BAD_MODEL, "it is listed twice");
    if (twice || producer == NONE || graph->nodes[producer].block != scope->block) {
        ValueId copy = graph_add_value(graph, name);
        if (copy == NONE) return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
        if (value_is_constant(graph, value) && !graph_swap_names(graph, value, copy))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
        TRY(add_identity(im, scope->block, value, copy, name));
        value = copy;
    }
    /* Its value may be called otherwise: an input has the name, or a value in a body. */
    if (scope->block == MAIN_BLOCK && strcmp(graph->values[value].name, name) != 0 &&
        !graph_name_output(graph, graph->blocks[MAIN_BLOCK].result_count, name))
        return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    if (!block_add_result(graph, scope->block, value))
        return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

static Status import_results(Importer *im, Scope *scope, const Onnx__GraphProto *graph) {
    NameMap listed = {0};
    for (size_t i = 0; i < graph->n_output; ++i) {
        Status status = import_result(im, scope, graph->output[i], i, &listed);
        if (status != STATUS_OK) {
            diag_context(im->diag, DIAG_TENSOR, "output '%s'", proto_text(graph->output[i]->name));
            return status;
        }
    }
    return STATUS_OK;
}

/* -- graphs -- */

Status import_nodes(Importer *im, Scope *scope, size_t count, Onnx__NodeProto *const *nodes) {
    int32_t *order;
    TRY(sort_nodes(im, scope, count, nodes, &order));
    for (size_t i = 0; i < count; ++i) TRY(import_node(im, scope, nodes[order[i]], (size_t)order[i]));
    return STATUS_OK;
}

Status import_main_graph(Importer *im) {
    const Onnx__GraphProto *graph = im->proto->graph;
    Scope scope = {.block = MAIN_BLOCK};
    TRY(import_hints(im, &scope, graph));
    TRY(import_initializers(im, &scope, graph));
    TRY(import_inputs(im, &scope, graph));
    TRY(import_nodes(im, &scope, graph->n_node, graph->node));
    if (graph->n_output == 0) return FAIL(im->diag, STATUS_BAD_MODEL, "the graph has no outputs");
    return import_results(im, &scope, graph);
}

/* A body's parameters get their types from the node that owns it, not from what the model declares. */
static Status import_params(Importer *im, Scope *scope, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_input; ++i) {
        const char *name = proto_text(graph->input[i]->name);
        ValueId value = NONE;
        int32_t known = scope_has_own(scope, name) && scope_find(scope, name, &value);
        if (known && value_is_constant(im->graph, value)) continue;
        if (known || name[0] == '\0')
            return FAIL(im->diag, STATUS_BAD_MODEL,
                        "input %zu of the body '%s' has no name, or that of another", i,
                        proto_text(graph->name));
        TRY(scope_define(im, scope, name, &value));
        if (!block_add_param(im->graph, scope->block, value))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

static Status import_body_parts(Importer *im, Scope *scope, const Onnx__GraphProto *graph) {
    TRY(import_hints(im, scope, graph));
    TRY(import_initializers(im, scope, graph));
    TRY(import_params(im, scope, graph));
    TRY(import_nodes(im, scope, graph->n_node, graph->node));
    return import_results(im, scope, graph);
}

Status import_body(Importer *im, Scope *outer, const Onnx__GraphProto *graph, BlockId *out) {
    if (im->depth >= MAX_DEPTH)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "functions and bodies are nested over %d deep", MAX_DEPTH);
    Scope scope = {.outer = outer, .call = outer->call};
    scope.block = graph_add_block(im->graph, proto_text(graph->name), NONE);
    if (scope.block == NONE) return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    im->depth++;
    Status status = import_body_parts(im, &scope, graph);
    im->depth--;
    *out = scope.block;
    return status;
}
