/* If, Loop and Scan over bodies written in C: which one runs, how often, on what, and what becomes of the
 * results. */
#include "op_values.h"

enum { BODY_PAIR = 1, BODY_SCAN, BODY_ONE, BODY_TWO };

/* An executor of bodies: memory of their own, and how often they ran. */
typedef struct Bodies {
    float own[4];
    uint8_t condition;
    int64_t runs, stop_after;
    float scanned[8];
} Bodies;

static Bodies bodies;

static Tensor scalar_f32(float *value) {
    return (Tensor){.dtype = DTYPE_F32, .data = value};
}

/* (a, b) -> (a + b, a), and a stack of the sums: the second result is the first parameter itself. */
static void run_pair(const Tensor *in, Tensor *out) {
    float a = *(const float *)in[2].data, b = *(const float *)in[3].data;
    int64_t turn = *(const int64_t *)in[0].data;
    CHECK_INT(turn, bodies.runs);
    bodies.condition = bodies.runs + 1 < bodies.stop_after;
    float *sum = &bodies.own[bodies.runs % 2];
    *sum = a + b;
    out[0] = (Tensor){.dtype = DTYPE_BOOL, .data = &bodies.condition};
    out[1] = scalar_f32(sum);
    out[2] = in[2];
    out[3] = scalar_f32(sum);
}

/* (sum, x) -> (sum + x[0], x + 1): a slice of two elements. */
static void run_scan(const Tensor *in, Tensor *out) {
    const float *x = in[1].data;
    CHECK_INT(in[1].rank, 1);
    CHECK_INT(in[1].dim[0], 2);
    bodies.own[bodies.runs % 2] = *(const float *)in[0].data + x[0];
    bodies.own[2] = x[0] + 1;
    bodies.own[3] = x[1] + 1;
    bodies.scanned[bodies.runs] = x[0];
    out[0] = scalar_f32(&bodies.own[bodies.runs % 2]);
    out[1] = (Tensor){.dtype = DTYPE_F32, .rank = 1, .dim = {2}, .data = &bodies.own[2]};
}

static Status run_body(void *executor, int32_t body, int32_t input_count, const Tensor *inputs,
                       int32_t output_count, Tensor *outputs, Diag *diag) {
    (void)executor, (void)input_count, (void)output_count, (void)diag;
    if (body == BODY_PAIR) run_pair(inputs, outputs);
    if (body == BODY_SCAN) run_scan(inputs, outputs);
    if (body == BODY_ONE || body == BODY_TWO) {
        bodies.own[0] = (float)body;
        outputs[0] = scalar_f32(&bodies.own[0]);
    }
    bodies.runs++;
    return STATUS_OK;
}

/* Runs a control-flow operator whose outputs are to be sized by its kernel. ranks: of the outputs. */
static Status run_control(OpRun *run, OpId id, int32_t outputs, const int32_t *ranks) {
    const void *attrs;
    const Tensor *inputs[OP_RUN_TENSORS] = {0};
    Tensor *results[OP_RUN_TENSORS];
    ParseCtx parse = {&run->attrs, run->input_count, outputs, 0, &run->arena, &run->diag};
    for (int32_t i = 0; i < run->input_count; ++i) {
        if (run->present[i]) parse.inputs_present |= (uint64_t)1 << i;
        inputs[i] = run->present[i] ? &run->input[i] : NULL;
    }
    for (int32_t i = 0; i < outputs; ++i) {
        run->output[i] = (Tensor){.dtype = DTYPE_F32, .rank = ranks[i], .dim = {-1, -1}};
        results[i] = &run->output[i];
    }
    TRY(op_parse(id, &parse, &attrs));
    Host host = {0};
    KernelCtx ctx = {.attrs = attrs,
                     .input_count = run->input_count,
                     .output_count = outputs,
                     .inputs = inputs,
                     .outputs = results,
                     .host = &host,
                     .allocate = op_run_allocate,
                     .run_body = run_body,
                     .executor = run,
                     .diag = &run->diag};
    host.scratch_size = op_def(id)->scratch(&ctx);
    host.scratch = arena_alloc(&run->arena, host.scratch_size);
    TRY_ALLOC(&run->diag, host.scratch);
    return op_def(id)->kernel(&ctx);
}

