/* How far a model at reduced precision is from f32, on the host. */
#include <math.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/precision.h"
#include "cli/session.h"
#include "ir/cost.h"

/* -- two sessions -- */

typedef struct Pair {
    App *app;
    const PrecisionChoice *choice;
    Session lowered, reference;
    int outputs;
    double *errors; /* per output */
} Pair;

/* What changes nothing of the results, but how they come about. */
static CompileSettings reference_settings(const CompileSettings *settings) {
    CompileSettings plain = *settings;
    plain.target = "cpu";
    plain.gpu = plain.tactics = plain.precision = plain.io_precision = plain.calib = NULL;
    plain.dump_dir = plain.stop_after = NULL;
    plain.keep_fp32 = plain.force_fp16 = (TextList){0};
    plain.max_error = 0;
    plain.variant = 0;
    plain.history = NULL;
    return plain;
}

/* How the values of a graph lie. */
typedef struct Placing {
    Layout layout;
    int32_t channel_padding;
} Placing;

/* The memory plan holds for the layouts as they were. */
static void drop_memory(Graph *graph) {
    graph->memory = (MemoryPlan){0};
    for (ValueId v = 0; v < graph->value_count; ++v) {
        graph->values[v].buffer = NONE;
        graph->values[v].buffer_offset = 0;
        graph->values[v].strides = NULL;
    }
}

/* The host takes values in plain layout, with memory laid out for that. */
static Status make_plain(App *app, Graph *graph, Placing *placings) {
    const PassOptions memory = {.start_from = "plan_memory", .stop_after = "plan_memory"};
    for (ValueId v = 0; v < graph->value_count; ++v) {
        Value *value = &graph->values[v];
        placings[v] = (Placing){value->layout, value->channel_padding};
        value->layout = LAYOUT_PLAIN;
        value->channel_padding = 0;
    }
    drop_memory(graph);
    return passes_run(graph, &memory, NULL, &app->diag);
}

static Status restore(App *app, const CompileSettings *settings, Compiled *compiled,
                      const Placing *placings) {
    Graph *graph = compiled->graph;
    for (ValueId v = 0; v < graph->value_count; ++v) {
        graph->values[v].layout = placings[v].layout;
        graph->values[v].channel_padding = placings[v].channel_padding;
    }
    drop_memory(graph);
    return compile_memory(app, settings, compiled);
}

/* The graph as a plan for the host; what the passes have laid out for another target is put back. */
static Status open_lowered(App *app, const CompileSettings *settings, Compiled *compiled, Session *out) {
    Arena arena;
    Plan plan;
    arena_init(&arena, &app->allocator);
    const LowerOptions options = {.target = "cpu"};
    bool cuda = compiled->target.cuda;
    Placing *placings = ARENA_ARRAY(&arena, Placing, compiled->graph->value_count);
    Status status = placings != NULL ? STATUS_OK : FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    if (status == STATUS_OK && cuda) status = make_plain(app, compiled->graph, placings);
    if (status == STATUS_OK) status = lower_to_host(compiled->graph, &options, &arena, &plan, &app->diag);
    if (status == STATUS_OK) status = session_open_plan(app, &plan, settings, out);
    if (status == STATUS_OK && cuda) status = restore(app, settings, compiled, placings);
    arena_reset(&arena);
    return status;
}

/* The samples with the types that the session takes. */
static Status convert_inputs(Pair *pair, const Session *session, const Tensor *sample, Tensor *out) {
    for (int i = 0; i < session->input_count; ++i) {
        DType wanted = (DType)session->bindings[i].dtype;
        out[i] = sample[i];
        if (wanted == sample[i].dtype || sample[i].dtype != DTYPE_F32) continue;
        out[i].dtype = wanted;
        out[i].data = arena_alloc(&pair->app->arena, tensor_bytes(&out[i]));
        TRY_ALLOC(&pair->app->diag, out[i].data);
        dtype_write_f32(wanted, out[i].data, 0, tensor_count(&out[i]), sample[i].data);
    }
    return STATUS_OK;
}

static Status run_session(Pair *pair, Session *session, const Tensor *sample, Tensor **outputs) {
    Tensor *inputs = ARENA_ARRAY(&pair->app->arena, Tensor, session->input_count);
    *outputs = ARENA_ARRAY(&pair->app->arena, Tensor, session->binding_count - session->input_count);
    TRY_ALLOC(&pair->app->diag, inputs);
    TRY_ALLOC(&pair->app->diag, *outputs);
    TRY(convert_inputs(pair, session, sample, inputs));
    return session_run(pair->app, session, inputs, *outputs);
}

