#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/study.h"

/* -- which rows -- */

static Status add_row(Study *study, const char *name, StudyRow **out) {
    App *app = study->app;
    TRY_ALLOC(&app->diag, name);
    if (!ARENA_RESERVE(&app->arena, study->rows, study->row_count, study->row_capacity))
        return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    *out = &study->rows[study->row_count++];
    **out = (StudyRow){.name = name, .touched = -1, .pass_ms = -1, .time = -1, .ratio = -1, .error = -1};
    return STATUS_OK;
}

static Status turn_off(Study *study, StudyRow *row, const char *pass) {
    App *app = study->app;
    if (!ARENA_RESERVE(&app->arena, row->off.items, row->off.count, row->off.capacity))
        return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    row->off.items[row->off.count++] = pass;
    return STATUS_OK;
}

/* The optional passes that the build with all passes has run, in order. */
typedef struct Optional {
    int32_t count;
    const char **names;
} Optional;

static Status find_optional(Study *study, Optional *out) {
    App *app = study->app;
    const Pass *list;
    int32_t count;
    TRY(pass_list(study->all.plugins.passes, study->all.plugins.pass_count, &app->arena, &list, &count,
                  &app->diag));
    out->names = ARENA_ARRAY(&app->arena, const char *, count);
    TRY_ALLOC(&app->diag, out->names);
    for (int32_t i = 0; i < count; ++i)
        for (int32_t k = 1; k < study->history.step_count && !list[i].required; ++k)
            if (strcmp(study->history.steps[k].pass, list[i].name) == 0)
                out->names[out->count++] = list[i].name;
    return STATUS_OK;
}

static Status unknown_pass(App *app, const Optional *optional, const char *name) {
    ByteWriter names = byte_writer(&app->arena);
    for (int32_t i = 0; i < optional->count; ++i)
        write_format(&names, "%s%s", i > 0 ? ", " : "", optional->names[i]);
    write_u8(&names, 0);
    if (!names.failed) diag_hint(&app->diag, "those that can be left out are %s", (const char *)names.data);
    return FAIL(&app->diag, STATUS_USAGE, "--passes: '%s' is no pass that can be left out", name);
}

/* "PASS+PASS" behind the label. */
static Status add_set(Study *study, const Optional *optional, const char *item) {
    App *app = study->app;
    const char *equals = strchr(item, '='), *at = equals != NULL ? equals + 1 : item;
    const char *label = equals != NULL ? arena_strndup(&app->arena, item, (size_t)(equals - item))
                                       : arena_printf(&app->arena, "without %s", item);
    StudyRow *row;
    TRY(add_row(study, label, &row));
    for (;;) {
        size_t length = strcspn(at, "+");
        const char *name = arena_strndup(&app->arena, at, length), *found = NULL;
        TRY_ALLOC(&app->diag, name);
        for (int32_t i = 0; i < optional->count; ++i)
            if (strcmp(optional->names[i], name) == 0) found = optional->names[i];
        if (found == NULL) return unknown_pass(app, optional, name);
        TRY(turn_off(study, row, found));
        if (at[length] == '\0') return STATUS_OK;
        at += length + 1;
    }
}

static Status add_pairs(Study *study, const Optional *optional) {
    for (int32_t i = 0; i < optional->count; ++i)
        for (int32_t k = i + 1; k < optional->count; ++k) {
            const char *item =
                arena_printf(&study->app->arena, "%s+%s", optional->names[i], optional->names[k]);
            TRY_ALLOC(&study->app->diag, item);
            TRY(add_set(study, optional, item));
        }
    return STATUS_OK;
}

static Status add_item(Study *study, const Optional *optional, const char *item) {
    if (strcmp(item, "pairs") == 0) return add_pairs(study, optional);
    if (strcmp(item, "each") != 0) return add_set(study, optional, item);
    for (int32_t i = 0; i < optional->count; ++i) TRY(add_set(study, optional, optional->names[i]));
    return STATUS_OK;
}

/* All passes; what --passes lists; none. */
static Status plan_rows(Study *study, double seconds) {
    App *app = study->app;
    Optional optional = {0};
    StudyRow *row;
    TRY(find_optional(study, &optional));
    TRY(add_row(study, "all passes", &row));
    row->build_seconds = seconds;
    for (const char *at = study->options->passes;;) {
        size_t length = strcspn(at, ",");
        const char *item = arena_strndup(&app->arena, at, length);
        TRY_ALLOC(&app->diag, item);
        TRY(add_item(study, &optional, item));
        if (at[length] == '\0') break;
        at += length + 1;
    }
    TRY(add_row(study, "no optional pass", &row));
    for (int32_t i = 0; i < optional.count; ++i) TRY(turn_off(study, row, optional.names[i]));
    return STATUS_OK;
}

/* -- the table -- */

enum { COLUMNS = 11 };
static const char *const columns[COLUMNS] = {"build", "touched", "pass ms", "kernels", "host", "bytes",
                                             "FLOP",  "arena",   "ms",      "vs all",  "error"};

