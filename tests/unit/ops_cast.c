/* Casts and quantization. */
#include "op_values.h"

static const DType dtypes[] = {DTYPE_F32, DTYPE_U8,  DTYPE_I8,       DTYPE_U16,   DTYPE_I16,
                               DTYPE_I32, DTYPE_I64, DTYPE_F16,      DTYPE_BOOL,  DTYPE_F64,
                               DTYPE_U32, DTYPE_U64, DTYPE_BF16,     DTYPE_U4,    DTYPE_I4,
                               DTYPE_U2,  DTYPE_I2,  DTYPE_F8E4M3FN, DTYPE_F8E5M2};

static double range_of(DType dtype) {
    return dtype_is_float(dtype) ? 100 : ldexp(1, dtype_bits(dtype) < 8 ? dtype_bits(dtype) - 1 : 7) - 1;
}

/* Every pair of types, on values that both have: they come through, cut off where the target is an integer,
 * or rounded where it is one of few bits. */
static void check_pair(DType from, DType to, ThreadPool *pool) {
    static const int64_t dims[] = {2345};
    OpRun run = {.pool = pool};
    double range = fmin(range_of(from), range_of(to));
    double fraction = dtype_is_float(from) && dtype_bits(from) >= 32 ? 0.75 : 0;
    bool packed = dtype_bits(to) < 8;
    bool is_signed = dtype_kind(from) != DTYPE_KIND_UNSIGNED && dtype_kind(to) != DTYPE_KIND_UNSIGNED;
    CHECK(attr_set_int(&run.attrs, &run.arena, "to", to));
    const Tensor *x =
        op_noise(&run, from, 1, dims, is_signed ? -range : 0, range + (packed ? fraction / 2 : fraction));
    CHECK_OK(op_run_name(&run, "Cast", 1), &run.diag);
    CHECK_INT(run.output[0].dtype, to);
    int wrong = 0;
    for (int64_t i = 0; i < 2345; ++i) {
        double value = op_run_at(x, i), expected = value, got = op_run_at(&run.output[0], i), tolerance = 0;
        if (to == DTYPE_BOOL) expected = value != 0;
        if (dtype_is_integer(to)) expected = packed ? rint(value) : trunc(value);
        if (to == DTYPE_F16) tolerance = fabs(value) / 2048;
        if (to == DTYPE_BF16) tolerance = fabs(value) / 256;
        if (dtype_is_float(to) && dtype_bits(to) == 8) tolerance = fabs(value) / 8 + 0.01;
        wrong += !(fabs(got - expected) <= tolerance);
    }
    CHECK_INT(wrong, 0);
    if (wrong != 0) fprintf(stderr, "  %s to %s\n", dtype_name(from), dtype_name(to));
    op_run_end(&run);
}

static double cast_one(DType from, DType to, double value, int64_t saturate) {
    OpRun run = {0};
    CHECK(attr_set_int(&run.attrs, &run.arena, "to", to));
    CHECK(attr_set_int(&run.attrs, &run.arena, "saturate", saturate));
    op_values(&run, from, -1, &value);
    CHECK_OK(op_run_name(&run, "Cast", 1), &run.diag);
    double result = op_run_at(&run.output[0], 0);
    op_run_end(&run);
    return result;
}

