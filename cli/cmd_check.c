#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/tensor_file.h"
#include "cli/commands.h"
#include "cli/compare.h"
#include "cli/precision.h"
#include "cli/session.h"

typedef struct CheckOptions {
    CompileSettings compile;
    TextList data;
    const char *atol_text, *report;
    double rtol, min_cosine; /* rtol < 0: not given */
    double range_error;      /* 0: not given */
    double goal; /* the largest tensor_error, of reduced precision or asked for; 0: element by element */
    int64_t seed, most, variants;
    bool quiet, batch;
} CheckOptions;

/* The worst output of all data sets, and lines for --report. */
typedef struct CheckState {
    bool failed;
    char worst[512], label[32]; /* "variant 3: " where there are several */
    int64_t variant;
    ByteWriter report;
    Session plain; /* what random inputs give without optional passes: expected, once they have been run */
    Tensor *expected;
} CheckState;

/* "--atol A" for all outputs, or "A,B,..." one per output. */
static Status output_atol(App *app, const char *text, int output, double *out) {
    *out = 1e-7;
    if (text == NULL) return STATUS_OK;
    for (int i = 0;; ++i) {
        char *end;
        *out = strtod(text, &end);
        if (end == text || (*end != '\0' && *end != ',') || !(*out >= 0))
            return FAIL(&app->diag, STATUS_USAGE, "--atol '%s': expected numbers separated by commas", text);
        if (i == output || *end == '\0') return STATUS_OK;
        text = end + 1;
    }
}

static Status check_atol(App *app, const CheckOptions *o, int outputs) {
    int given = 1;
    double unused;
    TRY(output_atol(app, o->atol_text, outputs, &unused));
    for (const char *c = o->atol_text; c != NULL && *c != '\0'; ++c) given += *c == ',';
    if (given <= 1 || given == outputs) return STATUS_OK;
    return FAIL(&app->diag, STATUS_USAGE, "--atol has %d tolerances for %d outputs", given, outputs);
}

static void describe_failure(CheckState *state, const char *set, const char *name, const Comparison *c,
                             const Tensor *got, const Tensor *expected) {
    char left[128], right[128];
    if (state->failed) return; /* the first one is named */
    state->failed = true;
    if (strcmp(c->reason, "values") == 0) {
        snprintf(state->worst, sizeof state->worst,
                 "%s%s output '%s' element %lld: got %.9g, expected %.9g (largest difference %.3g)",
                 state->label, set, name, (long long)c->worst, c->got, c->expected, c->max_abs);
    } else if (strcmp(c->reason, "cosine") == 0) {
        snprintf(state->worst, sizeof state->worst, "%s%s output '%s': cosine %.8f is too low", state->label,
                 set, name, c->cosine);
    } else {
        tensor_format(got, left, sizeof left);
        tensor_format(expected, right, sizeof right);
        snprintf(state->worst, sizeof state->worst, "%s%s output '%s': got %s, expected %s", state->label,
                 set, name, left, right);
    }
}

/* Reduced precision is measured by the output's range, not element by element, where no tolerance is given.
 */
static bool is_near(const CheckOptions *o, const Comparison *c, const Tensor *got, const Tensor *expected) {
    bool floats = dtype_is_float(got->dtype) && dtype_is_float(expected->dtype);
    if (o->goal == 0 || o->rtol >= 0 || o->atol_text != NULL) return false;
    if (strcmp(c->reason, "values") != 0 && !(strcmp(c->reason, "dtype") == 0 && floats)) return false;
    return tensor_error(got, expected) <= o->goal;
}

static void report_comparison(CheckState *state, const char *set, int index, const Comparison *c) {
    ByteWriter *out = &state->report;
    write_format(out, "%s    {\"data\": ", out->size > 0 ? ",\n" : "");
    write_json_text(out, set);
    write_json_number(out, "variant", state->label[0] != '\0', (double)state->variant);
    write_format(out, ", \"output\": %d, \"passed\": %s", index, c->passed ? "true" : "false");
    write_json_number(out, "max_abs", isfinite(c->max_abs), c->max_abs);
    write_json_number(out, "cosine", isfinite(c->cosine), c->cosine);
    write_format(out, "}");
}

