#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cuda.h"
#include "runtime/libraries.h"

enum {
    WAITING_MINOR = 3, /* of the format, from which on kernels wait for those in front */
    WAITING_SM = 90
};

/* -- devices -- */

static Status describe_device(const CudaApi *api, int device, SmeltDevice *out, Diag *diag) {
    int major = 0, minor = 0, clock = 0, width = 0, l2 = 0;
    *out = (SmeltDevice){.driver_version = api->version};
    TRY(cuda_result(api, api->device_name(out->name, sizeof out->name, device), STATUS_WRONG_DEVICE,
                    "the GPU's name", diag));
    int result = api->device_attribute(&major, CUDA_DEVICE_MAJOR, device);
    if (result == CUDA_SUCCESS) result = api->device_attribute(&minor, CUDA_DEVICE_MINOR, device);
    if (result == CUDA_SUCCESS)
        result = api->device_attribute(&out->multiprocessors, CUDA_DEVICE_MULTIPROCESSORS, device);
    if (result == CUDA_SUCCESS) result = api->device_memory(&out->memory, device);
    out->compute_capability = 10 * major + minor;
    /* Two transfers per clock. */
    if (api->device_attribute(&clock, CUDA_DEVICE_MEMORY_CLOCK, device) == CUDA_SUCCESS &&
        api->device_attribute(&width, CUDA_DEVICE_MEMORY_WIDTH, device) == CUDA_SUCCESS)
        out->bandwidth = 2e3 * (double)clock * (double)width / 8;
    if (api->device_attribute(&out->clock, CUDA_DEVICE_CLOCK, device) != CUDA_SUCCESS) out->clock = 0;
    if (api->device_attribute(&l2, CUDA_DEVICE_L2, device) == CUDA_SUCCESS && l2 > 0) out->l2 = (size_t)l2;
    return cuda_result(api, result, STATUS_WRONG_DEVICE, "the GPU's properties", diag);
}

static Status find_device(const CudaApi *api, int ordinal, int *device, Diag *diag) {
    int count = 0;
    TRY(cuda_result(api, api->device_count(&count), STATUS_WRONG_DEVICE, "the number of GPUs", diag));
    if (ordinal < 0 || ordinal >= count)
        return FAIL(diag, STATUS_WRONG_DEVICE, "there is no GPU %d; this machine has %d", ordinal, count);
    return cuda_result(api, api->device_get(device, ordinal), STATUS_WRONG_DEVICE, "the GPU", diag);
}

int smelt_device(int index, SmeltDevice *device, SmeltError *error) {
    Diag diag = {0};
    CudaApi api;
    int handle = 0;
    Status status = cuda_api_open(NULL, &api, &diag);
    if (status == STATUS_OK) status = find_device(&api, index, &handle, &diag);
    if (status == STATUS_OK) status = describe_device(&api, handle, device, &diag);
    return report_status(status, &diag, error);
}

int smelt_engine_device(const SmeltEngine *engine, SmeltDevice *device, SmeltError *error) {
    Diag diag = {0};
    *device = engine->cuda != NULL ? engine->cuda->info : (SmeltDevice){0};
    return report_status(STATUS_OK, &diag, error);
}

Status cuda_enter(CudaEngine *cuda, Diag *diag) {
    return cuda_result(&cuda->api, cuda->api.context_push(cuda->context), STATUS_CUDA_FAILED,
                       "the CUDA context cannot be made current", diag);
}

void cuda_leave(CudaEngine *cuda) {
    CudaHandle ignored;
    (void)cuda->api.context_pop(&ignored);
}

static Status use_current_context(CudaEngine *cuda, Diag *diag) {
    TRY(cuda_result(&cuda->api, cuda->api.context_current(&cuda->context), STATUS_WRONG_DEVICE,
                    "the current CUDA context", diag));
    if (cuda->context == NULL) return FAIL(diag, STATUS_USAGE, "no CUDA context is current on this thread");
    return cuda_result(&cuda->api, cuda->api.context_device(&cuda->device), STATUS_WRONG_DEVICE,
                       "the current CUDA context's GPU", diag);
}

Status cuda_device_open(CudaEngine *cuda, const SmeltEngineOptions *options, Diag *diag) {
    TRY(cuda_api_open(options->cuda_library, &cuda->api, diag));
    if (options->use_current_context != 0) {
        TRY(use_current_context(cuda, diag));
    } else {
        TRY(find_device(&cuda->api, options->device, &cuda->device, diag));
        TRY(cuda_result(&cuda->api, cuda->api.primary_retain(&cuda->context, cuda->device),
                        STATUS_WRONG_DEVICE, "a context on the GPU", diag));
        cuda->owns_context = true;
    }
    return describe_device(&cuda->api, cuda->device, &cuda->info, diag);
}

