/* Products of a few rows with a matrix whose lines lie along memory: a warp reads a line with wide accesses.
 */
#include "kernels/matmul_text.h"

enum { MOST_ROWS = 8, LANES = 32, WARPS = 0 /* number of a config: of a block */ };

/* Elements of a wide access that all lines are multiples of; 0: there are none. */
static int32_t pack_of(const Problem *problem, const ProductText *product) {
    const MatrixText *sides[] = {&product->a, &product->b};
    int32_t lanes = VECTOR_BYTES;
    for (int i = 0; i < 2; ++i) {
        const Value *value = problem_value(problem, sides[i]->value);
        int32_t own = VECTOR_BYTES * 8 / dtype_bits(value->dtype);
        if (own < lanes) lanes = own;
        if (sides[i]->step != 1 || !access_value_is_aligned(value)) return 0;
    }
    for (int i = 0; i < 2; ++i)
        if (!dim_is_exact(sides[i]->line_stride) || sides[i]->line_stride % lanes != 0) return 0;
    return dim_is_exact(product->depth) && product->depth % lanes == 0 ? lanes : 0;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = product_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    ProductText product = product_describe(problem);
    if (product.a.zero != NONE || product.b.zero != NONE ||
        !dtype_is_float(problem_value(problem, product.a.value)->dtype))
        return "not a product of floats";
    if (!dim_is_exact(product.rows) || product.rows > MOST_ROWS) return "more than 8 rows";
    if (shape_count(problem->graph->dims, &product.batch) != 1) return "several products";
    return pack_of(problem, &product) > 1 ? NULL : "lines that do not lie along memory";
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    static const int32_t warps[] = {4, 8, 2};
    (void)problem;
    (void)device;
    for (int32_t i = 0; i < 3; ++i) out[i] = (Config){.count = 1, .number = {warps[i]}};
    return 3;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ProductText product = product_describe(emission->problem);
    KernelWriter *w = kernel_begin(emission, "matmul_lines");
    int32_t rows = 1, warps = config->number[WARPS];
    (void)device;
    TRY_ALLOC(emission->diag, w);
    while (rows < product.rows) rows *= 2;
    product_begin(w, &product);
    const char *left = product_left(w, &product, rows, "0");
    kernel_line(w, "multiply_lines<%s, %d, %d>(%s, b, %s);", product.type, rows,
                pack_of(emission->problem, &product), left, product_store(w, &product));
    return product_finish(w, &product, dim_ceil_div(emission->graph->dims, product.cols, warps),
                          LANES * warps);
}

const Tactic tactic_matmul_lines = {.name = "matmul_lines",
                                    .version = 1,
                                    .strided = true,
                                    .normalizes = true,
                                    .prologue = PROLOGUE_READS,
                                    .refuses = refuses,
                                    .configs = configs,
                                    .emit = emit};
