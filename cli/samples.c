#include "cli/samples.h"

#include "base/file.h"
#include "base/tensor_file.h"

Status sample_read_input(App *app, const char *folder, int index, Tensor *out) {
    const char *path = arena_printf(&app->arena, "%s/input_%d.pb", folder, index);
    if (path != NULL && !file_exists(path))
        path = arena_printf(&app->arena, "%s/input_%d.npy", folder, index);
    TRY_ALLOC(&app->diag, path);
    if (!file_exists(path))
        return FAIL(&app->diag, STATUS_IO, "'%s' has no input_%d.pb or input_%d.npy", folder, index, index);
    return tensor_file_read(path, &app->arena, out, NULL, &app->diag);
}

/* Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void fill(Tensor *tensor, uint64_t most, uint64_t *state) {
    int64_t count = tensor_count(tensor);
    for (int64_t i = 0; i < count; ++i) {
        uint64_t bits = splitmix64(state);
        if (dtype_is_float(tensor->dtype))
            dtype_store_f64(tensor->dtype, tensor->data, i, (double)(bits >> 11) * 0x1p-52 - 1);
        else
            dtype_store_i64(tensor->dtype, tensor->data, i, (int64_t)(bits % (most + 1)));
    }
}

Status sample_random(DType dtype, int32_t rank, const int64_t *dims, uint64_t most, uint64_t *state,
                     Arena *arena, Tensor *out, Diag *diag) {
    enum { RANDOM_LIMIT = 1 << 30 };
    TRY(tensor_describe(out, dtype, rank, dims, RANDOM_LIMIT, diag));
    out->data = arena_alloc(arena, tensor_bytes(out));
    TRY_ALLOC(diag, out->data);
    fill(out, most, state);
    return STATUS_OK;
}