static const char *shown(Arena *arena, bool known, const char *format, double value) {
    char text[64];
    if (!known) return "-";
    snprintf(text, sizeof text, format, value);
    const char *copy = arena_strdup(arena, text);
    return copy != NULL ? copy : "?";
}

static const char *kept(Arena *arena, UnitText text) {
    const char *copy = arena_strdup(arena, text.text);
    return copy != NULL ? copy : "?";
}

static void fill_cells(Study *study, const StudyRow *row, const char **cells) {
    Arena *arena = &study->app->arena;
    bool built = row->status == STATUS_OK, cuda = study->all.target.cuda;
    cells[0] = row->name;
    cells[1] = shown(arena, row->touched >= 0, "%.0f", row->touched);
    cells[2] = shown(arena, row->pass_ms >= 0, "%.1f", row->pass_ms);
    cells[3] = shown(arena, built, "%.0f", row->kernels);
    cells[4] = shown(arena, built && cuda, "%.0f", row->host_steps);
    cells[5] = built ? kept(arena, byte_text(row->bytes)) : "-";
    cells[6] = built ? kept(arena, count_text(row->flops)) : "-";
    cells[7] = built ? kept(arena, byte_text((double)row->arena)) : "-";
    cells[8] = shown(arena, row->time >= 0, "%.4g", row->time);
    cells[9] = shown(arena, row->ratio >= 0, "%.3fx", row->ratio);
    cells[10] = row->failure != NULL ? "failed" : shown(arena, row->error >= 0, "%.2g", row->error);
}

static Status make_cells(Study *study, const char ***out) {
    *out = ARENA_ARRAY(&study->app->arena, const char *, (size_t)study->row_count *COLUMNS);
    TRY_ALLOC(&study->app->diag, *out);
    for (int32_t i = 0; i < study->row_count; ++i)
        fill_cells(study, &study->rows[i], *out + (ptrdiff_t)i * COLUMNS);
    return STATUS_OK;
}

/* What the numbers are, and why some are not there. */
static const char *make_note(const Study *study) {
    Arena *arena = &study->app->arena;
    const char *time = study->not_timed != NULL
                           ? arena_printf(arena, "not timed: %s", study->not_timed)
                           : "ms: median of a run; vs all: in turns with the build with all passes";
    const char *error =
        study->not_compared != NULL
            ? arena_printf(arena, "not compared: %s", study->not_compared)
            : "error: against no optional pass in fp32 on the host, relative to the output's range";
    return arena_printf(arena,
                        "target %s; touched: nodes that the passes left out here change when they run; pass "
                        "ms: how long they "
                        "take; bytes and FLOP: what the steps must move and do at least; %s; %s",
                        study->target, time, error);
}

static void print_table(const Study *study, const char *const *cells, const char *note) {
    int widths[COLUMNS];
    for (int c = 0; c < COLUMNS; ++c) {
        widths[c] = (int)strlen(columns[c]);
        for (int32_t r = 0; r < study->row_count; ++r)
            if ((int)strlen(cells[r * COLUMNS + c]) > widths[c])
                widths[c] = (int)strlen(cells[r * COLUMNS + c]);
    }
    printf("%s\n", study->model);
    for (int32_t r = -1; r < study->row_count; ++r) {
        for (int c = 0; c < COLUMNS; ++c) {
            const char *text = r < 0 ? columns[c] : cells[r * COLUMNS + c];
            printf(c == 0 ? "%-*s" : "  %*s", widths[c], text);
        }
        printf("\n");
        if (r >= 0 && study->rows[r].failure != NULL) printf("    %s\n", study->rows[r].failure);
    }
    printf("%s\n", note);
}

static void write_row(ByteWriter *out, const StudyRow *row, bool cuda) {
    bool built = row->status == STATUS_OK;
    write_format(out, "    {\"name\": ");
    write_json_text(out, row->name);
    write_format(out, ", \"off\": [");
    for (int32_t i = 0; i < row->off.count; ++i) {
        write_format(out, i > 0 ? ", " : "");
        write_json_text(out, row->off.items[i]);
    }
    write_format(out, "], \"failure\": ");
    if (row->failure != NULL)
        write_json_text(out, row->failure);
    else
        write_format(out, "null");
    write_json_number(out, "touched", row->touched >= 0, row->touched);
    write_json_number(out, "pass_ms", row->pass_ms >= 0, row->pass_ms);
    write_json_number(out, "kernels", built, row->kernels);
    write_json_number(out, "host_steps", built && cuda, row->host_steps);
    write_json_number(out, "bytes", built, row->bytes);
    write_json_number(out, "flops", built, row->flops);
    write_json_number(out, "arena", built, (double)row->arena);
    write_json_number(out, "weights", built, (double)row->weights);
    write_json_number(out, "build_s", built, row->build_seconds);
    write_json_number(out, "time_ms", row->time >= 0, row->time);
    write_json_number(out, "vs_all", row->ratio >= 0, row->ratio);
    write_json_number(out, "error", row->error >= 0, row->error);
    write_format(out, "}");
}

