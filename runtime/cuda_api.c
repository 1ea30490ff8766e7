#include "runtime/cuda_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "plan_format/library.h"

Status cuda_result(const CudaApi *api, int result, Status status, const char *what, Diag *diag) {
    const char *name = NULL, *text = NULL;
    if (result == CUDA_SUCCESS) return STATUS_OK;
    if (api->error_name(result, &name) != CUDA_SUCCESS || name == NULL) name = "unknown error";
    if (api->error_text(result, &text) != CUDA_SUCCESS || text == NULL) text = "";
    if (result == CUDA_OUT_OF_MEMORY) status = STATUS_NO_MEMORY;
    return FAIL(diag, status, "%s: %s (%d) %s", what, name, result, text);
}

static Status no_driver(Diag *diag, const char *path) {
    const char *reason = dlerror();
    (void)FAIL(diag, STATUS_WRONG_DEVICE, "no CUDA driver: %s", reason != NULL ? reason : path);
    diag_hint(diag, "GPU plans need NVIDIA's driver; --target=cpu builds plans that run without one");
    return STATUS_WRONG_DEVICE;
}

/* The first function that is missing, or NULL. */
static const char *find_symbols(CudaApi *api) {
#define CUDA(name, symbol, parameters)                                                                       \
    if (!library_function(api->library, #symbol, &api->name)) return #symbol;
#define CUDA_OPTIONAL(name, symbol, parameters) (void)library_function(api->library, #symbol, &api->name);
#include "runtime/cuda_api.def"
#undef CUDA
#undef CUDA_OPTIONAL
    return NULL;
}

static Status old_driver(const CudaApi *api, const char *missing, Diag *diag) {
    if (missing != NULL)
        (void)FAIL(diag, STATUS_WRONG_DEVICE, "the CUDA driver %s is too old: it lacks %s", api->path,
                   missing);
    else
        (void)FAIL(diag, STATUS_WRONG_DEVICE, "the driver supports CUDA %d.%d; %d.%d is needed",
                   api->version / 1000, api->version % 1000 / 10, CUDA_LOWEST_DRIVER / 1000,
                   CUDA_LOWEST_DRIVER % 1000 / 10);
    diag_hint(diag, "install a driver of branch 525 or later");
    return STATUS_WRONG_DEVICE;
}

static Status initialise(CudaApi *api, Diag *diag) {
    const char *missing = find_symbols(api);
    if (missing != NULL) return old_driver(api, missing, diag);
    if (api->driver_version(&api->version) == CUDA_SUCCESS && api->version < CUDA_LOWEST_DRIVER)
        return old_driver(api, NULL, diag);
    int result = api->init(0);
    if (result == CUDA_NO_DEVICE)
        return FAIL(diag, STATUS_WRONG_DEVICE, "the CUDA driver finds no GPU on this machine");
    return cuda_result(api, result, STATUS_WRONG_DEVICE, "the CUDA driver does not start", diag);
}

Status cuda_api_open(const char *path, CudaApi *out, Diag *diag) {
    *out = (CudaApi){0};
    if (path == NULL) path = getenv("SMELT_CUDA_LIBRARY");
    if (path == NULL || path[0] == '\0') path = "libcuda.so.1";
    snprintf(out->path, sizeof out->path, "%s", path);
    out->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (out->library == NULL) return no_driver(diag, path);
    return initialise(out, diag);
}
