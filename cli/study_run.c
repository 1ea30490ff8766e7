#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/measure.h"
#include "cli/precision.h"
#include "cli/study.h"
#include "ir/cost.h"

enum { ROUNDS = 5 };

/* Runs of one build, gathered over the rounds. */
typedef struct Times {
    int64_t count, capacity;
    double *items; /* ms */
} Times;

/* A build that is open to be run. */
typedef struct Bench {
    Session session;
    Tensor *inputs;
    Times times;
} Bench;

typedef struct Runner {
    Study *study;
    Bench all, reference;
    Tensor *expected; /* the reference's outputs; NULL: nothing is compared */
    bool runs_here;
} Runner;

/* -- building -- */

Status study_begin(Study *study) {
    CompileSettings settings = study->options->compile;
    arena_init(&study->kept, &study->app->allocator);
    study->history.arena = &study->kept;
    settings.history = &study->history;
    return compile_model(study->app, study->model, &settings, &study->all);
}

void study_end(Study *study) {
    compiled_destroy(&study->all);
    arena_reset(&study->kept);
}

/* What the row's passes touch and take when they are on; all of them for the row where none is off. */
static void describe_passes(const Study *study, StudyRow *row) {
    row->touched = 0;
    row->pass_ms = 0;
    for (int32_t i = 1; i < study->history.step_count; ++i) {
        const HistoryStep *step = &study->history.steps[i];
        if (row->off.count > 0 && !text_list_has(&row->off, step->pass)) continue;
        row->touched += nodes_touched(study->history.steps[i - 1].graph, step->graph);
        row->pass_ms += 1e3 * step->seconds;
    }
}

static Status describe_plan(App *app, const Compiled *compiled, StudyRow *row) {
    GraphCost cost;
    Arena scratch = {.allocator = &app->allocator};
    const Plan *plan = &compiled->plan;
    bool good = graph_cost(compiled->graph, &scratch, &cost);
    arena_reset(&scratch);
    if (!good) return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    row->kernels = compiled->target.cuda ? 0 : cost.steps;
    for (int32_t i = 0; compiled->target.cuda && i < plan->programs[0].step_count; ++i) {
        const PlanStep *step = &plan->steps[plan->programs[0].step_first + i];
        row->kernels += step->launch_count > 0;
        row->host_steps += step->kind == PLAN_STEP_HOST;
    }
    row->bytes = cost.bytes_read + cost.bytes_written;
    row->flops = cost.flops;
    row->arena = plan->arena_size;
    row->weights = (int64_t)plan->weights_size;
    return STATUS_OK;
}

/* The command line's settings with the row's passes off too. */
static Status row_settings(Study *study, const StudyRow *row, CompileSettings *out) {
    *out = study->options->compile;
    out->studied = true;
    int32_t count = out->disabled.count + row->off.count;
    const char **names = ARENA_ARRAY(&study->app->arena, const char *, count);
    TRY_ALLOC(&study->app->diag, names);
    for (int32_t i = 0; i < count; ++i)
        names[i] = i < out->disabled.count ? out->disabled.items[i] : row->off.items[i - out->disabled.count];
    out->disabled = (TextList){.count = count, .items = names};
    out->target = study->all.target.cuda ? "cuda" : "cpu"; /* chosen once, and said once */
    out->dump_dir = NULL;
    return STATUS_OK;
}

/* -- running -- */

/* The reference's inputs; where the build takes a narrower type, in that. */
static Status share_inputs(Study *study, const Bench *reference, Bench *bench) {
    App *app = study->app;
    for (int i = 0; i < bench->session.input_count; ++i) {
        DType wanted = (DType)bench->session.bindings[i].dtype;
        Tensor *own = &bench->inputs[i];
        *own = reference->inputs[i];
        if (own->dtype != DTYPE_F32 || !dtype_is_float(wanted) || wanted == DTYPE_F32) continue;
        own->dtype = wanted;
        own->data = arena_alloc(&app->arena, tensor_bytes(own));
        TRY_ALLOC(&app->diag, own->data);
        dtype_write_f32(wanted, own->data, 0, tensor_count(own), reference->inputs[i].data);
    }
    return STATUS_OK;
}