static Status compare_output(App *app, const CheckOptions *o, CheckState *state, const char *set,
                             const SmeltBinding *binding, int index, const Tensor *got,
                             const Tensor *expected) {
    double atol, rtol = o->rtol >= 0 ? o->rtol : 1e-3;
    TRY(output_atol(app, o->atol_text, index, &atol));
    Comparison c = tensor_compare(got, expected, rtol, atol, o->min_cosine);
    if (!c.passed && is_near(o, &c, got, expected)) c.passed = true;
    if (!c.passed) describe_failure(state, set, binding->name, &c, got, expected);
    if (!o->quiet)
        fprintf(stderr, "%s%s output '%s': %s, largest difference %.3g, cosine %.8f\n", state->label, set,
                binding->name, c.passed ? "ok" : c.reason, c.max_abs, c.cosine);
    report_comparison(state, set, index, &c);
    return STATUS_OK;
}

/* Inputs of a data set (NULL: random) and memory for the outputs. */
static Status run_set(App *app, const CheckOptions *o, Session *session, const char *folder,
                      Tensor **outputs) {
    Tensor *inputs = ARENA_ARRAY(&app->arena, Tensor, session->input_count);
    *outputs = ARENA_ARRAY(&app->arena, Tensor, session->binding_count - session->input_count);
    TRY_ALLOC(&app->diag, inputs);
    TRY_ALLOC(&app->diag, *outputs);
    if (folder != NULL)
        TRY(session_read_inputs(app, session, folder, inputs));
    else
        TRY(session_fill_random(app, session, (uint64_t)o->seed, (uint64_t)o->most, inputs));
    return session_run(app, session, inputs, *outputs);
}

static Status check_set(App *app, const CheckOptions *o, Session *session, const char *folder,
                        CheckState *state) {
    Tensor *outputs;
    int compared = 0;
    TRY(run_set(app, o, session, folder, &outputs));
    for (int i = 0; session->input_count + i < session->binding_count; ++i) {
        Tensor expected;
        const char *path = arena_printf(&app->arena, "%s/output_%d.pb", folder, i);
        if (path != NULL && !file_exists(path))
            path = arena_printf(&app->arena, "%s/output_%d.npy", folder, i);
        TRY_ALLOC(&app->diag, path);
        if (!file_exists(path)) continue;
        TRY(tensor_file_read(path, &app->arena, &expected, NULL, &app->diag));
        TRY(compare_output(app, o, state, folder, &session->bindings[session->input_count + i], i,
                           &outputs[i], &expected));
        compared++;
    }
    if (compared == 0 && session->binding_count > session->input_count)
        return FAIL(&app->diag, STATUS_BAD_DATA, "'%s' has no output_0.pb to compare with", folder);
    return STATUS_OK;
}

/* The same random inputs through the graph with every optional pass off, once for all variants. */
static Status run_plain(App *app, const CheckOptions *o, const char *path, CheckState *state) {
    CompileSettings plain = o->compile;
    plain.dump_dir = NULL;
    plain.target = "cpu";
    plain.gpu = plain.tactics = NULL;
    plain.disabled = (TextList){0};
    plain.precision = plain.io_precision = plain.calib = NULL;
    plain.keep_fp32 = plain.force_fp16 = (TextList){0};
    plain.max_error = 0;
    for (int32_t i = 0; i < pass_count(); ++i) {
        if (pass_at(i)->required) continue;
        if (!ARENA_RESERVE(&app->arena, plain.disabled.items, plain.disabled.count, plain.disabled.capacity))
            return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
        plain.disabled.items[plain.disabled.count++] = pass_at(i)->name;
    }
    TRY(session_open(app, path, &plain, &state->plain));
    return run_set(app, o, &state->plain, NULL, &state->expected);
}

static Status check_against_plain(App *app, const CheckOptions *o, const char *path, Session *session,
                                  CheckState *state) {
    Tensor *outputs;
    if (state->expected == NULL) TRY(run_plain(app, o, path, state));
    TRY(run_set(app, o, session, NULL, &outputs));
    for (int i = 0; session->input_count + i < session->binding_count; ++i)
        TRY(compare_output(app, o, state, "random", &session->bindings[session->input_count + i], i,
                           &outputs[i], &state->expected[i]));
    return STATUS_OK;
}

