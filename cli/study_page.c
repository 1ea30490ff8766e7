/* The history of a build as a page to step through: for each pass only what it changed. */
#include <inttypes.h>
#include <string.h>

#include "cli/study.h"
#include "ir/cost.h"

static void write_ids(ByteWriter *out, int32_t count, const int32_t *ids) {
    write_u8(out, '[');
    for (int32_t i = 0; i < count; ++i) write_format(out, "%s%d", i > 0 ? "," : "", ids[i]);
    write_u8(out, ']');
}

/* -- nodes -- */

/* "[3,3]", "0.5", "f32[2,2]": long lists are cut. */
static void write_attribute(ByteWriter *out, const Attr *attr) {
    enum { SHOWN = 16 };
    ByteWriter text = byte_writer(out->arena);
    char tensor[128];
    for (int32_t i = 0; i < attr->count && i < SHOWN; ++i) {
        if (i > 0) write_format(&text, ", ");
        if (attr->kind == ATTR_INT || attr->kind == ATTR_INTS)
            write_format(&text, "%" PRId64, attr->ints[i]);
        else if (attr->kind == ATTR_FLOAT || attr->kind == ATTR_FLOATS)
            write_format(&text, "%g", (double)attr->floats[i]);
        else if (attr->kind == ATTR_STRING || attr->kind == ATTR_STRINGS)
            write_format(&text, "\"%s\"", attr->strings[i]);
        else if (attr->kind == ATTR_TENSOR) {
            tensor_format(attr->tensor, tensor, sizeof tensor);
            write_format(&text, "%s", tensor);
        } else
            write_format(&text, "a body");
    }
    if (attr->count > SHOWN) write_format(&text, ", ... (%d)", attr->count);
    write_u8(&text, 0);
    out->failed = out->failed || text.failed;
    if (!text.failed) write_json_text(out, (const char *)text.data);
}

static void write_node(ByteWriter *out, const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    write_format(out, "{\"id\":%d,\"op\":\"%s\",\"name\":", id, op_def(node->op)->name);
    write_json_text(out, node->name);
    write_format(out, ",\"inputs\":");
    write_ids(out, node->input_count, node->inputs);
    write_format(out, ",\"outputs\":");
    write_ids(out, node->output_count, node->outputs);
    write_format(out, ",\"region\":%d,\"flops\":%.0f,\"origins\":[", node->region, node_flops(graph, id));
    for (int32_t i = 0; i < node->origin_count; ++i) {
        if (i > 0) write_u8(out, ',');
        write_json_text(out, node->origins[i]);
    }
    write_format(out, "],\"attributes\":[");
    for (int32_t i = 0; i < node->attrs.count; ++i) {
        write_format(out, i > 0 ? ",[" : "[");
        write_json_text(out, node->attrs.items[i].name);
        write_u8(out, ',');
        write_attribute(out, &node->attrs.items[i]);
        write_u8(out, ']');
    }
    write_format(out, "]}");
}

/* What is new or different, and with it why; `before` NULL: everything is new. */
static Status write_nodes(ByteWriter *out, const Graph *before, const Graph *after, Diag *diag) {
    const char *separator = "";
    write_format(out, "\"nodes\":[");
    for (NodeId n = 0; n < after->node_count; ++n) {
        if (!node_is_live(after, n)) continue;
        if (before != NULL && node_change(before, after, n) == NODE_SAME) continue;
        write_format(out, "%s\n", separator);
        write_node(out, after, n);
        separator = ",";
    }
    separator = "";
    write_format(out, "],\"gone\":[");
    for (NodeId n = 0; before != NULL && n < before->node_count; ++n) {
        if (node_change(before, after, n) != NODE_REMOVED) continue;
        write_format(out, "%s%d", separator, n);
        separator = ",";
    }
    separator = "";
    write_format(out, "],\"why\":{");
    for (NodeId n = 0; before != NULL && n < after->node_count; ++n) {
        NodeChange change = node_change(before, after, n);
        if (change != NODE_ADDED && change != NODE_REMOVED && change != NODE_CHANGED) continue;
        const char *text = change == NODE_ADDED     ? explain_addition(before, after, n, out->arena)
                           : change == NODE_REMOVED ? explain_removal(before, after, n, out->arena)
                                                    : explain_change(before, after, n, out->arena);
        TRY_ALLOC(diag, text);
        write_format(out, "%s\"%d\":", separator, n);
        write_json_text(out, text);
        separator = ",";
    }
    write_format(out, "}");
    return STATUS_OK;
}

