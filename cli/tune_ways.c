/* What passes want to know: which way to compute a region is faster on the GPU that is here. */
#include "cli/measure.h"
#include "cli/trial.h"
#include "cli/tune.h"

enum { MOST_CLOSE = 1 << 13 };
static const double close =
    1.25; /* times the best way: what takes longer with the best guesses is not tuned */

/* Of which ways the steps are to be tuned, or compiled. */
typedef struct WayGraphs {
    int32_t count;
    Graph *at[MOST_CLOSE];
} WayGraphs;

static void add_way(WayGraphs *graphs, const WayTrial *way) {
    if (graphs->count < MOST_CLOSE) graphs->at[graphs->count++] = way->graph;
}

/* Each problem once: tuned, or only the best guess compiled, with all cores. */
static Status prepare_steps(const Tuning *t, const WayGraphs *graphs, bool only_compiles) {
    const TuneOptions options = {.candidates = only_compiles ? 1 : t->candidates,
                                 .neighbours = only_compiles ? 0 : t->neighbours,
                                 .only_compiles = only_compiles,
                                 .path = t->path,
                                 .cache = t->cache};
    if (graphs->count == 0) return STATUS_OK;
    return tune_graphs(t->app, t->settings, t->target, (GraphList){graphs->count, graphs->at}, &options);
}

static Status keep(const Tuning *t, const WayTrial *way, double microseconds, Arena *arena) {
    const char *tactics = way_tactics(way->graph, t->target->devices.at[0], t->cache, arena);
    if (tactics == NULL) return STATUS_OK;
    const Timing row = {.problem = way->key, .tactic = tactics, .microseconds = microseconds};
    log_line(&t->app->log, LOG_INFO, "in sequence: %.2f us by %s", microseconds, tactics);
    return timing_cache_set(t->cache, &row) ? STATUS_OK
                                            : FAIL(&t->app->diag, STATUS_NO_MEMORY, "out of memory");
}

static Status time_ways(const Tuning *t, Trials *trials, const WayQuestion *question, double *times,
                        Arena *arena) {
    if (!trials_time_ways(trials, question, t->cache, times)) {
        log_line(&t->app->log, LOG_INFO, "not timed, %.200s: %s", trials->why, question->ways[0].key);
        times[0] = 0;
        return STATUS_OK;
    }
    for (int32_t w = 0; w < question->count; ++w) TRY(keep(t, &question->ways[w], times[w], arena));
    return t->path != NULL ? timing_cache_write(t->cache, t->path, &t->app->diag) : STATUS_OK;
}

/* The ways that may be the best; where that is one it is known. */
static WayQuestion close_ways(const WayQuestion *question, const double *times) {
    WayQuestion left = {0};
    double least = times[0];
    for (int32_t w = 1; w < question->count; ++w) least = times[w] < least ? times[w] : least;
    for (int32_t w = 0; w < question->count && least > 0; ++w)
        if (times[w] <= close * least) left.ways[left.count++] = question->ways[w];
    if (left.count < 2) left.count = 0;
    return left;
}

static Status time_each(const Tuning *t, Trials *trials, WayQuestion *questions, int32_t count,
                        WayGraphs *graphs, Arena *arena) {
    Progress progress;
    Status status = STATUS_OK;
    graphs->count = 0;
    progress_begin(&progress, "ways");
    for (int32_t q = 0; status == STATUS_OK && q < count; ++q) {
        double times[MOST_WAYS] = {0};
        if (questions[q].count == 0) continue;
        progress_step(&progress, "", q, count);
        status = time_ways(t, trials, &questions[q], times, arena);
        questions[q] = close_ways(&questions[q], times);
        for (int32_t w = 0; w < questions[q].count; ++w) add_way(graphs, &questions[q].ways[w]);
    }
    progress_end(&progress);
    return status;
}

/* First with the best guesses for the steps; then those that are close with tuned ones. */
static Status time_all(const Tuning *t, const WayQuestion *questions, int32_t count, Trials *trials,
                       Arena *arena) {
    double start = clock_seconds();
    WayGraphs *graphs = ARENA_NEW(arena, WayGraphs);
    WayQuestion *left = ARENA_ARRAY(arena, WayQuestion, count);
    TRY_ALLOC(&t->app->diag, graphs);
    TRY_ALLOC(&t->app->diag, left);
    for (int32_t q = 0; q < count; ++q) {
        left[q] = questions[q];
        for (int32_t w = 0; w < left[q].count; ++w) add_way(graphs, &left[q].ways[w]);
    }
    TRY(prepare_steps(t, graphs, true));
    TRY(trials_open(trials, t->app, t->settings, t->target->devices.at[0]));
    TRY(time_each(t, trials, left, count, graphs, arena));
    double begun = clock_seconds();
    if (t->candidates > 1) TRY(prepare_steps(t, graphs, false));
    double tuned = clock_seconds();
    if (t->candidates > 1 && graphs->count > 0) TRY(time_each(t, trials, left, count, graphs, arena));
    log_line(&t->app->log, LOG_INFO,
             "%d choices of passes: %.1f s in sequence, %.1f s for the steps of close ones", count,
             clock_seconds() - tuned + begun - start, tuned - begun);
    return STATUS_OK;
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
