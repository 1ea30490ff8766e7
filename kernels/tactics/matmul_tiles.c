/* Matrix products in tiles. */
#include "kernels/matmul_text.h"
#include "kernels/norm_text.h"
#include "kernels/tiles.h"

enum { SUM_THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    (void)device;
    return product_refuses(problem);
}

static TileProblem tiles_of(const Problem *problem, const ProductText *product) {
    OpId op = problem_anchor(problem)->op;
    Dim batch = shape_count(problem->graph->dims, &product->batch);
    return (TileProblem){.rows = product->rows,
                         .cols = product->cols,
                         .depth = product->depth,
                         .batch = batch,
                         .can_slice = (op == OP_MatMul || op == OP_Gemm) && batch <= MOST_GRID_YZ &&
                                      problem_front_norm(problem) == NULL};
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    ProductText product = product_describe(problem);
    TileProblem tiles = tiles_of(problem, &product);
    return tile_configs(device, &tiles, out);
}

/* Whether neighbouring threads read along the depth. */
static const char *reads_along(const MatrixText *matrix) {
    return matrix->step == 1 && matrix->line_stride != 1 ? "true" : "false";
}

/* "<float, Tile<64, 64, 16, 4, 4>, true, false>" */
static const char *template_text(KernelWriter *w, const Config *config, const ProductText *product) {
    return kernel_format(w, "<%s, %s, %s, %s>", product->type, tile_text(w, config), reads_along(&product->a),
                         reads_along(&product->b));
}

/* Sums of slices of the depth. The grid's y counts products, so that its z can count slices. */
static Status emit_slices(const Config *config, Emission *emission, const ProductText *product,
                          const TileProblem *tiles) {
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "matmul_slices");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "matmul.cuh");
    kernel_line(w, "const Index batch = (Index)blockIdx.y;");
    product_operands(w, product);
    kernel_line(w, "multiply_slice%s(%s, %s, a, b, %s, %s, batch, %s, %s);",
                template_text(w, config, product), kernel_number(w, product->rows),
                kernel_number(w, product->cols), kernel_number(w, product->depth),
                kernel_number(w, tile_slice_depth(dims, config, product->depth)),
                kernel_number(w, tiles->batch), tile_sums(w, config, tiles, product->type));
    return kernel_finish(w, tile_count(dims, config, product->rows, product->cols), tiles->batch,
                         tile_slices(config), tile_threads(config), 0);
}

static Status emit_sum(const Config *config, Emission *emission, const ProductText *product,
                       const TileProblem *tiles) {
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "matmul_add_slices");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "matmul.cuh");
    kernel_line(w, "add_slices<%s>(%s, %d, %s, %s, %s, %s);", product->type,
                tile_sums(w, config, tiles, product->type), tile_slices(config),
                kernel_number(w, tiles->batch), kernel_number(w, product->rows),
                kernel_number(w, product->cols), product_make_store(w, product));
    Dim count = dim_mul(dims, tiles->batch, dim_mul(dims, product->rows, product->cols));
    return kernel_finish(w, kernel_grid_for(emission, count, SUM_THREADS), 1, 1, SUM_THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ProductText product = product_describe(emission->problem);
    TileProblem tiles = tiles_of(emission->problem, &product);
    (void)device;
    if (tile_slices(config) > 1) {
        TRY(emit_slices(config, emission, &product, &tiles));
        return emit_sum(config, emission, &product, &tiles);
    }
    KernelWriter *w = kernel_begin(emission, "matmul_tiles");
    TRY_ALLOC(emission->diag, w);
    product_begin(w, &product);
    const char *rows = kernel_number(w, product.rows);
    const char *first = kernel_format(w, "BlockTile<%s>(%s).row", tile_text(w, config), rows);
    const char *left = product_left(w, &product, tile_rows(config), first);
    kernel_line(w, "multiply%s(%s, %s, b, %s, %s);", template_text(w, config, &product), rows, left,
                kernel_number(w, product.depth), product_store(w, &product));
    return product_finish(w, &product, tile_count(emission->graph->dims, config, product.rows, product.cols),
                          tile_threads(config));
}

const Tactic tactic_matmul_tiles = {.name = "matmul_tiles",
                                    .version = 3,
                                    .slow = SLOW_FOR_ALL,
                                    .strided = true,
                                    .normalizes = true,
                                    .prologue = PROLOGUE_READS,
                                    .refuses = refuses,
                                    .configs = configs,
                                    .emit = emit};