/* -- values, blocks, regions -- */

static bool same_value(const Value *a, const Value *b) {
    return a->dtype == b->dtype && a->has_shape == b->has_shape && a->layout == b->layout &&
           a->buffer == b->buffer && (a->data == NULL) == (b->data == NULL) &&
           strcmp(a->name, b->name) == 0 && (!a->has_shape || shape_equal(&a->shape, &b->shape));
}

static void write_values(ByteWriter *out, const Graph *before, const Graph *after) {
    const char *separator = "";
    write_format(out, ",\"values\":[");
    for (ValueId v = 0; v < after->value_count; ++v) {
        const Value *value = &after->values[v];
        if (before != NULL && v < before->value_count && same_value(&before->values[v], value)) continue;
        const char *shape = value->has_shape ? shape_print(after->dims, &value->shape, out->arena) : "";
        write_format(out, "%s\n{\"id\":%d,\"name\":", separator, v);
        write_json_text(out, value->name);
        write_format(out, ",\"type\":\"%s%s\"", value->dtype == DTYPE_NONE ? "?" : dtype_name(value->dtype),
                     shape != NULL ? shape : "");
        write_format(out, ",\"buffer\":%d", value->buffer);
        if (value->data != NULL) write_format(out, ",\"constant\":true");
        if (value->layout == LAYOUT_CHANNELS_LAST) write_format(out, ",\"layout\":\"channels last\"");
        write_format(out, "}");
        separator = ",";
    }
    write_format(out, "]");
}

static bool same_blocks(const Graph *a, const Graph *b) {
    if (a->block_count != b->block_count) return false;
    for (BlockId i = 0; i < a->block_count; ++i) {
        const Block *x = &a->blocks[i], *y = &b->blocks[i];
        if (block_is_live(a, i) != block_is_live(b, i) || x->node_count != y->node_count) return false;
        if (x->node_count > 0 && memcmp(x->nodes, y->nodes, (size_t)x->node_count * sizeof *x->nodes) != 0)
            return false;
    }
    return true;
}

static void write_blocks(ByteWriter *out, const Graph *before, const Graph *after) {
    const char *separator = "";
    if (before == NULL || !same_blocks(before, after)) {
        write_format(out, ",\"blocks\":[");
        for (BlockId b = 0; b < after->block_count; ++b) {
            if (!block_is_live(after, b)) continue;
            write_format(out, "%s{\"id\":%d,\"name\":", separator, b);
            write_json_text(out, after->blocks[b].name);
            write_format(out, ",\"nodes\":");
            write_ids(out, after->blocks[b].node_count, after->blocks[b].nodes);
            write_format(out, "}");
            separator = ",";
        }
        write_format(out, "]");
    }
    if (before != NULL && before->region_count == after->region_count) return;
    write_format(out, ",\"regions\":[");
    for (RegionId r = 0; r < after->region_count; ++r) {
        if (r > 0) write_u8(out, ',');
        write_json_text(out, after->regions[r].name);
    }
    write_format(out, "]");
}

/* -- steps -- */

static int32_t count_nodes(const Graph *graph) {
    int32_t count = 0;
    for (BlockId b = 0; b < graph->block_count; ++b)
        if (block_is_live(graph, b)) count += graph->blocks[b].node_count;
    return count;
}

