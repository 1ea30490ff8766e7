#include "cli/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/samples.h"
#include "ir/cost.h"
#include "kernels/arch.h"
#include "kernels/choice.h"
#include "kernels/extract.h"
#include "kernels/jit_cache.h"
#include "kernels/lower.h"
#include "runtime/smelt_runtime.h"

/* A candidate is timed in a plan that runs the problem alone, many times over in one CUDA graph, with its
 * operands in the cache, as a step in front would leave them; what the plan does besides is timed without the
 * candidate and taken off. */
enum {
    REPEATS = 24,
    WARM_RUNS = 3,
    TIMED_RUNS = 5,
    MOST_CANDIDATES = 64,
    MOST_INTEGER = 1,     /* of integer inputs, which may be indices */
    HOST_MACS = 200000000 /* above which the reference is a plain kernel on the GPU */
};
static const double half_error = 2e-2, float_error = 1e-3; /* relative to the reference's largest element */

typedef struct Candidates {
    Problem problem;
    int32_t count;
    Choice choices[MOST_CANDIDATES];
} Candidates;

typedef struct Tuner {
    App *app;
    const CompileSettings *settings;
    const TuneOptions *options;
    Graph *graph;
    UseTable uses;
    const Device *device;
    Arena arena; /* of problems */
    int32_t problem_count, problem_capacity;
    Candidates *problems;
    NameMap known; /* problem -> 0 */
    int32_t timed, failed;
} Tuner;

/* -- which GPU -- */

Status tune_gpu_name(App *app, const CompileSettings *settings, const char **out) {
    SmeltDevice device;
    SmeltError error;
    if (smelt_device((int)settings->device, &device, &error) != SMELT_OK)
        return FAIL(&app->diag, STATUS_WRONG_DEVICE, "tuning needs a GPU: %.*s",
                    (int)strcspn(error.message, "\n"), error.message);
    *out = arena_printf(&app->arena, "%s sm_%d driver %d.%d", device.name, device.compute_capability,
                        device.driver_version / 1000, device.driver_version % 1000 / 10);
    TRY_ALLOC(&app->diag, *out);
    return STATUS_OK;
}

/* ~/.cache/smelt/timings/NVIDIA_H200_sm_90_driver_13.0.txt; NULL: there is no such folder. */
static const char *default_path(App *app, const CompileSettings *settings, const char *gpu) {
    const char *folder = cache_folder(settings->cache_dir, "timings", &app->arena);
    char *name = arena_printf(&app->arena, "%s.txt", gpu);
    if (folder == NULL || name == NULL) return NULL;
    for (char *c = name; *c != '\0'; ++c)
        if (strchr(" /", *c) != NULL) *c = '_';
    return path_join(&app->arena, folder, name);
}

/* The default cache that is damaged, or of another GPU or version, is left aside as a whole. */
static Status open_default(App *app, const char *path, const char *gpu, TimingCache **out) {
    Diag damaged = {0};
    TimingCache *found = NULL;
    *out = timing_cache_create(&app->arena, gpu);
    TRY_ALLOC(&app->diag, *out);
    if (path == NULL || !file_exists(path)) return STATUS_OK;
    if (timing_cache_read(path, &app->arena, &found, &damaged) == STATUS_OK && strcmp(found->gpu, gpu) == 0)
        *out = found;
    else
        log_line(&app->log, LOG_WARNING, "the timing cache %s is left aside: %s", path,
                 damaged.text[0] != '\0' ? damaged.text : "it is of another GPU");
    return STATUS_OK;
}

