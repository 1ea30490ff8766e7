/* Resize: what holds for every mode, hand-computed results, and shapes over symbols; then transposed and
 * sampled operators that share its traps. */
#include "op_run.h"

static const char *const modes[] = {"nearest", "linear", "cubic"};
static const char *const coordinates[] = {"half_pixel",    "half_pixel_symmetric",
                                          "asymmetric",    "pytorch_half_pixel",
                                          "align_corners", "tf_half_pixel_for_nn"};

static void set_string(OpRun *run, const char *name, const char *value) {
    CHECK(attr_set_string(&run->attrs, &run->arena, name, value));
}

static void give_scales(OpRun *run, int32_t count, const float *scales) {
    run->input_count = 2; /* no region of interest */
    run->present[1] = false;
    Tensor *tensor = op_run_input(run, DTYPE_F32, 0, DIMS(count));
    memcpy(tensor->data, scales, (size_t)count * sizeof *scales);
}

static void give_sizes(OpRun *run, int32_t count, const int64_t *sizes) {
    run->input_count = 3;
    run->present[1] = run->present[2] = false;
    Tensor *tensor = op_run_input(run, DTYPE_I64, 0, DIMS(count));
    memcpy(tensor->data, sizes, (size_t)count * sizeof *sizes);
}

/* A constant stays that constant, whatever the filter. */
static void test_constant(OpRun *run, DType dtype) {
    static const int64_t sizes[][3] = {{2, 9, 31}, {2, 5, 7}, {2, 2, 3}, {2, 1, 1}, {2, 40, 2}};
    for (int mode = 0; mode < 3; ++mode)
        for (int where = 0; where < 6; ++where)
            for (int flags = 0; flags < 4; ++flags)
                for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
                    Tensor *x = op_run_input(run, dtype, 0, DIMS(2, 5, 7));
                    for (int64_t k = 0; k < 70; ++k) dtype_store_f64(dtype, x->data, k, 3);
                    set_string(run, "mode", modes[mode]);
                    set_string(run, "coordinate_transformation_mode", coordinates[where]);
                    CHECK(attr_set_int(&run->attrs, &run->arena, "antialias", flags & 1));
                    CHECK(attr_set_int(&run->attrs, &run->arena, "exclude_outside", flags >> 1));
                    give_sizes(run, 3, sizes[i]);
                    CHECK_OK(op_run(run, OP_Resize, 1), &run->diag);
                    double worst = 0;
                    for (int64_t k = 0; k < tensor_count(&run->output[0]); ++k)
                        worst = fmax(worst, fabs(op_run_at(&run->output[0], k) - 3));
                    CHECK_NEAR(worst, 0, 2e-6);
                    op_run_end(run);
                }
}

/* Corners stay corners and a ramp stays a ramp, in one, two and three dimensions at once. */
static void test_ramp(OpRun *run) {
    Tensor *x = op_run_input(run, DTYPE_F32, 0, DIMS(1, 3, 4, 6));
    for (int64_t i = 0; i < 72; ++i) ((float *)x->data)[i] = (float)(i / 24 * 100 + i / 6 % 4 * 10 + i % 6);
    set_string(run, "mode", "linear");
    set_string(run, "coordinate_transformation_mode", "align_corners");
    give_sizes(run, 4, (int64_t[]){1, 5, 7, 11});
    CHECK_OK(op_run(run, OP_Resize, 1), &run->diag);
    for (int64_t i = 0; i < 5 * 7 * 11; ++i) {
        double z = (double)(i / 77) * 2 / 4, y = (double)(i / 11 % 7) * 3 / 6, w = (double)(i % 11) * 5 / 10;
        CHECK_NEAR(op_run_at(&run->output[0], i), z * 100 + y * 10 + w, 1e-4);
    }
    op_run_end(run);
}

/* Antialiasing by half is a triangle filter: 1 3 3 1 in the middle. */
static void test_antialias(OpRun *run) {
    Tensor *x = op_run_input(run, DTYPE_F32, 0, DIMS(8));
    ((float *)x->data)[3] = 8;
    set_string(run, "mode", "linear");
    CHECK(attr_set_int(&run->attrs, &run->arena, "antialias", 1));
    give_scales(run, 1, (float[]){0.5f});
    CHECK_OK(op_run(run, OP_Resize, 1), &run->diag);
    static const double wanted[4] = {0, 3, 1, 0};
    for (int64_t i = 0; i < 4; ++i) CHECK_NEAR(op_run_at(&run->output[0], i), wanted[i], 1e-6);
    op_run_end(run);
}

