/* MatMul, Gemm, MatMulInteger and QLinearMatMul. */
#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "ops/gemm.h"
#include "ops/kit.h"
#include "ops/matmul.h"
#include "ops/widen.h"

/* -- shapes -- */

Status parse_MatMul(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status parse_MatMulInteger(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status parse_QLinearMatMul(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

static Status check_depth(InferCtx *ctx, Dim a, Dim b) {
    if (!dim_is_exact(a) || !dim_is_exact(b) || a == b) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "the left matrix has %lld columns, the right one %lld rows",
                (long long)a, (long long)b);
}

/* Shape of the product of inputs a and b as numpy's matmul defines it. */
static Status infer_product(InferCtx *ctx, int32_t a, int32_t b, DType dtype) {
    TRY(kit_expect_rank(ctx, a, 1, SMELT_MAX_RANK));
    TRY(kit_expect_rank(ctx, b, 1, SMELT_MAX_RANK));
    const Shape *left = &ctx->inputs[a]->shape, *right = &ctx->inputs[b]->shape;
    TRY(check_depth(ctx, left->dim[left->rank - 1], right->dim[right->rank == 1 ? 0 : right->rank - 2]));
    Shape left_batch = *left, right_batch = *right, *out = &ctx->outputs[0].shape;
    left_batch.rank = left->rank > 2 ? left->rank - 2 : 0;
    right_batch.rank = right->rank > 2 ? right->rank - 2 : 0;
    TRY(kit_broadcast(ctx, &left_batch, &right_batch, out));
    if (left->rank > 1) out->dim[out->rank++] = left->dim[left->rank - 2];
    if (right->rank > 1) out->dim[out->rank++] = right->dim[right->rank - 1];
    ctx->outputs[0].dtype = dtype;
    return STATUS_OK;
}

static Status expect_number(InferCtx *ctx, int32_t input) {
    DType found = ctx->inputs[input]->dtype;
    if (dtype_is_float(found) || dtype_is_integer(found)) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected numbers", input, dtype_name(found));
}

Status infer_MatMul(InferCtx *ctx) {
    TRY(expect_number(ctx, 0));
    TRY(kit_expect_dtype_like(ctx, 1, 0));
    return infer_product(ctx, 0, 1, ctx->inputs[0]->dtype);
}

/* A zero point or scale has one element, or one for each of the matrix's rows (columns), in every batch entry
 * or the same for all. */
static Status check_quantizer(InferCtx *ctx, int32_t input, int32_t of, bool rows) {
    const TypeInfo *info = infer_input(ctx, input);
    const Shape *matrix = &ctx->inputs[of]->shape;
    if (info == NULL || matrix->rank == 0)
        return STATUS_OK; /* scalars are no matrices: infer_product says so */
    Dim count = shape_count(ctx->dims, &info->shape), all = shape_count(ctx->dims, matrix);
    int32_t axis = matrix->rank - (rows ? 2 : 1);
    Dim lines = axis < 0 || (!rows && matrix->rank == 1) ? 1 : matrix->dim[axis];
    if (!dim_is_exact(count) || !dim_is_exact(all) || count == 1 || count == lines) return STATUS_OK;
    Dim depth = matrix->dim[rows ? matrix->rank - 1 : max_i64(matrix->rank - 2, 0)];
    if (depth > 0 && count == all / depth) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d has %lld elements, expected 1 or %lld", input,
                (long long)count, (long long)lines);
}

static Status expect_quantized(InferCtx *ctx, int32_t input) {
    DType found = ctx->inputs[input]->dtype;
    if (found != DTYPE_NONE && dtype_bits(found) == 8 && found != DTYPE_BOOL) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected an 8-bit tensor", input,
                dtype_name(found));
}

Status infer_MatMulInteger(InferCtx *ctx) {
    TRY(expect_quantized(ctx, 0));
    TRY(expect_quantized(ctx, 1));
    TRY(check_quantizer(ctx, 2, 0, true));
    TRY(check_quantizer(ctx, 3, 1, false));
    return infer_product(ctx, 0, 1, DTYPE_I32);
}

