#include "kernels/matmul_text.h"

#include "kernels/chain.h"
#include "kernels/norm_text.h"
#include "ops/matmul.h"

enum { LONGEST_INT_SUM = 33000 /* products of two numbers below 256 in an int */ };

/* -- what it is -- */

static Shape batch_of(const Shape *shape) {
    Shape batch = {.rank = shape->rank > 2 ? shape->rank - 2 : 0};
    for (int32_t i = 0; i < batch.rank; ++i) batch.dim[i] = shape->dim[i];
    return batch;
}

/* A batch of left matrices whose rows follow one another is one tall matrix. */
static bool rows_follow(DimTable *dims, const Shape *shape, const Dim *strides) {
    bool follow = true;
    for (int32_t i = 0; i + 2 < shape->rank; ++i)
        follow = follow && strides[i] == dim_mul(dims, shape->dim[i + 1], strides[i + 1]);
    return follow;
}

/* What the left matrix is read from: elements that are computed are numbered in the order of its layout; what
 * is normalised as it is read lies in memory. */
static void describe_left(const Problem *problem, int32_t input, MatrixText *out) {
    const Node *norm = problem_front_norm(problem);
    out->value = norm != NULL ? norm->inputs[0] : anchor_input(problem, input);
    if (norm == NULL && problem_has_front(problem))
        access_number_strides(problem->graph, out->value, out->stride);
    else
        value_strides(problem->graph, out->value, out->stride);
}

static void describe_matmul(const Problem *problem, int32_t a, int32_t b, ProductText *out) {
    DimTable *dims = problem->graph->dims;
    describe_left(problem, a, &out->a);
    out->b.value = anchor_input(problem, b);
    const Shape *left = &problem_input(problem, a)->shape, *right = &problem_input(problem, b)->shape;
    const Shape *y = &problem_output(problem, 0)->shape;
    value_strides(problem->graph, out->b.value, out->b.stride);
    out->depth = left->dim[left->rank - 1];
    out->rows = left->rank > 1 ? left->dim[left->rank - 2] : 1;
    out->cols = right->rank > 1 ? right->dim[right->rank - 1] : 1;
    out->a.batch = batch_of(left);
    out->b.batch = batch_of(right);
    out->batch.rank = out->a.batch.rank > out->b.batch.rank ? out->a.batch.rank : out->b.batch.rank;
    for (int32_t i = 0; i < out->batch.rank; ++i) out->batch.dim[i] = y->dim[i];
    if (out->b.batch.rank == 0 && rows_follow(dims, left, out->a.stride)) {
        out->rows = dim_mul(dims, out->rows, shape_count(dims, &out->a.batch));
        out->batch.rank = out->a.batch.rank = 0;
    }
    out->a.lines = out->rows;
    out->a.line_stride = left->rank > 1 ? out->a.stride[left->rank - 2] : out->depth;
    out->a.step = out->a.stride[left->rank - 1];
    out->b.lines = out->cols;
    out->b.line_stride = right->rank > 1 ? out->b.stride[right->rank - 1] : 1;
    out->b.step = out->b.stride[right->rank > 1 ? right->rank - 2 : 0];
}

static void describe_gemm(const Problem *problem, ProductText *out) {
    const GemmAttrs *attrs = problem_anchor(problem)->parsed;
    const Dim *a = problem_input(problem, 0)->shape.dim, *b = problem_input(problem, 1)->shape.dim;
    int ta = attrs->trans_a != 0, tb = attrs->trans_b != 0;
    describe_left(problem, 0, &out->a);
    out->b.value = anchor_input(problem, 1);
    value_strides(problem->graph, out->b.value, out->b.stride);
    out->rows = out->a.lines = a[ta];
    out->cols = out->b.lines = b[1 - tb];
    out->depth = a[1 - ta];
    out->a.line_stride = out->a.stride[ta];
    out->a.step = out->a.stride[1 - ta];
    out->b.line_stride = out->b.stride[1 - tb];
    out->b.step = out->b.stride[tb];
}

