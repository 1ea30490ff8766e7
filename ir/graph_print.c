/* The text form, written. docs/ir.md is its description. */
#include <inttypes.h>
#include <string.h>

#include "ir/text.h"

typedef struct Printer {
    const Graph *graph;
    ConstantBlob *blob;
    ByteWriter *out;
    Arena *scratch; /* for the text of dimensions */
    Diag *diag;
} Printer;

static void print_dim(Printer *printer, Dim dim) {
    const char *text = dim_print(printer->graph->dims, dim, printer->scratch);
    if (text == NULL)
        printer->out->failed = true;
    else
        write_bytes(printer->out, text, strlen(text));
}

static void print_dims(Printer *printer, int64_t count, const Dim *dims) {
    write_u8(printer->out, '[');
    for (int64_t i = 0; i < count; ++i) {
        if (i > 0) write_u8(printer->out, ',');
        print_dim(printer, dims[i]);
    }
    write_u8(printer->out, ']');
}

static void print_value_name(Printer *printer, ValueId id) {
    if (id < 0 || id >= printer->graph->value_count) {
        write_u8(printer->out, '_');
        return;
    }
    write_u8(printer->out, '%');
    text_name(printer->out, printer->graph->values[id].name);
}

static void print_value_names(Printer *printer, int32_t count, const ValueId *ids) {
    for (int32_t i = 0; i < count; ++i) {
        if (i > 0) write_format(printer->out, ", ");
        print_value_name(printer, ids[i]);
    }
}

/* "%name : f32[batch,64] channels_last padding 5 content [...] at 3[128]" */
static void print_definition(Printer *printer, ValueId id) {
    const Value *value = &printer->graph->values[id];
    ByteWriter *out = printer->out;
    print_value_name(printer, id);
    write_format(out, " : %s", value->dtype == DTYPE_NONE ? "?" : dtype_name(value->dtype));
    if (value->has_shape) print_dims(printer, value->shape.rank, value->shape.dim);
    if (value->layout == LAYOUT_CHANNELS_LAST) write_format(out, " channels_last");
    if (value->channel_padding != 0) write_format(out, " padding %d", value->channel_padding);
    if (value->strides != NULL) {
        write_format(out, " strides ");
        print_dims(printer, value->shape.rank, value->strides);
    }
    if (value->content != NULL && value_is_exact(value)) {
        write_format(out, " content ");
        print_dims(printer, value_count(value), value->content);
    }
    if (printer->graph->memory.done && value->buffer != NONE) {
        write_format(out, " at %d", value->buffer);
        print_dims(printer, 1, &value->buffer_offset);
    }
}

static Status print_data(Printer *printer, DType dtype, const void *data, int64_t count) {
    size_t size;
    uint64_t offset, hash;
    if (printer->blob == NULL || count <= IR_INLINE_ELEMENTS) {
        text_elements(printer->out, dtype, data, count);
        return STATUS_OK;
    }
    if (!dtype_storage(dtype, count, &size))
        return FAIL(printer->diag, STATUS_INTERNAL, "a constant of %" PRId64 " elements", count);
    TRY(constant_blob_put(printer->blob, data, size, &offset, &hash, printer->diag));
    write_format(printer->out, "blob %" PRIu64 " %016" PRIx64, offset, hash);
    return STATUS_OK;
}

/* -- attributes -- */

/* A float is told from an int by its form. */
static void print_float(Printer *printer, float value) {
    char buffer[IR_NUMBER_LENGTH];
    text_element(buffer, DTYPE_F32, &value, 0);
    write_format(printer->out, strpbrk(buffer, ".einx") == NULL ? "%s.0" : "%s", buffer);
}

static Status print_tensor(Printer *printer, const Tensor *tensor) {
    write_format(printer->out, "%s", dtype_name(tensor->dtype));
    print_dims(printer, tensor->rank, tensor->dim);
    write_u8(printer->out, ' ');
    return print_data(printer, tensor->dtype, tensor->data, tensor_count(tensor));
}