static void test_if(void) {
    OpRun run = {0};
    for (int condition = 0; condition < 2; ++condition) {
        bodies = (Bodies){0};
        op_values(&run, DTYPE_BOOL, -1, (const double[]){condition});
        CHECK(attr_set_block(&run.attrs, &run.arena, "then_branch", BODY_ONE));
        CHECK(attr_set_block(&run.attrs, &run.arena, "else_branch", BODY_TWO));
        CHECK_OK(run_control(&run, OP_If, 1, (const int32_t[]){0}), &run.diag);
        CHECK_INT(bodies.runs, 1);
        CHECK_NEAR(op_run_at(&run.output[0], 0), condition ? BODY_ONE : BODY_TWO, 0);
        op_run_end(&run);
    }
}

/* Fibonacci's numbers, ended by the trip count or by the condition, whichever comes first. */
static void test_loop(double trips, int64_t stop_after, bool use_condition, int64_t runs) {
    static const double fibonacci[] = {1, 2, 3, 5, 8, 13, 21, 34};
    OpRun run = {0};
    bodies = (Bodies){.stop_after = stop_after};
    if (trips >= 0)
        op_values(&run, DTYPE_I64, -1, &trips);
    else
        op_omit(&run);
    if (use_condition)
        op_values(&run, DTYPE_BOOL, -1, (const double[]){stop_after > 0});
    else
        op_omit(&run);
    op_values(&run, DTYPE_F32, -1, (const double[]){1});
    op_values(&run, DTYPE_F32, -1, (const double[]){0});
    CHECK(attr_set_block(&run.attrs, &run.arena, "body", BODY_PAIR));
    CHECK_OK(run_control(&run, OP_Loop, 3, (const int32_t[]){0, 0, 1}), &run.diag);
    CHECK_INT(bodies.runs, runs);
    CHECK_NEAR(op_run_at(&run.output[0], 0), runs == 0 ? 1 : fibonacci[runs - 1], 0);
    CHECK_NEAR(op_run_at(&run.output[1], 0), runs == 0 ? 0 : runs == 1 ? 1 : fibonacci[runs - 2], 0);
    CHECK_INT(run.output[2].dim[0], runs);
    for (int64_t i = 0; i < runs; ++i) CHECK_NEAR(op_run_at(&run.output[2], i), fibonacci[i], 0);
    op_run_end(&run);
}

static void test_scan(bool backward_in, bool backward_out, int64_t in_axis, int64_t out_axis) {
    OpRun run = {0};
    bodies = (Bodies){0};
    op_values(&run, DTYPE_F32, -1, (const double[]){100});
    Tensor *x =
        op_input(&run, DTYPE_F32, 2, in_axis == 0 ? (const int64_t[]){3, 2} : (const int64_t[]){2, 3});
    for (int64_t t = 0; t < 3; ++t)
        for (int64_t i = 0; i < 2; ++i)
            dtype_store_f64(DTYPE_F32, x->data, in_axis == 0 ? t * 2 + i : i * 3 + t, (double)(10 * t + i));
    CHECK(attr_set_block(&run.attrs, &run.arena, "body", BODY_SCAN));
    CHECK(attr_set_int(&run.attrs, &run.arena, "num_scan_inputs", 1));
    op_run_ints(&run, "scan_input_axes", 1, &in_axis);
    op_run_ints(&run, "scan_output_axes", 1, &out_axis);
    op_run_ints(&run, "scan_input_directions", 1, (const int64_t[]){backward_in});
    op_run_ints(&run, "scan_output_directions", 1, (const int64_t[]){backward_out});
    CHECK_OK(run_control(&run, OP_Scan, 2, (const int32_t[]){0, 2}), &run.diag);
    CHECK_INT(bodies.runs, 3);
    CHECK_NEAR(op_run_at(&run.output[0], 0), 130, 0);
    for (int64_t t = 0; t < 3; ++t) {
        int64_t read = backward_in ? 2 - t : t, row = backward_out ? 2 - t : t;
        CHECK_NEAR(bodies.scanned[t], 10 * read, 0);
        for (int64_t i = 0; i < 2; ++i)
            CHECK_NEAR(op_run_at(&run.output[1], out_axis == 0 ? row * 2 + i : i * 3 + row),
                       10 * read + i + 1, 0);
    }
    op_run_end(&run);
}

int main(void) {
    test_if();
    test_loop(6, 100, false, 6);
    test_loop(6, 4, true, 4);
    test_loop(3, 100, true, 3);
    test_loop(-1, 7, true, 7);
    test_loop(0, 5, true, 0);
    test_loop(5, 0, true, 0);
    for (int i = 0; i < 16; ++i) test_scan(i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1);
    return test_result();
}
