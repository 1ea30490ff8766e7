/* ConvTranspose in half precision whose windows lie side by side, on sm_90a's matrix units. */
#include "ir/cost.h"
#include "kernels/planes_text.h"
#include "kernels/transposed_product.h"
#include "kernels/wgmma_text.h"
#include "kernels/window_text.h"

enum { VECTOR = 8 /* elements of 16 bytes */ };

static const char *refuses(const Problem *problem, const Device *device) {
    TransposedProduct product;
    const char *why = transposed_product_describe(problem, VECTOR, &product);
    (void)device;
    if (why == NULL) why = wgmma_refuses(problem);
    if (why == NULL && !wgmma_reads_outer(wgmma_element(problem))) why = "weights whose depth is outside";
    return why;
}

static WgmmaProblem product_of(const Problem *problem, TransposedProduct *product) {
    (void)transposed_product_describe(problem, VECTOR, product);
    int64_t rows = dim_at_opt(problem->graph, product->rows);
    WgmmaProblem out = {.rows = product->rows,
                        .cols = product->cols,
                        .batch = 1,
                        .depth = product->depth,
                        .runs = 1,
                        .element = wgmma_element(problem),
                        .boxes = true,
                        .outer_b = true,
                        .constant = true,
                        .bytes = problem_bytes(problem),
                        .known_rows = rows > 0 ? rows : 1,
                        .known_cols = product->cols,
                        .known_batch = 1,
                        .normal_shared = front_planes_shared(problem, WGMMA_MOST_CONSUMERS)};
    wgmma_describe_epilogue(problem, &out);
    return out;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    TransposedProduct transposed;
    WgmmaProblem product = product_of(problem, &transposed);
    return wgmma_configs(device, &product, out);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    TransposedProduct transposed;
    WgmmaProblem product = product_of(emission->problem, &transposed);
    DimTable *dims = emission->graph->dims;
    int64_t stride = transposed.place_stride;
    KernelMap a = wgmma_matrix_map(&product, config, transposed.x, product.rows, product.depth, 1, stride,
                                   dim_mul(dims, product.rows, stride), false, wgmma_copied_rows(config));
    KernelMap b =
        wgmma_matrix_map(&product, config, transposed.w, product.cols, product.depth, 1, product.cols,
                         dim_mul(dims, product.cols, product.depth), true, wgmma_copied_cols(config));
    b.channels_last = true;
    TRY(front_planes_begin(emission, device));
    KernelWriter *w = kernel_begin(emission, "conv_transpose_wgmma");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "wgmma_product.cuh");
    wgmma_declare_tile(w, &product, config, emission->graph->values[transposed.x].dtype);
    const char *load =
        kernel_format(w, "WgmmaMatrices<Tile>{%s, %s, false, false}", kernel_map(w, &a), kernel_map(w, &b));
    product.normal = front_planes_normal(w, device, "NormalDrop{}");
    return wgmma_finish(w, device, &product, config, load, transposed_product_store(w, &transposed));
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    TransposedProduct transposed;
    WgmmaProblem product = product_of(problem, &transposed);
    return wgmma_cost(device, &product, config) + front_planes_cost(problem, device);
}

const Tactic tactic_conv_transpose_wgmma = {.name = "conv_transpose_wgmma",
                                            .version = 5,
                                            .strided = true,
                                            .normalizes_planes = true,
                                            .arch = "sm_90a",
                                            .refuses = refuses,
                                            .configs = configs,
                                            .emit = emit,
                                            .cost = cost,
                                            .finds_moments = front_planes_cost};
