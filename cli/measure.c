#include "cli/measure.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/checked.h"

typedef struct Stream {
    pthread_t thread;
    bool started;
    const MeasureOptions *options;
    SmeltContext *context;
    void **buffers;
    Arena arena; /* of this thread */
    double *parts[PARTS];
    int64_t count, capacity;
    double begin, end; /* of the timed runs */
    SmeltError error;
} Stream;

static bool reserve(Stream *s) {
    int64_t wanted = s->capacity == 0 ? 1024 : s->capacity * 2;
    if (s->count < s->capacity) return true;
    for (int p = 0; p < PARTS; ++p) {
        double *grown =
            arena_grow(&s->arena, s->parts[p], (size_t)s->count, (size_t)wanted, sizeof **s->parts);
        if (grown == NULL) return false;
        s->parts[p] = grown;
    }
    s->capacity = wanted;
    return true;
}

static bool add_run(Stream *s, double seconds) {
    SmeltRunTimes times;
    if (!reserve(s)) {
        s->error = (SmeltError){.status = SMELT_NO_MEMORY, .message = "out of memory"};
        return false;
    }
    if (smelt_context_run_times(s->context, &times, &s->error) != SMELT_OK) return false;
    double device = (times.copy_in + times.compute + times.copy_out) * 1e-3;
    s->parts[PART_LATENCY][s->count] = device > 0 ? device : seconds * 1e3;
    s->parts[PART_ENQUEUE][s->count] = times.enqueue * 1e-3;
    s->parts[PART_COPY_IN][s->count] = times.copy_in * 1e-3;
    s->parts[PART_COMPUTE][s->count] = times.compute * 1e-3;
    s->parts[PART_COPY_OUT][s->count++] = times.copy_out * 1e-3;
    return true;
}

static bool warm_up(Stream *s) {
    double start = clock_seconds();
    do {
        if (smelt_context_run(s->context, s->buffers, NULL, &s->error) != SMELT_OK) return false;
    } while ((clock_seconds() - start) * 1e3 < s->options->warmup_ms);
    return smelt_context_timing(s->context, 1, &s->error) == SMELT_OK;
}

static void time_runs(Stream *s) {
    s->begin = clock_seconds();
    while (s->count < s->options->iterations || clock_seconds() - s->begin < s->options->duration) {
        double begin = clock_seconds();
        if (smelt_context_run(s->context, s->buffers, NULL, &s->error) != SMELT_OK) return;
        if (!add_run(s, clock_seconds() - begin)) return;
    }
    s->end = clock_seconds();
}

/* Streams warm up for the same time and so begin about together. */
static void *run_stream(void *user) {
    Stream *s = user;
    if (warm_up(s)) time_runs(s);
    return NULL;
}

int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static Status collect(App *app, const Stream *streams, int count, Measurement *out) {
    double begin = streams[0].begin, end = streams[0].end;
    *out = (Measurement){0};
    for (int i = 0; i < count; ++i) {
        if (streams[i].error.status != SMELT_OK)
            return FAIL(&app->diag, (Status)streams[i].error.status, "%s", streams[i].error.message);
        out->count += streams[i].count;
        if (streams[i].begin < begin) begin = streams[i].begin;
        if (streams[i].end > end) end = streams[i].end;
    }
    out->wall = end - begin;
    for (int p = 0; p < PARTS; ++p) {
        int64_t at = 0;
        out->parts[p] = ARENA_ARRAY(&app->arena, double, out->count);
        TRY_ALLOC(&app->diag, out->parts[p]);
        for (int i = 0; i < count; ++i)
            for (int64_t k = 0; k < streams[i].count; ++k) out->parts[p][at++] = streams[i].parts[p][k];
        qsort(out->parts[p], (size_t)out->count, sizeof(double), compare_doubles);
    }
    return STATUS_OK;
}

/* Stream 0 has the session's context; the others get their own, for the same shapes. */
static Status open_stream(App *app, Session *session, const CompileSettings *settings, const Tensor *inputs,
                          Stream *s) {
    SmeltContextOptions options = {.threads = (int)settings->threads};
    SmeltError error = {0};
    int status = smelt_context_create(session->engine, &options, &s->context, &error);
    for (int i = 0; status == SMELT_OK && i < session->input_count; ++i)
        status = smelt_context_set_shape(s->context, i, inputs[i].rank, inputs[i].dim, &error);
    if (status == SMELT_OK) status = smelt_context_prepare(s->context, &error);
    return status == SMELT_OK ? STATUS_OK : FAIL(&app->diag, (Status)status, "%s", error.message);
}

