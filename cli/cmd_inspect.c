#include <string.h>

#include "cli/commands.h"
#include "cli/compile.h"
#include "cli/inspect_cache.h"
#include "cli/why.h"
#include "ir/cost.h"

typedef struct InspectOptions {
    CompileSettings compile;
    const char *why;
    bool json;
} InspectOptions;

typedef struct ModelSummary {
    int32_t op_counts[OP_COUNT];
    int64_t nodes, constants;
    double parameters, weight_bytes, macs;
} ModelSummary;

static Status inspect_plan(App *app, const char *path, bool json) {
    FileMap map;
    Plan plan;
    ByteWriter out = byte_writer(&app->arena);
    TRY(file_map(path, &map, &app->diag));
    Status status = plan_read(map.data, map.size, path, &app->arena, &plan, &app->diag);
    if (status == STATUS_OK)
        status = json ? plan_print_json(&plan, &out, &app->diag) : plan_print(&plan, &out, &app->diag);
    if (status == STATUS_OK) fwrite(out.data, 1, out.size, stdout);
    file_unmap(&map);
    return status;
}

/* Operators and constants as they stand in the file; MACs need shapes. */
static void count_model(const Graph *graph, ModelSummary *summary) {
    for (BlockId b = 0; b < graph->block_count; ++b)
        for (int32_t i = 0; i < graph->blocks[b].node_count; ++i) {
            summary->op_counts[graph->nodes[graph->blocks[b].nodes[i]].op]++;
            summary->nodes++;
        }
    for (ValueId v = 0; v < graph->value_count; ++v) {
        size_t bytes;
        if (!value_is_constant(graph, v)) continue;
        summary->constants++;
        summary->parameters +=
            dtype_is_float(graph->values[v].dtype) ? (double)value_count(&graph->values[v]) : 0;
        if (dtype_storage(graph->values[v].dtype, value_count(&graph->values[v]), &bytes))
            summary->weight_bytes += (double)bytes;
    }
}

static void count_macs(const Graph *graph, ModelSummary *summary) {
    for (NodeId n = 0; n < graph->node_count; ++n) summary->macs += (double)node_macs(graph, n);
}

/* "name: f32[1, 3, 224, 224]" of each value of a list. */
static Status print_values(App *app, const Graph *graph, bool outputs, bool json) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    const ValueId *values = outputs ? block->results : block->params;
    int32_t count = outputs ? block->result_count : block->param_count;
    const char *title = outputs ? "outputs" : "inputs";
    printf(json ? "  \"%s\": [" : "%s\n", title);
    for (int32_t i = 0; i < count; ++i) {
        const Value *value = &graph->values[values[i]];
        const char *name = outputs ? graph_output_name(graph, i) : value->name;
        const char *shape = value->has_shape ? shape_print(graph->dims, &value->shape, &app->arena) : "[?]";
        TRY_ALLOC(&app->diag, shape);
        if (!json) {
            printf("  %s: %s%s\n", name, dtype_name(value->dtype), shape);
            continue;
        }
        printf("%s{\"name\": ", i > 0 ? ", " : "");
        write_json_string(stdout, name);
        printf(", \"dtype\": \"%s\", \"shape\": ", dtype_name(value->dtype));
        write_json_string(stdout, shape);
        printf("}");
    }
    if (json) printf("],\n");
    return STATUS_OK;
}

static void print_model_text(const Graph *graph, const ModelSummary *s) {
    printf("operators (%lld nodes)\n", (long long)s->nodes);
    for (int id = OP_NONE + 1; id < OP_COUNT; ++id)
        if (s->op_counts[id] > 0) printf("  %-24s %d\n", op_def((OpId)id)->name, s->op_counts[id]);
    printf("parameters   %s in %lld constants, %s\n", count_text(s->parameters).text, (long long)s->constants,
           byte_text(s->weight_bytes).text);
    printf("work         %.4g GMAC%s\n", s->macs * 1e-9,
           dim_symbol_count(graph->dims) > 0 ? " with dynamic dimensions at their opt value" : "");
}

static void print_model_json(const ModelSummary *s) {
    const char *separator = "";
    printf("  \"operators\": {");
    for (int id = OP_NONE + 1; id < OP_COUNT; ++id) {
        if (s->op_counts[id] == 0) continue;
        printf("%s\"%s\": %d", separator, op_def((OpId)id)->name, s->op_counts[id]);
        separator = ", ";
    }
    printf("},\n  \"parameters\": %.0f,\n  \"weight_bytes\": %.0f,\n  \"gmac\": %.9g\n}\n", s->parameters,
           s->weight_bytes, s->macs * 1e-9);
}

static Status print_model(App *app, const char *path, const Graph *graph, const ModelSummary *summary,
                          bool json) {
    if (json) {
        printf("{\n  \"model\": ");
        write_json_string(stdout, path);
        printf(",\n  \"opset\": %d,\n", graph->opset);
    } else {
        printf("%s: '%s', opset %d (operators are shown in their newest meaning)\n", path, graph->name,
               graph->opset);
    }
    TRY(print_values(app, graph, false, json));
    TRY(print_values(app, graph, true, json));
    if (json)
        print_model_json(summary);
    else
        print_model_text(graph, summary);
    return STATUS_OK;
}

static Status inspect_model(App *app, const char *path, InspectOptions *o) {
    Compiled compiled;
    ModelSummary summary = {0};
    Status status = compile_load(app, path, &o->compile, &compiled);
    if (status == STATUS_OK) {
        count_model(compiled.graph, &summary);
        o->compile.stop_after = "fold_constants"; /* shapes often need folded shape arithmetic */
        status = compile_passes(app, &o->compile, &compiled);
        diag_context(&app->diag, DIAG_FILE, "%s", path);
    }
    if (status == STATUS_OK) {
        count_macs(compiled.graph, &summary);
        status = print_model(app, path, compiled.graph, &summary, o->json);
    }
    compiled_destroy(&compiled);
    return status;
}

Status command_inspect(App *app, const Command *self, int argc, char **argv) {
    InspectOptions o = {0};
    const Option table[] = {
        {"json", 0, OPTION_FLAG, &o.json, NULL, "as JSON", 0, 0},
        {"why", 0, OPTION_TEXT, &o.why, "NODE",
         "what became of a node of a model: which pass took it where and why, and what was refused", 0, 0},
        COMPILE_OPTIONS(o.compile),
    };
    TextList paths = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &paths, 1, 1, &done));
    if (done) return STATUS_OK;
    const char *path = paths.items[0];
    bool is_plan = is_plan_path(path);
    if (o.why != NULL && is_plan)
        return FAIL(&app->diag, STATUS_USAGE,
                    "--why follows a node through the passes: give the model, not '%s'", path);
    if (o.why != NULL) return why_node(app, path, &o.compile, o.why, o.json);
    if (is_plan) return inspect_plan(app, path, o.json);
    if (is_timing_cache(path)) return inspect_cache(app, path, o.json);
    return inspect_model(app, path, &o);
}
