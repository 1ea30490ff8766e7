/* Resize of opset 19, in any number of dimensions. The filters are separable: the axes but the last blend
 * whole rows, the last one then blends within the row. */
#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ops/kit.h"
#include "ops/resize_table.h"

/* -- attributes -- */

static Status parse_choice(const ParseCtx *ctx, const char *name, const char *const *choices, int count,
                           int *out) {
    const char *text;
    TRY(attr_string(ctx->list, name, choices[0], &text, ctx->diag));
    for (*out = 0; *out < count; ++*out)
        if (strcmp(text, choices[*out]) == 0) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s is '%s', which is none of its values", name, text);
}

static Status parse_rule(const ParseCtx *ctx, ResizeRule *rule) {
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const coordinates[] = {
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
        "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    int choice;
    int64_t flag;
    float a;
    TRY(parse_choice(ctx, "mode", modes, 3, &choice));
    rule->mode = (ResizeMode)choice;
    TRY(parse_choice(ctx, "coordinate_transformation_mode", coordinates, 7, &choice));
    rule->coordinates = (ResizeCoordinates)choice;
    TRY(parse_choice(ctx, "nearest_mode", roundings, 4, &choice));
    rule->rounding = (ResizeRounding)choice;
    TRY(attr_float(ctx->list, "cubic_coeff_a", -0.75f, &a, ctx->diag));
    rule->cubic_a = (double)a;
    TRY(attr_int(ctx->list, "antialias", 0, &flag, ctx->diag));
    rule->antialias = flag != 0 && rule->mode != RESIZE_NEAREST;
    TRY(attr_int(ctx->list, "exclude_outside", 0, &flag, ctx->diag));
    rule->exclude_outside = flag != 0;
    return STATUS_OK;
}

Status parse_Resize(const ParseCtx *ctx, const void **attrs) {
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
    ResizeAttrs *own = ARENA_NEW(ctx->arena, ResizeAttrs);
    TRY_ALLOC(ctx->diag, own);
    int choice;
    const int64_t *axes;
    TRY(parse_rule(ctx, &own->rule));
    TRY(parse_choice(ctx, "keep_aspect_ratio_policy", policies, 3, &choice));
    own->policy = (ResizePolicy)choice;
    TRY(attr_float(ctx->list, "extrapolation_value", 0, &own->extrapolation, ctx->diag));
    TRY(attr_ints(ctx->list, "axes", &axes, &own->axis_count, ctx->diag));
    if (own->axis_count > SMELT_MAX_RANK)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%d axes", own->axis_count);
    for (int32_t i = 0; i < own->axis_count; ++i) own->axes[i] = axes[i];
    *attrs = own;
    return STATUS_OK;
}

/* -- inference -- */

Status resize_axes(const ResizeAttrs *attrs, int32_t rank, int32_t axes[SMELT_MAX_RANK], int32_t *count,
                   Diag *diag) {
    bool marked[SMELT_MAX_RANK];
    *count = attrs->axis_count < 0 ? rank : attrs->axis_count;
    if (attrs->axis_count >= 0) TRY(kit_axes(attrs->axes, attrs->axis_count, rank, marked, diag));
    for (int32_t i = 0; i < *count; ++i) {
        axes[i] = i;
        if (attrs->axis_count >= 0) TRY(kit_axis(attrs->axes[i], rank, &axes[i], diag));
    }
    return STATUS_OK;
}

/* Old exporters pass an empty tensor for an input that is not there. */
static const TypeInfo *given_input(const InferCtx *ctx, int32_t index) {
    const TypeInfo *info = infer_input(ctx, index);
    return info != NULL && info->shape.rank == 1 && info->shape.dim[0] == 0 ? NULL : info;
}

static Status check_length(InferCtx *ctx, const TypeInfo *info, const char *what, int32_t expected) {
    if (info->shape.rank != 1)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s has rank %d, expected 1", what, info->shape.rank);
    Dim length = info->shape.dim[0];
    if (dim_is_exact(length) && length != expected)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s has %lld elements, expected %d", what, (long long)length,
                    expected);
    return STATUS_OK;
}

