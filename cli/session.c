#include "cli/session.h"

#include <string.h>

#include "base/checked.h"
#include "base/tensor_file.h"
#include "cli/samples.h"

/* The runtime's failure as the app's. */
static Status runtime_status(App *app, int status, const SmeltError *error) {
    if (status == SMELT_OK) return STATUS_OK;
    return FAIL(&app->diag, (Status)status, "%s", error->message);
}

#define TRY_RUNTIME(app, call, error) TRY(runtime_status((app), (call), (error)))

/* Loads a plan from bytes, of which the session keeps an aligned copy. */
static Status load_bytes(App *app, const ByteWriter *bytes, const CompileSettings *settings, Session *session,
                         SmeltError *error) {
    SmeltEngineOptions options = {.device = (int)settings->device};
    session->plan_memory = mem_alloc(&app->allocator, bytes->size);
    if (session->plan_memory == NULL)
        return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory for a plan of %zu bytes", bytes->size);
    memcpy(session->plan_memory, bytes->data, bytes->size);
    double start = clock_seconds();
    int status =
        smelt_engine_load_memory(session->plan_memory, bytes->size, &options, &session->engine, error);
    session->load_seconds = clock_seconds() - start;
    return runtime_status(app, status, error);
}

/* Compiles, and keeps only the plan's bytes. */
static Status open_model(App *app, const char *path, const CompileSettings *settings, Session *session,
                         SmeltError *error) {
    Compiled compiled;
    double start = clock_seconds();
    Arena arena;
    arena_init(&arena, &app->allocator);
    Status status = compile_model(app, path, settings, &compiled);
    if (status == STATUS_OK && compiled.stopped)
        status = FAIL(&app->diag, STATUS_USAGE, "--stop-after leaves nothing to run");
    ByteWriter writer = byte_writer(&arena);
    if (status == STATUS_OK) status = plan_write_bytes(&compiled.plan, &writer, &app->diag);
    compiled_destroy(&compiled);
    session->build_seconds = clock_seconds() - start;
    if (status == STATUS_OK) status = load_bytes(app, &writer, settings, session, error);
    arena_reset(&arena);
    return status;
}

static Status read_bindings(App *app, Session *session, SmeltError *error) {
    session->binding_count = smelt_engine_binding_count(session->engine);
    session->bindings = ARENA_ARRAY(&app->arena, SmeltBinding, session->binding_count);
    TRY_ALLOC(&app->diag, session->bindings);
    for (int i = 0; i < session->binding_count; ++i) {
        TRY_RUNTIME(app, smelt_engine_binding(session->engine, i, &session->bindings[i], error), error);
        session->input_count += !session->bindings[i].is_output;
    }
    return STATUS_OK;
}

static Status open_context(App *app, const CompileSettings *settings, Session *session, SmeltError *error) {
    SmeltContextOptions options = {.threads = (int)settings->threads};
    TRY(read_bindings(app, session, error));
    return runtime_status(app, smelt_context_create(session->engine, &options, &session->context, error),
                          error);
}

Status session_open(App *app, const char *path, const CompileSettings *settings, Session *out) {
    SmeltError error = {0};
    *out = (Session){0};
    if (is_plan_path(path)) {
        TRY(compile_is_done(app, settings, path));
        double start = clock_seconds();
        SmeltEngineOptions engine = {.device = (int)settings->device};
        TRY_RUNTIME(app, smelt_engine_load(path, &engine, &out->engine, &error), &error);
        out->load_seconds = clock_seconds() - start;
    } else {
        TRY(open_model(app, path, settings, out, &error));
    }
    return open_context(app, settings, out, &error);
}

Status session_open_plan(App *app, const Plan *plan, const CompileSettings *settings, Session *out) {
    SmeltError error = {0};
    Arena arena;
    *out = (Session){0};
    arena_init(&arena, &app->allocator);
    ByteWriter writer = byte_writer(&arena);
    Status status = plan_write_bytes(plan, &writer, &app->diag);
    if (status == STATUS_OK) status = load_bytes(app, &writer, settings, out, &error);
    arena_reset(&arena);
    TRY(status);
    return open_context(app, settings, out, &error);
}

void session_close(App *app, Session *session) {
    smelt_context_destroy(session->context);
    smelt_engine_destroy(session->engine);
    mem_free(&app->allocator, session->plan_memory);
    *session = (Session){0};
}

static Status check_input(App *app, const SmeltBinding *binding, const Tensor *input) {
    if (input->data == NULL) return FAIL(&app->diag, STATUS_USAGE, "input '%s' is not given", binding->name);
    if ((int)input->dtype == binding->dtype) return STATUS_OK;
    return FAIL(&app->diag, STATUS_BAD_DATA, "input '%s' is %s, expected %s", binding->name,
                dtype_name(input->dtype), dtype_name((DType)binding->dtype));
}

/* Names the sizes that did not work, which random inputs take from nowhere but the profile. */
static Status explain_shapes(App *app, const Session *session, const Tensor *inputs, Status status) {
    char text[128];
    for (int i = 0; status == STATUS_BAD_DATA && i < session->input_count; ++i) {
        const SmeltBinding *binding = &session->bindings[i];
        bool dynamic = false;
        for (int k = 0; k < binding->rank; ++k) dynamic = dynamic || binding->dims[k] < 0;
        if (!dynamic) continue;
        tensor_format(&inputs[i], text, sizeof text);
        diag_hint(&app->diag,
                  "input '%s' is %s here; --input gives another, and --shape or --profile-shape other sizes "
                  "when a model is compiled",
                  binding->name, text);
    }
    return status;
}

