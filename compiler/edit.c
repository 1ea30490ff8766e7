/* Changing graphs. Whatever a call refuses leaves the graph as it was. */
#include <string.h>

#include "base/checked.h"
#include "compiler/handles.h"
#include "passes/rewrite.h"
#include "runtime/engine.h"

static int finish(SmeltGraph *graph, Status status, const Diag *diag, SmeltError *error) {
    graph_touched(graph);
    return report_status(status, diag, error);
}

/* -- values -- */

int smelt_graph_add_symbol(SmeltGraph *graph, const char *name, int64_t min, int64_t opt, int64_t max,
                           int64_t *dim, SmeltError *error) {
    Diag diag = {0};
    DimTable *dims = graph->graph->dims;
    if (name == NULL || name[0] == '\0' || min < 0 || min > opt || opt > max)
        return finish(graph, FAIL(&diag, STATUS_USAGE, "a symbol needs a name, and 0 <= min <= opt <= max"),
                      &diag, error);
    Dim made = dim_symbol(dims, name, SYMBOL_INPUT);
    int32_t index = dim_symbol_index(dims, made);
    if (index < 0 || dim_table_failed(dims))
        return finish(graph, dim_table_check(dims, STATUS_USAGE, "too many dimensions", &diag), &diag, error);
    Symbol *symbol = dim_symbol_at(dims, index);
    symbol->min = min;
    symbol->opt = opt;
    symbol->max = max;
    *dim = made;
    return finish(graph, STATUS_OK, &diag, error);
}

static Status check_type(const SmeltGraph *graph, int dtype, int rank, const int64_t *dims, bool exact,
                         size_t *bytes, Diag *diag) {
    int64_t count = 1;
    if (dtype == DTYPE_NONE || !dtype_is_valid(dtype))
        return FAIL(diag, STATUS_USAGE, "no element type has the number %d", dtype);
    if (rank < 0 || rank > SMELT_MAX_RANK || (rank > 0 && dims == NULL))
        return FAIL(diag, STATUS_USAGE, "rank %d is outside 0 to %d", rank, SMELT_MAX_RANK);
    for (int i = 0; i < rank; ++i) {
        bool symbol = !dim_is_exact(dims[i]) && dim_symbol_index(graph->graph->dims, dims[i]) >= 0;
        if (symbol && !exact) continue;
        if (symbol || dims[i] < 0)
            return FAIL(diag, STATUS_USAGE, "dimension %d is neither a size nor a symbol", i);
        if (!checked_mul_i64(count, dims[i], &count))
            return FAIL(diag, STATUS_USAGE, "more than 2^63 elements");
    }
    if (!dtype_storage((DType)dtype, count, bytes)) return FAIL(diag, STATUS_USAGE, "too many elements");
    return STATUS_OK;
}

static Status add_input(SmeltGraph *handle, const char *name, int dtype, int rank, const int64_t *dims,
                        SmeltValue *out, Diag *diag) {
    Graph *graph = handle->graph;
    size_t bytes;
    TRY(check_type(handle, dtype, rank, dims, false, &bytes, diag));
    if (name != NULL && graph_find_value(graph, name) != NONE)
        return FAIL(diag, STATUS_USAGE, "there is a value '%s' already", name);
    ValueId id = graph_add_value(graph, name);
    if (id == NONE) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    Value *value = &graph->values[id];
    value->dtype = (DType)dtype;
    value->has_shape = true;
    value->shape.rank = rank;
    for (int i = 0; i < rank; ++i) value->shape.dim[i] = dims[i];
    if (!block_add_param(graph, MAIN_BLOCK, id)) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    *out = id;
    return STATUS_OK;
}

int smelt_graph_add_input(SmeltGraph *graph, const char *name, int dtype, int rank, const int64_t *dims,
                          SmeltValue *value, SmeltError *error) {
    Diag diag = {0};
    *value = SMELT_NONE;
    return finish(graph, add_input(graph, name, dtype, rank, dims, value, &diag), &diag, error);
}

int smelt_graph_add_output(SmeltGraph *graph, SmeltValue value, SmeltError *error) {
    Diag diag = {0};
    Status status = need_value(graph, value, &diag);
    if (status == STATUS_OK && !block_add_result(graph->graph, MAIN_BLOCK, value))
        status = FAIL(&diag, STATUS_NO_MEMORY, "out of memory");
    return finish(graph, status, &diag, error);
}

static Status copy_data(SmeltGraph *graph, const void *data, size_t size, void **out, Diag *diag) {
    if (data == NULL) return FAIL(diag, STATUS_USAGE, "a constant without elements");
    *out = arena_alloc(graph->graph->arena, size);
    TRY_ALLOC(diag, *out);
    memcpy(*out, data, size);
    return STATUS_OK;
}

