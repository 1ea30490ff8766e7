/* Shapes of data movement over symbolic dimensions: exact where they can be, late where they must be. */
#include "op_infer.h"
#include "ops/movement.h"

static void set_int(OpInferRun *run, const char *name, int64_t value) {
    CHECK(attr_set_int(&run->attrs, &run->arena, name, value));
}

static void test_reshape(void) {
    static const struct {
        const char *in, *target, *out;
    } cases[] = {
        {"b; s; 768", "0; 0; 12; -1", "[b, s, 12, 64]"},
        {"n; 3", "-1", "[3*n]"},
        {"n; 6; h", "n; -1", "[n, 6*h]"},
        {"n; 6; h", "-1; h", "[6*n, h]"},
        {"n; 4; h; w", "0; -1; h*w", "[n, 4, h*w]"},
        {"0; 3", "-1; 3", "[0, 3]"},
        {"2; 3", "3; 2", "[3, 2]"},
        {"n; 2*h", "n; h; -1", "[n, h, 2]"},
        {"1", "", "[]"},
        {"n; 0", "0; 0", "[n, 0]"},
    };
    OpInferRun run = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        op_infer_input(&run, DTYPE_F32, cases[i].in);
        op_infer_content(&run, cases[i].target);
        CHECK_SHAPE(&run, "Reshape", cases[i].out);
    }
    op_infer_input(&run, DTYPE_F32, "n; 4");
    op_infer_input(&run, DTYPE_I64, "3"); /* only the extent of the target is known */
    CHECK_OK(op_infer_run(&run, "Reshape", 1), &run.diag);
    CHECK_INT(run.output[0].shape.rank, 3);
    CHECK(dim_is_late(run.dims, run.output[0].shape.dim[1]));
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "0; 2");
    op_infer_content(&run, "0; 2");
    set_int(&run, "allowzero", 1);
    CHECK_SHAPE(&run, "Reshape", "[0, 2]");
}

static void test_reshape_refusals(void) {
    static const struct {
        const char *in, *target, *words;
    } cases[] = {
        {"2; 3", "4; -1", "6 elements do not divide into rows of 4"},
        {"2; 3", "7", "6 elements do not fit a shape of 7"},
        {"2; 3", "-1; -1", "more than one -1"},
        {"2; 3", "-2; 3", "holds -2"},
        {"6", "1; 0", "copies a dimension that rank 1 does not have"},
        {"3; 0", "-1; 0; 0", "rank 2 does not have"},
    };
    OpInferRun run = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        op_infer_input(&run, DTYPE_F32, cases[i].in);
        op_infer_content(&run, cases[i].target);
        CHECK_REFUSED(&run, "Reshape", STATUS_BAD_MODEL, cases[i].words);
    }
    op_infer_input(&run, DTYPE_F32, "2; 3");
    op_infer_input(&run, DTYPE_I64, "r"); /* not even the rank is known */
    CHECK_REFUSED(&run, "Reshape", STATUS_UNSUPPORTED, "rank");
}

static void test_views(void) {
    OpInferRun run = {0};
    op_infer_input(&run, DTYPE_F32, "n; 3; h; w");
    set_int(&run, "axis", 2);
    CHECK_SHAPE(&run, "Flatten", "[3*n, h*w]");
    op_infer_input(&run, DTYPE_F32, "n; 3; h");
    set_int(&run, "axis", -3);
    CHECK_SHAPE(&run, "Flatten", "[1, 3*h*n]");
    op_infer_input(&run, DTYPE_F32, "n; 1; h; 1");
    CHECK_SHAPE(&run, "Squeeze", "[n, h]");
    op_infer_input(&run, DTYPE_F32, "n; 1; h; 1");
    op_infer_content(&run, "-1; 0");
    CHECK_SHAPE(&run, "Squeeze", "[1, h]");
    op_infer_input(&run, DTYPE_F32, "n; 2");
    op_infer_content(&run, "1");
    CHECK_REFUSED(&run, "Squeeze", STATUS_BAD_MODEL, "extent 2");
    op_infer_input(&run, DTYPE_F32, "n; h");
    op_infer_content(&run, "0; -1");
    CHECK_SHAPE(&run, "Unsqueeze", "[1, n, h, 1]");
    op_infer_input(&run, DTYPE_F32, "n; h");
    op_infer_content(&run, "1; -3");
    CHECK_REFUSED(&run, "Unsqueeze", STATUS_BAD_MODEL, "named twice");
    op_infer_input(&run, DTYPE_F32, "n; h");
    op_infer_input(&run, DTYPE_I64, "2");
    CHECK_OK(op_infer_run(&run, "Unsqueeze", 1), &run.diag);
    CHECK_INT(run.output[0].shape.rank, 4);
    op_infer_end(&run);
}