/* floor(in * scale), computed in single precision as everyone does. */
static Status scaled_dim(InferCtx *ctx, Dim in, double scale, Dim *out) {
    enum { DENOMINATOR = 64, LARGEST = 1 << 20 };
    if (!(scale > 0 && scale <= LARGEST))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "scale %g is outside (0, %d]", scale, LARGEST);
    double parts = scale * DENOMINATOR;
    if (dim_is_exact(in)) {
        double extent = floor((double)((float)in * (float)scale));
        if (extent >= 0x1p53)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "extent %lld times scale %g is too large", (long long)in,
                        scale);
        *out = (Dim)extent;
    } else if (parts == floor(parts)) {
        *out = dim_floor_div(ctx->dims, dim_mul(ctx->dims, in, (Dim)parts), DENOMINATOR);
    } else {
        *out = dim_fresh(ctx->dims, "resized");
    }
    return STATUS_OK;
}

static Status infer_by_scales(InferCtx *ctx, const TypeInfo *scales, const int32_t *axes, int32_t count) {
    Dim *out = ctx->outputs[0].shape.dim;
    TRY(check_length(ctx, scales, "scales", count));
    if (!dtype_is_float(scales->dtype))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "scales is %s, expected f32", dtype_name(scales->dtype));
    for (int32_t i = 0; i < count; ++i) {
        if (scales->data != NULL)
            TRY(scaled_dim(ctx, out[axes[i]], dtype_load_f64(scales->dtype, scales->data, i), &out[axes[i]]));
        else
            out[axes[i]] = dim_fresh(ctx->dims, "resized");
    }
    return STATUS_OK;
}

double resize_common_scale(ResizePolicy policy, const int64_t *in, const int64_t *sizes, const int32_t *axes,
                           int32_t count) {
    double scale = policy == RESIZE_NOT_LARGER ? INFINITY : 0;
    for (int32_t i = 0; i < count; ++i) {
        double own = (double)sizes[i] / (double)in[axes[i]];
        scale = policy == RESIZE_NOT_LARGER ? fmin(scale, own) : fmax(scale, own);
    }
    return scale;
}

static Status infer_by_sizes(InferCtx *ctx, const TypeInfo *sizes, const int32_t *axes, int32_t count) {
    const ResizeAttrs *attrs = ctx->attrs;
    Dim *out = ctx->outputs[0].shape.dim, values[SMELT_MAX_RANK];
    int32_t length;
    bool known, exact = true;
    TRY(check_length(ctx, sizes, "sizes", count));
    TRY(kit_dims_of(ctx, sizes, "sizes", count, values, &length, &known));
    for (int32_t i = 0; i < count && known; ++i)
        exact = exact && dim_is_exact(values[i]) && dim_is_exact(out[axes[i]]);
    if (!known || (attrs->policy != RESIZE_STRETCH && !exact)) {
        for (int32_t i = 0; i < count; ++i) out[axes[i]] = dim_fresh(ctx->dims, "resized");
        return STATUS_OK;
    }
    if (attrs->policy == RESIZE_STRETCH) {
        for (int32_t i = 0; i < count; ++i) out[axes[i]] = values[i];
        return STATUS_OK;
    }
    double scale = resize_common_scale(attrs->policy, out, values, axes, count);
    for (int32_t i = 0; i < count; ++i) {
        double extent = floor(scale * (double)out[axes[i]] + 0.5);
        if (!(extent >= 0 && extent < 0x1p53))
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "sizes[%d] is %lld for an extent of %lld", i,
                        (long long)values[i], (long long)out[axes[i]]);
        out[axes[i]] = (Dim)extent;
    }
    return STATUS_OK;
}

