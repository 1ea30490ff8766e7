/* Products of halves by way of f32: the same as the f32 kernels give for the rounded operands. */
#include <math.h>

#include "op_run.h"

/* Runs the operator on these inputs in f32 and on their roundings in `narrow`; the results agree to the
 * rounding of the result. */
static void check_same(OpId op, DType narrow, OpRun *run, double roundoff) {
    OpRun wide = {.random = 7};
    for (int32_t i = 0; i < run->input_count; ++i) {
        int64_t dims[SMELT_MAX_RANK + 1];
        for (int32_t k = 0; k < run->input[i].rank; ++k) dims[k] = run->input[i].dim[k];
        dims[run->input[i].rank] = -1;
        Tensor *x = op_run_input(&wide, DTYPE_F32, 1, dims);
        for (int64_t e = 0; e < tensor_count(x); ++e)
            dtype_store_f64(DTYPE_F32, x->data, e, op_run_at(&run->input[i], e));
    }
    CHECK(attr_copy(&run->attrs, &wide.attrs, &wide.arena));
    CHECK_OK(op_run(run, op, 1), &run->diag);
    CHECK_OK(op_run(&wide, op, 1), &wide.diag);
    CHECK_INT(run->output[0].dtype, narrow);
    CHECK(tensor_same_shape(&run->output[0], &wide.output[0]));
    for (int64_t e = 0; e < tensor_count(&run->output[0]); ++e) {
        double expected = op_run_at(&wide.output[0], e), got = op_run_at(&run->output[0], e);
        CHECK_NEAR(got, expected, roundoff * (1e-3 + fabs(expected)));
    }
    op_run_end(&wide);
    op_run_end(run);
}

static void check_type(DType narrow, double roundoff, ThreadPool *pool) {
    OpRun run = {.pool = pool};
    op_run_input(&run, narrow, 1, DIMS(3, 17, 40));
    op_run_input(&run, narrow, 1, DIMS(40, 29));
    check_same(OP_MatMul, narrow, &run, roundoff);
    op_run_input(&run, narrow, 1, DIMS(17, 40));
    op_run_input(&run, narrow, 1, DIMS(40, 29));
    op_run_input(&run, narrow, 1, DIMS(29));
    check_same(OP_Gemm, narrow, &run, roundoff);
    op_run_input(&run, narrow, 1, DIMS(2, 6, 9, 11));
    op_run_input(&run, narrow, 1, DIMS(4, 3, 3, 3));
    op_run_input(&run, narrow, 1, DIMS(4));
    CHECK(attr_set_int(&run.attrs, &run.arena, "group", 2));
    check_same(OP_Conv, narrow, &run, roundoff);
    op_run_input(&run, narrow, 1, DIMS(1, 5, 9, 11));
    op_run_input(&run, narrow, 1, DIMS(5, 1, 3, 3));
    CHECK(attr_set_int(&run.attrs, &run.arena, "group", 5));
    check_same(OP_Conv, narrow, &run, roundoff);
    op_run_input(&run, narrow, 1, DIMS(1, 5, 4, 4));
    op_run_input(&run, narrow, 1, DIMS(5, 3, 2, 2));
    op_run_ints(&run, "strides", 2, (const int64_t[]){2, 2});
    check_same(OP_ConvTranspose, narrow, &run, roundoff);
    for (int i = 0; i < 3; ++i) op_run_input(&run, narrow, 1, DIMS(2, 3, 7, 8));
    check_same(OP_Attention, narrow, &run, roundoff);
    op_run_input(&run, narrow, 1, DIMS(0, 4));
    op_run_input(&run, narrow, 1, DIMS(4, 3));
    check_same(OP_MatMul, narrow, &run, roundoff);
}

int main(void) {
    ThreadPool *pool = NULL;
    Diag diag = {0};
    CHECK_OK(thread_pool_create(3, NULL, &pool, &diag), &diag);
    check_type(DTYPE_F16, 0x1p-10, NULL);
    check_type(DTYPE_F16, 0x1p-10, pool);
    check_type(DTYPE_BF16, 0x1p-7, pool);
    thread_pool_destroy(pool);
    return test_result();
}
