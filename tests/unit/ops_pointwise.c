#include "ops/pointwise.h"

#include "op_values.h"

static uint8_t random_bits(OpRun *run, int mask) {
    return (uint8_t)((int)((op_run_random(run) + 1) * 1000) & mask);
}

/* Element of a broadcast operand that goes with element i of out. */
static double broadcast_at(const Tensor *operand, const Tensor *out, int64_t i) {
    int64_t index = 0, stride = 1;
    for (int32_t k = out->rank - 1; k >= 0; --k) {
        int32_t own = k - (out->rank - operand->rank);
        int64_t coordinate = i % out->dim[k];
        i /= out->dim[k];
        if (own < 0) continue;
        if (operand->dim[own] > 1) index += coordinate * stride;
        stride *= operand->dim[own];
    }
    return op_run_at(operand, index);
}

static void check_broadcast(DType dtype, int32_t rank_a, const int64_t *a, int32_t rank_b, const int64_t *b,
                            ThreadPool *pool) {
    OpRun run = {.pool = pool};
    op_noise(&run, dtype, rank_a, a, 0, 50);
    op_noise(&run, dtype, rank_b, b, 52, 100);
    Status status = op_run_name(&run, "Sub", 1);
    CHECK_OK(status, &run.diag);
    const Tensor *out = &run.output[0];
    int wrong = 0;
    for (int64_t i = 0, n = status == STATUS_OK ? tensor_count(out) : 0; i < n; ++i) {
        double x = broadcast_at(&run.input[0], out, i), y = broadcast_at(&run.input[1], out, i),
               expected = x - y;
        if (dtype_kind(dtype) == DTYPE_KIND_UNSIGNED) expected += ldexp(1, dtype_bits(dtype));
        if (fabs(op_run_at(out, i) - expected) > fabs(expected) * 0.01) ++wrong;
    }
    CHECK_INT(wrong, 0);
    op_run_end(&run);
}

static void test_broadcast(ThreadPool *pool) {
    static const DType dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_BF16, DTYPE_I64,
                                   DTYPE_I32, DTYPE_U8,  DTYPE_I8,  DTYPE_U16,  DTYPE_U32};
    static const struct {
        int32_t rank_a, rank_b;
        int64_t a[8], b[8];
    } shapes[] = {
        {1, 1, {5000}, {5000}},
        {1, 1, {5000}, {1}},
        {0, 2, {0}, {3, 700}},
        {4, 3, {2, 3, 40, 41}, {3, 1, 1}},
        {4, 1, {2, 30, 40, 3}, {3}},
        {4, 4, {5, 1, 6, 1}, {1, 7, 1, 300}},
        {8, 8, {2, 1, 2, 1, 3, 1, 2, 5}, {1, 3, 1, 2, 1, 2, 2, 1}},
        {3, 3, {4, 0, 5}, {1, 1, 5}},
        {2, 2, {3000, 2}, {3000, 1}},
    };
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; ++d)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; ++s) {
            check_broadcast(dtypes[d], shapes[s].rank_a, shapes[s].a, shapes[s].rank_b, shapes[s].b, pool);
            check_broadcast(dtypes[d], shapes[s].rank_b, shapes[s].b, shapes[s].rank_a, shapes[s].a, pool);
        }
}

/* -- one element, all operands rank 0 -- */

static int64_t integer(const char *op, DType dtype, int64_t x, int64_t y) {
    OpRun run = {0};
    int64_t operands[2] = {x, y}, none = 0, result = 0;
    for (int i = 0; i < 2; ++i) dtype_store_i64(dtype, op_input(&run, dtype, 0, &none)->data, 0, operands[i]);
    CHECK_OK(op_run_name(&run, op, 1), &run.diag);
    result = dtype_load_i64(run.output[0].dtype, run.output[0].data, 0);
    op_run_end(&run);
    return result;
}

