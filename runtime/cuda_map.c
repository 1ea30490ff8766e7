/* Tensor maps: how the copy engine sees values. */
#include "runtime/cuda.h"

typedef struct MapType {
    DType dtype;
    int type;
} MapType;

static const MapType types[] = {{DTYPE_F16, CUDA_MAP_F16},
                                {DTYPE_BF16, CUDA_MAP_BF16},
                                {DTYPE_F32, CUDA_MAP_TF32},
                                {DTYPE_I8, CUDA_MAP_U8},
                                {DTYPE_U8, CUDA_MAP_U8}};
enum { TYPES = sizeof types / sizeof types[0] };

/* The map's numbers for these shapes. */
typedef struct MapNumbers {
    int64_t dim[PLAN_MAP_RANK], stride[PLAN_MAP_RANK - 1];
} MapNumbers;

static Status evaluate(const SmeltContext *context, int32_t index, const PlanMap *map, MapNumbers *out,
                       Diag *diag) {
    for (int32_t i = 0; i < map->rank; ++i) {
        bool fine = plan_dim_eval(context->plan, map->dim[i], context->symbols, &out->dim[i]);
        if (i + 1 < map->rank)
            fine = fine && plan_dim_eval(context->plan, map->stride[i], context->symbols, &out->stride[i]);
        if (!fine)
            return FAIL(diag, STATUS_BAD_DATA, "the inputs' shapes give argument %d an impossible value",
                        index);
    }
    return STATUS_OK;
}

/* Bytes of memory that the value has from its place on. */
static int64_t bytes_of(const SmeltContext *context, int32_t value) {
    int64_t span = 0, bytes = (int64_t)tensor_bytes(&context->tensors[value]);
    (void)plan_dim_eval(context->plan, context->plan->values[value].span, context->symbols, &span);
    return span > bytes ? span : bytes;
}

static int encode(const CudaApi *api, const PlanMap *map, const MapNumbers *numbers, int type,
                  CudaPointer place, CudaMap *out) {
    uint64_t dim[PLAN_MAP_RANK] = {0}, stride[PLAN_MAP_RANK - 1] = {0};
    uint32_t box[PLAN_MAP_RANK] = {0}, step[PLAN_MAP_RANK] = {1, 1, 1, 1, 1}, rank = (uint32_t)map->rank;
    int swizzle = map->swizzle == 32   ? CUDA_MAP_SWIZZLE_32
                  : map->swizzle == 64 ? CUDA_MAP_SWIZZLE_32 + 1
                                       : CUDA_MAP_SWIZZLE_32 + 2;
    void *memory = (void *)(uintptr_t)place;
    for (int32_t i = 0; i < map->rank; ++i) {
        dim[i] = (uint64_t)numbers->dim[i];
        box[i] = (uint32_t)map->box[i];
        if (i + 1 < map->rank) stride[i] = (uint64_t)numbers->stride[i];
        if (map->windows && i + 2 < map->rank) step[i + 1] = (uint32_t)map->step[i];
    }
    if (map->windows)
        return api->map_windows(out, type, rank, memory, dim, stride, map->low, map->high, box[0], box[1],
                                step, 0, swizzle, CUDA_MAP_PROMOTE_256, 0);
    return api->map_tiled(out, type, rank, memory, dim, stride, box, step, 0, swizzle, CUDA_MAP_PROMOTE_256,
                          0);
}

Status make_map(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanArg *arg = &context->plan->args[index];
    const PlanMap *map = &context->plan->maps[arg->number];
    CudaContext *cuda = context->cuda;
    CudaPointer place = cuda_place(context, arg->value);
    DType dtype = (DType)context->plan->values[arg->value].dtype;
    MapNumbers numbers;
    int type = -1;
    if (place == cuda->map_places[arg->number] || cuda->map_places[arg->number] == NO_MAP) return STATUS_OK;
    for (int i = 0; i < TYPES; ++i)
        if (types[i].dtype == dtype) type = types[i].type;
    if (type < 0)
        return FAIL(diag, STATUS_BAD_PLAN, "argument %d is a map of elements that no map has", index);
    TRY(evaluate(context, index, map, &numbers, diag));
    int64_t bytes = plan_map_bytes(map, dtype_bits(dtype) / 8, numbers.dim, numbers.stride);
    if (bytes < 0 || bytes > bytes_of(context, arg->value))
        return FAIL(diag, STATUS_BAD_PLAN, "argument %d is a map of %lld bytes of value %d, which has %lld",
                    index, (long long)bytes, arg->value, (long long)bytes_of(context, arg->value));
    TRY(cuda_result(&cuda->engine->api,
                    encode(&cuda->engine->api, map, &numbers, type, place, &cuda->maps[arg->number]),
                    STATUS_CUDA_FAILED, "a tensor map", diag));
    cuda->map_places[arg->number] = place;
    return STATUS_OK;
}