Status infer_QLinearMatMul(InferCtx *ctx) {
    TRY(expect_quantized(ctx, 0));
    TRY(expect_quantized(ctx, 3));
    TRY(expect_quantized(ctx, 7));
    for (int32_t i = 1; i <= 2; ++i) {
        TRY(check_quantizer(ctx, i, 0, true));
        TRY(check_quantizer(ctx, 3 + i, 3, false));
        if (dim_is_exact(shape_count(ctx->dims, &ctx->inputs[5 + i]->shape)) &&
            shape_count(ctx->dims, &ctx->inputs[5 + i]->shape) != 1)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is not a scalar", 5 + i);
    }
    return infer_product(ctx, 0, 3, ctx->inputs[7]->dtype);
}

Status parse_Gemm(const ParseCtx *ctx, const void **attrs) {
    GemmAttrs *own = ARENA_NEW(ctx->arena, GemmAttrs);
    TRY_ALLOC(ctx->diag, own);
    TRY(attr_float(ctx->list, "alpha", 1.0f, &own->alpha, ctx->diag));
    TRY(attr_float(ctx->list, "beta", 1.0f, &own->beta, ctx->diag));
    TRY(attr_int(ctx->list, "transA", 0, &own->trans_a, ctx->diag));
    TRY(attr_int(ctx->list, "transB", 0, &own->trans_b, ctx->diag));
    *attrs = own;
    return STATUS_OK;
}

/* C must broadcast to the output, not the other way round. */
static Status check_addend(InferCtx *ctx, const Shape *out) {
    TRY(kit_expect_dtype_like(ctx, 2, 0));
    TRY(kit_expect_rank(ctx, 2, 0, 2));
    const Shape *c = &ctx->inputs[2]->shape;
    for (int32_t i = 0; i < c->rank; ++i) {
        Dim own = c->dim[i], wanted = out->dim[2 - c->rank + i];
        if (dim_is_exact(own) && dim_is_exact(wanted) && own != 1 && own != wanted)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "input 2 has extent %lld on axis %d, the product %lld",
                        (long long)own, i, (long long)wanted);
    }
    return STATUS_OK;
}

Status infer_Gemm(InferCtx *ctx) {
    const GemmAttrs *attrs = ctx->attrs;
    TRY(expect_number(ctx, 0));
    TRY(kit_expect_dtype_like(ctx, 1, 0));
    TRY(kit_expect_rank(ctx, 0, 2, 2));
    TRY(kit_expect_rank(ctx, 1, 2, 2));
    const Dim *a = ctx->inputs[0]->shape.dim, *b = ctx->inputs[1]->shape.dim;
    int ta = attrs->trans_a != 0, tb = attrs->trans_b != 0;
    TRY(check_depth(ctx, a[1 - ta], b[tb]));
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    ctx->outputs[0].shape = (Shape){.rank = 2, .dim = {a[ta], b[1 - tb]}};
    if (infer_input(ctx, 2) != NULL) TRY(check_addend(ctx, &ctx->outputs[0].shape));
    return STATUS_OK;
}

/* -- kernels -- */

/* One operand: a batch of matrices in a tensor, maybe with zero points and scales. */
typedef struct Operand {
    const Tensor *tensor, *zero, *scale; /* the latter two may be NULL */
    int64_t line_stride;                 /* elements from a row of A, a column of B to the next */
    int64_t step;                        /* elements from one product term to the next */
    int64_t lines;                       /* rows of A, columns of B */
    int64_t batch_stride[SMELT_MAX_RANK];
} Operand;

typedef struct Product {
    Gemm gemm;
    Operand a, b;
    Tensor *y;
    double alpha; /* of Gemm */
    const Tensor *y_zero, *y_scale;
    int32_t batch_rank;
    int64_t batch_dim[SMELT_MAX_RANK];
} Product;

