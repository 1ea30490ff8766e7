#include "cli/tune.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cli/measure.h"
#include "cli/trial.h"
#include "kernels/arch.h"
#include "kernels/interpolate.h"
#include "kernels/jit_cache.h"

enum {
    MOST_CANDIDATES = 64,
    PLAIN = MOST_CANDIDATES,
    ITEMS, /* of a problem, to be compiled */
    MOST_RANKED = 256,
    RUNS = 5,
    EXACT_RUNS = 7, /* of those that are as good as the best */
    ROUNDS = 5
};
static const double hopeless = 1.5, /* times the best: what takes longer need not be known exactly */
    close = 1.06,                   /* what is within it is timed again */
    unlikely = 8,                   /* times the best guess: what should take longer is not timed */
    possible = 3;                   /* what should not may well be the best */

typedef struct Candidates {
    Problem problem;
    int32_t count, fresh; /* those behind the fresh ones have been timed */
    Choice choices[MOST_CANDIDATES];
} Candidates;

typedef struct Tuner {
    App *app;
    const CompileSettings *settings;
    const TuneOptions *options;
    GraphList graphs;
    const Device *device;
    Arena arena; /* of problems */
    int32_t problem_count, problem_capacity;
    Candidates *problems;
    NameMap known; /* problem -> 0 */
    int32_t timed, failed;
    double compile_seconds, time_seconds;
    Trials trials;
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

/* Not for one GPU of it. */
static bool stands_for_architecture(const Device *device) {
    return strcmp(device->name, arch_find(device->arch)->name) == 0;
}

/* Times of the GPU, or of one of the architecture that the device stands for. */
static bool are_of(const TimingCache *cache, const Device *device) {
    char arch[32];
    snprintf(arch, sizeof arch, " sm_%d ", device->sm);
    return (stands_for_architecture(device) || strncmp(cache->gpu, device->gpu, strlen(device->gpu)) == 0) &&
           strstr(cache->gpu, arch) != NULL;
}

/* gpu NULL: any that is one of the target's. tunes: what is not there yet is begun. */
static Status open_named(App *app, const char *path, const Target *target, const char *gpu, bool tunes,
                         TimingCache **out) {
    *out = NULL;
    if (tunes && !file_exists(path)) {
        *out = timing_cache_create(&app->arena, gpu);
        TRY_ALLOC(&app->diag, *out);
        return STATUS_OK;
    }
    TRY(timing_cache_read(path, &app->arena, out, &app->diag));
    bool fits = gpu != NULL && strcmp((*out)->gpu, gpu) == 0;
    for (int32_t i = 0; gpu == NULL && i < target->devices.count; ++i)
        fits = fits || are_of(*out, target->devices.at[i]);
    if (fits) return STATUS_OK;
    const Device *device = target->devices.at[0];
    return FAIL(&app->diag, STATUS_BAD_DATA, "%s: times of '%s' are no use for '%s'", path, (*out)->gpu,
                gpu != NULL                       ? gpu
                : stands_for_architecture(device) ? device->arch
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

static Status read_effort(App *app, const char *effort, TuneOptions *out) {
    static const struct Effort {
        const char *name;
        int32_t candidates, neighbours;
    } efforts[] = {
        {"off", 0, 0}, {"first", 1, 0}, {"quick", 8, 4}, {"full", MOST_CANDIDATES, MOST_CANDIDATES}};
    for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; ++i) {
        if (strcmp(effort, efforts[i].name) != 0) continue;
        out->candidates = efforts[i].candidates;
        out->neighbours = efforts[i].neighbours;
        return STATUS_OK;
    }
    return FAIL(&app->diag, STATUS_USAGE, "--tune is '%s', expected quick, full, first or off", effort);
}

Status tune_check(App *app, const CompileSettings *settings) {
    TuneOptions ignored;
    return settings->tune != NULL ? read_effort(app, settings->tune, &ignored) : STATUS_OK;
}

/* Estimates of the graph's problems that the cache does not know, by others that it does. */
static Status estimate_unknown(App *app, const Target *target, const Graph *graph, TimingCache *cache) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    UseTable uses;
    if (cache == NULL || cache->count == 0 || target->devices.count > 1) return STATUS_OK;
    if (!use_table_build(graph, &app->arena, &uses))
        return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        Problem problem;
        end = step_end(graph, block, first);
        TRY(problem_create(graph, &uses, block->nodes + first, end - first, &app->arena, &problem,
                           &app->diag));
        TRY(timing_cache_estimate(cache, &problem, target->devices.at[0], compile_infer, &app->diag));
    }
    return STATUS_OK;
}

