/* Tensor maps: what the copy engine can do, and that it stays within the value's memory. Source of the
 * limits: CUDA Driver API reference, cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col. */
#include "plan_format/verify.h"

enum {
    LEAST_RANK = 3,
    MOST_BOX = 256,
    MOST_WINDOWS = 1024,
    MOST_STEP = 8,
    LINE_PART = 16 /* bytes that a line's length is a multiple of */
};

static Status bad_map(const Verifier *v, int32_t index, const char *what, int64_t found) {
    return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: map %d has %s %lld", index, what, (long long)found);
}

static Status verify_box(const Verifier *v, int32_t index, const PlanMap *map, int32_t element) {
    if (map->swizzle != 32 && map->swizzle != 64 && map->swizzle != 128)
        return bad_map(v, index, "a swizzle of", map->swizzle);
    if (map->box[0] < 1 || map->box[0] > MOST_BOX || map->box[0] * element > map->swizzle ||
        map->box[0] * element % LINE_PART != 0)
        return bad_map(v, index, "boxes of width", map->box[0]);
    for (int32_t i = 1; i < PLAN_MAP_RANK; ++i) {
        bool used = map->windows ? i == 1 : i < map->rank;
        int32_t most = map->windows ? MOST_WINDOWS : MOST_BOX;
        if (used ? map->box[i] < 1 || map->box[i] > most : map->box[i] != 0)
            return bad_map(v, index, "a box extent of", map->box[i]);
    }
    return STATUS_OK;
}

static Status verify_windows(const Verifier *v, int32_t index, const PlanMap *map) {
    static const int32_t reach[PLAN_MAP_AXES] = {32767, 127, 15}; /* of corners, by the number of axes */
    int32_t axes = map->windows ? map->rank - 2 : 0;
    for (int32_t i = 0; i < PLAN_MAP_AXES; ++i) {
        if (i >= axes && (map->step[i] != 0 || map->low[i] != 0 || map->high[i] != 0))
            return bad_map(v, index, "a step that means nothing,", map->step[i]);
        if (i >= axes) continue;
        if (map->step[i] < 1 || map->step[i] > MOST_STEP) return bad_map(v, index, "a step of", map->step[i]);
        if (map->low[i] < -reach[axes - 1] - 1 || map->low[i] > reach[axes - 1])
            return bad_map(v, index, "windows from", map->low[i]);
        if (map->high[i] < -reach[axes - 1] - 1 || map->high[i] > reach[axes - 1])
            return bad_map(v, index, "windows to", map->high[i]);
    }
    return STATUS_OK;
}

Status verify_map(const Verifier *v, int32_t launch, int32_t index, int32_t value) {
    const PlanMap *map = &v->plan->maps[index];
    int32_t element = dtype_bits((DType)v->plan->values[value].dtype) / 8;
    int64_t stride[PLAN_MAP_RANK - 1], size;
    bool exact = true;
    if (map->rank < LEAST_RANK || map->rank > PLAN_MAP_RANK) return bad_map(v, index, "rank", map->rank);
    if (element < 1 || element > 8) return bad_map(v, index, "elements of bytes", element);
    TRY(verify_box(v, index, map, element));
    TRY(verify_windows(v, index, map));
    for (int32_t i = 0; i < PLAN_MAP_RANK; ++i) {
        PlanDim pitch = i + 1 < PLAN_MAP_RANK ? map->stride[i] : 0;
        if ((i >= map->rank && map->dim[i] != 0) || (i + 1 >= map->rank && pitch != 0))
            return bad_map(v, index, "an extent or stride behind its rank,", i);
        TRY(verify_launch_dim(v, launch, map->dim[i], "an extent of a map"));
        TRY(verify_launch_dim(v, launch, pitch, "a stride of a map"));
        exact = exact && dim_is_exact(map->dim[i]) && dim_is_exact(pitch);
        if (i + 1 < PLAN_MAP_RANK) stride[i] = pitch;
    }
    TRY(verify_value_bytes(v, value, &size));
    if (!exact || size < 0) return STATUS_OK; /* the runtime looks again */
    int64_t bytes = plan_map_bytes(map, element, map->dim, stride);
    if (bytes >= 0 && bytes <= size) return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: map %d reads %lld bytes of value %d, which has %lld", index,
                (long long)bytes, value, (long long)size);
}
