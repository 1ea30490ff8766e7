/* Tensor maps of the fake driver. */
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/kernels.h"

enum { SUCCESS = 0, INVALID_VALUE = 1 };

/* What the fake kernels need of a map: where the elements are and how many. */
static int make_map(FakeMap *map, int type, uint32_t rank, void *memory, const uint64_t *extents,
                    const uint64_t *strides) {
    uintptr_t at = (uintptr_t)memory;
    if (rank < 3 || rank > 5 || at % 16 != 0 || (uintptr_t)map % 64 != 0) return INVALID_VALUE;
    *map = (FakeMap){.memory = at, .type = type, .rank = rank};
    for (uint32_t i = 0; i < rank; ++i) {
        if (extents[i] < 1 || (i + 1 < rank && strides[i] % 16 != 0)) return INVALID_VALUE;
        map->extents[i] = extents[i];
        if (i + 1 < rank) map->strides[i] = strides[i];
    }
    fake_set(FAKE_MAPS, fake_get(FAKE_MAPS) + 1);
    return SUCCESS;
}

DRIVER int cuTensorMapEncodeTiled(FakeMap *map, int type, uint32_t rank, void *memory,
                                  const uint64_t *extents, const uint64_t *strides, const uint32_t *box,
                                  const uint32_t *steps, int interleave, int swizzle, int promotion,
                                  int fill) {
    if (box[0] < 1 || steps[0] != 1 || interleave != 0 || swizzle > 3 || promotion > 3 || fill != 0)
        return INVALID_VALUE;
    return make_map(map, type, rank, memory, extents, strides);
}

DRIVER int cuTensorMapEncodeIm2col(FakeMap *map, int type, uint32_t rank, void *memory,
                                   const uint64_t *extents, const uint64_t *strides, const int *low,
                                   const int *high, uint32_t channels, uint32_t pixels, const uint32_t *steps,
                                   int interleave, int swizzle, int promotion, int fill) {
    if (low[0] > high[0] + (int)extents[1] || channels > 256 || pixels > 1024 || steps[0] != 1 ||
        interleave != 0 || swizzle > 3 || promotion > 3 || fill != 0)
        return INVALID_VALUE;
    return make_map(map, type, rank, memory, extents, strides);
}