static Status read_inputs(Runner *runner, Bench *bench) {
    Study *study = runner->study;
    App *app = study->app;
    const Session *session = &bench->session;
    bench->inputs = ARENA_ARRAY(&app->arena, Tensor, session->input_count);
    TRY_ALLOC(&app->diag, bench->inputs);
    if (bench != &runner->reference && runner->reference.inputs != NULL)
        TRY(share_inputs(study, &runner->reference, bench));
    else if (study->options->data != NULL)
        TRY(session_read_inputs(app, session, study->options->data, bench->inputs));
    else
        TRY(session_fill_random(app, session, 1, RANDOM_INTEGER, bench->inputs));
    return session_set_shapes(app, &bench->session, bench->inputs);
}

static Status run_once(Study *study, Bench *bench, Tensor **outputs) {
    App *app = study->app;
    *outputs = ARENA_ARRAY(&app->arena, Tensor, bench->session.binding_count - bench->session.input_count);
    TRY_ALLOC(&app->diag, *outputs);
    return session_run(app, &bench->session, bench->inputs, *outputs);
}

/* The error of the build's outputs against the reference's. */
static Status compare(Runner *runner, Bench *bench, double *error) {
    Tensor *got;
    const Session *session = &runner->reference.session;
    TRY(run_once(runner->study, bench, &got));
    for (int i = 0; i < session->binding_count - session->input_count; ++i) {
        double each = tensor_error(&got[i], &runner->expected[i]);
        if (each > *error) *error = each;
    }
    return STATUS_OK;
}

static Status time_round(Study *study, Bench *bench) {
    enum { LEAST_RUNS = 3, WARMUP_SHARE = 10 };
    App *app = study->app;
    double seconds = study->options->duration / ROUNDS;
    MeasureOptions options = {.iterations = LEAST_RUNS,
                              .warmup_ms = seconds * 1e3 / WARMUP_SHARE,
                              .duration = seconds,
                              .streams = 1};
    Measurement m;
    TRY(measure(app, &options, &bench->session, &study->options->compile, bench->inputs, &m));
    RunPart part = m.count > 0 && m.parts[PART_COMPUTE][0] > 0 ? PART_COMPUTE : PART_LATENCY;
    for (int64_t i = 0; i < m.count; ++i) {
        Times *times = &bench->times;
        if (times->count == times->capacity) {
            times->capacity = times->capacity == 0 ? 1024 : times->capacity * 2;
            times->items = arena_grow(&app->arena, times->items, (size_t)times->count,
                                      (size_t)times->capacity, sizeof *times->items);
            TRY_ALLOC(&app->diag, times->items);
        }
        times->items[times->count++] = m.parts[part][i];
    }
    return STATUS_OK;
}

static double median_from(Times *times, int64_t first) {
    if (times->count == first) return -1;
    qsort(times->items + first, (size_t)(times->count - first), sizeof(double), compare_doubles);
    return summarize(times->items + first, times->count - first).median;
}

/* In turns with the build with all passes, so that what happens to the machine meanwhile happens to both;
 * each round is compared with its neighbour. */
static Status time_pair(Runner *runner, Bench *bench, StudyRow *row) {
    double ratios[ROUNDS];
    for (int round = 0; round < ROUNDS; ++round) {
        int64_t all_first = runner->all.times.count, first = bench->times.count;
        TRY(time_round(runner->study, &runner->all));
        TRY(time_round(runner->study, bench));
        double all = median_from(&runner->all.times, all_first), own = median_from(&bench->times, first);
        ratios[round] = all > 0 ? own / all : 1;
    }
    qsort(ratios, ROUNDS, sizeof(double), compare_doubles);
    row->ratio = ratios[ROUNDS / 2];
    row->time = median_from(&bench->times, 0);
    return STATUS_OK;
}

/* -- rows -- */