Status infer_Resize(InferCtx *ctx) {
    const ResizeAttrs *attrs = ctx->attrs;
    const TypeInfo *x = ctx->inputs[0], *scales = given_input(ctx, RESIZE_INPUT_SCALES);
    const TypeInfo *sizes = given_input(ctx, RESIZE_INPUT_SIZES), *roi = given_input(ctx, RESIZE_INPUT_ROI);
    int32_t axes[SMELT_MAX_RANK], count;
    if (dtype_kind(x->dtype) == DTYPE_KIND_OTHER || dtype_bits(x->dtype) < 8)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "Resize of %s", dtype_name(x->dtype));
    if ((scales == NULL) == (sizes == NULL))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s scales and sizes are given, expected one of them",
                    scales == NULL ? "neither" : "both");
    TRY(kit_infer_same(ctx));
    TRY(resize_axes(attrs, x->shape.rank, axes, &count, ctx->diag));
    if (attrs->rule.coordinates == RESIZE_TF_CROP) {
        if (roi == NULL)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "roi is missing, tf_crop_and_resize needs it");
        TRY(check_length(ctx, roi, "roi", 2 * count));
    }
    TRY(scales != NULL ? infer_by_scales(ctx, scales, axes, count) : infer_by_sizes(ctx, sizes, axes, count));
    for (int32_t i = 0; i < x->shape.rank; ++i) {
        Dim in = x->shape.dim[i], out = ctx->outputs[0].shape.dim[i];
        if (dim_is_exact(in) && dim_is_exact(out) && (out < 0 || (out == 0) != (in == 0)))
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "axis %d is resized from %lld to %lld", i, (long long)in,
                        (long long)out);
    }
    return STATUS_OK;
}

/* -- kernel -- */

typedef struct ResizeRun {
    const ResizeAttrs *attrs;
    const Tensor *x;
    Tensor *y;
    ResizeAxis axis[SMELT_MAX_RANK]; /* the last of rank is the row */
    int32_t rank;
    int64_t stride[SMELT_MAX_RANK]; /* of x */
    int64_t row_in, row_out;
    double *lines; /* per worker: the blended row, one as read, the result */
    int64_t line_size;
} ResizeRun;

/* Scales as the operator was asked for them: given, or what the sizes amount to. */
static void set_scales(const KernelCtx *ctx, ResizeRun *run) {
    const Tensor *scales = kernel_input(ctx, RESIZE_INPUT_SCALES),
                 *sizes = kernel_input(ctx, RESIZE_INPUT_SIZES);
    const Tensor *roi = kernel_input(ctx, RESIZE_INPUT_ROI);
    int32_t axes[SMELT_MAX_RANK], count = 0;
    bool by_scales = scales != NULL && tensor_count(scales) > 0,
         crop = run->attrs->rule.coordinates == RESIZE_TF_CROP;
    if (resize_axes(run->attrs, run->rank, axes, &count, NULL) != STATUS_OK) return;
    int64_t values[SMELT_MAX_RANK] = {0};
    for (int32_t i = 0; i < count && !by_scales && sizes->data != NULL; ++i)
        values[i] = dtype_load_i64(sizes->dtype, sizes->data, i);
    double common = by_scales ? 1 : resize_common_scale(run->attrs->policy, run->x->dim, values, axes, count);
    for (int32_t i = 0; i < count; ++i) {
        ResizeAxis *axis = &run->axis[axes[i]];
        if (by_scales && scales->data != NULL)
            axis->scale = dtype_load_f64(scales->dtype, scales->data, i);
        else if (!by_scales && run->attrs->policy != RESIZE_STRETCH && sizes->data != NULL)
            axis->scale = common;
        if (!crop || roi->data == NULL) continue;
        axis->begin = dtype_load_f64(roi->dtype, roi->data, i);
        axis->end = dtype_load_f64(roi->dtype, roi->data, count + i);
    }
}

