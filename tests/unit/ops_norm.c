#include "op_values.h"

/* Softmax of the elements x[base + k * stride], in double. */
static void check_softmax_line(const Tensor *in, const Tensor *out, int64_t base, int64_t stride,
                               int64_t count, bool logarithm, double tolerance, int *wrong) {
    double largest = -INFINITY, sum = 0;
    for (int64_t k = 0; k < count; ++k) largest = fmax(largest, op_run_at(in, base + k * stride));
    for (int64_t k = 0; k < count; ++k) sum += exp(op_run_at(in, base + k * stride) - largest);
    for (int64_t k = 0; k < count; ++k) {
        double shifted = op_run_at(in, base + k * stride) - largest;
        double expected = logarithm ? shifted - log(sum) : exp(shifted) / sum;
        *wrong += fabs(op_run_at(out, base + k * stride) - expected) > tolerance * (1 + fabs(expected));
    }
}

static void check_softmax(const char *op, DType dtype, int64_t axis, ThreadPool *pool, int32_t alias) {
    static const int64_t dims[] = {3, 300, 70};
    static const int64_t stride[] = {21000, 70, 1};
    OpRun run = {.pool = pool, .alias = alias};
    CHECK(attr_set_int(&run.attrs, &run.arena, "axis", axis - 3));
    Tensor in = *op_noise(&run, dtype, 3, dims, -60, 60);
    in.data = arena_alloc(&run.arena, tensor_bytes(&in));
    memcpy(in.data, run.input[0].data, tensor_bytes(&in)); /* the run may overwrite its input */
    CHECK_OK(op_run_name(&run, op, 1), &run.diag);
    int wrong = 0;
    double tolerance = dtype == DTYPE_F16 ? 1e-3 : dtype == DTYPE_F32 ? 2e-6 : 1e-12;
    for (int64_t i = 0, n = tensor_count(&in); i < n; ++i)
        if (i / stride[axis] % dims[axis] == 0)
            check_softmax_line(&in, &run.output[0], i, stride[axis], dims[axis], op[0] == 'L', tolerance,
                               &wrong);
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void test_softmax(ThreadPool *pool) {
    static const DType dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_F64};
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; ++d)
        for (int64_t axis = 0; axis < 3; ++axis)
            for (int32_t alias = 0; alias < 2; ++alias) {
                check_softmax("Softmax", dtypes[d], axis, pool, alias);
                check_softmax("LogSoftmax", dtypes[d], axis, pool, alias);
            }
}

static void test_hardmax(void) {
    static const double x[] = {1, 3, 3, 2};
    OpRun run = {0};
    op_values(&run, DTYPE_F32, 4, x);
    CHECK_OK(op_run_name(&run, "Hardmax", 1), &run.diag);
    for (int i = 0; i < 4; ++i) CHECK_INT(op_run_at(&run.output[0], i), i == 1);
    op_run_end(&run);
}

/* Mean and mean square deviation of count elements. */
static void moments(const Tensor *x, int64_t first, int64_t count, double *mean, double *variance) {
    *mean = *variance = 0;
    for (int64_t i = 0; i < count; ++i) *mean += op_run_at(x, first + i) / (double)count;
    for (int64_t i = 0; i < count; ++i) {
        double d = op_run_at(x, first + i) - *mean;
        *variance += d * d / (double)count;
    }
}

/* Scales of every shape that broadcasts: whole row, part of it, per outer index, scalar. */
static void check_layer(DType dtype, int32_t scale_rank, const int64_t *scale_dims, ThreadPool *pool) {
    static const int64_t dims[] = {5, 4, 33, 20};
    OpRun run = {.pool = pool};
    CHECK(attr_set_int(&run.attrs, &run.arena, "axis", 2));
    CHECK(attr_set_float(&run.attrs, &run.arena, "epsilon", 0.25f));
    const Tensor *x = op_noise(&run, dtype, 4, dims, -2, 6);
    const Tensor *scale = op_noise(&run, dtype, scale_rank, scale_dims, 0.5, 2);
    const Tensor *bias = op_noise(&run, dtype, 1, &dims[3], -1, 1);
    CHECK_OK(op_run_name(&run, "LayerNormalization", 3), &run.diag);
    int wrong = 0;
    double mean = 0, variance = 0;
    for (int64_t i = 0, n = tensor_count(x); i < n; ++i) {
        int64_t row = i / 660, at[4] = {i / 2640, i / 660 % 4, i / 20 % 33, i % 20}, s = 0;
        if (i % 660 == 0) moments(x, row * 660, 660, &mean, &variance);
        for (int32_t k = 0; k < scale_rank; ++k)
            s = s * scale_dims[k] + (scale_dims[k] == 1 ? 0 : at[4 - scale_rank + k]);
        double expected =
            (op_run_at(x, i) - mean) / sqrt(variance + 0.25) * op_run_at(scale, s) + op_run_at(bias, i % 20);
        wrong += fabs(op_run_at(&run.output[0], i) - expected) > (dtype == DTYPE_F16 ? 5e-3 : 1e-5);
        if (i % 660 == 0) {
            CHECK_NEAR(op_run_at(&run.output[1], row), mean, 1e-5);
            CHECK_NEAR(op_run_at(&run.output[2], row), 1 / sqrt(variance + 0.25), 1e-5);
        }
    }
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void test_layer(ThreadPool *pool) {
    static const int64_t shapes[][4] = {{33, 20}, {20}, {33, 1}, {5, 1, 1, 20}, {1}, {4, 1, 1}};
    static const int32_t ranks[] = {2, 1, 2, 4, 1, 3};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; ++i) {
        check_layer(DTYPE_F32, ranks[i], shapes[i], pool);
        check_layer(DTYPE_F16, ranks[i], shapes[i], pool);
        check_layer(DTYPE_F64, ranks[i], shapes[i], pool);
    }
}

