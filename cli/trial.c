#include "cli/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "cli/measure.h"
#include "cli/trial_numbers.h"
#include "ir/cost.h"
#include "kernels/extract.h"
#include "kernels/lower.h"
#include "runtime/engine.h"

/* A candidate is timed in a plan that runs the problem alone, many times over in one CUDA graph, with its
 * operands in the cache, as a step in front would leave them; what the plan does besides is timed without the
 * candidate and taken off. */
enum {
    MOST_REPEATS = 24,
    LEAST_REPEATS = 4,
    HOST_MACS = 200000000, /* above which the reference is a plain kernel on the GPU */
    MOST_PLAIN = 256,      /* choices among which one is a reference */
    LEAD = 2,              /* runs of a way before those that are timed */
    ROW = 6,
    WAY_TURNS = 11
};
static const double long_time = 2500; /* microseconds of a plan */
static const double slow = 8;         /* times the best: to run it once is enough */

/* -- plans of one problem -- */

/* how NULL: for the host. timings: of what how does not choose; NULL: none. */
static Status plan_graph(const Trials *t, Graph *graph, const LowerTrial *how, const TimingCache *timings,
                         Arena *arena, Plan *plan, Diag *diag) {
    const PassOptions passes = {.start_from = "plan_memory", .strided = how != NULL, .apart = true};
    TRY(passes_run(graph, &passes, NULL, diag));
    const LowerOptions host = {.target = "cpu"};
    if (how == NULL) return lower_to_host(graph, &host, arena, plan, diag);
    const LowerCudaOptions cuda = {.base = {.target = "cuda"},
                                   .devices = {1, {t->device}},
                                   .timings = timings,
                                   .trial = how,
                                   .jit = {.cache_folder = t->settings->cache_dir, .threads = 1}};
    return lower_to_cuda(graph, &cuda, arena, plan, diag);
}

static Status make_plan(const Trials *t, const Problem *problem, const LowerTrial *how, Arena *arena,
                        Plan *plan, Diag *diag) {
    Graph *graph;
    TRY(problem_extract(problem, arena, &graph, diag));
    return plan_graph(t, graph, how, NULL, arena, plan, diag);
}

void trials_compile(const Trials *t, const Problem *problem, const Choice *choice) {
    const LowerTrial how = {.choice = *choice, .repeats = 1};
    Allocator allocator = {0}; /* one for each thread */
    Arena arena;
    Diag diag = {0};
    Plan plan;
    arena_init(&arena, &allocator);
    /* What fails here fails again, and is reported, when it is timed. */
    (void)make_plan(t, problem, &how, &arena, &plan, &diag);
    arena_reset(&arena);
}

/* A plan that is loaded. */
typedef struct Trial {
    Arena arena;
    void *bytes;
    SmeltEngine *engine;
    SmeltContext *context;
} Trial;

static void trial_close(Trial *trial) {
    smelt_context_destroy(trial->context);
    smelt_engine_destroy(trial->engine);
    free(trial->bytes);
    arena_reset(&trial->arena);
}

static bool say(Trials *t, const char *why) {
    snprintf(t->why, sizeof t->why, "%.*s", (int)sizeof t->why - 1, why);
    return false;
}

/* Of the work on the GPU that failed nothing in its context can be trusted: the next trial makes another. */
static bool fail(Trials *t, int status, const char *why) {
    if (status == STATUS_CUDA_FAILED) t->is_open = false;
    return say(t, why);
}

/* way NULL: the problem at hand. */
static bool open_plan(Trials *t, Graph *way, const LowerTrial *how, const TimingCache *timings,
                      Trial *trial) {
    Plan plan;
    Diag diag = {0};
    SmeltError error = {0};
    *trial = (Trial){.arena = {.allocator = &t->app->allocator}};
    ByteWriter bytes = byte_writer(&trial->arena);
    Status made = way == NULL ? make_plan(t, t->problem, how, &trial->arena, &plan, &diag)
                              : plan_graph(t, way, how, timings, &trial->arena, &plan, &diag);
    if (made != STATUS_OK || plan_write_bytes(&plan, &bytes, &diag) != STATUS_OK) return say(t, diag.text);
    trial->bytes = aligned_alloc(64, (bytes.size + 63) / 64 * 64);
    if (trial->bytes == NULL) return say(t, "out of memory");
    memcpy(trial->bytes, bytes.data, bytes.size);
    const SmeltEngineOptions options = {.device = (int)t->settings->device};
    if (smelt_engine_load_memory(trial->bytes, bytes.size, &options, &trial->engine, &error) == SMELT_OK &&
        smelt_context_create(trial->engine, NULL, &trial->context, &error) == SMELT_OK)
        return true;
    return fail(t, error.status, error.message);
}

