/* Kernels that work on blocks of elements, at sizes around those of the blocks, against plain loops. */
#include "op_values.h"

static int64_t stride_of(const Tensor *x, int32_t axis) {
    int64_t stride = 1;
    for (int32_t i = axis + 1; i < x->rank; ++i) stride *= x->dim[i];
    return stride;
}

/* -- CumSum -- */

static void check_cumulative(DType dtype, int64_t axis, bool exclusive, bool reverse, ThreadPool *pool) {
    OpRun run = {.pool = pool};
    const Tensor *x = op_noise(&run, dtype, 3, (const int64_t[]){3, 5, 2060}, -9, 9);
    op_values(&run, DTYPE_I64, -1, (const double[]){(double)axis});
    CHECK(attr_set_int(&run.attrs, &run.arena, "exclusive", exclusive));
    CHECK(attr_set_int(&run.attrs, &run.arena, "reverse", reverse));
    CHECK_OK(op_run_name(&run, "CumSum", 1), &run.diag);
    int64_t stride = stride_of(x, (int32_t)axis), extent = x->dim[axis], wrong = 0;
    for (int64_t i = 0; i < tensor_count(x); ++i) {
        double sum = 0;
        int64_t place = i / stride % extent, line = i - place * stride;
        for (int64_t k = 0; k < extent; ++k) {
            bool before = reverse ? k > place : k < place;
            if (before || (k == place && !exclusive)) sum += op_run_at(x, line + k * stride);
        }
        wrong += fabs(op_run_at(&run.output[0], i) - sum) > 1e-3;
        if (axis == 2) i += 96; /* long lines: some of their elements */
    }
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void test_cumulative(ThreadPool *pool) {
    for (int64_t axis = 0; axis < 3; ++axis)
        for (int way = 0; way < 4; ++way) {
            check_cumulative(DTYPE_F32, axis, way % 2 == 1, way / 2 == 1, pool);
            check_cumulative(DTYPE_I32, axis, way % 2 == 1, way / 2 == 1, pool);
        }
}

/* -- normalisations along axes -- */

/* Whether elements i and j differ in normalized axes alone. */
static bool same_slice(const Tensor *x, unsigned normalized, int64_t i, int64_t j) {
    for (int32_t axis = x->rank - 1; axis >= 0; --axis) {
        bool same = i % x->dim[axis] == j % x->dim[axis];
        if (!same && (normalized >> axis & 1) == 0) return false;
        i /= x->dim[axis];
        j /= x->dim[axis];
    }
    return true;
}

/* What the element should be: of a slice's mean and deviation, or its norm of power p. */
static double normalized_element(const Tensor *x, unsigned normalized, int p, int64_t i) {
    double sum = 0, squares = 0, norm = 0, count = 0;
    for (int64_t j = 0; j < tensor_count(x); ++j) {
        if (!same_slice(x, normalized, i, j)) continue;
        double value = op_run_at(x, j);
        sum += value;
        squares += value * value;
        norm += fabs(value);
        ++count;
    }
    if (p == 0) return (op_run_at(x, i) - sum / count) / sqrt(squares / count - sum / count * sum / count);
    return op_run_at(x, i) / (p == 1 ? norm : sqrt(squares));
}

static void check_normalized(unsigned normalized, int p, ThreadPool *pool) {
    OpRun run = {.pool = pool};
    const Tensor *x = op_noise(&run, DTYPE_F32, 3, (const int64_t[]){3, 7, 530}, -2, 3);
    int64_t axes[3], count = 0, wrong = 0;
    for (int64_t axis = 0; axis < 3; ++axis)
        if ((normalized >> axis & 1) != 0) axes[count++] = axis;
    if (p == 0) op_run_ints(&run, "axes", (int32_t)count, axes);
    if (p != 0) CHECK(attr_set_int(&run.attrs, &run.arena, "axis", axes[0]));
    if (p != 0) CHECK(attr_set_int(&run.attrs, &run.arena, "p", p));
    CHECK_OK(op_run_name(&run, p == 0 ? "MeanVarianceNormalization" : "LpNormalization", 1), &run.diag);
    for (int64_t i = 0; i < tensor_count(x); i += 257)
        wrong += fabs(op_run_at(&run.output[0], i) - normalized_element(x, normalized, p, i)) > 1e-5;
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void test_normalized(ThreadPool *pool) {
    for (unsigned normalized = 1; normalized < 8; ++normalized) check_normalized(normalized, 0, pool);
    for (unsigned axis = 0; axis < 3; ++axis)
        for (int p = 1; p <= 2; ++p) check_normalized(1u << axis, p, pool);
}

/* -- pools: f32 by lines, f64 window by window -- */

static void check_pool(const char *op, int64_t stride, int64_t dilation, bool include_pad, ThreadPool *pool) {
    Tensor results[2];
    OpRun runs[2] = {{.pool = pool}, {.pool = pool}};
    for (int i = 0; i < 2; ++i) {
        op_noise(&runs[i], i == 0 ? DTYPE_F32 : DTYPE_F64, 5, (const int64_t[]){2, 2, 5, 6, 37}, -4, 4);
        op_run_ints(&runs[i], "kernel_shape", 3, (const int64_t[]){2, 3, 3});
        op_run_ints(&runs[i], "strides", 3, (const int64_t[]){1, stride, stride});
        op_run_ints(&runs[i], "dilations", 3, (const int64_t[]){dilation, 1, dilation});
        op_run_ints(&runs[i], "pads", 6, (const int64_t[]){1, 1, 2, 0, 1, 1});
        CHECK(attr_set_int(&runs[i].attrs, &runs[i].arena, "ceil_mode", 1));
        CHECK(attr_set_int(&runs[i].attrs, &runs[i].arena, "count_include_pad", include_pad));
        CHECK_OK(op_run_name(&runs[i], op, 1), &runs[i].diag);
        results[i] = runs[i].output[0];
    }
    int64_t wrong = 0;
    CHECK_INT(tensor_count(&results[0]), tensor_count(&results[1]));
    for (int64_t i = 0; i < tensor_count(&results[0]); ++i)
        wrong += !(fabs(op_run_at(&results[0], i) - op_run_at(&results[1], i)) < 1e-5);
    CHECK_INT(wrong, 0);
    for (int i = 0; i < 2; ++i) op_run_end(&runs[i]);
}

static void test_pools(ThreadPool *pool) {
    for (int64_t stride = 1; stride < 4; ++stride)
        for (int64_t dilation = 1; dilation < 3; ++dilation) {
            check_pool("MaxPool", stride, dilation, false, pool);
            check_pool("AveragePool", stride, dilation, false, pool);
            check_pool("AveragePool", stride, dilation, true, pool);
        }
}

/* -- sorting by keys -- */

static void test_unique(ThreadPool *pool) {
    OpRun run = {.pool = pool};
    const Tensor *x = op_noise(&run, DTYPE_F32, 1, (const int64_t[]){20000}, -300, 300);
    CHECK_OK(op_run_name(&run, "Unique", 4), &run.diag);
    const Tensor *values = &run.output[0];
    const int64_t *first = run.output[1].data, *inverse = run.output[2].data, *counts = run.output[3].data;
    int64_t wrong = 0, total = 0;
    for (int64_t g = 0; g < tensor_count(values); ++g) {
        wrong += g > 0 && !(op_run_at(values, g - 1) < op_run_at(values, g));
        wrong += op_run_at(x, first[g]) != op_run_at(values, g);
        total += counts[g];
    }
    for (int64_t i = 0; i < tensor_count(x); ++i)
        wrong += op_run_at(x, i) != op_run_at(values, inverse[i]) || first[inverse[i]] > i;
    CHECK_INT(wrong, 0);
    CHECK_INT(total, tensor_count(x));
    op_run_end(&run);
}

/* -- gathers and ranges -- */

static void test_gathers(ThreadPool *pool) {
    static const DType dtypes[] = {DTYPE_F32, DTYPE_U8, DTYPE_F64};
    for (int64_t axis = 0; axis < 2; ++axis)
        for (int way = 0; way < 6; ++way) {
            OpRun run = {.pool = pool};
            const Tensor *x = op_noise(&run, dtypes[way / 2], 2, (const int64_t[]){600, 600}, 0, 99);
            const Tensor *index = op_noise(&run, way % 2 == 0 ? DTYPE_I64 : DTYPE_I32, 2,
                                           (const int64_t[]){520, 530}, -600, 599);
            int64_t wrong = 0;
            CHECK(attr_set_int(&run.attrs, &run.arena, "axis", axis));
            CHECK_OK(op_run_name(&run, "GatherElements", 1), &run.diag);
            for (int64_t i = 0; i < tensor_count(index); ++i) {
                int64_t row = i / 530, col = i % 530, at = (int64_t)op_run_at(index, i);
                at = at < 0 ? at + 600 : at;
                wrong +=
                    op_run_at(&run.output[0], i) != op_run_at(x, axis == 0 ? at * 600 + col : row * 600 + at);
            }
            CHECK_INT(wrong, 0);
            op_run_end(&run);
        }
}

static void test_ranges(ThreadPool *pool) {
    static const DType dtypes[] = {DTYPE_F32, DTYPE_I64, DTYPE_I16};
    for (int d = 0; d < 3; ++d) {
        OpRun run = {.pool = pool};
        int64_t wrong = 0;
        op_values(&run, dtypes[d], -1, (const double[]){7});
        op_values(&run, dtypes[d], -1, (const double[]){-20000});
        op_values(&run, dtypes[d], -1, (const double[]){-3});
        CHECK_OK(op_run_name(&run, "Range", 1), &run.diag);
        CHECK_INT(run.output[0].dim[0], 6669);
        for (int64_t i = 0; i < 6669; ++i) wrong += op_run_at(&run.output[0], i) != (double)(7 - 3 * i);
        CHECK_INT(wrong, 0);
        op_run_end(&run);
    }
}

static void test_all(ThreadPool *pool) {
    test_cumulative(pool);
    test_normalized(pool);
    test_pools(pool);
    test_unique(pool);
    test_gathers(pool);
    test_ranges(pool);
}

int main(void) {
    op_run_with_pools(test_all);
    return test_result();
}
