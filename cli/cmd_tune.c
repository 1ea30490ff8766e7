#include <string.h>

#include "cli/commands.h"
#include "cli/compile.h"
#include "cli/tune.h"
#include "ir/cost.h"
#include "kernels/choice.h"
#include "runtime/smelt_runtime.h"

/* The steps of a graph that are one problem. */
typedef struct Row {
    Problem problem;
    StepCost cost;
    int32_t steps;
} Row;

typedef struct Report {
    App *app;
    const Graph *graph;
    const TimingCache *timings;
    const char *filter;
    double bandwidth; /* of the GPU's memory, bytes per second; 0: not known */
    UseTable uses;
    NameMap known; /* problem -> row */
    int32_t row_count, row_capacity;
    Row *rows;
} Report;

static Status add_step(Report *r, const NodeId *nodes, int32_t count) {
    App *app = r->app;
    Row row = {.steps = 1};
    TRY(problem_create(r->graph, &r->uses, nodes, count, &app->arena, &row.problem, &app->diag));
    if (r->filter != NULL && strstr(row.problem.key, r->filter) == NULL) return STATUS_OK;
    int32_t known = name_map_find(&r->known, row.problem.key);
    if (known >= 0) {
        r->rows[known].steps++;
        return STATUS_OK;
    }
    if (!timing_cache_knows(r->timings, row.problem.key)) return STATUS_OK;
    if (!step_cost(r->graph, &r->uses, nodes, count, &app->arena, &row.cost) ||
        !name_map_set(&r->known, &app->arena, row.problem.key, r->row_count) ||
        !ARENA_RESERVE(&app->arena, r->rows, r->row_count, r->row_capacity))
        return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    r->rows[r->row_count++] = row;
    return STATUS_OK;
}

static Status find_steps(Report *r) {
    const Block *block = &r->graph->blocks[MAIN_BLOCK];
    if (!use_table_build(r->graph, &r->app->arena, &r->uses))
        return FAIL(&r->app->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        end = step_end(r->graph, block, first);
        TRY(add_step(r, block->nodes + first, end - first));
    }
    return STATUS_OK;
}

static bool is_of(const Timing *timing, const Row *row) {
    return strcmp(timing->problem, row->problem.key) == 0;
}

/* Fastest first. */
static void print_times(const Report *r, const Row *row) {
    double last = 0, bytes = row->cost.bytes_read + row->cost.bytes_written;
    for (;;) {
        const Timing *next = NULL;
        for (int32_t i = 0; i < r->timings->count; ++i) {
            const Timing *timing = &r->timings->rows[i];
            if (is_of(timing, row) && timing->microseconds > last &&
                (next == NULL || timing->microseconds < next->microseconds))
                next = timing;
        }
        if (next == NULL) return;
        last = next->microseconds;
        char config[CONFIG_NUMBERS * 12] = "";
        for (int32_t i = 0; i < next->config.count; ++i)
            snprintf(config + strlen(config), sizeof config - strlen(config), "%s%d", i > 0 ? "," : "",
                     next->config.number[i]);
        double rate = bytes / last * 1e6;
        printf("  %-20s %-24s %10.2f us %9.2f TFLOP/s %9.1f GB/s", next->tactic, config, last,
               row->cost.flops / last * 1e-6, rate * 1e-9);
        if (r->bandwidth > 0) printf(" %6.1f %% of memory", 100 * rate / r->bandwidth);
        printf("\n");
    }
}

static void print_report(const Report *r) {
    for (int32_t i = 0; i < r->row_count; ++i) {
        const Row *row = &r->rows[i];
        printf("%s\n  %d step%s, %.3f GFLOP, %s\n", row->problem.key, row->steps, row->steps == 1 ? "" : "s",
               row->cost.flops * 1e-9, byte_text(row->cost.bytes_read + row->cost.bytes_written).text);
        print_times(r, row);
    }
    printf("%d problem%s with times for %s\n", r->row_count, r->row_count == 1 ? "" : "s", r->timings->gpu);
}

Status command_tune(App *app, const Command *self, int argc, char **argv) {
    CompileSettings settings = {0};
    const char *filter = NULL;
    const Option table[] = {
        COMPILE_OPTIONS(settings),
        {"filter", 0, OPTION_TEXT, &filter, "TEXT", "shows the problems whose line contains it", 0, 0}};
    TextList models = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &models, 1, 1, &done));
    if (done) return STATUS_OK;
    if (settings.target == NULL) settings.target = "cuda";
    if (settings.tune == NULL) settings.tune = "full";
    const char *gpu;
    TRY(tune_gpu_name(app, &settings, &gpu));
    Compiled compiled;
    Status status = compile_model(app, models.items[0], &settings, &compiled);
    Report report = {.app = app, .graph = compiled.graph, .timings = compiled.timings, .filter = filter};
    SmeltDevice device;
    SmeltError error;
    if (smelt_device((int)settings.device, &device, &error) == SMELT_OK) report.bandwidth = device.bandwidth;
    if (status == STATUS_OK && report.timings == NULL)
        status = FAIL(&app->diag, STATUS_WRONG_DEVICE, "the target is not the GPU that is here");
    if (status == STATUS_OK) status = find_steps(&report);
    if (status == STATUS_OK) print_report(&report);
    compiled_destroy(&compiled);
    return status;
}