/* gpu NULL: any that is of the target's architecture. tunes: what is not there yet is begun. */
static Status open_named(App *app, const char *path, const Target *target, const char *gpu, bool tunes,
                         TimingCache **out) {
    *out = NULL;
    if (tunes && !file_exists(path)) {
        *out = timing_cache_create(&app->arena, gpu);
        TRY_ALLOC(&app->diag, *out);
        return STATUS_OK;
    }
    TRY(timing_cache_read(path, &app->arena, out, &app->diag));
    const Device *device = target->devices.at[0];
    const char *arch = arena_printf(&app->arena, " sm_%d ", device->sm);
    TRY_ALLOC(&app->diag, arch);
    /* What stands for an architecture takes times of all its GPUs. */
    bool stands = strcmp(device->name, arch_find(device->arch)->name) == 0;
    bool is_of = stands || strncmp((*out)->gpu, device->gpu, strlen(device->gpu)) == 0;
    if (gpu != NULL ? strcmp((*out)->gpu, gpu) == 0 : is_of && strstr((*out)->gpu, arch) != NULL)
        return STATUS_OK;
    return FAIL(&app->diag, STATUS_BAD_DATA, "%s: times of '%s' are no use for '%s'", path, (*out)->gpu,
                gpu != NULL ? gpu
                : stands    ? device->arch
                            : device->gpu);
}

/* The target is the GPU that is here, and nothing else. */
static bool is_native(App *app, const CompileSettings *settings, const Target *target, const char **gpu) {
    SmeltDevice device;
    SmeltError error;
    const Device *wanted = target->devices.at[0];
    *gpu = NULL;
    if (target->devices.count != 1 || smelt_device((int)settings->device, &device, &error) != SMELT_OK)
        return false;
    /* What is for the architecture as such is for this one too; what is for another GPU of it is not. */
    const Device *arch = arch_for_sm(device.compute_capability);
    if (arch == NULL || strcmp(arch->arch, wanted->arch) != 0) return false;
    if (strcmp(wanted->name, arch->name) != 0 && strcmp(wanted->gpu, device.name) != 0) return false;
    return tune_gpu_name(app, settings, gpu) == STATUS_OK;
}

static Status read_effort(App *app, const char *effort, int32_t *candidates) {
    static const struct Effort {
        const char *name;
        int32_t candidates;
    } efforts[] = {{"off", 0}, {"quick", 8}, {"full", MOST_CANDIDATES}};
    for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; ++i) {
        if (strcmp(effort, efforts[i].name) != 0) continue;
        *candidates = efforts[i].candidates;
        return STATUS_OK;
    }
    return FAIL(&app->diag, STATUS_USAGE, "--tune is '%s', expected quick, full or off", effort);
}

Status tune_check(App *app, const CompileSettings *settings) {
    int32_t candidates;
    return settings->tune != NULL ? read_effort(app, settings->tune, &candidates) : STATUS_OK;
}

static Status tune_with(App *app, const CompileSettings *settings, const Target *target, Graph *graph,
                        TuneOptions options, const TimingCache **out) {
    TimingCache *cache = NULL;
    const char *gpu, *path = settings->timing_cache;
    TRY(read_effort(app, settings->tune != NULL ? settings->tune : "off", &options.candidates));
    /* What is reproducible is so on every machine, whichever GPU is there. */
    bool native = !settings->reproducible && is_native(app, settings, target, &gpu);
    bool tunes = native && options.candidates > 0 && settings->variant == 0;
    if (path != NULL)
        TRY(open_named(app, path, target, native ? gpu : NULL, tunes, &cache));
    else if (native)
        TRY(open_default(app, path = default_path(app, settings, gpu), gpu, &cache));
    *out = cache;
    if (!tunes) return STATUS_OK;
    options.path = path;
    options.cache = cache;
    return tune_graph(app, settings, target, graph, &options);
}

Status tune_for_build(App *app, const CompileSettings *settings, const Target *target, Graph *graph,
                      const TimingCache **out) {
    return tune_with(app, settings, target, graph, (TuneOptions){0}, out);
}

Status tune_every(App *app, const CompileSettings *settings, const Target *target, Graph *graph,
                  const char *filter, const TimingCache **out) {
    return tune_with(app, settings, target, graph, (TuneOptions){.every = true, .filter = filter}, out);
}

/* -- problems -- */

/* Problems that are not worth a choice, or have one. */
static bool is_left_out(const Tuner *t, const Problem *problem) {
    const TuneOptions *options = t->options;
    if (t->graph->nodes[problem->nodes[0]].op == OP_Reformat || name_map_find(&t->known, problem->key) >= 0)
        return true;
    if (options->every) return options->filter != NULL && strstr(problem->key, options->filter) == NULL;
    return problem->anchor == NONE || timing_cache_knows(options->cache, problem->key);
}