/* A plan for other GPUs than the one that is here is not timed. */
static Status open_here(Runner *runner, const Compiled *compiled, const CompileSettings *settings,
                        Bench *bench) {
    Study *study = runner->study;
    App *app = study->app;
    Status status = session_open_plan(app, &compiled->plan, settings, &bench->session);
    if (status != STATUS_WRONG_DEVICE) return status;
    session_close(app, &bench->session);
    study->not_timed = arena_strndup(&app->arena, app->diag.text, strcspn(app->diag.text, "\n"));
    diag_clear(&app->diag);
    TRY_ALLOC(&app->diag, study->not_timed);
    runner->runs_here = false;
    return STATUS_OK;
}

/* Where the plan does not run here, its passes' results are compared as the host has them. */
static Status open_bench(Runner *runner, const Compiled *compiled, const CompileSettings *settings,
                         Bench *bench) {
    Study *study = runner->study;
    CompileSettings host = *settings;
    if (runner->runs_here) TRY(open_here(runner, compiled, settings, bench));
    if (!runner->runs_here) {
        host.target = "cpu";
        host.gpu = NULL;
        TRY(session_open(study->app, study->model, &host, &bench->session));
    }
    return read_inputs(runner, bench);
}

/* All of a plan but the weights and how it was made. */
static Status write_steps(App *app, const Plan *plan, ByteWriter *out) {
    Plan steps = *plan;
    steps.meta_count = 0;
    steps.weights_size = 0;
    return plan_write_bytes(&steps, out, &app->diag);
}

/* Whether the passes that are off have nothing to do: the plan is that of the build with all passes. */
static Status is_same_plan(Study *study, const Plan *plan, bool *same) {
    const Plan *all = &study->all.plan;
    Arena scratch;
    arena_init(&scratch, &study->app->allocator);
    ByteWriter own = byte_writer(&scratch), others = byte_writer(&scratch);
    Status status = write_steps(study->app, plan, &own);
    if (status == STATUS_OK) status = write_steps(study->app, all, &others);
    *same = status == STATUS_OK && own.size == others.size && memcmp(own.data, others.data, own.size) == 0 &&
            plan->weights_size == all->weights_size &&
            (plan->weights_size == 0 || memcmp(plan->weights, all->weights, plan->weights_size) == 0);
    arena_reset(&scratch);
    return status;
}

static Status try_row(Runner *runner, StudyRow *row, const Compiled *compiled,
                      const CompileSettings *settings) {
    Study *study = runner->study;
    bool is_all = row == &study->rows[0];
    Bench own = {0}, *bench = is_all ? &runner->all : &own;
    bool compares = runner->expected != NULL, times = runner->runs_here && study->not_timed == NULL;
    bool same = false;
    if (!compares && !times) return STATUS_OK;
    if (!is_all && !times && study->rows[0].status == STATUS_OK)
        TRY(is_same_plan(study, &compiled->plan, &same));
    if (same) {
        row->error = study->rows[0].error;
        return STATUS_OK;
    }
    Status status = open_bench(runner, compiled, settings, bench);
    if (status == STATUS_OK && compares) status = compare(runner, bench, &row->error);
    if (status == STATUS_OK && study->not_timed == NULL && times && !is_all &&
        runner->all.session.engine != NULL)
        status = time_pair(runner, bench, row);
    if (!is_all) session_close(study->app, &own.session);
    return status;
}

static Status build_row(Runner *runner, StudyRow *row) {
    Study *study = runner->study;
    App *app = study->app;
    CompileSettings settings;
    Compiled compiled = {0};
    bool is_all = row == &study->rows[0];
    TRY(row_settings(study, row, &settings));
    describe_passes(study, row);
    double start = clock_seconds();
    LogLevel level = app->log.level;
    app->log.level = LOG_ERROR; /* what builds say has been said for the first */
    Status status = is_all ? STATUS_OK : compile_model(app, study->model, &settings, &compiled);
    row->build_seconds = is_all ? row->build_seconds : clock_seconds() - start;
    const Compiled *built = is_all ? &study->all : &compiled;
    if (status == STATUS_OK) status = describe_plan(app, built, row);
    if (status == STATUS_OK) status = try_row(runner, row, built, &settings);
    app->log.level = level;
    compiled_destroy(&compiled);
    return status;
}

