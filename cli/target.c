#include "cli/target.h"

#include <ctype.h>
#include <string.h>

#include "kernels/arch.h"
#include "kernels/nvrtc.h"
#include "kernels/tactic.h"

/* "nvidia_x100" */
static const char *name_of_gpu(App *app, const char *gpu) {
    char *name = arena_strdup(&app->arena, gpu);
    for (char *c = name; c != NULL && *c != '\0'; ++c)
        *c = isalnum((unsigned char)*c) ? (char)tolower(*c) : '_';
    return name;
}

Status target_describe(App *app, const SmeltDevice *here, const Device **out) {
    const Device *arch = arch_for_sm(here->compute_capability);
    if (arch == NULL)
        return FAIL(&app->diag, STATUS_WRONG_DEVICE, "%s is sm_%d, which smelt makes no code for", here->name,
                    here->compute_capability);
    *out = device_for_gpu(here->name);
    if (*out != NULL && (*out)->sm == here->compute_capability) return STATUS_OK;
    Device *device = ARENA_NEW(&app->arena, Device);
    TRY_ALLOC(&app->diag, device);
    *device = *arch;
    device->label = "specification";
    device->gpu = arena_strdup(&app->arena, here->name);
    device->name = name_of_gpu(app, here->name);
    TRY_ALLOC(&app->diag, device->gpu);
    TRY_ALLOC(&app->diag, device->name);
    if (here->multiprocessors > 0) device->sm_count = here->multiprocessors;
    if (here->bandwidth > 0) device->dram_gb_per_s = here->bandwidth * 1e-9;
    *out = device;
    return STATUS_OK;
}

typedef struct Native {
    App *app;
    const CompileSettings *settings;
} Native;

static Status native_device(void *user, const Device **out) {
    const Native *native = user;
    App *app = native->app;
    SmeltDevice device;
    SmeltError error;
    if (smelt_device((int)native->settings->device, &device, &error) == SMELT_OK)
        return target_describe(app, &device, out);
    diag_hint(&app->diag, "name the GPU that the plan is for: --gpu=sm_90");
    return FAIL(&app->diag, STATUS_WRONG_DEVICE, "--gpu=native: %.*s", (int)strcspn(error.message, "\n"),
                error.message);
}

static Status parse_gpus(App *app, const CompileSettings *settings, Target *out) {
    Native native = {app, settings};
    return device_list_parse(settings->gpu != NULL ? settings->gpu : "native", native_device, &native,
                             &app->arena, &out->devices, &app->diag);
}

/* What this machine can build for and run. */
static Status choose_native(App *app, const CompileSettings *settings, Target *out) {
    SmeltDevice device;
    SmeltError error;
    Nvrtc nvrtc;
    Diag missing = {0};
    if (smelt_device((int)settings->device, &device, &error) != SMELT_OK) {
        fprintf(stderr, "target: cpu (no GPU here)\n");
        return STATUS_OK;
    }
    if (nvrtc_open(&nvrtc, &missing) != STATUS_OK) {
        fprintf(stderr, "target: cpu (%s is here, but %s)\n", device.name, missing.text);
        return STATUS_OK;
    }
    nvrtc_close(&nvrtc);
    out->cuda = true;
    TRY(parse_gpus(app, settings, out));
    fprintf(stderr, "target: cuda (%s, %s)\n", device.name, out->devices.at[0]->arch);
    return STATUS_OK;
}

static Status choose_target(App *app, const CompileSettings *settings, Target *out) {
    if (settings->target == NULL && settings->gpu == NULL) return choose_native(app, settings, out);
    out->cuda = settings->target == NULL || strcmp(settings->target, "cuda") == 0;
    if (out->cuda) return parse_gpus(app, settings, out);
    if (strcmp(settings->target, "cpu") != 0)
        return FAIL(&app->diag, STATUS_USAGE, "--target is '%s', expected cuda or cpu", settings->target);
    if (settings->gpu != NULL) return FAIL(&app->diag, STATUS_USAGE, "--gpu goes with --target=cuda");
    return STATUS_OK;
}

Status target_choose(App *app, const CompileSettings *settings, Target *out) {
    *out = (Target){0};
    TRY(choose_target(app, settings, out));
    if (settings->tactics != NULL && !out->cuda)
        return FAIL(&app->diag, STATUS_USAGE, "--tactics goes with --target=cuda");
    return tactics_switch(settings->tactics, &out->devices, &app->arena, &app->diag);
}
