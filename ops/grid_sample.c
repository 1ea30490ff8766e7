/* GridSample in one to six spatial dimensions, and AffineGrid, which makes its grids. */
#include <math.h>
#include <string.h>

#include "ops/kit.h"
#include "ops/sampling.h"

enum { CUBIC_AXES = 3 };

Status parse_GridSample(const ParseCtx *ctx, const void **attrs) {
    static const struct {
        const char *name;
        SampleMode mode;
    } modes[] = {{"linear", SAMPLE_LINEAR},
                 {"bilinear", SAMPLE_LINEAR}, /* before opset 20 */
                 {"nearest", SAMPLE_NEAREST},
                 {"cubic", SAMPLE_CUBIC},
                 {"bicubic", SAMPLE_CUBIC}};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    SampleAttrs *own = ARENA_NEW(ctx->arena, SampleAttrs);
    TRY_ALLOC(ctx->diag, own);
    const char *mode, *padding;
    int64_t align;
    size_t i = 0;
    TRY(attr_string(ctx->list, "mode", "linear", &mode, ctx->diag));
    while (i < 5 && strcmp(mode, modes[i].name) != 0) ++i;
    if (i == 5)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "mode is '%s', expected linear, nearest or cubic", mode);
    own->mode = modes[i].mode;
    TRY(attr_string(ctx->list, "padding_mode", "zeros", &padding, ctx->diag));
    for (i = 0; i < 3 && strcmp(padding, paddings[i]) != 0;) ++i;
    if (i == 3)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "padding_mode is '%s', expected zeros, border or reflection",
                    padding);
    own->padding = (SamplePadding)i;
    TRY(attr_int(ctx->list, "align_corners", 0, &align, ctx->diag));
    own->align_corners = align != 0;
    *attrs = own;
    return STATUS_OK;
}

Status infer_GridSample(InferCtx *ctx) {
    const SampleAttrs *attrs = ctx->attrs;
    TRY(kit_expect_rank(ctx, 0, 3, SMELT_MAX_RANK));
    const Shape *x = &ctx->inputs[0]->shape, *grid = &ctx->inputs[1]->shape;
    TRY(kit_expect_rank(ctx, 1, x->rank, x->rank));
    TRY(kit_expect_float(ctx, 1));
    Dim axes = grid->dim[grid->rank - 1];
    if (dtype_kind(ctx->inputs[0]->dtype) == DTYPE_KIND_OTHER)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "GridSample of %s", dtype_name(ctx->inputs[0]->dtype));
    if (attrs->mode == SAMPLE_CUBIC && x->rank - 2 > CUBIC_AXES)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED,
                    "cubic sampling in %d dimensions, at most %d are supported", x->rank - 2, CUBIC_AXES);
    if (dim_is_exact(axes) && axes != x->rank - 2)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the grid has %lld coordinates, the input %d spatial axes",
                    (long long)axes, x->rank - 2);
    if (dim_is_exact(x->dim[0]) && dim_is_exact(grid->dim[0]) && x->dim[0] != grid->dim[0])
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "batch %lld of the input, %lld of the grid",
                    (long long)x->dim[0], (long long)grid->dim[0]);
    TRY(kit_infer_same(ctx));
    for (int32_t i = 2; i < x->rank; ++i) ctx->outputs[0].shape.dim[i] = grid->dim[i - 1];
    return STATUS_OK;
}

typedef struct SampleRun {
    const SampleAttrs *attrs;
    const Tensor *x, *grid;
    Tensor *y;
    int32_t axes;
    int64_t points, plane; /* per batch entry: of the output, and elements of an input plane */
    int64_t stride[SMELT_MAX_RANK];
    char *scratch; /* a PointBlock for each worker */
} SampleRun;

/* The taps of one point on one axis, but for those that read a zero. */
typedef struct AxisTaps {
    int count;
    int64_t offset[4]; /* elements */
    double weight[4];
} AxisTaps;

/* Mirrors x at low and high until it is between them. */
static double reflect(double x, double low, double high) {
    double range = high - low;
    if (!(range > 0)) return low;
    double past = fmod(fabs(x - low), 2 * range);
    return past <= range ? low + past : high - (past - range);
}

