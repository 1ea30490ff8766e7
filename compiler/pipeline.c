#include "compiler/pipeline.h"

#include <string.h>

const PrecisionName *precision_find(const char *name) {
    static const PrecisionName names[] = {
        {"fp32", DTYPE_F16, false, false, 0},   {"tf32", DTYPE_F16, false, true, 1e-2},
        {"fp16", DTYPE_F16, true, false, 2e-2}, {"bf16", DTYPE_BF16, true, false, 5e-2},
        {"best", DTYPE_F16, true, true, 2e-2},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i)
        if (strcmp(names[i].name, name) == 0) return &names[i];
    return NULL;
}

static const char *target_refuses(void *user, const Graph *graph, const UseTable *uses, const NodeId *nodes,
                                  int32_t count) {
    return cuda_target_refuses(user, graph, uses, nodes, count);
}

static int32_t target_choose_way(void *user, const Graph *graph, const UseTable *uses, Way *ways,
                                 int32_t count) {
    return cuda_target_choose(user, graph, uses, ways, count);
}

static void target_announce(void *user, const Graph *graph, const UseTable *uses, const Way *ways,
                            int32_t count) {
    cuda_target_announce(user, graph, uses, ways, count);
}

static Status passes_for_cuda(Graph *graph, const BuildSettings *settings, PassCtx *ctx, Diag *diag) {
    Arena arena = {.allocator = graph->arena->allocator};
    CudaTarget *cuda = NULL;
    PassOptions options = settings->passes;
    Status status =
        cuda_target_create(&settings->devices, settings->timings, settings->timer, &arena, &cuda, diag);
    PassTarget target = {
        .refuses = target_refuses, .choose = target_choose_way, .announce = target_announce, .user = cuda};
    options.strided = true;
    options.target = &target;
    if (status == STATUS_OK) {
        target.f32_layout = cuda_target_wants_f32_layout(cuda);
        status = passes_run(graph, &options, ctx, diag);
    }
    if (ctx != NULL) ctx->target = NULL;
    cuda_target_destroy(cuda);
    arena_reset(&arena);
    return status;
}

Status build_passes(Graph *graph, const BuildSettings *settings, PassCtx *ctx, Diag *diag) {
    if (settings->cuda) return passes_for_cuda(graph, settings, ctx, diag);
    return passes_run(graph, &settings->passes, ctx, diag);
}

/* Adds an option that changes the plan's bytes, for META; NULL: out of memory. */
static Status add_option(LowerOptions *options, const char **lines, const char *line, Diag *diag) {
    TRY_ALLOC(diag, line);
    lines[options->option_count++] = line;
    return STATUS_OK;
}

static Status name_options(const BuildSettings *settings, Arena *arena, LowerOptions *out, Diag *diag) {
    const PassOptions *passes = &settings->passes;
    const char **lines = ARENA_ARRAY(arena, const char *, 3 + passes->disabled_count + passes->extra_count);
    TRY_ALLOC(diag, lines);
    out->options = lines;
    TRY(add_option(
        out, lines,
        arena_printf(arena, "precision=%s", settings->precision != NULL ? settings->precision : "fp32"),
        diag));
    for (int32_t i = 0; i < passes->disabled_count; ++i)
        TRY(add_option(out, lines, arena_printf(arena, "disabled-pass.%s=1", passes->disabled[i]), diag));
    for (int32_t i = 0; i < passes->extra_count; ++i)
        TRY(add_option(
            out, lines,
            arena_printf(arena, "extra-pass.%s=%s", passes->extra[i].pass.name, passes->extra[i].place),
            diag));
    if (settings->tactics != NULL)
        TRY(add_option(out, lines, arena_printf(arena, "tactics=%s", settings->tactics), diag));
    if (settings->variant > 0)
        TRY(add_option(out, lines, arena_printf(arena, "kernel-variant=%d", settings->variant), diag));
    return STATUS_OK;
}

Status build_lower(Graph *graph, const BuildSettings *settings, Arena *arena, Plan *plan, Diag *diag) {
    LowerOptions options = {.target = settings->cuda ? "cuda" : "cpu",
                            .model_hash = settings->model_hash,
                            .facts = settings->facts,
                            .fact_count = settings->fact_count,
                            .log = settings->log};
    TRY(name_options(settings, arena, &options, diag));
    if (!settings->cuda) return lower_to_host(graph, &options, arena, plan, diag);
    LowerCudaOptions cuda = {.base = options,
                             .devices = settings->devices,
                             .variant = settings->variant,
                             .jit = settings->jit,
                             .timings = settings->timings,
                             .untimed = settings->untimed};
    return lower_to_cuda(graph, &cuda, arena, plan, diag);
}
