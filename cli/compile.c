#include "cli/compile.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/tensor.h"
#include "cli/precision.h"
#include "cli/target.h"
#include "cli/tune.h"
#include "passes/history.h"
#include "plan_format/layout.h"

enum { WILDCARD_DIM = -1 };

/* "1x3x?x224" into dims; "scalar" is rank 0. */
static Status parse_dims(App *app, const char *option, const char *text, const char *end, int32_t *rank,
                         int64_t *dims) {
    *rank = 0;
    if ((size_t)(end - text) == strlen("scalar") && strncmp(text, "scalar", strlen("scalar")) == 0)
        return STATUS_OK;
    for (const char *at = text;;) {
        if (*rank == SMELT_MAX_RANK)
            return FAIL(&app->diag, STATUS_USAGE, "%s '%s': more than %d dimensions", option, text,
                        (int)SMELT_MAX_RANK);
        char *stop = NULL;
        if (*at == '?') {
            dims[(*rank)++] = WILDCARD_DIM;
            at++;
        } else {
            long long value = strtoll(at, &stop, 10);
            if (stop == at || value < 0)
                return FAIL(&app->diag, STATUS_USAGE, "%s '%s': expected dimensions such as 1x3x224x224",
                            option, text);
            dims[(*rank)++] = value;
            at = stop;
        }
        if (at == end) return STATUS_OK;
        if (*at != 'x')
            return FAIL(&app->diag, STATUS_USAGE, "%s '%s': expected 'x' between dimensions", option, text);
        at++;
    }
}

/* The shape given for an input so far, or a new entry where every dimension is open. */
static Status find_shape(App *app, const char *option, const char *text, InputShape *shapes, int32_t *count,
                         InputShape **out, const char **dims) {
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text)
        return FAIL(&app->diag, STATUS_USAGE, "%s '%s': expected NAME:DIMENSIONS", option, text);
    const char *name = arena_strndup(&app->arena, text, (size_t)(colon - text));
    TRY_ALLOC(&app->diag, name);
    for (int32_t i = 0; i < *count; ++i)
        if (strcmp(shapes[i].name, name) == 0)
            return FAIL(&app->diag, STATUS_USAGE, "input '%s' has two shapes on the command line", name);
    *out = &shapes[(*count)++];
    **out = (InputShape){.name = name};
    *dims = colon + 1;
    return STATUS_OK;
}

static Status add_fixed_shape(App *app, const char *text, InputShape *shapes, int32_t *count) {
    InputShape *shape;
    const char *dims;
    TRY(find_shape(app, "--shape", text, shapes, count, &shape, &dims));
    return parse_dims(app, "--shape", dims, dims + strlen(dims), &shape->rank, shape->dim);
}

static Status add_profile(App *app, const char *text, InputShape *shapes, int32_t *count) {
    InputShape *shape;
    const char *at;
    TRY(find_shape(app, "--profile-shape", text, shapes, count, &shape, &at));
    int64_t parts[3][SMELT_MAX_RANK];
    int32_t ranks[3];
    for (int i = 0; i < 3; ++i) {
        const char *end = i < 2 ? strchr(at, ',') : at + strlen(at);
        if (end == NULL)
            return FAIL(&app->diag, STATUS_USAGE, "--profile-shape '%s': expected NAME:MIN,OPT,MAX", text);
        TRY(parse_dims(app, "--profile-shape", at, end, &ranks[i], parts[i]));
        at = end + 1;
    }
    if (ranks[0] != ranks[1] || ranks[1] != ranks[2])
        return FAIL(&app->diag, STATUS_USAGE, "--profile-shape '%s': the three shapes have different ranks",
                    text);
    shape->rank = ranks[0];
    for (int32_t i = 0; i < shape->rank; ++i) {
        int64_t low = parts[0][i], opt = parts[1][i], high = parts[2][i];
        if (low < 0 || low > opt || opt > high)
            return FAIL(&app->diag, STATUS_USAGE,
                        "--profile-shape '%s': dimension %d is not MIN <= OPT <= MAX", text, i);
        shape->dim[i] = low == high ? low : WILDCARD_DIM;
        shape->min[i] = low;
        shape->opt[i] = opt;
        shape->max[i] = high;
    }
    return STATUS_OK;
}

static Status input_shapes(App *app, const CompileSettings *settings, InputShape **shapes, int32_t *count) {
    *count = 0;
    *shapes = ARENA_ARRAY(&app->arena, InputShape, settings->shapes.count + settings->profiles.count);
    TRY_ALLOC(&app->diag, *shapes);
    for (int32_t i = 0; i < settings->shapes.count; ++i)
        TRY(add_fixed_shape(app, settings->shapes.items[i], *shapes, count));
    for (int32_t i = 0; i < settings->profiles.count; ++i)
        TRY(add_profile(app, settings->profiles.items[i], *shapes, count));
    return STATUS_OK;
}

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