static bool trial_open(Trials *t, const LowerTrial *how, Trial *trial) {
    return open_plan(t, NULL, how, NULL, trial);
}

/* -- the GPU -- */

static bool check(Trials *t, Status status, const Diag *diag) {
    return status == STATUS_OK || fail(t, (int)status, diag->text);
}

static Status open_gpu(Trials *t, Diag *diag) {
    const SmeltEngineOptions options = {.device = (int)t->settings->device};
    const CudaApi *api = &t->cuda.api;
    TRY(cuda_device_open(&t->cuda, &options, diag));
    TRY(cuda_enter(&t->cuda, diag));
    int result = api->stream_create(&t->stream, CUDA_STREAM_NON_BLOCKING);
    for (int i = 0; i < 2 && result == CUDA_SUCCESS; ++i)
        result = api->event_create(&t->marks[i], CUDA_EVENT_DEFAULT);
    cuda_leave(&t->cuda);
    return cuda_result(api, result, STATUS_CUDA_FAILED, "a stream", diag);
}

static void release_operands(Trials *t) {
    for (int i = 0; i < t->memory_count; ++i) device_release(&t->cuda, &t->operands[i].memory);
    device_release(&t->cuda, &t->zeros);
    t->memory_count = 0;
}

static void close_gpu(Trials *t) {
    const CudaApi *api = &t->cuda.api;
    if (t->cuda.context != NULL && cuda_enter(&t->cuda, NULL) == STATUS_OK) {
        release_operands(t);
        pinned_release(&t->cuda, &t->download);
        for (int i = 0; i < 2; ++i)
            if (t->marks[i] != NULL) (void)api->event_destroy(t->marks[i]);
        if (t->stream != NULL) (void)api->stream_destroy(t->stream);
        cuda_leave(&t->cuda);
    }
    cuda_device_close(&t->cuda);
    for (int i = 0; i < MOST_OPERANDS; ++i) t->operands[i].memory = t->zeros = (DeviceMemory){0};
    t->cuda = (CudaEngine){0};
    t->download = (OwnMemory){0};
    t->stream = t->marks[0] = t->marks[1] = NULL;
    t->memory_count = 0;
    t->is_open = false;
}

/* In memory that stays from the problem before, where that does not leave too little. */
static Status place_operands(Trials *t, Diag *diag) {
    Diag first = {0};
    TRY(cuda_enter(&t->cuda, diag));
    Status status = operands_place(t, &first);
    if (status != STATUS_OK) {
        release_operands(t);
        status = operands_place(t, diag);
    }
    cuda_leave(&t->cuda);
    return status;
}

static bool ready_gpu(Trials *t) {
    Diag diag = {0};
    if (t->is_open) return true;
    close_gpu(t);
    Status status = open_gpu(t, &diag);
    if (status == STATUS_OK) status = place_operands(t, &diag);
    t->is_open = status == STATUS_OK;
    return check(t, status, &diag);
}

/* -- runs -- */

static bool run(Trials *t, const Trial *trial) {
    void *places[MOST_OPERANDS];
    SmeltError error;
    for (int i = 0; i < t->operand_count; ++i) places[i] = (void *)(uintptr_t)t->operands[i].memory.data;
    return smelt_context_enqueue(trial->context, t->stream, places, NULL, &error) == SMELT_OK ||
           fail(t, error.status, error.message);
}

/* Results that no run before has left there. */
static bool run_and_check(Trials *t, const Trial *trial, bool keep) {
    Diag diag = {0};
    return check(t, results_clear(t, &diag), &diag) && run(t, trial) &&
           check(t, keep ? results_keep(t, &diag) : results_compare(t, &diag), &diag);
}