static Status write_numbers(ByteWriter *out, const History *history, int32_t index, Diag *diag) {
    const HistoryStep *step = &history->steps[index];
    GraphCost cost;
    if (!graph_cost(step->graph, out->arena, &cost)) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    write_format(out, "\"pass\":");
    write_json_text(out, step->pass);
    write_format(out, ",\"what\":");
    write_json_text(out, step->what);
    write_format(out,
                 ",\"seconds\":%.6f,\"touched\":%d,\"node_count\":%d,\"steps\":%d,\"bytes\":%.0f,"
                 "\"flops\":%.0f,\"counters\":[",
                 step->seconds, index > 0 ? nodes_touched(history->steps[index - 1].graph, step->graph) : 0,
                 count_nodes(step->graph), cost.steps, cost.bytes_read + cost.bytes_written, cost.flops);
    for (int32_t i = 0; i < step->counter_count; ++i) {
        write_format(out, i > 0 ? ",[" : "[");
        write_json_text(out, step->counters[i].name);
        write_format(out, ",%" PRId64 "]", step->counters[i].value);
    }
    write_format(out, "],\"rejections\":[");
    for (int32_t i = 0; i < step->rejection_count; ++i) {
        const Rejection *rejection = &history->rejections[step->rejection_first + i];
        write_format(out, "%s[%d,", i > 0 ? "," : "", rejection->node);
        write_json_text(out, rejection->reason);
        write_format(out, "]");
    }
    write_format(out, "],");
    return STATUS_OK;
}

Status study_write_steps(const Study *study, ByteWriter *out, Diag *diag) {
    const History *history = &study->history;
    write_format(out, "[");
    for (int32_t i = 0; i < history->step_count; ++i) {
        const Graph *before = i > 0 ? history->steps[i - 1].graph : NULL, *after = history->steps[i].graph;
        write_format(out, i > 0 ? ",\n{" : "{");
        TRY(write_numbers(out, history, i, diag));
        TRY(write_nodes(out, before, after, diag));
        write_values(out, before, after);
        write_blocks(out, before, after);
        write_format(out, "}");
    }
    write_format(out, "]");
    return out->failed ? FAIL(diag, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static void write_texts(ByteWriter *out, const char *key, int32_t count, const char *const *texts) {
    if (key != NULL) write_format(out, "\"%s\":", key);
    write_u8(out, '[');
    for (int32_t i = 0; i < count; ++i) {
        if (i > 0) write_u8(out, ',');
        write_json_text(out, texts[i]);
    }
    write_u8(out, ']');
}

Status study_write_page(const Study *study, int column_count, const char *const *columns,
                        const char *const *cells, const char *note, const char *path) {
    static const char mark[] = "@DATA@";
    Diag *diag = &study->app->diag;
    ByteWriter out = byte_writer(&study->app->arena);
    const char *place = strstr(study_page, mark);
    if (place == NULL) return FAIL(diag, STATUS_INTERNAL, "the page has no place for data");
    write_bytes(&out, study_page, (size_t)(place - study_page));
    write_format(&out, "{\"model\":");
    write_json_text(&out, study->model);
    write_format(&out, ",\"note\":");
    write_json_text(&out, note);
    write_u8(&out, ',');
    write_texts(&out, "columns", column_count, columns);
    write_format(&out, ",\n\"rows\":[");
    for (int32_t i = 0; i < study->row_count; ++i) {
        if (i > 0) write_format(&out, ",\n");
        write_texts(&out, NULL, column_count, cells + (ptrdiff_t)i * column_count);
    }
    write_format(&out, "],\n\"steps\":");
    TRY(study_write_steps(study, &out, diag));
    write_u8(&out, '}');
    write_bytes(&out, place + strlen(mark), strlen(place + strlen(mark)));
    if (out.failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return file_replace(path, out.data, out.size, diag);
}
