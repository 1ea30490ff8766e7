/* Pooling against plain loops over every tap, with the row-wise path of f32 and the general one. */
#include "op_run.h"

typedef struct Case {
    int64_t in[2], kernel[2], stride[2], dilation[2], begin[2], end[2];
    bool ceil, include_pad;
} Case;

static const Case cases[] = {
    {{7, 9}, {2, 2}, {2, 2}, {1, 1}, {0, 0}, {0, 0}, false, false},
    {{7, 9}, {2, 2}, {2, 2}, {1, 1}, {0, 0}, {0, 0}, true, true},
    {{1, 1}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, true, false},
    {{13, 13}, {5, 5}, {1, 1}, {1, 1}, {2, 2}, {2, 2}, false, true},
    {{13, 40}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {0, 1}, true, true},
    {{11, 35}, {3, 2}, {1, 3}, {2, 3}, {2, 0}, {1, 2}, false, false},
    {{20, 8}, {4, 3}, {3, 2}, {1, 2}, {0, 1}, {3, 2}, true, true},
    {{5, 6}, {5, 6}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, false, false},
};

typedef enum Kind { MAX, AVERAGE, NORM } Kind;

static double plain(const Case *c, Kind kind, const Tensor *x, int64_t plane, int64_t oy, int64_t ox,
                    int64_t *where) {
    double result = kind == MAX ? -INFINITY : 0;
    int64_t count = 0;
    for (int64_t i = 0; i < c->kernel[0]; ++i)
        for (int64_t j = 0; j < c->kernel[1]; ++j) {
            int64_t y = oy * c->stride[0] - c->begin[0] + i * c->dilation[0];
            int64_t at = ox * c->stride[1] - c->begin[1] + j * c->dilation[1];
            bool inside = y >= 0 && y < c->in[0] && at >= 0 && at < c->in[1];
            bool padded = y < c->in[0] + c->end[0] && at < c->in[1] + c->end[1];
            count += c->include_pad ? padded : inside;
            if (!inside) continue;
            int64_t index = (plane * c->in[0] + y) * c->in[1] + at;
            double value = op_run_at(x, index);
            if (kind == MAX && value > result) {
                result = value;
                *where = index;
            }
            if (kind != MAX) result += kind == NORM ? fabs(value) * fabs(value) * fabs(value) : value;
        }
    return kind == NORM ? cbrt(result) : kind == AVERAGE ? result / (double)count : result;
}

static void test_pool(OpRun *run, const Case *c, Kind kind, DType dtype, int32_t outputs) {
    static const OpId ids[] = {OP_MaxPool, OP_AveragePool, OP_LpPool};
    const int64_t pads[4] = {c->begin[0], c->begin[1], c->end[0], c->end[1]};
    op_run_ints(run, "kernel_shape", 2, c->kernel);
    op_run_ints(run, "strides", 2, c->stride);
    op_run_ints(run, "dilations", 2, c->dilation);
    op_run_ints(run, "pads", 4, pads);
    CHECK(attr_set_int(&run->attrs, &run->arena, "ceil_mode", c->ceil));
    if (kind == AVERAGE) CHECK(attr_set_int(&run->attrs, &run->arena, "count_include_pad", c->include_pad));
    if (kind == NORM) CHECK(attr_set_int(&run->attrs, &run->arena, "p", 3));
    const Tensor *x = op_run_input(run, dtype, 4, DIMS(2, 3, c->in[0], c->in[1]));
    CHECK_OK(op_run(run, ids[kind], outputs), &run->diag);
    const Tensor *y = &run->output[0];
    for (int64_t at = 0; at < tensor_count(y); ++at) {
        int64_t where = 0, ox = at % y->dim[3], oy = at / y->dim[3] % y->dim[2];
        double wanted = plain(c, kind, x, at / y->dim[3] / y->dim[2], oy, ox, &where);
        CHECK_NEAR(op_run_at(y, at), wanted, dtype == DTYPE_F16 ? 4e-3 : 1e-5);
        if (outputs == 2) CHECK_NEAR(op_run_at(x, (int64_t)op_run_at(&run->output[1], at)), wanted, 0);
    }
    op_run_end(run);
}