/* Element at which the matrix of product `batch` begins. */
static int64_t operand_base(const Product *product, const Operand *operand, int64_t batch) {
    int64_t base = 0;
    for (int32_t i = product->batch_rank - 1; i >= 0; --i) {
        base += batch % product->batch_dim[i] * operand->batch_stride[i];
        batch /= product->batch_dim[i];
    }
    return base;
}

/* Which element of a quantizer belongs to a line of the operand. base: see operand_base. */
static double quantizer_of(const Operand *operand, const Tensor *quantizer, int64_t base, int64_t line,
                           double fallback) {
    if (quantizer == NULL) return fallback;
    int64_t count = tensor_count(quantizer), index = count == 1 ? 0 : line;
    if (count > operand->lines) {
        int64_t depth = tensor_count(operand->tensor) / count; /* a quantizer for each matrix */
        index = base / max_i64(depth * operand->lines, 1) * operand->lines + line;
    }
    return dtype_load_f64(quantizer->dtype, quantizer->data, index);
}

static void subtract(int64_t count, double zero, double *values) {
    for (int64_t i = 0; i < count; ++i) values[i] -= zero;
}

/* Part of a line of an operand. */
static const void *read_line(const Product *product, const Operand *operand, int64_t batch, int64_t line,
                             int64_t k, int64_t depth, void *buffer) {
    int64_t base = operand_base(product, operand, batch);
    const void *from =
        gemm_read(product->gemm.type, operand->tensor, base + line * operand->line_stride + k * operand->step,
                  operand->step, depth, buffer);
    double zero = quantizer_of(operand, operand->zero, base, line, 0);
    if (zero != 0) subtract(depth, zero, buffer);
    return from;
}

static const void *row_a(const void *context, int64_t batch, int64_t row, int64_t k, int64_t depth,
                         void *buffer) {
    const Product *product = context;
    const void *from = read_line(product, &product->a, batch, row, k, depth, buffer);
    if (product->alpha == 1) return from;
    if (product->gemm.type == GEMM_F32)
        for (int64_t i = 0; i < depth; ++i)
            ((float *)buffer)[i] = ((const float *)from)[i] * (float)product->alpha;
    else
        for (int64_t i = 0; i < depth; ++i)
            ((double *)buffer)[i] = ((const double *)from)[i] * product->alpha;
    return buffer;
}

static const void *col_b(const void *context, int64_t batch, int64_t col, int64_t k, int64_t depth,
                         void *buffer) {
    const Product *product = context;
    return read_line(product, &product->b, batch, col, k, depth, buffer);
}

static const void *row_b(const void *context, int64_t batch, int64_t k, int64_t col, int64_t cols,
                         void *buffer) {
    const Product *product = context;
    const Operand *b = &product->b;
    int64_t base = operand_base(product, b, batch);
    const void *from = gemm_read(product->gemm.type, b->tensor, base + k * b->step + col * b->line_stride,
                                 b->line_stride, cols, buffer);
    if (b->zero != NULL && tensor_count(b->zero) == 1)
        subtract(cols, quantizer_of(b, b->zero, base, col, 0), buffer);
    else
        for (int64_t i = 0; b->zero != NULL && i < cols; ++i)
            ((double *)buffer)[i] -= quantizer_of(b, b->zero, base, col + i, 0);
    return from;
}

static void store_block(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col,
                        int64_t cols, const void *block, int64_t ld) {
    const Product *product = context;
    DType dtype = product->y->dtype;
    for (int64_t r = 0; r < rows; ++r) {
        int64_t to = (batch * product->gemm.m + row + r) * product->gemm.n + col;
        if (product->gemm.type == GEMM_I64)
            dtype_write_i64(dtype, product->y->data, to, cols, (const int64_t *)block + r * ld);
        else
            dtype_write_f64(dtype, product->y->data, to, cols, (const double *)block + r * ld);
    }
}

enum { STORE_BLOCK = 256 };