static void print_list(Printer *printer, const Attr *attr) {
    static const char *const empty[] = {
        [ATTR_INTS] = "ints []", [ATTR_FLOATS] = "floats []", [ATTR_STRINGS] = "strings []"};
    if (attr->count == 0) {
        write_format(printer->out, "%s", empty[attr->kind]);
        return;
    }
    for (int32_t i = 0; i < attr->count; ++i) {
        write_u8(printer->out, i == 0 ? '[' : ',');
        if (attr->kind == ATTR_INTS)
            write_format(printer->out, "%" PRId64, attr->ints[i]);
        else if (attr->kind == ATTR_FLOATS)
            print_float(printer, attr->floats[i]);
        else
            text_string(printer->out, attr->strings[i]);
    }
    write_u8(printer->out, ']');
}

static Status print_attr(Printer *printer, const Attr *attr) {
    text_name(printer->out, attr->name);
    write_format(printer->out, " = ");
    switch (attr->kind) {
    case ATTR_INT:
        write_format(printer->out, "%" PRId64, attr->ints[0]);
        break;
    case ATTR_FLOAT:
        print_float(printer, attr->floats[0]);
        break;
    case ATTR_STRING:
        text_string(printer->out, attr->strings[0]);
        break;
    case ATTR_TENSOR:
        return print_tensor(printer, attr->tensor);
    case ATTR_INTS:
    case ATTR_FLOATS:
    case ATTR_STRINGS:
        print_list(printer, attr);
        break;
    case ATTR_BLOCK:
        break; /* a body, on lines of its own */
    }
    return STATUS_OK;
}

static Status print_attrs(Printer *printer, const AttrList *attrs) {
    int32_t printed = 0;
    for (int32_t i = 0; i < attrs->count; ++i) {
        if (attrs->items[i].kind == ATTR_BLOCK) continue;
        write_format(printer->out, printed++ == 0 ? " {" : ", ");
        TRY(print_attr(printer, &attrs->items[i]));
    }
    if (printed > 0) write_u8(printer->out, '}');
    return STATUS_OK;
}

/* -- nodes and blocks -- */

static Status print_block(Printer *printer, BlockId id, int32_t depth);

static void print_indent(Printer *printer, int32_t depth) {
    write_format(printer->out, "%*s", depth * 2, "");
}

/* What is not said: a named node comes from the ONNX node of its own name. */
static void print_origins(Printer *printer, const Node *node) {
    bool named = node->name[0] != '\0';
    if (named) {
        write_u8(printer->out, ' ');
        text_string(printer->out, node->name);
    }
    if (named && node->origin_count == 1 && strcmp(node->origins[0], node->name) == 0) return;
    if (!named && node->origin_count == 0) return;
    write_format(printer->out, " from (");
    for (int32_t i = 0; i < node->origin_count; ++i) {
        if (i > 0) write_format(printer->out, ", ");
        text_string(printer->out, node->origins[i]);
    }
    write_u8(printer->out, ')');
}

static Status print_bodies(Printer *printer, const Node *node, int32_t depth) {
    for (int32_t i = 0; i < node->attrs.count; ++i) {
        const Attr *attr = &node->attrs.items[i];
        if (attr->kind != ATTR_BLOCK) continue;
        int64_t block = attr->ints[0];
        if (depth > 2 * GRAPH_MAX_NESTING || block <= MAIN_BLOCK || block >= printer->graph->block_count)
            return FAIL(printer->diag, STATUS_INTERNAL, "a body that is no block or nests too deeply");
        print_indent(printer, depth);
        write_format(printer->out, "body ");
        text_name(printer->out, attr->name);
        write_u8(printer->out, ' ');
        TRY(print_block(printer, (BlockId)block, depth));
    }
    return STATUS_OK;
}