static double real(const char *op, const char *attr, float value, double x) {
    OpRun run = {0};
    if (attr != NULL) CHECK(attr_set_float(&run.attrs, &run.arena, attr, value));
    op_values(&run, DTYPE_F32, -1, &x);
    CHECK_OK(op_run_name(&run, op, 1), &run.diag);
    double result = op_run_at(&run.output[0], 0);
    op_run_end(&run);
    return result;
}

static void test_integers(void) {
    CHECK_INT(integer("Div", DTYPE_I32, -7, 2), -3);
    CHECK_INT(integer("Div", DTYPE_I64, INT64_MIN, -1), INT64_MIN);
    CHECK_INT(integer("Div", DTYPE_I32, INT32_MIN, -1), INT32_MIN);
    CHECK_INT(integer("Mod", DTYPE_I32, -7, 3), 2);
    CHECK_INT(integer("Mod", DTYPE_I32, 7, -3), -2);
    CHECK_INT(integer("Mod", DTYPE_I64, INT64_MIN, -1), 0);
    CHECK_INT(integer("Add", DTYPE_I8, 127, 1), -128);
    CHECK_INT(integer("Mul", DTYPE_I64, INT64_MAX, 2), -2);
    CHECK_INT(integer("Pow", DTYPE_I64, -3, 3), -27);
    CHECK_INT(integer("Pow", DTYPE_I32, 2, -1), 0);
    CHECK_INT(integer("Greater", DTYPE_I64, (1ll << 53) + 1, 1ll << 53), 1);
    CHECK_INT(integer("Equal", DTYPE_I64, (1ll << 53) + 1, 1ll << 53), 0);
    CHECK_INT(integer("Less", DTYPE_U64, -1, 1), 0); /* 2^64 - 1 */
    CHECK_INT(integer("Max", DTYPE_U64, -1, 1), -1);
    CHECK_INT(integer("Min", DTYPE_I64, -1, 1), -1);
    CHECK_INT(integer("Xor", DTYPE_BOOL, 1, 1), 0);
    CHECK_INT(integer("And", DTYPE_BOOL, 1, 1), 1);
}

