#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/session.h"

typedef struct BenchOptions {
    CompileSettings compile;
    TextList inputs;
    const char *json;
    int64_t iterations;
    double warmup_ms, duration;
    bool profile;
} BenchOptions;

/* Latencies in milliseconds, sorted; the statistics trtexec prints. */
typedef struct Latency {
    double min, max, mean, median, p90, p95, p99;
} Latency;

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nearest rank. */
static double percentile(const double *sorted, int64_t count, double percent) {
    int64_t rank = (int64_t)(percent / 100 * (double)count + 0.999999);
    return sorted[clamp_i64(rank, 1, count) - 1];
}

static Latency latency_of(double *values, int64_t count) {
    Latency out = {0};
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): measure has made at least one */
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    for (int64_t i = 0; i < count; ++i) out.mean += values[i] / (double)count;
    out.min = values[0];
    out.max = values[count - 1];
    out.median = count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    out.p90 = percentile(values, count, 90);
    out.p95 = percentile(values, count, 95);
    out.p99 = percentile(values, count, 99);
    return out;
}

typedef struct Measurement {
    double *latencies; /* ms */
    int64_t count, capacity;
    double wall; /* s */
} Measurement;

static Status add_latency(App *app, Measurement *m, double value) {
    if (m->count == m->capacity) {
        int64_t wanted = m->capacity == 0 ? 1024 : m->capacity * 2;
        double *grown =
            arena_grow(&app->arena, m->latencies, (size_t)m->count, (size_t)wanted, sizeof *grown);
        TRY_ALLOC(&app->diag, grown);
        m->latencies = grown;
        m->capacity = wanted;
    }
    m->latencies[m->count++] = value;
    return STATUS_OK;
}

static Status run_failed(App *app, const SmeltError *error) {
    return FAIL(&app->diag, (Status)error->status, "%s", error->message);
}

static Status measure(App *app, const BenchOptions *o, Session *session, void *const *buffers,
                      Measurement *m) {
    SmeltError error = {0};
    double start = clock_seconds();
    do {
        if (smelt_context_run(session->context, buffers, NULL, &error) != SMELT_OK)
            return run_failed(app, &error);
    } while ((clock_seconds() - start) * 1e3 < o->warmup_ms);
    if (o->profile && smelt_context_profile(session->context, 1, &error) != SMELT_OK)
        return run_failed(app, &error);
    start = clock_seconds();
    while (m->count < o->iterations || clock_seconds() - start < o->duration) {
        double begin = clock_seconds();
        if (smelt_context_run(session->context, buffers, NULL, &error) != SMELT_OK)
            return run_failed(app, &error);
        TRY(add_latency(app, m, (clock_seconds() - begin) * 1e3));
    }
    m->wall = clock_seconds() - start;
    return STATUS_OK;
}

static void print_summary(const Measurement *m, const Latency *l) {
    printf("=== Performance summary ===\n");
    printf("Throughput: %.6g qps\n", (double)m->count / m->wall);
    printf("Latency: min = %.6g ms, max = %.6g ms, mean = %.6g ms, median = %.6g ms, percentile(90%%) = %.6g "
           "ms, percentile(95%%) = %.6g ms, "
           "percentile(99%%) = %.6g ms\n",
           l->min, l->max, l->mean, l->median, l->p90, l->p95, l->p99);
    printf("Total Host Walltime: %.6g s\nQueries: %lld\n", m->wall, (long long)m->count);
}

static Status print_profile(App *app, const Session *session) {
    double total = 0;
    int count = smelt_context_step_count(session->context);
    SmeltStepProfile step;
    SmeltError error = {0};
    for (int i = 0; i < count; ++i) {
        if (smelt_context_step(session->context, i, &step, &error) != SMELT_OK)
            return run_failed(app, &error);
        total += step.microseconds;
    }
    printf("\n=== Profile ===\n%8s %7s  %-28s %s\n", "us/run", "share", "step", "ONNX nodes");
    for (int i = 0; i < count; ++i) {
        if (smelt_context_step(session->context, i, &step, &error) != SMELT_OK)
            return run_failed(app, &error);
        if (step.runs == 0) continue;
        printf("%8.1f %6.2f%%  %-28s ", step.microseconds / (double)step.runs,
               total > 0 ? 100 * step.microseconds / total : 0, step.name);
        for (const char *c = step.origins; *c != '\0'; ++c) putchar(*c == '\n' ? ' ' : *c);
        putchar('\n');
    }
    return STATUS_OK;
}