void cuda_device_close(CudaEngine *cuda) {
    if (cuda->owns_context) (void)cuda->api.primary_release(cuda->device);
}

/* -- what the plan is for -- */

/* META's `driver` is "12.4". */
static Status check_driver(const SmeltEngine *engine, Diag *diag) {
    const char *wanted = plan_meta(&engine->plan, "driver");
    int version = engine->cuda->api.version;
    if (wanted == NULL) return STATUS_OK;
    char *end;
    long major = strtol(wanted, &end, 10), minor = *end == '.' ? strtol(end + 1, &end, 10) : 0;
    if (*end != '\0' || major < 0 || major > 99 || minor < 0 || minor > 99)
        return FAIL(diag, STATUS_BAD_PLAN, "META: the driver is '%s', expected a version", wanted);
    if (1000 * major + 10 * minor <= version) return STATUS_OK;
    (void)FAIL(diag, STATUS_WRONG_DEVICE, "the plan needs a driver for CUDA %s; this one supports %d.%d",
               wanted, version / 1000, version % 1000 / 10);
    diag_hint(diag, "install a newer driver, or build the plan with an older NVRTC");
    return STATUS_WRONG_DEVICE;
}

static bool cubin_fits(const PlanCubin *cubin, int sm) {
    if (cubin->accelerated) return cubin->sm == sm;
    return cubin->sm / 10 == sm / 10 && cubin->sm <= sm;
}

static Status wrong_architecture(const SmeltEngine *engine, Diag *diag) {
    const PlanKernel *kernel = &engine->plan.kernels[0];
    char inside[256] = "";
    size_t used = 0;
    for (int32_t i = 0; i < kernel->cubin_count && used < sizeof inside - 16; ++i) {
        const PlanCubin *cubin = &engine->plan.cubins[kernel->cubin_first + i];
        used += (size_t)snprintf(inside + used, sizeof inside - used, "%ssm_%d%s", i > 0 ? ", " : "",
                                 cubin->sm, cubin->accelerated ? "a" : "");
    }
    const SmeltDevice *info = &engine->cuda->info;
    (void)FAIL(diag, STATUS_WRONG_DEVICE, "the plan holds code for %s; this GPU, %s, is sm_%d", inside,
               info->name, info->compute_capability);
    diag_hint(diag, "build the plan with --gpu=sm_%d", info->compute_capability);
    return STATUS_WRONG_DEVICE;
}

/* Number of the architecture to use: the newest that runs here, code for this very GPU first. */
static Status choose_architecture(const SmeltEngine *engine, int32_t *out, Diag *diag) {
    const PlanKernel *kernel = &engine->plan.kernels[0];
    const PlanCubin *cubins = engine->plan.cubins + kernel->cubin_first;
    *out = -1;
    for (int32_t i = 0; i < kernel->cubin_count; ++i) {
        if (!cubin_fits(&cubins[i], engine->cuda->info.compute_capability)) continue;
        if (*out < 0 || cubins[i].sm > cubins[*out].sm ||
            (cubins[i].sm == cubins[*out].sm && cubins[i].accelerated))
            *out = i;
    }
    return *out < 0 ? wrong_architecture(engine, diag) : STATUS_OK;
}

/* -- kernels and weights -- */

/* A driver that can tell says how many parameters the kernel takes. */
static Status check_parameters(const CudaEngine *cuda, const PlanKernel *kernel, CudaHandle function,
                               Diag *diag) {
    size_t offset, size;
    if (cuda->api.function_parameter == NULL) return STATUS_OK;
    int32_t count = 0;
    while (count < kernel->param_count &&
           cuda->api.function_parameter(function, (size_t)count, &offset, &size) == CUDA_SUCCESS)
        count++;
    if (count == kernel->param_count &&
        cuda->api.function_parameter(function, (size_t)count, &offset, &size) != CUDA_SUCCESS)
        return STATUS_OK;
    return FAIL(diag, STATUS_BAD_PLAN, "kernel '%s' does not take %d parameters", kernel->entry,
                kernel->param_count);
}

