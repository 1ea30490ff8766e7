#include "frontend/import.h"

#include <string.h>

#include "frontend/importer.h"

static Status check_header(Importer *im) {
    const Onnx__ModelProto *proto = im->proto;
    if (!proto->has_ir_version || proto->graph == NULL)
        return FAIL(im->diag, STATUS_BAD_MODEL, "not an ONNX model: it has no %s",
                    proto->graph == NULL ? "graph" : "IR version");
    if (proto->ir_version < MIN_IR_VERSION || proto->ir_version > MAX_IR_VERSION)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "IR version %lld is outside the supported %d to %d",
                    (long long)proto->ir_version, MIN_IR_VERSION, KNOWN_IR_VERSION);
    if (proto->ir_version > KNOWN_IR_VERSION)
        log_line(im->options->log, LOG_WARNING, "%s: IR version %lld is newer than %d: read as that",
                 im->graph->name, (long long)proto->ir_version, KNOWN_IR_VERSION);
    if (proto->n_opset_import > MAX_OPSETS)
        return FAIL(im->diag, STATUS_BAD_MODEL, "the model imports %zu opsets", proto->n_opset_import);
    Scope scope = {0};
    int64_t opset = scope_opset(im, &scope, "");
    if (opset < 0 || opset > MAX_OPSET)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "opset %lld of ai.onnx is outside the supported %d to %d",
                    (long long)opset, MIN_OPSET, MAX_OPSET);
    im->graph->opset = (int32_t)opset;
    return STATUS_OK;
}

/* The last part of a path. */
static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static Status import_model(Importer *im, size_t size, const char *path) {
    Onnx__ModelProto *proto;
    TRY(proto_unpack(im->bytes, size, &im->scratch, &proto, im->diag));
    im->proto = proto;
    im->graph = graph_create(im->arena, file_name(path));
    TRY_ALLOC(im->diag, im->graph);
    im->model->graph = im->graph;
    im->graph->source = arena_strdup(im->arena, path);
    TRY_ALLOC(im->diag, im->graph->source);
    TRY(check_header(im));
    TRY(functions_index(im));
    TRY(check_operators(im));
    TRY(import_main_graph(im));
    return dim_table_check(im->graph->dims, STATUS_UNSUPPORTED,
                           "the inputs have too many symbolic dimensions", im->diag);
}

static Status run_import(Importer *im, size_t size, const char *name, const ImportOptions *options,
                         Diag *diag) {
    static const ImportOptions no_options = {0};
    Model *model = im->model;
    im->arena = &model->arena;
    im->options = options == NULL ? &no_options : options;
    im->diag = diag;
    arena_init(&im->scratch, model->arena.allocator);
    Status status = import_model(im, size, name);
    arena_reset(&im->scratch);
    if (status == STATUS_OK) {
        model->hash = hash_bytes(im->bytes, size);
        return STATUS_OK;
    }
    diag_context(diag, DIAG_FILE, "%s", name);
    model_destroy(model);
    return status;
}

Status model_import(const char *path, const ImportOptions *options, Allocator *allocator, Model *out,
                    Diag *diag) {
    *out = (Model){0};
    arena_init(&out->arena, allocator);
    TRY(file_map(path, &out->file, diag));
    Importer im = {.model = out, .bytes = out->file.data, .bytes_stay = true};
    im.folder = path_folder(&out->arena, path);
    if (im.folder == NULL) {
        model_destroy(out);
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    }
    return run_import(&im, out->file.size, path, options, diag);
}

Status model_import_bytes(const void *bytes, size_t size, const char *name, const char *folder,
                          const ImportOptions *options, Allocator *allocator, Model *out, Diag *diag) {
    *out = (Model){0};
    arena_init(&out->arena, allocator);
    Importer im = {.model = out, .bytes = bytes, .bytes_stay = false, .folder = folder};
    return run_import(&im, size, name, options, diag);
}

void model_destroy(Model *model) {
    if (model == NULL) return;
    for (int32_t i = 0; i < model->external_count; ++i) file_unmap_range(&model->external[i]);
    file_unmap(&model->file);
    arena_reset(&model->arena);
    *model = (Model){0};
}