static Status run_streams(App *app, Stream *streams, int count, Measurement *out) {
    Status status = STATUS_OK;
    for (int i = 0; i < count && status == STATUS_OK; ++i) {
        streams[i].started = pthread_create(&streams[i].thread, NULL, run_stream, &streams[i]) == 0;
        if (!streams[i].started) status = FAIL(&app->diag, STATUS_NO_MEMORY, "stream %d gets no thread", i);
    }
    for (int i = 0; i < count; ++i)
        if (streams[i].started) pthread_join(streams[i].thread, NULL);
    return status == STATUS_OK ? collect(app, streams, count, out) : status;
}

Status measure(App *app, const MeasureOptions *options, Session *session, const CompileSettings *settings,
               const Tensor *inputs, Measurement *out) {
    Stream *streams = ARENA_ARRAY(&app->arena, Stream, options->streams);
    void **buffers = ARENA_ARRAY(&app->arena, void *, session->binding_count);
    Status status = STATUS_OK;
    TRY_ALLOC(&app->diag, streams);
    TRY_ALLOC(&app->diag, buffers);
    for (int i = 0; i < session->input_count; ++i) buffers[i] = inputs[i].data;
    for (int i = 0; i < options->streams && status == STATUS_OK; ++i) {
        streams[i].options = options;
        streams[i].buffers = buffers;
        streams[i].context = session->context;
        if (i > 0) status = open_stream(app, session, settings, inputs, &streams[i]);
    }
    if (status == STATUS_OK) status = run_streams(app, streams, options->streams, out);
    for (int i = 0; i < options->streams; ++i) {
        if (i > 0) smelt_context_destroy(streams[i].context);
        arena_reset(&streams[i].arena);
    }
    return status;
}

/* Rounds in which every step is measured once: at least three, then for the duration, at most as many as a
 * median is taken of. Gives the mean time of a run on this clock. */
static bool run_rounds(const MeasureOptions *options, SmeltContext *context, void *const *buffers, int runs,
                       double *microseconds, SmeltError *error) {
    enum { LEAST_ROUNDS = 3, MOST_ROUNDS = 32 };
    double begin = clock_seconds();
    int rounds = 0;
    while (rounds < LEAST_ROUNDS || (rounds < MOST_ROUNDS && clock_seconds() - begin < options->duration)) {
        for (int i = 0; i < runs; ++i)
            if (smelt_context_run(context, buffers, NULL, error) != SMELT_OK) return false;
        ++rounds;
    }
    *microseconds = 1e6 * (clock_seconds() - begin) / ((double)rounds * runs);
    return true;
}

Status measure_steps(App *app, const MeasureOptions *options, Session *session, const Tensor *inputs,
                     const Measurement *whole, double *microseconds) {
    SmeltDevice device = {0};
    SmeltError error = {0};
    void **buffers = ARENA_ARRAY(&app->arena, void *, session->binding_count);
    TRY_ALLOC(&app->diag, buffers);
    for (int i = 0; i < session->input_count; ++i) buffers[i] = inputs[i].data;
    (void)smelt_engine_device(session->engine, &device, NULL);
    bool cuda = device.compute_capability > 0;
    int runs = cuda ? smelt_context_step_count(session->context) + 1 : 1;
    if (smelt_context_profile(session->context, 1, &error) == SMELT_OK &&
        run_rounds(options, session->context, buffers, runs, microseconds, &error) &&
        smelt_context_profile(session->context, 0, &error) == SMELT_OK) {
        if (cuda) *microseconds = 1e3 * summarize(whole->parts[PART_COMPUTE], whole->count).median;
        return STATUS_OK;
    }
    return FAIL(&app->diag, (Status)error.status, "%s", error.message);
}

/* Nearest rank. */
static double percentile(const double *sorted, int64_t count, double percent) {
    int64_t rank = (int64_t)(percent / 100 * (double)count + 0.999999);
    return sorted[clamp_i64(rank, 1, count) - 1];
}

Summary summarize(const double *sorted, int64_t count) {
    Summary out = {.min = sorted[0], .max = sorted[count - 1]};
    for (int64_t i = 0; i < count; ++i) out.mean += sorted[i] / (double)count;
    out.median = count % 2 == 1 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
    out.p90 = percentile(sorted, count, 90);
    out.p95 = percentile(sorted, count, 95);
    out.p99 = percentile(sorted, count, 99);
    return out;
}
