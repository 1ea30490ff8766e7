#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/measure.h"
#include "cli/profile.h"

typedef struct BenchOptions {
    CompileSettings compile;
    TextList inputs;
    const char *json;
    int64_t iterations, streams;
    double warmup_ms, duration;
    bool profile;
} BenchOptions;

static const char *const part_names[PARTS] = {"Latency", "Enqueue Time", "H2D Latency", "GPU Compute Time",
                                              "D2H Latency"};
static const char *const part_keys[PARTS] = {"latency_ms", "enqueue_ms", "h2d_ms", "gpu_compute_ms",
                                             "d2h_ms"};

/* How many of them the plan has: a CPU plan's runs have no parts. */
static int part_count(const Session *session) {
    SmeltDevice device = {0};
    (void)smelt_engine_device(session->engine, &device, NULL);
    return device.compute_capability > 0 ? PARTS : 1;
}

static void print_summary(const Session *session, const Measurement *m) {
    printf("=== Performance summary ===\n");
    printf("Throughput: %.6g qps\n", (double)m->count / m->wall);
    for (int p = 0; p < part_count(session); ++p) {
        Summary s = summarize(m->parts[p], m->count);
        printf(
            "%s: min = %.6g ms, max = %.6g ms, mean = %.6g ms, median = %.6g ms, percentile(90%%) = %.6g ms, "
            "percentile(95%%) = %.6g ms, percentile(99%%) = %.6g ms\n",
            part_names[p], s.min, s.max, s.mean, s.median, s.p90, s.p95, s.p99);
    }
    printf("Total Host Walltime: %.6g s\n", m->wall);
    if (part_count(session) > 1)
        printf("Total GPU Compute Time: %.6g s\n",
               summarize(m->parts[PART_COMPUTE], m->count).mean * (double)m->count * 1e-3);
    printf("Queries: %lld\n", (long long)m->count);
}

/* What of the GPU's work NVIDIA's libraries do; the goal is none. */
static Status print_library_share(App *app, const Session *session, bool timed) {
    SmeltStepProfile step;
    SmeltError error = {0};
    double all = 0, theirs = 0;
    int launches = 0, calls = 0;
    for (int i = 0; i < smelt_context_step_count(session->context); ++i) {
        if (smelt_context_step(session->context, i, &step, &error) != SMELT_OK)
            return FAIL(&app->diag, (Status)error.status, "%s", error.message);
        launches += step.launches;
        calls += step.library_calls;
        if (step.launches > 0) all += step.microseconds;
        if (step.library_calls > 0) theirs += step.microseconds;
    }
    if (launches == 0 || (calls == 0 && !timed)) return STATUS_OK;
    printf("Library calls: %d of %d launches", calls, launches);
    if (timed && all > 0) printf(", %.2f %% of the time on the GPU", 100 * theirs / all);
    printf(" (the goal is none)\n");
    return STATUS_OK;
}

static Status write_json(App *app, const BenchOptions *o, const Session *session, const Measurement *m,
                         const Profile *profile) {
    ByteWriter text = byte_writer(&app->arena);
    write_format(&text,
                 "{\n  \"throughput_qps\": %.9g,\n  \"queries\": %lld,\n  \"walltime_s\": %.9g,\n  "
                 "\"build_s\": %.9g,\n  \"load_s\": %.9g",
                 (double)m->count / m->wall, (long long)m->count, m->wall, session->build_seconds,
                 session->load_seconds);
    for (int p = 0; p < part_count(session); ++p) {
        Summary s = summarize(m->parts[p], m->count);
        write_format(&text,
                     ",\n  \"%s\": {\"min\": %.9g, \"max\": %.9g, \"mean\": %.9g, \"median\": %.9g, "
                     "\"p90\": %.9g, \"p95\": %.9g, \"p99\": %.9g}",
                     part_keys[p], s.min, s.max, s.mean, s.median, s.p90, s.p95, s.p99);
    }
    if (profile != NULL) {
        write_format(&text, ",\n  \"profile\": ");
        profile_write_json(profile, &text);
    }
    write_format(&text, "\n}\n");
    if (text.failed) return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    return file_replace(o->json, text.data, text.size, &app->diag);
}

static Status bench(App *app, const BenchOptions *o, Session *session) {
    MeasureOptions options = {.iterations = o->iterations,
                              .warmup_ms = o->warmup_ms,
                              .duration = o->duration,
                              .streams = (int)o->streams};
    Tensor *inputs = ARENA_ARRAY(&app->arena, Tensor, session->input_count);
    Measurement m;
    Profile profile;
    TRY_ALLOC(&app->diag, inputs);
    TRY(session_read_named(app, session, &o->inputs, inputs));
    TRY(session_fill_random(app, session, 1, RANDOM_INTEGER, inputs));
    TRY(session_set_shapes(app, session, inputs));
    TRY(measure(app, &options, session, &o->compile, inputs, &m));
    if (session->build_seconds > 0) printf("Build: %.3f s\n", session->build_seconds);
    printf("Load: %.3f ms, workspace %s\n", session->load_seconds * 1e3,
           byte_text((double)smelt_context_workspace(session->context)).text);
    print_summary(session, &m);
    if (o->profile) {
        double microseconds;
        TRY(measure_steps(app, &options, session, inputs, &m, &microseconds));
        TRY(profile_read(app, session, microseconds, &profile));
        profile_print(&profile);
    }
    TRY(print_library_share(app, session, o->profile));
    return o->json != NULL ? write_json(app, o, session, &m, o->profile ? &profile : NULL) : STATUS_OK;
}

Status command_bench(App *app, const Command *self, int argc, char **argv) {
    BenchOptions o = {.iterations = 10, .streams = 1, .warmup_ms = 200, .duration = 3};
    const Option table[] = {
        {"iterations", 0, OPTION_INT, &o.iterations, "N", "at least so many runs (10)", 1, 1000000000},
        {"warmup", 0, OPTION_REAL, &o.warmup_ms, "MS", "milliseconds of runs before timing (200)", 0, 0},
        {"duration", 0, OPTION_REAL, &o.duration, "S", "at least so many seconds (3)", 0, 0},
        {"streams", 0, OPTION_INT, &o.streams, "N",
         "so many contexts at once, each on a thread and stream (1)", 1, 256},
        {"input", 0, OPTION_LIST, &o.inputs, "NAME=FILE",
         "an input from a file; others are random (repeatable)", 0, 0},
        {"json", 0, OPTION_TEXT, &o.json, "FILE", "writes the figures", 0, 0},
        {"profile", 0, OPTION_FLAG, &o.profile, NULL,
         "then measures where the time goes, by step and by ONNX node", 0, 0},
        COMPILE_OPTIONS(o.compile),
    };
    TextList models = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &models, 1, 1, &done));
    if (done) return STATUS_OK;
    if (o.json != NULL) TRY(file_can_replace(o.json, &app->diag));
    if (o.compile.tune == NULL && !is_plan_path(models.items[0])) o.compile.tune = "quick";
    Session session;
    Status status = session_open(app, models.items[0], &o.compile, &session);
    if (status == STATUS_OK) status = bench(app, &o, &session);
    session_close(app, &session);
    return status;
}