SIMD_CLONES static void rescale(int64_t count, const double *sums, float row_scale, const float *col_scales,
                                float y_scale, bool round, double zero, double *to) {
    for (int64_t i = 0; i < count; ++i)
        to[i] = (double)((float)sums[i] * (row_scale * col_scales[i] / y_scale));
    for (int64_t i = 0; i < count; ++i) to[i] = (round ? rint(to[i]) : to[i]) + zero;
}

/* Sums of quantized products, rescaled in f32 (see conv.c). */
static void store_quantized(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col,
                            int64_t cols, const void *block, int64_t ld) {
    const Product *product = context;
    Tensor *y = product->y;
    int64_t base_a = operand_base(product, &product->a, batch);
    int64_t base_b = operand_base(product, &product->b, batch);
    float y_scale = (float)kit_real(product->y_scale, 0), col_scales[STORE_BLOCK];
    double y_zero = kit_real(product->y_zero, 0), values[STORE_BLOCK];
    bool integer = dtype_is_integer(y->dtype);
    for (int64_t j = 0; j < cols; j += STORE_BLOCK) {
        int64_t count = min_i64(STORE_BLOCK, cols - j);
        for (int64_t i = 0; i < count; ++i)
            col_scales[i] = (float)quantizer_of(&product->b, product->b.scale, base_b, col + j + i, 1);
        for (int64_t r = 0; r < rows; ++r) {
            float row_scale = (float)quantizer_of(&product->a, product->a.scale, base_a, row + r, 1);
            rescale(count, (const double *)block + r * ld + j, row_scale, col_scales, y_scale, integer,
                    y_zero, values);
            dtype_write_f64(y->dtype, y->data,
                            (batch * product->gemm.m + row + r) * product->gemm.n + col + j, count, values);
        }
    }
}

/* Strides of the batch axes of an operand within the broadcast batch; 0 where it repeats. */
static void set_batch(Product *product, Operand *operand) {
    const Tensor *tensor = operand->tensor;
    int32_t own = tensor->rank > 2 ? tensor->rank - 2 : 0;
    int64_t stride = tensor->rank > 2 ? tensor_span(tensor, own, tensor->rank) : 0;
    memset(operand->batch_stride, 0, sizeof operand->batch_stride);
    for (int32_t i = own - 1; i >= 0; --i) {
        operand->batch_stride[product->batch_rank - own + i] = tensor->dim[i] == 1 ? 0 : stride;
        stride *= tensor->dim[i];
    }
}

/* A batch of left matrices times one right matrix is one tall matrix times it. */
static void fold_batch(Product *product) {
    Gemm *gemm = &product->gemm;
    if (product->b.tensor->rank > 2 || product->a.tensor->rank <= 2) return;
    gemm->m *= gemm->batch;
    gemm->batch = 1;
    product->batch_rank = 0;
    product->a.lines = gemm->m;
}

static void product_make(const KernelCtx *ctx, int32_t a, int32_t b, Product *product) {
    const Tensor *left = ctx->inputs[a], *right = ctx->inputs[b];
    memset(product, 0, sizeof *product);
    product->y = ctx->outputs[0];
    product->alpha = 1;
    Gemm *gemm = &product->gemm;
    int64_t k = left->dim[left->rank - 1];
    gemm->k = k;
    gemm->m = left->rank > 1 ? left->dim[left->rank - 2] : 1;
    gemm->n = right->rank > 1 ? right->dim[right->rank - 1] : 1;
    gemm->batch = 1;
    product->a = (Operand){.tensor = left, .line_stride = k, .step = 1, .lines = gemm->m};
    product->b = (Operand){.tensor = right, .line_stride = 1, .step = gemm->n, .lines = gemm->n};
    int32_t left_rank = left->rank > 2 ? left->rank - 2 : 0,
            right_rank = right->rank > 2 ? right->rank - 2 : 0;
    product->batch_rank = left_rank > right_rank ? left_rank : right_rank;
    for (int32_t i = 0; i < product->batch_rank; ++i)
        gemm->batch *= product->batch_dim[i] = product->y->dim[i];
    set_batch(product, &product->a);
    set_batch(product, &product->b);
    gemm->row_a = row_a;
    gemm->row_b = row_b;
}