static void test_rms(void) {
    static const int64_t dims[] = {3, 1000};
    OpRun run = {0};
    const Tensor *x = op_noise(&run, DTYPE_F32, 2, dims, -2, 6);
    const Tensor *scale = op_noise(&run, DTYPE_F32, 1, &dims[1], -2, 2);
    CHECK_OK(op_run_name(&run, "RMSNormalization", 1), &run.diag);
    int wrong = 0;
    for (int64_t i = 0; i < 3000; ++i) {
        double square = 0;
        for (int64_t k = 0; k < 1000; ++k) square += pow(op_run_at(x, i / 1000 * 1000 + k), 2) / 1000;
        double expected = op_run_at(x, i) / sqrt(square + 1e-5) * op_run_at(scale, i % 1000);
        wrong += fabs(op_run_at(&run.output[0], i) - expected) > 1e-5;
    }
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

/* groups 0: Instance. In 1-D to 3-D space. */
static void check_channels(int64_t groups, int32_t rank, DType dtype, ThreadPool *pool) {
    static const int64_t dims[] = {2, 6, 7, 11, 13};
    OpRun run = {.pool = pool};
    if (groups != 0) CHECK(attr_set_int(&run.attrs, &run.arena, "num_groups", groups));
    const Tensor *x = op_noise(&run, dtype, rank, dims, -1, 30);
    const Tensor *scale = op_noise(&run, dtype, 1, &dims[1], 0.5, 2),
                 *bias = op_noise(&run, dtype, 1, &dims[1], -1, 1);
    CHECK_OK(op_run_name(&run, groups == 0 ? "InstanceNormalization" : "GroupNormalization", 1), &run.diag);
    int64_t space = tensor_span(x, 2, rank), row = (groups == 0 ? 1 : 6 / groups) * space;
    int wrong = 0;
    double mean = 0, variance = 0;
    for (int64_t i = 0, n = tensor_count(x); i < n; ++i) {
        int64_t c = i / space % 6;
        if (i % row == 0) moments(x, i, row, &mean, &variance);
        double expected =
            (op_run_at(x, i) - mean) / sqrt(variance + 1e-5) * op_run_at(scale, c) + op_run_at(bias, c);
        wrong += fabs(op_run_at(&run.output[0], i) - expected) > (dtype == DTYPE_BF16 ? 3e-2 : 1e-4);
    }
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void test_batch(void) {
    static const int64_t dims[] = {2, 5, 9};
    OpRun run = {0};
    const Tensor *x = op_noise(&run, DTYPE_F32, 3, dims, -3, 3);
    for (int k = 0; k < 4; ++k) op_noise(&run, k < 2 ? DTYPE_F32 : DTYPE_F64, 1, &dims[1], 0.5, 2);
    CHECK_OK(op_run_name(&run, "BatchNormalization", 1), &run.diag);
    for (int64_t i = 0; i < 90; ++i) {
        int64_t c = i / 9 % 5;
        double expected = (op_run_at(x, i) - op_run_at(&run.input[3], c)) /
                              sqrt(op_run_at(&run.input[4], c) + 1e-5) * op_run_at(&run.input[1], c) +
                          op_run_at(&run.input[2], c);
        CHECK_NEAR(op_run_at(&run.output[0], i), expected, 1e-5);
    }
    op_run_end(&run);
    CHECK(attr_set_int(&run.attrs, &run.arena, "training_mode", 1));
    for (int k = 0; k < 5; ++k) op_input(&run, DTYPE_F32, k == 0 ? 3 : 1, k == 0 ? dims : &dims[1]);
    CHECK_INT(op_run_name(&run, "BatchNormalization", 1), STATUS_UNSUPPORTED);
    op_run_end(&run);
}

static void test_lrn(void) {
    static const int64_t dims[] = {2, 9, 5, 60};
    OpRun run = {0};
    CHECK(attr_set_int(&run.attrs, &run.arena, "size", 4));
    CHECK(attr_set_float(&run.attrs, &run.arena, "alpha", 0.5f));
    const Tensor *x = op_noise(&run, DTYPE_F32, 4, dims, -3, 3);
    CHECK_OK(op_run_name(&run, "LRN", 1), &run.diag);
    int wrong = 0;
    for (int64_t i = 0, n = tensor_count(x); i < n; ++i) {
        int64_t c = i / 300 % 9;
        double sum = 0;
        for (int64_t k = c - 1; k <= c + 2; ++k)
            if (k >= 0 && k < 9) sum += pow(op_run_at(x, i + (k - c) * 300), 2);
        double expected = op_run_at(x, i) / pow(1 + 0.125 * sum, 0.75);
        wrong += fabs(op_run_at(&run.output[0], i) - expected) > 1e-5;
    }
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void test_lp(void) {
    static const double x[] = {3, -4, 0};
    for (int p = 1; p <= 2; ++p) {
        OpRun run = {0};
        CHECK(attr_set_int(&run.attrs, &run.arena, "p", p));
        op_values(&run, DTYPE_F32, 3, x);
        CHECK_OK(op_run_name(&run, "LpNormalization", 1), &run.diag);
        CHECK_NEAR(op_run_at(&run.output[0], 1), p == 1 ? -4.0 / 7 : -0.8, 1e-6);
        op_run_end(&run);
    }
}

/* Of planes of one place nothing is left but the bias, however far from zero they are. */
static void test_flat_planes(void) {
    static const int64_t dims[] = {1, 6, 1};
    OpRun run = {0};
    op_noise(&run, DTYPE_F32, 3, dims, 10, 30);
    op_noise(&run, DTYPE_F32, 1, &dims[1], 0.5, 2);
    const Tensor *bias = op_noise(&run, DTYPE_F32, 1, &dims[1], -1, 1);
    CHECK_OK(op_run_name(&run, "InstanceNormalization", 1), &run.diag);
    for (int64_t c = 0; c < 6; ++c) CHECK_NEAR(op_run_at(&run.output[0], c), op_run_at(bias, c), 1e-6);
    op_run_end(&run);
}

/* Inputs that do not fit are refused with a status. */
static void test_refusals(void) {
    static const int64_t dims[] = {2, 6, 4}, five = 5;
    OpRun run = {0};
    op_input(&run, DTYPE_F32, 3, dims);
    op_input(&run, DTYPE_F32, 1, &five);
    CHECK_INT(op_run_name(&run, "LayerNormalization", 1), STATUS_BAD_MODEL);
    op_run_end(&run);
    CHECK(attr_set_int(&run.attrs, &run.arena, "num_groups", 4));
    for (int k = 0; k < 3; ++k) op_input(&run, DTYPE_F32, k == 0 ? 3 : 1, k == 0 ? dims : &dims[1]);
    CHECK_INT(op_run_name(&run, "GroupNormalization", 1), STATUS_BAD_MODEL);
    op_run_end(&run);
    op_input(&run, DTYPE_I32, 3, dims);
    CHECK_INT(op_run_name(&run, "Softmax", 1), STATUS_BAD_MODEL);
    op_run_end(&run);
    CHECK(attr_set_int(&run.attrs, &run.arena, "axis", 3));
    op_input(&run, DTYPE_F32, 3, dims);
    CHECK_INT(op_run_name(&run, "Softmax", 1), STATUS_BAD_MODEL);
    op_run_end(&run);
}

int main(void) {
    ThreadPool *pool = NULL;
    Diag diag = {0};
    CHECK_OK(thread_pool_create(3, NULL, &pool, &diag), &diag);
    test_softmax(NULL);
    test_softmax(pool);
    test_hardmax();
    test_layer(pool);
    test_rms();
    for (int32_t rank = 3; rank <= 5; ++rank) {
        check_channels(0, rank, DTYPE_F32, pool);
        check_channels(0, rank, DTYPE_BF16, NULL);
        check_channels(3, rank, DTYPE_F32, pool);
        check_channels(1, rank, DTYPE_F64, NULL);
    }
    test_flat_planes();
    test_batch();
    test_lrn();
    test_lp();
    test_refusals();
    thread_pool_destroy(pool);
    return test_result();
}
