/* Graphs of callers: making, loading and looking at them. */
#include <string.h>

#include "base/checked.h"
#include "compiler/handles.h"
#include "runtime/engine.h"

/* -- handles -- */

/* Whether every computed value has a type, so that new ones must have theirs. */
static bool all_typed(const Graph *graph) {
    for (NodeId n = 0; n < graph->node_count; ++n) {
        const Node *node = &graph->nodes[n];
        for (int32_t i = 0; node->op != OP_NONE && i < node->output_count; ++i)
            if (node->outputs[i] != NONE && (graph->values[node->outputs[i]].dtype == DTYPE_NONE ||
                                             !graph->values[node->outputs[i]].has_shape))
                return false;
    }
    return true;
}

SmeltGraph graph_wrap(Graph *graph, Arena *scratch) {
    Allocator *allocator = graph->arena->allocator;
    return (SmeltGraph){.graph = graph,
                        .scratch = scratch,
                        .typed = all_typed(graph),
                        .in_pass = true,
                        .uses_arena = {.allocator = allocator},
                        .text_arena = {.allocator = allocator}};
}

void graph_unwrap(SmeltGraph *graph) {
    arena_reset(&graph->uses_arena);
    arena_reset(&graph->text_arena);
}

void graph_touched(SmeltGraph *graph) {
    graph->uses_valid = false;
    arena_reset(&graph->text_arena);
}

bool graph_has_node(const SmeltGraph *graph, SmeltNode node) {
    return node >= 0 && node < graph->graph->node_count && graph->graph->nodes[node].op != OP_NONE;
}

bool graph_has_value(const SmeltGraph *graph, SmeltValue value) {
    return value >= 0 && value < graph->graph->value_count;
}

Status need_node(const SmeltGraph *graph, SmeltNode node, Diag *diag) {
    if (graph_has_node(graph, node)) return STATUS_OK;
    return FAIL(diag, STATUS_USAGE, "there is no node %d", node);
}

Status need_value(const SmeltGraph *graph, SmeltValue value, Diag *diag) {
    if (graph_has_value(graph, value)) return STATUS_OK;
    return FAIL(diag, STATUS_USAGE, "there is no value %d", value);
}

/* -- making and loading -- */

static Status open_handle(SmeltGraph **out, Diag *diag) {
    SmeltGraph *graph = mem_alloc(NULL, sizeof *graph);
    *out = NULL;
    TRY_ALLOC(diag, graph);
    *graph = (SmeltGraph){0};
    arena_init(&graph->arena, &graph->allocator);
    arena_init(&graph->own_scratch, &graph->allocator);
    *out = graph;
    return STATUS_OK;
}

/* What is known once the graph is there; on a failure the handle goes. */
static int finish_handle(Status status, SmeltGraph **handle, Graph *graph, const Diag *diag,
                         SmeltError *error) {
    SmeltGraph *out = *handle;
    if (status != STATUS_OK) {
        smelt_graph_destroy(out);
        *handle = NULL;
        return report_status(status, diag, error);
    }
    SmeltGraph wrapped = graph_wrap(graph, &out->own_scratch);
    out->graph = graph;
    out->scratch = wrapped.scratch;
    out->typed = wrapped.typed;
    out->uses_arena = wrapped.uses_arena;
    out->text_arena = wrapped.text_arena;
    return SMELT_OK;
}

int smelt_graph_create(const char *name, SmeltGraph **graph, SmeltError *error) {
    Diag diag = {0};
    Graph *made = NULL;
    Status status = open_handle(graph, &diag);
    if (status == STATUS_OK) made = graph_create(&(*graph)->arena, name != NULL ? name : "");
    if (status == STATUS_OK && made == NULL) status = FAIL(&diag, STATUS_NO_MEMORY, "out of memory");
    return finish_handle(status, graph, made, &diag, error);
}