static void test_concat_and_split(void) {
    OpInferRun run = {0};
    op_infer_input(&run, DTYPE_F32, "n; 3");
    op_infer_input(&run, DTYPE_F32, "m; 3");
    op_infer_input(&run, DTYPE_F32, "2; k");
    set_int(&run, "axis", -2);
    CHECK_SHAPE(&run, "Concat", "[m + n + 2, 3]");
    op_infer_input(&run, DTYPE_F32, "n; 3");
    op_infer_input(&run, DTYPE_F32, "n; 4");
    set_int(&run, "axis", 0);
    CHECK_REFUSED(&run, "Concat", STATUS_BAD_MODEL, "3 and 4 differ");
    op_infer_input(&run, DTYPE_F32, "4*n; 6");
    set_int(&run, "num_outputs", 2);
    CHECK_OK(op_infer_run(&run, "Split", 2), &run.diag);
    CHECK_STR(op_infer_text(&run, 0), "[2*n, 6]");
    CHECK_STR(op_infer_text(&run, 1), "[2*n, 6]");
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "n; 7");
    set_int(&run, "axis", 1);
    set_int(&run, "num_outputs", 3);
    CHECK_OK(op_infer_run(&run, "Split", 3), &run.diag);
    CHECK_STR(op_infer_text(&run, 1), "[n, 3]");
    CHECK_STR(op_infer_text(&run, 2), "[n, 1]");
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "n; 7");
    op_infer_content(&run, "3; 5");
    set_int(&run, "axis", 1);
    CHECK_INT(op_infer_run(&run, "Split", 2), STATUS_BAD_MODEL);
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "m + n; 7");
    op_infer_content(&run, "m; n");
    CHECK_OK(op_infer_run(&run, "Split", 2), &run.diag);
    CHECK_STR(op_infer_text(&run, 1), "[n, 7]");
    op_infer_end(&run);
}

/* The formula that inference builds for a symbolic extent, for all values of it, against the kernel's. */
static void test_slice_formula(void) {
    static const int64_t ends[] = {INT64_MIN, INT32_MIN, -9, -3, -1, 0, 1, 2, 5, 9, INT32_MAX, INT64_MAX};
    static const int64_t steps[] = {1, 2, 3, -1, -2, -7, INT64_MAX, -INT64_MAX};
    OpInferRun run = {0};
    for (int64_t start = -6; start <= 6; ++start) {
        for (size_t e = 0; e < sizeof ends / sizeof *ends; ++e) {
            for (size_t s = 0; s < sizeof steps / sizeof *steps; ++s) {
                /* as the helper for data clamps it */
                int64_t end = ends[e] < DIM_EXACT_MIN ? DIM_EXACT_MIN : ends[e];
                int64_t inputs[3] = {start, ends[e], steps[s]};
                op_infer_input(&run, DTYPE_F32, "n");
                for (int i = 0; i < 2; ++i) op_infer_content(&run, "0")->data = &inputs[i];
                op_infer_omit(&run);
                op_infer_content(&run, "0")->data = &inputs[2];
                CHECK_OK(op_infer_run(&run, "Slice", 1), &run.diag);
                for (int64_t n = 0; n < 12; ++n) {
                    int64_t value = -1;
                    CHECK(dim_eval(run.dims, run.output[0].shape.dim[0], &n, &value));
                    int64_t wanted = slice_range(n, start, end, steps[s]).count;
                    if (value != wanted)
                        fprintf(stderr, "[%lld:%lld:%lld] of %lld\n", (long long)start, (long long)end,
                                (long long)steps[s], (long long)n);
                    CHECK_INT(value, wanted);
                }
                op_infer_end(&run);
            }
        }
    }
}

static void test_slice(void) {
    OpInferRun run = {0};
    static const struct {
        const char *in, *starts, *ends, *out;
    } cases[] = {
        {"n; 8", "0", "n", "[n, 8]"},
        {"n; 8", "0; 2", "9223372036854775807; -1", "[n, 5]"},
        {"n + 4; h", "2", "-1", "[n + 1, h]"},
        {"2*n; h", "n", "2*n", "[n, h]"},
        {"n + m", "0", "n", "[n]"},
        {"5; n", "-2", "100", "[2, n]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        op_infer_input(&run, DTYPE_F32, cases[i].in);
        op_infer_content(&run, cases[i].starts);
        op_infer_content(&run, cases[i].ends);
        CHECK_SHAPE(&run, "Slice", cases[i].out);
    }
    op_infer_input(&run, DTYPE_F32, "n; 8");
    op_infer_input(&run, DTYPE_I64, "1");
    op_infer_input(&run, DTYPE_I64, "1");
    op_infer_content(&run, "1");
    CHECK_OK(op_infer_run(&run, "Slice", 1), &run.diag);
    CHECK(!dim_is_late(run.dims, run.output[0].shape.dim[0]));
    CHECK(dim_is_late(run.dims, run.output[0].shape.dim[1]));
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "n; 8");
    op_infer_content(&run, "0");
    op_infer_content(&run, "1");
    op_infer_content(&run, "0");
    op_infer_content(&run, "0");
    CHECK_REFUSED(&run, "Slice", STATUS_BAD_MODEL, "steps is 0");
}

