#include "cli/inspect_cache.h"

#include <string.h>

#include "base/file.h"
#include "kernels/timing_cache.h"

/* The rows of a problem, which stand together. */
typedef struct ProblemRows {
    const Timing *first, *best;
    int32_t count;
} ProblemRows;

bool is_timing_cache(const char *path) {
    static const char begin[] = "smelt-timings ";
    const char *ending = strrchr(path, '.');
    if (ending != NULL && (strcmp(ending, ".cache") == 0 || strcmp(ending, ".txt") == 0)) return true;
    return file_begins_with(path, begin, strlen(begin));
}

static ProblemRows rows_from(const TimingCache *cache, int32_t at) {
    ProblemRows rows = {.first = &cache->rows[at], .best = &cache->rows[at]};
    for (; at < cache->count && strcmp(cache->rows[at].problem, rows.first->problem) == 0; ++at, ++rows.count)
        if (cache->rows[at].microseconds < rows.best->microseconds) rows.best = &cache->rows[at];
    return rows;
}

static void print_rows(const ProblemRows *rows, bool json, bool first) {
    const Timing *best = rows->best;
    if (json) {
        printf("%s\n{\"problem\": ", first ? "" : ",");
        write_json_string(stdout, best->problem);
        printf(", \"timed\": %d, \"tactic\": ", rows->count);
        write_json_string(stdout, best->tactic);
        printf(", \"config\": [");
    } else {
        printf("%s\n  %.2f us by %s ", best->problem, best->microseconds, best->tactic);
    }
    for (int32_t i = 0; i < best->config.count; ++i)
        printf("%s%d", i == 0 ? "" : json ? ", " : ",", best->config.number[i]);
    if (json)
        printf("], \"us\": %.3f}", best->microseconds);
    else
        printf(", the fastest of %d\n", rows->count);
}

Status inspect_cache(App *app, const char *path, bool json) {
    TimingCache *cache;
    int32_t problems = 0, old = 0;
    TRY(timing_cache_read(path, &app->arena, &cache, &app->diag));
    if (json) {
        printf("{\"gpu\": ");
        write_json_string(stdout, cache->gpu);
        printf(", \"problems\": [");
    }
    for (int32_t at = 0; at < cache->count; ++problems) {
        const ProblemRows rows = rows_from(cache, at);
        print_rows(&rows, json, at == 0);
        at += rows.count;
    }
    for (int32_t i = 0; i < cache->count; ++i) old += !timing_is_current(&cache->rows[i]);
    if (json)
        printf("], \"times\": %d, \"old\": %d}\n", cache->count, old);
    else
        printf("%d times of %d problem%s on %s; %d of tactics that smelt has no more\n", cache->count,
               problems, problems == 1 ? "" : "s", cache->gpu, old);
    return STATUS_OK;
}
