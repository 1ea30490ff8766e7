#include "compiler/plugin.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "compiler/handles.h"

/* -- passes of the public interface as passes of ours -- */

static Status run_outside(PassCtx *ctx) {
    SmeltPass pass = {.ctx = ctx, .spec = ctx->user};
    SmeltGraph graph = graph_wrap(ctx->graph, ctx->scratch);
    SmeltError error = {0};
    int status = pass.spec->run(&pass, &graph, &error);
    graph_unwrap(&graph);
    if (status == SMELT_OK) return STATUS_OK;
    error.message[sizeof error.message - 1] = '\0';
    bool known = status > STATUS_OK && status < STATUS_MISMATCH;
    return FAIL(ctx->diag, known ? (Status)status : STATUS_BAD_MODEL, "pass %s: %s", pass.spec->name,
                error.message[0] != '\0' ? error.message : "it failed and does not say why");
}

static bool is_pass_name(const char *name) {
    for (const char *c = name; *c != '\0'; ++c)
        if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '_') return false;
    return name[0] != '\0';
}

Status plugin_add_pass(PluginSet *set, const SmeltPassSpec *spec, Diag *diag) {
    if (spec == NULL || spec->name == NULL || !is_pass_name(spec->name))
        return FAIL(diag, STATUS_USAGE, "a pass without a name of small letters, digits and '_'");
    if (spec->run == NULL || spec->place == NULL)
        return FAIL(diag, STATUS_USAGE, "pass '%s' has no %s", spec->name,
                    spec->run == NULL ? "function" : "place");
    SmeltPassSpec *copy = ARENA_NEW(set->arena, SmeltPassSpec);
    TRY_ALLOC(diag, copy);
    *copy = *spec;
    copy->name = arena_strdup(set->arena, spec->name);
    copy->what = arena_strdup(set->arena, spec->what != NULL ? spec->what : "");
    copy->place = arena_strdup(set->arena, spec->place);
    TRY_ALLOC(diag, copy->name);
    TRY_ALLOC(diag, copy->what);
    TRY_ALLOC(diag, copy->place);
    if (!ARENA_RESERVE(set->arena, set->passes, set->pass_count, set->pass_capacity))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    set->passes[set->pass_count++] = (ExtraPass){
        .pass = {.name = copy->name, .run = run_outside, .what = copy->what, .outside = true, .user = copy},
        .place = copy->place};
    return STATUS_OK;
}

void *smelt_pass_user(const SmeltPass *pass) {
    return pass->spec->user;
}

/* Counters' names stay: they are shown when the object is gone. */
void smelt_pass_count(SmeltPass *pass, const char *counter, int64_t amount) {
    PassCtx *ctx = pass->ctx;
    for (int32_t i = 0; i < ctx->counter_count; ++i)
        if (strcmp(ctx->counters[i].name, counter) == 0) {
            pass_count_add(ctx, ctx->counters[i].name, amount);
            return;
        }
    const char *copy = arena_strdup(ctx->graph->arena, counter);
    if (copy != NULL) pass_count_add(ctx, copy, amount);
}

void smelt_pass_reject(SmeltPass *pass, SmeltNode node, const char *format, ...) {
    char reason[256];
    va_list arguments;
    if (node < 0 || node >= pass->ctx->graph->node_count) return;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    pass_reject(pass->ctx, node, "%s", reason);
}

int smelt_fail(SmeltError *error, int status, const char *format, ...) {
    va_list arguments;
    if (error == NULL) return status;
    error->status = status;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return status;
}

/* -- shared objects -- */

typedef const SmeltPlugin *(*PluginEntry)(void);

static Status read_plugin(PluginSet *set, void *handle, Diag *diag) {
    PluginEntry entry;
    void *symbol = dlsym(handle, "smelt_plugin");
    if (symbol == NULL)
        return FAIL(diag, STATUS_UNSUPPORTED, "it has no function smelt_plugin: it is no plugin for smelt");
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no conversion */
    const SmeltPlugin *plugin = entry();
    if (plugin == NULL) return FAIL(diag, STATUS_UNSUPPORTED, "smelt_plugin gives nothing");
    if (plugin->interface != SMELT_INTERFACE)
        return FAIL(diag, STATUS_UNSUPPORTED,
                    "it was made for interface %d of smelt.h, and this smelt has interface %d",
                    plugin->interface, SMELT_INTERFACE);
    if (plugin->pass_count < 1 || plugin->passes == NULL)
        return FAIL(diag, STATUS_UNSUPPORTED, "it has no passes");
    for (int i = 0; i < plugin->pass_count; ++i) TRY(plugin_add_pass(set, &plugin->passes[i], diag));
    return STATUS_OK;
}

static Status open_object(PluginSet *set, const char *path, Diag *diag) {
    /* A bare name would be looked for among the system's libraries. */
    const char *place = strchr(path, '/') != NULL ? path : arena_printf(set->arena, "./%s", path);
    TRY_ALLOC(diag, place);
    if (!file_exists(path)) return FAIL(diag, STATUS_IO, "no such file");
    if (!ARENA_RESERVE(set->arena, set->handles, set->handle_count, set->handle_capacity))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    void *handle = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) return FAIL(diag, STATUS_UNSUPPORTED, "it cannot be loaded: %s", dlerror());
    set->handles[set->handle_count++] = handle;
    return read_plugin(set, handle, diag);
}

Status plugin_load(PluginSet *set, const char *path, Diag *diag) {
    Status status = open_object(set, path, diag);
    if (status != STATUS_OK) diag_context(diag, DIAG_FILE, "plugin '%s'", path);
    return status;
}

void plugins_close(PluginSet *set) {
    for (int32_t i = 0; i < set->handle_count; ++i) dlclose(set->handles[i]);
    set->handle_count = set->pass_count = 0;
}
