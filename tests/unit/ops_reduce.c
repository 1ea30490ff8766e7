#include "ops/reduce.h"

#include "op_values.h"

typedef struct Slice {
    double sum, product, largest, smallest, absolute, squares, exponentials;
    int64_t count;
} Slice;

/* Folds every element into its slice by index arithmetic alone. */
static void fold_naively(const Tensor *in, const bool *reduced, Slice *slices, int64_t slice_count) {
    for (int64_t s = 0; s < slice_count; ++s)
        slices[s] = (Slice){.product = 1, .largest = -INFINITY, .smallest = INFINITY};
    for (int64_t i = 0, n = tensor_count(in); i < n; ++i) {
        int64_t rest = i, at = 0, stride = 1;
        for (int32_t k = in->rank - 1; k >= 0; --k) {
            if (!reduced[k]) at += rest % in->dim[k] * stride, stride *= in->dim[k];
            rest /= in->dim[k];
        }
        double x = op_run_at(in, i);
        Slice *s = &slices[at];
        s->sum += x, s->product *= x, s->absolute += fabs(x), s->squares += x * x, s->exponentials += exp(x);
        s->largest = fmax(s->largest, x), s->smallest = fmin(s->smallest, x), ++s->count;
    }
}

static double expected_of(const char *op, const Slice *s) {
    if (strcmp(op, "ReduceSum") == 0) return s->sum;
    if (strcmp(op, "ReduceMean") == 0) return s->sum / (double)s->count;
    if (strcmp(op, "ReduceMax") == 0) return s->largest;
    if (strcmp(op, "ReduceMin") == 0) return s->smallest;
    if (strcmp(op, "ReduceProd") == 0) return s->product;
    if (strcmp(op, "ReduceL1") == 0) return s->absolute;
    if (strcmp(op, "ReduceL2") == 0) return sqrt(s->squares);
    if (strcmp(op, "ReduceSumSquare") == 0) return s->squares;
    if (strcmp(op, "ReduceLogSum") == 0) return log(s->sum);
    return log(s->exponentials);
}

static const char *const names[] = {"ReduceSum",    "ReduceMean",     "ReduceMax", "ReduceMin",
                                    "ReduceProd",   "ReduceL1",       "ReduceL2",  "ReduceSumSquare",
                                    "ReduceLogSum", "ReduceLogSumExp"};

static void check_reduction(const char *op, DType dtype, int32_t rank, const int64_t *dims,
                            unsigned axes_mask, ThreadPool *pool) {
    enum { SLICES = 4096 };
    static Slice slices[SLICES];
    OpRun run = {.pool = pool};
    double axes[SMELT_MAX_RANK];
    bool reduced[SMELT_MAX_RANK] = {false};
    int64_t count = 0, slice_count = 1;
    for (int32_t k = 0; k < rank; ++k) {
        reduced[k] = (axes_mask >> k & 1) != 0;
        if (reduced[k])
            axes[count] = count % 2 == 0 ? k : k - rank, ++count;
        else
            slice_count *= dims[k];
    }
    CHECK(slice_count <= SLICES);
    CHECK(attr_set_int(&run.attrs, &run.arena, "keepdims", axes_mask & 1));
    const Tensor *in = op_noise(&run, dtype, rank, dims, 0.5, 3.5);
    op_values(&run, DTYPE_I64, count, axes);
    Status status = op_run_name(&run, op, 1);
    CHECK_OK(status, &run.diag);
    fold_naively(in, reduced, slices, slice_count);
    double tolerance = dtype == DTYPE_F32 ? 1e-5 : dtype == DTYPE_F64 ? 1e-12 : dtype == DTYPE_F16 ? 1e-3 : 1;
    int wrong = 0;
    for (int64_t s = 0; status == STATUS_OK && s < slice_count; ++s) {
        double expected = expected_of(op, &slices[s]), got = op_run_at(&run.output[0], s);
        bool overflows = dtype != DTYPE_F64 && fabs(expected) > (dtype == DTYPE_F16 ? 6e4 : 2e9);
        wrong += !overflows &&
                 fabs(got - expected) > tolerance * (dtype_is_float(dtype) ? fabs(expected) + 1e-3 : 1);
    }
    CHECK_INT(wrong, 0);
    if (wrong != 0) fprintf(stderr, "  %s %s axes %x\n", op, dtype_name(dtype), axes_mask);
    op_run_end(&run);
}