static Status print_node(Printer *printer, NodeId id, int32_t depth) {
    const Node *node = &printer->graph->nodes[id];
    const OpDef *def = op_def(node->op);
    print_indent(printer, depth);
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (i > 0) write_format(printer->out, ", ");
        if (node->outputs[i] == NONE)
            write_u8(printer->out, '_');
        else
            print_definition(printer, node->outputs[i]);
    }
    write_format(printer->out, " = ");
    if (def->domain[0] != '\0') {
        text_name(printer->out, def->domain);
        write_format(printer->out, "::");
    }
    write_format(printer->out, "%s(", def->name);
    print_value_names(printer, node->input_count, node->inputs);
    write_u8(printer->out, ')');
    TRY(print_attrs(printer, &node->attrs));
    print_origins(printer, node);
    write_u8(printer->out, '\n');
    return print_bodies(printer, node, depth + 1);
}

/* Opens region `id`, whose nodes begin at `position`. The anchor is given as its place within. */
static void print_region_open(Printer *printer, const Block *block, int32_t position, RegionId id,
                              int32_t depth) {
    const Graph *graph = printer->graph;
    bool valid = id < graph->region_count;
    print_indent(printer, depth);
    write_format(printer->out, "region ");
    text_string(printer->out, valid ? graph->regions[id].name : "");
    for (int32_t i = position; valid && i < block->node_count; ++i) {
        if (graph->nodes[block->nodes[i]].region != id) break;
        if (block->nodes[i] == graph->regions[id].anchor)
            write_format(printer->out, " anchor %d", i - position);
    }
    write_format(printer->out, " {\n");
}

static void print_region_close(Printer *printer, int32_t depth) {
    print_indent(printer, depth);
    write_format(printer->out, "}\n");
}

static Status print_nodes(Printer *printer, const Block *block, int32_t depth) {
    RegionId open = NONE;
    for (int32_t i = 0; i < block->node_count; ++i) {
        RegionId region = printer->graph->nodes[block->nodes[i]].region;
        if (region != open) {
            if (open != NONE) print_region_close(printer, depth);
            if (region != NONE) print_region_open(printer, block, i, region, depth);
            open = region;
        }
        TRY(print_node(printer, block->nodes[i], depth + (open != NONE)));
    }
    if (open != NONE) print_region_close(printer, depth);
    return STATUS_OK;
}

static void print_output_name(Printer *printer, int32_t output) {
    const Graph *graph = printer->graph;
    const char *name = graph_output_name(graph, output);
    if (strcmp(name, graph->values[graph->blocks[MAIN_BLOCK].results[output]].name) == 0) return;
    write_format(printer->out, " as ");
    text_string(printer->out, name);
}

static Status print_block(Printer *printer, BlockId id, int32_t depth) {
    const Block *block = &printer->graph->blocks[id];
    text_string(printer->out, block->name);
    write_format(printer->out, " {\n");
    for (int32_t i = 0; i < block->param_count; ++i) {
        print_indent(printer, depth + 1);
        write_format(printer->out, "input ");
        print_definition(printer, block->params[i]);
        write_u8(printer->out, '\n');
    }
    TRY(print_nodes(printer, block, depth + 1));
    for (int32_t i = 0; i < block->result_count; ++i) {
        print_indent(printer, depth + 1);
        write_format(printer->out, "output ");
        print_value_name(printer, block->results[i]);
        if (id == MAIN_BLOCK) print_output_name(printer, i);
        write_u8(printer->out, '\n');
    }
    print_indent(printer, depth);
    write_format(printer->out, "}\n");
    return STATUS_OK;
}

/* -- what stands before the blocks -- */

