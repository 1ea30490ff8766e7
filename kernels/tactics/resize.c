/* Resize: a thread for each tile of results (resize.cuh's ResizeTiles), or for each result. Axes that keep
 * their extent are merged with their neighbours. */
#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/chain.h"
#include "kernels/window_text.h"
#include "ops/resize_table.h"

enum {
    THREADS = 128,
    WARP = 32,
    SINGLES = 256,          /* tiles of elements that stand side by side, at least */
    FRACTION = 40,          /* resize.cuh's RESIZE_FRACTION */
    MOST_EXTENT = 1 << 22,  /* of axes whose positions are numbers with so many bits */
    MOST_NEAREST = 1 << 13, /* results of an axis whose nearest places are compared with those of a line */
    LANES = 0,              /* numbers of a config: channels of a pack; 0: not in tiles */
    WIDTH = 1,              /* of a tile, along the last axis that is resized */
    ROWS = 2,               /* of a tile, along the one in front of it */
    RESIDENT = 3            /* blocks of a multiprocessor, at least */
};

/* What device code is told about the axes. */
typedef struct AxisText {
    Dim in, out, stride; /* stride: of the input, in memory */
    bool keeps;
    double scale, begin, end; /* scale 0: out / in, as the sizes are known when the kernel runs */
    Dim pitch;                /* from one position to the next in the results' numbers */
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

static const AxisText one_place = {.in = 1, .out = 1, .stride = 1, .keeps = true};

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
    if (count == 0) out[count++] = one_place;
    Dim pitch = 1;
    for (int32_t i = count - 1; i >= 0; --i) {
        out[i].pitch = pitch;
        pitch = dim_mul(dims, pitch, out[i].out);
    }
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

/* -- tiles -- */

/* The axes as ResizeTiles has them: `keeps` that keep their extent, that of rows, `others` that are resized,
 * that of a tile's width, that of packs. */
typedef struct Lines {
    int32_t count, keeps, others;
    AxisText at[SMELT_MAX_RANK + 2];
} Lines;

/* Positions in the input along an axis, in units of 2^-FRACTION: start + position * step. */
typedef struct Positions {
    bool known;
    int64_t start, step;
} Positions;

static const int64_t unit = (int64_t)1 << FRACTION;

/* How tiles lie along an axis. */
typedef struct Tile {
    int32_t taps, width, places; /* that it reads */
    int64_t step, phase, shift;  /* resize.cuh's */
} Tile;

static bool is_short(DimTable *dims, Dim d) {
    int64_t low, high;
    dim_bounds(dims, d, &low, &high);
    return low >= 0 && high < MOST_EXTENT;
}

/* Where the nearest place is at or before a position. It is not known of all: the host decides in single
 * precision what lies at halves. */
static Positions nearest_positions(const ResizeRule *rule, const ResizeAxis *axis, Positions at) {
    const int64_t more[] = {[RESIZE_ROUND_PREFER_FLOOR] = unit / 2 - 1,
                            [RESIZE_ROUND_PREFER_CEIL] = unit / 2,
                            [RESIZE_FLOOR] = 0,
                            [RESIZE_CEIL] = unit - 1};
    at.start += more[rule->rounding];
    at.known = axis->in > 0 && axis->out <= MOST_NEAREST;
    for (int64_t x = 0; x < axis->out && at.known; ++x)
        at.known =
            resize_nearest(rule, axis, x) == clamp_i64((at.start + x * at.step) >> FRACTION, 0, axis->in - 1);
    return at;
}

static Positions positions_of(DimTable *dims, const ResizeRule *rule, const AxisText *axis) {
    bool exact = dim_is_exact(axis->in) && dim_is_exact(axis->out);
    bool by_scale =
        rule->coordinates == RESIZE_HALF_PIXEL || rule->coordinates == RESIZE_ASYMMETRIC ||
        rule->coordinates == RESIZE_TF_HALF_PIXEL_FOR_NN ||
        (rule->coordinates == RESIZE_PYTORCH_HALF_PIXEL && dim_known_at_least(dims, axis->out, 2));
    if (!is_short(dims, axis->in) || !is_short(dims, axis->out) ||
        (!exact && (!by_scale || axis->scale == 0)))
        return (Positions){0};
    ResizeAxis line = {
        .in = exact ? axis->in : 1, .out = exact ? axis->out : 2, .scale = axis->scale, .end = 1};
    if (line.scale == 0) line.scale = (double)line.out / (double)max_i64(line.in, 1);
    double start = resize_source(rule, &line, 0), step = resize_source(rule, &line, 1) - start;
    if (!(fabs(start) < MOST_EXTENT) || !(step >= 0) || !(step < MOST_EXTENT)) return (Positions){0};
    Positions at = {true, (int64_t)llround(start * (double)unit), (int64_t)llround(step * (double)unit)};
    if (rule->mode != RESIZE_NEAREST) return at;
    return exact ? nearest_positions(rule, &line, at) : (Positions){0};
}

static int32_t taps_of(const ResizeRule *rule) {
    return rule->mode == RESIZE_NEAREST ? 1 : rule->mode == RESIZE_LINEAR ? 2 : 4;
}

/* Tiles that all begin equally far behind a place of the input, as far as they read least; or wherever they
 * begin. aligned: the first begins at the first place. */
static Tile tile_of(DimTable *dims, const ResizeRule *rule, const AxisText *axis, int32_t width,
                    bool aligned) {
    Tile tile = {.taps = axis->keeps ? 1 : taps_of(rule), .width = width, .phase = -1};
    Positions at = positions_of(dims, rule, axis);
    tile.places = width + tile.taps - 1;
    if (width == 1) return tile;
    if (!at.known) { /* of nearest: each where it is */
        tile.step = unit;
        tile.phase = 0;
        return tile;
    }
    tile.step = at.step;
    tile.places = (int32_t)((width - 1) * at.step / unit) + tile.taps + (at.step % unit != 0 ? 1 : 0);
    for (int64_t shift = 0; shift < (aligned ? 1 : width) && width * at.step % unit == 0; ++shift) {
        int64_t phase = ((at.start - shift * at.step) % unit + unit) % unit;
        int32_t places = (int32_t)((phase + (width - 1) * at.step) / unit) + tile.taps;
        if (tile.phase >= 0 && places >= tile.places) continue;
        tile.places = places;
        tile.phase = phase;
        tile.shift = shift;
    }
    return tile;
}

/* Whether neighbours on the axis share what they read, so that tiles are worth it. */
static bool has_tiles(DimTable *dims, const ResizeRule *rule, const AxisText *axis) {
    Positions at = positions_of(dims, rule, axis);
    if (axis->keeps || !at.known) return !axis->keeps && rule->mode == RESIZE_NEAREST;
    return at.step <= unit;
}

/* False where tiles cannot do it. */
static bool find_lines(const Problem *problem, bool packs, Lines *out) {
    const ResizeAttrs *attrs = problem_anchor(problem)->parsed;
    const Value *x = problem_input(problem, 0);
    AxisText axes[SMELT_MAX_RANK], ordered[SMELT_MAX_RANK + 1];
    int32_t scaled[SMELT_MAX_RANK], count = 0;
    *out = (Lines){0};
    if (read_axes(problem, axes) != NULL || attrs->rule.antialias ||
        attrs->rule.coordinates == RESIZE_TF_CROP || !dtype_is_float(x->dtype) || x->dtype == DTYPE_F64 ||
        (packs && refuse_unless_packs(problem) != NULL))
        return false;
    int32_t rank = order_axes(problem, axes, ordered);
    if (!ordered[rank - 1].keeps) ordered[rank++] = one_place;
    ordered[rank - 1].pitch = 1;
    for (int32_t i = 0; i < rank; ++i) {
        if (!ordered[i].keeps)
            scaled[count++] = i;
        else if (i < rank - 1)
            out->at[out->count++] = ordered[i];
    }
    if (count == 0 || (packs && ordered[rank - 1].stride != 1)) return false;
    out->keeps = out->count;
    out->others = count > 2 ? count - 2 : 0;
    out->at[out->count++] = count > 1 ? ordered[scaled[count - 2]] : one_place;
    for (int32_t i = 0; i < out->others; ++i) out->at[out->count++] = ordered[scaled[i]];
    out->at[out->count++] = ordered[scaled[count - 1]];
    out->at[out->count++] = ordered[rank - 1];
    return true;
}

static const AxisText *wide_line(const Lines *lines) {
    return &lines->at[lines->count - 2];
}
static const AxisText *high_line(const Lines *lines) {
    return &lines->at[lines->keeps];
}

/* Whether the tiles of elements are packs of the result. */
static bool is_whole(const Problem *problem, const Lines *lines) {
    const AxisText *wide = wide_line(lines);
    return wide->pitch == 1 && lines->at[lines->count - 1].out == 1 && dim_is_exact(wide->out) &&
           wide->out % EPILOGUE_LANES == 0 && problem_epilogue_lanes(problem) == EPILOGUE_LANES;
}

/* -- configs -- */

/* Packs of channels, or whole packs along the last axis, or elements, which are neighbours in a warp. */
static int32_t tile_configs(const Problem *problem, const Device *device, const Lines *lines, int32_t lanes,
                            Config out[MOST_CONFIGS]) {
    static const int32_t shapes[][3] = {
        {EPILOGUE_LANES, 1, 12}, {1, 4, 7}, {1, 8, 4}, {2, 4, 5}, {2, 2, 8}, {1, 1, 12}, {2, 1, 8}};
    const ResizeRule *rule = &((const ResizeAttrs *)problem_anchor(problem)->parsed)->rule;
    DimTable *dims = problem->graph->dims;
    bool across = has_tiles(dims, rule, wide_line(lines)), down = has_tiles(dims, rule, high_line(lines)),
         whole = lanes == 1 && across && is_whole(problem, lines);
    int32_t count = 0, most = device->threads_per_sm / THREADS;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; ++i) {
        int32_t width = shapes[i][0], rows = shapes[i][1];
        bool fits = whole ? width == EPILOGUE_LANES : width <= (across && lanes > 1 ? 2 : 1);
        if (fits && (rows == 1 || down))
            out[count++] =
                (Config){.count = 4, .number = {lanes, width, rows, (int32_t)min_i64(shapes[i][2], most)}};
    }
    return count;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Lines lines;
    if (find_lines(problem, true, &lines)) return tile_configs(problem, device, &lines, EPILOGUE_LANES, out);
    if (find_lines(problem, false, &lines)) return tile_configs(problem, device, &lines, 1, out);
    out[0] = (Config){.count = 4, .number = {0}};
    return 1;
}

