/* What passes want to know: which way to compute a region is faster on the GPU that is here. */
#include "cli/measure.h"
#include "cli/trial.h"
#include "cli/tune.h"

/* All graphs of all questions, whose steps are tuned first, each problem once. */
static Status tune_steps(const Tuning *t, const WayQuestion *questions, int32_t count, Arena *arena) {
    int32_t total = 0;
    Graph **graphs = ARENA_ARRAY(arena, Graph *, (int64_t)count * MOST_WAYS);
    TRY_ALLOC(&t->app->diag, graphs);
    for (int32_t q = 0; q < count; ++q)
        for (int32_t w = 0; w < questions[q].count; ++w) graphs[total++] = questions[q].ways[w].graph;
    const TuneOptions options = {
        .candidates = t->candidates, .neighbours = t->neighbours, .path = t->path, .cache = t->cache};
    return tune_graphs(t->app, t->settings, t->target, (GraphList){total, graphs}, &options);
}

static Status keep(const Tuning *t, const WayTrial *way, double microseconds, Arena *arena) {
    const char *tactics = way_tactics(way->graph, t->target->devices.at[0], t->cache, arena);
    if (tactics == NULL) return STATUS_OK;
    const Timing row = {.problem = way->key, .tactic = tactics, .microseconds = microseconds};
    log_line(&t->app->log, LOG_INFO, "in sequence: %.2f us by %s", microseconds, tactics);
    return timing_cache_set(t->cache, &row) ? STATUS_OK
                                            : FAIL(&t->app->diag, STATUS_NO_MEMORY, "out of memory");
}

static Status time_ways(const Tuning *t, Trials *trials, const WayQuestion *question, Arena *arena) {
    double times[MOST_WAYS];
    if (!trials_time_ways(trials, question, t->cache, times)) {
        log_line(&t->app->log, LOG_INFO, "not timed, %.200s: %s", trials->why, question->ways[0].key);
        return STATUS_OK;
    }
    for (int32_t w = 0; w < question->count; ++w) TRY(keep(t, &question->ways[w], times[w], arena));
    return t->path != NULL ? timing_cache_write(t->cache, t->path, &t->app->diag) : STATUS_OK;
}

static Status time_all(const Tuning *t, const WayQuestion *questions, int32_t count, Trials *trials,
                       Arena *arena) {
    Progress progress;
    double start = clock_seconds();
    Status status = STATUS_OK;
    TRY(tune_steps(t, questions, count, arena));
    double tuned = clock_seconds();
    TRY(trials_open(trials, t->app, t->settings, t->target->devices.at[0]));
    progress_begin(&progress, "ways");
    for (int32_t q = 0; status == STATUS_OK && q < count; ++q) {
        progress_step(&progress, "", q, count);
        status = time_ways(t, trials, &questions[q], arena);
    }
    progress_end(&progress);
    log_line(&t->app->log, LOG_INFO, "%d choices of passes: %.1f s for their steps, %.1f s in sequence",
             count, tuned - start, clock_seconds() - tuned);
    return status;
}

void tune_ways(void *user, const WayQuestion *questions, int32_t count) {
    Tuning *t = user;
    Trials trials = {0};
    Arena arena = {.allocator = &t->app->allocator};
    if (t->status != STATUS_OK) return;
    t->status = time_all(t, questions, count, &trials, &arena);
    if (trials.app != NULL) trials_close(&trials);
    arena_reset(&arena);
}
