#include "base/units.h"
#include "runtime/cuda.h"

static Status too_little(CudaEngine *cuda, size_t size, const char *what, Diag *diag) {
    size_t free_bytes = 0, total = 0;
    (void)cuda->api.memory_info(&free_bytes, &total);
    return FAIL(diag, STATUS_NO_MEMORY, "%s for %s do not fit on %s, which has %s free of %s",
                byte_text((double)size).text, what, cuda->info.name, byte_text((double)free_bytes).text,
                byte_text((double)total).text);
}

Status device_reserve(CudaEngine *cuda, DeviceMemory *memory, size_t size, const char *what, Diag *diag) {
    if (memory->data != 0 && size <= memory->capacity) return STATUS_OK;
    device_release(cuda, memory);
    int result = cuda->api.memory_alloc(&memory->data, size > 0 ? size : 1);
    if (result != CUDA_SUCCESS) memory->data = 0;
    if (result == CUDA_OUT_OF_MEMORY) return too_little(cuda, size, what, diag);
    TRY(cuda_result(&cuda->api, result, STATUS_CUDA_FAILED, "device memory", diag));
    memory->capacity = size;
    return STATUS_OK;
}

void device_release(CudaEngine *cuda, DeviceMemory *memory) {
    if (memory->data != 0) {
        (void)cuda->api.context_synchronize(); /* nothing that is under way may use it */
        (void)cuda->api.memory_free(memory->data);
    }
    *memory = (DeviceMemory){0};
}

Status pinned_reserve(CudaEngine *cuda, OwnMemory *memory, size_t size, Diag *diag) {
    if (memory->data != NULL && size <= memory->capacity) return STATUS_OK;
    pinned_release(cuda, memory);
    int result = cuda->api.pinned_alloc(&memory->data, size > 0 ? size : 1, CUDA_PINNED_PORTABLE);
    if (result != CUDA_SUCCESS) memory->data = NULL;
    if (result == CUDA_OUT_OF_MEMORY)
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory: %s of pinned host memory are needed",
                    byte_text((double)size).text);
    TRY(cuda_result(&cuda->api, result, STATUS_CUDA_FAILED, "pinned host memory", diag));
    memory->capacity = size;
    return STATUS_OK;
}

void pinned_release(CudaEngine *cuda, OwnMemory *memory) {
    if (memory->data != NULL) {
        (void)cuda->api.context_synchronize();
        (void)cuda->api.pinned_free(memory->data);
    }
    *memory = (OwnMemory){0};
}