static bool is_whole_config(const Config *config) {
    return config->number[LANES] == 1 && config->number[WIDTH] > 1;
}

static Tile across_of(DimTable *dims, const ResizeRule *rule, const Lines *lines, const Config *config) {
    return tile_of(dims, rule, wide_line(lines), config->number[WIDTH], is_whole_config(config));
}
static Tile down_of(DimTable *dims, const ResizeRule *rule, const Lines *lines, const Config *config) {
    return tile_of(dims, rule, high_line(lines), config->number[ROWS], false);
}

/* What must be moved, and what tiles read, of which neighbours share some, with what a tile of packs takes
 * besides; L2 takes in half of what it gives. Fitted to an H200. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    const double result_us = 0.055, pack_clocks = 0.36, tile_packs = 0.6, element_clocks = 0.15,
                 scattered = 1.15;
    const ResizeRule *rule = &((const ResizeAttrs *)problem_anchor(problem)->parsed)->rule;
    const Value *x = problem_input(problem, 0), *y = problem_output(problem, 0);
    DimTable *dims = problem->graph->dims;
    int32_t lanes = config->number[LANES], results = config->number[WIDTH] * config->number[ROWS];
    Lines lines;
    if (lanes == 0 || !find_lines(problem, lanes > 1, &lines)) return 0;
    Tile across = across_of(dims, rule, &lines, config), down = down_of(dims, rule, &lines, config);
    double in = (double)dim_at_opt(problem->graph, shape_count(dims, &x->shape)) * dtype_bits(x->dtype) / 8,
           count = (double)dim_at_opt(problem->graph, shape_count(dims, &y->shape)),
           out = count * dtype_bits(y->dtype) / 8;
    double reads = (double)across.places * down.places * pow(across.taps, lines.others);
    reads = (reads + (lanes > 1 ? tile_packs : 0)) / results;
    double moved = device_bytes_us(device, in + out), read = count / lanes * reads *
                                                             (lanes > 1 ? pack_clocks : element_clocks) /
                                                             ((double)device->sm_count * device->clock_mhz);
    if (in + out <= (double)device->l2_bytes) moved += device_bytes_us(device, out);
    if (lanes > 1 && config->number[WIDTH] > 1) moved *= scattered;
    return result_us * results + sqrt(moved * moved + read * read);
}

/* -- emission -- */

