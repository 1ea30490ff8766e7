/* A plan or model that is ready to run, through the public runtime interface; tensors in and out. */
#ifndef SMELT_CLI_SESSION_H
#define SMELT_CLI_SESSION_H

#include "base/tensor.h"
#include "cli/compile.h"
#include "runtime/smelt_runtime.h"

/* Zero-initialise; session_close accepts any state. */
typedef struct Session {
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltBinding *bindings; /* in the app's arena */
    int binding_count, input_count;
    void *plan_memory; /* of a model compiled for this session */
    double build_seconds, load_seconds;
} Session;

/* Opens a .plan, or compiles anything else with settings. */
Status session_open(App *app, const char *path, const CompileSettings *settings, Session *out);
/* Opens a plan that is in memory, which may go once the call returns. */
Status session_open_plan(App *app, const Plan *plan, const CompileSettings *settings, Session *out);
void session_close(App *app, Session *session);

/* Checks dtypes, sets shapes, runs; outputs[i] (session->binding_count - input_count of them) point into the
 * session until the next run. */
Status session_run(App *app, Session *session, const Tensor *inputs, Tensor *outputs);
/* Sets the shapes of the inputs and prepares memory, without running. */
Status session_set_shapes(App *app, Session *session, const Tensor *inputs);

/* The inputs of ONNX's test layout: DIR/input_0.pb ... (.npy too), by position. */
Status session_read_inputs(App *app, const Session *session, const char *folder, Tensor *inputs);
/* "NAME=FILE" items; each of .npy, .pb, or raw bytes when all dimensions are fixed. inputs not named keep
 * data NULL. */
Status session_read_named(App *app, const Session *session, const TextList *items, Tensor *inputs);
/* Seeded random data where data is NULL: floats in [-1, 1), integers in [0, most]; dynamic dimensions take
 * the profile's optimum (at least 1). */
Status session_fill_random(App *app, const Session *session, uint64_t seed, uint64_t most, Tensor *inputs);
enum { RANDOM_INTEGER = 7 }; /* the largest one, where nothing else is asked for */

#endif
