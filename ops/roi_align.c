/* RoiAlign: He et al., "Mask R-CNN", 2017, in the form that ONNX standardized. */
#include <math.h>
#include <string.h>

#include "ops/kit.h"
#include "ops/sampling.h"

enum { MOST_SAMPLES = 128, MOST_EXTENT = 1 << 20 };

static Status parse_flag(const ParseCtx *ctx, const char *name, const char *off, const char *on, bool *out) {
    const char *text;
    TRY(attr_string(ctx->list, name, *out ? on : off, &text, ctx->diag));
    *out = strcmp(text, on) == 0;
    if (*out || strcmp(text, off) == 0) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s is '%s', expected %s or %s", name, text, off, on);
}

Status parse_RoiAlign(const ParseCtx *ctx, const void **attrs) {
    RoiAttrs *own = ARENA_NEW(ctx->arena, RoiAttrs);
    TRY_ALLOC(ctx->diag, own);
    own->half_pixel = true;
    TRY(parse_flag(ctx, "coordinate_transformation_mode", "output_half_pixel", "half_pixel",
                   &own->half_pixel));
    TRY(parse_flag(ctx, "mode", "avg", "max", &own->max));
    TRY(attr_int_in(ctx->list, "output_height", 1, 1, MOST_EXTENT, &own->height, ctx->diag));
    TRY(attr_int_in(ctx->list, "output_width", 1, 1, MOST_EXTENT, &own->width, ctx->diag));
    TRY(attr_int_in(ctx->list, "sampling_ratio", 0, 0, MOST_SAMPLES, &own->sampling_ratio, ctx->diag));
    TRY(attr_float(ctx->list, "spatial_scale", 1, &own->spatial_scale, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

Status infer_RoiAlign(InferCtx *ctx) {
    const RoiAttrs *attrs = ctx->attrs;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 4, 4));
    TRY(kit_expect_float(ctx, 1));
    TRY(kit_expect_rank(ctx, 1, 2, 2));
    TRY(kit_expect_rank(ctx, 2, 1, 1));
    const Shape *rois = &ctx->inputs[1]->shape;
    Dim indices = ctx->inputs[2]->shape.dim[0];
    if (dim_is_exact(rois->dim[1]) && rois->dim[1] != 4)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "a region has %lld coordinates, expected 4",
                    (long long)rois->dim[1]);
    if (dim_is_exact(indices) && dim_is_exact(rois->dim[0]) && indices != rois->dim[0])
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld regions, %lld batch indices", (long long)rois->dim[0],
                    (long long)indices);
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    ctx->outputs[0].shape =
        (Shape){.rank = 4, .dim = {rois->dim[0], ctx->inputs[0]->shape.dim[1], attrs->height, attrs->width}};
    return STATUS_OK;
}

typedef struct RoiRun {
    const RoiAttrs *attrs;
    const Tensor *x, *rois, *indices;
    Tensor *y;
} RoiRun;

/* Samples of one bin along one axis: position begin + (i + 0.5) * step, for i in [first, last); the others of
 * `count` are outside the input and read 0. */
typedef struct Samples {
    double begin, step;
    int64_t extent, first, last;
    double count;
} Samples;

static Samples samples_of(double begin, double bin, int64_t ratio, int64_t extent) {
    Samples samples = {.begin = begin, .extent = extent};
    samples.count = ratio > 0 ? (double)ratio : fmax(ceil(bin), 0);
    samples.step = samples.count > 0 ? bin / samples.count : 0;
    samples.last = (int64_t)fmin(samples.count, 1e9);
    if (samples.step == 0) {
        if (begin < -1 || begin > (double)extent) samples.last = 0;
        return samples;
    }
    double low = (-1 - begin) / samples.step - 0.5, high = ((double)extent - begin) / samples.step - 0.5;
    samples.first = (int64_t)fmin(fmax(ceil(fmin(low, high)), 0), samples.count);
    samples.last = (int64_t)fmin(fmax(floor(fmax(low, high)) + 1, (double)samples.first), samples.count);
    return samples;
}

/* The two elements that sample i lies between, as offsets in steps of `stride`, and the weight of the second.
 */
static inline void neighbours(const Samples *samples, int64_t i, int64_t stride, int64_t at[2],
                              double *part) {
    double x = samples->begin + ((double)i + 0.5) * samples->step, top = (double)(samples->extent - 1);
    x = x > 0 ? x : 0;
    x = x < top ? x : top;
    int64_t low = (int64_t)x;
    at[0] = low * stride;
    at[1] = min_i64(low + 1, samples->extent - 1) * stride;
    *part = x - (double)low;
}

