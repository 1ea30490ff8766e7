/* Matrix products against plain loops: sizes around every block and tile boundary, transposed and broadcast
 * operands, each computing type, one thread and two; Einsum against the same. */
#include "op_run.h"

static double product_at(const OpRun *run, int64_t a, int64_t a_step, int64_t b, int64_t b_step, int64_t k) {
    double sum = 0;
    for (int64_t i = 0; i < k; ++i)
        sum += op_run_at(&run->input[0], a + i * a_step) * op_run_at(&run->input[1], b + i * b_step);
    return sum;
}

static void check_near(double found, double wanted, int64_t k, double tolerance) {
    double scale = 1 + fabs(wanted) + sqrt((double)k);
    CHECK_NEAR(found / scale, wanted / scale, tolerance);
}

static double tolerance_of(DType dtype) {
    return dtype == DTYPE_F16 ? 2e-3 : dtype == DTYPE_F32 ? 8e-6 : dtype == DTYPE_F64 ? 1e-14 : 0;
}

static void test_matmul(OpRun *run, DType dtype, int64_t m, int64_t n, int64_t k) {
    op_run_input(run, dtype, 9, DIMS(m, k));
    op_run_input(run, dtype, 9, DIMS(k, n));
    CHECK_OK(op_run(run, OP_MatMul, 1), &run->diag);
    for (int64_t i = 0; i < m; i += 1 + m / 40)
        for (int64_t j = 0; j < n; j += 1 + n / 40)
            check_near(op_run_at(&run->output[0], i * n + j), product_at(run, i * k, 1, j, n, k), k * 81,
                       tolerance_of(dtype));
    op_run_end(run);
}

static void test_gemm(OpRun *run, DType dtype, int form, const int64_t *c_dims) {
    int64_t m = 13, n = 50, k = 300;
    bool ta = form & 1, tb = form & 2;
    double alpha = form & 4 ? 0.5 : 1, beta = form & 4 ? -2 : 1;
    CHECK(attr_set_int(&run->attrs, &run->arena, "transA", ta));
    CHECK(attr_set_int(&run->attrs, &run->arena, "transB", tb));
    CHECK(attr_set_float(&run->attrs, &run->arena, "alpha", (float)alpha));
    CHECK(attr_set_float(&run->attrs, &run->arena, "beta", (float)beta));
    op_run_input(run, dtype, 1, ta ? DIMS(k, m) : DIMS(m, k));
    op_run_input(run, dtype, 1, tb ? DIMS(n, k) : DIMS(k, n));
    const Tensor *c = c_dims != NULL ? op_run_input(run, dtype, 1, c_dims) : NULL;
    CHECK_OK(op_run(run, OP_Gemm, 1), &run->diag);
    int64_t cols = c != NULL && c->rank > 0 ? c->dim[c->rank - 1] : 1,
            rows = c != NULL && c->rank == 2 ? c->dim[0] : 1;
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            double wanted =
                alpha * product_at(run, ta ? i : i * k, ta ? m : 1, tb ? j * k : j, tb ? 1 : n, k);
            if (c != NULL) wanted += beta * op_run_at(c, (rows == 1 ? 0 : i) * cols + (cols == 1 ? 0 : j));
            check_near(op_run_at(&run->output[0], i * n + j), wanted, k, tolerance_of(dtype));
        }
    op_run_end(run);
}

