/* Matrix products in half precision or TF32 on sm_90a's matrix units. */
#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/matmul_text.h"
#include "kernels/wgmma_text.h"
#include "ops/matmul.h"

enum { VECTOR = 16 /* bytes: strides are multiples of them */, LEAST_ROWS = 16 };

/* A batch of matrices of `lines`, whose elements are added up along the depth. */
typedef struct Operand {
    ValueId value;
    Dim lines, matrices, line_stride, matrix_stride;
    bool outer;  /* lines are the innermost dimension, line_stride is that of the depth */
    bool turned; /* a constant whose lines are the innermost dimension until the plan is made */
} Operand;

typedef struct Product {
    Operand a, b;
    ValueId c; /* of Gemm; NONE */
    float alpha, beta;
    Dim rows, cols, depth, batch;
} Product;

/* Dimensions that are walked as one; a stride that means nothing becomes `none`. */
static bool merge(DimTable *dims, int32_t rank, const Dim *extents, const Dim *strides, Dim none, Dim *extent,
                  Dim *stride) {
    Access access = access_strided(dims, rank, extents, strides);
    *extent = access.rank == 0 ? 1 : access.dim[0];
    *stride = access.rank == 0 ? none : access.stride[0];
    return access.rank <= 1;
}

static bool is_vector(Dim stride, int32_t element) {
    return dim_is_exact(stride) && stride > 0 && stride % (VECTOR / element) == 0;
}

static int64_t padded(Dim extent, int32_t element) {
    return round_up_i64(extent, VECTOR / element);
}

/* The copy engine brings lines along the depth in any number, and so that threads get neighbours. */
static void turn(const Value *value, Dim depth, int32_t element, Operand *out) {
    if (!out->outer || value->data == NULL || value->shape.rank != 2 || !value_is_plain(value)) return;
    if (!is_vector(depth, element)) return;
    out->outer = false;
    out->turned = true;
    out->line_stride = depth;
}

/* line, depth: the operand's axes. fold: all matrices are one tall one. */
static const char *describe(const Problem *problem, ValueId id, int32_t line, int32_t depth, bool fold,
                            Operand *out) {
    const Value *value = problem_value(problem, id);
    DimTable *dims = problem->graph->dims;
    Dim strides[SMELT_MAX_RANK];
    const Dim *extents = value->shape.dim;
    int32_t batch = value->shape.rank - 2, element = wgmma_element(problem);
    value_strides(problem->graph, id, strides);
    if (!access_value_is_aligned(value)) return "an operand that does not begin at a multiple of 16 bytes";
    if (extents[depth] == 1 || !dim_is_exact(extents[depth])) return "a depth of 1 or that is not known";
    *out = (Operand){.value = id, .lines = extents[line], .matrices = 1, .outer = strides[depth] != 1};
    out->line_stride = strides[out->outer ? depth : line];
    if (out->outer && strides[line] != 1 && extents[line] != 1) return "operands without a dense dimension";
    if (!out->outer && extents[line] == 1) out->line_stride = padded(extents[depth], element);
    turn(value, extents[depth], element, out);
    if (out->outer && !wgmma_reads_outer(element)) return "operands of 32 bits whose depth is outside";
    out->matrix_stride = out->line_stride;
    fold = fold && batch > 0;
    if (fold && (out->outer || line != batch ||
                 !merge(dims, batch + 1, extents, strides, out->line_stride, &out->lines, &out->line_stride)))
        return "rows that lie irregularly";
    if (!fold && !merge(dims, batch, extents, strides, out->line_stride, &out->matrices, &out->matrix_stride))
        return "matrices that lie irregularly";
    if (!is_vector(out->line_stride, element) ||
        !is_vector(fold ? out->line_stride : out->matrix_stride, element))
        return "strides that are no multiple of 16 bytes";
    return NULL;
}

static const char *describe_gemm(const Problem *problem, Product *out) {
    const GemmAttrs *attrs = problem_anchor(problem)->parsed;
    bool ta = attrs->trans_a != 0, tb = attrs->trans_b != 0;
    const Value *c = problem_input(problem, 2);
    out->alpha = attrs->alpha;
    out->beta = attrs->beta;
    out->c = anchor_input(problem, 2);
    const char *why = describe(problem, anchor_input(problem, 0), ta, !ta, false, &out->a);
    if (why == NULL) why = describe(problem, anchor_input(problem, 1), !tb, tb, false, &out->b);
    if (why != NULL || c == NULL) return why;
    int32_t rank = c->shape.rank;
    if (rank < 1 || c->shape.dim[rank - 1] != out->b.lines || (rank == 2 && c->shape.dim[0] != 1))
        return "an addend that is no vector of columns";
    return value_is_plain(c) ? NULL : "an addend that is a slice";
}

static const char *describe_matmul(const Problem *problem, Product *out) {
    DimTable *dims = problem->graph->dims;
    const Shape *a = &problem_input(problem, 0)->shape, *b = &problem_input(problem, 1)->shape;
    Dim count = 1, most;
    if (a->rank < 2 || b->rank < 2) return "vectors";
    for (int32_t i = 0; i + 2 < b->rank; ++i) count = dim_mul(dims, count, b->dim[i]);
    bool fold = count == 1;
    const char *why = describe(problem, anchor_input(problem, 0), a->rank - 2, a->rank - 1, fold, &out->a);
    if (why == NULL)
        why = describe(problem, anchor_input(problem, 1), b->rank - 1, b->rank - 2, false, &out->b);
    if (why != NULL) return why;
    most = out->a.matrices == 1 ? out->b.matrices : out->a.matrices;
    const Shape *y = &problem_output(problem, 0)->shape;
    out->batch = 1;
    for (int32_t i = 0; !fold && i + 2 < y->rank; ++i) out->batch = dim_mul(dims, out->batch, y->dim[i]);
    bool fits = (out->a.matrices == 1 || out->a.matrices == out->batch) &&
                (out->b.matrices == 1 || out->b.matrices == out->batch) && most == out->batch;
    return fits ? NULL : "matrices that are repeated irregularly";
}

