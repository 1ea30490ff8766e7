/* Tensor maps, and blocks that run together, on the fake driver. */
#include "tests/fake_cuda/loaded.h"
#include "tests/fake_cuda/main.h"

/* Maps are made for new shapes and new places only. */
static void test_map(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_map(&loaded.arena);
    float x[MOST_COUNT], y[MOST_COUNT];
    void *buffers[] = {x, y};
    open_plan(&loaded, &plan);
    for (int run = 0; run < 4; ++run) {
        int rows = run < 2 ? 3 : run == 2 ? 0 : 8, wrong = 0;
        fill(x, MOST_COUNT, run);
        set_rows(&loaded, rows);
        CHECK_INT(smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_OK);
        if (loaded.error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded.error.message);
        for (int i = 0; i < rows * 4; ++i) wrong += y[i] != 2 * x[i];
        CHECK_INT(wrong, 0);
        CHECK_INT(fake.get(FAKE_MAPS), run < 3 ? 1 : 2);
    }
    close_plan(&loaded);
    plan = sample_cuda_map(&loaded.arena);
    plan.maps[0].stride[0] = 32; /* beyond the value, which shows when its shape is known */
    open_plan(&loaded, &plan);
    set_rows(&loaded, 2);
    EXPECT(&loaded, smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_BAD_PLAN,
           "argument 0 is a map of 48 bytes of value 0, which has 32");
    close_plan(&loaded);
    plan = sample_cuda_map(&loaded.arena);
    plan.kernels[1].entry = "fake_add";
    EXPECT(&loaded, load(&loaded, &plan, NULL), SMELT_BAD_PLAN, "'fake_add' does not take 3 parameters");
    close_plan(&loaded);
}

/* As many blocks as the device has room for, however many were asked for. */
static void test_together(void) {
    Loaded loaded = {0};
    Plan plan = sample_cuda_short(&loaded.arena, false);
    float x[MOST_COUNT], y[MOST_COUNT];
    void *buffers[] = {x, y};
    int wrong = 0;
    plan.launches[0].together = plan.launches[2].together = true;
    plan.launches[2].grid[0] = 3;
    open_plan(&loaded, &plan);
    fill(x, MOST_COUNT, 1);
    set_rows(&loaded, 8);
    CHECK_INT(smelt_context_run(loaded.context, buffers, NULL, &loaded.error), SMELT_OK);
    if (loaded.error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded.error.message);
    for (int i = 0; i < 8 * 4; ++i) wrong += y[i] != 3 * x[i];
    CHECK_INT(wrong, 0);
    CHECK_INT(fake.get(FAKE_COOPERATIVE), 2);
    close_plan(&loaded);
    fake.set(FAKE_MOST_BLOCKS, 0);
    plan = sample_cuda_short(&loaded.arena, false);
    plan.launches[2].together = true;
    EXPECT(&loaded, load(&loaded, &plan, NULL), SMELT_WRONG_DEVICE,
           "launch 2, whose blocks run together, does not run on Fake GPU 0");
    close_plan(&loaded);
    fake.reset();
}

int main(void) {
    static void (*const tests[])(void) = {test_map, test_together};
    return run_on_fake(2, tests);
}