static void test_edges(void) {
    CHECK_INT(cast_one(DTYPE_I32, DTYPE_U8, 300, 1), 44);
    CHECK_INT(cast_one(DTYPE_I16, DTYPE_I8, 200, 1), -56);
    CHECK_INT(cast_one(DTYPE_F32, DTYPE_I32, -2.75, 1), -2);
    CHECK_INT(cast_one(DTYPE_F64, DTYPE_BOOL, 0.25, 1), 1);
    CHECK_INT(cast_one(DTYPE_F32, DTYPE_BOOL, NAN, 1), 1);
    CHECK(cast_one(DTYPE_F64, DTYPE_F32, 1e300, 1) == INFINITY);
    CHECK_INT(cast_one(DTYPE_F32, DTYPE_F8E4M3FN, 1000, 1), 448);
    CHECK(isnan(cast_one(DTYPE_F32, DTYPE_F8E4M3FN, 1000, 0)));
    CHECK(cast_one(DTYPE_F32, DTYPE_F8E5M2, 1e6, 0) == INFINITY);
    CHECK(cast_one(DTYPE_U64, DTYPE_F32, 0x1p63, 1) == 0x1p63);
    CHECK(cast_one(DTYPE_I64, DTYPE_F64, -0x1p62, 1) == -0x1p62);
    /* One rounding: 1 + 2^-11 + 2^-40 is above the tie of f16, but its f32 neighbour is the tie. */
    CHECK_NEAR(cast_one(DTYPE_F64, DTYPE_F16, 1 + 0x1p-11 + 0x1p-40, 1), 1 + 0x1p-10, 0);
}

static void test_cast_refusals(void) {
    static const int64_t targets[] = {DTYPE_STRING, 0, 99};
    static const Status expected[] = {STATUS_UNSUPPORTED, STATUS_BAD_MODEL, STATUS_BAD_MODEL};
    for (size_t i = 0; i < 3; ++i) {
        OpRun run = {0};
        double x = 1;
        CHECK(attr_set_int(&run.attrs, &run.arena, "to", targets[i]));
        op_values(&run, DTYPE_F32, -1, &x);
        Status status = op_run_name(&run, "Cast", 1);
        if (targets[i] != 0) CHECK_INT(status, expected[i]);
        if (targets[i] == 0) CHECK(status != STATUS_OK);
        op_run_end(&run);
    }
}

/* -- quantization: x is [3, 10, 7], the parameters follow axis 1 or 2 -- */

typedef enum Granularity { PER_TENSOR, PER_AXIS, BLOCKED } Granularity;
enum { BLOCK = 4 };

static int64_t parameter_of(Granularity how, int64_t axis, int64_t i) {
    int64_t at[] = {i / 70, i / 7 % 10, i % 7};
    if (how == PER_TENSOR) return 0;
    if (how == PER_AXIS) return at[axis];
    return axis == 1 ? (at[0] * 3 + at[1] / BLOCK) * 7 + at[2] : (at[0] * 10 + at[1]) * 2 + at[2] / BLOCK;
}

static void add_parameters(OpRun *run, Granularity how, int64_t axis, DType quantized) {
    static const int64_t dims[] = {3, 10, 7}, blocked[2][3] = {{3, 3, 7}, {3, 10, 2}};
    const int64_t *shape = how == BLOCKED ? blocked[axis - 1] : &dims[axis];
    int32_t rank = how == PER_TENSOR ? 0 : how == PER_AXIS ? 1 : 3;
    CHECK(attr_set_int(&run->attrs, &run->arena, "axis", axis - 3));
    if (how == BLOCKED) CHECK(attr_set_int(&run->attrs, &run->arena, "block_size", BLOCK));
    op_noise(run, DTYPE_F32, rank, shape, 0.25, 2);
    op_noise(run, quantized, rank, shape, 0, 8);
}

