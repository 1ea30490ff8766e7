#include <limits.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/compile.h"
#include "cli/tune.h"
#include "ir/cost.h"
#include "kernels/choice.h"

enum { MOST_CHOICES = 512 };

/* The steps of a graph that are one problem. */
typedef struct Row {
    Problem problem;
    StepCost cost;
    double roofline; /* microseconds */
    int32_t steps;
} Row;

typedef struct Report {
    App *app;
    const Device *device;
    const TimingCache *timings; /* NULL: none */
    const char *filter;
    NameMap known; /* problem -> row */
    int32_t row_count, row_capacity;
    Row *rows;
    Choice choices[MOST_CHOICES]; /* of the row at hand */
    int32_t choice_count;
} Report;

/* -- problems -- */

/* What the matrix units, or the others, and memory need at least. */
static double roofline_of(const Report *r, const Row *row) {
    const Node *anchor = problem_anchor(&row->problem);
    bool contracts = anchor != NULL && op_def(anchor->op)->op_class == OPCLASS_CONTRACTION;
    DType dtype = contracts ? problem_input(&row->problem, 0)->dtype : DTYPE_F32;
    double bytes = row->cost.bytes_read + row->cost.bytes_written;
    return device_roofline_us(r->device, dtype, contracts && row->problem.graph->tf32, row->cost.flops,
                              bytes);
}

static Status add_step(Report *r, const Graph *graph, const UseTable *uses, const NodeId *nodes,
                       int32_t count) {
    App *app = r->app;
    Row row = {.steps = 1};
    TRY(problem_create(graph, uses, nodes, count, &app->arena, &row.problem, &app->diag));
    if (r->filter != NULL && strstr(row.problem.key, r->filter) == NULL) return STATUS_OK;
    int32_t known = name_map_find(&r->known, row.problem.key);
    if (known >= 0) {
        r->rows[known].steps++;
        return STATUS_OK;
    }
    if (!step_cost(graph, uses, nodes, count, &app->arena, &row.cost))
        return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    if (!row.cost.runs || choices_list(&row.problem, r->device, NULL, 0) == 0) return STATUS_OK;
    row.roofline = roofline_of(r, &row);
    if (!name_map_set(&r->known, &app->arena, row.problem.key, r->row_count) ||
        !ARENA_RESERVE(&app->arena, r->rows, r->row_count, r->row_capacity))
        return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    r->rows[r->row_count++] = row;
    return STATUS_OK;
}

static Status find_steps(Report *r, const Graph *graph) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    UseTable uses;
    if (!use_table_build(graph, &r->app->arena, &uses))
        return FAIL(&r->app->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        end = step_end(graph, block, first);
        TRY(add_step(r, graph, &uses, block->nodes + first, end - first));
    }
    return STATUS_OK;
}

/* -- tables -- */

/* Those with a measured time, or an estimate, first, the fastest of them before others. */
static void list_choices(Report *r, const Row *row) {
    int32_t total = choices_rank(&row->problem, r->device, r->choices, MOST_CHOICES);
    r->choice_count = total < MOST_CHOICES ? total : MOST_CHOICES;
    for (int32_t i = 0, measured = 0; i < r->choice_count && r->timings != NULL; ++i) {
        Choice choice = r->choices[i];
        if (!choice_take_time(r->timings, &row->problem, &choice)) continue;
        int32_t at = measured++;
        for (int32_t k = i; k > at; --k) r->choices[k] = r->choices[k - 1];
        for (; at > 0 && r->choices[at - 1].microseconds > choice.microseconds; --at)
            r->choices[at] = r->choices[at - 1];
        r->choices[at] = choice;
    }
}

static void print_choice(const Row *row, const Choice *choice) {
    char config[CONFIG_NUMBERS * 12] = "", name[64];
    double us = choice->microseconds, bytes = row->cost.bytes_read + row->cost.bytes_written;
    for (int32_t i = 0; i < choice->config.count; ++i)
        snprintf(config + strlen(config), sizeof config - strlen(config), "%s%d", i > 0 ? "," : "",
                 choice->config.number[i]);
    snprintf(name, sizeof name, "%s.%d", choice->tactic->name, choice->tactic->version);
    if (us > 0)
        printf("  %-24s %-24s %10.2f us %s %9.2f TFLOP/s %9.1f GB/s %6.1f %%\n", name, config, us,
               choice_source_name(choice->source), row->cost.flops / us * 1e-6, bytes / us * 1e-3,
               100 * row->roofline / us);
    else
        printf("  %-24s %-24s not timed, and no model\n", name, config);
}

static void print_text(Report *r) {
    for (int32_t i = 0; i < r->row_count; ++i) {
        const Row *row = &r->rows[i];
        printf("%s\n  %d step%s, %.3f GFLOP, %.2f MB, roofline %.2f us\n", row->problem.key, row->steps,
               row->steps == 1 ? "" : "s", row->cost.flops * 1e-9,
               (row->cost.bytes_read + row->cost.bytes_written) * 1e-6, row->roofline);
        list_choices(r, row);
        for (int32_t k = 0; k < r->choice_count; ++k) print_choice(row, &r->choices[k]);
    }
    printf("%d problem%s on %s (%s), times of %s\n", r->row_count, r->row_count == 1 ? "" : "s",
           r->device->name, r->device->label, r->timings != NULL ? r->timings->gpu : "the model alone");
}

