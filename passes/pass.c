#include "passes/pass.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

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

static void log_counters(const PassCtx *ctx) {
    char text[512];
    int length = snprintf(text, sizeof text, "%s:", ctx->pass);
    for (int32_t i = 0; i < ctx->counter_count && length < (int)sizeof text; ++i)
        length += snprintf(text + length, sizeof text - (size_t)length, " %s %" PRId64, ctx->counters[i].name,
                           ctx->counters[i].value);
    log_line(ctx->log, LOG_PASS, "%s", text);
}

/* -- the runner -- */

typedef struct Runner {
    PassCtx ctx;
    const PassOptions *options;
    ConstantBlob *blob;  /* NULL: no dumps */
    Arena dumps;         /* what the blob remembers */
    int32_t first, last; /* of the list */
} Runner;

static Status find_name(const char *option, const char *name, int32_t *out, Diag *diag) {
    *out = pass_find(name);
    if (*out >= 0) return STATUS_OK;
    char names[512];
    int length = 0;
    for (int32_t i = 0; i < pass_count() && length < (int)sizeof names; ++i)
        length += snprintf(names + length, sizeof names - (size_t)length, "%s%s", i == 0 ? "" : ", ",
                           pass_table[i].name);
    return FAIL(diag, STATUS_USAGE, "%s: there is no pass '%s'; the passes are %s", option, name, names);
}

static Status read_options(Runner *runner, Diag *diag) {
    const PassOptions *options = runner->options;
    runner->first = 0;
    runner->last = pass_count() - 1;
    if (options->start_from != NULL) TRY(find_name("start from", options->start_from, &runner->first, diag));
    if (options->stop_after != NULL) TRY(find_name("stop after", options->stop_after, &runner->last, diag));
    for (int32_t i = 0; i < options->disabled_count; ++i) {
        int32_t index;
        TRY(find_name("disable", options->disabled[i], &index, diag));
        if (pass_table[index].required)
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

static Status verify(const Runner *runner, const char *name, Diag *diag) {
    Diag broken = {0};
    char text[DIAG_TEXT];
    Status status = graph_verify(runner->ctx.graph, STATUS_INTERNAL, &broken);
    if (status == STATUS_OK) return status;
    diag_format(&broken, text, sizeof text);
    return FAIL(diag, status, "the graph is broken after %s: %s", name, text);
}

static Status run_pass(Runner *runner, int32_t index, Diag *diag) {
    const Pass *pass = &pass_table[index];
    PassCtx *ctx = &runner->ctx;
    ctx->pass = pass->name;
    ctx->counter_count = 0;
    Status status = pass->run(ctx);
    if (status != STATUS_OK) diag_context(diag, DIAG_FILE, "%s", ctx->graph->source);
    TRY(status);
    log_counters(ctx);
    arena_reset(ctx->scratch);
    TRY(dump(runner, index + 1, pass->name, diag));
    arena_reset(ctx->scratch);
    return verify(runner, pass->name, diag);
}

static Status run_all(Runner *runner, Diag *diag) {
    const PassOptions *options = runner->options;
    TRY(dump(runner, runner->first, runner->first == 0 ? "import" : "start", diag));
    TRY(verify(runner, "import", diag));
    for (int32_t i = runner->first; i <= runner->last; ++i) {
        if (is_disabled(options, pass_table[i].name)) continue;
        if (options->progress != NULL)
            options->progress(options->user, pass_table[i].name, i - runner->first,
                              runner->last - runner->first + 1);
        TRY(run_pass(runner, i, diag));
    }
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
    runner.ctx = (PassCtx){
        .graph = graph, .scratch = &scratch, .log = options->log, .diag = diag, .pool = options->pool};
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