static Status add_constant(SmeltGraph *graph, const char *name, int dtype, int rank, const int64_t *dims,
                           const void *data, SmeltValue *value, Diag *diag) {
    size_t size;
    void *copy;
    TRY(check_type(graph, dtype, rank, dims, true, &size, diag));
    TRY(copy_data(graph, data, size, &copy, diag));
    *value = graph_add_constant(graph->graph, name, (DType)dtype, rank, dims, copy);
    return *value != NONE ? STATUS_OK : FAIL(diag, STATUS_NO_MEMORY, "out of memory");
}

int smelt_graph_add_constant(SmeltGraph *graph, const char *name, int dtype, int rank, const int64_t *dims,
                             const void *data, SmeltValue *value, SmeltError *error) {
    Diag diag = {0};
    *value = SMELT_NONE;
    return finish(graph, add_constant(graph, name, dtype, rank, dims, data, value, &diag), &diag, error);
}

static Status make_known(SmeltGraph *handle, SmeltValue value, const void *data, size_t size, Diag *diag) {
    TRY(need_value(handle, value, diag));
    const Value *row = &handle->graph->values[value];
    PassCtx ctx = {.graph = handle->graph};
    size_t bytes;
    void *copy;
    if (row->producer == NONE)
        return FAIL(diag, STATUS_USAGE, "'%s' is not computed: nothing to make a constant of", row->name);
    if (row->dtype == DTYPE_NONE || !value_is_exact(row))
        return FAIL(diag, STATUS_USAGE, "'%s' has no exact shape", row->name);
    if (!dtype_storage(row->dtype, value_count(row), &bytes) || bytes != size)
        return FAIL(diag, STATUS_USAGE, "%zu bytes for '%s', which has %zu", size, row->name, bytes);
    TRY(copy_data(handle, data, size, &copy, diag));
    make_constant(&ctx, value, copy);
    return STATUS_OK;
}

int smelt_graph_make_constant(SmeltGraph *graph, SmeltValue value, const void *data, size_t size,
                              SmeltError *error) {
    Diag diag = {0};
    return finish(graph, make_known(graph, value, data, size, &diag), &diag, error);
}

/* -- attributes -- */

static Status set_attribute(AttrList *list, Arena *arena, const SmeltAttribute *a, Diag *diag) {
    bool good = true;
    if (a->name == NULL || a->count < 0) return FAIL(diag, STATUS_USAGE, "an attribute without a name");
    switch (a->kind) {
    case SMELT_ATTRIBUTE_INT:
        good = attr_set_int(list, arena, a->name, a->i);
        break;
    case SMELT_ATTRIBUTE_FLOAT:
        good = attr_set_float(list, arena, a->name, a->f);
        break;
    case SMELT_ATTRIBUTE_STRING:
        good = attr_set_string(list, arena, a->name, a->s != NULL ? a->s : "");
        break;
    case SMELT_ATTRIBUTE_INTS:
        good = attr_set_ints(list, arena, a->name, a->ints, a->ints != NULL ? a->count : 0);
        break;
    case SMELT_ATTRIBUTE_FLOATS:
        good = attr_set_floats(list, arena, a->name, a->floats, a->floats != NULL ? a->count : 0);
        break;
    default:
        return FAIL(diag, STATUS_USAGE, "attribute '%s' has the kind %d", a->name, a->kind);
    }
    return good ? STATUS_OK : FAIL(diag, STATUS_NO_MEMORY, "out of memory");
}

/* What may change about a node and then turn out not to fit. */
typedef struct NodeState {
    Node node;
    const Value *values; /* of its outputs */
} NodeState;

static Status save_node(SmeltGraph *graph, SmeltNode node, NodeState *out, Diag *diag) {
    out->node = graph->graph->nodes[node];
    Value *values = ARENA_ARRAY(graph->scratch, Value, out->node.output_count);
    TRY_ALLOC(diag, values);
    for (int32_t i = 0; i < out->node.output_count; ++i)
        if (out->node.outputs[i] != NONE) values[i] = graph->graph->values[out->node.outputs[i]];
    out->values = values;
    return STATUS_OK;
}

/* Results must keep their types, as readers count on them. */
static Status check_results(SmeltGraph *handle, SmeltNode node, const NodeState *old, Diag *diag) {
    if (!handle->typed) return STATUS_OK;
    TRY(infer_outputs(handle->graph, node, handle->scratch, diag));
    for (int32_t i = 0; i < old->node.output_count; ++i) {
        if (old->node.outputs[i] == NONE) continue;
        const Value *was = &old->values[i], *is = &handle->graph->values[old->node.outputs[i]];
        if (was->dtype != is->dtype || (was->has_shape && !shape_equal(&was->shape, &is->shape)))
            return FAIL(diag, STATUS_USAGE, "'%s' would have another type", was->name);
    }
    return STATUS_OK;
}