Status tune_open(App *app, const CompileSettings *settings, Target *target) {
    const char *gpu;
    TuneOptions effort = {0};
    Tuning *tuning = ARENA_NEW(&app->arena, Tuning);
    TRY_ALLOC(&app->diag, tuning);
    TRY(read_effort(app, settings->tune != NULL ? settings->tune : "off", &effort));
    *tuning = (Tuning){.app = app,
                       .settings = settings,
                       .target = target,
                       .path = settings->timing_cache,
                       .candidates = effort.candidates,
                       .neighbours = effort.neighbours};
    tuning->timer = (WayTimer){.measure = tune_ways, .user = tuning};
    target->tuning = tuning;
    if (!target->cuda) return STATUS_OK;
    /* What is reproducible is so on every machine, whichever GPU is there. */
    bool native = !settings->reproducible && is_native(app, settings, target, &gpu);
    tuning->tunes = native && effort.candidates > 0 && settings->variant == 0;
    if (tuning->path != NULL)
        return open_named(app, tuning->path, target, native ? gpu : NULL, tuning->tunes, &tuning->cache);
    if (!native) return STATUS_OK;
    return open_default(app, tuning->path = default_path(app, settings, gpu), gpu, &tuning->cache);
}

static Status tune_with(const Target *target, GraphList graphs, TuneOptions options,
                        const TimingCache **out) {
    const Tuning *tuning = target->tuning;
    options.candidates = tuning->candidates;
    options.neighbours = tuning->neighbours;
    options.path = tuning->path;
    *out = options.cache = tuning->cache;
    if (options.only_compiles && options.cache == NULL) {
        options.cache = timing_cache_create(&tuning->app->arena, "");
        TRY_ALLOC(&tuning->app->diag, options.cache);
    }
    if (tuning->tunes || options.only_compiles)
        TRY(tune_graphs(tuning->app, tuning->settings, target, graphs, &options));
    for (int32_t i = 0; i < graphs.count; ++i)
        TRY(estimate_unknown(tuning->app, target, graphs.at[i], tuning->cache));
    return STATUS_OK;
}

Status tune_for_build(const Target *target, Graph *graph, const TimingCache **out) {
    return tune_with(target, (GraphList){1, &graph}, (TuneOptions){0}, out);
}

Status tune_every(const Target *target, GraphList graphs, const char *filter, bool only_compiles,
                  const TimingCache **out) {
    return tune_with(target, graphs,
                     (TuneOptions){.every = true, .filter = filter, .only_compiles = only_compiles}, out);
}

/* -- problems -- */

static bool has_time(const Tuner *t, const Problem *problem, const Choice *choice) {
    return timing_cache_find(t->options->cache, problem->key, choice->tactic, &choice->config) != NULL;
}

/* Tactics that were switched on by name, as far as they have no time yet. */
static int32_t list_asked(const Tuner *t, const Problem *problem, Choice out[MOST_CANDIDATES]) {
    int32_t count = choices_asked(problem, t->device, out, MOST_CANDIDATES), kept = 0;
    for (int32_t i = 0; i < count; ++i)
        if (!has_time(t, problem, &out[i])) out[kept++] = out[i];
    return kept;
}

