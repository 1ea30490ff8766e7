/* Data movement against index arithmetic, element by element: awkward extents, every element size, one thread
 * and two. */
#include "op_values.h"

static ThreadPool *pool;

/* Element `index` as text of bits: equal texts, equal elements. */
static bool same_element(const Tensor *a, int64_t i, const Tensor *b, int64_t k) {
    int bits = dtype_bits(a->dtype);
    if (bits >= 8)
        return memcmp((char *)a->data + i * bits / 8, (char *)b->data + k * bits / 8, (size_t)bits / 8) == 0;
    return dtype_load_i64(a->dtype, a->data, i) == dtype_load_i64(b->dtype, b->data, k);
}

/* A tensor whose bytes are noise, whatever its type. */
static Tensor *bytes_input(OpRun *run, DType dtype, int32_t rank, const int64_t *dims) {
    Tensor *x = op_input(run, dtype, rank, dims);
    for (size_t i = 0; i < tensor_bytes(x); ++i)
        ((uint8_t *)x->data)[i] = (uint8_t)(op_run_random(run) * 128);
    return x;
}

static void split_index(const Tensor *tensor, int64_t at, int64_t *index) {
    for (int32_t i = tensor->rank - 1; i >= 0; --i) {
        index[i] = at % tensor->dim[i];
        at /= tensor->dim[i];
    }
}

static int64_t join_index(const Tensor *tensor, const int64_t *index) {
    int64_t at = 0;
    for (int32_t i = 0; i < tensor->rank; ++i) at = at * tensor->dim[i] + index[i];
    return at;
}

/* Every output element against the input element that `source` names; -1: zero bits. */
typedef int64_t (*Source)(const OpRun *run, const int64_t *out_index);

static void check_sources(const OpRun *run, Source source) {
    const Tensor *x = &run->input[0], *y = &run->output[0];
    int64_t index[SMELT_MAX_RANK], wrong = 0;
    static const uint64_t zero[2];
    const Tensor nothing = {.dtype = x->dtype, .data = (void *)zero};
    for (int64_t i = 0; i < tensor_count(y); ++i) {
        split_index(y, i, index);
        int64_t from = source(run, index);
        wrong += !(from < 0 ? same_element(y, i, &nothing, 0) : same_element(y, i, x, from));
    }
    CHECK_INT(wrong, 0);
}

static const DType dtypes[] = {DTYPE_U8, DTYPE_F16, DTYPE_F32, DTYPE_I64, DTYPE_C128, DTYPE_U4, DTYPE_I2};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* -- Transpose -- */

static int64_t permutation[SMELT_MAX_RANK];

static int64_t transposed_source(const OpRun *run, const int64_t *out_index) {
    int64_t index[SMELT_MAX_RANK];
    for (int32_t i = 0; i < run->input[0].rank; ++i) index[permutation[i]] = out_index[i];
    return join_index(&run->input[0], index);
}

/* The k-th order of 0 .. rank - 1. */
static void order_of(int32_t rank, int64_t k, int64_t *order) {
    for (int32_t i = 0; i < rank; ++i) order[i] = i;
    for (int32_t i = 0; i < rank; ++i) {
        int64_t swap, pick = i + k % (rank - i);
        k /= rank - i;
        swap = order[i];
        order[i] = order[pick];
        order[pick] = swap;
    }
}

static void test_transpose(int32_t rank, const int64_t *dims, DType dtype) {
    OpRun run = {.pool = pool};
    int64_t orders = 1;
    for (int32_t i = 2; i <= rank; ++i) orders *= i;
    for (int64_t k = 0; k < orders; ++k) {
        order_of(rank, k, permutation);
        bytes_input(&run, dtype, rank, dims);
        op_run_ints(&run, "perm", rank, permutation);
        CHECK_OK(op_run(&run, OP_Transpose, 1), &run.diag);
        check_sources(&run, transposed_source);
        op_run_end(&run);
    }
}

static void test_transposes(void) {
    for (int i = 0; i < DTYPES; ++i) {
        test_transpose(4, (const int64_t[]){2, 3, 5, 7}, dtypes[i]);
        test_transpose(4, (const int64_t[]){3, 1, 0, 2}, dtypes[i]);
        test_transpose(3, (const int64_t[]){67, 3, 129}, dtypes[i]);
        test_transpose(2, (const int64_t[]){131, 200}, dtypes[i]);
        test_transpose(3, (const int64_t[]){64, 17, 16}, dtypes[i]);
    }
    test_transpose(5, (const int64_t[]){2, 3, 4, 5, 3}, DTYPE_F32);
    test_transpose(0, NULL, DTYPE_F32);
}

/* -- Slice -- */

enum { AXES = 3 };
static int64_t starts[AXES], ends[AXES], steps[AXES];