/* Microseconds of one run; negative: it failed. */
static double time_run(Trials *t, const Trial *trial) {
    const CudaApi *api = &t->cuda.api;
    Diag diag = {0};
    float milliseconds = 0;
    int result = api->event_record(t->marks[0], t->stream);
    if (result == CUDA_SUCCESS && !run(t, trial)) return -1;
    if (result == CUDA_SUCCESS) result = api->event_record(t->marks[1], t->stream);
    if (result == CUDA_SUCCESS) result = api->stream_synchronize(t->stream);
    if (result == CUDA_SUCCESS) result = api->event_elapsed(&milliseconds, t->marks[0], t->marks[1]);
    Status status = cuda_result(api, result, STATUS_CUDA_FAILED, "a run on the GPU", &diag);
    return check(t, status, &diag) ? 1e3 * (double)milliseconds : -1;
}

/* The median of some runs behind the first two, of which one makes the graph; once two, of which one may be
 * disturbed, are above the limit there are no more. */
static double time_runs(Trials *t, const Trial *trial, int runs, double limit) {
    double times[MOST_RUNS];
    int count = 0, above = 0;
    if (time_run(t, trial) < 0) return -1;
    while (count < runs && above < 2) {
        times[count] = time_run(t, trial);
        if (times[count] < 0) return -1;
        above += times[count++] > limit;
    }
    qsort(times, (size_t)count, sizeof *times, compare_doubles);
    return times[count / 2];
}

static double time_plan(Trials *t, const Choice *choice, int32_t repeats, int runs, double limit) {
    const LowerTrial how = {.choice = *choice, .repeats = repeats};
    Trial trial = {0};
    double time = -1;
    if (!ready_gpu(t)) return time;
    if (trial_open(t, &how, &trial) && cuda_enter(&t->cuda, NULL) == STATUS_OK) {
        if (run_and_check(t, &trial, false)) time = time_runs(t, &trial, runs, limit);
        cuda_leave(&t->cuda);
    }
    trial_close(&trial);
    return time;
}

double trials_time(Trials *t, const Choice *choice, int runs, double limit) {
    double once = 0;
    if (t->rest < 0) {
        once = time_plan(t, choice, 1, runs, HUGE_VAL);
        if (once < 0) return -1;
        t->repeats = (int32_t)clamp_i64((int64_t)(long_time / fmax(once, 1)), LEAST_REPEATS, MOST_REPEATS);
    }
    /* Of what no model knows, one launch may take as long as thousands of the best. */
    if (t->rest >= 0 && choice->source != CHOICE_MODELLED) {
        once = time_plan(t, choice, 1, 1, HUGE_VAL);
        if (once < 0) return -1;
        if (once - t->rest > slow * t->best) return once - t->rest;
    }
    double often = time_plan(t, choice, t->repeats, runs, fmax(t->rest, 0) + limit * t->repeats);
    if (often < 0) return -1;
    if (t->rest < 0) t->rest = fmax(once - (often - once) / (t->repeats - 1), 0);
    double time = fmax((often - t->rest) / t->repeats, 0);
    t->best = fmin(t->best, time);
    return time;
}

/* With all plans loaded at the same time; false: they do not fit, or one fails. */
static bool time_loaded(Trials *t, const Choice *const *choices, int32_t count, int turns, int runs,
                        double *times) {
    Trial *trials = ARENA_ARRAY(&t->arena, Trial, count);
    int32_t opened = 0;
    bool done = trials != NULL && ready_gpu(t);
    while (done && opened < count) {
        const LowerTrial how = {.choice = *choices[opened], .repeats = t->repeats};
        done = trial_open(t, &how, &trials[opened++]);
    }
    done = done && cuda_enter(&t->cuda, NULL) == STATUS_OK;
    if (done) {
        for (int i = 0; done && i < turns * count; ++i) {
            double *time = &times[i % count * turns + i / count];
            *time = time_runs(t, &trials[i % count], runs, HUGE_VAL);
            done = *time >= 0;
            *time = fmax((*time - t->rest) / t->repeats, 0);
        }
        cuda_leave(&t->cuda);
    }
    for (int32_t i = 0; i < opened; ++i) trial_close(&trials[i]);
    return done;
}

void trials_time_in_turns(Trials *t, const Choice *const *choices, int32_t count, int turns, int runs,
                          double *times) {
    if (t->rest < 0) (void)trials_time(t, choices[0], runs, HUGE_VAL);
    if (t->rest >= 0 && time_loaded(t, choices, count, turns, runs, times)) return;
    for (int i = 0; i < turns * count; ++i)
        times[i % count * turns + i / count] = trials_time(t, choices[i % count], runs, HUGE_VAL);
}