/* The same for their sizes. */
static Status check_arguments(const SmeltEngine *engine, int32_t index, CudaHandle function, Diag *diag) {
    const PlanLaunch *launch = &engine->plan.launches[index];
    const CudaApi *api = &engine->cuda->api;
    size_t offset, size;
    for (int32_t i = 0; api->function_parameter != NULL && i < launch->arg_count; ++i) {
        size_t wanted = engine->plan.args[launch->arg_first + i].kind == PLAN_ARG_MAP ? PLAN_MAP_BYTES : 8;
        if (api->function_parameter(function, (size_t)i, &offset, &size) != CUDA_SUCCESS || size != wanted)
            return FAIL(diag, STATUS_BAD_PLAN, "kernel '%s' does not take %zu bytes as its parameter %d",
                        engine->plan.kernels[launch->kernel].entry, wanted, i);
    }
    return STATUS_OK;
}

static Status load_kernel(SmeltEngine *engine, int32_t index, int32_t architecture, Diag *diag) {
    const PlanKernel *kernel = &engine->plan.kernels[index];
    const PlanCubin *cubin = &engine->plan.cubins[kernel->cubin_first + architecture];
    CudaEngine *cuda = engine->cuda;
    CudaKernel *loaded = &cuda->kernels[index];
    char what[160];
    if (cubin->size == 0) return STATUS_OK;
    snprintf(what, sizeof what, "kernel %d '%.100s' does not load", index, kernel->entry);
    TRY(cuda_result(&cuda->api, cuda->api.module_load(&loaded->module, cubin->data), STATUS_WRONG_DEVICE,
                    what, diag));
    TRY(cuda_result(&cuda->api, cuda->api.module_function(&loaded->function, loaded->module, kernel->entry),
                    STATUS_BAD_PLAN, what, diag));
    return check_parameters(cuda, kernel, loaded->function, diag);
}

/* How many blocks of the launch run at one time on a GPU that has nothing else to do, whole clusters. */
static Status count_together(SmeltEngine *engine, int32_t index, int32_t *out, Diag *diag) {
    const PlanLaunch *launch = &engine->plan.launches[index];
    const CudaEngine *cuda = engine->cuda;
    CudaHandle function = cuda->kernels[launch->kernel].function;
    int cluster = 0, count = 0, threads = launch->block[0] * launch->block[1] * launch->block[2];
    int result = cuda->api.function_attribute(&cluster, CUDA_FUNCTION_CLUSTER_WIDTH, function);
    if (result == CUDA_SUCCESS && cluster > 1 && cuda->api.most_clusters != NULL) {
        CudaLaunchAttribute size = {.id = CUDA_LAUNCH_CLUSTER_DIMENSION, .value = {cluster, 1, 1}};
        CudaLaunch config = {.grid = {(unsigned)cluster, 1, 1},
                             .block = {(unsigned)threads, 1, 1},
                             .shared_bytes = (unsigned)launch->shared_bytes,
                             .attributes = &size,
                             .attribute_count = 1};
        result = cuda->api.most_clusters(&count, function, &config);
        count *= cluster;
    } else if (result == CUDA_SUCCESS) {
        result = cuda->api.most_blocks(&count, function, threads, (size_t)launch->shared_bytes);
        count *= cuda->info.multiprocessors;
    }
    TRY(cuda_result(&cuda->api, result, STATUS_CUDA_FAILED, "a kernel's limits", diag));
    *out = count;
    if (count > 0 && cuda->api.launch_ex != NULL) return STATUS_OK;
    return FAIL(diag, STATUS_WRONG_DEVICE, "launch %d, whose blocks run together, does not run on %s", index,
                cuda->info.name);
}

/* What the launch asks of the device, beyond what the verifier could know. */
static Status check_launch(SmeltEngine *engine, int32_t index, int32_t *shared, Diag *diag) {
    const PlanLaunch *launch = &engine->plan.launches[index];
    CudaEngine *cuda = engine->cuda;
    if (launch->kernel < 0) return STATUS_OK;
    CudaHandle function = cuda->kernels[launch->kernel].function;
    TRY(check_arguments(engine, index, function, diag));
    int threads = 0, wanted = launch->block[0] * launch->block[1] * launch->block[2];
    TRY(cuda_result(&cuda->api, cuda->api.function_attribute(&threads, CUDA_FUNCTION_MAX_THREADS, function),
                    STATUS_CUDA_FAILED, "a kernel's limits", diag));
    if (wanted > threads)
        return FAIL(diag, STATUS_BAD_PLAN, "launch %d has blocks of %d threads; its kernel allows %d", index,
                    wanted, threads);
    /* Without asking blocks may have 48 KB, of which the kernel's own part is not known here. */
    if (launch->shared_bytes > shared[launch->kernel]) {
        shared[launch->kernel] = launch->shared_bytes;
        if (cuda->api.function_set(function, CUDA_FUNCTION_MAX_DYNAMIC_SHARED, launch->shared_bytes) !=
            CUDA_SUCCESS)
            return FAIL(diag, STATUS_WRONG_DEVICE,
                        "launch %d needs %d bytes of shared memory; %s does not give them", index,
                        launch->shared_bytes, cuda->info.name);
    }
    return launch->together ? count_together(engine, index, &cuda->together[index], diag) : STATUS_OK;
}