/* Python's own words for a slice, without its clamping: the k-th index from start on. */
static int64_t sliced_source(const OpRun *run, const int64_t *out_index) {
    const Tensor *x = &run->input[0];
    int64_t index[AXES];
    for (int i = 0; i < AXES; ++i) {
        int64_t first = starts[i] < 0 ? starts[i] + x->dim[i] : starts[i];
        if (first < 0) first = 0;
        if (steps[i] < 0 && first >= x->dim[i]) first = x->dim[i] - 1;
        index[i] = first + out_index[i] * steps[i];
    }
    return join_index(x, index);
}

/* How many indices a slice visits, by visiting them. */
static int64_t visited(int64_t extent, int64_t start, int64_t end, int64_t step) {
    int64_t count = 0;
    if (start < 0) start += extent;
    if (end < 0) end += extent;
    if (start < 0) start = 0;
    if (step < 0 && start >= extent) start = extent - 1;
    if (extent == 0) return 0;
    for (int64_t i = start; step > 0 ? i < end && i < extent : i > end && i >= 0; i += step) ++count;
    return count;
}

static void test_slices(void) {
    OpRun run = {.pool = pool, .random = 3};
    static const int64_t dims[] = {7, 1, 13};
    for (int n = 0; n < 400; ++n) {
        Tensor *lists[3];
        bytes_input(&run, dtypes[n % DTYPES], AXES, dims);
        for (int k = 0; k < 2; ++k) lists[k] = op_input(&run, DTYPE_I64, 1, (const int64_t[]){AXES});
        op_omit(&run);
        lists[2] = op_input(&run, DTYPE_I32, 1, (const int64_t[]){AXES});
        for (int i = 0; i < AXES; ++i) {
            starts[i] = (int64_t)(op_run_random(&run) * 16);
            ends[i] = (int64_t)(op_run_random(&run) * 16);
            steps[i] = (int64_t)(op_run_random(&run) * 4);
            if (steps[i] == 0) steps[i] = n % 2 == 0 ? 1 : -1;
            dtype_store_i64(DTYPE_I64, lists[0]->data, i, starts[i]);
            dtype_store_i64(DTYPE_I64, lists[1]->data, i, ends[i]);
            dtype_store_i64(DTYPE_I32, lists[2]->data, i, steps[i]);
        }
        CHECK_OK(op_run(&run, OP_Slice, 1), &run.diag);
        for (int i = 0; i < AXES; ++i)
            CHECK_INT(run.output[0].dim[i], visited(dims[i], starts[i], ends[i], steps[i]));
        check_sources(&run, sliced_source);
        op_run_end(&run);
    }
}

/* -- Pad -- */

static int64_t front[2], kept_first[2], kept_count[2];
static int mode;

/* One step at a time into the kept part, as the words of ONNX have it. */
static int64_t padded_index(int64_t i, int64_t count) {
    while (i < 0 || i >= count) {
        if (mode == 0) return -1;
        if (mode == 1 && count > 1) i = i < 0 ? -i : 2 * (count - 1) - i;
        if (mode == 2 || count == 1) i = i < 0 ? 0 : count - 1;
        if (mode == 3 && count > 1) i += i < 0 ? count : -count;
    }
    return i;
}

static int64_t padded_source(const OpRun *run, const int64_t *out_index) {
    int64_t index[2];
    for (int i = 0; i < 2; ++i) {
        int64_t at = padded_index(out_index[i] - front[i], kept_count[i]);
        if (at < 0) return -1;
        index[i] = kept_first[i] + at;
    }
    return join_index(&run->input[0], index);
}

static void test_pads(void) {
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    static const int64_t dims[] = {5, 9};
    OpRun run = {.pool = pool, .random = 5};
    for (int n = 0; n < 400; ++n) {
        double pads[4];
        mode = n % 4;
        bytes_input(&run, dtypes[n % DTYPES], 2, dims);
        for (int i = 0; i < 4; ++i) pads[i] = floor(op_run_random(&run) * 6 + 4) - (n % 3 == 0 ? 4 : 0);
        for (int i = 0; i < 4; ++i) pads[i] = pads[i] < -2 ? -2 : pads[i];
        for (int i = 0; i < 2; ++i) {
            int64_t behind = (int64_t)pads[i + 2];
            front[i] = pads[i] > 0 ? (int64_t)pads[i] : 0;
            kept_first[i] = front[i] - (int64_t)pads[i];
            kept_count[i] = dims[i] - kept_first[i] + (behind < 0 ? behind : 0);
        }
        op_values(&run, DTYPE_I64, 4, pads);
        CHECK(attr_set_string(&run.attrs, &run.arena, "mode", names[mode]));
        CHECK_OK(op_run(&run, OP_Pad, 1), &run.diag);
        check_sources(&run, padded_source);
        op_run_end(&run);
    }
}

/* -- those that repeat, join and cut -- */

static int64_t modulo_source(const OpRun *run, const int64_t *out_index) {
    const Tensor *x = &run->input[0], *y = &run->output[0];
    int64_t index[SMELT_MAX_RANK];
    for (int32_t i = 0; i < x->rank; ++i) index[i] = out_index[i + y->rank - x->rank] % x->dim[i];
    return join_index(x, index);
}

