/* Resize: a thread for each output element, or for packs of channels, whose places blocks find out first.
 * Axes that keep their extent are merged with their neighbours. */
#include <math.h>

#include "kernels/window_text.h"
#include "ops/resize_table.h"

enum { THREADS = 256, PLACES = 128 /* resize.cuh's RESIZE_THREADS and RESIZE_PLACES */ };

/* What device code is told about the axes. */
typedef struct AxisText {
    Dim in, out, stride; /* stride: of the input, in memory */
    bool keeps;
    double scale, begin, end; /* scale 0: out / in, as the sizes are known when the kernel runs */
} AxisText;

static const Value *given_input(const Problem *problem, int32_t index) {
    const Value *value = problem_input(problem, index);
    return value == NULL || (value_is_exact(value) && value_count(value) == 0) ? NULL : value;
}

/* The common scale of a policy that keeps the aspect ratio; all extents must be known. */
static const char *read_policy(const Problem *problem, const int32_t *axes, int32_t count, double *out) {
    const ResizeAttrs *attrs = problem_anchor(problem)->parsed;
    const Value *sizes = given_input(problem, RESIZE_INPUT_SIZES), *x = problem_input(problem, 0);
    int64_t values[SMELT_MAX_RANK];
    *out = 0;
    if (sizes == NULL || attrs->policy == RESIZE_STRETCH) return NULL;
    if (sizes->data == NULL || !value_is_exact(x))
        return "sizes that keep the aspect ratio and are not constant";
    if (value_known_count(sizes) != count) return "sizes of another length";
    for (int32_t i = 0; i < count; ++i) values[i] = dtype_load_i64(sizes->dtype, sizes->data, i);
    *out = resize_common_scale(attrs->policy, x->shape.dim, values, axes, count);
    return NULL;
}

static bool axis_keeps(const ResizeRule *rule, const AxisText *axis) {
    if (axis->in != axis->out || rule->coordinates == RESIZE_TF_CROP ||
        rule->coordinates == RESIZE_TF_HALF_PIXEL_FOR_NN)
        return false;
    return axis->scale == 0 || axis->scale == 1;
}

static const char *read_axes(const Problem *problem, AxisText *out) {
    const ResizeAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *x = &problem_input(problem, 0)->shape, *y = &problem_output(problem, 0)->shape;
    const Value *scales = given_input(problem, RESIZE_INPUT_SCALES),
                *roi = given_input(problem, RESIZE_INPUT_ROI);
    bool crops = attrs->rule.coordinates == RESIZE_TF_CROP;
    int32_t axes[SMELT_MAX_RANK], count;
    double common;
    if (x->rank != y->rank) return "ranks that do not fit";
    if (resize_axes(attrs, x->rank, axes, &count, NULL) != STATUS_OK) return "axes outside the rank";
    const char *why = read_policy(problem, axes, count, &common);
    if (why != NULL) return why;
    if (scales != NULL && scales->data == NULL) return "scales that are not constant";
    if (crops && (roi == NULL || roi->data == NULL)) return "a region that is not constant";
    if ((scales != NULL && value_known_count(scales) != count) ||
        (crops && value_known_count(roi) != 2 * count))
        return "scales or a region of another length";
    for (int32_t i = 0; i < x->rank; ++i)
        out[i] = (AxisText){.in = x->dim[i], .out = y->dim[i], .scale = 0, .begin = 0, .end = 1};
    for (int32_t i = 0; i < count; ++i) {
        AxisText *axis = &out[axes[i]];
        axis->scale = scales != NULL ? dtype_load_f64(scales->dtype, scales->data, i) : common;
        if (!(axis->scale >= 0) || (scales != NULL && axis->scale == 0))
            return "a scale that is not positive";
        if (!crops) continue;
        axis->begin = dtype_load_f64(roi->dtype, roi->data, i);
        axis->end = dtype_load_f64(roi->dtype, roi->data, count + i);
    }
    for (int32_t i = 0; i < x->rank; ++i) out[i].keeps = axis_keeps(&attrs->rule, &out[i]);
    return NULL;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    AxisText axes[SMELT_MAX_RANK];
    (void)device;
    if (node == NULL || node->op != OP_Resize) return "not Resize";
    const char *why = cuda_type_refusal(problem_input(problem, 0)->dtype);
    return why != NULL ? why : read_axes(problem, axes);
}

/* The axes in the order in which results are numbered; neighbours that keep their extents are joined. Returns
 * how many there are. */
static int32_t order_axes(const Problem *problem, const AxisText *axes, AxisText *out) {
    DimTable *dims = problem->graph->dims;
    const Value *y = problem_output(problem, 0);
    Dim strides[SMELT_MAX_RANK] = {0};
    int32_t order[SMELT_MAX_RANK], count = 0;
    value_strides(problem->graph, problem_anchor(problem)->inputs[0], strides);
    layout_order(y->layout, y->shape.rank, order);
    for (int32_t i = 0; i < y->shape.rank; ++i) {
        AxisText axis = axes[order[i]], *last = count > 0 ? &out[count - 1] : NULL;
        axis.stride = strides[order[i]];
        if (last != NULL && axis.keeps && last->keeps &&
            last->stride == dim_mul(dims, axis.in, axis.stride)) {
            last->in = last->out = dim_mul(dims, last->in, axis.in);
            last->stride = axis.stride;
            continue;
        }
        out[count++] = axis;
    }
    if (count == 0) out[count++] = (AxisText){.in = 1, .out = 1, .stride = 1, .keeps = true};
    return count;
}

