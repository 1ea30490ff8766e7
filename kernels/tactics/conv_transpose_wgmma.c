/* ConvTranspose in half precision whose windows lie side by side (kernel = stride), on sm_90a's matrix units:
 * one product of the input's places with the weights of all taps, whose sums are scattered. */
#include "ir/cost.h"
#include "kernels/conv_text.h"
#include "kernels/wgmma_text.h"

enum { VECTOR = 8 /* elements of 16 bytes */ };

static int32_t axes_of(const Problem *problem) {
    return problem_input(problem, 0)->shape.rank - 2;
}

static const char *windows_refuse(const Problem *problem) {
    const TransposeAttrs *attrs = problem_anchor(problem)->parsed;
    const Value *x = problem_input(problem, 0), *w = problem_input(problem, 1),
                *y = problem_output(problem, 0);
    if (attrs->group != 1) return "groups";
    if (attrs->window.auto_pad != AUTO_PAD_NONE && attrs->window.auto_pad != AUTO_PAD_VALID)
        return "padding that is not written out";
    for (int32_t i = 0; i < axes_of(problem); ++i) {
        Dim in = x->shape.dim[2 + i], kernel = w->shape.dim[2 + i], out = y->shape.dim[2 + i];
        if (!dim_is_exact(in) || !dim_is_exact(out) || in < 1) return "spatial sizes that are not known";
        if (attrs->window.stride[i] != kernel || out != in * kernel || attrs->window.pad_begin[i] != 0)
            return "windows that overlap or are cut off";
    }
    return NULL;
}

/* Elements from place to place of the input where they are all as far apart; 0: they are not. */
static int64_t place_stride(const Problem *problem) {
    const Value *x = problem_input(problem, 0);
    Dim strides[SMELT_MAX_RANK];
    int32_t last = x->shape.rank - 1;
    value_strides(problem->graph, problem_anchor(problem)->inputs[0], strides);
    if (strides[1] != 1 || !dim_is_exact(strides[last]) || strides[last] % VECTOR != 0) return 0;
    for (int32_t i = last; i > 0; i = i == 2 ? 0 : i - 1) {
        int32_t outer = i == 2 ? 0 : i - 1;
        if (strides[outer] != dim_mul(problem->graph->dims, strides[i], x->shape.dim[i])) return 0;
    }
    return strides[last];
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_ConvTranspose) return "not ConvTranspose";
    if (!input_has_rank(problem, 0, 3, 2 + WINDOW_AXES) || !output_ranks_like(problem, 0) ||
        !output_ranks_like(problem, 1))
        return "ranks that do not fit";
    const Value *x = problem_input(problem, 0), *w = problem_input(problem, 1),
                *bias = problem_input(problem, 2);
    const char *why = wgmma_refuses(x->dtype, w->dtype);
    if (why != NULL) return why;
    if (w->data == NULL || x->shape.dim[1] != w->shape.dim[0])
        return "weights that are computed, or do not fit";
    if (w->shape.dim[0] % VECTOR != 0 || w->shape.dim[1] % VECTOR != 0)
        return "channels that are no multiple of 8";
    if (bias != NULL && (!value_is_plain(bias) || bias->shape.dim[0] != w->shape.dim[1]))
        return "a bias that does not fit";
    if (problem_output(problem, 0)->layout != LAYOUT_CHANNELS_LAST)
        return "a result that is not channels-last";
    if (!access_value_is_aligned(x)) return "an input that does not begin at a multiple of 16 bytes";
    if (place_stride(problem) == 0) return "an input that is not channels-last";
    return windows_refuse(problem);
}

static WgmmaProblem product_of(const Problem *problem) {
    DimTable *dims = problem->graph->dims;
    const Shape *x = &problem_input(problem, 0)->shape, *w = &problem_input(problem, 1)->shape;
    WgmmaProblem product = {.rows = x->dim[0],
                            .cols = w->dim[1],
                            .batch = 1,
                            .depth = w->dim[0],
                            .runs = 1,
                            .boxes = true,
                            .outer_b = true,
                            .bytes = wgmma_bytes(problem),
                            .known_batch = 1};
    for (int32_t i = 2; i < x->rank; ++i) {
        product.rows = dim_mul(dims, product.rows, x->dim[i]);
        product.cols = dim_mul(dims, product.cols, w->dim[i]);
    }
    product.reads = problem->input_count > (problem_input(problem, 2) != NULL ? 3 : 2);
    int64_t rows = dim_at_opt(problem->graph, product.rows);
    product.known_rows = rows > 0 ? rows : 1;
    product.known_cols = product.cols;
    return product;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    WgmmaProblem product = product_of(problem);
    return wgmma_configs(device, &product, out);
}

/* "WgmmaTaps<3>{rows, cols, 64, {8, 10, 7}, {2, 2, 2}}" */
static const char *taps_text(KernelWriter *w, const WgmmaProblem *product) {
    const Problem *problem = kernel_emission(w)->problem;
    const Dim *x = problem_input(problem, 0)->shape.dim, *weights = problem_input(problem, 1)->shape.dim;
    int32_t axes = axes_of(problem);
    return kernel_format(w, "WgmmaTaps<%d>{%s, %s, %s, %s, %s}", axes, kernel_number(w, product->rows),
                         kernel_number(w, product->cols), kernel_number(w, weights[1]),
                         extents_text(w, x + 2, axes), extents_text(w, weights + 2, axes));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    WgmmaProblem product = product_of(problem);
    DimTable *dims = emission->graph->dims;
    int64_t stride = place_stride(problem);
    KernelMap a = wgmma_matrix_map(config, node->inputs[0], product.rows, product.depth, 1, stride,
                                   dim_mul(dims, product.rows, stride), false, wgmma_rows(config));
    KernelMap b =
        wgmma_matrix_map(config, node->inputs[1], product.cols, product.depth, 1, product.cols,
                         dim_mul(dims, product.cols, product.depth), true, config->number[WGMMA_COLS]);
    b.channels_last = true;
    KernelWriter *w = kernel_begin(emission, "conv_transpose_wgmma");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "wgmma_taps.cuh");
    wgmma_declare_tile(w, &product, config, emission->graph->values[node->inputs[0]].dtype);
    const char *load =
        kernel_format(w, "WgmmaMatrices<Tile>{%s, %s, false, false}", kernel_map(w, &a), kernel_map(w, &b));
    const char *scale =
        wgmma_scale(w, 1, 1, anchor_input(problem, 2), problem_input(problem, 1)->shape.dim[1]);
    const char *store = kernel_format(w, "wgmma_store_to(%s, wgmma_each_tap(%s, %s), %s)",
                                      taps_text(w, &product), scale, kernel_number(w, product.cols),
                                      kernel_pack_epilogue(w, problem_epilogue_lanes(problem)));
    return wgmma_finish(w, device, &product, config, load, store);
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    WgmmaProblem product = product_of(problem);
    return wgmma_cost(device, &product, config);
}

const Tactic tactic_conv_transpose_wgmma = {.name = "conv_transpose_wgmma",
                                            .version = 1,
                                            .strided = true,
                                            .arch = "sm_90a",
                                            .refuses = refuses,
                                            .configs = configs,
                                            .emit = emit,
                                            .cost = cost};