static void resize_make(const KernelCtx *ctx, ResizeRun *run) {
    memset(run, 0, sizeof *run);
    run->attrs = ctx->attrs;
    run->x = ctx->inputs[0];
    run->y = ctx->outputs[0];
    run->rank = run->x->rank;
    run->row_in = run->row_out = 1;
    kit_strides(run->rank, run->x->dim, run->stride);
    for (int32_t i = 0; i < run->rank; ++i) {
        int64_t in = run->x->dim[i], out = run->y->dim[i];
        run->axis[i] =
            (ResizeAxis){.in = in, .out = out, .scale = (double)out / (double)max_i64(in, 1), .end = 1};
    }
    if (run->rank > 0) run->row_in = run->x->dim[run->rank - 1];
    if (run->rank > 0) run->row_out = run->y->dim[run->rank - 1];
    run->line_size = 2 * run->row_in + run->row_out;
    set_scales(ctx, run);
}

size_t scratch_Resize(const KernelCtx *ctx) {
    ResizeRun run;
    resize_make(ctx, &run);
    size_t bytes = kit_worker_scratch(ctx, (size_t)run.line_size * sizeof(double));
    for (int32_t i = 0; i < run.rank; ++i) bytes += resize_axis_size(&run.attrs->rule, &run.axis[i]);
    return bytes;
}

SIMD_CLONES static void add_row_f32(double *restrict line, const float *restrict row, double weight,
                                    int64_t count) {
    for (int64_t i = 0; i < count; ++i) line[i] += weight * (double)row[i];
}

SIMD_CLONES static void add_row_f64(double *restrict line, const double *restrict row, double weight,
                                    int64_t count) {
    for (int64_t i = 0; i < count; ++i) line[i] += weight * row[i];
}

/* Adds input rows to line, weighted by the taps of the outer axes from `axis` on. */
static void blend_rows(const ResizeRun *run, const int64_t *position, int32_t axis, int64_t offset,
                       double weight, double *line) {
    if (axis == run->rank - 1 || run->rank == 0) {
        if (run->x->dtype == DTYPE_F32) {
            add_row_f32(line, (const float *)run->x->data + offset, weight, run->row_in);
            return;
        }
        double *row = line + run->row_in;
        dtype_read_f64(run->x->dtype, run->x->data, offset, run->row_in, row);
        add_row_f64(line, row, weight, run->row_in);
        return;
    }
    const ResizeAxis *at = &run->axis[axis];
    int64_t x = position[axis], first = at->first == NULL ? x : at->first[x];
    for (int64_t tap = 0; tap < at->taps; ++tap) {
        double own = at->weights == NULL ? 1 : at->weights[x * at->taps + tap];
        if (own != 0)
            blend_rows(run, position, axis + 1, offset + (first + tap) * run->stride[axis], weight * own,
                       line);
    }
}

/* Blends within the row. What has no weight may be no number. */
static void blend_line(const ResizeAxis *axis, const double *line, double outside, double *out) {
    for (int64_t x = 0; x < axis->out; ++x) {
        const double *from = line + axis->first[x], *weights = axis->weights + x * axis->taps;
        double sum = axis->first[x] < 0 ? outside : 0;
        for (int64_t tap = 0; tap < axis->taps && axis->first[x] >= 0; ++tap)
            if (weights[tap] != 0) sum += weights[tap] * from[tap];
        out[x] = sum;
    }
}

static void store_row(const ResizeRun *run, int64_t row, double *values) {
    for (int64_t i = 0; i < run->row_out && !dtype_is_float(run->y->dtype); ++i) values[i] = trunc(values[i]);
    dtype_write_f64(run->y->dtype, run->y->data, row * run->row_out, run->row_out, values);
}

static void run_blended(const ResizeRun *run, int64_t row, const int64_t *position, double *line) {
    double *out = line + 2 * run->row_in;
    memset(line, 0, (size_t)run->row_in * sizeof *line);
    blend_rows(run, position, 0, 0, 1, line);
    const ResizeAxis *last = &run->axis[run->rank > 0 ? run->rank - 1 : 0];
    if (last->first == NULL)
        memcpy(out, line, (size_t)run->row_out * sizeof *out);
    else
        blend_line(last, line, (double)run->attrs->extrapolation, out);
    store_row(run, row, out);
}