/* The last window begins in the input or the padding before it, never after. */
static void test_ceil(void) {
    OpRun run = {0};
    op_run_ints(&run, "kernel_shape", 1, (int64_t[]){1});
    op_run_ints(&run, "strides", 1, (int64_t[]){2});
    CHECK(attr_set_int(&run.attrs, &run.arena, "ceil_mode", 1));
    op_run_input(&run, DTYPE_F32, 1, DIMS(1, 1, 4));
    CHECK_OK(op_run(&run, OP_MaxPool, 1), &run.diag);
    CHECK_INT(run.output[0].dim[2], 2);
    op_run_end(&run);
}

static void test_global(ThreadPool *pool) {
    OpRun run = {.pool = pool, .random = 3};
    const Tensor *x = op_run_input(&run, DTYPE_F32, 1, DIMS(2, 5, 7, 3, 11));
    CHECK_OK(op_run(&run, OP_GlobalAveragePool, 1), &run.diag);
    CHECK_INT(run.output[0].rank, 5);
    for (int64_t plane = 0; plane < 10; ++plane) {
        double sum = 0;
        for (int64_t i = 0; i < 231; ++i) sum += op_run_at(x, plane * 231 + i);
        CHECK_NEAR(op_run_at(&run.output[0], plane), sum / 231, 1e-6);
    }
    op_run_end(&run);
}

static void test_unpool(void) {
    OpRun run = {.random = 9};
    op_run_ints(&run, "kernel_shape", 2, (int64_t[]){2, 2});
    op_run_ints(&run, "strides", 2, (int64_t[]){2, 2});
    op_run_input(&run, DTYPE_F32, 1, DIMS(1, 2, 2, 2));
    Tensor *indices = op_run_input(&run, DTYPE_I64, 0, DIMS(1, 2, 2, 2));
    static const int64_t places[8] = {0, 3, 9, 15, 16, 22, 24, 31};
    memcpy(indices->data, places, sizeof places);
    CHECK_OK(op_run(&run, OP_MaxUnpool, 1), &run.diag);
    double total = 0;
    for (int64_t i = 0; i < 32; ++i) total += fabs(op_run_at(&run.output[0], i));
    for (int64_t i = 0; i < 8; ++i) {
        CHECK_NEAR(op_run_at(&run.output[0], places[i]), op_run_at(&run.input[0], i), 0);
        total -= fabs(op_run_at(&run.input[0], i));
    }
    CHECK_NEAR(total, 0, 1e-6);
    ((int64_t *)indices->data)[3] = 32;
    CHECK_INT(op_run(&run, OP_MaxUnpool, 1), STATUS_BAD_DATA);
    diag_clear(&run.diag);
    ((int64_t *)indices->data)[3] = -1;
    CHECK_INT(op_run(&run, OP_MaxUnpool, 1), STATUS_BAD_DATA);
    op_run_end(&run);
}

static void test_all(ThreadPool *pool) {
    OpRun run = {.pool = pool, .random = 2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        test_pool(&run, &cases[i], MAX, DTYPE_F32, 1);
        test_pool(&run, &cases[i], MAX, DTYPE_F32, 2);
        test_pool(&run, &cases[i], MAX, DTYPE_I8, 1);
        test_pool(&run, &cases[i], AVERAGE, DTYPE_F32, 1);
        test_pool(&run, &cases[i], AVERAGE, DTYPE_F16, 1);
        test_pool(&run, &cases[i], NORM, DTYPE_F64, 1);
    }
}

int main(void) {
    op_run_with_pools(test_all);
    test_ceil();
    op_run_with_pools(test_global);
    test_unpool();
    return test_result();
}