/* Results in single precision, but for doubles and integers. */
static Status emit_each(const AxisText *ordered, int32_t rank, Emission *emission) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    const ResizeAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0);
    KernelWriter *w = kernel_begin(emission, "resize");
    TRY_ALLOC(emission->diag, w);
    const char *text = "", *epilogue = kernel_epilogue(w);
    for (int32_t i = 0; i < rank; ++i)
        text = kernel_format(w, "%s%s%s", text, i > 0 ? ", " : "", axis_text(w, &ordered[i]));
    bool narrow = dtype_is_float(x->dtype) && x->dtype != DTYPE_F64;
    Dim count = shape_count(emission->graph->dims, &problem_output(problem, 0)->shape);
    const char *blended = kernel_format(w, "resize_blended<%s>", narrow ? "float" : "double");
    kernel_include(w, "resize.cuh");
    kernel_line(w, "const ResizeAxes<%d> axes{{%s}};", rank, text);
    kernel_line(
        w, "%s(%s, axes, %s, %s, %s, %s);", attrs->rule.mode == RESIZE_NEAREST ? "resize_nearest" : blended,
        rule_text(w, &attrs->rule), kernel_pointer(w, node->inputs[0]), kernel_number(w, count),
        kernel_text(w, cuda_real_literal(emission->arena, (double)attrs->extrapolation, narrow)), epilogue);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