static Status write_json(App *app, const BenchOptions *o, const Session *session, const Measurement *m,
                         const Latency *l) {
    ByteWriter text = byte_writer(&app->arena);
    write_format(&text,
                 "{\n  \"throughput_qps\": %.9g,\n  \"queries\": %lld,\n  \"walltime_s\": %.9g,\n  "
                 "\"build_s\": %.9g,\n  \"load_s\": %.9g,\n",
                 (double)m->count / m->wall, (long long)m->count, m->wall, session->build_seconds,
                 session->load_seconds);
    write_format(&text,
                 "  \"latency_ms\": {\"min\": %.9g, \"max\": %.9g, \"mean\": %.9g, \"median\": %.9g, "
                 "\"p90\": %.9g, \"p95\": %.9g, \"p99\": %.9g}\n}\n",
                 l->min, l->max, l->mean, l->median, l->p90, l->p95, l->p99);
    if (text.failed) return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    return file_replace(o->json, text.data, text.size, &app->diag);
}

static Status bench(App *app, const BenchOptions *o, Session *session) {
    Tensor *inputs = ARENA_ARRAY(&app->arena, Tensor, session->input_count);
    void **buffers = ARENA_ARRAY(&app->arena, void *, session->binding_count);
    TRY_ALLOC(&app->diag, inputs);
    TRY_ALLOC(&app->diag, buffers);
    TRY(session_read_named(app, session, &o->inputs, inputs));
    TRY(session_fill_random(app, session, 1, inputs));
    TRY(session_set_shapes(app, session, inputs));
    for (int i = 0; i < session->input_count; ++i) buffers[i] = inputs[i].data;
    Measurement m = {0};
    TRY(measure(app, o, session, buffers, &m));
    Latency latency = latency_of(m.latencies, m.count);
    if (session->build_seconds > 0) printf("Build: %.3f s\n", session->build_seconds);
    printf("Load: %.3f ms, workspace %s\n", session->load_seconds * 1e3,
           format_bytes(&app->arena, (double)smelt_context_workspace(session->context)));
    print_summary(&m, &latency);
    if (o->profile) TRY(print_profile(app, session));
    return o->json != NULL ? write_json(app, o, session, &m, &latency) : STATUS_OK;
}

Status command_bench(App *app, const Command *self, int argc, char **argv) {
    BenchOptions o = {.iterations = 10, .warmup_ms = 200, .duration = 3};
    const Option table[] = {
        {"iterations", 0, OPTION_INT, &o.iterations, "N", "at least so many runs (10)", 1, 1000000000},
        {"warmup", 0, OPTION_REAL, &o.warmup_ms, "MS", "milliseconds of runs before timing (200)", 0, 0},
        {"duration", 0, OPTION_REAL, &o.duration, "S", "at least so many seconds (3)", 0, 0},
        {"input", 0, OPTION_LIST, &o.inputs, "NAME=FILE",
         "an input from a file; others are random (repeatable)", 0, 0},
        {"json", 0, OPTION_TEXT, &o.json, "FILE", "writes the figures", 0, 0},
        {"profile", 0, OPTION_FLAG, &o.profile, NULL, "time of each step with the ONNX nodes behind it", 0,
         0},
        COMPILE_OPTIONS(o.compile),
    };
    TextList models = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &models, 1, 1, &done));
    if (done) return STATUS_OK;
    Session session;
    Status status = session_open(app, models.items[0], &o.compile, &session);
    if (status == STATUS_OK) status = bench(app, &o, &session);
    session_close(app, &session);
    return status;
}