/* Problems that are not worth a choice, or have one. */
static bool is_left_out(const Tuner *t, const Problem *problem) {
    const TuneOptions *options = t->options;
    if (problem->graph->nodes[problem->nodes[0]].op == OP_Reformat ||
        name_map_find(&t->known, problem->key) >= 0)
        return true;
    if (options->every) return options->filter != NULL && strstr(problem->key, options->filter) == NULL;
    Choice asked[MOST_CANDIDATES];
    return problem->anchor == NONE ||
           (timing_cache_knows(options->cache, problem->key) && list_asked(t, problem, asked) == 0);
}

/* Those that the cache has no time of. */
static void drop_timed(const Tuner *t, Candidates *found) {
    int32_t kept = 0;
    for (int32_t i = 0; i < found->count; ++i)
        if (!has_time(t, &found->problem, &found->choices[i])) found->choices[kept++] = found->choices[i];
    found->count = kept;
}

/* What was asked for is tried however bad the model thinks it is: it takes the last places. */
static void add_asked(const Tuner *t, Candidates *found, int32_t most) {
    Choice asked[MOST_CANDIDATES];
    int32_t count = list_asked(t, &found->problem, asked), added = 0;
    for (int32_t i = 0; i < count && i < most; ++i) {
        bool is_there = false;
        for (int32_t k = 0; k < found->count; ++k)
            is_there = is_there || found->choices[k].tactic == asked[i].tactic;
        if (is_there) continue;
        found->choices[found->count < most ? found->count++ : most - 1 - added] = asked[i];
        ++added;
    }
}

/* Ranked ones that the model thinks much worse than the first. */
static void drop_unlikely(Candidates *found) {
    int32_t kept = 0;
    double limit = unlikely * found->choices[0].microseconds;
    for (int32_t i = 0; i < found->count; ++i)
        if (limit <= 0 || found->choices[i].microseconds <= limit) found->choices[kept++] = found->choices[i];
    found->count = kept;
}

/* The last places go to the best guesses of tactics that would have none, where they are not much worse. */
static void add_variety(Candidates *found, const Choice *ranked, int32_t total) {
    int32_t place = found->count, least = (found->count + 1) / 2;
    for (int32_t i = found->count; i < total && place > least; ++i) {
        bool is_there =
            ranked[i].source != CHOICE_MODELLED || ranked[i].microseconds > possible * ranked[0].microseconds;
        for (int32_t k = 0; k < found->count; ++k)
            is_there = is_there || found->choices[k].tactic == ranked[i].tactic;
        if (!is_there) found->choices[--place] = ranked[i];
    }
}

/* Returns how many choices there are. */
static int32_t list_candidates(const Tuner *t, Candidates *found, int32_t most) {
    Choice ranked[MOST_RANKED];
    int32_t total = choices_rank(&found->problem, t->device, ranked, MOST_RANKED);
    found->count = total < most ? total : most;
    memcpy(found->choices, ranked, (size_t)found->count * sizeof *ranked);
    add_variety(found, ranked, total < MOST_RANKED ? total : MOST_RANKED);
    if (!t->options->every) drop_unlikely(found);
    return total;
}

static Status add_problem(Tuner *t, const Graph *graph, const UseTable *uses, const NodeId *nodes,
                          int32_t count) {
    Diag *diag = &t->app->diag;
    Candidates found = {0};
    TRY(problem_create(graph, uses, nodes, count, &t->arena, &found.problem, diag));
    if (is_left_out(t, &found.problem)) return STATUS_OK;
    if (!name_map_set(&t->known, &t->arena, found.problem.key, 0))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    int32_t most = t->options->candidates < MOST_CANDIDATES ? t->options->candidates : MOST_CANDIDATES;
    int32_t total = list_candidates(t, &found, most);
    if (t->options->every || timing_cache_knows(t->options->cache, found.problem.key)) drop_timed(t, &found);
    add_asked(t, &found, most);
    found.fresh = found.count;
    if (found.count == 0 || (total < 2 && !t->options->every)) return STATUS_OK;
    if (!ARENA_RESERVE(&t->arena, t->problems, t->problem_count, t->problem_capacity))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    t->problems[t->problem_count++] = found;
    return STATUS_OK;
}

