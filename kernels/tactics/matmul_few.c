/* Products of a few rows with a matrix: what counts is to read the matrix once, in order. */
#include "kernels/matmul_text.h"

enum { MOST_ROWS = 8, LANES = 32, SLICES = 0 /* number of a config: warps of a block */ };

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = product_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    ProductText product = product_describe(problem);
    return dim_is_exact(product.rows) && product.rows <= MOST_ROWS ? NULL : "more than 8 rows";
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    (void)problem;
    (void)device;
    out[0] = (Config){.count = 1, .number = {8}};
    out[1] = (Config){.count = 1, .number = {16}};
    out[2] = (Config){.count = 1, .number = {4}};
    return 3;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ProductText product = product_describe(emission->problem);
    KernelWriter *w = kernel_begin(emission, "matmul_few");
    int32_t rows = 1, slices = config->number[SLICES];
    (void)device;
    TRY_ALLOC(emission->diag, w);
    while (rows < product.rows) rows *= 2;
    product_begin(w, &product);
    const char *left = product_left(w, &product, rows, "0");
    kernel_line(w, "multiply_few<%s, %d, %d, %s>(%s, b, %s, %s);", product.type, rows, slices,
                product.b.step == 1 && product.b.line_stride != 1 ? "true" : "false", left,
                kernel_number(w, product.depth), product_store(w, &product));
    return product_finish(w, &product, dim_ceil_div(emission->graph->dims, product.cols, LANES),
                          LANES * slices);
}

const Tactic tactic_matmul_few = {.name = "matmul_few",
                                  .version = 2,
                                  .strided = true,
                                  .normalizes = true,
                                  .prologue = PROLOGUE_READS,
                                  .refuses = refuses,
                                  .configs = configs,
                                  .emit = emit};