/* Parses the node again with these attributes, and puts everything back where it does not fit. */
static Status settle_node(SmeltGraph *handle, SmeltNode node, const NodeState *old, const AttrList *attrs,
                          Diag *diag) {
    Graph *graph = handle->graph;
    Status status = node_set_attrs(graph, node, attrs, diag);
    if (status == STATUS_OK) status = check_results(handle, node, old, diag);
    if (status == STATUS_OK) return status;
    diag_node(diag, graph, node);
    graph->nodes[node] = old->node;
    for (int32_t i = 0; i < old->node.output_count; ++i)
        if (old->node.outputs[i] != NONE) graph->values[old->node.outputs[i]] = old->values[i];
    return status;
}

static Status change_attribute(SmeltGraph *graph, SmeltNode node, const SmeltAttribute *attribute,
                               const char *remove, Diag *diag) {
    NodeState old;
    AttrList attrs;
    TRY(need_node(graph, node, diag));
    TRY(save_node(graph, node, &old, diag));
    if (!attr_copy(&old.node.attrs, &attrs, graph->scratch))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    if (remove != NULL) attr_remove(&attrs, remove);
    if (attribute != NULL) TRY(set_attribute(&attrs, graph->scratch, attribute, diag));
    return settle_node(graph, node, &old, &attrs, diag);
}

int smelt_node_set_attribute(SmeltGraph *graph, SmeltNode node, const SmeltAttribute *attribute,
                             SmeltError *error) {
    Diag diag = {0};
    return finish(graph, change_attribute(graph, node, attribute, NULL, &diag), &diag, error);
}

int smelt_node_remove_attribute(SmeltGraph *graph, SmeltNode node, const char *name, SmeltError *error) {
    Diag diag = {0};
    return finish(graph, change_attribute(graph, node, NULL, name, &diag), &diag, error);
}

/* -- nodes -- */

static Status check_spec(const SmeltGraph *graph, const SmeltNodeSpec *spec, OpId *op, Diag *diag) {
    const char *domain = spec->domain != NULL ? spec->domain : "";
    *op = spec->op != NULL ? op_find(domain, spec->op) : OP_NONE;
    if (*op == OP_NONE)
        return FAIL(diag, STATUS_UNSUPPORTED, "there is no operator '%s%s%s'", domain,
                    domain[0] != '\0' ? "::" : "", spec->op != NULL ? spec->op : "");
    if (op_def(*op)->op_class == OPCLASS_CONTROL)
        return FAIL(diag, STATUS_UNSUPPORTED, "%s has bodies, which can't be made here", spec->op);
    if (spec->input_count < 0 || spec->output_count < 0 || spec->attribute_count < 0)
        return FAIL(diag, STATUS_USAGE, "a count below 0");
    for (int i = 0; i < spec->input_count; ++i)
        if (spec->inputs[i] != SMELT_NONE) TRY(need_value(graph, spec->inputs[i], diag));
    return STATUS_OK;
}

