/* MaxPool, AveragePool and LpPool: a thread for each output element, or for some neighbouring ones. */
#include <math.h>

#include "ir/cost.h"
#include "kernels/chain.h"
#include "kernels/pool_text.h"

enum {
    THREADS = 128,
    MOST_STRIP = 4,  /* places of a thread */
    MOST_WIDTH = 4,  /* windows that strips are for */
    MOST_AHEAD = 20, /* packs that a thread reads at a time, as in pool.cuh */
    LANES = 0,       /* numbers of a config */
    STRIP = 1
};

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_MaxPool && node->op != OP_AveragePool && node->op != OP_LpPool))
        return "not a pool";
    if (problem_output(problem, 0) == NULL) return "no result";
    if (!input_has_rank(problem, 0, 3, 2 + WINDOW_AXES) || !output_ranks_like(problem, 0))
        return "ranks that do not fit";
    return refuse_types(problem);
}

static const char *indices_text(KernelWriter *w, const Node *node) {
    const PoolAttrs *attrs = node->parsed;
    if (node->output_count < 2 || node->outputs[1] == NONE) return "NoIndices{}";
    return kernel_format(w, "StoreIndices<%s>{%s, %s}", attrs->storage_order != 0 ? "true" : "false",
                         kernel_result(w, node->outputs[1]), strides_text(w, node->outputs[1]));
}

/* Whether neighbouring windows share elements along the last axis, for which strips are. */
static bool is_for_strips(const Problem *problem) {
    const PoolAttrs *attrs = problem_anchor(problem)->parsed;
    int32_t last = problem_input(problem, 0)->shape.rank - 3;
    return attrs->window.dilation[last] == 1 && attrs->window.kernel[last] <= MOST_WIDTH &&
           attrs->window.stride[last] <= MOST_WIDTH;
}

/* What a thread reads of a plane for a strip; rows of large windows are read one by one. */
static int64_t packs_of_strip(const Problem *problem, int32_t strip) {
    const PoolAttrs *attrs = problem_anchor(problem)->parsed;
    int32_t last = problem_input(problem, 0)->shape.rank - 3;
    int64_t rows =
        last > 0 && attrs->window.kernel[last - 1] <= MOST_WIDTH ? attrs->window.kernel[last - 1] : 1;
    return rows * ((strip - 1) * attrs->window.stride[last] + attrs->window.kernel[last]);
}

/* Whether neighbours share less than their windows step over, but something: threads with one each are
 * faster. */
static bool shares_little(const Problem *problem) {
    const PoolAttrs *attrs = problem_anchor(problem)->parsed;
    int32_t last = problem_input(problem, 0)->shape.rank - 3;
    int64_t step = attrs->window.stride[last], shared = attrs->window.kernel[last] - step;
    return shared > 0 && shared < step;
}

/* Elements of a thread: packs of channels where they are neighbours in memory and their places are not
 * wanted; of these strips along the last axis, the longest that leave no multiprocessor idle. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    int32_t count = 0;
    if (problem_output(problem, 1) == NULL && !problem_has_front(problem) &&
        refuse_unless_packs(problem) == NULL) {
        int32_t best = 0;
        Dim elements = shape_count(problem->graph->dims, &problem_output(problem, 0)->shape);
        int64_t packs = dim_at_opt(problem->graph, elements) / EPILOGUE_LANES;
        for (int32_t strip = MOST_STRIP; strip > 0 && is_for_strips(problem); strip /= 2) {
            if (strip > 1 && (shares_little(problem) || packs_of_strip(problem, strip) > MOST_AHEAD))
                continue;
            if (packs / strip < (int64_t)device->sm_count * THREADS * 4 && strip > 1) ++best;
            out[count++] = (Config){.count = 2, .number = {EPILOGUE_LANES, strip}};
        }
        if (count > 0)
            config_prefer(out, best);
        else
            out[count++] = (Config){.count = 2, .number = {EPILOGUE_LANES, 1}};
    }
    out[count++] = (Config){.count = 2, .number = {1, 1}};
    return count;
}

/* Reads of windows, elements or packs, and beside them the bytes that must be moved. A thread with one window
 * waits for each row of it, one with many for all of theirs. Fitted to an H200. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    enum { SHARP = 4 /* how little the shorter of the two counts */ };
    const double empty = 0.95, wait = 0.45, strip_us = 0.1, packs_per_clock = 2.9, elements_per_clock = 4;
    const Node *node = problem_anchor(problem);
    const PoolAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0), *y = problem_output(problem, 0);
    double lanes = config->number[LANES], strip = config->number[STRIP], reads = 1;
    int32_t axes = x->shape.rank - 2;
    for (int32_t i = 0; i < axes; ++i) reads *= (double)attrs->window.kernel[i];
    if (strip > 1 && axes > 0) {
        double last = (double)attrs->window.kernel[axes - 1], step = (double)attrs->window.stride[axes - 1];
        reads *= ((strip - 1) * step + last) / (strip * last);
    }
    double in = (double)value_count_at_opt(problem->graph, node->inputs[0]),
           out = (double)value_count_at_opt(problem->graph, node->outputs[0]);
    double moved = device_bytes_us(device, in * dtype_bits(x->dtype) / 8 + out * dtype_bits(y->dtype) / 8);
    double rate = (lanes > 1 ? packs_per_clock : elements_per_clock) * device->sm_count * device->clock_mhz,
           read = out / lanes * reads / rate;
    return empty + wait / strip + strip_us * strip + pow(pow(moved, SHARP) + pow(read, SHARP), 1.0 / SHARP);
}