static Status write_report(App *app, const CheckOptions *o, const CheckState *state) {
    if (o->report == NULL) return STATUS_OK;
    ByteWriter text = byte_writer(&app->arena);
    write_format(&text, "{\n  \"passed\": %s,\n  \"outputs\": [\n", state->failed ? "false" : "true");
    write_bytes(&text, state->report.data, state->report.size);
    write_format(&text, "\n  ]\n}\n");
    if (text.failed) return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    return file_replace(o->report, text.data, text.size, &app->diag);
}

/* All data sets, or random inputs where there are none. */
static Status check_session(App *app, const CheckOptions *o, const char *path, Session *session,
                            CheckState *state) {
    TRY(check_atol(app, o, session->binding_count - session->input_count));
    if (o->data.count == 0) TRY(check_against_plain(app, o, path, session, state));
    for (int32_t i = 0; i < o->data.count; ++i) {
        Status status = check_set(app, o, session, o->data.items[i], state);
        diag_context(&app->diag, DIAG_FILE, "%s, %sdata %s", path, state->label, o->data.items[i]);
        TRY(status);
    }
    return STATUS_OK;
}

/* The session of the last variant stays until the next one is open, and with it the GPU. The first variant
 * that is wrong is the last one. */
static Status check_variants(App *app, const CheckOptions *o, const CompileSettings *compile,
                             const char *path, Session *session, CheckState *state) {
    CompileSettings settings = *compile;
    for (int64_t i = 0; i < o->variants && !state->failed; ++i) {
        Session next = {0};
        settings.variant = compile->variant + i;
        Status status = session_open(app, path, &settings, &next);
        session_close(app, session);
        *session = next;
        state->variant = settings.variant;
        if (o->variants > 1)
            snprintf(state->label, sizeof state->label, "variant %lld: ", (long long)state->variant);
        if (status == STATUS_OK) status = check_session(app, o, path, session, state);
        if (o->variants > 1)
            diag_context(&app->diag, DIAG_FILE, "%s, variant %lld", path, (long long)state->variant);
        TRY(status);
    }
    return STATUS_OK;
}

/* Everything asked for one model; *state tells how it went. */
static Status check_model(App *app, const CheckOptions *o, const char *path, Session *session,
                          CheckState *state) {
    *state = (CheckState){.report = byte_writer(&app->arena)};
    CompileSettings compile = o->compile;
    if (is_plan_path(path)) {
        compile.precision = NULL; /* it says how exact the outputs are to be */
        if (o->variants > 1)
            return FAIL(&app->diag, STATUS_USAGE,
                        "--kernel-variants is for models: the plan '%s' has been compiled", path);
        if (o->data.count == 0)
            return FAIL(&app->diag, STATUS_USAGE,
                        "a plan does not say what is right: give --data, or the model instead of '%s'", path);
    }
    Status status = check_variants(app, o, &compile, path, session, state);
    session_close(app, &state->plain);
    TRY(status);
    return write_report(app, o, state);
}

/* -- batches: many models in one process, which spares a GPU's start-up for each -- */

/* "MODEL<tab>DATA<tab>DATA...": cuts the line in place. */
static Status split_case(App *app, char *line, const char **model, TextList *data) {
    line[strcspn(line, "\n")] = '\0';
    *model = line;
    for (char *at = strchr(line, '\t'); at != NULL; at = strchr(at + 1, '\t')) {
        *at = '\0';
        if (!ARENA_RESERVE(&app->arena, data->items, data->count, data->capacity))
            return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
        data->items[data->count++] = at + 1;
    }
    return STATUS_OK;
}

static void answer(const App *app, Status status, const CheckState *state) {
    char text[DIAG_TEXT + 5 * DIAG_CONTEXT];
    if (status == STATUS_OK && state->failed)
        snprintf(text, sizeof text, "check: FAILED %s", state->worst);
    else if (status == STATUS_OK)
        snprintf(text, sizeof text, "check: passed");
    else
        diag_format(&app->diag, text, sizeof text);
    for (char *c = text; *c != '\0'; ++c)
        if (*c == '\n') *c = ' ';
    printf("%d\t%s\n",
           (int)(status == STATUS_OK && state->failed ? EXIT_CODE_MISMATCH : exit_code_of(status)), text);
    fflush(stdout);
}

