#include "cli/probe.h"

#include <math.h>
#include <string.h>

#include "cli/target.h"
#include "cli/tune.h"

/* Each rate is measured with one problem, as tuning times candidates; it has not been run on a GPU yet. */
enum {
    COPY_BYTES = 1 << 28, /* of each side, where memory is large: far beyond L2 */
    PRODUCT_EXTENT = 8192
};
static const double large_memory = 4e9; /* bytes; with less everything is small */

typedef struct Probe {
    App *app;
    const CompileSettings *settings;
    Device *device;
    bool large;
} Probe;

/* Microseconds of a problem's launches in a row, without what goes before and after. */
static Status time_line(const Probe *p, const char *line, double *microseconds) {
    Arena arena = {.allocator = &p->app->allocator};
    Graph *graph;
    if (line == NULL) return FAIL(&p->app->diag, STATUS_NO_MEMORY, "out of memory");
    Status status = problem_parse(line, compile_infer, &arena, &graph, &p->app->diag);
    if (status == STATUS_OK) status = tune_probe(p->app, p->settings, p->device, graph, microseconds);
    arena_reset(&arena);
    return status;
}

/* Three digits are what such times are good for. */
static double rounded(double value) {
    double unit = pow(10, floor(log10(value)) - 2);
    return round(value / unit) * unit;
}

static Status probe_launch(const Probe *p) {
    double us;
    TRY(time_line(p, "Neg($0) | f32[1] -> %0.0:f32[1]", &us));
    p->device->launch_us = rounded(us);
    return STATUS_OK;
}

static Status probe_copy(const Probe *p) {
    int32_t bytes = p->large ? COPY_BYTES : COPY_BYTES >> 5;
    double us;
    TRY(time_line(p, arena_printf(&p->app->arena, "Neg($0) | f32[%d] -> %%0.0:f32[%d]", bytes / 4, bytes / 4),
                  &us));
    p->device->dram_gb_per_s = rounded(2e-3 * bytes / us);
    return STATUS_OK;
}

/* A sum of half of what L2 holds; what a launch takes is no reading. */
static Status probe_l2(const Probe *p) {
    int32_t bytes = p->device->l2_bytes / 2;
    double us;
    TRY(time_line(p,
                  arena_printf(&p->app->arena,
                               "ReduceSum($0) keepdims=0 noop_with_empty_axes=0 | f32[%d] -> %%0.0:f32[]",
                               bytes / 4),
                  &us));
    double reading = fmax(us - p->device->launch_us, us / 2);
    p->device->l2_gb_per_s = rounded(1e-3 * bytes / reading);
    return STATUS_OK;
}

static Status probe_product(const Probe *p, const char *type, const char *mode, double *tflops) {
    int32_t n = p->large ? PRODUCT_EXTENT : PRODUCT_EXTENT >> 4;
    double us;
    TRY(time_line(p,
                  arena_printf(&p->app->arena, "MatMul($0 $1) | %s[%d, %d] %s[%d, %d] -> %%0.0:%s[%d, %d]%s",
                               type, n, n, type, n, n, type, n, n, mode),
                  &us));
    *tflops = rounded(2.0 * n * n * n / us * 1e-6);
    return STATUS_OK;
}

static Status probe_rates(const Probe *p) {
    TRY(probe_launch(p));
    TRY(probe_copy(p));
    TRY(probe_l2(p));
    TRY(probe_product(p, "f16", "", &p->device->fp16_tflops));
    if (p->device->tf32_tflops > 0) TRY(probe_product(p, "f32", " tf32", &p->device->tf32_tflops));
    return probe_product(p, "f32", "", &p->device->fp32_tflops);
}

Status probe_device(App *app, const CompileSettings *settings, const Device **out) {
    SmeltDevice here;
    SmeltError error;
    const Device *known;
    Device *device = ARENA_NEW(&app->arena, Device);
    TRY_ALLOC(&app->diag, device);
    if (smelt_device((int)settings->device, &here, &error) != SMELT_OK) {
        diag_hint(&app->diag, "'smelt device describe NAME' prints a built-in description");
        return FAIL(&app->diag, STATUS_WRONG_DEVICE, "no GPU to describe: %.*s",
                    (int)strcspn(error.message, "\n"), error.message);
    }
    TRY(target_describe(app, &here, &known));
    *device = *known;
    device->label = "measured";
    if (here.clock > 0) device->clock_mhz = here.clock / 1000;
    if (here.l2 > 0 && here.l2 <= INT32_MAX) device->l2_bytes = (int32_t)here.l2;
    *out = device;
    return probe_rates(&(Probe){app, settings, device, (double)here.memory >= large_memory});
}