static void print_json_choice(const Choice *choice) {
    printf("{\"tactic\": \"%s\", \"version\": %d, \"config\": [", choice->tactic->name,
           choice->tactic->version);
    for (int32_t i = 0; i < choice->config.count; ++i)
        printf("%s%d", i > 0 ? ", " : "", choice->config.number[i]);
    if (choice->microseconds > 0)
        printf("], \"us\": %.3f, \"source\": \"%s\"}", choice->microseconds,
               choice_source_name(choice->source));
    else
        printf("]}");
}

static void print_json(Report *r) {
    printf("{\"device\": \"%s\", \"label\": \"%s\", \"problems\": [", r->device->name, r->device->label);
    for (int32_t i = 0; i < r->row_count; ++i) {
        const Row *row = &r->rows[i];
        printf("%s\n{\"problem\": ", i > 0 ? "," : "");
        write_json_string(stdout, row->problem.key);
        printf(", \"steps\": %d, \"flops\": %.0f, \"bytes\": %.0f, \"roofline_us\": %.4f, \"choices\": [",
               row->steps, row->cost.flops, row->cost.bytes_read + row->cost.bytes_written, row->roofline);
        list_choices(r, row);
        for (int32_t k = 0; k < r->choice_count; ++k) {
            printf("%s", k > 0 ? ", " : "");
            print_json_choice(&r->choices[k]);
        }
        printf("]}");
    }
    printf("]}\n");
}

/* -- the command -- */

static bool is_line(const char *text) {
    return strstr(text, " -> ") != NULL && strchr(text, '(') != NULL;
}

/* A graph for each line, in the arena of out. */
static Status load_lines(App *app, const TextList *lines, const CompileSettings *settings, Compiled *out,
                         GraphList *graphs) {
    *out = (Compiled){0};
    arena_init(&out->arena, &app->allocator);
    TRY(tune_check(app, settings));
    TRY(target_choose(app, settings, &out->target));
    TRY(tune_open(app, settings, &out->target));
    Graph **all = ARENA_ARRAY(&out->arena, Graph *, lines->count);
    TRY_ALLOC(&app->diag, all);
    for (int32_t i = 0; i < lines->count; ++i) {
        if (!is_line(lines->items[i]))
            return FAIL(&app->diag, STATUS_USAGE, "'%.200s' is no problem's line", lines->items[i]);
        TRY(problem_parse(lines->items[i], compile_infer, &out->arena, &all[i], &app->diag));
    }
    *graphs = (GraphList){lines->count, all};
    return STATUS_OK;
}

typedef struct TuneSettings {
    CompileSettings compile;
    const char *filter;
    bool json, only_compiles;
} TuneSettings;

static Status report(App *app, const TuneSettings *settings, const Target *target, GraphList graphs) {
    Report *r = ARENA_NEW(&app->arena, Report);
    TRY_ALLOC(&app->diag, r);
    if (!target->cuda) return FAIL(&app->diag, STATUS_USAGE, "tune goes with --target=cuda");
    if (target->devices.count != 1)
        return FAIL(&app->diag, STATUS_USAGE, "tune is for one GPU, %d are named", target->devices.count);
    *r = (Report){.app = app, .device = target->devices.at[0], .filter = settings->filter};
    TRY(tune_every(target, graphs, settings->filter, settings->only_compiles, &r->timings));
    for (int32_t i = 0; i < graphs.count; ++i) TRY(find_steps(r, graphs.at[i]));
    if (settings->json)
        print_json(r);
    else
        print_text(r);
    return STATUS_OK;
}

static Status load(App *app, const TextList *what, const CompileSettings *settings, Compiled *out,
                   GraphList *graphs) {
    if (what->count > 1 || is_line(what->items[0])) return load_lines(app, what, settings, out, graphs);
    TRY(compile_graph(app, what->items[0], settings, out));
    *graphs = (GraphList){1, &out->graph};
    return STATUS_OK;
}

Status command_tune(App *app, const Command *self, int argc, char **argv) {
    TuneSettings settings = {0};
    const Option table[] = {
        COMPILE_OPTIONS(settings.compile),
        {"filter", 0, OPTION_TEXT, &settings.filter, "TEXT", "the problems whose line contains it", 0, 0},
        {"compile-only", 0, OPTION_FLAG, &settings.only_compiles, NULL,
         "compiles what would be timed, into the cache of kernels; the GPU need not be here", 0, 0},
        {"json", 0, OPTION_FLAG, &settings.json, NULL, "as JSON", 0, 0}};
    TextList what = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &what, 1, INT_MAX,
                      &done));
    if (done) return STATUS_OK;
    if (settings.compile.target == NULL) settings.compile.target = "cuda";
    if (settings.compile.tune == NULL) settings.compile.tune = "full";
    Compiled compiled;
    GraphList graphs;
    Status status = load(app, &what, &settings.compile, &compiled, &graphs);
    if (status == STATUS_OK) status = report(app, &settings, &compiled.target, graphs);
    compiled_destroy(&compiled);
    return status;
}