/* Answers each line of standard input with a line: exit code, tab, message. The first session that opens
 * stays open, and with it the GPU. */
static Status check_batch(App *app, const CheckOptions *options) {
    static char line[65536];
    Session keeper = {0};
    while (fgets(line, sizeof line, stdin) != NULL) {
        App one = {.log = app->log};
        CheckOptions o = *options;
        CheckState state;
        Session session = {0};
        const char *model;
        bool keep = keeper.engine == NULL;
        App *user = keep ? app : &one; /* what the keeper needs lives as long as it */
        arena_init(&one.arena, &one.allocator);
        Status status = split_case(user, line, &model, &o.data);
        if (status == STATUS_OK) status = check_model(user, &o, model, &session, &state);
        answer(user, status, &state);
        diag_clear(&app->diag);
        if (keep && status == STATUS_OK)
            keeper = session;
        else
            session_close(user, &session);
        arena_reset(&one.arena);
    }
    session_close(app, &keeper);
    return STATUS_OK;
}

Status command_check(App *app, const Command *self, int argc, char **argv) {
    CheckOptions o = {.rtol = -1, .seed = 1, .most = RANDOM_INTEGER, .variants = 1};
    const Option table[] = {
        {"data", 0, OPTION_LIST, &o.data, "DIR",
         "a data set in ONNX's test layout (repeatable); without it: random inputs", 0, 0},
        {"rtol", 0, OPTION_REAL, &o.rtol, "R",
         "relative tolerance (1e-3; at reduced precision errors are measured by the output's range: 0.02)", 0,
         0},
        {"range-error", 0, OPTION_REAL, &o.range_error, "E",
         "instead of both: largest difference relative to the output's range, 0 included", 0, 0},
        {"atol", 0, OPTION_TEXT, &o.atol_text, "A[,A...]", "absolute tolerance, one or per output (1e-7)", 0,
         0},
        {"min-cosine", 0, OPTION_REAL, &o.min_cosine, "C", "least cosine of outputs (not asked for)", 0, 0},
        {"seed", 0, OPTION_INT, &o.seed, "N", "of the random inputs (1)", 0, INT64_MAX},
        {"largest-integer", 0, OPTION_INT, &o.most, "N", "of random integer inputs, which begin at 0 (7)", 0,
         INT32_MAX},
        {"report", 0, OPTION_TEXT, &o.report, "F.json", "writes every comparison", 0, 0},
        {"quiet", 'q', OPTION_FLAG, &o.quiet, NULL, "only the last line", 0, 0},
        {"batch", 0, OPTION_FLAG, &o.batch, NULL,
         "many models: lines MODEL<tab>DATA... on standard input, each answered with exit code and message",
         0, 0},
        COMPILE_OPTIONS(o.compile),
        {"kernel-variants", 0, OPTION_INT, &o.variants, "N",
         "so many variants one after the other, from --kernel-variant on, until one is wrong (1; for tests)",
         1, 1000000},
    };
    TextList models = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &models, 0, 1, &done));
    if (done) return STATUS_OK;
    PrecisionChoice choice;
    TRY(precision_choose(app, &o.compile, &choice));
    o.goal = choice.max_error > 0 ? choice.max_error : choice.goal;
    if (o.range_error > 0) o.goal = o.range_error;
    if (o.range_error > 0 && (o.rtol >= 0 || o.atol_text != NULL))
        return FAIL(&app->diag, STATUS_USAGE,
                    "--range-error takes the place of --rtol and --atol: give one or the other");
    if (o.batch != (models.count == 0))
        return FAIL(&app->diag, STATUS_USAGE, "check takes one model, or --batch and none");
    if (o.report != NULL) TRY(file_can_replace(o.report, &app->diag));
    if (o.batch) return check_batch(app, &o);
    Session session = {0};
    CheckState state;
    Status status = check_model(app, &o, models.items[0], &session, &state);
    session_close(app, &session);
    if (status != STATUS_OK) return status;
    if (state.failed)
        printf("check: FAILED %s\n", state.worst);
    else
        printf("check: passed\n");
    return state.failed ? STATUS_MISMATCH : STATUS_OK;
}