#define GATHER(type)                                                                                         \
    for (int64_t x = 0; x < count; ++x) ((type *)to)[x] = ((const type *)from)[first[x] < 0 ? 0 : first[x]]

static void gather_elements(size_t element, void *to, const void *from, const int64_t *first, int64_t count) {
    if (element == 1) GATHER(uint8_t);
    if (element == 2) GATHER(uint16_t);
    if (element == 4) GATHER(uint32_t);
    if (element == 8) GATHER(uint64_t);
}

static void run_nearest(const ResizeRun *run, int64_t row, const int64_t *position) {
    int64_t offset = 0;
    size_t element = (size_t)dtype_bits(run->x->dtype) / 8;
    for (int32_t i = 0; i < run->rank - 1; ++i) {
        int64_t first = run->axis[i].first == NULL ? position[i] : run->axis[i].first[position[i]];
        offset += first * run->stride[i];
    }
    const char *from = (const char *)run->x->data + (size_t)offset * element;
    char *to = (char *)run->y->data + (size_t)(row * run->row_out) * element;
    const int64_t *first = run->rank > 0 ? run->axis[run->rank - 1].first : NULL;
    if (first == NULL) {
        memcpy(to, from, (size_t)run->row_out * element);
        return;
    }
    gather_elements(element, to, from, first, run->row_out);
    for (int64_t x = 0; x < run->row_out && run->attrs->rule.coordinates == RESIZE_TF_CROP; ++x)
        if (first[x] < 0)
            dtype_store_f64(run->y->dtype, run->y->data, row * run->row_out + x,
                            (double)run->attrs->extrapolation);
}

static void run_rows(void *context, int64_t begin, int64_t end, int worker) {
    const ResizeRun *run = context;
    double *line = run->lines + worker * run->line_size;
    for (int64_t row = begin; row < end; ++row) {
        int64_t position[SMELT_MAX_RANK] = {0}, rest = row;
        bool outside = false;
        for (int32_t i = run->rank - 2; i >= 0; --i) {
            position[i] = rest % run->axis[i].out;
            rest /= run->axis[i].out;
            outside = outside || (run->axis[i].first != NULL && run->axis[i].first[position[i]] < 0);
        }
        if (outside) {
            for (int64_t x = 0; x < run->row_out; ++x)
                dtype_store_f64(run->y->dtype, run->y->data, row * run->row_out + x,
                                (double)run->attrs->extrapolation);
        } else if (run->attrs->rule.mode == RESIZE_NEAREST) {
            run_nearest(run, row, position);
        } else {
            run_blended(run, row, position, line);
        }
    }
}

Status kernel_Resize(KernelCtx *ctx) {
    enum { LEAST_ELEMENTS = 1 << 14 /* worth handing to a thread */ };
    ResizeRun run;
    resize_make(ctx, &run);
    if (tensor_count(run.y) == 0) return STATUS_OK;
    if (ctx->host->scratch_size < scratch_Resize(ctx))
        return FAIL(ctx->diag, STATUS_INTERNAL, "scratch of %zu bytes is too small", ctx->host->scratch_size);
    char *place = ctx->host->scratch;
    for (int32_t i = 0; i < run.rank; ++i) {
        ResizeAxis *axis = &run.axis[i];
        if (!(axis->scale > 0))
            return FAIL(ctx->diag, STATUS_BAD_DATA, "axis %d has scale %g", i, axis->scale);
        size_t size = resize_axis_size(&run.attrs->rule, axis);
        if (size == 0) continue;
        axis->first = (int64_t *)(void *)place;
        if (run.attrs->rule.mode != RESIZE_NEAREST)
            axis->weights = (double *)(void *)(axis->first + axis->out);
        resize_axis_fill(&run.attrs->rule, axis);
        place += size;
    }
    run.lines = (double *)(void *)place;
    parallel_for(ctx->host->pool, tensor_count(run.y) / run.row_out, 1 + LEAST_ELEMENTS / run.row_out,
                 run_rows, &run);
    return STATUS_OK;
}