static void test_shift(void) {
    static const struct {
        const char *direction;
        double x, y;
        int64_t expected;
    } cases[] = {{"LEFT", 129, 1, 2}, {"RIGHT", 129, 1, 64}, {"LEFT", 1, 200, 0}, {"RIGHT", 255, 64, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        OpRun run = {0};
        CHECK(attr_set_string(&run.attrs, &run.arena, "direction", cases[i].direction));
        op_values(&run, DTYPE_U8, -1, &cases[i].x);
        op_values(&run, DTYPE_U8, -1, &cases[i].y);
        CHECK_OK(op_run_name(&run, "BitShift", 1), &run.diag);
        CHECK_INT(op_run_at(&run.output[0], 0), cases[i].expected);
        op_run_end(&run);
    }
}

static void test_reals(void) {
    CHECK_NEAR(real("Relu", NULL, 0, -2), 0, 0);
    CHECK(isnan(real("Relu", NULL, 0, NAN)) && isnan(real("Sign", NULL, 0, NAN)));
    CHECK_NEAR(real("LeakyRelu", "alpha", 0.25f, -2), -0.5, 0);
    CHECK_NEAR(real("Elu", "alpha", 2, -1e-4), 2 * expm1(-1e-4), 1e-10);
    CHECK_NEAR(real("HardSigmoid", "alpha", 0.5f, 0.5), 0.75, 1e-7);
    CHECK_NEAR(real("Swish", "alpha", 0.5f, 3), 3 / (1 + exp(-1.5)), 1e-6);
    CHECK_NEAR(real("Gelu", NULL, 0, -1), -0.5 * (1 - erf(sqrt(0.5))), 1e-6);
    CHECK_NEAR(real("Mish", NULL, 0, 40), 40, 0);
    CHECK_NEAR(real("Softplus", NULL, 0, -30), exp(-30), 1e-19);
    CHECK_NEAR(real("Softplus", NULL, 0, 200), 200, 0);
    CHECK_NEAR(real("Round", NULL, 0, 2.5), 2, 0);
    CHECK_NEAR(real("Round", NULL, 0, -1.5), -2, 0);
    CHECK_NEAR(real("Shrink", "bias", 0.25f, 2), 1.75, 0);
    CHECK_NEAR(real("ThresholdedRelu", "alpha", 2, 2), 0, 0);
}

static void test_gelu_tanh(void) {
    OpRun run = {0};
    double x = 0.75, inner = 0.79788456080286535588 * (x + 0.044715 * x * x * x);
    CHECK(attr_set_string(&run.attrs, &run.arena, "approximate", "tanh"));
    op_values(&run, DTYPE_F64, -1, &x);
    CHECK_OK(op_run_name(&run, "Gelu", 1), &run.diag);
    CHECK_NEAR(op_run_at(&run.output[0], 0), 0.5 * x * (1 + tanh(inner)), 1e-15);
    op_run_end(&run);
}

/* -- what a status refuses -- */

static void check_refused(const char *op, DType a, int64_t count_a, DType b, int64_t count_b,
                          Status expected) {
    OpRun run = {0};
    op_input(&run, a, 1, &count_a);
    op_input(&run, b, 1, &count_b);
    CHECK_INT(op_run_name(&run, op, 1), expected);
    op_run_end(&run);
}

static void test_refusals(void) {
    check_refused("Div", DTYPE_I32, 3, DTYPE_I32, 3, STATUS_BAD_DATA); /* zeros */
    check_refused("Mod", DTYPE_U8, 3, DTYPE_U8, 1, STATUS_BAD_DATA);
    check_refused("Div", DTYPE_I32, 0, DTYPE_I32, 1, STATUS_OK); /* nothing is divided */
    check_refused("Add", DTYPE_F32, 3, DTYPE_F32, 4, STATUS_BAD_MODEL);
    check_refused("Add", DTYPE_F32, 3, DTYPE_F64, 3, STATUS_BAD_MODEL);
    check_refused("Add", DTYPE_BOOL, 3, DTYPE_BOOL, 3, STATUS_BAD_MODEL);
    check_refused("And", DTYPE_U8, 3, DTYPE_U8, 3, STATUS_BAD_MODEL);
    check_refused("BitwiseAnd", DTYPE_F32, 3, DTYPE_F32, 3, STATUS_BAD_MODEL);
    check_refused("BitShift", DTYPE_U8, 3, DTYPE_U8, 3, STATUS_BAD_MODEL); /* no direction */
    check_refused("Clip", DTYPE_F32, 3, DTYPE_F32, 3, STATUS_BAD_MODEL);
    check_refused("PRelu", DTYPE_F32, 1, DTYPE_F32, 3, STATUS_BAD_MODEL);
}

/* -- operators with their own ways -- */

static void test_clip(void) {
    static const double x[] = {-5, 0, 5, NAN}, low = -1, high = 2;
    OpRun run = {0};
    op_values(&run, DTYPE_F32, 4, x);
    op_omit(&run);
    op_values(&run, DTYPE_F32, -1, &high);
    CHECK_OK(op_run_name(&run, "Clip", 1), &run.diag);
    CHECK_NEAR(op_run_at(&run.output[0], 0), -5, 0);
    CHECK_NEAR(op_run_at(&run.output[0], 2), 2, 0);
    CHECK(isnan(op_run_at(&run.output[0], 3)));
    op_run_end(&run);
    op_values(&run, DTYPE_I8, 3, x);
    op_values(&run, DTYPE_I8, -1, &low);
    CHECK_OK(op_run_name(&run, "Clip", 1), &run.diag);
    CHECK_INT(op_run_at(&run.output[0], 0), -1);
    CHECK_INT(op_run_at(&run.output[0], 2), 5);
    op_run_end(&run);
}

static void test_slope_by_channel(void) {
    static const int64_t dims[] = {2, 3, 5};
    static const double slope[] = {2, 3, 4};
    OpRun run = {0};
    op_noise(&run, DTYPE_F32, 3, dims, -4, -1);
    op_values(&run, DTYPE_F32, 3, slope);
    CHECK_OK(op_run_name(&run, "PRelu", 1), &run.diag);
    for (int64_t i = 0; i < 30; ++i)
        CHECK_NEAR(op_run_at(&run.output[0], i), op_run_at(&run.input[0], i) * slope[i / 5 % 3], 0);
    op_run_end(&run);
}

static void test_where_moves_bits(void) {
    static const DType dtypes[] = {DTYPE_F32, DTYPE_F64,    DTYPE_F16, DTYPE_I8,
                                   DTYPE_C64, DTYPE_F8E5M2, DTYPE_BOOL};
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; ++d) {
        OpRun run = {0};
        int64_t dims[] = {2000};
        bool is_bool = dtypes[d] == DTYPE_BOOL;
        Tensor *condition = op_input(&run, DTYPE_BOOL, 1, dims);
        Tensor *a = op_input(&run, dtypes[d], 1, dims), *b = op_input(&run, dtypes[d], 1, dims);
        size_t size = tensor_bytes(a) / 2000;
        for (size_t i = 0; i < tensor_bytes(a); ++i) {
            ((uint8_t *)a->data)[i] = random_bits(&run, is_bool ? 1 : 255);
            ((uint8_t *)b->data)[i] = random_bits(&run, is_bool ? 1 : 255);
        }
        for (int i = 0; i < 2000; ++i) ((uint8_t *)condition->data)[i] = random_bits(&run, 1);
        CHECK_OK(op_run_name(&run, "Where", 1), &run.diag);
        int wrong = 0;
        for (size_t i = 0; i < 2000; ++i) {
            const Tensor *from = ((uint8_t *)condition->data)[i] != 0 ? a : b;
            wrong += memcmp((char *)run.output[0].data + i * size, (char *)from->data + i * size, size) != 0;
        }
        CHECK_INT(wrong, 0);
        op_run_end(&run);
    }
}

