#include "kernels/nvrtc.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "plan_format/library.h"

/* Newest first; the bare name comes with development packages. */
static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
static const char *const variables[] = {"CUDA_HOME", "CUDA_PATH"};
static const char *const folders[] = {"/usr/local/cuda/lib64", "/usr/local/cuda/lib"};

enum { COUNT_NAMES = sizeof names / sizeof names[0], MOST_ARCHS = 64 };

static bool try_path(Nvrtc *nvrtc, const char *folder, const char *sub, const char *name) {
    const char *separator = folder[0] == '\0' ? "" : "/";
    int length = snprintf(nvrtc->path, sizeof nvrtc->path, "%s%s%s%s", folder, sub, separator, name);
    if (length < 0 || length >= (int)sizeof nvrtc->path) return false;
    nvrtc->library = dlopen(nvrtc->path, RTLD_NOW | RTLD_LOCAL);
    return nvrtc->library != NULL;
}

static bool try_folder(Nvrtc *nvrtc, const char *folder, const char *sub) {
    for (int i = 0; i < COUNT_NAMES; ++i)
        if (try_path(nvrtc, folder, sub, names[i])) return true;
    return false;
}

static bool find_library(Nvrtc *nvrtc) {
    if (try_folder(nvrtc, "", "")) return true;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; ++i) {
        const char *home = getenv(variables[i]);
        if (home == NULL || home[0] == '\0') continue;
        if (try_folder(nvrtc, home, "/lib64") || try_folder(nvrtc, home, "/lib")) return true;
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; ++i)
        if (try_folder(nvrtc, folders[i], "")) return true;
    return false;
}

static const char *find_symbols(Nvrtc *nvrtc) {
#define NVRTC(name, parameters)                                                                              \
    if (!library_function(nvrtc->library, #name, &nvrtc->name)) return #name;
#include "kernels/nvrtc.def"
#undef NVRTC
    return NULL;
}

Status nvrtc_open(Nvrtc *out, Diag *diag) {
    *out = (Nvrtc){0};
    if (!find_library(out)) {
        Status status = FAIL(diag, STATUS_WRONG_DEVICE,
                             "no NVRTC library (libnvrtc.so) found, which GPU plans are compiled with");
        diag_hint(diag, "install NVRTC of CUDA 12 or 13 (package cuda-nvrtc), or set CUDA_HOME");
        return status;
    }
    const char *missing = find_symbols(out);
    if (missing != NULL || out->nvrtcVersion(&out->major, &out->minor) != 0) {
        Status status = FAIL(diag, STATUS_WRONG_DEVICE, "%s lacks %s", out->path,
                             missing != NULL ? missing : "a version");
        nvrtc_close(out);
        return status;
    }
    return STATUS_OK;
}

void nvrtc_close(Nvrtc *nvrtc) {
    if (nvrtc->library != NULL) dlclose(nvrtc->library);
    nvrtc->library = NULL;
}

bool nvrtc_supports(const Nvrtc *nvrtc, int32_t sm) {
    int archs[MOST_ARCHS], count = 0;
    if (nvrtc->nvrtcGetNumSupportedArchs(&count) != 0 || count <= 0 || count > MOST_ARCHS) return false;
    if (nvrtc->nvrtcGetSupportedArchs(archs) != 0) return false;
    for (int i = 0; i < count; ++i)
        if (archs[i] == sm) return true;
    return false;
}