/* The element at integer position x of an axis; -1 for a zero. */
static int64_t element_at(const SampleRun *run, int32_t axis, double x) {
    int64_t extent = run->x->dim[2 + axis];
    double last = (double)(extent - 1);
    if (x < 0 || x > last) {
        if (run->attrs->padding == PADDING_ZEROS) return -1;
        if (run->attrs->padding == PADDING_REFLECTION)
            x = run->attrs->align_corners ? reflect(x, 0, last) : reflect(x, -0.5, last + 0.5);
        x = fmin(fmax(x, 0), last);
    }
    return (int64_t)x * run->stride[2 + axis];
}

/* Cubic convolution with a = -0.75 at distance x. */
static double cubic(double x) {
    const double a = -0.75;
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return a * (((x - 5) * x + 8) * x - 4);
}

/* Where the normalized coordinate lies on an axis, after padding. Not a number counts as before everything.
 */
static double position_of(const SampleRun *run, int32_t axis, double coordinate) {
    const SampleAttrs *attrs = run->attrs;
    double extent = (double)run->x->dim[2 + axis], limit = 1e9;
    double low = attrs->align_corners ? 0 : -0.5, high = attrs->align_corners ? extent - 1 : extent - 0.5;
    double x =
        attrs->align_corners ? (coordinate + 1) / 2 * (extent - 1) : ((coordinate + 1) * extent - 1) / 2;
    x = isnan(x) ? -limit : x;
    if (attrs->mode == SAMPLE_NEAREST) x = nearbyint(x);
    if (x < low || x > high) {
        if (attrs->padding == PADDING_BORDER) x = fmin(fmax(x, 0), extent - 1);
        if (attrs->padding == PADDING_REFLECTION) x = reflect(x, low, high);
    }
    x = x > -limit ? x : -limit;
    return x < extent + limit ? x : extent + limit;
}

/* The tap at integer position x. */
static void add_tap(const SampleRun *run, int32_t axis, double x, double weight, AxisTaps *taps) {
    int64_t offset = element_at(run, axis, x);
    if (offset < 0) return;
    taps->offset[taps->count] = offset;
    taps->weight[taps->count++] = weight;
}

static void axis_taps(const SampleRun *run, int32_t axis, double coordinate, AxisTaps *taps) {
    double x = position_of(run, axis, coordinate), floor_x = floor(x), part = x - floor_x;
    taps->count = 0;
    switch (run->attrs->mode) {
    case SAMPLE_NEAREST:
        add_tap(run, axis, x, 1, taps);
        break;
    case SAMPLE_LINEAR:
        add_tap(run, axis, floor_x, 1 - part, taps);
        add_tap(run, axis, floor_x + 1, part, taps);
        break;
    case SAMPLE_CUBIC:
        for (int i = 0; i < 4; ++i) add_tap(run, axis, floor_x + i - 1, cubic(part + 1 - i), taps);
        break;
    }
}

/* All taps of a point that are not zero, as offsets into a plane. */
static int32_t point_taps(const SampleRun *run, int64_t point, int64_t *offsets, double *weights) {
    int32_t count = 1;
    offsets[0] = 0;
    weights[0] = 1;
    for (int32_t axis = 0; axis < run->axes; ++axis) {
        AxisTaps taps;
        /* the grid names the last axis first */
        axis_taps(run, axis, kit_real(run->grid, point * run->axes + run->axes - 1 - axis), &taps);
        /* from the back, where the products take the place of no factor that is still wanted */
        for (int32_t i = count - 1; i >= 0; --i) {
            int64_t offset = offsets[i];
            double weight = weights[i];
            for (int32_t tap = taps.count - 1; tap >= 0; --tap) {
                offsets[i * taps.count + tap] = offset + taps.offset[tap];
                weights[i * taps.count + tap] = weight * taps.weight[tap];
            }
        }
        count *= taps.count;
    }
    return count;
}

/* The taps of a block of points, one point's after another's. */
typedef struct PointBlock {
    int64_t *offsets;
    double *weights;
    int32_t *counts; /* of each point */
} PointBlock;

static int64_t most_taps(const SampleAttrs *attrs, int32_t axes) {
    int64_t taps = 1, each = attrs->mode == SAMPLE_NEAREST ? 1 : attrs->mode == SAMPLE_LINEAR ? 2 : 4;
    for (int32_t i = 0; i < axes; ++i) taps *= each;
    return taps;
}

/* Points of a block: so many that most of a plane's elements serve several of them while they are in cache.
 */
static int64_t block_points(const SampleAttrs *attrs, const Tensor *grid) {
    enum { BLOCK_TAPS = 1 << 16 };
    int64_t points = tensor_span(grid, 1, grid->rank - 1);
    return clamp_i64(points, 1, BLOCK_TAPS / most_taps(attrs, grid->rank - 2));
}