static void write_pass(ByteWriter *out, const Study *study, int32_t index) {
    const HistoryStep *step = &study->history.steps[index];
    write_format(out, "    {\"name\": ");
    write_json_text(out, step->pass);
    write_format(out, ", \"seconds\": %.6f, \"weights_seconds\": %.6f", step->seconds, step->data_seconds);
    write_format(out, ", \"touched\": %d, \"refused\": %d, \"counters\": {",
                 nodes_touched(study->history.steps[index - 1].graph, step->graph), step->rejection_count);
    for (int32_t i = 0; i < step->counter_count; ++i) {
        write_format(out, i > 0 ? ", " : "");
        write_json_text(out, step->counters[i].name);
        write_format(out, ": %lld", (long long)step->counters[i].value);
    }
    write_format(out, "}}");
}

static Status print_json(const Study *study, const char *note) {
    ByteWriter out = byte_writer(&study->app->arena);
    write_format(&out, "{\n  \"model\": ");
    write_json_text(&out, study->model);
    write_format(&out, ",\n  \"target\": ");
    write_json_text(&out, study->target);
    write_format(&out, ",\n  \"note\": ");
    write_json_text(&out, note);
    write_format(&out, ",\n  \"passes\": [\n");
    for (int32_t i = 1; i < study->history.step_count; ++i) {
        write_pass(&out, study, i);
        write_format(&out, i + 1 < study->history.step_count ? ",\n" : "\n");
    }
    write_format(&out, "  ],\n  \"builds\": [\n");
    for (int32_t i = 0; i < study->row_count; ++i) {
        write_row(&out, &study->rows[i], study->all.target.cuda);
        write_format(&out, i + 1 < study->row_count ? ",\n" : "\n");
    }
    write_format(&out, "  ]\n}\n");
    if (out.failed) return FAIL(&study->app->diag, STATUS_NO_MEMORY, "out of memory");
    fwrite(out.data, 1, out.size, stdout);
    return STATUS_OK;
}

/* -- the command -- */

static const char *name_target(App *app, const Target *target) {
    const char *text = target->cuda ? "cuda" : "cpu";
    for (int32_t i = 0; i < target->devices.count && text != NULL; ++i)
        text = arena_printf(&app->arena, "%s %s", text, target->devices.at[i]->arch);
    return text;
}

static Status report(Study *study) {
    const char **cells, *note = make_note(study);
    TRY_ALLOC(&study->app->diag, note);
    TRY(make_cells(study, &cells));
    if (study->options->json)
        TRY(print_json(study, note));
    else
        print_table(study, cells, note);
    if (study->options->html == NULL) return STATUS_OK;
    return study_write_page(study, COLUMNS, columns, cells, note, study->options->html);
}

/* A build that fails is shown, and then fails the study. */
static Status first_failure(const Study *study) {
    for (int32_t i = 0; i < study->row_count; ++i)
        if (study->rows[i].status != STATUS_OK)
            return FAIL(&study->app->diag, study->rows[i].status, "%s: %s", study->rows[i].name,
                        study->rows[i].failure);
    return STATUS_OK;
}

static Status run_study(Study *study) {
    double start = clock_seconds();
    TRY(study_begin(study));
    study->target = name_target(study->app, &study->all.target);
    TRY_ALLOC(&study->app->diag, study->target);
    TRY(plan_rows(study, clock_seconds() - start));
    TRY(study_run(study));
    TRY(report(study));
    return first_failure(study);
}

Status command_study(App *app, const Command *self, int argc, char **argv) {
    StudyOptions o = {.passes = "each", .duration = 1};
    const Option table[] = {
        {"passes", 0, OPTION_TEXT, &o.passes, "LIST",
         "what to leave out, one build each: PASS, PASS+PASS, NAME=PASS+PASS, each, pairs (each)", 0, 0},
        {"html", 0, OPTION_TEXT, &o.html, "FILE", "writes a page to step through the graph pass by pass", 0,
         0},
        {"json", 0, OPTION_FLAG, &o.json, NULL, "the table as JSON, with the passes' counters", 0, 0},
        {"data", 0, OPTION_TEXT, &o.data, "DIR", "inputs in ONNX's test layout; else seeded random ones", 0,
         0},
        {"duration", 0, OPTION_REAL, &o.duration, "S", "seconds of timed runs of each build (1); 0: none", 0,
         0},
        {"no-run", 0, OPTION_FLAG, &o.no_run, NULL, "builds only: neither times nor errors", 0, 0},
        COMPILE_OPTIONS(o.compile),
    };
    TextList models = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &models, 1, 1, &done));
    if (done) return STATUS_OK;
    const char *model = models.items[0];
    if (is_plan_path(model))
        return FAIL(&app->diag, STATUS_USAGE, "study builds a model in several ways: '%s' is built already",
                    model);
    if (o.html != NULL) TRY(file_can_replace(o.html, &app->diag));
    Study study = {.app = app, .options = &o, .model = model};
    Status status = run_study(&study);
    study_end(&study);
    return status;
}
