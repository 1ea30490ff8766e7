/* Gathers, scatters, selection and sorting against plain loops; indices that are out of bounds. */
#include "op_values.h"

static ThreadPool *pool;

static Tensor *indices(OpRun *run, int32_t rank, const int64_t *dims, int64_t extent) {
    Tensor *tensor = op_input(run, DTYPE_I64, rank, dims);
    for (int64_t i = 0; i < tensor_count(tensor); ++i)
        ((int64_t *)tensor->data)[i] = (int64_t)floor(op_run_random(run) * (double)extent);
    return tensor;
}

static int64_t index_at(const Tensor *tensor, int64_t i, int64_t extent) {
    int64_t index = dtype_load_i64(tensor->dtype, tensor->data, i);
    return index < 0 ? index + extent : index;
}

static void set_int(OpRun *run, const char *name, int64_t value) {
    CHECK(attr_set_int(&run->attrs, &run->arena, name, value));
}

static void test_gather(void) {
    OpRun run = {.pool = pool};
    static const int64_t dims[] = {5, 7, 3};
    for (int axis = 0; axis < 3; ++axis) {
        const Tensor *x = op_noise(&run, DTYPE_F32, 3, dims, -8, 8);
        const Tensor *at = indices(&run, 2, (const int64_t[]){2, 11}, dims[axis]);
        set_int(&run, "axis", axis - 3);
        CHECK_OK(op_run(&run, OP_Gather, 1), &run.diag);
        int64_t outer = tensor_span(x, 0, axis), inner = tensor_span(x, axis + 1, 3), wrong = 0, next = 0;
        for (int64_t o = 0; o < outer; ++o)
            for (int64_t n = 0; n < 22; ++n)
                for (int64_t i = 0; i < inner; ++i, ++next)
                    wrong += op_run_at(&run.output[0], next) !=
                             op_run_at(x, (o * dims[axis] + index_at(at, n, dims[axis])) * inner + i);
        CHECK_INT(next, tensor_count(&run.output[0]));
        CHECK_INT(wrong, 0);
        op_run_end(&run);
    }
}

/* Gathering along an axis and scattering back with the same indices restores what was picked. */
static void test_elements(void) {
    OpRun run = {.pool = pool}, back = {.pool = pool};
    static const int64_t dims[] = {4, 9, 6}, fewer[] = {3, 9, 5};
    for (int axis = 0; axis < 3; ++axis) {
        const Tensor *x = op_noise(&run, DTYPE_F16, 3, dims, -8, 8);
        const Tensor *at = indices(&run, 3, fewer, dims[axis]);
        set_int(&run, "axis", axis);
        CHECK_OK(op_run(&run, OP_GatherElements, 1), &run.diag);
        int64_t wrong = 0;
        for (int64_t i = 0; i < tensor_count(at); ++i) {
            int64_t place[3] = {i / 45, i / 5 % 9, i % 5};
            place[axis] = index_at(at, i, dims[axis]);
            wrong += op_run_at(&run.output[0], i) != op_run_at(x, (place[0] * 9 + place[1]) * 6 + place[2]);
        }
        CHECK_INT(wrong, 0);
        back.input[0] = *x;
        back.input[1] = *at;
        back.input[2] = run.output[0];
        for (int i = 0; i < 3; ++i) back.present[i] = true;
        back.input_count = 3;
        CHECK(attr_set_int(&back.attrs, &back.arena, "axis", axis));
        CHECK_OK(op_run(&back, OP_ScatterElements, 1), &back.diag);
        CHECK(memcmp(back.output[0].data, x->data, tensor_bytes(x)) == 0);
        op_run_end(&back);
        op_run_end(&run);
    }
}

/* Repeated indices: every reduction sees all updates, in order. */
static void test_reductions(void) {
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    static const double wanted[] = {4, 10 + 3 - 5 + 4, 10 * 3 * -5 * 4, 10, -5};
    static const double updates[] = {3, -5, 4}, data[] = {1, 10, 2}, at[] = {1, -2, 1};
    static const DType types[] = {DTYPE_F32, DTYPE_F16, DTYPE_I32, DTYPE_I64, DTYPE_I8};
    OpRun run = {.pool = pool};
    for (int r = 0; r < 5; ++r) {
        for (int t = 0; t < 5; ++t) {
            op_values(&run, types[t], 3, data);
            op_values(&run, DTYPE_I64, 3, at);
            op_values(&run, types[t], 3, updates);
            CHECK(attr_set_string(&run.attrs, &run.arena, "reduction", names[r]));
            CHECK_OK(op_run(&run, OP_ScatterElements, 1), &run.diag);
            double value = types[t] == DTYPE_I8 ? (double)(int8_t)(int)wanted[r] : wanted[r]; /* wraps */
            CHECK_NEAR(op_run_at(&run.output[0], 1), value, 0);
            CHECK_NEAR(op_run_at(&run.output[0], 2), 2, 0);
            op_run_end(&run);
        }
    }
}