Status session_set_shapes(App *app, Session *session, const Tensor *inputs) {
    SmeltError error = {0};
    for (int i = 0; i < session->input_count; ++i) {
        TRY(check_input(app, &session->bindings[i], &inputs[i]));
        TRY_RUNTIME(app, smelt_context_set_shape(session->context, i, inputs[i].rank, inputs[i].dim, &error),
                    &error);
    }
    Status status = runtime_status(app, smelt_context_prepare(session->context, &error), &error);
    return explain_shapes(app, session, inputs, status);
}

/* Output i of the last run as a tensor. */
static Status read_output(App *app, Session *session, int binding, Tensor *out, SmeltError *error) {
    int rank;
    const void *data;
    size_t size;
    TRY_RUNTIME(app, smelt_context_shape(session->context, binding, &rank, out->dim, error), error);
    TRY_RUNTIME(app, smelt_context_output(session->context, binding, &data, &size, error), error);
    out->dtype = (DType)session->bindings[binding].dtype;
    out->rank = rank;
    out->data = (void *)(uintptr_t)data; /* the tensor type has no const; nobody writes through it */
    return STATUS_OK;
}

Status session_run(App *app, Session *session, const Tensor *inputs, Tensor *outputs) {
    SmeltError error = {0};
    TRY(session_set_shapes(app, session, inputs));
    void **buffers = ARENA_ARRAY(&app->arena, void *, session->binding_count);
    TRY_ALLOC(&app->diag, buffers);
    for (int i = 0; i < session->input_count; ++i) buffers[i] = inputs[i].data;
    Status status = runtime_status(app, smelt_context_run(session->context, buffers, NULL, &error), &error);
    TRY(explain_shapes(app, session, inputs, status));
    for (int i = session->input_count; i < session->binding_count; ++i)
        TRY(read_output(app, session, i, &outputs[i - session->input_count], &error));
    return STATUS_OK;
}

Status session_read_inputs(App *app, const Session *session, const char *folder, Tensor *inputs) {
    for (int i = 0; i < session->input_count; ++i) TRY(sample_read_input(app, folder, i, &inputs[i]));
    return STATUS_OK;
}

static int find_input(const Session *session, const char *name, size_t length) {
    for (int i = 0; i < session->input_count; ++i)
        if (strlen(session->bindings[i].name) == length &&
            strncmp(session->bindings[i].name, name, length) == 0)
            return i;
    return -1;
}

static Status unknown_input(App *app, const Session *session, const char *item) {
    ByteWriter names = byte_writer(&app->arena);
    for (int i = 0; i < session->input_count; ++i)
        write_format(&names, "%s'%s'", i > 0 ? ", " : "", session->bindings[i].name);
    write_u8(&names, 0);
    if (!names.failed) diag_hint(&app->diag, "the inputs are %s", (const char *)names.data);
    return FAIL(&app->diag, STATUS_USAGE, "--input '%s' names no input", item);
}

static Status read_named_file(App *app, const SmeltBinding *binding, const char *path, Tensor *out) {
    size_t length = strlen(path);
    if ((length > 4 && strcmp(path + length - 4, ".npy") == 0) ||
        (length > 3 && strcmp(path + length - 3, ".pb") == 0))
        return tensor_file_read(path, &app->arena, out, NULL, &app->diag);
    for (int i = 0; i < binding->rank; ++i)
        if (binding->dims[i] < 0)
            return FAIL(&app->diag, STATUS_USAGE,
                        "raw file '%s' for input '%s': dimension %d is dynamic, use .npy or .pb", path,
                        binding->name, i);
    TRY(tensor_describe(out, (DType)binding->dtype, binding->rank, binding->dims, SIZE_MAX, &app->diag));
    return tensor_file_read_raw(path, &app->arena, out, &app->diag);
}

Status session_read_named(App *app, const Session *session, const TextList *items, Tensor *inputs) {
    for (int32_t i = 0; i < items->count; ++i) {
        const char *equals = strrchr(items->items[i], '=');
        if (equals == NULL)
            return FAIL(&app->diag, STATUS_USAGE, "--input '%s': expected NAME=FILE", items->items[i]);
        int index = find_input(session, items->items[i], (size_t)(equals - items->items[i]));
        if (index < 0) return unknown_input(app, session, items->items[i]);
        TRY(read_named_file(app, &session->bindings[index], equals + 1, &inputs[index]));
    }
    return STATUS_OK;
}

Status session_fill_random(App *app, const Session *session, uint64_t seed, uint64_t most, Tensor *inputs) {
    uint64_t state = seed;
    for (int i = 0; i < session->input_count; ++i) {
        const SmeltBinding *binding = &session->bindings[i];
        int64_t dims[SMELT_MAX_RANK];
        if (inputs[i].data != NULL) continue;
        for (int k = 0; k < binding->rank; ++k)
            dims[k] = binding->dims[k] >= 0 ? binding->dims[k] : max_i64(binding->opt_dims[k], 1);
        TRY(sample_random((DType)binding->dtype, binding->rank, dims, most, &state, &app->arena, &inputs[i],
                          &app->diag));
    }
    return STATUS_OK;
}
