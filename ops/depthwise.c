/* The padded input plane is split into stride x stride phase planes (a plain padded copy where the stride is
 * 1). In them every tap of the kernel is a constant offset, and the outputs of a band of rows are one long
 * vector: row r of the output begins at r * pitch. The few elements at the end of each row that belong to no
 * output, and what strips read past the planes, are computed and thrown away, which costs less than ending
 * vectors early. */
#include "ops/depthwise.h"

#include <string.h>

#include "base/simd.h"
#include "ops/kit.h"

enum {
    LANES = 16,
    STRIP = 4 * LANES,      /* outputs at a time */
    BAND_FLOATS = 24 << 10, /* phase planes of a band, about: they stay in the second-level cache */
    LEAST_WORK = 1 << 17,   /* multiply-adds worth handing to a thread */
    MOST_TAPS = 1024,
    MOST_FLOATS = 4 << 20 /* phase planes of one row of outputs */
};

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* Geometry of a band; axes 1 and 2 of the window are rows and columns. */
typedef struct Bands {
    int64_t rows, count;     /* output rows per band, bands per plane */
    int64_t pitch, plane;    /* floats per row and per plane of a phase */
    int64_t taps[MOST_TAPS]; /* offset of each tap */
    int64_t input_floats;    /* all phase planes and what strips may read past them */
    int64_t output_floats;
} Bands;

static int64_t extent(const Window *window, int axis, int64_t outputs) {
    return (outputs - 1) * window->stride[axis] + (window->kernel[axis] - 1) * window->dilation[axis] + 1;
}

static int64_t phase_extent(const Window *window, int axis, int64_t outputs) {
    return ceil_div_i64(extent(window, axis, outputs), window->stride[axis]);
}

bool depthwise_fits(const Window *window) {
    if (window->in[0] != 1 || window->kernel[0] != 1 || window->out[0] != 1 || window->pad[0] != 0 ||
        window->taps > MOST_TAPS)
        return false;
    int64_t height = extent(window, 1, 1) + window->stride[1],
            width = phase_extent(window, 2, window->out[2]);
    int64_t row, floats;
    return checked_mul_i64(width, window->stride[2], &row) && checked_mul_i64(height, row, &floats) &&
           floats <= MOST_FLOATS;
}

static void bands_make(const Window *window, Bands *bands) {
    int64_t phases = window->stride[1] * window->stride[2];
    bands->pitch = phase_extent(window, 2, window->out[2]);
    int64_t per_row = bands->pitch * window->stride[2] * window->stride[1];
    int64_t fixed = (window->kernel[1] - 1) * window->dilation[1] / window->stride[1] * per_row;
    bands->rows = clamp_i64((BAND_FLOATS - fixed) / max_i64(per_row, 1), 1, window->out[1]);
    bands->count = ceil_div_i64(window->out[1], bands->rows);
    bands->rows = ceil_div_i64(window->out[1], bands->count);
    bands->plane = phase_extent(window, 1, bands->rows) * bands->pitch;
    bands->output_floats = ceil_div_i64(bands->rows * bands->pitch, STRIP) * STRIP;
    bands->input_floats = phases * bands->plane + STRIP + bands->pitch;
    int64_t *tap = bands->taps;
    for (int64_t i = 0; i < window->kernel[1]; ++i)
        for (int64_t j = 0; j < window->kernel[2]; ++j) {
            int64_t row = i * window->dilation[1], col = j * window->dilation[2];
            int64_t phase = row % window->stride[1] * window->stride[2] + col % window->stride[2];
            *tap++ = phase * bands->plane + row / window->stride[1] * bands->pitch + col / window->stride[2];
        }
}

static size_t worker_floats(const Bands *bands) {
    return (size_t)(ceil_div_i64(bands->input_floats + bands->output_floats, 16) * 16);
}

size_t depthwise_scratch(const Window *window) {
    Bands bands;
    bands_make(window, &bands);
    return worker_floats(&bands) * sizeof(float);
}

/* One phase of the rows of a plane, zeros outside the input: to[r][i] = x[y + r * stride][first + i *
 * stride]. */
