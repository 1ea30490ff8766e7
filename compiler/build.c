/* The builder of the public interface. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/handles.h"
#include "compiler/pipeline.h"
#include "runtime/engine.h"

struct SmeltBuilder {
    Allocator allocator;
    Arena arena;
    const char *target, *gpu, *tactics, *dump_dir, *cache_dir;
    const PrecisionName *precision;
    int threads;
    int32_t disabled_count, disabled_capacity;
    const char **disabled;
    PluginSet plugins;
};

struct SmeltPlan {
    void *data; /* of mem_alloc */
    size_t size;
};

int smelt_builder_create(SmeltBuilder **builder, SmeltError *error) {
    Diag diag = {0};
    *builder = mem_alloc(NULL, sizeof **builder);
    if (*builder == NULL) return report_status(FAIL(&diag, STATUS_NO_MEMORY, "out of memory"), &diag, error);
    **builder = (SmeltBuilder){.target = "cpu", .precision = precision_find("fp32")};
    arena_init(&(*builder)->arena, &(*builder)->allocator);
    (*builder)->plugins.arena = &(*builder)->arena;
    return report_status(STATUS_OK, &diag, error);
}

void smelt_builder_destroy(SmeltBuilder *builder) {
    if (builder == NULL) return;
    plugins_close(&builder->plugins);
    arena_reset(&builder->arena);
    mem_free(NULL, builder);
}

/* -- options -- */

static Status set_target(SmeltBuilder *b, const char *value, Diag *diag) {
    if (strcmp(value, "cpu") != 0 && strcmp(value, "cuda") != 0)
        return FAIL(diag, STATUS_USAGE, "target is '%s', expected cuda or cpu", value);
    b->target = value;
    return STATUS_OK;
}

static Status set_precision(SmeltBuilder *b, const char *value, Diag *diag) {
    b->precision = precision_find(value);
    if (b->precision != NULL) return STATUS_OK;
    b->precision = precision_find("fp32");
    return FAIL(diag, STATUS_USAGE, "precision is '%s', expected fp32, tf32, fp16, bf16 or best", value);
}

static Status set_threads(SmeltBuilder *b, const char *value, Diag *diag) {
    enum { MOST_THREADS = 1024 };
    char *end;
    long threads = strtol(value, &end, 10);
    if (end == value || *end != '\0' || threads < 0 || threads > MOST_THREADS)
        return FAIL(diag, STATUS_USAGE, "threads is '%s', expected 0 to %d", value, MOST_THREADS);
    b->threads = (int)threads;
    return STATUS_OK;
}

static Status disable_pass(SmeltBuilder *b, const char *value, Diag *diag) {
    if (!ARENA_RESERVE(&b->arena, b->disabled, b->disabled_count, b->disabled_capacity))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    b->disabled[b->disabled_count++] = value;
    return STATUS_OK;
}

static Status add_plugin(SmeltBuilder *b, const char *value, Diag *diag) {
    return plugin_load(&b->plugins, value, diag);
}

/* Options that are a text, and those that a function takes. */
static const struct {
    const char *name;
    size_t offset; /* of the text in the builder */
    Status (*set)(SmeltBuilder *builder, const char *value, Diag *diag);
} builder_options[] = {
    {"target", 0, set_target},
    {"gpu", offsetof(SmeltBuilder, gpu), NULL},
    {"tactics", offsetof(SmeltBuilder, tactics), NULL},
    {"precision", 0, set_precision},
    {"disable-pass", 0, disable_pass},
    {"dump-dir", offsetof(SmeltBuilder, dump_dir), NULL},
    {"cache-dir", offsetof(SmeltBuilder, cache_dir), NULL},
    {"threads", 0, set_threads},
    {"plugin-pass", 0, add_plugin},
};

static Status set_option(SmeltBuilder *b, const char *option, const char *value, Diag *diag) {
    const char *copy = value != NULL ? arena_strdup(&b->arena, value) : NULL;
    if (value == NULL) return FAIL(diag, STATUS_USAGE, "option '%s' without a value", option);
    TRY_ALLOC(diag, copy);
    for (size_t i = 0; i < sizeof builder_options / sizeof builder_options[0]; ++i) {
        if (strcmp(builder_options[i].name, option) != 0) continue;
        if (builder_options[i].set != NULL) return builder_options[i].set(b, copy, diag);
        memcpy((char *)b + builder_options[i].offset, &copy, sizeof copy);
        return STATUS_OK;
    }
    return FAIL(diag, STATUS_USAGE, "a builder has no option '%s'", option);
}