/* Integers wrap, in half the bits where that is enough; Gemm scales, in double. */
static const char *sum_type(OpId op, DType dtype, Dim depth) {
    if (dtype_is_float(dtype)) return float_type(dtype);
    if (op == OP_Gemm) return "double";
    if (op == OP_MatMul) return dtype_bits(dtype) == 64 ? "unsigned long long" : "unsigned int";
    return dim_is_exact(depth) && depth <= LONGEST_INT_SUM ? "int" : "long long";
}

ProductText product_describe(const Problem *problem) {
    ProductText product = {.a = {.zero = NONE, .scale = NONE},
                           .b = {.zero = NONE, .scale = NONE},
                           .y_scale = NONE,
                           .y_zero = NONE};
    OpId op = problem_anchor(problem)->op;
    if (op == OP_Gemm)
        describe_gemm(problem, &product);
    else
        describe_matmul(problem, 0, op == OP_QLinearMatMul ? 3 : 1, &product);
    if (op == OP_MatMulInteger) {
        product.a.zero = anchor_input(problem, 2);
        product.b.zero = anchor_input(problem, 3);
    }
    if (op == OP_QLinearMatMul) {
        product.a.scale = anchor_input(problem, 1);
        product.a.zero = anchor_input(problem, 2);
        product.b.scale = anchor_input(problem, 4);
        product.b.zero = anchor_input(problem, 5);
        product.y_scale = anchor_input(problem, 6);
        product.y_zero = anchor_input(problem, 7);
    }
    DType a = problem_value(problem, product.a.value)->dtype,
          b = problem_value(problem, product.b.value)->dtype;
    product.type = sum_type(op, dtype_is_float(a) ? a : b, product.depth);
    return product;
}

/* One element, one for each line, or one for each line of each matrix. */
static bool quantizer_fits(const Problem *problem, const MatrixText *matrix, ValueId id) {
    if (id == NONE) return true;
    const Value *value = problem_value(problem, id);
    DimTable *dims = problem->graph->dims;
    Dim all = dim_mul(dims, matrix->lines, shape_count(dims, &matrix->batch));
    return is_quantizer(value, matrix->lines) || is_quantizer(value, all);
}

static bool ranks_fit(const Problem *problem) {
    OpId op = problem_anchor(problem)->op;
    const Value *y = problem_output(problem, 0), *c = problem_input(problem, 2);
    int32_t right = op == OP_QLinearMatMul ? 3 : 1, low = op == OP_Gemm ? 2 : 1;
    int32_t high = op == OP_Gemm ? 2 : SMELT_MAX_RANK;
    if (!input_has_rank(problem, 0, low, high) || !input_has_rank(problem, right, low, high) || y == NULL)
        return false;
    if (op == OP_Gemm) return y->shape.rank == 2 && (c == NULL || c->shape.rank <= 2);
    int32_t a = problem_input(problem, 0)->shape.rank, b = problem_input(problem, right)->shape.rank;
    return y->shape.rank == (a > 2 && a >= b ? a - 2 : b > 2 ? b - 2 : 0) + (a > 1) + (b > 1);
}

static bool depths_fit(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const Shape *a = &problem_input(problem, 0)->shape;
    const Shape *b = &problem_input(problem, node->op == OP_QLinearMatMul ? 3 : 1)->shape;
    if (node->op != OP_Gemm) return a->dim[a->rank - 1] == b->dim[b->rank == 1 ? 0 : b->rank - 2];
    const GemmAttrs *attrs = node->parsed;
    return a->dim[attrs->trans_a != 0 ? 0 : 1] == b->dim[attrs->trans_b != 0 ? 1 : 0];
}

/* Each extent of Gemm's C is 1 or the result's. */
static bool addend_fits(const Problem *problem) {
    const Value *c = problem_input(problem, 2);
    const Shape *y = &problem_output(problem, 0)->shape;
    for (int32_t i = 0; c != NULL && i < c->shape.rank; ++i) {
        Dim own = c->shape.dim[i];
        if (own != 1 && own != y->dim[2 - c->shape.rank + i]) return false;
    }
    return true;
}

/* The matrices may lie anywhere; all else is read plainly, and results are numbered so. */
static bool places_fit(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    int32_t right = node->op == OP_QLinearMatMul ? 3 : 1;
    const Value *y = problem_output(problem, 0);
    bool plain = y->layout == LAYOUT_PLAIN || y->shape.rank < 3;
    for (int32_t i = 1; i < node->input_count; ++i)
        plain = plain && (i == right || node->inputs[i] == NONE || value_is_plain(problem_input(problem, i)));
    return plain;
}