static Status compare_sample(Pair *pair, const Tensor *sample) {
    Tensor *got, *expected;
    TRY(run_session(pair, &pair->reference, sample, &expected));
    TRY(run_session(pair, &pair->lowered, sample, &got));
    for (int i = 0; i < pair->outputs; ++i)
        pair->errors[i] = fmax(pair->errors[i], tensor_error(&got[i], &expected[i]));
    return STATUS_OK;
}

static Status compare_samples(Pair *pair) {
    const PrecisionOptions *options = &pair->choice->options;
    pair->outputs = pair->reference.binding_count - pair->reference.input_count;
    pair->errors = ARENA_ARRAY(&pair->app->arena, double, pair->outputs);
    TRY_ALLOC(&pair->app->diag, pair->errors);
    for (int i = 0; i < pair->outputs; ++i) pair->errors[i] = -1;
    for (int32_t i = 0; i < options->sample_count; ++i)
        TRY(compare_sample(pair, options->samples + (int64_t)i * pair->reference.input_count));
    return STATUS_OK;
}

/* -- the result -- */

static Status summarize_pair(Pair *pair, Accuracy *out) {
    enum { SHOWN = 4 };
    Arena *arena = &pair->app->arena;
    const SmeltBinding *bindings = pair->reference.bindings + pair->reference.input_count;
    ByteWriter text = byte_writer(arena);
    int worst = 0, shown = 0;
    for (int i = 0; i < pair->outputs; ++i) {
        if (pair->errors[i] > pair->errors[worst]) worst = i;
        if (pair->errors[i] < 0 || shown == SHOWN) continue;
        write_format(&text, "%s'%s' %.2g", shown++ > 0 ? ", " : "", bindings[i].name, pair->errors[i]);
    }
    out->why_not = "f32 gives nothing finite on these inputs";
    if (pair->outputs == 0 || pair->errors[worst] < 0) return STATUS_OK;
    if (pair->outputs > SHOWN)
        write_format(&text, ", ...; worst '%s' %.2g", bindings[worst].name, pair->errors[worst]);
    write_u8(&text, 0);
    if (text.failed) return FAIL(&pair->app->diag, STATUS_NO_MEMORY, "out of memory");
    out->measured = true;
    out->error = pair->errors[worst];
    out->worst = arena_strdup(arena, bindings[worst].name);
    TRY_ALLOC(&pair->app->diag, out->worst);
    out->text = (const char *)text.data;
    return STATUS_OK;
}

/* More than users expect of a build, where they have not asked for it. */
static bool is_too_large(App *app, const PrecisionChoice *choice, const Compiled *compiled, Accuracy *out) {
    const int64_t most_memory = (int64_t)2 << 30;
    int64_t work = graph_work(compiled->graph), memory = compiled->graph->memory.arena_size;
    if (work > choice->options.most_work) {
        out->why_not = arena_printf(
            &app->arena, "a run is %s multiply-adds, more than %s; --calib=DIR or --max-error asks for it",
            count_text((double)work).text, count_text((double)choice->options.most_work).text);
        return true;
    }
    if (memory <= most_memory || choice->asked) return false;
    out->why_not = arena_printf(&app->arena, "a run takes %s; --calib=DIR or --max-error asks for it",
                                byte_text((double)memory).text);
    return true;
}

/* Random inputs may be none that the model takes. */
static bool is_forgiven(const PrecisionChoice *choice, Status status) {
    return !choice->asked && (status == STATUS_BAD_DATA || status == STATUS_UNSUPPORTED);
}

Status precision_compare(App *app, const char *path, const CompileSettings *settings,
                         const PrecisionChoice *choice, Compiled *compiled, Accuracy *out) {
    Pair pair = {.app = app, .choice = choice};
    const CompileSettings plain = reference_settings(settings);
    *out = (Accuracy){.why_not = choice->no_samples};
    if (choice->options.sample_count == 0 || is_too_large(app, choice, compiled, out)) return STATUS_OK;
    Status status = open_lowered(app, &plain, compiled, &pair.lowered);
    LogLevel level = app->log.level;
    app->log.level = LOG_WARNING; /* what the passes do has been said */
    if (status == STATUS_OK) status = session_open(app, path, &plain, &pair.reference);
    app->log.level = level;
    if (status == STATUS_OK) status = compare_samples(&pair);
    if (status == STATUS_OK) {
        status = summarize_pair(&pair, out);
    } else if (is_forgiven(choice, status)) {
        out->why_not = arena_printf(&app->arena, "random inputs will not do (%s)", app->diag.text);
        diag_clear(&app->diag);
        status = STATUS_OK;
    }
    session_close(app, &pair.lowered);
    session_close(app, &pair.reference);
    return status;
}