static Status find_problems(Tuner *t, const Graph *graph) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    UseTable uses;
    if (!use_table_build(graph, &t->arena, &uses))
        return FAIL(&t->app->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        end = step_end(graph, block, first);
        TRY(add_problem(t, graph, &uses, block->nodes + first, end - first));
    }
    return STATUS_OK;
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

/* Microseconds that the cache has; HUGE_VAL: none. */
static double time_of(const Tuner *t, const Candidates *c, const Choice *choice) {
    const Timing *row = timing_cache_find(t->options->cache, c->problem.key, choice->tactic, &choice->config);
    return row != NULL ? row->microseconds : HUGE_VAL;
}

static bool is_close(double time, double best) {
    return isfinite(time) && time <= close * best;
}

static Status note_time(Tuner *t, const Candidates *c, int32_t index, double microseconds) {
    const Choice *choice = &c->choices[index];
    const Timing row = {.problem = c->problem.key,
                        .tactic = timing_tactic_name(&t->arena, choice->tactic),
                        .config = choice->config,
                        .microseconds = fmax(microseconds, 0.001)};
    TRY_ALLOC(&t->app->diag, row.tactic);
    return timing_cache_set(t->options->cache, &row) ? STATUS_OK
                                                     : FAIL(&t->app->diag, STATUS_NO_MEMORY, "out of memory");
}

/* The best, and behind it those that had no turns yet and are within `close` of it, or were chosen for turns;
 * 1: all have. */
static int32_t list_close(const Tuner *t, const Candidates *c, bool exact[MOST_CANDIDATES],
                          int32_t close_ones[MOST_CANDIDATES]) {
    int32_t best = 0, count = 1;
    for (int32_t i = 1; i < c->count; ++i)
        if (time_of(t, c, &c->choices[i]) < time_of(t, c, &c->choices[best])) best = i;
    close_ones[0] = best;
    for (int32_t i = 0; i < c->count; ++i)
        if (i != best && !exact[i] &&
            (i >= c->fresh || is_close(time_of(t, c, &c->choices[i]), time_of(t, c, &c->choices[best]))))
            close_ones[count++] = i;
    for (int32_t k = 0; k < count; ++k) exact[close_ones[k]] = true;
    return count;
}

/* Several times in turns, so that the GPU's clock and noise decide little; the median counts. */
static Status time_in_turns(Tuner *t, const Candidates *c, const int32_t *which, int32_t count) {
    double times[MOST_CANDIDATES][ROUNDS];
    const Choice *choices[MOST_CANDIDATES];
    for (int32_t k = 0; k < count; ++k) choices[k] = &c->choices[which[k]];
    trials_time_in_turns(&t->trials, choices, count, ROUNDS, EXACT_RUNS, times[0]);
    for (int32_t k = 0; k < count; ++k) {
        qsort(times[k], ROUNDS, sizeof times[k][0], compare_doubles);
        if (times[k][0] >= 0) TRY(note_time(t, c, which[k], times[k][ROUNDS / 2]));
    }
    return STATUS_OK;
}

/* What is as good as the best. The best may be no longer so close to it behind its turns, and others closer.
 */
static Status time_exactly(Tuner *t, const Candidates *c) {
    bool exact[MOST_CANDIDATES] = {false};
    int32_t which[MOST_CANDIDATES];
    for (int32_t count; (count = list_close(t, c, exact, which)) > 1;) TRY(time_in_turns(t, c, which, count));
    return STATUS_OK;
}

static Status time_candidates(Tuner *t, const Candidates *c, double best) {
    for (int32_t i = 0; i < c->fresh; ++i) {
        double time = trials_time(&t->trials, &c->choices[i], RUNS, hopeless * best);
        if (time < 0) {
            report_failure(t, c, &c->choices[i], t->trials.why);
            continue;
        }
        t->timed++;
        TRY(note_time(t, c, i, time));
        best = fmin(best, time);
    }
    return c->fresh < c->count ? time_exactly(t, c) : STATUS_OK;
}

