/* Matrix products in tiles. */
#include "kernels/matmul_text.h"
#include "kernels/tiles.h"

static const char *refuses(const Problem *problem, const Device *device) {
    (void)device;
    return product_refuses(problem);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    ProductText product = product_describe(problem);
    Dim batch = shape_count(problem->graph->dims, &product.batch);
    return tile_configs(device, product.rows, product.cols, dim_is_exact(batch) ? batch : 1, out);
}

/* Whether neighbouring threads read along the depth. */
static const char *reads_along(const MatrixText *matrix) {
    return matrix->step == 1 && matrix->line_stride != 1 ? "true" : "false";
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ProductText product = product_describe(emission->problem);
    KernelWriter *w = kernel_begin(emission, "matmul_tiles");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    const char *arguments = product_begin(w, &product);
    kernel_line(w, "multiply<%s, %s, %s, %s>(%s, %s);", product.type, tile_text(w, config),
                reads_along(&product.a), reads_along(&product.b), kernel_number(w, product.rows), arguments);
    Dim tiles = tile_count(emission->graph->dims, config, product.rows, product.cols);
    return product_finish(w, &product, tiles, tile_threads(config));
}

const Tactic tactic_matmul_tiles = {
    .name = "matmul_tiles", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