/* Sum of the samples of one bin of the plane that begins at element `plane`, and the largest weighted corner.
 */
static double sum_bin(const Tensor *x, int64_t plane, const Samples *rows, const Samples *cols, double *max) {
    double sum = 0;
    for (int64_t i = rows->first; i < rows->last; ++i) {
        int64_t at_y[2], at_x[2];
        double part_y, part_x;
        neighbours(rows, i, cols->extent, at_y, &part_y);
        for (int64_t j = cols->first; j < cols->last; ++j) {
            neighbours(cols, j, 1, at_x, &part_x);
            for (int corner = 0; corner < 4; ++corner) {
                double weight = (corner < 2 ? 1 - part_y : part_y) * (corner % 2 == 0 ? 1 - part_x : part_x);
                double value = weight * kit_real(x, plane + at_y[corner / 2] + at_x[corner % 2]);
                sum += value;
                *max = value > *max ? value : *max;
            }
        }
    }
    return sum;
}

/* Average or maximum of the samples of one bin. The standard takes the maximum over the weighted corners, not
 * over the interpolated samples. */
static double pool_bin(const RoiRun *run, int64_t plane, const Samples *rows, const Samples *cols) {
    double max = -(double)INFINITY, sum = sum_bin(run->x, plane, rows, cols, &max);
    if (!run->attrs->max) return sum / fmax(rows->count * cols->count, 1);
    double inside = (double)(rows->last - rows->first) * (double)(cols->last - cols->first);
    return inside < rows->count * cols->count || inside == 0 ? fmax(max, 0) : max;
}

static void run_regions(void *context, int64_t first, int64_t last, int worker) {
    const RoiRun *run = context;
    const RoiAttrs *attrs = run->attrs;
    const int64_t *dims = run->x->dim;
    double offset = attrs->half_pixel ? 0.5 : 0;
    (void)worker;
    for (int64_t index = first; index < last; ++index) {
        int64_t roi = index / dims[1], channel = index % dims[1];
        int64_t batch = dtype_load_i64(run->indices->dtype, run->indices->data, roi);
        double box[4];
        for (int i = 0; i < 4; ++i)
            box[i] = dtype_load_f64(run->rois->dtype, run->rois->data, roi * 4 + i) *
                         (double)attrs->spatial_scale -
                     offset;
        double width = box[2] - box[0], height = box[3] - box[1];
        if (!attrs->half_pixel) {
            width = fmax(width, 1);
            height = fmax(height, 1);
        }
        double bin_y = height / (double)attrs->height, bin_x = width / (double)attrs->width;
        for (int64_t y = 0; y < attrs->height; ++y) {
            Samples rows = samples_of(box[1] + (double)y * bin_y, bin_y, attrs->sampling_ratio, dims[2]);
            for (int64_t x = 0; x < attrs->width; ++x) {
                Samples cols = samples_of(box[0] + (double)x * bin_x, bin_x, attrs->sampling_ratio, dims[3]);
                double value = pool_bin(run, (batch * dims[1] + channel) * dims[2] * dims[3], &rows, &cols);
                dtype_store_f64(run->y->dtype, run->y->data, (index * attrs->height + y) * attrs->width + x,
                                value);
            }
        }
    }
}

Status kernel_RoiAlign(KernelCtx *ctx) {
    const Tensor *x = ctx->inputs[0];
    RoiRun run = {ctx->attrs, x, ctx->inputs[1], ctx->inputs[2], ctx->outputs[0]};
    int64_t rois = run.rois->dim[0];
    for (int64_t i = 0; i < rois; ++i) {
        int64_t batch = dtype_load_i64(run.indices->dtype, run.indices->data, i);
        if (batch < 0 || batch >= x->dim[0])
            return FAIL(ctx->diag, STATUS_BAD_DATA, "batch index %lld of region %lld is outside [0, %lld)",
                        (long long)batch, (long long)i, (long long)x->dim[0]);
        for (int64_t k = 0; k < 4; ++k)
            if (!(fabs(dtype_load_f64(run.rois->dtype, run.rois->data, 4 * i + k)) < 1e9))
                return FAIL(ctx->diag, STATUS_BAD_DATA, "region %lld has a coordinate past 1e9",
                            (long long)i);
    }
    if (x->dim[2] == 0 || x->dim[3] == 0)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "the input has no elements");
    parallel_for(ctx->host->pool, rois * x->dim[1], 8, run_regions, &run);
    return STATUS_OK;
}