static Status load_ir(App *app, const char *path, const CompileSettings *settings, Compiled *out) {
    if (settings->shapes.count > 0 || settings->profiles.count > 0)
        return FAIL(&app->diag, STATUS_USAGE,
                    "--shape and --profile-shape are for ONNX models: '%s' states its symbols itself", path);
    TRY(file_map(path, &out->text, &app->diag));
    const char *folder = path_folder(&app->arena, path);
    TRY_ALLOC(&app->diag, folder);
    return graph_parse((const char *)out->text.data, out->text.size, path, folder, &out->arena, &out->graph,
                       &app->diag);
}

static Status load_graph(App *app, const char *path, const CompileSettings *settings, Compiled *out) {
    if (ends_with(path, ".ir")) return load_ir(app, path, settings, out);
    if (settings->from != NULL) {
        diag_hint(&app->diag, "--dump-dir writes such files");
        return FAIL(&app->diag, STATUS_USAGE, "--from continues from an .ir file, got '%s'", path);
    }
    ImportOptions options = {.log = &app->log};
    InputShape *shapes;
    TRY(input_shapes(app, settings, &shapes, &options.shape_count));
    options.shapes = shapes;
    TRY(model_import(path, &options, &app->allocator, &out->model, &app->diag));
    out->graph = out->model.graph;
    return STATUS_OK;
}

bool is_plan_path(const char *path) {
    return ends_with(path, ".plan") || file_begins_with(path, plan_magic, sizeof plan_magic);
}

Status compile_is_done(App *app, const CompileSettings *s, const char *path) {
    const struct Given {
        const char *option;
        bool given;
    } options[] = {{"target", s->target != NULL},
                   {"gpu", s->gpu != NULL},
                   {"precision", s->precision != NULL},
                   {"keep-fp32", s->keep_fp32.count > 0},
                   {"force-fp16", s->force_fp16.count > 0},
                   {"io-precision", s->io_precision != NULL},
                   {"calib", s->calib != NULL},
                   {"max-error", s->max_error > 0},
                   {"shape", s->shapes.count > 0},
                   {"profile-shape", s->profiles.count > 0},
                   {"disable-pass", s->disabled.count > 0},
                   {"plugin-pass", s->plugins.count > 0},
                   {"dump-dir", s->dump_dir != NULL},
                   {"tune", s->tune != NULL},
                   {"tactics", s->tactics != NULL},
                   {"timing-cache", s->timing_cache != NULL},
                   {"kernel-variant", s->variant > 0}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; ++i)
        if (options[i].given)
            return FAIL(&app->diag, STATUS_USAGE, "--%s is for models: the plan '%s' has been compiled",
                        options[i].option, path);
    return STATUS_OK;
}

Status compile_load(App *app, const char *path, const CompileSettings *settings, Compiled *out) {
    *out = (Compiled){0};
    arena_init(&out->arena, &app->allocator);
    out->precision = ARENA_NEW(&app->arena, PrecisionChoice);
    TRY_ALLOC(&app->diag, out->precision);
    TRY(precision_choose(app, settings, out->precision));
    TRY(load_graph(app, path, settings, out));
    return precision_samples(app, out->graph, out->precision);
}

static void show_pass(void *user, const char *pass, int32_t index, int32_t count) {
    progress_step(user, pass, index, count);
}

static void show_kernel(void *user, int32_t done, int32_t total) {
    progress_step(user, "", done, total);
}

/* What the command line and the target say to the pipeline. */
static BuildSettings build_settings(App *app, const CompileSettings *settings, const Compiled *compiled,
                                    Progress *progress) {
    return (BuildSettings){.cuda = compiled->target.cuda,
                           .devices = compiled->target.devices,
                           .tactics = settings->tactics,
                           .variant = (int32_t)settings->variant,
                           .passes = {.dump_dir = settings->dump_dir,
                                      .stop_after = settings->stop_after,
                                      .start_from = settings->from,
                                      .disabled = settings->disabled.items,
                                      .disabled_count = settings->disabled.count,
                                      .extra = compiled->plugins.passes,
                                      .extra_count = compiled->plugins.pass_count,
                                      .history = settings->history,
                                      .precision = &compiled->precision->options,
                                      .log = &app->log,
                                      .progress = show_pass,
                                      .user = progress},
                           .model_hash = compiled->model.hash,
                           .untimed = settings->reproducible,
                           .jit = {.cache_folder = settings->cache_dir,
                                   .dump_folder = settings->dump_dir,
                                   .threads = (int)settings->threads,
                                   .log = &app->log,
                                   .progress = show_kernel,
                                   .progress_user = progress},
                           .log = &app->log};
}