/* "ResizeTile<2, 4, 549755813888, 824633720832>" */
static const char *tile_text(KernelWriter *w, const Tile *tile) {
    return kernel_format(w, "ResizeTile<%d, %d, %lldll, %lldll>", tile->taps, tile->width,
                         (long long)tile->step, (long long)tile->phase);
}

/* "{{...}, 64, 1, -274877906944, 549755813888}" */
static const char *line_text(KernelWriter *w, const ResizeRule *rule, const AxisText *axis, int64_t shift) {
    Positions at = positions_of(kernel_emission(w)->graph->dims, rule, axis);
    if (!at.known) at.step = -1;
    return kernel_format(w, "{%s, %s, %lld, %lldll, %lldll}", axis_text(w, axis),
                         kernel_number(w, axis->pitch), (long long)shift, (long long)at.start,
                         (long long)at.step);
}

/* Tiles that stand side by side in a warp, so that those of neighbouring rows are in the same block and read
 * what is in L1: few that are beside the result. */
static int64_t group_of(DimTable *dims, const Lines *lines, const Tile *across, bool single) {
    const AxisText *wide = wide_line(lines), *pack = &lines->at[lines->count - 1];
    int64_t wanted = single ? SINGLES : WARP;
    if (dim_is_exact(pack->out) && pack->out > 0)
        wanted = ceil_div_i64(wanted, ceil_div_i64(pack->out, single ? 1 : EPILOGUE_LANES));
    Dim strips = dim_ceil_div(dims, dim_add(dims, wide->out, across->shift), across->width);
    if (!dim_is_exact(strips)) return wanted;
    if (strips <= 2 * wanted) return max_i64(strips, 1);
    int64_t best = wanted;
    for (int64_t group = wanted; group < 2 * wanted; ++group)
        if (round_up_i64(strips, group) < round_up_i64(strips, best)) best = group;
    return best;
}