static const char *real(KernelWriter *w, double value) {
    return kernel_text(w, cuda_real_literal(kernel_emission(w)->arena, value, false));
}

/* "{56, 112, 1, false, 0x1p+1, 0x0p+0, 0x1p+0}" */
static const char *axis_text(KernelWriter *w, const AxisText *axis) {
    const char *in = kernel_number(w, axis->in), *out = kernel_number(w, axis->out);
    const char *scale =
        axis->scale != 0 ? real(w, axis->scale) : kernel_format(w, "(double)%s / (double)%s", out, in);
    return kernel_format(w, "{%s, %s, %s, %s, %s, %s, %s}", in, out, kernel_number(w, axis->stride),
                         axis->keeps ? "true" : "false", scale, real(w, axis->begin), real(w, axis->end));
}

static const char *rule_text(KernelWriter *w, const ResizeRule *rule) {
    return kernel_format(w, "ResizeRule<%d, %d, %d, %s, %s>{%s}", (int)rule->mode, (int)rule->coordinates,
                         (int)rule->rounding, rule->antialias ? "true" : "false",
                         rule->exclude_outside ? "true" : "false", real(w, rule->cubic_a));
}

/* Whether channels are packs of neighbours that keep their places, and other axes do not. */
static bool has_packs(const Problem *problem) {
    AxisText axes[SMELT_MAX_RANK];
    const ResizeAttrs *attrs = problem_anchor(problem)->parsed;
    bool resizes = false;
    if (refuse_unless_packs(problem) != NULL || read_axes(problem, axes) != NULL) return false;
    for (int32_t i = 0; i < problem_input(problem, 0)->shape.rank; ++i) resizes = resizes || !axes[i].keeps;
    return resizes && axes[1].keeps && !attrs->rule.antialias;
}

/* Elements of a thread. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    int32_t count = 0;
    (void)device;
    if (has_packs(problem)) out[count++] = (Config){.count = 1, .number = {EPILOGUE_LANES}};
    out[count++] = (Config){.count = 1, .number = {1}};
    return count;
}

/* The function, and the epilogue that it takes. */
static const char *call_text(KernelWriter *w, const ResizeRule *rule, bool narrow, int32_t lanes,
                             int32_t scaled, const char **epilogue) {
    bool nearest = rule->mode == RESIZE_NEAREST;
    int taps = nearest ? 1 : rule->mode == RESIZE_LINEAR ? 2 : 4;
    *epilogue = lanes > 1 ? kernel_pack_epilogue(w, lanes) : kernel_epilogue(w);
    if (lanes > 1) return kernel_format(w, "resize_places<%d, %d, %d>", lanes, taps, scaled);
    return nearest ? "resize_nearest" : kernel_format(w, "resize_blended<%s>", narrow ? "float" : "double");
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const ResizeAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0);
    AxisText axes[SMELT_MAX_RANK], ordered[SMELT_MAX_RANK];
    KernelWriter *w = kernel_begin(emission, "resize");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    const char *why = read_axes(problem, axes), *text = "", *epilogue;
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "%s", why);
    int32_t rank = order_axes(problem, axes, ordered), lanes = config->number[0], scaled = 0;
    for (int32_t i = 0; i < rank; ++i) {
        text = kernel_format(w, "%s%s%s", text, i > 0 ? ", " : "", axis_text(w, &ordered[i]));
        scaled += !ordered[i].keeps;
    }
    bool narrow = dtype_is_float(x->dtype) && x->dtype != DTYPE_F64;
    Dim count = shape_count(dims, &problem_output(problem, 0)->shape), last = ordered[rank - 1].out;
    if (lanes > 1) count = dim_floor_div(dims, count, last);
    const char *call = call_text(w, &attrs->rule, narrow, lanes, scaled, &epilogue);
    kernel_include(w, "resize.cuh");
    kernel_line(w, "const ResizeAxes<%d> axes{{%s}};", rank, text);
    kernel_line(w, "%s(%s, axes, %s, %s, %s, %s);", call, rule_text(w, &attrs->rule),
                kernel_pointer(w, node->inputs[0]), kernel_number(w, count),
                kernel_text(w, cuda_real_literal(emission->arena, (double)attrs->extrapolation, narrow)),
                epilogue);
    return kernel_finish(w, kernel_grid_for(emission, count, lanes > 1 ? PLACES : THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_resize = {
    .name = "resize", .version = 4, .strided = true, .refuses = refuses, .configs = configs, .emit = emit};