/* Rows of a window that are laid out one after the other; 1: any. */
static int32_t rows_of(const WindowDims *window) {
    Dim rows = window->kernel[WINDOW_AXES - 2];
    return dim_is_exact(rows) && rows <= MOST_WIDTH ? (int32_t)rows : 1;
}

static void write_call(KernelWriter *w, const Node *node, const WindowDims *window, Dim count,
                       const Config *config) {
    const Problem *problem = kernel_emission(w)->problem;
    const Value *values = problem->graph->values;
    const PoolAttrs *attrs = node->parsed;
    const char *type = cuda_compute_type(values[node->inputs[0]].dtype),
               *pool = pool_type_text(w, node, type);
    const char *counts = attrs->count_include_pad != 0 ? "true" : "false";
    const char *padding = extents_text(w, window->pad_end, WINDOW_AXES);
    int32_t lanes = config->number[LANES], last = WINDOW_AXES - 1;
    if (lanes > 1) {
        const char *function = kernel_format(w, "pool_packs<%d, %s, %s>", lanes, pool, counts);
        if (is_for_strips(problem))
            function = kernel_format(w, "pool_strips<%d, %d, %d, %d, %d, %s, %s>", lanes,
                                     config->number[STRIP], rows_of(window), (int)window->kernel[last],
                                     (int)window->stride[last], pool, counts);
        kernel_line(w, "%s(%s, %s, %s, %s, Place{%s}, %s, %s);", function, kernel_pointer(w, node->inputs[0]),
                    strides_text(w, node->inputs[0]), kernel_number(w, count), window_text(w, window),
                    padding, kernel_dim(w, node->outputs[0], 1), kernel_pack_epilogue(w, lanes));
        return;
    }
    const char *elements = kernel_prologue(w), *epilogue = kernel_epilogue(w);
    kernel_line(w, "pool_windows<%s, %s, %s>(%s, %s, %s, %s, Place{%s}, %s, %s, %s);", type, pool, counts,
                elements, number_strides_text(w, node->inputs[0]), kernel_number(w, count),
                window_text(w, window), padding, numbering_text(w, node->outputs[0]), indices_text(w, node),
                epilogue);
}

/* Strips, packs or elements of the result. */
static Dim work_of(DimTable *dims, const Shape *y, const Config *config) {
    Shape strips = *y;
    Dim *last = &strips.dim[y->rank - 1];
    *last = dim_ceil_div(dims, *last, config->number[STRIP]);
    return dim_floor_div(dims, shape_count(dims, &strips), config->number[LANES]);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const PoolAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0), *y = problem_output(problem, 0);
    WindowDims window = window_dims(dims, &attrs->window, attrs->window.kernel, &x->shape, &y->shape);
    KernelWriter *w = kernel_begin(emission, "pool");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool.cuh");
    Dim count = work_of(dims, &y->shape, config);
    kernel_count(w, node->outputs[0]); /* is indexed with */
    write_call(w, node, &window, count, config);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_pool = {.name = "pool",
                            .version = 5,
                            .strided = true,
                            .prologue = PROLOGUE_READS,
                            .refuses = refuses,
                            .configs = configs,
                            .cost = cost,
                            .emit = emit};
