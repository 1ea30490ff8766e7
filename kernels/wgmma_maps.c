#include <string.h>

#include "kernels/wgmma_text.h"

KernelMap wgmma_matrix_map(const WgmmaProblem *problem, const Config *config, ValueId value, Dim lines,
                           Dim depth, Dim batch, Dim line_stride, Dim batch_stride, bool outer,
                           int32_t box_lines) {
    int32_t part = config->number[WGMMA_DEPTH];
    KernelMap map = {.value = value, .rank = 3, .swizzle = wgmma_line(problem->element, part)};
    Dim dim[] = {outer ? lines : depth, outer ? depth : lines, batch},
        stride[] = {1, line_stride, batch_stride};
    int32_t box[] = {outer ? WGMMA_STRIP : part, outer ? part : box_lines, 1};
    memcpy(map.dim, dim, sizeof dim);
    memcpy(map.stride, stride, sizeof stride);
    memcpy(map.box, box, sizeof box);
    return map;
}

KernelMap wgmma_spread_map(DimTable *dims, int32_t spread, int32_t element, int32_t part, int32_t cols,
                           ValueId value, Dim lines, Dim depth, Dim line_stride) {
    KernelMap map = {.value = value, .rank = 5, .swizzle = wgmma_line(element, part)};
    const int32_t each = spread / 4, extents[] = {0, 2, 4, each / 2, cols / spread},
                  steps[] = {0, 1, each, 2, spread};
    map.dim[0] = depth;
    map.stride[0] = 1;
    map.box[0] = part;
    for (int32_t i = 1; i < 5; ++i) {
        map.dim[i] = i < 4 ? extents[i] : dim_floor_div(dims, lines, spread);
        map.stride[i] = dim_mul(dims, line_stride, steps[i]);
        map.box[i] = extents[i];
    }
    return map;
}
