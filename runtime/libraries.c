#include "runtime/libraries.h"

#include <string.h>

Status library_result(PlanLibrary library, int result, const char *what, Diag *diag) {
    if (result == 0) return STATUS_OK;
    return FAIL(diag, STATUS_CUDA_FAILED, "%s: %s: status %d", library_names[library].name, what, result);
}

/* -- opening -- */

static const char *find_functions(LibraryCalls *c, PlanLibrary which) {
    const Library *library = &c->libraries[which];
#define CUBLASLT(name, symbol, parameters)                                                                   \
    if (which == PLAN_CUBLASLT && !library_function(library->handle, #symbol, &c->cublaslt.name))            \
        return #symbol;
#define CUDNN(name, symbol, parameters)                                                                      \
    if (which == PLAN_CUDNN && !library_function(library->handle, #symbol, &c->cudnn.name)) return #symbol;
#include "runtime/libraries.def"
#undef CUBLASLT
#undef CUDNN
    return NULL;
}

/* The number of a way means something only where the library is the same. */
static Status check_version(const SmeltEngine *engine, PlanLibrary which, Diag *diag) {
    const Library *library = &engine->cuda->libraries->libraries[which];
    const char *wanted = plan_library_version(&engine->plan, which);
    if (strcmp(wanted, library->version) == 0) return STATUS_OK;
    (void)FAIL(diag, STATUS_WRONG_DEVICE, "the plan was made with %s %.32s; %s is %s",
               library_names[which].name, wanted, library->path, library->version);
    diag_hint(diag, "build the plan here, or with --tactics=-%s", library_names[which].key);
    return STATUS_WRONG_DEVICE;
}

static Status open_library(SmeltEngine *engine, PlanLibrary which, Diag *diag) {
    LibraryCalls *c = engine->cuda->libraries;
    Library *library = &c->libraries[which];
    if (library->handle != NULL) return STATUS_OK;
    Diag found = {0};
    if (library_open(which, library, &found) != STATUS_OK) {
        (void)FAIL(diag, STATUS_WRONG_DEVICE, "the plan calls a library: %s", found.text);
        diag_hint(diag, "%s, or build the plan with --tactics=-%s", found.hint, library_names[which].key);
        return STATUS_WRONG_DEVICE;
    }
    TRY(check_version(engine, which, diag));
    const char *missing = find_functions(c, which);
    if (missing != NULL) return FAIL(diag, STATUS_WRONG_DEVICE, "%s lacks %s", library->path, missing);
    int result =
        which == PLAN_CUBLASLT ? c->cublaslt.create(&c->cublaslt.handle) : c->cudnn.create(&c->cudnn.handle);
    return library_result(which, result, "a handle", diag);
}

static Status prepare_call(SmeltEngine *engine, int32_t index, Diag *diag) {
    LibraryCalls *c = engine->cuda->libraries;
    LibraryCall *call = &c->calls[index];
    if (call->call != NULL) return STATUS_OK;
    *call = (LibraryCall){.call = &engine->plan.calls[index]};
    call->operands = engine->plan.operands + call->call->operand_first;
    TRY(open_library(engine, (PlanLibrary)call->call->library, diag));
    return call->call->library == PLAN_CUBLASLT ? cublaslt_prepare(&c->cublaslt, call, diag)
                                                : cudnn_prepare(&c->cudnn, call, diag);
}

Status libraries_open(SmeltEngine *engine, Diag *diag) {
    const Plan *plan = &engine->plan;
    if (plan->call_count == 0) return STATUS_OK;
    LibraryCalls *c = ARENA_NEW(&engine->arena, LibraryCalls);
    TRY_ALLOC(diag, c);
    c->calls = ARENA_ARRAY(&engine->arena, LibraryCall, plan->call_count);
    TRY_ALLOC(diag, c->calls);
    if (pthread_mutex_init(&c->lock, NULL) != 0) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    engine->cuda->libraries = c;
    for (int32_t s = 0; s < plan->step_count; ++s) {
        const PlanStep *step = &plan->steps[s];
        for (int32_t i = step->launch_first; i < step->launch_first + step->launch_count; ++i)
            if (plan->launches[i].kernel < 0) TRY(prepare_call(engine, -1 - plan->launches[i].kernel, diag));
    }
    return STATUS_OK;
}

void libraries_close(SmeltEngine *engine) {
    LibraryCalls *c = engine->cuda->libraries;
    if (c == NULL) return;
    for (int32_t i = 0; i < engine->plan.call_count; ++i) {
        cublaslt_release(&c->cublaslt, &c->calls[i]);
        cudnn_release(&c->cudnn, &c->calls[i]);
    }
    if (c->cublaslt.handle != NULL) (void)c->cublaslt.destroy(c->cublaslt.handle);
    if (c->cudnn.handle != NULL) (void)c->cudnn.destroy(c->cudnn.handle);
    pthread_mutex_destroy(&c->lock);
    engine->cuda->libraries = NULL;
}

/* -- running -- */

Status libraries_launch(const SmeltContext *context, int32_t index, CudaHandle stream, Diag *diag) {
    LibraryCalls *c = context->cuda->engine->libraries;
    const PlanLaunch *launch = &context->plan->launches[index];
    const LibraryCall *call = &c->calls[-1 - launch->kernel];
    CudaPointer pointers[CALL_OPERANDS + 1] = {0};
    for (int32_t i = 0; i < launch->arg_count; ++i)
        pointers[i] = context->cuda->arguments[launch->arg_first + i];
    pthread_mutex_lock(&c->lock);
    Status status = call->call->library == PLAN_CUBLASLT
                        ? cublaslt_run(&c->cublaslt, call, pointers, stream, diag)
                        : cudnn_run(&c->cudnn, call, pointers, stream, diag);
    pthread_mutex_unlock(&c->lock);
    return status;
}