static void test_repeats(void) {
    OpRun run = {.pool = pool};
    for (int i = 0; i < DTYPES; ++i) {
        bytes_input(&run, dtypes[i], 3, (const int64_t[]){3, 1, 65});
        op_values(&run, DTYPE_I64, 3, (const double[]){2, 131, 3});
        CHECK_OK(op_run(&run, OP_Tile, 1), &run.diag);
        check_sources(&run, modulo_source);
        op_run_end(&run);
        bytes_input(&run, dtypes[i], 3, (const int64_t[]){3, 1, 7});
        op_values(&run, DTYPE_I64, 4, (const double[]){2, 1, 300, 7});
        CHECK_OK(op_run(&run, OP_Expand, 1), &run.diag);
        CHECK_INT(tensor_count(&run.output[0]), 2 * 3 * 300 * 7);
        check_sources(&run, modulo_source);
        op_run_end(&run);
    }
}

/* Cutting a tensor apart and joining the parts gives the tensor, on every axis. */
static void test_split_and_concat(void) {
    static const int64_t dims[] = {7, 11, 13};
    static const double sizes[][3] = {{3, 0, 4}, {1, 9, 1}, {0, 12, 1}};
    OpRun run = {.pool = pool};
    for (int axis = 0; axis < 3; ++axis) {
        for (int i = 0; i < DTYPES; ++i) {
            OpRun join = {.pool = pool};
            const Tensor *x = bytes_input(&run, dtypes[i], 3, dims);
            op_values(&run, DTYPE_I64, 3, sizes[axis]);
            CHECK(attr_set_int(&run.attrs, &run.arena, "axis", axis));
            CHECK_OK(op_run(&run, OP_Split, 3), &run.diag);
            for (int k = 0; k < 3; ++k) {
                join.input[k] = run.output[k];
                join.present[k] = true;
            }
            join.input_count = 3;
            CHECK(attr_set_int(&join.attrs, &join.arena, "axis", axis - 3));
            CHECK_OK(op_run(&join, OP_Concat, 1), &join.diag);
            int64_t wrong = 0;
            for (int64_t k = 0; k < tensor_count(x); ++k) wrong += !same_element(x, k, &join.output[0], k);
            CHECK_INT(wrong, 0);
            op_run_end(&join);
            op_run_end(&run);
        }
    }
}

static int64_t block_size;

static int64_t depth_source(const OpRun *run, const int64_t *o) {
    const Tensor *x = &run->input[0];
    int64_t b = block_size, channel = (o[2] % b * b + o[3] % b) * (x->dim[1] / (b * b)) + o[1];
    return join_index(x, (const int64_t[]){o[0], channel, o[2] / b, o[3] / b});
}

static void test_depth_and_space(void) {
    OpRun run = {.pool = pool}, back = {.pool = pool};
    for (block_size = 1; block_size <= 3; ++block_size) {
        const Tensor *x = bytes_input(&run, DTYPE_F32, 4, (const int64_t[]){2, 36, 5, 7});
        CHECK(attr_set_int(&run.attrs, &run.arena, "blocksize", block_size));
        CHECK_OK(op_run(&run, OP_DepthToSpace, 1), &run.diag);
        check_sources(&run, depth_source);
        back.input[0] = run.output[0];
        back.present[0] = true;
        back.input_count = 1;
        CHECK(attr_set_int(&back.attrs, &back.arena, "blocksize", block_size));
        CHECK_OK(op_run(&back, OP_SpaceToDepth, 1), &back.diag);
        CHECK(memcmp(x->data, back.output[0].data, tensor_bytes(x)) == 0);
        op_run_end(&back);
        op_run_end(&run);
    }
}

static void test_triangles(void) {
    OpRun run = {.pool = pool};
    for (int upper = 0; upper < 2; ++upper) {
        for (double k = -7; k <= 7; ++k) {
            int64_t wrong = 0, index[3];
            const Tensor *x = bytes_input(&run, DTYPE_I64, 3, (const int64_t[]){2, 5, 4});
            op_values(&run, DTYPE_I64, -1, &k);
            CHECK(attr_set_int(&run.attrs, &run.arena, "upper", upper));
            CHECK_OK(op_run(&run, OP_Trilu, 1), &run.diag);
            for (int64_t i = 0; i < tensor_count(x); ++i) {
                split_index(x, i, index);
                bool kept = upper ? index[2] >= index[1] + (int64_t)k : index[2] <= index[1] + (int64_t)k;
                wrong +=
                    ((const int64_t *)run.output[0].data)[i] != (kept ? ((const int64_t *)x->data)[i] : 0);
            }
            CHECK_INT(wrong, 0);
            op_run_end(&run);
        }
    }
}

int main(void) {
    Diag diag = {0};
    for (int threads = 1; threads <= 2; ++threads) {
        CHECK_OK(thread_pool_create(threads, NULL, &pool, &diag), &diag);
        test_transposes();
        test_slices();
        test_pads();
        test_repeats();
        test_split_and_concat();
        test_depth_and_space();
        test_triangles();
        thread_pool_destroy(pool);
    }
    return test_result();
}
