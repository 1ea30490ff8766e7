#include "passes/pass.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "ir/cost.h"
#include "passes/history.h"

enum {
    LARGE_MACS = 20000000 /* of a contraction in f32 whose own kernels save more than a pass over memory */
};

#define PASS(name, ...) Status pass_##name(PassCtx *ctx);
#include "passes/passes.def"
#undef PASS

static const Pass pass_table[] = {
#define PASS(name_, required_, what_)                                                                        \
    {.name = #name_, .run = pass_##name_, .what = (what_), .required = (required_)},
#include "passes/passes.def"
#undef PASS
};

int32_t pass_count(void) {
    return (int32_t)(sizeof pass_table / sizeof pass_table[0]);
}

const Pass *pass_at(int32_t index) {
    return &pass_table[index];
}

int32_t pass_find(const char *name) {
    for (int32_t i = 0; i < pass_count(); ++i)
        if (strcmp(pass_table[i].name, name) == 0) return i;
    return -1;
}

/* -- the list with passes from outside -- */

static int32_t list_find(const Pass *list, int32_t count, const char *name, size_t length) {
    for (int32_t i = 0; i < count; ++i)
        if (strlen(list[i].name) == length && strncmp(list[i].name, name, length) == 0) return i;
    return -1;
}

static Status unknown_pass(const char *option, const char *name, const Pass *list, int32_t count,
                           Diag *diag) {
    char names[DIAG_TEXT];
    int length = 0;
    for (int32_t i = 0; i < count && length < (int)sizeof names; ++i)
        length +=
            snprintf(names + length, sizeof names - (size_t)length, "%s%s", i == 0 ? "" : ", ", list[i].name);
    return FAIL(diag, STATUS_USAGE, "%s: there is no pass '%s'; the passes are %s", option, name, names);
}

/* "after=NAME" or "before=NAME": the index that a new pass gets. */
static Status find_place(const ExtraPass *extra, const Pass *list, int32_t count, int32_t *out, Diag *diag) {
    const char *place = extra->place != NULL ? extra->place : "", *name = strchr(place, '=');
    bool after = strncmp(place, "after=", strlen("after=")) == 0;
    if (!after && strncmp(place, "before=", strlen("before=")) != 0)
        return FAIL(diag, STATUS_USAGE, "pass '%s' has the place '%s', expected after=PASS or before=PASS",
                    extra->pass.name, place);
    int32_t neighbour = list_find(list, count, name + 1, strlen(name + 1));
    if (neighbour < 0) return unknown_pass(extra->pass.name, name + 1, list, count, diag);
    *out = neighbour + (after ? 1 : 0);
    return STATUS_OK;
}

Status pass_list(const ExtraPass *extra, int32_t extra_count, Arena *arena, const Pass **out, int32_t *count,
                 Diag *diag) {
    int32_t total = pass_count();
    Pass *list =
        arena_grow(arena, pass_table, (size_t)total, (size_t)total + (size_t)extra_count, sizeof *list);
    TRY_ALLOC(diag, list);
    for (int32_t i = 0; i < extra_count; ++i) {
        int32_t at = 0;
        if (list_find(list, total, extra[i].pass.name, strlen(extra[i].pass.name)) >= 0)
            return FAIL(diag, STATUS_USAGE, "there are two passes named '%s'", extra[i].pass.name);
        TRY(find_place(&extra[i], list, total, &at, diag));
        memmove(list + at + 1, list + at, (size_t)(total - at) * sizeof *list);
        list[at] = extra[i].pass;
        total++;
    }
    *out = list;
    *count = total;
    return STATUS_OK;
}

/* -- what passes report -- */

void pass_count_add(PassCtx *ctx, const char *counter, int64_t amount) {
    for (int32_t i = 0; i < ctx->counter_count; ++i) {
        if (strcmp(ctx->counters[i].name, counter) != 0) continue;
        ctx->counters[i].value += amount;
        return;
    }
    if (ctx->counter_count < PASS_COUNTERS)
        ctx->counters[ctx->counter_count++] = (PassCounter){counter, amount};
}

/* A rejection is advice: without memory for it, it is dropped. */
void pass_reject(PassCtx *ctx, NodeId node, const char *format, ...) {
    char reason[256];
    Arena *arena = ctx->graph->arena;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    const char *copy = arena_strdup(arena, reason);
    if (copy == NULL || !ARENA_RESERVE(arena, ctx->rejections, ctx->rejection_count, ctx->rejection_capacity))
        return;
    ctx->rejections[ctx->rejection_count++] = (Rejection){ctx->pass, node, copy};
}

void pass_data_since(PassCtx *ctx, double start) {
    ctx->data_seconds += clock_seconds() - start;
}

static void log_time(const Log *log, const char *what, double seconds, double data_seconds) {
    log_line(log, LOG_PASS, "%s; %.2f ms, %.2f ms of it on weights", what, 1e3 * seconds, 1e3 * data_seconds);
}

static void log_counters(const PassCtx *ctx, double seconds) {
    char text[512];
    int length = snprintf(text, sizeof text, "%s:%s", ctx->pass, ctx->counter_count > 0 ? "" : " nothing");
    for (int32_t i = 0; i < ctx->counter_count && length < (int)sizeof text; ++i)
        length += snprintf(text + length, sizeof text - (size_t)length, " %s %" PRId64, ctx->counters[i].name,
                           ctx->counters[i].value);
    log_time(ctx->log, text, seconds, ctx->data_seconds);
}

bool pass_on_matrix_units(const PassCtx *ctx, DType dtype) {
    return dtype_is_half(dtype) || (ctx->graph->tf32 && dtype == DTYPE_F32);
}

bool pass_copies_channels(const PassCtx *ctx, NodeId contraction) {
    DType dtype = ctx->graph->values[ctx->graph->nodes[contraction].inputs[0]].dtype;
    if (pass_on_matrix_units(ctx, dtype)) return true;
    return dtype == DTYPE_F32 && ctx->target != NULL && ctx->target->f32_layout &&
           node_macs(ctx->graph, contraction) >= LARGE_MACS;
}

const char *pass_target_refuses(const PassCtx *ctx, const UseTable *uses, const NodeId *nodes,
                                int32_t count) {
    if (ctx->target == NULL) return NULL;
    return ctx->target->refuses(ctx->target->user, ctx->graph, uses, nodes, count);
}

int32_t pass_target_choose(const PassCtx *ctx, const UseTable *uses, Way *ways, int32_t count) {
    if (ctx->target == NULL || ctx->target->choose == NULL) return 0;
    return ctx->target->choose(ctx->target->user, ctx->graph, uses, ways, count);
}

void pass_target_announce(const PassCtx *ctx, const UseTable *uses, const Way *ways, int32_t count) {
    if (ctx->target != NULL && ctx->target->announce != NULL)
        ctx->target->announce(ctx->target->user, ctx->graph, uses, ways, count);
}

/* -- the runner -- */

typedef struct Runner {
    PassCtx ctx;
    const PassOptions *options;
    ConstantBlob *blob; /* NULL: no dumps */
    double verifier_seconds;
    Arena dumps; /* the list, and what the blob remembers */
    const Pass *list;
    int32_t count, first, last; /* of the list; which of it run */
} Runner;

static Status find_name(const Runner *runner, const char *option, const char *name, int32_t *out,
                        Diag *diag) {
    *out = list_find(runner->list, runner->count, name, strlen(name));
    return *out >= 0 ? STATUS_OK : unknown_pass(option, name, runner->list, runner->count, diag);
}

static Status read_options(Runner *runner, Diag *diag) {
    const PassOptions *options = runner->options;
    TRY(pass_list(options->extra, options->extra_count, &runner->dumps, &runner->list, &runner->count, diag));
    runner->first = 0;
    runner->last = runner->count - 1;
    if (options->start_from != NULL)
        TRY(find_name(runner, "start from", options->start_from, &runner->first, diag));
    if (options->stop_after != NULL)
        TRY(find_name(runner, "stop after", options->stop_after, &runner->last, diag));
    if (runner->last < runner->first)
        return FAIL(diag, STATUS_USAGE, "stop after: pass '%s' comes before '%s', from which to start",
                    options->stop_after, options->start_from);
    for (int32_t i = 0; i < options->disabled_count; ++i) {
        int32_t index;
        TRY(find_name(runner, "disable", options->disabled[i], &index, diag));
        if (runner->list[index].required)
            return FAIL(diag, STATUS_USAGE, "disable: pass '%s' is required", options->disabled[i]);
    }
    return STATUS_OK;
}

static bool is_disabled(const PassOptions *options, const char *name) {
    for (int32_t i = 0; i < options->disabled_count; ++i)
        if (strcmp(options->disabled[i], name) == 0) return true;
    return false;
}

/* Writes NN-<name>.ir: before the verifier speaks, so that a broken graph can be looked at. */
static Status dump(Runner *runner, int32_t number, const char *name, Diag *diag) {
    if (runner->blob == NULL) return STATUS_OK;
    Arena *scratch = runner->ctx.scratch;
    ByteWriter out = byte_writer(scratch);
    TRY(graph_print(runner->ctx.graph, runner->blob, &out, diag));
    char *file = arena_printf(scratch, "%02d-%s.ir", number, name);
    TRY_ALLOC(diag, file);
    char *path = path_join(scratch, runner->options->dump_dir, file);
    TRY_ALLOC(diag, path);
    return file_replace(path, out.data, out.size, diag);
}

static Status verify(Runner *runner, const Pass *pass, Diag *diag) {
    Diag broken = {0};
    char text[DIAG_TEXT];
    bool outside = pass != NULL && pass->outside;
    double start = clock_seconds();
    Status status = graph_verify(runner->ctx.graph, outside ? STATUS_BAD_MODEL : STATUS_INTERNAL, &broken);
    runner->verifier_seconds += clock_seconds() - start;
    if (status == STATUS_OK) return status;
    diag_format(&broken, text, sizeof text);
    if (outside) diag_hint(diag, "the pass is not one of smelt's own");
    return FAIL(diag, status, "the graph is broken after %s: %s", pass != NULL ? pass->name : "import", text);
}

static Status note(Runner *runner, const char *pass, const char *what, double seconds) {
    if (runner->options->history == NULL) return STATUS_OK;
    return history_note(runner->options->history, &runner->ctx, pass, what, seconds);
}

static Status run_pass(Runner *runner, int32_t index, Diag *diag) {
    const Pass *pass = &runner->list[index];
    PassCtx *ctx = &runner->ctx;
    double start = clock_seconds();
    ctx->pass = pass->name;
    ctx->user = pass->user;
    ctx->counter_count = 0;
    ctx->data_seconds = 0;
    Status status = pass->run(ctx);
    if (status != STATUS_OK) diag_context(diag, DIAG_FILE, "%s", ctx->graph->source);
    TRY(status);
    double seconds = clock_seconds() - start;
    log_counters(ctx, seconds);
    arena_reset(ctx->scratch);
    TRY(dump(runner, index + 1, pass->name, diag));
    arena_reset(ctx->scratch);
    TRY(verify(runner, pass, diag));
    return note(runner, pass->name, pass->what, seconds);
}

static Status run_all(Runner *runner, Diag *diag) {
    const PassOptions *options = runner->options;
    TRY(dump(runner, runner->first, runner->first == 0 ? "import" : "start", diag));
    TRY(verify(runner, NULL, diag));
    TRY(note(runner, "import", "the graph before all passes", 0));
    for (int32_t i = runner->first; i <= runner->last; ++i) {
        const char *name = runner->list[i].name;
        if (is_disabled(options, name)) continue;
        if (options->progress != NULL)
            options->progress(options->user, name, i - runner->first, runner->last - runner->first + 1);
        TRY(run_pass(runner, i, diag));
    }
    log_time(options->log, "verifier: behind each pass", runner->verifier_seconds, 0);
    return STATUS_OK;
}

static Status open_dumps(Runner *runner, Diag *diag) {
    const char *folder = runner->options->dump_dir;
    if (folder == NULL) return STATUS_OK;
    TRY(folder_create(folder, diag));
    return constant_blob_open(&runner->dumps, folder, &runner->blob, diag);
}

Status passes_run(Graph *graph, const PassOptions *options, PassCtx *ctx_out, Diag *diag) {
    Arena scratch = {.allocator = graph->arena->allocator};
    Runner runner = {.options = options, .dumps = {.allocator = graph->arena->allocator}};
    runner.ctx = (PassCtx){.graph = graph,
                           .scratch = &scratch,
                           .log = options->log,
                           .diag = diag,
                           .pool = options->pool,
                           .strided = options->strided,
                           .apart = options->apart,
                           .target = options->target,
                           .precision = options->precision};
    Status status = read_options(&runner, diag);
    if (status == STATUS_OK) status = open_dumps(&runner, diag);
    if (status == STATUS_OK) status = run_all(&runner, diag);
    /* The constants of a build that failed belong to its dumps too. */
    Status closed = constant_blob_close(runner.blob, status == STATUS_OK ? diag : NULL);
    arena_reset(&scratch);
    arena_reset(&runner.dumps);
    if (ctx_out != NULL) {
        *ctx_out = runner.ctx;
        ctx_out->scratch = NULL;
        ctx_out->diag = NULL;
    }
    return status == STATUS_OK ? closed : status;
}