static Status convert_shapes(Arena *arena, const SmeltInputShape *shapes, int count, ImportOptions *out,
                             Diag *diag) {
    if (count < 0 || (count > 0 && shapes == NULL)) return FAIL(diag, STATUS_USAGE, "%d shapes", count);
    InputShape *copy = ARENA_ARRAY(arena, InputShape, count);
    TRY_ALLOC(diag, copy);
    for (int i = 0; i < count; ++i) {
        if (shapes[i].name == NULL || shapes[i].rank < 0 || shapes[i].rank > SMELT_MAX_RANK)
            return FAIL(diag, STATUS_USAGE, "shape %d has no name, or rank %d", i, shapes[i].rank);
        copy[i] = (InputShape){.name = shapes[i].name, .rank = shapes[i].rank};
        memcpy(copy[i].dim, shapes[i].dims, sizeof copy[i].dim);
        memcpy(copy[i].min, shapes[i].min_dims, sizeof copy[i].min);
        memcpy(copy[i].opt, shapes[i].opt_dims, sizeof copy[i].opt);
        memcpy(copy[i].max, shapes[i].max_dims, sizeof copy[i].max);
    }
    *out = (ImportOptions){.shapes = copy, .shape_count = count};
    return STATUS_OK;
}

static Status load_text(SmeltGraph *handle, const char *path, Graph **out, Diag *diag) {
    TRY(file_map(path, &handle->text, diag));
    const char *folder = path_folder(&handle->arena, path);
    TRY_ALLOC(diag, folder);
    return graph_parse((const char *)handle->text.data, handle->text.size, path, folder, &handle->arena, out,
                       diag);
}

static Status load_file(SmeltGraph *handle, const char *path, const SmeltInputShape *shapes, int count,
                        Graph **out, Diag *diag) {
    ImportOptions options;
    size_t length = strlen(path);
    bool is_text = length > 3 && strcmp(path + length - 3, ".ir") == 0;
    if (is_text && count > 0) return FAIL(diag, STATUS_USAGE, "'%s' is a graph that has its shapes", path);
    if (is_text) return load_text(handle, path, out, diag);
    TRY(convert_shapes(&handle->own_scratch, shapes, count, &options, diag));
    TRY(model_import(path, &options, &handle->allocator, &handle->model, diag));
    *out = handle->model.graph;
    return STATUS_OK;
}

int smelt_graph_load(const char *path, const SmeltInputShape *shapes, int shape_count, SmeltGraph **graph,
                     SmeltError *error) {
    Diag diag = {0};
    Graph *loaded = NULL;
    Status status = open_handle(graph, &diag);
    if (status == STATUS_OK) status = load_file(*graph, path, shapes, shape_count, &loaded, &diag);
    return finish_handle(status, graph, loaded, &diag, error);
}

int smelt_graph_load_memory(const void *bytes, size_t size, const char *folder, const SmeltInputShape *shapes,
                            int shape_count, SmeltGraph **graph, SmeltError *error) {
    Diag diag = {0};
    ImportOptions options;
    Graph *loaded = NULL;
    Status status = open_handle(graph, &diag);
    if (status == STATUS_OK)
        status = convert_shapes(&(*graph)->own_scratch, shapes, shape_count, &options, &diag);
    if (status == STATUS_OK)
        status = model_import_bytes(bytes, size, "model", folder, &options, &(*graph)->allocator,
                                    &(*graph)->model, &diag);
    if (status == STATUS_OK) loaded = (*graph)->model.graph;
    return finish_handle(status, graph, loaded, &diag, error);
}

void smelt_graph_destroy(SmeltGraph *graph) {
    if (graph == NULL) return;
    graph_unwrap(graph);
    model_destroy(&graph->model);
    arena_reset(&graph->own_scratch);
    arena_reset(&graph->arena);
    file_unmap(&graph->text);
    mem_free(NULL, graph);
}

int smelt_graph_verify(SmeltGraph *graph, SmeltError *error) {
    Diag diag = {0};
    return report_status(graph_verify(graph->graph, STATUS_BAD_MODEL, &diag), &diag, error);
}

const char *smelt_graph_text(SmeltGraph *graph) {
    Diag diag = {0};
    arena_reset(&graph->text_arena);
    ByteWriter out = byte_writer(&graph->text_arena);
    if (graph_print(graph->graph, NULL, &out, &diag) != STATUS_OK) return NULL;
    write_u8(&out, 0);
    return out.failed ? NULL : (const char *)out.data;
}

/* -- nodes -- */

/* The first node of the first block from this one on that has any. */
static SmeltNode first_from(const Graph *graph, BlockId block) {
    for (; block < graph->block_count; ++block)
        if (graph->blocks[block].node_count > 0 && block_is_live(graph, block))
            return graph->blocks[block].nodes[0];
    return SMELT_NONE;
}