/* -- a problem -- */

static bool describe_operands(Trials *t, const Trial *trial) {
    uint64_t state = 1;
    SmeltError error;
    Diag diag = {0};
    int count = smelt_engine_binding_count(trial->engine);
    if (count > MOST_OPERANDS) return say(t, "too many inputs and outputs");
    for (int i = 0; i < count; ++i) {
        Operand *operand = &t->operands[i];
        *operand = (Operand){.memory = operand->memory};
        if (smelt_engine_binding(trial->engine, i, &operand->binding, &error) != SMELT_OK)
            return say(t, error.message);
        const SmeltBinding *b = &operand->binding;
        if (!dims_storage((DType)b->dtype, b->rank, b->dims, &operand->size))
            return say(t, "sizes that depend on data");
        if (!b->is_output && !check(t, operand_fill(t, operand, &state, &diag), &diag)) return false;
    }
    t->operand_count = count;
    return true;
}

/* What the plan on the host computes. */
static bool run_on_host(Trials *t, const Trial *trial) {
    void *buffers[MOST_OPERANDS];
    SmeltError error;
    for (int i = 0; i < t->operand_count; ++i) {
        buffers[i] = operand_whole(t, &t->operands[i]);
        if (buffers[i] == NULL) return say(t, "out of memory");
    }
    if (smelt_context_run(trial->context, buffers, NULL, &error) != SMELT_OK) return say(t, error.message);
    for (int i = 0; i < t->operand_count; ++i)
        if (t->operands[i].binding.is_output) result_expect(&t->operands[i], buffers[i]);
    return true;
}

bool trials_find_plain(const Problem *problem, const Device *device, Choice *out) {
    Choice all[MOST_PLAIN];
    int64_t macs = 0;
    for (int32_t i = 0; i < problem->node_count; ++i) macs += node_macs(problem->graph, problem->nodes[i]);
    if (macs <= HOST_MACS) return false;
    int32_t count = choices_rank(problem, device, all, MOST_PLAIN);
    for (int32_t i = 0; i < count && i < MOST_PLAIN; ++i) {
        if (all[i].source != CHOICE_PREFERRED) continue;
        *out = all[i];
        return true;
    }
    return false;
}

static bool expect_results(Trials *t, const Choice *trusted, const Trial *host) {
    LowerTrial plain = {.repeats = 1};
    if (trusted != NULL) plain.choice = *trusted;
    if (trusted == NULL && !trials_find_plain(t->problem, t->device, &plain.choice)) {
        if (!run_on_host(t, host)) return false;
    } else {
        Trial trial = {0};
        bool done = ready_gpu(t) && trial_open(t, &plain, &trial) && cuda_enter(&t->cuda, NULL) == STATUS_OK;
        if (done) {
            done = run_and_check(t, &trial, true);
            cuda_leave(&t->cuda);
        }
        trial_close(&trial);
        if (!done) return false;
    }
    results_measure(t);
    return true;
}

static bool set_up(Trials *t, bool expected, const Choice *trusted) {
    Trial host = {0};
    Diag diag = {0};
    bool done = trial_open(t, NULL, &host) && describe_operands(t, &host);
    if (done) done = t->is_open ? check(t, place_operands(t, &diag), &diag) : ready_gpu(t);
    done = done && (!expected || expect_results(t, trusted, &host));
    trial_close(&host);
    return done;
}

bool trials_begin(Trials *t, const Problem *problem, bool expected, const Choice *trusted) {
    arena_reset(&t->arena);
    t->problem = problem;
    t->operand_count = 0;
    t->rest = -1;
    t->best = HUGE_VAL;
    return set_up(t, expected, trusted);
}

/* -- ways -- */

/* Microseconds of one of several runs in a row, behind some that give the host a lead over the GPU; negative:
 * it failed. */