static void check_quantize(Granularity how, int64_t axis, DType to) {
    static const int64_t dims[] = {3, 10, 7};
    OpRun run = {0};
    const Tensor *x = op_noise(&run, DTYPE_F32, 3, dims, -200, 200);
    add_parameters(&run, how, axis, to);
    CHECK_OK(op_run_name(&run, "QuantizeLinear", 1), &run.diag);
    CHECK_INT(run.output[0].dtype, to);
    int bits = dtype_bits(to), wrong = 0;
    bool is_signed = dtype_kind(to) == DTYPE_KIND_SIGNED;
    double low = is_signed ? -ldexp(1, bits - 1) : 0, high = ldexp(1, is_signed ? bits - 1 : bits) - 1;
    for (int64_t i = 0; i < 210; ++i) {
        int64_t p = parameter_of(how, axis, i);
        float ratio = (float)op_run_at(x, i) / (float)op_run_at(&run.input[1], p);
        double expected = fmin(fmax(rint((double)ratio) + op_run_at(&run.input[2], p), low), high);
        wrong += op_run_at(&run.output[0], i) != expected;
    }
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void check_dequantize(Granularity how, int64_t axis, DType from) {
    static const int64_t dims[] = {3, 10, 7};
    OpRun run = {0};
    const Tensor *x = op_noise(&run, from, 3, dims, 0, range_of(from));
    add_parameters(&run, how, axis, from);
    CHECK_OK(op_run_name(&run, "DequantizeLinear", 1), &run.diag);
    CHECK_INT(run.output[0].dtype, DTYPE_F32);
    int wrong = 0;
    for (int64_t i = 0; i < 210; ++i) {
        int64_t p = parameter_of(how, axis, i);
        double expected = (op_run_at(x, i) - op_run_at(&run.input[2], p)) * op_run_at(&run.input[1], p);
        wrong += op_run_at(&run.output[0], i) != expected;
    }
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void test_quantization(void) {
    static const DType quantized[] = {DTYPE_U8, DTYPE_I8, DTYPE_U16, DTYPE_I16, DTYPE_I4, DTYPE_U4};
    for (size_t d = 0; d < sizeof quantized / sizeof *quantized; ++d)
        for (Granularity how = PER_TENSOR; how <= BLOCKED; ++how)
            for (int64_t axis = 1; axis <= 2; ++axis) {
                check_quantize(how, axis, quantized[d]);
                check_dequantize(how, axis, quantized[d]);
            }
}

static void test_quantization_refusals(void) {
    static const int64_t dims[] = {3, 10}, three[] = {3}, four[] = {4};
    OpRun run = {0};
    op_input(&run, DTYPE_F32, 2, dims);
    op_input(&run, DTYPE_F32, 1, three); /* axis 1 has 10 */
    CHECK_INT(op_run_name(&run, "QuantizeLinear", 1), STATUS_BAD_MODEL);
    op_run_end(&run);
    CHECK(attr_set_int(&run.attrs, &run.arena, "axis", 0));
    op_input(&run, DTYPE_I8, 2, dims);
    op_input(&run, DTYPE_F32, 1, three);
    op_input(&run, DTYPE_I8, 1, four); /* unlike the scale */
    CHECK_INT(op_run_name(&run, "DequantizeLinear", 1), STATUS_BAD_MODEL);
    op_run_end(&run);
}

static void test_dynamic(void) {
    static const double x[] = {-1, 0, 3, 4.1}, constant[] = {0, 0};
    OpRun run = {0};
    op_values(&run, DTYPE_F32, 4, x);
    CHECK_OK(op_run_name(&run, "DynamicQuantizeLinear", 3), &run.diag);
    CHECK_NEAR(op_run_at(&run.output[1], 0), 5.1 / 255, 1e-8);
    CHECK_INT(op_run_at(&run.output[2], 0), 50);
    CHECK_INT(op_run_at(&run.output[0], 0), 0);
    CHECK_INT(op_run_at(&run.output[0], 3), 255);
    op_run_end(&run);
    op_values(&run, DTYPE_F32, 2, constant);
    CHECK_OK(op_run_name(&run, "DynamicQuantizeLinear", 3), &run.diag);
    CHECK_INT(op_run_at(&run.output[0], 0), 0);
    CHECK_INT(op_run_at(&run.output[1], 0), 1);
    op_run_end(&run);
}

int main(void) {
    ThreadPool *pool = NULL;
    Diag diag = {0};
    CHECK_OK(thread_pool_create(3, NULL, &pool, &diag), &diag);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; ++i)
        for (size_t k = 0; k < sizeof dtypes / sizeof *dtypes; ++k) check_pair(dtypes[i], dtypes[k], pool);
    test_edges();
    test_cast_refusals();
    test_quantization();
    test_quantization_refusals();
    test_dynamic();
    thread_pool_destroy(pool);
    return test_result();
}