/* Threads: tiles, with those that fill up groups. */
static Dim count_tiles(DimTable *dims, const Lines *lines, const Tile *across, const Tile *down,
                       int32_t lanes, int64_t group) {
    Dim strips = dim_ceil_div(dims, dim_add(dims, wide_line(lines)->out, across->shift), across->width),
        rows = dim_ceil_div(dims, dim_add(dims, high_line(lines)->out, down->shift), down->width),
        count = dim_mul(dims, dim_mul(dims, dim_ceil_div(dims, strips, group), group), rows);
    count = dim_mul(dims, count, dim_floor_div(dims, lines->at[lines->count - 1].out, lanes));
    for (int32_t i = 0; i < lines->count - 2; ++i)
        if (i != lines->keeps) count = dim_mul(dims, count, lines->at[i].out);
    return count;
}

static const char *lines_text(KernelWriter *w, const ResizeRule *rule, const Lines *lines, const Tile *across,
                              const Tile *down) {
    const char *text = "";
    for (int32_t i = 0; i < lines->count; ++i) {
        int64_t shift = i == lines->count - 2 ? across->shift : i == lines->keeps ? down->shift : 0;
        text = kernel_format(w, "%s%s%s", text, i > 0 ? ", " : "", line_text(w, rule, &lines->at[i], shift));
    }
    return text;
}

static Status emit_tiles(const Config *config, const Lines *lines, Emission *emission) {
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(emission->problem);
    const ResizeRule *rule = &((const ResizeAttrs *)node->parsed)->rule;
    int32_t lanes = config->number[LANES];
    bool whole = is_whole_config(config);
    Tile across = across_of(dims, rule, lines, config), down = down_of(dims, rule, lines, config);
    KernelWriter *w = kernel_begin(emission, "resize");
    TRY_ALLOC(emission->diag, w);
    const char *epilogue = lanes > 1 || whole ? kernel_pack_epilogue(w, EPILOGUE_LANES) : kernel_epilogue(w);
    int64_t group = group_of(dims, lines, &across, lanes == 1 && !whole);
    Dim count = count_tiles(dims, lines, &across, &down, lanes, group);
    kernel_include(w, "resize.cuh");
    kernel_waits(w);
    kernel_resident(w, config->number[RESIDENT]);
    kernel_count(w, node->outputs[0]); /* is indexed with */
    kernel_line(w, "const ResizeLines<%d> lines{{%s}};", lines->count,
                lines_text(w, rule, lines, &across, &down));
    kernel_line(w, "ResizeTiles<%s, %s, %d, %lld, %d, %s>::run(%s, lines, %s, %s, %s);",
                tile_text(w, &across), tile_text(w, &down), lines->others, (long long)group, lanes,
                whole ? "true" : "false", rule_text(w, rule), kernel_pointer(w, node->inputs[0]),
                kernel_number(w, count), epilogue);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    AxisText axes[SMELT_MAX_RANK], ordered[SMELT_MAX_RANK];
    Lines lines;
    (void)device;
    const char *why = read_axes(problem, axes);
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "%s", why);
    if (config->number[LANES] != 0 && find_lines(problem, config->number[LANES] > 1, &lines))
        return emit_tiles(config, &lines, emission);
    return emit_each(ordered, order_axes(problem, axes, ordered), emission);
}

const Tactic tactic_resize = {.name = "resize",
                              .version = 6,
                              .strided = true,
                              .refuses = refuses,
                              .configs = configs,
                              .cost = cost,
                              .emit = emit};
