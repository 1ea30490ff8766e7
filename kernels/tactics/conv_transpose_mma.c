/* ConvTranspose whose windows lie side by side, on the matrix units that all architectures have. */
#include "kernels/mma_text.h"
#include "kernels/transposed_product.h"
#include "kernels/window_text.h"

/* Elements of 16 bytes, which all strides are multiples of. */
static int32_t width_of(const Problem *problem) {
    return 128 / dtype_bits(problem_input(problem, 0)->dtype);
}

static const char *refuses(const Problem *problem, const Device *device) {
    TransposedProduct product;
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_ConvTranspose) return "not ConvTranspose";
    const char *why = mma_refuses(problem, device, MMA_AS_STATED);
    return why != NULL ? why : transposed_product_describe(problem, width_of(problem), &product);
}

static MmaProblem product_of(const Problem *problem, TransposedProduct *transposed) {
    MmaProblem product = mma_problem(problem, MMA_AS_STATED);
    product.copy_a = product.copy_b = width_of(problem);
    (void)transposed_product_describe(problem, product.copy_a, transposed);
    product.sums = (SumsText){.rows = transposed->rows, .cols = transposed->cols, .groups = 1};
    product.depth = transposed->depth;
    product.outer_b = true;
    product.reads = transposed->reads;
    return product;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    TransposedProduct transposed;
    MmaProblem product = product_of(problem, &transposed);
    return mma_configs(problem, device, &product, out);
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    TransposedProduct transposed;
    MmaProblem product = product_of(problem, &transposed);
    return mma_cost(problem, device, &product, config);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    TransposedProduct transposed;
    MmaProblem product = product_of(emission->problem, &transposed);
    KernelWriter *w = mma_begin(emission, "conv_transpose_mma", &product, config);
    (void)device;
    TRY_ALLOC(emission->diag, w);
    const char *type = cuda_type(product.dtype), *depth = kernel_number(w, product.depth),
               *cols = kernel_number(w, product.sums.cols);
    const char *x = kernel_format(w, "MmaLines<%s, %d>{%s, %s, %s, %s}", type, product.copy_a,
                                  kernel_pointer(w, transposed.x), kernel_number(w, transposed.rows), depth,
                                  kernel_number(w, transposed.place_stride));
    const char *weights = kernel_format(w, "MmaColumns<%s, %d>{%s, %s, %s, %s}", type, product.copy_b,
                                        kernel_turned(w, transposed.w), cols, depth, cols);
    if (config->number[MMA_SLICES] == 1)
        return mma_finish(w, &product, config, x, weights, transposed_product_store(w, &transposed));
    TRY(mma_finish(w, &product, config, x, weights, NULL));
    w = kernel_begin(emission, "mma_add_slices");
    TRY_ALLOC(emission->diag, w);
    return mma_add_slices(w, &product, config, transposed_product_store(w, &transposed));
}

const Tactic tactic_conv_transpose_mma = {.name = "conv_transpose_mma",
                                          .version = 1,
                                          .strided = true,
                                          .refuses = refuses,
                                          .configs = configs,
                                          .emit = emit,
                                          .cost = cost};