static double time_row(Trials *t, const Trial *trial) {
    const CudaApi *api = &t->cuda.api;
    Diag diag = {0};
    float milliseconds = 0;
    int result = CUDA_SUCCESS;
    for (int i = 0; i < LEAD + ROW && result == CUDA_SUCCESS; ++i) {
        if (i == LEAD) result = api->event_record(t->marks[0], t->stream);
        if (result == CUDA_SUCCESS && !run(t, trial)) return -1;
    }
    if (result == CUDA_SUCCESS) result = api->event_record(t->marks[1], t->stream);
    if (result == CUDA_SUCCESS) result = api->stream_synchronize(t->stream);
    if (result == CUDA_SUCCESS) result = api->event_elapsed(&milliseconds, t->marks[0], t->marks[1]);
    Status status = cuda_result(api, result, STATUS_CUDA_FAILED, "a run on the GPU", &diag);
    return check(t, status, &diag) ? 1e3 * (double)milliseconds / ROW : -1;
}

/* In turns; the median of each counts. The first turn makes the graphs, and does not count. */
static bool time_turns(Trials *t, const Trial *trials, int32_t count, double *microseconds) {
    double times[MOST_WAYS + 1][WAY_TURNS];
    for (int turn = -1; turn < WAY_TURNS; ++turn)
        for (int32_t i = 0; i < count; ++i) {
            double time = time_row(t, &trials[i]);
            if (time < 0) return false;
            if (turn >= 0) times[i][turn] = time;
        }
    for (int32_t i = 0; i < count; ++i) {
        qsort(times[i], WAY_TURNS, sizeof times[i][0], compare_doubles);
        microseconds[i] = times[i][WAY_TURNS / 2];
    }
    return true;
}

/* The ways, and behind them the first with each step twice: what that takes more is its steps' time, and what
 * is left of once then what a run takes besides. */
static bool open_ways(Trials *t, const WayQuestion *question, const TimingCache *timings, Trial *trials,
                      int32_t *opened) {
    const LowerTrial once = {.repeats = 1}, twice = {.repeats = 2};
    for (int32_t i = 0; i <= question->count; ++i) {
        bool last = i == question->count;
        Graph *graph = question->ways[last ? 0 : i].graph;
        *opened = i + 1;
        if (!open_plan(t, graph, last ? &twice : &once, timings, &trials[i])) return false;
    }
    return true;
}

/* All ways have the same operands: each reads and writes those of the first. */
static bool set_up_ways(Trials *t, const WayQuestion *question, const Trial *trials) {
    Diag diag = {0};
    for (int32_t i = 1; i < question->count; ++i)
        if (smelt_engine_binding_count(trials[i].engine) != smelt_engine_binding_count(trials[0].engine))
            return say(t, "ways of different operands");
    t->operand_count = 0;
    if (!describe_operands(t, &trials[0])) return false;
    return t->is_open ? check(t, place_operands(t, &diag), &diag) : ready_gpu(t);
}

bool trials_time_ways(Trials *t, const WayQuestion *question, const TimingCache *timings,
                      double microseconds[MOST_WAYS]) {
    Trial trials[MOST_WAYS + 1] = {0};
    double times[MOST_WAYS + 1];
    int32_t opened = 0;
    arena_reset(&t->arena);
    bool done = open_ways(t, question, timings, trials, &opened) && set_up_ways(t, question, trials) &&
                cuda_enter(&t->cuda, NULL) == STATUS_OK;
    if (done) {
        done = time_turns(t, trials, question->count + 1, times);
        cuda_leave(&t->cuda);
    }
    for (int32_t i = 0; i < opened; ++i) trial_close(&trials[i]);
    double rest = done ? fmax(2 * times[0] - times[question->count], 0) : 0;
    for (int32_t i = 0; done && i < question->count; ++i) {
        microseconds[i] = times[i] - rest;
        if (!(microseconds[i] > 0)) done = say(t, "it takes no time");
    }
    return done;
}

/* -- all of them -- */

Status trials_open(Trials *t, App *app, const CompileSettings *settings, const Device *device) {
    const JitOptions jit = {.cache_folder = settings->cache_dir};
    *t = (Trials){.app = app, .settings = settings, .device = device};
    arena_init(&t->arena, &app->allocator);
    TRY(thread_pool_create((int)settings->threads, &app->allocator, &t->pool, &app->diag));
    return jit_create(&jit, &app->arena, &t->jit, &app->diag);
}

void trials_close(Trials *t) {
    close_gpu(t);
    jit_destroy(t->jit);
    thread_pool_destroy(t->pool);
    arena_reset(&t->arena);
}