static void print_symbols(Printer *printer) {
    DimTable *dims = printer->graph->dims;
    for (int32_t i = 0; i < dim_symbol_count(dims); ++i) {
        const Symbol *symbol = dim_symbol_at(dims, i);
        write_format(printer->out, "symbol ");
        text_name(printer->out, symbol->name);
        write_format(printer->out, "%s min %" PRId64 " opt %" PRId64,
                     symbol->kind == SYMBOL_LATE ? " late" : "", symbol->min, symbol->opt);
        if (symbol->max == INT64_MAX)
            write_format(printer->out, "\n");
        else
            write_format(printer->out, " max %" PRId64 "\n", symbol->max);
    }
}

static void print_memory(Printer *printer) {
    const MemoryPlan *memory = &printer->graph->memory;
    if (!memory->done) return;
    write_format(printer->out, "memory arena %" PRId64 " bound %" PRId64 "%s\n", memory->arena_size,
                 memory->lower_bound, memory->fixed ? " fixed" : "");
    for (int32_t i = 0; i < memory->buffer_count; ++i) {
        const Buffer *buffer = &memory->buffers[i];
        write_format(printer->out, "buffer %d ", i);
        print_dims(printer, 1, &buffer->size);
        write_format(printer->out, " steps %d %d", buffer->first, buffer->last);
        if (buffer->offset >= 0) write_format(printer->out, " offset %" PRId64, buffer->offset);
        write_u8(printer->out, '\n');
    }
}

static void mark_ids(const Graph *graph, bool *used, int32_t count, const ValueId *ids) {
    for (int32_t i = 0; i < count; ++i)
        if (ids[i] >= 0 && ids[i] < graph->value_count) used[ids[i]] = true;
}

/* Constants that nothing reads any more are not part of the text. */
static bool *find_used(Printer *printer) {
    const Graph *graph = printer->graph;
    bool *used = ARENA_ARRAY(printer->scratch, bool, graph->value_count);
    for (BlockId b = 0; used != NULL && b < graph->block_count; ++b) {
        if (!block_is_live(graph, b)) continue;
        const Block *block = &graph->blocks[b];
        mark_ids(graph, used, block->result_count, block->results);
        for (int32_t i = 0; i < block->node_count; ++i) {
            const Node *node = &graph->nodes[block->nodes[i]];
            mark_ids(graph, used, node->input_count, node->inputs);
        }
    }
    return used;
}

static Status print_constants(Printer *printer) {
    const Graph *graph = printer->graph;
    const bool *used = find_used(printer);
    TRY_ALLOC(printer->diag, used);
    for (ValueId v = 0; v < graph->value_count; ++v) {
        const Value *value = &graph->values[v];
        if (!used[v] || value->data == NULL) continue;
        if (!value_is_exact(value))
            return FAIL(printer->diag, STATUS_INTERNAL, "constant '%s' has no exact shape", value->name);
        write_format(printer->out, "constant ");
        print_definition(printer, v);
        write_format(printer->out, " = ");
        TRY(print_data(printer, value->dtype, value->data, value_count(value)));
        write_u8(printer->out, '\n');
    }
    return STATUS_OK;
}

static Status print_graph(Printer *printer) {
    const Graph *graph = printer->graph;
    write_format(printer->out, "smelt-ir %d\ngraph ", IR_VERSION);
    text_string(printer->out, graph->name);
    if (graph->opset != 0) write_format(printer->out, " opset %d", graph->opset);
    write_u8(printer->out, '\n');
    if (printer->blob != NULL) write_format(printer->out, "constants \"%s\"\n", constant_blob_name);
    if (graph->tf32) write_format(printer->out, "tf32\n");
    print_symbols(printer);
    print_memory(printer);
    TRY(print_constants(printer));
    write_format(printer->out, "block ");
    return print_block(printer, MAIN_BLOCK, 0);
}

Status graph_print(const Graph *graph, ConstantBlob *blob, ByteWriter *out, Diag *diag) {
    Arena scratch = {.allocator = graph->arena->allocator};
    Printer printer = {graph, blob, out, &scratch, diag};
    Status status = print_graph(&printer);
    arena_reset(&scratch);
    if (status == STATUS_OK && out->failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return status;
}