static Status add_results(SmeltGraph *graph, const SmeltNodeSpec *spec, int32_t count, ValueId **out,
                          Diag *diag) {
    *out = ARENA_ARRAY(graph->scratch, ValueId, count);
    TRY_ALLOC(diag, *out);
    for (int32_t i = 0; i < count; ++i) {
        const char *name =
            spec->output_names != NULL && i < spec->output_count ? spec->output_names[i] : NULL;
        (*out)[i] = graph_add_value(graph->graph, name);
        if ((*out)[i] == NONE) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

/* A node of a graph by hand is its own origin. */
static Status set_origin(Graph *graph, NodeId node, Diag *diag) {
    const char **origins = ARENA_ARRAY(graph->arena, const char *, 1);
    TRY_ALLOC(diag, origins);
    origins[0] = graph->nodes[node].name;
    graph->nodes[node].origins = origins;
    graph->nodes[node].origin_count = 1;
    return STATUS_OK;
}

static Status add_node(SmeltGraph *handle, SmeltNode before, const SmeltNodeSpec *spec, SmeltNode *out,
                       Diag *diag) {
    Graph *graph = handle->graph;
    OpId op;
    AttrList attrs = {0};
    ValueId *outputs;
    int32_t count = spec->output_count > 0 ? spec->output_count : 1;
    TRY(check_spec(handle, spec, &op, diag));
    if (before != SMELT_NONE) TRY(need_node(handle, before, diag));
    for (int i = 0; i < spec->attribute_count; ++i)
        TRY(set_attribute(&attrs, handle->scratch, &spec->attributes[i], diag));
    TRY(add_results(handle, spec, count, &outputs, diag));
    if (before == SMELT_NONE)
        TRY(graph_add_node(graph, MAIN_BLOCK, op, spec->name, &attrs, spec->input_count, spec->inputs, count,
                           outputs, out, diag));
    else
        TRY(graph_insert_node(graph, before, true, op, spec->name, &attrs, spec->input_count, spec->inputs,
                              count, outputs, out, diag));
    if (!handle->in_pass && graph->nodes[*out].name[0] != '\0') TRY(set_origin(graph, *out, diag));
    if (!handle->typed) return STATUS_OK;
    Status status = infer_outputs(graph, *out, handle->scratch, diag);
    if (status == STATUS_OK) return status;
    diag_node(diag, graph, *out);
    graph_remove_node(graph, *out);
    *out = SMELT_NONE;
    return status;
}

int smelt_graph_add_node(SmeltGraph *graph, SmeltNode before, const SmeltNodeSpec *spec, SmeltNode *node,
                         SmeltError *error) {
    Diag diag = {0};
    SmeltNode made = SMELT_NONE;
    Status status = add_node(graph, before, spec, &made, &diag);
    if (node != NULL) *node = made;
    return finish(graph, status, &diag, error);
}

static Status set_input(SmeltGraph *handle, SmeltNode node, int index, SmeltValue value, Diag *diag) {
    NodeState old;
    TRY(need_node(handle, node, diag));
    if (value != SMELT_NONE) TRY(need_value(handle, value, diag));
    TRY(save_node(handle, node, &old, diag));
    Node *row = &handle->graph->nodes[node];
    if (index < 0 || index >= op_def(row->op)->max_in)
        return FAIL(diag, STATUS_USAGE, "%s has no input %d", op_def(row->op)->name, index);
    int32_t count = index < row->input_count ? row->input_count : index + 1;
    ValueId *inputs = ARENA_ARRAY(handle->graph->arena, ValueId, count);
    TRY_ALLOC(diag, inputs);
    for (int32_t i = 0; i < count; ++i) inputs[i] = i < row->input_count ? row->inputs[i] : NONE;
    inputs[index] = value;
    while (count > 0 && inputs[count - 1] == NONE) count--;
    row->inputs = inputs;
    row->input_count = count;
    return settle_node(handle, node, &old, &old.node.attrs, diag);
}

int smelt_node_set_input(SmeltGraph *graph, SmeltNode node, int index, SmeltValue value, SmeltError *error) {
    Diag diag = {0};
    return finish(graph, set_input(graph, node, index, value, &diag), &diag, error);
}

int smelt_node_take_origins(SmeltGraph *graph, SmeltNode to, SmeltNode from, SmeltError *error) {
    Diag diag = {0};
    Status status = need_node(graph, to, &diag);
    if (status == STATUS_OK) status = need_node(graph, from, &diag);
    if (status == STATUS_OK && !node_add_origins(graph->graph, to, from))
        status = FAIL(&diag, STATUS_NO_MEMORY, "out of memory");
    return finish(graph, status, &diag, error);
}

static bool is_output(const Graph *graph, ValueId value) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; i < block->result_count; ++i)
        if (block->results[i] == value) return true;
    return false;
}

static Status replace(SmeltGraph *handle, SmeltValue from, SmeltValue to, Diag *diag) {
    Graph *graph = handle->graph;
    TRY(need_value(handle, from, diag));
    TRY(need_value(handle, to, diag));
    const Value *new = &graph->values[to], *old = &graph->values[from];
    if (from == to) return STATUS_OK;
    if (handle->typed && (new->dtype != old->dtype || !shape_equal(&new->shape, &old->shape)))
        return FAIL(diag, STATUS_USAGE, "'%s' and '%s' have different types", old->name, new->name);
    if (is_output(graph, from)) {
        NodeId producer = new->producer;
        if (producer == NONE || graph->nodes[producer].block != MAIN_BLOCK || is_output(graph, to))
            return FAIL(diag, STATUS_UNSUPPORTED, "'%s' cannot become the output '%s'", new->name, old->name);
        if (!graph_swap_names(graph, from, to)) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    }
    graph_replace_uses(graph, from, to);
    return STATUS_OK;
}

int smelt_graph_replace(SmeltGraph *graph, SmeltValue from, SmeltValue to, SmeltError *error) {
    Diag diag = {0};
    return finish(graph, replace(graph, from, to, &diag), &diag, error);
}

int smelt_graph_remove_node(SmeltGraph *graph, SmeltNode node, SmeltError *error) {
    Diag diag = {0};
    Status status = need_node(graph, node, &diag);
    if (status == STATUS_OK) graph_remove_node(graph->graph, node);
    return finish(graph, status, &diag, error);
}