/* Results are compared with those of the best, where it has been found right before. */
static Status time_problem(Tuner *t, const Candidates *c) {
    const Choice known = choice_best(&c->problem, t->device, t->options->cache);
    bool is_known = known.source == CHOICE_MEASURED;
    double start = clock_seconds();
    if (!trials_begin(&t->trials, &c->problem, true, c->fresh < c->count ? &known : NULL)) {
        log_line(&t->app->log, LOG_INFO, "not timed: %s: %.200s", c->problem.key, t->trials.why);
        return STATUS_OK;
    }
    double begun = clock_seconds();
    TRY(time_candidates(t, c, is_known ? known.microseconds : HUGE_VAL));
    log_line(&t->app->log, LOG_NODE, "%.3f s for operands and reference, %.3f s for %d candidates: %s",
             begun - start, clock_seconds() - begun, c->count, c->problem.key);
    if (t->options->path == NULL) return STATUS_OK;
    return timing_cache_write(t->options->cache, t->options->path, &t->app->diag);
}

/* -- compilation ahead -- */

/* Candidates of all problems, that all cores take one after the other, and what their results are compared
 * with. */
typedef struct Compilation {
    const Tuner *tuner;
    int32_t *items; /* problem and candidate; candidate PLAIN: the reference */
    int32_t count;
    _Atomic int32_t next;
    Progress progress;
} Compilation;

static void compile_one(const Tuner *t, int32_t item) {
    const Candidates *c = &t->problems[item / ITEMS];
    int32_t number = item % ITEMS;
    Choice plain;
    if (number != PLAIN)
        trials_compile(&t->trials, &c->problem, &c->choices[number]);
    else if (trials_find_plain(&c->problem, t->device, &plain))
        trials_compile(&t->trials, &c->problem, &plain);
}

static void compile_some(void *context, int64_t first, int64_t last, int worker) {
    Compilation *all = context;
    (void)first, (void)last;
    for (int32_t i; (i = atomic_fetch_add(&all->next, 1)) < all->count;) {
        if (worker == 0) progress_step(&all->progress, "", i, all->count);
        compile_one(all->tuner, all->items[i]);
    }
}

/* Fills the cache of kernels with all cores. */
static Status compile_all(Tuner *t) {
    Compilation all = {.tuner = t,
                       .items = ARENA_ARRAY(&t->arena, int32_t, (int64_t)t->problem_count * ITEMS)};
    TRY_ALLOC(&t->app->diag, all.items);
    bool compares = !t->options->only_compiles || t->options->every;
    for (int32_t i = 0; i < t->problem_count; ++i) {
        const Candidates *c = &t->problems[i];
        for (int32_t k = 0; k < c->fresh; ++k) all.items[all.count++] = i * ITEMS + k;
        if (compares && c->fresh > 0 && c->fresh == c->count) all.items[all.count++] = i * ITEMS + PLAIN;
    }
    progress_begin(&all.progress, "candidates");
    parallel_for(t->trials.pool, thread_pool_size(t->trials.pool), 1, compile_some, &all);
    progress_end(&all.progress);
    return STATUS_OK;
}

/* Compiles and times the candidates that there are. */
static Status run_stage(Tuner *t) {
    Progress progress;
    double start = clock_seconds();
    Status status = compile_all(t);
    double compiled = clock_seconds();
    progress_begin(&progress, "problems");
    for (int32_t i = 0; status == STATUS_OK && !t->options->only_compiles && i < t->problem_count; ++i) {
        if (t->problems[i].count == 0) continue;
        progress_step(&progress, t->problems[i].choices[0].tactic->name, i, t->problem_count);
        status = time_problem(t, &t->problems[i]);
    }
    progress_end(&progress);
    t->compile_seconds += compiled - start;
    t->time_seconds += clock_seconds() - compiled;
    return status;
}

/* Once the best is known: what is near it, and behind that what was about as fast, and what the model thinks
 * best, which was timed first, on a GPU that had been idle. */