Status compile_passes(App *app, const CompileSettings *settings, Compiled *compiled) {
    Progress progress;
    Tuning *tuning = compiled->target.tuning;
    BuildSettings build = build_settings(app, settings, compiled, &progress);
    if (tuning != NULL) {
        build.timings = tuning->cache;
        tuning->target = &compiled->target; /* the one that it was opened for may be gone */
    }
    if (tuning != NULL && tuning->tunes) build.timer = &tuning->timer;
    compiled->plugins.arena = &compiled->arena;
    for (int32_t i = 0; i < settings->plugins.count; ++i)
        TRY(plugin_load(&compiled->plugins, settings->plugins.items[i], &app->diag));
    build.passes.extra = compiled->plugins.passes;
    build.passes.extra_count = compiled->plugins.pass_count;
    TRY(thread_pool_create((int)settings->threads, &app->allocator, &build.passes.pool, &app->diag));
    progress_begin(&progress, "passes");
    Status status = build_passes(compiled->graph, &build, &compiled->passes, &app->diag);
    progress_end(&progress);
    thread_pool_destroy(build.passes.pool);
    compiled->stopped = settings->stop_after != NULL;
    return status == STATUS_OK && tuning != NULL ? tuning->status : status;
}

Status compile_memory(App *app, const CompileSettings *settings, Compiled *compiled) {
    BuildSettings build = build_settings(app, settings, compiled, NULL);
    build.passes = (PassOptions){.start_from = "plan_memory", .stop_after = "plan_memory"};
    return build_passes(compiled->graph, &build, NULL, &app->diag);
}

static Status lower(App *app, const CompileSettings *settings, const Accuracy *accuracy, Compiled *out) {
    Progress progress;
    BuildSettings build = build_settings(app, settings, out, &progress);
    if (out->target.cuda) TRY(tune_for_build(&out->target, out->graph, &out->timings));
    build.timings = out->timings;
    TRY(precision_facts(app, out->precision, out, accuracy, &build));
    progress_begin(&progress, "kernels");
    Status status = build_lower(out->graph, &build, &out->arena, &out->plan, &app->diag);
    progress_end(&progress);
    return status;
}

/* Up to the graph that is to be lowered, and how exact it is. */
static Status prepare(App *app, const char *path, const CompileSettings *settings, const Target *target,
                      int attempt, Accuracy *accuracy, Compiled *out) {
    TRY(compile_load(app, path, settings, out));
    out->target = *target;
    out->precision->options.tolerance = precision_tolerance(out->precision, attempt);
    TRY(compile_passes(app, settings, out));
    if (out->stopped || !out->precision->options.lower) return STATUS_OK;
    return precision_compare(app, path, settings, out->precision, out, accuracy);
}

/* Less and less may be lost in any node, until the outputs are exact enough. */
static Status prepare_exact(App *app, const char *path, const CompileSettings *settings, const Target *target,
                            Accuracy *accuracy, Compiled *out) {
    for (int attempt = 0;; ++attempt) {
        *accuracy = (Accuracy){0};
        if (settings->history != NULL) history_clear(settings->history);
        TRY(prepare(app, path, settings, target, attempt, accuracy, out));
        if (!precision_should_retry(app, out->precision, out, accuracy, attempt))
            return precision_enforce(app, out->precision, accuracy);
        compiled_destroy(out);
    }
}

Status compile_infer(Graph *graph, Diag *diag) {
    const PassOptions options = {.stop_after = "infer_shapes"};
    return passes_run(graph, &options, NULL, diag);
}

static Status compile_passed(App *app, const char *path, const CompileSettings *settings, Accuracy *accuracy,
                             Compiled *out) {
    Target target;
    *out = (Compiled){0};
    TRY(tune_check(app, settings));
    TRY(target_choose(app, settings, &target));
    TRY(tune_open(app, settings, &target));
    if (!target.cuda && settings->timing_cache != NULL)
        log_line(&app->log, LOG_WARNING, "--timing-cache is not read: the target is the CPU");
    Status status = prepare_exact(app, path, settings, &target, accuracy, out);
    diag_context(&app->diag, DIAG_FILE, "%s", path);
    return status;
}

Status compile_graph(App *app, const char *path, const CompileSettings *settings, Compiled *out) {
    Accuracy accuracy;
    return compile_passed(app, path, settings, &accuracy, out);
}

Status compile_model(App *app, const char *path, const CompileSettings *settings, Compiled *out) {
    Accuracy accuracy;
    TRY(compile_passed(app, path, settings, &accuracy, out));
    if (out->stopped) return STATUS_OK;
    precision_report(app, out->precision, out, &accuracy);
    Status status = lower(app, settings, &accuracy, out);
    diag_context(&app->diag, DIAG_FILE, "%s", path);
    return status;
}

void compiled_destroy(Compiled *compiled) {
    plugins_close(&compiled->plugins);
    model_destroy(&compiled->model);
    arena_reset(&compiled->arena);
    file_unmap(&compiled->text);
    compiled->graph = NULL;
}