static void test_extents(void) {
    OpInferRun run = {0};
    op_infer_input(&run, DTYPE_F32, "n; 3; h");
    op_infer_content(&run, "0; -1; 1; p; 1; 2");
    CHECK_SHAPE(&run, "Pad", "[n + p, 3, h + 3]");
    op_infer_input(&run, DTYPE_F32, "n; 3");
    op_infer_content(&run, "0; -2; 0; -2");
    CHECK_REFUSED(&run, "Pad", STATUS_BAD_MODEL, "-1");
    op_infer_input(&run, DTYPE_F32, "1; 3; 1");
    op_infer_content(&run, "n; 2; 1; w");
    CHECK_SHAPE(&run, "Expand", "[n, 2, 3, w]");
    op_infer_input(&run, DTYPE_F32, "1; 3");
    op_infer_input(&run, DTYPE_I64, "3");
    CHECK_OK(op_infer_run(&run, "Expand", 1), &run.diag);
    CHECK_INT(run.output[0].shape.rank, 3);
    CHECK_INT(run.output[0].shape.dim[2], 3);
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "n; 3");
    op_infer_content(&run, "2; m");
    CHECK_SHAPE(&run, "Tile", "[2*n, 3*m]");
    op_infer_input(&run, DTYPE_F32, "n; 12; h; w");
    set_int(&run, "blocksize", 2);
    CHECK_SHAPE(&run, "DepthToSpace", "[n, 3, 2*h, 2*w]");
    op_infer_input(&run, DTYPE_F32, "n; 3; 2*h; 4*w");
    set_int(&run, "blocksize", 2);
    CHECK_SHAPE(&run, "SpaceToDepth", "[n, 12, h, 2*w]");
    op_infer_input(&run, DTYPE_F32, "n; 10; h; w");
    set_int(&run, "blocksize", 2);
    CHECK_REFUSED(&run, "DepthToSpace", STATUS_BAD_MODEL, "not a multiple of 4");
}

static void test_content(void) {
    OpInferRun run = {0};
    op_infer_input(&run, DTYPE_F32, "n; 3; 2*h");
    set_int(&run, "start", -2);
    CHECK_OK(op_infer_run(&run, "Shape", 1), &run.diag);
    CHECK_STR(op_infer_text(&run, 0), "[2]");
    CHECK_STR(dim_print(run.dims, run.output[0].content[1], &run.arena), "2*h");
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "n; 3; 2*h");
    CHECK_OK(op_infer_run(&run, "Size", 1), &run.diag);
    CHECK_STR(dim_print(run.dims, run.output[0].content[0], &run.arena), "6*h*n");
    op_infer_end(&run);
    op_infer_content(&run, "n; 2");
    CHECK_SHAPE(&run, "ConstantOfShape", "[n, 2]");
    op_infer_content(&run, "0");
    op_infer_content(&run, "n");
    op_infer_content(&run, "2");
    CHECK_SHAPE(&run, "Range", "[floor(n + 1, 2)]");
    op_infer_content(&run, "n");
    op_infer_content(&run, "0");
    op_infer_content(&run, "-1");
    CHECK_SHAPE(&run, "Range", "[n]");
}

static void test_indices(void) {
    OpInferRun run = {0};
    op_infer_input(&run, DTYPE_F32, "n; 5; h");
    op_infer_input(&run, DTYPE_I64, "k; 2");
    set_int(&run, "axis", 1);
    CHECK_SHAPE(&run, "Gather", "[n, k, 2, h]");
    op_infer_input(&run, DTYPE_F32, "n; 5; h; w");
    op_infer_input(&run, DTYPE_I64, "n; k; 2");
    set_int(&run, "batch_dims", 1);
    CHECK_SHAPE(&run, "GatherND", "[n, k, w]");
    op_infer_input(&run, DTYPE_F32, "n; 5");
    op_infer_content(&run, "3");
    CHECK_OK(op_infer_run(&run, "TopK", 2), &run.diag);
    CHECK_STR(op_infer_text(&run, 1), "[n, 3]");
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "n; 5");
    op_infer_content(&run, "6");
    CHECK_INT(op_infer_run(&run, "TopK", 2), STATUS_BAD_MODEL);
    op_infer_end(&run);
    op_infer_input(&run, DTYPE_F32, "4; 5");
    CHECK_OK(op_infer_run(&run, "NonZero", 1), &run.diag);
    int64_t low, high;
    dim_bounds(run.dims, run.output[0].shape.dim[1], &low, &high);
    CHECK_INT(low, 0);
    CHECK_INT(high, 20);
    op_infer_end(&run);
}

int main(void) {
    test_reshape();
    test_reshape_refusals();
    test_views();
    test_concat_and_split();
    test_slice_formula();
    test_slice();
    test_extents();
    test_content();
    test_indices();
    return test_result();
}