static void test_nearest(OpRun *run, DType dtype) {
    Tensor *x = op_run_input(run, dtype, 0, DIMS(1, 2, 3));
    for (int64_t i = 0; i < 6; ++i) dtype_store_f64(dtype, x->data, i, (double)i);
    set_string(run, "coordinate_transformation_mode", "asymmetric");
    set_string(run, "nearest_mode", "floor");
    give_scales(run, 3, (float[]){1, 2, 2});
    CHECK_OK(op_run(run, OP_Resize, 1), &run->diag);
    for (int64_t i = 0; i < 24; ++i)
        CHECK_NEAR(op_run_at(&run->output[0], i), (double)(i / 12 * 3 + i % 6 / 2), 0);
    op_run_end(run);
}

static Status infer_symbolic(OpRun *run, OpId id, const TypeInfo *const *inputs, int32_t count,
                             DimTable *dims, TypeInfo *output) {
    const void *attrs;
    ParseCtx parse = {&run->attrs, count, 1, 0, &run->arena, &run->diag};
    for (int32_t i = 0; i < count; ++i)
        if (inputs[i] != NULL) parse.inputs_present |= (uint64_t)1 << i;
    TRY(op_parse(id, &parse, &attrs));
    *output = (TypeInfo){0};
    InferCtx ctx = {attrs, count, 1, inputs, output, dims, &run->arena, &run->diag};
    return op_infer(id, &ctx);
}

static void check_dims(OpRun *run, const DimTable *dims, const TypeInfo *type, const char *wanted) {
    CHECK_STR(shape_print(dims, &type->shape, &run->arena), wanted);
}

static void test_symbols(void) {
    OpRun run = {0};
    DimTable *dims = dim_table_create(&run.arena);
    Dim n = dim_symbol(dims, "n", SYMBOL_INPUT), h = dim_symbol(dims, "h", SYMBOL_INPUT);
    TypeInfo x = {.dtype = DTYPE_F32, .shape = {.rank = 4, .dim = {n, 3, h, 20}}}, out;
    const float scales[4] = {1, 1, 2, 0.5f};
    TypeInfo given = {.dtype = DTYPE_F32, .shape = {.rank = 1, .dim = {4}}, .data = scales};
    const TypeInfo *resize[] = {&x, NULL, &given};
    CHECK_OK(infer_symbolic(&run, OP_Resize, resize, 3, dims, &out), &run.diag);
    check_dims(&run, dims, &out, "[n, 3, 2*h, 10]");
    const Dim content[4] = {n, 3, dim_mul(dims, h, 4), 7};
    TypeInfo sizes = {.dtype = DTYPE_I64, .shape = {.rank = 1, .dim = {4}}, .content = content};
    const TypeInfo *by_sizes[] = {&x, NULL, NULL, &sizes};
    CHECK_OK(infer_symbolic(&run, OP_Resize, by_sizes, 4, dims, &out), &run.diag);
    check_dims(&run, dims, &out, "[n, 3, 4*h, 7]");
    const TypeInfo *both[] = {&x, NULL, &given, &sizes};
    CHECK_INT(infer_symbolic(&run, OP_Resize, both, 4, dims, &out), STATUS_BAD_MODEL);
    CHECK(strstr(run.diag.text, "both scales and sizes") != NULL);
    diag_clear(&run.diag);
    TypeInfo w = {.dtype = DTYPE_F32, .shape = {.rank = 4, .dim = {8, 3, 3, 3}}};
    const TypeInfo *conv[] = {&x, &w};
    op_run_ints(&run, "strides", 2, (int64_t[]){2, 2});
    op_run_ints(&run, "pads", 4, (int64_t[]){1, 1, 1, 1});
    CHECK_OK(infer_symbolic(&run, OP_Conv, conv, 2, dims, &out), &run.diag);
    check_dims(&run, dims, &out, "[n, 8, floor(h + 1, 2), 10]");
    attr_remove(&run.attrs, "pads");
    set_string(&run, "auto_pad", "SAME_UPPER");
    CHECK_OK(infer_symbolic(&run, OP_Conv, conv, 2, dims, &out), &run.diag);
    check_dims(&run, dims, &out, "[n, 8, floor(h + 1, 2), 10]");
    w.shape.dim[0] = 3;
    w.shape.dim[1] = 5;
    CHECK_OK(infer_symbolic(&run, OP_ConvTranspose, conv, 2, dims, &out), &run.diag);
    check_dims(&run, dims, &out, "[n, 5, 2*h, 40]");
    op_run_end(&run);
}