static size_t worker_bytes(const SampleAttrs *attrs, const Tensor *grid) {
    size_t points = (size_t)block_points(attrs, grid), taps = (size_t)most_taps(attrs, grid->rank - 2);
    size_t bytes = points * (taps * (sizeof(int64_t) + sizeof(double)) + sizeof(int32_t));
    return (bytes + 63) / 64 * 64;
}

size_t scratch_GridSample(const KernelCtx *ctx) {
    return kit_worker_scratch(ctx, worker_bytes(ctx->attrs, ctx->inputs[1]));
}

static PointBlock block_of(const SampleRun *run, int worker) {
    int64_t all = block_points(run->attrs, run->grid) * most_taps(run->attrs, run->axes);
    char *own = run->scratch + (size_t)worker * worker_bytes(run->attrs, run->grid);
    PointBlock block = {.offsets = (int64_t *)(void *)own};
    block.weights = (double *)(block.offsets + all);
    block.counts = (int32_t *)(block.weights + all);
    return block;
}

/* The weighted sum of taps of the plane that begins at element `plane`. */
static inline double sum_taps(const Tensor *x, int64_t plane, int32_t count, const int64_t *offset,
                              const double *weight) {
    double sum = 0;
    if (x->dtype == DTYPE_F32) {
        const float *from = (const float *)x->data + plane;
        for (int32_t i = 0; i < count; ++i) sum += weight[i] * (double)from[offset[i]];
    } else {
        for (int32_t i = 0; i < count; ++i)
            sum += weight[i] * dtype_load_f64(x->dtype, x->data, plane + offset[i]);
    }
    return sum;
}

/* The points' samples of the plane that begins at element `plane`, to elements from `to` on. */
static void sample_plane(const SampleRun *run, const PointBlock *block, int64_t count, int64_t plane,
                         int64_t to) {
    const int64_t *offset = block->offsets;
    const double *weight = block->weights;
    for (int64_t i = 0; i < count; ++i) {
        int32_t taps = block->counts[i];
        kit_set_real(run->y, to + i, sum_taps(run->x, plane, taps, offset, weight));
        offset += taps;
        weight += taps;
    }
}

/* Plane after plane for each block of points, so that a plane stays in cache. */
static void run_points(void *context, int64_t first, int64_t last, int worker) {
    const SampleRun *run = context;
    PointBlock block = block_of(run, worker);
    int64_t channels = run->x->dim[1], most = block_points(run->attrs, run->grid);
    for (int64_t point = first, count; point < last; point += count) {
        int64_t batch = point / run->points, at = point % run->points, taps = 0;
        count = min_i64(most, min_i64(last - point, run->points - at));
        for (int64_t i = 0; i < count; ++i) {
            block.counts[i] =
                run->plane == 0 ? 0 : point_taps(run, point + i, block.offsets + taps, block.weights + taps);
            taps += block.counts[i];
        }
        for (int64_t c = batch * channels; c < (batch + 1) * channels; ++c)
            sample_plane(run, &block, count, c * run->plane, c * run->points + at);
    }
}

Status kernel_GridSample(KernelCtx *ctx) {
    const Tensor *x = ctx->inputs[0], *y = ctx->outputs[0];
    SampleRun run = {.attrs = ctx->attrs,
                     .x = x,
                     .grid = ctx->inputs[1],
                     .y = ctx->outputs[0],
                     .axes = x->rank - 2,
                     .points = tensor_span(y, 2, y->rank),
                     .plane = tensor_span(x, 2, x->rank),
                     .scratch = ctx->host->scratch};
    kit_strides(x->rank, x->dim, run.stride);
    if (run.points == 0) return STATUS_OK;
    parallel_for(kit_worker_pool(ctx, worker_bytes(ctx->attrs, run.grid)), x->dim[0] * run.points, 256,
                 run_points, &run);
    return STATUS_OK;
}

/* -- AffineGrid -- */

Status parse_AffineGrid(const ParseCtx *ctx, const void **attrs) {
    int64_t *align_corners = ARENA_NEW(ctx->arena, int64_t);
    TRY_ALLOC(ctx->diag, align_corners);
    TRY(attr_int(ctx->list, "align_corners", 0, align_corners, ctx->diag));
    *attrs = align_corners;
    return STATUS_OK;
}

