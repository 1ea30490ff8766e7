#include <string.h>

#include "base/file.h"
#include "base/tensor_file.h"
#include "cli/commands.h"
#include "cli/session.h"

typedef struct RunOptions {
    CompileSettings compile;
    const char *data, *output_dir, *format;
    TextList inputs;
    bool random;
    int64_t seed, most;
} RunOptions;

enum { SHOWN_VALUES = 6 };

static void print_tensor(const SmeltBinding *binding, const Tensor *tensor) {
    char text[128];
    tensor_format(tensor, text, sizeof text);
    printf("%s: %s", binding->name, text);
    int64_t count = tensor_count(tensor);
    for (int64_t i = 0; i < count && i < SHOWN_VALUES; ++i)
        printf(" %.6g", dtype_load_f64(tensor->dtype, tensor->data, i));
    printf("%s\n", count > SHOWN_VALUES ? " ..." : "");
}

static Status write_output(App *app, const RunOptions *o, const SmeltBinding *binding, int index,
                           const Tensor *tensor) {
    const char *path = arena_printf(&app->arena, "%s/output_%d.%s", o->output_dir, index, o->format);
    TRY_ALLOC(&app->diag, path);
    return tensor_file_write(path, tensor, binding->name, &app->diag);
}

static Status run_once(App *app, const RunOptions *o, Session *session) {
    int output_count = session->binding_count - session->input_count;
    Tensor *inputs = ARENA_ARRAY(&app->arena, Tensor, session->input_count);
    Tensor *outputs = ARENA_ARRAY(&app->arena, Tensor, output_count);
    TRY_ALLOC(&app->diag, inputs);
    TRY_ALLOC(&app->diag, outputs);
    if (o->data != NULL) TRY(session_read_inputs(app, session, o->data, inputs));
    TRY(session_read_named(app, session, &o->inputs, inputs));
    if (o->random) TRY(session_fill_random(app, session, (uint64_t)o->seed, (uint64_t)o->most, inputs));
    TRY(session_run(app, session, inputs, outputs));
    if (o->output_dir != NULL) TRY(folder_create(o->output_dir, &app->diag));
    for (int i = 0; i < output_count; ++i) {
        const SmeltBinding *binding = &session->bindings[session->input_count + i];
        print_tensor(binding, &outputs[i]);
        if (o->output_dir != NULL) TRY(write_output(app, o, binding, i, &outputs[i]));
    }
    return STATUS_OK;
}

Status command_run(App *app, const Command *self, int argc, char **argv) {
    RunOptions o = {.format = "npy", .seed = 1, .most = RANDOM_INTEGER};
    const Option table[] = {
        {"data", 0, OPTION_TEXT, &o.data, "DIR", "inputs in ONNX's test layout: DIR/input_0.pb ...", 0, 0},
        {"input", 0, OPTION_LIST, &o.inputs, "NAME=FILE",
         "an input from a .npy, .pb or raw file (repeatable)", 0, 0},
        {"random", 0, OPTION_FLAG, &o.random, NULL, "seeded random data for inputs that are not given", 0, 0},
        {"seed", 0, OPTION_INT, &o.seed, "N", "of --random (1)", 0, INT64_MAX},
        {"largest-integer", 0, OPTION_INT, &o.most, "N", "of --random's integers, which begin at 0 (7)", 0,
         INT32_MAX},
        {"output-dir", 0, OPTION_TEXT, &o.output_dir, "DIR", "writes DIR/output_0.npy ...", 0, 0},
        {"output-format", 0, OPTION_TEXT, &o.format, "npy|pb", "of the written files (npy)", 0, 0},
        COMPILE_OPTIONS(o.compile),
    };
    TextList models = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &models, 1, 1, &done));
    if (done) return STATUS_OK;
    if (strcmp(o.format, "npy") != 0 && strcmp(o.format, "pb") != 0)
        return FAIL(&app->diag, STATUS_USAGE, "--output-format is '%s', expected npy or pb", o.format);
    Session session;
    Status status = session_open(app, models.items[0], &o.compile, &session);
    if (status == STATUS_OK) status = run_once(app, &o, &session);
    session_close(app, &session);
    return status;
}
