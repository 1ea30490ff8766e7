#include "kernels/mma_matmul.h"

#include "kernels/matmul_text.h"
#include "ops/matmul.h"

enum { LEAST_ROWS = 9 /* fewer are as fast as the other matrix is read */ };

/* How an operand is copied. */
typedef struct Side {
    bool outer; /* the depth is not its innermost dimension */
    int32_t copy;
} Side;

static int64_t power_of_two(int64_t divisors) {
    return divisors & -divisors;
}

/* What all that a matrix and its lines begin at is a multiple of, as a power of two, `step` apart. */
static int64_t divisor_of(const Problem *problem, const MatrixText *matrix, Dim lines, Dim step) {
    const DimTable *dims = problem->graph->dims;
    int64_t all = 16;
    if (lines != 1) all |= dim_divisor(dims, step);
    for (int32_t i = 0; i < matrix->batch.rank; ++i)
        if (matrix->batch.dim[i] != 1) all |= dim_divisor(dims, matrix->stride[i]);
    return power_of_two(all);
}

/* Along whichever dimension is dense, with the wider copies. */
static const char *describe_side(const Problem *problem, const ProductText *product, const MatrixText *matrix,
                                 Side *out) {
    const Value *value = problem_value(problem, matrix->value);
    int32_t along = 0, across = 0;
    if (!access_value_is_aligned(value)) return "an operand that does not begin at a multiple of 16 bytes";
    if (matrix->step == 1 || product->depth == 1)
        along = mma_copy(value->dtype, divisor_of(problem, matrix, matrix->lines, matrix->line_stride));
    if (matrix->line_stride == 1 || matrix->lines == 1)
        across = mma_copy(value->dtype, divisor_of(problem, matrix, product->depth, matrix->step));
    *out = (Side){.outer = across > along, .copy = across > along ? across : along};
    return out->copy == 0 ? "an operand whose elements cannot be copied together" : NULL;
}

/* An addend is a vector of columns. */
static const char *addend_refuses(const Problem *problem) {
    const Value *c = problem_input(problem, 2);
    if (c == NULL) return NULL;
    int32_t rank = c->shape.rank;
    if (rank < 1 || c->shape.dim[rank - 1] != problem_output(problem, 0)->shape.dim[1] ||
        (rank == 2 && c->shape.dim[0] != 1))
        return "an addend that is no vector of columns";
    return value_is_plain(c) ? NULL : "an addend that is a slice";
}

static const char *describe(const Problem *problem, ProductText *product, Side sides[2]) {
    *product = product_describe(problem);
    if (problem_anchor(problem)->op == OP_Gemm) {
        const char *why = addend_refuses(problem);
        if (why != NULL) return why;
    }
    if (dim_is_exact(product->rows) && product->rows < LEAST_ROWS) return "few rows";
    if (dim_is_exact(product->depth) && product->depth < 1) return "empty sums";
    const char *why = describe_side(problem, product, &product->a, &sides[0]);
    return why != NULL ? why : describe_side(problem, product, &product->b, &sides[1]);
}

const char *mma_matmul_refuses(const Problem *problem, const Device *device, MmaPrecision precision) {
    const Node *node = problem_anchor(problem);
    ProductText product;
    Side sides[2];
    if (node == NULL || (node->op != OP_MatMul && node->op != OP_Gemm)) return "not a matrix product";
    const char *why = product_refuses(problem);
    if (why == NULL) why = mma_refuses(problem, device, precision);
    return why != NULL ? why : describe(problem, &product, sides);
}

static MmaProblem product_of(const Problem *problem, MmaPrecision precision, ProductText *product) {
    MmaProblem out = mma_problem(problem, precision);
    Side sides[2] = {{0}};
    (void)describe(problem, product, sides);
    bool adds = problem_anchor(problem)->op == OP_Gemm && problem_input(problem, 2) != NULL;
    out.sums = (SumsText){.rows = product->rows, .cols = product->cols, .groups = 1};
    out.batch = shape_count(problem->graph->dims, &product->batch);
    out.depth = product->depth;
    out.copy_a = sides[0].copy;
    out.copy_b = sides[1].copy;
    out.outer_a = sides[0].outer;
    out.outer_b = sides[1].outer;
    out.reads = problem->input_count > (adds ? 3 : 2);
    return out;
}

int32_t mma_matmul_configs(const Problem *problem, const Device *device, MmaPrecision precision,
                           Config out[MOST_CONFIGS]) {
    ProductText text;
    MmaProblem product = product_of(problem, precision, &text);
    return mma_configs(problem, device, &product, out);
}

double mma_matmul_cost(const Problem *problem, const Device *device, MmaPrecision precision,
                       const Config *config) {
    ProductText text;
    MmaProblem product = product_of(problem, precision, &text);
    return mma_cost(problem, device, &product, config);
}

/* -- text -- */

/* "MmaLines<smelt_half, 8>{p0 + (place.matrix * 64), 64, 128, 128}", or MmaColumns. */
static const char *operand_text(KernelWriter *w, const ProductText *product, const MatrixText *matrix,
                                bool outer, int32_t copy) {
    DType dtype = kernel_emission(w)->graph->values[matrix->value].dtype;
    return kernel_format(w, "%s<%s, %d>{%s + (%s), %s, %s, %s}", outer ? "MmaColumns" : "MmaLines",
                         cuda_type(dtype), copy, kernel_pointer(w, matrix->value),
                         product_matrix_place(w, product, matrix, "place.matrix"),
                         kernel_number(w, matrix->lines), kernel_number(w, product->depth),
                         kernel_number(w, outer ? matrix->step : matrix->line_stride));
}

static const char *store_text(KernelWriter *w, const MmaProblem *product) {
    const Node *node = problem_anchor(kernel_emission(w)->problem);
    const GemmAttrs *attrs = node->op == OP_Gemm ? node->parsed : NULL;
    ValueId c = attrs != NULL ? anchor_input(kernel_emission(w)->problem, 2) : NONE;
    const char *scale =
        sum_scale(w, attrs != NULL ? attrs->alpha : 1, attrs != NULL ? attrs->beta : 1, c, product->sums.cols,
                  sums_are_packs(kernel_emission(w)->problem, &product->sums));
    return sum_store(w, &product->sums, scale);
}

Status mma_matmul_emit(const Config *config, MmaPrecision precision, const char *family, Emission *emission) {
    ProductText text;
    MmaProblem product = product_of(emission->problem, precision, &text);
    KernelWriter *w = mma_begin(emission, family, &product, config);
    TRY_ALLOC(emission->diag, w);
    const char *a = operand_text(w, &text, &text.a, product.outer_a, product.copy_a);
    const char *b = operand_text(w, &text, &text.b, product.outer_b, product.copy_b);
    if (config->number[MMA_SLICES] == 1)
        return mma_finish(w, &product, config, a, b, store_text(w, &product));
    TRY(mma_finish(w, &product, config, a, b, NULL));
    w = kernel_begin(emission, "mma_add_slices");
    TRY_ALLOC(emission->diag, w);
    return mma_add_slices(w, &product, config, store_text(w, &product));
}