Status infer_AffineGrid(InferCtx *ctx) {
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 3, 3));
    const Shape *theta = &ctx->inputs[0]->shape;
    Dim size[5], axes = theta->dim[1];
    int32_t count;
    bool known;
    TRY(kit_dims_of(ctx, ctx->inputs[1], "size", 5, size, &count, &known));
    if (count < 0 && dim_is_exact(axes)) count = (int32_t)clamp_i64(axes, 0, 4) + 2;
    if (count != 4 && count != 5)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "size has %d elements, expected 4 or 5", count);
    if ((dim_is_exact(axes) && axes != count - 2) ||
        (dim_is_exact(theta->dim[2]) && theta->dim[2] != count - 1))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "theta does not hold %d x %d matrices", count - 2,
                    count - 1);
    Shape *out = &ctx->outputs[0].shape;
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    out->rank = count;
    out->dim[0] = theta->dim[0];
    out->dim[count - 1] = count - 2;
    for (int32_t i = 1; i < count - 1; ++i) {
        out->dim[i] = known ? size[i + 1] : dim_fresh(ctx->dims, "grid");
        if (dim_is_exact(out->dim[i]) && out->dim[i] < 0)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "size[%d] is %lld", i + 1, (long long)out->dim[i]);
    }
    return STATUS_OK;
}

/* Normalized coordinate of position i of an axis. */
static double coordinate_of(int64_t i, int64_t extent, bool align_corners) {
    if (!align_corners) return (2 * (double)i + 1) / (double)extent - 1;
    return extent > 1 ? 2 * (double)i / (double)(extent - 1) - 1 : 0;
}

enum { GRID_BLOCK = 64, MOST_AXES = 3 };

typedef struct AffineRun {
    const Tensor *theta;
    Tensor *grid;
    bool align_corners;
    int32_t axes;
    int64_t rows; /* per batch entry, along the last axis */
} AffineRun;

/* Points [first, first + count) of a row, whose other coordinates give each output coordinate `rest`. */
static void affine_points(const AffineRun *run, int64_t first, int64_t count, const double *slope,
                          const double (*rest)[MOST_AXES], double *points) {
    int64_t extent = run->grid->dim[run->axes];
    for (int64_t i = 0; i < count; ++i) {
        double x = coordinate_of(first + i, extent, run->align_corners);
        for (int32_t k = 0; k < run->axes; ++k) {
            double sum = x * slope[k];
            for (int32_t term = 0; term < run->axes; ++term) sum += rest[k][term];
            points[i * run->axes + k] = sum;
        }
    }
}

static void affine_rows(void *context, int64_t first, int64_t last, int worker) {
    const AffineRun *run = context;
    int32_t axes = run->axes;
    int64_t width = run->grid->dim[axes];
    (void)worker;
    for (int64_t row = first; row < last; ++row) {
        double slope[MOST_AXES], rest[MOST_AXES][MOST_AXES], points[GRID_BLOCK * MOST_AXES];
        int64_t place = row % run->rows;
        for (int32_t axis = 1; axis <= axes; ++axis) { /* the last axis first; then what is added */
            int64_t extent = axis < axes ? run->grid->dim[axes - axis] : 1;
            double at = axis < axes ? coordinate_of(place % extent, extent, run->align_corners) : 1;
            place /= extent;
            for (int32_t k = 0; k < axes; ++k) {
                int64_t line = (row / run->rows * axes + k) * (axes + 1);
                slope[k] = kit_real(run->theta, line);
                rest[k][axis - 1] = at * kit_real(run->theta, line + axis);
            }
        }
        for (int64_t x = 0; x < width; x += GRID_BLOCK) {
            int64_t count = min_i64(GRID_BLOCK, width - x);
            affine_points(run, x, count, slope, (const double(*)[MOST_AXES])rest, points);
            dtype_write_f64(run->grid->dtype, run->grid->data, (row * width + x) * axes, count * axes,
                            points);
        }
    }
}

Status kernel_AffineGrid(KernelCtx *ctx) {
    Tensor *grid = ctx->outputs[0];
    AffineRun run = {.theta = ctx->inputs[0],
                     .grid = grid,
                     .align_corners = *(const int64_t *)ctx->attrs != 0,
                     .axes = grid->rank - 2,
                     .rows = tensor_span(grid, 1, grid->rank - 2)};
    if (tensor_count(grid) == 0) return STATUS_OK;
    parallel_for(dtype_bits(grid->dtype) < 8 ? NULL : ctx->host->pool, grid->dim[0] * run.rows,
                 1 + 4096 / grid->dim[run.axes], affine_rows, &run);
    return STATUS_OK;
}
