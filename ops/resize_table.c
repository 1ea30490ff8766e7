#include "ops/resize_table.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

bool resize_axis_is_identity(const ResizeRule *rule, const ResizeAxis *axis) {
    return axis->in == axis->out && axis->scale == 1 && rule->coordinates != RESIZE_TF_CROP &&
           rule->coordinates != RESIZE_TF_HALF_PIXEL_FOR_NN;
}

/* Taps on each side of a sample of the filter, widened by antialiasing when shrinking. */
static int64_t reach(const ResizeRule *rule, double scale) {
    double radius = rule->mode == RESIZE_CUBIC ? 2 : 1;
    if (!rule->antialias || scale >= 1) return (int64_t)radius;
    return (int64_t)-floor(-radius / scale);
}

size_t resize_axis_size(const ResizeRule *rule, ResizeAxis *axis) {
    axis->taps = 1;
    if (resize_axis_is_identity(rule, axis)) return 0;
    size_t entry = sizeof *axis->first;
    if (rule->mode != RESIZE_NEAREST) {
        axis->taps = clamp_i64(2 * reach(rule, axis->scale), 1, max_i64(axis->in, 1));
        entry += (size_t)axis->taps * sizeof *axis->weights;
    }
    return (size_t)axis->out * entry;
}

/* ONNX, operator Resize, coordinate_transformation_mode. */
double resize_source(const ResizeRule *rule, const ResizeAxis *axis, double x) {
    double in = (double)axis->in, out = (double)axis->out, scale = axis->scale;
    switch (rule->coordinates) {
    case RESIZE_HALF_PIXEL:
        return (x + 0.5) / scale - 0.5;
    case RESIZE_HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - out / (scale * in)) + (x + 0.5) / scale - 0.5;
    case RESIZE_PYTORCH_HALF_PIXEL:
        return axis->out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case RESIZE_ALIGN_CORNERS:
        return axis->out > 1 ? x * (in - 1) / (scale * in - 1) : 0;
    case RESIZE_ASYMMETRIC:
        return x / scale;
    case RESIZE_TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5) / scale;
    case RESIZE_TF_CROP:
        if (axis->out == 1) return 0.5 * (axis->begin + axis->end) * (in - 1);
        return axis->begin * (in - 1) + x * (axis->end - axis->begin) * (in - 1) / (out - 1);
    }
    return 0;
}

/* Single precision as the widespread implementations have it: at the exact halves and integers that nearest
 * decides by, double would give other neighbours for scales such as 0.6. */
static double source_for_nearest(const ResizeRule *rule, const ResizeAxis *axis, int64_t x) {
    float scale = (float)axis->scale;
    switch (rule->coordinates) {
    case RESIZE_HALF_PIXEL:
        return (double)(((float)x + 0.5f) / scale - 0.5f);
    case RESIZE_ASYMMETRIC:
        return (double)((float)x / scale);
    default:
        return resize_source(rule, axis, (double)x);
    }
}

int64_t resize_nearest(const ResizeRule *rule, const ResizeAxis *axis, int64_t x) {
    double at = source_for_nearest(rule, axis, x);
    if (rule->coordinates == RESIZE_TF_CROP && (at < 0 || at > (double)(axis->in - 1))) return -1;
    switch (rule->rounding) {
    case RESIZE_ROUND_PREFER_FLOOR:
        at = ceil(at - 0.5);
        break;
    case RESIZE_ROUND_PREFER_CEIL:
        at = floor(at + 0.5);
        break;
    case RESIZE_FLOOR:
        at = floor(at);
        break;
    case RESIZE_CEIL:
        at = ceil(at);
        break;
    }
    return (int64_t)fmin(fmax(at, 0), (double)(axis->in - 1));
}

/* Keys' cubic convolution kernel with parameter a. */
static double cubic(double x, double a) {
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return a * (((x - 5) * x + 8) * x - 4);
    return 0;
}

static double filter(const ResizeRule *rule, double x) {
    return rule->mode == RESIZE_CUBIC ? cubic(x, rule->cubic_a) : fmax(1 - fabs(x), 0);
}

/* Weights of one output position: the filter at each tap, taps past the ends added to the end elements (or
 * left out), scaled to a sum of 1. */
static void fill_position(const ResizeRule *rule, ResizeAxis *axis, int64_t x) {
    double at = resize_source(rule, axis, (double)x), sum = 0;
    double narrow = rule->antialias ? fmin(axis->scale, 1) : 1, last = (double)(axis->in - 1);
    double *weights = axis->weights + x * axis->taps;
    if (rule->coordinates == RESIZE_TF_CROP && !(at >= 0 && at <= last)) {
        axis->first[x] = -1;
        return;
    }
    int64_t side = reach(rule, axis->scale);
    int64_t begin = (int64_t)fmin(fmax(ceil(at), -1e15), 1e15) - side;
    int64_t first = clamp_i64(begin, 0, axis->in - axis->taps);
    memset(weights, 0, (size_t)axis->taps * sizeof *weights);
    for (int64_t i = begin; i < begin + 2 * side; ++i) {
        if (rule->exclude_outside && (i < 0 || i >= axis->in)) continue;
        double weight = filter(rule, ((double)i - at) * narrow);
        weights[clamp_i64(i, 0, axis->in - 1) - first] += weight;
        sum += weight;
    }
    for (int64_t i = 0; i < axis->taps && sum != 0; ++i) weights[i] /= sum;
    axis->first[x] = first;
}

void resize_axis_fill(const ResizeRule *rule, ResizeAxis *axis) {
    for (int64_t x = 0; x < axis->out && axis->in > 0; ++x) {
        if (rule->mode == RESIZE_NEAREST)
            axis->first[x] = resize_nearest(rule, axis, x);
        else
            fill_position(rule, axis, x);
    }
}