static void test_tuples(void) {
    OpRun run = {.pool = pool};
    const Tensor *x = op_noise(&run, DTYPE_F32, 4, (const int64_t[]){3, 4, 5, 2}, -8, 8);
    const Tensor *at = indices(&run, 3, (const int64_t[]){3, 7, 2}, 4);
    set_int(&run, "batch_dims", 1);
    CHECK_OK(op_run(&run, OP_GatherND, 1), &run.diag);
    int64_t wrong = 0;
    for (int64_t n = 0; n < 21; ++n)
        for (int64_t i = 0; i < 2; ++i)
            wrong +=
                op_run_at(&run.output[0], n * 2 + i) !=
                op_run_at(x, ((n / 7 * 4 + index_at(at, 2 * n, 4)) * 5 + index_at(at, 2 * n + 1, 5)) * 2 + i);
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void check_out_of_bounds(OpRun *run, OpId id, const char *words) {
    CHECK_INT(op_run(run, id, 1), STATUS_BAD_DATA);
    CHECK(strstr(run->diag.text, words) != NULL);
    op_run_end(run);
}

static void test_bounds(void) {
    static const OpId with_axis[] = {OP_Gather, OP_GatherElements, OP_ScatterElements};
    static const double wrong[][2] = {{0, 5}, {-6, 0}};
    OpRun run = {.pool = pool};
    for (int i = 0; i < 3; ++i) {
        for (int k = 0; k < 2; ++k) {
            op_noise(&run, DTYPE_F32, 1, (const int64_t[]){5}, 0, 1);
            op_values(&run, DTYPE_I64, 2, wrong[k]);
            if (with_axis[i] == OP_ScatterElements) op_noise(&run, DTYPE_F32, 1, (const int64_t[]){2}, 0, 1);
            check_out_of_bounds(&run, with_axis[i],
                                k == 0 ? "index 5 at position 1 is outside extent 5"
                                       : "index -6 at position 0");
        }
    }
    op_noise(&run, DTYPE_F32, 2, (const int64_t[]){5, 3}, 0, 1);
    op_values(&run, DTYPE_I64, 2, (const double[]){4, 3});
    check_out_of_bounds(&run, OP_GatherND, "index 3 at position 1 is outside extent 3");
    op_noise(&run, DTYPE_F32, 2, (const int64_t[]){5, 3}, 0, 1);
    op_values(&run, DTYPE_I64, 1, (const double[]){INT64_MIN});
    op_noise(&run, DTYPE_F32, 1, (const int64_t[]){3}, 0, 1);
    check_out_of_bounds(&run, OP_ScatterND, "outside extent 5");
}

/* -- sorting -- */

static void test_topk_line(const OpRun *run, int64_t extent, int64_t k, bool largest, int64_t base,
                           int64_t inner, int64_t line) {
    bool taken[64] = {false};
    for (int64_t n = 0; n < k; ++n) {
        int64_t best = -1;
        for (int64_t i = 0; i < extent; ++i) {
            double value = op_run_at(&run->input[0], base + i * inner);
            double most = best < 0 ? 0 : op_run_at(&run->input[0], base + best * inner);
            if (!taken[i] && (best < 0 || (largest ? value > most : value < most))) best = i;
        }
        taken[best] = true;
        int64_t at = (line / inner * k + n) * inner + line % inner;
        CHECK_INT(((const int64_t *)run->output[1].data)[at], best);
        CHECK_NEAR(op_run_at(&run->output[0], at), op_run_at(&run->input[0], base + best * inner), 0);
    }
}

static void test_topk(void) {
    static const DType types[] = {DTYPE_F32, DTYPE_F16, DTYPE_I64, DTYPE_U8, DTYPE_F64};
    OpRun run = {.pool = pool};
    for (int n = 0; n < 60; ++n) {
        int64_t extent = 1 + n, inner = n % 2 == 0 ? 1 : 3, axis = 1;
        double k = n % 5 == 0 ? (double)extent : n % 7 == 0 ? 0 : 1 + (double)(n / 2);
        op_noise(&run, types[n % 5], 3, (const int64_t[]){2, extent, inner}, 0, 9); /* with many ties */
        op_values(&run, DTYPE_I64, 1, &k);
        set_int(&run, "axis", axis);
        set_int(&run, "largest", n % 3 != 0);
        CHECK_OK(op_run(&run, OP_TopK, 2), &run.diag);
        for (int64_t line = 0; line < 2 * inner; ++line)
            test_topk_line(&run, extent, (int64_t)k, n % 3 != 0, line / inner * extent * inner + line % inner,
                           inner, line);
        op_run_end(&run);
    }
    op_noise(&run, DTYPE_F32, 1, (const int64_t[]){4}, 0, 1);
    op_values(&run, DTYPE_I64, 1, (const double[]){5});
    CHECK_INT(op_run(&run, OP_TopK, 2), STATUS_BAD_MODEL);
    op_run_end(&run);
}

static void test_arg(void) {
    static const double values[] = {3, 7, 7, -1, 7, -1};
    OpRun run = {.pool = pool};
    for (int last = 0; last < 2; ++last) {
        op_values(&run, DTYPE_F32, 6, values);
        set_int(&run, "select_last_index", last);
        CHECK_OK(op_run(&run, OP_ArgMax, 1), &run.diag);
        CHECK_INT(*(const int64_t *)run.output[0].data, last ? 4 : 1);
        op_run_end(&run);
        op_values(&run, DTYPE_I32, 6, values);
        set_int(&run, "select_last_index", last);
        CHECK_OK(op_run(&run, OP_ArgMin, 1), &run.diag);
        CHECK_INT(*(const int64_t *)run.output[0].data, last ? 5 : 3);
        op_run_end(&run);
    }
    op_input(&run, DTYPE_F32, 2, (const int64_t[]){2, 0});
    set_int(&run, "axis", 1);
    CHECK_INT(op_run(&run, OP_ArgMax, 1), STATUS_BAD_DATA);
    op_run_end(&run);
}

/* -- outputs whose size depends on data -- */

static void check_ints(const Tensor *tensor, int64_t count, const int64_t *values) {
    CHECK_INT(tensor_count(tensor), count);
    for (int64_t i = 0; i < count; ++i) CHECK_INT(dtype_load_i64(tensor->dtype, tensor->data, i), values[i]);
}

static void test_late_sizes(void) {
    OpRun run = {.pool = pool};
    op_values(&run, DTYPE_F32, 7, (const double[]){2, 1, 1, 3, 4, 3, 1});
    set_int(&run, "sorted", 0);
    CHECK_OK(op_run(&run, OP_Unique, 4), &run.diag);
    check_ints(&run.output[0], 4, (const int64_t[]){2, 1, 3, 4});
    check_ints(&run.output[1], 4, (const int64_t[]){0, 1, 3, 4});
    check_ints(&run.output[2], 7, (const int64_t[]){0, 1, 1, 2, 3, 2, 1});
    check_ints(&run.output[3], 4, (const int64_t[]){1, 3, 2, 1});
    op_run_end(&run);
    op_values(&run, DTYPE_F32, 5, (const double[]){0, -0.0, 2, 0, NAN});
    CHECK_OK(op_run(&run, OP_NonZero, 1), &run.diag);
    check_ints(&run.output[0], 2, (const int64_t[]){2, 4});
    op_run_end(&run);
    op_values(&run, DTYPE_I32, 5, (const double[]){5, 6, 7, 8, 9});
    op_values(&run, DTYPE_BOOL, 3, (const double[]){1, 0, 1});
    CHECK_OK(op_run(&run, OP_Compress, 1), &run.diag);
    check_ints(&run.output[0], 2, (const int64_t[]){5, 7});
    op_run_end(&run);
}

static void test_suppression(void) {
    /* three boxes on a line: 1 covers most of 0, 2 stands apart */
    static const double boxes[] = {0, 0, 1, 10, 0, 1, 1, 11, 0, 20, 1, 30};
    OpRun run = {.pool = pool};
    for (int k = 0; k < 3; ++k) {
        Tensor *b = op_input(&run, DTYPE_F32, 3, (const int64_t[]){1, 3, 4});
        Tensor *s = op_input(&run, DTYPE_F32, 3, (const int64_t[]){1, 1, 3});
        for (int i = 0; i < 12; ++i) dtype_store_f64(DTYPE_F32, b->data, i, boxes[i]);
        for (int i = 0; i < 3; ++i) dtype_store_f64(DTYPE_F32, s->data, i, i == 1 ? 0.9 : 0.5);
        op_values(&run, DTYPE_I64, 1, (const double[]){k == 0 ? 1 : 10});
        op_values(&run, DTYPE_F32, 1, (const double[]){k == 2 ? 0.9 : 0.5});
        CHECK_OK(op_run(&run, OP_NonMaxSuppression, 1), &run.diag);
        CHECK_INT(run.output[0].dim[0], k + 1);
        CHECK_INT(((const int64_t *)run.output[0].data)[2], 1);
        if (k == 1) CHECK_INT(((const int64_t *)run.output[0].data)[5], 2);
        if (k == 2) CHECK_INT(((const int64_t *)run.output[0].data)[5], 0); /* ties: the lower index first */
        op_run_end(&run);
    }
}

int main(void) {
    Diag diag = {0};
    for (int threads = 1; threads <= 2; ++threads) {
        CHECK_OK(thread_pool_create(threads, NULL, &pool, &diag), &diag);
        test_gather();
        test_elements();
        test_reductions();
        test_tuples();
        test_bounds();
        test_topk();
        test_arg();
        test_late_sizes();
        test_suppression();
        thread_pool_destroy(pool);
    }
    return test_result();
}