static void test_batches(OpRun *run) {
    op_run_input(run, DTYPE_F32, 1, DIMS(2, 1, 3, 5, 7));
    op_run_input(run, DTYPE_F32, 1, DIMS(4, 1, 7, 6));
    CHECK_OK(op_run(run, OP_MatMul, 1), &run->diag);
    const Tensor *y = &run->output[0];
    CHECK_INT(y->rank, 5);
    CHECK_INT(tensor_count(y), 2 * 4 * 3 * 5 * 6);
    for (int64_t at = 0; at < tensor_count(y); ++at) {
        int64_t j = at % 6, i = at / 6 % 5, z = at / 30 % 3, b = at / 90 % 4, a = at / 360;
        check_near(op_run_at(y, at), product_at(run, ((a * 3 + z) * 5 + i) * 7, 1, b * 42 + j, 6, 7), 7,
                   2e-6);
    }
    op_run_end(run);
    op_run_input(run, DTYPE_F32, 1, DIMS(9));
    op_run_input(run, DTYPE_F32, 1, DIMS(2, 9, 4));
    CHECK_OK(op_run(run, OP_MatMul, 1), &run->diag);
    CHECK_INT(run->output[0].rank, 2);
    for (int64_t at = 0; at < 8; ++at)
        check_near(op_run_at(&run->output[0], at), product_at(run, 0, 1, at / 4 * 36 + at % 4, 4, 9), 9,
                   2e-6);
    op_run_end(run);
    op_run_input(run, DTYPE_F32, 1, DIMS(3, 0));
    op_run_input(run, DTYPE_F32, 1, DIMS(0, 2));
    CHECK_OK(op_run(run, OP_MatMul, 1), &run->diag);
    for (int64_t at = 0; at < 6; ++at) CHECK_NEAR(op_run_at(&run->output[0], at), 0, 0);
    op_run_end(run);
}

static void test_wrapping(void) {
    OpRun run = {0};
    Tensor *a = op_run_input(&run, DTYPE_I64, 0, DIMS(2, 2)),
           *b = op_run_input(&run, DTYPE_I64, 0, DIMS(2, 2));
    ((int64_t *)a->data)[0] = INT64_MAX;
    ((int64_t *)a->data)[1] = 3;
    ((int64_t *)b->data)[0] = 2;
    ((int64_t *)b->data)[2] = 5;
    CHECK_OK(op_run(&run, OP_MatMul, 1), &run.diag);
    CHECK_INT(((int64_t *)run.output[0].data)[0], -2 + 15);
    op_run_end(&run);
}

/* Zero points for each row of the left and each column of the right matrix. */
static void test_integer(void) {
    OpRun run = {.random = 5};
    op_run_input(&run, DTYPE_U8, 200, DIMS(5, 33));
    op_run_input(&run, DTYPE_I8, 120, DIMS(33, 7));
    op_run_input(&run, DTYPE_U8, 90, DIMS(5));
    op_run_input(&run, DTYPE_I8, 50, DIMS(7));
    CHECK_OK(op_run(&run, OP_MatMulInteger, 1), &run.diag);
    for (int64_t i = 0; i < 5; ++i)
        for (int64_t j = 0; j < 7; ++j) {
            int64_t sum = 0;
            for (int64_t k = 0; k < 33; ++k)
                sum += (int64_t)((op_run_at(&run.input[0], i * 33 + k) - op_run_at(&run.input[2], i)) *
                                 (op_run_at(&run.input[1], k * 7 + j) - op_run_at(&run.input[3], j)));
            CHECK_INT(op_run_at(&run.output[0], i * 7 + j), sum);
        }
    op_run_end(&run);
}

static Status run_einsum(OpRun *run, const char *equation) {
    CHECK(attr_set_string(&run->attrs, &run->arena, "equation", equation));
    return op_run(run, OP_Einsum, 1);
}