static void find_second_stage(const Tuner *t, Candidates *c) {
    const Choice best = choice_best(&c->problem, t->device, t->options->cache);
    Choice ranked[MOST_RANKED];
    double least = HUGE_VAL;
    c->count = c->fresh = 0;
    if (best.source != CHOICE_MEASURED) return;
    int32_t near = choices_near(&c->problem, t->device, &best, c->choices, MOST_CANDIDATES);
    c->count = near < MOST_CANDIDATES ? near : MOST_CANDIDATES;
    drop_timed(t, c);
    if (c->count > t->options->neighbours) c->count = t->options->neighbours;
    c->fresh = c->count;
    int32_t total = choices_rank(&c->problem, t->device, ranked, MOST_RANKED);
    if (total > MOST_RANKED) total = MOST_RANKED;
    for (int32_t i = 0; i < total; ++i) least = fmin(least, time_of(t, c, &ranked[i]));
    for (int32_t i = 0; i < total && c->count < MOST_CANDIDATES; ++i) {
        double time = time_of(t, c, &ranked[i]);
        if (is_close(time, least) || (i == 0 && isfinite(time))) c->choices[c->count++] = ranked[i];
    }
    if (c->fresh == 0 && c->count < 2) c->count = 0; /* nothing to be told apart */
}

static Status tune_all(Tuner *t) {
    for (int32_t i = 0; i < t->graphs.count; ++i) TRY(find_problems(t, t->graphs.at[i]));
    if (t->problem_count == 0) return STATUS_OK;
    Status status = run_stage(t);
    if (t->options->only_compiles) return status;
    for (int32_t i = 0; i < t->problem_count; ++i) find_second_stage(t, &t->problems[i]);
    if (status == STATUS_OK) status = run_stage(t);
    log_line(&t->app->log, LOG_INFO,
             "tuned: %d tactics and configs of %d problems, %d left out; %.1f s to compile, %.1f s to time",
             t->timed, t->problem_count, t->failed, t->compile_seconds, t->time_seconds);
    return status;
}

Status tune_graphs(App *app, const CompileSettings *settings, const Target *target, GraphList graphs,
                   const TuneOptions *options) {
    Tuner tuner = {.app = app,
                   .settings = settings,
                   .options = options,
                   .graphs = graphs,
                   .device = target->devices.at[0],
                   .arena = {.allocator = &app->allocator}};
    Status status = trials_open(&tuner.trials, app, settings, tuner.device);
    if (status == STATUS_OK) status = tune_all(&tuner);
    trials_close(&tuner.trials);
    arena_reset(&tuner.arena);
    return status;
}

/* -- single problems -- */

static Status probe(Tuner *t, const Graph *graph, double *microseconds) {
    Diag *diag = &t->app->diag;
    const Block *block = &graph->blocks[MAIN_BLOCK];
    UseTable uses;
    Problem problem;
    if (!use_table_build(graph, &t->arena, &uses)) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    TRY(problem_create(graph, &uses, block->nodes, block->node_count, &t->arena, &problem, diag));
    const Choice choice = choice_best(&problem, t->device, NULL);
    if (choice.tactic == NULL) return FAIL(diag, STATUS_UNSUPPORTED, "no tactic for %s", problem.key);
    TRY(trials_open(&t->trials, t->app, t->settings, t->device));
    *microseconds = -1;
    if (trials_begin(&t->trials, &problem, false, NULL))
        *microseconds = trials_time(&t->trials, &choice, RUNS, HUGE_VAL);
    if (*microseconds > 0) return STATUS_OK;
    return FAIL(diag, STATUS_CUDA_FAILED, "%s: %s", problem.key,
                *microseconds < 0 ? t->trials.why : "takes no time");
}

Status tune_probe(App *app, const CompileSettings *settings, const Device *device, Graph *graph,
                  double *microseconds) {
    Tuner tuner = {
        .app = app, .settings = settings, .device = device, .arena = {.allocator = &app->allocator}};
    Status status = probe(&tuner, graph, microseconds);
    trials_close(&tuner.trials);
    arena_reset(&tuner.arena);
    return status;
}