SmeltNode smelt_graph_first_node(const SmeltGraph *graph) {
    return first_from(graph->graph, MAIN_BLOCK);
}

SmeltNode smelt_graph_next_node(const SmeltGraph *graph, SmeltNode node) {
    const Graph *g = graph->graph;
    if (!graph_has_node(graph, node)) return SMELT_NONE;
    const Block *block = &g->blocks[g->nodes[node].block];
    int32_t position = node_position(g, node);
    if (position + 1 < block->node_count) return block->nodes[position + 1];
    return first_from(g, g->nodes[node].block + 1);
}

int smelt_graph_input_count(const SmeltGraph *graph) {
    return graph->graph->blocks[MAIN_BLOCK].param_count;
}

SmeltValue smelt_graph_input(const SmeltGraph *graph, int index) {
    const Block *block = &graph->graph->blocks[MAIN_BLOCK];
    return index >= 0 && index < block->param_count ? block->params[index] : SMELT_NONE;
}

int smelt_graph_output_count(const SmeltGraph *graph) {
    return graph->graph->blocks[MAIN_BLOCK].result_count;
}

SmeltValue smelt_graph_output(const SmeltGraph *graph, int index) {
    const Block *block = &graph->graph->blocks[MAIN_BLOCK];
    return index >= 0 && index < block->result_count ? block->results[index] : SMELT_NONE;
}

SmeltValue smelt_graph_find_value(const SmeltGraph *graph, const char *name) {
    return graph_find_value(graph->graph, name);
}

/* The node's row, or an empty one. */
static const Node *node_row(const SmeltGraph *graph, SmeltNode node) {
    static const Node none = {.op = OP_NONE, .name = ""};
    return graph_has_node(graph, node) ? &graph->graph->nodes[node] : &none;
}

const char *smelt_node_op(const SmeltGraph *graph, SmeltNode node) {
    OpId op = node_row(graph, node)->op;
    return op == OP_NONE ? NULL : op_def(op)->name;
}

const char *smelt_node_domain(const SmeltGraph *graph, SmeltNode node) {
    OpId op = node_row(graph, node)->op;
    return op == OP_NONE ? NULL : op_def(op)->domain;
}

const char *smelt_node_name(const SmeltGraph *graph, SmeltNode node) {
    return node_row(graph, node)->name;
}

int smelt_node_input_count(const SmeltGraph *graph, SmeltNode node) {
    return node_row(graph, node)->input_count;
}

SmeltValue smelt_node_input(const SmeltGraph *graph, SmeltNode node, int index) {
    const Node *row = node_row(graph, node);
    return index >= 0 && index < row->input_count ? row->inputs[index] : SMELT_NONE;
}

int smelt_node_output_count(const SmeltGraph *graph, SmeltNode node) {
    return node_row(graph, node)->output_count;
}

SmeltValue smelt_node_output(const SmeltGraph *graph, SmeltNode node, int index) {
    const Node *row = node_row(graph, node);
    return index >= 0 && index < row->output_count ? row->outputs[index] : SMELT_NONE;
}

int smelt_node_origin_count(const SmeltGraph *graph, SmeltNode node) {
    return node_row(graph, node)->origin_count;
}

const char *smelt_node_origin(const SmeltGraph *graph, SmeltNode node, int index) {
    const Node *row = node_row(graph, node);
    return index >= 0 && index < row->origin_count ? row->origins[index] : NULL;
}

static const Attr *find_attr(const SmeltGraph *graph, SmeltNode node, const char *name, AttrKind kind) {
    const Attr *attr = attr_find(&node_row(graph, node)->attrs, name);
    return attr != NULL && attr->kind == kind ? attr : NULL;
}

int64_t smelt_node_int(const SmeltGraph *graph, SmeltNode node, const char *name, int64_t fallback) {
    const Attr *attr = find_attr(graph, node, name, ATTR_INT);
    return attr != NULL ? attr->ints[0] : fallback;
}

float smelt_node_float(const SmeltGraph *graph, SmeltNode node, const char *name, float fallback) {
    const Attr *attr = find_attr(graph, node, name, ATTR_FLOAT);
    return attr != NULL ? attr->floats[0] : fallback;
}