/* Those that the cache has no time of. */
static void drop_timed(const Tuner *t, Candidates *found) {
    int32_t kept = 0;
    for (int32_t i = 0; i < found->count; ++i) {
        const Choice *choice = &found->choices[i];
        if (timing_cache_find(t->options->cache, found->problem.key, choice->tactic, &choice->config) == NULL)
            found->choices[kept++] = *choice;
    }
    found->count = kept;
}

static Status add_problem(Tuner *t, const NodeId *nodes, int32_t count) {
    Diag *diag = &t->app->diag;
    Candidates found = {0};
    TRY(problem_create(t->graph, &t->uses, nodes, count, &t->arena, &found.problem, diag));
    if (is_left_out(t, &found.problem)) return STATUS_OK;
    if (!name_map_set(&t->known, &t->arena, found.problem.key, 0))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    int32_t most = t->options->candidates < MOST_CANDIDATES ? t->options->candidates : MOST_CANDIDATES;
    int32_t total = choices_rank(&found.problem, t->device, found.choices, most);
    found.count = total < most ? total : most;
    if (t->options->every) drop_timed(t, &found);
    if (found.count == 0 || (total < 2 && !t->options->every)) return STATUS_OK;
    if (!ARENA_RESERVE(&t->arena, t->problems, t->problem_count, t->problem_capacity))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    t->problems[t->problem_count++] = found;
    return STATUS_OK;
}

static Status find_problems(Tuner *t) {
    const Block *block = &t->graph->blocks[MAIN_BLOCK];
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        end = step_end(t->graph, block, first);
        TRY(add_problem(t, block->nodes + first, end - first));
    }
    return STATUS_OK;
}

/* -- plans of one problem -- */

/* trial NULL: for the host. */
static Status make_plan(const Tuner *t, const Problem *problem, const LowerTrial *trial, Arena *arena,
                        Plan *plan, Diag *diag) {
    Graph *graph;
    TRY(problem_extract(problem, arena, &graph, diag));
    const PassOptions passes = {.start_from = "plan_memory", .strided = trial != NULL};
    TRY(passes_run(graph, &passes, NULL, diag));
    const LowerOptions host = {.target = "cpu"};
    if (trial == NULL) return lower_to_host(graph, &host, arena, plan, diag);
    const LowerCudaOptions cuda = {.base = {.target = "cuda"},
                                   .devices = {1, {t->device}},
                                   .trial = trial,
                                   .jit = {.cache_folder = t->settings->cache_dir, .threads = 1}};
    return lower_to_cuda(graph, &cuda, arena, plan, diag);
}

/* A plan that is loaded, with inputs to run it on. */
typedef struct Trial {
    Arena arena;
    void *bytes;
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltError error;
} Trial;

static void trial_close(Trial *trial) {
    smelt_context_destroy(trial->context);
    smelt_engine_destroy(trial->engine);
    free(trial->bytes);
    arena_reset(&trial->arena);
}

static bool trial_open(Tuner *t, const Problem *problem, const LowerTrial *how, Trial *trial, Diag *diag) {
    Plan plan;
    *trial = (Trial){.arena = {.allocator = &t->app->allocator}};
    if (make_plan(t, problem, how, &trial->arena, &plan, diag) != STATUS_OK) return false;
    ByteWriter bytes = byte_writer(&trial->arena);
    if (plan_write_bytes(&plan, &bytes, diag) != STATUS_OK) return false;
    trial->bytes = aligned_alloc(64, (bytes.size + 63) / 64 * 64);
    if (trial->bytes == NULL) return false;
    memcpy(trial->bytes, bytes.data, bytes.size);
    const SmeltEngineOptions options = {.device = (int)t->settings->device};
    return smelt_engine_load_memory(trial->bytes, bytes.size, &options, &trial->engine, &trial->error) ==
               SMELT_OK &&
           smelt_context_create(trial->engine, NULL, &trial->context, &trial->error) == SMELT_OK;
}