/* Sampling on the grid that an identity transformation makes gives the input back. */
static void test_grid(ThreadPool *pool) {
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    for (int mode = 0; mode < 3; ++mode)
        for (int padding = 0; padding < 3; ++padding)
            for (int align = 0; align < 2; ++align) {
                OpRun run = {.pool = pool, .random = 5}, affine = {0};
                Tensor *theta = op_run_input(&affine, DTYPE_F32, 0, DIMS(2, 3, 4));
                for (int i = 0; i < 6; ++i) ((float *)theta->data)[i / 3 * 12 + i % 3 * 5] = 1;
                Tensor *size = op_run_input(&affine, DTYPE_I64, 0, DIMS(5));
                memcpy(size->data, (int64_t[]){2, 3, 4, 5, 6}, 5 * sizeof(int64_t));
                CHECK(attr_set_int(&affine.attrs, &affine.arena, "align_corners", align));
                CHECK_OK(op_run(&affine, OP_AffineGrid, 1), &affine.diag);
                const Tensor *x = op_run_input(&run, DTYPE_F32, 1, DIMS(2, 3, 4, 5, 6));
                run.input[1] = affine.output[0];
                run.present[1] = true;
                run.input_count = 2;
                CHECK(attr_set_int(&run.attrs, &run.arena, "align_corners", align));
                set_string(&run, "mode", modes[mode]);
                set_string(&run, "padding_mode", paddings[padding]);
                CHECK_OK(op_run(&run, OP_GridSample, 1), &run.diag);
                double worst = 0;
                for (int64_t i = 0; i < tensor_count(x); ++i)
                    worst = fmax(worst, fabs(op_run_at(x, i) - op_run_at(&run.output[0], i)));
                CHECK_NEAR(worst, 0, 1e-5);
                op_run_end(&affine);
                op_run_end(&run);
            }
}

/* Coordinates that are not numbers, infinite or far away neither crash nor read outside. */
static void test_wild_grid(void) {
    static const float wild[] = {NAN, INFINITY, -INFINITY, 1e38f, -1e38f, 3, -1e9f, 0};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    for (int mode = 0; mode < 3; ++mode)
        for (int padding = 0; padding < 3; ++padding) {
            OpRun run = {.random = 5};
            op_run_input(&run, DTYPE_F32, 1, DIMS(1, 1, 1, 5));
            Tensor *grid = op_run_input(&run, DTYPE_F32, 0, DIMS(1, 8, 8, 2));
            for (int i = 0; i < 128; ++i) ((float *)grid->data)[i] = wild[i % 2 == 0 ? i / 2 % 8 : i / 16];
            set_string(&run, "mode", modes[mode]);
            set_string(&run, "padding_mode", paddings[padding]);
            CHECK_OK(op_run(&run, OP_GridSample, 1), &run.diag);
            for (int64_t i = 0; i < 64; ++i) CHECK(fabs(op_run_at(&run.output[0], i)) < 4);
            op_run_end(&run);
        }
}

static void test_regions(void) {
    OpRun run = {.random = 5};
    Tensor *x = op_run_input(&run, DTYPE_F32, 0, DIMS(2, 1, 8, 8));
    for (int i = 0; i < 128; ++i) ((float *)x->data)[i] = (float)(i / 64 * 100 + i % 8);
    Tensor *rois = op_run_input(&run, DTYPE_F32, 0, DIMS(2, 4));
    memcpy(rois->data, (float[]){1, 1, 5, 5, -9e8f, -9e8f, 9e8f, 9e8f}, 8 * sizeof(float));
    Tensor *batch = op_run_input(&run, DTYPE_I64, 0, DIMS(2));
    ((int64_t *)batch->data)[0] = 1;
    CHECK(attr_set_int(&run.attrs, &run.arena, "output_width", 2));
    CHECK_OK(op_run(&run, OP_RoiAlign, 1), &run.diag);
    CHECK_NEAR(op_run_at(&run.output[0], 0), 101.5, 1e-4);
    CHECK_NEAR(op_run_at(&run.output[0], 1), 103.5, 1e-4);
    CHECK(fabs(op_run_at(&run.output[0], 2)) < 8);
    ((int64_t *)batch->data)[1] = 2;
    CHECK_INT(op_run(&run, OP_RoiAlign, 1), STATUS_BAD_DATA);
    op_run_end(&run);
}

int main(void) {
    Diag diag = {0};
    ThreadPool *pool = NULL;
    CHECK_OK(thread_pool_create(2, NULL, &pool, &diag), &diag);
    OpRun run = {.pool = pool, .random = 1};
    test_constant(&run, DTYPE_F32);
    test_constant(&run, DTYPE_F16);
    test_ramp(&run);
    test_antialias(&run);
    static const DType dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_U8, DTYPE_I64};
    for (int i = 0; i < 5; ++i) test_nearest(&run, dtypes[i]);
    test_symbols();
    test_grid(pool);
    test_wild_grid();
    test_regions();
    thread_pool_destroy(pool);
    return test_result();
}