const char *smelt_node_string(const SmeltGraph *graph, SmeltNode node, const char *name) {
    const Attr *attr = find_attr(graph, node, name, ATTR_STRING);
    return attr != NULL ? attr->strings[0] : NULL;
}

const int64_t *smelt_node_ints(const SmeltGraph *graph, SmeltNode node, const char *name, int *count) {
    const Attr *attr = find_attr(graph, node, name, ATTR_INTS);
    *count = attr != NULL ? attr->count : 0;
    return attr != NULL ? attr->ints : NULL;
}

const float *smelt_node_floats(const SmeltGraph *graph, SmeltNode node, const char *name, int *count) {
    const Attr *attr = find_attr(graph, node, name, ATTR_FLOATS);
    *count = attr != NULL ? attr->count : 0;
    return attr != NULL ? attr->floats : NULL;
}

/* -- values -- */

/* The value's row, or an empty one. */
static const Value *value_row(const SmeltGraph *graph, SmeltValue value) {
    static const Value none = {.name = "", .producer = NONE};
    return graph_has_value(graph, value) ? &graph->graph->values[value] : &none;
}

const char *smelt_value_name(const SmeltGraph *graph, SmeltValue value) {
    return value_row(graph, value)->name;
}

int smelt_value_dtype(const SmeltGraph *graph, SmeltValue value) {
    return (int)value_row(graph, value)->dtype;
}

int smelt_value_rank(const SmeltGraph *graph, SmeltValue value) {
    const Value *row = value_row(graph, value);
    return row->has_shape ? row->shape.rank : -1;
}

int64_t smelt_value_dim(const SmeltGraph *graph, SmeltValue value, int axis) {
    const Value *row = value_row(graph, value);
    return row->has_shape && axis >= 0 && axis < row->shape.rank ? row->shape.dim[axis] : 0;
}

const char *smelt_value_type(SmeltGraph *graph, SmeltValue value) {
    const Value *row = value_row(graph, value);
    const char *shape =
        row->has_shape ? shape_print(graph->graph->dims, &row->shape, &graph->text_arena) : "";
    if (shape == NULL) return NULL;
    return arena_printf(&graph->text_arena, "%s%s", row->dtype == DTYPE_NONE ? "?" : dtype_name(row->dtype),
                        shape);
}

SmeltNode smelt_value_producer(const SmeltGraph *graph, SmeltValue value) {
    return value_row(graph, value)->producer;
}

static bool find_uses(SmeltGraph *graph) {
    if (graph->uses_valid) return true;
    arena_reset(&graph->uses_arena);
    graph->uses_valid = use_table_build(graph->graph, &graph->uses_arena, &graph->uses);
    return graph->uses_valid;
}

int smelt_value_reader_count(SmeltGraph *graph, SmeltValue value) {
    if (!graph_has_value(graph, value)) return 0;
    return find_uses(graph) ? use_count(&graph->uses, value) : -1;
}

SmeltNode smelt_value_reader(SmeltGraph *graph, SmeltValue value, int index, int *input) {
    if (index < 0 || index >= smelt_value_reader_count(graph, value)) return SMELT_NONE;
    const struct Use *use = &graph->uses.uses[graph->uses.first[value] + index];
    if (input != NULL) *input = use->index;
    return use->node;
}

const void *smelt_value_data(const SmeltGraph *graph, SmeltValue value, size_t *size) {
    const Value *row = value_row(graph, value);
    size_t bytes = 0;
    if (row->data != NULL && !dtype_storage(row->dtype, value_count(row), &bytes)) return NULL;
    if (size != NULL) *size = bytes;
    return row->data;
}

int64_t smelt_value_count(const SmeltGraph *graph, SmeltValue value) {
    const Value *row = value_row(graph, value);
    return row->data != NULL ? value_count(row) : 0;
}

double smelt_value_element(const SmeltGraph *graph, SmeltValue value, int64_t index) {
    const Value *row = value_row(graph, value);
    if (index < 0 || index >= smelt_value_count(graph, value) || dtype_kind(row->dtype) == DTYPE_KIND_OTHER)
        return 0;
    return dtype_load_f64(row->dtype, row->data, index);
}