/* A row's failure is a result too. */
static Status note_failure(Study *study, StudyRow *row, Status status) {
    char text[DIAG_TEXT + 4 * DIAG_CONTEXT];
    if (status == STATUS_OK) return STATUS_OK;
    diag_format(&study->app->diag, text, sizeof text);
    diag_clear(&study->app->diag);
    row->status = status;
    row->failure = arena_strdup(&study->app->arena, text);
    return row->failure != NULL && status != STATUS_NO_MEMORY
               ? STATUS_OK
               : FAIL(&study->app->diag, STATUS_NO_MEMORY, "out of memory");
}

/* What all is compared with: no optional pass, f32, on the host. */
static Status open_reference(Runner *runner) {
    Study *study = runner->study;
    CompileSettings settings;
    TRY(row_settings(study, &study->rows[study->row_count - 1], &settings));
    settings.target = "cpu";
    settings.gpu = settings.precision = settings.io_precision = settings.calib = NULL;
    settings.keep_fp32 = settings.force_fp16 = (TextList){0};
    settings.max_error = 0;
    settings.variant = 0;
    TRY(session_open(study->app, study->model, &settings, &runner->reference.session));
    TRY(read_inputs(runner, &runner->reference));
    return run_once(study, &runner->reference, &runner->expected);
}

/* Says what can't be found out here, and why. */
static void choose_runs(Runner *runner) {
    Study *study = runner->study;
    Arena *arena = &study->app->arena;
    SmeltDevice device;
    SmeltError error;
    int64_t work = graph_work(study->all.graph), most = study->all.precision->options.most_work;
    bool cuda = study->all.target.cuda, here = !cuda;
    if (cuda) here = smelt_device((int)study->options->compile.device, &device, &error) == SMELT_OK;
    runner->runs_here = here;
    if (study->options->no_run) {
        study->not_timed = study->not_compared = "--no-run";
        return;
    }
    if (!here) study->not_timed = "there is no GPU here";
    if (study->options->duration <= 0) study->not_timed = "--duration=0";
    if (work <= most || study->options->data != NULL) return;
    study->not_compared =
        arena_printf(arena, "a run is %s multiply-adds; --data asks for it", count_text((double)work).text);
    if (!cuda && study->not_timed == NULL) study->not_timed = study->not_compared;
}

/* Inputs on which the reference does not run are none to time anything on either. */
static Status find_reference(Runner *runner) {
    Study *study = runner->study;
    App *app = study->app;
    Status status = open_reference(runner);
    if (status == STATUS_OK || status == STATUS_NO_MEMORY) return status;
    study->not_compared = arena_printf(
        &app->arena, "the reference does not run%s (%s)",
        study->options->data == NULL ? " on random inputs; --data gives others" : "", app->diag.text);
    TRY_ALLOC(&app->diag, study->not_compared);
    if (study->not_timed == NULL) study->not_timed = study->not_compared;
    diag_clear(&app->diag);
    session_close(app, &runner->reference.session);
    runner->reference = (Bench){0};
    runner->expected = NULL;
    return STATUS_OK;
}

Status study_run(Study *study) {
    App *app = study->app;
    Runner runner = {.study = study};
    Progress progress;
    Status status = STATUS_OK;
    choose_runs(&runner);
    if (study->not_compared == NULL) status = find_reference(&runner);
    progress_begin(&progress, "study");
    for (int32_t i = 0; i < study->row_count && status == STATUS_OK; ++i) {
        progress_step(&progress, study->rows[i].name, i, study->row_count);
        status = note_failure(study, &study->rows[i], build_row(&runner, &study->rows[i]));
    }
    progress_end(&progress);
    if (status == STATUS_OK) study->rows[0].time = median_from(&runner.all.times, 0);
    session_close(app, &runner.all.session);
    session_close(app, &runner.reference.session);
    return status;
}