static Status load_kernels(SmeltEngine *engine, Diag *diag) {
    const Plan *plan = &engine->plan;
    int32_t architecture;
    if (plan->kernel_count == 0) return STATUS_OK;
    TRY(choose_architecture(engine, &architecture, diag));
    plan_choose_arch(&engine->plan, architecture);
    int32_t sm = plan->cubins[plan->kernels[0].cubin_first + architecture].sm;
    engine->cuda->kernels_wait =
        plan->minor >= WAITING_MINOR && sm >= WAITING_SM && engine->cuda->api.launch_ex != NULL;
    engine->cuda->kernels = ARENA_ARRAY(&engine->arena, CudaKernel, plan->kernel_count);
    int32_t *shared = ARENA_ARRAY(&engine->arena, int32_t, plan->kernel_count);
    engine->cuda->together = ARENA_ARRAY(&engine->arena, int32_t, plan->launch_count);
    TRY_ALLOC(diag, engine->cuda->kernels);
    TRY_ALLOC(diag, engine->cuda->together);
    TRY_ALLOC(diag, shared);
    for (int32_t i = 0; i < plan->kernel_count; ++i) TRY(load_kernel(engine, i, architecture, diag));
    for (int32_t s = 0; s < plan->step_count; ++s) {
        const PlanStep *step = &plan->steps[s];
        for (int32_t i = step->launch_first; i < step->launch_first + step->launch_count; ++i)
            TRY(check_launch(engine, i, shared, diag));
    }
    return STATUS_OK;
}

static Status load_weights(SmeltEngine *engine, Diag *diag) {
    CudaEngine *cuda = engine->cuda;
    DeviceMemory memory = {0};
    if (engine->plan.weights_size == 0) return STATUS_OK;
    TRY(device_reserve(cuda, &memory, engine->plan.weights_size, "weights", diag));
    cuda->weights = memory.data;
    int result = cuda->api.copy_in(cuda->weights, engine->plan.weights, engine->plan.weights_size);
    /* Of pageable memory the last bytes may still be under way, and runs on other streams do not wait for
     * them. */
    if (result == CUDA_SUCCESS) result = cuda->api.stream_synchronize(NULL);
    return cuda_result(&cuda->api, result, STATUS_CUDA_FAILED, "the weights cannot be copied to the GPU",
                       diag);
}

Status cuda_engine_open(SmeltEngine *engine, const SmeltEngineOptions *options, Diag *diag) {
    static const SmeltEngineOptions defaults = {0};
    engine->cuda = ARENA_NEW(&engine->arena, CudaEngine);
    TRY_ALLOC(diag, engine->cuda);
    TRY(cuda_device_open(engine->cuda, options != NULL ? options : &defaults, diag));
    TRY(check_driver(engine, diag));
    TRY(cuda_enter(engine->cuda, diag));
    Status status = load_kernels(engine, diag);
    if (status == STATUS_OK) status = load_weights(engine, diag);
    if (status == STATUS_OK) status = libraries_open(engine, diag);
    cuda_leave(engine->cuda);
    return status;
}

void cuda_engine_close(SmeltEngine *engine) {
    CudaEngine *cuda = engine->cuda;
    if (cuda == NULL || cuda->context == NULL) return;
    if (cuda_enter(cuda, NULL) == STATUS_OK) {
        libraries_close(engine);
        for (int32_t i = 0; cuda->kernels != NULL && i < engine->plan.kernel_count; ++i)
            if (cuda->kernels[i].module != NULL) (void)cuda->api.module_unload(cuda->kernels[i].module);
        if (cuda->weights != 0) (void)cuda->api.memory_free(cuda->weights);
        cuda_leave(cuda);
    }
    cuda_device_close(cuda);
}
