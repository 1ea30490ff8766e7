#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/compile.h"

typedef struct BuildOptions {
    CompileSettings compile;
    const char *output;
    bool verbose;
} BuildOptions;

static void report_build(const BuildOptions *options, const Compiled *compiled, double seconds) {
    const Plan *plan = &compiled->plan;
    fprintf(stderr, "%s: %d steps, %d operators, weights %s, arena %s (lower bound %s)%s, %.2f s\n",
            options->output, plan->step_count, plan->op_count, byte_text((double)plan->weights_size).text,
            byte_text((double)plan->arena_size).text, byte_text((double)plan->arena_lower_bound).text,
            plan->fixed ? "" : " at the profile's shapes", seconds);
}

static Status check_output(App *app, const char *model, const char *output) {
    if (output == NULL) return STATUS_OK;
    if (file_is_same(model, output))
        return FAIL(&app->diag, STATUS_USAGE, "-o '%s' is the model itself", output);
    return file_can_replace(output, &app->diag);
}

static Status check_reproducible(App *app, const CompileSettings *settings) {
    if (!settings->reproducible || settings->tune == NULL || strcmp(settings->tune, "off") == 0)
        return STATUS_OK;
    diag_hint(&app->diag, "--timing-cache=FILE chooses by times that were measured before");
    return FAIL(&app->diag, STATUS_USAGE,
                "--reproducible and --tune=%s contradict each other: no two measurements are the same",
                settings->tune);
}

Status command_build(App *app, const Command *self, int argc, char **argv) {
    BuildOptions o = {0};
    const Option table[] = {
        {"output", 'o', OPTION_TEXT, &o.output, "FILE",
         "where the plan goes; an old file stays whole until the new one is", 0, 0},
        COMPILE_OPTIONS(o.compile),
        {"stop-after", 0, OPTION_TEXT, &o.compile.stop_after, "PASS",
         "ends after a pass, without a plan (with --dump-dir)", 0, 0},
        {"from", 0, OPTION_TEXT, &o.compile.from, "PASS", "begins at a pass; MODEL is a dumped .ir file", 0,
         0},
        {"reproducible", 0, OPTION_FLAG, &o.compile.reproducible, NULL,
         "same input, same bytes: measures nothing and uses no times but those of a named --timing-cache", 0,
         0},
        {"verbose", 'v', OPTION_FLAG, &o.verbose, NULL, "says what each pass did", 0, 0},
    };
    TextList models = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &models, 1, 1, &done));
    if (done) return STATUS_OK;
    if (o.output == NULL && o.compile.stop_after == NULL)
        return FAIL(&app->diag, STATUS_USAGE, "build needs -o FILE");
    if (o.compile.stop_after != NULL && text_list_has(&o.compile.disabled, o.compile.stop_after))
        return FAIL(&app->diag, STATUS_USAGE, "--stop-after and --disable-pass both name '%s'",
                    o.compile.stop_after);
    TRY(check_output(app, models.items[0], o.output));
    if (o.output != NULL && o.compile.stop_after != NULL)
        log_line(&app->log, LOG_WARNING,
                 "%s is not written: --stop-after=%s ends without a plan; --dump-dir writes the graphs",
                 o.output, o.compile.stop_after);
    if (o.verbose && app->log.level < LOG_PASS) app->log.level = LOG_PASS;
    TRY(check_reproducible(app, &o.compile));
    if (o.compile.tune == NULL) o.compile.tune = o.compile.reproducible ? "off" : "quick";
    double start = clock_seconds();
    Compiled compiled;
    Status status = compile_model(app, models.items[0], &o.compile, &compiled);
    if (status == STATUS_OK && !compiled.stopped) status = plan_write(&compiled.plan, o.output, &app->diag);
    if (status == STATUS_OK && !compiled.stopped) report_build(&o, &compiled, clock_seconds() - start);
    compiled_destroy(&compiled);
    return status;
}