/* Computing type by dtype; results go to memory where it holds that type. */
static void set_type(Product *product, GemmType type) {
    DType dtype = product->y->dtype;
    product->gemm.type = type;
    product->gemm.context = product;
    product->gemm.c = product->y->data;
    bool direct = type == GEMM_I64 ? dtype == DTYPE_I64 || dtype == DTYPE_U64
                                   : dtype == (type == GEMM_F32 ? DTYPE_F32 : DTYPE_F64);
    product->gemm.store = direct ? NULL : store_block;
}

static void make_MatMul(const KernelCtx *ctx, Product *product) {
    product_make(ctx, 0, 1, product);
    fold_batch(product);
    set_type(product, gemm_type_of(product->y->dtype));
}

/* Products of bytes are exact in double, which multiplies faster than integers do. */
static void make_MatMulInteger(const KernelCtx *ctx, Product *product) {
    product_make(ctx, 0, 1, product);
    product->a.zero = kernel_input(ctx, 2);
    product->b.zero = kernel_input(ctx, 3);
    set_type(product, GEMM_F64);
}

static void make_QLinearMatMul(const KernelCtx *ctx, Product *product) {
    product_make(ctx, 0, 3, product);
    product->a.scale = ctx->inputs[1];
    product->a.zero = ctx->inputs[2];
    product->b.scale = ctx->inputs[4];
    product->b.zero = ctx->inputs[5];
    product->y_scale = ctx->inputs[6];
    product->y_zero = ctx->inputs[7];
    set_type(product, GEMM_F64);
    product->gemm.store = store_quantized;
}

static size_t product_scratch(const KernelCtx *ctx, const Product *product) {
    return gemm_scratch(&product->gemm, kit_worker_count(ctx));
}

static Status product_run(const KernelCtx *ctx, const Product *product) {
    return gemm_run(&product->gemm, ctx->host, ctx->host->scratch, ctx->host->scratch_size, ctx->diag);
}

static size_t scratch_matmul(const KernelCtx *ctx) {
    Product product;
    make_MatMul(ctx, &product);
    return product_scratch(ctx, &product);
}

static Status run_matmul(KernelCtx *ctx) {
    Product product;
    make_MatMul(ctx, &product);
    return product_run(ctx, &product);
}

size_t scratch_MatMul(const KernelCtx *ctx) {
    return widen_scratch(ctx, scratch_matmul);
}

Status kernel_MatMul(KernelCtx *ctx) {
    return widen_run(ctx, run_matmul);
}

size_t scratch_MatMulInteger(const KernelCtx *ctx) {
    Product product;
    make_MatMulInteger(ctx, &product);
    return product_scratch(ctx, &product);
}

Status kernel_MatMulInteger(KernelCtx *ctx) {
    Product product;
    make_MatMulInteger(ctx, &product);
    return product_run(ctx, &product);
}

size_t scratch_QLinearMatMul(const KernelCtx *ctx) {
    Product product;
    make_QLinearMatMul(ctx, &product);
    return product_scratch(ctx, &product);
}

Status kernel_QLinearMatMul(KernelCtx *ctx) {
    Product product;
    make_QLinearMatMul(ctx, &product);
    return product_run(ctx, &product);
}

/* beta * C at row, column of the output; 0 without C. */
static double addend_at(const KernelCtx *ctx, int64_t row, int64_t col) {
    const Tensor *c = kernel_input(ctx, 2);
    if (c == NULL) return 0;
    int64_t rows = c->rank == 2 ? c->dim[0] : 1, cols = c->rank > 0 ? c->dim[c->rank - 1] : 1;
    int64_t index = (rows == 1 ? 0 : row) * cols + (cols == 1 ? 0 : col);
    return (double)((const GemmAttrs *)ctx->attrs)->beta * dtype_load_f64(c->dtype, c->data, index);
}