SIMD_CLONES static void fill_phase(const Window *window, const Bands *bands, const float *restrict x,
                                   int64_t y, int64_t first, float *restrict to) {
    int64_t stride = window->stride[2], rows = bands->plane / bands->pitch, pitch = bands->pitch;
    int64_t low = clamp_i64(ceil_div_i64(-first, stride), 0, pitch);
    int64_t high = clamp_i64(ceil_div_i64(window->in[2] - first, stride), low, pitch);
    for (int64_t r = 0; r < rows; ++r, y += window->stride[1], to += pitch) {
        bool inside = y >= 0 && y < window->in[1];
        const float *from = x + (inside ? y : 0) * window->in[2] + first;
        int64_t begin = inside ? low : pitch, end = inside ? high : pitch;
        for (int64_t i = 0; i < begin; ++i) to[i] = 0;
        if (stride == 1)
            for (int64_t i = begin; i < end; ++i) to[i] = from[i];
        else if (stride == 2)
            for (int64_t i = begin; i < end; ++i) to[i] = from[2 * i];
        else
            for (int64_t i = begin; i < end; ++i) to[i] = from[i * stride];
        for (int64_t i = end; i < pitch; ++i) to[i] = 0;
    }
}

/* The phase planes for output rows from `row` on. */
static void fill_phases(const Window *window, const Bands *bands, const float *x, int64_t row,
                        float *planes) {
    int64_t y = row * window->stride[1] - window->pad[1];
    for (int64_t p = 0; p < window->stride[1]; ++p)
        for (int64_t q = 0; q < window->stride[2]; ++q)
            fill_phase(window, bands, x, y + p, q - window->pad[2],
                       planes + (p * window->stride[2] + q) * bands->plane);
}

/* to[i] = bias + sum over taps of weights[t] * planes[taps[t] + i], for count rounded up to strips. */
SIMD_CLONES static void run_taps(const float *planes, const int64_t *taps, const float *weights,
                                 int64_t tap_count, float bias, float *to, int64_t count) {
    for (int64_t i = 0; i < count; i += STRIP) {
        Lanes a = (Lanes){0} + bias, b = a, c = a, d = a;
        for (int64_t t = 0; t < tap_count; ++t) {
            const Lanes *from = (const Lanes *)(planes + i + taps[t]);
            a += from[0] * weights[t];
            b += from[1] * weights[t];
            c += from[2] * weights[t];
            d += from[3] * weights[t];
        }
        Lanes *out = (Lanes *)(to + i);
        out[0] = a;
        out[1] = b;
        out[2] = c;
        out[3] = d;
    }
}

typedef struct DepthwiseRun {
    const Depthwise *conv;
    Bands bands;
    float *scratch;
} DepthwiseRun;

static void run_band(const DepthwiseRun *run, int64_t plane, int64_t band, float *scratch) {
    const Depthwise *conv = run->conv;
    const Window *window = &conv->window;
    const Bands *bands = &run->bands;
    int64_t first = band * bands->rows, rows = min_i64(bands->rows, window->out[1] - first);
    float *line = scratch + bands->input_floats;
    fill_phases(window, bands, conv->x + plane * window->in_count, first, scratch);
    for (int64_t m = 0; m < conv->multiplier; ++m) {
        int64_t channel = plane % conv->channels * conv->multiplier + m;
        run_taps(scratch, bands->taps, conv->w + channel * window->taps, window->taps,
                 conv->bias != NULL ? conv->bias[channel] : 0.0f, line, rows * bands->pitch);
        float *to = conv->y + (plane * conv->multiplier + m) * window->out_count + first * window->out[2];
        for (int64_t r = 0; r < rows; ++r)
            memcpy(to + r * window->out[2], line + r * bands->pitch, (size_t)window->out[2] * sizeof *to);
    }
}

static void run_bands(void *context, int64_t first, int64_t last, int worker) {
    const DepthwiseRun *run = context;
    size_t floats = worker_floats(&run->bands);
    float *scratch = run->scratch + (size_t)worker * floats;
    for (int64_t task = first; task < last; ++task)
        run_band(run, task / run->bands.count, task % run->bands.count, scratch);
}

void depthwise_run(const Depthwise *conv, ThreadPool *pool, void *scratch) {
    DepthwiseRun run = {.conv = conv, .scratch = scratch};
    bands_make(&conv->window, &run.bands);
    int64_t work = run.bands.rows * run.bands.pitch * conv->window.taps; /* multiply-adds of a band */
    parallel_for(pool, conv->planes * run.bands.count, 1 + LEAST_WORK / max_i64(work, 1), run_bands, &run);
}