const char *product_refuses(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || (node->op != OP_MatMul && node->op != OP_Gemm && node->op != OP_MatMulInteger &&
                         node->op != OP_QLinearMatMul))
        return "not a matrix product";
    const char *why = refuse_types(problem);
    if (why != NULL) return why;
    if (!ranks_fit(problem)) return "ranks that do not fit";
    if (!places_fit(problem)) return "quantizers, an addend or a result in such a place";
    ProductText product = product_describe(problem);
    if (!depths_fit(problem)) return "depths that may differ";
    if (node->op == OP_Gemm && !addend_fits(problem)) return "an addend that may not fit";
    const MatrixText *sides[] = {&product.a, &product.b};
    for (int i = 0; i < 2; ++i)
        if (!quantizer_fits(problem, sides[i], sides[i]->zero) ||
            !quantizer_fits(problem, sides[i], sides[i]->scale))
            return "a quantizer of unknown size";
    return NULL;
}

/* -- text -- */

const char *product_matrix_place(KernelWriter *w, const ProductText *product, const MatrixText *matrix,
                                 const char *number) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    Dim strides[SMELT_MAX_RANK] = {0};
    int32_t missing = product->batch.rank - matrix->batch.rank;
    for (int32_t i = missing; i < product->batch.rank; ++i)
        strides[i] = dim_mul(dims, matrix->stride[i - missing],
                             access_walks(dims, matrix->batch.dim[i - missing], product->batch.dim[i]));
    Access access = access_strided(dims, product->batch.rank, product->batch.dim, strides);
    return access_index(w, &access, number);
}

/* Number of the operand's matrix for product `batch`. */
static const char *matrix_index(KernelWriter *w, const ProductText *product, const MatrixText *matrix) {
    Access access = access_broadcast(kernel_emission(w)->graph->dims, &matrix->batch, &product->batch);
    return access_index(w, &access, "batch");
}

/* The quantizer's elements for the matrix at hand, and the step from line to line. */
static const char *quantizer_text(KernelWriter *w, const ProductText *product, const MatrixText *matrix,
                                  ValueId id) {
    int64_t count = value_known_count(&kernel_emission(w)->graph->values[id]);
    if (count == 1) return kernel_format(w, "%s, 0", kernel_pointer(w, id));
    if (count == matrix->lines) return kernel_format(w, "%s, 1", kernel_pointer(w, id));
    return kernel_format(w, "%s + (%s) * %s, 1", kernel_pointer(w, id), matrix_index(w, product, matrix),
                         kernel_number(w, matrix->lines));
}

static void write_operand(KernelWriter *w, const ProductText *product, const MatrixText *matrix,
                          const char *name) {
    const Problem *problem = kernel_emission(w)->problem;
    const char *zero = "NoZero{}", *elements;
    bool computed =
        matrix == &product->a && problem_has_front(problem) && problem_front_norm(problem) == NULL;
    elements = computed ? kernel_prologue(w) : kernel_pointer(w, matrix->value);
    if (matrix->zero != NONE)
        zero = kernel_format(w, "ZeroPoint<%s>{%s}", cuda_type(problem_value(problem, matrix->zero)->dtype),
                             quantizer_text(w, product, matrix, matrix->zero));
    kernel_line(w, "const auto %s = matrix_lines<%s>(%s, %s, %s, %s, %s, %s, %s);", name, product->type,
                elements, product_matrix_place(w, product, matrix, "batch"), kernel_number(w, matrix->lines),
                kernel_number(w, product->depth), kernel_number(w, matrix->line_stride),
                kernel_number(w, matrix->step), zero);
}

