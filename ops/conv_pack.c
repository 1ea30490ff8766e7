/* The part of one channel that a block of outputs reads is copied once with its padding; each tap is then a
 * shifted copy of it, without a look at the borders. */
#include "ops/conv_pack.h"

#include "base/simd.h"
#include "ops/kit.h"

enum { STEP = 16 /* floats copied at a time: copies of rows may pass their end by less than that */ };

typedef float Lanes __attribute__((vector_size(STEP * sizeof(float)), aligned(4), may_alias));

/* What a block of outputs reads of a channel: for each of the kernel's planes, `rows` rows of `pitch`. */
typedef struct Region {
    const Window *window;
    int64_t z, y, x; /* input position of the region's first element; x: of the first output column */
    int64_t rows, pitch;
    int64_t first_x; /* output column at which the block begins */
    int64_t cols;    /* outputs of the block */
} Region;

static bool region_make(const Window *window, int64_t col, const GemmPanels *panels, Region *region) {
    int64_t width = window->out[2], height = window->out[1], last = col + panels->cols - 1;
    int64_t first_y = col / width % height, rows = last / width - col / width;
    *region = (Region){.window = window, .first_x = col % width, .cols = panels->cols};
    if (last / width / height != col / width / height) return false; /* more than one plane of outputs */
    region->z = col / width / height * window->stride[0] - window->pad[0];
    region->y = first_y * window->stride[1] - window->pad[1];
    region->x = -window->pad[2];
    region->rows = rows * window->stride[1] + (window->kernel[1] - 1) * window->dilation[1] + 1;
    region->pitch = (width - 1) * window->stride[2] + (window->kernel[2] - 1) * window->dilation[2] + 1;
    int64_t room = (GEMM_LINES - 1) * panels->cols - 4 * STEP, size;
    return checked_mul_i64(region->rows, region->pitch, &size) &&
           checked_mul_i64(size, window->kernel[0], &size) && size <= room;
}

/* Copies the region of one channel, zeros outside the input. */
SIMD_CLONES static void fill_region(const Region *region, const float *channel, float *to) {
    const Window *win = region->window;
    for (int64_t plane = 0; plane < win->kernel[0]; ++plane)
        for (int64_t row = 0; row < region->rows; ++row, to += region->pitch) {
            int64_t z = region->z + plane * win->dilation[0], y = region->y + row;
            bool inside = z >= 0 && z < win->in[0] && y >= 0 && y < win->in[1];
            int64_t low = inside ? clamp_i64(-region->x, 0, region->pitch) : region->pitch;
            int64_t high = inside ? clamp_i64(win->in[2] - region->x, low, region->pitch) : region->pitch;
            const float *from = channel + (inside ? (z * win->in[1] + y) * win->in[2] + region->x : 0);
            for (int64_t i = 0; i < low; ++i) to[i] = 0;
            for (int64_t i = low; i < high; ++i) to[i] = from[i];
            for (int64_t i = high; i < region->pitch; ++i) to[i] = 0;
        }
}

/* The outputs of the block for the tap whose first element is `from`. */
SIMD_CLONES static void copy_tap(const Region *region, const float *from, float *to) {
    const Window *win = region->window;
    int64_t x = region->first_x, stride = win->stride[2], step = win->stride[1] * region->pitch;
    for (int64_t left = region->cols; left > 0; from += step, x = 0) {
        int64_t count = win->out[2] - x < left ? win->out[2] - x : left;
        const float *row = from + x * stride;
        if (stride == 1)
            for (int64_t i = 0; i < count; i += STEP) *(Lanes *)(to + i) = *(const Lanes *)(row + i);
        else if (stride == 2)
            for (int64_t i = 0; i < count; ++i) to[i] = row[2 * i];
        else
            for (int64_t i = 0; i < count; ++i) to[i] = row[i * stride];
        to += count;
        left -= count;
    }
}

/* Rows [k, k + panels->depth) by way of a line and a copy of the region. */
SIMD_CLONES static void pack_rows(const Region *region, const float *x, int64_t k, float *line, float *copy,
                                  const GemmPanels *panels) {
    const Window *win = region->window;
    int64_t channel = -1, plane_taps = win->kernel[1] * win->kernel[2];
    for (int64_t i = 0; i < panels->depth; ++i) {
        int64_t tap = (k + i) % win->taps, plane = tap / plane_taps;
        int64_t tap_y = tap % plane_taps / win->kernel[2] * win->dilation[1];
        int64_t tap_x = tap % win->kernel[2] * win->dilation[2];
        if ((k + i) / win->taps != channel) {
            channel = (k + i) / win->taps;
            fill_region(region, x + channel * win->in_count, copy);
        }
        copy_tap(region, copy + (plane * region->rows + tap_y) * region->pitch + tap_x, line);
        gemm_put_row(panels, i, line);
    }
}

bool conv_pack(const float *x, const Window *window, int64_t k, int64_t col, float *lines,
               const GemmPanels *panels) {
    Region region;
    if (!region_make(window, col, panels, &region)) return false;
    /* the line first, with room to pass its end, then the region, likewise */
    pack_rows(&region, x, k, lines, lines + panels->cols + STEP, panels);
    return true;
}