static const char *describe_product(const Problem *problem, Product *out) {
    const Node *node = problem_anchor(problem);
    *out = (Product){.c = NONE, .alpha = 1, .beta = 1, .batch = 1};
    const char *why = node->op == OP_Gemm ? describe_gemm(problem, out) : describe_matmul(problem, out);
    const Shape *a = &problem_input(problem, 0)->shape;
    if (why != NULL) return why;
    out->rows = out->a.lines;
    out->cols = out->b.lines;
    bool across = node->op == OP_Gemm && ((const GemmAttrs *)node->parsed)->trans_a != 0;
    out->depth = a->dim[across ? 0 : a->rank - 1];
    if (!dim_is_exact(out->cols) || out->cols < 1) return "columns that are not known";
    if (dim_is_exact(out->rows) && out->rows < LEAST_ROWS) return "few rows";
    return NULL;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    Product product;
    (void)device;
    if (node == NULL || (node->op != OP_MatMul && node->op != OP_Gemm)) return "not a matrix product";
    const char *why = product_refuses(problem);
    if (why == NULL) why = wgmma_refuses(problem);
    return why != NULL ? why : describe_product(problem, &product);
}

static int64_t at_opt(const Problem *problem, Dim d) {
    int64_t number = dim_at_opt(problem->graph, d);
    return number > 0 ? number : 1;
}

static WgmmaProblem problem_of(const Problem *problem, const Product *product) {
    WgmmaProblem out = {.rows = product->rows,
                        .cols = product->cols,
                        .batch = product->batch,
                        .depth = product->depth,
                        .runs = 1,
                        .element = wgmma_element(problem),
                        .boxes = true,
                        .outer_a = product->a.outer,
                        .outer_b = product->b.outer,
                        .spread = !product->b.outer && product->b.matrices == 1 && product->cols % 16 == 0,
                        .constant = problem_value(problem, product->b.value)->data != NULL,
                        .bytes = problem_bytes(problem),
                        .known_rows = at_opt(problem, product->rows),
                        .known_cols = product->cols,
                        .known_batch = at_opt(problem, product->batch)};
    wgmma_describe_epilogue(problem, &out);
    return out;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Product product;
    (void)describe_product(problem, &product);
    WgmmaProblem tiles = problem_of(problem, &product);
    return wgmma_configs(device, &tiles, out);
}

static double cost(const Problem *problem, const Device *device, const Config *config) {
    Product product;
    (void)describe_product(problem, &product);
    WgmmaProblem tiles = problem_of(problem, &product);
    return wgmma_cost(device, &tiles, config);
}

static KernelMap map_of(const WgmmaProblem *problem, const Config *config, const Operand *operand, Dim depth,
                        int32_t box_lines) {
    KernelMap map =
        wgmma_matrix_map(problem, config, operand->value, operand->lines, depth, operand->matrices,
                         operand->line_stride, operand->matrix_stride, operand->outer, box_lines);
    map.channels_last = operand->turned;
    return map;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    Product product;
    (void)describe_product(emission->problem, &product);
    WgmmaProblem tiles = problem_of(emission->problem, &product);
    KernelMap a = map_of(&tiles, config, &product.a, product.depth, wgmma_copied_rows(config));
    KernelMap b = map_of(&tiles, config, &product.b, product.depth, wgmma_copied_cols(config));
    int32_t spread = wgmma_spreads(&tiles, config);
    if (spread > 0) {
        b = wgmma_spread_map(emission->graph->dims, spread, tiles.element, config->number[WGMMA_DEPTH],
                             wgmma_copied_cols(config), product.b.value, product.cols, product.depth,
                             product.b.line_stride);
        b.channels_last = product.b.turned;
    }
    KernelWriter *w = kernel_begin(emission, "matmul_wgmma");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "wgmma_product.cuh");
    wgmma_declare_tile(w, &tiles, config, emission->graph->values[product.a.value].dtype);
    const char *maps = kernel_format(w, "%s, %s", kernel_map(w, &a), kernel_map(w, &b));
    const char *load =
        kernel_format(w, "WgmmaMatrices<Tile>{%s, %s, %s}", maps, product.a.matrices == 1 ? "false" : "true",
                      product.b.matrices == 1 ? "false" : "true");
    SumsText sums = {.rows = product.rows, .cols = product.cols, .groups = 1};
    const char *finish = sum_scale(w, product.alpha, product.beta, product.c, product.cols,
                                   product.cols % EPILOGUE_LANES == 0);
    return wgmma_finish(w, device, &tiles, config, load, sum_store(w, &sums, finish));
}

const Tactic tactic_matmul_wgmma = {.name = "matmul_wgmma",
                                    .version = 6,
                                    .strided = true,
                                    .arch = "sm_90a",
                                    .refuses = refuses,
                                    .configs = configs,
                                    .emit = emit,
                                    .cost = cost};
