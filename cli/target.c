#include "cli/target.h"

#include <string.h>

#include "kernels/arch.h"
#include "kernels/nvrtc.h"
#include "runtime/smelt_runtime.h"

static Status native_arch(App *app, const SmeltDevice *device, const char **out) {
    const Device *arch = arch_for_sm(device->compute_capability);
    if (arch == NULL)
        return FAIL(&app->diag, STATUS_WRONG_DEVICE, "%s is sm_%d, which smelt makes no code for",
                    device->name, device->compute_capability);
    *out = arch->arch;
    return STATUS_OK;
}

static Status no_gpu(App *app, const SmeltError *error) {
    diag_hint(&app->diag, "name the GPU that the plan is for: --gpu=sm_90");
    return FAIL(&app->diag, STATUS_WRONG_DEVICE, "--gpu=native: %.*s", (int)strcspn(error->message, "\n"),
                error->message);
}

/* "native", or "sm_80,sm_90". */
static Status parse_gpus(App *app, const CompileSettings *settings, Target *out) {
    const char *at = settings->gpu != NULL ? settings->gpu : "native";
    while (*at != '\0') {
        size_t length = strcspn(at, ",");
        const char *name = arena_strndup(&app->arena, at, length);
        TRY_ALLOC(&app->diag, name);
        if (out->arch_count == MOST_TARGET_ARCHS)
            return FAIL(&app->diag, STATUS_USAGE, "--gpu names more than %d architectures",
                        MOST_TARGET_ARCHS);
        if (strcmp(name, "native") == 0) {
            SmeltDevice device;
            SmeltError error;
            if (smelt_device((int)settings->device, &device, &error) != SMELT_OK) return no_gpu(app, &error);
            TRY(native_arch(app, &device, &name));
        }
        out->archs[out->arch_count++] = name;
        at += length + (at[length] == ',');
    }
    return STATUS_OK;
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
    fprintf(stderr, "target: cuda (%s, %s)\n", device.name, out->arch_count > 0 ? out->archs[0] : "");
    return STATUS_OK;
}

Status target_choose(App *app, const CompileSettings *settings, Target *out) {
    *out = (Target){0};
    if (settings->target == NULL && settings->gpu == NULL) return choose_native(app, settings, out);
    out->cuda = settings->target == NULL || strcmp(settings->target, "cuda") == 0;
    if (out->cuda) return parse_gpus(app, settings, out);
    if (strcmp(settings->target, "cpu") != 0)
        return FAIL(&app->diag, STATUS_USAGE, "--target is '%s', expected cuda or cpu", settings->target);
    if (settings->gpu != NULL) return FAIL(&app->diag, STATUS_USAGE, "--gpu goes with --target=cuda");
    return STATUS_OK;
}
