/* Convolutions against plain loops, on awkward shapes: every path (direct product, windows, depthwise,
 * phases), one to three dimensions, f32 and others, one thread and two. */
#include "op_run.h"

typedef struct Case {
    int axes;
    int64_t batch, channels, outputs, group;
    int64_t in[3], kernel[3], stride[3], dilation[3], begin[3], end[3];
} Case;

static const Case cases[] = {
    {1, 1, 1, 1, 1, {1}, {1}, {1}, {1}, {0}, {0}},
    {1, 2, 3, 5, 1, {17}, {3}, {2}, {2}, {1}, {3}},
    {1, 1, 7, 7, 7, {301}, {5}, {1}, {1}, {2}, {2}},
    {2, 1, 13, 11, 1, {7, 5}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 2, 6, 9, 3, {7, 7}, {3, 3}, {2, 1}, {1, 1}, {1, 0}, {0, 2}},
    {2, 2, 8, 8, 8, {17, 19}, {5, 5}, {2, 2}, {1, 1}, {2, 1}, {2, 3}},
    {2, 1, 4, 12, 4, {9, 31}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 5, 5, 5, {23, 23}, {3, 2}, {3, 2}, {2, 3}, {0, 4}, {1, 0}},
    {2, 1, 2, 2, 2, {70, 500}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 16, 33, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 3, 17, 1, {31, 33}, {7, 7}, {3, 3}, {1, 1}, {3, 3}, {3, 3}},
    {2, 1, 300, 13, 1, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 3, 16, 1, {64, 65}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 4, 4, 2, {10, 10}, {1, 1}, {2, 2}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 3, 4, 1, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {5, 5}, {5, 5}},
    {3, 1, 2, 3, 1, {5, 6, 7}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    {3, 2, 4, 6, 2, {6, 5, 11}, {2, 3, 2}, {2, 1, 3}, {1, 2, 1}, {0, 1, 2}, {1, 0, 0}},
    {3, 1, 3, 3, 3, {5, 5, 5}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
};

/* Case with the missing axes in front. */
static Case widen(const Case *from) {
    Case c = *from;
    int missing = 3 - c.axes;
    for (int i = 2; i >= 0; --i) {
        bool own = i >= missing;
        c.in[i] = own ? from->in[i - missing] : 1;
        c.kernel[i] = own ? from->kernel[i - missing] : 1;
        c.stride[i] = own ? from->stride[i - missing] : 1;
        c.dilation[i] = own ? from->dilation[i - missing] : 1;
        c.begin[i] = own ? from->begin[i - missing] : 0;
        c.end[i] = own ? from->end[i - missing] : 0;
    }
    return c;
}

/* Where tap k of output position o reads along an axis; -1 in the padding. */
static int64_t source(const Case *c, int axis, int64_t o, int64_t k) {
    int64_t i = o * c->stride[axis] - c->begin[axis] + k * c->dilation[axis];
    return i < c->in[axis] ? i : -1;
}

static double plain_sum(const Case *c, const Tensor *x, const Tensor *w, int64_t n, int64_t m,
                        const int64_t *o) {
    int64_t per_group = c->channels / c->group, group = m / (c->outputs / c->group);
    double sum = 0;
    for (int64_t ch = 0; ch < per_group; ++ch)
        for (int64_t a = 0; a < c->kernel[0]; ++a)
            for (int64_t b = 0; b < c->kernel[1]; ++b)
                for (int64_t d = 0; d < c->kernel[2]; ++d) {
                    int64_t z = source(c, 0, o[0], a), y = source(c, 1, o[1], b), i = source(c, 2, o[2], d);
                    if (z < 0 || y < 0 || i < 0) continue;
                    int64_t plane = n * c->channels + group * per_group + ch;
                    int64_t tap = ((m * per_group + ch) * c->kernel[0] + a) * c->kernel[1] + b;
                    sum += op_run_at(x, ((plane * c->in[0] + z) * c->in[1] + y) * c->in[2] + i) *
                           op_run_at(w, tap * c->kernel[2] + d);
                }
    return sum;
}

static double worst_error(const Case *c, const OpRun *run, int axes) {
    const Tensor *y = &run->output[0];
    int64_t out[3] = {1, 1, 1}, index = 0;
    double worst = 0;
    for (int i = 0; i < axes; ++i) out[3 - axes + i] = y->dim[2 + i];
    for (int64_t n = 0; n < c->batch; ++n)
        for (int64_t m = 0; m < c->outputs; ++m)
            for (int64_t o0 = 0; o0 < out[0]; ++o0)
                for (int64_t o1 = 0; o1 < out[1]; ++o1)
                    for (int64_t o2 = 0; o2 < out[2]; ++o2, ++index) {
                        double wanted =
                            plain_sum(c, &run->input[0], &run->input[1], n, m, (int64_t[]){o0, o1, o2});
                        if (run->input_count > 2) wanted += op_run_at(&run->input[2], m);
                        double error = fabs(op_run_at(y, index) - wanted) / (1 + fabs(wanted));
                        if (!(error <= worst)) worst = error;
                    }
    CHECK_INT(index, tensor_count(y));
    return worst;
}

static void set_attributes(OpRun *run, const Case *c) {
    int64_t pads[6];
    for (int i = 0; i < c->axes; ++i) {
        pads[i] = c->begin[i];
        pads[c->axes + i] = c->end[i];
    }
    op_run_ints(run, "strides", c->axes, c->stride);
    op_run_ints(run, "dilations", c->axes, c->dilation);
    op_run_ints(run, "kernel_shape", c->axes, c->kernel);
    op_run_ints(run, "pads", 2 * c->axes, pads);
    CHECK(attr_set_int(&run->attrs, &run->arena, "group", c->group));
}

static const int64_t *image_dims(int64_t *dims, int64_t a, int64_t b, int axes, const int64_t *rest) {
    dims[0] = a;
    dims[1] = b;
    for (int i = 0; i < axes; ++i) dims[2 + i] = rest[i];
    dims[2 + axes] = -1;
    return dims;
}

static void test_conv(OpRun *run, const Case *c, DType dtype, bool bias, double tolerance) {
    int64_t dims[6];
    set_attributes(run, c);
    op_run_input(run, dtype, 1, image_dims(dims, c->batch, c->channels, c->axes, c->in));
    op_run_input(run, dtype, 1, image_dims(dims, c->outputs, c->channels / c->group, c->axes, c->kernel));
    if (bias) op_run_input(run, dtype, 1, DIMS(c->outputs));
    CHECK_OK(op_run(run, OP_Conv, 1), &run->diag);
    Case wide = widen(c);
    CHECK_NEAR(worst_error(&wide, run, c->axes), 0, tolerance);
    op_run_end(run);
}

/* The transposed convolution is the adjoint: <conv(x), y> = <x, transposed(y)>, with the same weights. */
static void test_transpose(OpRun *run, const Case *c, DType dtype, double tolerance) {
    int64_t dims[6], out[3], padding[3];
    bool any = false;
    for (int i = 0; i < c->axes; ++i) {
        int64_t reach = c->in[i] + c->begin[i] + c->end[i] - (c->kernel[i] - 1) * c->dilation[i] - 1;
        out[i] = reach / c->stride[i] + 1;
        padding[i] = reach % c->stride[i];
        any = any || padding[i] != 0;
    }
    set_attributes(run, c);
    if (any) op_run_ints(run, "output_padding", c->axes, padding);
    op_run_input(run, dtype, 1, image_dims(dims, c->batch, c->outputs, c->axes, out));
    op_run_input(run, dtype, 1, image_dims(dims, c->outputs, c->channels / c->group, c->axes, c->kernel));
    CHECK_OK(op_run(run, OP_ConvTranspose, 1), &run->diag);
    CHECK_INT(run->output[0].dim[1], c->channels);
    for (int i = 0; i < c->axes; ++i) CHECK_INT(run->output[0].dim[2 + i], c->in[i]);
    OpRun forward = {.random = run->random};
    set_attributes(&forward, c);
    Tensor *x = op_run_input(&forward, dtype, 1, image_dims(dims, c->batch, c->channels, c->axes, c->in));
    forward.input[1] = run->input[1];
    forward.present[1] = true;
    forward.input_count = 2;
    CHECK_OK(op_run(&forward, OP_Conv, 1), &forward.diag);
    double left = 0, right = 0, size = 1;
    for (int64_t i = 0; i < tensor_count(&forward.output[0]); ++i)
        left += op_run_at(&forward.output[0], i) * op_run_at(&run->input[0], i);
    for (int64_t i = 0; i < tensor_count(x); ++i) {
        right += op_run_at(x, i) * op_run_at(&run->output[0], i);
        size += fabs(op_run_at(x, i) * op_run_at(&run->output[0], i));
    }
    CHECK_NEAR((left - right) / size, 0, tolerance);
    op_run_end(&forward);
    op_run_end(run);
}

static void test_all(ThreadPool *pool) {
    OpRun run = {.pool = pool, .random = 7};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        test_conv(&run, &cases[i], DTYPE_F32, true, 3e-5);
        test_conv(&run, &cases[i], DTYPE_F64, false, 1e-12);
        test_conv(&run, &cases[i], DTYPE_F16, true, 2e-3);
        test_transpose(&run, &cases[i], DTYPE_F32, 1e-5);
        test_transpose(&run, &cases[i], DTYPE_F64, 1e-12);
    }
}

static void test_integer(void) {
    OpRun run = {.random = 3};
    op_run_ints(&run, "pads", 4, (int64_t[]){1, 1, 1, 1});
    Tensor *x = op_run_input(&run, DTYPE_U8, 0, DIMS(1, 1, 3, 3));
    Tensor *w = op_run_input(&run, DTYPE_I8, 0, DIMS(2, 1, 2, 2));
    Tensor *x_zero = op_run_input(&run, DTYPE_U8, 0, DIMS(1));
    Tensor *w_zero = op_run_input(&run, DTYPE_I8, 0, DIMS(2));
    for (int i = 0; i < 9; ++i) ((uint8_t *)x->data)[i] = (uint8_t)(i + 2);
    for (int i = 0; i < 8; ++i) ((int8_t *)w->data)[i] = (int8_t)(i < 4 ? 1 : -2);
    ((uint8_t *)x_zero->data)[0] = 1;
    ((int8_t *)w_zero->data)[1] = 1;
    CHECK_OK(op_run(&run, OP_ConvInteger, 1), &run.diag);
    static const int32_t wanted[16] = {1, 3, 5, 3, 5, 12, 16, 9, 11, 24, 28, 15, 7, 15, 17, 9};
    for (int i = 0; i < 16; ++i) {
        CHECK_INT(((int32_t *)run.output[0].data)[i], wanted[i]);
        CHECK_INT(((int32_t *)run.output[0].data)[16 + i], -3 * wanted[i]);
    }
    op_run_end(&run);
}

/* Each is refused with a reason, not computed. */
static void test_refusals(void) {
    static const struct {
        const char *attribute;
        int32_t count;
        int64_t values[4];
        const char *reason;
    } bad[] = {
        {"strides", 2, {0, 1}, "strides[0] is 0"},
        {"dilations", 2, {1, -1}, "dilations[1] is -1"},
        {"pads", 4, {-1, 0, 0, 0}, "pads[0] is -1"},
        {"pads", 3, {0, 0, 0}, "pads has 3 values"},
        {"strides", 3, {1, 1, 1}, "input 0 has 2 spatial axes"},
        {"dilations", 2, {9, 9}, "does not fit"},
        {"kernel_shape", 2, {2, 3}, "kernel_shape[0] is 2"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        OpRun run = {0};
        op_run_ints(&run, bad[i].attribute, bad[i].count, bad[i].values);
        op_run_input(&run, DTYPE_F32, 1, DIMS(1, 2, 5, 5));
        op_run_input(&run, DTYPE_F32, 1, DIMS(3, 2, 3, 3));
        CHECK_INT(op_run(&run, OP_Conv, 1), STATUS_BAD_MODEL);
        CHECK(strstr(run.diag.text, bad[i].reason) != NULL);
        op_run_end(&run);
    }
    OpRun run = {0};
    op_run_input(&run, DTYPE_F32, 1, DIMS(1, 4, 5, 5));
    op_run_input(&run, DTYPE_F32, 1, DIMS(3, 2, 3, 3));
    CHECK_INT(op_run(&run, OP_Conv, 1), STATUS_BAD_MODEL);
    CHECK(strstr(run.diag.text, "4 channels") != NULL);
    op_run_end(&run);
}

int main(void) {
    op_run_with_pools(test_all);
    test_integer();
    test_refusals();
    return test_result();
}