/* The output may be any of the inputs, also where partial results exist. */
static void test_variadic(void) {
    for (int32_t inputs = 1; inputs <= 5; ++inputs)
        for (int32_t alias = 0; alias <= inputs; ++alias)
            for (int mean = 0; mean < 2; ++mean) {
                OpRun run = {.alias = alias};
                int64_t dims[] = {2500};
                double expected[2500] = {0};
                for (int32_t k = 0; k < inputs; ++k) {
                    const Tensor *x = op_noise(&run, mean ? DTYPE_F16 : DTYPE_F32, 1, dims, -3, 3);
                    for (int i = 0; i < 2500; ++i) expected[i] += op_run_at(x, i) / (mean ? inputs : 1);
                }
                CHECK_OK(op_run_name(&run, mean ? "Mean" : "Sum", 1), &run.diag);
                double worst = 0;
                for (int i = 0; i < 2500; ++i)
                    worst = fmax(worst, fabs(op_run_at(&run.output[0], i) - expected[i]));
                CHECK_NEAR(worst, 0, mean ? 2e-3 : 1e-6);
                op_run_end(&run);
            }
}

static void test_mixed_power(void) {
    static const double base[] = {2, 3, 9}, exponent[] = {3, 2, 0.5};
    OpRun run = {0};
    op_values(&run, DTYPE_I32, 3, base);
    op_values(&run, DTYPE_F32, 3, exponent);
    CHECK_OK(op_run_name(&run, "Pow", 1), &run.diag);
    CHECK_INT(run.output[0].dtype, DTYPE_I32);
    CHECK_INT(op_run_at(&run.output[0], 0), 8);
    CHECK_INT(op_run_at(&run.output[0], 2), 3);
    op_run_end(&run);
    op_values(&run, DTYPE_F32, 3, base);
    op_values(&run, DTYPE_I64, -1, &base[0]);
    CHECK_OK(op_run_name(&run, "Pow", 1), &run.diag);
    CHECK_NEAR(op_run_at(&run.output[0], 2), 81, 0);
    op_run_end(&run);
}