static void test_all(ThreadPool *pool) {
    static const DType dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_I32, DTYPE_I64, DTYPE_U32};
    static const int64_t small[] = {3, 1, 4, 5}, wide[] = {2, 1500, 3}, tall[] = {40, 70, 33};
    for (size_t n = 0; n < sizeof names / sizeof *names; ++n)
        for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; ++d) {
            for (unsigned mask = 1; mask < 16; ++mask)
                check_reduction(names[n], dtypes[d], 4, small, mask, pool);
            for (unsigned mask = 1; mask < 8; ++mask)
                if (strcmp(names[n], "ReduceProd") != 0)
                    check_reduction(names[n], dtypes[d], 3, mask & 2 ? wide : tall, mask, pool);
        }
}

static double reduce_one(const char *op, DType dtype, int64_t count, const double *values) {
    OpRun run = {0};
    CHECK(attr_set_int(&run.attrs, &run.arena, "keepdims", 0));
    op_values(&run, dtype, count, values);
    CHECK_OK(op_run_name(&run, op, 1), &run.diag);
    CHECK_INT(run.output[0].rank, 0);
    double result = op_run_at(&run.output[0], 0);
    op_run_end(&run);
    return result;
}

static void test_edges(void) {
    static const double bools[] = {0, 1, 0}, negative[] = {-3, -1, -2}, large[] = {200, 100},
                        deep[] = {-1000, -1000};
    static const double infinite[] = {-INFINITY, -INFINITY}, with_nan[] = {1, NAN, 2};
    CHECK_INT(reduce_one("ReduceMax", DTYPE_BOOL, 3, bools), 1);
    CHECK_INT(reduce_one("ReduceMin", DTYPE_BOOL, 3, bools), 0);
    CHECK_INT(reduce_one("ReduceMax", DTYPE_I8, 3, negative), -1);
    CHECK_INT(reduce_one("ReduceSum", DTYPE_U8, 2, large), 44); /* wraps */
    CHECK_INT(reduce_one("ReduceMean", DTYPE_I32, 2, (const double[]){-3, -4}), -3);
    CHECK_NEAR(reduce_one("ReduceLogSumExp", DTYPE_F32, 2, deep), -1000 + log(2), 1e-3);
    CHECK(reduce_one("ReduceLogSumExp", DTYPE_F32, 2, infinite) == -INFINITY);
    CHECK(isnan(reduce_one("ReduceMax", DTYPE_F32, 3, with_nan)));

    CHECK_INT(reduce_one("ReduceSum", DTYPE_F32, 0, NULL), 0);
    CHECK_INT(reduce_one("ReduceProd", DTYPE_I64, 0, NULL), 1);
    CHECK(reduce_one("ReduceMax", DTYPE_F32, 0, NULL) == -INFINITY);
    CHECK_INT(reduce_one("ReduceMax", DTYPE_I32, 0, NULL), INT32_MIN);
    CHECK_INT(reduce_one("ReduceMin", DTYPE_U8, 0, NULL), 255);
    CHECK_INT(reduce_one("ReduceMin", DTYPE_BOOL, 0, NULL), 1);
    CHECK(isnan(reduce_one("ReduceMean", DTYPE_F32, 0, NULL)));
}

/* Without axes: all of them, or none. */
static void test_no_axes(void) {
    static const int64_t dims[] = {2, 3};
    for (int noop = 0; noop < 2; ++noop) {
        OpRun run = {0};
        CHECK(attr_set_int(&run.attrs, &run.arena, "noop_with_empty_axes", noop));
        op_noise(&run, DTYPE_F32, 2, dims, -3, 3);
        op_values(&run, DTYPE_I64, 0, NULL);
        CHECK_OK(op_run_name(&run, "ReduceSumSquare", 1), &run.diag);
        CHECK_INT(tensor_count(&run.output[0]), noop ? 6 : 1);
        double x = op_run_at(&run.input[0], 0);
        if (noop) CHECK_NEAR(op_run_at(&run.output[0], 0), x * x, 1e-6);
        op_run_end(&run);
    }
}

static void check_refused(DType dtype, double axis_a, double axis_b) {
    static const int64_t dims[] = {2, 3};
    OpRun run = {0};
    double axes[] = {axis_a, axis_b};
    op_input(&run, dtype, 2, dims);
    op_values(&run, DTYPE_I64, 2, axes);
    CHECK_INT(op_run_name(&run, "ReduceSum", 1), STATUS_BAD_MODEL);
    op_run_end(&run);
}

static void test_refusals(void) {
    check_refused(DTYPE_F32, 0, 2);
    check_refused(DTYPE_F32, 0, -2);
    check_refused(DTYPE_BOOL, 0, 1);
}

int main(void) {
    op_run_with_pools(test_all);
    test_edges();
    test_no_axes();
    test_refusals();
    return test_result();
}