int smelt_builder_set(SmeltBuilder *builder, const char *option, const char *value, SmeltError *error) {
    Diag diag = {0};
    return report_status(set_option(builder, option, value, &diag), &diag, error);
}

int smelt_builder_add_pass(SmeltBuilder *builder, const SmeltPassSpec *spec, SmeltError *error) {
    Diag diag = {0};
    return report_status(plugin_add_pass(&builder->plugins, spec, &diag), &diag, error);
}

/* -- building -- */

/* The arena is for what only the build needs. */
static Status build_graph(SmeltGraph *graph, const BuildSettings *settings, Arena *arena, SmeltPlan *out,
                          Diag *diag) {
    Plan plan;
    ByteWriter writer = byte_writer(arena);
    TRY(build_passes(graph->graph, settings, NULL, diag));
    TRY(build_lower(graph->graph, settings, arena, &plan, diag));
    TRY(plan_write_bytes(&plan, &writer, diag));
    out->data = mem_alloc(NULL, writer.size);
    TRY_ALLOC(diag, out->data);
    memcpy(out->data, writer.data, writer.size);
    out->size = writer.size;
    return STATUS_OK;
}

static Status build(SmeltBuilder *b, SmeltGraph *graph, SmeltPlan *out, Diag *diag) {
    PrecisionOptions precision = {
        .half = b->precision->half, .lower = b->precision->lower, .tf32 = b->precision->tf32};
    BuildSettings settings = {
        .cuda = strcmp(b->target, "cuda") == 0,
        .passes = {.dump_dir = b->dump_dir,
                   .disabled = b->disabled,
                   .disabled_count = b->disabled_count,
                   .extra = b->plugins.passes,
                   .extra_count = b->plugins.pass_count,
                   .precision = &precision},
        .tactics = b->tactics,
        .precision = b->precision->name,
        .model_hash = graph->model.hash,
        .jit = {.cache_folder = b->cache_dir, .dump_folder = b->dump_dir, .threads = b->threads}};
    if (graph->built) return FAIL(diag, STATUS_USAGE, "the graph has been built already");
    if (settings.cuda && b->gpu == NULL)
        return FAIL(diag, STATUS_USAGE, "the target cuda needs the option gpu: \"sm_90\"");
    if (settings.cuda) TRY(device_list_parse(b->gpu, NULL, NULL, &b->arena, &settings.devices, diag));
    if (b->tactics != NULL && !settings.cuda)
        return FAIL(diag, STATUS_USAGE, "the option tactics goes with the target cuda");
    TRY(tactics_switch(b->tactics, &settings.devices, &b->arena, diag));
    graph->built = true;
    graph_touched(graph);
    TRY(thread_pool_create(b->threads, &b->allocator, &settings.passes.pool, diag));
    Arena arena = {.allocator = &b->allocator};
    Status status = build_graph(graph, &settings, &arena, out, diag);
    arena_reset(&arena);
    thread_pool_destroy(settings.passes.pool);
    return status;
}

int smelt_build(SmeltBuilder *builder, SmeltGraph *graph, SmeltPlan **plan, SmeltError *error) {
    Diag diag = {0};
    *plan = mem_alloc(NULL, sizeof **plan);
    if (*plan == NULL) return report_status(FAIL(&diag, STATUS_NO_MEMORY, "out of memory"), &diag, error);
    **plan = (SmeltPlan){0};
    Status status = build(builder, graph, *plan, &diag);
    if (status != STATUS_OK) {
        smelt_plan_destroy(*plan);
        *plan = NULL;
    }
    return report_status(status, &diag, error);
}

const void *smelt_plan_data(const SmeltPlan *plan, size_t *size) {
    *size = plan->size;
    return plan->data;
}

int smelt_plan_save(const SmeltPlan *plan, const char *path, SmeltError *error) {
    Diag diag = {0};
    return report_status(file_replace(path, plan->data, plan->size, &diag), &diag, error);
}

void smelt_plan_destroy(SmeltPlan *plan) {
    if (plan == NULL) return;
    mem_free(NULL, plan->data);
    mem_free(NULL, plan);
}