/* Gemm: "ScaledProduct<float, float>{0x1p+0f, 0x1p+0f, p2, 0, 1}" */
static const char *scaled_text(KernelWriter *w) {
    Emission *emission = kernel_emission(w);
    const Node *node = problem_anchor(emission->problem);
    const GemmAttrs *attrs = node->parsed;
    const Value *a = problem_input(emission->problem, 0), *c = problem_input(emission->problem, 2);
    bool narrow = dtype_is_float(a->dtype) && a->dtype != DTYPE_F64;
    const char *alpha = kernel_text(w, cuda_real_literal(emission->arena, (double)attrs->alpha, narrow));
    const char *beta = kernel_text(w, cuda_real_literal(emission->arena, (double)attrs->beta, narrow));
    const char *type = narrow ? "float" : "double";
    if (c == NULL)
        return kernel_format(w, "ScaledProduct<%s, float>{%s, %s, nullptr, 0, 0}", type, alpha, beta);
    DimTable *dims = emission->graph->dims;
    Dim cols = c->shape.rank > 0 ? c->shape.dim[c->shape.rank - 1] : 1,
        lines = c->shape.rank == 2 ? c->shape.dim[0] : 1;
    Dim col_stride = dim_min(dims, 1, dim_sub(dims, cols, 1));
    Dim row_stride = dim_mul(dims, cols, dim_min(dims, 1, dim_sub(dims, lines, 1)));
    return kernel_format(w, "ScaledProduct<%s, %s>{%s, %s, %s, %s, %s}", type, cuda_type(c->dtype), alpha,
                         beta, kernel_pointer(w, node->inputs[2]), kernel_number(w, row_stride),
                         kernel_number(w, col_stride));
}

static const char *requantized_text(KernelWriter *w, const ProductText *product) {
    const Value *values = kernel_emission(w)->graph->values;
    return kernel_format(w, "RequantizedProduct<%s, %s, %s, %s, %s>{%s, %s, %s, %s}",
                         dtype_is_integer(values[product->y_zero].dtype) ? "true" : "false",
                         cuda_type(values[product->a.scale].dtype), cuda_type(values[product->b.scale].dtype),
                         cuda_type(values[product->y_scale].dtype), cuda_type(values[product->y_zero].dtype),
                         quantizer_text(w, product, &product->a, product->a.scale),
                         quantizer_text(w, product, &product->b, product->b.scale),
                         kernel_pointer(w, product->y_scale), kernel_pointer(w, product->y_zero));
}

void product_operands(KernelWriter *w, const ProductText *product) {
    write_operand(w, product, &product->a, "a");
    write_operand(w, product, &product->b, "b");
}

void product_begin(KernelWriter *w, const ProductText *product) {
    kernel_include(w, "matmul.cuh");
    kernel_line(w, "const Index batch = batch_index();");
    kernel_line(w, "if (batch >= %s) return;",
                kernel_number(w, shape_count(kernel_emission(w)->graph->dims, &product->batch)));
    product_operands(w, product);
}

const char *product_left(KernelWriter *w, const ProductText *product, int32_t count, const char *first) {
    if (problem_front_norm(kernel_emission(w)->problem) == NULL) return "a";
    norm_write_lines(w, "a", product->type, count, first);
    return "normal";
}

/* "64, 64, PlainProduct{}, Epilogue{r0}" */
static const char *store_arguments(KernelWriter *w, const ProductText *product) {
    OpId op = problem_anchor(kernel_emission(w)->problem)->op;
    const char *finish = "PlainProduct{}";
    if (op == OP_Gemm) finish = scaled_text(w);
    if (op == OP_QLinearMatMul) finish = requantized_text(w, product);
    return kernel_format(w, "%s, %s, %s, %s", kernel_number(w, product->rows),
                         kernel_number(w, product->cols), finish, kernel_epilogue(w));
}

const char *product_store(KernelWriter *w, const ProductText *product) {
    return kernel_format(w, "matrix_store(batch, %s)", store_arguments(w, product));
}

const char *product_make_store(KernelWriter *w, const ProductText *product) {
    return kernel_format(w, "make_matrix_store(%s)", store_arguments(w, product));
}

Status product_finish(KernelWriter *w, const ProductText *product, Dim blocks_x, int32_t threads) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    Dim batch = shape_count(dims, &product->batch);
    return kernel_finish(w, blocks_x, dim_min(dims, batch, MOST_GRID_YZ),
                         dim_ceil_div(dims, batch, MOST_GRID_YZ), threads, 0);
}