/* -- chains -- */

static void test_blocks(void) {
    enum { COUNT = 3001 };
    static float x[COUNT], y[COUNT], bias = 0.5f, high = 1, out[COUNT];
    PointwiseAttrs add = {.op = OP_Add, .signature = POINTWISE_WRAPPING};
    PointwiseAttrs clip = {.op = OP_Clip, .signature = POINTWISE_BOUND};
    PointwiseAttrs sum = {.op = OP_Sum, .signature = POINTWISE_WRAPPING};
    for (int i = 0; i < COUNT; ++i) x[i] = (float)(i % 17) - 8, y[i] = (float)(i % 5);
    CHECK(pointwise_has_block_f32(OP_Add) && pointwise_has_block_f32(OP_Clip) &&
          pointwise_has_block_f32(OP_Sigmoid));
    CHECK(!pointwise_has_block_f32(OP_Where) && !pointwise_has_block_f32(OP_Less) &&
          !pointwise_has_block_f32(OP_And));
    CHECK(!pointwise_has_block_f32(OP_ReduceSum) && !pointwise_has_block_f32(OP_NONE));

    const float *biased[] = {x, &bias};
    pointwise_block_f32(&add, 2, biased, (const int32_t[]){1, 0}, out, COUNT);
    const float *clipped[] = {out, NULL, &high};
    pointwise_block_f32(&clip, 3, clipped, (const int32_t[]){1, 0, 0}, out, COUNT); /* in place */
    const float *summed[] = {y, out, x};
    pointwise_block_f32(&sum, 3, summed, (const int32_t[]){1, 1, 1}, out, COUNT);
    int wrong = 0;
    for (int i = 0; i < COUNT; ++i) wrong += out[i] != fminf(x[i] + 0.5f, 1) + y[i] + x[i];
    CHECK_INT(wrong, 0);
}

/* -- shape arithmetic -- */

static void test_content(void) {
    Arena arena = {0};
    Diag diag = {0};
    DimTable *dims = dim_table_create(&arena);
    Dim h = dim_symbol(dims, "h", SYMBOL_INPUT), sizes[] = {h, 6};
    int64_t two = 2;
    TypeInfo symbolic = {.dtype = DTYPE_I64, .shape = {1, {2}}, .content = sizes};
    TypeInfo constant = {.dtype = DTYPE_I64, .data = &two};
    static const struct {
        const char *op;
        Dim second;
    } cases[] = {{"Mul", 12}, {"Add", 8}, {"Sub", 4}, {"Div", 3}, {"Mod", 0}, {"Max", 6}, {"Min", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        const TypeInfo *inputs[] = {&symbolic, &constant};
        TypeInfo out = {0};
        AttrList none = {0};
        const void *attrs;
        OpId op = op_find("", cases[i].op);
        ParseCtx parse = {&none, 2, 1, 3, &arena, &diag};
        CHECK_OK(op_parse(op, &parse, &attrs), &diag);
        InferCtx ctx = {attrs, 2, 1, inputs, &out, dims, &arena, &diag};
        CHECK_OK(op_infer(op, &ctx), &diag);
        CHECK(out.content != NULL && out.content[1] == cases[i].second);
        if (i == 0) CHECK(out.content != NULL && out.content[0] == dim_mul(dims, h, 2));
    }
    arena_reset(&arena);
}

int main(void) {
    op_run_with_pools(test_broadcast);
    test_shift();
    test_reals();
    test_gelu_tanh();
    test_refusals();
    test_clip();
    test_slope_by_channel();
    test_where_moves_bits();
    test_variadic();
    test_mixed_power();
    test_blocks();
    test_content();
    test_integers();
    return test_result();
}