/* Gemm where the product is not computed in the output's own type. */
typedef struct ConvertedGemm {
    Product product; /* first: the callbacks of Product get a pointer to it */
    const KernelCtx *ctx;
} ConvertedGemm;

static void store_converted(const void *context, int64_t batch, int64_t row, int64_t rows, int64_t col,
                            int64_t cols, const void *block, int64_t ld) {
    const ConvertedGemm *converted = context;
    Tensor *y = converted->product.y;
    (void)batch;
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t j = 0; j < cols; ++j)
            dtype_store_f64(y->dtype, y->data, (row + r) * converted->product.gemm.n + col + j,
                            ((const double *)block)[r * ld + j] +
                                addend_at(converted->ctx, row + r, col + j));
}

/* f32 and f64 start from beta * C in place; everything else is converted when stored. */
static void make_Gemm(const KernelCtx *ctx, ConvertedGemm *converted) {
    const GemmAttrs *attrs = ctx->attrs;
    const Tensor *a = ctx->inputs[0], *b = ctx->inputs[1];
    int ta = attrs->trans_a != 0, tb = attrs->trans_b != 0;
    Product *product = &converted->product;
    memset(converted, 0, sizeof *converted);
    converted->ctx = ctx;
    product->y = ctx->outputs[0];
    product->alpha = (double)attrs->alpha;
    Gemm *gemm = &product->gemm;
    *gemm = (Gemm){.batch = 1, .m = a->dim[ta], .n = b->dim[1 - tb], .k = a->dim[1 - ta], .row_a = row_a};
    product->a = (Operand){.tensor = a, .lines = gemm->m};
    product->a.line_stride = ta ? 1 : gemm->k;
    product->a.step = ta ? gemm->m : 1;
    product->b = (Operand){.tensor = b, .lines = gemm->n};
    product->b.line_stride = tb ? gemm->k : 1;
    product->b.step = tb ? 1 : gemm->n;
    if (tb)
        gemm->col_b = col_b;
    else
        gemm->row_b = row_b;
    DType dtype = product->y->dtype;
    set_type(product, dtype == DTYPE_F32 ? GEMM_F32 : GEMM_F64);
    if (gemm->store != NULL) gemm->store = store_converted;
}

/* Sets a row of the output to beta * C. */
static void start_row(const KernelCtx *ctx, int64_t row) {
    const Tensor *c = ctx->inputs[2], *y = ctx->outputs[0];
    float beta = ((const GemmAttrs *)ctx->attrs)->beta;
    int64_t cols = y->dim[1];
    if (y->dtype == DTYPE_F32 && c->rank > 0 && c->dim[c->rank - 1] == cols) {
        const float *from = (const float *)c->data + (c->rank == 2 && c->dim[0] != 1 ? row * cols : 0);
        float *to = (float *)y->data + row * cols;
        for (int64_t j = 0; j < cols; ++j) to[j] = beta * from[j];
        return;
    }
    for (int64_t j = 0; j < cols; ++j)
        dtype_store_f64(y->dtype, y->data, row * cols + j, addend_at(ctx, row, j));
}

static size_t scratch_gemm(const KernelCtx *ctx) {
    ConvertedGemm converted;
    make_Gemm(ctx, &converted);
    return product_scratch(ctx, &converted.product);
}

static Status run_gemm(KernelCtx *ctx) {
    ConvertedGemm converted;
    make_Gemm(ctx, &converted);
    Product *product = &converted.product;
    product->gemm.accumulate = product->gemm.store == NULL && kernel_input(ctx, 2) != NULL;
    for (int64_t i = 0; product->gemm.accumulate && i < product->gemm.m; ++i) start_row(ctx, i);
    return product_run(ctx, product);
}

size_t scratch_Gemm(const KernelCtx *ctx) {
    return widen_scratch(ctx, scratch_gemm);
}

Status kernel_Gemm(KernelCtx *ctx) {
    return widen_run(ctx, run_gemm);
}