static void test_einsum(void) {
    OpRun run = {.random = 11};
    op_run_input(&run, DTYPE_F32, 1, DIMS(2, 3, 4, 5));
    op_run_input(&run, DTYPE_F32, 1, DIMS(2, 3, 6, 5));
    CHECK_OK(run_einsum(&run, " b h q d, bhkd -> b q h k "), &run.diag);
    for (int64_t at = 0; at < 2 * 4 * 3 * 6; ++at) {
        int64_t k = at % 6, h = at / 6 % 3, q = at / 18 % 4, b = at / 72;
        double wanted = product_at(&run, ((b * 3 + h) * 4 + q) * 5, 1, ((b * 3 + h) * 6 + k) * 5, 1, 5);
        CHECK_NEAR(op_run_at(&run.output[0], at), wanted, 1e-5);
    }
    op_run_end(&run);
    op_run_input(&run, DTYPE_F64, 1, DIMS(2, 3, 3));
    CHECK_OK(run_einsum(&run, "...ii ->...i"), &run.diag);
    CHECK_INT(run.output[0].rank, 2);
    for (int64_t at = 0; at < 6; ++at)
        CHECK_NEAR(op_run_at(&run.output[0], at), op_run_at(&run.input[0], at / 3 * 9 + at % 3 * 4), 0);
    op_run_end(&run);
    op_run_input(&run, DTYPE_I32, 9, DIMS(3, 4));
    op_run_input(&run, DTYPE_I32, 9, DIMS(4));
    op_run_input(&run, DTYPE_I32, 9, DIMS(3));
    CHECK_OK(run_einsum(&run, "ij,j,i"), &run.diag);
    CHECK_INT(run.output[0].rank, 0);
    int64_t sum = 0;
    for (int64_t at = 0; at < 12; ++at)
        sum += (int64_t)(op_run_at(&run.input[0], at) * op_run_at(&run.input[1], at % 4) *
                         op_run_at(&run.input[2], at / 4));
    CHECK_INT(op_run_at(&run.output[0], 0), sum);
    op_run_end(&run);
}

static void test_refusals(void) {
    static const struct {
        const char *equation, *reason;
    } bad[] = {{"ij,jk->iz", "'z'"},
               {"ij,jk->ii", "repeated"},
               {"i$,jk->ik", "'$'"},
               {"ijk,jk->ik", "rank 2"},
               {"ij,ik->jk", "extent"},
               {"ij->i", "operands"},
               {"ij,jk->ik,", "after the output"},
               {"ij,jk-ik", "unexpected '-'"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        OpRun run = {0};
        op_run_input(&run, DTYPE_F32, 1, DIMS(2, 3));
        op_run_input(&run, DTYPE_F32, 1, DIMS(3, 4));
        CHECK_INT(run_einsum(&run, bad[i].equation), STATUS_BAD_MODEL);
        CHECK(strstr(run.diag.text, bad[i].reason) != NULL);
        op_run_end(&run);
    }
    OpRun run = {0};
    op_run_input(&run, DTYPE_F32, 1, DIMS(2, 3));
    op_run_input(&run, DTYPE_F32, 1, DIMS(4, 2));
    CHECK_INT(op_run(&run, OP_MatMul, 1), STATUS_BAD_MODEL);
    CHECK(strstr(run.diag.text, "3 columns") != NULL);
    op_run_end(&run);
}

static void test_all(ThreadPool *pool) {
    static const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 16, 47, 48, 49, 97};
    static const DType dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_I32, DTYPE_I64};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    OpRun run = {.pool = pool, .random = 1};
    for (int i = 0; i < COUNT; ++i)
        for (int j = 0; j < COUNT; ++j) {
            test_matmul(&run, DTYPE_F32, sizes[i], sizes[j], sizes[(i + j) % COUNT]);
            test_matmul(&run, dtypes[(i + j) % 5], sizes[i], sizes[j], 5);
        }
    test_matmul(&run, DTYPE_F32, 133, 771, 515);
    test_matmul(&run, DTYPE_F64, 33, 400, 513);
    test_matmul(&run, DTYPE_F32, 1, 800, 600);
    test_matmul(&run, DTYPE_F16, 260, 1, 300);
    for (int form = 0; form < 8; ++form) {
        test_gemm(&run, dtypes[form % 3], form, NULL);
        test_gemm(&run, DTYPE_F32, form, DIMS(50));
        test_gemm(&run, DTYPE_F32, form, DIMS(13, 1));
        test_gemm(&run, dtypes[form % 3], form, DIMS(13, 50));
        test_gemm(&run, dtypes[form % 3], form, DIMS(1));
    }
    test_batches(&run);
}

int main(void) {
    op_run_with_pools(test_all);
    test_wrapping();
    test_integer();
    test_einsum();
    test_refusals();
    return test_result();
}