/* Seeded random inputs, the same for each candidate of a problem; in the trial's arena. */
static bool fill_inputs(Trial *trial, void ***buffers) {
    int count = smelt_engine_binding_count(trial->engine);
    uint64_t state = 1;
    *buffers = ARENA_ARRAY(&trial->arena, void *, count);
    if (*buffers == NULL) return false;
    Diag diag = {0};
    bool filled = true;
    for (int i = 0; i < count && filled; ++i) {
        SmeltBinding binding;
        Tensor tensor;
        filled = smelt_engine_binding(trial->engine, i, &binding, &trial->error) == SMELT_OK;
        if (!filled || binding.is_output) continue;
        filled = sample_random((DType)binding.dtype, binding.rank, binding.dims, MOST_INTEGER, &state,
                               &trial->arena, &tensor, &diag) == STATUS_OK;
        if (filled) (*buffers)[i] = tensor.data;
    }
    return filled;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median microseconds of the work on the GPU; negative: it failed. */
static double trial_time(Trial *trial, void *const *buffers) {
    double times[TIMED_RUNS];
    if (smelt_context_timing(trial->context, 1, &trial->error) != SMELT_OK) return -1;
    for (int i = 0; i < WARM_RUNS + TIMED_RUNS; ++i) {
        SmeltRunTimes run;
        if (smelt_context_run(trial->context, buffers, NULL, &trial->error) != SMELT_OK ||
            smelt_context_run_times(trial->context, &run, &trial->error) != SMELT_OK)
            return -1;
        if (i >= WARM_RUNS) times[i - WARM_RUNS] = run.compute;
    }
    qsort(times, TIMED_RUNS, sizeof *times, compare_doubles);
    return times[TIMED_RUNS / 2];
}

/* -- numbers -- */

/* The largest difference between results, relative to the reference's largest element and to what its type
 * allows; above 1 they are not the same. */
static double results_differ(const Trial *reference, const Trial *trial) {
    double worst = 0;
    int count = smelt_engine_binding_count(reference->engine);
    for (int i = 0; i < count; ++i) {
        SmeltBinding binding;
        const void *expected, *got;
        size_t size, got_size;
        SmeltError error;
        if (smelt_engine_binding(reference->engine, i, &binding, &error) != SMELT_OK) return HUGE_VAL;
        if (!binding.is_output) continue;
        if (smelt_context_output(reference->context, i, &expected, &size, &error) != SMELT_OK ||
            smelt_context_output(trial->context, i, &got, &got_size, &error) != SMELT_OK || size != got_size)
            return HUGE_VAL;
        double range = 0, difference = 0;
        int bits = dtype_bits((DType)binding.dtype);
        for (int64_t e = 0; e < (int64_t)(size * 8 / (size_t)bits); ++e) {
            double x = dtype_load_f64((DType)binding.dtype, expected, e);
            double y = dtype_load_f64((DType)binding.dtype, got, e);
            if (isnan(x) != isnan(y)) return HUGE_VAL;
            if (!isfinite(x) || !isfinite(y)) continue;
            range = fmax(range, fabs(x));
            difference = fmax(difference, fabs(x - y));
        }
        double allowed = (bits < 32 ? half_error : float_error) * range;
        if (difference > 0) worst = fmax(worst, allowed > 0 ? difference / allowed : HUGE_VAL);
    }
    return worst;
}

/* The host kernels; for large problems the first candidate without a cost model, whose plain kernels are
 * tested against those. */
static bool open_reference(Tuner *t, const Candidates *c, Trial *out, void ***buffers, Diag *diag) {
    int64_t macs = 0;
    for (int32_t i = 0; i < c->problem.node_count; ++i) macs += node_macs(t->graph, c->problem.nodes[i]);
    LowerTrial plain = {.repeats = 1};
    Choice all[4 * MOST_CANDIDATES];
    int32_t count = choices_rank(&c->problem, t->device, all, 4 * MOST_CANDIDATES);
    for (int32_t i = 0; i < count && i < 4 * MOST_CANDIDATES && plain.choice.tactic == NULL; ++i)
        if (all[i].source == CHOICE_PREFERRED) plain.choice = all[i];
    bool on_host = macs <= HOST_MACS || plain.choice.tactic == NULL;
    return trial_open(t, &c->problem, on_host ? NULL : &plain, out, diag) && fill_inputs(out, buffers) &&
           smelt_context_run(out->context, *buffers, NULL, &out->error) == SMELT_OK;
}

/* -- timing -- */

static void report_failure(Tuner *t, const Candidates *c, const Choice *choice, const char *why) {
    Arena arena = {.allocator = &t->app->allocator};
    const char *text = choice_text(choice, &arena);
    log_line(&t->app->log, LOG_INFO, "left out of the search: %s for %s: %.200s",
             text != NULL ? text : choice->tactic->name, c->problem.key, why);
    t->failed++;
    arena_reset(&arena);
}

/* Microseconds of a plan with so many repeats of the choice; negative: it failed, for the reason in *why. */
static double time_repeats(Tuner *t, const Candidates *c, const Choice *choice, int32_t repeats,
                           const Trial *reference, void *const *buffers, const char **why) {
    const LowerTrial how = {.choice = *choice, .repeats = repeats};
    Trial trial;
    Diag diag = {0};
    double time = -1;
    if (trial_open(t, &c->problem, &how, &trial, &diag)) time = trial_time(&trial, buffers);
    *why = NULL;
    if (time >= 0 && results_differ(reference, &trial) > 1) {
        *why = "its results are not those of the reference";
        time = -1;
    }
    if (time < 0 && *why == NULL)
        *why = arena_strdup(&t->arena, diag.text[0] != '\0' ? diag.text : trial.error.message);
    if (time < 0 && *why == NULL) *why = "out of memory";
    trial_close(&trial);
    return time;
}

static Status note_time(Tuner *t, const Candidates *c, const Choice *choice, double microseconds) {
    const Timing row = {.problem = c->problem.key,
                        .tactic = timing_tactic_name(&t->arena, choice->tactic),
                        .config = choice->config,
                        .microseconds = fmax(microseconds, 0.001)};
    TRY_ALLOC(&t->app->diag, row.tactic);
    t->timed++;
    return timing_cache_add(t->options->cache, &row) ? STATUS_OK
                                                     : FAIL(&t->app->diag, STATUS_NO_MEMORY, "out of memory");
}

/* What a plan takes besides the choice, which alone takes `once` and REPEATS times `often`. */
static double rest_of(double once, double often) {
    double each = (often - once) / (REPEATS - 1);
    return once - each;
}

static Status time_candidates(Tuner *t, const Candidates *c, const Trial *reference, void *const *buffers) {
    double rest = 0;
    bool has_rest = false;
    for (int32_t i = 0; i < c->count; ++i) {
        const char *why;
        double often = time_repeats(t, c, &c->choices[i], REPEATS, reference, buffers, &why);
        if (often >= 0 && !has_rest) {
            double once = time_repeats(t, c, &c->choices[i], 1, reference, buffers, &why);
            has_rest = once >= 0;
            if (has_rest) rest = rest_of(once, often);
        }
        if (often >= 0 && has_rest)
            TRY(note_time(t, c, &c->choices[i], (often - rest) / REPEATS));
        else
            report_failure(t, c, &c->choices[i], why);
    }
    return STATUS_OK;
}

static Status time_problem(Tuner *t, const Candidates *c) {
    Trial reference;
    Diag diag = {0};
    void **buffers;
    Status status = STATUS_OK;
    if (open_reference(t, c, &reference, &buffers, &diag))
        status = time_candidates(t, c, &reference, buffers);
    else
        log_line(&t->app->log, LOG_INFO, "not timed: %s: %.200s", c->problem.key,
                 diag.text[0] != '\0' ? diag.text : reference.error.message);
    trial_close(&reference);
    if (status != STATUS_OK || t->options->path == NULL) return status;
    return timing_cache_write(t->options->cache, t->options->path, &t->app->diag);
}

/* -- compilation ahead -- */

/* Fills the cache of kernels with all cores; what fails here fails again, and is reported, when it is timed.
 */
static void compile_range(void *context, int64_t first, int64_t last, int worker) {
    const Tuner *t = context;
    (void)worker;
    for (int64_t i = first; i < last; ++i) {
        const Candidates *c = &t->problems[i / MOST_CANDIDATES];
        if (i % MOST_CANDIDATES >= c->count) continue;
        const LowerTrial how = {.choice = c->choices[i % MOST_CANDIDATES], .repeats = 1};
        Allocator allocator = {0}; /* one for each thread */
        Arena arena;
        Diag diag = {0};
        Plan plan;
        arena_init(&arena, &allocator);
        (void)make_plan(t, &c->problem, &how, &arena, &plan, &diag);
        arena_reset(&arena);
    }
}

static Status compile_all(Tuner *t) {
    ThreadPool *pool = NULL;
    TRY(thread_pool_create((int)t->settings->threads, &t->app->allocator, &pool, &t->app->diag));
    parallel_for(pool, (int64_t)t->problem_count * MOST_CANDIDATES, 1, compile_range, t);
    thread_pool_destroy(pool);
    return STATUS_OK;
}

static Status tune_all(Tuner *t) {
    Progress progress;
    if (!use_table_build(t->graph, &t->arena, &t->uses))
        return FAIL(&t->app->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(find_problems(t));
    if (t->problem_count == 0) return STATUS_OK;
    double start = clock_seconds();
    progress_begin(&progress, "tactics");
    Status status = compile_all(t);
    double compiled = clock_seconds();
    for (int32_t i = 0; status == STATUS_OK && i < t->problem_count; ++i) {
        progress_step(&progress, t->problems[i].choices[0].tactic->name, i, t->problem_count);
        status = time_problem(t, &t->problems[i]);
    }
    progress_end(&progress);
    log_line(&t->app->log, LOG_INFO,
             "tuned: %d tactics and configs of %d problems, %d left out; %.1f s to compile, %.1f s to time",
             t->timed, t->problem_count, t->failed, compiled - start, clock_seconds() - compiled);
    return status;
}

Status tune_graph(App *app, const CompileSettings *settings, const Target *target, Graph *graph,
                  const TuneOptions *options) {
    Tuner tuner = {.app = app,
                   .settings = settings,
                   .options = options,
                   .graph = graph,
                   .device = target->devices.at[0],
                   .arena = {.allocator = &app->allocator}};
    Status status = tune_all(&tuner);
    arena_reset(&tuner.arena);
    return status;
}

/* -- single problems -- */

/* Negative: it failed, for the reason in diag. */
static double time_alone(Tuner *t, const Problem *problem, int32_t repeats, Diag *diag) {
    const LowerTrial how = {.choice = choice_best(problem, t->device, NULL), .repeats = repeats};
    Trial trial;
    void **buffers;
    double time = -1;
    if (how.choice.tactic == NULL) {
        (void)FAIL(diag, STATUS_UNSUPPORTED, "no tactic for %s", problem->key);
        return time;
    }
    if (trial_open(t, problem, &how, &trial, diag) && fill_inputs(&trial, &buffers))
        time = trial_time(&trial, buffers);
    if (time < 0) (void)FAIL(diag, STATUS_CUDA_FAILED, "%s: %s", problem->key, trial.error.message);
    trial_close(&trial);
    return time;
}

static Status probe(Tuner *t, double *microseconds) {
    Diag *diag = &t->app->diag;
    const Block *block = &t->graph->blocks[MAIN_BLOCK];
    Problem problem;
    if (!use_table_build(t->graph, &t->arena, &t->uses)) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    TRY(problem_create(t->graph, &t->uses, block->nodes, block->node_count, &t->arena, &problem, diag));
    double often = time_alone(t, &problem, REPEATS, diag);
    double once = often >= 0 ? time_alone(t, &problem, 1, diag) : -1;
    if (once < 0) return diag->status;
    *microseconds = (often - once) / (REPEATS - 1);
    if (*microseconds > 0) return STATUS_OK;
    return FAIL(diag, STATUS_CUDA_FAILED, "%s takes no time", problem.key);
}

Status tune_probe(App *app, const CompileSettings *settings, const Device *device, Graph *graph,
                  double *microseconds) {
    Tuner tuner = {.app = app,
                   .settings = settings,
                   .graph = graph,
                   .device = device,
                   .arena = {.allocator = &app->allocator}};
    Status status = probe(&tuner, microseconds);
    arena_reset(&tuner.arena);
    return status;
}
